"""From images to features: one forward pass, in batches, in memory or streamed to disk."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from .runtime import replace_file
from .validation import check_choice, check_images, check_whole

__all__ = ["extract", "forward"]

MEMORY_SHARE = 0.5  # of the free memory, which features may take before they have to go to disk

_FORMAT = "features-without-labels features 1"
_MANIFEST = "manifest.json"
_PUT_BACK = "put it back as it was, or give another folder to extract anew"


def forward(model, inputs, batch_size: int = 256) -> np.ndarray:
    """Return what a model makes of its inputs, in inference mode, as a NumPy array.

    Unlike ``model.predict`` it compiles nothing, which for a small network and one pass is faster.

    Parameters
    ----------
    model : keras.Model
        An encoder, or a decoder, or any layer.
    inputs : array_like of float, shape (n, ...), or ImageSet
    batch_size : int
        Inputs per step; it bounds the memory that the network's layers need.

    Returns
    -------
    ndarray of float32, shape (n, ...)

    Raises
    ------
    ValueError
        If there are no inputs, or `batch_size` is no whole number of 1 or more.
    """
    check_whole(batch_size, "batch_size", 1)
    inputs = getattr(inputs, "images", inputs)
    if len(inputs) == 0:
        raise ValueError("There are no inputs: give at least one row.")
    # each batch leaves the device, and its graph with it, before the next one enters
    outputs = [
        keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(inputs[rows], "float32"), training=False))
        for rows in _batches(len(inputs), batch_size)
    ]
    return np.concatenate(outputs).astype(np.float32, copy=False)


def extract(
    backbone,
    images,
    *,
    stages: Iterable[str] | None = None,
    folder: Path | str | None = None,
    batch_size: int = 32,
    progress: bool = True,
    check: bool = True,
) -> dict[str, np.ndarray]:
    """Return the features of every stage of a network, computed in one pass.

    In memory they are float32. With `folder` they are streamed to disk as float16, one ``.npy`` file for each
    stage, and come back as memory maps, of which only what is looked at is read. A manifest beside them says what
    they are of, and holds a checksum of every batch. An extraction that was interrupted, or whose files were cut
    short since, goes on behind the last batch that all of them hold; one that is complete is read and not computed
    again.

    float16 keeps 11 bits of a number from 6.1e-5 to 65,504: a relative error below 0.0005. Smaller numbers lie on
    a grid of 6e-8 and are wrong by half a step of it at most; what is smaller than 3e-8 becomes 0. Distances hardly
    feel it, for large features decide them: at the last stage of Inception-v3 with random weights, where a quarter
    of the features that are not 0 lie below 6.1e-5, they too are wrong by less than 0.0005. A measure that divides
    each feature by its own spread feels it: extract such stages in memory.

    What would take more than half of the free memory is refused before anything is computed: give a folder.

    Parameters
    ----------
    backbone : Backbone
        From `helpers.backbones.load`.
    images : array_like of float, shape (n, h, w, c), or ImageSet
        In [0, 1], of any size, grey or in colour; a memory map is read batch by batch.
    stages : iterable of str, optional
        Which stages to keep; all of them without it. The pass is the same.
    folder : path, optional
        Where to stream to: a folder of its own for each network, weights and images.
    batch_size : int
        Images per step; it bounds the memory that the network's layers need. It changes the features by rounding
        only.
    progress : bool
        Whether to show a progress bar.
    check : bool
        Whether to compare what lies in `folder` already with its checksums. That reads it once, as fast as the disk
        is (a core checks some 3 GB a second); without it a byte that changed on the disk is not noticed.

    Returns
    -------
    dict of str to ndarray, shape (n, d)
        float32 arrays, or read-only float16 memory maps. Row i belongs to image i.

    Raises
    ------
    ValueError
        If images lie outside [0, 1] or differ in shape; a feature is NaN, infinite or too large for float16; the
        folder holds features of another network, of other weights or of other images, or a damaged file. Nothing is
        deleted.
    MemoryError
        If the features would not fit into memory.
    OSError
        If they would not fit onto the disk, cannot be written, or `folder` is a file.
    """
    images = getattr(images, "images", images)
    if not hasattr(images, "ndim"):
        images = check_images(images)
    kept = _kept(backbone, stages)
    check_whole(batch_size, "batch_size", 1)
    if folder is None:
        _examine(images)
        _check_memory(len(images), kept)
        return _in_memory(_pass(backbone, images, kept, 0, batch_size, progress), len(images), kept)
    return _streamed(backbone, images, kept, Path(folder).expanduser(), batch_size, progress, check)


def _batches(n: int, batch_size: int, start: int = 0) -> Iterator[slice]:
    return (slice(first, min(first + batch_size, n)) for first in range(start, n, batch_size))


def _kept(backbone, stages: Iterable[str] | None) -> dict[str, int]:
    names = backbone.stages if stages is None else tuple(stages)
    if not names or isinstance(stages, str):
        raise ValueError(f"stages={stages!r}: name one stage or more, as in stages=[{backbone.stages[-1]!r}].")
    return {check_choice(name, backbone.stages, "stage"): backbone.sizes[name] for name in names}


def _examine(images, hashed: bool = False) -> str:
    """Check all images before the first is used; return their digest where it is wanted."""
    if images.ndim != 4 or len(images) == 0:
        check_images(images)  # says what is wrong
    found = hashlib.sha256(f"{np.shape(images)}\n".encode())
    for rows in _batches(len(images), 256):
        block = np.ascontiguousarray(check_images(images[rows]))
        if hashed:
            found.update(block.data)
    return found.hexdigest() if hashed else ""


def _pass(backbone, images, kept: dict[str, int], start: int, batch_size: int, progress: bool):
    """Yield (rows, stage -> features) for batch after batch, from row `start` on."""
    n = len(images)
    batch_size = min(batch_size, n - start)
    with tqdm(total=n, initial=start, desc=backbone.name, unit="image", leave=False, disable=not progress) as bar:
        for rows in _batches(n, batch_size, start):
            found = _predict(backbone, np.asarray(images[rows], np.float32), batch_size)
            yield rows, {stage: found[stage] for stage in kept}
            bar.update(rows.stop - rows.start)


def _predict(backbone, batch: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
    """Compute one batch by the compiled graph, twice as fast as layer by layer where the images are small.

    The last batch is filled up to full length: a graph is compiled for one shape, and anew for the next.
    """
    batch = _one_shape(batch, backbone.size)
    missing = batch_size - len(batch)
    filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
    outputs = backbone.model.predict_on_batch(filled)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    found = dict(zip(backbone.stages, (np.asarray(output)[: len(batch)] for output in outputs), strict=True))
    for stage, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{backbone.name} yields NaN or infinity at {stage!r}: check its weights.")
    return found


def _one_shape(batch: np.ndarray, size: int | None) -> np.ndarray:
    """Return images as the network resizes them, in colour: sets of other shapes then share its compiled graph."""
    if size is None or batch.shape[1:] == (size, size, 3):
        return batch
    if batch.shape[1:3] != (size, size):
        resize = keras.ops.image.resize
        batch = resize(batch, (size, size), interpolation="bilinear", antialias=True, data_format="channels_last")
        batch = keras.ops.convert_to_numpy(batch)
    return np.broadcast_to(batch, (len(batch), size, size, 3))


def _in_memory(batches, n: int, kept: dict[str, int]) -> dict[str, np.ndarray]:
    features = {stage: np.empty((n, width), np.float32) for stage, width in kept.items()}
    for rows, found in batches:
        for stage, values in found.items():
            features[stage][rows] = values
    return features


def _check_memory(n: int, kept: dict[str, int]) -> None:
    needed, free = 4 * n * sum(kept.values()), _free_memory()
    if free is not None and needed > MEMORY_SHARE * free:
        raise MemoryError(
            f"The features of {n} images take {needed / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB "
            f"of free memory: give a folder to stream them to, fewer stages, or a smaller size of the network."
        )


def _free_memory() -> int | None:
    """Return the bytes that can be had without swapping, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


@dataclass(frozen=True)
class _Store:
    """A folder of features: one ``.npy`` file for each stage, and a manifest that says which batches are done.

    The files are written row after row by ordinary writes, and the manifest after them: what a crash leaves
    behind its last row is overwritten. (A memory map of the full size would be simpler, but a full disk then ends
    the process instead of raising an error.)
    """

    folder: Path
    about: dict  # what the features are of
    batches: list[dict]  # of each that is done, the row at which it ends and, for each stage, its CRC-32

    @classmethod
    def open(cls, folder: Path, about: dict, check: bool) -> _Store:
        path = folder / _MANIFEST
        if path.exists():
            store = cls(folder, about, _batches_done(path, about))._shortened()
            if check:
                store._check_sums()
            return store
        strangers = [name for name in _file_names(about) if (folder / name).exists()]
        if strangers:
            raise ValueError(
                f"The folder {folder} holds {strangers[0]} but no manifest that says of what: give another folder."
            )
        store = cls(folder, about, [])
        store._check_disk()
        return store._noted([])

    @property
    def n(self) -> int:
        return self.about["images"]

    @property
    def rows(self) -> int:
        return self.batches[-1]["rows"] if self.batches else 0

    def appended(self, rows: slice, found: dict[str, np.ndarray]) -> _Store:
        """Write one batch behind the rows that are done."""
        blocks = {stage: _half(values, stage, rows) for stage, values in found.items()}
        for stage, block in blocks.items():
            header = _header(self.n, block.shape[1])
            with (self.folder / _file_name(stage)).open("r+b" if rows.start else "wb") as stream:
                if rows.start == 0:
                    stream.write(header)
                stream.seek(len(header) + rows.start * block.shape[1] * block.itemsize)
                stream.write(block.data)
                stream.flush()
                os.fsync(stream.fileno())  # the manifest must never be ahead of the numbers
        sums = {stage: zlib.crc32(block) for stage, block in blocks.items()}
        return self._noted([*self.batches, {"rows": rows.stop, "crc32": sums}])

    def read(self) -> dict[str, np.ndarray]:
        return {
            stage: np.load(self.folder / _file_name(stage), mmap_mode="r", allow_pickle=False)
            for stage in self.about["stages"]
        }

    def _noted(self, batches: list[dict]) -> _Store:
        """Say in the manifest that these batches are done."""
        content = json.dumps({**self.about, "batches": batches}, indent=1).encode()
        replace_file(self.folder / _MANIFEST, lambda stream: stream.write(content))
        return _Store(self.folder, self.about, batches)

    def _shortened(self) -> _Store:
        """Go back to the last batch that every file holds in full."""
        found = {stage: self._rows_in(stage) for stage in self.about["stages"]} if self.batches else {}
        if min(found.values(), default=self.rows) >= self.rows:
            return self
        stage = min(found, key=found.get)
        store = self._noted([batch for batch in self.batches if batch["rows"] <= found[stage]])
        print(
            f"The feature file {self.folder / _file_name(stage)} is cut short after {found[stage]} of {self.rows} "
            f"rows: extraction goes on from row {store.rows}."
        )
        return store

    def _rows_in(self, stage: str) -> int:
        """Count the complete rows in a file, which begins as the manifest says."""
        path, width = self.folder / _file_name(stage), self.about["stages"][stage]
        if not path.is_file():
            raise ValueError(f"The feature file {path} is missing: {_PUT_BACK}.")
        header = _header(self.n, width)
        with path.open("rb") as stream:
            if not header.startswith(stream.read(len(header))):
                what = f"its header is not that of {self.n} x {width} float16"
                raise ValueError(f"The feature file {path} is damaged ({what}): {_PUT_BACK}.")
        return max(0, path.stat().st_size - len(header)) // (2 * width)

    def _check_sums(self) -> None:
        for stage, width in self.about["stages"].items() if self.batches else ():
            path, start = self.folder / _file_name(stage), 0
            with path.open("rb") as stream:
                stream.seek(len(_header(self.n, width)))
                for batch in self.batches:
                    if zlib.crc32(stream.read(2 * width * (batch["rows"] - start))) != batch["crc32"][stage]:
                        what = f"rows {start} to {batch['rows'] - 1} do not have the CRC-32 of the manifest"
                        raise ValueError(f"The feature file {path} is damaged ({what}): {_PUT_BACK}.")
                    start = batch["rows"]

    def _check_disk(self) -> None:
        needed = 2 * self.n * sum(self.about["stages"].values())
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                f"The features of {self.n} images take {needed / 2**30:.1f} GiB, but {self.folder} has "
                f"{free / 2**30:.1f} GiB free: give a folder on a larger disk, or fewer stages."
            )


def _streamed(backbone, images, kept, folder: Path, batch_size, progress, check) -> dict[str, np.ndarray]:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, but features take a folder: give one of their own.")
    about = {
        "format": _FORMAT,
        "network": backbone.name,
        "size": backbone.size,
        "weights": backbone.weights,
        "source": backbone.source,
        "weights_digest": backbone.digest,
        "images": len(images),
        "images_digest": _examine(images, hashed=True),
        "stages": kept,
        "dtype": "float16",
    }
    store = _Store.open(folder, about, check)
    if store.rows < store.n:
        for rows, found in _pass(backbone, images, kept, store.rows, batch_size, progress):
            store = store.appended(rows, found)
    return store.read()


def _batches_done(path: Path, about: dict) -> list[dict]:
    """Return the batches that the manifest has, once it is known to be about the same features."""
    anew = "give another folder, or delete this one to extract anew"
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        _check_manifest(there, about)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The manifest {path} is damaged ({error!r}): {anew}.") from error
    differences = {
        "format": "features in another format ({there}, not {here})",
        "network": "features of another network ({there}, not {here})",
        "size": "features of images of another size ({there} pixels, not {here})",
        "weights_digest": "features by other weights of {network} ({there:.8}..., not {here:.8}...)",
        "images": "features of another number of images ({there}, not {here})",
        "images_digest": "features of other images (digest {there:.8}..., not {here:.8}...)",
        "stages": "features of other stages ({there}, not {here})",
        "dtype": "features of another type ({there}, not {here})",
    }
    for name, sentence in differences.items():
        if there[name] != about[name]:
            said = sentence.format(there=there[name], here=about[name], network=about["network"])
            raise ValueError(f"The folder {path.parent} holds {said}: {anew}.")
    return there["batches"]


def _check_manifest(manifest: dict, about: dict) -> None:
    """Raise an error if a manifest lacks an entry, or has one of a type that is never written."""
    for name, here in about.items():
        allowed = (int, type(None)) if name == "size" else (type(here),)
        if type(manifest[name]) not in allowed:
            raise TypeError(f"{name} is {manifest[name]!r}")
    if type(manifest["batches"]) is not list:
        raise TypeError(f"batches is {manifest['batches']!r}")
    start = 0
    for batch in manifest["batches"]:
        rows, sums = batch["rows"], batch["crc32"]
        if type(rows) is not int or not start < rows <= manifest["images"]:
            raise ValueError(f"a batch behind row {start} of {manifest['images']} ends at {rows!r}")
        if type(sums) is not dict or set(sums) != set(manifest["stages"]) or {*map(type, sums.values())} != {int}:
            raise ValueError(f"the checksums of the batch that ends at row {rows} are {sums!r}")
        start = rows


def _file_name(stage: str) -> str:
    return f"{stage.replace(' ', '-')}.npy"


def _file_names(about: dict) -> list[str]:
    return [_file_name(stage) for stage in about["stages"]]


def _header(n: int, width: int) -> bytes:
    """Return the head of an ``.npy`` file of n x width float16."""
    buffer = io.BytesIO()
    described = {"descr": "<f2", "fortran_order": False, "shape": (n, width)}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def _half(values: np.ndarray, stage: str, rows: slice) -> np.ndarray:
    """Return float16, or say which image reaches beyond it."""
    largest = np.abs(values).max(axis=1)
    if largest.max() > np.finfo(np.float16).max:
        row = rows.start + int(largest.argmax())
        raise ValueError(
            f"The features of image {row} at {stage!r} reach {largest.max():.3g}, more than float16 can hold (65,504): "
            f"extract in memory, without a folder."
        )
    return np.ascontiguousarray(values, dtype="<f2")

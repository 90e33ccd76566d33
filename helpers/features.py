"""From images to features: one forward pass, in batches, in memory or streamed to disk."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from .runtime import replace_file
from .validation import check_choice, check_images

__all__ = ["extract", "forward"]

MEMORY_SHARE = 0.5  # of the free memory, which features may take before they have to go to disk

_FORMAT = "features-without-labels features 1"
_MANIFEST = "manifest.json"


def forward(model, inputs, batch_size: int = 256) -> np.ndarray:
    """Return what a model makes of its inputs, in inference mode, as a NumPy array.

    Unlike ``model.predict`` it compiles nothing, which for a small network and one pass is faster.

    Parameters
    ----------
    model : keras.Model
        An encoder, or a decoder, or any layer.
    inputs : array_like of float, shape (n, ...)
    batch_size : int
        Inputs per step; it bounds the memory that the network's layers need.

    Returns
    -------
    ndarray of float32, shape (n, ...)

    Raises
    ------
    ValueError
        If there are no inputs.
    """
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
) -> dict[str, np.ndarray]:
    """Return the features of every stage of a network, computed in one pass.

    In memory they are float32. With `folder` they are streamed to disk as float16, one ``.npy`` file for each
    stage, and come back as memory maps, of which only what is looked at is read: float16 keeps 11 bits, a
    relative error below 0.0005. A manifest beside them says what they are of. An extraction that was interrupted
    goes on where it stopped, and one that is complete is read and not computed again.

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

    Returns
    -------
    dict of str to ndarray, shape (n, d)
        float32 arrays, or read-only float16 memory maps. Row i belongs to image i.

    Raises
    ------
    ValueError
        If images lie outside [0, 1]; a feature is NaN, infinite or too large for float16; the folder holds
        features of another network, of other weights or of other images, or a damaged file. Nothing is deleted.
    MemoryError
        If the features would not fit into memory.
    OSError
        If they would not fit onto the disk, or cannot be written.
    """
    images = getattr(images, "images", images)
    kept = _kept(backbone, stages)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}, but a batch holds 1 image or more.")
    if folder is None:
        _examine(images)
        _check_memory(len(images), kept)
        return _in_memory(_pass(backbone, images, kept, 0, batch_size, progress), len(images), kept)
    return _streamed(backbone, images, kept, Path(folder).expanduser(), batch_size, progress)


def _batches(n: int, batch_size: int, start: int = 0) -> Iterator[slice]:
    return (slice(first, min(first + batch_size, n)) for first in range(start, n, batch_size))


def _kept(backbone, stages: Iterable[str] | None) -> dict[str, int]:
    names = backbone.stages if stages is None else tuple(stages)
    if not names or isinstance(stages, str):
        raise ValueError(f"stages={stages!r}: name one stage or more, as in stages=[{backbone.stages[-1]!r}].")
    return {check_choice(name, backbone.stages, "stage"): backbone.sizes[name] for name in names}


def _examine(images, hashed: bool = False) -> str:
    """Check all images before the first is used; return their digest where it is wanted."""
    if np.ndim(images) != 4 or len(images) == 0:
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
    """A folder of features: one ``.npy`` file for each stage, and a manifest that says how many rows are done.

    The files are written row after row by ordinary writes, and the manifest after them: what a crash leaves
    behind its last row is overwritten. (A memory map of the full size would be simpler, but a full disk then ends
    the process instead of raising an error.)
    """

    folder: Path
    about: dict  # what the features are of; all but "rows"
    rows: int

    @classmethod
    def open(cls, folder: Path, about: dict) -> _Store:
        path = folder / _MANIFEST
        if path.exists():
            store = cls(folder, about, _rows_done(path, about))
            store._check_files()
            return store
        strangers = [name for name in _file_names(about) if (folder / name).exists()]
        if strangers:
            raise ValueError(
                f"The folder {folder} holds {strangers[0]} but no manifest that says of what: give another folder."
            )
        store = cls(folder, about, 0)
        store._check_disk()
        return store.advanced(0)

    @property
    def n(self) -> int:
        return self.about["images"]

    def append(self, rows: slice, found: dict[str, np.ndarray]) -> None:
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

    def advanced(self, rows: int) -> _Store:
        """Say in the manifest that `rows` rows are done."""
        content = json.dumps({**self.about, "rows": rows}, indent=1).encode()
        replace_file(self.folder / _MANIFEST, lambda stream: stream.write(content))
        return _Store(self.folder, self.about, rows)

    def read(self) -> dict[str, np.ndarray]:
        return {
            stage: np.load(self.folder / _file_name(stage), mmap_mode="r", allow_pickle=False)
            for stage in self.about["stages"]
        }

    def _check_files(self) -> None:
        """Refuse files that are shorter than the manifest says, or begin otherwise."""
        for stage, width in self.about["stages"].items() if self.rows else ():
            path, header = self.folder / _file_name(stage), _header(self.n, width)
            again = "put it back as it was, or give another folder to extract anew"
            if not path.is_file():
                raise ValueError(f"The feature file {path} is missing: {again}.")
            found, expected = path.stat().st_size, len(header) + 2 * self.rows * width
            if found < expected:
                raise ValueError(f"The feature file {path} is cut short ({found} of {expected} bytes): {again}.")
            with path.open("rb") as stream:
                if stream.read(len(header)) != header:
                    what = f"{self.n} x {width} float16"
                    raise ValueError(f"The feature file {path} is damaged (its header is not that of {what}): {again}.")

    def _check_disk(self) -> None:
        needed = 2 * self.n * sum(self.about["stages"].values())
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                f"The features of {self.n} images take {needed / 2**30:.1f} GiB, but {self.folder} has "
                f"{free / 2**30:.1f} GiB free: give a folder on a larger disk, or fewer stages."
            )


def _streamed(backbone, images, kept, folder: Path, batch_size: int, progress: bool) -> dict[str, np.ndarray]:
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
    store = _Store.open(folder, about)
    if store.rows < store.n:
        for rows, found in _pass(backbone, images, kept, store.rows, batch_size, progress):
            store.append(rows, found)
            store = store.advanced(rows.stop)
    return store.read()


def _rows_done(path: Path, about: dict) -> int:
    """Return how many rows the manifest has, once it is known to be about the same features."""
    anew = "give another folder, or delete this one to extract anew"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        rows, there = int(manifest["rows"]), {name: manifest[name] for name in about}
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
    if not 0 <= rows <= about["images"]:
        raise ValueError(f"The manifest {path} is damaged ({rows} of {about['images']} rows): {anew}.")
    return rows


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

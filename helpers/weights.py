"""Weights of our own: stored small and in pieces, checked when read, with the card of how they were made.

A folder of weights holds ``manifest.json`` and a few ``.npz`` shards. The manifest names the architecture, lists
every variable (its place in the network, shape, and where its numbers lie), the SHA-256 of every shard, and the
training card. Nothing in it is executed when it is read: no pickle, no code, no names of Keras' counting.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .runtime import replace_file
from .validation import check_choice

__all__ = ["DTYPES", "describe", "digest", "export", "restore"]

DTYPES = ("int8", "float16")
SHARD_LIMIT = 16 * 2**20  # bytes; git hosts and mail gateways take files of this size without ado

_FORMAT = "features-without-labels weights 1"
_MANIFEST = "manifest.json"
_OVERHEAD = 1024  # bytes that an array may cost beyond its numbers: the headers of npy and zip


def digest(model) -> str:
    """Return the SHA-256 of a model's weights: their shapes and numbers in order, whatever the layers are called.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    str
        64 hexadecimal digits; equal for equal weights on every back-end.
    """
    found = hashlib.sha256()
    for value in model.get_weights():
        found.update(f"{value.shape} {value.dtype}\n".encode())
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def export(model, folder: Path | str, *, dtype: str = "int8", about: dict) -> Path:
    """Write a model's weights as ``.npz`` shards of at most 16 MiB, with a manifest.

    Kernels (two axes and more) take the type `dtype`; vectors (biases, the statistics of BatchNormalization)
    are few and delicate, and stay float32. An int8 kernel is stored as whole numbers q in -127 ... 127 and one
    float32 scale s for each output channel, the largest absolute weight of the channel / 127: the weight is
    q s, wrong by at most s / 2. The output channel is the last axis, or the one before it where the last has
    length 1 (depthwise kernels).

    Parameters
    ----------
    model : keras.Model
        Its name, without Keras' count, is stored as the architecture.
    folder : path
        Made if it is missing. It must not hold weights already.
    dtype : {'int8', 'float16'}
        A quarter or half of the bytes of float32.
    about : dict
        The training card, as JSON allows it: images seen, seconds, device, objective, measures, ...

    Returns
    -------
    Path
        Of the manifest, which is written last: a folder without it holds nothing.

    Raises
    ------
    FileExistsError
        If the folder holds weights already.
    NotADirectoryError
        If `folder` is a file.
    ValueError
        If a weight is NaN, infinite or too large for float16, or `about` is no dict of what JSON allows.

    References
    ----------
    Jacob et al. (2018), Quantization and training of neural networks for efficient integer-arithmetic-only
    inference, https://doi.org/10.1109/CVPR.2018.00286 (whose symmetric, per-channel form this is)
    """
    check_choice(dtype, DTYPES, "type of stored weights")
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, but weights take a folder: give one of their own.")
    if (folder / _MANIFEST).exists():
        raise FileExistsError(f"The folder {folder} holds weights already: give another one, or delete it first.")
    card = _checked_card(about)
    places, values = _places(model), model.get_weights()
    entries, arrays = [], {}
    for index, (place, value) in enumerate(zip(places, values, strict=True)):
        stored, scale = _encode(np.asarray(value), dtype, place)
        entry = {"path": place, "shape": list(value.shape), "dtype": stored.dtype.name}
        entry["pieces"] = _cut(f"{index:04d}", stored, arrays)
        if scale is not None:
            entry["scale"] = _cut(f"{index:04d}.scale", scale, arrays)
        entries.append(entry)
    shards = _write_shards(folder, arrays)
    manifest = {
        "format": _FORMAT,
        "architecture": _stem(model.name),
        "dtype": dtype,
        "parameters": int(sum(value.size for value in values)),
        "about": card,
        "shards": shards,
        "variables": entries,
    }
    content = json.dumps(manifest, indent=1).encode()
    replace_file(folder / _MANIFEST, lambda stream: stream.write(content))
    return folder / _MANIFEST


def describe(folder: Path | str) -> dict:
    """Return the manifest of a folder of weights; ``describe(folder)["about"]`` is the training card.

    Raises
    ------
    FileNotFoundError
        If there is no manifest.
    ValueError
        If it is damaged, or of a format that this version does not know.
    """
    path = Path(folder).expanduser() / _MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"There are no weights in {path.parent}: a folder of weights holds a {_MANIFEST}.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _check_type(manifest, "format", str)
        if manifest["format"] == _FORMAT:
            _check_manifest(manifest)
            return manifest
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): fetch this folder of weights again.") from error
    known = manifest["format"]
    raise ValueError(f"{path} is of the format {known!r}, but this version reads {_FORMAT!r}: update the course.")


def restore(model, folder: Path | str) -> dict:
    """Load weights written by `export` into a model of the same architecture.

    Everything is checked before the first number is changed: the architecture, the place and the shape of every
    variable, the SHA-256 of every shard, and that all numbers are finite.

    Parameters
    ----------
    model : keras.Model
    folder : path

    Returns
    -------
    dict
        The training card.

    Raises
    ------
    FileNotFoundError
        If the manifest or a shard is missing.
    ValueError
        If the weights belong to another network, or a file is damaged.
    """
    folder = Path(folder).expanduser()
    manifest = describe(folder)
    _check_architecture(model, manifest, folder)
    arrays = _read_shards(folder, manifest["shards"])
    model.set_weights([_decode(entry, arrays, folder) for entry in manifest["variables"]])
    return manifest["about"]


def _check_manifest(manifest: dict) -> None:
    """Raise an error if a manifest lacks an entry, or has one of a type that `export` never writes."""
    for name, kind in {"architecture": str, "about": dict, "shards": dict, "variables": list}.items():
        _check_type(manifest, name, kind)
    for name in manifest["shards"]:
        _check_type(manifest["shards"], name, str)
    for entry in manifest["variables"]:
        _check_type(entry, "path", str)
        _check_type(entry, "shape", list, int)
        _check_type(entry, "pieces", list, str)
        check_choice(entry["dtype"], (*DTYPES, "float32"), f"type of {entry['path']}")
        if entry["dtype"] == "int8":
            _check_type(entry, "scale", list, str)
        elif "scale" in entry:
            raise ValueError(f"{entry['path']} is {entry['dtype']} and has a scale")


def _check_type(entries: dict, name: str, kind: type, of: type | None = None) -> None:
    value = entries[name]
    if type(value) is not kind or (of and {*map(type, value)} - {of}):
        raise TypeError(f"{name} is {value!r}")


def _stem(path: str) -> str:
    """Drop Keras' counts from a path: the second network of a process numbers its layers on from the first."""
    return re.sub(r"_\d+(?=/|$)", "", path)


def _places(model) -> list[str]:
    return [_stem(variable.path) for variable in model.weights]


def _checked_card(about: dict) -> dict:
    if not isinstance(about, dict):
        raise ValueError(
            f"`about` cannot be written as JSON ({about!r} is no dict): give names and what they stand for."
        )
    try:
        return json.loads(json.dumps(about, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`about` cannot be written as JSON ({error}): give text, finite numbers, lists and dicts of them."
        ) from error


def _encode(value: np.ndarray, dtype: str, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the numbers to store, and the scale of each channel where they are int8."""
    value = value.astype(np.float32, copy=False)
    if not np.isfinite(value).all():
        raise ValueError(f"The weights {place} hold NaN or infinity: export a training that has not diverged.")
    if value.ndim < 2:
        return value, None
    if dtype == "int8":
        return _quantise(value)
    if value.size and np.abs(value).max() > np.finfo(np.float16).max:
        raise ValueError(f"The weights {place} reach {np.abs(value).max():.3g}, more than float16 can hold: use int8.")
    return value.astype(np.float16), None


def _quantise(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    others = tuple(axis for axis, length in enumerate(_scale_shape(kernel.shape)) if length == 1)
    largest = np.abs(kernel).max(axis=others, keepdims=True, initial=0)
    # a channel of zeros has no scale of its own; nor has one so small that its scale would be 0 in float32
    scale = np.maximum(largest / np.float32(127), np.finfo(np.float32).tiny).astype(np.float32)
    return np.clip(np.rint(kernel / scale), -127, 127).astype(np.int8), scale


def _scale_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` with 1 on every axis but the output channel's."""
    channel = len(shape) - (2 if shape[-1] == 1 and len(shape) > 2 else 1)
    return tuple(length if axis == channel else 1 for axis, length in enumerate(shape))


def _cut(name: str, array: np.ndarray, arrays: dict[str, np.ndarray]) -> list[str]:
    """File an array flat under `name`, in as many pieces as shards of limited size ask for."""
    flat, length = np.ravel(array), (SHARD_LIMIT - _OVERHEAD) // array.itemsize
    starts = range(0, max(flat.size, 1), length)
    names = [f"{name}.{start // length}" if len(starts) > 1 else name for start in starts]
    arrays.update({name: flat[start : start + length] for name, start in zip(names, starts, strict=True)})
    return names


def _write_shards(folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Fill shard after shard; return the SHA-256 of each."""
    shards: list[dict[str, np.ndarray]] = [{}]
    room = SHARD_LIMIT
    for name, array in arrays.items():
        need = array.nbytes + _OVERHEAD
        if need > room:
            shards.append({})
            room = SHARD_LIMIT
        shards[-1][name] = array
        room -= need
    sums = {}
    for number, content in enumerate(shards):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        written = buffer.getvalue()
        name = f"shard-{number:02d}.npz"
        replace_file(folder / name, lambda stream, written=written: stream.write(written))
        sums[name] = hashlib.sha256(written).hexdigest()
    return sums


def _check_architecture(model, manifest: dict, folder: Path) -> None:
    if manifest["architecture"] != _stem(model.name):
        raise ValueError(
            f"The weights in {folder} belong to the network {manifest['architecture']!r}, not to "
            f"{_stem(model.name)!r}: build that network, or give another folder."
        )
    ours = [(place, list(weight.shape)) for place, weight in zip(_places(model), model.weights, strict=True)]
    theirs = [(entry["path"], list(entry["shape"])) for entry in manifest["variables"]]
    if len(ours) != len(theirs):
        raise ValueError(
            f"The weights in {folder} have {len(theirs)} variables, but this {_stem(model.name)!r} has {len(ours)}: "
            f"build the network as it was when it was exported."
        )
    for index, (here, there) in enumerate(zip(ours, theirs, strict=True)):
        if here != there:
            raise ValueError(
                f"Variable {index} in {folder} is {there[0]} of shape {tuple(there[1])}, but in this network it is "
                f"{here[0]} of shape {tuple(here[1])}: build the network as it was when it was exported."
            )


def _read_shards(folder: Path, sums: dict[str, str]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, expected in sums.items():
        if Path(name).name != name:
            raise ValueError(f"The manifest in {folder} names the shard {name!r}, which lies outside of the folder.")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"The shard {folder / name} is missing: fetch this folder of weights again.")
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            raise ValueError(f"The shard {folder / name} is damaged (its SHA-256 differs): fetch it again.")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays.update({key: archive[key] for key in archive.files})
        except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"The shard {folder / name} is no archive of arrays ({error}): fetch it again.") from error
    return arrays


def _decode(entry: dict, arrays: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """Return one variable as float32, put together from its pieces."""
    path, shape = entry["path"], tuple(entry["shape"])
    try:
        stored = np.concatenate([arrays[name] for name in entry["pieces"]])
        if stored.dtype != entry["dtype"]:
            raise ValueError(f"they are stored as {stored.dtype}, but the manifest says {entry['dtype']}")
        value = stored.reshape(shape).astype(np.float32)
        if "scale" in entry:
            scale = np.concatenate([arrays[name] for name in entry["scale"]])
            value *= scale.reshape(_scale_shape(shape))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"The weights {path} in {folder} do not have the numbers for shape {shape} ({error}): fetch them again."
        ) from error
    if not np.isfinite(value).all():
        raise ValueError(f"The weights {path} in {folder} hold NaN or infinity: fetch this folder of weights again.")
    return value

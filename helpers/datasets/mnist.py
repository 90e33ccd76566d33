"""MNIST, checked by the digests of its arrays, wherever the file comes from."""

from __future__ import annotations

import hashlib
import http.client
import io
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .. import runtime
from ..validation import check_choice
from .image_set import ImageSet

__all__ = ["load_mnist"]

_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
# SHA-256 of each array's bytes, not of the file: archives of the same arrays differ in their zip headers
_DIGESTS = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
_NOT_FOUND = (
    "MNIST was not found and could not be downloaded ({reason}): connect to the network, set COURSE_DATA to a "
    "folder that holds mnist.npz, or use the embedded set load('shifted-digits')."
)


def load_mnist(path: Path | str | None = None, part: str = "train", download: bool = True) -> ImageSet:
    """Load MNIST: 60,000 handwritten digits of 28 x 28 pixels for training, 10,000 for testing.

    The file ``mnist.npz`` is taken from the first of these places that has it: `path`; the folder named by
    ``COURSE_DATA``; Keras' cache of data sets; a download into that cache. Every array is checked against its
    SHA-256 digest before it is used, and a file that fails the check is named and left as it is.

    Parameters
    ----------
    path : path, optional
        An ``mnist.npz``, or a folder that holds one.
    part : {'train', 'test'}
    download : bool
        Whether the network may be used when no file is found.

    Returns
    -------
    ImageSet
        Images of shape (60000, 28, 28, 1), or (10000, 28, 28, 1) for the test part.

    Raises
    ------
    FileNotFoundError
        If `path` does not exist, or no file is found and `download` is False.
    ConnectionError
        If no file is found and the download fails.
    ValueError
        If the file is damaged, cut short, or holds other arrays than MNIST's.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998), https://doi.org/10.1109/5.726791
    """
    check_choice(part, ("train", "test"), "part of MNIST")
    file = _find(path) or _download(download)
    arrays = _read(file.read_bytes(), str(file), (f"x_{part}", f"y_{part}"))
    return ImageSet(
        arrays[f"x_{part}"][..., None].astype(np.float32) / 255,
        arrays[f"y_{part}"],
        tuple("0123456789"),
        "mnist",
        f"MNIST, {part} part (LeCun, Bottou, Bengio and Haffner 1998), read from {file.name}",
        "CC BY-SA 3.0",
    )


def _find(path: Path | str | None) -> Path | None:
    if path is not None:
        file = Path(path).expanduser()
        file = file / "mnist.npz" if file.is_dir() else file
        if not file.is_file():
            raise FileNotFoundError(f"There is no MNIST file at {file}: give the path of an mnist.npz.")
        return file
    places = [
        folder / "mnist.npz"
        for folder in (runtime.data_folder(), runtime.keras_folder("datasets"))
        if folder is not None
    ]
    return next((file for file in places if file.is_file()), None)


def _download(allowed: bool) -> Path:
    """Fetch the file, check all its arrays, and only then put it into the cache."""
    if not allowed:
        raise FileNotFoundError(_NOT_FOUND.format(reason="download=False"))
    try:
        with urllib.request.urlopen(_ADDRESS, timeout=30) as response:
            content = response.read()
        _read(content, _ADDRESS, _DIGESTS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(_NOT_FOUND.format(reason=reason)) from error
    file = runtime.keras_folder("datasets") / "mnist.npz"
    runtime.replace_file(file, lambda stream: stream.write(content))
    return file


def _read(content: bytes, where: str, names) -> dict[str, np.ndarray]:
    """Return the named arrays, each checked against its digest."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in names}
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"The MNIST file {where} is damaged or cut short ({error}): delete it and load again, or give another path."
        ) from error
    for name, array in arrays.items():
        if hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() != _DIGESTS[name]:
            raise ValueError(
                f"The array {name} in {where} is not MNIST's (its SHA-256 differs): "
                f"delete the file and load again, or give another path."
            )
    return arrays

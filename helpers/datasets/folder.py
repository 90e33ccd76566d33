"""Any folder of images: one subfolder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .image_set import ImageSet

__all__ = ["load_folder"]

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def load_folder(
    path: Path | str,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    licence: str = "unknown: yours to say",
) -> ImageSet:
    """Load images from ``path/<class>/<file>``.

    Each image is cropped to the shape of `size` about its centre and resized, so that mixed sizes become
    one without distortion; grey and colour images are converted to `channels`.

    Parameters
    ----------
    path : path
        A folder with one subfolder per class; files are found at any depth below it.
    size : tuple of int
        Height and width, in pixels.
    channels : {1, 3}
        Grey or colour.
    licence : str
        What the images' licence allows; it goes into the results.

    Returns
    -------
    ImageSet
        In the order of the class names and, within a class, of the file names.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or holds no images in subfolders.
    ValueError
        If `channels` is neither 1 nor 3, or files are damaged: they are named, all of them.

    Examples
    --------
    >>> load_folder("no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no folder no/such/folder: give a folder with one subfolder of images per class.
    """
    home = Path(path).expanduser()
    if channels not in (1, 3):
        raise ValueError(f"channels={channels}, but images are grey (1) or colour (3).")
    if not home.is_dir():
        raise FileNotFoundError(f"There is no folder {home}: give a folder with one subfolder of images per class.")
    files = {
        folder.name: sorted(
            file for file in folder.rglob("*") if file.suffix.lower() in _ENDINGS and file.name[0] != "."
        )
        for folder in sorted(home.iterdir())
        if folder.is_dir() and not folder.name.startswith((".", "__"))  # what systems and tools leave behind
    }
    files = {name: found for name, found in files.items() if found}
    if not files:
        raise FileNotFoundError(f"The folder {home} has no images in subfolders: put each class into a subfolder.")
    paths = [file for found in files.values() for file in found]
    images, damaged = [], []
    for file in paths:
        try:
            images.append(_read(file, size, "L" if channels == 1 else "RGB"))
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            damaged.append(f"{file.relative_to(home)} ({type(error).__name__}: {error})")
    if damaged:
        raise ValueError(
            f"{len(damaged)} of {len(paths)} images in {home} cannot be read: {', '.join(damaged)}; "
            f"replace them or remove them."
        )
    return ImageSet(
        np.stack(images).reshape(len(images), *size, channels).astype(np.float32) / 255,
        np.repeat(np.arange(len(files)), [len(found) for found in files.values()]),
        tuple(files),
        home.resolve().name,
        f"the folder {home.resolve().name}, {len(paths)} images",
        licence,
    )


def _read(file: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    with Image.open(file) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would turn all that is brighter than 255 into white
            raise ValueError("more than 8 bits per channel: convert it first")
        upright = ImageOps.exif_transpose(image).convert(mode)
        return np.asarray(ImageOps.fit(upright, size[::-1], Image.Resampling.BICUBIC))

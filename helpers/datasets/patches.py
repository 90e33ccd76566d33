"""Real textures: patches of scikit-image's photographs of brick, grass and gravel."""

from __future__ import annotations

import numpy as np

from ..validation import check_whole
from .image_set import ImageSet

__all__ = ["load_patches"]

_CLASSES = ("brick", "grass", "gravel")
_SIDE = 512  # of each photograph, in pixels
_GROUP = 128  # side of the squares within which patches count as neighbours


def load_patches(size: int = 64) -> ImageSet:
    """Cut three photographs of 512 x 512 pixels into patches that share no pixel.

    Neighbouring patches share their light, and a crack or a blade of grass runs from one into the next. So all
    patches whose centres lie in one square of 128 x 128 pixels are one group, and no split divides a group.

    Parameters
    ----------
    size : int
        Height and width of a patch, in pixels, from 8 to 256. What is left at the right and lower margin of a
        photograph is not used.

    Returns
    -------
    ImageSet
        Images of shape (3 * (512 // size)**2, size, size, 1): 192 patches of 64 x 64.

    Raises
    ------
    ValueError
        If `size` is out of range.

    Examples
    --------
    >>> patches = load_patches()
    >>> patches.images.shape, patches.class_names
    ((192, 64, 64, 1), ('brick', 'grass', 'gravel'))
    """
    from skimage import data  # here, for it takes a while to import

    check_whole(size, "size", 8, _SIDE // 2)
    count = _SIDE // size
    photographs = np.stack([getattr(data, name)() for name in _CLASSES])[:, : count * size, : count * size]
    cut = photographs.reshape(len(_CLASSES), count, size, count, size).swapaxes(2, 3)
    square = (np.arange(count) * size + size // 2) // _GROUP
    squares = _SIDE // _GROUP
    groups = np.arange(len(_CLASSES))[:, None, None] * squares**2 + square[:, None] * squares + square
    return ImageSet(
        cut.reshape(-1, size, size, 1).astype(np.float32) / 255,
        np.repeat(np.arange(len(_CLASSES)), count**2),
        _CLASSES,
        "patches",
        "scikit-image: photographs of brick, grass and gravel, cut into patches",
        "CC0",
        groups.ravel(),
    )

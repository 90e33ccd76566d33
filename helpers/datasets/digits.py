"""Handwritten digits, plain and shifted: embedded, from scikit-learn."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from sklearn import datasets

from ..validation import check_number, check_whole
from .image_set import ImageSet

__all__ = ["load_digits", "load_shifted_digits"]

_SOURCE = "scikit-learn digits: test set of Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998)"
_LICENCE = "CC BY 4.0"


def load_digits() -> ImageSet:
    """Load 1,797 handwritten digits of 8 x 8 pixels.

    Raw pixels separate them so well that no feature learner can show anything on them: they serve for
    quick looks, and as originals of `load_shifted_digits`.

    Returns
    -------
    ImageSet
        Images of shape (1797, 8, 8, 1).

    References
    ----------
    Alpaydin and Kaynak (1998), https://doi.org/10.24432/C50P49
    """
    bunch = datasets.load_digits()
    return ImageSet(
        (bunch.images[..., None] / 16).astype(np.float32),
        bunch.target,
        tuple("0123456789"),
        "digits",
        _SOURCE,
        _LICENCE,
    )


def load_shifted_digits(
    views: int = 1,
    seed: int = 0,
    size: int = 28,
    scale: tuple[float, float] = (1.2, 1.6),
    rotation: float = 20.0,
    noise: float = 0.1,
) -> ImageSet:
    """Place each digit at a random place of an empty canvas, turned and scaled at random, under noise.

    What a digit *is* stays; where its pixels lie does not. Distances between pixels, which are all that
    raw pixels and PCA can offer, lose their meaning, and a feature has something to learn.

    Parameters
    ----------
    views : int
        Random views of each original; ``groups`` holds the original's number.
    seed : int
    size : int
        Height and width of the canvas, in pixels.
    scale : tuple of float
        Range of the magnification of the 8 x 8 original, drawn uniformly.
    rotation : float
        Largest rotation either way, in degrees from 0 to 180, drawn uniformly.
    noise : float
        Standard deviation of the Gaussian noise, clipped to [0, 1] with the image.

    Returns
    -------
    ImageSet
        Images of shape (1797 * views, size, size, 1), the views of one original next to each other.

    Raises
    ------
    ValueError
        If `views`, `seed` or `size` is no whole number or too small, `scale` is no pair of positive numbers, the
        smaller first, `rotation` or `noise` is out of range, or the largest digit does not fit on the canvas.
    """
    check_whole(views, "views", 1)
    check_whole(seed, "seed", 0)
    check_whole(size, "size", 8)
    low, high = _range(scale)
    check_number(noise, "noise", 0)
    plain = load_digits()
    # half the width of the upright box around an 8 x 8 square turned by `rotation`
    angle = np.deg2rad(min(check_number(rotation, "rotation", 0, 180), 45))  # the box is widest at 45 degrees
    reach = 4 * high * (np.cos(angle) + np.sin(angle))
    if 2 * reach > size:
        raise ValueError(f"A digit scaled by {high} and turned by {rotation} degrees does not fit {size} pixels.")
    random = np.random.default_rng(seed)
    originals = np.repeat(np.arange(len(plain)), views)
    n = len(originals)
    factor = random.uniform(low, high, n)
    turn = np.deg2rad(random.uniform(-rotation, rotation, n))
    centre = random.uniform(reach, size - reach, (n, 2)) - 0.5  # the digit never leaves the canvas
    images = _place(plain.images[..., 0], originals, size, factor, turn, centre)
    images += random.normal(0, noise, images.shape).astype(np.float32)
    return ImageSet(
        np.clip(images, 0, 1)[..., None],
        plain.labels[originals],
        plain.class_names,
        "shifted-digits",
        f"{_SOURCE}; shifted, turned and scaled at random",
        _LICENCE,
        originals,
    )


def _range(scale) -> tuple[float, float]:
    if np.shape(scale) != (2,):
        raise ValueError(f"scale={scale!r}, but it is a pair of numbers, the smaller first, such as (1.2, 1.6).")
    low = check_number(scale[0], "scale[0]", 0, strictly=True)
    return low, check_number(scale[1], "scale[1]", low)


def _place(digits, originals, size, factor, turn, centre, batch: int = 2000) -> np.ndarray:
    """Draw digits on the canvas: for each pixel of the canvas, look up where it comes from."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    canvas = np.empty((len(originals), size, size), np.float32)
    for start in range(0, len(originals), batch):
        part = slice(start, start + batch)
        y = (rows - centre[part, 0, None, None]) / factor[part, None, None]
        x = (columns - centre[part, 1, None, None]) / factor[part, None, None]
        cosine, sine = np.cos(turn[part])[:, None, None], np.sin(turn[part])[:, None, None]
        original = np.broadcast_to(originals[part, None, None], y.shape)
        place = np.stack([original, cosine * y + sine * x + 3.5, cosine * x - sine * y + 3.5])
        canvas[part] = ndimage.map_coordinates(digits, place, order=1, mode="grid-constant", cval=0.0)
    return canvas

"""What the generated sets share: seeds for each image, coordinates of pixels, soft edges."""

from __future__ import annotations

import numpy as np

__all__ = ["LICENCE", "batches", "coverage", "generators", "pixel_centres", "turned", "window"]

LICENCE = "CC BY 4.0"  # of every set that this course generates


def generators(seed: int, label: int, rows: slice) -> list[np.random.Generator]:
    """Return a generator for each image, its own by seed, class and number.

    So no image depends on how many others are drawn, or in which batches: fewer images of a class are the
    first of the many.

    Parameters
    ----------
    seed, label : int
        0 or more.
    rows : slice
        The numbers of the images within their class, from `start` to `stop`.

    Returns
    -------
    list of numpy.random.Generator
    """
    return [np.random.default_rng((seed, label, number)) for number in range(rows.start, rows.stop)]


def batches(n: int, size: int, pixels: int = 2**20) -> list[slice]:
    """Cut `n` images of `size` x `size` into parts of about `pixels` pixels: work that stays near the cache.

    Parameters
    ----------
    n, size, pixels : int
        1 or more.

    Returns
    -------
    list of slice
        One after the other from 0 to n, each of one image or more.
    """
    step = max(1, pixels // size**2)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def pixel_centres(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the centres of the pixels lie, on a canvas of side 1 about 0.

    Parameters
    ----------
    size : int
        Height and width of the canvas, in pixels.

    Returns
    -------
    x, y : ndarray of float32, shapes (1, size) and (size, 1)
        In (-0.5, 0.5); y grows downwards.
    """
    along = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    return along[None, :], along[:, None]


def turned(x: np.ndarray, y: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates in axes that are turned, by an angle of its own for each image.

    Parameters
    ----------
    x, y : ndarray of float32
        Of shapes that broadcast to (n, h, w).
    angle : ndarray of float, shape (n,)
        In radians, from x towards y.

    Returns
    -------
    x, y : ndarray of float32, shape (n, h, w)
    """
    cosine = np.cos(angle).astype(np.float32)[:, None, None]
    sine = np.sin(angle).astype(np.float32)[:, None, None]
    return cosine * x + sine * y, cosine * y - sine * x


def coverage(distance: np.ndarray, size: int) -> np.ndarray:
    """Return how much of a pixel a figure covers, from the signed distance (below 0 inside) to its outline.

    Exact for a straight edge along a side of the pixel, and close to it for others: edges without steps.

    Parameters
    ----------
    distance : ndarray of float
        At the centre of each pixel, in sides of the canvas.
    size : int
        Height and width of the canvas, in pixels.

    Returns
    -------
    ndarray of float, of the shape of `distance`
        In [0, 1].
    """
    return np.clip(0.5 - size * distance, 0, 1)


def window(size: int, place: np.ndarray, reach: float) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Return the pixels that a figure at `place` can touch, and how far their centres lie from it.

    Parameters
    ----------
    size : int
        Height and width of the canvas, in pixels.
    place : ndarray, shape (2,)
        x and y, in sides of the canvas, from its upper left corner.
    reach : float
        How far the figure extends from there, in sides of the canvas. A pixel is added for its soft edge.

    Returns
    -------
    rows, columns : slice
        Empty where the figure lies beside the canvas.
    x, y : ndarray of float32, shapes (1, columns) and (rows, 1)
    """
    low = np.clip(np.floor((place - reach) * size) - 1, 0, size).astype(int)
    high = np.clip(np.ceil((place + reach) * size) + 1, 0, size).astype(int)
    columns, rows = (slice(start, max(start, stop)) for start, stop in zip(low, high, strict=True))
    x, y = (
        ((np.arange(part.start, part.stop) + 0.5) / size - middle).astype(np.float32)
        for part, middle in zip((columns, rows), place, strict=True)
    )
    return rows, columns, x[None, :], y[:, None]

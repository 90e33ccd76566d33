"""Four simple objects, turned, sized and placed at random: generated."""

from __future__ import annotations

import numpy as np

from ..validation import check_whole
from .drawing import LICENCE, coverage, generators, window
from .image_set import ImageSet

__all__ = ["load_shapes"]

_SCALE = (0.2, 0.5)  # side of the square of equal area, in sides of the canvas
_REACH = 0.923  # the farthest point of any shape of area 1 from its centre: the star's


def load_shapes(per_class: int = 200, size: int = 299, seed: int = 0) -> ImageSet:
    """Draw triangles, squares, five-pointed stars and crosses, black on white.

    After the synthetic set of a study that probed Inception-v3 layer by layer: four simple objects, 200 images
    of each, 299 x 299 pixels, rotation and size at random. The study shows its objects in a figure only, so
    the four are ours. Here the place is random, too, and a shape never leaves the canvas.

    All shapes of one size have the same area, and sizes and places are drawn alike for every class: how dark an
    image is, and where, says nothing about its class. Only the outline does.

    Parameters
    ----------
    per_class : int
        Images of each class. Fewer images are the first of the many.
    size : int
        Height and width, in pixels, at least 16. The same seed draws the same shapes at every size.
    seed : int

    Returns
    -------
    ImageSet
        Images of shape (4 * per_class, size, size, 1), class by class. 800 images of 299 x 299 are 286 MB.

    Raises
    ------
    ValueError
        If `per_class` is not positive, `size` is below 16 or `seed` is negative.

    Examples
    --------
    >>> shapes = load_shapes(per_class=3, size=32)
    >>> shapes.images.shape, shapes.class_names
    ((12, 32, 32, 1), ('triangle', 'square', 'star', 'cross'))
    """
    check_whole(per_class, "per_class", 1)
    check_whole(size, "size", 16)
    check_whole(seed, "seed", 0)
    images = np.ones((len(_WEDGES) * per_class, size, size, 1), np.float32)
    row = 0
    for label, (folds, distance) in enumerate(_WEDGES.values()):
        for random in generators(seed, label, slice(0, per_class)):
            _draw(images[row, ..., 0], random, folds, distance)
            row += 1
    return ImageSet(
        images,
        np.repeat(np.arange(len(_WEDGES)), per_class),
        tuple(_WEDGES),
        "shapes",
        f"made by this course, seed {seed}; after a study of Inception-v3's layers (four simple objects)",
        LICENCE,
    )


def _draw(canvas: np.ndarray, random: np.random.Generator, folds: int, distance) -> None:
    """Draw one shape on a white canvas of shape (size, size)."""
    scale, *place, angle = random.uniform(size=4)
    scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * scale
    place = 0.5 + (0.5 - _REACH * scale) * (2 * np.array(place) - 1)
    rows, columns, x, y = window(len(canvas), place, _REACH * scale)
    x, y = _folded(x / scale, y / scale, folds, 2 * np.pi * angle)
    canvas[rows, columns] -= coverage(scale * distance(x, y), len(canvas))


def _folded(x: np.ndarray, y: np.ndarray, folds: int, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn the plane, then fold it, as paper for a cut-out star, into the wedge of angles from 0 to pi / folds."""
    wedge = 2 * np.pi / folds
    angle = (np.arctan2(y, x) - np.float32(turn)) / np.float32(wedge)
    angle = np.float32(wedge) * np.abs(angle - np.rint(angle))
    radius = np.hypot(x, y)
    return radius * np.cos(angle), radius * np.sin(angle)


def _polygon(corners: int):
    """Return the signed distance to a regular polygon of area 1; its wedge holds half of one side."""
    apothem = 1 / np.sqrt(corners * np.tan(np.pi / corners))
    return lambda x, y: x - np.float32(apothem)


def _star(points: int, waist: float):
    """Return the signed distance to a star of area 1 whose inner corners lie at `waist` times its radius."""
    half = np.pi / points
    radius = 1 / np.sqrt(points * waist * np.sin(half))
    tip, notch = np.array([radius, 0]), radius * waist * np.array([np.cos(half), np.sin(half)])
    along = (notch - tip) / np.hypot(*(notch - tip))
    normal = np.array([along[1], -along[0]])  # away from the centre
    return lambda x, y: np.float32(normal[0]) * (x - np.float32(tip[0])) + np.float32(normal[1]) * y


def _cross(width: float):
    """Return the signed distance to a cross of area 1 whose arms are `width` times as wide as the whole."""
    arm = 0.5 / np.sqrt(width * (2 - width))
    return lambda x, y: np.maximum(x - np.float32(arm), y - np.float32(width * arm))


# how often the plane is folded, and the distance to the outline within the wedge
_WEDGES = {
    "triangle": (3, _polygon(3)),
    "square": (4, _polygon(4)),
    "star": (5, _star(5, waist=0.4)),
    "cross": (4, _cross(width=1 / 3)),
}

"""Abstract paintings whose class is a mood, palette and composition, and no object: generated."""

from __future__ import annotations

import numpy as np

from ..validation import check_whole
from .drawing import LICENCE, coverage, generators, window
from .image_set import ImageSet

__all__ = ["load_paintings"]

_HUES = {"ember": 45.0, "meadow": 135.0, "lake": 225.0, "dusk": 315.0}  # middle of each palette, degrees of OKLCH
_WIDTH = (0.12, 0.32)  # range of a band's deviation across its diagonal, in sides of the canvas
_DRIFT = 20.0  # deviation of a painting's hue from its palette's, in degrees
_SPREAD = 45.0  # deviation of a stroke's hue from its painting's
_FOREIGN = 0.3  # share of the strokes that take any hue
_COMPOSITIONS = {"rising": 1.0, "falling": -1.0}  # the diagonal along which the strokes lie
_COUNTS = (163, 88, 172, 196, 162, 196, 193, 259)  # unequal as in affective sets; their sum is the study's 1,429
_STROKES = 36


def load_paintings(per_class: int | None = None, size: int = 128, seed: int = 0) -> ImageSet:
    """Paint abstract compositions in eight classes of unequal size: four palettes, rising or falling.

    A stand-in for photographs and paintings labelled with the emotion that they call up, 1,429 images in eight
    classes, which are not free to hand on. As there, no object tells the class. Every painting has a style: one
    or two kinds of stroke (boxes, discs, diamonds, and what lies between), their size, how they are turned,
    how transparent they are, the ground. Styles are drawn alike for every class, and they are most of what
    differs between two paintings. A class is only

    - a palette: hues about a middle one. Palettes lie 90 degrees apart, a stroke's hue wanders by about 50 (one
      deviation), and three strokes in ten take any hue; lightness and chroma are drawn alike for all;
    - a composition: strokes in a band along the *rising* or the *falling* diagonal, narrow or wide. One is the
      mirror image of the other: only where the strokes lie tells them apart.

    Parameters
    ----------
    per_class : int, optional
        The most paintings of each class; by default all, 88 to 259. Fewer paintings are the first of the many.
    size : int
        Height and width, in pixels, at least 16. The same seed paints the same pictures at every size.
    seed : int

    Returns
    -------
    ImageSet
        Images of shape (1429, size, size, 3), class by class. At 128 x 128 they are 281 MB.

    Raises
    ------
    ValueError
        If `per_class` is not positive, `size` is below 16 or `seed` is negative.

    References
    ----------
    Machajdik and Hanbury (2010), https://doi.org/10.1145/1873951.1873965 (the sets that this one stands in for);
    Ottosson (2020), A perceptual color space for image processing, https://bottosson.github.io/posts/oklab/

    Examples
    --------
    >>> paintings = load_paintings(per_class=2, size=16)
    >>> paintings.images.shape, paintings.class_names[:3]
    ((16, 16, 16, 3), ('ember, rising', 'ember, falling', 'meadow, rising'))
    """
    limit = max(_COUNTS) if per_class is None else check_whole(per_class, "per_class", 1)
    check_whole(size, "size", 16)
    check_whole(seed, "seed", 0)
    counts = [min(count, limit) for count in _COUNTS]
    classes = [(palette, composition) for palette in _HUES for composition in _COMPOSITIONS]
    images = np.empty((sum(counts), size, size, 3), np.float32)
    row = 0
    for label, (palette, composition) in enumerate(classes):
        for random in generators(seed, label, slice(0, counts[label])):
            _paint(images[row], random, _HUES[palette], _COMPOSITIONS[composition])
            row += 1
    return ImageSet(
        images,
        np.repeat(np.arange(len(classes)), counts),
        tuple(", ".join(names) for names in classes),
        "paintings",
        f"made by this course, seed {seed}; in place of affective images (eight classes, 1,429 images)",
        LICENCE,
    )


def _paint(canvas: np.ndarray, random: np.random.Generator, hue: float, diagonal: float) -> None:
    """Fill one canvas of shape (size, size, 3)."""
    hues = hue + random.normal(0, _DRIFT) + random.normal(0, _SPREAD, _STROKES)
    foreign = random.random(_STROKES) < _FOREIGN
    hues[foreign] = random.uniform(0, 360, foreign.sum())
    colours = _rgb(random.uniform(0.35, 0.85, _STROKES), random.uniform(0.05, 0.17, _STROKES), hues)
    # a ground of any hue, close to grey: it covers most of the canvas and would give the palette away
    canvas[:] = _rgb(*random.uniform((0.2, 0.0, 0.0), (0.95, 0.04, 360.0)))
    for place, colour, stroke in zip(_places(random, diagonal), colours, _strokes(random), strict=True):
        _lay(canvas, place, colour, *stroke)


def _places(random: np.random.Generator, diagonal: float) -> np.ndarray:
    """Return the strokes' centres (x, y) on a canvas of side 1, y downwards, shape (strokes, 2)."""
    along = random.uniform(-0.6, 0.6, _STROKES)
    across = random.uniform(-0.2, 0.2) + random.normal(0, random.uniform(*_WIDTH), _STROKES)
    return 0.5 + np.stack([along + across, diagonal * (across - along)], axis=1) / np.sqrt(2)


def _strokes(random: np.random.Generator):
    """Yield half length, half width, angle, corners and opacity of each stroke, in one style for all."""
    kinds = random.dirichlet((0.3, 0.3, 0.3), size=2)  # mostly box, disc or diamond; some between
    kind = kinds[random.integers(0, 2, _STROKES)]
    length = random.uniform(0.03, 0.15) * np.exp(random.normal(0, 0.35, _STROKES))
    aspect = random.uniform(0.15, 1) ** random.uniform(0.5, 1.5, _STROKES)
    angle = random.uniform(0, np.pi) + random.choice([0.1, 2.0]) * random.normal(size=_STROKES)
    opacity = random.uniform(0.5, 1.0)
    return zip(length, length * aspect, angle, kind, np.full(_STROKES, opacity), strict=True)


def _lay(canvas, place, colour, length, width, angle, kind, opacity) -> None:
    """Lay one stroke on the canvas, within the window that it can reach."""
    rows, columns, x, y = window(len(canvas), place, 1.42 * length)  # as far as the corner of a square
    along = np.abs(np.cos(angle) * x + np.sin(angle) * y) / length
    across = np.abs(np.cos(angle) * y - np.sin(angle) * x) / width
    box, disc, diamond = np.maximum(along, across), np.hypot(along, across), along + across
    outside = (kind[0] * box + kind[1] * disc + kind[2] * diamond - 1) * width  # about the distance
    beneath = canvas[rows, columns]
    beneath += opacity * coverage(outside, len(canvas))[..., None] * (colour - beneath)


def _rgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return sRGB colours (n, 3) in [0, 1] of OKLCH ones; what a screen cannot show is cut."""
    a, b = chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))
    cones = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_linear @ cones**3, 0, 1).T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

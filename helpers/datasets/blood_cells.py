"""Crops of stained blood smears in three classes, one of them half of all, from slides of their own: generated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..validation import check_choice, check_number, check_whole
from .drawing import LICENCE, coverage, generators, window
from .image_set import ImageSet

__all__ = ["load_blood_cells"]

_CLASSES = ("red cell", "white cell", "platelet")
_RED, _WHITE, _PLATELET = range(3)
_COUNTS = {"train": (1003, 502, 501), "test": (233, 116, 117)}  # the report's 2,006 and 466: half, a quarter, a quarter
_SLIDES = {"train": 40, "test": 10}
_SHARES = 4.0  # concentration of the slides' shares: some slides have five times the images of others
_FIELD = 16.0  # side of a crop, in micrometres: a white cell of middle size fills three quarters of it
_JITTER = (0.05, 0.13)  # deviation of a cell's place from the middle of its crop at difficulty 0 and 1, in sides
_NEIGHBOURS = 7  # at most; how many there are is the slide's: thick and thin smears
_NEIGHBOUR_SHARES = (0.86, 0.03, 0.11)  # blood has far more red cells; more of the others than in life, to be seen
_GRAIN, _LATTICE = 0.55, 34  # granules and chromatin: distance of their lattice's points in micrometres, points a side
_HARMONICS = 7  # of an outline: the second makes it oval, the others ragged
_LOBES = 5  # of a nucleus, at most

# Each quantity of a cell is normal: its mean in red cells, white cells and platelets at difficulty 0 and at 1, between
# which it goes in a straight line, and its deviation within a class. Lengths in micrometres; amounts of dye such that
# 1 is a well stained red cell (eosin) or the nucleus of a white cell (azure).
_QUANTITIES = {
    # 7.4, 11.2 and 3 wide; at 1 small red cells, small lymphocytes and giant platelets
    "log_radius": (np.log([3.7, 5.6, 1.5]), np.log([3.6, 3.8, 3.1]), 0.14),
    "oval": ((0.04, 0.05, 0.10), (0.06, 0.06, 0.07), 0.03),  # amplitude of the second harmonic, in radii
    "ragged": ((0.01, 0.03, 0.08), (0.02, 0.035, 0.045), 0.01),  # deviation of the other harmonics
    "eosin": ((0.95, 0.25, 0.15), (0.68, 0.48, 0.40), 0.10),  # haemoglobin takes eosin; young red cells have less
    "azure": ((0.02, 0.18, 0.45), (0.18, 0.25, 0.31), 0.05),  # and they take azure, as the ribosomes of all do
    "pallor": ((0.90, 0.0, 0.0), (0.22, 0.0, 0.0), 0.15),  # share of the dye that is missing in the middle
    "core": ((-0.3, 1.0, 0.25), (-0.02, 0.28, 0.20), 0.08),  # azure of a nucleus, or of a platelet's darker middle
    "granules": ((0.04, 0.30, 0.80), (0.24, 0.34, 0.42), 0.08),  # deviation of the dye from grain to grain
}
_EASY, _HARD = (np.array([row[level] for row in _QUANTITIES.values()]).T for level in (0, 1))
_DEVIATIONS = np.array([row[2] for row in _QUANTITIES.values()])
_WIDENING = 0.5  # by how much wider a class has become at difficulty 1

# absorbance (natural logarithm) of red, green and blue light by one unit of dye
_EOSIN = np.array([0.13, 0.42, 0.40])
_AZURE = np.array([0.90, 1.15, 0.10])


def load_blood_cells(part: str = "all", size: int = 64, difficulty: float = 0.5, seed: int = 0) -> ImageSet:
    """Draw crops of stained blood smears: red cells, white cells and platelets, half of them red cells.

    A stand-in for the imbalanced set of a report that fine-tuned three networks and clustered their features: 2,006
    training and 466 test images in three classes, one of them half of all. A crop shows one cell of its class about
    the middle, others beside it that its border may cut off, and plasma between them.

    Each crop belongs to a slide, its group. A slide has a stain (amount and hue of eosin and of azure), a lamp (colour,
    brightness, vignetting), a focus, a noise and a crowd of its own, and crops of every class. Training and test share
    no slide, as a laboratory's next smear was never seen before, and the slides' numbers of images differ.

    Light passes through two dyes: eosin, which haemoglobin takes, and azure, which nuclei take. What is left of it falls
    exponentially with the amount of each (the law of Beer and Lambert), so a slide's stain is two vectors of absorbance,
    and one slide's pale red cell may have the colour of another slide's plasma.

    Parameters
    ----------
    part : {'all', 'train', 'test'}
        ``'all'`` holds the training images, then the test images.
    size : int
        Height and width, in pixels, at least 16. The same seed draws the same cells at every size; only the noise is
        one of pixels. A side is 16 micrometres.
    difficulty : float
        From 0 to 1. It moves the classes' distributions of size, outline, colour, pallor, nucleus and granules into
        each other, and lets stain, lamp and focus vary more from slide to slide. The same seed keeps place, neighbours
        and pose of each cell at every difficulty.
    seed : int

    Returns
    -------
    ImageSet
        Images of shape (2472, size, size, 3), class by class within each part; 122 MB at 64 x 64. `groups` are the
        slides: 0 to 39 of the training images, 40 to 49 of the test images.

    Raises
    ------
    ValueError
        If `part` is unknown, `size` is below 16, `difficulty` lies outside [0, 1] or `seed` is negative.

    References
    ----------
    Ruifrok and Johnston (2001), Quantification of histochemical staining by color deconvolution, Analytical and
    Quantitative Cytology and Histology 23, 291-299 (stains as vectors of absorbance).

    Examples
    --------
    >>> cells = load_blood_cells("test", size=16)
    >>> cells.images.shape, cells.class_names
    ((466, 16, 16, 3), ('red cell', 'white cell', 'platelet'))
    """
    check_choice(part, ("all", *_COUNTS), "part")
    check_whole(size, "size", 16)
    difficulty = check_number(difficulty, "difficulty", 0, 1)
    level = 1 - (1 - difficulty) ** 2
    check_whole(seed, "seed", 0)
    parts = tuple(_COUNTS) if part == "all" else (part,)
    labels = np.concatenate([np.repeat(range(3), _COUNTS[one]) for one in parts])
    groups = np.concatenate([_slides_of(one, seed) for one in parts])
    numbers = np.concatenate([_numbers(one) for one in parts])
    slides = [_Slide.draw(random, level) for random in generators(seed, 3, slice(0, sum(_SLIDES.values())))]
    images = np.empty((len(labels), size, size, 3), np.float32)
    for row, (label, number, group) in enumerate(zip(labels, numbers, groups, strict=True)):
        (random,) = generators(seed, int(label), slice(number, number + 1))
        images[row] = _crop(random, label, slides[group], size, level)
    return ImageSet(
        images,
        labels,
        _CLASSES,
        "blood-cells",
        f"made by this course, part {part}, difficulty {difficulty:g}, seed {seed}; in place of crops of blood smears",
        LICENCE,
        groups,
    )


def _numbers(part: str) -> np.ndarray:
    """Return the number of each image within its class: training images come before test images."""
    before = _COUNTS["train"] if part == "test" else (0, 0, 0)
    return np.concatenate([start + np.arange(n) for start, n in zip(before, _COUNTS[part], strict=True)])


def _slides_of(part: str, seed: int) -> np.ndarray:
    """Return the slide of each image: every slide has images of every class, and their numbers differ."""
    place = list(_COUNTS).index(part)
    random = np.random.default_rng((seed, 4, place))
    n = _SLIDES[part]
    first = _SLIDES["train"] * place
    shares = random.dirichlet(np.full(n, _SHARES))
    slides = []
    for count in _COUNTS[part]:
        own = random.dirichlet(20 * n * shares + 1e-3)  # a slide has more of one class, less of another
        slides.append(random.permutation(np.concatenate([np.arange(n), random.choice(n, count - n, p=own)])))
    return first + np.concatenate(slides)


@dataclass(frozen=True)
class _Slide:
    """What all crops of a slide share."""

    eosin: np.ndarray  # absorbance of red, green and blue by one unit
    azure: np.ndarray
    light: np.ndarray  # red, green and blue, where nothing absorbs
    vignette: float  # share of the light that is lost in the corner of the field of view
    blur: float  # deviation of the point-spread function, in micrometres
    noise: float  # deviation, of 1
    crowding: float  # share of the neighbours that are there

    @classmethod
    def draw(cls, random: np.random.Generator, level: float) -> _Slide:
        vary = 0.4 + 1.0 * level
        strength = np.exp(0.28 * vary * random.standard_normal(2))
        hue = np.exp(0.16 * vary * random.standard_normal((2, 3)))
        lamp = 0.08 + 0.07 * vary * random.standard_normal() + 0.035 * vary * random.standard_normal(3) * [1, 0.3, 1]
        focus, noise, vignette, crowding = random.random(4)
        return cls(
            strength[0] * hue[0] * _EOSIN,
            strength[1] * hue[1] * _AZURE,
            np.array([0.90, 0.89, 0.85]) * np.exp(-np.abs(lamp)),
            0.3 * vignette,
            0.12 * np.exp(0.9 * vary * focus),
            0.008 + 0.017 * noise,
            0.25 + 0.7 * crowding,
        )


def _crop(random: np.random.Generator, label: int, slide: _Slide, size: int, level: float) -> np.ndarray:
    """Return one crop of shape (size, size, 3)."""
    kinds = np.r_[label, random.choice(3, _NEIGHBOURS, p=_NEIGHBOUR_SHARES)]
    present = np.r_[True, random.random(_NEIGHBOURS) < slide.crowding]
    cells = _Cells.draw(random, kinds, level)
    places = _places(random, cells.radius, np.interp(level, (0, 1), _JITTER))
    view, focus = random.uniform(-0.5, 0.5, 2), random.uniform(0.8, 1.3)
    dyes = np.zeros((2, size, size), np.float32)
    dyes[0] = 0.04  # plasma
    for cell in np.flatnonzero(present):
        cells.lay(cell, places[cell], dyes)
    absorbed = np.tensordot(dyes, np.float32([slide.eosin, slide.azure]), (0, 0))
    image = slide.light.astype(np.float32) * np.exp(-absorbed)
    image = ndimage.gaussian_filter(image, (*[slide.blur * focus * size / _FIELD] * 2, 0), mode="nearest")
    along = (np.arange(size) + 0.5) / size * 0.3
    away = (view[0] + along[None]) ** 2 + (view[1] + along[:, None]) ** 2
    image *= (1 - slide.vignette * 2 * away)[..., None].astype(np.float32)
    image += np.float32(slide.noise) * random.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1)


def _places(random: np.random.Generator, radius: np.ndarray, jitter: float) -> np.ndarray:
    """Return the cells' places in sides, shape (cells, 2): the first in the middle, the others about it."""
    places = 0.5 + jitter * random.standard_normal((1, 2)).clip(-2, 2)
    angle = 2 * np.pi * random.random(_NEIGHBOURS)
    gap = -0.4 + 4.5 * random.random(_NEIGHBOURS)
    distance = (radius[0] + radius[1:] + gap) / _FIELD
    around = places + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([places, around])


@dataclass(frozen=True)
class _Cells:
    """The cells of a crop, the first the one that it shows."""

    radius: np.ndarray
    quantities: dict[str, np.ndarray]
    outlines: np.ndarray  # coefficients of a polynomial of the direction, complex, (cells, harmonics + 1)
    lobes: np.ndarray  # x, y and radius of the nucleus' lobes, in radii of the cell, (cells, lobes, 3)
    texture: np.ndarray  # (cells, lattice, lattice)

    @classmethod
    def draw(cls, random: np.random.Generator, kinds: np.ndarray, level: float) -> _Cells:
        n = len(kinds)
        means = (1 - level) * _EASY + level * _HARD
        deviations = (1 + _WIDENING * level) * _DEVIATIONS
        drawn = means[kinds] + deviations * random.standard_normal((n, len(_DEVIATIONS))).clip(-2.5, 2.5)
        quantities = dict(zip(_QUANTITIES, drawn.T, strict=True))
        radius = np.exp(quantities.pop("log_radius"))
        quantities = {name: np.maximum(value, 0) for name, value in quantities.items()}
        waves = random.standard_normal((n, _HARMONICS - 1, 2)) @ [1, 1j] / np.sqrt(2 * (_HARMONICS - 2))
        waves *= 3 / np.arange(_HARMONICS, 1, -1) * quantities["ragged"][:, None]
        turn = np.exp(2j * np.pi * random.random(n))
        waves[:, -1] = turn * quantities["oval"]  # coefficient of the second harmonic
        outlines = np.concatenate([waves, np.zeros((n, 1)), np.ones((n, 1))], axis=1)
        return cls(
            radius,
            quantities,
            outlines.astype(np.complex64),
            _lobes(random, kinds),
            random.standard_normal((n, _LATTICE, _LATTICE), np.float32),
        )

    def lay(self, cell: int, place: np.ndarray, dyes: np.ndarray) -> None:
        """Add the dyes of one cell to a canvas of shape (2, size, size)."""
        size, radius = dyes.shape[1], self.radius[cell]
        rows, columns, x, y = window(size, place, 1.5 * radius / _FIELD)
        if not (rows.stop > rows.start and columns.stop > columns.start):
            return
        x, y = np.float32(_FIELD) * x, np.float32(_FIELD) * y  # micrometres from here on
        amount = {name: np.float32(value[cell]) for name, value in self.quantities.items()}
        away = np.maximum(np.hypot(x, y), np.float32(1e-6))
        edge = np.float32(radius) * np.polyval(self.outlines[cell], (x + 1j * y) / away).real
        body = coverage((away - edge) / np.float32(_FIELD), size)
        thick = body * (1 - np.minimum(amount["pallor"], 1) * np.exp(-((away / edge / np.float32(0.5)) ** 2)))
        texture = _interpolated(self.texture[cell], x[0], y[:, 0])
        grain = np.maximum(1 + amount["granules"] * texture, 0)
        dyes[0, rows, columns] += amount["eosin"] * thick * (0.6 + 0.4 * grain)
        dyes[1, rows, columns] += amount["azure"] * thick * grain
        if amount["core"] > 0:
            outside = _outside(x, y, np.float32(radius) * self.lobes[cell]) + np.float32(0.1) * texture
            core = body * coverage(outside / np.float32(_FIELD), size) * amount["core"] * (1 + 0.15 * texture)
            dyes[:, rows, columns] += np.float32([0.3, 1])[:, None, None] * core


def _outside(x: np.ndarray, y: np.ndarray, lobes: np.ndarray) -> np.ndarray:
    """Return the distance to the outline of lobes that run into each other (a smooth minimum of distances)."""
    soft = np.float32(0.25)  # micrometres
    within = sum(np.exp((radius - np.hypot(x - left, y - top)) / soft) for left, top, radius in lobes if radius > 0)
    return -soft * np.log(within + np.float32(1e-30))


def _lobes(random: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
    """Return x, y and radius of the lobes of each nucleus in radii of the cell; radius 0 is no lobe."""
    n = len(kinds)
    count = np.where(kinds == _WHITE, 1 + random.choice(_LOBES, n, p=(0.35, 0.15, 0.25, 0.2, 0.05)), 1)
    turn, bend = 2 * np.pi * random.random((n, 1)), random.uniform(0.9, 1.3, (n, 1))
    number = np.arange(_LOBES) - (count[:, None] - 1) / 2
    angle = turn + bend * number
    single = count[:, None] == 1
    out = np.where(single, 0.15, 0.48) * random.uniform(0.8, 1.2, (n, _LOBES))
    wide = np.where(single, 0.66, 0.33) * random.uniform(0.85, 1.15, (n, _LOBES))
    wide[np.arange(_LOBES) >= count[:, None]] = 0
    return np.stack([out * np.cos(angle), out * np.sin(angle), wide], axis=2).astype(np.float32)


def _interpolated(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a lattice's values at x (columns) and y (rows), linear between its points, which are `_GRAIN` apart."""
    points = _GRAIN * (np.arange(_LATTICE) - (_LATTICE - 1) / 2)
    across, down = (np.maximum(0, 1 - np.abs(along[:, None] - points) / _GRAIN).astype(np.float32) for along in (x, y))
    return down @ lattice @ across.T

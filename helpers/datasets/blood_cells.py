"""Crops of stained blood smears in three classes, one of them half of all, each from one of many slides: generated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..validation import check_choice, check_number, check_whole
from .drawing import LICENCE, coverage, generators, window
from .image_set import ImageSet

__all__ = ["load_blood_cells"]

_CLASSES = ("red cell", "white cell", "platelet")
_COUNTS = {"train": (1003, 502, 501), "test": (233, 116, 117)}  # the report's 2,006 and 466: half, a quarter, a quarter
_SLIDES = {"train": 40, "test": 10}  # some 50 crops of each, as in a small study
_SHARES = 4.0  # concentration of the slides' shares of the crops: the largest slide has some ten times the smallest's
_MIX = 20.0  # and of each class' shares about them: a slide has more of one class, less of another

_FIELD = 16.0  # side of a crop, in micrometres: a white cell of middle size fills two thirds of it
_JITTER = (0.05, 0.13)  # deviation of a cell's place from the middle of its crop at difficulty 0 and 1, in sides
_NEIGHBOURS = 7  # at most; how many of them are there is the slide's
_NEIGHBOUR_SHARES = (0.86, 0.03, 0.11)  # blood has more red cells by far; others often enough to be met
_GAP = (-0.4, 4.1)  # between a neighbour and the cell, in micrometres: below 0 it lies on it
_HARMONICS = 7  # of an outline: the second makes it oval, the others ragged
_LOBES = 5  # of a white cell's nucleus, at most
_LOBE_SHARES = (0.35, 0.15, 0.25, 0.20, 0.05)  # one: lymphocytes and monocytes; more: granulocytes, which prevail
_GRAIN, _LATTICE = 0.55, 34  # distance in micrometres, and number along a side, of the points of granules and chromatin

# A cell's quantities are normal: their means in red cells, white cells and platelets at difficulty 0, and at 1; their
# deviation within a class at 0. Lengths are in micrometres; one unit of dye is that of a dark red cell (eosin) or of
# the nucleus of a white cell (azure). The values at 0 are those of a healthy adult's smear, as textbooks describe it.
_QUANTITIES = {
    # 7.4, 11.2 and 3 wide; at 1 lymphocytes as small as red cells, and giant platelets
    "log_radius": (np.log([3.7, 5.6, 1.5]), np.log([3.6, 3.8, 3.1]), 0.14),
    "oval": ((0.04, 0.05, 0.10), (0.06, 0.06, 0.07), 0.03),  # amplitude of the second harmonic, in radii
    "ragged": ((0.01, 0.03, 0.08), (0.02, 0.035, 0.045), 0.01),  # about the deviation of the others; platelets creep
    "eosin": ((0.95, 0.25, 0.15), (0.68, 0.48, 0.40), 0.10),  # haemoglobin takes it; young red cells have less
    "azure": ((0.02, 0.18, 0.45), (0.18, 0.25, 0.31), 0.05),  # nucleic acids take it, those of young red cells, too
    "pallor": ((0.90, 0.0, 0.0), (0.22, 0.0, 0.0), 0.15),  # share of the dye missing in the middle of a biconcave cell
    "core": ((-0.30, 1.0, 0.25), (-0.02, 0.28, 0.20), 0.08),  # azure of a nucleus, of a platelet's middle; 0 if below
    "granules": ((0.04, 0.30, 0.80), (0.24, 0.34, 0.42), 0.08),  # deviation of the dye from grain to grain, relative
}
_EASY, _HARD = (np.array([row[level] for row in _QUANTITIES.values()]).T for level in (0, 1))
_DEVIATIONS = np.array([row[2] for row in _QUANTITIES.values()])
_WIDENING = 0.5  # by how much wider each of them has become at difficulty 1
_CORE = np.array([0.3, 1.0])  # eosin and azure of a nucleus: together they are purple

# What a slide varies in, as deviations at difficulty 0: stains are mixed by hand, lamps are set by eye.
_STRENGTH = 0.11  # of the logarithm of the amount of each dye
_HUE = 0.064  # of the logarithm of its absorbance in each colour
_LAMP, _WHITE_BALANCE = 0.028, 0.014  # of the logarithm of the light: in all, in red and blue
_DEFOCUS = 0.36  # greatest logarithm of the blur relative to `_BLUR`
_VARIETY = 2.5  # by how much more slides vary at difficulty 1

_BLUR = 0.12  # in micrometres: half a pixel at 64 x 64
_NOISE = (0.008, 0.025)  # deviation of a camera's noise, of 1
_VIGNETTE = 0.3  # greatest share of the light that is lost half a picture from its middle
_CROWD = (0.25, 0.95)  # share of the neighbours that are there: thin and thick smears
_WINDOW = np.array([0.90, 0.89, 0.85])  # red, green and blue of the empty slide: a halogen lamp's white
_PLASMA = 0.04  # eosin between the cells
# absorbance (natural logarithm) of red, green and blue light by a unit of dye
_EOSIN = np.array([0.13, 0.42, 0.40])
_AZURE = np.array([0.90, 1.15, 0.10])


def load_blood_cells(part: str = "all", size: int = 64, difficulty: float = 0.5, seed: int = 0) -> ImageSet:
    """Draw crops of stained blood smears: red cells, white cells and platelets, half of them red cells.

    A stand-in for the imbalanced set of a report that fine-tuned three networks and clustered their features: 2,006
    training and 466 test images in three classes, one of them half of all. A crop shows one cell of its class about
    the middle, others beside it that its border may cut off, and plasma between them.

    Each crop belongs to a slide, its group. A slide has a stain (amount and hue of eosin and of azure), a lamp (colour,
    brightness, vignetting), a focus, a noise and a crowd of its own, and crops of every class. Training and test share
    no slide: a laboratory's next smear was never seen before. Slides have unequal numbers of crops.

    Light passes through two dyes: eosin, which haemoglobin takes, and azure, which nuclei take. What is left of the
    light falls exponentially with the amount of each (the law of Beer and Lambert), so a slide's stain is two vectors
    of absorbance, and the purple of a nucleus is both dyes at once. Means and deviations of all that varies stand at
    the head of this module.

    Parameters
    ----------
    part : {'all', 'train', 'test'}
        ``'all'`` holds the training images, then the test images.
    size : int
        Height and width, in pixels, at least 16; a side is 16 micrometres. The same seed draws the same cells at every
        size; only the camera's noise is one of pixels.
    difficulty : float
        From 0 to 1. It moves the classes' distributions of size, outline, dyes, pallor, nucleus and granules into each
        other (at one half they have gone three quarters of the way), moves the cell away from the middle, and lets
        stain, lamp and focus vary more from slide to slide. The same seed keeps slides, neighbours and the pose of
        every cell at every difficulty.
    seed : int

    Returns
    -------
    ImageSet
        Images of shape (2472, size, size, 3), class by class within each part; 122 MB at 64 x 64, 1.5 GB at 224 x 224.
        `groups` are the slides: 0 to 39 of the training images, 40 to 49 of the test images.

    Raises
    ------
    ValueError
        If `part` is unknown, `size` is below 16, `difficulty` lies outside [0, 1] or `seed` is negative.

    References
    ----------
    Ruifrok and Johnston (2001), Quantification of histochemical staining by color deconvolution, Analytical and
    Quantitative Cytology and Histology 23(4), 291-299 (stains as vectors of absorbance).

    Examples
    --------
    >>> cells = load_blood_cells("test", size=16)
    >>> cells.images.shape, cells.class_names
    ((466, 16, 16, 3), ('red cell', 'white cell', 'platelet'))
    """
    check_choice(part, ("all", *_COUNTS), "part")
    check_whole(size, "size", 16)
    difficulty = check_number(difficulty, "difficulty", 0, 1)
    check_whole(seed, "seed", 0)
    level = 1 - (1 - difficulty) ** 2  # a probe of pixels fails early on this way, a network late
    parts = tuple(_COUNTS) if part == "all" else (part,)
    labels = np.concatenate([np.repeat(range(len(_CLASSES)), _COUNTS[one]) for one in parts])
    groups = np.concatenate([_slides_of(one, seed) for one in parts])
    randoms = [random for one in parts for random in _generators(one, seed)]
    # their generators have the place behind the last class
    slides = [_Slide.draw(random, level) for random in generators(seed, len(_CLASSES), slice(0, sum(_SLIDES.values())))]
    images = np.empty((len(labels), size, size, 3), np.float32)
    for image, random, label, group in zip(images, randoms, labels, groups, strict=True):
        image[:] = _crop(random, label, slides[group], size, level)
    return ImageSet(
        images,
        labels,
        _CLASSES,
        "blood-cells",
        f"made by this course, part {part}, difficulty {difficulty:g}, seed {seed}; in place of crops of blood smears",
        LICENCE,
        groups,
    )


def _generators(part: str, seed: int) -> list[np.random.Generator]:
    """Return a generator for each image of a part; within a class, training images have the first numbers."""
    before = _COUNTS["train"] if part == "test" else (0, 0, 0)
    return [
        random
        for label, (start, n) in enumerate(zip(before, _COUNTS[part], strict=True))
        for random in generators(seed, label, slice(start, start + n))
    ]


def _slides_of(part: str, seed: int) -> np.ndarray:
    """Return the slide of each image of a part; each slide has one image of each class or more."""
    place, n = list(_COUNTS).index(part), _SLIDES[part]
    random = np.random.default_rng((seed, len(_CLASSES) + 1, place))
    shares = random.dirichlet(np.full(n, _SHARES))
    slides = []
    for count in _COUNTS[part]:
        own = random.dirichlet(_MIX * n * shares + 1e-3)
        slides.append(random.permutation(np.concatenate([np.arange(n), random.choice(n, count - n, p=own)])))
    return _SLIDES["train"] * place + np.concatenate(slides)


@dataclass(frozen=True)
class _Slide:
    """What all crops of a slide share."""

    absorbance: np.ndarray  # of red, green and blue light by a unit of eosin and of azure, (2, 3)
    light: np.ndarray  # red, green and blue of the empty slide
    vignette: float  # share of the light that is lost half a picture from its middle
    blur: float  # deviation of the point-spread function, in micrometres
    noise: float
    crowd: float  # share of the neighbours that are there

    @classmethod
    def draw(cls, random: np.random.Generator, level: float) -> _Slide:
        more = 1 + _VARIETY * level
        strength = np.exp(_STRENGTH * more * random.standard_normal((2, 1)))
        hue = np.exp(_HUE * more * random.standard_normal((2, 3)))
        lamp = _LAMP * random.standard_normal() + _WHITE_BALANCE * random.standard_normal(3) * [1, 0.3, 1]
        focus, noise, vignette, crowd = random.random(4)
        return cls(
            (strength * hue * [_EOSIN, _AZURE]).astype(np.float32),
            (_WINDOW * np.exp(-np.abs(0.08 + more * lamp))).astype(np.float32),  # never brighter than white
            _VIGNETTE * vignette,
            _BLUR * np.exp(_DEFOCUS * more * focus),
            np.interp(noise, (0, 1), _NOISE),
            np.interp(crowd, (0, 1), _CROWD),
        )

    def photograph(self, dyes: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return what a camera sees, shape (size, size, 3), where there are amounts of both dyes (2, size, size)."""
        size = dyes.shape[1]
        place, focus = random.uniform(-0.5, 0.5, 2), random.uniform(0.8, 1.3)  # cells lie at several depths
        image = self.light * np.exp(-np.tensordot(dyes, self.absorbance, (0, 0)))
        blur = self.blur * focus * size / _FIELD
        image = ndimage.gaussian_filter(image, (blur, blur, 0), mode="nearest")
        along = 0.3 * (np.arange(size) + 0.5) / size  # a crop is three tenths of the picture
        away = (place[0] + along[None, :]) ** 2 + (place[1] + along[:, None]) ** 2
        image *= (1 - self.vignette * 2 * away)[..., None].astype(np.float32)
        image += np.float32(self.noise) * random.standard_normal(
            image.shape, np.float32
        )  # last: it depends on the size
        return np.clip(image, 0, 1)


def _crop(random: np.random.Generator, label: int, slide: _Slide, size: int, level: float) -> np.ndarray:
    """Return one crop of shape (size, size, 3)."""
    kinds = np.append(label, random.choice(len(_CLASSES), _NEIGHBOURS, p=_NEIGHBOUR_SHARES))
    is_there = np.append(True, random.random(_NEIGHBOURS) < slide.crowd)
    cells = _draw_cells(random, kinds, level)
    places = _places(random, [cell.radius for cell in cells], np.interp(level, (0, 1), _JITTER))
    dyes = np.zeros((2, size, size), np.float32)
    dyes[0] = _PLASMA
    for number in np.flatnonzero(is_there):
        cells[number].lay(places[number], dyes)
    return slide.photograph(dyes, random)


def _places(random: np.random.Generator, radius: list[float], jitter: float) -> np.ndarray:
    """Return the cells' places in sides, x and y, shape (cells, 2): the first in the middle, the others about it."""
    middle = 0.5 + jitter * random.standard_normal((1, 2)).clip(-2, 2)
    angle, gap = 2 * np.pi * random.random(_NEIGHBOURS), random.uniform(*_GAP, _NEIGHBOURS)
    distance = (radius[0] + np.array(radius[1:]) + gap) / _FIELD
    return np.concatenate([middle, middle + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)])


@dataclass(frozen=True)
class _Cell:
    """A cell of any class: all are drawn alike, from other quantities."""

    radius: float
    eosin: float
    azure: float
    pallor: float
    core: float
    granules: float
    outline: np.ndarray  # radius / `radius` is the real part of a polynomial of the direction: its coefficients
    lobes: np.ndarray  # x, y and radius of the lobes of its core, in radii, (lobes, 3)
    texture: np.ndarray  # at the points of a lattice, deviation 1

    def lay(self, place: np.ndarray, dyes: np.ndarray) -> None:
        """Add the cell's dyes to a canvas of shape (2, size, size)."""
        rows, columns, x, y = window(dyes.shape[1], place, 1.5 * self.radius / _FIELD)
        if x.size == 0 or y.size == 0:  # it lies beside the crop
            return
        x, y = np.float32(_FIELD) * x, np.float32(_FIELD) * y  # micrometres from here on
        away = np.maximum(np.hypot(x, y), np.float32(1e-6))
        edge = np.float32(self.radius) * np.polyval(self.outline, (x + 1j * y) / away).real
        body = _covered(away - edge, dyes)
        texture = _interpolated(self.texture, x[0], y[:, 0])
        grain = np.maximum(1 + self.granules * texture, 0)
        thick = body * (1 - self.pallor * np.exp(-((2 * away / edge) ** 2)))
        dyes[0, rows, columns] += self.eosin * thick * (0.6 + 0.4 * grain)  # most of its granules take azure
        dyes[1, rows, columns] += self.azure * thick * grain
        if self.core > 0:
            core = body * _covered(_outside(x, y, self.radius * self.lobes) + 0.1 * texture, dyes)
            core *= self.core * (1 + 0.15 * texture)
            dyes[:, rows, columns] += _CORE.astype(np.float32)[:, None, None] * core


def _draw_cells(random: np.random.Generator, kinds: np.ndarray, level: float) -> list[_Cell]:
    """Draw a cell of each kind."""
    n = len(kinds)
    means = (1 - level) * _EASY + level * _HARD
    noise = random.standard_normal((n, len(_DEVIATIONS))).clip(-2.5, 2.5)
    drawn = dict(zip(_QUANTITIES, (means[kinds] + (1 + _WIDENING * level) * _DEVIATIONS * noise).T, strict=True))
    radius = np.exp(drawn.pop("log_radius"))
    # the polynomial's coefficients of powers 7 to 2, of which the first five are the ragged ones, and of 1 and 0
    waves = random.standard_normal((n, _HARMONICS - 1, 2)) @ [1, 1j] / np.sqrt(2 * (_HARMONICS - 2))
    waves *= np.maximum(drawn.pop("ragged"), 0)[:, None] * 3 / np.arange(_HARMONICS, 1, -1)
    waves[:, -1] = np.exp(2j * np.pi * random.random(n)) * np.maximum(drawn.pop("oval"), 0)
    outlines = np.concatenate([waves, np.zeros((n, 1)), np.ones((n, 1))], axis=1).astype(np.complex64)
    lobes = _lobes(random, kinds)
    textures = random.standard_normal((n, _LATTICE, _LATTICE), np.float32)
    amounts = np.stack([drawn["eosin"], drawn["azure"], drawn["pallor"].clip(max=1), drawn["core"], drawn["granules"]])
    # Python's numbers leave float32 arrays as they are
    numbers = np.concatenate([radius[:, None], amounts.clip(min=0).T], axis=1).tolist()
    return [_Cell(*numbers[cell], outlines[cell], lobes[cell], textures[cell]) for cell in range(n)]


def _lobes(random: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
    """Return x, y and radius of the lobes of each core, in radii of the cell, along an arc; radius 0 is no lobe."""
    n, order = len(kinds), np.arange(_LOBES)
    count = 1 + random.choice(_LOBES, (n, 1), p=_LOBE_SHARES)
    count[kinds != _CLASSES.index("white cell")] = 1
    turn, bend = 2 * np.pi * random.random((n, 1)), random.uniform(0.9, 1.3, (n, 1))
    angle = turn + bend * (order - (count - 1) / 2)
    out = np.where(count == 1, 0.15, 0.48) * random.uniform(0.8, 1.2, (n, _LOBES))
    wide = np.where(count == 1, 0.66, 0.33) * random.uniform(0.85, 1.15, (n, _LOBES)) * (order < count)
    return np.stack([out * np.cos(angle), out * np.sin(angle), wide], axis=2).astype(np.float32)


def _outside(x: np.ndarray, y: np.ndarray, lobes: np.ndarray) -> np.ndarray:
    """Return the distance to the outline of lobes that run into each other (a smooth minimum of distances)."""
    soft = 0.25  # micrometres
    within = sum(np.exp((radius - np.hypot(x - left, y - top)) / soft) for left, top, radius in lobes if radius > 0)
    return -soft * np.log(within + 1e-30)


def _covered(distance: np.ndarray, dyes: np.ndarray) -> np.ndarray:
    return coverage(distance / _FIELD, dyes.shape[1])


def _interpolated(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a lattice's values at x (columns) and y (rows) in micrometres, linear between its points."""
    points = _GRAIN * (np.arange(_LATTICE) - (_LATTICE - 1) / 2)
    across, down = (np.maximum(0, 1 - np.abs(along[:, None] - points) / _GRAIN).astype(np.float32) for along in (x, y))
    return down @ lattice @ across.T

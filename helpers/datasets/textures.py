"""Twenty-eight textures in six families, each patch turned and lit at random: generated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import fft

from ..validation import check_whole
from .drawing import LICENCE, batches, generators, pixel_centres, turned
from .image_set import ImageSet

__all__ = ["load_textures"]

_MEAN, _DEVIATION = 127 / 255, 40 / 255  # of every patch, as in Kylberg's set
_JITTER = 0.9  # how far a cell's centre may wander, in cells


def load_textures(per_class: int = 160, size: int = 128, seed: int = 0) -> ImageSet:
    """Make patches of 28 textures: woven, knitted, granular, fibrous, cellular, and noise.

    After the Kylberg Texture Dataset 1.0 (28 classes, 160 patches of 576 x 576 pixels), which `load_kylberg`
    reads. A class is a surface with statistics of its own, written down in this module and the same for every
    seed: which thread lies on top, how long the grains are, how the spectrum of a noise falls. Each patch is
    another piece of it, turned and lit from a random side, up to a tenth larger or smaller.

    As in Kylberg's set every patch has mean 127 and standard deviation 40 of 255 grey levels: brightness and
    contrast say nothing about the class.

    Parameters
    ----------
    per_class : int
        Patches of each class. Fewer patches are the first of the many.
    size : int
        Height and width, in pixels, from 32 to 576. A patch shows the same stretch of surface at every size;
        the finest threads need about 64 pixels.
    seed : int

    Returns
    -------
    ImageSet
        Images of shape (28 * per_class, size, size, 1), class by class. 4,480 patches of 128 x 128 are 294 MB,
        of 576 x 576 they are 5.9 GB.

    Raises
    ------
    ValueError
        If `per_class` is not positive, `size` is out of range or `seed` is negative.

    References
    ----------
    Kylberg (2011), Kylberg Texture Dataset v. 1.0, Centre for Image Analysis, External report 35 (its make-up);
    Worley (1996), https://doi.org/10.1145/237170.237267 (distances to the nearest points of a random set);
    Perlin (1985), https://doi.org/10.1145/325334.325247 (bending coordinates by noise).

    Examples
    --------
    >>> textures = load_textures(per_class=2, size=32)
    >>> textures.images.shape, textures.class_names[:3]
    ((56, 32, 32, 1), ('plain weave', 'basket weave', 'twill'))
    """
    check_whole(per_class, "per_class", 1)
    check_whole(size, "size", 32, 576)
    check_whole(seed, "seed", 0)
    images = np.empty((len(_TEXTURES) * per_class, size, size, 1), np.float32)
    for label, texture in enumerate(_TEXTURES.values()):
        for part in batches(per_class, size):
            rows = slice(label * per_class + part.start, label * per_class + part.stop)
            images[rows, ..., 0] = texture.lit(_Patches(generators(seed, label, part), size))
    return ImageSet(
        images,
        np.repeat(np.arange(len(_TEXTURES)), per_class),
        tuple(_TEXTURES),
        "textures",
        f"made by this course, seed {seed}; after the Kylberg Texture Dataset 1.0 (28 classes of 160 patches)",
        LICENCE,
    )


class _Patches:
    """A batch of patches of one texture: where each lies on its surface, and what is random about it.

    Lengths are in sides of a patch, frequencies in cycles per side, so that nothing depends on the pixels.
    """

    def __init__(self, randoms: list[np.random.Generator], size: int):
        self.randoms, self.size = randoms, size
        draws = self.uniform(6)
        self.angle = 2 * np.pi * draws[:, 0]
        self.light = 2 * np.pi * draws[:, 1]
        self.zoom = _column(0.9 + 0.2 * draws[:, 2])
        self.origin = _column(100 * draws[:, 3]), _column(100 * draws[:, 4])

    def uniform(self, *shape: int) -> np.ndarray:
        return np.stack([random.uniform(size=shape) for random in self.randoms])

    def coordinates(self, across: float, along: float, bend: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return coordinates on the surface, with `across` and `along` units to a side.

        They are turned, shifted and zoomed as the patch is, and bent by smooth noise of `bend` sides.
        """
        x, y = turned(*pixel_centres(self.size), self.angle)
        if bend:
            x = x + bend * self.noise(_hill(2.5))
            y = y + bend * self.noise(_hill(2.5))
        return (
            np.float32(across) * self.zoom * x + self.origin[0],
            np.float32(along) * self.zoom * y + self.origin[1],
        )

    def noise(self, spectrum: Callable, turn: np.ndarray | float = 0.0) -> np.ndarray:
        """Return Gaussian noise of mean 0 and deviation 1 whose amplitude at frequency (x, y) is `spectrum`."""
        size = self.size
        white = np.stack([random.standard_normal((size, size), np.float32) for random in self.randoms])
        x = fft.rfftfreq(size, 1 / size).astype(np.float32)[None, :]
        y = fft.fftfreq(size, 1 / size).astype(np.float32)[:, None]
        amplitude = spectrum(*turned(x, y, self.angle + turn)).astype(np.float32)
        amplitude[:, 0, 0] = 0
        return _standardised(fft.irfft2(fft.rfft2(white) * amplitude, s=(size, size)))


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]


def _standardised(field: np.ndarray) -> np.ndarray:
    centred = field - field.mean(axis=(1, 2), keepdims=True)
    return centred / np.maximum(centred.std(axis=(1, 2), keepdims=True), 1e-12)


@dataclass(frozen=True)
class _Texture:
    """A surface, and how it takes the light.

    Attributes
    ----------
    surface : callable
        Returns the height at each pixel of a batch of patches, in any unit.
    relief : float
        The share of light and shadow in the grey level; the rest is the height itself, as dirt in the hollows
        or colour on the ridges would show it.
    grain : float
        Deviation of the noise that no light explains, in deviations of the patch.
    """

    surface: Callable[[_Patches], np.ndarray]
    relief: float = 0.6
    grain: float = 0.15

    def lit(self, patches: _Patches) -> np.ndarray:
        """Return grey levels of mean `_MEAN` and deviation `_DEVIATION`, shape (n, size, size)."""
        height = _standardised(self.surface(patches))
        slope_y, slope_x = np.gradient(height, axis=(1, 2))
        shade = _standardised(_column(np.cos(patches.light)) * slope_x + _column(np.sin(patches.light)) * slope_y)
        field = self.relief * shade + (1 - self.relief) * height
        field = _standardised(field) + self.grain * patches.noise(_hill(patches.size / 4))
        return np.clip(_MEAN + _DEVIATION * _tamed(field), 0, 1)


def _tamed(field: np.ndarray, reach: float = 2.4) -> np.ndarray:
    """Standardise, and bend outliers back, so that grey levels keep within [0, 1] without a cut.

    Cutting would leave each class a mean and a deviation of its own, small and telling.
    """
    for _ in range(3):
        field = _standardised(reach * np.tanh(_standardised(field) / reach))
    return field


# ---- spectra: amplitude at a frequency, in cycles per side of a patch ----


def _hill(limit: float):
    """Smooth noise: frequencies up to about `limit`."""
    return lambda x, y: np.exp(-(x**2 + y**2) / (2 * limit**2))


def _power(exponent: float):
    """Noise without a scale, as clouds have it."""
    return lambda x, y: np.maximum(x**2 + y**2, 1) ** np.float32(-exponent / 2)


def _ring(frequency: float, width: float):
    """Waves of one length in all directions; `width` is relative."""
    return lambda x, y: np.exp(-((np.hypot(x, y) / frequency - 1) ** 2) / (2 * width**2))


def _waves(frequency: float, width: float, spread: float):
    """Waves of one length that run in one direction, give or take `spread` (radians)."""
    ring = _ring(frequency, width)
    return lambda x, y: ring(x, y) * np.exp(-(np.arctan2(np.abs(y), np.abs(x)) ** 2) / (2 * spread**2))


def _fibres(length: float, thickness: float):
    """Streaks along y, of that length and thickness in sides of a patch."""
    return lambda x, y: np.exp(-((np.pi * thickness * x) ** 2) - (np.pi * length * y) ** 2)


# ---- woven: which thread lies on top at a crossing of warp (across x) and weft (across y) ----


def _woven(on_top: np.ndarray, threads: float, patches: _Patches) -> np.ndarray:
    u, v = patches.coordinates(threads, threads, bend=0.008)
    i, j = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    a, b = 2 * (u - i) - 1, 2 * (v - j) - 1  # across and along the warp, -1 to 1 within a crossing
    rows, columns = on_top.shape

    def warp_on_top(step_i=0, step_j=0):
        return on_top[(i + step_i) % rows, (j + step_j) % columns]

    here = warp_on_top()
    # a thread dives where its neighbour along it lies below: floats of several crossings stay level
    dives = np.where(
        here,
        warp_on_top(step_j=np.where(b > 0, 1, -1)) != here,
        warp_on_top(step_i=np.where(a > 0, 1, -1)) != here,
    )
    across, along = np.where(here, a, b), np.where(here, b, a)
    return np.sqrt(1 - 0.95 * across**2) - 0.45 * dives * along**2 + 0.15 * here


def _weave(rule: Callable[[np.ndarray, np.ndarray], np.ndarray], period: int) -> np.ndarray:
    return rule(*np.indices((period, period))).astype(bool)


# ---- knitted: loops in columns (x) and rows (y) ----


def _legs(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Two slanted legs to a stitch, which make columns of V."""
    side = np.abs(u - np.rint(u))
    leg = 1 - ((side - 0.25) / 0.25) ** 2
    return np.sqrt(np.maximum(leg, 0)) * (0.6 + 0.4 * np.cos(2 * np.pi * (v + 1.4 * side)))


def _loops(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The back of the legs: arcs across the columns, bent up in one row and down in the next."""
    row = np.rint(v)
    bend = np.where(row % 2 == 0, 0.28, -0.28).astype(np.float32) * np.cos(2 * np.pi * u)
    return np.sqrt(np.maximum(1 - ((v - row - 0.5 * bend) / 0.42) ** 2, 0)) + 0.25 * np.abs(bend)


def _stockinette(patches: _Patches) -> np.ndarray:
    return _legs(*patches.coordinates(9, 12, bend=0.01))


def _garter(patches: _Patches) -> np.ndarray:
    return _loops(*patches.coordinates(8, 13, bend=0.012))


def _ribbed(patches: _Patches) -> np.ndarray:
    u, v = patches.coordinates(14, 16, bend=0.01)
    ridge = np.cos(2 * np.pi * u / 4)
    return 1.2 * np.tanh(2 * ridge) + np.where(ridge > 0, _legs(u, v), 0.5 * _loops(u, v))


def _cable(patches: _Patches) -> np.ndarray:
    u, v = patches.coordinates(5, 5, bend=0.01)
    across, turn = u - np.rint(u), 2 * np.pi * v
    strands = [sign * 0.35 * np.cos(turn) - ((across - sign * 0.21 * np.sin(turn)) / 0.2) ** 2 for sign in (1, -1)]
    rope = np.maximum(np.maximum(*strands), -1.2)
    return rope + 0.15 * np.cos(2 * np.pi * (4 * across + 6 * v))


# ---- granular and cellular: a point in each cell of a grid, wandering at random ----


class _Cells:
    """A random point in each cell of a grid; the nine cells around a pixel hold what is near it."""

    def __init__(self, patches: _Patches, count: float, jitter: float = _JITTER, bend: float = 0.0, hexagons=False):
        self.u, self.v = patches.coordinates(count, count * (2 / np.sqrt(3) if hexagons else 1), bend)
        self.hexagons = hexagons
        # the grid repeats, but not within a patch, whose diagonal is 1.6 sides at the strongest zoom
        self.bits = int(np.ceil(np.log2(1.6 * count + 2)))
        cells = 4**self.bits
        draws = patches.uniform(5, cells).astype(np.float32)
        self.place_x, self.place_y = (0.5 + jitter * (draws[:, axis].ravel() - 0.5) for axis in (0, 1))
        self.traits = [draws[:, trait].ravel() for trait in (2, 3, 4)]  # three numbers in [0, 1) for each cell
        self.first_cell = (np.arange(len(draws), dtype=np.int32) * cells)[:, None, None]

    def __iter__(self):
        """Yield the way from the point of each of nine cells to the pixel, and the cell's number."""
        last = (1 << self.bits) - 1
        middle = np.floor(self.v).astype(np.int32)
        for row in (middle - 1, middle, middle + 1):
            u = self.u - np.float32(0.5) * (row & 1) if self.hexagons else self.u
            column = np.floor(u).astype(np.int32)
            below, right = self.v - row, u - column
            start = self.first_cell + ((row & last) << self.bits)
            for step in (-1, 0, 1):
                cell = start + ((column + step) & last)
                x, y = right - step - self.place_x[cell], below - self.place_y[cell]
                yield x, (y * np.float32(np.sqrt(3) / 2) if self.hexagons else y), cell

    def nearest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the distances to the nearest and second nearest point, and the nearest one's first trait."""
        first = second = np.full(self.u.shape, np.inf, np.float32)
        owner = np.zeros(self.u.shape, np.int32)
        for x, y, cell in self:
            distance = x * x + y * y
            owner = np.where(distance < first, cell, owner)
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
        return np.sqrt(first), np.sqrt(second), self.traits[0][owner]


def _grains(count, length, width, dome, spread, patches: _Patches) -> np.ndarray:
    """Elliptic grains on top of each other; `length` and `width` are half axes in cells, `dome` an exponent."""
    height = np.full((len(patches.randoms), patches.size, patches.size), -0.6, np.float32)
    top = np.full_like(height, -1)
    cells = _Cells(patches, count)
    turn, shrink, order = cells.traits
    cosine, sine = np.cos(np.pi * turn), np.sin(np.pi * turn)
    smaller = 1 / (1 - spread * shrink) ** 2
    for x, y, cell in cells:
        c, s = cosine[cell], sine[cell]
        q = (((c * x + s * y) / length) ** 2 + ((c * y - s * x) / width) ** 2) * smaller[cell]
        seen = (q < 1) & (order[cell] > top)
        top = np.where(seen, order[cell], top)
        height = np.where(seen, np.maximum(1 - q, 0) ** np.float32(dome) + 0.6 * order[cell], height)
    return height


def _gravel(patches: _Patches) -> np.ndarray:
    first, second, trait = _Cells(patches, 11, bend=0.01).nearest()
    facets = 0.5 * np.abs(patches.noise(_hill(9)))
    return np.minimum((second - first) / 0.35, 1) + 0.9 * trait - facets


def _foam(patches: _Patches) -> np.ndarray:
    first, second, _ = _Cells(patches, 8).nearest()
    return np.exp(-(((second - first) / 0.1) ** 2)) + 0.9 * first**2


def _cracked(patches: _Patches) -> np.ndarray:
    first, second, trait = _Cells(patches, 5.5, bend=0.015).nearest()
    crumbs = 0.12 * patches.noise(_power(1.0))
    return np.tanh((second - first) / 0.09) + 0.15 * trait + crumbs


def _honeycomb(patches: _Patches) -> np.ndarray:
    first, second, _ = _Cells(patches, 9, jitter=0.12, bend=0.006, hexagons=True).nearest()
    return np.exp(-(((second - first) / 0.16) ** 2))


def _leather(patches: _Patches) -> np.ndarray:
    first, second, _ = _Cells(patches, 20, bend=0.02).nearest()
    return np.sqrt(np.minimum((second - first) / 0.5, 1)) + 0.35 * patches.noise(_hill(3))


def _cobbles(patches: _Patches) -> np.ndarray:
    first, second, trait = _Cells(patches, 7, jitter=0.55).nearest()
    return np.sqrt(np.clip((second - first - 0.1) / 0.8, 0, 1)) + 0.3 * trait + 0.05 * patches.noise(_hill(14))


# ---- fibrous ----


def _felt(patches: _Patches) -> np.ndarray:
    layers = [np.exp(-((patches.noise(_ring(frequency, 0.35)) / 0.22) ** 2)) for frequency in (5, 7, 10)]
    return np.maximum(np.maximum(*layers[:2]), layers[2])


def _straw(patches: _Patches) -> np.ndarray:
    turns = np.pi * patches.uniform(4)
    stalks = [patches.noise(_fibres(0.4, 0.02), turns[:, layer]) for layer in range(4)]
    return np.maximum.reduce(stalks)


def _fur(patches: _Patches) -> np.ndarray:
    return patches.noise(_fibres(0.11, 0.012)) + 0.5 * patches.noise(_fibres(0.16, 0.03), 0.25)


def _wood(patches: _Patches) -> np.ndarray:
    u, _ = patches.coordinates(7, 1)
    rings = u + 0.55 * patches.noise(_fibres(0.5, 0.16))
    return (rings - np.floor(rings)) ** 2 + 0.12 * patches.noise(_fibres(0.3, 0.008))


def _brushed(patches: _Patches) -> np.ndarray:
    return patches.noise(_fibres(1.2, 0.006)) + 0.5 * patches.noise(_fibres(1.2, 0.04))


# ---- noise ----


def _noise(spectrum: Callable, patches: _Patches) -> np.ndarray:
    return patches.noise(spectrum)


def _threshold(spectrum: Callable, level: float, sharpness: float, patches: _Patches) -> np.ndarray:
    return np.tanh(sharpness * (patches.noise(spectrum) - level))


_TEXTURES = {
    # woven
    "plain weave": _Texture(partial(_woven, _weave(lambda i, j: (i + j) % 2 == 0, 2), 13)),
    "basket weave": _Texture(partial(_woven, _weave(lambda i, j: (i // 2 + j // 2) % 2 == 0, 4), 18)),
    "twill": _Texture(partial(_woven, _weave(lambda i, j: (i + j) % 4 < 2, 4), 18)),
    "herringbone": _Texture(partial(_woven, _weave(lambda i, j: (i + np.where(j < 6, j, 11 - j)) % 4 < 2, 12), 20)),
    "satin": _Texture(partial(_woven, _weave(lambda i, j: j % 5 != 2 * i % 5, 5), 16)),
    # knitted
    "stockinette": _Texture(_stockinette),
    "garter stitch": _Texture(_garter),
    "ribbed knit": _Texture(_ribbed),
    "cable knit": _Texture(_cable),
    # granular: cells to a side, half axes, dome, spread of sizes
    "sand": _Texture(partial(_grains, 30, 0.8, 0.65, 0.7, 0.5), relief=0.5, grain=0.3),
    "rice": _Texture(partial(_grains, 12, 1.0, 0.36, 0.5, 0.15)),
    "lentils": _Texture(partial(_grains, 9, 0.78, 0.74, 0.9, 0.2)),
    "seeds": _Texture(partial(_grains, 14, 0.48, 0.3, 0.5, 0.15), relief=0.4),
    "gravel": _Texture(_gravel, relief=0.5, grain=0.25),
    # fibrous
    "felt": _Texture(_felt, relief=0.4, grain=0.25),
    "straw": _Texture(_straw, relief=0.5),
    "fur": _Texture(_fur, relief=0.4),
    "wood": _Texture(_wood, relief=0.1),
    "brushed metal": _Texture(_brushed, relief=0.1),
    # cellular
    "foam": _Texture(_foam, relief=0.3),
    "cracked earth": _Texture(_cracked, relief=0.4),
    "honeycomb": _Texture(_honeycomb, relief=0.45),
    "leather": _Texture(_leather, relief=0.7),
    "cobbles": _Texture(_cobbles, relief=0.4),
    # noise
    "clouds": _Texture(partial(_noise, _power(2.0)), relief=0.0, grain=0.05),
    "ripples": _Texture(partial(_noise, _waves(9, 0.15, 0.35)), relief=0.6),
    "labyrinth": _Texture(partial(_threshold, _ring(9, 0.12), 0.0, 3.0), relief=0.3),
    "spots": _Texture(partial(_threshold, _ring(8, 0.25), 0.9, 5.0), relief=0.2),
}

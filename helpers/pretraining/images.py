"""Images made by formulas: categories for pretraining without photographs and without people's labels.

A category is one drawn set of parameters of one formula; its images differ in everything that the formula leaves
open: place, angle, scale, colour, jitter of the parameters. The label is thus free, and right by construction.
Seven families are mixed, because what transfers depends on the target: fractals, dead leaves, noise of a given
spectrum, glyphs of a few strokes, filled blobs, gratings, cells. None of them is a generator of `helpers.datasets`:
the sets that features are scored on are never trained on.

References
----------
Kataoka, Okayasu, Matsumoto et al. (2020), *Pre-training without Natural Images*, ACCV,
https://doi.org/10.1007/978-3-030-69544-6_35
Nakamura, Kataoka, Takashima et al. (2023), *Pre-training Vision Transformers with Very Limited Synthesized Images*,
ICCV, https://doi.org/10.1109/ICCV51070.2023.01844
Baradad, Wulff, Wang, Isola and Torralba (2021), *Learning to See by Looking at Noise*, NeurIPS,
https://arxiv.org/abs/2106.05963
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

__all__ = ["FAMILIES", "Blob", "Category", "Cells", "DeadLeaves", "Fractal", "Glyph", "Grating", "Spectrum"]
__all__ += ["categories", "category", "render"]


class Category(Protocol):
    """What every family offers: parameters that `draw` chooses, and images that `render` makes of them."""

    mirrored: ClassVar[bool]  # whether the mirror image belongs to the category too

    @classmethod
    def draw(cls, random: np.random.Generator) -> Category: ...

    def render(self, n: int, size: int, random: np.random.Generator) -> np.ndarray: ...


def categories(n: int = 168, seed: int = 0) -> tuple[Category, ...]:
    """Draw the parameters of `n` categories, the families in turn.

    Parameters
    ----------
    n : int
        The number of categories; the first ones stay what they are when more are asked for.
    seed : int

    Returns
    -------
    tuple of Category

    Raises
    ------
    ValueError
        If fewer than one category is asked for.

    Examples
    --------
    >>> [type(category).__name__ for category in categories(8)]
    ['Fractal', 'Glyph', 'DeadLeaves', 'Grating', 'Blob', 'Spectrum', 'Cells', 'Fractal']
    """
    if n < 1:
        raise ValueError(f"n={n}, but there is at least one category.")
    return tuple(category(i, seed) for i in range(n))


def category(index: int, seed: int = 0) -> Category:
    """Draw the parameters of one category: the one at `index` in ``categories(n, seed)``."""
    return FAMILIES[index % len(FAMILIES)].draw(np.random.default_rng([seed, index]))


def render(category: Category, n: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Make `n` images of one category.

    Parameters
    ----------
    category : Category
    n : int
    size : int
        Height and width in pixels.
    random : numpy.random.Generator
        Draws what differs between images of one category.

    Returns
    -------
    ndarray of float32, shape (n, size, size, 3)
        Values in [0, 1].

    Raises
    ------
    ValueError
        If `n` is below 1 or `size` below 16.
    """
    if n < 1 or size < 16:
        raise ValueError(f"n={n}, size={size}: ask for at least one image of at least 16 pixels.")
    return np.clip(category.render(n, size, random), 0, 1).astype(np.float32, copy=False)


# Fractals


@dataclass(frozen=True)
class Fractal:
    """The attractor of an iterated function system: points that random affine maps never leave.

    A map x -> A x + b is chosen at random, again and again, with probability proportional to abs(det A); the
    places that the point visits are the picture. All six entries of each map are drawn from U(-1, 1), and a system
    is kept if it fills enough of its frame (Kataoka et al. 2020). Systems with a map that does not contract are
    passed over as well (as do Anderson and Farrell 2022, https://doi.org/10.48550/arXiv.2110.03091): their attractors,
    where there are any, have tails that leave a cloud in the middle of the frame.

    Attributes
    ----------
    maps : ndarray of float, shape (k, 2, 3)
        Columns: the matrix A, then b; k is 2 to 7.
    """

    maps: np.ndarray
    mirrored: ClassVar[bool] = True

    filling_rate: ClassVar[float] = 0.1
    contraction: ClassVar[float] = 0.95
    jitter: ClassVar[float] = 0.04

    @classmethod
    def draw(cls, random):
        k = random.integers(2, 8)
        while True:
            maps = random.uniform(-1, 1, (100 * k, 2, 3))
            maps = maps[np.linalg.norm(maps[..., :2], 2, axis=(1, 2)) < cls.contraction][:k]
            points = to_frame(chaos_game(maps[None], 25_000, random), 1.0)
            if (histogram(points, 96) > 0).mean() >= cls.filling_rate:
                return cls(maps)

    def render(self, n, size, random):
        maps = self.maps * random.uniform(1 - self.jitter, 1 + self.jitter, (n, *self.maps.shape))
        points = chaos_game(maps, size * size, random)
        points = to_frame(points, random.uniform(0.75, 1.05, n)[:, None, None])
        points = np.einsum("nij,npj->npi", rotations(random.uniform(-np.pi, np.pi, n)), points)
        density = np.log1p(histogram(points, size).astype(np.float32))
        density /= np.maximum(density.max((1, 2), keepdims=True), 1e-6)
        return blend(density ** random.uniform(0.4, 1.0, n)[:, None, None], random)


def chaos_game(maps: np.ndarray, n_points: int, random: np.random.Generator) -> np.ndarray:
    """Return points on the attractors of n systems of contracting maps: (n, k, 2, 3) to (n, n_points, 2).

    Many short chains run side by side; their first 20 steps are dropped, by which they have reached the attractor.
    """
    n, k = maps.shape[:2]
    chains, burn_in = 1024, 20
    steps = -(-n_points // chains)
    weight = np.abs(np.linalg.det(maps[0, :, :, :2])) + 1e-2  # a map of no area is still visited now and then
    chosen = random.choice(k, (burn_in + steps, chains), p=weight / weight.sum())
    place = random.uniform(-1, 1, (n, chains, 2))
    visited = np.empty((n, steps, chains, 2))
    for step, choice in enumerate(chosen):
        picked = maps[:, choice]  # (n, chains, 2, 3)
        place = picked[..., 0] * place[..., :1] + picked[..., 1] * place[..., 1:] + picked[..., 2]
        if step >= burn_in:
            visited[:, step - burn_in] = place
    return visited.reshape(n, -1, 2)[:, :n_points]


def to_frame(points: np.ndarray, scale) -> np.ndarray:
    """Centre point sets (n, p, 2) and scale them so that the middle 98 % spans [-scale, scale]."""
    low, high = np.quantile(points[:, ::8], [0.01, 0.99], axis=1)
    half = np.maximum((high - low).max(-1) / 2, 1e-6)[:, None, None]
    return (points - ((low + high) / 2)[:, None]) / half * scale


def histogram(points: np.ndarray, size: int) -> np.ndarray:
    """Count points (n, p, 2) in the pixels of [-1, 1] x [-1, 1]; what lies outside is dropped."""
    n = len(points)
    cell = np.floor((points + 1) * (size / 2)).astype(np.int64)
    inside = ((cell >= 0) & (cell < size)).all(-1)
    flat = (np.arange(n)[:, None] * size + cell[..., 0]) * size + cell[..., 1]
    return np.bincount(flat[inside], minlength=n * size * size).reshape(n, size, size)


# Drawings: dead leaves, glyphs, blobs


@dataclass(frozen=True)
class DeadLeaves:
    """Figures of every size, each hiding what lies under it: the occlusions and edges of a photograph.

    Radii have the density r^-exponent between the bounds (3 makes the picture look alike at every scale); kind,
    bounds, elongation and palette belong to the category (Baradad et al. 2021 draw all of them per image).

    Attributes
    ----------
    corners : int
        Corners of each figure; 0 for ellipses.
    exponent, smallest, largest : float
        Of the radii, as fractions of the image.
    elongation : float
        Ratio of the two axes.
    aligned : bool
        Whether all leaves of one image lie in one direction.
    palette : ndarray of float, shape (k, 3)
    """

    corners: int
    exponent: float
    smallest: float
    largest: float
    elongation: float
    aligned: bool
    palette: np.ndarray
    mirrored: ClassVar[bool] = True

    leaves: ClassVar[int] = 400

    @classmethod
    def draw(cls, random):
        return cls(
            corners=int(random.choice([0, 0, 3, 4, 5, 6])),
            exponent=random.uniform(1.5, 3.5),
            smallest=random.uniform(0.02, 0.06),
            largest=random.uniform(0.15, 0.5),
            elongation=random.uniform(1, 3.5),
            aligned=bool(random.integers(2)),
            palette=random.uniform(0, 1, (random.integers(3, 7), 3)),
        )

    def render(self, n, size, random):
        return np.stack([self._image(size, random) for _ in range(n)])

    def _image(self, size, random):
        radius = power_law(self.leaves, self.exponent, self.smallest, self.largest, random)
        turn = random.uniform(0, 2 * np.pi) + random.normal(0, 0.1 if self.aligned else 10, self.leaves)
        outline = ring(self.corners or 24) * [np.sqrt(self.elongation), 1 / np.sqrt(self.elongation)]
        figures = np.einsum("nij,pj->npi", rotations(turn), outline) * radius[:, None, None]
        figures += random.uniform(-0.1, 1.1, (self.leaves, 1, 2))
        colours = self.palette[random.integers(len(self.palette), size=self.leaves)]
        colours = colours + random.normal(0, 0.05, colours.shape)

        def paint(canvas, scale):
            for figure, colour in zip(figures * scale, to_bytes(colours), strict=True):
                canvas.polygon(figure.ravel().tolist(), fill=tuple(colour.tolist()))

        return drawing(size, self.palette.mean(0), paint)


@dataclass(frozen=True)
class Glyph:
    """A sign of a few curved strokes, like a letter of an unknown script.

    The image draws its place, size, slant, width of the pen, colours and a jitter of the control points. A mirrored
    glyph is another glyph, as with b and d.

    Attributes
    ----------
    strokes : ndarray of float, shape (k, 4, 2)
        Control points of cubic Bézier curves in [-1, 1].
    """

    strokes: np.ndarray
    mirrored: ClassVar[bool] = False

    @classmethod
    def draw(cls, random):
        strokes = random.uniform(-1, 1, (random.integers(1, 5), 4, 2))
        if random.integers(2):  # one line of the pen: each stroke starts where the last one ended
            strokes[1:, 0] = strokes[:-1, 3]
        return cls(strokes)

    def render(self, n, size, random):
        lines = bezier(self.strokes + random.normal(0, 0.08, (n, *self.strokes.shape)))  # (n, k, points, 2)
        lines, scale = placed(lines, random)
        width = scale * random.uniform(0.06, 0.3, n)
        images = np.empty((n, size, size), np.float32)
        for i in range(n):
            images[i] = drawing(size, 0.0, pen(lines[i], width[i]), mode="L")
        return on_background(images, random)


@dataclass(frozen=True)
class Blob:
    """A filled outline r(t) = 1 + sum of a_k cos(k t + p_k): one silhouette per category.

    Attributes
    ----------
    amplitudes, phases : ndarray of float, shape (k,)
        Of the harmonics 2, 3, ...
    hollow : bool
        Whether only the outline is drawn.
    """

    amplitudes: np.ndarray
    phases: np.ndarray
    hollow: bool
    mirrored: ClassVar[bool] = True

    @classmethod
    def draw(cls, random):
        harmonics = int(random.integers(3, 9))
        amplitudes = random.normal(0, 1, harmonics) / np.arange(2, harmonics + 2)
        amplitudes *= random.uniform(0.3, 0.8) / np.abs(amplitudes).sum()
        return cls(amplitudes, random.uniform(0, 2 * np.pi, harmonics), bool(random.integers(2)))

    def render(self, n, size, random):
        angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
        orders = np.arange(2, len(self.phases) + 2)
        amplitudes = self.amplitudes * random.uniform(0.85, 1.15, (n, len(orders)))
        radius = 1 + amplitudes @ np.cos(orders[:, None] * angle + self.phases[:, None])
        outline = radius[..., None] * ring(96)  # (n, 96, 2)
        outline = np.einsum("nij,npj->npi", rotations(random.uniform(-np.pi, np.pi, n)), outline)
        lines, scale = placed(outline[:, None], random)
        images = np.empty((n, size, size), np.float32)
        for i in range(n):
            closed = np.concatenate([lines[i], lines[i, :, :2]], axis=1)
            paint = pen(closed, scale[i] * random.uniform(0.08, 0.2)) if self.hollow else fill(lines[i, 0])
            images[i] = drawing(size, 0.0, paint, mode="L")
        return on_background(images, random)


def power_law(n: int, exponent: float, smallest: float, largest: float, random) -> np.ndarray:
    """Draw n numbers with a density ~ r^-exponent between the bounds, by the inverse of the distribution function."""
    power, share = 1 - exponent, random.uniform(0, 1, n)
    return (share * smallest**power + (1 - share) * largest**power) ** (1 / power)


def ring(corners: int) -> np.ndarray:
    """Return the corners of a regular polygon on the unit circle, shape (corners, 2)."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def bezier(control: np.ndarray, points: int = 16) -> np.ndarray:
    """Follow cubic Bézier curves: control points (..., 4, 2) to points of the curve (..., points, 2)."""
    t = np.linspace(0, 1, points)[:, None]
    basis = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return basis @ control


def placed(lines: np.ndarray, random) -> tuple[np.ndarray, np.ndarray]:
    """Turn by up to 20 degrees, scale and shift lines (n, k, p, 2) of about [-1, 1] into the unit square."""
    n = len(lines)
    scale = random.uniform(0.12, 0.42, n)
    turn = rotations(random.normal(0, np.deg2rad(10), n).clip(-0.35, 0.35)) * scale[:, None, None]
    centre = 0.5 + random.uniform(-1, 1, (n, 2)) * np.maximum(0.5 - scale, 0.05)[:, None]
    return np.einsum("nij,nkpj->nkpi", turn, lines) + centre[:, None, None], scale


def pen(lines: np.ndarray, width: float) -> Callable:
    """Return a painter of lines (k, p, 2) with a round pen."""

    def paint(canvas, scale):
        for line in lines * scale:
            canvas.line(line.ravel().tolist(), fill=255, width=max(1, round(width * scale)), joint="curve")

    return paint


def fill(outline: np.ndarray) -> Callable:
    """Return a painter of one filled outline (p, 2)."""
    return lambda canvas, scale: canvas.polygon((outline * scale).ravel().tolist(), fill=255)


def drawing(size: int, background, paint: Callable, mode: str = "RGB") -> np.ndarray:
    """Let `paint` draw at twice the size, and average: edges without steps, values in [0, 1]."""
    colour = to_bytes(np.asarray(background)).tolist()
    image = Image.new(mode, (2 * size, 2 * size), tuple(colour) if mode == "RGB" else colour)
    paint(ImageDraw.Draw(image), 2 * size)
    return np.asarray(image.reduce(2), dtype=np.float32) / 255


# Textures: spectrum, grating, cells


@dataclass(frozen=True)
class Spectrum:
    """Noise whose amplitude falls with frequency as f^-exponent, or lies in a band, stretched in one direction.

    Attributes
    ----------
    exponent : float
        Of the amplitude's fall; photographs have about 1.
    band : float
        Centre of a band in cycles per image of 128 pixels; 0 for none.
    stretch : float
        Ratio of the correlation lengths along and across.
    mixing : ndarray of float, shape (3, 3)
        How three independent noises mix into the colours.
    """

    exponent: float
    band: float
    stretch: float
    mixing: np.ndarray
    mirrored: ClassVar[bool] = True

    @classmethod
    def draw(cls, random):
        return cls(
            exponent=random.uniform(0.3, 2.2),
            band=float(random.choice([0, 1])) * random.uniform(4, 30),
            stretch=random.uniform(1, 6) if random.integers(2) else 1.0,
            mixing=random.normal(0, 1, (3, 3)) * [1, random.uniform(0, 1), random.uniform(0, 1)],
        )

    def render(self, n, size, random):
        y, x = np.meshgrid(np.fft.fftfreq(size) * 128, np.fft.rfftfreq(size) * 128, indexing="ij")
        turn = random.uniform(0, np.pi, n)[:, None, None]
        along = (np.cos(turn) * x + np.sin(turn) * y) * np.sqrt(self.stretch)
        across = (np.cos(turn) * y - np.sin(turn) * x) / np.sqrt(self.stretch)
        frequency = np.hypot(along, across) * random.uniform(0.85, 1.15, n)[:, None, None]
        if self.band:
            amplitude = np.exp(-0.5 * ((frequency - self.band) / (0.15 * self.band)) ** 2)
        else:
            amplitude = np.maximum(frequency, 1.0) ** -self.exponent
        noise = np.fft.rfft2(random.standard_normal((n, 3, size, size), dtype=np.float32))
        field = np.fft.irfft2(noise * amplitude[:, None], s=(size, size))
        colours = np.einsum("nchw,kc->nhwk", field, self.mixing)
        colours /= colours.std((1, 2, 3), keepdims=True) + 1e-9
        contrast = random.uniform(0.1, 0.25, (n, 1, 1, 1))
        return 0.5 + random.normal(0, 0.08, (n, 1, 1, 3)) + contrast * colours


@dataclass(frozen=True)
class Grating:
    """One to three families of parallel threads with fixed angles between them, crossed or added, and warped.

    Attributes
    ----------
    periods : ndarray of float, shape (k,)
        Threads per image of 128 pixels.
    angles : ndarray of float, shape (k,)
        Relative to the first family, in radians.
    sharpness : float
        1 for a sine; larger values approach a square wave.
    warp : float
        Amplitude of the bending, in periods of the first family.
    over_and_under : bool
        Whether the families multiply, as in a check, rather than add.
    """

    periods: np.ndarray
    angles: np.ndarray
    sharpness: float
    warp: float
    over_and_under: bool
    mirrored: ClassVar[bool] = True

    @classmethod
    def draw(cls, random):
        k = int(random.integers(1, 4))
        return cls(
            periods=np.exp(random.uniform(np.log(4), np.log(26), k)),
            angles=np.concatenate([[0.0], random.uniform(0.3, np.pi - 0.3, k - 1)]),
            sharpness=np.exp(random.uniform(0, 2)),
            warp=random.uniform(0, 0.8) if random.integers(2) else 0.0,
            over_and_under=bool(random.integers(2)),
        )

    def render(self, n, size, random):
        y, x = (np.mgrid[:size, :size] / 128).astype(np.float32)
        turn = random.uniform(0, np.pi, (n, 1)) + self.angles
        zoom = random.uniform(0.85, 1.15, (n, 1)) * self.periods
        phase = random.uniform(0, 1, (n, len(self.angles)))
        bend = smooth_noise(n, size, 128 / 8, random) * self.warp / self.periods[0]
        total = 1.0 if self.over_and_under else 0.0
        for k in range(len(self.angles)):
            direction = np.cos(turn[:, k, None, None]) * x + np.sin(turn[:, k, None, None]) * y + bend
            wave = np.sin(2 * np.pi * (zoom[:, k, None, None] * direction + phase[:, k, None, None]))
            wave = np.tanh(self.sharpness * wave) / np.tanh(self.sharpness)
            total = total * wave if self.over_and_under else total + wave / len(self.angles)
        return blend((total + 1) / 2, random)


@dataclass(frozen=True)
class Cells:
    """The cells of points that keep their distance more or less (Voronoi), filled, rounded or as a net.

    Attributes
    ----------
    density : float
        Points along one side of an image of 128 pixels.
    disorder : float
        0 for a grid, 1 for points anywhere.
    metric : {1, 2, inf}
        Exponent of the distance: cells with slanted, free or upright edges.
    style : {'filled', 'rounded', 'net'}
    """

    density: float
    disorder: float
    metric: float
    style: str
    mirrored: ClassVar[bool] = True

    @classmethod
    def draw(cls, random):
        return cls(
            density=np.exp(random.uniform(np.log(4), np.log(18))),
            disorder=random.uniform(0.1, 1),
            metric=float(random.choice([1.0, 2.0, 2.0, np.inf])),
            style=str(random.choice(["filled", "rounded", "net"])),
        )

    def render(self, n, size, random):
        return blend(np.stack([self._field(size, random) for _ in range(n)]), random)

    def _field(self, size, random):
        spacing = 128 / self.density / random.uniform(0.85, 1.15)
        reach = int(np.ceil(size / spacing)) + 3
        grid = np.stack(np.mgrid[:reach, :reach], axis=-1).reshape(-1, 2) - 1.0
        points = (grid + random.uniform(-0.5, 0.5, (len(grid), 2)) * 2 * self.disorder) * spacing
        # the cells are turned about the middle with the points, except where the metric has axes of its own
        turn = rotations(random.uniform(-np.pi, np.pi, 1) * (self.metric == 2))[0]
        pixels = (np.stack(np.mgrid[:size, :size], axis=-1).reshape(-1, 2) - size / 2) @ turn + size / 2
        distance, cell = cKDTree(points).query(pixels, k=2, p=self.metric)
        if self.style == "filled":
            field = random.uniform(0, 1, len(points))[cell[:, 0]]
        elif self.style == "rounded":
            field = 1 - np.minimum(distance[:, 0] / (0.7 * spacing), 1)
        else:
            field = np.minimum((distance[:, 1] - distance[:, 0]) / (0.25 * spacing), 1)
        return field.reshape(size, size).astype(np.float32)


# Colour and geometry


def rotations(angles: np.ndarray) -> np.ndarray:
    """Return the matrices (n, 2, 2) of rotations by angles (n,) in radians."""
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def smooth_noise(n: int, size: int, width: float, random) -> np.ndarray:
    """Return Gaussian noise (n, size, size) blurred to a correlation length in pixels, with standard deviation 1."""
    noise = random.standard_normal((n, size, size), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (0, width, width), mode="wrap")
    return noise / (noise.std((1, 2), keepdims=True) + 1e-9)


def colours(n: int, random, apart: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Draw two colours per image, (n, 1, 1, 3) each, that differ by `apart` in mean brightness; a third are grey."""
    dark, light = random.uniform(0, 1, (2, n, 3))
    grey = random.uniform(0, 1, n) < 1 / 3
    dark[grey], light[grey] = dark[grey, :1], light[grey, :1]
    gap = light.mean(-1) - dark.mean(-1)
    push = np.sign(gap) * np.maximum(apart - np.abs(gap), 0) / 2
    pair = dark - push[:, None], light + push[:, None]
    return tuple(np.clip(colour, 0, 1)[:, None, None] for colour in pair)


def blend(weights: np.ndarray, random) -> np.ndarray:
    """Colour fields (n, h, w) of weights in [0, 1] between two drawn colours, under a little noise."""
    first, second = colours(len(weights), random)
    images = first + weights[..., None] * (second - first)
    noise = random.uniform(0, 0.06, (len(weights), 1, 1, 1))
    return images + noise * random.standard_normal(images.shape, dtype=np.float32)


def on_background(masks: np.ndarray, random) -> np.ndarray:
    """Paint figures (n, h, w) on plain, shaded or cloudy ground; every third one is white on black, like writing."""
    n, size = masks.shape[:2]
    ground = smooth_noise(n, size, size / 8, random) * random.choice([0, 0, 0.15], n)[:, None, None]
    images = blend(masks, random) + ground[..., None]
    written = random.uniform(0, 1, n) < 1 / 3
    noise = random.uniform(0, 0.15, (n, 1, 1, 1)) * random.standard_normal((n, size, size, 1), dtype=np.float32)
    return np.where(written[:, None, None, None], masks[..., None] + noise, images)


def to_bytes(colour: np.ndarray) -> np.ndarray:
    return (np.clip(colour, 0, 1) * 255).round().astype(np.uint8)


FAMILIES: tuple[type[Category], ...] = (Fractal, Glyph, DeadLeaves, Grating, Blob, Spectrum, Cells)

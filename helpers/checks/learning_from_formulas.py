"""Checks for the assignment of the chapter *Learning from formulas*."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.checks import Numbers, compare, fresh


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    mirrored = draw.sample((1, 1, -1), 3)
    return {
        "seed": draw.randrange(1000),
        "maps": [_shrinking_map(draw, sign) for sign in mirrored],
        "asked": draw.choice((1, 2, 3)),
        "exponent": draw.choice((1.5, 2.5, 3.5, 4)),  # 2 would hide one error behind another
        "lowest": draw.choice((2, 3, 4)),
        "highest": draw.choice((8, 9, 10)),
        "loaders": draw.sample(range(1, 5), 4),
        "generators": draw.choice((9, 12, 16, 20)),
        "score": draw.choice((61, 64, 68, 72)),
    }


def _shrinking_map(draw: random.Random, sign: int) -> list[list[float]]:
    """Draw a map x -> A x + b that shrinks all distances, as the rows of A with b in the last column."""
    turn, wide, narrow = draw.uniform(0.3, 2.8), draw.uniform(0.5, 0.8), sign * draw.uniform(0.3, 0.6)
    cos, sin = math.cos(turn), math.sin(turn)
    rows = [[wide * cos, -narrow * sin], [wide * sin, narrow * cos]]
    return [[round(entry, 2) for entry in row] + [round(draw.uniform(0.2, 0.9), 2)] for row in rows]


# ---- question 1


def q1(answer: Any, numbers: Numbers) -> None:
    """How often a map is drawn, and the place that it leaves alone."""
    compare.each(answer, numbers, share=share_of_a_map, still=place_at_rest)


def share_of_a_map(answer: Any, numbers: Numbers) -> None:
    """In proportion to the area that the map leaves."""
    signed = np.linalg.det(np.array(numbers.maps)[:, :, :2])
    areas, asked = np.abs(signed), numbers.asked - 1
    mistakes = {
        "a map that mirrors has a negative determinant, and an area has no sign.": signed[asked] / signed.sum(),
        "this is the area that the map leaves: the shares of all maps add up to 1.": areas[asked],
        "the maps are not drawn equally often: each in proportion to the area that it leaves.": 1 / 3,
        "this is the share of another map: the text counts from 1, Python from 0.": (areas / areas.sum())[
            numbers.asked % 3
        ],
    }
    compare.number(answer, areas[asked] / areas.sum(), 1e-3, mistakes)


def place_at_rest(answer: Any, numbers: Numbers) -> None:
    """The fixed point of one map, by repeating the map."""
    maps = np.array(numbers.maps)
    matrix, shift = maps[numbers.asked - 1, :, :2], maps[numbers.asked - 1, :, 2]
    other = maps[numbers.asked % 3]
    place = np.zeros(2)
    for _ in range(500):  # each step shrinks the distance to the place that stays
        place = matrix @ place + shift
    compare.array(
        answer,
        place,
        1e-3,
        mistakes={
            "this is where the map takes the origin: where does it take this place?": shift,
            "this is where two steps take the origin: go on, or solve the equation.": matrix @ shift + shift,
            "the matrix is transposed here.": np.linalg.solve(np.eye(2) - matrix.T, shift),
            "this place is left alone by another map: the text counts from 1, Python from 0.": np.linalg.solve(
                np.eye(2) - other[:, :2], other[:, 2]
            ),
        },
    )


# ---- question 2


def leaf_radii(exponent: float, falling: bool = False) -> Callable:
    """Return the inverse of the distribution function of radii with density ~ r^-exponent, or of its complement."""

    def radii(u, smallest, largest):
        share, power = 1 - u if falling else u, 1 - exponent
        return ((1 - share) * smallest**power + share * largest**power) ** (1 / power)

    return radii


def q2(answer: Any, numbers: Numbers) -> None:
    """Radii of leaves for another exponent."""
    exponent = numbers.exponent

    def of_the_density(u, smallest, largest):  # takes the power of the density for that of its integral
        return ((1 - u) * smallest**-exponent + u * largest**-exponent) ** (-1 / exponent)

    mistakes = {
        "these are the radii of the chapter: look at the exponent.": leaf_radii(3),
        "these are the radii of the chapter, which also runs the other way: u = 0 is to give the smallest.": leaf_radii(
            3, falling=True
        ),
        "this runs the other way: u = 0 is to give the smallest radius, u = 1 the largest.": leaf_radii(
            exponent, falling=True
        ),
        "this inverts the density's own power: integrate the density first, which adds 1 to the power.": of_the_density,
        "all radii are equally frequent here: the density is to fall.": lambda u, smallest, largest: (
            smallest + u * (largest - smallest)
        ),
        "this is the density 1/r, for which the logarithm of the radius is uniform.": lambda u, smallest, largest: (
            smallest * (largest / smallest) ** u
        ),
    }
    draw = fresh()
    inputs = [(draw.random(n), *bounds) for n, bounds in ((30, (0.03, 0.4)), (50, (0.1, 0.7)))]
    compare.function(answer, leaf_radii(exponent), inputs, mistakes=mistakes)


# ---- question 3


def noise(exponent: float, count: int, side: int, draw: np.random.Generator) -> np.ndarray:
    """Draw images whose amplitudes fall as f^-exponent, f in cycles per image."""
    white = np.fft.fft2(draw.normal(size=(count, side, side)))
    return np.fft.ifft2(white * np.maximum(_frequencies(side), 1) ** -exponent).real


def clouds(numbers: Numbers, draw: np.random.Generator | None = None, count: int = 120, side: int = 64) -> np.ndarray:
    """Return images of a surface whose amplitudes fall as a power of f, in uneven light and through a soft lens.

    Parameters
    ----------
    numbers : Numbers
        Of the class: up to `numbers.highest` cycles per image the lens hides nothing, and the light changes by less
        than `numbers.lowest`.
    draw : numpy.random.Generator, optional
        Draws images and exponent; without one, both belong to the class.
    count, side : int

    Returns
    -------
    ndarray of float, shape (count, side, side)
    """
    draw = draw or np.random.default_rng([numbers.class_seed, numbers.seed])
    images = noise(draw.uniform(0.6, 1.6), count, side, draw)
    images /= images.std()
    light = np.cos(2 * np.pi * np.arange(side) / side)
    images = images + 2 * (light + light[:, None]) + 3
    soft = 1 / (1 + (_frequencies(side) / (1.5 * numbers.highest)) ** 12)
    return np.fft.ifft2(np.fft.fft2(images) * soft).real


def falloff(lowest: float, highest: float, power: bool = False, straight: bool = False) -> Callable:
    """Return the measurement of the exponent within a band, or one with a known error."""

    def measure(images):
        f = _frequencies(images.shape[-1])
        spectrum = np.mean(np.abs(np.fft.fft2(images)) ** 2, axis=0)
        kept = (f >= lowest) & (f <= highest) & (f > 0)
        slope = np.polyfit(f[kept] if straight else np.log(f[kept]), np.log(spectrum[kept]), 1)[0]
        return -slope if power else -slope / 2

    return measure


def q3(answer: Any, numbers: Numbers) -> None:
    """The exponent of a spectrum, measured within a band."""
    low, high = numbers.lowest, numbers.highest
    right = falloff(low, high)
    mistakes = {
        "this is how fast the power falls: the amplitude is its root.": falloff(low, high, power=True),
        "the sign is wrong: a falling spectrum is to have a positive exponent.": lambda images: -right(images),
        "all frequencies are in the fit, also those that light and lens have changed.": falloff(0, math.inf),
        "the light is still in the fit: leave out what is below the lowest frequency.": falloff(0, high),
        "the lens is still in the fit: leave out what is above the highest frequency.": falloff(low, math.inf),
        "the fit is on the frequency itself: a power law is a line in the logarithm of both.": falloff(
            low, high, straight=True
        ),
    }
    draw = fresh()
    inputs = [(clouds(numbers, draw, 100, side),) for side in (48, 64)]
    compare.function(answer, right, inputs, 0.03, mistakes)


def _frequencies(side: int) -> np.ndarray:
    """Return the frequency of each place of `numpy.fft.fft2`, in cycles per image."""
    along = np.fft.fftfreq(side) * side
    return np.hypot(along, along[:, None])


# ---- question 4


def partners_found(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of the rows of `first` whose nearest row of `second` is their partner."""
    return float(np.mean(_squared_distances(first, second).argmin(axis=1) == np.arange(len(first))))


def q4(answer: Any, numbers: Numbers) -> None:
    """How many partners are nearest of all."""

    mistakes = {
        "this is the number of partners that are found: divide it by the number of images.": lambda first, second: (
            len(first) * partners_found(first, second)
        ),
        "each image finds itself here: look for its nearest among the second views.": lambda first, second: (
            partners_found(first, first)
        ),
        "no partner is found here: is it left out of the search, or is the farthest taken for the nearest?": _none,
        "this is the share of those that are not found.": lambda first, second: 1 - partners_found(first, second),
    }
    compare.function(answer, partners_found, pairs_of_views(), mistakes=mistakes)


def _none(first: np.ndarray, second: np.ndarray) -> float:
    return 0.0


def pairs_of_views() -> list[tuple]:
    """Return views of two sets of images; some partners are nearest, some are not."""
    draw, pairs = fresh(), []
    for n, side in ((40, 5), (64, 7)):
        content = draw.normal(size=(n, side, side))
        pairs.append(tuple(content + 1.3 * draw.normal(size=content.shape) for _ in range(2)))
    return pairs


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (part.reshape(len(part), -1) for part in (first, second))
    return np.sum((first[:, None] - second[None]) ** 2, axis=-1)


# ---- question 5


def blank_views(numbers: Numbers) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw what four loaders make of 150 blank sheets: two views of each, without any stroke.

    Returns
    -------
    dict of tuple
        For ``"loader 1"`` to ``"loader 4"`` first and second views, each of shape (150, 20, 20).
    """
    draw = np.random.default_rng([numbers.class_seed, *numbers.loaders])
    shape = (150, 20, 20)
    light = draw.uniform(-0.3, 0.3, (4, 2, 150, 1, 1))
    fine = 0.03 * draw.normal(size=(4, 2, *shape))
    dust = np.zeros(shape)
    dust[np.arange(150), draw.integers(0, 20, 150), draw.integers(0, 20, 150)] = -0.45
    kept = (
        draw.uniform(-0.3, 0.3, (150, 1, 1)),  # the shade of the sheet
        0.03 * draw.normal(size=shape),  # the grain of its paper, always at one place
        0,  # another brightness in each view: nothing of the sheet is left
        dust,
    )
    light[0] = 0
    by_number = {number: 0.5 + kept[i] + light[i] + fine[i] for i, number in enumerate(numbers.loaders)}
    return {f"loader {number}": tuple(by_number[number]) for number in sorted(by_number)}


q5 = compare.choice("ABCD")


# ---- question 6


q6 = compare.choice("ABCD")

"""Input checks that say, in one sentence, what was wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

__all__ = [
    "check_choice",
    "check_features",
    "check_images",
    "check_labels",
    "check_neighbours",
    "check_number",
    "check_regular",
    "check_whole",
]


def check_choice(value: str, choices: Iterable[str], what: str) -> str:
    """Return `value` if it is one of `choices`, else suggest the nearest one.

    Raises
    ------
    ValueError
        If `value` is unknown; the sentence names the nearest choice and all of them.

    Examples
    --------
    >>> check_choice("shifted digits", ["digits", "shifted-digits"], "data set")
    Traceback (most recent call last):
    ...
    ValueError: Unknown data set 'shifted digits': did you mean 'shifted-digits'? (there are: digits, shifted-digits)
    """
    choices = list(choices)
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? (there are: " if near else "(there are: "
    raise ValueError(f"Unknown {what} {value!r}: {hint}{', '.join(choices)})")


def check_regular(values, name: str) -> np.ndarray:
    """Return an array, which a list of entries of several shapes cannot become.

    Raises
    ------
    ValueError
        If the entries differ in shape.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"`{name}` holds entries of several shapes: bring all of them to one shape first.") from error


def check_features(features, name: str = "features") -> np.ndarray:
    """Return a feature matrix as float32 of shape (n, d).

    Raises
    ------
    ValueError
        If `features` is not two-dimensional, is empty, or holds NaN or infinity.
    """
    matrix = check_regular(features, name)
    if matrix.ndim != 2:
        raise ValueError(
            f"`{name}` has shape {matrix.shape}, but a feature matrix has two axes (n, d): "
            f"flatten each image's features first."
        )
    if 0 in matrix.shape:
        raise ValueError(f"`{name}` has shape {matrix.shape}: it needs at least one row and one column.")
    if not np.issubdtype(matrix.dtype, np.number) or np.iscomplexobj(matrix):
        raise ValueError(f"`{name}` has dtype {matrix.dtype}, but features are real numbers.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported below
        matrix = matrix.astype(np.float32, copy=False)
    finite = np.isfinite(matrix)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise ValueError(
            f"`{name}` holds {int((~finite).sum())} values that are NaN or infinite (first in row {row}): "
            f"look for a diverged training or a division by zero."
        )
    return matrix


def check_labels(labels, n: int | None = None, name: str = "labels", at_least: int = 2) -> np.ndarray:
    """Return labels as int64 of shape (n,).

    Parameters
    ----------
    labels : array_like of int, shape (n,)
    n : int, optional
        The number of rows that the labels must match.
    at_least : int
        The least number of different classes.

    Raises
    ------
    ValueError
        If the shape, the dtype, the length or the number of classes is wrong.
    """
    vector = check_regular(labels, name)
    if vector.ndim != 1:
        raise ValueError(f"`{name}` has shape {vector.shape}, but labels have one axis (n,).")
    if not (np.issubdtype(vector.dtype, np.integer) or vector.dtype == bool):
        raise ValueError(f"`{name}` has dtype {vector.dtype}, but labels are whole numbers: number the classes first.")
    if n is not None and len(vector) != n:
        raise ValueError(f"`{name}` has {len(vector)} entries for {n} rows of features: one label belongs to each row.")
    classes = np.unique(vector)
    if len(classes) < at_least:
        raise ValueError(
            f"`{name}` holds {len(classes)} class{'' if len(classes) == 1 else 'es'} "
            f"({', '.join(map(str, classes))}), but this measure needs at least {at_least}."
        )
    return vector.astype(np.int64, copy=False)


def check_images(images, name: str = "images") -> np.ndarray:
    """Return images as float32 of shape (n, h, w, c) in [0, 1].

    Raises
    ------
    ValueError
        If the rank, the number of channels, the dtype or the range is wrong, or a value is not finite.
    """
    array = check_regular(images, name)
    if array.ndim != 4:
        raise ValueError(
            f"`{name}` has shape {array.shape}, but images have four axes (n, height, width, channels)"
            + ("; add the channel axis with images[..., None]." if array.ndim == 3 else ".")
        )
    if 0 in array.shape:
        raise ValueError(f"`{name}` has shape {array.shape}: an axis is empty.")
    if array.shape[-1] not in (1, 3):
        raise ValueError(f"`{name}` has {array.shape[-1]} channels, but images are grey (1) or colour (3).")
    if array.dtype.kind not in "buif":
        raise ValueError(f"`{name}` has dtype {array.dtype}, but images are real numbers.")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"`{name}` holds values that are NaN or infinite, but images lie in [0, 1].")
    if low < 0 or high > 1:
        hint = "; divide 8-bit images by 255" if low >= 0 and 1 < high <= 255 else ""
        raise ValueError(f"`{name}` lies in [{low:.3g}, {high:.3g}], but images lie in [0, 1]{hint}.")
    return array.astype(np.float32, copy=False)


def check_neighbours(k: int, n: int, what: str) -> int:
    """Return `k` if 1 <= k < n, else say how many rows are there.

    Raises
    ------
    ValueError
        If `k` is out of range, or no whole number.
    """
    if not _is_whole(k) or not 1 <= k < n:
        allowed = f"a whole number from 1 to {n - 1}"
        raise ValueError(f"{k} {what} asked for with {n} rows: ask for {allowed}, or give more rows.")
    return int(k)


def check_number(value: float, what: str, least: float, most: float = float("inf"), strictly: bool = False) -> float:
    """Return `value` if it is a number from `least` to `most`, or with `strictly` between the two: NaN is none.

    Raises
    ------
    ValueError
        If it is not; the sentence names the range.

    Examples
    --------
    >>> check_number(1.5, "rho", 0, 1, strictly=True)
    Traceback (most recent call last):
    ...
    ValueError: rho=1.5, but it is a number strictly between 0 and 1.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    inside = is_number and (least < value < most if strictly else least <= value <= most and np.isfinite(value))
    if not inside:
        upwards = f"more than {least}" if strictly else f"of {least} or more"
        between = f"strictly between {least} and {most}" if strictly else f"from {least} to {most}"
        raise ValueError(f"{what}={value!r}, but it is a number {upwards if np.isinf(most) else between}.")
    return float(value)


def check_whole(value: int, what: str, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number from `least` to `most`: True is none, and 2.0 is none.

    Raises
    ------
    ValueError
        If it is not; the sentence names the range.

    Examples
    --------
    >>> check_whole(2.5, "batch_size", 1)
    Traceback (most recent call last):
    ...
    ValueError: batch_size=2.5, but it is a whole number of 1 or more.
    """
    if not _is_whole(value) or value < least or (most is not None and value > most):
        allowed = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ValueError(f"{what}={value!r}, but it is a whole number {allowed}.")
    return int(value)


def _is_whole(value) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)

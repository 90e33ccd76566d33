"""How a code is used: how many units are on, for how many images, and which are never on.

A code is a feature matrix (n, d): a row for each image, a column for each unit. The functions take its absolute
values, so that codes with signs can be measured too; for sigmoid and ReLU units that changes nothing.
"""

from __future__ import annotations

import numpy as np

from .validation import check_features, check_number

__all__ = ["active_units", "dead_units", "fraction_active", "hoyer", "lifetime_sparsity", "population_sparsity"]


def fraction_active(code, threshold: float = 0.0) -> float:
    """Return the share of the n x d activations whose absolute value exceeds `threshold`.

    The plainest measure, and the only one here that knows about units of measurement: sigmoid units are never
    exactly 0, so they need a threshold, and a code that was scaled needs another one.

    Parameters
    ----------
    code : array_like of float, shape (n, d)
    threshold : float
        0 or more.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If `code` is no feature matrix, or `threshold` is negative.
    """
    return float(np.mean(_strengths(code) > check_number(threshold, "threshold", 0)))


def dead_units(code, threshold: float = 0.0) -> int:
    """Return the number of units whose absolute value is at most `threshold` on every image.

    A dead unit makes a code look sparse and carries nothing: report both together.

    Parameters
    ----------
    code : array_like of float, shape (n, d)
        Of many images: what is off on ten images may be on for the eleventh.
    threshold : float
        0 or more.

    Returns
    -------
    int
        From 0 to d.

    Raises
    ------
    ValueError
        As `fraction_active`.

    Examples
    --------
    >>> dead_units([[0, 0.2, 0], [0, 0, 0]])
    2
    """
    return int(np.sum(_strengths(code).max(axis=0) <= check_number(threshold, "threshold", 0)))


def hoyer(code) -> float:
    """Return Hoyer's sparseness of an image's code, averaged over the images.

    For each row a of d numbers::

        (sqrt(d) - sum |a| / sqrt(sum a^2)) / (sqrt(d) - 1)

    It is 0 if all units are equally strong and 1 if a single one is on. A row of zeros, for which it is not defined,
    is left out; a code of zeros alone counts as 1, for nothing in it is on. Scaling a row changes nothing.

    Parameters
    ----------
    code : array_like of float, shape (n, d)
        With d of 2 or more.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If `code` is no feature matrix, or has one column only.

    References
    ----------
    Hoyer (2004), JMLR 5, 1457-1469, https://www.jmlr.org/papers/v5/hoyer04a.html

    Examples
    --------
    >>> hoyer([[2, 2, 2, 2]]), hoyer([[0, 0, 3, 0]])
    (0.0, 1.0)
    """
    rows = _strengths(code)
    _check_several(rows.shape[1], "code", "column")
    rows, root = _answering(rows), np.sqrt(rows.shape[1])
    return _mean((root - rows.sum(axis=1) / np.sqrt(np.square(rows).sum(axis=1))) / (root - 1))


def lifetime_sparsity(code) -> float:
    """Return how few images a unit answers to, averaged over the units.

    For each column a of n numbers::

        (1 - mean(a)^2 / mean(a^2)) / (1 - 1/n)

    The quotient is Treves and Rolls' sparseness of firing rates; Vinje and Gallant turned it round and rescaled it to
    go from 0 (the same answer to every image) to 1 (an answer to one image only). A unit that never answers, for which
    it is not defined, is left out, so that dead units do not pass for selective ones: count them with `dead_units`.
    If all are dead, it is 1. Scaling a unit changes nothing.

    Parameters
    ----------
    code : array_like of float, shape (n, d)
        With n of 2 or more. More images allow higher values, so compare codes of the same images.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If `code` is no feature matrix, or has one row only.

    References
    ----------
    Treves and Rolls (1991), https://doi.org/10.1088/0954-898X_2_4_004 ; Vinje and Gallant (2000),
    https://doi.org/10.1126/science.287.5456.1273
    """
    units = _strengths(code).T
    _check_several(units.shape[1], "code", "row")
    return _treves_rolls(_answering(units))


def population_sparsity(code) -> float:
    """Return how few units answer to an image, averaged over the images.

    The formula of `lifetime_sparsity`, over the d units of each row. The two are not the same: if one unit answers to
    every image and the others to none, the population sparsity is 1, the highest, and the lifetime sparsity of the
    unit that answers may be 0, the lowest. An image that no unit answers to is left out; if there is no other, it is 1.
    Scaling a row changes nothing, scaling a unit does.

    Parameters
    ----------
    code : array_like of float, shape (n, d)
        With d of 2 or more.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If `code` is no feature matrix, or has one column only.

    References
    ----------
    As `lifetime_sparsity`.

    Examples
    --------
    >>> always_the_same_unit = [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    >>> population_sparsity(always_the_same_unit), lifetime_sparsity(always_the_same_unit)
    (1.0, 0.0)
    """
    rows = _strengths(code)
    _check_several(rows.shape[1], "code", "column")
    return _treves_rolls(_answering(rows))


def active_units(means, threshold: float = 0.01) -> int:
    """Return the number of latent dimensions that a variational autoencoder uses.

    A dimension is active if the variance, over the images, of its posterior mean exceeds `threshold`. A collapsed one
    gives every image the prior's mean, so its variance is 0.

    Parameters
    ----------
    means : array_like of float, shape (n, d)
        The posterior means, not draws: a draw varies even where the mean does not. With n of 2 or more.
    threshold : float
        0 or more; 0.01 is that of the paper.

    Returns
    -------
    int
        From 0 to d.

    Raises
    ------
    ValueError
        If `means` is no feature matrix, has one row only, or `threshold` is negative.

    References
    ----------
    Burda, Grosse and Salakhutdinov (2016), https://arxiv.org/abs/1509.00519
    """
    means = check_features(means, "means").astype(np.float64)
    _check_several(len(means), "means", "row")
    return int(np.sum(means.var(axis=0) > check_number(threshold, "threshold", 0)))


def _strengths(code) -> np.ndarray:
    return np.abs(check_features(code, "code").astype(np.float64))


def _check_several(number: int, name: str, what: str) -> None:
    if number < 2:
        raise ValueError(f"`{name}` has one {what} only, but this measure compares at least two.")


def _treves_rolls(vectors: np.ndarray) -> float:
    return _mean((1 - vectors.mean(axis=1) ** 2 / np.square(vectors).mean(axis=1)) / (1 - 1 / vectors.shape[1]))


def _answering(vectors: np.ndarray) -> np.ndarray:
    """Return the rows that are not zero throughout, each with 1 as its largest number."""
    largest = vectors.max(axis=1, keepdims=True)
    answering = largest[:, 0] > 0
    return vectors[answering] / largest[answering]


def _mean(sparsities: np.ndarray) -> float:
    return float(np.clip(sparsities, 0, 1).mean()) if len(sparsities) else 1.0  # clipped: rounding gives -1e-16

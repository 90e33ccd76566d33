"""How far apart do classes lie in feature space, and could that be chance?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from .validation import check_features, check_labels

__all__ = ["PermutationTest", "effective_rank", "goodness", "permutation_test", "silhouette"]


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """The outcome of a test against random labels.

    Attributes
    ----------
    statistic : float
        Of the labels as they are.
    p_value : float
        (1 + number of permutations that reach the statistic) / (1 + number of permutations): the labelling
        itself counts as one of the possible ones, so p is never 0 and its least value is 1 / (1 + permutations).
    null : ndarray of float64, shape (permutations,)
        The statistic under each permutation.
    """

    statistic: float
    p_value: float
    null: np.ndarray


@threadpool_limits.wrap(limits=1)
def goodness(features, labels) -> float:
    """Return the clustering goodness: mean distance between classes / mean distance within classes.

    Every pair of images counts once, so large classes weigh more. At chance it is close to 1, and it shrinks
    towards 1 as dimensions are added that say nothing: compare features of equal dimension only.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    labels : array_like of int, shape (n,)

    Returns
    -------
    float
        Above 0; larger is better.

    Raises
    ------
    ValueError
        If there is one class only, every image is a class of its own, or no two images of a class differ.
    """
    distances, onehot = _distances(features, labels)
    return float(_goodness_of(distances, onehot[None])[0])


@threadpool_limits.wrap(limits=1)  # the same sums on any number of cores
def permutation_test(features, labels, permutations: int = 999, seed: int = 0) -> PermutationTest:
    """Test `goodness` against labels shuffled at random.

    The distances are computed once; a permutation only changes which of them count as *within*. For a batch
    of permutations the sums within classes are one matrix product.

    Parameters
    ----------
    features, labels : array_like
        As for `goodness`.
    permutations : int
        Shuffles drawn. The least p-value that can be reported is 1 / (1 + permutations).
    seed : int

    Returns
    -------
    PermutationTest

    References
    ----------
    Mielke, Berry and Johnson (1976), Multi-response permutation procedures for a priori classifications,
    Communications in Statistics A5, 1409-1424 (of whose statistic this ratio is a decreasing function);
    Phipson and Smyth (2010), https://doi.org/10.2202/1544-6115.1585 (the p-value).

    Examples
    --------
    >>> import numpy as np
    >>> features, labels = np.arange(30.0)[:, None], np.repeat([0, 1, 2], 10)
    >>> test = permutation_test(features, labels)
    >>> test.p_value
    0.001
    """
    if permutations < 1:
        raise ValueError(f"permutations={permutations}, but a test needs at least 1 (999 is usual).")
    distances, onehot = _distances(features, labels)
    random = np.random.default_rng(seed)
    statistic = float(_goodness_of(distances, onehot[None])[0])
    null = np.concatenate(
        [
            _goodness_of(distances, np.stack([onehot[random.permutation(len(onehot))] for _ in range(batch)]))
            for batch in _batches(permutations, size=50)
        ]
    )
    # ties count: rounding must not make an equal labelling look like a worse one
    reached = int(np.sum(null >= statistic * (1 - 1e-6)))
    return PermutationTest(statistic, (1 + reached) / (1 + permutations), null)


@threadpool_limits.wrap(limits=1)
def silhouette(features, labels) -> float:
    """Return the mean silhouette of the classes, in [-1, 1].

    For each image (b - a) / max(a, b), with a the mean distance to its own class and b to the nearest other
    one. On a two-dimensional map it flatters: the map was made to pull groups apart.

    References
    ----------
    Rousseeuw (1987), https://doi.org/10.1016/0377-0427(87)90125-7
    """
    features = check_features(features)
    labels = check_labels(labels, len(features))
    if len(np.unique(labels)) == len(labels):
        raise ValueError("Every image is a class of its own: the silhouette needs classes of two or more.")
    return float(silhouette_score(features, labels))


@threadpool_limits.wrap(limits=1)
def effective_rank(features) -> float:
    """Return how many dimensions the features really use: 1 to min(n - 1, d), or 0 where all rows are equal.

    The exponential of the entropy of the normalised singular values of the centred features: d for a round
    cloud, 1 for a line. A network that has collapsed onto few directions shows it here first; that all rows are
    nearly equal it cannot show, because it does not depend on scale.

    Parameters
    ----------
    features : array_like of float, shape (n, d)

    Returns
    -------
    float

    References
    ----------
    Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality, EUSIPCO

    Examples
    --------
    >>> import numpy as np
    >>> round(effective_rank(np.vstack([np.eye(3), -np.eye(3)])), 6)
    3.0
    """
    features = check_features(features).astype(np.float64)
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    if values[0] <= 1e-7 * max(1.0, np.abs(features).max()):
        return 0.0
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-np.sum(share * np.log(share))))


def _distances(features, labels):
    features = check_features(features)
    labels = check_labels(labels, len(features))
    onehot = (labels[:, None] == np.unique(labels)).astype(np.float32)
    if onehot.sum(axis=0).max() < 2:
        raise ValueError("Every image is a class of its own: the goodness needs a class of two or more.")
    return squareform(pdist(features)).astype(np.float32), onehot


def _goodness_of(distances: np.ndarray, onehots: np.ndarray) -> np.ndarray:
    """Goodness under each labelling of `onehots`, shape (labellings, n, classes)."""
    count, n, classes = onehots.shape
    columns = np.ascontiguousarray(onehots.transpose(1, 0, 2)).reshape(n, count * classes)
    products = (distances @ columns).reshape(n, count, classes)
    within = np.einsum("npc,pnc->p", products, onehots, dtype=np.float64) / 2
    sizes = onehots[0].sum(axis=0, dtype=np.float64)
    pairs_within = np.sum(sizes * (sizes - 1)) / 2
    pairs_between = n * (n - 1) / 2 - pairs_within
    total = distances.sum(dtype=np.float64) / 2
    if np.any(within <= 0):
        raise ValueError("No two images of a class differ: the mean distance within classes is 0, the ratio undefined.")
    return ((total - within) / pairs_between) / (within / pairs_within)


def _batches(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]

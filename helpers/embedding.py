"""Draw features on a plane, and say how much of the drawing to believe."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from .distances import check_distances, gram_from_distances, principal_components
from .validation import check_choice, check_features, check_neighbours

__all__ = ["METHODS", "METRICS", "Map", "embed", "maps", "neighbours_kept", "quality"]

METHODS = ("PCA", "t-SNE", "UMAP")
METRICS = ("euclidean", "precomputed")


@dataclass(frozen=True, eq=False)
class Map:
    """A drawing of features on a plane.

    Attributes
    ----------
    coordinates : ndarray of float32, shape (n, 2)
    trustworthiness : float
        In [0, 1]: 1 where no image has strangers among its neighbours on the map.
    continuity : float
        In [0, 1]: 1 where no image has lost a neighbour that it had among the features.
    neighbours_kept : float
        In [0, 1]: the share of the nearest neighbours that are the same in both.
    """

    coordinates: np.ndarray
    trustworthiness: float
    continuity: float
    neighbours_kept: float


@threadpool_limits.wrap(limits=1)  # the same map on any number of cores, and on small data faster
def embed(features, method: str = "PCA", seed: int = 0, metric: str = "euclidean") -> np.ndarray:
    """Draw features on a plane.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        With d of 2 or more; with ``metric="precomputed"`` the distances of all pairs, shape (n, n).
    method : {'PCA', 't-SNE', 'UMAP'}
        PCA keeps the directions of most variance; t-SNE (perplexity 30, 750 steps, started from PCA) and UMAP
        (15 neighbours) keep neighbours and give up distances.
    seed : int
    metric : {'euclidean', 'precomputed'}
        ``"precomputed"`` draws from distances, as `helpers.distances.pairwise_distances` gives them, when features
        are too wide for memory. PCA is then classical scaling, which for Euclidean distances is the same map, and
        t-SNE starts from it.

    Returns
    -------
    ndarray of float32, shape (n, 2)

    Raises
    ------
    ValueError
        If the method or the metric is unknown, there is one column only, `features` are to be distances and are
        none, or there are too few rows for the method's neighbours.

    References
    ----------
    van der Maaten and Hinton (2008), https://jmlr.org/papers/v9/vandermaaten08a.html ;
    McInnes, Healy and Melville (2018), https://arxiv.org/abs/1802.03426 ;
    Torgerson (1952), https://doi.org/10.1007/BF02288916
    """
    check_choice(method, METHODS, "map")
    if check_choice(metric, METRICS, "metric") == "precomputed":
        return _embed_distances(check_distances(features), method, seed)
    features = check_features(features)
    if features.shape[1] < 2:
        raise ValueError("`features` has one column: a map needs two dimensions or more.")
    check_neighbours(*_least(method, len(features)))
    if features.std(axis=0).max() <= 1e-7 * np.abs(features).max():  # t-SNE divides by the spread: NaN ends the process
        raise ValueError("All rows of `features` are equal: a map has nothing to show; look for a collapsed training.")
    if method == "PCA":
        model = PCA(2, svd_solver="full")
    elif method == "t-SNE":
        model = TSNE(perplexity=30, max_iter=750, init="pca", random_state=seed)
    else:
        import umap  # here, because its import takes seconds and not every reader of this module draws

        model = umap.UMAP(n_neighbors=15, random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(features), np.float32)


@threadpool_limits.wrap(limits=1)
def quality(features, coordinates, k: int = 15, metric: str = "euclidean") -> dict[str, float]:
    """Measure how well a map keeps neighbours.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        With ``metric="precomputed"`` the distances of all pairs, shape (n, n).
    coordinates : array_like of float, shape (n, 2)
    k : int
        Neighbours looked at, 1 to n / 2 - 1.
    metric : {'euclidean', 'precomputed'}

    Returns
    -------
    dict of str to float
        ``trustworthiness``, ``continuity``, ``neighbours_kept``, each in [0, 1].

    Raises
    ------
    ValueError
        If the lengths differ or `k` is out of range.

    References
    ----------
    Venna and Kaski (2001), https://doi.org/10.1007/3-540-44668-0_68
    """
    features, coordinates = _check_pair(features, coordinates, metric)
    if not 1 <= k < len(features) / 2:
        raise ValueError(f"{k} neighbours asked for with {len(features)} rows: ask for fewer than half as many.")
    if metric == "precomputed":
        return _quality_of_distances(features, coordinates, k)
    return {
        "trustworthiness": float(trustworthiness(features, coordinates, n_neighbors=k)),
        "continuity": float(trustworthiness(coordinates, features, n_neighbors=k)),
        "neighbours_kept": neighbours_kept(features, coordinates, k),
    }


@threadpool_limits.wrap(limits=1)
def neighbours_kept(features, coordinates, k: int = 15, metric: str = "euclidean") -> float:
    """Return the share of each image's `k` nearest neighbours that are the same among features and on the map."""
    features, coordinates = _check_pair(features, coordinates, metric)
    check_neighbours(k, len(features), "neighbours")
    before, after = (
        NearestNeighbors(n_neighbors=k, metric=kind).fit(rows).kneighbors(return_distance=False)
        for rows, kind in ((features, metric), (coordinates, "euclidean"))
    )
    return float(np.mean([len(np.intersect1d(*rows)) / k for rows in zip(before, after, strict=True)]))


def maps(features, seed: int = 0, k: int = 15, metric: str = "euclidean") -> dict[str, Map]:
    """Draw features by PCA, t-SNE and UMAP, each with its quality; the parameters are those of `embed` and `quality`.

    Returns
    -------
    dict of str to Map
    """
    drawn = {method: embed(features, method, seed, metric) for method in METHODS}
    return {method: Map(drawn[method], **quality(features, drawn[method], k, metric)) for method in METHODS}


def _check_pair(features, coordinates, metric):
    precomputed = check_choice(metric, METRICS, "metric") == "precomputed"
    features = check_distances(features) if precomputed else check_features(features)
    coordinates = check_features(coordinates, "coordinates")
    if len(features) != len(coordinates):
        raise ValueError(f"`features` has {len(features)} rows and `coordinates` {len(coordinates)}: one map, one set.")
    return features, coordinates


def _least(method: str, n: int) -> tuple[int, int, str]:
    """What a method looks at, for `check_neighbours`."""
    number, what = {"PCA": (2, "dimensions"), "t-SNE": (30, "neighbours (perplexity)"), "UMAP": (15, "neighbours")}[
        method
    ]
    return number, n, what


def _embed_distances(distances: np.ndarray, method: str, seed: int) -> np.ndarray:
    check_neighbours(*_least(method, len(distances)))
    if method == "UMAP":
        import umap  # here, because its import takes seconds and not every reader of this module draws

        with warnings.catch_warnings():  # that new rows could not be placed: none are
            warnings.filterwarnings("ignore", "using precomputed metric")
            model = umap.UMAP(n_neighbors=15, random_state=seed, n_jobs=1, metric="precomputed")
            return np.asarray(model.fit_transform(distances), np.float32)
    scaled = principal_components(gram_from_distances(distances), 2).scores
    if method == "PCA":
        return scaled
    start = scaled / scaled[:, 0].std() * np.float32(1e-4)  # as scikit-learn starts from PCA
    model = TSNE(perplexity=30, max_iter=750, init=start, random_state=seed, metric="precomputed")
    return np.asarray(model.fit_transform(distances), np.float32)


def _quality_of_distances(distances: np.ndarray, coordinates: np.ndarray, k: int) -> dict[str, float]:
    """The measures of `quality` a few rows at a time: ranks of all pairs would take two more matrices of int64."""
    n, lost, intruded, kept = len(distances), 0, 0, 0
    size = max(1, 2**22 // n)
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        before, after = distances[rows].astype(np.float64), cdist(coordinates[rows], coordinates)
        for part in (before, after):
            part[np.arange(len(rows)), rows] = np.inf  # an image is no neighbour of its own
        near_before, near_after = (np.argpartition(part, k - 1, axis=1)[:, :k] for part in (before, after))
        intruded += _ranks_beyond(before, near_after, k)
        lost += _ranks_beyond(after, near_before, k)
        kept += np.sum(near_before[:, :, None] == near_after[:, None, :])
    worst = n * k * (2 * n - 3 * k - 1) / 2
    return {
        "trustworthiness": float(1 - intruded / worst),
        "continuity": float(1 - lost / worst),
        "neighbours_kept": float(kept / (n * k)),
    }


def _ranks_beyond(distances: np.ndarray, neighbours: np.ndarray, k: int) -> int:
    """Sum of the ranks that the `neighbours` of another space have here, as far as they exceed `k`."""
    excess = 0
    for column in neighbours.T:
        reach = np.take_along_axis(distances, column[:, None], axis=1)
        excess += np.maximum(1 + np.sum(distances < reach, axis=1) - k, 0).sum()
    return int(excess)

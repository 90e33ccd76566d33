"""Draw features on a plane, and say how much of the drawing to believe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from .validation import check_choice, check_features, check_neighbours

__all__ = ["METHODS", "Map", "embed", "maps", "neighbours_kept", "quality"]

METHODS = ("PCA", "t-SNE", "UMAP")


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
def embed(features, method: str = "PCA", seed: int = 0) -> np.ndarray:
    """Draw features on a plane.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        With d of 2 or more.
    method : {'PCA', 't-SNE', 'UMAP'}
        PCA keeps the directions of most variance; t-SNE (perplexity 30, 750 steps, started from PCA) and UMAP
        (15 neighbours) keep neighbours and give up distances.
    seed : int

    Returns
    -------
    ndarray of float32, shape (n, 2)

    Raises
    ------
    ValueError
        If the method is unknown, there is one column only, or there are too few rows for the method's neighbours.

    References
    ----------
    van der Maaten and Hinton (2008), https://jmlr.org/papers/v9/vandermaaten08a.html ;
    McInnes, Healy and Melville (2018), https://arxiv.org/abs/1802.03426
    """
    check_choice(method, METHODS, "map")
    features = check_features(features)
    if features.shape[1] < 2:
        raise ValueError("`features` has one column: a map needs two dimensions or more.")
    if method == "PCA":
        check_neighbours(2, len(features), "dimensions")
        model = PCA(2, svd_solver="full")
    elif method == "t-SNE":
        check_neighbours(30, len(features), "neighbours (perplexity)")
        model = TSNE(perplexity=30, max_iter=750, init="pca", random_state=seed)
    else:
        check_neighbours(15, len(features), "neighbours")
        import umap  # here, because its import takes seconds and not every reader of this module draws

        model = umap.UMAP(n_neighbors=15, random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(features), np.float32)


@threadpool_limits.wrap(limits=1)
def quality(features, coordinates, k: int = 15) -> dict[str, float]:
    """Measure how well a map keeps neighbours.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    coordinates : array_like of float, shape (n, 2)
    k : int
        Neighbours looked at, 1 to n / 2 - 1.

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
    features, coordinates = _check_pair(features, coordinates)
    if not 1 <= k < len(features) / 2:
        raise ValueError(f"{k} neighbours asked for with {len(features)} rows: ask for fewer than half as many.")
    return {
        "trustworthiness": float(trustworthiness(features, coordinates, n_neighbors=k)),
        "continuity": float(trustworthiness(coordinates, features, n_neighbors=k)),
        "neighbours_kept": neighbours_kept(features, coordinates, k),
    }


@threadpool_limits.wrap(limits=1)
def neighbours_kept(features, coordinates, k: int = 15) -> float:
    """Return the share of each image's `k` nearest neighbours that are the same among features and on the map."""
    features, coordinates = _check_pair(features, coordinates)
    check_neighbours(k, len(features), "neighbours")
    before, after = (
        NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(return_distance=False) for rows in (features, coordinates)
    )
    return float(np.mean([len(np.intersect1d(*rows)) / k for rows in zip(before, after, strict=True)]))


def maps(features, seed: int = 0, k: int = 15) -> dict[str, Map]:
    """Draw features by PCA, t-SNE and UMAP, each with its quality.

    Returns
    -------
    dict of str to Map
    """
    drawn = {method: embed(features, method, seed) for method in METHODS}
    return {method: Map(drawn[method], **quality(features, drawn[method], k)) for method in METHODS}


def _check_pair(features, coordinates):
    features, coordinates = check_features(features), check_features(coordinates, "coordinates")
    if len(features) != len(coordinates):
        raise ValueError(f"`features` has {len(features)} rows and `coordinates` {len(coordinates)}: one map, one set.")
    return features, coordinates

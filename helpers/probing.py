"""Ask frozen features simple questions: who are the neighbours, and does a plane separate the classes?"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from .validation import check_features, check_labels, check_neighbours

__all__ = ["knn_probe", "linear_probe", "nearest"]


@threadpool_limits.wrap(limits=1)  # the same sums on any number of cores, and on small data faster
def knn_probe(features, labels, probe_features, probe_labels, k: int = 5) -> float:
    """Return the accuracy of a vote among the `k` nearest probe images.

    It asks whether *distance* means something: it needs no training, and every nuisance direction hurts it.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        The images that are scored.
    labels : array_like of int, shape (n,)
    probe_features : array_like of float, shape (m, d)
        The images whose labels may be looked at; none of them is scored.
    probe_labels : array_like of int, shape (m,)
    k : int
        Neighbours that vote, 1 to m - 1.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If shapes do not fit together, there is one class only, or there are too few probe images.
    """
    features, labels, probe_features, probe_labels = _check(features, labels, probe_features, probe_labels)
    check_neighbours(k, len(probe_features), "neighbours")
    model = KNeighborsClassifier(k).fit(probe_features, probe_labels)
    return float(model.score(features, labels))


@threadpool_limits.wrap(limits=1)
def linear_probe(features, labels, probe_features, probe_labels, strength: float = 0.1) -> float:
    """Return the accuracy of multinomial logistic regression on standardised features.

    It asks whether the classes lie on different sides of planes: unlike neighbours, it may choose directions
    and ignore others.

    Parameters
    ----------
    features, labels, probe_features, probe_labels : array_like
        As for `knn_probe`.
    strength : float
        Inverse strength of the L2 penalty (scikit-learn's C).

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        As `knn_probe`.

    References
    ----------
    Alain and Bengio (2016), https://arxiv.org/abs/1610.01644
    """
    features, labels, probe_features, probe_labels = _check(features, labels, probe_features, probe_labels)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500, tol=1e-3))
    # in float32 rounding ends the solver early, at a point that depends on the machine
    return float(model.fit(probe_features.astype(np.float64), probe_labels).score(features, labels))


@threadpool_limits.wrap(limits=1)
def nearest(query_features, features, k: int = 5) -> np.ndarray:
    """Return the rows of `features` that lie nearest to each query, nearest first.

    Returns
    -------
    ndarray of int64, shape (queries, k)

    Raises
    ------
    ValueError
        If the numbers of columns differ or `k` is out of range.
    """
    query_features, features = check_features(query_features, "query_features"), check_features(features)
    _check_columns(query_features, features, "query_features", "features")
    check_neighbours(k, len(features), "neighbours")
    model = KNeighborsClassifier(k).fit(features, np.zeros(len(features), np.int64))
    return model.kneighbors(query_features, return_distance=False)


def _check(features, labels, probe_features, probe_labels):
    features = check_features(features)
    probe_features = check_features(probe_features, "probe_features")
    _check_columns(features, probe_features, "features", "probe_features")
    labels = check_labels(labels, len(features))
    return features, labels, probe_features, check_labels(probe_labels, len(probe_features), "probe_labels")


def _check_columns(one, other, name, other_name):
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"`{name}` has {one.shape[1]} columns and `{other_name}` {other.shape[1]}: take both from the same network."
        )

"""Group features without labels, then ask how well the groups agree with the classes.

The algorithms and the scores are scikit-learn's and SciPy's; this module fixes their settings in one place,
so that every chapter clusters in the same way, and adds the matching of cluster numbers to classes.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from .validation import check_choice, check_features, check_labels

__all__ = ["METHODS", "accuracy", "align", "ari", "cluster", "nmi"]

METHODS = ("k-means", "agglomerative")


@threadpool_limits.wrap(limits=1)  # the same sums on any number of cores, and on small data faster
def cluster(features, k: int, method: str = "k-means", seed: int = 0) -> np.ndarray:
    """Group the rows of `features` into `k` clusters.

    The rows are first scaled to length 1, so that how strongly a network responds to an image (its contrast,
    say) does not decide in which cluster it falls.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    k : int
        The number of clusters, 2 to n.
    method : {'k-means', 'agglomerative'}
        k-means with 10 starts, or agglomerative clustering with Ward's linkage.
    seed : int
        Places the starts of k-means; agglomerative clustering draws nothing.

    Returns
    -------
    ndarray of int64, shape (n,)
        Cluster numbers 0 to k - 1, in no meaningful order.

    Raises
    ------
    ValueError
        If the method is unknown, or `k` is below 2 or above the number of rows.

    References
    ----------
    Ward (1963), https://doi.org/10.1080/01621459.1963.10500845 ; Arthur and Vassilvitskii (2007), k-means++.
    """
    features = check_features(features)
    if not 2 <= k <= len(features):
        raise ValueError(f"{k} clusters asked for with {len(features)} rows: ask for 2 to {len(features)}.")
    check_choice(method, METHODS, "clustering method")
    rows = normalize(features)
    algorithm = KMeans(k, n_init=10, random_state=seed) if method == "k-means" else AgglomerativeClustering(k)
    return algorithm.fit_predict(rows).astype(np.int64)


def align(labels, clusters) -> np.ndarray:
    """Rename clusters so that they agree with the labels as often as one-to-one renaming allows.

    Parameters
    ----------
    labels, clusters : array_like of int, shape (n,)

    Returns
    -------
    ndarray of int64, shape (n,)
        `clusters` with each number replaced by the class it is matched to. Clusters left over, where there
        are more clusters than classes, get numbers above the largest label.

    References
    ----------
    Kuhn (1955), the Hungarian method, https://doi.org/10.1002/nav.3800020109

    Examples
    --------
    >>> align([0, 0, 1, 1], [7, 7, 3, 3])
    array([0, 0, 1, 1])
    """
    labels = check_labels(labels, at_least=1)
    clusters = check_labels(clusters, len(labels), "clusters", at_least=1)
    names, numbers = np.unique(labels), np.unique(clusters)
    matched_labels, matched_clusters = linear_sum_assignment(contingency_matrix(labels, clusters), maximize=True)
    renamed = np.empty(len(numbers), np.int64)
    left_over = np.setdiff1d(np.arange(len(numbers)), matched_clusters)
    renamed[matched_clusters] = names[matched_labels]
    renamed[left_over] = names.max() + 1 + np.arange(len(left_over))
    return renamed[np.searchsorted(numbers, clusters)]


def accuracy(labels, clusters) -> float:
    """Return the share of images whose matched cluster is their class, in [0, 1]."""
    return float(np.mean(align(labels, clusters) == np.asarray(labels)))


def nmi(labels, clusters) -> float:
    """Return the normalised mutual information of two groupings, in [0, 1].

    I(Y; C) divided by the mean of the entropies H(Y) and H(C). It rises with the number of clusters even for
    labels drawn at random, so compare only at equal numbers of clusters.

    References
    ----------
    Vinh, Epps and Bailey (2010), https://jmlr.org/papers/v11/vinh10a.html
    """
    return float(normalized_mutual_info_score(*_pair(labels, clusters)))


def ari(labels, clusters) -> float:
    """Return the adjusted Rand index of two groupings, in [-0.5, 1], 0 on average at chance.

    References
    ----------
    Hubert and Arabie (1985), https://doi.org/10.1007/BF01908075
    """
    return float(adjusted_rand_score(*_pair(labels, clusters)))


def _pair(labels, clusters):
    labels = check_labels(labels, at_least=1)
    return labels, check_labels(clusters, len(labels), "clusters", at_least=1)

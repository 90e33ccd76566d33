"""Group features without labels, then ask how well the groups agree with the classes.

The algorithms and the scores are scikit-learn's and SciPy's; this module fixes their settings in one place,
so that every chapter clusters in the same way. The scores stand in `helpers.groupings`, power iteration clustering
in `helpers.power_iteration`; both are passed on from here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .groupings import (
    Agreement,
    ChanceAgreement,
    accuracy,
    agreement,
    align,
    ami,
    ari,
    chance_agreement,
    nmi,
)
from .power_iteration import PowerIterationClustering
from .probing import neighbour_graph
from .validation import check_choice, check_features, check_number, check_whole

__all__ = [
    "METHODS",
    "SCALES",
    "Agreement",
    "ChanceAgreement",
    "PowerIterationClustering",
    "Prototypes",
    "Stability",
    "accuracy",
    "agreement",
    "align",
    "ami",
    "ari",
    "chance_agreement",
    "cluster",
    "nmi",
    "prototypes",
    "scaled",
    "stability",
]

METHODS = (
    "k-means",
    "agglomerative",
    "agglomerative, average",
    "agglomerative, complete",
    "spectral",
    "gaussian mixture",
    "power iteration",
)
SCALES = ("length", "none", "standardised", "whitened")

_NEIGHBOURS = 10  # of the graph, for the methods that cluster a graph
_WHITENED = 50  # components at most, as in helpers.distances
_MIXED = 20  # components in which a mixture is fitted: a covariance of 20 dimensions has 210 entries
_LARGE = 500  # rows and columns from which on only the components asked for are computed


def scaled(features, scale: str = "length") -> np.ndarray:
    """Return the rows as `cluster` sees them.

    Distances decide what a cluster is, and the scale of the columns decides distances.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    scale : {'length', 'none', 'standardised', 'whitened'}
        ``'length'`` scales each row to length 1, so that how strongly a network responds to an image (its contrast,
        say) does not decide in which cluster it falls; a row of zeros stays one. ``'none'`` leaves the rows alone.
        ``'standardised'`` brings each column to mean 0 and variance 1, so that all columns count alike; columns that
        are nearly constant, like the border of digits, are blown up with the rest. ``'whitened'`` does so with
        principal components: as many as a tenth of the rows, 2 to 50, and none with less than a millionth of the
        variance of the first, which is taken for rounding.

    Returns
    -------
    ndarray of float32, shape (n, d), or with ``'whitened'`` (n, components)

    Raises
    ------
    ValueError
        If the features are no features, the scale is unknown, or all rows are equal and are to be whitened.

    Examples
    --------
    >>> scaled([[3.0, 4.0], [0.0, 2.0]]).round(6).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 1.0]]
    """
    features = check_features(features)
    return _scaler(features, scale).transform(features)


@threadpool_limits.wrap(limits=1)  # the same sums on any number of cores, and on small data faster
def cluster(features, k: int, method: str = "k-means", seed: int = 0, scale: str = "length") -> np.ndarray:
    """Group the rows of `features` into `k` clusters.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    k : int
        The number of clusters, 2 to n.
    method : str
        ``'k-means'``
            With 10 starts. It prefers round clusters of about equal size.
        ``'agglomerative'``
            Joins the two clusters whose union raises the sum of squares within least (Ward's linkage).
        ``'agglomerative, average'``, ``'agglomerative, complete'``
            Joins the two clusters whose rows are nearest on average, or whose farthest rows are nearest. Both give
            an outlier a cluster of its own, rather than split a large cluster. All three linkages hold the distances
            of all pairs in memory: 400 MB for 10,000 rows.
        ``'spectral'``
            k-means on the leading eigenvectors of a graph that joins each row to its 10 nearest
            (`helpers.probing.neighbour_graph`). It finds clusters of any shape that the graph holds together. Of many
            rows it is the dearest: 10,000 of noise took a minute and 1.3 GB on one core, power iteration a second.
        ``'power iteration'``
            k-means on one mixture of those eigenvectors, in the same graph; see
            `helpers.power_iteration.PowerIterationClustering`.
        ``'gaussian mixture'``
            The likeliest component of `prototypes`. Clusters are ellipsoids of one common shape, of any size.
    seed : int
        Places the starts; agglomerative clustering draws nothing.
    scale : {'length', 'none', 'standardised', 'whitened'}
        What happens to the rows first; see `scaled`.

    Returns
    -------
    ndarray of int64, shape (n,)
        Cluster numbers 0 to k - 1, in no meaningful order. A Gaussian mixture may leave a number out, if another
        component is likelier everywhere, and so may k-means, with a warning, if fewer than `k` rows differ.

    Raises
    ------
    ValueError
        If the method or the scale is unknown, `k` is below 2 or above the number of rows, `seed` is no whole number
        of 0 or more, the features hold NaN, or all rows are equal and the method or the scale needs their principal
        components (Gaussian mixture, whitening).

    References
    ----------
    Ward (1963), https://doi.org/10.1080/01621459.1963.10500845 ; Arthur and Vassilvitskii (2007), k-means++ ;
    von Luxburg (2007), A tutorial on spectral clustering, https://doi.org/10.1007/s11222-007-9033-z
    """
    features = check_features(features)
    _check_k(k, len(features))
    check_whole(seed, "seed", 0)
    check_choice(method, METHODS, "clustering method")
    if method == "gaussian mixture":
        return prototypes(features, k, seed, scale).clusters
    rows = scaled(features, scale)
    if method == "k-means":
        found = KMeans(k, n_init=10, random_state=seed).fit_predict(rows)
    elif method == "spectral":
        found = _spectral(rows, k, seed)
    elif method == "power iteration":
        found = PowerIterationClustering(k, n_neighbors=_NEIGHBOURS, random_state=seed).fit_predict(rows)
    else:
        linkage = method.partition(", ")[2] or "ward"
        found = AgglomerativeClustering(k, linkage=linkage).fit_predict(rows)
    return found.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Prototypes:
    """A Gaussian mixture of features: what is typical, how often, and how unusual a row is.

    Attributes
    ----------
    means : ndarray of float, shape (k, d)
        The prototypes, among the scaled rows (see `scaled`).
    shares : ndarray of float64, shape (k,)
        How much of the data each prototype stands for; sums to 1.
    clusters : ndarray of int64, shape (n,)
        The likeliest prototype of each row that the mixture was fitted to.
    """

    means: np.ndarray
    shares: np.ndarray
    clusters: np.ndarray
    _model: Pipeline  # scales, projects on principal components, mixes

    def responsibilities(self, features) -> np.ndarray:
        """Return the probability of each prototype given the row: float64, shape (n, k), rows sum to 1."""
        return self._model.predict_proba(self._check(features))

    def anomaly(self, features, measure: str = "density") -> np.ndarray:
        """Return how unusual each row is: the larger, the more.

        Parameters
        ----------
        features : array_like of float, shape (n, d)
            With the columns of the features that the mixture was fitted to.
        measure : {'density', 'distance'}
            ``'density'`` is -log p(z), which also counts how rare the nearest prototype is; ``'distance'`` is the
            Mahalanobis distance to the nearest prototype.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        check_choice(measure, ("density", "distance"), "measure of anomaly")
        features = self._check(features)
        if measure == "density":
            return -self._model.score_samples(features)
        mixture = self._model[-1]
        points = self._model[:-1].transform(features) @ mixture.precisions_cholesky_
        centres = mixture.means_ @ mixture.precisions_cholesky_
        return np.linalg.norm(points[:, None] - centres, axis=2).min(axis=1)

    def _check(self, features) -> np.ndarray:
        features = check_features(features)
        width = self._model[0].n_features_in_
        if features.shape[1] != width:
            raise ValueError(f"`features` has {features.shape[1]} columns, but the mixture was fitted to {width}.")
        return features.astype(np.float64)


@threadpool_limits.wrap(limits=1)
def prototypes(features, k: int, seed: int = 0, scale: str = "length", components: int | None = None) -> Prototypes:
    """Describe features by `k` prototypes: the means of a Gaussian mixture.

    The density of a row z is p(z) = sum over j of share_j N(z; mean_j, S), fitted by expectation maximisation to the
    leading principal components of the scaled rows. All components share one covariance S: a covariance for each
    would have d (d + 1) / 2 entries k times over, two million for 2,048 features, out of a few hundred rows. What
    the left-out components hold, the mixture does not see: a row that is unusual only there counts as usual.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    k : int
        2 to n. For anomalies more prototypes than classes are often better.
    seed : int
        Places the starts.
    scale : {'length', 'none', 'standardised', 'whitened'}
        See `scaled`.
    components : int, optional
        Principal components, 1 to min(n, d). As many as a tenth of the rows by default, 2 to 20.

    Returns
    -------
    Prototypes

    Raises
    ------
    ValueError
        If `k` or `components` is out of range, or all rows are equal.

    References
    ----------
    Dempster, Laird and Rubin (1977), expectation maximisation, https://doi.org/10.1111/j.2517-6161.1977.tb01600.x

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(100, 2))
    >>> rows = np.repeat([[5.0, 0.0], [0.0, 5.0]], 50, axis=0) + noise
    >>> found = prototypes(rows, 2, scale="none")
    >>> found.shares.round(2).tolist()
    [0.5, 0.5]
    >>> found.anomaly([[5.0, 0.0], [2.5, 2.5], [20.0, 20.0]]).argsort().tolist()  # a prototype, between two, far away
    [0, 1, 2]
    """
    features = check_features(features)
    n = len(features)
    _check_k(k, n)
    check_whole(seed, "seed", 0)
    most = min(features.shape)
    wanted = min(_some(n, _MIXED), most) if components is None else check_whole(components, "components", 1, most)
    scaler = _scaler(features, scale, wanted)  # whitened components have no order: no more than the mixture takes
    rows = scaler.transform(features).astype(np.float64)
    projection = _principal_components(rows, min(wanted, *rows.shape))
    ridge = 1e-6 * projection.explained_variance_[0]  # of the scale of the rows, so that units do not matter
    mixture = GaussianMixture(k, covariance_type="tied", n_init=5, max_iter=1000, reg_covar=ridge, random_state=seed)
    model = make_pipeline(scaler, projection, mixture.fit(projection.transform(rows)))
    clusters = model.predict(features).astype(np.int64)
    return Prototypes(projection.inverse_transform(mixture.means_), mixture.weights_, clusters, model)


@dataclass(frozen=True, eq=False)
class Stability:
    """How much clusterings of samples of the same images agree.

    Attributes
    ----------
    values : ndarray of float64, shape (resamples * (resamples - 1) / 2,)
        The adjusted Rand index of each pair of clusterings, on the rows that both have seen.
    """

    values: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over pairs: 1 where the clusters do not depend on the sample, 0 where only chance agrees."""
        return float(self.values.mean())

    @property
    def spread(self) -> float:
        """Standard deviation over pairs. Pairs share samples, so it is no standard error of the mean."""
        return float(self.values.std())


def stability(
    features,
    k: int,
    method: str = "k-means",
    resamples: int = 20,
    share: float = 0.8,
    seed: int = 0,
    scale: str = "length",
    progress: bool = True,
) -> Stability:
    """Cluster samples of the rows, and ask how far the clusterings agree where they overlap.

    Clusters that are in the data come back in each sample. The reverse does not hold: k-means cuts a long or a
    square cloud at the same place each time, and is stable where no clusters are; and on many rows, any algorithm
    with one best solution is. So a low stability speaks against a clustering, a high one hardly for it.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    k, method, scale
        As for `cluster`.
    resamples : int
        Samples, 2 or more; each pair of them is compared.
    share : float
        Of the rows in each sample, drawn without replacement: more than a half, so that two samples share rows, and
        up to 1. With 1 only the starts differ.
    seed : int
        Draws the samples and seeds the clusterings.
    progress : bool
        Whether to show a bar meanwhile.

    Returns
    -------
    Stability

    Raises
    ------
    ValueError
        As `cluster`, or if two samples are so small that they may share fewer than two rows.

    References
    ----------
    Ben-Hur, Elisseeff and Guyon (2002), A stability based method for discovering structure in clustered data,
    Pacific Symposium on Biocomputing, 6-17 ; Lange, Roth, Braun and Buhmann (2004), Stability-based validation of
    clustering solutions, Neural Computation 16(6), 1299-1323 ; von Luxburg (2010), Clustering stability: an overview,
    https://doi.org/10.1561/2200000008
    """
    features = check_features(features)
    n = len(features)
    check_whole(resamples, "resamples", 2)
    size = round(n * check_number(share, "share", 0, 1))
    if 2 * size - n < 2:
        raise ValueError(
            f"share={share}, but two samples of {size} of {n} rows may share fewer than two: take a larger share."
        )
    _check_k(k, size)
    check_whole(seed, "seed", 0)
    random = np.random.default_rng(seed)
    samples, groupings = [], []
    for _ in tqdm(range(resamples), desc=method, unit="sample", leave=False, disable=not progress):
        rows = np.sort(random.choice(n, size, replace=False))
        found = np.full(n, -1)  # not in the sample
        found[rows] = cluster(features[rows], k, method, int(random.integers(2**31)), scale)
        samples.append(rows)
        groupings.append(found)
    return Stability(np.array([_shared_ari(one, other) for one, other in combinations(groupings, 2)]))


def _shared_ari(one: np.ndarray, other: np.ndarray) -> float:
    both = (one >= 0) & (other >= 0)
    return ari(one[both], other[both])


def _check_k(k: int, n: int) -> None:
    if n < 2:
        raise ValueError(f"`features` has {n} row, but clusters are groups of rows: give two or more.")
    if not isinstance(k, int | np.integer) or not 2 <= k <= n:
        raise ValueError(f"{k} clusters asked for with {n} rows: ask for 2 to {n}.")


def _some(n: int, most: int) -> int:
    """Return how many principal components so many rows support."""
    return max(2, min(most, n // 10))


def _scaler(features: np.ndarray, scale: str, components: int | None = None) -> TransformerMixin:
    """Return a transformer fitted to the features, which whitens so many components, if it whitens."""
    check_choice(scale, SCALES, "scale")
    if scale == "whitened":
        return _whitener(features, components or min(_some(len(features), _WHITENED), *features.shape))
    transformer = {"length": Normalizer, "none": FunctionTransformer, "standardised": StandardScaler}[scale]
    return transformer().fit(features)


def _whitener(features: np.ndarray, components: int) -> PCA:
    """Return principal components scaled to variance 1, without those that may be only rounding."""
    found = _principal_components(features, components, whiten=True)
    rank = int(np.sum(found.explained_variance_ > 1e-6 * found.explained_variance_[0]))
    return found if rank == found.n_components_ else _principal_components(features, rank, whiten=True)


def _principal_components(rows: np.ndarray, components: int, whiten: bool = False) -> PCA:
    if not np.ptp(rows, axis=0).any():
        raise ValueError("All rows of `features` are equal: they have no principal components.")
    few = min(rows.shape) > max(_LARGE, components)
    return PCA(components, whiten=whiten, svd_solver="arpack" if few else "full", random_state=0).fit(rows)


def _spectral(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    if k == len(rows):
        return np.arange(k)  # the eigensolver finds fewer vectors than there are rows
    graph = neighbour_graph(rows, min(_NEIGHBOURS, len(rows) - 1))
    # scikit-learn takes no wider indices
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    with warnings.catch_warnings():
        # a graph that falls into pieces is no failure here: the pieces are the clusters
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        return SpectralClustering(k, affinity="precomputed", random_state=seed).fit_predict(graph)

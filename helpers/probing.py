"""Ask frozen features simple questions: who are the neighbours, does a plane separate the classes, what is known?

And with few labels only: what do the images without labels add, when labels spread along a graph of neighbours?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from .distances import check_distances, pairwise_distances
from .validation import check_features, check_labels, check_neighbours, check_regular, check_whole

__all__ = [
    "FewLabels",
    "Propagation",
    "draw_labels",
    "few_labels",
    "knn_probe",
    "label_propagation",
    "label_spreading",
    "linear_probe",
    "nearest",
    "neighbour_graph",
    "regression_probe",
]

_BLOCK = 2**24  # numbers in a block of columns
_STRENGTHS = np.logspace(-4, 6, 21)  # of the penalty of a ridge regression, for each probe image
UNKNOWN = -1  # the label of an image whose label is not given, as in scikit-learn

_NO_EQUILIBRIUM = (
    "The labels find no equilibrium, because weights of `graph` differ by too many orders of magnitude: "
    "take a graph of nearest neighbours, or a kernel with a wider scale."
)


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
    and ignore others. Where there are more columns than probe images, the regression works on the coordinates of
    the images in the span of the probe images. The penalty leaves no weight outside that span, so the answer is
    the same, and a matrix of 60 x 57,600 becomes one of 60 x 59.

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
    Alain and Bengio (2016), https://arxiv.org/abs/1610.01644 ; Hastie and Tibshirani (2004),
    https://doi.org/10.1093/biostatistics/kxh010 (the span)
    """
    features, labels, probe_features, probe_labels = _check(features, labels, probe_features, probe_labels)
    model = LogisticRegression(C=strength, max_iter=500, tol=1e-3)
    if probe_features.shape[1] > len(probe_features):
        features, probe_features = _in_the_span(features, probe_features)
    else:
        model = make_pipeline(StandardScaler(), model)
    # in float32 rounding ends the solver early, at a point that depends on the machine
    return float(model.fit(probe_features.astype(np.float64), probe_labels).score(features, labels))


@threadpool_limits.wrap(limits=1)
def regression_probe(features, values, probe_features, probe_values) -> np.ndarray:
    """Return how well quantities can be read off features by a weighted sum: R^2, for each quantity.

    R^2 is the share of the variance of the scored images' values that is explained: 1 for all of it, 0 for guessing
    their mean, below 0 for worse than that. It asks what features *know* beyond classes: where something is, how fast
    it moves. A quantity may be there all the same and bent, so that no weighted sum finds it: an angle is one (probe
    its cosine and sine, which are the parts of a velocity).

    The weights are those of a ridge regression on standardised features. Its penalty is chosen for each quantity by
    leaving out one probe image after the other, and is the one whose predictions of those left out have the least sum
    of squared errors (PRESS). The sum has a closed form, and none of the scored images has a part in it. As in
    `linear_probe`, features with more columns than probe images are first reduced to the span of the probe images.

    A feature of a scored image that lies beyond those of all probe images counts as the nearest of theirs. Else one
    image can spoil the result: a pixel that is black in all but a few probe images deviates by next to nothing, and
    where it is bright it lies hundreds of standard deviations out, and so does the guess.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        The images that are scored.
    values : array_like of float, shape (n,) or (n, quantities)
    probe_features : array_like of float, shape (m, d)
        The images whose values may be looked at; none of them is scored. Views of one original, or frames of one
        clip, weaken the choice of the penalty: leaving out one of them leaves out little. Give one of each.
    probe_values : array_like of float, shape (m,) or (m, quantities)

    Returns
    -------
    ndarray of float64, shape (quantities,)
        1 or less.

    Raises
    ------
    ValueError
        If shapes do not fit together, a value is NaN or infinite, there are fewer than two images or three probe
        images, or a quantity is the same for all images.

    References
    ----------
    Allen (1974), The relationship between variable selection and data augmentation and a method for prediction,
    Technometrics 16, 125-127, https://doi.org/10.1080/00401706.1974.10489157

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(60, 3))
    >>> values = np.stack([features @ [1.0, -2.0, 0.5], np.arange(60) % 7], axis=1)
    >>> regression_probe(features[:30], values[:30], features[30:], values[30:]).round(1) + 0.0
    array([1., 0.])
    """
    features, probe_features = check_features(features), check_features(probe_features, "probe_features")
    _check_columns(features, probe_features, "features", "probe_features")
    values = _check_values(values, len(features), "values", 2)
    probe_values = _check_values(probe_values, len(probe_features), "probe_values", 3)
    if values.shape[1] != probe_values.shape[1]:
        raise ValueError(
            f"`values` has {values.shape[1]} quantities and `probe_values` {probe_values.shape[1]}: give the same ones."
        )
    features = np.clip(features, probe_features.min(axis=0), probe_features.max(axis=0))
    if probe_features.shape[1] > len(probe_features):
        features, probe_features = _in_the_span(features, probe_features)
    else:
        scaler = StandardScaler().fit(probe_features.astype(np.float64))
        features, probe_features = (scaler.transform(part.astype(np.float64)) for part in (features, probe_features))
    model = RidgeCV(_STRENGTHS * len(probe_features), alpha_per_target=True).fit(probe_features, probe_values)
    return r2_score(values, model.predict(features).reshape(values.shape), multioutput="raw_values")


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


def _in_the_span(features, probe_features) -> tuple[np.ndarray, np.ndarray]:
    """Standardise by the probe images, then rotate their span onto the first axes: all inner products stay.

    The rotation follows from the inner products alone, which are gathered by blocks of columns in float64.
    """
    m, d = probe_features.shape
    gram, across, width = np.zeros((m, m)), np.zeros((len(features), m)), max(1, _BLOCK // (m + len(features)))
    for start in range(0, d, width):
        block = probe_features[:, start : start + width].astype(np.float64)
        scaler = StandardScaler().fit(block)
        block = scaler.transform(block)
        gram += block @ block.T
        across += scaler.transform(features[:, start : start + width].astype(np.float64)) @ block.T
    squares, axes = np.linalg.eigh(gram)
    kept = squares > 1e-12 * squares[-1]  # the rest is rounding, in which no weight could grow
    kept[-1] = True
    lengths = np.sqrt(np.maximum(squares[kept], np.finfo(np.float64).tiny))
    return across @ axes[:, kept] / lengths, axes[:, kept] * lengths


def _check_values(values, n: int, name: str, least: int) -> np.ndarray:
    """Return quantities as float64 of shape (n, quantities)."""
    table = check_regular(values, name)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.shape[1] or table.dtype.kind not in "buif":
        raise ValueError(
            f"`{name}` has shape {np.shape(values)} and dtype {table.dtype}, but it holds real numbers of shape (n,) "
            f"or (n, quantities)."
        )
    if len(table) != n:
        raise ValueError(f"`{name}` has {len(table)} rows for {n} rows of features: one belongs to each.")
    if n < least:
        raise ValueError(
            f"`{name}` has {n} row{'' if n == 1 else 's'}, too few for a regression: give {least} or more."
        )
    if not np.isfinite(table).all():
        raise ValueError(f"`{name}` holds values that are NaN or infinite: leave those rows out.")
    constant = np.flatnonzero((table == table[0]).all(axis=0))
    if len(constant):
        raise ValueError(
            f"Column {constant[0]} of `{name}` is the same for all rows, so there is nothing to explain: leave it out."
        )
    return table.astype(np.float64)


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


# ---- few labels


@dataclass(frozen=True, eq=False)
class Propagation:
    """What labels became of the images whose label was not given.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        A class for each image, -1 where no given label can be reached along the graph. An unknown label stays
        unknown: scikit-learn's ``transduction_`` calls such images by the first class, without a word.
    certainty : ndarray of float64, shape (n,)
        The share of the image's best class, 1 / classes to 1; 0 where the label is -1.
    components : int
        The number of parts of the graph between which there is no path.
    """

    labels: np.ndarray
    certainty: np.ndarray
    components: int

    @property
    def unreached(self) -> int:
        """The number of images that no given label reaches."""
        return int(np.sum(self.labels == UNKNOWN))

    def __str__(self) -> str:
        n, parts = len(self.labels), f"{self.components} component{'' if self.components == 1 else 's'}"
        if not self.unreached:
            return f"All {n} images have a label; the graph has {parts}."
        return (
            f"{self.unreached} of {n} images stay without a label: no path leads to them from a given one (the graph "
            f"has {parts}); take more neighbours, or give a label in each component."
        )


@threadpool_limits.wrap(limits=1)
def neighbour_graph(features, k: int = 10, metric: str = "euclidean") -> sparse.csr_array:
    """Join each image to its `k` nearest neighbours.

    Two images are joined if either is among the nearest of the other: the graph is symmetric, as the theory of
    label propagation wants it, and each image has `k` neighbours or more. Every edge weighs 1, so that no scale
    has to be chosen. (The other usual graph joins all pairs, with weights exp(-gamma d^2), and stands and falls
    with gamma.)

    Parameters
    ----------
    features : array_like of float, shape (n, d), or distances, shape (n, n)
    k : int
        1 to n - 1. Too few, and the graph falls into components; too many, and neighbours are strangers.
    metric : {'euclidean', 'cosine', 'standardised', 'whitened', 'precomputed'}
        As for `helpers.distances.pairwise_distances`; ``'precomputed'`` where `features` are distances.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric, with zeros on the diagonal.

    Raises
    ------
    ValueError
        If `features` are no features (or no distances), or `k` is out of range.

    Examples
    --------
    >>> neighbour_graph([[0.0], [1.0], [3.0], [4.0]], k=1).toarray().astype(int)
    array([[0, 1, 0, 0],
           [1, 0, 0, 0],
           [0, 0, 0, 1],
           [0, 0, 1, 0]])
    """
    distances = check_distances(features) if metric == "precomputed" else pairwise_distances(features, metric)
    n = len(distances)
    check_neighbours(k, n, "neighbours")
    distances = distances.copy()
    np.fill_diagonal(distances, np.inf)  # no image is its own neighbour, not even beside its copies
    nearest_rows = np.argpartition(distances, k - 1, axis=1)[:, :k]
    ends = np.repeat(np.arange(n), k), nearest_rows.ravel()
    graph = sparse.csr_array((np.ones(n * k), ends), shape=(n, n))
    return graph.maximum(graph.T).tocsr()


@threadpool_limits.wrap(limits=1)
def label_propagation(graph, labels) -> Propagation:
    """Let given labels flow along a graph, and hold them fast where they were given.

    Each image takes the weighted mean of its neighbours' class shares, F <- D^-1 W F, given labels are put back,
    and so on until nothing changes. What this converges to is the solution of (I - P_uu) F_u = P_ul Y_l with
    P = D^-1 W, where u are the images without and l those with a label. It is found here directly, because the
    iteration is slow where labels are few: with one label per class scikit-learn may stop at its limit of 1,000
    steps while some images are still called by a wrong class. F_ic is the probability that a random walk from
    image i meets a label of class c before any other.

    Parameters
    ----------
    graph : sparse matrix or array_like, shape (n, n)
        Weights of 0 or more, symmetric: `neighbour_graph`, or your own. The diagonal is ignored.
    labels : array_like of int, shape (n,)
        -1 where the label is not given.

    Returns
    -------
    Propagation
        Given labels are kept. Images in a component without a given label get -1.

    Raises
    ------
    ValueError
        If the graph is not square, symmetric, non-negative and finite, or its weights differ beyond double
        precision; if the lengths differ; if no label is given, or all are, or those of one class only.

    References
    ----------
    Zhu and Ghahramani (2002), CMU-CALD-02-107; Zhu, Ghahramani and Lafferty (2003), ICML, for the solution.

    Examples
    --------
    >>> path = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)  # 0 - 1 - 2 - 3
    >>> found = label_propagation(path, [5, -1, -1, 7])
    >>> found.labels, found.certainty.round(2)
    (array([5, 5, 7, 7]), array([1.  , 0.67, 0.67, 1.  ]))
    """
    graph, labels, classes, given = _check_graph(graph, labels)
    known = labels != UNKNOWN
    components, reached = _reached(graph, known)
    unknown = reached & ~known
    steps = (sparse.diags_array(1 / _degrees(graph)) @ graph)[unknown]  # of a random walk: rows sum to 1
    shares = given.copy()
    shares[unknown] = _solve(sparse.eye_array(unknown.sum()) - steps[:, unknown], steps[:, known] @ given[known])
    if np.abs(shares[reached].sum(axis=1) - 1).max() > 1e-6:
        raise ValueError(_NO_EQUILIBRIUM)
    return _propagation(shares, classes, reached, components)


@threadpool_limits.wrap(limits=1)
def label_spreading(graph, labels, alpha: float = 0.8) -> Propagation:
    """Let given labels spread along a graph, and let neighbours outvote them.

    F <- alpha S F + (1 - alpha) Y with S = D^-1/2 W D^-1/2, whose limit F = (1 - alpha) (I - alpha S)^-1 Y is
    found directly. Unlike in `label_propagation` a label fades with every step away from where it was given, and
    a given label may be overruled: a remedy where some of them are wrong.

    Parameters
    ----------
    graph, labels
        As for `label_propagation`.
    alpha : float
        How much an image listens to its neighbours, above 0 and below 1. (scikit-learn's default is 0.2, Zhou and
        others take 0.99.)

    Returns
    -------
    Propagation
        Images in a component without a given label get -1.

    Raises
    ------
    ValueError
        As `label_propagation`, and if `alpha` is out of range.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schoelkopf (2004), Learning with local and global consistency, NIPS 16.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}, but it is a share above 0 and below 1.")
    graph, labels, classes, given = _check_graph(graph, labels)
    components, reached = _reached(graph, labels != UNKNOWN)
    scale = sparse.diags_array(1 / np.sqrt(_degrees(graph)))
    system = sparse.eye_array(len(labels)) - alpha * (scale @ graph @ scale)
    return _propagation((1 - alpha) * _solve(system, given), classes, reached, components)


@dataclass(frozen=True, eq=False)
class FewLabels:
    """How well a method names images when few labels are given.

    Attributes
    ----------
    per_class : tuple of int
        Labels given of each class.
    accuracy : ndarray of float64, shape (len(per_class), draws)
        Share of the images without a given label that were named rightly. Column i belongs to the same draw of
        labels for every method: compare two methods by the differences of their columns.
    """

    per_class: tuple[int, ...]
    accuracy: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean accuracy for each number of labels."""
        return self.accuracy.mean(axis=1)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over the draws for each number of labels."""
        return self.accuracy.std(axis=1, ddof=1)


def draw_labels(labels, per_class: int, seed: int = 0) -> np.ndarray:
    """Give `per_class` labels of each class, drawn at random, and hide the rest.

    Draws of one seed are nested: the labels given with 2 per class are among those given with 5.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        0 or more.
    per_class : int
        1 to one less than the smallest class has: something must be left to score.
    seed : int

    Returns
    -------
    ndarray of int64, shape (n,)
        -1 where the label is hidden.

    Raises
    ------
    ValueError
        If a class is too small, or a number is not whole and positive.

    Examples
    --------
    >>> given = draw_labels([0, 0, 0, 1, 1, 1], per_class=2)
    >>> int(np.sum(given == 0)), int(np.sum(given == 1)), int(np.sum(given == -1))
    (2, 2, 2)
    """
    labels = check_labels(labels)
    if labels.min() < 0:
        raise ValueError(f"`labels` holds {labels.min()}, but each label must be known (0 or more) to be drawn from.")
    check_whole(per_class, "per_class", 1)
    check_whole(seed, "seed", 0)
    random, given = np.random.default_rng(seed), np.full(len(labels), UNKNOWN, np.int64)
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        if len(rows) <= per_class:
            raise ValueError(
                f"Class {name} has {len(rows)} image{'' if len(rows) == 1 else 's'}, too few to give {per_class} "
                f"labels and score the rest: ask for at most {len(rows) - 1} per class."
            )
        given[random.permutation(rows)[:per_class]] = name
    return given


def few_labels(
    labels,
    guess: Callable[[np.ndarray], np.ndarray],
    per_class: Sequence[int] = (1, 2, 5, 10, 50),
    draws: int = 10,
    seed: int = 0,
) -> FewLabels:
    """Score a method that is given few labels, over several draws of them.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        The true classes. The method never sees more of them than `per_class` of each.
    guess : callable
        Maps given labels, shape (n,) with -1 where hidden (as `draw_labels` returns them), to a class for every
        image, shape (n,). A -1 among them counts as wrong.
    per_class : sequence of int
    draws : int
        2 or more; draw i takes the seed `seed` + i.
    seed : int

    Returns
    -------
    FewLabels

    Raises
    ------
    ValueError
        If a class is too small, a number is not whole, there are fewer than two draws (which have no spread), or
        `guess` returns another shape.
    """
    labels = check_labels(labels)
    check_whole(draws, "draws", 2)
    check_whole(seed, "seed", 0)
    if np.ndim(per_class) != 1:
        raise ValueError(f"per_class={per_class!r}, but it is a sequence, as in per_class=(1, 2, 5).")
    if not len(per_class):
        raise ValueError("`per_class` is empty: give one number of labels or more.")

    def share(number: int, draw: int) -> float:
        given = draw_labels(labels, number, seed + draw)
        guessed, hidden = np.asarray(guess(given.copy())), given == UNKNOWN
        if guessed.shape != labels.shape:
            raise ValueError(f"`guess` returned shape {guessed.shape}, but one class for each of {len(labels)} images.")
        return float(np.mean(guessed[hidden] == labels[hidden]))

    accuracy = np.array([[share(number, draw) for draw in range(draws)] for number in per_class])
    return FewLabels(tuple(int(number) for number in per_class), accuracy)


def _check_graph(graph, labels):
    """Return the graph as a csr_array, the labels, the classes given, and the labels as rows of 0 and 1."""
    graph = sparse.csr_array(graph, dtype=np.float64, copy=True)
    n = graph.shape[0]
    if graph.ndim != 2 or graph.shape[1] != n:
        raise ValueError(f"`graph` has shape {graph.shape}, but it joins n images with n images.")
    if not np.isfinite(graph.data).all():
        raise ValueError("`graph` holds NaN or infinity, but its weights are finite: look at the distances.")
    if graph.nnz and graph.data.min() < 0:
        raise ValueError(f"`graph` holds {graph.data.min():.3g}, but weights are 0 or more.")
    if graph.nnz and np.abs((graph - graph.T).data).max(initial=0) > 1e-6 * graph.data.max():
        raise ValueError("`graph` is not symmetric: take `graph.maximum(graph.T)`, so that both ends agree.")
    graph.setdiag(0)  # no image is its own neighbour
    graph.data[graph.data < np.finfo(np.float64).tiny] = 0  # what has no inverse
    graph.eliminate_zeros()
    labels = check_labels(labels, n, at_least=1)
    if labels.min() < UNKNOWN:
        raise ValueError(f"`labels` holds {labels.min()}, but a label is 0 or more, and -1 where it is not given.")
    classes = np.unique(labels[labels != UNKNOWN])
    if len(classes) < 2:
        found = f"those of class {classes[0]} only" if len(classes) else "none"
        raise ValueError(f"Of the labels {found} are given: give labels of two classes or more.")
    if np.all(labels != UNKNOWN):
        raise ValueError("All labels are given: nothing is left to name; mark unknown labels by -1.")
    return graph, labels, classes, (labels[:, None] == classes).astype(np.float64)


def _degrees(graph) -> np.ndarray:
    """Return the sum of each image's weights, 1 for an image without neighbours."""
    degrees = graph.sum(axis=1)
    return np.where(degrees > 0, degrees, 1)


def _reached(graph, known) -> tuple[int, np.ndarray]:
    """Return the number of components, and whether each image lies in one with a given label."""
    components, member = connected_components(graph, directed=False)
    return components, np.isin(member, member[known])


def _solve(system, right: np.ndarray) -> np.ndarray:
    """Solve I - (something whose rows sum to 1 or less), which needs no pivoting, to full relative precision."""
    try:
        factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        return factors.solve(right)
    except RuntimeError:  # exactly singular
        raise ValueError(_NO_EQUILIBRIUM) from None


def _propagation(shares, classes, reached, components) -> Propagation:
    totals = np.where(reached, shares.sum(axis=1), 1)
    certainty = np.where(reached, shares.max(axis=1) / totals, 0)
    return Propagation(np.where(reached, classes[shares.argmax(axis=1)], UNKNOWN), certainty, int(components))

"""How far apart do classes lie in feature space, and could that be chance?

Two answers to the second question stand side by side. `permutation_test` shuffles labels and counts; its p-value
cannot fall below one over the number of shuffles. `mrpp_moments` knows mean, variance and skewness over *all*
labellings in closed form and reads far smaller p-values from a fitted curve.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import scipy.fft
from scipy import special
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from .distances import ENGINES, check_distances, limited_threads, multiply
from .runtime import cores
from .validation import check_choice, check_features, check_labels, check_whole

__all__ = [
    "MRPPMoments",
    "PermutationTest",
    "clustering_goodness",
    "effective_rank",
    "mrpp_moments",
    "permutation_test",
    "silhouette",
]

METHODS = ("auto", "exact", "independent", "shifts")
WEIGHTS = ("pairs", "groups")

_TILE = 1024  # rows of the distance matrix that are worked on at once
_COLUMNS = 1024  # class sums that one matrix product finds, so many that BLAS runs at its full rate
_COMPILED = 2000  # from so many rows on a compiled loop is worth the second or two that compiling takes
_LABELLINGS = 1024  # labellings that the loop counts in one pass over the matrix
_BAND, _WIDTH = 16, 128  # rows and columns of the matrix whose sums the loop takes in float32
_OFFSETS = 64  # diagonals that are transformed at once
_GAIN = 1000  # from so many rows on one Fourier transform of each diagonal is cheaper than 999 products
_LARGE = 2000  # from so many rows on the work is shared between processors
_MOST = 10**7  # labellings that are enumerated at most
_SPREAD = 1000  # where the largest distance is so many times a usual remainder, float32 loses the small ones
_PROBE = 64  # rows that show how large remainders usually are


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """The outcome of a test against random labels.

    Attributes
    ----------
    statistic : float
        The clustering goodness of the labels as they are.
    p_value : float
        The share of labellings that reach the statistic, the labelling itself counted as one of them: with sampled
        labellings (1 + number that reach it) / (1 + permutations), so p is never 0 and its least value is
        1 / (1 + permutations).
    null_distribution : ndarray of float64, shape (permutations,)
        The goodness under each sampled labelling; with ``method="exact"`` under every labelling, the given one
        among them.
    method : {'exact', 'independent', 'shifts'}
        How the labellings were found. With ``"shifts"`` they are no independent draws; see `permutation_test`.
    """

    statistic: float
    p_value: float
    null_distribution: np.ndarray
    method: str


@dataclass(frozen=True)
class MRPPMoments:
    """The mean distance within classes, and its distribution over all labellings.

    Attributes
    ----------
    delta : float
        Weighted mean of the classes' mean distances within, for the labels as they are.
    mean, variance, skewness : float
        Of delta over all labellings with the same class sizes: exact, not simulated.
    weights : {'pairs', 'groups'}
        What a class counts by.
    """

    delta: float
    mean: float
    variance: float
    skewness: float
    weights: str

    @property
    def z(self) -> float:
        """Standard deviations between delta and its mean; below 0 where classes are closer than chance."""
        return (self.delta - self.mean) / math.sqrt(self.variance) if self.variance else 0.0

    @property
    def agreement(self) -> float:
        """Chance-corrected agreement within classes, A = 1 - delta / mean: 1 for equal rows, 0 at chance.

        It is an effect size: unlike z and p it does not grow with the number of rows.
        """
        return 1 - self.delta / self.mean

    @property
    def log10_p_value(self) -> float:
        """Decimal logarithm of `p_value`, finite also where the p-value itself is too small for a float."""
        return _log_pearson3_cdf(self.z, self.skewness) / math.log(10) if self.variance else 0.0

    @property
    def p_value(self) -> float:
        """Share of labellings with a delta as small, by the Pearson type III curve of the same three moments.

        It is an approximation, good in the middle and rough far out: a p of 1e-50 says *far beyond chance*, its
        exponent says little. `z` compares such cases more honestly.
        """
        return 10**self.log10_p_value


def clustering_goodness(distances, labels) -> float:
    """Return the mean distance between classes / mean distance within classes.

    Every *pair* of rows counts once, so a class of n_I rows weighs by its n_I (n_I - 1) / 2 pairs and large
    classes dominate. The multi-response permutation procedures (MRPP) usually average over *groups* instead: each
    class gives its mean distance within, and these means are weighted by n_I / N. With classes of one size both
    weightings are the same. At chance the goodness is close to 1, and it shrinks towards 1 as dimensions are added
    that say nothing: compare features of equal dimension only. Classes that share their centre and differ in
    spread alone can bring it above 1 too: it mixes location and spread.

    Parameters
    ----------
    distances : array_like of float, shape (n, n)
        Symmetric, zero on the diagonal; see `helpers.distances.pairwise_distances`.
    labels : array_like of int, shape (n,)
        Two classes or more, one of them with two rows or more. A class of one row has no pair within it; it
        counts in the pairs between classes.

    Returns
    -------
    float
        Above 0; larger is better.

    Raises
    ------
    ValueError
        If `distances` are none, lengths differ, there is one class only, every row is a class of its own, or no
        two rows of a class differ.

    Examples
    --------
    >>> clustering_goodness([[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 1], [4, 4, 1, 0]], [0, 0, 1, 1])
    4.0
    """
    distances, classes = _check(distances, labels)
    return _goodness(_Parts.of(distances).mean, _observed(distances, classes), classes)


def permutation_test(
    distances, labels, *, permutations: int = 999, method: str = "auto", random_state=0, engine: str = "blas"
) -> PermutationTest:
    """Test `clustering_goodness` against labels that are shuffled.

    If the labels had nothing to do with the features, every assignment of them to the rows would be equally
    likely. The p-value is the share of assignments whose goodness is as large as the observed one. The distances
    never change, only which of them count as *within* a class.

    Parameters
    ----------
    distances, labels : array_like
        As for `clustering_goodness`.
    permutations : int
        Labellings sampled. The least p-value that can be reported is 1 / (1 + permutations).
    method : {'auto', 'exact', 'independent', 'shifts'}
        ``"exact"``: every different grouping with the same class sizes is enumerated; no sampling, p is a share.
        ``"independent"``: labels are shuffled anew each time. Up to 2,000 rows the sums within classes of many
        shuffles are one matrix product; above, a compiled loop adds each distance to the shuffles that put its
        pair into one class, whose time does not depend on the number of classes.
        ``"shifts"``: the rows are put into a random order, and the labels are shifted along it, cyclically. All n
        shifts together cost one Fourier transform of each diagonal of the ordered matrix.
        ``"auto"``: exact where the number of groupings is at most permutations + 1, else shifts where
        permutations < n and n is 1,000 or more, else independent.
    random_state : int, numpy.random.Generator or None
        Where random choices start. With None they differ from run to run.
    engine : {'blas', 'keras'}
        Who adds for ``"independent"``. ``"blas"`` is the processor: NumPy's products below 2,000 rows, the
        compiled loop from there on; both draw the same labels from one seed. ``"keras"`` is the device of the Keras
        back-end, a GPU where there is one, and multiplies at any size that float32 serves (see Rounding). The other
        methods take no notice.

    Returns
    -------
    PermutationTest

    Raises
    ------
    ValueError
        As `clustering_goodness`; if `permutations` is no whole number of 1 or more, or there are too many groupings
        to enumerate.

    Notes
    -----
    *Validity.* Independent shuffles are uniform on all labellings, so the observed labelling is one of
    permutations + 1 exchangeable ones and P(p <= a) <= a for every a (Phipson and Smyth 2010). For shifts the same
    holds: along one order they form a group, and a test over a group of transformations, or over a random part of
    it with the identity, is exact (Hemerik and Goeman 2018, theorems 1 and 2). More than n - 1 permutations take
    several random orders. All but one start from freshly shuffled labels, and the one that holds the observed
    labels is drawn in proportion to its share of the sample; so the observed labelling is again a uniform draw
    from a set whose other members do not depend on which it was, and the level is exact.

    *Monte-Carlo error.* Around the p-value of all labellings that of independent shuffles scatters with standard
    error sqrt(p (1 - p) / permutations). Shifts along one order share their pairs of rows and are *not*
    independent draws. Their level is exact all the same, and in our simulations their p-values scatter as those of
    independent shuffles do, but the formula is no theorem for them.

    *Rounding.* Sums run over what is left of the distances after their mean and a value for each row have been
    taken off; what was taken off is added in float64. What is left goes in float32, or in float64 up to 1,000 rows
    and wherever the largest distance is more than 1,000 times what usually is left, as with rows that lie far out. A
    labelling counts as reaching the statistic if it comes within the rounding of these sums: 64 units in the last
    place of the sum of all distances in float64 and, where float32 is used, of the root of the sum of squares of what
    is left.

    *Memory* beyond `distances`: half a matrix in the dtype of these sums for shifts, some megabytes for independent
    shuffles.

    *Repeatability.* The compiled loop adds in an order that no number of threads changes.

    References
    ----------
    Mielke, Berry and Johnson (1976), Multi-response permutation procedures for a priori classifications,
    Communications in Statistics A5, 1409-1424 (of whose statistic the goodness is a decreasing function);
    Phipson and Smyth (2010), https://doi.org/10.2202/1544-6115.1585 ;
    Hemerik and Goeman (2018), https://doi.org/10.1007/s11749-017-0571-1

    Examples
    --------
    >>> import numpy as np
    >>> distances, labels = np.abs(np.subtract.outer(np.arange(30.0), np.arange(30.0))), np.repeat([0, 1, 2], 10)
    >>> permutation_test(distances, labels).p_value
    0.001
    """
    check_choice(method, METHODS, "method")
    check_choice(engine, ENGINES, "engine")
    check_whole(permutations, "permutations", 1)
    distances, classes = _check(distances, labels)
    parts = _Parts.of(distances)
    observed = _observed(distances, classes)
    method = _chosen(method, classes, permutations)
    random = np.random.default_rng(random_state)
    number, rounding = _precision(distances, parts, method, engine)
    if method == "exact":
        null, itself = _exact(distances, classes, parts), 0
        excess = observed - parts.mean * classes.pairs_within
    else:  # the labels as they are come first, summed as the others are, so that rounding does not tell them apart
        sampled = _shifts if method == "shifts" else functools.partial(_independent, engine=engine)
        excess, *null = sampled(distances, classes, parts, permutations, random, number)
        null, itself = np.array(null), 1
    reached = int(np.sum(null <= excess + rounding))  # ties count
    within = null + parts.mean * classes.pairs_within
    within[within <= rounding] = 0  # a labelling whose classes are all copies
    return PermutationTest(
        _goodness(parts.mean, observed, classes),
        (reached + itself) / (len(null) + itself),
        _goodness(parts.mean, within, classes),
        method,
    )


def mrpp_moments(distances, labels, *, weights: str = "pairs", engine: str = "blas") -> MRPPMoments:
    """Return where the mean distance within classes stands among all labellings, in closed form.

    The statistic of the multi-response permutation procedures is delta = sum over classes of C_I xi_I, with xi_I
    the mean distance of the pairs within class I. Its mean, variance and skewness over all N! labellings follow
    from sums over the distance matrix; a Pearson type III curve through them gives p-values far below those that
    shuffling can reach. With weights by pairs the goodness is a decreasing function of delta, so both tests ask the
    same question.

    Parameters
    ----------
    distances, labels : array_like
        As for `clustering_goodness`.
    weights : {'pairs', 'groups'}
        ``"pairs"``: C_I = n_I (n_I - 1) / sum of all such, every pair counts once, as in the goodness. A class of
        one row has no pair and counts for nothing.
        ``"groups"``: C_I = n_I / N, every row counts once, as the inventors recommend and as R's ``vegan::mrpp``
        has it. A class of one row has no mean distance within, and is refused.
    engine : {'blas', 'keras'}
        Who multiplies matrices, as for `permutation_test`.

    Returns
    -------
    MRPPMoments

    Raises
    ------
    ValueError
        As `clustering_goodness`; if a class has one row and `weights` is ``"groups"``.

    Notes
    -----
    All sums but one take O(n^2). The sum over triangles, tr M^3, is a matrix product, of which half is needed; it
    is taken tile by tile, in float64 up to n = 2,000 and in float32 with sums in float64 above, where beyond
    `distances` it needs one float32 matrix. The mean is taken off the distances first: without that the skewness
    loses its digits where distances are large against their spread.

    References
    ----------
    Mielke, Berry and Johnson (1976), Multi-response permutation procedures for a priori classifications,
    Communications in Statistics A5, 1409-1424; Mielke and Berry (2007), Permutation Methods: A Distance Function
    Approach, 2nd edition, https://doi.org/10.1007/978-0-387-69813-7, chapter 2

    Examples
    --------
    >>> import numpy as np
    >>> distances, labels = np.abs(np.subtract.outer(np.arange(30.0), np.arange(30.0))), np.repeat([0, 1, 2], 10)
    >>> moments = mrpp_moments(distances, labels)
    >>> f"z {moments.z:.1f}, p {moments.p_value:.0e}, A {moments.agreement:.2f}"
    'z -14.8, p 1e-08, A 0.65'
    """
    check_choice(weights, WEIGHTS, "weighting")
    check_choice(engine, ENGINES, "engine")
    distances, classes = _check(distances, labels)
    if weights == "groups" and classes.sizes.min() == 1:
        label = np.unique(labels)[classes.sizes == 1][0]
        raise ValueError(
            f"Class {label} has one row, so no mean distance within: use weights='pairs', or leave it out."
        )
    parts = _Parts.of(distances)
    within = _within_each(distances, classes) - parts.mean * classes.pairs
    share = classes.pairs / classes.pairs_within if weights == "pairs" else classes.sizes / len(distances)
    means = np.divide(within, classes.pairs, out=np.zeros(len(share)), where=classes.pairs > 0)
    with limited_threads(len(distances)):
        sums = _tuple_means(distances, parts, engine)
    variance, third = _central_moments(sums, classes.sizes.astype(float), share)
    if variance <= (1e-13 * parts.mean) ** 2:  # all distances are equal, and so are all labellings
        variance, third = 0.0, 0.0
    skewness = third / variance**1.5 if variance else 0.0
    return MRPPMoments(parts.mean + float(share @ means), parts.mean, variance, skewness, weights)


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
    if values[0] <= 1e-7 * np.abs(features).max():
        return 0.0
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-np.sum(share * np.log(share))))


@dataclass(frozen=True, eq=False)
class _Classes:
    """A labelling: the class of each row as 0, 1, 2, ..., and the classes' sizes."""

    codes: np.ndarray
    sizes: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        return self.sizes * (self.sizes - 1) / 2

    @property
    def pairs_within(self) -> float:
        return float(self.pairs.sum())

    def groupings(self) -> int:
        """How many different groupings have these class sizes."""
        count = math.factorial(len(self.codes))
        for size, classes in Counter(self.sizes.tolist()).items():
            count //= math.factorial(size) ** classes * math.factorial(classes)
        return count


@dataclass(frozen=True, eq=False)
class _Parts:
    """Distances as mean + value of row i + value of row j + remainder, whose rows all sum to 0."""

    mean: float
    rows: np.ndarray

    @classmethod
    def of(cls, distances: np.ndarray) -> _Parts:
        n, sums = len(distances), distances.sum(axis=1, dtype=np.float64)
        mean = float(sums.sum() / (n * (n - 1)))
        return cls(mean, (sums - (n - 1) * mean) / (n - 2))

    def remainder(self, distances: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return the remainders of a part of the matrix in float64, 0 on its diagonal."""
        numbers = np.arange(len(distances))
        part = distances[rows, columns] - (self.rows[rows, None] + (self.rows[columns] + self.mean))
        part[numbers[rows, None] == numbers[columns]] = 0
        return part


def _check(distances, labels) -> tuple[np.ndarray, _Classes]:
    distances = check_distances(distances)
    labels, n = check_labels(labels), len(distances)
    if len(labels) != n:
        raise ValueError(
            f"`labels` has {len(labels)} entries for {n} rows of `distances`: one label belongs to each row."
        )
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.max() < 2:
        raise ValueError("Every image is a class of its own: the goodness needs a class of two or more.")
    return distances, _Classes(codes.astype(np.int32), sizes)


def _chosen(method: str, classes: _Classes, permutations: int) -> str:
    groupings, n = classes.groupings(), len(classes.codes)
    if method == "exact" and groupings > _MOST:
        raise ValueError(
            f"There are more than {_MOST:,} groupings with these class sizes, too many to enumerate: "
            f"sample them with method='auto'."
        )
    if method != "auto":
        return method
    if groupings <= permutations + 1:
        return "exact"
    return "shifts" if permutations < n and n >= _GAIN else "independent"


def _goodness(mean: float, within, classes: _Classes):
    """Goodness from the mean of all distances and the sum of those within classes."""
    pairs = math.comb(len(classes.codes), 2)
    between = (mean * pairs - within) / (pairs - classes.pairs_within)
    with np.errstate(divide="ignore"):
        return between / (within / classes.pairs_within)


def _precision(distances: np.ndarray, parts: _Parts, method: str, engine: str) -> tuple[type, float]:
    """Return the dtype that remainders need, and how far rounding may move a sum within classes."""
    n = len(distances)
    rounding = 64 * np.finfo(np.float64).eps * parts.mean * math.comb(n, 2)
    if method == "exact" or (n <= _GAIN and (method == "shifts" or engine == "blas")):
        return np.float64, rounding
    sample = np.abs(parts.remainder(distances, slice(0, n, max(1, n // _PROBE)), slice(0, n)))
    if distances.max() > _SPREAD * np.median(sample):
        return np.float64, rounding
    root = math.sqrt(np.mean(np.square(sample)) * math.comb(n, 2))
    return np.float32, rounding + 64 * float(np.finfo(np.float32).eps) * root


def _within_each(distances: np.ndarray, classes: _Classes) -> np.ndarray:
    """Sum of the distances within each class."""
    sums = np.zeros(len(classes.sizes))
    for number in range(len(sums)):
        rows = np.flatnonzero(classes.codes == number)
        for start in range(0, len(rows), _TILE):
            sums[number] += distances[np.ix_(rows[start : start + _TILE], rows)].sum(dtype=np.float64) / 2
    return sums


def _observed(distances: np.ndarray, classes: _Classes) -> float:
    """Sum of the distances within classes, for the labels as they are."""
    within = float(_within_each(distances, classes).sum())
    if within == 0:
        raise ValueError("No two images of a class differ: the mean distance within classes is 0, the ratio undefined.")
    return within


def _exact(distances: np.ndarray, classes: _Classes, parts: _Parts) -> np.ndarray:
    """Excess within classes of every grouping.

    Chosen are the rows of all classes but the largest, to which the others belong. The remainders' rows sum to 0, so
    those within the largest class sum to what those between the chosen rows sum to. Classes of one row have no pair
    within, and need not be told apart.
    """
    *sizes, largest = sorted(int(size) for size in classes.sizes if size > 1)
    alone = int(np.sum(classes.sizes == 1))
    of_class = np.repeat(np.arange(len(sizes) + 1), [alone, *sizes])
    first, second = np.triu_indices(len(of_class), 1)
    weights = 1.0 + ((of_class[first] == of_class[second]) & (of_class[first] > 0))
    others = np.repeat(np.array([1, *sizes], float), [alone, *sizes]) - largest
    groupings, excess = _groupings(len(distances), alone, sizes, largest), []
    while batch := list(islice(groupings, max(1, _TILE**2 // max(1, len(first))))):
        chosen = np.array(batch)
        one, other = chosen[:, first], chosen[:, second]
        remainders = distances[one, other] - (parts.rows[one] + parts.rows[other] + parts.mean)
        excess.append(remainders @ weights + parts.rows[chosen] @ others)
    return np.concatenate(excess)


def _groupings(n: int, alone: int, sizes: list[int], largest: int) -> Iterator[tuple[int, ...]]:
    """Yield each choice of rows for the classes of one row and for classes of these sizes, rising."""
    for first in combinations(range(n), alone):
        rest = tuple(row for row in range(n) if row not in first) if sizes else ()
        for others in _groups(rest, sizes, largest):
            yield (*first, *others)


def _groups(rows: tuple[int, ...], sizes: list[int], largest: int, after: int = -1) -> Iterator[tuple[int, ...]]:
    """Yield each choice of groups of these sizes, rising, one after the other.

    Groups of one size come in the order of their first rows. The rows left make the largest group, which comes first
    among those of its size.
    """
    if not sizes:
        yield ()
        return
    after = rows[0] if after < 0 and sizes[0] == largest else after
    for group in combinations([row for row in rows if row > after], sizes[0]):
        rest = tuple(row for row in rows if row not in group) if sizes[1:] else ()
        for others in _groups(rest, sizes[1:], largest, group[0] if sizes[1:2] == sizes[:1] else -1):
            yield (*group, *others)


def _independent(distances, classes, parts, permutations, random, number, engine) -> np.ndarray:
    """Excess within classes of the labels as they are, and of labels that are shuffled anew each time."""
    engine = engine if number == np.float32 else "blas"
    compiled, excess = engine == "blas" and len(distances) >= _COMPILED, []
    size = _LABELLINGS if compiled else max(1, _COLUMNS // (len(classes.sizes) - 1))
    with limited_threads(len(distances)):
        for start in range(0, permutations + 1, size):
            places = range(start, min(start + size, permutations + 1))
            labellings = np.stack([random.permutation(classes.codes) if place else classes.codes for place in places])
            if compiled:
                excess.append(_excess_by_loop(distances, parts, classes, labellings, number))
            else:
                excess.append(_excess_of_batch(distances, parts, classes, labellings, number, engine))
    return np.concatenate(excess)


def _excess_of_batch(distances, parts, classes, labellings: np.ndarray, number: type, engine: str) -> np.ndarray:
    """Excess within classes of each row of `labellings`, by products with the upper half of the matrix.

    The remainders' rows sum to 0, so the largest class, which is left out, follows from the sum of the others.
    """
    kept = np.delete(np.arange(len(classes.sizes)), classes.sizes.argmax())
    (count, n), others = labellings.shape, len(kept)
    members = (labellings.T[:, :, None] == kept).astype(number)
    excess = (classes.sizes[labellings] - 1) @ parts.rows
    for start in range(0, n, _TILE):
        rows = slice(start, min(start + _TILE, n))
        tile = parts.remainder(distances, rows, slice(start, n)).astype(number, copy=False)
        tile[:, : rows.stop - start] /= 2  # it holds each pair twice
        sums = multiply(tile, members[start:].reshape(n - start, -1), engine).reshape(-1, count, others)
        excess += np.einsum("npc,npc->p", sums, members[rows], dtype=np.float64)
        excess += np.einsum("np,np->p", sums.sum(axis=2), members[rows].sum(axis=2), dtype=np.float64)
    return excess


def _excess_by_loop(distances, parts, classes, labellings: np.ndarray, number: type) -> np.ndarray:
    """Excess within classes of each row of `labellings`, by a loop over the pairs of rows, in all cores."""
    others = classes.sizes - 1.0
    excess = np.array([others[labelling] @ parts.rows for labelling in labellings])
    of_band = _band_loop(number)
    (count, n), dtype = labellings.shape, np.min_scalar_type(len(others) - 1)
    places = np.zeros((n + _BAND, count), dtype)  # with rows to spare, where the remainders are 0: no tile is cut
    places[:n] = labellings.T
    add = functools.partial(of_band, distances, parts.mean, parts.rows, places)
    with ThreadPoolExecutor(cores()) as pool:
        for sums in pool.map(add, range(0, n, _BAND)):  # in the order of the rows, whoever is ready first
            excess += sums
    return excess


@functools.cache
def _band_loop(number: type) -> Callable:
    """Compile the loop over the pairs of a band of rows with the rows after them.

    One remainder serves every labelling: those that give its two rows one class add it, the others 0, without a
    branch, so that the processor takes many labellings in one step. The sums of a tile have few terms, so that they
    may be float32 (`number`); they are added in float64. No reordering is allowed to the compiler, so that the sums
    are the same on any machine. The threads are Python's, which the loop lets run: Numba's own would not survive a
    fork.
    """
    from numba import njit  # takes about a second

    band, width, nothing = _BAND, _WIDTH, number(-0.0)  # x + -0.0 is always x, so the compiler may leave it out

    @njit(nogil=True)
    def fill(tile, distances, mean, rows, first, left):
        for row in range(band):
            for column in range(width):
                i, j = first + row, left + column
                upper = i < j and j < len(distances)
                tile[row, column] = distances[i, j] - (rows[i] + (rows[j] + mean)) if upper else nothing

    @njit(nogil=True)
    def add_tile(sums, tile, columns, places, first, left):
        for column in range(0, columns, 8):
            j = left + column
            of_0, of_1, of_2, of_3 = places[j], places[j + 1], places[j + 2], places[j + 3]
            of_4, of_5, of_6, of_7 = places[j + 4], places[j + 5], places[j + 6], places[j + 7]
            for row in range(band):
                of_row, edge = places[first + row], tile[row, column : column + 8]
                e_0, e_1, e_2, e_3 = edge[0], edge[1], edge[2], edge[3]
                e_4, e_5, e_6, e_7 = edge[4], edge[5], edge[6], edge[7]
                for p in range(len(sums)):
                    label = of_row[p]
                    a = (e_0 if of_0[p] == label else nothing) + (e_1 if of_1[p] == label else nothing)
                    b = (e_2 if of_2[p] == label else nothing) + (e_3 if of_3[p] == label else nothing)
                    c = (e_4 if of_4[p] == label else nothing) + (e_5 if of_5[p] == label else nothing)
                    d = (e_6 if of_6[p] == label else nothing) + (e_7 if of_7[p] == label else nothing)
                    sums[p] += (a + b) + (c + d)

    @njit(nogil=True)
    def of_band(distances, mean, rows, places, first):
        excess, sums = np.zeros(places.shape[1]), np.empty(places.shape[1], number)
        tile = np.empty((band, width), number)
        for left in range(first, len(distances), width):
            fill(tile, distances, mean, rows, first, left)
            sums[:] = 0
            add_tile(sums, tile, min(width, len(distances) - left), places, first, left)
            excess += sums
        return excess

    return of_band


def _shifts(distances, classes, parts, permutations, random, number) -> np.ndarray:
    """Excess within classes of the labels as they are, and of labels that are shifted along random orders of rows."""
    n, excess = len(distances), []
    sizes = [len(part) for part in np.array_split(np.arange(permutations + 1), -(-(permutations + 1) // n))]
    home = random.choice(len(sizes), p=np.array(sizes) / sum(sizes))  # the order along which the labels are as given
    for place, size in enumerate(sizes):
        order = random.permutation(n)
        labels = classes.codes[order if place == home else random.permutation(n)]
        found = _excess_of_shifts(distances, parts, order, labels, classes.sizes, number)
        if place == home:
            excess.insert(0, found[[0, *(1 + random.choice(n - 1, size - 1, replace=False))]])
        else:
            excess.append(found[random.choice(n, size, replace=False)])
    return np.concatenate(excess)


def _excess_of_shifts(distances, parts, order, labels, sizes, number) -> np.ndarray:
    """Excess within classes after each of the n cyclic shifts of the labels along an order of the rows.

    With e_k[i] the remainder between places i and i + k of the order, and m_k[i] = 1 where the labels of these
    places are equal, the sum within classes after shift s is the sum over k of sum_i e_k[i] m_k[i + s]: a
    correlation, so a product of Fourier transforms, which are summed over k before the one transform back.
    """
    n, half = len(order), len(order) // 2
    band = _band(distances, parts, order, half, number)
    around = np.concatenate([labels, labels])
    equal = np.sum(sizes / n * (sizes / n)).astype(number)
    spectrum = np.zeros(n // 2 + 1, np.complex128)
    for start in range(1, half + 1, _OFFSETS):
        offsets = slice(start, min(start + _OFFSETS, half + 1))
        places = np.lib.stride_tricks.sliding_window_view(around, offsets.stop - start)[start : start + n]
        same = (places == labels[:, None]).astype(number) - equal  # about 0, to keep digits
        if n % 2 == 0 and offsets.stop == half + 1:
            same[:, -1] /= 2  # half way round every pair appears twice
        workers = 1 if n < _LARGE else cores()
        of_band = scipy.fft.rfft(band[:, offsets], axis=0, workers=workers)
        of_same = scipy.fft.rfft(same, axis=0, workers=workers)
        spectrum += np.einsum("fk,fk->f", of_band.conj(), of_same)
    rows, others = parts.rows[order], sizes[labels] - 1.0
    spectrum += scipy.fft.rfft(rows).conj() * scipy.fft.rfft(others)
    return scipy.fft.irfft(spectrum, n)


def _band(distances, parts, order, half: int, number: type) -> np.ndarray:
    """Remainders between each place of the order and the `half` places after it, cyclically, column k for k on."""
    around = np.concatenate([order, order])
    rows, band = parts.rows[around], np.empty((len(order), half + 1), number)
    for place, row in enumerate(order):
        ahead = slice(place, place + half + 1)
        band[place] = distances[row].take(around[ahead]) - (rows[ahead] + (rows[place] + parts.mean))
    return band


def _tuple_means(distances: np.ndarray, parts: _Parts, engine: str) -> dict[str, float]:
    """Means of products of centred distances over all tuples of different rows.

    A name draws its product: 12 * 13 is an angle, 12 * 34 is two pairs apart, 12 * 23 * 34 a path, 12 * 13 * 14 a
    star. Sums over all indices are found first; those with equal indices are taken off again.
    """
    n = len(distances)
    rows = parts.rows * (n - 2)  # the sums of the centred rows
    squares, cube, quadratic, triangle = _power_sums(distances, parts.mean, rows, engine)
    square = squares.sum()
    angle = rows @ rows - square
    apart = -4 * angle - 2 * square
    double_angle = squares @ rows - cube
    double_apart = -4 * double_angle - 2 * cube
    path = quadratic - cube - 2 * double_angle - triangle
    star = np.sum(rows**3) - 3 * double_angle - cube
    angle_apart = -2 * star - 4 * path - 4 * double_angle - 2 * triangle
    three_apart = -8 * angle_apart - 4 * double_apart - 8 * path
    sums = {
        2: {"square": square, "cube": cube},
        3: {"angle": angle, "double_angle": double_angle, "triangle": triangle},
        4: {"apart": apart, "double_apart": double_apart, "path": path, "star": star},
        5: {"angle_apart": angle_apart},
        6: {"three_apart": three_apart},
    }
    return {
        name: float(value / _falling(n, length)) if n >= length else 0.0
        for length, named in sums.items()
        for name, value in named.items()
    }


def _power_sums(
    distances: np.ndarray, mean: float, rows: np.ndarray, engine: str
) -> tuple[np.ndarray, float, float, float]:
    """For the centred matrix M: its rows' sums of squares, sum of cubes, r'Mr for its row sums r, and tr M^3."""
    n, dtype = len(distances), np.float64 if len(distances) <= _LARGE else np.float32
    centred = np.subtract(distances, mean, dtype=dtype)
    np.fill_diagonal(centred, 0)
    squares, cube, quadratic, triangle = np.zeros(n), 0.0, 0.0, 0.0
    for start in range(0, n, _TILE):
        part = slice(start, min(start + _TILE, n))
        tile = centred[part]
        second = np.square(tile)
        squares[part] = second.sum(axis=1, dtype=np.float64)
        cube += np.einsum("ij,ij->", second, tile, dtype=np.float64)
        quadratic += rows[part] @ (tile @ rows)
        products = (
            multiply(tile, centred[:, start:], engine) * tile[:, start:]
        )  # the upper half; the lower one is its image
        triangle += 2 * products.sum(dtype=np.float64)
        triangle -= products[:, : part.stop - start].sum(dtype=np.float64)
    return squares, float(cube), float(quadratic), float(triangle)


def _central_moments(means: dict[str, float], sizes: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    """Variance and third central moment of delta: the means, each times how often its tuple falls within classes."""
    sizes, share, n = sizes[share > 0], share[share > 0], sizes.sum()
    two, three, four, five, six = (_falling(sizes, length) for length in range(2, 7))
    second = 2 * (np.sum(share**2 / two) - 1 / _falling(n, 2)) * (
        means["square"] - 2 * means["angle"] + means["apart"]
    ) + 4 * (np.sum(share**2 / sizes) - 1 / n) * (means["angle"] - means["apart"])
    of_one = (
        4 * two * means["cube"]
        + three * (24 * means["double_angle"] + 8 * means["triangle"])
        + four * (6 * means["double_apart"] + 24 * means["path"] + 8 * means["star"])
        + 12 * five * means["angle_apart"]
        + six * means["three_apart"]
    ) / two**3
    of_two = (2 * two * means["double_apart"] + 4 * three * means["angle_apart"] + four * means["three_apart"]) / two**2
    third = (
        share**3 @ of_one
        + 3 * (share**2 * (1 - share)) @ of_two
        + (1 - 3 * np.sum(share**2) + 2 * np.sum(share**3)) * means["three_apart"]
    )
    return float(second), float(third)


def _falling(n, length: int):
    """n (n - 1) (n - 2) ..., `length` factors."""
    return math.prod(n - step for step in range(length))


def _log_pearson3_cdf(z: float, skewness: float) -> float:
    """Natural logarithm of the lower tail of the standardised Pearson type III distribution.

    A gamma distribution of shape 4 / skewness^2, mirrored where the skewness is below 0, as it is for MRPP as a rule.
    """
    if abs(skewness) < 1e-6:
        return float(special.log_ndtr(z))
    shape = 4 / skewness**2
    place = shape + z * math.copysign(math.sqrt(shape), skewness)
    if skewness > 0:
        return _log_gamma_tail(shape, place, upper=False) if place > 0 else -math.inf
    return _log_gamma_tail(shape, place, upper=True) if place > 0 else 0.0


def _log_gamma_tail(shape: float, place: float, upper: bool) -> float:
    """Natural logarithm of the regularised incomplete gamma function, also where the function itself underflows."""
    value = (special.gammaincc if upper else special.gammainc)(shape, place)
    if value > 1e-280:
        return math.log(value)
    # density times a series (lower tail) or a continued fraction by Lentz's algorithm (upper tail), DLMF 8.7.1, 8.9.2
    ratio = place / shape
    log_density = shape * (math.log(ratio) + 1 - ratio) - _stirling(shape)  # of place^shape e^-place / Gamma(shape)
    if not upper:
        term, total, step = 1 / shape, 1 / shape, 0
        while term > 1e-17 * total:
            step += 1
            term *= place / (shape + step)
            total += term
        return log_density + math.log(total)
    below = place + 1 - shape
    c, d, step, change = math.inf, 1 / below, 0, 0.0
    fraction = d
    while abs(change - 1) > 1e-15:
        step += 1
        numerator = -step * (step - shape)
        below += 2
        d = 1 / (numerator * d + below)
        c = below + numerator / c
        change = c * d
        fraction *= change
    return log_density + math.log(fraction)


def _stirling(shape: float) -> float:
    """log Gamma(shape) - shape log shape + shape, without the cancellation that large shapes bring."""
    if shape < 1e4:
        return math.lgamma(shape) - shape * math.log(shape) + shape
    return 0.5 * math.log(2 * math.pi / shape) + 1 / (12 * shape)

"""How well do two groupings of the same images agree, and could that be chance?

One grouping is usually the classes, the other what a clustering found. Everything here follows from the table
that counts, for each class and each cluster, the images in both. Finding the clusters is the business of
`helpers.clustering`, which passes these names on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import xlogy
from scipy.stats import chi2, random_table
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from .validation import check_choice, check_labels, check_number, check_regular, check_whole

__all__ = [
    "AVERAGES",
    "Agreement",
    "ChanceAgreement",
    "accuracy",
    "agreement",
    "align",
    "ami",
    "ari",
    "chance_agreement",
    "nmi",
]

AVERAGES = ("arithmetic", "geometric", "max", "min")

_TIE = 1e-9  # the same table counted in another order gives a score that differs by rounding: that is a tie


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
    labels, clusters = _pair(labels, clusters)
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


def nmi(labels, clusters, average: str = "arithmetic") -> float:
    """Return the normalised mutual information of two groupings, in [0, 1].

    The mutual information I(Y; C), divided by an average of the entropies H(Y) and H(C). It rises with the number
    of clusters even for labels drawn at random, so compare only at equal numbers of clusters; `ami` subtracts what
    chance gives.

    Parameters
    ----------
    labels, clusters : array_like of int, shape (n,)
    average : {'arithmetic', 'geometric', 'max', 'min'}
        What stands for the two entropies. A published NMI that does not say which average it took is known only
        up to this choice: scikit-learn took the geometric mean up to version 0.21 and takes the arithmetic mean
        since 0.22. Of the four the maximum gives the smallest figure and the minimum the largest; where classes and
        clusters are about equally even, all are about the same.

    Returns
    -------
    float

    References
    ----------
    Vinh, Epps and Bailey (2010), https://jmlr.org/papers/v11/vinh10a.html ; Strehl and Ghosh (2002), for the
    geometric mean, https://doi.org/10.1162/153244303321897735
    """
    check_choice(average, AVERAGES, "average of the entropies")
    return min(1.0, float(normalized_mutual_info_score(*_pair(labels, clusters), average_method=average)))  # rounding


def ami(labels, clusters) -> float:
    """Return the adjusted mutual information of two groupings: 1 where they are equal, 0 on average at chance.

    (I - E I) / (mean of the entropies - E I), with E I the mean mutual information of all groupings with the same
    class sizes and cluster sizes. It may be a little below 0. Unlike `nmi`, it may be compared between different
    numbers of clusters.

    References
    ----------
    Vinh, Epps and Bailey (2010), https://jmlr.org/papers/v11/vinh10a.html
    """
    return min(1.0, float(adjusted_mutual_info_score(*_pair(labels, clusters))))  # rounding


def ari(labels, clusters) -> float:
    """Return the adjusted Rand index of two groupings, in [-0.5, 1], 0 on average at chance.

    References
    ----------
    Hubert and Arabie (1985), https://doi.org/10.1007/BF01908075
    """
    return float(adjusted_rand_score(*_pair(labels, clusters)))


@dataclass(frozen=True, eq=False)
class ChanceAgreement:
    """What NMI and ARI are worth where clusters know nothing of classes.

    Attributes
    ----------
    nmi, ari : ndarray of float64, shape (draws,)
        Of tables drawn at random with the given class sizes and cluster sizes.
    label_counts, cluster_counts : tuple of int
        The sizes.
    average : {'arithmetic', 'geometric', 'max', 'min'}
        Which average of the entropies divides the mutual information, as for `helpers.groupings.nmi`.
    """

    nmi: np.ndarray
    ari: np.ndarray
    label_counts: tuple[int, ...]
    cluster_counts: tuple[int, ...]
    average: str

    def nmi_p_value(self, value: float) -> float:
        """Return the share of tables whose NMI reaches `value`, that of `value` itself counted as one of them."""
        return _p_value(self.nmi, value)

    def ari_p_value(self, value: float) -> float:
        """Return the share of tables whose ARI reaches `value`, that of `value` itself counted as one of them."""
        return _p_value(self.ari, value)

    def g_test(self, value: float) -> float:
        """Return the p-value of an NMI in closed form, for where p is too small to count.

        G = 2 n I, with the mutual information I in nats, follows a chi-squared distribution with (classes - 1)
        (clusters - 1) degrees of freedom where classes and clusters are independent: the likelihood-ratio test of
        independence. Unlike a count, it may fall below 1 / (1 + draws), and its exponent is then to be read as
        roughly as any p-value that far out; below about 1e-300 it reads 0. The approximation needs some five
        expected images in most cells of the table.

        References
        ----------
        Wilks (1938), https://doi.org/10.1214/aoms/1177732360
        """
        value = check_number(value, "value", 0, 1)
        n = sum(self.label_counts)
        entropies = [_entropy(np.array(counts), n) for counts in (self.label_counts, self.cluster_counts)]
        freedom = (len(self.label_counts) - 1) * (len(self.cluster_counts) - 1)
        return float(chi2.sf(2 * n * value * _average(*entropies, self.average), freedom))


@dataclass(frozen=True)
class Agreement:
    """How well clusters agree with classes, how sure that is, and whether chance does as well.

    Attributes
    ----------
    nmi, ami, ari : float
        The scores.
    nmi_interval, ari_interval : tuple of float
        Where the scores of *all* images lie, of which these are a sample; see `agreement`. The interval for NMI is
        free of the part that is due to the number of images, so that near chance it may lie wholly below `nmi`.
    nmi_p_value, ari_p_value : float
        The share of permutations of the labels that reach the score, the labels as they are counted as one of
        them. AMI has the p-value of NMI: with the sizes fixed, the two rank tables alike.
    g_p_value : float
        The same for NMI in closed form, as `ChanceAgreement.g_test`.
    level : float
        Of the intervals.
    permutations, resamples : int
        Behind p-values and intervals.
    """

    nmi: float
    ami: float
    ari: float
    nmi_interval: tuple[float, float]
    ari_interval: tuple[float, float]
    nmi_p_value: float
    ari_p_value: float
    g_p_value: float
    level: float
    permutations: int
    resamples: int

    def __str__(self) -> str:
        return (
            f"NMI {self.nmi:.4f} ({self.nmi_interval[0]:.4f} to {self.nmi_interval[1]:.4f}), p {self.nmi_p_value:.2g}; "
            f"ARI {self.ari:.4f} ({self.ari_interval[0]:.4f} to {self.ari_interval[1]:.4f}), p {self.ari_p_value:.2g}"
        )


def chance_agreement(
    label_counts, cluster_counts, draws: int = 9999, seed: int = 0, average: str = "arithmetic"
) -> ChanceAgreement:
    """Draw NMI and ARI for clusters of given sizes that know nothing of the classes.

    Permuting the labels of n images over and over needs no images: what comes out is a table of counts with the
    same sums of rows and of columns, and such tables can be drawn directly. So the sizes alone, as a report may
    print them, say which of its scores can be told from chance.

    Parameters
    ----------
    label_counts, cluster_counts : array_like of int
        Images in each class, and in each cluster: two or more of 1 or more, with the same sum.
    draws : int
        Tables drawn. The smallest p-value is 1 / (1 + draws).
    seed : int
        Decides which tables.
    average : {'arithmetic', 'geometric', 'max', 'min'}
        As for `nmi`.

    Returns
    -------
    ChanceAgreement

    Raises
    ------
    ValueError
        If the counts are no counts, of one group only, or sum to different numbers.

    References
    ----------
    Patefield (1981), Algorithm AS 159, Applied Statistics 30(1), 91-97, and Boyett (1979), Algorithm AS 144, 28(3),
    329-332, the faster of which SciPy takes: both draw from the same distribution.

    Examples
    --------
    Three classes of 117, 116 and 233 images, three clusters of about equal size:

    >>> chance = chance_agreement([117, 116, 233], [155, 155, 156])
    >>> print(f"{chance.nmi.mean():.3f}, 95 % below {np.quantile(chance.nmi, 0.95):.3f}")
    0.004, 95 % below 0.010
    >>> chance.nmi_p_value(0.0397)
    0.0001
    """
    rows, columns = _check_counts(label_counts, "label_counts"), _check_counts(cluster_counts, "cluster_counts")
    if rows.sum() != columns.sum():
        raise ValueError(
            f"`label_counts` sum to {rows.sum()} and `cluster_counts` to {columns.sum()}: both count the same images."
        )
    check_whole(draws, "draws", 1)
    check_whole(seed, "seed", 0)
    check_choice(average, AVERAGES, "average of the entropies")
    tables = random_table.rvs(rows, columns, size=draws, random_state=np.random.default_rng(seed))
    return ChanceAgreement(
        _nmi_of(tables, average), _ari_of(tables), tuple(rows.tolist()), tuple(columns.tolist()), average
    )


def agreement(
    labels, clusters, permutations: int = 999, resamples: int = 999, level: float = 0.95, seed: int = 0
) -> Agreement:
    """Score clusters against labels, with intervals and p-values.

    Both answers hold for images that are exchangeable. Where images come in groups (cells of one slide, frames of one
    film) and classes and clusters both go with the groups, there is less evidence than images: then the p-values are
    too small and the intervals too narrow.

    *Is it chance?* The p-values permute the labels.

    *How sure is it?* The intervals resample the images with replacement, the clusters as they are. They tell how
    far the score would move with other images of the same kind; another run of the clustering may move it further,
    see `helpers.clustering.stability`. Resampling needs care, because a score of a finite sample is inflated, and
    the score of a resample is inflated once more. ARI is corrected for that at chance, yet its resamples are not:
    their percentiles are shifted down by as much as their mean exceeds the score. NMI is not corrected at all: its
    percentiles are shifted so that their mean falls on the jackknife's estimate, n NMI - (n - 1) times the mean NMI
    with one image left out. Without the shift the usual 95 % interval for NMI contains the truth, at three classes,
    three clusters and little agreement, in less than 95 % of all samples, and never where there is none. With many
    clusters and few images (fewer than about five in most cells of the table) the interval for NMI remains too
    optimistic, and that for ARI is the one to read.

    Parameters
    ----------
    labels, clusters : array_like of int, shape (n,)
        Two groups or more in each.
    permutations, resamples : int
        1 or more.
    level : float
        Of the intervals, strictly between 0 and 1.
    seed : int
        Of both.

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError
        If the lengths differ, or all images are in one class or one cluster.

    References
    ----------
    Phipson and Smyth (2010), for the p-value, https://doi.org/10.2202/1544-6115.1585 ; Paninski (2003), for the bias
    of mutual information and its jackknife, https://doi.org/10.1162/089976603321780272

    Examples
    --------
    >>> labels = np.repeat([0, 1], 50)
    >>> clusters = np.where(np.arange(100) % 5 == 0, 1 - labels, labels)  # one in five is wrong
    >>> print(agreement(labels, clusters))
    NMI 0.2781 (0.1246 to 0.4441), p 0.001; ARI 0.3535 (0.1780 to 0.5371), p 0.001
    """
    labels = check_labels(labels)
    clusters = check_labels(clusters, len(labels), "clusters")
    check_whole(permutations, "permutations", 1)
    check_whole(resamples, "resamples", 1)
    check_whole(seed, "seed", 0)
    check_number(level, "level", 0, 1, strictly=True)
    table = contingency_matrix(labels, clusters)
    chance = chance_agreement(table.sum(axis=1), table.sum(axis=0), permutations, seed)
    scores = nmi(labels, clusters), ami(labels, clusters), ari(labels, clusters)
    draws = _resampled(table, resamples, seed)
    return Agreement(
        *scores,
        nmi_interval=_interval(_nmi_of(draws), _jackknifed_nmi(table), level, least=0.0),
        ari_interval=_interval(_ari_of(draws), scores[2], level, least=-0.5),
        nmi_p_value=chance.nmi_p_value(scores[0]),
        ari_p_value=chance.ari_p_value(scores[2]),
        g_p_value=chance.g_test(scores[0]),
        level=level,
        permutations=permutations,
        resamples=resamples,
    )


def _pair(labels, clusters):
    labels = check_labels(labels, at_least=1)
    return labels, check_labels(clusters, len(labels), "clusters", at_least=1)


def _check_counts(counts, name: str) -> np.ndarray:
    counts = check_regular(counts, name)
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or len(counts) < 2 or counts.min() < 1:
        raise ValueError(f"`{name}` is {counts.tolist()}, but it counts images of two groups or more, 1 or more each.")
    return counts.astype(np.int64)


def _p_value(draws: np.ndarray, value: float) -> float:
    return float((1 + np.sum(draws >= check_number(value, "value", -1, 1) - _TIE)) / (1 + len(draws)))


def _resampled(table: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return tables, shape (resamples, classes, clusters), of as many images drawn with replacement."""
    n = table.sum()
    random = np.random.default_rng((seed, 1))  # apart from the permutations, which have the seed alone
    return random.multinomial(n, table.ravel() / n, size=resamples).reshape(-1, *table.shape)


def _interval(draws: np.ndarray, centre: float, level: float, least: float) -> tuple[float, float]:
    """Return percentiles of the draws, shifted so that the mean of the draws falls on `centre`."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]) + (centre - draws.mean())
    return float(np.clip(low, least, 1)), float(np.clip(high, least, 1))


def _entropy(counts: np.ndarray, n) -> np.ndarray:
    """Return the entropy, in nats, of counts along the last axis: exactly 0 for a single group."""
    entropy = np.log(n) - xlogy(counts, counts).sum(axis=-1) / n
    return np.where(entropy > _TIE, entropy, 0.0)


def _average(one, other, average: str):
    rules = {"arithmetic": lambda a, b: (a + b) / 2, "geometric": lambda a, b: np.sqrt(a * b)}
    return (rules | {"max": np.maximum, "min": np.minimum})[average](one, other)


def _normalised(information, one, other, average: str = "arithmetic"):
    """Divide mutual information by an average of the entropies: 1 where both groupings are a single group."""
    divisor = _average(one, other, average)
    share = np.divide(information, divisor, out=np.zeros_like(information), where=divisor > 0)
    return np.where(np.maximum(one, other) > 0, np.clip(share, 0, 1), 1.0)


def _nmi_of(tables: np.ndarray, average: str = "arithmetic") -> np.ndarray:
    """Return the NMI of tables of counts of n images each, shape (draws, classes, clusters)."""
    n = tables[0].sum()
    one, other = _entropy(tables.sum(axis=2), n), _entropy(tables.sum(axis=1), n)
    both = _entropy(tables.reshape(len(tables), -1), n)
    return _normalised(one + other - both, one, other, average)


def _ari_of(tables: np.ndarray) -> np.ndarray:
    """Return the ARI of tables of counts of n images each, shape (draws, classes, clusters)."""
    together = _pairs(tables).sum(axis=(1, 2))
    one, other = _pairs(tables.sum(axis=2)).sum(axis=1), _pairs(tables.sum(axis=1)).sum(axis=1)
    expected = one * other / _pairs(tables[0].sum())
    most = (one + other) / 2
    return np.divide(together - expected, most - expected, out=np.ones_like(expected), where=most > expected)


def _pairs(counts):
    """Return how many pairs can be formed of so many."""
    return counts * (counts - 1) / 2


def _jackknifed_nmi(table: np.ndarray) -> float:
    """Return the NMI less its first-order bias: each image is left out once, which only changes three counts."""
    n = int(table.sum())
    one, other, cells = table.sum(axis=1), table.sum(axis=0), table[table > 0]
    row, column = np.nonzero(table)

    def left_out(counts, places):
        """Return the entropy of n - 1 images, for one count less at each of the places."""
        fewer = counts[places]
        sums = xlogy(counts, counts).sum() - xlogy(fewer, fewer) + xlogy(fewer - 1, fewer - 1)
        entropy = np.log(n - 1) - sums / (n - 1)
        return np.where(entropy > _TIE, entropy, 0.0)

    without = left_out(one, row), left_out(other, column), left_out(cells, np.arange(len(cells)))
    scores = _normalised(without[0] + without[1] - without[2], *without[:2])
    return float(n * _nmi_of(table[None])[0] - (n - 1) * (cells @ scores) / n)

"""Checks for the assignment of the chapter *Clustering a classifier's features*."""

from __future__ import annotations

import itertools
import random

import numpy as np
from scipy.special import comb, entr

from helpers import checks
from helpers.checks import Numbers, compare

LINKAGES = ("single", "average", "complete", "ward")
AVERAGES = {
    "geometric": lambda one, other: np.sqrt(one * other),
    "max": np.maximum,
    "min": np.minimum,
    "arithmetic": lambda one, other: (one + other) / 2,
}

NAMES = {"geometric": "geometric mean", "max": "larger", "min": "smaller", "arithmetic": "arithmetic mean"}


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    classes, clusters = _sizes(draw)
    return {
        "seed": draw.randrange(1000),
        "classes": classes,
        "clusters": clusters,
        "average": draw.choice(("geometric", "max", "min")),
        "delta": draw.choice((0.1, 0.2, 0.25, 0.5)),
    }


def _sizes(draw: random.Random) -> tuple[list[int], list[int]]:
    """Draw sizes of classes and clusters for which it matters whether an image is paired with itself."""
    while True:
        images = draw.choice((220, 240, 250, 266, 280, 300))
        common, second = images // 2, images // 4 + draw.randrange(-12, 13)
        large, small = images - draw.randrange(16, 40), draw.randrange(3, 12)
        sizes = [common, second, images - common - second], [large, images - large - small, small]
        if abs(_paired_with_itself(*sizes) - rand_by_chance(*sizes)) > 5e-4:
            return sizes


def _paired_with_itself(classes, clusters) -> float:
    joined, grouped = (np.sum((np.array(sizes) / sum(sizes)) ** 2) for sizes in (classes, clusters))
    return float(joined * grouped + (1 - joined) * (1 - grouped))


def rand_by_chance(classes, clusters) -> float:
    """Return the mean of the Rand index, without adjustment, over all orders of the labels."""
    joined, grouped = (comb(sizes, 2).sum() for sizes in (np.asarray(classes), np.asarray(clusters)))
    pairs = comb(np.sum(classes), 2)
    both = joined * grouped / pairs
    return float((pairs + 2 * both - joined - grouped) / pairs)


def nmi_of_table(table: np.ndarray, average: str) -> float:
    """Return the mutual information of a table of counts by an average of its two entropies."""
    rows, columns = _entropies(table)
    both = entr(np.asarray(table) / np.sum(table)).sum()
    return float((rows + columns - both) / AVERAGES[average](rows, columns))


def _entropies(table: np.ndarray) -> tuple[float, float]:
    """Return the entropy of the rows' sums, and of the columns'."""
    shares = np.asarray(table, float) / np.sum(table)
    return entr(shares.sum(axis=1)).sum(), entr(shares.sum(axis=0)).sum()


def extract(numbers: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels that are out of step with them, and the kernel and the bias of the network's head."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng([numbers.seed, 3])
    images, digits = load_digits(return_X_y=True)
    kept = np.flatnonzero(np.isin(digits, rng.choice(10, 3, replace=False)))
    features = np.maximum(0, images[kept] / 16 @ rng.normal(size=(64, 64)) / 8)
    labels = np.unique(digits[kept], return_inverse=True)[1]
    order = rng.permutation(len(kept))
    features, labels = features[order], labels[order]
    train, test = slice(0, 220), slice(220, None)
    head = LogisticRegression(C=100, max_iter=2000).fit(features[train], labels[train])
    return np.roll(features[test], -late(numbers), axis=0), labels[test], head.coef_.T, head.intercept_


def late(numbers: Numbers) -> int:
    """Return how many images extraction had missed when it began."""
    return int(np.random.default_rng([numbers.seed, 4]).integers(17, 140))


def draw_panels(numbers: Numbers) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return points, and how four linkages group them, in the order of the class and with other numbers of clusters."""
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import adjusted_rand_score

    for attempt in itertools.count():
        rng = np.random.default_rng([numbers.seed, 5, attempt])
        points = np.concatenate(
            [
                rng.normal((-1.6, 0), (0.5, 0.9), (60, 2)),
                rng.normal((0.8, 0.6), (0.9, 0.5), (60, 2)),
                rng.normal((1.8, -1.6), 0.5, (30, 2)),
            ]
        )
        found = [
            AgglomerativeClustering(3, linkage=linkage).fit_predict(points) for linkage in order_of_panels(numbers)
        ]
        # no two linkages may agree, or two orders would be right
        if max(adjusted_rand_score(*pair) for pair in itertools.combinations(found, 2)) < 0.9:
            return points, [rng.permutation(3)[groups] for groups in found]


def order_of_panels(numbers: Numbers) -> list[str]:
    """Return the linkages in the order in which the class sees them."""
    return np.random.default_rng([numbers.seed, 6]).permutation(LINKAGES).tolist()


def moving_centres(numbers: Numbers, steps: int = 200, rate: float = 0.03) -> dict[str, np.ndarray]:
    """Return what becomes of features that move towards the nearest of three centres, while the centres follow.

    The features are a linear map of the inputs, first the inputs themselves; map and centres descend the gradient of
    the mean squared distance to the nearest centre. The classes are quiet among the inputs, as in a network that was
    trained briefly. Relative to the variance, clusters are no tighter at the end, nor are classes
    farther apart, and hardly so on the way.
    """
    for attempt in itertools.count():
        found = _descend(np.random.default_rng([numbers.seed, 7, attempt]), steps, rate)
        loss, variance, between = (values / values[0] for values in found.values())
        width, gap = loss / variance, between / variance
        # in other draws clusters do become clearer as all shrinks, and the figure would not refute the report
        if width.min() > 0.8 and gap.max() < 1.1 and width[-1] >= 1 >= gap[-1]:
            return found


def _descend(rng: np.random.Generator, steps: int, rate: float) -> dict[str, np.ndarray]:
    """Return the curves of `moving_centres` for inputs of one draw."""
    labels = rng.permutation(np.arange(300) % 3)
    inputs = rng.normal(0, 0.4, (3, 8))[labels] + rng.normal(size=(300, 8))
    linear, centres = np.eye(8), inputs[[np.flatnonzero(labels == label)[0] for label in range(3)]]
    curves = {"loss": [], "variance": [], "variance between classes": []}
    for _ in range(steps):
        z = inputs @ linear
        distances = np.square(z[:, None] - centres).sum(axis=-1)
        apart = z - centres[distances.argmin(axis=1)]
        means = np.array([z[labels == label].mean(axis=0) for label in range(3)])
        curves["loss"].append(distances.min(axis=1).mean())
        curves["variance"].append(z.var(axis=0).sum())
        curves["variance between classes"].append(means.var(axis=0).sum())
        own = np.eye(3)[distances.argmin(axis=1)]
        linear = linear - rate * 2 * inputs.T @ apart / len(inputs)
        centres = centres + rate * 2 * own.T @ apart / len(inputs)
    return {name: np.array(values) for name, values in curves.items()}


def three_classes(numbers: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features of three classes, their labels, and a centre for each class."""
    rng = np.random.default_rng([numbers.seed, 8])
    centres, labels = rng.normal(0, 2, (3, 8)), rng.integers(0, 3, 150)
    return centres[labels] + rng.normal(size=(150, 8)), labels, centres


def contrastive_centre_loss(z, labels, centres, delta: float) -> float:
    """Return half the squared distance to the own centre by those to the others, a mean over images."""
    distances = np.square(z[:, None] - centres).sum(axis=-1)
    own = distances[np.arange(len(z)), labels]
    return float(np.mean(own / (distances.sum(axis=1) - own + delta)) / 2)


def q1(answer, numbers):
    """The Rand index by chance."""
    classes, clusters = np.array(numbers.classes), np.array(numbers.clusters)
    joined, grouped = (comb(sizes, 2).sum() / comb(sizes.sum(), 2) for sizes in (classes, clusters))
    compare.number(
        answer,
        rand_by_chance(classes, clusters),
        tolerance=2e-4,
        mistakes={
            "0 is what the adjusted index has by chance; this one is not adjusted.": 0,
            "these are the pairs that both groupings join; pairs that both part agree, too.": joined * grouped,
            "these are the pairs that both groupings part; pairs that both join agree, too.": (
                (1 - joined) * (1 - grouped)
            ),
            "an image is paired with itself here: of n images there are n (n - 1) / 2 pairs.": (
                _paired_with_itself(classes, clusters)
            ),
            "these are the pairs on which the groupings disagree.": 1 - rand_by_chance(classes, clusters),
        },
    )


def q2(answer, numbers):
    """NMI of a table, by the average of the class."""
    rng = checks.fresh()
    inputs = [(rng.integers(1, 60, shape) * (rng.random(shape) < share),) for shape, share in _TABLES]
    mistakes = {
        f"this divides by the {NAMES[average]} of the two entropies; your class takes another average.": (
            lambda table, average=average: nmi_of_table(table, average)
        )
        for average in AVERAGES
        if average != numbers.average
    }
    mistakes["this is the mutual information itself: it is not divided yet."] = lambda table: (
        nmi_of_table(table, "min") * min(_entropies(table))
    )
    compare.function(answer, lambda table: nmi_of_table(table, numbers.average), inputs, 1e-6, mistakes)


_TABLES = (((3, 3), 0.9), ((3, 5), 0.8), ((4, 2), 1.0))  # shapes, and the share of cells that are not empty


def q3(answer, numbers):
    """How many images extraction came late."""
    n, right = len(extract(numbers)[1]), late(numbers)
    compare.number(
        answer,
        right,
        tolerance=1e-9,
        mistakes={
            "this turns the features the wrong way round: to which labels does the first of them belong?": n - right,
            "that is negative: features began so many images after the labels, so the number is positive.": -right,
            "with this number the labels are as much out of step as before.": 0,
            "off by one: images are numbered from 0.": right + 1,
        },
    )


def q4(answer, numbers):
    """The linkage of each panel; only the form is looked at."""
    compare.answered(answer)
    if isinstance(answer, str) or len(answer) != len(LINKAGES):
        raise compare.WrongAnswer("a list of four names is asked for, one for each panel from left to right.")
    if any(name not in LINKAGES for name in answer):
        raise compare.WrongAnswer(f"the names are {', '.join(map(repr, LINKAGES))}.")
    if len(set(answer)) < len(LINKAGES):
        raise compare.WrongAnswer("each of the four linkages drew one panel: a name stands here twice.")
    return "the order is noted; it is graded later."


def q5(answer, numbers):
    """A loss that is a ratio."""
    rng = checks.fresh()
    inputs = [
        (rng.normal(size=(count, units)), rng.integers(0, classes, count), rng.normal(size=(classes, units)))
        for count, units, classes in ((6, 2, 3), (9, 4, 3), (20, 3, 5))
    ]
    delta = numbers.delta
    compare.function(
        answer,
        lambda *given: contrastive_centre_loss(*given, delta),
        inputs,
        1e-5,
        mistakes={
            "the own centre stands in the denominator, too: it is to hold the other centres only.": _own_below(delta),
            "this has distances where squared distances are asked for.": _unsquared(delta),
            "delta is missing.": lambda *given: contrastive_centre_loss(*given, 0.0),
            "delta stands behind the fraction, where it changes no gradient.": (
                lambda *given: contrastive_centre_loss(*given, 0.0) + delta
            ),
            "this divides a mean by a mean: each image has a fraction of its own.": _mean_by_mean(delta),
            "the loss is upside down: it would push images away from their own centre.": _upside_down(delta),
        },
    )


def _distances(z, labels, centres) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared distances to the own centre, and their sum over all centres."""
    distances = np.square(z[:, None] - centres).sum(axis=-1)
    return distances[np.arange(len(z)), labels], distances.sum(axis=1)


def _own_below(delta: float):
    def loss(*given):
        own, total = _distances(*given)
        return np.mean(own / (total + delta)) / 2

    return loss


def _unsquared(delta: float):
    def loss(z, labels, centres):
        distances = np.linalg.norm(z[:, None] - centres, axis=-1)
        own = distances[np.arange(len(z)), labels]
        return np.mean(own / (distances.sum(axis=1) - own + delta)) / 2

    return loss


def _mean_by_mean(delta: float):
    def loss(*given):
        own, total = _distances(*given)
        return np.mean(own) / (np.mean(total - own) + delta) / 2

    return loss


def _upside_down(delta: float):
    def loss(*given):
        own, total = _distances(*given)
        return np.mean((total - own) / (own + delta)) / 2

    return loss


q6 = compare.choice("ABCD")

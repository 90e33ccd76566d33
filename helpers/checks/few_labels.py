"""Checks for the assignment of the chapter *Few labels*."""

from __future__ import annotations

import random

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.special import entr, softmax
from scipy.stats import t as student_t

from helpers import checks
from helpers.checks import Numbers, compare


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    to_three, to_seven = draw.sample(range(2, 8), 2)
    return {
        "seed": draw.randrange(1000),
        "to_three": to_three,
        "to_seven": to_seven,
        "branch": draw.choice((2, 3, 4)),
        "leak": draw.choice((0.02, 0.05, 0.1, 0.2)),
        "per_class": draw.choice((3, 4)),
        "verdicts": draw.choice((8, 12, 20, 36)),
        "wanted": draw.choice((6, 8, 10, 15)),
    }


def leaking(weights, given, leak: float, prior=None) -> np.ndarray:
    """Return where propagation ends if at every step each image without a label forgets the share `leak`."""
    given, known = np.asarray(given), np.asarray(given) >= 0
    classes = int(given.max()) + 1
    shares = np.eye(classes)[given] * known[:, None]
    walk = weights / np.sum(weights, axis=1, keepdims=True)
    prior = np.full(classes, 1 / classes) if prior is None else prior
    system = np.eye(int(np.sum(~known))) - (1 - leak) * walk[np.ix_(~known, ~known)]
    shares[~known] = np.linalg.solve(system, (1 - leak) * walk[np.ix_(~known, known)] @ shares[known] + leak * prior)
    return shares


def propagated(numbers: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a graph in pieces, the labels, those that are given, and what an implementation answers.

    Images that no label reaches are answered by the first class, as scikit-learn answers them.
    """
    from sklearn.datasets import load_digits

    from helpers import probing

    rng = np.random.default_rng([numbers.seed, 3])
    images, digits = load_digits(return_X_y=True)
    rows = np.concatenate([rng.permutation(np.flatnonzero(digits == digit))[:30] for digit in range(10)])
    rows = rng.permutation(rows)
    features, labels = images[rows] / 16, digits[rows]
    given = probing.draw_labels(labels, numbers.per_class, seed=numbers.seed)
    graph = probing.neighbour_graph(features, 1)
    found = probing.label_propagation(graph, given)
    return graph.toarray(), labels, given, np.where(found.labels < 0, 0, found.labels)


def told(graph, labels, given, answers) -> np.ndarray:
    """Return three shares: hidden images that no label reaches, hidden ones that are right, reached ones that are."""
    hidden, reached, right = given < 0, ~unreached_rows(graph, given), answers == labels
    return np.array([np.mean(~reached[hidden]), np.mean(right[hidden]), np.mean(right[hidden & reached])])


def interval(one, other, verdicts: int) -> np.ndarray:
    """Return both ends of the interval of the mean difference of two methods on the same draws."""
    difference = np.asarray(one) - np.asarray(other)
    n = len(difference)
    half = student_t.ppf(1 - 0.025 / verdicts, n - 1) * difference.std(ddof=1) / np.sqrt(n)
    return difference.mean() + half * np.array([-1, 1])


def paired_draws(rng: np.random.Generator, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of two methods on the same draws of labels: lucky draws are lucky for both."""
    luck = rng.normal(0.6, 0.05, draws)
    return luck + rng.normal(0.02, 0.01, draws), luck + rng.normal(0, 0.01, draws)


def distances_of_images(numbers: Numbers) -> np.ndarray:
    """Return the squared distances of 200 images of digits."""
    from sklearn.datasets import load_digits
    from sklearn.metrics import pairwise_distances

    images = load_digits().data / 16
    rows = np.random.default_rng([numbers.seed, 4]).permutation(len(images))[:200]
    return pairwise_distances(images[rows], metric="sqeuclidean")


def neighbours_in_effect(squared, gamma: float, itself: bool = False, across=np.mean) -> float:
    """Return the mean over images of the exponential of the entropy of weights exp(-gamma d^2)."""
    exponents = -gamma * np.asarray(squared, float)
    if not itself:
        np.fill_diagonal(exponents, -np.inf)
    return float(across(np.exp(entr(softmax(exponents, axis=1)).sum(axis=1))))


def gamma_for(squared, wanted: float, **options) -> float:
    """Return the gamma at which images have so many neighbours in effect, by halving an interval."""
    low, high = np.log([1e-4, 1e4]) - np.log(np.median(squared))
    for _ in range(50):
        middle = (low + high) / 2
        if neighbours_in_effect(squared, np.exp(middle), **options) > wanted:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


def point_sets(numbers: Numbers) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return three sets of points of two classes, in the order of the class: half moons, and blobs near and far."""
    from sklearn.datasets import make_moons

    rng = np.random.default_rng([numbers.seed, 5])
    halves = np.arange(200) % 2
    moons, of_moons = make_moons(200, noise=0.05, random_state=int(rng.integers(1000)))
    blobs = [rng.normal(size=(200, 2)) + apart * halves[:, None] for apart in (6, 1.3)]
    sets = {
        "half moons": (moons, of_moons),
        "blobs far apart": (blobs[0], halves),
        "blobs that overlap": (blobs[1], halves),
    }
    return {name: sets[name] for name in rng.permutation(list(sets)).tolist()}


def q1(answer, numbers):
    """The shares of an image on a path with a dead end."""
    three, seven, branch = numbers.to_three, numbers.to_seven, numbers.branch
    compare.number(
        answer,
        three / (three + seven),
        tolerance=1e-3,
        mistakes={
            "this is the share of the 3: the nearer a label, the more often the walk meets it first.": (
                seven / (three + seven)
            ),
            "the dead end counts here; whoever walks into it comes back, and stands where he stood.": (
                three / (three + seven + branch)
            ),
            "the dead end counts here, and on the side of the 3; whoever walks into it comes back.": (
                (three + branch) / (three + seven + branch)
            ),
            "count the steps to the labelled image, not the images that lie between.": (
                (three - 1) / (three + seven - 2)
            ),
            "a walk may reach the farther label, too: the share is not that of the nearest alone.": float(
                three > seven
            ),
        },
    )


def q2(answer, numbers):
    """Propagation that forgets."""
    rng = checks.fresh()
    leak = numbers.leak
    inputs = [labelled_graph(rng, *shape) for shape in ((9, 2), (16, 3), (25, 4))]
    compare.function(
        answer,
        lambda *graph: leaking(*graph, leak),
        inputs,
        1e-3,
        mistakes={
            "this is the chapter's propagation: nothing is forgotten on the way.": lambda *graph: leaking(*graph, 0.0),
            "what is forgotten is lost here: it is to be replaced by the same share for every class.": (
                lambda weights, given: leaking(weights, given, leak, np.zeros(given.max() + 1))
            ),
            "what is forgotten is replaced by the shares of the given labels, which say who was drawn.": (
                lambda weights, given: leaking(weights, given, leak, np.bincount(given[given >= 0]) / sum(given >= 0))
            ),
            "an image forgets the share 1 - leak here.": lambda *graph: leaking(*graph, 1 - leak),
            "given labels forget, too; they are to stay as they are.": _all_forget(leak),
            "the columns are divided by their sums: an image is to take the mean of its own neighbours.": (
                _by_columns(leak)
            ),
        },
    )


def labelled_graph(rng: np.random.Generator, images: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a symmetric graph in one piece and some labels, more of the first class than of the others."""
    weights = np.triu(rng.random((images, images)) * (rng.random((images, images)) < 0.3), 1)
    weights += np.diag(rng.uniform(0.5, 1, images - 1), 1)  # a path through all of them
    given = np.full(images, -1)
    labels = np.r_[np.arange(classes), 0]
    given[rng.choice(images, len(labels), replace=False)] = labels
    return weights + weights.T, given


def _all_forget(leak: float):
    def shares(weights, given):
        found = leaking(weights, given, leak)
        known, classes = given >= 0, given.max() + 1
        found[known] = (1 - leak) * np.eye(classes)[given[known]] + leak / classes
        return found

    return shares


def _by_columns(leak: float):
    def shares(weights, given):
        known, classes = given >= 0, given.max() + 1
        found = np.eye(classes)[given] * known[:, None]
        walk = (1 - leak) * weights / weights.sum(axis=0)
        system = np.eye(np.sum(~known)) - walk[np.ix_(~known, ~known)]
        found[~known] = np.linalg.solve(system, walk[np.ix_(~known, known)] @ found[known] + leak / classes)
        return found

    return shares


def q3(answer, numbers):
    """What a report of a propagation leaves out."""
    compare.answered(answer)
    if np.shape(answer) != (3,):
        raise compare.WrongAnswer("a list of three shares is asked for.")
    graph, labels, given, answers = propagated(numbers)
    hidden, right = given < 0, answers == labels
    unreached, among_hidden, among_reached = told(graph, labels, given, answers)
    reached = ~unreached_rows(graph, given)
    parts = {
        "without a label": (
            unreached,
            {
                "these are shares of all images; the given ones are reached in any case.": np.mean(~reached),
                "these are the hidden images that were reached.": 1 - unreached,
                "these are the images answered by the class 0: some of them may be zeros.": np.mean(
                    answers[hidden] == 0
                ),
                "not only an image without a labelled neighbour is without a label: labels walk on.": np.mean(
                    graph[np.ix_(hidden, ~hidden)].sum(axis=1) == 0
                ),
            },
        ),
        "right among hidden": (
            among_hidden,
            {"the given labels are scored, too, and these are right by clamping.": np.mean(right)},
        ),
        "right among reached": (
            among_reached,
            {
                "the given labels are scored, too, and these are right by clamping.": np.mean(right[reached]),
                "right answers are divided by all hidden images here.": np.mean((right & reached)[hidden]),
            },
        ),
    }
    for value, (name, (asked, mistakes)) in zip(answer, parts.items(), strict=True):
        try:
            compare.number(value, asked, 2e-3, mistakes)
        except compare.WrongAnswer as wrong:
            raise compare.WrongAnswer(f"{name}: {wrong}") from None


def unreached_rows(graph, given) -> np.ndarray:
    """Return which images lie in a piece of the graph without a given label."""
    pieces = connected_components(graph)[1]
    return ~np.isin(pieces, pieces[given >= 0])


def q4(answer, numbers):
    """An interval for a gain."""
    rng = checks.fresh()
    verdicts = numbers.verdicts
    compare.function(
        answer,
        lambda one, other: interval(one, other, verdicts),
        [paired_draws(rng, draws) for draws in (8, 15, 40)],
        2e-3,
        mistakes={
            "the two methods are taken for independent; they saw the same draws, so subtract first.": (
                lambda one, other: _between(one, other, np.hypot(one.std(ddof=1), other.std(ddof=1)), verdicts)
            ),
            "this is the spread of single draws; the mean of n of them varies less.": lambda one, other: _between(
                one, other, np.std(one - other, ddof=1) * np.sqrt(len(one)), verdicts
            ),
            "the standard deviation is divided by n; a sample's is divided by n - 1.": lambda one, other: _between(
                one, other, np.std(one - other), verdicts
            ),
            "this interval is for one verdict; there are more of them.": lambda one, other: interval(one, other, 1),
            "only one side of the distribution is counted: a gain may also be a loss.": lambda one, other: interval(
                one, other, verdicts / 2
            ),
            "the wrong one is subtracted.": lambda one, other: interval(other, one, verdicts),
            "so few draws have a wider distribution than the normal one: take Student's t.": (
                lambda one, other: _between(one, other, np.std(one - other, ddof=1), verdicts, degrees=np.inf)
            ),
        },
    )


def _between(one, other, spread: float, verdicts: int, degrees: float | None = None) -> np.ndarray:
    bound = student_t.ppf(1 - 0.025 / verdicts, len(one) - 1 if degrees is None else degrees)
    return np.mean(one - other) + bound * spread / np.sqrt(len(one)) * np.array([-1, 1])


q5 = compare.choice("ABCD")


def q6(answer, numbers):
    """The gamma that joins an image to so many others in effect."""
    rng = checks.fresh()
    wanted = numbers.wanted
    inputs = [(_squared(scale * rng.normal(size=(images, 3))),) for images, scale in ((40, 1), (60, 20), (50, 0.1))]

    def unsquared(squared):
        return gamma_for(np.sqrt(squared), wanted)

    compare.function(
        answer,
        lambda squared: gamma_for(squared, wanted),
        inputs,
        5e-3,
        mistakes={
            "an image counts as its own neighbour here, and as its nearest.": (
                lambda squared: gamma_for(squared, wanted, itself=True)
            ),
            "the median image has so many neighbours in effect; the mean is asked for.": (
                lambda squared: gamma_for(squared, wanted, across=np.median)
            ),
            "the distances are rooted before gamma multiplies them; they are squared already, and should stay so.": (
                unsquared
            ),
            "the exponential and the logarithm of the entropy have different bases.": (
                lambda squared: gamma_for(squared, wanted, across=lambda each: np.mean(each ** (1 / np.log(2))))
            ),
            "the mean of the entropies was taken before the exponential.": lambda squared: gamma_for(
                squared, wanted, across=lambda each: np.exp(np.mean(np.log(each)))
            ),
        },
    )


def _squared(points: np.ndarray) -> np.ndarray:
    return np.square(points[:, None] - points).sum(axis=-1)

"""The numbers, given data and checks of the assignment on measuring features."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from scipy.stats import norm
from sklearn.metrics.cluster import contingency_matrix

from helpers import embedding, separability
from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer
from helpers.distances import pairwise_distances

__all__ = ["build_network", "four_maps", "measured", "numbers", "share_itself", "shuffled"]

LETTERS = "ABCD"
KINDS = ("faithful", "tightened", "torn", "glued")


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    first, second = draw.choice([(6, 10), (8, 12), (5, 9), (7, 16), (10, 14)])
    return {
        "shuffles": draw.choice([149, 199, 249, 399]),
        "layers": draw.choice([6, 8, 12, 16, 24]),
        "level": draw.choice([0.05, 0.01, 0.02]),
        "share": draw.choice(["of a cluster", "of a class"]),
        "filters": [first, second],
        "features": draw.choice([24, 32, 48]),
        "groups": draw.choice([3, 4, 5]),
        "kept": draw.choice([6, 8, 12, 15]),
        "confidence": draw.choice([0.9, 0.95, 0.98, 0.99]),
    }


# ---- what the notebook is given


def shuffled(numbers) -> tuple[float, np.ndarray]:
    """Return the goodness of the classes of some features, and its values under shuffled labels."""
    return _shuffled(numbers.class_seed, numbers.shuffles)


def four_maps(numbers) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the classes of 200 images, and four maps of the same features, by letter."""
    _, labels, maps = _maps(numbers.class_seed)
    _, letters = _orders(numbers)
    return labels, {letter: maps[kind] for letter, kind in sorted((letters[kind], kind) for kind in KINDS)}


def measured(numbers) -> tuple[float, list[dict[str, float]]]:
    """Return the silhouette of the features, and the measures of the four maps in the rows' own order."""
    features, labels, maps = _maps(numbers.class_seed)
    rows = []
    for kind in _orders(numbers)[0]:
        quality = embedding.quality(features, maps[kind])
        row = {name: quality[name] for name in ("trustworthiness", "continuity")}
        rows.append(row | {"silhouette": separability.silhouette(maps[kind], labels)})
    return separability.silhouette(features, labels), rows


def share_itself(labels, clusters, numbers) -> float:
    """Return the share of question 2 before chance is taken out: purity or inverse purity, as the class has it."""
    return _hits(labels, clusters, _axis(numbers))


def build_network(numbers):
    """Return a classifier for images of 28 x 28 pixels that stands for a trained one: its weights are no fresh draw."""
    import keras
    from keras import layers

    half = {"strides": 2, "padding": "same", "activation": "relu"}
    network = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(numbers.filters[0], 5, **half, name="conv_1"),
            layers.Conv2D(numbers.filters[1], 3, **half, name="conv_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(numbers.features, activation="relu", name="features"),
            layers.Dense(10, name="classes"),
        ]
    )
    generator = np.random.default_rng([numbers.class_seed, 4])
    network.set_weights([generator.normal(0, 0.2, weights.shape) for weights in network.get_weights()])
    return network


# ---- the questions


def q1(answer, numbers) -> None:
    """Check a p-value, and the number of shuffles that a small one takes."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongAnswer("two numbers are asked for.")
    observed, null = shuffled(numbers)
    reach, shuffles, layers = int(np.sum(null >= observed)), len(null), numbers.layers
    one_in = round(1 / numbers.level)
    _named(
        "p_value",
        answer[0],
        (reach + 1) / (shuffles + 1),
        {
            "the labelling itself is one of the labellings: it must be counted.": reach / shuffles,
            "the labelling itself counts above the line, too.": reach / (shuffles + 1),
            "the labelling itself counts below the line, too.": (reach + 1) / shuffles,
            "this counts the shuffles that do *worse* than the labels.": (shuffles - reach + 1) / (shuffles + 1),
            "only a larger goodness speaks for the classes: do not double.": 2 * (reach + 1) / (shuffles + 1),
        },
    )
    _named(
        "least_shuffles",
        answer[1],
        layers * one_in - 1,
        {
            "the labelling itself is one of those that are counted: one fewer is enough.": layers * one_in,
            "this is enough for one test; there are several.": one_in - 1,
            "this is one too few, or one test too few.": layers * one_in - 2,
        },
    )


def q2(answer, numbers) -> None:
    """Check the purity that has chance taken out."""
    axis = _axis(numbers)
    compare.function(
        answer,
        _above_chance(axis),
        [_groupings(n, k) for n, k in ((40, 5), (60, 25), (90, 12))],
        mistakes={
            "chance is not taken out: this is the share itself.": lambda labels, clusters, orders: _hits(
                labels, clusters, axis
            ),
            "this is the difference from chance; a perfect grouping must come out as 1.": _above_chance(
                axis, scaled=False
            ),
            "labels and clusters are shuffled alike, which leaves every image's pair as it was.": (
                lambda labels, clusters, orders: 0.0
            ),
            "this asks the other side: read again of what the share is taken.": _above_chance(1 - axis),
            "the gain is divided by what chance gives, not by what it leaves.": lambda labels, clusters, orders: (
                _hits(labels, clusters, axis) / _chance(labels, clusters, orders, axis) - 1
            ),
            "chance is the mean over all orders, not the last or the best of them.": lambda labels, clusters, orders: (
                _above_chance(axis)(labels, clusters, orders[-1:])
            ),
        },
    )


def q3(answer, numbers) -> None:
    """Check which map belongs to which row of the table."""
    compare.answered(answer)
    if not isinstance(answer, str) or sorted(answer.upper()) != list(LETTERS):
        raise WrongAnswer("answer with a string of the four letters A, B, C and D, each once: row 1 first.")
    rows, letters = _orders(numbers)
    right = "".join(letters[kind] for kind in rows)
    if answer.upper() == right:
        return
    if answer.upper() == "".join(LETTERS[right.index(letter)] for letter in LETTERS):
        raise WrongAnswer("this lists a row for each map; asked for is a map for each row.")
    sentences = {
        ("torn", "glued"): "trustworthiness asks whether neighbours on the map are true ones, continuity the reverse.",
        ("faithful", "tightened"): "neighbourhoods do not tell these two apart, but gaps do: compare the silhouettes.",
    }
    for (one, another), sentence in sentences.items():
        exchanged = {letters[one]: letters[another], letters[another]: letters[one]}
        if answer.upper() == "".join(exchanged.get(letter, letter) for letter in right):
            raise WrongAnswer(sentence)
    raise WrongAnswer(
        "not all rows have their map: on which maps do classes overlap, and on which is one in two parts?"
    )


def q4(answer, numbers) -> None:
    """Check the untrained twin of a network's features."""
    compare.answered(answer)
    body = build_network(numbers).layers[:-1]
    trained = [weights for layer in body for weights in layer.get_weights()]
    for layer in getattr(answer, "layers", []):
        if any(np.array_equal(one, other) for one in layer.get_weights() for other in trained):
            raise WrongAnswer(f"the layer {layer.name} holds the trained weights: it is no untrained twin.")
    parameters = sum(layer.count_params() for layer in body)
    compare.model(answer, (28, 28, 1), (numbers.features,), parameters)
    ours = [layer for layer in answer.layers if layer.count_params()]
    theirs = [layer for layer in body if layer.count_params()]
    for one, other in zip(ours, theirs, strict=False):
        _compare_layers(one, other)


def q5(answer, numbers) -> None:
    """Check the score of a pipeline in which test images are only asked, never looked at before."""
    compare.function(
        answer,
        _pipeline(numbers),
        [_noise(n, numbers.groups) for n in (60, 80, 110)],
        mistakes={
            "this is the leaky score.": _pipeline(numbers, choose="all", place="all"),
            "the columns are still chosen with the labels of the test images.": _pipeline(numbers, choose="all"),
            "the centres are still means over test images, too.": _pipeline(numbers, place="all"),
            "this is the score on the training images.": _pipeline(numbers, asked="training"),
            "this is the score on all images, those of training among them.": _pipeline(numbers, asked="all"),
        },
    )


def q6(answer, numbers) -> None:
    """Check the half-width of an interval for the difference of two networks on the same images."""
    z = norm.ppf((1 + numbers.confidence) / 2)

    def half_width(hits, others):
        return z * np.std(hits - others, ddof=1) / np.sqrt(len(hits))

    def unpaired(hits, others):
        return z * np.sqrt((np.var(hits, ddof=1) + np.var(others, ddof=1)) / len(hits))

    compare.function(
        answer,
        half_width,
        [_hit_lists(n) for n in (30, 80, 200)],
        mistakes={
            "this is the interval for two separate sets of images; here the same images are asked twice.": unpaired,
            "this is the spread of single images; the mean of n of them is surer by the root of n.": (
                lambda hits, others: half_width(hits, others) * np.sqrt(len(hits))
            ),
            "this is the whole width.": lambda hits, others: 2 * half_width(hits, others),
            "this is the standard error: the factor for the confidence is missing.": (
                lambda hits, others: half_width(hits, others) / z
            ),
            "the confidence leaves out half of the rest on *either* side.": (
                lambda hits, others: half_width(hits, others) / z * norm.ppf(numbers.confidence)
            ),
            "the variance of a sample is divided by n - 1.": lambda hits, others: (
                half_width(hits, others) * np.sqrt(1 - 1 / len(hits))
            ),
            "this is the difference itself.": lambda hits, others: np.mean(hits) - np.mean(others),
        },
    )


# ---- what is right


def _named(name: str, answer, right: float, mistakes: dict[str, float]) -> None:
    with compare.naming(name):
        compare.number(answer, right, tolerance=1e-4 if isinstance(right, float) else 0, mistakes=mistakes)


@lru_cache(maxsize=2)
def _shuffled(class_seed: int, shuffles: int) -> tuple[float, np.ndarray]:
    generator = np.random.default_rng([class_seed, 1])
    labels = np.repeat(np.arange(3), 20)
    while True:
        features = generator.normal(size=(60, 20)) + 0.2 * generator.normal(size=(3, 20))[labels]
        distances = pairwise_distances(features.astype("float32"))
        outcome = separability.permutation_test(distances, labels, permutations=shuffles, method="independent")
        if 3 <= np.sum(outcome.null_distribution >= outcome.statistic) <= 15:
            return outcome.statistic, outcome.null_distribution


@lru_cache(maxsize=2)
def _maps(class_seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return features, classes, and four maps: one true to the features, the others each wrong in one way."""
    generator = np.random.default_rng([class_seed, 3])
    labels = np.repeat(np.arange(4), 50)
    corners = 2.2 * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
    points = corners[labels] + generator.normal(size=(200, 2))
    directions, _ = np.linalg.qr(generator.normal(size=(12, 2)))
    features = points @ directions.T + 0.05 * generator.normal(size=(200, 12))
    first, second = generator.choice(4, 2, replace=False)
    torn, glued = points.copy(), points.copy()
    half = (labels == first) & (generator.random(200) < 0.5)
    torn[half] -= 3.4 * corners[first]  # beyond the opposite class
    glued[labels == second] += corners[first] - corners[second]
    tightened = corners[labels] + 0.35 * (points - corners[labels])
    return features, labels, dict(zip(KINDS, (points, tightened, torn, glued), strict=True))


def _orders(numbers) -> tuple[list[str], dict[str, str]]:
    """Return the kinds of map in the order of the table's rows, and the letter of each."""
    draw = random.Random(f"four maps/{numbers.class_seed}")
    while True:
        rows, letters = draw.sample(KINDS, 4), dict(zip(KINDS, draw.sample(LETTERS, 4), strict=True))
        right = [LETTERS.index(letters[kind]) for kind in rows]
        if any(right[right[place]] != place for place in range(4)):  # or the two ways to read the question agree
            return rows, letters


def _groupings(n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = fresh()
    labels = draw.integers(0, 4, n)
    clusters = np.where(draw.random(n) < 0.6, labels, draw.integers(0, k, n))
    return labels, clusters, draw.permuted(np.tile(np.arange(n), (7, 1)), axis=1)


def _axis(numbers) -> int:
    return 0 if numbers.share == "of a cluster" else 1


def _hits(labels, clusters, axis: int) -> float:
    return contingency_matrix(labels, clusters).max(axis=axis).sum() / len(labels)


def _chance(labels, clusters, orders, axis: int) -> float:
    return float(np.mean([_hits(labels[order], clusters, axis) for order in orders]))


def _above_chance(axis: int, scaled: bool = True):
    def above_chance(labels, clusters, orders):
        chance = _chance(labels, clusters, orders, axis)
        gain = _hits(labels, clusters, axis) - chance
        return gain / (1 - chance) if scaled else gain

    return above_chance


def _compare_layers(one, other) -> None:
    """Compare a layer of the twin with the network's: the same form, and weights as Keras draws them."""
    kernel, bias = other.get_weights()
    if [array.shape for array in one.get_weights()] != [kernel.shape, bias.shape]:
        raise WrongAnswer(f"the layer {one.name} has other weights than {other.name}.")
    for name in ("activation", "strides", "padding"):
        found, asked = one.get_config().get(name), other.get_config().get(name)
        if found != asked:
            raise WrongAnswer(f"the layer {one.name} has {name} {found}, the trained one {asked}.")
    own_kernel, own_bias = one.get_weights()
    field = int(np.prod(kernel.shape[:-2]))
    usual = np.sqrt(2 / (field * (kernel.shape[-2] + kernel.shape[-1])))
    if not 0.7 < own_kernel.std() / usual < 1.4 or np.any(own_bias):
        raise WrongAnswer(f"the weights of the layer {one.name} are not those that Keras draws for a new layer.")


def _noise(n: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = fresh()
    labels = draw.permutation(np.arange(n) % groups)
    features = draw.normal(size=(n, 200))
    features[:, :5] += 0.7 * draw.normal(size=(groups, 5))[labels]  # a little to find, so that scores differ
    return features, labels, draw.permutation(np.arange(n) % 2 == 0)


def _centres(features, labels, groups: int) -> np.ndarray:
    return np.stack([features[labels == group].mean(axis=0) for group in range(groups)])


def _pipeline(numbers, choose: str = "training", place: str = "training", asked: str = "test"):
    def score(features, labels, training):
        parts = {"training": training, "test": ~training, "all": np.ones(len(labels), bool)}
        seen, placed, scored = parts[choose], parts[place], parts[asked]
        spread = _centres(features[seen], labels[seen], numbers.groups).var(axis=0)
        chosen = features[:, np.argsort(spread)[-numbers.kept :]]
        centres = _centres(chosen[placed], labels[placed], numbers.groups)
        squares = np.sum((chosen[scored][:, None] - centres) ** 2, axis=2)
        return np.mean(squares.argmin(axis=1) == labels[scored])

    return score


def _hit_lists(n: int) -> tuple[np.ndarray, np.ndarray]:
    draw = fresh()
    easy = draw.random(n)
    return tuple((easy + draw.normal(0, 0.25, n) > threshold).astype(float) for threshold in (0.4, 0.5))

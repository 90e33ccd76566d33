"""Checks for the assignment of the chapter *Probing Inception-v3*."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer

ROWS = (  # name, kernel, stride, padding, numbers out of it
    ("convolution 1", 3, 2, "valid", 32),
    ("convolution 2", 3, 1, "valid", 32),
    ("convolution 3", 3, 1, "same", 64),
    ("pooling a", 3, 2, "valid", 64),
    ("convolution 4", 1, 1, "valid", 80),
    ("convolution 5", 3, 1, "valid", 192),
    ("pooling b", 3, 2, "valid", 192),
    ("pooling c", 3, 2, "valid", 288),
    ("pooling d", 3, 2, "valid", 768),
)


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    trained, untrained = _study(draw)
    return {
        "size": draw.choice((139, 150, 171, 192, 208, 224, 256, 331)),
        "changed": draw.choice(("convolution 2", "pooling a", "pooling c", "pooling d")),
        "seed": draw.randrange(1000),
        "channels": draw.choice((4, 5, 6, 7)),
        "taps": draw.choice(([1, 3], [2, 3], [1, 4], [2, 4])),
        "least": draw.choice((-1, 0)),
        "weigh": draw.choice(("pair", "class")),
        "trained": trained,
        "untrained": untrained,
        "limit": draw.choice((1.5, 2.0, 2.5, 3.0)),
        "reference": draw.choice((0, 1, 2)),
    }


# ---- question 1


def stage_sizes(size: int, same: tuple = (), pools=("a", "c", "d"), channels=(64, 288, 768), flat=True) -> list[int]:
    """Return how many numbers four stages of Inception-v3 have; the layers named in `same` are padded."""
    found = {}
    for name, kernel, stride, padding, _ in ROWS:
        padded = padding == "same" or name in same
        size = -(-size // stride) if padded else (size - kernel) // stride + 1
        found[name[-1]] = size
    return [found[pool] ** 2 * (deep if flat else 1) for pool, deep in zip(pools, channels, strict=True)] + [2048]


def q1(answer: Any, numbers: SimpleNamespace) -> None:
    """The sizes of four stages, one layer of the network padded."""
    same, every = (numbers.changed,), tuple(row[0] for row in ROWS)
    wrong = {
        "this is the network as it was published: the padding of one layer was changed.": {},
        "this pads every layer, and only one more than before is padded.": {"same": every},
        "the second pooling layer is not among the four stages.": {
            "same": same,
            "pools": ("a", "b", "c"),
            "channels": (64, 192, 288),
        },
        "pools c and d take the maps that come in, with 288 and 768 channels; the blocks' outputs are wider.": {
            "same": same,
            "channels": (64, 768, 1280),
        },
        "these are numbers per channel: every channel of a stage counts.": {"same": same, "flat": False},
    }
    mistakes = {sentence: stage_sizes(numbers.size, **error) for sentence, error in wrong.items()}
    compare.array(answer, stage_sizes(numbers.size, same), 1e-12, mistakes)


# ---- question 2


def tower(numbers: SimpleNamespace):
    """Build a small network with four max-pooling layers, one of them in a branch, and names that mean nothing."""
    import keras
    from keras import layers

    draw, channels = np.random.default_rng(numbers.seed), numbers.channels
    order = draw.permutation(4)
    while np.any(order == np.arange(4)):  # no layer has the name of its place
        order = draw.permutation(4)
    names = [f"pool_{number + 1}" for number in order]
    x = entry = layers.Input((40, 40, 3))
    for stage in range(4):
        x = layers.Conv2D((stage + 1) * channels, 3, padding="same", activation="relu")(x)
        pooled = layers.MaxPooling2D(2, name=names[stage])(x)
        if stage == 2:
            beside = layers.Conv2D(channels, 2, strides=2, activation="relu")(x)
            x = layers.Concatenate()([pooled, beside])
        else:
            x = pooled
    x = layers.Conv2D(5 * channels, 3, padding="same", activation="relu")(x)
    model = keras.Model(entry, x)
    model.set_weights([_weights(draw, weight.shape) for weight in model.weights])
    return model


def _weights(draw: np.random.Generator, shape: tuple) -> np.ndarray:
    width = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) == 4 else 0.1
    return draw.normal(0, width, shape).astype("float32")


def _stages(numbers: SimpleNamespace, images: np.ndarray, least=None, taps=None, by_name=False) -> list[np.ndarray]:
    """Return what the stages should answer to images from 0 to 255, or what they answer after a known error."""
    import keras
    from keras import layers, ops

    network, least, taps = tower(numbers), numbers.least if least is None else least, taps or numbers.taps
    pools = [layer for layer in network.layers if isinstance(layer, layers.MaxPooling2D)]
    if by_name:
        pools.sort(key=lambda pool: pool.name)
    outputs = [*(pools[tap - 1].output for tap in taps), network.output]
    scaled = images if least == 255 else images / 255 * (1 - least) + least
    found = [ops.convert_to_numpy(part) for part in keras.Model(network.input, outputs)(scaled)]
    return [part.reshape(len(part), -1) for part in found[:-1]] + [found[-1].mean(axis=(1, 2))]


def q2(answer: Any, numbers: SimpleNamespace) -> None:
    """Three stages out of one forward pass, from images as they come."""
    outputs_and_shapes(answer, numbers)
    values_of_stages(answer, numbers)


def outputs_and_shapes(answer: Any, numbers: SimpleNamespace) -> None:
    """Three outputs, each a row for each image."""
    compare.model(answer)
    found = [tuple(output.shape[1:]) for output in answer.outputs]
    right = [part.shape[1:] for part in _stages(numbers, np.zeros((1, 40, 40, 3), "float32"))]
    if len(found) != 3:
        raise WrongAnswer(f"the model has {len(found)} output(s), and three stages are asked for.")
    if any(len(shape) != 1 for shape in found):
        raise WrongAnswer(f"the outputs have the shapes {found}: each should have one axis, features.")
    if sorted(found) == sorted(right) and found != right:
        raise WrongAnswer("the three stages are right, but stand in another order.")
    if found != right:
        raise WrongAnswer(
            f"the outputs have {[shape[0] for shape in found]} numbers: not all are the stages asked for."
        )


def values_of_stages(answer: Any, numbers: SimpleNamespace) -> None:
    """The stages see what the network was made for."""
    from keras import ops

    compare.model(answer)
    images = fresh().integers(0, 256, (5, 40, 40, 3)).astype("float32")
    answers = answer(images, training=False)
    found = [ops.convert_to_numpy(part) for part in (answers if isinstance(answers, list | tuple) else [answers])]
    if _equal(found, _stages(numbers, images)):
        return
    mistakes = {
        "the images go in as they come, from 0 to 255: the scaling belongs into the model.": {"least": 255},
        "the images are scaled, but not to the range that this network was made for.": {"least": -1 - numbers.least},
        "the pooling layers were taken by their names, and names say nothing about order.": {"by_name": True},
    }
    for sentence, error in mistakes.items():
        if _equal(found, _stages(numbers, images, **error)):
            raise WrongAnswer(sentence)
    raise WrongAnswer("the stages answer with other numbers than they should: look at their order and at the scaling.")


def _equal(found: list, right: list) -> bool:
    return len(found) == len(right) and all(
        one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())
        for one, other in zip(found, right, strict=True)
    )


# ---- question 3


def crops_of_patches(numbers: SimpleNamespace) -> SimpleNamespace:
    """Cut nine crops out of each of 18 texture patches, and give every patch one of three classes by lot."""
    from helpers import datasets, distances

    draw = np.random.default_rng(numbers.seed)
    corners = [(down, right) for down in (0, 12, 24) for right in (0, 12, 24)]
    textures = datasets.load("textures", size=64, per_class=1, seed=numbers.seed).images[:18]
    images = np.stack([patch[y : y + 40, x : x + 40] for patch in textures for y, x in corners])
    patches = np.repeat(np.arange(18), 9)
    labels = draw.permutation(np.arange(18) % 3)[patches]
    matrix = distances.pairwise_distances(np.sort(images.reshape(len(images), -1), axis=1))
    orders = np.stack([draw.permutation(18) for _ in range(999)])
    return SimpleNamespace(images=images, patches=patches, labels=labels, distances=matrix, orders=orders)


def p_value(numbers: SimpleNamespace, plus=1, strict=False, upper=False, weigh=None, crops=False) -> Callable:
    """Return the permutation test that is asked for, or one with a known error."""
    weigh = weigh or numbers.weigh

    def within(matrix, labels):
        same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
        if weigh == "pair":
            return matrix[same].mean()
        return np.mean([matrix[np.ix_(rows, rows)][same[np.ix_(rows, rows)]].mean() for rows in _rows(labels)])

    def p(matrix, labels, patches, orders):
        of_patch = labels[np.unique(patches, return_index=True)[1]]
        observed, reached = within(matrix, labels), 0
        draw = np.random.default_rng(0)
        for order in orders:
            shuffled = within(matrix, draw.permutation(labels) if crops else of_patch[order][patches])
            outside = shuffled > observed if upper else shuffled < observed
            reached += outside or (not strict and shuffled == observed)
        return (plus + reached) / (plus + len(orders))

    return p


def _rows(labels: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(labels == number) for number in np.unique(labels)]


def labelled_patches(apart: float = 0.35, cases: int = 3) -> list[tuple]:
    """Return distances of crops, classes and patches, and orders of the patches, the given one among them."""
    draw, found = fresh(), []
    for number in range(cases):
        counts = draw.permutation(np.arange(12) % 3 + 2)
        patches = np.repeat(np.arange(12), counts)
        of_patch = draw.permutation(np.array([0] * 3 + [1] * 4 + [2] * 5))
        centres = draw.normal(size=(12, 2)) + apart * number * of_patch[:, None]
        points = centres[patches] + 0.2 * draw.normal(size=(len(patches), 2))
        orders = np.stack([draw.permutation(12) for _ in range(40)])
        orders[[3, 17]] = np.arange(12)
        # multiples of 1/1024 have exact sums in any order: a tie is a tie however a solution adds
        apart_by = np.round(1024 * _distances(points)) / 1024
        found.append((apart_by, of_patch[patches], patches, orders))
    return found


def q3(answer: Any, numbers: SimpleNamespace) -> None:
    """A permutation test that exchanges what is exchangeable."""
    other = {"pair": "class", "class": "pair"}[numbers.weigh]
    mistakes = {
        "the labelling as it is has to count as one of the possible ones, above and below: p can never be 0.": {
            "plus": 0
        },
        "a labelling that gives exactly the observed value reaches it, too.": {"strict": True},
        "classes that are closer than chance have a *small* distance within: this counts the other tail.": {
            "upper": True
        },
        f"here each {other} counts the same, and each {numbers.weigh} should.": {"weigh": other},
        "two things at once: p can be 0, and a tie is not counted.": {"plus": 0, "strict": True},
    }
    wrong = {sentence: p_value(numbers, **error) for sentence, error in mistakes.items()}
    cases = labelled_patches()
    compare.answered(answer)
    try:
        compare.function(answer, p_value(numbers), cases, 1e-9, wrong)
    except WrongAnswer as told:
        if "off by" not in str(told) and "values are" not in str(told):
            raise
        raise WrongAnswer(
            "the p-values are off: look at what is shuffled, and at which pairs are in the mean within."
        ) from None


# ---- question 4


def _study(draw: random.Random) -> tuple[list[float], list[list[float]]]:
    """Draw the goodness at four stages of a trained network and of three untrained ones."""
    kinds = draw.choice((("far", "near", "inside"), ("far", "far", "near"), ("far", "near", "near")))
    kinds = draw.sample([*kinds, "inside"], 4)
    trained, untrained, floor = [], [], 1.08
    for kind in kinds:
        floor += draw.uniform(0.03, 0.06)
        spread = draw.uniform(0.03, 0.05)
        three = [floor, floor + spread, floor + draw.uniform(0.2, 0.8) * spread]
        gap = {"far": draw.uniform(1.5, 2.5), "near": draw.uniform(0.3, 0.7), "inside": -draw.uniform(0.15, 0.3)}[kind]
        trained.append(round(floor + spread + gap * spread, 3))
        untrained.append([round(value, 3) for value in draw.sample(three, 3)])
    return trained, [list(column) for column in zip(*untrained, strict=True)]


def evidence(numbers: SimpleNamespace, rule: str = "far") -> list[int]:
    """Return the stages, from 1, at which training shows; or those that another rule would name."""
    trained, untrained = np.array(numbers.trained), np.array(numbers.untrained)
    above = trained - untrained.max(axis=0)
    kept = {
        "far": above > np.ptp(untrained, axis=0),
        "above": above > 0,
        "mean": trained > untrained.mean(axis=0),
        "rise": np.diff(trained, prepend=1) > 0,
        "best": trained == trained.max(),
    }[rule]
    return [int(stage) for stage in np.flatnonzero(kept) + 1]


def q4(answer: Any, numbers: SimpleNamespace) -> None:
    """The stages at which training shows."""
    compare.answered(answer)
    found = np.asarray(answer)
    if found.ndim != 1 or not set(found.tolist()) <= {1, 2, 3, 4} or len(set(found.tolist())) < found.size:
        raise WrongAnswer("a list of stages is asked for, for example [1, 2, 3, 4], each at most once.")
    stages = sorted(found.tolist())
    if stages == evidence(numbers):
        return
    told = {
        "above": "the trained network must lead *all* untrained ones by more than these differ from each other.",
        "mean": "the trained network must lead *all* untrained ones, not their mean, and by more than they differ.",
        "rise": "a curve that rises is no evidence: look how those of the untrained networks run.",
        "best": "the question is not which stage is best, but where the trained network differs from untrained ones.",
    }
    for rule, sentence in told.items():
        if stages == evidence(numbers, rule):
            raise WrongAnswer(sentence)
    if not set(stages) >= set(evidence(numbers)):
        raise WrongAnswer("at least one stage is missing: compare the lead at each stage with the spread there.")
    raise WrongAnswer("at least one stage is too many: compare the lead at each stage with the spread there.")


# ---- question 5


def standardised(numbers: SimpleNamespace, source="train", limit=True, axis=0) -> Callable:
    """Return the function that standardises, or one with a known error."""

    def standardise(train, test):
        known = {"train": train, "test": test, "both": np.concatenate([train, test])}[source]
        if axis == 1:
            known = test
        mean, width = known.mean(axis=axis, keepdims=True), known.std(axis=axis, keepdims=True)
        found = np.where(width > 0, (test - mean) / np.where(width > 0, width, 1), 0)
        return np.clip(found, -numbers.limit, numbers.limit) if limit else found

    return standardise


def features_of_two_parts() -> list[tuple]:
    """Return features for learning and for scoring; one feature is dead in the first and one in the second part."""
    draw, cases = fresh(), []
    for n, width in ((30, 5), (12, 8)):
        scale, place = draw.uniform(0.1, 20, width), draw.normal(0, 30, width)
        train, test = (place + scale * draw.standard_t(3, (rows, width)) for rows in (n, n // 2))
        train[:, 1], test[:, 2] = 0, place[2]
        cases.append((train, test + scale))
    return cases


def directions(diagonal=False, root=False, half=True) -> Callable:
    """Return the function that counts directions, or one with a known error."""

    def count(matrix):
        rows = np.triu_indices(len(matrix), k=1)
        values = matrix.ravel() if diagonal else matrix[rows]
        ratio = values.mean() / values.std()
        return (ratio if root else ratio**2) / (2 if half else 1)

    return count


def q5(answer: Any, numbers: SimpleNamespace) -> None:
    """Two instruments against concentration."""
    compare.each(answer, numbers, standardised=scaled_features, directions=counted_directions)


def scaled_features(answer: Any, numbers: SimpleNamespace) -> None:
    """Standardised by what is known from the training part."""
    mistakes = {
        "mean and deviation come from the images that are to be scored: only the others may be known.": {
            "source": "test"
        },
        "mean and deviation come from both parts: those that are to be scored must not be known.": {"source": "both"},
        "the values are not cut off yet.": {"limit": False},
        "each image is standardised by itself; each feature should be.": {"axis": 1},
    }
    wrong = {sentence: standardised(numbers, **error) for sentence, error in mistakes.items()}
    compare.function(answer, standardised(numbers), features_of_two_parts(), mistakes=wrong)


def counted_directions(answer: Any, numbers: SimpleNamespace) -> None:
    """How many directions of noise would spread distances as much."""
    mistakes = {
        "the zeros on the diagonal are among the distances: no image is paired with itself.": {"diagonal": True},
        "spread over mean is 1 / sqrt(2 d): solve it for d.": {"root": True},
        "the 2 of 1 / sqrt(2 d) is missing.": {"half": False},
    }
    wrong = {sentence: directions(**error) for sentence, error in mistakes.items()}
    matrices = [(_distances(fresh().normal(size=shape)),) for shape in ((20, 4), (30, 60))]
    compare.function(answer, directions(), matrices, mistakes=wrong)


def _distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points, axis=-1)


# ---- question 6


def clouds(numbers: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Draw three classes in the plane: one narrow, one wide at the same place, one narrow at another place."""
    draw = np.random.default_rng(numbers.seed + 1)
    others = [number for number in range(3) if number != numbers.reference]
    wide, away = draw.permutation(others)
    labels = np.repeat(np.arange(3), 80)
    points = draw.normal(size=(240, 2))
    points[labels == wide] *= 3
    points[labels == away] += (1.6, -0.9)
    return points, labels


def places(numbers: SimpleNamespace, squared=True, unbiased=True, within=True, half=True, root=False) -> Callable:
    """Return the function that measures how far centres lie apart, or one with a known error."""

    def distances(matrix, labels):
        values = matrix**2 if squared else matrix
        rows = _rows(labels)
        inner = [values[np.ix_(r, r)].sum() / (len(r) * (len(r) - (1 if unbiased else 0))) for r in rows]
        here = rows[numbers.reference]
        found = np.array([values[np.ix_(here, r)].mean() for r in rows])
        if within:
            found = found - (0.5 if half else 1) * (np.array(inner) + inner[numbers.reference])
        found[numbers.reference] = 0
        return np.sqrt(np.maximum(found, 0)) if root else found

    return distances


def classes_of_points() -> list[tuple]:
    """Return distances and labels of classes of unequal place, width and size."""
    draw, cases = fresh(), []
    for counts in ((4, 6, 5), (9, 5, 7)):
        labels = draw.permutation(np.repeat(np.arange(3), counts))
        points = draw.normal(size=(len(labels), 3)) * (1 + labels[:, None]) + draw.normal(0, 3, (3, 3))[labels]
        cases.append((_distances(points), labels))
    return cases


def q6(answer: Any, numbers: SimpleNamespace) -> None:
    """How far the centres of classes lie from that of one of them."""
    mistakes = {
        "these are means of the distances, and the formula needs those of the *squared* distances.": {"squared": False},
        "the zeros on the diagonal are in the means within classes: no image is paired with itself.": {
            "unbiased": False
        },
        "the widths of the classes are still in it: take off the means within the two.": {"within": False},
        "of the means within the two classes the half is taken off.": {"half": False},
        "these are distances, and squared distances are asked for, which may be negative.": {"root": True},
    }
    wrong = {sentence: places(numbers, **error) for sentence, error in mistakes.items()}
    compare.function(answer, places(numbers), classes_of_points(), mistakes=wrong)

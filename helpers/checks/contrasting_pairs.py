"""The checks of *Contrasting pairs*."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer

_SHORTEST = 1e-12


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    return {
        "size": draw.choice((20, 24, 28, 32)),
        "channels": draw.choice((6, 8, 10, 12)),
        "dimensions": draw.choice((24, 40, 48, 64)),
        "margin": draw.choice((0.7, 0.8, 0.9, 1.1)),
        "weight": draw.choice((0.25, 0.4, 2.5, 3)),
        "pairs": draw.choice((20, 48, 90, 160)),
        "temperature": draw.choice((0.1, 0.15, 0.25, 0.4)),
        "order": draw.choice(("neighbours", "mirrored")),
        "neither": draw.choice((-1, 2, 5, 9)),
        "networks": draw.sample(range(1, 5), 4),
    }


# ---- question 1


def weights_of_encoder(numbers: SimpleNamespace) -> int:
    """Count the weights of one encoder."""
    channels, dimensions = numbers.channels, numbers.dimensions
    return (9 + 1) * channels + (9 * channels + 1) * 2 * channels + (2 * channels + 1) * dimensions


def q1(answer: Any, numbers: SimpleNamespace) -> None:
    """A Siamese network: two images in, the cosine of their embeddings out."""
    shared_encoder(answer, numbers)
    cosine(answer, numbers)


def shared_encoder(answer: Any, numbers: SimpleNamespace) -> None:
    """Two inputs, one encoder, one number."""
    compare.model(answer)
    if len(answer.inputs) != 2:
        raise WrongAnswer(f"the network has {len(answer.inputs)} input, and two images are to go in.")
    for entry in answer.inputs:
        if tuple(entry.shape[1:]) != (numbers.size, numbers.size, 1):
            raise WrongAnswer(f"an input has the shape {tuple(entry.shape[1:])}: look at the size of the images.")
    compare.model(answer, output_shape=(1,))
    one = weights_of_encoder(numbers)
    if answer.count_params() == 2 * one:
        raise WrongAnswer("each image has an encoder of its own: call one and the same encoder twice.")
    compare.model(answer, parameters=one)


def cosine(answer: Any, numbers: SimpleNamespace) -> None:
    """An image is entirely like itself, and the order does not matter."""
    compare.model(answer)
    if len(answer.inputs) != 2:
        raise WrongAnswer("two images are to go in.")
    draw = fresh()
    one, other = draw.random((2, 16, numbers.size, numbers.size, 1), dtype="float32")
    itself, forth, back = (_predicted(answer, pair) for pair in ((one, one), (one, other), (other, one)))
    if np.allclose(itself, 0, atol=1e-3):
        raise WrongAnswer("an image and itself give 0: that is a distance, and a cosine is asked for.")
    if not np.allclose(itself, 1, atol=1e-3):
        raise WrongAnswer("an image and itself do not give 1: the embeddings still have different lengths.")
    if np.allclose(forth, 1, atol=1e-6):
        raise WrongAnswer("any two images give 1: the output does not depend on what they show.")
    if not np.allclose(forth, back, atol=1e-4):
        raise WrongAnswer("the output changes when the two images are exchanged.")
    encoder_as_described(answer, numbers)


def encoder_as_described(answer: Any, numbers: SimpleNamespace) -> None:
    """With the same weights it answers as an encoder of the three steps does, for one padding or the other."""
    draw, shape = fresh(), (numbers.size, numbers.size, 1)
    pair, kept = draw.normal(size=(2, 6, *shape)).astype("float32"), answer.get_weights()
    # one array for each shape: then the order in which the layers were made does not matter
    weights = {w.shape: draw.normal(0, 0.3, w.shape).astype("float32") for w in kept}
    try:
        answer.set_weights([weights[w.shape] for w in kept])
        found = _predicted(answer, pair)
    finally:
        answer.set_weights(kept)
    for paddings in itertools.product(("valid", "same"), repeat=2):
        described = _encoder(numbers, paddings)
        shapes = [w.shape for w in described.get_weights()]
        if sorted(shapes) != sorted(w.shape for w in kept):
            raise WrongAnswer("the weights have other shapes than those of the encoder described.")
        described.set_weights([weights[shape] for shape in shapes])
        first, second = (_unit(np.array(described.predict_on_batch(images))) for images in pair)
        if np.allclose(found, np.sum(first * second, axis=1), atol=1e-3):
            return
    raise WrongAnswer("it gives a cosine, but of another encoder: go through the three steps again.")


def _encoder(numbers: SimpleNamespace, paddings: tuple[str, str]) -> Any:
    import keras
    from keras import layers

    channels = numbers.channels, 2 * numbers.channels
    stack = [layers.Input((numbers.size, numbers.size, 1))]
    stack += [layers.Conv2D(n, 3, 2, one, activation="relu") for n, one in zip(channels, paddings, strict=True)]
    return keras.Sequential([*stack, layers.GlobalMaxPooling2D(), layers.Dense(numbers.dimensions)])


def _predicted(model: Any, pair: tuple) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(model(list(pair), training=False)).ravel()


# ---- question 2


def margin_loss(
    numbers: SimpleNamespace, one_is_similar=False, unit=True, squared=False, weighted=True, factor=1.0, reduce=np.mean
) -> Callable:
    """Return the loss that is asked for, or one with a known error."""

    def loss(first, second, different):
        first, second = (_unit(part) if unit else part for part in (first, second))
        apart = np.sqrt(np.sum((first - second) ** 2, axis=-1))
        stranger = 1 - different if one_is_similar else different
        near = np.maximum(numbers.margin - (apart**2 if squared else apart), 0) ** 2
        weight = numbers.weight if weighted else 1
        return factor * reduce((1 - stranger) * apart**2 + weight * stranger * near)

    return loss


def pairs_of_embeddings(share: float = 0.5, sizes: tuple = (12, 30)) -> list[tuple]:
    """Return embeddings of pairs at all distances, and whether they are different."""
    draw, batches = fresh(), []
    for n in sizes:
        first = draw.normal(size=(n, 6)) * draw.uniform(0.5, 3, (n, 1))
        second = _unit(first) + draw.normal(size=(n, 6)) * draw.uniform(0.05, 0.6, (n, 1))
        different = (np.arange(n) < share * n).astype("float32")[draw.permutation(n)]
        batches.append((first.astype("float32"), second.astype("float32"), different))
    return batches


def q2(answer: Any, numbers: SimpleNamespace) -> None:
    """The margin loss: its values, and whether a network can be trained with it."""
    values_of_margin_loss(answer, numbers)
    trains_on_equal_pairs(answer)


def trains_on_equal_pairs(answer: Callable) -> None:
    """Train a layer for one step on pairs, some of them equal; only where the function itself is at hand."""
    import keras

    def loss(different, embeddings):
        return answer(embeddings[:, 0], embeddings[:, 1], different[:, 0])

    pairs = fresh().normal(size=(6, 2, 5)).astype("float32")
    pairs[:2] = np.eye(5)[:2, None]  # one-hot, so that no rounding makes the two embeddings differ
    network = keras.Sequential([keras.layers.Input((2, 5)), keras.layers.Dense(4, use_bias=False)])
    network.compile("sgd", loss, run_eagerly=True)  # compiled, rounding may hide that two are equal
    try:
        network.train_on_batch(pairs, np.array([[0], [1]] * 3, "float32"))
    except Exception:
        raise WrongAnswer("the values are right, but no network can learn by it: use `ops`, and no NumPy.") from None
    if not np.isfinite(network.get_weights()[0]).all():
        raise WrongAnswer(
            "the values are right, but a pair of equal embeddings makes every weight NaN: the root has no slope at 0."
        )


def values_of_margin_loss(answer: Any, numbers: SimpleNamespace) -> None:
    """With 1 for different, weighted strangers and no half."""
    mistakes = {
        "it treats 1 as similar, and here 1 means different.": {"one_is_similar": True},
        "the embeddings are still to be brought to length 1.": {"unit": False},
        "the margin is compared with the squared distance, and not with the distance.": {"squared": True},
        "different pairs do not have their weight yet.": {"weighted": False},
        "it has the factor 1/2 of the chapter, which is not asked for here.": {"factor": 0.5},
        "it is a sum over the pairs where a mean is asked for.": {"reduce": np.sum},
    }
    wrong = {sentence: margin_loss(numbers, **error) for sentence, error in mistakes.items()}
    compare.function(answer, margin_loss(numbers), pairs_of_embeddings(), mistakes=wrong)


def equal_strangers(answer: Any, numbers: SimpleNamespace) -> None:
    """Different pairs with equal embeddings miss the whole margin."""
    compare.answered(answer)
    point = np.eye(4, dtype="float32")
    # what keeps the root off 0, such as Keras' epsilon under it, takes up to 1e-3 away here
    compare.number(answer(point, 3 * point, np.ones(4, "float32")), numbers.weight * numbers.margin**2, 2e-3)


# ---- question 3


def nothing_and_ideal(numbers: SimpleNamespace) -> tuple[float, float]:
    """Return the loss of a network that knows nothing, and that of one nearly ideal."""
    strangers = 2 * numbers.pairs - 2
    return math.log(strangers + 1), math.log1p(strangers * math.exp(-1 / numbers.temperature))


def q3(answer: Any, numbers: SimpleNamespace) -> None:
    """Two losses of NT-Xent that can be computed."""
    compare.each(answer, numbers, nothing=loss_of_nothing, ideal=loss_of_ideal)


def loss_of_nothing(answer: Any, numbers: SimpleNamespace) -> None:
    """All embeddings are equal."""
    n = numbers.pairs
    mistakes = {
        "a view never competes with itself: its own row is out of the sum.": math.log(2 * n),
        "the partner is one of the answers, too.": math.log(2 * n - 2),
        "a batch of pairs has twice as many views, and all of them are answers.": math.log(n),
        "a batch of pairs has twice as many views: count them, not the pairs.": math.log(n - 1),
        "this is the number of answers; a loss is the logarithm of it.": 2 * n - 1,
        "take the natural logarithm.": math.log2(2 * n - 1),
        "take the natural logarithm, not that of base 10.": math.log10(2 * n - 1),
    }
    compare.number(answer, nothing_and_ideal(numbers)[0], 1e-4, mistakes)


def loss_of_ideal(answer: Any, numbers: SimpleNamespace) -> None:
    """Partners are equal, strangers at right angles."""
    strangers, sharp = 2 * numbers.pairs - 2, math.exp(-1 / numbers.temperature)
    mistakes = {
        "the temperature is missing: cosines are divided by it.": math.log1p(strangers / math.e),
        "cosines are divided by the temperature, not multiplied by it.": math.log1p(
            strangers * math.exp(-numbers.temperature)
        ),
        "this counts pairs where it should count views.": math.log1p((numbers.pairs - 1) * sharp),
        "a view never competes with itself: its own row is out of the sum.": math.log(2 + strangers * sharp),
        "the sum runs over the strangers and the partner.": math.log(strangers * sharp),
        "at right angles a cosine is 0, and exp(0) is not 0: all strangers together still cost something.": 0.0,
        "strangers are at right angles here, with a cosine of 0, not opposite with -1.": math.log1p(
            strangers * sharp**2
        ),
    }
    if isinstance(answer, int | float) and answer == 0:
        raise WrongAnswer(list(mistakes)[-2])
    compare.number(answer, nothing_and_ideal(numbers)[1], 1e-3, mistakes)


# ---- question 4


def partners(n: int, order: str) -> np.ndarray:
    """Return the row of each view's partner among 2n views."""
    rows = np.arange(2 * n)
    return {"neighbours": rows ^ 1, "mirrored": 2 * n - 1 - rows, "halves": (rows + n) % (2 * n)}[order]


def nt_xent(
    numbers: SimpleNamespace, order=None, own=False, spare=True, alone=False, unit=True, cold=True, reduce=np.mean
) -> Callable:
    """Return NT-Xent for the class's order of views, without false strangers, or one with a known error."""

    def loss(views, groups):
        views = _unit(views) if unit else views
        logits = views @ views.T / numbers.temperature if cold else views @ views.T * numbers.temperature
        rows = np.arange(len(views))
        partner = partners(len(views) // 2, order or numbers.order)
        left_out = groups[:, None] == groups if spare else np.zeros_like(logits, bool)
        left_out[rows, rows], left_out[rows, partner] = not own, alone
        powers = np.where(left_out, 0, np.exp(logits))
        return reduce(np.log(powers.sum(axis=1)) - logits[rows, partner])

    return loss


def batches_of_views(numbers: SimpleNamespace, repeated: bool = True) -> list[tuple]:
    """Return batches of views in the class's order, some pairs of one original where `repeated`."""
    draw, batches = fresh(), []
    for n in (6, 10):
        originals = draw.permutation(100)[:n]
        if repeated:
            originals[n // 2 :] = draw.choice(originals[: n // 2], n - n // 2)
        groups, partner = np.empty(2 * n, int), partners(n, numbers.order)
        first = np.flatnonzero(np.arange(2 * n) < partner)
        groups[first] = groups[partner[first]] = originals
        views = (0.3 * originals[:, None] @ np.ones((1, 5))) % 1 - 0.5
        placed = np.empty((2 * n, 5))
        placed[first] = placed[partner[first]] = views
        batches.append(((placed + draw.normal(size=(2 * n, 5))).astype("float32"), groups))
    return batches


def q4(answer: Any, numbers: SimpleNamespace) -> None:
    """NT-Xent in another order of views, false strangers left out."""
    mistakes = {
        "the partner of row i is not n rows further: look at how the views stand in this batch.": {"order": "halves"},
        "a view's own row is still in the sum: its cosine with itself is 1, and it wins.": {"own": True},
        "false strangers are still in the sum: views of one original belong to one group.": {"spare": False},
        "the partner went out of the sum with its group: it is the right answer, and has to stay.": {"alone": True},
        "the embeddings are still to be brought to length 1.": {"unit": False},
        "cosines are divided by the temperature, not multiplied by it.": {"cold": False},
        "it is a sum over the views where a mean is asked for.": {"reduce": np.sum},
        "own rows and false strangers are still in the sum.": {"own": True, "spare": False},
    }
    wrong = {sentence: nt_xent(numbers, **error) for sentence, error in mistakes.items()}
    compare.function(answer, nt_xent(numbers), batches_of_views(numbers), 1e-3, wrong)


# ---- question 5


def parts_of_pairs(numbers: SimpleNamespace, keep_straddling=False, by_image=False, first_only=False) -> Callable:
    """Return the function that deals pairs into parts, or one with a known error."""

    def parts(pairs, groups, held_out):
        owners = pairs if by_image else groups[pairs]
        held = np.isin(owners, held_out)
        if first_only:
            return held[:, 0].astype(int)
        dealt = np.where(held.all(axis=1), 1, 0)
        return dealt if keep_straddling else np.where(held.any(axis=1) & ~held.all(axis=1), numbers.neither, dealt)

    return parts


def pairs_of_images() -> list[tuple]:
    """Return pairs of images, the original of each image, and the originals that are held out."""
    draw, cases = fresh(), []
    for originals, views, n in ((8, 3, 25), (12, 2, 40)):
        groups = np.repeat(np.arange(originals), views)[draw.permutation(originals * views)]
        alike = np.stack([np.flatnonzero(groups == one)[:2] for one in range(originals)])
        pairs = draw.permutation(np.concatenate([alike, draw.integers(0, len(groups), (n, 2))]))
        cases.append((pairs, groups, draw.permutation(originals)[: originals // 3]))
    return cases


def q5(answer: Any, numbers: SimpleNamespace) -> None:
    """Pairs of which no original stands on both sides."""
    mistakes = {
        "a pair with one image on each side still goes into training: it shows a held-out original.": {
            "keep_straddling": True
        },
        "it looks for the numbers of images among the held-out originals: ask `groups` for the original.": {
            "by_image": True
        },
        "it looks at the first image of each pair only.": {"first_only": True},
    }
    wrong = {sentence: parts_of_pairs(numbers, **error) for sentence, error in mistakes.items()}
    wrong["a pair with one image on each side is put into the test: training may show its other original."] = (
        lambda pairs, groups, held_out: np.isin(groups[pairs], held_out).any(axis=1).astype(int)
    )
    compare.function(answer, parts_of_pairs(numbers), pairs_of_images(), mistakes=wrong)


# ---- question 6


def embeddings(numbers: SimpleNamespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw what four networks might answer to 240 images: an embedding of each of two views, all of length 1.

    Returns
    -------
    dict of tuple
        For ``"network 1"`` to ``"network 4"`` the embeddings of the first and of the second views, each of shape
        (240, 32).
    """
    draw = np.random.default_rng([numbers.class_seed, *numbers.networks])
    places, angle = draw.normal(size=(3, 240, 32)), draw.uniform(0, 2 * np.pi, 240)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ np.linalg.qr(draw.normal(size=(32, 2)))[0].T
    noise = draw.normal(size=(4, 2, 240, 32))
    centre = np.ones(32) / np.sqrt(32)
    found = (
        places[0] + 0.35 * noise[0],
        centre + 1e-4 * noise[1],
        circle + 0.006 * noise[2],
        np.stack([places[1], places[2] - 0.25 * places[1]]) + 0.1 * noise[3],
    )
    by_number = dict(zip(numbers.networks, found, strict=True))
    return {f"network {number}": tuple(map(_unit, by_number[number])) for number in sorted(by_number)}


q6 = compare.choice("ABCD")


def _unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.sqrt(np.sum(embeddings**2, axis=-1, keepdims=True) + _SHORTEST)

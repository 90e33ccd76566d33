"""The numbers, given data and checks of the assignment on variational autoencoders."""

from __future__ import annotations

import math
import random
from functools import lru_cache

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from helpers import datasets
from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer
from helpers.features import forward

__all__ = ["build_judge", "numbers", "posterior", "spent", "strangeness"]


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    side, channels = draw.choice([(28, 1), (32, 3), (48, 1), (64, 3), (20, 3)])
    first, second = draw.choice([(6, 10), (8, 12), (5, 9), (7, 16), (10, 14)])
    return {
        "side": side,
        "channels": channels,
        "dimensions": draw.choice([8, 10, 16, 20]),
        "sigma": draw.choice([0.05, 0.2, 0.25, 0.5]),
        "weight": draw.choice([10, 50, 100, 500]),
        "prior": draw.choice([0.5, 1.5, 2.0, 3.0]),
        "images": draw.choice([400, 600, 900]),
        "deviation": draw.choice([0.2, 0.3, 0.4]),
        "filters": [first, second],
        "kernel": draw.choice([3, 4, 5]),
        "left_out": draw.choice([0, 1, 3, 6, 8, 9]),
        "components": draw.choice([8, 12, 16, 20]),
    }


# ---- what the notebook is given


def posterior(numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return the means and the log variances (images, 16) of an encoder whose dimensions are of four kinds."""
    generator = np.random.default_rng([numbers.class_seed, 3])
    kinds = generator.permutation(np.repeat(np.arange(4), _kinds(numbers)))
    spread = np.array([0.9, 0.2, 0.02, 0.05])[kinds]  # speaks, trembles, is silent, says the same to every image
    offset = np.array([0, 0, 0, 1.3])[kinds] * generator.choice([-1, 1], len(kinds))
    deviation = np.array([0.1, 0.97, 1.0, 0.7])[kinds] * generator.uniform(0.97, 1.03, len(kinds))
    means = offset + spread * generator.normal(size=(numbers.images, len(kinds)))
    log_variances = 2 * np.log(deviation) + generator.normal(0, 0.05, means.shape)
    return means.astype("float32"), log_variances.astype("float32")


def spent(numbers) -> np.ndarray:
    """Return what each dimension of the class's code costs, in nats, as a mean over the images."""
    means, log_variances = posterior(numbers)
    return ((np.square(means) + np.exp(log_variances) - 1 - log_variances) / 2).mean(axis=0)


def build_judge(numbers):
    """Return a discriminator for images of 28 x 28 pixels, its weights drawn for the class."""
    import keras
    from keras import layers

    (first, second), kernel = numbers.filters, numbers.kernel
    half = {"strides": 2, "padding": "same"}
    judge = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(first, kernel, **half, name="conv_1"),  # 14 x 14
            layers.LeakyReLU(negative_slope=0.2, name="relu_1"),
            layers.Conv2D(second, kernel, **half, name="conv_2"),  # 7 x 7
            layers.LeakyReLU(negative_slope=0.2, name="relu_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(1, name="verdict"),
        ]
    )
    generator = np.random.default_rng([numbers.class_seed, 5])
    judge.set_weights([generator.normal(0, 0.3, weights.shape) for weights in judge.get_weights()])
    return judge


def strangeness(numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each test digit its log-likelihood, its distance to five training digits, and whether it is strange.

    The model is PCA read as a density, a linear variational autoencoder. One digit was left out of what it was fitted
    on, and is what should be found.
    """
    return _strangeness(numbers.left_out, numbers.components)


# ---- the questions


def q1(answer, numbers) -> None:
    """Check the weight that hides in two averages, and the noise at which the program would be the bound."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongAnswer("two numbers are asked for.")
    pixels, d = numbers.side**2 * numbers.channels, numbers.dimensions
    right = pixels / (2 * numbers.sigma**2 * numbers.weight * d)
    _named(
        "beta",
        answer[0],
        right,
        {
            "the price is averaged over the dimensions, too, not over the batch alone.": right * d,
            "the average over the dimensions makes the price smaller, not larger.": right * d**2,
            "the error is averaged over the pixels: it must be made up for.": right / pixels,
            "an image has more numbers than places: do not forget the channels.": right / numbers.channels,
            "the weight before the error is missing.": right * numbers.weight,
            "the noise enters by its variance, twice.": right * 2,
            "the noise enters by its variance, not by its deviation.": right * numbers.sigma,
            "the fraction is upside down.": 1 / right,
        },
    )
    sigma = math.sqrt(pixels / (2 * numbers.weight * d))
    _named(
        "honest_sigma",
        answer[1],
        sigma,
        {
            "this is the variance of that noise; asked for is its standard deviation.": sigma**2,
            "the noise enters by its variance, twice.": sigma * math.sqrt(2),
        },
    )


def q2(answer, numbers) -> None:
    """Check the negative bound for binary images and a wider or narrower prior."""
    prior = numbers.prior
    compare.function(
        answer,
        _bound(prior),
        [_outputs(n) for n in (3, 8, 21)],
        mistakes={
            "the price is averaged over the dimensions; it is to be summed over them.": _bound(
                prior, over_dimensions=np.mean
            ),
            "the reconstruction is averaged over the pixels; it is to be summed over them.": _bound(
                prior, over_pixels=np.mean
            ),
            "this is the price under the standard prior; here the prior has another deviation.": _bound(1.0),
            "the encoder's third output is the logarithm of the deviation, and was read as that of the variance.": (
                lambda images, logits, mean, log_deviation: _bound(prior)(images, logits, mean, log_deviation / 2)
            ),
            "the bound is to be made small here, so the price is added, not subtracted.": _bound(prior, sign=-1),
            "this is the bound itself; asked for is its negative.": lambda *given: -_bound(prior)(*given),
            "the divergence is taken the other way round: q comes first, the prior second.": _reversed_bound(prior),
            "the deviation of the prior is read as its variance.": _bound(math.sqrt(prior)),
        },
    )
    try:
        compare.function(answer, _bound(prior), [_outputs(5, strength=60.0)])
    except WrongAnswer as wrong:
        raise WrongAnswer(f"for moderate logits it is right, but for logits of 100 it goes wrong: {wrong}") from None


def q3(answer, numbers) -> None:
    """Check the counts of dimensions and the distance from the prior."""
    if not isinstance(answer, tuple | list) or len(answer) != 4:
        raise WrongAnswer("four numbers are asked for.")
    speaking, trembling, silent, wasted = _kinds(numbers)
    costs, number = spent(numbers), numbers.images
    total = float(costs.sum())
    _named(
        "above",
        answer[0],
        speaking + wasted,
        {
            "these are the active units; asked for are those that cost.": speaking + trembling,
            "dimensions that cost without telling anything cost, too.": speaking,
            "these are the dimensions below the line.": trembling + silent,
        },
    )
    _named(
        "active",
        answer[1],
        speaking + trembling,
        {
            "these are the dimensions that cost; active are those whose mean varies.": speaking + wasted,
            "the threshold is that of the variance, not of the cost.": speaking,
            "these are the dimensions whose mean does not vary.": silent + wasted,
        },
    )
    _named(
        "wasted",
        answer[2],
        wasted,
        {
            "these vary, and cost next to nothing: the other way round is asked for.": trembling,
            "these neither vary nor cost.": silent,
        },
    )
    _named(
        "gap",
        answer[3],
        total - math.log(number),
        {
            "the price is in nats, so the logarithm must be natural.": total - math.log2(number),
            "the price is in nats: take the natural logarithm.": total - math.log10(number),
            "this is the whole price; a part of it may tell which image it was.": total,
            "the price of a code is the sum over its dimensions.": total / len(costs) - math.log(number),
            "this is the most that a code can tell about the image; asked for is what is paid beyond.": math.log(
                number
            ),
        },
    )


q4 = compare.choice("ABCD")


def q5(answer, numbers) -> None:
    """Check the extractor of a discriminator's strongest and mean answers."""
    first, second = numbers.filters
    compare.model(answer, (28, 28, 1), (2 * (first + second),))
    images = fresh().uniform(0, 1, (3, 28, 28, 1)).astype("float32")
    judge = build_judge(numbers)
    after = _answers(judge, images, ("relu_1", "relu_2"))
    before = _answers(judge, images, ("conv_1", "conv_2"))
    pooled = _pooled(after)
    compare.array(
        forward(answer, images),
        pooled,
        tolerance=1e-3,
        mistakes={
            "the answers are taken before their activation.": _pooled(before),
            "for each layer the strongest answers come first, then the means.": _pooled(after, (np.mean, np.max)),
            "all strongest answers stand first here; layer by layer is asked for.": np.concatenate(
                [reduce(maps, axis=(1, 2)) for reduce in (np.max, np.mean) for maps in after], axis=1
            ),
        },
    )


def q6(answer, numbers) -> None:
    """Check by how much the simple rival leads."""
    familiar, distance, strange = strangeness(numbers)
    model, rival = roc_auc_score(strange, -familiar), roc_auc_score(strange, distance)
    compare.number(
        answer,
        rival - model,
        tolerance=1e-2,
        mistakes={
            "a high likelihood means familiar, not strange: turn that score round.": rival - (1 - model),
            "this is the area of the rival alone.": rival,
            "this is the area of the model alone.": model,
            "both scores are turned round.": model - rival,
        },
    )


# ---- what is right


def _kinds(numbers) -> tuple[int, int, int, int]:
    """Return how many of 16 dimensions speak, tremble, are silent, and cost without telling anything."""
    draw = random.Random(f"kinds/{numbers.class_seed}")
    speaking = draw.choice([3, 4, 5])
    trembling, wasted = draw.sample([number for number in (2, 3, 4, 5) if number != speaking], 2)
    return speaking, trembling, 16 - speaking - trembling - wasted, wasted


def _named(name: str, answer, right: float, mistakes: dict[str, float]) -> None:
    with compare.naming(name):
        compare.number(answer, right, tolerance=1e-3 if isinstance(right, float) else 0, mistakes=mistakes)


def _outputs(n: int, strength: float = 1.0) -> tuple:
    draw = fresh()
    images = (draw.random((n, 12)) < 0.4).astype("float32")
    logits = (strength * draw.normal(0, 2, (n, 12))).astype("float32")
    return images, logits, *draw.normal(0, 0.8, (2, n, 5)).astype("float32")


def _bound(prior: float, over_pixels=np.sum, over_dimensions=np.sum, sign: float = 1):
    def bound(images, logits, mean, log_deviation):
        misfit = over_pixels(np.logaddexp(0, logits) - images * logits, axis=1)
        ratio = (np.exp(2 * log_deviation) + mean**2) / prior**2
        price = (ratio - 1) / 2 + math.log(prior) - log_deviation
        return np.mean(misfit + sign * over_dimensions(price, axis=1))

    return bound


def _reversed_bound(prior: float):
    def bound(images, logits, mean, log_deviation):
        misfit = np.sum(np.logaddexp(0, logits) - images * logits, axis=1)
        price = ((prior**2 + mean**2) / np.exp(2 * log_deviation) - 1) / 2 + log_deviation - math.log(prior)
        return np.mean(misfit + np.sum(price, axis=1))

    return bound


def _answers(judge, images, names: tuple[str, ...]) -> list[np.ndarray]:
    import keras

    return [forward(keras.Model(judge.inputs, judge.get_layer(name).output), images) for name in names]


def _pooled(maps: list[np.ndarray], ways=(np.max, np.mean)) -> np.ndarray:
    return np.concatenate([reduce(answers, axis=(1, 2)) for answers in maps for reduce in ways], axis=1)


@lru_cache(maxsize=2)
def _strangeness(left_out: int, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    train, _, test = datasets.load("digits").split(seed=0)
    known, asked = (part.images.reshape(len(part), -1).astype(float) for part in (train, test))
    known = known[train.labels != left_out]
    familiar = PCA(components, svd_solver="full").fit(known).score_samples(asked)
    distances, _ = NearestNeighbors(n_neighbors=5).fit(known).kneighbors(asked)
    return familiar, distances.mean(axis=1), test.labels == left_out

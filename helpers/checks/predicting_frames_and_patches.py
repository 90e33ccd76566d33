"""Checks for the assignment of the chapter *Predicting frames and patches*."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer

PAST, HORIZON = 4, 6


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    return {
        "film": draw.choice((8, 10, 12, 16)),
        "side": draw.choice((48, 56, 64, 72)),
        "kernel": draw.choice((3, 5)),
        "filters": draw.choice((12, 16, 24, 32)),
        "frames": draw.choice((5, 6, 7, 9)),
        "size": draw.choice((16, 20, 24, 28)),
        "limit": draw.choice((14000, 16000, 18000)),
        "error": draw.choice(("squared", "absolute")),
        "counts": draw.choice(("image", "hidden pixel")),
        "speed": draw.choice(([1.0, 2.0], [1.5, 2.5], [2.0, 3.5])),
        "lag": draw.choice((2, 3)),
        "seed": draw.randrange(1000),
        "predictors": draw.sample(range(1, 5), 4),
        "cost": draw.choice((1.2, 1.5, 2.5, 3, 6, 8)),
    }


# ---- question 1


def weights_of_convolution(numbers: SimpleNamespace, bias: bool = True, times: int | None = None) -> int:
    """Count the weights of the three-dimensional convolution; `times` is the length of its kernel."""
    kernel = (times or numbers.kernel) * numbers.kernel**2
    return (3 * kernel + bias) * numbers.filters


def weights_of_head(numbers: SimpleNamespace, same=False, bias=True, time=True, pooled_time=True, channels=3) -> int:
    """Count the weights of the dense head."""
    lost = 0 if same else numbers.kernel - 1
    height, frames = (numbers.side - lost) // 2, numbers.film - (lost if time else 0)
    return (height**2 * (frames // 2 if pooled_time else frames) * numbers.filters + bias) * numbers.side**2 * channels


def q1(answer: Any, numbers: SimpleNamespace) -> None:
    """Two counts: of the convolution and of the dense head."""
    compare.each(answer, numbers, convolution=count_of_convolution, head=count_of_head)


def count_of_convolution(answer: Any, numbers: SimpleNamespace) -> None:
    """The kernel has five axes."""
    kernel, filters = numbers.kernel, numbers.filters
    mistakes = {
        "the biases are missing: each filter has one.": weights_of_convolution(numbers, bias=False),
        "the kernel is a little film: it extends over time, too.": weights_of_convolution(numbers, times=1),
        "the kernel reads all three colours.": (kernel**3 + 1) * filters,
        "this is one filter; count them all.": 3 * kernel**3 + 1,
        "each filter has one bias, not one for each colour.": (kernel**3 + 1) * 3 * filters,
    }
    compare.number(answer, weights_of_convolution(numbers), 1e-12, mistakes)


def count_of_head(answer: Any, numbers: SimpleNamespace) -> None:
    """The dense layer joins every number of the film with every number of the frame."""
    mistakes = {
        "this is what padding 'same' gives, and Keras takes 'valid' when none is given.": {"same": True},
        "the biases are missing: the layer has one for each of its outputs.": {"bias": False},
        "without padding the film becomes shorter, too, not only the frames smaller.": {"time": False},
        "the pooling halves time, too.": {"pooled_time": False},
        "the frame to be drawn has three colours.": {"channels": 1},
    }
    wrong = {sentence: weights_of_head(numbers, **error) for sentence, error in mistakes.items()}
    compare.number(answer, weights_of_head(numbers), 1e-12, wrong)


# ---- question 2


def q2(answer: Any, numbers: SimpleNamespace) -> None:
    """A small network from a film to the next frame."""
    small_enough(answer, numbers)
    sees_the_film(answer, numbers)
    draws_any_number(answer, numbers)


def small_enough(answer: Any, numbers: SimpleNamespace) -> None:
    """Shapes and the number of weights."""
    size = numbers.size
    compare.model(answer, (numbers.frames, size, size, 1), (size, size, 1))
    if answer.count_params() > numbers.limit:
        raise WrongAnswer(f"the network has {answer.count_params():,} weights, more than are allowed.")
    if "Dense" in _kinds(answer):
        raise WrongAnswer("there is a dense layer: it joins every place with every other, and is not allowed here.")


def sees_the_film(answer: Any, numbers: SimpleNamespace) -> None:
    """Every frame matters, and so does their order."""
    compare.model(answer, (numbers.frames, numbers.size, numbers.size, 1))
    film = fresh().random((8, numbers.frames, numbers.size, numbers.size, 1), dtype="float32")
    drawn = _predicted(answer, film)
    for frame in range(numbers.frames):
        covered = film.copy()
        covered[:, frame] = 1 - covered[:, frame]
        if _alike(_predicted(answer, covered), drawn):
            raise WrongAnswer(f"nothing changes when frame {frame + 1} changes: the network does not look at it.")
    order = [*range(1, numbers.frames - 1)]
    mixed = film[:, [0, *order[::-1], numbers.frames - 1]]
    if _alike(_predicted(answer, film[:, ::-1]), drawn) or _alike(_predicted(answer, mixed), drawn):
        raise WrongAnswer("frames may change places without effect: the network cannot know which way things move.")


def draws_any_number(answer: Any, numbers: SimpleNamespace) -> None:
    """The output is linear, as a squared error wants it."""
    compare.model(answer, (numbers.frames, numbers.size, numbers.size, 1))
    film = fresh().random((4, numbers.frames, numbers.size, numbers.size, 1), dtype="float32")
    weighted = [layer for layer in answer.layers if layer.count_params()]
    if not weighted:
        raise WrongAnswer("no layer has weights: there is nothing that could be trained.")
    kept = weighted[-1].get_weights()
    try:
        drawn = []
        for factor in (-1000, 1000):  # whatever came in, a linear layer gets beyond 1 in one sign and the other
            weighted[-1].set_weights([factor * w for w in kept])
            drawn.append(_predicted(answer, film))
    finally:
        weighted[-1].set_weights(kept)
    if np.min(drawn) >= -1 or np.max(drawn) <= 1:
        raise WrongAnswer("the output is squashed: under a squared error the last layer should have no activation.")


def _kinds(layer: Any) -> set[str]:
    return {type(layer).__name__}.union(*(_kinds(inner) for inner in getattr(layer, "layers", ())))


def _predicted(model: Any, film: np.ndarray) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(model(film, training=False))


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max()))


# ---- question 3


def hidden_loss(
    numbers: SimpleNamespace, where="hidden", channels=True, error=None, counts=None, divide="hidden", reduce=True
) -> Callable:
    """Return the loss that is asked for, or one with a known error."""
    error, counts = error or numbers.error, counts or numbers.counts

    def loss(images, drawn, hidden):
        apart = np.abs(drawn - images) if error == "absolute" else (drawn - images) ** 2
        mask = {"hidden": hidden, "seen": 1 - hidden, "all": np.ones_like(hidden)}[where]
        total = np.sum(mask * apart, axis=(1, 2, 3))
        wide = images.shape[-1] if channels else 1
        number = np.sum(mask, axis=(1, 2, 3)) * wide if divide == "hidden" else 0 * total + images[0].size
        if not reduce:
            return np.sum(total)
        if counts == "hidden pixel":
            return np.sum(total) / np.sum(number)
        return np.mean(total[number > 0] / number[number > 0])

    return loss


def images_with_holes(whole: bool = True) -> list[tuple]:
    """Return images, drawings and masks; of one image nothing is hidden where `whole`."""
    draw, cases = fresh(), []
    for n, side in ((4, 8), (7, 12)):
        images, drawn = draw.random((2, n, side, side, 3), dtype="float32")
        drawn += np.linspace(0, 1, n, dtype="float32")[:, None, None, None]
        chances = np.linspace(0 if whole else 0.2, 0.8, n)[:, None, None]
        patches = draw.random((n, side // 4, side // 4)) < chances
        patches[1:, 0, 0], patches[:, 1, 1] = True, False
        patches[0] = np.eye(side // 4, dtype=bool) & (not whole)
        hidden = np.repeat(np.repeat(patches, 4, axis=1), 4, axis=2)[..., None].astype("float32")
        cases.append((images, drawn, hidden))
    return cases


def q3(answer: Any, numbers: SimpleNamespace) -> None:
    """An error on hidden pixels only."""
    other = {"image": "hidden pixel", "hidden pixel": "image"}[numbers.counts]
    mistakes = {
        "it is taken over all pixels, hidden or not: copying what is seen would be paid for.": {
            "where": "all",
            "counts": "image",
        },
        "it is taken over the pixels that are seen.": {"where": "seen"},
        "the sum is right, but it is divided by the number of all pixels, hidden or not.": {
            "divide": "all",
            "counts": "image",
        },
        "the mask has one channel and the images have three: three numbers are hidden in each pixel.": {
            "channels": False
        },
        f"it is the {'absolute' if numbers.error == 'squared' else 'squared'} error, and the other one is asked for.": {
            "error": "absolute" if numbers.error == "squared" else "squared"
        },
        f"here each {other} counts the same, and each {numbers.counts} should.": {"counts": other},
        "it is a sum over the hidden pixels where a mean is asked for.": {"reduce": False},
    }
    wrong = {sentence: hidden_loss(numbers, **error) for sentence, error in mistakes.items()}
    compare.function(answer, hidden_loss(numbers), images_with_holes(), mistakes=wrong)


# ---- question 4


def rivals(numbers: SimpleNamespace, lag=None, backwards=False, peeks=False, late=0, once=False, reduce=np.mean):
    """Return the function that gives the errors of three free rivals, or one with a known error."""
    lag = lag or numbers.lag

    def errors(past, future, train_future, ahead):
        last, before, truth = past[:, -1], past[:, -1 - lag], future[:, ahead - 1 + late]
        step = (before - last if backwards else last - before) / lag
        mean = (future if peeks else train_future)[:, ahead - 1 + late].mean(axis=0)
        drawn = last, last + (1 if once else ahead) * step, mean
        return np.array([reduce((picture - truth) ** 2) for picture in drawn])

    return errors


def films() -> list[tuple]:
    """Return pasts and futures for testing, futures for training, and how many frames ahead to look."""
    draw, cases = fresh(), []
    for n, ahead in ((5, 1), (6, 2), (4, 3)):
        film, train = draw.random((n, 9, 6, 6, 1)), 0.7 * draw.random((8, 4, 6, 6, 1))
        cases.append((film[:, :5], film[:, 5:], train, ahead))
    return cases


def q4(answer: Any, numbers: SimpleNamespace) -> None:
    """The errors of copy, straight line and mean frame."""
    mistakes = {
        "the mean frame is made from the frames that are to be foreseen: a rival may know the training clips only.": {
            "peeks": True
        },
        "the straight line runs backwards in time.": {"backwards": True},
        "the straight line runs backwards, and the mean frame is made from what is to be foreseen.": {
            "backwards": True,
            "peeks": True,
        },
        "the straight line goes one step, however far ahead it should look.": {"once": True},
        "the line goes through the last two frames, and another pair is asked for.": {"lag": 1},
        "the next frame is `future[:, 0]`: this looks one frame too far ahead.": {"late": 1},
        "these are sums of squares where means are asked for.": {"reduce": np.sum},
    }
    wrong = {sentence: rivals(numbers, **error) for sentence, error in mistakes.items()}
    compare.function(answer, rivals(numbers), films(), mistakes=wrong)


# ---- question 5


@functools.cache
def _clips(seed: int, speed: tuple[float, float]):
    from helpers import datasets

    options = {"size": 20, "digit_size": 10, "length": PAST + HORIZON, "clips": 1200}
    train, _, test = datasets.load("moving-digits", speed=speed, seed=seed, **options).split(seed=0)
    return train.clips, test.clips


def four_predictors(numbers: SimpleNamespace) -> dict[str, tuple[float, np.ndarray]]:
    """Fit four linear predictors of the next frame, each in its own way.

    Returns
    -------
    dict of tuple
        For ``"predictor 1"`` to ``"predictor 4"`` the mean squared error that its maker reports, and by how much its
        drawing changes (mean squared change) when each of the four frames that it is given is covered.
    """
    train, test = _clips(numbers.seed, tuple(numbers.speed))
    draw = np.random.default_rng(numbers.seed)
    found = [
        _reported(_window(train), _window(test)),
        _reported(_window(train, late=1), _window(test, late=1)),
        _reported(_mixed(train, draw), _mixed(test, draw)),
        _reported(_still(train), _still(test)),
    ]
    by_number = dict(zip(numbers.predictors, found, strict=True))
    return {f"predictor {number}": by_number[number] for number in sorted(by_number)}


def _window(clips: np.ndarray, late: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return clips[:, late : PAST + late], clips[:, PAST]


def _mixed(clips: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    past, target = _window(clips)
    return np.stack([clip[draw.permutation(PAST)] for clip in past]), target


def _still(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    past, target = _window(clips)
    return past * (np.arange(PAST) == PAST - 1)[:, None, None, None], target


def _reported(train: tuple, test: tuple) -> tuple[float, np.ndarray]:
    from sklearn.linear_model import Ridge

    flat = [part.reshape(len(part), -1) for part in (*train, *test)]
    fitted = Ridge(10.0).fit(flat[0], flat[1])
    drawn, changes = fitted.predict(flat[2]), []
    for frame in range(PAST):
        covered = test[0].copy()
        covered[:, frame] = 0
        changes.append(np.mean((fitted.predict(covered.reshape(len(covered), -1)) - drawn) ** 2))
    return float(np.mean((drawn - flat[3]) ** 2)), np.array(changes)


q5 = compare.choice("ABCD")


# ---- question 6


def squared_best(futures: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Return the picture of the least expected squared error: the mean of the futures, weighted by their chances."""
    return np.tensordot(chances, futures, axes=1)


def uneven_best(level: float) -> Callable:
    """Return the function that draws, in each pixel, a quantile of the futures."""

    def best(futures, chances):
        order = np.argsort(futures, axis=0)
        reached = np.cumsum(np.asarray(chances)[order], axis=0) >= level
        return np.take_along_axis(futures, np.take_along_axis(order, reached.argmax(axis=0)[None], 0), 0)[0]

    return best


def possible_futures() -> list[tuple]:
    """Return several futures of one film, and the chance of each."""
    draw, cases = fresh(), []
    for k, side in ((3, 6), (7, 5), (5, 4)):
        chances = draw.dirichlet(np.full(k, 3.0))
        cases.append((draw.random((k, side, side, 1)), chances))
    return cases


def q6(answer: Any, numbers: SimpleNamespace) -> None:
    """The best drawings under two errors."""
    compare.each(answer, numbers, blurred=best_under_squares, uneven=best_under_costs)


def best_under_squares(answer: Any, numbers: SimpleNamespace) -> None:
    """A weighted mean."""
    mistakes = {
        "the futures have different chances, and here they count the same.": lambda f, p: f.mean(axis=0),
        "this is the likeliest future: sharp, and wrong whenever another one comes.": lambda f, p: f[np.argmax(p)],
        "this is a median: what is the best single number under *squared* errors?": uneven_best(0.5),
    }
    compare.function(answer, squared_best, possible_futures(), mistakes=mistakes)


def best_under_costs(answer: Any, numbers: SimpleNamespace) -> None:
    """A weighted quantile."""
    level = numbers.cost / (1 + numbers.cost)
    mistakes = {
        "this is the median, best where missing ink and needless ink cost the same.": uneven_best(0.5),
        "this leans to the dark side, and missing ink is the dearer error.": uneven_best(1 - level),
        "this is the mean, best under squared errors.": squared_best,
        "this is the likeliest future: look at each pixel by itself.": lambda f, p: f[np.argmax(p)],
        "this is the brightest value of each pixel: needless ink costs something, too.": lambda f, p: f.max(axis=0),
        "this does not weigh the futures by their chances.": lambda f, p: uneven_best(level)(
            f, np.full(len(p), 1 / len(p))
        ),
    }
    compare.function(answer, uneven_best(level), possible_futures(), mistakes=mistakes)

"""The numbers, given data and checks of the assignment on denoising, stacked and residual autoencoders."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from sklearn.decomposition import PCA

from helpers import datasets
from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer

__all__ = ["denoisers", "error_table", "numbers", "spiral"]

NOISES = ("clean", "masking", "gaussian")
RIVALS = ("doing nothing", "mean image", "plain")


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    sizes = draw.choice([(40, 20, 10), (48, 24, 8), (50, 30, 12), (44, 16, 6), (52, 26, 9)])
    return {
        "masked": draw.choice([0.3, 0.35, 0.5, 0.6]),
        "noise": draw.choice([0.4, 0.45, 0.5, 0.6]),
        "components": draw.choice([10, 12, 14, 16, 20]),
        "spoilt_weight": draw.choice([0.7, 0.8, 0.9]),
        "whole_weight": draw.choice([0.1, 0.2, 0.3]),
        "sigma": draw.choice([0.08, 0.1, 0.12, 0.15]),
        "width": draw.choice([20, 24, 28, 40]),
        "blocks": draw.choice([4, 5, 6, 7]),
        "code": draw.choice([6, 8, 10]),
        "sizes": list(sizes),
        "stage_epochs": draw.choice([8, 10, 15, 20]),
        "tuning_epochs": draw.choice([5, 12, 25, 30]),
    }


# ---- what the notebook is given


def denoisers(numbers) -> tuple[dict[str, np.ndarray], dict]:
    """Return the test digits, clean and spoilt, as rows of 64 pixels, and the denoisers, as functions of such rows.

    The best *linear* denoiser is a least-squares fit from spoilt to whole digits: no steps, no learning rate.
    """
    seen, fitted, mean, components = _fitted(numbers.class_seed, numbers.masked, numbers.noise, numbers.components)
    linear = {name: lambda rows, fit=fit: rows @ fit[:-1] + fit[-1] for name, fit in fitted.items()}
    return seen, {
        "doing nothing": lambda rows: rows,
        "mean image": lambda rows: np.broadcast_to(mean, rows.shape),
        "plain": lambda rows: (rows - mean) @ components.T @ components + mean,
        **linear,
    }


def error_table(numbers) -> dict[str, dict[str, float]]:
    """Return the mean squared error per pixel of each denoiser (row) on each kind of test image (column)."""
    seen, all_denoisers = denoisers(numbers)
    return {
        name: {kind: float(np.mean((denoise(seen[kind]) - seen["clean"]) ** 2)) for kind in NOISES}
        for name, denoise in all_denoisers.items()
    }


def spiral(numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return 80 points in the plane, and how probable each is: outer ones more than inner ones, or the other way."""
    generator = np.random.default_rng([numbers.class_seed, 3])
    turn = np.linspace(np.pi / 2, 4 * np.pi, 80)
    angle = turn + generator.uniform(0, 2 * np.pi)
    points = 0.08 * np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1)
    shares = turn ** generator.choice([-2, 2])
    return points, shares / shares.sum()


# ---- the questions


def q1(answer, numbers) -> None:
    """Check two differences in decibels, read from the table."""
    credit, harm = _several(answer, 2)
    table = error_table(numbers)
    ours = table["trained on masking"]
    rivals = {name: table[name]["masking"] for name in RIVALS}
    best = min(rivals, key=rivals.get)
    gains = {name: 10 * np.log10(error / ours["masking"]) for name, error in rivals.items()}
    _named(
        "credit",
        credit,
        gains[best],
        {f"'{name}' is not the strongest rival on masked images.": gains[name] for name in RIVALS if name != best}
        | {
            "a decibel is ten times the logarithm to the base 10 of a ratio of *squared* errors.": 2 * gains[best],
            "the logarithm has the base 10.": gains[best] * np.log(10),
            "the sign is wrong: a gain is positive where the denoiser errs less.": -gains[best],
        },
    )
    loss = 10 * np.log10(ours["gaussian"] / table["plain"]["gaussian"])
    _named(
        "harm",
        harm,
        loss,
        {
            "this compares with doing nothing; asked for is the plain autoencoder.": 10
            * np.log10(ours["gaussian"] / table["doing nothing"]["gaussian"]),
            "the sign is wrong: a harm is positive where the denoiser errs more.": -loss,
            "this is the difference on clean images.": 10 * np.log10(ours["clean"] / table["plain"]["clean"]),
        },
    )


def q2(answer, numbers) -> None:
    """Check the denoising loss that weighs spoilt pixels more."""
    spoilt, whole = numbers.spoilt_weight, numbers.whole_weight
    compare.function(
        answer,
        _emphasis(spoilt, whole),
        [_spoilt(n) for n in (4, 9, 25)],
        mistakes={
            "the copies are compared with what the network saw: the noise is in the target.": _emphasis(
                spoilt, whole, target="seen"
            ),
            "the two weights are exchanged.": _emphasis(whole, spoilt),
            "the pixels that were left alone do not count at all here.": _emphasis(spoilt, 0),
            "the weights do not distinguish spoilt pixels from others.": _emphasis(spoilt, spoilt),
            "without the weights this is the usual denoising loss.": _emphasis(1, 1),
            "the error is averaged over the pixels; it is to be summed over them.": _emphasis(
                spoilt, whole, over_pixels=np.mean
            ),
            "the error is summed over the batch; it is to be averaged over it.": _emphasis(
                spoilt, whole, over_batch=np.sum
            ),
            "what is squared is the weighted difference: the weight must stand outside the square.": _emphasis(
                spoilt**2, whole**2
            ),
        },
    )


def q3(answer, numbers) -> None:
    """Check the slope of the log-density of noisy points."""
    sigma = numbers.sigma
    near = [_cloud(n, 0.5) for n in (3, 8, 20)]
    compare.function(
        answer,
        _slope(sigma),
        near,
        mistakes={
            "this is the step from the noisy point to the best reply; the slope is another multiple of it.": (
                lambda *given: _slope(sigma)(*given) * sigma**2
            ),
            "the step is divided by the deviation; by which power of it?": lambda *given: _slope(sigma)(*given) * sigma,
            "the sign is wrong: uphill is from the noisy point to the reply.": lambda *given: -_slope(sigma)(*given),
            "the points count alike here; they are not equally probable.": lambda noisy, points, shares: _slope(sigma)(
                noisy, points, np.full(len(points), 1 / len(points))
            ),
            "the density is sharper or wider than the noise makes it: look at the factor of 2 in the Gaussian.": (
                lambda *given: _slope(sigma, wider=2)(*given) / 2
            ),
            "this is the best reply itself, not yet a slope.": lambda *given: (
                given[0] + _slope(sigma)(*given) * sigma**2
            ),
        },
    )
    try:
        compare.function(answer, _slope(sigma), [_cloud(6, 0.5, away=60 * sigma)])
    except WrongAnswer as wrong:
        raise WrongAnswer(f"near the data it is right, but far from all points it goes wrong: {wrong}") from None


def q4(answer, numbers) -> None:
    """Check the residual encoder: sizes, what a block does, and how it starts."""
    width, blocks, code = numbers.width, numbers.blocks, numbers.code
    parameters = 65 * width + blocks * (width + 1) * width + (width + 1) * code
    compare.model(answer, (64,), (code,))
    kernels = [layer for layer in answer.layers if getattr(layer, "kernel", None) is not None]
    square = [layer for layer in kernels if tuple(layer.kernel.shape) == (width, width)]
    if len(square) != blocks:
        raise WrongAnswer(
            f"there are {len(square)} layers of {width} x {width} weights, one for each block is asked for."
        )
    compare.model(answer, parameters=parameters)
    _compare_steps(answer, kernels)
    found = np.std([layer.get_weights()[0] for layer in square]) / np.sqrt(2 / width)
    if abs(found - 0.1) > 0.015:
        raise WrongAnswer(
            f"the steps are right, but the branches begin at {found:.2f} times the deviation of a plain layer, "
            "sqrt(2 / width): not at a tenth of it."
        )


def q5(answer, numbers) -> None:
    """Check the weights of the second stage and the epochs of two fair opponents."""
    weights, by_steps, by_updates = _several(answer, 3)
    first, second, _ = numbers.sizes
    stages, tuning = numbers.stage_epochs, numbers.tuning_epochs
    _named(
        "stage_weights",
        weights,
        2 * first * second + first + second,
        {
            "the way back has weights, too.": first * second + second,
            "the biases are missing.": 2 * first * second,
            "the way back ends in more biases than the way there.": 2 * (first * second + second),
            "this is the first stage.": 2 * 64 * first + 64 + first,
        },
    )
    _named(
        "by_steps",
        by_steps,
        3 * stages + tuning,
        {
            "every stage takes steps, not one alone.": stages + tuning,
            "fine-tuning takes steps, too.": 3 * stages,
            "the stages take steps, too.": tuning,
        },
    )
    _named(
        "by_updates",
        by_updates,
        stages + tuning,
        {
            "a step of a stage moves the weights of that stage alone.": 3 * stages + tuning,
            "fine-tuning moves all weights.": stages,
            "in its stage each weight is moved, too.": tuning,
        },
    )


q6 = compare.choice("ABCD")


# ---- what is right


def _several(answer, number: int) -> tuple:
    if not isinstance(answer, tuple | list) or len(answer) != number:
        raise WrongAnswer(f"{number} numbers are asked for.")
    return tuple(answer)


def _named(name: str, answer, right: float, mistakes: dict[str, float]) -> None:
    with compare.naming(name):
        compare.number(answer, right, tolerance=1e-2 if isinstance(right, float) else 0, mistakes=mistakes)


def _spoil(rows: np.ndarray, kind: str, level: float, generator) -> np.ndarray:
    if kind == "gaussian":
        return rows + generator.normal(0, level, rows.shape)
    return np.where(generator.random(rows.shape) < level, 0, rows)


@lru_cache(maxsize=2)
def _fitted(class_seed: int, masked: float, noise: float, components: int) -> tuple:
    generator = np.random.default_rng([class_seed, 1])
    train, _, test = datasets.load("digits").split(seed=0)
    whole, test = (part.images.reshape(len(part), -1).astype(float) for part in (train, test))
    levels, several = {"masking": masked, "gaussian": noise}, np.repeat(whole, 3, axis=0)
    seen = {"clean": test} | {kind: _spoil(test, kind, level, generator) for kind, level in levels.items()}
    fitted = {}
    for kind, level in levels.items():
        rows = np.column_stack([_spoil(several, kind, level, generator), np.ones(len(several))])
        normal = rows.T @ rows + 1e-3 * len(rows) * np.eye(rows.shape[1])
        fitted[f"trained on {kind}"] = np.linalg.solve(normal, rows.T @ several)
    pca = PCA(components, svd_solver="full").fit(whole)
    return seen, fitted, pca.mean_, pca.components_


def _spoilt(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = fresh()
    images, copies = draw.uniform(0.1, 1, (2, n, 20)).astype("float32")
    return images, np.where(draw.random(images.shape) < 0.5, 0, images).astype("float32"), copies


def _emphasis(spoilt: float, whole: float, target: str = "images", over_pixels=np.sum, over_batch=np.mean):
    def loss(images, seen, copies):
        meant = images if target == "images" else seen
        weights = np.where(seen != images, spoilt, whole)
        return over_batch(over_pixels(weights * (copies - meant) ** 2, axis=1))

    return loss


def _cloud(n: int, spread: float, away: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = fresh()
    points, shares = draw.normal(0, 0.1, (15, 2)), draw.uniform(0.1, 1, 15)
    return draw.normal(0, 0.1 * spread, (n, 2)) + away, points, shares / shares.sum()


def _slope(sigma: float, wider: float = 1):
    def slope(noisy, points, shares):
        squares = np.sum((noisy[:, None] - points) ** 2, axis=2)
        closeness = np.log(shares) - wider * squares / (2 * sigma**2)
        weights = np.exp(closeness - closeness.max(axis=1, keepdims=True))
        reply = weights @ points / weights.sum(axis=1, keepdims=True)
        return (reply - noisy) * wider / sigma**2

    return slope


def _relu(values):
    return np.maximum(values, 0)


STEPS = {
    "right": lambda h, kernel, bias: h + _relu(h) @ kernel + bias,
    "these are plain layers: there is no way around them.": lambda h, kernel, bias: _relu(h @ kernel + bias),
    "the ReLU stands after the sum, so that it cuts the way around, too.": lambda h, kernel, bias: _relu(
        h + h @ kernel + bias
    ),
    "the ReLU stands behind the dense layer of the branch; it is to stand before it.": lambda h, kernel, bias: (
        h + _relu(h @ kernel + bias)
    ),
    "the branches have no ReLU: the whole encoder is linear.": lambda h, kernel, bias: h + h @ kernel + bias,
    "there is no way around the layers: the sum is missing.": lambda h, kernel, bias: _relu(h) @ kernel + bias,
}


def _compare_steps(answer, kernels) -> None:
    """Compare what the model computes, with larger weights than those it starts with, so that branches count."""
    import keras

    twin, draw = keras.models.clone_model(answer), fresh()
    weights = [[draw.normal(0, 0.3, array.shape) for array in layer.get_weights()] for layer in kernels]
    for layer, arrays in zip(kernels, weights, strict=True):
        twin.get_layer(layer.name).set_weights(arrays)
    rows = draw.uniform(0, 1, (5, 64))
    found = keras.ops.convert_to_numpy(twin(rows.astype("float32"), training=False))
    outcomes = {told: _followed(rows, weights, step) for told, step in STEPS.items()}
    compare.array(found, outcomes.pop("right"), tolerance=1e-3, mistakes=outcomes)


def _followed(rows, weights, step) -> np.ndarray:
    (into, into_bias), *branches, (out, out_bias) = weights
    h = rows @ into + into_bias
    for kernel, bias in branches:
        h = step(h, kernel, bias)
    return h @ out + out_bias

"""The numbers, given data and checks of the assignment on sparse autoencoders."""

from __future__ import annotations

import random

import numpy as np
from scipy.special import rel_entr

from helpers import codes
from helpers.checks import compare, fresh
from helpers.checks.compare import WrongAnswer
from helpers.features import forward
from helpers.losses import kl_sparsity

__all__ = ["dense_layer", "four_codes", "least_alone", "measured", "numbers"]

LETTERS = "ABCD"


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    image_side, filter_side = draw.choice([(28, 7), (28, 9), (24, 7), (20, 5), (22, 5)])
    return {
        "patch_side": draw.choice([6, 8, 10, 12]),
        "batch": draw.choice([32, 50, 80, 120, 200]),
        "later_batch": draw.choice([16, 128, 256, 512]),
        "weight": draw.choice([2e-5, 5e-5, 1e-4, 3e-4]),
        "rho": draw.choice([0.03, 0.04, 0.06, 0.08]),
        "beta": draw.choice([0.2, 0.5, 1.5, 3.0]),
        "image_side": image_side,
        "filter_side": filter_side,
        "units": draw.choice([12, 16, 20, 24]),
        "strength": draw.choice([0.05, 0.1, 0.25, 0.4]),
        "order": draw.choice([1, 2]),
    }


# ---- what the notebook is given


def four_codes(numbers) -> dict[str, np.ndarray]:
    """Return four codes of 200 images by 40 units, by letter, which share a mean activation and little else."""
    generator = np.random.default_rng([numbers.class_seed, 2])
    share = numbers.rho / 0.9  # of activations that are on, at a strength of 0.9 on average
    n, d = 200, 40
    strength = generator.uniform(0.8, 1, (n, d))
    kinds = {
        "undecided": numbers.rho * generator.uniform(0.8, 1.2, (n, d)),
        "selective": strength * (generator.permuted(_ranks(n, d), axis=0) < share * n),
        "same few": strength * (generator.permutation(d) < share * d),
        "bursts": strength * (generator.permutation(n) < share * n)[:, None],
    }
    kinds = {kind: np.minimum(code * (numbers.rho / code.mean()), 1) for kind, code in kinds.items()}
    _, letters = _orders(numbers)
    return {letter: kinds[kind] for letter, kind in sorted((letters[kind], kind) for kind in kinds)}


def measured(numbers) -> list[dict[str, float]]:
    """Return the measures of the four codes, in the rows' own order."""
    shown, (rows, letters) = four_codes(numbers), _orders(numbers)
    return [_measures(shown[letters[kind]], numbers.rho) for kind in rows]


def dense_layer(numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel (pixels, units) and bias (units,) of a dense layer whose units answer to strokes in patches."""
    generator, side = np.random.default_rng([numbers.class_seed, 4]), numbers.filter_side
    angles, offsets = generator.uniform(0, np.pi, numbers.units), generator.uniform(-0.3, 0.3, numbers.units)
    rows, columns = np.mgrid[-0.5 : 0.5 : side * 1j, -0.5 : 0.5 : side * 1j].reshape(2, -1, 1)
    beside = rows * np.cos(angles) + columns * np.sin(angles) - offsets  # how far a pixel lies from the stroke
    kernel = np.exp(-((beside / 0.15) ** 2)) + generator.normal(0, 0.05, beside.shape)
    kernel = (kernel - kernel.mean(axis=0)) / side
    return kernel.astype("float32"), generator.normal(-0.1, 0.05, numbers.units).astype("float32")


# ---- the questions


def q1(answer, numbers) -> None:
    """Check the equal weight of the chapter's loss, and the weight that keeps it after the new version."""
    equal, later = _two(answer)
    pixels = numbers.patch_side**2
    _named(
        "weight_here",
        equal,
        numbers.weight * pixels * numbers.batch,
        {
            "the penalty is still summed over the batch there, and averaged here.": numbers.weight * pixels,
            "the error is averaged over the pixels there, and summed here.": numbers.weight * numbers.batch,
            "the reductions act the other way: compare the two losses factor by factor.": numbers.weight
            / (pixels * numbers.batch),
        },
    )
    _named(
        "weight_after",
        later,
        numbers.weight * numbers.batch,
        {
            "which batch size must be made up for, the one that the old sum ran over or the new one?": numbers.weight
            * numbers.later_batch,
            "the old weight means another penalty now.": numbers.weight,
            "dividing makes up for a division the wrong way.": numbers.weight / numbers.batch,
        },
    )


def q2(answer, numbers) -> str | None:
    """Check which picture belongs to which row of the table; of the other letter only the form."""
    pictures, alone = _two(answer)
    compare.answered(pictures)
    if not isinstance(pictures, str) or sorted(pictures.upper()) != list(LETTERS):
        raise WrongAnswer("`pictures`: answer with the four letters A, B, C and D, each once, row 1 first.")
    rows, letters = _orders(numbers)
    right = "".join(letters[kind] for kind in rows)
    if pictures.upper() == right:
        compare.choice(LETTERS)(alone, numbers)
        return f"`pictures` looks right; {alone} is noted, and graded later."
    if pictures.upper() == "".join(LETTERS[right.index(letter)] for letter in LETTERS):
        raise WrongAnswer("`pictures` lists a row for each picture; asked for is a picture for each row.")
    confused = {letters["same few"]: letters["bursts"], letters["bursts"]: letters["same few"]}
    if pictures.upper() == "".join(confused.get(letter, letter) for letter in right):
        raise WrongAnswer(
            "Hoyer's measure looks along a row, at one image; lifetime sparsity along a column, at a unit."
        )
    raise WrongAnswer(
        "not all rows have their picture: ask for each picture whether rows, or columns, are mostly dark."
    )


def least_alone(letter, numbers) -> None:
    """Check, when it is graded, which code a penalty on single images charges least."""
    compare.choice(LETTERS)(letter, numbers)
    penalties = {
        name: float(np.mean([kl_sparsity(row[None], numbers.rho) for row in code]))
        for name, code in four_codes(numbers).items()
    }
    if letter != min(penalties, key=penalties.get):
        raise WrongAnswer("of one image the activation is its own mean: a unit that is off, or fully on, costs much.")


def q3(answer, numbers) -> None:
    """Check the loss with the divergence turned round."""
    compare.function(answer, _loss(numbers), [_batch(n) for n in (5, 12, 31)], mistakes=_losses_by_mistake(numbers))
    for constant in (0, 1):
        try:
            compare.function(answer, _loss(numbers), [_batch(9, constant)])
        except WrongAnswer as wrong:
            raise WrongAnswer(f"with a unit that is {constant} on the whole batch it goes wrong: {wrong}") from None


def q4(answer, numbers) -> None:
    """Check the bank of filters whose answers are the strongest of each quarter."""
    side, kernel = numbers.image_side, dense_layer(numbers)[0]
    compare.model(answer, (side, side, 1), (4 * numbers.units,), kernel.size + numbers.units)
    _holds(answer, kernel)
    images = fresh().uniform(0, 1, (3, side, side, 1)).astype("float32")
    maps = _slid(images, numbers)
    quarters = _quarters(maps, np.max)
    mirrored = _slid(images, numbers, kernel.reshape(numbers.filter_side, -1, numbers.units)[::-1, ::-1])
    compare.array(
        forward(answer, images),
        quarters,
        tolerance=1e-3,
        mistakes={
            "this is the mean of each quarter; the strongest answer is asked for.": _quarters(maps, np.mean),
            "the filters are turned by 180 degrees: Keras does not turn them, so neither must you.": _quarters(
                mirrored, np.max
            ),
            "the activation of the dense layer is missing.": _quarters(_slid(images, numbers, relu=False), np.max),
        },
    )


def q5(answer, numbers) -> None:
    """Check the L1 penalty that counts the decoder in."""
    mistakes = {
        "the decoder does not enter: this is the chapter's penalty.": lambda code, kernel: _l1(code, 1, numbers),
        "every unit has the length of its own picture; here one length stands for all.": lambda code, kernel: _l1(
            code, np.linalg.norm(kernel, numbers.order if numbers.order == 1 else None), numbers
        ),
        "this is the squared length: what leaves the code must come back once, not twice.": lambda code, kernel: _l1(
            code, np.linalg.norm(kernel, numbers.order, axis=1) ** 2, numbers
        ),
        "this is another length than the one asked for.": lambda code, kernel: _l1(
            code, np.linalg.norm(kernel, 3 - numbers.order, axis=1), numbers
        ),
        "the penalty is averaged over the units; it is to be summed.": lambda code, kernel: (
            _right_l1(code, kernel, numbers) / code.shape[1]
        ),
        "the weight is missing.": lambda code, kernel: _right_l1(code, kernel, numbers) / numbers.strength,
    }
    inputs = [_code_and_kernel(n) for n in (4, 9, 30)]
    compare.function(answer, lambda code, kernel: _right_l1(code, kernel, numbers), inputs, mistakes=mistakes)


q6 = compare.choice(LETTERS)


# ---- what is right


def _two(answer) -> tuple:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongAnswer("two numbers are asked for.")
    return tuple(answer)


def _named(name: str, answer, right: float, mistakes: dict[str, float]) -> None:
    with compare.naming(name):
        compare.number(answer, right, tolerance=1e-4, mistakes=mistakes)


def _orders(numbers) -> tuple[list[str], dict[str, str]]:
    """Return the kinds of code in the order of the table's rows, and the letter of each."""
    draw = random.Random(f"four codes/{numbers.class_seed}")
    kinds = ["undecided", "selective", "same few", "bursts"]
    while True:
        rows, letters = draw.sample(kinds, 4), dict(zip(kinds, draw.sample(LETTERS, 4), strict=True))
        right = [LETTERS.index(letters[kind]) for kind in rows]
        if any(right[right[place]] != place for place in range(4)):  # or the two ways to read the question agree
            return rows, letters


def _ranks(n: int, d: int) -> np.ndarray:
    return np.tile(np.arange(n)[:, None], (1, d))


def _measures(code: np.ndarray, rho: float) -> dict[str, float]:
    return {
        "mean": code.mean(),
        "KL": _bernoulli(np.full(code.shape[1], rho), code.mean(axis=0)).sum(),
        "Hoyer": codes.hoyer(code),
        "lifetime": codes.lifetime_sparsity(code),
        "dead": codes.dead_units(code),
    }


def _bernoulli(of, against):
    """Return KL(of || against), elementwise; 0 log 0 is 0."""
    of, against = np.asarray(of, float), np.asarray(against, float)
    return rel_entr(of, against) + rel_entr(1 - of, 1 - against)


def _batch(n: int, constant: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = fresh()
    images, copies = draw.uniform(0, 1, (2, n, 16)).astype("float32")
    code = draw.uniform(0.02, 0.4, (n, 6)).astype("float32")
    if constant is not None:
        code[:, 2] = constant
    return images, copies, code


def _squared(images, copies):
    return np.square(copies - images)


def _loss(numbers, over_pixels=np.sum, over_batch=np.mean, over_units=np.sum, weight=None):
    def loss(images, copies, code):
        error = over_batch(over_pixels(_squared(images, copies), axis=1))
        price = over_units(_bernoulli(code.mean(axis=0), numbers.rho))
        return error + (numbers.beta if weight is None else weight) * price

    return loss


def _losses_by_mistake(numbers) -> dict:
    def other_direction(images, copies, code):
        price = _bernoulli(numbers.rho, code.mean(axis=0)).sum()
        return _squared(images, copies).sum(axis=1).mean() + numbers.beta * price

    def each_image(images, copies, code):
        price = _bernoulli(code, numbers.rho).sum(axis=1).mean()
        return _squared(images, copies).sum(axis=1).mean() + numbers.beta * price

    return {
        "this is the chapter's divergence: here the mean activation weighs the logarithms.": other_direction,
        "the divergence is taken image by image; first comes the mean over the batch.": each_image,
        "the squared error is averaged over the pixels; it is to be summed over them.": _loss(
            numbers, over_pixels=np.mean
        ),
        "the squared error is summed over the batch; it is to be averaged over it.": _loss(numbers, over_batch=np.sum),
        "the divergence is averaged over the units; it is to be summed over them.": _loss(numbers, over_units=np.mean),
        "the weight of the penalty is missing.": _loss(numbers, weight=1),
    }


def _holds(model, kernel: np.ndarray) -> None:
    """Ask for the values of the kernel among the model's weights, in whichever order."""
    kernels = [weights for weights in model.get_weights() if weights.size == kernel.size]
    values = np.sort(kernel, axis=None)
    if not any(np.allclose(np.sort(held, axis=None), values, atol=1e-6) for held in kernels):
        raise WrongAnswer("the weights of the dense layer are not in it: set them as the filters' own, unchanged.")


def _slid(images, numbers, kernel=None, relu: bool = True) -> np.ndarray:
    """Apply the dense layer to every patch: (n, places, places, units)."""
    side, (own, bias) = numbers.filter_side, dense_layer(numbers)
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0], (side, side), axis=(1, 2))
    answers = windows.reshape(*windows.shape[:3], -1) @ (own if kernel is None else kernel.reshape(own.shape)) + bias
    return np.maximum(answers, 0) if relu else answers


def _quarters(maps, reduce) -> np.ndarray:
    half = maps.shape[1] // 2
    parts = [maps[:, row : row + half, column : column + half] for row in (0, half) for column in (0, half)]
    return np.concatenate([reduce(part, axis=(1, 2)) for part in parts], axis=1)


def _code_and_kernel(n: int) -> tuple[np.ndarray, np.ndarray]:
    draw = fresh()
    code = np.maximum(draw.normal(0, 1, (n, 7)), 0).astype("float32")
    return code, draw.normal(0, draw.uniform(0.5, 3, (7, 1)), (7, 16)).astype("float32")


def _l1(code, lengths, numbers):
    return numbers.strength * np.mean(np.sum(np.abs(code) * lengths, axis=1))


def _right_l1(code, kernel, numbers):
    return _l1(code, np.linalg.norm(kernel, numbers.order, axis=1), numbers)

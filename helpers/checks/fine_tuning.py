"""Checks for the assignment of the chapter *Fine-tuning*."""

from __future__ import annotations

import random

import numpy as np
from scipy.special import log_softmax

from helpers import checks
from helpers.checks import Numbers, compare

CELLS = ("red cell", "white cell", "platelet")
SCRIPTS = 6  # that extract features, one of which forgets the preprocessing


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    return {
        "seed": draw.randrange(1000),
        "power": draw.choice((0.25, 0.4, 0.5, 0.6, 0.75)),
        "gamma": draw.choice((0.5, 1.5, 2.5, 3.0, 4.0)),
        "side": draw.choice((20, 24, 28)),
        "filters": draw.choice((8, 12, 16)),
        "classes": draw.choice((4, 5, 6, 7)),
        "across": draw.choice(("mean", "median")),
        "epsilon": draw.choice((0.01, 0.02, 0.05, 0.1)),
    }


def tempered_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """Return weights N_c^-power, scaled so that the mean weight of an image is 1."""
    weights = np.asarray(counts, float) ** -power
    return weights * np.sum(counts) / np.sum(counts * weights)


def focal_loss(logits, labels, weights: dict, gamma: float, forgotten: float = 1.0) -> float:
    """Return the focal loss with class weights, as Keras would report it for one batch."""
    log_p = log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    each = np.array([weights.get(int(label), forgotten) for label in labels])
    return float(np.mean(-each * (1 - np.exp(log_p)) ** gamma * log_p))


def confusions(numbers: Numbers) -> dict[str, np.ndarray]:
    """Return two confusion matrices of a class, rows the true classes: without class weights and with them."""
    rng = np.random.default_rng([numbers.seed, 3])
    sizes = rng.integers((210, 110, 70), (260, 140, 100))
    recalls = {
        "nothing": rng.uniform((0.94, 0.72, 0.42), (0.98, 0.80, 0.56)),
        "class weights": rng.uniform((0.82, 0.83, 0.72), (0.89, 0.90, 0.84)),
    }
    to_red = 0.8  # of the mistakes about the two rarer classes
    found = {}
    for name, recall in recalls.items():
        right = np.round(recall * sizes).astype(int)
        missed = sizes - right
        first = np.round(np.array([0.6, to_red, to_red]) * missed).astype(int)
        others = ((1, 2), (0, 2), (0, 1))
        table = np.diag(right)
        for row, (one, other) in enumerate(others):
            table[row, one], table[row, other] = first[row], missed[row] - first[row]
        found[name] = table
    return found


def break_even(tables: dict[str, np.ndarray], axis: int = 1) -> float:
    """Return the share of the first class at which both have the same accuracy, the rest being shared equally."""
    one, other = (np.diag(table) / table.sum(axis=axis) for table in tables.values())
    lost, gained = one[0] - other[0], np.mean(other[1:] - one[1:])
    return float(gained / (lost + gained))


def build_backbone(numbers: Numbers):
    """Return a small residual network with the same random weights at every call, as a Keras model."""
    import keras
    from keras import layers

    def stage(x, number: int, filters: int):
        seeds = [keras.initializers.GlorotUniform(seed=10 * number + place) for place in range(3)]
        name, options = f"stage_{number}", {"padding": "same", "use_bias": False}
        x = layers.Conv2D(filters, 3, 2, kernel_initializer=seeds[0], name=f"{name}_down", **options)(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"{name}_norm")(x))
        added = layers.Conv2D(filters, 3, kernel_initializer=seeds[1], name=f"{name}_conv", **options)(x)
        added = layers.BatchNormalization(name=f"{name}_norm_2")(added)
        return layers.ReLU()(layers.Add()([x, added]))

    images = x = keras.Input((numbers.side, numbers.side, 3))
    for number in (1, 2, 3):
        x = stage(x, number, numbers.filters * 2 ** (number - 1))
    features = layers.GlobalAveragePooling2D(name="penultimate")(x)
    logits = layers.Dense(10, name="old_head")(features)
    return keras.Model(images, logits, name="backbone")


def run_scripts(numbers: Numbers) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return features of training images, and what six scripts extracted from new ones.

    One script forgot to bring the images from [0, 1] to [-1, 1]; another saw few images, another more of one class.
    """
    rng = np.random.default_rng([numbers.seed, 5])
    mixing = rng.normal(size=(20, 40)) / np.sqrt(20)
    offset = np.where(np.arange(40) < 6, -30, rng.normal(0.3, 0.2, 40))  # six units never respond
    means = rng.normal(0, 0.25, (3, 20))

    def features(count: int, shares, prepared: bool = True) -> np.ndarray:
        images = np.clip(means[rng.choice(3, count, p=shares)] + rng.normal(0, 0.4, (count, 20)), -1, 1)
        seen = images if prepared else (images + 1) / 2
        return np.maximum(0, seen @ mixing + offset)

    reference = features(400, (0.5, 0.25, 0.25))
    shares = [(0.5, 0.25, 0.25)] * SCRIPTS
    counts = [200] * SCRIPTS
    forgetful = culprit(numbers)
    counts[(forgetful + 2) % SCRIPTS] = 20
    shares[(forgetful + 4) % SCRIPTS] = (0.2, 0.2, 0.6)
    found = [features(counts[script], shares[script], script != forgetful) for script in range(SCRIPTS)]
    return reference, found


def culprit(numbers: Numbers) -> int:
    """Return the number of the script that forgot the preprocessing."""
    return int(np.random.default_rng([numbers.seed, 6]).integers(SCRIPTS))


def shift(found, reference, across: str = "mean") -> float:
    """Return how far means moved, in standard deviations of each feature that responds at all."""
    spread = np.std(reference, axis=0)
    alive = spread > 0
    moved = np.abs(np.mean(found, axis=0) - np.mean(reference, axis=0))[alive] / spread[alive]
    return float(np.mean(moved) if across == "mean" else np.median(moved))


def folded(gamma, beta, means, variances, sizes, epsilon: float, between: bool = True) -> np.ndarray:
    """Return scale and offset of BatchNormalization with the statistics of all images of all batches."""
    share = np.asarray(sizes)[:, None] / np.sum(sizes)
    mean = np.sum(share * means, axis=0)
    variance = np.sum(share * (variances + between * (means - mean) ** 2), axis=0)
    scale = gamma / np.sqrt(variance + epsilon)
    return np.stack([scale, beta - scale * mean])


def q1(answer, numbers):
    """Weights between none and balanced."""
    rng = checks.fresh()
    inputs = [(rng.integers(5, 900, size),) for size in (2, 3, 6)]
    power = numbers.power
    compare.function(
        answer,
        lambda counts: tempered_weights(counts, power),
        inputs,
        tolerance=1e-6,
        mistakes={
            "these are the chapter's own weights: the power has no effect.": lambda n: n.sum() / (len(n) * n),
            "these have the mean 1 over the classes, but a frequent class has more images to be averaged over.": (
                lambda n: n**-power / np.mean(n**-power)
            ),
            "the weights sum to 1: so the loss would shrink, and with it every step.": (
                lambda n: n**-power / np.sum(n**-power)
            ),
            "these are not scaled yet: what is the mean weight of an image?": lambda n: n**-power,
            "a power of balanced weights has no longer the mean 1: scale once more.": (
                lambda n: (n.sum() / (len(n) * n)) ** power
            ),
            "a frequent class has the larger weight here: that is the wrong way round.": (
                lambda n: tempered_weights(n, -power)
            ),
        },
    )


def q2(answer, numbers):
    """A focal loss with class weights, as Keras would report it."""
    rng = checks.fresh()
    inputs = []
    for count, classes in ((7, 3), (12, 4), (30, 5)):
        labels = np.r_[np.arange(classes), rng.integers(0, classes, count - classes)]
        weights = {label: float(rng.uniform(0.5, 4)) for label in range(classes - 1)}  # the last is forgotten
        inputs.append((2 * rng.normal(size=(count, classes)), labels, weights))
    compare.function(
        answer, lambda *given: focal_loss(*given, numbers.gamma), inputs, 1e-4, _focal_mistakes(numbers.gamma)
    )


def _focal_mistakes(gamma: float) -> dict:
    def by_weights(logits, labels, weights):
        total = sum(weights.get(int(label), 1.0) for label in labels)
        return focal_loss(logits, labels, weights, gamma) * len(labels) / total

    def hard_down(logits, labels, weights):
        log_p = log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        each = np.array([weights.get(int(label), 1.0) for label in labels])
        return float(np.mean(-each * np.exp(gamma * log_p) * log_p))

    return {
        "this is divided by the sum of the weights, which is not what Keras does.": by_weights,
        "images of a class that the dictionary leaves out cost nothing here; Keras does otherwise.": (
            lambda *given: focal_loss(*given, gamma, forgotten=0.0)
        ),
        "the factor turns down the loss of badly named images, and should that of well named ones.": hard_down,
        "this is the plain cross-entropy with weights: the focal factor has no effect.": (
            lambda *given: focal_loss(*given, 0.0)
        ),
        "the class weights have no effect.": lambda logits, labels, weights: focal_loss(logits, labels, {}, gamma),
        "this has another power than that of your class.": lambda *given: focal_loss(*given, 2.0),
    }


def q3(answer, numbers):
    """The share at which two classifiers have the same accuracy."""
    tables = confusions(numbers)
    right = break_even(tables)
    pooled = {
        name: np.array([[table[0, 0], table[0].sum() - table[0, 0]], [table[1:].sum() - _hits(table), _hits(table)]])
        for name, table in tables.items()
    }
    compare.number(
        answer,
        right,
        tolerance=2e-3,
        mistakes={
            "this is the share of the other two classes together.": 1 - right,
            "the white cells and the platelets are pooled here as they are in this test set; the new one has as many "
            "of either.": break_even(pooled),
            "these are shares of columns, and recalls are shares of rows.": break_even(tables, axis=0),
            "each of the other two classes gets the whole rest here.": _whole_rest(tables),
        },
    )


def _hits(table: np.ndarray) -> int:
    return int(np.trace(table) - table[0, 0])


def _whole_rest(tables: dict[str, np.ndarray]) -> float:
    one, other = (np.diag(table) / table.sum(axis=1) for table in tables.values())
    lost, gained = one[0] - other[0], np.sum(other[1:] - one[1:])
    return float(gained / (lost + gained))


def q4(answer, numbers):
    """A network ready to be trained on from the top."""
    filters = 4 * numbers.filters
    whole = build_backbone(numbers)
    head = (filters + 1) * numbers.classes
    old_head = whole.get_layer("old_head").count_params()
    compare.model(answer, (numbers.side, numbers.side, 3), (numbers.classes,))
    found, right = answer.count_params(), whole.count_params() - old_head + head
    if found in (right + old_head, whole.count_params() + 11 * numbers.classes):  # beside the new one, or below it
        raise compare.WrongAnswer("the old head is still there: the new one belongs on the penultimate features.")
    if found != right:
        raise compare.WrongAnswer("the network has other layers than the backbone without its head and a new head.")
    _check_trained(answer, numbers, head)
    _check_start(answer, numbers, whole)


def _check_trained(answer, numbers, head: int) -> None:
    """Compare the number of parameters that training would change."""
    filters = 4 * numbers.filters
    stage, norms = 9 * filters * (filters // 2 + filters), 4 * filters  # two kernels, two offsets and scales
    found = sum(int(np.prod(weight.shape)) for weight in answer.trainable_weights)
    if found == stage + head:
        return
    told = {
        0: "nothing is trained.",
        head: "only the head is trained: the last stage is frozen.",
        stage: "the head is frozen: it would stay at zero.",
        stage + norms + head: "the last stage's BatchNormalization is trained with the rest: it would take its "
        "statistics from small batches.",
    }
    if found > stage + norms + head:
        raise compare.WrongAnswer("more than the last stage and the head is trained.")
    raise compare.WrongAnswer(told.get(found, "another part of the network is trained than what was asked for."))


def _check_start(answer, numbers, whole) -> None:
    """Compare the answers of the untrained head, and the weights that the network had."""
    images = checks.fresh().random((3, numbers.side, numbers.side, 3)).astype("float32")
    if np.any(np.asarray(answer.predict(images, verbose=0))):
        raise compare.WrongAnswer("the new head has an opinion before it was trained: start its kernel at zero.")
    kernels = [np.asarray(weight) for weight in answer.get_weights() if np.ndim(weight) == 4]
    ours = [np.asarray(weight) for weight in whole.get_weights() if np.ndim(weight) == 4]
    if not all(any(one.shape == other.shape and np.allclose(one, other) for one in kernels) for other in ours):
        raise compare.WrongAnswer("the kernels are not the backbone's: reuse its layers rather than build new ones.")


def q5(answer, numbers):
    """A measure of a shift, and the script that it convicts."""
    measure, script = answer if isinstance(answer, list | tuple) and len(answer) == 2 else (answer, 0)
    rng = checks.fresh()
    inputs = []
    for found, reference, units in ((30, 50, 8), (45, 80, 20)):
        means = rng.normal(size=(2, units))
        pair = [
            np.maximum(0, rng.normal(*part))
            for part in ((means[0], 1, (found, units)), (means[1], 2, (reference, units)))
        ]
        for part in pair:
            part[:, :2] = 0  # dead units
        inputs.append(tuple(pair))
    _check_shift(measure, inputs, numbers.across)
    compare.answered(script)
    if isinstance(script, bool) or script not in range(SCRIPTS):
        raise compare.WrongAnswer(f"the measure is right; a script has one of the numbers 0 to {SCRIPTS - 1}.")
    return "this looks right; the number of the script is graded later."


def _check_shift(measure, inputs, across: str) -> None:
    reduce, other = (np.mean, "median") if across == "mean" else (np.median, "mean")

    def with_dead(found, reference):
        moved = np.abs(found.mean(axis=0) - reference.mean(axis=0))
        return reduce(moved / np.maximum(reference.std(axis=0), 1e-8))

    def signed(found, reference):
        alive = reference.std(axis=0) > 0
        return reduce(((found.mean(axis=0) - reference.mean(axis=0))[alive]) / reference.std(axis=0)[alive])

    def by_variance(found, reference):
        alive = reference.std(axis=0) > 0
        return reduce(np.abs(found.mean(axis=0) - reference.mean(axis=0))[alive] / reference.var(axis=0)[alive])

    def one_length(found, reference):
        apart = found.mean(axis=0) - reference.mean(axis=0)
        return np.linalg.norm(apart) / np.sqrt(np.sum(reference.var(axis=0)))

    compare.function(
        measure,
        lambda found, reference: shift(found, reference, across),
        inputs,
        mistakes={
            f"across features, your class takes the {across}.": lambda found, reference: shift(found, reference, other),
            "this is the chapter's measure, in which a loud feature counts more than a quiet one.": one_length,
            "units that never respond are counted as features that did not move.": with_dead,
            "features that moved up and features that moved down cancel out here.": signed,
            "this is in units of the variance, which depends on the unit that features are measured in.": by_variance,
            "the spread is that of the new features; a script that went wrong would set its own measure.": (
                lambda found, reference: shift(reference, found, across)
            ),
        },
    )


def q6(answer, numbers):
    """BatchNormalization with statistics of all images."""
    epsilon = numbers.epsilon
    compare.function(
        answer,
        lambda *given: folded(*given, epsilon),
        [batch_statistics(checks.fresh(), *shape) for shape in ((3, 4), (5, 2), (4, 7))],
        tolerance=1e-5,
        mistakes={
            "this averages the variances: that the batches' means differ is lost.": (
                lambda *given: folded(*given, epsilon, between=False)
            ),
            "small batches and large ones count the same here.": lambda gamma, beta, means, variances, sizes: folded(
                gamma, beta, means, variances, np.ones(len(sizes)), epsilon
            ),
            "small batches and large ones count the same here, and the batches' means do not enter the variance.": (
                lambda gamma, beta, means, variances, sizes: folded(
                    gamma, beta, means, variances, np.ones(len(sizes)), epsilon, between=False
                )
            ),
            "epsilon is missing.": lambda *given: folded(*given, 0.0),
            "epsilon has the value that Keras takes, not that of your class.": lambda *given: folded(*given, 1e-3),
            "the offset forgets that the mean is subtracted before the scale is applied.": lambda *given: np.stack(
                [folded(*given, epsilon)[0], given[1]]
            ),
            "the offset subtracts the mean itself; what is subtracted was scaled, too.": lambda *given: np.stack(
                [folded(*given, epsilon)[0], given[1] - np.average(given[2], axis=0, weights=given[4])]
            ),
        },
    )


def batch_statistics(rng: np.random.Generator, batches: int, channels: int) -> tuple:
    """Draw a scale and an offset, and the means, variances and sizes of batches whose means lie apart."""
    return (
        rng.uniform(0.5, 2, channels),
        rng.normal(size=channels),
        2 * rng.normal(size=(batches, channels)),
        rng.uniform(0.01, 1, (batches, channels)),
        rng.choice(np.arange(8, 60), batches, replace=False),
    )

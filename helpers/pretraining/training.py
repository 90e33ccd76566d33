"""Supervised by formula: a network learns which formula an image came from, within a given time.

The way is the plain one: cross-entropy with a little label smoothing, AdamW, a learning rate that warms up and then
falls along a cosine *of the time spent*, so that it reaches zero when the time is up, whatever the machine's speed.
Auxiliary heads (as in the original Inception, Szegedy et al. 2015, https://doi.org/10.1109/CVPR.2015.7298594) give
the early stages a signal of their own, which a short training needs. The weights that are kept are a moving average,
and the statistics of BatchNormalization are measured anew for them.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from ..backbones import batch_normalizations, measure_statistics
from ..runtime import replace_file

__all__ = ["Progress", "Recipe", "Trainer", "augment", "classifier", "learning_rate"]


@dataclass(frozen=True)
class Recipe:
    """What decides a training, apart from the network and the images.

    Attributes
    ----------
    seconds : float
        The time for all of the training, pauses included.
    size : int
        Height and width of the crops that the network sees.
    batch_size : int
    peak : float
        The largest learning rate.
    warm_up : int
        Steps until it is reached.
    weight_decay : float
        Of kernels; biases and offsets are not pulled to zero.
    label_smoothing : float
    auxiliary : float
        Weight of each auxiliary head's loss, against 1 for the last head.
    averaging : float
        Momentum of the moving average of the weights.
    seed : int
    """

    seconds: float
    size: int = 107
    batch_size: int = 32
    peak: float = 7e-4
    warm_up: int = 100
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    auxiliary: float = 0.3
    averaging: float = 0.99
    seed: int = 0


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0
    seconds: float = 0.0


def learning_rate(recipe: Recipe, progress: Progress) -> float:
    """Return the learning rate of the next step: a warm-up by steps times a cosine by time.

    Examples
    --------
    >>> recipe = Recipe(seconds=100, peak=1.0, warm_up=0)
    >>> [round(learning_rate(recipe, Progress(9, seconds)), 2) for seconds in (0, 50, 100, 200)]
    [1.0, 0.5, 0.0, 0.0]
    """
    warm = min(1.0, (progress.step + 1) / max(recipe.warm_up, 1))
    spent = min(progress.seconds / recipe.seconds, 1.0)
    return recipe.peak * warm * 0.5 * (1 + math.cos(math.pi * spent))


# The network and its loss


def classifier(backbone, n_categories: int, momentum: float = 0.9):
    """Put a head of categories on a network, and one on each stage in the middle of it.

    Parameters
    ----------
    backbone : Backbone
        Of two stages or more; its model shares its weights with the classifier. The first stage gets no head:
        edges name no category.
    n_categories : int
    momentum : float
        Set on every BatchNormalization. Keras' 0.99 needs some 500 steps before inference is right.

    Returns
    -------
    keras.Model
        Images (n, h, w, 3) in [0, 1] to logits (n, heads, n_categories); the last head is the network's own.
    """
    for layer in batch_normalizations(backbone.model):
        layer.momentum = momentum
    heads = []
    for number, stage in enumerate(backbone.model.outputs[1:]):
        features = pooled(backbone.model, stage, number)
        # Pooled activations are all positive: centred, they let the head learn at the body's rate. Rows of length 1
        # keep a step of Adam from moving the logits by d times the learning rate, which is 2 for d = 2,048.
        centred = layers.BatchNormalization(
            momentum=momentum, center=False, scale=False, dtype="float32", name=f"head_{number}_centre"
        )(features)
        short = layers.Rescaling(features.shape[-1] ** -0.5, dtype="float32", name=f"head_{number}_scale")(centred)
        logits = layers.Dense(n_categories, kernel_initializer="zeros", dtype="float32", name=f"head_{number}")(short)
        heads.append(layers.Reshape((1, n_categories), dtype="float32", name=f"head_{number}_row")(logits))
    stacked = layers.Concatenate(axis=1, dtype="float32", name="heads")(heads) if len(heads) > 1 else heads[0]
    return keras.Model(backbone.model.inputs, stacked, name="classifier")


def pooled(model, stage, number: int):
    """Return the channel means of a stage, of its map and not of the flattened row where it has one."""
    flattened = [layer for layer in model.layers if layer.output is stage and isinstance(layer, layers.Flatten)]
    if not flattened:
        return stage
    return layers.GlobalAveragePooling2D(name=f"head_{number}_pool")(flattened[0].input)


class HeadsLoss(keras.losses.Loss):
    """Mean over the batch of the weighted sum of the heads' cross-entropies."""

    def __init__(self, auxiliary: float, label_smoothing: float):
        super().__init__(name="heads_loss")
        self.auxiliary = auxiliary
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        heads, n_categories = y_pred.shape[1:]
        target = ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), n_categories)
        target = target * (1 - self.label_smoothing) + self.label_smoothing / n_categories
        entropies = -ops.sum(target[:, None] * ops.log_softmax(y_pred, axis=-1), axis=-1)  # (n, heads)
        weights = np.full(heads, self.auxiliary, np.float32)
        weights[-1] = 1
        return ops.sum(entropies * ops.convert_to_tensor(weights), axis=-1)


def last_head_accuracy(y_true, y_pred):
    """Return for each image whether the network's own head names its category."""
    found = ops.argmax(y_pred[:, -1], axis=-1)
    return ops.cast(ops.equal(found, ops.cast(ops.reshape(y_true, (-1,)), found.dtype)), "float32")


# Augmentation


def augment(images, mirrored, size: int, random: np.random.Generator):
    """Turn, zoom and crop images and vary their colours, on the back-end's device.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, s, s, 3)
    mirrored : ndarray of bool, shape (n,)
        Whether an image may be mirrored and turned by quarters as well.
    size : int
        Of the crop, at most s.
    random : numpy.random.Generator

    Returns
    -------
    tensor of float32, shape (n, size, size, 3)
        Values in [0, 1].
    """
    n, side = images.shape[:2]
    transform = _transforms(n, side, size, mirrored, random)
    pixels = ops.cast(ops.convert_to_tensor(images), "float32") / 255  # bytes travel to the device
    crops = ops.image.affine_transform(pixels, transform, interpolation="bilinear", fill_mode="reflect")
    crops = crops[:, :size, :size]
    contrast = random.uniform(0.7, 1.3, (n, 1, 1, 1)).astype(np.float32)
    tint = (1 + random.normal(0, 0.08, (n, 1, 1, 3))).astype(np.float32)
    brightness = random.uniform(-0.12, 0.12, (n, 1, 1, 1)).astype(np.float32)
    saturation = np.where(random.uniform(size=(n, 1, 1, 1)) < 0.2, 0, random.uniform(0.6, 1.2, (n, 1, 1, 1)))
    grey = ops.mean(crops, axis=-1, keepdims=True)
    crops = grey + (crops - grey) * saturation.astype(np.float32)
    return ops.clip((crops - 0.5) * contrast * tint + 0.5 + brightness, 0.0, 1.0)


def _transforms(n: int, side: int, size: int, mirrored, random) -> np.ndarray:
    """Draw maps from the crop's pixels to the image's, in the eight numbers that Keras takes."""
    angle = random.normal(0, np.deg2rad(6), n) + np.where(mirrored, random.integers(4, size=n) * np.pi / 2, 0)
    zoom = np.exp(random.uniform(np.log(0.75), np.log(side / size), n))  # image pixels per crop pixel
    flip = np.where(mirrored & random.integers(0, 2, n).astype(bool), -1.0, 1.0)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    slack = np.maximum(side - zoom * size, 0) / 2
    centre = (side - 1) / 2 + random.uniform(-1, 1, (2, n)) * slack
    middle = (size - 1) / 2
    matrix = np.stack([flip * cosine, -sine, flip * sine, cosine])
    x = centre[0] - middle * (matrix[0] + matrix[1])
    y = centre[1] - middle * (matrix[2] + matrix[3])
    zeros = np.zeros(n)
    return np.stack([matrix[0], matrix[1], x, matrix[2], matrix[3], y, zeros, zeros], -1).astype(np.float32)


# Training


class Trainer:
    """Trains a classifier on a pool of images until the time is up; stops and goes on where it was.

    Every draw depends on the seed and the number of the step alone, and a checkpoint holds the weights, the
    optimiser's state, their moving average and the time spent. A training that was interrupted right after a
    checkpoint thus ends with the same weights, number for number, as one that was not.

    Parameters
    ----------
    model : keras.Model
        From `classifier`.
    pool : array of uint8, shape (categories, images, s, s, 3)
        A memory map will do.
    mirrored : array_like of bool, shape (categories,)
    recipe : Recipe
    folder : Path
        For ``state.npz``; while a file ``pause`` lies there, the training waits between two steps.
    clock : callable
        Returns seconds.
    report : callable
        Takes lines of text.
    """

    def __init__(self, model, pool, mirrored, recipe: Recipe, folder: Path, clock=time.monotonic, report=print):
        if recipe.size > pool.shape[2]:
            raise ValueError(f"A crop of {recipe.size} pixels does not fit images of {pool.shape[2]}: ask for less.")
        self.model, self.pool, self.recipe, self.folder = model, pool, recipe, Path(folder)
        self.mirrored = np.asarray(mirrored, bool)
        self.clock, self.report = clock, report
        self.progress = Progress()
        self._order = (-1, None)
        self._compile()

    def _compile(self) -> None:
        recipe = self.recipe
        optimizer = keras.optimizers.AdamW(
            recipe.peak, weight_decay=recipe.weight_decay, use_ema=True, ema_momentum=recipe.averaging, clipnorm=5.0
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        optimizer.build(self.model.trainable_variables)
        loss = HeadsLoss(recipe.auxiliary, recipe.label_smoothing)
        self.model.compile(optimizer, loss, metrics=[last_head_accuracy], jit_compile=_compiles_better())

    # state

    @property
    def state(self) -> list:
        """The variables that a checkpoint holds, in order."""
        return [*self.model.weights, *self.model.optimizer.variables]

    def save(self) -> None:
        """Write ``state.npz`` in one step."""
        arrays = {f"variable_{i}": ops.convert_to_numpy(variable) for i, variable in enumerate(self.state)}
        arrays["progress"] = np.array(json.dumps(asdict(self.progress)))
        replace_file(self.folder / "state.npz", lambda stream: np.savez(stream, **arrays))

    def restore(self) -> bool:
        """Read ``state.npz`` if there is one, and say whether there was.

        Raises
        ------
        ValueError
            If it belongs to another network.
        """
        path = self.folder / "state.npz"
        if not path.exists():
            return False
        with np.load(path, allow_pickle=False) as stored:
            arrays = [stored[f"variable_{i}"] for i in range(len(stored.files) - 1)]
            progress = json.loads(str(stored["progress"]))
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in self.state]:
            raise ValueError(f"{path.name} is a checkpoint of another network: give another folder.")
        for variable, array in zip(self.state, arrays, strict=True):
            variable.assign(array)
        self.progress = Progress(**progress)
        return True

    # steps

    def batch(self, step: int):
        """Return the images and categories of one step."""
        images, recipe = self.pool.shape[0] * self.pool.shape[1], self.recipe
        place = (step * recipe.batch_size + np.arange(recipe.batch_size)) % (images - images % recipe.batch_size)
        epoch = step * recipe.batch_size // (images - images % recipe.batch_size)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([recipe.seed, 1, epoch]).permutation(images)
        category, image = np.divmod(self._order[1][place], self.pool.shape[1])
        random = np.random.default_rng([recipe.seed, 2, step])
        chosen = self.pool[category, image]
        return augment(chosen, self.mirrored[category], recipe.size, random), category.astype(np.int32)

    def run(self, steps: int | None = None, seconds: float | None = None, save_every: float = 300.0) -> bool:
        """Train until the recipe's time is up, or for so many steps or seconds more; end with a checkpoint.

        Returns
        -------
        bool
            Whether the training has come to its end.
        """
        began = self.clock() - self.progress.seconds
        stop_step = np.inf if steps is None else self.progress.step + steps
        stop_time = np.inf if seconds is None else self.progress.seconds + seconds
        saved = shown = self.progress.seconds
        shown_step, sums = self.progress.step, np.zeros(2)
        while self.progress.seconds < min(self.recipe.seconds, stop_time) and self.progress.step < stop_step:
            self._wait()
            sums += self._step()
            self.progress = Progress(self.progress.step + 1, self.clock() - began)
            if self.progress.seconds - shown > 15:
                steps = self.progress.step - shown_step
                self._show(*(sums / steps), steps * self.recipe.batch_size / (self.progress.seconds - shown))
                shown, shown_step, sums = self.progress.seconds, self.progress.step, np.zeros(2)
            if self.progress.seconds - saved > save_every:
                self.save()
                saved = self.progress.seconds
        self.save()
        return self.progress.seconds >= self.recipe.seconds

    def _wait(self) -> None:
        while (self.folder / "pause").exists():
            time.sleep(0.5)

    def _step(self) -> np.ndarray:
        """Take one step; return the loss and the accuracy of its batch."""
        self.model.optimizer.learning_rate = learning_rate(self.recipe, self.progress)
        self.model.reset_metrics()
        images, category = self.batch(self.progress.step)
        return np.array(self.model.train_on_batch(images, category), float)

    def _show(self, loss: float, accuracy: float, rate: float) -> None:
        images = self.progress.step * self.recipe.batch_size
        self.report(
            f"{self.progress.seconds:7.0f} s · {images:9,} images · loss {loss:.3f} · accuracy {accuracy:.3f} · "
            f"{rate:.0f} images/s"
        )

    def finish(self, batches: int = 30) -> None:
        """Put the averaged weights into the network, and measure BatchNormalization's statistics for them.

        Averaged weights never saw the statistics that were gathered along the way, which belong to other weights.
        """
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        steps = range(self.progress.step, self.progress.step + batches)
        measure_statistics(self.model, (self.batch(step)[0] for step in steps))


def _compiles_better():
    from ..runtime import device

    return "auto" if device().startswith("GPU") or keras.backend.backend() == "jax" else False

"""Train a network on images made by formulas, within a given time.

The way is the plain one: AdamW, and a learning rate that warms up and then falls along a cosine *of the time spent*,
so that it reaches zero when the time is up, whatever the machine's speed. The weights that are kept are a moving
average, and the statistics of BatchNormalization are measured anew for them. `objectives` says what is learned.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..backbones import measure_statistics
from ..runtime import replace_file
from .objectives import OBJECTIVES

__all__ = ["Progress", "Recipe", "Trainer", "augment", "learning_rate"]


@dataclass(frozen=True)
class Recipe:
    """What decides a training, apart from the network and the images.

    Attributes
    ----------
    seconds : float
        The time for all of the training, pauses included.
    objective : {'formulas', 'views', 'formulas-and-views'}
        One of `objectives.OBJECTIVES`.
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
        Of the objective that names formulas.
    temperature : float
        Of those that find views.
    auxiliary : float
        Weight of each auxiliary head's loss, against 1 for the last head.
    averaging : float
        Momentum of the moving average of the weights.
    seed : int
    """

    seconds: float
    objective: str = "formulas"
    size: int = 107
    batch_size: int = 32
    peak: float = 7e-4
    warm_up: int = 100
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    temperature: float = 0.2
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
    """Trains a network on a pool of images until the time is up; stops and goes on where it was.

    Every draw depends on the seed and the number of the step alone, and a checkpoint holds the weights, the
    optimiser's state, their moving average and the time spent. A training that was interrupted right after a
    checkpoint thus ends with the same weights, number for number, as one that was not, if the clock says the same: the
    learning rate follows the time spent.

    Parameters
    ----------
    model : keras.Model
        From `objectives.network_with_heads`, with the recipe's objective.
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
        if recipe.batch_size > pool.shape[0] * pool.shape[1]:
            raise ValueError(
                f"A batch of {recipe.batch_size} does not fit a pool of {pool.shape[0] * pool.shape[1]} images: "
                f"ask for a smaller batch, or for more images."
            )
        self.model, self.pool, self.recipe, self.folder = model, pool, recipe, Path(folder)
        self.mirrored = np.asarray(mirrored, bool)
        self.objective = OBJECTIVES[recipe.objective]
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
        loss, metric = self.objective.loss(recipe), self.objective.metric
        self.model.compile(optimizer, loss, metrics=[metric], jit_compile=_compiles_better())

    # state

    @property
    def state(self) -> list:
        """The variables that a checkpoint holds, in order."""
        return [*self.model.weights, *self.model.optimizer.variables]

    def save(self) -> None:
        """Write ``state.npz`` in one step."""
        arrays = {f"variable_{i}": ops.convert_to_numpy(variable) for i, variable in enumerate(self.state)}
        told = {"progress": asdict(self.progress), "recipe": asdict(self.recipe)}
        arrays["told"] = np.array(json.dumps(told))
        replace_file(self.folder / "state.npz", lambda stream: np.savez(stream, **arrays))

    def restore(self) -> bool:
        """Read ``state.npz`` if there is one, and say whether there was.

        Raises
        ------
        ValueError
            If it belongs to another network or recipe. The time alone may be another.
        """
        path = self.folder / "state.npz"
        if not path.exists():
            return False
        with np.load(path, allow_pickle=False) as stored:
            arrays = [stored[f"variable_{i}"] for i in range(len(stored.files) - 1)]
            told = json.loads(str(stored["told"]))
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in self.state]:
            raise ValueError(f"{path.name} is a checkpoint of another network: give another folder.")
        ours = asdict(self.recipe)
        if other := [name for name in ours if name != "seconds" and told["recipe"].get(name) != ours[name]]:
            raise ValueError(
                f"{path.name} was trained with another {', '.join(other)}: give the same, or another folder."
            )
        for variable, array in zip(self.state, arrays, strict=True):
            variable.assign(array)
        self.progress = Progress(**told["progress"])
        return True

    # steps

    def batch(self, step: int):
        """Return the images of one step, view after view, and their targets."""
        images, recipe = self.pool.shape[0] * self.pool.shape[1], self.recipe
        place = (step * recipe.batch_size + np.arange(recipe.batch_size)) % (images - images % recipe.batch_size)
        epoch = step * recipe.batch_size // (images - images % recipe.batch_size)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([recipe.seed, 1, epoch]).permutation(images)
        category, image = np.divmod(self._order[1][place], self.pool.shape[1])
        random = np.random.default_rng([recipe.seed, 2, step])
        chosen, mirrored = self.pool[category, image], self.mirrored[category]
        views = [augment(chosen, mirrored, recipe.size, random) for _ in range(self.objective.views)]
        target = category if self.objective.by_category else np.arange(len(chosen))
        return ops.concatenate(views), np.tile(target, len(views)).astype(np.int32)

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
        """Take one step; return the loss of its batch, and the share that the objective's metric finds right."""
        self.model.optimizer.learning_rate = learning_rate(self.recipe, self.progress)
        self.model.reset_metrics()
        return np.array(self.model.train_on_batch(*self.batch(self.progress.step)), float)

    def _show(self, loss: float, right: float, rate: float) -> None:
        images = self.progress.step * self.recipe.batch_size
        self.report(
            f"{self.progress.seconds:7.0f} s · {images:9,} images · loss {loss:.3f} · right {right:.3f} · "
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

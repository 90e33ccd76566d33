"""Fine-tuning on few, imbalanced images: class weights, a frozen trunk that is computed once, and a trained top.

The chapter *fine-tuning* builds this step by step and says why; the chapter *clustering-features* needs the same
networks again, for several seeds. Nothing here is unsupervised: labels train the network.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import keras
import numpy as np
from keras import layers, ops
from sklearn.utils.class_weight import compute_class_weight

from . import weights as stored
from .backbones import Backbone, batch_normalizations, measure_statistics
from .features import forward
from .validation import check_choice, check_images, check_labels, check_number, check_regular, check_whole

__all__ = ["FineTuned", "calibrate", "check_class_weights", "class_weights", "cut", "fine_tune", "unfreeze"]


# Class weights


def class_weights(labels, class_names: Sequence[str]) -> dict[int, float]:
    """Return a weight for each class that gives all classes the same say in a loss: w_c = N / (K N_c).

    N images of K classes, N_c of them of class c. The weights of all images sum to N, so that the loss keeps its
    scale. Keras takes the dictionary as it is: ``model.fit(..., class_weight=class_weights(...))``. It multiplies the
    loss of each image by the weight of its class, sums over the batch, and divides by the *number* of images in the
    batch, not by the sum of their weights: a batch with many images of a rare class takes a longer step.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Of the training split, and of no other.
    class_names : sequence of str
        The classes that `labels` number, from 0.

    Returns
    -------
    dict of int to float

    Raises
    ------
    ValueError
        If a class has no image, or a label has no class.

    References
    ----------
    King and Zeng (2001), Logistic regression in rare events data,
    https://doi.org/10.1093/oxfordjournals.pan.a004868 (which led scikit-learn to what it calls "balanced")

    Examples
    --------
    >>> class_weights([0, 0, 1, 2], ["red cell", "white cell", "platelet"])
    {0: 0.6666666666666666, 1: 1.3333333333333333, 2: 1.3333333333333333}
    """
    labels = check_labels(labels, at_least=1)
    classes = np.arange(len(class_names))
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f"`labels` lie in {labels.min()} to {labels.max()}, but {len(classes)} class names allow 0 to "
            f"{len(classes) - 1}."
        )
    missing = [str(class_names[number]) for number in np.setdiff1d(classes, labels)]
    if missing:
        raise ValueError(
            f"The training split holds no image of class {', '.join(map(repr, missing))}: "
            f"split so that every class has its share, or leave that class out."
        )
    return dict(enumerate(compute_class_weight("balanced", classes=classes, y=labels).tolist()))


def check_class_weights(weights: Mapping[int, float], class_names: Sequence[str]) -> dict[int, float]:
    """Return class weights that name every class once and no other, which Keras does not check.

    Keras gives a class without a weight the weight 1, and takes no notice of a weight without a class.

    Raises
    ------
    ValueError
        If they are no dictionary, a class has no weight, a weight has no class, or a weight is not a number above 0.
    """
    numbered = ", ".join(f"{number}: {name}" for number, name in enumerate(class_names))
    if not isinstance(weights, Mapping):
        raise ValueError(f"The class weights are {weights!r}: give a dictionary, with one for each of {numbered}.")
    strangers = [key for key in weights if isinstance(key, bool) or key not in range(len(class_names))]
    if strangers:
        raise ValueError(f"The class weights name class {strangers[0]!r}, but there are these classes: {numbered}.")
    missing = [name for number, name in enumerate(class_names) if number not in weights]
    if missing:
        raise ValueError(f"The class weights leave out {missing[0]!r}: give one for each of {numbered}.")
    return {
        number: check_number(weights[number], f"weight of {name!r}", 0, strictly=True)
        for number, name in enumerate(class_names)
    }


# Trunk and top


def cut(backbone: Backbone, stage: str) -> tuple[keras.Model, keras.Model]:
    """Cut a network where a stage ends, into a trunk to compute once and a top to train.

    What is frozen gives every image the same map in every epoch and for every seed. Computed once, it costs one
    forward pass, and a step of training costs no more than the top does.

    The trunk shares its layers with the backbone: fit it never, and leave its ``trainable`` alone. The top is a copy
    with the backbone's weights, a new one at every call: what fits it changes neither the backbone nor another top.

    Parameters
    ----------
    backbone : Backbone
    stage : str
        The last stage of the trunk. At the very last one the top only takes the mean over the pixels.

    Returns
    -------
    trunk : keras.Model
        Images (n, h, w, c) in [0, 1] to the map (n, h', w', d) of which the stage is the mean (in Inception-v3, but
        for its last stage, the map laid flat).
    top : keras.Model
        That map to the features (n, d') of the last stage.

    Raises
    ------
    ValueError
        If the stage is unknown, or what follows takes other maps as well.
    """
    place = backbone.stages.index(check_choice(stage, backbone.stages, "stage"))
    inputs, outputs = backbone.model.inputs, backbone.model.outputs
    ending = next(layer for layer in backbone.model.layers if layer.output is outputs[place])
    trunk = keras.Model(inputs, ending.input, name=f"{backbone.name}_trunk")
    shared = _between(ending.input, outputs[-1], f"{backbone.name}_top")
    if shared is None:
        raise ValueError(
            f"{backbone.name} cannot be cut at {stage!r}, for what follows takes other maps too: cut at another stage."
        )
    return trunk, _copy(shared)


def _between(start, end, name: str) -> keras.Model | None:
    """Return the layers between two tensors as a network, or None where they need another tensor as well."""
    try:
        model = keras.Model(start, end, name=name)
    except ValueError:
        return None
    # Keras 3.13 notices only in use that the images are needed too
    return model if sum(isinstance(layer, layers.InputLayer) for layer in model.layers) == 1 else None


def unfreeze(model: keras.Model, batch_normalization: bool = False) -> None:
    """Make a network trainable, but for BatchNormalization, which stays as it is in inference. Then compile it.

    In Keras 3 ``trainable = False`` does two things to a BatchNormalization: its offset and scale (beta, gamma) are
    not trained, and it normalises by its moving means and variances, in ``fit`` too, and leaves them alone. Otherwise
    a fit on few images replaces statistics of many by those of a few batches, and the network that is evaluated
    (moving statistics) is another one than the network that was trained (the batch's own).

    Parameters
    ----------
    model : keras.Model
        Not a trunk, which shares its layers.
    batch_normalization : bool
        Whether to train BatchNormalization too.
    """
    model.trainable = True
    for layer in batch_normalizations(model):
        layer.trainable = batch_normalization


def calibrate(network: Backbone | keras.Model, images, *, batch_size: int = 256, seed: int = 0):
    """Measure the means and variances of BatchNormalization anew, on images without labels; train nothing.

    It mends a network whose weights moved while its running statistics lagged behind, or that gets other images than
    it was trained on. Whether it helps is to be measured: a deep network with random weights, whose statistics are as
    built, 0 and 1, is nearly linear, and a linear probe may read *less* from it once every layer is normalised.

    The images are drawn into batches at random. In order they might hold one class to a batch, and a batch is
    normalised by its own statistics while it is measured. The means and variances of the batches are averaged; with
    one batch they are those of the images. Wu and Johnson, who call such statistics precise, add the variance of the
    batches' means, which is left out here: in batches drawn at random it is about the share 1 / `batch_size` of what
    images differ in. What goes into a later layer was normalised by the layers before it.

    Parameters
    ----------
    network : Backbone or keras.Model
        Changed in place.
    images : array_like of float, shape (n, h, w, c)
        In [0, 1] for a backbone; whatever the network takes for another network.
    batch_size : int
        At most so many images in a batch; it bounds the memory. Batches are as equal in size as can be.
    seed : int
        Draws the batches.

    Returns
    -------
    Backbone or keras.Model
        The same network; a backbone with its new digest, and a source that says what was done.

    Raises
    ------
    ValueError
        If the images are no images, or the network has no BatchNormalization.

    References
    ----------
    Wu and Johnson (2021), Rethinking "batch" in BatchNorm, https://doi.org/10.48550/arXiv.2105.07576
    """
    check_whole(batch_size, "batch_size", 2)
    check_whole(seed, "seed", 0)
    model = getattr(network, "model", network)
    if not batch_normalizations(model):
        raise ValueError(f"{network.name} has no BatchNormalization: there is nothing to measure, go on without.")
    images = check_images(images) if isinstance(network, Backbone) else _checked_inputs(images)
    order = np.random.default_rng(seed).permutation(len(images))
    parts = np.array_split(order, -(-len(images) // batch_size))
    measure_statistics(model, (ops.convert_to_tensor(images[rows]) for rows in parts))
    if not isinstance(network, Backbone):
        return network
    source = f"{network.source}, BatchNormalization measured on {len(images)} images"
    return replace(network, source=source, digest=stored.digest(model))


def _checked_inputs(images) -> np.ndarray:
    images = np.asarray(check_regular(images, "images"), np.float32)
    if images.size == 0 or not np.isfinite(images).all():
        raise ValueError("`images` are none, or hold NaN or infinity: give one image or more, of finite numbers.")
    return images


# Fine-tuning


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned network, whole and in its parts.

    Attributes
    ----------
    seed : int
    classifier : keras.Model
        Images (n, h, w, c) in [0, 1] to logits (n, classes).
    encoder : keras.Model
        The same images to the penultimate features (n, d).
    trunk, top, head : keras.Model
        Images to map, map to penultimate features, these to logits. All seeds have one trunk.
    history : dict of str to list of float
        For each epoch the "loss" and the "balanced accuracy", as means over the batches while the network was
        changing, and the "validation loss" and the "validation balanced accuracy" at its end. Both losses are
        weighted by the class weights.
    weights : dict of int to float, or None
        The class weights.
    seconds : float
        Of this seed's training, without the trunk; the first seed's include the compilation.
    """

    seed: int
    classifier: keras.Model = field(repr=False)
    encoder: keras.Model = field(repr=False)
    trunk: keras.Model = field(repr=False)
    top: keras.Model = field(repr=False)
    head: keras.Model = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    weights: dict[int, float] | None
    seconds: float


def fine_tune(
    backbone: Backbone,
    train,
    validation,
    *,
    stage: str | None = None,
    seeds: Iterable[int] = (0,),
    weights: str | Mapping[int, float] | None = "balanced",
    epochs: int = 4,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    batch_size: int = 56,
    batch_normalization: bool = False,
) -> tuple[FineTuned, ...]:
    """Fine-tune the top of a network, and a linear layer on it, once for each seed.

    Stochastic gradient descent with momentum on the weighted cross-entropy of the logits. Two things keep one recipe
    stable for trained and for random weights: the linear layer starts at zero, so that the loss starts at log(classes)
    however large the features are, and a gradient longer than 1 is cut to length 1.

    Parameters
    ----------
    backbone : Backbone
        Not changed.
    train, validation : ImageSet
        The validation set is only looked at. It is not the test set.
    stage : str, optional
        Where the trunk ends, as for `cut`; without it at the stage before the last one. At the last one only the
        linear layer is trained.
    seeds : iterable of int
        Each draws the order of the images, and nothing else: all start from the same weights.
    weights : {'balanced'}, dict of int to float, or None
        Class weights: those of `class_weights` for the training set, your own, or none.
    epochs, batch_size : int
    learning_rate, momentum : float
    batch_normalization : bool
        Whether to train BatchNormalization as well, and to let it take its statistics from each batch; see `unfreeze`.

    Returns
    -------
    tuple of FineTuned
        One for each seed.

    Raises
    ------
    ValueError
        If a class is missing from the training set, a weight has no class, the two sets have other classes, or the
        training diverges.
    """
    settings = _checked_settings(epochs, batch_size, learning_rate, momentum)
    if not np.iterable(seeds):
        raise ValueError(f"seeds={seeds!r} is no list of seeds: give one or more, as in seeds=(0, 1, 2).")
    seeds = [check_whole(seed, "seed", 0) for seed in seeds]
    if not seeds:
        raise ValueError("There are no seeds: give one or more, as in seeds=(0, 1, 2).")
    if tuple(train.class_names) != tuple(validation.class_names):
        raise ValueError(
            f"The training set has the classes {train.class_names}, but the validation set {validation.class_names}: "
            f"split one set into both."
        )
    weights = _chosen_weights(weights, train)
    trunk, top = cut(backbone, backbone.stages[-2] if stage is None else stage)
    unfreeze(top, batch_normalization)
    parts = [(_maps(trunk, part.images, backbone.name), part.labels) for part in (train, validation)]
    training = _Training(top, len(train.class_names), weights, settings)
    return tuple(training.run(trunk, *parts, seed) for seed in seeds)


@dataclass(frozen=True)
class _Settings:
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float


def _checked_settings(epochs, batch_size, learning_rate, momentum) -> _Settings:
    return _Settings(
        check_whole(epochs, "epochs", 1),
        check_whole(batch_size, "batch_size", 1),
        check_number(learning_rate, "learning_rate", 0, strictly=True),
        _checked_momentum(momentum),
    )


def _checked_momentum(momentum: float) -> float:
    if check_number(momentum, "momentum", 0, 1) == 1:
        raise ValueError("momentum=1 never forgets a gradient, and diverges: give a number below 1, such as 0.9.")
    return float(momentum)


def _chosen_weights(weights, train) -> dict[int, float] | None:
    balanced = class_weights(train.labels, train.class_names)  # checks, whatever the weights, that no class is missing
    if weights is None:
        return None
    if isinstance(weights, str):
        check_choice(weights, ["balanced"], "kind of class weights")
        return balanced
    return check_class_weights(weights, train.class_names)


def _maps(trunk: keras.Model, images, name: str) -> np.ndarray:
    maps = forward(trunk, images)
    if not np.isfinite(maps).all():
        raise ValueError(f"{name} yields NaN or infinity where it is cut: check its weights, or `calibrate` it.")
    return maps


class _Training:
    """A top with a head, compiled once and trained from the same start for every seed."""

    def __init__(self, top: keras.Model, n_classes: int, weights: dict[int, float] | None, settings: _Settings):
        self.top, self.weights, self.settings = top, weights, settings
        features = keras.Input(top.output_shape[1:], name="features")
        dense = layers.Dense(n_classes, kernel_initializer="zeros", name="logits")
        self.head = keras.Model(features, dense(features), name="head")
        maps = keras.Input(top.input_shape[1:], name="maps")
        self.model = keras.Model(maps, self.head(top(maps)), name="top_and_head")
        optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum, global_clipnorm=1.0)
        optimizer.build(self.model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer, loss, metrics=[_BalancedAccuracy(n_classes)])
        self.start = [ops.convert_to_numpy(variable) for variable in self._variables]

    @property
    def _variables(self) -> list:
        return [*self.model.weights, *self.model.optimizer.variables]

    def run(self, trunk: keras.Model, train: tuple, validation: tuple, seed: int) -> FineTuned:
        """Train from the start, and return copies."""
        for variable, value in zip(self._variables, self.start, strict=True):
            variable.assign(value)
        began = time.perf_counter()
        history = self._fit(*train, validation, seed)
        seconds = time.perf_counter() - began
        top, head = (_copy(part) for part in (self.top, self.head))
        encoder = keras.Model(trunk.inputs, top(trunk.output), name="encoder")
        classifier = keras.Model(trunk.inputs, head(encoder.output), name="classifier")
        return FineTuned(seed, classifier, encoder, trunk, top, head, history, self.weights, seconds)

    def _fit(self, maps, labels, validation: tuple, seed: int) -> dict[str, list[float]]:
        # Keras weights the training images only: the two losses would be no one measure
        validation = (*validation, self._image_weights(validation[1]))
        history = {name: [] for name in _MEASURES.values()}
        for epoch in range(self.settings.epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(maps))
            found = self.model.fit(
                maps[order],
                labels[order],
                batch_size=self.settings.batch_size,
                class_weight=self.weights,
                validation_data=validation,
                shuffle=False,
                verbose=0,
            ).history
            for name, shown in _MEASURES.items():
                history[shown].append(float(found[name][-1]))
            losses = found["loss"][-1], found["val_loss"][-1]  # the latter alone sees an epoch's last step
            if not np.isfinite(losses).all():
                raise ValueError(
                    f"The training diverged in epoch {epoch + 1} of seed {seed} (its loss is {losses[0]}, that of the "
                    f"validation set {losses[1]}): use a smaller learning_rate than {self.settings.learning_rate}, "
                    f"or `calibrate` random weights."
                )
        return history

    def _image_weights(self, labels) -> np.ndarray:
        if self.weights is None:
            return np.ones(len(labels), np.float32)
        return np.array([self.weights[label] for label in labels.tolist()], np.float32)


_MEASURES = {
    "loss": "loss",
    "val_loss": "validation loss",
    "balanced_accuracy": "balanced accuracy",
    "val_balanced_accuracy": "validation balanced accuracy",
}


def _copy(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


class _BalancedAccuracy(keras.metrics.Metric):
    """The mean over the classes of the share of a class's images that are named; Keras' accuracy counts images."""

    def __init__(self, n_classes: int, name: str = "balanced_accuracy"):
        super().__init__(name=name)
        self.n_classes = n_classes
        self.named = self.add_variable((n_classes,), "zeros", name="named")
        self.seen = self.add_variable((n_classes,), "zeros", name="seen")

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        classes = ops.one_hot(labels, self.n_classes)
        named = ops.cast(ops.equal(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), labels), "float32")
        self.named.assign(self.named + ops.sum(classes * named[:, None], axis=0))
        self.seen.assign(self.seen + ops.sum(classes, axis=0))

    def result(self):
        there = ops.cast(self.seen > 0, "float32")
        return ops.sum(self.named / ops.maximum(self.seen, 1.0)) / ops.maximum(ops.sum(there), 1.0)

"""What a network is trained for: to name an image's formula, or to find the other views of an image.

Every objective puts heads on the stages of a network and says what their loss is. Auxiliary heads (as in the original
Inception, Szegedy et al. 2015, https://doi.org/10.1109/CVPR.2015.7298594) give the early stages a signal of their own,
which a short training needs; the first stage gets none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from ..backbones import batch_normalizations

__all__ = ["OBJECTIVES", "CrossEntropies", "Objective", "PartnersLoss", "network_with_heads"]


@dataclass(frozen=True)
class Objective:
    """What differs between the ways to train.

    Attributes
    ----------
    sentence : str
        For the training card; ``{categories}`` is filled in.
    views : int
        How many augmented views of each image a batch holds.
    head : callable
        Takes features (n, d), a number and the number of categories; returns the rows (n, e) of that head.
    loss : callable
        Takes a Recipe; returns a Keras loss of the targets (n,) and the heads' rows (n, heads, e).
    metric : callable
        Takes the same; returns for each row whether the last head is right.
    by_category : bool
        Whether the targets are categories; else every image is its own.
    """

    sentence: str
    views: int
    head: Callable
    loss: Callable
    metric: Callable
    by_category: bool


def network_with_heads(backbone, objective: Objective, n_categories: int, momentum: float = 0.9) -> keras.Model:
    """Put a head on the last stage of a network, and one on each stage in the middle of it.

    Parameters
    ----------
    backbone : Backbone
        Of two stages or more; its model shares its weights with what is returned.
    objective : Objective
    n_categories : int
    momentum : float
        Set on every BatchNormalization. Keras' 0.99 needs some 500 steps before inference is right.

    Returns
    -------
    keras.Model
        Images (n, h, w, 3) in [0, 1] to rows (n, heads, e); the last head is the network's own.
    """
    rows = []
    for number, stage in enumerate(backbone.model.outputs[1:]):
        row = objective.head(_pooled(backbone.model, stage, number), number, n_categories)
        rows.append(layers.Reshape((1, row.shape[-1]), dtype="float32", name=f"head_{number}_row")(row))
    stacked = layers.Concatenate(axis=1, dtype="float32", name="heads")(rows) if len(rows) > 1 else rows[0]
    model = keras.Model(backbone.model.inputs, stacked, name="network_with_heads")
    for layer in batch_normalizations(model):
        layer.momentum = momentum
    return model


def _pooled(model, stage, number: int):
    """Return the channel means of a stage, of its map and not of the flattened row where it has one."""
    flattened = [layer for layer in model.layers if layer.output is stage and isinstance(layer, layers.Flatten)]
    if not flattened:
        return stage
    return layers.GlobalAveragePooling2D(name=f"head_{number}_pool")(flattened[0].input)


def _weights(heads: int, auxiliary: float):
    return ops.convert_to_tensor(np.float32([auxiliary] * (heads - 1) + [1]))


# To name the formula


def _classifier(features, number: int, n_categories: int):
    # Pooled activations are all positive: centred, they let the head learn at the body's rate. Rows of length 1
    # keep a step of Adam from moving the logits by d times the learning rate, which is 2 for d = 2,048.
    name = f"head_{number}"
    centre = layers.BatchNormalization(momentum=0.9, center=False, scale=False, dtype="float32", name=f"{name}_centre")(
        features
    )
    short = layers.Rescaling(features.shape[-1] ** -0.5, dtype="float32", name=f"{name}_scale")(centre)
    return layers.Dense(n_categories, kernel_initializer="zeros", dtype="float32", name=name)(short)


class CrossEntropies(keras.losses.Loss):
    """Mean over the batch of the weighted sum of the heads' cross-entropies.

    Parameters
    ----------
    auxiliary : float
        Weight of each head but the last, whose weight is 1.
    label_smoothing : float
    """

    def __init__(self, auxiliary: float, label_smoothing: float):
        super().__init__(name="cross_entropies")
        self.auxiliary = auxiliary
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        heads, n_categories = y_pred.shape[1:]
        target = ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), n_categories)
        target = target * (1 - self.label_smoothing) + self.label_smoothing / n_categories
        entropies = -ops.sum(target[:, None] * ops.log_softmax(y_pred, axis=-1), axis=-1)  # (n, heads)
        return ops.sum(entropies * _weights(heads, self.auxiliary), axis=-1)


def formula_named(y_true, y_pred):
    """Return for each image whether the network's own head names its category."""
    found = ops.argmax(y_pred[:, -1], axis=-1)
    return ops.cast(ops.equal(found, ops.cast(ops.reshape(y_true, (-1,)), found.dtype)), "float32")


# To find the other views


def _projection(features, number: int, n_categories: int):
    """Return unit rows of 128 numbers: what the loss throws away is lost here, and not in the features."""
    name = f"head_{number}"
    hidden = layers.Dense(256, use_bias=False, name=f"{name}_hidden")(features)
    hidden = layers.BatchNormalization(name=f"{name}_bn")(hidden)
    row = layers.Dense(128, dtype="float32", name=name)(layers.ReLU(name=f"{name}_relu")(hidden))
    return layers.UnitNormalization(dtype="float32", name=f"{name}_unit")(row)


class PartnersLoss(keras.losses.Loss):
    """Supervised contrastive loss of every head: each row is to find its partners among all others of the batch.

    Partners are rows of one target. With images as targets these are the two views of an image, and the loss is that
    of SimCLR (`helpers.losses.nt_xent`); with categories they are all views of all images of one formula as well.

    Parameters
    ----------
    auxiliary : float
        Weight of each head but the last, whose weight is 1.
    temperature : float

    References
    ----------
    Khosla, Teterwak, Wang et al. (2020), Supervised contrastive learning (its loss "out", the sum outside of the
    logarithm), https://arxiv.org/abs/2004.11362
    """

    def __init__(self, auxiliary: float, temperature: float):
        super().__init__(name="partners_loss")
        self.auxiliary = auxiliary
        self.temperature = temperature

    def call(self, y_true, y_pred):
        rows = ops.transpose(y_pred, (1, 0, 2))  # (heads, n, e)
        same, self_ = _partners(y_true)
        logits = ops.matmul(rows, ops.transpose(rows, (0, 2, 1))) / self.temperature
        logs = ops.log_softmax(logits - 1e9 * self_, axis=-1)
        losses = -ops.sum(same * logs, axis=-1) / ops.sum(same, axis=-1)  # (heads, n)
        return ops.sum(losses * _weights(y_pred.shape[1], self.auxiliary)[:, None], axis=0)


def partner_found(y_true, y_pred):
    """Return for each row whether the row nearest to it in the last head is one of its partners."""
    same, self_ = _partners(y_true)
    nearest = ops.argmax(ops.matmul(y_pred[:, -1], ops.transpose(y_pred[:, -1])) - 1e9 * self_, axis=-1)
    return ops.squeeze(ops.take_along_axis(same, nearest[:, None], axis=1), axis=1)


def _partners(targets):
    """Return two matrices (n, n): 1 where two rows are partners, and 1 where a row meets itself."""
    targets = ops.reshape(targets, (-1,))
    self_ = ops.eye(ops.shape(targets)[0])
    return ops.cast(ops.equal(targets[:, None], targets[None]), "float32") - self_, self_


OBJECTIVES = {
    "formulas": Objective(
        "to name which of {categories} formulas an image was made by",
        views=1,
        head=_classifier,
        loss=lambda recipe: CrossEntropies(recipe.auxiliary, recipe.label_smoothing),
        metric=formula_named,
        by_category=True,
    ),
    "views": Objective(
        "to find the other view of an image made by one of {categories} formulas",
        views=2,
        head=_projection,
        loss=lambda recipe: PartnersLoss(recipe.auxiliary, recipe.temperature),
        metric=partner_found,
        by_category=False,
    ),
    "formulas-and-views": Objective(
        "to find the other views and the images of the same one of {categories} formulas",
        views=2,
        head=_projection,
        loss=lambda recipe: PartnersLoss(recipe.auxiliary, recipe.temperature),
        metric=partner_found,
        by_category=True,
    ),
}

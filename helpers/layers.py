"""Layers that pass something on and add a penalty, spoil it or draw it at random.

All of them are registered, so that a saved model reloads in safe mode, and all random draws follow from a seed.
A penalty is added with ``add_loss``, so it stands in ``model.losses``, in the loss that ``fit`` minimises and in the
one that ``evaluate`` reports: training loss and validation loss are the same sum.

Layers that spoil images refuse whole numbers: on grey levels up to 255 a noise of 0.1 does not show. Functional and
sequential models cast all that they are given to the dtype of their `Input`, so that inside them nothing is left to
refuse: divide 8-bit images by 255 before.
"""

from __future__ import annotations

import keras
from keras import ops

from .losses import bernoulli_divergence, l1_sparsity, mean_activation
from .validation import check_choice, check_number, check_whole

__all__ = ["Corruption", "GaussianSample", "KLSparsity", "L1Sparsity", "PatchMask"]

KINDS = ("gaussian", "masking", "salt-and-pepper")
LARGEST_SEED = 2**31 - 1  # Torch keeps the state of a generator as int32

_registered = keras.saving.register_keras_serializable(package="features_without_labels")


@_registered
class KLSparsity(keras.layers.Layer):
    """Activations as they are, and a penalty that keeps each unit on for a share `rho` of the images.

    Adds ``weight * sum over units of KL(rho || rho_hat)``, in training and in inference. `rho_hat` is the mean
    activation over the batch: see `helpers.losses.kl_sparsity`.

    A small batch says little about `rho_hat`. With `momentum` above 0 a running mean remembers earlier batches::

        rho_hat = momentum * running mean + (1 - momentum) * mean over the batch

    and becomes the next running mean if the network is in training; in inference it stays what it is. It begins at
    `rho`, where the penalty is 0. Earlier batches are past, so the gradient goes through this batch alone, and at
    full strength: not (1 - momentum) of it, else the same `weight` would mean less with every digit of `momentum`.
    What a long memory costs is delay: `rho_hat` looks back over some 1 / (1 - momentum) batches, so activations on
    their way down go on falling below `rho` until it has caught up. Let it remember no more than an epoch or so.

    Parameters
    ----------
    rho : float
        The wanted mean activation, strictly between 0 and 1.
    weight : float
        0 or more; beta in the literature.
    momentum : float
        From 0, no memory, to less than 1.

    Raises
    ------
    ValueError
        If an argument is out of range, the input is not (n, d), or an activation is outside [0, 1] and the layer is
        called directly, outside `fit`, `evaluate` and `predict`; inside them the loss is NaN, and `predict` says
        nothing.
    """

    def __init__(self, rho, weight, momentum=0.0, **options):
        super().__init__(**options)
        self.rho = check_number(rho, "rho", 0, 1, strictly=True)
        self.weight = check_number(weight, "weight", 0)
        self.momentum = check_number(momentum, "momentum", 0, 1)
        if self.momentum == 1:
            raise ValueError("momentum=1.0, but a running mean that never moves is none: take less than 1.")

    def build(self, shape):
        """Make the running mean, one number for each unit, if there is a memory."""
        _check_matrix(shape)
        if self.momentum:
            self.running = self.add_weight(
                shape=(shape[-1],),
                initializer=keras.initializers.Constant(self.rho),
                trainable=False,
                autocast=False,
                dtype="float32",
                name="running_mean",
            )

    def call(self, activations, training=False):
        """Return the activations, shape (n, d), after adding the penalty."""
        rho_hat = mean_activation(activations, check=not training)
        if self.momentum:
            remembered = self.momentum * self.running + (1 - self.momentum) * ops.stop_gradient(rho_hat)
            if training:
                self.running.assign(remembered)
            rho_hat = rho_hat + ops.stop_gradient(remembered - rho_hat)  # the value of one, the gradient of the other
        self.add_loss(self.weight * ops.sum(bernoulli_divergence(self.rho, rho_hat, check=False)))
        return activations

    def compute_output_shape(self, shape):
        """Return the shape that came in."""
        return shape

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        return {**super().get_config(), "rho": self.rho, "weight": self.weight, "momentum": self.momentum}


@_registered
class L1Sparsity(keras.layers.Layer):
    """A code as it is, and the penalty ``weight * mean over images of the sum over units of |code|``.

    Added in training and in inference: see `helpers.losses.l1_sparsity`.

    Parameters
    ----------
    weight : float
        0 or more; lambda in the literature.

    Raises
    ------
    ValueError
        If `weight` is negative, or the input is not (n, d).
    """

    def __init__(self, weight, **options):
        super().__init__(**options)
        self.weight = check_number(weight, "weight", 0)

    def build(self, shape):
        """Refuse what is no matrix (n, d)."""
        _check_matrix(shape)

    def call(self, code):
        """Return the code, shape (n, d), after adding the penalty."""
        self.add_loss(self.weight * l1_sparsity(code))
        return code

    def compute_output_shape(self, shape):
        """Return the shape that came in."""
        return shape

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        return {**super().get_config(), "weight": self.weight}


@_registered
class Corruption(keras.layers.Layer):
    """Images that are spoilt at random in training, and pass unchanged in inference: the input of a denoiser.

    Call it with ``training=True`` to look at what it does.

    gaussian
        Adds noise of mean 0 and standard deviation `level` to every number. The sum is *not* clipped to [0, 1]:
        clipped noise has another mean on black and on white than in between.
    masking
        Sets each pixel to 0 with probability `level`, all its channels together. Unlike dropout it does not scale up
        what is left: the image gets darker, and the network has to see that.
    salt-and-pepper
        Sets each pixel to 0 or 1 with probability `level`, either with the same chance, all its channels together.

    Parameters
    ----------
    kind : {'gaussian', 'masking', 'salt-and-pepper'}
    level : float
        Of Gaussian noise the standard deviation, 0 or more; else the share of spoilt pixels, from 0 to 1.
    seed : int
        From 0 to 2**31 - 1; draws the noise. Each call goes on where the last one ended; a reloaded layer begins
        again. Two layers of one seed draw the same noise: give each its own.

    Raises
    ------
    ValueError
        If `kind` is unknown, `level` or `seed` out of range, or the input neither images nor vectors, or whole
        numbers.

    References
    ----------
    Vincent, Larochelle, Lajoie, Bengio and Manzagol (2010), JMLR 11, 3371-3408,
    https://www.jmlr.org/papers/v11/vincent10a.html
    """

    def __init__(self, kind, level, seed=0, **options):
        super().__init__(**options)
        self.kind = check_choice(kind, KINDS, "kind of corruption")
        self.level = check_number(level, "level", 0, *(() if kind == "gaussian" else (1,)))
        self.seed = check_whole(seed, "seed", 0, LARGEST_SEED)
        self.generator = keras.random.SeedGenerator(self.seed)

    def build(self, shape):
        """Refuse what is neither images nor vectors."""
        if len(shape) not in (2, 4):
            raise ValueError(f"The input has shape {tuple(shape)}: give images (n, h, w, c) or vectors (n, d).")

    def call(self, images, training=False):
        """Return images (n, h, w, c), or vectors (n, d) whose every number counts as a pixel."""
        refuse_whole_numbers(images)
        return getattr(self, f"_{self.kind.replace('-', '_')}")(images) if training else images

    def _gaussian(self, images):
        return images + self.level * keras.random.normal(ops.shape(images), dtype=images.dtype, seed=self.generator)

    def _masking(self, images):
        return ops.where(self._draw(images) < self.level, ops.zeros_like(images), images)

    def _salt_and_pepper(self, images):
        drawn = self._draw(images)
        either = ops.cast(drawn < self.level / 2, images.dtype)
        return ops.where(drawn < self.level, either, images)

    def _draw(self, images):
        """Return a number in [0, 1) for each pixel: in half precision it could be rounded to 1."""
        shape = ops.shape(images)
        shape = shape if len(shape) == 2 else (*shape[:-1], 1)
        return keras.random.uniform(shape, dtype="float32", seed=self.generator)

    def compute_output_shape(self, shape):
        """Return the shape that came in."""
        return shape

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        return {**super().get_config(), "kind": self.kind, "level": self.level, "seed": self.seed}


@_registered
class GaussianSample(keras.layers.Layer):
    """A draw from a Gaussian that its gradient passes through, in inference the mean.

    ``mean + exp(log_variance / 2) * noise``, with standard normal noise: the draw is a function of mean and variance,
    so both learn through it (the reparameterisation trick). For features take inference: the mean is the same at each
    call.

    Parameters
    ----------
    seed : int
        From 0 to 2**31 - 1; draws the noise. Each call goes on where the last one ended; a reloaded layer begins
        again. Two layers of one seed draw the same noise: give each its own.

    Raises
    ------
    ValueError
        If `seed` is out of range, or the input is not a pair of the same shape.

    References
    ----------
    Kingma and Welling (2014), https://arxiv.org/abs/1312.6114
    """

    def __init__(self, seed=0, **options):
        super().__init__(**options)
        self.seed = check_whole(seed, "seed", 0, LARGEST_SEED)
        self.generator = keras.random.SeedGenerator(self.seed)

    def build(self, shapes):
        """Refuse what is no pair of the same shape."""
        if len(shapes) != 2 or not all(isinstance(shape, list | tuple) for shape in shapes) or shapes[0] != shapes[1]:
            raise ValueError(f"The input has shape {shapes}: give [mean, log_variance], two of the same shape (n, d).")

    def call(self, inputs, training=False):
        """Return draws, shape (n, d), from ``[mean, log_variance]``, each of shape (n, d)."""
        mean, log_variance = inputs
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.generator)
        return mean + ops.exp(log_variance / 2) * noise

    def compute_output_shape(self, shapes):
        """Return the shape of the mean."""
        return tuple(shapes[0])

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        return {**super().get_config(), "seed": self.seed}


@_registered
class PatchMask(keras.layers.Layer):
    """Images of which squares are hidden at random in training, and that pass unchanged in inference.

    The image is cut into squares of `patch` x `patch` pixels; those at the right and lower edge may be cut off. In
    each image the same number of squares, `share` of them, is set to `fill`, drawn anew at each call.

    What is to be foreseen is what is hidden: a loss over all pixels is mostly that of an autoencoder. So ask for the
    mask, and average over the hidden pixels alone::

        seen, hidden = PatchMask(4, 0.75, return_mask=True)(images, training=True)
        loss = sum(hidden * (images - foreseen)^2) / (channels * sum(hidden))

    In inference nothing is hidden, and the mask is 0 everywhere: to measure that loss on images that were not trained
    on, call the layer with ``training=True``. On a black ground and with a `fill` of 0 an empty square that is hidden
    looks like one that is not. A `fill` that no pixel has, such as -1, tells the network where to look.

    Parameters
    ----------
    patch : int
        The side of a square in pixels, at most that of the image.
    share : float
        The share of the squares that are hidden, 0 to less than 1, rounded to whole squares.
    seed : int
        From 0 to 2**31 - 1. Each call goes on where the last one ended; a reloaded layer begins again. Two layers of
        one seed draw the same noise: give each its own.
    return_mask : bool
        Whether to return the mask, too.
    fill : float
        What stands where a square is hidden, in all channels, -1 to 1.

    Raises
    ------
    ValueError
        If an argument is out of range, the input is not images, or whole numbers, or of another size than the images
        the layer was built for, a square is larger than the image, or `share` of the squares, rounded, is none or all
        of them.

    References
    ----------
    He, Chen, Xie, Li, Dollar and Girshick (2022), Masked autoencoders are scalable vision learners,
    https://doi.org/10.1109/CVPR52688.2022.01553
    """

    def __init__(self, patch, share, seed=0, return_mask=False, fill=0.0, **options):
        super().__init__(**options)
        self.patch = check_whole(patch, "patch", 1)
        self.share = check_number(share, "share", 0, 1)
        if self.share == 1:
            raise ValueError("share=1.0, but nothing would be left to foresee it from: take less than 1.")
        self.seed = check_whole(seed, "seed", 0, LARGEST_SEED)
        self.return_mask = bool(return_mask)
        self.fill = check_number(fill, "fill", -1, 1)
        self.generator = keras.random.SeedGenerator(self.seed)

    def build(self, shape):
        """Count the squares and those to hide; refuse what cannot be cut into squares."""
        if len(shape) != 4 or None in tuple(shape)[1:3]:
            raise ValueError(f"The input has shape {tuple(shape)}, but it takes images (n, h, w, c) of a known size.")
        sides = shape[1:3]
        if self.patch > min(sides):
            raise ValueError(
                f"A square of {self.patch} pixels is larger than the image of {sides[0]} x {sides[1]}: take a `patch` "
                f"of at most {min(sides)}."
            )
        self.sides = tuple(sides)
        self.grid = tuple(-(-side // self.patch) for side in sides)
        squares = self.grid[0] * self.grid[1]
        self.hidden = round(self.share * squares)
        if self.hidden == squares or (self.share and not self.hidden):
            raise ValueError(
                f"share={self.share} of {squares} squares is {'all' if self.hidden else 'none'} of them: change "
                f"`share`, or take a smaller `patch`."
            )

    def call(self, images, training=False):
        """Return images (n, h, w, c), or with `return_mask` those and the mask, (n, h, w, 1), 1 where it hides."""
        refuse_whole_numbers(images)
        if tuple(images.shape[1:3]) != self.sides:
            raise ValueError(
                f"The images are {images.shape[1]} x {images.shape[2]}, but the layer was built for "
                f"{self.sides[0]} x {self.sides[1]}: make one for each size."
            )
        mask = self._draw(images) if training else ops.zeros_like(images[..., :1])
        seen = images * (1 - mask) + self.fill * mask
        return (seen, mask) if self.return_mask else seen

    def _draw(self, images):
        n, (height, width) = ops.shape(images)[0], images.shape[1:3]
        rows, columns = self.grid
        order = ops.argsort(keras.random.uniform((n, rows * columns), seed=self.generator), axis=1)
        hidden = ops.cast(ops.argsort(order, axis=1) < self.hidden, images.dtype)  # the first of a random order
        mask = ops.reshape(hidden, (-1, rows, columns, 1))
        return ops.repeat(ops.repeat(mask, self.patch, axis=1), self.patch, axis=2)[:, :height, :width]

    def compute_output_shape(self, shape):
        """Return the shape that came in, and with `return_mask` that of the mask."""
        return (tuple(shape), (*shape[:-1], 1)) if self.return_mask else shape

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        names = ("patch", "share", "seed", "return_mask", "fill")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def refuse_whole_numbers(images) -> None:
    """Raise unless images are floats: noise of 0.1 does not show on grey levels up to 255.

    Keras casts floats before `call`, and leaves whole numbers alone. But functional and sequential models cast all that
    they are given to the dtype of their `Input`, by default float32: inside them whole numbers pass unnoticed.
    """
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype)):
        raise ValueError("The images are whole numbers: divide 8-bit images by 255.")


def _check_matrix(shape) -> None:
    if len(shape) != 2:
        raise ValueError(f"The input has shape {tuple(shape)}, but a penalty on units takes (n, d): flatten it first.")

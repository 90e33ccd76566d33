"""Random changes of images that leave alone what an image shows: shifts, turns, zooms, crops, light and noise.

Which changes are made says which differences a network is taught to overlook. So they are the real teacher wherever
two views of one image are to have the same features.

Images are floats in [0, 1]. Whole numbers are refused, except inside functional and sequential models, which cast all
that they are given to the dtype of their `Input`: divide 8-bit images by 255 before.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from .layers import refuse_whole_numbers
from .validation import check_choice, check_images, check_number, check_whole

__all__ = ["Augmentation", "two_views"]

FILLS = ("constant", "nearest", "reflect")

_registered = keras.saving.register_keras_serializable(package="features_without_labels")


@_registered
class Augmentation(keras.layers.Layer):
    """Images that are changed at random in training, each in its own way, and pass unchanged in inference.

    Changes are made in the order of the parameters below, then values are clipped to [0, 1]. Each strength is 0
    unless it is given, and with all of them at 0 nothing is changed.

    Light and noise are Keras' `RandomBrightness` and `GaussianNoise`. Crop, zoom, rotation and shift are what Keras'
    `RandomZoom`, `RandomRotation` and `RandomTranslation` do, but in one step: three of those in a row interpolate
    three times, and wash small images out. Keras' `RandomCrop` cuts the same window from all images of a batch.

    It works inside a model on every back-end, compiled on JAX. Call it with ``training=True`` to look at what it does.

    Parameters
    ----------
    crop : float
        The largest share of an image's area that is cut away, 0 to less than 1. A window of the image's own shape
        stays, anywhere within it, and is magnified to the full size.
    zoom : float
        The most by which the stretch that is seen grows or shrinks, 0 to less than 1: at 0.2 it is between 0.8 and
        1.2 times as high and as wide as the image.
    rotation : float
        The largest turn either way, in degrees, 0 to 180.
    shift : float
        The largest shift either way, as a share of the height and of the width, 0 to 1.
    brightness : float
        The most that is added or taken away, the same for all pixels of an image, 0 to 1.
    noise : float
        The standard deviation of Gaussian noise, 0 to 1, drawn for each pixel and channel.
    fill : {'constant', 'nearest', 'reflect'}
        What is seen beyond an image's edge: black, its outermost pixels, or its mirror image. Black suits images on
        black; on others its corners give the change away.
    seed : int
        0 or more. Each call goes on where the last one ended; a reloaded layer begins anew. Two layers of one seed
        and the same strengths draw the same changes: give each its own.

    Raises
    ------
    ValueError
        If a strength is out of range, `fill` is unknown, or the input is not images, or whole numbers.

    References
    ----------
    Chen, Kornblith, Norouzi and Hinton (2020), A simple framework for contrastive learning of visual representations,
    https://arxiv.org/abs/2002.05709 , on which changes teach what.

    Examples
    --------
    >>> images = np.zeros((2, 8, 8, 1), "float32")
    >>> tuple(Augmentation(shift=0.1, noise=0.1)(images, training=True).shape)
    (2, 8, 8, 1)
    """

    def __init__(
        self,
        crop=0.0,
        zoom=0.0,
        rotation=0.0,
        shift=0.0,
        brightness=0.0,
        noise=0.0,
        fill="constant",
        seed=0,
        **options,
    ):
        super().__init__(**options)
        self.crop = _below_one(crop, "crop")
        self.zoom = _below_one(zoom, "zoom")
        self.rotation = check_number(rotation, "rotation", 0, 180)
        self.shift = check_number(shift, "shift", 0, 1)
        self.brightness = check_number(brightness, "brightness", 0, 1)
        self.noise = check_number(noise, "noise", 0, 1)
        self.fill = check_choice(fill, FILLS, "fill")
        self.seed = check_whole(seed, "seed", 0)
        self.steps = self._steps()

    def _steps(self) -> list[keras.layers.Layer]:
        """Return the layers that change something, each with a seed of its own."""
        # 31 bits: Torch keeps the state of a generator as int32
        seeds = [int(seed) >> 1 for seed in np.random.SeedSequence(self.seed).generate_state(3)]
        moves, dtype = (self.crop, self.zoom, self.rotation, self.shift), self.dtype_policy
        steps = [
            any(moves) and _Resampling(*moves, self.fill, seeds[0], dtype=dtype),
            self.brightness and keras.layers.RandomBrightness(self.brightness, (0, 1), seed=seeds[1], dtype=dtype),
            self.noise and keras.layers.GaussianNoise(self.noise, seed=seeds[2], dtype=dtype),
        ]
        return [step for step in steps if step]

    def build(self, shape):
        """Build the layers inside."""
        for step in self.steps:
            step.build(shape)

    def call(self, images, training=False):
        """Return images of the same shape, (n, h, w, c), in [0, 1]."""
        if len(images.shape) != 4:
            raise ValueError(f"The input has shape {tuple(images.shape)}, but it takes images (n, h, w, c).")
        refuse_whole_numbers(images)
        if not training or not self.steps:
            return images
        for step in self.steps:
            images = step(images) if isinstance(step, _Resampling) else step(images, training=True)
        return ops.clip(images, 0, 1)

    def compute_output_shape(self, shape):
        """Return the shape that came in."""
        return shape

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        names = ("crop", "zoom", "rotation", "shift", "brightness", "noise", "fill", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class _Resampling(keras.layers.Layer):
    """Crop, zoom, rotation and shift of each image, drawn apart and done at once."""

    def __init__(self, crop, zoom, rotation, shift, fill, seed, **options):
        super().__init__(**options)
        self.crop, self.zoom, self.rotation, self.shift, self.fill = crop, zoom, rotation, shift, fill
        self.generator = keras.random.SeedGenerator(seed)
        # TensorFlow resamples by a kernel that XLA lacks. Keras' own layers say so for every back-end, and keep a
        # model on JAX from being compiled.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images):
        n, height, width = ops.shape(images)[:3]
        height, width = (ops.cast(side, "float32") for side in (height, width))
        area, window_down, window_right, zoom, turn, down, right = ops.unstack(
            keras.random.uniform((7, n), -1, 1, seed=self.generator), 7
        )
        y, x = (height - 1) / 2, (width - 1) / 2  # the middle, in pixels
        side = ops.sqrt(1 - self.crop * (area + 1) / 2)
        # what of the image is seen in the middle of the window, and where that is shown
        seen_y, seen_x = y * (1 + (1 - side) * window_down), x * (1 + (1 - side) * window_right)
        shown_y, shown_x = y + height * self.shift * down, x + width * self.shift * right
        angle, scale = np.pi / 180 * self.rotation * turn, side * (1 + self.zoom * zoom)
        cosine, sine, zero = scale * ops.cos(angle), scale * ops.sin(angle), ops.zeros_like(scale)
        to_x = [cosine, -sine, seen_x - cosine * shown_x + sine * shown_y]
        to_y = [sine, cosine, seen_y - sine * shown_x - cosine * shown_y]
        return ops.image.affine_transform(
            images,
            ops.stack([*to_x, *to_y, zero, zero], axis=1),  # from pixels of the view to pixels of the image
            fill_mode=self.fill,
            data_format="channels_last",
        )


def two_views(images, augmentation: Augmentation):
    """Return two views of each image, drawn independently: the pairs that contrastive learning calls similar.

    Parameters
    ----------
    images : array_like of float, shape (n, h, w, c)
        In [0, 1].
    augmentation : Augmentation
        Or any layer that changes images in training.

    Returns
    -------
    first, second : tensor of float, shape (n, h, w, c)
        Row i of both is a view of image i.

    Raises
    ------
    ValueError
        If the images are no images, or an array of them lies outside [0, 1], or a tensor of them holds whole numbers.

    Examples
    --------
    >>> first, second = two_views(np.zeros((3, 8, 8, 1)), Augmentation(noise=0.1))
    >>> tuple(first.shape), bool(ops.all(first == second))
    ((3, 8, 8, 1), False)
    """
    if isinstance(images, np.ndarray | list):
        images = check_images(images)
    refuse_whole_numbers(images)
    return augmentation(images, training=True), augmentation(images, training=True)


def _below_one(value: float, name: str) -> float:
    value = check_number(value, name, 0, 1)
    if value == 1:
        raise ValueError(f"{name}=1, but nothing of an image would be left to see: take less than 1.")
    return value

"""Networks that more than one chapter uses."""

from __future__ import annotations

import keras
from keras import layers

__all__ = ["small_encoder"]


def small_encoder(shape: tuple[int, int, int], dimensions: int = 128, seed: int = 0) -> keras.Sequential:
    """Build the course's small convolutional encoder, untrained.

    Two convolutions of stride 2, then a linear layer: the chapter *convolutional-autoencoder* builds it layer
    by layer, and says why.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the images.
    dimensions : int
        The number of features.
    seed : int
        Draws the weights; it seeds Keras', NumPy's and Python's generators.

    Returns
    -------
    keras.Sequential
        Maps images (n, h, w, c) to features (n, dimensions).
    """
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input(shape),  # (28, 28, 1)
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),  # (14, 14, 8)
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),  # (7, 7, 16)
            layers.Flatten(),  # (784,)
            layers.Dense(dimensions),  # (dimensions,)
        ],
        name="small_encoder",
    )

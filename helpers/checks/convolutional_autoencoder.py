"""Checks for the assignment of the chapter *The convolutional autoencoder*."""

from __future__ import annotations

import random

import numpy as np

from helpers import checks
from helpers.checks import Numbers, compare


def numbers(draw: random.Random) -> dict:
    """Draw the numbers of a class."""
    return {
        "seed": draw.randrange(1000),
        "start": draw.choice((5, 6, 7, 9, 11)),
        "kernel": draw.choice((4, 5, 6)),
        "stride": draw.choice((2, 3)),
        "side": draw.choice((20, 28, 36, 44)),
        "channels": draw.choice((6, 10, 12)),
        "code": draw.choice((24, 40, 48)),
        "ink": draw.choice((3, 4, 5, 6)),
        "components": draw.choice((10, 12, 20, 24)),
    }


def transposed_width(start: int, kernel: int, stride: int, times: int = 2) -> int:
    """Return the width after transposed convolutions with padding "valid"."""
    for _ in range(times):
        start = start * stride + max(kernel - stride, 0)
    return start


def ink_loss(images: np.ndarray, copies: np.ndarray, ink: float) -> np.ndarray:
    """Return the squared error in which ink counts `ink` times: a sum over pixels, a mean over images."""
    weights = 1 + (ink - 1) * images
    return np.mean(np.sum(weights * (copies - images) ** 2, axis=(1, 2, 3)))


def decoder_parameters(side: int, channels: int, code: int) -> int:
    """Return the number of parameters of the decoder of question 2."""
    units = (side // 4) ** 2 * 2 * channels
    return (code + 1) * units + (9 * 2 * channels + 1) * channels + (9 * channels + 1)


def pca_error(train: np.ndarray, test: np.ndarray, components: int, centred: bool = True) -> float:
    """Return the mean squared error per pixel of PCA, by a singular value decomposition."""
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    mean = train.mean(axis=0) if centred else np.zeros(train.shape[1])
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:components]
    return float(np.mean((test - mean - (test - mean) @ axes.T @ axes) ** 2))


def images(numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return the images for training and for testing of a class."""
    from helpers import datasets

    train, _, test = datasets.load("shifted-digits", views=1, seed=numbers.seed).split(seed=numbers.seed)
    return train.images, test.images


def q1(answer, numbers):
    """Width after two transposed convolutions."""
    start, kernel, stride = numbers.start, numbers.kernel, numbers.stride
    once = transposed_width(start, kernel, stride, times=1)
    compare.number(
        answer,
        transposed_width(start, kernel, stride),
        mistakes={
            "this is the width after the first of the two.": once,
            'this is what padding "same" gives, and Keras pads so only when told to.': start * stride**2,
            "the kernel sticks out after each of the two layers, not after the last alone.": once * stride,
            "this is the way of a convolution, which shrinks the maps: a transposed one enlarges them.": (
                (start - kernel) // stride + 1
            ),
        },
    )


def q2(answer, numbers):
    """A decoder that fits."""
    side, channels, code = numbers.side, numbers.channels, numbers.code
    decoder = built(answer)
    compare.model(decoder, (code,), (side, side, 1), decoder_parameters(side, channels, code))
    draws_as_asked(decoder, numbers)


def built(answer):
    """Return the model that a function returns, or what was given in its place."""
    return answer() if callable(answer) and not hasattr(answer, "count_params") else answer


def draws_as_asked(decoder, numbers):
    """Compare what the decoder draws, by random weights, with what the one that was asked for draws by the same."""
    from keras import ops

    kept, twin = decoder.get_weights(), right_decoder(numbers)
    if [weight.shape for weight in kept] != [weight.shape for weight in twin.get_weights()]:
        raise compare.WrongAnswer("the weights have other shapes than those of the three layers that are asked for.")
    draw = np.random.default_rng(0)
    weights = [draw.normal(0, 0.3, weight.shape).astype("float32") for weight in kept]
    codes = draw.normal(size=(4, numbers.code)).astype("float32")
    for model in (decoder, twin):
        model.set_weights(weights)
    found, right = (ops.convert_to_numpy(model(codes, training=False)) for model in (decoder, twin))
    decoder.set_weights(kept)
    if found.min() >= 0 and found.max() <= 1:
        raise compare.WrongAnswer("under a squared error nothing should squash the output.")
    if not np.allclose(found, right, atol=1e-3 * np.abs(right).max()):
        raise compare.WrongAnswer("by the same weights another image is drawn: look at each layer's activation.")


def right_decoder(numbers):
    """Build the decoder of question 2."""
    import keras
    from keras import layers

    quarter, double = numbers.side // 4, {"strides": 2, "padding": "same"}
    return keras.Sequential(
        [
            layers.Input((numbers.code,)),
            layers.Dense(quarter**2 * 2 * numbers.channels, activation="relu"),
            layers.Reshape((quarter, quarter, 2 * numbers.channels)),
            layers.Conv2DTranspose(numbers.channels, 3, activation="relu", **double),
            layers.Conv2DTranspose(1, 3, **double),
        ]
    )


def q3(answer, numbers):
    """A loss that minds ink."""
    rng = checks.fresh()
    inputs = []
    for count, side in ((3, 8), (5, 6), (8, 10)):
        shape = (count, side, side, 1)
        inputs.append(tuple(rng.random(shape).astype("float32") for _ in range(2)))
    ink = numbers.ink

    def weighted_by(chosen):
        def loss(images, copies):
            weights = 1 + (ink - 1) * chosen(images, copies)
            return np.mean(np.sum(weights * (copies - images) ** 2, axis=(1, 2, 3)))

        return loss

    compare.function(
        answer,
        lambda images, copies: ink_loss(images, copies, ink),
        inputs,
        mistakes={
            "every pixel counts the same here: the weight of the ink is missing.": lambda images, copies: ink_loss(
                images, copies, 1
            ),
            "the weight follows the copy: a network could lower it by drawing less ink.": weighted_by(lambda x, y: y),
            "black pixels have no weight at all here: they should count once.": lambda images, copies: np.mean(
                np.sum(ink * images * (copies - images) ** 2, axis=(1, 2, 3))
            ),
            "a white pixel counts once too often here: compute its weight again.": lambda images, copies: ink_loss(
                images, copies, ink + 1
            ),
            "the weight stands inside the square here, so that it counts squared.": lambda images, copies: np.mean(
                np.sum(((1 + (ink - 1) * images) * (copies - images)) ** 2, axis=(1, 2, 3))
            ),
        },
    )


q4 = compare.choice("ABCD")


def q5(answer, numbers):
    """The error of PCA on images that it was not fitted on."""
    train, test = images(numbers)
    right = pca_error(train, test, numbers.components)
    compare.number(
        answer,
        right,
        tolerance=6e-4,  # scikit-learn's randomised solver differs by 1.4e-4 at most
        mistakes={
            "the mean image was not taken off before the components were fitted.": pca_error(
                train, test, numbers.components, centred=False
            ),
            "this is the error on the images that PCA was fitted on.": pca_error(train, train, numbers.components),
            "PCA was fitted on the test images: so it has seen what it is tested on.": pca_error(
                test, test, numbers.components
            ),
            "this is a sum over the pixels of an image: the error of a network is a mean over them.": (
                right * test[0].size
            ),
            "this is a root: the error of a network is the mean of the squares themselves.": right**0.5,
        },
    )


q6 = compare.choice("ABCD")

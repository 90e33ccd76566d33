"""The checks of the assignment on the convolutional autoencoder, against Keras and scikit-learn."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.decomposition import PCA, TruncatedSVD

from helpers import checks
from helpers.checks import WrongAnswer
from helpers.checks import convolutional_autoencoder as questions

SLUG = "convolutional-autoencoder"


@pytest.mark.parametrize("seed", range(6))
def test_the_width_is_the_one_that_keras_makes(seed):
    numbers = checks.numbers(SLUG, seed)
    layer = layers.Conv2DTranspose(1, numbers.kernel, strides=numbers.stride)
    maps = layer(layer(np.zeros((1, numbers.start, numbers.start, 1))))
    questions.q1(maps.shape[1], numbers)


@pytest.mark.parametrize("seed", range(3))
def test_a_decoder_whose_activations_are_layers_of_their_own_is_right(seed):
    numbers = checks.numbers(SLUG, seed)
    quarter, double = numbers.side // 4, {"strides": 2, "padding": "same"}
    decoder = keras.Sequential(
        [
            layers.Input((numbers.code,)),
            layers.Dense(quarter**2 * 2 * numbers.channels),
            layers.ReLU(),
            layers.Reshape((quarter, quarter, 2 * numbers.channels)),
            layers.Conv2DTranspose(numbers.channels, 3, **double),
            layers.Activation("relu"),
            layers.Conv2DTranspose(1, 3, **double),
        ]
    )
    before = decoder.get_weights()
    questions.q2(decoder, numbers)
    assert all(map(np.array_equal, before, decoder.get_weights())), "the student's weights were changed"


@pytest.mark.parametrize("seed", range(4))
def test_the_error_is_that_of_scikit_learn_and_not_that_without_a_mean(seed):
    numbers = checks.numbers(SLUG, seed)
    train, test = (images.reshape(len(images), -1) for images in questions.images(numbers))
    for method, told in ((PCA, None), (TruncatedSVD, "the mean image was not taken off")):
        fitted = method(numbers.components, random_state=0).fit(train)
        error = np.mean((test - fitted.inverse_transform(fitted.transform(test))) ** 2)
        if told is None:
            questions.q5(error, numbers)
        else:
            with pytest.raises(WrongAnswer, match=told):
                questions.q5(error, numbers)

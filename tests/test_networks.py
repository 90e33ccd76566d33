"""`backbones` and `features`: small networks, on whichever back-end is set."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import backbones, features

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (33, 20, 3)])
def test_the_small_encoder_maps_images_to_features(shape):
    images = np.random.default_rng(0).random((5, *shape))
    assert features.forward(backbones.small_encoder(shape, 12), images).shape == (5, 12)


def test_the_small_encoder_repeats_with_the_seed():
    first, again, other = (backbones.small_encoder((8, 8, 1), 4, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_the_pooled_encoder_is_the_one_that_contrasting_pairs_builds():
    notebook = json.loads((NOTEBOOKS / "contrasting-pairs.ipynb").read_text(encoding="utf-8"))
    (source,) = ["".join(cell["source"]) for cell in notebook["cells"] if cell["id"] == "encoder"]
    train = np.zeros((1, 28, 28, 1))[0]
    names = {"keras": keras, "layers": keras.layers, "train": train, "DIMENSIONS": 12}
    exec(source, names)
    theirs, ours = names["build_encoder"](3), backbones.pooled_encoder((28, 28, 1), 12, seed=3)
    for one, other in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    images = np.random.default_rng(0).random((2, 28, 28, 1))
    np.testing.assert_allclose(features.forward(theirs, images), features.forward(ours, images), rtol=1e-6)


def test_the_pooled_encoder_hardly_minds_a_shift():
    image = np.zeros((1, 28, 28, 1))
    image[0, 8:14, 6:12] = 1
    first, moved = (features.forward(backbones.pooled_encoder((28, 28, 1), 6), np.roll(image, s, 2)) for s in (0, 8))
    np.testing.assert_allclose(first, moved, atol=1e-5)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (32, 20, 3)])
def test_the_small_decoder_maps_features_back_to_images(shape):
    assert features.forward(backbones.small_decoder(shape, 12), np.zeros((5, 12))).shape == (5, *shape)


def test_the_small_decoder_is_the_mirror_of_the_encoder():
    encoder, decoder = backbones.small_encoder((28, 28, 1), 12), backbones.small_decoder((28, 28, 1), 12)
    down = [encoder.input_shape, *(layer.output.shape for layer in encoder.layers)]
    up = [decoder.input_shape, *(layer.output.shape for layer in decoder.layers)]
    assert down == up[::-1]


def test_the_small_decoder_repeats_with_the_seed():
    first, again, other = (backbones.small_decoder((8, 8, 1), 4, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_no_layer_of_the_decoder_starts_as_a_copy_of_the_encoder_of_the_same_seed():
    encoder, decoder = backbones.small_encoder((8, 8, 1), 4), backbones.small_decoder((8, 8, 1), 4)
    down, up = (network.get_weights()[2] for network in (encoder, decoder))  # 3 x 3 x 8 x 16, both
    assert down.shape == up.shape
    assert np.abs(np.corrcoef(down.ravel(), up.ravel())[0, 1]) < 0.1


def test_the_last_activation_of_the_decoder_is_a_choice():
    codes = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    linear, sigmoid = (backbones.small_decoder((8, 8, 1), 4, 0, activation) for activation in (None, "sigmoid"))
    expected = 1 / (1 + np.exp(-features.forward(linear, codes)))
    np.testing.assert_allclose(features.forward(sigmoid, codes), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 28, 1), (28, 30, 1), (7, 7, 1)])
def test_a_decoder_of_images_that_cannot_be_halved_twice_is_refused(shape):
    with pytest.raises(ValueError, match=r"^The decoder doubles twice, so height and width are multiples of 4, but"):
        backbones.small_decoder(shape)


@pytest.mark.parametrize("half", [backbones.small_encoder, backbones.small_decoder])
@pytest.mark.parametrize("dimensions", [0, -3, 2.0])
def test_a_code_of_no_dimensions_is_refused(half, dimensions):
    with pytest.raises(ValueError, match=r"^dimensions=.*, but it is a whole number of 1 or more\.$"):
        half((8, 8, 1), dimensions)


def test_a_trained_autoencoder_comes_back_in_safe_mode(tmp_path):
    images = np.random.default_rng(0).random((8, 8, 8, 1)).astype(np.float32)
    model = keras.Sequential([backbones.small_encoder((8, 8, 1), 6), backbones.small_decoder((8, 8, 1), 6)])
    model.compile("adam", "mse")
    model.fit(images, images, verbose=0)
    model.save(tmp_path / "autoencoder.keras")
    again = keras.models.load_model(tmp_path / "autoencoder.keras", safe_mode=True)
    assert np.array_equal(features.forward(again.layers[0], images), features.forward(model.layers[0], images))
    assert np.array_equal(features.forward(again, images), features.forward(model, images))


def test_forward_is_predict():
    model = backbones.small_encoder((8, 8, 1), 6)
    images = np.random.default_rng(0).random((23, 8, 8, 1)).astype(np.float32)
    ours = features.forward(model, images, batch_size=10)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, model.predict(images, verbose=0), atol=1e-5)


def test_forward_runs_in_inference_mode():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dropout(0.9)])
    assert np.array_equal(features.forward(model, np.ones((3, 4))), np.ones((3, 4)))


def test_forward_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no inputs"):
        features.forward(backbones.small_encoder((8, 8, 1)), np.zeros((0, 8, 8, 1)))


def test_a_saved_encoder_comes_back(tmp_path):
    model = backbones.small_encoder((8, 8, 1), 6, seed=3)
    model.save(tmp_path / "encoder.keras")
    images = np.random.default_rng(0).random((4, 8, 8, 1))
    again = keras.models.load_model(tmp_path / "encoder.keras")
    assert np.array_equal(features.forward(again, images), features.forward(model, images))

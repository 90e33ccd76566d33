"""`backbones` and `features`: small networks, on whichever back-end is set."""

import keras
import numpy as np
import pytest

from helpers import backbones, features


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (33, 20, 3)])
def test_the_small_encoder_maps_images_to_features(shape):
    images = np.random.default_rng(0).random((5, *shape))
    assert features.forward(backbones.small_encoder(shape, 12), images).shape == (5, 12)


def test_the_small_encoder_repeats_with_the_seed():
    first, again, other = (backbones.small_encoder((8, 8, 1), 4, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


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

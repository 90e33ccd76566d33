"""`layers.PatchMask`: which squares it hides, and that a model can be trained on what is hidden."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from helpers.layers import PatchMask


def value(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def hide(images, *arguments, **options) -> tuple[np.ndarray, np.ndarray]:
    seen, hidden = PatchMask(*arguments, **options, return_mask=True)(images, training=True)
    return value(seen), value(hidden)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0.1, 1, size=(20, 12, 16, 3)).astype(np.float32)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_the_same_number_of_whole_squares_is_hidden_in_each_image(images, patch, share):
    seen, hidden = hide(images, patch, share)
    assert hidden.shape == (20, 12, 16, 1)
    squares = hidden.reshape(20, 12 // patch, patch, 16 // patch, patch)
    assert set(np.unique(hidden)) == {0, 1}
    assert np.array_equal(squares.min(axis=(2, 4)), squares.max(axis=(2, 4)))
    assert (squares.mean(axis=(1, 2, 3, 4)) == share).all()
    assert np.array_equal(seen, np.where(hidden, 0, images))


def test_squares_at_the_edge_may_be_cut_off(images):
    seen, hidden = hide(images, 5, 0.5)  # 3 x 4 squares, of which the last row and column are cut
    padded = np.pad(hidden[..., 0], ((0, 0), (0, 3), (0, 4)), mode="edge").reshape(20, 3, 5, 4, 5)
    assert np.array_equal(padded.min(axis=(2, 4)), padded.max(axis=(2, 4)))
    assert (padded.max(axis=(2, 4)).sum(axis=(1, 2)) == 6).all()
    assert np.array_equal(seen == 0, np.broadcast_to(hidden, seen.shape) == 1)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.05, 0.95))
def test_a_share_is_rounded_to_whole_squares(share):
    _, hidden = hide(np.ones((3, 12, 16, 1), np.float32), 4, share)
    assert (hidden.sum(axis=(1, 2, 3)) / 16 == round(12 * share)).all()


def test_each_square_is_hidden_equally_often_and_not_with_its_neighbours():
    _, hidden = hide(np.ones((4000, 8, 8, 1), np.float32), 4, 0.5)
    squares = hidden[:, ::4, ::4, 0].reshape(4000, 4)
    np.testing.assert_allclose(squares.mean(axis=0), 0.5, atol=0.03)
    together = (squares.T @ squares) / 4000
    np.testing.assert_allclose(together[~np.eye(4, dtype=bool)], 1 / 6, atol=0.03)  # two of four


@pytest.mark.parametrize("fill", [-1, 0.5])
def test_hidden_squares_hold_the_fill_in_all_channels_and_the_rest_stays(images, fill):
    seen, hidden = hide(images, 4, 0.5, seed=3, fill=fill)
    assert np.array_equal(seen, np.where(hidden, np.float32(fill), images))
    assert np.array_equal(hidden, hide(images, 4, 0.5, seed=3)[1])


def test_nothing_is_hidden_in_inference_or_at_share_0(images):
    layer = PatchMask(4, 0.75, return_mask=True)
    for options in ({}, {"training": False}):
        seen, hidden = map(value, layer(images, **options))
        assert np.array_equal(seen, images)
        assert not hidden.any()
        assert hidden.shape == (20, 12, 16, 1)
    assert np.array_equal(value(PatchMask(4, 0.0)(images, training=True)), images)


def test_without_the_mask_the_same_is_hidden(images):
    seen, _ = hide(images, 4, 0.5, seed=3)
    assert np.array_equal(value(PatchMask(4, 0.5, seed=3)(images, training=True)), seen)


def test_masks_follow_the_seed_and_go_on_from_call_to_call(images):
    first, again, other = (PatchMask(4, 0.5, seed) for seed in (1, 1, 2))
    seen = [value(layer(images, training=True)) for layer in (first, again, other, first)]
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[3])


def inpainter() -> keras.Model:
    """Foresee the hidden squares; the loss asks for nothing else."""
    inputs = keras.Input((12, 16, 3))
    seen, hidden = PatchMask(4, 0.5, return_mask=True)(inputs)
    foreseen = layers.Conv2D(3, 9, padding="same", kernel_initializer="zeros")(seen)
    return keras.Model(inputs, HiddenError()([inputs, foreseen, hidden]))


class HiddenError(keras.layers.Layer):
    def call(self, inputs):
        images, foreseen, hidden = inputs
        self.add_loss(ops.sum(hidden * ops.square(images - foreseen)) / (3 * ops.maximum(ops.sum(hidden), 1)))
        return foreseen

    def compute_output_shape(self, shapes):
        return shapes[1]


def test_a_model_learns_to_foresee_what_is_hidden():
    keras.utils.set_random_seed(0)
    slopes = np.random.default_rng(0).uniform(size=(64, 1, 1, 1)) * np.ones((1, 12, 16, 3))  # of one grey level each
    model = inpainter()
    model.compile(keras.optimizers.Adam(0.003))
    seen = model.fit(slopes, epochs=15, batch_size=16, verbose=0).history["loss"]
    assert seen[0] > 0.1  # about the mean of squares, 1 / 3, in the first step
    assert seen[-1] < 0.3 * seen[0]
    assert model.evaluate(slopes, verbose=0) == 0  # nothing is hidden


def test_a_reloaded_layer_is_the_same_and_begins_again(images, tmp_path):
    inputs = keras.Input((12, 16, 3))
    model = keras.Model(inputs, PatchMask(4, 0.5, 3, return_mask=True, fill=-1)(inputs))
    fresh = [value(part) for part in model(images, training=True)]
    model.save(tmp_path / "mask.keras")
    again = keras.models.load_model(tmp_path / "mask.keras", safe_mode=True, compile=False)
    assert [part.shape for part in again.outputs] == [(None, 12, 16, 3), (None, 12, 16, 1)]
    for part, expected in zip(again(images, training=True), fresh, strict=True):
        assert np.array_equal(value(part), expected)


def test_half_precision_is_kept(images):
    seen, hidden = PatchMask(4, 0.5, return_mask=True, dtype="float16")(images, training=True)
    assert keras.backend.standardize_dtype(seen.dtype) == keras.backend.standardize_dtype(hidden.dtype) == "float16"
    assert value(hidden).mean() == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 0.5), "patch=0, but it is a whole number of 1 or more"),
        ((2.5, 0.5), "patch=2.5, but it is a whole number of 1 or more"),
        ((4, 1.5), "share=1.5, but it is a number from 0 to 1"),
        ((4, -0.5), "share=-0.5, but"),
        ((4, 0.5, -1), "seed=-1, but it is a whole number from 0 to 2147483647"),
        ((4, 0.5, 2**31), "seed=2147483648, but it is a whole number from 0 to 2147483647"),
        ((4, 0.5, 0, False, -255), "fill=-255, but it is a number from -1 to 1"),
        ((4, 0.5, 0, False, float("nan")), "fill=nan, but it is a number from -1 to 1"),
        ((13, 0.5), "A square of 13 pixels is larger than the image of 12 x 16: take a `patch` of at most 12"),
        ((12, 0.9), "share=0.9 of 2 squares is all of them: change `share`, or take a smaller `patch`"),
        ((4, 1.0), "share=1.0, but nothing would be left to foresee it from: take less than 1"),
        ((4, 0.99), "share=0.99 of 12 squares is all of them"),
        ((4, 0.01), "share=0.01 of 12 squares is none of them"),
    ],
)
def test_what_cannot_be_hidden_is_refused(images, arguments, said):
    with pytest.raises(ValueError, match=said):
        PatchMask(*arguments)(images)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"The input has shape \(3, 8\), but it takes images \(n, h, w, c\)"):
        PatchMask(2, 0.5)(np.zeros((3, 8)))


@pytest.mark.parametrize("training", [False, True])
def test_images_of_another_size_than_the_first_are_refused(images, training):
    layer = PatchMask(4, 0.5)
    layer(images)
    with pytest.raises(ValueError, match="The images are 8 x 16, but the layer was built for 12 x 16: make one for"):
        layer(images[:, :8], training=training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_whole_numbers_are_refused(dtype, training):
    with pytest.raises(ValueError, match=r"The images are whole numbers: divide 8-bit images by 255\."):
        PatchMask(4, 0.5)(np.ones((2, 8, 8, 1), dtype), training=training)

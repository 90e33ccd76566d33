"""`augment`: what each strength does to an image, and that it does so in training, in any model, from a seed."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from helpers.augment import FILLS, Augmentation, two_views

STRENGTHS = {"crop": 0.5, "zoom": 0.3, "rotation": 30.0, "shift": 0.2, "brightness": 0.3, "noise": 0.1}


def change(images, seed=0, **strengths) -> np.ndarray:
    return ops.convert_to_numpy(Augmentation(**strengths, seed=seed)(images, training=True))


def rows_and_columns(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates about the middle of an image."""
    return np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]


def copies(image: np.ndarray, n: int = 200) -> np.ndarray:
    return np.repeat(image[None, :, :, None], n, axis=0).astype(np.float32)


def blob(height: int, width: int, y: float = 0.0, x: float = 0.0) -> np.ndarray:
    rows, columns = rows_and_columns(height, width)
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)


def centres(views: np.ndarray) -> np.ndarray:
    """Return the centres of the ink, from the middle of the image, shape (n, 2)."""
    grid = np.stack(rows_and_columns(*views.shape[1:3]))
    return np.einsum("nhw,khw->nk", views[..., 0], grid) / views.sum(axis=(1, 2))


@pytest.fixture
def photos():
    return np.random.default_rng(0).random((20, 18, 24, 3)).astype(np.float32)


# ------------------------------------------------------------------------------------------------ all strengths


@settings(max_examples=8, deadline=None)
@given(
    shape=st.sampled_from([(1, 4, 4, 1), (3, 16, 9, 3)]),
    crop=st.floats(0, 0.9),
    zoom=st.floats(0, 0.9),
    rotation=st.floats(0, 180),
    shift=st.floats(0, 1),
    brightness=st.floats(0, 1),
    noise=st.floats(0, 1),
    fill=st.sampled_from(FILLS),
)
def test_views_keep_shape_and_range(shape, **strengths):
    images = np.random.default_rng(0).random(shape).astype(np.float32)
    views = change(images, **strengths)
    assert views.shape == shape
    assert views.dtype == np.float32
    assert views.min() >= 0
    assert views.max() <= 1


def test_without_a_strength_nothing_changes(photos):
    assert np.array_equal(change(photos), photos)
    assert np.array_equal(change(photos, **dict.fromkeys(STRENGTHS, 0.0)), photos)


def test_inference_changes_nothing(photos):
    augmentation = Augmentation(**STRENGTHS)
    for options in ({}, {"training": False}):
        assert np.array_equal(ops.convert_to_numpy(augmentation(photos, **options)), photos)


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_image_gets_its_own_draw(name):
    views = change(copies(blob(16, 16) * 0.5 + 0.2, 30), **{name: STRENGTHS[name]})
    assert len(np.unique(np.round(views.reshape(30, -1), 4), axis=0)) == 30


@pytest.mark.parametrize("name", STRENGTHS)
def test_draws_follow_the_seed_and_go_on_from_call_to_call(photos, name):
    first, again, other = (Augmentation(**{name: STRENGTHS[name]}, seed=seed) for seed in (1, 1, 2))
    views = [ops.convert_to_numpy(layer(photos, training=True)) for layer in (first, again, other, first)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert not np.array_equal(views[0], views[3])


# ------------------------------------------------------------------------------------------------ each strength


def test_a_shift_moves_the_centre_of_the_ink_by_at_most_its_share_of_each_side():
    moved = centres(change(copies(blob(40, 60)), shift=0.2))
    assert np.abs(moved[:, 0]).max() <= 8.01
    assert np.abs(moved[:, 1]).max() <= 12.01
    assert (moved.max(axis=0) > [7.5, 11]).all()
    assert (moved.min(axis=0) < [-7.5, -11]).all()
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.2  # down and right are drawn apart


def test_a_shift_keeps_the_ink():
    image = blob(40, 40)
    np.testing.assert_allclose(change(copies(image), shift=0.2).sum(axis=(1, 2, 3)), image.sum(), rtol=1e-3)


def test_a_rotation_turns_about_the_middle_by_at_most_its_angle():
    off = np.arctan2(*centres(change(copies(blob(41, 41, x=12)), rotation=30)).T)  # lies to the right
    assert np.abs(np.rad2deg(off)).max() <= 30.05
    assert np.rad2deg(off).max() > 28
    assert np.rad2deg(off).min() < -28
    middle = change(copies(blob(41, 41)), rotation=30)
    assert np.abs(centres(middle)).max() < 1e-3


def test_a_zoom_magnifies_by_one_over_what_is_seen():
    image = blob(61, 61)
    area = change(copies(image), zoom=0.2).sum(axis=(1, 2, 3)) / image.sum()
    seen = 1 / np.sqrt(area)
    assert seen.min() >= 0.799
    assert seen.max() <= 1.201
    np.testing.assert_allclose(np.quantile(seen, [0.25, 0.5, 0.75]), [0.9, 1.0, 1.1], atol=0.04)


@pytest.mark.parametrize("fill", FILLS)
def test_a_crop_is_a_window_of_the_images_shape_that_lies_within_it(fill):
    rows, columns = rows_and_columns(20, 30)
    down, right = (copies(ramp / 40 + 0.5, 400) for ramp in (rows, columns))  # grey levels that say where a pixel was
    seen = [change(ramp, crop=0.64, fill=fill)[..., 0] for ramp in (down, right)]
    for view, ramp, axis in zip(seen, (down, right), (1, 2), strict=True):
        assert view.min() >= ramp.min() - 1e-5  # nothing of what lies beyond
        assert view.max() <= ramp.max() + 1e-5
        side = np.diff(view, axis=axis).mean(axis=(1, 2)) * 40
        assert side.min() >= 0.6 - 1e-3
        assert side.max() <= 1 + 1e-3
        np.testing.assert_allclose(np.quantile(side**2, [0.25, 0.5, 0.75]), [0.52, 0.68, 0.84], atol=0.05)
        place = (view.mean(axis=(1, 2)) - 0.5) / (1 - side)
        assert place.std() > 0.1  # anywhere
    same = change(np.concatenate([down, right], axis=-1).repeat(2, axis=-1)[..., :3], crop=0.64)
    heights, widths = np.diff(same[..., 0], axis=1).mean(axis=(1, 2)), np.diff(same[..., 2], axis=2).mean(axis=(1, 2))
    np.testing.assert_allclose(heights, widths, atol=1e-4)


def test_brightness_adds_the_same_to_all_pixels_of_an_image(photos):
    flat = np.full((300, 4, 5, 3), 0.5, np.float32)
    added = change(flat, brightness=0.3) - 0.5
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-6
    assert np.abs(added).max() <= 0.3 + 1e-6
    np.testing.assert_allclose(np.quantile(added, [0.25, 0.5, 0.75]), [-0.15, 0, 0.15], atol=0.04)
    assert change(photos, brightness=1.0).min() == 0  # and is cut at black


def test_noise_has_its_standard_deviation():
    noise = change(np.full((50, 20, 20, 3), 0.5, np.float32), noise=0.1) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert abs(noise.mean()) < 2e-3
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize(("fill", "edge"), [("constant", 0.0), ("nearest", 1.0), ("reflect", 1.0)])
def test_what_lies_beyond_the_edge_is_black_or_like_the_image(fill, edge):
    views = change(np.ones((50, 12, 12, 1), np.float32), shift=0.4, rotation=20, fill=fill)
    assert views.min() == pytest.approx(edge, abs=1e-6)


# No two of them share a draw


def where_from(views) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what was done to `ramps`: a 2 x 2 matrix, the place shown in the middle, and the light added, of each."""
    light = views[:, 20, 20, 2] - 0.5
    places = (views[..., :2] - 0.5 - light[:, None, None, None]) * 100
    slopes = (places[:, 21, 20] - places[:, 19, 20]) / 2, (places[:, 20, 21] - places[:, 20, 19]) / 2
    return np.stack(slopes, axis=-1), places[:, 20, 20], light


@pytest.fixture
def ramps():
    """Images whose first two channels say where a pixel was."""
    rows, columns = rows_and_columns(41, 41)
    image = np.stack([rows / 100 + 0.5, columns / 100 + 0.5, np.full((41, 41), 0.5)], axis=-1)
    return np.repeat(image[None], 400, axis=0).astype(np.float32)


def are_apart(**draws) -> None:
    """Check that no two of these go together, and that each varies."""
    assert min(draw.std() for draw in draws.values()) > 1e-3, {name: draw.std() for name, draw in draws.items()}
    together = np.corrcoef(list(draws.values())) - np.eye(len(draws))
    assert np.abs(together).max() < 0.2, together.round(2)  # four standard errors of 400 draws


def test_turn_zoom_shift_and_light_are_drawn_apart(ramps):
    matrix, middle, light = where_from(change(ramps, rotation=30, zoom=0.2, shift=0.1, brightness=0.15))
    shift = np.linalg.solve(matrix, -middle[..., None])[..., 0]
    assert np.abs(shift).max() == pytest.approx(4.1, abs=0.1)
    turn = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    zoom = np.sqrt(np.linalg.det(matrix))
    are_apart(turn=turn, zoom=zoom, down=shift[:, 0], right=shift[:, 1], light=light)


def test_the_window_of_a_crop_is_drawn_apart_from_its_size_and_from_the_turn(ramps):
    matrix, middle, _ = where_from(change(ramps, rotation=30, crop=0.5))
    side = np.sqrt(np.linalg.det(matrix))
    place = (middle / (20 * (1 - side[:, None])))[side < 0.98]  # the largest windows hardly move
    assert np.abs(place).max() == pytest.approx(1, abs=0.05)
    turn = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])[side < 0.98]
    are_apart(down=place[:, 0], right=place[:, 1], side=side[side < 0.98], turn=turn)


# What the layer does in one step is what Keras' own layers do


KERAS_LAYERS = {
    "shift": lambda share, **options: layers.RandomTranslation((share, share), (share, share), **options),
    "rotation": lambda degrees, **options: layers.RandomRotation((degrees / 360,) * 2, **options),
    "zoom": lambda share, **options: layers.RandomZoom((share, share), **options),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_at_full_strength_a_move_is_that_of_keras_own_layer(monkeypatch, photos, name, fill):
    strength = STRENGTHS[name]
    theirs = KERAS_LAYERS[name](strength, fill_mode=fill, data_format="channels_last")(photos, training=True)
    monkeypatch.setattr(keras.random, "uniform", lambda shape, *limits, **options: ops.ones(shape))
    np.testing.assert_allclose(change(photos, **{name: strength}, fill=fill), ops.convert_to_numpy(theirs), atol=2e-3)


def test_one_step_keeps_small_images_sharper_than_three():
    image = np.kron(np.indices((7, 7)).sum(axis=0) % 2, np.ones((4, 4)))
    together = change(copies(image), zoom=0.05, rotation=10, shift=0.1)
    apart = copies(image)
    for name, strength in {"zoom": 0.05, "rotation": 10, "shift": 0.1}.items():
        apart = change(apart, **{name: strength})
    edges = [np.square(np.diff(views, axis=1)).sum() for views in (together, apart)]
    assert edges[0] > 1.2 * edges[1]


# ------------------------------------------------------------------------------------------------ in models


def classifier(seed: int = 0) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    steps = [layers.Input((18, 24, 3)), Augmentation(**STRENGTHS, seed=seed), layers.Flatten(), layers.Dense(2)]
    model = keras.Sequential(steps)
    model.compile("sgd", "mse")
    return model


def test_a_model_trains_on_changed_images_and_predicts_on_unchanged_ones(photos):
    targets = np.zeros((20, 2))
    losses = [classifier(seed).fit(photos, targets, batch_size=8, epochs=2, verbose=0).history for seed in (1, 1, 2)]
    assert np.isfinite(losses[0]["loss"]).all()
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    model = classifier()
    without = keras.Sequential(model.layers[1:])
    np.testing.assert_allclose(model.predict(photos, verbose=0), without.predict(photos, verbose=0), atol=1e-6)


def test_keras_compiles_a_model_with_it_on_jax(photos):
    model = classifier()
    model.fit(photos, np.zeros((20, 2)), verbose=0)
    assert model.jit_compile is (keras.backend.backend() == "jax")


class Agreeing(keras.Model):
    """An encoder whose two views of an image are to agree: views are drawn inside the compiled step."""

    def __init__(self):
        super().__init__()
        self.augmentation, self.encoder = Augmentation(**STRENGTHS), layers.Dense(3)

    def build(self, shape):
        self.encoder.build((None, 18 * 24 * 3))

    def call(self, images):
        return self.encoder(ops.reshape(images, (-1, 18 * 24 * 3)))

    def compute_loss(self, x, y=None, y_pred=None, sample_weight=None, training=True):
        first, second = two_views(x, self.augmentation)
        return ops.mean(ops.square(self(first) - self(second)))


def test_views_may_be_drawn_within_a_loss(photos):
    keras.utils.set_random_seed(0)
    model = Agreeing()
    model.compile(keras.optimizers.Adam(0.003))
    seen = model.fit(photos, batch_size=10, epochs=40, verbose=0).history["loss"]
    assert len(set(seen)) == 40
    assert 0 < np.mean(seen[-10:]) < 0.85 * np.mean(seen[:10])


def test_a_reloaded_model_has_the_same_strengths_and_draws_from_the_beginning(photos, tmp_path):
    model = classifier(seed=3)
    fresh = ops.convert_to_numpy(model.layers[0](photos, training=True))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True).layers[0]
    assert again.get_config() == model.layers[0].get_config()
    assert np.array_equal(ops.convert_to_numpy(again(photos, training=True)), fresh)


def test_half_precision_is_kept(photos):
    augmentation = Augmentation(**STRENGTHS, dtype="mixed_float16")
    views = augmentation(photos.astype(np.float16), training=True)
    assert keras.backend.standardize_dtype(views.dtype) == "float16"
    assert np.isfinite(ops.convert_to_numpy(views)).all()


def test_two_views_of_an_image_differ_and_belong_together():
    places = np.repeat([[-10, 0], [0, 10], [10, -10]], 20, axis=0)
    images = np.stack([blob(40, 40, *place) for place in places])[..., None]
    first, second = map(ops.convert_to_numpy, two_views(images, Augmentation(shift=0.05)))
    for views in (first, second):
        assert np.abs(centres(views) - places).max() < 2.1
    assert not np.isclose(centres(first), centres(second), atol=1e-3).any(axis=1).all()
    assert abs(np.corrcoef((centres(first) - places).ravel(), (centres(second) - places).ravel())[0, 1]) < 0.3


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crop": 1}, "crop=1, but nothing of an image would be left to see: take less than 1"),
        ({"crop": -0.1}, "crop=-0.1, but it is a number from 0 to 1"),
        ({"zoom": 1.0}, "zoom=1, but nothing"),
        ({"rotation": 200}, "rotation=200, but it is a number from 0 to 180"),
        ({"shift": 3}, "shift=3, but it is a number from 0 to 1"),
        ({"brightness": (0, 1)}, r"brightness=\(0, 1\), but it is a number from 0 to 1"),
        ({"noise": float("nan")}, "noise=nan, but it is a number from 0 to 1"),
        ({"fill": "black"}, "Unknown fill 'black'"),
        ({"seed": 1.5}, "seed=1.5, but it is a whole number of 0 or more"),
    ],
)
def test_a_strength_out_of_range_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Augmentation(**options)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"The input has shape \(3, 8\), but it takes images \(n, h, w, c\)"):
        Augmentation()(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        two_views(np.full((2, 4, 4, 1), 255), Augmentation(noise=0.1))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
@pytest.mark.parametrize("name", STRENGTHS)
def test_whole_numbers_are_refused(name, dtype, training):
    with pytest.raises(ValueError, match=r"The images are whole numbers: divide 8-bit images by 255\."):
        Augmentation(**{name: STRENGTHS[name]})(np.ones((2, 4, 4, 1), dtype), training=training)


def test_two_views_of_a_tensor_of_whole_numbers_are_refused():
    images = ops.convert_to_tensor(np.full((2, 4, 4, 1), 255, np.uint8))
    for augmentation in (Augmentation(noise=0.1), layers.GaussianNoise(0.1)):
        with pytest.raises(ValueError, match=r"^The images are whole numbers: divide 8-bit images by 255\.$"):
            two_views(images, augmentation)


def test_any_whole_number_is_a_seed(photos):
    for seed in (2**31, 2**64):
        assert not np.array_equal(change(photos, seed=seed, **STRENGTHS), photos)

"""`layers`: what they add, spoil and draw, in models that are trained, saved and reloaded, on any back-end."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy.stats import binom

from helpers import losses
from helpers.features import forward
from helpers.layers import Corruption, GaussianSample, KLSparsity, L1Sparsity

PENALTIES = {
    "KL": lambda: KLSparsity(0.1, weight=0.5),
    "KL with a running mean": lambda: KLSparsity(0.1, weight=0.5, momentum=0.9),
    "L1": lambda: L1Sparsity(weight=0.5),
}
KINDS = ["gaussian", "masking", "salt-and-pepper"]


def value(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def added(layer, inputs, training=False) -> float:
    """Return what a layer adds to the loss for these inputs."""
    layer(ops.convert_to_tensor(inputs), training=training)
    (loss,) = layer.losses
    return float(loss)


def uniform(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def penalised(penalty, rate=0.1):
    """Build a layer of sigmoid units that is trained by a penalty alone."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="sigmoid"), penalty])
    model.compile(keras.optimizers.SGD(rate))
    return model


def family(seed=0):
    """Build a variational denoiser with both penalties: every layer of the module."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((6,))
    hidden = KLSparsity(0.1, 0.01, momentum=0.5)(
        keras.layers.Dense(8, activation="sigmoid")(Corruption("masking", 0.3, 2 * seed)(images))
    )
    mean, log_variance = keras.layers.Dense(3)(hidden), keras.layers.Dense(3)(hidden)
    code = L1Sparsity(0.01)(GaussianSample(2 * seed + 1)([mean, log_variance]))
    model = keras.Model(images, keras.layers.Dense(6)(code))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


# Penalties


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_passes_its_input_on_unchanged(name, training):
    code = uniform(7, 5)
    assert np.array_equal(value(PENALTIES[name]()(code, training=training)), code)


@pytest.mark.parametrize("training", [False, True])
def test_a_penalty_is_its_loss_times_its_weight(training):
    code = uniform(7, 5)
    kl, l1 = float(losses.kl_sparsity(code, 0.1)), float(losses.l1_sparsity(code))
    assert added(KLSparsity(0.1, weight=3), code, training) == pytest.approx(3 * kl, rel=1e-6)
    assert added(L1Sparsity(weight=3), code, training) == pytest.approx(3 * l1, rel=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_batch_and_the_batch_ten_times_over_train_alike(name):
    images = uniform(16, 6)
    histories, weights = [], []
    for repeated in (images, np.tile(images, (10, 1))):
        model = penalised(PENALTIES[name]())
        history = model.fit(
            repeated,
            batch_size=len(repeated),
            epochs=3,
            validation_data=(repeated, None),
            validation_batch_size=len(repeated),
            verbose=0,
        )
        histories.append([history.history["loss"], history.history["val_loss"]])
        weights.append(model.layers[0].get_weights())
    np.testing.assert_allclose(*histories, rtol=1e-4)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    untrained = penalised(PENALTIES[name]()).layers[0].get_weights()
    assert np.abs(weights[0][0] - untrained[0]).max() > 1e-3


@pytest.mark.parametrize("name", ["KL", "L1"])
def test_training_loss_and_validation_loss_are_the_same_sum(name):
    images = uniform(16, 6)
    model = penalised(PENALTIES[name](), rate=0.0)
    history = model.fit(images, batch_size=16, validation_data=(images, None), verbose=0).history
    assert history["val_loss"] == pytest.approx(history["loss"], rel=1e-5)
    assert model.evaluate(images, batch_size=16, verbose=0) == pytest.approx(history["loss"][0], rel=1e-5)


def test_training_brings_the_mean_activation_to_rho():
    images = uniform(256, 6)
    model = penalised(KLSparsity(0.1, weight=1), rate=1.0)
    model.fit(images, batch_size=256, epochs=60, verbose=0)
    np.testing.assert_allclose(forward(model, images).mean(axis=0), 0.1, atol=0.01)


def test_activations_outside_are_refused_in_inference():
    with pytest.raises(ValueError, match=r"`activations` lies in \[0, 2\], but a probability lies in \[0, 1\]"):
        KLSparsity(0.1, 1)(np.float32([[0, 2], [0, 0]]))


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_activations_outside_make_the_training_loss_nan(momentum):
    model = keras.Sequential([keras.Input((2,)), KLSparsity(0.1, 1, momentum), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    images = np.float32([[0, 0.5], [0, 1.5]])  # both means lie inside
    assert math.isnan(model.fit(images, np.zeros((2, 1)), verbose=0).history["loss"][0])


@pytest.mark.parametrize("name", PENALTIES)
def test_in_mixed_precision_a_penalty_is_computed_in_single(name):
    code = uniform(300, 5)
    whole, half = PENALTIES[name](), PENALTIES[name]()
    half.dtype_policy = keras.DTypePolicy("mixed_float16")
    assert keras.backend.standardize_dtype(half(code).dtype) == "float16"
    assert added(half, code, training=True) == pytest.approx(added(whole, code, training=True), rel=1e-3)


# The running mean


def test_the_running_mean_forgets_at_the_rate_of_the_momentum():
    layer, expected = KLSparsity(0.2, weight=1, momentum=0.75), np.full(5, 0.2)
    for seed in range(4):
        batch = uniform(8, 5, seed=seed)
        found = added(layer, batch, training=True)
        expected = 0.75 * expected + 0.25 * batch.mean(axis=0)
        assert found == pytest.approx(float(np.sum(value(losses.bernoulli_divergence(0.2, expected)))), rel=1e-5)
        np.testing.assert_allclose(value(layer.running), expected, rtol=1e-6)


def test_inference_looks_at_the_running_mean_and_leaves_it():
    layer, batch = KLSparsity(0.2, weight=1, momentum=0.75), uniform(8, 5)
    expected = 0.75 * 0.2 + 0.25 * batch.mean(axis=0)
    for _ in range(2):
        assert added(layer, batch) == pytest.approx(
            float(np.sum(value(losses.bernoulli_divergence(0.2, expected)))), rel=1e-5
        )
    np.testing.assert_allclose(value(layer.running), 0.2)


def test_the_gradient_through_a_running_mean_is_that_of_the_batch_at_full_strength():
    images, rate = uniform(16, 6), 0.01
    model = penalised(KLSparsity(0.2, weight=1, momentum=0.75), rate)
    before = model.layers[0].get_weights()
    activations = forward(model, images).astype(np.float64)
    model.fit(images, batch_size=16, epochs=1, verbose=0)
    rho_hat = 0.75 * 0.2 + 0.25 * activations.mean(axis=0)
    slope = (1 - 0.2) / (1 - rho_hat) - 0.2 / rho_hat  # of the divergence, at the running mean
    expected = images.T @ (slope * activations * (1 - activations)) / 16
    found = (before[0] - model.layers[0].get_weights()[0]) / rate
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_running_mean_is_saved_and_not_trained():
    layer = KLSparsity(0.2, weight=1, momentum=0.75)
    layer.build((None, 5))
    assert len(layer.trainable_weights) == 0
    assert [tuple(weight.shape) for weight in layer.non_trainable_weights] == [(5,)]


def test_without_momentum_there_is_nothing_to_save():
    layer = KLSparsity(0.2, weight=1)
    layer.build((None, 5))
    assert layer.weights == []


# Corruption


@pytest.mark.parametrize("kind", KINDS)
def test_in_inference_images_pass_unchanged(kind):
    images = uniform(5, 8, 8, 3)
    assert np.array_equal(value(Corruption(kind, 0.5)(images)), images)


@pytest.mark.parametrize("kind", KINDS)
def test_no_corruption_changes_nothing(kind):
    images = uniform(5, 8, 8, 3)
    assert np.array_equal(value(Corruption(kind, 0.0)(images, training=True)), images)


def share_is(hits: np.ndarray, share: float) -> bool:
    low, high = binom(hits.size, share).interval(1 - 1e-6)
    return low <= hits.sum() <= high


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_masking_blackens_that_share_of_the_pixels_and_scales_nothing(level):
    images = 0.5 + uniform(20, 16, 16, 3) / 2
    spoilt = value(Corruption("masking", level)(images, training=True))
    black = (spoilt == 0).all(axis=-1)
    assert share_is(black, level)
    assert np.array_equal(spoilt[~black], images[~black])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_salt_and_pepper_whitens_and_blackens_half_of_that_share_each(level):
    images = 0.25 + uniform(20, 16, 16, 3) / 2
    spoilt = value(Corruption("salt-and-pepper", level)(images, training=True))
    black, white = ((spoilt == extreme).all(axis=-1) for extreme in (0, 1))
    assert share_is(black, level / 2)
    assert share_is(white, level / 2)
    assert np.array_equal(spoilt[~black & ~white], images[~black & ~white])


def test_gaussian_noise_has_its_level_everywhere_and_is_not_clipped():
    images = np.zeros((50, 16, 16, 3), np.float32)
    images[:25] = 1
    noise = value(Corruption("gaussian", 0.2)(images, training=True)) - images
    standard_error = 0.2 / np.sqrt(noise[:25].size)
    for half in (noise[:25], noise[25:]):
        assert abs(half.mean()) < 5 * standard_error
        assert half.std() == pytest.approx(0.2, abs=5 * standard_error)
    channels = noise.reshape(-1, 3)
    assert np.abs(np.corrcoef(channels.T) - np.eye(3)).max() < 5 / np.sqrt(len(channels))


@pytest.mark.parametrize(("kind", "possible"), [("masking", {0.0}), ("salt-and-pepper", {0.0, 1.0})])
def test_at_level_1_no_pixel_is_left(kind, possible):
    spoilt = value(Corruption(kind, 1.0)(0.25 + uniform(5, 8, 8, 1) / 2, training=True))
    assert set(spoilt.ravel().tolist()) == possible


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_a_vector_is_spoilt_by_itself(kind):
    vectors = 0.25 + uniform(50, 40) / 2
    changed = value(Corruption(kind, 0.5)(vectors, training=True)) != vectors
    assert (changed.mean(axis=0) > 0.2).all()
    assert (changed.mean(axis=1) > 0.1).all()
    assert changed.all() == (kind == "gaussian")


@pytest.mark.parametrize("kind", KINDS)
def test_corruption_repeats_with_the_seed_and_never_within_a_run(kind):
    images = 0.25 + uniform(4, 8, 8, 1) / 2
    first, again, other = (Corruption(kind, 0.5, seed) for seed in (1, 1, 2))
    drawn = [value(first(images, training=True)) for _ in range(2)]
    assert np.array_equal(drawn[0], value(again(images, training=True)))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], value(other(images, training=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_a_training_are_spoilt_differently(kind):
    model = keras.Sequential([keras.Input((6,)), Corruption(kind, 0.5), L1Sparsity(1), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    images = 0.25 + uniform(8, 6) / 2
    seen = model.fit(images, np.zeros((8, 1)), batch_size=8, epochs=3, verbose=0).history["loss"]
    assert len(set(seen)) == 3


# Draws from a Gaussian


def test_in_inference_a_sample_is_the_mean():
    mean, log_variance = uniform(2, 5, 3)
    assert np.array_equal(value(GaussianSample()([mean, log_variance])), mean)


def test_samples_have_their_mean_and_variance():
    mean, log_variance = np.float32([-1, 0, 2]), np.float32([-4, 0, 1])
    inputs = [np.tile(numbers, (40_000, 1)) for numbers in (mean, log_variance)]
    drawn, deviation = value(GaussianSample(3)(inputs, training=True)), np.exp(log_variance / 2)
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * deviation / 200).all()
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=5 / 200)


def test_a_sample_is_the_mean_plus_the_deviation_times_standard_noise():
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    zero = np.zeros((5, 3), np.float32)
    noise = value(GaussianSample(7)([zero, zero], training=True))
    drawn = value(GaussianSample(7)([mean, log_variance], training=True))
    np.testing.assert_allclose(drawn, mean + np.exp(log_variance / 2) * noise, atol=1e-5)


def test_mean_and_variance_learn_through_a_sample():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(3, name=name) for name in ("mean", "log_variance")]
    model = keras.Model(inputs, GaussianSample()([head(inputs) for head in heads]))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [head.get_weights()[0] for head in heads]
    model.fit(uniform(8, 4), uniform(8, 3), verbose=0)
    for head, was in zip(heads, before, strict=True):
        assert (head.get_weights()[0] != was).any(axis=0).all()


def test_samples_repeat_with_the_seed_and_never_within_a_run():
    inputs = list(np.zeros((2, 4, 3), np.float32))
    first, again, other = (GaussianSample(seed) for seed in (1, 1, 2))
    drawn = [value(first(inputs, training=True)) for _ in range(2)]
    assert np.array_equal(drawn[0], value(again(inputs, training=True)))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], value(other(inputs, training=True)))


# Seeds and numbers of both


def test_the_seed_is_that_of_keras():
    zeros = np.zeros((6, 4), np.float32)
    expected = value(keras.random.normal((6, 4), seed=keras.random.SeedGenerator(3)))
    assert np.array_equal(value(Corruption("gaussian", 1.0, 3)(zeros, training=True)), expected)
    assert np.array_equal(value(GaussianSample(3)([zeros, zeros], training=True)), expected)


def test_two_layers_draw_apart_only_from_two_seeds():
    zeros = np.zeros((200, 50), np.float32)
    noise = value(Corruption("gaussian", 1.0, 0)(zeros, training=True)).ravel()
    drawn = [value(GaussianSample(seed)([zeros, zeros], training=True)).ravel() for seed in (0, 1)]
    assert np.corrcoef(noise, drawn[0])[0, 1] == pytest.approx(1)
    assert abs(np.corrcoef(noise, drawn[1])[0, 1]) < 0.05


def test_the_largest_seed_draws():
    zeros = np.zeros((6, 4), np.float32)
    assert value(Corruption("gaussian", 1.0, 2**31 - 1)(zeros, training=True)).std() > 0
    assert value(GaussianSample(2**31 - 1)([zeros, zeros], training=True)).std() > 0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("given_as", [np.asarray, ops.convert_to_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_are_refused(kind, given_as, dtype, training):
    with pytest.raises(ValueError, match=r"The images are whole numbers: divide 8-bit images by 255\."):
        Corruption(kind, 0.1)(given_as(np.ones((2, 4, 4, 1), dtype)), training=training)


class Denoiser(keras.Model):
    """Gets images as they are: functional and sequential models cast them to the dtype of their `Input`."""

    def __init__(self):
        super().__init__()
        self.corruption, self.dense = Corruption("gaussian", 0.1), keras.layers.Dense(1)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, images, training=False):
        return self.dense(self.corruption(images, training=training))


def test_whole_numbers_are_refused_in_training():
    model = Denoiser()
    model.compile("sgd", "mse")
    # Keras 3.13 passes the sentence on in an error of its own
    with pytest.raises((ValueError, RuntimeError), match=r"The images are whole numbers: divide 8-bit images by 255\."):
        model.fit(np.ones((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 4, 1)), verbose=0)


# Whole models


def test_a_fitted_model_comes_back_in_safe_mode_with_the_same_features(tmp_path):
    images, model = uniform(32, 6), family()
    model.fit(images, images, batch_size=8, epochs=2, verbose=0)
    model.save(tmp_path / "family.keras")
    again = keras.models.load_model(tmp_path / "family.keras", safe_mode=True)
    assert np.array_equal(forward(again, images), forward(model, images))
    assert again.evaluate(images, images, verbose=0) == model.evaluate(images, images, verbose=0)


def test_a_reloaded_model_draws_from_the_beginning(tmp_path):
    images, model = uniform(32, 6), family()
    fresh = value(model(images, training=True))
    model(images, training=True)
    model.save(tmp_path / "family.keras")
    again = keras.models.load_model(tmp_path / "family.keras", safe_mode=True, compile=False)
    assert np.array_equal(value(again(images, training=True)), fresh)


def test_equal_seeds_give_equal_trainings():
    images = uniform(32, 6)
    runs = [family(seed).fit(images, images, batch_size=8, epochs=2, verbose=0).history for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    "layer",
    [
        KLSparsity(0.1, 2, momentum=0.3, name="kl"),
        L1Sparsity(2, name="l1"),
        Corruption("masking", 0.3, seed=4, name="corruption"),
        GaussianSample(5, name="sample"),
    ],
    ids=lambda layer: layer.name,
)
def test_a_layer_is_built_again_from_its_configuration(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(type(layer)) == f"features_without_labels>{type(layer).__name__}"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: KLSparsity(0, 1), r"rho=0, but it is a number strictly between 0 and 1\."),
        (lambda: KLSparsity(1.0, 1), r"rho=1.0, but it is a number strictly between 0 and 1\."),
        (lambda: KLSparsity(0.1, -1), r"weight=-1, but it is a number of 0 or more\."),
        (lambda: KLSparsity(0.1, math.inf), r"weight=inf, but it is a number of 0 or more\."),
        (lambda: KLSparsity(0.1, 1, 1.5), r"momentum=1.5, but it is a number from 0 to 1\."),
        (lambda: KLSparsity(0.1, 1, 1), r"momentum=1.0, but a running mean that never moves is none: take less"),
        (lambda: L1Sparsity(-0.5), r"weight=-0.5, but it is a number of 0 or more\."),
        (lambda: L1Sparsity("1"), r"weight='1', but it is a number of 0 or more\."),
        (lambda: Corruption("mask", 0.1), r"Unknown kind of corruption 'mask': did you mean 'masking'\?"),
        (lambda: Corruption("gaussian", -0.1), r"level=-0.1, but it is a number of 0 or more\."),
        (lambda: Corruption("masking", 1.1), r"level=1.1, but it is a number from 0 to 1\."),
        (lambda: Corruption("salt-and-pepper", -0.1), r"level=-0.1, but it is a number from 0 to 1\."),
        (lambda: Corruption("gaussian", 0.1, seed=-1), r"seed=-1, but it is a whole number from 0 to 2147483647\."),
        (lambda: Corruption("gaussian", 0.1, seed=2**31), r"seed=2147483648, but it is a whole number from 0 to 2147"),
        (lambda: GaussianSample(0.5), r"seed=0.5, but it is a whole number from 0 to 2147483647\."),
        (lambda: GaussianSample(2**31), r"seed=2147483648, but it is a whole number from 0 to 2147483647\."),
        (lambda: KLSparsity(0.1, 1)(uniform(2, 3, 4)), r"has shape \(2, 3, 4\), but a penalty on units takes \(n, d\)"),
        (
            lambda: L1Sparsity(1)(keras.Input((3, 4))),
            r"has shape \(None, 3, 4\), but a penalty on units takes \(n, d\)",
        ),
        (lambda: Corruption("masking", 1)(uniform(2, 3, 4)), r"has shape \(2, 3, 4\): give images \(n, h, w, c\) or"),
        (lambda: GaussianSample()(uniform(2, 3)), r"has shape \(2, 3\): give \[mean, log_variance\], two of the same"),
        (
            lambda: GaussianSample()([uniform(2, 3), uniform(2, 4)]),
            r"\[\(2, 3\), \(2, 4\)\]: give \[mean, log_variance",
        ),
    ],
)
def test_a_bad_argument_is_refused_in_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence) as refused:
        make()
    assert "\n" not in str(refused.value)

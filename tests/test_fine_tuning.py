"""`fine_tuning`: the weights are those of the formula, the frozen part stays as it was, and seeds do not meet."""

import math

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_sample_weight

from helpers import backbones, features, fine_tuning, weights
from helpers.datasets import ImageSet

NAMES = ("red cell", "white cell", "platelet")
OPTIONS = {"epochs": 2, "batch_size": 8, "learning_rate": 0.1}


def image_set(n, seed, labels=None):
    """Bright, grey and dark noise: half, a quarter and a quarter of the images."""
    random = np.random.default_rng(seed)
    labels = np.resize([0, 1, 0, 2], n) if labels is None else np.asarray(labels)
    images = np.array([0.8, 0.5, 0.2])[labels][:, None, None, None] + random.uniform(-0.2, 0.2, (n, 8, 8, 3))
    return ImageSet(images, labels, NAMES, "noise", "drawn here", "CC0")


@pytest.fixture(scope="module")
def train():
    return image_set(44, 0)


@pytest.fixture(scope="module")
def validation():
    return image_set(24, 1)


def small():
    """A network of three stages with a branch, a sum and BatchNormalization, as `backbones.load` returns deep ones."""
    images = keras.Input((None, None, 3))
    first = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2)(images)))
    aside = layers.Conv2D(8, 1)(first)
    second = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(first))
    total = layers.ReLU()(layers.Add()([aside, second]))
    stages = {"early": first, "branch": second, "penultimate": total}
    model = keras.Model(images, [layers.GlobalAveragePooling2D()(value) for value in stages.values()], name="small")
    random = np.random.default_rng(0)
    model.set_weights(
        [random.normal(0, 0.3, value.shape) if value.ndim > 1 else value for value in model.get_weights()]
    )
    sizes = {stage: value.shape[-1] for stage, value in stages.items()}
    return backbones.Backbone("small", model, sizes, "random", "random weights", weights.digest(model))


@pytest.fixture(scope="module")
def backbone(train):
    return fine_tuning.calibrate(small(), train.images)


@pytest.fixture(scope="module")
def tuned(backbone, train, validation):
    return fine_tuning.fine_tune(backbone, train, validation, stage="early", seeds=(0, 1), **OPTIONS)


def numbers(variables):
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def all_equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# --------------------------------------------------------------------------------------------------- class weights


def test_class_weights_are_those_of_the_formula_and_of_scikit_learn():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 30, 20]))
    found = fine_tuning.class_weights(labels, NAMES)
    assert found == pytest.approx({0: 100 / 150, 1: 100 / 90, 2: 100 / 60})
    assert np.array_equal([found[label] for label in labels], compute_sample_weight("balanced", labels))


def test_keras_divides_the_weighted_loss_by_the_number_of_images_and_not_by_the_sum_of_weights():
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(6, 4)).astype(np.float32), np.array([0, 0, 0, 0, 1, 2])
    chosen = {0: 0.5, 1: 2.0, 2: 7.0}
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    losses = -log_softmax(inputs @ numbers(model.weights)[0], axis=1)[np.arange(6), labels]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = model.fit(inputs, labels, batch_size=6, class_weight=chosen, verbose=0).history["loss"][0]
    image_weights = np.array([chosen[label] for label in labels])
    assert found == pytest.approx((image_weights * losses).sum() / 6, rel=1e-5)
    assert found != pytest.approx((image_weights * losses).sum() / image_weights.sum(), rel=0.1)


def test_keras_gives_a_forgotten_class_the_weight_1_and_passes_over_an_unknown_one():
    """Why `check_class_weights` is there."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1e-9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs, labels = np.ones((4, 4), np.float32), np.array([0, 1, 2, 2])
    found = model.fit(inputs, labels, batch_size=4, class_weight={0: 3.0, 9: 50.0}, verbose=0).history["loss"][0]
    assert found == pytest.approx(math.log(3) * (3 + 1 + 1 + 1) / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, 1], r"^The training split holds no image of class 'platelet': split so that every class has its share"),
        ([2, 2], r"^The training split holds no image of class 'red cell', 'white cell': split so"),
        ([0, 1, 2, 3], r"^`labels` lie in 0 to 3, but 3 class names allow 0 to 2\.$"),
        ([-1, 0, 1, 2], r"^`labels` lie in -1 to 2, but 3 class names allow 0 to 2\.$"),
    ],
)
def test_a_class_without_images_and_a_label_without_a_class_are_refused(labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        fine_tuning.class_weights(labels, NAMES)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({0: 1, 1: 1, 2: 1, 3: 1}, r"^The class weights name class 3, but there are these classes: 0: red cell, 1: wh"),
        ({"platelet": 1}, r"^The class weights name class 'platelet', but there are these classes: 0: red cell"),
        ({0: 1, 1: 1}, r"^The class weights leave out 'platelet': give one for each of 0: red cell, 1: white cell"),
        ({0: 1, 1: 0, 2: 1}, r"^weight of 'white cell'=0, but it is a number more than 0\.$"),
        (
            [1.0, 1.0, 2.0],
            r"^The class weights are \[1\.0, 1\.0, 2\.0\]: give a dictionary, with one for each of 0: red",
        ),
        ({0: 1, 1: 1, 2: math.nan}, r"^weight of 'platelet'=nan, but it is a number more than 0\.$"),
    ],
)
def test_class_weights_that_keras_would_pass_over_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        fine_tuning.check_class_weights(given, NAMES)


# ---------------------------------------------------------------------------------------------------- trunk and top


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("resnet50", "stage 2"),
        ("resnet50", "stage 3"),
        ("resnet50", "stage 4"),
        ("resnet50", "penultimate"),
        ("inception_resnet_v2", "blocks C"),
        ("xception", "block 13"),
    ],
)
def test_trunk_and_top_together_are_the_network(deep_network, name, stage):
    network = deep_network(name)
    images = np.random.default_rng(0).random((2, network.size, network.size, 3), dtype=np.float32)
    trunk, top = fine_tuning.cut(network, stage)
    maps = features.forward(trunk, images)
    assert maps.shape[-1] == network.sizes[stage]
    expected = features.forward(keras.Model(network.model.inputs, network.model.outputs[-1]), images)
    np.testing.assert_allclose(features.forward(top, maps), expected, atol=1e-5 * np.abs(expected).max())
    assert weights.digest(network.model) == network.digest


def test_the_stage_is_the_mean_of_the_map_where_the_trunk_ends(backbone, train):
    trunk, _ = fine_tuning.cut(backbone, "early")
    expected = features.forward(keras.Model(backbone.model.inputs, backbone.model.outputs[0]), train.images)
    np.testing.assert_allclose(features.forward(trunk, train.images).mean(axis=(1, 2)), expected, atol=1e-5)


def test_fitting_a_top_changes_neither_the_backbone_nor_another_top(backbone, train):
    trunk, top = fine_tuning.cut(backbone, "early")
    _, other = fine_tuning.cut(backbone, "early")
    before = numbers(other.weights)
    fine_tuning.unfreeze(top, batch_normalization=True)
    top.compile("sgd", "mse")
    maps = features.forward(trunk, train.images)
    top.fit(maps, np.ones((len(maps), 8), np.float32), verbose=0)
    assert not all_equal(numbers(top.weights), before)
    assert all_equal(numbers(other.weights), before)
    assert weights.digest(backbone.model) == backbone.digest


def test_a_branch_is_no_place_to_cut(backbone, deep_network):
    with pytest.raises(ValueError, match=r"^small cannot be cut at 'branch', for what follows takes other maps too: c"):
        fine_tuning.cut(backbone, "branch")
    with pytest.raises(ValueError, match=r"^inception_v3 cannot be cut at 'pool 2'"):
        fine_tuning.cut(deep_network("inception_v3"), "pool 2")
    with pytest.raises(ValueError, match="did you mean 'early'"):
        fine_tuning.cut(backbone, "eary")


# ---------------------------------------------------------------------------------------------- BatchNormalization


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_batch_normalization_keeps_everything_unless_it_is_left_in_training_mode(
    backbone, train, validation, batch_normalization
):
    (found,) = fine_tuning.fine_tune(
        backbone, train, validation, stage="early", batch_normalization=batch_normalization, **OPTIONS
    )
    (ours,) = backbones.batch_normalizations(found.top)
    theirs = backbones.batch_normalizations(backbone.model)[1]
    for one, other in zip(numbers(ours.weights), numbers(theirs.weights), strict=True):  # scale, offset, mean, variance
        assert np.array_equal(one, other) is not batch_normalization


def test_unfreezing_leaves_batch_normalization_in_inference_mode(backbone, train):
    trunk, top = fine_tuning.cut(backbone, "early")
    maps = features.forward(trunk, train.images[:5])  # a batch unlike the images that were measured
    fine_tuning.unfreeze(top)
    assert len(top.trainable_variables) == 4  # kernel and bias of two convolutions
    assert np.array_equal(*(numbers([top(maps, training=mode)])[0] for mode in (False, True)))
    fine_tuning.unfreeze(top, batch_normalization=True)
    assert len(top.trainable_variables) == 6  # scale and offset, too
    assert not np.allclose(*(numbers([top(maps, training=mode)])[0] for mode in (False, True)))


def test_calibrated_statistics_are_numpys_layer_after_layer(train):
    network = small()
    found = fine_tuning.calibrate(network, train.images)
    first, second = backbones.batch_normalizations(found.model)
    for layer in (first, second):
        into = features.forward(keras.Model(found.model.inputs, layer.input), train.images)
        mean, variance = numbers([layer.moving_mean, layer.moving_variance])
        np.testing.assert_allclose(mean, into.mean(axis=(0, 1, 2)), atol=1e-5)
        np.testing.assert_allclose(variance, into.var(axis=(0, 1, 2)), rtol=1e-3)


def test_a_calibrated_backbone_says_so_and_has_a_digest_of_its_own(train):
    network = small()
    found = fine_tuning.calibrate(network, train.images)
    assert found.source == "random weights, BatchNormalization measured on 44 images"
    assert found.digest == weights.digest(found.model) != network.digest
    assert found.model is network.model


def test_batches_are_drawn_at_random_so_that_none_holds_one_class_alone(train):
    in_order = train[np.argsort(train.labels)]
    found, again, other, ordered = (small() for _ in range(4))
    for network, seed in ((found, 0), (again, 0), (other, 1)):
        fine_tuning.calibrate(network, in_order.images, batch_size=11, seed=seed)
    batches = [keras.ops.convert_to_tensor(part) for part in np.split(in_order.images, 4)]
    backbones.measure_statistics(ordered.model, batches)
    assert weights.digest(found.model) == weights.digest(again.model) != weights.digest(other.model)

    def within(network):
        return numbers([backbones.batch_normalizations(network.model)[0].moving_variance])[0].mean()

    assert within(ordered) < 0.5 * within(found)  # what differs between classes is missing


def test_a_network_on_its_own_is_calibrated_as_well(backbone, train):
    trunk, top = fine_tuning.cut(backbone, "early")
    maps = 5 * features.forward(trunk, train.images)
    assert fine_tuning.calibrate(top, maps) is top
    (layer,) = backbones.batch_normalizations(top)
    into = features.forward(keras.Model(top.inputs, layer.input), maps)
    np.testing.assert_allclose(numbers([layer.moving_mean])[0], into.mean(axis=(0, 1, 2)), atol=1e-4)


def test_what_cannot_be_calibrated_is_refused(backbone):
    with pytest.raises(ValueError, match=r"^plain has no BatchNormalization: there is nothing to measure, go on with"):
        fine_tuning.calibrate(keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="plain"), np.ones((3, 4)))
    with pytest.raises(ValueError, match="NaN or infinite, but images lie in"):
        fine_tuning.calibrate(backbone, np.full((3, 8, 8, 3), np.nan))
    _, top = fine_tuning.cut(backbone, "early")
    for maps in (np.zeros((0, 3, 3, 6)), np.full((4, 3, 3, 6), np.nan)):
        with pytest.raises(ValueError, match=r"^`images` are none, or hold NaN or infinity: give one image or more"):
            fine_tuning.calibrate(top, maps)


# ------------------------------------------------------------------------------------------------------ fine-tuning


def test_fine_tuning_learns_classes_that_differ(backbone, train, validation):
    (found,) = fine_tuning.fine_tune(backbone, train, validation, stage="early", epochs=12, batch_size=8)
    assert found.history["loss"][-1] < 0.5 * found.history["loss"][0]
    assert found.history["validation balanced accuracy"][-1] > 0.9  # chance is 1/3
    assert {len(values) for values in found.history.values()} == {12}


def test_one_step_of_the_head_is_the_gradient_of_the_weighted_loss_cut_to_length_one(backbone, train, validation):
    rate, n = 0.2, len(train)
    (found,) = fine_tuning.fine_tune(
        backbone, train, validation, stage="penultimate", epochs=1, batch_size=n, learning_rate=rate
    )
    inputs = features.forward(found.encoder, train.images).astype(np.float64)
    image_weights = compute_sample_weight("balanced", train.labels)[:, None]
    errors = image_weights * (softmax(np.zeros((n, 3)), axis=1) - np.eye(3)[train.labels]) / n
    gradient = [inputs.T @ errors, errors.sum(axis=0)]
    length = np.sqrt(sum((part**2).sum() for part in gradient))
    for value, part in zip(numbers(found.head.weights), gradient, strict=True):
        np.testing.assert_allclose(value, -rate * part / max(length, 1.0), atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_the_loss_starts_at_the_logarithm_of_the_number_of_classes_however_large_the_features(
    train, validation, factor
):
    network = fine_tuning.calibrate(small(), train.images)
    kernel = next(layer for layer in network.model.layers if isinstance(layer, layers.Conv2D) and layer.filters == 8)
    kernel.kernel.assign(factor * kernel.kernel)
    options = {**OPTIONS, "learning_rate": 1e-12}
    (found,) = fine_tuning.fine_tune(network, train, validation, stage="early", **options)
    assert found.history["loss"] == pytest.approx([math.log(3)] * 2, rel=1e-4)  # weights have the mean 1


def test_the_history_of_the_validation_set_is_that_of_the_classifier(tuned, train, validation):
    own = fine_tuning.class_weights(train.labels, NAMES)
    for found in tuned:
        logits = features.forward(found.classifier, validation.images)
        losses = -log_softmax(logits, axis=1)[np.arange(len(validation)), validation.labels]
        weighted = np.mean([own[label] * loss for label, loss in zip(validation.labels, losses, strict=True)])
        assert found.weights == own
        assert found.history["validation loss"][-1] == pytest.approx(weighted, rel=1e-4)
        accuracy = balanced_accuracy_score(validation.labels, logits.argmax(axis=1))
        assert found.history["validation balanced accuracy"][-1] == pytest.approx(accuracy)


def test_the_parts_make_up_the_whole(tuned, train):
    assert tuned[0].trunk is tuned[1].trunk
    maps = features.forward(tuned[0].trunk, train.images)
    for found in tuned:
        penultimate = features.forward(found.top, maps)
        np.testing.assert_allclose(features.forward(found.encoder, train.images), penultimate, atol=1e-5)
        logits = features.forward(found.head, penultimate)
        np.testing.assert_allclose(features.forward(found.classifier, train.images), logits, atol=1e-5)
        assert found.encoder.output_shape == (None, 8)


def test_a_seed_gives_the_same_network_alone_and_in_company(tuned, backbone, train, validation):
    (alone,) = fine_tuning.fine_tune(backbone, train, validation, stage="early", seeds=[1], **OPTIONS)
    first, second = tuned
    assert alone.history == second.history != first.history
    assert all_equal(numbers(alone.classifier.weights), numbers(second.classifier.weights))
    assert not all_equal(numbers(first.classifier.weights), numbers(second.classifier.weights))


def test_the_backbone_is_as_it_was(tuned, backbone):
    assert weights.digest(backbone.model) == backbone.digest
    trunk, top = fine_tuning.cut(backbone, "early")
    assert all_equal(numbers(tuned[0].trunk.weights), numbers(trunk.weights))
    assert not all_equal(numbers(tuned[0].top.weights), numbers(top.weights))


def test_without_a_stage_the_cut_is_before_the_last_one(backbone, train, validation):
    reduced = backbones.Backbone(
        "small",
        keras.Model(backbone.model.inputs, [backbone.model.outputs[0], backbone.model.outputs[2]]),
        {"early": 6, "penultimate": 8},
        "random",
        "random weights",
        "",
    )
    (found,) = fine_tuning.fine_tune(reduced, train, validation, epochs=1)
    assert found.top.input_shape[-1] == 6


def test_weights_may_be_given_or_left_away(backbone, train, validation):
    heavy = {0: 1.0, 1: 1.0, 2: 100.0}
    shares = []
    for chosen in (None, heavy):
        (found,) = fine_tuning.fine_tune(backbone, train, validation, stage="penultimate", weights=chosen, **OPTIONS)
        assert found.weights == chosen
        shares.append((features.forward(found.classifier, train.images).argmax(axis=1) == 2).mean())
    assert shares[1] > shares[0]


def test_a_classifier_comes_back_from_a_file_in_safe_mode(tuned, train, tmp_path):
    tuned[0].classifier.save(tmp_path / "classifier.keras")
    again = keras.models.load_model(tmp_path / "classifier.keras", safe_mode=True)
    expected = features.forward(tuned[0].classifier, train.images)
    assert np.array_equal(features.forward(again, train.images), expected)


def test_balanced_accuracy_is_scikit_learns_over_any_batches():
    random = np.random.default_rng(0)
    labels, logits = random.choice(4, 60, p=[0.7, 0.1, 0.15, 0.05]), random.normal(size=(60, 4)).astype(np.float32)
    logits[np.arange(60), labels] += 1
    metric = fine_tuning._BalancedAccuracy(4)
    for rows in np.split(np.arange(60), [7, 20, 21]):
        metric.update_state(labels[rows], logits[rows])
    assert float(metric.result()) == pytest.approx(balanced_accuracy_score(labels, logits.argmax(axis=1)), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"stage": "erly"}, "did you mean 'early'"),
        ({"weights": "balance"}, "did you mean 'balanced'"),
        ({"weights": {0: 1.0, 1: 1.0}}, "leave out 'platelet'"),
        ({"epochs": 0}, r"^epochs=0, but it is a whole number of 1 or more\.$"),
        ({"batch_size": 1.5}, r"^batch_size=1\.5, but it is a whole number of 1 or more\.$"),
        ({"learning_rate": 0}, r"^learning_rate=0, but it is a number more than 0\.$"),
        ({"momentum": 1}, "^momentum=1 never forgets a gradient, and diverges: give a number below 1"),
        ({"seeds": [-1]}, r"^seed=-1, but it is a whole number of 0 or more\.$"),
        ({"seeds": 3}, r"^seeds=3 is no list of seeds: give one or more, as in seeds=\(0, 1, 2\)\.$"),
        ({"seeds": []}, "^There are no seeds: give one or more"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(backbone, train, validation, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        fine_tuning.fine_tune(backbone, train, validation, **{"stage": "early", **options})


@pytest.mark.parametrize("chosen", ["balanced", None, {0: 1.0, 1: 1.0, 2: 1.0}])
def test_a_class_that_is_missing_from_the_training_set_is_named(backbone, validation, chosen):
    lacking = image_set(20, 0, labels=np.resize([0, 1], 20))
    with pytest.raises(ValueError, match=r"^The training split holds no image of class 'platelet'"):
        fine_tuning.fine_tune(backbone, lacking, validation, stage="early", weights=chosen)


def test_sets_of_other_classes_are_refused(backbone, train, validation):
    other = ImageSet(validation.images, validation.labels, ("a", "b", "c"), "other", "", "")
    with pytest.raises(ValueError, match=r"^The training set has the classes \('red cell'.*split one set into both"):
        fine_tuning.fine_tune(backbone, train, other, stage="early")


def test_a_training_that_diverges_in_its_very_last_step_is_named(train, validation):
    network = small()
    network.model.set_weights([1e3 * value for value in network.model.get_weights()])
    options = {"stage": "penultimate", "epochs": 1, "batch_size": len(train), "learning_rate": 1e37}
    with pytest.raises(ValueError, match=r"^The training diverged in epoch 1 .* \(its loss is 1\.0986.*use a smaller"):
        fine_tuning.fine_tune(network, train, validation, **options)


def test_weights_that_are_nan_and_a_training_that_diverges_are_named(train, validation):
    network = small()
    with pytest.raises(
        ValueError, match=r"^The training diverged in epoch \d of seed 3 .* use a smaller learning_rate"
    ):
        fine_tuning.fine_tune(network, train, validation, stage="early", seeds=[3], epochs=6, learning_rate=1e30)
    network.model.set_weights([np.full_like(value, np.nan) for value in network.model.get_weights()])
    with pytest.raises(ValueError, match=r"^small yields NaN or infinity where it is cut: check its weights"):
        fine_tuning.fine_tune(network, train, validation, stage="early")

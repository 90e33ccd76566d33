"""The assignment on fine-tuning: what its checks call right, Keras calls right, and every class has a clear answer."""

import keras
import numpy as np
import pytest

from helpers import checks
from helpers.checks import fine_tuning as questions

CLASSES = [checks.numbers("fine-tuning", seed) for seed in range(40)]


def test_keras_reports_the_focal_loss_with_class_weights_that_the_question_asks_for():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(12, 3)).astype("float32"), np.arange(12) % 3
    same = keras.layers.Dense(3, kernel_initializer="identity", use_bias=False)
    model = keras.Sequential([keras.Input((3,)), same])
    loss = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.5, from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss)
    weights = {0: 0.5, 2: 3.0}  # class 1 is left out
    found = model.train_on_batch(logits, np.eye(3)[labels], class_weight=weights)
    assert float(found) == pytest.approx(questions.focal_loss(logits, labels, weights, 2.5), rel=1e-5)


def test_a_normalisation_with_the_statistics_of_all_images_is_the_scale_and_offset_of_the_question():
    rng = np.random.default_rng(0)
    batches = [rng.normal(at, 0.5, (size, 4)) for at, size in ((-2, 9), (1, 9), (3, 4))]
    images = np.concatenate(batches)
    layer = keras.layers.BatchNormalization(epsilon=0.05)
    layer.build((None, 4))
    gamma, beta = rng.uniform(0.5, 2, (2, 4))
    layer.set_weights([gamma, beta, images.mean(axis=0), images.var(axis=0)])
    means, variances = (np.array([part(batch, axis=0) for batch in batches]) for part in (np.mean, np.var))
    scale, offset = questions.folded(gamma, beta, means, variances, np.array([9, 9, 4]), 0.05)
    expected = keras.ops.convert_to_numpy(layer(images.astype("float32"), training=False))
    np.testing.assert_allclose(scale * images + offset, expected, atol=1e-4)


def test_in_every_class_both_heads_are_equally_accurate_at_the_share_that_is_asked_for():
    for numbers in CLASSES:
        tables = questions.confusions(numbers)
        share = questions.break_even(tables)
        assert 0.3 < share < 0.9
        recalls = [np.diag(table) / table.sum(axis=1) for table in tables.values()]
        one, other = (recall @ [share, (1 - share) / 2, (1 - share) / 2] for recall in recalls)
        assert one == pytest.approx(other)


def test_in_every_class_no_known_error_leads_to_the_right_share():
    for numbers in CLASSES:
        tables = questions.confusions(numbers)
        share = questions.break_even(tables)
        for wrong in (1 - share, questions.break_even(tables, axis=0), questions._whole_rest(tables)):
            assert abs(wrong - share) > 0.01 * share


@pytest.mark.parametrize("across", ["mean", "median"])
def test_in_every_class_the_script_that_forgot_moves_the_features_farthest(across):
    for numbers in CLASSES:
        reference, extracted = questions.run_scripts(numbers)
        shifts = np.array([questions.shift(found, reference, across) for found in extracted])
        assert shifts.argmax() == questions.culprit(numbers)
        assert np.sort(shifts)[-1] > 1.5 * np.sort(shifts)[-2]

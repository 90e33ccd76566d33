"""What the checks of *Contrasting pairs* hold to be right, against the course's own losses and instruments."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from sklearn.metrics import roc_auc_score

from helpers import checks, losses
from helpers.checks import contrasting_pairs as questions
from helpers.separability import effective_rank


@pytest.fixture(params=range(3))
def numbers(request):
    return checks.numbers("contrasting-pairs", request.param)


def siamese(numbers, strides=2, activation="relu", pool=layers.GlobalMaxPooling2D, last=None, padding="valid"):
    shape, convolved = (numbers.size, numbers.size, 1), {"strides": strides, "activation": activation}
    first = layers.Conv2D(numbers.channels, 3, padding=padding, **convolved)
    second = layers.Conv2D(2 * numbers.channels, 3, **convolved)
    encoder = keras.Sequential(
        [layers.Input(shape), first, second, pool(), layers.Dense(numbers.dimensions, activation=last)]
    )
    pair = [keras.Input(shape), keras.Input(shape)]
    return keras.Model(pair, layers.Dot(axes=1, normalize=True)([encoder(image) for image in pair]))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_siamese_network_passes_with_any_padding_and_keeps_its_weights(padding, numbers):
    network = siamese(numbers, padding=padding)
    before = network.get_weights()
    questions.q1(network, numbers)
    assert all(map(np.array_equal, network.get_weights(), before))


@pytest.mark.parametrize(
    "error", [{"strides": 1}, {"activation": "tanh"}, {"pool": layers.GlobalAveragePooling2D}, {"last": "relu"}]
)
def test_an_encoder_that_differs_in_one_step_does_not_pass_by_its_number_of_weights(error, numbers):
    with pytest.raises(checks.WrongAnswer, match="but of another encoder"):
        questions.q1(siamese(numbers, **error), numbers)


def test_an_encoder_with_other_weights_is_told_so():
    numbers, other = (checks.Numbers(size=20, channels=6, dimensions=size) for size in (24, 40))
    with pytest.raises(checks.WrongAnswer, match="other shapes than those of the encoder"):
        questions.cosine(siamese(other), numbers)


def test_the_margin_loss_with_weight_one_is_twice_that_of_the_helpers(numbers):
    right = questions.margin_loss(numbers, weighted=False)
    for first, second, different in questions.pairs_of_embeddings():
        unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)]
        ours = losses.contrastive(losses.pair_distances(*unit), 1 - different, numbers.margin)
        assert right(first, second, different) == pytest.approx(2 * float(ours), rel=1e-4)


def margin_loss(numbers, below_the_root):
    def loss(first, second, different):
        first, second = (ops.normalize(ops.cast(part, "float32"), axis=-1) for part in (first, second))
        squared = ops.sum(ops.square(first - second), axis=-1)
        near = ops.square(ops.maximum(numbers.margin - ops.sqrt(squared + below_the_root), 0))
        different = ops.cast(different, "float32")
        return ops.mean((1 - different) * squared + numbers.weight * different * near)

    return loss


def test_a_plain_root_has_the_right_values_and_is_told_of_the_equal_pair_that_ends_a_training(numbers):
    questions.q2(margin_loss(numbers, 1e-12), numbers)
    with pytest.raises(checks.WrongAnswer, match="the root has no slope at 0"):
        questions.q2(margin_loss(numbers, 0.0), numbers)


def test_a_root_kept_off_0_by_the_epsilon_of_keras_is_right_for_strangers_with_equal_embeddings(numbers):
    def loss(first, second, different):
        return margin_loss(numbers, keras.config.epsilon())(first, second, different)

    questions.equal_strangers(loss, numbers)
    with pytest.raises(checks.WrongAnswer):
        questions.equal_strangers(lambda *pairs: 1.01 * loss(*pairs), numbers)


def test_a_margin_loss_in_numpy_is_told_that_no_network_can_learn_by_it(numbers):
    with pytest.raises(checks.WrongAnswer, match="use `ops`, and no NumPy"):
        questions.q2(questions.margin_loss(numbers), numbers)


def test_nt_xent_where_each_original_comes_once_is_that_of_the_helpers_whatever_the_order(numbers):
    right = questions.nt_xent(numbers)
    for views, groups in questions.batches_of_views(numbers, repeated=False):
        first = np.array([np.flatnonzero(groups == one) for one in np.unique(groups)])
        ours = losses.nt_xent(views[first[:, 0]], views[first[:, 1]], numbers.temperature)
        assert right(views, groups) == pytest.approx(float(ours), rel=1e-4)


def test_the_two_losses_that_can_be_computed_are_those_of_the_helpers(numbers):
    nothing, ideal = questions.nothing_and_ideal(numbers)
    equal, apart = np.ones((numbers.pairs, 2)), np.eye(numbers.pairs)
    assert nothing == pytest.approx(float(losses.nt_xent(equal, equal, numbers.temperature)), rel=1e-4)
    assert ideal == pytest.approx(float(losses.nt_xent(apart, apart, numbers.temperature)), rel=1e-3)


def test_of_the_four_networks_one_alone_is_told_apart_and_has_not_collapsed():
    for seed in range(8):
        numbers = checks.numbers("contrasting-pairs", seed)
        found = questions.embeddings(numbers)
        healthy, collapsed, flat, reversed_ = (found[f"network {number}"] for number in numbers.networks)
        auc = [roc_auc_score(np.eye(240).ravel(), (a @ b.T).ravel()) for a, b in (healthy, collapsed, flat, reversed_)]
        ranks = [effective_rank(np.concatenate([a, -a])) for a, _ in (healthy, collapsed, flat, reversed_)]
        assert auc[0] > 0.99
        assert 0.4 < auc[1] < 0.6
        assert auc[2] > 0.95
        assert auc[3] < 0.4
        assert ranks[0] > 25 > ranks[2]
        assert ranks[1] < 1.5 < ranks[2] < 6

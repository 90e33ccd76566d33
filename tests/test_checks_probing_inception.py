"""What the checks of *Probing Inception-v3* hold to be right, against Keras, the paper and the course's statistics."""

import numpy as np
import pytest

from helpers import checks, separability
from helpers.checks import probing_inception as questions


@pytest.fixture(params=range(3))
def numbers(request):
    return checks.numbers("probing-inception", request.param)


def test_the_sizes_of_the_published_network_are_those_of_the_paper():
    assert questions.stage_sizes(299) == [341_056, 83_232, 49_152, 2_048]


def test_the_sizes_at_another_size_are_those_of_keras():
    import keras

    network = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(150, 150, 3))
    pools = [layer.output for layer in network.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    sizes = [int(np.prod(pools[place].shape[1:])) for place in (0, 2, 3)] + [network.output.shape[-1]]
    assert questions.stage_sizes(150) == sizes


def test_the_changed_padding_changes_a_size_for_every_class():
    for seed in range(30):
        numbers = checks.numbers("probing-inception", seed)
        assert questions.stage_sizes(numbers.size, (numbers.changed,)) != questions.stage_sizes(numbers.size)


def test_the_pooling_layers_of_the_tower_are_not_named_in_their_order(numbers):
    names = [layer.name for layer in questions.tower(numbers).layers if layer.name.startswith("pool_")]
    assert len(names) == 4
    assert all(name != right for name, right in zip(names, sorted(names), strict=True))


def test_classes_by_lot_look_apart_where_crops_are_shuffled(numbers):
    crops = questions.crops_of_patches(numbers)
    naive = separability.permutation_test(crops.distances, crops.labels, permutations=999)
    assert naive.p_value == 0.001
    assert questions.p_value(numbers)(crops.distances, crops.labels, crops.patches, crops.orders) > 0.05


def test_the_mean_distance_within_pairs_is_the_one_of_the_helpers():
    numbers = checks.Numbers(weigh="pair")
    for matrix, labels, patches, orders in questions.labelled_patches():
        delta = separability.mrpp_moments(matrix, labels).delta
        of_patch = labels[np.unique(patches, return_index=True)[1]]
        shuffled = [separability.mrpp_moments(matrix, of_patch[order][patches]).delta for order in orders]
        right = (1 + np.sum(np.array(shuffled) <= delta + 1e-12)) / (1 + len(orders))
        assert questions.p_value(numbers)(matrix, labels, patches, orders) == pytest.approx(right)


@pytest.mark.parametrize("seed", range(12))
def test_a_tie_is_a_tie_for_a_solution_that_takes_all_orders_at_once(seed):
    numbers = checks.numbers("probing-inception", seed)

    def means_within(matrix, labels):
        own = labels[:, None] == np.arange(3)[:, None]
        pairs = own[..., None] & own[:, :, None] & ~np.eye(len(matrix), dtype=bool)
        same = pairs.any(axis=1, keepdims=True) if numbers.weigh == "pair" else pairs
        return ((same * matrix).sum((2, 3)) / same.sum((2, 3))).mean(axis=1)

    def p_value(matrix, labels, patches, orders):
        classes = labels[np.unique(patches, return_index=True)[1]]
        observed, shuffled = means_within(matrix, labels[None]), means_within(matrix, classes[orders][:, patches])
        return (1 + np.sum(shuffled <= observed)) / (1 + len(orders))

    questions.q3(p_value, numbers)


def test_at_some_stage_and_not_at_all_stages_there_is_evidence_and_no_value_is_near_the_border():
    for seed in range(30):
        numbers = checks.numbers("probing-inception", seed)
        assert 1 <= len(questions.evidence(numbers)) <= 2
        untrained = np.array(numbers.untrained)
        lead = (np.array(numbers.trained) - untrained.max(axis=0)) / np.ptp(untrained, axis=0)
        assert np.all(np.abs(lead - 1) > 0.2)
        assert np.all(np.abs(lead) > 0.05)


def test_one_of_two_classes_lies_elsewhere_and_both_have_a_goodness_above_one(numbers):
    points, labels = questions.clouds(numbers)
    matrix = questions._distances(points)
    found = questions.places(numbers)(matrix, labels)
    centres = np.array([points[labels == number].mean(axis=0) for number in range(3)])
    assert found == pytest.approx(((centres - centres[numbers.reference]) ** 2).sum(axis=1), abs=0.5)
    assert sorted(found)[1] < 0.6 < 1.5 < max(found)
    for other in {0, 1, 2} - {numbers.reference}:
        rows = np.flatnonzero((labels == other) | (labels == numbers.reference))
        assert separability.clustering_goodness(matrix[np.ix_(rows, rows)], labels[rows]) > 1.05


def test_noise_has_as_many_directions_as_it_was_drawn_in():
    random = np.random.default_rng(0)
    for width in (5, 50):
        matrix = questions._distances(random.normal(size=(300, width)))
        assert questions.directions()(matrix) == pytest.approx(width, rel=0.15)

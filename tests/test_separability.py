from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import silhouette_samples

from helpers import separability

clouds = arrays(np.float32, (8, 3), elements=st.floats(-10, 10, width=32), unique=True)
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def goodness_by_brute_force(features, labels):
    within, between = [], []
    for i in range(len(labels)):
        for j in range(i):
            distance = np.linalg.norm(features[i].astype(float) - features[j])
            (within if labels[i] == labels[j] else between).append(distance)
    return np.mean(between) / np.mean(within)


@given(clouds)
def test_goodness_is_the_ratio_of_mean_distances(features):
    assert separability.goodness(features, LABELS) == pytest.approx(goodness_by_brute_force(features, LABELS), rel=1e-4)


@given(clouds, st.floats(0.1, 10))
def test_goodness_changes_neither_with_scale_nor_place(features, scale):
    moved = features * np.float32(scale) + 5
    assert separability.goodness(moved, LABELS) == pytest.approx(separability.goodness(features, LABELS), rel=1e-3)


def test_the_null_is_the_distribution_over_all_labellings():
    features = np.random.default_rng(1).normal(size=(7, 2))
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    every = [goodness_by_brute_force(features, labels[list(order)]) for order in permutations(range(7))]
    exact = np.mean(np.array(every) >= goodness_by_brute_force(features, labels) - 1e-9)
    test = separability.permutation_test(features, labels, permutations=4999, seed=0)
    assert test.p_value == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / 4999) + 1e-3)
    assert test.null.mean() == pytest.approx(np.mean(every), rel=0.01)
    assert test.null.std() == pytest.approx(np.std(every), rel=0.05)


def test_the_p_value_counts_the_labelling_itself():
    features = np.repeat([[0.0], [10.0], [20.0]], 10, axis=0) + np.arange(30)[:, None] / 100
    assert separability.permutation_test(features, np.repeat([0, 1, 2], 10), permutations=99).p_value == 1 / 100


def test_p_values_of_noise_are_uniform():
    random = np.random.default_rng(0)
    values = [
        separability.permutation_test(random.normal(size=(24, 3)), random.permutation(24) % 3, 99, seed).p_value
        for seed in range(200)
    ]
    assert 0.01 < np.mean(np.array(values) <= 0.05) < 0.1
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_the_null_repeats_with_the_seed():
    features, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    first, again = (separability.permutation_test(features, labels, 120, seed=5).null for _ in range(2))
    assert np.array_equal(first, again)


def test_silhouette_is_the_mean_over_images():
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(50, 4)).astype(np.float32), random.integers(0, 3, 50)
    assert separability.silhouette(features, labels) == pytest.approx(silhouette_samples(features, labels).mean())


@given(arrays(np.float64, (20, 4), elements=st.floats(-5, 5)))
def test_effective_rank_lies_between_zero_and_the_width(features):
    assert 0 <= separability.effective_rank(features) <= 4 + 1e-6


def test_effective_rank_of_known_spectra():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 5)) - 0)[0]
    basis -= basis.mean(axis=0)
    left = np.linalg.svd(basis, full_matrices=False)[0]
    assert separability.effective_rank(left) == pytest.approx(5, rel=1e-3)
    share = np.array([0.5, 0.25, 0.125, 0.125])
    expected = np.exp(-np.sum(share * np.log(share)))
    assert separability.effective_rank(left[:, :4] * share) == pytest.approx(expected, rel=1e-3)


def test_collapsed_features_have_effective_rank_zero():
    assert separability.effective_rank(np.full((10, 5), 3.7)) == 0


@pytest.mark.parametrize("measure", [separability.goodness, separability.silhouette])
def test_classes_of_one_image_each_are_refused(measure):
    with pytest.raises(ValueError, match="Every image is a class of its own"):
        measure(np.eye(4), np.arange(4))


def test_identical_images_within_classes_are_refused():
    with pytest.raises(ValueError, match="No two images of a class differ"):
        separability.goodness(np.repeat(np.eye(2), 3, axis=0), np.repeat([0, 1], 3))


def test_no_permutations_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        separability.permutation_test(np.eye(4), [0, 0, 1, 1], permutations=0)

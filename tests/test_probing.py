import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from helpers import probing


@pytest.fixture(scope="module")
def digits():
    data, target = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(data / 16, target, random_state=0)
    return test, test_labels, train, train_labels


def knn_by_brute_force(features, labels, probe_features, probe_labels, k):
    hits = 0
    for row, label in zip(features, labels, strict=True):
        votes = np.bincount(probe_labels[np.argsort(np.linalg.norm(probe_features - row, axis=1))[:k]])
        hits += votes.argmax() == label
    return hits / len(labels)


def test_knn_probe_is_a_vote_of_the_nearest():
    random = np.random.default_rng(0)
    features, probe_features = random.normal(size=(40, 3)), random.normal(size=(60, 3))
    labels, probe_labels = random.integers(0, 3, 40), random.integers(0, 3, 60)
    ours = probing.knn_probe(features, labels, probe_features, probe_labels, k=5)
    assert ours == knn_by_brute_force(features, labels, probe_features, probe_labels, 5)


def test_nearest_orders_by_distance():
    random = np.random.default_rng(0)
    queries, rows = random.normal(size=(7, 4)), random.normal(size=(30, 4))
    distances = np.linalg.norm(queries[:, None] - rows[None], axis=-1)
    assert np.array_equal(probing.nearest(queries, rows, k=6), np.argsort(distances, axis=1)[:, :6])


def test_linear_probe_is_logistic_regression_on_standardised_features(digits):
    test, test_labels, train, train_labels = digits
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1
    model = LogisticRegression(C=0.1, max_iter=5000).fit((train - mean) / deviation, train_labels)
    assert probing.linear_probe(*digits) == pytest.approx(
        model.score((test - mean) / deviation, test_labels), abs=0.005
    )


def test_linear_probe_does_not_depend_on_units(digits):
    test, test_labels, train, train_labels = digits
    units = 10.0 ** np.random.default_rng(0).integers(-3, 3, test.shape[1])
    assert probing.linear_probe(test * units, test_labels, train * units, train_labels) == pytest.approx(
        probing.linear_probe(*digits), abs=0.005
    )


def test_digits_reach_the_published_figures(digits):
    assert probing.knn_probe(*digits) > 0.97
    assert probing.linear_probe(*digits) > 0.95


def test_probes_are_at_chance_for_shuffled_labels(digits):
    test, test_labels, train, train_labels = digits
    shuffled = np.random.default_rng(0).permutation(train_labels)
    for probe in (probing.knn_probe, probing.linear_probe):
        assert probe(test, test_labels, train, shuffled) < 0.2


@pytest.mark.parametrize("probe", [probing.knn_probe, probing.linear_probe])
def test_features_of_another_width_are_refused(probe):
    with pytest.raises(ValueError, match="3 columns and `probe_features` 4: take both from the same network"):
        probe(np.zeros((4, 3)), [0, 1, 0, 1], np.zeros((5, 4)), [0, 1, 0, 1, 0])


def test_more_neighbours_than_probe_images_are_refused():
    with pytest.raises(ValueError, match="5 neighbours asked for with 4 rows"):
        probing.knn_probe(np.eye(4), [0, 1, 0, 1], np.eye(4), [0, 1, 0, 1])


def test_probe_images_of_one_class_are_refused():
    with pytest.raises(ValueError, match="`probe_labels` holds 1 class"):
        probing.linear_probe(np.eye(4), [0, 1, 0, 1], np.eye(4), [1, 1, 1, 1])

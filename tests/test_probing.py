import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

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


@pytest.fixture
def wide():
    """60 probe images of 12 classes, with many more columns; two of them constant."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 0.2, (12, 600))
    labels, probe_labels = np.arange(200) % 12, np.arange(60) % 12
    features, probe_features = (random.normal(size=(len(y), 600)) + centres[y] for y in (labels, probe_labels))
    features[:, :2] = probe_features[:, :2] = 3
    return features.astype(np.float32), labels, probe_features.astype(np.float32), probe_labels


@threadpool_limits.wrap(limits=1)
def test_the_span_of_the_probe_images_holds_all_that_logistic_regression_finds(wide):
    features, _, probe_features, probe_labels = wide
    model = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8)
    directly = make_pipeline(StandardScaler(), model).fit(probe_features.astype(np.float64), probe_labels)
    expected = directly.predict_proba(features)
    narrow, probe_narrow = probing._in_the_span(features, probe_features)
    assert probe_narrow.shape == (60, 59)
    np.testing.assert_allclose(model.fit(probe_narrow, probe_labels).predict_proba(narrow), expected, atol=1e-5)


@threadpool_limits.wrap(limits=1)
def test_linear_probe_of_more_columns_than_images_gives_the_answer_of_the_direct_way(wide):
    features, labels, probe_features, probe_labels = wide
    directly = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, tol=1e-3))
    expected = directly.fit(probe_features.astype(np.float64), probe_labels).score(features, labels)
    assert 0.2 < expected < 0.98
    assert probing.linear_probe(*wide) == pytest.approx(expected, abs=0.01)


def test_columns_in_blocks_give_the_same_span(wide, monkeypatch):
    features, _, probe_features, _ = wide
    whole = probing._in_the_span(features, probe_features)
    monkeypatch.setattr(probing, "_BLOCK", 260 * 50)
    in_blocks = probing._in_the_span(features, probe_features)
    for one, other in zip(whole, in_blocks, strict=True):
        np.testing.assert_allclose(one @ whole[1].T, other @ in_blocks[1].T, atol=1e-8)  # axes may change sign


def test_constant_features_leave_the_most_frequent_class():
    labels = np.array([0, 0, 0, 1])
    assert probing.linear_probe(np.ones((4, 9)), labels, np.ones((4, 9)), labels) == 0.75


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

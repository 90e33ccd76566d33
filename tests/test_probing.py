import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeCV
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


# Quantities


@pytest.fixture
def quantities():
    """300 images with 12 features in several units, and three quantities: one that they hold, one half, one not.

    No feature of the 100 that are scored lies beyond those of the others.
    """
    random = np.random.default_rng(0)
    features = random.uniform(-1, 1, size=(300, 12)) * 10.0 ** random.integers(-3, 3, 12) + random.normal(size=12)
    features[:100] = np.clip(features[:100], features[100:140].min(axis=0), features[100:140].max(axis=0))
    weights = random.normal(size=(12, 3)) / features.std(axis=0)[:, None]
    noise = random.normal(size=(300, 3)) * np.array([0.01, 1.0, 0])
    signal = (features - features.mean(axis=0)) @ weights
    values = signal / signal.std(axis=0) + noise
    values[:, 2] = random.normal(size=300)
    return features[:100], values[:100], features[100:], values[100:]


def ridge_by_hand(features, values, probe_features, probe_values):
    """Solve the normal equations for each penalty; leave out each probe image in turn, literally."""

    def solve(x, y, strength):
        mean, offset = x.mean(axis=0), y.mean()
        weights = np.linalg.solve(
            (x - mean).T @ (x - mean) + strength * np.eye(x.shape[1]), (x - mean).T @ (y - offset)
        )
        return lambda rows: (rows - mean) @ weights + offset

    mean, deviation = probe_features.mean(axis=0), probe_features.std(axis=0)
    x, rows = (probe_features - mean) / deviation, (features - mean) / deviation
    found = []
    for target, y in zip(values.T, probe_values.T, strict=True):
        errors = []
        for strength in probing._STRENGTHS * len(x):
            others = [np.arange(len(x)) != i for i in range(len(x))]
            left_out = [solve(x[other], y[other], strength)(x[i]) for i, other in enumerate(others)]
            errors.append(np.square(left_out - y).mean())
        guess = solve(x, y, probing._STRENGTHS[np.argmin(errors)] * len(x))(rows)
        found.append(1 - np.square(target - guess).sum() / np.square(target - target.mean()).sum())
    return np.array(found)


def test_regression_probe_is_ridge_regression_solved_by_hand(quantities):
    features, values, probe_features, probe_values = quantities
    few = features, values, probe_features[:40], probe_values[:40]
    np.testing.assert_allclose(probing.regression_probe(*few), ridge_by_hand(*few), atol=1e-3)


def test_regression_probe_is_scikit_learns_pipeline(quantities):
    features, values, probe_features, probe_values = quantities
    for column in range(3):
        model = make_pipeline(StandardScaler(), RidgeCV(probing._STRENGTHS * 200)).fit(
            probe_features, probe_values[:, column]
        )
        expected = model.score(features, values[:, column])
        found = probing.regression_probe(features, values[:, column], probe_features, probe_values[:, column])
        assert found == pytest.approx([expected], abs=1e-4)


def test_regression_probe_finds_what_is_there_and_only_that(quantities):
    known, half, unknown = probing.regression_probe(*quantities)
    assert known > 0.999
    assert half == pytest.approx(0.5, abs=0.12)
    assert -0.1 < unknown < 0.1


def test_regression_probe_does_not_depend_on_units(quantities):
    features, values, probe_features, probe_values = quantities
    units, scale = 10.0 ** np.arange(-6, 6), np.array([1e-3, 1.0, 1e3])
    changed = features * units, values * scale + 7, probe_features * units, probe_values * scale + 7
    np.testing.assert_allclose(probing.regression_probe(*changed), probing.regression_probe(*quantities), atol=1e-3)


def test_regression_probe_of_more_columns_than_images_gives_the_answer_of_the_direct_way(wide):
    features, _, probe_features, _ = wide
    features = np.clip(features, probe_features.min(axis=0), probe_features.max(axis=0))
    weights = np.random.default_rng(1).normal(size=(600, 2)) / np.sqrt(600)
    values, probe_values = features @ weights, probe_features @ weights
    model = make_pipeline(StandardScaler(), RidgeCV(probing._STRENGTHS * 60, alpha_per_target=True))
    guess = model.fit(probe_features.astype(np.float64), probe_values).predict(features)
    expected = 1 - np.square(values - guess).sum(axis=0) / np.square(values - values.mean(axis=0)).sum(axis=0)
    found = probing.regression_probe(features, values, probe_features, probe_values)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_scored_images_have_no_part_in_the_regression(quantities):
    features, values, probe_features, probe_values = quantities
    whole = probing.regression_probe(features, values, probe_features, probe_values)
    model = make_pipeline(StandardScaler(), RidgeCV(probing._STRENGTHS * 200, alpha_per_target=True))
    error = np.square(values - model.fit(probe_features, probe_values).predict(features))
    np.testing.assert_allclose(
        1 - error.sum(axis=0) / np.square(values - values.mean(axis=0)).sum(axis=0), whole, atol=1e-3
    )
    part = probing.regression_probe(features[:50], values[:50], probe_features, probe_values)
    expected = 1 - error[:50].sum(axis=0) / np.square(values[:50] - values[:50].mean(axis=0)).sum(axis=0)
    np.testing.assert_allclose(part, expected, atol=1e-3)


def test_one_feature_that_is_far_out_does_not_spoil_the_regression(quantities):
    """A pixel that is nearly black in all probe images, and bright in one that is scored."""
    features, values, probe_features, probe_values = quantities
    dark, probe_dark = np.zeros((100, 1)), 1e-6 * np.random.default_rng(0).random((200, 1))
    found = probing.regression_probe(np.c_[features, dark], values, np.c_[probe_features, probe_dark], probe_values)
    dark[0] = 1
    again = probing.regression_probe(np.c_[features, dark], values, np.c_[probe_features, probe_dark], probe_values)
    np.testing.assert_allclose(again, found, atol=0.02)


def test_constant_features_explain_nothing(quantities):
    _, values, _, probe_values = quantities
    found = probing.regression_probe(np.ones((100, 2)), values, np.ones((200, 2)), probe_values)
    assert (found <= 0).all()
    assert (found > -0.1).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": np.ones(7)}, "`values` has 7 rows for 8 rows of features: one belongs to each"),
        ({"values": np.arange(16.0).reshape(8, 2)}, "`values` has 2 quantities and `probe_values` 1: give the same"),
        ({"values": np.zeros((8, 1, 1))}, r"`values` has shape \(8, 1, 1\) and dtype float64, but it holds real"),
        ({"values": np.array(list("abcdefgh"))}, r"`values` has shape \(8,\) and dtype <U1"),
        ({"probe_values": np.ones(9)}, "Column 0 of `probe_values` is the same for all rows"),
        ({"values": np.r_[np.nan, np.arange(7)]}, "`values` holds values that are NaN or infinite"),
        ({"features": np.ones((8, 5))}, "`features` has 5 columns and `probe_features` 4: take both from the same"),
    ],
)
def test_quantities_that_do_not_fit_are_refused(change, said):
    fitting = {
        "features": np.random.default_rng(0).normal(size=(8, 4)),
        "values": np.arange(8.0),
        "probe_features": np.random.default_rng(1).normal(size=(9, 4)),
        "probe_values": np.arange(9.0),
    }
    probing.regression_probe(**fitting)
    with pytest.raises(ValueError, match=said):
        probing.regression_probe(**fitting | change)


def test_a_regression_on_two_images_is_refused():
    with pytest.raises(ValueError, match="`probe_values` has 2 rows, too few for a regression: give 3 or more"):
        probing.regression_probe(np.eye(3), [0, 1, 2], np.eye(2, 3), [0, 1])
    with pytest.raises(ValueError, match="`values` has 1 row, too few"):
        probing.regression_probe(np.eye(1, 3), [0], np.eye(3), [0, 1, 2])

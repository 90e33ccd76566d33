"""`probing` with few labels: against closed forms, plain iteration, scikit-learn, and published figures."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_digits, make_moons
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from helpers import probing


@pytest.fixture(scope="module")
def digits():
    data, target = load_digits(return_X_y=True)
    return data / 16, target


@pytest.fixture(scope="module")
def digits_graph(digits):
    return probing.neighbour_graph(digits[0], k=10)


def blobs(seed=0, n=60, classes=3, spread=0.6):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return random.normal(0, spread, (n, 2)) + 2 * np.stack([np.cos(2 * labels), np.sin(2 * labels)], 1), labels


def one_hot(labels, classes):
    return (np.asarray(labels)[:, None] == classes).astype(float)


def propagated_by_iteration(graph, labels, steps=20_000):
    """The method as Zhu and Ghahramani wrote it: step, normalise, clamp."""
    weights, known = np.asarray(graph), labels != -1
    classes = np.unique(labels[known])
    shares = given = one_hot(labels, classes)
    for _ in range(steps):
        shares = weights @ shares / weights.sum(axis=1, keepdims=True)
        shares[known] = given[known]
    return classes, shares


# ---- the graph


def test_the_graph_joins_each_image_to_its_nearest_and_they_to_it():
    features, _ = blobs()
    graph = probing.neighbour_graph(features, k=4).toarray()
    _, nearest = NearestNeighbors(n_neighbors=5).fit(features).kneighbors(features)
    expected = np.zeros((60, 60))
    for row, others in enumerate(nearest[:, 1:]):
        expected[row, others] = expected[others, row] = 1
    assert np.array_equal(graph, expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_graph_from_distances_is_the_graph_from_features(metric):
    features = np.random.default_rng(0).normal(size=(50, 6))
    distances = pairwise_distances(features, metric=metric)
    np.fill_diagonal(distances, 0)
    ours = probing.neighbour_graph((distances + distances.T) / 2, 5, "precomputed")
    assert np.array_equal(ours.toarray(), probing.neighbour_graph(features, 5, metric).toarray())


def test_no_image_is_its_own_neighbour_even_beside_copies_of_it():
    graph = probing.neighbour_graph(np.repeat([[0.0, 1.0], [1.0, 0.0]], 6, axis=0), k=3)
    assert graph.diagonal().sum() == 0
    assert graph.sum(axis=1).min() >= 3


def test_making_a_graph_leaves_the_distances_as_they_were():
    distances = pairwise_distances(blobs()[0])
    before = distances.copy()
    probing.neighbour_graph(distances, 3, "precomputed")
    assert np.array_equal(distances, before)


# ---- label propagation


@pytest.mark.parametrize("seed", range(3))
def test_propagation_is_where_stepping_and_clamping_ends(seed):
    features, truth = blobs(seed)
    labels = probing.draw_labels(truth, 2, seed)
    graph = probing.neighbour_graph(features, k=6)
    found = probing.label_propagation(graph, labels)
    assert found.unreached == 0
    classes, shares = propagated_by_iteration(graph.toarray(), labels)
    assert np.array_equal(found.labels, classes[shares.argmax(axis=1)])
    np.testing.assert_allclose(found.certainty, shares.max(axis=1), atol=1e-8)


def test_certainty_is_how_often_a_random_walk_meets_that_class_first():
    # on a path of 0 .. 5 with labels at its ends, the gambler's ruin: from i the far end comes first with i / 5
    path = np.diag(np.ones(5), 1) + np.diag(np.ones(5), -1)
    found = probing.label_propagation(path, [0, -1, -1, -1, -1, 1])
    np.testing.assert_allclose(found.certainty, [1, 4 / 5, 3 / 5, 3 / 5, 4 / 5, 1])
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_propagation_agrees_with_scikit_learn_once_that_has_converged(digits, digits_graph):
    data, target = digits
    labels = probing.draw_labels(target, 5, seed=0)
    model = LabelPropagation(kernel=lambda one, other: digits_graph.copy(), max_iter=20_000, tol=1e-7).fit(data, labels)
    found = probing.label_propagation(digits_graph, labels)
    assert np.array_equal(found.labels, model.transduction_)
    np.testing.assert_allclose(found.certainty, model.label_distributions_.max(axis=1), atol=1e-5)


def test_given_labels_are_kept(digits, digits_graph):
    labels = probing.draw_labels(digits[1], 2, seed=1)
    found = probing.label_propagation(digits_graph, labels)
    assert np.array_equal(found.labels[labels != -1], labels[labels != -1])
    assert np.all(found.certainty[labels != -1] == 1)


# ---- label spreading


@pytest.mark.parametrize("alpha", [0.2, 0.8, 0.99])
def test_spreading_is_the_closed_form_of_zhou_and_others(alpha):
    features, truth = blobs(3)
    labels = probing.draw_labels(truth, 2, seed=0)
    weights = probing.neighbour_graph(features, k=6).toarray()
    root = np.diag(1 / np.sqrt(weights.sum(axis=1)))
    shares = (1 - alpha) * np.linalg.inv(np.eye(60) - alpha * root @ weights @ root) @ one_hot(labels, np.arange(3))
    found = probing.label_spreading(weights, labels, alpha)
    assert np.array_equal(found.labels, shares.argmax(axis=1))
    np.testing.assert_allclose(found.certainty, shares.max(axis=1) / shares.sum(axis=1), atol=1e-6)


def test_spreading_agrees_with_scikit_learn(digits, digits_graph):
    data, target = digits
    labels = probing.draw_labels(target, 5, seed=0)
    model = LabelSpreading(kernel=lambda one, other: digits_graph.copy(), alpha=0.8, max_iter=1000, tol=1e-8)
    model.fit(data, labels)
    found = probing.label_spreading(digits_graph, labels)
    assert np.array_equal(found.labels, model.transduction_)
    np.testing.assert_allclose(found.certainty, model.label_distributions_.max(axis=1), atol=1e-6)


def test_spreading_overrules_a_wrong_label_and_propagation_does_not():
    features, truth = blobs(0, n=90, spread=0.2)
    labels = probing.draw_labels(truth, 8, seed=0)
    wrong = int(np.flatnonzero(labels == 0)[0])
    labels[wrong] = 1
    graph = probing.neighbour_graph(features, k=12)
    assert probing.label_spreading(graph, labels, alpha=0.95).labels[wrong] == 0
    assert probing.label_propagation(graph, labels).labels[wrong] == 1


# ---- both


METHODS = [probing.label_propagation, probing.label_spreading]


@pytest.mark.parametrize("method", METHODS)
def test_two_moons_need_one_label_each(method):
    features, truth = make_moons(300, noise=0.05, random_state=0)
    labels = probing.draw_labels(truth, 1, seed=0)
    assert np.mean(method(probing.neighbour_graph(features, k=8), labels).labels == truth) > 0.98


def test_a_label_that_has_faded_a_millionfold_still_counts():
    # on a path of 81 the label of each end fades by half at every step, and the middle is 40 steps away
    path = np.diag(np.ones(80), 1) + np.diag(np.ones(80), -1)
    labels = np.full(81, -1)
    labels[[0, -1]] = 0, 1
    found = probing.label_spreading(path, labels)
    assert found.labels[:40].tolist() == [0] * 40
    assert found.labels[41:].tolist() == [1] * 40


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_neither_the_order_of_images_nor_the_unit_of_weights_matters(method, seed, scale):
    features, truth = blobs(seed % 7)
    random = np.random.default_rng(seed)
    weights = np.exp(-(pairwise_distances(features) ** 2))
    labels, order = probing.draw_labels(truth, 2, seed), random.permutation(60)
    found = method(weights, labels)
    moved = method(scale * weights[np.ix_(order, order)], labels[order])
    np.testing.assert_allclose(moved.certainty, found.certainty[order], atol=1e-6)
    sure = found.certainty[order] > 0.5 + 1e-6
    assert np.array_equal(moved.labels[sure], found.labels[order][sure])


@pytest.mark.parametrize("method", METHODS)
def test_the_names_of_classes_do_not_matter(method):
    features, truth = blobs(1)
    graph, labels = probing.neighbour_graph(features, 5), probing.draw_labels(truth, 2)
    renamed = np.where(labels == -1, -1, np.array([7, 30, 500])[labels])
    assert np.array_equal(method(graph, renamed).labels, np.array([7, 30, 500])[method(graph, labels).labels])


@pytest.mark.parametrize("method", METHODS)
def test_a_component_without_a_label_stays_unknown_and_is_reported(method):
    islands = sparse.block_diag([np.ones((4, 4)), np.ones((3, 3)), np.ones((2, 2))])
    found = method(islands, [0, 1, -1, -1, -1, -1, -1, 1, -1])
    assert found.labels[4:7].tolist() == [-1, -1, -1]
    assert found.labels[8] == 1
    assert found.certainty[4:7].tolist() == [0, 0, 0]
    assert (found.components, found.unreached) == (3, 3)
    assert str(found).startswith("3 of 9 images stay without a label")
    assert "3 components" in str(found)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_without_any_neighbour_keeps_what_it_has(method):
    lonely = np.zeros((5, 5))
    lonely[0, 1] = lonely[1, 0] = 1
    assert method(lonely, [0, -1, 1, -1, -1]).labels.tolist() == [0, 0, 1, -1, -1]


def test_scikit_learn_calls_what_no_label_reaches_by_the_first_class():
    # why `Propagation.labels` has a -1: this trap is taught in the chapter, and must still be there
    islands = np.kron(np.eye(2), np.ones((3, 3)))
    labels = np.array([3, 5, -1, -1, -1, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LabelPropagation(kernel=lambda one, other: islands.copy()).fit(np.zeros((6, 1)), labels)
    assert model.transduction_[3:].tolist() == [3, 3, 3]
    assert probing.label_propagation(islands, labels).labels[3:].tolist() == [-1, -1, -1]


def test_where_all_are_reached_the_report_says_so():
    found = probing.label_propagation(np.ones((4, 4)), [0, 1, -1, -1])
    assert str(found) == "All 4 images have a label; the graph has 1 component."


def test_digits_reach_the_published_figures(digits, digits_graph):
    # with 10 labels per class .943 (spreading) and .946 (propagation), on a graph that is not even symmetric
    target = digits[1]
    for method in METHODS:
        curve = probing.few_labels(
            target, lambda known, method=method: method(digits_graph, known).labels, (1, 10), draws=5
        )
        assert curve.mean[0] > 0.67
        assert curve.mean[1] > 0.92


# ---- the protocol


def test_a_draw_gives_as_many_labels_of_each_class_and_hides_the_rest(digits):
    target = digits[1]
    given_labels = probing.draw_labels(target, 7, seed=3)
    known = given_labels != -1
    assert np.bincount(given_labels[known]).tolist() == [7] * 10
    assert np.array_equal(given_labels[known], target[known])


def test_draws_of_one_seed_are_nested_and_of_two_seeds_differ(digits):
    target = digits[1]
    few, many, other = (probing.draw_labels(target, *asked) != -1 for asked in ((2, 0), (5, 0), (2, 1)))
    assert np.all(many[few])
    assert not np.array_equal(few, other)


def test_every_image_of_a_class_is_as_likely_to_be_drawn():
    truth = np.repeat([0, 1], 10)
    counts = sum((probing.draw_labels(truth, 3, seed) != -1).astype(int) for seed in range(2000))
    # 600 expected, standard deviation 20.5
    assert np.all(np.abs(counts - 600) < 5 * 20.5)


def test_only_images_whose_label_was_hidden_are_scored():
    truth = np.repeat([0, 1, 2], 10)
    parroting = probing.few_labels(truth, lambda known: known, (1, 5), draws=3)
    assert np.all(parroting.accuracy == 0)  # right on every given label, and that earns nothing
    constant = probing.few_labels(truth, lambda known: np.zeros(30, int), (1, 5), draws=3)
    np.testing.assert_allclose(constant.accuracy, 1 / 3)


def test_a_method_sees_the_given_labels_and_no_other():
    truth, seen = np.repeat([0, 1], 20), []
    probing.few_labels(truth, lambda known: seen.append(known) or truth, (1, 3), draws=2, seed=4)
    expected = [probing.draw_labels(truth, number, seed) for number in (1, 3) for seed in (4, 5)]
    assert np.array_equal(seen, expected)


def test_a_method_cannot_change_what_is_scored():
    truth = np.repeat([0, 1], 20)

    def overwriting(known):
        known[:] = 0
        return known

    np.testing.assert_allclose(probing.few_labels(truth, overwriting, (2,), draws=2).accuracy, 0.5)


def test_mean_and_spread_are_over_the_draws():
    curve = probing.FewLabels((1, 2), np.array([[0.1, 0.3], [0.5, 0.5]]))
    np.testing.assert_allclose(curve.mean, [0.2, 0.5])
    np.testing.assert_allclose(curve.spread, [np.std([0.1, 0.3], ddof=1), 0])


# ---- bad input


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("graph", "labels", "sentence"),
    [
        (np.ones((4, 3)), [0, 1, -1, -1], r"shape \(4, 3\), but it joins n images with n"),
        (np.full((4, 4), np.nan), [0, 1, -1, -1], "NaN or infinity"),
        (-np.ones((4, 4)), [0, 1, -1, -1], "weights are 0 or more"),
        (np.triu(np.ones((4, 4))), [0, 1, -1, -1], "not symmetric"),
        (np.ones((4, 4)), [0, 1, -1], "3 entries for 4 rows"),
        (np.ones((4, 4)), [0, 1, -2, -1], "-1 where it is not given"),
        (np.ones((4, 4)), [-1, -1, -1, -1], "Of the labels none are given"),
        (np.ones((4, 4)), [2, -1, 2, -1], "those of class 2 only are given"),
        (np.ones((4, 4)), [0, 1, 0, 1], "All labels are given: nothing is left"),
        (np.ones((4, 4)), [0.0, 1.0, np.nan, np.nan], "labels are whole numbers"),
    ],
)
def test_what_cannot_be_propagated_is_refused(method, graph, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        method(graph, labels)


def test_weights_that_double_precision_cannot_compare_are_refused():
    # 2 and 3 listen to each other 1e30 times as much as to the images with a label
    weights = np.zeros((4, 4))
    weights[0, 2] = weights[2, 0] = weights[1, 3] = weights[3, 1] = 1e-30
    weights[2, 3] = weights[3, 2] = 1
    with pytest.raises(ValueError, match="too many orders of magnitude"):
        probing.label_propagation(weights, [0, 1, -1, -1])


def test_weights_too_small_to_have_an_inverse_are_none():
    weights = np.full((3, 3), 5e-324)
    assert probing.label_spreading(weights, [0, 1, -1]).labels.tolist() == [0, 1, -1]


@pytest.mark.parametrize("alpha", [0, 1, -0.5, 2])
def test_an_alpha_that_is_no_share_is_refused(alpha):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        probing.label_spreading(np.ones((4, 4)), [0, 1, -1, -1], alpha)


def test_features_with_nan_make_no_graph():
    with pytest.raises(ValueError, match="NaN"):
        probing.neighbour_graph(np.full((5, 2), np.nan), k=2)


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(ValueError, match="5 neighbours asked for with 5 rows"):
        probing.neighbour_graph(np.eye(5), k=5)


@pytest.mark.parametrize(
    ("labels", "per_class", "sentence"),
    [
        ([0, 0, 0, 1, 1], 2, "Class 1 has 2 images, too few to give 2 labels and score the rest: ask for at most 1"),
        ([0, 0, 1, 1], 0, "per_class=0, but it is a whole number of 1 or more"),
        ([0, 0, 1, 1], True, "per_class=True, but it is a whole number of 1 or more"),
        ([0, -1, 1, 1], 1, "each label must be known"),
        ([4, 4, 4], 1, "holds 1 class"),
    ],
)
def test_labels_that_cannot_be_drawn_are_refused(labels, per_class, sentence):
    with pytest.raises(ValueError, match=sentence):
        probing.draw_labels(labels, per_class)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"draws": 1}, "draws=1, but it is a whole number of 2 or more"),
        ({"draws": 2.0}, "draws=2.0, but it is a whole number of 2 or more"),
        ({"seed": 0.5}, "seed=0.5, but it is a whole number of 0 or more"),
        ({"per_class": 3}, r"per_class=3, but it is a sequence, as in per_class=\(1, 2, 5\)"),
        ({"per_class": (1.5,)}, "per_class=1.5, but it is a whole number of 1 or more"),
        ({"per_class": ()}, "`per_class` is empty"),
        ({"guess": lambda known: known[:3]}, r"returned shape \(3,\), but one class for each of 20 images"),
    ],
)
def test_a_protocol_that_cannot_be_followed_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        probing.few_labels(np.repeat([0, 1], 10), **{"guess": lambda known: known, **options})

"""The assignment on few labels: its references against a walk, SciPy and entropy, and a clear answer in every class."""

import numpy as np
import pytest
from scipy.stats import entropy, ttest_rel

from helpers import checks, probing
from helpers.checks import few_labels as questions

CLASSES = [checks.numbers("few-labels", seed) for seed in range(40)]


def test_the_share_on_a_path_with_a_dead_end_is_where_propagation_ends():
    three, seven, branch = 3, 5, 2
    path = three + seven + 1
    graph = np.zeros((path + branch, path + branch))
    for one, other in [*zip(range(path - 1), range(1, path), strict=True), (three, path), (path, path + 1)]:
        graph[one, other] = graph[other, one] = 1
    given = np.full(len(graph), -1)
    given[[0, path - 1]] = 0, 1
    shares = questions.leaking(graph, given, leak=0.0)
    assert shares[three, 1] == pytest.approx(three / (three + seven))
    assert shares[path:, 1] == pytest.approx(three / (three + seven))


def test_propagation_that_forgets_ends_where_its_steps_end():
    weights, given = questions.labelled_graph(np.random.default_rng(0), 20, 3)
    known, target = given[:, None] >= 0, np.eye(3)[given]
    shares = np.where(known, target, 0)
    for _ in range(2000):
        stepped = 0.9 * (weights / weights.sum(axis=1, keepdims=True)) @ shares + 0.1 / 3
        shares = np.where(known, target, stepped)
    np.testing.assert_allclose(questions.leaking(weights, given, 0.1), shares, atol=1e-8)


def test_the_interval_is_that_of_the_paired_t_test():
    one, other = questions.paired_draws(np.random.default_rng(0), 15)
    theirs = ttest_rel(one, other).confidence_interval(1 - 0.05 / 12)
    np.testing.assert_allclose(questions.interval(one, other, 12), [theirs.low, theirs.high])


def test_gamma_gives_images_the_neighbours_in_effect_that_are_wanted():
    squared = questions.distances_of_images(CLASSES[0])
    weights = np.exp(-questions.gamma_for(squared, 8) * squared)
    np.fill_diagonal(weights, 0)
    assert np.mean(np.exp(entropy(weights, axis=1))) == pytest.approx(8, rel=1e-3)


def test_in_every_class_pieces_without_labels_hide_behind_a_single_figure():
    for numbers in CLASSES[:15]:
        graph, labels, known, answers = questions.propagated(numbers)
        unreached, hidden, reached = questions.told(graph, labels, known, answers)
        found = probing.label_propagation(graph, known)
        assert unreached == pytest.approx(np.sum(found.labels[known < 0] < 0) / np.sum(known < 0))
        assert unreached > 0.3
        assert reached > hidden + 0.2
        assert np.mean(answers == labels) > hidden + 0.03


def test_in_every_class_propagation_gains_most_on_the_half_moons():
    for numbers in CLASSES[:10]:
        gains = {}
        for name, (points, classes) in questions.point_sets(numbers).items():
            graph, gain = probing.neighbour_graph(points, k=8), []
            for seed in range(8):
                given = probing.draw_labels(classes, 1, seed)
                known = np.flatnonzero(given >= 0)
                nearest = known[np.argmin(np.linalg.norm(points[:, None] - points[known], axis=2), axis=1)]
                found = probing.label_propagation(graph, given).labels
                gain.append(np.mean(found == classes) - np.mean(classes[nearest] == classes))
            gains[name] = np.mean(gain)
        assert max(gains, key=gains.get) == "half moons"
        assert np.sort(list(gains.values()))[-2] < gains["half moons"] - 0.05

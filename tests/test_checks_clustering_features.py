"""The assignment on clustering: its references against scikit-learn and chance, and a clear answer in every class."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score, rand_score

from helpers import checks
from helpers.checks import clustering_features as questions

CLASSES = [checks.numbers("clustering-features", seed) for seed in range(40)]


def test_the_rand_index_by_chance_is_the_mean_over_shuffled_labels():
    classes, clusters = [30, 18, 12], [45, 10, 5]
    labels, groups = np.repeat(range(3), classes), np.repeat(range(3), clusters)
    rng = np.random.default_rng(0)
    drawn = [rand_score(rng.permutation(labels), groups) for _ in range(2000)]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(questions.rand_by_chance(classes, clusters) - np.mean(drawn)) < 4 * error


@pytest.mark.parametrize("average", questions.AVERAGES)
def test_the_information_of_a_table_is_that_of_its_labels(average):
    table = np.array([[12, 0, 3], [1, 20, 0]])
    classes, clusters = np.divmod(np.repeat(np.arange(6), table.ravel()), 3)
    theirs = normalized_mutual_info_score(classes, clusters, average_method=average)
    assert questions.nmi_of_table(table, average) == pytest.approx(theirs)


def test_in_every_class_no_known_error_leads_to_the_right_index():
    for numbers in CLASSES:
        right = questions.rand_by_chance(numbers.classes, numbers.clusters)
        for wrong in (questions._paired_with_itself(numbers.classes, numbers.clusters), 1 - right):
            assert abs(wrong - right) > 2e-4 * right  # what the check lets pass


def test_in_every_class_the_head_recognises_the_features_in_one_order_only():
    for numbers in CLASSES[:15]:
        features, labels, kernel, bias = questions.extract(numbers)
        named = np.argmax(features @ kernel + bias, axis=1)
        agree = np.array([np.mean(named == np.roll(labels, -start)) for start in range(len(labels))])
        assert agree.argmax() == questions.late(numbers)
        assert np.sort(agree)[-1] > 0.8 > 0.5 > np.sort(agree)[-2]


def test_in_every_class_no_two_linkages_draw_the_same_panel():
    for numbers in CLASSES:
        points, panels = questions.draw_panels(numbers)
        assert all(len(set(groups)) == 3 and len(groups) == len(points) for groups in panels)
        for one, other in itertools.combinations(panels, 2):
            assert rand_score(one, other) < 1


@pytest.fixture(scope="module")
def moving():
    return [questions.moving_centres(numbers) for numbers in CLASSES]


def test_in_every_class_features_die_as_the_loss_of_moving_centres_falls(moving):
    for curves in moving:
        ends = {name: values[-1] / values[0] for name, values in curves.items()}
        assert ends["loss"] < 0.1
        assert ends["variance"] < 0.2
        assert ends["variance between classes"] < 0.7


def test_in_every_class_moving_centres_make_clusters_no_clearer_than_they_were(moving):
    for curves in moving:
        loss, variance, between = curves.values()
        clearer = between / loss
        assert clearer[-1] <= clearer[0]
        assert clearer.max() < 1.4 * clearer[0]  # what the eye may take for clearer on the way
        for values, sign in ((loss / variance, 1), (between / variance, -1)):
            assert sign * values[-1] >= sign * values[0]

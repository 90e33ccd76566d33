import dataclasses
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, kstest
from sklearn import metrics
from sklearn.metrics.cluster import contingency_matrix

from helpers import groupings

groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)
REPORT = [117, 116, 233]  # 466 images, a quarter, a quarter and a half


def best_by_brute_force(labels, clusters):
    """Try every way to name the clusters."""
    names, numbers = sorted(set(labels)), sorted(set(clusters))
    names = names + [-1] * max(0, len(numbers) - len(names))  # clusters that stay without a class
    return max(
        np.mean([dict(zip(numbers, order, strict=False)).get(c) == y for y, c in zip(labels, clusters, strict=True)])
        for order in permutations(names, len(numbers))
    )


def grouping(counts):
    return np.repeat(np.arange(len(counts)), counts)


def mixture(share, classes=3, clusters=3, margins=(0.25, 0.25, 0.5)):
    """Return the probabilities of (class, cluster) where a share of the images is clustered by its class."""
    table = np.array(margins)[:, None] * np.full((classes, clusters), (1 - share) / clusters)
    table[np.arange(classes), np.arange(classes)] += share * np.array(margins)
    return table


def drawn(table, n, random):
    cells = random.choice(table.size, n, p=table.ravel())
    return cells // table.shape[1], cells % table.shape[1]


def scores_of_population(table):
    """Return NMI and ARI of infinitely many images, from the formulas with probabilities."""
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    information = np.sum(table * np.log(table / np.outer(rows, columns)))
    entropies = -np.sum(rows * np.log(rows)) - np.sum(columns * np.log(columns))
    expected = np.sum(rows**2) * np.sum(columns**2)
    most = (np.sum(rows**2) + np.sum(columns**2)) / 2
    return 2 * information / entropies, (np.sum(table**2) - expected) / (most - expected)


@settings(deadline=None)
@given(groups)
def test_accuracy_is_the_best_over_all_matchings(pairs):
    labels, clusters = map(list, zip(*pairs, strict=True))
    assert groupings.accuracy(labels, clusters) == pytest.approx(best_by_brute_force(labels, clusters))


@settings(deadline=None)
@given(groups, st.permutations(range(4)))
def test_renaming_the_clusters_changes_no_score(pairs, order):
    labels, clusters = map(np.array, zip(*pairs, strict=True))
    renamed = np.array(order)[clusters]
    for measure in (groupings.accuracy, groupings.nmi, groupings.ami, groupings.ari):
        assert measure(labels, renamed) == pytest.approx(measure(labels, clusters), abs=1e-12)


@settings(deadline=None)
@given(groups)
def test_aligned_clusters_are_a_renaming(pairs):
    labels, clusters = map(np.array, zip(*pairs, strict=True))
    aligned = groupings.align(labels, clusters)
    assert len(set(zip(clusters, aligned, strict=True))) == len(set(clusters)) == len(set(aligned))


def test_scores_are_scikit_learns():
    random = np.random.default_rng(0)
    labels, clusters = random.integers(0, 4, (2, 100))
    assert groupings.nmi(labels, clusters) == metrics.normalized_mutual_info_score(labels, clusters)
    assert groupings.ari(labels, clusters) == metrics.adjusted_rand_score(labels, clusters)
    assert groupings.ami(labels, clusters) == metrics.adjusted_mutual_info_score(labels, clusters)


def test_a_perfect_clustering_scores_no_more_than_one_whatever_the_rounding():
    random, above = np.random.default_rng(0), 0
    for _ in range(60):
        k, n = random.integers([2, 5], [8, 200])
        labels = np.r_[np.arange(k), random.integers(0, k, n)]
        clusters = (labels + 1) % k
        above += metrics.normalized_mutual_info_score(labels, clusters) > 1
        assert 1 - 1e-9 < groupings.nmi(labels, clusters) <= 1
        assert 1 - 1e-9 < groupings.ami(labels, clusters) <= 1
        assert groupings.agreement(labels, clusters, permutations=9, resamples=1).nmi_p_value <= 0.2
    assert above  # what scikit-learn gives exceeds 1 now and then, by its last digit


def test_ari_can_be_minus_one_half():
    assert groupings.ari([0, 0, 1, 1], [0, 1, 0, 1]) == -0.5


def test_each_average_divides_the_mutual_information_by_its_own_mean_of_the_entropies():
    labels, clusters = grouping([10, 30]), grouping([4, 12, 24])
    information = metrics.mutual_info_score(labels, clusters)
    entropies = [-sum(p * np.log(p) for p in shares) for shares in ([0.25, 0.75], [0.1, 0.3, 0.6])]
    means = {
        "arithmetic": np.mean(entropies),
        "geometric": np.sqrt(np.prod(entropies)),
        "max": max(entropies),
        "min": min(entropies),
    }
    assert set(means) == set(groupings.AVERAGES)
    usual = groupings.chance_agreement([10, 30], [4, 12, 24], 20).nmi * means["arithmetic"]  # mutual information
    for average, mean in means.items():
        assert groupings.nmi(labels, clusters, average) == pytest.approx(information / mean)
        chance = groupings.chance_agreement([10, 30], [4, 12, 24], 20, average=average)
        np.testing.assert_allclose(chance.nmi, usual / mean, atol=1e-12)


def test_an_unknown_average_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'geometric'"):
        groupings.nmi([0, 1], [0, 1], "geometrical")


@pytest.mark.parametrize("average", groupings.AVERAGES)
@settings(deadline=None)
@given(pairs=groups.filter(lambda pairs: len(pairs) > 1))
def test_the_scores_of_a_table_are_those_of_its_groupings(pairs, average):
    labels, clusters = map(np.array, zip(*pairs, strict=True))
    tables = np.array(contingency_matrix(labels, clusters))[None]
    expected = metrics.normalized_mutual_info_score(labels, clusters, average_method=average)
    assert groupings._nmi_of(tables, average)[0] == pytest.approx(expected, abs=1e-9)
    assert groupings._ari_of(tables)[0] == pytest.approx(metrics.adjusted_rand_score(labels, clusters), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=30))
def test_the_jackknife_leaves_out_one_image_after_the_other(pairs):
    labels, clusters = map(np.array, zip(*pairs, strict=True))
    n = len(labels)
    score = metrics.normalized_mutual_info_score
    without = [score(np.delete(labels, i), np.delete(clusters, i)) for i in range(n)]
    expected = n * score(labels, clusters) - (n - 1) * np.mean(without)
    table = np.array(contingency_matrix(labels, clusters))
    assert groupings._jackknifed_nmi(table) == pytest.approx(expected, abs=1e-6)


def test_chance_alone_gives_the_published_nmi():
    # 466 images, 25/25/50 % in three classes, even clusters: mean .004, 95 % .010, 99.9 % .016 to .019
    chance = groupings.chance_agreement(REPORT, [155, 155, 156], draws=20_000)
    assert chance.nmi.mean() == pytest.approx(0.004, abs=0.0005)
    assert np.quantile(chance.nmi, 0.95) == pytest.approx(0.010, abs=0.0005)
    assert 0.016 <= np.quantile(chance.nmi, 0.999) <= 0.0205


def test_the_ari_that_chance_reaches_depends_on_the_sizes_of_the_clusters():
    # published for these classes, sizes of clusters not stated: one in a thousand above .036
    sizes = [155, 155, 156], [300, 83, 83]
    even, uneven = (groupings.chance_agreement(REPORT, counts, draws=20_000).ari for counts in sizes)
    assert np.quantile(even, 0.999) < 0.02 < 0.036 < np.quantile(uneven, 0.999) < 0.05


def test_tables_drawn_from_counts_are_those_of_permuted_labels():
    labels, clusters, random = grouping(REPORT), grouping([300, 100, 66]), np.random.default_rng(0)
    chance = groupings.chance_agreement(REPORT, [300, 100, 66], draws=5000)
    permuted = [random.permutation(labels) for _ in range(500)]
    for drawn_scores, score in ((chance.nmi, groupings.nmi), (chance.ari, groupings.ari)):
        assert kstest(drawn_scores, [score(order, clusters) for order in permuted]).pvalue > 0.001


def test_chance_has_an_ari_of_zero_on_average():
    chance = groupings.chance_agreement(REPORT, [200, 200, 66], draws=20_000)
    assert abs(chance.ari.mean()) < 4 * chance.ari.std() / np.sqrt(20_000)


def test_the_least_p_value_counts_the_grouping_itself():
    chance = groupings.chance_agreement([5, 5], [5, 5], draws=99)
    assert chance.nmi_p_value(0) == 1
    labels = grouping(REPORT)
    assert groupings.agreement(labels, labels, permutations=99).ari_p_value == 0.01


def test_a_score_that_every_table_has_is_no_evidence():
    # one image in a class of its own: each permutation gives one of few tables, the present one among them
    found = groupings.agreement([0, 1, 1, 1], [0, 1, 0, 1], permutations=999)
    tables = [metrics.normalized_mutual_info_score(np.roll([0, 1, 1, 1], shift), [0, 1, 0, 1]) for shift in range(4)]
    assert np.ptp(tables) < 1e-12
    assert found.nmi_p_value == found.ari_p_value == 1


@pytest.mark.parametrize("score", [0.0077, 0.0117, 0.0178, 0.0397])
def test_the_closed_form_agrees_with_counting(score):
    chance = groupings.chance_agreement(REPORT, [155, 155, 156], draws=200_000)
    counted = chance.nmi_p_value(score)
    error = np.sqrt(max(counted, 1e-5) / 200_000)
    assert chance.g_test(score) == pytest.approx(counted, rel=0.15, abs=5 * error)


def test_the_closed_form_is_the_g_test():
    labels, clusters = drawn(mixture(0.2), 466, np.random.default_rng(0))
    table = np.array(contingency_matrix(labels, clusters))
    reference = chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue
    assert groupings.agreement(labels, clusters).g_p_value == pytest.approx(reference, rel=1e-6)
    for average in groupings.AVERAGES:
        chance = groupings.chance_agreement(table.sum(axis=1), table.sum(axis=0), 1, average=average)
        assert chance.g_test(groupings.nmi(labels, clusters, average)) == pytest.approx(reference, rel=1e-6)


def test_p_values_keep_their_level_at_chance():
    random = np.random.default_rng(0)
    rounds = [
        groupings.agreement(*drawn(mixture(0), 100, random), permutations=199, resamples=1, seed=seed)
        for seed in range(400)
    ]
    for name in ("nmi_p_value", "ari_p_value", "g_p_value"):
        rejected = np.mean([getattr(found, name) <= 0.05 for found in rounds])
        assert 0.02 < rejected < 0.085


def test_p_values_are_too_small_where_classes_and_clusters_go_with_groups_of_images():
    # ten slides, each with its own mixture of the classes, and each as a whole in a cluster that knows only its stain
    random, p_values = np.random.default_rng(0), []
    for seed in range(150):
        slides = random.integers(0, 10, 466)
        limits = random.dirichlet([10, 5, 5], 10).cumsum(axis=1)[slides]
        labels = (random.uniform(size=(466, 1)) > limits[:, :2]).sum(axis=1)
        clusters = np.resize([0, 1, 2], 10)[slides]
        p_values.append(groupings.agreement(labels, clusters, permutations=199, resamples=1, seed=seed).nmi_p_value)
    assert np.mean(np.array(p_values) <= 0.05) > 0.3


@pytest.mark.parametrize("share", [0, 0.1, 0.35, 0.6, 0.85])
def test_intervals_hold_the_scores_of_the_population_as_often_as_they_say(share):
    # what the docstring of `agreement` promises for three classes, three clusters and hundreds of images
    random, table, rounds = np.random.default_rng(1), mixture(share), 200
    nmi, ari = scores_of_population(table)
    found = [
        groupings.agreement(*drawn(table, 466, random), permutations=1, resamples=199, seed=seed)
        for seed in range(rounds)
    ]
    assert np.mean([low <= nmi <= high for low, high in (one.nmi_interval for one in found)]) > 0.90
    assert np.mean([low <= ari <= high for low, high in (one.ari_interval for one in found)]) > 0.90


def test_percentiles_of_resampled_nmi_would_never_hold_the_truth_at_chance():
    # why `agreement` shifts them
    random, held = np.random.default_rng(1), 0
    for _ in range(50):
        labels, clusters = drawn(mixture(0), 466, random)
        draws = groupings._nmi_of(groupings._resampled(np.array(contingency_matrix(labels, clusters)), 399, 0))
        held += np.quantile(draws, 0.025) <= 1e-4
    assert held <= 2


def test_agreement_holds_the_plain_scores():
    labels, clusters = drawn(mixture(0.5), 200, np.random.default_rng(3))
    found = groupings.agreement(labels, clusters)
    assert found.nmi == groupings.nmi(labels, clusters)
    assert found.ami == groupings.ami(labels, clusters)
    assert found.ari == groupings.ari(labels, clusters)


def test_agreement_repeats_with_the_seed_and_changes_with_it():
    labels, clusters = drawn(mixture(0.1), 200, np.random.default_rng(3))
    first, again, other = (groupings.agreement(labels, clusters, seed=seed) for seed in (0, 0, 1))
    assert dataclasses.astuple(first) == dataclasses.astuple(again)
    assert first.nmi_interval != other.nmi_interval


def test_intervals_stay_where_scores_can_be():
    labels = grouping([3, 3])
    found = groupings.agreement(labels, labels)
    assert found.nmi_interval == found.ari_interval == (1, 1)
    low, high = groupings.agreement(grouping([50, 50]), np.arange(100) % 2).nmi_interval
    assert low == 0 <= high


def test_a_higher_level_gives_a_wider_interval():
    labels, clusters = drawn(mixture(0.5), 200, np.random.default_rng(3))
    narrow, wide = (groupings.agreement(labels, clusters, level=level).ari_interval for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_one_cluster_is_refused():
    with pytest.raises(ValueError, match="`clusters` holds 1 class"):
        groupings.agreement([0, 1, 1], [2, 2, 2])
    with pytest.raises(ValueError, match="two groups or more"):
        groupings.chance_agreement([3, 4], [7])


@pytest.mark.parametrize("counts", [[3, -1], [3.0, 4.0], [[3, 4]], [7, 0]])
def test_counts_that_are_no_counts_are_refused(counts):
    with pytest.raises(ValueError, match=r"`label_counts` is .* 1 or more each"):
        groupings.chance_agreement(counts, [3, 4])


def test_counts_of_different_images_are_refused():
    with pytest.raises(ValueError, match="sum to 7 and `cluster_counts` to 8"):
        groupings.chance_agreement([3, 4], [4, 4])


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"permutations": 0}, "permutations=0, but it is a whole number of 1 or more"),
        ({"resamples": 0}, "resamples=0, but it is a whole number of 1 or more"),
        ({"seed": -1}, "seed=-1, but it is a whole number of 0 or more"),
        ({"level": 1}, "level=1, but it is a number strictly between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        groupings.agreement([0, 1], [0, 1], **keywords)

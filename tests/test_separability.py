import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_samples

from helpers import separability
from helpers.distances import ENGINES
from helpers.separability import clustering_goodness, mrpp_moments, permutation_test

SAMPLED = ("independent", "shifts")
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])
SIZES = [(3, 4), (2, 2, 3), (2, 5), (3, 3), (2, 2), (4, 4), (2, 2, 2, 2), (2, 3, 3)]
WITH_SINGLE_ROWS = [(1, 3, 3), (1, 1, 4), (1, 6), (1, 1, 2), (1, 1, 2, 2), (1, 2, 2), (1, 1, 1, 2, 2), (1, 1, 1, 1, 2)]

clouds = arrays(np.float32, (8, 3), elements=st.floats(-10, 10, width=32), unique=True)
# the documentation of scikit-bio's permanova shows this example, with a pseudo-F of 2.0
FOUR_ROWS = np.array([[0, 1, 1, 4], [1, 0, 3, 2], [1, 3, 0, 3], [4, 2, 3, 0]], float)
# Cover of 30 plant species on 20 dune meadows, and how the meadows are kept: table 0.1 of Jongman, ter Braak and van
# Tongeren (1987), Data analysis in community and landscape ecology. The documentation of R's vegan::mrpp shows it.
DUNE_MEADOWS = """
    100000000004000070420000000000 300203400004000050470000505000 040702000004000060560000202020
    080202302004000050450050201020 200042200004000025260500322020 200030000000000065340600355060
    200020200000000265450300322020 040500000040004040442020302020 030300000006004420450220203020
    400042400000000063440000306120 000000000000020073400020503240 040800000000000400040240203040
    050500010000000300292020202000 040000000240000000002000206004 040000000250003000002000201040
    070400000080003000022000000043 202040000000020002100000200000 000002000000000023300003502160
    003040000000250000000033602030 050000000040004000004005200043
"""
DUNE_KEEPING = "SF BF SF SF HF HF HF HF HF BF BF SF SF NM NM SF NM NM NM NM"


def distances_of(features):
    return squareform(pdist(np.asarray(features, float)))


def random_distances(n, columns=3, seed=0):
    return distances_of(np.random.default_rng(seed).normal(size=(n, columns)))


def goodness_by_brute_force(distances, labels):
    within, between = [], []
    for i in range(len(labels)):
        for j in range(i):
            (within if labels[i] == labels[j] else between).append(distances[i, j])
    return np.mean(between) / np.mean(within)


def delta_by_brute_force(distances, labels, weights):
    classes, sizes = np.unique(labels, return_counts=True)
    share = sizes * (sizes - 1) if weights == "pairs" else sizes
    means = [
        distances[np.ix_(labels == c, labels == c)].sum() / max(1, n * (n - 1))
        for c, n in zip(classes, sizes, strict=True)
    ]
    return np.dot(share, means) / share.sum()


def over_all_labellings(statistic, distances, labels):
    return np.array([statistic(distances, np.array(each)) for each in sorted(set(permutations(labels.tolist())))])


@given(clouds)
def test_goodness_is_the_ratio_of_mean_distances(features):
    distances = distances_of(features)
    assert clustering_goodness(distances, LABELS) == pytest.approx(goodness_by_brute_force(distances, LABELS))


@given(clouds, st.floats(0.01, 100), st.permutations(range(3)), st.permutations(range(8)))
def test_goodness_changes_neither_with_scale_nor_with_names_of_classes_nor_with_order(features, scale, names, order):
    distances, order = distances_of(features), np.array(order)
    changed = clustering_goodness(scale * distances[np.ix_(order, order)], np.array(names)[LABELS[order]])
    assert changed == pytest.approx(clustering_goodness(distances, LABELS))


def test_goodness_counts_pairs_and_lets_a_class_of_one_row_count_between():
    distances = random_distances(8)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    assert clustering_goodness(distances, labels) == pytest.approx(goodness_by_brute_force(distances, labels))


@pytest.mark.parametrize("sizes", [*SIZES, *WITH_SINGLE_ROWS])
def test_exact_enumeration_is_the_share_of_all_labellings(sizes):
    distances, labels = random_distances(sum(sizes)), np.repeat(np.arange(len(sizes)), sizes)
    every = over_all_labellings(goodness_by_brute_force, distances, labels)
    test = permutation_test(distances, labels, method="exact")
    assert test.p_value == pytest.approx(np.mean(every >= goodness_by_brute_force(distances, labels) * (1 - 1e-12)))
    groupings = np.unique(every.round(12))
    np.testing.assert_allclose(np.unique(test.null_distribution.round(12)), groupings, rtol=1e-10)
    repeats = math.prod(map(math.factorial, np.unique(sizes, return_counts=True)[1]))  # classes of one size may swap
    assert len(test.null_distribution) == len(every) / repeats


def test_the_exact_p_value_of_the_example_in_the_documentation_of_scikit_bio():
    test = permutation_test(FOUR_ROWS**2, [0, 0, 1, 1])
    assert test.method == "exact"
    assert test.p_value == pytest.approx(2 / 3)  # of the three ways to make two pairs


def test_the_pseudo_f_of_the_example_in_the_documentation_of_scikit_bio_follows_from_delta():
    # on squared distances the sums of squares are half of delta and of its mean, times degrees of freedom
    moments, n, classes = mrpp_moments(FOUR_ROWS**2, [0, 0, 1, 1]), 4, 2
    within, total = (n - classes) / 2 * moments.delta, (n - 1) / 2 * moments.mean
    assert ((total - within) / (classes - 1)) / (within / (n - classes)) == pytest.approx(2.0)


def test_the_dune_meadows_give_the_figures_in_the_documentation_of_vegan():
    cover = np.array([list(map(int, meadow)) for meadow in DUNE_MEADOWS.split()])
    distances, labels = distances_of(cover), np.unique(DUNE_KEEPING.split(), return_inverse=True)[1]
    groups, pairs = (mrpp_moments(distances, labels, weights=weights) for weights in ("groups", "pairs"))
    assert f"{groups.agreement:.4f} {groups.delta:.2f} {groups.mean:.2f}" == "0.1246 11.15 12.74"
    assert pairs.delta == pytest.approx(11.2753675)  # vegan 2.6, weight.type = 3
    assert groups.p_value == pytest.approx(0.002, abs=0.002)  # there by 999 permutations


@pytest.mark.parametrize("method", SAMPLED)
@pytest.mark.parametrize("sizes", [(20, 20), (30, 7, 4), (1, 12, 12, 12), (9, 9, 9, 9, 9)])
@pytest.mark.parametrize("number", ["float32", "float64"])
def test_every_value_of_the_null_is_the_goodness_of_some_labelling(method, sizes, number, monkeypatch):
    distances, labels = random_distances(sum(sizes)).astype(number), np.repeat(np.arange(len(sizes)), sizes)
    seen = []
    original = separability._excess_of_batch if method == "independent" else separability._excess_of_shifts

    def batch(distances, parts, classes, labellings, *others):
        seen.extend(labellings)
        return original(distances, parts, classes, labellings, *others)

    def shifts(distances, parts, order, labels, *others):
        back = np.argsort(order)
        seen.extend(np.roll(labels, -shift)[back] for shift in range(len(order)))
        return original(distances, parts, order, labels, *others)

    name, spy = ("_excess_of_batch", batch) if method == "independent" else ("_excess_of_shifts", shifts)
    monkeypatch.setattr(separability, name, spy)
    null = permutation_test(distances, labels, permutations=100, method=method).null_distribution
    assert len(null) == 100
    expected = np.array([goodness_by_brute_force(distances, labelling) for labelling in seen])
    nearest = np.abs(null[:, None] - expected).min(axis=1)
    assert nearest.max() < 1e-5 * null.std()
    if method == "independent":
        np.testing.assert_allclose(null, expected[1:], rtol=1e-6)  # the first are the labels as they are


@pytest.mark.parametrize("method", SAMPLED)
def test_matrices_of_many_tiles_give_the_same_as_one_tile(method, monkeypatch):
    distances, labels = random_distances(150).astype(np.float32), np.arange(150) % 4
    whole = permutation_test(distances, labels, permutations=300, method=method).null_distribution
    monkeypatch.setattr(separability, "_TILE", 32)
    monkeypatch.setattr(separability, "_OFFSETS", 7)
    monkeypatch.setattr(separability, "_GAIN", 10)
    in_parts = permutation_test(distances, labels, permutations=300, method=method).null_distribution
    np.testing.assert_allclose(in_parts, whole, atol=1e-5 * whole.std())


def test_keras_and_blas_give_one_null_and_one_set_of_moments():
    distances, labels = random_distances(150), np.arange(150) % 4
    blas, keras = (
        permutation_test(distances, labels, permutations=50, method="independent", engine=engine).null_distribution
        for engine in ENGINES
    )
    np.testing.assert_allclose(keras, blas, atol=1e-5 * blas.std())
    blas, keras = (mrpp_moments(distances, labels, engine=engine) for engine in ENGINES)
    assert (keras.variance, keras.skewness) == pytest.approx((blas.variance, blas.skewness), rel=1e-5)


def null_of_products(distances, labels, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(separability, "_COMPILED", math.inf)
        return permutation_test(distances, labels, method="independent", **options).null_distribution


def null_of_the_loop(distances, labels, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(separability, "_COMPILED", 0)
        return permutation_test(distances, labels, method="independent", **options).null_distribution


@pytest.mark.parametrize("number", ["float32", "float64"])
@pytest.mark.parametrize(("n", "classes"), [(40, 3), (513, 2), (530, 256), (1030, 300), (577, 577 // 2)])
@pytest.mark.parametrize("permutations", [1, 40])
def test_the_compiled_loop_gives_the_null_of_the_products(n, classes, number, permutations, monkeypatch):
    distances, labels = random_distances(n).astype(number), np.arange(n) % classes
    products = null_of_products(distances, labels, monkeypatch, permutations=permutations, random_state=3)
    loop = null_of_the_loop(distances, labels, monkeypatch, permutations=permutations, random_state=3)
    spread = null_of_products(distances, labels, monkeypatch, permutations=40).std()
    np.testing.assert_allclose(loop, products, atol=1e-4 * spread, rtol=0)


@pytest.mark.parametrize("sizes", [(20, 20), (30, 7, 4), (1, 12, 12, 12), (9, 9, 9, 9, 9)])
def test_every_value_of_the_compiled_loop_is_the_goodness_of_its_labelling(sizes, monkeypatch):
    distances, labels = random_distances(sum(sizes)), np.repeat(np.arange(len(sizes)), sizes)
    null, random = null_of_the_loop(distances, labels, monkeypatch, permutations=30), np.random.default_rng(0)
    expected = [goodness_by_brute_force(distances, random.permutation(labels)) for _ in range(30)]
    np.testing.assert_allclose(null, expected, rtol=1e-6)


def test_more_permutations_than_one_pass_of_the_compiled_loop_draw_the_same_labels(monkeypatch):
    distances, labels = random_distances(70), np.arange(70) % 4
    many = null_of_the_loop(distances, labels, monkeypatch, permutations=2 * separability._LABELLINGS + 1)
    products = null_of_products(distances, labels, monkeypatch, permutations=len(many))
    np.testing.assert_allclose(many, products, atol=1e-5 * products.std(), rtol=0)


def test_the_compiled_loop_keeps_its_digits_where_classes_are_far_apart_and_rows_are_sorted(monkeypatch):
    labels = np.repeat([0, 1, 2], 500)
    features = np.random.default_rng(0).normal(size=(1500, 3)) + 50 * labels[:, None]
    distances = distances_of(features)
    loop = null_of_the_loop(distances.astype(np.float32), labels, monkeypatch, permutations=20)
    random = np.random.default_rng(0)
    expected = []
    for _ in range(20):
        shuffled = random.permutation(labels)
        same = shuffled[:, None] == shuffled
        within = distances[same].sum() / (same.sum() - 1500)
        expected.append(distances[~same].mean() / within)
    np.testing.assert_allclose(loop, expected, atol=1e-4 * np.std(expected), rtol=0)


def test_the_compiled_loop_gives_the_same_numbers_with_any_number_of_threads(monkeypatch):
    distances, labels, nulls = random_distances(600).astype(np.float32), np.arange(600) % 5, []
    for count in (1, 2, 7):
        monkeypatch.setattr(separability, "cores", lambda count=count: count)
        nulls.append(null_of_the_loop(distances, labels, monkeypatch, permutations=50))
    assert np.array_equal(nulls[0], nulls[1])
    assert np.array_equal(nulls[0], nulls[2])


def test_the_compiled_loop_takes_matrices_that_may_not_be_written_or_lie_by_columns(monkeypatch, tmp_path):
    distances, labels = random_distances(60).astype(np.float32), np.arange(60) % 3
    np.save(tmp_path / "distances.npy", distances)
    expected = null_of_the_loop(distances, labels, monkeypatch, permutations=20)
    for given_as in (np.load(tmp_path / "distances.npy", mmap_mode="r"), np.asfortranarray(distances)):
        null = null_of_the_loop(given_as, labels, monkeypatch, permutations=20)
        np.testing.assert_allclose(null, expected, atol=1e-5 * expected.std(), rtol=0)


def test_products_serve_few_rows_and_the_compiled_loop_many(monkeypatch):
    used = []
    monkeypatch.setattr(separability, "_COMPILED", 50)
    originals = {name: getattr(separability, name) for name in ("_excess_by_loop", "_excess_of_batch")}
    for name, original in originals.items():

        def spy(*given, original=original, name=name):
            used.append(name)
            return original(*given)

        monkeypatch.setattr(separability, name, spy)
    for n, engine in ((49, "blas"), (50, "blas"), (50, "keras")):
        permutation_test(random_distances(n), np.arange(n) % 3, permutations=9, method="independent", engine=engine)
    assert used == ["_excess_of_batch", "_excess_by_loop", "_excess_of_batch"]


@pytest.mark.parametrize("method", SAMPLED)
def test_distances_that_concentrate_keep_their_digits(method):
    spread, labels = random_distances(120, seed=2), np.arange(120) % 3
    raised = spread + 1e4 * (1 - np.eye(120))  # a null of standard deviation 1e-6
    plain, high = (permutation_test(each, labels, method=method, random_state=1) for each in (spread, raised))
    assert high.p_value == plain.p_value
    assert 0.02 < plain.p_value < 0.98
    assert stats.spearmanr(plain.null_distribution, high.null_distribution).statistic > 1 - 1e-6


@pytest.mark.parametrize("method", SAMPLED)
def test_the_null_has_the_exact_moments(method):
    distances, labels = random_distances(90, 2), np.repeat([0, 1, 2], [20, 30, 40])
    exact, pairs = mrpp_moments(distances, labels), sum(n * (n - 1) / 2 for n in (20, 30, 40))
    null = permutation_test(distances, labels, permutations=8999, method=method).null_distribution
    # the goodness is a decreasing function of delta
    total = distances.sum() / 2
    delta = total / (null * (90 * 89 / 2 - pairs) + pairs)
    error = math.sqrt(exact.variance / len(null))
    assert delta.mean() == pytest.approx(exact.mean, abs=4 * error)
    assert delta.var() == pytest.approx(exact.variance, rel=4 * math.sqrt(2.5 / len(null)))
    assert stats.skew(delta) == pytest.approx(exact.skewness, abs=4 * math.sqrt(8 / len(null)))


def test_shifts_and_independent_shuffles_have_one_null_distribution():
    distances, labels = random_distances(200, 2), np.repeat([0, 1, 2], [20, 80, 100])
    shifts, independent = (
        permutation_test(distances, labels, permutations=3999, method=method).null_distribution for method in SAMPLED
    )
    assert stats.ks_2samp(shifts, independent).pvalue > 0.01
    levels = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(
        np.quantile(shifts, levels), np.quantile(independent, levels), atol=0.1 * independent.std()
    )


@pytest.mark.parametrize(
    ("method", "n", "sizes", "permutations"),
    [
        ("exact", 8, (3, 5), 99),
        ("independent", 24, (6, 8, 10), 99),
        ("shifts", 24, (6, 8, 10), 19),
        ("shifts", 20, (4, 16), 99),
        ("shifts", 21, (10, 11), 49),
    ],
)
def test_the_level_is_held_and_p_values_of_noise_are_uniform(method, n, sizes, permutations):
    random = np.random.default_rng(7)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    p_values = np.array(
        [
            permutation_test(
                distances_of(random.normal(size=(n, 3)) ** 3),
                random.permutation(labels),
                permutations=permutations,
                method=method,
                random_state=random,
            ).p_value
            for _ in range(500)
        ]
    )
    for level in (0.05, 0.1, 0.25, 0.5):
        share, step = np.mean(p_values <= level), 1 / (permutations + 1 if method != "exact" else 56)
        assert share <= level + 3 * math.sqrt(level * (1 - level) / 500)
        assert share >= level - step - 3 * math.sqrt(level * (1 - level) / 500)


@pytest.mark.parametrize("method", SAMPLED)
def test_p_values_scatter_no_more_than_their_standard_error(method):
    distances, labels = random_distances(60, 2, seed=5), np.arange(60) % 3
    p_values = [
        permutation_test(distances, labels, permutations=59, method=method, random_state=seed).p_value
        for seed in range(200)
    ]
    p = np.mean(p_values)
    assert 0.2 < p < 0.8
    assert np.std(p_values) == pytest.approx(math.sqrt(p * (1 - p) / 59), rel=0.2)


def test_the_p_value_counts_the_labelling_itself():
    features = np.repeat([[0.0], [10.0], [20.0]], 10, axis=0) + np.arange(30)[:, None] / 100
    for method in SAMPLED:
        test = permutation_test(distances_of(features), np.repeat([0, 1, 2], 10), permutations=29, method=method)
        assert test.p_value == 1 / 30


@pytest.mark.parametrize("method", SAMPLED)
def test_labellings_that_tie_count_as_reaching(method):
    equal = 0.1 * (1 - np.eye(40))  # whatever the labels, the goodness is 1
    test = permutation_test(equal.astype(np.float32), np.arange(40) % 4, permutations=50, method=method)
    assert test.p_value == 1
    np.testing.assert_allclose(test.null_distribution, 1, rtol=1e-6)


def on_a_line(far, seed=0, n=1200):
    """Points at 0, 1 and 2, with the last at the places in `far`: their distances, and two of the zeros."""
    points = np.random.default_rng(seed).integers(0, 3, n).astype(float)
    points[n - len(far) :] = far
    zeros = np.flatnonzero(points == 0)[[3, 4]]
    return np.abs(np.subtract.outer(points, points)), zeros


def share_of_pairs(distances, chosen):
    """The share of all choices of two rows that leave as little within classes as the choice of these two."""
    first, second = np.triu_indices(len(distances), 1)
    away = distances.sum(axis=1)
    lost = away[first] + away[second] - 2 * distances[first, second]
    a, b = chosen
    return np.mean(lost >= away[a] + away[b] - 2 * distances[a, b])


@pytest.mark.parametrize("number", ["float32", "float64"])
@pytest.mark.parametrize("far", [(), (1e4,), (1e5,), (1e6,), (1e6, 1e6), (1e3, 1e5, 1e6, 1e6, 1e7)])
def test_rows_that_lie_far_out_neither_swallow_differences_nor_split_ties(far, number, monkeypatch):
    for seed in range(3):
        distances, chosen = on_a_line(far, seed)
        labels = np.ones(len(distances), int)
        labels[chosen] = 0
        truth = share_of_pairs(distances, chosen)
        assert 0.05 < truth < 0.4
        for method, compiled in (("shifts", math.inf), ("independent", math.inf), ("independent", 0)):
            monkeypatch.setattr(separability, "_COMPILED", compiled)
            test = permutation_test(distances.astype(number), labels, method=method, random_state=seed)
            assert test.p_value == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / 999))


@pytest.mark.parametrize("way", ["products", "loop", "Keras"])
@pytest.mark.parametrize("sizes", [(1198, 2), (1195, 2, 3), (500, 300, 400)])
@pytest.mark.parametrize("far", [(), (1e6,), (1e6, 1e6)])
def test_p_values_are_the_share_of_the_very_labellings_that_were_drawn(far, sizes, way, monkeypatch):
    distances, _ = on_a_line(far)  # whole numbers, whose sums are exact
    monkeypatch.setattr(separability, "_COMPILED", 0 if way == "loop" else math.inf)
    engine = "keras" if way == "Keras" else "blas"

    def within(labelling):
        return sum(distances[np.ix_(labelling == c, labelling == c)].sum() for c in range(len(sizes)))

    for seed in range(3):
        labels = np.random.default_rng(seed + 10).permutation(np.repeat(np.arange(len(sizes)), sizes))
        random = np.random.default_rng(seed)
        drawn = np.array([within(random.permutation(labels)) for _ in range(99)])
        test = permutation_test(
            distances.astype(np.float32),
            labels,
            permutations=99,
            method="independent",
            random_state=seed,
            engine=engine,
        )
        assert test.p_value == (1 + np.sum(drawn <= within(labels))) / 100


def test_the_transforms_of_large_matrices_take_the_cores_that_the_process_may_use(monkeypatch):
    asked, original = set(), separability.scipy.fft.rfft

    def rfft(*given, workers=None, **options):
        asked.add(workers)
        return original(*given, **options)

    monkeypatch.setattr(separability, "_LARGE", 50)
    monkeypatch.setattr(separability, "cores", lambda: 3)
    monkeypatch.setattr(separability.scipy.fft, "rfft", rfft)
    permutation_test(random_distances(60), np.arange(60) % 3, method="shifts", permutations=9)
    assert asked == {3, None}


def test_one_row_against_many_is_enumerated_row_by_row():
    distances, labels = random_distances(1500), np.zeros(1500, int)
    labels[7] = 1
    test = permutation_test(distances, labels, permutations=1500)
    away = distances.sum(axis=1)
    assert test.method == "exact"
    assert test.p_value == pytest.approx(np.mean(away >= away[7]))
    assert test.null_distribution[7] == pytest.approx(clustering_goodness(distances, labels))


@pytest.mark.parametrize("spread", [1e-3, 1e-7, 1e-11])
def test_classes_that_are_tight_against_their_distance_keep_their_goodness(spread):
    features = np.random.default_rng(0).normal(size=(10, 3)) * spread
    features[5:, 0] += 1
    distances, labels = distances_of(features), np.repeat([0, 1], 5)
    expected = goodness_by_brute_force(distances, labels)
    assert clustering_goodness(distances, labels) == pytest.approx(expected, rel=1e-12)
    for method in ("exact", *SAMPLED):
        test = permutation_test(distances, labels, method=method)
        assert test.statistic == pytest.approx(expected, rel=1e-12)
        assert np.isfinite(test.null_distribution).all()


def test_auto_takes_the_method_that_the_size_asks_for():
    chosen = {
        n: permutation_test(random_distances(n), np.arange(n) % 3, permutations=permutations).method
        for n, permutations in ((7, 999), (50, 999), (1000, 999), (1001, 1200))
    }
    assert list(chosen.values()) == ["exact", "independent", "shifts", "independent"]


@pytest.mark.parametrize("method", SAMPLED)
def test_the_null_repeats_with_the_seed(method):
    distances, labels = random_distances(30), np.arange(30) % 3

    def null(state):
        return permutation_test(distances, labels, permutations=120, method=method, random_state=state)

    assert np.array_equal(null(5).null_distribution, null(np.random.default_rng(5)).null_distribution)
    plain = permutation_test(distances, labels, permutations=120, method=method)
    assert np.array_equal(plain.null_distribution, null(0).null_distribution)
    assert not np.array_equal(null(None).null_distribution, null(None).null_distribution)
    assert not np.array_equal(null(5).null_distribution, null(6).null_distribution)


@pytest.mark.parametrize("weights", ["pairs", "groups"])
@pytest.mark.parametrize("sizes", SIZES)
def test_moments_are_those_of_all_labellings(sizes, weights):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    distances = random_distances(len(labels), 2)
    every = over_all_labellings(lambda *given: delta_by_brute_force(*given, weights), distances, labels)
    moments = mrpp_moments(distances, labels, weights=weights)
    assert moments.delta == pytest.approx(delta_by_brute_force(distances, labels, weights))
    assert moments.mean == pytest.approx(every.mean())
    assert moments.variance == pytest.approx(every.var())
    assert moments.skewness == pytest.approx(stats.skew(every), abs=1e-8)
    assert moments.z == pytest.approx((moments.delta - every.mean()) / every.std(), abs=1e-9)
    assert moments.agreement == pytest.approx(1 - moments.delta / every.mean())


@settings(max_examples=20, deadline=None)
@given(
    arrays(np.float64, (7, 2), elements=st.integers(-50, 50)),
    st.sampled_from(["pairs", "groups"]),
    st.sampled_from([(3, 4), (2, 2, 3), (2, 5)]),
)
def test_moments_are_those_of_all_labellings_for_any_cloud(features, weights, sizes):
    distances, labels = distances_of(features), np.repeat(np.arange(len(sizes)), sizes)
    if not all(np.any(distances[np.ix_(labels == c, labels == c)]) for c in range(len(sizes))):
        return
    every = over_all_labellings(lambda *given: delta_by_brute_force(*given, weights), distances, labels)
    moments = mrpp_moments(distances, labels, weights=weights)
    assert moments.mean == pytest.approx(every.mean())
    assert moments.variance == pytest.approx(every.var(), rel=1e-7, abs=1e-20 * every.mean() ** 2)
    third = np.mean((every - every.mean()) ** 3)
    assert moments.skewness * moments.variance**1.5 == pytest.approx(third, rel=1e-6, abs=1e-8 * every.std() ** 3)


def test_moments_count_a_class_of_one_row_by_its_pairs_only():
    distances, labels = random_distances(7), np.array([0, 1, 1, 2, 2, 2, 2])
    every = over_all_labellings(lambda *given: delta_by_brute_force(*given, "pairs"), distances, labels)
    moments = mrpp_moments(distances, labels)
    assert (moments.mean, moments.variance) == pytest.approx((every.mean(), every.var()))
    assert moments.skewness == pytest.approx(stats.skew(every))
    with pytest.raises(ValueError, match="Class 0 has one row"):
        mrpp_moments(distances, labels, weights="groups")


def test_both_weightings_agree_for_classes_of_one_size():
    distances, labels = random_distances(60), np.arange(60) % 4
    pairs, groups = (mrpp_moments(distances, labels, weights=weights) for weights in ("pairs", "groups"))
    for name in ("delta", "mean", "variance", "skewness", "p_value"):
        assert getattr(pairs, name) == pytest.approx(getattr(groups, name))


def test_moments_do_not_lose_digits_where_distances_are_large_against_their_spread():
    distances, labels = random_distances(100), np.arange(100) % 4
    near, far = mrpp_moments(distances, labels), mrpp_moments(distances + 1e6 * (1 - np.eye(100)), labels)
    assert far.z == pytest.approx(near.z, rel=1e-6)
    assert far.skewness == pytest.approx(near.skewness, rel=1e-6)


def test_moments_in_float32_and_in_tiles_agree_with_float64(monkeypatch):
    distances, labels = random_distances(150), np.repeat([0, 1, 2], [30, 50, 70])
    whole = mrpp_moments(distances, labels)
    monkeypatch.setattr(separability, "_TILE", 32)
    monkeypatch.setattr(separability, "_LARGE", 10)
    in_parts = mrpp_moments(distances.astype(np.float32), labels)
    assert (in_parts.z, in_parts.skewness) == pytest.approx((whole.z, whole.skewness), rel=1e-5)


def test_the_curve_agrees_with_the_share_of_labellings():
    labels = np.arange(45) % 3
    for seed in range(5):
        distances = random_distances(45, 2, seed)
        sampled = permutation_test(distances, labels, permutations=9999).p_value
        assert mrpp_moments(distances, labels).p_value == pytest.approx(sampled, abs=0.02)


@pytest.mark.parametrize("skewness", [-2.5, -0.7, -1e-3, -1e-8, 0, 1e-8, 1e-3, 0.4, 1.5])
@pytest.mark.parametrize("z", [-30, -5, -1.3, -0.2, 0.0, 0.4, 1.2])
def test_p_values_are_those_of_the_pearson_type_iii_distribution(z, skewness):
    moments = separability.MRPPMoments(z, 0.0, 1.0, skewness, "pairs")
    assert moments.p_value == pytest.approx(stats.pearson3.cdf(z, skewness), rel=1e-6, abs=1e-300)


@pytest.mark.parametrize(("z", "skewness"), [(-700, -0.36), (-60, -1e-3), (-5000, -1.5), (-90, -0.02)])
def test_p_values_beyond_the_range_of_floats_keep_their_logarithm(z, skewness):
    shape = 4 / skewness**2
    place = shape + abs(z) * math.sqrt(shape)
    # Laplace: the tail is the integral of the density, which falls nearly exponentially from `place` on
    steps = np.linspace(0, 60 / (1 - (shape - 1) / place), 200_001)
    log_density = (shape - 1) * np.log1p(steps / place) - steps
    at_place = (shape - 1) * math.log(place) - place - math.lgamma(shape)
    expected = (at_place + math.log(np.trapezoid(np.exp(log_density), steps))) / math.log(10)
    moments = separability.MRPPMoments(z, 0.0, 1.0, skewness, "pairs")
    assert moments.log10_p_value == pytest.approx(expected, rel=1e-5)
    assert moments.p_value == 0 or moments.log10_p_value > -320


def test_equal_distances_are_no_evidence():
    moments = mrpp_moments((1 - np.eye(9)) * 0.3, np.arange(9) % 3)
    assert (moments.z, moments.p_value, moments.skewness) == (0, 1, 0)
    assert moments.agreement == pytest.approx(0)


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


@pytest.mark.parametrize("value", [0, 3.7, 3.7e-20, 3.7e20])
def test_collapsed_features_have_effective_rank_zero(value):
    assert separability.effective_rank(np.full((10, 5), value)) == 0


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1e8, 1e20])
def test_effective_rank_does_not_depend_on_units(scale):
    features = np.random.default_rng(0).normal(size=(30, 6))
    assert separability.effective_rank(scale * features) == pytest.approx(separability.effective_rank(features))


def test_a_silhouette_of_classes_of_one_image_each_is_refused():
    with pytest.raises(ValueError, match="Every image is a class of its own"):
        separability.silhouette(np.eye(4), np.arange(4))


BAD = {
    "every image a class": (1 - np.eye(4), np.arange(4), "Every image is a class of its own"),
    "one class": (1 - np.eye(4), [0, 0, 0, 0], "`labels` holds 1 class"),
    "labels of another length": (1 - np.eye(4), [0, 0, 1], "3 entries for 4 rows of `distances`"),
    "copies within classes": (distances_of(np.repeat(np.eye(2), 3, 0)), [0, 0, 0, 1, 1, 1], "No two images of a class"),
    "copies only": (np.zeros((4, 4)), [0, 0, 1, 1], "All `distances` are 0"),
    "NaN": (np.where(np.eye(4)[::-1], np.nan, 1 - np.eye(4)), [0, 0, 1, 1], r"NaN or infinity \(first in row 0\)"),
    "infinity": (np.where(np.eye(4)[::-1], np.inf, 1 - np.eye(4)), [0, 0, 1, 1], "NaN or infinity"),
    "not square": (np.ones((4, 3)), [0, 0, 1, 1], r"shape \(4, 3\), but it must be square"),
    "not symmetric": (np.triu(np.ones((4, 4)), 1), [0, 0, 1, 1], "not symmetric"),
    "negative": (np.eye(4) - 1, [0, 0, 1, 1], "holds -1, but distances are 0 or more"),
    "a diagonal": (np.ones((4, 4)), [0, 0, 1, 1], r"has 1 on its diagonal \(row 0\)"),
    "text": (np.full((4, 4), "a"), [0, 0, 1, 1], "its entries are real numbers"),
}


@pytest.mark.parametrize("measure", [clustering_goodness, permutation_test, mrpp_moments])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence(measure, case):
    distances, labels, sentence = BAD[case]
    if measure is mrpp_moments and case == "copies within classes":
        assert measure(distances, labels).delta == 0  # it is no ratio
        return
    with pytest.raises(ValueError, match=sentence) as caught:
        measure(distances, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("permutations", [0, 2.5, "9", True])
def test_only_a_whole_number_of_permutations_is_taken(permutations):
    with pytest.raises(ValueError, match=f"permutations={permutations!r}, but it is a whole number of 1 or more"):
        permutation_test(1 - np.eye(4), [0, 0, 1, 1], permutations=permutations)


def test_an_enumeration_without_end_is_refused():
    with pytest.raises(ValueError, match="more than 10,000,000 groupings"):
        permutation_test(random_distances(60), np.arange(60) % 3, method="exact")


def test_an_unknown_method_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'shifts'"):
        permutation_test(1 - np.eye(4), [0, 0, 1, 1], method="shift")

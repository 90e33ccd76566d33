import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances as sklearn_distances
from sklearn.preprocessing import StandardScaler

from helpers import distances
from helpers.distances import (
    distances_from_gram,
    gram_from_distances,
    gram_matrix,
    pairwise_distances,
    principal_components,
)

LARGE_VALUES = st.floats(-100, 100, width=32)


def rows(n=60, d=500, seed=0, number=np.float32):
    """Features with means, scales and correlations, as networks have them."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(n, 20)) @ random.normal(size=(20, d)) + random.normal(size=(n, d))
    return (mixed * random.uniform(0.1, 3, d) + random.uniform(-5, 5, d)).astype(number)


@pytest.fixture
def through_gram(monkeypatch):
    """Small matrices take the way of large ones, in several blocks and tiles."""
    monkeypatch.setattr(distances, "_DIRECT", 0)
    monkeypatch.setattr(distances, "_BLOCK", 2000)
    monkeypatch.setattr(distances, "_TILE", 17)


@pytest.fixture(params=["direct", "through the Gram matrix"])
def both_ways(request):
    if request.param != "direct":
        request.getfixturevalue("through_gram")


def read_only(matrix):
    matrix.flags.writeable = False
    return matrix


def expected(features, metric):
    features = np.asarray(features, np.float64)
    if metric == "standardised":
        features = StandardScaler().fit_transform(features[:, np.ptp(features, axis=0) > 0])
    return squareform(pdist(features, "cosine" if metric == "cosine" else "euclidean"))


@pytest.mark.parametrize("options", [{}, {"centre": False}, {"standardise": True}])
def test_the_gram_matrix_holds_the_inner_products_of_all_rows(options, through_gram):
    features = rows()
    features[:, 7] = 3.5  # a constant column
    exact = features.astype(np.float64)
    if options.get("standardise"):
        exact = StandardScaler().fit_transform(exact)
    elif options.get("centre", True):
        exact = exact - exact.mean(axis=0)
    gram = gram_matrix(features, **options)
    assert gram.dtype == np.float32
    assert np.array_equal(gram, gram.T)
    np.testing.assert_allclose(gram, exact @ exact.T, atol=2e-6 * np.square(exact).sum(axis=1).max())


@pytest.mark.parametrize("standardise", [False, True])
def test_keras_and_blas_give_one_gram_matrix(standardise, through_gram):
    features = rows()
    blas, keras = (gram_matrix(features, standardise=standardise, engine=engine) for engine in ("blas", "keras"))
    np.testing.assert_allclose(keras, blas, atol=2e-6 * blas.max())


def test_eleven_bits_at_a_time_are_enough_for_the_gram_matrix(monkeypatch):
    # what a GPU's tensor cores do to the factors of a product (TF32)
    from keras import ops

    def multiply(one, other):
        factors = [np.asarray(ops.convert_to_numpy(factor)) for factor in (one, other)]
        cut = [(factor.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for factor in map(np.copy, factors)]
        return ops.convert_to_tensor(cut[0] @ cut[1])

    monkeypatch.setattr(ops, "matmul", multiply)
    features = rows()
    blas, keras = (gram_matrix(features, engine=engine) for engine in ("blas", "keras"))
    np.testing.assert_allclose(keras, blas, atol=2e-6 * blas.max())


@pytest.mark.parametrize("number", [np.float16, np.float32])
def test_features_in_a_file_give_what_features_in_memory_give(number, tmp_path, through_gram):
    features = rows(number=number)
    stored = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", number, features.shape)
    stored[:] = features
    read = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert np.array_equal(gram_matrix(read), gram_matrix(features))
    assert np.array_equal(pairwise_distances(read), pairwise_distances(features))


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "standardised"])
def test_distances_are_those_of_scipy(metric, both_ways):
    features = rows()
    features[:, 3] = -1
    found, exact = pairwise_distances(features, metric), expected(features, metric)
    assert found.dtype == np.float32
    assert np.array_equal(found, found.T)
    assert not np.diagonal(found).any()
    np.testing.assert_allclose(found, exact, rtol=2e-4)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "standardised"])
def test_near_copies_keep_their_distances_and_copies_have_none(metric, both_ways):
    random, features = np.random.default_rng(1), rows(40)
    features[10:20] = features[:10]
    features[20:30] = features[:10] + random.normal(0, 1e-3, (10, 500)).astype(np.float32)
    found, exact = pairwise_distances(features, metric), expected(features, metric)
    assert not found[np.arange(10), np.arange(10, 20)].any()
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-9)


def test_rows_far_from_the_origin_keep_their_distances(both_ways):
    features = rows() + 1000
    np.testing.assert_allclose(pairwise_distances(features), expected(features, "euclidean"), rtol=2e-4)


@pytest.mark.parametrize("number", [np.float64, np.int64])
def test_numbers_beyond_float32_are_told_apart(number, both_ways):
    features = np.array([[2**24], [2**24 + 1], [2**24 + 3]], number)
    assert np.array_equal(squareform(pairwise_distances(features)), [1, 3, 2])


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "standardised"])
@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_float64_features_far_from_the_origin_lose_no_digits(metric, offset, both_ways):
    features = rows(number=np.float64)
    features[:, ::2] += offset
    exact = expected(features, metric)
    if metric == "cosine":  # the angle, whose cosine is 1 up to the last digit
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        exact = squareform(pdist(unit)) ** 2 / 2
    np.testing.assert_allclose(pairwise_distances(features, metric), exact, rtol=2e-4)
    if metric == "euclidean":
        centred = features - features.mean(axis=0)
        np.testing.assert_allclose(gram_matrix(features), centred @ centred.T, atol=2e-6 * np.square(centred).sum())


@pytest.fixture
def measured_pairs(monkeypatch):
    """How many pairs were measured one by one."""
    counts, original = [], distances._measure_again

    def measure(squared, *others):
        counts.append(int(np.sum(squared < 0)) // 2)
        return original(squared, *others)

    monkeypatch.setattr(distances, "_measure_again", measure)
    return counts


@pytest.mark.parametrize("metric", ["euclidean", "standardised"])
@pytest.mark.parametrize("factor", [1e2, 1e4, 1e6])
def test_a_row_far_out_costs_the_others_neither_digits_nor_time(metric, factor, through_gram, measured_pairs):
    features = rows(200)
    features[0] *= factor
    np.testing.assert_allclose(pairwise_distances(features, metric), expected(features, metric), rtol=3e-4)
    assert sum(measured_pairs) == 0


@pytest.mark.parametrize("metric", ["euclidean", "standardised", "cosine"])
@pytest.mark.parametrize("places", [(0, 1), (0, 1, 3), (0, 1, 1.001, 1.002)])
def test_tight_clusters_far_apart_keep_their_distances_without_measuring_pairs(
    metric, places, through_gram, measured_pairs
):
    features, random = rows(240, 100, number=np.float64), np.random.default_rng(0)
    directions = random.normal(size=(2, 100))
    for number, place in enumerate(places):
        cluster = slice(number, None, len(places))
        features[cluster] = 1e-4 * features[cluster] + directions[0] + place * directions[1]
    found, exact = pairwise_distances(features, metric), expected(features, metric)
    if metric == "cosine":
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        exact = squareform(pdist(unit)) ** 2 / 2
    assert np.array_equal(found, found.T)
    np.testing.assert_allclose(found, exact, rtol=5e-4)
    assert sum(measured_pairs) < 240


@given(arrays(np.float64, (70, 2), elements=st.sampled_from([0, 1e-6, 1, 1.001, 5, 1e3, 1e3 + 1e-3, 1e6, 1e6 + 1])))
@settings(max_examples=50, deadline=None)
def test_rows_on_many_scales_keep_every_distance(features):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "_DIRECT", 0)
        patch.setattr(distances, "_TILE", 17)
        patch.setattr(distances, "_CLUSTER", 8)
        found = pairwise_distances(features)
    np.testing.assert_allclose(found, expected(features, "euclidean"), rtol=2e-3)


def test_matrices_of_few_rows_are_summed_in_one_thread(monkeypatch):
    asked, original = [], distances.threadpool_limits

    def limits(**options):
        asked.append(options)
        return original(**options)

    monkeypatch.setattr(distances, "threadpool_limits", limits)
    pairwise_distances(rows())
    gram_matrix(rows())
    assert asked == [{"limits": 1}] * 2
    monkeypatch.setattr(distances, "_LARGE", 60)
    pairwise_distances(rows())
    assert len(asked) == 2


def test_gram_matrices_of_devices_are_exactly_symmetric(through_gram):
    gram = gram_matrix(np.random.default_rng(0).normal(size=(300, 900)).astype(np.float32), engine="keras")
    assert np.array_equal(gram, gram.T)


@pytest.mark.parametrize("scale", [1e-15, 1e-8, 1e8, 1e15])
def test_principal_components_do_not_depend_on_units(scale):
    features = rows(number=np.float64)
    found, scaled = (principal_components(gram_matrix(each), 8) for each in (features, features * scale))
    np.testing.assert_allclose(scaled.explained_variance_ratio, found.explained_variance_ratio, rtol=1e-5)
    np.testing.assert_allclose(scaled.scores / scale, found.scores, atol=1e-4 * np.abs(found.scores).max())


@given(arrays(np.float32, (9, 4), elements=LARGE_VALUES))
def test_distances_from_the_gram_matrix_are_never_nan(features):
    found, exact = distances_from_gram(gram_matrix(features)), expected(features, "euclidean")
    assert np.isfinite(found).all()
    assert np.array_equal(found, found.T)
    np.testing.assert_allclose(found, exact, atol=3e-3 * (1 + np.abs(features).max()))


def test_distances_may_take_the_place_of_the_gram_matrix():
    gram = gram_matrix(rows())
    kept = gram.copy()
    copy = distances_from_gram(gram)
    assert np.array_equal(gram, kept)
    assert np.array_equal(distances_from_gram(gram, overwrite=True), copy)
    assert np.array_equal(gram, copy)


def test_standardised_distances_do_not_depend_on_units(both_ways):
    features, units = rows(), 10.0 ** np.random.default_rng(0).integers(-3, 4, 500)
    np.testing.assert_allclose(
        pairwise_distances(features * units, "standardised"), pairwise_distances(features, "standardised"), rtol=3e-4
    )


@pytest.mark.parametrize("components", [3, 10])
def test_whitened_distances_are_those_of_whitened_principal_components(components):
    features = rows()
    exact = pdist(PCA(components, whiten=True, svd_solver="full").fit_transform(features.astype(np.float64)))
    found = squareform(pairwise_distances(features, "whitened", components=components))
    np.testing.assert_allclose(found / exact, np.sqrt(60 / 59), rtol=1e-3)  # divided by n here, by n - 1 there


def test_whitened_distances_take_a_tenth_of_the_rows_as_components_and_at_most_fifty():
    for n, components in ((60, 6), (700, 50)):
        features = rows(n, 200)
        np.testing.assert_allclose(
            pairwise_distances(features, "whitened"), pairwise_distances(features, "whitened", components=components)
        )


def test_with_all_components_whitening_puts_all_rows_equally_far_apart():
    found = squareform(pairwise_distances(rows(20), "whitened", components=19))
    np.testing.assert_allclose(found, np.sqrt(2 * 20), rtol=1e-3)


def test_principal_components_are_those_of_the_features():
    features = rows()
    model = PCA(svd_solver="full").fit(features.astype(np.float64))
    exact, found = model.transform(features), principal_components(gram_matrix(features), 8)
    np.testing.assert_allclose(np.abs(found.scores), np.abs(exact[:, :8]), atol=1e-3 * np.abs(exact).max())
    np.testing.assert_allclose(found.explained_variance_ratio, model.explained_variance_ratio_[:8], rtol=1e-4)
    assert (found.scores.max(axis=0) >= -found.scores.min(axis=0)).all()


def test_all_principal_components_together_keep_every_distance():
    features = rows()
    found = principal_components(gram_matrix(features, centre=False))  # centred or not
    np.testing.assert_allclose(pdist(found.scores), pdist(features), rtol=1e-3)
    assert found.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-4)


def test_few_components_of_many_rows_agree_with_the_full_decomposition():
    features = rows(2001, 60)
    gram = gram_matrix(features)
    few, model = principal_components(gram, 5), PCA(5, svd_solver="full").fit(features.astype(np.float64))
    exact = np.abs(model.transform(features))
    np.testing.assert_allclose(np.abs(few.scores), exact, atol=2e-3 * exact.max())
    np.testing.assert_allclose(few.explained_variance_ratio, model.explained_variance_ratio_, rtol=1e-4)
    assert np.array_equal(few.scores, principal_components(gram, 5).scores)


@given(arrays(np.float64, (8, 3), elements=st.floats(-10, 10), unique=True))
def test_classical_scaling_gives_the_rows_back(features):
    exact = expected(features, "euclidean")
    found = principal_components(gram_from_distances(exact), 3).scores
    np.testing.assert_allclose(expected(found, "euclidean"), exact, atol=1e-2 * exact.max())


def test_the_gram_matrix_from_distances_is_the_centred_one():
    features = rows()
    gram = gram_matrix(features)
    np.testing.assert_allclose(gram_from_distances(sklearn_distances(features)), gram, atol=1e-4 * gram.max())


@pytest.mark.parametrize("call", [gram_matrix, pairwise_distances])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_named(call, value, both_ways):
    features = rows()
    features[31, 402] = value
    with pytest.raises(ValueError, match=r"NaN or infinity \(first in row 31, column 402\)"):
        call(features)


def test_numbers_too_large_for_float32_are_named():
    with pytest.raises(ValueError, match=r"NaN or infinity \(first in row 1, column 0\)"):
        gram_matrix(np.array([[1.0], [1e300]]))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: pairwise_distances(np.zeros(5)), r"shape \(5,\), but a feature matrix has two axes"),
        (lambda: pairwise_distances(np.zeros((5, 0))), r"neither empty"),
        (lambda: pairwise_distances(np.full((5, 2), "a")), "features are real numbers"),
        (lambda: pairwise_distances(np.eye(5), "euclidian"), "did you mean 'euclidean'"),
        (lambda: pairwise_distances(np.eye(5), components=3), "`components` is for the metric 'whitened'"),
        (lambda: pairwise_distances([[1.0, 0], [0, 0]], "cosine"), "Row 1 of `features` is all zero"),
        (lambda: pairwise_distances(np.ones((5, 3)), "standardised"), "Every column of `features` is constant"),
        (lambda: pairwise_distances(np.ones((5, 3)), "whitened"), "All rows are equal"),
        (lambda: pairwise_distances(rows(5, 2), "whitened", components=3), "vary in 2 directions only"),
        (lambda: gram_matrix(np.eye(3), engine="gpu"), "Unknown engine 'gpu'"),
        (lambda: principal_components(np.eye(3)[:2]), r"shape \(2, 3\), but it must be square"),
        (lambda: principal_components(np.full((3, 3), np.nan)), r"NaN or infinity \(first in row 0\)"),
        (lambda: principal_components(np.eye(3), 4), "components=4, but it is a whole number from 1 to 3"),
        (lambda: distances_from_gram(np.ones((2, 3))), "`gram` has shape"),
        (lambda: distances_from_gram(read_only(gram_matrix(rows(5))), overwrite=True), "`gram` is read-only: leave"),
        (lambda: pairwise_distances(rows(20), "whitened", components=0), "components=0, but it is a whole number of 1"),
        (lambda: pairwise_distances(rows(20), "whitened", components=2.5), "components=2.5, but it is a whole number"),
        (lambda: pairwise_distances(rows(20), "whitened", components=True), "components=True, but it is a whole"),
        (lambda: principal_components(np.eye(3), 1.5), "components=1.5, but it is a whole number from 1 to 3"),
        (lambda: pairwise_distances(rows() * 1e30, "whitened"), "`features` are too large"),
        (lambda: gram_matrix(rows() * 1e30), "`features` are too large"),
        (lambda: principal_components(np.zeros((3, 3))), "All rows are equal"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)

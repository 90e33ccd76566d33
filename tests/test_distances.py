import numpy as np
import pytest
from hypothesis import given
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
        (lambda: principal_components(np.eye(3), 4), "ask for 1 to 3"),
        (lambda: distances_from_gram(np.ones((2, 3))), "`gram` has shape"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)

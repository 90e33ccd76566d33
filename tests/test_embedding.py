import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.datasets import load_digits

from helpers import embedding


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:300] / 16


def ranks(points):
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, -1)
    return np.argsort(np.argsort(distances, axis=1, kind="stable"), axis=1)  # 0 is the point itself


def trustworthiness_by_brute_force(features, coordinates, k):
    n, before, after = len(features), ranks(features), ranks(coordinates)
    penalty = sum(before[i, j] - k for i in range(n) for j in range(n) if 1 <= after[i, j] <= k < before[i, j])
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))


def test_quality_follows_its_definition():
    random = np.random.default_rng(0)
    features, coordinates = random.normal(size=(40, 5)), random.normal(size=(40, 2))
    quality = embedding.quality(features, coordinates, k=6)
    before, after = ranks(features), ranks(coordinates)
    kept = np.mean([((before[i] <= 6) & (after[i] <= 6)).sum() - 1 for i in range(40)]) / 6
    assert quality["trustworthiness"] == pytest.approx(trustworthiness_by_brute_force(features, coordinates, 6))
    assert quality["continuity"] == pytest.approx(trustworthiness_by_brute_force(coordinates, features, 6))
    assert quality["neighbours_kept"] == pytest.approx(kept)


def test_a_map_that_is_the_features_is_perfect():
    points = np.random.default_rng(0).normal(size=(50, 2))
    assert embedding.quality(points, points) == {"trustworthiness": 1, "continuity": 1, "neighbours_kept": 1}


def test_pca_keeps_the_directions_of_most_variance(digits):
    centred = digits - digits.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    ours, theirs = embedding.embed(digits, "PCA"), centred @ directions[:2].T
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)


@pytest.mark.parametrize("method", embedding.METHODS)
def test_a_map_repeats_with_the_seed(digits, method):
    first, again = (embedding.embed(digits, method, seed=1) for _ in range(2))
    assert first.shape == (300, 2)
    assert np.array_equal(first, again)


def test_neighbour_maps_keep_more_neighbours_than_pca(digits):
    maps = embedding.maps(digits)
    assert list(maps) == ["PCA", "t-SNE", "UMAP"]
    for method in ("t-SNE", "UMAP"):
        assert maps[method].trustworthiness > 0.95 > maps["PCA"].trustworthiness


@pytest.fixture(scope="module")
def distances(digits):
    return squareform(pdist(digits))


def test_pca_of_distances_is_pca_of_the_features_up_to_its_signs(digits, distances):
    of_features, of_distances = embedding.embed(digits), embedding.embed(distances, metric="precomputed")
    np.testing.assert_allclose(np.abs(of_distances), np.abs(of_features), atol=1e-3)


@pytest.mark.parametrize("method", embedding.METHODS)
def test_maps_of_distances_are_as_good_as_maps_of_features(digits, distances, method):
    of_features = embedding.quality(digits, embedding.embed(digits, method))
    drawn = embedding.embed(distances, method, metric="precomputed")
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, embedding.embed(distances, method, metric="precomputed"))
    of_distances = embedding.quality(distances, drawn, metric="precomputed")
    assert of_distances == pytest.approx(of_features, abs=0.02)


@pytest.mark.parametrize("k", [1, 6, 30])
def test_quality_from_distances_is_quality_from_features(k):
    features = np.random.default_rng(0).normal(size=(300, 20))  # without ties, which either may break its way
    distances, coordinates = squareform(pdist(features)), embedding.embed(features, "PCA")
    of_features = embedding.quality(features, coordinates, k)
    assert embedding.quality(distances, coordinates, k, metric="precomputed") == pytest.approx(of_features, abs=1e-9)
    kept = embedding.neighbours_kept(distances, coordinates, k, metric="precomputed")
    assert kept == pytest.approx(of_features["neighbours_kept"], abs=1e-9)


def test_all_maps_of_distances_come_with_their_quality(distances):
    maps = embedding.maps(distances, metric="precomputed")
    assert list(maps) == ["PCA", "t-SNE", "UMAP"]
    for method in ("t-SNE", "UMAP"):
        assert maps[method].trustworthiness > 0.95 > maps["PCA"].trustworthiness


@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1e8])
def test_pca_of_distances_does_not_depend_on_units(distances, scale):
    plain, scaled = (embedding.embed(each, metric="precomputed") for each in (distances, scale * distances))
    np.testing.assert_allclose(scaled / scale, plain, atol=1e-4)


def test_features_are_not_taken_for_distances(digits):
    with pytest.raises(ValueError, match=r"shape \(300, 64\), but it must be square"):
        embedding.embed(digits, metric="precomputed")
    with pytest.raises(ValueError, match="did you mean 'precomputed'"):
        embedding.embed(digits, metric="precomputd")


def test_too_few_rows_are_refused():
    for method, n in {"PCA": 2, "t-SNE": 30, "UMAP": 15}.items():
        features = np.random.default_rng(0).normal(size=(n, 4))
        with pytest.raises(ValueError, match=f"with {n} rows"):
            embedding.embed(features, method)
        with pytest.raises(ValueError, match=f"with {n} rows"):
            embedding.embed(squareform(pdist(features)), method, metric="precomputed")


def test_a_single_column_is_refused():
    with pytest.raises(ValueError, match="one column"):
        embedding.embed(np.zeros((50, 1)), "PCA")


@pytest.mark.parametrize("method", ["PCA", "t-SNE", "UMAP"])
@pytest.mark.parametrize("value", [0.0, 3.5])
def test_collapsed_features_are_refused(method, value):
    with pytest.raises(ValueError, match="All rows of `features` are equal"):
        embedding.embed(np.full((60, 16), value, np.float32), method)


def test_an_unknown_map_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 't-SNE'"):
        embedding.embed(np.eye(50), "TSNE")


def test_a_map_of_other_images_is_refused():
    with pytest.raises(ValueError, match="50 rows and `coordinates` 40"):
        embedding.quality(np.zeros((50, 3)), np.zeros((40, 2)))

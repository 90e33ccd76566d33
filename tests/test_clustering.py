import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.datasets import load_digits, make_blobs, make_circles
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize, scale

from helpers import clustering, groupings
from helpers.distances import pairwise_distances


def blobs(n=120, spread=1.0, seed=0):
    return make_blobs(n, 6, centers=np.eye(6)[:3] * 20, cluster_std=spread, random_state=seed)


def test_scores_are_those_of_groupings():
    for name in ("accuracy", "agreement", "align", "ami", "ari", "chance_agreement", "nmi"):
        assert getattr(clustering, name) is getattr(groupings, name)


@pytest.mark.parametrize("method", clustering.METHODS)
def test_separate_blobs_are_found(method):
    points, labels = blobs()
    assert clustering.accuracy(labels, clustering.cluster(points, 3, method)) == 1


@pytest.mark.parametrize("scale", clustering.SCALES)
@pytest.mark.parametrize("method", ["k-means", "gaussian mixture"])
def test_separate_blobs_are_found_on_every_scale(method, scale):
    points, labels = blobs()
    assert clustering.accuracy(labels, clustering.cluster(points, 3, method, scale=scale)) == 1


@pytest.mark.parametrize("method", clustering.METHODS)
def test_clusters_do_not_depend_on_the_length_of_a_row(method):
    points, _ = make_blobs(60, 4, centers=3, random_state=0)
    stretched = points * np.random.default_rng(0).uniform(0.5, 4, (60, 1))
    assert clustering.ari(*(clustering.cluster(rows, 3, method) for rows in (points, stretched))) == 1


def test_clusters_repeat_with_the_seed():
    points = np.random.default_rng(0).normal(size=(80, 5))
    first, again = (clustering.cluster(points, 4, seed=2) for _ in range(2))
    assert np.array_equal(first, again)


def test_digits_reach_the_published_figure():
    # k-means on the pixels of scikit-learn's digits: NMI .72 to .76 over seeds and scalings
    digits = load_digits()
    assert 0.68 < clustering.nmi(digits.target, clustering.cluster(digits.data, 10)) < 0.78


@pytest.mark.parametrize("k", [1, 6])
def test_more_clusters_than_rows_are_refused(k):
    with pytest.raises(ValueError, match="ask for 2 to 5"):
        clustering.cluster(np.eye(5), k)


def test_a_single_row_is_refused():
    with pytest.raises(ValueError, match=r"^`features` has 1 row, but clusters are groups of rows: give two or more"):
        clustering.cluster(np.ones((1, 4)), 2)


@pytest.mark.parametrize("method", clustering.METHODS)
def test_a_seed_that_is_none_is_refused_by_every_method(method):
    with pytest.raises(ValueError, match=r"^seed=-1, but it is a whole number of 0 or more\.$"):
        clustering.cluster(np.eye(5), 2, method, seed=-1)


def test_an_unknown_method_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'k-means'"):
        clustering.cluster(np.eye(5), 2, method="kmeans")


@pytest.mark.parametrize("method", clustering.METHODS)
@pytest.mark.parametrize(("n", "k"), [(2, 2), (5, 5), (6, 5), (12, 3)])
def test_few_rows_are_clustered_too(method, n, k):
    points = np.random.default_rng(0).normal(size=(n, 3))
    assert np.array_equal(np.unique(clustering.cluster(points, k, method)), np.arange(k))


@pytest.mark.parametrize("k", [2.5, "3"])
def test_a_number_of_clusters_that_is_none_is_refused(k):
    with pytest.raises(ValueError, match="clusters asked for with 5 rows: ask for 2 to 5"):
        clustering.cluster(np.eye(5), k)


def test_features_with_nan_are_refused():
    with pytest.raises(ValueError, match="1 values that are NaN or infinite"):
        clustering.cluster([[0.0, np.nan], [1, 2], [2, 3]], 2)


def test_an_unknown_scale_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'standardised'"):
        clustering.cluster(np.eye(5), 2, scale="standardized")


def test_the_settings_of_the_scorecard_are_those_they_were():
    points = np.random.default_rng(0).normal(size=(90, 7)).astype(np.float32)
    k_means = KMeans(4, n_init=10, random_state=3).fit_predict(normalize(points))
    ward = AgglomerativeClustering(4).fit_predict(normalize(points))
    assert np.array_equal(clustering.cluster(points, 4, seed=3), k_means)
    assert np.array_equal(clustering.cluster(points, 4, "agglomerative"), ward)


def merged_by_brute_force(points, k, between):
    """Join the two nearest clusters, over and over."""
    clusters, distances = [[row] for row in range(len(points))], cdist(points, points)
    while len(clusters) > k:
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i)]
        i, j = min(pairs, key=lambda pair: between(distances[np.ix_(clusters[pair[0]], clusters[pair[1]])]))
        clusters[j] += clusters.pop(i)
    found = np.empty(len(points), int)
    for number, rows in enumerate(clusters):
        found[rows] = number
    return found


@pytest.mark.parametrize(("linkage", "between"), [("average", np.mean), ("complete", np.max)])
def test_linkages_join_the_nearest_clusters(linkage, between):
    points = np.random.default_rng(0).normal(size=(40, 3))
    expected = merged_by_brute_force(points, 5, between)
    found = clustering.cluster(points, 5, f"agglomerative, {linkage}", scale="none")
    assert clustering.ari(expected, found) == 1


def test_only_a_graph_separates_circles():
    points, labels = make_circles(300, factor=0.3, noise=0.03, random_state=0)
    for method in clustering.METHODS:
        score = clustering.ari(labels, clustering.cluster(points, 2, method, scale="none"))
        assert score == 1 if method in ("spectral", "power iteration") else score < 0.2, method


@pytest.mark.parametrize("method", ["spectral", "power iteration"])
def test_clusters_are_the_pieces_of_a_graph_in_pieces(method):
    points, labels = blobs(spread=0.1)
    assert clustering.ari(labels, clustering.cluster(points, 3, method)) == 1
    assert len(np.unique(clustering.cluster(points, 2, method))) == 2
    assert len(np.unique(clustering.cluster(points, 5, method))) == 5


def test_digits_reach_the_published_figures_of_linkages_and_spectral_clustering():
    # NMI on raw pixels: Ward .868, average .713, complete .613, spectral on a graph of 10 neighbours .854
    digits = load_digits()
    published = {"agglomerative": 0.868, "agglomerative, average": 0.713, "agglomerative, complete": 0.613}
    for method, figure in (published | {"spectral": 0.854}).items():
        score = clustering.nmi(digits.target, clustering.cluster(digits.data, 10, method, scale="none"))
        assert score == pytest.approx(figure, abs=0.01), method


def test_scales_are_those_of_the_distances():
    points = np.random.default_rng(0).normal(size=(80, 6)) * [1, 2, 3, 4, 5, 6] + 1
    # scikit-learn whitens to a variance over n - 1
    scales = ("none", "euclidean", 1), ("standardised", "standardised", 1), ("whitened", "whitened", 80 / 79)
    for ours, theirs, unit in scales:
        rows = clustering.scaled(points, ours)
        np.testing.assert_allclose(cdist(rows, rows) * np.sqrt(unit), pairwise_distances(points, theirs), atol=2e-3)
    length = clustering.scaled(points)
    np.testing.assert_allclose(
        cdist(length, length, "sqeuclidean") / 2, pairwise_distances(points, "cosine"), atol=1e-5
    )


def test_a_constant_column_does_not_disturb_standardising():
    points = np.c_[np.random.default_rng(0).normal(size=(30, 2)), np.ones(30)]
    np.testing.assert_allclose(clustering.scaled(points, "standardised")[:, :2], scale(points[:, :2]), atol=1e-5)
    assert not clustering.scaled(points, "standardised")[:, 2].any()


def test_whitening_leaves_out_directions_without_variance():
    flat = np.random.default_rng(0).normal(size=(400, 3)) @ np.random.default_rng(1).normal(size=(3, 10))
    rows = clustering.scaled(flat, "whitened")
    assert rows.shape == (400, 3)
    np.testing.assert_allclose(np.cov(rows.T), np.eye(3), atol=1e-3)


def test_equal_rows_cannot_be_whitened():
    with pytest.raises(ValueError, match="All rows of `features` are equal"):
        clustering.cluster(np.ones((5, 3)), 2, scale="whitened")


def unequal_mixture(n=2000, seed=0):
    """Draw from two Gaussians of one stretched shape: nine rows in ten from the first."""
    random, shape = np.random.default_rng(seed), np.array([[6.0, 0.0], [0.0, 0.5]])
    labels = (random.uniform(size=n) < 0.1).astype(int)
    return random.normal(size=(n, 2)) @ np.sqrt(shape) + labels[:, None] * [0, 5], labels, shape


def test_prototypes_are_the_means_and_shares_of_the_mixture():
    points, labels, _ = unequal_mixture()
    found = clustering.prototypes(points, 2, scale="none")
    order = found.means[:, 1].argsort()
    np.testing.assert_allclose(found.means[order], [[0, 0], [0, 5]], atol=0.35)
    np.testing.assert_allclose(found.shares[order], [0.9, 0.1], atol=0.02)
    assert clustering.ari(labels, found.clusters) > 0.98


def test_a_mixture_finds_unequal_clusters_that_k_means_cuts_apart():
    points, labels, _ = unequal_mixture()
    mixture, k_means = (clustering.cluster(points, 2, name, scale="none") for name in ("gaussian mixture", "k-means"))
    assert clustering.ari(labels, mixture) > 0.98 > 0.3 > clustering.ari(labels, k_means)


def test_the_anomaly_score_is_minus_the_log_density():
    points, _, shape = unequal_mixture()
    found = clustering.prototypes(points, 2, scale="none")
    probes = np.array([[0, 0], [0, 5], [0, 2.5], [30, 30]], float)
    parts = [multivariate_normal(mean, shape).pdf(probes) for mean in ([0, 0], [0, 5])]
    expected = -np.log(0.9 * parts[0] + 0.1 * parts[1])
    np.testing.assert_allclose(found.anomaly(probes)[:3], expected[:3], atol=0.3)
    assert found.anomaly(probes).argmax() == 3


def test_the_distance_is_that_of_mahalanobis_to_the_nearest_prototype():
    points, _, shape = unequal_mixture()
    found = clustering.prototypes(points, 2, scale="none")
    probes = np.array([[0, 1], [4, 0], [0, 8]], float)
    expected = np.sqrt([1 / 0.5, 16 / 6, 9 / 0.5])
    np.testing.assert_allclose(found.anomaly(probes, "distance"), expected, rtol=0.1)
    nearest = cdist(probes, found.means, "mahalanobis", VI=np.linalg.inv(shape)).min(axis=1)
    np.testing.assert_allclose(found.anomaly(probes, "distance"), nearest, rtol=0.1)


def test_responsibilities_are_shares_of_the_density():
    points, _, shape = unequal_mixture()
    found = clustering.prototypes(points, 2, scale="none")
    probes = np.array([[0, 0], [0, 2.9], [0, 5]], float)
    parts = np.array([multivariate_normal(mean, shape).pdf(probes) for mean in found.means]).T * found.shares
    np.testing.assert_allclose(found.responsibilities(probes), parts / parts.sum(axis=1, keepdims=True), atol=0.1)
    assert np.array_equal(found.responsibilities(points).argmax(axis=1), found.clusters)


def test_prototypes_do_not_depend_on_the_unit():
    points, _, _ = unequal_mixture(300)
    small, large = (clustering.prototypes(points * unit, 2, scale="none") for unit in (1e-3, 1e3))
    assert np.array_equal(small.clusters, large.clusters)
    np.testing.assert_allclose(small.means * 1e6, large.means, rtol=1e-3, atol=1)


@pytest.mark.parametrize("scale", clustering.SCALES)
def test_an_anomaly_is_seen_on_every_scale(scale):
    random = np.random.default_rng(0)
    points = random.normal(size=(200, 1, 4)) * 0.2 + np.array([[4, 0, 0, 0], [0, 4, 0, 0]], float)
    strange = random.normal(size=(20, 4)) * 0.2 + [-2, -2, 0, 0]
    found = clustering.prototypes(points.reshape(-1, 4), 2, scale=scale)
    for measure in ("density", "distance"):
        scores = np.r_[found.anomaly(points[:, 0], measure), found.anomaly(strange, measure)]
        assert roc_auc_score(np.r_[np.zeros(200), np.ones(20)], scores) > 0.99


def test_a_digit_held_out_is_an_anomaly():
    # published: mean area under the curve .961 over the ten digits with 30 prototypes on 20 components
    digits = load_digits()
    areas = []
    for held_out in (0, 4, 6):
        known = digits.target != held_out
        rows = np.flatnonzero(known)
        train, test = rows[::2], np.r_[rows[1::2], np.flatnonzero(~known)]
        scores = clustering.prototypes(digits.data[train], 30, scale="none").anomaly(digits.data[test])
        areas.append(roc_auc_score(digits.target[test] == held_out, scores))
    assert np.mean(areas) > 0.93


def test_prototypes_of_more_columns_than_rows_are_found():
    points, labels = make_blobs(60, 500, centers=3, cluster_std=1.0, random_state=0)
    found = clustering.prototypes(points, 3)
    assert found.means.shape == (3, 500)
    assert clustering.ari(labels, found.clusters) == 1


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"k": 81}, "ask for 2 to 80"),
        ({"k": 2, "components": 7}, "components=7, but it is a whole number from 1 to 6"),
        ({"k": 2, "components": 0}, "components=0, but it is a whole number from 1 to 6"),
    ],
)
def test_prototypes_out_of_range_are_refused(keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        clustering.prototypes(np.random.default_rng(0).normal(size=(80, 6)), **keywords)


def test_rows_of_another_width_are_refused():
    found = clustering.prototypes(np.random.default_rng(0).normal(size=(80, 6)), 2)
    with pytest.raises(ValueError, match="has 5 columns, but the mixture was fitted to 6"):
        found.anomaly(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="did you mean 'density'"):
        found.anomaly(np.ones((3, 6)), "densities")


def test_clusters_that_are_there_are_stable_and_others_are_not():
    points, _ = blobs(90)
    right = clustering.stability(points, 3, resamples=5, progress=False)
    wrong = clustering.stability(points, 7, resamples=5, progress=False)
    assert right.mean == 1
    assert right.spread == 0
    assert wrong.mean < 0.8


def test_k_means_is_stable_on_a_long_cloud_without_clusters():
    # the trap that the docstring of `stability` warns of
    cloud = np.random.default_rng(0).normal(size=(400, 2)) * [10, 1]
    assert clustering.stability(cloud, 2, resamples=6, scale="none", progress=False).mean > 0.85


def test_stability_compares_each_pair_on_the_rows_that_both_have_seen(monkeypatch):
    seen = []

    def by_first_column(features, k, method, seed, scale):
        seen.append(features[:, 0].astype(int))
        return (features[:, 0] > len(seen) * 4).astype(int)

    monkeypatch.setattr(clustering, "cluster", by_first_column)
    rows = np.c_[np.arange(30), np.zeros(30)]
    found = clustering.stability(rows, 2, resamples=3, progress=False)
    expected = []
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = np.intersect1d(seen[one], seen[other])
        expected.append(groupings.ari(shared > (one + 1) * 4, shared > (other + 1) * 4))
    assert [len(sample) for sample in seen] == [24] * 3
    assert found.values == pytest.approx(expected)


def test_stability_repeats_with_the_seed():
    points = np.random.default_rng(0).normal(size=(60, 4))
    first, again, other = (
        clustering.stability(points, 3, resamples=3, seed=s, progress=False).values for s in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"share": 0.4}, "two samples of 16 of 40 rows may share fewer than two: take a larger share"),
        ({"share": 0}, "share=0, but two samples of 0 of 40 rows may share fewer than two"),
        ({"share": 0.5}, "two samples of 20 of 40 rows may share fewer than two"),
        ({"seed": -1}, "seed=-1, but it is a whole number of 0 or more"),
        ({"share": 1.2}, "share=1.2, but it is a number from 0 to 1"),
        ({"resamples": 1}, "resamples=1, but it is a whole number of 2 or more"),
        ({"k": 33}, "33 clusters asked for with 32 rows"),
    ],
)
def test_stability_out_of_range_is_refused(keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        clustering.stability(np.random.default_rng(0).normal(size=(40, 3)), **({"k": 2} | keywords), progress=False)

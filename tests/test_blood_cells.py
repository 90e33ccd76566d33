"""Generated blood smears: what they promise of classes, slides, sizes and difficulty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import adjusted_mutual_info_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import datasets
from helpers.datasets import blood_cells

NAMES = ("red cell", "white cell", "platelet")


def load(part="all", size=32, **options) -> datasets.ImageSet:
    return datasets.load("blood-cells", part=part, size=size, **options)


@pytest.fixture(scope="module")
def cells():
    return load()


@pytest.fixture(scope="module")
def by_difficulty():
    return {difficulty: load("train", difficulty=difficulty) for difficulty in (0, 0.5, 1)}


def optical_density(images: np.ndarray) -> np.ndarray:
    """Return how much light is missing, against the brightest tenth of each image's own pixels (about the plasma)."""
    plasma = np.quantile(images, 0.9, axis=(1, 2), keepdims=True)
    return -np.log(np.clip(images, 0.02, 1) / plasma)


def measurements(images: np.ndarray) -> np.ndarray:
    """Measure the cell in the middle by hand: area, density, colour, roundness and texture, shape (n, 7)."""
    density = ndimage.gaussian_filter(optical_density(images), (0, 0.7, 0.7, 0))
    found = []
    for one in density:
        cell = one.mean(axis=2) > 0.12
        parts, _ = ndimage.label(cell)
        middle = parts[12:20, 12:20]
        inside = parts == np.bincount(middle[middle > 0], minlength=1).argmax() if middle.any() else np.ones_like(cell)
        pixels = one[inside]
        outline = inside & ~ndimage.binary_erosion(inside)
        found.append(
            [np.log(inside.sum()), *pixels.mean(axis=0), *pixels.std(axis=0)[:2], outline.sum() ** 2 / inside.sum()]
        )
    return np.array(found)


def balanced_accuracy(features: np.ndarray, image_set, by=LinearDiscriminantAnalysis) -> float:
    """Return what a linear rule learnt on most of the slides scores on the others; chance is a third."""
    train, _, test = (np.isin(image_set.groups, part.groups) for part in image_set.split(0.05, 0.4))
    rule = make_pipeline(StandardScaler(), by()).fit(features[train], image_set.labels[train])
    return balanced_accuracy_score(image_set.labels[test], rule.predict(features[test]))


# ------------------------------------------------------------------------------------------------ the set


def test_there_are_the_reports_numbers_and_half_of_each_part_are_red_cells(cells):
    assert cells.images.shape == (2472, 32, 32, 3)
    assert cells.images.dtype == np.float32
    assert cells.class_names == NAMES
    assert np.bincount(load("train", 16).labels).tolist() == [1003, 502, 501]
    assert np.bincount(load("test", 16).labels).tolist() == [233, 116, 117]


def test_all_images_are_the_training_images_and_then_the_test_images(cells):
    for part, rows in {"train": slice(2006), "test": slice(2006, None)}.items():
        alone = load(part)
        assert np.array_equal(alone.images, cells.images[rows])
        assert np.array_equal(alone.labels, cells.labels[rows])
        assert np.array_equal(alone.groups, cells.groups[rows])
        assert (np.diff(alone.labels) >= 0).all()  # class by class


def test_values_lie_in_the_unit_interval_and_hardly_any_is_cut_off():
    for difficulty in (0, 1):
        images = load("test", difficulty=difficulty, seed=9).images
        assert images.min() >= 0
        assert images.max() <= 1
        assert np.mean((images == 0) | (images == 1)) < 0.01


def test_no_two_images_are_the_same(cells):
    assert len(np.unique(cells.images.reshape(2472, -1), axis=0)) == 2472


def test_the_same_seed_gives_the_same_images_and_another_seed_others():
    first, again, other = (load("test", 16, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.groups, again.groups)
    assert (first.images != other.images).any(axis=(1, 2, 3)).all()
    assert not np.array_equal(first.groups, other.groups)


def test_the_source_says_part_difficulty_and_seed():
    assert "part test, difficulty 0.25, seed 7" in load("test", 16, difficulty=0.25, seed=7).source


# ------------------------------------------------------------------------------------------------ difficulties, sizes


@pytest.mark.parametrize("difficulty", [0, 0.5, 1])
def test_the_same_cells_are_drawn_at_every_size(difficulty):
    """Large crops, shrunk by averaging, are the small ones, but for noise."""
    small, large = (load("test", size, difficulty=difficulty) for size in (16, 64))
    shrunk = large.images.reshape(466, 16, 4, 16, 4, 3).mean(axis=(2, 4))
    assert np.array_equal(small.groups, large.groups)
    assert np.abs(small.images - shrunk).mean() < 0.02
    assert (
        np.median([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(small.images, shrunk, strict=True)]) > 0.97
    )


def test_slides_neighbours_and_poses_are_the_same_at_every_difficulty():
    """So an image grows hard: it is much nearer to itself at another difficulty than to another image."""
    easy, hard = (load("test", 16, difficulty=difficulty) for difficulty in (0.4, 0.6))
    assert np.array_equal(easy.groups, hard.groups)
    itself = np.abs(easy.images - hard.images).mean(axis=(1, 2, 3))
    another = np.abs(easy.images - np.roll(hard.images, 1, axis=0)).mean(axis=(1, 2, 3))
    assert np.mean(itself < another) > 0.99


def test_the_quantities_of_cells_have_the_means_and_deviations_of_their_table():
    random = np.random.default_rng(0)
    for level in (0.0, 1.0):
        for kind in range(3):
            cells = [cell for _ in range(150) for cell in blood_cells._draw_cells(random, np.full(8, kind), level)]
            for name in ("radius", "eosin", "azure"):
                drawn = np.array([getattr(cell, name) for cell in cells])
                means, hard, deviation = blood_cells._QUANTITIES[{"radius": "log_radius"}.get(name, name)]
                mean = (means, hard)[int(level)][kind]
                if name == "radius":
                    drawn = np.log(drawn)
                if mean > 3 * deviation:  # nothing is cut off at 0
                    assert abs(drawn.mean() - mean) < 0.02
                    np.testing.assert_allclose(drawn.std(), deviation * (1 + 0.5 * level), rtol=0.1)


@given(st.floats(0.05, 0.45), st.floats(-0.2, 0.2), st.integers(2, 7))
@settings(max_examples=25, deadline=None)
def test_an_outline_is_the_radius_times_a_sum_of_waves(dye, wave, order):
    """A cell of one wave, measured by the area that its dye covers: pi r^2 (1 + a^2 / 2)."""
    outline = np.zeros(8, np.complex64)
    outline[-1], outline[-1 - order] = 1, wave
    lattice = np.zeros((34, 34), np.float32)
    cell = blood_cells._Cell(3.0, dye, 0.0, 0.0, 0.0, 0.0, outline, np.zeros((5, 3), np.float32), lattice)
    dyes = np.zeros((2, 200, 200), np.float32)
    cell.lay(np.array([0.5, 0.5]), dyes)
    area = dyes[0].sum() / dye * (blood_cells._FIELD / 200) ** 2
    np.testing.assert_allclose(area, np.pi * 9 * (1 + wave**2 / 2), rtol=0.01)
    assert dyes[1].max() == 0


def test_a_cell_that_lies_beside_the_crop_leaves_no_trace():
    (cell,) = blood_cells._draw_cells(np.random.default_rng(0), np.array([1]), 0.5)
    dyes = np.zeros((2, 32, 32), np.float32)
    cell.lay(np.array([3.0, 0.5]), dyes)
    assert not dyes.any()


# ------------------------------------------------------------------------------------------------ slides


def held(part: str, seed: int) -> np.ndarray:
    """Return how many images of each class each slide of a part has, shape (slides, 3)."""
    counts = np.zeros((50, 3), int)
    np.add.at(counts, (blood_cells._slides_of(part, seed), np.repeat(range(3), blood_cells._COUNTS[part])), 1)
    return counts


@pytest.mark.parametrize("seed", range(5))
def test_train_and_test_share_no_slide_and_every_slide_has_every_class(seed):
    train, test = held("train", seed), held("test", seed)
    assert train[:40].min() >= 1
    assert test[40:].min() >= 1
    assert not train[40:].any()
    assert not test[:40].any()


@pytest.mark.parametrize("part", ["train", "test"])
def test_slides_have_unequal_numbers_of_images_and_unequal_mixtures(part):
    statistic, freedom = 0, 0
    for seed in range(12):
        counts = held(part, seed)
        counts = counts[counts.any(axis=1)]
        assert counts.sum(axis=1).max() > 1.8 * counts.sum(axis=1).min()
        independent = stats.chi2_contingency(counts)
        statistic, freedom = statistic + independent.statistic, freedom + independent.dof
    assert stats.chi2.sf(statistic, freedom) < 0.001


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.08, 0.3), st.floats(0.1, 0.4))
def test_no_slide_straddles_a_split_and_the_parts_keep_the_classes_shares(cells, seed, validation, test):
    parts = cells.split(validation, test, seed)
    slides = [set(part.groups) for part in parts]
    assert sum(map(len, slides)) == len(set.union(*slides)) == 50
    for part, share in zip(parts, (1 - validation - test, validation, test), strict=True):
        assert abs(len(part) / 2472 - share) < 0.01
        np.testing.assert_allclose(np.bincount(part.labels) / len(part), [0.5, 0.25, 0.25], atol=0.03)


def test_colour_and_light_differ_between_slides_more_than_within(by_difficulty):
    """Analysis of variance of the plasma's and the cells' colour, by slide within each class."""
    for difficulty, least in {0: 5, 0.5: 10, 1: 10}.items():
        found = by_difficulty[difficulty]
        plasma = np.quantile(found.images, 0.8, axis=(1, 2))
        for label in range(3):
            of_class = found.labels == label
            slides = [plasma[of_class & (found.groups == slide)] for slide in range(40)]
            assert stats.f_oneway(*slides).statistic.min() > least


def test_slides_vary_more_where_the_set_is_harder():
    spread = []
    for level in (0, 0.5, 1):
        slides = [blood_cells._Slide.draw(np.random.default_rng(number), level) for number in range(300)]
        stains = np.log([slide.absorbance.ravel() for slide in slides])
        focus = np.log([slide.blur for slide in slides])
        light = np.log([slide.light for slide in slides])
        spread.append([stains.std(axis=0).mean(), focus.std(), light.std()])
    assert (np.diff(spread, axis=0) > 0).all()


def test_light_falls_exponentially_with_the_dye():
    """Without blur, vignette and noise the logarithm of the image is the sum of absorbances."""
    absorbance, light = np.float32([[0.1, 0.4, 0.3], [0.9, 1.1, 0.2]]), np.float32([0.9, 0.8, 0.7])
    slide = blood_cells._Slide(absorbance, light, vignette=0, blur=0, noise=0, crowd=1)
    dyes = np.random.default_rng(0).uniform(0, 1, (2, 8, 8)).astype(np.float32)
    image = slide.photograph(dyes, np.random.default_rng(1))
    np.testing.assert_allclose(np.log(image / light), -np.einsum("dxy,dc->xyc", dyes, absorbance), atol=1e-5)


# ------------------------------------------------------------------------------------------------ classes


def test_size_and_colour_measured_by_hand_tell_the_classes_ever_less_as_difficulty_grows(by_difficulty):
    scores = [balanced_accuracy(measurements(found.images), found) for found in by_difficulty.values()]
    assert scores[0] > 0.75
    assert scores[1] < scores[0] - 0.07
    assert scores[2] < scores[1] - 0.07
    assert scores[2] > 0.4  # chance is a third: the classes never become one


def test_a_probe_of_pixels_tells_easy_cells_and_misses_many_of_the_default(by_difficulty):
    def probe(found):
        pixels = found.images[:, ::2, ::2].reshape(len(found), -1)
        return balanced_accuracy(pixels, found, by=lambda: RidgeClassifier(1000, class_weight="balanced"))

    easy, default, hard = map(probe, by_difficulty.values())
    assert easy > 0.95
    assert 0.6 < default < 0.85
    assert 0.4 < hard < default - 0.1


def test_clusters_of_pixels_find_the_slides_stain_and_not_the_cell(by_difficulty):
    found = by_difficulty[0.5]
    pixels = found.images[:, ::4, ::4].reshape(len(found), -1)
    clusters = KMeans(3, n_init=4, random_state=0).fit_predict(pixels)
    assert adjusted_mutual_info_score(found.labels, clusters) < 0.02
    assert adjusted_mutual_info_score(found.groups, clusters) > 0.1


def test_easy_cells_have_the_sizes_and_the_dyes_of_their_names(by_difficulty):
    found = measurements(by_difficulty[0].images)
    red, white, platelet = (found[by_difficulty[0].labels == label] for label in range(3))
    area = [np.median(one[:, 0]) for one in (platelet, red, white)]
    assert (np.diff(area) > 0).all()
    # azure, of nuclei and platelets, takes red light, which haemoglobin lets pass
    absorbed_red = [np.median(one[:, 1]) for one in (red, white, platelet)]
    assert absorbed_red[0] < 0.75 * min(absorbed_red[1:])


def test_red_cells_are_pale_in_the_middle(by_difficulty):
    """Only those of the easy set; the mean over many cells is darker halfway out than in the middle."""
    density = optical_density(by_difficulty[0].images[by_difficulty[0].labels == 0]).mean(axis=(0, 3))
    y, x = np.mgrid[:32, :32] - 15.5
    away = np.hypot(x, y) * 0.5  # micrometres
    assert density[away < 1].mean() < 0.8 * density[(away > 1.8) & (away < 2.8)].mean()


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"part": "tests"}, r"Unknown part 'tests': did you mean 'test'\? \(there are: all, train, test\)"),
        ({"size": 15}, r"size=15, but it is a whole number of 16 or more\."),
        ({"size": 32.0}, r"size=32\.0, but it is a whole number of 16 or more\."),
        ({"difficulty": 1.01}, r"difficulty=1\.01, but it is a number from 0 to 1\."),
        ({"difficulty": float("nan")}, r"difficulty=nan, but it is a number from 0 to 1\."),
        ({"difficulty": "hard"}, r"difficulty='hard', but it is a number from 0 to 1\."),
        ({"seed": -1}, r"seed=-1, but it is a whole number of 0 or more\."),
    ],
)
def test_an_option_out_of_range_is_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        load(**options)

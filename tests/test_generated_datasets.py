"""The generated sets: what they promise, and that no trivial statistic tells their classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from helpers import datasets
from helpers.datasets import paintings
from helpers.datasets import textures as textures_module

GENERATED = ("shapes", "textures", "paintings")


def radial_spectrum(images: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean power at each distance from frequency 0, shape (n, size / 2)."""
    size = images.shape[1]
    grey = images.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean(axis=(1, 2), keepdims=True))) ** 2
    along = np.fft.fftfreq(size, 1 / size)
    ring = np.hypot(along[:, None], along[None, :]).astype(int)
    return np.log(np.stack([power[:, ring == radius].mean(axis=1) for radius in range(1, size // 2)], axis=1) + 1e-8)


def neighbours_accuracy(features, labels) -> float:
    """Return the accuracy of five nearest neighbours, cross-validated; chance is the share of the largest class."""
    features = np.reshape(features, (len(labels), -1))
    return cross_val_score(KNeighborsClassifier(5), features, labels, cv=4).mean()


@pytest.fixture(scope="module")
def textures():
    return datasets.load("textures", per_class=24, size=64)


@pytest.fixture(scope="module")
def shapes():
    return datasets.load("shapes", per_class=60, size=64)


@pytest.fixture(scope="module")
def all_paintings():
    return datasets.load("paintings", size=32)


# ------------------------------------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", GENERATED)
def test_the_same_seed_gives_the_same_images_and_another_seed_others(name):
    first, again, other = (datasets.load(name, per_class=2, size=32, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.images, again.images)
    unequal = (first.images != other.images).any(axis=(1, 2, 3))
    assert unequal.all()


@pytest.mark.parametrize("name", GENERATED)
@settings(max_examples=5, deadline=None)
@given(few=st.integers(1, 8), more=st.integers(0, 8), seed=st.integers(0, 2**31))
def test_fewer_images_of_a_class_are_the_first_of_the_many(name, few, more, seed):
    some = datasets.load(name, per_class=few, size=32, seed=seed)
    many = datasets.load(name, per_class=few + more, size=32, seed=seed)
    for label in np.unique(many.labels):
        assert np.array_equal(some.images[some.labels == label], many.images[many.labels == label][:few])


def test_batches_leave_no_trace_in_textures(monkeypatch):
    whole = datasets.load("textures", per_class=3, size=32).images
    monkeypatch.setattr(textures_module, "batches", lambda n, size: [slice(i, i + 1) for i in range(n)])
    np.testing.assert_allclose(datasets.load("textures", per_class=3, size=32).images, whole, atol=1e-5)


@pytest.mark.parametrize("name", GENERATED)
def test_no_two_images_are_the_same(name):
    found = datasets.load(name, per_class=10, size=32)
    assert len(np.unique(found.images.reshape(len(found), -1), axis=0)) == len(found)


@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.parametrize(
    ("option", "value"), [("per_class", 0), ("per_class", 2.5), ("size", 8), ("size", "64"), ("seed", -1)]
)
def test_an_option_out_of_range_is_refused_with_the_range(name, option, value):
    with pytest.raises(ValueError, match=rf"{option}={value!r}, but it is a whole number (of|from) \d+"):
        datasets.load(name, **{"per_class": 1, "size": 32, option: value})


# ------------------------------------------------------------------------------------------------ shapes


def test_shapes_are_four_times_two_hundred_of_the_studys_size():
    found = datasets.load("shapes")
    assert found.images.shape == (800, 299, 299, 1)
    assert np.bincount(found.labels).tolist() == [200] * 4


def test_a_shape_lies_wholly_on_the_canvas(shapes):
    margin = np.ones((64, 64), bool)
    margin[1:-1, 1:-1] = False
    assert (1 - shapes.images[:, margin, 0]).sum(axis=1).max() < 1  # no more than the soft edge of a tip


def test_shapes_of_all_classes_are_drawn_from_the_same_areas(shapes):
    """Areas are squares of lengths drawn uniformly from 0.2 to 0.5 sides, whatever the class."""
    areas = 1 - shapes.images.mean(axis=(1, 2, 3), dtype=float)
    for label in range(4):
        sides = np.sqrt(areas[shapes.labels == label])
        assert sides.min() > 0.195
        assert sides.max() < 0.505
        assert stats.kstest(sides, stats.uniform(0.2, 0.3).cdf).pvalue > 0.001


def test_a_shape_has_the_corners_of_its_name():
    """Corners stand where the convex hull turns: 3, 4, 5 tips, and the 8 ends of a cross's arms."""
    found = datasets.load("shapes", per_class=6, size=299)
    tips = {"triangle": 3, "square": 4, "star": 5, "cross": 8}
    for image, label in zip(found.images[..., 0] < 0.5, found.labels, strict=True):
        y, x = np.nonzero(image)
        y, x = y - y.mean(), x - x.mean()
        angle = np.arctan2(y, x)
        # the farthest pixel in each of 120 directions: its peaks are the tips
        ring = ndimage.maximum(np.hypot(x, y), ((angle / (2 * np.pi) + 0.5) * 120).astype(int) % 120, np.arange(120))
        smooth = ndimage.gaussian_filter1d(ring, 1.5, mode="wrap")
        peaks = (smooth > np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)) & (smooth > smooth.mean())
        assert peaks.sum() == tips[found.class_names[label]]


def test_edges_of_shapes_are_soft(shapes):
    grey = (shapes.images > 0) & (shapes.images < 1)
    outline = grey.sum(axis=(1, 2, 3))
    assert (outline > 20).all()
    assert outline.max() < 0.1 * 64**2


def test_the_darkness_of_a_shape_says_nothing_about_its_class(shapes):
    darkness = shapes.images.mean(axis=(1, 2, 3))
    groups = [darkness[shapes.labels == label] for label in range(4)]
    assert stats.kruskal(*groups).pvalue > 0.001
    assert neighbours_accuracy(darkness, shapes.labels) < 0.4  # chance is 0.25


def test_the_outline_of_a_shape_tells_its_class(shapes):
    assert neighbours_accuracy(radial_spectrum(shapes.images), shapes.labels) > 0.8


# ------------------------------------------------------------------------------------------------ textures


def test_textures_are_twenty_eight_classes_of_one_hundred_and_sixty():
    found = datasets.load("textures", size=32)
    assert found.images.shape == (28 * 160, 32, 32, 1)
    assert np.bincount(found.labels).tolist() == [160] * 28
    assert len(set(found.class_names)) == 28


@pytest.mark.parametrize("size", [32, 99, 576])
def test_every_patch_has_the_mean_and_the_contrast_of_kylbergs(size):
    images = datasets.load("textures", per_class=1, size=size).images.astype(float)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)) * 255, 127, atol=0.01)
    np.testing.assert_allclose(images.std(axis=(1, 2, 3)) * 255, 40, atol=0.01)


def test_no_grey_level_of_a_texture_is_cut_off(textures):
    assert textures.images.min() > 0
    assert textures.images.max() < 1


def test_brightness_and_contrast_say_nothing_about_a_texture(textures):
    # what is left of them is rounding, far below a grey level
    trivial = np.stack([textures.images.mean(axis=(1, 2, 3)), textures.images.std(axis=(1, 2, 3))], axis=1)
    assert neighbours_accuracy(trivial, textures.labels) < 0.1  # chance is 0.036


def test_the_spectrum_tells_textures_far_better_than_pixels_do(textures):
    spectrum = neighbours_accuracy(radial_spectrum(textures.images), textures.labels)
    pixels = neighbours_accuracy(textures.images, textures.labels)
    assert pixels < 0.3
    assert spectrum > 0.75


def test_the_statistics_of_a_texture_are_the_same_for_every_seed(textures):
    """Nearest class means of one seed's spectra know the classes of another seed's patches."""
    other = datasets.load("textures", per_class=4, size=64, seed=11)
    means = np.stack([radial_spectrum(textures.images[textures.labels == label]).mean(axis=0) for label in range(28)])
    distances = np.linalg.norm(radial_spectrum(other.images)[:, None] - means, axis=2)
    assert np.mean(distances.argmin(axis=1) == other.labels) > 0.7


def test_textures_are_turned_at_random(textures):
    """Brushed metal has one direction; over the patches it takes all of them."""
    label = textures.class_names.index("brushed metal")
    slope_y, slope_x = np.gradient(textures.images[textures.labels == label, ..., 0], axis=(1, 2))
    twice = np.arctan2(2 * (slope_x * slope_y).mean(axis=(1, 2)), (slope_x**2 - slope_y**2).mean(axis=(1, 2)))
    quarters = np.unique(np.floor((twice / (2 * np.pi) + 0.5) * 4).astype(int) % 4)
    assert quarters.tolist() == [0, 1, 2, 3]


def test_a_texture_shows_the_same_stretch_of_surface_at_every_size():
    """Its dominant frequency, in cycles per side, does not depend on the pixels."""
    peaks = {}
    for size in (64, 128):
        found = datasets.load("textures", per_class=6, size=size)
        honeycomb = found.images[found.labels == found.class_names.index("honeycomb")]
        peaks[size] = np.exp(radial_spectrum(honeycomb)).mean(axis=0)[:30].argmax()
    assert abs(peaks[64] - peaks[128]) <= 1


# ------------------------------------------------------------------------------------------------ paintings


def test_paintings_are_the_studys_number_in_eight_unequal_classes(all_paintings):
    counts = np.bincount(all_paintings.labels)
    assert all_paintings.images.shape == (1429, 32, 32, 3)
    assert len(all_paintings.class_names) == len(counts) == 8
    assert (counts.min(), counts.max()) == (88, 259)


def test_a_limit_on_paintings_keeps_the_smaller_classes_whole():
    assert np.bincount(datasets.load("paintings", size=16, per_class=100).labels).tolist() == [100, 88, *[100] * 6]


def test_the_lightness_of_a_painting_says_nothing_about_its_class(all_paintings):
    grey = all_paintings.images @ np.float32([0.2126, 0.7152, 0.0722])
    groups = [grey[all_paintings.labels == label].mean(axis=(1, 2)) for label in range(8)]
    assert stats.kruskal(*groups).pvalue > 0.001


def test_the_mean_colour_of_a_painting_hints_at_its_palette_and_no_more(all_paintings):
    colour = all_paintings.images.mean(axis=(1, 2))
    colour -= colour.mean(axis=1, keepdims=True)
    accuracy = neighbours_accuracy(colour, all_paintings.labels // 2)
    assert 0.4 < accuracy < 0.85  # chance is 0.32


def test_the_strokes_of_a_painting_lie_along_its_diagonal(all_paintings):
    """Weigh pixels by how far they are from the ground: x and y fall together or apart."""
    images = all_paintings.images
    ground = np.median(images.reshape(len(images), -1, 3), axis=1)[:, None, None]
    weight = np.abs(images - ground).sum(axis=-1)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:32, :32]
    x_mean, y_mean = (weight * x).sum(axis=(1, 2)), (weight * y).sum(axis=(1, 2))
    together = (weight * (x - x_mean[:, None, None]) * (y - y_mean[:, None, None])).sum(axis=(1, 2))
    falling = all_paintings.labels % 2 == 1
    assert np.mean((together > 0) == falling) > 0.75
    assert [name.split(", ")[1] for name in all_paintings.class_names] == ["rising", "falling"] * 4


def test_colours_are_those_of_oklch():
    """White, black, mid grey, and sRGB's own red, whose OKLCH coordinates Ottosson gives."""
    lightness, chroma, hue = np.array([[1, 0, 0], [0, 0, 0], [0.5999, 0, 0], [0.62796, 0.25768, 29.234]]).T
    expected = [[1, 1, 1], [0, 0, 0], [0.5028, 0.5028, 0.5028], [1, 0, 0]]
    np.testing.assert_allclose(paintings._rgb(lightness, chroma, hue), expected, atol=4e-3)


# ------------------------------------------------------------------------------------------------ patches


def test_patches_put_together_are_the_photographs():
    from skimage import data

    found = datasets.load("patches", size=64)
    for label, name in enumerate(("brick", "grass", "gravel")):
        grid = found.images[found.labels == label].reshape(8, 8, 64, 64)
        together = np.rint(grid.swapaxes(1, 2).reshape(512, 512) * 255)
        assert np.array_equal(together, getattr(data, name)())


@pytest.mark.parametrize(("size", "count"), [(64, 64), (100, 25), (128, 16), (256, 4)])
def test_patches_are_as_many_as_fit_into_a_photograph(size, count):
    found = datasets.load("patches", size=size)
    assert found.images.shape == (3 * count, size, size, 1)
    assert found.class_names == ("brick", "grass", "gravel")


def test_neighbouring_patches_stay_on_one_side_of_a_split():
    found = datasets.load("patches", size=32)
    assert np.unique(found.groups, return_counts=True)[1].tolist() == [16] * 48
    train, validation, test = (set(part.groups) for part in found.split())
    assert not train & test
    assert not train & validation


def test_patches_too_large_for_a_photograph_are_refused():
    with pytest.raises(ValueError, match="size=257, but it is a whole number from 8 to 256"):
        datasets.load("patches", size=257)

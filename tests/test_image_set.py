import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.datasets import ImageSet

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


@pytest.fixture(scope="module")
def unequal():
    images = np.arange(100, dtype=np.float32).reshape(100, 1, 1, 1) / 100
    return ImageSet(images, LABELS, ("a", "b", "c"), "unequal", "made here", "none")


@given(st.integers(3, 100), st.integers(0, 5))
def test_a_sample_holds_different_images_with_their_own_labels(unequal, n, seed):
    part = unequal.sample(n, seed)
    rows = np.round(part.images.ravel() * 100).astype(int)
    assert len(part) == len(set(rows)) == n
    assert np.array_equal(part.labels, LABELS[rows])


def test_a_sample_keeps_the_shares_of_the_classes(unequal):
    assert np.bincount(unequal.sample(20).labels).tolist() == [12, 6, 2]


def test_a_sample_of_more_images_than_there_are_holds_all(unequal):
    part = unequal.sample(1000)
    assert np.array_equal(np.sort(part.images.ravel()), unequal.images.ravel())
    assert not np.array_equal(part.labels, LABELS)  # mixed, so that the first few show several classes


def test_a_sample_repeats_with_its_seed(unequal):
    first, again, other = (unequal.sample(30, seed).images for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_sample_smaller_than_the_number_of_classes_is_refused(unequal):
    with pytest.raises(ValueError, match="2 images cannot hold 3 classes"):
        unequal.sample(2)


@pytest.mark.parametrize("options", [{"n": 20.0}, {"n": True}, {"n": 20, "seed": 1.5}, {"n": 20, "seed": -1}])
def test_a_sample_of_no_whole_number_is_refused(unequal, options):
    with pytest.raises(ValueError, match="but it is a whole number of"):
        unequal.sample(**options)


@given(st.integers(0, 20), st.integers(4, 30))
def test_a_class_of_one_image_joins_the_draw_of_the_largest_class(seed, n):
    labels = np.repeat([0, 1, 2, 3], [1, 20, 1, 10])
    images = np.arange(32, dtype=np.float32).reshape(32, 1, 1, 1) / 32
    part = ImageSet(images, labels, tuple("abcd"), "rare", "made here", "none").sample(n, seed)
    rows = np.round(part.images.ravel() * 32).astype(int)
    assert len(set(rows)) == n
    assert np.array_equal(part.labels, labels[rows])
    if n <= 28:
        assert abs(np.sum(part.labels == 3) - n * 10 / 32) < 1


def test_classes_of_one_image_each_are_drawn_freely():
    images = ImageSet(np.zeros((9, 1, 1, 1)), np.arange(9), tuple("abcdefghi"), "rare", "made here", "none")
    with pytest.raises(ValueError, match="8 images cannot hold 9 classes"):
        images.sample(8)

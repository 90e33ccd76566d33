"""The type of every data set: samples, and splits that keep groups together."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

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


# ------------------------------------------------------------------------------------------------ splits by groups


def crops(held: np.ndarray) -> ImageSet:
    """Return a set whose group g has held[g, c] images of class c, in random order."""
    groups, labels = np.nonzero(held)
    repeats = held[groups, labels]
    order = np.random.default_rng(0).permutation(held.sum())
    groups, labels = (np.repeat(values, repeats)[order] for values in (groups, labels))
    names = tuple(map(str, range(held.shape[1])))
    return ImageSet(np.zeros((len(labels), 1, 1, 1)), labels, names, "crops", "made here", "none", groups)


def counts_of(parts, classes: int) -> np.ndarray:
    return np.stack([np.bincount(part.labels, minlength=classes) for part in parts])


def chi_squared(counts: np.ndarray, shares) -> float:
    """Return the misfit of the parts' class counts (..., parts, classes); infinite where a part lacks a class."""
    asked = np.array(shares)[:, None] * counts.sum(axis=-2, keepdims=True)
    off = ((counts - asked) ** 2 / asked).sum(axis=(-2, -1))
    return np.where(counts.min(axis=(-2, -1)) > 0, off, np.inf)


def thirty_slides(seed: int) -> np.ndarray:
    """Return how many images of each of three classes each slide has: unequal, and half of them of the first."""
    random = np.random.default_rng(seed)
    return random.negative_binomial(2, 0.1, size=(30, 1)) // [2, 4, 4] + random.integers(0, 9, size=(30, 3))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31 - 1).map(thirty_slides), st.integers(0, 2**31 - 1), st.floats(0.05, 0.4), st.floats(0.05, 0.5)
)
def test_no_group_of_several_classes_straddles_a_split_and_no_image_is_lost(held, seed, validation, test):
    image_set = crops(held)
    parts = image_set.split(validation, test, seed)
    groups = [set(part.groups) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(set(image_set.groups))
    assert np.array_equal(counts_of(parts, 3).sum(axis=0), held.sum(axis=0))
    assert counts_of(parts, 3).min() > 0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31 - 1).map(thirty_slides), st.integers(0, 2**31 - 1), st.floats(0.1, 0.3), st.floats(0.1, 0.4)
)
def test_groups_of_several_classes_leave_each_part_its_share_of_every_class(held, seed, validation, test):
    counts = counts_of(crops(held).split(validation, test, seed), 3)
    asked = np.array([1 - validation - test, validation, test])[:, None] * held.sum(axis=0)
    assert np.abs(counts - asked).max() < 0.2 * held.sum(axis=1).max()  # a fifth of the largest group


@pytest.mark.parametrize("seed", range(6))
def test_a_split_of_few_groups_is_about_the_best_of_all_splits(seed):
    held = np.random.default_rng(seed).integers(0, 12, size=(8, 3))
    shares = (0.5, 0.2, 0.3)
    all_splits = np.array(list(product(range(3), repeat=8)))
    every = np.stack([(all_splits == part).astype(int) @ held for part in range(3)], axis=1)
    best = chi_squared(every, shares).min()
    found = [chi_squared(counts_of(crops(held).split(0.2, 0.3, s), 3), shares) for s in range(4)]
    assert np.isfinite(best)
    assert min(found) >= best - 1e-9
    assert max(found) <= 1.5 * best + 1


def test_a_split_by_groups_of_several_classes_is_nearer_than_scikit_learns():
    held = np.random.default_rng(0).negative_binomial([4, 2, 2], 0.15, size=(40, 3))
    image_set = crops(held)
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    folds = [rows for _, rows in folds.split(image_set.images, image_set.labels, image_set.groups)]
    theirs = [image_set[np.concatenate(some)] for some in (folds[4:], folds[:1], folds[1:4])]
    misfit = {
        name: chi_squared(counts_of(parts, 3), (0.6, 0.1, 0.3))
        for name, parts in {"ours": image_set.split(0.1, 0.3), "theirs": theirs}.items()
    }
    assert misfit["ours"] < misfit["theirs"] / 4


def test_a_split_by_groups_of_several_classes_repeats_with_its_seed():
    image_set = crops(np.random.default_rng(1).integers(1, 20, size=(25, 3)))
    first, again, other = (image_set.split(seed=seed)[2].groups for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert set(first) != set(other)


def test_a_class_in_fewer_than_three_groups_cannot_be_split():
    with pytest.raises(ValueError, match=r"^A class has fewer than three originals: three parts need at least one"):
        crops(np.array([[3, 1], [3, 1], [3, 0], [3, 0]])).split()


@pytest.mark.parametrize(("validation", "test"), [(0.01, 0.3), (0.1, 0.01), (0.49, 0.5)])
def test_fractions_too_small_for_an_image_of_each_class_are_refused(unequal, validation, test):
    with pytest.raises(ValueError, match=rf"^validation={validation} and test={test} of 100 originals are too few for"):
        unequal.split(validation, test)


def test_groups_that_cannot_give_each_part_every_class_are_refused():
    # each class lies in three of four groups, so any two groups meet in some class, and must be in different parts
    held = 5 * (1 - np.eye(4, dtype=int))
    with pytest.raises(ValueError, match=r"^No split of these 4 groups was found .* or a set with more groups\.$"):
        crops(held).split()


def test_groups_of_one_class_each_are_drawn_class_by_class_as_scikit_learn_draws_them():
    """The chapters' splits: they must never change."""
    labels = np.repeat([0, 1, 2], [40, 30, 20])
    image_set = crops(np.eye(3, dtype=int)[labels] * 2)
    rest, expected = train_test_split(np.arange(90), test_size=0.3, random_state=5, stratify=labels)
    _, validation = train_test_split(rest, test_size=0.1 / 0.7, random_state=5, stratify=labels[rest])
    parts = image_set.split(seed=5)
    assert set(parts[2].groups) == set(expected)
    assert set(parts[1].groups) == set(validation)


def test_a_single_image_is_a_set_of_one(unequal):
    assert unequal[7].images.tolist() == unequal[[7]].images.tolist()
    assert len(unequal[-1]) == 1

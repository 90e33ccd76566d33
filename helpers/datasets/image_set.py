"""The one type that every data set is loaded into."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import train_test_split

from ..validation import check_images, check_labels, check_whole

__all__ = ["ImageSet"]

_STARTS = 8  # of the search for parts with equal shares, the best of which counts
_MISSING = 1e7  # weight of a class that a part lacks, beside chi-squared of the numbers


@dataclass(frozen=True, eq=False)  # arrays have no single truth to compare
class ImageSet:
    """Images, and what is known of them.

    Attributes
    ----------
    images : ndarray of float32, shape (n, h, w, c)
        Values in [0, 1]; c is 1 (grey) or 3 (colour).
    labels : ndarray of int64, shape (n,)
        Positions in `class_names`. For scoring only.
    class_names : tuple of str
    name, source, licence : str
    groups : ndarray of int64, shape (n,)
        Images of one group (several views of one original) never straddle a split. By default
        each image is a group of its own.

    Raises
    ------
    ValueError
        If images and labels do not fit together, or images lie outside [0, 1].
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    name: str
    source: str
    licence: str
    groups: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self):
        images = check_images(self.images)
        labels = check_labels(self.labels, len(images), at_least=1)
        groups = np.arange(len(images)) if self.groups is None else check_labels(self.groups, len(images), "groups", 1)
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            raise ValueError(
                f"`labels` lie in {labels.min()} to {labels.max()}, but {len(self.class_names)} class names "
                f"allow 0 to {len(self.class_names) - 1}."
            )
        for name, value in {"images": images, "labels": labels, "groups": groups}.items():
            object.__setattr__(self, name, _read_only(value))
        object.__setattr__(self, "class_names", tuple(self.class_names))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> ImageSet:
        """Return the images of `rows` (a slice, a mask or an array of positions) as a set of their own."""
        rows = np.atleast_1d(np.arange(len(self))[rows])
        return ImageSet(
            self.images[rows],
            self.labels[rows],
            self.class_names,
            self.name,
            self.source,
            self.licence,
            self.groups[rows],
        )

    @property
    def mixed_groups(self) -> bool:
        """Whether a group holds several classes: crops of one slide, say, and not views of one original."""
        held = np.unique(np.stack([self.groups, self.labels]), axis=1)  # each class of each group once
        return held.shape[1] > len(np.unique(self.groups))

    def one_per_group(self) -> ImageSet:
        """Return the first image of each group: independent images, as a permutation test needs them."""
        return self[np.sort(np.unique(self.groups, return_index=True)[1])]

    def sample(self, n: int, seed: int = 0) -> ImageSet:
        """Return `n` images drawn at random, each class with its share, in random order.

        Parameters
        ----------
        n : int
            How many; where there are no more than `n`, all of them are returned. A class of one image has no
            share to keep: that image is drawn as one of the largest class.
        seed : int

        Raises
        ------
        ValueError
            If `n` is smaller than the number of classes, or a number is not whole.
        """
        check_whole(n, "n", 1)
        check_whole(seed, "seed", 0)
        counts = np.bincount(self.labels)
        classes = np.count_nonzero(counts)
        if n < classes:
            raise ValueError(f"{n} images cannot hold {classes} classes: ask for {classes} images or more.")
        if n >= len(self):
            return self[np.random.default_rng(seed).permutation(len(self))]
        if n > len(self) - classes:  # what is left out is too little to hold each class, so draw that freely
            return self[np.random.default_rng(seed).permutation(len(self))[:n]]
        strata = np.where(counts[self.labels] > 1, self.labels, counts.argmax())
        rows, _ = train_test_split(np.arange(len(self)), train_size=n, random_state=seed, stratify=strata)
        return self[rows]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        return self.images.shape[1:]

    def split(self, validation: float = 0.1, test: float = 0.3, seed: int = 0) -> tuple[ImageSet, ImageSet, ImageSet]:
        """Split into train, validation and test, by groups and with equal shares of each class.

        Where each group holds one class (views of one original), groups are drawn at random, class by class. Where
        groups hold several (crops of one picture), no draw of groups keeps the shares: then groups start at random and
        change their parts, alone or in pairs, as long as that brings the parts' numbers of each class nearer to what
        the fractions ask for (least squares relative to that number), and no part is left without a class.

        Parameters
        ----------
        validation, test : float
            Fractions of the groups, or of the images of each class where groups hold several; each above 0, together
            below 1.
        seed : int

        Returns
        -------
        train, validation, test : ImageSet
            No group, and so no image, stands in two of them.

        Raises
        ------
        ValueError
            If the fractions leave a part empty or with fewer originals than classes, a class has too few groups for
            three parts, no split was found that gives each part every class, or the seed is not whole.
        """
        check_whole(seed, "seed", 0)
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise ValueError(
                f"validation={validation} and test={test} leave a part empty: give two fractions above 0 "
                f"that sum to less than 1."
            )
        groups, members = np.unique(self.groups, return_inverse=True)
        held = np.zeros((len(groups), len(self.class_names)), np.int64)
        np.add.at(held, (members, self.labels), 1)
        held = held[:, held.any(axis=0)]
        if (held > 0).sum(axis=0).min() < 3:
            raise ValueError("A class has fewer than three originals: three parts need at least one each.")
        if self.mixed_groups:
            part_of = _dealt(held, np.array([1 - validation - test, validation, test]), seed)
            return tuple(self[part_of[members] == part] for part in range(3))
        classes = held.argmax(axis=1)
        try:
            rest, test_groups = train_test_split(groups, test_size=test, random_state=seed, stratify=classes)
            classes_of_rest = classes[np.searchsorted(groups, rest)]
            train_groups, validation_groups = train_test_split(
                rest, test_size=validation / (1 - test), random_state=seed, stratify=classes_of_rest
            )
        except ValueError as error:
            raise ValueError(
                f"validation={validation} and test={test} of {len(groups)} originals are too few for images of each of "
                f"{held.shape[1]} classes: give larger fractions that leave enough to train, or a larger set."
            ) from error
        return tuple(self[np.isin(self.groups, part)] for part in (train_groups, validation_groups, test_groups))


def _dealt(held: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each group such that every part holds its share of each class, as near as groups allow.

    Parameters
    ----------
    held : ndarray of int, shape (groups, classes)
        How many images of each class a group holds.
    shares : ndarray of float, shape (parts,)
    seed : int
    """
    random, asked = np.random.default_rng(seed), shares[:, None] * held.sum(axis=0)
    found = []
    for _ in range(_STARTS):
        part_of = random.choice(len(shares), len(held), p=shares)
        got = _improve(part_of, held, asked, random)
        found.append((_misfit(got, asked).sum(), got.min(), part_of))
        if _is_near(got, asked):
            break
    _, fewest, part_of = min(found, key=lambda one: one[0])
    if fewest == 0:
        raise ValueError(
            f"No split of these {len(held)} groups was found that gives each part images of every class: "
            f"give larger fractions, or a set with more groups."
        )
    return part_of


def _improve(part_of: np.ndarray, held: np.ndarray, asked: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Move and swap groups, in place, while that lessens the misfit; return what each part holds, by class."""
    parts = np.arange(len(asked))
    got = np.stack([held[part_of == part].sum(axis=0) for part in parts])
    improved = True
    while improved:
        improved = False
        for group in random.permutation(len(held)):
            if _is_near(got, asked):
                return got
            here, others = part_of[group], np.flatnonzero(part_of != part_of[group])
            # what it may change places with: nothing, in each part, or a group of another part
            there = np.r_[parts, part_of[others]]
            gives = held[group] - np.r_[np.zeros_like(got), held[others]]
            change = _misfit(got[here] - gives, asked[here]) - _misfit(got[here], asked[here])
            change += _misfit(got[there] + gives, asked[there]) - _misfit(got[there], asked[there])
            change[here] = 0  # it stays
            best = change.argmin()
            if change[best] < -1e-6:  # more than rounding
                got[here] -= gives[best]
                got[there[best]] += gives[best]
                part_of[group] = there[best]
                if best >= len(parts):
                    part_of[others[best - len(parts)]] = here
                improved = True
    return got


def _misfit(got: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return chi-squared of each part, shape (parts,), far larger where a part lacks a class."""
    return ((got - asked) ** 2 / asked).sum(axis=-1) + _MISSING * (got == 0).sum(axis=-1)


def _is_near(got: np.ndarray, asked: np.ndarray) -> bool:
    return got.min() > 0 and np.abs(got - asked).max() <= 1


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view

"""The one type that every set of video clips is loaded into."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..validation import check_images, check_labels, check_regular, check_whole
from .image_set import ImageSet

__all__ = ["ClipSet"]


@dataclass(frozen=True, eq=False)  # arrays have no single truth to compare
class ClipSet:
    """Clips of equal length, and what is known of them.

    A training loop takes ``clip_set.clips``. Labels, positions and velocities are the truth that features are scored
    against, and go nowhere else.

    Attributes
    ----------
    clips : ndarray of float32, shape (n, t, h, w, c)
        t frames of each clip, in order. Values in [0, 1]; c is 1 (grey) or 3 (colour).
    labels : ndarray of int64, shape (n,)
        Positions in `class_names`. Where several things move, the class of the first.
    class_names : tuple of str
    name, source, licence : str
    groups : ndarray of int64, shape (n,)
        Clips of one group (of one original, of one recording) never straddle a split. By default each clip is a
        group of its own.
    all_labels : ndarray of int64, shape (n, k)
        The classes of all k things that move, the first of them in column 0. By default `labels` alone.
    positions : ndarray of float64, shape (n, t, k, 2), or None
        Where each of them is in each frame: row and column, in pixels, from the centre of the upper left pixel.
        None where it is not known.
    velocities : ndarray of float64, shape (n, t, k, 2), or None
        How fast each of them moves at the moment of each frame, in pixels per frame, down and to the right.

    Raises
    ------
    ValueError
        If the arrays do not fit together, or clips lie outside [0, 1].
    """

    clips: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    name: str
    source: str
    licence: str
    groups: np.ndarray | None = field(default=None, repr=False)
    all_labels: np.ndarray | None = field(default=None, repr=False)
    positions: np.ndarray | None = field(default=None, repr=False)
    velocities: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self):
        clips = _check_clips(self.clips)
        first = ImageSet(clips[:, 0], self.labels, self.class_names, self.name, self.source, self.licence, self.groups)
        all_labels = _check_all_labels(self.all_labels, first.labels, len(first.class_names))
        truth = {name: getattr(self, name) for name in ("positions", "velocities")}
        shape = (*clips.shape[:2], all_labels.shape[1], 2)
        truth = {name: _check_truth(value, name, shape) for name, value in truth.items() if value is not None}
        arrays = {"clips": clips, "labels": first.labels, "groups": first.groups, "all_labels": all_labels}
        for name, value in (arrays | truth).items():
            view = value.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(self, "class_names", first.class_names)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, rows) -> ClipSet:
        """Return the clips of `rows` as a set of their own: views for a slice, copies for a mask or positions."""
        rows = rows if isinstance(rows, slice) else np.atleast_1d(np.arange(len(self))[rows])
        return ClipSet(
            self.clips[rows],
            self.labels[rows],
            self.class_names,
            self.name,
            self.source,
            self.licence,
            self.groups[rows],
            self.all_labels[rows],
            None if self.positions is None else self.positions[rows],
            None if self.velocities is None else self.velocities[rows],
        )

    @property
    def length(self) -> int:
        """The number of frames of each clip."""
        return self.clips.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Frames, height, width and channels of one clip."""
        return self.clips.shape[1:]

    def frame(self, number: int) -> ImageSet:
        """Return one frame of each clip as images, to be encoded and scored like any other images.

        Parameters
        ----------
        number : int
            0 for the first frame, -1 for the last.

        Returns
        -------
        ImageSet
            Row i is a frame of clip i.

        Raises
        ------
        ValueError
            If the clips have no such frame.
        """
        check_whole(number, "number", -self.length, self.length - 1)
        return self._images(self.clips[:, number], f"frame {number % self.length} of each clip", 1)

    def frames(self) -> ImageSet:
        """Return every frame as an image, clip after clip: n * t images, with labels and groups of their clips."""
        images = self.clips.reshape(-1, *self.shape[1:])
        return self._images(images, "every frame of each clip", self.length)

    def past_and_future(self, past: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first `past` frames of the clips, which a network is shown, and the rest, which it is to foresee.

        Parameters
        ----------
        past : int
            1 to one less than the clips have.

        Returns
        -------
        past : ndarray of float32, shape (n, past, h, w, c)
        future : ndarray of float32, shape (n, t - past, h, w, c)
            ``future[:, 0]`` is the next frame. Both are views: no memory is taken.

        Raises
        ------
        ValueError
            If nothing would be left of the past or of the future.

        Examples
        --------
        >>> from helpers import datasets
        >>> past, future = datasets.load("moving-digits", clips=4, length=11).past_and_future(10)
        >>> past.shape, future.shape
        ((4, 10, 32, 32, 1), (4, 1, 32, 32, 1))
        """
        if self.length < 2:
            raise ValueError("Clips of one frame have no future: load clips of two frames or more.")
        if isinstance(past, int | np.integer) and past >= self.length:
            raise ValueError(
                f"past={past} leaves no future of clips of {self.length} frames: take a past of at most "
                f"{self.length - 1}, or load clips of {past + 1} frames or more."
            )
        check_whole(past, "past", 1)
        return self.clips[:, :past], self.clips[:, past:]

    def split(self, validation: float = 0.1, test: float = 0.3, seed: int = 0) -> tuple[ClipSet, ClipSet, ClipSet]:
        """Split into train, validation and test, by groups: as `ImageSet.split`.

        Returns
        -------
        train, validation, test : ClipSet
            No group, and so no clip, stands in two of them.

        Raises
        ------
        ValueError
            As `ImageSet.split`.
        """
        parts = self.frame(0).split(validation, test, seed)
        return tuple(self[np.isin(self.groups, part.groups)] for part in parts)

    def _images(self, images: np.ndarray, which: str, repeats: int) -> ImageSet:
        return ImageSet(
            images,
            np.repeat(self.labels, repeats),
            self.class_names,
            self.name,
            f"{self.source}; {which}",
            self.licence,
            np.repeat(self.groups, repeats),
        )


def _check_clips(clips) -> np.ndarray:
    array = check_regular(clips, "clips")
    if array.ndim != 5:
        raise ValueError(
            f"`clips` has shape {array.shape}, but clips have five axes (n, frames, height, width, channels)"
            + ("; add the channel axis with clips[..., None]." if array.ndim == 4 else ".")
        )
    if 0 in array.shape:
        raise ValueError(f"`clips` has shape {array.shape}: an axis is empty.")
    return check_images(array.reshape(-1, *array.shape[2:]), "clips").reshape(array.shape)


def _check_all_labels(all_labels, labels: np.ndarray, classes: int) -> np.ndarray:
    if all_labels is None:
        return labels[:, None]
    table = check_regular(all_labels, "all_labels")
    if table.ndim != 2 or len(table) != len(labels) or not table.shape[1]:
        raise ValueError(f"`all_labels` has shape {table.shape}, but it has a row for each of {len(labels)} clips.")
    flat = check_labels(table.ravel(), name="all_labels", at_least=1)
    if flat.min() < 0 or flat.max() >= classes or not np.array_equal(table[:, 0], labels):
        raise ValueError("`all_labels` holds classes without a name, or its first column is not `labels`.")
    return flat.reshape(table.shape)


def _check_truth(values, name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = check_regular(values, name).astype(np.float64, copy=False)
    if array.shape != shape:
        raise ValueError(f"`{name}` has shape {array.shape}, but these clips need {shape}: clips, frames, things, 2.")
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` holds values that are NaN or infinite, but it is a place or a speed in pixels.")
    return array

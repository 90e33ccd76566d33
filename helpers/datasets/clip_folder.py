"""Any folder of clips: one subfolder per class, in it a folder of frames or a video file for each clip."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..validation import check_choice, check_whole
from .clip_set import ClipSet
from .folder import (
    check_size,
    check_strays,
    class_folders,
    fill_images,
    find_files,
    find_images,
    fit,
    shown,
    without_masks,
)

__all__ = ["load_clips"]

_VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"}
_ANNOUNCED = 0.95  # the share of the frames a video says it has that must be there: the number may be an estimate


def load_clips(
    path: Path | str | None = None,
    size: int | tuple[int, int] = 64,
    channels: int = 3,
    length: int = 11,
    stride: int = 1,
    per_recording: int | None = None,
    licence: str = "unknown: yours to say",
    masks: str = "report",
) -> ClipSet:
    """Load clips from ``path/<class>/<recording>/<frames>`` and ``path/<class>/<recording>.mp4``.

    Each recording is cut, from its beginning, into clips of `length` frames that share no frame; what is left over is
    dropped. Clips of one recording share a group and so never straddle a split, and so do copies of a recording.
    Frames are in the order of their names, with numbers in the order of numbers (``9.png`` before ``10.png``), and
    cropped and resized as `load_folder` does.

    Video files need OpenCV, which Colab has: ``pip install opencv-python-headless``.

    Parameters
    ----------
    path : path
        A folder with one subfolder per class. A recording is a folder of images at any depth below that, or a video
        file (.avi, .m4v, .mkv, .mov, .mp4, .mpeg, .mpg, .webm). Hidden ones, and those in folders that tools leave
        behind, are left out, as `load_folder` does.
    size : int or tuple of int
        Height and width, in pixels; one number for a square.
    channels : {1, 3}
        Grey or colour.
    length : int
        Frames of each clip, 2 or more.
    stride : int
        Takes every so many-th frame of a recording: 1 for all, 5 for six frames a second of thirty.
    per_recording : int, optional
        The most clips of each recording; by default all.
    licence : str
        What the clips' licence allows; it goes into the results.
    masks : {'report', 'skip', 'keep'}
        What to do with masks that lie among the frames: see `load_folder`.

    Returns
    -------
    ClipSet
        In the order of the class names and, within a class, of the recordings. Without positions and velocities.

    Raises
    ------
    FileNotFoundError
        If no folder is given, or it does not exist or holds no clips in subfolders.
    ImportError
        If there are video files and OpenCV is not installed.
    ValueError
        If a number is no whole number or too small, images or videos lie in no class, images lie in no recording, masks
        are found and reported, a recording is too short, damaged or lies in two classes: they are named, all of them.

    Examples
    --------
    >>> load_clips("no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no folder no/such/folder: give a folder with one subfolder of clips per class.
    """
    if path is None:
        raise FileNotFoundError("load('clips') needs path=...: a folder with one subfolder of clips per class.")
    home, size = Path(path).expanduser(), check_size(size, channels)
    check_whole(length, "length", 2)
    check_whole(stride, "stride", 1)
    limit = None if per_recording is None else check_whole(per_recording, "per_recording", 1)
    check_choice(masks, ("report", "skip", "keep"), "way with masks")
    recordings = _find(home, masks)
    names = sorted({one.class_name for one in recordings})
    groups = _groups(recordings, home)
    clips, counts = _read(recordings, _Cut(size, channels, length, stride, limit), home)
    return ClipSet(
        clips,
        np.repeat([names.index(one.class_name) for one in recordings], counts),
        tuple(names),
        home.resolve().name,
        f"the folder {home.resolve().name}, {sum(counts)} clips of {len(recordings)} recordings",
        licence,
        np.repeat(groups, counts),
    )


@dataclass(frozen=True)
class _Recording:
    """What was filmed in one go."""

    class_name: str
    place: Path  # the folder of its frames, or the video file
    files: tuple[Path, ...]  # the frames in order, or the video file

    @property
    def is_video(self) -> bool:
        return self.files == (self.place,)


@dataclass(frozen=True)
class _Cut:
    """What is taken of each recording."""

    size: tuple[int, int]
    channels: int
    length: int
    stride: int
    limit: int | None

    @property
    def most(self) -> int | None:
        """The most frames that are taken."""
        return None if self.limit is None else self.limit * self.length

    def whole(self, frames):
        """Return as many frames as fill whole clips."""
        return frames[: self.most][: len(frames) // self.length * self.length]


def _find(home: Path, masks: str) -> list[_Recording]:
    """Return all recordings, in the order of classes and names."""
    folders = class_folders(home, "clips")
    images = {folder.name: find_images(folder) for folder in folders}
    if masks != "keep":
        images = without_masks(images, home, masks)
    _check_frames_in_no_recording(images, home)
    check_strays(home, _VIDEOS, "images or videos")
    found = []
    for folder in folders:
        frames = defaultdict(list)
        for file in images[folder.name]:
            frames[file.parent].append(file)
        recordings = [
            _Recording(folder.name, place, tuple(sorted(files, key=_number))) for place, files in frames.items()
        ]
        recordings += [_Recording(folder.name, file, (file,)) for file in find_files(folder, _VIDEOS)]
        found += sorted(recordings, key=lambda one: _number(one.place))
    if not found:
        raise FileNotFoundError(
            f"The folder {home} has no clips in subfolders: put each class into a subfolder, and into that a folder of "
            f"frames or a video file for each recording."
        )
    return found


def _number(path: Path) -> list:
    """Return what sorts names as people do: text and numbers take turns."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]


def _check_frames_in_no_recording(images: dict[str, list[Path]], home: Path) -> None:
    loose = [str(file.relative_to(home)) for files in images.values() for file in files if file.parent.parent == home]
    if loose:
        raise ValueError(
            f"{len(loose)} of the images in {home} lie in a class, but in no recording: {shown(loose)}; put the frames "
            f"of each recording into a folder of its own, or load single images by load('folder')."
        )


def _groups(recordings: list[_Recording], home: Path) -> np.ndarray:
    """Return a number for each recording, the same for recordings of equal bytes."""
    groups, first = [], {}
    for number, one in enumerate(recordings):
        digest = hashlib.sha256()
        for file in one.files:
            digest.update(_digest(file) if file.is_file() else b"missing")
        groups.append(first.setdefault(digest.digest(), number))
    torn = [
        f"{one.place.relative_to(home)} = {recordings[group].place.relative_to(home)}"
        for one, group in zip(recordings, groups, strict=True)
        if one.class_name != recordings[group].class_name
    ]
    if torn:
        raise ValueError(
            f"{len(torn)} of the {len(recordings)} recordings in {home} must not lie in two classes: {shown(torn)}; "
            f"keep each in one of them."
        )
    return np.array(groups)


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:  # a piece at a time: a video may be larger than memory
        return hashlib.file_digest(stream, "sha256").digest()


def _read(recordings: list[_Recording], cut: _Cut, home: Path) -> tuple[np.ndarray, list[int]]:
    """Return all clips, shape (clips, length, h, w, c), and how many there are of each recording."""
    decoded = _decode([one.place for one in recordings if one.is_video], cut, home)
    taken = {
        one.place: cut.whole(decoded.pop(one.place) if one.is_video else one.files[:: cut.stride]) for one in recordings
    }
    short = [str(place.relative_to(home)) for place, frames in taken.items() if not frames]
    if short:
        raise ValueError(
            f"{len(short)} of the {len(recordings)} recordings in {home} have too few frames for a clip of "
            f"{cut.length} at stride {cut.stride}: {shown(short)}; ask for shorter clips or a smaller stride, or "
            f"remove them."
        )
    counts = [len(taken[one.place]) // cut.length for one in recordings]
    clips = np.empty((sum(counts), cut.length, *cut.size, cut.channels), np.float32)
    _fill(clips.reshape(-1, *clips.shape[2:]), recordings, taken, home)  # a view
    return clips, counts


def _fill(room: np.ndarray, recordings: list[_Recording], taken: dict[Path, Sequence], home: Path) -> None:
    """Write the frames that are taken of each recording into `room`, and drop what was decoded one by one."""
    files, places, start = [], [], 0
    for one in recordings:
        frames = taken.pop(one.place)
        part = room[start : start + len(frames)]
        start += len(frames)
        if one.is_video:
            for place, pixels in zip(part, frames, strict=True):
                place[...] = pixels
            part /= 255
        else:
            files += frames
            places += list(part)
    fill_images(places, files, home)


def _decode(videos: list[Path], cut: _Cut, home: Path) -> dict[Path, list[np.ndarray]]:
    """Return the frames that are taken of each video, each uint8 of shape (h, w, c)."""
    if not videos:
        return {}
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"{len(videos)} of the clips in {home} are video files, which OpenCV reads: "
            f"pip install opencv-python-headless, or put their frames into folders as images."
        ) from error
    frames, damaged = {}, []
    for file in videos:
        capture = cv2.VideoCapture(str(file))
        frames[file], is_whole = _frames(capture, cut)
        capture.release()
        if not is_whole:
            damaged.append(str(file.relative_to(home)))
    if damaged:
        raise ValueError(
            f"{len(damaged)} of {len(videos)} videos in {home} are damaged or cut short, or no videos: "
            f"{shown(damaged)}; replace them or remove them."
        )
    return frames


def _frames(capture, cut: _Cut) -> tuple[list[np.ndarray], bool]:
    """Return the frames that are taken of a video, and whether there are as many as it says."""
    import cv2

    announced, seen, taken = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0, []
    while (cut.most is None or len(taken) < cut.most) and capture.grab():
        if seen % cut.stride == 0:
            is_there, pixels = capture.retrieve()
            if not is_there:
                break
            image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            image = image.convert("L" if cut.channels == 1 else "RGB")
            taken.append(fit(image, cut.size).reshape(*cut.size, cut.channels))
        seen += 1
    stopped = cut.most is not None and len(taken) == cut.most
    return taken, seen > 0 and (stopped or seen >= _ANNOUNCED * announced)

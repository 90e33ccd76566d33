"""Any folder of images: one subfolder per class."""

from __future__ import annotations

import hashlib
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .. import runtime
from ..validation import check_choice, check_whole
from .image_set import ImageSet

__all__ = [
    "check_size",
    "check_strays",
    "class_folders",
    "fill_images",
    "find_files",
    "find_images",
    "fit",
    "load_folder",
    "read_images",
    "shown",
    "users_folder",
    "without_masks",
]

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_MASK_WORDS = (
    *("mask", "masks", "gt", "groundtruth", "ground_truth"),
    *("segmentation", "segmentations", "annotation", "annotations"),
)
_MASK_LEVELS = 8  # a twin with no more different grey levels is a mask: a picture has many
_LEFT_BEHIND = (".", "__")  # how folders begin that systems and tools make: .thumbs, __MACOSX
# what Pillow raises at damaged files; the second line at damaged EXIF data
_UNREADABLE = (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError)
_UNREADABLE += (struct.error, TypeError, LookupError, ArithmeticError)
_SHOWN = 5  # names in a sentence about many files
_EXAMPLE = "groups=r'^[^_]+_[0-9]+' for crops like BloodImage_00012_03.png"


def load_folder(
    path: Path | str | None = None,
    size: int | tuple[int, int] = 64,
    channels: int = 3,
    licence: str = "unknown: yours to say",
    masks: str = "report",
    groups: str | None = None,
) -> ImageSet:
    """Load images from ``path/<class>/<file>``.

    Each image is cropped to the shape of `size` about its centre and resized, so that mixed sizes become
    one without distortion; grey and colour images are converted to `channels`. What is transparent becomes
    white, whatever colour the file hides there.

    Copies of a file, byte by byte, share a group and so never straddle a split. Crops of one picture, or pictures of
    one patient, must not straddle it either: `groups` says how to tell them.

    Parameters
    ----------
    path : path
        A folder with one subfolder per class; files are found at any depth below it, but for hidden ones (``.name``)
        and those in folders that tools leave behind (``.thumbs``, ``__MACOSX``).
    size : int or tuple of int
        Height and width, in pixels; one number for a square.
    channels : {1, 3}
        Grey or colour.
    licence : str
        What the images' licence allows; it goes into the results.
    masks : {'report', 'skip', 'keep'}
        What to do with masks that lie among the images, which would count as images: stop and name them, leave
        them out, or load them all the same. A mask is a file below a folder called ``masks``, ``gt``,
        ``segmentation``, ``annotations`` or the like; a file named as another image of its folder with such a word
        before or behind it (``mask_cat``, ``cat-gt``); or a PNG of at most 8 grey levels beside an image of the
        same name.
    groups : str, optional
        A regular expression, looked for in each file's path below the folder of its class. Files, of whatever class,
        that agree in what it matches (or in what its parentheses hold, where it has some) are a group, as are their
        copies. ``r"^[^_]+_[0-9]+"`` puts ``BloodImage_00012_03.png`` to the other crops of ``BloodImage_00012``;
        ``"^[^/]+"`` makes each subfolder of a class a group.

    Returns
    -------
    ImageSet
        In the order of the class names and, within a class, of the file names.

    Raises
    ------
    FileNotFoundError
        If no folder is given, or it does not exist or holds no images in subfolders.
    ValueError
        If `size` is no whole number or two, `channels` is neither 1 nor 3, images lie beside the subfolders, masks
        are found and reported, the same image lies in two classes, `groups` is no regular expression or is not found
        in the names of some files, or files are damaged: they are named, all of them.

    Examples
    --------
    >>> load_folder("no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no folder no/such/folder: give a folder with one subfolder of images per class.
    """
    if path is None:
        raise FileNotFoundError("load('folder') needs path=...: a folder with one subfolder of images per class.")
    home, size = Path(path).expanduser(), check_size(size, channels)
    check_choice(masks, ("report", "skip", "keep"), "way with masks")
    pattern = None if groups is None else _compiled(groups)
    files = {folder.name: find_images(folder) for folder in class_folders(home)}
    if masks != "keep":
        files = without_masks(files, home, masks)
    files = {name: found for name, found in files.items() if found}
    if not files:
        raise FileNotFoundError(f"The folder {home} has no images in subfolders: put each class into a subfolder.")
    check_strays(home)
    paths = [file for found in files.values() for file in found]
    labels = np.repeat(np.arange(len(files)), [len(found) for found in files.values()])
    groups_of_files = _groups_of_copies(paths, labels, home)
    if pattern is not None:
        groups_of_files = _joined(groups_of_files, _sources(paths, home, pattern))
    return ImageSet(
        read_images(paths, size, channels, home),
        labels,
        tuple(files),
        home.resolve().name,
        f"the folder {home.resolve().name}, {len(paths)} images",
        licence,
        groups_of_files,
    )


def class_folders(home: Path, what: str = "images") -> list[Path]:
    """Return the subfolders of a folder in the order of their names, each a class, without what tools leave behind.

    Parameters
    ----------
    home : path
    what : str
        What the folder is to hold, for the sentence where there is none.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    if not home.is_dir():
        raise FileNotFoundError(f"There is no folder {home}: give a folder with one subfolder of {what} per class.")
    return [folder for folder in sorted(home.iterdir()) if folder.is_dir() and not folder.name.startswith(_LEFT_BEHIND)]


def users_folder(path: Path | str | None, name: str, embedded: str) -> Path:
    """Return the folder of a set that the user has: `path`, else the folder `name` in ``COURSE_DATA``.

    Parameters
    ----------
    path : path or None
        What the user gave.
    name : str
        Of the set, for `helpers.datasets.load`.
    embedded : str
        The set that needs no folder, to name where there is none.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    FileNotFoundError
        If there is none; the sentence names the set `embedded` to use instead.
    """
    if path is not None:
        home = Path(path).expanduser()
    elif runtime.data_folder() is not None:
        home = runtime.data_folder() / name
    else:
        raise FileNotFoundError(
            f"The set {name!r} is not embedded: give the folder that holds it as path=..., set COURSE_DATA to the "
            f"folder above its folder {name}, or use the embedded set load({embedded!r})."
        )
    if not home.is_dir():
        raise FileNotFoundError(
            f"There is no folder {home}: give the folder that holds the set {name!r}, "
            f"or use the embedded set load({embedded!r})."
        )
    return home.resolve()


def find_images(folder: Path) -> list[Path]:
    """Return the image files at any depth below a folder: see `find_files`."""
    return find_files(folder, _ENDINGS)


def find_files(folder: Path, endings: Set[str]) -> list[Path]:
    """Return the files with one of some endings at any depth below a folder, in the order of their names.

    Left out are hidden files, and what lies in a folder below that is hidden or that a tool made (``__MACOSX``).
    """
    return sorted(
        file
        for file in folder.rglob("*")
        if _counts(file, endings)
        and not any(part.startswith(_LEFT_BEHIND) for part in file.relative_to(folder).parts[:-1])
    )


def read_images(paths: Sequence[Path], size: tuple[int, int], channels: int, home: Path) -> np.ndarray:
    """Read image files, cropped about their centre to the shape of `size` and resized, on white.

    Parameters
    ----------
    paths : sequence of path
    size : tuple of int
        Height and width, in pixels.
    channels : {1, 3}
    home : path
        The folder that holds them all: files are named as seen from it.

    Returns
    -------
    ndarray of float32, shape (n, height, width, channels)
        Values in [0, 1].

    Raises
    ------
    ValueError
        If files are damaged or hold more than 8 bits per channel: they are named, all of them.
    """
    images = np.empty((len(paths), *size, channels), np.float32)
    fill_images(images, paths, home)
    return images


def fill_images(places: Sequence[np.ndarray], paths: Sequence[Path], home: Path) -> None:
    """Read image files into arrays that are there already, as `read_images` does, so that no copy takes memory.

    Parameters
    ----------
    places : sequence of ndarray of float32, each of shape (height, width, channels)
        One for each file, or a single array of them all; they are overwritten.
    paths : sequence of path
    home : path
        The folder that holds them all: files are named as seen from it.

    Raises
    ------
    ValueError
        If files are damaged or hold more than 8 bits per channel: they are named, all of them.
    """
    damaged = []
    for place, file in zip(places, paths, strict=True):
        try:
            pixels = _read(file, place.shape[:2], "L" if place.shape[2] == 1 else "RGB")
            place[...] = pixels.reshape(place.shape)
            place /= 255
        except _UNREADABLE as error:
            damaged.append(f"{file.relative_to(home)} ({type(error).__name__}: {error})")
    if damaged:
        raise ValueError(
            f"{len(damaged)} of {len(paths)} images in {home} cannot be read: {', '.join(damaged)}; "
            f"replace them or remove them."
        )


def shown(names: Iterable[str]) -> str:
    """Return names for a sentence: all of a few, the first ones of many and how many there are besides."""
    names = list(names)
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _counts(file: Path, endings: Set[str]) -> bool:
    # a link that leads nowhere counts, so that it is reported and not passed over
    return file.suffix.lower() in endings and file.name[0] != "." and not file.is_dir()


def check_size(size: int | tuple[int, int], channels: int) -> tuple[int, int]:
    """Return height and width of the images that are asked for.

    Raises
    ------
    ValueError
        If `size` is no whole number or two, or `channels` is neither 1 nor 3.
    """
    sides = (size, size) if np.ndim(size) == 0 else tuple(size)
    if len(sides) != 2:
        raise ValueError(f"size={size!r}, but it is one number of pixels, or height and width.")
    height, width = check_whole(sides[0], "size", 1), check_whole(sides[1], "size", 1)
    if channels not in (1, 3):
        raise ValueError(f"channels={channels}, but images are grey (1) or colour (3).")
    return height, width


def check_strays(home: Path, others: Set[str] = frozenset(), what: str = "images") -> None:
    """Refuse images that lie beside the subfolders, in no class.

    Parameters
    ----------
    home : path
    others : set of str
        Endings of what must not lie there either.
    what : str
        What all of them are, for the sentence.

    Raises
    ------
    ValueError
        If there are any; the sentence names them.
    """
    strays = sorted(file.name for file in home.iterdir() if _counts(file, _ENDINGS | others))
    if strays:
        raise ValueError(
            f"{len(strays)} of the {what} in {home} must not lie beside the subfolders: {shown(strays)}; "
            f"put each into the subfolder of its class."
        )


def _read(file: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    with Image.open(file) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would turn all that is brighter than 255 into white
            raise ValueError("more than 8 bits per channel: convert it first")
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
        return fit(upright.convert(mode), size)


def fit(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Crop an image about its centre to the shape of `size` (height and width), resize it, and return its pixels."""
    return np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC))


def without_masks(files: dict[str, list[Path]], home: Path, masks: str) -> dict[str, list[Path]]:
    """Return the files of each class without masks, or report them: see `load_folder`.

    Raises
    ------
    ValueError
        If there are masks and `masks` is ``'report'``.
    """
    found = {name: _masks(paths, home) for name, paths in files.items()}
    names = [str(file.relative_to(home)) for some in found.values() for file in sorted(some)]
    if names and masks == "report":
        total = sum(map(len, files.values()))
        raise ValueError(
            f"{len(names)} of the {total} images in {home} look like masks of the other {total - len(names)}: "
            f"{shown(names)}; leave them out with masks='skip', or load them as images with masks='keep'."
        )
    return {name: [file for file in paths if file not in found[name]] for name, paths in files.items()}


def _masks(paths: list[Path], home: Path) -> set[Path]:
    """Return the files that are masks of others, by their name or by the name of a folder they lie in."""
    beside = defaultdict(list)
    for file in paths:
        beside[file.parent, file.stem.lower()].append(file)
    found = set()
    for file in paths:
        stem = file.stem.lower()
        is_named = any((file.parent, name) in beside for name in _names_without_mark(stem))
        is_filed = any(_plain(folder) in _MASK_WORDS for folder in file.relative_to(home).parts[:-1])
        has_twin = file.suffix.lower() == ".png" and len(beside[file.parent, stem]) > 1
        if is_named or is_filed or (has_twin and _has_few_levels(file)):
            found.add(file)
    return found


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def _names_without_mark(stem: str) -> list[str]:
    """Return what a name would be the mask of: ``cat`` for ``cat-mask`` and for ``mask_cat``."""
    before = [stem[len(word) + 1 :] for word in _MASK_WORDS if _plain(stem).startswith(f"{word}_")]
    behind = [stem[: -len(word) - 1] for word in _MASK_WORDS if _plain(stem).endswith(f"_{word}")]
    return before + behind


def _has_few_levels(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return sum(count > 0 for count in image.convert("L").histogram()) <= _MASK_LEVELS
    except _UNREADABLE:
        return False  # a damaged file is reported where images are read


def _groups_of_copies(paths: list[Path], labels: np.ndarray, home: Path) -> np.ndarray:
    """Return a number for each file, the same for files of equal bytes."""
    sizes = defaultdict(list)
    for place, file in enumerate(paths):
        if file.is_file():  # a link that leads nowhere is reported where images are read
            sizes[file.stat().st_size].append(place)
    groups, first = np.arange(len(paths)), {}
    for places in sizes.values():
        for place in places if len(places) > 1 else ():  # only files of one length can be equal
            digest = hashlib.sha256(paths[place].read_bytes()).digest()
            groups[place] = first.setdefault(digest, place)
    torn = np.flatnonzero(labels != labels[groups])
    if len(torn):
        pairs = [f"{paths[place].relative_to(home)} = {paths[groups[place]].relative_to(home)}" for place in torn]
        raise ValueError(
            f"{len(torn)} of the {len(paths)} images in {home} must not lie in two classes: {shown(pairs)}; "
            f"keep each in one of them."
        )
    return groups


def _compiled(groups: str) -> re.Pattern:
    try:
        pattern = re.compile(groups)
        pattern.search("")  # one of bytes cannot search a name
        return pattern
    except (re.error, TypeError) as error:
        raise ValueError(
            f"groups={groups!r} is no regular expression ({error}): give one that matches what the names of one "
            f"picture's files share, as in {_EXAMPLE}."
        ) from error


def _sources(paths: list[Path], home: Path, pattern: re.Pattern) -> np.ndarray:
    """Return a number for each file, the same for files in whose names a pattern finds the same."""
    names = [Path(*file.relative_to(home).parts[1:]).as_posix() for file in paths]
    found = [pattern.search(name) for name in names]
    # what the parentheses hold, each None if it took no part; else the whole match
    keys = [one and (one.groups() or (one[0],)) for one in found]
    without = [str(file.relative_to(home)) for file, key in zip(paths, keys, strict=True) if not any(key or ())]
    if without:
        raise ValueError(
            f"groups={pattern.pattern!r} is not found in the names of {len(without)} of the {len(paths)} images in "
            f"{home}: {shown(without)}; give a regular expression that matches what the names of one picture's files "
            f"share, as in {_EXAMPLE}."
        )
    numbers = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def _joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the finest groups that divide no group of two groupings, each numbered by the place of its first file."""
    n = len(one)
    edges = coo_array((np.ones(n), (one, n + other)), shape=(2 * n, 2 * n))  # of a graph of both kinds of groups
    component = connected_components(edges, directed=False)[1][one]
    _, first, member = np.unique(component, return_index=True, return_inverse=True)
    return first[member]

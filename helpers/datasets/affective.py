"""Images labelled with the emotion that they call up, from a folder of the user's."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from ..validation import check_whole
from .folder import find_images, read_images, shown, users_folder
from .image_set import ImageSet

__all__ = ["load_affective"]

_CLASSES = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness")
_OTHER_NAMES = {"content": "contentment", "sad": "sadness"}  # of the same emotions, in file names and tables
_TABLE = "ABSTRACT_groundTruth.csv"


def load_affective(path: Path | str | None = None, size: int = 128, per_class: int | None = None) -> ImageSet:
    """Load the affective images of Machajdik and Hanbury: artistic photographs and abstract paintings.

    The sets are not downloaded: https://www.imageemotion.org has the archives. Unpack them into one folder, in
    subfolders or not:

    - artistic photographs (806), and any others, named after their emotion: ``amusement_0001.jpg``;
    - abstract paintings (280), with the table ``ABSTRACT_groundTruth.csv`` beside them: a head line with the
      eight emotions, then a line for each painting with its file and the votes that each emotion got. The
      emotion with most votes is the class; paintings whose votes are tied have none and are left out, which
      leaves 228.

    The study that probed Inception-v3 had 394 photographs of the International Affective Picture System besides,
    which its owners give to researchers on request. Name them as the photographs to add them.

    Parameters
    ----------
    path : path, optional
        The folder; by default the folder ``affective`` in the one that ``COURSE_DATA`` names.
    size : int
        Height and width, in pixels. Images are cropped about their centre to a square.
    per_class : int, optional
        The most images of each class, in the order of their names; by default all.

    Returns
    -------
    ImageSet
        Images of shape (n, size, size, 3) in eight classes of unequal size.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, it holds no images, or paintings that the table lists are missing.
    ValueError
        If the emotion of an image is told neither by its name nor by a table, the table is not as described, or
        files are damaged.

    References
    ----------
    Machajdik and Hanbury (2010), https://doi.org/10.1145/1873951.1873965
    """
    check_whole(size, "size", 8)
    limit = None if per_class is None else check_whole(per_class, "per_class", 1)
    home = users_folder(path, "affective", embedded="paintings")
    emotions = _emotions(home)
    wanted = [(label, file) for label, name in enumerate(_CLASSES) for file in emotions[name][:limit]]
    labels, files = zip(*wanted, strict=True)
    return ImageSet(
        read_images(files, (size, size), 3, home),
        np.array(labels),
        _CLASSES,
        "affective",
        f"affective images (Machajdik and Hanbury 2010), {len(files)} images read from {home.name}",
        "for research; the images belong to their authors",
    )


def _emotions(home: Path) -> dict[str, list[Path]]:
    """Return the files of each emotion, in the order of their paths."""
    emotions: dict[str, list[Path]] = {name: [] for name in _CLASSES}
    listed: dict[Path, str | None] = {}
    for table in sorted(home.rglob(_TABLE)):
        listed |= _votes(table)
    unknown = []
    for file in find_images(home):
        name = file.stem.lower().split("_")[0]
        emotion = listed[file] if file in listed else _OTHER_NAMES.get(name, name)
        if emotion in emotions:
            emotions[emotion].append(file)
        elif emotion is not None:  # None: its votes are tied
            unknown.append(str(file.relative_to(home)))
    if unknown:
        raise ValueError(
            f"{len(unknown)} of the images in {home} cannot be given an emotion: {shown(unknown)}; name them like "
            f"amusement_0001.jpg, or list them in {_TABLE} beside them."
        )
    empty = [name for name, files in emotions.items() if not files]
    if empty:
        raise FileNotFoundError(
            f"The folder {home} has no images of {', '.join(empty)}: unpack the archives of imageemotion.org there."
        )
    return emotions


def _votes(table: Path) -> dict[Path, str | None]:
    """Return the emotion of each painting that a table lists, None where the most votes are tied."""
    with table.open(encoding="utf-8-sig", newline="") as stream:
        lines = [row for row in csv.reader(stream, quotechar="'", skipinitialspace=True) if row]
    if not lines:
        raise ValueError(f"The table {table} is empty: unpack it again.")
    head, *rows = lines
    names = [_OTHER_NAMES.get(name.strip("' \"").lower(), name.strip("' \"").lower()) for name in head[1:]]
    if Counter(names) != Counter(_CLASSES):
        raise ValueError(f"The table {table} has the columns {', '.join(head)}: it needs a file and eight emotions.")
    emotions, missing = {}, []
    for number, (name, *cells) in enumerate(rows, start=2):
        try:
            votes = np.array([float(cell) for cell in cells])
        except ValueError:
            votes = np.empty(0)
        if len(votes) != len(names):
            raise ValueError(f"Line {number} of {table} is no file and eight numbers: {','.join([name, *cells])}")
        file = table.parent / name.strip("' \"")
        best = np.flatnonzero(votes == votes.max())
        emotions[file] = names[best[0]] if len(best) == 1 else None
        missing += [] if file.is_file() else [file.name]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the paintings that {table} lists cannot be found beside it: {shown(missing)}."
        )
    return emotions

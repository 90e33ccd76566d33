"""The Kylberg Texture Dataset 1.0, from a folder of the user's."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np

from ..validation import check_whole
from .folder import find_images, read_images, shown, users_folder
from .image_set import ImageSet

__all__ = ["load_kylberg"]

# fmt: off
_CLASSES = (
    "blanket1", "blanket2", "canvas1", "ceiling1", "ceiling2", "cushion1", "floor1", "floor2", "grass1", "lentils1",
    "linseeds1", "oatmeal1", "pearlsugar1", "rice1", "rice2", "rug1", "sand1", "scarf1", "scarf2", "screen1",
    "seat1", "seat2", "sesameseeds1", "stone1", "stone2", "stone3", "stoneslab1", "wall1",
)
# fmt: on
_PHOTOGRAPHS = "abcd"  # of each class
_PATCHES = 40  # of each photograph
# in some copies the patches of rice1-b are named rice1.b
_NAME = re.compile(r"(?P<texture>[a-z]+\d)[-.](?P<photograph>[a-d])-p(?P<patch>\d{3})(?:-r(?P<turn>\d{3}))?\.png")


def load_kylberg(path: Path | str | None = None, size: int = 128, per_class: int = 160) -> ImageSet:
    """Load the Kylberg Texture Dataset 1.0: 28 textures, 160 patches of 576 x 576 pixels each, grey.

    The set is not downloaded: its site has one archive for each class, http://www.cb.uu.se/~gustaf/texture/. Unpack
    them into one folder, in subfolders or not. A patch is named after its class, its photograph and its number:
    ``blanket1-a-p001.png`` is patch 1 of 40 of the first of four photographs. Turned copies
    (``blanket1-a-p001-r030.png``), where the folder has them, are left out; those turned by 0 degrees are the
    patches.

    Patches of one photograph are one group: a split never divides them.

    Parameters
    ----------
    path : path, optional
        The folder; by default the folder ``kylberg`` in the one that ``COURSE_DATA`` names.
    size : int
        Height and width to which patches are scaled, in pixels, from 8 to 576.
    per_class : int
        Patches of each class, 4 to 160, from its four photographs in turn. Fewer patches are the first of the
        many.

    Returns
    -------
    ImageSet
        Images of shape (28 * per_class, size, size, 1).

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or patches are missing: they are counted, and the first ones named.
    ValueError
        If PNG files lie there that are no patches, two files are the same patch, or files are damaged.

    References
    ----------
    Kylberg (2011), Kylberg Texture Dataset v. 1.0, Centre for Image Analysis, External report 35.
    """
    check_whole(size, "size", 8, 576)
    check_whole(per_class, "per_class", len(_PHOTOGRAPHS), len(_PHOTOGRAPHS) * _PATCHES)
    home = users_folder(path, "kylberg", embedded="textures")
    patches = _patches(home)
    in_turn = [(letter, patch) for patch in range(1, _PATCHES + 1) for letter in _PHOTOGRAPHS][:per_class]
    wanted = [(texture, letter, patch) for texture in _CLASSES for letter, patch in in_turn]
    photographs = list(itertools.product(_CLASSES, _PHOTOGRAPHS))
    return ImageSet(
        read_images([patches[key] for key in wanted], (size, size), 1, home),
        np.repeat(np.arange(len(_CLASSES)), per_class),
        _CLASSES,
        "kylberg",
        f"Kylberg Texture Dataset 1.0 (Kylberg 2011), read from {home.name}",
        "free for research; see the set's own page",
        np.array([photographs.index(key[:2]) for key in wanted]),
    )


def _patches(home: Path) -> dict[tuple[str, str, int], Path]:
    """Return the file of each patch, by class, photograph and number; all of them are there."""
    found, strange, twice = {}, [], []
    for file in find_images(home):
        match = _NAME.fullmatch(file.name)
        key = match and (match["texture"], match["photograph"], int(match["patch"]))
        if not key or key[0] not in _CLASSES or not 1 <= key[2] <= _PATCHES:
            strange.append(str(file.relative_to(home)))
        elif match["turn"] in (None, "000"):
            twice += [f"{file.relative_to(home)} = {found[key].relative_to(home)}"] if key in found else []
            found.setdefault(key, file)
    if strange:
        raise ValueError(
            f"{len(strange)} of the images in {home} cannot be patches of the set: {shown(strange)}; "
            f"move them away: a patch is named like blanket1-a-p001.png."
        )
    if twice:
        raise ValueError(
            f"{len(twice)} of the patches in {home} must not lie there twice: {shown(twice)}; keep one of each."
        )
    every = list(itertools.product(_CLASSES, _PHOTOGRAPHS, range(1, _PATCHES + 1)))
    missing = [
        f"{texture}-{letter}-p{patch:03}.png"
        for texture, letter, patch in every
        if (texture, letter, patch) not in found
    ]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(every):,} patches cannot be found in {home}: {shown(missing)}."
        )
    return found

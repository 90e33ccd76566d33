"""Images and clips with their labels put aside: ``load(name) -> ImageSet``, or ``ClipSet`` where they move.

A training loop takes ``image_set.images``; ``image_set.labels`` goes to `helpers.scorecard` and nowhere else.
"""

from __future__ import annotations

from ..validation import check_choice
from .affective import load_affective
from .blood_cells import load_blood_cells
from .clip_folder import load_clips
from .clip_set import ClipSet
from .digits import load_digits, load_shifted_digits
from .folder import load_folder
from .image_set import ImageSet
from .kylberg import load_kylberg
from .mnist import load_mnist
from .moving_digits import load_moving_digits
from .paintings import load_paintings
from .patches import load_patches
from .shapes import load_shapes
from .textures import load_textures

__all__ = ["LOADERS", "ClipSet", "ImageSet", "load"]

LOADERS = {
    "digits": load_digits,
    "shifted-digits": load_shifted_digits,
    "shapes": load_shapes,
    "textures": load_textures,
    "paintings": load_paintings,
    "blood-cells": load_blood_cells,
    "moving-digits": load_moving_digits,
    "patches": load_patches,
    "mnist": load_mnist,
    "kylberg": load_kylberg,
    "affective": load_affective,
    "folder": load_folder,
    "clips": load_clips,
}


def load(name: str, **options) -> ImageSet | ClipSet:
    """Load a data set by its name.

    Parameters
    ----------
    name : str
        Generated: ``'shifted-digits'``, ``'shapes'``, ``'textures'``, ``'paintings'``, ``'blood-cells'``,
        ``'moving-digits'``. Inside scikit-learn and scikit-image: ``'digits'``, ``'patches'``. Downloaded or on your
        disk: ``'mnist'``. On your disk: ``'kylberg'``, ``'affective'``, ``'folder'``, ``'clips'``.
    **options
        Passed to the set's own loader, where they are described.

    Returns
    -------
    ImageSet, or ClipSet for ``'moving-digits'`` and ``'clips'``

    Raises
    ------
    ValueError
        If the name is unknown; the sentence suggests the nearest one.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.images.shape, len(digits.class_names)
    ((1797, 8, 8, 1), 10)
    """
    return LOADERS[check_choice(name, LOADERS, "data set")](**options)

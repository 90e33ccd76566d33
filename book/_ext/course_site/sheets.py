"""Contact sheets: the first images of every class of a data set, drawn while the book is built."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import datasets, runtime

__all__ = ["FOLDER", "sheet_html", "write_strips"]

FOLDER = "_images/sheets"  # within the site
_GAP = 4  # transparent pixels between two images: the page's own colour in light and in dark


def write_strips(image_set: datasets.ImageSet, columns: int, site: Path, enlarge: int = 1) -> dict[str, tuple]:
    """Write a PNG for each class with its first `columns` images in a row.

    Returns
    -------
    dict of str to (str, int, int)
        For each class the file's path within the site, its width and its height.
    """
    strips = {}
    for label, name in enumerate(image_set.class_names):
        images = image_set.images[image_set.labels == label][:columns]
        strip = _strip(np.kron(images, np.ones((1, enlarge, enlarge, 1))))
        path = f"{FOLDER}/{image_set.name}-{label:02}.png"
        runtime.replace_file(site / path, partial(strip.save, format="PNG", optimize=True))
        strips[name] = (path, *strip.size)
    return strips


def _strip(images: np.ndarray) -> Image.Image:
    """Put images (n, h, w, c) side by side, with transparent gaps."""
    n, height, width, channels = images.shape
    strip = np.zeros((height, n * (width + _GAP) - _GAP, channels + 1), np.uint8)
    for place, image in enumerate(images):
        columns = slice(place * (width + _GAP), place * (width + _GAP) + width)
        strip[:, columns, :channels] = np.rint(255 * image)
        strip[:, columns, channels] = 255
    return Image.fromarray(strip)


def sheet_html(image_set: datasets.ImageSet, columns: int, site: Path, root: str, enlarge: int = 1) -> str:
    """Return the contact sheet of a set: for each class a strip of images above its name.

    Parameters
    ----------
    image_set : ImageSet
    columns : int
        Images of each class.
    site : Path
        The site's folder, into which the strips are written.
    root : str
        The relative way from the page to the site's root.
    enlarge : int
        Draws each pixel as a square of that many.
    """
    strips = write_strips(image_set, columns, site, enlarge).items()
    figures = "".join(
        f'<figure><img src="{root}{path}" width="{width}" height="{height}" loading="lazy" class="dark-light" '
        f'alt="{columns} images of the class {escape(name)} in the set {escape(image_set.name)}" />'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, (path, width, height) in strips
    )
    return f'<div class="course-sheet">{figures}</div>\n'

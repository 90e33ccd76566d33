"""The gallery: every stored map as a picture, and on a page of its own as something to explore.

The front page are small multiples: one thumbnail for each method, which leads to the page of its *scene*. Rows that
show the same images form a scene: their points move from map to map, and they share one sprite sheet. A scene's page
draws each row's maps side by side, and above them ``gallery.js`` lays the explorer: PCA, t-SNE and UMAP with one
selection, and the images themselves. Without JavaScript the pictures, their numbers and the downloads remain.

What the pages show lies in files of its own (`write_assets`), not in the pages: pictures are fetched when they are
scrolled to, points and thumbnails where a scene is opened, and a page stays a few kilobytes. The points come
as a script rather than as JSON, because a page opened from a disk may load scripts but may not fetch files.
The browser draws the points on plain canvases, pixel by pixel: 10,000 points on three maps move smoothly, which a
charting library that keeps an object for each point did not reach.

A map's orientation and scale mean nothing in t-SNE and UMAP, and its signs mean nothing in PCA; so each map is
fitted into the unit square and turned (PCA: mirrored only) to lie like that of the scene's first row. Distances
within a map keep their proportions. The downloaded coordinates are the stored ones.

The pages are made from the results store alone: no kernel, no network, no Keras.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.markers import MarkerStyle
from PIL import Image
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist

from . import plots, runtime
from .comparison import chapter_title, counted
from .results import Record, slug
from .scorecard import MEASURES, written

__all__ = ["ASSETS", "PAGES", "Page", "gallery_html", "scene_pages", "still", "write_assets"]

ASSETS = "_static/gallery"  # below the site's root
PAGES = "gallery"  # the folder of the scenes' pages, beside the front page

_MAPS = ("PCA", "t-SNE", "UMAP")
_THUMBNAIL_OF = ("t-SNE", "UMAP", "PCA")  # t-SNE fills its square, and reads best when small
_QUALITY = {"trustworthiness": "trustworthiness", "continuity": "continuity", "neighbours_kept": "neighbours kept"}
_KINDS = {"baseline": "baseline", "method": "learned without labels", "supervised": "learned from labels"}
_DARK_PAPER = "#1c232b"  # what the book puts behind a card at night
_WEIGHTS = (0.2126, 0.7152, 0.0722)  # of red, green and blue in the relative luminance of sRGB
_SIDE, _MARGIN = 200, 12  # units of a map in a picture, and of its edge that stays free
_MOST = {"strip": 2000, "thumbnail": 500}  # points in a picture: more weigh much and show no more
_TILE = 64  # pixels: the longer side of a thumbnail in the sprite sheet, at most
_SHOWN = 56  # CSS pixels: the longer side of a thumbnail on the page
_RIGHT, _WRONG = ("#666666", "o"), ("#AA4499", "X")  # an image in the cluster of its class, and one that is not


@dataclass(frozen=True)
class Page:
    """A page of the gallery, without the site's frame.

    Attributes
    ----------
    name : str
        The file's name without suffix.
    title, summary : str
        For the page's head.
    html : str
        Begins with the page's ``h1``.
    """

    name: str
    title: str
    summary: str
    html: str


def gallery_html(
    records: Sequence[Record],
    assets_base: str = f"../{ASSETS}",
    pages_base: str = PAGES,
) -> str:
    """Return the gallery's front page as one HTML fragment: a thumbnail for each row, which leads to its scene.

    Parameters
    ----------
    records : sequence of Record
    assets_base : str
        The address, relative to the page, of the folder that `write_assets` filled.
    pages_base : str
        The address, relative to the page, of the folder with the pages that `scene_pages` makes.

    Returns
    -------
    str
        Needs ``gallery.css``.

    Raises
    ------
    ValueError
        If the store is empty.
    """
    scenes = _scenes(records)
    assets, pages = assets_base.rstrip("/"), pages_base.rstrip("/")
    chapters = list(dict.fromkeys(record.chapter for record in records))
    parts = ['<div class="course-gallery">', _opening(scenes, assets, pages), _contents(chapters)]
    for chapter in chapters:
        mine = [scene for scene in scenes if scene.chapter == chapter]
        bare = [record for record in records if record.chapter == chapter and not _map_names(record)]
        parts.append(_chapter(chapter, mine, bare, assets, pages))
    return "\n".join(filter(None, [*parts, "</div>"]))


def scene_pages(records: Sequence[Record], assets_base: str = f"../../{ASSETS}", up: str = "../") -> list[Page]:
    """Return a page for each scene: the explorer, and each row's maps with their numbers.

    Parameters
    ----------
    records : sequence of Record
    assets_base : str
        The address, relative to the page, of the folder that `write_assets` filled.
    up : str
        The address, relative to the page, of the folder with ``gallery.html``.

    Returns
    -------
    list of Page
        Their HTML needs ``gallery.css`` and, to explore, ``gallery.js``.

    Raises
    ------
    ValueError
        If the store is empty.
    """
    return [
        Page(scene.name, scene.title, scene.summary, _scene(scene, assets_base.rstrip("/"), up))
        for scene in _scenes(records)
    ]


def write_assets(records: Sequence[Record], folder: Path | str) -> list[Path]:
    """Write the files that the gallery shows: pictures, sprite sheets, points, and coordinates.

    For each row ``<scene>/<method>-light.svg`` and ``-dark.svg`` (its maps side by side), the same with
    ``-thumbnail``, and ``<scene>/<method>.csv``; for each scene ``<scene>/points.js``; for each set of images a
    sprite sheet, which scenes share.

    Parameters
    ----------
    records : sequence of Record
    folder : Path or str
        In the built site ``_static/gallery``.

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        If the store is empty.
    """
    files: dict[str, bytes] = {}
    for scene in _scenes(records):
        if scene.sheet not in files:
            files[scene.sheet] = _sprites(scene)
        files[f"{scene.name}/points.js"] = _points_script(scene)
        for record in scene.records:
            name = f"{scene.name}/{slug(record.method)}"
            files[f"{name}.csv"] = _coordinates(scene, record)
            for theme in ("light", "dark"):
                files[f"{name}-{theme}.svg"] = _picture(scene, record, theme, _map_names(record), _MOST["strip"])
                small = _picture(scene, record, theme, [_thumbnail_map(record)], _MOST["thumbnail"])
                files[f"{name}-thumbnail-{theme}.svg"] = small
    for name, content in files.items():
        runtime.replace_file(Path(folder) / name, lambda stream, content=content: stream.write(content))
    return [Path(folder) / name for name in files]


def still(records: Sequence[Record], methods: int = 4) -> bytes:
    """Return a picture of the gallery as PNG: the maps of a few methods, for the README.

    It shows the scene with the most methods, and of it the first row, the untrained network, the best row without
    labels by kNN, and the supervised row, as far as they exist, in the order of the table.

    Parameters
    ----------
    records : sequence of Record
    methods : int
        The largest number of methods to show.

    Raises
    ------
    ValueError
        If the store is empty or holds no maps.
    """
    scenes = _scenes(records)
    if not scenes:
        raise ValueError("The results store holds no maps: a chapter stores them with `card.save()`.")
    scene = max(scenes, key=lambda scene: len(scene.records))
    chosen = _chosen(scene.records, methods)
    from matplotlib.figure import Figure  # not pyplot's: this figure belongs to no notebook

    figure = Figure(figsize=(2.8 * len(chosen), 2.9 * len(scene.maps) + 0.9), layout="constrained", facecolor="white")
    axes = figure.subplots(len(scene.maps), len(chosen), squeeze=False)
    for column, record in enumerate(chosen):
        for row, name in enumerate(scene.maps):
            _still_panel(axes[row, column], scene, record, name)
        axes[0, column].set_title(f"{textwrap.fill(record.method, 28)}\nkNN {written(record, 'knn')}", fontsize=11)
    handles, names = max((ax.get_legend_handles_labels() for ax in axes.flat), key=lambda found: len(found[0]))
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 10), frameon=False, markerscale=1.8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


# ---- scenes


@dataclass(frozen=True)
class _Scene:
    """Rows of one chapter whose maps show the same images, row for row."""

    name: str
    chapter: str
    data: str
    records: tuple[Record, ...]

    @property
    def title(self) -> str:
        return f"{chapter_title(self.chapter)}: {self.data}".replace("-", " ")

    @property
    def summary(self) -> str:
        return (
            f"{counted(len(self.labels), 'image')} of {self.data} on {counted(len(self.maps), 'map')} for each of "
            f"{counted(len(self.records), 'way')} to describe them, to be explored."
        )

    @property
    def labels(self) -> np.ndarray:
        return self.records[0].arrays["labels"]

    @property
    def thumbnails(self) -> np.ndarray:
        return self.records[0].arrays["thumbnails"]

    @property
    def class_names(self) -> list[str]:
        return self.records[0].class_names

    @cached_property
    def maps(self) -> list[str]:
        """The maps of any row, the well-known ones first."""
        return sorted({name for record in self.records for name in _map_names(record)}, key=_map_order)

    @cached_property
    def placed(self) -> list[dict[str, np.ndarray]]:
        """Each row's maps in the unit square, all of them lying alike."""
        reference: dict[str, np.ndarray] = {}
        placed = []
        for record in self.records:
            maps = {name: _centred(record.arrays[name]) for name in _map_names(record)}
            maps = {name: _turned(points, reference.setdefault(name, points), name) for name, points in maps.items()}
            placed.append({name: _fitted(points) for name, points in maps.items()})
        return placed

    @property
    def sheet(self) -> str:
        """The file name of the sprite sheet, the same for the same images."""
        return f"sprites-{_digest(self.thumbnails)}.webp"

    @property
    def columns(self) -> int:
        return math.ceil(math.sqrt(len(self.labels)))

    @property
    def lines(self) -> int:
        return -(-len(self.labels) // self.columns)

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of a thumbnail in the sheet: its own, unless it is larger than it is ever shown."""
        height, width = self.thumbnails.shape[1:3]
        scale = min(1.0, _TILE / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def _scenes(records: Sequence[Record]) -> list[_Scene]:
    if not records:
        raise ValueError("The results store is empty: run `make book`, which runs the chapters and fills it.")
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        if _map_names(record):
            images = _digest(record.arrays["labels"], record.arrays["thumbnails"])
            groups.setdefault((record.chapter, record.data, images), []).append(record)
    scenes: list[_Scene] = []
    for (chapter, data, _), rows in groups.items():
        name = f"{slug(chapter)}--{slug(data)}"
        same = sum(scene.name.startswith(name) for scene in scenes)
        scenes.append(_Scene(f"{name}-{same + 1}" if same else name, chapter, data, tuple(rows)))
    return scenes


def _digest(*arrays: np.ndarray) -> str:
    """Return what tells whether two rows show the same images."""
    known = hashlib.sha256()
    for array in arrays:
        known.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return known.hexdigest()[:12]


def _map_names(record: Record) -> list[str]:
    """Return the names of the maps that can be drawn: one finite point for each image."""
    if not {"labels", "clusters", "thumbnails"} <= record.arrays.keys() or not len(record.arrays["labels"]):
        return []
    return [name for name in _fitting(record) if np.isfinite(record.arrays[name]).all()]


def _fitting(record: Record) -> list[str]:
    """Return the names of the maps that have one point for each image."""
    shape = (len(record.arrays["labels"]), 2)
    stored = [name for name in record.maps if name in record.arrays and record.arrays[name].shape == shape]
    return sorted(stored, key=_map_order)


def _trouble(record: Record) -> str:
    """Say why a row has no map that can be drawn."""
    lacking = [name for name in ("labels", "clusters", "thumbnails") if name not in record.arrays]
    if not any(name in record.arrays for name in record.maps):
        return "no map is stored"
    if lacking:
        return f"no {' and no '.join(lacking)} are stored"
    if not len(record.arrays["labels"]):
        return "it holds no images"
    if not _fitting(record):
        return "its maps have other images than its labels"
    return "its coordinates hold values that are no numbers"


def _map_order(name: str) -> tuple[int, str]:
    return (_MAPS.index(name) if name in _MAPS else len(_MAPS), name)


def _centred(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, float)
    return points - points.mean(axis=0)


def _turned(points: np.ndarray, reference: np.ndarray, name: str) -> np.ndarray:
    """Turn a map to lie like the reference; PCA keeps its axes, which are the components, and is mirrored only."""
    if name == "PCA":
        signs = np.sign((points * reference).sum(axis=0))
        return points * np.where(signs == 0, 1, signs)
    return points @ orthogonal_procrustes(points, reference)[0]


def _fitted(points: np.ndarray) -> np.ndarray:
    """Move a map into the unit square, without stretching it."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = (high - low).max() or 1.0
    return 0.5 + (points - (low + high) / 2) / extent


def _medoids(record: Record) -> list[dict]:
    """Return, for each cluster, the image with the least total distance to the others on the row's first map."""
    points = np.asarray(record.arrays[_map_names(record)[0]], float)
    labels, clusters = record.arrays["labels"], record.arrays["clusters"]
    rows = []
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        middle = members[cdist(points[members], points[members]).sum(axis=0).argmin()]
        classes, counts = np.unique(labels[members], return_counts=True)
        main = counts.argmax()
        rows.append(
            {
                "cluster": int(cluster),
                "index": int(middle),
                "size": len(members),
                "main": int(classes[main]),
                "share": round(float(counts[main] / len(members)), 4),
            }
        )
    return rows


# ---- colours and shapes


def _style(number: int) -> dict:
    """Return how a class is drawn: beyond the palette's length the shape changes before a pair repeats."""
    return _drawn(plots.PALETTE[number % len(plots.PALETTE)], plots.marker(number))


def _drawn(colour: str, marker: str) -> dict:
    path = " ".join(f"{x:.3g} {-y:.3g}" for x, y in _outline(marker))
    return {"light": colour, "dark": _on_dark(colour), "path": f"M{path}Z"}


@lru_cache
def _on_dark(colour: str) -> str:
    """Mix a colour with white until it stands out from a dark page by 3.5 : 1, above the 3 : 1 of WCAG 1.4.11."""
    paper = _luminance(_channels(_DARK_PAPER)) + 0.05
    channels = _channels(colour)
    for white in np.linspace(0, 1, 41):
        mixed = channels * (1 - white) + white
        if _luminance(mixed) + 0.05 >= 3.5 * paper:
            break
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in mixed)


def _channels(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def _luminance(channels: np.ndarray) -> float:
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ _WEIGHTS)


@lru_cache
def _outline(marker: str) -> np.ndarray:
    """Return a marker of Matplotlib as a polygon about (0, 0), about one unit wide, y up."""
    style = MarkerStyle(marker)
    # Matplotlib flattens curves for the size at which they are drawn: enlarge, flatten, and shrink again
    enlarged = style.get_path().transformed(style.get_transform().scale(20))
    return enlarged.to_polygons()[0] / 20


# ---- pictures


def _picture(scene: _Scene, record: Record, theme: str, names: Sequence[str], most: int) -> bytes:
    """Draw maps side by side as SVG on no ground, so that the page's own shows through.

    Each class is one path without a line, and SVG sets a marker on each of its corners: some 8 bytes a point.
    """
    shown = np.arange(0, len(scene.labels), -(-len(scene.labels) // most))  # images come shuffled: every k-th is fair
    labels, placed = scene.labels[shown], scene.placed[scene.records.index(record)]
    inner = _SIDE - 2 * _MARGIN
    corners = [
        np.round(10 * (placed[name][shown] * [inner, -inner] + [place * _SIDE + _MARGIN, _SIDE - _MARGIN])) / 10
        for place, name in enumerate(names)
    ]
    size = 5.5 if len(shown) <= 1000 else 4
    shapes = []
    for number in np.unique(labels):
        style, mine = _style(int(number)), np.concatenate([points[labels == number] for points in corners])
        path = " ".join(f"{x:g} {y:g}" for x, y in mine)
        mark = f"url(#c{number})"
        shapes.append(
            f'<marker id="c{number}" markerUnits="userSpaceOnUse" overflow="visible"><path transform="scale({size})" '
            f'fill="{style[theme]}" fill-opacity=".85" d="{style["path"]}"/></marker>'
            f'<path fill="none" marker-start="{mark}" marker-mid="{mark}" marker-end="{mark}" d="M{path}"/>'
        )
    box = f'viewBox="0 0 {_SIDE * len(names)} {_SIDE}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{"".join(shapes)}</svg>\n'.encode()


def _thumbnail_map(record: Record) -> str:
    names = _map_names(record)
    return next((name for name in _THUMBNAIL_OF if name in names), names[0])


def _sprites(scene: _Scene) -> bytes:
    """Return all thumbnails in one sheet, row by row, as WebP."""
    height, width = scene.tile
    tiles = [_tile(thumbnail, width, height) for thumbnail in scene.thumbnails]
    sheet = Image.new(tiles[0].mode, (scene.columns * width, scene.lines * height))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % scene.columns * width, number // scene.columns * height))
    stream = io.BytesIO()
    sheet.save(stream, "WEBP", quality=75)
    return stream.getvalue()


def _tile(thumbnail: np.ndarray, width: int, height: int) -> Image.Image:
    image = Image.fromarray(thumbnail[..., 0] if thumbnail.shape[-1] == 1 else thumbnail)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _chosen(records: Sequence[Record], methods: int) -> list[Record]:
    """Return the rows for the README's picture, in the order of the table."""
    unlabelled = [record for record in records if record.kind == "method" and record.measures.get("knn")]
    wanted = [
        records[0],
        next((record for record in records if "untrained" in record.method.lower()), None),
        max(unlabelled, key=lambda record: record.mean("knn"), default=None),
        next((record for record in records if record.kind == "supervised"), None),
    ]
    kept = [record for record in wanted if record is not None] + list(records)
    first = {id(record) for record in list({id(record): record for record in kept}.values())[:methods]}
    return [record for record in records if id(record) in first]


def _still_panel(ax, scene: _Scene, record: Record, name: str) -> None:
    placed = scene.placed[scene.records.index(record)]
    ax.set_aspect("equal")
    for side in ax.spines.values():
        side.set(visible=True, color="#dddddd")
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=[], yticks=[])
    if name not in placed:
        ax.text(0.5, 0.5, f"no {name} map stored", ha="center", va="center")
        return
    plots.scatter_map(placed[name], scene.labels, scene.class_names, ax, legend=False)
    ax.set_xlabel(f"{name}, trustworthiness {record.maps[name]['trustworthiness']:.2f}", fontsize=9)


# ---- the front page


def _opening(scenes: Sequence[_Scene], assets: str, pages: str) -> str:
    """Return what meets the eye first: the same images seen in a few ways that differ."""
    if not scenes:
        return ""
    scene = max(scenes, key=_contrast)
    chosen = _chosen(scene.records, 4)
    thumbnails = "\n".join(_thumbnail(scene, record, assets, pages) for record in chosen)
    ways = ("one way", "two ways", "three ways", "four ways")[len(chosen) - 1]
    return f"""<section class="gallery-opening" aria-labelledby="gallery-opening">
<h2 id="gallery-opening">The same {counted(len(scene.labels), "image")}, seen in {ways}</h2>
<div class="gallery-thumbnails">
{thumbnails}
</div>
</section>"""


def _contrast(scene: _Scene) -> float:
    """Return how far the rows that stand for a scene lie apart by kNN."""
    scored = [record.mean("knn") for record in _chosen(scene.records, 4) if record.measures.get("knn")]
    return max(scored) - min(scored) if len(scored) > 1 else 0.0


def _contents(chapters: Sequence[str]) -> str:
    if len(chapters) < 2:
        return ""
    links = "".join(f'<li><a href="#gallery-{slug(name)}">{escape(chapter_title(name))}</a></li>' for name in chapters)
    return f'<nav class="gallery-contents" aria-label="Chapters in the gallery"><ul>{links}</ul></nav>'


def _chapter(chapter: str, scenes: Sequence[_Scene], bare: Sequence[Record], assets: str, pages: str) -> str:
    title = escape(chapter_title(chapter))
    parts = [
        f'<section class="gallery-chapter" aria-labelledby="gallery-{slug(chapter)}">',
        f'<h2 id="gallery-{slug(chapter)}">{title}</h2>',
        f'<p><a href="../notebooks/{slug(chapter)}.html">Read the chapter {title}</a></p>',
        *(_multiples(scene, assets, pages) for scene in scenes),
    ]
    if bare:
        names = "; ".join(f"<strong>{escape(record.method)}</strong> ({_trouble(record)})" for record in bare)
        parts.append(f'<p class="gallery-bare">Not drawn: {names}.</p>')
    return "\n".join([*parts, "</section>"])


def _spoken(data: str) -> str:
    return (data[:1].upper() + data[1:]).replace("-", " ")


def _multiples(scene: _Scene, assets: str, pages: str) -> str:
    thumbnails = "\n".join(_thumbnail(scene, record, assets, pages) for record in scene.records)
    return f"""<h3>{escape(_spoken(scene.data))}</h3>
<p><a href="{pages}/{scene.name}.html">Explore {counted(len(scene.labels), "image")} in
{counted(len(scene.records), "row")} of {escape(chapter_title(scene.chapter))}</a></p>
<div class="gallery-thumbnails">
{thumbnails}
</div>"""


def _thumbnail(scene: _Scene, record: Record, assets: str, pages: str) -> str:
    name = _thumbnail_map(record)
    alt = f"{name} map of {len(scene.labels):,} images of {scene.data} by {record.method}"
    knn = f"kNN {record.mean('knn'):.2f}" if record.measures.get("knn") else "not scored by kNN"
    pictures = _images(f"{assets}/{scene.name}/{slug(record.method)}-thumbnail", alt, 1)
    return (
        f'<a class="gallery-thumb gallery-{record.kind}" href="{pages}/{scene.name}.html#{slug(record.method)}">'
        f'{pictures}<span class="gallery-name">{escape(record.method)}</span>'
        f"<span>{knn}</span><span>{_KINDS[record.kind]}</span></a>"
    )


def _images(address: str, alt: str, maps: int) -> str:
    size = f'width="{_SIDE * maps}" height="{_SIDE}" loading="lazy" decoding="async"'
    return "".join(
        f'<img class="only-{theme}" src="{address}-{theme}.svg" alt="{escape(alt)}" {size}>'
        for theme in ("light", "dark")
    )


# ---- a scene's page


def _scene(scene: _Scene, assets: str, up: str) -> str:
    chapter = escape(chapter_title(scene.chapter))
    cards = "\n".join(_card(scene, record, assets) for record in scene.records)
    return f"""<h1>{escape(scene.title)}</h1>
<div class="course-gallery gallery-scene" data-scene="{scene.name}" data-assets="{assets}">
<p class="gallery-ways"><a href="{up}gallery.html">All of the gallery</a>
<a href="{up}../notebooks/{slug(scene.chapter)}.html">The chapter {chapter}</a></p>
<p>Each mark is one of {counted(len(scene.labels), "image")}; colour and shape tell its class.</p>
{_live(scene)}
<h2 id="gallery-rows">All rows</h2>
{_legend(scene)}
{_sample_note(scene)}<div class="gallery-cards">
{cards}
</div>
</div>"""


def _sample_note(scene: _Scene) -> str:
    step = -(-len(scene.labels) // _MOST["strip"])
    return f"<p>Of every {step} images these pictures show one; the maps above show all.</p>\n" if step > 1 else ""


def _legend(scene: _Scene) -> str:
    items = []
    for number, name in enumerate(scene.class_names):
        items.append(f"<li>{_swatch(number)}{escape(name)}</li>")
    return f'<ul class="gallery-legend" aria-label="Classes">{"".join(items)}</ul>'


def _swatch(number: int) -> str:
    style = _style(number)
    colours = f"--light:{style['light']};--dark:{style['dark']}"
    shape = f'<path d="{style["path"]}"/>'
    return f'<svg aria-hidden="true" viewBox="-.6 -.6 1.2 1.2" style="{colours}">{shape}</svg>'


def _card(scene: _Scene, record: Record, assets: str) -> str:
    names, name = _map_names(record), slug(record.method)
    address = f"{assets}/{scene.name}/{name}"
    alt = (
        f"{', '.join(names)}: maps of {record.method} on {scene.data}, side by side; "
        f"{counted(len(scene.labels), 'image')} marked by class."
    )
    of = f'<span class="gallery-hidden"> of {escape(record.method)}</span>'
    return f"""<article class="gallery-card gallery-{record.kind}" id="{name}">
<h3>{escape(record.method)}</h3>
<p class="gallery-kind">{escape(_about(record))}</p>
{_images(address, alt, len(names))}
<div class="gallery-qualities">{"".join(_under(name, record.maps[name]) for name in names)}</div>
<dl class="gallery-scores">{_entries(_scores(record))}</dl>
<p class="gallery-files"><a class="gallery-open" href="#{name}" hidden>Explore{of}</a>
<a href="{address}.csv" download="{scene.name}-{name}.csv">Coordinates (CSV){of}</a>
<a href="{address}-light.svg" download="{scene.name}-{name}.svg">Picture (SVG){of}</a></p>
</article>"""


def _about(record: Record) -> str:
    """Say how a row's features came about: its kind, its width, and whose weights they are."""
    weights = record.about.get("weights") or "none"
    source = [] if weights == "none" else [f"weights: {weights}"]
    return ", ".join([_KINDS[record.kind], counted(record.dimensions, "dimension"), *source])


def _under(name: str, quality: dict[str, float]) -> str:
    """Return what stands under a map: its name and how far to trust it."""
    return f"<div><strong>{escape(name)}</strong><dl>{_entries(_quality(quality))}</dl></div>"


def _entries(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(title)}</dt><dd>{escape(value)}</dd></div>" for title, value in pairs)


def _quality(quality: dict[str, float]) -> list[tuple[str, str]]:
    return [(title, f"{quality[key]:.2f}") for key, title in _QUALITY.items() if key in quality]


def _scores(record: Record) -> list[tuple[str, str]]:
    """Return the row's line of the scorecard, without what it does not hold."""
    return [(MEASURES[key].title, written(record, key)) for key in MEASURES if record.measures.get(key)]


def _live(scene: _Scene) -> str:
    """Return the explorer as it begins; ``gallery.js`` brings it to life. All controls are the browser's own.

    It holds the first row's numbers, so that nothing on the page moves when the script takes over.
    """
    first = scene.records[0]
    picks = "".join(
        f'<button type="button" aria-pressed="false">{_swatch(number)}{escape(scene.class_names[number])}</button>'
        for number in np.unique(scene.labels)
    )
    rows = _options([(slug(record.method), record.method) for record in scene.records])
    series = _options([("", "all rows"), *((slug(title), title) for title, _ in _series(scene.records))])
    panels = "\n".join(
        f'<figure><figcaption><strong>{escape(name)}</strong></figcaption><div class="gallery-panel">'
        f'<canvas tabindex="0" role="application" aria-roledescription="map" aria-describedby="gallery-keys" '
        f'aria-label="{escape(name)} map"></canvas></div>'
        f'<dl class="gallery-quality">{_entries(_quality(first.maps.get(name, {})))}</dl></figure>'
        for name in scene.maps
    )
    last = len(scene.labels) - 1
    return f"""<section class="gallery-live" aria-label="Explore the maps" inert>
<div class="gallery-controls">
<label>Features <select name="row">{rows}</select></label>
<label class="gallery-slide"><span>Slide through <output></output></span>
<input type="range" name="step" min="0" max="{len(scene.records) - 1}" step="1" value="0"></label>
<button type="button" name="play" aria-pressed="false">Play</button>
<label>Sequence <select name="series">{series}</select></label>
<label>Colour by <select name="colour">{_options([("class",) * 2, ("cluster",) * 2, ("error",) * 2])}</select></label>
<label>Image <input type="number" name="image" min="0" max="{last}" step="1" placeholder="0 to {last}"></label>
</div>
<div class="gallery-picks" role="group" aria-label="Show only some groups">{picks}</div>
<div class="gallery-panels">
{panels}
</div>
<dl class="gallery-scores">{_entries(_scores(first))}</dl>
<div class="gallery-tools">
<label>Dragging <select name="drag">{_options(_DRAGS)}</select></label>
<button type="button" name="in">Zoom in</button>
<button type="button" name="out">Zoom out</button>
<button type="button" name="fit" disabled>Zoom to selected</button>
<button type="button" name="reset">Start again</button>
<span class="gallery-shares"><button type="button" name="share">Copy link</button>
<a class="gallery-csv" download>Coordinates (CSV)</a>
<button type="button" name="picture">Picture (SVG)</button></span>
</div>
<p class="gallery-told" role="status"></p>
<p class="gallery-spoken gallery-hidden" role="status"></p>
<div class="gallery-below">
<div class="gallery-inspector" role="region" aria-label="The image"></div>
<div>
<p class="gallery-status" role="status"></p>
<ul class="gallery-selected" aria-label="Selected images"></ul>
</div>
</div>
<p class="gallery-hint" id="gallery-keys">On a map the arrow keys go from image to image, Enter selects, plus and minus
zoom. What is selected or magnified in one map is so in all. To zoom, pinch or turn the wheel with Ctrl held.</p>
<details><summary>Clusters: the image in the middle of each</summary>
<div class="gallery-scroll" role="region" aria-label="Clusters" tabindex="0">
<table class="gallery-medoids"><caption>The image in the middle of each k-means cluster (on the
{escape(scene.maps[0])} map), and what the cluster holds</caption>
<thead><tr><th scope="col">Cluster</th><th scope="col">Image</th><th scope="col">Its class</th>
<th scope="col">Images</th><th scope="col">Most frequent class</th></tr></thead>
<tbody></tbody></table>
</div>
</details>
</section>"""


_DRAGS = [
    ("box", "selects a box"),
    ("lasso", "selects by outline"),
    ("pan", "moves the map"),
    ("", "scrolls the page"),
]


def _options(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<option value="{escape(value)}">{escape(name)}</option>' for value, name in pairs)


def _series(records: Sequence[Record]) -> list[tuple[str, list[int]]]:
    """Find the rows that differ in one number only, as layers, widths, noise levels, betas and epochs do.

    Returns
    -------
    list of (str, list of int)
        For each sequence of three rows or more its name and the rows' places, by rising number.
    """
    found: dict[tuple[str, str], dict[Fraction, tuple[str, int]]] = {}
    for place, record in enumerate(records):
        for number in re.finditer(r"(?<![\w./])\d+(?:\.\d+|/[1-9]\d*)?(?![\w./])", record.method):
            around = record.method[: number.start()], record.method[number.end() :]
            found.setdefault(around, {}).setdefault(Fraction(number.group()), (number.group(), place))
    named = []
    for (before, after), entries in found.items():
        if len(entries) >= 3:
            rising = [entries[number] for number in sorted(entries)]
            named.append((f"{before}{rising[0][0]} to {rising[-1][0]}{after}", [place for _, place in rising]))
    return named


# ---- what the explorer loads, and what readers take away


def _points_script(scene: _Scene) -> bytes:
    text = json.dumps(_points(scene), allow_nan=False, separators=(",", ":"))
    return f'(window.courseGallery ||= {{}})["{scene.name}"] = {text};\n'.encode()


def _points(scene: _Scene) -> dict:
    """Return everything that the explorer shows of a scene."""
    height, width = scene.tile
    scale = _SHOWN / max(height, width)
    groups = max(int(max(record.arrays["clusters"].max() for record in scene.records)) + 1, len(scene.class_names))
    return {
        "title": scene.title,
        "maps": scene.maps,
        "count": len(scene.labels),
        "classes": scene.class_names,
        "labels": _packed(scene.labels),
        "styles": [_style(number) for number in range(groups)],
        "errors": [_drawn(*_RIGHT), _drawn(*_WRONG)],
        "series": {slug(title): places for title, places in _series(scene.records)},
        "sprites": {
            "file": scene.sheet,
            "columns": scene.columns,
            "rows": scene.lines,
            "width": width * scale,
            "height": height * scale,
        },
        "rows": [_row(scene, number) for number in range(len(scene.records))],
    }


def _row(scene: _Scene, number: int) -> dict:
    record = scene.records[number]
    return {
        "name": record.method,
        "slug": slug(record.method),
        "about": _about(record),
        "clusters": _packed(record.arrays["clusters"]),
        "medoids": _medoids(record),
        "scores": _scores(record),
        "quality": {name: _quality(record.maps[name]) for name in scene.placed[number]},
        "maps": {name: _packed(np.round(points * 65535)) for name, points in scene.placed[number].items()},
        "neighbours": _packed(_neighbours(record)),
    }


def _neighbours(record: Record) -> np.ndarray:
    """Return the images nearest to each by its features, shape (n, k); k is 0 where none are stored."""
    count = len(record.arrays["labels"])
    stored = record.arrays.get("neighbours", np.empty((count, 0), int))
    fits = stored.ndim == 2 and len(stored) == count and ((stored >= 0) & (stored < count)).all()
    return stored[:, :5] if fits else stored[:0]


def _packed(values: np.ndarray) -> str:
    """Return whole numbers below 65,536 as base64 of little-endian 16-bit words: a third of their JSON."""
    return base64.b64encode(np.asarray(values).astype("<u2").tobytes()).decode()


def _coordinates(scene: _Scene, record: Record) -> bytes:
    """Return the stored coordinates as CSV, with each image's class and cluster."""
    names = _map_names(record)
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(["image", "class", "cluster", *(f"{name} {axis}" for name in names for axis in "xy")])
    points = np.hstack([record.arrays[name] for name in names])
    classes = [scene.class_names[label] for label in scene.labels]
    for image, numbers in enumerate(points):
        place = [image, classes[image], record.arrays["clusters"][image]]
        lines.writerow([*place, *(f"{number:.6g}" for number in numbers)])
    return stream.getvalue().encode()

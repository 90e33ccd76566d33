"""The gallery: every stored map as a picture, and on request as something to explore.

The front of the page are small multiples, one card for each method, that need no JavaScript. A button opens a
chapter's maps in BokehJS: PCA, t-SNE and UMAP side by side with one selection, and the images themselves.

What the page shows lies in files of its own (`write_assets`), not in the page: pictures are fetched when they are
scrolled to, points and thumbnails when a reader asks to explore, and the page stays a few kilobytes. The points come
as a script rather than as JSON, because a page opened from a disk may load scripts but may not fetch files.

Rows that show the same images form a *scene*: their points move from map to map, and they share one sprite sheet.
A map's orientation and scale mean nothing in t-SNE and UMAP, and its signs mean nothing in PCA; so each map is
fitted into the unit square and turned (PCA: mirrored only) to lie like that of the scene's first row. Distances
within a map keep their proportions.

The page is made from the results store alone: no kernel, no network, no Keras.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
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

__all__ = ["ASSETS", "gallery_html", "still", "write_assets"]

ASSETS = "_static/gallery"  # below the site's root

_MAPS = ("PCA", "t-SNE", "UMAP")
_QUALITY = {"trustworthiness": "trustworthiness", "continuity": "continuity", "neighbours_kept": "neighbours kept"}
_KINDS = {"baseline": "baseline", "method": "learned without labels", "supervised": "learned from labels"}
_DARK_PAPER = "#1c232b"  # what the book puts behind a card at night
_WEIGHTS = (0.2126, 0.7152, 0.0722)  # of red, green and blue in the relative luminance of sRGB
_SIDE, _MARGIN = 200, 12  # units of a map in a picture, and of its edge that stays free
_TILE = 64  # pixels: the longer side of a thumbnail in the sprite sheet, at most
_SHOWN = 56  # CSS pixels: the longer side of a thumbnail on the page

# BokehJS's names of Matplotlib's markers, and the turn (radians, anticlockwise) that makes them the same shape
_BOKEH_MARKERS = {
    "o": ("circle", 0.0),
    "s": ("square", 0.0),
    "^": ("triangle", 0.0),
    "v": ("inverted_triangle", 0.0),
    "<": ("triangle", math.pi / 2),
    ">": ("triangle", -math.pi / 2),
    "D": ("square", math.pi / 4),
    "P": ("plus", 0.0),
    "X": ("plus", math.pi / 4),
    "*": ("star", 0.0),
    "h": ("hex", 0.0),
}


def gallery_html(records: Sequence[Record], bokeh_base: str, assets_base: str = f"../{ASSETS}") -> str:
    """Return the gallery as one HTML fragment; `write_assets` writes the files that it shows.

    Parameters
    ----------
    records : sequence of Record
    bokeh_base : str
        The address, relative to the page, of the folder with ``bokeh.min.js``.
    assets_base : str
        The address, relative to the page, of the folder that `write_assets` filled.

    Returns
    -------
    str
        Needs ``gallery.css`` and, to explore, ``gallery.js``.

    Raises
    ------
    ValueError
        If the store is empty.
    """
    scenes = _scenes(records)
    chapters = list(dict.fromkeys(record.chapter for record in records))
    parts = [f'<div class="course-gallery" data-bokeh="{escape(bokeh_base.rstrip("/"))}">', _contents(chapters)]
    for chapter in chapters:
        mine = [scene for scene in scenes if scene.chapter == chapter]
        bare = [record for record in records if record.chapter == chapter and not _map_names(record)]
        parts.append(_chapter(chapter, mine, bare, assets_base.rstrip("/")))
    return "\n".join([*parts, "</div>"])


def write_assets(records: Sequence[Record], folder: Path | str) -> list[Path]:
    """Write the files that the gallery shows: pictures, sprite sheets, and points.

    For each scene ``<scene>/<method>-light.svg`` and ``-dark.svg`` (a row's maps side by side) and ``points.js``;
    for each set of images a sprite sheet, which scenes share.

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
            for theme in ("light", "dark"):
                files[f"{scene.name}/{slug(record.method)}-{theme}.svg"] = _strip(scene, record, theme)
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
    shape = (len(record.arrays["labels"]), 2)
    stored = [name for name in record.maps if name in record.arrays and record.arrays[name].shape == shape]
    return sorted((name for name in stored if np.isfinite(record.arrays[name]).all()), key=_map_order)


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
    colour = plots.PALETTE[number % len(plots.PALETTE)]
    marker = plots.marker(number)
    name, angle = _BOKEH_MARKERS[marker]
    path = " ".join(f"{x:.3g} {-y:.3g}" for x, y in _outline(marker))
    return {"light": colour, "dark": _on_dark(colour), "marker": name, "angle": angle, "path": f"M{path}Z"}


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


def _strip(scene: _Scene, record: Record, theme: str) -> bytes:
    """Draw a row's maps side by side as SVG on no ground, so that the page's own shows through.

    Each class is one path without a line, and SVG sets a marker on each of its corners: some 8 bytes a point.
    """
    names, placed = _map_names(record), scene.placed[scene.records.index(record)]
    inner = _SIDE - 2 * _MARGIN
    corners = [
        np.round(10 * (points * [inner, -inner] + [place * _SIDE + _MARGIN, _SIDE - _MARGIN])) / 10
        for place, points in enumerate(placed[name] for name in names)
    ]
    size = 5.5 if len(scene.labels) <= 1000 else 4
    shapes = []
    for number in np.unique(scene.labels):
        style, mine = _style(int(number)), np.concatenate([points[scene.labels == number] for points in corners])
        path = " ".join(f"{x:g} {y:g}" for x, y in mine)
        mark = f"url(#c{number})"
        shapes.append(
            f'<marker id="c{number}" markerUnits="userSpaceOnUse" overflow="visible"><path transform="scale({size})" '
            f'fill="{style[theme]}" fill-opacity=".85" d="{style["path"]}"/></marker>'
            f'<path fill="none" marker-start="{mark}" marker-mid="{mark}" marker-end="{mark}" d="M{path}"/>'
        )
    box = f'viewBox="0 0 {_SIDE * len(names)} {_SIDE}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{"".join(shapes)}</svg>\n'.encode()


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


# ---- the page


def _contents(chapters: Sequence[str]) -> str:
    if len(chapters) < 2:
        return ""
    links = "".join(f'<li><a href="#gallery-{slug(name)}">{escape(chapter_title(name))}</a></li>' for name in chapters)
    return f'<nav class="gallery-contents" aria-label="Chapters in the gallery"><ul>{links}</ul></nav>'


def _chapter(chapter: str, scenes: Sequence[_Scene], bare: Sequence[Record], assets: str) -> str:
    title = escape(chapter_title(chapter))
    parts = [
        f'<section aria-labelledby="gallery-{slug(chapter)}">',
        f'<h2 id="gallery-{slug(chapter)}">{title}</h2>',
        f'<p><a href="../notebooks/{slug(chapter)}.html">Read the chapter {title}</a></p>',
        *(_scene(scene, assets) for scene in scenes),
    ]
    if bare:
        names = "; ".join(f"<strong>{escape(record.method)}</strong>" for record in bare)
        parts.append(f"<p>No map is stored of: {names}.</p>")
    return "\n".join([*parts, "</section>"])


def _scene(scene: _Scene, assets: str) -> str:
    cards = "\n".join(_card(scene, record, assets) for record in scene.records)
    return f"""<section class="gallery-scene" data-scene="{scene.name}" data-assets="{assets}">
<h3>{escape(scene.data[:1].upper() + scene.data[1:])}</h3>
<p>Each mark is one of {counted(len(scene.labels), "image")}; colour and shape tell its class.</p>
{_legend(scene)}
<p class="gallery-open"><button type="button" class="gallery-explore" aria-expanded="false"
 aria-controls="{scene.name}-live" hidden>Explore interactively</button> <span role="status"></span></p>
{_live(scene)}
<div class="gallery-cards">
{cards}
</div>
</section>"""


def _legend(scene: _Scene) -> str:
    items = []
    for number, name in enumerate(scene.class_names):
        style = _style(number)
        colours = f"--light:{style['light']};--dark:{style['dark']}"
        shape = f'<path d="{style["path"]}"/>'
        swatch = f'<svg aria-hidden="true" viewBox="-.6 -.6 1.2 1.2" style="{colours}">{shape}</svg>'
        items.append(f"<li>{swatch}{escape(name)}</li>")
    return f'<ul class="gallery-legend" aria-label="Classes">{"".join(items)}</ul>'


def _card(scene: _Scene, record: Record, assets: str) -> str:
    names = _map_names(record)
    alt = (
        f"{', '.join(names)}: maps of {record.method} on {scene.data}, side by side; "
        f"{len(scene.labels):,} images marked by {len(scene.class_names)} classes."
    )
    size = f'width="{_SIDE * len(names)}" height="{_SIDE}" loading="lazy" decoding="async"'
    picture = f"{assets}/{scene.name}/{slug(record.method)}"
    pictures = "".join(
        f'<img class="only-{theme}" src="{picture}-{theme}.svg" alt="{escape(alt)}" {size}>'
        for theme in ("light", "dark")
    )
    return f"""<article class="gallery-card gallery-{record.kind}">
<h4>{escape(record.method)}</h4>
<p class="gallery-kind">{_KINDS[record.kind]}, {counted(record.dimensions, "dimension")}</p>
{pictures}
<div class="gallery-qualities">{"".join(_under(name, record.maps[name]) for name in names)}</div>
<dl class="gallery-scores">{_scores(record)}</dl>
</article>"""


def _under(name: str, quality: dict[str, float]) -> str:
    """Return what stands under a map: its name and how far to trust it."""
    entries = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in _quality(quality))
    return f"<div><strong>{escape(name)}</strong><dl>{entries}</dl></div>"


def _quality(quality: dict[str, float]) -> list[tuple[str, str]]:
    return [(title, f"{quality[key]:.2f}") for key, title in _QUALITY.items() if key in quality]


def _scores(record: Record) -> str:
    """Return the row's scorecard as entries of a list."""
    held = [key for key in MEASURES if record.measures.get(key)]
    return "".join(f"<div><dt>{escape(MEASURES[key].title)}</dt><dd>{written(record, key)}</dd></div>" for key in held)


def _live(scene: _Scene) -> str:
    """Return the frame of the explorer; ``gallery.js`` fills it. All controls are the browser's own."""
    options = "".join(
        f'<option value="{number}">{escape(record.method)}</option>' for number, record in enumerate(scene.records)
    )
    panels = "\n".join(
        f'<figure><figcaption><strong>{escape(name)}</strong> <span data-quality="{number}"></span></figcaption>'
        f'<div class="gallery-panel" id="{scene.name}-{number}"></div></figure>'
        for number, name in enumerate(scene.maps)
    )
    return f"""<div class="gallery-live" id="{scene.name}-live" hidden>
<div class="gallery-controls">
<label>Features <select name="method">{options}</select></label>
<label>Colour by <select name="colour"><option value="labels">class</option><option value="clusters">cluster</option>
</select></label>
<label>Dragging <select name="drag"><option value="box">selects a box</option><option value="lasso">selects by
 outline</option><option value="pan">moves the map</option><option value="">scrolls the page</option></select></label>
<span class="gallery-buttons"><button type="button" name="in">Zoom in</button>
<button type="button" name="out">Zoom out</button>
<button type="button" name="fit" disabled>Zoom to selected</button>
<button type="button" name="reset">Show everything</button></span>
</div>
<div class="gallery-picks" role="group" aria-label="Select all images of a group"></div>
<div class="gallery-panels">
{panels}
</div>
<p class="gallery-hint">Point at a mark to see its image; what is selected in one map is selected in all.
To zoom, pinch or turn the wheel with Ctrl held.</p>
<div class="gallery-below">
<div>
<p class="gallery-status" role="status"></p>
<ul class="gallery-selected" aria-label="Selected images"></ul>
</div>
<div class="gallery-scroll" role="region" aria-label="Clusters" tabindex="0">
<table class="gallery-medoids"><caption>The image in the middle of each k-means cluster (on the
{escape(scene.maps[0])} map), and what the cluster holds</caption>
<thead><tr><th scope="col">Cluster</th><th scope="col">Image</th><th scope="col">Its class</th>
<th scope="col">Images</th><th scope="col">Most frequent class</th></tr></thead>
<tbody></tbody></table>
</div>
</div>
</div>"""


# ---- what the explorer loads


def _points_script(scene: _Scene) -> bytes:
    text = json.dumps(_points(scene), allow_nan=False, separators=(",", ":"))
    return f'(window.courseGallery ||= {{}})["{scene.name}"] = {text};\n'.encode()


def _points(scene: _Scene) -> dict:
    """Return everything that the explorer shows of a scene."""
    height, width = scene.tile
    scale = _SHOWN / max(height, width)
    groups = max(int(max(record.arrays["clusters"].max() for record in scene.records)) + 1, len(scene.class_names))
    return {
        "bokeh": _panels(scene),
        "maps": scene.maps,
        "count": len(scene.labels),
        "classes": scene.class_names,
        "labels": _packed(scene.labels),
        "styles": [_style(number) for number in range(groups)],
        "sprites": {
            "file": scene.sheet,
            "columns": scene.columns,
            "rows": scene.lines,
            "width": width * scale,
            "height": height * scale,
        },
        "methods": [_method(scene, number) for number in range(len(scene.records))],
    }


def _method(scene: _Scene, number: int) -> dict:
    record = scene.records[number]
    return {
        "name": record.method,
        "clusters": _packed(record.arrays["clusters"]),
        "medoids": _medoids(record),
        "quality": {name: ", ".join(map(" ".join, _quality(record.maps[name]))) for name in scene.placed[number]},
        "maps": {name: _packed(np.round(points * 65535)) for name, points in scene.placed[number].items()},
    }


def _packed(values: np.ndarray) -> str:
    """Return whole numbers below 65,536 as base64 of little-endian 16-bit words: a third of their JSON."""
    return base64.b64encode(np.asarray(values).astype("<u2").tobytes()).decode()


def _panels(scene: _Scene) -> dict:
    """Return one Bokeh document with a panel for each map; they share one data source, hence one selection."""
    from bokeh.core.json_encoder import serialize_json  # here: whoever only reads the store needs no Bokeh
    from bokeh.document import Document
    from bokeh.models import ColumnDataSource

    columns = [f"{axis}{number}" for number in range(len(scene.maps)) for axis in "xy"]
    columns += ["colour", "marker", "angle", "class", "cluster", "left", "top"]
    source = ColumnDataSource({column: [] for column in columns}, name="points")
    document = Document(title="")
    roots = [_panel(source, number, scene) for number in range(len(scene.maps))]
    for root in roots:
        document.add_root(root)
    return {"document": json.loads(serialize_json(document.to_json())), "roots": [root.id for root in roots]}


def _panel(source, number: int, scene: _Scene):
    from bokeh import models
    from bokeh.plotting import figure

    drags = [models.BoxSelectTool(name="box"), models.LassoSelectTool(name="lasso"), models.PanTool(name="pan")]
    # the wheel alone scrolls the page: a map must not catch a reader who only passes over it
    wheel = models.WheelZoomTool(modifiers="ctrl")
    hover = models.HoverTool(tooltips=_tooltip(scene), attachment="horizontal", limit=3)
    panel = figure(
        tools=[*drags, wheel, models.TapTool(), hover],
        toolbar_location=None,
        active_drag=None,
        active_scroll=wheel,
        x_range=models.Range1d(-0.04, 1.04),
        y_range=models.Range1d(-0.04, 1.04),
        x_axis_location=None,
        y_axis_location=None,
        width=320,
        height=320,
        sizing_mode="scale_width",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border=0,
    )
    panel.grid.visible = False
    place = {"x": f"x{number}", "y": f"y{number}", "marker": "marker", "angle": "angle", "fill_color": "colour"}
    points = panel.add_glyph(source, models.Scatter(**place, size=8, line_color=None, fill_alpha=0.9))
    points.selection_glyph = models.Scatter(**place, size=9, line_color=None)
    points.nonselection_glyph = models.Scatter(**place, size=7, line_color=None, fill_alpha=0.16)
    points.hover_glyph = models.Scatter(**place, size=15, line_color="#808080", line_width=2)
    return panel


def _tooltip(scene: _Scene) -> str:
    # the tooltip stands in a shadow tree, which style sheets do not reach but inherited variables do
    height, width = (side * _SHOWN / max(scene.tile) for side in scene.tile)
    sheet = f"{width * scene.columns:g}px {height * scene.lines:g}px"
    return (
        f'<div style="display:flex;gap:8px;align-items:center"><div style="width:{width:g}px;height:{height:g}px;'
        f"background-image:var(--{scene.name}-sprites);background-size:{sheet};image-rendering:pixelated;"
        'background-position:-@left{0.0}px -@top{0.0}px"></div>'
        "<div>class <b>@class</b><br>@cluster<br>image $index</div></div>"
    )

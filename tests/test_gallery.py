"""The gallery: what its page says, what its files hold, and how it behaves in a browser."""

from __future__ import annotations

import base64
import csv
import functools
import http.server
import io
import itertools
import json
import re
import shutil
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from scipy.spatial import procrustes

from helpers import gallery, plots, scorecard
from helpers.results import Record

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
MAPS = ("PCA", "t-SNE", "UMAP")
COUNT, SIDE = 60, 8


@functools.cache
def images(seed=0):
    """Three classes: a bright left half, a bright right half, a bright upper half, each with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(COUNT) % 3
    pictures = rng.integers(0, 60, (COUNT, SIDE, SIDE, 1))
    pictures[labels == 0, :, : SIDE // 2] += 190
    pictures[labels == 1, :, SIDE // 2 :] += 190
    pictures[labels == 2, : SIDE // 2] += 190
    return pictures.astype(np.uint8), labels.astype(np.int64)


def record(method, seed=0, kind="method", chapter="one-chapter", data="halves", shown=0, maps=MAPS, **changed):
    pictures, labels = images(shown)
    rng = np.random.default_rng(seed + 10)
    # groups that keep apart, and marks that do not hide each other
    centres = np.array([[0, 0], [9, 2], [3, 8]])[labels]
    arrays = {name: (centres + rng.uniform(-2, 2, (COUNT, 2))).astype(np.float32) for name in maps}
    arrays |= {"labels": labels, "clusters": (labels + (rng.random(COUNT) < 0.2)) % 3, "thumbnails": pictures}
    measures = {key: [0.5 + seed / 100, 0.52 + seed / 100] for key in scorecard.MEASURES}
    quality = dict(trustworthiness=0.91 + seed / 100, continuity=0.81 + seed / 100, neighbours_kept=0.41 + seed / 100)
    fields = {"dimensions": 16, "seeds": [0, 1], "measures": measures, "maps": {name: dict(quality) for name in maps}}
    fields |= {"about": {"profile": "quick"}, "class_names": ["left", "right", "upper"], "arrays": arrays} | changed
    return Record(chapter, method, kind, data, **fields)


def store():
    return [
        record("raw pixels", kind="baseline"),
        record("autoencoder, 8", 1),
        record("supervised", 2, kind="supervised"),
        record("raw pixels", 3, kind="baseline", chapter="other-chapter"),
        record("contrastive", 4, chapter="other-chapter", shown=1, data="other halves"),
    ]


def page(records, **options):
    return BeautifulSoup(gallery.gallery_html(records, **options), "html.parser")


def scenes(records):
    return {made.name: BeautifulSoup(made.html, "html.parser") for made in gallery.scene_pages(records)}


def points(records, folder):
    """Write the assets and return what each scene's script hands to the page."""
    found = {}
    for path in gallery.write_assets(records, folder):
        if path.name == "points.js":
            name, text = re.fullmatch(r'\(window\.\w+ \|\|= \{\}\)\["(.+?)"\] = (.+);\n', path.read_text()).groups()
            assert name == path.parent.name
            found[name] = json.loads(text)
    return found


def words(text):
    return np.frombuffer(base64.b64decode(text), "<u2").astype(int)


def luminance(colour):
    """The relative luminance of WCAG 2, written from its definition."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# ---- the pages


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: gallery.gallery_html([]),
        lambda folder: gallery.scene_pages([]),
        lambda folder: gallery.write_assets([], folder),
        lambda folder: gallery.still([]),
    ],
)
def test_an_empty_store_is_told_in_one_sentence(make, tmp_path):
    with pytest.raises(ValueError, match=r"^The results store is empty: run `make book`[^.]*\.$"):
        make(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_front_has_under_each_chapter_a_thumbnail_of_each_row_that_leads_to_its_card():
    pages = scenes(store())
    chapters = page(store()).select(".gallery-chapter")
    assert [section.h2.get_text() for section in chapters] == ["One chapter", "Other chapter"]
    for section, chapter in zip(chapters, ("one-chapter", "other-chapter"), strict=True):
        rows = [row for row in store() if row.chapter == chapter]
        thumbnails = section.select(".gallery-thumb")
        assert [thumbnail.select_one(".gallery-name").get_text() for thumbnail in thumbnails] == [
            row.method for row in rows
        ]
        for thumbnail, row in zip(thumbnails, rows, strict=True):
            assert f"kNN {row.mean('knn'):.2f}" in thumbnail.get_text(" ")
            folder, file = thumbnail["href"].split("/")
            name, card = file.split(".html#")
            assert folder == gallery.PAGES
            assert pages[name].find(id=card).h3.get_text() == row.method


def test_the_front_begins_with_what_training_changes():
    rows = [
        record("raw pixels", kind="baseline"),
        record("worse", 1),
        record("untrained network", 2, kind="baseline"),
        record("better", 9),
        record("supervised", 4, kind="supervised"),
    ]
    opening = page([*rows, record("alone", chapter="other")]).select(".gallery-opening .gallery-name")
    assert [name.get_text() for name in opening] == ["raw pixels", "untrained network", "better", "supervised"]


def test_each_row_has_a_card_with_its_numbers_on_the_page_of_its_scene():
    rows = [row for row in store() if row.chapter == "one-chapter"]
    soup = scenes(store())["one-chapter--halves"]
    assert soup.h1.get_text() == "One chapter: halves"
    cards = soup.select(".gallery-card")
    for card, row in zip(cards, rows, strict=True):
        text = " ".join(card.get_text(" ").split())
        assert card.h3.get_text() == row.method
        for name in MAPS:
            assert f"{name} trustworthiness {row.maps[name]['trustworthiness']:.2f}" in text
        for key, measure in scorecard.MEASURES.items():
            assert f"{measure.title} {scorecard.written(row, key)}" in text


def test_a_card_says_whose_weights_made_the_features():
    rows = [record("pool 1", about={"weights": "random"}), record("trained here", 1, about={"weights": "none"})]
    kinds = [kind.get_text() for kind in scenes(rows)["one-chapter--halves"].select(".gallery-kind")]
    assert kinds == ["learned without labels, 16 dimensions, weights: random", "learned without labels, 16 dimensions"]


def test_pictures_and_downloads_exist_and_pictures_are_described(tmp_path):
    files = set(gallery.write_assets(store(), tmp_path / gallery.ASSETS))
    found = [(tmp_path / "book", page(store()))]
    found += [(tmp_path / "book" / gallery.PAGES, soup) for soup in scenes(store()).values()]
    for folder, soup in found:
        for picture in soup.find_all("img"):
            assert (folder / picture["src"]).resolve() in files
            assert any(row.method in picture["alt"] and row.data in picture["alt"] for row in store())
        for link in soup.select("a[download][href]"):
            assert (folder / link["href"]).resolve() in files
    assert len(found[0][1].select(".gallery-chapter img")) == 2 * len(store())


def test_the_pages_work_without_script():
    soups = [page(store()), *scenes(store()).values()]
    assert not any(soup.find_all("script") for soup in soups)
    for soup in soups:
        assert all(link.has_attr("hidden") for link in soup.select(".gallery-open"))
        assert not [each for each in soup.select("button, select, input") if not each.find_parent(inert=True)]


def test_names_are_unique_and_nothing_comes_from_elsewhere(tmp_path):
    pages = [gallery.gallery_html(store()), *(made.html for made in gallery.scene_pages(store()))]
    for html in pages:
        names = [tag["id"] for tag in BeautifulSoup(html, "html.parser").select("[id]")]
        assert len(names) == len(set(names))
    pages += [path.read_text() for path in gallery.write_assets(store(), tmp_path) if path.suffix != ".webp"]
    for text in pages:
        assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]", re.sub(r'"[\w+/=]{80,}"', "", text))


def test_names_cannot_break_out_of_the_page():
    rows = [record("<img src=x> & co", class_names=["<b>", "right", "upper"], data="a < b")]
    (made,) = gallery.scene_pages(rows)
    for html in (gallery.gallery_html(rows), made.html):
        assert "<img src=x>" not in html
        assert "<b>" not in html
    assert BeautifulSoup(made.html, "html.parser").select_one(".gallery-card h3").get_text() == "<img src=x> & co"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("no maps", "no map is stored"),
        ("no coordinates", "no map is stored"),
        ("NaN", "its coordinates hold values that are no numbers"),
        ("cut short", "its maps have other images than its labels"),
        ("no thumbnails", "no thumbnails are stored"),
        ("no images", "it holds no images"),
    ],
)
def test_a_row_whose_maps_cannot_be_drawn_is_named_with_the_reason_and_the_others_are_shown(damage, reason, tmp_path):
    broken = record("broken", 1)
    if damage == "no maps":
        broken.maps.clear()
    elif damage == "no thumbnails":
        del broken.arrays["thumbnails"]
    elif damage == "no images":
        broken.arrays.update({name: array[:0] for name, array in broken.arrays.items()})
    for name in MAPS:
        if damage == "NaN":
            broken.arrays[name][3, 1] = np.nan
        elif damage == "cut short":
            broken.arrays[name] = broken.arrays[name][:-1]
        elif damage == "no coordinates":
            del broken.arrays[name]
    rows = [record("whole"), broken]
    soup = page(rows)
    assert [name.get_text() for name in soup.select(".gallery-chapter .gallery-name")] == ["whole"]
    assert soup.select_one(".gallery-bare").get_text() == f"Not drawn: broken ({reason})."
    assert [row["name"] for scene in points(rows, tmp_path).values() for row in scene["rows"]] == ["whole"]
    alone = page([broken])
    assert alone.select_one(".gallery-bare").get_text() == f"Not drawn: broken ({reason})."
    assert gallery.scene_pages([broken]) == []
    assert gallery.write_assets([broken], tmp_path / "alone") == []


def test_one_class_alone_is_drawn(tmp_path):
    row = record("a", class_names=["left"])
    row.arrays["labels"] = row.arrays["clusters"] = np.zeros(COUNT, np.int64)
    (scene,) = points([row], tmp_path).values()
    assert scene["classes"] == ["left"]
    assert len(scene["rows"][0]["medoids"]) == 1
    assert [item.get_text() for item in scenes([row])["one-chapter--halves"].select(".gallery-legend li")] == ["left"]


def test_points_that_all_fall_together_are_drawn(tmp_path):
    row = record("collapsed")
    row.arrays.update({name: np.zeros((COUNT, 2), np.float32) for name in MAPS})
    (scene,) = points([row], tmp_path).values()
    assert set(words(scene["rows"][0]["maps"]["PCA"])) == {round(65535 / 2)}


def test_a_map_that_only_some_rows_have_is_left_out_of_the_others(tmp_path):
    rows = [record("two maps", maps=("PCA", "t-SNE")), record("three maps", 1)]
    (scene,) = points(rows, tmp_path).values()
    assert scene["maps"] == list(MAPS)
    assert [sorted(row["maps"]) for row in scene["rows"]] == [["PCA", "t-SNE"], sorted(MAPS)]


@pytest.mark.parametrize(
    ("neighbours", "kept"),
    [
        (np.arange(COUNT * 7).reshape(COUNT, 7) % COUNT, 5),
        (np.arange(COUNT * 2).reshape(COUNT, 2) % COUNT, 2),
        (np.full((COUNT, 5), COUNT), 0),
        (np.zeros((COUNT - 1, 5), int), 0),
        (np.zeros(COUNT, int), 0),
        (None, 0),
    ],
)
def test_stored_neighbours_are_handed_on_if_they_are_of_these_images(neighbours, kept, tmp_path):
    row = record("a")
    if neighbours is not None:
        row.arrays["neighbours"] = neighbours
    (scene,) = points([row], tmp_path).values()
    found = words(scene["rows"][0]["neighbours"])
    assert list(found) == ([] if not kept else list(neighbours[:, :kept].ravel()))


@pytest.mark.parametrize(
    ("methods", "found"),
    [
        (["untrained, pool 2", "raw", "untrained, pool 10", "untrained, pool 1"], [[3, 0, 2]]),
        (["VAE, beta 32", "VAE, beta 1/32", "VAE, beta 1", "AE"], [[1, 2, 0]]),
        (["noise 0.5", "noise 0.25", "noise 0", "L1", "L2", "L3"], [[2, 1, 0]]),
        (["epoch 1, width 8", "epoch 2, width 8", "epoch 4, width 8", "epoch 4, width 9"], [[0, 1, 2]]),
        (["pool 1", "pool 2"], []),
        (["PCA, 32", "autoencoder, 32", "sparse, 32"], []),
    ],
)
def test_rows_that_differ_in_one_number_form_a_sequence_by_that_number(methods, found, tmp_path):
    rows = [record(method, place) for place, method in enumerate(methods)]
    (scene,) = points(rows, tmp_path).values()
    assert list(scene["series"].values()) == found
    offered = scenes(rows)["one-chapter--halves"].select('[name="series"] option')
    assert [option["value"] for option in offered] == ["", *scene["series"]]


# ---- scenes and their files


def test_rows_share_a_scene_only_if_they_show_the_same_images(tmp_path):
    rows = [record("a"), record("b", 1), record("c", 2, shown=1), record("d", 3, data="others")]
    names = {name: [row["name"] for row in scene["rows"]] for name, scene in points(rows, tmp_path).items()}
    assert names == {
        "one-chapter--halves": ["a", "b"],
        "one-chapter--halves-2": ["c"],
        "one-chapter--others": ["d"],
    }


def test_the_same_images_are_stored_once(tmp_path):
    scenes = points(store(), tmp_path)
    assert len(list(tmp_path.glob("*.webp"))) == 2
    assert (
        scenes["one-chapter--halves"]["sprites"]["file"]
        == scenes["other-chapter--halves"]["sprites"]["file"]
        != scenes["other-chapter--other-halves"]["sprites"]["file"]
    )


@pytest.mark.parametrize("shape", [(SIDE, SIDE, 1), (12, 20, 3), (100, 50, 3)])
def test_each_thumbnail_lies_in_its_place_on_the_sheet(shape, tmp_path):
    height, width, channels = shape
    rng = np.random.default_rng(0)
    # one colour a picture: what WebP and the reduction of large pictures leave as it is
    colours = rng.integers(0, 256, (COUNT, 1, 1, channels))
    row = record("a")
    row.arrays["thumbnails"] = np.broadcast_to(colours, (COUNT, *shape)).astype(np.uint8)
    (scene,) = points([row], tmp_path).values()
    sprites = scene["sprites"]
    sheet = np.asarray(Image.open(tmp_path / sprites["file"]).convert("RGB"), float)
    tile = sheet.shape[0] // sprites["rows"], sheet.shape[1] // sprites["columns"]
    assert max(tile) == min(max(height, width), 64)
    assert sprites["width"] / sprites["height"] == pytest.approx(width / height)
    for number in range(COUNT):
        down, across = number // sprites["columns"], number % sprites["columns"]
        found = sheet[down * tile[0] : (down + 1) * tile[0], across * tile[1] : (across + 1) * tile[1]]
        assert np.abs(found.mean((0, 1)) - colours[number, 0, 0]).max() < 30


def test_labels_and_clusters_arrive_unchanged(tmp_path):
    rows = [row for row in store() if row.chapter == "one-chapter"]
    scene = points(rows, tmp_path)["one-chapter--halves"]
    assert (words(scene["labels"]) == rows[0].arrays["labels"]).all()
    for method, row in zip(scene["rows"], rows, strict=True):
        assert (words(method["clusters"]) == row.arrays["clusters"]).all()


def test_maps_keep_their_shape_and_fill_the_unit_square(tmp_path):
    rows = [row for row in store() if row.chapter == "one-chapter"]
    scene = points(rows, tmp_path)["one-chapter--halves"]
    for method, row in zip(scene["rows"], rows, strict=True):
        for name in MAPS:
            drawn = words(method["maps"][name]).reshape(-1, 2) / 65535
            assert procrustes(row.arrays[name], drawn)[2] < 1e-6  # same up to place, scale and turn
            assert np.ptp(drawn, axis=0).max() == pytest.approx(1, abs=1e-4)


def test_a_map_is_turned_to_lie_like_the_first_and_pca_only_mirrored(tmp_path):
    first, second = record("first"), record("second")
    angle = 2.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    second.arrays["UMAP"] = (first.arrays["UMAP"] @ turn * 7 + 3).astype(np.float32)
    second.arrays["t-SNE"] = first.arrays["t-SNE"] * np.float32([1, -1])
    second.arrays["PCA"] = (first.arrays["PCA"] @ turn).astype(np.float32)
    third = record("third")
    third.arrays["PCA"] = first.arrays["PCA"] * np.float32([-1, 1])
    (scene,) = points([first, second, third], tmp_path).values()
    one, other, mirrored = (
        {name: words(text).reshape(-1, 2) for name, text in method["maps"].items()} for method in scene["rows"]
    )
    assert np.abs(one["PCA"] - mirrored["PCA"]).max() < 30  # of 65,535
    assert np.abs(one["UMAP"] - other["UMAP"]).max() < 30
    assert np.abs(one["t-SNE"] - other["t-SNE"]).max() < 30
    kept = np.corrcoef(second.arrays["PCA"].T, other["PCA"].T)[:2, 2:]
    assert np.abs(np.diag(kept)) == pytest.approx([1, 1], abs=1e-3)  # axis for axis, up to the sign


def marks_in(path):
    """Return the marks of each class in a picture, and the colours of the classes."""
    picture = ElementTree.parse(path).getroot()
    space = {"svg": "http://www.w3.org/2000/svg"}
    size = tuple(map(float, picture.get("viewBox").split()[2:]))
    drawn = [re.findall(r"[\d.]+", each.get("d")) for each in picture.findall("svg:path", space)]
    marks = [np.array(each, float).reshape(-1, 2) for each in drawn]
    assert all(((each > 0) & (each < size)).all() for each in marks)
    return marks, [marker[0].get("fill") for marker in picture.findall("svg:marker", space)]


def test_a_picture_has_a_mark_for_each_image_and_map(tmp_path):
    row = store()[1]
    gallery.write_assets([row], tmp_path)
    colours, counts = {}, np.bincount(row.arrays["labels"])
    for theme in ("light", "dark"):
        small, _ = marks_in(tmp_path / "one-chapter--halves" / f"autoencoder-8-thumbnail-{theme}.svg")
        assert [len(each) for each in small] == list(counts)
        marks, colours[theme] = marks_in(tmp_path / "one-chapter--halves" / f"autoencoder-8-{theme}.svg")
        assert [len(each) for each in marks] == list(counts * len(MAPS))
        # the first class on the first map, upright: larger values of the second axis stand higher
        own = row.arrays["labels"] == 0
        assert np.corrcoef(marks[0][: own.sum(), 1], row.arrays["PCA"][own, 1])[0, 1] < -0.999
    assert colours["light"] == list(plots.PALETTE[:3])
    assert colours["dark"] != colours["light"]


def test_the_downloaded_coordinates_are_the_stored_ones(tmp_path):
    row = record("a", class_names=["left, or so", 'the "right"', "upper"])
    gallery.write_assets([row], tmp_path)
    with (tmp_path / "one-chapter--halves" / "a.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["image", "class", "cluster", *(f"{name} {axis}" for name in MAPS for axis in "xy")]
    assert [int(line["image"]) for line in lines] == list(range(COUNT))
    assert [line["class"] for line in lines] == [row.class_names[label] for label in row.arrays["labels"]]
    assert [int(line["cluster"]) for line in lines] == list(row.arrays["clusters"])
    for name in MAPS:
        read = np.array([[float(line[f"{name} {axis}"]) for axis in "xy"] for line in lines])
        assert np.allclose(read, row.arrays[name], rtol=1e-5)


def test_the_middle_image_of_a_cluster_is_the_nearest_to_all_others(tmp_path):
    row = record("a", maps=("PCA",))
    (scene,) = points([row], tmp_path).values()
    clusters, labels = row.arrays["clusters"], row.arrays["labels"]
    assert [medoid["cluster"] for medoid in scene["rows"][0]["medoids"]] == sorted(set(clusters))
    for medoid in scene["rows"][0]["medoids"]:
        members = [i for i in range(COUNT) if clusters[i] == medoid["cluster"]]
        where = row.arrays["PCA"].astype(float)
        totals = {i: sum(np.hypot(*(where[i] - where[j])) for j in members) for i in members}
        assert medoid["index"] == min(totals, key=totals.get)
        most = max(set(labels[members]), key=lambda label: (labels[members] == label).sum())
        assert (medoid["size"], medoid["main"]) == (len(members), most)
        assert medoid["share"] == pytest.approx(np.mean(labels[members] == most), abs=1e-4)


def test_classes_differ_in_look_even_where_there_are_more_of_them_than_colours(tmp_path):
    row = record("a", class_names=[f"class {number}" for number in range(28)])
    row.arrays["labels"] = (np.arange(COUNT) % 28).astype(np.int64)
    (scene,) = points([row], tmp_path).values()
    looks = [(style["light"], style["path"]) for style in scene["styles"]]
    assert len(set(looks)) == len(looks) == 28
    first = looks[: len(plots.PALETTE)]
    assert [colour for colour, _ in first] == list(plots.PALETTE)
    assert len({path for _, path in first}) == len(plots.MARKERS)  # legible without colour, too
    right, wrong = scene["errors"]
    assert right["path"] != wrong["path"]


def test_marks_stand_out_from_a_dark_page(tmp_path):
    row = record("a", class_names=[f"class {number}" for number in range(len(plots.PALETTE))])
    (scene,) = points([row], tmp_path).values()
    style = (STATIC / "course.css").read_text()
    dark = re.search(r'html\[data-theme="dark"\] \{(.+?)\}', style, re.DOTALL).group(1)
    surface = luminance(re.search(r"--pst-color-surface: (#\w{6})", dark).group(1))
    for style in scene["styles"] + scene["errors"]:
        assert (luminance(style["dark"]) + 0.05) / (surface + 0.05) >= 3  # WCAG 1.4.11


def many(count, method="method", seed=0, classes=10, **changed):
    rng = np.random.default_rng(seed)
    row = record(method, seed, **changed)
    row.arrays.update({name: rng.normal(size=(count, 2)).astype(np.float32) for name in MAPS})
    row.arrays["labels"] = row.arrays["clusters"] = np.arange(count) % classes
    row.arrays["thumbnails"] = np.resize(images()[0], (count, SIDE, SIDE, 1))
    return row


def test_the_pages_stay_light(tmp_path):
    names = list("abcdefghij")
    rows = [
        many(500, f"method {number}", number, chapter=chapter, class_names=names)
        for chapter, number in itertools.product(("one-chapter", "other-chapter"), range(10))
    ]
    assert len(gallery.gallery_html(rows)) < 40_000
    assert max(len(made.html) for made in gallery.scene_pages(rows)) < 60_000
    sizes = {path: path.stat().st_size for path in gallery.write_assets(rows, tmp_path)}
    assert max(size for path, size in sizes.items() if path.match("*-thumbnail-*.svg")) < 12_000
    assert max(size for path, size in sizes.items() if path.suffix == ".svg") < 30_000
    assert max(size for path, size in sizes.items() if path.suffix == ".js") < 150_000


def test_ten_thousand_points_with_long_class_names_leave_small_pictures_and_whole_data(tmp_path):
    names = [f"{number}: {'a name that does not end ' * 6}" for number in range(28)]
    row = many(10_000, classes=28, class_names=names)
    (scene,) = points([row], tmp_path).values()
    assert len(words(scene["rows"][0]["maps"]["UMAP"])) == 20_000
    folder = tmp_path / "one-chapter--halves"
    shown = {
        name: sum(len(marks) for marks in marks_in(folder / f"{name}-light.svg")[0])
        for name in ("method", "method-thumbnail")
    }
    assert shown == {"method": 2000 * len(MAPS), "method-thumbnail": 500}
    soup = scenes([row])["one-chapter--halves"]
    assert "Of every 5 images these pictures show one" in soup.get_text()
    assert [item.get_text() for item in soup.select(".gallery-legend li")] == names


def test_the_still_is_a_picture_of_the_maps():
    picture = Image.open(io.BytesIO(gallery.still(store())))
    assert picture.format == "PNG"
    assert 600 <= picture.width <= 1600
    pixels = np.asarray(picture.convert("RGB"), int)
    for colour in plots.PALETTE[:3]:
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (np.abs(pixels - wanted).max(-1) < 8).sum() > 100


def test_a_still_without_maps_is_refused():
    row = record("a")
    row.maps.clear()
    with pytest.raises(ValueError, match="holds no maps"):
        gallery.still([row])


# ---- in a browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
FRAME = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<link rel="stylesheet" href="{static}/gallery.css"><script src="{static}/gallery.js" defer></script>
<style>html[data-theme=dark] {{ background: #14191f; color: #dde3e9; --pst-color-background: #14191f;
--pst-color-surface: #1c232b; --pst-color-text-base: #dde3e9; --pst-color-text-muted: #a3afbb;
--pst-color-primary: #8cbbe6; --course-accent: #f0b860; }} html[data-theme=dark] a {{ color: #8cbbe6; }}</style></head>
<body><main>{content}</main></body></html>"""
HOME = "gallery/one-chapter--halves.html"
LAYERS = "gallery/layers--halves.html"
EXPLORER = "document.querySelector('.gallery-scene').explorer"


def shown_store():
    """What the browser is shown: besides the usual a sequence of layers, and names that are long."""
    layers = [record(f"untrained, pool {number}", number, chapter="layers") for number in (3, 1, 2)]
    long = "a class whose name is longer than any screen is wide, " * 4
    layers[1].arrays["neighbours"] = (np.arange(COUNT)[:, None] + [20, 1, 7, 30, 11]) % COUNT
    return [*store(), *layers, record("m" * 90, chapter="long", class_names=[long, long.upper(), "w" * 120])]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "book" / gallery.PAGES).mkdir(parents=True)
    (folder / "_static").mkdir()
    for name in ("gallery.js", "gallery.css"):
        shutil.copy(STATIC / name, folder / "_static")
    rows = shown_store()
    gallery.write_assets(rows, folder / gallery.ASSETS)
    front = f"<h1>Gallery</h1>{gallery.gallery_html(rows)}"
    pages = {"gallery": (front, "../_static")}
    pages |= {f"{gallery.PAGES}/{made.name}": (made.html, "../../_static") for made in gallery.scene_pages(rows)}
    for name, (content, static) in pages.items():
        html = FRAME.format(title=name, static=static, content=content)
        (folder / "book" / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def origin(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def tab(browser):
    """A tab that remembers what went wrong, and where it asked for something."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.complaints, opened.asked = [], []
    opened.on(
        "console", lambda told: opened.complaints.append(told.text) if told.type in ("error", "warning") else None
    )
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    opened.close()


def explore(tab, origin, address=HOME):
    """Open a scene's page and wait until its points lie still."""
    tab.goto(f"{origin}/book/{address}")
    tab.wait_for_function(f"{EXPLORER}?.ready")
    tab.evaluate(f"{EXPLORER}.sprites.then(() => null)")
    return arrived(tab)


def arrived(tab):
    tab.wait_for_function(
        f"(() => {{ const e = {EXPLORER}; return !e.frame && !e.motion && "
        "e.panels.every(({ view, goal }) => view.x === goal.x && view.side === goal.side); })()"
    )
    return tab.locator(".gallery-live")


def places(tab, panel):
    """Return where the points of a map are now, in the unit square."""
    return np.array(tab.evaluate(f"Array.from({EXPLORER}.panels[{panel}].shown)")).reshape(-1, 2)


def stored(tab, row, name):
    """Return where the points of a row's map belong."""
    scene = tab.evaluate(f"{EXPLORER}.scene")
    return words(scene["rows"][row]["maps"][name]).reshape(-1, 2) / 65535


def selected(tab):
    return sorted(tab.evaluate(f"[...{EXPLORER}.chosen]"))


def drawn(tab, panel):
    """Return a map's pixels as the reader sees them, without the pointer's ring."""
    return np.asarray(Image.open(io.BytesIO(tab.locator(".gallery-panel canvas").nth(panel).screenshot())), int)


def on_screen(tab, panel, row):
    """Return where a point stands in the window."""
    return tab.evaluate(
        f"""([panel, row]) => {{
            const {{ canvas }} = {EXPLORER}.panels[panel];
            canvas.scrollIntoView({{ block: "center" }});
            const box = canvas.getBoundingClientRect();
            const [x, y] = {EXPLORER}.panels[panel].toPixels(row);
            return [box.x + canvas.clientLeft + x, box.y + canvas.clientTop + y];
        }}""",
        [panel, row],
    )


def loneliest(tab, panel):
    """Return the row of the point that stands farthest from all others, which a pointer can hit alone."""
    where = places(tab, panel)
    distances = np.hypot(*(where[:, None] - where[None]).transpose(2, 0, 1)) + 9 * np.eye(len(where))
    return int(distances.min(axis=0).argmax())


def draw(tab, panel, corners):
    """Drag the pointer over a map along corners in the unit square."""
    tab.evaluate("document.querySelector('.gallery-panels').scrollIntoView({ block: 'center' })")
    box = tab.locator(".gallery-panel canvas").nth(panel).bounding_box()
    shares = (np.array(corners) * [1, -1] + [0.04, 1.04]) / 1.08
    first, *others = shares * [box["width"], box["height"]] + [box["x"], box["y"]]
    tab.mouse.move(*first)
    tab.mouse.down()
    for corner in others:
        tab.mouse.move(*corner, steps=5)
    tab.mouse.up()


def nearest(where, row, count=5):
    return list(np.argsort(np.hypot(*(where - where[row]).T), kind="stable")[1 : count + 1])


def picture_of(thumbnail):
    """Return which of the images a thumbnail shows."""
    tile = Image.open(io.BytesIO(thumbnail.screenshot())).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    shown = np.asarray(tile, float).ravel()
    agreement = [np.corrcoef(shown, picture.ravel())[0, 1] for picture in images()[0].astype(float)]
    return int(np.argmax(agreement))


def numbers_in(thumbnails):
    labels = [each.get_attribute("aria-label") for each in thumbnails.all()]
    return [int(re.match(r"image (\d+), class", label).group(1)) for label in labels]


def test_the_front_needs_no_script_and_a_thumbnail_opens_its_row(tab, origin):
    tab.goto(f"{origin}/book/gallery.html")
    assert not [url for url in tab.asked if url.endswith(".js") and "gallery.js" not in url]
    tab.locator(".gallery-chapter .gallery-thumb", has_text="autoencoder, 8").click()
    tab.wait_for_function(f"{EXPLORER}?.ready")
    scene = arrived(tab)
    assert scene.locator('[name="row"] option:checked').inner_text() == "autoencoder, 8"
    assert np.allclose(places(tab, 2), stored(tab, 1, "UMAP"), atol=1e-6)
    assert all(url.startswith((origin, "data:")) for url in tab.asked)
    assert not tab.complaints


def test_pointing_at_a_mark_shows_its_image_class_cluster_and_nearest_neighbours(tab, origin):
    explore(tab, origin)
    first = store()[0]
    for panel in range(3):
        row = loneliest(tab, panel)
        tab.mouse.move(*on_screen(tab, panel, row))
        tip = tab.locator(".gallery-tip")
        tab.wait_for_function(f"{EXPLORER}.hovered === {row}")
        text = " ".join(tip.inner_text().split())
        assert f"image {row} class {first.class_names[first.arrays['labels'][row]]}" in text
        assert f"cluster {first.arrays['clusters'][row]} " in text
        assert ("error none" in text) == (first.arrays["labels"][row] == first.arrays["clusters"][row])
        assert f"nearest on the {MAPS[panel]} map" in text
        assert numbers_in(tip.locator("ul .gallery-thumbnail")) == nearest(places(tab, panel), row)
        arrived(tab)
        assert picture_of(tip.locator(".gallery-thumbnail").first) == row
        box = tip.bounding_box()
        assert 0 <= box["x"] <= 1280 - box["width"]
        tab.mouse.move(5, 5)
        tip.wait_for(state="hidden")
    assert not tab.complaints


def test_the_keyboard_walks_from_image_to_image_and_selects(tab, origin):
    scene = explore(tab, origin)
    where = places(tab, 0)
    while tab.evaluate("document.activeElement.ariaLabel") != "PCA map":
        tab.keyboard.press("Tab")
    start = tab.evaluate(f"{EXPLORER}.pinned")
    assert start == int(np.hypot(*(where - 0.5).T).argmin())  # what lies in the middle
    tab.keyboard.press("ArrowRight")
    row = tab.evaluate(f"{EXPLORER}.pinned")
    gone = where[row] - where[start]
    assert gone[0] >= abs(gone[1])
    assert gone[0] > 0
    inspector = scene.locator(".gallery-inspector")
    assert picture_of(inspector.locator(".gallery-thumbnail").first) == row
    assert f"image {row} class {store()[0].class_names[row % 3]}" in " ".join(inspector.inner_text().split())
    assert numbers_in(inspector.locator("ul .gallery-thumbnail")) == nearest(where, row)
    spoken = scene.locator(".gallery-spoken").inner_text()
    assert spoken.startswith(f"Image {row}: class {store()[0].class_names[row % 3]}, cluster")
    assert f"Nearest on the PCA map: {nearest(where, row)[0]}, " in spoken
    tab.keyboard.press("Enter")
    assert selected(tab) == [row]
    tab.keyboard.press("+")
    arrived(tab)
    assert tab.evaluate(f"{EXPLORER}.panels[0].view.side") < 0.7
    tab.keyboard.press("Escape")
    assert selected(tab) == []
    inspector.locator(".gallery-hint").wait_for()


def test_a_search_by_index_shows_the_image_and_its_neighbours_can_be_followed(tab, origin):
    scene = explore(tab, origin)
    inspector, field = scene.locator(".gallery-inspector"), scene.locator('[name="image"]')
    field.fill("37")
    assert picture_of(inspector.locator(".gallery-thumbnail").first) == 37
    following = nearest(places(tab, 0), 37)[2]
    inspector.locator("ul button").nth(2).click()
    assert picture_of(inspector.locator(".gallery-thumbnail").first) == following
    assert field.input_value() == str(following)
    field.fill("60")
    assert "There is no image 60" in scene.locator(".gallery-told").inner_text()
    field.fill("")
    inspector.locator(".gallery-hint").wait_for()


def test_neighbours_by_features_are_shown_where_they_are_stored(tab, origin):
    scene = explore(tab, origin, LAYERS + "#untrained-pool-1&image=50")
    inspector = scene.locator(".gallery-inspector")
    assert "nearest by its features" in inspector.inner_text()
    assert numbers_in(inspector.locator("ul .gallery-thumbnail")) == [10, 51, 57, 20, 1]
    scene.locator(".gallery-picks button").nth(50 % 3).click()  # its class alone: others are no neighbours to show
    assert numbers_in(inspector.locator("ul .gallery-thumbnail")) == [20]
    tab.evaluate(f"{EXPLORER}.show(2)")
    assert "nearest on the PCA map" in inspector.inner_text()


def test_a_box_drawn_in_one_map_selects_the_same_images_in_all(tab, origin):
    scene = explore(tab, origin)
    tab.evaluate("document.querySelector('.gallery-panels').scrollIntoView({ block: 'center' })")
    before = [drawn(tab, panel) for panel in range(3)]
    where = places(tab, 1)
    inside = np.flatnonzero((where < [0.5, 0.55]).all(axis=1))
    assert 0 < len(inside) < COUNT
    draw(tab, 1, [[-0.03, 0.55], [0.5, -0.03]])
    assert selected(tab) == list(inside)
    tab.mouse.move(5, 5)
    arrived(tab)
    assert f"{len(inside)} of {COUNT} images selected" in scene.locator(".gallery-status").inner_text()
    assert scene.locator(".gallery-selected .gallery-thumbnail").count() == min(30, len(inside))
    for panel in range(3):
        after, points_there = drawn(tab, panel), places(tab, panel)
        scale = after.shape[0] / 1.08
        for row in range(COUNT):  # what is selected keeps its colour, the rest fades, on every map
            x, y = (points_there[row] * [1, -1] + [0.04, 1.04]) * scale
            spot = slice(round(y) - 2, round(y) + 3), slice(round(x) - 2, round(x) + 3)
            darkest = after[spot][..., :3].sum(axis=-1).min()
            if row in inside:
                assert darkest <= before[panel][spot][..., :3].sum(axis=-1).min() + 60
            elif np.hypot(*(points_there[inside] - points_there[row]).T).min() > 0.06:
                assert darkest > 550


def test_an_outline_selects_what_lies_within_it(tab, origin):
    scene = explore(tab, origin)
    scene.locator('[name="drag"]').select_option("lasso")
    where = places(tab, 2)
    corners = [[-0.02, -0.02], [1.02, -0.02], [-0.02, 1.02]]  # a triangle: below the falling diagonal
    draw(tab, 2, corners)
    clear = np.abs(where.sum(axis=1) - 1) > 0.02
    assert {row for row in selected(tab) if clear[row]} == set(np.flatnonzero((where.sum(axis=1) < 1) & clear))


def test_the_slider_moves_the_points_smoothly_through_the_layers(tab, origin):
    scene = explore(tab, origin, LAYERS)
    scene.locator('[name="series"]').select_option(index=1)
    arrived(tab)
    slider = scene.locator('[name="step"]')
    assert slider.get_attribute("max") == "2"
    slider.evaluate("(slider) => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    arrived(tab)
    assert slider.get_attribute("aria-valuetext") == "untrained, pool 1"
    start, end = stored(tab, 1, "UMAP"), stored(tab, 2, "UMAP")  # stored in the order 3, 1, 2
    assert np.allclose(places(tab, 2), start, atol=1e-6)
    tab.evaluate(
        f"""() => {{
            const explorer = {EXPLORER};
            const advance = explorer.advance.bind(explorer);
            window.seen = [];
            explorer.advance = (now) => {{
                const moves = advance(now);
                seen.push(Array.from(explorer.panels[2].shown));
                return moves;
            }};
        }}"""
    )
    slider.focus()
    tab.keyboard.press("ArrowRight")
    arrived(tab)
    assert slider.get_attribute("aria-valuetext") == "untrained, pool 2"
    seen = np.array(tab.evaluate("seen")).reshape(-1, COUNT, 2)
    assert np.allclose(seen[-1], end, atol=1e-6)
    far = np.abs(end - start) > 0.05
    shares = (seen[:, far] - start[far]) / (end - start)[far]
    assert np.ptp(shares, axis=1).max() < 1e-4  # at any time all points are equally far on their way
    assert (np.diff(shares[:, 0]) >= -1e-6).all()
    assert ((shares[:, 0] > 0.01) & (shares[:, 0] < 0.99)).any()
    row = shown_store()[7]
    assert row.method == "untrained, pool 2"
    assert f"{row.maps['UMAP']['trustworthiness']:.2f}" in scene.locator("figure").nth(2).inner_text()
    assert scorecard.written(row, "knn") in scene.locator(".gallery-scores").inner_text()
    assert not tab.complaints


def test_a_slider_drawn_on_before_the_points_arrive_leads_them_on_from_where_they_are(tab, origin):
    explore(tab, origin, LAYERS)
    jump = tab.evaluate(
        f"""async () => {{
            const explorer = {EXPLORER};
            explorer.show(1);
            const start = explorer.mapsOf(0)[0][0];
            while (explorer.panels[0].shown[0] === start) await new Promise(requestAnimationFrame);
            const before = Array.from(explorer.panels[0].shown);
            explorer.show(2);
            return Math.max(...explorer.motion.from[0].map((value, place) => Math.abs(value - before[place])));
        }}"""
    )
    assert jump == 0
    arrived(tab)
    assert np.allclose(places(tab, 0), stored(tab, 2, "PCA"), atol=1e-6)


def test_a_sequence_plays_to_its_end(tab, origin):
    scene = explore(tab, origin, LAYERS)
    scene.locator('[name="play"]').click()
    assert scene.locator('[name="play"]').get_attribute("aria-pressed") == "true"
    tab.wait_for_function(f"{EXPLORER}.row === 2 && !{EXPLORER}.playing")
    assert scene.locator('[name="play"]').inner_text() == "Play"


def test_a_sequence_that_is_chosen_while_another_plays_is_played_on(tab, origin):
    scene = explore(tab, origin, LAYERS)
    inside = tab.evaluate(f"Object.values({EXPLORER}.scene.series)[0]")
    tab.evaluate(f"{EXPLORER}.show({inside[0]})")
    scene.locator('[name="play"]').click()
    scene.locator('[name="series"]').select_option(index=1)
    tab.wait_for_function(f"!{EXPLORER}.playing")
    assert scene.locator('[name="series"]').evaluate("(list) => list.selectedIndex") == 1
    assert tab.evaluate(f"{EXPLORER}.row") == inside[-1]


def test_what_is_said_of_an_image_is_said_anew_for_each_row(tab, origin):
    explore(tab, origin, LAYERS)
    row = loneliest(tab, 0)
    tab.mouse.move(*on_screen(tab, 0, row))
    tab.wait_for_function(f"{EXPLORER}.hovered === {row}")
    said = f"{EXPLORER}.tip.innerText"
    for shown in (1, 2):
        tab.evaluate(f"{EXPLORER}.show({shown})")
        expected = tab.evaluate(f"{EXPLORER}.portrait({row}, false).map((part) => part.outerHTML).join('')")
        assert tab.evaluate(f"{EXPLORER}.tip.innerHTML") == expected
    assert tab.evaluate(said)
    tab.evaluate(f"{EXPLORER}.pick('class', ({EXPLORER}.labels[{row}] + 1) % 3)")
    assert tab.evaluate(f"[{EXPLORER}.hovered, {EXPLORER}.tip.hidden]") == [None, True]


def test_who_wants_no_motion_gets_none(browser, origin):
    tab = browser.new_page(reduced_motion="reduce")
    explore(tab, origin)
    tab.evaluate(f"{EXPLORER}.show(1)")
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert np.allclose(places(tab, 0), stored(tab, 1, "PCA"), atol=1e-6)
    tab.close()


def test_zoom_in_one_map_shows_the_same_images_in_the_others(tab, origin):
    explore(tab, origin)
    row = loneliest(tab, 0)
    x, y = on_screen(tab, 0, row)
    tab.mouse.move(x, y)
    top = tab.evaluate("scrollY")
    tab.keyboard.down("Control")
    for _ in range(4):
        tab.mouse.wheel(0, -120)
    tab.keyboard.up("Control")
    tab.wait_for_function(f"{EXPLORER}.panels[0].goal.side < 0.5")
    arrived(tab)
    assert tab.evaluate("scrollY") == top
    views = tab.evaluate(f"{EXPLORER}.panels.map(({{ view }}) => [view.x, view.y, view.side])")

    def within(panel):
        x, y, side = views[panel]
        where = places(tab, panel)
        return set(np.flatnonzero(((where >= [x, y]) & (where <= [x + side, y + side])).all(axis=1)))

    assert row in within(0)
    assert len(within(0)) < COUNT
    assert within(0) <= within(1)
    assert within(0) <= within(2)
    tab.locator('[name="reset"]').click()
    arrived(tab)
    assert tab.evaluate(f"{EXPLORER}.panels.every(({{ view }}) => view.side === 1.08)")


def test_the_wheel_alone_scrolls_the_page(tab, origin):
    explore(tab, origin)
    tab.mouse.move(*on_screen(tab, 0, 0))
    top = tab.evaluate("scrollY")
    tab.mouse.wheel(0, 120)
    tab.wait_for_function(f"scrollY > {top}")
    assert tab.evaluate(f"{EXPLORER}.panels[0].goal.side") == 1.08


def test_the_selected_images_can_be_magnified(tab, origin):
    scene = explore(tab, origin)
    scene.locator("summary").click()
    scene.locator(".gallery-medoids button", has_text="cluster 1").click()
    members = np.flatnonzero(store()[0].arrays["clusters"] == 1)
    assert selected(tab) == list(members)
    scene.locator('[name="fit"]').click()
    arrived(tab)
    for panel in range(3):
        x, y, side = tab.evaluate(f"(({{ x, y, side }}) => [x, y, side])({EXPLORER}.panels[{panel}].view)")
        where = places(tab, panel)[members]
        assert (where.min(axis=0) > [x, y]).all()
        assert (where.max(axis=0) < [x + side, y + side]).all()
        assert side == pytest.approx(min(1.08, 1.1 * np.ptp(where, axis=0).max()), rel=1e-4)


def test_a_link_restores_what_was_magnified_to_the_selected(tab, origin):
    explore(tab, origin, f"{HOME}#raw-pixels&selected=0-2.9&zoom=selected")
    assert selected(tab) == [0, 1, 2, 9]
    side = tab.evaluate(f"{EXPLORER}.panels[0].view.side")
    assert side == pytest.approx(min(1.08, 1.1 * np.ptp(places(tab, 0)[[0, 1, 2, 9]], axis=0).max()), rel=1e-4)
    assert tab.evaluate(f"{EXPLORER}.fragment()") == tab.evaluate("location.hash")


def test_only_the_chosen_classes_are_shown_and_pointed_at(tab, origin):
    scene = explore(tab, origin)
    labels = store()[0].arrays["labels"]
    picks = scene.locator(".gallery-picks button")
    picks.nth(1).click()
    assert tab.evaluate(f"{EXPLORER}.rows()") == list(np.flatnonzero(labels == 1))
    picks.nth(2).click()
    assert tab.evaluate(f"{EXPLORER}.rows()") == list(np.flatnonzero(labels != 0))
    assert [pick.get_attribute("aria-pressed") for pick in picks.all()[:3]] == ["false", "true", "true"]
    hidden = int(np.flatnonzero(labels == 0)[0])
    tab.mouse.move(*on_screen(tab, 0, hidden))
    assert tab.evaluate(f"{EXPLORER}.hovered") != hidden
    scene.locator('[name="image"]').fill(str(hidden))  # who asks for a hidden image is shown it, and all others
    assert len(tab.evaluate(f"{EXPLORER}.rows()")) == COUNT
    picks.nth(1).click()
    picks.nth(2).click()
    assert tab.evaluate(f"{EXPLORER}.pinned") is None
    # the classes stay while the colour tells of clusters
    scene.locator('[name="colour"]').select_option("cluster")
    assert tab.evaluate(f"{EXPLORER}.rows()") == list(np.flatnonzero(labels != 0))
    assert f"{(labels != 0).sum()} of {COUNT} images shown" in scene.locator(".gallery-status").inner_text()
    scene.get_by_role("button", name="Show all").press("Enter")
    assert len(tab.evaluate(f"{EXPLORER}.rows()")) == COUNT
    assert tab.evaluate("document.activeElement.closest('.gallery-picks') !== null")  # the keyboard kept its place


def test_colours_follow_class_cluster_error_and_theme(tab, origin):
    scene = explore(tab, origin)
    first = store()[0]
    labels, clusters = first.arrays["labels"], first.arrays["clusters"]
    row = int(np.flatnonzero(labels != clusters)[0])
    wanted = {"class": ("styles", labels[row]), "cluster": ("styles", clusters[row]), "error": ("errors", 1)}
    for by, (kind, number) in wanted.items():
        scene.locator('[name="colour"]').select_option(by)
        for theme in ("light", "dark"):
            tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            style = tab.evaluate(f"{EXPLORER}.scene.{kind}[{number}].{theme}")
            ink = [int(style[place : place + 2], 16) for place in (1, 3, 5)]
            tab.wait_for_function(
                f"""([row, ink]) => {{
                    const panel = {EXPLORER}.panels[0];
                    const [x, y] = panel.toPixels(row).map((value) => Math.round(value * panel.ratio));
                    const {{ data }} = panel.context.getImageData(x - 2, y - 2, 5, 5);
                    const distance = (at) => Math.max(...ink.map((part, place) => Math.abs(data[at + place] - part)));
                    return Array.from({{ length: 25 }}, (_, place) => distance(4 * place)).some((far) => far < 40);
                }}""",
                arg=[row, ink],
            )
        tab.evaluate("document.documentElement.dataset.theme = 'light'")


def test_the_address_restores_what_was_seen(tab, browser, origin):
    scene = explore(tab, origin, LAYERS)
    scene.locator('[name="series"]').select_option(index=1)
    tab.evaluate(f"{EXPLORER}.show(2)")
    arrived(tab)
    scene.locator('[name="colour"]').select_option("cluster")
    scene.locator(".gallery-picks button").nth(1).click()
    members = tab.evaluate(f"{EXPLORER}.rows()")
    scene.locator('[name="image"]').fill(str(members[3]))
    tab.evaluate(f"{EXPLORER}.select({members[:5]})")
    scene.locator('[name="in"]').click()
    arrived(tab)
    tab.wait_for_function(f"location.hash === {EXPLORER}.fragment()")
    ask = f"""(() => {{ const e = {EXPLORER}; return [e.row, e.fragment(), [...e.chosen], e.pinned, e.rows(),
        e.sequence(), e.control("colour").value, e.panels.map((panel) => Object.values(panel.goal))]; }})()"""
    before = tab.evaluate(ask)
    other = browser.new_page(viewport={"width": 390, "height": 800})
    other.goto(tab.url)
    other.wait_for_function(f"{EXPLORER}?.ready")
    after = other.evaluate(ask)
    assert after[:-1] == before[:-1]
    assert np.allclose(after[-1], before[-1], atol=1e-3)
    assert np.allclose(places(other, 0), stored(tab, 2, "PCA"), atol=1e-6)
    # and a link that is followed on the page itself
    other.evaluate("location.hash = '#untrained-pool-1'")
    other.wait_for_function(f"{EXPLORER}.row === 1 && {EXPLORER}.chosen.size === 0 && {EXPLORER}.pinned === null")
    other.close()


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "#gallery-rows",
        "#untrained-pool-1&image=999.7&only=class&zoom=a_b&selected=x-2.70-90&colour=red&series=none",
        "#untrained-pool-1&zoom=0_a_b_0.5",
    ],
)
def test_an_address_that_makes_no_sense_does_no_harm(fragment, tab, origin):
    explore(tab, origin, LAYERS + fragment)
    assert len(tab.evaluate(f"{EXPLORER}.rows()")) == COUNT
    assert selected(tab) == []
    assert not tab.complaints


def test_the_coordinates_and_the_picture_are_those_of_what_is_shown(tab, origin, site):
    scene = explore(tab, origin)
    tab.evaluate(f"{EXPLORER}.show(1)")
    arrived(tab)
    with tab.expect_download() as download:
        scene.locator(".gallery-csv").click()
    assert download.value.suggested_filename == "one-chapter--halves-autoencoder-8.csv"
    wanted = site / gallery.ASSETS / "one-chapter--halves" / "autoencoder-8.csv"
    assert Path(download.value.path()).read_bytes() == wanted.read_bytes()
    scene.locator(".gallery-picks button").nth(1).click()
    with tab.expect_download() as download:
        scene.locator('[name="picture"]').click()
    picture = ElementTree.parse(download.value.path()).getroot()
    space = {"svg": "http://www.w3.org/2000/svg"}
    maps = picture.findall("svg:svg", space)
    labels = store()[1].arrays["labels"]
    assert [len(each.findall("svg:path", space)) for each in maps] == 3 * [(labels == 1).sum()]
    text = " ".join(each.text for each in picture.findall("svg:text", space))
    assert all(name in text for name in ("autoencoder, 8", *MAPS, "trustworthiness 0.92", "right"))
    assert scorecard.written(store()[1], "knn") in text


def test_the_link_is_copied_or_the_reader_is_told_where_it_is(tab, origin):
    scene = explore(tab, origin)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.evaluate(f"{EXPLORER}.show(1)")
    scene.locator('[name="share"]').click()
    tab.wait_for_function("document.querySelector('.gallery-told').textContent.includes('copied')")
    assert tab.evaluate("navigator.clipboard.readText()").endswith(f"{HOME}#autoencoder-8")
    tab.context.clear_permissions()
    tab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    scene.locator('[name="share"]').click()
    tab.wait_for_function("document.querySelector('.gallery-told').textContent.includes('address bar')")


def test_a_card_opens_its_row_above(tab, origin):
    explore(tab, origin)
    tab.locator("#autoencoder-8 .gallery-open").click()
    arrived(tab)
    assert tab.evaluate(f"{EXPLORER}.row") == 1
    assert tab.evaluate("document.activeElement.name") == "row"


def test_on_a_telephone_a_finger_scrolls_the_page_and_a_tap_selects(browser, origin):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    scene = explore(tab, origin)
    assert scene.locator('[name="drag"]').input_value() == ""
    row = loneliest(tab, 0)
    tab.touchscreen.tap(*on_screen(tab, 0, row))
    tab.wait_for_function("document.querySelectorAll('.gallery-selected .gallery-thumbnail').length === 1")
    assert selected(tab) == [row]
    assert picture_of(scene.locator(".gallery-inspector .gallery-thumbnail").first) == row
    assert scene.locator(".gallery-tip").is_hidden()
    context.close()


def test_two_fingers_magnify_and_one_leaves_the_page_to_scroll(browser, origin):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    explore(tab, origin)
    x, y = on_screen(tab, 0, 5)
    devices = context.new_cdp_session(tab)

    def touch(kind, *fingers):
        places = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(fingers)]
        devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    for apart in range(24, 80, 8):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd")
    tab.wait_for_function(f"{EXPLORER}.panels.every(({{ goal }}) => goal.side < 1)")
    assert tab.evaluate("visualViewport.scale") == 1  # the map, not the page
    assert selected(tab) == []
    top = tab.evaluate("scrollY")
    touch("touchStart", (x, y))
    for way in range(0, 120, 12):
        touch("touchMove", (x, y - way))
    touch("touchEnd")
    tab.wait_for_function(f"scrollY > {top}")
    context.close()


def test_tab_reaches_every_control_of_the_explorer_and_shows_where_it_is(tab, origin):
    scene = explore(tab, origin)
    scene.locator("summary").click()
    scene.locator(".gallery-medoids button").first.click()
    scene.locator('[name="image"]').fill("3")
    wanted = "button:enabled, select, input, a[href], canvas, summary, [tabindex='0']"
    count = scene.locator(wanted).count()
    unmarked = set()
    tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(count + 20):
        tab.keyboard.press("Tab")
        unmarked |= set(
            tab.evaluate(
                """() => {
                    const tag = document.activeElement;
                    tag.dataset.reached = "yes";
                    return getComputedStyle(tag).outlineStyle === "none" ? [tag.outerHTML.slice(0, 90)] : [];
                }"""
            )
        )
    left = scene.locator(f":is({wanted}):not([data-reached])")
    assert [each.evaluate("(tag) => tag.outerHTML.slice(0, 90)") for each in left.all()] == []
    assert not [tag for tag in unmarked if not tag.startswith(("<body", "<html"))]


def test_nothing_moves_when_the_explorer_comes_to_life(tab, origin):
    tab.route("**/points.js", lambda route: route.abort())
    measure = """() => ["figure", ".gallery-tools", ".gallery-below", "#gallery-rows"].map((part) => {
        const box = document.querySelector(part).getBoundingClientRect();
        return [box.x, box.y + scrollY];
    })"""
    tab.add_init_script(
        f"addEventListener('DOMContentLoaded', () => {{ window.before = ({measure})(); }}, {{ capture: true }})"
    )
    tab.goto(f"{origin}/book/{HOME}")
    tab.locator(".gallery-notes").wait_for()
    before = tab.evaluate("window.before")
    tab.unroute("**/points.js")
    explore(tab, origin)
    assert np.allclose(tab.evaluate(measure), before, atol=1)


def test_what_cannot_be_loaded_is_told_and_the_pictures_remain(tab, origin):
    tab.route("**/points.js", lambda route: route.abort())
    tab.goto(f"{origin}/book/{HOME}")
    tab.locator(".gallery-notes").wait_for()
    assert "cannot be explored" in tab.locator(".gallery-notes").inner_text()
    assert tab.locator(".gallery-live").count() == 0
    assert tab.locator(".gallery-card").count() == 3


def test_without_script_the_pages_are_whole(browser, origin):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{origin}/book/gallery.html")
    tab.locator(".gallery-thumb", has_text="contrastive").first.click()
    tab.wait_for_url("**/gallery/other-chapter--other-halves.html#contrastive")
    assert tab.locator(".gallery-card h3").inner_text() == "contrastive"
    assert tab.locator(".gallery-live").is_hidden()
    context.close()


def test_the_gallery_works_from_a_disk(tab, site):
    explore(tab, site.as_uri())
    assert len(places(tab, 0)) == COUNT
    tab.evaluate(f"{EXPLORER}.pin(7)")
    tab.wait_for_function("location.hash.includes('image=7')")
    assert not tab.complaints


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["gallery.html", LAYERS, "gallery/long--halves.html"])
def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(tab, origin, name, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed.")
    tab.set_viewport_size({"width": width, "height": 900})
    if name == "gallery.html":
        tab.goto(f"{origin}/book/{name}")
        tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    else:
        scene = explore(tab, origin, name)
        tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        scene.locator(".gallery-picks button").first.click()
        tab.evaluate(f"{EXPLORER}.tap({EXPLORER}.rows()[0], {EXPLORER}.panels[0])")
        scene.locator("summary").click()
        arrived(tab)
        lefts = {round(panel.bounding_box()["x"]) for panel in tab.locator(".gallery-panel").all()}
        assert len(lefts) == (1 if width == 390 else 3)
    found = axe.Axe().run(tab).response["violations"]
    assert not [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert not tab.complaints

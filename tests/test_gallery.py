"""The gallery: what its page says, what its files hold, and how it behaves in a browser."""

from __future__ import annotations

import base64
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

from helpers import comparison, gallery, plots, scorecard
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


def page(records):
    return BeautifulSoup(gallery.gallery_html(records, "../_static/vendor/bokeh"), "html.parser")


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


# ---- the page


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: gallery.gallery_html([], "bokeh"),
        lambda folder: gallery.write_assets([], folder),
        lambda folder: gallery.still([]),
    ],
)
def test_an_empty_store_is_told_in_one_sentence(make, tmp_path):
    with pytest.raises(ValueError, match=r"^The results store is empty: run `make book`[^.]*\.$"):
        make(tmp_path)
    assert not list(tmp_path.iterdir())


def test_each_method_has_a_card_with_its_numbers_under_its_chapter():
    soup = page(store())
    chapters = soup.select(".course-gallery > section")
    assert [section.h2.get_text() for section in chapters] == ["One chapter", "Other chapter"]
    for section, chapter in zip(chapters, ("one-chapter", "other-chapter"), strict=True):
        rows = [row for row in store() if row.chapter == chapter]
        cards = section.select(".gallery-card")
        assert [card.h4.get_text() for card in cards] == [row.method for row in rows]
        for card, row in zip(cards, rows, strict=True):
            text = " ".join(card.get_text(" ").split())
            for name in MAPS:
                assert f"{name} trustworthiness {row.maps[name]['trustworthiness']:.2f}" in text
            for key, measure in scorecard.MEASURES.items():
                assert f"{measure.title} {scorecard.written(row, key)}" in text


def test_pictures_exist_and_are_described(tmp_path):
    files = set(gallery.write_assets(store(), tmp_path / "_static" / "gallery"))
    pictures = page(store()).find_all("img")
    assert len(pictures) == 2 * len(store())
    for picture in pictures:
        assert (tmp_path / "book" / picture["src"]).resolve() in files
        card = picture.find_parent(class_="gallery-card")
        assert card.h4.get_text() in picture["alt"]
        assert all(name in picture["alt"] for name in MAPS)


def test_the_page_works_without_script():
    soup = page(store())
    assert all(button.has_attr("hidden") for button in soup.select(".gallery-explore"))
    assert all(live.has_attr("hidden") for live in soup.select(".gallery-live"))
    assert not soup.find_all("script")


def test_names_are_unique_and_nothing_comes_from_elsewhere(tmp_path):
    html = gallery.gallery_html(store(), "../_static/vendor/bokeh")
    names = [tag["id"] for tag in BeautifulSoup(html, "html.parser").select("[id]")]
    assert len(names) == len(set(names))
    pages = [html, *(path.read_text() for path in gallery.write_assets(store(), tmp_path) if path.suffix != ".webp")]
    for text in pages:
        assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]", re.sub(r'"[\w+/=]{80,}"', "", text))


def test_names_cannot_break_out_of_the_page():
    rows = [record("<img src=x> & co", class_names=["<b>", "right", "upper"], data="a < b")]
    html = gallery.gallery_html(rows, "bokeh")
    assert "<img src=x>" not in html
    assert "<b>" not in html
    assert BeautifulSoup(html, "html.parser").h4.get_text() == "<img src=x> & co"


@pytest.mark.parametrize("damage", ["no maps", "NaN", "cut short", "no thumbnails"])
def test_a_row_whose_maps_cannot_be_drawn_is_named_and_the_others_are_shown(damage, tmp_path):
    broken = record("broken", 1)
    if damage == "no maps":
        broken.maps.clear()
    elif damage == "NaN":
        for name in MAPS:
            broken.arrays[name][3, 1] = np.nan
    elif damage == "cut short":
        for name in MAPS:
            broken.arrays[name] = broken.arrays[name][:-1]
    else:
        del broken.arrays["thumbnails"]
    rows = [record("whole"), broken]
    soup = page(rows)
    assert [card.h4.get_text() for card in soup.select(".gallery-card")] == ["whole"]
    assert "No map is stored of: broken." in soup.get_text()
    assert [method["name"] for scene in points(rows, tmp_path).values() for method in scene["methods"]] == ["whole"]


def test_a_map_that_only_some_rows_have_is_left_out_of_the_others(tmp_path):
    rows = [record("two maps", maps=("PCA", "t-SNE")), record("three maps", 1)]
    (scene,) = points(rows, tmp_path).values()
    assert scene["maps"] == list(MAPS)
    assert [sorted(method["maps"]) for method in scene["methods"]] == [["PCA", "t-SNE"], sorted(MAPS)]


# ---- scenes and their files


def test_rows_share_a_scene_only_if_they_show_the_same_images(tmp_path):
    rows = [record("a"), record("b", 1), record("c", 2, shown=1), record("d", 3, data="others")]
    names = {name: [m["name"] for m in scene["methods"]] for name, scene in points(rows, tmp_path).items()}
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
    for method, row in zip(scene["methods"], rows, strict=True):
        assert (words(method["clusters"]) == row.arrays["clusters"]).all()


def test_maps_keep_their_shape_and_fill_the_unit_square(tmp_path):
    rows = [row for row in store() if row.chapter == "one-chapter"]
    scene = points(rows, tmp_path)["one-chapter--halves"]
    for method, row in zip(scene["methods"], rows, strict=True):
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
        {name: words(text).reshape(-1, 2) for name, text in method["maps"].items()} for method in scene["methods"]
    )
    assert np.abs(one["PCA"] - mirrored["PCA"]).max() < 30  # of 65,535
    assert np.abs(one["UMAP"] - other["UMAP"]).max() < 30
    assert np.abs(one["t-SNE"] - other["t-SNE"]).max() < 30
    kept = np.corrcoef(second.arrays["PCA"].T, other["PCA"].T)[:2, 2:]
    assert np.abs(np.diag(kept)) == pytest.approx([1, 1], abs=1e-3)  # axis for axis, up to the sign


def test_a_picture_has_a_mark_for_each_image_and_map(tmp_path):
    row = store()[1]
    gallery.write_assets([row], tmp_path)
    colours = {}
    for theme in ("light", "dark"):
        picture = ElementTree.parse(tmp_path / "one-chapter--halves" / f"autoencoder-8-{theme}.svg").getroot()
        space = {"svg": "http://www.w3.org/2000/svg"}
        width, height = map(float, picture.get("viewBox").split()[2:])
        paths = picture.findall("svg:path", space)
        marks = [np.array(re.findall(r"[\d.]+", path.get("d")), float).reshape(-1, 2) for path in paths]
        assert [len(each) for each in marks] == list(np.bincount(row.arrays["labels"]) * len(MAPS))
        assert all(((each > 0) & (each < [width, height])).all() for each in marks)
        # the first class on the first map, upright: larger values of the second axis stand higher
        own = row.arrays["labels"] == 0
        assert np.corrcoef(marks[0][: own.sum(), 1], row.arrays["PCA"][own, 1])[0, 1] < -0.999
        colours[theme] = [marker[0].get("fill") for marker in picture.findall("svg:marker", space)]
    assert colours["light"] == list(plots.PALETTE[:3])
    assert colours["dark"] != colours["light"]


def test_the_middle_image_of_a_cluster_is_the_nearest_to_all_others(tmp_path):
    row = record("a", maps=("PCA",))
    (scene,) = points([row], tmp_path).values()
    clusters, labels = row.arrays["clusters"], row.arrays["labels"]
    assert [medoid["cluster"] for medoid in scene["methods"][0]["medoids"]] == sorted(set(clusters))
    for medoid in scene["methods"][0]["medoids"]:
        members = [i for i in range(COUNT) if clusters[i] == medoid["cluster"]]
        where = row.arrays["PCA"].astype(float)
        totals = {i: sum(np.hypot(*(where[i] - where[j])) for j in members) for i in members}
        assert medoid["index"] == min(totals, key=totals.get)
        most = max(set(labels[members]), key=lambda label: (labels[members] == label).sum())
        assert (medoid["size"], medoid["main"]) == (len(members), most)
        assert medoid["share"] == pytest.approx(np.mean(labels[members] == most), abs=1e-4)


def test_classes_differ_in_look_even_where_there_are_more_of_them_than_colours(tmp_path):
    names = [f"class {number}" for number in range(28)]
    labels = (np.arange(COUNT) % 28).astype(np.int64)
    row = record("a", class_names=names)
    row.arrays["labels"] = labels
    (scene,) = points([row], tmp_path).values()
    looks = [(style["light"], style["marker"], style["angle"]) for style in scene["styles"]]
    assert len(set(looks)) == len(looks) == 28
    first = looks[: len(plots.PALETTE)]
    assert [colour for colour, _, _ in first] == list(plots.PALETTE)
    assert len({shape[1:] for shape in first}) == len(plots.MARKERS)


def test_marks_stand_out_from_a_dark_page(tmp_path):
    row = record("a", class_names=[f"class {number}" for number in range(len(plots.PALETTE))])
    (scene,) = points([row], tmp_path).values()
    style = (STATIC / "course.css").read_text()
    dark = re.search(r'html\[data-theme="dark"\] \{(.+?)\}', style, re.DOTALL).group(1)
    surface = luminance(re.search(r"--pst-color-surface: (#\w{6})", dark).group(1))
    for style in scene["styles"]:
        assert (luminance(style["dark"]) + 0.05) / (surface + 0.05) >= 3  # WCAG 1.4.11


def test_the_page_stays_light(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for chapter, number in itertools.product(("one-chapter", "other-chapter"), range(10)):
        row = record(f"method {number}", number, chapter=chapter, class_names=list("abcdefghij"))
        row.arrays.update({name: rng.normal(size=(500, 2)).astype(np.float32) for name in MAPS})
        row.arrays["labels"] = row.arrays["clusters"] = np.arange(500) % 10
        row.arrays["thumbnails"] = np.repeat(images()[0], 9, axis=0)[:500]
        rows.append(row)
    assert len(gallery.gallery_html(rows, "bokeh")) < 100_000
    sizes = {path: path.stat().st_size for path in gallery.write_assets(rows, tmp_path)}
    assert max(size for path, size in sizes.items() if path.suffix == ".svg") < 25_000
    assert max(size for path, size in sizes.items() if path.suffix == ".js") < 150_000


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
<link rel="stylesheet" href="../_static/gallery.css"><script src="../_static/gallery.js" defer></script>
<style>html[data-theme=dark] {{ background: #14191f; color: #dde3e9; --pst-color-background: #14191f;
--pst-color-surface: #1c232b; --pst-color-text-base: #dde3e9; --pst-color-text-muted: #a3afbb;
--pst-color-primary: #8cbbe6; }} html[data-theme=dark] a {{ color: #8cbbe6; }}</style></head>
<body><main><h1>{title}</h1>{content}</main></body></html>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    bokeh = pytest.importorskip("bokeh", reason="Bokeh is not installed: the explorer cannot be tried.")
    folder = tmp_path_factory.mktemp("site")
    (folder / "book").mkdir()
    vendor = folder / "_static" / "vendor" / "bokeh"
    vendor.mkdir(parents=True)
    shutil.copy(Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js", vendor)
    for name in ("gallery.js", "gallery.css"):
        shutil.copy(STATIC / name, folder / "_static")
    gallery.write_assets(store(), folder / gallery.ASSETS)
    pages = {
        "gallery": gallery.gallery_html(store(), "../_static/vendor/bokeh"),
        "comparison": comparison.comparison_html(store()),
    }
    for name, content in pages.items():
        (folder / "book" / f"{name}.html").write_text(FRAME.format(title=name, content=content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def origin(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("Chromium is not installed: the gallery is not tried in a browser.")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def tab(browser, origin):
    """A tab that remembers what went wrong, and where it asked for something."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.complaints, opened.asked = [], []
    opened.on(
        "console", lambda told: opened.complaints.append(told.text) if told.type in ("error", "warning") else None
    )
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(f"{origin}/book/gallery.html")
    yield opened
    opened.close()


def explore(tab, scene="one-chapter--halves"):
    tab.click(f'[data-scene="{scene}"] .gallery-explore')
    tab.wait_for_selector(f'[data-scene="{scene}"] .gallery-medoids tbody tr')
    tab.wait_for_function("Bokeh.documents.every((shown) => shown.is_idle)")
    return tab.locator(f'[data-scene="{scene}"]')


def column(tab, name):
    """Return a column of the first scene's points, as it is now."""
    return tab.evaluate(f"Array.from(Bokeh.documents[0].get_model_by_name('points').data['{name}'])")


def selected(tab):
    return tab.evaluate("Bokeh.documents[0].get_model_by_name('points').selected.indices.slice()")


def on_screen(tab, panel, row):
    """Return where a point of the first scene stands in the window."""
    return tab.evaluate(
        """([panel, row]) => {
            const view = Bokeh.index.get_by_id(Bokeh.documents[0].roots()[panel].id);
            const data = Bokeh.documents[0].get_model_by_name("points").data;
            const box = document.querySelectorAll('.gallery-panel')[panel].getBoundingClientRect();
            return [box.x + 1 + view.frame.x_scale.compute(data["x" + panel][row]),
                    box.y + 1 + view.frame.y_scale.compute(data["y" + panel][row])];
        }""",
        [panel, row],
    )


def loneliest(tab, panel):
    """Return the row of the point that stands farthest from all others, which a pointer can hit alone."""
    where = np.array([column(tab, f"x{panel}"), column(tab, f"y{panel}")]).T
    distances = np.hypot(*(where[:, None] - where[None]).transpose(2, 0, 1)) + 9 * np.eye(len(where))
    return int(distances.min(axis=0).argmax())


def test_bokeh_is_loaded_once_and_only_when_asked_for(tab, origin):
    assert not [url for url in tab.asked if url.endswith(".js") and "gallery.js" not in url]
    explore(tab)
    explore(tab, "other-chapter--halves")
    assert len([url for url in tab.asked if url.endswith("bokeh.min.js")]) == 1
    assert all(url.startswith((origin, "data:")) for url in tab.asked)
    assert tab.locator(".gallery-panel canvas").count() >= 6
    assert not tab.complaints


def test_pointing_at_a_mark_shows_its_image_class_and_cluster(tab):
    explore(tab)
    for panel in range(3):
        row = loneliest(tab, panel)
        tab.locator(".gallery-panel").nth(panel).scroll_into_view_if_needed()
        tab.mouse.move(*on_screen(tab, panel, row))
        tip = tab.locator(".bk-Tooltip").filter(visible=True)
        tip.wait_for()
        first = store()[0]
        text = tip.evaluate("(shown) => shown.shadowRoot.textContent")
        assert text.endswith(f"image {row}")
        assert f"class {first.class_names[first.arrays['labels'][row]]}" in text
        assert f"cluster {first.arrays['clusters'][row]}" in text
        tile = tip.locator('[style*="background-image"]').screenshot()
        shown = np.asarray(Image.open(io.BytesIO(tile)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float)
        agreement = [np.corrcoef(shown.ravel(), picture.ravel())[0, 1] for picture in images()[0].astype(float)]
        assert int(np.argmax(agreement)) == row
        tab.mouse.move(5, 5)
    assert not tab.complaints


def test_a_box_drawn_in_one_map_selects_the_same_images_in_all(tab):
    scene = explore(tab)
    panels = scene.locator(".gallery-panel")
    panels.nth(1).scroll_into_view_if_needed()
    before = [panels.nth(place).screenshot() for place in range(3)]
    x, y = np.array(column(tab, "x1")), np.array(column(tab, "y1"))
    inside = np.flatnonzero((x < 0.5) & (y < 0.55))
    assert 0 < len(inside) < COUNT
    scale = tab.evaluate(
        """() => {
            const { frame } = Bokeh.index.get_by_id(Bokeh.documents[0].roots()[1].id);
            const box = document.querySelectorAll('.gallery-panel')[1].getBoundingClientRect();
            const place = (x, y) => [box.x + 1 + frame.x_scale.compute(x), box.y + 1 + frame.y_scale.compute(y)];
            return [place(-0.03, 0.55), place(0.5, -0.03)];
        }"""
    )
    tab.mouse.move(*scale[0])
    tab.mouse.down()
    tab.mouse.move(*scale[1], steps=8)
    tab.mouse.up()
    assert sorted(selected(tab)) == list(inside)
    tab.mouse.move(5, 5)
    tab.wait_for_timeout(200)
    assert all(panels.nth(place).screenshot() != before[place] for place in range(3))
    assert f"{len(inside)} of {COUNT} images selected" in scene.locator(".gallery-status").inner_text()
    assert scene.locator(".gallery-selected .gallery-thumbnail").count() == min(30, len(inside))


def test_another_method_moves_the_points_smoothly_to_its_maps(tab):
    scene = explore(tab)
    data = points_of(tab, "one-chapter--halves")
    start, end = (words(method["maps"]["UMAP"]).reshape(-1, 2)[:, 0] / 65535 for method in data["methods"][:2])
    assert np.allclose(column(tab, "x2"), start, atol=1e-6)
    tab.evaluate(
        """() => {
            const source = Bokeh.documents[0].get_model_by_name("points");
            window.seen = [];
            source.change.connect(() => seen.push(Array.from(source.data.x2)));
        }"""
    )
    scene.locator('[name="method"]').select_option(label="autoencoder, 8")
    tab.wait_for_function(
        "([end]) => Math.max(...seen.at(-1).map((x, row) => Math.abs(x - end[row]))) < 1e-6", arg=[list(end)]
    )
    seen = np.array(tab.evaluate("seen"))
    far = np.abs(end - start) > 0.05
    shares = (seen[:, far] - start[far]) / (end - start)[far]
    assert np.ptp(shares, axis=1).max() < 1e-4  # at any time all points are equally far on their way
    assert (np.diff(shares[:, 0]) >= -1e-6).all()
    assert ((shares[:, 0] > 0.01) & (shares[:, 0] < 0.99)).any()
    assert f"{store()[1].maps['UMAP']['trustworthiness']:.2f}" in scene.locator("figcaption").nth(2).inner_text()
    assert not tab.complaints


def points_of(tab, scene):
    return tab.evaluate(f"window.courseGallery['{scene}']")


def test_who_wants_no_motion_gets_none(browser, origin):
    tab = browser.new_page(reduced_motion="reduce")
    tab.goto(f"{origin}/book/gallery.html")
    scene = explore(tab)
    target = words(points_of(tab, "one-chapter--halves")["methods"][1]["maps"]["PCA"]).reshape(-1, 2)[:, 0] / 65535
    scene.locator('[name="method"]').select_option("1")
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert np.allclose(column(tab, "x0"), target, atol=1e-6)
    tab.close()


def test_on_a_telephone_a_finger_scrolls_the_page_and_a_tap_selects(browser, origin):
    tab = browser.new_page(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    tab.goto(f"{origin}/book/gallery.html")
    scene = explore(tab)
    assert scene.locator('[name="drag"]').input_value() == ""
    tab.locator(".gallery-panel").first.scroll_into_view_if_needed()
    row = loneliest(tab, 0)
    tab.touchscreen.tap(*on_screen(tab, 0, row))
    tab.wait_for_function("document.querySelectorAll('.gallery-selected .gallery-thumbnail').length === 1")
    assert selected(tab) == [row]
    assert f"image {row}," in scene.locator(".gallery-selected .gallery-thumbnail").get_attribute("aria-label")
    tab.close()


def test_colours_follow_class_cluster_and_theme(tab):
    scene = explore(tab)
    styles = points_of(tab, "one-chapter--halves")["styles"]
    first = store()[0]
    assert column(tab, "colour") == [styles[label]["light"] for label in first.arrays["labels"]]
    scene.locator('[name="colour"]').select_option("clusters")
    assert column(tab, "colour") == [styles[cluster]["light"] for cluster in first.arrays["clusters"]]
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = styles[first.arrays["clusters"][0]]["dark"]
    tab.wait_for_function(f"Bokeh.documents[0].get_model_by_name('points').data.colour[0] === '{dark}'")


def test_the_keyboard_alone_selects_a_cluster_and_zooms_to_it(tab):
    tab.keyboard.press("Tab")
    while tab.evaluate("document.activeElement.className") != "gallery-explore":
        tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".gallery-medoids tbody tr")
    assert tab.evaluate("document.activeElement.name") == "method"
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.textContent").startswith("cluster 1"):
            break
    tab.keyboard.press("Enter")
    members = np.flatnonzero(store()[0].arrays["clusters"] == 1)
    assert sorted(selected(tab)) == list(members)
    while tab.evaluate("document.activeElement.name") != "fit":
        tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Space")
    for panel in range(3):
        ranges = tab.evaluate(
            f"(({{x_range, y_range}}) => [x_range.start, x_range.end, y_range.start, y_range.end])"
            f"(Bokeh.documents[0].roots()[{panel}])"
        )
        x, y = (np.array(column(tab, f"{axis}{panel}"))[members] for axis in "xy")
        assert ranges[0] < x.min() < x.max() < ranges[1]
        assert ranges[2] < y.min() < y.max() < ranges[3]
        # the same scale on both axes, and a tenth more than the cluster needs
        side = 1.1 * max(np.ptp(x), np.ptp(y))
        assert [ranges[1] - ranges[0], ranges[3] - ranges[2]] == pytest.approx([side, side])
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert tab.evaluate("Bokeh.documents[0].roots()[0].x_range.end") == pytest.approx(1.04)
    assert selected(tab) == []


def test_the_wheel_scrolls_the_page_and_zooms_only_with_ctrl(tab):
    explore(tab)
    tab.locator(".gallery-panel").first.scroll_into_view_if_needed()
    box = tab.locator(".gallery-panel").first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    width = "Bokeh.documents[0].roots()[0].x_range.end - Bokeh.documents[0].roots()[0].x_range.start"
    before, top = tab.evaluate(width), tab.evaluate("scrollY")
    tab.mouse.wheel(0, 120)
    tab.wait_for_function(f"scrollY > {top}")
    assert tab.evaluate(width) == before
    box = tab.locator(".gallery-panel").first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -120)
    tab.keyboard.up("Control")
    tab.wait_for_function(f"{width} < {before}")


def test_what_cannot_be_loaded_is_told_and_can_be_tried_again(tab):
    tab.route("**/points.js", lambda route: route.abort())
    tab.click(".gallery-explore >> nth=0")
    tab.wait_for_function(
        "document.querySelector('.gallery-open [role=status]').textContent.includes('cannot be shown')"
    )
    tab.unroute("**/points.js")
    explore(tab)


def test_the_gallery_opens_from_a_disk(browser, site):
    tab = browser.new_page()
    complaints = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto((site / "book" / "gallery.html").as_uri())
    explore(tab)
    assert len(column(tab, "x0")) == COUNT
    assert not complaints
    tab.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["gallery", "comparison"])
def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(tab, origin, name, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed.")
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(f"{origin}/book/{name}.html")
    tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    if name == "gallery":
        explore(tab).locator(".gallery-medoids button").first.click()
        lefts = {round(panel.bounding_box()["x"]) for panel in tab.locator(".gallery-panel").all()[:3]}
        assert len(lefts) == (1 if width == 390 else 3)
    found = axe.Axe().run(tab).response["violations"]
    assert not [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert not tab.complaints


def test_the_comparison_is_sorted_by_a_click_within_each_data_set(tab, origin):
    tab.goto(f"{origin}/book/comparison.html")

    def shown():
        return tab.evaluate(
            """() => Array.from(document.querySelectorAll("table.course-sortable tbody"), (body) =>
                Array.from(body.rows, (row) => row.cells[0].textContent.trim()))"""
        )

    before = shown()
    head = tab.locator("table.course-sortable thead th", has_text="kNN")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    for place, data in enumerate(("halves", "other halves")):
        rows = sorted((row for row in store() if row.data == data), key=lambda row: -row.mean("knn"))
        assert shown()[place] == [data, *(row.method for row in rows)]
    assert shown() != before
    head.locator("button").focus()
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    rows = sorted((row for row in store() if row.data == "halves"), key=lambda row: row.mean("knn"))
    assert shown()[0][1:] == [row.method for row in rows]
    assert tab.locator("[aria-sort]").count() == 1

"""The built site: every link leads somewhere, nothing comes from elsewhere, and a browser agrees.

`make book` builds the site into ``_build/html``; these tests read what stands there.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
if not (SITE / "index.html").exists():
    pytest.skip("The site is not built: run `make book` first.", allow_module_level=True)

APART = {"_static", "slides"}  # no pages of the book
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if not APART & set(path.parts))
STYLES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.css"))
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
AXE_VIEWS = VIEWS[0], VIEWS[3]  # both widths and both themes; axe takes its time
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOADING = (
    "script[src], link[rel~=stylesheet][href], link[rel~=icon][href], link[rel~=preload][href], "
    "img[src], img[srcset], source, iframe, embed, object, video, audio"
)


# ---- what the files say


@functools.cache
def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "html.parser")


@functools.cache
def anchors(page: str) -> frozenset[str]:
    return frozenset(tag.get("id") or tag.get("name") for tag in soup(page).select("[id], a[name]"))


def addresses(tag) -> list[str]:
    """Return the addresses in a tag's attributes, those of ``srcset`` without their widths."""
    several = [part.split()[0] for part in tag.get("srcset", "").split(",") if part.strip()]
    return [tag[name] for name in ("href", "src", "data", "poster") if tag.get(name)] + several


def is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).scheme or urlsplit(address).netloc) and not address.startswith("data:")


def missing(origin: str, address: str) -> bool:
    """Whether a local address, written in the file `origin`, leads nowhere."""
    parts = urlsplit(address)
    target = (SITE / origin).parent / unquote(parts.path) if parts.path else SITE / origin
    if not target.is_file():
        return True
    name = target.resolve().relative_to(SITE.resolve()).as_posix()
    return bool(parts.fragment) and name.endswith(".html") and unquote(parts.fragment) not in anchors(name)


@pytest.mark.parametrize("page", PAGES)
def test_every_local_link_image_script_and_fragment_resolves(page):
    tags = soup(page).select("[href], [src], [srcset], [poster], object[data]")
    local = {address for tag in tags for address in addresses(tag) if not urlsplit(address).scheme}
    broken = sorted(address for address in local if address != "#" and missing(page, address))
    assert not broken, f"{page} leads to what is not there: {broken}"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_loads_anything_from_elsewhere(page):
    tags = soup(page).select(LOADING)
    foreign = [address for tag in tags for address in addresses(tag) if is_elsewhere(address)]
    inline = " ".join(tag.get_text() for tag in soup(page).select("style")) + str(soup(page).select("[style]"))
    foreign += re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)", inline)
    assert not foreign, f"{page} loads from other sites: {foreign}"


@pytest.mark.parametrize("style", STYLES)
def test_style_sheets_load_only_files_of_this_site(style):
    text = re.sub(r"/\*.*?\*/", "", (SITE / style).read_text(encoding="utf-8"), flags=re.DOTALL)
    used = [address.strip("\"' ") for address in re.findall(r"url\(((?:\"[^\"]*\"|'[^']*'|[^)\"']*))\)", text)]
    used += re.findall(r"@import\s+[\"']([^\"']+)", text)
    wrong = [
        address
        for address in used
        if not address.startswith(("data:", "#")) and (is_elsewhere(address) or missing(style, address))
    ]
    assert not wrong, f"{style} loads {wrong}"


@pytest.mark.parametrize("page", PAGES)
def test_every_image_is_described(page):
    file_name = re.compile(r"^\S*[\\/]\S*$|\.(png|jpe?g|svg|webp|gif)$", re.IGNORECASE)  # prose may say 1/32
    bad = [
        image.get("src", "")[:80]
        for image in soup(page).find_all("img")
        if not image.get("alt", "").strip() or file_name.search(image["alt"])
    ]
    assert not bad, f"{page} has images without a description, or with a file name in its place: {bad}"


def test_every_drawing_has_a_name_or_is_hidden_from_readers():
    drawings = [(page, drawing) for page in PAGES for drawing in soup(page).select("article svg")]
    unnamed = [
        page
        for page, drawing in drawings
        if not drawing.find_parent("svg")
        and drawing.get("aria-hidden") != "true"
        and not drawing.find_parent(attrs={"aria-hidden": "true"})  # the root sign of a formula, read as MathML
        and not (drawing.get("role") == "img" and (drawing.get("aria-label") or drawing.get("aria-labelledby")))
    ]
    assert not unnamed, f"Drawings without a name: {unnamed}"


@pytest.mark.parametrize("page", PAGES)
def test_no_markup_shows_as_text(page):
    copy = BeautifulSoup(str(soup(page).find("article") or ""), "html.parser")
    for tag in copy.select("code, pre, script, style, .katex, .math"):
        tag.decompose()
    text = copy.get_text(" ")
    found = re.findall(
        r"\{[a-z][\w:-]*\}(?:`|\s*\n)|\{\{.*?\}\}|^\s*:{3,}.*|^\s*`{3,}.*|\]\([^)]*\)|\$\$", text, re.MULTILINE
    )
    assert not found, f"{page} shows markup to its readers: {found}"


@pytest.mark.parametrize("page", PAGES)
def test_no_widget_shows_as_the_name_of_its_class(page):
    outputs = " ".join(output.get_text() for output in soup(page).select(".cell_output"))
    found = re.findall(r"\b(?:[A-Z]\w*(?:Slider|Box|Text)|Dropdown|Output|interactive)\((?:\w+=|\))", outputs)
    assert not found, f"{page} shows {found} in place of a widget: give it a twin as text/html or image/png"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith(("book/", "notebooks/"))])
def test_a_page_says_what_it_is(page):
    description = soup(page).select_one("meta[name=description]")
    assert len(soup(page).select("article h1")) == 1
    assert description is not None
    assert 20 <= len(description["content"]) <= 160
    shared = {tag["property"].removeprefix("og:"): tag["content"] for tag in soup(page).select("meta[property^='og:']")}
    assert shared["title"] in soup(page).title.text
    assert shared["url"].endswith(f"/{page}")
    assert (SITE / shared["image"].removeprefix(shared["url"].removesuffix(page))).is_file()


def test_every_icon_in_use_is_drawn():
    used = {name for page in PAGES for tag in soup(page).select("[class*=fa-]") for name in tag["class"]}
    icons = {name for name in used if name.startswith("fa-")} - {"fa-solid", "fa-brands", "fa-regular", "fa-lg"}
    style = (SITE / "_static" / "site.css").read_text(encoding="utf-8")
    assert icons, "the theme's icons have other names than they used to"
    assert not {name for name in icons if f".{name}::before" not in style}


CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
BUDGETS = {"book/intro.html": 1_000_000} | dict.fromkeys(CHAPTERS, 3_000_000)  # bytes, before compression


@pytest.mark.parametrize("page", BUDGETS)
def test_a_page_keeps_to_its_weight(page):
    used = {unquote(urlsplit(address).path) for tag in soup(page).select(LOADING) for address in addresses(tag)}
    used |= {json.loads(image["data-states"])["sheet"] for image in soup(page).select("img[data-states]")}
    files = [(SITE / page).parent / address for address in used if not address.startswith("image/")]
    fonts = (SITE / "_static" / "vendor" / "katex" / "fonts").glob("*.woff2")  # a browser loads some of them
    weight = sum(path.stat().st_size for path in [SITE / page, *files, *fonts])
    assert weight <= BUDGETS[page], f"{page} weighs {weight:,} bytes with all that it loads"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "index.html"])
def test_nothing_but_two_style_sheets_holds_a_page_up(page):
    head = soup(page).head
    assert [link["href"].rpartition("/")[2].partition("?")[0] for link in head.select("link[rel=stylesheet]")][:1] == [
        "site.css"
    ]
    assert len(head.select("link[rel=stylesheet]")) <= 2
    assert not [script["src"] for script in soup(page).select("script[src]") if not script.has_attr("defer")]
    late = [image for image in soup(page).select("img[src*='_images/'][src$='.png']")][1:]
    assert not [image["src"] for image in late if not (image.get("loading") and image.get("width"))]


def test_the_printed_book_leads_to_itself_or_to_the_web(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    import pdf

    document = BeautifulSoup(pdf.one_document(SITE, pdf.book_pages()), "html.parser")
    ids = [tag["id"] for tag in document.select("[id]:not(svg, svg *)")]
    assert len(ids) == len(set(ids))
    assert len(document.select("article h1")) == len(pdf.book_pages())
    links = {tag["href"] for tag in document.select("article a[href]")}
    assert {link for link in links if link.startswith("#")} <= {"#", *(f"#{name}" for name in ids)}
    assert not [link for link in links if not re.match(r"#|https?://|mailto:", link)]
    loaded = {tag["src"] for tag in document.select("img")} | {tag["href"] for tag in document.select("link[href]")}
    assert not [address for address in loaded if missing("book.html", address)]


@pytest.mark.usefixtures("chromium")
def test_a_document_is_printed_with_an_outline_and_no_path_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    import pdf

    document = SITE / "printed-by-a-test.html"
    try:
        document.write_text(pdf.one_document(SITE, ["book/status.html"]), encoding="utf-8")
        pdf.print_pdf(document, tmp_path / "status.pdf")
    finally:
        document.unlink(missing_ok=True)
    printed = (tmp_path / "status.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert b"/Outlines" in printed
    assert b"/StructTreeRoot" in printed  # tagged: a screen reader finds headings and tables
    assert b"file:" not in printed


def test_no_formula_is_left_unset():
    unset = [page for page in PAGES if soup(page).select(".math:not(:has(.katex)), .katex-error")]
    assert not unset, f"KaTeX left formulas as source on {unset}"


def test_the_status_page_names_every_chapter_and_one_profile():
    rows = soup("book/status.html").select("table.course-status tbody tr")
    linked = {row.find("a")["href"] for row in rows if row.find("a")}
    chapters = {f"../{page}" for page in PAGES if page.startswith("notebooks/")}
    assert chapters <= linked
    assert len({row.find_all("td")[3].text for row in rows}) == 1


def test_the_status_page_shows_every_recorded_run():
    page = soup("book/status.html")
    shown = {heading.a["href"] for heading in page.find_all("h3") if heading.a}
    recorded = {path.stem for path in (ROOT / "data" / "results").glob("*.json")}
    assert recorded <= {Path(href).stem for href in shown}
    assert len(page.select("table.course-recorded")) == len(recorded)


def test_gallery_and_comparison_name_every_chapter():
    chapters = {f"../{page}" for page in PAGES if page.startswith("notebooks/")}
    for page in ("book/gallery.html", "book/comparison.html"):
        linked = {tag["href"] for tag in soup(page).select("article a[href]")}
        assert chapters <= linked, f"{page} lacks {sorted(chapters - linked)}"


# ---- what a browser says


@dataclass
class Visit:
    """What happened while one page was open in one view."""

    page: str
    view: tuple[int, str]
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    overhang: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page} at {self.view[0]} px, {self.view[1]}"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serve the site on a free port of this machine."""
    handler = functools.partial(QuietHandler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


def watched(browser, visit: Visit):
    """Open an empty page that writes down requests and errors."""
    width, theme = visit.view
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("requestfailed", lambda request: visit.errors.append(f"failed: {request.url}"))
    page.on("response", lambda reply: reply.status >= 400 and visit.errors.append(f"{reply.status}: {reply.url}"))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and visit.errors.append(message.text))
    return page


def axe_violations(page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    # without preload: axe would fetch style sheets anew, from addresses that it gets wrong
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:160]}" for each in found]


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def visits(request, browser, server) -> list[Visit]:
    """Open every page in one view, once for all the tests below."""
    seen = []
    for name in PAGES:
        if name == "index.html":  # it only leads on
            continue
        visit = Visit(name, request.param)
        page = watched(browser, visit)
        page.goto(f"{server}/{name}", wait_until="load")
        page.wait_for_timeout(100)  # deferred scripts of the theme
        visit.overhang = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        visit.violations = axe_violations(page) if visit.view in AXE_VIEWS else []
        page.close()
        seen.append(visit)
    return seen


def test_no_request_leaves_the_site(visits, server):
    foreign = {url for visit in visits for url in visit.requests if not url.startswith((server, "data:", "blob:"))}
    assert not foreign


def test_no_page_reports_an_error(visits):
    errors = [f"{visit}: {error}" for visit in visits for error in visit.errors]
    assert not errors, "\n".join(errors)


def test_no_page_scrolls_sideways(visits):
    wide = [f"{visit} is {visit.overhang} px too wide" for visit in visits if visit.overhang > 0]
    assert not wide, "\n".join(wide)


def test_axe_finds_no_violation(visits):
    found = [f"{visit}: {violation}" for visit in visits for violation in visit.violations]
    assert not found, "\n".join(found)


def test_the_site_works_from_a_disk(browser):
    failures = []
    for name in PAGES:
        visit = Visit(name, (1280, "light"))
        page = watched(browser, visit)
        page.goto((SITE / name).as_uri(), wait_until="load")
        page.wait_for_timeout(100)
        failures += [f"{name}: {error}" for error in visit.errors]
        page.close()
    assert not failures, "\n".join(failures)


def test_the_search_finds_a_word_from_a_disk(browser):
    visit = Visit("search.html", (1280, "light"))
    page = watched(browser, visit)
    page.goto((SITE / "search.html").as_uri() + "?q=silhouette")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    assert "glossary" in " ".join(
        link.get_attribute("href") for link in page.query_selector_all("#search-results li a")
    )
    assert not visit.errors


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_maps_of_a_scene_can_be_explored_from_a_disk(browser, view):
    scene = next(page for page in PAGES if page.startswith("book/gallery/"))
    visit = Visit(scene, view)
    page = watched(browser, visit)
    page.goto((SITE / scene).as_uri())
    explorer = "document.querySelector('.gallery-scene').explorer"
    page.wait_for_function(f"{explorer}?.ready")
    page.evaluate(f"{explorer}.sprites.then(() => {explorer}.tap(0, {explorer}.panels[1]))")
    page.locator(".gallery-selected .gallery-thumbnail").wait_for()
    page.wait_for_function(f"!{explorer}.frame")
    pictures = SITE.parent / "screenshots"  # kept as artifacts of the build
    page.screenshot(path=pictures / f"gallery-scene-{view[0]}-{view[1]}.png")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert not visit.errors
    assert not axe_violations(page)
    page.goto((SITE / "book/gallery.html").as_uri())
    page.wait_for_function(f"document.querySelector('.gallery-thumb .only-{view[1]}').complete")
    page.screenshot(path=pictures / f"gallery-{view[0]}-{view[1]}.png")
    page.close()


def column(page, place: int) -> list[list[str]]:
    """Return the texts of one column of the table of all rows, by data set, without hidden rows."""
    return page.evaluate(
        """place => [...document.querySelectorAll("table.course-sortable tbody:not([hidden])")].map((body) =>
            [...body.querySelectorAll("tr:not(.course-group):not([hidden])")].map((row) => row.cells[place].textContent)
        )""",
        place,
    )


def test_the_table_of_all_rows_is_sorted_by_keyboard_and_says_so(browser, server):
    page = browser.new_page()
    page.goto(f"{server}/book/comparison.html")
    head = page.locator("table.course-sortable thead th", has_text="kNN")
    before = column(page, 4)
    head.locator("button").focus()
    for key, order, descending in (("Enter", "descending", True), ("Space", "ascending", False)):
        page.keyboard.press(key)
        assert head.get_attribute("aria-sort") == order
        values = [[float(text.split("±")[0].strip("★\u00a0 ")) for text in group] for group in column(page, 4)]
        assert values == [sorted(group, reverse=descending) for group in values]
        assert [sorted(group) for group in column(page, 4)] == [sorted(group) for group in before]
    page.locator("table.course-sortable thead th", has_text="Method").locator("button").click()
    assert page.locator("table.course-sortable [aria-sort]").count() == 1
    page.close()


def test_the_table_of_all_rows_shows_what_the_reader_asks_for(browser, server):
    page = browser.new_page()
    page.goto(f"{server}/book/comparison.html")
    everything = [kind for group in column(page, 2) for kind in group]
    page.get_by_label("Show rows with").fill("BASELINE pixels")
    methods, kinds = ([text for group in column(page, place) for text in group] for place in (0, 2))
    rows = list(zip(methods, kinds, strict=True))
    assert set(rows) == {("raw pixels", "baseline")}
    assert page.locator(".course-filter output").text_content() == f"{len(rows)} of {len(everything)} rows"
    page.get_by_label("Show rows with").fill("")
    assert [kind for group in column(page, 2) for kind in group] == everything
    page.close()


def test_the_comparison_is_a_plain_table_without_script(browser, server):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{server}/book/comparison.html")
    assert page.locator("table.course-sortable tbody tr:not(.course-group)").count() > 10
    assert page.locator("table.course-sortable button, .course-filter").count() == 0
    page.close()


@pytest.mark.parametrize("name", ["book/intro.html", "book/comparison.html", "notebooks/measuring-features.html"])
def test_tab_reaches_every_control_in_sight(browser, server, name):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{server}/{name}")
    page.wait_for_timeout(200)
    # each visible control is marked, and the mark is taken away when it is reached
    wanted = page.evaluate(
        """() => { let count = 0;
            for (const tag of document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")) {
              const box = tag.getBoundingClientRect();
              if (box.width && box.height && tag.checkVisibility({visibilityProperty: true}) && !tag.disabled
                  && tag.tabIndex >= 0 && !tag.closest("[inert], dialog:not([open])")) {
                tag.dataset.unreached = "yes"; count += 1; } }
            return count; }"""
    )
    assert wanted > 20
    unseen = []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        unseen += page.evaluate(
            """() => { const tag = document.activeElement; delete tag.dataset.unreached;
                // the theme outlines the arrow within a summary, and not the summary
                const drawn = [tag, ...tag.children].map((part) => getComputedStyle(part)).some(
                    (style) => style.outlineStyle != "none" || style.boxShadow != "none");
                return drawn || tag == document.body ? [] : [tag.outerHTML.slice(0, 120)]; }"""
        )
    left = page.evaluate(
        "Array.from(document.querySelectorAll('[data-unreached]'), (tag) => tag.outerHTML.slice(0, 120))"
    )
    assert not left, f"Tab does not reach {left}"
    assert not unseen, f"Focus cannot be seen on {unseen}"
    page.close()


def test_sliders_step_through_their_states_without_a_kernel(browser, server):
    found = [(name, image) for name in CHAPTERS for image in soup(name).select("img[data-states]")]
    assert found, "No chapter has sliders: helpers.widgets.Explorer leaves their states in the executed notebook"
    for name, image in found:
        page = browser.new_page(viewport={"width": 390, "height": 900})
        page.goto(f"{server}/{name}")
        group = page.locator(f"img[src='{image['src']}'] + .course-explorer")
        picture, slider = group.locator("img"), group.locator("input").last
        slider.scroll_into_view_if_needed()
        page.wait_for_function("tag => tag.complete && tag.naturalWidth", arg=picture.element_handle())
        told, shown = picture.get_attribute("alt"), group.locator(".course-pane").screenshot()
        assert told.startswith(image["alt"])
        slider.focus()
        page.keyboard.press("End")
        assert picture.get_attribute("alt") != told
        assert group.locator(".course-pane").screenshot() != shown
        assert slider.get_attribute("aria-valuetext") == group.locator("output").last.text_content()
        page.close()


def test_the_first_page_leads_on(browser, server):
    page = browser.new_page()
    page.goto(f"{server}/index.html")
    page.wait_for_url("**/book/intro.html")
    assert page.title().startswith("Features Without Labels")

"""Slides: what of a chapter becomes one, and what a browser shows: nothing overflows, nothing comes from elsewhere."""

import base64
import io
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

from teaching import deck, slides  # noqa: E402

from helpers import results  # noqa: E402

RUNS = ROOT / "_runs" / "quick"
# the one with the most formulas and figures, and the one with the longest code and the tallest figure
CHAPTERS = ("variational-autoencoders", "clustering-features")
LEGIBLE = 16  # pixels of a slide 720 high


def picture(width=80, height=30):
    file = io.BytesIO()
    Image.new("L", (width, height), 128).save(file, "png")
    return new_output("display_data", {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "figure"})


def printed(text):
    return new_output("stream", name="stdout", text=text)


def table(rows):
    body = "".join(f'<tr class="method"><th scope="row">row {row}</th><td>0.5</td></tr>' for row in range(rows))
    head = "<thead><tr><th>features</th><th>kNN</th></tr></thead>"
    return new_output("execute_result", {"text/html": f"<div><table>{head}<tbody>{body}</tbody></table></div>"})


def code(source, *outputs, alt="Grey.", name="cell"):
    metadata = {"mystnb": {"image": {"alt": alt}}}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata, id=name)


QUIZ = """## Quiz

**1.** What is $1 + 1$?

- **A.** One
- **B.** Two

<details><summary>Answer</summary>

**B.** As counted.

- **A.** That is a single one.

</details>

**2.** How many?

<details><summary>Answer</summary>

**126.** All of them.

</details>
"""


def chapter():
    """Return an executed chapter with one of everything that slides are made of."""
    prose = [f"A [link](https://example.org/a.b) is kept. {'More words. ' * 60}"]
    cells = [
        new_markdown_cell("# A <title> & more\n\n*The promise.*\n\n| to read |\n|---|\n| 3 minutes |"),
        new_markdown_cell("[badge](https://example.org)", metadata={"tags": ["remove-cell"]}),
        new_markdown_cell("## You will be able to\n\n- **see**;\n- **say**."),
        new_markdown_cell("## Predict first\n\nWhat comes?"),
        new_markdown_cell("## Set-up"),
        code("import keras", printed("profile quick\n")),
        new_markdown_cell("## Data\n\nTwelve images. No label is used."),
        code("plots.images(x)", printed("source; licence\n"), picture(), alt="Twelve grey images."),
        new_markdown_cell(
            "## Idea\n\nThe loss compares. With $s = 1$ it is\n\n$$\\mathcal{L} = \\tfrac12 s D^2 ,$$\n\nand no more."
        ),
        code("def loss(x):\n    return x", name="loss"),
        code("helper = lambda x: x\nplt.plot(helper)", name="plain"),
        new_markdown_cell("### A topic\n\nThe topic opens."),
        code("def method(x):\n    return x / 2", printed("half\n"), name="method"),
        new_markdown_cell("## Train\n\n" + prose[0]),
        code("fit()", picture()),
        new_markdown_cell("The curve falls. Then it stays. " + "Words follow. " * 40 + "\n\n### Next\n\nHow many?"),
        code("print(3)", printed("three\n")),
        new_markdown_cell("## Look\n\nLook at the tall one."),
        code("tall()", picture(30, 60), alt='A "tall" one & more.'),
        new_markdown_cell("## Score\n\nNow the labels come in."),
        code("card", table(12)),
        new_markdown_cell("## Map\n\nThree drawings."),
        code("maps()", picture()),
        new_markdown_cell("## Break it\n\nLeave it out."),
        code("print()", printed("holds: a claim (1; at least 0)\nrank 3\n")),
        new_markdown_cell("The rank tells."),
        new_markdown_cell("## Try it\n\nAn exercise."),
        new_markdown_cell("## Key points\n\n- One.\n- Two."),
        new_markdown_cell(QUIZ),
        new_markdown_cell("## References\n\n" + "\n".join(f"- Author {n}. *Title.*" for n in range(9))),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def made():
    """The slides of the specimen, as lists of cells."""
    found = []
    for cell in deck.deck(chapter(), "A run of today").cells:
        if cell.metadata.slideshow.slide_type == "slide":
            found.append([])
        found[-1].append(cell)
    return found


@pytest.fixture(scope="module")
def page():
    return slides.page(chapter(), "A run of today")


def kinds(made):
    return [cells[0].metadata.slideshow.data.kind for cells in made]


def slide(made, title):
    return next(cells for cells in made if re.sub("<.*> ", "", cells[0].source) == f"## {title}")


def texts(cells, role):
    return [cell.source for cell in cells if cell.metadata.get("role") == role]


# ---- what becomes a slide


def test_a_chapter_becomes_slides_in_its_own_order(made):
    assert kinds(made) == [
        "title",
        *("points", "points", "figure"),  # objectives, prediction, data
        *("formula", "method", "method"),  # idea
        *("figure", "printed"),  # train
        "tall",
        *("table", "table"),
        "figure",
        "printed",
        "points",
        *("quiz", "quiz"),
        *("references", "references"),
    ]


def test_the_first_slide_has_the_promise_and_says_where_the_figures_come_from(made):
    assert [cell.source for cell in made[0]] == ["# A <title> & more", "The promise.", "A run of today"]


def test_a_figure_stands_between_what_leads_to_it_and_what_it_shows(made):
    said, figure, seen, notes = slide(made, "Train")[1:]
    assert said.source == "A [link](https://example.org/a.b) is kept. " + "More words. " * 8 + "More words."
    assert "image/png" in figure.outputs[0].data
    assert seen.source.startswith("The curve falls. Then it stays. Words follow.")
    assert len(seen.source) <= deck.SEEN
    assert notes.source.count("Words follow.") == 40


def test_a_paragraph_may_be_wrapped():
    text = new_markdown_cell("## Look\n\nThe first\nis short.\n\n" + "Words. " * 30 + "\nThe last sentence\nleads.")
    cells = deck.deck(new_notebook(cells=[new_markdown_cell("# T"), text, code("x", picture())])).cells
    (said,) = texts(cells, "said")
    assert said.startswith("Words.")
    assert said.endswith("The last sentence leads.")


def test_a_figure_keeps_its_alternative_text(page):
    alts = [image["alt"] for image in BeautifulSoup(page, "html.parser").select("img")]
    assert alts == ["Twelve grey images.", "Grey.", 'A "tall" one & more.', "Grey."]


def test_a_formula_keeps_the_sentences_around_it(made):
    cells = next(cells for cells in made if kinds([cells]) == ["formula"])
    assert texts(cells, "said") == ["The loss compares. With $s = 1$ it is"]
    assert texts(cells, "formula") == ["$$\\mathcal{L} = \\tfrac12 s D^2 ,$$"]
    assert texts(cells, "seen") == ["and no more."]


def test_code_is_shown_where_it_is_the_method_and_beside_the_sentence_that_leads_to_it(made):
    shown = [cell.source for cells in made for cell in cells if cell.cell_type == "code" and cell.source]
    assert shown == ["def loss(x):\n    return x", "def method(x):\n    return x / 2"]
    assert texts(slide(made, "A topic"), "said") == ["The topic opens."]


@pytest.mark.parametrize("source", ["def f():\n" + "    x\n" * 40, f"def f():\n    return '{'x' * 120}'"])
def test_code_that_the_last_row_cannot_read_is_left_out(source):
    notebook = new_notebook(cells=[new_markdown_cell("# T"), new_markdown_cell("## Idea\n\nSo."), code(source)])
    assert not [cell for cell in deck.deck(notebook).cells if cell.cell_type == "code"]


def test_what_is_printed_is_shown_where_a_sentence_asks_for_it_and_claims_are_not(made):
    lines = [
        cell.outputs[0].text for cells in made for cell in cells if cell.get("outputs") and "text" in cell.outputs[0]
    ]
    assert lines == ["half", "three", "rank 3"]
    assert texts(slide(made, "Break it"), "said") == ["Leave it out."]
    assert texts(slide(made, "Break it"), "seen") == ["The rank tells."]


def test_a_long_table_is_parted_and_its_head_repeated(page):
    tables = BeautifulSoup(page, "html.parser").select("table")
    assert [[row.th.text for row in table.select("tbody tr")] for table in tables] == [
        [f"row {row}" for row in range(6)],
        [f"row {row}" for row in range(6, 12)],
    ]
    assert all(table.select("thead th")[1].text == "kNN" for table in tables)


def test_a_question_stands_without_its_answer_and_the_reasons_are_for_the_speaker(made):
    first, second = (cells for cells in made if kinds([cells]) == ["quiz"])
    assert texts(first, "question") == ["What is $1 + 1$?\n\n- **A.** One\n- **B.** Two"]
    assert texts(first, "answer") == ["**B.** As counted."]
    assert [cell.metadata.slideshow.slide_type for cell in first] == ["slide", "-", "fragment", "notes"]
    assert texts(first, "notes") == ["- **A.** That is a single one."]
    assert texts(second, "answer") == ["**126.** All of them."]


def test_exercises_and_the_set_up_are_left_to_the_chapter(made):
    titles = {re.sub("<.*> ", "", cells[0].source) for cells in made}
    assert not titles & {"## Set-up", "## Try it"}


@pytest.mark.parametrize(
    ("prose", "room", "first", "last"),
    [
        ("One. Two. Three.", 9, "One. Two.", "Three."),
        ("One, e.g. this. Two.", 5, "One, e.g. this.", "Two."),
        ("See [A. B](https://a.b. C). Then `x. Y`. End.", 5, "See [A. B](https://a.b. C).", "End."),
        ("By J. Smith $a. B$. *Two.*", 5, "By J. Smith $a. B$.", "*Two.*"),
        ("No end", 5, "No end", "No end"),
        ("", 5, "", ""),
    ],
)
def test_prose_is_shortened_to_whole_sentences(prose, room, first, last):
    assert deck.opening(prose, room) == first
    assert deck.closing(prose, min(room, 8)) == last


# ---- one file


def test_a_page_needs_no_other_file(page):
    soup = BeautifulSoup(page, "html.parser")
    assert not soup.select("link, script[src], iframe, source, object, embed")
    assert all(image["src"].startswith("data:image/webp;base64,") for image in soup.select("img"))
    addresses = re.findall(r"url\(([^)]*)\)", "".join(sheet.text for sheet in soup.select("style")))
    assert addresses
    assert {address.strip("\"'").partition(":")[0] for address in addresses} == {"data"}
    assert "@import" not in page


def test_pictures_lose_nothing():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (7, 9, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    packed = base64.b64decode(slides.webp(base64.encodebytes(file.getvalue()).decode()))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(packed))), pixels)


def test_formulas_are_set_and_only_the_fonts_that_they_need_are_there(page):
    soup = BeautifulSoup(page, "html.parser")
    assert len(soup.select(".katex-display")) == 1
    assert not soup.select(".katex-error")
    fonts = set(re.findall(r"@font-face\{font-family:\"?(\w+)", page))
    assert {"KaTeX_Main", "KaTeX_Math"} <= fonts
    assert not fonts & {"KaTeX_Fraktur", "KaTeX_Typewriter", "KaTeX_SansSerif"}


def test_a_title_is_escaped_in_the_head(page):
    assert "<title>A &lt;title&gt; &amp; more: slides</title>" in page


def test_a_formula_that_cannot_be_set_stops_the_command():
    notebook = new_notebook(cells=[new_markdown_cell("# T\n\n*$\\nosuchcommand$*")])
    with pytest.raises(ValueError, match=r"a formula cannot be set: KaTeX parse error: .*nosuchcommand"):
        slides.page(notebook)


# ---- the chapters of a book


@pytest.fixture
def course(tmp_path):
    """A course of two chapters that nobody has run."""
    for name in ("book", "notebooks"):
        (tmp_path / name).mkdir()
    for name in ("_config.yml", "uv.lock"):
        shutil.copy(ROOT / name, tmp_path)
    toc = {"parts": [{"chapters": [{"file": "notebooks/first"}, {"file": "notebooks/second"}]}]}
    (tmp_path / "book" / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    for name in ("first", "second"):
        bare = chapter()
        for cell in bare.cells:
            cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
        nbformat.write(bare, tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def as_run(root, name):
    """Leave what the execution of a chapter leaves."""
    build = slides.Build(root, "quick", "tensorflow")
    build.executed(name).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(chapter(), build.executed(name))
    about = {"profile": "quick", "backend": "tensorflow", "device": "CPU, 2 cores", "chapter": name}
    about |= {"versions": {"keras": "3.15.1", "tensorflow": "2.21.0"}, "finished": "2026-11-21T20:00:00+00:00"}
    results.save_run(name, about | {"key": build.key(name)}, build.store)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def test_nothing_run_is_one_plain_sentence(course, capsys):
    assert slides.main([], course) == 1
    assert capsys.readouterr().err == "No chapter was run as it is now: run `make notebooks` first.\n"


def test_slides_are_made_of_the_chapters_that_were_run_as_they_are_now(course, capsys):
    as_run(course, "first")
    assert slides.main([], course) == 1
    assert [path.name for path in (course / "dist" / "slides").iterdir()] == ["first.html"]
    told = capsys.readouterr()
    assert told.err == "No slides of second, not run as now: run `make notebooks` first.\n"
    text = BeautifulSoup((course / "dist" / "slides" / "first.html").read_text("utf-8"), "html.parser").main.text
    assert "Figures: a run of 21 November 2026 in the quick profile, CPU, 2 cores, Keras 3.15.1" in text
    as_run(course, "second")
    assert slides.main([], course) == 0


def test_new_prose_is_shown_with_the_figures_of_the_run_and_new_code_needs_a_run(course):
    as_run(course, "first")
    path, deck_of_it = course / "notebooks" / "first.ipynb", course / "dist" / "slides" / "first.html"
    path.write_text(path.read_text("utf-8").replace("The promise.", "Another promise."), encoding="utf-8")
    slides.main([], course)
    page = deck_of_it.read_text("utf-8")
    assert "Another promise." in page
    assert page.count("data:image/webp") == 4
    path.write_text(path.read_text("utf-8").replace("plots.images(x)", "plots.images(y)"), encoding="utf-8")
    slides.main([], course)
    assert not deck_of_it.exists()


def test_a_formula_that_cannot_be_set_is_one_plain_sentence(course, capsys):
    path = course / "notebooks" / "second.ipynb"
    path.write_text(path.read_text("utf-8").replace("mathcal", "nosuchcommand"), encoding="utf-8")
    as_run(course, "first")
    as_run(course, "second")
    assert slides.main([], course) == 2
    assert capsys.readouterr().err.startswith("second: a formula cannot be set: KaTeX parse error:")
    assert [path.name for path in (course / "dist" / "slides").iterdir()] == ["first.html"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_chapter_has_its_frame_on_slides(path):
    soup = BeautifulSoup(slides.page(nbformat.read(path, 4)), "html.parser")
    found = [section["data-kind"] for section in soup.select(".slides > section")]
    assert found[:3] == ["title", "points", "points"]
    assert {"formula", "method"} & set(found)
    assert found.count("quiz") == 5
    assert all(section.select_one(".fragment .answer").text.strip() for section in soup.select("[data-kind=quiz]"))
    references = [cell.source for cell in nbformat.read(path, 4).cells if cell.source.startswith("## References")]
    assert len(soup.select("[data-kind=references] li")) == references[0].count("\n- ")
    assert found[-1] == "references"
    for source in soup.select("annotation, code, pre"):  # where a formula's own source may stand
        source.decompose()
    assert not re.search(r"\$[^$]*\\[a-z]", soup.main.get_text())


# ---- in a browser


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def specimen(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "specimen.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["specimen", *CHAPTERS])
def opened(request, browser, specimen, tmp_path_factory):
    """A deck in a browser, and what it asked for: the specimen, and two chapters where they were run."""
    path = specimen
    if request.param != "specimen":
        executed = RUNS / "notebooks" / f"{request.param}.ipynb"
        if not executed.exists():
            pytest.skip("The chapter was not run: run `make notebooks` first.")
        run = json.loads((RUNS / "results" / request.param / "run.json").read_text(encoding="utf-8"))
        path = tmp_path_factory.mktemp("slides") / f"{request.param}.html"
        path.write_text(slides.page(nbformat.read(executed, 4), slides.about(run, "https://example.org/")), "utf-8")
    tab, asked, wrong = open_deck(browser, path)
    yield tab, asked, wrong
    tab.close()


def open_deck(browser, path, query=""):
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    asked, wrong = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    tab.goto(path.as_uri() + query)
    tab.wait_for_function("window.Reveal && Reveal.isReady()")
    return tab, asked, wrong


MEASURE = """() => [...document.querySelectorAll(".slides section")].map((slide) => {
  const before = slide.style.display;
  slide.style.display = "flex";
  const box = slide.getBoundingClientRect();
  const parts = [...slide.querySelectorAll("*")].filter((part) => !part.closest(".notes, .katex"));
  const outside = parts.filter((part) => {
    const place = part.getBoundingClientRect();
    return place.width && (place.right > box.right + 1 || place.bottom > box.bottom + 1 || place.left < box.left - 1);
  });
  const clipped = parts.filter((part) => part.scrollWidth > part.clientWidth + 1 && part.clientWidth);
  const texts = parts.filter((part) => part.childElementCount == 0 && part.textContent.trim());
  const plain = texts.filter((part) => part.tagName != "SMALL");
  const sizes = plain.map((part) => parseFloat(getComputedStyle(part).fontSize));
  const found = {
    title: slide.querySelector("h1, h2").innerText, kind: slide.dataset.kind,
    outside: outside.map((part) => part.tagName), clipped: clipped.map((part) => part.tagName),
    least: Math.min(...sizes), image: slide.querySelector("img")?.getBoundingClientRect().height,
  };
  slide.style.display = before;
  return found;
})"""


def test_nothing_is_higher_or_wider_than_its_slide(opened):
    measured = opened[0].evaluate(MEASURE)
    assert [found for found in measured if found["outside"] or found["clipped"]] == []


def test_text_is_large_enough_for_the_last_row(opened):
    measured = opened[0].evaluate(MEASURE)
    assert [found for found in measured if found["least"] < LEGIBLE] == []
    assert all(found["image"] > 300 for found in measured if found["kind"] in ("figure", "tall"))


def test_a_deck_asks_for_nothing_but_itself_and_reports_no_error(opened):
    tab, asked, wrong = opened
    assert [address for address in asked if not address.startswith("data:")] == [tab.url.partition("#")[0]]
    assert wrong == []


def test_axe_finds_nothing_on_any_kind_of_slide(browser, specimen):
    from axe_playwright_python.sync_playwright import Axe

    tab, _, _ = open_deck(browser, specimen)
    tab.add_style_tag(content="* { transition: none !important; animation: none !important }")  # no half-faded text
    kinds = tab.evaluate("[...document.querySelectorAll('.slides > section')].map((slide) => slide.dataset.kind)")
    for place in sorted(map(kinds.index, set(kinds))):
        tab.evaluate(f"Reveal.slide({place}, 0, 0)")
        violations = Axe().run(tab).response["violations"]
        assert [(found["id"], found["nodes"][0]["html"][:200]) for found in violations] == []
    tab.close()


def test_keys_lead_through_the_slides_and_bring_the_answer(browser, specimen):
    tab, _, _ = open_deck(browser, specimen)
    question = tab.evaluate(
        "[...document.querySelectorAll('.slides > section')].findIndex((s) => s.dataset.kind == 'quiz')"
    )
    for _ in range(question):
        tab.keyboard.press("ArrowRight")
    assert tab.evaluate("Reveal.getIndices().h") == question
    visible = "document.querySelector('section.present .fragment').classList.contains('visible')"
    assert not tab.evaluate(visible)
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(visible)
    assert tab.evaluate("Reveal.getIndices().h") == question
    tab.close()


def test_s_opens_the_notes_of_the_speaker(browser, specimen):
    tab, _, _ = open_deck(browser, specimen)
    tab.evaluate("Reveal.slide(7)")
    with tab.expect_popup() as popup:
        tab.keyboard.press("s")
    popup.value.wait_for_function("document.body.innerText.includes('Words follow.')", timeout=20_000)
    tab.close()


def test_a_deck_prints_one_page_a_slide(browser, specimen):
    tab, _, _ = open_deck(browser, specimen, "?print-pdf")
    tab.wait_for_selector(".pdf-page")
    assert [found for found in tab.evaluate(MEASURE) if found["outside"] or found["clipped"]] == []
    edges = "[...document.querySelectorAll('section h1, section h2')].map((each) => each.getBoundingClientRect().x)"
    assert set(tab.evaluate(edges)) == {64}
    printed = tab.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type /Page\b", printed)) == tab.evaluate("Reveal.getTotalSlides()") > 10
    tab.close()

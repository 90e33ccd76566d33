"""Make slides of every chapter from its executed notebook: ``make slides`` calls this.

One reveal.js file a chapter, in ``dist/slides``. It needs no other file and no network: a double click opens it. S
shows the speaker's notes, F fills the screen, and ``?print-pdf`` after the address lays the slides out for printing.
What of a chapter becomes a slide, `teaching.deck` says.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path

import address
import nbformat
from _ext.course_site import delivery, use_installed_node
from build import Build
from markdown_it import MarkdownIt
from markdown_it.token import Token
from nbconvert.exporters.slides import SlidesExporter
from nbformat import NotebookNode
from PIL import Image
from pygments.formatters import HtmlFormatter
from sphinxcontrib import katex
from tqdm import tqdm
from traitlets import default

from helpers import results, runtime
from helpers.validation import check_choice

from . import deck

__all__ = ["page", "shown", "write"]

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
KATEX = ROOT / "book" / "_static" / "vendor" / "katex"
REVEAL = HERE / "vendor" / "reveal"
TEMPLATE = HERE / "templates" / "deck"
CODE_STYLE = "a11y-high-contrast-light"
_FONTS = "/* the fonts of formulas */"

# kinds of formulas, and whether they stand on a line of their own
DISPLAYED = {"math_inline": False, "math_inline_double": True, "math_block": True}
_SET = """
const katex = require(process.argv[1]);
const asked = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const set = ([latex, displayMode]) => {
  try {
    return { html: katex.renderToString(latex, { displayMode, throwOnError: true }) };
  } catch (error) {
    return { error: error.message };
  }
};
process.stdout.write(JSON.stringify(asked.map(set)));
"""


class Exporter(SlidesExporter):
    """nbconvert's exporter of slides, with the site's Markdown and formulas, and a template of our own."""

    def __init__(self):
        super().__init__(extra_template_basedirs=[str(TEMPLATE.parent)])
        self.formulas = {}

    @default("template_name")
    def _template_name_default(self) -> str:
        return "deck"

    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", lambda source: markdown().render(source, {"formulas": self.formulas})
        yield "webp", webp

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **options) -> tuple[str, dict]:
        """Set all formulas at once, since Node takes longer to start than to set them, then make the page."""
        self.formulas = set_formulas(cell.source for cell in nb.cells if cell.cell_type == "markdown")
        return super().from_notebook_node(nb, resources, **options)


def webp(png: str) -> str:
    """Return a picture without loss in half the bytes, in base64 as it came."""
    packed = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.save(packed, "webp", lossless=True, exact=True)
    return base64.b64encode(packed.getvalue()).decode()


@cache
def markdown() -> MarkdownIt:
    """Return the parser of the chapters' Markdown; its renderer is handed formulas that are set already."""
    parser = deck.parser()
    for kind in DISPLAYED:
        parser.renderer.rules[kind] = lambda tokens, place, options, given: given["formulas"][_asked(tokens[place])]
    return parser


def set_formulas(sources: Iterable[str]) -> dict[tuple[str, bool], str]:
    """Return the HTML of each formula in some Markdown, set by the site's KaTeX; they are known by source and place.

    Raises
    ------
    ValueError
        If KaTeX cannot set one.
    """
    found = [
        token for source in sources for each in markdown().parse(source) for token in (each, *(each.children or ()))
    ]
    asked = list(dict.fromkeys(_asked(token) for token in found if token.type in DISPLAYED))
    use_installed_node()
    command = [katex.NODEJS_BINARY, "-e", _SET, str(katex.SRC_DIR / "katex.min.js")]
    answers = subprocess.run(command, input=json.dumps(asked), capture_output=True, check=True, encoding="utf-8").stdout
    answered = dict(zip(asked, json.loads(answers), strict=True))
    if errors := [answer["error"] for answer in answered.values() if "error" in answer]:
        raise ValueError(f"a formula cannot be set: {errors[0]}")
    return {formula: answer["html"] for formula, answer in answered.items()}


def _asked(token: Token) -> tuple[str, bool]:
    return token.content.strip(), DISPLAYED[token.type]


def page(chapter: NotebookNode, about: str = "") -> str:
    """Return the slides of an executed chapter as one HTML document that needs no other file.

    Parameters
    ----------
    chapter : NotebookNode
        With its outputs.
    about : str
        Where the figures come from, for the first slide; Markdown.
    """
    slides = deck.deck(chapter, about)
    parts = {
        "title": deck.blocks(chapter.cells[0].source)[0].source.lstrip("# "),
        "sheet": _sheet(),
        "scripts": [_inline(REVEAL / "reveal.js"), _inline(REVEAL / "notes.js"), _inline(TEMPLATE / "deck.js")],
    }
    html, _ = Exporter().from_notebook_node(slides, resources={"deck": parts})
    return html.replace(_FONTS, _formula_sheet(html), 1)


@cache
def _sheet() -> str:
    code = HtmlFormatter(style=CODE_STYLE).get_style_defs(".highlight")
    sheets = [(REVEAL / "reveal.css").read_text("utf-8"), _FONTS, code, (TEMPLATE / "deck.css").read_text("utf-8")]
    return "\n".join(sheets)


def _inline(script: Path) -> str:
    """Return a script that may stand within a page: no text in it ends the page's script."""
    return script.read_text(encoding="utf-8").replace("</script", r"<\/script")


def _formula_sheet(html: str) -> str:
    """Return KaTeX's style sheet with its fonts, as far as the page uses them."""
    sheet = delivery.without_unused((KATEX / "katex.min.css").read_text("utf-8"), delivery.used_names([html], []))
    faces = re.findall(r"@font-face\{[^}]*\}", sheet)
    rules = re.sub(r"@font-face\{[^}]*\}", "", sheet)
    used = [face for face in faces if re.search(r'font-family:"?(\w+)', face)[1] in rules]
    return re.sub(r"url\(([^)]+)\)", lambda found: f"url({_data(KATEX / found[1])})", "".join(used)) + rules


def _data(font: Path) -> str:
    return "data:font/woff2;base64," + base64.b64encode(font.read_bytes()).decode()


# ---- the chapters of the book


def shown(build: Build, chapter: str) -> NotebookNode:
    """Return a chapter as it is now, with the outputs of its run: its prose may be newer than that."""
    notebook = nbformat.read(build.root / "notebooks" / f"{chapter}.ipynb", 4)
    executed = nbformat.read(build.executed(chapter), 4)
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    for cell, old in zip([cell for cell in notebook.cells if cell.cell_type == "code"], ran, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return notebook


def about(run: dict, site: str) -> str:
    """Return where the figures of a chapter come from, in one line of Markdown."""
    finished = datetime.fromisoformat(run["finished"])
    versions = run["versions"]
    backend = f"{run['backend']} {versions.get(run['backend'], '')}".strip()
    return (
        f"Figures: a run of {finished:%d %B %Y} in the {escape(run['profile'])} profile, {escape(run['device'])}, "
        f"Keras {escape(versions['keras'])} ({escape(backend)}) · [the chapter]({site}notebooks/{run['chapter']}.html) "
        "· CC BY 4.0"
    )


def write(build: Build, target: Path) -> tuple[list[Path], list[str]]:
    """Write the slides of each chapter that was run as it is now.

    Returns
    -------
    tuple of list
        The files, and the chapters without slides; what an earlier run of those had made is removed.

    Raises
    ------
    ValueError
        If a chapter has a formula that cannot be set; the slides that were finished are kept.
    """
    stale, runs, written = build.stale(), results.load_runs(build.store), []
    target.mkdir(parents=True, exist_ok=True)
    for chapter in tqdm(build.chapters(), unit="chapter", disable=None):  # no bar where nobody watches
        path = target / f"{chapter}.html"
        if chapter in stale:
            path.unlink(missing_ok=True)
            continue
        try:
            made = page(shown(build, chapter), about(runs[chapter], address.read(build.root).site))
        except ValueError as error:
            raise ValueError(f"{chapter}: {error}") from None
        unfinished = path.with_suffix(".new")
        unfinished.write_text(made, encoding="utf-8")
        os.replace(unfinished, path)
        written.append(path)
    return written, stale


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="teaching.slides", description=__doc__.split("\n")[0])
    parser.add_argument("--target", type=Path, default=root / "dist" / "slides", help="folder of the slides")
    options = parser.parse_args(arguments)
    try:
        profile = check_choice(os.environ.get("COURSE_PROFILE") or "quick", runtime.PROFILES, "profile")
        build = Build(root, profile, os.environ.get("KERAS_BACKEND") or "tensorflow")
        written, stale = write(build, options.target)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in written:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    if not written:
        print("No chapter was run as it is now: run `make notebooks` first.", file=sys.stderr)
    elif stale:
        print(f"No slides of {', '.join(stale)}, not run as now: run `make notebooks` first.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Make slides of every chapter from its executed notebook: ``make slides`` calls this.

One reveal.js file a chapter, in ``dist/slides``. It needs no other file and no network: a double click opens it. S
shows the speaker's notes, F fills the screen, and ``?print-pdf`` after the address lays the slides out for printing.
What of a chapter becomes a slide, `teaching.deck` says.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path

import address
import nbformat
from _ext.course_site import delivery, use_installed_node
from build import Build
from markdown_it import MarkdownIt
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


class Exporter(SlidesExporter):
    """nbconvert's exporter of slides, with the site's Markdown and formulas, and a template of our own."""

    def __init__(self):
        super().__init__(extra_template_basedirs=[str(TEMPLATE.parent)])

    @default("template_name")
    def _template_name_default(self) -> str:
        return "deck"

    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", markdown().render
        yield "webp", webp


def webp(png: str) -> str:
    """Return a picture without loss in half the bytes, in base64 as it came."""
    packed = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.save(packed, "webp", lossless=True, exact=True)
    return base64.b64encode(packed.getvalue()).decode()


@cache
def markdown() -> MarkdownIt:
    """Return the parser of the chapters' Markdown, which sets formulas by KaTeX."""
    use_installed_node()
    parser = deck.parser()
    rules = {"math_inline": False, "math_inline_double": True, "math_block": True}
    for rule, display in rules.items():
        parser.renderer.rules[rule] = lambda tokens, place, *_, display=display: _formula(
            tokens[place].content, display
        )
    return parser


@cache
def _formula(latex: str, display: bool) -> str:
    return katex.render_latex(latex.strip(), {"displayMode": display, "throwOnError": True})


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
        except katex.KaTeXError as error:
            raise ValueError(f"{chapter} has a formula that cannot be set: {error}") from None
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

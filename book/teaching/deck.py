"""What of a chapter becomes a slide: every figure with what it shows, the formulas, the method, the questions.

A deck is a notebook again, whose cells carry the metadata with which nbconvert makes slides. Nothing is written for
the slides: their sentences are the chapter's, shortened to whole sentences, and the rest of its prose becomes the
speaker's notes. The chapter's frame says what a cell is for: its headings, `tests/test_notebooks.py` holds them.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import nbformat
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode
from PIL import Image

__all__ = ["blocks", "closing", "deck", "opening", "parser"]

LEAD, SEEN, STATEMENT = 150, 180, 420  # characters of prose above a figure, below one, and on a slide of their own
METHOD_LINES, METHOD_COLUMNS = 16, 92  # of code that the last row can read
PRINTED_LINES, PRINTED_COLUMNS = 12, 96
TABLE_ROWS, REFERENCES = 8, 7  # on one slide
BESIDE_A_FIGURE = 380  # characters, above and below together
TALL = 1.2  # a picture that is less wide for its height stands beside its sentences
LINES_TOGETHER, LINES_WITH_PROSE = 14, 9  # of code and of what it printed, on one slide


@dataclass
class Block:
    """One block of Markdown: a heading, a paragraph, a list, a formula, a table."""

    kind: str  # as markdown-it names its token
    source: str


@dataclass
class Slide:
    """What stands on one slide, from top to bottom, and what the speaker may say."""

    kind: str
    title: str
    section: str = ""
    parts: list[NotebookNode] = field(default_factory=list)
    notes: str = ""

    def lines(self) -> int:
        """Return how many lines of code and of printed text stand on the slide."""
        texts = [part.source or part.outputs[0].get("text", "") for part in self.parts if part.cell_type == "code"]
        return sum(text.count("\n") + 1 for text in texts if text)

    def leads(self) -> bool:
        """Tell whether a sentence stands above the rest."""
        return bool(self.parts) and self.parts[0].metadata.get("role") == "said"

    def cells(self) -> list[NotebookNode]:
        """Return the slide as cells that nbconvert puts on one slide."""
        first, *others = self.parts if self.kind == "title" else [_text("heading", self._heading()), *self.parts]
        first.metadata.slideshow = {"slide_type": "slide", "data": {"kind": self.kind}}
        for cell in others:
            cell.metadata.setdefault("slideshow", {"slide_type": "-"})
        notes = _text("notes", self.notes)
        notes.metadata.slideshow = {"slide_type": "notes"}
        return [first, *others, *([notes] if self.notes else [])]

    def _heading(self) -> str:
        above = f'<span class="section">{self.section}</span> ' if self.section not in ("", self.title) else ""
        return f"## {above}{self.title}"


def deck(chapter: NotebookNode, about: str = "") -> NotebookNode:
    """Return the slides of an executed chapter as a notebook for nbconvert's exporter of slides.

    Parameters
    ----------
    chapter : NotebookNode
        With its outputs.
    about : str
        Where the figures come from, for the first slide; Markdown.
    """
    sections = _sections(chapter.cells)
    slides = [*_title(sections.pop(""), about)]
    for name, cells in sections.items():
        slides += _SPECIAL.get(name, _body)(name, cells)
    cells = [cell for slide in slides for cell in slide.cells()]
    return nbformat.from_dict(nbformat.v4.new_notebook(cells=cells))


def _sections(cells: Iterable[NotebookNode]) -> dict[str, list[NotebookNode]]:
    """Return the cells below each heading of the second level; those before the first have no name."""
    name, found = "", {"": []}
    for cell in cells:
        if cell.cell_type == "markdown" and (heading := re.match(r"## (.+)", cell.source)):
            name = heading[1].strip()
        found.setdefault(name, []).append(cell)
    return found


# ---- the sections of the frame


def _title(cells: list[NotebookNode], about: str) -> Iterator[Slide]:
    title, *rest = blocks(cells[0].source)
    promise = [block.source.strip("*") for block in rest if block.kind == "paragraph"][:1]
    parts = [_text("heading", title.source), *(_text("promise", text) for text in promise)]
    yield Slide("title", title.source, parts=[*parts, *([_text("source", about)] if about else [])])


def _whole(name: str, cells: list[NotebookNode]) -> Iterator[Slide]:
    """Show a section as it stands."""
    yield Slide("points", name, parts=[_text("points", _below_heading(cells[0].source))])


def _nothing(name: str, cells: list[NotebookNode]) -> Iterator[Slide]:
    yield from ()


_QUESTION = re.compile(r"(?s)\*\*(\d+)\.\*\*\s*(.*?)<details>.*?</summary>(.*?)</details>")


def _quiz(name: str, cells: list[NotebookNode]) -> Iterator[Slide]:
    """Show each question; its answer comes when asked for, and the notes say what is wrong with the others."""
    for number, question, hidden in _QUESTION.findall(_below_heading(cells[0].source)):
        told, *others = blocks(hidden)
        answer = _text("answer", told.source)
        answer.metadata.slideshow = {"slide_type": "fragment"}
        notes = "\n\n".join(block.source for block in others)
        yield Slide("quiz", f"Question {number}", name, [_text("question", question), answer], notes)


def _references(name: str, cells: list[NotebookNode]) -> Iterator[Slide]:
    listed = re.split(r"(?m)^(?=- )", _below_heading(cells[0].source).strip())
    listed = [entry for entry in listed if entry]
    for begin in range(0, len(listed), REFERENCES):
        yield Slide("references", name, parts=[_text("points", "".join(listed[begin : begin + REFERENCES]))])


def _body(name: str, cells: list[NotebookNode]) -> Iterator[Slide]:
    """Show what a section explains and what its cells made, in order."""
    last = None
    for slide in _Section(name, cells).slides():
        if last and _joins(last, slide):
            last = Slide(slide.kind, slide.title, name, last.parts + slide.parts, slide.notes)
        else:
            yield from [last] if last else []
            last = slide
    yield from [last] if last else []


def _joins(first: Slide, second: Slide) -> bool:
    """Tell whether two neighbours are better one slide: a sentence and what it leads to, or short pieces of code."""
    if first.title != second.title or second.leads():
        return False
    if first.kind == "statement":
        short = len(first.parts[0].source) <= LEAD
        few = 0 < second.lines() <= LINES_WITH_PROSE
        return second.kind == "formula" or few or (short and second.kind in ("figure", "tall"))
    both = {first.kind, second.kind} <= {"method", "printed"} and first.lines() + second.lines() <= LINES_TOGETHER
    return both and first.parts[-1].metadata.get("role") != "seen"


_SPECIAL = {
    "You will be able to": _whole,
    "Predict first": _whole,
    "Set-up": _nothing,
    "Try it": _nothing,
    "Key points": _whole,
    "Quiz": _quiz,
    "References": _references,
}


_SHOWN_WHOLE = {"table": "table", "bullet_list": "points", "ordered_list": "points"}  # and the kind of slide


class _Section:
    """One section of prose and cells, read from above."""

    def __init__(self, name: str, cells: list[NotebookNode]):
        self.name, self.cells = name, cells
        self.topic = name  # the heading above the present place
        self.lead = ""  # the sentence that leads to the next figure, until one has taken it
        self.asks = False  # whether the last sentence asks for what the next cell prints
        self.prose = ""  # of the last cell of text
        self.told = ""  # the paragraph whose beginning stands below the last figure

    def slides(self) -> Iterator[Slide]:
        for place, cell in enumerate(self.cells):
            if cell.cell_type == "markdown":
                yield from self.explained(blocks(cell.source), self.seen_before(place))
            elif cell.cell_type == "code":
                yield from self.made(cell, place)

    def slide(self, kind: str, *parts: NotebookNode, notes: str = "") -> Slide:
        return Slide(kind, self.topic, self.name, [part for part in parts if part], notes or self.prose)

    def seen_before(self, place: int) -> bool:
        """Tell whether the text at `place` says what the figure before it shows: it stands there already."""
        told = (cell for cell in self.cells[:place][::-1] if _pictures(cell) or cell.cell_type == "markdown")
        return bool(_pictures(next(told, {"metadata": {}})))

    def explained(self, found: list[Block], seen: bool) -> Iterator[Slide]:
        """Show the formulas, tables and lists of a cell of text; its sentences lead to what comes next."""
        self.prose = "\n\n".join(block.source for block in found if block.kind in ("paragraph", "bullet_list"))
        self.lead, opens = "", False
        for place, block in enumerate(found):
            before, after = _paragraph(found, place - 1), _paragraph(found, place + 1)
            if block.kind == "heading":
                self.topic, opens, seen = block.source.lstrip("# "), True, False
            elif block.kind == "math_block":
                parts = _said(closing(before, LEAD)), _text("formula", block.source), _seen(opening(after, SEEN))
                yield self.slide("formula", *parts)
                self.lead, self.told = "", after
            elif block.kind in _SHOWN_WHOLE:
                yield self.slide(_SHOWN_WHOLE[block.kind], _said(closing(before, LEAD)), _text("points", block.source))
                self.lead = ""
            elif block.kind == "paragraph" and not seen:
                leads_to_formula = any(each.kind in ("math_block", *_SHOWN_WHOLE) for each in found[place : place + 2])
                if opens and self.name in ("Idea", "Break it") and not leads_to_formula:
                    yield self.slide("statement", _said(opening(block.source, STATEMENT)))
                    self.lead = ""
                elif opens:
                    self.lead = opening(block.source, LEAD)
                else:
                    self.lead = self.rest(block.source)
                opens = False
                self.asks = block.source.endswith((":", "?"))

    def rest(self, paragraph: str) -> str:
        """Return a paragraph's last sentences, unless the last slide shows its first ones and there are no others."""
        shown = opening(paragraph, SEEN) if paragraph == self.told else ""
        return closing(" ".join(paragraph.split())[len(shown) :], LEAD)

    def made(self, cell: NotebookNode, place: int) -> Iterator[Slide]:
        """Show a cell's figures and tables, or its code where it is the method."""
        after = self.after(place)
        printed = _printed(cell)
        notes = "\n\n".join(part for part in (self.prose, after, f"```\n{printed}\n```" if printed else "") if part)
        lead = _said(self.lead)
        if pictures := _pictures(cell):
            *others, last = pictures
            for picture in others:
                yield self.slide(_shape(picture), lead, picture, notes=notes)
                lead = None
            seen = self.seen(after)
            if lead and seen and len(lead.source) + len(seen.source) > BESIDE_A_FIGURE:
                lead = None
            yield self.slide(_shape(last), lead, last, seen, notes=notes)
        elif tables := _tables(cell):
            for table in tables:
                yield self.slide("table", lead, table, notes=notes)
                lead = None
        elif self.is_method(cell):
            lines = _short(printed)
            fits = lines and cell.source.count("\n") + lines.count("\n") + 2 <= LINES_TOGETHER
            yield self.slide("method", lead, _code(cell), _output(lines) if fits else None)
        elif (self.name == "Break it" or self.asks) and (lines := _short(printed)):
            yield self.slide("printed", lead, _output(lines), self.seen(after), notes=notes)
        else:
            return
        self.lead, self.asks = "", False

    def seen(self, after: str) -> NotebookNode | None:
        """Return the sentences below a figure, those that the last slide does not show already."""
        if after == self.told:
            return None
        self.told = after
        return _seen(opening(after, SEEN))

    def after(self, place: int) -> str:
        """Return the text that says what the cell at `place` shows, up to the next heading, or nothing."""
        for cell in self.cells[place + 1 :]:
            if cell.cell_type == "markdown":
                found = blocks(cell.source)
                if found and found[0].kind == "paragraph":
                    return found[0].source
            if cell.cell_type == "markdown" or _pictures(cell) or _tables(cell):
                return ""
        return ""

    def is_method(self, cell: NotebookNode) -> bool:
        lines = cell.source.split("\n")
        defines = re.search(r"(?m)^(@|def |class )", cell.source)
        short = len(lines) <= METHOD_LINES and max(map(len, lines)) <= METHOD_COLUMNS
        return self.name in ("Idea", "Train", "Break it") and bool(defines) and short and "plt." not in cell.source


# ---- parts of a slide


def _text(role: str, source: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(source.strip(), metadata={"role": role})


def _said(source: str) -> NotebookNode | None:
    return _text("said", source) if source else None


def _seen(source: str) -> NotebookNode | None:
    return _text("seen", source) if source else None


def _code(cell: NotebookNode) -> NotebookNode:
    return nbformat.v4.new_code_cell(cell.source)


def _output(lines: str) -> NotebookNode:
    stream = nbformat.v4.new_output("stream", name="stdout", text=lines)
    return _only_output(stream)


def _only_output(output: NotebookNode) -> NotebookNode:
    return nbformat.v4.new_code_cell("", outputs=[output], metadata={"transient": {"remove_source": True}})


def _pictures(cell: NotebookNode) -> list[NotebookNode]:
    """Return a cell for each picture that a cell made, with the description for those who do not see it."""
    alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
    data = [output.data["image/png"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    return [
        _only_output(nbformat.v4.new_output("display_data", {"image/png": png}, metadata={"image/png": {"alt": alt}}))
        for png in data
    ]


def _shape(picture: NotebookNode) -> str:
    with Image.open(io.BytesIO(base64.b64decode(picture.outputs[0].data["image/png"]))) as image:
        return "tall" if image.width < TALL * image.height else "figure"


def _tables(cell: NotebookNode) -> list[NotebookNode]:
    """Return a cell for each table that a cell made; a long one is parted, and its head repeated."""
    html = [output.data.get("text/html", "") for output in cell.get("outputs", []) if "data" in output]
    found = [table for text in html for table in BeautifulSoup(text, "html.parser").select("table")]
    return [
        _only_output(nbformat.v4.new_output("display_data", {"text/html": part}))
        for table in found
        for part in _parted(str(table))
    ]


def _parted(table: str) -> Iterator[str]:
    rows = len(BeautifulSoup(table, "html.parser").select("tbody tr"))
    parts = -(-rows // TABLE_ROWS)
    for part in range(parts):
        soup = BeautifulSoup(table, "html.parser")
        for place, row in enumerate(soup.select("tbody tr")):
            if place * parts // rows != part:
                row.decompose()
        yield str(soup)


def _printed(cell: NotebookNode) -> str:
    told = [output.text for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    return "".join(told).rstrip()


def _short(printed: str) -> str:
    """Return printed lines if a slide has room for them; what became of claims is among the key points."""
    lines = [line for line in printed.split("\n") if line and not line.startswith(("holds:", "DOES NOT HOLD:"))]
    fits = len(lines) <= PRINTED_LINES and all(len(line) <= PRINTED_COLUMNS for line in lines)
    return "\n".join(lines) if fits else ""


# ---- prose


def _paragraph(found: list[Block], place: int) -> str:
    """Return the paragraph at a place, or nothing if there is none."""
    return found[place].source if 0 <= place < len(found) and found[place].kind == "paragraph" else ""


@cache
def parser() -> MarkdownIt:
    """Return a parser of the Markdown that the chapters are written in."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").use(dollarmath_plugin, double_inline=True)


def blocks(source: str) -> list[Block]:
    """Return the blocks of some Markdown, in order."""
    lines = source.split("\n")
    return [
        Block(token.type.removesuffix("_open"), "\n".join(lines[slice(*token.map)]).strip())
        for token in parser().parse(source)
        if token.level == 0 and token.map and token.nesting >= 0
    ]


def _below_heading(source: str) -> str:
    return source.partition("\n")[2].strip() + "\n"


# what no sentence ends in: formulas, code, links
_KEPT = re.compile(r"\$[^$]+\$|`[^`]+`|\[[^\]]*\]\([^)]*\)")
_END = re.compile(r"""(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\b[A-Z])[.?!][*_)”"']*(?=\s+["“'(\[*_`$]*[A-Z0-9$`])""")


def _sentences(prose: str) -> list[str]:
    prose = " ".join(prose.split())
    kept = [range(*found.span()) for found in _KEPT.finditer(prose)]
    ends = [found.end() for found in _END.finditer(prose) if not any(found.start() in each for each in kept)]
    return [prose[begin:end].strip() for begin, end in zip([0, *ends], [*ends, len(prose)], strict=True)]


def opening(prose: str, room: int) -> str:
    """Return the first sentences, as many whole ones as `room` characters hold, at least one."""
    return _within(_sentences(prose), room)


def closing(prose: str, room: int) -> str:
    """Return the last sentences, as many whole ones as `room` characters hold, at least one."""
    return _within(_sentences(prose)[::-1], room, backwards=True)


def _within(sentences: list[str], room: int, backwards: bool = False) -> str:
    taken = sentences[:1]
    for sentence in sentences[1:]:
        if len(" ".join([*taken, sentence])) > room:
            break
        taken.append(sentence)
    return " ".join(taken[::-1] if backwards else taken)

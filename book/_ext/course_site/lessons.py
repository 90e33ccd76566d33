"""What the instructor pages show: syllabi added up, how long each chapter takes, and what a cell showed in this build.

No minute and no figure is written twice. Minutes stand in each chapter's card and in the questions of its assignment,
seconds in the results store, pictures in the executed chapters, and the plans of a term in ``book/lessons.yml``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import yaml
from docutils import nodes

__all__ = [
    "Chapter",
    "Shown",
    "assignment_html",
    "calendar_html",
    "chapter",
    "evidence",
    "facts",
    "shown",
    "syllabus_html",
]

NOT_MEASURED = "not measured"

# the heading of a question in an assignment, and the line below it
_QUESTION = re.compile(
    r"""
    \#\#\#\ Question\ (?P<number>\d+)
    \ \((?P<stars>★+)\ ·\ (?P<minutes>\d+)\ minutes\ ·\ (?P<points>\d+)\ points?\):\ (?P<title>.+)\n+
    \*Objective:\ (?P<objective>.+)\*
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Chapter:
    """What a chapter asks of its readers, in minutes.

    Attributes
    ----------
    slug, title : str
    read, exercises : int
    assignment : int or None
        None where the chapter has no assignment.
    """

    slug: str
    title: str
    read: int
    exercises: int
    assignment: int | None


@dataclass(frozen=True)
class Shown:
    """What a cell showed.

    Attributes
    ----------
    pictures : list of bytes
        PNG files.
    text : str
        What was printed.
    description : str
        Of the pictures, for those who do not see them.
    chapter, section, anchor : str
        The chapter's title, the heading above the cell, and the heading's anchor on the chapter's page.
    """

    pictures: list[bytes]
    text: str
    description: str
    chapter: str
    section: str
    anchor: str


def facts(source: Path) -> dict:
    """Return what ``book/lessons.yml`` holds; `source` is the folder above ``book/``."""
    return yaml.safe_load((source / "book" / "lessons.yml").read_text(encoding="utf-8"))


# ---- chapters


def chapter(source: Path, slug: str) -> Chapter:
    """Read a chapter's card, and the minutes of its assignment's questions."""
    title, card = _title_and_card(_cells(source / "notebooks" / f"{slug}.ipynb"))
    minutes = [int(card[name].split()[0]) for name in ("to read", "exercises")]
    return Chapter(slug, title, *minutes, _minutes_of_assignment(source, slug))


def _title_and_card(cells: list[dict]) -> tuple[str, dict[str, str]]:
    lines = "".join(cells[0]["source"]).splitlines()
    heads, _, values = ([part.strip() for part in line.strip("| ").split("|")] for line in lines if line[:1] == "|")
    return lines[0].removeprefix("# "), dict(zip(heads, values, strict=True))


def _minutes_of_assignment(source: Path, slug: str) -> int | None:
    questions = _questions(source, slug)
    return sum(int(question["minutes"]) for question in questions) if questions else None


def _questions(source: Path, slug: str) -> list[dict[str, str]]:
    """Return what the headings of an assignment's questions say; nothing where the chapter has no assignment."""
    master = source / "notebooks" / "assignments" / f"{slug}.ipynb"
    return [found.groupdict() for found in _QUESTION.finditer(_prose(_cells(master)))] if master.exists() else []


def _cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def _prose(cells: list[dict]) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


# ---- what a cell showed


def shown(source: Path, executed: Path, cell: str) -> Shown:
    """Return what one cell of a chapter showed.

    Parameters
    ----------
    source, executed : Path
        The chapter, and the same after its execution.
    cell : str
        The cell's id.

    Raises
    ------
    LookupError
        If the chapter has no such cell, was not executed, or the cell showed nothing.
    """
    cells = _cells(source)
    place = next((number for number, each in enumerate(cells) if each["id"] == cell), None)
    if place is None:
        raise LookupError(f"{source.stem} has no cell {cell!r}: name one of {', '.join(each['id'] for each in cells)}.")
    if not executed.exists():
        raise LookupError(f"{source.stem} was not executed: run `make book`.")
    outputs = next((each["outputs"] for each in _cells(executed) if each["id"] == cell), [])
    pictures = [base64.b64decode("".join(each["data"]["image/png"])) for each in outputs if _is_picture(each)]
    text = "".join("".join(each["text"]) for each in outputs if each.get("name") == "stdout")
    if not (pictures or text):
        raise LookupError(f"The cell {cell!r} of {source.stem} showed neither a picture nor printed lines.")
    description = cells[place]["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
    section = _headings(cells[: place + 1])[-1]
    title, _ = _title_and_card(cells)
    return Shown(pictures, text.strip("\n"), description, title, section, nodes.make_id(section))


def _is_picture(output: Mapping) -> bool:
    return "image/png" in output.get("data", {})


def _headings(cells: list[dict]) -> list[str]:
    return re.findall(r"(?m)^#+ (.+?) *$", _prose(cells))


def evidence(found: Shown, site: Path, source: Path | str, page: str) -> list[nodes.Node]:
    """Return what a cell showed as nodes that look as on the chapter's page, and a link to its section.

    Parameters
    ----------
    found : Shown
    site : Path
        The site's folder; a picture gets the file that MyST-NB has written beside it for the chapter's page.
    source : Path or str
        The folder of the sources, to which Sphinx wants the way to a picture to be relative.
    page : str
        The relative way to the chapter's page.
    """
    output = nodes.container(classes=["cell_output"])
    for picture in found.pictures:
        path = site.parent / "jupyter_execute" / f"{hashlib.sha256(picture).hexdigest()}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
        output += nodes.image(uri="/" + os.path.relpath(path, source), alt=found.description)
    if found.text:
        printed = nodes.literal_block(found.text, found.text, language="none")
        output += nodes.container("", printed, classes=["output", "stream"])
    link = nodes.reference("", found.section, refuri=f"{page}#{found.anchor}", internal=True)
    words = link, nodes.Text(" in "), nodes.emphasis(text=found.chapter), nodes.Text(", as this build ran it.")
    return [nodes.container("", output, classes=["cell"]), nodes.paragraph("", "", nodes.Text("From "), *words)]


# ---- assignments


def assignment_html(source: Path, slug: str) -> str:
    """Return a table of an assignment's questions: what each one tests, how hard it is, and how long it takes.

    Parameters
    ----------
    source : Path
        The folder above ``notebooks/``.
    slug : str
        The chapter's.
    """
    questions = _questions(source, slug)
    if not questions:
        return "<p>This chapter has no assignment.</p>\n"
    rows, numbers = "", ("minutes", "points")
    for question in questions:
        told = {name: escape(value) for name, value in question.items()}
        counts = "".join(f'<td class="number">{told[name]}</td>' for name in numbers)
        title = f"{told['number']}. {told['title']} ({told['stars']})"
        rows += f'<tr><th scope="row">{title}</th><td>{told["objective"]}</td>{counts}</tr>'
    heads = '<th scope="col">Question</th><th scope="col">What it tests</th>'
    heads += "".join(f'<th scope="col" class="number">{name.capitalize()}</th>' for name in numbers)
    sums = (sum(int(question[name]) for question in questions) for name in numbers)
    foot = '<tr><th scope="row" colspan="2">Together</th>'
    foot += "".join(f'<td class="number">{value}</td>' for value in sums) + "</tr>"
    return _table("The assignment's questions", heads, rows, foot)


# ---- syllabi


def syllabus_html(source: Path, weeks: int, root: str) -> str:
    """Return a syllabus as a table with a row for each week, and its hours added up.

    Parameters
    ----------
    source : Path
        The folder above ``book/`` and ``notebooks/``.
    weeks : int
        Which of the syllabi of ``book/lessons.yml``.
    root : str
        The relative way from the page to the site's root.

    Raises
    ------
    LookupError
        If there is no syllabus of so many weeks.
    """
    known = facts(source)
    if weeks not in known["syllabi"]:
        raise LookupError(f"There is no syllabus of {weeks} weeks: choose one of {sorted(known['syllabi'])}.")
    plan, rows, total = known["syllabi"][weeks], "", {"class": 0, "home": 0}
    for number, sessions in enumerate(plan, start=1):
        found = [_session(source, name, known, "laboratory" in sessions, root) for name in sessions]
        minutes = {"class": known["lesson"] * len(sessions), "home": sum(home for _, home in found)}
        total = {place: total[place] + minutes[place] for place in total}
        listed = "".join(f"<li>{name}</li>" for name, _ in found)
        rows += f'<tr><th scope="row">{number}</th><td><ul>{listed}</ul></td>{_hours(minutes)}</tr>'
    heads = '<th scope="col">Week</th><th scope="col">In class</th>'
    heads += '<th scope="col" class="number">Hours in class</th><th scope="col" class="number">Hours at home</th>'
    label = f"Syllabus of {weeks} weeks"
    foot = f'<tr><th scope="row" colspan="2">Together</th>{_hours(total)}</tr>'
    return _table(label, heads, rows, foot)


def _session(source: Path, name: str, known: dict, practised: bool, root: str) -> tuple[str, int]:
    """Return a session's name as HTML, and its minutes at home, without exercises that are practised in class."""
    if name in known["events"]:
        return escape(known["events"][name]["title"]), known["events"][name]["home"]
    if not (source / "notebooks" / f"{name}.ipynb").exists():
        raise LookupError(f"A syllabus names {name!r}: it is no chapter, and none of {', '.join(known['events'])}.")
    about = chapter(source, name)
    home = about.read + (0 if practised else about.exercises) + (about.assignment or 0)
    return _link(about, root), home


def _hours(minutes: Mapping[str, int]) -> str:
    return "".join(f'<td class="number">{value / 60:.1f}</td>' for value in minutes.values())


# ---- the calendar


def calendar_html(source: Path, runs: Mapping[str, Mapping], recorded: Mapping[str, Mapping], root: str) -> str:
    """Return a table of the minutes that people need, and of the time that machines needed, chapter by chapter.

    Parameters
    ----------
    source : Path
        The folder above ``book/`` and ``notebooks/``.
    runs : mapping
        The executions that this build shows, by chapter, in the book's order.
    recorded : mapping
        Executions on other machines that are kept in the repository.
    root : str
        The relative way from the page to the site's root.
    """
    devices = " and ".join(sorted({f"{run['device']}, {run['profile']} profile" for run in runs.values()}))
    names = ("Read", "Exercises", "Lesson", "Assignment", f"This build, seconds ({escape(devices)})")
    names += ("Recorded full run", "T4, minutes")
    heads = '<th scope="col">Chapter</th>' + "".join(f'<th scope="col" class="number">{name}</th>' for name in names)
    lesson, rows = facts(source)["lesson"], ""
    for slug, run in runs.items():
        about = chapter(source, slug)
        cells = [about.read, about.exercises, lesson, "none" if about.assignment is None else about.assignment]
        cells += [f"{run['seconds']:.0f}", *_elsewhere(recorded.get(slug))]
        values = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows += f'<tr><th scope="row">{_link(about, root)}</th>{values}</tr>'
    total = sum(run["seconds"] for run in runs.values())
    foot = f'<tr><th scope="row" colspan="5">All chapters</th><td class="number">{total:.0f}</td>'
    foot += '<td colspan="2"></td></tr>'
    return _table("How long each chapter takes", heads, rows, foot)


def _elsewhere(run: Mapping | None) -> tuple[str, str]:
    """Return what a recorded run took, with its device, and the minutes of one on a T4."""
    if run is None:
        return NOT_MEASURED, NOT_MEASURED
    on_a_t4 = f"{run['seconds'] / 60:.0f}" if "T4" in run["device"] else NOT_MEASURED
    return escape(f"{run['seconds']:.0f} s, {run['device']}"), on_a_t4


def _link(about: Chapter, root: str) -> str:
    return f'<a href="{root}notebooks/{about.slug}.html">{escape(about.title)}</a>'


def _table(label: str, heads: str, rows: str, foot: str) -> str:
    return (
        f'<div class="pst-scrollable-table-container" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        f"<tfoot>{foot}</tfoot></table></div>\n"
    )

"""The list of chapters, and the table of what their executions took."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path

from helpers.results import Record, Recorded

__all__ = ["map_html", "recorded_html", "status_html"]

_RECORDED = {"knn": "kNN", "linear_probe": "linear probe"}


def map_html(lines: list[str], source: Path, root: str) -> str:
    """Return the chapters as a list of cards: first those that exist, then those that are planned.

    Parameters
    ----------
    lines : list of str
        ``slug | title | promise``, in the book's order. A chapter that exists speaks for itself: its
        title and promise are read from its notebook.
    source : Path
        The folder above ``notebooks/``.
    root : str
        The relative way from the page to the site's root.
    """
    cards: dict[bool, list[str]] = {True: [], False: []}
    for line in filter(str.strip, lines):
        slug, title, promise = ([part.strip() for part in line.split("|")] + ["", ""])[:3]
        notebook = source / "notebooks" / f"{slug}.ipynb"
        if notebook.exists():
            title, promise = _opening(notebook)
            name = f'<a href="{root}notebooks/{slug}.html">{escape(title)}</a>'
        else:
            name = escape(title or _spoken(slug))
        text = f'<span class="course-promise">{escape(promise)}</span>' if promise else ""
        cards[notebook.exists()].append(f'<li><span class="course-name">{name}</span>{text}</li>')
    html = f'<ol class="course-chapters">{"".join(cards[True])}</ol>\n'
    if cards[False]:
        html += '<p class="course-planned-title">Planned, in this order:</p>\n'
        html += (
            f'<ol class="course-chapters course-planned" start="{len(cards[True]) + 1}">{"".join(cards[False])}</ol>\n'
        )
    return html


def _opening(notebook: Path) -> tuple[str, str]:
    """Return a notebook's title and the paragraph after it, its promise."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        title, _, rest = "".join(cell["source"]).strip().partition("\n")
        if cell["cell_type"] == "markdown" and title.startswith("# "):
            promise = next((part for part in rest.split("\n\n") if part.strip()), "")
            return _plain(title[2:]), _plain(promise)
    raise ValueError(f"{notebook.name} has no title: its first Markdown cells hold no line that begins with '# '.")


def _plain(markdown: str) -> str:
    """Return a paragraph without emphasis, code marks and the addresses of links."""
    return " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown).replace("*", "").replace("`", "").split())


def _spoken(slug: str) -> str:
    return slug.replace("-", " ").capitalize()


def status_html(runs: Mapping[str, Mapping], source: Path, root: str) -> str:
    """Return a table with a row for each chapter's execution, and the packages' versions below it."""
    rows = "".join(_status_row(slug, run, source, root) for slug, run in runs.items())
    total = sum(run["seconds"] for run in runs.values())
    numbers, words = ("Seconds", "Cells", "Memory (MiB)"), ("Profile", "Device", "Back-end", "Finished")
    heads = [f'<th scope="col" class="number">{head}</th>' for head in numbers]
    heads += [f'<th scope="col">{head}</th>' for head in words]
    return (
        '<div class="pst-scrollable-table-container" tabindex="0" role="region" aria-label="Executions">'
        f'<table class="table course-status"><thead><tr><th scope="col">Chapter</th>{"".join(heads)}</tr></thead>'
        f'<tbody>{rows}</tbody><tfoot><tr><th scope="row">All chapters</th><td class="number">{total:.0f}</td>'
        f'<td colspan="{len(heads) - 1}"></td></tr></tfoot></table></div>\n' + _versions_html(runs)
    )


def _status_row(slug: str, run: Mapping, source: Path, root: str) -> str:
    notebook = source / "notebooks" / f"{slug}.ipynb"
    name = _spoken(slug)
    if notebook.exists():
        name = f'<a href="{root}notebooks/{slug}.html">{escape(_opening(notebook)[0])}</a>'
    finished = datetime.fromisoformat(run["finished"])
    when = f'<time datetime="{finished.isoformat()}">{finished:%Y-%m-%d %H:%M}</time>'
    numbers = (f"{run['seconds']:.0f}", f"{run['cells']}", f"{run['peak_mebibytes']:.0f}")
    words = (run["profile"], run["device"], run["backend"])
    return (
        f'<tr><th scope="row">{name}</th>'
        + "".join(f'<td class="number">{value}</td>' for value in numbers)
        + "".join(f"<td>{escape(str(value))}</td>" for value in words)
        + f"<td>{when}</td></tr>"
    )


def recorded_html(recorded: Mapping[str, Recorded], here: list[Record], source: Path, root: str) -> str:
    """Return for each recorded run what it took, and its rows beside those of this build."""
    if not recorded:
        return "<p>No full run has been recorded yet.</p>\n"
    return "".join(_recorded_chapter(slug, told, here, source, root) for slug, told in recorded.items())


def _recorded_chapter(slug: str, told: Recorded, here: list[Record], source: Path, root: str) -> str:
    run, claims = told.run, told.claims
    notebook = source / "notebooks" / f"{slug}.ipynb"
    title = escape(_opening(notebook)[0] if notebook.exists() else _spoken(slug))
    held = f" {sum(claim.holds for claim in claims)} of its {len(claims)} claims held." if claims else ""
    failed = "".join(f"<li>Did not hold: {escape(claim.sentence)}</li>" for claim in claims if not claim.holds)
    shown = {(row.data, row.method): row for row in here if row.chapter == slug}
    heads = "".join(
        f'<th scope="col" class="number">{escape(name)}, {where}</th>'
        for name in _RECORDED.values()
        for where in ("recorded", "here")
    )
    rows = "".join(_recorded_row(row, shown.get((row.data, row.method))) for row in told.records)
    return (
        f'<h3><a href="{root}notebooks/{slug}.html">{title}</a></h3>'
        f"<p>Profile {escape(run['profile'])}, {run['seconds']:.0f} seconds on {escape(run['device'])} by "
        f"{escape(run['backend'])}, {datetime.fromisoformat(run['finished']):%Y-%m-%d}, "
        f"commit {escape(run['commit'] or 'unknown')}.{held}</p>"
        + (f"<ul>{failed}</ul>" if failed else "")
        + '<div class="pst-scrollable-table-container" tabindex="0" role="region" '
        f'aria-label="Recorded run: {title}"><table class="table course-status"><thead><tr>'
        f'<th scope="col">Features</th><th scope="col">Images</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _recorded_row(row: Record, here: Record | None) -> str:
    cells = "".join(
        f'<td class="number">{other.mean(measure):.3f}</td>' if other else '<td class="number">not run</td>'
        for measure in _RECORDED
        for other in (row, here)
    )
    return f'<tr><th scope="row">{escape(row.method)}</th><td>{escape(row.data)}</td>{cells}</tr>'


def _versions_html(runs: Mapping[str, Mapping]) -> str:
    """Return the packages' versions: once where all chapters share them, else chapter by chapter."""
    groups: dict[tuple, list[str]] = {}
    for slug, run in runs.items():
        groups.setdefault(tuple(sorted(run["versions"].items())), []).append(_spoken(slug))
    lines = []
    for versions, names in groups.items():
        who = "All chapters" if len(groups) == 1 else ", ".join(names)
        lines.append(
            f"<p>{escape(who)}: " + " · ".join(escape(f"{name} {version}") for name, version in versions) + "</p>"
        )
    return f'<div class="course-versions">{"".join(lines)}</div>\n'

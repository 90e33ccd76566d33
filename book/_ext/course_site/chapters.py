"""The list of chapters, and the table of what their executions took."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from helpers.results import Claim, Record, Recorded
from helpers.scorecard import written

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


def recorded_html(
    recorded: Mapping[str, Recorded], here: Sequence[Record], claims_here: Sequence[Claim], source: Path, root: str
) -> str:
    """Return for each recorded run what it took, and its claims and rows beside those of this build."""
    if not recorded:
        return "<p>No full run has been recorded yet.</p>\n"
    parts = []
    for slug, told in recorded.items():
        rows = {(row.data, row.method): row for row in here if row.chapter == slug}
        claims = {claim.sentence: claim for claim in claims_here if claim.chapter == slug}
        parts += [_recorded_head(slug, told, source, root), _recorded_claims(slug, told.claims, claims)]
        parts.append(_recorded_rows(slug, told.records, rows))
    return "".join(parts)


def _recorded_head(slug: str, told: Recorded, source: Path, root: str) -> str:
    run, held = told.run, sum(claim.holds for claim in told.claims)
    notebook = source / "notebooks" / f"{slug}.ipynb"
    title = escape(_opening(notebook)[0] if notebook.exists() else _spoken(slug))
    kept = f" {held} of its {len(told.claims)} claims held." if told.claims else ""
    return (
        f'<h3><a href="{root}notebooks/{slug}.html">{title}</a></h3>'
        f"<p>Profile {escape(run['profile'])}, {run['seconds']:.0f} seconds on {escape(run['device'])} by "
        f"{escape(run['backend'])}, {datetime.fromisoformat(run['finished']):%Y-%m-%d}, "
        f"commit {escape(run['commit'] or 'unknown')}.{kept}</p>\n"
    )


def _recorded_claims(slug: str, claims: Sequence[Claim], here: Mapping[str, Claim]) -> str:
    """Return a table of the claims: the value of each seed in the recorded run and in this build's."""
    if not claims:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(claim.sentence)}</th><td>{claim.band}</td>'
        f"<td>{_decided(claim)}</td><td>{_decided(here.get(claim.sentence))}</td></tr>"
        for claim in claims
    )
    heads = ("Claim", "Holds if", "Recorded, each seed", "Here, each seed")
    return _recorded_table(f"Recorded claims: {_spoken(slug)}", "course-claims", [(head, "") for head in heads], rows)


def _decided(claim: Claim | None) -> str:
    if claim is None:
        return "not run"
    return claim.told if claim.holds else f"{claim.told} <strong>does not hold</strong>"


def _recorded_rows(slug: str, records: Sequence[Record], here: Mapping[tuple, Record]) -> str:
    """Return a table of the scores: mean and spread over the seeds, in the recorded run and in this build's."""
    scores = [f"{name}, {where}" for name in _RECORDED.values() for where in ("recorded", "here")]
    heads = [("Features", ""), ("Images", ""), *((score, "number") for score in scores)]
    rows = "".join(_recorded_row(row, here.get((row.data, row.method))) for row in records)
    return _recorded_table(f"Recorded scores: {_spoken(slug)}", "course-recorded", heads, rows)


def _recorded_row(row: Record, here: Record | None) -> str:
    cells = "".join(
        f'<td class="number">{written(other, measure) if other else "not run"}</td>'
        for measure in _RECORDED
        for other in (row, here)
    )
    return f'<tr><th scope="row">{escape(row.method)}</th><td>{escape(row.data)}</td>{cells}</tr>'


def _recorded_table(label: str, kind: str, heads: Sequence[tuple[str, str]], rows: str) -> str:
    head = "".join(f'<th scope="col" class="{sort}">{escape(name)}</th>' for name, sort in heads)
    return (
        f'<div class="pst-scrollable-table-container" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="table {kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n'
    )


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

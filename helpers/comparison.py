"""Where all methods meet: one table, a rank picture, and sentences made from the stored numbers.

Only rows scored on the same images are compared. Two rows differ when their means are further apart than the *noise*

    s = sqrt(seeds^2 + p1 (1 - p1) / m + p2 (1 - p2) / m),

where ``seeds`` is the standard error of the difference of two means over seeds,

    seeds^2 = v / n1 + v / n2,   v = ((n1 - 1) s1^2 + (n2 - 1) s2^2) / (n1 + n2 - 2),

and the other two terms stand for the draw of the m test images, on which an accuracy p has the variance p (1 - p) / m.
For measures that are no accuracy only the seeds are known. Both rows are scored on the same images, so the sum is
usually an upper bound. With one seed in each row ``seeds`` does not exist. The rule is a reading aid, not a test: a
difference of one s is weak evidence.

The page is made from the results store alone: no kernel, no network, no Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from .results import Claim, Record, slug
from .scorecard import MEASURES, written

__all__ = ["chapter_title", "claims_html", "comparison_html", "comparison_markdown", "counted", "within_noise"]

_RANKED_BY = ("knn", "linear_probe")
_ACCURACIES = ("knn", "linear_probe", "kmeans_accuracy")
_README = ("knn", "linear_probe", "kmeans_accuracy", "nmi", "p_value")
# neither a cause to rank rows by: a smaller p-value makes no better feature, and goodness shrinks with dimension
_NOT_RANKED = ("goodness", "p_value")

_KINDS = {"baseline": "baseline", "method": "unsupervised", "supervised": "supervised"}


def comparison_html(records: Sequence[Record]) -> str:
    """Return the comparison page as one HTML fragment.

    For each data set it says which row is best by which measure, which differences lie within the noise of the
    seeds, and which rows the untrained network already explains, beside a picture that ranks the rows by kNN and
    linear probe. Then follow the table of all rows and what its columns mean. ``gallery.js`` makes the table
    sortable; without it the table is a plain one.

    Parameters
    ----------
    records : sequence of Record

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the store is empty.
    """
    groups = _by_data(records)
    sections = [_section(data, rows) for data, rows in groups.items()]
    return "\n".join(
        [
            '<div class="course-comparison">',
            f"<p>{_summary(records, groups)}</p>",
            *sections,
            '<h2 id="comparison-all-rows">All rows</h2>',
            _table(groups),
            '<h2 id="comparison-columns">What the columns mean</h2>',
            _columns(),
            "</div>",
        ]
    )


def comparison_markdown(records: Sequence[Record], chapter: str | None = None) -> str:
    """Return the main measures as a Markdown table, for the README.

    Parameters
    ----------
    records : sequence of Record
    chapter : str, optional
        The slug of the one chapter to show; without it, all of them.

    Returns
    -------
    str
        Columns that would hold the same entry in each row (chapter, data set) are left out.

    Raises
    ------
    ValueError
        If there is no record, or none of that chapter.
    """
    rows = [record for record in records if chapter is None or record.chapter == chapter]
    if records and not rows:
        there = ", ".join(dict.fromkeys(record.chapter for record in records))
        raise ValueError(f"The results store has no record of the chapter {chapter!r} (there are: {there}).")
    ordered = [record for group in _by_data(rows).values() for record in group]
    columns: dict[str, Callable[[Record], str]] = {}
    if len({record.data for record in ordered}) > 1:
        columns["data"] = lambda record: record.data
    if len({record.chapter for record in ordered}) > 1:
        columns["chapter"] = lambda record: chapter_title(record.chapter)
    columns["method"] = lambda record: record.method
    columns["dimensions"] = lambda record: f"{record.dimensions:,}"
    texts = len(columns) - 1
    for key in _README:
        title = "goodness p-value" if key == "p_value" else MEASURES[key].title
        columns[title] = lambda record, key=key: written(record, key)
    lines = [list(columns), ["---"] * texts + ["--:"] * (len(columns) - texts)]
    lines += [[cell(record).replace("|", "\\|") for cell in columns.values()] for record in ordered]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def claims_html(claims: Sequence[Claim]) -> str:
    """Return a table of what the chapters claim: each sentence, the value of each seed, and whether it holds.

    Parameters
    ----------
    claims : sequence of Claim

    Returns
    -------
    str
    """
    heads = ("Claim", "Chapter", "Value of each seed", "Holds if", "Holds")
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    rows = "".join(
        f'<tr><th scope="row">{escape(claim.sentence)}</th><td>{_chapter_link(claim.chapter)}</td>'
        f"<td>{', '.join(f'{value:.3g}' for value in claim.values)}</td><td>{escape(claim.band)}</td>"
        f"<td>{'yes' if claim.holds else '<strong>no</strong>'}</td></tr>"
        for claim in claims
    )
    return (
        '<div class="pst-scrollable-table-container" role="region" aria-label="What the chapters claim" tabindex="0">'
        f'<table class="table course-claims"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def within_noise(record: Record, other: Record, measure: str) -> bool:
    """Tell whether two rows' means are no further apart than the noise of the seeds and of the test images.

    Parameters
    ----------
    record, other : Record
    measure : str
        A key of `helpers.scorecard.MEASURES` that both rows hold.
    """
    return abs(record.mean(measure) - other.mean(measure)) <= _noise(record, other, measure)


def chapter_title(chapter: str) -> str:
    """Return a chapter's slug as words.

    Examples
    --------
    >>> chapter_title("convolutional-autoencoder")
    'Convolutional autoencoder'
    """
    return chapter.replace("-", " ").capitalize()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _by_data(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group rows that may be compared: those scored on the same images, in the order in which the sets appear.

    Where chapters scored different images of one set, the chapter that came first stands in the group's name.
    """
    if not records:
        raise ValueError("The results store is empty: run `make book`, which runs the chapters and fills it.")
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        groups.setdefault((record.data, record.about.get("images", {}).get("digest")), []).append(record)
    names = [data for data, _ in groups]
    return {
        data if names.count(data) == 1 else f"{data} ({chapter_title(rows[0].chapter)})": rows
        for (data, _), rows in groups.items()
    }


def _noise(record: Record, other: Record, measure: str) -> float:
    """Return the standard deviation of a difference of two rows, 0 where nothing is known of it."""
    images = sum(_sampling_variance(row, measure) for row in (record, other))
    seeds = (_pooled(record, other, measure) or 0.0) ** 2
    means = sum(seeds / len(row.measures[measure]) for row in (record, other))
    return math.sqrt(means + images)


def _sampling_variance(record: Record, measure: str) -> float:
    """Return the variance of an accuracy over draws of the test images, 0 for a measure that is none."""
    images = record.about.get("images", {}).get("test")
    if not images or measure not in _ACCURACIES:
        return 0.0
    return record.mean(measure) * (1 - record.mean(measure)) / images


def _pooled(record: Record, other: Record, measure: str) -> float | None:
    """Return the pooled standard deviation of two rows, or None where no row has two seeds."""
    freedoms = [len(row.measures[measure]) - 1 for row in (record, other)]
    if not sum(freedoms):
        return None
    squares = [row.spread(measure) ** 2 for row in (record, other)]
    return math.sqrt(np.dot(freedoms, squares) / sum(freedoms))


def _lead(record: Record, other: Record, measure: str) -> float:
    """Return by how much `record` is better than `other`; negative where it is worse."""
    difference = record.mean(measure) - other.mean(measure)
    return difference if MEASURES[measure].better == "higher" else -difference


def _compared() -> list[str]:
    """Return the measures by which rows are ranked."""
    return [key for key, measure in MEASURES.items() if measure.better and key not in _NOT_RANKED]


def _best(rows: Sequence[Record], measure: str) -> Record | None:
    """Return the best of the rows that saw no labels."""
    rows = [row for row in rows if row.kind != "supervised" and row.measures.get(measure)]
    sign = 1 if MEASURES[measure].better == "higher" else -1
    return max(rows, key=lambda row: sign * row.mean(measure), default=None)


def _tied(rows: Sequence[Record], best: Record, measure: str) -> list[Record]:
    """Return the other rows without labels that lie within the noise of the best one."""
    rows = [row for row in rows if row is not best and row.kind != "supervised" and row.measures.get(measure)]
    return [row for row in rows if within_noise(row, best, measure)]


def _untrained(record: Record, rows: Sequence[Record], measure: str) -> Record | None:
    """Return the untrained network that `record` must beat: of its own chapter if there is one, nearest in width.

    Its own chapter's has the same shape and was scored on the same images; and a wider network scores higher
    whether it was trained or not.
    """
    untrained = [row for row in rows if row.kind == "baseline" and "untrained" in row.method.lower()]
    own = [row for row in untrained if row.chapter == record.chapter] or untrained
    gap = {place: abs(math.log(row.dimensions / record.dimensions)) for place, row in enumerate(own)}
    nearest = [row for place, row in enumerate(own) if math.isclose(gap[place], min(gap.values()))]
    return _best(nearest, measure)


# ---- sentences


def _summary(records: Sequence[Record], groups: dict[str, list[Record]]) -> str:
    chapters = list(dict.fromkeys(record.chapter for record in records))
    profiles = list(dict.fromkeys(record.about["profile"] for record in records if "profile" in record.about))
    sets = [f"<strong>{escape(data)}</strong>" for data in groups]
    profile = f", computed in the profile {_joined(profiles)}" if profiles else ""
    return (
        f"{counted(len(records), 'row')} from {counted(len(chapters), 'chapter')}, "
        f"on {_joined(sets)}{profile}. Only rows scored on the same images are compared. "
        "A difference counts as noise when it is at most one standard deviation, over the seeds and, for accuracies, "
        "over draws of the test images."
    )


def _findings(rows: Sequence[Record]) -> str:
    """Say what the numbers of one data set show."""
    distinct = _distinct(rows)
    compared = [key for key in _compared() if sum(bool(row.measures.get(key)) for row in distinct) > 1]
    if not compared:
        return "<p>There is nothing to compare yet: no measure is known for two rows.</p>"
    parts = [_winners(distinct, compared), _ties(distinct, compared), _explained(rows), _supervised(distinct)]
    return "\n".join(part for part in parts if part)


def _winners(rows: Sequence[Record], compared: Sequence[str]) -> str:
    won: dict[int, list[str]] = {}
    by_number = dict(enumerate(rows))
    for key in compared:
        best = _best(rows, key)
        if best is not None:
            number = next(number for number, row in by_number.items() if row is best)
            won.setdefault(number, []).append(f"{MEASURES[key].title} ({written(best, key)})")
    sentences = [f"{_name(by_number[number], rows)} is best by {_joined(keys)}." for number, keys in won.items()]
    return f"<p>Of the rows that saw no labels, {' '.join(sentences)}</p>" if sentences else ""


def _ties(rows: Sequence[Record], compared: Sequence[str]) -> str:
    items, clear, unknown = [], [], []
    for key in compared:
        best = _best(rows, key)
        if best is None:
            continue
        tied = _tied(rows, best, key)
        others = "; ".join(f"{_name(row, rows)} ({written(row, key)})" for row in tied)
        title = MEASURES[key].title
        if tied:
            items.append(f"<li><strong>{escape(title)}</strong>: {others}</li>")
        elif not any(_noise(row, best, key) for row in rows if row is not best and row.measures.get(key)):
            unknown.append(title)
        else:
            clear.append(title)
    parts = []
    if items:
        parts.append(f"<p>Within the noise of the best row, so not shown to be worse:</p>\n<ul>{''.join(items)}</ul>")
    if clear:
        parts.append(f"<p>By {_joined(clear)} no other row comes within the noise of the best one.</p>")
    if unknown:
        parts.append(f"<p>By {_joined(unknown)} how large the noise is, is not known: the seeds show none.</p>")
    return "\n".join(parts)


def _explained(rows: Sequence[Record]) -> str:
    """Say which rows are no better than the untrained network: their training explains nothing there."""
    methods = [row for row in rows if row.kind == "method"]
    if not methods:
        return ""
    if not any(_untrained(row, rows, key) for row in methods for key in _compared()):
        return "<p>No untrained network was scored here, so what training adds cannot be told.</p>"
    items, beaten = [], []
    for row in methods:
        entries = list(filter(None, (_unbeaten(row, rows, key) for key in _compared())))
        if entries:
            items.append(f"<li>{_name(row, rows)}: {', '.join(entries)}</li>")
        else:
            beaten.append(_name(row, rows))
    parts = []
    if items:
        parts.append(
            "<p>What the untrained network already explains, because the row is not better by more than the noise "
            f"(the row's mean against the untrained network's):</p>\n<ul>{''.join(items)}</ul>"
        )
    if beaten:
        verb = "is" if len(beaten) == 1 else "are"
        parts.append(f"<p>Better than the untrained network by every measure {verb} {_joined(beaten)}.</p>")
    return "\n".join(parts)


def _unbeaten(row: Record, rows: Sequence[Record], key: str) -> str | None:
    """Return what `row` and the untrained network reach, where the row is not clearly better."""
    untrained = _untrained(row, rows, key)
    if untrained is None or not row.measures.get(key):
        return None
    if _lead(row, untrained, key) > _noise(row, untrained, key):
        return None
    return f"{MEASURES[key].title} ({row.mean(key):.3f} against {untrained.mean(key):.3f})"


def _supervised(rows: Sequence[Record]) -> str:
    supervised = [row for row in rows if row.kind == "supervised"]
    sentences = []
    for row in supervised:
        reached = [f"{MEASURES[key].title} {written(row, key)}" for key in _RANKED_BY if row.measures.get(key)]
        if reached:
            sentences.append(f"With labels, {_name(row, rows)} reaches {_joined(reached)}.")
    return f"<p>{' '.join(sentences)}</p>" if sentences else ""


def _name(row: Record, rows: Sequence[Record]) -> str:
    """Return the row's name, with its chapter where another chapter has a row of that name."""
    shared = any(other.method == row.method and other.chapter != row.chapter for other in rows)
    chapter = f" ({escape(chapter_title(row.chapter))})" if shared else ""
    return f"<strong>{escape(row.method)}</strong>{chapter}"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


# ---- the rank picture


def _section(data: str, rows: Sequence[Record]) -> str:
    heading = f'<h2 id="comparison-{slug(data)}">On {escape(data)}</h2>'
    return "\n".join([heading, _rank_picture(data, _distinct(rows)), _findings(rows)])


def _distinct(rows: Sequence[Record]) -> list[Record]:
    """Keep one of rows that are the same in several chapters, as the baselines are."""
    kept: dict[tuple, Record] = {}
    for row in rows:
        kept.setdefault((row.method, row.kind, row.dimensions, repr(sorted(row.measures.items()))), row)
    return list(kept.values())


def _rank_picture(data: str, rows: Sequence[Record]) -> str:
    """Draw a list of the rows by kNN, each with its two accuracies on a common line.

    A list with one small SVG a row rather than one large picture: its names wrap and stay legible on a phone,
    and a screen reader hears the rank and the numbers.
    """
    knn, probe = _RANKED_BY
    ranked = sorted((row for row in rows if row.measures.get(knn)), key=lambda row: -row.mean(knn))
    if not ranked:
        return ""
    low = math.floor(10 * min(row.mean(key) - row.spread(key) for row in ranked for key in _held(row))) / 10
    low = min(max(low, 0.0), 0.9)
    items = "\n".join(_rank_line(row, rows, low) for row in ranked)
    return f"""<figure class="course-rank">
<figcaption>The rows on {escape(data)} by {escape(MEASURES[knn].title)} accuracy (filled circle), with their
{escape(MEASURES[probe].title)} accuracy (open diamond); bars show one standard deviation over the seeds.</figcaption>
<ol>
{items}
</ol>
{_rank_axis(low)}
</figure>"""


def _held(row: Record) -> list[str]:
    return [key for key in _RANKED_BY if row.measures.get(key)]


def _rank_line(row: Record, rows: Sequence[Record], low: float) -> str:
    alt = ", ".join(f"{MEASURES[key].title} {written(row, key)}" for key in _held(row))
    marks = "".join(_rank_mark(row, key, low) for key in reversed(_held(row)))
    return (
        f'<li class="course-rank-{row.kind}"><span>{_name(row, rows)} <small>{_KINDS[row.kind]}</small></span>'
        f'<svg role="img" aria-label="{escape(alt)}" height="24" width="100%">'
        f'<line class="course-rank-track" x1="0" x2="100%" y1="12" y2="12"/>{marks}</svg></li>'
    )


def _rank_mark(row: Record, key: str, low: float) -> str:
    """Draw one accuracy: positions in per cent, so that the line may have any width."""
    mean, spread = row.mean(key), row.spread(key)
    ends = [_percent(mean - spread, low), _percent(mean + spread, low)]
    bar = f'<line class="course-rank-bar" x1="{ends[0]}" x2="{ends[1]}" y1="12" y2="12"/>'
    if key == _RANKED_BY[0]:
        return f'{bar}<circle cx="{_percent(mean, low)}" cy="12" r="6"/>'
    # a path knows no per cent: it stands in a nested picture that does
    diamond = '<path d="M0 -7 7 0 0 7 -7 0Z"/>'
    return f'{bar}<svg x="{_percent(mean, low)}" y="12" overflow="visible">{diamond}</svg>'


def _rank_axis(low: float) -> str:
    step = 0.1 if low >= 0.5 else 0.2
    ticks = np.arange(round((1 - low) / step + 1e-9) + 1) * -step + 1
    anchors = {0: "end", len(ticks) - 1: "start"}
    texts = "".join(
        f'<text x="{_percent(tick, low)}" y="14" text-anchor="{anchors.get(number, "middle")}">{tick:.1f}</text>'
        for number, tick in enumerate(ticks)
        if tick >= low - 1e-9
    )
    return f'<div class="course-rank-axis"><svg aria-hidden="true" height="20" width="100%">{texts}</svg></div>'


def _percent(value: float, low: float) -> str:
    # the ends keep a mark's width free, so that a circle at 1.0 is not cut in half
    share = min(max((value - low) / (1 - low), 0.0), 1.0)
    return f"{2 + 96 * share:.2f}%"


# ---- the table


def _table(groups: dict[str, list[Record]]) -> str:
    heads = [("Method", "text"), ("Chapter", "text"), ("Kind", "text"), ("Dimensions", "lower")]
    heads += [(measure.title, measure.better or "higher") for measure in MEASURES.values()]
    heads += [("Parameters", "lower"), ("Seconds", "lower")]
    head = "".join(f'<th scope="col" data-better="{better}">{escape(title)}</th>' for title, better in heads)
    bodies = "\n".join(_table_group(data, rows, len(heads)) for data, rows in groups.items())
    # the region scrolls sideways on its own, so it must be reachable by keyboard and have a name
    return f"""<div class="course-table" role="region" aria-label="Table of all rows" tabindex="0">
<table class="course-sortable">
<caption>Every row of every chapter, by data set: mean ± standard deviation over the seeds; the p-value is the
largest of any seed. ★ marks, within a data set and among rows that saw no labels, the best mean and those within
the noise of it; goodness and p are not ranked, because goodness shrinks with dimension and a
smaller p makes no better feature. Seconds are those of training, per seed.</caption>
<thead><tr>{head}</tr></thead>
{bodies}
</table>
</div>"""


def _table_group(data: str, rows: Sequence[Record], columns: int) -> str:
    marked = {}
    for key in _compared():
        best = _best(rows, key)
        marked[key] = [] if best is None else [id(best), *map(id, _tied(rows, best, key))]
    lines = "\n".join(_table_row(row, {key for key, ids in marked.items() if id(row) in ids}) for row in rows)
    return (
        f'<tbody>\n<tr class="course-group"><th scope="rowgroup" colspan="{columns}">'
        f"<span>{escape(data)}</span></th></tr>\n{lines}\n</tbody>"
    )


def _table_row(row: Record, best: set[str]) -> str:
    cells = [f'<th scope="row">{escape(row.method)}</th>', f"<td>{_chapter_link(row.chapter)}</td>"]
    cells.append(f"<td>{_KINDS[row.kind]}</td>")
    cells.append(_number(row.dimensions, f"{row.dimensions:,}"))
    for key in MEASURES:
        values = row.measures.get(key)
        value = (max(values) if key == "p_value" else row.mean(key)) if values else None
        cells.append(_number(value, written(row, key), key in best))
    parameters, seconds = row.about.get("parameters"), row.about.get("seconds")
    cells.append(_number(parameters, "–" if parameters is None else f"{parameters:,}"))
    cells.append(_number(seconds, "–" if seconds is None else f"{seconds:.1f}"))
    return f'<tr class="course-{row.kind}">{"".join(cells)}</tr>'


def _chapter_link(chapter: str) -> str:
    return f'<a href="../notebooks/{slug(chapter)}.html">{escape(chapter_title(chapter))}</a>'


def _number(value: float | None, text: str, best: bool = False) -> str:
    sort = "" if value is None else f' data-value="{value:.9g}"'
    # a no-break space: the star stays with its number
    return f"<td{sort}><strong>★\u00a0{text}</strong></td>" if best else f"<td{sort}>{text}</td>"


def _columns() -> str:
    directions = {"higher": "Higher is better.", "lower": "Lower is better.", None: "Neither end is better."}
    entries = "\n".join(
        f"<dt>{escape(measure.title)}</dt><dd>{escape(measure.explanation)} "
        f"{'Rows are not ranked by it.' if key in _NOT_RANKED else directions[measure.better]}</dd>"
        for key, measure in MEASURES.items()
    )
    return f'<dl class="course-measures">\n{entries}\n</dl>'

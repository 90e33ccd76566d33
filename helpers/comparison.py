"""Where all methods meet: who wins where, what the noise allows to say, rank pictures, and one table of all rows.

Only rows scored on the same images are compared. The difference of two rows' means has the standard error

    s = sqrt(seeds^2 + p1 (1 - p1) / m + p2 (1 - p2) / m),

where ``seeds`` is the standard error of the difference of two means over seeds,

    seeds^2 = v / n1 + v / n2,   v = ((n1 - 1) s1^2 + (n2 - 1) s2^2) / f,   f = n1 + n2 - 2,

and the other two terms stand for the draw of the m test images, on which an accuracy p has the variance p (1 - p) / m.
Both rows are scored on the same images, so this sum is usually an upper bound. For measures that are no accuracy only
the seeds are known, so their noise is understated.

A difference is *clear* when it exceeds the two-sided 95 % bound for all k comparisons of a family together
(Bonferroni):

    abs(difference) > c s,   c = (seeds^2 t + (s^2 - seeds^2) z) / s^2,

where t and z are the quantiles 1 - 0.025 / k of Student's distribution with f degrees of freedom and of the normal
one: the noise of the seeds is estimated from few of them, that of the images is known. A simulation in the tests holds
that equal rows are told apart no more often than promised. A row's rank then lies between 1 plus the number of rows
that are clearly better, and the number of rows less those that are clearly worse: the marginal confidence set of
Mogstad et al. (2023), with Bonferroni's bound in place of their bootstrap. Few seeds make it wide, and it should be.
With one seed in each row the seeds say nothing, and by a measure that is no accuracy a row of one seed is not ranked.

The page is made from the results store alone: no kernel, no network, no Keras.

References
----------
Mogstad, M., Romano, J. P., Shaikh, A. M. and Wilhelm, D. (2023). Inference for ranks with applications to mobility
across neighbourhoods and academic achievement across countries. Review of Economic Studies.
https://doi.org/10.1093/restud/rdad006
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from scipy.special import ndtri, stdtrit

from .results import Claim, Curve, Record, slug
from .scorecard import MEASURES, written

__all__ = [
    "Standing",
    "chapter_title",
    "claims_html",
    "clear_lead",
    "comparison_html",
    "comparison_markdown",
    "counted",
    "curves_html",
    "standings",
]

_RANKED_BY = ("knn", "linear_probe")
_ACCURACIES = ("knn", "linear_probe", "kmeans_accuracy")
_README = ("knn", "linear_probe", "kmeans_accuracy", "nmi", "p_value")
# neither a cause to rank rows by: a smaller p-value makes no better feature, and goodness shrinks with dimension
_NOT_RANKED = ("goodness", "p_value")

_LEVEL = 0.95
_NAMED = 6  # rows in one sentence; a longer list is no sentence

_KINDS = {"baseline": "baseline", "method": "unsupervised", "supervised": "supervised"}


def comparison_html(records: Sequence[Record], curves: Sequence[Curve] = ()) -> str:
    """Return the comparison page as one HTML fragment.

    It begins with who wins where: the leader of each data set by each measure, and how many others may be first as
    well. Then follow, for each data set, a picture that ranks the rows by kNN, what may be said of its leaders, and
    what training adds to the untrained network; then the curves over the share of labels, where a chapter stored some,
    the table of all rows and what its columns mean.
    ``comparison.js`` makes the table sortable and lets the reader filter it; without it the table is a plain one.

    Parameters
    ----------
    records : sequence of Record
    curves : sequence of Curve

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the store is empty.
    """
    groups = _by_data(records)
    # what was trained first; the sets on which only baselines were scored come last
    ordered = sorted(groups.items(), key=lambda item: -sum(row.kind == "method" for row in item[1]))
    sections = [_section(data, rows) for data, rows in ordered]
    return "\n".join(
        [
            '<div class="course-comparison">',
            f"<p>{_summary(records, groups)}</p>",
            '<h2 id="comparison-overview">Who wins where</h2>',
            _overview(ordered),
            _RULE,
            *sections,
            *(['<h2 id="comparison-few-labels">With few labels</h2>', curves_html(curves)] if curves else []),
            '<h2 id="comparison-all-rows">All rows</h2>',
            _table(ordered),
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
        f"<td>{claim.told}</td><td>{claim.band}</td>"
        f"<td>{'yes' if claim.holds else '<strong>no</strong>'}</td></tr>"
        for claim in claims
    )
    return (
        '<div class="pst-scrollable-table-container" role="region" aria-label="What the chapters claim" tabindex="0">'
        f'<table class="table course-claims"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def curves_html(curves: Sequence[Curve]) -> str:
    """Return the curves over the share of labels: a picture and a table for each method that passes labels on.

    Parameters
    ----------
    curves : sequence of Curve

    Returns
    -------
    str
        Empty where there are none.
    """
    groups: dict[tuple, list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.chapter, curve.data, curve.method), []).append(curve)
    return "\n".join(_curves(*key, group) for key, group in groups.items())


@dataclass(frozen=True)
class Standing:
    """Where a row stands among others by one measure.

    Attributes
    ----------
    record : Record
    first, last : int
        The ranks between which it lies, with 95 % confidence; 1 is the best.
    """

    record: Record
    first: int
    last: int


def standings(rows: Sequence[Record], measure: str) -> list[Standing]:
    """Rank rows that were scored on the same images, best mean first, as far as the noise allows.

    Parameters
    ----------
    rows : sequence of Record
        Left out are supervised rows, rows that lack the measure, and, where it is no accuracy, rows of one seed:
        nothing is known of their noise.
    measure : str
        A key of `helpers.scorecard.MEASURES` of which one end is better.

    Returns
    -------
    list of Standing
        The rows whose ``first`` is 1 are those that no other row clearly beats: the best one is among them with 95 %
        confidence.

    See Also
    --------
    clear_lead : what makes a difference clear; the module's docstring has the formula.
    """
    fewest = 1 if measure in _ACCURACIES else 2
    rows = [row for row in rows if row.kind != "supervised" and len(row.measures.get(measure, ())) >= fewest]
    sign = -1 if MEASURES[measure].better == "higher" else 1
    rows = sorted(rows, key=lambda row: sign * row.mean(measure))
    others = max(len(rows) - 1, 1)
    better = np.array([[clear_lead(row, other, measure, others) for other in rows] for row in rows], bool)
    better = better.reshape(len(rows), len(rows))
    return [
        Standing(row, 1 + int(better[:, place].sum()), len(rows) - int(better[place].sum()))
        for place, row in enumerate(rows)
    ]


def clear_lead(record: Record, other: Record, measure: str, comparisons: int = 1) -> bool:
    """Tell whether `record` is better than `other` by more than the noise of the seeds and of the test images.

    Parameters
    ----------
    record, other : Record
    measure : str
        A key of `helpers.scorecard.MEASURES` that both rows hold.
    comparisons : int
        How many comparisons have to hold together with 95 % confidence.

    Returns
    -------
    bool
        False, too, where nothing is known of the noise.
    """
    lead = _lead(record, other, measure)
    return lead > 0 and lead > _bound(record, other, measure, comparisons)


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
    named: dict[str, list[Record]] = {}
    for (data, _), rows in groups.items():
        name = data if names.count(data) == 1 else f"{data} ({chapter_title(rows[0].chapter)})"
        places = (name, *(f"{name}, other images {number}" for number in range(1, len(groups))))
        named[next(place for place in places if place not in named)] = rows
    return named


def _bound(record: Record, other: Record, measure: str, comparisons: int) -> float:
    """Return what the difference of two rows has to exceed, infinity where nothing is known of its noise."""
    images = sum(_sampling_variance(row, measure) for row in (record, other))
    freedom = sum(len(row.measures[measure]) - 1 for row in (record, other))
    pooled = (_pooled(record, other, measure) or 0.0) ** 2
    seeds = sum(pooled / len(row.measures[measure]) for row in (record, other))
    if not seeds + images:
        return math.inf
    return _reach(seeds, images, freedom, comparisons)


def _reach(seeds: float, images: float, freedom: int, comparisons: int = 1) -> float:
    """Return half the width of an interval, from the variance over seeds, estimated, and over images, known."""
    tail = 1 - (1 - _LEVEL) / 2 / comparisons
    student = float(stdtrit(freedom, tail)) if seeds else 0.0
    bound = (seeds * student + images * float(ndtri(tail))) / (seeds + images)
    return bound * math.sqrt(seeds + images)


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


def _untrained(record: Record, rows: Sequence[Record], measure: str) -> Record | None:
    """Return the untrained network that `record` must beat: of its own chapter, the same in size or nearest in width.

    Its own chapter's was scored on the same images; a network with as many parameters is the same before training; and
    a wider network scores higher whether it was trained or not.
    """
    untrained = [row for row in rows if row.kind == "baseline" and "untrained" in row.method.lower()]
    own = [row for row in untrained if row.chapter == record.chapter] or untrained
    own = [row for row in own if row.about.get("parameters") == record.about.get("parameters")] or own
    gap = {place: abs(math.log(row.dimensions / record.dimensions)) for place, row in enumerate(own)}
    nearest = [row for place, row in enumerate(own) if math.isclose(gap[place], min(gap.values()))]
    return _best(nearest, measure)


# ---- sentences

_RULE = f"""<p>A difference is <em>clear</em> when it exceeds the {_LEVEL:.0%} bound of Student's t, corrected for all
the rows that a row is compared with (Bonferroni). The noise in that bound is that of the seeds and, for accuracies, of
the draw of the test images; the other measures know only their few seeds, so a row of one seed is not ranked by them.
A row's rank lies between 1 plus the number of rows that are clearly better and the number of rows less those that are
clearly worse (<a href="https://doi.org/10.1093/restud/rdad006">Mogstad, Romano, Shaikh and Wilhelm, 2023</a>).</p>"""


def _summary(records: Sequence[Record], groups: dict[str, list[Record]]) -> str:
    chapters = list(dict.fromkeys(record.chapter for record in records))
    profiles = list(dict.fromkeys(record.about["profile"] for record in records if "profile" in record.about))
    profile = f", computed in the profile {_joined(profiles)}" if profiles else ""
    return (
        f"{counted(len(records), 'row')} from {counted(len(chapters), 'chapter')}, on "
        f"{counted(len(groups), 'set')} of test images{profile}. Only rows scored on the same images are compared."
    )


def _overview(groups: Sequence[tuple[str, list[Record]]]) -> str:
    """Return the table of leaders: a line for each data set, a column for each measure."""
    heads = "".join(f'<th scope="col">{escape(MEASURES[key].title)}</th>' for key in _compared())
    lines = "\n".join(
        f'<tr><th scope="row"><a href="#comparison-{slug(data)}">{escape(data)}</a> '
        f"<small>{counted(len(_distinct(rows)), 'row')}</small></th>"
        + "".join(_overview_cell(_distinct(rows), key) for key in _compared())
        + "</tr>"
        for data, rows in groups
    )
    return _scrolling(
        "Who wins where",
        f"""<table class="course-overview">
<caption>The row that leads among those that saw no labels, with its mean, and how many other rows may be first as well
because no row clearly beats them. Baselines are in italics: where one leads, no objective has won.</caption>
<thead><tr><th scope="col">Data set</th>{heads}</tr></thead>
<tbody>
{lines}
</tbody>
</table>""",
    )


def _overview_cell(rows: Sequence[Record], key: str) -> str:
    found = standings(rows, key)
    if not found:
        return "<td>–</td>"
    leader, others = found[0].record, _also_first(found)
    tag = "em" if leader.kind == "baseline" else "strong"
    if len(found) == 1:
        also = "the only row"
    elif len(others) == len(found) - 1:
        also = "or any other"
    else:
        also = f"or {counted(len(others), 'other')}" if others else "clearly first"
    return f"<td><{tag}>{escape(leader.method)}</{tag}> {leader.mean(key):.3f}<small>{also}</small></td>"


def _also_first(found: Sequence[Standing]) -> list[Record]:
    """Return the rows after the leader that no row clearly beats."""
    return [standing.record for standing in found[1:] if standing.first == 1]


def _findings(data: str, rows: Sequence[Record]) -> str:
    """Say what the numbers of one data set show."""
    distinct = _distinct(rows)
    compared = [key for key in _compared() if len(standings(distinct, key)) > 1]
    if not compared:
        return "<p>There is nothing to compare yet: no measure is known for two rows.</p>"
    return "\n".join(filter(None, [_leaders(distinct, compared), _gains(data, rows), _supervised(distinct)]))


def _leaders(rows: Sequence[Record], compared: Sequence[str]) -> str:
    items = "\n".join(f"<li>{_leader(rows, key)}</li>" for key in compared)
    return f"<p>Of the rows that saw no labels:</p>\n<ul>\n{items}\n</ul>"


def _leader(rows: Sequence[Record], key: str) -> str:
    """Say which row leads by one measure, and which others may be first as well."""
    found = standings(rows, key)
    leader, others = found[0].record, _also_first(found)
    baseline = " (a baseline)" if leader.kind == "baseline" else ""
    title = escape(MEASURES[key].title)
    sentence = f"By {title}, {_name(leader, rows)}{baseline} leads with {written(leader, key)}"
    if not others:
        return f"{sentence}, and no other row may be first."
    if len(others) == len(found) - 1:
        return f"{sentence}, but any of the {len(found)} rows may be first."
    named = [f"{_name(row, rows)} ({written(row, key)})" for row in others[:_NAMED]]
    if len(others) > _NAMED:
        named.append(counted(len(others) - _NAMED, "more row"))
    return f"{sentence}; {_joined(named)} may be first as well."


def _gains(data: str, rows: Sequence[Record]) -> str:
    """Return a table of what training adds: each method less the untrained network, clear or not."""
    methods = [row for row in _distinct(rows) if row.kind == "method"]
    if not methods:
        return ""
    if not any(_untrained(row, rows, key) for row in methods for key in _compared()):
        return "<p>No untrained network was scored here, so what training adds cannot be told.</p>"
    heads = "".join(f'<th scope="col">{escape(MEASURES[key].title)}</th>' for key in _compared())
    lines = "\n".join(
        f'<tr><th scope="row">{_name(row, rows, tag="span")}</th>'
        + "".join(_gain(row, rows, key, len(methods)) for key in _compared())
        + "</tr>"
        for row in methods
    )
    table = f"""<table class="course-gains">
<caption>What training adds: each row's mean less that of its untrained network, which is the one of its chapter with as
many parameters or else of the nearest width. ▲ is clearly better and ▼ clearly worse; a number without a mark lies
within the noise.</caption>
<thead><tr><th scope="col">Method</th>{heads}</tr></thead>
<tbody>
{lines}
</tbody>
</table>"""
    return f"<p>{_beaten(methods, rows)}</p>\n" + _scrolling(f"What training adds on {data}", table)


def _gain(row: Record, rows: Sequence[Record], key: str, comparisons: int) -> str:
    untrained = _untrained(row, rows, key)
    if untrained is None or not row.measures.get(key):
        return "<td>–</td>"
    difference = f"{row.mean(key) - untrained.mean(key):+.3f}".replace("-", "−")
    if clear_lead(row, untrained, key, comparisons):
        return f'<td class="course-gain">{_mark("▲", "clearly better")} {difference}</td>'
    if clear_lead(untrained, row, key, comparisons):
        return f'<td class="course-loss">{_mark("▼", "clearly worse")} {difference}</td>'
    return f"<td>{difference}</td>"


def _mark(sign: str, words: str) -> str:
    return f'<span aria-hidden="true">{sign}</span><span class="course-unseen">{words}</span>'


def _beaten(methods: Sequence[Record], rows: Sequence[Record]) -> str:
    """Say how many methods are clearly better than the untrained network."""
    counts = []
    for key in _compared():
        pairs = [(row, _untrained(row, rows, key)) for row in methods if row.measures.get(key)]
        pairs = [(row, untrained) for row, untrained in pairs if untrained is not None]
        better = sum(clear_lead(row, untrained, key, len(methods)) for row, untrained in pairs)
        if pairs:
            counts.append(f"{better} of {len(pairs)} by {escape(MEASURES[key].title)}")
    return f"Clearly better than their untrained network are {_joined(counts)}."


def _supervised(rows: Sequence[Record]) -> str:
    supervised = [row for row in rows if row.kind == "supervised"]
    sentences = []
    for row in supervised:
        reached = [f"{MEASURES[key].title} {written(row, key)}" for key in _RANKED_BY if row.measures.get(key)]
        if reached:
            sentences.append(f"With labels, {_name(row, rows)} reaches {_joined(reached)}.")
    return f"<p>{' '.join(sentences)}</p>" if sentences else ""


def _name(row: Record, rows: Sequence[Record], tag: str = "strong") -> str:
    """Return the row's name, with its chapter where another chapter has a row of that name."""
    shared = any(other.method == row.method and other.chapter != row.chapter for other in rows)
    chapter = f" ({escape(chapter_title(row.chapter))})" if shared else ""
    return f"<{tag}>{escape(row.method)}</{tag}>{chapter}"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


# ---- the rank picture


def _section(data: str, rows: Sequence[Record]) -> str:
    heading = f'<h2 id="comparison-{slug(data)}">On {escape(data)}</h2>'
    return "\n".join([heading, _rank_picture(data, _distinct(rows)), _findings(data, rows)])


def _distinct(rows: Sequence[Record]) -> list[Record]:
    """Keep one of rows that are the same in several chapters, as the baselines are."""
    kept: dict[tuple, Record] = {}
    for row in rows:
        kept.setdefault(_identity(row), row)
    return list(kept.values())


def _identity(row: Record) -> tuple:
    return row.method, row.kind, row.dimensions, repr(sorted(row.measures.items()))


def _rank_picture(data: str, rows: Sequence[Record]) -> str:
    """Draw a list of the rows by kNN, each with its ranks and with its two accuracies on a common line.

    A list with one small SVG a row rather than one large picture: its names wrap and stay legible on a phone,
    and a screen reader hears the ranks and the numbers.
    """
    knn, probe = _RANKED_BY
    ranked = sorted((row for row in rows if row.measures.get(knn)), key=lambda row: -row.mean(knn))
    if not ranked:
        return ""
    low = math.floor(10 * min(_interval(row, key)[0] for row in ranked for key in _held(row))) / 10
    low = min(max(low, 0.0), 0.9)
    places = {id(standing.record): standing for standing in standings(rows, knn)}
    items = "\n".join(_rank_line(row, rows, places.get(id(row)), low) for row in ranked)
    return f"""<figure class="course-rank">
<figcaption>The rows on {escape(data)} by {escape(MEASURES[knn].title)} accuracy (filled circle), each with the ranks
between which it lies among the rows that saw no labels, and with its {escape(MEASURES[probe].title)} accuracy (open
diamond). Bars are {_LEVEL:.0%} intervals of one mean.</figcaption>
<ol>
{items}
</ol>
{_rank_axis(low)}
</figure>"""


def _held(row: Record) -> list[str]:
    return [key for key in _RANKED_BY if row.measures.get(key)]


def _interval(row: Record, key: str) -> tuple[float, float]:
    """Return the ends of the interval of one row's mean: over the seeds, as far as there are several, and images."""
    seeds, images = row.spread(key) ** 2 / len(row.measures[key]), _sampling_variance(row, key)
    reach = _reach(seeds, images, len(row.measures[key]) - 1) if seeds + images else 0.0
    return row.mean(key) - reach, row.mean(key) + reach


def _rank_line(row: Record, rows: Sequence[Record], standing: Standing | None, low: float) -> str:
    alt = ", ".join(f"{MEASURES[key].title} {written(row, key)}" for key in _held(row))
    marks = "".join(_rank_mark(row, key, low) for key in reversed(_held(row)))
    return (
        f'<li class="course-rank-{row.kind}">{_place(standing)}'
        f"<span>{_name(row, rows)} <small>{_KINDS[row.kind]}</small></span>"
        f'<svg role="img" aria-label="{escape(alt)}" height="24" width="100%">'
        f'<line class="course-rank-track" x1="0" x2="100%" y1="12" y2="12"/>{marks}</svg></li>'
    )


def _place(standing: Standing | None) -> str:
    """Return the ranks between which a row lies; one with labels has none."""
    if standing is None:
        return '<span class="course-rank-place"></span>'
    first, last = standing.first, standing.last
    spoken = f"{first} to {last}" if first < last else f"{first}"
    shown = spoken.replace(" to ", "–")
    return (
        f'<span class="course-rank-place"><span class="course-unseen">rank {spoken}</span>'
        f'<span aria-hidden="true">{shown}</span></span>'
    )


def _rank_mark(row: Record, key: str, low: float) -> str:
    """Draw one accuracy: positions in per cent, so that the line may have any width."""
    start, end = (_percent(value, low) for value in _interval(row, key))
    bar = f'<line class="course-rank-bar" x1="{start}" x2="{end}" y1="12" y2="12"/>'
    if key == _RANKED_BY[0]:
        return f'{bar}<circle cx="{_percent(row.mean(key), low)}" cy="12" r="6"/>'
    # a path knows no per cent: it stands in a nested picture that does
    diamond = '<path d="M0 -7 7 0 0 7 -7 0Z"/>'
    return f'{bar}<svg x="{_percent(row.mean(key), low)}" y="12" overflow="visible">{diamond}</svg>'


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


# ---- curves over the share of labels


def _curves(chapter: str, data: str, method: str, curves: Sequence[Curve]) -> str:
    first = curves[0]
    heads = "".join(f'<th scope="col">{number}</th>' for number in first.per_class)
    leaders = [_not_beaten(curves, place) for place in range(len(first.per_class))]
    lines = "\n".join(
        f'<tr><th scope="row"><svg class="course-key course-curve-{number}" aria-hidden="true" width="28" height="12">'
        f'<path d="M0 6H28"/></svg> {escape(curve.features)}</th>'
        + "".join(_curve_cell(values, number in leaders[place]) for place, values in enumerate(curve.accuracy))
        + "</tr>"
        for number, curve in enumerate(curves)
    )
    table = f"""<table class="course-curves">
<caption>{escape(_headed(method))} on {escape(data)} ({_chapter_link(chapter)}), by labels given of each class: the
share of hidden labels named rightly, mean ± standard deviation over {counted(len(first.accuracy[0]), "draw")} of the
labels. ★ marks the features that no others clearly beat, draw by draw.</caption>
<thead><tr><th scope="col">Features</th>{heads}</tr></thead>
<tbody>
{lines}
</tbody>
</table>"""
    return f"<h3>{escape(_headed(method))}</h3>\n{_curve_picture(curves)}\n" + _scrolling(
        f"Few labels: {method}", table
    )


def _headed(name: str) -> str:
    """Return a name as it begins a heading: kNN keeps its letters."""
    return name if any(map(str.isupper, name)) else name.capitalize()


def _curve_cell(values: Sequence[float], best: bool) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return _number(None, f"{np.mean(values):.3f}{spread}", best)


def _not_beaten(curves: Sequence[Curve], place: int) -> set[int]:
    """Return which curves no other clearly beats: the draws are the same for all, so their differences are tested."""
    accuracy = np.array([curve.accuracy[place] for curve in curves])
    rivals, draws = max(len(curves) - 1, 1), accuracy.shape[1]
    if draws == 1:
        return set(range(len(curves)))
    bound = float(stdtrit(draws - 1, 1 - (1 - _LEVEL) / 2 / rivals))
    gaps = accuracy[None] - accuracy[:, None]  # [i, j]: by how much j is better than i
    errors = gaps.std(axis=-1, ddof=1) / math.sqrt(draws)
    return set(np.flatnonzero(~(gaps.mean(axis=-1) > bound * errors).any(axis=1)))


def _curve_picture(curves: Sequence[Curve]) -> str:
    """Draw the means over the number of labels, which stands on a logarithmic axis."""
    width, height, left, bottom = 480, 270, 40, 40
    numbers = np.log(curves[0].per_class)
    reach = max(numbers[-1] - numbers[0], 1e-9)
    across = left + 12 + (width - left - 36) * (numbers - numbers[0]) / reach
    means = np.array([np.mean(curve.accuracy, axis=1) for curve in curves])
    low, high = math.floor(10 * means.min()) / 10, math.ceil(10 * means.max() + 1e-9) / 10
    ticks = np.linspace(low, high, round((high - low) / 0.1) + 1)

    def up(value):
        return height - bottom - (height - bottom - 12) * (value - low) / max(high - low, 1e-9)

    grid = "".join(
        f'<path class="course-grid" d="M{left} {up(tick):.1f}H{width - 12}"/>'
        f'<text x="{left - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.1f}</text>'
        for tick in ticks
    )
    labels = "".join(
        f'<text x="{place:.1f}" y="{height - bottom + 18}" text-anchor="middle">{number}</text>'
        for place, number in zip(across, curves[0].per_class, strict=True)
    )
    lines = "".join(
        f'<path class="course-curve-{number}" '
        f'd="M{" L".join(f"{x:.1f} {up(y):.1f}" for x, y in zip(across, mean, strict=True))}"/>'
        for number, mean in enumerate(means)
    )
    best = curves[int(means[:, -1].argmax())].features
    told = (
        f"{counted(len(curves), 'curve')} of accuracy over labels given of each class, "
        f"from {curves[0].per_class[0]} to {curves[0].per_class[-1]}; at the most labels {best} is highest. "
        "The table below has the numbers."
    )
    return (
        f'<svg class="course-curve-picture" role="img" aria-label="{escape(told)}" viewBox="0 0 {width} {height}">'
        f'{grid}{labels}<text x="{(left + width) / 2}" y="{height - 4}" text-anchor="middle">labels per class</text>'
        f"{lines}</svg>"
    )


# ---- the table


def _table(groups: Sequence[tuple[str, list[Record]]]) -> str:
    heads = [("Method", "text"), ("Chapter", "text"), ("Kind", "text"), ("Dimensions", "lower")]
    heads += [(measure.title, measure.better or "higher") for measure in MEASURES.values()]
    heads += [("Parameters", "lower"), ("Seconds", "lower")]
    head = "".join(f'<th scope="col" data-better="{better}">{escape(title)}</th>' for title, better in heads)
    bodies = "\n".join(_table_group(data, rows, len(heads)) for data, rows in groups)
    table = f"""<table class="course-sortable">
<caption>Every row of every chapter, by data set: mean ± standard deviation over the seeds; the p-value is the
largest of any seed. ★ marks, within a data set and among rows that saw no labels, those that no other row clearly
beats; goodness and p are not ranked, because goodness shrinks with dimension and a smaller p makes no better feature.
Seconds are those of training, per seed.</caption>
<thead><tr>{head}</tr></thead>
{bodies}
</table>"""
    return _scrolling("Table of all rows", table)


def _scrolling(name: str, table: str) -> str:
    # the region scrolls sideways on its own, so it must be reachable by keyboard and have a name
    return f'<div class="course-table" role="region" aria-label="{escape(name)}" tabindex="0">\n{table}\n</div>'


def _table_group(data: str, rows: Sequence[Record], columns: int) -> str:
    distinct = _distinct(rows)
    starred = {
        key: {_identity(standing.record) for standing in standings(distinct, key) if standing.first == 1}
        for key in _compared()
    }
    lines = "\n".join(_table_row(row, {key for key, best in starred.items() if _identity(row) in best}) for row in rows)
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

"""The page about speed: what `make bench` recorded, as pictures, tables and sentences about the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import groupby

from helpers.results import Timings, slug, three_digits

__all__ = ["speed_html"]

_FEW = 20  # rows of a table that stands open

# our own contenders in the order of their suite, told apart by shape; peers are open diamonds
_SHAPES = (
    '<circle r="6"/>',
    '<rect x="-5.5" y="-5.5" width="11" height="11"/>',
    '<path d="M0 -7 6.5 5 -6.5 5Z"/>',
    '<path d="M-6 -6 6 6M-6 6 6 -6"/>',
)
_PEER = '<path d="M0 -7 7 0 0 7 -7 0Z"/>'


def speed_html(timings: Mapping[str, Timings]) -> str:
    """Return for each device the targets and, for each suite, a picture and a table of its rows."""
    if not timings:
        return "<p>No timing has been recorded yet.</p>\n"
    return "\n".join(_device(told) for told in timings.values())


def _device(told: Timings) -> str:
    suites = "\n".join(_suite(told, name) for name in told.suites)
    return (
        f'<h2 id="speed-{slug(told.device)}">{escape(told.device)}</h2>\n'
        f"{_targets(told)}\n{suites}\n<h3>Runs</h3>\n{_runs(told)}\n"
    )


# ---- what was wanted


def _targets(told: Timings) -> str:
    verdicts = [target["verdict"] for target in told.targets]
    met, measured = verdicts.count("met"), len(verdicts) - verdicts.count("not measured")
    lines = "\n".join(f"<li>{_target(target, told.rows)}</li>" for target in told.targets)
    return f"<p>{met} of the {measured} targets that were measured were met.</p>\n<ul>\n{lines}\n</ul>"


def _target(target: Mapping, rows: Sequence[Mapping]) -> str:
    """Say in a sentence whether a target was met."""
    where = f"{target['contender']} ({_case(target)})"
    goal = f"{'at least' if target['at_least'] else 'at most'} {three_digits(target['goal'])}"
    if target["measured"] is None:
        told = f"the target is {goal} {target['words']}"
    else:
        told = f"{three_digits(target['measured'])} {target['words']}{_rival(target, rows)}; the target is {goal}"
    return f"<strong>{escape(target['verdict'].capitalize())}.</strong> {escape(where)}: {escape(told)}."


def _rival(target: Mapping, rows: Sequence[Mapping]) -> str:
    """Return who the fastest peer was, where the target is about it, and whether its time is scaled."""
    if target["measure"] != "× fastest peer":
        return ""
    beside = [row for row in rows if all(row[name] == target[name] for name in ("suite", "case", "amount"))]
    own = next(row for row in beside if row["contender"] == target["contender"])
    peer = next(row for row in beside if row["contender"] == own["measures"]["fastest peer"])
    scaled = f", scaled from {max(peer['counts']):,} {peer['unit']}" if peer["scaled"] else ""
    return f" ({peer['contender']}{scaled})"


# ---- a suite


def _suite(told: Timings, name: str) -> str:
    suite = told.suites[name]
    rows = [row for row in told.rows if row["suite"] == name]
    absent = {row["contender"]: row["absent"] for row in rows if "absent" in row}
    present = [row for row in rows if "absent" not in row]
    note = " ".join([suite["note"], *(f"Absent: {who} ({why})." for who, why in absent.items())]).strip()
    parts = [f"<h3>{escape(suite['title'])}</h3>", f"<p>{escape(note)}</p>" if note else ""]
    if present:
        parts += [_picture(suite, present), _table(told, suite, present)]
    return "\n".join(filter(None, parts))


def _cases(rows: Sequence[Mapping]) -> Iterator[tuple[str, list[Mapping]]]:
    """Yield the rows of each case and amount of work, whose ratios are to one another."""
    ordered = sorted(rows, key=lambda row: row["amount"])  # cases stay in the order of the bench
    cases = list(dict.fromkeys(str(row["case"]) for row in rows))
    ordered.sort(key=lambda row: cases.index(str(row["case"])))
    for name, found in groupby(ordered, key=_case):
        yield name, list(found)


def _case(row: Mapping) -> str:
    """Describe a case and its amount of work, where that is more than one unit."""
    parts = [f"{name} {value:,}" for name, value in row["case"].items()]
    return " · ".join(parts + ([f"{row['amount']:,} {row['unit']}"] if row["amount"] > 1 else []))


# ---- its picture


def _picture(suite: Mapping, rows: Sequence[Mapping]) -> str:
    """Draw a line for each case, with a mark for each contender on a common logarithmic axis."""
    drawn = [row for row in rows if suite["measure"] in row["measures"]]
    if not drawn:
        return ""
    axis = _Axis([ratio for row in drawn for ratio in _reach(row, suite)])
    ours = list(dict.fromkeys(row["contender"] for row in drawn if not row["peer"]))
    shapes = dict(zip(ours, _SHAPES, strict=False))
    lines = "\n".join(_line(name, found, suite, shapes, axis) for name, found in _cases(drawn))
    keys = [_key(_SHAPES[place], name, "ours") for place, name in enumerate(ours[: len(_SHAPES)])]
    keys += [_key(_PEER, "a peer", "peer")] if any(row["peer"] for row in drawn) else []
    keys += [_key(_PEER, "scaled from fewer units", "peer course-speed-scaled")] if _any_scaled(drawn) else []
    return (
        f'<figure class="course-speed">\n<figcaption>{escape(suite["words"].capitalize())}: further '
        f"{'right' if suite['more_is_faster'] else 'left'} is faster. The axis is logarithmic, and bars reach from the "
        "slowest to the fastest round.</figcaption>\n"
        f'<p class="course-speed-keys">{" ".join(keys)}</p>\n<ol>\n{lines}\n</ol>\n{axis.html()}\n</figure>'
    )


def _any_scaled(rows: Sequence[Mapping]) -> bool:
    return any(row["scaled"] for row in rows)


def _key(shape: str, name: str, kind: str) -> str:
    drawing = f'<svg class="course-speed-{kind}" aria-hidden="true" width="16" height="16" viewBox="-8 -8 16 16">'
    return f"<span>{drawing}{shape}</svg> {escape(name)}</span>"


def _line(name: str, rows: Sequence[Mapping], suite: Mapping, shapes: Mapping[str, str], axis: _Axis) -> str:
    measure = suite["measure"]
    told = "; ".join(f"{row['contender']} {three_digits(row['measures'][measure])}" for row in rows)
    own = "; ".join(f"{row['contender']} {three_digits(row['measures'][measure])}" for row in rows if not row["peer"])
    ordered = sorted(rows, key=lambda row: not row["peer"])  # ours are drawn last, over the others
    marks = "".join(_mark(row, suite, shapes.get(row["contender"], _PEER), axis) for row in ordered)
    one = axis.place(1)
    return (
        f"<li><span>{escape(name)} <small>{escape(own)}</small></span>"
        f'<svg role="img" aria-label="{escape(f"{name}: {told}")}" height="26" width="100%">'
        '<line class="course-speed-track" x1="0" x2="100%" y1="13" y2="13"/>'
        f'<line class="course-speed-one" x1="{one}" x2="{one}" y1="0" y2="26"/>{marks}</svg></li>'
    )


def _mark(row: Mapping, suite: Mapping, shape: str, axis: _Axis) -> str:
    slow, fast = (axis.place(ratio) for ratio in _reach(row, suite))
    kind = ("peer" if row["peer"] else "ours") + (" course-speed-scaled" if row["scaled"] else "")
    # a path knows no per cent: each shape stands in a nested picture that does
    return (
        f'<g class="course-speed-{kind}"><line class="course-speed-bar" x1="{slow}" x2="{fast}" y1="13" y2="13"/>'
        f'<svg x="{axis.place(row["measures"][suite["measure"]])}" y="13" overflow="visible">{shape}</svg></g>'
    )


def _reach(row: Mapping, suite: Mapping) -> tuple[float, float]:
    """Return the ratios of the slowest and of the fastest round, the reference at its median."""
    shares = (max(row["seconds"]) / row["median"], min(row["seconds"]) / row["median"])
    ratio = row["measures"][suite["measure"]]
    slow, fast = (ratio / share if suite["more_is_faster"] else ratio * share for share in shares)
    return slow, fast


class _Axis:
    """A logarithmic axis over whole decades, 1 among them."""

    def __init__(self, ratios: Sequence[float]):
        self._low = min(0, math.floor(math.log10(min(ratios))))
        self._high = max(self._low + 1, math.ceil(math.log10(max(ratios))))

    def place(self, ratio: float) -> str:
        """Return a place in per cent: the line may have any width. The ends keep a mark's width free."""
        share = (math.log10(ratio) - self._low) / (self._high - self._low)
        return f"{3 + 94 * share:.2f}%"

    def html(self) -> str:
        steps = (1, 2, 5) if self._high - self._low == 1 else (1,)
        ticks = [step * 10.0**power for power in range(self._low, self._high) for step in steps]
        texts = "".join(
            f'<text x="{self.place(tick)}" y="14" text-anchor="middle">{tick:,.10g}</text>'
            for tick in [*ticks, 10.0**self._high]
        )
        return f'<div class="course-speed-axis"><svg aria-hidden="true" height="20" width="100%">{texts}</svg></div>'


# ---- its table


def _table(told: Timings, suite: Mapping, rows: Sequence[Mapping]) -> str:
    names = dict.fromkeys(name for row in rows for name in row["measures"])
    others = [name for name in names if name not in (suite["measure"], "fastest peer")]
    heads = ["Seconds", suite["words"].capitalize(), "Peak memory (MiB)", "Rounds", "Units run", *others]
    head = "".join(f'<th scope="col" class="number">{escape(name)}</th>' for name in heads)
    body = "".join(_group(told, name, found, suite["measure"], others) for name, found in _cases(rows))
    head = f'<thead><tr><th scope="col">Contender</th>{head}</tr></thead>'
    scrolling = (
        '<div class="pst-scrollable-table-container" tabindex="0" role="region" '
        f'aria-label="Timings on {escape(told.device)}: {escape(suite["title"])}">'
        f'<table class="table course-timings">{head}{body}</table></div>'
    )
    state = " open" if len(rows) <= _FEW else ""
    return f"<details{state}><summary>All {len(rows)} times</summary>{scrolling}{_legend(rows)}</details>"


def _legend(rows: Sequence[Mapping]) -> str:
    told = ["Seconds are medians over the rounds."]
    if _any_scaled(rows):
        told.append("~: scaled from a run of fewer units.")
    if any(row["rough"] for row in rows):
        told.append(
            "?: scaled, too, but the larger run took hardly longer than a run of one unit: this is a rough guess, "
            "which enters no ratio."
        )
    return f"<p>{' '.join(told)}</p>"


def _group(told: Timings, name: str, rows: Sequence[Mapping], measure: str, others: Sequence[str]) -> str:
    """Return the rows of one case below its name, and the run that they are from."""
    date = rows[0]["run"]
    when = f"{datetime.fromisoformat(date):%Y-%m-%d}, commit {told.runs[date]['commit']}"
    lines = "".join(_row(row, measure, others) for row in rows)
    columns = 6 + len(others)
    return (
        f'<tbody><tr><th scope="rowgroup" colspan="{columns}"><span>{escape(name)} <small>{escape(when)}</small></span>'
        f"</th></tr>{lines}</tbody>"
    )


def _row(row: Mapping, measure: str, others: Sequence[str]) -> str:
    fastest = " <small>the fastest peer</small>" if row["measures"].get("fastest peer") == row["contender"] else ""
    sign = "? " if row["rough"] else "~ " if row["scaled"] else ""
    ran = f"{max(row['counts']):,} of {row['amount']:,}" if row["scaled"] else "all"
    cells = (
        sign + three_digits(row["median"]),
        three_digits(row["measures"].get(measure)),
        f"{row['peak_bytes'] / 2**20:,.0f}",
        f"{len(row['seconds'])}",
        ran,
        *(three_digits(row["measures"].get(name)) for name in others),
    )
    values = "".join(f'<td class="number">{value}</td>' for value in cells)
    return f'<tr><th scope="row">{escape(row["contender"])}{fastest}</th>{values}</tr>'


def _runs(told: Timings) -> str:
    lines = []
    for date, run in told.runs.items():
        about = (
            f"{datetime.fromisoformat(date):%Y-%m-%d %H:%M} UTC, commit {run['commit']}: {run['processor']}, "
            f"{run['cores']} cores, back-end {run['backend']}, at most {run['rounds']} rounds, "
            f"{run['seconds']} seconds in all."
        )
        versions = " · ".join(f"{name} {version}" for name, version in run["versions"].items())
        lines.append(f"<p>{escape(about)}<br>{escape(versions)}</p>")
    return f'<div class="course-versions">{"".join(lines)}</div>'

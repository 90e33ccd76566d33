"""Keep what the bench found in `data/results/bench`, a file for each device, for the book to show."""

from __future__ import annotations

from pathlib import Path

from helpers.results import Timings, load_timings, save_timings, slug

from .suites import SPEEDS, SUITES, WORDS, check_targets

__all__ = ["kept", "record"]

_OF_A_RUN = ("commit", "processor", "cores", "backend", "versions")


def kept(device: str, folder: Path) -> Timings:
    """Return what is kept of a device; it is empty where nothing is.

    Raises
    ------
    ValueError
        If a file in the folder is damaged.
    """
    return load_timings(folder).get(slug(device)) or Timings(device, {}, {}, [], [])


def record(found: dict, folder: Path) -> Path:
    """Add a run to what is kept of its device, and return the file.

    The cases that were run again take the place of what was kept of them. A case is taken as a whole, because its
    ratios compare rows of one run. Other cases stay, each with the date and the commit of its own run.

    Raises
    ------
    ValueError
        If the run was a quick one, or a file in the folder is damaged.
    """
    if found["quick"]:
        raise ValueError("This run was a quick one, whose sizes say nothing about speed: record one without --quick.")
    machine = found["machine"]
    date, before = machine["date"], kept(machine["device"], folder)
    again = [(row["suite"], row["case"]) for row in found["rows"]]
    rows = [row for row in before.rows if (row["suite"], row["case"]) not in again]
    rows = sorted([*rows, *(row | {"run": date} for row in found["rows"])], key=_place)
    about = {"rounds": found["rounds"], "seconds": round(found["seconds"])}
    runs = before.runs | {date: {name: machine[name] for name in _OF_A_RUN} | about}
    held = {row["run"] for row in rows}
    suites = before.suites | {name: _described(name) for name in SUITES}
    targets = [
        target | {"unit": SUITES[target["suite"]].unit, "words": WORDS[target["measure"]]}
        for target in check_targets(rows)
    ]
    timings = Timings(
        device=machine["device"],
        runs={date: runs[date] for date in sorted(runs) if date in held},
        suites={name: suites[name] for name in dict.fromkeys(row["suite"] for row in rows)},
        rows=rows,
        targets=targets,
    )
    return save_timings(timings, folder)


def _place(row: dict) -> tuple[int, int]:
    """Return where a row stands: as the bench orders suites and cases; what it has no longer comes last."""
    names = list(SUITES)
    if row["suite"] not in names:
        return len(names), 0
    cases = SUITES[row["suite"]].cases
    return names.index(row["suite"]), cases.index(row["case"]) if row["case"] in cases else len(cases)


def _described(name: str) -> dict:
    suite = SUITES[name]
    ratio = {"measure": suite.ratio, "words": WORDS[suite.ratio], "more_is_faster": suite.ratio in SPEEDS}
    return {"title": suite.title, "note": suite.note, **ratio}

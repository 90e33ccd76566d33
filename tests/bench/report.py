"""What the bench found, as JSON and as a table."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import platform
import shutil
import subprocess
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from helpers.results import three_digits

from .runner import describe
from .suites import SUITES

__all__ = ["machine", "read", "tables", "write"]

PEERS = ("scikit-bio", "numba")


def machine() -> dict:
    """Return where and on what the bench runs: date, commit, device, cores, versions.

    Another process looks for the device, because a back-end that has looked keeps its memory.
    """
    from helpers.runtime import commit

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(_look).result()
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit() or "unknown", **found}


def _look() -> dict:
    import keras

    from helpers import runtime

    versions = runtime.versions()
    for package in PEERS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if shutil.which("Rscript"):
        asked = "cat(as.character(getRversion()), as.character(packageVersion('vegan')))"
        said = subprocess.run(["Rscript", "-e", asked], capture_output=True, text=True, check=False).stdout.split()
        versions |= dict(zip(("R", "vegan"), said, strict=False))
    return {
        "backend": keras.backend.backend(),
        "device": runtime.device(),
        "processor": _processor(),
        "cores": runtime.cores(),
        "versions": versions,
    }


def _processor() -> str:
    """Return the processor's model; Linux tells it in a file."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def write(path: Path, found: dict) -> None:
    from helpers.runtime import replace_file

    text = json.dumps(found, indent=1, ensure_ascii=False)
    replace_file(path, lambda stream: stream.write(text.encode()))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def tables(found: dict) -> str:
    """Return everything that was found as text: the machine, a table for each suite, the targets."""
    where = found["machine"]
    versions = " · ".join(f"{name} {version}" for name, version in where["versions"].items())
    head = f"{where['date']} · commit {where['commit']} · {where['device']}, {where['cores']} cores · {versions}"
    parts = [head + ("\nquick: tiny sizes, which say nothing about speed" if found["quick"] else "")]
    for name in dict.fromkeys(row["suite"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["suite"] == name]
        heading = f"{SUITES[name].title}. {SUITES[name].note}".rstrip(". ")
        parts += [f"{heading}\n{_suite_table(rows)}", *_absences(rows)]
    parts.append(
        "Medians of the rounds, in seconds; * the fastest peer; ~ scaled from a run of as many units as `run` says, "
        "\n? scaled too, but from runs that hardly differ: a rough guess, which enters no ratio"
    )
    parts.append(f"Targets\n{_targets_table(found['targets'])}")
    return "\n\n".join(parts)


def _suite_table(rows: list[dict]) -> str:
    present = [row for row in rows if "absent" not in row]
    measures = list(dict.fromkeys(name for row in present for name in row["measures"] if name != "fastest peer"))
    lines = [["case", rows[0]["unit"], "contender", "seconds", "run", "rounds", "peak MiB", *measures]]
    case = None
    for row in present:
        # what repeats is left out, so that the cases stand apart
        here, case = (describe(row["case"]), row["amount"]), (lines[-1][0] and None) or case
        first = ["", ""] if here == case else [here[0], f"{here[1]:,}"]
        case = here
        lines.append([*first, *_cells(row, measures)])
    return _aligned(lines)


def _cells(row: dict, measures: list[str]) -> list[str]:
    return [
        row["contender"] + (" *" if row["measures"].get("fastest peer") == row["contender"] else ""),
        ("?" if row["rough"] else "~" if row["scaled"] else "") + three_digits(row["median"]),
        f"{max(row['counts']):,}" if row["scaled"] else "all",
        str(len(row["seconds"])),
        f"{row['peak_bytes'] / 2**20:,.0f}",
        *[three_digits(row["measures"].get(name)) for name in measures],
    ]


def _absences(rows: list[dict]) -> list[str]:
    absent = dict.fromkeys((row["contender"], row["absent"]) for row in rows if "absent" in row)
    return ["\n".join(f"absent: {name} ({reason})" for name, reason in absent)] if absent else []


def _targets_table(targets: list[dict]) -> str:
    lines = [["", "target", "measured", "row"]]
    for target in targets:
        goal = f"{target['measure']} {'≥' if target['at_least'] else '≤'} {three_digits(target['goal'])}"
        amount = f" · {target['amount']:,}" if target["amount"] > 1 else ""
        row = f"{target['suite']} · {describe(target['case'])}{amount} · {target['contender']}"
        lines.append([target["verdict"], goal, three_digits(target["measured"]), row])
    return _aligned(lines)


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )

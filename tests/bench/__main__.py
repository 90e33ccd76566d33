"""`python -m tests.bench`: run the suites, print the tables, write the JSON; `--record` keeps it for the book."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import report
from .record import kept, record
from .runner import Suite, compare
from .suites import SUITES, cases_of_targets, check_targets

RECORDED = Path("data/results/bench")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    if options.show:
        found = report.read(options.output)
        print(report.tables(found))
    else:
        found = _run(options)
        print(report.tables(found))
        print(f"\nwritten to {options.output}; `make bench BENCH=--show` prints it again")
    if options.record:
        with _in_one_sentence():
            print(f"kept in {record(found, RECORDED)}, which the book shows")


def _run(options: argparse.Namespace) -> dict:
    # several processes share the accelerator: none may take all its memory when it starts
    os.environ.update(TF_FORCE_GPU_ALLOW_GROWTH="true", XLA_PYTHON_CLIENT_PREALLOCATE="false", TF_CPP_MIN_LOG_LEVEL="2")
    start = time.perf_counter()

    def progress(line: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {line}", file=sys.stderr, flush=True)

    found = {"machine": report.machine(), "quick": options.quick, "rounds": options.rounds, "rows": []}
    if options.record:
        with _in_one_sentence():  # before the minutes are spent
            kept(found["machine"]["device"], RECORDED)
    for name in options.suites or SUITES:
        cases = _cases(SUITES[name], options)
        found["rows"] += compare(SUITES[name], cases=cases, rounds=options.rounds, report=progress)
        found |= {"targets": check_targets(found["rows"]), "seconds": time.perf_counter() - start}
        report.write(options.output, found)  # after each suite: an interruption loses one at most
        if options.record:
            record(found, RECORDED)
    return found


@contextlib.contextmanager
def _in_one_sentence() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        sys.exit(str(error))


def _cases(suite: Suite, options: argparse.Namespace) -> tuple[dict, ...]:
    if options.quick:
        return (suite.tiny,)
    return cases_of_targets(suite) if options.targets else suite.cases


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; by default all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--rounds", type=int, default=3, help="turns for each contender (default: 3)")
    parser.add_argument("--targets", action="store_true", help="of a suite with targets, only the cases that they name")
    parser.add_argument("--show", action="store_true", help="print the tables of the last run")
    parser.add_argument("--record", action="store_true", help=f"keep the run in {RECORDED}; with --show, the last one")
    parser.add_argument("--output", type=Path, default=Path("_runs/bench.json"))
    options = parser.parse_args(arguments)
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; there are: {', '.join(SUITES)}")
    if options.record and options.quick:
        parser.error("--quick says nothing about speed and is not recorded: leave out --quick or --record")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}, but a median needs at least 1")
    if options.show and not options.output.exists():
        parser.error(f"there is no {options.output} yet: run the bench first")
    return options


if __name__ == "__main__":
    main()

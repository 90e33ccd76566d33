"""`python -m tests.bench`: run the suites, print the tables, write the JSON."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import report
from .runner import compare
from .suites import SUITES, check_targets


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    if options.show:
        print(report.tables(report.read(options.output)))
        return
    # several processes share the accelerator: none may take all its memory when it starts
    os.environ.update(TF_FORCE_GPU_ALLOW_GROWTH="true", XLA_PYTHON_CLIENT_PREALLOCATE="false", TF_CPP_MIN_LOG_LEVEL="2")
    start = time.perf_counter()

    def progress(line: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {line}", file=sys.stderr, flush=True)

    found = {"machine": report.machine(), "quick": options.quick, "rounds": options.rounds, "rows": []}
    for name in options.suites or SUITES:
        found["rows"] += compare(SUITES[name], quick=options.quick, rounds=options.rounds, report=progress)
        found |= {"targets": check_targets(found["rows"]), "seconds": time.perf_counter() - start}
        report.write(options.output, found)  # after each suite: an interruption loses one at most
    print(report.tables(found))
    print(f"\nwritten to {options.output}; `make bench BENCH=--show` prints it again")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; by default all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--rounds", type=int, default=3, help="turns for each contender (default: 3)")
    parser.add_argument("--show", action="store_true", help="print the tables of the last run")
    parser.add_argument("--output", type=Path, default=Path("_runs/bench.json"))
    options = parser.parse_args(arguments)
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; there are: {', '.join(SUITES)}")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}, but a median needs at least 1")
    if options.show and not options.output.exists():
        parser.error(f"there is no {options.output} yet: run the bench first")
    return options


if __name__ == "__main__":
    main()

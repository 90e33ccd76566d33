"""Run chapters in the full profile and record in `data/results` what came out, for the book to show.

    python book/record.py                       every chapter, on this machine
    python book/record.py few-labels            one of them

``make record`` calls this, best on a machine with a GPU. A chapter that was recorded stays recorded when the next one
fails or the command is stopped; called again, only chapters that changed are run. Every claim of a chapter carries the
band in which its values must lie for every seed (`helpers.results.Claim`): the full run is held against the same bands
as the quick one, and a claim that does not hold is recorded as such, printed, and makes the exit status 2.
"""

from __future__ import annotations

import argparse
import sys

from build import Build, ChapterFailed, begin, run_chapter
from tqdm import tqdm

from helpers import results, runtime
from helpers.validation import check_choice


def record(build: Build, chapter: str) -> list[results.Claim]:
    """Write one chapter's run as it stands in the build's store to `data/results`; return the claims that fail."""
    claims = [claim for claim in results.load_claims(build.store) if claim.chapter == chapter]
    run = results.load_runs(build.store)[chapter] | {"commit": runtime.commit()}
    rows = results.load(build.store, chapter)
    results.save_recorded(results.Recorded(run, rows, claims), build.root / "data" / "results")
    return [claim for claim in claims if not claim.holds]


def main() -> int:
    """Run the command and return its exit status: 1 if a chapter fails, 2 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="chapter", help="only these")
    chosen = parser.parse_args().chapters
    build, _lock = begin("full")
    try:
        chapters = [check_choice(chapter, build.chapters(), "chapter") for chapter in chosen] or build.chapters()
    except ValueError as error:
        sys.exit(str(error))
    stale, failing = build.stale(), []
    for number, chapter in enumerate(chapters, start=1):
        title = f"[{number}/{len(chapters)}] {chapter}"
        try:
            with tqdm(desc=title, unit="cell", bar_format="{desc}: {n_fmt}/{total_fmt} cells, {elapsed}") as bar:
                if chapter in stale:
                    run_chapter(build, chapter, bar)
        except ChapterFailed as failure:
            sys.exit(str(failure))
        failing += record(build, chapter)
    for claim in failing:
        print(f"Does not hold in this run, {claim.chapter}: {claim.sentence} {claim.values}")
    print(f"Recorded in {(build.root / 'data' / 'results').relative_to(build.root)}: {', '.join(chapters)}.")
    return 2 if failing else 0


if __name__ == "__main__":
    raise SystemExit(main())

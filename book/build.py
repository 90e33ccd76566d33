"""Build the book: run the chapters that changed, then make the site from those very runs.

``make book`` calls this. Each chapter is executed once, by nbmake, into ``_runs/<profile>``; an interrupted build
continues with the chapter that it had reached. What is shown was run by this commit in this profile: a chapter's
key covers its code, ``helpers/`` without the checks of the assignments, ``data/``, the lock file, the installed
versions, the profile, the back-end, and the pretrained weights on this machine.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import nbformat
import yaml
from chapter_progress import MARK
from tqdm import tqdm

from helpers import results, runtime, scorecard
from helpers.validation import check_choice

ROOT = Path(__file__).resolve().parents[1]
COLOUR = r"\x1b\[[0-9;]*m"  # of a terminal; IPython writes its errors in several
SECONDS_PER_CELL = {"quick": 300, "full": 1800}


class Build:
    """The paths and the environment of one profile and back-end."""

    def __init__(self, root: Path, profile: str, backend: str):
        self.root, self.profile, self.backend = root, profile, backend
        self.home = root / "_runs" / (profile if backend == "tensorflow" else f"{profile}-{backend}")
        self.store = self.home / "results"
        self.environment = os.environ | {
            "COURSE_PROFILE": profile,
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": str(Path(__file__).parent),
        }

    def chapters(self) -> list[str]:
        """Return the slugs of the chapters, in the order of the table of contents."""
        parts = yaml.safe_load((self.root / "book" / "_toc.yml").read_text())["parts"]
        files = [chapter["file"] for part in parts for chapter in part["chapters"]]
        return [Path(file).name for file in files if file.startswith("notebooks/")]

    def executed(self, chapter: str) -> Path:
        return self.home / "notebooks" / f"{chapter}.ipynb"

    def key(self, chapter: str) -> str:
        """Return a digest of everything that can change the chapter's outputs. Its prose cannot."""
        notebook = nbformat.read(self.root / "notebooks" / f"{chapter}.ipynb", 4)
        code = [[cell.source, cell.metadata.get("tags")] for cell in notebook.cells if cell.cell_type == "code"]
        told = [code, self.profile, self.backend, runtime.versions(), weights_at_hand()]
        digest = hashlib.sha256(json.dumps(told).encode())
        files = [path for folder in ("helpers", "data") for path in sorted((self.root / folder).rglob("*"))]
        # no chapter imports the checks of the assignments, and what came out of other runs is no input
        apart = {self.root / "helpers" / "checks", self.root / "data" / "results"}
        for path in [self.root / "uv.lock", *files]:
            name = path.relative_to(self.root)
            left_behind = any(part == "__pycache__" or part.startswith(".") for part in name.parts)  # by systems
            if path.is_file() and path.suffix != ".md" and not left_behind and apart.isdisjoint(path.parents):
                digest.update(name.as_posix().encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def forget_removed(self) -> None:
        """Remove the runs of chapters that the table of contents no longer names."""
        for folder in self.store.glob("*"):
            if folder.is_dir() and folder.name not in self.chapters():
                shutil.rmtree(folder)
                self.executed(folder.name).unlink(missing_ok=True)

    def stale(self) -> list[str]:
        """Return the chapters that were not run yet as they are now."""
        runs = results.load_runs(self.store)
        return [
            chapter
            for chapter in self.chapters()
            if runs.get(chapter, {}).get("key") != self.key(chapter) or not self.executed(chapter).exists()
        ]


def weights_at_hand() -> list[tuple[str, int | str]]:
    """Return name and size of the user's files of weights: a chapter that probes a network takes the best it finds.

    Of weights that this course made the manifest is returned, which holds the digests of the files beside it.
    """
    places = [runtime.weights_folder(), runtime.keras_folder("models")]
    files = (path for place in places if place for path in sorted(place.rglob("*")) if path.is_file())
    return [(path.name, _manifest(path) if path.name == "manifest.json" else path.stat().st_size) for path in files]


def _manifest(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


class ChapterFailed(Exception):
    """A cell raised an error; the message has three lines: the notebook, the cell, the error."""


def run_chapter(build: Build, chapter: str, bar: tqdm) -> dict:
    """Execute one chapter and move its notebook and results into place; return what its run took.

    Raises
    ------
    ChapterFailed
        What an earlier run made is still there.
    """
    key, work = build.key(chapter), build.home / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    notebook = Path(shutil.copy(build.root / "notebooks" / f"{chapter}.ipynb", work))
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "chapter_progress", "-p", "no:cacheprovider"]
    command += ["--nbmake", "--overwrite", f"--nbmake-timeout={SECONDS_PER_CELL[build.profile]}"]
    command += ["-c", os.devnull, f"--rootdir={work}", str(notebook)]
    environment = build.environment | {"COURSE_RESULTS": str(work / "results")}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=work, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    cells = failure = None
    with (build.home / f"{chapter}.log").open("w") as log:
        for line in process.stdout:
            printed, _, told = line.partition(MARK)  # pytest's own mark for a failure may stand before
            event = json.loads(told) if told else {}
            cells, failure = event.get("cells", cells), event.get("failed", failure)
            if "cells" in event:
                bar.reset(cells)
            elif "began" in event:
                bar.update(event["began"] - bar.n)
            log.write(printed)
    _, process.returncode, usage = os.wait4(process.pid, 0)
    if failure or process.returncode:
        raise ChapterFailed(three_lines(build, chapter, failure))
    records = results.load(work / "results", chapter)
    if not records:
        forgotten = {"cell": "the last one", "error": f"no result of {chapter!r} was saved: end with card.save()"}
        raise ChapterFailed(three_lines(build, chapter, forgotten))
    run = {
        "chapter": chapter,
        "key": key,
        "profile": build.profile,
        "backend": build.backend,
        "seconds": round(time.perf_counter() - began, 1),
        "cells": cells,
        # of the largest process, which is the kernel; Linux counts in KiB, macOS in bytes
        "peak_mebibytes": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)),
        "device": records[0].about["device"],
        "versions": runtime.versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    put_in_place(build, chapter, work, run)
    return run


def put_in_place(build: Build, chapter: str, work: Path, run: dict) -> None:
    """Replace the chapter's old run by the new one; ``run.json`` comes last and says that all is there."""
    shutil.rmtree(build.store / chapter, ignore_errors=True)
    build.store.mkdir(parents=True, exist_ok=True)
    shutil.move(work / "results" / chapter, build.store / chapter)
    build.executed(chapter).parent.mkdir(parents=True, exist_ok=True)
    os.replace(work / f"{chapter}.ipynb", build.executed(chapter))
    results.save_run(chapter, run, build.store)
    shutil.rmtree(work)


def three_lines(build: Build, chapter: str, failure: dict | None) -> str:
    """Say where a chapter failed: the notebook, the cell, the error."""
    log = (build.home / f"{chapter}.log").relative_to(build.root)
    failure = failure or {"cell": None, "error": f"the run ended without a result; see {log}"}
    first = (failure.get("source") or "").strip().split("\n")[0]
    cell = (
        f"{failure['cell']}: {first}".rstrip(": ") if failure["cell"] else "none: the kernel stopped (out of memory?)"
    )
    return f"notebook  notebooks/{chapter}.ipynb\ncell      {cell}\nerror     {re.sub(COLOUR, '', failure['error'])}"


def run_chapters(build: Build) -> list[str]:
    """Run every stale chapter, with progress; return their slugs."""
    build.forget_removed()
    stale = build.stale()
    for number, chapter in enumerate(stale, start=1):
        known = results.load_runs(build.store).get(chapter, {}).get("seconds")
        title = f"[{number}/{len(stale)}] {chapter}" + (f" (last time {known:.0f} s)" if known else "")
        with tqdm(desc=title, unit="cell", bar_format="{desc}: {n_fmt}/{total_fmt} cells, {elapsed}") as bar:
            run_chapter(build, chapter, bar)
            bar.update(bar.total - bar.n)
    return stale


def fill_cache(build: Build) -> None:
    """Hand the executed notebooks to Jupyter Book, which looks them up by their code cells."""
    from jupyter_cache import get_cache

    home = build.root / "_build" / ".jupyter_cache"
    shutil.rmtree(home, ignore_errors=True)  # it cannot tell that helpers or the profile changed
    home.mkdir(parents=True)
    cache = get_cache(home)
    for chapter in build.chapters():
        source = build.root / "notebooks" / f"{chapter}.ipynb"
        # the outputs go into the notebook as it is now: metadata such as alternative texts are part of the key
        notebook, executed = nbformat.read(source, 4), nbformat.read(build.executed(chapter), 4)
        ran = [cell for cell in executed.cells if cell.cell_type == "code"]
        for cell, old in zip([cell for cell in notebook.cells if cell.cell_type == "code"], ran, strict=True):
            cell.outputs, cell.execution_count = old.outputs, old.execution_count
        path = home / f"{chapter}.ipynb"
        nbformat.write(notebook, path)
        cache.cache_notebook_file(path, uri=source, check_validity=False)
        path.unlink()


def build_site(build: Build) -> None:
    """Make the site in ``_build/html``; every warning of Sphinx is an error.

    Raises
    ------
    SystemExit
        With what Jupyter Book printed.
    """
    stamp = build.root / "_build" / "shown.json"
    # each is a page of its own, which nothing else of the site may rewrite
    shutil.rmtree(build.root / "_build" / "html" / "slides", ignore_errors=True)
    shown = {
        chapter: [run["key"], run["finished"], (build.root / "notebooks" / f"{chapter}.ipynb").read_text("utf-8")]
        for chapter, run in results.load_runs(build.store).items()
    }
    fresh = stamp.exists() and json.loads(stamp.read_text()) == shown
    if not fresh:
        stamp.unlink(missing_ok=True)
        fill_cache(build)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", ".", "--toc", "book/_toc.yml", "-q", "-W", "-n", "--keep-going"]
    environment = build.environment | {"COURSE_RESULTS": str(build.store), "NO_COLOR": "1"}
    outcome = subprocess.run(
        command + ([] if fresh else ["--all"]),
        cwd=build.root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if outcome.returncode:
        sys.exit(f"{outcome.stdout}\nThe site could not be built: see the warnings and errors above.")
    stamp.write_text(json.dumps(shown))


def report(build: Build) -> str:
    """Return the scorecard of every chapter and what each run took, as text."""
    lines, (records, complaints) = [], results.load_readable(build.store)
    for chapter, run in results.load_runs(build.store).items():
        rows = scorecard.table_rows([record for record in records if record.chapter == chapter])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["", f"{chapter}: {run['seconds']:.0f} s, {run['cells']} cells, {run['peak_mebibytes']} MiB"]
        lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, *complaints])


def begin(profile: str) -> tuple[Build, IO]:
    """Return the build that the environment asks for, else of this profile, and a lock to hold until the end."""
    try:
        profile = check_choice(os.environ.get("COURSE_PROFILE") or profile, runtime.PROFILES, "profile")
    except ValueError as error:
        sys.exit(str(error))
    build = Build(ROOT, profile, os.environ.get("KERAS_BACKEND") or "tensorflow")
    build.home.mkdir(parents=True, exist_ok=True)
    lock = (build.home.parent / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("Another build of this folder is running: wait for it, or stop it.")
    return build, lock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--notebooks-only", action="store_true", help="run the chapters, but make no site")
    only_run = parser.parse_args().notebooks_only
    began = time.perf_counter()
    build, _lock = begin("quick")
    try:
        ran = run_chapters(build)
    except ChapterFailed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit("Interrupted: the chapters that were finished are kept, and the next build continues from there.")
    if not only_run:
        print("Building the site ...", flush=True)
        build_site(build)
        from teaching import slides  # it imports this module

        slides.write(build, ROOT / "_build" / "html" / "slides")
    print(report(build))
    print(f"\n{len(ran)} of {len(build.chapters())} chapters run, {time.perf_counter() - began:.0f} s in all")
    if not only_run:
        print(f"The book: {build.root / '_build' / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()

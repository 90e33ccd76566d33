"""Grade a folder of notebooks: points as CSV, and a page of feedback for each of them.

    PYTHONPATH=book python -m teaching.grade submissions --class-seed 7 --jobs 2

Every file below the folder is looked at. Which assignment a notebook belongs to, it says itself; a folder may mix them.
What cannot be graded gets one line that says why, and stops nothing else. Each notebook is graded by a process of its
own (`teaching.grading`), and its code runs in yet another one, which is locked in (`teaching.sandbox` says how well).

Into `dist/grades/class-<seed>` go `<assignment>.csv`, `feedback/<assignment>/<student>.html`, and, if there is reason,
`not-graded.csv`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import stat
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from helpers.runtime import replace_file
from teaching.sandbox import Limits, protection

__all__ = ["Refused", "Submission", "grade_folder", "main"]

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 50 * 2**20  # bytes of a notebook; one with many pictures has some 10 MB
FIRST_BYTES = {b"%PDF": "a PDF", b"PK\x03\x04": "a zip archive", b"\x89PNG": "a picture", b"\x1f\x8b": "an archive"}
_BEGIN = re.compile(r"""checks\.begin\(\s*["']([\w-]+)["']\s*,\s*(\w+)\s*\)""")
_CHECK = re.compile(r"""(?m)^(?![ \t]*#).*?\bcheck\(\s*["'](\w+)["']""")


class Refused(ValueError):
    """A file, folder or build that cannot be graded; the text is a sentence that says what to do."""


@dataclass
class Submission:
    """A notebook, and what became of it.

    Attributes
    ----------
    file : Path
        Relative to the folder.
    student : str
        The file's name, or its folder's where the file still has the assignment's.
    assignment : str
        The slug, or nothing where it could not be told.
    refusal : str
        Why it was not graded, or nothing.
    notes : list of str
        For the student and the instructor.
    remarks : list of str
        For the instructor alone.
    cells : list of (int, str)
        The number of each code cell in the notebook, and its source.
    result : dict
        What `teaching.grading.Graded` holds.
    """

    file: Path
    student: str
    assignment: str = ""
    refusal: str = ""
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    cells: list[tuple[int, str]] = field(default_factory=list)
    result: dict = field(default_factory=dict)

    @property
    def points(self) -> float:
        return sum(question["points"] for question in self.result["questions"])

    @property
    def graded(self) -> bool:
        return bool(self.result)

    def all_remarks(self) -> list[str]:
        """Return everything that the instructor is told."""
        errors = [f"cell {error['cell']}: {error['text']}" for error in self.result.get("errors", [])]
        refusal = [f"not graded: {self.refusal}"] if self.refusal else []
        return refusal + self.notes + self.remarks + self.result.get("remarks", []) + errors


def grade_folder(
    folder: Path,
    class_seed: int,
    limits: Limits,
    *,
    assignments: Path = ROOT / "dist" / "assignments",
    out: Path = ROOT / "dist" / "grades",
    only: str = "",
    jobs: int = 1,
) -> list[Submission]:
    """Grade all notebooks below a folder, and write the reports.

    Parameters
    ----------
    folder : Path
    class_seed : int
        Notebooks of other classes are not graded.
    limits : Limits
        Of one notebook.
    assignments, out : Path
        Where the editions are, and where the reports go; each has a folder ``class-<seed>``.
    only : str
        A slug, if notebooks of other assignments shall be passed over.
    jobs : int
        How many notebooks are graded at a time.

    Returns
    -------
    list of Submission

    Raises
    ------
    Refused
        If there is nothing to grade, or nothing to grade it by.
    """
    manifests = read_manifests(assignments / f"class-{class_seed}", class_seed, only)
    submissions = find(folder)
    for submission in submissions:
        read(submission, folder, manifests, class_seed, only)
    name_apart(submissions)
    out = out / f"class-{class_seed}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"The reports cannot be written to {out} ({error.strerror}): name another folder.") from None
    tests = {slug: assignments / f"class-{class_seed}" / slug / "grader" / "tests" for slug in manifests}
    job = {"seconds": limits.seconds, "memory": limits.memory}
    job["hidden"] = [str(place.resolve()) for place in (folder, assignments, out)]
    try:
        _grade_all(submissions, tests, job, jobs)
    finally:
        write_reports(submissions, {only: manifests[only]} if only else manifests, out)
    return submissions


def read_manifests(folder: Path, class_seed: int, only: str = "") -> dict[str, dict]:
    """Return the manifests of a class's assignments by their slugs."""
    build = f"run `make assignments CLASS_SEED={class_seed}` first"
    paths = sorted(folder.glob("*/manifest.json"))
    if not paths:
        raise Refused(f"The assignments of class seed {class_seed} are not in {folder}: {build}.")
    manifests = {}
    for path in paths:
        try:
            manifests[path.parent.name] = json.loads(path.read_text(encoding="utf-8")) | _given(path.parent)
        except (OSError, ValueError):
            raise Refused(f"The manifest {path} cannot be read: {build}.") from None
    if only and only not in manifests:
        raise Refused(f"There is no assignment {only!r} for class seed {class_seed}; there are {', '.join(manifests)}.")
    return manifests


def _given(folder: Path) -> dict[str, list[str]]:
    """Return which lines of an assignment's student edition use the checks; nothing where it was taken away."""
    path = folder / "student" / f"{folder.name}.ipynb"
    if not path.is_file():
        return {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {"given": _of_checks("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))}


def _of_checks(source: str) -> list[str]:
    """Return the lines that use the package of the checks, in which reference solutions lie."""
    lines = (line.strip() for line in source.splitlines())
    return [line for line in lines if re.search(r"\bchecks\b|\bgetsource\b", line)]


def find(folder: Path) -> list[Submission]:
    """Return every file below a folder, in order; hidden ones are passed over, and links are not followed.

    Raises
    ------
    Refused
        If there is no such folder, or no file in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise Refused(f"The folder {folder} {what}: name the folder with the notebooks, as SUBMISSIONS=folder.")
    found = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")) and name not in links)
        for name in sorted([*files, *links]):
            if not name.startswith("."):
                file = Path(place, name).relative_to(folder)
                found.append(Submission(file, _printable(file.stem)))
    if not found:
        raise Refused(f"The folder {folder} is empty: put the students' notebooks there.")
    return sorted(found, key=lambda submission: submission.file.as_posix().casefold())


def read(submission: Submission, folder: Path, manifests: dict[str, dict], class_seed: int, only: str = "") -> None:
    """Read a notebook's cells, and find out which assignment it is of; where it cannot be graded, say why."""
    try:
        notebook = parse(_content(folder / submission.file))
        submission.cells = code_cells(notebook)
        _identify(submission, notebook, manifests, class_seed, only)
    except Refused as refusal:
        submission.refusal = str(refusal)


def _content(path: Path) -> bytes:
    """Read a file, if it is one and not too large."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise Refused("it is a link, and links are not followed: put the notebook itself there.")
        if not stat.S_ISREG(status.st_mode):
            raise Refused("it is no ordinary file: put the notebook itself there.")
        if status.st_size > LARGEST:
            raise Refused(
                f"it has {status.st_size / 2**20:.0f} MB, and {LARGEST // 2**20} MB is the limit: clear its outputs "
                "(Edit, Clear all outputs), save it, and hand it in again."
            )
        with path.open("rb") as stream:
            return stream.read(LARGEST)
    except OSError as error:
        raise Refused(f"it cannot be read ({error.strerror}): ask for it again.") from None


def parse(content: bytes) -> dict:
    """Return a notebook as a dict, from UTF-8 or UTF-16, with or without a byte order mark.

    Raises
    ------
    Refused
        If it is no notebook.
    """
    again = "hand in the .ipynb file (in Colab: File, Download, Download .ipynb)."
    if not content:
        raise Refused(f"the file is empty: {again}")
    for start, kind in FIRST_BYTES.items():
        if content.startswith(start):
            raise Refused(f"it is {kind}, not a notebook: {again}")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        raise Refused(
            f"its text is neither UTF-8 nor UTF-16, so it is no notebook as Jupyter saves it: {again}"
        ) from None
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(f"it is not a notebook, or was cut off: {again}") from None
    if not isinstance(notebook, dict) or "nbformat" not in notebook:
        raise Refused(f"it is not a notebook: {again}")
    if notebook["nbformat"] != 4 or not isinstance(notebook.get("cells"), list):
        raise Refused("it is a notebook of another format than 4: open it in Jupyter or Colab and save it again.")
    return notebook


def code_cells(notebook: dict) -> list[tuple[int, str]]:
    """Return the number of each code cell, counted from 1 over all cells, and its source; outputs are not looked at."""
    cells = []
    for number, cell in enumerate(notebook["cells"], start=1):
        source = cell.get("source", "") if isinstance(cell, dict) else None
        lines = [source] if isinstance(source, str) else source
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise Refused("its cells are damaged: open it in Jupyter or Colab and save it again.")
        if cell.get("cell_type") == "code" and "".join(lines).strip():
            cells.append((number, "".join(lines)))
    return cells


def _identify(submission: Submission, notebook: dict, manifests: dict, class_seed: int, only: str) -> None:
    """Find the assignment and the class in the metadata, else in the set-up cell, and compare the two."""
    source = "\n".join(source for _, source in submission.cells)
    said = _BEGIN.search(source)
    seed_there = _seed(source, said[2]) if said else None
    metadata = notebook.get("metadata")
    course = metadata.get("course") if isinstance(metadata, dict) else None
    course = course if isinstance(course, dict) else {}
    slug, seed = course.get("assignment", said and said[1]), course.get("class_seed", seed_there)
    if not isinstance(slug, str):
        raise Refused("it is no assignment of this course: its set-up cell lacks the line checks.begin(...).")
    slug = submission.assignment = slug if slug in manifests else ""
    if not slug:
        asked = course.get("assignment", said and said[1])
        raise Refused(f"it is of the assignment {asked[:80]!r}, which class {class_seed} has not: see if it was built.")
    if only and slug != only:
        raise Refused(f"it is of the assignment {slug}, and only {only} is graded.")
    if seed != class_seed:
        raise Refused(
            f"it is of class seed {seed!s:.20}, and class seed {class_seed} is graded: use CLASS_SEED={seed!s:.20}."
        )
    if said and (said[1] != slug or seed_there != seed):
        submission.notes.append(
            f"The set-up cell was changed to checks.begin({said[1]!r:.80}, {seed_there!s:.20}); "
            f"the answers were tested as those of {slug}, class seed {seed}."
        )
    if course.get("version", manifests[slug]["version"]) != manifests[slug]["version"]:
        made, graded = course["version"], manifests[slug]["version"]
        submission.remarks.append(f"It was made with version {made!s:.20} of the course, and graded with {graded}.")
    _look_for_questions(submission, notebook, manifests[slug], source)
    as_given = rf"(?i){re.escape(slug)}[-_ ]*(\(?\d+\)?|copy *\d*)?"
    if re.fullmatch(as_given, submission.file.stem) and len(submission.file.parts) > 1:
        submission.student = _printable(submission.file.parent.name)


def _seed(source: str, said: str) -> int | str:
    """Return the class seed that the set-up cell passes on, which is a number or a name for one."""
    if not said.isdecimal():
        named = re.findall(rf"(?m)^{said}[ \t]*=[ \t]*(\d{{1,18}})[ \t]*(?:#.*)?$", source)
        return int(named[-1]) if named else said
    return int(said[:18])


def _look_for_questions(submission: Submission, notebook: dict, manifest: dict, source: str) -> None:
    """Note the questions that cannot be found, and checks of questions that there are not."""
    ids = {cell.get("id") for cell in notebook["cells"] if isinstance(cell.get("id"), str)}
    checked = set(_CHECK.findall(source))
    names = [question["name"] for question in manifest["questions"]]
    for question in manifest["questions"]:
        if question["name"] not in checked and question["answer_cell"] not in ids:
            submission.notes.append(
                f"The answer cell of {question['name']} could not be found: was it removed or renamed?"
            )
    for line in dict.fromkeys(_of_checks(source)):
        if line not in manifest.get("given", [line]):
            submission.remarks.append(f"Beyond what was handed out it uses the package of the checks: {line[:80]}")
    for unknown in sorted(checked - set(names)):
        submission.notes.append(f'check("{unknown[:20]}", ...) names no question; there are {", ".join(names)}.')


def name_apart(submissions: Sequence[Submission]) -> None:
    """Call those by their paths that would be called the same in one assignment."""
    named: dict[tuple[str, str], list[Submission]] = {}
    for submission in submissions:
        if submission.assignment:
            named.setdefault((submission.assignment, submission.student.casefold()), []).append(submission)
    for same in named.values():
        files = ", ".join(_printable(submission.file.as_posix()) for submission in same)
        for submission in same if len(same) > 1 else ():
            submission.student = _printable(submission.file.with_suffix("").as_posix())
            submission.remarks.append(f"Several files have this student's name ({files}); each was graded, keep one.")


def _printable(text: str) -> str:
    """Replace what a file name may hold and a report may not."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in whole)


def _grade_all(submissions: Sequence[Submission], tests: dict[str, Path], job: dict, jobs: int) -> None:
    wanted = [submission for submission in submissions if not submission.refusal]
    for submission in submissions:
        if submission.refusal:
            print(f"not graded: {_printable(submission.file.as_posix())}: {submission.refusal}", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_timed, submission, tests, job): submission for submission in wanted}
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                print(f"[{count}/{len(wanted)}] {_progress(futures[future], future.result())}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for submission in wanted:
                if not (submission.graded or submission.refusal):
                    submission.refusal = "the grading was interrupted: begin it again."
            raise


def _timed(submission: Submission, tests: dict[str, Path], job: dict) -> float:
    began = time.monotonic()
    grade_one(submission, job | {"tests": str(tests[submission.assignment].resolve())})
    return time.monotonic() - began


def _progress(submission: Submission, seconds: float) -> str:
    who = f"{submission.student} ({submission.assignment})"
    if submission.refusal:
        return f"{who}: not graded: {submission.refusal}"
    possible = sum(question["of"] for question in submission.result["questions"])
    return f"{who}: {submission.points:g} of {possible:g} points, {seconds:.0f} s"


def grade_one(submission: Submission, job: dict) -> None:
    """Grade one notebook in a process of its own; if that fails, say so."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "teaching.grading"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(job | {"cells": submission.cells}).encode(),
            capture_output=True,
            env=environment,
            timeout=Limits(job["seconds"]).total_seconds + 120,
        )
        submission.result = json.loads(done.stdout) if done.returncode == 0 else {}
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            submission.refusal = f"the grader itself failed: {last[0][:300]}"
    except subprocess.TimeoutExpired:
        submission.refusal = "the grader itself took too long: grade this notebook again, with more --seconds."
    except (OSError, ValueError) as error:
        submission.refusal = f"the grader itself failed: {error}"


def write_reports(submissions: Sequence[Submission], manifests: dict[str, dict], out: Path) -> None:
    """Write a table for each assignment, a page for each notebook, and the list of what could not be graded."""
    for slug, manifest in manifests.items():
        mine = [submission for submission in submissions if submission.assignment == slug]
        if mine:
            _write_table(out / f"{slug}.csv", _rows(mine, manifest))
        taken: set[str] = set()
        pages = {f"{file_name(submission.student, taken)}.html": submission for submission in mine}
        for name, submission in pages.items():
            if submission.graded:
                _write(out / "feedback" / slug / name, feedback(submission, manifest))
        for page in (out / "feedback" / slug).glob("*.html") if mine else ():
            if page.name not in pages or not pages[page.name].graded:  # of an earlier run, perhaps with another mark
                page.unlink()
    refused = [(_printable(one.file.as_posix()), one.refusal) for one in submissions if one.refusal]
    if refused:
        _write_table(out / "not-graded.csv", [("file", "why"), *refused])
    else:
        (out / "not-graded.csv").unlink(missing_ok=True)


def _rows(submissions: Sequence[Submission], manifest: dict) -> Iterator[tuple]:
    names = [question["name"] for question in manifest["questions"]]
    yield ("student", "points", "of", *names, "remarks")
    for submission in submissions:
        remarks = " | ".join(submission.all_remarks())
        points = {question["name"]: f"{question['points']:g}" for question in submission.result.get("questions", [])}
        total = f"{submission.points:g}" if submission.graded else ""
        yield (submission.student, total, f"{manifest['points']:g}", *(points.get(name, "") for name in names), remarks)


def _write_table(path: Path, rows: Iterator[tuple] | list[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([_no_formula(value) for value in row] for row in rows)
    _write(path, "\ufeff" + text.getvalue())  # by that mark Excel knows UTF-8


def _no_formula(value: str) -> str:
    """Keep a spreadsheet from computing what a student wrote."""
    return f"'{value}" if value[:1] in "=+-@\t\r" and value else value


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda stream: stream.write(text.encode("utf-8", "replace")))


def file_name(student: str, taken: set[str]) -> str:
    """Return a name that every file system takes, and that no other page has, also where case does not count."""
    plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFKC", student)).strip("-._")
    plain = plain.encode()[:160].decode(errors="ignore") or "student"  # file systems count bytes, 255 of them
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain):
        plain = f"student-{plain}"
    name, count = plain, 1
    while name.casefold() in taken:
        count += 1
        name = f"{plain}-{count}"
    taken.add(name.casefold())
    return name


def feedback(submission: Submission, manifest: dict) -> str:
    """Return the student's page: points, what the failed tests say, and which cells stopped."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["sentence"] = _sentence
    results = {question["name"]: question for question in submission.result["questions"]}
    lost = {"points": 0, "messages": ["This question was not tested."]}
    questions = [
        question | results.get(question["name"], lost | {"of": question["points"]})
        for question in manifest["questions"]
    ]
    return environment.get_template("grade_feedback.html.jinja").render(
        manifest=manifest,
        student=submission.student,
        points=submission.points,
        possible=manifest["points"],
        questions=questions,
        errors=submission.result["errors"],
        notes=submission.notes,
        output=_readable(submission.result["output"]),
    )


def _sentence(text: str) -> Markup:
    """Let a sentence begin with a capital, and show `names` as code."""
    escaped = str(escape(text[:1].upper() + text[1:]))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _readable(output: str) -> str:
    """Drop control characters, such as a terminal's colours, and keep lines."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)
    return "".join(letter for letter in plain if letter in "\n\t" or letter.isprintable()).strip()


def summary(submissions: Sequence[Submission], manifests: dict[str, dict]) -> Iterator[str]:
    """Yield the lines that end a run: mean, histogram, and the questions from the hardest to the easiest."""
    for slug, manifest in manifests.items():
        graded = [one for one in submissions if one.assignment == slug and one.graded]
        if not graded:
            continue
        points, possible = [one.points for one in graded], manifest["points"]
        notebooks = "1 notebook" if len(graded) == 1 else f"{len(graded)} notebooks"
        yield f"\n{slug}: {notebooks}, mean {sum(points) / len(points):.1f} of {possible:g} points"
        yield from histogram(points, possible)
        yield "share of the points earned, from the hardest question to the easiest:"
        for share, name in sorted(_success(graded, manifest)):
            yield f"  {name}  {share:4.0%}"
    refused = sum(bool(one.refusal) for one in submissions)
    if refused:
        yield f"\nnot graded: {refused}; not-graded.csv says why."


def histogram(points: Sequence[float], possible: float) -> Iterator[str]:
    """Yield one line for each of at most ten ranges of points, with one sign for each notebook."""
    bins = int(min(10, max(1, possible)))
    width = possible / bins if possible else 1
    counts = Counter(min(bins - 1, int(value / width)) for value in points)
    for index in range(bins):
        ends = f"{index * width:4.1f} to {(index + 1) * width:4.1f}"
        yield f"  {ends}  {'#' * counts[index]}".rstrip()


def _success(graded: Sequence[Submission], manifest: dict) -> Iterator[tuple[float, str]]:
    for question in manifest["questions"]:
        earned = [
            found["points"] / found["of"] if found["of"] else 1.0
            for one in graded
            for found in one.result["questions"]
            if found["name"] == question["name"]
        ]
        yield sum(earned) / len(earned) if earned else 0.0, question["name"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade what the command line names; return 2 where there is nothing to grade or nothing to grade it by."""
    parser = argparse.ArgumentParser(prog="python -m teaching.grade", description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="the folder with the students' notebooks")
    parser.add_argument("--class-seed", type=int, default=0, help="of the class (default: 0)")
    parser.add_argument("--assignment", default="", metavar="SLUG", help="grade only this one")
    parser.add_argument("--assignments", type=Path, default=ROOT / "dist" / "assignments", help="the built editions")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "grades", help="where the reports go")
    parser.add_argument(
        "--seconds", type=float, default=300, help="limit of one cell (default: 300); a notebook has 4 times that"
    )
    parser.add_argument("--memory", type=float, default=6, help="limit of one notebook in GiB (default: 6)")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at a time (default: 1)")
    told = parser.parse_args(arguments)
    try:
        if not told.folder:
            raise Refused("No folder was named: run make grade SUBMISSIONS=folder.")
        if min(told.seconds, told.memory, told.jobs) <= 0:
            raise Refused("--seconds, --memory and --jobs must be more than 0.")
        _warn()
        limits = Limits(seconds=told.seconds, memory=told.memory)
        places = {"assignments": told.assignments, "out": told.out, "only": told.assignment, "jobs": told.jobs}
        submissions = grade_folder(Path(told.folder), told.class_seed, limits, **places)
    except (Refused, RuntimeError) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename} cannot be written ({error.strerror}): close it, and run again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. The reports hold what was graded by then.", file=sys.stderr)
        return 130
    manifests = read_manifests(told.assignments / f"class-{told.class_seed}", told.class_seed)
    print(*summary(submissions, manifests), sep="\n")
    print(f"\nThe reports are in {told.out / f'class-{told.class_seed}'}.")
    return 0


def _warn() -> None:
    """Say which locks this system lacks, before any code of a student's runs."""
    if sys.platform == "win32":
        raise Refused("Grading needs Linux or macOS: on Windows, run it in the Windows Subsystem for Linux.")
    lacking = [name for name, holds in protection().items() if not holds and name != "user namespaces"]
    if lacking:
        print(
            f"This system offers no {' and no '.join(lacking)}: code of students is held back less well here. "
            "book/teaching/sandbox.py says what that means, and what to do about it."
        )


if __name__ == "__main__":
    sys.exit(main())

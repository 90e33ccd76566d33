"""Build the assignments of a class: a student, a solution and a grader edition of every master.

    PYTHONPATH=book python -m teaching.assign --class-seed 7              all of them
    PYTHONPATH=book python -m teaching.assign --class-seed 7 few-labels   one

A master, `notebooks/assignments/<slug>.ipynb`, is in the format of Otter (https://otter-grader.readthedocs.io), which
takes the solutions and the tests out. What comes before is ours: the class seed fills in the numbers of the class and
shuffles the choices. What comes after, too: solutions are run, expected pictures handed to the students, and a
manifest says what was built.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import yaml
from jinja2 import Environment, StrictUndefined, TemplateError
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
MASTERS = ROOT / "notebooks" / "assignments"
OUT = ROOT / "dist" / "assignments"

_HEADING = re.compile(
    r"### Question \d+ \((?P<stars>★+) · (?P<minutes>\d+) minutes · (?P<points>\d+) points?\): (?P<title>.+)"
)
_OBJECTIVE = re.compile(r"(?m)^\*Objective: (.+)\*$")
_CHOICE = re.compile(r"^- \[(?P<mark>[ x])\] (?P<text>.*?)(?: <!-- (?P<told>.+) -->)?$", re.MULTILINE)
_SECONDS = 300  # of one cell of a solution


class MasterError(ValueError):
    """A master that does not keep the format; its text is one sentence."""


@dataclass
class Question:
    """One question of an assignment.

    Attributes
    ----------
    name : str
        ``"q1"``, ``"q2"``, ...
    title, objective : str
        As they stand in the prompt.
    points, stars, minutes : int
        As they stand in the prompt.
    answer_cell : str
        The id of the cell that the student fills in.
    names : list of str
        What the hidden tests ask the student's notebook for.
    choices : dict
        For a question with choices the sentence told for each letter; the right letter has None.
    """

    name: str
    title: str
    objective: str
    points: int
    stars: int
    minutes: int
    answer_cell: str
    names: list[str] = field(default_factory=list)
    choices: dict[str, str | None] = field(default_factory=dict)

    def manifest(self) -> dict:
        """Return what the manifest says of the question: everything but the right choice."""
        return {name: value for name, value in vars(self).items() if name != "choices"}


def slugs() -> list[str]:
    """Return the slugs of the chapters that have a master."""
    return sorted(path.stem for path in MASTERS.glob("*.ipynb"))


def read(slug: str) -> NotebookNode:
    """Read a master.

    Raises
    ------
    ValueError
        If there is no such master.
    """
    path = MASTERS / f"{slug}.ipynb"
    if not path.is_file():
        raise ValueError(f"There is no assignment {slug!r}; there are {', '.join(slugs())}.")
    return nbformat.read(path, as_version=4)


def for_class(slug: str, class_seed: int) -> tuple[NotebookNode, list[Question]]:
    """Return the master as it is for one class, still with solutions and tests, and its questions.

    Numbers are filled into the prompts, choices are shuffled and lettered, the tests of choices are written, and
    tests get the class seed as a number that no student can change.
    """
    from helpers import checks

    notebook = read(slug)
    numbers = checks.numbers(slug, class_seed)
    questions, cells = [], []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _filled(cell, numbers)
        if cell.id.endswith("-prompt"):
            questions.append(_question(cell, random.Random(f"{slug}/{class_seed}/{cell.id}")))
        if cell.id.endswith("-answer"):
            _lettered(cell, questions[-1])
        if cell.cell_type == "code":
            cell.source = _seeded(cell, class_seed)
        cells.append(cell)
        if cell.id.endswith("-solution-end") and questions[-1].choices:
            cells += _choice_test(questions[-1])
        if "-test-" in cell.id:
            questions[-1].names += _arguments(cell.source, questions[-1].names)
    notebook.cells = cells
    return notebook, questions


def build(slug: str, class_seed: int, out: Path = OUT, run: bool = True) -> Path:
    """Write all editions of one assignment and return their folder; an earlier build of it is replaced at the end.

    Parameters
    ----------
    slug : str
        The chapter's slug.
    class_seed : int
        The seed of the class.
    out : Path
        Editions go to ``class-<seed>/<slug>`` below.
    run : bool
        Whether to run the solution edition, for its outputs and the students' expected pictures.

    Raises
    ------
    ValueError
        If there is no such master, the seed is no whole number from 0, or the master breaks the format.
    RuntimeError
        If the solution edition fails.
    """
    notebook, questions = for_class(slug, class_seed)
    with tempfile.TemporaryDirectory() as scratch:
        student, solution, made = _otter(notebook, slug, Path(scratch))
        _unmark(solution)
        if run:
            _execute(solution, slug)
            _hand_out_pictures(solution, student)
        for cell in student.cells:
            if cell.id.endswith("-answer"):
                cell.metadata["deletable"] = False
        for edition in (student, solution):
            edition.metadata = notebook.metadata | {
                "course": {"assignment": slug, "class_seed": class_seed, "version": _version()}
            }
        folder = Path(scratch) / "editions"
        _write(folder / "student" / f"{slug}.ipynb", student)
        _write(folder / "solution" / f"{slug}.ipynb", solution)
        shutil.copytree(made / "tests", folder / "grader" / "tests")
        (archive,) = made.glob("*.zip")
        shutil.copy(archive, folder / "grader" / f"{slug}-autograder.zip")
        _write_manifest(folder, notebook, questions)
        return _replace(folder, out / f"class-{class_seed}" / slug)


def _filled(cell: NotebookNode, numbers: object) -> str:
    """Fill the numbers of the class into a Markdown cell."""
    try:
        return Environment(undefined=StrictUndefined).from_string(cell.source).render(numbers=numbers)
    except TemplateError as error:  # a number that is not drawn, or a brace too few
        raise MasterError(f"The numbers of the class do not fit into the cell {cell.id}: {error}.") from None


def _question(cell: NotebookNode, draw: random.Random) -> Question:
    """Read a question from its prompt, and shuffle and letter the prompt's choices."""
    heading, objective = _HEADING.match(cell.source), _OBJECTIVE.search(cell.source)
    if not (heading and objective):
        raise MasterError(
            f"The cell {cell.id} must begin with '### Question 1 (★ · 5 minutes · 2 points): Title' "
            "and have a line '*Objective: ...*'."
        )
    name = cell.id.removesuffix("-prompt")
    question = Question(
        name,
        heading["title"],
        objective[1],
        int(heading["points"]),
        len(heading["stars"]),
        int(heading["minutes"]),
        f"{name}-answer",
    )
    choices = list(_CHOICE.finditer(cell.source))
    if choices:
        if [choice["mark"] for choice in choices].count("x") != 1:
            raise MasterError(f"The cell {cell.id} must mark exactly one choice as right, by '- [x]'.")
        if any((choice["mark"] == " ") != bool(choice["told"]) for choice in choices):
            raise MasterError(f"In the cell {cell.id} each wrong choice, and no other, needs its <!-- sentence -->.")
        shuffled = draw.sample(choices, len(choices))
        lines = []
        for letter, choice in zip("ABCDEFGH", shuffled, strict=False):
            question.choices[letter] = choice["told"]
            lines.append(f"- **{letter}.** {choice['text']}")
        start, end = choices[0].start(), choices[-1].end()
        cell.source = cell.source[:start] + "\n".join(lines) + cell.source[end:]
    return question


def _lettered(cell: NotebookNode, question: Question) -> None:
    """Put the letter of the right choice where the solution says "right"; note which name holds the answer."""
    if not question.choices:
        return
    answer = re.search(rf'(?m)^check\("{question.name}", (\w+)\)\s*\Z', cell.source)
    if not answer or '"right"' not in cell.source:
        raise MasterError(f'The cell {cell.id} must hold the answer "right" and end in check("{question.name}", NAME).')
    (letter,) = [letter for letter, told in question.choices.items() if told is None]
    cell.source = cell.source.replace('"right"', f'"{letter}"')
    question.names = [answer[1]]


def _seeded(cell: NotebookNode, class_seed: int) -> str:
    """Write the class seed into the set-up cell, and in its place into the tests."""
    if cell.id == "setup":
        source, count = re.subn(r"(?m)^CLASS_SEED = \d+$", f"CLASS_SEED = {class_seed}", cell.source)
        if count != 1:
            raise MasterError("The cell setup must have one line 'CLASS_SEED = 0'.")
        return source
    return re.sub(r"\bCLASS_SEED\b", str(class_seed), cell.source) if "-test-" in cell.id else cell.source


def _choice_test(question: Question) -> list[NotebookNode]:
    """Return the cells of the hidden test of a question with choices."""
    (name,) = question.names
    (right,) = [letter for letter, told in question.choices.items() if told is None]
    told = {letter: sentence for letter, sentence in question.choices.items() if sentence}
    source = (
        f"# HIDDEN\ndef test_choice({name}):\n    told = {told!r}\n"
        f"    assert type({name}) is str and {name} == {right!r}, "
        f'told.get(str({name}), "Answer with one of the letters, in quotation marks.")'
    )
    return [
        nbformat.v4.new_raw_cell("# BEGIN TESTS", id=f"{question.name}-tests-begin"),
        nbformat.v4.new_code_cell(source, id=f"{question.name}-test-choice"),
        nbformat.v4.new_raw_cell("# END TESTS", id=f"{question.name}-tests-end"),
    ]


def _arguments(source: str, known: list[str]) -> list[str]:
    """Return the names that a test asks the student's notebook for, without those known already."""
    (function,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [argument.arg for argument in function.args.args if argument.arg not in known]


def _otter(notebook: NotebookNode, slug: str, scratch: Path) -> tuple[NotebookNode, NotebookNode, Path]:
    """Let Otter make the editions; return the student's, the solution, and the folder of the grader."""
    from otter.assign import main as otter_assign

    master = scratch / f"{slug}.ipynb"
    nbformat.write(notebook, master)
    shutil.copy(MASTERS / "otter.yml", scratch)
    (scratch / "requirements.txt").write_text(_requirement() + "\n", encoding="utf-8")
    # Otter reports on its own; what matters is raised
    with contextlib.redirect_stdout(io.StringIO()):
        otter_assign(str(master), str(scratch / "otter"), no_run_tests=True)
    made = scratch / "otter" / "autograder"
    student = nbformat.read(scratch / "otter" / "student" / f"{slug}.ipynb", as_version=4)
    return student, nbformat.read(made / f"{slug}.ipynb", as_version=4), made


def _unmark(solution: NotebookNode) -> None:
    """Take Otter's marks out of the solution, so that it reads as a notebook."""
    prompt = r'(?ms)^""" *# BEGIN PROMPT\n.*?^""" *# END PROMPT\n?'
    for cell in solution.cells:
        if cell.cell_type == "code":
            source = re.sub(prompt, "", cell.source)
            source = re.sub(r"(?m)^[ \t]*# (BEGIN|END) SOLUTION.*\n?", "", source)
            cell.source = re.sub(r"(?m)[ \t]*# SOLUTION$", "", source)


def _execute(solution: NotebookNode, slug: str) -> None:
    try:
        NotebookClient(solution, timeout=_SECONDS, kernel_name="python3").execute()
    except (CellExecutionError, CellTimeoutError) as error:
        raise RuntimeError(f"The solution of {slug} fails: {error}") from None


def _hand_out_pictures(solution: NotebookNode, student: NotebookNode) -> None:
    """Show students the pictures of the answers that are tagged `expected-picture`, above their answer cells."""
    for cell in solution.cells:
        if "expected-picture" not in cell.metadata.get("tags", []):
            continue
        pictures = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        if not pictures:
            raise MasterError(f"The cell {cell.id} is tagged expected-picture and draws none.")
        alt = cell.metadata["mystnb"]["image"]["alt"]
        shown = nbformat.v4.new_markdown_cell(
            f"The picture to expect:\n\n![{alt}](attachment:expected.png)",
            id=f"{cell.id}-expected",
            attachments={"expected.png": {"image/png": pictures[-1]}},
        )
        at = [other.id for other in student.cells].index(cell.id)
        student.cells.insert(at, shown)


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def _write_manifest(folder: Path, notebook: NotebookNode, questions: list[Question]) -> None:
    course = nbformat.read(next(folder.glob("student/*.ipynb")), as_version=4).metadata["course"]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        **course,
        "title": re.match(r"# Assignment: (.+)", _cell(notebook, "title").source)[1],
        "points": sum(question.points for question in questions),
        "questions": [question.manifest() for question in questions],
        "files": {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def _cell(notebook: NotebookNode, name: str) -> NotebookNode:
    (found,) = [cell for cell in notebook.cells if cell.id == name]
    return found


def _replace(made: Path, folder: Path) -> Path:
    """Put a finished folder in the place of an earlier one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(made, folder)
    return folder


def _version() -> str:
    import helpers

    return helpers.__version__


def _requirement() -> str:
    """Return the line that installs this version of the course where the assignments are graded."""
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    return f"features-without-labels[tensorflow] @ {address}/archive/refs/tags/v{_version()}.zip"


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slugs", nargs="*", metavar="slug", help="only these assignments")
    parser.add_argument("--class-seed", type=int, default=0, help="another number for each class and year")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--no-run", action="store_true", help="leave the solutions without outputs")
    options = parser.parse_args(arguments)
    # TensorFlow's own lines would stand in the outputs of the solutions
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
    for slug in (bar := tqdm(options.slugs or slugs(), unit="assignment")):
        bar.set_postfix_str(slug)
        try:
            build(slug, options.class_seed, options.out, run=not options.no_run)
        except (ValueError, RuntimeError) as error:
            print(f"{slug}: {error}", file=sys.stderr)
            return 1
    print(f"The editions for class {options.class_seed} are in {options.out / f'class-{options.class_seed}'}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

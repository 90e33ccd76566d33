"""Every assignment: its solution has full marks, its untouched notebook none, and known errors are told apart."""

import contextlib
import io
import json
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import yaml
from otter.test_files import ExceptionTestFile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

from teaching import assign  # noqa: E402

from helpers import checks  # noqa: E402

SLUGS = assign.slugs()
THIS_YEAR, LAST_YEAR = 0, 1


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder of an assignment's editions, built once for each class."""
    out, made = tmp_path_factory.mktemp("assignments"), {}

    def build(slug: str, class_seed: int = THIS_YEAR) -> Path:
        key = slug, class_seed
        if key not in made:
            made[key] = assign.build(slug, class_seed, out, run=False)
        return made[key]

    return build


@pytest.fixture(scope="session")
def solved(built):
    """Return the names that a run of the solution leaves behind; each solution is run once for each class."""
    ran = {}

    def solve(slug: str, class_seed: int = THIS_YEAR) -> dict:
        key = slug, class_seed
        if key not in ran:
            ran[key] = run(edition(built(slug, class_seed), "solution"))[0]
        return dict(ran[key])

    return solve


def edition(folder: Path, name: str):
    return nbformat.read(folder / name / f"{folder.name}.ipynb", as_version=4)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def run(notebook) -> tuple[dict, str]:
    """Run the cells of a notebook here; return its names and what it printed."""
    names, printed = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), names)
    return names, printed.getvalue()


def grade(folder: Path, names: dict) -> tuple[dict[str, float], dict[str, str]]:
    """Return the points and the messages of each question."""
    points, messages = {}, {}
    for path in sorted((folder / "grader" / "tests").glob("q*.py")):
        file = ExceptionTestFile.from_file(str(path))
        file.run(names)
        points[path.stem] = sum(case.test_case.points for case in file.test_case_results if case.passed)
        messages[path.stem] = " ".join(case.message for case in file.test_case_results)
    return points, messages


def wrong_answers(slug: str) -> dict[str, list[dict]]:
    return yaml.safe_load((ROOT / "tests" / "wrong_answers" / f"{slug}.yml").read_text(encoding="utf-8"))


def answer_line(notebook, question: dict) -> str:
    """Return the line of an answer cell that asks for the public check."""
    (cell,) = [cell for cell in notebook.cells if cell.id == question["answer_cell"]]
    return cell.source.strip().splitlines()[-1]


def hidden(slug: str) -> list[str]:
    """Return what no student may read: lines of solutions, tests, and what is told about wrong choices."""
    notebook, questions = assign.for_class(slug, THIS_YEAR)
    told = [sentence for question in questions for sentence in question.choices.values() if sentence]
    lines = []
    for cell in notebook.cells:
        if "-test-" in cell.id:
            lines += cell.source.splitlines()
        if cell.id.endswith("-answer"):
            inside = re.findall(r"(?s)# BEGIN SOLUTION.*?# END SOLUTION", cell.source)
            lines += [line for block in inside for line in block.splitlines()]
            lines += re.findall(r"(?m)^.*# SOLUTION$", cell.source)
    lines = [line.strip() for line in lines]
    return told + [line for line in lines if len(line) > 30]


def test_every_chapter_has_an_assignment_and_every_assignment_its_checks():
    chapters = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert chapters == SLUGS == checks.assignments()


@pytest.mark.parametrize("slug", SLUGS)
def test_an_assignment_has_four_to_six_questions_of_several_difficulties(slug, built):
    facts = manifest(built(slug))
    questions = facts["questions"]
    assert [question["name"] for question in questions] == [f"q{n}" for n in range(1, len(questions) + 1)]
    assert 4 <= len(questions) <= 6
    assert {question["stars"] for question in questions} == {1, 2, 3}
    card = next(cell.source for cell in edition(built(slug), "student").cells if cell.id == "title")
    assert f"| {sum(question['minutes'] for question in questions)} | {facts['points']} |" in card


@pytest.mark.parametrize("slug", SLUGS)
def test_the_points_of_the_prompts_are_those_of_the_tests_and_every_question_has_two_hints(slug):
    notebook, questions = assign.for_class(slug, THIS_YEAR)
    cells = {cell.id: cell.source for cell in notebook.cells}
    for question in questions:
        assert f"points: {question.points}" in cells[f"{question.name}-begin"]
        prompt = cells[f"{question.name}-prompt"]
        assert re.findall(r"<details><summary>(.*?)</summary>", prompt) == ["Hint", "Stronger hint"]


@pytest.mark.parametrize("slug", SLUGS)
def test_a_solution_has_full_marks(slug, built, solved):
    points, messages = grade(built(slug), solved(slug))
    assert points == {question["name"]: question["points"] for question in manifest(built(slug))["questions"]}, messages


@pytest.mark.parametrize("slug", SLUGS)
def test_a_solution_passes_its_own_checks(slug, built):
    _, printed = run(edition(built(slug), "solution"))
    for question in manifest(built(slug))["questions"]:
        (line,) = re.findall(rf"(?m)^{question['name']}: .*$", printed)
        assert "this looks right" in line or "is noted" in line, line


@pytest.mark.parametrize("slug", SLUGS)
def test_an_untouched_student_edition_runs_to_the_end_and_has_no_points(slug, built):
    names, printed = run(edition(built(slug), "student"))
    points, _ = grade(built(slug), names)
    assert set(points.values()) == {0}
    assert len(re.findall(r"(?m)^q\d: ", printed)) == len(points)
    assert "looks right" not in printed


@pytest.mark.parametrize("slug", SLUGS)
def test_a_student_edition_gives_nothing_away(slug, built):
    text = json.dumps([cell.source for cell in edition(built(slug), "student").cells], ensure_ascii=False)
    secrets = hidden(slug)
    assert secrets
    for secret in secrets:
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text, secret
    for mark in ("SOLUTION", "HIDDEN", "def test_", "[x]", "[ ]", "<!--", "{{", "otter.Notebook"):
        assert mark not in text, mark
    files = {str(path.relative_to(built(slug) / "student")) for path in (built(slug) / "student").rglob("*")}
    assert files == {f"{slug}.ipynb"}


@pytest.mark.parametrize("slug", SLUGS)
def test_a_solution_edition_reads_without_the_marks_of_the_tool(slug, built):
    for cell in edition(built(slug), "solution").cells:
        assert not re.search(r"# (BEGIN|END) |# SOLUTION", cell.source), cell.id


@pytest.mark.parametrize("slug", SLUGS)
def test_every_question_that_is_no_choice_has_three_wrong_answers(slug):
    _, questions = assign.for_class(slug, THIS_YEAR)
    planted = wrong_answers(slug)
    assert set(planted) == {question.name for question in questions if not question.choices}
    assert all(len(answers) >= 3 for answers in planted.values())
    assert all(len(question.choices) == 4 for question in questions if question.choices)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_wrong_answer_loses_points_and_is_told_what_is_off(slug, built, solved, capsys):
    folder = built(slug)
    notebook, facts = edition(folder, "solution"), manifest(folder)
    questions = {question["name"]: question for question in facts["questions"]}
    failures = []
    for name, answers in wrong_answers(slug).items():
        for answer in answers:
            names = solved(slug)
            exec(compile(answer["code"], name, "exec"), names)
            capsys.readouterr()
            checks.begin(slug, THIS_YEAR)
            exec(answer_line(notebook, questions[name]), names)
            points, messages = grade(folder, names)
            told = capsys.readouterr().out + messages[name]
            if points[name] >= questions[name]["points"] or answer["says"] not in told:
                failures.append(f"{name}, {answer['says']!r}: {points[name]} points, told: {told}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_wrong_choice_is_told_its_own_sentence(slug, built, solved):
    for question in assign.for_class(slug, THIS_YEAR)[1]:
        for letter, sentence in question.choices.items():
            points, messages = grade(built(slug), solved(slug) | {question.names[0]: letter})
            assert points[question.name] == (0 if sentence else question.points)
            assert sentence is None or sentence in messages[question.name]


@pytest.mark.parametrize("slug", SLUGS)
def test_the_answers_of_another_class_do_not_fit(slug, built, solved):
    """Functions may, for what is written by name fits every class: numbers and letters may not all."""
    points, _ = grade(built(slug, LAST_YEAR), solved(slug, THIS_YEAR))
    total = manifest(built(slug))["points"]
    assert sum(points.values()) <= 0.7 * total, points


@pytest.mark.parametrize("slug", SLUGS)
def test_every_number_of_a_class_differs_between_classes(slug):
    drawn = [vars(checks.numbers(slug, seed)) for seed in range(12)]
    for name in drawn[0]:
        if name != "assignment":
            assert len({json.dumps(numbers[name]) for numbers in drawn}) > 1, name
    assert drawn[3] == vars(checks.numbers(slug, 3))


@pytest.mark.parametrize("slug", SLUGS)
def test_every_letter_is_right_for_some_class(slug):
    letters = {}
    for seed in range(40):
        for cell in assign.read(slug).cells:
            if cell.id.endswith("-prompt") and "- [x]" in cell.source:
                question = assign._question(cell, random.Random(f"{slug}/{seed}/{cell.id}"))
                right = [letter for letter, told in question.choices.items() if told is None]
                letters.setdefault(question.name, set()).update(right)
    assert all(found == set("ABCD") for found in letters.values())


def test_the_archive_for_gradescope_installs_this_version_of_the_course(built):
    with zipfile.ZipFile(next(built(SLUGS[0]).glob("grader/*.zip"))) as archive:
        environment = yaml.safe_load(archive.read("environment.yml"))
        assert {"tests/q1.py", "setup.sh", "otter_config.json"} <= set(archive.namelist())
    (installed,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert assign._requirement() in installed


@pytest.mark.parametrize(("name", "score"), [("solution", 12), ("student", 0)])
def test_the_archive_for_gradescope_gives_the_same_points(name, score, built, tmp_path):
    folder = built("convolutional-autoencoder")
    (archive,) = folder.glob("grader/*.zip")
    submission = folder / name / "convolutional-autoencoder.ipynb"
    otter = Path(sys.executable).with_name("otter")
    command = [otter, "run", "-a", archive, "-o", tmp_path, "--no-logo", submission]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    tests = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["tests"]
    assert sum(test.get("score", 0) for test in tests) == score


def test_the_manifest_has_the_checksum_of_every_file(built):
    import hashlib

    folder = built(SLUGS[0])
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    sums = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert manifest(folder)["files"] == sums


def test_a_picture_to_expect_stands_above_its_answer_cell(tmp_path):
    folder = assign.build("convolutional-autoencoder", 5, tmp_path)
    cells = edition(folder, "student").cells
    at = [cell.id for cell in cells].index("q5-answer")
    assert cells[at - 1].attachments["expected.png"]["image/png"]
    solution = edition(folder, "solution")
    assert any(output.get("data", {}).get("image/png") for cell in solution.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("q1-prompt", "### Question 1: no card", "must begin with"),
        ("q1-prompt", "{{ numbers.nothing }}", "do not fit into the cell q1-prompt: .* has no attribute 'nothing'"),
        ("q1-prompt", "{{ numbers.side }", "do not fit into the cell q1-prompt: unexpected '}'"),
        (
            "q4-prompt",
            "### Question 4 (★ · 1 minutes · 1 point): T\n\n*Objective: o.*\n\n- [ ] a <!-- b -->",
            "one choice",
        ),
        ("q4-prompt", "### Question 4 (★ · 1 minutes · 1 point): T\n\n*Objective: o.*\n\n- [x] a\n- [ ] b", "sentence"),
        ("q4-answer", "answer_4 = 'A'", "must hold the answer"),
        ("setup", "import keras", "CLASS_SEED = 0"),
    ],
)
def test_a_master_that_breaks_the_format_is_refused_in_one_sentence(name, source, message, monkeypatch):
    notebook = assign.read("convolutional-autoencoder")
    for cell in notebook.cells:
        if cell.id == name:
            cell.source = source
    monkeypatch.setattr(assign, "read", lambda slug: notebook)
    with pytest.raises(assign.MasterError, match=message):
        assign.for_class("convolutional-autoencoder", 0)


def test_an_unknown_assignment_and_a_bad_class_seed_are_refused():
    with pytest.raises(ValueError, match="There is no assignment 'pca'; there are"):
        assign.read("pca")
    with pytest.raises(ValueError, match="whole number from 0"):
        checks.numbers("convolutional-autoencoder", -1)


def test_a_failing_build_leaves_the_editions_that_were_there(tmp_path, monkeypatch):
    folder = assign.build("convolutional-autoencoder", 5, tmp_path, run=False)
    before = (folder / "manifest.json").read_bytes()

    def fail(*_):
        raise RuntimeError("The solution fails.")

    monkeypatch.setattr(assign, "_execute", fail)
    with pytest.raises(RuntimeError, match="The solution fails"):
        assign.build("convolutional-autoencoder", 5, tmp_path)
    assert (folder / "manifest.json").read_bytes() == before


def test_points_are_numbers_that_add_up(built):
    facts = manifest(built(SLUGS[0]))
    assert facts["points"] == sum(np.sum(question["points"]) for question in facts["questions"])

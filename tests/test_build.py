"""`book/build.py` on a small course of its own: what runs again, what is kept, what a failure says."""

import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from helpers import results

ROOT = Path(__file__).resolve().parents[1]
SAVE = """
from helpers import datasets, runtime
from helpers.scorecard import Scorecard
train, _, test = datasets.load("digits").split()
card = Scorecard({chapter!r}, train, test, runtime.start(), permutations=9)
card.add("raw pixels", lambda seed: (train.images.reshape(len(train), -1), test.images.reshape(len(test), -1)))
from helpers import results
[results.save(record) for record in card.records]
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Two chapters, the real helpers, the real build."""
    root = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "helpers", root / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "book").mkdir()
    for name in ("build.py", "chapter_progress.py", "record.py"):
        shutil.copy(ROOT / "book" / name, root / "book")
    (root / "uv.lock").write_text("")
    chapters = [{"file": "book/page"}, {"file": "notebooks/first"}, {"file": "notebooks/second"}]
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump({"parts": [{"chapters": chapters}]}))
    for chapter in ("first", "second"):
        write(root, chapter, SAVE.format(chapter=chapter))
    return root


def write(root, chapter, *cells):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(cell, id=f"cell-{place}") for place, cell in enumerate(cells)]
    (root / "notebooks").mkdir(exist_ok=True)
    nbformat.write(notebook, root / "notebooks" / f"{chapter}.ipynb")


def build(root, **environment):
    command = [sys.executable, "book/build.py", "--notebooks-only"]
    environment = os.environ | {"PYTHONPATH": str(root), "COURSE_PROFILE": "quick"} | environment
    return subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True, timeout=600)


def finished(root, profile="quick"):
    store = root / "_runs" / profile / "results"
    return {path.parent.name: json.loads(path.read_text())["finished"] for path in store.glob("*/run.json")}


@pytest.mark.timeout(900)
def test_a_course_is_run_once_and_again_only_where_it_changed(course):
    # one test, because each step starts from where the last one ended, and each run starts a kernel
    first = build(course)
    assert first.returncode == 0, first.stderr
    assert "2 of 2 chapters run" in first.stdout
    assert "raw pixels" in first.stdout
    before = finished(course)

    again = build(course)
    assert "0 of 2 chapters run" in again.stdout

    write(course, "second", SAVE.format(chapter="second"), "print('changed')", "undefined_name")
    failed = build(course)
    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines()[-3:] == [
        "notebook  notebooks/second.ipynb",
        "cell      cell-2: undefined_name",
        "error     NameError: name 'undefined_name' is not defined",
    ]
    assert finished(course) == before  # what was made before is still there

    write(course, "second", SAVE.format(chapter="second"), "import os", "os._exit(9)")
    died = build(course)
    assert died.returncode == 1
    assert "the kernel stopped (out of memory?)" in died.stderr

    write(course, "second", SAVE.format(chapter="second"), "print('mended')")
    mended = build(course)
    assert "1 of 2 chapters run" in mended.stdout
    after = finished(course)
    assert after["first"] == before["first"]

    helper = course / "helpers" / "probing.py"
    helper.write_text(helper.read_text() + "\n# a change\n")
    assert "2 of 2 chapters run" in build(course).stdout

    weights = course / "weights"
    weights.mkdir()
    (weights / "network.h5").write_bytes(b"numbers")  # a chapter may take them in place of random ones
    assert "2 of 2 chapters run" in build(course, COURSE_WEIGHTS=str(weights)).stdout


@pytest.fixture
def key(tmp_path, monkeypatch):
    """Return a function that returns the key of a course's one chapter as it is now."""
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    from build import Build

    write(tmp_path, "first", "print('first')")
    (tmp_path / "uv.lock").write_text("")
    return lambda: Build(tmp_path, "quick", "tensorflow").key("first")


@pytest.mark.parametrize(
    ("path", "is_input"),
    [
        ("helpers/probing.py", True),
        ("helpers/datasets/textures.py", True),
        ("helpers/checks/first.py", False),
        ("data/weights/some_network/manifest.json", True),
        ("data/results/first.json", False),
        ("helpers/.DS_Store", False),
        ("helpers/__pycache__/probing.cpython-311.pyc.1403", False),
        ("data/results/bench/cpu-2-cores.json", False),
    ],
)
def test_a_chapter_runs_again_for_what_it_can_read_and_for_nothing_else(path, is_input, key, tmp_path):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    without = key()
    file.write_text("{}")
    first = key()
    file.write_text("[]")
    second = key()
    assert len({without, first, second}) == (3 if is_input else 1)


def test_a_chapter_runs_again_for_other_weights_of_the_same_size(key, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_WEIGHTS", str(tmp_path / "mine"))
    manifest = tmp_path / "mine" / "some_network" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"sha256": "aa"}')
    before = key()
    manifest.write_text('{"sha256": "bb"}')
    assert key() != before


def imports(tree: ast.AST, package: str = "") -> set[str]:
    """Return every name that some code imports, wherever in it, as `package.module.name`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            found |= {".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return found


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import helpers.checks", "", "helpers.checks"),
        ("def later():\n    from helpers import checks", "", "helpers.checks"),
        ("from . import checks", "helpers", "helpers.checks"),
        ("from .checks.compare import agree", "helpers", "helpers.checks.compare.agree"),
        ("from ..checks import begin", "helpers.datasets", "helpers.checks.begin"),
    ],
)
def test_imports_of_every_form_are_seen(source, package, expected):
    assert imports(ast.parse(source), package) == {expected}


def test_nothing_that_a_chapter_runs_imports_the_checks_which_its_key_leaves_out():
    trees = {}
    for path in (ROOT / "helpers").rglob("*.py"):
        folder = path.parent.relative_to(ROOT)
        if folder.parts[:2] != ("helpers", "checks"):
            trees[path.relative_to(ROOT)] = ast.parse(path.read_text(encoding="utf-8")), ".".join(folder.parts)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        trees[path.relative_to(ROOT)] = ast.parse("\n".join(cells)), ""
    assert len(trees) > 50  # the chapters' and the modules'
    importing = [
        str(path)
        for path, (tree, package) in trees.items()
        if any(f"{name}.".startswith("helpers.checks.") for name in imports(tree, package))
    ]
    assert importing == []


def test_an_unknown_profile_suggests_the_nearest(course):
    outcome = build(course, COURSE_PROFILE="quik")
    assert outcome.returncode
    assert "did you mean 'quick'" in outcome.stderr


CLAIMS = """
from helpers.results import Claim, save_claims
save_claims([Claim("first", "digits", "It holds.", [1.0], 0), Claim("first", "digits", "It does not.", [-1.0], 0)])
"""


def test_a_recorded_run_keeps_what_came_out_and_makes_no_chapter_stale(course):
    write(course, "first", SAVE.format(chapter="first"), CLAIMS)
    environment = os.environ | {"PYTHONPATH": str(course), "COURSE_PROFILE": "full"}
    command = [sys.executable, "book/record.py", "first"]
    told = subprocess.run(command, cwd=course, env=environment, text=True, capture_output=True, timeout=600)
    assert told.returncode == 2, told.stderr
    assert "Does not hold in this run, first: It does not. [-1.0]" in told.stdout

    recorded = results.load_recorded(course / "data" / "results")["first"]
    assert [row.method for row in recorded.records] == ["raw pixels"]
    assert [claim.holds for claim in recorded.claims] == [True, False]
    assert recorded.run["profile"] == "full"
    before = finished(course, "full")
    again = subprocess.run(command, cwd=course, env=environment, text=True, capture_output=True, timeout=600)
    assert "Recorded in data/results: first." in again.stdout
    assert finished(course, "full") == before

    wrong = subprocess.run([*command[:2], "frist"], cwd=course, env=environment, text=True, capture_output=True)
    assert wrong.returncode == 1
    assert "did you mean 'first'" in wrong.stderr


@pytest.mark.parametrize("script", ["build.py", "record.py"])
def test_two_runs_at_a_time_and_unknown_profiles_are_refused_in_one_sentence(course, script):
    def told(**changed):
        environment = os.environ | {"PYTHONPATH": str(course)} | changed
        command = [sys.executable, f"book/{script}"]
        done = subprocess.run(command, cwd=course, env=environment, text=True, capture_output=True, timeout=600)
        assert done.returncode == 1
        return done.stderr.strip()

    assert told(COURSE_PROFILE="ful") == "Unknown profile 'ful': did you mean 'full'? (there are: quick, full)"
    (course / "_runs").mkdir(exist_ok=True)
    with (course / "_runs" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert told() == "Another build of this folder is running: wait for it, or stop it."


def test_what_systems_leave_between_the_runs_stops_no_build(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    from build import Build

    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_toc.yml").write_text("parts: []")
    build = Build(tmp_path, "quick", "tensorflow")
    (build.store / "removed").mkdir(parents=True)
    (build.store / ".DS_Store").write_text("x")
    build.forget_removed()
    assert [path.name for path in build.store.iterdir()] == [".DS_Store"]


def test_a_damaged_record_is_named(course):
    path = course / "data" / "results" / "third.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"third.json is damaged .* run `make record` again"):
        results.load_recorded(path.parent)
    path.unlink()


def test_the_book_says_that_nothing_was_recorded_or_shows_it_beside_its_own_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course_site.chapters import recorded_html

    assert "No full run has been recorded yet" in recorded_html({}, [], [], tmp_path, "")
    measures = {"knn": [0.5, 0.7], "linear_probe": [0.9, 0.9]}
    row = results.Record("some-chapter", "raw <pixels>", "baseline", "digits", 64, [0, 1], measures)
    here = results.Record("some-chapter", "raw <pixels>", "baseline", "digits", 64, [0], {**measures, "knn": [0.4]})
    run = {"profile": "full", "seconds": 61.2, "device": "a GPU", "backend": "jax", "commit": "abc"}
    run["finished"] = "2026-01-02T03:04:05+00:00"
    claims = [results.Claim("some-chapter", "digits", "It does < or not.", [-1.0, 0.25], 0)]
    decided = [replace(claims[0], values=[0.125, 0.25])]

    def tables(*here, claims=claims):
        html = recorded_html({"some-chapter": results.Recorded(run, [row], claims)}, *here, tmp_path, "../")
        page = BeautifulSoup(html, "html.parser")
        return page, [[cell.get_text() for cell in table.tbody.find_all(["th", "td"])] for table in page("table")]

    page, (claimed, scored) = tables([here], decided)
    assert "0 of its 1 claims held" in page.get_text()
    assert claimed == ["It does < or not.", "at least 0", "\N{MINUS SIGN}1, 0.25 does not hold", "0.125, 0.25"]
    assert scored == ["raw <pixels>", "digits", "0.600 ± 0.141", "0.400", "0.900 ± 0.000", "0.900 ± 0.000"]
    labels = [region["aria-label"] for region in page(role="region")]
    assert len({*labels}) == 2  # each table that scrolls has a name of its own
    _, (claimed, scored) = tables([], [])
    assert claimed[-1] == scored[-1] == "not run"
    assert len(tables([], [], claims=[])[1]) == 1

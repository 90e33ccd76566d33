"""The course in Colab: it installs there without replacing anything, and its set-up cells install it.

The lists of what Colab's runtimes hold are not part of the repository; where they are absent those tests are skipped.
"""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FREEZES = sorted((ROOT.parent / "shared" / "colab-freeze").glob("freeze-*.txt"))
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# IPython asks for jedi, which Google takes out of its image: any installation brings it back, harmlessly.
MAY_BE_NEW = {"features-without-labels", "jedi"}

# Packages are fetched once and then come from uv's cache; the first time may be slow.
pytestmark = pytest.mark.timeout(900)


def uv() -> list[str]:
    """Return the command of uv, wherever it is."""
    as_module = [sys.executable, "-m", "uv"]
    if subprocess.run([*as_module, "--version"], capture_output=True, check=False).returncode == 0:
        return as_module
    found = shutil.which("uv") or pytest.skip("uv is not installed: `pip install uv`.")
    return [found]


def run(*command: str | Path, **options) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pins(freeze: Path) -> dict[str, str]:
    """Return the versions that a list of packages pins; local builds and links are left out."""
    lines = freeze.read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([\w.-]+)==([\w.!-]+)", line.strip()) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def names(freeze: Path) -> set[str]:
    """Return the names of all packages in a list."""
    lines = freeze.read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(re.split(r"[ =@\[]", line, maxsplit=1)[0]) for line in lines if re.match(r"\w", line)}


def python_of(freeze: Path) -> str:
    """Return the Python of a runtime, which the names of wheels in its list give away, or else the list before it."""
    until = FREEZES[: FREEZES.index(freeze) + 1]
    found = [re.search(r"-cp3(\d+)-", path.read_text(encoding="utf-8")) for path in until]
    return "3." + [match[1] for match in found if match][-1]


def nearest_python(version: str) -> str:
    """Return a Python of this version, if the machine has one, or else the one that runs the tests."""
    siblings = Path(sys.base_prefix).parent.glob(f"{version}*/bin/python3")  # where version managers put them
    for candidate in [shutil.which(f"python{version}"), *map(str, siblings)]:
        if candidate and _is_python(candidate, version):
            return candidate
    return sys.executable


def _is_python(candidate: str, version: str) -> bool:
    asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return told.stdout.strip() == version


def python_in(environment: Path) -> Path:
    return next(path for path in (environment / "bin/python", environment / "Scripts/python.exe") if path.exists())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The course as Colab gets it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(*uv(), "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = [path for path in (ROOT / "helpers").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= held


def test_the_wheel_holds_the_weights_of_our_own(wheel):
    shipped = {path: path.relative_to(ROOT / "data/weights") for path in (ROOT / "data/weights").rglob("*.npz")}
    assert shipped
    with zipfile.ZipFile(wheel) as archive:
        for path, place in shipped.items():
            assert archive.read(f"helpers/pretrained/{place.as_posix()}") == path.read_bytes()
        assert [name for name in archive.namelist() if name.endswith("/manifest.json")]


needs_lists = pytest.mark.skipif(not FREEZES, reason="no lists of Colab's packages in ../shared/colab-freeze")


# Nothing is replaced


@needs_lists
@pytest.mark.parametrize("freeze", FREEZES, ids=lambda path: path.stem)
def test_every_runtime_has_already_what_the_course_asks_for(freeze):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = pins(freeze)
    missing = [
        f"{asked}: the runtime has {pinned.get(canonicalize_name(asked.name))}"
        for asked in map(Requirement, project["dependencies"])
        if pinned.get(canonicalize_name(asked.name), "none") not in asked.specifier
    ]
    assert missing == []
    assert python_of(freeze) in SpecifierSet(project["requires-python"])


@needs_lists
def test_installing_into_the_newest_runtime_replaces_nothing(wheel, tmp_path):
    freeze, constraints, environment = FREEZES[-1], tmp_path / "constraints.txt", tmp_path / "colab"
    pinned = pins(freeze)
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pinned.items()), encoding="utf-8")
    run(*uv(), "venv", "--quiet", "--python", nearest_python(python_of(freeze)), environment)
    python = python_in(environment)
    run(*uv(), "pip", "install", "--quiet", "--python", python, "--constraint", constraints, wheel)
    listed = run(*uv(), "pip", "freeze", "--python", python)
    installed = {canonicalize_name(name): version for name, version in re.findall(r"([\w.-]+)(?:==| @ )(\S+)", listed)}
    assert "numpy" in installed
    assert {name: version for name, version in installed.items() if pinned.get(name, version) != version} == {}
    assert set(installed) - names(freeze) <= MAY_BE_NEW
    run(python, "-c", "import helpers.scorecard, helpers.datasets, helpers.results", cwd=tmp_path)


# The set-up cell installs the course where it is missing


def install_branch(chapter: Path) -> str:
    """Return the set-up cell up to the end of the condition that installs the course."""
    cells = nbformat.read(chapter, as_version=4).cells
    source = next(cell.source for cell in cells if cell.id == "setup")
    condition = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    return "\n".join(source.splitlines()[: condition.end_lineno])


@pytest.fixture
def bare(tmp_path) -> Path:
    """A Python that has pip and nothing of the course."""
    run(*uv(), "venv", "--quiet", "--seed", "--python", sys.executable, tmp_path / "bare")
    return python_in(tmp_path / "bare")


def test_there_are_chapters():
    assert CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_set_up_cell_installs_the_course_once(chapter, wheel, bare, tmp_path):
    branch = install_branch(chapter)
    released = re.search(r"features-without-labels @ https://\S+\.zip", branch)
    assert released, "the set-up cell names no release"
    # The release may not be out yet, and its dependencies are another test's: the same cell, with our wheel alone
    branch = branch.replace(released[0], f"features-without-labels @ {wheel.as_uri()}")
    execute = functools.partial(
        run, bare, "-c", cwd=tmp_path, env=os.environ | {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    )
    installed = execute(branch + "\nimport helpers\nprint('version', helpers.__version__)")
    assert "version " + wheel.name.split("-")[1] in installed
    execute("import subprocess\n\nsubprocess.check_call = None  # a second call would fail\n" + branch)

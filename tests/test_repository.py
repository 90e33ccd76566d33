"""What holds the repository together: ranges, versions, workflows, the address, and the rules of the package."""

import ast
import graphlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import helpers

ROOT = Path(__file__).resolve().parents[1]
HELPERS = sorted((ROOT / "helpers").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# DESIGN: imports point down, never up.
FLOORS = {
    "gallery": 6,
    "comparison": 6,
    "scorecard": 5,
    "results": 5,
    "checks": 4,
    "plots": 4,
    "widgets": 4,
    "separability": 3,
    "clustering": 3,
    "groupings": 3,
    "power_iteration": 3,
    "probing": 3,
    "embedding": 3,
    "pretraining": 3,
    "codes": 3,
    "fine_tuning": 3,
    "backbones": 2,
    "distances": 2,
    "weights": 2,
    "features": 2,
    "augment": 1,
    "datasets": 1,
    "losses": 1,
    "layers": 1,
    "runtime": 0,
    "validation": 0,
}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def tracked_files(root: Path = ROOT) -> list[Path]:
    """Return the files of the repository that git tracks or would track."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [root / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file()]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str | None:
    """Return the text of a file, or None for what is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], check=False, cwd=cwd, capture_output=True, text=True)


def tool(name: str) -> str:
    """Return the path of a command line tool of this virtual environment."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or pytest.fail(f"{name} is not installed")


# Ranges and versions


def test_conda_environment_has_the_ranges_of_the_package():
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *extras["tensorflow"], *extras["book"]]
    (listed,) = [entry["pip"] for entry in environment()["dependencies"] if isinstance(entry, dict)]
    assert listed[-1] == "-e ."
    assert {str(Requirement(line)) for line in listed[:-1]} == {str(Requirement(line)) for line in wanted}


def test_conda_environment_pins_a_python_that_the_package_allows():
    (pin,) = [entry for entry in environment()["dependencies"] if str(entry).startswith("python")]
    assert pin.removeprefix("python=") in SpecifierSet(project()["requires-python"])


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert helpers.__version__ == project()["version"] == str(citation["version"])


def test_jupyter_book_stays_below_2():
    (book,) = [line for line in project()["optional-dependencies"]["book"] if line.startswith("jupyter-book")]
    assert "2.0.0" not in Requirement(book).specifier
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    versions = [package["version"] for package in locked if package["name"] == "jupyter-book"]
    assert versions
    assert all(version.startswith("1.") for version in versions)


# Data


def test_the_data_readme_gives_the_checksums_of_the_data():
    from sklearn.datasets import load_digits

    from helpers.datasets import mnist

    digits = load_digits()
    arrays = {"images": digits.images, "target": digits.target}
    expected = {f"load_digits().{name}": hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    given = re.findall(r"\| `([\w().]+)`[^|]*\|[^|]*\| `([0-9a-f]{64})` \|", text)
    assert dict(given) == expected | mnist._DIGESTS


def test_the_data_readme_names_every_data_set():
    from helpers import datasets

    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| `([\w-]+)` \|[^|]*\|[^|]*\|[^|]*\|[^|]*\|[^|]*\|$", text)) == set(datasets.LOADERS)


# Workflows and metadata


def test_there_are_the_four_workflows():
    assert [path.stem for path in WORKFLOWS] == ["ci", "colab", "gpu", "pages"]


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_fit_their_schema(schema, paths):
    checked = run(tool("check-jsonschema"), "--builtin-schema", schema, *paths)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_zizmor_has_no_findings():
    checked = run(tool("zizmor"), "--offline", "--no-progress", "--quiet", ".github")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_has_a_timeout_and_its_own_permissions(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert isinstance(job.get("timeout-minutes"), int), name
        assert job.get("permissions"), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_only_targets_that_exist(path):
    text = path.read_text(encoding="utf-8")
    called = {*re.findall(r"run: make ([\w.-]+)", text), *re.findall(r"target: ([\w.-]+)", text)}
    assert called <= make_targets()


def test_no_pull_request_reaches_the_gpu():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "gpu.yml").read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as true
    assert set(triggers) == {"schedule", "workflow_dispatch"}
    assert all("vars.GPU_RUNNER != ''" in job["if"] for job in workflow["jobs"].values())


@pytest.mark.parametrize("path", [ROOT / ".ci" / "run", ROOT / ".github" / "colab.sh"], ids=lambda path: path.name)
def test_shell_scripts_are_executable_and_stop_at_the_first_error(path):
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    assert run("bash", "-n", path).returncode == 0


# The Makefile


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    return {name for line in re.findall(r"(?m)^\.PHONY:(.*)$", text) for name in line.split()}


def test_make_help_lists_every_target():
    shown = run("make", "--no-print-directory", "help")
    assert shown.returncode == 0, shown.stderr
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout)
    listed = set(re.findall(r"(?m)^\s*(?:make )?([\w.-]+)\s+\S", plain))
    assert make_targets()
    assert make_targets() <= listed


# The address


def test_the_address_agrees_everywhere():
    checked = run(sys.executable, "book/address.py")
    assert checked.returncode == 0, checked.stderr


# Rules of the text


def machine_folders(text: str) -> list[str]:
    """Return the lines that name a folder of somebody's machine; lines over 2,000 characters are vendored code."""
    folder = re.compile(r"(?<![\w.~}-])/(?:work|tmp|root|home/\w+)/")
    return [line.strip() for line in text.splitlines() if len(line) < 2000 and folder.search(line)]


@pytest.mark.parametrize("path", [path for path in tracked_files() if path.name != "uv.lock"], ids=relative)
def test_no_file_names_a_folder_of_one_machine(path):
    assert machine_folders(text_of(path) or "") == []


@pytest.mark.parametrize(("folder", "noticed"), [("work", True), ("tmp", True), ("root", True), ("usr", False)])
def test_a_folder_of_one_machine_is_noticed(folder, noticed):
    assert bool(machine_folders(f"open('/{folder}/data.npz')")) is noticed


# Rules of the package


def module_of(path: Path) -> str:
    """Return the name under which a file of `helpers` stands in the table of floors."""
    return path.relative_to(ROOT / "helpers").with_suffix("").parts[0]


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def imported_modules(tree: ast.AST, inside: str | None = None) -> set[str]:
    """Return the modules of `helpers` that a file imports when it is imported itself.

    `inside` is the name of the subpackage that the file belongs to, if any.
    """
    found = set()
    for node in outside_functions(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["helpers", inside] if inside else ["helpers"]
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("helpers.")}
    return found - {"__version__"}


def import_graph() -> dict[str, set[str]]:
    graph = {}
    for path in HELPERS:
        if path == ROOT / "helpers" / "__init__.py":
            continue
        module = module_of(path)
        inside = module if path.parent != ROOT / "helpers" else None
        imported = imported_modules(ast.parse(path.read_text(encoding="utf-8")), inside)
        graph.setdefault(module, set()).update(imported - {module})
    return graph


def test_every_module_has_a_floor():
    assert set(import_graph()) <= set(FLOORS)


def test_contributing_shows_the_same_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (\d) \| (.+) \|$", text)
    assert {name: int(floor) for floor, names in rows for name in re.findall(r"`(\w+)`", names)} == FLOORS


def test_no_module_imports_from_a_higher_floor():
    up = [
        f"{module} (floor {FLOORS[module]}) imports {target} (floor {FLOORS[target]})"
        for module, imported in import_graph().items()
        for target in imported
        if FLOORS[target] > FLOORS[module]
    ]
    assert up == []


def test_modules_do_not_import_in_a_circle():
    order = list(graphlib.TopologicalSorter(import_graph()).static_order())
    assert set(order) >= set(import_graph())


def test_the_package_itself_imports_nothing():
    assert imported_modules(ast.parse((ROOT / "helpers" / "__init__.py").read_text(encoding="utf-8"))) == set()


@pytest.mark.parametrize(
    ("source", "inside", "expected"),
    [
        ("from . import plots, runtime", None, {"plots", "runtime"}),
        ("from .validation import check_choice", None, {"validation"}),
        ("from helpers.results import load", None, {"results"}),
        ("import helpers.gallery", None, {"gallery"}),
        ("from ..validation import check_choice", "datasets", {"validation"}),
        ("from .digits import load", "datasets", {"datasets"}),
        ("class A:\n    from . import plots", None, {"plots"}),
        ("def later():\n    from . import plots", None, set()),
    ],
)
def test_imports_are_read_from_every_form(source, inside, expected):
    assert imported_modules(ast.parse(source), inside) == expected


def broken_rules(source: str, module: str = "") -> list[str]:
    """Return one line for each rule that some code of the package or of a chapter breaks."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = identifiers(node)
        if names & {"tensorflow", "tf"} and module != "runtime":
            found.append(f"line {node.lineno}: TensorFlow by name; keras.ops runs on every back-end")
        if names & {"activity_regularizer", "ActivityRegularization"}:
            found.append(f"line {node.lineno}: an activity regulariser, which Keras versions scale differently")
        if "Lambda" in names:
            found.append(f"line {node.lineno}: a Lambda layer, which does not reload safely")
        if names & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}:
            found.append(f"line {node.lineno}: pickle, which runs code when it is read")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"line {node.value.lineno}: allow_pickle")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"eval", "exec"}:
            found.append(f"line {node.lineno}: eval or exec")
        if names & {"environ", "getenv", "putenv"} and module != "runtime":
            found.append(f"line {node.lineno}: an environment variable; only helpers.runtime reads them")
    return found


def identifiers(node: ast.AST) -> set[str]:
    """Return the names that stand in the code at one node: not those in text or comments."""
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
    if isinstance(node, ast.Call):
        return {keyword.arg for keyword in node.keywords if keyword.arg}
    return set()


@pytest.mark.parametrize("path", HELPERS, ids=relative)
def test_helpers_keep_the_rules(path):
    assert broken_rules(path.read_text(encoding="utf-8"), path.stem) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapters_keep_the_rules(path):
    import nbformat

    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert broken_rules("\n".join(cells)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import tensorflow as tf",
        "from tensorflow import keras",
        "x = tf.reduce_mean(y)",
        "keras.layers.Dense(3, activity_regularizer='l1')",
        "keras.layers.ActivityRegularization(l1=1)",
        "keras.layers.Lambda(abs)",
        "from keras.layers import Lambda",
        "import pickle",
        "from joblib import dump",
        "np.load(path, allow_pickle=True)",
        "eval('1')",
        "os.environ['COURSE_PROFILE']",
        "from os import getenv",
    ],
)
def test_a_broken_rule_is_noticed(source):
    assert broken_rules(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""An activity_regularizer would depend on the batch; no eval(, no pickle."""',
        "np.load(path, allow_pickle=False)",
        "sorted(x, key=lambda pair: pair[1])",
        "model.evaluate(x)",
    ],
)
def test_what_only_looks_like_a_broken_rule_is_let_through(source):
    assert broken_rules(source) == []

"""What every chapter keeps to: its form, its frame, its rhythm, and no labels in training.

Each rule is a function that takes a chapter and returns complaints. Every rule is held against every chapter, and
against a specimen spoilt so that the rule must complain.
"""

import ast
import importlib.util
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))

HEADINGS = [
    "You will be able to",
    "Predict first",
    "Set-up",
    "Data",
    "Idea",
    "Train",
    "Look",
    "Score",
    "Map",
    "Break it",
    "Try it",
    "Key points",
    "Quiz",
    "References",
]
OPTIONAL = {"Train"}  # chapters that measure what others have trained

# Modules whose calls draw, and the calls of theirs that do not
DRAWING = {"plots", "widgets", "plt"}
NOT_DRAWING = {"use_style", "close", "show", "setp"}

_RULES: dict[str, Callable] = {}


# Reading a notebook


@dataclass(frozen=True)
class Chapter:
    """A notebook, as a file and as its content."""

    path: Path
    text: str

    @property
    def slug(self) -> str:
        return self.path.stem

    @property
    def notebook(self) -> nbformat.NotebookNode:
        return nbformat.reads(self.text, as_version=4)

    def cells(self, kind: str) -> list[nbformat.NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == kind]

    @property
    def prose(self) -> str:
        return "\n\n".join(cell.source for cell in self.cells("markdown"))

    def section(self, heading: str) -> str:
        """Return the Markdown of one section."""
        parts = re.split(r"(?m)^## +(.+?) *$", self.prose)
        return dict(zip(parts[1::2], parts[2::2], strict=True)).get(heading, "")


def read(path: Path) -> Chapter:
    return Chapter(path, path.read_text(encoding="utf-8"))


def code_lines(source: str) -> list[str]:
    """Return the lines of a cell that are not blank."""
    return [line for line in source.splitlines() if line.strip()]


def words(markdown: str) -> list[str]:
    """Return what a reader reads: no formulas, tags, addresses or code blocks."""
    for pattern in (r"(?s)```.*?```", r"(?s)\$\$.*?\$\$", r"\$[^$\n]+\$", r"<[^>]+>", r"\]\([^)]*\)"):
        markdown = re.sub(pattern, " ", markdown)
    return re.findall(r"[^\W\d_][\w'’-]*", markdown)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that run when `node` does: not those inside functions that it defines."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from calls(child)


def trees(chapter: Chapter) -> list[tuple[nbformat.NotebookNode, ast.Module]]:
    """Return each code cell with its syntax tree."""
    return [(cell, ast.parse(cell.source)) for cell in chapter.cells("code")]


def address_module():
    spec = importlib.util.spec_from_file_location("address", ROOT / "book" / "address.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["address"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


def rule(function: Callable[[Chapter], list[str]]) -> Callable[[Chapter], list[str]]:
    _RULES[function.__name__] = function
    return function


# The file


@rule
def is_valid_and_written_as_nbformat_writes(chapter):
    try:
        nbformat.validate(json.loads(chapter.text))
    except nbformat.ValidationError as error:
        return [str(error).splitlines()[0]]
    written = nbformat.writes(chapter.notebook) + "\n"
    return [] if written == chapter.text else ["the file is not as nbformat writes it (indent 1, one final newline)"]


@rule
def has_no_outputs_and_no_residue(chapter):
    held = [
        f"{cell.id} holds outputs or a count" for cell in chapter.cells("code") if cell.outputs or cell.execution_count
    ]
    return held + _nbstripout(chapter)


def _nbstripout(chapter: Chapter) -> list[str]:
    command = shutil.which("nbstripout", path=str(Path(sys.executable).parent))
    keys = "metadata.colab metadata.accelerator metadata.widgets"
    # from standard input, so that a chapter need not lie on a disk; ids are ours and stay
    checked = subprocess.run(
        [command, "--verify", "--keep-id", "--extra-keys", keys],
        input=chapter.text,
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        []
        if checked.returncode == 0
        else ["nbstripout would remove something: " + (checked.stderr or checked.stdout)[:200]]
    )


@rule
def runs_on_the_kernel_that_everyone_has(chapter):
    name = chapter.notebook.metadata.get("kernelspec", {}).get("name")
    return [] if name == "python3" else [f"the kernel is {name}, not python3"]


@rule
def lets_no_error_pass(chapter):
    # with it nbmake reports success for a chapter that fails
    allowed = [name for name in ("execution", "nbmake") if chapter.notebook.metadata.get(name, {}).get("allow_errors")]
    return [f"metadata.{name}.allow_errors" for name in allowed]


@rule
def has_no_widgets_without_state(chapter):
    # GitHub shows such a notebook as an error
    widgets = chapter.notebook.metadata.get("widgets", {})
    return [f"metadata.widgets of {kind} has no state" for kind, entry in widgets.items() if "state" not in entry]


@rule
def has_unique_ids_that_mean_something(chapter):
    ids = [cell["id"] for cell in json.loads(chapter.text)["cells"]]  # nbformat would replace an id that stands twice
    found = [f"the id {name} stands twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    pattern = re.compile(r"[a-z]+[a-z0-9]*(-[a-z0-9]+)*")
    return found + [
        f"the id {name} means nothing"
        for name in ids
        if not pattern.fullmatch(name) or re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", name) or len(name) < 3
    ]


# The frame


@rule
def begins_with_title_and_badges(chapter):
    address = address_module()
    first, second = chapter.notebook.cells[:2]
    found = []
    if first.id != "title" or not re.match(r"# \S", first.source):
        found.append("the first cell is not the title")
    badges = address.BADGES.format(course=address.read().course, slug=chapter.slug)
    if (second.id, second.source) != ("badges", badges):
        found.append(f"the second cell is not `badges` with: {badges}")
    if "remove-cell" not in tags(second):
        found.append("the badges are not tagged remove-cell")
    return found


@rule
def has_one_title(chapter):
    titles = re.findall(r"(?m)^# +(.+)$", re.sub(r"(?s)```.*?```", "", chapter.prose))
    return [] if len(titles) == 1 else [f"{len(titles)} titles: {titles}"]


@rule
def has_the_headings_in_their_order(chapter):
    found = re.findall(r"(?m)^## +(.+?) *$", chapter.prose)
    wanted = [heading for heading in HEADINGS if heading in found or heading not in OPTIONAL]
    return [] if found == wanted else [f"the headings are {found}"]


@rule
def installs_itself_where_the_course_is_missing(chapter):
    address = address_module()
    beginning = address.SETUP.format(course=address.read().course, version=address.version())
    cells = chapter.cells("code")
    if not cells or cells[0].id != "setup":
        return ["the first code cell is not `setup`"]
    return [] if cells[0].source.startswith(beginning) else [f"the set-up cell does not begin with:\n{beginning}"]


@rule
def imports_in_the_setup_cell_only(chapter):
    return [
        f"{cell.id} imports something"
        for cell, tree in trees(chapter)
        if cell.id != "setup" and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
    ]


@rule
def asks_five_questions_that_open_without_a_kernel(chapter):
    quiz = chapter.section("Quiz")
    answers = re.findall(r"(?s)<details>\s*<summary>(.+?)</summary>(.*?)</details>", quiz)
    complete = sum(bool(words(summary) and words(answer)) for summary, answer in answers)
    counts = complete, quiz.count("<details"), quiz.count("</details>")
    return [] if counts == (5, 5, 5) else ["{} complete answers in {} details, {} of them closed".format(*counts)]


# The rhythm


def lengths(chapter: Chapter) -> list[int]:
    """Return the number of lines of each code cell."""
    return [len(code_lines(cell.source)) for cell in chapter.cells("code")]


@rule
def has_a_median_cell_of_at_most_6_lines(chapter):
    median = statistics.median(lengths(chapter) or [0])
    return [] if median <= 6 else [f"the median cell has {median} lines"]


@rule
def has_nine_of_ten_cells_within_20_lines(chapter):
    long = sum(length > 20 for length in lengths(chapter))
    return (
        [] if long <= 0.1 * len(lengths(chapter)) else [f"{long} of {len(lengths(chapter))} cells have over 20 lines"]
    )


@rule
def has_no_cell_over_30_lines(chapter):
    pairs = zip(chapter.cells("code"), lengths(chapter), strict=True)
    return [f"{cell.id} has {length} lines" for cell, length in pairs if length > 30]


@rule
def has_100_to_300_lines_of_code(chapter):
    total = sum(lengths(chapter))
    return [] if 100 <= total <= 300 else [f"{total} lines of code"]


@rule
def has_1000_to_2450_words_beside_the_quiz(chapter):
    # the quiz is generated from book/quizzes.yml, answered more than read, and has a limit of its own there
    total = len(words(chapter.prose)) - len(words(chapter.section("Quiz")))
    return [] if 1000 <= total <= 2450 else [f"{total} words beside the quiz"]


@rule
def has_five_words_per_line_of_code(chapter):
    ratio = len(words(chapter.prose)) / max(sum(lengths(chapter)), 1)
    return [] if ratio >= 5 else [f"{ratio:.1f} words per line of code"]


@rule
def is_plain_markdown(chapter):
    # Colab shows directives and roles as they stand
    found = re.findall(r"(?m)^\s*(?:```+|:::+|~~~+)\s*\{[\w:-]+\}.*$|\{[a-z][\w:-]*\}`[^`\n]+`", chapter.prose)
    return [f"directive or role: {text.strip()}" for text in found]


@rule
def is_plain_python(chapter):
    found = []
    for cell in chapter.cells("code"):
        found += [f"{cell.id}: {line}" for line in cell.source.splitlines() if re.match(r"\s*[!%]", line)]
    return found


@rule
def hands_over_several_steps_only_where_the_back_end_takes_them(chapter):
    code = "\n".join(cell.source for cell in chapter.cells("code"))
    if "steps_per_execution" not in code or 'run.backend == "torch"' in code:
        return []
    return ["Torch refuses steps_per_execution above 1: choose it by run.backend"]


# Figures


@rule
def describes_every_figure(chapter):
    found = []
    drawing = _drawing_functions(chapter)
    for cell, tree in _parsable(chapter):
        if not any(_draws(call, drawing) for call in calls(tree)):
            continue
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt.strip()) < 25:
            found.append(f"{cell.id} draws, but mystnb.image.alt has {len(alt.strip())} characters, fewer than 25")
    return found


def _parsable(chapter: Chapter) -> list:
    return [] if is_plain_python(chapter) else trees(chapter)


def _drawing_functions(chapter: Chapter) -> set[str]:
    """Return the names that draw when they are called: imported ones and the chapter's own functions."""
    names = set()
    for _, tree in _parsable(chapter):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] in DRAWING:
                names |= {alias.asname or alias.name for alias in node.names} - NOT_DRAWING
    functions = [node for _, tree in _parsable(chapter) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for _ in functions:  # a function may call one that is defined after it
        names |= {function.name for function in functions if any(_draws(call, names) for call in calls(function))}
    return names


def _draws(call: ast.Call, drawing: set[str]) -> bool:
    parts = ast.unparse(call.func).split(".")
    return parts[-1] not in NOT_DRAWING and (parts[0] in DRAWING or (len(parts) == 1 and parts[0] in drawing))


# Labels


@rule
def trains_without_labels(chapter):
    found, labelled = [], set()
    for cell, tree in _parsable(chapter):
        labelled |= _names_for_labels(tree, labelled)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if not _trains(call) or "supervised" in tags(cell):
                continue
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            if any(_mentions_labels(node, labelled) for argument in given for node in ast.walk(argument)):
                found.append(f"{cell.id} trains with labels: {ast.unparse(call)[:100]}")
    return found


def _trains(call: ast.Call) -> bool:
    name = ast.unparse(call.func).split(".")[-1]
    return re.match(r"_?(fit|train|partial_fit)(_|$)", name) is not None


def _mentions_labels(node: ast.AST, labelled: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "labels"
    return isinstance(node, ast.Name) and (node.id in labelled or node.id == "labels" or node.id.endswith("_labels"))


def _names_for_labels(tree: ast.AST, labelled: set[str]) -> set[str]:
    """Return the names that a cell gives to labels, or to a part of them."""
    names = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        pairs = []
        for target in node.targets:
            both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs += zip(target.elts, node.value.elts, strict=False) if both else [(target, node.value)]
        for target, value in pairs:
            while isinstance(value, ast.Subscript):
                value = value.value
            if isinstance(target, ast.Name) and _mentions_labels(value, labelled | names):
                names.add(target.id)
    return names


# The chapters


def test_there_are_chapters():
    assert PATHS


@pytest.mark.parametrize("name", _RULES)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_chapter(path, name):
    assert _RULES[name](read(path)) == []


def test_contributing_shows_the_same_headings():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.search(r"headings are, in this order: (.+?)\. ", text)[1]
    assert [re.sub(r" \(.*\)", "", heading) for heading in shown.split(" · ")] == HEADINGS


# A specimen that keeps every rule, and one way to break each


def specimen() -> nbformat.NotebookNode:
    address = address_module()
    setup = address.SETUP.format(course=address.read().course, version=address.version())
    prose = " ".join(["word"] * 100)
    question = "**1.** Why?\n\n<details><summary>Answer</summary>\n\nBecause.\n\n</details>\n\n"
    cells = [
        markdown("title", "# A specimen"),
        markdown("badges", address.BADGES.format(course=address.read().course, slug="specimen"), tags=["remove-cell"]),
    ]
    for heading in HEADINGS:
        body = question * 5 if heading == "Quiz" else prose
        cells.append(markdown(re.sub(r"\W", "-", heading.lower()), f"## {heading}\n\n{body}"))
        if heading == "Set-up":
            cells.append(code("setup", setup + "\nimport numpy as np\n\nfrom helpers import plots"))
    cells += [code(f"step-{letter}", "\n".join(f"x{i} = {i}" for i in range(5))) for letter in "abcdefghijklmnopqrstu"]
    cells.append(code("figure", "plots.show_images(x1)", mystnb={"image": {"alt": "Five images of digits in one row"}}))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def markdown(name: str, source: str, **metadata) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source, id=name, metadata=metadata)


def code(name: str, source: str, **metadata) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, id=name, metadata=metadata)


def lines(name: str, count: int) -> nbformat.NotebookNode:
    return code(name, "\n".join(["x = 1"] * count))


def chapter_of(notebook: nbformat.NotebookNode) -> Chapter:
    return Chapter(Path("specimen.ipynb"), nbformat.writes(notebook) + "\n")


def cell_of(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def replaced(name: str, old: str, new: str) -> Callable:
    def spoil(notebook):
        cell = cell_of(notebook, name)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return spoil


def added(*cells: nbformat.NotebookNode) -> Callable:
    return lambda notebook: notebook.cells.extend(cells)


def described(**metadata) -> Callable:
    return lambda notebook: notebook.metadata.update(metadata)


def retagged(notebook):
    cell_of(notebook, "badges").metadata["tags"] = []


def with_output(notebook):
    cell_of(notebook, "figure").outputs = [nbformat.v4.new_output("stream", text="5")]


def with_count(notebook):
    cell_of(notebook, "figure").execution_count = 3


def without_alt(notebook):
    del cell_of(notebook, "figure").metadata["mystnb"]


def without(*names: str) -> Callable:
    def spoil(notebook):
        notebook.cells = [cell for cell in notebook.cells if cell.id not in names]

    return spoil


def swapped(notebook):
    places = [place for place, cell in enumerate(notebook.cells) if cell.id in {"look", "score"}]
    first, second = places
    notebook.cells[first], notebook.cells[second] = notebook.cells[second], notebook.cells[first]


SIXTH = "## Quiz\n\n<details><summary>Answer</summary>B</details>"

SPOILT = [
    (has_no_outputs_and_no_residue, with_output),
    (has_no_outputs_and_no_residue, with_count),
    (has_no_outputs_and_no_residue, described(colab={"provenance": []})),
    (has_no_outputs_and_no_residue, described(accelerator="GPU")),
    (runs_on_the_kernel_that_everyone_has, described(kernelspec={"name": "conda-env-x", "display_name": "x"})),
    (runs_on_the_kernel_that_everyone_has, lambda notebook: notebook.metadata.pop("kernelspec")),
    (lets_no_error_pass, described(execution={"allow_errors": True})),
    (has_no_widgets_without_state, described(widgets={"application/vnd.jupyter.widget-state+json": {"version": 2}})),
    (has_unique_ids_that_mean_something, added(code("3f2a9c01", "1"))),
    (has_unique_ids_that_mean_something, added(code("12", "1"))),
    (has_unique_ids_that_mean_something, added(code("aadc3e2f-1234-4bcd", "1"))),
    (begins_with_title_and_badges, without("badges")),
    (begins_with_title_and_badges, replaced("badges", "specimen.ipynb)", "another.ipynb)")),
    (begins_with_title_and_badges, replaced("title", "# A", "A")),
    (begins_with_title_and_badges, retagged),
    (has_one_title, added(markdown("second", "# Another title"))),
    (has_the_headings_in_their_order, swapped),
    (has_the_headings_in_their_order, without("key-points")),
    (has_the_headings_in_their_order, added(markdown("more", "## More"))),
    (installs_itself_where_the_course_is_missing, replaced("setup", '"-q"', '"-qU"')),
    (installs_itself_where_the_course_is_missing, replaced("setup", "/v", "/v9.")),
    (installs_itself_where_the_course_is_missing, without("setup")),
    (imports_in_the_setup_cell_only, added(code("late", "def f():\n    import keras"))),
    (asks_five_questions_that_open_without_a_kernel, replaced("quiz", "</details>", "")),
    (asks_five_questions_that_open_without_a_kernel, replaced("quiz", "Because.", "")),
    (asks_five_questions_that_open_without_a_kernel, replaced("quiz", "<summary>Answer</summary>", "")),
    (
        asks_five_questions_that_open_without_a_kernel,
        replaced("quiz", "## Quiz", SIXTH),
    ),
    (has_no_cell_over_30_lines, added(lines("long", 31))),
    (has_nine_of_ten_cells_within_20_lines, added(*(lines(f"middle-{n}", 21) for n in range(3)))),
    (has_a_median_cell_of_at_most_6_lines, added(*(lines(f"middle-{n}", 7) for n in range(25)))),
    (has_100_to_300_lines_of_code, added(*(lines(f"more-{n}", 20) for n in range(10)))),
    (has_100_to_300_lines_of_code, without(*(f"step-{letter}" for letter in "abcdef"))),
    (has_1000_to_2450_words_beside_the_quiz, added(markdown("talk", "word " * 1500))),
    (has_1000_to_2450_words_beside_the_quiz, without("idea", "train", "look", "map")),
    (has_five_words_per_line_of_code, added(*(lines(f"more-{n}", 20) for n in range(8)))),
    (is_plain_markdown, added(markdown("directive", "```{note}\nRead this.\n```"))),
    (is_plain_markdown, added(markdown("fence", ":::{tip}\nRead this.\n:::"))),
    (is_plain_markdown, added(markdown("role", "See {ref}`there`."))),
    (is_plain_markdown, added(markdown("citation", "Shown by {cite:t}`lecun1998`."))),
    (is_plain_python, added(code("shell", "!pip install helpers"))),
    (is_plain_python, added(code("magic", "%matplotlib inline"))),
    (
        hands_over_several_steps_only_where_the_back_end_takes_them,
        added(code("fast", 'model.compile("adam", "mse", steps_per_execution=16)')),
    ),
    (describes_every_figure, without_alt),
    (describes_every_figure, added(code("short", "plots.curve(x)", mystnb={"image": {"alt": "a curve"}}))),
    (describes_every_figure, added(code("direct", "figure, ax = plt.subplots()"))),
    (describes_every_figure, added(code("own", "def draw(x):\n    plots.curve(x)\n\n\ndraw(1)"))),
    (describes_every_figure, added(code("named", "from helpers.plots import curve\n\ncurve(1)"))),
    (describes_every_figure, added(code("live", "widgets.explore(x)"))),
    (trains_without_labels, added(code("fit", "model.fit(train.images, train.labels)"))),
    (trains_without_labels, added(code("fit", "probe.fit(features, y=labels)"))),
    (trains_without_labels, added(code("fit", "model.fit(x, keras.utils.to_categorical(train_labels[:9]))"))),
    (trains_without_labels, added(code("fit", "y = train.labels[:100]\nmodel.fit(x, y)"))),
    (
        trains_without_labels,
        added(code("first", "x, y = train.images, train.labels"), code("fit", "train_encoder(x, y)")),
    ),
]


@pytest.mark.parametrize("name", _RULES)
def test_the_specimen_keeps_every_rule(name):
    assert _RULES[name](chapter_of(specimen())) == []


@pytest.mark.parametrize(("complaining", "spoil"), SPOILT, ids=[f"{n}-{r.__name__}" for n, (r, _) in enumerate(SPOILT)])
def test_a_broken_rule_is_noticed(complaining, spoil):
    notebook = specimen()
    spoil(notebook)
    assert complaining(chapter_of(notebook))


def test_every_rule_has_a_specimen_that_breaks_it():
    elsewhere = {"is_valid_and_written_as_nbformat_writes"}
    assert {complaining.__name__ for complaining, _ in SPOILT} | elsewhere == set(_RULES)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.rstrip("\n"),
        lambda text: json.dumps(json.loads(text), indent=2) + "\n",
        lambda text: text.replace('"cell_type": "markdown"', '"cell_type": "prose"'),
    ],
    ids=["no final newline", "another indent", "an unknown kind of cell"],
)
def test_a_file_that_nbformat_would_not_write_is_noticed(spoil):
    text = spoil(chapter_of(specimen()).text)
    assert is_valid_and_written_as_nbformat_writes(Chapter(Path("specimen.ipynb"), text))


def test_an_id_that_stands_twice_is_noticed():
    # in the file, since nbformat replaces it while writing
    text = chapter_of(specimen()).text.replace('"id": "step-b"', '"id": "step-a"')
    complaints = has_unique_ids_that_mean_something(Chapter(Path("specimen.ipynb"), text))
    assert complaints == ["the id step-a stands twice"]


@pytest.mark.parametrize(
    ("keeping", "cell"),
    [
        (trains_without_labels, code("supervised", "model.fit(train.images, train.labels)", tags=["supervised"])),
        (trains_without_labels, code("scored", "score(features, test.labels)\nmodel.fit(train.images, train.images)")),
        (describes_every_figure, code("defined", "def draw(x):\n    plots.curve(x)")),
        (describes_every_figure, code("style", "plots.use_style()")),
        (is_plain_markdown, markdown("set", "The set $\\{a\\}$ and `{a: 1}`.\n\n```python\nx = {a}\n```")),
        (has_the_headings_in_their_order, markdown("sub", "### A smaller heading")),
    ],
)
def test_what_only_looks_like_a_breach_is_let_through(keeping, cell):
    notebook = specimen()
    notebook.cells.append(cell)
    assert keeping(chapter_of(notebook)) == []

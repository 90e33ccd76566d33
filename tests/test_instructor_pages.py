"""The instructor pages: every chapter has a complete plan, terms add up in an order that works, and forms are valid."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "book" / "instructors"
LESSONS = PAGES / "lessons"
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
FACTS = yaml.safe_load((ROOT / "book" / "lessons.yml").read_text(encoding="utf-8"))
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))

PARTS = [
    "Objectives",
    "Ninety minutes",
    "Misconceptions",
    "At the board",
    "Discussion",
    "Assignment",
    "Accessibility",
    "When time is short",
]
LEVELS = ["Remember", "Understand", "Apply", "Analyse", "Evaluate", "Create"]
PICTURE = b"\x89PNG..."


def files(entry: dict) -> list[str]:
    """Return the files of a part of the table of contents, with those below others."""
    own = [entry["file"]] if "file" in entry else []
    below = entry.get("chapters", []) + entry.get("sections", [])
    return own + [file for each in below for file in files(each)]


IN_ORDER = [file for part in TOC["parts"] for file in files(part)]
CHAPTERS = [Path(file).name for file in IN_ORDER if file.startswith("notebooks/")]


def markdown(text: str) -> SyntaxTreeNode:
    """Return a page as a tree; what stands between dashes at its head is no part of it."""
    return SyntaxTreeNode(MarkdownIt().enable("table").parse(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)))


def page(path: Path) -> SyntaxTreeNode:
    return markdown(path.read_text(encoding="utf-8"))


def plain(node: SyntaxTreeNode) -> str:
    """Return the text below a node, without markup."""
    return "".join(
        leaf.content for leaf in node.walk() if leaf.type in ("text", "code_inline", "softbreak", "html_inline")
    )


def parts(tree: SyntaxTreeNode, level: str = "h2") -> dict[str, list[SyntaxTreeNode]]:
    """Return what stands below each heading of a level, by heading."""
    found: dict[str, list[SyntaxTreeNode]] = {}
    for node in tree.children:
        if node.type == "heading" and node.tag == level:
            found[plain(node)] = []
        elif found:
            found[list(found)[-1]].append(node)
    return found


def plan(slug: str) -> dict[str, list[SyntaxTreeNode]]:
    return parts(page(LESSONS / f"{slug}.md"))


def items(part: list[SyntaxTreeNode]) -> list[SyntaxTreeNode]:
    return [item for node in part if node.type == "bullet_list" for item in node.children]


def directives(nodes: list[SyntaxTreeNode]) -> list[tuple[str, list[str]]]:
    """Return name and arguments of each directive."""
    infos = [node.info for node in nodes if node.type == "fence" and node.info.startswith("{")]
    return [(info[1 : info.index("}")], info[info.index("}") + 1 :].split()) for info in infos]


def cells(slug: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / f"{slug}.ipynb").read_text(encoding="utf-8"))["cells"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def card(slug: str) -> list[str]:
    """Return the card's one row: to read, exercises, seconds, needs."""
    row = next(line for line in reversed(source(cells(slug)[0]).splitlines()) if line.startswith("|"))
    return [value.strip() for value in row.strip("|").split("|")]


def title(slug: str) -> str:
    return source(cells(slug)[0]).splitlines()[0].removeprefix("# ")


@pytest.fixture
def lessons(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course_site import lessons

    return lessons


# Lesson plans


def test_each_chapter_has_a_lesson_plan_and_each_plan_a_chapter():
    assert {path.stem for path in LESSONS.glob("*.md")} == set(CHAPTERS)


@pytest.mark.parametrize("slug", CHAPTERS)
def test_a_plan_has_all_parts_and_none_is_empty(slug):
    assert list(plan(slug)) == PARTS
    assert all(plan(slug).values())


@pytest.mark.parametrize("slug", CHAPTERS)
def test_a_plan_leads_to_its_chapter(slug):
    opening = page(LESSONS / f"{slug}.md").children[1]
    links = [node.attrs["href"] for node in opening.walk() if node.type == "link"]
    assert [(LESSONS / link).resolve() for link in links] == [ROOT / "notebooks" / f"{slug}.ipynb"]


@pytest.mark.parametrize("slug", CHAPTERS)
def test_the_minutes_of_a_plan_add_up_to_a_session(slug):
    (table,) = [node for node in plan(slug)["Ninety minutes"] if node.type == "table"]
    head, *rows = [[plain(cell) for cell in row.children] for part in table.children for row in part.children]
    assert head == ["minutes", "what happens", "who acts"]
    assert all(all(row) for row in rows)
    assert sum(int(minutes) for minutes, *_ in rows) == FACTS["lesson"] == 90


@pytest.mark.parametrize("slug", CHAPTERS)
def test_objectives_climb_all_levels(slug):
    levels = [
        next(plain(node) for node in item.walk() if node.type == "strong") for item in items(plan(slug)[PARTS[0]])
    ]
    assert levels == LEVELS


@pytest.mark.parametrize("slug", CHAPTERS)
def test_each_misconception_stands_above_what_the_chapter_showed(slug):
    misconceptions = parts(page(LESSONS / f"{slug}.md"), level="h3")
    assert len(misconceptions) >= 4
    code = {cell["id"] for cell in cells(slug) if cell["cell_type"] == "code"}
    for claim, nodes in misconceptions.items():
        below = list(itertools.takewhile(lambda node: node.tag != "h2", nodes))
        shown = [arguments for name, arguments in directives(below) if name == "course-evidence"]
        assert shown, f"nothing dispels: {claim}"
        assert all(chapter == slug and cell in code for chapter, cell in shown), claim


@pytest.mark.parametrize("slug", CHAPTERS)
def test_each_question_for_the_board_has_an_answer(slug):
    questions = items(plan(slug)["At the board"])
    assert len(questions) >= 4
    for item in questions:
        asked = next(plain(node) for node in item.walk() if node.type == "em")
        assert plain(item).startswith(asked), plain(item)
        assert len(plain(item).removeprefix(asked).strip()) > 0, asked


@pytest.mark.parametrize("slug", CHAPTERS)
def test_a_plan_lists_the_questions_of_its_own_assignment(slug):
    assert directives(plan(slug)["Assignment"]) == [("course-assignment", [slug])]


@pytest.mark.parametrize("slug", CHAPTERS)
def test_exercises_that_a_plan_names_exist(slug):
    chapter = "\n".join(map(source, cells(slug)))
    for number in re.findall(r"\(exercise (\d)\)", (LESSONS / f"{slug}.md").read_text(encoding="utf-8")):
        assert f"**Exercise {number} (" in chapter


# What a cell showed


def evidence() -> list[list[str]]:
    """Return chapter and cell of all evidence on the pages of lessons."""
    found = [each for path in sorted(LESSONS.glob("*.md")) for each in directives(page(path).children)]
    return [arguments for name, arguments in found if name == "course-evidence"]


@pytest.mark.parametrize(("slug", "cell"), evidence())
def test_evidence_leads_to_the_section_of_its_cell(lessons, tmp_path, slug, cell):
    above = itertools.takewhile(lambda each: each["id"] != cell, cells(slug))
    tree = markdown("\n\n".join(source(each) for each in above if each["cell_type"] == "markdown"))
    heading = [plain(node) for node in tree.children if node.type == "heading"][-1]
    executed = tmp_path / f"{slug}.ipynb"
    executed.write_text(json.dumps({"cells": [{"id": cell, "outputs": [{"name": "stdout", "text": "seen\n"}]}]}))
    found = lessons.shown(ROOT / "notebooks" / f"{slug}.ipynb", executed, cell)
    assert (found.section, found.chapter, found.text) == (heading, title(slug), "seen")
    assert found.anchor == re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


@pytest.fixture
def chapter(tmp_path):
    """A chapter and its execution: one cell with a picture, a printed line and a warning, one that shows nothing."""
    outputs = [
        {
            "output_type": "display_data",
            "data": {"image/png": base64.b64encode(PICTURE).decode(), "text/plain": "<Fig>"},
        },
        {"output_type": "stream", "name": "stdout", "text": ["a line\n"]},
        {"output_type": "stream", "name": "stderr", "text": ["progress"]},
    ]
    alt = {"mystnb": {"image": {"alt": "A curve that falls."}}}
    opening = "# A chapter\n\n| to read | exercises | needs |\n|---|---|---|\n| 9 minutes | 8 minutes | nothing |\n"
    cells = [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": opening},
        {"cell_type": "markdown", "id": "look", "metadata": {}, "source": "## Why, then?\n\nSee:"},
        {"cell_type": "code", "id": "curve", "metadata": alt, "source": "draw()", "outputs": outputs},
        {"cell_type": "code", "id": "silent", "metadata": {}, "source": "x = 1", "outputs": []},
    ]
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_a_cell_shows_pictures_and_printed_lines_but_no_progress(lessons, chapter):
    found = lessons.shown(chapter, chapter, "curve")
    assert (found.pictures, found.text, found.description) == ([PICTURE], "a line", "A curve that falls.")
    assert (found.chapter, found.section, found.anchor) == ("A chapter", "Why, then?", "why-then")


def test_a_picture_is_the_file_that_the_chapters_page_shows(lessons, chapter, tmp_path):
    site = tmp_path / "_build" / "html"
    cell, _ = lessons.evidence(lessons.shown(chapter, chapter, "curve"), site, tmp_path, "../chapter.html")
    (image,) = cell.findall(lambda node: node.tagname == "image")
    (written,) = (tmp_path / "_build" / "jupyter_execute").iterdir()
    assert tmp_path / image["uri"].removeprefix("/") == written
    assert written.name == f"{hashlib.sha256(PICTURE).hexdigest()}.png"  # as MyST-NB names it
    assert written.read_bytes() == PICTURE


@pytest.mark.parametrize(
    ("cell", "said"), [("curv", "has no cell 'curv'"), ("silent", "showed neither a picture nor printed lines")]
)
def test_a_cell_that_shows_nothing_is_refused(lessons, chapter, cell, said):
    with pytest.raises(LookupError, match=said):
        lessons.shown(chapter, chapter, cell)


def test_a_chapter_that_was_not_executed_is_refused(lessons, chapter, tmp_path):
    with pytest.raises(LookupError, match="was not executed: run `make book`"):
        lessons.shown(chapter, tmp_path / "none.ipynb", "curve")


# Assignments, syllabi and calendar


@pytest.fixture
def assigned(tmp_path):
    """An assignment of two questions."""
    prompts = [
        "### Question 1 (★ · 8 minutes · 2 points): Up & down\n\n*Objective: compute a size.*\n\nText.",
        "### A heading between",
        "### Question 2 (★★★ · 15 minutes · 1 point): Find it\n\n*Objective: find a mistake.*",
    ]
    master = tmp_path / "notebooks" / "assignments" / "a-chapter.ipynb"
    master.parent.mkdir(parents=True)
    master.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": prompt} for prompt in prompts]}))
    return tmp_path


def test_the_questions_of_an_assignment_are_listed_and_added_up(lessons, assigned):
    table = BeautifulSoup(lessons.assignment_html(assigned, "a-chapter"), "html.parser")
    assert [[cell.text for cell in row.select("th, td")] for row in table.select("tr")] == [
        ["Question", "What it tests", "Minutes", "Points"],
        ["1. Up & down (★)", "compute a size.", "8", "2"],
        ["2. Find it (★★★)", "find a mistake.", "15", "1"],
        ["Together", "23", "3"],
    ]


def test_a_chapter_without_an_assignment_says_so(lessons, assigned):
    assert "no assignment" in lessons.assignment_html(assigned, "another-chapter")


@pytest.mark.parametrize("weeks", FACTS["syllabi"])
def test_a_syllabus_has_its_weeks_and_only_known_sessions(weeks):
    plan = FACTS["syllabi"][weeks]
    assert len(plan) == weeks
    sessions = list(itertools.chain(*plan))
    assert set(sessions) <= {*CHAPTERS, *FACTS["events"]}
    held = [session for session in sessions if session in CHAPTERS]
    assert len(held) == len(set(held))


@pytest.mark.parametrize("weeks", FACTS["syllabi"])
def test_a_syllabus_teaches_what_a_chapter_needs_before_the_chapter(weeks):
    taught = ["nothing"]
    for session in itertools.chain(*FACTS["syllabi"][weeks]):
        if session in CHAPTERS:
            needed = [name.strip("* ") for name in card(session)[-1].split(",")]
            assert set(needed) <= set(taught), f"{session} comes too early"
            taught.append(title(session))


def test_the_long_syllabus_holds_the_whole_book_in_its_order():
    sessions = itertools.chain(*FACTS["syllabi"][12])
    assert [session for session in sessions if session in CHAPTERS] == CHAPTERS


def minutes_at_home(session: str, week: list[str]) -> int:
    if session in FACTS["events"]:
        return FACTS["events"][session]["home"]
    read, practise = (int(value.split()[0]) for value in card(session)[:2])
    master = ROOT / "notebooks" / "assignments" / f"{session}.ipynb"
    held = json.loads(master.read_text(encoding="utf-8"))["cells"] if master.exists() else []
    prompts = [cell for cell in held if cell["id"].endswith("-prompt")]
    assigned = sum(int(re.search(r"· (\d+) minutes ·", source(cell)).group(1)) for cell in prompts)
    return read + assigned + (practise if "laboratory" not in week else 0)


@pytest.mark.parametrize("weeks", FACTS["syllabi"])
def test_the_hours_of_a_syllabus_add_up(lessons, weeks):
    plan = FACTS["syllabi"][weeks]
    rows = BeautifulSoup(lessons.syllabus_html(ROOT, weeks, "../../"), "html.parser").select("tr")[1:]
    printed = [[cell.text for cell in row.select(".number")] for row in rows]
    home = [sum(minutes_at_home(session, week) for session in week) for week in plan]
    present = [FACTS["lesson"] * len(week) for week in plan]
    expected = [*zip(present, home, strict=True), (sum(present), sum(home))]
    assert printed == [[f"{value / 60:.1f}" for value in row] for row in expected]


def test_an_unknown_syllabus_is_refused_with_those_that_exist(lessons):
    with pytest.raises(LookupError, match=r"no syllabus of 5 weeks: choose one of \[3, 6, 12\]"):
        lessons.syllabus_html(ROOT, 5, "")


def test_an_unknown_session_is_refused(lessons, tmp_path):
    facts = {"lesson": 90, "events": {"clinic": {"title": "Clinic", "home": 0}}, "syllabi": {1: [["clinics"]]}}
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "lessons.yml").write_text(yaml.safe_dump(facts))
    with pytest.raises(LookupError, match="names 'clinics': it is no chapter, and none of clinic"):
        lessons.syllabus_html(tmp_path, 1, "")


def test_the_page_shows_every_syllabus():
    shown = [
        int(weeks) for name, (weeks,) in directives(page(PAGES / "syllabi.md").children) if name == "course-syllabus"
    ]
    assert shown == list(FACTS["syllabi"])


def run_of(device: str, seconds: float) -> dict:
    return {"seconds": seconds, "device": device, "profile": "quick"}


def test_the_calendar_says_what_was_not_measured(lessons):
    runs = {slug: run_of("CPU, 2 cores", 61.2) for slug in CHAPTERS[:3]}
    recorded = {CHAPTERS[0]: run_of("GPU Tesla T4", 600), CHAPTERS[1]: run_of("GPU NVIDIA H200", 60)}
    table = BeautifulSoup(lessons.calendar_html(ROOT, runs, recorded, ""), "html.parser")
    first, second, third, total = [[cell.text for cell in row.select(".number")] for row in table.select("tr")[1:]]
    assert first[-3:] == ["61", "600 s, GPU Tesla T4", "10"]
    assert second[-3:] == ["61", "60 s, GPU NVIDIA H200", "not measured"]
    assert third[-3:] == ["61", "not measured", "not measured"]
    assert total == ["184"]
    assert first[:2] == [value.split()[0] for value in card(CHAPTERS[0])[:2]]


# Pages and forms


def test_the_first_page_and_the_list_of_plans_lead_everywhere():
    def linked(path: Path) -> set[Path]:
        links = [node.attrs["href"] for node in page(path).walk() if node.type == "link"]
        return {(path.parent / link).resolve() for link in links}

    assert set(PAGES.glob("*.md")) - {PAGES / "index.md"} <= linked(PAGES / "index.md")
    assert set(LESSONS.glob("*.md")) <= linked(PAGES / "lesson-plans.md")


def test_every_instructor_page_is_in_the_book():
    listed = {ROOT / f"{file}.md" for file in IN_ORDER}
    assert set(PAGES.rglob("*.md")) <= listed


def test_commands_that_the_pages_name_exist():
    targets = set(re.findall(r"(?m)^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for path in PAGES.rglob("*.md"):
        code = [node.content for node in page(path).walk() if node.type in ("code_inline", "fence")]
        named = set(re.findall(r"(?m)^make ([\w.-]+)", "\n".join(code)))
        assert named <= targets, f"{path.name} names {named - targets}"


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("erratum", "vendor.github-issue-forms"),
        ("question", "vendor.github-issue-forms"),
        ("config", "vendor.github-issue-config"),
    ],
)
def test_forms_fit_the_schema_of_github(name, schema):
    tool = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent))
    command = [tool, "--builtin-schema", schema, FORMS / f"{name}.yml"]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def fields(name: str) -> dict[str, dict]:
    form = yaml.safe_load((FORMS / f"{name}.yml").read_text(encoding="utf-8"))
    return {field["id"]: field for field in form["body"] if "id" in field}


def test_an_erratum_can_name_each_chapter():
    assert fields("erratum")["chapter"]["attributes"]["options"] == [*CHAPTERS, "another page"]


def test_an_erratum_must_say_where_what_and_what_instead():
    asked = fields("erratum")
    required = {name for name, field in asked.items() if field.get("validations", {}).get("required")}
    assert required == {"chapter", "cell", "environment", "said", "should"}
    assert set(asked) == required | {"versions"}  # those who only read the site have none


def test_links_to_forms_name_forms():
    text = (PAGES / "errata.md").read_text(encoding="utf-8")
    named = re.findall(r"/issues/new\?template=([\w.-]+)\)", text)
    assert sorted(named) == ["erratum.yml", "question.yml"]
    assert all((FORMS / name).exists() for name in named)

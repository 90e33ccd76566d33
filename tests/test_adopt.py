"""A fork takes the course over with one command: no old address is left, and nothing else changes."""

import contextlib
import doctest
import importlib.util
import io
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from test_repository import ROOT, run, text_of, tracked_files

# Repository, site if it is not that of GitHub Pages, and where the book then lies. Put together from parts: on the way
# back a whole address in this file would be taken for the fork's.
PAGES, DOMAIN = "github.io", "university.example"
FORKS = {
    "github pages": ("Someone/their-course", None, f"https://someone.{PAGES}/their-course/"),
    "a name with dots": ("some-one/their.course.2", None, f"https://some-one.{PAGES}/their.course.2/"),
    "the site of a user": (f"Someone/someone.{PAGES}", None, f"https://someone.{PAGES}/"),
    "a domain with a slash": ("Someone/course", f"https://course.{DOMAIN}/", f"https://course.{DOMAIN}/"),
    "a domain without a slash": ("Someone/course", f"https://course.{DOMAIN}", f"https://course.{DOMAIN}/"),
    "a folder of a domain": ("Someone/course", f"https://{DOMAIN}/~me/course", f"https://{DOMAIN}/~me/course/"),
    "a name like a folder": ("helpers/datasets", None, f"https://helpers.{PAGES}/datasets/"),
}


def load_address():
    spec = importlib.util.spec_from_file_location("address", ROOT / "book" / "address.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["address"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


address = load_address()
OLD = address.read()
NAME = OLD.course.split("/")[1]
FORKS["the same name and more"] = (f"someone/{NAME}-2", None, f"https://someone.{PAGES}/{NAME}-2/")
FORKS["the same name"] = (f"someone/{NAME}", None, f"https://someone.{PAGES}/{NAME}/")


def adopt(root: Path, repository: str, site: str | None = None) -> tuple[int, str]:
    """Run the command on a copy and return its exit status and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = address.main([repository, *(["--site", site] if site else [])], root)
    return status, printed.getvalue()


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def masked(text: str, there: "address.Address") -> str:
    """Return a text with a mark in the place of its address."""
    return text.replace(there.site.rstrip("/"), "<site>").replace(there.course, "<course>")


@pytest.fixture(scope="module")
def original():
    """The repository's files: their names and contents."""
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in tracked_files()}


def written(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, content in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


@pytest.fixture
def copy(tmp_path, original):
    """A copy of the repository's files."""
    return written(tmp_path, original)


@pytest.fixture(scope="module")
def untouched(original, tmp_path_factory):
    """A copy that tests leave as it is."""
    return written(tmp_path_factory.mktemp("untouched"), original)


@pytest.fixture(scope="module", params=FORKS)
def fork(request, original, tmp_path_factory):
    """A copy that was adopted, which tests leave as it is, and its name among the forks."""
    root = written(tmp_path_factory.mktemp("fork"), original)
    status, printed = adopt(root, *FORKS[request.param][:2])
    assert status == 0, printed
    return root, request.param


def test_no_old_address_is_left_in_a_file_of_any_kind(fork):
    root, _ = fork
    site = OLD.site.removeprefix("https://").rstrip("/")
    forms = [form.replace("/", slash) for form in (OLD.course, site) for slash in ("/", r"\/", "%2F")]
    left = {
        name: form
        for name, content in contents(root).items()
        for form in forms
        if form.lower().encode() in content.lower()
    }
    assert left == {}


def test_the_configuration_and_the_citation_hold_the_new_address(fork):
    root, name = fork
    repository, _, site = FORKS[name]
    configuration = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    assert configuration["repository"]["url"] == f"https://github.com/{repository}"
    assert configuration["html"]["baseurl"] == site
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["repository-code"], citation["url"]) == (f"https://github.com/{repository}", site)


def test_only_addresses_change(fork, original):
    root, _ = fork
    new = address.read(root)
    changed = {name: content for name, content in contents(root).items() if content != original[name]}
    assert changed
    for name, content in changed.items():
        before, after = original[name].decode(), content.decode()
        for old_line, line in zip(before.split("\n"), after.split("\n"), strict=True):
            assert line == old_line or masked(line, new) == masked(old_line, OLD), name


def test_notebooks_stay_valid_and_begin_with_the_new_address(fork):
    root, _ = fork
    notebooks = sorted((root / "notebooks").rglob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        setups = [cell.source for cell in notebook.cells if cell.get("id") == "setup"]
        assert all(f"https://github.com/{address.read(root).course}/archive/" in setup for setup in setups), path


def test_adopting_twice_is_the_same_as_once(fork):
    root, name = fork
    once = contents(root)
    _, printed = adopt(root, *FORKS[name][:2])
    assert "rewrote" not in printed
    assert contents(root) == once


def test_adopting_back_restores_every_byte(fork, original, tmp_path):
    root = written(tmp_path, contents(fork[0]))
    adopt(root, OLD.repository, OLD.site)
    now = contents(root)
    assert set(now) == set(original)
    assert [name for name in now if now[name] != original[name]] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".github/ISSUE_TEMPLATE/config.yml", "url: {repository}/discussions\r\n"),
        (".github/workflows/links.yml", "if: github.repository == '{course}'\n"),
        ("notebooks/assignments/chapter.ipynb", '"clone {repository}.git."\n'),
        ("book/instructors/lessons.md", "[the book]({site}) and [its clusters]({site}notebooks/a.html#b).\n"),
        ("book/_static/picture.svg", '<svg><a href="{repository}"/></svg>\n'),
        ("book/_static/page.js", "fetch('https://api.github.com/repos/{course}/issues'); open('{repository}')\n"),
        ("helpers/checks/report.py", 'SITE = "{bare_site}"  # without a slash\n'),
        ("clone.sh", "git clone git@github.com:{course}.git\n"),
        ("pyproject.toml", '[project]\nversion = "1"\n[project.urls]\nHomepage = "{site}"\n'),
    ],
)
def test_an_address_is_found_in_whatever_file_it_stands(copy, name, text):
    path = copy / name
    path.parent.mkdir(parents=True, exist_ok=True)

    def filled(there):
        parts = {"course": there.course, "repository": there.repository, "site": there.site}
        return text.format(**parts, bare_site=there.site.rstrip("/")).encode()

    path.write_bytes(filled(OLD).replace(b"repos/", b"github/"))
    adopt(copy, "me/mine")
    assert path.read_bytes() == filled(address.parse("me/mine")).replace(b"repos/", b"github/")


@pytest.mark.parametrize(
    "text",
    ["{repository}-2", "{repository}.js/wiki", "{site_without_slash}-2/", "see {course} in the folder", "x{course}"],
)
def test_what_only_looks_like_the_address_stays(copy, text):
    text = text.format(repository=OLD.repository, course="helpers/datasets", site_without_slash=OLD.site[:-1])
    path = copy / "notes.txt"
    path.write_text(text, encoding="utf-8")
    adopt(copy, "me/mine")
    assert path.read_text(encoding="utf-8") == text


def test_what_git_ignores_is_left_alone(copy):
    built = copy / "_build" / "page.html"
    built.parent.mkdir()
    built.write_text(OLD.repository, encoding="utf-8")
    adopt(copy, "me/mine")
    assert built.read_text(encoding="utf-8") == OLD.repository


def test_an_interrupted_adoption_is_finished_by_the_same_command(copy, tmp_path_factory, monkeypatch):
    whole = tmp_path_factory.mktemp("whole")
    shutil.copytree(copy, whole, dirs_exist_ok=True)
    adopt(whole, "me/mine")
    replace, left = os.replace, iter(range(5))

    def replace_five(*paths):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr(address.os, "replace", replace_five)
    with pytest.raises(KeyboardInterrupt):
        adopt(copy, "me/mine")
    monkeypatch.undo()
    assert contents(copy) != contents(whole)
    adopt(copy, "me/mine")
    assert contents(copy) == contents(whole)


def test_scripts_stay_executable(copy):
    script = copy / ".ci" / "run"
    script.write_text(f"#!/bin/sh\n# {OLD.repository}\n", encoding="utf-8")
    script.chmod(0o755)
    adopt(copy, "me/mine")
    assert "me/mine" in script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("README.md", "[Colab](https://colab.research.google.com/github/them/theirs/blob/main/notebooks/a.ipynb)"),
        ("README.md", "git clone https://github.com/them/theirs"),
        ("CITATION.cff", "repository-code: https://github.com/them/theirs"),
        ("notebooks/chapter.ipynb", '"course = https://github.com/them/theirs/archive/refs/tags/v0.0.0.zip"'),
        ("notebooks/assignments/a.ipynb", '"course = https://github.com/them/theirs/archive/refs/tags/v0.0.0.zip"'),
        (".github/ISSUE_TEMPLATE/config.yml", "url: https://github.com/them/theirs/issues/new/choose"),
    ],
)
def test_the_address_of_another_fork_is_noticed_and_mended(copy, name, line):
    path = copy / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(((text_of(path) or "") if path.exists() else "") + f"\n{line}\n", encoding="utf-8")
    checked = run(sys.executable, "book/address.py", cwd=copy)
    assert checked.returncode == 1
    assert name in checked.stderr
    assert line in checked.stderr
    assert adopt(copy, OLD.repository, OLD.site)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "'' is no repository on GitHub: give owner/name, for example REPO=me/my-course."),
        (["https://github.com/"], "'https://github.com/' is no repository on GitHub"),
        (["me"], "'me' is no repository"),
        (["me/my course"], "'me/my course' is no repository"),
        (["me/my/course"], "'me/my/course' is no repository"),
        (["-me/course", "--site", "https://me.org"], "unrecognized arguments: -me/course"),
        (["me_and_you/course"], "'me_and_you/course' is no repository"),
        (["https://gitlab.com/someone/course"], "'https://gitlab.com/someone/course' is no repository"),
        (["me/course", "--site", "http://example.org"], "'http://example.org' is no site's address: give one such as"),
        (["me/course", "--site", "example.org"], "'example.org' is no site's address"),
        (["me/course", "--site", ""], "'' is no site's address"),
        (["me/course", "--site", "https://example.org/a b"], "is no site's address"),
        (["me/course", "--site", "https://example.org/?page=1"], "is no site's address"),
        (["--site", "https://example.org"], "A site alone is no address"),
    ],
)
def test_bad_input_is_one_plain_sentence_and_changes_nothing(untouched, original, arguments, said):
    refused = run(sys.executable, "-B", "book/address.py", *arguments, cwd=untouched)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert contents(untouched) == original


@pytest.mark.parametrize(
    ("given", "course"),
    [
        ("me/course", "me/course"),
        ("https://github.com/me/course", "me/course"),
        ("https://github.com/me/course/", "me/course"),
        ("https://github.com/me/course.git", "me/course"),
        ("Me-2/.course_3", "Me-2/.course_3"),
    ],
)
def test_a_repository_is_understood_by_name_and_by_address(given, course):
    assert address.parse(given).course == course


def test_the_examples_of_the_module_are_right():
    outcome = doctest.testmod(address)
    assert outcome.attempted
    assert not outcome.failed

"""The twins of the chapters' sliders: how a page learns of the sheet of states that its notebook left."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from helpers import widgets

EXTENSIONS = Path(__file__).resolve().parents[1] / "book" / "_ext"
STILL, SHEET = b"a still picture", b"a sheet of states"


@pytest.fixture
def explorers(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from course_site import explorers

    return explorers


@pytest.fixture
def built(tmp_path, explorers):
    """A site with one page, and the executed notebook that it shows."""
    states = {"sliders": {"a & b": [0, 1]}, "columns": 2, "rows": 1, "sheet": base64.b64encode(SHEET).decode()}
    data = {"image/png": base64.b64encode(STILL).decode(), explorers.STATES: states}
    cells = [
        {"cell_type": "markdown", "source": ""},
        {"cell_type": "code", "outputs": [{"output_type": "stream", "text": "a"}, {"data": data}]},
    ]
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / "chapter.ipynb").write_text(json.dumps({"cells": cells}))
    page = tmp_path / "site" / "notebooks" / "chapter.html"
    page.parent.mkdir(parents=True)
    picture = f'<img alt="what it shows" src="../_images/{hashlib.sha256(STILL).hexdigest()}.png" />'
    page.write_text(f'<img alt="another" src="../_images/another.png" />{picture}')
    return tmp_path / "site", tmp_path / "executed", page


def test_notebook_and_site_name_the_states_alike(explorers):
    assert explorers.STATES == widgets.STATES


def test_the_still_picture_is_told_where_its_states_lie(explorers, built):
    site, executed, page = built
    explorers.attach(site, executed)
    other, still = BeautifulSoup(page.read_text(), "html.parser").find_all("img")
    assert not other.has_attr("data-states")
    assert still["alt"] == "what it shows"
    states = json.loads(still["data-states"])
    assert states.items() >= {"sliders": {"a & b": [0, 1]}, "columns": 2, "rows": 1}.items()
    assert (page.parent / states["sheet"]).read_bytes() == SHEET


def test_telling_a_page_twice_changes_nothing(explorers, built):
    site, executed, page = built
    explorers.attach(site, executed)
    once = page.read_text()
    explorers.attach(site, executed)
    assert page.read_text() == once


def test_a_page_without_the_still_picture_is_refused(explorers, built):
    site, executed, page = built
    page.write_text("<p>An older page</p>")
    with pytest.raises(LookupError, match=r"^chapter\.html does not show the still picture of an explorer: [^.]*\.$"):
        explorers.attach(site, executed)


def test_notebooks_without_sliders_or_without_a_page_are_passed_over(explorers, built):
    site, executed, page = built
    before = page.read_text()
    (executed / "chapter.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": []}]}))
    (executed / "without-a-page.ipynb").write_text("no notebook at all")
    explorers.attach(site, executed)
    assert page.read_text() == before

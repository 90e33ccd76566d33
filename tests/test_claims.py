"""Every chapter's key points are decided by its own run. Runs after `book/build.py`, on its results store."""

import re
from pathlib import Path

import nbformat
import pytest

from helpers import results

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "_runs" / "quick" / "results"
CLAIMS = results.load_claims(STORE)

pytestmark = pytest.mark.skipif(not list(STORE.glob("*/run.json")), reason="the quick profile was not built: make book")


def key_points(chapter: str) -> str:
    """Return the text of the section, without marks of emphasis."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", 4)
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return plain(re.search(r"(?ms)^## Key points$(.*?)(^## |\Z)", prose)[1])


def plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`]", "", text).split())


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.chapter}: {claim.sentence}")
def test_what_a_chapter_claims_holds_in_its_own_run(claim):
    assert claim.holds, f"{claim.values} is not {claim.band}"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.chapter}: {claim.sentence}")
def test_what_was_decided_stands_in_the_key_points(claim):
    assert plain(claim.sentence) in key_points(claim.chapter)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.chapter}: {claim.sentence}")
def test_a_claim_rests_on_three_seeds(claim):
    assert len(claim.values) >= 3


@pytest.mark.parametrize("chapter", sorted(path.parent.name for path in STORE.glob("*/run.json")))
def test_a_chapter_that_decides_claims_decides_them_all_in_this_run(chapter):
    source = (ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
    assert sum(claim.chapter == chapter for claim in CLAIMS) == source.count("card.claim(")

"""The README shows what the build measured. Runs after `book/build.py`, on its results store."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

import readme  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (readme.STORE / readme.CHAPTER / "run.json").exists(), reason="the quick profile was not built: run make book"
)


def cells(table):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.strip().splitlines()]


def test_the_table_has_the_rows_and_columns_of_the_store():
    shown, stored = (
        cells(table) for table in (readme.PLACE.search((ROOT / "README.md").read_text())[0], readme.table())
    )
    shown = [row for row in shown if len(row) > 1]
    assert shown[0] == stored[0]
    assert [row[0] for row in shown] == [row[0] for row in stored]


def test_the_table_has_the_numbers_of_the_store():
    # another processor rounds otherwise and trains a little differently: a stale table is off by more
    shown = [row for row in cells(readme.PLACE.search((ROOT / "README.md").read_text())[0]) if len(row) > 1]
    for ours, theirs in zip(shown[2:], cells(readme.table())[2:], strict=True):
        for one, other in zip(ours[1:], theirs[1:], strict=True):
            one, other = (float(text.split(" ")[0].strip("≤<").replace(",", "")) for text in (one, other))
            assert one == pytest.approx(other, abs=0.06)


def test_the_picture_is_there():
    assert readme.PICTURE.read_bytes().startswith(b"\x89PNG")

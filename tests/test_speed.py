"""The page about speed says what the record holds: numbers, verdicts, what was scaled, and when it was measured."""

import re
from pathlib import Path

import pytest
from bench import suites
from bench.record import record
from bs4 import BeautifulSoup

from helpers import results

ROOT = Path(__file__).resolve().parents[1]
MACHINE = {
    "device": "CPU, 2 cores",
    "processor": "one <of> ours",
    "cores": 2,
    "backend": "jax",
    "versions": {"R": "4.2"},
}
FIRST = MACHINE | {"date": "2026-01-02T03:04:05+00:00", "commit": "aaa"}
LATER = MACHINE | {"date": "2026-03-04T05:06:07+00:00", "commit": "bbb"}
LARGE = suites.LARGE


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Return a function that records runs and returns the page that shows them."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course_site.speed import speed_html

    def shown(*runs):
        for machine, rows in runs:
            found = {"machine": machine, "quick": False, "rounds": 3, "seconds": 61.7, "rows": rows}
            record(found, tmp_path)
        return BeautifulSoup(speed_html(results.load_timings(tmp_path)), "html.parser")

    return shown


def rows(case, seconds, *, amount=999, scaled=(), rough=(), suite=suites.PERMUTATIONS):
    """Return rows as the bench makes them: the suite's own measures of the given medians."""
    peers = {contender.name: contender.peer for contender in suite.contenders}
    found = [
        {"suite": suite.name, "case": case, "contender": name, "peer": peers[name], "amount": amount}
        | {"unit": suite.unit, "seconds": [median / 2, median, 4 * median], "median": median, "notes": {}}
        | {"scaled": name in scaled, "rough": name in rough, "counts": [1, 16] if name in scaled else [amount]}
        | {"peak_bytes": 3 * 2**20, "measures": {}}
        for name, median in seconds.items()
    ]
    suite.measure(case, found)
    return found


NUMBA = "scikit-bio permanova, numba"
SECONDS = {"ours, shifts": 0.5, "ours, independent": 2.0, suites.PERMANOVA: 500.0, NUMBA: 5.0}


def cells(soup, contender):
    return [cell.get_text() for cell in soup.find("th", string=re.compile(f"^{contender}")).parent.find_all("td")]


def test_an_empty_record_is_said_to_be_empty(page):
    assert page().get_text().strip() == "No timing has been recorded yet."


def test_the_tables_hold_the_numbers_of_the_record(page):
    soup = page((FIRST, rows(LARGE, SECONDS, scaled=[suites.PERMANOVA])))
    assert cells(soup, "ours, shifts")[:5] == ["0.5", "10", "3", "3", "all"]
    assert cells(soup, suites.PERMANOVA)[:5] == ["~ 500", "0.01", "3", "3", "16 of 999"]
    (fastest,) = [tag for tag in soup.select("th[scope=row]") if "the fastest peer" in tag.get_text()]
    assert fastest.get_text().startswith(NUMBA)
    assert "scaled from a run of fewer units" in soup.details.get_text()


def test_a_rough_guess_is_marked_and_enters_no_ratio(page):
    soup = page((FIRST, rows(LARGE, SECONDS, scaled=[suites.PERMANOVA], rough=[suites.PERMANOVA])))
    assert cells(soup, suites.PERMANOVA)[:2] == ["? 500", ""]
    assert suites.PERMANOVA + " " not in soup.figure.find("svg", role="img")["aria-label"]


def test_targets_are_met_missed_or_not_measured_in_so_many_words(page):
    found = rows(LARGE, SECONDS) + rows(LARGE, {"ours, shifts": 0.5, NUMBA: 250.0}, amount=9999, scaled=[NUMBA])
    told = [item.get_text() for item in page((FIRST, found)).ul.find_all("li")]
    assert told[:4] == [
        "Missed. ours, shifts (n 10,000 · classes 10 · 999 permutations): 10 times as fast as the fastest peer "
        f"({NUMBA}); the target is at least 40.",
        "Met. ours, shifts (n 10,000 · classes 10 · 9,999 permutations): 500 times as fast as the fastest peer "
        f"({NUMBA}, scaled from 16 permutations); the target is at least 400.",
        "Missed. ours, independent (n 10,000 · classes 10 · 999 permutations): 2.5 times as fast as the fastest peer "
        f"({NUMBA}); the target is at least 3.",
        "Not measured. ours, independent (n 10,000 · classes 10 · 9,999 permutations): the target is at least 3 times "
        "as fast as the fastest peer.",
    ]
    assert len(told) == len(suites.TARGETS)
    assert "2 of the 4 targets that were measured were met." in page().get_text()


def test_each_case_shows_the_run_that_it_is_from(page):
    small = suites.PERMUTATIONS.cases[0]
    old, new = [*rows(small, SECONDS), *rows(LARGE, SECONDS)], rows(LARGE, SECONDS | {"ours, shifts": 0.25})
    soup = page((FIRST, old), (LATER, new))
    heads = [head.get_text() for head in soup.select("th[scope=rowgroup]")]
    assert heads == [
        "n 1,000 · classes 4 · 999 permutations 2026-01-02, commit aaa",
        "n 10,000 · classes 10 · 999 permutations 2026-03-04, commit bbb",
    ]
    runs = soup.select_one(".course-versions").get_text()
    assert "2026-01-02 03:04 UTC, commit aaa: one <of> ours, 2 cores, back-end jax" in runs
    assert "2026-03-04 05:06 UTC" in runs
    assert "R 4.2" in runs


def test_who_was_absent_is_named_with_the_reason(page):
    gone = {"suite": "permutations", "case": LARGE, "contender": "vegan mrpp", "peer": True, "amount": 999}
    found = rows(LARGE, SECONDS)
    soup = page((FIRST, [*found, gone | {"unit": "permutations", "absent": "Rscript is not on the path"}]))
    assert "Absent: vegan mrpp (Rscript is not on the path)." in soup.get_text()


def drawn(soup):
    """Return what a picture shows: places and shapes of ours, places and shapes of the peers, and that of 1."""
    picture = soup.figure.find("svg", role="img")
    marks = {}
    for kind in ("ours", "peer"):
        found = [mark.svg for mark in picture.select(f".course-speed-{kind}")]
        marks[kind] = {float(mark["x"].rstrip("%")): str(mark.find(["circle", "rect", "path"])) for mark in found}
    return marks["ours"], marks["peer"], float(picture.select_one(".course-speed-one")["x1"].rstrip("%"))


def test_marks_stand_on_a_logarithmic_axis_and_are_told_apart_by_shape(page):
    ours, peers, one = drawn(page((FIRST, rows(LARGE, {"ours, shifts": 0.05, "ours, independent": 0.5, NUMBA: 5.0}))))
    shifts, independent = max(ours), min(ours)  # 100 and 10 times as fast
    assert shifts - independent == pytest.approx(independent - one, abs=0.02)
    assert list(peers) == [one]
    assert len({*ours.values(), *peers.values()}) == 3


@pytest.mark.parametrize(
    ("suite", "seconds", "faster"),
    [
        (suites.DISTANCES, {"ours": 1.0, "SciPy pdist": 8.0}, 1),
        (suites.EXTRACTION, {suites.BARE: 1.0, "a model for each stage": 8.0}, -1),
    ],
)
def test_bars_reach_from_the_slowest_to_the_fastest_round(suite, seconds, faster, page):
    picture = page((FIRST, rows(suite.cases[0], seconds, amount=1, suite=suite))).figure.find("svg", role="img")
    bar, mark = picture.select_one(".course-speed-ours line"), picture.select_one(".course-speed-ours svg")
    slow, fast, median = (float(place.rstrip("%")) for place in (bar["x1"], bar["x2"], mark["x"]))
    # rounds took half, once and four times the median
    assert faster * (median - slow) > 0
    assert slow - median == pytest.approx(2 * (median - fast), abs=0.05)


def test_a_long_table_is_folded_and_a_short_one_stands_open(page):
    few = page((FIRST, rows(LARGE, SECONDS)))
    many = page((FIRST, [row for case in suites.PERMUTATIONS.cases for row in rows(case, SECONDS)]))
    assert [soup.details.has_attr("open") for soup in (few, many)] == [True, False]

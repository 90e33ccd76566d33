"""The model card page: it shows what the records hold, and says what is missing."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from made_cards import STAGES, card, estimate

from helpers.pretraining.card import BASELINES, KINDS, MEASURES, RULE, verdict
from helpers.pretraining.images import FAMILIES, render

EXTENSIONS = Path(__file__).resolve().parents[1] / "book" / "_ext"
GAINS = [(0.1, 0.07), (-0.04, 0.01), (0.2, 0.15)]


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from course_site import model_card

    return model_card


def soup(page, *cards, networks=("tiny",)) -> BeautifulSoup:
    return BeautifulSoup(page.card_html({one.network: one for one in cards}, networks), "html.parser")


def text(found) -> str:
    return " ".join(found.get_text(" ").split())


def test_without_a_record_the_page_says_so(page):
    assert text(soup(page)) == "Nothing has been measured yet."


def test_the_rule_and_the_verdict_stand_on_the_page_word_for_word(page):
    found = card(GAINS)
    said = text(soup(page, found))
    assert RULE in said
    assert verdict(found) in said


def rows_of(table) -> dict[str, dict[str, list[str]]]:
    """Return the texts of a table's cells by its groups of rows and by its rows' heads."""
    return {
        text(body.select_one(".course-group span").contents[0]): {
            text(row.th): [text(cell) for cell in row.select("td")] for row in body.select("tr:not(.course-group)")
        }
        for body in table.select("tbody")
    }


def test_the_table_holds_every_number_of_the_record(page):
    found = card(GAINS, imagenet=True)
    (table,) = soup(page, found).select(".course-numbers")
    heads = [text(cell) for cell in table.select("thead th")]
    assert heads[1:] == [*KINDS.values(), "own less random", "own less measured random"]
    rows = rows_of(table)
    assert list(rows) == ["set 0", "set 1", "set 2"]
    assert {len(body) for body in rows.values()} == {len(MEASURES) * (1 + len(STAGES)) + 1}
    assert rows["set 0"]["stage 3, kNN"] == [
        "0.500 [0.480, 0.520]",
        "0.530 [0.510, 0.550]",
        "0.600 [0.580, 0.620]",
        "0.900 [0.880, 0.920]",
        "+0.100 [0.080, 0.120]",
        "+0.070 [0.050, 0.090]",
    ]
    assert rows["set 1"]["raw pixels, linear probe"][0] == "0.310 [0.290, 0.330]"
    means = rows["set 1"]["mean of all"]
    assert means[-2:] == ["−0.040 [−0.060, −0.020]", "+0.010 [−0.010, 0.030]"]
    spans = [[int(cell.get("colspan", 1)) for cell in row.select("th, td")] for row in table.select("tr")]
    assert {sum(one) for one in spans} == {len(heads)}


def test_the_card_says_what_the_weights_cost(page):
    facts = {text(row.th): text(row.td) for row in soup(page, card(GAINS)).select(".course-facts tr")}
    assert facts["Objective"] == "168 categories of formula-made images, supervised by formula"
    assert facts["Images seen"] == "432,100, of 14,112 that were rendered once"
    assert facts["Training"] == "59 minutes on CPU, 2 cores"
    assert facts["Size"] == "2.8 MiB as int8, 2,800,000 parameters"
    assert facts["Rounding"].startswith("changes the features by 1.23 % (stage 2), ")
    assert facts["Measured"].startswith("2026-11-22, in 83 seconds on CPU, 2 cores, commit 0123456789ab, 3 draws")


def test_a_training_card_that_lacks_something_leaves_its_row_out(page):
    found = replace(card(GAINS), weights={"bytes": 2**20, "dtype": "int8", "parameters": 1, "about": {}})
    heads = [text(row) for row in soup(page, found).select(".course-facts th")]
    assert heads == ["Size", "Stages", "Measured"]


def test_what_is_missing_is_said(page):
    found = replace(card(GAINS), missing={"imagenet": "ImageNet weights were not at hand.", "mnist": "No MNIST."})
    assert "ImageNet weights were not at hand. No MNIST." in text(soup(page, found))
    without = soup(page, card(GAINS, own=False), card(GAINS, network="other"), networks=("tiny", "other", "third"))
    assert "There are no weights of our own for tiny: it starts from random ones." in text(without)
    assert "No weights of our own were measured for tiny , third :" in text(without)
    assert [text(title) for title in without.select("h3")] == ["other", "tiny"]  # those with weights first
    assert len(without.select(".course-forest")) == 1
    assert "No weights of our own were measured" not in text(soup(page, card(GAINS)))


def place(percent: str) -> float:
    return float(percent.removesuffix("%"))


def test_the_picture_of_gains_puts_marks_and_bars_where_the_numbers_are(page):
    found = card(GAINS, overall=0.05)
    rows = soup(page, found).select(".course-forest li")
    assert [text(row.span) for row in rows] == ["set 0", "set 1", "set 2", "all sets"]
    wanted, drawn = [], []
    for row, gain in zip(rows, [*(one.gain for one in found.sets), found.gain], strict=True):
        for baseline, bar, mark in zip(BASELINES, row.select(".course-bar"), row.svg.select("svg"), strict=True):
            wanted += gain[baseline]
            drawn += [place(mark["x"]), place(bar["x1"]), place(bar["x2"])]
    zero = {place(line["x1"]) for line in soup(page, found).select(".course-zero")}
    slope, start = np.polyfit(wanted, drawn, 1)
    assert slope > 0
    assert np.allclose(start + slope * np.array(wanted), drawn, atol=0.02)
    assert list(zero) == [pytest.approx(start, abs=0.02)]
    assert min(drawn) >= 0
    assert max(drawn) <= 100
    assert rows[1].svg["aria-label"].startswith("against random weights −0.040 [−0.060, −0.020]; ")


def test_every_set_has_a_panel_for_each_measure_with_a_line_for_each_kind(page):
    found = card(GAINS, imagenet=True)
    panels = soup(page, found).select(".course-panels figure")
    assert len(panels) == len(found.sets) * len(MEASURES)
    for panel in panels:
        for kind in ("random", "measured", "self-made", "imagenet"):
            assert len(panel.select(f".course-{kind} .course-mark")) == len(STAGES)
    (first, *_) = panels
    assert text(first.strong) == "set 0"
    assert "400 images in 50 groups, 4 classes" in text(first)
    alt = first.svg["aria-label"]
    assert "random 0.50, 0.50, 0.50; measured random 0.53" in alt
    assert "raw pixels 0.31; the largest class 0.25" in alt


def heights(panel, kind: str) -> list[float]:
    return [
        float(re.search(r" ([\d.]+)\)", mark["transform"])[1]) for mark in panel.select(f".course-{kind} .course-mark")
    ]


def test_in_a_panel_higher_accuracy_stands_higher_and_bars_span_their_intervals(page):
    found = card([(0.1, 0.05)])
    scores = found.sets[0].scores
    scores["self_made"]["stage 3"] = {name: estimate(0.95, 0.05) for name in MEASURES}
    (panel, _) = soup(page, found).select(".course-panels figure")
    first, second, last = heights(panel, "self-made")
    assert second < first == last < heights(panel, "random")[0]
    bar = panel.select(".course-self-made .course-bar")[1]["d"]
    low, high = (float(number) for number in re.search(r" ([\d.]+)V([\d.]+)", bar).groups())
    assert (low + high) / 2 == pytest.approx(second, abs=0.1)
    assert (low - high) / (first - second) == pytest.approx(0.1 / 0.35, abs=0.01)


def test_kinds_differ_by_mark_and_by_dash_and_not_by_colour_alone(page):
    style = (EXTENSIONS.parent / "_static" / "model-card.css").read_text(encoding="utf-8")
    legend = soup(page, card(GAINS, imagenet=True)).select_one(".course-legend")
    looks = []
    for item in legend.select("li svg"):
        name = item["class"][0]
        dash = re.search(rf"\.{name} \.course-line\)? {{[^}}]*stroke-dasharray: ([\d ]+)", style)
        looks.append((dash and dash[1], str(item.g)))
    assert len(looks) == len(set(looks)) == len(KINDS) + 2


def test_names_are_escaped(page):
    found = card(GAINS, network="<b>")
    found = replace(found, sets=[replace(one, name="<i>", source="<u>") for one in found.sets])
    html = soup(page, found)
    assert not html.select("b, i, u")
    assert "<i>" in text(html.select_one(".course-forest"))


def test_the_sheet_of_formulas_shows_two_categories_of_each_family(page):
    found = page.formula_images(of_each=2, size=32)
    assert len(found.class_names) == len(FAMILIES) == 7
    assert np.array_equal(np.bincount(found.labels), [4] * 7)
    from helpers.pretraining.images import categories

    ninth = render(categories(9)[8], 2, 32, np.random.default_rng([0, 8]))
    glyphs = found.images[found.labels == list(found.class_names).index("glyphs")]
    assert np.array_equal(glyphs[2:], ninth)

"""The comparison page: the table, the rank picture, and what the sentences claim."""

from __future__ import annotations

import itertools
import math
import re
import statistics
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from helpers import comparison, scorecard
from helpers.results import Claim, Record

RANKED = [key for key, measure in scorecard.MEASURES.items() if measure.better and key not in ("p_value", "goodness")]


def record(method, value=0.5, step=0.01, seeds=3, kind="method", data="digits", chapter="one-chapter", **changed):
    """A row whose measures all lie `step` apart around `value`."""
    values = [value + step * (seed - (seeds - 1) / 2) for seed in range(seeds)]
    measures = {key: list(values) for key in scorecard.MEASURES} | changed.pop("measures", {})
    about = {"row": 0, "profile": "quick", "seconds": 2.5, "parameters": 1234, "images": {"train": 10, "test": 10**12}}
    fields = {"dimensions": 8, "class_names": ["a", "b"], "about": about} | changed
    return Record(chapter, method, kind, data, seeds=list(range(seeds)), measures=measures, **fields)


def store():
    return [
        record("raw pixels", 0.30, kind="baseline"),
        record("untrained network", 0.42, kind="baseline"),
        record("autoencoder", 0.415, 0.02),
        record("contrastive", 0.70),
        record("contrastive, long", 0.705),
        record("supervised", 0.95, kind="supervised"),
        record("raw pixels", 0.20, kind="baseline", data="shifted digits", chapter="other-chapter"),
        record("contrastive", 0.60, data="shifted digits", chapter="other-chapter"),
    ]


def on_images(digest, *args, **options):
    row = record(*args, **options)
    row.about["images"] = row.about["images"] | {"digest": digest}
    return row


def page(records):
    return BeautifulSoup(comparison.comparison_html(records), "html.parser")


def sentences(records, data="digits"):
    """Return the text between the heading of a data set and the next heading."""
    heading = page(records).find("h2", id=f"comparison-{data.replace(' ', '-')}")
    parts = itertools.takewhile(lambda tag: tag.name != "h2", heading.find_next_siblings())
    return " ".join(" ".join(part.get_text().split()) for part in parts)


def table_rows(records):
    """Return each row of the table as a dict from column title to cell."""
    table = page(records).table
    titles = [head.get_text() for head in table.thead.find_all("th")]
    lines = table.select("tbody tr:not(.course-group)")
    return [dict(zip(titles, line.find_all(["th", "td"]), strict=True)) for line in lines]


def noise(one, other, key):
    """The standard error of the difference of two means, from the sums of squares rather than from deviations."""
    groups = [one.measures[key], other.measures[key]]
    squares = sum((value - statistics.fmean(values)) ** 2 for values in groups for value in values)
    freedom = sum(len(values) - 1 for values in groups)
    return math.sqrt(sum(squares / freedom / len(values) for values in groups)) if freedom else 0.0


# ---- the store


@pytest.mark.parametrize("make", [comparison.comparison_html, comparison.comparison_markdown])
def test_an_empty_store_is_told_in_one_sentence(make):
    with pytest.raises(ValueError, match=r"^The results store is empty: run `make book`[^.]*\.$"):
        make([])


def test_reading_the_store_imports_neither_keras_nor_a_browser_library():
    code = "import sys, helpers.gallery, helpers.comparison; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"keras", "tensorflow", "jax", "torch", "umap", "bokeh"} & set(loaded)


# ---- the table


def test_each_row_stands_once_in_its_group():
    table = page(store()).table
    groups = {
        body.select_one(".course-group").get_text().strip(): [
            line.th.get_text() for line in body.select("tr:not(.course-group)")
        ]
        for body in table.find_all("tbody")
    }
    assert groups == {
        "digits": [row.method for row in store() if row.data == "digits"],
        "shifted digits": [row.method for row in store() if row.data == "shifted digits"],
    }


def test_the_table_is_a_plain_accessible_one_without_script():
    table = page(store()).table
    assert table.caption.get_text().strip()
    assert {head["scope"] for head in table.thead.find_all("th")} == {"col"}
    assert {head["scope"] for head in table.tbody.find_all("th")} == {"row", "rowgroup"}
    assert not table.find_all("button")
    region = table.parent
    assert (region["role"], region["tabindex"]) == ("region", "0")
    assert region["aria-label"]


def test_entries_are_means_and_standard_deviations_over_the_seeds():
    row = record("a", measures={"knn": [0.5, 0.55, 0.63]})
    entry = table_rows([row])[0][scorecard.MEASURES["knn"].title]
    mean, spread = map(float, re.findall(r"[\d.]+", entry.get_text()))
    assert mean == pytest.approx(statistics.fmean([0.5, 0.55, 0.63]), abs=5e-4)
    assert spread == pytest.approx(statistics.stdev([0.5, 0.55, 0.63]), abs=5e-4)
    assert float(entry["data-value"]) == pytest.approx(0.56)


def test_the_p_value_is_the_largest_of_any_seed():
    row = record("a", measures={"p_value": [0.001, 0.07, 0.02]})
    entry = table_rows([row])[0][scorecard.MEASURES["p_value"].title]
    assert float(entry.get_text()) == float(entry["data-value"]) == 0.07


def test_entries_agree_with_the_scorecard_of_the_chapters():
    row = record("a", 12.3456, measures={"knn": [0.123, 0.2], "p_value": [0.001, 0.0124], "silhouette": [-0.25, -0.5]})
    heading, entries = scorecard.table_rows([row])
    titles = {measure.title: key for key, measure in scorecard.MEASURES.items()}
    of_chapter = {titles[title]: entry for title, entry in zip(heading, entries, strict=True) if title in titles}
    assert {key: scorecard.written(row, key) for key in of_chapter} == of_chapter


def test_a_measure_that_a_row_lacks_is_a_dash():
    row = record("a")
    del row.measures["nmi"]
    entry = table_rows([row, record("b")])[0][scorecard.MEASURES["nmi"].title]
    assert entry.get_text() == "–"
    assert "data-value" not in entry.attrs


def test_dimensions_parameters_and_seconds_are_shown():
    rows = table_rows([record("a", dimensions=2048), record("b", about={})])
    assert [rows[0][title].get_text() for title in ("Dimensions", "Parameters", "Seconds")] == ["2,048", "1,234", "2.5"]
    assert [rows[1][title].get_text() for title in ("Parameters", "Seconds")] == ["–", "–"]


def test_stars_mark_the_best_and_what_lies_within_its_noise():
    for measure in scorecard.MEASURES:
        starred = set()
        for row, line in zip(store(), table_rows(store()), strict=True):
            if "★" in line[scorecard.MEASURES[measure].title].get_text():
                starred.add((row.data, row.method))
        expected = set()
        for data in ("digits", "shifted digits"):
            rows = [row for row in store() if row.data == data and row.kind != "supervised"]
            top = max(rows, key=lambda row: statistics.fmean(row.measures[measure]))
            for row in rows:
                distance = statistics.fmean(top.measures[measure]) - statistics.fmean(row.measures[measure])
                if measure in RANKED and distance <= noise(top, row, measure):
                    expected.add((data, row.method))
        assert starred == expected


def test_names_cannot_break_out_of_the_page():
    html = comparison.comparison_html(
        [record("<script>alert(1)</script> & co", data="a < b"), record("c", data="a < b")]
    )
    assert "<script" not in html
    assert "<script>alert(1)</script> & co" in BeautifulSoup(html, "html.parser").table.get_text()


def test_nothing_comes_from_elsewhere():
    assert not re.search(r"(?:https?:)?//", comparison.comparison_html(store()))


def test_every_measure_is_explained():
    entries = page(store()).find("dl", class_="course-measures")
    texts = dict(zip(*([tag.get_text() for tag in entries.find_all(name)] for name in ("dt", "dd")), strict=True))
    assert texts.keys() == {measure.title for measure in scorecard.MEASURES.values()}
    assert all(measure.explanation in texts[measure.title] for measure in scorecard.MEASURES.values())


# ---- noise

spreads = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(spreads, spreads)
def test_noise_is_the_standard_error_of_the_difference_of_the_means(one, other):
    rows = [record("a", measures={"knn": one}), record("b", measures={"knn": other})]
    distance, width = abs(statistics.fmean(one) - statistics.fmean(other)), noise(*rows, "knn")
    if not math.isclose(distance, width, rel_tol=1e-6, abs_tol=1e-9):
        assert comparison.within_noise(*rows, "knn") == (distance < width)


def test_the_draw_of_the_test_images_is_noise_too_for_accuracies():
    # a hundred images at 0.5: each accuracy has the standard deviation 0.05, their difference 0.0707
    about = {"images": {"train": 300, "test": 100}}
    best, near, far = (
        record(name, measures={"knn": [k, k], "nmi": [k, k]}) for name, k in (("a", 0.5), ("b", 0.44), ("c", 0.42))
    )
    for row in (best, near, far):
        row.about.update(about)
    assert comparison.within_noise(best, near, "knn")
    assert not comparison.within_noise(best, far, "knn")
    assert not comparison.within_noise(best, near, "nmi")


def test_a_row_is_held_against_the_untrained_network_of_its_width():
    rows = [
        record(name, knn, kind=kind)
        for name, knn, kind in (
            ("untrained, 784", 0.6, "baseline"),
            ("untrained, 128", 0.4, "baseline"),
            ("method", 0.5, "method"),
        )
    ]
    for row, dimensions in zip(rows, (784, 128, 100), strict=True):
        object.__setattr__(row, "dimensions", dimensions)
    assert "kNN (" not in (re.search(r"already explains.*", sentences(rows)) or [""])[0].split("Better")[0]
    object.__setattr__(rows[2], "dimensions", 700)
    assert "method: kNN (0.500 against 0.600)" in sentences(rows)


# ---- the sentences


def test_the_best_row_of_each_measure_is_named_and_supervised_rows_are_not():
    rows = [
        record("first", 0.9, measures={"nmi": [0.1, 0.1, 0.1]}),
        record("second", 0.5),
        record("teacher", 0.99, kind="supervised"),
    ]
    text = sentences(rows)
    first, second = re.search(r"no labels, first is best by (.+?)\. second is best by (.+?)\.(?= |$)", text).groups()
    titles = {key: scorecard.MEASURES[key].title for key in RANKED}
    assert "NMI (0.500 ± 0.010)" in second
    assert {key for key in RANKED if f"{titles[key]} (" in first} == set(RANKED) - {"nmi"}
    assert "With labels, teacher reaches kNN 0.990 ± 0.010" in text


@pytest.mark.parametrize(("distance", "tied"), [(0.007, True), (0.009, False)])
def test_rows_within_the_noise_of_the_best_are_named(distance, tied):
    text = sentences([record("best", 0.7, 0.01), record("near", 0.7 - distance, 0.01)])
    assert ("not shown to be worse" in text and "kNN: near (" in text) is tied
    assert ("no other row comes within the noise" in text) is not tied


def test_one_seed_leaves_the_noise_unknown():
    text = sentences([record("best", 0.7, seeds=1), record("near", 0.6999, seeds=1)])
    assert "how large the noise is, is not known: the seeds show none" in text
    assert "not shown to be worse" not in text


def test_rows_that_an_untrained_network_explains_are_named_with_both_numbers():
    text = sentences(store())
    explained = re.search(r"untrained network already explains.*?Better than", text).group()
    assert "autoencoder: kNN (0.415 against 0.420)" in explained
    assert "contrastive" not in explained
    assert "Better than the untrained network by every measure are contrastive and contrastive, long." in text


def test_a_row_is_held_against_the_untrained_network_of_its_own_chapter():
    rows = [
        record("untrained network", 0.8, kind="baseline", chapter="other-chapter"),
        record("untrained network", 0.3, kind="baseline"),
        record("autoencoder", 0.5),
    ]
    assert "Better than the untrained network by every measure is autoencoder." in sentences(rows)
    assert "autoencoder: kNN (0.500 against 0.800)" in sentences([rows[0], rows[2]])


def test_without_an_untrained_network_nothing_is_claimed():
    assert "what training adds cannot be told" in sentences([record("autoencoder", 0.5), record("other", 0.2)])


def test_the_same_baseline_in_two_chapters_is_ranked_once():
    rows = [record("raw pixels", kind="baseline", chapter=chapter) for chapter in ("one", "two")]
    rows.append(record("autoencoder", 0.8))
    assert len(page(rows).select(".course-rank li")) == 2
    assert len(table_rows(rows)) == 3


# ---- the rank picture


def test_the_ranks_follow_knn_and_each_line_tells_its_numbers():
    lines = page(store()).select(".course-rank")[0].find_all("li")
    expected = sorted((row for row in store() if row.data == "digits"), key=lambda row: -row.mean("knn"))
    assert [line.strong.get_text() for line in lines] == [row.method for row in expected]
    for line, row in zip(lines, expected, strict=True):
        assert line.svg["role"] == "img"
        assert line.svg["aria-label"] == (
            f"kNN {scorecard.written(row, 'knn')}, linear probe {scorecard.written(row, 'linear_probe')}"
        )


def test_marks_stand_in_proportion_to_the_accuracies():
    picture = page(store()).select(".course-rank")[0]
    places = [float(mark["cx"].rstrip("%")) for mark in picture.select("circle")]
    values = sorted((row.mean("knn") for row in store() if row.data == "digits"), reverse=True)
    slopes = [
        (a - b) / (x - y) for (a, b), (x, y) in zip(itertools.pairwise(places), itertools.pairwise(values), strict=True)
    ]
    assert slopes == pytest.approx([slopes[0]] * len(slopes), rel=0.02)
    ticks = {float(tick.get_text()): float(tick["x"].rstrip("%")) for tick in picture.select(".course-rank-axis text")}
    assert (ticks[1.0] - places[0]) / (1.0 - values[0]) == pytest.approx(slopes[0], rel=0.02)


# ---- Markdown


def markdown(records, chapter=None):
    lines = comparison.comparison_markdown(records, chapter).splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_markdown_table_holds_the_main_measures():
    heading, rule, *rows = markdown(store(), "one-chapter")
    assert heading == ["method", "dimensions", "kNN", "linear probe", "k-means accuracy", "NMI", "goodness p-value"]
    assert [set(cell) <= {"-", ":"} for cell in rule] == [True] * len(heading)
    expected = [row for row in store() if row.chapter == "one-chapter"]
    assert [row[0] for row in rows] == [row.method for row in expected]
    assert rows[3][1:3] == ["8", "0.700 ± 0.010"]


def test_the_markdown_table_tells_data_and_chapter_only_where_they_differ():
    assert markdown(store())[0][:3] == ["data", "chapter", "method"]
    same_data = [record("a", chapter="one"), record("b", chapter="two")]
    assert markdown(same_data)[0][:2] == ["chapter", "method"]


def test_a_bar_in_a_name_stays_in_its_cell():
    assert markdown([record("a | b")])[2][0] == r"a \| b"


def test_an_unknown_chapter_is_refused_and_the_known_ones_named():
    with pytest.raises(
        ValueError, match=r"no record of the chapter 'nonsense' \(there are: one-chapter, other-chapter\)"
    ):
        comparison.comparison_markdown(store(), "nonsense")


def test_rows_scored_on_other_images_of_the_same_set_are_not_compared():
    rows = [
        on_images("a", "raw pixels", 0.9, kind="baseline", chapter="one-chapter"),
        on_images("b", "raw pixels", 0.3, kind="baseline", chapter="other-chapter"),
        on_images("b", "contrastive", 0.6, chapter="other-chapter"),
    ]
    headings = [heading.get_text() for heading in page(rows).find_all("h2")]
    assert headings[:2] == ["On digits (One chapter)", "On digits (Other chapter)"]
    assert "contrastive is best" in sentences(rows, "digits other chapter")


def test_rows_of_several_chapters_on_the_same_images_are_compared():
    rows = [
        on_images("a", "raw pixels", 0.9, kind="baseline", chapter="one-chapter"),
        on_images("a", "contrastive", 0.6, chapter="other-chapter"),
    ]
    assert [heading.get_text() for heading in page(rows).find_all("h2")][:1] == ["On digits"]


def test_claims_show_their_values_their_band_and_whether_they_hold():
    claims = [
        Claim("one-chapter", "digits", "A < B, always.", [0.1234, 0.2], least=0.1),
        Claim("other-chapter", "digits", "B is nearly C.", [0.3, 0.01], least=-0.1, most=0.1),
    ]
    shown = BeautifulSoup(comparison.claims_html(claims), "html.parser")
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in shown.select("tbody tr")]
    assert rows == [
        ["A < B, always.", "One chapter", "0.123, 0.2", "at least 0.1", "yes"],
        ["B is nearly C.", "Other chapter", "0.3, 0.01", "at least -0.1 and at most 0.1", "no"],
    ]
    assert [tag["href"] for tag in shown.select("a")] == [
        "../notebooks/one-chapter.html",
        "../notebooks/other-chapter.html",
    ]

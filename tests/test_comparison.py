"""The comparison page: what counts as a clear difference, the ranks, the tables, and what the sentences claim."""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
import sys

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers import comparison, scorecard
from helpers.results import Claim, Curve, Record

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


def all_rows(records):
    return page(records).select_one("table.course-sortable")


def sentences(records, data="digits"):
    """Return the text between the heading of a data set and the next heading."""
    heading = page(records).find("h2", id=f"comparison-{data.replace(' ', '-')}")
    parts = itertools.takewhile(lambda tag: tag.name != "h2", heading.find_next_siblings())
    return " ".join(" ".join(part.get_text().split()) for part in parts)


def table_rows(records):
    """Return each row of the table as a dict from column title to cell."""
    table = all_rows(records)
    titles = [head.get_text() for head in table.thead.find_all("th")]
    lines = table.select("tbody tr:not(.course-group)")
    return [dict(zip(titles, line.find_all(["th", "td"]), strict=True)) for line in lines]


def told_apart(one, other, key, comparisons):
    """Whether SciPy's t test tells two rows' means apart, by a measure of which only the seeds are known."""
    groups = [one.measures[key], other.measures[key]]
    summary = [(statistics.fmean(g), statistics.stdev(g) if len(g) > 1 else 0.0, len(g)) for g in groups]
    return stats.ttest_ind_from_stats(*summary[0], *summary[1]).pvalue < 0.05 / comparisons


def gains(records, data="digits"):
    """Return the cells of the table of what training adds, by method and measure."""
    heading = page(records).find("h2", id=f"comparison-{data}")
    table = heading.find_next("table", class_="course-gains")
    titles = [head.get_text() for head in table.thead.find_all("th")][1:]
    return {
        line.th.get_text(): dict(zip(titles, [cell.get_text() for cell in line.find_all("td")], strict=True))
        for line in table.tbody.find_all("tr")
    }


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
    table = all_rows(store())
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
    table = all_rows(store())
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


def test_stars_mark_what_no_other_row_clearly_beats():
    starred = {measure: set() for measure in scorecard.MEASURES}
    for row, line in zip(store(), table_rows(store()), strict=True):
        for measure in scorecard.MEASURES:
            if "★" in line[scorecard.MEASURES[measure].title].get_text():
                starred[measure].add((row.data, row.method))
    best = {("digits", "contrastive"), ("digits", "contrastive, long"), ("shifted digits", "contrastive")}
    assert starred == {measure: best if measure in RANKED else set() for measure in scorecard.MEASURES}


def test_names_cannot_break_out_of_the_page():
    html = comparison.comparison_html(
        [record("<script>alert(1)</script> & co", data="a < b"), record("c", data="a < b")]
    )
    assert "<script" not in html
    assert "<script>alert(1)</script> & co" in BeautifulSoup(html, "html.parser").get_text()


def test_nothing_is_loaded_from_elsewhere():
    assert not page(store()).select("[src], link, style, script, [style*=url]")
    assert {tag["href"] for tag in page(store()).select("a[href*='//']")} == {"https://doi.org/10.1093/restud/rdad006"}


def test_every_measure_is_explained():
    entries = page(store()).find("dl", class_="course-measures")
    texts = dict(zip(*([tag.get_text() for tag in entries.find_all(name)] for name in ("dt", "dd")), strict=True))
    assert texts.keys() == {measure.title for measure in scorecard.MEASURES.values()}
    assert all(measure.explanation in texts[measure.title] for measure in scorecard.MEASURES.values())


# ---- clear differences

spreads = st.lists(st.floats(0, 1).map(lambda value: round(value, 3)), min_size=1, max_size=5)


@given(spreads, spreads, st.integers(1, 40))
def test_a_clear_lead_is_what_a_t_test_with_bonferronis_correction_finds(one, other, comparisons):
    rows = [record("a", measures={"nmi": one}), record("b", measures={"nmi": other})]
    if len(one) + len(other) == 2 or not np.ptp(one) + np.ptp(other):
        assert not comparison.clear_lead(*rows, "nmi", comparisons)  # nothing is known of the noise
    else:
        higher = statistics.fmean(one) > statistics.fmean(other)
        assert comparison.clear_lead(*rows, "nmi", comparisons) == (higher and told_apart(*rows, "nmi", comparisons))


def test_the_draw_of_the_test_images_is_noise_too_for_accuracies():
    # of a hundred images at 0.5 the difference of two accuracies has the standard deviation 0.0707, times 1.96: 0.139
    about = {"images": {"train": 300, "test": 100}}
    best, near, far = (
        record(name, about=about, measures={"knn": [k, k], "nmi": [k, k - 1e-9]})
        for name, k in (("a", 0.57), ("b", 0.44), ("c", 0.42))
    )
    assert not comparison.clear_lead(best, near, "knn")
    assert comparison.clear_lead(best, far, "knn")
    assert not comparison.clear_lead(best, far, "knn", comparisons=2)
    assert comparison.clear_lead(best, near, "nmi")


def simulated(random, truth, spread=0.02, seeds=3, images=540):
    """Rows whose accuracies scatter over draws of the images, which all seeds share, and over the seeds."""
    rows = []
    for number, mean in enumerate(truth):
        drawn = random.binomial(images, mean) / images
        values = drawn + spread * random.standard_normal(seeds)
        rows.append(record(f"row {number}", measures={"knn": list(values)}, about={"images": {"test": images}}))
    return rows


@pytest.mark.parametrize("comparisons", [1, 5])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.06])
def test_equal_rows_are_told_apart_no_more_often_than_promised(spread, comparisons):
    random = np.random.default_rng(0)
    runs = [simulated(random, [0.7, 0.7], spread) for _ in range(1500)]
    told = sum(any(comparison.clear_lead(*pair, "knn", comparisons) for pair in (run, run[::-1])) for run in runs)
    assert 0 < told <= stats.binom.ppf(0.999, len(runs), 0.05 / comparisons)


def test_the_ranks_hold_the_true_rank():
    random, truth = np.random.default_rng(0), [0.8, 0.7, 0.65, 0.5, 0.45, 0.2]
    missed, widths = 0, []
    for _ in range(300):
        for standing in comparison.standings(simulated(random, truth), "knn"):
            true = 1 + int(standing.record.method.removeprefix("row "))
            missed += not standing.first <= true <= standing.last
            widths.append(standing.last - standing.first)
    assert missed <= 0.05 * len(widths)
    assert 0 < np.mean(widths) < 2.5  # all but the nearest neighbours are told apart


def test_ranks_count_the_rows_that_are_clearly_better_and_clearly_worse():
    rows = [record(name, value) for name, value in (("c", 0.5), ("a", 0.9), ("b", 0.89), ("d", 0.1))]
    found = [(each.record.method, each.first, each.last) for each in comparison.standings(rows, "nmi")]
    assert found == [("a", 1, 2), ("b", 1, 2), ("c", 3, 3), ("d", 4, 4)]


def test_rows_with_labels_are_not_ranked_and_rows_of_one_seed_by_accuracies_only():
    rows = [record("a", 0.5), record("one seed", 0.4, seeds=1), record("teacher", 0.9, kind="supervised")]
    assert [each.record.method for each in comparison.standings(rows, "knn")] == ["a", "one seed"]
    assert [each.record.method for each in comparison.standings(rows, "nmi")] == ["a"]


# ---- the sentences


def test_the_leader_of_each_measure_is_named_and_supervised_rows_are_not():
    rows = [
        record("first", 0.9, measures={"nmi": [0.1, 0.1, 0.1]}),
        record("second", 0.5),
        record("teacher", 0.99, kind="supervised"),
    ]
    text = sentences(rows)
    leaders = dict(re.findall(r"By ([\w -]+), (first|second) leads with", text))
    assert leaders == {scorecard.MEASURES[key].title: "second" if key == "nmi" else "first" for key in RANKED}
    assert "By NMI, second leads with 0.500 ± 0.010, and no other row may be first." in text
    assert "With labels, teacher reaches kNN 0.990 ± 0.010" in text


def test_a_baseline_that_leads_is_called_one():
    assert "By kNN, raw pixels (a baseline) leads with" in sentences(
        [record("raw pixels", 0.9, kind="baseline"), record("method", 0.5)]
    )


def test_rows_that_may_be_first_as_well_are_named():
    rows = [record("best", 0.7), record("near", 0.69), record("far", 0.2)]
    assert "By kNN, best leads with 0.700 ± 0.010; near (0.690 ± 0.010) may be first as well." in sentences(rows)


def test_where_nothing_is_told_apart_no_row_is_named_as_a_rival():
    rows = [record("best", 0.7), record("near", 0.69)]
    assert "best leads with 0.700 ± 0.010, but any of the 2 rows may be first." in sentences(rows)


def test_a_long_list_of_rivals_is_cut():
    rows = [record(f"rival {number}", 0.7 - number / 1000) for number in range(12)] + [record("far", 0.1)]
    knn = sentences(rows).split("By linear probe")[0]
    assert "rival 6 (" in knn
    assert "rival 7 (" not in knn
    assert "and 5 more rows may be first as well" in knn


def test_the_overview_names_the_leaders_of_each_set_and_how_many_rivals_they_have():
    table = page(store()).select_one("table.course-overview")
    lines = {line.th.a.get_text(): line for line in table.tbody.find_all("tr")}
    assert [cell.get_text(" ") for cell in lines["digits"].find_all("td")] == [
        "contrastive, long  0.705 or 1 other"
    ] * len(RANKED)
    assert [cell.get_text(" ") for cell in lines["shifted digits"].find_all("td")] == [
        "contrastive  0.600 clearly first"
    ] * len(RANKED)
    targets = {tag["href"].removeprefix("#") for tag in table.find_all("a")}
    assert targets <= {tag["id"] for tag in page(store()).find_all("h2")}


# ---- what training adds


def test_what_training_adds_is_the_difference_to_the_untrained_network():
    found = gains(store())
    assert found.keys() == {"autoencoder", "contrastive", "contrastive, long"}
    titles = [scorecard.MEASURES[key].title for key in RANKED]
    assert found["autoencoder"] == dict.fromkeys(titles, "−0.005")
    assert found["contrastive"] == dict.fromkeys(titles, "▲clearly better +0.280")
    assert "Clearly better than their untrained network are 2 of 3 by kNN, 2 of 3 by linear probe" in sentences(store())


def test_a_network_that_training_made_worse_is_marked():
    rows = [record("untrained network", 0.8, kind="baseline"), record("collapsed", 0.1)]
    assert gains(rows)["collapsed"]["kNN"] == "▼clearly worse −0.700"


def test_a_row_is_held_against_the_untrained_network_of_its_own_chapter():
    rows = [
        record("untrained network", 0.8, kind="baseline", chapter="other-chapter"),
        record("untrained network", 0.3, kind="baseline"),
        record("autoencoder", 0.5),
    ]
    assert gains(rows)["autoencoder"]["kNN"].endswith("+0.200")
    assert gains([rows[0], rows[2]])["autoencoder"]["kNN"].endswith("−0.300")


@pytest.mark.parametrize(("width", "difference"), [(100, "+0.100"), (700, "−0.100")])
def test_a_row_is_held_against_the_untrained_network_of_its_width(width, difference):
    rows = [
        record("untrained, 784", 0.6, kind="baseline", dimensions=784),
        record("untrained, 128", 0.4, kind="baseline", dimensions=128),
        record("method", 0.5, dimensions=width),
    ]
    assert gains(rows)["method"]["kNN"].endswith(difference)


def test_a_row_is_held_against_the_untrained_network_of_its_size():
    sizes = {"untrained network": 100, "untrained Conv3D": 900, "frames": 900}
    rows = [
        record(name, value, kind="method" if name == "frames" else "baseline", about={"parameters": sizes[name]})
        for name, value in (("untrained network", 0.6), ("untrained Conv3D", 0.4), ("frames", 0.5))
    ]
    assert gains(rows)["frames"]["kNN"].endswith("+0.100")


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
    places = [line.select_one(".course-rank-place [aria-hidden]") for line in lines]
    assert [place and place.get_text() for place in places] == [None, "1–2", "1–2", "3–4", "3–4", "5"]
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
    assert headings[1:3] == ["On digits (Other chapter)", "On digits (One chapter)"]  # what was trained comes first
    assert "contrastive leads" in sentences(rows, "digits other chapter")


def test_every_table_that_scrolls_has_a_name_of_its_own():
    rows = [
        on_images(digest, *what, kind=kind, chapter=chapter)
        for digest, chapter in (("a", "one-chapter"), ("b", "other-chapter"))
        for *what, kind in (("untrained network", 0.3, "baseline"), ("contrastive", 0.6, "method"))
    ]
    names = [region["aria-label"] for region in page(rows).select("[role=region]")]
    assert len(names) > 2
    assert len(set(names)) == len(names)


def test_rows_of_one_chapter_on_two_draws_of_images_all_stand_in_the_comparison():
    rows = [on_images("new", name, 0.6) for name in ("raw pixels", "contrastive")]
    rows += [on_images("old", name, 0.3) for name in ("raw pixels", "of yesterday")]
    table = comparison.comparison_markdown(rows)
    assert all(name in table for name in ("contrastive", "of yesterday"))
    assert table.count("raw pixels") >= 2


def test_rows_of_several_chapters_on_the_same_images_are_compared():
    rows = [
        on_images("a", "raw pixels", 0.9, kind="baseline", chapter="one-chapter"),
        on_images("a", "contrastive", 0.6, chapter="other-chapter"),
    ]
    assert [heading.get_text() for heading in page(rows).find_all("h2")][1:2] == ["On digits"]


def test_claims_show_their_values_their_band_and_whether_they_hold():
    claims = [
        Claim("one-chapter", "digits", "A < B, always.", [0.1234, 0.2], least=0.1),
        Claim("other-chapter", "digits", "B is nearly C.", [0.3, 0.01], least=-0.1, most=0.1),
    ]
    shown = BeautifulSoup(comparison.claims_html(claims), "html.parser")
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in shown.select("tbody tr")]
    assert rows == [
        ["A < B, always.", "One chapter", "0.123, 0.2", "at least 0.1", "yes"],
        ["B is nearly C.", "Other chapter", "0.3, 0.01", "at least \N{MINUS SIGN}0.1 and at most 0.1", "no"],
    ]
    assert [tag["href"] for tag in shown.select("a")] == [
        "../notebooks/one-chapter.html",
        "../notebooks/other-chapter.html",
    ]


# ---- curves over the share of labels


def curve(features, accuracy, method="propagation"):
    return Curve("few-labels", "digits", features, method, [1, 10], accuracy)


def starred(curves):
    """Return the features that are starred at each number of labels."""
    lines = BeautifulSoup(comparison.curves_html(curves), "html.parser").select("tbody tr")
    cells = [(line.th.get_text().strip(), [cell.get_text() for cell in line.find_all("td")]) for line in lines]
    return [{name for name, row in cells if "★" in row[place]} for place in range(2)]


def test_curves_are_compared_draw_by_draw():
    # the draws differ by far more than the features, but in every draw the second kind is better by a little
    draws = np.random.default_rng(0).uniform(0.2, 0.8, 12)
    little = 0.02 + np.random.default_rng(1).normal(0, 0.004, 12)
    curves = [
        curve("pixels", [list(draws), list(draws)]),
        curve("code", [list(draws + little), list(draws + little - little.mean())]),
    ]
    assert stats.ttest_rel(draws + little, draws).pvalue < 0.05 < stats.ttest_ind(draws + little, draws).pvalue
    assert starred(curves) == [{"code"}, {"pixels", "code"}]


def test_one_draw_of_the_labels_tells_nothing_apart():
    assert starred([curve("pixels", [[0.1], [0.2]]), curve("code", [[0.9], [0.9]])]) == [{"pixels", "code"}] * 2


def test_each_method_has_a_picture_and_a_table_of_its_curves():
    accuracy = [[0.2, 0.4], [0.7, 0.9]]
    curves = [curve(name, accuracy, method) for method in ("kNN", "propagation") for name in ("pixels", "<b>code")]
    shown = BeautifulSoup(comparison.curves_html(curves), "html.parser")
    assert [heading.get_text() for heading in shown.find_all("h3")] == ["kNN", "Propagation"]
    first = shown.table.tbody.tr
    assert [cell.get_text().lstrip("★\u00a0") for cell in first.find_all("td")] == ["0.300 ± 0.141", "0.800 ± 0.141"]
    assert [head.get_text() for head in shown.table.thead.find_all("th")] == ["Features", "1", "10"]
    assert len(shown.select("svg[role=img] path[class^=course-curve-]")) == len(curves)
    assert all(picture["aria-label"] for picture in shown.select("svg[role=img]"))
    assert not shown.find("b")


def test_higher_accuracies_are_drawn_higher():
    shown = BeautifulSoup(comparison.curves_html([curve("pixels", [[0.2], [0.9]])]), "html.parser")
    (_, first), (_, last) = re.findall(r"([\d.]+) ([\d.]+)", shown.select_one("svg[role=img] .course-curve-0")["d"])
    heights = {float(t.get_text()): float(t["y"]) - 4 for t in shown.select("svg text[text-anchor=end]")}
    assert float(first) == pytest.approx(heights[0.2], abs=0.1)
    assert float(last) == pytest.approx(heights[0.9], abs=0.1)


def test_the_comparison_shows_curves_only_where_a_chapter_stored_some():
    assert "With few labels" not in comparison.comparison_html(store())
    assert "With few labels" in comparison.comparison_html(store(), [curve("pixels", [[0.1], [0.2]])])

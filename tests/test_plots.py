import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from helpers import embedding, plots, separability
from helpers.results import Record

mpl.use("agg")


@pytest.fixture(autouse=True)
def _course_style():
    with plt.style.context("helpers.course"):
        yield
    plt.close("all")


def contrast(one, other):
    """Contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(colour):
        channels = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    bright, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_ten_classes_differ_in_colour_and_in_shape():
    assert len(set(plots.PALETTE)) == len(set(plots.MARKERS)) == 10


def test_every_colour_stands_out_from_the_paper():
    # the contrast that WCAG 2.2 asks of graphics
    assert min(contrast(colour, "white") for colour in plots.PALETTE) >= 3


def test_the_style_has_the_same_palette():
    plt.style.use("helpers.course")
    style = [f"#{colour.lstrip('#')}" for colour in mpl.rcParams["axes.prop_cycle"].by_key()["color"]]
    assert tuple(style) == plots.PALETTE


def test_images_draws_every_image_in_reading_order():
    images = np.arange(1, 7)[:, None, None, None] / 6 * np.ones((6, 4, 4, 1))
    sheet = np.asarray(plots.images(images, columns=3).get_images()[0].get_array())
    order = [value for value in dict.fromkeys(sheet[sheet < 1].tolist())]
    np.testing.assert_allclose(order, np.arange(1, 6) / 6, rtol=1e-6)


def test_images_outside_the_range_are_clipped():
    sheet = plots.images(np.full((1, 4, 4, 1), 7.0)).get_images()[0].get_array()
    assert sheet.max() == 1


def test_image_rows_are_named():
    ax = plots.image_rows({"one": np.zeros((3, 4, 4, 1)), "two": np.ones((3, 4, 4, 1))})
    assert [text.get_text() for text in ax.texts] == ["one", "two"]


def test_image_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="rows of one length"):
        plots.image_rows({"one": np.zeros((3, 4, 4, 1)), "two": np.ones((2, 4, 4, 1))})


def test_lines_draw_the_spread():
    ax = plots.lines({"a": ([1, 2], [3, 4], [0.5, 0.5]), "b": ([1, 2], [5, 6])}, "x", "y")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.collections[0].get_paths()[0].get_extents().bounds == pytest.approx((1, 2.5, 1, 2))


def test_a_map_draws_each_class_once_with_its_images():
    coordinates, labels = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 3
    ax = plots.scatter_map(coordinates, labels, ("a", "b", "c"))
    for number, marks in enumerate(ax.collections):
        assert np.array_equal(marks.get_offsets(), coordinates[labels == number])


def test_under_each_map_stands_its_trustworthiness():
    maps = {"PCA": embedding.Map(np.zeros((4, 2)), 0.81, 0.72, 0.33)}
    (ax,) = plots.maps(maps, [0, 1, 0, 1], ("a", "b"))
    for value in ("trustworthiness 0.81", "continuity 0.72", "neighbours kept 0.33"):
        assert value in ax.get_xlabel()


def test_the_null_distribution_shows_the_statistic():
    test = separability.PermutationTest(1.3, 0.02, np.linspace(0.9, 1.1, 50), "independent")
    ax = plots.null_distribution(test)
    assert ax.lines[0].get_xdata() == [1.3, 1.3]
    assert "p = 0.020" in ax.get_title(loc="left")


def test_violins_stand_under_the_statistics_of_their_tests():
    nulls = np.random.default_rng(0).normal(1, 0.01, (2, 200))
    tests = {
        name: separability.PermutationTest(statistic, 0.005, null, "independent")
        for name, statistic, null in zip(("pool 1", "pool 2"), (1.1, 1.3), nulls, strict=True)
    }
    ax = plots.violins(tests, title="shapes")
    assert ax.lines[0].get_ydata() == pytest.approx([1.1, 1.3])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["pool 1", "pool 2"]
    for place, (body, null) in enumerate(zip(ax.collections, nulls, strict=True)):
        (x, y) = body.get_paths()[0].vertices.T
        assert (x.min() + x.max()) / 2 == pytest.approx(place)
        assert (y.min(), y.max()) == pytest.approx((null.min(), null.max()), abs=0.01)


def with_infinities(infinite, finite=50):
    null = np.r_[np.linspace(0.9, 1.1, finite), [np.inf] * infinite]
    return separability.PermutationTest(1.3, 0.02, np.random.default_rng(0).permutation(null), "exact")


@pytest.mark.parametrize(("infinite", "label"), [(0, "50 shuffles"), (3, "53 shuffles\n(3 infinite)")])
def test_infinite_values_are_left_out_of_the_null_distribution_and_counted(infinite, label):
    ax = plots.null_distribution(with_infinities(infinite))
    assert sum(bar.get_height() for bar in ax.patches) == 50
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [label, "these labels"]


def test_infinite_values_are_left_out_of_violins_and_counted():
    tests = {"all": with_infinities(0), "some": with_infinities(3), "none": with_infinities(5, finite=0)}
    ax = plots.violins(tests)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["all", "some\n(3 infinite)", "none\n(5 infinite)"]
    everything, some = ax.collections
    x, y = some.get_paths()[0].vertices.T
    assert (x.min() + x.max()) / 2 == pytest.approx(1)
    np.testing.assert_allclose(y, everything.get_paths()[0].vertices[:, 1])


def test_a_statistic_that_is_infinite_is_written_and_not_drawn():
    test = separability.PermutationTest(np.inf, 0.02, np.linspace(0.9, 1.1, 50), "exact")
    ax = plots.null_distribution(test)
    ax.figure.canvas.draw()
    assert "goodness inf" in ax.get_title(loc="left")
    plots.violins({"a": test}).figure.canvas.draw()


@pytest.mark.parametrize("columns", [0, 2.5, True])
def test_columns_of_no_whole_number_are_refused(columns):
    with pytest.raises(ValueError, match=r"columns=.*, but it is a whole number of 1 or more"):
        plots.images(np.zeros((2, 4, 4, 1)), columns=columns)


def test_images_of_several_shapes_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match="entries of several shapes"):
        plots.images([np.zeros((4, 4, 1)), np.zeros((5, 4, 1))])
    with pytest.raises(ValueError, match="`rows` holds entries of several shapes"):
        plots.image_rows({"one": np.zeros((3, 4, 4, 1)), "two": np.zeros((3, 4, 5, 1))})


def test_more_classes_than_colours_still_look_different():
    ax = plots.scatter_map(np.zeros((28, 2)), np.arange(28), [str(number) for number in range(28)])
    looks = {(tuple(marks.get_facecolor()[0]), marks.get_paths()[0].vertices.tobytes()) for marks in ax.collections}
    assert len(looks) == 28


def test_scores_draw_means_and_spreads():
    row = Record("c", "m", "method", "d", 2, [0, 1], {"knn": [0.4, 0.6]})
    ax = plots.scores([row], {"knn": "kNN"})
    assert ax.containers[0][0].get_xdata() == pytest.approx([0.5])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["m"]


def test_counts_are_those_of_the_contingency_table():
    ax = plots.counts([0, 0, 1, 1, 1], [1, 1, 0, 0, 1])
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["2", "2", "1"]


def test_a_table_is_darker_where_a_column_is_larger():
    ax = plots.table([[0.2, 30], [0.4, 10], [0.3, 10]], "abc", ("x", "y"), "column", "row")
    assert [text.get_text() for text in ax.texts] == ["0.20", "30.00", "0.40", "10.00", "0.30", "10.00"]
    shades = ax.get_images()[0].get_array()
    assert (np.argsort(shades[:, 0]) == [0, 2, 1]).all()
    assert shades[0, 1] > shades[1, 1] == shades[2, 1]
    assert {text.get_color() for text in ax.texts} == {"white", "black"}


@pytest.mark.parametrize("values", [[[1, 2]], [[1, 2], [np.nan, 3]], [1, 2]])
def test_a_table_without_a_number_for_each_cell_is_refused(values):
    with pytest.raises(ValueError, match="2 rows and 2 columns needs as many finite values"):
        plots.table(values, "ab", "xy", "column", "row")


def test_bars_carry_their_values():
    ax = plots.bars(["a", "b"], [3, 40], "x", "y")
    assert [text.get_text() for text in ax.texts] == ["3", "40"]


def test_no_function_shows_a_figure(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a plot function called plt.show()"))
    plots.images(np.zeros((2, 4, 4, 1)))
    plots.lines({"a": ([1], [1])}, "x", "y")


def test_a_confusion_matrix_says_counts_and_shares_of_the_class():
    labels, predicted = [0] * 8 + [1] * 2, [0] * 6 + [1] * 2 + [1, 0]
    ax = plots.confusion(labels, predicted, ("red", "white"))
    assert [text.get_text() for text in ax.texts] == ["6\n75 %", "2\n25 %", "1\n50 %", "1\n50 %"]
    np.testing.assert_allclose(ax.get_images()[0].get_array(), [[0.75, 0.25], [0.5, 0.5]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["red (8)", "white (2)"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["red", "white"]


def test_the_numbers_of_a_confusion_matrix_stand_out_from_their_cells():
    labels = np.repeat(np.arange(3), 100)
    predicted = np.r_[[0] * 63, [1] * 37, [1] * 100, [2] * 62, [0] * 38]
    ax = plots.confusion(labels, predicted, "abc")
    image = ax.get_images()[0]
    for text in ax.texts:
        cell = image.cmap(image.norm(image.get_array()[tuple(int(place) for place in text.get_position()[::-1])]))
        assert contrast(text.get_color(), cell[:3]) >= 4.5


def test_a_class_without_images_is_an_empty_row():
    ax = plots.confusion([0, 2], [0, 1], ("a", "b", "c"))
    assert np.isfinite(ax.get_images()[0].get_array()).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a (1)", "b (0)", "c (1)"]


def test_eight_bit_images_are_refused_rather_than_whitened():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        plots.images(np.full((2, 4, 4, 1), 200, np.uint8))


@pytest.mark.parametrize(("labels", "sentence"), [([0, 1, 2], "holds 2, but 2 class names"), ([0, 1], "3")])
def test_a_map_draws_no_point_without_a_class(labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        plots.scatter_map(np.zeros((3, 2)), labels, ("a", "b"))


@pytest.mark.parametrize(("labels", "predicted", "name"), [([0, 1], [0, 2], "predicted"), ([0, -1], [0, 1], "labels")])
def test_a_number_without_a_name_is_refused(labels, predicted, name):
    with pytest.raises(ValueError, match=rf"`{name}` holds .* 2 class names number the classes 0 to 1"):
        plots.confusion(labels, predicted, ("a", "b"))


def three_clouds():
    random = np.random.default_rng(0)
    clusters = np.repeat([4, 7, 9], [10, 20, 30])
    return random.normal(size=(60, 3)) + clusters[:, None], clusters


def test_silhouettes_are_sorted_within_each_cluster():
    features, clusters = three_clouds()
    ax = plots.silhouettes(features, clusters)
    values = silhouette_samples(features.astype(np.float32), clusters)
    for body, number in zip(ax.collections, (4, 7, 9), strict=True):
        lengths = body.get_paths()[0].vertices[:, 0]
        expected = np.sort(values[clusters == number])
        assert sorted(set(lengths[lengths != 0].tolist())) == pytest.approx(expected, abs=1e-6)
    assert [line.get_xdata()[0] for line in ax.lines] == pytest.approx([values.mean()] * 2)


def test_silhouettes_of_clusters_do_not_overlap_and_stand_in_order():
    ax = plots.silhouettes(*three_clouds(), names=("a", "b", "c"))
    extents = [body.get_paths()[0].get_extents() for body in ax.collections]
    heights = [extent.y1 - extent.y0 for extent in extents]
    assert heights == [10, 20, 30]
    assert extents[0].y1 < extents[1].y0 < extents[1].y1 < extents[2].y0
    assert [label.get_text().partition(",")[0] for label in ax.get_yticklabels()] == [
        "a\n10 images",
        "b\n20 images",
        "c\n30 images",
    ]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("clusters", "names", "sentence"),
    [
        ([0, 0, 0, 0], None, "`clusters` holds 1 class"),
        ([0, 1, 2, 3], None, "Every image is a cluster of its own"),
        ([0, 0, 1, 1], ["a"], "1 names for 2 clusters: give one name for each"),
    ],
)
def test_silhouettes_that_mean_nothing_are_refused(clusters, names, sentence):
    with pytest.raises(ValueError, match=sentence):
        plots.silhouettes(np.eye(4), clusters, names)


def test_the_new_plots_draw_on_axes_that_are_given():
    _, axes = plt.subplots(1, 2)
    assert plots.confusion([0, 1], [1, 0], "ab", axes[0], "one") is axes[0]
    assert plots.silhouettes(*three_clouds(), None, axes[1], "other") is axes[1]
    assert [ax.get_title(loc="left") for ax in axes] == ["one", "other"]

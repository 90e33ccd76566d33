"""Figures that more than one chapter draws.

Each function takes data and an optional `ax`, draws, and returns the axes (an array of them where it draws
several panels). None of them shows or saves: the notebook does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import confusion_matrix, silhouette_samples
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

from .validation import check_features, check_images, check_labels, check_regular, check_whole

__all__ = [
    "MARKERS",
    "PALETTE",
    "bars",
    "confusion",
    "counts",
    "image_rows",
    "images",
    "lines",
    "maps",
    "marker",
    "null_distribution",
    "scatter_map",
    "scores",
    "silhouettes",
    "table",
    "violins",
]

# Tol's "muted" scheme, its pale colours darkened: apart for every kind of colour vision, and 3 : 1 on white paper
PALETTE = ("#332288", "#CC6677", "#117733", "#3C93C2", "#B8860B", "#882255", "#2A8F80", "#7F7F1F", "#AA4499", "#666666")
# the class is told twice, by colour and by shape
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "*")


def marker(number: int) -> str:
    """Return the mark of a class: beyond ten classes a colour returns, with another shape.

    Parameters
    ----------
    number : int
        Of the class, 0 or more.

    Returns
    -------
    str
        One of `MARKERS`.
    """
    return MARKERS[(number + number // len(PALETTE)) % len(MARKERS)]


def images(images, columns: int = 12, ax=None):
    """Draw images as a contact sheet, row by row.

    Parameters
    ----------
    images : array_like of float, shape (n, h, w, c)
        Values in [0, 1]; values outside, as a network may return, are clipped.
    columns : int
        Images in a row, 1 or more.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
    """
    array = check_regular(images, "images")
    array = check_images(np.clip(array, 0, 1) if array.dtype.kind == "f" else array)  # 8-bit images are refused
    n, height, width, _ = array.shape
    columns = min(check_whole(columns, "columns", 1), n)
    rows = -(-n // columns)
    gap = max(1, height // 14)
    sheet = np.ones((rows * (height + gap), columns * (width + 1), array.shape[-1]), np.float32)
    for place, image in enumerate(array):
        top, left = place // columns * (height + gap) + gap, place % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    inches = min(9, 1 + 0.7 * columns)  # a few images are not blown up
    ax = ax or plt.subplots(figsize=(inches, inches * sheet.shape[0] / sheet.shape[1]))[1]
    ax.imshow(sheet if sheet.shape[-1] == 3 else sheet[..., 0], vmin=0, vmax=1)
    ax.axis("off")
    return ax


def image_rows(rows: Mapping[str, np.ndarray], ax=None):
    """Draw several rows of images under each other, each with its name at the left.

    Parameters
    ----------
    rows : mapping of str to array_like of float, shape (n, h, w, c)
        The same n for each row.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
    """
    lengths = {len(row) for row in rows.values()}
    if len(lengths) != 1:
        raise ValueError(f"Rows of {sorted(lengths)} images do not stand under each other: give rows of one length.")
    columns = lengths.pop()
    array = check_regular(list(rows.values()), "rows")
    ax = images(array.reshape(-1, *array.shape[2:]), columns=columns, ax=ax)
    height, width = array.shape[2:4]
    gap = max(1, height // 14)
    for place, name in enumerate(rows):
        ax.text(-width / 8, place * (height + gap) + gap + height / 2, name, ha="right", va="center", fontsize=9)
    return ax


def lines(curves: Mapping[str, tuple], x: str, y: str, ax=None, title: str = ""):
    """Draw curves, each named at the legend and marked by a shape of its own.

    Parameters
    ----------
    curves : mapping of str to (x values, y values) or (x values, y values, spread)
        The spread is drawn as a band of plus and minus that much.
    x, y : str
        What the axes show, with units.
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(6, 3.2))[1]
    for place, (name, (along, values, *spread)) in enumerate(curves.items()):
        values = np.asarray(values, float)
        ax.plot(along, values, marker=MARKERS[place % len(MARKERS)], color=PALETTE[place % len(PALETTE)], label=name)
        if spread:
            low, high = values - np.asarray(spread[0]), values + np.asarray(spread[0])
            ax.fill_between(along, low, high, color=PALETTE[place % len(PALETTE)], alpha=0.2, linewidth=0)
    ax.set(xlabel=x, ylabel=y, title=title)
    if len(curves) > 1:
        ax.legend()
    return ax


def bars(names: Sequence[str], values, x: str, y: str, ax=None):
    """Draw one bar for each name, its value written above it.

    Parameters
    ----------
    names : sequence of str
    values : array_like of float, shape (n,)
        One for each name.
    x, y : str
        What the axes show, with units.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(6, 2.8))[1]
    ax.bar_label(ax.bar(names, values, color=PALETTE[0]), fontsize=8)
    ax.set(xlabel=x, ylabel=y)
    ax.grid(axis="x", visible=False)
    return ax


def table(values, rows: Sequence[str], columns: Sequence[str], x: str, y: str, ax=None):
    """Draw a table of numbers, each on a shade of grey: the larger, the darker within its column.

    Parameters
    ----------
    values : array_like of float, shape (rows, columns)
    rows, columns : sequence of str
        Their names.
    x, y : str
        What columns and rows are.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is not one finite value for each row and column.
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (len(rows), len(columns)) or not np.isfinite(values).all():
        raise ValueError(f"A table of {len(rows)} rows and {len(columns)} columns needs as many finite values.")
    ax = ax or plt.subplots(figsize=(1.6 + 1.1 * len(columns), 0.6 + 0.36 * len(rows)))[1]
    low, high = values.min(axis=0), values.max(axis=0)
    shades = 0.75 * (values - low) / np.where(high > low, high - low, 1)
    _write_on_shades(ax, shades, [[f"{value:.2f}" for value in row] for row in values])
    ax.set(xlabel=x, ylabel=y, xticklabels=columns, yticklabels=rows)
    return ax


def _write_on_shades(ax, shades, texts, **style):
    """Draw a table of texts, each on its shade of grey (0 is white, 1 is black) in an ink that is read on it."""
    ax.imshow(shades, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for (row, column), shade in np.ndenumerate(shades):
        ink = "white" if shade > 0.62 else "black"  # here both have the same contrast
        ax.text(column, row, texts[row][column], ha="center", va="center", color=ink, **style)
    ax.set(xticks=range(shades.shape[1]), yticks=range(shades.shape[0]))
    ax.grid(False)


def counts(labels, groups, ax=None, title: str = ""):
    """Draw how many images of each class fall into each group, as a table of shaded counts.

    Parameters
    ----------
    labels, groups : array_like of int, shape (n,)
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(3.5, 3.3))[1]
    table = contingency_matrix(labels, groups)
    texts = [[str(count) if count else "" for count in row] for row in table]
    _write_on_shades(ax, table / table.max(), texts, fontsize=7)
    ax.set(title=title, xlabel="group", ylabel="class", aspect="equal")
    return ax


def confusion(labels, predicted, class_names: Sequence[str], ax=None, title: str = ""):
    """Draw what the images of each class were taken for: a confusion matrix.

    Each cell is shaded by its share of the class, so that a small class reads like a large one, and says how many
    images it holds and what share of the class they are. The shares on the diagonal are the recalls; their mean is
    the balanced accuracy.

    Parameters
    ----------
    labels, predicted : array_like of int, shape (n,)
        Numbers of classes, 0 to the number of names less 1. Clusters get such numbers from
        `helpers.clustering.align`, as long as there are no more of them than classes.
    class_names : sequence of str
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the lengths differ, or a number has no name.
    """
    size = len(class_names)
    labels = _check_named(labels, None, "labels", class_names)
    predicted = _check_named(predicted, len(labels), "predicted", class_names)
    table = confusion_matrix(labels, predicted, labels=range(size))
    sizes = table.sum(axis=1)
    shares = table / np.maximum(sizes, 1)[:, None]
    ax = ax or plt.subplots(figsize=(1.8 + 0.8 * size, 1.2 + 0.7 * size))[1]
    pairs = [zip(*both, strict=True) for both in zip(table, shares, strict=True)]
    texts = [[f"{count}\n{100 * share:.0f} %" for count, share in row] for row in pairs]
    _write_on_shades(ax, shares, texts, fontsize=8)
    named = [f"{name} ({count})" for name, count in zip(class_names, sizes, strict=True)]
    ax.set(title=title, xlabel="predicted", ylabel="class (images)", xticklabels=class_names, yticklabels=named)
    return ax


def _check_named(labels, n: int | None, what: str, class_names: Sequence[str]) -> np.ndarray:
    labels, size = check_labels(labels, n, what, at_least=1), len(class_names)
    if labels.min() < 0 or labels.max() >= size:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"`{what}` holds {wrong}, but {size} class names number the classes 0 to {size - 1}.")
    return labels


def scatter_map(coordinates, labels, class_names: Sequence[str], ax=None, title: str = "", legend: bool = True):
    """Draw a map of images, one mark each, by colour and shape of its class.

    Parameters
    ----------
    coordinates : array_like of float, shape (n, 2)
    labels : array_like of int, shape (n,)
    class_names : sequence of str
    ax : matplotlib Axes, optional
    title : str
    legend : bool
        Whether to name the classes beside the map.

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(4.5, 4.2))[1]
    coordinates = np.asarray(coordinates)
    labels = _check_named(labels, len(coordinates), "labels", class_names)
    for number, name in enumerate(class_names):
        style = {"marker": marker(number), "color": PALETTE[number % len(PALETTE)]}
        ax.scatter(*coordinates[labels == number].T, s=14, linewidths=0, label=name, **style)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
    if legend:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1, markerscale=1.6)
    return ax


def maps(maps: Mapping, labels, class_names: Sequence[str], axes=None):
    """Draw maps side by side, the quality of each under it.

    Parameters
    ----------
    maps : mapping of str to `helpers.embedding.Map`
    labels : array_like of int, shape (n,)
    class_names : sequence of str
    axes : array of matplotlib Axes, optional
        One for each map.

    Returns
    -------
    ndarray of Axes
    """
    axes = plt.subplots(1, len(maps), figsize=(3.3 * len(maps), 3.6))[1] if axes is None else axes
    axes = np.atleast_1d(axes)
    for ax, (name, drawing) in zip(axes, maps.items(), strict=True):
        scatter_map(drawing.coordinates, labels, class_names, ax, name, legend=ax is axes[-1])
        ax.set_xlabel(
            f"trustworthiness {drawing.trustworthiness:.2f}\ncontinuity {drawing.continuity:.2f}\n"
            f"neighbours kept {drawing.neighbours_kept:.2f}",
            fontsize=9,
        )
    return axes


def null_distribution(test, ax=None, name: str = "goodness"):
    """Draw where a statistic falls among its values under shuffled labels.

    Parameters
    ----------
    test : helpers.separability.PermutationTest
        Values that are infinite (goodness is, where no two images of a class differ) have no place on the axis:
        the legend counts them.
    ax : matplotlib Axes, optional
    name : str
        What the statistic is called.

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(5, 2.6))[1]
    drawn, left_out = _finite(test.null_distribution)
    label = f"{len(test.null_distribution)} shuffles" + (f"\n({left_out} infinite)" if left_out else "")
    ax.hist(drawn, bins=40, color=PALETTE[3], label=label)
    ax.axvline(test.statistic, color=PALETTE[5], label="these labels")
    ax.set(xlabel=name, ylabel="shuffles", title=f"{name} {test.statistic:.3f}, p = {test.p_value:.3f}")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def violins(tests: Mapping, ax=None, title: str = "", name: str = "goodness"):
    """Draw, for several tests side by side, the statistic above a violin of its values under shuffled labels.

    Parameters
    ----------
    tests : mapping of str to helpers.separability.PermutationTest
        In the order in which they are drawn, for example the stages of a network by depth. Infinite values are
        not drawn, but counted under the name.
    ax : matplotlib Axes, optional
    title, name : str
        What stands above the axes, and what the statistic is called.

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(1 + 0.8 * len(tests), 2.6))[1]
    places = np.arange(len(tests))
    labels = []
    for place, (test_name, test) in zip(places, tests.items(), strict=True):
        drawn, left_out = _finite(test.null_distribution)
        labels.append(f"{test_name}\n({left_out} infinite)" if left_out else test_name)
        bodies = ax.violinplot(drawn, [place], widths=0.8, showextrema=False)["bodies"] if len(drawn) else []
        for body in bodies:
            body.set(facecolor=PALETTE[3], alpha=0.7)
    observed = [test.statistic for test in tests.values()]
    ax.plot(places, observed, color=PALETTE[5], marker=MARKERS[0], markersize=5, linewidth=1)
    ax.set(title=title, ylabel=name, xticks=places, xticklabels=labels)
    ax.grid(axis="x", visible=False)
    return ax


@threadpool_limits.wrap(limits=1)
def silhouettes(features, clusters, names: Sequence[str] | None = None, ax=None, title: str = ""):
    """Draw how well each image lies in its cluster: a silhouette diagram.

    Each image is a line as long as its silhouette (b - a) / max(a, b), with a its mean distance to the rest of its
    cluster and b to the nearest other cluster; the images of a cluster stand in order. A cluster that is there is
    broad to the end, one cut out of a larger cloud tapers off, and what reaches below 0 lies nearer to another
    cluster. An image alone in its cluster has the silhouette 0, by convention. The dashed line is the mean over all
    images.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        Scaled as for the clustering, for example by `helpers.clustering.scaled`; distances are Euclidean.
    clusters : array_like of int, shape (n,)
        Two clusters or more, fewer than n.
    names : sequence of str, optional
        Of the clusters, in the order of their numbers; the numbers themselves by default.
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the lengths differ, there is one cluster only, or every image is a cluster of its own.

    References
    ----------
    Rousseeuw (1987), https://doi.org/10.1016/0377-0427(87)90125-7
    """
    features = check_features(features)
    clusters = check_labels(clusters, len(features), "clusters")
    numbers = np.unique(clusters)
    if len(numbers) == len(clusters):
        raise ValueError("Every image is a cluster of its own: the silhouette needs clusters of two or more.")
    names = [str(number) for number in numbers] if names is None else list(names)
    if len(names) != len(numbers):
        raise ValueError(f"{len(names)} names for {len(numbers)} clusters: give one name for each.")
    values = silhouette_samples(features, clusters)
    ax = ax or plt.subplots(figsize=(5, 1.2 + 0.7 * len(numbers)))[1]
    gap = len(values) // 40 + 1
    top, middles = gap, []
    for place, number in enumerate(numbers):
        lengths = np.sort(values[clusters == number])[::-1]
        ax.fill_betweenx(
            top + np.arange(len(lengths) + 1),
            np.r_[lengths, lengths[-1]],
            step="post",
            linewidth=0,
            color=PALETTE[place % len(PALETTE)],
        )
        middles.append(top + len(lengths) / 2)
        top += len(lengths) + gap
    ax.axvline(values.mean(), color="white", linewidth=2.5)  # on dark and on light bodies alike
    ax.axvline(values.mean(), color="black", linestyle="--", linewidth=1)
    means = [values[clusters == number].mean() for number in numbers]
    named = [
        f"{name}\n{np.sum(clusters == number)} images, mean {mean:.2f}"
        for name, number, mean in zip(names, numbers, means, strict=True)
    ]
    ax.set(title=title, xlabel="silhouette", yticks=middles, yticklabels=named, ylim=(top, 0))
    ax.grid(axis="y", visible=False)
    return ax


def _finite(values) -> tuple[np.ndarray, int]:
    """Return the values that can be drawn, and how many cannot."""
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    return finite, len(values) - len(finite)


def scores(records: Sequence, measures: Mapping[str, str], ax=None):
    """Draw rows of a scorecard as dots with their spread over the seeds.

    Parameters
    ----------
    records : sequence of helpers.results.Record
    measures : mapping of str to str
        The measures to draw, and what the legend calls them.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
    """
    ax = ax or plt.subplots(figsize=(7, 0.36 * len(records) + 1))[1]
    places = np.arange(len(records))
    for number, (measure, name) in enumerate(measures.items()):
        ax.errorbar(
            [record.mean(measure) for record in records],
            places + 0.16 * (number - (len(measures) - 1) / 2),
            xerr=[record.spread(measure) for record in records],
            fmt=MARKERS[number],
            color=PALETTE[number],
            capsize=2,
            label=name,
        )
    ax.set(yticks=places, yticklabels=[record.method for record in records], xlabel="mean and spread over seeds")
    ax.invert_yaxis()
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(measures))
    return ax

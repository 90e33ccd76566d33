"""The one scorecard: every chapter's features under the same measures, beside the same baselines.

Labels enter the course here, and only here.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import clustering, embedding, probing, results, separability
from .datasets import ImageSet
from .distances import pairwise_distances
from .runtime import Runtime, versions
from .validation import check_choice, check_features, check_whole

__all__ = ["MEASURES", "Measure", "Scorecard", "score", "table_html", "table_rows", "written"]


@dataclass(frozen=True)
class Measure:
    """A column of the scorecard.

    Attributes
    ----------
    title : str
        The column's heading.
    explanation : str
        One sentence, shown where a reader asks what the heading means.
    better : {'higher', 'lower', None}
        None where neither end is good in itself.
    low, high : float
        The range of possible values.
    """

    title: str
    explanation: str
    better: str | None
    low: float
    high: float


MEASURES = {
    "knn": Measure("kNN", "Accuracy of a vote among the 5 nearest training images.", "higher", 0, 1),
    "linear_probe": Measure("linear probe", "Accuracy of logistic regression on the features.", "higher", 0, 1),
    "kmeans_accuracy": Measure(
        "k-means accuracy", "Share of images in the cluster matched to their class.", "higher", 0, 1
    ),
    "nmi": Measure("NMI", "Normalised mutual information of k-means clusters and classes.", "higher", 0, 1),
    "ari": Measure("ARI", "Adjusted Rand index of k-means clusters and classes; 0 at chance.", "higher", -0.5, 1),
    "silhouette": Measure("silhouette", "Mean silhouette of the classes among the features.", "higher", -1, 1),
    "goodness": Measure("goodness", "Mean distance between classes / within classes.", "higher", 0, float("inf")),
    "p_value": Measure("p", "Share of shuffled labellings that reach this goodness.", "lower", 0, 1),
    "effective_rank": Measure("effective rank", "How many dimensions the features use.", None, 0, float("inf")),
}


def score(features, labels, probe_features, probe_labels, seed: int = 0, permutations: int = 999) -> dict[str, float]:
    """Measure features in every way that the course knows.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        Features of held-out images, which are scored.
    labels : array_like of int, shape (n,)
    probe_features : array_like of float, shape (m, d)
        Features of other images, from which the kNN and the linear probe may learn.
    probe_labels : array_like of int, shape (m,)
    seed : int
        Starts k-means and shuffles the labels.
    permutations : int

    Returns
    -------
    dict of str to float
        One value for each of `MEASURES`.

    Raises
    ------
    ValueError
        If features hold NaN, lengths differ, there is one class only, or there are too few images.
    """
    fixed = _score_of_features(features, labels, probe_features, probe_labels)
    return _in_order(fixed | _score_of_draws(features, labels, seed, permutations))


def _score_of_features(features, labels, probe_features, probe_labels) -> dict[str, float]:
    """Return the measures that draw nothing."""
    probes = (features, labels, probe_features, probe_labels)
    return {
        "knn": probing.knn_probe(*probes),
        "linear_probe": probing.linear_probe(*probes),
        "silhouette": separability.silhouette(features, labels),
        "effective_rank": separability.effective_rank(features),
    }


def _score_of_draws(features, labels, seed: int, permutations: int) -> dict[str, float]:
    """Return the measures that depend on the start of k-means or on shuffled labels."""
    clusters = clustering.cluster(features, len(np.unique(labels)), seed=seed)
    distances = pairwise_distances(features)
    test = separability.permutation_test(distances, labels, permutations=permutations, random_state=seed)
    return {
        "kmeans_accuracy": clustering.accuracy(labels, clusters),
        "nmi": clustering.nmi(labels, clusters),
        "ari": clustering.ari(labels, clusters),
        "goodness": test.statistic,
        "p_value": test.p_value,
    }


def _in_order(found: dict[str, float]) -> dict[str, float]:
    return {name: found[name] for name in MEASURES}


class Scorecard:
    """The rows of one chapter, each scored over several seeds.

    Parameters
    ----------
    chapter : str
        The notebook's slug.
    train : ImageSet
        The images whose labels the probes may look at.
    test : ImageSet
        The images that are scored. Of several views of one original the first is taken. Groups of several classes
        (the slides of blood smears) are no views, and are scored whole: the p-value then takes for exchangeable what
        shares a slide.
    run : Runtime
        What `runtime.start` returned.
    seeds : sequence of int
        Every row is scored once per seed.
    permutations : int
        Shuffles of the labels behind each p-value.
    points : int
        Test images on each map, 31 or more; drawing takes longer than scoring.

    Raises
    ------
    ValueError
        If the two sets have other classes, a class of the test images is missing among the training images, there are
        fewer than 31 test images, a seed is no whole number or is given twice, or no file can be named after the
        chapter or the set.

    Examples
    --------
    A chapter adds its rows and shows the card as the last line of a cell::

        card = Scorecard("my-chapter", train, test, run, seeds=(0, 1, 2))
        card.add("my method", lambda seed: card.encode(encoder[seed]))
        card
    """

    def __init__(
        self,
        chapter: str,
        train: ImageSet,
        test: ImageSet,
        run: Runtime,
        seeds: Sequence[int] = (0,),
        permutations: int = 999,
        points: int = 300,
    ):
        _check_classes(train, test)
        results.slug(chapter), results.slug(test.name)  # raise where no file can be named after them
        self.chapter, self.train = chapter, train
        self.test = test if test.mixed_groups else test.one_per_group()
        self.run, self.seeds = run, _seeds(seeds)
        self.permutations, self.points = permutations, check_whole(points, "points", 31)
        if len(self.test) < 31:
            raise ValueError(f"{len(self.test)} test images are too few for a map, which needs 31: give more of them.")
        # rows of other images are not to be compared with these
        scored = np.ascontiguousarray(self.test.images), self.test.labels
        self._digest = hashlib.sha256(b"".join(array.tobytes() for array in scored)).hexdigest()
        self._rows: dict[str, results.Record] = {}
        self._features: dict[str, np.ndarray] = {}
        self._maps: dict[str, dict[str, embedding.Map]] = {}
        self._claims: dict[str, results.Claim] = {}

    def add(
        self,
        method: str,
        features: Callable[[int], tuple],
        kind: str = "method",
        model=None,
        seconds: Sequence[float] = (),
        weights: str = "none",
        seeds: Sequence[int] | None = None,
        also: Mapping[str, Sequence[float]] | None = None,
    ) -> results.Record:
        """Score a method over all seeds and add its row; a row of the same name is replaced.

        Parameters
        ----------
        method : str
            The row's name.
        features : callable
            Maps a seed to the pair (features of the training images, features of the test images).
        kind : {'method', 'baseline', 'supervised'}
        model : keras.Model, optional
            The network that makes the features; its parameters are counted.
        seconds : sequence of float
            What each training took.
        weights : str
            Where pretrained weights came from.
        seeds : sequence of int, optional
            Fewer seeds than the card's, for a row that is a demonstration.
        also : mapping of str to sequence of float, optional
            Values of the chapter's own, one for each seed, such as ``{"test MSE": errors}``: stored with the row.

        Returns
        -------
        Record

        Raises
        ------
        ValueError
            If the kind is unknown, two rows would share a file, or `also` has the name of a measure or not one finite
            value for each seed.
        """
        check_choice(kind, results.KINDS, "kind of row")
        results.slug(method)  # raises where no file can be named after it
        for other in self._rows:
            if other != method and results.slug(other) == results.slug(method):
                raise ValueError(f"The rows {other!r} and {method!r} would share a file: give them different words.")
        seeds, scores = self.seeds if seeds is None else _seeds(seeds), []
        also = {_own(name): _per_seed(values, seeds, name) for name, values in (also or {}).items()}
        of_train = of_test = fixed = first = None
        for seed in tqdm(seeds, desc=method, unit="seed", leave=False):
            before, (of_train, of_test) = (of_train, of_test), features(seed)
            if fixed is None or before[0] is not of_train or before[1] is not of_test:  # pixels are measured once
                fixed = _score_of_features(of_test, self.test.labels, of_train, self.train.labels)
            scores.append(_in_order(fixed | _score_of_draws(of_test, self.test.labels, seed, self.permutations)))
            first = check_features(of_test) if first is None else first
        self._features[method] = first  # not before all seeds are scored: until then the earlier row stands
        self._maps.pop(method, None)
        row = self._rows[method].about["row"] if method in self._rows else len(self._rows)
        self._rows[method] = results.Record(
            self.chapter,
            method,
            kind,
            self.test.name,
            self._features[method].shape[1],
            seeds,
            {name: [values[name] for values in scores] for name in MEASURES},
            also,
            about={
                "row": row,
                "profile": self.run.profile,
                "backend": self.run.backend,
                "device": self.run.device,
                "versions": versions(),
                "weights": weights,
                "seconds": float(np.mean(seconds)) if len(seconds) else None,
                "parameters": model.count_params() if model is not None else 0,
                "images": {"train": len(self.train), "test": len(self.test), "digest": self._digest},
            },
            class_names=list(self.test.class_names),
        )
        return self._rows[method]

    def add_baselines(self, dimensions: int, untrained: Callable[[int], Callable]) -> None:
        """Add the rows that every chapter has: raw pixels, PCA, and the untrained network.

        Parameters
        ----------
        dimensions : int
            Of the PCA.
        untrained : callable
            Maps a seed to a Keras model with random weights, of the shape of the chapter's network.
        """
        pixels = self.train.images.reshape(len(self.train), -1), self.test.images.reshape(len(self.test), -1)
        rows, columns = pixels[0].shape
        solver = "covariance_eigh" if columns <= rows else "full"  # many pixels have a vast covariance matrix
        with threadpool_limits(limits=1):  # the same sums on any number of cores
            pca = PCA(dimensions, svd_solver=solver).fit(pixels[0])
            components = pca.transform(pixels[0]), pca.transform(pixels[1])
        self.add("raw pixels", lambda seed: pixels, "baseline")
        self.add(f"PCA, {dimensions}", lambda seed: components, "baseline")
        networks = {seed: untrained(seed) for seed in self.seeds}
        self.add(
            "untrained network",
            lambda seed: self.encode(networks[seed]),
            "baseline",
            model=networks[self.seeds[0]],
            weights="random",
        )

    def encode(self, model) -> tuple[np.ndarray, np.ndarray]:
        """Return a Keras model's features of the training and of the test images, flattened to (n, d)."""
        # here, because Keras takes seconds to import and pages made from the store do without it
        from .features import forward

        return tuple(forward(model, part.images).reshape(len(part), -1) for part in (self.train, self.test))

    @property
    def drawn(self):
        """The test images that stand on the maps: the first `points` of them."""
        return self.test[: self.points]

    @property
    def records(self) -> list[results.Record]:
        """The rows in the order in which they were added."""
        return list(self._rows.values())

    def values(self, method: str, name: str) -> np.ndarray:
        """Return one value per seed of a row: of one of `MEASURES`, or of the chapter's own (``also``).

        Raises
        ------
        ValueError
            If there is no such row or no such value.
        """
        row = self._rows[check_choice(method, self._rows, "row")]
        found = row.measures | row.also
        return np.array(found[check_choice(name, found, "measure")])

    def claim(self, sentence: str, values, least: float | None = None, most: float | None = None) -> results.Claim:
        """Let this run decide a sentence of the chapter's key points, and print how.

        Parameters
        ----------
        sentence : str
            As it stands in the key points; a claim of the same sentence is replaced.
        values : array_like of float, shape (seeds,)
            What decides it, for example the difference of two rows' `values`.
        least, most : float, optional
            The claim holds if the value of every seed lies within [least, most].

        Returns
        -------
        Claim

        Raises
        ------
        ValueError
            If neither end is given, the band is empty, or a value is missing, NaN or infinite.
        """
        least, most = (None if end is None else float(end) for end in (least, most))
        if least is None and most is None:
            raise ValueError("A claim needs a band: give `least`, `most` or both.")
        if least is not None and most is not None and not least <= most:
            raise ValueError(f"The band from {least:g} to {most:g} is empty: `least` is the smaller end.")
        values = _per_seed(values, self.seeds, "values")
        claim = results.Claim(self.chapter, self.test.name, sentence, values, least, most)
        self._claims[sentence] = claim
        print(f"{'holds' if claim.holds else 'DOES NOT HOLD'}: {sentence} ({claim.told}; {claim.band})")
        return claim

    def maps(self, method: str) -> dict[str, embedding.Map]:
        """Draw `drawn` by one method's features (of the first seed): PCA, t-SNE and UMAP."""
        check_choice(method, self._rows, "row")
        if method not in self._maps:
            self._maps[method] = embedding.maps(self._features[method][: self.points], seed=self.seeds[0])
        return self._maps[method]

    def save(self, folder: Path | str | None = None) -> list[Path]:
        """Draw each row's maps and write all rows, and what was claimed, to the results store.

        Returns
        -------
        list of Path
            The JSON files of the rows.
        """
        if self._claims:
            results.save_claims(list(self._claims.values()), folder)
        return [results.save(self._with_maps(record), folder) for record in tqdm(self.records, desc="maps", unit="row")]

    def _with_maps(self, record: results.Record) -> results.Record:
        drawn = self.maps(record.method)
        classes = len(np.unique(self.test.labels))  # as in `score`
        clusters = clustering.cluster(self._features[record.method], classes, seed=self.seeds[0])
        shown = self._features[record.method][: self.points]
        near = NearestNeighbors(n_neighbors=5).fit(shown).kneighbors(return_distance=False)  # an image is not its own
        arrays = {
            "neighbours": near,
            "labels": self.drawn.labels,
            "clusters": clustering.align(self.test.labels, clusters)[: self.points],
            "thumbnails": _thumbnails(self.drawn.images),
            **{name: drawing.coordinates for name, drawing in drawn.items()},
        }
        quality = {
            name: {
                measure: getattr(drawing, measure) for measure in ("trustworthiness", "continuity", "neighbours_kept")
            }
            for name, drawing in drawn.items()
        }
        return results.Record(**{**vars(record), "maps": quality, "arrays": arrays})

    def _repr_html_(self) -> str:
        return table_html(self.records)

    def __repr__(self) -> str:
        return "\n".join("  ".join(cell.rjust(16) for cell in row) for row in table_rows(self.records))


def _check_classes(train: ImageSet, test: ImageSet) -> None:
    if train.class_names != test.class_names:
        raise ValueError(
            f"The training set has the classes {', '.join(train.class_names)}, but the test set "
            f"{', '.join(test.class_names)}: split one set into both."
        )
    missing = np.setdiff1d(test.labels, train.labels)
    if len(missing):
        raise ValueError(
            f"The training set has no image of {test.class_names[missing[0]]!r}, so no probe can name one: split so "
            f"that every class has its share, or leave that class out."
        )


def _thumbnails(images: np.ndarray, longest: int = 64) -> np.ndarray:
    """Return images as uint8, no side longer than `longest` pixels: more than a map ever shows."""
    pixels = np.round(images * 255).astype(np.uint8)
    n, height, width, channels = pixels.shape
    if max(height, width) <= longest:
        return pixels
    size = [max(1, round(side * longest / max(height, width))) for side in (width, height)]
    planes = pixels[..., 0] if channels == 1 else pixels
    small = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)) for plane in planes]
    return np.stack(small).reshape(n, *size[::-1], channels)


def _seeds(seeds: Sequence[int]) -> list[int]:
    if not np.iterable(seeds):
        raise ValueError(f"seeds={seeds!r} is no list of seeds: give one or more, as in seeds=(0, 1, 2).")
    seeds = [check_whole(seed, "seed", 0) for seed in seeds]
    if not seeds:
        raise ValueError("`seeds` is empty: give one seed or more.")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds} holds a seed twice, which makes the spread too small: give each once.")
    return seeds


def _own(name: str) -> str:
    if name in MEASURES:
        raise ValueError(f"{name!r} is a measure of every row: call the chapter's own values something else.")
    return name


def _per_seed(values, seeds: Sequence[int], name: str) -> list[float]:
    values = np.asarray(values, float)
    if values.shape != (len(seeds),) or not np.isfinite(values).all():
        raise ValueError(f"{name!r} is {values.tolist()}: give one finite number for each of the {len(seeds)} seeds.")
    return values.tolist()


def table_rows(records: Sequence[results.Record]) -> list[list[str]]:
    """Return the scorecard as text, the heading first: mean ± standard deviation over the seeds.

    Of the p-values the largest is shown: the claim has to hold for every seed.
    """
    heading = ["features", "d"] + [measure.title for measure in MEASURES.values()]
    return [heading] + [
        [record.method, str(record.dimensions)] + [written(record, name) for name in MEASURES] for record in records
    ]


def written(record: results.Record, measure: str) -> str:
    """Return one entry of the table: mean ± spread over the seeds, or the largest p-value of any seed.

    P-values are not averaged: the mean of p-values is none. The largest is the one that holds for every seed.

    Examples
    --------
    >>> measures = {"knn": [0.5, 0.52], "p_value": [0.001, 0.004]}
    >>> row = results.Record("a", "pixels", "baseline", "digits", 64, [0, 1], measures)
    >>> written(row, "knn"), written(row, "p_value"), written(row, "nmi")
    ('0.510 ± 0.014', '0.004', '–')
    """
    if not record.measures.get(measure):
        return "–"
    if measure == "p_value":
        return f"{max(record.measures[measure]):.3f}"
    digits = 1 if measure == "effective_rank" else 3
    spread = f" ± {record.spread(measure):.{digits}f}" if len(record.measures[measure]) > 1 else ""
    return f"{record.mean(measure):.{digits}f}{spread}"


def _two_lines(cell: str) -> str:
    """Put the spread under the mean: eleven columns then fit a page."""
    mean, sign, spread = html.escape(cell).partition(" ± ")
    return f"{mean}<br><small>± {spread}</small>" if sign else mean


def table_html(records: Sequence[results.Record]) -> str:
    """Return the scorecard as an HTML table, the same in every chapter.

    Raises
    ------
    ValueError
        If there are no rows yet.
    """
    if not records:
        raise ValueError("The scorecard has no rows yet: add one with `card.add(...)` first.")
    heading, *rows = table_rows(records)
    titles = {measure.title: measure.explanation for measure in MEASURES.values()}
    head = "".join(
        f'<th scope="col" title="{html.escape(titles.get(cell, ""))}">{html.escape(cell)}</th>' for cell in heading
    )
    body = "".join(
        f'<tr class="{record.kind}"><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{_two_lines(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for record, row in zip(records, rows, strict=True)
    )
    seeds, images = max(len(record.seeds) for record in records), records[0].about["images"]
    caption = (
        f"{records[0].data}: {images['test']} test images scored, probes fitted on {images['train']} training images; "
        f"mean ± standard deviation over {seeds} seed{'s' if seeds > 1 else ''} (one seed where no ± stands); "
        f"p is the largest over the seeds."
    )
    label = f"Scorecard on {records[0].data}"  # a chapter may show several
    return (
        f'<div class="scorecard" tabindex="0" role="region" aria-label="{html.escape(label)}"><table class="dataframe">'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )

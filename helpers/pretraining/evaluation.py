"""Are weights of our own better than random ones? Stage by stage, on images that the training never saw.

Three networks of one shape are compared: random weights; random weights whose BatchNormalization statistics were
measured on formula-made images, which costs seconds and no training; and the trained weights. Whatever the second
one reaches, training cannot claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras import ops
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from .. import backbones, datasets
from ..distances import gram_matrix, pairwise_distances, principal_components
from ..features import extract
from ..separability import mrpp_moments
from .images import categories, render

__all__ = ["SETS", "Comparison", "Scores", "compare", "gain", "relative_errors", "score", "table"]

SETS = {
    "shapes": {"size": 128},
    "textures": {"per_class": 16, "size": 128},
    "paintings": {"size": 128},
    "shifted-digits": {},
}


@dataclass(frozen=True)
class Scores:
    """How one stage of one network does on one set, image by image where that is possible.

    Attributes
    ----------
    knn, linear : ndarray of bool, shape (n,)
        Whether five neighbours, and multinomial logistic regression, name the class of each image, that image's
        fold left out.
    z : float
        Standard deviations between the mean distance within classes and its mean over all labellings; the lower,
        the further from chance.
    """

    knn: np.ndarray
    linear: np.ndarray
    z: float


@dataclass(frozen=True)
class Comparison:
    """One set, one stage: the scores of each network by its name."""

    images: str
    stage: str
    scores: dict[str, Scores]


@threadpool_limits.wrap(limits=1)
def score(features, labels, folds: int = 5, seed: int = 0) -> Scores:
    """Score one feature matrix by cross-validation.

    The linear probe works on all principal components of the standardised features, which for a linear model are
    the features themselves: at most n - 1 numbers an image, however long the rows.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    labels : array_like of int, shape (n,)
    folds, seed : int

    Returns
    -------
    Scores
    """
    labels = np.asarray(labels)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    distances = pairwise_distances(features)
    neighbours = KNeighborsClassifier(5, metric="precomputed")
    rotated = principal_components(gram_matrix(features, standardise=True)).scores
    rotated = rotated / np.sqrt((rotated**2).sum(axis=1).mean())  # rows of length 1: one penalty fits every stage
    linear = LogisticRegression(C=100.0, max_iter=1000, tol=1e-3)
    return Scores(
        cross_val_predict(neighbours, distances, labels, cv=split) == labels,
        cross_val_predict(linear, rotated.astype(np.float64), labels, cv=split) == labels,
        mrpp_moments(distances, labels).z,
    )


def compare(network: str, folder: Path, n: int = 300, size: int = 128, seed: int = 0) -> Iterator[Comparison]:
    """Yield a comparison for every set and stage.

    Parameters
    ----------
    network : str
    folder : Path
        Holds the folder `network` with weights of our own.
    n : int
        Images of each set, each class with its share.
    size : int
        Pixels that the network resizes to.
    seed : int
        Of the random weights and of the samples.
    """
    networks = _networks(network, folder, size, seed)
    for name, options in SETS.items():
        sample = datasets.load(name, **options).sample(n, seed)
        features = {kind: extract(backbone, sample, progress=False) for kind, backbone in networks.items()}
        for stage in networks["random"].stages:
            scores = {kind: score(found[stage], sample.labels) for kind, found in features.items()}
            yield Comparison(name, stage, scores)


def _networks(network: str, folder: Path, size: int, seed: int) -> dict[str, backbones.Backbone]:
    measured = backbones.load(network, "random", size=size, seed=seed)
    backbones.measure_statistics(measured.model, _formula_images(size, seed))
    return {
        "random": backbones.load(network, "random", size=size, seed=seed),
        "measured": measured,
        "self_made": backbones.load(network, "self_made", size=size, folder=folder),
    }


def _formula_images(size: int, seed: int, batches: int = 8, batch_size: int = 32) -> Iterator[np.ndarray]:
    drawn = categories(batches * batch_size, seed + 1)
    for part in np.array_split(np.arange(len(drawn)), batches):
        yield np.concatenate([render(drawn[i], 1, size, np.random.default_rng([seed, i])) for i in part])


def gain(better, worse, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Return the difference of two accuracies on the same images, and its 95 % bootstrap interval.

    Images are drawn, and both networks' answers to them: what is hard for both cancels out.

    Parameters
    ----------
    better, worse : array_like of bool, shape (n,)

    Examples
    --------
    >>> gain([True, True], [False, False])
    (1.0, 1.0, 1.0)
    """
    difference = np.asarray(better, float) - np.asarray(worse, float)
    rows = np.random.default_rng(seed).integers(len(difference), size=(draws, len(difference)))
    low, high = np.quantile(difference[rows].mean(axis=1), [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def relative_errors(model, reference, images, stages) -> dict[str, float]:
    """Return for each stage how far a model's features lie from the reference's, relative to their spread.

    Parameters
    ----------
    model, reference : keras.Model
        Of one shape; both return one matrix for each of `stages`.
    images : tensor of float32, shape (n, h, w, 3)
    stages : sequence of str

    Returns
    -------
    dict of str to float
        Root of (mean squared difference / variance of the reference, each feature about its own mean).
    """
    outputs = zip(stages, model(images, training=False), reference(images, training=False), strict=True)
    errors = {}
    for stage, *pair in outputs:
        found, wanted = (np.asarray(ops.convert_to_numpy(output), np.float64) for output in pair)
        errors[stage] = float(np.sqrt(((found - wanted) ** 2).mean() / wanted.var(axis=0).mean()))
    return errors


def table(network: str, folder: Path, **options) -> str:
    """Return the comparison as a Markdown table, and a sentence that says what it comes to."""
    lines = [
        "| images | stage | measure | random | measured | self-made | self-made - random | self-made - measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    verdicts = []
    for found in compare(network, folder, **options):
        for measure in ("knn", "linear"):
            answers = {kind: getattr(scores, measure) for kind, scores in found.scores.items()}
            cells = [f"{answer.mean():.3f}" for answer in answers.values()]
            gains = [gain(answers["self_made"], answers[other]) for other in ("random", "measured")]
            verdicts.append([(low > 0) - (high < 0) for _, low, high in gains])
            cells += [f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" for mean, low, high in gains]
            lines.append(f"| {found.images} | {found.stage} | {measure} | {' | '.join(cells)} |")
        cells = [f"{scores.z:.1f}" for scores in found.scores.values()]
        lines.append(f"| {found.images} | {found.stage} | z | {' | '.join(cells)} | | |")
    return "\n".join([*lines, "", _sentence(np.array(verdicts))])


def _sentence(verdicts: np.ndarray) -> str:
    """Count the accuracies whose interval lies above or below zero, against each of the two baselines."""
    counts = [
        f"against {name} weights: better {np.sum(column > 0)}, worse {np.sum(column < 0)}"
        for name, column in zip(("random", "measured random"), verdicts.T, strict=True)
    ]
    return f"Of {len(verdicts)} accuracies, by 95 % intervals, {'; '.join(counts)}."

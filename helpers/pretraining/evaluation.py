"""Are weights of our own better than random ones? Stage by stage, on images that the training never saw.

Networks of one shape are compared: random weights; random weights whose BatchNormalization statistics were measured on
formula-made images, which costs seconds and no training; the trained weights; and ImageNet weights where there are
any. Whatever the second one reaches, training cannot claim. Beside them stands what needs no network: the raw pixels,
and always naming the largest class.

Every image is named by a probe that has seen neither it nor an image of its group (views of one original, neighbouring
crops of one picture), and the answer is right or wrong. Accuracies are means of these answers; their intervals come
from a bootstrap (`Resampling`) that draws groups of images, the same ones for every network, so that what is hard for
all of them cancels out of a difference. Random weights are drawn several times, and the draws are drawn as well. The
weights of our own were trained once: how much another training would differ is not in any interval.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from keras import ops
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .. import backbones, datasets, runtime, weights
from ..distances import gram_matrix, pairwise_distances, principal_components
from ..features import extract
from ..validation import check_whole
from .card import BASELINES, KINDS, MEASURES, Card, Estimate, SetScores, save_card, verdict
from .images import categories, render

__all__ = ["SETS", "Resampling", "Scores", "measure", "record", "relative_errors", "score", "table", "user_sets"]

SETS = {
    "shapes": {"size": 128},
    "textures": {"per_class": 16, "size": 128},
    "paintings": {"size": 128},
    "digits": {},
    "shifted-digits": {},
    "blood-cells": {},
    "patches": {},
}

FOLDS = 5


# One set, one matrix of features


@dataclass(frozen=True)
class Scores:
    """How one stage of one network does on one set, image by image.

    Attributes
    ----------
    knn, linear : ndarray of bool, shape (n,)
        Whether five neighbours, and multinomial logistic regression, name the class of each image, the fold with that
        image's group left out.
    """

    knn: np.ndarray
    linear: np.ndarray


@threadpool_limits.wrap(limits=1)
def score(features, labels, groups=None, folds: int = FOLDS, seed: int = 0) -> Scores:
    """Score one feature matrix by cross-validation, in folds that divide no group.

    The linear probe works on all principal components of the standardised features, which for a linear model are
    the features themselves: at most n - 1 numbers an image, however long the rows. Mean and spread of a feature are
    taken over all images, which uses no label.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
    labels : array_like of int, shape (n,)
    groups : array_like of int, shape (n,), optional
        Without them each image is a group of its own.
    folds, seed : int

    Returns
    -------
    Scores
    """
    labels = np.asarray(labels)
    split = folds_of(labels, groups, folds, seed)
    distances = pairwise_distances(features)
    neighbours = KNeighborsClassifier(5, metric="precomputed")
    rotated = principal_components(gram_matrix(features, standardise=True)).scores
    rotated = rotated / np.sqrt((rotated**2).sum(axis=1).mean())  # rows of length 1: one penalty fits every stage
    linear = LogisticRegression(C=100.0, max_iter=1000, tol=1e-3)
    return Scores(
        cross_val_predict(neighbours, distances, labels, cv=split) == labels,
        cross_val_predict(linear, rotated.astype(np.float64), labels, cv=split) == labels,
    )


def folds_of(labels, groups=None, folds: int = FOLDS, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training rows, test rows) of every fold: no group in both, and of each class a like share."""
    groups = np.arange(len(labels)) if groups is None else groups
    return list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups))


# Intervals


class Resampling:
    """Bootstrap replicates of a mean of right answers, over groups of images and over draws of weights.

    Groups and draws are drawn independently of each other, with replacement (Owen 2007, the pigeonhole bootstrap), and
    of each one fewer than there are: then the variance over the replicates is that of the mean without the bootstrap's
    factor (m - 1) / m, which for three draws of weights is two thirds. One draw alone stays fixed: its interval says
    nothing of other draws. An interval is the middle 95 % of the replicates. It is somewhat too short where the draws
    of weights differ by far more than the images let see, for three say little about the spread of all; a simulation
    in the tests holds that it keeps its promise elsewhere.

    Parameters
    ----------
    groups : array_like of int, shape (n,)
    draws : int
        How many times random weights were drawn.
    replicates, seed : int
        Of two resamplings with one seed, the draws of weights are the same and groups are not, unless `place` is.
    place : int
        The number of the set among others.

    References
    ----------
    Owen (2007), The pigeonhole bootstrap, https://doi.org/10.1214/07-AOAS122
    """

    def __init__(self, groups, draws: int = 1, replicates: int = 2000, seed: int = 0, place: int = 0):
        members = np.unique(np.asarray(groups), return_inverse=True)[1]
        of_groups = _counts(members.max() + 1, replicates, np.random.default_rng([seed, 1, place]))[:, members]
        of_draws = _counts(draws, replicates, np.random.default_rng([seed, 0]))
        self.images = of_groups / of_groups.sum(axis=1, keepdims=True)
        self.draws = of_draws / of_draws.sum(axis=1, keepdims=True)

    def means(self, answers) -> np.ndarray:
        """Return the replicates of the mean: (draws or 1, ..., n) to (replicates, ...)."""
        answers = np.asarray(answers, float)
        chosen = self.draws if len(answers) > 1 else np.ones((len(self.images), 1))
        found = np.einsum("bn,d...n->bd...", self.images, answers, optimize=True)
        return np.einsum("bd,bd...->b...", chosen, found)

    @staticmethod
    def estimate(mean, replicates) -> Estimate:
        """Return a mean with the middle 95 % of its replicates."""
        low, high = np.quantile(replicates, [0.025, 0.975])
        return Estimate(float(mean), float(low), float(high))


def _counts(n: int, replicates: int, random: np.random.Generator) -> np.ndarray:
    """Count how often each of `n` is chosen in each replicate, shape (replicates, n)."""
    return random.multinomial(max(n - 1, 1), np.full(n, 1 / n), size=replicates).astype(float)


# All sets, all kinds of weights


def record(network: str, folder: Path, file: Path | None = None, **options) -> Card:
    """Measure as `measure` does, write the record to `file` where one is given, and return it."""
    if file is not None and Path(file).is_dir():
        raise IsADirectoryError(f"{file} is a folder: give the file that the record is written to.")
    card = measure(network, folder, **options)
    if file is not None:
        save_card(card, file)
    return card


def measure(
    network: str,
    folder: Path,
    *,
    others: Sequence[str] = (),
    images: int = 400,
    draws: int = 10,
    size: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Card:
    """Measure every kind of weights that is at hand, on every set that is at hand.

    Nothing is downloaded. MNIST (its test part) is measured where `helpers.datasets.load` finds it.

    Parameters
    ----------
    network : str
    folder : Path
        Where the folder `network` with weights of our own is, if there are any; ImageNet weights are looked for there
        as well.
    others : sequence of str
        Further sets, each ``NAME=FOLDER`` or ``NAME=FOLDER=REGEX``: see `user_sets`.
    images : int
        Of each set at most so many, each class with its share.
    draws : int
        Of random weights. With a few only, an interval over them keeps less than it promises.
    size : int, optional
        Pixels that the network resizes to; without it the network's own.
    seed : int
        Of the first random weights, the samples, the folds and the bootstrap.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Card

    Raises
    ------
    FileNotFoundError
        If `folder`, or that of a set, does not exist.
    ValueError
        If a number or the name of a set is wrong, or a class of a set has too few images.
    """
    started, commit = time.monotonic(), runtime.commit()
    check_whole(draws, "draws", 1)
    check_whole(images, "images", 2)
    folder = Path(folder).expanduser()
    networks = _Networks(network, folder, size, draws, seed)
    sizes = networks.build()
    samples = _samples(user_sets(others, networks.size), images, seed)
    answers = _answers(networks, samples, seed, progress)
    resamplings = [
        Resampling(sample.groups, draws, seed=seed, place=place) for place, sample in enumerate(samples.values())
    ]
    sets = [
        _summary(name, samples[name], answers[name], tuple(sizes), resampling)
        for name, resampling in zip(samples, resamplings, strict=True)
    ]
    return Card(
        network,
        networks.size,
        draws,
        sizes,
        [found for found, _ in sets],
        _overall([gains for _, gains in sets]),
        networks.described(),
        {**networks.missing, **({} if "mnist" in samples else {"mnist": "MNIST was not at hand."})},
        {
            "seconds": round(time.monotonic() - started),
            "device": runtime.device(),
            "versions": runtime.versions(),
            "commit": commit,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": seed,
        },
    )


def user_sets(texts: Iterable[str], size: int) -> dict[str, dict]:
    """Return what `helpers.datasets.load_folder` is to load, by the names that the user gives.

    Parameters
    ----------
    texts : iterable of str
        ``NAME=FOLDER``, or ``NAME=FOLDER=REGEX`` where the regular expression finds in a file's name what all files
        of one original share: they are kept on one side of every fold.
    size : int
        Pixels of the images.

    Examples
    --------
    >>> user_sets(["photographs"], size=96)
    Traceback (most recent call last):
    ...
    ValueError: 'photographs' names no folder of images: write NAME=FOLDER or NAME=FOLDER=REGEX.
    """
    found = {}
    for text in texts:
        name, path, groups = (*text.split("=", 2), "", "")[:3]
        if not (name.strip() and path):
            raise ValueError(f"{text!r} names no folder of images: write NAME=FOLDER or NAME=FOLDER=REGEX.")
        if name in (*SETS, *found, "mnist"):
            raise ValueError(f"The set {name!r} is there already: give the folder {path} another name.")
        if not Path(path).expanduser().is_dir():
            raise FileNotFoundError(f"There is no folder {path}: {name!r} needs one with a subfolder for each class.")
        found[name] = {"path": path, "groups": groups or None, "size": size}
    return found


class _Networks:
    """The kinds of weights at hand: each is built when it is wanted, and one at a time."""

    def __init__(self, network: str, folder: Path, size: int | None, draws: int, seed: int):
        self.network, self.folder, self.size, self.draws, self.seed = network, folder, size, draws, seed
        there = backbones.available(network, folder=folder)
        own = (folder / network / "manifest.json").is_file()
        self.kinds = [*BASELINES, *(["self_made"] if own else []), *(["imagenet"] if "imagenet" in there else [])]
        self.missing = {}
        if not own:
            self.missing["self_made"] = "There are no weights of our own for this network."
        if "imagenet" not in there:
            published = any(file.startswith(f"{network}_weights") for file in backbones.published_files())
            self.missing["imagenet"] = (
                "ImageNet weights were not at hand." if published else "There are no ImageNet weights for this network."
            )

    def build(self) -> dict[str, int]:
        """Build the network once; return its stages with their numbers of features, and note its size."""
        first = backbones.load(self.network, "random", size=self.size, seed=self.seed)
        self.size = first.size
        return dict(first.sizes)

    def __len__(self) -> int:
        return sum(self.draws if kind in BASELINES else 1 for kind in self.kinds)

    def of(self, kind: str) -> Iterator[backbones.Backbone]:
        """Yield the networks of one kind: each draw of random weights, or the only one."""
        if kind not in BASELINES:
            yield backbones.load(self.network, kind, size=self.size, folder=self.folder, download=False)
            return
        formulas = None
        for seed in range(self.seed, self.seed + self.draws):
            found = backbones.load(self.network, "random", size=self.size, seed=seed)
            if kind == "measured":
                formulas = formulas or list(_formula_images(found.size, self.seed))
                backbones.measure_statistics(found.model, formulas)
            yield found

    def described(self) -> dict:
        """Return what is known of the weights of our own, their training card with it; empty where there are none."""
        if "self_made" not in self.kinds:
            return {}
        home = self.folder / self.network
        manifest = weights.describe(home)
        bytes_held = sum(path.stat().st_size for path in home.iterdir() if path.is_file())
        return {"bytes": bytes_held, **{name: manifest.get(name) for name in ("dtype", "parameters", "about")}}


def _formula_images(size: int, seed: int, batches: int = 8, batch_size: int = 32) -> Iterator[np.ndarray]:
    drawn = categories(batches * batch_size, seed + 1)
    for part in np.array_split(np.arange(len(drawn)), batches):
        yield np.concatenate([render(drawn[i], 1, size, np.random.default_rng([seed, i])) for i in part])


def _samples(users: Mapping[str, dict], images: int, seed: int) -> dict[str, datasets.ImageSet]:
    """Load every set and draw from it; what has too few images is refused before anything is computed."""
    loaders = {name: (name, options) for name, options in SETS.items()}
    loaders["mnist"] = "mnist", {"part": "test", "download": False}
    loaders |= {name: ("folder", options) for name, options in users.items()}
    samples = {}
    for name, (loader, options) in loaders.items():
        try:
            sample = datasets.load(loader, **options).sample(images, seed)
        except FileNotFoundError:
            if loader != "mnist":
                raise
            continue
        _check_folds(sample, name)
        told = f"; originals by {options['groups']}" if options.get("groups") else ""
        samples[name] = replace(sample, source=sample.source + told)
    return samples


def _check_folds(sample: datasets.ImageSet, name: str) -> None:
    for label in np.unique(sample.labels):
        held = len(np.unique(sample.groups[sample.labels == label]))
        if held < FOLDS:
            raise ValueError(
                f"In the set {name}, the class {sample.class_names[label]} has images of {held} originals, but "
                f"{FOLDS} folds need one each: give more images of it, or leave the class out."
            )


def _answers(networks: _Networks, samples: Mapping, seed: int, progress: bool) -> dict[str, dict[str, np.ndarray]]:
    """Return for each set and kind the right answers, shape (draws, stages, measures, n)."""
    answers = {name: {"pixels": _pixels(sample, networks, seed)} for name, sample in samples.items()}
    found = {name: {kind: [] for kind in networks.kinds} for name in samples}
    with tqdm(total=len(networks) * len(samples), unit="set", disable=not progress) as bar:
        for kind in networks.kinds:
            for backbone in networks.of(kind):
                for name, sample in samples.items():
                    bar.set_description(f"{KINDS[kind]}, {name}")
                    features = extract(backbone, sample, progress=False)
                    found[name][kind].append(
                        [_right(score(features[stage], sample.labels, sample.groups, seed=seed)) for stage in features]
                    )
                    bar.update()
    return {name: {**answers[name], **{kind: np.array(one) for kind, one in found[name].items()}} for name in samples}


def _pixels(sample: datasets.ImageSet, networks: _Networks, seed: int) -> np.ndarray:
    """Score the pixels that the network sees: images resized as it does, laid flat."""
    images, size = sample.images, (networks.size, networks.size)
    if images.shape[1:3] != size:
        images = ops.image.resize(images, size, interpolation="bilinear", antialias=True, data_format="channels_last")
    flat = ops.convert_to_numpy(images).reshape(len(sample), -1)
    return np.array([[_right(score(flat, sample.labels, sample.groups, seed=seed))]])


def _right(scores: Scores) -> list[np.ndarray]:
    return [getattr(scores, name) for name in MEASURES]


def _summary(name, sample, answers, stages, resampling) -> tuple[SetScores, dict[str, tuple]]:
    """Return one set's part of the record, and its mean differences with their replicates."""
    means = {kind: found.mean(axis=(0, -1)) for kind, found in answers.items()}  # (stages, measures)
    drawn = {kind: resampling.means(found) for kind, found in answers.items()}
    scores = {kind: _by_stage(means[kind], drawn[kind], stages) for kind in answers if kind != "pixels"}
    gains, gain, overall = {}, {}, {}
    for baseline in BASELINES if "self_made" in answers else ():
        mean, replicates = means["self_made"] - means[baseline], drawn["self_made"] - drawn[baseline]
        gains[baseline] = _by_stage(mean, replicates, stages)
        overall[baseline] = mean.mean(), replicates.mean(axis=(1, 2))
        gain[baseline] = Resampling.estimate(*overall[baseline])
    found = SetScores(
        name,
        sample.source,
        len(sample),
        len(np.unique(sample.labels)),
        len(np.unique(sample.groups)),
        float(np.bincount(sample.labels).max() / len(sample)),
        _by_stage(means["pixels"], drawn["pixels"], ("pixels",))["pixels"],
        scores,
        gains,
        gain,
    )
    return found, overall


def _by_stage(means: np.ndarray, replicates: np.ndarray, stages) -> dict[str, dict[str, Estimate]]:
    return {
        stage: {
            name: Resampling.estimate(means[place, column], replicates[:, place, column])
            for column, name in enumerate(MEASURES)
        }
        for place, stage in enumerate(stages)
    }


def _overall(gains: Sequence[Mapping[str, tuple]]) -> dict[str, Estimate]:
    """Return the mean differences over all sets: replicates share the draws of weights, and draw images set by set."""
    return {
        baseline: Resampling.estimate(
            np.mean([found[baseline][0] for found in gains]), np.mean([found[baseline][1] for found in gains], axis=0)
        )
        for baseline in gains[0]
    }


# For the console, and for the export


def table(card: Card) -> str:
    """Return a record as a Markdown table, and what it comes to."""
    heads = ["images", "stage", "measure", *(KINDS[kind] for kind in card.kinds)]
    heads += [f"own less {KINDS[baseline]}" for baseline in card.gain]
    lines = [heads, ["---"] * len(heads)]
    for found in card.sets:
        for name, title in MEASURES.items():
            pixels = f"{found.pixels[name].mean:.3f}"
            lines.append([found.name, "pixels", title, pixels, *[""] * (len(heads) - 4)])
            for stage in card.stages:
                cells = [f"{found.scores[kind][stage][name].mean:.3f}" for kind in card.kinds]
                cells += [_spoken(found.gains[baseline][stage][name]) for baseline in card.gain]
                lines.append([found.name, stage, title, *cells])
        if found.gain:
            cells = [_spoken(found.gain[baseline]) for baseline in card.gain]
            lines.append([found.name, "all", "mean", *[""] * len(card.kinds), *cells])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{rows}\n\n{verdict(card)}"


def _spoken(found: Estimate) -> str:
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


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

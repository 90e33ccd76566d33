"""What is compared, on which data, and what the results should reach."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .runner import Absent, Contender, Suite

__all__ = ["SPEEDS", "SUITES", "TARGETS", "WORDS", "Target", "cases_of_targets", "check_targets"]

GIBIBYTE = 2**30


# Permutation tests


def write_distances(case: dict, folder: Path) -> None:
    """Write a matrix of float32 distances and labels that have nothing to do with them."""
    from scipy.spatial.distance import cdist

    n = case["n"]
    points = np.random.default_rng(0).normal(size=(n, 16))
    matrix = np.lib.format.open_memmap(folder / "distances.npy", "w+", np.float32, (n, n))
    for start in range(0, n, 1000):
        matrix[start : start + 1000] = cdist(points[start : start + 1000], points)
    np.save(folder / "labels.npy", np.random.default_rng(1).permutation(np.arange(n) % case["classes"]))


def read_distances(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "distances.npy", mmap_mode="r"), np.load(folder / "labels.npy")


def our_test(method: str, permutations: int | None = None):
    from helpers.separability import permutation_test

    def prepare(case, folder):
        distances, labels = read_distances(folder)
        return lambda count: permutation_test(
            distances, labels, permutations=permutations or count, method=method, random_state=0
        )

    return prepare


def our_moments():
    from helpers.separability import mrpp_moments

    def prepare(case, folder):
        distances, labels = read_distances(folder)
        return lambda count: mrpp_moments(distances, labels)

    return prepare


def naive_loop():
    """What one writes first: a mask of the pairs within classes for each permutation."""

    def goodness(distances, labels):
        same = labels[:, None] == labels
        between = distances[~same].mean(dtype=np.float64)
        np.fill_diagonal(same, False)
        return between / distances[same].mean(dtype=np.float64)

    def prepare(case, folder):
        distances, labels = read_distances(folder)
        random = np.random.default_rng(0)
        return lambda count: [goodness(distances, random.permutation(labels)) for _ in range(count)]

    return prepare


def scikit_bio(test: str, **options):
    """`DistanceMatrix` checks and copies the matrix while it is prepared, untimed; ours checks within the test."""
    if options.get("engine") == "numba" and not importlib.util.find_spec("numba"):
        raise Absent("numba is not installed")
    from skbio import DistanceMatrix
    from skbio.stats import distance

    def prepare(case, folder):
        distances, labels = read_distances(folder)
        matrix = DistanceMatrix(distances)
        return lambda count: getattr(distance, test)(matrix, labels, permutations=count, seed=0, **options)

    return prepare


VEGAN = """
suppressMessages(library(vegan))
input <- file("stdin", "r")
repeat {
  line <- readLines(input, 1)
  if (!length(line)) break
  words <- strsplit(line, "\\t")[[1]]
  if (words[1] == "read") {
    n <- as.integer(words[3])
    file <- file(words[2], "rb")
    seek(file, as.integer(words[4]))
    distances <- as.dist(matrix(readBin(file, "numeric", n * n, size = 4), n))
    close(file)
    labels <- factor(scan(words[5], quiet = TRUE))
    invisible(gc())
    cat("0\\n")
  } else {
    test <- mrpp(distances, labels, permutations = as.integer(words[2]), weight.type = 3)
    cat(format(test$delta, digits = 10), "\\n")
  }
}
"""


def vegan():
    """R's mrpp with weights n (n - 1), whose delta is the mean distance within classes that ours is a function of."""
    if not shutil.which("Rscript"):
        raise Absent("Rscript is not on the path")
    check = subprocess.run(["Rscript", "-e", "library(vegan)"], capture_output=True, check=False)
    if check.returncode:
        raise Absent("R has no package vegan")
    process = subprocess.Popen(["Rscript", "-e", VEGAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(*words):
        print(*words, sep="\t", file=process.stdin, flush=True)
        answer = process.stdout.readline()
        if not answer:
            raise Absent("R stopped, perhaps for want of memory")
        return float(answer)

    def prepare(case, folder):
        distances, labels = read_distances(folder)
        np.savetxt(folder / "labels.txt", labels, fmt="%d")
        ask("read", folder / "distances.npy", case["n"], distances.offset, folder / "labels.txt")
        return lambda count: ask("run", count)

    return prepare


def at_most(entries: float, least: int = 2):
    """Return how many permutations may read so many entries of the matrix, one after the other.

    `least` is for tests that rank or copy the distances first: the permutations must outweigh that.
    """
    return lambda case: max(least, int(entries / case["n"] ** 2))


def compare_with_fastest_peer(rows: list[dict]) -> None:
    """Add how many times faster each row is than the fastest peer, and who that is."""
    peers = [row for row in rows if row["peer"] and not row["rough"]]
    fastest = min(peers, key=lambda row: row["median"], default=None)
    for row in rows:
        if fastest and not row["rough"]:
            row["measures"]["× fastest peer"] = fastest["median"] / row["median"]
            row["measures"]["fastest peer"] = fastest["contender"]


def measure_against_peers(case: dict, rows: list[dict]) -> None:
    """Add the ratio to the fastest peer, and the peak of memory in n x n float32 matrices."""
    compare_with_fastest_peer(rows)
    for row in rows:
        row["measures"]["matrices"] = row["peak_bytes"] / (4 * case["n"] ** 2)


def measure_permutations(case: dict, rows: list[dict]) -> None:
    """Add also the ratio to `permanova` as scikit-bio calls it unless it is told otherwise: on its Cython engine."""
    measure_against_peers(case, rows)
    usual = next((row for row in rows if row["contender"] == PERMANOVA and not row["rough"]), None)
    for row in rows:
        if usual and not row["rough"]:
            row["measures"]["× permanova"] = usual["median"] / row["median"]


PERMANOVA = "scikit-bio permanova"
LARGE = {"n": 10_000, "classes": 10}  # which the targets name

PERMUTATIONS = Suite(
    name="permutations",
    title="Permutation tests",
    note="Memory is also counted in matrices of float32 distances, the given one included.",
    ratio="× fastest peer",
    unit="permutations",
    contenders=(
        Contender("ours, shifts", our_test, {"method": "shifts"}),
        # the limits keep a run to some seconds on two cores
        Contender("ours, independent", our_test, {"method": "independent"}, False, at_most(1e12)),
        Contender("naive loop", naive_loop, peer=True, most=at_most(1e9)),
        Contender(PERMANOVA, scikit_bio, {"test": "permanova"}, True, at_most(1.6e9)),
        Contender(
            "scikit-bio permanova, numba", scikit_bio, {"test": "permanova", "engine": "numba"}, True, at_most(1e11)
        ),
        Contender("scikit-bio anosim", scikit_bio, {"test": "anosim"}, True, at_most(1e8, 12)),
        Contender("vegan mrpp", vegan, peer=True, most=at_most(5e8, 30)),
    ),
    cases=(*({"n": n, "classes": classes} for n in (1000, 4000, 10_000) for classes in (4, 28)), LARGE),
    tiny={"n": 120, "classes": 4},
    amounts=lambda case: (999, 9999) if case["n"] >= 1000 else (19, 99),
    make=write_distances,
    measure=measure_permutations,
    allowance=lambda case: 60.0 if case == LARGE else 10.0,  # most rounds where the targets are
)


def measure_against_moments(case: dict, rows: list[dict]) -> None:
    """Add how many times longer a row takes than the exact moments."""
    (moments,) = [row for row in rows if row["contender"] == "mrpp_moments"] or [None]
    for row in rows:
        if moments:
            row["measures"]["× moments"] = row["median"] / moments["median"]
        row["measures"]["matrices"] = row["peak_bytes"] / (4 * case["n"] ** 2)


MOMENTS = Suite(
    name="moments",
    title="Exact moments of the permutation distribution, against drawing 999 permutations",
    ratio="× moments",
    unit="test",
    contenders=(
        Contender("mrpp_moments", our_moments),
        Contender("999 shifts", our_test, {"method": "shifts", "permutations": 999}),
        Contender("999 independent", our_test, {"method": "independent", "permutations": 999}),
    ),
    cases=({"n": 1000, "classes": 10}, {"n": 4000, "classes": 10}),
    tiny={"n": 120, "classes": 4},
    amounts=lambda case: (1,),
    make=write_distances,
    measure=measure_against_moments,
)


# Pairwise distances

NEAR = 50  # one row in so many is followed by a near copy of itself


def write_features(case: dict, folder: Path) -> None:
    """Write features as after a ReLU: half of them 0; rows 2i and 2i + 1 are near copies for the first few i."""
    random = np.random.default_rng(0)
    features = np.maximum(random.standard_normal((case["n"], case["d"]), np.float32), 0)
    copies = np.arange(1, max(2, case["n"] // NEAR), 2)
    noise = random.standard_normal((len(copies), case["d"]), np.float32)
    features[copies] = features[copies - 1] + np.float32(1e-3) * noise
    np.save(folder / "features.npy", features)


def rows_of(pairs: int) -> int:
    """Return how many rows have at least so many pairs."""
    return math.ceil((1 + math.sqrt(1 + 8 * pairs)) / 2)


def all_distances(library: str):
    """The Euclidean distances of as many rows as have the pairs that are asked for."""
    if library == "ours":
        from helpers.distances import pairwise_distances as distances
    elif library == "SciPy":
        from scipy.spatial.distance import pdist as distances
    else:
        from sklearn.metrics.pairwise import euclidean_distances as distances

    def prepare(case, folder):
        features = np.load(folder / "features.npy")
        return lambda pairs: distances(features[: rows_of(pairs)])

    return prepare


def judge_distances(case: dict, folder: Path, found: np.ndarray) -> dict:
    """Return the largest relative error over some pairs of rows, against float64 differences of the same rows."""
    features = np.load(folder / "features.npy", mmap_mode="r")
    rows = len(found) if found.ndim == 2 else rows_of(len(found))

    def error(first, second):
        pairs = zip(features[first], features[second], strict=True)
        exact = [np.linalg.norm(one.astype(np.float64) - other) for one, other in pairs]
        # where `pdist` keeps the pair (i, j), i < j
        given = found[first, second] if found.ndim == 2 else found[rows * first - first * (first + 3) // 2 + second - 1]
        return float(np.max(np.abs(given - exact) / exact))

    chosen = np.random.default_rng(2).integers(0, rows, size=(300, 2))
    first, second = np.sort(chosen[chosen[:, 0] // 2 != chosen[:, 1] // 2], axis=1).T
    copies = np.arange(1, min(rows, max(2, case["n"] // NEAR)), 2)
    return {"error": error(first, second), "error of near copies": error(copies - 1, copies)}


def measure_distances(case: dict, rows: list[dict]) -> None:
    measure_against_peers(case, rows)
    for row in rows:
        row["measures"] |= row["notes"]


DISTANCES = Suite(
    name="distances",
    title="Euclidean distances of all pairs of rows",
    note="Errors are the largest relative ones over some hundred pairs.",
    ratio="× fastest peer",
    unit="pairs",
    contenders=(
        Contender("ours", all_distances, {"library": "ours"}),
        Contender("SciPy pdist", all_distances, {"library": "SciPy"}, True, lambda case: int(4e9 / case["d"])),
        Contender("scikit-learn euclidean_distances", all_distances, {"library": "scikit-learn"}, True),
    ),
    cases=({"n": 1000, "d": 2048}, {"n": 4000, "d": 2048}, {"n": 2000, "d": 49_152}),
    tiny={"n": 100, "d": 256},
    amounts=lambda case: (case["n"] * (case["n"] - 1) // 2,),
    make=write_features,
    measure=measure_distances,
    judge=judge_distances,
)


# Gram matrix and dual PCA of features on disk


def write_wide_features(case: dict, folder: Path) -> None:
    """Write float16 features with some directions of large variance, a block of rows at a time."""
    n, d, rank = case["n"], case["d"], 50
    random = np.random.default_rng(0)
    directions = random.standard_normal((rank, d), np.float32)
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, (n, d))
    for start in range(0, n, 250):
        block = features[start : start + 250]
        block[:] = random.standard_normal((len(block), rank), np.float32) @ directions / 7 + random.standard_normal(
            block.shape, np.float32
        )
    features.flush()
    np.save(folder / "labels.npy", np.arange(n) % 10)


def forget_file(path: Path) -> None:
    """Ask the system to drop a file from its cache, so that the next read is one from disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def our_wide_statistics():
    from helpers.distances import distances_from_gram, gram_matrix, principal_components
    from helpers.separability import clustering_goodness

    def prepare(case, folder):
        labels = np.load(folder / "labels.npy")

        def run(count):
            forget_file(folder / "features.npy")
            times = [time.perf_counter()]
            gram = gram_matrix(np.load(folder / "features.npy", mmap_mode="r"))
            times.append(time.perf_counter())
            principal_components(gram, components=min(50, case["n"] // 2))
            times.append(time.perf_counter())
            clustering_goodness(distances_from_gram(gram, overwrite=True), labels)
            times.append(time.perf_counter())
            return dict(zip(("Gram s", "PCA s", "goodness s"), np.diff(times).tolist(), strict=True))

        return run

    return prepare


def wide_statistics_in_memory():
    """The same with all features in memory in float32, as one would without thinking of memory."""

    def prepare(case, folder):
        labels = np.load(folder / "labels.npy")

        def run(count):
            forget_file(folder / "features.npy")
            times = [time.perf_counter()]
            features = np.load(folder / "features.npy").astype(np.float32)
            features -= features.mean(axis=0)
            gram = features @ features.T
            times.append(time.perf_counter())
            np.linalg.eigh(gram)
            times.append(time.perf_counter())
            norms = np.diagonal(gram)
            distances = np.sqrt(np.maximum(norms[:, None] + norms - 2 * gram, 0))
            same = labels[:, None] == labels
            distances[~same].mean() / distances[same & ~np.eye(len(labels), dtype=bool)].mean()
            times.append(time.perf_counter())
            return dict(zip(("Gram s", "PCA s", "goodness s"), np.diff(times).tolist(), strict=True))

        return run

    return prepare


def matrix_product():
    """One product of two float32 matrices, for the rate that this machine reaches at this moment."""

    def prepare(case, folder):
        left, right = np.random.default_rng(0).standard_normal((2, case["n"], PRODUCT_COLUMNS), np.float32)
        return lambda count: left @ right.T

    return prepare


def keep_times(case: dict, folder: Path, times) -> dict:
    return times if isinstance(times, dict) else {}


def measure_wide(case: dict, rows: list[dict]) -> None:
    """Add the parts' seconds of the last round, the share of the machine's rate, and the memory.

    The Gram matrix takes n (n + 1) d multiplications and additions: its two halves are equal. A library that
    computes both halves is not credited for the second one.
    """
    n, d = case["n"], case["d"]
    for row in rows:
        if row["contender"] == PRODUCT:
            row["measures"]["GFLOP/s"] = 2 * n * n * PRODUCT_COLUMNS / row["median"] / 1e9
    rates = [row["measures"]["GFLOP/s"] for row in rows if row["contender"] == PRODUCT]
    compare_with_fastest_peer([row for row in rows if row["contender"] != PRODUCT])
    for row in rows:
        if row["contender"] != PRODUCT:
            row["measures"] |= row["notes"]
            row["measures"]["GFLOP/s"] = n * (n + 1) * d / row["median"] / 1e9
            row["measures"]["GiB beyond Gram"] = (row["peak_bytes"] - 4 * n * n) / GIBIBYTE
        if rates:
            row["measures"]["share of the rate"] = row["measures"]["GFLOP/s"] / rates[0]


PRODUCT, PRODUCT_COLUMNS = "one float32 matrix product", 4096

GRAM = Suite(
    name="gram",
    title="Gram matrix, 50 principal components and goodness of float16 features, read from disk",
    note="One product of matrices in memory shows the rate that the machine reached at that time.",
    ratio="× fastest peer",
    unit="run",
    contenders=(
        Contender(PRODUCT, matrix_product),
        Contender("ours, by blocks of columns", our_wide_statistics),
        Contender("NumPy, all in memory", wide_statistics_in_memory, peer=True),
    ),
    cases=({"n": 4000, "d": 83_232},),
    tiny={"n": 100, "d": 500},
    amounts=lambda case: (1,),
    make=write_wide_features,
    measure=measure_wide,
    judge=keep_times,
)


# Extraction of the features of every stage


def write_images(case: dict, folder: Path) -> None:
    shape = (case["images"], case["size"], case["size"], 3)
    np.save(folder / "images.npy", np.random.default_rng(0).random(shape, np.float32))


def extraction(stages: str):
    """One pass for all stages, one pass for the last alone, or a network of its own for each stage."""
    import keras

    from helpers import backbones, features

    def passes(models, images):
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return [[model.predict_on_batch(batch) for batch in batches] for model in models]

    def prepare(case, folder):
        images = np.load(folder / "images.npy")
        backbone = backbones.load("inception_v3", weights="random", size=case["size"])
        outputs = backbone.model.outputs if stages == "one by one" else backbone.model.outputs[-1:]
        models = [keras.Model(backbone.model.inputs, output) for output in outputs]

        def run(count, images=images):
            if stages == "together":
                return features.extract(backbone, images, batch_size=BATCH, progress=False)
            return passes(models, images)

        run(1, images[:BATCH])  # compiled for this size
        return run

    return prepare


def measure_extraction(case: dict, rows: list[dict]) -> None:
    """Add how many times longer a row takes than a bare forward pass."""
    bare = next((row["median"] for row in rows if row["contender"] == BARE), None)
    for row in rows:
        if bare:
            row["measures"]["× bare pass"] = row["median"] / bare


BARE, BATCH = "bare forward pass to the last stage", 16

EXTRACTION = Suite(
    name="extraction",
    title="Inception-v3 with random weights: the features of its four pooling stages",
    ratio="× bare pass",
    unit="pass",
    contenders=(
        Contender(BARE, extraction, {"stages": "last"}),
        Contender("ours, all stages in one pass", extraction, {"stages": "together"}),
        Contender("a model for each stage", extraction, {"stages": "one by one"}),
    ),
    cases=({"images": 32, "size": 299},),
    tiny={"images": 4, "size": 75},
    amounts=lambda case: (1,),
    make=write_images,
    measure=measure_extraction,
)

SUITES = {suite.name: suite for suite in (PERMUTATIONS, MOMENTS, DISTANCES, GRAM, EXTRACTION)}

# what a number is of, for those who read it in a sentence
WORDS = {
    "× fastest peer": "times as fast as the fastest peer",
    "× moments": "times as long as the exact moments",
    "× bare pass": "times as long as a bare forward pass",
    "matrices": "n × n matrices of float32 in memory at the peak",
    "share of the rate": "of the rate of one float32 matrix product",
    "GiB beyond Gram": "GiB of memory beyond the Gram matrix",
}
SPEEDS = ("× fastest peer",)  # of the ratios those that grow with speed; the others grow with time


# Targets


@dataclass(frozen=True)
class Target:
    """What one measure of one row should reach: at least the goal, or at most.

    Attributes
    ----------
    suite, case, contender, amount
        Of the row.
    measure : str
    goal : float
    at_least : bool
    """

    suite: str
    case: dict
    contender: str
    amount: int
    measure: str
    goal: float
    at_least: bool = True


TARGETS = (
    Target("permutations", LARGE, "ours, shifts", 999, "× fastest peer", 40),
    Target("permutations", LARGE, "ours, shifts", 9999, "× fastest peer", 400),
    Target("permutations", LARGE, "ours, independent", 999, "× fastest peer", 3),
    Target("permutations", LARGE, "ours, independent", 9999, "× fastest peer", 3),
    Target("permutations", LARGE, "ours, shifts", 9999, "matrices", 3, at_least=False),
    Target("permutations", LARGE, "ours, independent", 9999, "matrices", 3, at_least=False),
    Target("gram", GRAM.cases[0], "ours, by blocks of columns", 1, "share of the rate", 0.5),
    Target("gram", GRAM.cases[0], "ours, by blocks of columns", 1, "GiB beyond Gram", 2, at_least=False),
    Target("extraction", EXTRACTION.cases[0], "ours, all stages in one pass", 1, "× bare pass", 1.15, at_least=False),
)


def cases_of_targets(suite: Suite, targets: tuple[Target, ...] = TARGETS) -> tuple[dict, ...]:
    """Return the cases of a suite that a target names; all of them where none does."""
    named = [target.case for target in targets if target.suite == suite.name]
    return tuple(case for case in suite.cases if case in named) or suite.cases


def check_targets(rows: list[dict], targets: tuple[Target, ...] = TARGETS) -> list[dict]:
    """Return each target beside what was measured: ``"met"``, ``"missed"`` or ``"not measured"``."""
    return [_check_target(rows, target) for target in targets]


def _check_target(rows: list[dict], target: Target) -> dict:
    wanted = (target.suite, target.case, target.contender, target.amount)
    found = [row for row in rows if (row["suite"], row["case"], row["contender"], row["amount"]) == wanted]
    measured = found[0].get("measures", {}).get(target.measure) if found else None
    if measured is None:
        verdict = "not measured"
    else:
        verdict = "met" if (measured >= target.goal if target.at_least else measured <= target.goal) else "missed"
    return asdict(target) | {"measured": measured, "verdict": verdict}

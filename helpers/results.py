"""The results store: one JSON and one ``.npz`` for each chapter and method.

The layout of the folder is ``<chapter>/<data>-<method>.json``, the same with ``.npz``,
``<chapter>/<data>.claims.json`` with what the chapter claims, ``<chapter>/<data>.curves.json`` with its curves over the
share of labels and, written by `make book`, ``<chapter>/run.json`` about the execution of the whole chapter. Files are
replaced atomically: a reader sees the old file or the new one, never half of one.

This module, and what reads the store, imports no Keras: the site is built in seconds.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from . import runtime

__all__ = [
    "KINDS",
    "Claim",
    "Curve",
    "Record",
    "Recorded",
    "Timings",
    "load",
    "load_claims",
    "load_curves",
    "load_readable",
    "load_recorded",
    "load_runs",
    "load_timings",
    "save",
    "save_claims",
    "save_curves",
    "save_recorded",
    "save_run",
    "save_timings",
    "slug",
    "three_digits",
]

KINDS = ("baseline", "method", "supervised")

_CLAIMS, _CURVES = ".claims.json", ".curves.json"


@dataclass(frozen=True)
class Record:
    """One row of a scorecard, and the maps of its features.

    Attributes
    ----------
    chapter : str
        The slug of the notebook, for example ``"convolutional-autoencoder"``.
    method : str
        The row's name as the tables show it, for example ``"autoencoder, 32"``.
    kind : {'baseline', 'method', 'supervised'}
        Only supervised rows saw labels before they were scored.
    data : str
        The name of the data set.
    dimensions : int
        The number of features per image.
    seeds : list of int
    measures : dict of str to list of float
        One value per seed under each of `helpers.scorecard.MEASURES`.
    also : dict of str to list of float
        Values that only this chapter has, one per seed, for example under ``"test MSE"``.
    maps : dict of str to dict of str to float
        Under ``"PCA"``, ``"t-SNE"``, ``"UMAP"`` the map's ``trustworthiness``, ``continuity`` and
        ``neighbours_kept``; the coordinates are ``arrays["PCA"]`` and so on.
    about : dict
        Profile, back-end, device, versions, weights, seconds per seed, parameters, numbers of images.
    class_names : list of str
    arrays : dict of str to ndarray
        ``labels`` int64 (n,), ``clusters`` int64 (n,), ``thumbnails`` uint8 (n, h, w, c), and one float32
        (n, 2) for each map; row i is the same image in all of them. Where the chapter stored them, ``neighbours``
        int64 (n, k): for each image the rows of the others that are nearest by its features, the nearest first.
    """

    chapter: str
    method: str
    kind: str
    data: str
    dimensions: int
    seeds: list[int]
    measures: dict[str, list[float]]
    also: dict[str, list[float]] = field(default_factory=dict)
    maps: dict[str, dict[str, float]] = field(default_factory=dict)
    about: dict = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def mean(self, measure: str) -> float:
        """Return the mean of `measure` over the seeds."""
        return float(np.mean(self.measures[measure]))

    def spread(self, measure: str) -> float:
        """Return the standard deviation of `measure` over the seeds; 0 for a single seed."""
        values = self.measures[measure]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Claim:
    """A sentence of a chapter that its own run decides.

    Attributes
    ----------
    chapter, data : str
        As in a `Record`.
    sentence : str
        As it stands in the chapter's key points.
    values : list of float
        What decides it, one value per seed: often the difference between two rows.
    least, most : float or None
        The claim holds if every value lies within [least, most]; None leaves an end open.
    """

    chapter: str
    data: str
    sentence: str
    values: list[float]
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether every seed's value lies within the band."""
        low = -np.inf if self.least is None else self.least
        high = np.inf if self.most is None else self.most
        return bool(self.values) and all(low <= value <= high for value in self.values)

    @property
    def band(self) -> str:
        """The band in words, for example ``"at least 0.02"``."""
        ends = (("at least", self.least), ("at most", self.most))
        return _minus(" and ".join(f"{words} {end:g}" for words, end in ends if end is not None))

    @property
    def told(self) -> str:
        """The value of each seed, for example ``"0.031, 0.0274"``."""
        return _minus(", ".join(f"{value:.3g}" for value in self.values))


def _minus(numbers: str) -> str:
    return numbers.replace("-", "\N{MINUS SIGN}")  # a line may end behind a hyphen, but not behind this


@dataclass(frozen=True)
class Curve:
    """How well a method names images by some features, when few labels are given.

    Attributes
    ----------
    chapter, data : str
        As in a `Record`.
    features, method : str
        What was compared with what, for example ``"raw pixels"`` and ``"propagation"``.
    per_class : list of int
        Labels given of each class.
    accuracy : list of list of float
        For each of `per_class` the share of hidden labels that were named rightly, one value per draw of the labels.
        Value i belongs to the same draw in every curve of a chapter.
    """

    chapter: str
    data: str
    features: str
    method: str
    per_class: list[int]
    accuracy: list[list[float]]


@dataclass(frozen=True)
class Recorded:
    """A chapter's run that is kept in git: what came out and what it took, without maps and thumbnails.

    Attributes
    ----------
    run : dict
        As `save_run` writes it, and under ``"commit"`` the code that ran.
    records : list of Record
        Without arrays.
    claims : list of Claim
    """

    run: dict
    records: list[Record]
    claims: list[Claim]


@dataclass(frozen=True)
class Timings:
    """What `make bench` found on one device and is kept in git, from one run or from several.

    Attributes
    ----------
    device : str
        As `helpers.runtime.device` calls it.
    runs : dict of str to dict
        Under the date of each run its commit, processor, cores, back-end, versions, rounds and seconds.
    suites : dict of str to dict
        The ``title`` and the ``note`` of each suite, in the order of the bench, and the ``measure`` that compares its
        contenders, in ``words``.
    rows : list of dict
        One for each case, contender and amount of work; ``run`` is the date of the run that it is from.
    targets : list of dict
        What the rows should reach, with what was ``measured`` and the ``verdict``.
    """

    device: str
    runs: dict[str, dict]
    suites: dict[str, dict]
    rows: list[dict]
    targets: list[dict]


def slug(name: str) -> str:
    """Return `name` as a file name: lower case, words joined by hyphens.

    Examples
    --------
    >>> slug("autoencoder, 32 (linear)")
    'autoencoder-32-linear'

    Raises
    ------
    ValueError
        If nothing is left of the name.
    """
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not words:
        raise ValueError(f"The name {name!r} holds no letter or digit of ASCII, so no file can be named after it.")
    return words


def save(record: Record, folder: Path | str | None = None) -> Path:
    """Write `record` to the store and return the path of its JSON file.

    The arrays are written first, so that a JSON file never stands without them.

    Raises
    ------
    OSError
        If the folder cannot be written to; what it held is unchanged.
    """
    home = Path(folder or runtime.results_folder()) / slug(record.chapter)
    path = home / f"{slug(record.data)}-{slug(record.method)}.json"
    described = _to_json({name: value for name, value in asdict(record).items() if name != "arrays"})
    _replace(path.with_suffix(".npz"), lambda stream: np.savez_compressed(stream, **record.arrays))
    _replace(path, lambda stream: stream.write(described))
    return path


def save_claims(claims: Sequence[Claim], folder: Path | str | None = None) -> Path:
    """Write the claims of one chapter about one data set and return the path of their file.

    Raises
    ------
    ValueError
        If there are none, or they are of several chapters or data sets.
    """
    if len({(claim.chapter, claim.data) for claim in claims}) != 1:
        raise ValueError("A file holds the claims of one chapter about one data set: give one claim or more of it.")
    path = Path(folder or runtime.results_folder()) / slug(claims[0].chapter) / f"{slug(claims[0].data)}{_CLAIMS}"
    _replace(path, lambda stream: stream.write(_to_json([asdict(claim) for claim in claims])))
    return path


def save_curves(curves: Sequence[Curve], folder: Path | str | None = None) -> Path:
    """Write the curves of one chapter about one data set and return the path of their file.

    Raises
    ------
    ValueError
        If there are none, they are of several chapters or data sets, or do not share their numbers and draws of labels.
    """
    if len({(curve.chapter, curve.data) for curve in curves}) != 1:
        raise ValueError("A file holds the curves of one chapter about one data set: give one curve or more of it.")
    shapes = {(*curve.per_class, *map(len, curve.accuracy)) for curve in curves}
    if len(shapes) > 1 or any(len(curve.accuracy) != len(curve.per_class) for curve in curves):
        raise ValueError("The curves do not share their numbers of labels and their draws: compute them alike.")
    path = Path(folder or runtime.results_folder()) / slug(curves[0].chapter) / f"{slug(curves[0].data)}{_CURVES}"
    _replace(path, lambda stream: stream.write(_to_json([asdict(curve) for curve in curves])))
    return path


def save_run(chapter: str, run: Mapping, folder: Path | str | None = None) -> Path:
    """Write what the execution of a whole chapter took (seconds, key, versions) as ``run.json``."""
    path = Path(folder or runtime.results_folder()) / slug(chapter) / "run.json"
    _replace(path, lambda stream: stream.write(_to_json(dict(run))))
    return path


def save_recorded(recorded: Recorded, folder: Path | str) -> Path:
    """Write a chapter's run as ``<chapter>.json`` and return its path."""
    rows = [{key: value for key, value in asdict(row).items() if key != "arrays"} for row in recorded.records]
    claims = [asdict(claim) for claim in recorded.claims]
    path = Path(folder) / f"{slug(recorded.run['chapter'])}.json"
    _replace(path, lambda stream: stream.write(_to_json({"run": recorded.run, "records": rows, "claims": claims})))
    return path


def load_recorded(folder: Path | str) -> dict[str, Recorded]:
    """Read the recorded runs, under their chapters' slugs; empty where none was recorded.

    Raises
    ------
    ValueError
        If a file is damaged, naming the file and what to do.
    """
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        told = _load_json(path)
        try:
            records = [Record(**row) for row in told["records"]]
            found[path.stem] = Recorded(told["run"], records, [Claim(**claim) for claim in told["claims"]])
        except (TypeError, KeyError) as error:
            raise ValueError(f"The recorded run {path} is damaged ({error}): run `make record` again.") from error
    return found


def three_digits(value: float | None) -> str:
    """Return a number as a person would write it, with three significant digits; nothing for None.

    Examples
    --------
    >>> [three_digits(value) for value in (0.12345, 12345.6, 1.2345e-7, 0, None)]
    ['0.123', '12,346', '1.2e-07', '0', '']
    """
    if value is None:
        return ""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def save_timings(timings: Timings, folder: Path | str) -> Path:
    """Write the timings of one device as ``<device>.json`` and return its path."""
    path = Path(folder) / f"{slug(timings.device)}.json"
    _replace(path, lambda stream: stream.write(_to_json(asdict(timings))))
    return path


_OF_EACH_SUITE = {"title", "note", "measure", "words", "more_is_faster"}
_OF_EACH_TARGET = {"suite", "case", "contender", "amount", "unit"}
_OF_EACH_TARGET |= {"measure", "words", "goal", "at_least", "measured", "verdict"}
_OF_EACH_RUN = {"commit", "processor", "cores", "backend", "versions", "rounds", "seconds"}
_OF_EACH_ROW = {"suite", "case", "contender", "peer", "amount", "unit", "run"}
_OF_A_TIME = {"seconds", "median", "scaled", "rough", "counts", "peak_bytes", "measures"}


def load_timings(folder: Path | str) -> dict[str, Timings]:
    """Read the recorded timings, under their devices' slugs; empty where none were recorded.

    Raises
    ------
    ValueError
        If a file is damaged, naming the file and what to do.
    """
    return {path.stem: _load_timings(path) for path in sorted(Path(folder).glob("*.json"))}


def _load_timings(path: Path) -> Timings:
    try:
        timings = Timings(**json.loads(path.read_text(encoding="utf-8")))
        for run in timings.runs.values():
            _check_keys("run", run, _OF_EACH_RUN)
        for suite in timings.suites.values():
            _check_keys("suite", suite, _OF_EACH_SUITE)
        for target in timings.targets:
            _check_keys("target", target, _OF_EACH_TARGET)
        for row in timings.rows:
            _check_keys("row", row, _OF_EACH_ROW | (set() if "absent" in row else _OF_A_TIME))
            if row["run"] not in timings.runs or row["suite"] not in timings.suites:
                raise ValueError(f"a row of a run or a suite that it does not describe: {row['run']}, {row['suite']}")
        return timings
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"The recorded timings {path} are damaged ({error}): take back the file that git has, or delete it and run "
            "`make bench BENCH=--record` again."
        ) from error


def _check_keys(kind: str, described: dict, keys: set[str]) -> None:
    if missing := sorted(keys - described.keys()):
        raise ValueError(f"a {kind} without {missing[0]}")


def load(folder: Path | str | None = None, chapter: str | None = None) -> list[Record]:
    """Read every record of the store, or those of one chapter, in the order of their methods' rows.

    Returns
    -------
    list of Record
        Empty where the folder does not exist yet.

    Raises
    ------
    ValueError
        If a file is damaged or cut short, naming the file and what to do.
    """
    return _in_order([_load_record(path) for path in _record_paths(folder, chapter)])


def load_readable(folder: Path | str | None = None) -> tuple[list[Record], list[str]]:
    """Read what can be read of the store, for pages that show what there is.

    Returns
    -------
    records : list of Record
        As `load` returns them.
    complaints : list of str
        A sentence for each result that is damaged or incomplete.
    """
    records, complaints = [], []
    for path in _record_paths(folder):
        try:
            records.append(_load_record(path))
        except ValueError:  # its sentence names a folder of this machine, which no page should
            complaints.append(
                f"The result {path.stem} of the chapter {path.parent.name} is damaged or incomplete: run it again."
            )
    return _in_order(records), complaints


def _record_paths(folder: Path | str | None, chapter: str | None = None) -> list[Path]:
    home = Path(folder or runtime.results_folder())
    paths = sorted(home.glob(f"{slug(chapter) if chapter else '*'}/*.json"))
    return [path for path in paths if path.name != "run.json" and not path.name.endswith((_CLAIMS, _CURVES))]


def _in_order(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.chapter, record.data, record.about.get("row", 0)))


def load_claims(folder: Path | str | None = None) -> list[Claim]:
    """Read what the chapters claim, chapter by chapter, in the order in which they claim it.

    Raises
    ------
    ValueError
        If a file is damaged, naming the file and what to do.
    """
    home = Path(folder or runtime.results_folder())
    return [claim for path in sorted(home.glob(f"*/*{_CLAIMS}")) for claim in _load_several(path, Claim)]


def load_curves(folder: Path | str | None = None) -> list[Curve]:
    """Read the curves over the share of labels, chapter by chapter, in the order in which they were computed.

    Raises
    ------
    ValueError
        If a file is damaged, naming the file and what to do.
    """
    home = Path(folder or runtime.results_folder())
    return [curve for path in sorted(home.glob(f"*/*{_CURVES}")) for curve in _load_several(path, Curve)]


def load_runs(folder: Path | str | None = None) -> dict[str, dict]:
    """Read ``run.json`` of every chapter that has one, by chapter."""
    home = Path(folder or runtime.results_folder())
    return {path.parent.name: _load_json(path) for path in sorted(home.glob("*/run.json"))}


def _to_json(described: dict | list) -> bytes:
    # NaN is no JSON: a measure that does not exist is refused here rather than by a browser later
    return (json.dumps(described, indent=1, allow_nan=False) + "\n").encode()


def _replace(path: Path, write) -> None:
    try:
        runtime.replace_file(path, write)
    except OSError as error:
        raise OSError(
            f"The results folder {path.parent} cannot be written to ({error.strerror}): "
            f"set COURSE_RESULTS to a folder of yours."
        ) from error


def _load_json(path: Path) -> dict | list:
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The results file {path} is damaged ({error}): delete it and run its chapter again."
        ) from error


def _load_several(path: Path, kind: type) -> list:
    try:
        return [kind(**described) for described in _load_json(path)]
    except TypeError as error:
        raise ValueError(
            f"The results file {path} holds something else than {kind.__name__.lower()}s ({error}): "
            "delete it and run its chapter again."
        ) from error


def _load_record(path: Path) -> Record:
    described = _load_json(path)
    try:
        # read whole first: NumPy leaves a damaged file open
        with np.load(io.BytesIO(path.with_suffix(".npz").read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return Record(**described, arrays=arrays)
    except (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"The result {path.stem} in {path.parent} is damaged or incomplete ({error}): "
            f"delete {path.stem}.json and {path.stem}.npz and run the chapter again."
        ) from error

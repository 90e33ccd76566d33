"""The model card's record: how good weights of our own are, and the rule that decides whether they are shipped.

A record is one JSON file for each network, ``data/results/weights/<network>.json``, written by
``python -m helpers.pretraining --evaluate`` and read by the page *Weights of our own*. What is measured, and how the
intervals are made, `helpers.pretraining.evaluation` says. This module imports no Keras: the site is built in seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..runtime import replace_file
from ..validation import check_choice

__all__ = ["BASELINES", "KINDS", "MEASURES", "RULE", "Card", "Estimate", "SetScores"]
__all__ += ["clearly_better", "load_cards", "save_card", "standing", "verdict"]

KINDS = {
    "random": "random",
    "measured": "measured random",
    "self_made": "our own",
    "imagenet": "ImageNet",
}
BASELINES = ("random", "measured")
MEASURES = {"linear": "linear probe", "knn": "kNN"}

RULE = (
    "On each set the difference from random weights is averaged over all stages and both measures. Weights of our own "
    "are clearly better if the 95 % interval of that mean lies above zero on more than half of the sets, against "
    "random and against measured random weights alike; lies below zero, against either, on at most a quarter of the "
    "sets; and lies above zero, against both, for the mean over all sets."
)


class Estimate(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 where the interval lies above zero, -1 where it lies below, 0 where it holds zero."""
        return (self.low > 0) - (self.high < 0)


@dataclass(frozen=True)
class SetScores:
    """What was measured on one set of images.

    Attributes
    ----------
    name, source : str
    n, classes, groups : int
        Images, their classes, and the groups (views of one original, crops of one picture) that no fold divides.
    chance : float
        The share of the largest class: the accuracy of naming it always.
    pixels : dict of str to Estimate
        The accuracy on raw pixels by each measure.
    scores : dict of str to dict of str to dict of str to Estimate
        The accuracy by kind of weights, stage and measure.
    gains : dict of str to dict of str to dict of str to Estimate
        Weights of our own less each baseline, by baseline, stage and measure; empty where there are none.
    gain : dict of str to Estimate
        The same averaged over all stages and measures.
    """

    name: str
    source: str
    n: int
    classes: int
    groups: int
    chance: float
    pixels: dict[str, Estimate]
    scores: dict[str, dict[str, dict[str, Estimate]]]
    gains: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    gain: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """The record of one network.

    Attributes
    ----------
    network : str
    size : int
        The side in pixels of the square that images are resized to.
    draws : int
        How many times random weights were drawn.
    stages : dict of str to int
        The stages from first to last, and how many features each has.
    sets : list of SetScores
    gain : dict of str to Estimate
        Weights of our own less each baseline, averaged over the sets; empty where there are none.
    weights : dict
        Of our own: ``bytes``, ``dtype``, ``parameters``, and under ``about`` the training card; empty where there are
        none.
    missing : dict of str to str
        A sentence for each kind of weights, and each set, that was not at hand.
    about : dict
        ``seconds`` of measuring, ``device``, ``versions``, ``commit``, ``finished``, ``seed``.
    """

    network: str
    size: int
    draws: int
    stages: dict[str, int]
    sets: list[SetScores]
    gain: dict[str, Estimate] = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of weights that were measured, in the order of `KINDS`."""
        return tuple(kind for kind in KINDS if all(kind in found.scores for found in self.sets))


def standing(found: SetScores) -> int:
    """Return 1 if weights of our own are better than both baselines on a set, -1 if worse than either, else 0.

    To be better than both baselines, both intervals have to lie above zero. Such a conjunction needs no correction:
    it is wrong no more often than the weaker of its two parts.
    """
    both = [found.gain[baseline].sign for baseline in BASELINES]
    return -1 if min(both) < 0 else min(both)


def clearly_better(card: Card) -> bool:
    """Decide by `RULE` whether weights of our own are better than random ones; False where there are none.

    The rule looks at one number for each set and baseline. Of the stages and measures, dozens on each set, none is
    chosen, so there is nothing to correct for. Were nothing gained, chance would name a set better about once in 40
    times at most, as far as the intervals keep their promise. Of n sets that makes n / 40 on average, and
    more than half of them with a probability of at most (n / 40) / (n / 2) = 1 / 20, whatever the sets have in common
    (Markov's inequality): they share the draws of random weights.

    A loss counts if it shows against either baseline: what costs training and does worse than no training is worse.
    """
    if not card.gain:
        return False
    found = [standing(one) for one in card.sets]
    every = all(card.gain[baseline].sign > 0 for baseline in BASELINES)
    return every and 2 * found.count(1) > len(found) and 4 * found.count(-1) <= len(found)


def verdict(card: Card) -> str:
    """Return what the record comes to, in plain sentences."""
    if not card.gain:
        return f"There are no weights of our own for {card.network}: it starts from random ones."
    found = [standing(one) for one in card.sets]
    counted = f"Of {len(found)} sets, they are better than random and measured random weights on {found.count(1)}"
    counted += f", worse than one of them on {found.count(-1)}, and undecided on {found.count(0)}."
    means = " and ".join(
        f"{100 * card.gain[name].mean:+.1f} points against {KINDS[name]} weights "
        f"(95 % interval {100 * card.gain[name].low:+.1f} to {100 * card.gain[name].high:+.1f})"
        for name in BASELINES
    ).replace("-", "−")
    decision = (
        f"So the weights of our own for {card.network} are clearly better than random ones."
        if clearly_better(card)
        else f"So the weights of our own for {card.network} are not clearly better than random ones, "
        "and the course does not ship them."
    )
    return f"{counted} The mean over all sets is {means}. {decision}"


def save_card(card: Card, file: Path | str) -> None:
    """Write a record as JSON, in one step: what stood there before stays until then.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    content = (json.dumps(asdict(card), indent=1, allow_nan=False) + "\n").encode()
    replace_file(Path(file).expanduser(), lambda stream: stream.write(content))


def load_cards(folder: Path | str) -> dict[str, Card]:
    """Read the records of a folder, by network; empty where there is none.

    Raises
    ------
    ValueError
        If a file is damaged, cut short, or holds something else than a record; the sentence names it.
    """
    return {path.stem: _load(path) for path in sorted(Path(folder).glob("*.json"))}


def _load(path: Path) -> Card:
    try:
        return _card(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"The record {path} is damaged ({error}): measure {path.stem} again.") from error


def _card(told: Mapping) -> Card:
    card = Card(**{**told, "sets": [_set(one) for one in told["sets"]], "gain": _estimates(told["gain"])})
    _check_types(card, {"network": str, "size": int, "draws": int, "stages": dict, "weights": dict, "about": dict})
    _check_types(card, {"missing": dict})
    if not card.sets or not card.stages:
        raise ValueError("it holds no set or no stage")
    _check_names(card.about, ("seconds", "device", "versions", "commit", "finished", "seed"), "entries about the run")
    if card.weights:
        _check_names(card.weights, ("bytes", "dtype", "parameters", "about"), "entries about the weights")
    own = BASELINES if card.weights else ()
    _check_names(card.gain, own, "baselines")
    for found in card.sets:
        _check_names(found.pixels, MEASURES, "measures")
        _check_names(found.gain, own, "baselines")
        _check_names(found.gains, own, "baselines")
        for kind, stages in [*found.scores.items(), *found.gains.items()]:
            check_choice(kind, KINDS, "kind of weights")
            _check_names(stages, card.stages, "stages")
            for measures in stages.values():
                _check_names(measures, MEASURES, "measures")
    return card


def _set(told: Mapping) -> SetScores:
    trees = {name: _estimates(told[name]) for name in ("pixels", "scores", "gains", "gain")}
    found = SetScores(**{**told, **trees})
    _check_types(found, {"name": str, "source": str, "n": int, "classes": int, "groups": int, "chance": float})
    return found


def _estimates(told):
    """Return nested dicts with an `Estimate` in the place of each list of three numbers."""
    if isinstance(told, dict):
        return {name: _estimates(value) for name, value in told.items()}
    numbers = list(told)
    if len(numbers) != 3 or not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        raise TypeError(f"{told!r} is no mean with its interval")
    return Estimate(*numbers)


def _check_types(found, types: Mapping[str, type]) -> None:
    for name, kind in types.items():
        if type(getattr(found, name)) is not kind:
            raise TypeError(f"{name} is {getattr(found, name)!r}")


def _check_names(found: Mapping, wanted: Sequence[str] | Mapping, what: str) -> None:
    if set(found) != set(wanted):
        raise ValueError(f"its {what} are {_listed(found)}, not {_listed(wanted)}")


def _listed(names: Iterator[str] | Mapping | Sequence[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""Records of weights of our own, made by hand, for the tests of the rule and of the page."""

from helpers.pretraining.card import BASELINES, MEASURES, Card, Estimate, SetScores

STAGES = {"stage 2": 32, "stage 3": 64, "penultimate": 256}


def estimate(mean: float, half: float = 0.02) -> Estimate:
    return Estimate(mean, mean - half, mean + half)


def by_stage(mean: float) -> dict:
    return {stage: {name: estimate(mean) for name in MEASURES} for stage in STAGES}


def scored(name: str, random: float, measured: float, imagenet: bool = False, own: bool = True) -> SetScores:
    """One set on which weights of our own differ from random and from measured random ones by what is given."""
    scores = {"random": by_stage(0.5), "measured": by_stage(0.5 + random - measured)}
    gains = dict(zip(BASELINES, (random, measured), strict=True)) if own else {}
    if own:
        scores["self_made"] = by_stage(0.5 + random)
    if imagenet:
        scores["imagenet"] = by_stage(0.9)
    return SetScores(
        name,
        f"made by hand, named {name}",
        n=400,
        classes=4,
        groups=50,
        chance=0.25,
        pixels={name: estimate(0.31) for name in MEASURES},
        scores=scores,
        gains={baseline: by_stage(gain) for baseline, gain in gains.items()},
        gain={baseline: estimate(gain) for baseline, gain in gains.items()},
    )


def card(gains, overall=0.05, network="tiny", own: bool = True, imagenet: bool = False) -> Card:
    """A record with one set for each pair of gains."""
    sets = [scored(f"set {place}", *pair, imagenet=imagenet, own=own) for place, pair in enumerate(gains)]
    missing = {} if imagenet else {"imagenet": "There are no ImageNet weights for this network."}
    weights = {
        "bytes": 2_900_000,
        "dtype": "int8",
        "parameters": 2_800_000,
        "about": {
            "objective": "168 categories of formula-made images, supervised by formula",
            "images seen": 432_100,
            "images rendered": 14_112,
            "seconds": 3_541,
            "device": "CPU, 2 cores",
            "rounding error": dict.fromkeys(STAGES, 0.0123),
        },
    }
    if not own:
        missing["self_made"] = "There are no weights of our own for this network."
    return Card(
        network,
        size=96,
        draws=3,
        stages=dict(STAGES),
        sets=sets,
        gain={baseline: estimate(overall) for baseline in BASELINES} if own else {},
        weights=weights if own else {},
        missing=missing,
        about={
            "seconds": 83,
            "device": "CPU, 2 cores",
            "versions": {"keras": "3.15.1"},
            "commit": "0123456789ab",
            "finished": "2026-11-22T02:03:08+00:00",
            "seed": 0,
        },
    )

"""The assignment on measuring features: its data show what they are meant to, its references are the course's."""

import numpy as np
import pytest

from helpers import checks
from helpers.checks import measuring_features as questions

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_map_is_wrong_in_its_own_way(seed):
    numbers = checks.numbers("measuring-features", seed)
    before, rows = questions.measured(numbers)
    maps = dict(zip(questions._orders(numbers)[0], rows, strict=True))
    trust, kept, apart = (
        {kind: row[name] for kind, row in maps.items()} for name in ("trustworthiness", "continuity", "silhouette")
    )
    assert trust["torn"] > kept["torn"] + 0.05
    assert kept["glued"] > trust["glued"] + 0.05
    assert min(trust["tightened"], kept["tightened"]) > 0.97
    assert apart["tightened"] > before + 0.2
    assert min(trust["faithful"], kept["faithful"]) > 0.99
    assert apart["faithful"] == pytest.approx(before, abs=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_some_shuffles_but_few_reach_the_goodness(seed):
    observed, null = questions.shuffled(checks.numbers("measuring-features", seed))
    assert 3 <= np.sum(null >= observed) <= 15


def test_the_leaky_pipeline_finds_classes_in_noise_and_the_honest_one_does_not():
    numbers = checks.numbers("measuring-features", 0)
    draw, honest, leaky = np.random.default_rng(0), [], []
    for _ in range(20):
        labels = draw.permutation(np.arange(120) % numbers.groups)
        given = draw.normal(size=(120, 500)), labels, draw.random(120) < 0.5
        honest.append(questions._pipeline(numbers)(*given))
        leaky.append(questions._pipeline(numbers, choose="all", place="all")(*given))
    assert np.mean(honest) == pytest.approx(1 / numbers.groups, abs=0.05)
    assert np.mean(leaky) > 1 / numbers.groups + 0.15


def test_purity_and_inverse_purity_look_at_either_side():
    labels, clusters = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 3, 4])
    assert questions._hits(labels, clusters, axis=0) == 1  # every cluster holds one class
    assert questions._hits(labels, clusters, axis=1) == pytest.approx(3 / 6)

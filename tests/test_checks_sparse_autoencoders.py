"""The assignment on sparse autoencoders: its data show what they are meant to, its references are the course's."""

import keras
import numpy as np
import pytest

from helpers import checks, losses
from helpers.checks import sparse_autoencoders as questions

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_four_codes_have_one_mean_and_differ_in_both_kinds_of_sparsity(seed):
    numbers = checks.numbers("sparse-autoencoders", seed)
    rows = dict(zip(questions._orders(numbers)[0], questions.measured(numbers), strict=True))
    np.testing.assert_allclose([row["mean"] for row in rows.values()], numbers.rho, rtol=0.02)
    sparse = {kind: (row["Hoyer"] > 0.7, row["lifetime"] > 0.7) for kind, row in rows.items()}
    assert sparse == {
        "undecided": (False, False),
        "selective": (True, True),
        "same few": (True, False),
        "bursts": (False, True),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_one_image_at_a_time_the_undecided_code_costs_least(seed):
    numbers = checks.numbers("sparse-autoencoders", seed)
    questions.least_alone(questions._orders(numbers)[1]["undecided"], numbers)


def test_the_divergence_is_that_of_the_course():
    means = np.linspace(0.01, 0.9, 7)
    ours = keras.ops.convert_to_numpy(losses.bernoulli_divergence(0.05, means))
    np.testing.assert_allclose(questions._bernoulli(0.05, means), ours, atol=1e-5)


def test_the_divergence_turned_round_is_finite_for_a_unit_that_is_never_on():
    assert questions._bernoulli(0.0, 0.05) == pytest.approx(-np.log(0.95))

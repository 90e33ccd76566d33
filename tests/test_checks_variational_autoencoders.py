"""The assignment on variational autoencoders: its data show what they are meant to, its references are the course's."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers import checks, codes, losses
from helpers.checks import variational_autoencoders as questions

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_dimensions_fall_into_their_four_kinds(seed):
    numbers = checks.numbers("variational-autoencoders", seed)
    speaking, trembling, _, wasted = questions._kinds(numbers)
    means, log_variances = questions.posterior(numbers)
    nats = keras.ops.convert_to_numpy(losses.gaussian_divergence(means, log_variances)).mean(axis=0)
    np.testing.assert_allclose(questions.spent(numbers), nats, atol=1e-4)
    assert np.sum(nats > 0.1) == speaking + wasted
    assert codes.active_units(means) == speaking + trembling
    assert np.sum((nats > 0.1) & (means.var(axis=0) < 0.01)) == wasted
    assert nats.sum() > np.log(numbers.images) + 0.5


def test_under_the_standard_prior_the_price_is_that_of_the_course():
    images, logits, mean, log_deviation = questions._outputs(6)
    price = keras.ops.convert_to_numpy(losses.gaussian_divergence(mean, 2 * log_deviation)).sum(axis=1)
    right = 1 / (1 + np.exp(-logits.astype(float)))
    misfit = -np.log(np.where(images == 1, right, 1 - right)).sum(axis=1)
    bound = questions._bound(1.0)(images, logits, mean, log_deviation)
    assert bound == pytest.approx(np.mean(misfit + price), rel=1e-5)


@pytest.mark.parametrize("left_out", [0, 1, 3, 6, 8, 9])
def test_the_simple_rival_leads_for_each_digit_that_a_class_may_leave_out(left_out):
    numbers = checks.Numbers(left_out=left_out, components=12)
    familiar, distance, strange = questions.strangeness(numbers)
    assert roc_auc_score(strange, distance) > roc_auc_score(strange, -familiar) + 0.02

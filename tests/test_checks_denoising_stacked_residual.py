"""The assignment on denoising, stacked and residual autoencoders: its data show what they are meant to."""

import numpy as np
import pytest

from helpers import checks
from helpers.checks import denoising_stacked_residual as questions

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_denoiser_for_masking_helps_there_and_harms_under_gaussian_noise(seed):
    table = questions.error_table(checks.numbers("denoising-stacked-residual", seed))
    ours = table["trained on masking"]
    assert all(ours["masking"] < table[rival]["masking"] for rival in questions.RIVALS)
    assert ours["gaussian"] > table["plain"]["gaussian"]
    assert ours["gaussian"] > table["mean image"]["gaussian"]
    assert table["doing nothing"]["clean"] == 0


def test_the_strongest_rival_is_not_the_same_for_every_class():
    strongest = set()
    for seed in SEEDS:
        table = questions.error_table(checks.numbers("denoising-stacked-residual", seed))
        strongest.add(min(questions.RIVALS, key=lambda rival, table=table: table[rival]["masking"]))
    assert len(strongest) > 1


def test_the_slope_is_that_of_the_density_by_finite_differences():
    draw, sigma, step = np.random.default_rng(0), 0.1, 1e-5
    points, shares = draw.normal(0, 0.2, (9, 2)), draw.dirichlet(np.ones(9))
    noisy = draw.normal(0, 0.2, (5, 2))

    def log_density(places):
        squares = np.sum((places[:, None] - points) ** 2, axis=2)
        return np.log(np.exp(-squares / (2 * sigma**2)) @ shares)

    slopes = [(log_density(noisy + e) - log_density(noisy - e)) / (2 * step) for e in step * np.eye(2)]
    found = questions._slope(sigma)(noisy, points, shares)
    np.testing.assert_allclose(found, np.stack(slopes, axis=1), rtol=1e-4)

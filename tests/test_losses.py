"""`losses`: against SciPy, closed forms and loops, on whichever back-end is set."""

import math

import keras
import numpy as np
import pytest
from gradients import gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from scipy.integrate import quad
from scipy.special import expit, rel_entr
from scipy.stats import norm

from helpers import losses

SHAPE = (6, 4)  # one for all: JAX compiles anew for each
# far enough from 0 and 1 for the rounding of a mean not to show, beside a unit that is exactly at 0 (on JAX the mean of
# 246 ones is a little less than 1)
PROBABILITIES = arrays(np.float32, SHAPE, elements=st.floats(2**-6, 1 - 2**-6, width=32)).map(
    lambda inside: np.pad(inside, ((0, 0), (0, 1)))
)
CODES = arrays(np.float32, SHAPE, elements=st.floats(-100.0, 100.0, width=32))
PENALTIES = {"KL": (lambda code: losses.kl_sparsity(code, 0.05), PROBABILITIES), "L1": (losses.l1_sparsity, CODES)}


def value(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def divergence(rho, rho_hat):
    """SciPy's, in float64."""
    rho_hat = np.asarray(rho_hat, np.float64)
    return rel_entr(rho, rho_hat) + rel_entr(1 - rho, 1 - rho_hat)


# The divergence of two units


@pytest.mark.parametrize("rho", [0.001, 0.01, 0.05, 0.5, 0.9, 0.999])
def test_the_divergence_is_that_of_scipy(rho):
    rho_hat = np.linspace(0.001, 0.999, 999).astype(np.float32)
    np.testing.assert_allclose(value(losses.bernoulli_divergence(rho, rho_hat)), divergence(rho, rho_hat), atol=2e-6)


@settings(deadline=None)
@given(st.floats(0.001, 0.999), st.floats(2**-9, 1 - 2**-9, width=32))
def test_the_divergence_of_any_two_units_is_that_of_scipy(rho, rho_hat):
    assert value(losses.bernoulli_divergence(rho, rho_hat)) == pytest.approx(divergence(rho, rho_hat), abs=2e-6)


def test_the_divergence_is_smallest_where_the_two_are_equal():
    rho_hat = np.linspace(0, 1, 1001, dtype=np.float32)
    found = value(losses.bernoulli_divergence(0.2, rho_hat))
    assert rho_hat[found.argmin()] == pytest.approx(0.2)
    assert found.min() == pytest.approx(0, abs=1e-7)


def test_the_divergence_keeps_the_shape():
    assert tuple(losses.bernoulli_divergence(0.1, np.full((2, 3, 4), 0.5)).shape) == (2, 3, 4)


@pytest.mark.parametrize("rho", [0.01, 0.5, 0.99])
def test_the_divergence_of_a_unit_that_is_always_off_or_on_is_finite_and_the_largest(rho):
    off, on, *inside = value(losses.bernoulli_divergence(rho, np.float32([0, 1, 1e-6, 0.5, 1 - 1e-6])))
    assert np.isfinite([off, on]).all()
    assert off > inside[0]
    assert on > inside[-1]


@pytest.mark.parametrize("rho", [1e-320, 1e-50, 1e-9, 1 - 1e-9, np.nextafter(1, 0)])
def test_a_target_that_single_precision_rounds_to_0_or_1_has_a_finite_divergence(rho):
    rho_hat = np.float32([0.01, 0.5, 0.99])
    np.testing.assert_allclose(value(losses.bernoulli_divergence(rho, rho_hat)), divergence(rho, rho_hat), atol=2e-6)
    assert np.isfinite(value(losses.bernoulli_divergence(rho, np.float32([0, 1])))).all()
    assert np.isfinite(gradient(lambda code: losses.kl_sparsity(code, float(rho)), [[0.01, 0.5, 0.99]])).all()


def test_half_precision_is_computed_in_single():
    found = losses.bernoulli_divergence(0.05, np.float16([0, 0.25, 1]))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert np.isfinite(value(found)).all()


@pytest.mark.parametrize("rho", [0, 1, 0.0, 1.0, -0.1, 1.5, math.nan, True, "0.1", None, [0.1]])
@pytest.mark.parametrize(
    "penalty", [losses.bernoulli_divergence, lambda rho, numbers: losses.kl_sparsity(numbers, rho)]
)
def test_a_target_that_is_no_probability_of_both_kinds_is_refused(penalty, rho):
    with pytest.raises(ValueError, match=r"^rho=.*, but it is a number strictly between 0 and 1\.$"):
        penalty(rho, np.full((2, 2), 0.5))


@pytest.mark.parametrize("outside", [-0.25, 1.25, math.nan])
@pytest.mark.parametrize("given_as", [np.asarray, ops.convert_to_tensor, list], ids=["array", "tensor", "list"])
def test_a_mean_activation_that_is_no_probability_is_refused(given_as, outside):
    with pytest.raises(
        ValueError, match=r"^`rho_hat` lies in \[.*\], but a probability lies in \[0, 1\]: take sigmoid"
    ):
        losses.bernoulli_divergence(0.1, given_as([0.5, outside]))


# The penalty of a batch


def kl_by_loops(activations, rho):
    total = 0.0
    for unit in range(activations.shape[1]):
        rho_hat = math.fsum(float(row[unit]) for row in activations) / len(activations)
        total += rho * math.log(rho / rho_hat) + (1 - rho) * math.log((1 - rho) / (1 - rho_hat))
    return total


def test_the_kl_penalty_is_the_sum_over_units_of_the_divergence_of_their_means():
    activations = np.random.default_rng(0).uniform(0, 1, (17, 5)).astype(np.float32)
    assert float(losses.kl_sparsity(activations, 0.1)) == pytest.approx(kl_by_loops(activations, 0.1), rel=1e-6)


def test_the_l1_penalty_is_the_mean_over_images_of_the_sum_over_units():
    code = np.random.default_rng(0).normal(size=(17, 5)).astype(np.float32)
    by_loops = math.fsum(abs(float(number)) for row in code for number in row) / 17
    assert float(losses.l1_sparsity(code)) == pytest.approx(by_loops, rel=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_penalty_does_not_depend_on_batch_size(name, data):
    penalty, codes = PENALTIES[name]
    code, times = data.draw(codes), data.draw(st.sampled_from([2, 10, 41]))
    assert float(penalty(np.tile(code, (times, 1)))) == pytest.approx(float(penalty(code)), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_penalty_does_not_depend_on_the_order_of_images_or_units(name, data):
    penalty, codes = PENALTIES[name]
    code = data.draw(codes)
    images, units = data.draw(st.permutations(range(len(code)))), data.draw(st.permutations(range(code.shape[1])))
    assert float(penalty(code[images][:, units])) == pytest.approx(float(penalty(code)), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_of_two_groups_of_units_is_the_sum_of_their_penalties(name):
    penalty, _ = PENALTIES[name]
    code = np.random.default_rng(0).uniform(size=(9, 7)).astype(np.float32)
    assert float(penalty(code)) == pytest.approx(float(penalty(code[:, :3])) + float(penalty(code[:, 3:])), rel=1e-5)


def test_activations_outside_are_refused_even_if_their_mean_lies_inside():
    relu = np.array([[0.0], [0.0], [1.5]])
    with pytest.raises(ValueError, match=r"^`activations` lies in \[0, 1\.5\], but a probability lies in \[0, 1\]"):
        losses.kl_sparsity(relu, 0.1)


def test_where_values_are_not_looked_at_a_unit_with_an_activation_outside_has_no_mean():
    found = value(losses.mean_activation(np.float32([[0, 0.5], [1.5, 0.25]]), check=False))
    np.testing.assert_array_equal(found, [np.nan, 0.375])


@pytest.mark.parametrize("shape", [(4,), (4, 3, 1), (0, 3), (4, 0), ()])
@pytest.mark.parametrize(
    "penalty", [losses.l1_sparsity, losses.mean_activation, lambda code: losses.gaussian_divergence(code, code)]
)
def test_what_is_no_matrix_is_refused(penalty, shape):
    with pytest.raises(ValueError, match=r"^`\w+` has shape \(.*\), but it takes \(n, d\), with at least one image"):
        penalty(np.zeros(shape, np.float32))


# Gradients


def test_the_gradient_of_the_kl_penalty_is_that_of_finite_differences():
    activations = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4))
    expected = np.empty_like(activations)
    for place in np.ndindex(activations.shape):
        step = np.zeros_like(activations)
        step[place] = 1e-6
        up, down = (divergence(0.2, (activations + sign * step).mean(axis=0)).sum() for sign in (1, -1))
        expected[place] = (up - down) / 2e-6
    found = gradient(lambda code: losses.kl_sparsity(code, 0.2), activations, rate=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_the_l1_penalty_is_the_sign_over_the_number_of_images():
    code = np.float32([[1, -2, 0], [-0.5, 3, 0]])
    np.testing.assert_allclose(gradient(losses.l1_sparsity, code), np.sign(code) / 2, atol=1e-6)


def test_units_that_are_always_off_or_on_are_pushed_back_with_a_finite_force():
    found = gradient(lambda code: losses.kl_sparsity(code, 0.1), [[0, 1, 0.1]])[0]
    assert np.isfinite(found).all()
    assert found[0] < -1e6
    assert found[1] > 1e6
    assert found[2] == pytest.approx(0, abs=1e-5)


def test_a_sigmoid_unit_far_off_is_still_pushed_and_never_harder_than_rho():
    logits = np.float32([[-18, -12, -6, -3, 0, 3, 6, 12]])
    found = gradient(lambda code: losses.kl_sparsity(code, 0.1), logits, "sigmoid", rate=0.01)[0]
    rho_hat = expit(logits[0].astype(float))
    np.testing.assert_allclose(found, rho_hat - 0.1, atol=0.01)  # the closed form, but for the squeeze
    assert (found[:3] < -0.09).all()
    assert (found > -0.1).all()


def test_the_gradient_of_the_gaussian_divergence_is_its_closed_form():
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 3, 4))
    both = np.concatenate([mean, log_variance], axis=1)
    found = gradient(lambda code: ops.sum(losses.gaussian_divergence(code[:, :4], code[:, 4:])), both, rate=0.1)
    expected = np.concatenate([mean, (np.exp(log_variance) - 1) / 2], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# The divergence of two Gaussians


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (0, 0.1), (0, 3), (2, 1), (-1, 0.5), (0.3, 1.7)])
def test_the_gaussian_divergence_is_the_integral(mean, deviation):
    ours, prior = norm(mean, deviation), norm()
    expected, _ = quad(
        lambda z: ours.pdf(z) * (ours.logpdf(z) - prior.logpdf(z)), mean - 12 * deviation, mean + 12 * deviation
    )
    found = losses.gaussian_divergence([[float(mean)]], [[2 * math.log(deviation)]])
    assert float(value(found)[0, 0]) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_gaussian_divergence_is_what_draws_say():
    drawn = norm(0.7, 0.4).rvs(200_000, random_state=0)
    expected = np.mean(norm(0.7, 0.4).logpdf(drawn) - norm.logpdf(drawn))
    found = losses.gaussian_divergence([[0.7]], [[2 * math.log(0.4)]])
    assert float(value(found)[0, 0]) == pytest.approx(expected, abs=0.01)


def test_the_gaussian_divergence_says_every_image_and_dimension():
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    found = value(losses.gaussian_divergence(mean, log_variance))
    assert found.shape == (5, 3)
    for place in np.ndindex(5, 3):
        alone = losses.gaussian_divergence(mean[place].reshape(1, 1), log_variance[place].reshape(1, 1))
        assert found[place] == pytest.approx(float(value(alone)[0, 0]), rel=1e-6)


@settings(deadline=None)
@given(st.floats(-10, 10, width=32), st.floats(-20, 20, width=32))
def test_the_gaussian_divergence_is_not_negative(mean, log_variance):
    assert float(value(losses.gaussian_divergence([[mean]], [[log_variance]]))[0, 0]) >= 0


def test_the_gaussian_divergence_keeps_its_digits_near_the_prior():
    found = value(losses.gaussian_divergence(np.zeros((1, 2)), np.float32([[1e-2, -1e-2]])))
    np.testing.assert_allclose(found, [[2.50835e-05, 2.49169e-05]], rtol=1e-3)


def test_mean_and_log_variance_of_different_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"^`mean` has shape \(4, 3\) and `log_variance` \(4, 2\): row i of both belongs"
    ):
        losses.gaussian_divergence(np.zeros((4, 3)), np.zeros((4, 2)))

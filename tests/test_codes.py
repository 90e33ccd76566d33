"""`codes`: constructed codes, loops over the formulas, and what may not change a measure."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from helpers import codes


def active_units(means):
    return codes.active_units(means, math.pi / 300)  # irrational: no variance of the codes below lies on it


SPARSITIES = [codes.hoyer, codes.lifetime_sparsity, codes.population_sparsity]
MEASURES = [*SPARSITIES, codes.fraction_active, codes.dead_units, active_units]
CODES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.sampled_from([0.0, 0.0, 1.0, -2.0, 0.125, 3.5, -0.25]),
)


def example() -> np.ndarray:
    """60 images, 20 units: some off for most images, two dead, one image that nobody answers to, some negative."""
    random = np.random.default_rng(0)
    code = random.normal(size=(60, 20)) * (random.random((60, 20)) < random.random(20))
    code[:, [3, 11]] = 0
    code[17] = 0
    return code.astype(np.float32)


def hoyer_by_loops(code):
    found = []
    for row in code.astype(float):
        length = math.sqrt(math.fsum(number**2 for number in row))
        if length > 0:
            root = math.sqrt(len(row))
            found.append((root - math.fsum(abs(number) for number in row) / length) / (root - 1))
    return math.fsum(found) / len(found)


def treves_rolls_by_loops(vectors):
    found = []
    for vector in np.abs(vectors.astype(float)):
        n = len(vector)
        square = math.fsum(number**2 for number in vector) / n
        if square > 0:
            found.append((1 - (math.fsum(vector) / n) ** 2 / square) / (1 - 1 / n))
    return math.fsum(found) / len(found)


def test_the_sparsities_are_their_formulas():
    code = example()
    assert codes.hoyer(code) == pytest.approx(hoyer_by_loops(code), rel=1e-9)
    assert codes.lifetime_sparsity(code) == pytest.approx(treves_rolls_by_loops(code.T), rel=1e-9)
    assert codes.population_sparsity(code) == pytest.approx(treves_rolls_by_loops(code), rel=1e-9)


@pytest.mark.parametrize("measure", SPARSITIES)
def test_a_sparsity_goes_from_equal_answers_to_a_single_one(measure):
    assert measure(np.full((8, 8), 0.7)) == pytest.approx(0, abs=1e-12)
    assert measure(np.eye(8)) == pytest.approx(1)


@pytest.mark.parametrize("on", [1, 3, 10])
def test_of_k_equal_units_in_d_each_sparsity_is_its_closed_form(on):
    code = np.zeros((40, 10))
    for row in range(40):
        code[row, (np.arange(on) + row) % 10] = 2.5  # each unit answers to the share on / 10 of the images
    assert codes.hoyer(code) == pytest.approx((math.sqrt(10) - math.sqrt(on)) / (math.sqrt(10) - 1))
    assert codes.population_sparsity(code) == pytest.approx((1 - on / 10) / (1 - 1 / 10))
    assert codes.lifetime_sparsity(code) == pytest.approx((1 - on / 10) / (1 - 1 / 40))
    assert codes.fraction_active(code) == pytest.approx(on / 10)


def test_exponential_answers_have_half_the_treves_rolls_sparseness():
    code = np.random.default_rng(0).exponential(size=(2000, 200))  # mean^2 / mean of squares = 1 / 2
    assert codes.population_sparsity(code) == pytest.approx(0.5, abs=0.01)
    assert codes.lifetime_sparsity(code) == pytest.approx(0.5, abs=0.01)


def test_one_unit_that_answers_to_all_is_sparse_over_units_and_not_over_images():
    code = np.zeros((6, 4))
    code[:, 2] = 1
    assert codes.population_sparsity(code) == pytest.approx(1)
    assert codes.lifetime_sparsity(code) == pytest.approx(0)


@pytest.mark.parametrize("measure", SPARSITIES)
@given(CODES, st.floats(1e-3, 1e3))
def test_a_sparsity_does_not_depend_on_the_unit_of_measurement(measure, code, factor):
    assert measure(code * np.float32(factor)) == pytest.approx(measure(code), abs=1e-4)


@given(CODES, st.data())
def test_scaling_an_image_does_not_change_how_its_answer_is_shared(code, data):
    factors = data.draw(arrays(np.float32, (len(code), 1), elements=st.sampled_from([0.5, 1.0, 8.0])))
    for measure in (codes.hoyer, codes.population_sparsity):
        assert measure(code * factors) == pytest.approx(measure(code), abs=1e-9)


@given(CODES, st.data())
def test_scaling_a_unit_does_not_change_how_selective_it_is(code, data):
    factors = data.draw(arrays(np.float32, code.shape[1], elements=st.sampled_from([0.5, 1.0, 8.0])))
    assert codes.lifetime_sparsity(code * factors) == pytest.approx(codes.lifetime_sparsity(code), abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
@given(CODES, st.data())
def test_no_measure_depends_on_the_order_of_images_or_units(measure, code, data):
    images, units = data.draw(st.permutations(range(len(code)))), data.draw(st.permutations(range(code.shape[1])))
    assert measure(code[images][:, units]) == pytest.approx(measure(code), abs=1e-9)


@pytest.mark.parametrize("measure", [codes.hoyer, codes.population_sparsity, codes.fraction_active, codes.dead_units])
@given(CODES, st.integers(2, 5))
def test_the_same_images_several_times_over_change_nothing(measure, code, times):
    assert measure(np.tile(code, (times, 1))) == pytest.approx(measure(code), abs=1e-9)


@given(CODES)
def test_every_sparsity_lies_between_0_and_1(code):
    for measure in (*SPARSITIES, codes.fraction_active):
        assert 0 <= measure(code) <= 1


@given(CODES)
def test_dead_units_and_silent_images_are_left_out_of_the_means(code):
    assume((code != 0).any())
    wider = np.pad(code, ((0, 0), (0, 3)))
    assert codes.lifetime_sparsity(wider) == pytest.approx(codes.lifetime_sparsity(code), abs=1e-9)
    assert codes.dead_units(wider) == codes.dead_units(code) + 3
    longer = np.pad(code, ((0, 3), (0, 0)))
    assert codes.hoyer(longer) == pytest.approx(codes.hoyer(code), abs=1e-9)
    assert codes.population_sparsity(longer) == pytest.approx(codes.population_sparsity(code), abs=1e-9)


def test_a_code_of_zeros_has_an_answer_to_everything():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [measure(np.zeros((5, 3))) for measure in MEASURES]
    assert found == [1, 1, 1, 0, 3, 0]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_numbers_whose_squares_float32_cannot_hold_are_measured(scale):
    code = example()
    for measure in SPARSITIES:
        assert measure(code * np.float32(scale)) == pytest.approx(measure(code), rel=1e-5)


def test_activations_are_counted_above_the_threshold():
    code = np.float32([[0.0, 0.125, -0.5], [0.25, 0.125, 0.0]])
    assert codes.fraction_active(code) == pytest.approx(4 / 6)
    assert codes.fraction_active(code, 0.125) == pytest.approx(2 / 6)
    assert codes.fraction_active(code, 0.5) == 0


def test_a_unit_is_dead_if_it_is_at_most_the_threshold_on_every_image():
    code = np.float32([[0.0, 0.125, -0.5], [0.25, 0.125, 0.0]])
    assert [codes.dead_units(code, threshold) for threshold in (0, 0.125, 0.25, 0.5)] == [0, 1, 2, 3]
    assert codes.dead_units(np.zeros((4, 6))) == 6


def test_a_unit_is_active_if_its_mean_varies_over_the_images():
    random = np.random.default_rng(0)
    means = random.normal(size=(5000, 3)) * [1, 0.11, 0.09] + [0, 100, 5]  # variances 1, 0.0121 and 0.0081
    assert codes.active_units(means) == 2
    assert codes.active_units(means, threshold=0.5) == 1
    assert codes.active_units(np.full((5, 4), 7.0)) == 0


@pytest.mark.parametrize("measure", [codes.fraction_active, codes.dead_units, codes.active_units])
def test_a_negative_threshold_is_refused(measure):
    with pytest.raises(ValueError, match=r"^threshold=-0.1, but it is a number of 0 or more\.$"):
        measure(np.eye(3), threshold=-0.1)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (np.zeros(5), r"has shape \(5,\), but a feature matrix has two axes"),
        (np.zeros((0, 5)), r"has shape \(0, 5\): it needs at least one row"),
        (np.full((2, 2), np.nan), "holds 4 values that are NaN or infinite"),
    ],
)
def test_what_is_no_feature_matrix_is_refused(measure, code, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure(code)


@pytest.mark.parametrize(
    ("measure", "code", "what"),
    [
        (codes.hoyer, np.ones((5, 1)), "`code` has one column"),
        (codes.population_sparsity, np.ones((5, 1)), "`code` has one column"),
        (codes.lifetime_sparsity, np.ones((1, 5)), "`code` has one row"),
        (codes.active_units, np.ones((1, 5)), "`means` has one row"),
    ],
)
def test_a_measure_with_nothing_to_compare_is_refused(measure, code, what):
    with pytest.raises(ValueError, match=f"^{what} only, but this measure compares at least two\\.$"):
        measure(code)

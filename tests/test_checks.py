"""What students are told: always what is off, never what would be right."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers import checks
from helpers.checks import WrongAnswer, compare

SLUG = "convolutional-autoencoder"


def told(compared, *arguments, **options) -> str:
    """Return the sentence on a wrong answer, or nothing for a right one."""
    try:
        compared(*arguments, **options)
    except WrongAnswer as wrong:
        return str(wrong)
    return ""


RNG = np.random.default_rng(0)
RIGHT = RNG.normal(size=(4, 3)) + 0.5


@pytest.mark.parametrize("answer", [..., None])
@pytest.mark.parametrize(
    "compared",
    [
        lambda answer: compare.number(answer, 3),
        lambda answer: compare.array(answer, RIGHT),
        lambda answer: compare.function(answer, np.mean, [(RIGHT,)]),
        lambda answer: compare.model(answer, (3,)),
        lambda answer: compare.choice("ABCD")(answer, None),
    ],
    ids=["number", "array", "function", "model", "choice"],
)
def test_a_blank_is_no_answer(compared, answer):
    assert told(compared, answer) in (compare._UNANSWERED, compare._NOTHING)


def test_truth_values_and_numbers_without_a_sign_are_compared_as_numbers():
    wrong, right = np.array([True, False]), np.array([False, False])
    assert compare._difference(wrong, right, 1e-6) == "1 of 2 values are off, the first at index (0,)."
    high, low = np.array([250, 3], np.uint8), np.array([5, 3], np.uint8)
    assert compare._difference(high, low, 1e-6) == "1 of 2 values are off, the first at index (0,)."


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (RIGHT.T, "axes are swapped"),
        (-RIGHT, "the sign is wrong"),
        (3 * RIGHT, "too large by a constant factor"),
        (RIGHT / 3, "too small by a constant factor"),
        (RIGHT + 1, "off by the same amount"),
        (RIGHT[::-1], "another order"),
        (RIGHT.ravel(), "the values are right, but the shape is (12,)"),
        (np.repeat(RIGHT[..., None], 2, axis=2) / 2, "axis 2 is still to be summed"),
        (np.repeat(RIGHT[None], 5, axis=0), "axis 0 is still to be averaged"),
        (RIGHT.mean(axis=1), "too much was summed or averaged"),
        (np.where(RIGHT[1, 2] == RIGHT, np.nan, RIGHT), "not finite"),
        (np.where(RIGHT[1, 2] == RIGHT, 9, RIGHT), "1 of 12 values are off, the first at index (1, 2)"),
        (np.full_like(RIGHT, np.inf), "not finite"),
        (RIGHT**2, "not by a constant factor or amount"),
        ([[1, 2], [3]], "numbers are asked for"),
        ("0.5", "numbers are asked for"),
        ({"a": 1}, "numbers are asked for"),
    ],
)
def test_an_array_is_told_in_which_way_it_differs(answer, sentence):
    assert sentence in told(compare.array, answer, RIGHT)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(float, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e6, 1e6)))
def test_an_array_agrees_with_itself_whatever_it_holds(values):
    assert told(compare.array, values, values) == ""
    assert told(compare.array, values + max(1.0, np.max(np.abs(values))), values) != ""


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (13.0, ""),
        (np.int64(13), ""),
        (-13, "the sign is wrong"),
        (13.4, "a whole number"),
        (1300, "more than a factor of ten"),
        (14, "not exact"),
        (12, "the bias is missing"),
        ([13, 13], "one number is asked for"),
        (np.nan, "divided by zero"),
        (True, "a number is asked for"),
        ("thirteen", "numbers are asked for"),
    ],
)
def test_a_number_is_told_what_is_off(answer, sentence):
    found = told(compare.number, answer, 13, mistakes={"the bias is missing.": 12})
    assert sentence in found
    assert bool(found) == bool(sentence)


@settings(max_examples=80, deadline=None)
@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_no_sentence_on_a_number_holds_the_right_one(right, answer):
    if answer != right:
        assert str(abs(right)) not in told(compare.number, answer, right)


def batches(*shapes) -> list[tuple]:
    return [(RNG.random(shape), RNG.random(shape)) for shape in shapes]


def squared(one, other):
    return np.mean(np.sum((one - other) ** 2, axis=1))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (squared, ""),
        (lambda one, other: keras.ops.mean(keras.ops.sum((one - other) ** 2, axis=1)), ""),
        (lambda one, other: np.sum((one - other) ** 2), "a sum over the batch where a mean is asked for"),
        (lambda one, other: np.mean((one - other) ** 2), "a mean over what belongs to one image where a sum"),
        (lambda one, other: -squared(one, other), "the sign is wrong"),
        (lambda one, other: 2 * squared(one, other), "too large by a constant factor"),
        (lambda one, other: np.mean(np.sum(abs(one - other), axis=1)), "the square is missing"),
        (lambda one, other: np.sum((one - other) ** 2, axis=1), "axis 0 is still to be averaged"),
        (lambda one, other: None, "returns nothing yet"),
        (lambda one, other: 1 / 0, "stops with ZeroDivisionError"),
        (lambda one: one, "stops with TypeError"),
        (3, "a function is asked for"),
    ],
)
def test_a_function_is_told_what_is_off(answer, sentence):
    mistakes = {"the square is missing.": lambda one, other: np.mean(np.sum(abs(one - other), axis=1))}
    inputs = batches((3, 4), (5, 7), (8, 2))
    found = told(compare.function, answer, squared, inputs, mistakes=mistakes)
    assert sentence in found
    assert bool(found) == bool(sentence)


def test_a_function_that_changes_its_argument_is_told_so():
    def centre(values):
        values -= values.mean()
        return values

    inputs = [(RIGHT.copy(),)]
    assert "changes the array" in told(compare.function, centre, lambda values: values - values.mean(), inputs)
    assert np.array_equal(inputs[0][0], RIGHT)


def test_a_model_is_told_which_of_its_shapes_is_off():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    assert told(compare.model, model, (4,), (3,), 15) == ""
    assert "output of the model has the shape (3,)" in told(compare.model, model, (4,), (2,))
    assert "input of the model" in told(compare.model, model, (5,))
    assert "15 parameters, which is not" in told(compare.model, model, parameters=16)
    assert "begin it with a keras.layers.Input" in told(compare.model, keras.Sequential([keras.layers.Dense(3)]))
    assert "a Keras model is asked for" in told(compare.model, 3)


def test_a_choice_is_checked_for_its_form_only():
    question = compare.choice("ABC")
    assert {question(letter, None)[1:] for letter in "ABC"} == {" is noted; choices are graded later."}
    for answer in ("D", "AB", "a", 1, ""):
        assert "one of the letters A, B, C" in told(question, answer, None)


def test_check_prints_one_line_and_never_raises_on_a_wrong_answer(capsys):
    numbers = checks.begin(SLUG, 4)
    for answer in (..., None, "text", object(), numbers.start, print, RIGHT):
        checks.check("q1", answer)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("q1: ")
        assert "looks right" not in line


def test_check_of_an_unknown_question_or_before_the_set_up_says_what_to_do(monkeypatch):
    checks.begin(SLUG, 4)
    with pytest.raises(ValueError, match="has no question 'q9'; it has q1, q2"):
        checks.check("q9", 1)
    monkeypatch.setattr(checks, "_current", None)
    with pytest.raises(RuntimeError, match="run the set-up cell"):
        checks.check("q1", 1)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_a_class_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="whole number from 0"):
        checks.begin(SLUG, seed)


def test_every_check_draws_other_inputs():
    assert checks.fresh().random() != checks.fresh().random()


def test_the_numbers_of_a_class_read_as_one_line():
    assert str(checks.numbers(SLUG, 0)).startswith("convolutional-autoencoder, class 0: seed = ")

"""Compare an answer with what is right, and say in one sentence what is off, never what would be right."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import numbers
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

_UNANSWERED = "not answered yet."
_NOTHING = "there is no answer here: a function without `return` gives None."


class WrongAnswer(AssertionError):
    """An answer that is not right; its text is the sentence for the student."""


def answered(answer: Any) -> None:
    """Raise `WrongAnswer` for ``...`` and for None."""
    if answer is ...:
        raise WrongAnswer(_UNANSWERED)
    if answer is None:
        raise WrongAnswer(_NOTHING)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Begin what is said of a wrong answer with its name, where one question asks for several.

    Examples
    --------
    >>> with naming("share"):
    ...     number(12, -12)
    Traceback (most recent call last):
        ...
    helpers.checks.compare.WrongAnswer: `share`: the sign is wrong.
    """
    try:
        yield
    except WrongAnswer as wrong:
        raise WrongAnswer(f"`{name}`: {wrong}") from None


def each(answer: Any, numbers: Any, **questions: Callable[[Any, Any], None]) -> None:
    """Check the several answers of one question, in their order, and say which one is meant."""
    answered(answer)
    if all(part is ... for part in answer):
        answered(...)
    for (name, question), part in zip(questions.items(), answer, strict=True):
        with naming(name):
            question(part, numbers)


def number(answer: Any, right: float, tolerance: float = 1e-6, mistakes: Mapping[str, float] | None = None) -> None:
    """Compare one number.

    Parameters
    ----------
    answer : int, float, or array of one element
        The student's number.
    right : int or float
        What it should be. Where this is an int, a whole number is asked for.
    tolerance : float
        The largest relative difference that passes.
    mistakes : mapping, optional
        Sentences for the numbers to which known errors lead.

    Raises
    ------
    WrongAnswer
        If the two differ.

    Examples
    --------
    >>> number(12, 13, mistakes={"the bias is missing.": 12})
    Traceback (most recent call last):
        ...
    helpers.checks.compare.WrongAnswer: the bias is missing.
    """
    answer = _as_number(answer)
    if _close(answer, right, tolerance):
        return
    for sentence, wrong in (mistakes or {}).items():
        if _close(answer, wrong, tolerance):
            raise WrongAnswer(sentence)
    if right and _close(answer, -right, tolerance):
        raise WrongAnswer("the sign is wrong.")
    if isinstance(right, numbers.Integral) and answer != int(answer):
        raise WrongAnswer("a whole number is asked for.")
    if right and not 0.1 < answer / right < 10:
        raise WrongAnswer("this is off by more than a factor of ten: look at the units and at what is summed.")
    raise WrongAnswer("this has the right order of magnitude, but is not exact: go through each step again.")


def array(answer: Any, right: Any, tolerance: float = 1e-4, mistakes: Mapping[str, Any] | None = None) -> None:
    """Compare arrays, and say in which way they differ: shape, axes, sign, scale, offset, order.

    Parameters
    ----------
    answer, right : array-like
        Of any shape.
    tolerance : float
        The largest difference that passes, relative to the largest magnitude in `right`.
    mistakes : mapping, optional
        Sentences for the arrays to which known errors lead.

    Raises
    ------
    WrongAnswer
        If the two differ.

    Examples
    --------
    >>> array([[1, 2], [3, 4]], [[1, 3], [2, 4]])
    Traceback (most recent call last):
        ...
    helpers.checks.compare.WrongAnswer: the values are right, but axes are swapped.
    """
    answer, right = _as_array(answer), np.asarray(right)
    if _agree(answer, right, tolerance):
        return
    for sentence, wrong in (mistakes or {}).items():
        if _agree(answer, np.asarray(wrong), tolerance):
            raise WrongAnswer(sentence)
    raise WrongAnswer(_difference(answer, right, tolerance))


def function(
    answer: Any,
    right: Callable,
    inputs: Iterable[tuple],
    tolerance: float = 1e-4,
    mistakes: Mapping[str, Callable] | None = None,
) -> None:
    """Compare a function with the right one on several inputs.

    Parameters
    ----------
    answer : callable
        The student's function; it may return tensors of any back-end.
    right : callable
        The right function, on NumPy arrays.
    inputs : iterable of tuple
        The arguments of each call. Batches of several sizes tell a sum from a mean.
    tolerance : float
        As for `array`.
    mistakes : mapping, optional
        Sentences for functions that make a known error: one is told where the answer agrees with it on all inputs.

    Raises
    ------
    WrongAnswer
        If the answer is no function, fails, returns nothing, changes its arguments, or differs on some input.
    """
    answered(answer)
    if not callable(answer):
        raise WrongAnswer(f"a function is asked for, and this is of type {type(answer).__name__}.")
    inputs = [tuple(arguments) for arguments in inputs]
    ours = [np.asarray(right(*copy.deepcopy(arguments))) for arguments in inputs]
    theirs = [_call(answer, arguments) for arguments in inputs]
    if all(map(_agree, theirs, ours, itertools.repeat(tolerance))):
        return
    for sentence, wrong in (mistakes or {}).items():
        outcomes = (np.asarray(wrong(*copy.deepcopy(arguments))) for arguments in inputs)
        if all(map(_agree, theirs, outcomes, itertools.repeat(tolerance))):
            raise WrongAnswer(sentence)
    if sentence := _reduction(theirs, ours, inputs, tolerance):
        raise WrongAnswer(sentence)
    for one, other in zip(theirs, ours, strict=True):
        array(one, other, tolerance)


def model(
    answer: Any,
    input_shape: tuple | None = None,
    output_shape: tuple | None = None,
    parameters: int | None = None,
) -> None:
    """Compare a Keras model's shapes, without the batch axis, and its number of parameters with what is asked for.

    Raises
    ------
    WrongAnswer
        If the answer is no built model, or differs.
    """
    answered(answer)
    if not hasattr(answer, "count_params"):
        raise WrongAnswer(f"a Keras model is asked for, and this is of type {type(answer).__name__}.")
    if not getattr(answer, "built", True):
        raise WrongAnswer("the model does not know its input's shape yet: begin it with a keras.layers.Input.")
    for name, asked in (("input", input_shape), ("output", output_shape)):
        found = tuple(getattr(answer, f"{name}_shape")[1:])
        if asked is not None and found != tuple(asked):
            raise WrongAnswer(f"the {name} of the model has the shape {found}, and {tuple(asked)} is asked for.")
    if parameters is not None and answer.count_params() != parameters:
        raise WrongAnswer(f"the model has {answer.count_params():,} parameters, which is not the number asked for.")


def choice(letters: str) -> Callable[[Any, Any], str]:
    """Return the check of a question with lettered choices: of the letter's form only, for the rest is graded later.

    Examples
    --------
    >>> choice("ABCD")("b", None)
    Traceback (most recent call last):
        ...
    helpers.checks.compare.WrongAnswer: answer with one of the letters A, B, C, D in quotation marks.
    """

    def question(answer: Any, numbers: Any) -> str:
        answered(answer)
        if not (isinstance(answer, str) and len(answer) == 1 and answer in letters):
            raise WrongAnswer(f"answer with one of the letters {', '.join(letters)} in quotation marks.")
        return f"{answer} is noted; choices are graded later."

    return question


def _as_number(answer: Any) -> float:
    answer = _as_array(answer)
    if answer.size != 1:
        raise WrongAnswer(f"one number is asked for, and this has the shape {answer.shape}.")
    value = answer.item()
    if isinstance(value, bool | complex):
        raise WrongAnswer(f"a number is asked for, and this is {value!r}.")
    if not math.isfinite(value):
        raise WrongAnswer(f"this is {value}: something was divided by zero, or a logarithm of zero was taken.")
    return value


def _as_array(answer: Any) -> np.ndarray:
    answered(answer)
    if not isinstance(answer, np.ndarray | numbers.Number | str) and "keras" in sys.modules:
        # tensors of every back-end; a list of numbers passes too
        try:
            answer = sys.modules["keras"].ops.convert_to_numpy(answer)
        except (TypeError, ValueError, RuntimeError):
            raise WrongAnswer(f"numbers are asked for, and this is of type {type(answer).__name__}.") from None
    try:
        found = np.asarray(answer)
    except ValueError:
        raise WrongAnswer("the rows have unequal lengths.") from None
    if found.dtype.kind not in "biufc":
        raise WrongAnswer(f"numbers are asked for, and this is of type {type(answer).__name__}.")
    return found


def _call(answer: Callable, arguments: tuple) -> np.ndarray:
    given = copy.deepcopy(arguments)
    try:
        result = answer(*given)
    except Exception as error:
        shapes = ", ".join(str(np.shape(argument)) for argument in arguments)
        raise WrongAnswer(
            f"called with arguments of the shapes {shapes}, it stops with {type(error).__name__}: {error}"
        ) from None
    if result is None or result is ...:
        raise WrongAnswer("the function returns nothing yet.")
    for before, after in zip(arguments, given, strict=True):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            raise WrongAnswer("the function changes the array that it is given: work on a copy.")
    return _as_array(result)


def _close(answer: float, right: float, tolerance: float) -> bool:
    return abs(answer - right) <= tolerance * max(abs(right), 1e-12)


def _agree(answer: np.ndarray, right: np.ndarray, tolerance: float) -> bool:
    if answer.shape != right.shape:
        return False
    scale = np.max(np.abs(right), initial=0) or 1.0
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite answer differs, silently
        return bool(np.all(np.abs(answer.astype(complex) - right) <= tolerance * scale))


def _difference(answer: np.ndarray, right: np.ndarray, tolerance: float) -> str:
    """Say what is off between two arrays that differ."""
    # truth values have no sign, and whole numbers without one wrap around
    answer, right = (part.astype(float) if part.dtype.kind in "bu" else part for part in (answer, right))
    orders = itertools.permutations(range(answer.ndim)) if 2 <= answer.ndim <= 5 else ()
    if any(_agree(answer.transpose(order), right, tolerance) for order in orders):
        return "the values are right, but axes are swapped."
    if answer.shape != right.shape:
        return _shapes(answer, right, tolerance)
    if not np.isfinite(answer).all():
        return "there are values that are not finite: something was divided by zero, or a logarithm of zero was taken."
    if _agree(-answer, right, tolerance):
        return "the sign is wrong."
    if factor := _factor(answer, right, tolerance):
        return f"the values are {'too large' if factor > 1 else 'too small'} by a constant factor."
    if _agree(answer - np.mean(answer), right - np.mean(right), tolerance):
        return "the values are all off by the same amount."
    if answer.ndim and _agree(np.sort(answer, axis=None), np.sort(right, axis=None), tolerance):
        return "the values are right, but stand in another order."
    wrong = np.abs(answer - right) > tolerance * (np.max(np.abs(right)) or 1.0)
    if answer.size > 1 and not wrong.all():
        first = tuple(int(index) for index in np.argwhere(wrong)[0])
        return f"{wrong.sum()} of {wrong.size} values are off, the first at index {first}."
    return "the values are off, and not by a constant factor or amount."


def _shapes(answer: np.ndarray, right: np.ndarray, tolerance: float) -> str:
    if answer.size == right.size and _agree(answer.reshape(right.shape), right, tolerance):
        return f"the values are right, but the shape is {answer.shape} where {right.shape} is asked for."
    for axis in range(answer.ndim):
        for name, reduce in (("summed", np.sum), ("averaged", np.mean)):
            if _agree(reduce(answer, axis=axis), right, tolerance):
                return f"axis {axis} is still to be {name}."
    if right.ndim > answer.ndim:
        return f"the shape is {answer.shape} where {right.shape} is asked for: too much was summed or averaged."
    return f"the shape is {answer.shape} where {right.shape} is asked for."


def _factor(answer: np.ndarray, right: np.ndarray, tolerance: float) -> float | None:
    """Return the constant factor between two arrays, or None."""
    norm = float(np.vdot(right, right).real)
    with np.errstate(invalid="ignore", over="ignore"):
        factor = float(np.vdot(right, answer).real) / norm if norm else 0.0
    return factor if factor > 0 and _agree(answer, right * factor, tolerance * max(factor, 1e-12)) else None


def _reduction(theirs: list, ours: list, inputs: list[tuple], tolerance: float) -> str | None:
    """Say which sum should be a mean, or the other way round; inputs of several sizes tell them apart."""
    if any(one.shape != other.shape for one, other in zip(theirs, ours, strict=True)):
        return None
    factors = [_factor(one, other, tolerance) for one, other in zip(theirs, ours, strict=True)]
    if None in factors or np.ptp(factors) <= 0.01 * np.max(factors):
        return None
    batches = np.array([np.shape(arguments[0])[0] if np.ndim(arguments[0]) else 0 for arguments in inputs])
    units = np.array([np.size(arguments[0]) for arguments in inputs]) / np.maximum(batches, 1)
    sizes = {"the batch": batches, "what belongs to one image": units, "the batch and all of an image": batches * units}
    for name, size in sizes.items():
        if np.allclose(factors, size, rtol=0.01):
            return f"this is a sum over {name} where a mean is asked for."
        if np.allclose(factors, 1 / np.maximum(size, 1), rtol=0.01):
            return f"this is a mean over {name} where a sum is asked for."
    return "the values are off by a factor that changes with the size of the input: look at what is summed."

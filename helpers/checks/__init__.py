"""Feedback for the assignments: ``check("q1", answer)`` says what is off, never what would be right.

An assignment's set-up cell calls `begin`; its answer cells end in `check`. What is compared with what stands in one
module per chapter, `helpers.checks.<slug>`: a function `numbers`, which draws the numbers of a class, and a function
for each question. How two things are compared, and how a difference is put into a sentence, is `compare`.
"""

from __future__ import annotations

import importlib
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from helpers.checks.compare import WrongAnswer

__all__ = ["Numbers", "WrongAnswer", "assignments", "begin", "check", "fresh", "numbers"]

_current: Numbers | None = None
_calls = itertools.count()


class Numbers(SimpleNamespace):
    """The numbers of one assignment for one class, as attributes; made by `numbers`.

    Attributes
    ----------
    assignment : str
        The chapter's slug.
    class_seed : int
        What the numbers were drawn from.
    """

    def __str__(self) -> str:
        """Return the numbers on one line, without orders and tables: those may say what a question asks."""
        hidden = ("assignment", "class_seed")
        shown = {name: value for name, value in vars(self).items() if not isinstance(value, list | dict)}
        values = {name: value for name, value in shown.items() if name not in hidden}
        listed = ", ".join(f"{name} = {value}" for name, value in values.items())
        return f"{self.assignment}, class {self.class_seed}: {listed}"


def assignments() -> list[str]:
    """Return the slugs of the chapters that have an assignment."""
    modules = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(name.replace("_", "-") for name in modules if name not in ("__init__", "compare"))


def numbers(assignment: str, class_seed: int) -> Numbers:
    """Draw the numbers of one assignment for one class.

    Parameters
    ----------
    assignment : str
        The chapter's slug, for example ``"convolutional-autoencoder"``.
    class_seed : int
        Any whole number from 0; each gives other numbers, always the same ones.

    Raises
    ------
    ValueError
        If there is no such assignment, or the seed is no whole number from 0.
    """
    if isinstance(class_seed, bool) or not isinstance(class_seed, int) or class_seed < 0:
        raise ValueError(f"The class seed must be a whole number from 0, not {class_seed!r}.")
    drawn = _module(assignment).numbers(random.Random(f"{assignment}/{class_seed}"))
    return Numbers(assignment=assignment, class_seed=class_seed, **drawn)


def begin(assignment: str, class_seed: int) -> Numbers:
    """Return the class's `numbers`, and let `check` look for questions in this assignment from now on."""
    global _current
    _current = numbers(assignment, class_seed)
    return _current


def check(name: str, answer: Any) -> None:
    """Print one line on an answer: what is off, or that it passed what can be checked without giving it away.

    Parameters
    ----------
    name : str
        The question, for example ``"q1"``.
    answer : object
        The student's number, array, function, model or letter; ``...`` while it is not answered.

    Raises
    ------
    RuntimeError
        If no assignment was begun.
    ValueError
        If the assignment has no such question.
    """
    if _current is None:
        raise RuntimeError('No assignment was begun: run the set-up cell, which calls checks.begin("...", seed).')
    question = _question(_current.assignment, name)
    try:
        told = question(answer, _current) or "this looks right; the grader will try it on more."
    except WrongAnswer as wrong:
        told = wrong
    except Exception as error:  # an answer of a kind that the question did not think of
        told = f"this answer cannot be compared ({type(error).__name__}: {error}). Read again what is asked."
    print(f"{name}: {told}")


def fresh() -> np.random.Generator:
    """Return a generator for random inputs that no earlier call has drawn; a rerun of the notebook draws the same."""
    return np.random.default_rng([_current.class_seed if _current else 0, next(_calls)])


def _module(assignment: str) -> ModuleType:
    if assignment not in assignments():
        raise ValueError(f"There is no assignment {assignment!r}; there are {', '.join(assignments())}.")
    return importlib.import_module(f"helpers.checks.{assignment.replace('-', '_')}")


def _question(assignment: str, name: str) -> Callable[[Any, Numbers], str | None]:
    module = _module(assignment)
    names = sorted(key for key in vars(module) if key[0] == "q" and key[1:].isdigit())
    if name not in names:
        raise ValueError(f"The assignment {assignment} has no question {name!r}; it has {', '.join(names)}.")
    return getattr(module, name)

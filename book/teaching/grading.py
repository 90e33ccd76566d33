"""Grade one notebook: run its cells in a sandbox, and the hidden tests here, on what the sandbox hands over.

`teaching.grade` starts this as a process of its own for each notebook, so that whatever becomes of it, the others are
graded. It reads one job from its input and writes one result to its output, both as JSON.

A notebook whose process dies, or has to be killed, is run again without the cell at which it happened: its other
cells, and the answers that do not need that one, keep their points.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from otter.test_files import ExceptionTestFile
from otter.test_files.abstract_test import TestCase, TestCaseResult

from teaching import sandbox, sandbox_wire

__all__ = ["Graded", "grade"]

RUNS = 4  # of one notebook: the first one, and those without the cells at which it died
LONGEST = 600  # characters of a test's sentence


class TimeIsUp(BaseException):
    """A test took too long; no `except Exception` of a comparison may catch it."""


@dataclass
class Graded:
    """What became of one notebook.

    Attributes
    ----------
    questions : list of dict
        ``name``, ``points``, ``of``, and the sentences of the tests that failed, ``messages``.
    errors : list of dict
        The cells that stopped: ``cell`` (its number in the notebook, from 1), ``first_line``, ``line``, ``text``.
    output : str
        What the cells printed, up to a limit.
    remarks : list of str
        For the instructor.
    """

    questions: list[dict] = field(default_factory=list)
    errors: list[dict] = field(default_factory=list)
    output: str = ""
    remarks: list[str] = field(default_factory=list)


class Run:
    """The cells of a notebook, run in a sandbox, and again in a new one whenever that died.

    Parameters
    ----------
    cells : sequence of (int, str)
        The number of each code cell in the notebook, and its source.
    limits : sandbox.Limits
    hidden : sequence of Path
        What the cells must not read.
    """

    def __init__(self, cells: Sequence[tuple[int, str]], limits: sandbox.Limits, hidden: Sequence[Path] = ()):
        self.cells, self.limits, self.hidden = cells, limits, hidden
        self.began = time.monotonic()
        self.left_out: dict[int, str] = {}
        self.refused: list[str] = []
        self.errors, self.output, self.runs, self.box = [], "", 0, None
        self.start()

    def start(self) -> None:
        """Run the cells; leave out one more and begin anew each time that the process dies."""
        self.close()
        while self.runs < RUNS and self._seconds_left() > 0 and self._run_all():
            pass

    def _seconds_left(self) -> float:
        return self.began + self.limits.cells_seconds - time.monotonic()

    def _run_all(self) -> bool:
        """Run the cells once and return whether the process died of one."""
        self.runs += 1
        self.errors, self.output = [], ""
        self.box = sandbox.Sandbox(self.limits, self.began + self.limits.total_seconds, self.hidden)
        for number, source in self.cells:
            seconds = min(self.limits.seconds, self._seconds_left())
            if number in self.left_out:
                self._failed(number, source, self.left_out[number])
            elif seconds <= 0:
                used = f"It was not run: the cells before used up the notebook's {self.limits.cells_seconds:g} seconds."
                self._failed(number, source, used)
            elif self._dies_of(number, source, seconds):
                return True
        return False

    def _dies_of(self, number: int, source: str, seconds: float) -> bool:
        """Run one cell and return whether the process died of it."""
        try:
            cell = self.box.run(source, seconds)
        except sandbox.Died as death:
            self.left_out[number] = str(death)
            self._failed(number, source, str(death))
            self.close()
            return True
        self.output += cell.output[: self.limits.output - len(self.output)]
        if cell.error:
            self._failed(number, source, _sentence(cell.error, seconds), cell.error["line"])
        return False

    def _failed(self, number: int, source: str, text: str, line: int | None = None) -> None:
        first = next((row.strip() for row in source.splitlines() if row.strip()), "")
        self.errors.append({"cell": number, "first_line": first[:120], "line": line, "text": text})

    def fetch(self, name: str) -> Any:
        """Return what a name stands for after the cells, or `sandbox.MISSING`."""
        if not self.alive:
            raise sandbox.Died("The notebook's process ended, so that this question could not be looked at.")
        return self.box.fetch(name)

    @property
    def alive(self) -> bool:
        return self.box is not None and self.box.alive

    def close(self) -> None:
        """End the process, and keep in mind what it tried."""
        if self.box is not None:
            self.refused += [what for what in self.box.refused if what not in self.refused]
            self.box.close()
            self.box = None


def _sentence(error: dict, seconds: float) -> str:
    if error["kind"] == "TimeIsUp":
        return f"It ran longer than {seconds:.0f} seconds, and was interrupted."
    return f"{error['kind']}: {error['text']}" if error["text"] else error["kind"]


class Names:
    """The names of a notebook, as Otter's tests ask for them; each time a fresh copy of the value."""

    def __init__(self, run: Run):
        self.run, self.missing = run, []

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or `default` where the notebook has no such name."""
        value = self.run.fetch(name)
        if value is sandbox.MISSING:
            self.missing.append(name)
            return default
        return value


def grade(cells: Sequence[tuple[int, str]], tests: Path, limits: sandbox.Limits, hidden: Sequence[Path] = ()) -> Graded:
    """Run the cells of one notebook and test every question.

    Parameters
    ----------
    cells : sequence of (int, str)
        The number of each code cell in the notebook, and its source.
    tests : Path
        The folder with Otter's exception-based test files ``q1.py``, ``q2.py``, ...
    limits : sandbox.Limits
        For the student's code; a test may take as long as a cell.
    hidden : sequence of Path
        What the student's code must not read, apart from the tests.
    """
    files = [ExceptionTestFile.from_file(str(path)) for path in sorted(tests.glob("q*.py"), key=_order)]
    if not files:
        raise FileNotFoundError(f"There are no tests in {tests}: build the assignments anew.")
    graded = Graded()
    run = Run(cells, limits, [tests, *hidden])
    try:
        graded.errors, graded.output = run.errors, run.output
        graded.questions = [_question(file, run, graded.remarks) for file in files]
    finally:
        run.close()
    graded.remarks += [f"tried what is not allowed: {what}" for what in run.refused]
    return graded


def _order(path: Path) -> tuple[int, str]:
    return (int(path.stem[1:]) if path.stem[1:].isdigit() else 0, path.stem)


def _question(file: ExceptionTestFile, run: Run, remarks: list[str]) -> dict:
    """Run the tests of one question and count its points."""
    file.test_case_results, messages = [], []
    for case in file.test_cases:
        if not run.alive:
            run.start()
        message = _message(case, run, file.name, remarks)
        file.test_case_results.append(TestCaseResult(test_case=case, message=message, passed=message is None))
        if message is not None and message not in messages:
            messages.append(message)
    points = {"points": round(float(file.score), 2), "of": round(float(file.possible), 2)}
    return {"name": file.name, **points, "messages": messages}


def _message(case: TestCase, run: Run, question: str, remarks: list[str]) -> str | None:
    """Return why a test failed, in a sentence that quotes nothing of the test, or None if it passed."""
    names = Names(run)
    try:
        with _alarm(run.limits.seconds):
            case.body.call_func(names)
        return None
    except (sandbox.Died, sandbox.CallFailed, sandbox_wire.Unsuitable) as error:
        failed = str(error)
    except AssertionError as error:
        told = str(error).strip()  # several lines are a comparison's own, with the values that it expected
        failed = told if told and "\n" not in told else "A test of this question failed."
    except TimeIsUp:
        run.close()  # in the midst of a word
        failed = f"The test took longer than {run.limits.seconds:g} seconds."
    except Exception as error:  # an answer that the test did not think of, or an error in the test
        failed = "The answer is of a kind that cannot be tested: read again what is asked."
        remarks.append(f"{question}: a test ended in {type(error).__name__}: {_one_line(str(error))[:200]}")
    if names.missing:
        listed = " and ".join(f"`{name}`" for name in names.missing)
        return (
            f"{listed} could not be found: the cell of this question is missing, "
            "was renamed, or stopped with an error before it."
        )
    return _one_line(failed)[:LONGEST]


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextlib.contextmanager
def _alarm(seconds: float):
    def ring(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds + 2 * sandbox.GRACE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(read: Callable[[], str] = sys.stdin.read) -> None:
    """Grade the job on the input, and write the result to the output, to which nothing else gets."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    job = json.loads(read())
    limits = sandbox.Limits(seconds=job["seconds"], memory=job["memory"])
    # a student's model may ask for any size when it is built again here
    most = int((limits.memory + 4) * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    graded = grade(job["cells"], Path(job["tests"]), limits, [Path(path) for path in job["hidden"]])
    with output:
        json.dump(asdict(graded), output)


if __name__ == "__main__":
    main()

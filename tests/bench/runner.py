"""Time contenders against each other: in turns, each in a process of its own.

On a shared machine a single timing says little, and two timings taken minutes apart cannot be compared. So the
contenders of a case take turns (A B C, A B C, ...), each in its own process, which keeps its threads, its compiled
code and its memory to itself; what counts is the median over the rounds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Absent", "Contender", "Suite", "compare", "counts_to_run", "is_rough", "project"]


class Absent(Exception):
    """A contender cannot take part; the message says why."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a suite.

    Attributes
    ----------
    name : str
    factory : callable
        ``factory(**options)`` imports what it needs and returns ``prepare``; ``prepare(case, folder)`` reads the
        data and returns ``run``; ``run(count)`` does `count` units of work. Only ``run`` is timed. It is a function
        of a module, because another process imports it by name. `Absent` and `ImportError` end its part.
    options : dict
    peer : bool
        Whether somebody else wrote it: ours are compared with the fastest peer.
    most : callable, optional
        ``most(case)``: how many units a run does at most. What is asked beyond that is scaled.
    """

    name: str
    factory: Callable
    options: dict = field(default_factory=dict)
    peer: bool = False
    most: Callable[[dict], int] | None = None


@dataclass(frozen=True)
class Suite:
    """Contenders for the same work, and the cases that they are compared in.

    Attributes
    ----------
    name, title : str
    unit : str
        What the work is counted in, for example ``"permutations"``.
    contenders : tuple of Contender
    cases : tuple of dict
        Smallest first, so that high-water marks of memory mean something on every system.
    tiny : dict
        A case on which every contender is warmed up; ``--quick`` runs it alone.
    amounts : callable
        ``amounts(case)``: the amounts of work that are compared, in units.
    make : callable
        ``make(case, folder)`` writes the data of a case.
    measure : callable
        ``measure(case, rows)`` adds to the ``measures`` of each row what the table shows beside the seconds.
    judge : callable, optional
        ``judge(case, folder, output)``, run untimed after a contender's last run, returns numbers about its output.
    allowance : callable
        ``allowance(case)``: seconds after which a contender leaves a case, with the rounds that it has by then.
    note : str
        What a reader of its table has to know.
    ratio : str
        The measure that compares the contenders' speeds.
    """

    name: str
    title: str
    unit: str
    contenders: tuple[Contender, ...]
    cases: tuple[dict, ...]
    tiny: dict
    amounts: Callable[[dict], Sequence[int]]
    make: Callable[[dict, Path], None]
    measure: Callable[[dict, list[dict]], None]
    judge: Callable[[dict, Path, object], dict] | None = None
    allowance: Callable[[dict], float] = lambda case: 60.0
    note: str = ""
    ratio: str = ""


def compare(
    suite: Suite, *, cases: Sequence[dict] | None = None, rounds: int = 3, report=lambda line: None
) -> list[dict]:
    """Run a suite, or some of its cases, and return one row for each case, contender and amount of work.

    Returns
    -------
    list of dict
        ``suite``, ``case``, ``contender``, ``peer``, ``amount`` and ``unit``; then either ``absent``, the reason,
        or ``seconds`` (one for each round), ``median``, ``scaled``, ``rough`` (whether the seconds are a rough guess),
        ``counts`` (the amounts that were really run), ``peak_bytes``, ``notes`` (from `Suite.judge`) and ``measures``.
    """
    rows = []
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        tiny = _data(suite, suite.tiny, Path(place))
        workers = [stack.enter_context(_worker(contender, suite.judge)) for contender in suite.contenders]
        for worker in workers:
            worker.warm_up(suite.tiny, tiny)
        cases = suite.cases if cases is None else cases
        for number, case in enumerate(cases, 1):
            start = time.perf_counter()
            folder = _data(suite, case, Path(place))
            outcomes = _take_turns(workers, suite, case, folder, rounds)
            for amount in suite.amounts(case):
                found = [_row(suite, case, amount, worker, outcomes[worker.name]) for worker in workers]
                suite.measure(case, [row for row in found if "absent" not in row])
                rows += found
            for file in folder.iterdir():
                file.unlink()
            report(f"{suite.name} {number}/{len(cases)} · {describe(case)} · {time.perf_counter() - start:.0f} s")
    return rows


def describe(case: dict) -> str:
    return " · ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in case.items()
    )


def counts_to_run(amounts: Sequence[int], most: int | None) -> list[int]:
    """Return the amounts of work that a contender really does in a round.

    All that are asked for, if it may; else those that it may, and as a second point a single unit, which is mostly
    what any run costs at the least.

    >>> counts_to_run([999, 9999], None), counts_to_run([999, 9999], 1000), counts_to_run([999, 9999], 25)
    ([999, 9999], [1, 999], [1, 25])
    """
    allowed = [amount for amount in amounts if most is None or amount <= most]
    if len(allowed) == len(amounts):
        return sorted(allowed)
    return sorted({1, *(allowed or [max(2, most)])})


def project(seconds: dict[int, float], amount: int) -> float:
    """Return the seconds for an amount of work, on the line through the least and the largest that was measured.

    What a run costs at the least is thereby counted once, not multiplied.

    >>> project({1: 3.0, 11: 5.0}, 11), project({1: 3.0, 11: 5.0}, 101)
    (5.0, 23.0)
    """
    if amount in seconds:
        return seconds[amount]
    low, high = min(seconds), max(seconds)
    slope = max(0.0, seconds[high] - seconds[low]) / (high - low)
    return seconds[high] + slope * (amount - high)


def is_rough(rounds: Sequence[dict[int, float]], amount: int) -> bool:
    """Return whether scaling to an amount yields no more than a rough guess.

    That is so where the larger run took hardly longer than the least one: their difference may be noise. A peer
    with a rough guess is no fastest peer.

    >>> is_rough([{1: 3.0, 11: 5.0}], 101), is_rough([{1: 3.0, 11: 3.1}], 101), is_rough([{1: 3.0, 11: 3.1}], 11)
    (False, True, False)
    """
    seconds = _medians(rounds)
    return amount not in seconds and seconds[max(seconds)] < 1.5 * seconds[min(seconds)]


def _medians(rounds: Sequence[dict[int, float]]) -> dict[int, float]:
    return {count: statistics.median(seconds[count] for seconds in rounds) for count in rounds[0]}


def _data(suite: Suite, case: dict, place: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=place))
    suite.make(case, folder)
    return folder


def _take_turns(workers, suite: Suite, case: dict, folder: Path, rounds: int) -> dict[str, dict]:
    """Return, for each contender, the seconds of its rounds, its peak of memory and notes, or why it is absent."""
    counts = {worker.name: counts_to_run(suite.amounts(case), worker.most and worker.most(case)) for worker in workers}
    outcomes = {worker.name: {"rounds": []} for worker in workers}
    for worker in workers:
        with _absences(outcomes[worker.name]):
            worker.prepare(case, folder)
    for _ in range(rounds):
        for worker in workers:
            outcome = outcomes[worker.name]
            spent = sum(sum(seconds.values()) for seconds in outcome["rounds"])
            if "absent" not in outcome and spent <= suite.allowance(case):
                with _absences(outcome):
                    outcome["rounds"].append(_turn(worker, counts[worker.name]))
    for worker in workers:
        with _absences(outcomes[worker.name]):
            outcomes[worker.name] |= worker.finish()
    return outcomes


def _turn(worker, counts: Sequence[int]) -> dict[int, float]:
    """Return the seconds of each amount of work; where there are several, the first does not pay for the start.

    While the others had their turns a process lost its caches, and perhaps its place in memory.
    """
    if len(counts) > 1:
        worker.run(1)  # not timed
    return {count: worker.run(count) for count in counts}


@contextlib.contextmanager
def _absences(outcome: dict) -> Iterator[None]:
    try:
        yield
    except Absent as reason:
        outcome["absent"] = str(reason)


def _row(suite: Suite, case: dict, amount: int, worker, outcome: dict) -> dict:
    row = {
        "suite": suite.name,
        "case": case,
        "contender": worker.name,
        "peer": worker.peer,
        "amount": amount,
        "unit": suite.unit,
    }
    if "absent" in outcome:
        return row | {"absent": outcome["absent"]}
    seconds = [project(measured, amount) for measured in outcome["rounds"]]
    return row | {
        "seconds": seconds,
        "median": project(_medians(outcome["rounds"]), amount),
        "scaled": amount not in outcome["rounds"][0],
        "rough": is_rough(outcome["rounds"], amount),
        "counts": sorted(outcome["rounds"][0]),
        "peak_bytes": outcome["peak_bytes"],
        "notes": outcome["notes"],
        "measures": {},
    }


class _worker(contextlib.AbstractContextManager):
    """The process of one contender, seen from outside."""

    def __init__(self, contender: Contender, judge: Callable | None):
        self.name, self.peer, self.most = contender.name, contender.peer, contender.most
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, contender.factory, contender.options, judge)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._absent = None

    def __exit__(self, *error) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def warm_up(self, case: dict, folder: Path) -> None:
        """Import, compile and start threads, and so leave all that out of the seconds and the memory."""
        with contextlib.suppress(Absent):  # every later request raises it again
            self._ask("start")
            self._ask("prepare", case, folder)
            self._ask("run", 64)

    def prepare(self, case: dict, folder: Path) -> None:
        self._ask("prepare", case, folder)

    def run(self, count: int) -> float:
        """Return the seconds of one run."""
        return self._ask("run", count)

    def finish(self) -> dict:
        """Return the peak of memory since `prepare` and the notes on the last output, and drop the data."""
        return self._ask("finish")

    def _ask(self, *request):
        if self._absent is None:
            try:
                self._pipe.send(request)
                answer = self._pipe.recv()
            except (EOFError, OSError):
                answer = Absent("its process ended, perhaps for want of memory")
            if not isinstance(answer, Absent):
                return answer
            self._absent = answer
        raise self._absent


def _serve(pipe, factory: Callable, options: dict, judge: Callable | None) -> None:
    """The process of one contender, seen from inside: answer requests until the pipe closes."""
    for stream in (1, 2):  # what libraries say about themselves does not belong between the tables
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    contender = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            request, *arguments = pipe.recv()
            try:
                if request == "start":
                    contender, answer = _Inside(factory(**options), judge), None
                else:
                    answer = getattr(contender, request)(*arguments)
            except (Absent, ImportError) as error:
                answer = Absent(str(error))
            except Exception as error:  # one contender's failure is a line of the table, not the end of the bench
                answer = Absent(f"it failed: {type(error).__name__}: {error}")
            pipe.send(answer)


class _Inside:
    def __init__(self, prepare: Callable, judge: Callable | None):
        self._prepare, self._judge = prepare, judge
        self._run = self._output = self._data = None
        self._base = 0

    def prepare(self, case: dict, folder: Path) -> None:
        self._run = self._output = None
        self._base = _memory("VmRSS")
        self._run, self._data = self._prepare(case, folder), (case, folder)
        _forget_peak()  # what was held for a moment while the data were read is not counted, the data are

    def run(self, count: int) -> float:
        self._output = None
        start = time.perf_counter()
        self._output = self._run(count)
        return time.perf_counter() - start

    def finish(self) -> dict:
        peak = max(0, _memory("VmHWM") - self._base)
        notes = self._judge(*self._data, self._output) if self._judge else {}
        self._run = self._output = None
        return {"peak_bytes": peak, "notes": notes}


def _memory(field: str) -> int:
    """Return the resident memory of this process and its children, in bytes: VmRSS is now, VmHWM the peak.

    Where there is no /proc, both are the highest since the process started.
    """
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return sum(_status(process, field) for process in _family())


def _family() -> list[str]:
    children = Path("/proc/self/task").glob("*/children")
    return ["self", *(child for path in children for child in path.read_text().split())]


def _status(process: str, field: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _forget_peak() -> None:
    if sys.platform == "linux":
        for process in _family():
            Path(f"/proc/{process}/clear_refs").write_text("5")

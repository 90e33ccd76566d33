"""The process that runs a student's code, cell by cell, and hands over values and results of functions.

Started by `teaching.sandbox`, never imported by it. It knows the cells and nothing else: no test, no solution, no other
submission. It locks itself in before it imports what starts threads, and what it says afterwards is the word of the
student's code, which may have changed everything here.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    SETTINGS = json.loads(sys.argv[1])
    sys.path[:] = [*SETTINGS["path"], SETTINGS["tools"]]

import contextlib
import io
import itertools
import os
import signal
import traceback
from collections.abc import Callable

from teaching import sandbox_locks

LONGEST_SENTENCE = 1000


class TimeIsUp(BaseException):
    """A cell, or the call of a function, took longer than it may."""


class Alarm:
    """Interrupt what runs too long, again and again, for code may catch the interruption."""

    def __init__(self):
        self.on = False
        signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, *_: object) -> None:
        if self.on:
            raise TimeIsUp

    def within(self, seconds: float, action: Callable[[], object]) -> object:
        """Return what `action` returns, unless it takes longer."""
        try:
            try:
                self.on = True
                signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
                return action()
            finally:
                self._off()
        except TimeIsUp:
            self._off()  # it may have rung once more on the way out
            raise

    def _off(self) -> None:
        self.on = False
        signal.setitimer(signal.ITIMER_REAL, 0)


class Output(io.TextIOBase):
    """A stream that keeps the first `limit` characters and forgets the rest."""

    def __init__(self, limit: int):
        self.limit, self.parts, self.kept = limit, [], 0

    def writable(self) -> bool:
        return True

    @property
    def write(self) -> Callable[[str], int]:
        return self._keep

    @write.setter
    def write(self, _: Callable) -> None:
        """Stay as it is: IPython would put a function there that keeps all, without a limit."""

    def _keep(self, text: str) -> int:
        part = text[: max(0, self.limit - self.kept)]
        if part:
            self.parts.append(part)
            self.kept += len(part)
        return len(text)

    def taken(self) -> str:
        """Return what was written since the last time."""
        text = "".join(self.parts)
        self.parts.clear()
        return text


class Notebook:
    """The names of a notebook, and the cells that make them."""

    def __init__(self, settings: dict):
        self.output = Output(settings["output"])
        sys.stdout = sys.stderr = self.output
        self.alarm, self.shell = Alarm(), _shell()
        self.functions: dict[int, Callable] = {}
        self._numbers = itertools.count()

    def keep(self, function: Callable) -> int:
        """Return the number under which the grader may call a function."""
        number = next(self._numbers)
        self.functions[number] = function
        return number

    def run(self, source: str, seconds: float) -> dict:
        """Run one cell; what it raised is part of the answer."""
        try:
            error = self.alarm.within(seconds, lambda: self._run(source))
        except TimeIsUp as raised:
            error = self.told(raised)
        _close_figures()
        return {"error": error, "output": self.output.taken()}

    def _run(self, source: str) -> dict | None:
        result = self.shell.run_cell(source, store_history=False)
        raised = result.error_before_exec or result.error_in_exec
        return raised and self.told(raised)

    def told(self, error: BaseException) -> dict:
        """Return the kind of an error, its first sentence, and its line in the cell."""
        if isinstance(error, TimeIsUp):
            return {"kind": "TimeIsUp", "text": "", "line": None}
        # without the lines' texts, which would have to be read from files that are closed to this process
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
        lines = [frame.lineno for frame in frames if "ipython-input" in frame.filename]
        line = error.lineno if isinstance(error, SyntaxError) else lines[0] if lines else None
        return {"kind": type(error).__name__, "text": _sentence(error), "line": line}


def _sentence(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg)
    return str(error)[:LONGEST_SENTENCE]


def _shell():
    """Return IPython's shell, in which magics of Colab and Jupyter are passed over where they mean nothing here."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=config)
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None
    shell.system = shell.getoutput = lambda command, **_: print(f"Not run while grading: !{command}")
    for kind in ("run_line_magic", "run_cell_magic"):
        setattr(shell, kind, _tolerant(getattr(shell, kind)))
    return shell


_INSTALLERS = ("pip", "conda", "mamba", "micromamba", "uv")


def _tolerant(run: Callable) -> Callable:
    from IPython.core.error import UsageError

    def run_magic(name: str, *arguments: object, **options: object) -> object:
        if name in _INSTALLERS:
            return print(f"Not run while grading: %{name}")
        try:
            return run(name, *arguments, **options)
        except (UsageError, ImportError, NotImplementedError) as error:
            return print(f"Not run while grading: %{name} ({error})")

    return run_magic


def _close_figures() -> None:
    if "matplotlib.pyplot" in sys.modules:
        with contextlib.suppress(Exception):
            sys.modules["matplotlib.pyplot"].close("all")


def answer(notebook: Notebook, request: dict, blobs: list[bytes]) -> tuple[dict, list[bytes]]:
    """Do what the grader asks: run a cell, hand over a value, or call a function."""
    from teaching import sandbox_wire as wire

    if request["do"] == "run":
        return notebook.run(request["source"], request["seconds"]), []
    encoder = wire.Encoder(notebook.keep)

    def value() -> dict:
        names = notebook.shell.user_ns
        if request["do"] == "fetch":
            given = request["name"] in names
            return {"value": encoder.encode(names[request["name"]])} if given else {"missing": True}
        decode = wire.Decoder(blobs, lambda number, _: notebook.functions[number]).decode
        positional, named = decode(request["positional"]), decode(request["named"])
        return {"value": encoder.encode(notebook.functions[request["handle"]](*positional, **named))}

    try:
        return notebook.alarm.within(request["seconds"], value), encoder.blobs
    except wire.Unsuitable as error:
        return {"unsuitable": str(error)}, []
    except BaseException as error:
        return {"error": notebook.told(error)}, []


def lock(settings: dict, refused: list[str]) -> list[str]:
    """Put on every lock that this system has, and return the names of those that hold."""
    sandbox_locks.limit(settings["memory"], settings["processor_seconds"], settings["file_size"], settings["processes"])
    readable, writable = settings["readable"], settings["writable"]
    held = ["Landlock"] if sandbox_locks.landlock(readable, writable) else []
    held += ["seccomp"] if sandbox_locks.filter_calls() else []
    sandbox_locks.audit(readable, writable, lambda what: what in refused or len(refused) > 20 or refused.append(what))
    return held


def main(settings: dict) -> None:
    """Serve the grader until it hangs up."""
    refused: list[str] = []
    held = lock(settings, refused)
    from teaching import sandbox_wire as wire  # with NumPy, which starts threads

    sys.path.remove(settings["tools"])
    requests, replies = settings["requests"], settings["replies"]
    notebook = Notebook(settings)
    wire.send(replies, {"held": held, "pid": os.getpid()})
    while True:
        request, blobs = wire.receive(requests)
        reply, given = answer(notebook, request, blobs)
        reply |= {"refused": list(refused)}
        refused.clear()
        try:
            wire.send(replies, reply, given)
        except wire.Unsuitable as error:
            wire.send(replies, {"unsuitable": str(error)})


if __name__ == "__main__":
    try:
        main(SETTINGS)
    except BaseException as error:
        # the grader has hung up, or the student's code has broken this process beyond speech
        try:
            os.write(2, type(error).__name__.encode())
        finally:
            os._exit(70)

"""Run a student's notebook where it can do no harm, and ask it for values: `Sandbox`.

The code of a student runs in a process of its own that knows the notebook's cells and nothing else. The hidden tests
never get there: they run at the grader's, on copies of the student's values, and a student's function is called from
afar. What the two say to each other is JSON and the bytes of arrays (`teaching.sandbox_wire`).

What a notebook cannot do, and what holds it:

============================================  =======================================================================
read tests, solutions, other submissions      Landlock; without it only from Python
write outside of its own working folder       Landlock; without it only from Python
use the network                               seccomp; a network namespace; a Python hook
start programs, leave processes behind        seccomp; Landlock; a process namespace; a Python hook
see or signal other processes                 Landlock; a user and a process namespace
use up memory, processor, files, processes    resource limits
go on for ever                                an alarm; where code withstands it, the process is killed
fake a success                                tests, comparison and counting are in another process
read the instructor's secrets                 an environment of few names; a HOME of its own
============================================  =======================================================================

All of it holds on a Linux that has Landlock (5.13; signals 6.12) and seccomp, on x86-64 or ARM64. User namespaces
double some of it where they are allowed; Ubuntu from 24.04, and Docker without further options, forbid them. On macOS,
where it was not tried, the time limit, the working folder, the environment and the hook remain: that stops accidents
and curiosity, not a determined attacker. On Windows it does not run; WSL does. `protection` says which locks a system
has.

A sandbox in the same kernel is no virtual machine: an error of the kernel is a way out, and on macOS so is `ctypes`.
Who has reason to fear such students grades in a container or a virtual machine that holds nothing else and has no
network: `docker run --rm --network none --memory 8g`, with the submissions mounted read-only.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import runtime
from teaching import sandbox_wire as wire

__all__ = ["MISSING", "CallFailed", "Cell", "Died", "Limits", "Sandbox", "protection"]

ROOT = Path(__file__).resolve().parents[2]
GRACE = 5.0  # seconds between the alarm and the kill
START = 60.0  # seconds for the process to say that it is there
MISSING = object()

# names that cells may need; nothing else of the instructor's environment gets there
_PASSED_ON = ("LANG", "LC_ALL", "TZ", "KERAS_BACKEND", "COURSE_PROFILE", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")
_OF_THE_SYSTEM = [
    *("/usr", "/lib", "/lib64", "/proc", "/sys", "/System", "/Library", "/dev/null", "/dev/urandom", "/dev/random"),
    *(
        f"/etc/{name}"
        for name in ("alternatives", "fonts", "group", "ld.so.cache", "localtime", "mime.types", "passwd")
    ),
]


class Died(Exception):
    """The process has ended, or had to be killed; the text is a sentence about why."""


class CallFailed(Exception):
    """A function of the student's raised an error; the text says which."""


@dataclass(frozen=True)
class Limits:
    """What one notebook may use.

    Attributes
    ----------
    seconds : float
        For one cell.
    memory : float
        GiB.
    output : int
        Characters that are kept of what the notebook prints.
    file_size : int
        Bytes of one file.
    """

    seconds: float = 300
    memory: float = 6
    output: int = 20_000
    file_size: int = 2**30

    @property
    def call_seconds(self) -> float:
        """For one call of a function of the notebook's, which a test does with little."""
        return self.seconds / 5

    @property
    def cells_seconds(self) -> float:
        """For all cells, runs anew included."""
        return 3 * (self.seconds + GRACE)

    @property
    def total_seconds(self) -> float:
        """For everything that one notebook does; what the cells leave is for the tests."""
        return 4 * (self.seconds + GRACE)


@dataclass(frozen=True)
class Cell:
    """What became of a cell.

    Attributes
    ----------
    error : dict or None
        ``kind``, ``text`` and ``line`` of what it raised.
    output : str
        What it printed.
    refused : list of str
        What it tried and must not do.
    """

    error: dict | None
    output: str
    refused: list[str]


class Sandbox:
    """A process that runs the cells of one notebook; a context manager.

    Parameters
    ----------
    limits : Limits
    until : float, optional
        The moment of `time.monotonic` at which all has to end; else it is ``limits.total_seconds`` away.
    hidden : sequence of Path
        What the notebook must not read, apart from the course's own tests, solutions and builds: no folder that
        holds one of these is opened to it.

    Raises
    ------
    Died
        From every method, if the process ends or has to be killed. It stays dead.
    RuntimeError
        If it does not even start.
    """

    def __init__(self, limits: Limits, until: float | None = None, hidden: Sequence[Path] = ()):
        self.limits, self.hidden = limits, [ROOT, *(Path(path).resolve() for path in hidden)]
        self.until = until or time.monotonic() + limits.total_seconds
        self.folder = Path(tempfile.mkdtemp(prefix="grade-")).resolve()
        self.alive, self.refused, self.last_words = True, [], b""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, source: str, seconds: float | None = None) -> Cell:
        """Run one cell, for as long as `seconds` or the limits say."""
        reply, _ = self._ask({"do": "run", "source": source}, seconds or self.limits.seconds)
        error = reply.get("error")
        if error is not None:
            error = {"kind": _text(error, "kind", 80), "text": _text(error, "text", 1000), "line": _line(error)}
        return Cell(error, str(reply.get("output", ""))[: self.limits.output], self._refused(reply))

    def fetch(self, name: str) -> Any:
        """Return a copy of what a name stands for after the cells, or `MISSING`.

        Functions come as functions that call the student's from afar.

        Raises
        ------
        teaching.sandbox_wire.Unsuitable
            If it is of a kind that cannot be handed over.
        """
        reply, blobs = self._ask({"do": "fetch", "name": name}, self.limits.call_seconds)
        return MISSING if reply.get("missing") else self._value(reply, blobs)

    def close(self) -> None:
        """End the process and all that it started, and remove its folder."""
        self.alive = False
        process = getattr(self, "process", None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
            for descriptor in (self.requests, self.replies):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        work, course = self.folder / "work", self.folder / "course"
        for folder in (work, course, work / ".keras", work / ".matplotlib"):
            folder.mkdir()
        (course / "helpers").symlink_to(ROOT / "helpers")
        for name in ("datasets", "models"):
            (work / ".keras" / name).symlink_to(runtime.keras_folder(name).absolute())
        for path in _font_lists():
            shutil.copy(path, work / ".matplotlib")
        asked_there, self.requests = os.pipe()
        self.replies, told_there = os.pipe()
        settings = _settings(self.limits, work, course, self.hidden) | {"requests": asked_there, "replies": told_there}
        inside = Path(__file__).with_name("sandbox_inside.py")
        self.process = subprocess.Popen(
            [*_bound(), *_namespaces(), sys.executable, "-I", "-B", "-X", "utf8", str(inside), json.dumps(settings)],
            cwd=work,
            env=_environment(work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(asked_there, told_there),
        )
        os.close(asked_there)
        os.close(told_there)
        os.set_blocking(self.requests, False)
        self.listener = threading.Thread(target=self._listen, args=[self.process.stdout], daemon=True)
        self.listener.start()
        try:
            self.held = self._receive(START)[0].get("held", [])
        except Died as death:
            words = self.last_words.decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"The process for the notebook did not start. {' '.join(words) or death}") from None

    def _listen(self, stream: Any) -> None:
        """Keep the end of what libraries print from C, so that a full pipe stops nobody."""
        with stream:
            while part := os.read(stream.fileno(), 2**16):
                self.last_words = (self.last_words + part)[-4096:]

    def _ask(self, request: dict, seconds: float, blobs: Sequence[bytes] = ()) -> tuple[dict, list[bytes]]:
        if not self.alive:
            raise Died("The notebook's process has ended.")
        seconds = min(seconds, self.until - time.monotonic())
        if seconds <= 0:
            self.close()
            raise Died(f"The notebook used up its {self.limits.total_seconds:g} seconds.")
        try:
            wire.send(self.requests, request | {"seconds": seconds}, blobs, time.monotonic() + GRACE)
        except (wire.Broken, wire.Late):
            raise self._death(seconds) from None
        return self._receive(seconds)

    def _receive(self, seconds: float) -> tuple[dict, list[bytes]]:
        try:
            return wire.receive(self.replies, time.monotonic() + seconds + GRACE)
        except wire.Late:
            self.close()
            raise Died(f"It ran longer than {seconds:.0f} seconds, and could not be interrupted.") from None
        except wire.Broken:
            raise self._death(seconds) from None

    def _death(self, seconds: float) -> Died:
        """Bury the process and say what it died of."""
        try:
            code = self.process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            code = None
        self.close()
        if code in (None, 70):  # the latter is what it says when it cannot go on
            self.listener.join(1)
            words = self.last_words.decode(errors="replace").strip().splitlines()[-1:] or ["no answer"]
            return Died(f"It broke the process that runs the notebook ({words[0][:200]}).")
        if code == -signal.SIGKILL:
            return Died("The process was killed, most likely because it used too much memory or time.")
        if code < 0:
            known = {sent.value: sent.name for sent in signal.Signals}  # those of real time have no names
            return Died(f"The process crashed ({known.get(-code, f'signal {-code}')}).")
        return Died(f"The process ended itself (exit code {code}).")

    def _value(self, reply: dict, blobs: list[bytes]) -> Any:
        self._refused(reply)
        if "unsuitable" in reply:
            raise wire.Unsuitable(str(reply["unsuitable"])[:1000])
        if "error" in reply:
            error = reply["error"]
            if _text(error, "kind", 80) == "TimeIsUp":
                raise CallFailed(f"The call took longer than {self.limits.call_seconds:g} seconds.")
            raise CallFailed(f"{_text(error, 'kind', 80)}: {_text(error, 'text', 500)}".rstrip(": "))
        try:
            return wire.Decoder(blobs, self._function).decode(reply.get("value"))
        except wire.Broken as error:
            self.close()
            raise Died(str(error)) from None

    def _function(self, handle: int, name: str) -> Callable:
        return _Remote(self, handle, name)

    def call(self, handle: int, positional: tuple, named: dict) -> Any:
        """Call a function of the notebook with copies of the arguments, and return a copy of its result.

        Raises
        ------
        CallFailed
            If it raises an error, or takes too long.
        """
        encoder = wire.Encoder(_handle)
        arguments = {"positional": encoder.encode(list(positional)), "named": encoder.encode(named)}
        request = {"do": "call", "handle": handle} | arguments
        return self._value(*self._ask(request, self.limits.call_seconds, encoder.blobs))

    def _refused(self, reply: dict) -> list[str]:
        new = reply.get("refused")
        new = [str(what)[:200] for what in new[:20]] if isinstance(new, list) else []
        self.refused += [what for what in new if what not in self.refused][: 20 - len(self.refused)]
        return new


class _Remote:
    """A function of the notebook, called from afar."""

    def __init__(self, sandbox: Sandbox, handle: int, name: str):
        self.handle, self.__name__ = handle, name
        self._sandbox = sandbox

    def __call__(self, *positional: Any, **named: Any) -> Any:
        return self._sandbox.call(self.handle, positional, named)


def _handle(function: Callable) -> int:
    if not isinstance(function, _Remote):
        raise wire.Unsuitable("A test can hand only arrays, numbers, models and the student's own functions over.")
    return function.handle


def _text(content: Any, key: str, longest: int) -> str:
    return str(content.get(key, ""))[:longest] if isinstance(content, dict) else ""


def _line(content: Any) -> int | None:
    line = content.get("line") if isinstance(content, dict) else None
    return line if type(line) is int else None


def _settings(limits: Limits, work: Path, course: Path, hidden: Sequence[Path]) -> dict:
    """Return what the process is told at its start: where it may look, and what it may use."""
    installed = [Path(place).resolve() for place in (sys.prefix, sys.base_prefix, site.getusersitepackages())]
    paths = [Path(path).resolve() for path in sys.path if path]
    packages = [path for path in paths if path.exists() and any(path.is_relative_to(place) for place in installed)]
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    known = [runtime.data_folder(), runtime.weights_folder(), *map(runtime.keras_folder, ("datasets", "models"))]
    readable = [*packages, *places, *_OF_THE_SYSTEM, *(path for path in known if path), sys.executable]
    readable += [Path(sys.prefix) / name for name in ("lib", "share", "pyvenv.cfg")]
    readable += [Path(sys.base_prefix) / "lib", course, ROOT / "helpers", ROOT / "data"]
    readable += Path(__file__).parent.glob("sandbox_*.py")  # what runs there, which tracebacks quote
    readable = {Path(path).resolve() for path in readable}
    return {
        "tools": str(Path(__file__).parents[1]),
        "path": [*map(str, packages), str(course)],
        "readable": sorted(str(path) for path in readable if not any(one.is_relative_to(path) for one in hidden)),
        "writable": [str(work), "/dev/null"],
        "memory": int(limits.memory * 2**30),
        "processor_seconds": int(limits.total_seconds * runtime.cores()) + 60,
        "file_size": limits.file_size,
        "processes": 512 + 16 * runtime.cores() if _namespaces() else None,
        "output": limits.output,
    }


def _environment(work: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    for name, folder in (("COURSE_DATA", runtime.data_folder()), ("COURSE_WEIGHTS", runtime.weights_folder())):
        kept |= {name: str(folder.absolute())} if folder else {}
    return {
        "COURSE_PROFILE": "quick",
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(work),
        "USER": "student",
        "LOGNAME": "student",
        "KERAS_HOME": str(work / ".keras"),
        "MPLCONFIGDIR": str(work / ".matplotlib"),
        "MPLBACKEND": "Agg",
        "NUMBA_CACHE_DIR": str(work),
        "IPYTHONDIR": str(work / ".ipython"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",  # the same device for everyone
        "JAX_PLATFORMS": "cpu",
        "JOBLIB_MULTIPROCESSING": "0",  # it would ask for shared memory, and warn
    } | kept


@functools.cache
def _font_lists() -> list[Path]:
    """Return Matplotlib's lists of fonts, which every fresh HOME would take seconds to make again."""
    import matplotlib

    lists = functools.partial(Path(matplotlib.get_cachedir()).glob, "fontlist-*.json")
    if not list(lists()):
        importlib.import_module("matplotlib.font_manager")  # makes it
    return list(lists())


@functools.cache
def _bound() -> tuple[str, ...]:
    """Return the command that starts another one which dies with the grader, and where this is root, has no rights."""
    bound = ("setpriv", "--pdeathsig", "KILL")
    powerless = (*bound, "--bounding-set", "-all", "--inh-caps", "-all", "--")
    return _first_that_runs(*([powerless] if os.geteuid() == 0 else []), (*bound, "--"))


@functools.cache
def _namespaces() -> tuple[str, ...]:
    """Return the command that starts another one without network and among its own processes, where that is allowed."""
    apart = ("unshare", "--user", "--net", "--ipc")
    return _first_that_runs((*apart, "--pid", "--fork", "--kill-child"), apart)


def _first_that_runs(*commands: tuple[str, ...]) -> tuple[str, ...]:
    for command in commands if sys.platform == "linux" else ():
        if shutil.which(command[0]) and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return ()


def protection() -> dict[str, bool]:
    """Return which locks of the system hold here; without user namespaces the first two do most of their work."""
    with Sandbox(Limits(seconds=30)) as sandbox:
        held = {name: name in sandbox.held for name in ("Landlock", "seccomp")}
    return held | {"user namespaces": "unshare" in _namespaces()}

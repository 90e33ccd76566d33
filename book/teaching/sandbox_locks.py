"""Locks that a process puts on itself before it runs code that nobody vouches for; none of them can be taken off.

Four kinds, from the strongest to the weakest:

1. *Landlock* (Linux from 5.13, no rights needed): the kernel lets the process and all that it starts open only the
   files below a few folders, start no program, and, from Linux 6.7, use no TCP; it also keeps the process from looking
   into others or, from 6.12, from sending them signals. It holds for code in C as well, such as TensorFlow's own
   file functions.
2. A *filter of system calls*, seccomp (Linux on x86-64 and ARM64, no rights needed): the kernel refuses sockets, new
   processes and programs, for code in C as well. Threads it lets pass.
3. *Resource limits* (Linux; macOS without those on memory): memory, processor time, size and number of files.
4. A *Python audit hook*: refuses sockets, programs and files outside the same folders from Python code, in a sentence.
   Without Landlock it is the only lock on files, and code that reaches C (`ctypes`, TensorFlow) walks past it.

What is called here must come before any library that starts threads: the first two bind the thread that asks for them,
and those that this thread starts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["audit", "filter_calls", "landlock", "limit"]

_NO_NEW_PRIVILEGES = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS = {1: 13, 2: 14, 3: 15}  # how many rights on files each version of Landlock knows; version 4 adds none


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def landlock(readable: Sequence[str], writable: Sequence[str]) -> bool:
    """Let the kernel refuse every file that is not below one of the folders; return whether it can.

    Parameters
    ----------
    readable, writable : sequence of str
        Files and folders; those that do not exist are passed over.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    every = (1 << _RIGHTS.get(version, 15)) - 1
    ruleset = _Ruleset(every, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = library.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    for path in readable:
        _allow(library, rules, path, _READ_FILE | _READ_FOLDER)
    for path in writable:
        _allow(library, rules, path, every & ~1)  # all but to start programs
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    bound = library.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return bound


def _allow(library: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
    beneath = _Beneath(rights, opened)
    library.syscall(_ADD_RULE, rules, 1, ctypes.byref(beneath), 0)
    os.close(opened)


# of each architecture: its name to the kernel, and the numbers of its system calls
_CALLS = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "execve": 59, "execveat": 322, "fork": 57, "ptrace": 101, "socket": 41, "vfork": 58},
    ),
    "aarch64": (0xC00000B7, {"clone": 220, "execve": 221, "execveat": 281, "ptrace": 117, "socket": 198}),
}
_CLONE3, _RING = 435, 425  # the same on every architecture; a ring (io_uring) makes sockets past the filter
_SET_SECCOMP, _MODE_FILTER = 22, 2
_THREAD = 0x10000  # the flag of clone that makes a thread, not a process
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of the filter
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # where the kernel puts them


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def filter_calls() -> bool:
    """Let the kernel refuse sockets, new processes and programs; return whether it can.

    A C library that may not use ``clone3``, whose flags no filter can see, falls back to ``clone``.
    """
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return False
    architecture, numbers = _CALLS[platform.machine()]
    refused = [_RING, *(number for name, number in numbers.items() if name != "clone")]
    refuse, unknown = (_RETURN, 0, 0, _REFUSE | errno.EPERM), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), refuse, (_LOAD, 0, 0, _NUMBER)]
    lines += [(_AT_LEAST, 0, 1, 0x40000000), refuse]  # calls of another kind on the same processor
    for number in refused:
        lines += [(_EQUAL, 0, 1, number), refuse]
    lines += [(_EQUAL, 0, 1, _CLONE3), unknown]
    lines += [(_EQUAL, 0, 3, numbers["clone"]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _THREAD), refuse]
    lines += [(_RETURN, 0, 0, _ALLOW)]
    program = _Program(len(lines), (_Instruction * len(lines))(*lines))
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return library.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0


def limit(memory: int, seconds: int, file_size: int, processes: int | None) -> None:
    """Bound what the process may use; more memory ends in a `MemoryError`, more processor time in its death.

    Parameters
    ----------
    memory, file_size : int
        Bytes. Memory is what the process writes to; libraries that it merely maps do not count.
    seconds : int
        Of processor time, over all threads.
    processes : int, optional
        With threads; only where the process has a user namespace of its own, else all of the user's would count.
    """
    bounds = {"CORE": 0, "CPU": seconds, "FSIZE": file_size, "NOFILE": 1024}
    if sys.platform == "linux":
        # RLIMIT_AS cannot be tight, since TensorFlow and its threads reserve far more than they use
        bounds |= {"DATA": memory, "AS": memory + 32 * 2**30}
    if processes:
        bounds["NPROC"] = processes
    for name, bound in bounds.items():
        what = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(what)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (allowed, allowed))


_PROCESS = re.compile(r"/proc/(\d+)(/|$)")
_PROGRAMS = re.compile(r"os\.(fork|forkpty|exec|posix_spawn|spawn|system)|pty\.spawn|subprocess\.Popen")
_NETWORK = re.compile(r"socket\.(bind|connect|getaddrinfo|gethostby\w+|getnameinfo|sendto|sendmsg)")
_CHANGES = re.compile(
    r"os\.(chflags|chmod|chown|link|mkdir|remove|removexattr|rename|rmdir|setxattr|symlink|truncate|utime)|sqlite3\.connect"
)
_FUNCTIONS_OF_C = re.compile(
    "v?fork|clone|system|popen|exec[lv]p?e?|fexecve|posix_spawnp?|syscall|socket|connect|ptrace|process_vm_(readv|writev)|"
    "mount|umount2?|setns|unshare|prctl|kill"
)


def audit(readable: Sequence[str], writable: Sequence[str], noted: Callable[[str], None]) -> None:
    """Refuse from Python what the other locks refuse from below, as a `PermissionError` that says what it was.

    Parameters
    ----------
    readable, writable : sequence of str
        Files and folders.
    noted : callable
        Is told, in a few words, of what no library does by itself: the network, and files outside the folders that
        hold a notebook or a test.
    """
    allowed = {"read": _roots([*readable, *writable]), "write": _roots(writable)}
    real, text, own = os.path.realpath, os.fsdecode, os.getpid()
    # in a namespace of its own a process has another number than in the system's list
    own_number = os.readlink("/proc/self") if os.path.islink("/proc/self") else ""

    def refuse(what: str, note: bool = False) -> None:
        if note:
            noted(what)
        raise PermissionError(f"Not allowed while grading: {what}.")

    def check_path(path: object, way: str) -> None:
        if isinstance(path, int) or path is None:
            return
        where = real(text(path))
        if (other := _PROCESS.match(where)) and other[1] != own_number:
            refuse("looking into other processes", note=True)
        if not f"{where}/".startswith(allowed[way]):
            verb = "reading" if way == "read" else "writing"
            refuse(f"{verb} {where}", note=where.endswith((".ipynb", ".py")) or "/dist/" in where)

    def opened(path: object, mode: object, flags: object) -> None:
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        check_path(path, "write" if writes else "read")

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            opened(*arguments)
        elif _PROGRAMS.fullmatch(event):
            refuse("starting another program or process")
        elif _NETWORK.fullmatch(event):
            refuse("using the network", note=event != "socket.bind")  # urllib3 binds one when it is imported
        elif event in ("os.listdir", "os.scandir", "os.chdir"):
            check_path(arguments[0], "read")
        elif _CHANGES.fullmatch(event):
            both = event in ("os.link", "os.rename")  # of a symbolic link only the new place counts
            for path in arguments[1:2] if event == "os.symlink" else arguments[: 1 + both]:
                check_path(path, "write")
        elif (event == "os.kill" and arguments[0] != own) or event == "os.killpg":
            refuse("sending signals to other processes", note=True)
        elif event == "ctypes.dlsym" and _FUNCTIONS_OF_C.fullmatch(str(arguments[1])):
            refuse(f"calling {arguments[1]} of the C library", note=True)
        elif event == "mmap.__new__" and arguments[0] == -1 and arguments[1] > 2**28:
            refuse("sharing more than 256 MB of memory")

    sys.addaudithook(hook)


def _roots(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{Path(path).resolve()}/" for path in paths)

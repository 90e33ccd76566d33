"""Where the course runs: profile, seeds, back-end, device, versions, folders.

This is the only module that reads environment variables:

``COURSE_PROFILE``
    ``quick`` or ``full``; without it, ``full`` where a GPU is seen and ``quick`` elsewhere.
``COURSE_RESULTS``
    the folder of the results store; without it, ``results`` in the working directory.
``COURSE_DATA``
    a folder with data sets of your own (``mnist.npz``, ...), looked into before any download.
``COURSE_WEIGHTS``
    a folder with weights of pretrained networks, looked into before any download; it may be read-only.
``KERAS_HOME``
    Keras' own folder, where downloads are kept; without it, ``~/.keras``.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .validation import check_choice

__all__ = [
    "PROFILES",
    "Runtime",
    "cores",
    "data_folder",
    "device",
    "keras_folder",
    "replace_file",
    "results_folder",
    "start",
    "versions",
    "weights_folder",
]

PROFILES = ("quick", "full")

_PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scipy", "scikit-learn", "umap-learn", "matplotlib")


@dataclass(frozen=True)
class Runtime:
    """What `start` found and set; a chapter's configuration cell reads `profile` and `seed`.

    Attributes
    ----------
    profile : {'quick', 'full'}
    seed : int
    backend : {'tensorflow', 'jax', 'torch'}
    device : str
        For example ``"CPU, 2 cores"`` or ``"GPU, NVIDIA T4"``.
    """

    profile: str
    seed: int
    backend: str
    device: str

    def pick(self, *, quick, full):
        """Return the value that belongs to this run's profile."""
        return quick if self.profile == "quick" else full

    def __str__(self) -> str:
        found = versions()
        shown = [name for name in ("keras", self.backend, "numpy", "scikit-learn") if name in found]
        packages = " · ".join(f"{name} {found[name]}" for name in shown)
        here = f"profile {self.profile} · {self.device} · seed {self.seed} · Python {platform.python_version()}"
        return f"{here} · {packages}"


def start(seed: int = 0, profile: str | None = None) -> Runtime:
    """Seed every generator, find the device, choose the profile, and print one line about it.

    Parameters
    ----------
    seed : int
        Seeds Python, NumPy and the Keras back-end.
    profile : {'quick', 'full'}, optional
        Overrides ``COURSE_PROFILE`` and the choice by device.

    Returns
    -------
    Runtime

    Raises
    ------
    ValueError
        If the profile is unknown or the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"The seed is {seed}, but a seed is 0 or more.")
    import keras
    import matplotlib.pyplot as plt

    found = device()
    wanted = profile or os.environ.get("COURSE_PROFILE") or ("full" if found.startswith("GPU") else "quick")
    check_choice(wanted, PROFILES, "profile")
    keras.utils.set_random_seed(seed)  # Python's, NumPy's and the back-end's generators
    plt.style.use("helpers.course")
    _freeze_imported_objects()
    runtime = Runtime(wanted, seed, keras.backend.backend(), found)
    print(runtime)
    return runtime


def _freeze_imported_objects() -> None:
    """Leave the objects of the imported packages, which live as long as the process, out of garbage collection.

    With them a full collection is slow and rare. The iterators of finished TensorFlow trainings then live for
    minutes, and an iterator that is destroyed late waits for its tuning thread: 10 to 20 idle seconds in the
    middle of some later cell.
    """
    gc.unfreeze()  # of an earlier call: its models refer to themselves, and only a collection lets them go
    gc.collect()
    gc.freeze()


def device() -> str:
    """Return the device that Keras' back-end computes on, as ``"CPU, 2 cores"`` or ``"GPU, <name>"``."""
    import keras

    backend = keras.backend.backend()
    name = _GPU_NAMES[backend]() if backend in _GPU_NAMES else None
    return f"GPU, {name}" if name else f"CPU, {cores()} cores"


def cores() -> int:
    """Count the cores that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tensorflow_gpu() -> str | None:
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    return tensorflow.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else None


def _jax_gpu() -> str | None:
    import jax

    gpus = [found for found in jax.devices() if found.platform == "gpu"]
    return gpus[0].device_kind if gpus else None


def _torch_gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


# Keras has no call that names the device on every back-end, so here, and only here, the back-ends are asked.
_GPU_NAMES = {"tensorflow": _tensorflow_gpu, "jax": _jax_gpu, "torch": _torch_gpu}


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        names = (package, "tensorflow-cpu") if package == "tensorflow" else (package,)
        for name in names:
            try:
                found[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def commit() -> str:
    """Return the commit of the code that runs, marked where files differ from it; empty outside of git."""
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--abbrev=12", "--dirty"]
    try:
        told = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return ""
    return told.stdout.strip()


def results_folder() -> Path:
    """Return the folder of the results store (``COURSE_RESULTS``, else ``results`` in the working directory)."""
    return Path(os.environ.get("COURSE_RESULTS") or "results")


def data_folder() -> Path | None:
    """Return the folder with the user's own data sets (``COURSE_DATA``), or None where none is set."""
    return Path(os.environ["COURSE_DATA"]).expanduser() if os.environ.get("COURSE_DATA") else None


def weights_folder() -> Path | None:
    """Return the folder with the user's own weight files (``COURSE_WEIGHTS``), or None where none is set."""
    return Path(os.environ["COURSE_WEIGHTS"]).expanduser() if os.environ.get("COURSE_WEIGHTS") else None


def keras_folder(name: str) -> Path:
    """Return the folder `name` (``datasets``, ``models``) in which Keras keeps its downloads."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / name


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside `path`, then move it into place in one step.

    Whatever goes wrong while writing, what stood at `path` before is still there.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not `tempfile`, whose files only their owner may read: a site is read by others
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as stream:
            write(stream)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""A pool of rendered images on disk: rendering is slower than training, so each image is used several times."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from ..runtime import replace_file
from .images import category, render

__all__ = ["fill"]


def fill(path: Path, n_categories: int, per_category: int, size: int, seed: int, workers: int = 1) -> np.ndarray:
    """Render the pool, or open it where it has been rendered before.

    Parameters
    ----------
    path : Path
        The ``.npy`` file; it appears only when it is complete.
    n_categories, per_category, size, seed : int
        `per_category` images of `size` x `size` pixels for each of `n_categories` categories.
    workers : int
        Processes that render.

    Returns
    -------
    memory map of uint8, shape (n_categories, per_category, size, size, 3)

    Raises
    ------
    ValueError
        If the file holds a pool of another shape.
    """
    shape = (n_categories, per_category, size, size, 3)
    if not path.exists():
        replace_file(path, lambda stream: _write(stream, shape, seed, workers))
    pool = np.load(path, mmap_mode="r", allow_pickle=False)
    if pool.shape != shape:
        raise ValueError(f"{path.name} holds images of shape {pool.shape}, not {shape}: delete it, or ask for those.")
    return pool


def _write(stream, shape: tuple[int, ...], seed: int, workers: int) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    n, per_category, size = shape[:3]
    jobs = range(n), repeat(per_category), repeat(size), repeat(seed)
    if workers == 1:
        stream.writelines(images.data for images in map(_rendered, *jobs))
        return
    spawn = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may hang
    with ProcessPoolExecutor(workers, mp_context=spawn) as processes:
        stream.writelines(images.data for images in processes.map(_rendered, *jobs))


def _rendered(index: int, per_category: int, size: int, seed: int) -> np.ndarray:
    """Render one category's images, uint8; in parts, because its floating-point fields need memory."""
    drawn = category(index, seed)
    random = np.random.default_rng([seed, index, size])
    parts = [min(16, per_category - start) for start in range(0, per_category, 16)]
    images = [(render(drawn, n, size, random) * 255).round().astype(np.uint8) for n in parts]
    return np.ascontiguousarray(np.concatenate(images))  # a file takes nothing else

"""Many record files read in several processes: what is kept of each chunk of them comes back in order."""

import gc
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from bench.devices.environment import usable_cores

_T = TypeVar("_T")
# From here on, reading takes longer than starting processes does.
_MANY_BYTES: Final = 100_000_000
_MOST_PROCESSES: Final = 8


def by_chunks(work: Callable[[Sequence[Path]], _T], paths: Sequence[Path]) -> list[_T]:
    """Return what `work` makes of consecutive chunks of `paths`, in order; of one if there is little to read.

    `work` must be a function of a module, and its results must be picklable: with much to read, each chunk is
    worked on in a fresh process, as many at a time as there are cores.
    """
    processes = min(usable_cores(), _MOST_PROCESSES, len(paths))
    if processes < 2 or sum(map(_bytes, paths)) < _MANY_BYTES:
        return [_without_gc(work, paths)]
    size = -(-len(paths) // processes)
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(chunks), mp_context=context) as pool:
        return list(pool.map(partial(_without_gc, work), chunks))


def _without_gc(work: Callable[[Sequence[Path]], _T], paths: Sequence[Path]) -> _T:
    """Do the work without looking for cycles: records hold none, and looking takes a seventh of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return work(paths)
    finally:
        if was_on:
            gc.enable()


def _bytes(path: Path) -> int:
    """Return a file's size, 0 if it is gone: to read it will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0

"""Many record files read in several processes: what is kept of each chunk of them comes back in order."""

import gc
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeVar

from bench.devices.environment import usable_cores

_T = TypeVar("_T")
# From here on, reading takes longer than starting processes does.
_MANY_BYTES: Final = 100_000_000
_MOST_PROCESSES: Final = 8


def by_chunks(work: Callable[[Sequence[Path]], _T], paths: Sequence[Path]) -> list[_T]:
    """Return what `work` makes of consecutive chunks of `paths`, in order; of one if there is little to read.

    `work` must be a function of a module, and its results must be picklable: with much to read, all chunks but the
    first are worked on in fresh processes, as many in all as there are cores. A chunk whose process dies (killed,
    out of memory) is worked on here.
    """
    count = min(usable_cores(), _MOST_PROCESSES, len(paths))
    if count < 2 or sum(map(_bytes, paths)) < _MANY_BYTES:
        with no_gc():
            return [work(paths)]
    size = -(-len(paths) // count)
    first, *others = [paths[start : start + size] for start in range(0, len(paths), size)]
    with _children(work, others) as connections, no_gc():
        found = [work(first)]
        for connection, chunk in zip(connections, others, strict=True):
            try:
                found.append(connection.recv())
            except EOFError:
                found.append(work(chunk))
    return found


@contextmanager
def _children(
    work: Callable[[Sequence[Path]], _T], chunks: Sequence[Sequence[Path]]
) -> Iterator[list[Connection]]:
    """Work on each chunk in a process of its own, which ends with the block, or when it has sent its result."""
    context = multiprocessing.get_context("spawn")
    started = []
    try:
        for chunk in chunks:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, work, chunk), daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
        yield [ours for _, ours in started]
    finally:
        for process, ours in started:
            ours.close()
            process.terminate()
            process.join()


def _child(connection: Connection, work: Callable[[Sequence[Path]], object], paths: Sequence[Path]) -> None:
    with no_gc():
        connection.send(work(paths))


@contextmanager
def no_gc() -> Iterator[None]:
    """Do not look for cycles meanwhile: what is read holds none, and looking takes a seventh of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _bytes(path: Path) -> int:
    """Return a file's size, 0 if it is gone: to read it will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0

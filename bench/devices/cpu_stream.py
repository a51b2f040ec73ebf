"""Copy and triad through a CPU's memory with NumPy, one thread for every core that may be used."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.devices import environment as env
from bench.devices.base import Block, Caveat, Check, Moments, OperandData, PlainTask
from bench.devices.check import check_stream, worst
from bench.workloads.base import Cell
from bench.workloads.stream import SCALAR

LIBRARY: Final = "numpy"
CACHES: Final = 4  # of the last level, that one array fills
_LEAST_BYTES: Final = 1 << 28  # where nothing tells how large a cache is
_PART: Final = 1 << 16  # numbers that are described together, in FP64
_ANEW: Final = 2  # index of the first array that is drawn anew
_CHUNK: Final = 1 << 15  # numbers of a triad that stay in a core's own cache between its two operations

Numbers = npt.NDArray[np.float32]
Slice = tuple[int, int]


def default_elements() -> int:
    """Return a power of two of FP32 numbers that fill at least four times the last level of cache."""
    least = max(_LEAST_BYTES, CACHES * (env.last_level_cache_bytes() or 0))
    return 1 << (least // 4 - 1).bit_length()


def described(array: npt.NDArray[Any]) -> OperandData:
    """Return what an array in the host's memory holds, part by part, as a copy in FP64 might not fit."""
    moments, flat = Moments(), array.reshape(-1)
    for start in range(0, flat.size, _PART):
        moments.add(np, flat[start : start + _PART].astype(np.float64))
    return moments.described()


class CpuStreamTask(PlainTask):
    """c = a, or c = a + s·b, call after call, each thread on its own share of the arrays.

    NumPy has no triad in one operation, so each thread multiplies and adds part by part: what the first writes,
    the second reads from the cache, and memory sees every array once.
    """

    def __init__(self, cell: Cell, seed: int, *, cold: bool) -> None:
        count = cell.elements
        if count is None:
            message = f"the CPU backend was given a cell that it does not offer: {cell.key}"
            raise ValueError(message)
        self.cold = cold
        self._cell, self._seed = cell, seed
        threads = min(env.usable_cores(), count)
        self.algorithm = {"threads": threads}
        self._slices = [(count * i // threads, count * (i + 1) // threads) for i in range(threads)]
        self._pool = ThreadPoolExecutor(threads)
        self._a: Numbers = np.empty(count, np.float32)
        self._b: Numbers | None = None
        names = {"a": self._a}
        if cell.operation == "triad":
            self._b = np.empty(count, np.float32)
            names["b"] = self._b
        for index, array in enumerate(names.values()):
            self._fill(array, index)
        self._c = np.full(count, np.nan, np.float32)
        self.data = {name: described(array) for name, array in names.items()}

    def _each(self, work: Callable[[Slice], object]) -> None:
        """Let every thread do its share, and wait for all."""
        list(self._pool.map(work, self._slices))

    def _fill(self, array: Numbers, index: int) -> None:
        match self._cell.data:
            case "zeros":
                array.fill(0)
            case "constant":
                array.fill(1)
            case _:
                self._draw(array, index)

    def _draw(self, array: Numbers, index: int) -> None:
        def part(share: Slice) -> None:
            rng = np.random.default_rng([self._seed, index, share[0]])
            rng.standard_normal(dtype=np.float32, out=array[slice(*share)])

        self._each(part)

    def _copy(self, share: Slice) -> None:
        start, stop = share
        np.copyto(self._c[start:stop], self._a[start:stop])

    def _triad(self, share: Slice) -> None:
        a, b, c = self._a, self._b, self._c
        assert b is not None
        for start in range(share[0], share[1], _CHUNK):
            part = slice(start, min(start + _CHUNK, share[1]))
            np.multiply(b[part], SCALAR, out=c[part])
            np.add(a[part], c[part], out=c[part])

    def block(self, calls: int) -> Block:
        """Run `calls` calls back to back and return their wall time; every call waits for all threads."""
        work = self._copy if self._b is None else self._triad
        start = perf_counter()
        for _ in range(calls):
            self._each(work)
        return Block(calls=calls, seconds_per_call=(perf_counter() - start) / calls)

    def caveats(self) -> list[Caveat]:
        """Return that the arrays fit the last level of cache, where that is known."""
        moved, cache = self._cell.bytes_moved, env.last_level_cache_bytes()
        if cache is None or moved >= CACHES * cache:
            return []
        return [Caveat(code="in_cache", values={"operands": float(moved), "l2": float(cache)})]

    def verify(self) -> Check:
        """Check what the timed call wrote, then the same of numbers drawn anew; the output is poisoned before."""
        first = self._verify_once()
        for index, array in enumerate((self._a, self._b), start=_ANEW):
            if array is not None:
                self._draw(array, index)
        return worst([first, self._verify_once()])

    def _verify_once(self) -> Check:
        self._c.fill(np.nan)
        self.block(1)
        return check_stream(self._cell.operation, self._a, self._b, self._c)

    def close(self) -> None:
        """Release the arrays and the threads."""
        self._pool.shutdown()
        del self._a, self._b, self._c

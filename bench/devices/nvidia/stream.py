"""Copy and triad through a GPU's memory: by kernels of 16-byte accesses, and by the driver's own copy."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.devices.base import Block, Caveat, Check, Moments, OperandData
from bench.devices.check import check_stream, worst
from bench.devices.nvidia.operands import Array, fill, poison
from bench.devices.nvidia.runtime import CupyRuntime
from bench.devices.nvidia.timed import TimedTask
from bench.devices.nvidia.watch import Watcher
from bench.errors import CellFailed
from bench.workloads.base import STREAMS, Cell
from bench.workloads.stream import SCALAR

KERNEL: Final = "kernel"
MEMCPY: Final = "memcpy"
ELEMENTS: Final = 1 << 28  # 1 GiB an array, far beyond every L2
_PER_THREAD: Final = 4  # numbers: one access of 16 bytes
# Every thread moves four numbers, the last one what is left. Those named _cs tell the caches to keep nothing.
_SOURCE: Final = r"""
#define STREAM(name, LOAD, STORE)                                                                          \
extern "C" __global__ void copy##name(const float *a, float *c, size_t n) {                                \
    size_t i = 4 * (blockIdx.x * (size_t)blockDim.x + threadIdx.x);                                        \
    if (i + 3 < n) STORE((float4 *)(c + i), LOAD((const float4 *)(a + i)));                                \
    else for (; i < n; ++i) c[i] = a[i];                                                                   \
}                                                                                                          \
extern "C" __global__ void triad##name(const float *a, const float *b, float s, float *c, size_t n) {      \
    size_t i = 4 * (blockIdx.x * (size_t)blockDim.x + threadIdx.x);                                        \
    if (i + 3 < n) {                                                                                       \
        float4 x = LOAD((const float4 *)(a + i)), y = LOAD((const float4 *)(b + i));                       \
        STORE((float4 *)(c + i), make_float4(x.x + s * y.x, x.y + s * y.y, x.z + s * y.z, x.w + s * y.w)); \
    } else for (; i < n; ++i) c[i] = a[i] + s * b[i];                                                      \
}
#define PLAIN_LOAD(p) (*(p))
#define PLAIN_STORE(p, v) (*(p) = (v))
STREAM(, PLAIN_LOAD, PLAIN_STORE)
STREAM(_cs, __ldcs, __stcs)
"""
_VARIANTS: Final = ("", "_cs")
_BLOCKS: Final = (256, 512, 1024)


class _Way(NamedTuple):
    """One way to do it: how it is described, and the call."""

    described: Mapping[str, str | int]
    call: Callable[[], object]


class StreamTask(TimedTask):
    """c = a, or c = a + s·b, on arrays in the device's memory.

    On an H200 (driver 580, arrays of 1 GiB) the best kernel copied at 1.009 of the driver's own copy, and triad
    ran at 4.42 TB/s; four accesses a thread, or threads that walk in a grid, were 3 to 7 % slower.
    """

    def __init__(
        self, runtime: CupyRuntime, cell: Cell, seed: int, *, cold: bool, watcher: Watcher | None
    ) -> None:
        super().__init__(runtime, watcher, cold=cold)
        if cell.elements is None or cell.operation not in STREAMS:
            message = f"the CUDA backend was given a cell that it does not offer: {cell.key}"
            raise CellFailed(message)
        self._cell, self._seed = cell, seed
        with runtime.current():
            self._arrays, self.data = self._filled(cell.elements)
            self._ways = self._made()
        runtime.synchronize()
        self.use(0)

    def _filled(self, count: int) -> tuple[list[Array], Mapping[str, OperandData]]:
        """Return the arrays read and, last, the one written, and what those hold."""
        xp = self._runtime.xp
        rng = xp.random.default_rng([self._seed, 0])
        names = ("a", "b")[: STREAMS[self._cell.operation] - 1]
        arrays, held = [], {}
        for name in names:
            array = xp.empty((count, 1), "float32")
            moments = Moments()
            for numbers in fill(xp, array, "fp32", rng, self._cell.data or "normal"):
                moments.add(xp, numbers)
            held[name] = moments.described()
            arrays.append(array.ravel())
        written = xp.empty(count, "float32")
        poison(written)
        return [*arrays, written], MappingProxyType(held)

    def _made(self) -> list[_Way]:
        if self._cell.library == MEMCPY:
            read, written = self._arrays
            return [_Way({"by": "cudaMemcpyAsync"}, partial(self._runtime.copy, written, read))]
        operation, count = self._cell.operation, self._arrays[0].size
        kernels = self._runtime.kernels(_SOURCE, [f"{operation}{variant}" for variant in _VARIANTS])
        xp = self._runtime.xp
        arguments: list[object] = [*self._arrays, xp.uint64(count)]
        if operation == "triad":
            arguments.insert(2, xp.float32(SCALAR))
        ways = []
        for name, kernel in kernels.items():
            for block in _BLOCKS:
                grid = -(-count // (_PER_THREAD * block))
                described = {"kernel": name, "block": block, "bytes_per_access": 16}
                ways.append(_Way(described, partial(kernel, (grid,), (block,), tuple(arguments))))
        return ways

    @property
    def candidates(self) -> Sequence[Mapping[str, str | int]]:
        """The kernels and their blocks; the driver's copy has one way."""
        return [way.described for way in self._ways]

    @property
    def algorithm(self) -> Mapping[str, str | int]:
        """The way in use."""
        return {**self._ways[self._used].described, "timed": "calls"}

    def use(self, candidate: int) -> None:
        """Let blocks and the check use this way."""
        self._used = candidate

    def block(self, calls: int) -> Block:
        """Run `calls` calls back to back."""
        return self._timed_block(calls, partial(_repeat, self._ways[self._used].call, calls))

    def caveats(self) -> Sequence[Caveat]:
        """Return that the arrays fit the cache, or that the host was too slow for them."""
        limited = self._host_limited(median(self._enqueued)) if self._enqueued else ()
        return [*self._in_cache(self._cell.bytes_moved), *limited, *self._doubtful()]

    def verify(self) -> Check:
        """Check every number that the timed call writes, then of arrays drawn anew; it is poisoned before."""
        with self._runtime.current():
            first = self._verified()
            rng = self._runtime.xp.random.default_rng([self._seed, 3])
            for array in self._arrays[:-1]:
                for _ in fill(self._runtime.xp, array.reshape(-1, 1), "fp32", rng, "normal"):
                    pass
            return worst([first, self._verified()])

    def _verified(self) -> Check:
        *read, written = self._arrays
        poison(written)
        self._ways[self._used].call()
        self._runtime.synchronize()
        second = read[1] if len(read) > 1 else None
        return check_stream(self._cell.operation, read[0], second, written, xp=self._runtime.xp)

    def close(self) -> None:
        """Release the arrays."""
        self._ways, self._arrays = [], []
        self._runtime.memory()


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()

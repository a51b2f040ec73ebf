"""One matrix multiply on a GPU: operand sets to rotate over, blocks timed by events, every output checked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from math import ceil
from types import MappingProxyType
from typing import Final

import numpy as np

from bench.devices.base import Block, Caveat, Check, Moments, OperandData
from bench.devices.check import Held, check_product, tolerance_of, worst
from bench.devices.nvidia.multiply import Call, Multiplier, Operands, multiplier
from bench.devices.nvidia.operands import FORMATS, SCALES, Array, empty, fill, poison
from bench.devices.nvidia.runtime import CaptureFailed, CupyRuntime
from bench.devices.nvidia.timed import CACHES, TimedTask
from bench.devices.nvidia.watch import Watcher
from bench.errors import CellFailed
from bench.workloads.base import Cell, Shape

_LEAST_SETS: Final = 2
_PROBE_CALLS: Final = 16
_LONG_CALL_S: Final = 0.005  # far above what enqueuing one takes
_GRAPH_BELOW: Final = 5.0  # times the time that the host takes to enqueue a call
_GRAPH_S: Final = 0.002
_MOST_NODES: Final = 2048
_MOST_SETS: Final = 512  # filling and checking each takes a while; of the smallest products more would be needed
# Row errors at K = 8192: 1.9e-3 by simulation where FP8 sums are promoted to FP32 every 128 products, 3.0e-3 where
# they keep 13 bits throughout; on an H200 1.7e-3 and 2.7e-3.
_ABOVE_EXACT_FP8: Final = 2.4e-3
_BELOW_TF32: Final = 1e-5  # row error; rounding both inputs to 11 bits costs about 2e-4


def sets_of(cell: Cell, l2_bytes: int) -> int:
    """Return how many operand sets a cell rotates over: one if hot, else three L2 caches full, 2 to 512.

    The size of the cache is what the device says: 62,914,560 bytes on an H200, 52,428,800 on an H100.
    """
    if cell.l2 == "hot" or not cell.bytes_moved:
        return 1
    return min(_MOST_SETS, max(_LEAST_SETS, ceil(CACHES * l2_bytes / cell.bytes_moved)))


def checking_bytes(shape: Shape) -> int:
    """Return about what filling and checking need beside the operands: chunks in FP64, sampled rows."""
    chunks = 3 * 512 * max(shape.k, shape.n) + 64 * (shape.k + 3 * shape.n) + 6 * (1 << 24)
    return 8 * chunks


class CudaTask(TimedTask):
    """A cell made ready on a GPU. Nothing is allocated, planned or created between the events of a block.

    Calls that are short against the time the host takes to enqueue one are recorded as a CUDA graph of many where
    the library can be captured. Candidates are asked for before any capture, since the heuristic may fail inside
    one (cublasLt 13.1 on an H200 did not). Not confirmed: that about 1 µs lies between the kernels of a graph.
    """

    def __init__(
        self, runtime: CupyRuntime, cell: Cell, seed: int, *, sets: int, cold: bool, watcher: Watcher | None
    ) -> None:
        super().__init__(runtime, watcher, cold=cold)
        self._cell, self._seed = cell, seed
        self._graphs: dict[int, Call] = {}
        self._per_graph = 0
        self._enqueue_s: float | None = None
        self._not_captured: str | None = None
        self._rows_error: float | None = None
        with runtime.current():
            self._multiplier: Multiplier = multiplier(runtime, cell)
        try:
            self._make_ready(sets)
        except BaseException:
            self._multiplier.close()
            raise

    def _make_ready(self, sets: int) -> None:
        """Fill the operands, find out which candidates run, and how to time them."""
        with self._runtime.current():
            self._sets, self.data = self._filled(sets)
        self._runtime.synchronize()
        self._candidates = [i for i in range(len(self._multiplier.algorithms)) if self._launches(i)]
        if not self._candidates:
            message = "the library offers algorithms for this product, but none of them runs"
            raise CellFailed(message)
        self.use(0)
        self._choose_timing()

    @property
    def candidates(self) -> Sequence[Mapping[str, str | int]]:
        """The library's algorithms that run here, in the order of its own preference."""
        return [self._multiplier.algorithms[index] for index in self._candidates]

    @property
    def algorithm(self) -> Mapping[str, str | int]:
        """The algorithm in use, the number of operand sets, and how blocks are timed."""
        timed = f"graph of {self._per_graph}" if self._per_graph else "calls"
        described = self._multiplier.algorithms[self._candidates[self._used]]
        return {**described, "sets": len(self._sets), "timed": timed}

    def use(self, candidate: int) -> None:
        """Let blocks and the check use this candidate."""
        self._used = candidate
        self._bound = self._multiplier.bound(self._candidates[candidate], self._sets)
        self._turns: Iterator[Call] = cycle(self._bound)

    def block(self, calls: int) -> Block:
        """Run about `calls` calls (whole graphs of them, if they are graphs), operands in turn."""
        if self._per_graph:
            graphs = max(1, round(calls / self._per_graph))
            calls, enqueue = graphs * self._per_graph, partial(_repeat, self._graph, graphs)
        else:
            enqueue = partial(self._enqueue, calls)
        return self._timed_block(calls, enqueue)

    def caveats(self) -> Sequence[Caveat]:
        """Return what the host, the cache or the sums have bent, if anything has."""
        found = [*self._unlike_its_name(), *self._doubtful()]
        if self._not_captured is not None:
            found.append(Caveat(code="not_captured", values={"reason": self._not_captured}))
        if self._cell.l2 == "rotate":
            found += self._in_cache(len(self._sets) * self._cell.bytes_moved)
        if not self._per_graph and self._enqueue_s is not None:
            found += self._host_limited(self._enqueue_s)
        return found

    def _unlike_its_name(self) -> Iterator[Caveat]:
        """Yield that a product is more exact than TF32, or less than FP8 with exact sums, by its row error."""
        cell, error = self._cell, self._rows_error
        if error is None:
            return
        if cell.compute == "tf32" and error < _BELOW_TF32:
            yield Caveat(code="not_tf32", values={"rows_error": error})
        if cell.dtype_name == "fp8" and not cell.fast_accumulate and error > _ABOVE_EXACT_FP8:
            yield Caveat(code="fast_sums", values={"rows_error": error})

    def verify(self) -> Check:
        """Check the product of every operand set, then of one drawn anew as normal data in the same memory.

        That last one is what a kernel that returns a remembered result cannot pass, and what shows a wrong layout
        where the timed data were all the same.
        """
        with self._runtime.current():
            self._compute_all()
            checks = [self._verified(one) for one in self._sets]
            rng = self._runtime.xp.random.default_rng([self._seed, 3])
            for array in self._sets[0][:2]:
                for _ in fill(self._runtime.xp, array, self._input, rng, "normal"):
                    pass
            self._compute_all()
            check = worst([*checks, self._verified(self._sets[0])])
        self._rows_error = check.rows_error
        return check

    def close(self) -> None:
        """Release operands, graphs and what the library holds."""
        self._graphs.clear()
        self._bound, self._turns = [], iter(())
        self._multiplier.close()
        self._sets = []
        self._runtime.memory()

    @property
    def _input(self) -> str:
        return self._cell.input or ""

    def _filled(self, count: int) -> tuple[list[Operands], Mapping[str, OperandData]]:
        """Return operand sets that hold the cell's data, each drawn on, and what they hold."""
        shape, xp = self._cell.shape, self._runtime.xp
        assert shape is not None
        rng = xp.random.default_rng([self._seed, 0])
        held = {"a": Moments(), "b": Moments()}
        sets = []
        for _ in range(count):
            one = Operands(
                a=empty(xp, self._input, shape.m, shape.k),
                bt=empty(xp, self._input, shape.n, shape.k),
                d=empty(xp, self._cell.output or "", shape.m, shape.n),
            )
            for name, array in (("a", one.a), ("b", one.bt)):
                for numbers in fill(xp, array, self._input, rng, self._cell.data or "normal"):
                    held[name].add(xp, numbers)
            poison(one.d)
            sets.append(one)
        return sets, MappingProxyType({name: moments.described() for name, moments in held.items()})

    def _launches(self, index: int) -> bool:
        """Run an algorithm once, which loads its kernel too; some that the heuristic offers do not run.

        Whether one failed alone, or the device with it, waiting for the device tells.
        """
        try:
            self._runtime.timed(self._multiplier.bound(index, self._sets[:1])[0])
        except CellFailed:
            self._runtime.synchronize()
            return False
        return True

    def _choose_timing(self) -> None:
        """Find out what enqueuing costs, and time graphs if a call is short against that."""
        if self._runtime.timed(self._bound[0]).seconds > _LONG_CALL_S:
            return
        timed = self._runtime.timed(partial(self._enqueue, _PROBE_CALLS))
        per_call, self._enqueue_s = timed.seconds / _PROBE_CALLS, timed.host_s / _PROBE_CALLS
        if self._multiplier.capturable and per_call < _GRAPH_BELOW * self._enqueue_s:
            turns = max(1, min(_MOST_NODES // len(self._sets), ceil(_GRAPH_S / per_call / len(self._sets))))
            self._capture(turns * len(self._sets))

    def _capture(self, calls: int) -> None:
        """Record graphs of so many calls, one a candidate; those that cannot be captured are left out.

        If none can, calls are timed one by one, and that is said.
        """
        captured = []
        for index, candidate in enumerate(self._candidates):
            self.use(index)
            try:
                self._graphs[candidate] = self._runtime.capture(partial(self._enqueue, calls))
            except CaptureFailed as error:
                self._not_captured = str(error)
                self._runtime.synchronize()
            else:
                captured.append(candidate)
        if captured:
            self._candidates, self._per_graph, self._not_captured = captured, calls, None
        self.use(0)

    @property
    def _graph(self) -> Call:
        return self._graphs[self._candidates[self._used]]

    def _enqueue(self, calls: int) -> None:
        for call in islice(self._turns, calls):
            call()

    def _compute_all(self) -> None:
        """Poison every output, and compute each at least once by the very calls or graph that were timed."""
        for one in self._sets:
            poison(one.d)
        if self._per_graph:
            self._graph()
        else:
            self._enqueue(len(self._sets))

    def _verified(self, one: Operands) -> Check:
        xp = self._runtime.xp
        for_a, for_b = SCALES.get(self._input, (1.0, 1.0))
        return check_product(
            _held(self._runtime, one.a, self._input, for_a),
            _held(self._runtime, one.bt, self._input, for_b),
            _held(self._runtime, one.d, self._cell.output or "", 1.0),
            tolerance=tolerance_of(self._cell),
            seed=self._seed,
            xp=xp,
        )


def _held(runtime: CupyRuntime, array: Array, name: str, factor: float) -> Held:
    decode: Callable[[Array], Array] = partial(FORMATS[name].decode, runtime.xp)
    if factor == 1.0:
        return Held(array, decode)
    return Held(array, lambda rows: decode(rows) * np.float64(factor))


def _repeat(call: Call, times: int) -> None:
    for _ in range(times):
        call()

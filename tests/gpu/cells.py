"""What the tests on a GPU measure: cells, which of them this chip offers, and calls timed in turns."""

from collections.abc import Callable, Sequence
from statistics import median

import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.multiply import CUBLASLT
from bench.devices.nvidia.task import CudaTask
from bench.workloads import gemm
from bench.workloads.base import Cell, L2Mode, Shape

Fact = Callable[[str, object], None]
MakeTask = Callable[[Cell], CudaTask]


def cell(
    dtype: str,
    shape: Shape | int,
    *,
    library: str = CUBLASLT,
    l2: L2Mode = "rotate",
    fast: bool = False,
) -> Cell:
    """Return the cell of a product; of FP8 the one with exact sums, or with `fast` the other."""
    of = gemm.square(shape) if isinstance(shape, int) else shape
    found = gemm.cells([dtype], [of], library=library, l2=l2)
    return found[-1] if fast else found[0]


def needs(backend: CudaBackend, dtype: str, library: str | None = None) -> None:
    """Skip the test with the reason if this chip does not multiply in `dtype`, or this library does not."""
    reason = backend.refusal("matmul", dtype, library)
    if reason is not None:
        pytest.skip(reason)


def warmed(task: CudaTask, seconds: float = 0.6) -> int:
    """Run a task for a while, and return how many calls of it last 0.1 s."""
    spent, calls = 0.0, 1
    while spent < seconds:
        block = task.block(calls)
        spent += block.seconds
        calls = max(1, round(0.1 / block.seconds_per_call))
    return calls


def in_turns(ways: Sequence[Callable[[int], float]], calls: int, rounds: int = 10) -> list[float]:
    """Return the median seconds of each way, timed in turns."""
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for index, way in enumerate(ways):
            found[index].append(way(calls))
    return [median(values) for values in found]

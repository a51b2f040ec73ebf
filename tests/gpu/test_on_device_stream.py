"""On a GPU: copy and triad are right, in every way that is offered, and as fast as the driver's own copy."""

from statistics import median
from typing import Final

import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.stream import ELEMENTS, KERNEL, MEMCPY, StreamTask
from bench.workloads import stream
from tests.gpu.cells import Fact

pytestmark = pytest.mark.gpu

ODD: Final = 10_000_019  # no multiple of what a thread moves


def task_of(gpu: CudaBackend, operation: str, library: str, count: int) -> StreamTask:
    (cell,) = stream.cells([operation], count, library=library)
    task = gpu.prepare(cell, 7)
    assert isinstance(task, StreamTask)
    return task


@pytest.mark.parametrize(("operation", "library"), [("copy", KERNEL), ("copy", MEMCPY), ("triad", KERNEL)])
def test_every_way_is_right(gpu: CudaBackend, operation: str, library: str) -> None:
    task = task_of(gpu, operation, library, ODD)
    try:
        for candidate in range(len(task.candidates)):
            task.use(candidate)
            assert task.verify().passed, task.algorithm
    finally:
        task.close()


def test_the_best_kernel_copies_as_fast_as_the_driver(gpu: CudaBackend, fact: Fact) -> None:
    """Timed in turns, on 1 GiB; the driver's copy is what everyone has."""
    tasks = [task_of(gpu, "copy", library, ELEMENTS) for library in (KERNEL, MEMCPY)]
    try:
        best: list[float] = []
        for task in tasks:
            found: list[list[float]] = [[] for _ in task.candidates]
            for _ in range(5):
                for candidate, seconds in enumerate(found):
                    task.use(candidate)
                    seconds.append(task.block(20).seconds_per_call)
            fact("seconds", {str(one): f"{median(s):.4g}" for one, s in zip(task.candidates, found, strict=True)})
            best.append(min(median(seconds) for seconds in found))
    finally:
        for task in tasks:
            task.close()
    fact("kernel over driver's copy", f"{best[1] / best[0]:.4f}")
    assert best[1] / best[0] >= 0.98

"""Does the tool cost anything? Its rate against a bare NumPy loop, blocks in turns in one process."""

from statistics import median
from time import perf_counter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.devices.base import Block, Check, PlainTask
from bench.devices.cpu import CpuTask, open_backend
from bench.measure.loop import measure
from bench.measure.measurement import Measurement
from bench.measure.policy import Policy
from bench.pytest_timer import cuda_event_timer
from bench.stats import summarise
from bench.workloads.gemm import cells, square

SIZE = 2048


class BesideBareLoop(PlainTask):
    """A task whose every block is followed by as many calls of a bare loop on operands of its own."""

    def __init__(self, task: CpuTask) -> None:
        self._task = task
        self.cold, self.data = task.cold, task.data
        rng = np.random.default_rng(1)
        self._a = rng.standard_normal((SIZE, SIZE), np.float32)
        self._b = rng.standard_normal((SIZE, SIZE), np.float32)
        self._out = np.empty_like(self._a)
        self.bare: list[float] = []

    def block(self, calls: int) -> Block:
        block = self._task.block(calls)
        start = perf_counter()
        for _ in range(calls):
            np.matmul(self._a, self._b, out=self._out)
        self.bare.append((perf_counter() - start) / calls)
        return block

    def verify(self) -> Check:
        return self._task.verify()

    def close(self) -> None:
        self._task.close()


# NumPy's products are over when the call returns, so an event after them, too, is after them on the GPU's clock.
@pytest.mark.benchmark(timer=cuda_event_timer)
@pytest.mark.filterwarnings("ignore::bench.pytest_timer.HostTimeOnly")
def test_the_reported_rate_is_that_of_a_bare_loop(benchmark: BenchmarkFixture) -> None:
    backend = open_backend()
    (cell,) = cells(["fp32"], [square(SIZE)], library=backend.defaults.libraries[0], l2="hot")
    made = backend.prepare(cell, Policy().seed)
    assert isinstance(made, CpuTask)
    task = BesideBareLoop(made)

    def run() -> Measurement:
        return measure(task, cell, Policy(cap_s=20.0))

    measurement = benchmark.pedantic(run, rounds=1)
    samples = measurement.samples.seconds_per_call
    ratio = median(task.bare[-len(samples) :]) / summarise(samples).median
    benchmark.extra_info["rate over bare loop"] = ratio
    assert measurement.passed
    assert ratio >= 0.98

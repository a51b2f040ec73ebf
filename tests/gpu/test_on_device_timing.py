"""On a GPU: what a block's time means, whether it is timed in graphs or not, and what memory a cell takes."""

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any, Final

import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.multiply import CUBLASLT, CUPY
from bench.devices.nvidia.task import CudaTask, sets_of
from bench.measure.policy import Policy
from bench.pytest_timer import cuda_event_timer
from bench.run.session import make_header, run_plan
from bench.workloads.base import Plan, Shape
from tests.gpu.cells import Fact, MakeTask, cell, in_turns, needs, warmed
from tests.support import silent

pytestmark = pytest.mark.gpu

MIB: Final = 1 << 20
BRIEF: Final = Policy(cap_s=0.6, warm_up_most_s=0.6, cold_warm_up_most_s=1.0)


def looped(task: CudaTask) -> Callable[[int], float]:
    """Return what times calls of a task that are enqueued one by one."""

    def seconds(calls: int) -> float:
        before, task._per_graph = task._per_graph, 0
        try:
            return task.block(calls).seconds_per_call
        finally:
            task._per_graph = before

    return seconds


def in_graphs(task: CudaTask, nodes: int) -> Callable[[int], float]:
    """Return what times calls of a task in graphs of so many."""
    graph = task._runtime.capture(lambda: task._enqueue(nodes))

    def seconds(calls: int) -> float:
        before = (task._per_graph, dict(task._graphs))
        task._per_graph, task._graphs[task._candidates[task._used]] = nodes, graph
        try:
            return task.block(calls).seconds_per_call
        finally:
            task._per_graph, task._graphs = before

    return seconds


def test_the_events_time_is_that_of_the_wall(gpu: CudaBackend, make_task: MakeTask, fact: Fact) -> None:
    """What is not between the events (starting, the clock's reading, waiting) is below 2 % of half a second."""
    needs(gpu, "bf16", CUBLASLT)
    task = make_task(cell("bf16", 4096))
    calls = 5 * warmed(task)
    started = perf_counter()
    block = task.block(calls)
    wall = perf_counter() - started
    fact("wall over events", f"{wall / block.seconds:.5f}")
    assert block.seconds <= wall <= 1.02 * block.seconds


def test_graphs_and_loops_give_one_time_where_both_are_possible(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact
) -> None:
    needs(gpu, "bf16", CUBLASLT)
    task = make_task(cell("bf16", 4096))
    calls = warmed(task, 1.5)
    nodes = 16 * len(task._sets)
    loop, graph = in_turns([looped(task), in_graphs(task, nodes)], calls)
    fact("loop over graph", f"{loop / graph:.5f}")
    assert loop == pytest.approx(graph, rel=0.02)


def test_a_small_product_is_timed_in_graphs_and_not_by_the_host(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact
) -> None:
    needs(gpu, "bf16", CUBLASLT)
    small, large = make_task(cell("bf16", 256)), make_task(cell("bf16", 8192))
    assert str(small.algorithm["timed"]).startswith("graph of ")
    calls = warmed(small)
    graph, loop = in_turns([lambda n: small.block(n).seconds_per_call, looped(small)], calls)
    fact("seconds in a graph", f"{graph:.3e}")
    fact("seconds in a loop", f"{loop:.3e}")
    assert graph <= 1.02 * loop
    assert "launch_bound" not in [caveat.code for caveat in small.caveats()]
    rate, best = small._cell.flop / graph, large._cell.flop / large.block(warmed(large)).seconds_per_call
    assert 0 < rate < best, "a product of microseconds cannot be more efficient than a large one"


def test_a_small_product_of_cupy_is_limited_by_the_host_and_says_so(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact
) -> None:
    task = make_task(cell("fp16", 64, library=CUPY, l2="hot"))
    task.block(2000)
    (caveat,) = task.caveats()
    assert caveat.code == "launch_bound"
    fact("caveat", dict(caveat.values))


def test_a_large_product_of_cupy_is_not_limited_by_the_host(gpu: CudaBackend, make_task: MakeTask) -> None:
    task = make_task(cell("fp16", 8192, library=CUPY))
    task.block(20)
    assert "launch_bound" not in [caveat.code for caveat in task.caveats()]


@pytest.mark.parametrize("dtype", ["fp8", "fp64"])
def test_a_rotation_fills_the_cache_three_times_with_memory_of_its_own(
    gpu: CudaBackend, make_task: MakeTask, dtype: str
) -> None:
    needs(gpu, dtype, CUBLASLT)
    of = cell(dtype, 1024)
    task = make_task(of)
    assert len(task._sets) == sets_of(of, gpu._l2_bytes)
    assert len(task._sets) * of.bytes_moved >= 3 * gpu._l2_bytes
    arrays = [array for one in task._sets for array in one]
    spans = sorted((gpu._runtime.pointer(array), array.nbytes) for array in arrays)
    assert all(start + size <= after for (start, size), (after, _) in pairwise(spans))
    assert all(start % 256 == 0 for start, _ in spans)


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "fp64"])
def test_a_cell_takes_no_more_memory_than_it_announces_and_gives_it_back(
    gpu: CudaBackend, fact: Fact, dtype: str
) -> None:
    needs(gpu, dtype, CUBLASLT)
    of = cell(dtype, 4096)
    gpu.prepare(cell(dtype, 256), 7).close()  # what libraries load stays
    free = gpu.bytes_free()
    task = gpu.prepare(of, 7)
    task.block(3)
    task.verify()
    # Nothing was given back in between, so the pool holds the most that was ever in use.
    taken = gpu._runtime.xp.get_default_memory_pool().total_bytes()
    task.close()
    announced = gpu.bytes_needed(of)
    fact("taken over announced", f"{taken / announced:.3f}")
    assert taken <= announced
    assert gpu.bytes_free() >= free - 64 * MIB


def test_after_a_cell_that_does_not_fit_the_next_one_is_measured(gpu: CudaBackend) -> None:
    """A fits and B does not: what was allocated is released, and the run goes on."""
    needs(gpu, "fp64", CUBLASLT)
    _, total = gpu._runtime.memory()
    k = 16384
    huge = cell("fp64", Shape(m=16, n=2 * total // (8 * k) // 16 * 16, k=k))
    good = cell("fp64", 512)
    free = gpu.bytes_free()
    plan = Plan(workload="gemm", cells=(huge, good))
    header = make_header(gpu, plan, BRIEF, tool="test", results=None, identify=False)
    outcome = run_plan(gpu, header, results=None, on_event=silent)
    assert outcome.stopped_by is None
    assert outcome.readings[0].failure == "out of memory"
    assert outcome.readings[1].passed
    assert gpu.bytes_free() >= free - 64 * MIB


def test_too_large_an_allocation_is_a_memory_error(gpu: CudaBackend) -> None:
    needs(gpu, "fp64", CUBLASLT)
    _, total = gpu._runtime.memory()
    with pytest.raises(MemoryError):
        gpu.prepare(cell("fp64", Shape(m=16, n=2 * total // (8 * 4096) // 16 * 16, k=4096)), 7)


def test_the_timer_for_pytest_benchmark_times_what_is_enqueued_between(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact
) -> None:
    needs(gpu, "bf16", CUBLASLT)
    task = make_task(cell("bf16", 4096))
    calls = warmed(task, 1.5)
    ours = task.block(calls).seconds
    with gpu._runtime.current():
        timer: Callable[[], Any] = cuda_event_timer
        started = timer()
        task._enqueue(calls)
        took = float(timer() - started)
    fact("timer over block", f"{took / ours:.5f}")
    assert took == pytest.approx(ours, rel=0.05)

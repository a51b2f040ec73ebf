"""A matrix multiply on a GPU with a simulated clock: what is timed, in which order, and what is found out."""

import pytest

from bench.devices.nvidia import timed
from bench.devices.nvidia.cublaslt import NoAlgorithm
from bench.devices.nvidia.multiply import CUBLASLT, Operands
from bench.devices.nvidia.task import sets_of
from bench.errors import BackendUnavailable, CellFailed
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.workloads import gemm
from bench.workloads.base import Cell, Data, L2Mode, Shape
from tests.simulated_gpu import CLOCK_HZ, TaskBench

SHAPE = Shape(m=96, n=80, k=64)
MIB = 1 << 20
# Little to draw: a tenth of a second's calls are not run for every block of a long measurement.


def nothing(_cell: Cell, _operands: Operands) -> None:
    """Be the product of a call of which only the time is asked."""


SHORT = Policy(block_s=0.01, cap_s=0.05, warm_up_least_s=0.01, warm_up_most_s=0.2, cold_warm_up_most_s=0.2)


def cell(dtype: str = "bf16", *, fast: bool = False, data: Data = "normal", l2: L2Mode = "rotate") -> Cell:
    found = gemm.cells([dtype], [SHAPE], library=CUBLASLT, l2=l2, data=data)
    return found[-1] if fast else found[0]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> TaskBench:
    return TaskBench(monkeypatch)


class TestRotation:
    @pytest.mark.parametrize(("l2_mib", "expected"), [(0, 2), (1, 84), (3, 250), (50, 512)])
    def test_the_sets_fill_the_cache_three_times_within_two_and_512(self, l2_mib: int, expected: int) -> None:
        # One set of this shape in BF16: 96·64 + 80·64 + 96·80 elements of two bytes.
        assert cell().bytes_moved == 2 * (96 * 64 + 80 * 64 + 96 * 80)
        assert sets_of(cell(), l2_mib * MIB) == expected

    def test_sets_that_still_fit_the_cache_are_said_to(self, bench: TaskBench) -> None:
        assert bench.task(cell(), sets=3).caveats() == []
        bench.gpu.properties["l2CacheSize"] = 50 * MIB
        (caveat,) = bench.task(cell(), sets=3).caveats()
        assert caveat.code == "in_cache"
        assert caveat.values == {"operands": 3.0 * cell().bytes_moved, "l2": 50.0 * MIB}
        assert bench.task(cell(l2="hot"), sets=1).caveats() == []

    def test_a_hot_cell_stays_on_one_set(self) -> None:
        assert sets_of(cell(l2="hot"), 50 * MIB) == 1

    def test_calls_take_the_sets_in_turn_and_blocks_go_on_where_the_last_one_ended(self, bench: TaskBench) -> None:
        task = bench.task(cell(), sets=3)
        bench.library.order.clear()
        task.block(4)
        task.block(3)
        indices = [index for _, index in bench.library.order]
        first = indices[0]
        assert indices == [(first + step) % 3 for step in range(7)]

    def test_every_set_holds_other_numbers(self, bench: TaskBench) -> None:
        task = bench.task(cell(), sets=3)
        parts = [array.tobytes() for one in task._sets for array in one[:2]]
        assert len(set(parts)) == 6


class TestTiming:
    def test_a_block_is_the_mean_of_its_calls_on_the_device(self, bench: TaskBench) -> None:
        block = bench.task(cell(), seconds=[2e-3]).block(5)
        assert block.calls == 5
        assert block.seconds_per_call == pytest.approx(2e-3)
        assert block.sm_clock_hz == CLOCK_HZ
        assert block.cycles_per_call == pytest.approx(2e-3 * CLOCK_HZ)

    def test_without_a_clock_there_are_no_cycles(self, bench: TaskBench) -> None:
        task = bench.task(cell())
        bench.gpu.clock_hz = None
        block = task.block(1)
        assert (block.sm_clock_hz, block.cycles_per_call) == (None, None)

    def test_a_long_call_is_timed_as_it_is(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[1e-3])
        assert bench.gpu.captured == []
        assert task.algorithm["timed"] == "calls"

    def test_a_call_that_is_short_against_its_enqueuing_is_timed_in_graphs(self, bench: TaskBench) -> None:
        """Else the host, at 5 µs a call, would be measured in place of the device's 2 µs."""
        task = bench.task(cell(), seconds=[2e-6], sets=3, multiply=nothing)
        block = task.block(10_000)
        assert block.seconds_per_call == pytest.approx(2e-6)
        (nodes,) = bench.gpu.captured
        assert nodes % 3 == 0, "a graph visits every set equally often"
        assert block.calls % nodes == 0
        assert task.algorithm["timed"] == f"graph of {nodes}"

    def test_a_graph_has_a_bounded_number_of_nodes(self, bench: TaskBench) -> None:
        bench.task(cell(), seconds=[1e-8], enqueue_s=1e-7, sets=3)
        assert bench.gpu.captured == [2046]

    def test_a_library_that_cannot_be_captured_and_waits_for_the_host_is_said_to(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=8e-6, capturable=False)
        block = task.block(100)
        assert block.seconds_per_call == pytest.approx(8e-6)
        (caveat,) = task.caveats()
        assert caveat.code == "launch_bound"
        assert caveat.values == {"enqueue_s": pytest.approx(8e-6), "call_s": pytest.approx(8e-6)}

    @pytest.mark.parametrize(("seconds", "bound"), [(8e-6, True), (9e-6, True), (1.1e-5, False), (1e-3, False)])
    def test_launch_bound_means_that_enqueuing_takes_most_of_a_call(
        self, bench: TaskBench, seconds: float, bound: bool
    ) -> None:
        task = bench.task(cell(), seconds=[seconds], enqueue_s=8e-6, capturable=False)
        task.block(100)
        assert bool(task.caveats()) == bound

    def test_no_block_of_a_calls_own_making_is_launch_bound(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=8e-6)
        task.block(1000)
        assert task.caveats() == []


class TestCandidates:
    def test_each_is_described_and_timed_as_itself(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[1e-3, 3e-3, 2e-3])
        assert [one["algo"] for one in task.candidates] == [100, 101, 102]
        for index, seconds in ((1, 3e-3), (2, 2e-3), (0, 1e-3)):
            task.use(index)
            assert task.block(2).seconds_per_call == pytest.approx(seconds)
            assert task.algorithm["algo"] == 100 + index

    def test_one_that_is_offered_but_does_not_run_is_left_out(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[1e-3, 1e-3, 2e-3], refuses={0: NoAlgorithm("no")})
        assert [one["algo"] for one in task.candidates] == [101, 102]
        task.use(1)
        assert task.block(1).seconds_per_call == pytest.approx(2e-3)

    def test_if_none_runs_the_cell_fails(self, bench: TaskBench) -> None:
        with pytest.raises(CellFailed, match="none of them runs"):
            bench.task(cell(), seconds=[1e-3], refuses={0: NoAlgorithm("no")})

    def test_each_has_a_graph_of_its_own(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6, 4e-6], multiply=nothing)
        for index, seconds in ((1, 4e-6), (0, 2e-6), (1, 4e-6)):
            task.use(index)
            assert task.block(5000).seconds_per_call == pytest.approx(seconds)
        assert len(bench.gpu.captured) == 2

    def test_the_fastest_is_found_used_and_checked(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[1.3e-3, 1.2e-3, 1e-3])
        measurement = measure(task, cell(), SHORT)
        assert measurement.search is not None
        assert measurement.search.chosen == 2
        assert measurement.algorithm["algo"] == 102
        assert measurement.samples.seconds_per_call == pytest.approx([1e-3] * 6)
        assert bench.library.order[-1][0] == 2
        assert measurement.passed


class TestCapture:
    """What cannot be captured is no lost GPU: it is timed call by call, or left out."""

    def test_without_graphs_calls_are_timed_and_that_is_said(self, bench: TaskBench) -> None:
        bench.gpu.refuse_capture = lambda _number: True
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=5e-6)
        assert task.block(1000).seconds_per_call == pytest.approx(5e-6)
        assert task.algorithm["timed"] == "calls"
        assert [caveat.code for caveat in task.caveats()] == ["not_captured", "launch_bound"]
        assert task.verify().passed

    def test_a_candidate_that_cannot_be_captured_is_left_out(self, bench: TaskBench) -> None:
        bench.gpu.refuse_capture = lambda number: number == 1
        task = bench.task(cell(), seconds=[2e-6, 1e-6, 3e-6], multiply=nothing)
        assert [one["algo"] for one in task.candidates] == [100, 102]
        for index, seconds in ((0, 2e-6), (1, 3e-6)):
            task.use(index)
            assert task.block(5000).seconds_per_call == pytest.approx(seconds)
        assert task.caveats() == []

    def test_a_gpu_that_is_lost_while_capturing_is_lost(self, bench: TaskBench) -> None:
        def dies(_number: int) -> bool:
            bench.gpu.lost = True
            return True

        bench.gpu.refuse_capture = dies
        with pytest.raises(BackendUnavailable, match="does not answer"):
            bench.task(cell(), seconds=[2e-6])
        assert bench.library.closed


class TestFaults:
    def test_a_lost_gpu_ends_the_block(self, bench: TaskBench) -> None:
        task = bench.task(cell())
        bench.gpu.lost = True
        with pytest.raises(BackendUnavailable, match="does not answer"):
            task.block(1)

    def test_closing_releases_operands_graphs_and_the_library(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6])
        task.close()
        assert bench.library.closed
        assert task._sets == []
        assert task._graphs == {}


class TestData:
    def test_what_the_operands_hold_is_described(self, bench: TaskBench) -> None:
        normal = bench.task(cell("fp8")).data
        for held in (normal["a"], normal["b"]):
            assert abs(held.mean) < 0.05
            assert held.sd == pytest.approx(1, abs=0.05)
            assert held.zero_share < 0.01
        assert bench.task(cell(data="zeros")).data["a"].zero_share == 1.0
        assert bench.task(cell(data="constant")).data["b"].mean == 1.0

    def test_int8_data_are_scaled_before_they_are_rounded(self, bench: TaskBench) -> None:
        """A plain cast of N(0,1) would be mostly zeros, which run faster."""
        held = bench.task(cell("int8")).data["a"]
        assert held.zero_share < 0.04
        assert held.sd == pytest.approx(20, rel=0.05)

    def test_the_seed_decides_the_numbers(self, bench: TaskBench) -> None:
        first, second = bench.task(cell()), bench.task(cell())
        assert first._sets[1].a.tobytes() == second._sets[1].a.tobytes()


def test_resting_sleeps(bench: TaskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(timed, "sleep", slept.append)
    bench.task(cell()).rest(2.0)
    assert slept == [2.0]

"""A matrix multiply on a GPU with a simulated clock: what is timed, in which order, and what is found out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from bench.devices.nvidia import task as module
from bench.devices.nvidia.cublaslt import NoAlgorithm
from bench.devices.nvidia.multiply import CUBLASLT, Operands
from bench.devices.nvidia.task import CudaTask, sets_of
from bench.errors import BackendUnavailable, CellFailed
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.workloads import gemm
from bench.workloads.base import Cell, Data, L2Mode, Shape
from tests.simulated_gpu import CLOCK_HZ, SimulatedGpu, SimulatedLibrary, encoded, exact, multiplied

SHAPE = Shape(m=96, n=80, k=64)
MIB = 1 << 20
# Little to draw: a tenth of a second's calls are not run for every block of a long measurement.
SHORT = Policy(block_s=0.01, cap_s=0.05, warm_up_least_s=0.01, warm_up_most_s=0.2, cold_warm_up_most_s=0.2)


def cell(dtype: str = "bf16", *, fast: bool = False, data: Data = "normal", l2: L2Mode = "rotate") -> Cell:
    found = gemm.cells([dtype], [SHAPE], library=CUBLASLT, l2=l2, data=data)
    return found[-1] if fast else found[0]


class Bench:
    """A simulated GPU, and a library on it that the next task gets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu = SimulatedGpu()
        self.library: SimulatedLibrary
        self._patch = monkeypatch

    def task(self, of: Cell, *, sets: int = 3, cold: bool = False, **library: Any) -> CudaTask:  # noqa: ANN401
        def make(gpu: SimulatedGpu, one: Cell) -> SimulatedLibrary:
            self.library = SimulatedLibrary(gpu, one, **library)
            return self.library

        self._patch.setattr(module, "multiplier", make)
        return CudaTask(self.gpu, of, 7, sets=sets, cold=cold, watcher=None)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


class TestRotation:
    @pytest.mark.parametrize(("l2_mib", "expected"), [(0, 2), (1, 77), (50, 3828)])
    def test_the_sets_fill_the_cache_three_times_and_are_two_at_least(self, l2_mib: int, expected: int) -> None:
        # One set of this shape in BF16: 96·64 + 80·64 + 96·80 elements of two bytes.
        assert cell().bytes_moved == 2 * (96 * 64 + 80 * 64 + 96 * 80)
        sets = sets_of(cell(), l2_mib * MIB)
        assert sets * cell().bytes_moved >= 3 * l2_mib * MIB
        assert sets == max(2, -(-3 * l2_mib * MIB // cell().bytes_moved))
        assert abs(sets - expected) <= 0.1 * expected

    def test_a_hot_cell_stays_on_one_set(self) -> None:
        assert sets_of(cell(l2="hot"), 50 * MIB) == 1

    def test_calls_take_the_sets_in_turn_and_blocks_go_on_where_the_last_one_ended(self, bench: Bench) -> None:
        task = bench.task(cell(), sets=3)
        bench.library.order.clear()
        task.block(4)
        task.block(3)
        indices = [index for _, index in bench.library.order]
        first = indices[0]
        assert indices == [(first + step) % 3 for step in range(7)]

    def test_every_set_holds_other_numbers(self, bench: Bench) -> None:
        task = bench.task(cell(), sets=3)
        parts = [array.tobytes() for one in task._sets for array in one[:2]]
        assert len(set(parts)) == 6


class TestTiming:
    def test_a_block_is_the_mean_of_its_calls_on_the_device(self, bench: Bench) -> None:
        block = bench.task(cell(), seconds=[2e-3]).block(5)
        assert block.calls == 5
        assert block.seconds_per_call == pytest.approx(2e-3)
        assert block.sm_clock_hz == CLOCK_HZ
        assert block.cycles_per_call == pytest.approx(2e-3 * CLOCK_HZ)

    def test_without_a_clock_there_are_no_cycles(self, bench: Bench) -> None:
        task = bench.task(cell())
        bench.gpu.clock_hz = None
        block = task.block(1)
        assert (block.sm_clock_hz, block.cycles_per_call) == (None, None)

    def test_a_long_call_is_timed_as_it_is(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[1e-3])
        assert bench.gpu.captured == []
        assert task.algorithm["timed"] == "calls"

    def test_a_call_that_is_short_against_its_enqueuing_is_timed_in_graphs(self, bench: Bench) -> None:
        """Else the host, at 5 µs a call, would be measured in place of the device's 2 µs."""
        task = bench.task(cell(), seconds=[2e-6], sets=3)
        block = task.block(10_000)
        assert block.seconds_per_call == pytest.approx(2e-6)
        (nodes,) = bench.gpu.captured
        assert nodes % 3 == 0, "a graph visits every set equally often"
        assert block.calls % nodes == 0
        assert task.algorithm["timed"] == f"graph of {nodes}"

    def test_a_graph_has_a_bounded_number_of_nodes(self, bench: Bench) -> None:
        bench.task(cell(), seconds=[1e-8], enqueue_s=1e-7, sets=3)
        assert bench.gpu.captured == [2046]

    def test_a_library_that_cannot_be_captured_and_waits_for_the_host_is_said_to(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=8e-6, capturable=False)
        block = task.block(100)
        assert block.seconds_per_call == pytest.approx(8e-6)
        (caveat,) = task.caveats()
        assert caveat.code == "launch_bound"
        assert caveat.values == {"enqueue_s": pytest.approx(8e-6), "call_s": pytest.approx(8e-6)}

    @pytest.mark.parametrize(("seconds", "bound"), [(8e-6, True), (9e-6, True), (1.1e-5, False), (1e-3, False)])
    def test_launch_bound_means_that_enqueuing_takes_most_of_a_call(
        self, bench: Bench, seconds: float, bound: bool
    ) -> None:
        task = bench.task(cell(), seconds=[seconds], enqueue_s=8e-6, capturable=False)
        task.block(100)
        assert bool(task.caveats()) == bound

    def test_no_block_of_a_calls_own_making_is_launch_bound(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=8e-6)
        task.block(1000)
        assert task.caveats() == []


class TestCandidates:
    def test_each_is_described_and_timed_as_itself(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[1e-3, 3e-3, 2e-3])
        assert [one["algo"] for one in task.candidates] == [100, 101, 102]
        for index, seconds in ((1, 3e-3), (2, 2e-3), (0, 1e-3)):
            task.use(index)
            assert task.block(2).seconds_per_call == pytest.approx(seconds)
            assert task.algorithm["algo"] == 100 + index

    def test_one_that_is_offered_but_does_not_run_is_left_out(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[1e-3, 1e-3, 2e-3], refuses={0: NoAlgorithm("no")})
        assert [one["algo"] for one in task.candidates] == [101, 102]
        task.use(1)
        assert task.block(1).seconds_per_call == pytest.approx(2e-3)

    def test_if_none_runs_the_cell_fails(self, bench: Bench) -> None:
        with pytest.raises(CellFailed, match="none of them runs"):
            bench.task(cell(), seconds=[1e-3], refuses={0: NoAlgorithm("no")})

    def test_each_has_a_graph_of_its_own(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[2e-6, 4e-6])
        for index, seconds in ((1, 4e-6), (0, 2e-6), (1, 4e-6)):
            task.use(index)
            assert task.block(5000).seconds_per_call == pytest.approx(seconds)
        assert len(bench.gpu.captured) == 2

    def test_the_fastest_is_found_used_and_checked(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[1.3e-3, 1.2e-3, 1e-3])
        measurement = measure(task, cell(), SHORT)
        assert measurement.search is not None
        assert measurement.search.chosen == 2
        assert measurement.algorithm["algo"] == 102
        assert measurement.samples.seconds_per_call == pytest.approx([1e-3] * 6)
        assert bench.library.order[-1][0] == 2
        assert measurement.passed


Multiply = Callable[[Cell, Operands], None]


def slice_dropped(of: Cell, one: Operands) -> None:
    """The last quarter of K is left out."""
    cut = one.a.shape[1] * 3 // 4
    multiplied(of, Operands(_cleared(one.a, cut), one.bt, one.d))


def _cleared(array: Any, cut: int) -> Any:  # noqa: ANN401
    copy = array.copy()
    copy[:, cut:] = 0
    return copy


def rows_swapped(of: Cell, one: Operands) -> None:
    multiplied(of, one)
    one.d[[3, 50]] = one.d[[50, 3]]


def tile_unwritten(of: Cell, one: Operands) -> None:
    before = one.d[-16:, -16:].copy()
    multiplied(of, one)
    one.d[-16:, -16:] = before


def scale_ignored(of: Cell, one: Operands) -> None:
    one.d[...] = encoded(of, exact(of, one) * 2)


def not_transposed(of: Cell, one: Operands) -> None:
    """B read as if it were stored [k,n]."""
    wrong = one.bt.reshape(-1).reshape(one.bt.shape[1], one.bt.shape[0]).T
    multiplied(of, Operands(one.a, np.ascontiguousarray(wrong), one.d))


class Remembering:
    """Computes each output once, and returns that from then on."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def __call__(self, of: Cell, one: Operands) -> None:
        where = one.d.ctypes.data
        if where not in self._seen:
            multiplied(of, one)
            self._seen[where] = one.d.copy()
        one.d[...] = self._seen[where]


class OnlyOneSet:
    """Right for one operand set, and never computes the others."""

    def __init__(self) -> None:
        self._first: int | None = None

    def __call__(self, of: Cell, one: Operands) -> None:
        self._first = self._first or one.d.ctypes.data
        if one.d.ctypes.data == self._first:
            multiplied(of, one)


DTYPES = ["fp64", "fp32", "tf32", "fp16", "fp16_acc16", "bf16", "fp8", "int8", "nvfp4"]
MUTANTS: Sequence[Callable[[], Multiply]] = [
    lambda: slice_dropped,
    lambda: rows_swapped,
    lambda: tile_unwritten,
    lambda: scale_ignored,
    lambda: not_transposed,
    Remembering,
    OnlyOneSet,
]


class TestCheck:
    @pytest.mark.parametrize("data", ["normal", "zeros", "constant"])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_right_product_passes(self, bench: Bench, dtype: str, data: Data) -> None:
        check = bench.task(cell(dtype, data=data)).verify()
        assert check.passed, check
        assert check.rows == 64

    @pytest.mark.parametrize("seconds", [1e-3, 2e-6], ids=["calls", "graphs"])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(
        "mutant", MUTANTS, ids=lambda make: getattr(make(), "__name__", type(make()).__name__)
    )
    def test_a_wrong_one_does_not(
        self, bench: Bench, mutant: Callable[[], Multiply], dtype: str, seconds: float
    ) -> None:
        task = bench.task(cell(dtype), seconds=[seconds], multiply=mutant())
        task.block(6)
        assert not task.verify().passed

    @pytest.mark.parametrize("data", ["zeros", "constant"])
    @pytest.mark.parametrize("mutant", [Remembering, lambda: not_transposed], ids=["remembered", "layout"])
    def test_predictable_data_hide_neither_a_remembered_result_nor_a_wrong_layout(
        self, bench: Bench, mutant: Callable[[], Multiply], data: Data
    ) -> None:
        task = bench.task(cell(data=data), multiply=mutant())
        task.block(3)
        assert not task.verify().passed

    def test_fast_sums_may_be_less_exact_than_exact_ones(self, bench: Bench) -> None:
        def coarse(of: Cell, one: Operands) -> None:
            product = exact(of, one)
            noise = np.random.default_rng(1).standard_normal(product.shape) * np.sqrt(np.mean(product**2))
            one.d[...] = encoded(of, product + 0.015 * noise)

        assert bench.task(cell("fp8", fast=True), multiply=coarse).verify().passed
        assert not bench.task(cell("fp8"), multiply=coarse).verify().passed


class TestHonestTf32:
    """What is called TF32 must not be FP32, which a variable can make of it: that would be slower."""

    def test_a_product_that_is_too_exact_is_noticed(self, bench: Bench) -> None:
        task = bench.task(cell("tf32"))
        assert task.verify().passed
        (caveat,) = task.caveats()
        assert caveat.code == "not_tf32"

    def test_one_of_rounded_inputs_is_what_it_says(self, bench: Bench) -> None:
        def rounding(of: Cell, one: Operands) -> None:
            multiplied(of, Operands(_in_ten_bits(one.a), _in_ten_bits(one.bt), one.d))

        task = bench.task(cell("tf32"), multiply=rounding)
        assert task.verify().passed
        assert task.caveats() == []

    def test_fp32_may_be_as_exact_as_it_is(self, bench: Bench) -> None:
        task = bench.task(cell("fp32"))
        task.verify()
        assert task.caveats() == []


def _in_ten_bits(array: Any) -> Any:  # noqa: ANN401
    return (array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


class TestFaults:
    def test_a_lost_gpu_ends_the_block(self, bench: Bench) -> None:
        task = bench.task(cell())
        bench.gpu.lost = True
        with pytest.raises(BackendUnavailable, match="does not answer"):
            task.block(1)

    def test_closing_releases_operands_graphs_and_the_library(self, bench: Bench) -> None:
        task = bench.task(cell(), seconds=[2e-6])
        task.close()
        assert bench.library.closed
        assert task._sets == []
        assert task._graphs == {}


class TestData:
    def test_what_the_operands_hold_is_described(self, bench: Bench) -> None:
        normal = bench.task(cell("fp8")).data
        for held in (normal["a"], normal["b"]):
            assert abs(held.mean) < 0.05
            assert held.sd == pytest.approx(1, abs=0.05)
            assert held.zero_share < 0.01
        assert bench.task(cell(data="zeros")).data["a"].zero_share == 1.0
        assert bench.task(cell(data="constant")).data["b"].mean == 1.0

    def test_int8_data_are_scaled_before_they_are_rounded(self, bench: Bench) -> None:
        """A plain cast of N(0,1) would be mostly zeros, which run faster."""
        held = bench.task(cell("int8")).data["a"]
        assert held.zero_share < 0.04
        assert held.sd == pytest.approx(20, rel=0.05)

    def test_the_seed_decides_the_numbers(self, bench: Bench) -> None:
        first, second = bench.task(cell()), bench.task(cell())
        assert first._sets[1].a.tobytes() == second._sets[1].a.tobytes()


def test_resting_sleeps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module, "sleep", slept.append)
    bench.task(cell()).rest(2.0)
    assert slept == [2.0]

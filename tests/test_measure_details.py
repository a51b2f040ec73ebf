"""Details of measuring and planning: what decides a search, what a budget becomes, how sizes are probed."""

from collections.abc import Mapping, Sequence
from itertools import cycle, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.devices.base import Block, Caveat, CellDefaults, Check, OperandData, PlainTask, Spread, Telemetry
from bench.devices.check import worst
from bench.devices.replay import Call, ReplayTask, Script
from bench.errors import CellFailed, InvalidRequest
from bench.measure.condensing import joined
from bench.measure.loop import _clocks, measure
from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.measure.policy import Policy, fitted
from bench.measure.search import Search, search
from bench.run import planning, request
from bench.run.planning import Wish, resolve
from bench.run.request import Prepared, Request, execute, prepare
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape
from tests.support import PASSED, SimulatedBackend, cell, header, script, silent


class Scripted(PlainTask):
    """Two candidates, each with its own seconds a call; None where it has no more blocks."""

    cold = False
    data: Mapping[str, OperandData] = {}

    def __init__(self, first: Sequence[float], second: Sequence[float]) -> None:
        self.candidates = ({"algo": 0}, {"algo": 1})
        self._left = (iter(first), iter(second))
        self.used = 0

    def use(self, candidate: int) -> None:
        self.used = candidate

    def block(self, calls: int) -> Block | None:
        seconds = next(self._left[self.used], None)
        return None if seconds is None else Block(calls=calls, seconds_per_call=seconds)

    def verify(self) -> Check:
        return PASSED

    def close(self) -> None:
        pass


class TestSearch:
    def test_what_the_final_measures_decides_and_not_what_came_before(self) -> None:
        task = Scripted([*repeat(1.0e-3, 3), *repeat(1.2e-3, 5)], [*repeat(1.1e-3, 3), *repeat(1.1e-3, 5)])
        found = search(task, Policy(), 1e-3, task.block)
        assert found is not None
        assert (found.chosen, task.used) == (1, 1)

    @pytest.mark.parametrize("slow", [0, 1])
    def test_without_blocks_for_a_final_the_first_rounds_decide(self, slow: int) -> None:
        times = [[1.0e-3] * 3, [1.0e-3] * 3]
        times[slow] = [1.1e-3] * 3
        task = Scripted(*times)
        found = search(task, Policy(), 1e-3, task.block)
        assert found is not None
        assert found.chosen == 1 - slow

    def test_without_any_block_the_librarys_own_choice_stays(self) -> None:
        task = Scripted([], [])
        found = search(task, Policy(), 1e-3, task.block)
        assert found is not None
        assert (found.chosen, found.candidate, task.used) == (0, (), 0)


def test_a_sustained_loads_samples_are_handed_over_every_ten_seconds_to_the_second() -> None:
    """Blocks of an eighth of a second, 2⁻¹⁰ s a call, so that eighty are ten seconds exactly."""
    (of,) = gemm.cells(["bf16"], [gemm.square(64)], library="cublaslt", l2="rotate", regime="sustained:25")
    saved: list[int] = []
    policy = Policy(block_s=127.5 / 1024 / 1.05)
    task = ReplayTask(Script(repeat(Call(2.0**-10)), check=PASSED))
    found = measure(task, of, policy, on_samples=lambda samples: saved.append(len(samples.seconds_per_call)))
    assert saved == [80, 80]
    assert len(found.samples.seconds_per_call) == 40


class TestPolicy:
    @pytest.mark.parametrize(
        ("cells", "budget", "cold", "warm"),
        [(1, 8.0, 2.0, 1.0), (1, 60.0, 10.0, 3.0), (10, 60.0, 10.0, 2.0), (30, 60.0, 10.0, 1.0)],
    )
    def test_a_budget_becomes_these_warm_ups(self, cells: int, budget: float, cold: float, warm: float) -> None:
        policy = fitted(cells, budget)
        assert (policy.cold_warm_up_most_s, policy.warm_up_most_s) == (cold, warm)

    def test_what_is_left_is_shared_after_what_each_cell_takes_beside(self) -> None:
        assert fitted(4, 60.0).cap_s == round((60 - 1 - 10 - 3 * 3) / 4, 2)
        assert fitted(4, 60.0, overhead_s=0.8).cap_s == round((60 - 1 - 10 - 3 * 3) / 4 - 0.8, 2)
        # Where algorithms are searched, that warms up too, so each cell but the first warms up for less.
        assert fitted(10, 60.0).warm_up_most_s == 2.0
        assert fitted(10, 60.0, overhead_s=0.8).warm_up_most_s == 1.5
        assert fitted(1000, 8.0).cap_s == 0.8


class TestKept:
    def test_a_check_without_samples_is_no_pass(self) -> None:
        empty = Measurement(cell=cell(), stop="failed", check=PASSED)
        assert not empty.passed
        assert empty.calls_per_block == 0
        assert not Measurement(cell=cell(), stop="precision", samples=Samples(seconds_per_call=(1.0,))).passed

    @pytest.mark.parametrize(
        "kind", [Search, Policy, Samples, WarmUp, Measurement, Telemetry, Caveat, Check, OperandData, Cell, Shape]
    )
    def test_what_is_read_back_holds_no_field_that_nobody_knows(self, kind: type[msgspec.Struct]) -> None:
        assert kind.__struct_config__.forbid_unknown_fields
        assert kind.__struct_config__.frozen

    def test_a_column_that_one_part_lacks_is_left_out_of_the_whole(self) -> None:
        first = Samples(seconds_per_call=(1.0,), power_w=(9.0,))
        second = Samples(seconds_per_call=(2.0,), power_w=(8.0,), sm_clock_hz=(3.0,))
        assert joined([first, second]) == Samples(seconds_per_call=(1.0, 2.0), power_w=(9.0, 8.0))
        assert joined([Samples(), second]) == second
        assert joined([first, Samples()]) == first


class Planned(SimulatedBackend):
    """A backend that offers a few dtypes, and notes how its tasks were asked for and closed."""

    def __init__(self, *offered: str, seconds: float = 1e-3, free: int | None = None) -> None:
        super().__init__({cell(): script()})
        self.defaults = CellDefaults(libraries=("numpy.matmul",), l2="hot", sizes=(1024, 2048, 4096))
        self.offered, self.seconds, self.free = offered, seconds, free
        self.probes: list[bool] = []
        self.closed = 0

    def refusal(self, operation: str, dtype: str, library: str | None = None) -> str | None:
        return None if dtype in self.offered else "not here"

    def misfit(self, cell: Cell) -> str | None:
        return None

    def bytes_free(self) -> int | None:
        return self.free

    def bytes_needed(self, cell: Cell) -> int:
        return cell.bytes_moved

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> Any:  # noqa: ANN401
        self.probes.append(probe)
        if self.seconds < 0:
            raise CellFailed
        values = cycle([9.0, self.seconds, 3 * self.seconds, 8.0])
        block = lambda calls: Block(calls=calls, seconds_per_call=next(values))  # noqa: E731
        return SimpleNamespace(block=block, close=self._close)

    def _close(self) -> None:
        self.closed += 1


class TestPlanning:
    def test_a_backend_that_offers_nothing_says_why_and_promises_nothing(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            resolve(Planned(), Wish())
        assert str(raised.value) == "fp64 is not measured on backend replay: not here"
        with pytest.raises(InvalidRequest, match="not here; here it measures fp64, fp32"):
            resolve(Planned("fp64", "fp32"), Wish(dtypes=["bf16"]))

    def test_sizes_are_tried_by_probes_that_are_closed_and_judged_by_their_fastest_call(self) -> None:
        here = Planned("fp32", seconds=0.04)
        plan, _, _ = resolve(here, Wish())
        assert here.probes
        assert all(here.probes)
        assert here.closed == len(here.probes)
        assert len(plan.cells) == 1

    def test_what_does_not_fit_is_left_out_of_the_sweep_as_such(self) -> None:
        here = Planned("fp32", free=3 * 4 * 4096**2)
        plan, _, notes = resolve(here, Wish(sweep=True))
        assert [one.shape for one in plan.cells] == [gemm.square(size) for size in (1024, 2048, 4096)]
        assert "fp32 8192³ is left out of the sweep: it does not fit" in notes

    def test_of_what_cannot_be_made_the_sweep_is_the_default_alone(self) -> None:
        plan, _, notes = resolve(Planned("fp32", seconds=-1.0), Wish(sweep=True))
        assert len(plan.cells) == 1
        assert notes == ()


class TestDefaultShape:
    @pytest.mark.parametrize(
        ("first", "asked", "chosen"),
        [
            (0.05 / 64, [2048], 8192),  # the largest, 64 times as long, takes the limit exactly
            (0.05 / 63, [2048, 4096, 8192], 4096),
            (0.012, [2048, 4096], 2048),  # 0.096 s is less than twice the limit: asked, and too long
            (0.0125, [2048, 4096], 2048),
            (0.013, [2048], 2048),
            (0.06, [2048], 2048),
        ],
    )
    def test_only_what_may_fit_is_asked_for(self, first: float, asked: list[int], chosen: int) -> None:
        seen: list[int] = []

        def seconds(shape: Shape) -> float:
            seen.append(shape.m)
            return first * (shape.m / 2048) ** 3

        assert gemm.default_shape(seconds, (2048, 4096, 8192)) == gemm.square(chosen)
        assert seen == asked


class TestRequest:
    @pytest.mark.parametrize(
        ("processes", "keeps", "fresh"), [(1, True, False), (2, True, True), (2, False, False)]
    )
    def test_fresh_processes_are_for_several_that_are_kept(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processes: int, keeps: bool, fresh: bool
    ) -> None:
        monkeypatch.setattr(request, "run_processes", lambda *_args, **_more: ["fresh"])
        monkeypatch.setattr(request, "run_plan", lambda *_args, **_more: "here")
        asked = Request(tool="0", processes=processes, results=tmp_path if keeps else None)
        prepared = Prepared(Planned("fp32"), header(), ())
        outcomes: list[object] = [*execute(prepared, asked, silent)]
        assert outcomes == ["fresh" if fresh else "here"]

    def test_why_a_backend_was_chosen_is_told_before_what_was_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = Planned("fp32", free=3 * 4 * 8192**2)
        for note in ("the reason", None):
            monkeypatch.setattr(request, "choose", lambda _name, _index, note=note: (here, note))
            notes = prepare(Request(tool="0", wish=Wish(sweep=True))).notes
            assert notes[:-1] == (() if note is None else (note,))
            assert notes[-1].startswith("fp32 16384³ is left out")

    def test_the_time_that_is_told_is_that_of_all_processes(self) -> None:
        prepared = Prepared(Planned("fp32"), header(), ())
        assert prepared.longest_s(3) == 3 * prepared.longest_s(1) > 0


def test_the_budget_grows_with_what_is_asked_for_beyond_the_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float, dict[str, float]]] = []

    def spy(cells: int, budget_s: float, **more: float) -> Policy:
        asked.append((cells, budget_s, more))
        return Policy()

    monkeypatch.setattr(planning, "fitted", spy)
    shapes = [gemm.square(size) for size in (64, 96, 128)]
    resolve(Planned("fp32", "fp64"), Wish(shapes=shapes))
    resolve(Planned("fp32", "fp64"), Wish(shapes=shapes, quick=True))
    resolve(Planned("fp32", "fp64"), Wish(shapes=shapes[:1]))
    none = {"overhead_s": 0.0}  # which a GPU has, and a CPU has not
    assert asked == [(6, 90.0, none), (6, 24.0, none), (2, 30.0, none)]


def test_of_several_checks_the_least_is_kept_and_the_worst() -> None:
    good = Check(passed=True, tolerance=1e-5, rows=64, rows_error=1e-7, product_error=3e-7)
    few = Check(passed=True, tolerance=1e-5, rows=9, rows_error=2e-7, product_error=2e-7)
    assert worst([good, few]) == Check(passed=True, tolerance=1e-5, rows=9, rows_error=2e-7, product_error=3e-7)
    infinite = Check(passed=False, tolerance=1e-5, rows=64, rows_error=None, product_error=1e-7)
    assert worst([infinite, good]).rows_error is None
    assert not worst([good, infinite, good]).passed


def test_clocks_that_disagree_are_told_with_how_far_seconds_and_cycles_moved() -> None:
    def samples(*factors: float) -> Samples:
        return Samples(
            seconds_per_call=factors,
            cycles_per_call=(1e9, 1.001e9, 1.002e9),
            sm_clock_hz=tuple(1e9 / factor for factor in factors),
        )

    def seen(hertz: float) -> Telemetry:
        return Telemetry(readings=3, seconds=1.0, sm_clock_hz=Spread(least=hertz, median=hertz, most=hertz))

    (found,) = _clocks(samples(0.9, 1.0, 1.1), seen(1.1e9))
    assert found.code == "clocks_disagree"
    assert found.values == {
        "counted": 1e9,
        "sensor": 1.1e9,
        "seconds_spread": pytest.approx(0.2),
        "cycles_spread": pytest.approx(0.002 / 1.001),
    }
    assert not [*_clocks(samples(0.9, 1.0, 1.1), seen(1.029e9))]
    assert not [*_clocks(samples(0.9, 1.0, 1.1), None)]

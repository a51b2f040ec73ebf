"""Burst and sustained load, to the last digit: rests, settling, saving on the way, and replays of all of it."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, cycle, islice, repeat
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.base import Block, Caveat, Check, Spread, Telemetry
from bench.devices.replay import Call, Script
from bench.measure.condensing import joined
from bench.measure.loop import RECOMPUTED, measure
from bench.measure.measurement import Measurement, Samples
from bench.measure.policy import Policy
from bench.records.record import Lines
from bench.run.replaying import replay_backend
from bench.workloads import gemm
from bench.workloads.base import Cell
from tests.support import PASSED, SpiedTask, header

CALL: Final = 1e-3
POLICY: Final = Policy()
SPREAD: Final = Spread(least=100.0, median=200.0, most=300.0)
TELEMETRY: Final = Telemetry(readings=40, seconds=2.0, power_w=SPREAD, event_reasons={"sw_power_cap": 1.0})
NOISE: Final = [0.96, 1.04, 0.97, 1.03, 0.98, 1.02, 0.99, 1.01, 0.95, 1.05]


def of(regime: str) -> Cell:
    (made,) = gemm.cells(["bf16"], [gemm.square(64)], library="cublaslt", l2="rotate", regime=regime)
    return made


STEADY, BURST = of("steady"), of("burst")


class Logged(SpiedTask):
    """Scripted blocks, of whole graphs of calls if `graph` says of how many, and a log of all that was asked."""

    def __init__(self, given: Script, *, graph: int = 1) -> None:
        super().__init__(given)
        self.graph = graph
        self.log: list[str] = []
        self.rests: list[float] = []

    def block(self, calls: int) -> Block | None:
        self.log.append("block")
        return super().block(math.ceil(calls / self.graph) * self.graph)

    def rest(self, seconds: float) -> None:
        self.log.append("rest")
        self.rests.append(seconds)

    def watch(self) -> None:
        self.log.append("watch")

    def observed(self) -> Telemetry | None:
        self.log.append("observed")
        return super().observed()

    def verify(self) -> Check:
        self.log.append("verify")
        return super().verify()


def task_of(calls: Iterable[Call | float], *, graph: int = 1, **more: Any) -> Logged:  # noqa: ANN401
    made = (call if isinstance(call, Call) else Call(call) for call in calls)
    return Logged(Script(made, check=PASSED, **more), graph=graph)


def run(task: Logged, cell: Cell, policy: Policy = POLICY) -> tuple[Measurement, list[Block], list[Block]]:
    """Return a measurement, the blocks before its samples (but the search's), and those that are its samples."""
    found = measure(task, cell, policy)
    count = len(found.samples.seconds_per_call)
    split = len(task.blocks) - count
    return found, task.blocks[:split], task.blocks[split:]


def spent(blocks: Sequence[Block]) -> float:
    return sum(block.seconds for block in blocks)


def flat(measurement: Measurement) -> bool:
    assert measurement.warm_up is not None
    return measurement.warm_up.flat


def noisy(share: float = 1.0) -> Iterable[float]:
    """Calls whose interval stays wide for a share of 1, and is narrow for one of a twentieth."""
    return (CALL * (1 + share * (value - 1)) for value in cycle(NOISE))


class TestBurst:
    def test_before_each_sample_it_rests_once_and_while_warming_up_and_choosing_never(self) -> None:
        task = task_of(noisy(0.05), candidates=({"algo": 0}, {"algo": 1}))
        found, _, samples = run(task, BURST)
        assert found.search is not None
        assert task.rests == [2.0] * len(samples)
        at = task.log.index("watch")
        assert set(task.log[:at]) == {"block"}
        assert task.log[at:] == ["watch", *["rest", "block"] * len(samples), "observed", "verify"]

    def test_the_time_of_the_rests_counts_for_the_cap(self) -> None:
        policy = Policy(cap_s=20.0)
        found, _, samples = run(task_of(noisy()), BURST, policy)
        taken = list(accumulate(2.0 + block.seconds for block in samples))
        assert found.stop == "time_cap"
        assert taken[-2] < 20.0 <= taken[-1]
        steady, _, more = run(task_of(noisy()), STEADY, policy)
        assert steady.stop == "time_cap"
        assert len(more) > 10 * len(samples)

    @pytest.mark.parametrize("rest_s", [0.5, 30.0])
    def test_six_samples_are_taken_however_long_a_rest_is(self, rest_s: float) -> None:
        task = task_of(noisy())
        found, _, samples = run(task, BURST, Policy(cap_s=1.0, rest_s=rest_s))
        assert len(samples) == 6
        assert task.rests == [rest_s] * 6
        assert found.stop == "time_cap"

    def test_once_precise_it_stops(self) -> None:
        found, _, samples = run(task_of(noisy(0.01)), BURST, Policy(cap_s=1000.0))
        assert found.stop == "precision"
        assert len(samples) == 6

    def test_a_steady_cell_never_rests(self) -> None:
        task = task_of(noisy())
        run(task, STEADY)
        assert task.rests == []


def falling(seconds: float, to: float) -> Iterable[Call]:
    """Blocks of the same time, while the clock falls evenly by the share `to` in about so many seconds of them."""
    blocks = round(seconds / 0.1)
    yield from (Call(CALL, sm_clock_hz=1.98e9 * (1 - to * i / blocks)) for i in range(blocks))
    yield from repeat(Call(CALL, sm_clock_hz=1.98e9 * (1 - to)))


class TestSettling:
    def test_a_load_that_is_flat_at_once_is_watched_for_two_windows(self) -> None:
        found, before, _ = run(task_of(repeat(CALL)), of("sustained:5"))
        assert flat(found)
        assert 10.0 <= spent(before) - 0.6 < 10.5

    def test_a_clock_that_falls_slowly_keeps_it_settling_until_it_has_fallen(self) -> None:
        """By 6 % in half a minute: no five blocks of the warm-up show that, which lasts half a second."""
        found, before, samples = run(task_of(falling(30, 0.06)), of("sustained:5"))
        assert flat(found)
        assert 30 < spent(before) < 30 + 10
        assert {block.sm_clock_hz for block in samples} == {1.98e9 * 0.94}
        hasty, soon, _ = run(task_of(falling(30, 0.06)), STEADY)
        assert flat(hasty)
        assert spent(soon) < 1

    def test_so_does_a_rate_that_falls_slowly(self) -> None:
        slower = (CALL * (1 + 0.06 * min(1.0, i / 300)) for i in range(2000))
        found, before, samples = run(task_of(slower), of("sustained:5"))
        assert flat(found)
        assert {block.seconds_per_call for block in samples} == {CALL * (1 + 0.06)}
        assert 30 < spent(before) < 45

    def test_what_never_settles_is_measured_after_a_minute_and_said_to(self) -> None:
        found, before, samples = run(task_of(falling(1000, 0.9)), of("sustained:5"))
        assert not flat(found)
        assert 60.0 <= spent(before) < 60.0 + 0.6 + 0.11
        assert spent(samples) >= 5
        (caveat,) = found.warnings
        assert caveat.code == "not_flat"
        assert caveat.values == {"seconds": pytest.approx(spent(before))}

    @pytest.mark.parametrize("call_s", [3.0, 7.0, 25.0])
    def test_with_calls_of_seconds_it_ends_too(self, call_s: float) -> None:
        found, before, _ = run(task_of(repeat(call_s)), of("sustained:5"))
        assert flat(found)
        assert spent(before) <= 60 + call_s

    def test_the_algorithm_is_chosen_before_it_settles(self) -> None:
        """Settling on another algorithm than the one that is measured would settle for nothing."""
        found, before, _ = run(task_of(repeat(CALL), candidates=({"algo": 0}, {"algo": 1})), of("sustained:5"))
        assert found.search is not None
        assert found.warm_up is not None
        assert sum(found.warm_up.calls[found.search.after :]) * CALL >= 10
        assert len(before) == len(found.warm_up.calls) + len(found.search.candidate)


class TestSustained:
    @pytest.mark.parametrize("share", [0.0, 1.0], ids=["flat", "wide"])
    @pytest.mark.parametrize("seconds", [10, 30.5])
    def test_it_lasts_as_long_as_it_says_however_precise_it_is(self, seconds: float, share: float) -> None:
        found, _, samples = run(task_of(noisy(share)), of(f"sustained:{seconds}"), Policy(cap_s=2.0))
        assert found.stop == "duration"
        assert spent(samples[:-1]) < seconds <= spent(samples)

    def test_six_samples_are_taken_however_short_it_is(self) -> None:
        found, _, samples = run(task_of(repeat(2.0)), of("sustained:1"))
        assert found.stop == "duration"
        assert len(samples) == 6

    @given(
        seconds=st.floats(1.0, 90.0),
        calls=st.lists(st.sampled_from([1e-3, 2.5e-3, 0.7, 4.0, 11.0, 23.0]), min_size=1, max_size=9),
    )
    def test_every_ten_seconds_what_is_new_is_saved_none_lost_and_none_twice(
        self, seconds: float, calls: list[float]
    ) -> None:
        saved: list[Samples] = []
        task = task_of(Call(value, power_w=float(i)) for i, value in enumerate(cycle(calls)))
        policy = Policy(settle_most_s=1.0)
        found = measure(task, of(f"sustained:{seconds}"), policy, on_samples=saved.append)
        count = sum(len(some.seconds_per_call) for some in saved)
        blocks = task.blocks[-count - len(found.samples.seconds_per_call) :]
        assert joined([*saved, found.samples]) == Samples.of(blocks)
        assert spent(blocks[count:]) < 10
        for some in saved:
            chunk, blocks = blocks[: len(some.seconds_per_call)], blocks[len(some.seconds_per_call) :]
            assert spent(chunk) >= 10 - 1e-9
            assert spent(chunk[:-1]) < 10

    @pytest.mark.parametrize("cell", [STEADY, BURST], ids=["steady", "burst"])
    def test_nothing_is_saved_on_the_way_of_any_other_regime(self, cell: Cell) -> None:
        saved: list[Samples] = []
        measure(task_of(noisy()), cell, Policy(cap_s=50.0), on_samples=saved.append)
        assert saved == []

    @pytest.mark.parametrize("kept", [1, 5, 200])
    def test_a_device_that_has_no_more_ends_it_early_and_keeps_what_it_gave(self, kept: int) -> None:
        everything, before, _ = run(task_of(repeat(CALL)), of("sustained:60"))
        found, _, samples = run(task_of(islice(noisy(0.01), len(before) + kept)), of("sustained:60"))
        assert (found.stop, everything.stop) == ("exhausted", "duration")
        assert len(samples) == kept

    def test_one_that_ends_while_it_settles_gave_nothing(self) -> None:
        found, _, samples = run(task_of([CALL] * 50), of("sustained:5"))
        assert (found.stop, samples) == ("failed", [])
        assert not flat(found)

    def test_the_sensors_are_watched_while_sampling_only(self) -> None:
        task = task_of(repeat(CALL), telemetry=TELEMETRY)
        found, before, samples = run(task, of("sustained:5"))
        blocks = [["block"] * len(part) for part in (before, samples)]
        assert task.log == [*blocks[0], "watch", *blocks[1], "observed", "verify"]
        assert found.telemetry == TELEMETRY


class TestWholeGraphs:
    """A device may make more calls of a block than it was asked for: what it made is what counts."""

    def test_the_time_that_was_really_spent_is_what_ends_it(self) -> None:
        found, _, samples = run(task_of(noisy(), graph=1000), of("sustained:20"))
        assert {block.calls for block in samples} == {1000} == {found.calls_per_block}
        assert 20 <= len(samples) <= 21

    def test_so_it_is_for_the_cap_and_the_rests(self) -> None:
        found, _, samples = run(task_of(noisy(), graph=1000), BURST, Policy(cap_s=29.5))
        assert found.stop == "time_cap"
        assert len(samples) == 10

    def test_the_time_told_as_blocks_end_is_that_of_the_calls_made(self) -> None:
        told: list[float] = []
        task = task_of(noisy(), graph=700)
        measure(task, of("sustained:12"), POLICY, on_block=told.append)
        assert told == [block.calls * block.seconds_per_call for block in task.blocks]
        assert {block.calls % 700 for block in task.blocks} == {0}


def replayed(measurement: Measurement, policy: Policy) -> Measurement:
    lines = Lines(header([measurement.cell]), (measurement,), 0, None, 0)
    return measure(replay_backend(lines).prepare(measurement.cell, 0), measurement.cell, policy)


SECONDS = st.sampled_from([1e-3, 1.001e-3, 1.0035e-3, 1.02e-3, 2e-3, 0.3])
CLOCK = st.sampled_from([1.98e9, 1.979e9, 1.9e9])
SENSOR = st.none() | st.sampled_from([0.0, 350.0, 698.5])
CALLS = st.lists(
    st.builds(Call, SECONDS, st.none() | CLOCK, st.none() | CLOCK, SENSOR, SENSOR, st.none())
    | st.builds(Call, SECONDS, CLOCK, CLOCK, st.just(698.0), st.just(61.0), st.none()),
    min_size=1,
    max_size=40,
)
SHORT = Policy(cap_s=4.0, rest_s=0.3, settled_window_s=0.5, settle_most_s=3.0)
NOTED = (Caveat(code="launch_bound", values={"enqueue_s": 8e-6}), Caveat(code="not_tf32", values={"x": "y"}))


class TestReplay:
    @given(
        calls=CALLS,
        endless=st.booleans(),
        regime=st.sampled_from(["burst", "sustained:2", "sustained:12.5", "steady"]),
        graph=st.sampled_from([1, 7, 512]),
        candidates=st.sampled_from([0, 1, 4]),
        cold=st.booleans(),
    )
    def test_of_any_regime_it_is_the_measurement_to_the_last_digit(
        self, *, calls: list[Call], endless: bool, regime: str, graph: int, candidates: int, cold: bool
    ) -> None:
        described = [{"algo": index} for index in range(candidates)]
        blocks = islice(cycle(calls), None if endless else 100)
        task = task_of(blocks, graph=graph, cold=cold, candidates=described, telemetry=TELEMETRY, caveats=NOTED)
        first = measure(task, of(regime), SHORT)
        if first.stop != "failed":
            assert replayed(first, SHORT) == first

    @pytest.mark.parametrize("regime", ["burst", "sustained:5"])
    def test_what_sensors_and_task_said_is_there_once_beside_what_the_blocks_say(self, regime: str) -> None:
        task = task_of(falling(1000, 0.9), telemetry=TELEMETRY, caveats=NOTED)
        first, _, _ = run(task, of(regime))
        again = replayed(first, POLICY)
        assert again == first
        assert again.telemetry == TELEMETRY
        assert [caveat for caveat in again.warnings if caveat.code not in RECOMPUTED] == [*NOTED]
        assert len({caveat.code for caveat in again.warnings}) == len(again.warnings)

    def test_it_does_not_rest_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def sleeps(_seconds: float) -> None:
            raise AssertionError("a replay needs no rest")

        monkeypatch.setattr("bench.devices.base.sleep", sleeps)
        first, _, _ = run(task_of(noisy()), BURST)
        assert replayed(first, POLICY) == first


POSITIVE = st.floats(1e-9, 1e12)
ANY_BLOCK = st.builds(
    Block,
    calls=st.integers(1, 9),
    seconds_per_call=POSITIVE,
    cycles_per_call=st.none() | POSITIVE,
    sm_clock_hz=st.none() | POSITIVE,
    power_w=st.none() | st.floats(0, 1e3),
    temperature_c=st.none() | st.floats(-10, 120),
)
FULL_BLOCK = st.builds(
    Block, calls=st.just(1), seconds_per_call=POSITIVE, cycles_per_call=POSITIVE, sm_clock_hz=POSITIVE,
    power_w=POSITIVE, temperature_c=POSITIVE,
)  # fmt: skip
BLOCKS = st.lists(FULL_BLOCK, max_size=6) | st.lists(FULL_BLOCK | ANY_BLOCK, max_size=6)


class TestSamples:
    @given(BLOCKS)
    def test_a_column_is_there_if_every_block_told_it(self, blocks: list[Block]) -> None:
        columns = Samples.of(blocks).columns()
        for name in Samples.__struct_fields__:
            told = [getattr(block, name) for block in blocks]
            if blocks and None not in told:
                assert columns[name] == tuple(told)
            else:
                assert columns.get(name, ()) == ()

    @given(BLOCKS, st.data())
    def test_cut_anywhere_and_joined_they_are_the_whole(self, blocks: list[Block], data: st.DataObject) -> None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(blocks)), max_size=3)))
        parts = [
            Samples.of(blocks[start:end]) for start, end in zip([0, *cuts], [*cuts, len(blocks)], strict=True)
        ]
        assert joined(parts) == Samples.of(blocks)

    @given(BLOCKS, BLOCKS, BLOCKS)
    def test_joining_does_not_depend_on_which_two_are_joined_first(
        self, first: list[Block], second: list[Block], third: list[Block]
    ) -> None:
        a, b, c = map(Samples.of, (first, second, third))
        assert joined([joined([a, b]), c]) == joined([a, joined([b, c])]) == joined([a, b, c])

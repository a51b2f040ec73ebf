"""When measuring warms up, samples and stops: scripted blocks, no clock, to the last digit."""

import math
from collections.abc import Sequence
from itertools import accumulate, cycle, islice, pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.base import Block
from bench.errors import BackendUnavailable
from bench.measure.loop import measure
from bench.measure.measurement import Measurement
from bench.measure.policy import Policy, fitted
from bench.records.record import Lines, encode_line, read_lines, reduce
from bench.run.replaying import replay_backend
from bench.stats import summarise
from tests.support import FAILED, STEADY, SpiedTask, cell, header, script

CELL = cell()
POLICY = Policy()
CALL = 1e-3


def run(
    seconds: Sequence[float],
    policy: Policy = POLICY,
    *,
    clocks: Sequence[float | None] = (),
    cold: bool = False,
) -> tuple[Measurement, list[Block]]:
    task = SpiedTask(script(seconds, clocks=clocks, cold=cold))
    return measure(task, CELL, policy), task.blocks


def warm_blocks(measurement: Measurement) -> int:
    assert measurement.warm_up is not None
    return len(measurement.warm_up.calls)


def warm_seconds(measurement: Measurement) -> float:
    assert measurement.warm_up is not None
    return sum(c * s for c, s in zip(measurement.warm_up.calls, measurement.warm_up.seconds_per_call, strict=True))


def codes(measurement: Measurement) -> list[str]:
    return [caveat.code for caveat in measurement.warnings]


# Two short blocks (1 and 10 calls) come first; then each lasts 0.05 s, half of a sample.
SHORT = [CALL] * 2


def noisy(*values: float) -> list[float]:
    return [CALL * (1 + value) for value in values]


class TestWarmUp:
    def test_a_steady_rate_is_warm_after_ten_full_blocks_and_half_a_second(self) -> None:
        measurement, _ = run(STEADY)
        assert warm_blocks(measurement) == 12
        assert 0.5 <= warm_seconds(measurement) < 0.55
        assert measurement.warm_up is not None
        assert measurement.warm_up.flat

    @pytest.mark.parametrize(("change", "blocks"), [(0.0029, 12), (0.0031, 13), (-0.0029, 12), (-0.0031, 13)])
    def test_five_blocks_against_the_five_before_decide_at_three_per_mille(
        self, change: float, blocks: int
    ) -> None:
        """At 13 the window has moved on by one: its older half then has one block of the new level at most."""
        script_ = SHORT + noisy(*[0] * 5, *[change] * 40)
        # The step is between the halves exactly when ten full blocks are there; three later the medians agree.
        measurement, _ = run(script_)
        assert (warm_blocks(measurement) == 12) == (blocks == 12)

    def test_one_odd_block_in_five_does_not_keep_it_going(self) -> None:
        measurement, _ = run(SHORT + noisy(*[0] * 7, 0.5, *[0] * 40))
        assert warm_blocks(measurement) == 12

    def test_it_lasts_half_a_second_even_where_flat_blocks_come_sooner(self) -> None:
        quick_blocks = Policy(block_s=0.01)
        measurement, blocks = run([CALL] * 400, quick_blocks)
        assert warm_blocks(measurement) > 50
        assert 0.5 <= warm_seconds(measurement) < 0.5 + blocks[10].seconds

    @pytest.mark.parametrize(("cold", "most"), [(False, 3.0), (True, 10.0)])
    def test_a_chip_that_keeps_slowing_down_is_kept_warming_up_to_the_limit(
        self, *, cold: bool, most: float
    ) -> None:
        """A chip that is too cold is too fast; stopping early would report that."""
        drift = [CALL * 1.001**i for i in range(400)]
        measurement, _ = run(drift, cold=cold)
        assert measurement.warm_up is not None
        assert not measurement.warm_up.flat
        assert measurement.warm_up.cold == cold
        last = measurement.warm_up.calls[-1] * measurement.warm_up.seconds_per_call[-1]
        assert warm_seconds(measurement) - last < most <= warm_seconds(measurement)
        assert "not_flat" in codes(measurement)
        (caveat,) = [one for one in measurement.warnings if one.code == "not_flat"]
        assert caveat.values == {"seconds": pytest.approx(warm_seconds(measurement))}

    def test_when_the_drift_ends_so_does_the_warm_up(self) -> None:
        drifting = 24
        drift = [CALL * 1.002 ** min(i, drifting) for i in range(200)]
        measurement, _ = run(drift)
        assert drifting + 5 < warm_blocks(measurement) <= drifting + 10
        assert measurement.samples.seconds_per_call == (drift[-1],) * 6

    def test_a_clock_that_falls_while_the_time_is_flat_keeps_it_going(self) -> None:
        falling = [1.98e9 * 0.998**i for i in range(30)]
        still, _ = run([CALL] * 200, clocks=[1.98e9] * 200)
        moving, _ = run([CALL] * 200, clocks=[*falling, *[falling[-1]] * 170])
        assert warm_blocks(still) == 12
        assert 30 < warm_blocks(moving) <= 40

    @pytest.mark.parametrize("seconds", [3e-7, 2e-5, 1e-3, 0.03, 0.7])
    def test_calls_grow_until_a_sample_lasts_its_tenth_of_a_second(self, seconds: float) -> None:
        measurement, blocks = run([seconds] * 2000)
        samples = blocks[warm_blocks(measurement) :]
        assert all(block.seconds >= 0.1 for block in samples)
        assert all(block.seconds < 0.1 * 1.06 + seconds for block in samples)
        assert {block.calls for block in samples} == {measurement.calls_per_block}
        growth = [later.calls / sooner.calls for sooner, later in pairwise(blocks)]
        assert max(growth[: warm_blocks(measurement) - 1]) <= 10

    def test_a_call_of_a_second_is_not_made_many_times_over(self) -> None:
        """One call a block, no more than the limit and six samples: an old GPU's FP64 is still measured."""
        measurement, blocks = run([1.25] * 100, Policy(cap_s=2.0))
        assert {block.calls for block in blocks} == {1}
        assert warm_blocks(measurement) == 3
        assert len(measurement.samples.seconds_per_call) == 6


# Six kept samples around 1 ms whose order statistics are easy to see.
WIDE = [0.96, 1.04, 0.97, 1.03, 0.98, 1.02, 0.99, 1.01, 0.95, 1.05]
WARM = [CALL] * 12


class TestSampling:
    def test_the_median_and_its_interval_to_the_last_digit(self) -> None:
        measurement, _ = run([*WARM, 0.001002, 0.000999, 0.001001, 0.000998, 0.001, 0.001003])
        assert measurement.stop == "precision"
        summary = reduce(measurement).summary
        assert summary is not None
        assert summary.median == (0.001 + 0.001001) / 2
        # In millionths from the mean 1000.5: 1.5 -1.5 0.5 -2.5 -0.5 2.5, products -2.25 -0.75 -1.25 1.25 -1.25,
        # squares 17.5; so r = -4.25 / 17.5, its bias is 1/6, and 1.645 standard errors more are not excluded.
        rho = -4.25 / 17.5 + 1 / 6 + 1.645 / math.sqrt(6)
        wider = math.sqrt((1 + rho) / (1 - rho))
        ends = [0.0010005 * (end / 0.0010005) ** wider for end in (0.000998, 0.001003)]  # smallest and largest
        assert summary.interval == pytest.approx(ends, rel=1e-12)
        assert summary.n == 6

    @pytest.mark.parametrize(("spread", "stop"), [(0.0049, "precision"), (0.0051, "time_cap")])
    def test_half_a_per_cent_is_where_precision_is_reached(self, spread: float, stop: str) -> None:
        noise = [-spread, spread] * 100  # every interval of an even number reaches from one to the other
        measurement, _ = run(WARM + noisy(*noise), Policy(cap_s=0.7))
        assert measurement.stop == stop

    def test_the_cap_ends_it_with_the_interval_still_wide(self) -> None:
        wide = [CALL * value for value in islice(cycle(WIDE), 100)]
        measurement, blocks = run(WARM + wide, Policy(cap_s=2.0))
        seconds = list(accumulate(block.seconds for block in blocks[12:]))
        assert measurement.stop == "time_cap"
        assert seconds[-2] < 2.0 <= seconds[-1]
        half_width = summarise(measurement.samples.seconds_per_call).half_width
        assert half_width is not None
        assert half_width > POLICY.target

    def test_the_cap_never_leaves_fewer_than_six(self) -> None:
        wide = [CALL * value for value in islice(cycle(WIDE), 100)]
        measurement, _ = run(WARM + wide, Policy(cap_s=0.2))
        assert measurement.stop == "time_cap"
        assert len(measurement.samples.seconds_per_call) == 6

    @pytest.mark.parametrize("kept", [1, 5, 6])
    def test_a_backend_without_more_blocks_says_exhausted(self, kept: int) -> None:
        wide = [CALL * value for value in WIDE[:kept]]
        measurement, _ = run(WARM + wide)
        assert measurement.stop == "exhausted"
        assert measurement.samples.seconds_per_call == tuple(wide)
        summary = reduce(measurement).summary
        assert summary is not None
        assert (summary.interval is None) == (kept < 6)

    @pytest.mark.parametrize("blocks", [0, 5])
    def test_no_sample_at_all_is_a_failure_not_a_rate(self, blocks: int) -> None:
        measurement, _ = run([CALL] * blocks)
        assert measurement.stop == "failed"
        assert not measurement.passed
        assert measurement.failure == "the backend gave no samples"

    @pytest.mark.parametrize("policy", [Policy(cap_s=3.0, least_s=1.0), fitted(2, 30.0)], ids=["ten", "cpu"])
    def test_a_slow_drift_is_called_dependent_and_never_precise(self, policy: Policy) -> None:
        """Its interval would be narrow enough: 0.1 % from end to end."""
        samples = [CALL * (1 + 1e-5 * i) for i in range(100)]
        measurement, _ = run(WARM + samples, policy)
        assert measurement.stop == "time_cap"
        summary = summarise(measurement.samples.seconds_per_call)
        (caveat,) = [one for one in measurement.warnings if one.code == "autocorrelated"]
        assert caveat.values == {"effective": round(summary.effective, 1), "n": float(summary.n)}
        assert summary.effective < 6
        assert summary.half_width is not None
        assert summary.half_width < POLICY.target

    @pytest.mark.parametrize(("count", "plain"), [(6, 2.5e-5), (7, 3e-5), (9, 3e-5)])
    def test_fewer_than_ten_that_drift_are_called_so_and_never_precise(self, count: int, plain: float) -> None:
        """As of any so few, their interval is 6.2 times as wide, which would still be precise."""
        drift = WARM + [CALL * (1 + 1e-5 * i) for i in range(100)]
        measurement, _ = run(drift, Policy(cap_s=0.1 * count))
        assert (measurement.stop, len(measurement.samples.seconds_per_call)) == ("time_cap", count)
        assert codes(measurement) == ["autocorrelated"]
        summary = summarise(measurement.samples.seconds_per_call)
        assert summary.half_width == pytest.approx(6.245 * plain, rel=1e-3)

    def test_two_speeds_are_called_bimodal(self) -> None:
        measurement, _ = run(WARM + noisy(*[0, 0.1] * 100), Policy(cap_s=2.0))
        assert "bimodal" in codes(measurement)

    def test_outliers_are_counted_and_kept(self) -> None:
        noise = [0.001, -0.001, 0.0012, 9.0, -0.0012, 0.001, 5.0, -0.0011, 0.0009, -0.001]
        measurement, _ = run(WARM + noisy(*noise * 4), Policy(cap_s=3.0))
        (caveat,) = [one for one in measurement.warnings if one.code == "outliers"]
        kept = measurement.samples.seconds_per_call
        assert caveat.values["n"] == len(kept)
        assert caveat.values["count"] == sum(value > 2 * CALL for value in kept) >= 2

    def test_a_quiet_cell_has_no_warning(self) -> None:
        assert run(STEADY)[0].warnings == ()

    def test_a_failed_check_is_kept_with_its_samples_and_does_not_pass(self) -> None:
        measurement = measure(SpiedTask(script(check=FAILED)), CELL, POLICY)
        assert measurement.check == FAILED
        assert len(measurement.samples.seconds_per_call) == 6
        assert not measurement.passed

    @pytest.mark.parametrize("value", [0.0, -1e-3, math.nan, math.inf])
    @pytest.mark.parametrize("before", [0, 5, 14])
    def test_a_clock_that_talks_nonsense_is_a_lost_device(self, value: float, before: int) -> None:
        with pytest.raises(BackendUnavailable, match="clock") as raised:
            run([CALL] * before + [value] + [CALL] * 40)
        assert "\n" not in str(raised.value)


class TestLeastTime:
    @pytest.mark.parametrize("least_s", [0.0, 0.5, 0.62, 0.64, 1.5, 3.0])
    def test_what_is_precise_at_once_is_sampled_for_the_least_time_and_no_longer(self, least_s: float) -> None:
        measurement, blocks = run([CALL] * 200, Policy(least_s=least_s))
        seconds = list(accumulate(block.seconds for block in blocks[12:]))
        assert measurement.stop == "precision"
        assert len(seconds) >= 6
        assert seconds[-1] >= least_s
        assert len(seconds) == 6 or seconds[-2] < least_s

    def test_the_second_speed_is_seen_if_it_comes_within_it(self) -> None:
        """For 1.5 s the one, then for 1.5 s another 10 % slower: six blocks saw the first alone."""
        turns = noisy(*([0.0] * 15 + [0.1] * 15) * 9)
        hasty, _ = run(WARM + turns, Policy())
        patient, _ = run(WARM + turns, Policy(least_s=3.0))
        assert (hasty.stop, codes(hasty)) == ("precision", [])
        assert patient.stop == "time_cap"
        assert {"autocorrelated", "bimodal"} <= {*codes(patient)}
        (caveat,) = [one for one in patient.warnings if one.code == "autocorrelated"]
        summary = summarise(patient.samples.seconds_per_call)
        assert caveat.values == {"effective": round(summary.effective, 1), "n": float(summary.n)}
        assert 1 < summary.effective < 6

    def test_the_cap_ends_it_all_the_same(self) -> None:
        wide = [CALL * value for value in islice(cycle(WIDE), 100)]
        measurement, _ = run(WARM + wide, Policy(cap_s=1.0, least_s=3.0))
        assert measurement.stop == "time_cap"
        assert len(measurement.samples.seconds_per_call) == 10

    def test_a_record_of_before_it_replays_by_the_rule_of_its_time(self, tmp_path: Path) -> None:
        """Whose policy knew no least time: six blocks were enough then, and are in the replay."""
        first, _ = run([CALL] * 200)
        head = msgspec.to_builtins(header([CELL]))
        head["schema"] = 2
        del head["policy"]["least_s"]
        path = tmp_path / "old.jsonl"
        path.write_bytes(msgspec.json.encode(head) + b"\n" + encode_line(first))
        lines = read_lines(path)
        again = measure(replay_backend(lines).prepare(CELL, 0), CELL, lines.header.policy)
        assert again == first
        assert (again.stop, len(again.samples.seconds_per_call)) == ("precision", 6)
        now = measure(SpiedTask(script([CALL] * 200)), CELL, fitted(2, 30.0))
        assert (now.stop, len(now.samples.seconds_per_call)) == ("precision", 29)


# Levels near each other, so that some scripts become flat, some precise and some neither; and wild ones.
SECONDS = st.lists(st.sampled_from([1e-3, 1.001e-3, 1.0035e-3, 1.02e-3, 2e-3]), max_size=120) | st.lists(
    st.floats(1e-5, 0.2), max_size=60
)
CLOCKS = st.lists(st.none() | st.sampled_from([1.9e9, 1.8e9]), max_size=40)
SHORT_CAP = Policy(cap_s=1.0)


def replayed(measurement: Measurement, policy: Policy) -> Measurement:
    backend = replay_backend(Lines(header([CELL]), (measurement,), 0, None, 0))
    return measure(backend.prepare(CELL, 0), CELL, policy)


class TestDecisions:
    @given(seconds=SECONDS, cold=st.booleans())
    def test_every_block_is_kept_in_order(self, *, seconds: list[float], cold: bool) -> None:
        measurement, blocks = run(seconds, SHORT_CAP, cold=cold)
        assert measurement.warm_up is not None
        kept = [*measurement.warm_up.seconds_per_call, *measurement.samples.seconds_per_call]
        assert kept == [block.seconds_per_call for block in blocks] == seconds[: len(kept)]

    @given(seconds=SECONDS, clocks=CLOCKS, cold=st.booleans())
    def test_a_replay_of_a_measurement_is_that_measurement(
        self, *, seconds: list[float], clocks: list[float | None], cold: bool
    ) -> None:
        """Decisions depend on the blocks alone, and the record holds all of them."""
        first, _ = run(seconds, SHORT_CAP, clocks=clocks[: len(seconds)], cold=cold)
        if first.stop != "failed":
            assert replayed(first, SHORT_CAP) == first

    def test_a_replay_follows_the_clock_too(self) -> None:
        falling = [1.98e9 * 0.998**i for i in range(30)]
        first, _ = run([CALL] * 200, clocks=[*falling, *[falling[-1]] * 170])
        assert warm_blocks(first) > 30
        assert replayed(first, POLICY) == first

    @given(SECONDS, st.sampled_from([0.0, 0.3, 0.8, 0.95]))
    def test_the_stop_that_fired_is_true(self, seconds: list[float], least_s: float) -> None:
        policy = Policy(cap_s=1.0, least_s=least_s)
        measurement, blocks = run(seconds, policy)
        kept = measurement.samples.seconds_per_call
        spent = sum(block.seconds for block in blocks[warm_blocks(measurement) :])
        match measurement.stop:
            case "precision":
                half_width = summarise(kept).half_width
                assert half_width is not None
                assert half_width <= policy.target
                assert not summarise(kept).autocorrelated
                assert spent >= policy.least_s
                assert len(kept) >= 6
            case "time_cap":
                assert spent >= policy.cap_s
                assert len(kept) >= 6
            case _:
                assert len(blocks) == len(seconds)

    def test_blocks_are_told_as_they_end(self) -> None:
        told: list[float] = []
        task = SpiedTask(script())
        measure(task, CELL, POLICY, on_block=told.append)
        assert told == [block.seconds for block in task.blocks]


class TestFitted:
    @pytest.mark.parametrize("budget", [8.0, 30.0])
    def test_two_cells_fit_the_budget_at_the_longest(self, budget: float) -> None:
        policy = fitted(2, budget)
        longest = policy.longest_s(None, cold=True) + policy.longest_s(None, cold=False)
        assert 0.75 * budget < longest <= budget

    @given(st.integers(1, 400), st.sampled_from([8.0, 30.0, 60.0]))
    def test_many_cells_never_get_less_than_six_blocks_and_a_warm_up(self, cells: int, budget: float) -> None:
        policy = fitted(cells, budget)
        assert policy.cap_s >= 6 * 1.05 * policy.block_s
        assert policy.warm_up_least_s < policy.warm_up_most_s <= policy.cold_warm_up_most_s
        assert policy.warm_up_most_s <= 3.0
        assert policy.cold_warm_up_most_s <= 10.0

    @given(st.integers(1, 10), st.sampled_from([8.0, 30.0, 60.0]))
    def test_more_cells_never_get_more_room_each(self, cells: int, budget: float) -> None:
        assert fitted(cells + 1, budget).cap_s <= fitted(cells, budget).cap_s

    @given(st.integers(1, 400), st.floats(8.0, 600.0), st.sampled_from([0.0, 1.3]))
    def test_the_least_time_is_three_seconds_or_a_third_of_the_cap(
        self, cells: int, budget: float, overhead_s: float
    ) -> None:
        policy = fitted(cells, budget, overhead_s=overhead_s)
        assert policy.least_s == round(min(3.0, policy.cap_s / 3), 2)
        assert 0.25 < policy.least_s < policy.cap_s

    def test_the_least_times_of_the_usual_runs(self) -> None:
        runs = fitted(2, 30.0), fitted(14, 60.0, overhead_s=1.3), fitted(2, 8.0)
        assert [(one.cap_s, one.least_s) for one in runs] == [(9.25, 3.0), (1.21, 0.4), (2.0, 0.67)]

    def test_unless_fitted_there_is_no_least_time(self) -> None:
        assert Policy().least_s == 0

    def test_no_budget_changes_how_precise_or_how_flat(self) -> None:
        quick, long = fitted(3, 8.0), fitted(3, 60.0)
        assert (quick.target, quick.flat, quick.block_s) == (long.target, long.flat, long.block_s)
        assert (long.target, long.flat, long.block_s) == (0.005, 0.003, 0.1)


def test_the_same_blocks_give_the_same_measurement() -> None:
    noise = noisy(*[0.001, -0.002, 0.0015, 0.004, -0.004, 0.003] * 20)
    first, second = run(WARM + noise)[0], run(WARM + noise)[0]
    assert first == second
    assert reduce(first) == reduce(second)

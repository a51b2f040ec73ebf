"""A machine that stands still, a GPU that throttles, two speeds: what is said, and that no verdict rests on it."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.analysis.estimates import drawn_power, measured_rate
from bench.analysis.verdict import judge, margins_of, taint
from bench.devices.base import Caveat, Spread, Telemetry
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP, REASONS
from bench.devices.replay import Call, Script
from bench.measure.loop import measure
from bench.measure.measurement import Measurement
from bench.measure.noticed import odd_sensors, step
from bench.measure.policy import Policy
from bench.records.record import Lines, reduce
from bench.report.wording import sentence
from bench.run.replaying import replay_backend
from bench.stats import Interval
from bench.workloads import gemm
from bench.workloads.base import Cell
from tests.command import chipbench
from tests.support import CELLS, PASSED, SpiedTask, header, measurement, write_record

CALL: Final = 1e-3
CALLS: Final = 106  # in a block
HZ: Final = 1.98e9
WARM: Final = [CALL] * 12
NOISE: Final = (0.0, 0.002, -0.002, 0.001, -0.001)
QUIET: Final = Telemetry(
    readings=40,
    seconds=2.0,
    sm_clock_hz=Spread(least=1.9e9, median=HZ, most=HZ),
    power_w=Spread(least=690.0, median=700.0, most=701.0),
    temperature_c=Spread(least=50.0, median=60.0, most=61.0),
    energy_j=2800.0,
    energy_s=4.0,
    event_reasons={POWER_CAP: 1.0},
)


def gpu_cell(regime: str = "steady") -> Cell:
    (made,) = gemm.cells(["bf16"], [gemm.square(64)], library="cublaslt", l2="rotate", regime=regime)
    return made


class OnGpu(SpiedTask):
    """Scripted blocks beside sensors that say what they are told."""


def noisy(levels: Iterable[float]) -> list[float]:
    return [level * (1 + NOISE[index % len(NOISE)]) for index, level in enumerate(levels)]


def measured(
    seconds: Sequence[float],
    *,
    clocks: Sequence[float] | None = None,
    telemetry: Telemetry | None = None,
    policy: Policy | None = None,
    cell: Cell = CELLS[0],
) -> Measurement:
    """Measure a cell whose samples take `seconds` a call, at these clocks, after a steady warm-up."""
    patient = Policy(cap_s=1e6, least_s=1e6)
    held: Sequence[float | None] = clocks or [None] * len(seconds)
    warm = [Call(CALL, sm_clock_hz=clocks[0] if clocks else None) for _ in WARM]
    calls = [
        Call(value, sm_clock_hz=hertz, cycles=None if hertz is None else value * hertz)
        for value, hertz in zip(seconds, held, strict=True)
    ]
    return measure(OnGpu(Script([*warm, *calls], check=PASSED, telemetry=telemetry)), cell, policy or patient)


def codes(of: Measurement) -> list[str]:
    return [caveat.code for caveat in of.warnings]


def said(of: Measurement, code: str) -> str:
    (caveat,) = (one for one in of.warnings if one.code == code)
    return sentence(caveat)


def why_no_verdict(of: Measurement) -> str | None:
    """Return why nothing is faster or slower than this, though twice as fast as that."""
    rate = measured_rate(reduce(of))
    assert rate is not None
    assert rate.interval is not None
    interval = Interval(2 * rate.interval.lo, 2 * rate.interval.hi)
    other = rate._replace(rate=2 * rate.rate, interval=interval, each=(2 * rate.rate,), caveats=frozenset())
    finding = judge(rate, other, margins_of("gpu"))
    assert (finding.verdict == "can't tell") == (taint(rate) is not None)
    return taint(rate)


class TestThrottling:
    @pytest.mark.parametrize("n", [8, 9, 12, 30, 90])
    def test_a_clock_that_drops_by_30_per_cent_half_way_is_said_and_gets_no_verdict(self, n: int) -> None:
        """Cycles per call are the same before and after: it is the clock, and not other work."""
        clocks = [HZ] * (n // 2) + [0.7 * HZ] * (n - n // 2)
        found = measured([CALL * HZ / hertz for hertz in noisy(clocks)], clocks=noisy(clocks))
        text = said(found, "stepped")
        assert text.startswith(f"after {n // 2} of {n} blocks a call took 43 % longer")
        assert re.search(r"as the clock went from 1\.98\d GHz to 1\.38\d GHz", text)
        assert "stands for neither speed" in text
        assert "measure again" in text
        assert why_no_verdict(found) == "stepped"
        assert "bimodal" not in codes(found), "the step says it"

    def test_other_work_that_began_half_way_is_told_from_it_by_the_cycles(self) -> None:
        found = measured(noisy([CALL] * 10 + [1.4 * CALL] * 10), clocks=[HZ] * 20)
        assert "in clock cycles too, so other work began" in said(found, "stepped")
        assert why_no_verdict(found) == "stepped"

    def test_without_a_clock_both_are_named(self) -> None:
        found = measured(noisy([CALL] * 10 + [1.4 * CALL] * 10))
        assert "by another clock (heat, power) or other work" in said(found, "stepped")

    def test_a_clock_that_rises_half_way_is_one_too(self) -> None:
        clocks = [0.7 * HZ] * 10 + [HZ] * 10
        found = measured([CALL * HZ / hertz for hertz in noisy(clocks)], clocks=noisy(clocks))
        assert "a call took 30 % less time, as the clock went from 1.386 GHz to 1.980 GHz" in said(
            found, "stepped"
        )

    def test_at_the_very_end_the_rate_is_that_of_what_was_before_and_stands(self) -> None:
        clocks = [HZ] * 27 + [0.7 * HZ] * 3
        found = measured([CALL * HZ / hertz for hertz in noisy(clocks)], clocks=noisy(clocks))
        assert said(found, "stepped").startswith("after 27 of 30 blocks a call took 43 % longer")
        assert said(found, "stepped").endswith("the median is that of the longer part")
        rate = measured_rate(reduce(found))
        assert rate is not None
        assert "stepped" not in rate.caveats
        assert rate.rate == pytest.approx(CELLS[0].flop / CALL, rel=2e-3)

    def test_a_slow_drift_is_no_step_and_gets_no_verdict_either(self) -> None:
        clocks = [HZ * (1 - 0.001 * index) for index in range(60)]
        found = measured([CALL * HZ / hertz for hertz in clocks], clocks=clocks)
        assert "stepped" not in codes(found)
        assert why_no_verdict(found) == "autocorrelated"
        assert "a slow drift" in said(found, "autocorrelated")

    def test_swings_within_the_power_limit_are_no_step(self) -> None:
        """As of an H200 in FP8, up and down by 8 % every second or so."""
        clocks = [HZ * (1 + 0.04 * (-1) ** (index // 5)) for index in range(60)]
        found = measured([CALL * HZ / hertz for hertz in clocks], clocks=clocks)
        assert "stepped" not in codes(found)

    def test_a_step_that_moves_no_verdict_is_not_told(self) -> None:
        assert step([1.0] * 10 + [1.029] * 10) is None
        assert step([1.0] * 10 + [1.031] * 10) is not None

    @pytest.mark.parametrize("samples", [[1.0] * 20, [1.0] * 5, [], [1.0] * 9 + [2.0], [2.0] + [1.0] * 9])
    def test_nothing_or_one_block_is_no_step(self, samples: list[float]) -> None:
        assert step(samples) is None

    def test_a_step_is_found_where_it_is_and_scales_with_the_unit(self) -> None:
        found = step([3e-5] * 4 + [6e-5] * 3)
        assert found is not None
        assert (found.at, found.before, found.after, found.ratio) == (4, 3e-5, 6e-5, 2.0)


class TestTwoSpeeds:
    def test_speeds_that_take_turns_are_said_and_get_no_verdict(self) -> None:
        found = measured(noisy([CALL, CALL, 1.2 * CALL] * 10))
        assert "two different speeds took turns" in said(found, "bimodal")
        assert "stepped" not in codes(found)
        assert why_no_verdict(found) == "bimodal"


class TestStandingStill:
    def test_a_block_in_which_the_process_was_suspended_is_said_and_harms_no_median(self) -> None:
        """For an hour, by perf_counter: its block is of an hour, and all others are as they were."""
        seconds = noisy([CALL] * 20)
        seconds[7] += 3600 / CALLS
        found = measured(seconds)
        assert codes(found) == ["stalled"], "the outlier is that"
        assert "in one block nothing ran for 1 h 0 min of the 1 h 0 min that were sampled, most of it" in said(
            found, "stalled"
        )
        assert "do not suspend a run, and measure again" in said(found, "stalled")
        assert reduce(found).summary is not None
        assert measured_rate(reduce(found)).rate == pytest.approx(CELLS[0].flop / CALL, rel=2e-3)  # type: ignore[union-attr]

    def test_a_cell_that_was_mostly_suspended_gets_no_verdict(self) -> None:
        """The time cap was reached asleep, after the least number of blocks."""
        seconds = noisy([CALL] * 20)
        seconds[2] += 3600 / CALLS
        found = measured(seconds, policy=Policy())
        assert (found.stop, len(found.samples.seconds_per_call)) == ("time_cap", 6)
        assert "most of it" in said(found, "stalled")
        assert why_no_verdict(found) == "stalled"

    def test_a_short_stop_of_a_long_cell_leaves_its_verdict(self) -> None:
        seconds = noisy([CALL] * 60)
        seconds[7] += 1.5 / CALLS
        found = measured(seconds)
        assert "for 1.5 s of the 7.9 s" in said(found, "stalled")
        assert why_no_verdict(found) is None

    def test_a_sustained_load_that_was_mostly_sleep_gets_no_verdict(self) -> None:
        cell = gpu_cell("sustained:30")
        seconds = noisy([CALL] * 400)
        seconds[150] += 25 / CALLS
        found = measured(seconds, policy=Policy(settled_window_s=0.6), cell=cell)
        assert found.stop == "duration"
        assert why_no_verdict(found) == "stalled"

    @pytest.mark.parametrize("pause_s", [0.1, 0.9])
    def test_what_a_scheduler_does_to_a_block_is_no_standstill(self, pause_s: float) -> None:
        seconds = noisy([CALL] * 20)
        seconds[7] += pause_s / CALLS
        assert "stalled" not in codes(measured(seconds))

    def test_a_call_of_many_seconds_is_none(self) -> None:
        """Blocks of one call of 20 s, that differ by 10 s: more than a second, and nothing like twice as long."""
        seconds = [20.0 + 10.0 * (index % 2) for index in range(20)]
        script = Script([Call(value, calls=1) for value in seconds], check=PASSED)
        found = measure(SpiedTask(script), CELLS[0], Policy(cap_s=150.0))
        assert "stalled" not in codes(found)

    def test_on_a_gpu_the_window_of_the_sensors_shows_it(self) -> None:
        """Events do not count it: blocks are as ever, and the sensors watched an idle GPU for ten minutes."""
        found = measured(
            noisy([CALL] * 20), telemetry=msgspec.structs.replace(QUIET, seconds=602.1, energy_s=602.0)
        )
        assert "for 10 min of the 10 min that the sensors were watched no block ran" in said(found, "idle_window")
        reading = reduce(found)
        assert drawn_power(reading) is None, "7 W on average is not what it drew"
        assert why_no_verdict(found) is None, "a median of blocks is not touched by what was between them"

    def test_a_load_that_was_to_be_sustained_is_touched_by_it(self) -> None:
        telemetry = msgspec.structs.replace(QUIET, seconds=60.0)
        cell = gpu_cell("sustained:2")
        found = measured(noisy([CALL] * 60), telemetry=telemetry, policy=Policy(settled_window_s=0.6), cell=cell)
        assert why_no_verdict(found) == "stalled"

    def test_the_rests_of_bursts_are_none(self) -> None:
        telemetry = msgspec.structs.replace(QUIET, seconds=20 * 2.1)
        found = measured(
            noisy([CALL] * 20),
            telemetry=telemetry,
            cell=gpu_cell("burst"),
            policy=Policy(cap_s=42.0, least_s=42.0),
        )
        assert codes(found) == []


ODD: Final[dict[str, tuple[Mapping[str, Any], str]]] = {
    "0 W": ({"power_w": Spread(least=0.0, median=0.0, most=0.0), "energy_j": None, "energy_s": None}, "0 W"),
    "0 MHz": ({"sm_clock_hz": Spread(least=0.0, median=0.0, most=0.0)}, "a clock of 0 Hz"),
    "0 °C": ({"temperature_c": Spread(least=0.0, median=0.0, most=0.0)}, "0 °C"),
    "255 °C": ({"temperature_c": Spread(least=50.0, median=60.0, most=255.0)}, "255 °C"),
    "a counter that stands still": ({"energy_j": 0.0}, "0 W by the energy counter"),
    "a counter of other units": ({"energy_j": 2.8e6}, "700000 W by the energy counter"),
    "two powers": ({"energy_j": 400.0}, "100 W by the energy counter, 700 W"),
    "all reasons": (
        {"event_reasons": dict.fromkeys([*REASONS, "bit_11"], 1.0)},
        "idle and over its power at once in 100 % of the readings",
    ),
}


class TestSensorsThatLie:
    @pytest.mark.parametrize(("change", "text"), ODD.values(), ids=ODD)
    def test_what_cannot_be_is_said_and_nothing_is_derived_from_it(
        self, change: Mapping[str, Any], text: str
    ) -> None:
        clocks = [HZ] * 20
        found = measured(noisy([CALL] * 20), clocks=clocks, telemetry=msgspec.structs.replace(QUIET, **change))
        assert codes(found) == ["sensors_odd"], "and nothing else, as nothing else is to be explained"
        assert f"cannot be of a device at work ({text})" in said(found, "sensors_odd")
        reading = reduce(found)
        assert reading.sm_clock_hz == HZ, "efficiencies at the clock are of the one that was counted"
        watts = drawn_power(reading)
        assert watts is None or watts == pytest.approx(700.0), "as the other sensor says"
        rate = measured_rate(reading)
        assert rate is not None
        reasons = {*FAULTS, POWER_CAP} & rate.caveats
        assert reasons <= ({POWER_CAP} if "event_reasons" not in change else set())

    def test_a_device_at_work_is_not_suspected(self) -> None:
        assert codes(measured(noisy([CALL] * 20), clocks=[HZ] * 20, telemetry=QUIET)) == []

    def test_power_that_both_sensors_deny_is_unknown(self) -> None:
        silent = Spread(least=0.0, median=0.0, most=0.0)
        found = measured(
            noisy([CALL] * 20), telemetry=msgspec.structs.replace(QUIET, power_w=silent, energy_j=0.0)
        )
        assert drawn_power(reduce(found)) is None

    def test_one_wrong_reading_of_many_is_said_and_the_median_still_taken(self) -> None:
        once = Spread(least=0.0, median=700.0, most=701.0)
        found = measured(noisy([CALL] * 20), telemetry=msgspec.structs.replace(QUIET, power_w=once, energy_j=None))
        assert codes(found) == ["sensors_odd"]

    def test_a_silent_sensor_is_not_an_odd_one(self) -> None:
        assert odd_sensors(None) == odd_sensors(Telemetry(readings=0, seconds=1.0, lost="gone")) == {}


class TestReplays:
    @pytest.mark.parametrize("telemetry", [None, msgspec.structs.replace(QUIET, seconds=602.1, energy_j=0.0)])
    def test_a_replay_notices_the_same_once(self, telemetry: Telemetry | None) -> None:
        clocks = [HZ] * 10 + [0.7 * HZ] * 10
        seconds = [CALL * HZ / hertz for hertz in clocks]
        seconds[3] += 1.5 / CALLS
        policy = Policy(cap_s=4.0, least_s=4.0)
        first = measured(seconds, clocks=clocks, telemetry=telemetry, policy=policy, cell=gpu_cell())
        assert {"stalled", "stepped"} <= {*codes(first)}
        lines = Lines(header([gpu_cell()], policy=policy), (first,), 0, None, 0)
        again = measure(replay_backend(lines).prepare(gpu_cell(), 0), gpu_cell(), policy)
        assert again.warnings == first.warnings


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, Path]]:
    """Two records, the second four times as fast, with a warning."""
    monkeypatch.chdir(tmp_path)

    def write(caveat: Caveat) -> tuple[Path, Path]:
        paths = []
        for index, (factor, caveats) in enumerate([(1.0, ()), (0.25, (caveat,))]):
            one = measurement(CELLS[0], [factor * 1e-3 * value for value in (1.0, 1.01, 0.99, 1.0, 1.02, 0.98)])
            head = header(CELLS[:1], ident=f"0000000{index}")
            made = msgspec.structs.replace(one, warnings=caveats)
            paths.append(write_record(tmp_path / "results", head, [made]))
        return paths[0], paths[1]

    return write


VALUES: Final[dict[str, tuple[dict[str, float | str], str]]] = {
    "stalled": ({"blocks": 1.0, "n": 6.0, "seconds": 3600.0, "of": 3601.0}, "it mostly stood still"),
    "stepped": ({"at": 3.0, "n": 6.0, "ratio": 1.43}, "its speed changed while it ran"),
}


class TestCompared:
    @pytest.mark.parametrize("code", VALUES)
    def test_compare_says_cant_tell_and_why(self, code: str, records: Callable[..., tuple[Path, Path]]) -> None:
        values, why = VALUES[code]
        a, b = records(Caveat(code=code, values=values))
        answer = chipbench("compare", a, b)
        assert answer.code == 0
        assert f"can't tell: {why}" in answer.text
        assert "measure" in answer.text
        (row,) = json.loads(chipbench("compare", a, b, "--format", "json").out)["rows"]
        assert (row["sides"][1]["verdict"], row["sides"][1]["reason"]) == ("can't tell", code)

    def test_what_bears_on_no_median_leaves_the_verdict(self, records: Callable[..., tuple[Path, Path]]) -> None:
        a, b = records(Caveat(code="stalled", values={"blocks": 1.0, "n": 6.0, "seconds": 1.5, "of": 9.0}))
        assert "faster" in chipbench("compare", a, b).text

    def test_the_table_of_a_replay_shows_what_its_record_holds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        slept = Caveat(code="slept", values={"seconds": 3 * 3600.0})
        one = msgspec.structs.replace(measured(noisy([CALL] * 20)), warnings=(slept,))
        path = write_record(tmp_path, header(CELLS[:1]), [one])
        text = chipbench("run", "--backend", "replay", "--from", path).text
        assert "fp32 64³: this machine slept for 3 h 0 min while it ran" in text

"""Of a load sustained for a day every sample is on disk, and no more are in memory than of half an hour."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.replay import Call, Script
from bench.measure.condensing import MOST, Condenser, joined
from bench.measure.measurement import Measurement, Samples
from bench.measure.policy import Policy
from bench.records.record import read_lines, read_record
from bench.report.wording import sentence
from bench.run.replaying import replay_backend
from bench.run.session import Outcome, run_plan
from bench.stats import summarise
from bench.workloads import gemm
from bench.workloads.base import Cell
from tests.support import PASSED, MeasuringBackend, header, saved, silent

(LONG,) = gemm.cells(["fp32"], [gemm.square(64)], library="numpy.matmul", l2="hot", regime="sustained:250")
POLICY: Final = Policy(
    block_s=0.009, warm_up_most_s=3.0, cold_warm_up_most_s=3.0, settled_window_s=2.0, settle_most_s=6.0
)
SECONDS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)


def of(seconds: Sequence[float], **columns: Sequence[float]) -> Samples:
    return Samples(seconds_per_call=tuple(seconds), **{name: tuple(values) for name, values in columns.items()})


def condensed(parts: Sequence[Samples], most: int) -> Condenser:
    condenser = Condenser(most)
    for part in parts:
        condenser.add(part)
    return condenser


class TestCondenser:
    @given(SECONDS, st.integers(1, 10).map(lambda half: 2 * half))
    def test_never_as_many_are_held_as_may_be_and_at_least_half_of_that(
        self, seconds: list[float], most: int
    ) -> None:
        condenser = Condenser(most)
        for count, value in enumerate(seconds, start=1):
            condenser.add(of([value]))
            held = len(condenser.samples.seconds_per_call)
            assert condenser.count == count
            assert held < most
            assert held >= (most // 2 if count >= most else count)
            assert held == count // condenser.together

    @given(SECONDS, st.integers(1, 10).map(lambda half: 2 * half))
    def test_each_that_is_held_is_the_mean_of_so_many_consecutive_ones(
        self, seconds: list[float], most: int
    ) -> None:
        condenser = condensed([of(seconds, power_w=[2 * value for value in seconds])], most)
        size = condenser.together
        wanted = [fmean(seconds[start : start + size]) for start in range(0, len(seconds) - size + 1, size)]
        assert condenser.samples.seconds_per_call == pytest.approx(wanted)
        assert condenser.samples.power_w == pytest.approx([2 * value for value in wanted])
        assert size & (size - 1) == 0

    @given(SECONDS, st.lists(st.integers(0, 40), max_size=4), st.integers(1, 10).map(lambda half: 2 * half))
    def test_it_does_not_matter_in_which_parts_they_come(
        self, seconds: list[float], cuts: list[int], most: int
    ) -> None:
        ends = sorted(min(cut, len(seconds)) for cut in cuts)
        parts = [of(seconds[start:end]) for start, end in zip([0, *ends], [*ends, len(seconds)], strict=True)]
        assert condensed(parts, most).samples == condensed([of(seconds)], most).samples

    def test_as_few_as_may_be_held_are_left_as_they_are(self) -> None:
        seconds = [1.0 + i / 8 for i in range(15)]
        few = condensed([of(seconds)], 16)
        assert few.samples.seconds_per_call == tuple(seconds)
        assert (few.together, few.caveats()) == (1, ())
        assert condensed([of([*seconds, 9.0])], 16).together == 2

    def test_a_column_that_some_lack_is_gone_for_good(self) -> None:
        parts = [of([1.0], power_w=[5.0]), of([2.0]), of([3.0], power_w=[6.0])]
        assert condensed(parts, 16).samples == joined(parts) == of([1.0, 2.0, 3.0])

    def test_that_means_were_taken_is_told(self) -> None:
        (caveat,) = condensed([of([1.0] * 40)], 16).caveats()
        assert (
            sentence(caveat)
            == "the record has 40 blocks; the statistics are those of the means of 4 consecutive ones each"
        )

    def test_one_that_failed_at_its_end_keeps_no_samples(self) -> None:
        failed = Measurement(cell=LONG, stop="failed", failure="lost")
        assert condensed([of([1.0])], 16).whole(failed) == failed


def calls(cell: Cell) -> Script:
    """Return blocks of one call, of a little over 10 ms and all unlike their neighbours."""
    assert cell == LONG
    made = [Call(0.01 + (i * 7919 % 1000) / 1e8, power_w=300.0 + i % 2) for i in range(27_000)]
    return Script(made, check=PASSED)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    backend = MeasuringBackend({LONG: calls(LONG)})
    results = tmp_path_factory.mktemp("long")
    return run_plan(backend, header([LONG], policy=POLICY), results=results, on_event=silent)


class TestLongLoad:
    """A load of 250 seconds and some 25,000 blocks, of which 16,383 are held at most."""

    def test_a_reader_sees_what_the_run_told(self, outcome: Outcome) -> None:
        assert outcome.stopped_by is None
        assert read_record(saved(outcome)).readings == outcome.readings

    def test_every_sample_is_in_the_file_in_its_order(self, outcome: Outcome) -> None:
        (measurement,) = read_lines(saved(outcome), most=None).measurements
        warm_up = measurement.warm_up
        assert warm_up is not None
        taken = [*islice(calls(LONG).calls, len(warm_up.calls), None)][: len(measurement.samples.seconds_per_call)]
        assert measurement.samples.seconds_per_call == tuple(call.seconds for call in taken)
        assert measurement.calls_per_block == 1
        assert len(taken) > 24_900

    def test_the_rate_is_that_of_blocks_twice_as_long(self, outcome: Outcome) -> None:
        (every,) = read_lines(saved(outcome), most=None).measurements
        (held,) = read_lines(saved(outcome)).measurements
        seconds = every.samples.seconds_per_call
        pairs = [fmean(seconds[start : start + 2]) for start in range(0, len(seconds) - 1, 2)]
        (reading,) = outcome.readings
        assert reading.summary is not None
        assert reading.summary == summarise(held.samples.seconds_per_call)
        assert reading.summary.median == pytest.approx(median(pairs), rel=1e-12)
        assert (reading.summary.n, held.calls_per_block) == (len(seconds) // 2, 2)

    def test_that_is_said(self, outcome: Outcome) -> None:
        (reading,) = outcome.readings
        assert [caveat.values["each"] for caveat in reading.warnings if caveat.code == "taken_together"] == [2.0]

    def test_a_replay_of_it_is_the_same_to_the_last_digit(self, outcome: Outcome, tmp_path: Path) -> None:
        lines = read_lines(saved(outcome), most=None)
        backend = replay_backend(lines)
        again = run_plan(backend, msgspec.structs.replace(lines.header, id="1"), results=tmp_path, on_event=silent)
        assert again.readings == outcome.readings
        assert read_lines(saved(again), most=None).measurements == lines.measurements


# One process runs a simulated device for so many seconds, in blocks of 0.1 s; then its record is read as
# readers do. It prints how many bytes the most of its memory was, after each, and how many samples there are.
_DAY: Final = """
import os, resource, sys
from pathlib import Path
from itertools import repeat
from bench.devices.replay import Call, Script
from bench.measure.policy import Policy
from bench.records.record import read_record
from bench.run.session import run_plan
from bench.workloads import gemm
from tests.support import PASSED, MeasuringBackend, header, saved, silent

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

os.fsync = lambda _descriptor: None  # 8,640 of them are the disk's time, not memory
(cell,) = gemm.cells(
    ["fp32"], [gemm.square(64)], library="numpy.matmul", l2="hot", regime=f"sustained:{sys.argv[1]}"
)
call = Call(0.001, cycles=1.5e6, sm_clock_hz=1.5e9, power_w=400.0, temperature_c=60.0)
backend = MeasuringBackend({cell: Script(repeat(call), check=PASSED)})
outcome = run_plan(backend, header([cell], policy=Policy()), results=Path(sys.argv[2]), on_event=silent)
assert outcome.stopped_by is None
ran = most()
(reading,) = read_record(saved(outcome)).readings
assert reading == outcome.readings[0]
(caveat,) = [one for one in reading.warnings if one.code == "taken_together"]
print(ran, most(), int(caveat.values["blocks"]))
"""


def _memory_of(seconds: int, folder: Path) -> tuple[int, int, int]:
    command = [sys.executable, "-c", _DAY, str(seconds), str(folder)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    ran, read, blocks = map(int, done.stdout.split())
    return ran, read, blocks


@pytest.mark.slow
def test_a_day_takes_no_more_memory_than_an_hour(tmp_path: Path) -> None:
    """Measured on a simulated device, 823,000 blocks; what is held of an hour is full already."""
    hour, day = _memory_of(3600, tmp_path / "hour"), _memory_of(24 * 3600, tmp_path / "day")
    assert hour[2] > 2 * MOST
    assert day[2] > 20 * hour[2]
    assert day[0] - hour[0] < 3_000_000
    assert day[1] - hour[1] < 3_000_000

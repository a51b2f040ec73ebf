"""Samples that a sustained load saves while it runs count once, or not at all, wherever it is cut off."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.devices.base import Check
from bench.devices.replay import Call, ReplayTask, Script
from bench.errors import CellFailed, RecordError
from bench.measure.condensing import joined
from bench.measure.measurement import Measurement, Samples
from bench.measure.policy import Policy
from bench.records.record import Chunk, Footer, Line, Lines, Resumed, encode_line, read_lines, read_record
from bench.run import session
from bench.run.session import BlockDone, CellDone, Event, Outcome, make_header, resume, run_plan
from bench.workloads import gemm
from bench.workloads.base import Cell, Plan
from tests.support import PASSED, MeasuringBackend, header, saved, silent

Factory = pytest.TempPathFactory
TOOL: Final = "0.1.0"
LONG_S: Final = 45


def of(regime: str, size: int = 64) -> Cell:
    (made,) = gemm.cells(["fp32"], [gemm.square(size)], library="numpy.matmul", l2="hot", regime=regime)
    return made


FIRST, LONG, LAST = CELLS = (of("steady"), of(f"sustained:{LONG_S}"), of(f"sustained:{LONG_S}", 96))
# Blocks of one call of two seconds: few lines tell as much as many.
POLICY: Final = Policy(
    cap_s=1.0, warm_up_most_s=3.0, cold_warm_up_most_s=3.0, settled_window_s=2.0, settle_most_s=6.0
)
CALLS: Final = [
    Call(2.0 + i / 64, cycles=3e9 + i, sm_clock_hz=1.5e9, power_w=[0.0, 250.5][i % 2], temperature_c=60.0)
    for i in range(48)
]


def scripts() -> dict[Cell, Script]:
    return {
        FIRST: Script([Call(2.0)] * 40, check=PASSED),
        LONG: Script(CALLS, check=PASSED),
        LAST: Script([call._replace(cycles=None) for call in CALLS], check=PASSED),
    }


class Machine:
    """A device of scripts and a results folder; `begin` and `go_on` may be cut off after so many events."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.backend = MeasuringBackend(scripts())

    def begin(self, on_event: Callable[[Event], None] = silent) -> Outcome:
        plan = Plan(workload="gemm", cells=CELLS)
        head = make_header(self.backend, plan, POLICY, tool=TOOL, results=self.results, identify=False)
        head = msgspec.structs.replace(head, id="0a1b2c3d", started="2026-01-02T03:04:05Z")
        return run_plan(self.backend, head, results=self.results, on_event=on_event)

    def go_on(self, path: Path, on_event: Callable[[Event], None] = silent) -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "open_backend", lambda _name, _index: self.backend)
            return resume(path, tool=TOOL, on_event=on_event)


def cut_off(after: int) -> Callable[[Event], None]:
    """Return a watcher that interrupts at event number `after`, from 0."""
    left = [after]

    def watch(_event: Event) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1

    return watch


def kinds(path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Factory) -> Path:
    """Return the record of an undisturbed run."""
    return saved(Machine(tmp_path_factory.mktemp("whole")).begin())


@pytest.fixture(scope="module")
def truth(whole: Path) -> tuple[Measurement, ...]:
    return read_lines(whole).measurements


@pytest.fixture(scope="module")
def machine(tmp_path_factory: Factory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.jsonl"


def write(path: Path, *lines: Line | bytes) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else encode_line(line) for line in lines))
    return path


class TestWritten:
    def test_a_sustained_cell_has_lines_of_samples_before_its_own(self, whole: Path) -> None:
        sustained = ["samples"] * 4 + ["measurement"]
        assert kinds(whole) == ["header", "measurement", *sustained, *sustained, "footer"]

    def test_they_hold_what_was_measured_once_and_in_order(
        self, whole: Path, truth: Sequence[Measurement]
    ) -> None:
        lines = [json.loads(line) for line in whole.read_bytes().splitlines()]
        for measurement, calls in zip(truth[1:], (CALLS, CALLS), strict=True):
            parts = [line["samples"] for line in lines if line.get("cell") == json.loads(measurement.cell.key)]
            before = len(measurement.warm_up.calls) if measurement.warm_up else 0
            written = [value for part in parts for value in part.get("seconds_per_call", [])]
            assert tuple(written) == measurement.samples.seconds_per_call
            assert written == [call.seconds for call in calls[before : before + len(written)]]
            assert measurement.stop == "duration"
            assert LONG_S <= sum(written) < LONG_S + 3

    def test_read_back_it_is_what_the_run_told(self, tmp_path: Path) -> None:
        told: list[object] = []
        outcome = Machine(tmp_path).begin(
            lambda event: told.append(event.reading) if isinstance(event, CellDone) else None
        )
        assert read_record(saved(outcome)).readings == outcome.readings == tuple(told)

    def test_a_column_that_the_device_does_not_tell_is_in_no_line(self, truth: Sequence[Measurement]) -> None:
        long, last = truth[1].samples, truth[2].samples
        assert long.cycles_per_call is not None
        assert last.cycles_per_call is None
        assert last == msgspec.structs.replace(long, cycles_per_call=None)

    def test_zero_watts_are_kept(self, truth: Sequence[Measurement]) -> None:
        power = truth[1].samples.power_w
        assert power is not None
        assert set(power) == {0.0, 250.5}

    def test_what_is_not_kept_needs_no_lines(self) -> None:
        backend = MeasuringBackend(scripts())
        outcome = run_plan(backend, header(CELLS, policy=POLICY), results=None, on_event=silent)
        assert outcome.stopped_by is None
        assert [reading.stop for reading in outcome.readings][1:] == ["duration", "duration"]


VALUES = st.floats(1e-18, 1e18, exclude_min=True, exclude_max=True)
ROW = st.tuples(VALUES, VALUES, VALUES, *[st.floats(-1e18, 1e18, exclude_min=True, exclude_max=True)] * 2)
NAMES = Samples.__struct_fields__


def measured(samples: Samples, cell: Cell = LONG) -> Measurement:
    return Measurement(cell=cell, stop="duration", samples=samples, calls_per_block=1, check=PASSED)


SOME = Samples(seconds_per_call=(1.0, 2.0), power_w=(0.0, 300.0))


class TestMerged:
    @given(
        rows=st.lists(ROW, min_size=1, max_size=12),
        left_out=st.sets(st.sampled_from(NAMES[1:])),
        cuts=st.lists(st.integers(0, 12), max_size=4),
    )
    def test_wherever_they_are_cut_the_measurement_is_the_same(
        self, tmp_path_factory: Factory, rows: list[tuple[float, ...]], left_out: set[str], cuts: list[int]
    ) -> None:
        columns = dict(zip(NAMES, zip(*rows, strict=True), strict=True))
        samples = Samples(**{name: columns[name] for name in NAMES if name not in left_out})
        ends = sorted(min(cut, len(rows)) for cut in cuts)
        chunks = [
            Chunk(cell=LONG, samples=_between(samples, start, end))
            for start, end in zip([0, *ends], ends, strict=False)
        ]
        last = measured(_between(samples, ends[-1] if ends else 0, len(rows)))
        path = write(tmp_path_factory.getbasetemp() / "cut.jsonl", header([LONG]), *chunks, last)
        assert read_lines(path) == Lines(header([LONG]), (measured(samples),), 0, None, 0)

    def test_a_column_that_one_of_them_lacks_is_left_out(self, path: Path) -> None:
        lacking = Samples(seconds_per_call=(3.0,))
        write(path, header([LONG]), Chunk(cell=LONG, samples=SOME), measured(lacking))
        (found,) = read_lines(path).measurements
        assert found.samples == Samples(seconds_per_call=(1.0, 2.0, 3.0))

    def test_those_of_two_cells_are_not_mixed(self, path: Path) -> None:
        other = Samples(seconds_per_call=(7.0,), power_w=(1.0,))
        lines = [Chunk(cell=LONG, samples=SOME), Chunk(cell=LAST, samples=other)]
        write(path, header(CELLS), *lines, measured(other, LAST), measured(SOME))
        found = read_lines(path).measurements
        assert [one.samples for one in found] == [joined([other, other]), joined([SOME, SOME])]

    def test_those_of_an_attempt_that_was_cut_off_count_for_nothing(self, path: Path) -> None:
        chunk, again = Chunk(cell=LONG, samples=SOME), Resumed(at="2026-01-02T04:00:00Z", conditions={})
        later = Samples(seconds_per_call=(5.0,), power_w=(5.0,))
        write(path, header([LONG]), chunk, chunk, again, again, Chunk(cell=LONG, samples=later), measured(later))
        lines = read_lines(path)
        assert lines.measurements == (measured(joined([later, later])),)
        assert lines.resumed == 2

    def test_without_their_measurement_they_are_no_result(self, path: Path) -> None:
        write(path, header([LONG]), Chunk(cell=LONG, samples=SOME))
        record = read_record(path)
        assert (record.readings, record.complete) == ((), False)


def _between(samples: Samples, start: int, end: int) -> Samples:
    return Samples(**{name: column[start:end] for name, column in samples.columns().items()})


def chunk_line(cell: Cell = LONG, **columns: list[Any]) -> bytes:
    text = json.dumps({"kind": "samples", "cell": json.loads(cell.key), "samples": columns})
    return text.replace("Infinity", "1e999").encode() + b"\n"


GOOD = [1.0, 2.0]
DAMAGES: Final[dict[str, tuple[bytes, str]]] = {
    "an unplanned cell": (chunk_line(of("sustained:1"), seconds_per_call=GOOD), "the cell is not in the plan: {"),
    "a cell that is done": (chunk_line(FIRST, seconds_per_call=GOOD), "the cell was measured before: {"),
    "uneven columns": (chunk_line(seconds_per_call=GOOD, power_w=[1.0]), "the columns of the samples differ"),
    "a column alone": (chunk_line(power_w=GOOD), "the columns of the samples differ"),
    "NaN": (chunk_line(seconds_per_call=[1.0, math.nan]), "JSON is malformed"),
    "a null": (chunk_line(seconds_per_call=[1.0, None]), "Expected `float`, got `null`"),
    "an infinite time": (chunk_line(seconds_per_call=[1.0, math.inf]), ""),
    "infinite watts": (chunk_line(seconds_per_call=GOOD, power_w=[1.0, math.inf]), ""),
    "a negative time": (chunk_line(seconds_per_call=[1.0, -2.0]), "a call took -2.0 s"),
    "no time": (chunk_line(seconds_per_call=[0.0, 2.0]), "a call took 0.0 s"),
    "negative cycles": (chunk_line(seconds_per_call=GOOD, cycles_per_call=[1.0, -1.0]), "cycles_per_call is -1.0"),
    "no clock": (chunk_line(seconds_per_call=GOOD, sm_clock_hz=[0.0, 1.0]), "sm_clock_hz is 0.0"),
    "a time of ages": (chunk_line(seconds_per_call=[1.0, 1e300]), "a call took 1e+300 s"),
    "hardly a clock": (chunk_line(seconds_per_call=GOOD, sm_clock_hz=[1e-320, 1.0]), "sm_clock_hz is 1e-320"),
    "a sun's watts": (chunk_line(seconds_per_call=GOOD, power_w=[-1e18, 1.0]), "power_w is -1e+18"),
    "an unknown column": (chunk_line(seconds_per_call=GOOD, volts=GOOD), "Object contains unknown field `volts`"),
    "half a line": (chunk_line(seconds_per_call=GOOD)[:90] + b"\n", ""),
}  # fmt: skip


class TestDamage:
    @pytest.mark.parametrize("name", DAMAGES)
    def test_it_is_one_line_that_names_file_and_line(self, name: str, path: Path) -> None:
        line, expected = DAMAGES[name]
        write(path, header(CELLS), measured(SOME, FIRST), Chunk(cell=LONG, samples=SOME), line, measured(SOME))
        for read in (read_lines, read_record):
            with pytest.raises(RecordError) as raised:
                read(path)
            assert str(raised.value).startswith(f"{path}: damaged record: line 4: {expected}")
            assert "\n" not in str(raised.value)

    def test_a_footer_does_not_take_chunks_for_a_measured_cell(self, path: Path) -> None:
        footer = Footer(ended="2026-01-02T03:05:05Z", measurements=1, seconds=60.0)
        write(path, header([LONG]), Chunk(cell=LONG, samples=SOME), footer)
        with pytest.raises(RecordError, match="line 3: a footer, but of the cells 0 measured"):
            read_lines(path)

    def test_a_line_that_is_cut_off_is_a_torn_tail(self, path: Path) -> None:
        line = chunk_line(seconds_per_call=GOOD)
        for length in range(1, len(line)):
            write(path, header(CELLS), Chunk(cell=LONG, samples=SOME), line[:length])
            assert read_lines(path) == Lines(header(CELLS), (), 0, None, length)


def prefixes(whole: Path, copy: Path) -> Iterator[tuple[int, bytes]]:
    """Cut a copy of the record shorter and shorter, byte by byte."""
    content = whole.read_bytes()
    copy.write_bytes(content)
    for length in range(len(content) - 1, -1, -1):
        os.truncate(copy, length)
        yield length, content[:length]


def test_cut_off_anywhere_it_is_an_error_or_the_beginning_of_the_truth(
    whole: Path, truth: Sequence[Measurement], path: Path
) -> None:
    for length, content in prefixes(whole, path):
        if b"\n" not in content:
            with pytest.raises(RecordError, match="line 1, the header"):
                read_lines(path)
            continue
        found, lines = read_lines(path), content[: content.rfind(b"\n") + 1]
        assert found.measurements == tuple(truth[: lines.count(b'{"kind":"measurement"')])
        assert found.torn == length - len(lines)
        assert found.footer is None


def once_each(path: Path, truth: Sequence[Measurement]) -> None:
    lines = read_lines(path)
    assert lines.footer is not None
    assert tuple(one.cell for one in lines.measurements) == CELLS
    assert lines.measurements == truth


class TestInterrupted:
    def test_at_any_event_and_resumed_each_cell_is_there_once(
        self, tmp_path: Path, truth: Sequence[Measurement]
    ) -> None:
        machine = Machine(tmp_path)
        events: list[Event] = []
        first = machine.begin(events.append)
        saved(first).unlink()
        assert sum(isinstance(event, BlockDone) for event in events) >= 60
        for after in range(len(events)):
            outcome = machine.begin(cut_off(after))
            assert isinstance(outcome.stopped_by, KeyboardInterrupt)
            assert outcome.readings == read_record(saved(outcome)).readings
            before = saved(outcome).read_bytes()
            assert machine.go_on(saved(outcome)).stopped_by is None
            assert saved(outcome).read_bytes().startswith(before)
            once_each(saved(outcome), truth)
            saved(outcome).unlink()

    @settings(max_examples=40)
    @given(stops=st.lists(st.integers(0, 75), min_size=1, max_size=4))
    def test_as_often_as_it_may_be(self, machine: Machine, truth: Sequence[Measurement], stops: list[int]) -> None:
        outcome = machine.begin(cut_off(stops[0]))
        path = saved(outcome)
        for after in stops[1:]:
            machine.go_on(path, cut_off(after))
        machine.go_on(path)
        once_each(path, truth)
        path.unlink()

    @settings(max_examples=60)
    @given(share=st.floats(0, 1, exclude_max=True))
    def test_killed_at_any_byte_and_resumed_too(
        self, machine: Machine, whole: Path, truth: Sequence[Measurement], share: float
    ) -> None:
        path = saved(machine.begin())
        content = path.read_bytes()
        first = content.index(b"\n") + 1
        os.truncate(path, first + int(share * (len(content) - first)))
        machine.go_on(path)
        once_each(path, truth)
        path.unlink()

    def test_a_cell_that_was_under_way_is_measured_anew_from_its_start(self, tmp_path: Path) -> None:
        """Samples of two processes in one cell would hide that they differ."""
        machine = Machine(tmp_path)
        seen: list[Event] = []

        def watch(event: Event) -> None:
            seen.append(event)
            if sum(isinstance(one, BlockDone) for one in seen) == 30:
                raise KeyboardInterrupt

        path = saved(machine.begin(watch))
        assert kinds(path)[-1] == "samples"
        machine.backend._scripts = {**scripts(), LONG: Script([Call(2.5)] * 90, check=PASSED)}
        machine.go_on(path)
        assert set(read_lines(path).measurements[1].samples.seconds_per_call) == {2.5}
        assert kinds(path).count("resumed") == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), CellFailed("no algorithm runs any more")], ids=["memory", "cell"]
)
def test_a_cell_that_fails_when_samples_of_it_are_saved_is_failed_and_the_record_readable(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory while the product is checked, say."""
    machine = Machine(tmp_path)
    prepare = machine.backend.prepare

    def fails() -> Check:
        raise error

    def prepared(cell: Cell, seed: int, *, probe: bool = False) -> ReplayTask:
        task = prepare(cell, seed, probe=probe)
        if cell == LONG:
            monkeypatch.setattr(task, "verify", fails)
        return task

    monkeypatch.setattr(machine.backend, "prepare", prepared)
    outcome = machine.begin()
    record = read_record(saved(outcome))
    assert record.readings == outcome.readings
    assert [reading.cell for reading in record.readings] == list(CELLS)
    assert (record.readings[1].stop, record.readings[1].summary) == ("failed", None)


@pytest.mark.parametrize(
    "regime", ["sustained:soon", "sustained:", "sustained:-1", "sustained:inf", "sustained:nan"]
)
def test_a_regime_that_does_not_exist_is_damage(path: Path, regime: str) -> None:
    cell = msgspec.structs.replace(LONG, regime=regime)
    write(path, header([cell]), measured(SOME, cell))
    with pytest.raises(RecordError, match="line 1: regime"):
        read_lines(path)

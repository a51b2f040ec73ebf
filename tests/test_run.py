"""A run from plan to record through a simulated device: what is measured, saved, resumed and replayed."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from bench.errors import BackendUnavailable, CannotWrite, InvalidRequest, RecordError, Terminated
from bench.measure.measurement import Measurement
from bench.measure.policy import Policy
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.records.record import Lines, read_lines, read_record
from bench.records.store import RecordWriter, latest
from bench.report.measured import Run, run_view
from bench.run import session
from bench.run.replaying import replay_backend
from bench.run.request import Request, execute, prepare
from bench.run.session import BlockDone, CellDone, CellStarted, Event, Outcome, make_header, resume, run_plan
from bench.workloads.base import Cell, Plan
from tests.support import (
    CELLS,
    ENVIRONMENT,
    FAILED,
    MeasuringBackend,
    SimulatedBackend,
    header,
    raising,
    saved,
    script,
    silent,
    write_record,
)

TOOL = "0.1.0"
NOISY = [1e-3] * 12 + [1e-3 * (1 + 0.0007 * (7 * i % 11 - 5)) for i in range(200)]
SCRIPTS = {CELLS[0]: script(NOISY), CELLS[1]: script(), CELLS[2]: script([value * 3 for value in NOISY])}


def begin(backend: SimulatedBackend, results: Path | None, *, cells: Sequence[Cell] = CELLS) -> Outcome:
    plan = Plan(workload="gemm", cells=tuple(cells))
    head = make_header(backend, plan, Policy(cap_s=1.0), tool=TOOL, results=results, identify=False)
    return run_plan(backend, head, results=results, on_event=silent)


def kinds(path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]


class TestWholeRun:
    def test_every_planned_cell_once_in_order_and_the_footer_last(self, tmp_path: Path) -> None:
        backend = MeasuringBackend(SCRIPTS)
        outcome = begin(backend, tmp_path)
        assert kinds(saved(outcome)) == ["header", *["measurement"] * 3, "footer"]
        record = read_record(saved(outcome))
        assert tuple(reading.cell for reading in record.readings) == CELLS == tuple(backend.prepared)
        assert record.readings == outcome.readings
        assert (record.complete, outcome.stopped_by) == (True, None)

    def test_each_cell_is_in_the_file_when_it_is_told_to_be_done(self, tmp_path: Path) -> None:
        seen: list[int] = []

        def look(event: Event) -> None:
            if isinstance(event, CellDone):
                (path,) = tmp_path.rglob("*.jsonl")
                seen.append(len(read_lines(path).measurements))

        backend = MeasuringBackend(SCRIPTS)
        head = make_header(backend, header().plan, Policy(), tool=TOOL, results=tmp_path, identify=False)
        run_plan(backend, head, results=tmp_path, on_event=look)
        assert seen == [1, 2, 3]

    def test_the_time_told_in_advance_is_never_exceeded(self, tmp_path: Path) -> None:
        events: list[Event] = []
        wild = [1e-3 * (1 + 0.1 * (i % 7)) for i in range(2000)]
        backend = SimulatedBackend({cell: script(wild, cold=index == 0) for index, cell in enumerate(CELLS)})
        head = make_header(backend, header().plan, Policy(cap_s=2.0), tool=TOOL, results=None, identify=False)
        run_plan(backend, head, results=None, on_event=events.append)
        starts = [i for i, event in enumerate(events) if isinstance(event, CellStarted)]
        for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
            begun = events[start]
            assert isinstance(begun, CellStarted)
            told = [event.seconds for event in events[start:end] if isinstance(event, BlockDone)]
            assert sum(told) <= begun.longest_s + 2 * max(told)

    def test_out_of_memory_fails_a_cell_not_the_run(self, tmp_path: Path) -> None:
        backend = MeasuringBackend(SCRIPTS)
        backend.on_prepare = raising(CELLS[1], MemoryError())
        outcome = begin(backend, tmp_path)
        record = read_record(saved(outcome))
        assert record.complete
        assert [reading.failure for reading in record.readings] == [None, "out of memory", None]
        assert [reading.passed for reading in record.readings] == [True, False, True]

    def test_a_failed_check_is_kept_and_in_no_ratio(self, tmp_path: Path) -> None:
        outcome = begin(MeasuringBackend({**SCRIPTS, CELLS[1]: script(check=FAILED)}), tmp_path)
        kept = read_lines(saved(outcome)).measurements[1]
        assert len(kept.samples.seconds_per_call) == 6
        assert kept.check == FAILED
        row = rows_of([outcome])[1]
        assert row[2] == "no rate"
        assert "wrong result: row error 5.0e-01 (allowed 1e-05)" in row[3]
        assert set(row[4:]) == {""}

    def test_nothing_is_written_where_nothing_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert begin(MeasuringBackend(SCRIPTS), None).path is None
        assert list(tmp_path.iterdir()) == []


def rows_of(outcomes: Sequence[Outcome]) -> list[Sequence[str]]:
    catalogue = Catalogue([shipped_specs()])
    context = [catalogue.resolve(name).chip for name in catalogue.context]
    run = Run(outcomes[0].header, [one.readings for one in outcomes], [], 1.0, interrupted=False)
    return [list(row) for row in run_view(run, None, context).rows]


LOST, FULL = BackendUnavailable("the GPU has fallen off the bus"), CannotWrite("disk full")


class TestStopped:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(), LOST, FULL], ids=repr)
    def test_what_was_finished_is_saved_and_told(self, error: BaseException, tmp_path: Path) -> None:
        backend = MeasuringBackend(SCRIPTS)
        backend.on_prepare = raising(CELLS[2], error)
        outcome = begin(backend, tmp_path)
        assert outcome.stopped_by is error
        assert kinds(saved(outcome)) == ["header", "measurement", "measurement"]
        assert outcome.readings == read_record(saved(outcome)).readings
        assert len(outcome.readings) == 2

    def test_what_is_told_is_what_is_saved_wherever_a_signal_strikes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C while a line is being written waits for it, and strikes before the run has noted it."""
        append = RecordWriter.append

        def interrupted(writer: RecordWriter, line: object) -> None:
            append(writer, line)  # type: ignore[arg-type]
            if getattr(line, "cell", None) == CELLS[1]:
                raise KeyboardInterrupt

        monkeypatch.setattr(RecordWriter, "append", interrupted)
        outcome = begin(MeasuringBackend(SCRIPTS), tmp_path)
        assert isinstance(outcome.stopped_by, KeyboardInterrupt)
        assert [reading.cell for reading in outcome.readings] == [*CELLS[:2]]
        assert outcome.readings == read_record(saved(outcome)).readings

    def test_operands_are_released_whatever_happens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[bool] = []
        monkeypatch.setattr("bench.devices.replay.ReplayTask.close", lambda _task: closed.append(True))
        begin(SimulatedBackend({**SCRIPTS, CELLS[1]: script([1e-3, float("nan")])}), None)
        assert len(closed) == 2

    def test_a_lost_clock_stops_the_run_with_its_reason(self, tmp_path: Path) -> None:
        outcome = begin(MeasuringBackend({**SCRIPTS, CELLS[1]: script([1e-3, 0.0])}), tmp_path)
        assert isinstance(outcome.stopped_by, BackendUnavailable)
        assert kinds(saved(outcome)) == ["header", "measurement"]


class Interrupted:
    """A record of which the last cell is missing, and the device to go on with."""

    def __init__(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.backend = MeasuringBackend(SCRIPTS)
        self.backend.on_prepare = raising(CELLS[1], KeyboardInterrupt())
        self.path = saved(begin(self.backend, results))
        self.content = self.path.read_bytes()
        self.backend.on_prepare = lambda _cell: None
        self.backend.prepared.clear()
        monkeypatch.setattr(session, "open_backend", lambda *_where: self.backend)

    def resume(self, tool: str = TOOL) -> Outcome:
        return resume(self.path, tool=tool, on_event=silent)

    def refused(self, tool: str = TOOL) -> str:
        before = self.path.read_bytes()
        with pytest.raises(InvalidRequest, match="cannot be resumed") as raised:
            self.resume(tool)
        assert self.path.read_bytes() == before
        assert "\n" not in str(raised.value)
        assert raised.value.exit_code == 2
        return str(raised.value)


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    return Interrupted(tmp_path, monkeypatch)


class TestResume:
    @pytest.mark.parametrize("tail", [b"", b'{"kind":"measurement","cell":{"oper'])
    def test_it_measures_what_is_missing_at_the_end(self, tail: bytes, interrupted: Interrupted) -> None:
        interrupted.path.write_bytes(interrupted.content + tail)
        outcome = interrupted.resume()
        assert interrupted.path.read_bytes().startswith(interrupted.content)
        assert kinds(interrupted.path) == [
            "header",
            "measurement",
            "resumed",
            "measurement",
            "measurement",
            "footer",
        ]
        assert tuple(interrupted.backend.prepared) == CELLS[1:]
        record = read_record(interrupted.path)
        assert tuple(reading.cell for reading in record.readings) == CELLS
        assert (record.readings, record.complete, record.resumed) == (outcome.readings, True, 1)

    def test_it_can_be_stopped_and_resumed_again(self, interrupted: Interrupted) -> None:
        interrupted.backend.on_prepare = raising(CELLS[2], Terminated())
        assert isinstance(interrupted.resume().stopped_by, Terminated)
        interrupted.backend.on_prepare = lambda _cell: None
        assert interrupted.resume().stopped_by is None
        record = read_record(interrupted.path)
        assert (len(record.readings), record.complete, record.resumed) == (3, True, 2)

    def test_a_complete_record_is_returned_and_left_alone(self, interrupted: Interrupted) -> None:
        first = interrupted.resume()
        content = interrupted.path.read_bytes()
        interrupted.backend.prepared.clear()
        again = interrupted.resume(tool="9.9.9")
        assert again.readings == first.readings
        assert interrupted.path.read_bytes() == content
        assert interrupted.backend.prepared == []

    def test_one_that_another_process_completes_meanwhile_is_left_alone(
        self, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the first look and the lock: a line after the footer would be damage."""
        contents: list[bytes] = []

        def open_late(*_where: object) -> MeasuringBackend:
            monkeypatch.setattr(session, "open_backend", lambda *_where: interrupted.backend)
            interrupted.resume()
            contents.append(interrupted.path.read_bytes())
            return interrupted.backend

        monkeypatch.setattr(session, "open_backend", open_late)
        assert len(interrupted.resume().readings) == 3
        assert [interrupted.path.read_bytes()] == contents

    @pytest.mark.parametrize(
        ("field", "name", "expected"),
        [
            ("versions", "numpy", "numpy was 2.0 and is 2.1"),
            ("versions", "driver", "driver was not set and is 2.1"),
            ("settings", "blas_threads", "blas_threads was 2 and is 2.1"),
            ("flagged", "OPENBLAS_CORETYPE", "OPENBLAS_CORETYPE was not set and is 2.1"),
        ],
    )
    def test_other_software_or_settings_are_refused(
        self, field: str, name: str, expected: str, interrupted: Interrupted
    ) -> None:
        changed = msgspec.structs.replace(ENVIRONMENT, **{field: {**getattr(ENVIRONMENT, field), name: "2.1"}})
        interrupted.backend._environment = changed
        assert interrupted.refused() == (
            f"{interrupted.path}: cannot be resumed: {expected}; restore that, or start a new run"
        )

    def test_other_conditions_are_not(self, interrupted: Interrupted) -> None:
        interrupted.backend._environment = msgspec.structs.replace(ENVIRONMENT, conditions={"load_1m": "7.00"})
        assert interrupted.resume().stopped_by is None
        assert b'"load_1m":"7.00"' in interrupted.path.read_bytes()

    def test_another_chipbench_is_refused(self, interrupted: Interrupted) -> None:
        assert "chipbench was 0.1.0 and is 0.2.0" in interrupted.refused(tool="0.2.0")

    def test_another_device_is_refused_before_the_torn_tail_is_cut(
        self, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupted.path.write_bytes(interrupted.content + b"torn")
        monkeypatch.setattr(interrupted.backend, "identity", lambda: "another machine")
        assert "device was " in interrupted.refused()

    def test_a_record_away_from_its_folder_is_refused_and_no_key_made(
        self, interrupted: Interrupted, tmp_path: Path
    ) -> None:
        elsewhere = tmp_path / "elsewhere" / "deep"
        elsewhere.mkdir(parents=True)
        interrupted.path = interrupted.path.rename(elsewhere / "r.jsonl")
        assert "move the record back" in interrupted.refused()
        assert [path.name for path in elsewhere.parent.iterdir()] == ["deep"]

    def test_a_replayed_record_is_replayed_again_not_resumed(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, header(origin="replayed"), [], complete=False)
        with pytest.raises(InvalidRequest, match="was replayed, not measured"):
            resume(path, tool=TOOL, on_event=silent)

    def test_a_record_of_a_backend_that_is_not_here_says_so(self, tmp_path: Path) -> None:
        head = msgspec.structs.replace(header(), backend="abacus")
        path = write_record(tmp_path, head, [], complete=False)
        with pytest.raises(BackendUnavailable, match="no backend 'abacus', only cuda, cpu, replay; upgrade"):
            resume(path, tool=TOOL, on_event=silent)


class TestReplay:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return saved(begin(MeasuringBackend(SCRIPTS), tmp_path / "results"))

    def replay(self, source: Path, results: Path | None = None) -> Outcome:
        request = Request(tool=TOOL, backend="replay", source=source, results=results)
        (outcome,) = execute(prepare(request), request, silent)
        return outcome

    def test_the_table_is_the_same_to_the_last_digit(self, tmp_path: Path) -> None:
        original = begin(MeasuringBackend(SCRIPTS), tmp_path)
        replayed = self.replay(saved(original))
        assert replayed.readings == original.readings
        assert rows_of([replayed]) == rows_of([original])
        assert len(rows_of([replayed])) == 3
        assert not [word for word in ("median", "interval", "half_width") if word in saved(original).read_text()]

    def test_it_writes_nothing_unless_told_where(self, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        top = source.parent.parent
        monkeypatch.chdir(top)
        before = {path: path.read_bytes() for path in top.rglob("*") if path.is_file()}
        assert self.replay(source).path is None
        assert {path: path.read_bytes() for path in top.rglob("*") if path.is_file()} == before

    def test_what_it_writes_is_replayed_and_never_the_latest(self, source: Path) -> None:
        copy = saved(self.replay(source, source.parent.parent))
        assert read_record(copy).header.origin == "replayed"
        assert latest(source.parent.parent).path == source
        first, second = read_lines(source), read_lines(copy)
        assert second.measurements == first.measurements
        assert second.header.device == first.header.device

    def test_of_an_interrupted_record_it_replays_what_is_there(self, source: Path) -> None:
        lines = source.read_bytes().splitlines(keepends=True)
        source.write_bytes(b"".join(lines[:3]))
        assert tuple(reading.cell for reading in self.replay(source).readings) == CELLS[:2]

    def test_a_record_without_samples_cannot_be_replayed(self) -> None:
        failed = Measurement(cell=CELLS[0], stop="failed", failure="out of memory")
        with pytest.raises(RecordError, match="holds no samples"):
            replay_backend(Lines(header(), (failed,), 0, None, 0))

"""What `--processes` hands back when one of its processes fails: all that was saved, and why it stopped."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from bench.errors import BackendUnavailable, CannotWrite, ChipbenchError, InvalidRequest, Terminated
from bench.records.record import Footer, Process, encode_line, read_record
from bench.records.store import record_path
from bench.run import processes
from bench.run.engine import Answered, Ended, LeftOut, Message
from bench.run.member import DIED, Failed, Measure, decoded_job, encoded
from bench.run.processes import run_processes
from bench.run.session import BlockDone, CellDone, CellStarted, Event, Outcome
from tests.support import CELLS, fill_disk_after, header, measurement

STARTED = encoded(CellStarted(1, 3, CELLS[0], 2.0))
LOST = encoded(Failed(text="the GPU has fallen off the bus", code=5))
FOOTER = encode_line(Footer(ended="2026-01-02T03:05:05Z", measurements=3, seconds=60.0))
Said = bytes | BaseException


def cells(count: int) -> list[bytes]:
    return [encode_line(measurement(cell)) for cell in CELLS[:count]]


def whole() -> list[Said]:
    return [STARTED, *cells(3), FOOTER]


class Scripted:
    """An engine whose processes say what is written for each, after `close` too."""

    def __init__(self, scripts: Iterator[Sequence[Said]]) -> None:
        self.jobs: list[Measure] = []
        self.left_out: dict[str, LeftOut] = {}
        self._scripts = scripts
        self._said: Iterator[Said] = iter(())
        self.closed = 0

    def places(self) -> list[str]:
        return []

    def start(self, _place: str, _number: int, job: bytes) -> None:
        decoded = decoded_job(job)
        assert isinstance(decoded, Measure)
        self.jobs.append(decoded)
        self._said = iter(next(self._scripts))

    def next(self, _seconds: float) -> Message | None:
        said = next(self._said, None)
        if isinstance(said, BaseException):
            raise said
        return Ended(1, DIED) if said is None else Answered(1, said)

    def stop(self, number: int) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def run(
    results: Path, monkeypatch: pytest.MonkeyPatch, *scripts: Sequence[Said], events: list[Event] | None = None
) -> tuple[list[Outcome], Scripted]:
    engine = Scripted(iter(scripts))
    monkeypatch.setattr(processes, "LocalEngine", lambda _places: engine)
    told = [] if events is None else events
    return run_processes(header(), 3, results=results, on_event=told.append), engine


def test_each_makes_a_record_of_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, engine = run(tmp_path, monkeypatch, whole(), whole(), whole())
    found = [outcome.header.process for outcome in outcomes]
    assert [(process.index, process.of) for process in found if process] == [(0, 3), (1, 3), (2, 3)]
    assert len({process.group for process in found if process}) == 1
    assert len({outcome.path for outcome in outcomes}) == 3
    for outcome, job in zip(outcomes, engine.jobs, strict=True):
        assert outcome.path is not None
        record = read_record(outcome.path)
        assert (record.header, record.complete, record.readings) == (job.header, True, outcome.readings)
        assert record.header == outcome.header
    assert engine.closed == 3


def test_what_it_is_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    run(tmp_path, monkeypatch, [STARTED, encoded(BlockDone(0.1)), *cells(1)], events=events)
    begun, block, done = events
    assert (begun, block) == (CellStarted(1, 3, CELLS[0], 2.0), BlockDone(0.1))
    assert isinstance(done, CellDone)
    assert done.reading.cell == CELLS[0]


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(
    ("last", "why", "error"),
    [
        ([], "ended without a word (killed, or out of memory?); what it finished is saved", BackendUnavailable),
        ([LOST], "the GPU has fallen off the bus", BackendUnavailable),
        ([encoded(Failed(text="a bug showed", code=1))], "a bug showed", ChipbenchError),
        ([encoded(Failed(text="its surroundings changed", code=2))], "its surroundings", InvalidRequest),
        ([b"{}\n", *cells(3)], "sent what is no line of its record", BackendUnavailable),
        ([cells(1)[0], *cells(3)], "the cell was measured before", BackendUnavailable),
    ],
)
def test_what_one_saved_before_it_failed_is_told(
    before: int,
    last: list[Said],
    why: str,
    error: type[ChipbenchError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes, _ = run(tmp_path, monkeypatch, *[whole()] * before, [STARTED, *cells(2), *last], whole())
    ended = outcomes[-1]
    assert len(outcomes) == before + 1
    assert [reading.cell for reading in ended.readings] == list(CELLS[:2])
    assert ended.path == record_path(tmp_path, ended.header)
    assert read_record(ended.path).readings == ended.readings
    assert type(ended.stopped_by) is error
    assert why in str(ended.stopped_by)


def test_what_was_sent_before_an_interruption_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it waits in the pipe when Ctrl-C strikes."""
    (outcome,), engine = run(tmp_path, monkeypatch, [STARTED, *cells(1), Terminated(), cells(2)[1]])
    assert isinstance(outcome.stopped_by, Terminated)
    assert [reading.cell for reading in outcome.readings] == list(CELLS[:2])
    assert outcome.path is not None
    assert read_record(outcome.path).readings == outcome.readings
    assert engine.closed == 1


def test_nothing_follows_half_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = msgspec.structs.replace(header(), process=Process(index=0, of=3, group="0" * 8))
    fill_disk_after(17 + len(encode_line(own)) + len(cells(1)[0]) + 99, monkeypatch)
    (outcome,), _ = run(tmp_path, monkeypatch, whole())
    assert isinstance(outcome.stopped_by, CannotWrite)
    assert [reading.cell for reading in outcome.readings] == list(CELLS[:1])
    assert outcome.path is not None
    record = read_record(outcome.path)
    assert record.readings == outcome.readings
    assert record.torn == 0, "that half is cut off again"


def test_earlier_results_outlive_a_later_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second), _ = run(tmp_path, monkeypatch, whole(), [LOST])
    assert first.stopped_by is None
    assert (second.readings, second.path) == ((), None)
    assert isinstance(second.stopped_by, BackendUnavailable)


def test_a_first_process_that_never_began_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendUnavailable, match="fallen off the bus"):
        run(tmp_path, monkeypatch, [LOST])
    with suppress(BackendUnavailable):
        run(tmp_path, monkeypatch, [])
    assert [*tmp_path.rglob("*.jsonl")] == []


def test_a_record_that_cannot_be_made_ends_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / header().device.folder).write_text("")
    with pytest.raises(CannotWrite):
        run(tmp_path, monkeypatch, whole())

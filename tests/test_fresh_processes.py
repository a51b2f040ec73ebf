"""What `--processes` hands back when one of its processes fails: all that was saved, and why it stopped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import BackendUnavailable, CannotWrite, ChipbenchError
from bench.records.record import Header
from bench.records.store import record_path
from bench.run import processes
from bench.run.processes import run_processes
from bench.run.session import OnEvent, Outcome
from tests.support import CELLS, header, measurement, write_record

Behaviour = Callable[[Header, Path], Outcome]
DIED = BackendUnavailable("a measuring process ended without a word")
FULL = CannotWrite("the disk is full")


def measures(own: Header, results: Path) -> Outcome:
    return Outcome(own, (), write_record(results, own), 1.0)


def fails(error: ChipbenchError, saved: int | None) -> Behaviour:
    """Fail after `saved` cells; with None before there is a record."""

    def behave(own: Header, results: Path) -> Outcome:
        if saved is not None:
            write_record(results, own, [measurement(cell) for cell in CELLS[:saved]], complete=False)
        raise error

    return behave


def run(results: Path, monkeypatch: pytest.MonkeyPatch, *behaviours: Behaviour) -> list[Outcome]:
    waiting = iter(behaviours)

    def in_turn(own: Header, results: Path, _on_event: OnEvent) -> Outcome:
        return next(waiting)(own, results)

    monkeypatch.setattr(processes, "_in_fresh_process", in_turn)
    return run_processes(header(), 3, results=results, on_event=lambda _event: None)


def test_each_makes_a_record_of_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = run(tmp_path, monkeypatch, measures, measures, measures)
    found = [outcome.header.process for outcome in outcomes]
    assert [(process.index, process.of) for process in found if process] == [(0, 3), (1, 3), (2, 3)]
    assert len({process.group for process in found if process}) == 1
    assert len({outcome.path for outcome in outcomes}) == 3


@pytest.mark.parametrize("before", [0, 1])
def test_what_one_saved_before_it_died_is_told(
    before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = run(tmp_path, monkeypatch, *[measures] * before, fails(DIED, saved=2), measures)
    last = outcomes[-1]
    assert len(outcomes) == before + 1
    assert [reading.cell for reading in last.readings] == list(CELLS[:2])
    assert last.path == record_path(tmp_path, last.header)
    assert last.stopped_by is DIED


def test_earlier_results_outlive_a_later_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = run(tmp_path, monkeypatch, measures, fails(FULL, saved=None))
    assert first.stopped_by is None
    assert (second.readings, second.path, second.stopped_by) == ((), None, FULL)


def test_a_first_process_that_made_no_record_has_nothing_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotWrite, match="the disk is full"):
        run(tmp_path, monkeypatch, fails(FULL, saved=None))


def test_half_a_header_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tears(own: Header, results: Path) -> Outcome:
        write_record(results, own, []).write_bytes(b'{"kind":"hea')
        raise DIED

    with pytest.raises(BackendUnavailable, match="without a word"):
        run(tmp_path, monkeypatch, tears)

"""Which of many records a report takes: the newest of every cell, one device of a kind, files as named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from bench.analysis.compare import Side
from bench.analysis.gathered import BY_CELL, Gathered, gather
from bench.errors import InvalidRequest, RecordError
from bench.records.record import Process
from bench.workloads.base import Cell
from tests.support import FAILED, PASSED, cell, header, measurement, write_record

SMALL, LARGE, OTHER = cell(64), cell(128), cell(96)
HINTS = get_type_hints(Side)
FAST, SLOW = (1.0e-3,) * 6, (2.0e-3,) * 6


def record(
    results: Path,
    cells: Sequence[Cell],
    minute: int,
    *,
    seconds: Sequence[float] = FAST,
    key: str = "k1",
    measured: Sequence[Cell] | None = None,
    **fields: Any,  # noqa: ANN401 - of the header
) -> Path:
    """Write a record that was begun at a minute, its id the minute too; `measured` are the cells it has."""
    head = header(cells, ident=f"{minute:08x}", started=f"2026-01-02T03:{minute:02}:00Z")
    head = msgspec.structs.replace(head, device=msgspec.structs.replace(head.device, key=key), **fields)
    found = [measurement(one, seconds) for one in (cells if measured is None else measured)]
    return write_record(results, head, found, complete=measured is None)


def names(found: Gathered) -> list[list[str]]:
    """Return the files of every device's runs."""
    return [[path.name for run in device.runs for path in run.paths] for device in found.devices]


def taken(results: Path, *more: str | Path) -> Gathered:
    return gather([str(one) for one in more], results, lambda _: None)


class TestFolder:
    def test_nothing_is_there(self, tmp_path: Path) -> None:
        assert taken(tmp_path) == taken(tmp_path / "none") == Gathered()

    def test_every_run_that_measured_a_cell_last_is_shown_old_to_new(self, tmp_path: Path) -> None:
        large, small = record(tmp_path, [LARGE], 1), record(tmp_path, [SMALL], 2)
        assert names(taken(tmp_path)) == [[large.name, small.name]]

    def test_one_whose_cells_were_all_measured_again_is_left_out_and_counted(self, tmp_path: Path) -> None:
        record(tmp_path, [SMALL], 1)
        newer = record(tmp_path, [SMALL, LARGE], 2)
        found = taken(tmp_path)
        assert names(found) == [[newer.name]]
        assert found.notes == ("cpu-simulated: left out: 1 record, of cells that were measured again since",)

    def test_an_interrupted_run_hides_only_what_it_measured(self, tmp_path: Path) -> None:
        whole = record(tmp_path, [SMALL, LARGE], 1)
        cut = record(tmp_path, [SMALL, LARGE], 2, measured=[SMALL])
        assert names(taken(tmp_path)) == [[whole.name, cut.name]]

    def test_one_that_ended_before_any_cell_is_counted_as_that(self, tmp_path: Path) -> None:
        older = record(tmp_path, [SMALL], 1)
        record(tmp_path, [SMALL, LARGE], 2, measured=[])
        found = taken(tmp_path)
        assert names(found) == [[older.name]]
        assert found.notes == ("cpu-simulated: left out: 1 record that ended before any cell was measured",)

    def test_of_several_devices_of_a_kind_the_one_measured_last_is_shown(self, tmp_path: Path) -> None:
        record(tmp_path, [SMALL], 1, key="k1")
        last = record(tmp_path, [SMALL], 2, key="k2")
        found = taken(tmp_path)
        assert names(found) == [[last.name]]
        assert "left out: 1 record of other devices, measured earlier" in found.notes[0]

    def test_the_processes_of_a_run_stay_together(self, tmp_path: Path) -> None:
        for index in range(3):
            process = Process(index=index, of=3, group="g")
            record(tmp_path, [SMALL], index, process=process)
        (device,) = taken(tmp_path).devices
        assert [len(run.paths) for run in device.runs] == [3]
        assert device.side.estimates[SMALL].processes == 3

    def test_what_was_not_measured_is_shown_only_by_its_name(self, tmp_path: Path) -> None:
        path = record(tmp_path, [SMALL], 1, origin="simulated")
        assert taken(tmp_path).devices == ()
        assert "left out: 1 record, replayed or simulated; name one to show it" in taken(tmp_path).notes[0]
        assert taken(tmp_path, path).devices[0].side.kind == "simulated"

    def test_damaged_ones_are_told_and_the_others_taken(self, tmp_path: Path) -> None:
        path = record(tmp_path, [SMALL], 1)
        (path.parent / "20260102T030500Z-bad.jsonl").write_text("{\n")
        found = taken(tmp_path)
        assert names(found) == [[path.name]]
        assert [str(error).partition(":")[0].endswith("bad.jsonl") for error in found.damaged] == [True]

    def test_one_that_is_damaged_after_its_header_is_told_too(self, tmp_path: Path) -> None:
        path = record(tmp_path, [SMALL], 1)
        path.write_bytes(path.read_bytes().replace(b'"kind":"footer"', b'"kind":"foot"'))
        found = taken(tmp_path)
        assert (found.devices, len(found.damaged)) == ((), 1)


class TestNames:
    def test_a_file_stands_for_itself_however_old_and_twice_counts_once(self, tmp_path: Path) -> None:
        old, new = record(tmp_path, [SMALL], 1), record(tmp_path, [SMALL], 2)
        assert names(taken(tmp_path, old)) == [[old.name]]
        assert names(taken(tmp_path, new, old, old)) == [[old.name, new.name]]

    def test_files_of_one_run_are_one_run_alone_or_beside_their_folder(self, tmp_path: Path) -> None:
        paths = [
            record(tmp_path, [SMALL], minute, process=Process(index=minute, of=3, group="g"))
            for minute in range(3)
        ]
        for asked in (paths, [paths[1], tmp_path], [tmp_path, paths[1]]):
            (device,) = taken(tmp_path, *asked).devices
            assert [len(run.paths) for run in device.runs] == [3]
            assert device.side.estimates[SMALL].processes == 3

    def test_a_copy_counts_once(self, tmp_path: Path) -> None:
        path = record(tmp_path / "a", [SMALL], 1)
        copy = tmp_path / "copy.jsonl"
        copy.write_bytes(path.read_bytes())
        assert [len(names_of) for names_of in names(taken(tmp_path, path, copy))] == [1]

    def test_devices_of_one_name_are_told_apart(self, tmp_path: Path) -> None:
        paths = [record(tmp_path, [SMALL], minute, key=f"k{minute}") for minute in (1, 2)]
        labels = [device.side.label for device in taken(tmp_path, *paths).devices]
        assert labels == ["A simulated device (1)", "A simulated device (2)"]

    @pytest.mark.parametrize(("name", "error"), [("nothing", InvalidRequest), ("", InvalidRequest)])
    def test_what_is_not_there_is_refused(self, tmp_path: Path, name: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            taken(tmp_path, name)

    def test_an_empty_folder_that_was_named_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(RecordError, match="no record here"):
            taken(tmp_path, tmp_path)


class TestSide:
    def test_a_cell_is_that_of_the_newest_run_whatever_else_the_others_hold(self, tmp_path: Path) -> None:
        record(tmp_path, [SMALL, OTHER], 1, seconds=(*SLOW, *SLOW))
        record(tmp_path, [SMALL, LARGE], 2)
        (device,) = taken(tmp_path).devices
        assert device.taken == {SMALL: 1, LARGE: 1, OTHER: 0}
        for one, seconds in ((SMALL, 1.0e-3), (LARGE, 1.0e-3), (OTHER, 2.0e-3)):
            assert device.side.estimates[one].rate == pytest.approx(one.flop / seconds)

    @pytest.mark.parametrize(
        ("first", "second", "taken_from"), [(True, False, 0), (False, True, 1), (False, False, 1)]
    )
    def test_one_that_failed_counts_only_if_it_never_passed(
        self, first: bool, second: bool, taken_from: int, tmp_path: Path
    ) -> None:
        for minute, good in ((1, first), (2, second)):
            head = header([SMALL], ident=f"{minute:08x}", started=f"2026-01-02T03:{minute:02}:00Z")
            check = PASSED if good else FAILED
            write_record(tmp_path, head, [measurement(SMALL, (*FAST, minute * 1.0e-3), check=check)])
        device = taken(tmp_path).devices[0]
        index = taken_from if len(device.runs) > 1 else 0
        assert device.taken == {SMALL: index}
        assert device.side.failed == (() if first or second else (SMALL,))

    def test_all_that_a_side_has_of_a_cell_is_of_one_run(self) -> None:
        """A new column of sides must be named there, or it would be the last run's."""
        by_cell = {name for name in Side._fields if "Mapping[bench.workloads.base.Cell" in str(HINTS[name])}
        assert by_cell == {*BY_CELL, "workloads"}

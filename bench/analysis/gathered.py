"""What was measured here, for a report: the devices, of each its runs with every sample, and the side they make.

Every cell is taken from the newest run in which it passed, and only the processes of one run are pooled. A folder
may hold years of records: of it, the runs are shown from which some cell is taken, and of several devices of one
kind the one that was measured last; what is left out is counted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.analysis.compare import Side
from bench.analysis.pooling import ChipOf, Pool
from bench.analysis.sides import paths_of
from bench.errors import RecordError
from bench.records.record import Header, Lines, Record, read_header, read_lines, record_of
from bench.records.store import read_each, records_below
from bench.workloads.base import Cell

# What a side has of each of its cells.
BY_CELL: Final = ("estimates", "cycles", "clocks", "algorithms", "watts", "tilings")


class GatheredRun(NamedTuple):
    """One run: of each of its processes every sample, and its record, in which they are reduced."""

    processes: tuple[Lines, ...]
    records: tuple[Record, ...]

    @property
    def header(self) -> Header:
        """The first process's, which stands for all."""
        return self.records[0].header

    @property
    def paths(self) -> list[Path]:
        """Each process's file."""
        return [record.path for record in self.records]

    def side(self, label: str, chip_of: ChipOf) -> Side:
        """Return the side that this run alone makes."""
        pool = Pool()
        for record in self.records:
            pool.add(record)
        return pool.side(label, chip_of)

    def cells(self) -> dict[Cell, bool]:
        """Return the cells that were measured, each with whether it passed in some process."""
        found: dict[Cell, bool] = {}
        for record in self.records:
            for one in record.readings:
                found[one.cell] = one.passed or found.get(one.cell, False)
        return found


class GatheredDevice(NamedTuple):
    """A device that was measured: its runs from old to new, and the side that all of them make.

    `taken` says from which of the runs the side has a cell: the newest in which it passed, or else the newest.
    """

    side: Side
    runs: tuple[GatheredRun, ...]
    taken: Mapping[Cell, int]


class Gathered(NamedTuple):
    """All that was found, what could not be read, and what there is to say of the names and what was left out."""

    devices: tuple[GatheredDevice, ...] = ()
    damaged: tuple[RecordError, ...] = ()
    notes: tuple[str, ...] = ()


def gather(names: Sequence[str], results: Path, chip_of: ChipOf) -> Gathered:
    """Return what record files, folders or `latest` hold; without names, what lies below `results`, if anything.

    A file stands for itself, a folder for its newest runs. Files of one run's processes are taken together. Raises
    InvalidRequest or RecordError for a name that stands for nothing.
    """
    damaged: list[RecordError] = []
    notes: list[str] = []
    runs: list[GatheredRun] = []
    files: dict[Path, Path] = {}
    for name in names or ([str(results)] if records_below(results) else []):
        paths, said = paths_of(name, results)
        notes += said
        if Path(name).is_dir():
            runs += _newest(name, paths, damaged, notes)
        else:
            files |= {path.resolve(): path for path in paths if path.resolve() not in files}
    runs += [run for one in _runs_of(files.values(), damaged) for run in _read(one.paths, damaged)]
    whole: dict[str, GatheredRun] = {}
    for run in sorted(runs, key=lambda run: -len(run.paths)):
        whole.setdefault(run.header.run, run)
    errors = {str(error): error for error in damaged}
    devices = _devices(sorted(whole.values(), key=lambda run: run.header.taken), chip_of)
    return Gathered(tuple(devices), tuple(errors.values()), tuple(dict.fromkeys(notes)))


def _read(paths: Sequence[Path], damaged: list[RecordError]) -> list[GatheredRun]:
    """Return the run of some files, which are processes of one; nothing if none can be read."""
    found: list[tuple[Path, Lines]] = []
    for path, lines in read_each(paths, read_lines):
        if isinstance(lines, RecordError):
            damaged.append(lines)
        else:
            found.append((path, lines))
    records = tuple(record_of(path, lines) for path, lines in found)
    return [GatheredRun(tuple(lines for _, lines in found), records)] if found else []


class _Files(NamedTuple):
    """The files of a run's processes, by their records' ids, and its first header."""

    header: Header
    by_id: dict[str, Path]

    @property
    def paths(self) -> list[Path]:
        """Each process's file."""
        return [*self.by_id.values()]

    @property
    def device(self) -> tuple[str, str]:
        """What tells devices of one folder apart."""
        return self.header.device.name, str(self.header.device.key)


def _runs_of(paths: Iterable[Path], damaged: list[RecordError]) -> list[_Files]:
    """Return the runs that some files are of, from old to new; a copy of a record counts once."""
    runs: dict[str, _Files] = {}
    for path, header in read_each(paths, read_header):
        if isinstance(header, RecordError):
            damaged.append(header)
            continue
        runs.setdefault(header.run, _Files(header, {})).by_id.setdefault(header.id, path)
    return sorted(runs.values(), key=lambda files: files.header.taken)


def _newest(folder: str, paths: Sequence[Path], damaged: list[RecordError], notes: list[str]) -> list[GatheredRun]:
    """Return the runs of a folder from which some cell is taken; of each kind one device's."""
    by_kind: dict[str, list[_Files]] = {}
    others = 0
    for files in _runs_of(paths, damaged):
        if files.header.origin == "measured":
            by_kind.setdefault(files.header.device.folder, []).append(files)
        else:
            others += len(files.by_id)
    if others:
        notes.append(f"{folder}: left out: {_records(others)}, replayed or simulated; name one to show it")
    return [run for kind, some in by_kind.items() for run in _newest_of(kind, some, damaged, notes)]


def _newest_of(
    kind: str, runs: Sequence[_Files], damaged: list[RecordError], notes: list[str]
) -> list[GatheredRun]:
    own = [files for files in runs if files.device == runs[-1].device]
    shown: list[GatheredRun] = []
    passed: set[Cell] = set()
    seen: set[Cell] = set()
    older = empty = 0
    for files in reversed(own):
        read = [] if {*files.header.plan.cells} <= passed else _read(files.paths, damaged)
        cells = {cell: well for run in read for cell, well in run.cells().items()}
        good = {cell for cell, well in cells.items() if well}
        if read and not cells:
            empty += len(files.by_id)
        elif good <= passed and {*cells} <= seen:
            older += len(files.by_id) if read or {*files.header.plan.cells} <= passed else 0
        else:
            shown += read
        passed |= good
        seen |= {*cells}
    others = sum(len(files.by_id) for files in runs) - sum(len(files.by_id) for files in own)
    if older:
        notes.append(f"{kind}: left out: {_records(older)}, of cells that were measured again since")
    if empty:
        notes.append(f"{kind}: left out: {_records(empty)} that ended before any cell was measured")
    if others:
        notes.append(f"{kind}: left out: {_records(others)} of other devices, measured earlier")
    return shown


def _records(count: int) -> str:
    return f"{count} record{'' if count == 1 else 's'}"


def _devices(runs: Sequence[GatheredRun], chip_of: ChipOf) -> Iterator[GatheredDevice]:
    by_device: dict[tuple[str, str, str], list[GatheredRun]] = {}
    for run in runs:
        device, origin = run.header.device, run.header.origin
        by_device.setdefault((device.name, origin, str(device.key)), []).append(run)
    names = [name for name, _, _ in by_device]
    for index, ((name, _, _), some) in enumerate(by_device.items()):
        label = f"{name} ({names[: index + 1].count(name)})" if names.count(name) > 1 else name
        taken = _taken(some)
        yield GatheredDevice(_merged(some, taken, label, chip_of), tuple(some), taken)


def _taken(runs: Sequence[GatheredRun]) -> dict[Cell, int]:
    """Return from which of some runs, old to new, each cell is to be taken."""
    found: dict[Cell, int] = {}
    good: set[Cell] = set()
    for index, run in enumerate(runs):
        for cell, passed in run.cells().items():
            if passed or cell not in good:
                found[cell] = index
            if passed:
                good.add(cell)
    return found


def _merged(runs: Sequence[GatheredRun], taken: Mapping[Cell, int], label: str, chip_of: ChipOf) -> Side:
    """Return the side that several runs of one device make."""
    sides = [run.side(label, chip_of) for run in runs]
    workloads: dict[Cell, frozenset[str]] = {}
    for side in sides:
        for cell, names in side.workloads.items():
            workloads[cell] = workloads.get(cell, frozenset()) | names
    merged: dict[str, Any] = {}
    for name in BY_CELL:
        columns = [getattr(side, name) for side in sides]
        merged[name] = {cell: columns[index][cell] for cell, index in taken.items() if cell in columns[index]}
    failed = tuple(cell for cell, index in taken.items() if cell in sides[index].failed)
    return sides[-1]._replace(failed=failed, workloads=workloads, **merged)

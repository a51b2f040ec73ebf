"""From what a user names to a side of a comparison: records, a folder, `latest`, a chip, others' rates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Final, NamedTuple, TypeVar

from bench.analysis.compare import Side
from bench.analysis.context import Context, context_of
from bench.analysis.estimates import Estimate, measured_rate, pooled
from bench.devices.base import Device, Origin
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Chip
from bench.published.measured import PublishedMeasurement
from bench.published.source import did_you_mean
from bench.records.parallel import by_chunks
from bench.records.record import Reading, Record, read_record
from bench.records.store import group_of, latest, record_paths
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape

_T = TypeVar("_T")
ChipOf = Callable[[str], Chip | None]

LATEST: Final = "latest"
PUBLISHED: Final = "published:"


class Named(NamedTuple):
    """A side, the ids of its records, why some could not be read, and how its name was understood."""

    side: Side
    ids: frozenset[str] = frozenset()
    damaged: tuple[RecordError, ...] = ()
    notes: tuple[str, ...] = ()


def measured_side(name: str, results: Path, chip_of: ChipOf, suggested: Sequence[str] = ()) -> Named:
    """Return the side of a record file, a folder of records (pooled) or `latest` below `results`.

    `latest` is the newest measured record, with the others of its `--processes` group. `chip_of` gives the chip
    with the id that a record names, if there is one. Records of a folder that cannot be read are left out and told
    in `damaged`. Raises RecordError if none can be, or they are of several devices, and InvalidRequest if `name`
    is none of these; the nearest of `suggested` are named then.
    """
    paths, notes = _paths(name, results, suggested)
    records = _Records()
    for chunk in by_chunks(_gathered, paths):
        records.extend(chunk, name)
    if records.damaged and len(paths) == 1:
        raise records.damaged[0]
    label = Path(name).name if Path(name).is_file() else name
    return Named(records.side(label, name, chip_of), frozenset(records.ids), tuple(records.damaged), notes)


def _paths(name: str, results: Path, suggested: Sequence[str]) -> tuple[Sequence[Path], tuple[str, ...]]:
    if name == LATEST:
        newest = latest(results)
        group = group_of(newest.path)
        more = f" and {len(group) - 1} more of its processes" if len(group) > 1 else ""
        return group, (*(f"skipped: {error}" for error in newest.skipped), f"{LATEST} is {newest.path}{more}")
    path = Path(name)
    if path.is_file():
        return [path], ()
    if path.is_dir():
        return record_paths(path), ()
    hint = did_you_mean(
        name,
        [LATEST, *suggested],
        otherwise=f"give a record file, a folder of records, {LATEST}, a chip or {PUBLISHED}CHIP",
    )
    message = f"{name!r} is no record, folder or chip{hint}"
    raise InvalidRequest(message)


class _Records:
    """Records of one side as they are read: of each only what a comparison needs is kept."""

    def __init__(self) -> None:
        self.rates: dict[Cell, list[Estimate]] = {}
        self.cycles: dict[Cell, list[float]] = {}
        self.clocks: dict[Cell, list[float]] = {}
        self.failed: dict[Cell, None] = {}
        self.contexts: list[Context] = []
        self.devices: dict[tuple[str, str, str], Device] = {}
        self.origin: Origin = "measured"
        self.ids: list[str] = []
        self.damaged: list[RecordError] = []

    def add(self, record: Record) -> None:
        """Take in one record."""
        header = record.header
        device = header.device
        self.devices.setdefault((device.name, header.origin, str(device.key)), device)
        self.origin = header.origin
        self.ids.append(header.replay_of or header.id)
        self.contexts.append(context_of(header))
        for reading in record.readings:
            self._add_reading(reading)

    def _add_reading(self, reading: Reading) -> None:
        cell, rate = reading.cell, measured_rate(reading)
        if rate is None:
            self.failed[cell] = None
            return
        self.rates.setdefault(cell, []).append(rate)
        if reading.cycles_per_call is not None:
            self.cycles.setdefault(cell, []).append(reading.cycles_per_call)
        if reading.sm_clock_hz is not None:
            self.clocks.setdefault(cell, []).append(reading.sm_clock_hz)

    def extend(self, other: "_Records", name: str) -> None:
        """Take in what was kept of more records. Raises RecordError if they are of another device or origin."""
        self.devices |= other.devices
        for index, what in enumerate(("devices", "origins", "machines")):
            found = list(dict.fromkeys(key[index] for key in self.devices))
            if len(found) > 1:
                message = f"{name}: holds records of several {what} ({', '.join(found[:2])}); name records of one"
                raise RecordError(message)
        self.origin = other.origin if other.ids else self.origin
        _join(self.rates, other.rates)
        _join(self.cycles, other.cycles)
        _join(self.clocks, other.clocks)
        self.failed |= other.failed
        self.contexts += other.contexts
        self.ids += other.ids
        self.damaged += other.damaged

    def side(self, label: str, name: str, chip_of: ChipOf) -> Side:
        """Return the side that these records make. Raises RecordError if there are none."""
        if not self.devices:
            message = f"{name}: none of its records can be read"
            raise RecordError(message)
        (device,) = self.devices.values()
        return Side(
            label,
            self.origin,
            device.name,
            {cell: found for cell, some in self.rates.items() if (found := pooled(some)) is not None},
            tuple(self.failed),
            None if device.chip is None else chip_of(device.chip),
            device.kind,
            {cell: geometric_mean(values) for cell, values in self.cycles.items()},
            {cell: geometric_mean(values) for cell, values in self.clocks.items()},
            self.contexts,
        )


def _join(mine: dict[Cell, list[_T]], its: Mapping[Cell, list[_T]]) -> None:
    for cell, values in its.items():
        mine.setdefault(cell, []).extend(values)


def _gathered(paths: Sequence[Path]) -> _Records:
    """Return what is kept of some record files, and why others cannot be read."""
    records = _Records()
    for path in paths:
        try:
            record = read_record(path)
        except RecordError as error:
            records.damaged.append(error)
        else:
            records.add(record)
    return records


def side_of_chip(chip: Chip) -> Side:
    """Return the side of a chip's published peaks."""
    return Side(chip.id, "published", chip.name, {}, chip=chip)


def side_of_others(chip: Chip, measurements: Iterable[PublishedMeasurement]) -> Side:
    """Return the side of what others published that they measured on a chip, keyed like cells.

    Of several rates for one cell the highest stands; those whose shape is not stated come last.
    """
    stated: dict[Cell, Estimate] = {}
    for one in sorted(measurements, key=lambda one: (one.shape is None, -one.rate)):
        stated.setdefault(stated_cell(one), Estimate(one.rate, None, published=one))
    return Side(f"{PUBLISHED}{chip.id}", "published measurement", chip.name, stated, chip=chip)


def stated_cell(published: PublishedMeasurement) -> Cell:
    """Return the cell of a published measurement; what its source does not state is absent."""
    dtype = DTYPES[published.dtype]
    m, n, k = published.shape or (None, None, None)
    return Cell(
        operation=gemm.OPERATION,
        version=gemm.VERSION,
        input=dtype.input,
        compute=dtype.compute,
        output=dtype.output,
        shape=Shape(m=m, n=n, k=k) if m and n and k else None,
        data=published.data,
    )


def check_distinct(named: Sequence[Named]) -> None:
    """Raise InvalidRequest if two sides share a record: against itself everything is the same."""
    seen: dict[str, str] = {}
    for one in named:
        for record in sorted(one.ids):
            if record in seen:
                where = dict.fromkeys((seen[record], one.side.label))
                message = f"record {record} is on both sides ({', '.join(where)}); compare two runs"
                raise InvalidRequest(message)
        seen |= dict.fromkeys(one.ids, one.side.label)


def told_apart(sides: Sequence[Side], names: Sequence[str]) -> list[Side]:
    """Return the sides, by the names they were asked for with where two would be called the same."""
    labels = [side.label for side in sides]
    return [
        side._replace(label=name) if labels.count(side.label) > 1 else side
        for side, name in zip(sides, names, strict=True)
    ]

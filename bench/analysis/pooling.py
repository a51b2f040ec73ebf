"""The records of one side, pooled: of each only what a comparison needs is kept, so that very many fit."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench.analysis.compare import Side
from bench.analysis.context import Context, context_of
from bench.analysis.estimates import Estimate, drawn_power, measured_rate, over_processes, pooled
from bench.analysis.tiling import Tiling, tiling_of
from bench.devices.base import Device, Origin
from bench.errors import RecordError
from bench.published.chips import Chip
from bench.records.record import Header, Reading, Record, read_record
from bench.records.store import read_each
from bench.workloads.base import Cell

ChipOf = Callable[[str], Chip | None]
_T = TypeVar("_T")


class Pool:
    """What is kept of the records of one device, and what is amiss with them.

    `ids` are those of the records whose samples they are (of a replay, the original's). A record that is there
    twice counts once, and is counted in `copies`; `interrupted` counts records that are not complete, and
    `groups` holds, for the runs of several processes, how many there should be and are.
    """

    def __init__(self) -> None:
        self.rates: dict[Cell, list[Estimate]] = {}
        self.cycles: dict[Cell, list[float]] = {}
        self.clocks: dict[Cell, list[float]] = {}
        self.algorithms: dict[Cell, dict[str, None]] = {}
        self.watts: dict[Cell, list[float]] = {}
        self.tilings: dict[Cell, Tiling] = {}
        self.workloads: dict[Cell, frozenset[str]] = {}
        self.failed: dict[Cell, None] = {}
        self.contexts: list[Context] = []
        self.devices: dict[tuple[str, str, str], Device] = {}
        self.origin: Origin = "measured"
        self.ids: dict[str, None] = {}
        self.copies = 0
        self.interrupted = 0
        self.groups: dict[str, tuple[int, int]] = {}
        self.damaged: list[RecordError] = []

    def add(self, record: Record) -> None:
        """Take in one record, unless its samples are here already."""
        header = record.header
        ident = header.replay_of or header.id
        if ident in self.ids:
            self.copies += 1
            return
        self.ids[ident] = None
        device = header.device
        self.devices.setdefault((device.name, header.origin, str(device.key)), device)
        self.origin = header.origin
        self.contexts.append(context_of(header))
        self.interrupted += not record.complete
        self._count(header)
        for reading in record.readings:
            self._add(reading)
        for cell in header.plan.cells:
            self.workloads[cell] = self.workloads.get(cell, frozenset()) | {header.plan.workload}

    def _count(self, header: Header) -> None:
        if header.process is not None:
            group = header.process.group
            self.groups[group] = (header.process.of, self.groups.get(group, (0, 0))[1] + 1)

    def _add(self, reading: Reading) -> None:
        cell, rate = reading.cell, measured_rate(reading)
        if rate is None:
            self.failed[cell] = None
            return
        self.rates.setdefault(cell, []).append(rate)
        if reading.cycles_per_call is not None:
            self.cycles.setdefault(cell, []).append(reading.cycles_per_call)
        if reading.sm_clock_hz is not None:
            self.clocks.setdefault(cell, []).append(reading.sm_clock_hz)
        power = drawn_power(reading)
        if power is not None:
            self.watts.setdefault(cell, []).append(power)
        tiling = tiling_of(reading.algorithm)
        if tiling is not None:
            self.tilings.setdefault(cell, tiling)
        if reading.algorithm:
            text = ", ".join(f"{name} {value}" for name, value in sorted(reading.algorithm.items()))
            self.algorithms.setdefault(cell, {})[text] = None

    def extend(self, other: "Pool") -> None:
        """Take in another pool, none of whose records may be in this one."""
        self.devices |= other.devices
        self.origin = other.origin if other.ids else self.origin
        _join(self.rates, other.rates)
        _join(self.cycles, other.cycles)
        _join(self.clocks, other.clocks)
        _join(self.watts, other.watts)
        self.tilings = other.tilings | self.tilings
        for cell, names in other.workloads.items():
            self.workloads[cell] = self.workloads.get(cell, frozenset()) | names
        for cell, texts in other.algorithms.items():
            self.algorithms.setdefault(cell, {}).update(texts)
        self.failed |= other.failed
        self.contexts += other.contexts
        self.ids |= other.ids
        self.copies += other.copies
        self.interrupted += other.interrupted
        for group, (of, here) in other.groups.items():
            self.groups[group] = (of, self.groups.get(group, (0, 0))[1] + here)
        self.damaged += other.damaged

    def side(self, label: str, chip_of: ChipOf) -> Side:
        """Return the side that these records make. Raises RecordError if there are none, or of several devices."""
        for index, what in enumerate(("devices", "origins", "machines")):
            several = list(dict.fromkeys(key[index] for key in self.devices))
            if len(several) > 1:
                named = ", ".join(several[:2])
                message = f"{label}: holds records of several {what} ({named}); name records of one"
                raise RecordError(message)
        if not self.devices:
            raise self._none_can_be_read(label)
        (device,) = self.devices.values()
        return Side(
            label=label,
            kind=self.origin,
            name=device.name,
            estimates={cell: found for cell, some in self.rates.items() if (found := pooled(some)) is not None},
            failed=tuple(self.failed),
            chip=None if device.chip is None else chip_of(device.chip),
            device_kind=device.kind,
            cycles=_over_processes(self.cycles),
            clocks=_over_processes(self.clocks),
            algorithms={cell: tuple(texts) for cell, texts in self.algorithms.items()},
            watts=_over_processes(self.watts),
            tilings=self.tilings,
            workloads=self.workloads,
            contexts=self.contexts,
        )

    def _none_can_be_read(self, label: str) -> RecordError:
        if len(self.damaged) == 1:
            return self.damaged[0]
        return RecordError(
            f"{label}: none of its records can be read, {len(self.damaged)} in all; the first: {self.damaged[0]}"
        )


def _over_processes(by_cell: Mapping[Cell, list[float]]) -> dict[Cell, float]:
    means = {cell: over_processes(values) for cell, values in by_cell.items()}
    return {cell: mean for cell, mean in means.items() if mean is not None}


def _join(mine: dict[Cell, list[_T]], its: Mapping[Cell, list[_T]]) -> None:
    for cell, values in its.items():
        mine.setdefault(cell, []).extend(values)


def pool_of(paths: Sequence[Path]) -> Pool:
    """Return what is kept of some record files, and why others cannot be read."""
    pool = Pool()
    for _, record in read_each(paths, read_record):
        if isinstance(record, RecordError):
            pool.damaged.append(record)
        else:
            pool.add(record)
    return pool

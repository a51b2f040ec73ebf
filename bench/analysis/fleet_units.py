"""The devices of a fleet: many records read, of each only what is needed kept, and of each cell the newest run.

A device that was measured again does not drag its old self along: each of its cells is taken from the newest run
in which every process that measured it passed its check. What is left out is counted.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

from bench.analysis.context import context_of, steered_by
from bench.analysis.estimates import Estimate, drawn_power, measured_rate, over_processes, pooled
from bench.analysis.fleet_names import Unit, host_names, unit_of
from bench.devices.base import Caveat, Device, Origin
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.errors import InvalidRequest, RecordError
from bench.records import disk
from bench.records.parallel import by_chunks
from bench.records.record import Header, Reading, Record, read_record
from bench.records.store import read_each, record_paths
from bench.workloads.base import Cell

Items = tuple[tuple[str, Any], ...]  # of a mapping
# What else a rate depends on, beside settings and variables: what computes, and the way to the machine's memory.
_VERSIONS: Final = ("driver", "cuda", "cublas", "cublaslt", "cupy", "blas")
_CONDITIONS: Final = ("pcie_width",)
_HELD_BACK: Final = (*FAULTS, POWER_CAP)


class Facts(NamedTuple):
    """What one process's record tells of a cell besides its rate, or several processes' on average.

    The clock held and that of the memory (Hz), clock cycles of a call, watts drawn, °C, and by name the share of
    readings in which something held the clock back: none of it if that is empty. None where the device does not
    tell.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    cycles_per_call: float | None = None
    watts: float | None = None
    temperature_c: float | None = None
    reasons: Mapping[str, float] | None = None
    algorithm: Items = ()


class Sight(NamedTuple):
    """What is kept of one measurement; `failed` is the whole of it if it has no rate."""

    cell: Cell
    rate: Estimate | None
    facts: Facts
    failed: Reading | None


class Surroundings(NamedTuple):
    """By name the settings, variables and versions that a run had, and what it warned of before it began."""

    named: tuple[tuple[str, str], ...]
    caveats: tuple[Caveat, ...]


class Sheet(NamedTuple):
    """What is kept of one record. `run` is what the records of one run of its device have in common."""

    ident: str
    run: str
    taken: str
    origin: Origin
    device: Device
    surroundings: Surroundings
    complete: bool
    sights: tuple[Sight, ...]


class Entry(NamedTuple):
    """One cell of one device: its rate in the newest run in which it passed, None if it passed in none.

    `failed` is a measurement of a later run, or of the only ones, that did not pass. `taken` is when the run of
    the rate began.
    """

    unit: Unit
    cell: Cell
    rate: Estimate | None
    facts: Facts
    surroundings: Surroundings
    failed: Reading | None
    taken: str = ""


class LeftOut(NamedTuple):
    """How many records count for nothing, and why, and of how many some cells may be missing."""

    replayed: int = 0
    simulated: int = 0
    keyless: int = 0
    copies: int = 0
    older: int = 0
    interrupted: int = 0


class Taken(NamedTuple):
    """Every cell of every device, what they are, why records cannot be read, and what was left out."""

    entries: tuple[Entry, ...]
    origin: Origin
    damaged: tuple[RecordError, ...]
    left_out: LeftOut


def fleet_paths(names: Iterable[str]) -> list[Path]:
    """Return the record files that paths of files and folders stand for, each once.

    Raises InvalidRequest if a name is no such path, RecordError if a folder holds no record.
    """
    found: dict[Path, Path] = {}
    for name in names:
        path = Path(name)
        if not disk.is_there(path) or not name.strip():
            message = f"{name!r} is no file or folder; --fleet takes those of records, and nothing else"
            raise InvalidRequest(message)
        for one in record_paths(path) if path.is_dir() else [path]:
            found.setdefault(one.resolve(), one)
    return [*found.values()]


def taken_from(paths: Sequence[Path]) -> Taken:
    """Return what some record files hold; simulated ones count only where nothing was measured."""
    parts = by_chunks(_sheets_of, paths)
    sheets = [sheet for part, _ in parts for sheet in part]
    damaged = tuple(error for _, errors in parts for error in errors)
    return _sorted_out(sheets)._replace(damaged=damaged)


def _sheets_of(paths: Sequence[Path]) -> tuple[list[Sheet], list[RecordError]]:
    """Return what is kept of some records, and why others cannot be read."""
    reader = _Reader()
    sheets: list[Sheet] = []
    damaged: list[RecordError] = []
    for _, record in read_each(paths, read_record):
        if isinstance(record, RecordError):
            damaged.append(record)
        else:
            sheets.append(reader.sheet(record))
    return sheets, damaged


class _Reader:
    """Keeps what records have in common once: a fleet's are alike, and all of it is sent between processes."""

    def __init__(self) -> None:
        self._cells: dict[Cell, Cell] = {}
        self._caveats: dict[frozenset[str], frozenset[str]] = {}
        self._reasons: dict[Items, Mapping[str, float]] = {}
        self._algorithms: dict[Items, Items] = {}
        self._surrounded: dict[str, Surroundings] = {}

    def sheet(self, record: Record) -> Sheet:
        header = record.header
        return Sheet(
            ident=header.replay_of or header.id,
            run=_run_of(header),
            taken=header.taken,
            origin=header.origin,
            device=header.device,
            surroundings=self._surroundings(header),
            complete=record.complete,
            sights=tuple(map(self._sight, record.readings)),
        )

    def _surroundings(self, header: Header) -> Surroundings:
        made = Surroundings(tuple(_named(header)), header.warnings)
        return self._surrounded.setdefault(repr(made), made)  # a caveat's values cannot be hashed

    def _sight(self, reading: Reading) -> Sight:
        rate = measured_rate(reading)
        if rate is None:
            return Sight(reading.cell, None, Facts(), reading)
        cell = self._cells.setdefault(reading.cell, reading.cell)
        kept = rate._replace(caveats=self._caveats.setdefault(rate.caveats, rate.caveats))
        return Sight(cell, kept, self._facts(reading), None)

    def _facts(self, reading: Reading) -> Facts:
        seen = reading.telemetry
        algorithm = tuple(reading.algorithm.items())
        return Facts(
            sm_clock_hz=_positive(reading.sm_clock_hz),
            memory_clock_hz=_positive(seen.memory_clock_hz.median) if seen and seen.memory_clock_hz else None,
            cycles_per_call=_positive(reading.cycles_per_call),
            watts=_positive(drawn_power(reading)),
            temperature_c=seen.temperature_c.median if seen and seen.temperature_c else None,
            reasons=self._held_back(seen.event_reasons if seen else None),
            algorithm=self._algorithms.setdefault(algorithm, algorithm),
        )

    def _held_back(self, told: Mapping[str, float] | None) -> Mapping[str, float] | None:
        if told is None:
            return None
        reasons = tuple((name, told[name]) for name in _HELD_BACK if name in told)
        return self._reasons.setdefault(reasons, dict(reasons))


def _positive(value: float | None) -> float | None:
    """Return a clock or a power; None of one that is 0, which a silent sensor tells."""
    return value or None


def _run_of(header: Header) -> str:
    """Return what the records of one run have in common: of several devices, or of one."""
    return header.member.fleet if header.member else header.run


def _named(header: Header) -> Iterator[tuple[str, str]]:
    """Yield what surrounded a run and may move a rate."""
    environment = header.environment
    yield from environment.settings.items()
    yield from ((name, environment.versions[name]) for name in _VERSIONS if name in environment.versions)
    yield from ((name, environment.conditions[name]) for name in _CONDITIONS if name in environment.conditions)
    yield from ((name, environment.flagged[name]) for name in steered_by(context_of(header)))
    yield "chipbench", header.tool
    if header.member is not None:
        yield "devices_at_once", str(header.member.at_once)


def _sorted_out(sheets: Sequence[Sheet]) -> Taken:
    """Return the entries of the records that count."""
    origin: Origin = "measured" if any(sheet.origin == "measured" for sheet in sheets) else "simulated"
    alike = [sheet for sheet in sheets if sheet.origin == origin]
    keyed = [sheet for sheet in alike if sheet.device.key is not None]
    distinct: dict[str, Sheet] = {}
    for sheet in keyed:
        known = distinct.get(sheet.ident)
        if known is None or _fullness(sheet) > _fullness(known):
            distinct[sheet.ident] = sheet
    entries, older = _entries([*distinct.values()])
    counts = LeftOut(
        replayed=sum(sheet.origin == "replayed" for sheet in sheets),
        simulated=sum(sheet.origin == "simulated" for sheet in sheets) if origin == "measured" else 0,
        keyless=len(alike) - len(keyed),
        copies=len(keyed) - len(distinct),
        older=older,
        interrupted=sum(not sheet.complete for sheet in distinct.values()),
    )
    return Taken(tuple(entries), origin, (), counts)


def _fullness(sheet: Sheet) -> tuple[bool, int]:
    """Return by what the longest of several copies of a record is told."""
    return sheet.complete, len(sheet.sights)


def _entries(sheets: Sequence[Sheet]) -> tuple[list[Entry], int]:
    """Return each cell of each device, and how many records are older than those from which all was taken."""
    by_unit: dict[tuple[str, str], list[Sheet]] = {}
    for sheet in sorted(sheets, key=lambda sheet: sheet.taken):
        device = sheet.device
        by_unit.setdefault((str(device.key), device.chip or device.name), []).append(sheet)
    hosts = host_names(sheet.device for sheet in sheets)
    entries: list[Entry] = []
    older = 0
    for unit, some in _apart([(unit_of(some[-1].device, hosts), some) for some in by_unit.values()]):
        found, left = _of_unit(unit, some)
        entries += found
        older += left
    return entries, older


def _apart(units: Sequence[tuple[Unit, list[Sheet]]]) -> Iterator[tuple[Unit, list[Sheet]]]:
    """Yield the devices with their records, marked if they share a place."""
    places = Counter((unit.host, unit.number) for unit, _ in units)
    for unit, sheets in units:
        yield unit._replace(shared=places[unit.host, unit.number] > 1), sheets


def _of_unit(unit: Unit, sheets: Sequence[Sheet]) -> tuple[list[Entry], int]:
    """Return the cells of one device, whose records come from old to new, and how many of these were not used."""
    runs: dict[str, list[Sheet]] = {}
    for sheet in sheets:
        runs.setdefault(sheet.run, []).append(sheet)
    entries: dict[Cell, Entry] = {}
    unused = 0
    for run in reversed(runs.values()):
        cells: dict[Cell, list[Sight]] = {}
        for sheet in run:
            for sight in sheet.sights:
                cells.setdefault(sight.cell, []).append(sight)
        used = not cells
        for cell, sights in cells.items():
            known = entries.get(cell)
            if known is not None and known.rate is not None:
                continue
            made = _entry(unit, run[-1], sights, known)
            if known is None or made.rate is not None:
                entries[cell], used = made, True
        unused += 0 if used else len(run)
    return [*entries.values()], unused


def _entry(unit: Unit, last: Sheet, sights: Sequence[Sight], later: Entry | None) -> Entry:
    """Return a cell as one run has it, by its `last` record; `later` is what a newer run has, which failed."""
    rates = [sight.rate for sight in sights if sight.rate is not None]
    failed = next((sight.failed for sight in sights if sight.failed is not None), None)
    newest = later.failed if later else failed
    if failed is not None:
        return Entry(unit, sights[0].cell, None, Facts(), last.surroundings, newest, last.taken)
    facts = sights[0].facts if len(sights) == 1 else _on_average([sight.facts for sight in sights])
    return Entry(unit, sights[0].cell, pooled(rates), facts, last.surroundings, newest, last.taken)


def _on_average(facts: Sequence[Facts]) -> Facts:
    """Return several processes' facts as one: means, geometric ones of what a rate is a multiple of."""
    told = [one.reasons for one in facts if one.reasons is not None]
    names = dict.fromkeys(name for reasons in told for name in reasons)
    return Facts(
        sm_clock_hz=over_processes(one.sm_clock_hz for one in facts),
        memory_clock_hz=over_processes(one.memory_clock_hz for one in facts),
        cycles_per_call=over_processes(one.cycles_per_call for one in facts),
        watts=_mean([one.watts for one in facts if one.watts is not None]),
        temperature_c=_mean([one.temperature_c for one in facts if one.temperature_c is not None]),
        reasons={name: fmean(one.get(name, 0.0) for one in told) for name in names} if told else None,
        algorithm=facts[0].algorithm,
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None

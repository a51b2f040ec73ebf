"""A record, as JSON lines: what each line holds, how a file is read, and every way it can be damaged."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from bench.devices.base import Caveat, Check, Device, Environment, Origin, Telemetry
from bench.errors import RecordError, one_line
from bench.measure.condensing import MOST, Condenser
from bench.measure.measurement import Measurement, Samples, Stop
from bench.measure.policy import Policy, Seconds
from bench.records import checks
from bench.stats import Summary, summarise
from bench.version import VERSION, is_later
from bench.workloads.base import Cell, NotNegative, Plan, Positive

# 1 (0.1.0): the first.
# 2 (0.2.0): `samples` lines; a measurement's search and telemetry, power and temperature of its samples; what a
#   GPU is identified by; the policy's search, rest and settling. Lines of schema 1 are read as they are.
# 3 (0.3.0): the policy's least sampling time (of older ones: 0); `autocorrelated` counts effective samples.
# 4 (0.4.0): `elements` of a copy's or a triad's cell, and the plan's `model`.
# 5 (0.7.0): a device's `index` and `host_key`; the header's `member`; `ways` of a peer copy's cell.
# Readers refuse fields that they do not know, so every new one takes a new number here and one old file in
# tests/data/; where a meaning changes, also a function that turns old lines into new ones.
SCHEMA: Final = 5


class Process(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of several fresh processes of one `run` this was: `index` (from 0) `of` them, in `group`."""

    index: NotNegative
    of: Positive
    group: str


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of several devices that one `run` measured this was: `index` (from 0) `of` them, in run `fleet`.

    `at_once` are the devices of its machine that were measured at the same time, this one included.
    """

    fleet: str
    index: NotNegative
    of: Positive
    at_once: Positive = 1


class Header(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="header"
):
    """The first line, written before anything is measured: what is going to be done, where and how.

    `replay_of` is the id of the record whose samples a replay handed out again, and `replayed_from` when that was
    begun.
    """

    schema: int
    id: str
    tool: str
    origin: Origin
    started: str
    backend: str
    device: Device
    environment: Environment
    policy: Policy
    plan: Plan
    warnings: tuple[Caveat, ...] = ()
    process: Process | None = None
    replay_of: str | None = None
    replayed_from: str | None = None
    member: Member | None = None

    @property
    def run(self) -> str:
        """What the records of all processes that one run had on a device have in common."""
        return self.process.group if self.process else self.id

    @property
    def power_limit_w(self) -> float | None:
        """The power limit that was set, in watts; None where the record does not tell, or tells nonsense."""
        try:
            limit = float(self.environment.settings["power_limit_w"])
        except (KeyError, ValueError):
            return None
        return limit if 0 < limit < math.inf else None

    @property
    def taken(self) -> str:
        """When the samples were begun to be taken: of a replay, long before it was `started`."""
        return self.replayed_from or self.started

    @property
    def taken_text(self) -> str:
        """The same as tables and prose have it, in UTC: '2026-11-28 06:08:44'."""
        return self.taken.replace("T", " ").removesuffix("Z")


class Resumed(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="resumed"
):
    """Written when an interrupted record is taken up again, in a new process."""

    at: str
    conditions: dict[str, str]


class Footer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="footer"
):
    """The last line of a complete record; `seconds` of wall time, of the last process if it was resumed."""

    ended: str
    measurements: NotNegative
    seconds: Seconds


class Chunk(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="samples"
):
    """Samples of a sustained cell, written while it runs; its measurement, later, holds only those after them.

    Where a `resumed` line follows instead, they are of an attempt that was cut off, and count for nothing.
    """

    cell: Cell
    samples: Samples


Line = Header | Measurement | Chunk | Resumed | Footer


class _Peek(msgspec.Struct, frozen=True):
    """What a header of any schema, later ones too, must have; `tool` may be anything there."""

    kind: str = ""
    schema: int = 0
    tool: Any = None


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Line).decode
_PEEK: Final = msgspec.json.Decoder(_Peek).decode


class Lines(NamedTuple):
    """A record with its samples. `torn` is how many bytes of an unfinished last line were left out."""

    header: Header
    measurements: tuple[Measurement, ...]
    resumed: int
    footer: Footer | None
    torn: int


class Reading(NamedTuple):
    """A measurement with its samples reduced to a summary; `summary` is None if the cell failed.

    `cycles_per_call` and `sm_clock_hz` are medians, None where the device told none.
    """

    cell: Cell
    summary: Summary | None
    stop: Stop
    check: Check | None
    warnings: tuple[Caveat, ...]
    failure: str | None
    passed: bool
    cycles_per_call: float | None = None
    sm_clock_hz: float | None = None
    algorithm: Mapping[str, str | int] = MappingProxyType({})
    telemetry: Telemetry | None = None


class Record(NamedTuple):
    """One run of one process on one device. Without a footer it is interrupted: valid, but not complete."""

    path: Path
    header: Header
    readings: tuple[Reading, ...]
    complete: bool
    resumed: int
    torn: int


def encode_line(line: Line) -> bytes:
    """Return one line of a record with its newline."""
    return _ENCODE(line) + b"\n"


def reduce(measurement: Measurement) -> Reading:
    """Return the measurement's summary, computed from its samples, without the samples.

    A rate beyond every device did not pass, whatever its check says of the product.
    """
    samples = measurement.samples
    values, cycles, clocks = samples.seconds_per_call, samples.cycles_per_call, samples.sm_clock_hz
    summary = summarise(values) if values else None
    beyond = checks.beyond_any_device(measurement.cell, summary.median) if summary else None
    return Reading(
        cell=measurement.cell,
        summary=summary,
        stop=measurement.stop,
        check=measurement.check,
        warnings=measurement.warnings,
        failure=measurement.failure or beyond,
        passed=measurement.passed and beyond is None,
        cycles_per_call=median(cycles) if cycles else None,
        sm_clock_hz=median(clocks) if clocks else None,
        algorithm=measurement.algorithm,
        telemetry=measurement.telemetry,
    )


def read_record(path: Path) -> Record:
    """Return the record in `path`, samples reduced. Raises RecordError as `read_lines` does."""
    return record_of(path, read_lines(path))


def record_of(path: Path, lines: Lines) -> Record:
    """Return the record that a file's lines are, samples reduced."""
    readings = tuple(map(reduce, lines.measurements))
    return Record(path, lines.header, readings, lines.footer is not None, lines.resumed, lines.torn)


def read_header(path: Path) -> Header:
    """Return the first line of a record, without reading the rest."""
    try:
        if path.exists() and not path.is_file():
            message = f"{path}: is no ordinary file, so no record; name a file or a folder of records"
            raise RecordError(message)
        with path.open("rb") as file:
            first = file.readline()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not first.endswith(b"\n"):
        raise _damaged(path, f"line 1, the header, is {'not whole' if first else 'missing'}")
    header = decode_line(path, 1, first)
    if not isinstance(header, Header):
        raise _damaged(path, "line 1 is no header")
    check_header(path, header)
    return header


def check_header(path: Path, header: Header) -> None:
    """Raise RecordError for a header that says what cannot be: a time that never was, a cell that is none."""
    places = {"process": header.process, "member": header.member}
    _refuse(path, 1, checks.wrong_header((header.started, header.replayed_from), places, header.plan.cells))


def read_lines(path: Path, *, most: int | None = MOST) -> Lines:
    """Return the whole record. Raises RecordError naming file, line and field for anything but a torn tail.

    A record is a header and any number of whole lines. Bytes after the last newline are an append that was cut
    off; they are ignored, and counted in `torn`. Cells with more than `most` samples are condensed, as if their
    blocks had been longer (see `Condenser`); None gives every sample.
    """
    header = read_header(path)
    held = Assembly(path, header, most=most)
    measurements: list[Measurement] = []
    torn = 0
    try:
        with path.open("rb") as file:
            file.readline()
            for number, raw in enumerate(file, start=2):
                if not raw.endswith(b"\n"):
                    torn = len(raw)
                    break
                ended = held.take(number, decode_line(path, number, raw))
                if ended is not None:
                    measurements.append(ended)
    except OSError as error:
        raise _unreadable(path, error) from error
    return Lines(header, tuple(measurements), held.resumed, held.footer, torn)


class Assembly:
    """A record line by line: what may come next. Errors name `path`; `done` are the cells that are measured.

    Of a cell, `most` samples are held (see `Condenser`).
    """

    def __init__(self, path: Path, header: Header, done: Iterable[Cell] = (), *, most: int | None = MOST) -> None:
        self.done = {*done}
        self.resumed = 0
        self.footer: Footer | None = None
        self._path, self._planned = path, frozenset(header.plan.cells)
        self._begun: dict[Cell, Condenser] = {}
        self._most = most

    def take(self, number: int, line: Line) -> Measurement | None:
        """Take in the line of this number, and return the measurement, with all its samples, that it ends.

        Raises RecordError if the line cannot stand there.
        """
        if self.footer is not None:
            raise _damaged(self._path, f"line {number} follows the footer")
        match line:
            case Chunk():
                self._check_expected(number, line.cell)
                _refuse(self._path, number, checks.wrong_samples(line.samples))
                self._begun.setdefault(line.cell, Condenser(self._most)).add(line.samples)
            case Measurement():
                return self._measured(number, line)
            case Resumed():
                _refuse(self._path, number, checks.wrong_time("at", line.at))
                self.resumed += 1
                self._begun.clear()
            case Footer():
                _refuse(self._path, number, checks.wrong_time("ended", line.ended))
                _check_complete(self._path, number, line, len(self.done), len(self._planned))
                self.footer = line
            case Header():
                raise _damaged(self._path, f"line {number} is a second header")
        return None

    def _measured(self, number: int, line: Measurement) -> Measurement:
        self._check_expected(number, line.cell)
        _refuse(self._path, number, checks.wrong_samples(line.samples))
        measurement, begun = line, self._begun.pop(line.cell, None)
        if begun is not None or len(line.samples.seconds_per_call) >= MOST:
            measurement = (begun or Condenser(self._most)).whole(line)
        _refuse(self._path, number, checks.wrong_measurement(measurement))
        self.done.add(line.cell)
        return measurement

    def _check_expected(self, number: int, cell: Cell) -> None:
        if cell not in self._planned:
            raise _damaged(self._path, f"line {number}: the cell is not in the plan: {cell.key}")
        if cell in self.done:
            raise _damaged(self._path, f"line {number}: the cell was measured before: {cell.key}")


def _refuse(path: Path, number: int, wrong: str | None) -> None:
    if wrong is not None:
        raise _damaged(path, f"line {number}: {wrong}")


def _check_complete(path: Path, number: int, footer: Footer, found: int, planned: int) -> None:
    if not footer.measurements == found == planned:
        counts = f"{found} measured and {planned} planned, and it counts {footer.measurements}"
        raise _damaged(path, f"line {number}: a footer, but of the cells {counts}")


def decode_line(path: Path, number: int, raw: bytes) -> Line:
    """Return what one line of a record holds; `number` counts from 1. Raises RecordError if it is none."""
    try:
        raw.decode("utf-8")
        if number == 1:
            _check_schema(path, _PEEK(raw))
        line: Line = _DECODE(raw)
    except UnicodeDecodeError as error:
        raise _damaged(path, f"line {number} is not UTF-8 (byte {error.start})") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _damaged(path, f"line {number}: {one_line(error)}") from error
    if isinstance(line, Header) and line.schema < 1:
        raise _damaged(path, f"line {number}: schema {line.schema} never existed")
    return line


def _check_schema(path: Path, peek: _Peek) -> None:
    if peek.kind == "header" and peek.schema > SCHEMA:
        needed = f"{peek.tool}, which wrote it, or later" if is_later(peek.tool) else "a later version"
        newer = f"record schema {peek.schema} is newer than this chipbench, {VERSION}, reads ({SCHEMA})"
        message = f"{path}: {newer}; upgrade chipbench to {needed} to read it"
        raise RecordError(message)


def _damaged(path: Path, what: str) -> RecordError:
    short = re.sub(r"\s+", " ", what)[:400]
    return RecordError(f"{path}: damaged record: {short}; restore it from a copy or move it away")


def _unreadable(path: Path, error: OSError) -> RecordError:
    return RecordError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")

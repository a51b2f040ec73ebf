"""Rates of matrix multiplies that others measured and published: one TOML file a chip, each with its source."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from bench.errors import SpecError
from bench.published.conditions import positive
from bench.published.figures import check_amount
from bench.published.source import (
    ByFile,
    Source,
    convert,
    did_you_mean,
    named_source,
    parse_toml,
    read_sources,
    read_text,
    written,
)
from bench.units import DTYPES, UNITS

BestOf = Literal["squares", "shapes"]
Data = Literal["normal", "zeros", "constant"]
Shape = tuple[int, int, int]
_LARGEST: Final = 1 << 40  # no side of a matrix is beyond


class PublishedMeasurement(NamedTuple):
    """One rate that others measured: `rate` in FLOP/s (OP/s for integers), `value` in `unit` as it was printed.

    `shape` is (m, n, k), None where it was not stated. `best_of` says that the value is the best of several
    square or arbitrary shapes; `shape` is then the one that was best, if that was stated. `data` is what the
    matrices were filled with. `software` is None where it was not stated.
    """

    chip: str
    dtype: str
    shape: Shape | None
    best_of: BestOf | None
    data: Data | None
    rate: float
    value: Decimal | int
    unit: str
    method: str
    software: str | None
    source: Source
    note: str | None
    path: Path


class _RawMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: str
    value: Any
    unit: str
    method: str
    source: str
    shape: Any = None
    best_of: BestOf | None = None
    data: Data | None = None
    software: str | None = None
    note: str | None = None


class _RawFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    chip: str
    sources: dict[str, Any]
    measurements: list[Any]


class PublishedMeasurements(ByFile[tuple[PublishedMeasurement, ...]]):
    """What was measured of each chip, by chip id, in the order of its file."""

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(folders, "published", read_measurements)

    def check_chips(self, known: Collection[str]) -> None:
        """Raise SpecError if a file is about a chip that is not among the ids `known`."""
        for chip, path in self._paths.items():
            if chip not in known:
                message = f"{path}: chip {chip!r} is no chip here"
                raise SpecError(message + did_you_mean(chip, known, otherwise="'chipbench chips' lists all"))


def read_published_measurements(folders: Sequence[Path]) -> PublishedMeasurements:
    """Return the measurements in some specs folders; a later folder's file replaces an earlier one of its chip."""
    return PublishedMeasurements(folders)


def read_measurements(path: Path) -> tuple[PublishedMeasurement, ...]:
    """Return the measurements in one TOML file; raise SpecError naming file, table and field if malformed."""
    return _measurements_in(read_text(path), path)


@lru_cache(maxsize=512)
def _measurements_in(text: str, path: Path) -> tuple[PublishedMeasurement, ...]:
    """Return the measurements in a file's text; a text that was read before is not parsed again."""
    raw = convert(parse_toml(text, path), _RawFile, str(path))
    if raw.chip != path.stem:
        message = f"{path}: chip {raw.chip!r} does not match the file name; the file must be named after its chip"
        raise SpecError(message)
    if not raw.measurements:
        message = f"{path}: measurements is empty; give at least one [[measurements]], or delete the file"
        raise SpecError(message)
    sources = read_sources(raw.sources, path)
    seen: dict[tuple[object, ...], int] = {}
    used: set[str] = set()
    measurements = []
    for number, table in enumerate(raw.measurements, start=1):
        where = f"{path}: [[measurements]] {number}"
        entry = convert(table, _RawMeasurement, where)
        used.add(entry.source)
        measurements.append(_measurement(entry, sources, path, where))
        _check_new(entry, seen, number, where)
    for name in sources:
        if name not in used:
            message = f"{path}: [sources.{name}]: no measurement names it; delete it or name it"
            raise SpecError(message)
    return tuple(measurements)


def _measurement(
    raw: _RawMeasurement, sources: Mapping[str, Source], path: Path, where: str
) -> PublishedMeasurement:
    unit = _unit(raw, where)
    for field in ("method", "software", "note"):
        text = getattr(raw, field)
        if text is not None and not text.strip():
            message = f"{where}: {field} {text!r} is empty; say it, or leave out what was not stated"
            raise SpecError(message)
    return PublishedMeasurement(
        chip=path.stem,
        dtype=raw.dtype,
        shape=_shape(raw, where),
        best_of=raw.best_of,
        data=raw.data,
        rate=_rate(raw, unit, where),
        value=raw.value,
        unit=raw.unit,
        method=raw.method,
        software=raw.software,
        source=named_source(raw.source, sources, where),
        note=raw.note,
        path=path,
    )


def _unit(raw: _RawMeasurement, where: str) -> Fraction:
    """Return how many base units the unit is; raise SpecError if the format is unknown or counts otherwise."""
    if raw.dtype not in DTYPES:
        message = f"{where}: dtype {raw.dtype!r} is unknown{did_you_mean(raw.dtype, DTYPES)}"
        raise SpecError(message)
    allowed = [unit for unit, meaning in UNITS.items() if meaning.base == DTYPES[raw.dtype].rate_unit]
    if raw.unit not in allowed:
        message = f"{where}: unit {raw.unit!r} is no rate of {raw.dtype}; use {', '.join(allowed)}"
        raise SpecError(message)
    return Fraction(UNITS[raw.unit].factor)


def _rate(raw: _RawMeasurement, unit: Fraction, where: str) -> float:
    """Return the rate in base units; raise SpecError for a value that is no number, or no rate of any device."""
    value = positive(raw.value, f"{where}: value")
    check_amount(Decimal(raw.value), raw.unit, f"{where}: value")
    return float(value * unit)


def _shape(raw: _RawMeasurement, where: str) -> Shape | None:
    if raw.shape is None:
        return None
    sides = raw.shape if isinstance(raw.shape, list) else []
    if len(sides) != 3 or any(type(side) is not int or not 1 <= side <= _LARGEST for side in sides):
        message = (
            f"{where}: shape {written(raw.shape)} must be three whole numbers above 0, like [4096, 4096, 4096]"
        )
        raise SpecError(message)
    if raw.best_of == "squares" and len(set(sides)) > 1:
        message = f'{where}: shape {raw.shape} is no square; correct it, or say best_of = "shapes"'
        raise SpecError(message)
    m, n, k = sides
    return m, n, k


def _check_new(raw: _RawMeasurement, seen: dict[tuple[object, ...], int], number: int, where: str) -> None:
    """Raise SpecError if an earlier table says the same of the same; note this one in `seen`."""
    same = (raw.dtype, tuple(raw.shape or ()), raw.best_of, raw.data, raw.source, raw.method)
    first = seen.setdefault(same, number)
    if first != number:
        message = f"{where}: dtype {raw.dtype!r}, shape, best_of, data, source and method are those of "
        message += f"[[measurements]] {first}; delete one, or say in method how they differ"
        raise SpecError(message)

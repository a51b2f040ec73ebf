"""The closed list of figures that a chip file may hold, and the rules for their values."""

import math
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from bench.errors import SpecError
from bench.published.source import (
    LARGEST,
    SMALLEST,
    Grade,
    Source,
    check_day,
    convert,
    did_you_mean,
    named_source,
    written,
)
from bench.units import MOST, UNITS

Status = Literal["known", "unknown", "inapplicable"]
Value = Decimal | str | date

# Rates by the bits of their operands. TF32 operands are stored and counted as 32 bits.
_FLOAT_RATES: Final = {
    "fp64": 64, "fp64_tensor": 64, "fp32": 32, "tf32": 32, "fp16": 16, "fp16_acc16": 16, "bf16": 16,
    "fp8": 8, "fp8_acc16": 8, "fp4": 4,
}  # fmt: skip
_INTEGER_RATES: Final = {"int8": 8, "int4": 4}


_LEAST: Final = 0.1  # of any base unit: no chip has less than 1 mm2, draws less than 1 W
_GENERATIONS: Final = range(1, 9)  # of PCIe: those that exist, and one ahead


class Kind(NamedTuple):
    """What a figure's value must be: `base` names its base unit; None means `text` or a `date`.

    `bits` is, of a dense rate, the length of the operands that are multiplied.
    """

    base: str | None
    rate: bool = False
    bits: int | None = None
    is_date: bool = False


def _kinds() -> dict[str, Kind]:
    text = Kind(None)
    kinds = {"architecture": text, "compute_capability": text, "form_factor": text}
    kinds |= {"sm_count": Kind("sm"), "boost_clock": Kind("hz")}
    for names, base in ((_FLOAT_RATES, "flop_per_s"), (_INTEGER_RATES, "op_per_s")):
        for name, bits in names.items():
            kinds[name] = Kind(base, rate=True, bits=bits)
            kinds[f"{name}_sparse"] = Kind(base, rate=True)
    kinds |= {
        f"flop_per_clock_per_sm.{name}": Kind("flop_per_clock_per_sm") for name in (*_FLOAT_RATES, *_INTEGER_RATES)
    }
    kinds |= {"memory_type": text, "memory_size": Kind("byte"), "memory_bandwidth": Kind("byte_per_s")}
    kinds |= {"l2": Kind("byte"), "nvlink": Kind("byte_per_s"), "pcie": Kind("generation"), "tdp": Kind("w")}
    kinds |= {"die_area": Kind("mm2"), "transistors": Kind("transistors")}
    return kinds | {"process": text, "launched": Kind(None, is_date=True)}


FIGURES: Final = MappingProxyType(_kinds())


class Alternative(NamedTuple):
    """Another published value of the same figure, in the figure's own unit."""

    value: Value
    source: Source
    note: str | None


class Figure(NamedTuple):
    """One published value of a chip. `value` is exact and in `unit`, as the sheet prints it.

    `status` is "unknown" when the chip must have such a value but nobody published it, and "inapplicable"
    when its architecture has no such thing; then `value` is None.
    """

    name: str
    status: Status
    value: Value | None
    unit: str | None
    dense: bool | None
    accumulate: str | None
    source: Source | None
    note: str | None
    alternatives: tuple[Alternative, ...]

    @property
    def grade(self) -> Grade | None:
        """What kind of publisher the value comes from."""
        return self.source.grade if self.source else None

    @property
    def base_unit(self) -> str | None:
        """The unit of `in_base_units`, as JSON names it."""
        return FIGURES[self.name].base

    def in_base_units(self, value: Value | None) -> int | float | str | None:
        """Return `value` (in this figure's unit) in base units, an int where that is exact; text as it is."""
        if isinstance(value, Decimal) and self.unit is not None:
            exact = value * UNITS[self.unit].factor
            return int(exact) if exact == exact.to_integral_value() else float(exact)
        if isinstance(value, date):
            return value.isoformat()
        return str(value) if value is not None else None

    @property
    def disputed(self) -> bool:
        """Whether an alternative gives another value."""
        return any(alternative.value != self.value for alternative in self.alternatives)


class _RawAlternative(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    value: Any
    source: str
    note: str | None = None


class _RawFigure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    value: Any = None
    status: Literal["unknown", "inapplicable"] | None = None
    unit: str | None = None
    dense: bool | None = None
    accumulate: str | None = None
    source: str | None = None
    note: str | None = None
    alternatives: list[Any] = []


def read_figure(name: str, table: object, sources: dict[str, Source], where: str) -> Figure:
    """Return the figure `name` from its TOML table, or raise SpecError naming `where` and the field."""
    kind = FIGURES.get(name)
    if kind is None:
        message = f"{where}: no such figure{did_you_mean(name, FIGURES)}"
        raise SpecError(message)
    raw = convert(table, _RawFigure, where)
    if (raw.value is None) == (raw.status is None):
        message = f'{where}: give either a value or status = "unknown" / "inapplicable"'
        raise SpecError(message)
    has_values = raw.value is not None or bool(raw.alternatives)
    _check_unit(kind, raw, where, needed=has_values)
    _check_dense(name, kind, raw, where)
    if raw.value is not None and raw.source is None:
        message = f"{where}: source is missing; name one of [sources]"
        raise SpecError(message)
    return Figure(
        name=name,
        status=raw.status or "known",
        value=None if raw.value is None else _value(kind, raw.value, raw.unit, f"{where}: value"),
        unit=raw.unit,
        dense=raw.dense,
        accumulate=raw.accumulate,
        source=None if raw.source is None else named_source(raw.source, sources, where),
        note=raw.note,
        alternatives=tuple(
            _alternative(kind, entry, raw.unit, sources, f"{where}: alternatives[{index}]")
            for index, entry in enumerate(raw.alternatives)
        ),
    )


def _alternative(
    kind: Kind, entry: object, unit: str | None, sources: dict[str, Source], where: str
) -> Alternative:
    raw = convert(entry, _RawAlternative, where)
    source = named_source(raw.source, sources, where)
    return Alternative(_value(kind, raw.value, unit, f"{where}: value"), source, raw.note)


def _check_unit(kind: Kind, raw: _RawFigure, where: str, *, needed: bool) -> None:
    allowed = [unit for unit, meaning in UNITS.items() if meaning.base == kind.base]
    if raw.unit is None and (kind.base is None or not needed):
        return
    if raw.unit not in allowed:
        known = f"use {', '.join(allowed)}" if allowed else "this figure takes none"
        found = "is missing" if raw.unit is None else f"{raw.unit!r} does not fit"
        message = f"{where}: unit {found}; {known}"
        raise SpecError(message)


def _check_dense(name: str, kind: Kind, raw: _RawFigure, where: str) -> None:
    if not kind.rate:
        if raw.dense is not None:
            message = f"{where}: dense says nothing here; only rates are dense or sparse"
            raise SpecError(message)
        return
    sparse_name = name.endswith("_sparse")
    if raw.value is not None and raw.dense is None:
        message = f"{where}: dense is missing; a rate is dense = true, or a *_sparse figure with dense = false"
        raise SpecError(message)
    if raw.dense is not None and raw.dense == sparse_name:
        other = name.removesuffix("_sparse") if sparse_name else f"{name}_sparse"
        kind_of_value = "dense" if raw.dense else "sparse"
        message = f"{where}: value {raw.value} is {kind_of_value} (dense = {str(raw.dense).lower()}); "
        message += f"it belongs under figures.{other}"
        raise SpecError(message)


def _value(kind: Kind, value: object, unit: str | None, where: str) -> Value:
    if kind.is_date:
        if type(value) is date:
            check_day(value, where)
            return value
        message = f"{where} {written(value)} must be a date like 2023-11-09, without quotes"
        raise SpecError(message)
    if kind.base is None:
        if isinstance(value, str) and value.strip():
            return value
        message = f"{where} {written(value)} must be a text that is not empty, in quotes"
        raise SpecError(message)
    number = _number(kind, value, where)
    check_amount(number, unit, where)
    return number


def check_amount(value: Decimal, unit: str | None, where: str) -> None:
    """Raise SpecError naming `where` if so much is more than any device has, or next to nothing."""
    meaning = UNITS.get(unit or "")
    if meaning is None or meaning.base not in MOST:
        return
    if not _LEAST <= float(value * meaning.factor) <= MOST[meaning.base]:
        message = f"{where} {value} {unit} is nothing that a device can have; is the unit right?"
        raise SpecError(message)


def _number(kind: Kind, value: object, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        message = f"{where} {written(value)} must be a number, without quotes"
        raise SpecError(message)
    if not 0 < float(Decimal(value)) < math.inf:
        message = f"{where} {value} must be finite and above 0"
        raise SpecError(message)
    if not SMALLEST <= float(Decimal(value)) <= LARGEST:
        message = f"{where} {value} must lie between {SMALLEST:g} and {LARGEST:g}; is the unit right?"
        raise SpecError(message)
    if kind.base == "generation" and value not in _GENERATIONS:
        message = f"{where} {value} must be a generation of PCIe, {_GENERATIONS[0]} to {_GENERATIONS[-1]}"
        raise SpecError(message)
    return Decimal(value)

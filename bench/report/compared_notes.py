"""What stands below a comparison: who is who, what differs, what verdicts rest on, what needs explaining."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.compare import (
    Against,
    Comparison,
    Efficiency,
    Row,
    Side,
    left_out,
    own_efficiency,
    some,
    told_apart,
)
from bench.analysis.context import Difference
from bench.analysis.estimates import Estimate
from bench.report.columns import KINDS
from bench.report.verdicts import explanation
from bench.report.view import significant
from bench.units import format_si
from bench.workloads.base import Cell

_PEAKS: Final = "published peaks are dense ones, as somebody published them; 'chips --sources' says who"
_ROUNDING: Final = 1.01  # of figures that were published rounded


def notes(comparison: Comparison) -> list[str]:
    """Return the notes of a comparison: first whether, then how much and how sure."""
    first, *rest = comparison.sides
    found = [_who(side) for side in comparison.sides]
    for side, between in zip(rest, comparison.differences, strict=True):
        found += _context(first, side, between)
    found += _verdicts(comparison)
    found += _clocks(comparison)
    found += _above_peak(comparison)
    found += _sources(comparison)
    if any(side.kind == "published" for side in comparison.sides):
        found.append(_PEAKS)
    found += _absent(comparison)
    if any(side.is_measured for side in comparison.sides):
        found.append("Intervals are 95 %; a ratio's is in brackets.")
    return found


def _who(side: Side) -> str:
    chip = f" = {side.chip.id}" if side.is_measured and side.chip else ""
    count = len(side.contexts)
    records = f", {count} records pooled" if count > 1 else ""
    return f"{side.label}: {KINDS[side.kind]}, {side.name}{chip}{records}"


def _context(first: Side, side: Side, between: Sequence[Difference]) -> Iterator[str]:
    blocking = [one for one in between if one.blocking]
    if blocking:
        names = " ".join(f"--allow {one.name}" for one in blocking)
        yield (
            f"{first.label} and {side.label} are not comparable: {_texts(blocking)}; measure both alike, or add "
            f"{names} if that is what you compare"
        )
    shown = [one for one in between if not one.blocking]
    if shown:
        yield f"different between {first.label} and {side.label}, and shown only: {_texts(shown)}"


def _texts(found: Sequence[Difference]) -> str:
    return "; ".join(
        "not known to be the same unit" if one.name == "unit" else f"{one.name} {one.a} against {one.b}"
        for one in found
    )


def _verdicts(comparison: Comparison) -> list[str]:
    """Return what verdicts rest on or lack, each sentence once, in the order of the rows."""
    findings = [one.finding for row in comparison.rows for one in row.others if one.finding is not None]
    return list(dict.fromkeys(text for text in map(explanation, findings) if text is not None))


def _each(comparison: Comparison) -> Iterator[tuple[Row, Side, Against]]:
    for row in comparison.rows:
        for side, one in zip(comparison.sides[1:], row.others, strict=True):
            yield row, side, one


def _clocks(comparison: Comparison) -> Iterator[str]:
    for row, side, one in _each(comparison):
        if one.clock is not None:
            clocks = " against ".join(format_si(hz, "Hz") for hz in (one.clock.clock_a, one.clock.clock_b))
            yield (
                f"{row.cell.label}: the clock moved ({clocks}): {side.label} has {significant(one.clock.rate)}× "
                f"the rate, but {significant(one.clock.per_cycle)}× in clock cycles"
            )


def _above_peak(comparison: Comparison) -> Iterator[str]:
    """Say of the rates above their own chip's peaks what may explain them; above another chip's is no wonder."""
    found: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for row, side, rate in _rates(comparison):
        own = own_efficiency(row.cell, side, rate)
        above = _above(row.cell, side, own) if own else None
        if above is not None:
            found.setdefault(above, {}).setdefault(side.label, []).append(row.cell)
    for (peak, cause), sides in found.items():
        where = "; ".join(f"{label} in {_listed(cells)}" for label, cells in sides.items())
        yield f"above its {peak}: {where}: {cause}"


def _rates(comparison: Comparison) -> Iterator[tuple[Row, Side, Estimate | None]]:
    for row in comparison.rows:
        yield row, comparison.sides[0], row.first
    for row, side, one in _each(comparison):
        yield row, side, one.estimate


def _above(cell: Cell, side: Side, own: Efficiency) -> tuple[str, str] | None:
    """Return which of its chip's peaks a rate is above, and what most likely explains it; None if it is not."""
    if own.at_clock is not None and own.at_clock > _ROUNDING:
        peak = "peak at the clock held"
        return peak, "the clock, the FLOP per clock or the product is another than assumed"
    if own.at_spec <= 1:
        return None
    peak = "published peak"
    if cell.data not in {None, "normal"}:
        return peak, f"{cell.data} data take less power than normal ones, and let the clock rise"
    clock = side.clocks.get(cell)
    if clock is not None and own.at_clock is not None:
        return peak, f"it held {format_si(clock, 'Hz')}, and the sheet's peak is at a lower clock"
    return peak, "a clock above the sheet's, a lower accumulate precision, or another product than assumed"


def _sources(comparison: Comparison) -> Iterator[str]:
    """Name who measured what others published, once each."""
    estimates = [row.first for row in comparison.rows] + [
        one.estimate for row in comparison.rows for one in row.others
    ]
    seen = dict.fromkeys(
        (one.published.source.title, one.published.method) for one in estimates if one and one.published
    )
    for title, method in seen:
        yield f"measured by others: {title} ({method})"


def _absent(comparison: Comparison) -> Iterator[str]:
    for side, cells in left_out(comparison):
        names = some(told_apart(cell, side, comparison.sides) for cell in cells)
        yield f"left out, as only {side.label} has them: {names}"
    for side in comparison.sides:
        if side.failed:
            yield f"{side.label}: failed their check, and are in no rate: {_listed(side.failed)}"


def _listed(cells: Sequence[Cell]) -> str:
    return some(cell.label for cell in cells)

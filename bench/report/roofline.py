"""The view of rooflines: every side's ceilings in each format, then every product under them."""

from collections.abc import Sequence
from typing import Any, Final

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.roofline import Ceilings, Point, Roof, Under
from bench.report.columns import KINDS, cell_columns, cell_texts, error_text, rate_columns
from bench.report.view import Column, Section, Texts, View, percent, section_of, significant, telling
from bench.units import format_si
from bench.workloads.base import Cell

_BYTES = "B/s"


_RIDGE: Final = (
    "the ridge is peak ÷ bandwidth, in operations per byte: a product that does fewer for every byte it moves is "
    "bound by memory"
)
_COUNTS: Final = "measured: the highest rate with normal data, in no burst, that neither the host nor a cache bent"
_PER_BYTE: Final = (
    "per byte: operations for every byte that is moved, each operand read or written once; the ceiling is the "
    "peak, or that times the bandwidth, whichever is lower"
)


def roofline_view(sides: Sequence[Side], limits: Sequence[Ceilings], points: Sequence[Point]) -> View:
    """Return the ceilings and the products of some sides."""
    return View(
        title=f"Roofline of {', '.join(side.label for side in sides)}",
        columns=(),
        rows=(),
        records=[*map(_of_ceilings, limits), *map(_of_point, points)],
        document={"ceilings": [*map(_of_ceilings, limits)], "cells": [*map(_of_point, points)]},
        sections=[_ceilings(limits, sides), *([_products(points, sides)] if points else [])],
        notes=[*map(_who, sides)],
    )


def _who(side: Side) -> str:
    count = len(side.contexts)
    return f"{side.label}: {KINDS[side.kind]}, {side.name}{f', {count} records pooled' if count > 1 else ''}"


def _ceilings(limits: Sequence[Ceilings], sides: Sequence[Side]) -> Section:
    columns = [
        *_of_side([one.side for one in limits], sides),
        (Column("dtype"), [one.format.label if one.format else "" for one in limits]),
        (Column("published peak", "right"), [_figure(one.published_peak) for one in limits]),
        (Column("measured peak", "right"), [_peak(one) for one in limits]),
        (Column("by"), [one.best.label if one.best else "" for one in limits]),
        (Column("published bandwidth", "right"), [_figure(one.published_bandwidth) for one in limits]),
        (Column("measured bandwidth", "right"), [_si(one.measured_bandwidth, _BYTES) for one in limits]),
        (Column("published ridge", "right"), [_ridge(one.published) for one in limits]),
        (Column("measured ridge", "right"), [_ridge(one.measured) for one in limits]),
    ]
    ridges = [_RIDGE] if any(one.published or one.measured for one in limits) else []
    notes = [*ridges, *_counting(limits), *_lacking(limits)]
    return section_of("Ceilings", telling(columns), notes)._replace(records=[*map(_of_ceilings, limits)])


def _products(points: Sequence[Point], sides: Sequence[Side]) -> Section:
    columns = [
        *_of_side([one.side for one in points], sides),
        *cell_texts([one.cell for one in points]),
        (Column("per byte", "right"), [significant(one.intensity, 3) for one in points]),
        (Column("rate", "right"), [_si(one.rate, one.cell.rate_label) for one in points]),
        (Column("bound by"), [_bound(one) for one in points]),
        (Column("of the published ceiling", "right"), [_share(one.published, one.cell) for one in points]),
        (Column("of the measured ceiling", "right"), [_share(one.measured, one.cell) for one in points]),
    ]
    found = section_of("Products", telling(columns), [_PER_BYTE, *_above(points)])
    return found._replace(records=[*map(_of_point, points)])


def _of_side(of: Sequence[Side], sides: Sequence[Side]) -> list[Texts]:
    return [(Column("of"), [side.label for side in of])] if len(sides) > 1 else []


def _counting(limits: Sequence[Ceilings]) -> list[str]:
    return [_COUNTS] if any(one.measured_peak or one.measured_bandwidth for one in limits) else []


def _lacking(limits: Sequence[Ceilings]) -> list[str]:
    """Say what has to be measured for a roof of one's own."""
    measured = {one.side.label: one for one in limits if one.side.is_measured}
    found = []
    for label, one in measured.items():
        if one.measured_bandwidth is None:
            found.append(f"{label}: has no bandwidth that counts; 'chipbench run --workload stream' measures one")
        if not any(other.measured_peak for other in limits if other.side is one.side):
            found.append(
                f"{label}: has no product that counts; where that is in another record, name their folder"
            )
    return found


def _above(points: Sequence[Point]) -> list[str]:
    above = dict.fromkeys(f"{one.cell.label} of {one.side.label}" for one in points if one.above)
    if not above:
        return []
    why = "its operands stayed in a cache, or the bandwidth was measured at a bad moment"
    return [f"above the measured ceiling by more than its interval: {', '.join(above)}; {why}"]


def _bound(one: Point) -> str:
    """Return what limits a product, by what was measured and by the sheet where that says something else."""
    known = [under.bound_by for under in (one.measured, one.published) if under is not None]
    return " / ".join(dict.fromkeys(known))


def _share(under: Under | None, cell: Cell) -> str:
    return "" if under is None else f"{percent(under.share)} of {format_si(under.ceiling, cell.rate_label)}"


def _figure(estimate: Estimate | None) -> str:
    return "" if estimate is None or estimate.figure is None else f"{estimate.figure.value} {estimate.figure.unit}"


def _si(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return ""
    text = format_si(estimate.rate, unit)
    return f"{text} {error_text(estimate)}".rstrip()


def _peak(one: Ceilings) -> str:
    return "" if one.format is None else _si(one.measured_peak, one.format.dtype.rate_label)


def _ridge(roof: Roof | None) -> str:
    return "" if roof is None else significant(roof.ridge, 3)


def _whose(row: str, side: Side) -> dict[str, Any]:
    """Return what a row of CSV or JSON is, a ceiling or a product, and whose."""
    return {"row": row, "side": side.label, "kind": side.kind, "name": side.name}


def _of_ceilings(one: Ceilings) -> dict[str, Any]:
    return {
        **_whose("ceiling", one.side),
        "dtype": one.format and one.format.dtype.name,
        "fast_accumulate": one.format and one.format.fast,
        "unit": one.format and one.format.dtype.rate_unit,
        "published_peak": one.published_peak and one.published_peak.rate,
        "measured_peak": one.measured_peak and one.measured_peak.rate,
        "published_bandwidth": one.published_bandwidth and one.published_bandwidth.rate,
        "measured_bandwidth": one.measured_bandwidth and one.measured_bandwidth.rate,
        "published_ridge": one.published and one.published.ridge,
        "measured_ridge": one.measured and one.measured.ridge,
        "measured_peak_cell": one.best and one.best.key,
    }


def _of_point(one: Point) -> dict[str, Any]:
    return {
        **_whose("product", one.side),
        **cell_columns(one.cell),
        **rate_columns(one.rate),
        "unit": one.cell.rate_unit,
        "operations_per_byte": one.intensity,
        **_of_under("published", one.published),
        **_of_under("measured", one.measured),
        "above_measured_ceiling": one.above,
    }


def _of_under(name: str, under: Under | None) -> dict[str, Any]:
    return {
        f"{name}_ceiling": under and under.ceiling,
        f"{name}_bound_by": under and under.bound_by,
        f"of_{name}_ceiling": under and under.share,
    }

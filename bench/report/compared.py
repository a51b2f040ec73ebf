"""The view of a comparison: measured, replayed and published rates side by side, never mixed up."""

from collections.abc import Sequence
from typing import Any

from bench.analysis.compare import Estimate, Row, Side
from bench.report.columns import (
    HOST_LIMITED,
    cell_columns,
    cell_texts,
    peak_text,
    rate_columns,
    ratio_text,
    unit_of,
)
from bench.report.view import Column, View, percent
from bench.units import format_si
from bench.workloads.base import Cell


def compare_view(sides: Sequence[Side], rows: Sequence[Row]) -> View:
    """Return one row a cell and, for every side after the first, its rate and its ratio to the first."""
    named = cell_texts([row.cell for row in rows])
    columns = [column for column, _ in named]
    for index, side in enumerate(sides):
        columns.append(Column(f"{side.label} ({side.kind})", "right"))
        columns += [Column(f"÷ {sides[0].label}", "right")] if index else []
    return View(
        title=f"{sides[0].label} against {', '.join(side.label for side in sides[1:])}",
        columns=columns,
        rows=[[*(texts[i] for _, texts in named), *_texts(row)] for i, row in enumerate(rows)],
        records=[_record(row, sides, i) for row in rows for i in range(len(sides)) if row.estimates[i]],
        document={
            "sides": [_side(side) for side in sides],
            "rows": [_document(row, sides) for row in rows],
        },
        notes=_notes(sides, rows),
    )


def _notes(sides: Sequence[Side], rows: Sequence[Row]) -> list[str]:
    notes = [f"{side.label}: {side.kind}, {side.name}" for side in sides]
    if any(side.kind == "published" for side in sides):
        notes.append(
            "published: a dense peak as somebody published it, without an interval; 'chips --sources' says who"
        )
    shown = {row.cell for row in rows}
    for side in sides:
        alone = [cell for cell in side.estimates if cell not in shown]
        if alone:
            notes.append(f"left out, as only {side.label} has them: {_listed(alone)}")
        if side.failed:
            notes.append(f"{side.label}: failed their check, and are in no rate: {_listed(side.failed)}")
    return [*notes, "Intervals are 95 %; a ratio's is in brackets. No verdict is drawn from them here."]


def _listed(cells: Sequence[Cell]) -> str:
    return ", ".join(dict.fromkeys(cell.label for cell in cells))


def _side(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "kind": side.kind,
        "name": side.name,
        "failed": [cell.key for cell in side.failed],
    }


def _texts(row: Row) -> list[str]:
    texts = []
    for index, estimate in enumerate(row.estimates):
        texts.append(_rate(row.cell, estimate))
        if index:
            texts.append(_ratio(row, index))
    return texts


def _rate(cell: Cell, estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.figure is not None:
        return peak_text(estimate.figure, cell)
    text = format_si(estimate.rate, cell.dtype.rate_label if cell.dtype else "OP/s")
    return text if estimate.half_width is None else f"{text} ±{percent(estimate.half_width, 2)}"


def _ratio(row: Row, index: int) -> str:
    if row.ratios[index] is None:
        limited = any(estimate.host_limited for estimate in (row.estimates[0], row.estimates[index]) if estimate)
        return HOST_LIMITED if limited else ""
    return ratio_text(row.ratios[index])


def _entry(row: Row, index: int) -> dict[str, Any]:
    estimate, ratio = row.estimates[index], row.ratios[index]
    return {
        **rate_columns(estimate),
        "figure": estimate.figure.name if estimate and estimate.figure else None,
        "ratio": ratio.value if ratio else None,
        "ratio_lo": ratio.interval.lo if ratio and ratio.interval else None,
        "ratio_hi": ratio.interval.hi if ratio and ratio.interval else None,
    }


def _record(row: Row, sides: Sequence[Side], index: int) -> dict[str, Any]:
    return {
        "side": sides[index].label,
        "kind": sides[index].kind,
        "name": sides[index].name,
        **cell_columns(row.cell),
        "unit": unit_of(row.cell),
        **_entry(row, index),
    }


def _document(row: Row, sides: Sequence[Side]) -> dict[str, Any]:
    return {
        "cell": row.cell.key,
        "dtype": row.cell.dtype_name,
        "shape": [row.cell.shape.m, row.cell.shape.n, row.cell.shape.k] if row.cell.shape else None,
        "library": row.cell.library,
        "unit": unit_of(row.cell),
        "sides": [{"label": side.label, **_entry(row, i)} for i, side in enumerate(sides)],
    }

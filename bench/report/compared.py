"""The view of a comparison: measured, replayed, others' and published rates side by side, never mixed up."""

from collections.abc import Sequence
from typing import Any, Final

from bench.analysis.compare import Against, Comparison, Row, Side, own_efficiency
from bench.analysis.estimates import Estimate
from bench.analysis.gates import Trip
from bench.analysis.verdict import Finding
from bench.published.figures import Figure
from bench.published.measured import PublishedMeasurement
from bench.report.columns import (
    HOST_LIMITED,
    KINDS,
    cell_columns,
    cell_texts,
    error_text,
    peak_text,
    published_text,
    rate_columns,
    ratio_columns,
    ratio_text,
)
from bench.report.compared_notes import notes
from bench.report.verdicts import ABSENT, verdict_text
from bench.report.view import Case, Column, View, percent, telling
from bench.units import format_si
from bench.workloads.base import Cell

_VERDICT_WIDTH: Final = 48


def compare_view(comparison: Comparison, trips: Sequence[Trip] = ()) -> View:
    """Return one row a cell and, for every side after the first, its rate, the ratio and what follows from it.

    `trips` are the cells that met a condition of `--fail-on`.
    """
    sides, rows = comparison.sides, comparison.rows
    columns = [
        *cell_texts([row.cell for row in rows]),
        (_heading(sides[0]), [_rate(row.cell, row.first) for row in rows]),
        *_of_own_peak(sides[0], [(row.cell, row.first) for row in rows], sides),
    ]
    for index, side in enumerate(sides[1:]):
        pairs = [(row, row.others[index]) for row in rows]
        rate, *more = _columns_of(side, sides[0], pairs)
        columns += [rate, *_of_own_peak(side, [(row.cell, one.estimate) for row, one in pairs], sides), *more]
    return View(
        title=f"{sides[0].label} against {', '.join(side.label for side in sides[1:])}",
        columns=[column for column, _ in columns],
        rows=[[texts[index] for _, texts in columns] for index in range(len(rows))],
        records=[record for row in rows for record in _records(row, comparison)],
        document=_document(comparison, trips),
        notes=notes(comparison),
        cases=[*(case for row in rows for case in _cases(row, comparison, trips)), *_absent(comparison, trips)],
    )


def _heading(side: Side) -> Column:
    return Column(f"{side.label} ({KINDS[side.kind]})", "right")


def _of_own_peak(
    side: Side, pairs: Sequence[tuple[Cell, Estimate | None]], sides: Sequence[Side]
) -> list[tuple[Column, list[str]]]:
    """Return a side's shares of its own chip's peaks, where no peak was asked for by name."""
    if any(one.kind == "published" for one in sides):
        return []
    found = [own_efficiency(cell, side, rate) for cell, rate in pairs]
    columns = [
        (Column("of its published peak", "right"), [percent(one.at_spec) if one else "" for one in found]),
        (
            Column("at the clock held", "right"),
            [percent(one.at_clock) if one and one.at_clock else "" for one in found],
        ),
    ]
    return telling(columns)


def _columns_of(side: Side, first: Side, pairs: Sequence[tuple[Row, Against]]) -> list[tuple[Column, list[str]]]:
    """Return the columns of one side; those that say nothing here are left out."""
    at_clock = (Column("at the clock held", "right"), [_share_at_clock(one) for _, one in pairs])
    if side.kind == "published" and first.kind != "published":
        head = Column(f"{first.label} of {side.label} ({KINDS[side.kind]})")
        columns = [(head, [_share_of_peak(row, one) for row, one in pairs]), at_clock]
    else:
        columns = [
            (_heading(side), [_rate(row.cell, one.estimate) for row, one in pairs]),
            (Column(f"÷ {first.label}", "right"), [_ratio(row, one) for row, one in pairs]),
            (Column(f"of {first.label}", "right"), [_share(one) for _, one in pairs]),
            at_clock,
            (Column("verdict", width=_VERDICT_WIDTH), _verdicts([one.finding for _, one in pairs])),
        ]
    return [columns[0], *telling(columns[1:])]


def _verdicts(findings: Sequence[Finding | None]) -> list[str]:
    """Return the verdicts; none at all where nobody could have one, as the notes say."""
    only_published = all(finding is None or finding.reason == "published" for finding in findings)
    return ["" if only_published else verdict_text(finding) for finding in findings]


def _rate(cell: Cell, estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.figure is not None:
        return peak_text(estimate.figure, cell)
    if estimate.published is not None:
        return published_text(estimate.published)
    text = format_si(estimate.rate, cell.rate_label)
    return f"{text} {error_text(estimate)}".rstrip()


def _ratio(row: Row, one: Against) -> str:
    if one.efficiency is not None:
        return ""
    limited = any(estimate is not None and estimate.host_limited for estimate in (row.first, one.estimate))
    return HOST_LIMITED if one.ratio is None and limited else ratio_text(one.ratio)


def _share(one: Against) -> str:
    return percent(one.efficiency.at_spec) if one.efficiency else ""


def _share_of_peak(row: Row, one: Against) -> str:
    if one.estimate is None:
        return ""
    limited = row.first is not None and row.first.host_limited
    share = HOST_LIMITED if limited else _share(one)
    return f"{share} of {_rate(row.cell, one.estimate)}" if share else ""


def _share_at_clock(one: Against) -> str:
    held = one.efficiency.at_clock if one.efficiency else None
    return "" if held is None else percent(held)


def _records(row: Row, comparison: Comparison) -> list[dict[str, Any]]:
    """Return one record for each side that has the cell, in base units."""
    first, *rest = comparison.sides
    found = [_record(row, first, Against(row.first))] if row.first else []
    pairs = zip(rest, row.others, strict=True)
    return [*found, *(_record(row, side, one) for side, one in pairs if one.estimate or one.finding)]


def _record(row: Row, side: Side, one: Against) -> dict[str, Any]:
    return {
        "side": side.label,
        "kind": side.kind,
        "name": side.name,
        **cell_columns(row.cell),
        "unit": row.cell.rate_unit,
        **_entry(row.cell, side, one),
    }


def _entry(cell: Cell, side: Side, one: Against) -> dict[str, Any]:
    estimate, ratio, finding, efficiency = one.estimate, one.ratio, one.finding, one.efficiency
    published = estimate.published if estimate else None
    own = own_efficiency(cell, side, estimate)
    return {
        **rate_columns(estimate),
        "processes": estimate.processes if estimate else 0,
        "figure": estimate.figure.name if estimate and estimate.figure else None,
        **_source(published, estimate.figure if estimate else None),
        **ratio_columns(ratio),
        "of_peak": efficiency.at_spec if efficiency else None,
        "of_peak_at_clock": efficiency.at_clock if efficiency else None,
        "of_own_peak": own.at_spec if own else None,
        "of_own_peak_at_clock": own.at_clock if own else None,
        "verdict": finding.verdict if finding else None,
        "reason": finding.reason if finding else None,
    }


def _source(published: PublishedMeasurement | None, figure: Figure | None) -> dict[str, Any]:
    source = published.source if published else figure.source if figure else None
    return {
        "source": source.title if source else None,
        "source_url": source.url if source else None,
        "best_of": published.best_of if published else None,
        "method": published.method if published else None,
        "software": published.software if published else None,
    }


def _document(comparison: Comparison, trips: Sequence[Trip]) -> dict[str, Any]:
    return {
        "sides": [_side(side) for side in comparison.sides],
        "differences": [
            {"side": side.label, "name": one.name, "first": one.a, "this": one.b, "blocking": one.blocking}
            for side, found in zip(comparison.sides[1:], comparison.differences, strict=True)
            for one in found
        ],
        "rows": [_row(row, comparison.sides) for row in comparison.rows],
        "absent": [
            {"cell": one.cell.key, "side": one.label, "reason": one.reason, "at": one.at}
            for one in comparison.absent
        ],
        "tripped": [{"cell": trip.cell.key, "side": trip.label, "fail_on": trip.gate} for trip in trips],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "kind": side.kind,
        "name": side.name,
        "chip": side.chip.id if side.chip else None,
        "records": len(side.contexts),
        "failed": [cell.key for cell in side.failed],
    }


def _row(row: Row, sides: Sequence[Side]) -> dict[str, Any]:
    shape = row.cell.shape
    first = {"label": sides[0].label, **_entry(row.cell, sides[0], Against(row.first))}
    others = [_other(row.cell, side, one) for side, one in zip(sides[1:], row.others, strict=True)]
    return {
        "cell": row.cell.key,
        "dtype": row.cell.dtype_name,
        "shape": [shape.m, shape.n, shape.k] if shape else None,
        "library": row.cell.library,
        "unit": row.cell.rate_unit,
        "sides": [first, *others],
    }


def _other(cell: Cell, side: Side, one: Against) -> dict[str, Any]:
    clock = one.clock
    moved = clock and {
        "ratio": clock.rate,
        "ratio_per_cycle": clock.per_cycle,
        "first_hz": clock.clock_a,
        "this_hz": clock.clock_b,
    }
    values = dict(one.finding.values) if one.finding else {}
    return {"label": side.label, **_entry(cell, side, one), "values": values, "clock_moved": moved}


def _cases(row: Row, comparison: Comparison, trips: Sequence[Trip]) -> list[Case]:
    """Return a test case for each side that was judged: failed where it tripped, skipped without a verdict."""
    cases = []
    for side, one in zip(comparison.sides[1:], row.others, strict=True):
        if one.finding is not None:
            text = " ".join(part for part in (verdict_text(one.finding), ratio_text(one.ratio)) if part)
            told = one.finding.verdict in {"faster", "slower", "same"}
            cases.append(_case(row.cell, side.label, comparison, trips, text, told=told))
    return cases


def _absent(comparison: Comparison, trips: Sequence[Trip]) -> list[Case]:
    return [
        _case(
            one.cell, one.label, comparison, trips, f"not comparable: {ABSENT[one.reason]} in {one.at}", told=False
        )
        for one in comparison.absent
    ]


def _case(cell: Cell, label: str, comparison: Comparison, trips: Sequence[Trip], text: str, *, told: bool) -> Case:
    by_library = f" {cell.library}" if cell.library else ""
    name = f"{cell.label}{by_library}: {label} against {comparison.sides[0].label}"
    failed = any((trip.cell, trip.label) == (cell, label) for trip in trips)
    return Case(name, "failed" if failed else "passed" if told else "skipped", text)

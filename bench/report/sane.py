"""The view of a run held against what others measured on the same chip."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

from bench.analysis.compare import Side
from bench.analysis.gates import Trip
from bench.analysis.sane import ALLOWANCE, Judged
from bench.report.columns import KINDS, cell_columns, cell_texts, rate_columns, source_notes
from bench.report.view import Case, Column, Outcome, View, percent
from bench.units import format_si
from bench.workloads.base import LARGE, MEDIUM

_WHY: Final = MappingProxyType[str, str](
    {
        "power_limit": "the power limit is not the default",
        "application_clocks": "the application clock is not the default",
        "gpu_processes": "other processes used the GPU",
        "busy": "other work took the processor",
        "hot": "it was hot before it began; look after cooling",
        "hw_slowdown": "the board slowed it down, a fault of cooling or power supply",
        "hw_thermal_slowdown": "heat slowed it down; look after cooling",
        "sw_thermal_slowdown": "heat slowed it down; look after cooling",
        "hw_power_brake_slowdown": "the power supply slowed it down",
        "stalled": "it mostly stood still; measure again",
        "stepped": "its speed changed while it ran, from one level to another; measure again",
        "not_flat": "it never settled; warm up longer",
        "autocorrelated": "its blocks depend on each other; measure on an idle machine",
        "bimodal": "it took turns between two speeds",
        "power_limited": "its power limit held it back, for which others' runs are too short",
        "low_clock": "the clock was far below its boost clock",
        "steered": "variables that steer the libraries are set",
        "slow_library": "nothing unusual was recorded: try --library both, larger matrices, another driver",
        "data": "predictable data take less power",
        "high_clock": "the clock was above the published boost clock",
        "in_cache": "its arrays stayed in a cache; take larger ones",
        "other_chip": "it may be another product (see 'chipbench devices')",
        "other_product": "it may be another product (see 'chipbench devices'), or sums of lower precision",
        "failed": "it failed its check in some process; see 'chipbench results check'",
        "host_limited": "host-limited",
        "unusual": "only normal data at a steady rate, alone, are held against others'",
        "unpublished": "nobody published such a rate",
        "memory_bound": "bound by memory, unlike the products that others measured",
        "unstated_sums": "others do not say how they summed; see the row of fast sums",
    }
)


def sane_view(side: Side, found: Sequence[Judged], trips: Sequence[Trip] = ()) -> View:
    """Return one row a cell: its rate, what others measured of its format and size, and what that says."""
    chip = side.chip.id if side.chip else "unknown"
    columns: list[tuple[Column, list[str]]] = [
        *cell_texts([one.cell for one in found]),
        (Column(f"{side.label} ({KINDS[side.kind]})", "right"), [_rate(one) for one in found]),
        (Column(KINDS["published measurement"], "right"), [_range(one) for one in found]),
        (Column("is it sane?"), [one.sanity for one in found]),
        (Column("why, and what to check"), [_checks(one) for one in found]),
    ]
    return View(
        title=f"{side.label}, {side.name} = {chip}, against what others measured on that chip",
        columns=[column for column, _ in columns],
        rows=[[texts[index] for _, texts in columns] for index in range(len(found))],
        records=[_record(side, one) for one in found],
        document={
            "side": side.label,
            "kind": side.kind,
            "chip": chip,
            "cells": [{"cell": one.cell.key, **_record(side, one)} for one in found],
            "tripped": [{"cell": trip.cell.key, "side": trip.label, "fail_on": trip.gate} for trip in trips],
        },
        notes=_notes(found),
        cases=[_case(side, one, trips) for one in found],
    )


def _rate(one: Judged) -> str:
    return "no rate" if one.rate is None else format_si(one.rate.rate, one.cell.rate_label)


def _range(one: Judged) -> str:
    if not one.published:
        return ""
    least, most = (pick(one.published, key=lambda published: published.rate) for pick in (min, max))
    if len(one.published) == 1:
        return f"{least.value} {least.unit}"
    unit = "" if least.unit == most.unit else f" {least.unit}"
    return f"{least.value}{unit} … {most.value} {most.unit} ({len(one.published)} rates)"


def _checks(one: Judged) -> str:
    texts = [_WHY[code] for code in one.checks]
    if {"low_clock", "high_clock", "power_limited"} & {*one.checks}:
        texts.append(f"it held {format_si(one.values['clock'], 'Hz')}, of {format_si(one.values['boost'], 'Hz')}")
    return "; ".join(texts)


def _record(side: Side, one: Judged) -> dict[str, Any]:
    return {
        "side": side.label,
        "kind": side.kind,
        **cell_columns(one.cell),
        **rate_columns(one.rate),
        "unit": one.cell.rate_unit,
        "published_lo": min((published.rate for published in one.published), default=None),
        "published_hi": max((published.rate for published in one.published), default=None),
        "published_rates": len(one.published),
        "sources": "; ".join(dict.fromkeys(published.source.title for published in one.published)),
        "sane_lo": one.lo,
        "sane_hi": one.hi,
        "sanity": one.sanity,
        "checks": " ".join(one.checks),
    }


def _notes(found: Sequence[Judged]) -> list[str]:
    meant = (
        f"sane is a rate within what others measured of this format and size class (small below {MEDIUM}³, medium "
        f"below {LARGE}³, large), or {percent(ALLOWANCE, 2)} beyond either end"
    )
    return [
        meant,
        *source_notes(published for one in found for published in one.published),
    ]


def _case(side: Side, one: Judged, trips: Sequence[Trip]) -> Case:
    outcome: Outcome = "passed" if one.sanity == "sane" else "skipped"
    if any(trip.cell == one.cell for trip in trips):
        outcome = "failed"
    by_library = f" {one.cell.library}" if one.cell.library else ""
    checks = _checks(one)
    return Case(
        f"{one.cell.label}{by_library}: {side.label}", outcome, f"{one.sanity}{f': {checks}' if checks else ''}"
    )

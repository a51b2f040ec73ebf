"""A fleet as data for programs: one record a device and cell, and the JSON document, in base units."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.analysis.fleet import Fleet, Group, HostStanding, Standing
from bench.analysis.fleet_evidence import explains
from bench.analysis.fleet_names import Unit
from bench.analysis.gates import Trip
from bench.report.columns import cell_columns, rate_columns, ratio_columns
from bench.report.fleet_texts import signs_text
from bench.report.wording import failure
from bench.stats import at_share


def fleet_records(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """Yield one record for each device and cell, with what the records say of what lies beyond its limit."""
    for group in fleet.groups:
        shared = {**cell_columns(group.cell), "unit": group.cell.rate_unit}
        for one in group.standings:
            says = signs_text(one.signs) if one.direction else None
            yield {"kind": fleet.origin, **_device(one.entry.unit), **shared, **_standing(one), "says": says}


def _device(unit: Unit) -> dict[str, Any]:
    return {"product": unit.product, "host": unit.host, "number": unit.number, "device": unit.key}


def _standing(one: Standing) -> dict[str, Any]:
    rate = one.entry.rate
    return {
        **rate_columns(rate),
        "processes": rate.processes if rate else 0,
        **ratio_columns(one.ratio),
        "limit": one.limit,
        "verdict": one.verdict,
        "reason": one.reason,
        "failure": one.entry.failed and failure(one.entry.failed),
    }


def fleet_document(fleet: Fleet, trips: Sequence[Trip]) -> dict[str, Any]:
    """Return the JSON document: what devices and cells are is said once, and each one's rate below its group."""
    return {
        "kind": fleet.origin,
        "groups": [_group(group) for group in fleet.groups],
        "devices": [{**_device(unit), "name": unit.name} for unit in fleet.units],
        "outliers": [_outlier(group, one) for group, one in fleet.outliers],
        "untold": [_outlier(group, one) for group, one in fleet.untold],
        "hosts": [_host(one) for one in fleet.hosts],
        "left_out": {**fleet.left_out._asdict(), "damaged": len(fleet.damaged)},
        "tripped": [
            {"cell": trip.cell.key, "side": trip.label, "fail_on": trip.gate, "found": trip.found or trip.gate}
            for trip in trips
        ],
    }


def _group(group: Group) -> dict[str, Any]:
    median, rates, bulk = group.median, group.rates, group.bulk
    interval = median.interval if median else None
    return {
        "product": group.product,
        "chip": group.chip.id if group.chip else None,
        "number": group.standings[0].entry.unit.number if group.is_of_links else None,
        "cell": group.cell.key,
        **cell_columns(group.cell),
        "unit": group.cell.rate_unit,
        "devices": len(group.standings),
        "counted": bulk.n if bulk else 0,
        "median": median.rate if median else None,
        "median_lo": interval.lo if interval else None,
        "median_hi": interval.hi if interval else None,
        "of_peak": group.of_peak,
        "spread": bulk.scale if bulk else None,
        "p05": at_share(rates, 0.05) if rates else None,
        "p95": at_share(rates, 0.95) if rates else None,
        "least": rates[0] if rates else None,
        "most": rates[-1] if rates else None,
        "limit_in_spreads": bulk.limit if bulk else None,
        "tested": group.tested,
        "slower": group.how_many("slower"),
        "faster": group.how_many("faster"),
        "cant_tell": group.how_many("can't tell"),
        "failed": group.how_many("failed"),
        "rates": [{"device": one.entry.unit.key, **_standing(one)} for one in group.standings],
    }


def _outlier(group: Group, one: Standing) -> dict[str, Any]:
    return {
        **_device(one.entry.unit),
        "cell": group.cell.key,
        **_standing(one),
        "says": signs_text(one.signs),
        "signs": [{"code": sign.code, **sign.values, "explains": sign.explains} for sign in one.signs],
        "explained": explains(one.signs),
    }


def _host(one: HostStanding) -> dict[str, Any]:
    return {
        "host": one.host,
        "product": one.group.product,
        "cell": one.group.cell.key,
        "devices": one.devices,
        **ratio_columns(one.ratio),
        "limit": one.limit,
        "verdict": one.verdict,
    }

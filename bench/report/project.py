"""The view of rates carried over to a chip that was not measured: each with its range and what limits it there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.analysis.cost import joules_per_peta, usd_per_peta
from bench.analysis.estimates import is_above_peak
from bench.analysis.hardware import architecture
from bench.analysis.in_use import Pair
from bench.analysis.project import Projected, Projection
from bench.analysis.source import REASONS, LeftOut
from bench.analysis.times import Times
from bench.published.models import Model
from bench.report.columns import KINDS, cell_columns, cell_texts, rate_columns
from bench.report.steps import pair_sections, steps_document
from bench.report.view import Column, Section, Texts, View, few, percent, section_of, significant
from bench.units import format_si
from bench.workloads.base import STREAMS

_MOST_NAMED: Final = 4
_MODEL: Final = (
    "nobody measured these: each is the source's rate carried over by published figures (arithmetic at the clock "
    "held, memory, waves of tiles, power), for one architecture and equally good libraries"
)
_RANGE: Final = (
    "the range holds what that leaves open, such as what power does to the clock, 4.5 % by which units differ, "
    "and where power is the limit the interval of the measurement"
)
_WIDE: Final = (
    "what others published tells neither clock nor power, and different people's rates lie up to 10 % apart, so "
    "the range is wide"
)
_ENERGY: Final = (
    "energy: at the power that was drawn; of the projected chip at its published board power, the most it may draw"
)
_LIMITS: Final = (
    "limited by: compute, memory, power (its board power sets the clock), or latency (neither: what a call takes "
    "beside its work)"
)


def project_view(
    found: Projected, prices: Mapping[str, float], model: Model | None = None, pair: Pair | None = None
) -> View:
    """Return the projection: its cells, their costs with `prices`, and a model's steps if one was asked for.

    `prices` are USD for an hour, by chip id; `pair` are the steps on the target and on the source.
    """
    side, target = found.source.side, found.target
    records = [_record(one, found, prices) for one in found.cells]
    steps = pair_sections([pair], model, _title(model), costs=True) if model and pair else []
    return View(
        title=f"{target.name} ({target.id}), projected from {side.label} ({KINDS[side.kind]}, {side.name})",
        columns=(),
        rows=(),
        records=records,
        document={
            "kind": "projected",
            "source": side.label,
            "source_kind": side.kind,
            "source_chip": side.chip and side.chip.id,
            "target": target.id,
            "same_architecture": len({*_architectures(found)}) == 1,
            "cells": records,
            "left_out": [{"cell": one.cell.key, "reason": one.reason} for one in found.left_out],
            **({"in_use": steps_document(model, pair)} if model and pair else {}),
        },
        sections=[_rates(found), *_costs(found, prices), *steps],
        notes=_notes(found),
    )


def _title(model: Model) -> str:
    return f"{model.name} in {model.weights}"


def _rates(found: Projected) -> Section:
    cells = found.cells
    columns: list[Texts] = [
        *cell_texts([one.source.cell for one in cells]),
        (Column(f"{found.source.side.label} ({KINDS[found.source.side.kind]})", "right"), [*map(_source, cells)]),
        (Column(f"{found.target.id} (projected)", "right"), [*map(_expected, cells)]),
        (Column("range", "right"), [*map(_range, cells)]),
        (Column("of the source", "right"), [f"{significant(one.of_source, 3)}×" for one in cells]),
        (Column("of its published peak", "right"), [percent(one.of_limit) for one in cells]),
        (Column("limited by"), [one.bound_by for one in cells]),
    ]
    return section_of("Rates", columns)


def _costs(found: Projected, prices: Mapping[str, float]) -> list[Section]:
    """Return what 10^15 operations cost in money and energy, where a price was given; JSON has it in any case."""
    source, target = (chip.id if chip else "" for chip in (found.source.side.chip, found.target))
    if not {source, target} & {*prices}:
        return []
    products = [one for one in found.cells if one.source.cell.operation not in STREAMS]
    label = found.source.side.label
    columns: list[Texts] = [
        *cell_texts([one.source.cell for one in products]),
        *_cost(f"USD per PFLOP, {label}", [_usd(prices.get(source), one.source.rate.rate) for one in products]),
        *_cost(f"USD per PFLOP, {target}", [_usd(prices.get(target), one.rates.expected) for one in products]),
        *_cost(f"J per PFLOP, {label}", [_joules(one, found)[0] for one in products]),
        *_cost(f"J per PFLOP at most, {target}", [_joules(one, found)[1] for one in products]),
    ]
    given = [f"{chip} at {prices[chip]:g} USD an hour" for chip in (source, target) if chip in prices]
    return [
        section_of("Money and energy", columns, [f"prices as given: {'; '.join(dict.fromkeys(given))}", _ENERGY])
    ]


def _cost(head: str, values: Sequence[float | None]) -> list[Texts]:
    """Return a column, unless nothing is known for it."""
    if all(value is None for value in values):
        return []
    return [(Column(head, "right"), ["" if value is None else significant(value, 3) for value in values])]


def _source(one: Projection) -> str:
    return format_si(one.source.rate.rate, one.source.cell.rate_label)


def _expected(one: Projection) -> str:
    return format_si(one.rates.expected, one.source.cell.rate_label, digits=3)


def _range(one: Projection) -> str:
    ends = (format_si(end, one.source.cell.rate_label, digits=3) for end in (one.rates.slow, one.rates.fast))
    return " … ".join(ends)


def _joules(one: Projection, found: Projected) -> tuple[float | None, float | None]:
    """Return the joules of 10^15 operations as they were drawn, and at most on the target."""
    drawn = found.source.side.watts.get(one.source.cell)
    own = joules_per_peta(drawn, one.source.rate.rate) if drawn else None
    most = joules_per_peta(one.target.watts, one.rates.slow) if one.target.watts else None
    return own, most


def _usd(price: float | None, per_s: float) -> float | None:
    return None if price is None else usd_per_peta(price, per_s)


def _record(one: Projection, found: Projected, prices: Mapping[str, float]) -> dict[str, Any]:
    cell, rates = one.source.cell, one.rates
    is_stream = cell.operation in STREAMS
    chip = found.source.side.chip
    own, most = (None, None) if is_stream else _joules(one, found)
    return {
        **cell_columns(cell),
        "kind": "projected",
        "target": found.target.id,
        "source": found.source.side.label,
        **{f"source_{name}": value for name, value in rate_columns(one.source.rate).items()},
        "unit": cell.rate_unit,
        **_ends("flop_per_s", None if is_stream else rates),
        **_ends("byte_per_s", rates if is_stream else None),
        "of_source": one.of_source,
        "of_published_peak": one.of_limit,
        "bound_by": one.bound_by,
        "source_j_per_pflop": own,
        "most_j_per_pflop": most,
        "source_usd_per_pflop": None
        if is_stream
        else _usd(prices.get(chip.id if chip else ""), one.source.rate.rate),
        "usd_per_pflop": None if is_stream else _usd(prices.get(found.target.id), rates.expected),
    }


def _ends(unit: str, rates: Times | None) -> dict[str, float | None]:
    slow, expected, fast = rates or (None, None, None)
    return {f"projected_{unit}": expected, f"low_{unit}": slow, f"high_{unit}": fast}


def _notes(found: Projected) -> list[str]:
    notes = [_MODEL, _RANGE]
    observed = found.source.observed
    if found.source.side.kind == "published measurement":
        notes.append(_WIDE)
    elif found.source.own.memory_share is None:
        notes.append(
            "no bandwidth was measured, so memory counts by its sheet ('chipbench run --workload stream')"
        )
    architectures = _architectures(found)
    if len({*architectures}) > 1:
        notes.append(
            f"of two architectures ({' and '.join(architectures)}), whose efficiencies need not be alike: the "
            "range reaches up to the published limits, and as far down"
        )
    above = [one.source.cell.label for one in found.cells if _exceeds_its_sheet(one)]
    if above:
        some = few(above, _MOST_NAMED)
        notes.append(f"above the source's own published peak or bandwidth, which is to be explained first: {some}")
    if any(one.target.watts is None for one in found.cells):
        notes.append(f"no board power of {found.target.id} is published, so that no power limit is in these rates")
    if any(one.clock is None for one in observed) and found.source.side.is_measured:
        notes.append("of some cells no clock was recorded, so that they are as vague as what others published")
    return [*notes, _LIMITS, *_left_out(found.left_out)]


def _exceeds_its_sheet(one: Projection) -> bool:
    return is_above_peak(one.source.rate.rate / one.source.hardware.limit(one.source.cell))


def _architectures(found: Projected) -> list[str]:
    chips = [one.hardware.chip for one in found.source.observed[:1]]
    return [architecture(chip) for chip in (*chips, found.target)]


def _left_out(left: Sequence[LeftOut]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for one in left:
        by_reason.setdefault(one.reason, []).append(one.cell.label)
    return [
        f"left out: {few(labels, _MOST_NAMED)}: {REASONS.get(reason, reason)}"
        for reason, labels in by_reason.items()
    ]

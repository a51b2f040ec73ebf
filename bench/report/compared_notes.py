"""What stands below a comparison: who is who, what differs, what verdicts rest on, what needs explaining."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.compare import (
    Against,
    Comparison,
    Row,
    Side,
    in_short,
    left_out,
    own_efficiency,
    told_apart,
)
from bench.analysis.context import Difference
from bench.analysis.efficiency import Excess, excess
from bench.analysis.estimates import Estimate
from bench.report.columns import KINDS, by_library, source_notes
from bench.report.excess import EXCESS
from bench.report.verdicts import explanation
from bench.report.view import significant
from bench.units import format_si
from bench.workloads.base import PEER_COPY, STREAMS, Cell

_INTERVALS: Final = (
    "Intervals are 95 %: of one process, the median's while it ran, which says nothing of the next; of two, the "
    "span of both; of more, that of their mean. A ratio's is in brackets."
)
_PEAKS: Final = "published peaks are dense ones, as somebody published them; 'chips --sources' says who"
_BANDWIDTHS: Final = "copies and triads are held against the published memory bandwidth"
_LINKS: Final = (
    "copies with a peer, both ways at once, are held against the published NVLink figure, that of both ways"
)


def notes(comparison: Comparison) -> list[str]:
    """Return the notes of a comparison: first whether, then how much and how sure."""
    first, *rest = comparison.sides
    found = [_who(side) for side in comparison.sides]
    for side, between in zip(rest, comparison.differences, strict=True):
        found += _context(first, side, between)
    found += _verdicts(comparison)
    found += _clocks(comparison)
    found += _algorithms(comparison)
    found += _above_peak(comparison)
    found += _sources(comparison)
    if any(side.kind == "published" for side in comparison.sides):
        found.append(_PEAKS)
        operations = {row.cell.operation for row in comparison.rows}
        found += [_BANDWIDTHS] if operations & {*STREAMS} else []
        found += [_LINKS] if PEER_COPY in operations else []
    found += _absent(comparison)
    if any(side.is_measured for side in comparison.sides):
        found.append(_INTERVALS)
    return found


def _who(side: Side) -> str:
    chip = f" = {side.chip.id}" if side.is_measured and side.chip else ""
    count = len(side.contexts)
    records = f", {count} records pooled" if count > 1 else ""
    return f"{side.label}: {KINDS[side.kind]}, {side.name}{chip}{records}"


def _context(first: Side, side: Side, between: Sequence[Difference]) -> Iterator[str]:
    blocking = [one for one in between if one.blocking]
    if blocking:
        names = " ".join(f"--allow {one.name}" for one in blocking if one.name != "origin")
        advice = f"measure both alike, or add {names} if that is what you compare" if names else "measure both"
        yield f"{first.label} and {side.label} are not comparable: {_texts(blocking)}; {advice}"
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


def _algorithms(comparison: Comparison) -> Iterator[str]:
    """Say in which cells of a verdict the library computed in another way."""
    first = comparison.sides[0]
    for row, side, one in _each(comparison):
        mine, its = (each.algorithms.get(row.cell) for each in (first, side))
        if one.finding is not None and mine and its and {*mine} != {*its}:
            ways = " against ".join(" or ".join(texts) for texts in (mine, its))
            yield f"{by_library(row.cell)}: computed in another way ({ways})"


def _above_peak(comparison: Comparison) -> Iterator[str]:
    """Say of the rates above their own chip's peaks what may explain them; above another chip's is no wonder."""
    found: dict[Excess, dict[str, list[Cell]]] = {}
    for row, side, rate in _rates(comparison):
        own = own_efficiency(row.cell, side, rate)
        code = excess(row.cell, own) if own else None
        if code is not None:
            found.setdefault(code, {}).setdefault(side.label, []).append(row.cell)
    for code, sides in found.items():
        where = "; ".join(f"{label} in {_listed(cells)}" for label, cells in sides.items())
        yield f"above its {EXCESS[code].peak}: {where}: {EXCESS[code].cause}"


def _rates(comparison: Comparison) -> Iterator[tuple[Row, Side, Estimate | None]]:
    for row in comparison.rows:
        yield row, comparison.sides[0], row.first
    for row, side, one in _each(comparison):
        yield row, side, one.estimate


def _sources(comparison: Comparison) -> Iterator[str]:
    """Name who measured what others published, with what, and what they note; once each."""
    estimates = [row.first for row in comparison.rows] + [one.estimate for _, _, one in _each(comparison)]
    yield from source_notes(one.published for one in estimates if one and one.published)


def _absent(comparison: Comparison) -> Iterator[str]:
    first = comparison.sides[0]
    for side, cells in left_out(comparison):
        names = in_short(told_apart(cells, side, comparison.sides))
        why = "no other side has them" if side is first else f"{first.label} has no rate of them"
        yield f"left out of {side.label}, as {why}: {names}"
    for side in comparison.sides:
        if side.failed:
            yield f"{side.label}: failed their check in some process, and are not compared: {_listed(side.failed)}"


def _listed(cells: Sequence[Cell]) -> str:
    return in_short(map(by_library, cells))

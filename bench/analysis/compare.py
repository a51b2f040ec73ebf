"""Sides held against the first of them, cell by cell: what each has, the ratio, the finding, the clock."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from bench.analysis.context import Context, Difference, differences
from bench.analysis.efficiency import Efficiency, efficiency
from bench.analysis.estimates import Estimate, Ratio, published_peak, ratio
from bench.analysis.tiling import Tiling
from bench.analysis.verdict import Finding, judge, margins_of
from bench.devices.base import Origin
from bench.errors import RecordError
from bench.published.chips import Chip
from bench.units import DTYPES
from bench.workloads.base import Cell, is_square, shape_class

# "published" is a sheet's peak, a "published measurement" what somebody else measured, and "projected" what nobody
# did: a computed expectation.
Kind = Origin | Literal["published", "published measurement", "projected"]
_NONE: Final = MappingProxyType[Cell, float]({})
_MOST_LISTED: Final = 12
_CLOCK_MOVED: Final = 0.005  # cycles per call of one product vary by less
MEASURED: Final = ("measured", "replayed", "simulated")


class Side(NamedTuple):
    """One column of a comparison: a label, what kind of thing it is, and what it offers for each cell.

    `cycles` are clock cycles of a call, `clocks` the clock that was held (Hz) and `watts` the power drawn, where
    the device tells them; of several processes, means. `algorithms` are what computed the cell, `tilings` how that
    cut the output, where it is told, and `workloads` what the cell was measured for. `failed` are the cells that
    did not pass their check in some process, and `contexts` the surroundings of each record. `chip` is the chip
    that it is of, None if it is not known to be one.
    """

    label: str
    kind: Kind
    name: str
    estimates: Mapping[Cell, Estimate]
    failed: Sequence[Cell] = ()
    chip: Chip | None = None
    device_kind: str = ""
    cycles: Mapping[Cell, float] = _NONE
    clocks: Mapping[Cell, float] = _NONE
    algorithms: Mapping[Cell, tuple[str, ...]] = MappingProxyType({})
    watts: Mapping[Cell, float] = _NONE
    tilings: Mapping[Cell, Tiling] = MappingProxyType({})
    workloads: Mapping[Cell, frozenset[str]] = MappingProxyType({})
    contexts: Sequence[Context] = ()

    @property
    def is_measured(self) -> bool:
        """Whether these are rates from records, not published ones."""
        return self.kind in MEASURED

    def estimate(self, cell: Cell) -> Estimate | None:
        """Return this side's rate for `cell`: measured, what others published of it, or the dtype's peak."""
        if self.kind == "published":
            return None if self.chip is None else published_peak(self.chip, cell.figures)
        found = self.estimates.get(cell)
        if found is None and self.kind == "published measurement" and cell.library is not None:
            return next((rate for stated, rate in self.estimates.items() if _stands_for(rate, stated, cell)), None)
        return found


class ClockMove(NamedTuple):
    """The same cell in seconds and in clock cycles: `rate` and `per_cycle` are ratios, the clocks in Hz."""

    rate: float
    per_cycle: float
    clock_a: float
    clock_b: float


class Against(NamedTuple):
    """One side beside the first: its rate and, where both have one, their ratio, the finding, what the clock did.

    `finding` is None unless both were measured, by somebody. `efficiency` is of the one that was measured, where
    the other is a published peak.
    """

    estimate: Estimate | None
    ratio: Ratio | None = None
    finding: Finding | None = None
    clock: ClockMove | None = None
    efficiency: Efficiency | None = None


class Row(NamedTuple):
    """One cell: the first side's rate, and the others beside it."""

    cell: Cell
    first: Estimate | None
    others: tuple[Against, ...]


class Absent(NamedTuple):
    """A cell of the first side that the measured side `label` is not compared in, as `at` has no rate of it."""

    cell: Cell
    label: str
    reason: Literal["missing", "failed"]
    at: str


class Comparison(NamedTuple):
    """Everything that a comparison found; `differences` are those of each side to the first, in their order."""

    sides: tuple[Side, ...]
    differences: tuple[tuple[Difference, ...], ...]
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...] = ()


def states(published: Cell, measured: Cell) -> bool:
    """Whether a published measurement's cell is this one, of a measurement, as far as it is stated.

    What it leaves out may be anything, but for the shape: a rate without one is the best of many, and stands
    beside large products only.
    """
    if published.shape is None and shape_class(measured.shape) != "large":
        return False
    pairs = ((getattr(published, name), getattr(measured, name)) for name in Cell.__struct_fields__)
    return all(stated is None or stated == value for stated, value in pairs)


def _stands_for(rate: Estimate, stated: Cell, cell: Cell) -> bool:
    """Whether what others published is of this cell; the best of some squares is of no other shape."""
    squares = rate.published is not None and rate.published.best_of == "squares"
    return states(stated, cell) and not (squares and not is_square(cell.shape))


def compare(sides: Sequence[Side], *, allowed: Collection[str] = ()) -> Comparison:
    """Return every cell that the first side and another have, and what was found.

    `allowed` names differences of the surroundings that are not to block a verdict. Raises RecordError if no cell
    is common to the first side and another.
    """
    first = sides[0]
    found = [
        differences(first.contexts, side.contexts, allowed=allowed) if first.contexts and side.contexts else []
        for side in sides[1:]
    ]
    rows = [_row(cell, sides, found) for cell in _cells(sides)]
    telling = tuple(row for row in rows if row.first and any(one.estimate for one in row.others))
    if not telling:
        parts = [f"{side.label} has {_listed(side, sides)}" for side in sides]
        message = f"no cell that {first.label} and another have: {'; '.join(parts)}"
        raise RecordError(message)
    return Comparison(tuple(sides), tuple(map(tuple, found)), telling, tuple(_absent(sides)))


def _cells(sides: Sequence[Side]) -> list[Cell]:
    """Return the cells to ask every side for: the measured ones', or with none of those the published ones'."""
    measured = [cell for side in sides if side.is_measured for cell in (*side.estimates, *side.failed)]
    stated = [cell for side in sides if side.kind == "published measurement" for cell in side.estimates]
    return list(dict.fromkeys(measured or sorted(stated, key=reading_order)))


def reading_order(cell: Cell) -> tuple[int, float, str]:
    """Return the key by which what others published is listed: formats as ever, small products first."""
    names, shape = list(DTYPES), cell.shape
    volume = math.inf if shape is None else float(shape.m * shape.n * shape.k)
    return (names.index(cell.dtype_name) if cell.dtype_name in names else len(names), volume, cell.key)


def _absent(sides: Sequence[Side]) -> Iterator[Absent]:
    first = sides[0]
    for side in sides[1:]:
        if first.is_measured and side.is_measured:
            for cell in dict.fromkeys((*first.estimates, *first.failed)):
                at = next((one for one in (first, side) if cell not in one.estimates), None)
                if at is not None:
                    yield Absent(cell, side.label, "failed" if cell in at.failed else "missing", at.label)


def _row(cell: Cell, sides: Sequence[Side], found: Sequence[Sequence[Difference]]) -> Row:
    a = sides[0].estimate(cell)
    others = [_against(cell, sides[0], a, side, between) for side, between in zip(sides[1:], found, strict=True)]
    return Row(cell, a, tuple(others))


def _against(cell: Cell, first: Side, a: Estimate | None, side: Side, between: Sequence[Difference]) -> Against:
    b = side.estimate(cell)
    if a is None or b is None:
        return Against(b)
    if a.figure is not None or b.figure is not None:
        return _to_peak(cell, first, a, side, b)
    finding = _finding(cell, first, a, side, b, between)
    return Against(b, finding.ratio, finding, clock=_clock(cell, first, side, a, b))


def _finding(
    cell: Cell, first: Side, a: Estimate, side: Side, b: Estimate, between: Sequence[Difference]
) -> Finding:
    blocking = [one.name for one in between if one.blocking]
    if not (first.is_measured and side.is_measured):
        return Finding("can't tell", "published", ratio(b, a))
    if cell in first.failed or cell in side.failed:
        return Finding("not comparable", "failed", ratio(b, a))
    if blocking:
        return Finding("not comparable", "context", ratio(b, a), {"differs": ", ".join(blocking)})
    return judge(a, b, margins_of(first.device_kind).widest(margins_of(side.device_kind)))


def _to_peak(cell: Cell, first: Side, a: Estimate, side: Side, b: Estimate) -> Against:
    """Return a rate beside a published peak; one that the host limited says nothing of a chip."""
    if a.host_limited or b.host_limited:
        return Against(b)
    if a.figure is not None and b.figure is not None:
        return Against(b, ratio(b, a))
    (peak, of), (rate, measured) = ((a, first), (b, side)) if a.figure is not None else ((b, side), (a, first))
    return Against(b, ratio(b, a), efficiency=_efficiency(cell, rate, measured, peak, of))


def _efficiency(cell: Cell, rate: Estimate, measured: Side, peak: Estimate, of: Side) -> Efficiency:
    own = own_efficiency(cell, measured, rate) if measured.chip == of.chip else None
    return own or Efficiency(rate.rate / peak.rate, None)


def own_efficiency(cell: Cell, side: Side, rate: Estimate | None) -> Efficiency | None:
    """Return what share a rate is of its own chip's peaks; None if the chip, or its peak, is not known."""
    return efficiency(cell, rate, side.chip, side.clocks.get(cell))


def _clock(cell: Cell, first: Side, side: Side, a: Estimate, b: Estimate) -> ClockMove | None:
    """Return what the clock did if seconds and cycles do not tell the same of one product."""
    cycles = [one.cycles.get(cell) for one in (first, side)]
    clocks = [one.clocks.get(cell) for one in (first, side)]
    if first.chip != side.chip or first.name != side.name:
        return None
    if cycles[0] is None or cycles[1] is None or clocks[0] is None or clocks[1] is None:
        return None
    moved = ClockMove(b.rate / a.rate, cycles[0] / cycles[1], clocks[0], clocks[1])
    ratios = (moved.rate / moved.per_cycle, moved.clock_b / moved.clock_a)
    return moved if all(abs(math.log(one)) > _CLOCK_MOVED for one in ratios) else None


def _listed(side: Side, sides: Sequence[Side]) -> str:
    if side.kind == "published":
        return "published peaks"
    return in_short(told_apart(side.estimates, side, sides)) or "no cell that passed its check"


def in_short(names: Iterable[str]) -> str:
    """Return the names, each once, in one line; of very many the first twelve, and how many more."""
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    return ", ".join(found[:_MOST_LISTED]) + more


def told_apart(cells: Iterable[Cell], side: Side, sides: Sequence[Side]) -> list[str]:
    """Return the cells' labels; where another side has another cell of that label, with what differs."""
    others: dict[str, dict[Cell, None]] = {}
    for other in sides:
        if other is not side:
            for cell in other.estimates:
                others.setdefault(cell.label, {})[cell] = None
    return [_with_difference(cell, others.get(cell.label, {})) for cell in cells]


def _with_difference(cell: Cell, others: Mapping[Cell, None]) -> str:
    if not others or cell in others:
        return cell.label
    differing = [
        f"{name} {getattr(cell, name)}"
        for name in Cell.__struct_fields__
        if any(getattr(one, name) != getattr(cell, name) for one in others)
    ]
    return f"{cell.label} ({', '.join(differing)})"


def left_out(comparison: Comparison) -> Iterator[tuple[Side, list[Cell]]]:
    """Yield the sides that have cells which no row shows, with those cells."""
    shown = {row.cell for row in comparison.rows}
    for side in comparison.sides:
        alone = [cell for cell in side.estimates if cell not in shown]
        if alone and side.is_measured:
            yield side, alone

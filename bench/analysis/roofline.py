"""Rooflines: what memory and arithmetic allow a product, by the sheet and as measured, and how near it comes.

A product of F operations that moves B bytes, each operand once, runs at min(peak, F / B × bandwidth) at most, and
is bound by memory below the ridge, F / B = peak / bandwidth (Williams, Waterman and Patterson, CACM 52(4), 2009).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate, published_peak
from bench.measure.policy import BURST
from bench.units import DTYPES, Dtype
from bench.workloads.base import BANDWIDTH, STREAMS, USUAL, Cell

Bound = Literal["memory", "compute"]
# Warnings of rates that are not the device's own: the host was too slow, or a cache held the operands.
BENT: Final = frozenset({"launch_bound", "in_cache"})


class Format(NamedTuple):
    """A number format, and, of FP8, whether it is summed fast: there are two roofs then."""

    dtype: Dtype
    fast: bool | None

    @property
    def label(self) -> str:
        """'bf16', or 'fp8 fast'."""
        return f"{self.dtype.name} fast" if self.fast else self.dtype.name


class Roof(NamedTuple):
    """A peak in operations per second and a bandwidth in bytes per second."""

    peak: Estimate
    bandwidth: Estimate

    @property
    def ridge(self) -> float:
        """The operations per byte from which on arithmetic is the limit."""
        return self.peak.rate / self.bandwidth.rate

    def ceiling(self, intensity: float) -> float:
        """Return the highest rate of a product of so many operations per byte."""
        return min(self.peak.rate, intensity * self.bandwidth.rate)

    def bound_by(self, intensity: float) -> Bound:
        """Return what limits such a product."""
        return "memory" if intensity < self.ridge else "compute"


class Ceilings(NamedTuple):
    """One side's limits in one format; None for what nobody published, or was not measured there.

    `best` is the product that reached the measured peak. `format` is None of a side without products, whose
    bandwidths are all that there is.
    """

    side: Side
    format: Format | None
    published_peak: Estimate | None
    published_bandwidth: Estimate | None
    measured_peak: Estimate | None
    measured_bandwidth: Estimate | None
    best: Cell | None

    @property
    def published(self) -> Roof | None:
        """The roof by the sheet."""
        return _roof(self.published_peak, self.published_bandwidth)

    @property
    def measured(self) -> Roof | None:
        """The roof of what was measured: the best product and the best copy or triad."""
        return _roof(self.measured_peak, self.measured_bandwidth)


class Under(NamedTuple):
    """A product under a roof: its ceiling there, what limits it, and its rate as a share of the ceiling."""

    ceiling: float
    bound_by: Bound
    share: float


class Point(NamedTuple):
    """A product of one side: its rate, its operations per byte, and where it lies under both roofs.

    `above`: its whole interval lies above the measured roof, as of operands that were in a cache.
    """

    side: Side
    cell: Cell
    rate: Estimate
    intensity: float
    published: Under | None
    measured: Under | None
    above: bool


def ceilings(side: Side) -> list[Ceilings]:
    """Return a side's limits in every format that it was measured in, or that its sheet has a peak of.

    A measured limit is the highest rate with normal data, in no burst, that neither the host nor a cache bent.
    """
    copied = _best(side, _is_stream)
    found = []
    for one in _formats(side):
        best = None if one is None else _best(side, partial(_is_of, one))
        found.append(
            Ceilings(
                side,
                one,
                published_peak(side.chip, one.dtype.figures) if one and side.chip else None,
                published_peak(side.chip, BANDWIDTH) if side.chip else None,
                None if best is None else side.estimates[best],
                None if copied is None else side.estimates[copied],
                best,
            )
        )
    return found


def points(side: Side, limits: Sequence[Ceilings]) -> Iterator[Point]:
    """Yield every product of a side with a rate of its own, under that side's `limits`.

    What the host limited says nothing of the device, and a rate whose shape was not stated has no intensity.
    """
    by_format = {one.format: one for one in limits}
    for cell, rate in side.estimates.items():
        of = format_of(cell)
        if of is None or of not in by_format or not cell.bytes_moved or rate.host_limited:
            continue
        intensity = cell.flop / cell.bytes_moved
        published, measured = (
            _under(rate, intensity, roof) for roof in (by_format[of].published, by_format[of].measured)
        )
        above = measured is not None and rate.interval is not None and rate.interval.lo > measured.ceiling
        yield Point(side, cell, rate, intensity, published, measured, above)


def format_of(cell: Cell) -> Format | None:
    """Return the format of a product; None of a copy, or of types without a name."""
    return None if cell.dtype is None else Format(cell.dtype, cell.fast_accumulate)


def _formats(side: Side) -> list[Format | None]:
    measured = {found for cell in side.estimates if (found := format_of(cell)) is not None}
    if measured:
        return [*sorted(measured, key=_reading_order)]
    chip = side.chip
    known = [Format(dtype, None) for dtype in DTYPES.values() if chip and published_peak(chip, dtype.figures)]
    return [*known] or [None]


def _reading_order(one: Format) -> tuple[int, bool]:
    return list(DTYPES).index(one.dtype.name), bool(one.fast)


def _best(side: Side, wanted: Callable[[Cell], bool]) -> Cell | None:
    """Return the cell of the highest rate among those wanted that count."""
    counting = [cell for cell, rate in side.estimates.items() if wanted(cell) and not rate.caveats & BENT]
    return max(counting, key=lambda cell: side.estimates[cell].rate, default=None)


def _is_stream(cell: Cell) -> bool:
    return cell.operation in STREAMS and is_usual(cell)


def _is_of(wanted: Format, cell: Cell) -> bool:
    return format_of(cell) == wanted and is_usual(cell)


def is_usual(cell: Cell) -> bool:
    """Whether its data are normal and it was no burst, as far as that is stated: others would raise a roof."""
    return cell.data in {None, USUAL["data"]} and cell.regime != BURST


def _roof(peak: Estimate | None, bandwidth: Estimate | None) -> Roof | None:
    return None if peak is None or bandwidth is None else Roof(peak, bandwidth)


def _under(rate: Estimate, intensity: float, roof: Roof | None) -> Under | None:
    if roof is None:
        return None
    ceiling = roof.ceiling(intensity)
    return Under(ceiling, roof.bound_by(intensity), rate.rate / ceiling)

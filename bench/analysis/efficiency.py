"""A measured rate as a share of its chip's peaks, and what most likely explains one above them."""

from typing import Final, Literal, NamedTuple

from bench.analysis.estimates import Estimate, is_above_peak, peak_at_clock, published_peak
from bench.published.chips import Chip
from bench.workloads.base import USUAL, Cell

ROUNDING: Final = 1.01  # of published figures that a peak at a clock is made of
Excess = Literal["at_clock", "data", "clock", "unknown"]


class Efficiency(NamedTuple):
    """A rate ÷ a published peak, and ÷ the same chip's peak at the clock held, where that is known."""

    at_spec: float
    at_clock: float | None


def efficiency(cell: Cell, rate: Estimate | None, chip: Chip | None, clock: float | None) -> Efficiency | None:
    """Return what share a rate is of its own chip's peaks; None if the chip, or its peak, is not known.

    `clock` is the one that was held, in Hz. What the host limited is a share of nothing.
    """
    peak = published_peak(chip, cell.figures) if chip else None
    if rate is None or peak is None or rate.figure is not None or rate.host_limited:
        return None
    held = peak_at_clock(chip, cell.figures, clock) if chip and clock else None
    return Efficiency(rate.rate / peak.rate, rate.rate / held.rate if held else None)


def excess(cell: Cell, own: Efficiency) -> Excess | None:
    """Return why a rate lies above a peak of its own chip, None if it does not.

    Above that at the clock held, an assumption is wrong: clock, FLOP per clock or product. Above the published
    one, data that are not normal let the clock rise; or it was above the sheet's anyway; or nobody knows.
    """
    if own.at_clock is not None and own.at_clock > ROUNDING:
        return "at_clock"
    if not is_above_peak(own.at_spec):
        return None
    if cell.data not in {None, USUAL["data"]}:
        return "data"
    return "unknown" if own.at_clock is None else "clock"

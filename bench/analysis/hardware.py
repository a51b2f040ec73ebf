"""What is published of a chip that limits a product in one number format: arithmetic, memory, clock and power."""

from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.estimates import flop_per_clock, published_peak
from bench.published.chips import Chip
from bench.workloads.base import BANDWIDTH, STREAMS, Cell


class Hardware(NamedTuple):
    """A chip's published limits: `peak` in FLOP/s (dense), by its `figure` of that name, `bandwidth` in byte/s.

    `per_clock` is FLOP per clock of all its `sms` multiprocessors, `boost` the highest clock in Hz and `watts` the
    board's power; None where nobody published it. `sheet_clock` is the one that the peak stands for.
    """

    chip: Chip
    figure: str
    peak: float
    bandwidth: float
    sms: float | None
    per_clock: float | None
    boost: float | None
    watts: float | None

    @property
    def sheet_clock(self) -> float | None:
        """The clock in Hz at which its multiprocessors reach the published peak: peak ÷ FLOP per clock."""
        return None if self.per_clock is None else self.peak / self.per_clock

    @property
    def boost_peak(self) -> float:
        """The peak at the boost clock; the published one where that is not known, or higher."""
        if self.per_clock is None or self.boost is None:
            return self.peak
        return max(self.peak, self.per_clock * self.boost)

    def limit(self, cell: Cell) -> float:
        """Return what a cell's rate is held against: the bandwidth if it is of a stream, else the peak."""
        return self.bandwidth if cell.operation in STREAMS else self.peak

    def seconds(self, flop: float, moved: float) -> float:
        """Return the least time of so many operations and bytes by the sheet (the roofline)."""
        return max(flop / self.peak, moved / self.bandwidth)


def hardware_of(chip: Chip, figures: Sequence[str]) -> Hardware | None:
    """Return a chip's limits in the format held against `figures`; None if peak or bandwidth is not published."""
    peak, bandwidth = published_peak(chip, figures), published_peak(chip, BANDWIDTH)
    if peak is None or bandwidth is None or peak.figure is None:
        return None
    return Hardware(
        chip=chip,
        figure=peak.figure.name,
        peak=peak.rate,
        bandwidth=bandwidth.rate,
        sms=chip.number("sm_count"),
        per_clock=flop_per_clock(chip, peak.figure.name),
        boost=chip.number("boost_clock"),
        watts=chip.number("tdp"),
    )


def architecture(chip: Chip) -> str:
    """Return the name of a chip's architecture, such as Hopper, without that of its die."""
    figure = chip.first_known(("architecture",))
    return str(figure.value).partition(" (")[0] if figure else f"that of {chip.id}"

"""Rates and their ratios: measured cells beside each other and beside published peaks.

A verdict (faster, slower, same) is not drawn here; a ratio with its interval is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, Literal, NamedTuple

from bench.devices.base import Origin
from bench.errors import RecordError
from bench.published.chips import Chip
from bench.published.figures import Figure
from bench.records.record import Reading, Record
from bench.stats import Interval, ratio_interval
from bench.units import Dtype
from bench.workloads.base import Cell

Kind = Origin | Literal["published"]
PER_CLOCK: Final = "flop_per_clock_per_sm"


class Estimate(NamedTuple):
    """A rate in operations per second. `interval` is None if it has none: a published figure, few samples.

    `figure` is the published figure that it is; `processes` how many fresh processes it was pooled from. A
    `host_limited` rate is that of a host which could not enqueue fast enough: it says nothing of the chip.
    """

    rate: float
    interval: Interval | None
    figure: Figure | None = None
    processes: int = 1
    host_limited: bool = False

    @property
    def half_width(self) -> float | None:
        """Half the interval's width relative to the rate."""
        return None if self.interval is None else (self.interval.hi - self.interval.lo) / 2 / self.rate


class Ratio(NamedTuple):
    """A quotient of two rates; `interval` is None if a measured side has none."""

    value: float
    interval: Interval | None


class Side(NamedTuple):
    """One column of a comparison: a label, what kind of thing it is, and what it offers for each cell.

    `failed` are the cells that were measured but did not pass their check in some process.
    """

    label: str
    kind: Kind
    name: str
    estimates: Mapping[Cell, Estimate]
    failed: Sequence[Cell] = ()
    chip: Chip | None = None

    def estimate(self, cell: Cell) -> Estimate | None:
        """Return this side's rate for `cell`: as measured, or the published peak of its dtype."""
        if self.chip is not None:
            return None if cell.dtype is None else published_peak(self.chip, cell.dtype)
        return self.estimates.get(cell)


class Row(NamedTuple):
    """One cell: the rate of each side, and its ratio to the first side's."""

    cell: Cell
    estimates: tuple[Estimate | None, ...]
    ratios: tuple[Ratio | None, ...]


def measured_rate(reading: Reading) -> Estimate | None:
    """Return the rate of a reading that passed its check, else None."""
    summary, flop = reading.summary, reading.cell.flop
    if not reading.passed or summary is None or not flop:
        return None
    interval = summary.interval and Interval(flop / summary.interval.hi, flop / summary.interval.lo)
    return Estimate(flop / summary.median, interval, host_limited=is_host_limited(reading))


def is_host_limited(reading: Reading) -> bool:
    """Whether the host, not the device, set the rate of a reading."""
    return any(caveat.code == "launch_bound" for caveat in reading.warnings)


def pooled(readings: Iterable[Reading]) -> Estimate | None:
    """Return one rate for one cell from several processes: the median of their rates.

    Its interval spans all of theirs, which claims no more than what was seen; None if one has none.
    """
    rates = [rate for rate in map(measured_rate, readings) if rate is not None]
    if len(rates) <= 1:
        return rates[0] if rates else None
    intervals = [rate.interval for rate in rates if rate.interval is not None]
    span = Interval(min(i.lo for i in intervals), max(i.hi for i in intervals)) if intervals else None
    return Estimate(
        median(rate.rate for rate in rates),
        span if len(intervals) == len(rates) else None,
        processes=len(rates),
        host_limited=any(rate.host_limited for rate in rates),
    )


def pooled_cells(processes: Sequence[Sequence[Reading]]) -> dict[Cell, Estimate]:
    """Return the pooled rate of every cell that passed somewhere, in the order first seen."""
    by_cell: dict[Cell, list[Reading]] = {}
    for readings in processes:
        for reading in readings:
            by_cell.setdefault(reading.cell, []).append(reading)
    rates = {cell: pooled(readings) for cell, readings in by_cell.items()}
    return {cell: rate for cell, rate in rates.items() if rate is not None}


def published_peak(chip: Chip, dtype: Dtype) -> Estimate | None:
    """Return the published dense peak that a matrix multiply in `dtype` is held against, or None."""
    figure = chip.first_known(dtype.figures)
    value = None if figure is None else figure.in_base_units(figure.value)
    return Estimate(float(value), None, figure) if isinstance(value, int | float) else None


def peak_at_clock(chip: Chip, dtype: Dtype, sm_clock_hz: float) -> Estimate | None:
    """Return the dense peak at the clock that was held: SMs × FLOP per clock and SM × clock; None if not sourced.

    The FLOP per clock stand under the name of the published peak that the format is held against.
    """
    peak = chip.first_known(dtype.figures)
    if peak is None:
        return None
    per_clock = chip.first_known((f"{PER_CLOCK}.{peak.name}",))
    sms = chip.first_known(("sm_count",))
    if per_clock is None or sms is None:
        return None
    count, each = sms.in_base_units(sms.value), per_clock.in_base_units(per_clock.value)
    if not isinstance(count, int | float) or not isinstance(each, int | float):
        return None
    return Estimate(float(count * each * sm_clock_hz), None, per_clock)


def ratio(numerator: Estimate, denominator: Estimate) -> Ratio:
    """Return numerator ÷ denominator; a published figure counts as exact."""
    value = numerator.rate / denominator.rate
    both_published = numerator.figure is not None and denominator.figure is not None
    above, below = _bounds(numerator), _bounds(denominator)
    if both_published or above is None or below is None:
        return Ratio(value, None)
    return Ratio(value, ratio_interval(numerator.rate, above, denominator.rate, below))


def _bounds(estimate: Estimate) -> Interval | None:
    return Interval(estimate.rate, estimate.rate) if estimate.figure is not None else estimate.interval


def side_of_records(label: str, records: Sequence[Record]) -> Side:
    """Return the side that some records of one device make, cells pooled over them.

    Raises RecordError if they are of several devices, or measured and replayed ones are mixed.
    """
    devices = sorted({record.header.device.name for record in records})
    origins = sorted({record.header.origin for record in records})
    keys = {record.header.device.key for record in records}
    for what, found in (("devices", devices), ("origins", origins), ("machines", sorted(map(str, keys)))):
        if len(found) > 1:
            message = f"{label}: holds records of several {what} ({', '.join(found)}); name one of its folders"
            raise RecordError(message)
    header = records[0].header
    failed = dict.fromkeys(r.cell for record in records for r in record.readings if not r.passed)
    estimates = pooled_cells([record.readings for record in records])
    return Side(label, header.origin, header.device.name, estimates, tuple(failed))


def side_of_chip(chip: Chip) -> Side:
    """Return the side of a chip's published peaks."""
    return Side(chip.id, "published", chip.name, {}, chip=chip)


def compare(sides: Sequence[Side]) -> list[Row]:
    """Return a row for every cell that at least two sides have. Raises RecordError if there is none."""
    cells = list(dict.fromkeys(cell for side in sides for cell in side.estimates))
    rows = [_row(cell, sides) for cell in cells]
    common = [row for row in rows if sum(estimate is not None for estimate in row.estimates) >= 2]
    if not common:
        parts = [f"{side.label} has {_listed(side)}" for side in sides]
        message = f"no cell that two of them have: {'; '.join(parts)}"
        raise RecordError(message)
    return common


def _row(cell: Cell, sides: Sequence[Side]) -> Row:
    estimates = tuple(side.estimate(cell) for side in sides)
    first = estimates[0]
    return Row(cell, estimates, tuple(_ratio_to(first, other) for other in estimates))


def _ratio_to(first: Estimate | None, other: Estimate | None) -> Ratio | None:
    """Return other ÷ first; None if one is missing, or it would hold what the host limited against a peak."""
    if first is None or other is None:
        return None
    one_published = (first.figure is None) != (other.figure is None)
    if one_published and (first.host_limited or other.host_limited):
        return None
    return ratio(other, first)


def _listed(side: Side) -> str:
    if side.chip is not None:
        return "published peaks"
    return ", ".join(dict.fromkeys(cell.label for cell in side.estimates)) or "no cell that passed its check"


def is_above_peak(of_peak: Ratio) -> bool:
    """Whether a measured rate exceeds the published peak: something to explain, never a success."""
    return of_peak.value > 1 and not math.isclose(of_peak.value, 1, rel_tol=1e-9)

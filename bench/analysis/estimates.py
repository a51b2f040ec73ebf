"""Rates with what is known of their error: of one process, pooled over several, and of published peaks."""

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, geometric_mean
from typing import Final, NamedTuple

from bench.devices.base import Caveat
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.measure.noticed import odd_sensors
from bench.measure.policy import sustained_s
from bench.published.chips import Chip
from bench.published.figures import Figure
from bench.published.measured import PublishedMeasurement
from bench.records.record import Reading
from bench.stats import Interval, Summary, mean_half_width, ratio_interval
from bench.workloads.base import Cell

PER_CLOCK: Final = "flop_per_clock_per_sm"
NOTABLE: Final = 0.01  # share of readings from which on a fault is one
_MOSTLY: Final = 0.5  # and above which the power limit has set the clock, or standing still the time
_QUARTER: Final = 0.25  # of the blocks: from so many on a second level is one, as of two modes
_RESTED: Final = frozenset({"stalled", "slept", "idle_window"})  # warnings of a device that had nothing to do
LAUNCH_BOUND: Final = "launch_bound"  # the warning of a host that enqueues too slowly
NO_ACCESS: Final = "no_peer_access"  # and of copies between devices that went through the host's memory
_HOST_LIMITED: Final = frozenset({LAUNCH_BOUND, NO_ACCESS})
ENOUGH_PROCESSES: Final = 3  # fewer do not show how much fresh processes differ


class Estimate(NamedTuple):
    """A rate in operations or bytes per second; its `interval` is None of a published figure or of few samples.

    `each` are the rates of the processes that it was pooled from. `caveats` are the codes of warnings that some
    process had, with what sensors say held the clock back. A published peak has its `figure`, what
    others measured their `published` measurement.
    """

    rate: float
    interval: Interval | None
    each: tuple[float, ...] = ()
    caveats: frozenset[str] = frozenset()
    figure: Figure | None = None
    published: PublishedMeasurement | None = None

    @property
    def processes(self) -> int:
        """How many fresh processes measured it; 0 if it was published."""
        return len(self.each)

    @property
    def host_limited(self) -> bool:
        """Whether the rate says nothing of the chip: the host could not enqueue fast enough, or copied by itself.

        That is, copies between devices went through the host's memory.
        """
        return not _HOST_LIMITED.isdisjoint(self.caveats)

    @property
    def half_width(self) -> float | None:
        """Half the interval's width relative to the rate."""
        return None if self.interval is None else (self.interval.hi - self.interval.lo) / 2 / self.rate


class Ratio(NamedTuple):
    """A quotient of two rates; `interval` is None if a measured side has none."""

    value: float
    interval: Interval | None


def measured_rate(reading: Reading) -> Estimate | None:
    """Return the rate of a reading that passed its check, else None."""
    summary, work = reading.summary, reading.cell.work
    if not reading.passed or summary is None or not work:
        return None
    rate = work / summary.median
    noticed = (caveat.code for caveat in reading.warnings if _bears(caveat, reading.cell))
    codes = frozenset([*noticed, *_seen_now(summary), *_held_back(reading)])
    if summary.interval is None:
        return Estimate(rate, None, (rate,), caveats=codes)
    interval = Interval(work / summary.interval.hi, work / summary.interval.lo)
    return Estimate(rate, interval, (rate,), codes)


def _seen_now(summary: Summary) -> Iterator[str]:
    """Yield what the samples themselves show, whatever the version that took them had noticed."""
    if summary.autocorrelated:
        yield "autocorrelated"
    if summary.bimodal:
        yield "bimodal"


def _bears(caveat: Caveat, cell: Cell) -> bool:
    """Whether a warning is of the cell's rate: of a few blocks that stood still or stepped no median is.

    A load that was to be sustained, and rested, is one of another regime.
    """
    values = caveat.values
    try:
        match caveat.code:
            case "stepped":
                at, n = float(values["at"]), float(values["n"])
                return min(at, n - at) >= _QUARTER * n
            case "stalled":
                return float(values["seconds"]) > _MOSTLY * float(values["of"])
            case "slept" | "idle_window":
                return sustained_s(cell.regime) is not None
    except (KeyError, ValueError):  # of another version
        return True
    return True


def _held_back(reading: Reading) -> list[str]:
    """Return what slowed the clock down in a notable share of the sensors' readings, the power limit in most."""
    if "event_reasons" in odd_sensors(reading.telemetry):
        return []
    reasons = (reading.telemetry and reading.telemetry.event_reasons) or {}
    capped = [POWER_CAP] if reasons.get(POWER_CAP, 0.0) > _MOSTLY else []
    return [*(reason for reason in FAULTS if reasons.get(reason, 0.0) >= NOTABLE), *capped]


def drawn_power(reading: Reading) -> float | None:
    """Return the mean power in watts that a reading's device drew: by its energy counter, or else as sampled.

    None where the sensors said what cannot be, or watched for much longer than the work lasted.
    """
    seen, odd = reading.telemetry, odd_sensors(reading.telemetry)
    if seen is None or any(caveat.code in _RESTED for caveat in reading.warnings):
        return None
    if seen.energy_j is not None and seen.energy_s and "energy_w" not in odd:
        return seen.energy_j / seen.energy_s
    return seen.power_w.median if seen.power_w and "power_w" not in odd else None


def is_host_limited(reading: Reading) -> bool:
    """Whether the host, or the way through its memory, and not the device, set the rate of a reading."""
    return any(caveat.code in _HOST_LIMITED for caveat in reading.warnings)


def pooled(rates: Sequence[Estimate]) -> Estimate | None:
    """Return one rate from those of several processes: their geometric mean; None if there are none.

    From three processes on, the interval is that of the mean by Student's t over the processes, each of which
    counts as one draw however many samples it took. Of two processes it spans both of theirs. It is None if one of
    them has none.
    """
    if len(rates) <= 1:
        return rates[0] if rates else None
    each = tuple(rate for one in rates for rate in one.each)
    logs = [math.log(rate) for rate in each]
    centre = fmean(logs)
    caveats = frozenset().union(*(one.caveats for one in rates))
    return Estimate(math.exp(centre), _over_processes(rates, logs), each, caveats)


def _over_processes(rates: Sequence[Estimate], logs: Sequence[float]) -> Interval | None:
    intervals = [one.interval for one in rates if one.interval is not None]
    if len(intervals) < len(rates):
        return None
    if len(logs) < ENOUGH_PROCESSES:
        return Interval(min(i.lo for i in intervals), max(i.hi for i in intervals))
    centre, half_width = fmean(logs), mean_half_width(logs)
    return Interval(math.exp(centre - half_width), math.exp(centre + half_width))


def pooled_watts(processes: Sequence[Sequence[Reading]]) -> dict[Cell, float]:
    """Return the mean power in watts that was drawn for each cell, over the processes where it passed."""
    powers: dict[Cell, list[float | None]] = {}
    for reading in (reading for readings in processes for reading in readings if reading.passed):
        powers.setdefault(reading.cell, []).append(drawn_power(reading))
    return {cell: mean for cell, some in powers.items() if (mean := over_processes(some)) is not None}


def over_processes(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of what each process told, as a rate is pooled; None if none told it.

    What is not positive is no reading: a sensor that tells 0 Hz or 0 W is one that is silent.
    """
    known = [value for value in values if value is not None and value > 0]
    return geometric_mean(known) if known else None


def pooled_cells(processes: Sequence[Sequence[Reading]]) -> dict[Cell, Estimate]:
    """Return the pooled rate of every cell that passed somewhere, in the order first seen."""
    by_cell: dict[Cell, list[Estimate]] = {}
    for readings in processes:
        for reading in readings:
            rate = measured_rate(reading)
            if rate is not None:
                by_cell.setdefault(reading.cell, []).append(rate)
    return {cell: found for cell, rates in by_cell.items() if (found := pooled(rates)) is not None}


def published_peak(chip: Chip, figures: Sequence[str]) -> Estimate | None:
    """Return the first of the published `figures` that the chip's file gives, as a rate, or None.

    Those of a cell are what it is held against: the dense peak of a matrix multiply, the bandwidth of a copy.
    """
    figure = chip.first_known(figures)
    value = None if figure is None else chip.number(figure.name)
    return None if value is None else Estimate(value, None, figure=figure)


def flop_per_clock(chip: Chip, peak: str) -> float | None:
    """Return the FLOP per clock of all multiprocessors, for the peak of this name; None if not sourced."""
    sms, each = chip.number("sm_count"), chip.number(f"{PER_CLOCK}.{peak}")
    return sms * each if sms and each else None


def peak_at_clock(chip: Chip, figures: Sequence[str], sm_clock_hz: float) -> Estimate | None:
    """Return the dense peak at the clock that was held: SMs × FLOP per clock and SM × clock; None if not sourced.

    The FLOP per clock stand under the name of the published peak that the format is held against.
    """
    peak = chip.first_known(figures)
    per_clock = None if peak is None else flop_per_clock(chip, peak.name)
    if peak is None or per_clock is None:
        return None
    return Estimate(per_clock * sm_clock_hz, None, figure=chip.first_known((f"{PER_CLOCK}.{peak.name}",)))


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


def is_above_peak(share: float) -> bool:
    """Whether a rate of this share of its published peak exceeds it: to be explained, never a success."""
    return share > 1 and not math.isclose(share, 1, rel_tol=1e-9)

"""What the picture of one measurement shows, as plain data: its blocks one after the other, and what they say."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from statistics import median
from typing import Final, Literal, NamedTuple

from bench.analysis.drift import DRIFT_SHOWS, drift
from bench.analysis.estimates import NOTABLE, Estimate, measured_rate, published_peak
from bench.devices.base import Origin
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.measure.loop import RECOMPUTED
from bench.measure.measurement import Measurement
from bench.published.chips import Chip
from bench.records.record import Header, Reading, reduce
from bench.report.columns import KINDS, by_library, ends_text
from bench.report.plots.layout import listed, spread
from bench.report.plots.names import rate_text, unbound
from bench.report.plots.trace_choice import no_rate
from bench.report.plots.trace_title import title_of
from bench.report.view import capital, percent, significant
from bench.report.wording import sentence
from bench.units import PREFIXES, format_si
from bench.workloads.base import Cell

Mark = Literal["median", "published", "limit"]
_ROW: Final = 0.36  # inches of height that a label takes
_TALL, _LOW = 2.4, 1.25  # inches: the panel of rates, and another
_LEAST: Final = 0.02  # of the median: an axis no shorter, lest mere noise look like much
_NEAR, _REACH = 0.25, 3.0  # of the median, and of the samples' range: warm-up further off than both is cut off
MOST_DOTS: Final = 500  # in a panel: more would lie upon each other, and make a page too large
_EDGE: Final = 0.08  # of an axis, free above and below what is drawn


class Dot(NamedTuple):
    """The mean of one block, in the panel's unit, at the middle of its time; hollow if it was a warm-up."""

    at: float
    value: float
    sampled: bool


class Line(NamedTuple):
    """A level and the two lines of its label, which stands at a height from 0 to 1, the ends of the axis.

    `drawn` is False of one so far from the blocks that it is told in words alone.
    """

    mark: Mark
    value: float
    name: str
    more: str
    drawn: bool = True
    height: float = 0.0


class Panel(NamedTuple):
    """One quantity over time, all in `unit`; `inches` is its height, `band` the interval of the median."""

    name: str
    unit: str
    low: float
    high: float
    inches: float
    dots: Sequence[Dot]
    lines: Sequence[Line]
    band: tuple[float, float] | None = None

    def beyond(self, dot: Dot) -> bool:
        """Whether a block lies outside the axis."""
        return not self.low <= dot.value <= self.high


class TracePicture(NamedTuple):
    """All that is drawn. Seconds from the first block; the samples begin at `sampled_from`, 0 without warm-up."""

    title: str
    alt: str
    origin: Origin
    seconds: float
    sampled_from: float
    panels: Sequence[Panel]
    notes: Sequence[str]


class _Series(NamedTuple):
    """One column of the blocks in base units: in the warm-up, where it is known there, and of the samples."""

    name: str
    unit: str
    sampled: Sequence[float]
    warming: Sequence[float | None]
    least: float  # the shortest axis


def picture_of(header: Header, measurement: Measurement, chip: Chip | None) -> TracePicture:
    """Return the picture of a measurement; `chip` is its device's. Raises RecordError if it has no rate."""
    reading = reduce(measurement)
    rate = measured_rate(reading)
    if rate is None:
        raise no_rate([measurement])
    ends = _ends(measurement)
    before = len(ends) - len(measurement.samples.seconds_per_call)
    panels = [
        _panel(one, ends, [*_lines(one, header, measurement.cell, rate, chip)], rate)
        for one in _series(measurement)
    ]
    title = title_of(header, measurement, reading, rate, chip)
    return TracePicture(
        title=title,
        alt=_alt(panels, title, ends, before),
        origin=header.origin,
        seconds=ends[-1],
        sampled_from=ends[before - 1] if before else 0.0,
        panels=panels,
        notes=[*_notes(header, measurement, reading, panels)],
    )


def _ends(measurement: Measurement) -> list[float]:
    """Return when each block ended, those of the warm-up first, if there was nothing between them."""
    warm_up, each = measurement.warm_up, measurement.calls_per_block
    before = zip(warm_up.calls, warm_up.seconds_per_call, strict=True) if warm_up else ()
    sampled = ((each, seconds) for seconds in measurement.samples.seconds_per_call)
    return [*accumulate(calls * seconds for calls, seconds in chain(before, sampled))]


def _series(measurement: Measurement) -> Iterator[_Series]:
    samples, warm_up, work = measurement.samples, measurement.warm_up, measurement.cell.work
    rates = [work / seconds for seconds in samples.seconds_per_call]
    before = [work / seconds for seconds in warm_up.seconds_per_call] if warm_up else []
    yield _Series("rate", measurement.cell.rate_label, rates, before, 0.0)
    if samples.sm_clock_hz:
        clocks = (warm_up and warm_up.sm_clock_hz) or [None] * len(before)
        yield _Series("clock", "Hz", samples.sm_clock_hz, clocks, 0.0)
    if samples.power_w:
        yield _Series("power", "W", samples.power_w, [None] * len(before), 5.0)
    if samples.temperature_c:
        yield _Series("temperature", "°C", samples.temperature_c, [None] * len(before), 4.0)


def _lines(series: _Series, header: Header, cell: Cell, rate: Estimate, chip: Chip | None) -> Iterator[Line]:
    """Yield the median of a series, and what it is held against."""
    middle = rate.rate if series.name == "rate" else median(series.sampled)
    yield _median(series, middle, rate)
    if series.name == "rate" and chip is not None:
        peak = published_peak(chip, cell.figures)
        what = "bandwidth" if cell.is_transfer else "dense peak"
        if peak is not None:
            name = f"published {what} {rate_text(peak.rate, series.unit)}"
            yield Line("published", peak.rate, name, _share(middle, peak.rate))
    if series.name == "clock" and chip is not None:
        boost = chip.number("boost_clock")
        if boost:
            yield Line(
                "published", boost, f"published boost clock {rate_text(boost, 'Hz')}", _share(middle, boost)
            )
    limit = header.power_limit_w if series.name == "power" else None
    if limit:
        yield Line("limit", limit, f"power limit {limit:g} W", _share(middle, limit))


def _median(series: _Series, middle: float, rate: Estimate) -> Line:
    if series.name == "rate":
        error = "no interval of so few blocks"
        if rate.interval is not None:
            error = f"95 % interval {ends_text(rate.interval, series.unit)}"
        return Line("median", middle, f"median {format_si(middle, series.unit)}", error)
    ends = (min(series.sampled), max(series.sampled))
    if series.name == "clock":
        text, (low, high) = format_si(middle, "Hz"), (format_si(end, "Hz") for end in ends)
    else:
        text, (low, high) = f"{middle:.4g} {series.unit}", (f"{end:.0f} {series.unit}" for end in ends)
    return Line("median", middle, f"median {text}", f"from {low} to {high}" if low != high else "in every block")


def _share(middle: float, whole: float) -> str:
    return f"the median is {percent(middle / whole)} of it"


def _panel(series: _Series, ends: Sequence[float], lines: Sequence[Line], rate: Estimate) -> Panel:
    unit, factor = _scaled(series)
    band = None if series.name != "rate" or rate.interval is None else rate.interval
    known = [one for one in series.warming if one is not None]
    low, high, drawn = _axis(series, known, [line.value for line in lines])
    shown = [
        line._replace(
            value=line.value / factor, drawn=here, more=line.more if here else f"{line.more}; off this axis"
        )
        for line, here in zip(lines, drawn, strict=True)
    ]
    inches = _TALL if series.name == "rate" else _LOW
    panel = Panel(
        name=series.name,
        unit=unit,
        low=low / factor,
        high=high / factor,
        inches=inches,
        dots=thinned([*_dots(series, ends, factor)]),
        lines=shown,
        band=band and (band.lo / factor, band.hi / factor),
    )
    return panel._replace(lines=_labelled(panel))


def _scaled(series: _Series) -> tuple[str, float]:
    """Return a unit in which the values of a series have few digits, and how many base units it has."""
    if series.unit not in {"Hz", "B/s", "FLOP/s", "OP/s"}:
        return series.unit, 1.0
    largest = max(series.sampled)
    prefix, exponent = next((one for one in reversed(PREFIXES) if 10.0 ** one[1] <= largest), PREFIXES[0])
    return f"{prefix}{series.unit}", 10.0**exponent


def _axis(series: _Series, warming: Sequence[float], lines: Sequence[float]) -> tuple[float, float, list[bool]]:
    """Return the ends of an axis, and of each line whether it lies on it.

    All samples are on it, and of the warm-up and the lines what does not squash them.
    """
    low, high = min(series.sampled), max(series.sampled)
    middle = median(series.sampled)
    reach = max(_REACH * (high - low), _NEAR * abs(middle))
    near = [value for value in warming if low - reach <= value <= high + reach]
    low, high = min(low, *near, middle), max(high, *near, middle)
    lacking = max(0.0, max(_LEAST * abs(middle), series.least) - (high - low))
    low, high = low - lacking / 2, high + lacking / 2
    span = high - low
    drawn = [low - span <= line <= high + span for line in lines]
    on = [line for line, here in zip(lines, drawn, strict=True) if here]
    low, high = min(low, *on), max(high, *on)
    edge = _EDGE * (high - low)
    return (max(0.0, low - edge) if low >= 0 else low - edge), high + edge, drawn


def _dots(series: _Series, ends: Sequence[float], factor: float) -> Iterator[Dot]:
    values: Sequence[float | None] = [*series.warming, *series.sampled]
    for index, (value, end) in enumerate(zip(values, ends, strict=True)):
        start = ends[index - 1] if index else 0.0
        if value is not None:
            yield Dot((start + end) / 2, value / factor, index >= len(series.warming))


def thinned(dots: Sequence[Dot]) -> list[Dot]:
    """Return dots of which no more than a picture shows: of neighbours in time the lowest and the highest."""
    if len(dots) <= MOST_DOTS:
        return [*dots]
    size = _merged(len(dots))
    kept: list[Dot] = []
    for sampled in (False, True):
        some = [dot for dot in dots if dot.sampled is sampled]
        for first in range(0, len(some), size):
            part = some[first : first + size]
            ends = {min(part, key=lambda dot: dot.value), max(part, key=lambda dot: dot.value)}
            kept += sorted(ends)
    return kept


def _merged(blocks: int) -> int:
    """Return of how many neighbours two are drawn."""
    return math.ceil(2 * blocks / MOST_DOTS)


def _labelled(panel: Panel) -> list[Line]:
    """Return the lines with the heights of their labels, each as near as can be to the line."""
    span = panel.high - panel.low
    wanted = [min(1.0, max(0.0, (line.value - panel.low) / span)) for line in panel.lines]
    gap = _ROW / panel.inches
    heights = spread(wanted, gap, gap / 2, 1 - gap / 2)
    return [line._replace(height=height) for line, height in zip(panel.lines, heights, strict=True)]


def _alt(panels: Sequence[Panel], title: str, ends: Sequence[float], before: int) -> str:
    rates = [dot.value for dot in panels[0].dots if dot.sampled]
    what = listed([f"{panel.name} in {panel.unit}" for panel in panels])
    panes = f", in {len(panels)} panels above one another" if len(panels) > 1 else ""
    warm = f"{before} hollow marks are blocks of the warm-up, " if before else ""
    kept = f"{len(ends) - before} filled {'ones' if before else 'marks are'} sampled blocks"
    return unbound(
        f"Marks over {significant(ends[-1], 3)} seconds{panes}: {what}. "
        f"{warm}{kept}, at {significant(min(rates))} to {significant(max(rates))} {panels[0].unit}. {title}."
    )


def _notes(header: Header, measurement: Measurement, reading: Reading, panels: Sequence[Panel]) -> Iterator[str]:
    count = len(measurement.samples.seconds_per_call)
    yield (
        f"{KINDS[header.origin].capitalize()}, {header.taken_text} UTC: {by_library(measurement.cell)}, "
        f"{count} blocks of {measurement.calls_per_block} calls; a mark is the mean of one block."
    )
    searched = ", and the search for an algorithm," if measurement.search else ""
    if header.process is not None and header.process.of > 1:
        yield f"Process {header.process.index + 1} of the {header.process.of} of its run, alone."
    yield f"The blocks stand end to end: what was between them{searched} is left out of the time."
    moved = drift(measurement)
    if moved is not None:
        wide = f"overlap, and are ±{percent(DRIFT_SHOWS, 1)} at most"
        found = "are apart, or its nine parts keep rising or falling" if moved else wide
        yield f"Drift: the intervals of the medians of the first third of the samples and of the last {found}."
    if any(panel.low > 0 for panel in panels):
        yield "The vertical axes do not begin at zero."
    blocks = count + (len(measurement.warm_up.calls) if measurement.warm_up else 0)
    if blocks > MOST_DOTS:
        yield f"Of {blocks:,} blocks the lowest and the highest of every {_merged(blocks)} are drawn."
    yield from _off_the_axis(panels)
    if reading.sm_clock_hz is not None:
        sensors = "; power and temperature are what its sensors last said" if len(panels) > 2 else ""
        yield f"The clock is that which the chip counted{sensors}."
    yield from _held_back(measurement)
    for caveat in measurement.warnings:
        if caveat.code in RECOMPUTED:
            yield f"{capital(sentence(caveat))}."


def _off_the_axis(panels: Sequence[Panel]) -> Iterator[str]:
    outside = sum(panel.beyond(dot) for panel in panels for dot in panel.dots)
    if outside:
        blocks = f"{outside} block{'' if outside == 1 else 's'} of the warm-up"
        yield f"Drawn as arrows at the edge, as they would squash the rest: {blocks}."
    rates = panels[0]
    if rates.band is not None and (rates.band[0] < rates.low or rates.band[1] > rates.high):
        low, high = map(significant, rates.band)
        yield f"The interval goes on beyond the axis: from {low} to {high} {rates.unit}."


def _held_back(measurement: Measurement) -> Iterator[str]:
    reasons = (measurement.telemetry and measurement.telemetry.event_reasons) or {}
    if reasons.get(POWER_CAP, 0.0) >= NOTABLE:
        yield f"In {percent(reasons[POWER_CAP])} of the sensors' readings the power limit held the clock back."
    for fault in (name for name in FAULTS if reasons.get(name, 0.0) >= NOTABLE):
        yield f"In {percent(reasons[fault])} of them {fault} slowed it down, which is a fault: mend that first."

"""Where the rates of products lie in their picture: the axes, the intervals, and what moves aside for another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from bench.report.plots.axis import log_share
from bench.report.plots.sweep_series import Drawable, Over, Series
from bench.stats import Interval

ACROSS: Final = 6.1  # inches of the axes' width
MARKER: Final = 0.1  # inches: how large one is
_DIGIT, _SPACE = 0.08, 0.09  # inches that a digit of a marked size takes, and what is between two sizes
_AROUND: Final = 0.3  # octaves beside the smallest and the largest size
_ABOVE: Final = 1.06  # what the axis shows, of the highest that is on it
_HIGHEST: Final = 1.4  # likewise how much of an interval at most
_ROOM: Final = 0.8  # of the way from one size to the next, what the markers at it may take

Shifts = Mapping[tuple[int, int], float]  # inches to the right, of a series' number and a size


class Sizes(NamedTuple):
    """The logarithmic axis of sizes from `low` to `high`, marked at `ticks`."""

    low: float
    high: float
    title: str
    ticks: Sequence[int]

    def share(self, size: float) -> float:
        """Return where a size lies on it, from 0 to 1."""
        return log_share(size, self.low, self.high)

    def shifted(self, size: float, inches: float) -> float:
        """Return what lies so far to the right of a size."""
        return size * math.exp(inches / ACROSS * math.log(self.high / self.low))


class Bar(NamedTuple):
    """The 95 % interval at one size of the series of a number."""

    series: int
    size: int
    interval: Interval


def sizes_of(found: Drawable) -> Sizes:
    """Return the axis of the sizes, which reaches a little beyond them."""
    sizes = sorted({point.size for one in found.series for point in one.points})
    low, high = sizes[0] / 2**_AROUND, sizes[-1] * 2**_AROUND
    return Sizes(low, high, _size_title(found.over), _ticks(sizes, octave=ACROSS / math.log2(high / low)))


def _size_title(over: Over) -> str:
    if over.weights is None:
        return "size n of n×n×n products"
    n, k = over.weights
    return f"rows M of M×{n}×{k} products, all by one {over.matrix} matrix"


def _ticks(sizes: Sequence[int], *, octave: float) -> list[int]:
    """Return the sizes for which there is room, with so many inches an octave: powers of two before others."""

    def apart(a: int, b: int) -> bool:
        return octave * abs(math.log2(a / b)) >= _DIGIT * len(f"{a}{b}") / 2 + _SPACE

    kept: list[int] = []
    for size in sorted(sizes, key=lambda size: (size.bit_count() > 1, size)):
        if all(apart(size, other) for other in kept):
            kept.append(size)
    return sorted(kept)


def top_of(found: Drawable) -> float:
    """Return the upper end of the axis: all rates and peaks are below, of an interval as much as is not absurd."""
    rates = [point.rate for one in found.series for point in one.points]
    highest = max([rate.rate for rate in rates] + [*found.peaks.values()])
    ends = max((rate.interval.hi for rate in rates if rate.interval), default=0.0)
    return max(highest, min(ends, _HIGHEST * highest)) * _ABOVE


def bars_of(series: Sequence[Series], least: float) -> Iterator[Bar]:
    """Yield the intervals that are wider than `least`, a marker's height."""
    for index, one in enumerate(series):
        for size, rate in one.points:
            if rate.interval is not None and rate.interval.hi - rate.interval.lo > least:
                yield Bar(index, size, rate.interval)


def shifts_of(series: Sequence[Series], marker: float, x: Sizes) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield how far what would hide each other at one size moves to either side.

    Neighbours are a marker apart, or as far as leaves them all nearer to their size than to another.
    """
    sizes = {point.size for one in series for point in one.points}
    for size in sizes:
        there = _crowded(series, size, marker)
        others = [x.low, x.high, *(other for other in sizes if other != size)]
        room = ACROSS * min(abs(x.share(other) - x.share(size)) for other in others)
        middle = (len(there) - 1) / 2
        for place, index in enumerate(there):
            yield (index, size), min(MARKER, _ROOM * room / (2 * middle)) * (place - middle)


def _crowded(series: Sequence[Series], size: int, marker: float) -> list[int]:
    """Return what lies over or under a bar at one size, if two bars do: the numbers of the series."""
    bars = {bar.series: bar.interval for bar in bars_of(series, marker) if bar.size == size}
    rates = {index: rate.rate for index, one in enumerate(series) for at, rate in one.points if at == size}
    ends = {index: Interval(rate - marker / 2, rate + marker / 2) for index, rate in rates.items()} | bars
    over = [(a, b) for a, b in combinations(ends, 2) if ends[a].lo < ends[b].hi and ends[b].lo < ends[a].hi]
    if not any(a in bars and b in bars for a, b in over):
        return []
    return sorted({index for pair in over if {*pair} & {*bars} for index in pair})

"""Whether a rate drifted from the first of its blocks to the last, and by how much."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from bench.measure.measurement import Measurement
from bench.stats import MIN_SAMPLES, drifts, summarise

DRIFT_SHOWS: Final = 0.02  # intervals that are wider, as a share, hide a drift
_PARTS: Final = 9  # the most that `drifts` takes


def drift(measurement: Measurement) -> float | None:
    """Return by what share the rate of the last third of the blocks exceeds that of the first: -0.02 is a fall.

    That is if the intervals of both medians are apart, or if the medians of nine parts keep rising or falling,
    which makes those intervals wide. Else it is 0 if they are so narrow that a drift would show, and None if the
    blocks cannot tell.
    """
    seconds = measurement.samples.seconds_per_call
    third = len(seconds) // 3
    if third < MIN_SAMPLES:
        return None
    first, last = summarise(seconds[:third]), summarise(seconds[-third:])
    if first.interval is None or last.interval is None:
        return None
    apart = first.interval.lo > last.interval.hi or last.interval.lo > first.interval.hi
    if apart or drifts(_parts(seconds)):
        return first.median / last.median - 1
    return 0.0 if max(first.half_width or 0.0, last.half_width or 0.0) <= DRIFT_SHOWS else None


def _parts(seconds: Sequence[float]) -> list[float]:
    ends = [len(seconds) * part // _PARTS for part in range(_PARTS + 1)]
    return [median(seconds[start:end]) for start, end in pairwise(ends)]

"""Pure statistics over samples: the median and its interval, dependence, outliers, two modes.

Everything takes plain sequences of floats and returns plain values; nothing here knows what was measured.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import fmean, median
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95
MIN_SAMPLES: Final = 6  # the fewest whose extremes bound the median with 95 % confidence
DEPENDENCE_LIMIT: Final = 0.2  # lag-1 autocorrelation above which neighbouring samples are merged


class Interval(NamedTuple):
    """A closed interval, `lo` ≤ `hi`, in the unit of what it bounds."""

    lo: float
    hi: float


class Summary(NamedTuple):
    """What the samples of one cell say, in seconds per call (or whatever unit they came in).

    `interval` is None with fewer than six independent samples. `merged` neighbours were averaged into one
    before the interval was taken, because single blocks depended on each other.
    """

    median: float
    interval: Interval | None
    n: int
    merged: int
    autocorrelated: bool
    bimodal: bool
    outliers: int

    @property
    def half_width(self) -> float | None:
        """Half the interval's width relative to the median, (hi − lo) / 2 / median; None without interval."""
        if self.interval is None:
            return None
        return (self.interval.hi - self.interval.lo) / 2 / self.median


@cache
def median_ranks(n: int, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Return the ranks (from 0) of the order statistics that bound the median of `n` samples.

    The narrowest symmetric pair whose exact coverage, 1 − 2·P(Binomial(n, ½) < k), reaches `confidence`; None
    if even the extremes do not. Source: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.
    """
    tail = 0.0
    rank = -1
    while rank + 1 < n / 2:
        tail += math.comb(n, rank + 1) / 2**n
        if 1 - 2 * tail < confidence:
            break
        rank += 1
    return None if rank < 0 else (rank, n - 1 - rank)


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the order-statistic interval of the median, or None if there are too few samples."""
    ranks = median_ranks(len(samples), confidence)
    if ranks is None:
        return None
    ordered = sorted(samples)
    return Interval(ordered[ranks[0]], ordered[ranks[1]])


def lag1_autocorrelation(samples: Sequence[float]) -> float:
    """Return the lag-1 autocorrelation, corrected by 1/n for its bias under independence; 0 if constant.

    The plain estimator averages −1/n on independent samples (Kendall, Time Series, 2nd ed., section 6.7),
    which at n = 6 would hide a real dependence of 0.2 entirely.
    """
    n = len(samples)
    if n < 3:
        return 0.0
    centre = fmean(samples)
    deviations = [value - centre for value in samples]
    power = math.fsum(d * d for d in deviations)
    if power == 0 or not math.isfinite(power):
        return 0.0
    return math.fsum(a * b for a, b in pairwise(deviations)) / power + 1 / n


def merge_neighbours(samples: Sequence[float]) -> list[float]:
    """Return the means of samples 1+2, 3+4, …; an odd first one is dropped, being the nearest to warm-up."""
    start = len(samples) % 2
    return [(samples[i] + samples[i + 1]) / 2 for i in range(start, len(samples), 2)]


def count_outliers(samples: Sequence[float]) -> int:
    """Return how many samples lie over three scaled median absolute deviations from the median."""
    centre = median(samples)
    spread = 1.4826 * median(abs(value - centre) for value in samples)
    return sum(abs(value - centre) > 3 * spread for value in samples) if spread > 0 else 0


def is_bimodal(samples: Sequence[float]) -> bool:
    """Return whether the samples fall into two groups: one gap takes over half of the range.

    Both groups must hold a quarter of at least ten samples, and the gap must exceed 1 % of the median, so
    that the spread of a very quiet clock is not called two modes.
    """
    n = len(samples)
    if n < 10:
        return False
    ordered = sorted(samples)
    least = math.ceil(n / 4)
    gap = max(ordered[i] - ordered[i - 1] for i in range(least, n - least + 1))
    return gap > (ordered[-1] - ordered[0]) / 2 and gap > 0.01 * median(ordered)


def summarise(samples: Sequence[float]) -> Summary:
    """Return the median of `samples` with its interval, merging neighbours while they depend on each other.

    Raises ValueError if there is no sample or one is not finite and positive.
    """
    if not samples or not all(math.isfinite(value) and value > 0 for value in samples):
        message = "samples must be finite, positive and at least one"
        raise ValueError(message)
    values, merged = list(samples), 1
    dependent = lag1_autocorrelation(values) > DEPENDENCE_LIMIT
    while dependent and len(values) // 2 >= MIN_SAMPLES:
        values, merged = merge_neighbours(values), merged * 2
        dependent = lag1_autocorrelation(values) > DEPENDENCE_LIMIT
    return Summary(
        median=median(values),
        interval=median_interval(values),
        n=len(samples),
        merged=merged,
        autocorrelated=dependent,
        bimodal=is_bimodal(samples),
        outliers=count_outliers(samples),
    )


def ratio_interval(
    numerator: float, numerator_interval: Interval, denominator: float, denominator_interval: Interval
) -> Interval:
    """Return the interval of numerator ÷ denominator from the intervals of the two medians.

    Closed form on the log scale: the distances from each median to the end that moves the ratio the same way
    add in quadrature (independent errors). A figure without error has the interval (x, x).
    """
    ratio = numerator / denominator
    down = math.hypot(math.log(numerator / numerator_interval.lo), math.log(denominator_interval.hi / denominator))
    up = math.hypot(math.log(numerator_interval.hi / numerator), math.log(denominator / denominator_interval.lo))
    return Interval(ratio * math.exp(-down), ratio * math.exp(up))

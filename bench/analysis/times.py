"""How long something takes where that is only expected: a time with the two ends of its range."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self


class Times(NamedTuple):
    """Seconds of a call, or its rates a second: as expected, and at the ends of the range, the slow one first."""

    slow: float
    expected: float
    fast: float

    @classmethod
    def exactly(cls, seconds: float) -> Self:
        """Return a time without a range."""
        return cls(seconds, seconds, seconds)

    def apply(self, change: Callable[[float], float]) -> "Times":
        """Return what a function makes of each."""
        return Times(*map(change, self))

    def widened(self, error: float) -> "Times":
        """Return the range with an error (of a logarithm) that has nothing to do with what it is of."""
        slow, fast = math.log(self.slow / self.expected), math.log(self.expected / self.fast)
        return Times(
            self.expected * math.exp(math.hypot(slow, error)),
            self.expected,
            self.expected / math.exp(math.hypot(fast, error)),
        )

    def at_least(self, other: "Times") -> "Times":
        """Return the longer of each."""
        return Times(*map(max, self, other))


def blended(first: Times, second: Times, weight: float) -> Times:
    """Return what lies between two times, geometrically: `weight` 0 is the first, 1 the second.

    In the middle the range holds both ranges.
    """
    between = Times(*(a ** (1 - weight) * b**weight for a, b in zip(first, second, strict=True)))
    both = 1 - abs(2 * weight - 1)
    slow, fast = max(first.slow, second.slow), min(first.fast, second.fast)
    return Times(
        between.slow ** (1 - both) * slow**both, between.expected, between.fast ** (1 - both) * fast**both
    )


def total(times: Sequence[Times]) -> Times:
    """Return the sums of several times, the same to the last digit in any version of Python."""
    return Times(*map(math.fsum, zip(*times, strict=True))) if times else Times(0.0, 0.0, 0.0)

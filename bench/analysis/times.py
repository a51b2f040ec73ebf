"""How long something takes where that is only expected: a time with the two ends of its range."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self


class Times(NamedTuple):
    """Seconds of a call: as expected, and at the ends of the range, the slow one first."""

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

    def at_least(self, other: "Times") -> "Times":
        """Return the longer of each."""
        return Times(*map(max, self, other))


def total(times: Sequence[Times]) -> Times:
    """Return the sums of several times."""
    return Times(*map(sum, zip(*times, strict=True))) if times else Times(0.0, 0.0, 0.0)

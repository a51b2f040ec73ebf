"""A logarithmic axis of a picture, and where values lie on it. It draws nothing."""

import math
from typing import NamedTuple


def log_share(value: float, low: float, high: float) -> float:
    """Return where a value lies on a logarithmic axis from `low` to `high`: 0 and 1 are its ends."""
    return math.log(value / low) / math.log(high / low)


class Axis(NamedTuple):
    """A logarithmic axis from `low` to `high`."""

    low: float
    high: float
    title: str

    def share(self, value: float) -> float:
        """Return where a value lies on it, from 0 to 1."""
        return log_share(value, self.low, self.high)

    @property
    def ticks(self) -> list[float]:
        """The powers of ten on it."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        return [tick for power in range(first, last + 1) if self.low <= (tick := 10.0**power) <= self.high]

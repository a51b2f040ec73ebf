"""The words for a rate above a peak of its own chip: which peak, and what most likely explains it."""

from types import MappingProxyType
from typing import Final, NamedTuple

from bench.analysis.efficiency import Excess


class Words(NamedTuple):
    """Which peak a rate is above, and why."""

    peak: str
    cause: str


EXCESS: Final = MappingProxyType[Excess, Words](
    {
        "at_clock": Words(
            "peak at the clock held", "the clock, the FLOP per clock or the product is another than assumed"
        ),
        "data": Words(
            "published peak", "predictable data take less power than normal ones, and let the clock rise"
        ),
        "clock": Words("published peak", "the clock was above that of the sheet's peak"),
        "unknown": Words(
            "published peak",
            "a clock above the sheet's, a lower accumulate precision, or another product than assumed",
        ),
    }
)

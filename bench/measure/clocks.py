"""The machine's own clocks beside a cell: whether it slept meanwhile, and whether somebody set its wall clock.

Nothing is timed by the wall clock, so setting it harms no rate; but records are named after it and sorted by it.
"""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from bench.devices.base import Caveat

_MOVED_S: Final = 1.0  # a leap second, or more; what slews a clock slews all of these alike
# What goes on while the machine sleeps, where the system tells it (Linux); the monotonic clock stands still then.
_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Clocks(NamedTuple):
    """What the clocks said at one moment, in seconds from moments of their own."""

    running: float
    passing: float
    wall: float


def clocks() -> Clocks:
    """Return what the machine's clocks say now."""
    running = time.monotonic()
    return Clocks(running, running if _BOOT is None else time.clock_gettime(_BOOT), time.time())


def moved(before: Clocks, after: Clocks) -> Iterator[Caveat]:
    """Yield that the machine slept between two moments, and that its wall clock was set.

    One that was paused, being virtual, looks like one whose clock was set forward, once that is put right.
    """
    passed = after.passing - before.passing
    slept = passed - (after.running - before.running)
    if slept >= _MOVED_S:
        yield Caveat(code="slept", values={"seconds": slept})
    was_set = after.wall - before.wall - passed
    if abs(was_set) >= _MOVED_S:
        yield Caveat(code="clock_set", values={"seconds": was_set})

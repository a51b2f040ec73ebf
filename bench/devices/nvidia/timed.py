"""What every task on a GPU shares: blocks timed by events, with the clock and the sensors beside them."""

from collections import deque
from collections.abc import Callable, Iterator
from statistics import median
from time import sleep
from typing import Final

from bench.devices.base import Block, Caveat, Telemetry
from bench.devices.nvidia.runtime import CupyRuntime
from bench.devices.nvidia.watch import Seen, Watcher

CACHES: Final = 3  # of operands to go through, so that none is still in the L2 when its turn comes
_HOST_LIMITED: Final = 0.8  # of a call's time spent on enqueuing the next
_UNSEEN: Final = 0.1  # of a window, in which the sensors gave no answer, from which on that is told
_COARSE: Final = 1.02  # of the highest clock: steps of a sensor, errors of a count


class TimedTask:
    """A task's clock, sensors and latest times; what is enqueued is its own."""

    def __init__(self, runtime: CupyRuntime, watcher: Watcher | None, *, cold: bool) -> None:
        self.cold = cold
        self._runtime, self._watcher = runtime, watcher
        self._recent: deque[float] = deque(maxlen=20)
        self._enqueued: deque[float] = deque(maxlen=20)
        self._clocks: deque[float] = deque(maxlen=20)
        self._telemetry: Telemetry | None = None
        self._seen: Seen | None = None

    def _timed_block(self, calls: int, enqueue: Callable[[], None]) -> Block:
        """Return the time of `calls` calls that `enqueue` launches."""
        timed = self._runtime.timed(enqueue)
        per_call = timed.seconds / calls
        self._recent.append(per_call)
        self._enqueued.append(timed.host_s / calls)
        clock = timed.sm_clock_hz
        if clock is not None:
            self._clocks.append(clock)
        reading = self._watcher.latest() if self._watcher else None
        return Block(
            calls=calls,
            seconds_per_call=per_call,
            cycles_per_call=None if clock is None else per_call * clock,
            sm_clock_hz=clock,
            power_w=reading.power_w if reading else None,
            temperature_c=reading.temperature_c if reading else None,
        )

    def _in_cache(self, operands: int) -> Iterator[Caveat]:
        """Yield that so many bytes of operands are too few for calls to find none of them in the L2."""
        l2 = int(self._runtime.properties["l2CacheSize"])
        if operands < CACHES * l2:
            yield Caveat(code="in_cache", values={"operands": float(operands), "l2": float(l2)})

    def _host_limited(self, enqueue_s: float) -> Iterator[Caveat]:
        """Yield that enqueuing a call takes the host about as long as the latest calls took."""
        if not self._recent:
            return
        call_s = median(self._recent)
        if enqueue_s >= _HOST_LIMITED * call_s:
            yield Caveat(code="launch_bound", values={"enqueue_s": enqueue_s, "call_s": call_s})

    def rest(self, seconds: float) -> None:
        """Let the GPU idle."""
        sleep(seconds)

    def watch(self) -> None:
        """Begin to note what the sensors say."""
        if self._watcher is not None:
            self._watcher.begin()

    def observed(self) -> Telemetry | None:
        """Return what the sensors said since `watch`."""
        if self._watcher is None:
            return None
        self._telemetry, self._seen = self._watcher.window(), self._watcher.seen()
        return self._telemetry

    def _doubtful(self) -> Iterator[Caveat]:
        """Yield how much of the window nobody saw, and clocks above the device's own limit."""
        seen, told = self._seen, self._telemetry
        if seen is not None and seen.unseen_s > _UNSEEN * seen.seconds:
            values = {"unseen_s": seen.unseen_s, "of": seen.seconds, "readings": float(seen.readings)}
            yield Caveat(code="sensors_gap", values={**values})
        most = self._watcher.most_clock_hz if self._watcher is not None else None
        if most is None:
            return
        counted = median(self._clocks) if self._clocks else 0.0
        sensor = told.sm_clock_hz.most if told is not None and told.sm_clock_hz is not None else 0.0
        for by, clock in (("count", counted), ("sensor", sensor)):
            if clock > _COARSE * most:
                yield Caveat(code="clock_above_most", values={"by": by, "clock": clock, "most": most})

"""What every task on a GPU shares: blocks timed by events, with the clock and the sensors beside them."""

from collections import deque
from collections.abc import Callable
from time import sleep

from bench.devices.base import Block, Telemetry
from bench.devices.nvidia.runtime import CupyRuntime
from bench.devices.nvidia.watch import Watcher

HOST_LIMITED = 0.8  # of a call's time spent on enqueuing the next


class TimedTask:
    """A task's clock, sensors and latest times; what is enqueued is its own."""

    def __init__(self, runtime: CupyRuntime, watcher: Watcher | None, *, cold: bool) -> None:
        self.cold = cold
        self._runtime, self._watcher = runtime, watcher
        self._recent: deque[float] = deque(maxlen=20)
        self._recent_enqueue: deque[float] = deque(maxlen=20)

    def _timed_block(self, calls: int, enqueue: Callable[[], None]) -> Block:
        """Return the time of `calls` calls that `enqueue` launches."""
        timed = self._runtime.timed(enqueue)
        per_call = timed.seconds / calls
        self._recent.append(per_call)
        self._recent_enqueue.append(timed.host_s / calls)
        clock = timed.sm_clock_hz
        reading = self._watcher.latest() if self._watcher else None
        return Block(
            calls=calls,
            seconds_per_call=per_call,
            cycles_per_call=None if clock is None else per_call * clock,
            sm_clock_hz=clock,
            power_w=reading.power_w if reading else None,
            temperature_c=reading.temperature_c if reading else None,
        )

    def rest(self, seconds: float) -> None:
        """Let the GPU idle."""
        sleep(seconds)

    def watch(self) -> None:
        """Begin to note what the sensors say."""
        if self._watcher is not None:
            self._watcher.begin()

    def observed(self) -> Telemetry | None:
        """Return what the sensors said since `watch`."""
        return self._watcher.window() if self._watcher is not None else None

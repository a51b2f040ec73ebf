"""Sensors read in the background while something else is measured.

A thread reads them 10 to 50 times a second. On an H200 a block of 0.2 s took 0.997 of its time without it, so it
costs less than can be told. Not confirmed on a device: how often a chip renews its readings.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from statistics import median
from time import monotonic
from typing import Final, NamedTuple, Protocol

from bench.devices.base import Spread, Telemetry
from bench.devices.nvidia.nvml import Reading, SensorsLost, reason_names
from bench.errors import one_line

SLOWEST_HZ: Final = 10.0
FASTEST_HZ: Final = 50.0
MOST_READINGS: Final = 20_000  # kept of one window: a quarter of an hour at 20 Hz, a longer one is thinned out
ENERGY_LEAST_S: Final = 3.0  # below this the counter's own steps show
_JOIN_S: Final = 2.0  # a call to a GPU that fell off the bus may hang; the thread is a daemon then
_STALE_S: Final = 1.0  # ten periods of the slowest: what was read before says nothing of now
_MISSED: Final = 5.0  # periods without a reading, from which on nobody looked
_NO_ANSWER: Final = "the sensors gave no answer within {:g} s; see nvidia-smi"


class Source(Protocol):
    """What can be watched: `Sensors`, or a script in its place."""

    def read(self) -> Reading:
        """Return one reading. Raises SensorsLost."""
        ...

    def energy_j(self) -> float | None:
        """Return the energy counter in joules, None without. Raises SensorsLost."""
        ...


class _Energy(NamedTuple):
    seconds: float
    joules: float


class Seen(NamedTuple):
    """How long a window was, and for how much of it nobody looked, though in a window readings are due."""

    seconds: float
    unseen_s: float
    readings: int


class Watcher:
    """Readings of `sensors`, `hz` times a second between `start` and `stop`, kept since the last `begin`.

    Whatever the sensors do, the measurement goes on: a call to them that does not return within two seconds, or
    fails in a way that nobody foresaw, is a loss of them, and the thread that waits for it is left to itself.

    At most `MOST_READINGS` are kept: a window that grows longer drops every second one and records half as often
    from there on, so that what is kept stays spread evenly. All but `start` and `stop` may be called from any
    thread. `most_clock_hz` is the device's own limit. `clock` (seconds), and `wait` (sleeps; True means stop),
    can be replaced, and `tick` called without a thread. Raises ValueError for `hz` outside 10 to 50.
    """

    def __init__(
        self,
        sensors: Source,
        hz: float = 20.0,
        *,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], bool] | None = None,
        most_clock_hz: float | None = None,
    ) -> None:
        if not SLOWEST_HZ <= hz <= FASTEST_HZ:
            message = f"sensors are read {SLOWEST_HZ:g} to {FASTEST_HZ:g} times a second, not {hz:g}"
            raise ValueError(message)
        self._sensors, self._period, self._clock = sensors, 1 / hz, clock
        self.most_clock_hz = most_clock_hz
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread: threading.Thread | None = None
        self._lost: str | None = None
        self._begun: float | None = None
        self._ended: float | None = None
        self._energy: _Energy | None = None
        self._energy_at_end: _Energy | None = None
        self._readings: list[Reading] = []
        self._latest: tuple[float, Reading] | None = None
        self._asked: float | None = None
        self._looked, self._unseen_s = 0.0, 0.0
        self._stride, self._ticks = 1, 0

    @property
    def lost(self) -> str | None:
        """Why the sensors answer no more, in a line; None while they do."""
        return self._lost

    def start(self) -> None:
        """Read in the background from now on. Does nothing if that is so already, or once the sensors are lost."""
        if self._thread is None and self._lost is None:
            self._stopping.clear()
            with self._lock:
                if self._ended is not None:  # by `stop`: that window is over, and readings go on
                    self._begun = self._ended = self._energy_at_end = None
            self._thread = threading.Thread(target=self._run, name="chipbench-sensors", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Read no more, and end the open window here; what was read is kept."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                self._lost = self._lost or _NO_ANSWER.format(_JOIN_S)
            self._thread = None
        self._end(self._energy_now())

    def begin(self) -> None:
        """Begin a window: forget earlier readings."""
        energy = self._energy_now()
        with self._lock:
            self._begun, self._energy = self._clock(), energy
            self._looked, self._unseen_s = self._begun, 0.0
            self._ended = self._energy_at_end = None
            self._readings, self._stride, self._ticks = [], 1, 0

    def tick(self) -> bool:
        """Read the sensors once, into the window if one is open; False once they are lost."""
        at = self._asked = self._clock()
        try:
            reading = self._sensors.read()
        except SensorsLost as error:
            self._lose(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a binding raises, it is the sensors that fail of it
            self._lose(f"reading the sensors failed ({one_line(error)}); report this")
        else:
            self._keep(at, reading)
        self._asked = None
        return self._lost is None

    def latest(self) -> Reading | None:
        """Return the last reading, in a window or not; None if it is stale or missing, or once stopped or lost."""
        latest = self._latest
        return latest[1] if latest is not None and self._clock() - latest[0] <= _STALE_S else None

    def seen(self) -> Seen | None:
        """Return how much of the window since `begin` the sensors were seen in; None without one."""
        with self._lock:
            if self._begun is None:
                return None
            end = self._clock() if self._ended is None else self._ended
            unseen_s = self._unseen_s + self._missed(end)
            return Seen(max(0.0, end - self._begun), unseen_s, len(self._readings))

    def _missed(self, at: float) -> float:
        """Return how long nobody had looked at this moment, beyond what is usual."""
        gap = at - self._looked
        return gap - self._period if gap > _MISSED * self._period else 0.0

    def window(self) -> Telemetry | None:
        """Return what was read since `begin`, or that the sensors are lost; None if neither. It stays open."""
        energy = self._energy_now() if self._ended is None else None
        lost = self._lost or self._hanging()
        with self._lock:
            end = self._clock() if self._ended is None else self._ended
            readings, begun = [*self._readings], self._begun
            used = _energy_used(self._energy, self._energy_at_end or energy)
        if begun is None or not (readings or lost):
            return None
        return Telemetry(
            readings=len(readings),
            seconds=max(0.0, end - begun),
            sm_clock_hz=_spread(reading.sm_clock_hz for reading in readings),
            memory_clock_hz=_spread(reading.memory_clock_hz for reading in readings),
            power_w=_spread(reading.power_w for reading in readings),
            temperature_c=_spread(reading.temperature_c for reading in readings),
            energy_j=used.joules if used else None,
            energy_s=used.seconds if used else None,
            event_reasons=_shares(reading.event_reasons for reading in readings),
            lost=lost,
        )

    def _hanging(self) -> str | None:
        """Return that a call to the sensors has not returned for so long that nobody may wait for it, if so."""
        asked = self._asked
        if asked is None or self._clock() - asked < _JOIN_S:
            return None
        return _NO_ANSWER.format(_JOIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set() and self.tick() and not self._wait(self._period):
            pass

    def _keep(self, at: float, reading: Reading) -> None:
        with self._lock:
            if self._ended is not None:
                return
            self._latest = at, reading
            # A reading that was begun before the window says nothing of it.
            if self._begun is None or at < self._begun:
                return
            self._unseen_s += self._missed(at)
            self._looked = at
            if self._ticks % self._stride == 0:
                self._readings.append(reading)
            self._ticks += 1
            if len(self._readings) == MOST_READINGS:
                del self._readings[1::2]
                self._stride *= 2

    def _energy_now(self) -> _Energy | None:
        """Return the counter and when it was read, None without one or once the sensors are lost.

        A thread of its own asks, as only that can be left behind if the call never returns.
        """
        if self._lost is not None or self._hanging() is not None:
            return None
        told: list[_Energy] = []
        asking = threading.Thread(target=self._ask_energy, args=(told,), name="chipbench-energy", daemon=True)
        asking.start()
        asking.join(_JOIN_S)
        if asking.is_alive():
            self._lose(_NO_ANSWER.format(_JOIN_S))
        return told[0] if told else None

    def _ask_energy(self, told: list[_Energy]) -> None:
        try:
            joules = self._sensors.energy_j()
        except SensorsLost as error:
            self._lose(str(error))
        except Exception as error:  # noqa: BLE001 - as for a reading
            self._lose(f"reading the energy counter failed ({one_line(error)}); report this")
        else:
            if joules is not None:
                told.append(_Energy(self._clock(), joules))

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self._end(None)

    def _end(self, energy: _Energy | None) -> None:
        with self._lock:
            if self._ended is None:
                self._ended, self._energy_at_end = self._clock(), energy
            self._latest = None


def _energy_used(first: _Energy | None, last: _Energy | None) -> _Energy | None:
    """Return seconds and joules between two looks at the counter; None if too short or it began anew."""
    if first is None or last is None:
        return None
    seconds, joules = last.seconds - first.seconds, last.joules - first.joules
    return _Energy(seconds, joules) if seconds >= ENERGY_LEAST_S and joules >= 0 else None


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread(least=min(known), median=median(known), most=max(known)) if known else None


def _shares(masks: Iterable[int | None]) -> dict[str, float] | None:
    known = [mask for mask in masks if mask is not None]
    if not known:
        return None
    counts = Counter(name for mask in known for name in reason_names(mask))
    return {name: count / len(known) for name, count in counts.items()}

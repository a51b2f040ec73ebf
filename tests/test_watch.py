"""Watching sensors: what a window holds, its shares and its energy, and what is left of it when they are lost."""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import count, pairwise, repeat

import pytest

from bench.devices.base import Spread, Telemetry
from bench.devices.nvidia import watch
from bench.devices.nvidia.nvml import Reading, SensorsLost
from bench.devices.nvidia.watch import Watcher

CAP, BRAKE, THERMAL = 0x04, 0x80, 0x40
GONE = "GPU 0000:1b:00.0: NVML answers error 15 (GPU is lost)"
DEADLINE_S = 20.0  # for threads that should answer at once


class Clock:
    """A clock that only a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Sensors that say what they are told, reading after reading; an exception in the script is raised."""

    def __init__(self, readings: Iterable[Reading | SensorsLost] = (), energy_j: float | None = None) -> None:
        self.readings: Iterator[Reading | SensorsLost] = iter(readings)
        self.energy: float | SensorsLost | None = energy_j
        self.on_read: Callable[[], None] = lambda: None

    def read(self) -> Reading:
        self.on_read()
        told = next(self.readings)
        if isinstance(told, SensorsLost):
            raise told
        return told

    def energy_j(self) -> float | None:
        if isinstance(self.energy, SensorsLost):
            raise self.energy
        return self.energy


class Scene:
    """A watcher on scripted sensors and a clock, with a window open; nothing runs by itself."""

    def __init__(self, readings: Iterable[Reading | SensorsLost] = (), energy_j: float | None = None) -> None:
        self.clock = Clock()
        self.sensors = Scripted(readings, energy_j)
        self.watcher = Watcher(self.sensors, clock=self.clock)
        self.watcher.begin()

    def ticks(self, number: int, apart: float = 0.25) -> None:
        for _ in range(number):
            self.clock.now += apart
            self.watcher.tick()

    def window(self) -> Telemetry:
        found = self.watcher.window()
        assert found is not None
        return found


def watts(*values: float) -> list[Reading | SensorsLost]:
    return [Reading(power_w=value) for value in values]


def masks(*values: int | None) -> list[Reading | SensorsLost]:
    return [Reading(event_reasons=value) for value in values]


class TestWindow:
    def test_each_sensor_has_its_least_median_and_most(self) -> None:
        scene = Scene(
            [
                Reading(1.7e9, 2.6e9, 500.0, 50.0, 0),
                Reading(1.9e9, 2.6e9, 700.0, 61.0, 0),
                Reading(1.5e9, 2.6e9, 690.0, 55.0, 0),
            ]
        )
        scene.ticks(3)
        assert scene.window() == Telemetry(
            readings=3,
            seconds=0.75,
            sm_clock_hz=Spread(least=1.5e9, median=1.7e9, most=1.9e9),
            memory_clock_hz=Spread(least=2.6e9, median=2.6e9, most=2.6e9),
            power_w=Spread(least=500.0, median=690.0, most=700.0),
            temperature_c=Spread(least=50.0, median=55.0, most=61.0),
            event_reasons={},
        )

    def test_nothing_read_is_no_telemetry(self) -> None:
        scene = Scene()
        scene.clock.now += 10
        assert scene.watcher.window() is None

    def test_nothing_is_kept_before_the_first_window(self) -> None:
        watcher = Watcher(Scripted(watts(1.0, 2.0)), clock=Clock())
        assert watcher.tick()
        assert watcher.window() is None

    def test_a_window_forgets_the_one_before(self) -> None:
        scene = Scene(watts(100.0, 200.0, 300.0))
        scene.ticks(2)
        scene.watcher.begin()
        scene.ticks(1)
        found = scene.window()
        assert found.power_w == Spread(least=300.0, median=300.0, most=300.0)
        assert (found.readings, found.seconds) == (1, 0.25)

    def test_a_window_stays_open(self) -> None:
        scene = Scene(watts(100.0, 200.0))
        scene.ticks(1)
        assert scene.window().readings == 1
        scene.ticks(1)
        assert scene.window().readings == 2

    def test_a_reading_that_was_begun_before_the_window_is_not_of_it(self) -> None:
        scene = Scene(watts(100.0, 200.0))

        def meanwhile() -> None:
            scene.clock.now += 0.01
            scene.watcher.begin()

        scene.sensors.on_read = meanwhile
        scene.ticks(1)
        assert scene.watcher.window() is None

    def test_zero_is_a_reading(self) -> None:
        scene = Scene([Reading(sm_clock_hz=0.0, power_w=0.0)])
        scene.ticks(1)
        zero = Spread(least=0.0, median=0.0, most=0.0)
        assert (scene.window().sm_clock_hz, scene.window().power_w) == (zero, zero)

    def test_a_silent_sensor_is_absent_and_one_that_falls_silent_is_of_what_it_said(self) -> None:
        scene = Scene([Reading(power_w=10.0), Reading(power_w=None), Reading(power_w=30.0)])
        scene.ticks(3)
        found = scene.window()
        assert found.power_w == Spread(least=10.0, median=20.0, most=30.0)
        assert found.temperature_c is None
        assert found.event_reasons is None

    def test_stopping_ends_the_window_and_keeps_it(self) -> None:
        scene = Scene(watts(100.0, 200.0), energy_j=1000.0)
        scene.ticks(1, apart=4.0)
        scene.sensors.energy = 1600.0
        scene.watcher.stop()
        scene.sensors.energy = 9999.0
        scene.ticks(1, apart=60.0)
        found = scene.window()
        assert (found.readings, found.seconds) == (1, 4.0)
        assert (found.energy_j, found.energy_s) == (600.0, 4.0)

    def test_a_window_can_follow_a_stop(self) -> None:
        scene = Scene(watts(100.0))
        scene.watcher.stop()
        scene.watcher.begin()
        scene.ticks(1)
        assert (scene.window().readings, scene.window().seconds) == (1, 0.25)


class TestLatest:
    def test_it_is_the_last_reading_with_or_without_a_window(self) -> None:
        watcher = Watcher(Scripted(watts(100.0, 200.0)), clock=Clock())
        assert watcher.latest() is None
        for expected in (100.0, 200.0):
            watcher.tick()
            assert watcher.latest() == Reading(power_w=expected)

    def test_nothing_stale_is_given_once_stopped_or_lost(self) -> None:
        stopped, lost = Scene(watts(100.0, 200.0)), Scene([*watts(100.0), SensorsLost(GONE)])
        stopped.ticks(1)
        stopped.watcher.stop()
        stopped.ticks(1)
        lost.ticks(2)
        assert (stopped.watcher.latest(), lost.watcher.latest()) == (None, None)


class TestReasons:
    def test_shares_are_of_readings_by_bit(self) -> None:
        scene = Scene(masks(CAP, CAP | BRAKE, CAP | BRAKE | THERMAL, 0))
        scene.ticks(4)
        assert scene.window().event_reasons == {
            "sw_power_cap": 0.75,
            "hw_power_brake_slowdown": 0.5,
            "hw_thermal_slowdown": 0.25,
        }

    def test_shares_are_of_the_readings_that_told(self) -> None:
        scene = Scene(masks(CAP, None, 0))
        scene.ticks(3)
        assert scene.window().event_reasons == {"sw_power_cap": 0.5}

    def test_held_back_by_nothing_is_not_unknown(self) -> None:
        scene = Scene(masks(0))
        scene.ticks(1)
        assert scene.window().event_reasons == {}


class TestEnergy:
    @pytest.mark.parametrize(("seconds", "told"), [(2.99, None), (3.0, 450.5), (60.0, 450.5)])
    def test_it_is_told_of_three_seconds_or_more(self, seconds: float, told: float | None) -> None:
        scene = Scene(watts(1.0), energy_j=1000.0)
        scene.ticks(1, apart=seconds)
        scene.sensors.energy = 1450.5
        found = scene.window()
        assert found.energy_j == told
        assert found.energy_s == (pytest.approx(seconds) if told else None)

    def test_it_is_of_its_own_window(self) -> None:
        scene = Scene(watts(1.0, 1.0), energy_j=1000.0)
        scene.ticks(1, apart=5.0)
        scene.sensors.energy = 2000.0
        scene.watcher.begin()
        scene.ticks(1, apart=4.0)
        scene.sensors.energy = 2100.0
        assert (scene.window().energy_j, scene.window().energy_s) == (100.0, 4.0)

    @pytest.mark.parametrize(("first", "last"), [(None, 500.0), (500.0, None), (500.0, 400.0)])
    def test_no_counter_and_one_that_began_anew_are_no_energy(
        self, first: float | None, last: float | None
    ) -> None:
        scene = Scene(watts(1.0), energy_j=first)
        scene.ticks(1, apart=5.0)
        scene.sensors.energy = last
        assert scene.window().energy_j is None
        assert scene.window().energy_s is None


class TestLost:
    def test_what_was_read_before_is_kept_with_the_reason(self) -> None:
        scene = Scene([*watts(500.0, 600.0), SensorsLost(GONE)], energy_j=1.0)
        scene.ticks(3)
        scene.clock.now += 60.0
        found = scene.window()
        assert found.power_w == Spread(least=500.0, median=550.0, most=600.0)
        assert (found.readings, found.seconds) == (2, 0.75)
        assert (found.lost, found.energy_j) == (GONE, None)
        assert scene.watcher.lost == GONE

    def test_a_tick_says_whether_to_go_on(self) -> None:
        scene = Scene([*watts(500.0), SensorsLost(GONE)])
        assert scene.watcher.tick()
        assert not scene.watcher.tick()

    def test_an_energy_counter_that_is_lost_is_a_loss(self) -> None:
        scene = Scene(watts(500.0), energy_j=1.0)
        scene.ticks(1)
        scene.sensors.energy = SensorsLost(GONE)
        found = scene.window()
        assert (found.readings, found.lost) == (1, GONE)

    def test_a_window_after_the_loss_has_no_reading_and_says_why(self) -> None:
        scene = Scene([SensorsLost(GONE)], energy_j=1.0)
        scene.ticks(1)
        scene.watcher.begin()
        found = scene.watcher.window()
        assert found is not None
        assert (found.readings, found.seconds, found.power_w, found.lost) == (0, 0.0, None, GONE)
        scene.watcher.stop()


class TestBounds:
    def test_a_long_window_stays_bounded_and_evenly_spread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "MOST_READINGS", 8)
        scene = Scene(Reading(power_w=float(number)) for number in count())
        for ticks in range(1, 200):
            scene.ticks(1)
            kept = [reading.power_w or 0.0 for reading in scene.watcher._readings]
            assert len(kept) < 8
            assert kept[0] == 0.0
            steps = {later - earlier for earlier, later in pairwise(kept)}
            assert len(steps) <= 1, kept
            assert kept[-1] >= ticks - 1 - max(steps, default=1), "the end of the window is left out"

    def test_shares_survive_the_thinning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "MOST_READINGS", 100)
        scene = Scene(masks(*[0] * 500, *[CAP] * 500))
        scene.ticks(1000)
        shares = scene.window().event_reasons
        assert shares is not None
        assert shares["sw_power_cap"] == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize("hz", [0.0, 9.9, 50.1, float("nan")])
    def test_a_rate_outside_ten_to_fifty_is_refused(self, hz: float) -> None:
        with pytest.raises(ValueError, match="10 to 50 times a second"):
            Watcher(Scripted(), hz)


class TestThread:
    def test_it_reads_until_stopped_and_waits_a_period_between(self) -> None:
        waited, enough = list[float](), threading.Event()

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            if len(waited) == 5:
                enough.set()
            return len(waited) == 5

        watcher = Watcher(Scripted(repeat(Reading(power_w=1.0))), hz=25, wait=wait)
        watcher.begin()
        watcher.start()
        assert enough.wait(DEADLINE_S)
        watcher.stop()
        found = watcher.window()
        assert found is not None
        assert found.readings == 5
        assert waited == [0.04] * 5

    def test_it_stops_in_the_middle_of_a_wait_and_can_start_again(self) -> None:
        read = threading.Event()
        sensors = Scripted(repeat(Reading(power_w=1.0)))
        sensors.on_read = read.set
        watcher = Watcher(sensors)
        for _ in range(2):
            watcher.start()
            watcher.start()
            for _second_look in range(2):  # when it begins to read again, what it read before is kept
                read.clear()
                assert read.wait(DEADLINE_S)
            assert watcher.latest() == Reading(power_w=1.0)
            assert _threads() == 1
            watcher.stop()
            assert _threads() == 0
        watcher.stop()

    def test_a_loss_ends_it_quietly(self) -> None:
        """A traceback from a thread would be a warning, and every warning is an error here."""
        watcher = Watcher(Scripted([*watts(500.0), SensorsLost(GONE)]), wait=lambda _seconds: False)
        watcher.begin()
        watcher.start()
        for thread in threading.enumerate():
            if thread.name == "chipbench-sensors":
                thread.join(DEADLINE_S)
        found = watcher.window()
        assert found is not None
        assert (found.readings, found.lost) == (1, GONE)
        watcher.start()
        watcher.stop()
        assert _threads() == 0

    def test_sensors_that_hang_are_lost_and_hold_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "_JOIN_S", 0.001)
        reading, release = threading.Event(), threading.Event()
        sensors = Scripted(watts(1.0), energy_j=1.0)

        def hang() -> None:
            reading.set()
            release.wait(DEADLINE_S)

        sensors.on_read = hang
        watcher = Watcher(sensors)
        watcher.begin()
        watcher.start()
        assert reading.wait(DEADLINE_S)
        watcher.stop()
        assert "no answer" in str(watcher.lost)
        release.set()

    @pytest.mark.parametrize("taken", [Watcher.begin, Watcher.window, Watcher.seen])
    def test_a_reading_waits_while_a_window_is_begun_or_taken(self, taken: Callable[[Watcher], object]) -> None:
        """The clock is asked in the middle of that, and a reading comes just then."""
        came = list[threading.Thread]()
        here = threading.current_thread()

        def clock() -> float:
            if watching.is_set() and threading.current_thread() is here:
                came.append(threading.Thread(target=watcher.tick))
                came[-1].start()
                came[-1].join(0.05)
                assert came[-1].is_alive(), "the reading did not wait"
            return 0.0

        watching = threading.Event()
        watcher = Watcher(Scripted(repeat(Reading(power_w=1.0))), clock=clock)
        watcher.begin()
        watching.set()
        taken(watcher)
        watching.clear()
        came[-1].join(DEADLINE_S)
        found = watcher.window()
        assert found is not None
        assert found.readings == 1


def _threads() -> int:
    return sum(thread.name == "chipbench-sensors" and thread.is_alive() for thread in threading.enumerate())

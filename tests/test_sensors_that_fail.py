"""Sensors that hang, fail or are far between: the measurement goes on, and what nobody saw is said."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.devices.base import Caveat, Spread, Telemetry
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import watch
from bench.devices.nvidia.nvml import Reading
from bench.devices.nvidia.watch import Seen, Watcher
from bench.measure.policy import Policy
from bench.report.wording import sentence
from tests.command import chipbench
from tests.gpu_lab import SMALL, Lab
from tests.simulated_gpu import CLOCK_HZ, SimulatedGpu
from tests.test_watch import DEADLINE_S, Clock, Scene, Scripted, watts

ROOT: Final = Path(__file__).resolve().parent.parent
BUSY: Final = Reading(sm_clock_hz=1.5e9, power_w=600.0, temperature_c=60.0, event_reasons=0)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a millisecond, not two seconds, for a call that does not return."""
    monkeypatch.setattr(watch, "_JOIN_S", 0.001)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging calls wait for: the end of the test."""
    event = threading.Event()
    yield event
    event.set()


class TestHanging:
    @pytest.mark.usefixtures("hurry")
    def test_an_energy_counter_that_hangs_holds_no_measurement_up(self, release: threading.Event) -> None:
        sensors = Scripted(repeat(BUSY), energy_j=1.0)
        sensors.energy_j = lambda: release.wait(DEADLINE_S) and None  # type: ignore[method-assign]
        watcher = Watcher(sensors)
        watcher.begin()
        assert "no answer within" in str(watcher.lost)
        found = watcher.window()
        assert found is not None
        assert (found.readings, found.lost) == (0, watcher.lost)
        watcher.stop()

    def test_a_call_that_has_not_returned_for_two_seconds_is_told_while_it_hangs(self) -> None:
        """What was read before it is kept, and nothing stale is given to blocks."""
        scene = Scene(watts(500.0, 600.0, 700.0), energy_j=1.0)
        scene.ticks(2)
        during: list[tuple[Telemetry | None, Reading | None]] = []

        def hang() -> None:
            scene.clock.now += 30.0
            during.append((scene.watcher.window(), scene.watcher.latest()))

        scene.sensors.on_read = hang
        scene.ticks(1)
        ((window, latest),) = during
        assert window is not None
        assert window.power_w == Spread(least=500.0, median=550.0, most=600.0)
        assert window.lost == "the sensors gave no answer within 2 s; see nvidia-smi"
        assert latest is None
        assert scene.window().lost is None, "they came back"
        assert scene.watcher.seen() == pytest.approx((30.75, 29.95, 3))

    def test_readings_older_than_a_second_are_given_to_no_block(self) -> None:
        scene = Scene(watts(500.0))
        scene.ticks(1)
        scene.clock.now += 0.9
        assert scene.watcher.latest() == Reading(power_w=500.0)
        scene.clock.now += 0.2
        assert scene.watcher.latest() is None

    @pytest.mark.parametrize("error", [OSError("no such\ndevice"), ValueError("bad"), ZeroDivisionError()])
    def test_a_thread_that_an_exception_ends_says_so_and_prints_nothing(
        self, error: Exception, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> None:
            raise error

        sensors = Scripted(watts(500.0))
        watcher = Watcher(sensors, wait=lambda _seconds: False)
        watcher.begin()
        watcher.tick()
        sensors.on_read = fail
        watcher.start()
        for thread in threading.enumerate():
            if thread.name == "chipbench-sensors":
                thread.join(DEADLINE_S)
        found = watcher.window()
        assert found is not None
        assert found.readings == 1
        assert str(found.lost).startswith("reading the sensors failed (")
        assert "\n" not in str(found.lost)
        assert capfd.readouterr() == ("", "")

    def test_an_energy_counter_that_fails_unforeseen_is_a_loss(self) -> None:
        scene = Scene(watts(500.0), energy_j=1.0)
        scene.ticks(1)

        def fail() -> float:
            message = "no such field"
            raise AttributeError(message)

        scene.sensors.energy_j = fail  # type: ignore[method-assign]
        assert scene.window().lost == "reading the energy counter failed (no such field); report this"

    @pytest.mark.slow
    def test_a_process_whose_sensors_hang_ends(self) -> None:
        """Reading and energy counter never return: it still measures, and exits."""
        done = subprocess.run(
            [sys.executable, "-c", HANGS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "no answer within" in done.stdout


HANGS: Final = """
import threading
from bench.devices.nvidia import watch
watch._JOIN_S = 0.05
class Hanging:
    def read(self): threading.Event().wait()
    energy_j = read
watcher = watch.Watcher(Hanging())
watcher.start()
watcher.begin()
print(watcher.window())
watcher.stop()
"""


class TestSeen:
    def test_a_window_that_is_read_as_often_as_it_should_be_has_no_gap(self) -> None:
        scene = Scene(repeat(BUSY))
        scene.ticks(40, apart=0.05)
        assert scene.watcher.seen() == pytest.approx((2.0, 0.0, 40))

    @pytest.mark.parametrize(("apart", "unseen"), [(0.2, 0.0), (0.3, 0.25), (3.0, 2.95)])
    def test_a_gap_is_more_than_five_periods(self, apart: float, unseen: float) -> None:
        scene = Scene(repeat(BUSY))
        scene.ticks(20, apart=0.05)
        scene.ticks(1, apart=apart)
        scene.ticks(20, apart=0.05)
        seen = scene.watcher.seen()
        assert seen is not None
        assert seen.unseen_s == pytest.approx(unseen)

    def test_what_comes_after_the_last_reading_is_one_too(self) -> None:
        scene = Scene(repeat(BUSY))
        scene.ticks(20, apart=0.05)
        scene.clock.now += 4.0
        assert scene.watcher.seen() == pytest.approx((5.0, 3.95, 20))

    def test_a_window_of_its_own_forgets_the_gaps_before(self) -> None:
        scene = Scene(repeat(BUSY))
        scene.ticks(1, apart=3.0)
        scene.watcher.begin()
        assert scene.watcher.seen() == Seen(0.0, 0.0, 0)
        assert Watcher(Scripted(), clock=Clock()).seen() is None

    def test_thinning_a_long_window_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "MOST_READINGS", 8)
        scene = Scene(Reading(power_w=float(number)) for number in count())
        scene.ticks(200, apart=0.05)
        seen = scene.watcher.seen()
        assert seen is not None
        assert seen.unseen_s == 0.0


class Told:
    """A watcher in whose window the sensors said this; nothing runs beside it."""

    def __init__(self, gpu: SimulatedGpu, **change: Any) -> None:  # noqa: ANN401
        self.gpu, self.change = gpu, change
        self.gap: float = 0.0
        self.most_clock_hz: float | None = 1.98e9
        self.begun_at = 0.0
        self.on_begin: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start nothing."""

    def stop(self) -> None:
        """Stop nothing."""

    def begin(self) -> None:
        self.begun_at = self.gpu.device_s
        self.on_begin()

    def latest(self) -> Reading:
        return BUSY

    def window(self) -> Telemetry:
        seconds = self.gpu.device_s - self.begun_at
        told = Telemetry(
            readings=round(20 * seconds),
            seconds=seconds,
            sm_clock_hz=_steady(CLOCK_HZ),
            power_w=_steady(600.0),
            temperature_c=_steady(60.0),
            event_reasons={},
        )
        return msgspec.structs.replace(told, **self.change)

    def seen(self) -> Seen:
        seconds = self.gpu.device_s - self.begun_at
        return Seen(seconds, self.gap * seconds, round(20 * seconds * (1 - self.gap)))


def _steady(value: float) -> Spread:
    return Spread(least=value, median=value, most=value)


class Watched(Lab):
    """A machine with a simulated H100 whose sensors say what a test wants, and whose clock may drop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
        super().__init__(monkeypatch, results)
        self.gpu = self.throttled = Throttled({"l2CacheSize": 4096})
        self.told = Told(self.gpu)
        self.policy = Policy(block_s=0.05, cap_s=1.0, least_s=1.0, warm_up_least_s=0.3, warm_up_most_s=1.0)

    def backend(self, _index: int | None = None) -> CudaBackend:
        return CudaBackend(self.gpu, self.told, other_processes=0)  # type: ignore[arg-type]

    def bf16(self) -> str:
        answer = self.run(*SMALL, "--dtype", "bf16", "--library", "cublaslt")
        assert answer.code == 0, answer.err
        return " ".join(answer.out.split())


class Throttled(SimulatedGpu):
    """A GPU whose clock drops to 70 % at a moment of its own time."""

    drops_at = float("inf")

    def spend(self, device_s: float, host_s: float) -> None:
        slow = self.device_s >= self.drops_at
        self.clock_hz = 0.7 * CLOCK_HZ if slow else CLOCK_HZ
        super().spend(device_s / 0.7 if slow else device_s, host_s)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watched:
    return Watched(monkeypatch, tmp_path / "results")


class TestOnAGpu:
    @pytest.mark.slow
    def test_a_quiet_run_says_nothing_of_them(self, lab: Watched) -> None:
        lab.bf16()
        assert lab.measured("bf16").warnings == ()

    def test_a_clock_that_drops_in_mid_cell_stands_under_the_table_and_is_not_compared(self, lab: Watched) -> None:
        lab.bf16()
        (before,) = lab.results.rglob("*.jsonl")

        def half_a_second_later() -> None:
            lab.throttled.drops_at = lab.gpu.device_s + 0.5

        lab.told.on_begin = half_a_second_later
        text = lab.bf16()
        assert "a call took 43 % longer, as the clock went from 1.500 GHz to 1.050 GHz" in text
        (after,) = {*lab.results.rglob("*.jsonl")} - {before}
        assert "can't tell: its speed changed while it ran" in chipbench("compare", before, after).text

    @pytest.mark.slow
    def test_a_third_of_the_window_that_nobody_saw_is_said(self, lab: Watched) -> None:
        lab.told.gap = 0.3
        text = lab.bf16()
        assert "for 0.3 s of 1.0 s the sensors gave no answer, so what stands here of clock, power" in text
        lab.told.gap = 0.05
        assert "gave no answer" not in lab.bf16()

    @pytest.mark.slow
    def test_a_sensor_above_the_devices_own_clock_is_said(self, lab: Watched) -> None:
        lab.told.change = {"sm_clock_hz": _steady(4e9)}
        text = lab.bf16()
        assert "a clock of 4.000 GHz was said by its sensor, and this device's own limit is 1.980 GHz" in text

    @pytest.mark.slow
    def test_a_count_above_the_devices_own_clock_is_said_beside_the_efficiency(self, lab: Watched) -> None:
        lab.told.most_clock_hz = 1.2e9
        text = lab.bf16()
        assert "a clock of 1.500 GHz was counted, and this device's own limit is 1.200 GHz" in text
        assert "efficiencies at the clock held are wrong" in text
        lab.told.most_clock_hz = None
        assert "own limit" not in lab.bf16()

    @pytest.mark.slow
    def test_sensors_that_say_nothing_but_zero_or_everything_are_said_and_crash_nothing(
        self, lab: Watched
    ) -> None:
        nothing = _steady(0.0)
        lab.told.change = {"sm_clock_hz": nothing, "power_w": nothing, "temperature_c": _steady(255.0)}
        text = lab.bf16()
        assert "cannot be of a device at work (a clock of 0 Hz, 0 W, 255 °C)" in text
        assert "sensors, by cell" not in text, "none of it is told as if it were so"


def test_the_sentence_of_a_gap_holds_its_numbers() -> None:
    text = sentence(Caveat(code="sensors_gap", values={"unseen_s": 2.0, "of": 5.0, "readings": 60.0}))
    assert "for 2.0 s of 5.0 s" in text
    assert "from 60 readings in the rest" in text

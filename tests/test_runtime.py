"""CuPy as the CUDA backend calls it: what is enqueued when, what is timed, and what its errors mean."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.devices.nvidia import runtime as module
from bench.devices.nvidia.runtime import CaptureFailed, CupyRuntime, _clock_between
from bench.errors import BackendUnavailable, CellFailed
from tests.simulated_cupy import (
    CLOCK_HZ,
    CompileException,
    CUBLASError,
    CUDADriverError,
    CUDARuntimeError,
    Cupy,
    Namespace,
    OutOfMemoryError,
    Readings,
    Stream,
)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Cupy:
    made = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", made)
    monkeypatch.setattr(module, "perf_counter", lambda: made.host_s)
    return made


def working(cupy: Cupy, count: int = 2) -> Callable[[], None]:
    """Return what enqueues so many products of a hundredth of a second, each on the right device and stream."""

    def enqueue() -> None:
        for _ in range(count):
            assert cupy.current == ["device", "stream"]
            cupy.work("product", 0.01)

    return enqueue


class TestOpening:
    def test_it_takes_the_device_and_one_stream_that_waits_for_no_other(self, cupy: Cupy) -> None:
        runtime = CupyRuntime(3)
        assert cupy.log == ["use 3"]
        assert runtime.properties["index"] == 3
        assert cupy.stream.non_blocking
        assert runtime.stream == 0xCAFE

    def test_the_first_device_is_taken_if_none_is_named(self, cupy: Cupy) -> None:
        assert CupyRuntime().properties["index"] == 0

    @pytest.mark.parametrize("said", ["00000000:1B:00.0", "0000:1B:00.0", "0000:1b:00.0"])
    def test_the_bus_id_is_as_the_driver_writes_it(self, cupy: Cupy, said: str) -> None:
        cupy.bus_id = said
        assert CupyRuntime().bus_id == "0000:1b:00.0"

    def test_a_device_that_cannot_be_opened_is_explained(self, cupy: Cupy) -> None:
        cupy.failures["properties"] = CUDARuntimeError(46)
        with pytest.raises(BackendUnavailable, match="another process holds this GPU"):
            CupyRuntime()

    def test_arrays_are_pointed_at_where_they_lie(self, cupy: Cupy) -> None:
        assert CupyRuntime().pointer(Namespace(data=Namespace(ptr=4096))) == 4096


class TestTimed:
    def test_events_lie_around_exactly_what_was_enqueued_and_readings_of_the_clock_outside(
        self, cupy: Cupy
    ) -> None:
        runtime = CupyRuntime()
        cupy.log.clear()
        runtime.timed(working(cupy))
        assert cupy.log == [
            *("clock", "event", "product", "product", "event", "clock"),
            *("wait for the event", "wait for the stream"),
        ]

    def test_times_are_in_seconds(self, cupy: Cupy) -> None:
        timed = CupyRuntime().timed(working(cupy, 3))
        assert timed.seconds == pytest.approx(0.03)
        assert timed.host_s == pytest.approx(3e-5)

    def test_the_clock_is_cycles_over_time_on_the_multiprocessors_seen(self, cupy: Cupy) -> None:
        assert CupyRuntime().timed(working(cupy)).sm_clock_hz == pytest.approx(CLOCK_HZ)

    @pytest.mark.parametrize("lacking", [CompileException("no nvrtc"), OSError("read-only"), RuntimeError("?")])
    def test_without_a_compiler_there_is_no_clock_and_times_all_the_same(
        self, cupy: Cupy, lacking: Exception
    ) -> None:
        cupy.no_compiler = lacking
        runtime = CupyRuntime()
        assert not runtime.has_clock
        cupy.log.clear()
        timed = runtime.timed(working(cupy))
        assert timed.sm_clock_hz is None
        assert timed.seconds == pytest.approx(0.02)
        assert cupy.log[:4] == ["event", "product", "product", "event"]

    def test_with_one_there_is_a_clock(self, cupy: Cupy) -> None:
        assert CupyRuntime().has_clock

    def test_what_fails_only_once_it_runs_ends_the_block(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()
        cupy.failures["synchronize"] = CUDARuntimeError(700)
        with pytest.raises(BackendUnavailable, match=r"does not answer any more \(status 700"):
            runtime.timed(working(cupy))
        with pytest.raises(BackendUnavailable, match="does not answer"):
            runtime.synchronize()

    def test_afterwards_device_and_stream_are_let_go(self, cupy: Cupy) -> None:
        CupyRuntime().timed(working(cupy))
        assert cupy.current == []


def test_waiting_waits_for_the_stream(cupy: Cupy) -> None:
    runtime = CupyRuntime()
    cupy.log.clear()
    runtime.synchronize()
    assert cupy.log == ["wait for the stream"]


class TestCapture:
    def test_what_is_enqueued_is_recorded_and_run_by_each_launch_only(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()
        cupy.log.clear()
        launch = runtime.capture(working(cupy))
        assert cupy.log == ["begin_capture", "end_capture", "upload"]
        cupy.log.clear()
        launch()
        launch()
        assert cupy.log == ["launch", "product", "product"] * 2

    def test_an_enqueuing_that_fails_ends_the_capture_and_is_what_is_told(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()
        cupy.failures["end_capture"] = CUDARuntimeError(901, "the capture was broken off")

        def fails() -> None:
            raise CUDARuntimeError(900, "not permitted\nwhile capturing")

        cupy.log.clear()
        with pytest.raises(CaptureFailed) as raised:
            runtime.capture(fails)
        assert str(raised.value).startswith("not permitted")
        assert "\n" not in str(raised.value)
        assert cupy.log == ["begin_capture", "end_capture"]
        assert (cupy.recorded, cupy.current) == (None, [])

    @pytest.mark.parametrize("step", ["begin_capture", "end_capture", "upload"])
    def test_every_step_of_it_may_fail(self, cupy: Cupy, step: str) -> None:
        runtime = CupyRuntime()
        cupy.failures[step] = CUDARuntimeError(900)
        with pytest.raises(CaptureFailed, match="status 900"):
            runtime.capture(working(cupy))

    def test_an_interruption_is_none_of_its_failures(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()

        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            runtime.capture(interrupted)
        assert cupy.log[-1] == "end_capture"


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "meaning", "said"),
        [
            (OutOfMemoryError("out of memory: 5 GB"), MemoryError, "5 GB"),
            (CUDARuntimeError(2), MemoryError, "status 2"),
            (CUDADriverError(2), MemoryError, "status 2"),
            (CUDARuntimeError(46), BackendUnavailable, r"holds this GPU for itself \(status 46"),
            (CUDARuntimeError(719), BackendUnavailable, r"does not answer any more \(status 719"),
            (CUDADriverError(999), BackendUnavailable, r"does not answer any more \(status 999"),
            (CUBLASError(1), MemoryError, "status 1"),
            (CUBLASError(3), MemoryError, "status 3"),
            (CUBLASError(7), CellFailed, r"refused this product \(status 7"),
            (CUBLASError(8), CellFailed, r"refused this product \(status 8"),
            (CUBLASError(15), CellFailed, r"refused this product \(status 15"),
            (CUBLASError(2), BackendUnavailable, r"cuBLAS failed \(status 2"),
            (CUBLASError(13), BackendUnavailable, r"cuBLAS failed \(status 13"),
            (CompileException("no NVRTC"), BackendUnavailable, r"cannot compile .*\(no NVRTC\); set CUPY_CACHE"),
            (PermissionError("read-only"), BackendUnavailable, r"cannot compile .*\(read-only\)"),
        ],
    )
    def test_each_is_of_the_cell_or_the_memory_or_ends_the_run(
        self, cupy: Cupy, error: Exception, meaning: type[Exception], said: str
    ) -> None:
        runtime = CupyRuntime()
        with pytest.raises(meaning, match=said) as raised, runtime.current():
            raise error
        assert "\n" not in str(raised.value)
        assert type(raised.value) is meaning
        assert cupy.current == []

    def test_what_is_none_of_cupys_stays_what_it_is(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()
        with pytest.raises(ZeroDivisionError), runtime.explained():
            raise ZeroDivisionError


class TestMemory:
    def test_what_cupy_holds_unused_is_given_back_first_and_counts_as_free(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()
        cupy.log.clear()
        assert runtime.memory() == (4 << 30, 80 << 30)
        assert cupy.log == ["free the pool", "mem_info"]


def reading(*rows: tuple[int, int]) -> Readings:
    return Readings(np.array(rows, dtype=np.uint64))


class TestClockBetween:
    def test_it_is_the_median_of_the_multiprocessors(self) -> None:
        before = reading((100, 1000), (200, 1000), (300, 1000))
        after = reading((1100, 2000), (2200, 2000), (9300, 2000))
        assert _clock_between(before, after) == pytest.approx(2e9)

    @pytest.mark.parametrize(
        ("first", "last"),
        [
            ((0, 0), (900, 900)),  # not seen before
            ((900, 900), (0, 0)),  # not seen after
            ((0, 0), (0, 0)),
            ((900, 900), (901, 900)),  # no time between
            ((900, 900), (900, 901)),  # no cycles
            ((900, 900), (800, 1000)),  # a counter that was set back
        ],
    )
    def test_multiprocessors_that_were_not_seen_running_both_times_do_not_count(
        self, first: tuple[int, int], last: tuple[int, int]
    ) -> None:
        assert _clock_between(reading(first), reading(last)) is None
        assert _clock_between(reading(first, (1, 1)), reading(last, (3, 2))) == pytest.approx(2e9)

    def test_counters_as_large_as_they_get_lose_no_cycle(self) -> None:
        large = 1 << 63
        assert _clock_between(reading((large, large)), reading((large + 3, large + 2))) == pytest.approx(1.5e9)

    def test_one_reading_alone_says_nothing(self) -> None:
        one = reading((1, 1))
        assert _clock_between(None, one) is None
        assert _clock_between(one, None) is None


class TestStreams:
    def test_kernels_come_by_name_from_one_source(self, cupy: Cupy) -> None:
        found: dict[str, Any] = {**CupyRuntime().kernels("source", ["copy", "triad"])}
        assert found == {"copy": ("source", "copy"), "triad": ("source", "triad")}

    def test_kernels_that_cannot_be_compiled_say_what_to_check(self, cupy: Cupy) -> None:
        runtime = CupyRuntime()
        cupy.no_compiler = CompileException("no header\nand more")
        with pytest.raises(BackendUnavailable, match=r"cannot compile .*no header.*NVRTC"):
            runtime.kernels("source", ["copy"])

    def test_the_driver_copies_from_the_source_to_the_target_on_the_device_and_this_stream(
        self, cupy: Cupy
    ) -> None:
        target, source = (Namespace(data=Namespace(ptr=pointer), nbytes=64) for pointer in (100, 200))
        CupyRuntime().copy(target, source)
        device_to_device = 3  # cudaMemcpyKind
        assert cupy.log[-1] == f"memcpy {(100, 200, 64, device_to_device, Stream.ptr)}"

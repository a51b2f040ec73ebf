"""A timer for pytest-benchmark suites of your own: seconds on the GPU's clock, between two CUDA events."""

import warnings
from collections.abc import Callable
from functools import cache
from time import perf_counter

from bench.devices.nvidia.events import Moment, event_clock
from bench.errors import BackendUnavailable


class HostTimeOnly(UserWarning):
    """No CUDA event can be recorded here, so `cuda_event_timer` reads the host's clock instead."""


def cuda_event_timer() -> Moment | float:
    """Record a CUDA event on CuPy's current stream, and return it; the difference of two is in device seconds.

    A GPU works behind the host's back: a launch returns at once, so `time.perf_counter` around it tells how long
    enqueuing took. Two events tell when the GPU itself came to what lies between them. The host's time before the
    first and after the last is not part of it; where the GPU has to wait for the next launch in between, that is.

    For all benchmarks of a run: `pytest --benchmark-timer=bench.pytest_timer.cuda_event_timer`. For one:

        @pytest.mark.benchmark(timer=cuda_event_timer)
        def test_product(benchmark):
            a = cupy.ones((4096, 4096), cupy.float32)
            benchmark(cupy.matmul, a, a)

    What is timed must be on CuPy's current stream, `cupy.cuda.get_current_stream()`. Work of another library is
    when the benchmark runs inside its stream; for PyTorch:

        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            benchmark(torch.mm, a, b)

    Both events must be of one device, and none may be recorded while a stream is captured as a CUDA graph. An
    event's resolution is about 0.5 µs. Where no event can be recorded (no driver, no CuPy, no GPU) this is
    `time.perf_counter`, and one warning, HostTimeOnly, says why; that is decided once, when it is first called.

    Not confirmed on a device: that pytest-benchmark calibrates well with it.
    """
    return _clock()()


@cache
def _clock() -> Callable[[], Moment | float]:
    """Return what reads the clock; the same one throughout a process, since two kinds have no difference."""
    try:
        return event_clock()
    except BackendUnavailable as error:
        message = f"benchmark times are the host's, not the GPU's: {error}"
        warnings.warn(message, HostTimeOnly, stacklevel=3)
        return perf_counter

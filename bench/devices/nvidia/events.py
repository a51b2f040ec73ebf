"""Moments on the GPU's own clock: CUDA events, for those who time work of their own on CuPy's current stream."""

import warnings
from collections.abc import Callable
from typing import Any

from bench.devices.environment import cuda_driver_version
from bench.devices.nvidia.requirements import lacking
from bench.errors import BackendUnavailable, one_line


class Moment:
    """A CUDA event that was recorded; `later - earlier` waits for the later one and is in device seconds."""

    __slots__ = ("_cuda", "_event")

    def __init__(self, cuda: Any) -> None:  # noqa: ANN401 - the module `cupy.cuda`
        self._cuda = cuda
        self._event = cuda.Event()
        self._event.record(cuda.get_current_stream())

    def __sub__(self, earlier: "Moment") -> float:
        self._event.synchronize()
        return float(self._cuda.get_elapsed_time(earlier._event, self._event)) * 1e-3


def event_clock() -> Callable[[], Moment]:
    """Return what records an event on CuPy's current stream.

    Raises BackendUnavailable, with what to do, where that cannot be done: without driver, CuPy or GPU.
    """
    try:
        with warnings.catch_warnings():  # what CuPy says of itself when it is imported is no reason not to use it
            warnings.simplefilter("ignore")
            import cupy  # noqa: PLC0415 - takes a second, and is not installed everywhere
        cuda = cupy.cuda
        first, last = Moment(cuda), Moment(cuda)
        _ = last - first
    except Exception as error:  # whatever is missing: only an event that was recorded shows that it can be done
        lacks = lacking(cuda_driver_version())
        message = lacks or f"CuPy cannot record an event ({one_line(error)}); 'chipbench devices' says more"
        raise BackendUnavailable(message) from error
    return lambda: Moment(cuda)

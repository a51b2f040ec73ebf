"""The few calls that CuPy is used for, in one place: memory, streams, events, graphs, and the clock that ran.

Everything else of the CUDA backend sees this class only, so that it runs without a GPU on one that simulates it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter
from typing import Any, Final, NamedTuple

from bench.devices.nvidia.driver import REMEDIES, normal_bus_id
from bench.devices.nvidia.requirements import CACHE_ADVICE
from bench.errors import BackendUnavailable, CellFailed, impersonal, one_line

# Every block of the launch notes the cycle counter and the wall clock of the multiprocessor that it runs on. Of
# two such launches, those multiprocessors count that were seen both times: counters of different ones are
# unrelated.
_CLOCK_SOURCE: Final = r"""
extern "C" __global__ void chipbench_clock(unsigned long long *seen, unsigned int slots) {
    unsigned int sm;
    unsigned long long now;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    if (sm < slots) {
        seen[2 * sm] = (unsigned long long)clock64();
        seen[2 * sm + 1] = now;
    }
}
"""
_DEVICE_TO_DEVICE: Final = 3  # cudaMemcpyKind
# Of cudaDeviceEnablePeerAccess: that it is so already; that it is not supported, or of too many devices at once.
_ENABLED_ALREADY: Final = 704
_NO_ACCESS: Final = (217, 711)
_SLOTS: Final = 1024  # more multiprocessors than any chip has
# Statuses of CUDA's runtime and driver, which agree on these, and of cuBLAS.
_OUT_OF_MEMORY: Final = 2
_UNAVAILABLE: Final = 46
_UNKNOWN: Final = 999  # before anything ran, that the driver is broken; here, that the device is
_LIBRARY_WITHOUT_MEMORY: Final = (1, 3)  # NOT_INITIALIZED is what making a handle answers when memory is full
_LIBRARY_REFUSALS: Final = (7, 8, 15)  # INVALID_VALUE, ARCH_MISMATCH, NOT_SUPPORTED


Kernel = Callable[[tuple[int], tuple[int], tuple[Any, ...]], object]


class Timed(NamedTuple):
    """One timed stretch of work: device seconds between two events, what enqueuing it took the host, the clock."""

    seconds: float
    host_s: float
    sm_clock_hz: float | None


class CaptureFailed(Exception):
    """Calls could not be recorded as a CUDA graph; the message is one line."""


class CupyRuntime:
    """One GPU through CuPy; all work goes to one non-blocking stream.

    `xp` is the array module. The clock is Δclock64 / Δglobaltimer, the median over multiprocessors, from a kernel
    before and one after the timed work, outside the events; None where it cannot be had. On an H200 both found all
    132 multiprocessors, and of 143 blocks cycles per call stayed within 0.7 % while seconds moved by 18 %. In most
    tensor-core formats the clock so counted is 8 to 10 % below what NVML shows, in FP32 and FP64 within 1 %.

    Not confirmed on a device: everything about a second GPU (`beside` and what follows it). By CUDA's programming
    guide a copy may be issued to a stream of any device, a stream may wait for an event of another device, and an
    event is recorded on a stream of its own device only.
    """

    def __init__(self, index: int = 0) -> None:
        import cupy  # noqa: PLC0415 - takes a second, and is not installed everywhere

        self.xp: Any = cupy
        with self.explained():
            self._device = cupy.cuda.Device(index)
            self._device.use()
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self.properties: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(index)
            self.bus_id = normal_bus_id(str(self._device.pci_bus_id))
            self._clock = self._clock_reader()

    @property
    def ordinal(self) -> int:
        """What CUDA programs call this GPU."""
        return int(self._device.id)

    @property
    def has_clock(self) -> bool:
        """Whether the clock that was held can be counted."""
        return self._clock is not None

    @property
    def stream(self) -> int:
        """The stream's address, for libraries that take one."""
        return int(self._stream.ptr)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let everything in the block, allocations too, happen on this device and stream."""
        with self.explained(), self._device, self._stream:
            yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what CuPy raises into MemoryError, CellFailed, or BackendUnavailable for what ends the run."""
        cuda = self.xp.cuda
        try:
            yield
        except cuda.memory.OutOfMemoryError as error:
            raise MemoryError(one_line(error)) from error
        except (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError) as error:
            raise _device_failure(error.status, one_line(error)) from error
        except cuda.cublas.CUBLASError as error:
            raise _library_failure(error.status, one_line(error)) from error
        except (cuda.compiler.CompileException, OSError) as error:
            message = (
                f"CuPy cannot compile or keep its kernels here ({one_line(error)}); {CACHE_ADVICE}, and check "
                "that the NVRTC package is installed"
            )
            raise BackendUnavailable(message) from error

    def pointer(self, array: Any) -> int:  # noqa: ANN401 - an array of CuPy
        """Return where an array lies in the device's memory."""
        return int(array.data.ptr)

    def synchronize(self) -> None:
        """Wait until the stream is idle."""
        with self.explained():
            self._stream.synchronize()

    def timed(self, enqueue: Callable[[], None]) -> Timed:
        """Run `enqueue`, which launches work on this stream, between two events, and wait for its end."""
        event = self.xp.cuda.Event
        with self.current():
            first, last = event(), event()
            before = self._clock() if self._clock else None
            first.record(self._stream)
            started = perf_counter()
            enqueue()
            host_s = perf_counter() - started
            last.record(self._stream)
            after = self._clock() if self._clock else None
            last.synchronize()
            self._stream.synchronize()
            seconds = self.xp.cuda.get_elapsed_time(first, last) * 1e-3
            return Timed(seconds, host_s, _clock_between(before, after))

    def kernels(self, source: str, names: Sequence[str]) -> dict[str, Kernel]:
        """Return compiled kernels by name, each to be called with grid, block and arguments.

        Raises BackendUnavailable if they cannot be compiled here.
        """
        with self.explained():
            module = self.xp.RawModule(code=source)
            return {name: module.get_function(name) for name in names}

    def copy(self, target: Any, source: Any) -> None:  # noqa: ANN401 - arrays of CuPy
        """Enqueue the driver's own copy of one array to another of its size."""
        self.xp.cuda.runtime.memcpyAsync(
            self.pointer(target), self.pointer(source), source.nbytes, _DEVICE_TO_DEVICE, self.stream
        )

    def beside(self, ordinal: int) -> "CupyRuntime":
        """Return another GPU, by what CUDA programs call it; this one stays the current one."""
        try:
            return CupyRuntime(ordinal)
        finally:
            self._device.use()

    def reaches(self, peer: "CupyRuntime") -> bool:
        """Let this GPU access the other's memory by itself from now on; return False where it cannot."""
        runtime = self.xp.cuda.runtime
        with self.current():
            if not runtime.deviceCanAccessPeer(self.ordinal, peer.ordinal):
                return False
            try:
                runtime.deviceEnablePeerAccess(peer.ordinal)
            except runtime.CUDARuntimeError as error:
                if error.status in _NO_ACCESS:
                    return False
                if error.status != _ENABLED_ALREADY:
                    raise
        return True

    def send(self, peer: "CupyRuntime", target: Any, source: Any) -> None:  # noqa: ANN401 - arrays of CuPy
        """Enqueue, on this GPU's stream, the driver's own copy of an array here to one of its size over there."""
        self.xp.cuda.runtime.memcpyPeerAsync(
            self.pointer(target), peer.ordinal, self.pointer(source), self.ordinal, source.nbytes, self.stream
        )

    def event(self) -> Any:  # noqa: ANN401 - an event of CuPy
        """Return what can mark a place in this GPU's stream."""
        with self.current():
            return self.xp.cuda.Event(disable_timing=True)

    def mark(self, event: Any) -> None:  # noqa: ANN401 - an event of CuPy
        """Let an event of this GPU come when all is done that was enqueued here so far."""
        event.record(self._stream)

    def wait(self, event: Any) -> None:  # noqa: ANN401 - an event of CuPy
        """Let what is enqueued here from now on begin only when an event, of whichever GPU, has come."""
        self._stream.wait_event(event)

    def fetched(self, array: Any) -> Any:  # noqa: ANN401 - an array of CuPy, and one of NumPy
        """Return a copy, in the host's memory, of an array in this GPU's."""
        with self.current():
            return self.xp.asnumpy(array)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Return what launches, as one CUDA graph, all that `enqueue` launches on this stream.

        Raises CaptureFailed if that cannot be captured; whether the device is lost, the next block tells.
        """
        try:
            with self._device, self._stream:
                self._stream.begin_capture()
                try:
                    enqueue()
                except BaseException:
                    with suppress(Exception):  # what it would say is that the capture was broken off
                        self._stream.end_capture()
                    raise
                graph = self._stream.end_capture()
                graph.upload(self._stream)
        except Exception as error:
            raise CaptureFailed(impersonal(error)) from error
        stream = self._stream
        return lambda: graph.launch(stream)

    def memory(self) -> tuple[int, int]:
        """Return the device's free and total bytes, after giving back what CuPy holds unused."""
        with self.explained(), self._device:  # the pool gives back what is on the current device
            self.xp.get_default_memory_pool().free_all_blocks()
            free, total = self._device.mem_info
        return int(free), int(total)

    def _clock_reader(self) -> Callable[[], Any] | None:
        """Return what enqueues a reading of every multiprocessor's counter, or None if it cannot be compiled."""
        cupy = self.xp
        blocks = int(self.properties["multiProcessorCount"])
        try:
            kernel = cupy.RawKernel(_CLOCK_SOURCE, "chipbench_clock")
            kernel.compile()
        except Exception:  # noqa: BLE001 - whatever the compiler lacks: a rate without cycles is still a rate
            return None

        def read() -> Any:  # noqa: ANN401 - an array of CuPy
            seen = cupy.zeros((_SLOTS, 2), cupy.uint64)
            kernel((blocks,), (1,), (seen, cupy.uint32(_SLOTS)))
            return seen

        return read


def _device_failure(status: int, said: str) -> Exception:
    """Return what a failure of the device means for the run."""
    if status == _OUT_OF_MEMORY:
        return MemoryError(said)
    if status == _UNAVAILABLE:
        message = (
            f"another process holds this GPU for itself ({said}): its compute mode is exclusive, and a run that "
            "makes processes of its own (--processes, TF32 by cupy.matmul) must share it; wait, or leave those out"
        )
        return BackendUnavailable(message)
    if status in REMEDIES and status != _UNKNOWN:
        return BackendUnavailable(f"CUDA cannot be used ({said}): {REMEDIES[status]}")
    message = (
        f"the GPU does not answer any more ({said}); look for 'Xid' in the kernel log (dmesg), reset it or "
        "restart, then go on with --resume"
    )
    return BackendUnavailable(message)


def _library_failure(status: int, said: str) -> Exception:
    """Return what a failure of cuBLAS means, as CuPy calls it."""
    if status in _LIBRARY_WITHOUT_MEMORY:
        return MemoryError(said)
    if status in _LIBRARY_REFUSALS:
        return CellFailed(f"cuBLAS refused this product ({said})")
    return BackendUnavailable(f"cuBLAS failed ({said}); look for 'Xid' in the kernel log (dmesg)")


def _clock_between(before: Any, after: Any) -> float | None:  # noqa: ANN401 - arrays of CuPy, or None
    """Return the median clock in Hz over multiprocessors that both readings hold; None if there is none."""
    if before is None or after is None:
        return None
    first, last = before.get().tolist(), after.get().tolist()
    rates = [
        (cycles - cycles_before) / (nanoseconds - nanoseconds_before) * 1e9
        for (cycles_before, nanoseconds_before), (cycles, nanoseconds) in zip(first, last, strict=True)
        if nanoseconds > nanoseconds_before > 0 and cycles > cycles_before
    ]
    return median(rates) if rates else None

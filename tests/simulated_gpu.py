"""A GPU of host memory and a simulated clock: what `CupyRuntime` does, without CuPy, a device or waiting.

Arrays are NumPy's, so a library that computes on host pointers (the cublasLt stand-in) really computes on them.
Time passes only where `spend` says so: on the device for each call, and on the host for enqueuing it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
import pytest

from bench.devices.nvidia import task as task_module
from bench.devices.nvidia.multiply import Call, Operands
from bench.devices.nvidia.operands import FORMATS, SCALES
from bench.devices.nvidia.runtime import CaptureFailed, CupyRuntime, Kernel, Timed
from bench.devices.nvidia.task import CudaTask
from bench.errors import BackendUnavailable
from bench.workloads.base import Cell

HOPPER: Final[dict[str, Any]] = {
    "name": b"NVIDIA H100 80GB HBM3",
    "major": 9,
    "minor": 0,
    "multiProcessorCount": 132,
    "l2CacheSize": 50 << 20,
}
CLOCK_HZ: Final = 1.5e9


class SimulatedGpu(CupyRuntime):
    """`device_s` and `host_s` are the simulated clocks; `lost` makes every wait fail as a dead GPU does."""

    def __init__(self, properties: dict[str, Any] | None = None, *, free: int = 80 << 30) -> None:
        self.xp = np
        self.properties = {**HOPPER, **(properties or {})}
        self.bus_id = "0000:1b:00.0"
        self.device_s = 0.0
        self.host_s = 0.0
        self.clock_hz: float | None = CLOCK_HZ
        self.free = free
        self.lost = False
        self.launched: list[tuple[str, int]] = []
        self.seconds_of: Callable[[str, int], float] = lambda _name, _block: 1e-3
        self.stream_work: Callable[..., None] = streamed
        self.enqueue_s = 5e-6  # of a copy to another GPU
        self.ordinal_here = 0
        self.others: dict[int, SimulatedGpu] = {}
        self.unreachable: set[int] = set()
        self.peer_work: Callable[[Any, Any], None] = np.copyto
        self.captured: list[int] = []
        self.refuse_capture: Callable[[int], bool] = lambda _number: False
        self._captures = 0
        self._recording: list[Call] | None = None
        self._enqueued = 0

    @property
    def ordinal(self) -> int:
        return self.ordinal_here

    @property
    def has_clock(self) -> bool:
        return self.clock_hz is not None

    @property
    def stream(self) -> int:
        return 0

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        yield

    def pointer(self, array: Any) -> int:  # noqa: ANN401
        return int(array.ctypes.data)

    def synchronize(self) -> None:
        if self.lost:
            message = "the GPU does not answer any more (simulated); go on with --resume"
            raise BackendUnavailable(message)

    def spend(self, device_s: float, host_s: float) -> None:
        """Let a call take this long on the device, and its enqueuing this long on the host."""
        self.device_s += device_s
        self.host_s += host_s
        self._enqueued += 1

    def timed(self, enqueue: Callable[[], None]) -> Timed:
        device, host = self.device_s, self.host_s
        enqueue()
        self.synchronize()
        host_s = self.host_s - host
        # A device that waits for the host takes as long as the host.
        return Timed(max(self.device_s - device, host_s) or 1e-6, host_s, self.clock_hz)

    def kernels(self, source: str, names: Sequence[str]) -> dict[str, Kernel]:
        """Return kernels that do on host memory what their names say; `seconds_of` a name and block they take."""
        assert all(re.search(rf"{name.split('_')[0]}##name", source) for name in names)
        return {name: partial(self._launched, name) for name in names}

    def _launched(self, name: str, grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        *_, count = arguments
        reached = 4 * grid[0] * block[0]
        assert count <= reached < count + 4 * block[0], "a launch covers every number, and no block too many"
        self.launched.append((name, block[0]))
        self.spend(self.seconds_of(name, block[0]), 5e-6)
        self.stream_work(name, *arguments[:-1])

    def copy(self, target: Any, source: Any) -> None:  # noqa: ANN401
        self.launched.append(("memcpy", 0))
        self.spend(self.seconds_of("memcpy", 0), 5e-6)
        self.stream_work("copy", source, target)

    def beside(self, ordinal: int) -> "SimulatedGpu":
        if ordinal not in self.others:
            message = "another process holds this GPU for itself (simulated)"
            raise BackendUnavailable(message)
        return self.others[ordinal]

    def reaches(self, peer: CupyRuntime) -> bool:
        return peer.ordinal not in self.unreachable

    def send(self, peer: CupyRuntime, target: Any, source: Any) -> None:  # noqa: ANN401
        assert isinstance(peer, SimulatedGpu)
        self.launched.append(("peer", peer.ordinal))
        self.spend(self.seconds_of("peer", peer.ordinal), self.enqueue_s)
        peer.host_s += self.enqueue_s  # there is one host
        self.peer_work(target, source)

    def event(self) -> "SimulatedEvent":
        return SimulatedEvent(self)

    def mark(self, event: "SimulatedEvent") -> None:
        assert event.of is self, "an event is recorded on a stream of its own GPU only"
        event.at_s = self.device_s

    def wait(self, event: "SimulatedEvent") -> None:
        self.device_s = max(self.device_s, event.at_s)

    def fetched(self, array: Any) -> Any:  # noqa: ANN401
        return array.copy()

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        self._captures += 1
        if self.refuse_capture(self._captures - 1):
            message = "cudaErrorStreamCaptureUnsupported (simulated)"
            raise CaptureFailed(message)
        device, host, before = self.device_s, self.host_s, self._enqueued
        enqueue()
        took, nodes = self.device_s - device, self._enqueued - before
        self.device_s, self.host_s = device, host
        self.captured.append(nodes)
        return partial(self._replay, enqueue, took)

    def _replay(self, enqueue: Callable[[], None], took: float) -> None:
        device, host = self.device_s, self.host_s
        enqueue()
        self.device_s, self.host_s = device + took, host + 5e-6

    def memory(self) -> tuple[int, int]:
        return self.free, 80 << 30


class SimulatedEvent:
    """A place in a GPU's stream: when it is reached, on that GPU's clock. The clocks of all GPUs agree."""

    def __init__(self, of: SimulatedGpu) -> None:
        self.of, self.at_s = of, 0.0


def simulated_peers(count: int, **more: Any) -> list[SimulatedGpu]:  # noqa: ANN401
    """Return so many GPUs of one machine, which know each other by what CUDA programs call them."""
    made = [SimulatedGpu(**more) for _ in range(count)]
    for ordinal, gpu in enumerate(made):
        gpu.ordinal_here, gpu.bus_id = ordinal, f"0000:{0x1B + ordinal:02x}:00.0"
        gpu.others = dict(enumerate(made))
    return made


def streamed(name: str, a: Any, *rest: Any) -> None:  # noqa: ANN401
    """Write c = a, or c = a + s·b rounded once, as a kernel of this name does."""
    if name.startswith("copy"):
        rest[0][...] = a
    else:
        b, scalar, c = rest
        c[...] = a.astype(np.float64) + float(scalar) * b.astype(np.float64)


class SimulatedLibrary:
    """A library whose candidate i takes `seconds[i]` a call; `multiply` (a mutant, say) does the work."""

    def __init__(
        self,
        gpu: SimulatedGpu,
        cell: Cell,
        *,
        seconds: Sequence[float] = (1e-3,),
        enqueue_s: float = 5e-6,
        capturable: bool = True,
        multiply: Callable[[Cell, Operands], None] | None = None,
        refuses: dict[int, Exception] | None = None,
    ) -> None:
        self.algorithms = tuple({"algo": 100 + index} for index in range(len(seconds)))
        self.capturable = capturable
        self.closed = False
        self.order: list[tuple[int, int]] = []
        self.seconds: Callable[[int], float] = seconds.__getitem__
        self._gpu, self._cell, self._enqueue_s = gpu, cell, enqueue_s
        self._multiply, self._refuses = multiply or multiplied, refuses or {}

    def bound(self, candidate: int, sets: Sequence[Operands]) -> list[Call]:
        return [partial(self._call, candidate, index, one) for index, one in enumerate(sets)]

    def _call(self, candidate: int, index: int, operands: Operands) -> None:
        if candidate in self._refuses:
            raise self._refuses[candidate]
        self.order.append((candidate, index))
        self._gpu.spend(self.seconds(candidate), self._enqueue_s)
        self._multiply(self._cell, operands)

    def close(self) -> None:
        self.closed = True


def multiplied(cell: Cell, one: Operands) -> None:
    """Write D = A·B as the format rounds it."""
    one.d[...] = encoded(cell, exact(cell, one))


def exact(cell: Cell, one: Operands) -> Any:  # noqa: ANN401
    """Return A·B in FP64, scaled."""
    decode = partial(FORMATS[cell.input or ""].decode, np)
    for_a, for_b = SCALES.get(cell.input or "", (1.0, 1.0))
    return (decode(one.a) * for_a) @ (decode(one.bt) * for_b).T


def encoded(cell: Cell, product: Any) -> Any:  # noqa: ANN401
    """Return a product in the output format."""
    wide = product if cell.output == "fp64" else product.astype(np.float32)
    return FORMATS[cell.output or ""].encode(np, wide)


class TaskBench:
    """A simulated GPU, and a library on it that the next task gets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu = SimulatedGpu({"l2CacheSize": 4096})
        self.library: SimulatedLibrary
        self._patch = monkeypatch

    def task(self, of: Cell, *, sets: int = 3, cold: bool = False, **library: Any) -> CudaTask:  # noqa: ANN401
        def make(gpu: SimulatedGpu, one: Cell) -> SimulatedLibrary:
            self.library = SimulatedLibrary(gpu, one, **library)
            return self.library

        self._patch.setattr(task_module, "multiplier", make)
        return CudaTask(self.gpu, of, 7, sets=sets, cold=cold, watcher=None)

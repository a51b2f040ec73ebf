"""A stand-in for CuPy, as far as `CupyRuntime` calls it: a device with a clock, and a log of what was asked."""

from typing import Any, Final

import numpy as np

CLOCK_HZ: Final = 1.5e9
HELD: Final = (0, 1, 5)  # the multiprocessors that a launch of the clock's kernel finds


class Failure(RuntimeError):
    """An error of CuPy, with the status that the library returned."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text or f"status {status}\nand more")
        self.status = status


class OutOfMemoryError(MemoryError):
    """What CuPy's memory pool raises."""


class CUDARuntimeError(Failure): ...


class CUDADriverError(Failure): ...


class CUBLASError(Failure): ...


class CompileException(Exception): ...


class Device:
    """A device that says where it is; `with` makes it and nothing else current."""

    def __init__(self, cupy: "Cupy", index: int) -> None:
        self.cupy, self.index = cupy, index
        self.pci_bus_id = cupy.bus_id

    def use(self) -> None:
        self.cupy.log.append(f"use {self.index}")

    def __enter__(self) -> None:
        self.cupy.current.append("device")

    def __exit__(self, *_: object) -> None:
        assert self.cupy.current.pop() == "device"

    @property
    def mem_info(self) -> tuple[int, int]:
        self.cupy.log.append("mem_info")
        return self.cupy.free, 80 << 30


class Stream:
    """What is enqueued here is done at once on the simulated clock, or recorded while it is captured."""

    ptr = 0xCAFE

    def __init__(self, cupy: "Cupy", *, non_blocking: bool) -> None:
        self.cupy, self.non_blocking = cupy, non_blocking

    def __enter__(self) -> None:
        self.cupy.current.append("stream")

    def __exit__(self, *_: object) -> None:
        assert self.cupy.current.pop() == "stream"

    def synchronize(self) -> None:
        self.cupy.log.append("wait for the stream")
        self.cupy.fail("synchronize")

    def begin_capture(self) -> None:
        self.cupy.fail("begin_capture")
        self.cupy.log.append("begin_capture")
        self.cupy.recorded = []

    def end_capture(self) -> "Graph":
        self.cupy.log.append("end_capture")
        recorded, self.cupy.recorded = self.cupy.recorded, None
        self.cupy.fail("end_capture")
        return Graph(self.cupy, recorded or [])


class Graph:
    def __init__(self, cupy: "Cupy", nodes: list[tuple[str, float]]) -> None:
        self.cupy, self.nodes = cupy, nodes

    def upload(self, stream: Stream) -> None:
        self.cupy.fail("upload")
        assert stream is self.cupy.stream
        self.cupy.log.append("upload")

    def launch(self, stream: Stream) -> None:
        assert stream is self.cupy.stream
        self.cupy.log.append("launch")
        for name, seconds in self.nodes:
            self.cupy.work(name, seconds)


class Event:
    def __init__(self, cupy: "Cupy") -> None:
        self.cupy = cupy
        self.at_s: float | None = None

    def record(self, stream: Stream) -> None:
        assert stream is self.cupy.stream
        self.at_s = self.cupy.device_s
        self.cupy.log.append("event")

    def synchronize(self) -> None:
        assert self.at_s is not None
        self.cupy.log.append("wait for the event")


class Kernel:
    """The clock's kernel: it notes cycles and nanoseconds of the multiprocessors that it runs on."""

    def __init__(self, cupy: "Cupy", source: str, name: str) -> None:
        assert f"void {name}(" in source
        self.cupy = cupy

    def compile(self) -> None:
        if self.cupy.no_compiler is not None:
            raise self.cupy.no_compiler

    def __call__(self, grid: tuple[int], block: tuple[int], arguments: tuple[Any, Any]) -> None:
        seen, slots = arguments
        assert (grid, block) == ((132,), (1,))
        assert slots == len(seen.cells)
        assert self.cupy.current == ["device", "stream"]
        self.cupy.work("clock", 1e-3)
        for slot in HELD:
            seen.cells[slot] = (7 + round(self.cupy.device_s * CLOCK_HZ), 11 + round(self.cupy.device_s * 1e9))


class Module:
    """Kernels of one source; it is compiled when the first of them is asked for."""

    def __init__(self, cupy: "Cupy", code: str) -> None:
        self.cupy, self.code = cupy, code

    def get_function(self, name: str) -> tuple[str, str]:
        if self.cupy.no_compiler is not None:
            raise self.cupy.no_compiler
        return self.code, name


class Readings:
    """An array on the device, which only `get` brings to the host."""

    def __init__(self, cells: Any) -> None:  # noqa: ANN401 - of NumPy
        self.cells = cells

    def get(self) -> Any:  # noqa: ANN401
        return self.cells


class Pool:
    def __init__(self, cupy: "Cupy") -> None:
        self.cupy = cupy

    def free_all_blocks(self) -> None:
        self.cupy.log.append("free the pool")
        self.cupy.free += 1 << 30


class Namespace:
    def __init__(self, **names: Any) -> None:  # noqa: ANN401
        self.__dict__.update(names)


class Cupy(Namespace):
    """The module; `failures` are what a step raises, `log` what was done on the device in its order."""

    uint64, uint32 = np.uint64, np.uint32

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.no_compiler: Exception | None = None
        self.recorded: list[tuple[str, float]] | None = None
        self.bus_id = "00000000:1B:00.0"
        self.free = 3 << 30
        self.device_s = 1.0
        self.host_s = 100.0
        self.cuda = Namespace(
            Device=lambda index: Device(self, index),
            Stream=self._stream,
            Event=lambda: Event(self),
            get_elapsed_time=self._elapsed_ms,
            runtime=Namespace(
                getDeviceProperties=self._properties,
                CUDARuntimeError=CUDARuntimeError,
                memcpyAsync=lambda *arguments: self.log.append(f"memcpy {arguments}"),
            ),
            driver=Namespace(CUDADriverError=CUDADriverError),
            cublas=Namespace(CUBLASError=CUBLASError),
            memory=Namespace(OutOfMemoryError=OutOfMemoryError),
            compiler=Namespace(CompileException=CompileException),
        )

    def fail(self, step: str) -> None:
        if step in self.failures:
            raise self.failures[step]

    def work(self, name: str, seconds: float) -> None:
        """Enqueue something on the device."""
        if self.recorded is not None:
            self.recorded.append((name, seconds))
            return
        self.log.append(name)
        self.device_s += seconds
        self.host_s += 1e-5

    def RawKernel(self, source: str, name: str) -> Kernel:  # noqa: N802 - CuPy's name
        return Kernel(self, source, name)

    def RawModule(self, *, code: str) -> "Module":  # noqa: N802 - CuPy's name
        return Module(self, code)

    def zeros(self, shape: tuple[int, int], dtype: Any) -> Readings:  # noqa: ANN401
        return Readings(np.zeros(shape, dtype))

    def get_default_memory_pool(self) -> Pool:
        return Pool(self)

    def _stream(self, *, non_blocking: bool) -> Stream:
        self.stream = Stream(self, non_blocking=non_blocking)
        return self.stream

    def _properties(self, index: int) -> dict[str, Any]:
        self.fail("properties")
        return {"multiProcessorCount": 132, "index": index}

    def _elapsed_ms(self, first: Event, last: Event) -> float:
        assert first.at_s is not None
        assert last.at_s is not None
        return (last.at_s - first.at_s) * 1e3

"""The CPU through NumPy's BLAS: a real measurement on any machine, with FP32 and FP64 only."""

import os
import platform
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Final

import numpy as np
from threadpoolctl import threadpool_info

from bench.devices import environment as env
from bench.devices.base import (
    Block,
    Caveat,
    CellDefaults,
    Check,
    Device,
    Environment,
    Origin,
    PlainTask,
)
from bench.devices.check import Matrix, check_product, plain, tolerance_of, worst
from bench.devices.cpu_stream import LIBRARY as STREAM
from bench.devices.cpu_stream import CpuStreamTask, default_elements, described
from bench.errors import InvalidRequest
from bench.units import DTYPES, STORED_BYTES
from bench.workloads.base import PEER_COPY, STREAMS, Cell
from bench.workloads.stream import DTYPE

_TYPES: Final[Mapping[str, type[np.float64] | type[np.float32]]] = MappingProxyType(
    {"fp64": np.float64, "fp32": np.float32}
)
_STREAM_CHECK_BYTES: Final = 1 << 27  # three parts in FP64
_BUSY: Final = 0.1  # of all processor time; other work of this size moves a rate by about as much
_NO_BLAS: Final = "no BLAS multiplies {0} on a CPU, NumPy would do it with scalar loops"
_WRAPS: Final = "no BLAS multiplies {0} on a CPU, and NumPy's own loop wraps at 8 bits"
_GPU_ONLY: Final = "{0} is a format of GPU tensor cores, which a CPU lacks"
_REFUSALS: Final = MappingProxyType({"fp16": _NO_BLAS, "bf16": _NO_BLAS, "fp16_acc16": _NO_BLAS, "int8": _WRAPS})


class CpuTask(PlainTask):
    """One matrix multiply on one set of operands (`hot`), which `numpy.matmul` overwrites call after call."""

    def __init__(self, cell: Cell, seed: int, *, cold: bool) -> None:
        shape = cell.shape
        if shape is None or cell.input is None:
            message = f"the CPU backend was given a cell that it does not offer: {cell.key}"
            raise ValueError(message)
        self.cold = cold
        self._dtype, self._cell, self._seed = _TYPES[cell.input], cell, seed
        self._a = np.empty((shape.m, shape.k), self._dtype)
        self._b = np.empty((shape.k, shape.n), self._dtype)
        self._fill(self._a, [seed, 0])
        self._fill(self._b, [seed, 1])
        self._d = np.empty((shape.m, shape.n), self._dtype)
        self.data = {"a": described(self._a), "b": described(self._b)}

    def _fill(self, matrix: Matrix, seed: list[int]) -> None:
        match self._cell.data:
            case "zeros":
                matrix.fill(0)
            case "constant":
                matrix.fill(1)
            case _:
                self._draw(matrix, seed)

    def _draw(self, matrix: Matrix, seed: list[int]) -> None:
        np.random.default_rng(seed).standard_normal(dtype=self._dtype, out=matrix)

    def block(self, calls: int) -> Block:
        """Run `calls` calls back to back and return their wall time; BLAS returns when the work is done."""
        a, b, d, matmul = self._a, self._b, self._d, np.matmul
        start = perf_counter()
        for _ in range(calls):
            matmul(a, b, out=d)
        return Block(calls=calls, seconds_per_call=(perf_counter() - start) / calls)

    def verify(self) -> Check:
        """Check the product of the timed operands, then of normal ones, drawn anew, in the same memory.

        The second run is what a backend that returns a remembered result cannot pass.
        """
        first = self._verify_once()
        self._draw(self._a, [self._seed, 3])
        self._draw(self._b, [self._seed, 4])
        return worst([first, self._verify_once()])

    def _verify_once(self) -> Check:
        self._d.fill(np.nan)
        self.block(1)
        held = plain(self._a), plain(self._b.T), plain(self._d)
        return check_product(*held, tolerance=tolerance_of(self._cell), seed=self._seed)

    def close(self) -> None:
        """Release the operands."""
        del self._a, self._b, self._d


class CpuBackend:
    """NumPy's `matmul` on this machine's processor, with all the threads that its BLAS uses by itself."""

    name = "cpu"
    origin: Origin = "measured"
    # One set of operands: a CPU's matrix multiply is bound by arithmetic at the sizes offered, and the last
    # level's true share is not to be had on a virtual machine.
    defaults = CellDefaults(
        libraries=("numpy.matmul",),
        l2="hot",
        sizes=(512, 1024, 2048, 4096, 8192),
        streams=(STREAM,),
        elements=default_elements(),
    )

    def __init__(self) -> None:
        self._cold = True

    def device(self) -> Device:
        """Return the processor as the system names it."""
        model = env.cpu_model()
        return Device(kind="cpu", name=model, folder=f"cpu-{env.slug(model)}")

    def identity(self) -> str:
        """Return the machine's id and processor."""
        return f"{env.machine_id()} {env.cpu_model()}"

    def environment(self) -> Environment:
        """Return versions, threads, variables and load."""
        blas = next((pool for pool in threadpool_info() if pool["user_api"] == "blas"), None)
        return Environment(
            versions={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "blas": f"{blas['internal_api']} {blas['version']}" if blas else "unknown",
                "kernel": platform.release(),
            },
            settings={
                "blas_threads": str(blas["num_threads"]) if blas else "unknown",
                "blas_architecture": str(blas.get("architecture", "unknown")) if blas else "unknown",
                "cores": str(env.usable_cores()),
            },
            flagged=env.flagged_variables(),
            conditions=_load(),
        )

    def caveats(self) -> list[Caveat]:
        """Return variables that steer the BLAS, and other work on the machine."""
        found = [
            Caveat(code="variable", values={"name": name, "value": value})
            for name, value in env.flagged_variables().items()
            if name.startswith("OPENBLAS_") or name.endswith("_THREADS")
        ]
        share = env.busy_share()
        if share is not None and share > _BUSY:
            found.append(Caveat(code="busy", values={"share": share}))
        return found

    def refusal(self, operation: str, dtype: str, library: str | None = None) -> str | None:
        """Return why NumPy's BLAS cannot multiply in `dtype`, or None for fp32 and fp64."""
        if operation in STREAMS:
            return _no_stream(dtype, library)
        if operation == PEER_COPY:
            return "a CPU has no peer to copy to; copies between GPUs are measured with --backend cuda"
        if operation != "matmul":
            return f"the CPU backend measures matmul, copy and triad, not {operation}"
        if library not in (None, *self.defaults.libraries):
            return f"the CPU backend multiplies with {', '.join(self.defaults.libraries)} only, not {library}"
        if DTYPES[dtype].name in _TYPES:
            return None
        return _REFUSALS.get(dtype, _GPU_ONLY).format(dtype)

    def peers(self) -> tuple[int, ...]:
        """Return nothing: all cores are one device."""
        return ()

    def misfit(self, cell: Cell) -> str | None:  # noqa: ARG002 - as the protocol has it
        """Return None: NumPy multiplies any shape."""
        return None

    def bytes_needed(self, cell: Cell) -> int:
        """Return the bytes of the matrices, or of a stream's arrays, and what is copied to FP64 to check them."""
        if cell.operation in STREAMS:
            return int(cell.bytes_moved + _STREAM_CHECK_BYTES)
        shape = cell.shape
        if shape is None:
            return 0
        width = STORED_BYTES[cell.input or ""]
        operands = (shape.m * shape.k + shape.k * shape.n + shape.m * shape.n) * width
        return int(operands + 8 * 512 * (shape.k + shape.n) + 8 * 64 * (shape.k + 3 * shape.n))

    def bytes_free(self) -> int | None:
        """Return the memory that is available now."""
        return env.bytes_free()

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> CpuTask | CpuStreamTask:
        """Allocate and fill the operands of `cell`."""
        task = (CpuStreamTask if cell.operation in STREAMS else CpuTask)(cell, seed, cold=self._cold)
        self._cold = self._cold and probe
        return task


def _no_stream(dtype: str, library: str | None) -> str | None:
    """Return why the CPU backend does not stream numbers of a format, or with a library."""
    if dtype != DTYPE:
        return f"copy and triad are of {DTYPE}, not {dtype}"
    return None if library in (None, STREAM) else f"the CPU backend copies with {STREAM} only, not {library}"


def open_backend(index: int | None = None) -> CpuBackend:
    """Return the CPU backend; NumPy is always here. Raises InvalidRequest for an index: all its cores are one."""
    if index is not None:
        message = f"there is no CPU {index} to choose, the CPU backend measures all cores; leave --gpu out"
        raise InvalidRequest(message)
    return CpuBackend()


def _load() -> dict[str, str]:
    try:
        return {"load_1m": f"{os.getloadavg()[0]:.2f}"}
    except (OSError, AttributeError):
        return {}

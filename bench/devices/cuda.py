"""An NVIDIA GPU through CuPy and cublasLt: every number format that its tensor cores and pipes multiply in."""

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from bench.devices import environment as env
from bench.devices.base import Caveat, CellDefaults, Device, Environment, Origin, Task
from bench.devices.nvidia import cublaslt, fitness
from bench.devices.nvidia.driver import REMEDIES
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.inventory import inventory, seen_as
from bench.devices.nvidia.multiply import CUBLASLT, CUPY, workspace_bytes
from bench.devices.nvidia.nvml import open_sensors
from bench.devices.nvidia.own_process import OwnProcessTask, Where
from bench.devices.nvidia.peer import MEMCPY_PEER, Peers, free_for_operands
from bench.devices.nvidia.requirements import (
    CACHE_ADVICE,
    cuda_pip_line,
    has_ml_dtypes,
    has_nvmath,
    lacking,
    mismatch,
    outdated_chip,
    version_text,
)
from bench.devices.nvidia.runtime import CupyRuntime
from bench.devices.nvidia.stream import ELEMENTS, KERNEL, MEMCPY, StreamTask
from bench.devices.nvidia.task import CudaTask, checking_bytes, sets_of
from bench.devices.nvidia.watch import Watcher
from bench.errors import BackendUnavailable, one_line
from bench.workloads.base import PEER_COPY, STREAMS, Cell
from bench.workloads.stream import DTYPE

# The compute capability from which a format is multiplied by units of its own.
_LEAST_CAPABILITY: Final = MappingProxyType(
    {"fp16": (7, 0), "fp16_acc16": (7, 0), "int8": (7, 5), "tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9)}
    | {"nvfp4": (10, 0)}
)
_BY_BITS: Final = ("bf16", "fp8", "nvfp4")  # formats that NumPy does not know
_NOT_BY_CUPY: Final = MappingProxyType(
    {
        "fp16_acc16": "sums FP16 products in FP32",
        "fp8": "has no FP8 arrays",
        "int8": "gives INT8 for INT8, which wraps at 8 bits",
        "nvfp4": "has no FP4 arrays",
    }
)
_STREAM_CHECK_BYTES: Final = 1 << 30  # filling and checking, part by part, in FP64
_TF32_SWITCH: Final = "CUPY_TF32"  # read once by CuPy: with 1 it computes FP32 products in TF32


class CudaBackend:
    """One GPU of those that CUDA programs see here.

    Products are D = A·B of row-major A [m,k] and B stored transposed, Bᵀ [n,k], the one layout in which every
    format has kernels, on the same buffers for both libraries.
    """

    name = "cuda"
    origin: Origin = "measured"
    defaults = CellDefaults(
        libraries=(CUBLASLT, CUPY),
        l2="rotate",
        sizes=(2048, 4096, 8192),
        streams=(KERNEL, MEMCPY),
        elements=ELEMENTS,
        links=(MEMCPY_PEER,),
    )

    def __init__(
        self, runtime: CupyRuntime, watcher: Watcher | None, *, other_processes: int | None = None
    ) -> None:
        """Take a GPU, its sensors, and how many processes used it before this one did.

        In a container NVML may list this very process under another number, so the count comes from before.
        """
        self._runtime, self._watcher, self._other_processes = runtime, watcher, other_processes
        self._cold = True
        self._capability = (int(runtime.properties["major"]), int(runtime.properties["minor"]))

    def device(self) -> Device:
        """Return the GPU as it describes itself; which chip that is, is for others to say."""
        gpu, _ = self._at_first
        return Device(
            kind="gpu",
            name=gpu.name,
            folder=f"unknown-{gpu.pci_device_id or 'gpu'}",
            pci_device_id=gpu.pci_device_id,
            sm_count=gpu.sm_count,
            memory_bytes=gpu.memory_bytes,
            compute_capability=gpu.compute_capability,
            l2_bytes=gpu.l2_bytes,
            mig=bool(gpu.mig),
            index=gpu.index,
        )

    @cached_property
    def _binding_fails(self) -> str | None:
        """Why cublasLt cannot be called though its binding is installed, None if it can."""
        try:
            cublaslt.version()
        except BackendUnavailable as error:
            return one_line(error)
        return None

    def identity(self) -> str:
        """Return the board's own id, or where it sits in this machine."""
        gpu, _ = self._at_first
        return gpu.uuid or f"{env.machine_id()} {gpu.bus_id}"

    def environment(self) -> Environment:
        """Return versions, the libraries that are loaded, and the board's settings."""
        gpu, found = self._look()
        return Environment(
            versions={
                **_versions(self._runtime, found, with_lt=self._binding_fails is None),
                **env.loaded_libraries("libcublas", "libcublasLt"),
            },
            settings=_settings(gpu),
            flagged=env.flagged_variables(),
            conditions=_conditions(gpu),
        )

    def caveats(self) -> list[Caveat]:
        """Return what about this board, now, may bend a measurement."""
        gpu, _ = self._look()
        clock = [] if self._runtime.has_clock else [Caveat(code="no_clock")]
        return [*fitness.caveats(gpu), *fitness.variables(env.flagged_variables()), *clock]

    def refusal(self, operation: str, dtype: str, library: str | None = None) -> str | None:
        """Return why this chip, or this library on it, does not multiply in `dtype`."""
        if operation in STREAMS:
            return self._no_stream(operation, dtype, library)
        if operation != "matmul":
            others = f"the CUDA backend measures matmul, copy, triad and {PEER_COPY}, not {operation}"
            return self._peers.refusal(dtype, library) if operation == PEER_COPY else others
        least = _LEAST_CAPABILITY.get(dtype, (0, 0))
        if self._capability < least:
            return (
                f"not on this chip: {dtype} needs compute capability {least[0]}.{least[1]}, and it has "
                f"{self._capability[0]}.{self._capability[1]}"
            )
        if dtype in _BY_BITS and not has_ml_dtypes():
            return f"{dtype} needs ml-dtypes, which is not installed: pip install ml-dtypes"
        reasons = [self._refusal_of(one, dtype) for one in self.defaults.libraries if library in (None, one)]
        if not reasons:
            return f"the CUDA backend multiplies with {' or '.join(self.defaults.libraries)}, not {library}"
        return None if None in reasons else reasons[0]

    def _no_stream(self, operation: str, dtype: str, library: str | None) -> str | None:
        """Return why this backend does not stream numbers of a format, or with a library."""
        if dtype != DTYPE:
            return f"copy and triad are of {DTYPE}, not {dtype}"
        if library == MEMCPY and operation != "copy":
            return f"{MEMCPY} copies, and adds nothing"
        if library in (None, *self.defaults.streams):
            return None
        return f"the CUDA backend copies with {' or '.join(self.defaults.streams)}, not {library}"

    def _refusal_of(self, library: str, dtype: str) -> str | None:
        if library == CUPY:
            return f"{CUPY} {_NOT_BY_CUPY[dtype]}" if dtype in _NOT_BY_CUPY else None
        if has_nvmath():
            return self._binding_fails
        _, found = self._at_first
        return (
            f"{CUBLASLT} is called through nvmath-python, which is not installed: {cuda_pip_line(found.cuda or 0)}"
        )

    def peers(self) -> tuple[int, ...]:
        """Return the other GPUs that CUDA programs see here."""
        return self._peers.indices

    def misfit(self, cell: Cell) -> str | None:
        """Return which size is not a multiple of what the format's kernels need, or why not with this peer."""
        if cell.operation == PEER_COPY:
            return self._peers.misfit(cell)
        if cell.library != CUBLASLT or cell.dtype is None or cell.shape is None:
            return None
        return cublaslt.misfit(cell.dtype, cell.shape)

    def bytes_needed(self, cell: Cell) -> int:
        """Return the bytes of all operand sets, the workspace, and what filling and checking take."""
        if cell.operation in STREAMS:
            return cell.bytes_moved + _STREAM_CHECK_BYTES
        if cell.operation == PEER_COPY:
            return self._peers.bytes_here(cell)
        if cell.shape is None:
            return 0
        operands = sets_of(cell, self._l2_bytes) * cell.bytes_moved
        return operands + workspace_bytes(self._runtime) + checking_bytes(cell.shape)

    def bytes_free(self) -> int:
        """Return the GPU's free memory, less what CuPy's and CUDA's own handles and kernels take."""
        return free_for_operands(self._runtime)

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> Task:
        """Allocate and fill the operand sets of `cell`, and ask its library for algorithms.

        FP32 and TF32 through CuPy depend on a variable that it reads once: where that is not what the cell needs,
        the task gets a process of its own. Raises CellFailed, MemoryError or BackendUnavailable.
        """
        cold, self._cold = self._cold, self._cold and probe
        switch = self._switch_for(cell)
        if switch is not None:
            if self._watcher is not None:
                self._watcher.stop()  # that process reads the sensors itself
            gpu, _ = self._at_first
            where, variables = Where(self.name, gpu.index), {_TF32_SWITCH: switch}
            return OwnProcessTask(where, cell, seed, variables, cold=cold, alive=self._runtime.synchronize)
        if self._watcher is not None and not probe:
            self._watcher.start()
        if cell.operation in STREAMS:
            return StreamTask(self._runtime, cell, seed, cold=cold, watcher=self._watcher)
        if cell.operation == PEER_COPY:
            return self._peers.task(cell, seed, cold=cold, watcher=self._watcher)
        sets = sets_of(cell, self._l2_bytes)
        return CudaTask(self._runtime, cell, seed, sets=sets, cold=cold, watcher=self._watcher)

    @cached_property
    def _peers(self) -> Peers:
        return Peers(self._runtime, *self._at_first)

    @property
    def _l2_bytes(self) -> int:
        return int(self._runtime.properties["l2CacheSize"])

    def _switch_for(self, cell: Cell) -> str | None:
        """Return what CuPy's TF32 switch must be for this cell, None if it does not matter or is so already."""
        if cell.library != CUPY or cell.input != "fp32":
            return None
        wanted = "1" if cell.compute == "tf32" else "0"
        return None if (os.environ.get(_TF32_SWITCH, "0") or "0") == wanted else wanted

    @cached_property
    def _at_first(self) -> tuple[Gpu, Inventory]:
        """The first look, for what does not change while a process lasts: every look asks NVML and the driver."""
        return self._look()

    def _look(self) -> tuple[Gpu, Inventory]:
        """Return this GPU as driver and NVML describe it now, with CUDA's own word for what is missing."""
        found, own = inventory(), self._by_cuda()
        same = next((gpu for gpu in found.gpus if gpu.bus_id == own.bus_id and gpu.cuda_index is not None), own)
        filled = {name: value for name, value in own._asdict().items() if getattr(same, name) is None}
        filled["other_processes"] = self._other_processes
        return same._replace(**filled), found

    def _by_cuda(self) -> Gpu:
        properties, (_, total) = self._runtime.properties, self._runtime.memory()
        name = properties["name"]
        return Gpu(
            index=0,
            name=name.decode() if isinstance(name, bytes) else str(name),
            bus_id=self._runtime.bus_id,
            cuda_index=0,
            sm_count=int(properties["multiProcessorCount"]),
            compute_capability=f"{self._capability[0]}.{self._capability[1]}",
            memory_bytes=total,
            l2_bytes=self._l2_bytes,
        )


def open_backend(index: int | None = None) -> CudaBackend:
    """Return the backend on the GPU of this `index`, as `chipbench devices` counts, or on the first visible one.

    Raises BackendUnavailable, with the pip line or what else to do, where driver, CuPy or a GPU is missing, CuPy
    is of a CUDA line that the driver does not run, or CUDA 13 meets a chip before Turing; InvalidRequest if there
    is no GPU of this index.
    """
    driver = env.cuda_driver_version()
    missing = lacking(driver)
    if missing is not None or driver is None:
        raise BackendUnavailable(missing or "")
    runtime_version = _cuda_of_cupy(driver)
    before = inventory()
    runtime = CupyRuntime() if index is None else CupyRuntime(seen_as(before, index))
    capability = (int(runtime.properties["major"]), int(runtime.properties["minor"]))
    outdated = outdated_chip(runtime_version, capability)
    if outdated is not None:
        raise BackendUnavailable(outdated)
    own = next((gpu for gpu in before.gpus if gpu.bus_id == runtime.bus_id), None)
    others, most = (None, None) if own is None else (own.other_processes, own.max_sm_clock_hz)
    sensors = open_sensors(runtime.bus_id)
    watcher = None if sensors is None else Watcher(sensors, most_clock_hz=most)
    return CudaBackend(runtime, watcher, other_processes=others)


def _cuda_of_cupy(driver: int) -> int:
    """Return the CUDA version that CuPy is built on. Raises BackendUnavailable if it cannot be used here."""
    try:
        import cupy  # noqa: PLC0415 - takes a second, and is not installed everywhere

        version = int(cupy.cuda.runtime.runtimeGetVersion())
        # Both are loaded when they are first needed, and without them nothing can be measured.
        cupy.cuda.cublas.getVersion(0)
        cupy.cuda.nvrtc.getVersion()
    except OSError as error:
        message = f"CuPy cannot be used here ({one_line(error)}); {CACHE_ADVICE}"
        raise BackendUnavailable(message) from error
    except (ImportError, RuntimeError) as error:
        text = (
            f"CuPy cannot be used here ({one_line(error)}); install it anew: "
            f"pip uninstall -y cupy-cuda12x cupy-cuda13x && {cuda_pip_line(driver)}"
        )
        raise BackendUnavailable(text) from error
    lacks = mismatch(version, driver) or _why_no_gpu(cupy)
    if lacks is not None:
        raise BackendUnavailable(lacks)
    return version


def _why_no_gpu(cupy: Any) -> str | None:  # noqa: ANN401 - the module
    """Return why CUDA programs find no GPU here, None if they find one."""
    try:
        if cupy.cuda.runtime.getDeviceCount():
            return None
        said = "it lists none"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        said = one_line(error)
        if error.status in REMEDIES:
            return f"the NVIDIA driver gives CUDA programs no GPU ({said}): {REMEDIES[error.status]}"
    return f"the NVIDIA driver gives CUDA programs no GPU ({said}); check 'nvidia-smi' and CUDA_VISIBLE_DEVICES"


def _versions(runtime: CupyRuntime, found: Inventory, *, with_lt: bool) -> dict[str, str]:
    """Return what computes; asking cuBLAS loads it, so that its path can be recorded before the first product."""
    cupy = runtime.xp
    cublas = int(cupy.cuda.cublas.getVersion(0))
    known: Mapping[str, str | None] = {
        "python": platform.python_version(),
        "driver": found.driver,
        "driver_cuda": None if found.cuda is None else version_text(found.cuda),
        "cuda": version_text(int(cupy.cuda.runtime.runtimeGetVersion())),
        "cupy": str(cupy.__version__),
        "cublas": f"{cublas // 10000}.{cublas // 100 % 100}.{cublas % 100}",
        "cublaslt": cublaslt.version() if with_lt else None,
        "numpy": np.__version__,
        "kernel": platform.release(),
    }
    return {name: version for name, version in known.items() if version is not None}


def _settings(gpu: Gpu) -> dict[str, str]:
    known: Sequence[tuple[str, object]] = (
        ("power_limit_w", gpu.power_limit_w),
        ("application_clock_hz", gpu.application_clock_hz),
        ("ecc", gpu.ecc),
        ("mig", gpu.mig),
    )
    return {name: str(value).lower() for name, value in known if value is not None}


def _conditions(gpu: Gpu) -> dict[str, str]:
    known: Sequence[tuple[str, object]] = (
        ("temperature_c", gpu.temperature_c),
        ("other_processes", gpu.other_processes),
        ("pcie_generation", gpu.pcie_generation),
        ("pcie_width", gpu.pcie_width),
    )
    return {name: str(value) for name, value in known if value is not None}

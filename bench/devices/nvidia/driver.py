"""GPUs as the CUDA driver itself sees them: SMs, L2, memory and where they sit, with no CUDA package.

Calls libcuda through ctypes and makes no context, so no memory of a GPU is taken. `cuInit` reads
CUDA_VISIBLE_DEVICES once, and a child forked after it cannot use CUDA: start children by spawn.

Not confirmed on a device: the names of MIG instances, and that one reports the bus id of the GPU it is part of.
"""

import ctypes
import re
from types import MappingProxyType
from typing import Final

from bench.devices.environment import cuda_driver_version
from bench.devices.nvidia.gpu import Gpu, Inventory

_LIBRARY: Final = "libcuda.so.1"
_NAME_BYTES: Final = 256
_BUS_ID_BYTES: Final = 32

# CUdevice_attribute of cuda.h.
_SM_COUNT: Final = 16
_L2_BYTES: Final = 38
_CAPABILITY_MAJOR: Final = 75
_CAPABILITY_MINOR: Final = 76

# CUresult of cuda.h, and what one can do about it.
REMEDIES: Final = MappingProxyType(
    {
        2: "out of memory; end other programs on the GPU",
        3: "not initialised; a process forked after CUDA was used must be started anew instead",
        34: "a stub stands in for the driver; take the CUDA 'stubs' folder out of LD_LIBRARY_PATH",
        35: "the driver is older than this CUDA; update it, or install the cuda12 extra",
        46: "the GPU is busy or in a mode that forbids this process; see nvidia-smi",
        100: "no GPU that CUDA can use; check CUDA_VISIBLE_DEVICES and nvidia-smi",
        101: "no such GPU; check CUDA_VISIBLE_DEVICES",
        209: "the library has no kernel for this chip; install a newer CuPy and cuBLAS, or the cuda12 extra",
        222: "the driver cannot compile for this library; update it",
        304: "the system refused a call; check that /dev/nvidia* exist here and may be opened",
        801: "not supported here; update the NVIDIA driver",
        802: "the GPUs are not ready yet; with NVSwitch, start nvidia-fabricmanager",
        803: "libcuda and the loaded kernel module differ; reboot after a change of driver",
        804: "this libcuda is a compatibility one that the GPU does not support; take it out of LD_LIBRARY_PATH",
        999: "unknown error; look for 'Xid' in the kernel log (dmesg), then reload the driver or restart",
    }
)


class _Refused(Exception):
    """A call of the driver failed; the text is one line."""


def visible_gpus() -> Inventory:
    """Return the GPUs that a CUDA program sees now, in its order; `index` and `cuda_index` are both its own.

    `mig` is True where the name says so and otherwise None. On any failure no GPU and a note that says why; raises
    nothing.
    """
    try:
        gpus, notes = tuple(_ask()), ()
    except _Refused as refused:
        return Inventory(None, cuda_driver_version(), (), (str(refused),))
    return Inventory(None, cuda_driver_version(), gpus, notes)


def normal_bus_id(text: str) -> str:
    """Return a PCI bus id as the system writes it, whatever its case and the width of its domain.

    >>> normal_bus_id("00000000:1B:00.0")
    '0000:1b:00.0'
    """
    parts = re.fullmatch(r"(?:([0-9a-f]+):)?([0-9a-f]+):([0-9a-f]+)(?:\.([0-7]))?", text.strip().lower())
    if parts is None:
        return text.strip().lower()
    domain, bus, device, function = (int(part or "0", 16) for part in parts.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def _ask() -> list[Gpu]:
    driver = _Driver()
    driver.call("cuInit", ctypes.c_uint(0))
    return [driver.gpu(index) for index in range(driver.count())]


class _Driver:
    """libcuda: each method asks one thing and raises _Refused if it is not told."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            message = f"no CUDA driver: {_LIBRARY} cannot be loaded; install the NVIDIA driver"
            raise _Refused(message) from error

    def call(self, name: str, *arguments: object) -> None:
        try:
            status = getattr(self._library, name)(*arguments)
        except AttributeError as error:
            message = f"{_LIBRARY} has no {name}; update the NVIDIA driver"
            raise _Refused(message) from error
        if status:
            meaning = REMEDIES.get(status, "see CUresult in CUDA's documentation")
            message = f"the CUDA driver answers error {status} to {name}: {meaning}"
            raise _Refused(message)

    def count(self) -> int:
        value = ctypes.c_int(0)
        self.call("cuDeviceGetCount", ctypes.byref(value))
        return value.value

    def gpu(self, index: int) -> Gpu:
        device = ctypes.c_int(0)
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        major, minor = self._attribute(device, _CAPABILITY_MAJOR), self._attribute(device, _CAPABILITY_MINOR)
        name = self._text("cuDeviceGetName", _NAME_BYTES, device)
        return Gpu(
            index=index,
            cuda_index=index,
            name=name,
            bus_id=normal_bus_id(self._text("cuDeviceGetPCIBusId", _BUS_ID_BYTES, device)),
            sm_count=self._attribute(device, _SM_COUNT),
            compute_capability=f"{major}.{minor}",
            memory_bytes=self._memory_bytes(device),
            # The driver says 0 where it does not know.
            l2_bytes=self._attribute(device, _L2_BYTES) or None,
            mig=True if re.search(r"\bMIG\b", name) else None,
        )

    def _attribute(self, device: ctypes.c_int, attribute: int) -> int:
        value = ctypes.c_int(0)
        self.call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
        return value.value

    def _memory_bytes(self, device: ctypes.c_int) -> int:
        value = ctypes.c_size_t(0)
        self.call("cuDeviceTotalMem_v2", ctypes.byref(value), device)
        return value.value

    def _text(self, name: str, size: int, device: ctypes.c_int) -> str:
        buffer = ctypes.create_string_buffer(size)
        self.call(name, buffer, ctypes.c_int(size), device)
        return buffer.value.decode(errors="replace")

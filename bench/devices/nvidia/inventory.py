"""Every NVIDIA GPU here, joined from NVML, the CUDA driver and the system's PCI list by where it sits.

NVML and CUDA count in different orders, and CUDA_VISIBLE_DEVICES hides GPUs from one of them only: indices never
join, bus ids do.

Not confirmed on a device: that CUDA shows at most one MIG instance of a GPU, with the GPU's own bus id. Should it
show more, each is a GPU of its own here.
"""

from pathlib import Path
from typing import Final

from bench.devices.nvidia import driver, nvml
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.errors import BackendUnavailable, InvalidRequest

_PCI: Final = Path("/sys/bus/pci/devices")
_VENDOR: Final = "10de"
_NOTHING: Final = "no NVIDIA driver answers here; install one, or run this where a GPU is"


def inventory(pci: Path = _PCI) -> Inventory:
    """Return every GPU that NVML or the CUDA driver knows, in NVML's order; raises nothing.

    `cuda_index` is None, and the number of SMs unknown, for a GPU that CUDA programs cannot see now. `pci` is the
    system's list of PCI devices, for the device id where NVML does not tell it.
    """
    told, seen = nvml.survey(), driver.visible_gpus()
    gpus = tuple(_with_pci_id(gpu, pci) for gpu in _join(told.gpus, seen.gpus))
    notes = [*told.notes, *seen.notes]
    cuda = seen.cuda if seen.cuda is not None else told.cuda
    if not gpus and told.driver is None and cuda is None:
        notes.insert(0, _NOTHING)
    return Inventory(told.driver, cuda, gpus, tuple(notes))


def visible(found: Inventory) -> list[int]:
    """Return the indices of the GPUs that CUDA programs can see now."""
    return list(dict.fromkeys(gpu.index for gpu in found.gpus if gpu.cuda_index is not None))


def seen_as(found: Inventory, index: int) -> int:
    """Return what CUDA programs call the GPU of this index.

    Raises InvalidRequest if there is none, BackendUnavailable if CUDA programs cannot see it.
    """
    known = [gpu for gpu in found.gpus if gpu.index == index]
    if not known:
        there = ", ".join(str(gpu.index) for gpu in found.gpus) or "none"
        message = f"no GPU {index} here; there are: {there}"
        raise InvalidRequest(message)
    seen = [gpu.cuda_index for gpu in known if gpu.cuda_index is not None]
    if not seen:
        message = (
            f"CUDA programs cannot see GPU {index}; check CUDA_VISIBLE_DEVICES ('chipbench devices' lists all)"
        )
        raise BackendUnavailable(message)
    return seen[0]


def _join(told: tuple[Gpu, ...], seen: tuple[Gpu, ...]) -> list[Gpu]:
    joined = []
    for gpu in told:
        matches = [one for one in seen if one.bus_id == gpu.bus_id]
        joined += [_merged(gpu, one) for one in matches] or [gpu]
    known = {gpu.bus_id for gpu in told}
    others = [one for one in seen if one.bus_id not in known]
    free = max((gpu.index + 1 for gpu in told), default=0)
    # Without NVML the driver's own count is the index; beside it, only numbers that NVML has not used.
    return joined + [one._replace(index=free + place if told else one.index) for place, one in enumerate(others)]


def _merged(told: Gpu, seen: Gpu) -> Gpu:
    """Return one GPU of both views; of a MIG instance, name and memory are what CUDA programs get."""
    both = told._replace(
        cuda_index=seen.cuda_index,
        sm_count=seen.sm_count,
        compute_capability=seen.compute_capability,
        l2_bytes=seen.l2_bytes,
    )
    if told.mig or seen.mig:
        return both._replace(mig=True, name=seen.name, memory_bytes=seen.memory_bytes, memory_free_bytes=None)
    return both if both.memory_bytes is not None else both._replace(memory_bytes=seen.memory_bytes)


def _with_pci_id(gpu: Gpu, pci: Path) -> Gpu:
    if gpu.pci_device_id is not None or _hexadecimal(pci / gpu.bus_id / "vendor") != _VENDOR:
        return gpu
    return gpu._replace(pci_device_id=_hexadecimal(pci / gpu.bus_id / "device"))


def _hexadecimal(path: Path) -> str | None:
    """Return the number in one of the system's files ('0x10de') as four digits, None if there is none."""
    try:
        return f"{int(path.read_text(encoding='ascii'), 16):04x}"
    except (OSError, ValueError):
        return None

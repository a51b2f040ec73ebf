"""What is known of one NVIDIA GPU, whoever tells: the driver, NVML or the system's PCI list."""

from typing import NamedTuple


class Gpu(NamedTuple):
    """One GPU of this machine; a field is None where nothing here tells it.

    `index` counts as NVML does (or the driver, without NVML), `cuda_index` as CUDA programs count now, None if
    they cannot see it; `bus_id` joins the two ('0000:1b:00.0'). `pci_device_id` is four lower-case hex digits.
    `uuid` tells this very board apart and is never stored. Bytes, watts, hertz and degrees Celsius.
    """

    index: int  # type: ignore[assignment] # what a tuple's own `index` does is of no use here
    name: str
    bus_id: str
    cuda_index: int | None = None
    pci_device_id: str | None = None
    uuid: str | None = None
    sm_count: int | None = None
    compute_capability: str | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    l2_bytes: int | None = None
    mig: bool | None = None
    ecc: bool | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    max_sm_clock_hz: float | None = None
    application_clock_hz: float | None = None
    application_clock_default_hz: float | None = None
    pcie_generation: int | None = None
    pcie_generation_most: int | None = None
    pcie_width: int | None = None
    pcie_width_most: int | None = None
    other_processes: int | None = None
    temperature_c: float | None = None


class Inventory(NamedTuple):
    """Every GPU here. `driver` is the driver's own version ('580.65.06'), `cuda` the newest CUDA that it runs.

    `cuda` counts as the driver does: 13000 is 13.0. `notes` say in a line each what could not be asked and why.
    """

    driver: str | None
    cuda: int | None
    gpus: tuple[Gpu, ...]
    notes: tuple[str, ...] = ()

"""What NVML tells of a GPU: its facts once, its sensors again and again. It only asks and never sets anything.

Every query is optional by itself, since which ones a chip, a driver or a container answers differs.

Not confirmed on a device: which queries each chip leaves out, and how other containers' processes look from one.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from types import MappingProxyType, ModuleType
from typing import Any, Final, NamedTuple

from bench.devices.nvidia.gpu import Gpu, Inventory

# Why a clock is lower than it could be: the bits of nvmlClocksEventReasons.
REASONS: Final = MappingProxyType(
    {
        "gpu_idle": 0x001,
        "applications_clocks_setting": 0x002,
        "sw_power_cap": 0x004,
        "hw_slowdown": 0x008,
        "sync_boost": 0x010,
        "sw_thermal_slowdown": 0x020,
        "hw_thermal_slowdown": 0x040,
        "hw_power_brake_slowdown": 0x080,
        "display_clock_setting": 0x100,
        "board_limit": 0x200,
        "reliability": 0x400,
    }
)
POWER_CAP: Final = "sw_power_cap"
# A matrix multiply runs into the power limit by nature, so that is no fault. These say that heat or the machine's
# power supply holds the chip back, so that its rate is this machine's and not the chip's.
FAULTS: Final = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")

_VENDOR: Final = 0x10DE
_GRAPHICS_CLOCK: Final = 0
_SM_CLOCK: Final = 1
_MEMORY_CLOCK: Final = 2
_CORE_TEMPERATURE: Final = 0

# The later name is asked where a driver, or the binding, has no such function any more or yet.
_TEMPERATURE: Final = ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV")
_REASONS: Final = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
_COMPUTE: Final = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
_GRAPHICS: Final = ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2")

# nvmlReturn_t. Silent for good: not supported, no permission (a MIG instance in a container), no such function,
# deprecated.
_NO_SUCH_FUNCTION: Final = 13
_SILENT: Final = frozenset({3, 4, _NO_SUCH_FUNCTION, 26})
# Nothing will be told any more: not initialised, driver not loaded, GPU is lost, reset required.
_GONE: Final = frozenset({1, 9, 15, 16})
_PATIENCE: Final = 3  # failures of one sensor before it is asked no more
_REMEDIES: Final = MappingProxyType(
    {
        1: "open the sensors again",
        4: "check that /dev/nvidia* may be opened here",
        9: "load the NVIDIA driver",
        12: "install the NVIDIA driver, which brings libnvidia-ml.so.1",
        18: "reboot, since library and kernel module differ after a change of driver",
    }
)


class SensorsLost(Exception):
    """NVML no longer answers for a GPU, or never did; the text is one line."""


class Reading(NamedTuple):
    """One look at the sensors, in Hz, W and °C; None for each that this GPU does not have.

    `event_reasons` is a mask of the bits in `REASONS`: 0 if nothing holds the clock back.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    event_reasons: int | None = None


def reason_names(mask: int) -> list[str]:
    """Return the names of the bits set in `mask`; one that this version does not know is called by its number.

    >>> reason_names(0x44)
    ['sw_power_cap', 'hw_thermal_slowdown']
    """
    known = {bit: name for name, bit in REASONS.items()}
    return [known.get(1 << place, f"bit_{place}") for place in range(mask.bit_length()) if mask >> place & 1]


class Sensors:
    """One GPU as NVML sees it. May be read from several threads; `close` it once.

    `bus_id` is as in `Gpu`. `open_sensors` and `survey` make these.
    """

    def __init__(self, nvml: ModuleType, index: int) -> None:
        self._nvml, self._index = nvml, index
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self._pci = nvml.nvmlDeviceGetPciInfo(self._handle)
        self._silent: set[tuple[str, int | None]] = set()
        self._failures: Counter[tuple[str, int | None]] = Counter()
        self.bus_id = f"{self._pci.domain:04x}:{self._pci.bus:02x}:{self._pci.device:02x}.0"

    def read(self) -> Reading:
        """Return what the sensors say now. One that is not supported, or failed three times, is asked no more.

        Raises SensorsLost if the GPU is gone, or NVML itself.
        """
        return Reading(
            sm_clock_hz=_hertz(self._sensor("nvmlDeviceGetClockInfo", argument=_SM_CLOCK)),
            memory_clock_hz=_hertz(self._sensor("nvmlDeviceGetClockInfo", argument=_MEMORY_CLOCK)),
            power_w=_from_thousandths(self._sensor("nvmlDeviceGetPowerUsage")),
            temperature_c=_float(self._sensor(*_TEMPERATURE, argument=_CORE_TEMPERATURE)),
            event_reasons=self._sensor(*_REASONS),
        )

    def energy_j(self) -> float | None:
        """Return the joules used since the driver was loaded, None without such a counter. Raises SensorsLost."""
        return _from_thousandths(self._sensor("nvmlDeviceGetTotalEnergyConsumption"))

    def facts(self) -> Gpu:
        """Return what NVML tells of this GPU, a field that it does not tell being None.

        Ask before CUDA is used: in a container NVML may list this very process under a number that is not its own,
        and `other_processes` would count it; or it lists none. With MIG on, memory is that of the whole GPU.
        Raises SensorsLost.
        """
        memory = self._fact("nvmlDeviceGetMemoryInfo")
        return Gpu(
            index=self._index,
            name=self._fact("nvmlDeviceGetName") or "NVIDIA GPU without a name",
            bus_id=self.bus_id,
            pci_device_id=_pci_device_id(self._pci.pciDeviceId),
            uuid=self._fact("nvmlDeviceGetUUID"),
            memory_bytes=memory and memory.total,
            memory_free_bytes=memory and memory.free,
            mig=_first_is_on(self._fact("nvmlDeviceGetMigMode")),
            ecc=_first_is_on(self._fact("nvmlDeviceGetEccMode")),
            power_limit_w=_from_thousandths(self._fact("nvmlDeviceGetEnforcedPowerLimit")),
            power_limit_default_w=_from_thousandths(self._fact("nvmlDeviceGetPowerManagementDefaultLimit")),
            max_sm_clock_hz=self._clock("nvmlDeviceGetMaxClockInfo", _SM_CLOCK),
            application_clock_hz=self._clock("nvmlDeviceGetApplicationsClock", _GRAPHICS_CLOCK),
            application_clock_default_hz=self._clock("nvmlDeviceGetDefaultApplicationsClock", _GRAPHICS_CLOCK),
            pcie_generation=self._fact("nvmlDeviceGetCurrPcieLinkGeneration"),
            pcie_generation_most=self._fact("nvmlDeviceGetMaxPcieLinkGeneration"),
            pcie_width=self._fact("nvmlDeviceGetCurrPcieLinkWidth"),
            pcie_width_most=self._fact("nvmlDeviceGetMaxPcieLinkWidth"),
            other_processes=self._other_processes(),
            temperature_c=_float(self._fact(*_TEMPERATURE, argument=_CORE_TEMPERATURE)),
        )

    def close(self) -> None:
        """Let go of NVML."""
        _close(self._nvml)

    def _clock(self, name: str, which: int) -> float | None:
        return _hertz(self._fact(name, argument=which))

    def _other_processes(self) -> int | None:
        compute = self._fact(*_COMPUTE)
        if compute is None:
            return None
        # One that computes and draws stands in both lists.
        return len({process.pid for process in [*compute, *(self._fact(*_GRAPHICS) or ())]} - {os.getpid()})

    def _call(self, *names: str, argument: int | None = None) -> Any:  # noqa: ANN401 - the binding has no types
        arguments = () if argument is None else (argument,)
        for name in names:
            function = getattr(self._nvml, name, None)
            try:
                if function is not None:
                    return function(self._handle, *arguments)
            except self._nvml.NVMLError as error:
                if error.value != _NO_SUCH_FUNCTION:
                    raise
        raise self._nvml.NVMLError(_NO_SUCH_FUNCTION)

    def _fact(self, *names: str, argument: int | None = None) -> Any:  # noqa: ANN401 - likewise
        try:
            return self._call(*names, argument=argument)
        except self._nvml.NVMLError as error:
            if error.value in _GONE:
                raise SensorsLost(_text(names[0], error)) from error
            return None

    def _sensor(self, *names: str, argument: int | None = None) -> int | None:
        asked = (names[0], argument)
        if asked in self._silent:
            return None
        try:
            value: int = self._call(*names, argument=argument)
        except self._nvml.NVMLError as error:
            if error.value in _GONE:
                raise SensorsLost(_text(names[0], error)) from error
            # Some boards answer "unknown error" for one sensor alone, and the others are right.
            self._failures[asked] += 1
            if error.value in _SILENT or self._failures[asked] == _PATIENCE:
                self._silent.add(asked)
            return None
        return value


def open_sensors(bus_id: str) -> Sensors | None:
    """Return the sensors of the GPU at `bus_id` ('0000:1b:00.0'), None where NVML does not know it or is not here.

    `survey` tells why.
    """
    try:
        nvml = _open()
    except SensorsLost:
        return None
    for sensors in _each(nvml):
        if isinstance(sensors, Sensors) and sensors.bus_id == bus_id:
            return sensors
    _close(nvml)
    return None


def survey() -> Inventory:
    """Return every GPU that NVML knows, in its order and without a `cuda_index`; raises nothing.

    `notes` say why NVML is silent altogether, or of one GPU.
    """
    try:
        nvml = _open()
    except SensorsLost as lost:
        return Inventory(None, None, (), (str(lost),))
    gpus, notes = [], []
    for sensors in _each(nvml):
        if not isinstance(sensors, Sensors):
            notes.append(sensors)
            continue
        try:
            gpus.append(sensors.facts())
        except SensorsLost as lost:
            notes.append(f"GPU {sensors.bus_id}: {lost}")
    driver, cuda = _system(nvml, "nvmlSystemGetDriverVersion"), _system(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    _close(nvml)
    return Inventory(driver, cuda, tuple(gpus), tuple(notes))


def _open() -> ModuleType:
    try:
        import pynvml  # noqa: PLC0415 - most commands ask no GPU
    except ImportError as error:
        message = "NVML's binding is missing; pip install nvidia-ml-py"
        raise SensorsLost(message) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise SensorsLost(_text("nvmlInit", error)) from error
    module: ModuleType = pynvml
    return module


def _close(nvml: ModuleType) -> None:
    with suppress(nvml.NVMLError):
        nvml.nvmlShutdown()


def _each(nvml: ModuleType) -> Iterator[Sensors | str]:
    """Every GPU, or in its place a line that says why not."""
    try:
        count: int = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        yield _text("nvmlDeviceGetCount", error)
        return
    for index in range(count):
        try:
            yield Sensors(nvml, index)
        except nvml.NVMLError as error:
            yield f"GPU {index}: {_text('the question where it is', error)}"


def _system(nvml: ModuleType, name: str) -> Any:  # noqa: ANN401 - likewise
    try:
        return getattr(nvml, name)()
    except nvml.NVMLError:
        return None


def _text(name: str, error: Exception) -> str:
    code = getattr(error, "value", 0)
    remedy = _REMEDIES.get(code, "see nvidia-smi and the system's log for an Xid")
    return f"NVML answers error {code} to {name} ({str(error).rstrip('.')}); {remedy}"


def _pci_device_id(both: int) -> str | None:
    """Return the device's half of NVML's pciDeviceId, None if the other half is not NVIDIA."""
    return f"{both >> 16:04x}" if both & 0xFFFF == _VENDOR else None


def _first_is_on(current_and_pending: list[int] | None) -> bool | None:
    return None if current_and_pending is None else current_and_pending[0] == 1


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _hertz(megahertz: int | None) -> float | None:
    return None if megahertz is None else megahertz * 1e6


def _from_thousandths(value: int | None) -> float | None:
    return None if value is None else value / 1000

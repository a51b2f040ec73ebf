"""What about a GPU, before anything runs on it, will bend a measurement: warnings as data.

The numbers here are of an idle GPU. Of PCIe only the width counts: a GPU at rest lowers the link's generation
to save power and raises it under load, so a low one means nothing then, while missing lanes do not come back.
Whether some GPU also gives up lanes at rest is not confirmed on a device.
"""

from collections.abc import Mapping
from typing import Final

from bench.devices.base import Caveat
from bench.devices.nvidia.gpu import Gpu

HOT_C: Final = 80.0  # of an idle GPU: it would soon be slowed down by heat
_WATT: Final = 1.0  # a limit that differs by less was not set by anybody
# Beginnings of the names of variables that steer a GPU or its libraries. CUDA_VISIBLE_DEVICES only chooses one.
_STEERING: Final = (
    "CUBLAS_", "CUBLASLT_", "CUDA_INJECTION64_PATH", "CUDA_LAUNCH_BLOCKING", "CUDA_MPS_", "CUPY_",
    "NVIDIA_TF32_OVERRIDE",
)  # fmt: skip


def caveats(gpu: Gpu) -> list[Caveat]:
    """Return what is unusual about `gpu`; what is not known is no caveat.

    Codes and values: gpu_processes {count}, mig {}, ecc_off {}, power_limit {watts, default}, application_clocks
    {hz, default}, pcie {generation, most, width, width_most}, hot {celsius}.
    """
    found = [
        _processes(gpu),
        _mig(gpu),
        _ecc(gpu),
        _power_limit(gpu),
        _application_clocks(gpu),
        _pcie(gpu),
        _hot(gpu),
    ]
    return [caveat for caveat in found if caveat is not None]


def variables(flagged: Mapping[str, str]) -> list[Caveat]:
    """Return a caveat `variable` for each of `flagged` (name to value) that steers a GPU or its libraries."""
    return [
        Caveat(code="variable", values={"name": name, "value": value})
        for name, value in flagged.items()
        if name.startswith(_STEERING)
    ]


def _processes(gpu: Gpu) -> Caveat | None:
    if not gpu.other_processes:
        return None
    return Caveat(code="gpu_processes", values={"count": float(gpu.other_processes)})


def _mig(gpu: Gpu) -> Caveat | None:
    return Caveat(code="mig") if gpu.mig else None


def _ecc(gpu: Gpu) -> Caveat | None:
    return Caveat(code="ecc_off") if gpu.ecc is False else None


def _power_limit(gpu: Gpu) -> Caveat | None:
    limit, default = gpu.power_limit_w, gpu.power_limit_default_w
    if limit is None or default is None or abs(limit - default) < _WATT:
        return None
    return Caveat(code="power_limit", values={"watts": limit, "default": default})


def _application_clocks(gpu: Gpu) -> Caveat | None:
    clock, default = gpu.application_clock_hz, gpu.application_clock_default_hz
    if clock is None or default is None or clock == default:
        return None
    return Caveat(code="application_clocks", values={"hz": clock, "default": default})


def _pcie(gpu: Gpu) -> Caveat | None:
    if gpu.pcie_width is None or gpu.pcie_width_most is None or gpu.pcie_width >= gpu.pcie_width_most:
        return None
    link = {
        "generation": gpu.pcie_generation,
        "most": gpu.pcie_generation_most,
        "width": gpu.pcie_width,
        "width_most": gpu.pcie_width_most,
    }
    return Caveat(code="pcie", values={name: float(value) for name, value in link.items() if value is not None})


def _hot(gpu: Gpu) -> Caveat | None:
    if gpu.temperature_c is None or gpu.temperature_c < HOT_C:
        return None
    return Caveat(code="hot", values={"celsius": gpu.temperature_c})

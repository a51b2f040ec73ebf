"""Which backend to use here, and what is missing for a better one."""

from typing import Final, NamedTuple

from bench.devices import BACKENDS, open_backend
from bench.devices.base import Backend
from bench.devices.environment import cuda_driver_version, has_cupy

_GPU_BACKEND: Final = "cuda"
_FIRST_CUDA_13: Final = 13000  # as the driver counts: 1000·major + 10·minor


class Choice(NamedTuple):
    """A backend ready to run; `note` says why it is not a better one, and what would change that."""

    backend: Backend
    note: str | None


def choose(name: str) -> Choice:
    """Return the backend `name`; for "auto" CUDA where a driver, CuPy and that backend are here, else the CPU.

    Raises BackendUnavailable if a backend asked for by name cannot run here.
    """
    if name != "auto":
        return Choice(open_backend(name), None)
    lacking = _lacking_for_gpu()
    if lacking is None:
        return Choice(open_backend(_GPU_BACKEND), None)
    return Choice(open_backend("cpu"), f"Measuring the CPU through NumPy's BLAS: {lacking}")


def _lacking_for_gpu() -> str | None:
    driver = cuda_driver_version()
    if driver is None:
        return f"no NVIDIA driver answers here. On a machine with an NVIDIA GPU: {cuda_pip_line(_FIRST_CUDA_13)}"
    if not has_cupy():
        return f"there is an NVIDIA driver but no CuPy. To measure the GPU: {cuda_pip_line(driver)}"
    if _GPU_BACKEND not in BACKENDS:
        return "a GPU and CuPy are here, but this version of chipbench has no CUDA backend yet"
    return None


def cuda_pip_line(driver: int) -> str:
    """Return the pip line for the CUDA line that a driver supports (`driver` as 12080 for CUDA 12.8)."""
    extra = "cuda13" if driver >= _FIRST_CUDA_13 else "cuda12"
    return f"pip install -e '.[{extra}]'"

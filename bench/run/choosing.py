"""Which backend to use here, and what is missing for a better one."""

from typing import NamedTuple

from bench.devices import open_backend
from bench.devices.base import Backend
from bench.devices.environment import cuda_driver_version, has_cupy


class Choice(NamedTuple):
    """A backend ready to run; `note` says why this one, and what would give a better one."""

    backend: Backend
    note: str | None


def choose(name: str) -> Choice:
    """Return the backend `name`, or for "auto" CUDA if a GPU and CuPy are here, else the CPU.

    Raises BackendUnavailable if a backend asked for by name cannot run here.
    """
    if name != "auto":
        return Choice(open_backend(name), None)
    driver = cuda_driver_version()
    if driver is not None and has_cupy():
        return Choice(open_backend("cuda"), None)
    return Choice(open_backend("cpu"), f"Measuring the CPU through NumPy's BLAS: {_missing(driver)}.")


def _missing(driver: int | None) -> str:
    if driver is None:
        return "no NVIDIA driver answers here. On a machine with an NVIDIA GPU: pip install -e '.[cuda13]'"
    return f"there is an NVIDIA driver but no CuPy. To measure the GPU: {cuda_pip_line(driver)}"


def cuda_pip_line(driver: int) -> str:
    """Return the pip line for the CUDA line that a driver supports (`driver` as 12080 for CUDA 12.8)."""
    return f"pip install -e '.[{'cuda13' if driver >= 13000 else 'cuda12'}]'"

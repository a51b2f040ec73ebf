"""What a machine lacks to measure its GPU: driver, CuPy of the right CUDA line, nvmath; each with its pip line."""

from importlib.util import find_spec
from typing import Final

FIRST_CUDA_13: Final = 13000  # as the driver counts: 1000·major + 10·minor
_FIRST_CUDA_12: Final = 12000
CACHE_ADVICE: Final = "set CUPY_CACHE_DIR (and TMPDIR) to folders that can be written"
_TURING: Final = (7, 5)  # the oldest that CUDA 13 still serves


def cuda_pip_line(driver: int, capability: tuple[int, int] = _TURING) -> str:
    """Return the pip line for the CUDA line that a driver supports (`driver` as 12080 for CUDA 12.8).

    `capability` is the compute capability of the oldest chip that is to be measured.
    """
    extra = "cuda13" if driver >= FIRST_CUDA_13 and capability >= _TURING else "cuda12"
    return f"pip install -e '.[{extra}]'"


def has_cupy() -> bool:
    """Whether a CuPy is installed (it is not imported: that takes a second)."""
    return find_spec("cupy") is not None


def has_nvmath() -> bool:
    """Whether nvmath-python, through which cublasLt is called, is installed."""
    return find_spec("nvmath") is not None


def has_ml_dtypes() -> bool:
    """Whether ml-dtypes, which knows the numbers behind the bits of BF16, FP8 and FP4, is installed."""
    return find_spec("ml_dtypes") is not None


def lacking(driver: int | None) -> str | None:
    """Return what is missing before CuPy is even imported, and what to do; None if nothing is."""
    if driver is None:
        if has_cupy():
            return "no NVIDIA driver answers here; install one, or run this where a GPU is"
        return f"no NVIDIA driver answers here. On a machine with an NVIDIA GPU: {cuda_pip_line(FIRST_CUDA_13)}"
    if driver < _FIRST_CUDA_12:
        return f"the NVIDIA driver runs CUDA {version_text(driver)}, and CuPy needs 12 or newer; update the driver"
    if not has_cupy():
        return f"there is an NVIDIA driver but no CuPy. To measure the GPU: {cuda_pip_line(driver)}"
    return None


def mismatch(runtime: int, driver: int) -> str | None:
    """Return that CuPy's CUDA line is newer than the driver's, and what to do; None if they fit.

    Within a line a driver runs newer toolkits too (CUDA minor version compatibility).
    """
    if runtime // 1000 <= driver // 1000:
        return None
    return (
        f"the CuPy here is of CUDA {runtime // 1000}, and the driver runs CUDA {version_text(driver)}: "
        f"pip uninstall -y cupy-cuda{runtime // 1000}x && {cuda_pip_line(driver)}"
    )


def outdated_chip(runtime: int, capability: tuple[int, int]) -> str | None:
    """Return that CUDA 13 does not serve a chip before Turing, and what to do; None if it does."""
    if runtime < FIRST_CUDA_13 or capability >= _TURING:
        return None
    return (
        f"CUDA 13 does not run on compute capability {capability[0]}.{capability[1]} (Volta and older): "
        f"pip uninstall -y cupy-cuda13x && {cuda_pip_line(_FIRST_CUDA_12, capability)}"
    )


def version_text(number: int) -> str:
    """Return CUDA's version as people write it: 12080 is '12.8'."""
    return f"{number // 1000}.{number % 1000 // 10}"

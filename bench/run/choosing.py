"""Which backend to use here, and what is missing for a better one."""

from typing import Final, NamedTuple

from bench.devices import open_backend
from bench.devices.base import Backend
from bench.errors import BackendUnavailable

_GPU_BACKEND: Final = "cuda"


class Choice(NamedTuple):
    """A backend ready to run; `note` says why it is not a better one, and what would change that."""

    backend: Backend
    note: str | None


def choose(name: str) -> Choice:
    """Return the backend `name`; for "auto" the GPU where one can be measured here, else the CPU.

    Raises BackendUnavailable if a backend asked for by name cannot run here.
    """
    if name != "auto":
        return Choice(open_backend(name), None)
    try:
        return Choice(open_backend(_GPU_BACKEND), None)
    except BackendUnavailable as error:
        return Choice(open_backend("cpu"), f"Measuring the CPU through NumPy's BLAS: {error}")

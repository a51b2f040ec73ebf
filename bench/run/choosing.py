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


def choose(name: str, index: int | None = None) -> Choice:
    """Return the backend `name`; for "auto" the GPU where one can be measured here, else the CPU.

    With the `index` of a GPU, "auto" is that one. Raises BackendUnavailable if a backend asked for by name cannot
    run here, and InvalidRequest if it has no device of this index.
    """
    if index is not None:
        return Choice(open_backend(_GPU_BACKEND if name == "auto" else name, index), None)
    if name != "auto":
        return Choice(open_backend(name), None)
    try:
        return Choice(open_backend(_GPU_BACKEND), None)
    except BackendUnavailable as error:
        return Choice(open_backend("cpu"), f"Measuring the CPU through NumPy's BLAS: {error}")

"""Who does the work and how it is timed. Backends are imported when asked for; adding one is a file and a line.

Each module named here has a function `open_backend() -> Backend` that raises BackendUnavailable, with what to
install, when this machine cannot run it; one with several devices takes the index of one. `replay` is opened on a
record instead, by `bench.run.replaying`.
"""

from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from bench.devices.base import Backend
from bench.errors import BackendUnavailable

BACKENDS: Final = MappingProxyType(
    {"cuda": "bench.devices.cuda", "cpu": "bench.devices.cpu", "replay": "bench.devices.replay"}
)


def open_backend(name: str, index: int | None = None) -> Backend:
    """Return the backend of this name, ready on this machine, on the device of this `index` or else its first.

    Raises BackendUnavailable if it cannot be, InvalidRequest if there is no device of this index.
    """
    if name not in BACKENDS:
        message = f"this version of chipbench has no backend {name!r}, only {', '.join(BACKENDS)}; upgrade it"
        raise BackendUnavailable(message)
    opened = import_module(BACKENDS[name]).open_backend
    return cast("Backend", opened() if index is None else opened(index))

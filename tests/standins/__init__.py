"""C stand-ins for the NVIDIA libraries, and a process of their own in which the real Python bindings load them.

The stand-ins carry the real libraries' sonames: a binding that finds a library of that name already loaded uses
it. So they are loaded in a fresh process only, never in the one that runs the tests.
"""

import ctypes
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

HERE: Final = Path(__file__).resolve().parent
SONAMES: Final = {"cuda": "libcuda.so.1", "cublaslt": "libcublasLt.so.13", "nvml": "libnvidia-ml.so.1"}
_TIMEOUT_S: Final = 60.0

_P = ParamSpec("_P")
_T = TypeVar("_T")


def compiler() -> str | None:
    """Return the machine's C compiler, or None."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> dict[str, Path]:
    """Compile every stand-in into `folder` under its soname."""
    built = {}
    for name, soname in SONAMES.items():
        built[name] = folder / soname
        source = HERE / f"{name}.c"
        command = [str(compiler()), "-shared", "-fPIC", "-O2", "-Wall", "-Werror", f"-Wl,-soname,{soname}"]
        subprocess.run([*command, "-o", str(built[name]), str(source), "-lm"], check=True)
    return built


def _load(paths: Sequence[str]) -> None:
    for path in paths:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


class StandIns:
    """A fresh process with these stand-ins loaded, in which functions of the tests run."""

    def __init__(self, built: dict[str, Path], *names: str) -> None:
        paths = [str(built[name]) for name in names]
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_load, initargs=(paths,))

    def __call__(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a module-level function there; what it returns or raises comes back."""
        return self._pool.submit(function, *args, **kwargs).result(timeout=_TIMEOUT_S)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=True, cancel_futures=True)

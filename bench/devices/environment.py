"""What this machine is and what surrounds a measurement on it: model, versions, variables, NVIDIA driver."""

import ctypes
import os
import platform
import re
import time
from pathlib import Path
from typing import Final, NamedTuple

# Variables that change what is measured. Those that may hold a path are recorded as "set", never in full.
FLAGGED_VARIABLES: Final = (
    "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATE_DOUBLE_PRECISION", "CUBLAS_EMULATION_STRATEGY",
    "CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT", "CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_HEURISTICS_LUT_FILE",
    "CUDA_INJECTION64_PATH", "CUDA_LAUNCH_BLOCKING", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_VISIBLE_DEVICES",
    "CUPY_ACCELERATORS", "CUPY_TF32", "NVIDIA_TF32_OVERRIDE",
    "BLIS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
# Folders that packages install libraries into, whose names tell nothing of a user.
_SYSTEM_FOLDERS: Final = re.compile(
    r"/(usr/)?lib(32|64|x32)?/|/usr/local/(cuda(-[\d.]+)?|nvidia)/|/opt/(cuda(-[\d.]+)?|nvidia)/"
)
_PATHS: Final = ("CUBLASLT_HEURISTICS_LUT_FILE", "CUDA_INJECTION64_PATH", "CUDA_VISIBLE_DEVICES")


def flagged_variables() -> dict[str, str]:
    """Return the variables of `FLAGGED_VARIABLES` that are set; values that may identify are only "set"."""
    return {
        name: "set" if name in _PATHS else os.environ[name] for name in FLAGGED_VARIABLES if name in os.environ
    }


def cpu_model() -> str:
    """Return the processor's marketing name, or its architecture where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine() or "unknown CPU"


def slug(name: str) -> str:
    """Return `name` as a folder name: lower-case letters, digits and single hyphens, at most 60 characters.

    >>> slug("Intel(R) Xeon(R) Platinum 8480+ @ 2.00GHz")
    'intel-xeon-platinum-8480'
    """
    plain = re.sub(r"\((r|tm|c)\)|@.*$|\bcpu\b", " ", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "unknown"


def machine_id() -> str:
    """Return what tells this machine from others of its model. Never stored: only its keyed hash is."""
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return platform.node()


def host_identity() -> str:
    """Return what tells this machine, since its last start, from all others; the same in all its containers.

    Never stored: only its keyed hash is. Where the system does not tell it, the machine's id.
    """
    return _text_of(Path("/proc/sys/kernel/random/boot_id")).strip() or machine_id()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_share(seconds: float = 0.2) -> float | None:
    """Return the share of this machine's processor time that others take, over `seconds` in which we sleep.

    Time stolen by a hypervisor counts as taken; what threads of ours still spin, after a product of theirs, does
    not. None where the system does not say. (The load average would still count our own last run.)
    """
    before, own, start = _processor_ticks(), time.process_time(), time.monotonic()
    time.sleep(seconds)
    after = _processor_ticks()
    if before is None or after is None or after.total <= before.total:
        return None
    own_share = (time.process_time() - own) / (time.monotonic() - start) / (os.cpu_count() or 1)
    return max(0.0, 1 - (after.idle - before.idle) / (after.total - before.total) - own_share)


class _Ticks(NamedTuple):
    idle: int
    total: int


def _processor_ticks() -> _Ticks | None:
    """Return the ticks since boot: user, nice, system, idle, iowait, irq, softirq, steal in /proc/stat."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return None
    ticks = [int(field) for field in fields]
    return _Ticks(idle=ticks[3] + ticks[4], total=sum(ticks)) if len(ticks) >= 5 else None


def bytes_free() -> int | None:
    """Return the memory that can be allocated now without swapping, or None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def last_level_cache_bytes() -> int | None:
    """Return the size of the processor's last level of cache as Linux tells it; None if it does not.

    On a virtual machine that is the host's, of which others may have their share.
    """
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KM])\s*", _text_of(path))
        if found:
            sizes.append(int(found[1]) << (10 if found[2] == "K" else 20))
    return max(sizes, default=None)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def cuda_driver_version() -> int | None:
    """Return the newest CUDA version that the installed NVIDIA driver supports (13000 is 13.0), None without.

    Asks the driver itself, through `cuDriverGetVersion`, so it works with no CUDA package installed.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int(0)
        status = driver.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value if status == 0 and version.value > 0 else None


def loaded_libraries(*names: str) -> dict[str, str]:
    """Return where this process has loaded each library from, by name; one that is not loaded is absent.

    A path is shown from `site-packages` on, or whole where it is the system's; elsewhere only the file's name,
    since a path may name a user.
    """
    try:
        text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for path in sorted({line.split(maxsplit=5)[5] for line in text.splitlines() if line.count("/") > 0}):
        stem = Path(path).name.split(".so")[0]
        if stem in names:  # two copies of one library, loaded at once, are both named
            found[stem] = f"{found[stem]}, {_impersonal(path)}" if stem in found else _impersonal(path)
    return found


def _impersonal(path: str) -> str:
    _, found, inside = path.partition("site-packages/")
    if found:
        return found + inside
    return path if _SYSTEM_FOLDERS.match(path) else Path(path).name

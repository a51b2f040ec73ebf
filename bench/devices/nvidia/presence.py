"""The GPUs of this machine: which chip each is, whether it is fit to measure, and what is installed for it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.devices.base import Caveat
from bench.devices.environment import flagged_variables
from bench.devices.nvidia.fitness import caveats, variables
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.inventory import inventory
from bench.devices.nvidia.requirements import FIRST_CUDA_13, cuda_pip_line, mismatch, outdated_chip
from bench.errors import BackendUnavailable, InvalidRequest
from bench.published.chips import Chip
from bench.published.identify import Identified, identify
from bench.published.template import PrintOut, template

_NEWEST_CUPY: Final = "cupy-cuda13x"
# What a measurement on a GPU needs, and the packages any one of which brings it.
_NEEDED: Final = MappingProxyType(
    {
        "CuPy": (_NEWEST_CUPY, "cupy-cuda12x", "cupy"),
        "nvmath": ("nvmath-python",),
        "ml-dtypes": ("ml-dtypes",),
    }
)
# A cuBLAS may also be the system's own, which is no package.
_PACKAGES: Final = (
    *_NEEDED["CuPy"],
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    *_NEEDED["nvmath"],
    *_NEEDED["ml-dtypes"],
)
_CHOOSING: Final = "CUDA_VISIBLE_DEVICES"
# What is to be known beside a rate, but does not make it another than this board has in daily use.
_MILD: Final = ("ecc_off", "pcie")


class Present(NamedTuple):
    """One GPU, which chip it is and by what evidence, and what is unusual about it now."""

    gpu: Gpu
    identified: Identified
    caveats: tuple[Caveat, ...]

    @property
    def reasons(self) -> tuple[Caveat, ...]:
        """Return what bends its rates now, and so speaks against measuring it."""
        return tuple(caveat for caveat in self.caveats if caveat.code not in _MILD)

    @property
    def fit(self) -> bool:
        """Whether nothing speaks against measuring it."""
        return not self.reasons


class Presence(NamedTuple):
    """Every GPU here and what surrounds them.

    `flagged` are the variables that change results, `installed` the versions of the packages that a measurement
    uses, `missing` the libraries that it lacks, and `pip_line` what installs them. `mismatch` says that what is
    installed is too new for the driver, and what to do.
    """

    inventory: Inventory
    gpus: tuple[Present, ...]
    flagged: Mapping[str, str]
    installed: Mapping[str, str]
    missing: tuple[str, ...]
    pip_line: str
    mismatch: str | None


def survey(chips: Sequence[Chip], *, index: int | None = None) -> Presence:
    """Return the GPUs that are here, or only the one of this `index`, each held against `chips`.

    Raises InvalidRequest if there is no GPU of this index, BackendUnavailable if there is none at all.
    """
    found = inventory()
    flagged = flagged_variables()
    installed = _installed()
    return Presence(
        inventory=found,
        gpus=tuple(_present(gpu, chips, flagged) for gpu in _chosen(found, index)),
        flagged=flagged,
        installed=installed,
        missing=tuple(
            library for library, packages in _NEEDED.items() if not any(name in installed for name in packages)
        ),
        pip_line=cuda_pip_line(found.cuda or FIRST_CUDA_13, _oldest(found.gpus)),
        mismatch=_mismatch(found) if _NEWEST_CUPY in installed else None,
    )


def _oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    """Return the least compute capability here; where none is told, one that everything serves."""
    known = [gpu.compute_capability for gpu in gpus if gpu.compute_capability]
    pairs = [text.split(".") for text in known]
    return min(((int(major), int(minor)) for major, minor in pairs), default=(99, 0))


def _mismatch(found: Inventory) -> str | None:
    """Return that a CuPy of CUDA 13 runs with this driver, or on the oldest GPU here, not at all."""
    if found.cuda is None:
        return None
    return mismatch(FIRST_CUDA_13, found.cuda) or outdated_chip(FIRST_CUDA_13, _oldest(found.gpus))


def template_of(presence: Presence) -> str:
    """Return a chip file to fill in for the one GPU of `presence`; a known chip keeps its id, to be overridden.

    Raises BackendUnavailable if there is no GPU, InvalidRequest if there are several.
    """
    if not presence.gpus:
        raise BackendUnavailable(_none_here(presence.inventory))
    if len(presence.gpus) > 1:
        indices = ", ".join(str(present.gpu.index) for present in presence.gpus)
        message = f"a template is of one GPU, and there are {indices}; choose with --gpu"
        raise InvalidRequest(message)
    (present,) = presence.gpus
    known = present.identified.chip
    return template(
        PrintOut(
            name=present.gpu.name,
            pci_device_id=present.gpu.pci_device_id,
            sm_count=present.gpu.sm_count,
            memory_bytes=present.gpu.memory_bytes,
            compute_capability=present.gpu.compute_capability,
            l2_bytes=present.gpu.l2_bytes,
        ),
        chip_id=known.id if known else None,
    )


def _chosen(found: Inventory, index: int | None) -> tuple[Gpu, ...]:
    if index is None:
        return found.gpus
    chosen = tuple(gpu for gpu in found.gpus if gpu.index == index)
    if not found.gpus:
        raise BackendUnavailable(_none_here(found))
    if not chosen:
        message = f"no GPU {index} here; there are: {', '.join(str(gpu.index) for gpu in found.gpus)}"
        raise InvalidRequest(message)
    return chosen


def _none_here(found: Inventory) -> str:
    answer = "no NVIDIA driver answers" if found.driver is None and found.cuda is None else "the driver lists none"
    return f"no GPU here: {answer}; 'nvidia-smi' must list it first"


def _present(gpu: Gpu, chips: Sequence[Chip], flagged: Mapping[str, str]) -> Present:
    identified = identify(
        chips,
        pci_device_id=gpu.pci_device_id,
        sm_count=gpu.sm_count,
        memory_bytes=gpu.memory_bytes,
        mig=bool(gpu.mig),
    )
    return Present(gpu, identified, (*_hidden(gpu, flagged), *caveats(gpu), *variables(flagged)))


def _hidden(gpu: Gpu, flagged: Mapping[str, str]) -> tuple[Caveat, ...]:
    """Return the caveat of a GPU that CUDA programs cannot see; a sliced one they see as its slices."""
    if gpu.cuda_index is not None or gpu.mig:
        return ()
    return (Caveat(code="hidden", values={"variable": _CHOOSING} if _CHOOSING in flagged else {}),)


def _installed() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

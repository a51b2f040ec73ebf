"""Which chip a device is: by PCI id, streaming multiprocessors and memory together, never by its name.

The name does not tell: one chip's name begins another's, and boards under one name differ fourfold. Nor does
compute capability, which a whole family shares.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.published.chips import Chip

_GIB: Final = 2**30
_LEAST: Final = 0.90
_MOST: Final = 1.02


class Identified(NamedTuple):
    """The chip that a device is, or None, and in one line the `evidence` for that.

    `describable` tells of an unknown chip that a file of its own would make it a known one: the device tells all
    that identifies it, and no chip fits yet.
    """

    chip: Chip | None
    evidence: str
    describable: bool = False


def identify(
    chips: Sequence[Chip],
    *,
    pci_device_id: str | None,
    sm_count: int | None,
    memory_bytes: int | None,
    mig: bool,
) -> Identified:
    """Return the one of `chips` whose PCI id, SM count and memory are all those of a device.

    A value that the device does not tell, or that a chip's file does not give, fits nothing: a guess would hold a
    measurement against another chip's peak.
    """
    if mig:
        return Identified(None, "a MIG slice is not the whole chip")
    if pci_device_id is None:
        return Identified(None, "no PCI id is known")
    complete = sm_count is not None and memory_bytes is not None
    named = sorted((c for c in chips if pci_device_id in c.identity.pci_device_ids), key=lambda chip: chip.id)
    if not named:
        return Identified(None, f"PCI id {pci_device_id} is no chip here", describable=complete)
    contradictions = {chip.id: _contradiction(chip, sm_count, memory_bytes) for chip in named}
    fitting = [chip for chip in named if contradictions[chip.id] is None]
    if not fitting:
        reasons = "; or ".join(f"{chip_id}, but {why}" for chip_id, why in contradictions.items())
        return Identified(None, f"PCI id {pci_device_id} is {reasons}", describable=complete)
    if len(fitting) > 1:
        return Identified(None, f"{_listed([chip.id for chip in fitting])} fit")
    return Identified(fitting[0], f"PCI id {pci_device_id}, {sm_count} SM, {_gigabytes(memory_bytes or 0)}")


def memory_bounds(nominal_gb: float) -> tuple[float, float]:
    """Return the least and the most bytes that a device sold with `nominal_gb` reports.

    Sheets count in GiB whatever they print, and a device reports at most that: 81559 to 81920 MiB of 80 'GB',
    143771 MiB of 141. It keeps up to 1.5 % for itself, and CUDA programs see another 1 to 2 % less. With ECC on,
    GDDR boards lose 1/16: 23034 MiB of 24 'GB' (0.937), of which programs see 0.917. Hence 0.90 as the least. No
    device is known to report more than its sheet says; 2 % above allow for a sheet that was rounded down.
    """
    return _LEAST * nominal_gb * _GIB, _MOST * nominal_gb * _GIB


def _contradiction(chip: Chip, sm_count: int | None, memory_bytes: int | None) -> str | None:
    """Return why a device of this chip's PCI id is not shown to be this chip, or None if it is."""
    identity = chip.identity
    for what, told, published in (
        ("SM count", sm_count, identity.sm_count),
        ("memory", memory_bytes, identity.memory_gb),
    ):
        if told is None:
            return f"the device does not tell its {what}"
        if published is None:
            return f"its file gives no {what}"
    if sm_count != identity.sm_count:
        return f"{sm_count} SM are not its {identity.sm_count}"
    return _memory_contradiction(memory_bytes or 0, identity.memory_gb or 0)


def _memory_contradiction(memory_bytes: int, nominal_gb: float) -> str | None:
    least, most = memory_bounds(nominal_gb)
    if least <= memory_bytes <= most:
        return None
    return f"{_gigabytes(memory_bytes)} are not its {nominal_gb:g} ({least / 1e9:.1f} to {most / 1e9:.1f})"


def _gigabytes(memory_bytes: int) -> str:
    return f"{memory_bytes / 1e9:.1f} GB"


def _listed(ids: Sequence[str]) -> str:
    return f"{', '.join(ids[:-1])} and {ids[-1]}{' both' if len(ids) == 2 else ' all'}"

"""The view of the GPUs of this machine."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.presence import Presence, Present
from bench.devices.nvidia.requirements import version_text
from bench.published.template import suggested_id
from bench.report.view import Column, View
from bench.report.wording import sentence

_HEADS = ("gpu", "name", "chip", "SM", "memory", "compute", "power limit", "ECC", "MIG", "others", "fit")
_RIGHT = ("SM", "memory", "power limit", "others")


def devices_view(presence: Presence) -> View:
    """Return one row a GPU, and below what it was identified by and what speaks against measuring it."""
    found = presence.inventory
    return View(
        title=_title(found, len(presence.gpus)),
        columns=[Column(head, "right" if head in _RIGHT else "left") for head in _HEADS],
        rows=[_row(present) for present in presence.gpus],
        records=[_record(present) for present in presence.gpus],
        document={
            "driver": found.driver,
            "cuda": version_text(found.cuda) if found.cuda else None,
            "gpus": [_document(present) for present in presence.gpus],
            "variables": dict(presence.flagged),
            "installed": dict(presence.installed),
            "missing": list(presence.missing),
            "pip_line": presence.pip_line if presence.missing else None,
            "mismatch": presence.mismatch,
            "notes": list(found.notes),
        },
        notes=list(_notes(presence)),
    )


def _title(found: Inventory, shown: int) -> str:
    gpus = f"{shown or 'No'} GPU{'s' if shown > 1 else ''} here"
    if found.driver is None and found.cuda is None:
        return gpus
    cuda = f"CUDA up to {version_text(found.cuda)}" if found.cuda else "CUDA does not answer"
    return f"{gpus}; driver {found.driver or 'of unknown version'}, {cuda}"


def _row(present: Present) -> list[str]:
    gpu, chip = present.gpu, present.identified.chip
    return [
        str(gpu.index),
        gpu.name,
        chip.id if chip else "unknown",
        _text(gpu.sm_count),
        f"{gpu.memory_bytes / 1e9:.1f} GB" if gpu.memory_bytes else "",
        gpu.compute_capability or "",
        _power(gpu),
        _switch(gpu.ecc),
        _switch(gpu.mig),
        _text(gpu.other_processes),
        "yes" if present.fit else "no",
    ]


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _switch(value: bool | None) -> str:  # noqa: FBT001 - what is shown
    return "" if value is None else "on" if value else "off"


def _power(gpu: Gpu) -> str:
    """Return the power limit, and the default where that is another: '300 of 500 W'."""
    if gpu.power_limit_w is None:
        return ""
    limit, default = f"{gpu.power_limit_w:.0f}", f"{gpu.power_limit_default_w or gpu.power_limit_w:.0f}"
    return f"{limit} W" if limit == default else f"{limit} of {default} W"


def _notes(presence: Presence) -> Iterator[str]:
    for say in (_identified, _counted, _unusual):
        yield from _grouped([(present.gpu, text) for present in presence.gpus for text in say(present)])
    unknown = {suggested_id(p.gpu.name): p.gpu.index for p in presence.gpus[::-1] if p.identified.describable}
    for chip_id, index in unknown.items():
        yield from _describing(chip_id, index, several=len(presence.inventory.gpus) > 1)
    found = presence.inventory
    # Where there is nothing at all, that each library is missing too is no news; JSON has it.
    yield from found.notes[:1] if found.driver is None and found.cuda is None else found.notes
    if presence.installed:
        yield "installed: " + ", ".join(f"{name} {version}" for name, version in presence.installed.items())
    yield from _next(presence)


def _grouped(said: Sequence[tuple[Gpu, str]]) -> Iterator[str]:
    """Yield each text once, after the GPUs that it is said of."""
    texts: dict[str, dict[int, None]] = {}
    for gpu, text in said:
        texts.setdefault(text, {})[gpu.index] = None
    for text, indices in texts.items():
        yield f"gpu {', '.join(map(str, indices))}: {text}"


def _identified(present: Present) -> Iterator[str]:
    chip, evidence, _ = present.identified
    yield f"{chip.id} by {evidence}" if chip else f"unknown: {evidence}"


def _counted(present: Present) -> Iterator[str]:
    index, cuda_index = present.gpu.index, present.gpu.cuda_index
    if cuda_index is not None and cuda_index != index:
        yield f"CUDA programs count it as {cuda_index}"


def _unusual(present: Present) -> Iterator[str]:
    for caveat in present.caveats:
        yield f"{'not fit to measure: ' if caveat in present.reasons else ''}{sentence(caveat)}"


def _describing(chip_id: str, index: int, *, several: bool) -> Iterator[str]:
    """Say how an unknown chip becomes a known one, the commands on lines of their own, to be copied."""
    which = f" --gpu {index}" if several else ""
    yield f"gpu {index}: to make it a known chip, fill in a file for it and add --specs-dir my-specs to a command:"
    yield "mkdir -p my-specs/chips"
    yield f"chipbench devices{which} --template > my-specs/chips/{chip_id}.toml"


def _next(presence: Presence) -> Iterator[str]:
    if not presence.gpus:
        yield "next: chipbench run measures the CPU here"
    if presence.missing:
        purpose = "to measure a GPU" if presence.gpus else "on a machine with an NVIDIA GPU"
        yield f"not installed: {', '.join(presence.missing)}; {purpose}: {presence.pip_line}"
    elif presence.mismatch:
        yield presence.mismatch
    elif any(present.fit for present in presence.gpus):
        seen = {present.gpu.index for present in presence.gpus if present.gpu.cuda_index is not None}
        yield f"next: chipbench run{' --gpu all' if len(seen) > 1 else ''}"


def _record(present: Present) -> dict[str, Any]:
    """Return a GPU in base units; its UUID, which tells this very board apart, is left out."""
    chip, evidence, _ = present.identified
    told = {name: value for name, value in present.gpu._asdict().items() if name != "uuid"}
    return {
        "index": present.gpu.index,
        "name": present.gpu.name,
        "chip": chip.id if chip else None,
        "identified_by": evidence if chip else None,
        "unknown_because": None if chip else evidence,
        "fit": present.fit,
        "caveats": " ".join(caveat.code for caveat in present.caveats),
        **told,
    }


def _document(present: Present) -> dict[str, Any]:
    said = [{"code": c.code, "values": dict(c.values), "text": sentence(c)} for c in present.caveats]
    return {**_record(present), "caveats": said}

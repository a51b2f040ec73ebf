"""A chip file to fill in, for a device that no chip of the catalogue is: what it tells stands in it already."""

import json
import re
from typing import Final, NamedTuple

from bench.errors import one_line
from bench.published.figures import FIGURES, Kind
from bench.published.identify import memory_bounds
from bench.units import UNITS

_HEAD: Final = """\
# A chip file to fill in. Save it as my-specs/chips/{id}.toml (a file is named after its id)
# and add --specs-dir my-specs to any command: this device is then known by the id.
id = {quoted_id}
name = {name}

[designed_for]
value = {market}  # or {others}: as a page of the maker's says
note = "Not looked up yet."

# What tells the chip apart on a machine. All three must be there, and must fit, for a device to be this chip.
[identity]
{identity}
source = "device"

[sources.device]
title = {title}
grade = "device"
seen = "device-reported"

# Every figure below needs a source. Add them like this, and name them in the figures:
# [sources.sheet]
# title = "Datasheet of this chip, revision 1"
# url = "https://example.org/sheet.pdf"
# grade = "vendor"  # or device, paper, analyst, reseller, derived
# seen = "original"

# One line a figure, for example:
# bf16 = {{ value = 100.5, unit = "TFLOPS", dense = true, accumulate = "fp32", source = "sheet" }}
# "unknown": nobody looked yet, or nobody published it. "inapplicable": the chip has no such thing.
[figures]
"""


class PrintOut(NamedTuple):
    """What a device tells of itself; a field is None where it does not."""

    name: str
    pci_device_id: str | None = None
    sm_count: int | None = None
    memory_bytes: int | None = None
    compute_capability: str | None = None
    l2_bytes: int | None = None


def template(device: PrintOut, *, chip_id: str | None = None) -> str:
    """Return the text of a chip file with every dense figure: what `device` tells, the rest as unknown.

    `chip_id` is the id to give it; by default one made of the device's name.
    """
    chip_id = chip_id or suggested_id(device.name)
    markets = ["data-centre", "workstation", "consumer"]
    market = markets.pop(2 if "geforce" in device.name.lower() else 0)
    pci = f", PCI id {device.pci_device_id}" if device.pci_device_id else ""
    head = _HEAD.format(
        id=chip_id,
        quoted_id=_quoted(chip_id),
        name=_quoted(device.name),
        market=_quoted(market),
        others=" or ".join(map(_quoted, markets)),
        identity=_identity(device),
        title=_quoted(f"What the device tells its driver: {device.name}{pci}"),
    )
    told = _told(device)
    dense = {name: kind for name, kind in FIGURES.items() if not name.endswith("_sparse")}
    return head + "".join(told.get(name) or _unknown(name, kind) for name, kind in dense.items())


def suggested_id(name: str) -> str:
    """Return `name` as the id of a chip: 'NVIDIA GeForce RTX 4090' is 'nvidia-geforce-rtx-4090'."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "my-chip"


def _identity(device: PrintOut) -> str:
    """Return the lines of [identity]; one for which the device tells nothing stays a comment to fill in."""
    lines = ["pci_device_ids = []  # four hex digits each; lspci -nn tells them", "# sm_count =", "# memory_gb ="]
    if device.pci_device_id:
        lines[0] = f'pci_device_ids = ["{device.pci_device_id}"]'
    if device.sm_count:
        lines[1] = f"sm_count = {device.sm_count}"
    if device.memory_bytes:
        nominal = _nominal_gb(device.memory_bytes)
        lines[2] = f"memory_gb = {nominal}  # as a sheet says it; the device reports {device.memory_bytes} bytes"
    return "\n".join(lines)


def _nominal_gb(memory_bytes: int) -> str:
    """Return the size that a sheet most likely says: the next whole GB, or the exact one where that is too far."""
    whole = -(-memory_bytes // 2**30)
    least, _ = memory_bounds(whole)
    return str(whole) if least <= memory_bytes else _plain(memory_bytes / 2**30)


def _told(device: PrintOut) -> dict[str, str]:
    """Return the lines of the figures that a device itself tells."""
    lines = {}
    if device.sm_count:
        lines["sm_count"] = f'sm_count = {{ value = {device.sm_count}, unit = "SM", source = "device" }}\n'
    if device.compute_capability:
        value = _quoted(device.compute_capability)
        lines["compute_capability"] = f'compute_capability = {{ value = {value}, source = "device" }}\n'
    if device.l2_bytes:
        megabytes = _plain(device.l2_bytes / 2**20)  # sheets count in MiB and print MB
        lines["l2"] = f'l2 = {{ value = {megabytes}, unit = "MB", source = "device" }}\n'
    return lines


def _unknown(name: str, kind: Kind) -> str:
    """Return a figure's line with nothing known, and in a comment what may stand there."""
    if kind.is_date:
        what = "a date, without quotes"
    elif kind.base is None:
        what = "a text"
    else:
        fitting = [unit for unit, meaning in UNITS.items() if meaning.base == kind.base]
        what = f"{next(u for u in fitting if u.startswith('T'))}, dense" if kind.rate else " or ".join(fitting)
    return f'{name} = {{ status = "unknown" }}  # {what}\n'


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    """Return `text` as a TOML string: JSON's escapes are TOML's too."""
    return json.dumps(one_line(text), ensure_ascii=False)

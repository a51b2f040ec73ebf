"""The chapter of how it was measured: environment, policy and commands, so that another person can repeat it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from bench.analysis.gathered import GatheredDevice, GatheredRun
from bench.measure.policy import sustained_s
from bench.records.record import Header
from bench.report.chapters.base import Chapter, Illustration
from bench.report.chapters.common import headline, illustrated, run_name
from bench.report.columns import KINDS
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.plots.trace_choice import chosen
from bench.report.plots.trace_data import TracePicture, picture_of
from bench.report.view import Column, Section, few
from bench.units import format_si

_SAMPLES: Final = (
    "A sample is the mean time of a block of back-to-back calls. After a warm-up blocks are sampled until the "
    "95 % interval of their median is narrow enough or the time is up; the interval is that of order statistics, "
    "widened for the dependence between neighbouring blocks. Every product is checked against FP64 after timing."
)
_ON_GPU: Final = (
    "On a GPU time is counted between CUDA events, calls rotate over operands that fill the L2 cache three times, "
    "and the clock that was held is counted by the chip itself. Clocks, power limits and modes are never changed."
)
_MOST_TRACED: Final = 3
_MOST_BESIDE: Final = 8  # runs in one table
_MOST_NAMED: Final = 8
_NOTHING: Final = "Nothing was measured for this report."


def chapter(material: Material, references: References) -> Chapter:  # noqa: ARG001 - as all chapters are called
    """Return the surroundings of every run that the report shows."""
    devices = material.measured.devices
    pictures, missing = _traces(devices)
    return Chapter(
        name="method",
        title="How it was measured",
        lead=[*([_SAMPLES, _ON_GPU] if devices else [_NOTHING]), _again(material), *missing],
        pictures=pictures,
        sections=[section for device in devices for section in _of_device(device)],
        document={"runs": [_document(run) for device in devices for run in device.runs]},
    )


def _again(material: Material) -> str:
    chips = " ".join(f"--chip {chip.id}" for chip in material.chips)
    return f"'chipbench report {chips}' of version {material.tool} made this, of the records that are named below."


def _of_device(device: GatheredDevice) -> Iterator[Section]:
    """Yield what surrounded a device's runs, one column a run, and the policy of each; of many runs in parts."""
    for first in range(0, len(device.runs), _MOST_BESIDE):
        runs = device.runs[first : first + _MOST_BESIDE]
        part = f", runs from {first + 1} on" if first else ""
        names = [run_name(run, device) for run in runs]
        heads = [Column("what"), *(Column(name, width=40) for name in names)]
        repeat = [f"{name}: {_command(run.header)}" for name, run in zip(names, runs, strict=True)]
        surroundings = _rows([{**_facts(run), **_flat(run.header)} for run in runs])
        yield Section(f"{device.side.label}: surroundings{part}", heads, surroundings, lead=repeat)
        policies = _rows([_policy(run.header) for run in runs])
        yield Section(f"{device.side.label}: policy, in seconds and shares{part}", heads, policies)


def _rows(columns: Sequence[Mapping[str, str]]) -> list[list[str]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "") for column in columns)] for name in names]


def _command(header: Header) -> str:
    """Return the command that makes a run of this kind; which cells were chosen stands in the record."""
    plan = header.plan
    model = f" --model {plan.model}" if plan.model else ""
    workload = "" if plan.workload == "gemm" else f" --workload {plan.workload}{model}"
    return f"a run of 'chipbench run{workload}', version {header.tool}; its record holds every cell and the policy"


def _facts(run: GatheredRun) -> dict[str, str]:
    """Return what a run was, in words: its records, its device, its cells."""
    header, device = run.header, run.header.device
    cells = header.plan.cells
    formats = dict.fromkeys(cell.dtype_label for cell in cells)
    facts = {
        "records": ", ".join(path.name for path in run.paths),
        "started": header.started,
        "origin": KINDS[header.origin],
        "tool": header.tool,
        "record schema": str(header.schema),
        "backend": header.backend,
        "cells": f"{len(cells)}: {few(list(formats), _MOST_NAMED)}",
        "device": device.name,
        "identified by": device.identified_by or "",
        "multiprocessors": "" if device.sm_count is None else str(device.sm_count),
        "memory": "" if device.memory_bytes is None else format_si(device.memory_bytes, "B", digits=3),
        "L2 cache": "" if device.l2_bytes is None else format_si(device.l2_bytes, "B", digits=3),
    }
    return {name: text for name, text in facts.items() if text}


def _flat(header: Header) -> dict[str, str]:
    """Return versions, settings, variables that steer a library, and conditions at the start."""
    environment = header.environment
    return {
        **environment.versions,
        **environment.settings,
        **{f"${name}": value for name, value in environment.flagged.items()},
        **{f"{name} (at the start)": value for name, value in environment.conditions.items()},
    }


def _policy(header: Header) -> dict[str, str]:
    return {name: str(value) for name, value in msgspec.structs.asdict(header.policy).items()}


def _document(run: GatheredRun) -> dict[str, Any]:
    header = run.header
    content: dict[str, Any] = msgspec.to_builtins(header)
    return {"records": [path.name for path in run.paths], **content}


def _traces(devices: Sequence[GatheredDevice]) -> tuple[list[Illustration], list[str]]:
    """Return a picture of each of the devices that were measured last, and what is missing for one."""
    last = sorted(devices, key=lambda device: device.runs[-1].header.taken)[-_MOST_TRACED:]
    shown = [device for device in devices if device in last]
    found = [_trace(f"trace-{number}", device) for number, device in enumerate(shown, start=1)]
    missing = [line for _, lines in found for line in lines]
    if len(shown) < len(devices):
        missing.append(f"Of {len(devices)} devices the pictures show the {len(shown)} that were measured last.")
    return [one for pictures, _ in found for one in pictures], missing


def _trace(name: str, device: GatheredDevice) -> tuple[list[Illustration], list[str]]:
    """Return the product that the answer speaks of, block by block, or a sustained load, which shows more."""
    best = headline(device.side)
    wanted = {best[0]} if best else {*device.taken}
    found = [
        (one, run.header)
        for index, run in enumerate(device.runs)
        for lines in run.processes
        for one in lines.measurements
        if device.taken[one.cell] == index and (one.cell in wanted or sustained_s(one.cell.regime) is not None)
    ]

    def make() -> TracePicture:
        longest = chosen([one for one, _ in found], dtype=None, label=None)
        header = next(header for one, header in found if one is longest)
        return picture_of(header, longest, device.side.chip)

    return illustrated("trace", make, name)

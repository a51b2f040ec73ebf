"""A run from what was asked for to its outcomes: choose the backend, resolve the plan, measure."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.devices.base import Backend, Device
from bench.published.chips import Chip
from bench.published.identify import identify
from bench.records.record import Header, read_lines
from bench.records.store import lock_notes
from bench.run.choosing import choose
from bench.run.planning import Wish, resolve
from bench.run.processes import run_processes
from bench.run.replaying import replay_backend
from bench.run.session import OnEvent, Outcome, Surroundings, longest_s, make_header, run_plan
from bench.workloads.base import Load, Plan


class Request(NamedTuple):
    """What to measure and where to keep it; `chips` are those that a GPU may turn out to be.

    With `source`, a record, its samples are replayed under its own plan and policy. With `results` None nothing
    is kept. `index` chooses one GPU of this machine. `together`: other devices of it are busy meanwhile.
    """

    tool: str
    backend: str = "auto"
    source: Path | None = None
    wish: Wish = Wish()
    chips: Sequence[Chip] = ()
    processes: int = 1
    results: Path | None = None
    identify: bool = False
    index: int | None = None  # type: ignore[assignment] # what a tuple's own `index` does is of no use here
    together: bool = False


class Prepared(NamedTuple):
    """A run that is ready, nothing written yet: `notes` say why this backend was chosen and what was left out."""

    backend: Backend
    header: Header
    notes: tuple[str, ...]

    def longest_s(self, processes: int) -> float:
        """Return the most device seconds that it takes in this many processes, warm-up included."""
        return processes * longest_s(self.header.plan.cells, self.header.policy)


def prepare(request: Request) -> Prepared:
    """Return the run that `request` asks for. Raises InvalidRequest, BackendUnavailable or RecordError."""
    notes: tuple[str, ...] = ()
    if request.source is not None:
        lines = read_lines(request.source, most=None)
        backend: Backend = replay_backend(lines)
        cells = tuple(m.cell for m in lines.measurements if m.samples.seconds_per_call)
        around = Surroundings(backend.environment(), ())
        plan, policy = msgspec.structs.replace(lines.header.plan, cells=cells), lines.header.policy
    else:
        backend, note = choose(request.backend, request.index)
        # Before anything is tried out on the device: what is said of it is said of a device at rest.
        around = Surroundings(backend.environment(), tuple(backend.caveats()))
        plan, policy, left_out = resolve(backend, request.wish)
        plan = loaded(plan, "together") if request.together else plan
        notes = (*([note] if note else []), *left_out)
    header = make_header(
        backend, plan, policy, tool=request.tool, results=request.results, identify=request.identify, around=around
    )
    header = msgspec.structs.replace(header, device=as_chip(header.device, request.chips))
    if request.source is not None:
        source = lines.header
        header = msgspec.structs.replace(header, replay_of=source.id, replayed_from=source.taken)
    return Prepared(backend, header, (*notes, *lock_notes(request.results)))


def loaded(plan: Plan, load: Load) -> Plan:
    """Return the plan for a machine whose other devices are idle, or busy."""
    cells = tuple(msgspec.structs.replace(cell, load=load) for cell in plan.cells)
    return msgspec.structs.replace(plan, cells=cells)


def as_chip(device: Device, chips: Sequence[Chip]) -> Device:
    """Return the device, named after the one of `chips` that it is; a CPU, or one that has a chip, as it was."""
    if device.kind != "gpu" or device.chip is not None or not chips:
        return device
    found = identify(
        chips,
        pci_device_id=device.pci_device_id,
        sm_count=device.sm_count,
        memory_bytes=device.memory_bytes,
        mig=device.mig,
    )
    device = msgspec.structs.replace(device, identified_by=found.evidence)
    if found.chip is None:
        return device
    return msgspec.structs.replace(device, chip=found.chip.id, folder=found.chip.id)


def execute(prepared: Prepared, request: Request, on_event: OnEvent) -> list[Outcome]:
    """Measure, in this process or in several fresh ones, and return what each did."""
    if request.processes > 1 and request.results is not None:
        return run_processes(prepared.header, request.processes, results=request.results, on_event=on_event)
    return [run_plan(prepared.backend, prepared.header, results=request.results, on_event=on_event)]

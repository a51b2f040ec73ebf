"""A run from what was asked for to its outcomes: choose the backend, resolve the plan, measure."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.devices.base import Backend
from bench.records.record import Header, read_lines
from bench.run.choosing import choose
from bench.run.planning import resolve
from bench.run.processes import run_processes
from bench.run.replaying import replay_backend
from bench.run.session import OnEvent, Outcome, make_header, run_plan
from bench.workloads.base import Plan, Shape


class Request(NamedTuple):
    """What to measure and where to keep it. Empty `dtypes` or `shapes` mean the backend's defaults.

    With `source`, a record, its samples are replayed under its own plan and policy. With `results` None nothing
    is kept.
    """

    tool: str
    backend: str = "auto"
    source: Path | None = None
    dtypes: Sequence[str] = ()
    shapes: Sequence[Shape] = ()
    quick: bool = False
    processes: int = 1
    results: Path | None = None
    identify: bool = False


class Prepared(NamedTuple):
    """A run that is ready: `note` says why this backend was chosen. Nothing has been written yet."""

    backend: Backend
    header: Header
    note: str | None

    def longest_s(self, processes: int) -> float:
        """Return the most device seconds that it takes in this many processes, warm-up included."""
        cells = len(self.header.plan.cells)
        return processes * sum(self.header.policy.longest_s(cold=index == 0) for index in range(cells))


def prepare(request: Request) -> Prepared:
    """Return the run that `request` asks for. Raises InvalidRequest, BackendUnavailable or RecordError."""
    note = None
    if request.source is not None:
        lines = read_lines(request.source)
        backend: Backend = replay_backend(lines)
        cells = tuple(m.cell for m in lines.measurements if m.samples.seconds_per_call)
        plan, policy = Plan(workload=lines.header.plan.workload, cells=cells), lines.header.policy
    else:
        backend, note = choose(request.backend)
        plan, policy = resolve(backend, request.dtypes, request.shapes, quick=request.quick)
    header = make_header(
        backend, plan, policy, tool=request.tool, results=request.results, identify=request.identify
    )
    if request.source is not None:
        header = msgspec.structs.replace(header, replay_of=lines.header.id)
    return Prepared(backend, header, note)


def execute(prepared: Prepared, request: Request, on_event: OnEvent) -> list[Outcome]:
    """Measure, in this process or in several fresh ones, and return what each did."""
    if request.processes > 1 and request.results is not None:
        return run_processes(prepared.header, request.processes, results=request.results, on_event=on_event)
    return [run_plan(prepared.backend, prepared.header, results=request.results, on_event=on_event)]

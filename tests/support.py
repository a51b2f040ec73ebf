"""What several tests share: cells, scripted devices without a clock, and small valid records."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from bench.devices.base import Block, Check, Device, Environment, Origin
from bench.devices.replay import Call, ReplayBackend, ReplayTask, Script
from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.measure.policy import Policy
from bench.records.record import SCHEMA, Footer, Header
from bench.records.store import RecordWriter
from bench.run.session import Event, Outcome
from bench.workloads import gemm
from bench.workloads.base import Cell, Data, Plan, Shape

PASSED = Check(passed=True, tolerance=1e-5, rows=64, rows_error=2e-7, product_error=3e-7)
FAILED = Check(passed=False, tolerance=1e-5, rows=64, rows_error=0.5, product_error=None)
DEVICE = Device(kind="cpu", name="A simulated device", folder="cpu-simulated")
ENVIRONMENT = Environment(
    versions={"numpy": "2.0", "blas": "simulated 1.0"},
    settings={"blas_threads": "2"},
    flagged={},
    conditions={"load_1m": "0.10"},
)
# Some milliseconds of real work for a cell, where a test is about something else than how long to measure.
TINY = Policy(
    block_s=0.001,
    cap_s=0.004,
    warm_up_least_s=0.001,
    warm_up_most_s=0.002,
    cold_warm_up_most_s=0.002,
    search_block_s=0.0001,
)
STEADY = (1e-3,) * 40  # seconds per call, enough for any warm-up and six samples after it


def cell(size: int | Shape = 64, dtype: str = "fp32", *, data: Data = "normal") -> Cell:
    """Return the cell of one product on the CPU, square unless a shape is given."""
    shape = size if isinstance(size, Shape) else gemm.square(size)
    (made,) = gemm.cells([dtype], [shape], library="numpy.matmul", l2="hot", data=data)
    return made


CELLS = (cell(64), cell(64, "fp64"), cell(96))


def script(
    seconds: Iterable[float] = STEADY,
    *,
    clocks: Sequence[float | None] = (),
    cold: bool = False,
    check: Check = PASSED,
) -> Script:
    """Return a script of blocks with these means, and the clocks of the first ones."""
    values = list(seconds)
    padded = [*clocks, *[None] * (len(values) - len(clocks))]
    calls = [Call(value, sm_clock_hz=clock) for value, clock in zip(values, padded, strict=True)]
    return Script(calls, cold=cold, check=check)


class SpiedTask(ReplayTask):
    """A replay that remembers the blocks that it was asked for."""

    def __init__(self, given: Script) -> None:
        super().__init__(given)
        self.blocks: list[Block] = []

    def block(self, calls: int) -> Block | None:
        made = super().block(calls)
        if made is not None:
            self.blocks.append(made)
        return made


class SimulatedBackend(ReplayBackend):
    """A device of scripts, for which a test may set what happens when a cell is prepared."""

    def __init__(
        self,
        scripts: Mapping[Cell, Script],
        *,
        origin: Literal["replayed", "simulated"] = "simulated",
        environment: Environment = ENVIRONMENT,
    ) -> None:
        super().__init__(scripts, device=DEVICE, environment=environment, origin=origin)
        self.on_prepare: Callable[[Cell], None] = lambda _cell: None
        self.prepared: list[Cell] = []

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> ReplayTask:
        self.prepared.append(cell)
        self.on_prepare(cell)
        return super().prepare(cell, seed, probe=probe)


class MeasuringBackend(SimulatedBackend):
    """A simulated device whose records pass for measured ones, so that they can be resumed and be the latest."""

    name = "cpu"

    def __init__(self, scripts: Mapping[Cell, Script], environment: Environment = ENVIRONMENT) -> None:
        super().__init__(scripts, environment=environment)
        self.origin: Origin = "measured"


def header(
    cells: Sequence[Cell] = CELLS,
    *,
    origin: Origin = "measured",
    started: str = "2026-01-02T03:04:05Z",
    ident: str = "0a1b2c3d",
    policy: Policy | None = None,
) -> Header:
    """Return the header of a record of these cells."""
    return Header(
        schema=SCHEMA,
        id=ident,
        tool="0.1.0",
        origin=origin,
        started=started,
        backend="cpu",
        device=msgspec.structs.replace(DEVICE, key="00112233aabbccdd"),
        environment=ENVIRONMENT,
        policy=policy or Policy(),
        plan=Plan(workload="gemm", cells=tuple(cells)),
    )


def measurement(
    of: Cell,
    seconds: Sequence[float] = (1.0e-3, 1.1e-3, 0.9e-3, 1.0e-3, 1.2e-3, 1.0e-3),
    *,
    check: Check | None = PASSED,
) -> Measurement:
    """Return a measurement with these samples after a warm-up of two blocks."""
    return Measurement(
        cell=of,
        stop="precision",
        samples=Samples(seconds_per_call=tuple(seconds)),
        calls_per_block=100,
        warm_up=WarmUp(cold=False, flat=True, calls=(1, 10), seconds_per_call=(2e-3, 1e-3)),
        check=check,
    )


def write_record(
    results: Path, head: Header, measurements: Sequence[Measurement] | None = None, *, complete: bool = True
) -> Path:
    """Write a record, by default of every planned cell and with its footer, and return its path."""
    if measurements is None:
        measurements = [measurement(of) for of in head.plan.cells]
    with RecordWriter.create(results, head) as writer:
        for one in measurements:
            writer.append(one)
        if complete:
            writer.append(Footer(ended="2026-01-02T03:05:05Z", measurements=len(measurements), seconds=60.0))
    return writer.path


def raising(at: Cell, error: BaseException) -> Callable[[Cell], None]:
    """Return what a simulated device does if preparing one of its cells fails."""

    def check(one: Cell) -> None:
        if one == at:
            raise error

    return check


def silent(_event: Event) -> None:
    """Watch nothing."""


def saved(outcome: Outcome) -> Path:
    """Return where an outcome was saved."""
    assert outcome.path is not None
    return outcome.path


def fill_disk_after(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `os.write` store `room` more bytes, as a disk does that is about to be full."""
    write, left = os.write, [room]

    def limited(descriptor: int, data: bytes) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", limited)

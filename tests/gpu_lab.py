"""A machine with one simulated H100 behind the command line, on which a test may let cells go wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.devices import cuda, environment
from bench.devices.base import Task
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import task as task_module
from bench.devices.nvidia import timed
from bench.devices.nvidia.gpu import Inventory
from bench.devices.nvidia.multiply import CUPY, Operands
from bench.measure.measurement import Measurement
from bench.records.record import Lines, read_lines
from bench.workloads.base import Cell
from tests.simulated_gpu import SimulatedGpu, SimulatedLibrary, multiplied
from tests.support import TINY
from tests.test_cuda_backend import H100

SMALL = ("--shape", "48x32x64")
# Seconds a call, by library and format; cublasLt, at 1 ms, is faster but for fp32.
SECONDS: dict[tuple[str | None, str], float] = {(CUPY, "fp32"): 0.9e-3, (CUPY, "bf16"): 1.2e-3}


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The table's rows, split into their columns."""
        lines = self.out.splitlines()[4:]
        return [line.split() for line in lines[: lines.index("")]]


class Lab:
    """A machine with one simulated H100, on which a test may let cells go wrong."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
        self.gpu = SimulatedGpu({"l2CacheSize": 4096})
        self.results = results
        self.on_prepare: Callable[[Cell], None] = lambda _cell: None
        self.multiply: Callable[[Cell, Operands], None] = multiplied
        self.enqueue_s = 5e-6
        self.policy = TINY
        monkeypatch.setattr(cuda, "inventory", lambda: Inventory("580.65.06", 13000, (H100,)))
        monkeypatch.setattr(cuda, "has_nvmath", lambda: True)
        monkeypatch.setattr(CudaBackend, "_binding_fails", None)
        monkeypatch.setattr(cuda, "_versions", lambda _runtime, found, **_more: {"driver": str(found.driver)})
        monkeypatch.setattr(cuda, "open_backend", self.backend)
        monkeypatch.setattr(cuda, "OwnProcessTask", self._in_this_process)
        monkeypatch.setattr(task_module, "multiplier", self._library)
        monkeypatch.setattr(timed, "sleep", lambda _seconds: None)
        monkeypatch.setattr("bench.run.planning.fitted", lambda *_args, **_more: self.policy)
        for name in environment.FLAGGED_VARIABLES:
            monkeypatch.delenv(name, raising=False)

    def backend(self, _index: int | None = None) -> CudaBackend:
        return CudaBackend(self.gpu, None, other_processes=0)

    def _in_this_process(self, _name: str, cell: Cell, seed: int, _variables: object, **_more: object) -> Task:
        return task_module.CudaTask(self.gpu, cell, seed, sets=2, cold=False, watcher=None)

    def _library(self, gpu: SimulatedGpu, cell: Cell) -> SimulatedLibrary:
        self.on_prepare(cell)
        seconds = SECONDS.get((cell.library, cell.dtype_name), 1e-3) * (0.9 if cell.data == "zeros" else 1.0)
        return SimulatedLibrary(
            gpu,
            cell,
            seconds=[seconds],
            enqueue_s=self.enqueue_s,
            capturable=cell.library != CUPY,
            multiply=self.multiply,
        )

    def run(self, *arguments: str) -> Answer:
        done = CliRunner().invoke(main, ["run", "--results-dir", str(self.results), *arguments])
        return Answer(done.exit_code, done.stdout, done.stderr)

    def lines(self) -> Lines:
        *_, path = sorted(self.results.rglob("*.jsonl"))
        return read_lines(path)

    def measured(self, label: str) -> Measurement:
        (found,) = (one for one in self.lines().measurements if one.cell.label.startswith(label))
        return found

"""Writes tests/data/simulated-h100.jsonl: what a run on a GPU leaves behind, from a simulated chip and clock.

Run `python -m tests.make_simulated` after a change of what a record holds. Nothing in it was measured: its rates
are made up, and every table of it says "Simulated". It is what the table, the notes and the formats of GPU results
are tested with where no GPU is.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.devices.base import Block, Caveat, Check, Device, Environment, OperandData, PlainTask, Spread, Telemetry
from bench.devices.check import tolerance_of
from bench.measure.loop import measure
from bench.measure.measurement import Measurement
from bench.measure.policy import fitted
from bench.records.record import SCHEMA, Footer, Header, Line, encode_line
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Plan

PATH: Final = Path(__file__).resolve().parent / "data" / "simulated-h100.jsonl"
CUBLASLT, CUPY = "cublaslt", "cupy.matmul"
# Made-up rates per second of a call, and the clock that the power limit leaves.
RATES: Final = {
    ("fp64", CUBLASLT): (55.2e12, 1.755e9), ("fp64", CUPY): (54.9e12, 1.755e9),
    ("fp32", CUBLASLT): (51.3e12, 1.980e9), ("fp32", CUPY): (51.4e12, 1.980e9),
    ("tf32", CUBLASLT): (389e12, 1.605e9), ("tf32", CUPY): (371e12, 1.620e9),
    ("fp16", CUBLASLT): (694e12, 1.410e9), ("fp16", CUPY): (671e12, 1.425e9),
    ("fp16_acc16", CUBLASLT): (702e12, 1.425e9),
    ("bf16", CUBLASLT): (713e12, 1.455e9), ("bf16", CUPY): (688e12, 1.470e9),
    ("fp8", CUBLASLT): (1214e12, 1.500e9), ("fp8 fast", CUBLASLT): (1335e12, 1.395e9),
    ("int8", CUBLASLT): (1306e12, 1.365e9),
}  # fmt: skip


class SimulatedTask(PlainTask):
    """A cell whose calls take the time of a made-up rate, a little noisy, a little slower while it warms up."""

    def __init__(self, cell: Cell, *, cold: bool) -> None:
        assert cell.shape is not None
        self.cold = cold
        self.data: Mapping[str, OperandData] = {
            name: OperandData(mean=0.0, sd=1.0, zero_share=0.0) for name in "ab"
        }
        rate, self._clock = RATES[cell.dtype_label, str(cell.library)]
        self._cell, self._seconds, self._now = cell, cell.flop / rate, 0.0
        self._random = random.Random(cell.key)
        described: list[Mapping[str, str | int]] = [
            {"algo": 66, "tile": f"128x{width}", "split_k": 1} for width in (128, 192, 256)
        ]
        self.candidates: Sequence[Mapping[str, str | int]] = described if cell.library == CUBLASLT else [{}]
        self._used = 0

    @property
    def algorithm(self) -> Mapping[str, str | int]:  # type: ignore[override] # a constant in PlainTask
        return {**self.candidates[self._used], "sets": 2, "timed": "calls"}

    def use(self, candidate: int) -> None:
        self._used = candidate

    def block(self, calls: int) -> Block:
        # Of several algorithms the last is the one with the rate; a cold chip clocks up to 3 % higher at first.
        behind = 1 + 0.02 * (len(self.candidates) - 1 - self._used)
        boost = 1 + 0.03 * max(0.0, 1 - self._now / 0.6)
        clock = self._clock * boost * self._random.gauss(1, 0.0005)
        seconds = self._seconds * behind / boost * self._random.gauss(1, 0.001)
        self._now += calls * seconds
        return Block(
            calls=calls,
            seconds_per_call=seconds,
            cycles_per_call=seconds * clock,
            sm_clock_hz=clock,
            power_w=698.0,
            temperature_c=58.0,
        )

    def observed(self) -> Telemetry:
        limited = 1.0 if self._clock < 1.7e9 else 0.0
        return Telemetry(
            readings=26,
            seconds=1.31,
            sm_clock_hz=Spread(least=self._clock - 15e6, median=self._clock, most=self._clock + 15e6),
            power_w=Spread(least=505.0, median=698.0 if limited else 512.0, most=701.0),
            temperature_c=Spread(least=52.0, median=56.0, most=58.0),
            event_reasons={"sw_power_cap": limited} if limited else {},
        )

    def caveats(self) -> Sequence[Caveat]:
        return ()

    def verify(self) -> Check:
        tolerance = tolerance_of(self._cell)
        return Check(
            passed=True, tolerance=tolerance, rows=64, rows_error=tolerance / 7, product_error=tolerance / 6
        )

    def close(self) -> None:
        pass


def cells() -> list[Cell]:
    """Return what a plain run on this chip measures."""
    return [
        cell
        for dtype in DTYPES
        for library in (CUBLASLT, CUPY)
        if (dtype, library) in RATES
        for cell in gemm.cells([dtype], [gemm.square(8192)], library=library, l2="rotate")
    ]


def header(planned: Sequence[Cell]) -> Header:
    """Return the header of a record of a simulated H100."""
    device = Device(
        kind="gpu",
        name="NVIDIA H100 80GB HBM3",
        folder="h100-sxm5-80gb",
        chip="h100-sxm5-80gb",
        key="0011223344556677",
        pci_device_id="2330",
        sm_count=132,
        memory_bytes=85_520_809_984,
        compute_capability="9.0",
        l2_bytes=52_428_800,
        identified_by="PCI id 2330, 132 SM, 85.5 GB",
    )
    versions = {
        "driver": "580.65.06",
        "driver_cuda": "13.0",
        "cuda": "13.0",
        "cupy": "14.2.0",
        "cublaslt": "13.1.0",
    }
    environment = Environment(
        versions=versions,
        settings={"power_limit_w": "700.0", "ecc": "true", "mig": "false"},
        flagged={},
        conditions={"temperature_c": "41.0", "other_processes": "0"},
    )
    return Header(
        schema=SCHEMA,
        id="51301a7e",
        tool="0.4.0",
        origin="simulated",
        started="2026-01-02T03:04:05Z",
        backend="cuda",
        device=device,
        environment=environment,
        policy=fitted(len(planned), 60.0, overhead_s=0.8),
        plan=Plan(workload="gemm", cells=tuple(planned)),
    )


def record() -> bytes:
    """Return the record's lines; the same at every call."""
    planned = cells()
    head = header(planned)
    measured: list[Measurement] = [
        measure(SimulatedTask(cell, cold=index == 0), cell, head.policy) for index, cell in enumerate(planned)
    ]
    footer = Footer(ended="2026-01-02T03:05:02Z", measurements=len(measured), seconds=57.0)
    lines: list[Line] = [head, *measured, footer]
    return b"".join(encode_line(line) for line in lines)


if __name__ == "__main__":
    PATH.write_bytes(record())

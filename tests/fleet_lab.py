"""A cluster of made-up GPUs for the fleet report: their records, written without a device and without a clock."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.devices.base import Caveat, Device, Environment, Origin, Spread, Telemetry
from bench.measure.measurement import Measurement, Samples
from bench.measure.policy import Policy
from bench.records.record import SCHEMA, Footer, Header, Process, encode_line
from bench.workloads import gemm, stream
from bench.workloads.base import Cell, Plan
from tests.support import FAILED, PASSED

(BF16,) = gemm.cells(["bf16"], [gemm.square(8192)], library="cublaslt", l2="rotate")
(FP64,) = gemm.cells(["fp64"], [gemm.square(8192)], library="cublaslt", l2="rotate")
(COPY,) = stream.cells(["copy"], 1 << 28, library="cupy")
CELLS: Final = (BF16, FP64, COPY)
RATES: Final = {BF16: 700e12, FP64: 55e12, COPY: 2.9e12}  # others: 400e9
CLOCK: Final = 1.5e9
NOISE: Final = (1, 1.0011, 0.9992, 1.0003, 0.9989, 1.0008, 1, 0.9996)  # of one process's blocks
SPREAD: Final = 0.004  # between devices, relative
VERSIONS: Final = {"driver": "580.65.06", "cuda": "13.0", "cublas": "13.1.0", "cublaslt": "13.1.0"}
SETTINGS: Final = {"power_limit_w": "700.0", "ecc": "true", "mig": "false"}


def write_gpu(
    folder: Path,
    name: str,
    *,
    cells: Sequence[Cell] = CELLS,
    slow: Mapping[Cell, float] | float = 1.0,
    clock: float = 1.0,
    noise: Sequence[float] = NOISE,
    failed: Sequence[Cell] = (),
    watts: float | None = 690.0,
    celsius: float | None = 61.0,
    reasons: Mapping[str, float] | None = {},
    memory_clock: float | None = None,
    algorithm: Mapping[str, str | int] = {},
    settings: Mapping[str, str] = {},
    versions: Mapping[str, str] = {},
    warnings: Sequence[Caveat] = (),
    codes: Sequence[str] = (),
    run: str = "",
    processes: int = 1,
    complete: bool = True,
    origin: Origin = "simulated",
    device: Mapping[str, Any] = {},
    header: Mapping[str, Any] = {},
) -> list[Path]:
    """Write the records of one GPU, called like 'a3': number 3 of host a; one a process.

    Its calls take `slow` times as long as usual, and its clock is `clock` times the usual one. `run` tells apart,
    and orders, runs of one GPU. `reasons`, `watts` and `celsius` are None of a GPU that does not tell them.
    """
    host, number = name[0], int(name[1:])
    own = random.Random(f"{name} of the fleet")
    made = []
    for process in range(processes):
        steps = {
            cell: own.gauss(1, SPREAD) * random.Random(f"{run}{process}{name}").gauss(1, 1e-3) for cell in cells
        }
        head = Header(
            schema=SCHEMA,
            id=f"{host}{number:05x}{run or 'r'}{process}",
            tool="0.7.0",
            origin=origin,
            started=f"2026-01-02T03:0{process}:05Z" if not run else f"2026-02-0{run}T03:0{process}:05Z",
            backend="cuda",
            device=msgspec.structs.replace(_device(host, number), **device),
            environment=Environment(
                versions={**VERSIONS, **versions},
                settings={**SETTINGS, **settings},
                flagged={},
                conditions={"pcie_width": "16"},
            ),
            policy=Policy(),
            plan=Plan(workload="gemm", cells=tuple(cells)),
            warnings=tuple(warnings),
            process=Process(index=process, of=processes, group=f"{name}{run}") if processes > 1 else None,
        )
        head = msgspec.structs.replace(head, **header)
        lines: list[Measurement] = []
        for cell in cells:
            times = (slow if isinstance(slow, float) else slow.get(cell, 1.0)) * steps[cell]
            seconds = tuple(cell.work / RATES.get(cell, 400e9) * times * value for value in noise)
            lines.append(
                Measurement(
                    cell=cell,
                    stop="precision",
                    samples=Samples(
                        seconds_per_call=seconds,
                        cycles_per_call=tuple(value * CLOCK * clock for value in seconds),
                        sm_clock_hz=(CLOCK * clock,) * len(seconds),
                    ),
                    calls_per_block=100,
                    check=FAILED if cell in failed else PASSED,
                    algorithm={**algorithm},
                    telemetry=Telemetry(
                        readings=30,
                        seconds=1.5,
                        power_w=_around(watts, 5, 5),
                        temperature_c=_around(celsius, 3, 1),
                        memory_clock_hz=_around(memory_clock, 0, 0),
                        event_reasons=None if reasons is None else {**reasons},
                    ),
                    warnings=tuple(Caveat(code=code, values={"enqueue_s": 1.0, "call_s": 1.0}) for code in codes),
                )
            )
        path = folder / f"{head.started.replace(':', '')}-{head.id}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        last = [encode_line(Footer(ended=head.started, measurements=len(cells), seconds=9.0))] if complete else []
        path.write_bytes(b"".join([encode_line(head), *map(encode_line, lines), *last]))
        made.append(path)
    return made


def _around(value: float | None, below: float, above: float) -> Spread | None:
    return None if value is None else Spread(least=value - below, median=value, most=value + above)


def _device(host: str, number: int) -> Device:
    return Device(
        kind="gpu",
        name="NVIDIA H100 80GB HBM3",
        folder="h100-sxm5-80gb",
        chip="h100-sxm5-80gb",
        key=f"{ord(host):02x}{number:02x}" + 3 * "5a3c",
        index=number,
        host_key=f"{host}0" * 8,
    )


def node(host: str, count: int = 8) -> list[str]:
    """Return the names of all GPUs of a host."""
    return [f"{host}{number}" for number in range(count)]


def write_nodes(
    folder: Path,
    hosts: str,
    count: int = 8,
    *,
    but: Mapping[str, Mapping[str, Any]] = {},
    **all_of: Any,  # noqa: ANN401
) -> Path:
    """Write the records of every GPU of some hosts, each named by a letter; `but` says what is unlike in which."""
    for name in (name for host in hosts for name in node(host, count)):
        write_gpu(folder, name, **{**all_of, **but.get(name, {})})
    return folder


# What ails three GPUs of two hosts: heat, a power limit that somebody lowered, and nothing that a record tells.
AILING: Final[Mapping[str, Mapping[str, Any]]] = {
    "a3": {
        "slow": {BF16: 1.25, FP64: 1.25},
        "clock": 0.8,
        "celsius": 88.0,
        "watts": 540.0,
        "reasons": {"sw_thermal_slowdown": 0.97},
    },
    "b1": {
        "slow": {BF16: 1.19, FP64: 1.16},
        "clock": 0.85,
        "watts": 500.0,
        "reasons": {"sw_power_cap": 1.0},
        "settings": {"power_limit_w": "500.0"},
        "warnings": [Caveat(code="power_limit", values={"watts": 500.0, "default": 700.0})],
    },
    "b6": {"slow": 1.09},
}

"""What `compare --fleet` takes, in time and memory: 10,000 GPUs with 9 cells of 50 samples each.

`pytest -n 0 tests/benchmarks/test_fleet_scale.py` needs 700 MB of disk below pytest's temporary folder.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.devices.base import OperandData, Spread, Telemetry
from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.measure.search import Search
from bench.records.record import Footer, encode_line
from bench.workloads import gemm, stream
from bench.workloads.base import Cell
from tests.make_simulated import header
from tests.support import PASSED

GPUS, PER_HOST, SAMPLES, VARIANTS = 10_000, 8, 50, 64
THROTTLED: Final = 25  # GPUs, one in four hundred
CHIPBENCH: Final = str(Path(sys.executable).with_name("chipbench"))
MOST_S: Final = 20.0
MOST_BYTES: Final = 1e9
CLOCK_HZ: Final = 1.5e9
SPREAD: Final = 0.006  # between GPUs, relative
# Adds up, every 20 ms, what the command and all processes below it have in memory.
STARTER: Final = """
import json, os, subprocess, sys, time
PAGE = os.sysconf("SC_PAGE_SIZE")
def tree(pid):
    try:
        below = open(f"/proc/{pid}/task/{pid}/children").read().split()
        own = int(open(f"/proc/{pid}/statm").read().split()[1]) * PAGE
    except OSError:
        return 0
    return own + sum(map(tree, below))
started = time.perf_counter()
running = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"))
most = 0
while running.poll() is None:
    most = max(most, tree(running.pid))
    time.sleep(0.02)
print(json.dumps([time.perf_counter() - started, most, running.returncode]))
"""


class Run(NamedTuple):
    """One `compare --fleet`: wall seconds, the most memory of all of its processes together, what it printed."""

    seconds: float
    bytes: float
    out: str


def cells() -> list[Cell]:
    """Return seven products and two copies."""
    dtypes = ["fp64", "fp32", "tf32", "fp16", "bf16", "fp8"]
    products = gemm.cells(dtypes, [gemm.square(8192)], library="cublaslt", l2="rotate")
    return [*products, *stream.cells(["copy", "triad"], 1 << 28, library="cupy")]


def line(cell: Cell, rng: random.Random, *, throttled: bool) -> bytes:
    """Return a measurement with all that a GPU's have, of a GPU of its own."""
    clock = CLOCK_HZ * (0.85 if throttled else 1.0)
    usual = cell.work / (3e12 if cell.is_transfer else 700e12) * rng.gauss(1, SPREAD) * CLOCK_HZ / clock
    seconds = tuple(usual * rng.gauss(1, 0.002) for _ in range(SAMPLES))
    described: list[dict[str, str | int]] = [
        {"algo": 66, "tile": f"128x{64 + 64 * index}", "stages": "128x4", "split_k": 1, "waves": "7.8"}
        for index in range(8)
    ]
    return encode_line(
        Measurement(
            cell=cell,
            stop="precision",
            samples=Samples(
                seconds_per_call=seconds,
                cycles_per_call=tuple(value * clock for value in seconds),
                sm_clock_hz=tuple(rng.gauss(clock, 1e6) for _ in seconds),
                power_w=tuple(rng.gauss(690, 3) for _ in seconds),
                temperature_c=tuple(float(rng.randint(60, 64)) for _ in seconds),
            ),
            calls_per_block=100,
            warm_up=WarmUp(cold=False, flat=True, calls=(100,) * 12, seconds_per_call=seconds[:12]),
            check=PASSED,
            data={name: OperandData(mean=0.0, sd=1.0, zero_share=0.0) for name in "ab"},
            algorithm={**described[0], "sets": 2, "timed": "calls"},
            search=Search(
                after=30,
                candidates=tuple(described),
                chosen=0,
                candidate=tuple(range(8)) * 4,
                calls=(10,) * 32,
                seconds_per_call=seconds[:32],
            ),
            telemetry=Telemetry(
                readings=50,
                seconds=5.0,
                sm_clock_hz=Spread(least=clock - 15e6, median=clock, most=clock + 15e6),
                memory_clock_hz=Spread(least=2.6e9, median=2.6e9, most=2.6e9),
                power_w=Spread(least=680.0, median=690.0, most=699.0),
                temperature_c=Spread(least=58.0, median=60.0 + 24 * throttled, most=64.0 + 24 * throttled),
                energy_j=3450.0,
                energy_s=5.0,
                event_reasons={"sw_thermal_slowdown": 0.98} if throttled else {"sw_power_cap": 1.0},
            ),
        )
    )


def write_fleet(folder: Path) -> Path:
    """Write the records of all GPUs: each has, of each cell, one of `VARIANTS` measurements."""
    folder.mkdir()
    rng = random.Random(2026)
    planned = cells()
    variants = [[line(cell, rng, throttled=False) for _ in range(VARIANTS)] for cell in planned]
    slow = [[line(cell, rng, throttled=True) for _ in range(VARIANTS)] for cell in planned]
    last = encode_line(Footer(ended="2026-01-02T03:05:05Z", measurements=len(planned), seconds=60.0))
    head = header(planned)
    for index in range(GPUS):
        device = msgspec.structs.replace(
            head.device,
            key=f"{index:016x}",
            index=index % PER_HOST,
            host_key=f"{0x9E3779B1 * (index // PER_HOST + 1) % 2**32:08x}{index // PER_HOST:08x}",
        )
        own = encode_line(msgspec.structs.replace(head, id=f"{index:08x}", device=device))
        throttled = index % (GPUS // THROTTLED) == 7
        lines = [rng.choice(some) for some in (slow if throttled else variants)]
        (folder / f"20260102T030405Z-{index:08x}.jsonl").write_bytes(b"".join([own, *lines, last]))
    os.sync()  # what is timed is not what the system still writes
    return folder


def compare(folder: Path, out: Path, *options: str) -> Run:
    """Run the command as a user does."""
    command = [sys.executable, "-c", STARTER, str(out), CHIPBENCH, "compare", str(folder), "--fleet", *options]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, most, code = json.loads(told)
    assert code == 0
    return Run(seconds, most, out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fleet(tmp_path_factory.mktemp("fleet") / "results")


@pytest.mark.parametrize("options", [(), ("--format", "json")], ids=["table", "json"])
def test_ten_thousand_gpus_in_20_seconds_and_one_gigabyte(
    benchmark: BenchmarkFixture, fleet: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    runs: list[Run] = []
    benchmark.pedantic(lambda: runs.append(compare(fleet, tmp_path / "out", *options)), rounds=3, warmup_rounds=1)
    benchmark.extra_info["most bytes"] = max(run.bytes for run in runs)
    assert sorted(run.seconds for run in runs)[len(runs) // 2] <= MOST_S
    assert max(run.bytes for run in runs) <= MOST_BYTES


def test_the_throttled_ones_are_told_and_next_to_no_other(fleet: Path, tmp_path: Path) -> None:
    document = json.loads(compare(fleet, tmp_path / "out", "--format", "json").out)
    throttled = {f"{index:016x}" for index in range(7, GPUS, GPUS // THROTTLED)}
    told = {one["device"] for one in document["outliers"]}
    assert throttled <= told
    assert len(told - throttled) <= 1

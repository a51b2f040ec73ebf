"""What `compare` takes, in time and memory: of 100,000 measurements of 50 samples in 1,000 records, and tenfold.

`pytest -n 0 tests/benchmarks/test_scale.py` needs 6 GB of disk below pytest's temporary folder, and two minutes.
"""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.records.record import Footer, encode_line
from bench.workloads import gemm
from tests.support import PASSED, header

CELLS, SAMPLES, RECORDS = 100, 50, 1000
CHIPBENCH: Final = str(Path(sys.executable).with_name("chipbench"))
MOST_S: Final = 5.0
MOST_BYTES: Final = 600e6
CLOCK_HZ: Final = 1.5e9
# A new process counts the memory of the one that started it as its own most, so a small one starts the command.
STARTER: Final = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class Run(NamedTuple):
    """One `compare`: wall seconds, and the most memory that one of its processes took."""

    seconds: float
    bytes: float


def write_side(folder: Path, count: int, seed: int) -> Path:
    """Write `count` records with all columns that a GPU's have; only their ids differ."""
    folder.mkdir()
    rng = random.Random(seed)
    shapes = [gemm.square(256 + 128 * index) for index in range(CELLS)]
    cells = gemm.cells(["bf16"], shapes, library="cublaslt", l2="rotate")
    lines = []
    for cell in cells:
        seconds = tuple(cell.flop / 700e12 * rng.gauss(1, 0.002) for _ in range(SAMPLES))
        samples = Samples(
            seconds_per_call=seconds,
            cycles_per_call=tuple(value * CLOCK_HZ for value in seconds),
            sm_clock_hz=tuple(rng.gauss(CLOCK_HZ, 1e6) for _ in seconds),
            power_w=tuple(rng.gauss(690, 3) for _ in seconds),
            temperature_c=tuple(float(rng.randint(60, 64)) for _ in seconds),
        )
        warm_up = WarmUp(cold=False, flat=True, calls=(100,) * 12, seconds_per_call=seconds[:12])
        lines.append(
            encode_line(
                Measurement(
                    cell=cell,
                    stop="precision",
                    samples=samples,
                    calls_per_block=100,
                    warm_up=warm_up,
                    check=PASSED,
                )
            )
        )
    lines.append(encode_line(Footer(ended="2026-01-02T03:05:05Z", measurements=len(cells), seconds=60.0)))
    body, head = b"".join(lines), header(cells)
    for index in range(count):
        ident = f"{seed:02x}{index:06x}"
        own = encode_line(msgspec.structs.replace(head, id=ident))
        (folder / f"20260102T030405Z-{ident}.jsonl").write_bytes(own + body)
    return folder


def compare(a: Path, b: Path) -> Run:
    """Run the command as a user does; `ru_maxrss` is the largest of its processes, so the bound is on each."""
    command = [sys.executable, "-c", STARTER, CHIPBENCH, "compare", str(a), str(b)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, kibibytes = map(float, told.split())
    return Run(seconds, kibibytes * 1024)


def both_sides(folder: Path, records: int) -> tuple[Path, Path]:
    """Write both sides, and wait until they are on disk: what is timed is not what the system still writes."""
    sides = write_side(folder / "a", records // 2, 1), write_side(folder / "b", records // 2, 2)
    os.sync()
    return sides


def test_a_hundred_thousand_measurements_in_five_seconds_and_600_megabytes(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    sides = both_sides(tmp_path, RECORDS)
    runs: list[Run] = []
    benchmark.pedantic(lambda: runs.append(compare(*sides)), rounds=5, warmup_rounds=1)
    benchmark.extra_info["most bytes"] = max(run.bytes for run in runs)
    assert sorted(run.seconds for run in runs)[len(runs) // 2] <= MOST_S
    # Each of the processes, at most two readers on two cores beside the command itself.
    assert 3 * max(run.bytes for run in runs) <= MOST_BYTES


@pytest.mark.parametrize("times", [10])
def test_ten_times_the_data_take_at_most_eleven_times_the_time(
    benchmark: BenchmarkFixture, tmp_path: Path, times: int
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "ten").mkdir()
    small, large = both_sides(tmp_path / "one", RECORDS), both_sides(tmp_path / "ten", times * RECORDS)
    before = min(compare(*small).seconds for _ in range(3))
    runs: list[Run] = []
    benchmark.pedantic(lambda: runs.append(compare(*large)), rounds=1)
    benchmark.extra_info["times as long"] = runs[0].seconds / before
    assert runs[0].seconds <= 1.1 * times * before

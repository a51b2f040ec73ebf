"""On a GPU: the commands as people run them, a run that is killed in its middle, and processes that agree."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.multiply import CUBLASLT
from bench.records.record import read_lines, reduce
from tests.gpu.cells import Fact, needs

pytestmark = pytest.mark.gpu

_PATIENCE_S = 180.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench", *arguments]


def chipbench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=_PATIENCE_S)


def records(results: Path) -> list[Path]:
    return sorted(results.rglob("*.jsonl"))


@pytest.fixture(scope="module")
def quick(gpu: CudaBackend, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Run `chipbench run --quick --format json` once, and return its document and its record."""
    results = tmp_path_factory.mktemp("quick")
    done = chipbench("run", "--quick", "--format", "json", "--results-dir", str(results))
    assert done.returncode == 0, done.stderr
    (path,) = records(results)
    return json.loads(done.stdout), path


def test_devices_names_the_chip_or_says_by_what_it_is_unknown(gpu: CudaBackend, fact: Fact) -> None:
    done = chipbench("devices", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["gpus"]
    mine = [one for one in found if one["cuda_index"] == 0]
    assert mine
    for one in found:
        assert bool(one["chip"]) != bool(one["unknown_because"])
        assert one["identified_by"] or one["unknown_because"]
        fact(f"gpu {one['index']}", f"{one['name']} = {one['chip'] or one['unknown_because']}")


def test_a_quick_run_measures_every_format_and_all_are_right(
    gpu: CudaBackend, quick: tuple[dict[str, Any], Path], fact: Fact
) -> None:
    document, path = quick
    assert document["backend"] == "cuda"
    assert document["origin"] == "measured"
    assert all(one["passed"] for one in document["measurements"])
    assert read_lines(path).footer is not None
    fact("seconds", document["seconds"])
    for one in document["measurements"]:
        fact(f"{one['dtype']} by {one['library']}", one["rate"])


def test_a_replay_of_the_fresh_record_is_its_table(quick: tuple[dict[str, Any], Path]) -> None:
    document, path = quick
    done = chipbench("run", "--backend", "replay", "--from", str(path), "--format", "json")
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)["measurements"]

    def content(one: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in one.items() if name != "origin"}

    assert [content(one) for one in replayed] == [content(one) for one in document["measurements"]]


def _kill_after_a_cell(process: "subprocess.Popen[bytes]", results: Path) -> None:
    until = monotonic() + _PATIENCE_S
    while process.poll() is None and monotonic() < until:
        if any(read_lines(path).measurements for path in records(results) if b"\n" in path.read_bytes()):
            break
        sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_that_is_killed_goes_on_where_it_was(gpu: CudaBackend, tmp_path: Path) -> None:
    plan = ("--dtype", "fp16", "--dtype", "fp64", "--dtype", "fp32", "--size", "2048", "--quick")
    process = subprocess.Popen(
        command("run", *plan, "--results-dir", str(tmp_path)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _kill_after_a_cell(process, tmp_path)
    (path,) = records(tmp_path)
    before = read_lines(path)
    assert before.footer is None
    assert 1 <= len(before.measurements) < len(before.header.plan.cells)
    done = chipbench("run", "--resume", str(path))
    assert done.returncode == 0, done.stderr
    after = read_lines(path)
    assert after.footer is not None
    assert after.resumed == 1
    assert after.measurements[: len(before.measurements)] == before.measurements
    assert all(one.passed for one in after.measurements)


def test_five_processes_agree_within_a_per_cent_or_half_that_in_cycles(
    gpu: CudaBackend, tmp_path: Path, fact: Fact
) -> None:
    needs(gpu, "bf16", CUBLASLT)
    plan = ("--dtype", "bf16", "--size", "8192", "--library", CUBLASLT, "--quick", "--processes", "5")
    done = chipbench("run", *plan, "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    readings = [reduce(one) for path in records(tmp_path) for one in read_lines(path).measurements]
    seconds = [reading.summary.median for reading in readings if reading.summary is not None]
    cycles = [r.cycles_per_call for r in readings if r.cycles_per_call is not None]
    assert len(seconds) == 5
    fact("five processes", f"±{_spread(seconds):.5f} in seconds, ±{_spread(cycles):.5f} in cycles per call")
    # The first meets a colder board; where seconds differ for that reason, cycles do not.
    assert _spread(seconds) <= 0.01 or _spread(cycles) <= 0.005


def _spread(values: Sequence[float]) -> float:
    """Half the range over the median; of nothing, without end."""
    return (max(values) - min(values)) / 2 / median(values) if values else math.inf

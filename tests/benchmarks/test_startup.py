"""How fast the command answers: `pytest tests/benchmarks`, on a machine that does nothing else.

Each claim is a ratio or a bound on medians of pytest-benchmark rounds; what is compared is run in turns.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from pytest_benchmark.fixture import BenchmarkFixture

CHIPBENCH = str(Path(sys.executable).with_name("chipbench"))
QUIET = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}


def _seconds(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=QUIET)
    return perf_counter() - start


def test_help_takes_at_most_half_as_long_again_as_importing_click(benchmark: BenchmarkFixture) -> None:
    bare: list[float] = []
    ours: list[float] = []

    def both() -> None:
        bare.append(_seconds([sys.executable, "-c", "import click"]))
        ours.append(_seconds([CHIPBENCH, "--help"]))

    benchmark.pedantic(both, rounds=25, warmup_rounds=3)
    ratio = median(ours) / median(bare)
    benchmark.extra_info["ratio"] = ratio
    assert ratio <= 1.5


def test_chips_answers_within_600_ms(benchmark: BenchmarkFixture) -> None:
    seconds: list[float] = []
    benchmark.pedantic(lambda: seconds.append(_seconds([CHIPBENCH, "chips"])), rounds=15, warmup_rounds=2)
    assert median(seconds) <= 0.6


def test_the_report_takes_at_most_five_seconds_without_a_gpu(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    results = Path(__file__).resolve().parent.parent.parent / "results"
    seconds: list[float] = []

    def write() -> None:
        page = tmp_path / f"{len(seconds)}.html"
        seconds.append(_seconds([CHIPBENCH, "report", "-o", str(page), "--results-dir", str(results)]))

    benchmark.pedantic(write, rounds=5, warmup_rounds=1)
    assert median(seconds) <= 5.0

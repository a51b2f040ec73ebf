"""Records as a document of pytest-benchmark: its own statistics are the oracle, its own command the reader."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_benchmark.stats
from hypothesis import given
from hypothesis import strategies as st

from bench.records.record import Process, read_lines
from bench.report.pytest_benchmark import as_pytest_benchmark, document, statistics_of
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape
from tests.support import CELLS, DEVICE, header, measurement, write_record

SECONDS = st.one_of(st.floats(1e-9, 1e3), st.sampled_from([1e-3, 1.1e-3, 0.1, 0.3]))


def oracle(seconds: Sequence[float]) -> dict[str, Any]:
    made: Any = pytest_benchmark.stats.Stats
    stats = made()
    for one in seconds:
        stats.update(one)
    return {**stats.as_dict(), "data": stats.data}


@given(st.lists(SECONDS, min_size=1, max_size=9) | st.lists(SECONDS, min_size=1, max_size=60))
def test_the_statistics_are_those_of_pytest_benchmark(seconds: list[float]) -> None:
    assert statistics_of(seconds) == oracle(seconds)


@pytest.mark.parametrize("count", range(1, 9))
def test_also_of_few_and_of_equal_samples(count: int) -> None:
    for seconds in ([0.1] * count, [0.1 * (i + 1) for i in range(count)], [1e-3] * (count - 1) + [5.0]):
        assert statistics_of(seconds) == oracle(seconds)


def one_document(*paths: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_pytest_benchmark([read_lines(path) for path in paths]))
    return found


def test_a_benchmark_says_what_was_measured(tmp_path: Path) -> None:
    path = write_record(tmp_path, header(CELLS[:1]))
    found = one_document(path)
    (benchmark,) = found["benchmarks"]
    assert benchmark["name"] == "matmul[fp32-64x64x64-numpy.matmul-hot]"
    assert benchmark["fullname"] == f"cpu-simulated::{benchmark['name']}"
    assert benchmark["group"] == "fp32 64³"
    assert benchmark["param"] in benchmark["name"]
    assert benchmark["params"]["dtype"] == "fp32"
    assert benchmark["stats"]["iterations"] == 100
    assert benchmark["stats"]["data"] == [*read_lines(path).measurements[0].samples.seconds_per_call]
    extra = benchmark["extra_info"]
    assert extra["rate"] == 2 * 64**3 / 1e-3
    assert (extra["unit"], extra["device"], extra["cell"]) == ("flop_per_s", DEVICE.name, CELLS[0].key)
    assert extra["rate_lo"] < extra["rate"] < extra["rate_hi"]
    assert (extra["record"], extra["warnings"], extra["chip"]) == ("0a1b2c3d", "", None)
    assert found["datetime"] == "2026-01-02T03:04:05Z"
    assert found["machine_info"]["machines"][0]["versions"]["numpy"] == "2.0"


def test_a_document_is_as_old_as_its_newest_record(tmp_path: Path) -> None:
    days = [f"2026-01-0{day}T03:04:05Z" for day in (2, 4, 3)]
    paths = [write_record(tmp_path, header(CELLS[:1], ident=f"0a1b2c3{day[9]}", started=day)) for day in days]
    assert one_document(*paths)["datetime"] == days[1]


def test_nothing_names_a_host_or_a_machine(tmp_path: Path) -> None:
    head = header()
    named = msgspec.structs.replace(head, device=msgspec.structs.replace(head.device, host="secret-host"))
    text = as_pytest_benchmark([read_lines(write_record(tmp_path, named))])
    assert "secret-host" not in text
    assert str(named.device.key) not in text
    assert str(tmp_path) not in text


def _gpu_cells() -> list[Cell]:
    """Return cells of every kind that differ in one thing only."""
    shapes = [gemm.square(64), Shape(m=64, n=64, k=96)]
    made = [
        *gemm.cells([*DTYPES], shapes, l2="rotate", library="cublaslt"),
        *gemm.cells(["bf16"], shapes, l2="hot", library="cublaslt"),
        *gemm.cells(["bf16"], shapes, l2="rotate", library="cupy.matmul"),
        *gemm.cells(["bf16"], shapes, l2="rotate", library="cublaslt", data="zeros"),
    ]
    last = made[-1]
    made += [msgspec.structs.replace(last, regime=regime) for regime in ("burst", "sustained:60")]
    made += [msgspec.structs.replace(last, load="together"), msgspec.structs.replace(last, peer=0)]
    made += [msgspec.structs.replace(last, compute=None), msgspec.structs.replace(last, version=last.version + 1)]
    return list(dict.fromkeys(made))


def test_every_cell_has_a_name_of_its_own(tmp_path: Path) -> None:
    cells = _gpu_cells()
    path = write_record(tmp_path, header(cells))
    names = [benchmark["name"] for benchmark in one_document(path)["benchmarks"]]
    assert len(set(names)) == len(names) == len(cells)
    assert "matmul[bf16-64x64x64-cublaslt]" in names
    assert "matmul[bf16-64x64x96-cublaslt-zeros-sustained:60]" in names
    assert "matmul[fp8-64x64x64-cublaslt-fast]" in names


def test_records_of_one_cell_are_told_apart_by_process_or_else_by_id(tmp_path: Path) -> None:
    def record(ident: str, process: Process | None) -> Path:
        return write_record(tmp_path, msgspec.structs.replace(header(CELLS[:1], ident=ident), process=process))

    def names(*paths: Path) -> list[str]:
        return [one["param"].removeprefix("fp32-64x64x64-numpy.matmul-hot") for one in document(
            [read_lines(path) for path in paths]
        )["benchmarks"]]  # fmt: skip

    processes = [record(f"aaaaaaa{i}", Process(index=i, of=2, group="one")) for i in range(2)]
    other = record("bbbbbbbb", Process(index=1, of=2, group="other"))
    alone = record("cccccccc", None)
    assert names(alone) == [""]
    assert names(processes[1]) == [""]
    assert names(*processes) == ["-process0", "-process1"]
    assert names(*processes, other) == ["-process0", "-process1-aaaaaaa1", "-process1-bbbbbbbb"]
    assert names(*processes, alone) == ["-process0", "-process1", "-cccccccc"]


def test_pytest_benchmark_itself_compares_two_exports(tmp_path: Path) -> None:
    for name, seconds in (("before", 1e-3), ("after", 2e-3)):
        cells = [measurement(cell, [seconds] * 6) for cell in CELLS]
        path = write_record(tmp_path / name, header(), cells)
        (tmp_path / f"{name}.json").write_text(as_pytest_benchmark([read_lines(path)]), encoding="utf-8")

    ran = subprocess.run(
        [Path(sys.executable).with_name("pytest-benchmark"), "compare", "before.json", "after.json",
         "--group-by=group", "--csv=table.csv"],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Failed to load" not in ran.stdout + ran.stderr
    assert "fp32 64³" in ran.stdout
    for source in ("before", "after"):
        assert f"matmul[fp32-64x64x64-numpy.matmul-hot] ({source}" in ran.stdout
    assert "(2.00)" in ran.stdout
    assert "param:dtype" in (tmp_path / "table.csv").read_text(encoding="utf-8")

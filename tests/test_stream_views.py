"""Copies and triads wherever results are shown: told apart, in bytes a second, and held against the bandwidth."""

import csv
import json
from pathlib import Path
from typing import Final

import pytest

from bench.workloads import stream
from bench.workloads.base import Cell
from tests.command import chipbench
from tests.support import cell
from tests.test_compare_command import GPU, H100, saved

FEW, MANY = 1 << 20, 1 << 21
STREAMS: Final = (
    *stream.cells(["copy", "triad"], FEW, library="kernel"),
    *stream.cells(["copy"], MANY, library="kernel"),
    *stream.cells(["copy"], FEW, library="memcpy"),
)
BANDWIDTHS: Final = "copies and triads are held against the published memory bandwidth"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_gpu(folder: Path, *cells: Cell) -> Path:
    """Write a record of an H100 on which every call takes a millisecond."""
    return saved(folder / "gpu", (1.0,), cells, device=H100)


def test_a_comparison_says_what_copies_are_held_against_and_only_then(own_folder: Path) -> None:
    text = " ".join(chipbench("compare", of_gpu(own_folder, *STREAMS, *GPU), "h100-sxm5-80gb").out.split())
    assert BANDWIDTHS in text
    assert "0.250 % of 3350 GB/s (memory_bandwidth)" in text
    products = saved(own_folder / "products", (1.0,), GPU, device=H100)
    assert BANDWIDTHS not in " ".join(chipbench("compare", products, "h100-sxm5-80gb").out.split())


def test_a_table_names_the_operation_and_the_library_of_streams_only(own_folder: Path) -> None:
    heads = chipbench("compare", of_gpu(own_folder, *STREAMS), "h100-sxm5-80gb").out.splitlines()[2]
    assert heads.split()[:4] == ["operation", "dtype", "array", "library"]
    products = saved(own_folder / "products", (1.0,), [cell(64)])
    assert chipbench("compare", products, "h100-sxm5-80gb").out.splitlines()[2].split()[:2] == ["dtype", "shape"]


def test_exported_rows_have_elements_bytes_and_their_rate(own_folder: Path) -> None:
    folder = of_gpu(own_folder, *STREAMS)
    rows = list(csv.DictReader(chipbench("results", "export", "--to", "csv", "--from", folder).out.splitlines()))
    assert [(row["operation"], int(row["elements"])) for row in rows] == [
        ("copy", FEW), ("triad", FEW), ("copy", MANY), ("copy", FEW),
    ]  # fmt: skip
    assert [int(row["bytes_moved"]) for row in rows] == [8 * FEW, 12 * FEW, 8 * MANY, 8 * FEW]
    assert {(row["flop"], row["unit"], row["m"]) for row in rows} == {("", "byte_per_s", "")}
    assert float(rows[0]["rate"]) * float(rows[0]["seconds_per_call"]) == pytest.approx(8 * FEW)


def test_in_pytest_benchmark_s_file_each_has_a_name_of_its_own(own_folder: Path) -> None:
    path = own_folder / "benchmarks.json"
    answer = chipbench(
        "results", "export", "--to", "pytest-benchmark", "--from", of_gpu(own_folder, *STREAMS), path
    )
    assert answer.code == 0, answer.err
    names = [one["name"] for one in json.loads(path.read_text())["benchmarks"]]
    assert len({*names}) == len(STREAMS)
    assert all(str(size) in " ".join(names) for size in (FEW, MANY))

"""On a machine with GPUs: each in a process of its own, one of several by its index, and copies between them.

What needs two GPUs is skipped where there is one; nothing of it has run on a device yet.
"""

import json
from pathlib import Path

import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.inventory import inventory, visible
from bench.records.record import read_lines
from tests.gpu.cells import Fact
from tests.gpu.test_on_device_commands import chipbench, records

pytestmark = pytest.mark.gpu


@pytest.fixture
def indices(gpu: CudaBackend) -> list[int]:
    """Return the GPUs that CUDA programs see here."""
    return visible(inventory())


@pytest.fixture
def several(indices: list[int]) -> list[int]:
    if len(indices) < 2:
        pytest.skip("there is one GPU here, and copies go from one to another")
    return indices


def test_every_gpu_makes_a_whole_record_of_its_own(indices: list[int], tmp_path: Path, fact: Fact) -> None:
    arguments = ("--gpu", "all", "--quick", "--dtype", "bf16", "--size", "4096", "--format", "json")
    done = chipbench("run", *arguments, "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = [read_lines(path) for path in records(tmp_path)]
    assert sorted(one.header.device.index or 0 for one in found) == sorted(indices)
    assert len({one.header.device.key for one in found}) == len(indices)
    assert all(one.footer is not None for one in found)
    assert all(measurement.passed for one in found for measurement in one.measurements)
    for group in json.loads(done.stdout)["groups"]:
        fact("bf16 4096³ on every GPU", group)


def test_one_chosen_by_its_index_is_that_board(indices: list[int], tmp_path: Path) -> None:
    last = str(indices[-1])
    arguments = ("--gpu", last, "--quick", "--dtype", "bf16", "--size", "2048", "--library", "cublaslt")
    done = chipbench("run", *arguments, "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (path,) = records(tmp_path)
    assert read_lines(path).header.device.index == int(last)


def test_where_there_is_one_gpu_copies_between_gpus_are_refused_with_that_reason(
    indices: list[int], tmp_path: Path
) -> None:
    if len(indices) > 1:
        pytest.skip("there are several GPUs here")
    done = chipbench("run", "--workload", "p2p", "--results-dir", str(tmp_path))
    assert done.returncode == 2
    assert "only one GPU" in done.stderr
    assert records(tmp_path) == []


def test_copies_between_every_two_arrive_and_are_counted_both_ways(
    several: list[int], tmp_path: Path, fact: Fact
) -> None:
    done = chipbench("run", "--workload", "p2p", "--quick", "--format", "json", "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    links = json.loads(done.stdout)["links"]
    pairs = {(link["source"], link["target"], link["ways"]) for link in links}
    assert pairs == {(a, b, ways) for a in several for b in several if a != b for ways in (1, 2)}
    for link in links:
        fact(f"{link['source']} to {link['target']}, {link['ways']} ways", f"{link['rate']:.3e} B/s")
        assert link["share"] is None or link["share"] < 1.05, "more than the link's published figure"

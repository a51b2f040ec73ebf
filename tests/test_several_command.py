"""`chipbench run` on several devices, as typed: what it prints, what it says is missing, and its exit code."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bench.cli.where import Where
from bench.records.record import read_lines
from bench.records.store import record_paths
from bench.run import collecting
from bench.run.engine import LeftOut
from bench.units import DTYPES
from bench.workloads.base import Cell
from tests.command import Answer, chipbench
from tests.places_lab import GPU, Site, Unit, gone, lost
from tests.support import TINY
from tests.test_collecting import Clock

INDICES = (0, 2, 3)


class Machine(Site):
    """A machine of three GPUs behind the command line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
        self.asked: list[list[str]] = []
        units = {f"gpu {n}": Unit(f"board {n}", msgspec.structs.replace(GPU, index=n)) for n in INDICES}
        super().__init__(monkeypatch, units, dict.fromkeys(units, "host"))
        self.results = results
        self.all = dict(self.units)
        monkeypatch.setattr("bench.run.local.LocalEngine", self.engine)
        monkeypatch.setattr("bench.cli.where._visible", lambda: [*INDICES])
        monkeypatch.setattr(collecting, "monotonic", Clock())

    def engine(self, places: list[str]) -> "Machine":
        self.asked.append(places)
        self.units = {place: self.all[place] for place in places}
        return self

    def run(self, *arguments: str) -> Answer:
        return chipbench("run", "--results-dir", self.results, *arguments)

    def states(self) -> list[tuple[int | None, int, bool]]:
        """Return of each record its GPU, how many cells it holds, and whether it is whole."""
        found = [read_lines(path) for path in record_paths(self.results)]
        states = [(one.header.device.index, len(one.measurements), one.footer is not None) for one in found]
        return sorted(states, key=lambda state: state[0] or 0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path / "the results")


def test_all_gpus_are_measured_and_shown_as_a_fleet(machine: Machine) -> None:
    answer = machine.run("--gpu", "all")
    assert answer.code == 0
    assert machine.asked == [["gpu 0", "gpu 2", "gpu 3"]]
    assert machine.states() == [(0, 3, True), (2, 3, True), (3, 3, True)]
    assert answer.out.startswith("Fleet of 3 devices on 1 host, measured here")
    assert answer.err.count("saved  ") == 3
    assert "not complete" not in answer.err
    assert "next " not in answer.err
    assert "3 records" in answer.err


def test_the_chosen_ones_alone_are_measured_in_the_order_given(machine: Machine) -> None:
    answer = machine.run("--gpu", "3", "--gpu", "0", "--gpu", "3", "--format", "json")
    assert answer.code == 0
    assert machine.asked == [["gpu 3", "gpu 0"]]
    assert json.loads(answer.out)


def test_together_is_told_by_the_cells(machine: Machine) -> None:
    assert machine.run("--gpu", "all", "--together", "--wait", "3").code == 0
    headers = [read_lines(path).header for path in record_paths(machine.results)]
    assert {one.plan.cells[0].load for one in headers} == {"together"}
    assert {one.member.at_once for one in headers if one.member} == {3}


def test_two_of_three_may_work_together(machine: Machine) -> None:
    assert machine.run("--gpu", "0", "--gpu", "2", "--together").code == 0
    headers = [read_lines(path).header for path in record_paths(machine.results)]
    assert {one.member.at_once for one in headers if one.member} == {2}


def test_what_cannot_be_used_is_named_with_the_reason(machine: Machine) -> None:
    machine.left_out["gpu 9"] = LeftOut("gpu 9", "it has fallen off the bus")
    answer = machine.run("--gpu", "all")
    assert answer.code == 5
    assert "left out: gpu 9: it has fallen off the bus" in answer.err
    assert answer.err.splitlines()[-1].endswith("left out: 1 of the places, as said above")


@pytest.mark.parametrize("removed", [[0], [0, 2, 3]])
def test_a_record_that_is_removed_meanwhile_is_named_and_the_others_are_shown(
    removed: list[int], machine: Machine
) -> None:
    """By whoever tidies up the folder, at the second cell of a GPU."""

    def tidy(one: Cell) -> None:
        if one.dtype == DTYPES["fp64"]:
            for path in record_paths(machine.results):
                if read_lines(path).header.device.index in removed:
                    path.unlink()

    for unit in machine.all.values():
        unit.on_prepare = tidy
    answer = machine.run("--gpu", "all", "--together")
    assert answer.code == 7
    assert answer.err.splitlines()[-1].startswith("chipbench: ")
    assert "was removed while it was being written; let it lie, and run again" in answer.err.splitlines()[-1]
    assert "not complete: gpu 0: " in answer.err
    assert answer.out.count("Fleet of ") == (len(removed) < 3)
    assert answer.err.count("saved  ") == 3 - len(removed)
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("options", "several", "index"),
    [
        ({}, False, None),
        ({"workload": "p2p"}, True, None),
        ({"workload": "p2p", "backend": "cpu"}, False, None),
        ({"workload": "p2p", "gpu": ("3",)}, False, 3),
        ({"gpu": ("3",)}, False, 3),
        ({"gpu": ("0", "3")}, True, None),
        ({"gpu": ("all",)}, True, None),
    ],
)
def test_a_run_is_over_several_gpus_if_they_are_chosen_or_copies_are_between_all(
    machine: Machine, options: Mapping[str, object], several: bool, index: int | None
) -> None:
    assert machine.units
    usual = {"workload": "gemm", "backend": "auto", "gpu": (), "scheduler": None, "local_cluster": None}
    where = Where(
        {**usual, "together": False, **dict.fromkeys(("tls_ca", "tls_cert", "tls_key")), **options}, set()
    )
    assert (where.several, where.index) == (several, index)


def test_a_lost_one_is_named_with_the_way_to_go_on(machine: Machine) -> None:
    machine.faults["gpu 2"] = lost(1)
    answer = machine.run("--gpu", "all")
    assert answer.code == 5
    assert "not complete: gpu 2: its measuring process ended without a word" in answer.err
    assert answer.err.splitlines()[-1] == ("chipbench: 1 of 3 records are not complete; what they hold is saved")
    (command,) = (line.split("run ")[1] for line in answer.err.splitlines() if line.startswith("next "))
    machine.faults.clear()
    again = chipbench("run", *shlex.split(command))
    assert again.code == 0
    assert machine.states() == [(0, 3, True), (2, 3, True), (3, 3, True)]
    assert "Fleet of 3 devices" in again.out


def test_a_run_that_is_whole_has_nothing_to_resume(machine: Machine) -> None:
    machine.run("--gpu", "all")
    (path, *_) = record_paths(machine.results)
    answer = chipbench("run", "--resume", path)
    assert answer.code == 0
    assert "are complete: nothing to resume" in answer.err
    assert "Fleet of 3 devices" in answer.out


def test_one_gpu_that_falls_off_leaves_the_others(machine: Machine) -> None:
    machine.faults["gpu 0"] = gone(machine, "gpu 0", 1)
    answer = machine.run("--gpu", "all")
    assert answer.code == 5
    assert machine.states() == [(0, 1, False), (2, 3, True), (3, 3, True)]


def test_without_a_gpu_all_of_them_are_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cli.where._visible", list)
    answer = machine.run("--gpu", "all")
    assert answer.code == 5
    assert answer.error.startswith("chipbench: no GPU here that CUDA programs see")
    assert not machine.results.exists() or not [*machine.results.rglob("*.jsonl")]


def test_an_index_that_is_not_here_is_refused_before_anything_is_measured(machine: Machine) -> None:
    answer = machine.run("--gpu", "0", "--gpu", "7")
    assert answer.code == 2
    assert answer.error == "chipbench: no GPU 7 here that CUDA programs see; there are: 0, 2, 3"
    assert machine.started == []


CONTRADICTIONS: Mapping[str, str] = {
    "--gpu all --gpu 1": "--gpu all takes every GPU",
    "--gpu all --scheduler tcp://h:1": "--gpu and --scheduler contradict each other",
    "--scheduler tcp://h:1 --local-cluster 2": "--scheduler and --local-cluster contradict each other",
    "--gpu 0 --backend cpu": "--gpu chooses GPUs, and backend cpu measures none",
    "--gpu x": "'x' is no index of a GPU",
    "--gpu -1": "'-1' is no index of a GPU",
    "--workers 3": "--workers and --tls-… go with --scheduler",
    "--local-cluster 2 --workers 3": "--workers and --tls-… go with --scheduler",
    "--gpu 1 --wait 3": "--wait is for a cluster, or several GPUs",
    "--scheduler tls://h:1 --tls-ca a": "--tls-ca, --tls-cert and --tls-key go together",
    "--gpu all --together --workload p2p": "one pair of GPUs at a time",
    "--resume r.jsonl --gpu 0": "--resume takes its plan from the record; leave out --gpu",
    "--resume r.jsonl --together": "--resume takes its plan from the record; leave out --together",
    "--backend replay --from r.jsonl --local-cluster 2": "a replay takes place here",
    "--local-cluster 0": "--local-cluster",
}


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_before_anything_is_started(
    words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = chipbench("run", *words.split())
    assert answer.code == 2
    assert CONTRADICTIONS[words] in answer.error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "'nonsense' is no address of a scheduler; give tcp://HOST:PORT or tls://HOST:PORT"),
        ("foo://host:1", "is no address of a scheduler"),
        ("tls://host:1", "TLS needs --tls-ca, --tls-cert and --tls-key, too"),
        ("gone.json", "gone.json: is no scheduler file"),
    ],
)
def test_an_address_that_is_none_is_said_at_once(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    answer = chipbench("run", "--scheduler", address)
    assert answer.code == 2
    assert said in answer.error


def test_without_dask_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    answer = chipbench("run", "--local-cluster", "2", "--results-dir", tmp_path / "results")
    assert answer.code == 5
    assert answer.error.endswith("which is not installed: pip install -e '.[cluster]'")


def test_ranks_of_a_launcher_are_told_apart_from_one_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "2")
    small = ("--backend", "cpu", "--dtype", "fp32", "--size", "16", "--quick")
    monkeypatch.setattr("bench.run.planning.fitted", lambda *_args, **_more: TINY)
    answer = chipbench("run", *small, "--results-dir", tmp_path / "results")
    assert answer.code == 0
    assert "2 processes of this job run on this machine at once: recorded as together" in answer.err
    (path,) = record_paths(tmp_path / "results")
    assert {one.cell.load for one in read_lines(path).measurements} == {"together"}

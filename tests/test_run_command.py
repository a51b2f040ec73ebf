"""`run`, `compare` and `results` as typed: exit code, stdout and stderr, each for itself."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.devices import environment
from bench.devices.cpu import CpuBackend, CpuTask
from bench.devices.cpu_stream import CpuStreamTask
from bench.devices.replay import ReplayBackend, ReplayTask
from bench.errors import BackendUnavailable, Terminated
from bench.records.record import read_record
from bench.workloads.base import Cell
from tests.command import chipbench
from tests.support import CELLS, FAILED, TINY, cell, header, measurement, raising, write_record

RUN = ("run", "--backend", "cpu")
FP32 = (*RUN, "--dtype", "fp32", "--size", "64")
FORMATS = ("table", "md", "csv", "json", "latex", "html")


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for milliseconds, in a folder of our own."""
    monkeypatch.setattr("bench.run.planning.fitted", lambda *_args, **_more: TINY)
    monkeypatch.setattr(environment, "busy_share", lambda: None)
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def records(results: Path) -> list[Path]:
    return sorted(results.rglob("*.jsonl"))


class TestBadInput:
    @pytest.mark.parametrize(
        ("args", "why"),
        [
            (["--size", "0"], "0 is not a whole number above 0"),
            (["--size", "-5"], "-5 is not a whole number above 0"),
            (["--size", "abc"], "'abc' is not a whole number"),
            (["--size", "1.5"], "1.5 is not a whole number"),
            (["--size", "nan"], "'nan' is not a whole number"),
            (["--size", "1e999"], "'1e999' is not a whole number"),
            (["--shape", "1x2"], "'1x2' is not of the form MxNxK"),
            (["--shape", "1x2x3x4"], "not of the form MxNxK"),
            (["--shape", "64x0x64"], "0 is not a whole number above 0"),
            (["--dtype", "fp12"], "'fp12' is not one of"),
            (["--dtype", "fp32", "--dtype", "bf16"], "bf16 is not measured on backend cpu: no BLAS multiplies"),
            (["--dtype", "fp8"], "fp8 is a format of GPU tensor cores, which a CPU lacks; here it measures fp64"),
            (["--dtype", "int8"], "NumPy's own loop wraps at 8 bits"),
            (["--processes", "0"], "0 is not in the range"),
            (["--format", "yaml"], "'yaml' is not one of"),
            (["--backend", "replay"], "--backend replay and --from RECORD go together"),
            (["--from", "r.jsonl"], "--backend replay and --from RECORD go together"),
            (["--backend", "replay", "--from", "r.jsonl", "--size", "64"], "leave out --size"),
            (["--resume", "r.jsonl", "--quick", "--shape", "1x1x1"], "leave out --quick, --shape"),
        ],
    )  # fmt: skip
    def test_it_is_a_usage_error_before_anything_is_made(self, args: list[str], why: str, results: Path) -> None:
        head = ["run"] if {"replay", "--resume"} & {*args} else RUN
        answer = chipbench(*head, *args)
        assert answer.code == 2
        assert why in answer.error
        assert not results.exists()

    def test_a_size_beyond_the_memory_is_refused_in_bytes(self, results: Path) -> None:
        answer = chipbench(*FP32, "--size", "1e9")
        assert answer.code == 2
        assert "fp32 1000000000³ needs 12.0 EB of memory and " in answer.error
        assert "B are free here; take a smaller one" in answer.error
        assert not results.exists()

    def test_nothing_is_allocated_for_what_does_not_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "bytes_free", lambda: 10**6)
        monkeypatch.setattr(CpuBackend, "prepare", lambda *_args, **_more: pytest.fail("was allocated"))
        answer = chipbench(*RUN, "--dtype", "fp32", "--size", "1024")
        assert "fp32 1024³ needs " in answer.error

    def test_a_results_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("precious")
        answer = chipbench(*FP32, "--results-dir", tmp_path / "file")
        assert answer.code == 7
        assert f"{tmp_path / 'file'}: " in answer.error
        assert "--results-dir" in answer.error
        assert (tmp_path / "file").read_text() == "precious"

    @pytest.mark.parametrize("args", [["--resume", "none.jsonl"], ["--backend", "replay", "--from", "none.jsonl"]])
    def test_a_record_that_is_not_there(self, args: list[str]) -> None:
        answer = chipbench("run", *args)
        assert answer.code == 4
        assert "none.jsonl: cannot be read" in answer.error


class TestRun:
    def test_rates_go_to_stdout_and_talk_to_stderr(self, results: Path) -> None:
        answer = chipbench(*RUN, "--size", "64", "--size", "96")
        assert answer.code == 0
        (path,) = records(results)
        assert read_record(path).complete
        assert [line.split()[0] for line in answer.err.splitlines()] == ["saved", "took", "next", "next"]
        assert str(path) in answer.err
        assert not [line for line in answer.err.splitlines() if line in answer.out]
        for name in ("fp64", "fp32", "64³", "96³", "FLOP/s"):
            assert name in answer.out

    @pytest.mark.parametrize("name", FORMATS)
    def test_stdout_is_data_in_every_format(self, name: str) -> None:
        answer = chipbench(*FP32, "--format", name)
        assert answer.code == 0
        assert "saved" not in answer.out
        assert "fp32" in answer.out

    def test_json_is_json_and_in_base_units(self, results: Path) -> None:
        answer = chipbench(*FP32, "--format", "json")
        (found,) = json.loads(answer.out)["measurements"]
        (path,) = records(results)
        (reading,) = read_record(path).readings
        assert reading.summary is not None
        assert found["rate"] == 2 * 64**3 / reading.summary.median
        assert found["unit"] == "flop_per_s"
        assert found["passed"] is True

    def test_a_cell_asked_for_twice_is_measured_once(self, results: Path) -> None:
        chipbench(*FP32, "--size", "64", "--shape", "64x64x64", "--shape", "64x64x65")
        (path,) = records(results)
        assert len(read_record(path).readings) == 2

    def test_a_replay_prints_the_same_rates_and_saves_nothing(self, results: Path) -> None:
        original = chipbench(*RUN, "--size", "64", "--format", "csv")
        (path,) = records(results)
        replayed = chipbench("run", "--backend", "replay", "--from", path, "--format", "csv")
        assert replayed.code == 0
        assert records(results) == [path]
        first, second = ([*csv.DictReader(io.StringIO(text))] for text in (original.out, replayed.out))
        assert {row.pop("origin") for row in first} == {"measured"}
        assert {row.pop("origin") for row in second} == {"replayed"}
        assert first == second
        assert len(first) == 2

    def test_only_identify_writes_the_host(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.node", lambda: "secret-host")
        chipbench(*FP32)
        chipbench(*FP32, "--identify")
        assert sorted("secret-host" in path.read_text() for path in records(results)) == [False, True]


class TestFailing:
    def spoil(self, monkeypatch: pytest.MonkeyPatch, *dtypes: type) -> None:
        def wrong(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
            out[...] = (a @ b) * (2 if a.dtype in dtypes else 1)

        monkeypatch.setattr(np, "matmul", wrong)

    def test_no_cell_that_passes_is_exit_8_with_the_record_kept(
        self, results: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.spoil(monkeypatch, np.float32, np.float64)
        answer = chipbench(*RUN, "--size", "64")
        assert answer.code == 8
        assert "no rate" in answer.out
        assert "wrong result" in answer.out
        assert answer.err.splitlines()[-1].startswith("chipbench: no cell passed its check")
        (path,) = records(results)
        assert [reading.passed for reading in read_record(path).readings] == [False, False]

    def test_one_cell_that_passes_is_a_result(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spoil(monkeypatch, np.float64)
        answer = chipbench(*RUN, "--size", "64", "--format", "json")
        assert answer.code == 0
        rates = {found["dtype"]: found["rate"] for found in json.loads(answer.out)["measurements"]}
        assert rates["fp64"] is None
        assert rates["fp32"] > 0
        assert "1 failed" in chipbench("results", "list").out


class TestInterrupted:
    @pytest.mark.parametrize(
        ("error", "code"), [(KeyboardInterrupt(), 130), (Terminated(), 143), (BackendUnavailable("it is lost"), 5)]
    )
    def test_what_is_finished_is_printed_and_resumed(
        self, error: BaseException, code: int, results: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare = CpuBackend.prepare
        stop = raising(cell(64, "fp32"), error)

        def failing(backend: CpuBackend, one: Cell, seed: int, *, probe: bool = False) -> CpuTask | CpuStreamTask:
            stop(one)
            return prepare(backend, one, seed, probe=probe)

        with monkeypatch.context() as patch:
            patch.setattr(CpuBackend, "prepare", failing)
            answer = chipbench(*RUN, "--size", "64")
        (path,) = records(results)
        assert answer.code == code
        assert "fp64" in answer.out
        assert "1 of 2 cells are missing" in answer.out
        assert f"next   chipbench run --resume {path}" in answer.err
        assert ("it is lost" in answer.err) == (code == 5)
        resumed = chipbench("run", "--resume", path, "--format", "json")
        assert resumed.code == 0
        assert [found["dtype"] for found in json.loads(resumed.out)["measurements"]] == ["fp64", "fp32"]
        monkeypatch.delenv("CHIPBENCH_RESULTS")
        again = chipbench("run", "--resume", path, "--format", "json")
        assert again.code == 0
        assert f"{path} is complete: nothing to resume" in again.err
        # What comes next is told for the folder that the record lies in, not for the default one.
        assert f"next   chipbench compare latest h20 h100 --results-dir {path.parent.parent}" in again.err
        assert json.loads(again.out)["measurements"] == json.loads(resumed.out)["measurements"]

    def test_a_replay_is_not_resumed_but_replayed_again(
        self, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_record(results, header())
        prepare = ReplayBackend.prepare
        stop = raising(CELLS[1], KeyboardInterrupt())

        def failing(backend: ReplayBackend, one: Cell, seed: int, *, probe: bool = False) -> ReplayTask:
            stop(one)
            return prepare(backend, one, seed, probe=probe)

        monkeypatch.setattr(ReplayBackend, "prepare", failing)
        answer = chipbench("run", "--backend", "replay", "--from", path, "--results-dir", tmp_path / "replayed")
        assert answer.code == 130
        assert len(records(tmp_path / "replayed")) == 1
        assert f"next   chipbench run --backend replay --from {path}" in answer.err
        assert "--resume" not in answer.err


def at(day: int, cells: Sequence[Cell] = CELLS, **more: Any) -> Any:  # noqa: ANN401 - as `header` takes them
    return header(cells, started=f"2026-01-{day:02}T00:00:00Z", ident=f"0a1b2c{day:02}", **more)


class TestCompare:
    def test_the_latest_against_chips(self, results: Path) -> None:
        path = write_record(results, at(1))
        answer = chipbench("compare", "latest", "h20", "h100", "--format", "json")
        assert answer.code == 0
        document = json.loads(answer.out)
        assert [side["kind"] for side in document["sides"]] == ["measured", "published", "published"]
        assert f"latest is {path}" in answer.err
        assert document["rows"][0]["sides"][0]["rate"] == 2 * 64**3 / 1e-3

    def test_chips_alone_are_what_chips_prints(self) -> None:
        compared, chips = chipbench("compare", "h20", "h100"), chipbench("chips", "h20", "h100")
        assert compared == chips
        assert compared.code == 0

    def test_without_a_common_cell_it_says_what_each_has(self, results: Path) -> None:
        first, second = write_record(results, at(1, CELLS[:1])), write_record(results, at(2, CELLS[1:]))
        answer = chipbench("compare", first, second)
        assert answer.code == 4
        assert f"{first.name} has fp32 64³; {second.name} has fp64 64³, fp32 96³" in answer.error

    def test_a_cell_that_failed_is_compared_with_nothing(self, results: Path) -> None:
        first = write_record(results, at(1, CELLS[:1]))
        second = write_record(results, at(2, CELLS[:1]), [measurement(CELLS[0], check=FAILED)])
        answer = chipbench("compare", first, second)
        assert answer.code == 4
        assert f"{second.name} has no cell that passed its check" in answer.error

    def test_cells_of_one_side_only_and_failed_ones_are_named(self, results: Path) -> None:
        first = write_record(results, at(1), [measurement(CELLS[0]), measurement(CELLS[1]), measurement(CELLS[2])])
        second = write_record(
            results, at(2, CELLS[:2]), [measurement(CELLS[0]), measurement(CELLS[1], check=FAILED)]
        )
        answer = chipbench("compare", first, second)
        assert answer.code == 0
        assert f"left out of {first.name}, as no other side has them: fp64 64³, fp32 96³" in " ".join(
            answer.out.split()
        )
        assert f"{second.name}: failed their check in some process, and are not compared: fp64 64³ by" in " ".join(
            answer.out.split()
        )

    def test_a_newer_record_that_cannot_be_read_is_told(self, results: Path) -> None:
        write_record(results, at(1))
        write_record(results, at(2)).write_text("{}\n")
        answer = chipbench("compare", "latest", "h20")
        assert answer.code == 0
        assert "skipped: " in answer.err
        assert "damaged record: line 1" in answer.err

    def test_what_is_nothing_of_these_is_a_usage_error(self) -> None:
        assert chipbench("compare", "latest").code == 2
        answer = chipbench("compare", "lates", "h20")
        assert answer.code == 2
        assert "'lates' is no record, folder or chip" in answer.error
        assert "latest" in answer.error

    def test_a_damaged_side_is_an_error_not_an_empty_column(self, results: Path) -> None:
        path = write_record(results, at(1))
        path.write_text(path.read_text().replace('"stop"', '"halt"', 1))
        for side in (path, results):
            answer = chipbench("compare", side, "h20")
            assert answer.code == 4
            assert f"{path}: damaged record: line 2" in answer.error


class TestResults:
    @pytest.mark.parametrize("args", [("results", "list"), ("results", "check"), ("compare", "latest", "h20")])
    @pytest.mark.parametrize("empty", [False, True])
    def test_without_records_it_says_how_to_make_one(
        self, args: tuple[str, ...], *, empty: bool, results: Path
    ) -> None:
        if empty:
            results.mkdir()
        answer = chipbench(*args)
        assert answer.code == 4
        assert "'chipbench run' makes one" in answer.error

    @pytest.mark.parametrize("command", ["list", "check"])
    def test_each_damaged_record_is_named(self, command: str, results: Path) -> None:
        good = write_record(results, at(1))
        torn = write_record(results, at(2), [measurement(CELLS[0])], complete=False)
        torn.write_bytes(torn.read_bytes() + b"torn")
        bad = [write_record(results, at(day)) for day in (3, 4)]
        bad[0].write_text("")
        bad[1].write_text(bad[1].read_text().replace("precision", "boredom", 1))
        answer = chipbench("results", command, "--format", "json")
        assert answer.code == 4
        states = {found["path"]: found["state"] for found in json.loads(answer.out)["records"]}
        assert states == {
            str(good): "complete",
            str(torn): "interrupted, torn tail",
            str(bad[0]): "damaged",
            str(bad[1]): "damaged",
        }
        assert "2 of 4 records cannot be read" in answer.err
        table = chipbench("results", command).out
        assert "line 1, the header, is missing" in table
        assert "line 2: Invalid enum value 'boredom'" in table

    def test_all_good_is_exit_0_for_files_and_folders(self, results: Path) -> None:
        paths = [write_record(results, at(day)) for day in (1, 2)]
        assert chipbench("results", "check").code == 0
        assert chipbench("results", "check", *paths, results).code == 0
        assert chipbench("results", "check", results / "none.jsonl").code == 4


@pytest.mark.slow
@pytest.mark.parametrize("args", [*(("chips", "--format", name) for name in FORMATS), ("results", "list")])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(args: tuple[str, ...], results: Path) -> None:
    """As `| head` does, but surely before the command has written."""
    write_record(results, at(1))
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *args], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, b"")

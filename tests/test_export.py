"""`chipbench results export`: exit codes, stdout and stderr apart, and a file that appears whole or not at all."""

import csv
import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

import bench
from bench.devices.base import Caveat, Spread, Telemetry
from bench.records.record import Header, Process, read_record
from bench.report.exported import as_csv, as_json
from bench.version import VERSION
from tests.command import Answer, chipbench
from tests.support import CELLS, FAILED, header, measurement, write_record

TARGETS = ("csv", "json", "pytest-benchmark")


def export(*args: str | Path) -> Answer:
    return chipbench("results", "export", *args)


def at(day: int, **more: Any) -> Header:  # noqa: ANN401 - as `header` takes them
    return header(started=f"2026-01-{day:02}T00:00:00Z", ident=f"{day:08x}", **more)


def gpu_record(results: Path) -> Path:
    """Write a record with what only some records have: process, driver, power limit, telemetry, warnings."""
    plain = at(3)
    environment = msgspec.structs.replace(
        plain.environment, versions={"driver": "580.1"}, settings={"power_limit_w": "350.0"}
    )
    head = msgspec.structs.replace(
        plain,
        environment=environment,
        process=Process(index=1, of=2, group="feed0123"),
        warnings=(Caveat(code="pcie"), Caveat(code="busy")),
    )
    seen = Telemetry(readings=9, seconds=1.0, power_w=Spread(least=300.0, median=340.5, most=351.0))
    one = msgspec.structs.replace(
        measurement(CELLS[0]), telemetry=seen, warnings=(Caveat(code="busy"), Caveat(code="outliers"))
    )
    return write_record(results, head, [one, measurement(CELLS[1], check=FAILED), measurement(CELLS[2])])


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def damage(path: Path) -> Path:
    path.write_text(path.read_text(encoding="utf-8").replace("precision", "boredom", 1), encoding="utf-8")
    return path


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".chipbench")]


class TestContent:
    def test_json_has_what_load_results_has(self, results: Path) -> None:
        write_record(results, at(1))
        gpu_record(results)
        document = json.loads(export("--to", "json").out)
        assert (document["schema"], document["tool"]) == (1, VERSION)
        frame = bench.load_results(results)
        assert len(document["measurements"]) == len(frame) == 6
        for found, (_, row) in zip(document["measurements"], frame.iterrows(), strict=True):
            assert list(found) == list(frame.columns)
            assert pd.Timestamp(found.pop("started")) == row["started"]
            assert row["path"].endswith(f"/{found.pop('path')}")
            assert all(
                found[name] == row[name] if found[name] is not None else pd.isna(row[name]) for name in found
            )

    def test_csv_has_what_json_has(self, results: Path) -> None:
        write_record(results, at(1))
        gpu_record(results)
        document = json.loads(export("--to", "json").out)["measurements"]
        rows = [*csv.DictReader(io.StringIO(export("--to", "csv").out))]
        assert rows == [{k: "" if v is None else str(v) for k, v in one.items()} for one in document]

    def test_what_only_some_records_have(self, results: Path) -> None:
        path = gpu_record(results)
        first, failed, _ = json.loads(export("--to", "json", "--from", path).out)["measurements"]
        told = {"process": 1, "group": "feed0123", "driver": "580.1", "power_limit_w": 350.0, "power_w": 340.5}
        assert {name: first[name] for name in told} == told
        assert first["warnings"] == "pcie busy outliers"
        assert (first["cell"], first["record"], first["flop"]) == (CELLS[0].key, "00000003", 2 * 64**3)
        assert (failed["passed"], failed["rate"], failed["power_w"], failed["warnings"]) == (
            False, None, None, "pcie busy",
        )  # fmt: skip

    def test_a_record_without_all_that_has_nothing_there(self, results: Path) -> None:
        frame = bench.load_results(write_record(results, at(1)))
        for name in ("process", "group", "driver", "power_limit_w", "power_w"):
            assert frame[name].isna().all()
        assert (frame["warnings"] == "").all()

    @pytest.mark.parametrize("text", ["", "nan", "inf", "much"])
    def test_a_power_limit_that_is_no_number_is_missing(self, results: Path, text: str) -> None:
        record = read_record(gpu_record(results))
        environment = msgspec.structs.replace(record.header.environment, settings={"power_limit_w": text})
        odd = record._replace(header=msgspec.structs.replace(record.header, environment=environment))
        assert {one["power_limit_w"] for one in json.loads(as_json([odd]))["measurements"]} == {None}

    @pytest.mark.parametrize("name", ["=1+1", "+1+1", "-A1", "@SUM(A1)", "\t=1+1"])
    def test_no_text_is_a_formula_for_a_spreadsheet(self, results: Path, name: str) -> None:
        record = read_record(write_record(results, at(1)))
        device = msgspec.structs.replace(record.header.device, name=name)
        odd = record._replace(header=msgspec.structs.replace(record.header, device=device))
        assert {row["device"] for row in csv.DictReader(io.StringIO(as_csv([odd])))} == {f"'{name}"}
        assert {one["device"] for one in json.loads(as_json([odd]))["measurements"]} == {name}


class TestSources:
    def test_files_and_folders_each_record_once(self, results: Path, tmp_path: Path) -> None:
        one, other = write_record(results, at(1)), write_record(tmp_path / "cluster", at(2))
        answer = export("--to", "json", "--from", one, "--from", other.parent, "--from", results, "-")
        assert answer.code == 0
        paths = {found["path"] for found in json.loads(answer.out)["measurements"]}
        assert paths == {f"{path.parent.name}/{path.name}" for path in (one, other)}
        assert len(json.loads(answer.out)["measurements"]) == 6

    def test_of_a_record_elsewhere_the_folder_is_not_told(self, tmp_path: Path) -> None:
        home = tmp_path / "alice"
        home.mkdir()
        moved = write_record(tmp_path, at(1)).rename(home / "mine.jsonl")
        answer = export("--to", "json", "--from", moved, "-")
        assert {found["path"] for found in json.loads(answer.out)["measurements"]} == {"mine.jsonl"}

    @pytest.mark.parametrize("target", TARGETS)
    def test_every_damaged_record_is_named_and_nothing_is_written(self, results: Path, target: str) -> None:
        write_record(results, at(1))
        bad = [damage(write_record(results, at(day))) for day in (2, 3)]
        answer = export("--to", target, "out.file")
        assert answer.code == 4
        assert "2 of 3 records cannot be read, so nothing was exported" in answer.last_error
        assert "--skip-bad" in answer.last_error
        for path, line in zip(bad, answer.err.splitlines(), strict=False):
            assert line.startswith(f"{path}: damaged record: line 2")
        assert not Path("out.file").exists()

    @pytest.mark.parametrize("target", TARGETS)
    def test_the_rest_of_them_on_request(self, results: Path, target: str) -> None:
        write_record(results, at(1))
        bad = damage(write_record(results, at(2)))
        answer = export("--to", target, "--skip-bad")
        assert answer.code == 0
        assert answer.err.startswith(f"skipped: {bad}: damaged record: ")
        assert len(answer.err.splitlines()) == 1
        assert "00000001" in answer.out
        assert "00000002" not in answer.out

    def test_nothing_but_damaged_ones_is_an_error_still(self, results: Path) -> None:
        damage(write_record(results, at(2)))
        answer = export("--to", "csv", "--skip-bad")
        assert answer.code == 4
        assert "1 of 1 records cannot be read" in answer.last_error

    @pytest.mark.parametrize("empty", [False, True])
    def test_no_records(self, results: Path, *, empty: bool) -> None:
        if empty:
            results.mkdir()
        answer = export("--to", "csv")
        assert answer.code == 4
        assert "'chipbench run' makes one" in answer.last_error

    def test_a_record_that_is_not_there(self, results: Path) -> None:
        answer = export("--to", "csv", "--from", "none.jsonl")
        assert answer.code == 4
        assert "none.jsonl: cannot be read" in answer.err

    def test_the_format_must_be_named(self, results: Path) -> None:
        assert export("out.csv").code == 2
        assert export("--to", "xlsx").code == 2


class TestFile:
    @pytest.mark.parametrize("target", TARGETS)
    def test_it_holds_what_stdout_gets(self, results: Path, target: str) -> None:
        write_record(results, at(1))
        answer = export("--to", target, "out.file")
        assert answer == (0, "", "saved  out.file\n")
        assert Path("out.file").read_text(encoding="utf-8") == export("--to", target).out
        assert not left_behind(Path())

    def test_one_that_is_there_is_replaced_only_by_force(self, results: Path) -> None:
        write_record(results, at(1))
        Path("out.csv").write_text("precious")
        answer = export("--to", "csv", "out.csv")
        assert answer.code == 7
        assert "out.csv: exists already" in answer.last_error
        assert "--force" in answer.last_error
        assert Path("out.csv").read_text() == "precious"
        assert export("--to", "csv", "out.csv", "--force").code == 0
        assert Path("out.csv").read_text().startswith("path,record,started")

    def test_one_that_appears_meanwhile_is_not_replaced(
        self, results: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_record(results, at(1))
        synced = os.fsync

        def meanwhile(descriptor: int) -> None:
            synced(descriptor)
            Path("out.csv").write_text("precious")

        monkeypatch.setattr(os, "fsync", meanwhile)
        answer = export("--to", "csv", "out.csv")
        assert answer.code == 7
        assert "exists already" in answer.last_error
        assert Path("out.csv").read_text() == "precious"
        assert not left_behind(Path())

    def test_through_a_link_it_is_written_where_that_leads(self, results: Path, tmp_path: Path) -> None:
        write_record(results, at(1))
        (tmp_path / "far").mkdir()
        Path("out.csv").symlink_to(tmp_path / "far" / "real.csv")
        assert export("--to", "csv", "out.csv").code == 0
        assert export("--to", "csv", "out.csv").code == 7
        assert export("--to", "csv", "out.csv", "--force").code == 0
        assert Path("out.csv").is_symlink()
        assert (tmp_path / "far" / "real.csv").read_text().startswith("path,")

    @pytest.mark.parametrize(
        ("make", "why"),
        [
            (Path.mkdir, "is a folder"),
            (os.mkfifo, "is no ordinary file"),
        ],
    )
    def test_what_is_no_file_is_never_replaced(
        self, results: Path, make: Callable[[Path], None], why: str
    ) -> None:
        write_record(results, at(1))
        make(Path("out"))
        answer = export("--to", "csv", "out", "--force")
        assert answer.code == 7
        assert f"out: {why}" in answer.last_error

    def test_no_record_is_replaced_by_an_export(self, results: Path) -> None:
        path = write_record(results, at(1))
        before = path.read_bytes()
        answer = export("--to", "json", "--force", path)
        assert answer.code == 7
        assert "is one of the records that were read" in answer.last_error
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("file", "why"),
        [
            ("none/out.csv", "there is no folder none; make it first"),
            ("file/out.csv", "there is no folder file; make it first"),
            (f"{'x' * 300}.csv", "cannot be written ("),
            ("loop", "cannot be written ("),
        ],
    )
    def test_where_no_file_can_be(self, results: Path, file: str, why: str) -> None:
        write_record(results, at(1))
        Path("file").write_text("")
        Path("loop").symlink_to("loop")
        answer = export("--to", "csv", file)
        assert answer.code == 7
        assert f"{file}: {why}" in answer.last_error

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_a_full_disk_leaves_nothing_behind(
        self, results: Path, monkeypatch: pytest.MonkeyPatch, force: list[str]
    ) -> None:
        write_record(results, at(1))
        before = "precious" if force else None
        if before:
            Path("out.csv").write_text(before)

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        answer = export("--to", "csv", "out.csv", *force)
        assert answer.code == 7
        assert "cannot be written (No space left on device)" in answer.last_error
        assert (Path("out.csv").read_text() if before else None) == before
        assert Path("out.csv").exists() == bool(before)
        assert not left_behind(Path())

    def test_a_folder_that_may_not_be_written(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_record(results, at(1))

        def refused(*_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "open", refused)
        answer = export("--to", "csv", "out.csv")
        assert answer.code == 7
        why = "(Permission denied); check the permissions, or name another file"
        assert f"out.csv: cannot be written {why}" in answer.last_error


def test_cells_that_failed_are_in_no_document_of_pytest_benchmark(results: Path) -> None:
    gpu_record(results)
    answer = export("--to", "pytest-benchmark")
    assert answer.code == 0
    assert answer.err == "left out: 1 measurement that failed\n"
    assert len(json.loads(answer.out)["benchmarks"]) == 2
    write_record(results / "other", at(4), [measurement(cell, check=FAILED) for cell in CELLS])
    answer = export("--to", "pytest-benchmark", "--from", results / "other")
    assert answer.code == 8
    assert "no cell that passed its check, and so nothing to compare (3 failed)" in answer.last_error

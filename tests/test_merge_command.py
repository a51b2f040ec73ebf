"""`chipbench results merge`: exit codes, what is told of every source, and nothing written beside an error."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.options import FORMAT_NAMES
from bench.records.store import RecordWriter, device_key
from tests.command import Answer, chipbench
from tests.support import CELLS, header, measurement, write_record
from tests.test_architecture import HEAVY
from tests.test_merge import other_end, part, tree


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPBENCH_RESULTS", "here")
    monkeypatch.chdir(tmp_path)


def merge(*args: str | Path) -> Answer:
    return chipbench("results", "merge", *args)


def three_nodes() -> None:
    """Write a record of node 1, one of node 2 that is begun here already, and one of both that is here."""
    write_record(Path("node1"), header(ident="00000001"))
    begun = write_record(Path("node2"), header(ident="00000002", started="2026-01-03T00:00:00Z"))
    both = write_record(Path("node2"), header(ident="00000003", started="2026-01-04T00:00:00Z"))
    part(Path("here/cpu-simulated"), begun, 2).rename(Path("here/cpu-simulated", begun.name))
    merge(both)


class TestAnswer:
    def test_it_says_of_every_source_what_became_of_it(self, golden: Callable[[str, str], None]) -> None:
        three_nodes()
        Path("node1/bad.jsonl").write_text("{}\n")
        answer = merge("node1", "node2", "--skip-bad")
        assert answer.code == 0
        golden("merge.txt", answer.out)
        assert answer.err.startswith("skipped: node1/bad.jsonl: damaged record: line 1: ")
        assert len(answer.err.splitlines()) == 1

    def test_as_json_and_csv(self) -> None:
        three_nodes()
        document = json.loads(merge("node1", "node2", "--format", "json").out)
        assert document.keys() == {"schema", "results", "counts", "records"}
        assert document["counts"] == {"added": 1, "extended": 1, "there already": 1, "left out": 0}
        path = "cpu-simulated/20260103T000000Z-00000002.jsonl"
        assert document["records"][1] == {
            "path": f"node2/{path}",
            "id": "00000002",
            "device": "A simulated device",
            "outcome": "extended",
            "lines_added": 3,
            "complete": True,
            "saved": f"here/{path}",
            "detail": "",
        }
        rows = [*csv.DictReader(io.StringIO(merge("node1", "node2", "--format", "csv").out))]
        assert [row["outcome"] for row in rows] == ["there already"] * 3

    @pytest.mark.parametrize("name", FORMAT_NAMES)
    def test_every_format_tells_it(self, name: str) -> None:
        write_record(Path("node1"), header())
        answer = merge("node1", "--format", name)
        assert (answer.code, answer.err) == (0, "")
        assert "added" in answer.out
        assert "0a1b2c3d" in answer.out

    def test_a_record_that_is_being_written_is_told(self) -> None:
        with RecordWriter.create(Path("node1"), header()) as writer:
            writer.append(measurement(CELLS[0]))
            answer = merge("node1")
        assert answer.code == 0
        assert answer.err == (
            f"{writer.path}: is still being written; merging it again when that has ended completes it\n"
        )

    def test_what_is_there_and_cannot_be_read_is_told(self) -> None:
        write_record(Path("node1"), header())
        Path("here").mkdir()
        Path("here/bad.jsonl").write_text("{}\n")
        answer = merge("node1")
        assert answer.code == 0
        assert answer.err.startswith("left as it is: here/bad.jsonl: damaged record: line 1: ")

    def test_that_devices_have_other_names_there_is_told_without_the_keys(self) -> None:
        for name in ("node1", "node2"):
            write_record(Path(name), header(ident=name))
            device_key(Path(name), "m")
        assert merge("node1").err == ""
        answer = merge("node1", "node2")
        assert answer.code == 0
        assert answer.err == (
            "node2: another .key than in node1, so a device or machine recorded in both counts as two; "
            "sharing one results folder, or copying .key before the first run, avoids that\n"
        )
        assert not list(Path("here").rglob(".key"))

    def test_its_help_loads_nothing_heavy(self) -> None:
        script = "import sys\nfrom bench.cli.main import main\ntry:\n    main(['results', 'merge', '--help'])\n"
        script += "except SystemExit:\n    print(*sys.modules)"
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        loaded = {name.split(".")[0] for name in ran.stdout.splitlines()[-1].split()}
        assert "click" in loaded
        assert not loaded & {*HEAVY}


class TestErrors:
    def test_with_anything_wrong_nothing_is_written(self) -> None:
        whole, other = write_record(Path("node1"), header()), other_end(Path("node2"))
        write_record(Path("node3"), header(ident="good"))
        bad = Path("node3/bad.jsonl")
        bad.write_text("")
        answer = merge("node1", "node2", "node3")
        assert answer.code == 4
        assert "3 of 4 records cannot be merged, so nothing was written; " in answer.last_error
        assert "--skip-bad" in answer.last_error
        told = [line.split(": ")[0] for line in answer.err.splitlines()[:-1]]
        assert sorted(told) == [str(whole), str(other), str(bad)]
        assert not Path("here").exists()

    def test_skipping_them_merges_the_rest(self) -> None:
        there = write_record(Path("here"), header())
        other_end(Path("node2"))
        good = write_record(Path("node3"), header(ident="good"))
        answer = merge("node2", "node3", "--skip-bad", "--format", "json")
        assert answer.code == 0
        assert answer.err.startswith("skipped: node2/")
        found = json.loads(answer.out)["records"]
        assert [one["outcome"] for one in found] == ["left out", "added"]
        assert "neither is the beginning of the other" in found[0]["detail"]
        assert set(tree(Path("here"))) == {str(path.relative_to(path.parts[0])) for path in (there, good)}

    def test_nothing_but_bad_ones_is_an_error_all_the_same(self) -> None:
        Path("bad.jsonl").write_text("")
        answer = merge("bad.jsonl", "--skip-bad")
        assert answer.code == 4
        assert answer.last_error.endswith("so nothing was written; restore them or move them away")

    def test_a_folder_without_records(self) -> None:
        write_record(Path("node1"), header())
        Path("empty").mkdir()
        answer = merge("node1", "empty")
        assert answer.code == 4
        assert "empty: no record here" in answer.error
        assert not Path("here").exists()

    @pytest.mark.parametrize(
        ("args", "why"),
        [
            ((), "Missing argument 'PATH...'"),
            (("none",), "'none' does not exist"),
            (("x" * 300,), "does not exist"),
        ],
    )
    def test_without_a_source_that_is_there(self, args: tuple[str, ...], why: str) -> None:
        answer = merge(*args)
        assert answer.code == 2
        assert why in answer.error

    @pytest.mark.parametrize(
        ("name", "why"), [("file", "it is a file"), ("loop", "Too many levels"), ("x" * 300, "File name too long")]
    )
    def test_where_no_results_folder_can_be(self, name: str, why: str) -> None:
        write_record(Path("node1"), header())
        Path("file").write_text("precious")
        Path("loop").symlink_to("loop")
        answer = merge("node1", "--results-dir", name)
        assert answer.code == 7
        assert name in answer.error
        assert why in answer.error
        assert Path("file").read_text() == "precious"

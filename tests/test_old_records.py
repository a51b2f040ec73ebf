"""Records of every schema that was ever written are read for ever; of a later one is said what reads it."""

import json
import statistics
from pathlib import Path
from typing import Any, Final

import pytest

from bench.errors import RecordError
from bench.records.record import SCHEMA, read_header, read_lines, read_record
from bench.version import VERSION, is_later
from tests.command import chipbench

DATA: Final = Path(__file__).resolve().parent / "data"
FILES: Final = {int(path.stem.removeprefix("schema-")): path for path in DATA.glob("schema-*.jsonl")}
SCHEMAS: Final = sorted(FILES)


def told(path: Path) -> list[dict[str, Any]]:
    """Return a file's lines as JSON has them, whatever chipbench makes of them."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def ended(path: Path) -> bool:
    return bool(told(path)[-1]["kind"] == "footer")


def medians(path: Path) -> dict[str, float]:
    """Return the median seconds of a call by cell, from all lines that have samples of it."""
    samples: dict[str, list[float]] = {}
    for line in told(path):
        if "samples" in line:
            samples.setdefault(json.dumps(line["cell"]), []).extend(line["samples"]["seconds_per_call"])
    return {cell: statistics.median(values) for cell, values in samples.items() if values}


def test_there_is_one_file_of_every_schema() -> None:
    assert [*range(1, SCHEMA + 1)] == SCHEMAS, "a new schema takes a new file: see tests/data/README.md"
    assert {schema: told(path)[0]["schema"] for schema, path in FILES.items()} == {one: one for one in SCHEMAS}


@pytest.mark.parametrize("schema", SCHEMAS)
class TestEvery:
    def test_it_reads_to_the_last_digit(self, schema: int) -> None:
        record = read_record(FILES[schema])
        assert record.header.tool == told(FILES[schema])[0]["tool"]
        assert not is_later(record.header.tool)
        assert (record.complete, record.torn) == (ended(FILES[schema]), 0)
        found = [reading.summary.median for reading in record.readings if reading.summary]
        assert found == [*medians(FILES[schema]).values()]
        assert len(found) > 1

    def test_it_lists_compares_and_replays(self, schema: int, tmp_path: Path) -> None:
        path, record = FILES[schema], read_record(FILES[schema])
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / path.name).write_bytes(path.read_bytes())
        listed = chipbench("results", "list", "--results-dir", tmp_path, "--format", "json")
        assert listed.code == 0
        state = "complete" if ended(path) else "interrupted"
        assert [one["state"] for one in json.loads(listed.out)["records"]] == [state]
        compared = chipbench("compare", path, "h100", "--format", "json")
        assert compared.code == 0, compared.err
        replayed = chipbench("run", "--backend", "replay", "--from", path, "--results-dir", tmp_path / "new")
        assert replayed.code == 0, replayed.err
        (again,) = (tmp_path / "new").rglob("*.jsonl")
        assert read_header(again).schema == SCHEMA
        assert read_header(again).replay_of == record.header.id


@pytest.mark.parametrize(
    ("tool", "needed"),
    [
        ("9.0.1", "9.0.1, which wrote it, or later"),
        ("10.0", "10.0, which wrote it, or later"),
        (VERSION, "a later version"),
        ("0.1.0", "a later version"),
        ("9.0.1\n\x1b[2Jsudo rm -rf", "a later version"),
        ("٩.0.1", "a later version"),
        ("9." * 100_000 + "0", "a later version"),
        ("9" * 5000, "a later version"),
        ("", "a later version"),
        (9, "a later version"),
        ({"name": "chipbench"}, "a later version"),
        (None, "a later version"),
    ],
)
def test_a_later_schema_is_refused_in_one_line_with_what_reads_it(
    tool: object, needed: str, tmp_path: Path
) -> None:
    path = tmp_path / "later.jsonl"
    path.write_text(json.dumps({"kind": "header", "schema": SCHEMA + 1, "tool": tool, "new": {}}) + "\n{}\n")
    said = f"record schema {SCHEMA + 1} is newer than this chipbench, {VERSION}, reads ({SCHEMA}); "
    for read in (read_header, read_lines):
        with pytest.raises(RecordError) as raised:
            read(path)
        assert str(raised.value) == f"{path}: {said}upgrade chipbench to {needed} to read it"
    answer = chipbench("compare", path, "h100")
    assert answer.code == 4
    assert f"upgrade chipbench to {needed} to read it" in answer.error


@pytest.mark.parametrize("schema", ["1e3", "-1", "9" * 30, "[" * 5000])
def test_what_is_no_number_of_a_schema_is_one_line_too(schema: str, tmp_path: Path) -> None:
    path = tmp_path / "later.jsonl"
    path.write_text(f'{{"kind":"header","schema":{schema}}}\n')
    with pytest.raises(RecordError) as raised:
        read_header(path)
    assert len(str(raised.value)) < len(str(path)) + 500
    assert "\n" not in str(raised.value)

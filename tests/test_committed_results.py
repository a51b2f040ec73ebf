"""The records that are committed below results/: as the tool wrote them, of chips that it knows."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.records.record import Record, read_record
from tests.command import chipbench

RESULTS: Final = Path(__file__).resolve().parent.parent / "results"
CHIPS: Final = Catalogue([shipped_specs()]).ids
# A source distribution has none of them, and neither has it what the README there tells of them.
PATHS: Final = sorted(path for chip in CHIPS for path in (RESULTS / chip).glob("*.jsonl"))


def record(path: Path) -> Record:
    return read_record(path)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
class TestEach:
    def test_it_is_whole_and_was_measured_on_the_chip_of_its_folder(self, path: Path) -> None:
        read = record(path)
        assert read.complete
        assert read.header.origin == "measured"
        assert read.header.device.chip == read.header.device.folder == path.parent.name

    def test_every_cell_passed_its_check(self, path: Path) -> None:
        read = record(path)
        assert [reading.cell for reading in read.readings if reading.passed] == list(read.header.plan.cells)

    def test_it_names_no_machine(self, path: Path) -> None:
        assert record(path).header.device.host is None
        assert not re.search(rb"/home/|/root/|GPU-[0-9a-f]{8}-", path.read_bytes())

    def test_no_rate_is_beyond_what_others_measured_without_an_explanation(self, path: Path) -> None:
        answer = chipbench("compare", path, "--sane", "--format", "json")
        assert answer.code == 0, answer.err
        for cell in json.loads(answer.out)["cells"]:
            assert cell["sanity"] in {"sane", "not judged"}, cell

    def test_it_is_told_of(self, path: Path) -> None:
        assert f"({path.relative_to(RESULTS)})" in (RESULTS / "README.md").read_text(encoding="utf-8")


def test_what_is_told_of_is_there() -> None:
    told = re.findall(r"\(([\w-]+/[\w-]+\.jsonl)\)", (RESULTS / "README.md").read_text(encoding="utf-8"))
    assert not PATHS or {*told} == {str(path.relative_to(RESULTS)) for path in PATHS}

"""`chipbench report` as typed: what it tells of, in every format, and what it refuses to write."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.cli import report
from bench.published.source import shipped_specs
from bench.report.chapters.base import Report
from bench.report.composed import CHAPTERS
from bench.report.documents import FILES, FOLDERS
from bench.version import VERSION
from bench.workloads import gemm, stream
from tests.command import chipbench
from tests.test_compare_command import GPU, H20, H100, saved

SIMULATED = Path(__file__).resolve().parent / "data" / "simulated-h100.jsonl"
HOSTILE = "<script>alert(1)</script>"


def reported(*args: str | Path) -> dict[str, Any]:
    answer = chipbench("report", *args, "--format", "json", "-o", "-")
    assert answer.code == 0, answer.err
    document: dict[str, Any] = json.loads(answer.out)
    return document


def chapter(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["chapters"] if one["name"] == name)
    return found


def sentences(document: Mapping[str, Any]) -> list[str]:
    found: list[str] = chapter(document, "answer")["document"]["sentences"]
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHIPBENCH_RESULTS", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report without a record, as on a laptop from an installed wheel."""
    results = tmp_path_factory.mktemp("nothing") / "results"
    return report._report((), (), results, None, skip_bad=False)[0]


@pytest.fixture(scope="module")
def bare(whole: Report) -> dict[str, Any]:
    """The same as JSON."""
    document: dict[str, Any] = json.loads(FILES["json"].render(whole, {}))
    return document


class TestBare:
    def test_it_has_every_chapter_and_says_that_nothing_was_measured(self, bare: Mapping[str, Any]) -> None:
        assert [one["name"] for one in bare["chapters"]] == [*CHAPTERS]
        assert chapter(bare, "measured")["document"] == {"devices": []}
        assert "'chipbench run' measures this machine" in chapter(bare, "measured")["lead"][0]
        assert bare["about"][1].startswith("Measured here: nothing.")

    def test_the_answer_is_three_sentences_of_the_cut_the_rule_and_what_others_measured(
        self, bare: Mapping[str, Any]
    ) -> None:
        cut, rule, measured = sentences(bare)
        assert cut.startswith("By what is published the H20 96GB has 15.0 % of the BF16 rate (148 TFLOPS [1]")
        assert "all of the NVLink" in cut
        assert rule.startswith("The H20 96GB has a TPP of 2368, 98.7 % of the 2400 at which 3A090.b begins")
        assert "no rule that was published covers it, but 2025-04-letter (since 2025-04-09; reported" in rule
        assert re.match(r"Measured by others, bf16 \d+³ on the NVIDIA H20 96GB ran at .* \[\d+\], 9\d", measured)

    def test_every_picture_that_needs_no_measurement_is_there_and_says_what_it_shows(
        self, bare: Mapping[str, Any]
    ) -> None:
        pictures = {one["name"]: one for part in bare["chapters"] for one in part["pictures"]}
        assert {"cut", "rule-map", "roofline", "sweep"} == {*pictures}
        assert all(len(one["alt"]) > len(one["title"]) > 40 for one in pictures.values())

    def test_every_number_in_a_text_is_that_of_a_source_and_every_source_is_named(self, whole: Report) -> None:
        markdown = FILES["md"].render(whole, {})
        named = {int(number) for number in re.findall(r"\[\\\[(\d+)\\\]\]\(#source-\d+\)", markdown)}
        assert named == {*range(1, len(whole.sources) + 1)}
        assert len(whole.sources) > 50

    def test_every_table_of_data_has_its_content_in_base_units(self, whole: Report) -> None:
        tables = FOLDERS["csv"](whole)
        assert "989400000000000" in tables["chips-side-by-side.csv"]
        assert "byte_per_s" in tables["cut-h20-96gb-against-h100-sxm5-80gb.csv"]
        rows = [*csv.DictReader(tables["dates-chips-and-days.csv"].splitlines())]
        assert {(row["day"], row["covered"]) for row in rows if row["chip"] == "h20-96gb"} >= {
            ("2023-11-17", ""), ("2025-04-09", "True")
        }  # fmt: skip


@pytest.mark.slow
class TestChips:
    def test_the_first_is_the_one_in_question(self) -> None:
        document = reported("--chip", "h800", "--chip", "h100")
        assert sentences(document)[0].startswith("By what is published the H800 SXM5 80GB has all of the BF16")
        assert "44.4 % of the NVLink" in sentences(document)[0]
        assert chapter(document, "rule")["document"]["chip"] == "h800-sxm5-80gb"

    def test_one_alone_stands_beside_what_it_was_cut_from(self) -> None:
        document = reported("--chip", "h20")
        assert [one["id"] for one in chapter(document, "chips")["document"]["chips"]] == [
            "h20-96gb", "h100-sxm5-80gb"
        ]  # fmt: skip

    def test_one_that_was_cut_from_nothing_is_alone(self) -> None:
        document = reported("--chip", "t4")
        assert "--chip adds others" in chapter(document, "cut")["lead"][0]
        assert any("nothing was measured here" in line for line in chapter(document, "against")["lead"])

    def test_of_one_without_figures_the_chapters_say_what_is_missing(self) -> None:
        document = reported("--chip", "a800-sxm4-40gb")
        assert "Nothing is published of the A800 SXM4 40GB" in sentences(document)[0]
        for name in ("cut", "against"):
            assert any(line.startswith("There is no picture here: ") for line in chapter(document, name)["lead"])
        assert "roofline" in {one["name"] for one in chapter(document, "roofline")["pictures"]}, (
            "of the whole part"
        )

    def test_one_that_is_not_known_is_refused(self) -> None:
        answer = chipbench("report", "--chip", "h21")
        assert answer.code == 2
        assert "unknown chip 'h21'; did you mean" in answer.error


@pytest.mark.slow
class TestMeasured:
    def test_a_known_chip_stands_beside_its_sheet_and_others(self, folder: Path) -> None:
        memory = stream.cells(["copy"], 1 << 28, library="kernel")
        saved(folder / "results" / "own", (1.0,), (*GPU, *memory), device=H20)
        document = reported()
        assert sentences(document)[2].startswith("Measured here, bf16 8192³ on the NVIDIA H20 96GB ran at 1.1")
        titles = {one["name"] for part in document["chapters"] for one in part["pictures"]}
        assert {"trace-1", "sweep", "roofline"} <= titles
        (run,) = chapter(document, "measured")["document"]["devices"][0]["runs"]
        assert [one["dtype"] for one in run["measurements"]] == ["bf16", "fp32"]
        first = chapter(document, "against")["document"]["comparisons"][0]
        assert [side["kind"] for side in first["sides"]] == ["measured", "published"]

    def test_a_cpu_is_held_against_the_chips_of_the_report(self, folder: Path) -> None:
        saved(folder / "results" / "cpu")
        answer = chipbench("report", "--chip", "h20", "--format", "md", "-o", "-")
        assert "| of h20-96gb" in answer.out
        assert "of h100-sxm5-80gb" in answer.out

    def test_a_cell_that_failed_is_shown_as_failed(self, folder: Path) -> None:
        cells = (*GPU, *gemm.cells(["fp16"], [gemm.square(8192)], library="cublaslt", l2="rotate"))
        saved(folder / "results" / "own", (1.0,), cells, failed=cells[1:], device=H100)
        answer = chipbench("report", "--format", "md", "-o", "-")
        assert "wrong result: row error 5.0e-01" in answer.out
        assert re.search(r"\| fp16 +\| 8192³ .*\| +no rate \|", answer.out)

    def test_if_all_failed_there_is_a_report_and_no_rate(self, folder: Path) -> None:
        saved(folder / "results" / "own", (1.0,), GPU, failed=GPU, device=H100)
        document = reported()
        assert "measured here" not in sentences(document)[2].lower()
        assert any("has no rate" in line for line in chapter(document, "method")["lead"])

    def test_a_record_may_be_named_and_a_damaged_one_skipped(self, folder: Path) -> None:
        saved(folder / "results" / "own", (1.0, 1.001), GPU, device=H100)
        next((folder / "results").rglob("*.jsonl")).write_text("{")
        answer = chipbench("report", "results", "-o", "out.html")
        assert answer.code == 4
        assert "1 record cannot be read; --skip-bad makes the report of the rest" in answer.last_error
        assert not Path("out.html").exists()
        assert chipbench("report", "results", "--skip-bad", "--format", "json", "-o", "-").code == 0

    def test_what_a_record_becomes(self, golden: Callable[[str, str], None]) -> None:
        """Of a record that was simulated: its tables, its rates beside the sheet's, and how it was measured."""
        found, used = report._report((str(SIMULATED),), ("h20", "h100"), Path("results"), None, skip_bad=False)
        assert used == [SIMULATED]
        told = [one for one in found.chapters if one.name in {"answer", "measured", "against", "method"}]
        text = FILES["md"].render(found._replace(chapters=told, sources=()), {})
        same = re.sub(r"Made on \S+ by", "Made on this day by", text.replace(VERSION, "(this version)"))
        golden("report.md", same)

    def test_nothing_but_damaged_records_makes_no_report(self, folder: Path) -> None:
        (folder / "bad.jsonl").write_text("{\n")
        answer = chipbench("report", "bad.jsonl", "--skip-bad", "-o", "r.html")
        assert answer.code == 4
        assert answer.last_error.endswith("1 record cannot be read; nothing else was named")

    def test_what_could_not_be_read_is_told_in_the_report_too(self, folder: Path) -> None:
        saved(folder / "results" / "own", (1.0,), GPU, device=H100)
        (folder / "results" / "bad.jsonl").write_text("{\n")
        answer = chipbench(
            "report", "--skip-bad", "--format", "md", "-o", "-", "--results-dir", folder / "results"
        )
        assert answer.code == 0
        assert "skipped: bad.jsonl: damaged record" in answer.out.replace("\\", "")
        assert str(folder) not in answer.out, "a path may name who made it"

    def test_if_nothing_could_be_read_the_report_does_not_say_that_nothing_was_measured(
        self, folder: Path
    ) -> None:
        (folder / "results").mkdir()
        (folder / "results" / "bad.jsonl").write_text("{\n")
        answer = chipbench("report", "--skip-bad", "--format", "md", "-o", "-")
        assert "None of the records here could be read" in answer.out

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("h20", "'h20' is a chip, and a RECORD what was measured; --chip h20 tells of it"),
            ("published:h100", "'published:h100' is a chip, and a RECORD what was measured; --chip h100 tells"),
            ("a" * 300, "is no record or folder; give a record file, a folder of records or latest"),
        ],
    )
    def test_a_chip_is_no_record(self, name: str, why: str) -> None:
        answer = chipbench("report", name)
        assert answer.code == 2
        assert why in answer.error

    def test_what_is_no_record_is_refused(self) -> None:
        answer = chipbench("report", "missing.jsonl")
        assert answer.code == 2
        assert answer.error.endswith("no record or folder; give a record file, a folder of records or latest")

    def test_what_of_others_measurements_is_replaced_is_not_said_to_be_a_chip(self, tmp_path: Path) -> None:
        own = tmp_path / "published"
        own.mkdir()
        shutil.copy(shipped_specs() / "published" / "h20-96gb.toml", own)
        answer = chipbench("report", "--chip", "h20", "--specs-dir", tmp_path, "--format", "json", "-o", "-")
        assert f"{tmp_path} overrides what others measured of h20-96gb" in answer.err
        assert "overrides: h20-96gb" not in answer.err


@pytest.mark.slow
class TestHostile:
    def test_names_and_notes_are_text_and_nothing_else(self, folder: Path) -> None:
        specs = folder / "specs" / "chips"
        specs.mkdir(parents=True)
        text = (shipped_specs() / "chips" / "h20-96gb.toml").read_text(encoding="utf-8")
        named = text.replace('name = "NVIDIA H20 96GB"', f'name = "{HOSTILE}"')
        noted = named.replace('note = "', 'note = "{{ 7*7 }} {% raw %} ', 1)
        (specs / "h20-96gb.toml").write_text(noted, encoding="utf-8")
        saved(folder / "results" / "own", (1.0,), GPU, device={**H100, "name": f"=1+1 {HOSTILE}"})
        made, _ = report._report((), (), Path("results"), Path("specs"), skip_bad=False)
        page = FILES["html"].render(made, {})
        assert HOSTILE not in page
        assert page.count("<script") == 1, "the page's own"
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{ 7*7 }}" in page
        assert "49 {% raw" not in page
        tables = [text for name, text in FOLDERS["csv"](made).items() if name.startswith("measured-")]
        cells = [cell for table in tables for row in csv.reader(table.splitlines()) for cell in row]
        assert [one for one in cells if one.startswith("'=1+1")]
        assert not [one for one in cells if one.startswith("=")]

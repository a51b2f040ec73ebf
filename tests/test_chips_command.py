"""`chipbench chips` as people and programs meet it: data on stdout, talk on stderr, one line for every mistake."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.cli.options import FORMAT_NAMES
from bench.published.figures import FIGURES
from bench.published.source import shipped_specs
from bench.units import UNITS

SHIPPED = shipped_specs() / "chips"
BASE_UNITS = {unit.base for unit in UNITS.values()} | {None}
GRADES = {"vendor", "device", "paper", "analyst", "reseller", "derived"}


def _chips(*args: str | Path, terminal: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["chips", *map(str, args)], env=terminal, prog_name="chipbench")


def _ok(*args: str | Path) -> str:
    result = _chips(*args)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def _document(*args: str | Path) -> list[dict[str, Any]]:
    document = json.loads(_ok(*args, "--format", "json"))
    assert list(document) == ["schema", "chips"]
    assert document["schema"] == 1
    chips: list[dict[str, Any]] = document["chips"]
    return chips


def _cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def _rows(text: str) -> dict[str, list[str]]:
    """The rows of a plain table by their first cell."""
    table = text.split("\n\n")[1].splitlines()
    return {cells[0]: cells[1:] for cells in map(_cells, [table[0], *table[2:]])}


def test_the_overview_has_one_row_a_chip_and_talks_to_nobody() -> None:
    result = _chips()
    assert (result.exit_code, result.stderr) == (0, "")
    rows = _rows(result.stdout)
    assert rows.pop("chip")[:2] == ["bf16 TFLOPS", "fp8 TFLOPS"]
    assert sorted(rows) == sorted(path.stem for path in SHIPPED.glob("*.toml"))
    assert rows["h20-96gb"][:4] == ["148 a", "296 a", "96 a", "4000 a*"]
    assert rows["h20-96gb"][-1] == "h100-sxm5-80gb"
    assert rows["a100-sxm4-80gb"][1] == "none"  # no FP8 there
    assert rows["h20-141gb"][5] == "?"  # nobody published it
    assert rows["h100-sxm5-80gb"][-1] == "–"


def test_side_by_side_gives_every_figure_and_its_ratio_to_the_first() -> None:
    rows = _rows(_ok("h20", "h100"))
    assert rows.pop("figure") == ["unit", "h20-96gb", "h100-sxm5-80gb", "ratio"]
    assert rows["bf16"] == ["TFLOPS", "148 a", "989.4 a*", "6.69×"]
    assert rows["memory_size"] == ["GB", "96 a", "80 v", "0.833×"]
    assert rows["fp64_tensor"][1:] == ["?", "67 v", "–"]
    assert rows["architecture"][-1] == "–"
    assert set(rows) <= set(FIGURES)


def test_the_ratio_turns_over_with_the_order_and_one_chip_has_none() -> None:
    assert _rows(_ok("h100", "h20"))["bf16"] == ["TFLOPS", "989.4 a*", "148 a", "0.150×"]
    assert _rows(_ok("h100"))["bf16"] == ["TFLOPS", "989.4 a*"]


def test_three_chips_have_two_ratios() -> None:
    assert _rows(_ok("h20", "h100", "a100"))["bf16"] == ["TFLOPS", "148 a", "989.4 a*", "6.69×", "312 v", "2.11×"]


def test_rates_in_other_units_than_the_column_s_say_so(tmp_path: Path) -> None:
    """A file may print PFLOPS where the others print TFLOPS; the ratio must hold and the unit must be seen."""
    old, new = ('value = 989.4\nunit = "TFLOPS"', 'value = 0.9894\nunit = "PFLOPS"')
    path = _overlay(tmp_path, "h100-sxm5-80gb", (f"[figures.bf16]\n{old}", f"[figures.bf16]\n{new}"))
    rows = _rows(_ok("h20", "h100", "--specs-dir", path))
    assert rows["bf16"] == ["TFLOPS", "148 a", "0.9894 PFLOPS a*", "6.69×"]


def test_sources_list_every_value_with_where_it_was_published() -> None:
    text = _ok("h20", "--sources")
    assert "https://www.smbom.com/news/13059" in text
    assert re.search(r"h20-96gb +fp32 +44 TFLOPS +alternative +\[\d+\] reseller", text)
    records = list(csv.DictReader(io.StringIO(_ok("h20", "--sources", "--format", "csv"))))
    document = _document("h20", "--sources")[0]
    values = len(document["figures"]) + sum(len(f["alternatives"]) for f in document["figures"].values())
    assert len([record for record in records if record["value"]]) == values
    assert {record["role"] for record in records} == {"figure", "alternative"}
    for record in records:
        if record["value"]:
            assert record["source_title"]
            assert record["grade"] in GRADES


def test_the_json_document_has_the_promised_shape() -> None:
    (chip,) = _document("h20")
    assert {"id", "name", "cut_from", "designed_for", "figures"} <= set(chip)
    assert (chip["id"], chip["name"]) == ("h20-96gb", "NVIDIA H20 96GB")
    assert (chip["cut_from"], chip["designed_for"]) == ("h100-sxm5-80gb", "data-centre")
    bf16 = chip["figures"]["bf16"]
    assert {"value", "unit", "dense", "source", "grade", "alternatives"} <= set(bf16)
    assert (bf16["value"], bf16["unit"], bf16["dense"], bf16["grade"]) == (
        148 * 10**12,
        "flop_per_s",
        True,
        "analyst",
    )
    assert {"title", "url"} <= set(bf16["source"])
    assert chip["figures"]["fp32"]["alternatives"][1]["value"] == 74 * 10**12
    assert chip["unknown"] == ["fp64_tensor"]
    assert chip["inapplicable"] == ["fp4"]


def test_json_is_in_base_units_and_exact() -> None:
    h20, h100 = _document("h20", "h100")
    assert h100["figures"]["bf16"]["value"] == 989_400_000_000_000
    assert (h20["figures"]["memory_size"]["value"], h20["figures"]["memory_size"]["unit"]) == (96 * 10**9, "byte")
    assert h20["figures"]["boost_clock"]["value"] == 1_980_000_000
    assert h20["figures"]["int8"]["unit"] == "op_per_s"
    assert h20["figures"]["launched"]["value"] == "2023-11-09"
    assert h100["cut_from"] is None
    assert '"value": 989400000000000,' in _ok("h100", "--format", "json")


def test_every_figure_of_the_json_has_a_source_with_a_title_and_a_grade() -> None:
    chips = _document()
    assert len(chips) == len(list(SHIPPED.glob("*.toml")))
    for chip in chips:
        for name, figure in chip["figures"].items():
            assert figure["value"] is not None
            assert figure["unit"] in BASE_UNITS
            assert isinstance(figure["dense"], bool) == FIGURES[name].rate
            for entry in (figure, *figure["alternatives"]):
                assert entry["source"]["title"]
                assert entry["grade"] in GRADES
        assert set(chip["figures"]).isdisjoint([*chip["unknown"], *chip["inapplicable"]])


def test_csv_and_json_agree() -> None:
    records = {r["figure"]: r for r in csv.DictReader(io.StringIO(_ok("h20", "--format", "csv")))}
    for name, figure in _document("h20")[0]["figures"].items():
        assert (records[name]["value"], records[name]["grade"]) == (str(figure["value"]), figure["grade"])


def test_an_alias_is_explained_on_stderr_and_an_id_is_not() -> None:
    result = _chips("h100", "--format", "json")
    assert result.stderr == "h100 stands for h100-sxm5-80gb (there are also h100-nvl-94gb, h100-pcie-80gb)\n"
    assert json.loads(result.stdout)
    assert _chips("H100-SXM5-80GB").stderr == ""


def _is_one_line_of_error(result: Result, exit_code: int, *parts: str) -> None:
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("chipbench: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("h2o", "did you mean h20"),
        ("h100-sxm", "h100-sxm5-80gb"),
        ("b400", "did you mean"),
        ("xyzzy", "'chipbench chips' lists all"),
        ("two\nlines", "unknown chip"),
        ("", "unknown chip ''"),
    ],
)
def test_an_unknown_chip_is_one_line_with_a_hint(name: str, hint: str) -> None:
    _is_one_line_of_error(_chips(name), 2, "unknown chip", hint)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--bogus"], ["--bogus"]),
        (["--source"], ["did you mean"]),
        (["h20", "--format", "xml"], ["'xml' is not one of", *FORMAT_NAMES]),
        (["h20", "--format"], ["--format", "argument"]),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it_and_the_help(args: list[str], parts: list[str]) -> None:
    result = _chips(*args)
    assert [part for part in parts if part.lower() in result.stderr.lower()] == parts
    _is_one_line_of_error(result, 2, "(see 'chipbench ", "-h')")


def _overlay(folder: Path, chip_id: str, *replacements: tuple[str, str]) -> Path:
    text = (SHIPPED / f"{chip_id}.toml").read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    target = folder / "chips" / f"{chip_id}.toml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return folder


def test_own_specs_override_the_shipped_ones_and_it_is_said(tmp_path: Path) -> None:
    overlay = _overlay(tmp_path, "h20-96gb", ('name = "NVIDIA H20 96GB"', 'name = "My H20"'))
    result = _chips("h20-96gb", "--specs-dir", overlay)
    assert result.exit_code == 0
    assert result.stderr == f"{overlay} overrides: h20-96gb\n"
    assert result.stdout.startswith("My H20: published figures\n")


def test_own_specs_add_a_chip(tmp_path: Path) -> None:
    overlay = _overlay(tmp_path, "h20-96gb", ('id = "h20-96gb"', 'id = "my-own"'))
    (tmp_path / "chips" / "h20-96gb.toml").rename(tmp_path / "chips" / "my-own.toml")
    assert "overrides" not in _chips("--specs-dir", overlay).stderr
    assert "my-own" in _rows(_ok("--specs-dir", overlay))
    assert len(_document("--specs-dir", overlay)) == len(_document()) + 1


def test_a_broken_file_of_one_s_own_is_one_line_and_stops_no_other_chip(tmp_path: Path) -> None:
    overlay = _overlay(tmp_path, "h20-96gb", ("value = 78\n", "value = -78\n"))
    broken = tmp_path / "chips" / "h20-96gb.toml"
    result = _chips("h20-96gb", "--specs-dir", overlay)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1] == (
        f"chipbench: {broken}: [figures.sm_count]: value -78 must be finite and above 0"
    )
    assert _chips("h100-sxm5-80gb", "--specs-dir", overlay).exit_code == 0


def test_a_specs_folder_that_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    _is_one_line_of_error(_chips("--specs-dir", tmp_path / "gone"), 3, "no such specs folder")
    _is_one_line_of_error(_chips("--specs-dir", tmp_path), 3, str(tmp_path), "holds none of chips/*.toml")


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_the_output_does_not_depend_on_the_terminal(name: str) -> None:
    narrow = _chips("h20", "h100", "--format", name, terminal={"COLUMNS": "40", "LINES": "10", "TERM": "dumb"})
    wide = _chips("h20", "h100", "--format", name, terminal={"COLUMNS": "300", "FORCE_COLOR": "1"})
    assert narrow.stdout == wide.stdout
    assert "\x1b" not in wide.stdout
    assert wide.stdout.endswith("\n")

"""What fuzzing found: files with one field that cannot be, which once were believed, or ended in a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RecordError
from bench.published.chips import read_chip
from bench.published.measured import read_measurements
from bench.published.rules import read_rule
from bench.published.timeline import read_timeline
from bench.records.record import read_lines, read_record
from tests.command import chipbench
from tests.spec_files import refusal
from tests.support import CELLS, PASSED, header, measurement, write_record

SPECS = Path(__file__).resolve().parent.parent / "specs"
RULE, CHIP, RATES = "rules/2023-11-3a090.toml", "chips/h20-96gb.toml", "published/h20-96gb.toml"


def with_text(folder: Path, name: str, old: str, new: str) -> Path:
    """Write a shipped file with the first such text replaced."""
    text = (SPECS / name).read_text(encoding="utf-8")
    assert old in text
    path = folder / Path(name).name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


class TestSpecs:
    @pytest.mark.parametrize(
        ("number", "why"),
        [
            ("1" * 5000, "Exceeds the limit"),
            ("1e99999999999999999999", "an exponent that nothing can have"),
            ("[" * 5000 + "]" * 5000, "inside each other"),
        ],
        ids=["thousands of digits", "a huge exponent", "deep"],
    )
    def test_toml_that_no_reader_survives_is_one_line(self, tmp_path: Path, number: str, why: str) -> None:
        path = with_text(tmp_path, CHIP, "sm_count = 78", f"sm_count = {number}")
        refusal(lambda: read_chip(path), str(path), "not valid TOML", why)

    def test_a_long_value_is_not_repeated_in_full(self, tmp_path: Path) -> None:
        path = with_text(tmp_path, CHIP, 'source = "smbom-h20"', f'source = "{"x" * 20_000}"')
        answer = chipbench("explain", path)
        assert answer.code == 3
        assert "is not in [sources]" in answer.error
        assert len(answer.error) < 2500

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "http://", "/etc/passwd", "", "https://a b", "ftp://x"]
    )
    @pytest.mark.parametrize("name", [RULE, CHIP, RATES])
    def test_an_address_is_one_of_a_page(self, tmp_path: Path, name: str, url: str) -> None:
        own = next(
            line for line in (SPECS / name).read_text(encoding="utf-8").splitlines() if line.startswith("url")
        )
        path = with_text(tmp_path, name, own, f'url = "{url}"')
        read: Callable[[Path], object] = {RULE: read_rule, CHIP: read_chip, RATES: read_measurements}[name]
        refusal(lambda: read(path), "url", "must be an address such as https://")

    @pytest.mark.parametrize("name", ["x" * 300, "/etc/passwd", "../h100", "-rf", ""])
    def test_an_id_that_is_no_name_of_a_file_is_told_as_that(self, tmp_path: Path, name: str) -> None:
        path = with_text(tmp_path, CHIP, 'id = "h20-96gb"', f'id = "{name}"')
        refusal(lambda: read_chip(path), str(path), "id ", "must be lower-case letters")

    def test_a_source_has_a_title(self, tmp_path: Path) -> None:
        path = with_text(tmp_path, CHIP, 'title = "NVIDIA MIG User Guide, Supported GPUs"', 'title = " "')
        refusal(lambda: read_chip(path), "[sources.nvidia-mig-guide]", "title is empty")

    @pytest.mark.parametrize(
        ("old", "new", "parts"),
        [
            ("published = 2023-10-25", "published = 2025-10-25", ("published 2025-10-25", "long after effective")),
            ("published = 2023-10-25", "published = 9999-12-31", ("published 9999-12-31", "between the years")),
            ("effective = 2023-11-17", "effective = 0001-01-01", ("effective 0001-01-01", "between the years")),
            (
                "effective = 2023-11-17",
                "effective = 2023-11-17\nuntil = 2023-10-01",
                ("until", "before effective"),
            ),
            ("[[outcomes]]", "[[outcomes]]\nsince = 2020-01-01", ("since 2020-01-01 is before effective",)),
            ("[[outcomes]]", "[[outcomes]]\nuntil = 2020-01-01", ("until 2020-01-01 is before effective",)),
        ],
    )
    def test_the_dates_of_a_rule_are_in_order(
        self, tmp_path: Path, old: str, new: str, parts: tuple[str, ...]
    ) -> None:
        path = with_text(tmp_path, RULE, old, new)
        refusal(lambda: read_rule(path), str(path), *parts)

    def test_a_paragraph_ends_with_its_rule(self, tmp_path: Path) -> None:
        path = with_text(tmp_path, "rules/2022-10-3a090.toml", "[[outcomes]]", "[[outcomes]]\nuntil = 2024-01-01")
        refusal(lambda: read_rule(path), "until 2024-01-01 is after that of the rule, 2023-11-16")

    def test_an_event_is_of_this_age(self, tmp_path: Path) -> None:
        with_text(tmp_path, "timeline.toml", '"2022-08-26"', '"0001-01-01"')
        refusal(lambda: read_timeline([tmp_path]), "events[0]: when", "between the years")

    def test_a_chip_was_launched_in_this_age(self, tmp_path: Path) -> None:
        path = with_text(tmp_path, CHIP, "value = 2023-11-09", "value = 9999-12-31")
        refusal(lambda: read_chip(path), "[figures.launched]: value 9999-12-31", "between the years")

    @pytest.mark.parametrize(
        ("old", "new", "part"),
        [
            ("sm_count = 78", "sm_count = 9007199254740993", "sm_count 9007199254740993"),
            ("memory_gb = 96", "memory_gb = 1e308", "memory_gb"),
            ("value = 148", "value = 148_000_000", "nothing that a device can have"),
            ("value = 148", "value = 1e-17", "nothing that a device can have"),
        ],
    )
    def test_no_chip_has_that_much_or_that_little(self, tmp_path: Path, old: str, new: str, part: str) -> None:
        path = with_text(tmp_path, CHIP, old, new)
        refusal(lambda: read_chip(path), str(path), part)

    def test_nobody_measured_a_rate_beyond_every_device(self, tmp_path: Path) -> None:
        path = with_text(tmp_path, RATES, "value = 22.81", "value = 22_810_000")
        refusal(lambda: read_measurements(path), "[[measurements]] 1: value 22810000 TFLOPS", "is the unit right?")

    def test_no_matrix_has_a_side_of_that_length(self, tmp_path: Path) -> None:
        path = with_text(tmp_path, RATES, "shape = [1024, 1024, 1024]", f"shape = [1024, 1024, {10**30}]")
        refusal(lambda: read_measurements(path), "[[measurements]] 1: shape", "three whole numbers")


def changed_record(tmp_path: Path, line: int, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a valid record of which one line was changed."""
    path = write_record(tmp_path, header())
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    change(lines[line])
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines), encoding="utf-8")
    return path


SPREAD = {"least": 3.0, "median": 2.0, "most": 4.0}
SEARCH = {
    "after": 1, "candidates": [{"algo": 1}, {"algo": 2}], "chosen": 0, "candidate": [0, 1], "calls": [1, 1],
    "seconds_per_call": [1.0, 1.0],
}  # fmt: skip


class TestRecords:
    @pytest.mark.parametrize(
        "text",
        ["yesterday", "2025-02-30T00:00:00Z", "2026-01-02", "2026-01-02T03:04:05", "0001-01-01T00:00:00Z", ""],
    )
    @pytest.mark.parametrize(("line", "field"), [(0, "started"), (0, "replayed_from"), (-1, "ended")])
    def test_a_time_is_one(self, tmp_path: Path, line: int, field: str, text: str) -> None:
        path = changed_record(tmp_path, line, lambda one: one.update({field: text}))
        with pytest.raises(RecordError, match=f"damaged record: line [15]: {field} .* is no time like"):
            read_lines(path)

    def test_a_record_is_resumed_at_a_time(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, header(), complete=False)
        with path.open("a", encoding="utf-8") as file:
            file.write('{"kind":"resumed","at":"2026-02-30T00:00:00Z","conditions":{}}\n')
        with pytest.raises(RecordError, match="line 5: at '2026-02-30T00:00:00Z' is no time"):
            read_lines(path)

    def test_a_clock_that_stepped_back_or_was_never_set_makes_no_record_unreadable(self, tmp_path: Path) -> None:
        path = changed_record(tmp_path, -1, lambda one: one.update(ended="1970-01-01T00:00:09Z"))
        assert read_record(path).complete

    @pytest.mark.parametrize(
        ("line", "change", "why"),
        [
            (0, {"process": {"index": 3, "of": 3, "group": "a"}}, "process 3 .from 0. of 3 cannot be"),
            (0, {"process": {"index": -1, "of": 3, "group": "a"}}, "process.index"),
            (0, {"member": {"index": 4, "of": 4, "fleet": "a"}}, "member 4 .from 0. of 4 cannot be"),
            (0, {"policy": {"seed": -1}}, "policy.seed"),
            (0, {"policy": {"block_s": 0}}, "policy.block_s"),
            (0, {"policy": {"cap_s": -1.0}}, "policy.cap_s"),
            (0, {"policy": {"final_rounds": 5_000_000}}, "policy.final_rounds"),
            (0, {"device": {"kind": "gpu", "name": "a", "folder": "a", "memory_bytes": -1}}, "memory_bytes"),
            (1, {"calls_per_block": -1}, "calls_per_block is -1"),
            (1, {"data": {"a": {"mean": 0.0, "sd": -1.0, "zero_share": 0.0}}}, "standard deviation of -1"),
            (1, {"data": {"a": {"mean": 0.0, "sd": 1.0, "zero_share": 2.0}}}, "share of zeros of 2"),
            (1, {"search": {**SEARCH, "chosen": 2}}, "names candidates 0 to 2, and there are 2"),
            (1, {"search": {**SEARCH, "calls": [1]}}, "columns of the search differ in length"),
            (1, {"search": {**SEARCH, "calls": [1, 0]}}, "one of its own had 0 calls"),
            (1, {"telemetry": {"readings": -1, "seconds": 1.0}}, "read -1 times"),
            (1, {"telemetry": {"readings": 9, "seconds": 1.0, "power_w": SPREAD}}, "power_w went from 3.0 to 4.0"),
            (1, {"telemetry": {"readings": 9, "seconds": 1.0, "event_reasons": {"a": 1.5}}}, "with a is 1.5"),
            (-1, {"seconds": -1.0}, "seconds"),
        ],
    )  # fmt: skip
    def test_what_was_counted_can_be(self, tmp_path: Path, line: int, change: dict[str, Any], why: str) -> None:
        path = changed_record(tmp_path, line, lambda one: one.update(change))
        with pytest.raises(RecordError, match=rf"damaged record: line \d: .*{why}"):
            read_lines(path)

    def test_what_sensors_said_is_kept_though_they_lie(self, tmp_path: Path) -> None:
        spread = {"least": 0.0, "median": 0.0, "most": 0.0}
        seen = {"readings": 0, "seconds": 0.0, "power_w": spread, "sm_clock_hz": spread, "energy_j": -5.0}
        path = changed_record(tmp_path, 1, lambda one: one.update(telemetry={**seen, "temperature_c": spread}))
        assert read_record(path).complete

    def test_a_warm_up_has_calls(self, tmp_path: Path) -> None:
        path = changed_record(tmp_path, 1, lambda one: one["warm_up"].update(calls=[1, 0]))
        with pytest.raises(RecordError, match="a block of the warm-up had 0 calls"):
            read_lines(path)

    @pytest.mark.parametrize("error", [None, 0.5])
    def test_no_check_passes_with_an_error_beyond_its_tolerance(self, tmp_path: Path, error: float | None) -> None:
        path = changed_record(tmp_path, 1, lambda one: one["check"].update(rows_error=error))
        with pytest.raises(RecordError, match="a check passed with an error of"):
            read_lines(path)

    def test_a_number_format_is_one(self, tmp_path: Path) -> None:
        def change(one: dict[str, Any]) -> None:
            for cell in one["plan"]["cells"]:
                cell["input"] = "fp33"

        with pytest.raises(RecordError, match="line 1: input 'fp33' of matmul is no number format"):
            read_lines(changed_record(tmp_path, 0, change))

    def test_a_rate_beyond_every_device_is_no_rate(self, tmp_path: Path) -> None:
        fast = [measurement(CELLS[0], [1e-17] * 6, check=PASSED), *map(measurement, CELLS[1:])]
        path = write_record(tmp_path, header(), fast)
        first, second, _ = read_record(path).readings
        assert (first.passed, second.passed) == (False, True)
        answer = chipbench("results", "check", path, "--format", "json")
        assert "its times make" in answer.out
        assert "beyond any device" in answer.out
        exported = chipbench("results", "export", "--to", "pytest-benchmark", "--from", path)
        assert "left out: 1 measurement that failed" in exported.err
        assert len(json.loads(exported.out)["benchmarks"]) == 2
        shown = chipbench("compare", path, "h20")
        assert shown.code == 0
        assert "failed their check" in shown.text

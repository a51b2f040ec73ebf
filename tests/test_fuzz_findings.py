"""What fuzzing found: files with one field that cannot be, which once were believed, or ended in a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.published.chips import read_chip
from bench.published.measured import read_measurements
from bench.published.rules import read_rule
from bench.published.timeline import read_timeline
from tests.command import chipbench
from tests.spec_files import refusal

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

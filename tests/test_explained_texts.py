"""The texts of `explain` in the small: numbers that hide nothing, signs that are right, sections in formats."""

import json
import re
from collections.abc import Callable
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.analysis.evaluation import Gap
from bench.analysis.export_rule import Verdict
from bench.analysis.reasons import missing_name
from bench.cli.options import FORMAT_NAMES
from bench.published.conditions import QUANTITIES
from bench.published.rules import read_rules
from bench.published.source import shipped_specs
from bench.report.formats import FORMATS
from bench.report.verdict_texts import in_force_text, margin_text, rule_note, signed_percent, verdict_text
from bench.report.view import Column, Section, View
from bench.units import number

ENDINGS = {"table": "txt", "md": "md", "csv": "csv", "json": "json", "latex": "tex", "html": "html"}
RULE = read_rules([shipped_specs()]).rule("2023-11-3a090")
VERDICT = Verdict(
    rule=RULE,
    met=True,
    outcome="3A090.a.1",
    exception=None,
    effect="licence",
    reason="why",
    margin=None,
    paragraphs=(),
    missing=(),
)

SECTIONS = View(
    title="A small story of x_1 & 50 %",
    columns=(),
    rows=(),
    records=[{"rule": "r-1", "met": None, "reason": "a, b"}, {"rule": "r-2", "met": True, "reason": None}],
    document={"chip": "x_1", "verdicts": [{"rule": "r-1", "met": None}]},
    notes=["Rules known until some day.", "No advice; see https://example.org/a_b."],
    sections=[
        Section(
            title="What it <is>, in numbers",
            columns=[Column("rule"), Column("TPP", "right"), Column("why", width=24), Column("")],
            rows=[
                ["r-1", "2368", "TPP 2368 < 2400 | and the performance density 2.91 ≥ 1.6 too", "cut"],
                ["r-22", "4800", "", ""],
            ],
            lead=["The lead stands above the table.", "It may have two lines."],
            notes=["* a note below it"],
        ),
        Section(title="What is said in words", lead=["Only a lead: 98.7 % of {most}.", "And no table."]),
    ],
)


def _read(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2368", "2368"), ("15831.2", "15831.2"), ("2643.2", "2643.2"), ("3.2", "3.2"), ("0.01", "0.01"),
        ("99999", "99999"), ("100000", "100,000"), ("80000000000", "80,000,000,000"),
        ("1234567.89", "1,234,567.89"),
        ("2368/814", "2.91"), ("1/3", "0.333"), ("2/3", "0.667"), ("200000/3", "66667"), ("1/3000", "0.000333"),
        ("4800", "4800"), ("-32", "-32"),
    ],
)  # fmt: skip
def test_a_number_is_exact_where_that_is_short_and_else_has_its_first_digits(value: str, text: str) -> None:
    assert number(Fraction(value)) == text


SHORT = st.builds(
    Fraction, st.decimals(1, 10**9, places=4).filter(lambda d: len(d.normalize().as_tuple()[1]) < 10)
)
POSITIVE = st.fractions(Fraction(1, 10**6), 10**12)


@given(SHORT)
def test_a_number_that_ends_within_nine_digits_can_be_read_back(value: Fraction) -> None:
    assert _read(number(value)) == value


@given(POSITIVE)
def test_a_number_has_no_exponent_and_is_within_half_a_per_cent(value: Fraction) -> None:
    text = number(value)
    assert re.fullmatch(r"[\d,]+(\.\d+)?", text)
    assert abs(_read(text) / value - 1) <= Fraction(1, 200)


@given(SHORT, st.integers(1, 18), st.integers(-9, 9), st.integers(1, 10**6))
def test_a_value_next_to_a_threshold_reads_on_its_own_side(
    threshold: Fraction, digits: int, step: int, divisor: int
) -> None:
    """However near: digits are added until the text differs, and in the right direction."""
    value = threshold * (1 + Fraction(step, divisor * 10**digits))
    assume(value != threshold)
    shown = _read(number(value, threshold))
    assert (shown > threshold) == (value > threshold)
    assert shown != threshold
    assert abs(shown / value - 1) <= Fraction(1, 200)


@given(POSITIVE, POSITIVE)
def test_any_two_numbers_that_differ_differ_in_text(value: Fraction, threshold: Fraction) -> None:
    assume(value != threshold)
    assert (_read(number(value, threshold)) > threshold) == (value > threshold)


@given(SHORT)
def test_a_value_on_its_threshold_reads_like_it(value: Fraction) -> None:
    assert number(value, value) == number(value)


@pytest.mark.parametrize(
    ("met", "outcome", "exception", "text"),
    [
        (True, "3A090.a.1", None, "met: 3A090.a.1"),
        (True, "3A090.a.1", "NAC", "met: 3A090.a.1, exception NAC"),
        (True, None, None, "met"),
        (True, None, "NAC", "met, exception NAC"),
        (False, None, None, "not met"),
        (None, None, None, "unknown"),
    ],
)
def test_a_verdict_in_words(met: bool | None, outcome: str | None, exception: str | None, text: str) -> None:
    assert verdict_text(VERDICT._replace(met=met, outcome=outcome, exception=exception)) == text


@pytest.mark.parametrize(
    ("quantity", "value", "threshold", "text"),
    [
        ("tpp", 2368, 2400, "-1.33 % (TPP, 2400)"),
        ("tpp", 4800, 4800, "0 % (TPP, 4800)"),
        ("tpp", 15831, 4800, "+230 % (TPP, 4800)"),
        ("performance_density", 3, Fraction("3.2"), "-6.25 % (performance density, 3.2)"),
        ("memory_bandwidth", 864, 1400, "-38.3 % (memory bandwidth, 1400 GB/s)"),
        ("transistors", 8 * 10**10, 3 * 10**10, "+167 % (transistors, 30,000,000,000)"),
    ],
)
def test_a_margin_has_its_sign_its_quantity_and_its_threshold(
    quantity: str, value: int, threshold: int | Fraction, text: str
) -> None:
    assert margin_text(Gap(quantity, Fraction(value), Fraction(threshold))) == text


def test_no_margin_is_no_text() -> None:
    assert margin_text(None) == ""


@given(POSITIVE, POSITIVE, st.sampled_from([*QUANTITIES]))
def test_the_sign_of_a_margin_is_that_of_the_difference(value: Fraction, threshold: Fraction, name: str) -> None:
    text = margin_text(Gap(name, value, threshold))
    assert text[0] == ("+" if value > threshold else "-" if value < threshold else "0")
    assert (text.startswith("0 %")) == (value == threshold)
    assert text.endswith(f"{QUANTITIES[name].unit})")


@pytest.mark.parametrize("share", [Fraction(1, 10**12), Fraction(-1, 10**12)])
def test_the_smallest_share_is_not_nothing(share: Fraction) -> None:
    assert re.fullmatch(r"[+-]0\.0000000001\d* %", signed_percent(share))


PUBLIC, SINCE, UNTIL = date(2023, 10, 25), date(2023, 11, 17), date(2024, 1, 2)


@pytest.mark.parametrize(
    ("published", "effective", "until", "text"),
    [
        (PUBLIC, SINCE, UNTIL, "2023-11-17 to 2024-01-02"),
        (PUBLIC, SINCE, None, "since 2023-11-17"),
        (None, SINCE, UNTIL, "2023-11-17 to 2024-01-02"),
        (date(2023, 12, 1), SINCE, UNTIL, "2023-11-17 to 2024-01-02, public 2023-12-01"),
        (SINCE, SINCE, None, "since 2023-11-17"),
        (PUBLIC, None, UNTIL, "never law"),
    ],
)
def test_when_a_rule_was_in_force(
    published: date | None, effective: date | None, until: date | None, text: str
) -> None:
    """The day on which it became public is told only where it was in force before."""
    rule = RULE._replace(published=published, effective=effective, until=until)
    assert in_force_text(rule) == text


def test_a_rule_is_told_with_title_citation_grade_dates_note_and_address() -> None:
    rule = RULE._replace(
        id="r-1",
        title="A rule",
        citation="1 FR 2",
        compliance=date(2023, 12, 1),
        note="So it is.",
        url="https://a.org/b",
    )
    text = rule_note(rule)
    assert text.startswith("r-1: A rule (1 FR 2; grade: published; public 2023-10-25)")
    assert in_force_text(rule).endswith(", compliance due 2023-12-01")
    assert "So it is." in text
    assert re.search(r"https://a\.org/b(?!\.\w)", text)
    bare = rule_note(rule._replace(note=None, url=None, published=None, compliance=None))
    assert bare.rstrip(".") == "r-1: A rule (1 FR 2; grade: published)"
    assert "None" not in bare


@pytest.mark.parametrize(
    ("name", "text"), [("fp16", "FP16"), ("die_area", "die area"), ("--die", "--die"), ("int8", "INT8")]
)
def test_a_missing_figure_reads_like_words(name: str, text: str) -> None:
    assert missing_name(name) == text


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_sections_look_like_their_golden_file(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"sections.{ENDINGS[name]}", FORMATS[name](SECTIONS))


@pytest.mark.parametrize("name", ["table", "md", "latex", "html"])
def test_lead_table_and_notes_of_a_section_stand_in_this_order(name: str) -> None:
    text = FORMATS[name](SECTIONS)
    parts = [
        "in numbers",
        "The lead stands",
        "It may have two",
        "r-22",
        "a note below",
        "said in words",
        "Only a lead",
    ]
    places = [text.index(part) for part in [*parts, "Rules known until"]]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["table", "md", "latex", "html"])
def test_a_section_without_rows_has_no_table(name: str) -> None:
    section = SECTIONS.sections[0]
    text = FORMATS[name](SECTIONS._replace(sections=[section._replace(rows=[])]))
    assert "The lead stands" in text
    assert not re.search(r"TPP +why|\| *TPP|begin\{tabular\}|<table", text)


def test_data_formats_have_no_sections() -> None:
    assert FORMATS["csv"](SECTIONS).splitlines()[0] == "rule,met,reason"
    assert list(json.loads(FORMATS["json"](SECTIONS))) == ["schema", "chip", "verdicts"]


def test_a_section_s_width_wraps_its_column_and_only_that() -> None:
    lines = FORMATS["table"](SECTIONS).splitlines()
    wide = FORMATS["table"](
        SECTIONS._replace(sections=[SECTIONS.sections[0]._replace(columns=[Column(head) for head in "abcd"])])
    )
    assert "TPP 2368 < 2400 | and the performance density 2.91 ≥ 1.6 too" in wide
    assert not any("2.91 ≥ 1.6 too" in line and "TPP 2368 <" in line for line in lines)

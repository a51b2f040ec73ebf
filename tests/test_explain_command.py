"""`chipbench explain` as people and programs meet it: one story in six formats, on any day, for any design."""

import re
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from bench.cli.options import FORMAT_NAMES
from bench.published.chips import Catalogue
from bench.published.rules import read_rules
from bench.published.source import shipped_specs
from tests.explain_lab import SECTIONS, document, explain, records, sections, stdout, verdicts

DESIGN = ("--tops", "16=383", "--die", "1580", "--nvlink", "800", "--dram", "3200")
H20 = ("--tops", "8=296", "--tops", "16=148", "--die", "814", "--dram", "4000")
H20_LINKS = ("--nvlink", "900", "--pcie", "128")
ARTICLE = ("--on", "2025-04-09")
BOOK = read_rules([shipped_specs()])
RULES = [rule.id for rule in BOOK.rules]
CHIPS = Catalogue([shipped_specs()]).ids
DAY = r"\d{4}-\d\d-\d\d"
EFFECTS = {"licence", "exception", "case-by-case", "denial", "tariff", "quota", "presumption", "none"}
COLUMNS = {
    *("chip", "tpp", "tpp_is_lower_bound", "performance_density", "rule", "published", "effective", "until"),
    *("grade", "met", "outcome", "exception", "effect", "reason"),
    *(f"margin_{name}" for name in ("quantity", "value", "threshold", "relative")),
}
WORDS = ["not legal advice", "Rules known until 2026-09-25", "reported, not published", "Not covered by"]


class _Page(HTMLParser):
    """Reads a page as a browser would: every element must be closed by its own end tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def _headings(name: str, text: str) -> list[str]:
    patterns = {"table": r"^\d+\. (.+)\n-+$", "md": r"^### (.+)$", "latex": r"^\\subsection\*\{(.+)\}$"}
    return _Page(text).headings if name == "html" else re.findall(patterns[name], text, re.MULTILINE)


@pytest.mark.parametrize("name", ["table", "md", "latex", "html"])
def test_the_sections_stand_in_the_order_in_which_a_reader_asks(name: str) -> None:
    headings = _headings(name, stdout("h20-96gb", "--format", name))
    assert sections(headings) == SECTIONS, headings


@pytest.mark.parametrize("name", ["table", "md", "latex", "html"])
@pytest.mark.parametrize("subject", [("h20-96gb",), (*H20, *H20_LINKS), ("h20-96gb", *ARTICLE)])
def test_the_words_are_careful_in_every_format(name: str, subject: tuple[str, ...]) -> None:
    text = " ".join(stdout(*subject, "--format", name).split())
    assert [word for word in WORDS if word.lower() not in text.lower()] == []


def test_table_headings_are_numbered_and_underlined_to_their_length() -> None:
    lines = stdout("h20-96gb").splitlines()
    assert set(lines[1]) == {"="}
    assert len(lines[1]) == len(lines[0])
    numbers = [(int(line.split(".")[0]), i) for i, line in enumerate(lines) if re.match(r"\d+\. ", line)]
    assert [number for number, _ in numbers] == [*range(1, len(numbers) + 1)]
    for _, i in numbers:
        assert lines[i + 1] == "-" * len(lines[i])


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head() -> None:
    blocks = [block.splitlines() for block in stdout("h20-96gb", "--format", "md").split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert len(tables) >= 5
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, table[0]


@pytest.mark.parametrize("subject", [("h20-96gb",), ("l40",), DESIGN, ("--all", *ARTICLE)])
def test_latex_closes_what_it_opens(subject: tuple[str, ...]) -> None:
    text = stdout(*subject, "--format", "latex")
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    braces = re.sub(r"\\textbackslash\{\}|\\[{}]", "", text)
    assert braces.count("{") == braces.count("}")
    for table in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        for row in re.findall(r"^ .*\\\\$", table[1], re.MULTILINE):
            assert len(re.findall(r"(?<!\\)&", row)) == len(table[0]) - 1, row


def test_latex_has_a_character_for_all_that_explain_says_of_chips_whose_verdicts_flip() -> None:
    for chip in ("l40", "h20-96gb"):
        odd = {mark for mark in stdout(chip, "--format", "latex") if not mark.isascii()}
        assert odd == set(), chip


@pytest.mark.parametrize("subject", [("h20-96gb",), DESIGN, ("--all", *ARTICLE)])
def test_html_is_one_well_formed_page_without_anything_that_runs(subject: tuple[str, ...]) -> None:
    page = _Page(stdout(*subject, "--format", "html"))
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "form"} & set(page.tags)


def test_csv_has_one_row_a_verdict_in_the_order_of_time_and_says_what_json_says() -> None:
    rows, told = records("h20-96gb"), verdicts("h20-96gb")
    assert [row["rule"] for row in rows] == list(told) == RULES
    assert set(rows[0]) >= COLUMNS
    for row, verdict in zip(rows, told.values(), strict=True):
        margin = verdict["margin"] or {}
        for name in ("met", "outcome", "exception", "effect", "published", "effective", "until", "reason"):
            assert row[name] == ("" if verdict[name] is None else str(verdict[name]))
        assert row["margin_value"] == str(margin.get("value", ""))
        assert (row["chip"], row["tpp"], row["tpp_is_lower_bound"]) == ("h20-96gb", "2368", "False")


def _is_day(value: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    return value is None or re.fullmatch(DAY, value) is not None


@pytest.mark.parametrize("subject", [("h20-96gb",), ("l40",), ("rtx5090d",), DESIGN, ("h20-96gb", *ARTICLE)])
def test_json_has_the_promised_fields_with_their_types(subject: tuple[str, ...]) -> None:
    told = document(*subject)
    assert list(told)[:7] == [
        *("schema", "chip", "tpp", "tpp_is_lower_bound", "performance_density", "known_until", "verdicts")
    ]
    assert told["schema"] == 1
    assert told["chip"] == (None if subject is DESIGN else subject[0])
    assert isinstance(told["tpp"], int | float)
    assert isinstance(told["tpp_is_lower_bound"], bool)
    assert told["performance_density"] == pytest.approx(told["tpp"] / told["die_area_mm2"], rel=1e-15)
    assert told["known_until"] == "2026-09-25"
    for verdict in told["verdicts"]:
        assert all(_is_day(verdict[name]) for name in ("published", "effective", "until"))
        assert verdict["grade"] in {"published", "reported", "bill"}
        assert verdict["met"] in (True, False, None)
        assert (verdict["outcome"] is not None) <= (verdict["met"] is True)
        assert verdict["exception"] in (None, "NAC")
        assert verdict["effect"] in (EFFECTS if verdict["met"] is not None else {None})
        assert verdict["met"] is not False or verdict["effect"] == "none"
        assert verdict["reason"].strip()
        if verdict["margin"] is not None:
            assert {"quantity", "value", "threshold", "relative"} <= set(verdict["margin"])


def test_margins_of_bandwidths_are_in_bytes_a_second_and_their_ratio_is_right() -> None:
    units = set()
    for chip in ("h20-96gb", "l40", "rtx4090"):
        for verdict in verdicts(chip).values():
            if (margin := verdict["margin"]) is not None:
                units.add((margin["quantity"], margin["unit"]))
                assert margin["relative"] == pytest.approx(margin["value"] / margin["threshold"] - 1, rel=1e-12)
    assert {"byte_per_s"} == {unit for name, unit in units if "bandwidth" in name or name == "io"}
    assert {None} == {unit for name, unit in units if name in {"tpp", "performance_density", "transistors"}}
    letter = verdicts("l40")["2025-04-letter"]["margin"]
    assert (letter["value"], letter["threshold"]) == (864_000_000_000, 1_400_000_000_000)


def test_the_h20_is_at_98_7_per_cent_of_the_line_that_binds() -> None:
    (line,) = (line for line in document("h20-96gb")["ceilings"] if line["rule"] == "2023-11-3a090")
    assert (line["tpp"], line["inclusive"]) == (2400, False)
    assert line["share"] == pytest.approx(2368 / 2400)
    assert line["binding"] == [{"quantity": "tpp", "threshold": 2400}]
    assert "It reaches 98.7 % of the most" in stdout("h20-96gb")
    assert "fp8 < 300 TFLOPS" in stdout("h20-96gb")


def test_both_readings_of_io_are_shown_with_their_numbers_where_they_decide() -> None:
    """4900 or 5028 GB/s against 5000: each reading is told with the sum that it makes, not with something else."""
    verdict = verdicts("h20-96gb")["bill-safe-chips"]
    assert verdict["met"] is None
    assert [sum_ for sum_ in ("4900", "5028", "5000") if sum_ not in verdict["reason"]] == []


def test_quotas_count_whole_chips() -> None:
    assert document("h100-sxm5-80gb")["quotas"] == [{"rule": "2025-01-diffusion", "chips": 1699, "at_most": False}]
    assert "1,699 of this chip fit into the 26,900,000 TPP" in " ".join(stdout("h100-sxm5-80gb").split())
    assert document("rtx5090d")["quotas"][0]["at_most"] is True


def test_a_line_that_binds_is_named_once() -> None:
    assert "TPP < 4800 and TPP ≤ 4800" not in stdout("rtx4090d")


def test_a_reason_says_nothing_twice() -> None:
    for verdict in [*verdicts("l40").values(), *verdicts("h20-96gb").values(), *verdicts("rtx4090").values()]:
        parts = verdict["reason"].split(": ", 1)[-1].split(", ")
        assert len(parts) == len(set(parts)), verdict["reason"]


def test_every_option_that_the_text_names_exists() -> None:
    known = set(re.findall(r"--[a-z-]+", stdout("-h")))
    for subject in (("h20-96gb",), DESIGN, ("--tops", "8=1")):
        text = re.sub(r"'chipbench chips [^']*'", "", " ".join(stdout(*subject).split()))
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
        assert named <= known, subject


def test_an_alternative_that_flips_a_verdict_is_named_with_source_and_verdicts() -> None:
    text = " ".join(stdout("l40").split())
    assert re.search(r"fp16_acc16 362 TFLOPS by .{1,120}analyst", text)
    assert "lamonoai/gpumap" in text
    assert "met: 3A090.b.1, exception NAC → met: 3A090.a.1" in text
    assert {flip["figure"] for flip in document("l40")["flips"]} == {"fp16_acc16"}
    assert document("h20-96gb")["flips"] == []


def test_the_article_s_day_has_the_rules_in_force_and_no_others() -> None:
    told = verdicts("h20-96gb", *ARTICLE)
    day = date(2025, 4, 9)
    expected = {
        rule: verdict
        for rule, verdict in verdicts("h20-96gb").items()
        if verdict["effective"]
        and date.fromisoformat(verdict["effective"]) <= day
        and (verdict["until"] is None or day <= date.fromisoformat(verdict["until"]))
    }
    assert told == expected
    assert "2025-04-letter" in told
    assert not {"2022-10-3a090", "2026-01-review", "bill-safe-chips"} & set(told)
    assert told["2023-11-3a090"]["met"] is False
    assert told["2025-04-letter"]["met"] is True
    assert {event["when"] for event in document("h20-96gb", *ARTICLE)["timeline"]} == {"2025-04-09"}


@pytest.mark.parametrize(
    ("day", "has", "lacks"),
    [
        ("2022-08-26", "2022-08-letter", "2022-10-3a090"),
        ("2023-11-16", "2022-10-3a090", "2023-11-3a090"),
        ("2023-11-17", "2023-11-3a090", "2022-10-3a090"),
        ("2025-04-08", "2025-01-diffusion", "2025-04-letter"),
        ("2025-05-13", "2025-01-diffusion", "2026-01-review"),
        ("2025-05-14", "2025-04-letter", "2025-01-diffusion"),
    ],
)
def test_the_first_and_the_last_day_of_a_rule_count(day: str, has: str, lacks: str) -> None:
    told = verdicts("h20-96gb", "--on", day)
    assert has in told
    assert lacks not in told


def test_the_last_day_that_was_followed_is_known_and_the_next_is_not() -> None:
    last, beyond = explain("h20-96gb", "--on", "2026-09-25"), explain("h20-96gb", "--on", "2026-09-26")
    assert (last.exit_code, last.stderr) == (0, "")
    assert beyond.exit_code == 0
    assert beyond.stderr == "the rules are known until 2026-09-25; what they say on 2026-09-26 is unknown\n"
    assert len({verdict["met"] for verdict in verdicts("h20-96gb", "--on", "2026-09-25").values()}) == 3


@pytest.mark.parametrize("subject", [("h20-96gb",), DESIGN])
def test_of_a_day_that_nobody_followed_nothing_is_said(subject: tuple[str, ...]) -> None:
    told = document(*subject, "--on", "2031-01-01")
    for verdict in told["verdicts"]:
        assert [verdict[name] for name in ("met", "outcome", "exception", "effect", "margin")] == [None] * 5
        assert "2026-09-25" in verdict["reason"]
        assert "2031-01-01" in verdict["reason"]
    assert told["tpp"] is not None  # which is no matter of the day


def test_of_a_day_that_nobody_followed_no_line_is_drawn_and_no_alternative_is_cleared() -> None:
    assert document("h20-96gb", "--on", "2031-01-01")["ceilings"] == []
    text = " ".join(stdout("h20-96gb", "--on", "2031-01-01").split())
    assert "of the most that" not in text
    assert "No verdict depends on which source is right" not in text


def test_all_chips_against_all_rules_in_one_table() -> None:
    lines = stdout("--all").split("\n\n")[1].splitlines()
    assert lines[0].split() == ["chip", "TPP", "density", *RULES]
    assert [line.split()[0] for line in lines[2:]] == CHIPS
    cells = dict(
        zip(lines[0].split(), re.split(r" {2,}", lines[2 + CHIPS.index("h20-96gb")].strip()), strict=True)
    )
    assert (cells["TPP"], cells["density"]) == ("2368", "2.91")
    assert [cells[rule] for rule in ("2022-08-letter", "2023-11-3a090", "2025-04-letter")] == ["?", "no", "letter"]
    assert re.search(r"^l40 .* 3A090\.b\.1 \(NAC\) ", stdout("--all"), re.MULTILINE)


def test_all_in_markdown_has_one_row_a_chip_and_says_what_its_words_mean() -> None:
    text = stdout("--all", "--format", "md")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == CHIPS
    assert {len(row) for row in rows} == {3 + len(RULES)}
    notes = text.split("\n\n")[2]
    assert [rule for rule in RULES if rule not in notes] == []
    assert "not legal advice" in notes


def test_all_as_data_has_every_chip_and_every_rule_and_agrees_with_each_chip_alone() -> None:
    told = document("--all")
    assert (told["schema"], told["known_until"]) == (1, "2026-09-25")
    assert [chip["chip"] for chip in told["chips"]] == CHIPS
    for chip in told["chips"]:
        assert [verdict["rule"] for verdict in chip["verdicts"]] == RULES
    for name in ("h20-96gb", "rtx5090d"):
        (alone,) = (chip for chip in told["chips"] if chip["chip"] == name)
        assert alone["verdicts"] == document(name)["verdicts"]


def test_all_on_a_day_as_csv_has_every_chip_with_the_rules_of_that_day() -> None:
    rows, rules = records("--all", *ARTICLE), list(verdicts("h20-96gb", *ARTICLE))
    assert [(row["chip"], row["rule"]) for row in rows] == [(chip, rule) for chip in CHIPS for rule in rules]
    assert [row for row in rows if row["chip"] == "l40"] == records("l40", *ARTICLE)


def test_a_design_of_the_h20_s_numbers_gets_the_h20_s_verdicts_from_every_rule_that_reckons() -> None:
    chip, design = verdicts("h20-96gb"), verdicts(*H20, *H20_LINKS)
    not_reckoned = {"2022-08-letter", "2023-10-letter", "2025-04-letter", "2025-01-foundry"}
    for rule in set(RULES) - not_reckoned:
        for name in ("met", "outcome", "exception", "effect", "margin"):
            assert design[rule][name] == chip[rule][name], rule
    assert design["2025-04-letter"]["met"] is True  # by numbers, not by name
    assert design["2025-04-letter"]["margin"]["threshold"] == 1_700_000_000_000
    assert design["2025-01-foundry"]["met"] is None
    assert document(*H20, *H20_LINKS)["chip"] is None


@pytest.mark.parametrize(("total", "met"), [("900", False), ("999.999", False), ("1000", True), ("1028", True)])
def test_io_in_all_has_one_reading(total: str, met: bool) -> None:
    told = document(*H20, "--io", total)
    assert [reading["value"] for reading in told["io"]] == [float(total) * 1e9]
    assert verdicts(*H20, "--io", total)["bill-safe-chips"]["met"] is met


@pytest.mark.parametrize(
    ("tops", "consumer", "met", "outcome", "exception"),
    [
        ("600", False, True, "3A090.a.1", None),
        ("600", True, True, "3A090.a.1", "NAC"),
        ("599.999999999", True, False, None, None),
        ("599.999999999", False, True, "3A090.a.2", None),
        ("300", False, True, "3A090.b.1", "NAC"),
        ("300", True, False, None, None),
        ("299.999999999", False, False, None, None),
    ],
)
def test_a_design_for_consumers_is_caught_only_from_4800_and_then_with_an_exception(
    tops: str, consumer: bool, met: bool, outcome: str | None, exception: str | None
) -> None:
    said = verdicts("--tops", f"8={tops}", "--die", "810", *(["--consumer"] if consumer else []))["2023-11-3a090"]
    assert (said["met"], said["outcome"], said["exception"]) == (met, outcome, exception)


def test_any_whole_bit_length_is_arithmetic_and_the_highest_product_counts() -> None:
    told = document("--tops", "7=5", "--tops", "16=2", "--tops", "1=30")
    assert told["tpp"] == 35
    assert [(rate["bits"], rate["tpp"]) for rate in told["rates"]] == [(7, 35), (16, 32), (1, 30)]


def test_an_alias_is_explained_on_stderr_and_an_id_is_not() -> None:
    alias, own = explain("H20"), explain("h20-96gb")
    assert alias.stderr == "h20 stands for h20-96gb (there are also h20-141gb)\n"
    assert own.stderr == ""
    assert alias.stdout == own.stdout


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_the_output_does_not_depend_on_the_terminal(name: str) -> None:
    narrow = explain("h20-96gb", "--format", name, terminal={"COLUMNS": "40", "TERM": "dumb"})
    assert narrow.stdout == stdout("h20-96gb", "--format", name)
    assert "\x1b" not in narrow.stdout
    assert narrow.stdout.endswith("\n")


@pytest.mark.parametrize(
    ("file", "args"),
    [
        ("explain-h20.txt", ("h20",)),
        ("explain-design.txt", DESIGN),
        ("explain-h20.json", ("h20", *ARTICLE, "--format", "json")),
    ],
)
def test_the_acceptance_commands_say_what_their_golden_files_say(
    file: str, args: tuple[str, ...], golden: Callable[[str, str], None]
) -> None:
    golden(file, stdout(*args))

"""What `chipbench explain` is given: chips and rules of one's own as they are, and mistakes as one line each."""

import re
from pathlib import Path

import pytest

from bench.published.source import shipped_specs
from tests.explain_lab import (
    FIGURES,
    RULE,
    SECTIONS,
    UNKNOWN,
    document,
    explain,
    is_one_line_of_error,
    sections,
    stdout,
    verdicts,
    write_chip,
    write_rule,
)

RIVAL = '\nalternatives = [{ value = 301, source = "rival", note = "Rounded up." }]'


def _headings(text: str) -> list[str]:
    return re.findall(r"^\d+\. (.+)\n-+$", text, re.MULTILINE)


@pytest.mark.parametrize("cut_from", [None, "h100-sxm5-80gb"])
def test_an_invented_chip_gets_every_section(tmp_path: Path, cut_from: str | None) -> None:
    path = write_chip(tmp_path / "invented.toml", cut_from=cut_from)
    result = explain(path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert sections(_headings(result.stdout)) == SECTIONS
    assert "TPP 2320 = 290 TFLOPS (fp8, dense) x 8 bit" in result.stdout
    assert document(path)["cut_from"] == cut_from
    assert ("not known to be cut from another chip" in result.stdout) == (cut_from is None)
    assert ("against NVIDIA H100 SXM5 80GB" in result.stdout) == (cut_from is not None)


def test_a_file_of_a_shipped_chip_tells_what_its_id_tells() -> None:
    path = shipped_specs() / "chips" / "h800-sxm5-80gb.toml"
    assert stdout(path) == stdout("h800-sxm5-80gb")


def test_an_alternative_that_crosses_2400_is_named(tmp_path: Path) -> None:
    disputed = write_chip(tmp_path / "disputed.toml", {"fp8": FIGURES["fp8"] + RIVAL})
    (flip,) = (flip for flip in document(disputed)["flips"] if flip["rule"] == "2023-11-3a090")
    assert (flip["figure"], flip["value"], flip["unit"]) == ("fp8", 301 * 10**12, "flop_per_s")
    assert flip["sources"] == [{"title": "A rival sheet", "url": None, "grade": "reseller"}]
    assert flip["before"] == {"met": False, "outcome": None}
    assert flip["after"] == {"met": True, "outcome": "3A090.b.1"}
    text = " ".join(stdout(disputed).split())
    assert "fp8 301 TFLOPS" in text
    assert "A rival sheet" in text
    assert re.search(r"2023-11-3a090:? not met → met: 3A090\.b\.1", text)


def test_an_alternative_on_the_same_side_of_2400_changes_nothing(tmp_path: Path) -> None:
    same_side = write_chip(tmp_path / "same.toml", {"fp8": FIGURES["fp8"] + RIVAL.replace("301", "299.9")})
    told = document(same_side)
    assert (told["flips"], told["alternatives_tried"]) == ([], 1)


@pytest.mark.parametrize(
    ("figure", "named", "rules"),
    [
        ("die_area", "die area", {"2023-11-3a090"}),
        ("nvlink", "NVLink", {"bill-safe-chips"}),
        ("memory_bandwidth", "memory bandwidth", {"bill-safe-chips"}),
        ("transistors", "transistors", {"2025-01-foundry"}),
        ("fp16", "FP16", {"2023-11-3a090", "2023-10-letter", "2022-10-3a090"}),
    ],
)
@pytest.mark.parametrize("absent", [True, False])
def test_what_depends_on_a_figure_that_nobody_published_is_unknown_and_names_it(
    tmp_path: Path, figure: str, named: str, rules: set[str], absent: bool
) -> None:
    """Whether the file says that the figure is unknown or does not mention it at all."""
    path = write_chip(tmp_path / "partial.toml", {figure: UNKNOWN})
    if absent:
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(rf"\[figures\.{figure}\][^\[]*", "", text), encoding="utf-8")
    told = verdicts(path)
    for rule in rules:
        assert told[rule]["met"] is None, rule
        assert named in told[rule]["reason"], rule
        assert told[rule]["missing"] == [figure]
    assert told["2025-04-letter"]["met"] is (None if figure == "memory_bandwidth" else True)


def test_without_links_and_memory_nothing_can_be_said_of_bandwidths(tmp_path: Path) -> None:
    path = write_chip(tmp_path / "bare.toml", dict.fromkeys(("nvlink", "pcie", "memory_bandwidth"), UNKNOWN))
    told = verdicts(path)
    for rule in ("2025-04-letter", "bill-ai-overwatch", "bill-safe-chips"):
        assert told[rule]["met"] is None
        assert "memory bandwidth" in told[rule]["reason"]
    assert told["2023-11-3a090"]["met"] is False  # which never asked
    assert [reading["value"] for reading in document(path)["io"]] == [None] * len(document(path)["io"])


@pytest.mark.parametrize(
    ("args", "option"), [(["--dram", "1"], "--die"), (["--die", "814"], "--dram"), (["--die", "814"], "--io")]
)
def test_a_design_s_verdict_names_the_option_that_it_lacks(args: list[str], option: str) -> None:
    told = verdicts("--tops", "8=296", *args)
    open_ones = [verdict for verdict in told.values() if option in verdict["reason"]]
    assert open_ones
    assert {verdict["met"] for verdict in open_ones} == {None}


HOSTILE = r"<script>alert(1)</script> | a&b \u001b[31m \u0007 \u009b2J [x](javascript:y) \u202e"


@pytest.mark.parametrize("name", ["table", "md", "html", "latex"])
def test_a_hostile_name_or_note_is_only_text(tmp_path: Path, name: str) -> None:
    evil = write_chip(tmp_path / "evil.toml", name=HOSTILE, note=HOSTILE, cut_from="h100-sxm5-80gb")
    plain = write_chip(tmp_path / "plain.toml", name="A", note="B", cut_from="h100-sxm5-80gb")
    text, other = stdout(evil, "--format", name), stdout(plain, "--format", name)
    assert "alert(1)" in text
    assert [mark for mark in "\x1b\x07\x9b\u202e" if mark in text] == []
    if name == "html":
        assert re.findall(r"<(\w+)", text) == re.findall(r"<(\w+)", other)  # not one element more
    if name == "md":
        assert not re.search(r"(?<!\\)<script|(?<!\\)\[x", text)
        for block in text.split("\n\n"):
            if block.startswith("|"):
                assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@pytest.mark.parametrize("with_chip", [True, False])
def test_a_rule_of_one_s_own_is_a_file_and_nothing_else(tmp_path: Path, with_chip: bool) -> None:
    """A folder that holds only rules/ is enough, as one that holds only chips/ is."""
    write_rule(tmp_path)
    if with_chip:
        write_chip(tmp_path / "chips" / "x.toml")
    own = ("--specs-dir", tmp_path)
    assert explain("h20-96gb", *own).stderr == ""
    told = verdicts("h20-96gb", *own)
    rules = list(told)
    assert rules.index("2023-11-nac") < rules.index("my-rule") < rules.index("2024-12-hbm")
    mine = told["my-rule"]
    assert (mine["met"], mine["outcome"], mine["effect"]) == (True, "paragraph 1", "licence")
    assert (mine["margin"]["threshold"], mine["margin"]["unit"]) == (3_999_500_000_000, "byte_per_s")
    assert mine["reason"] == "memory bandwidth 4000 ≥ 3999.5 GB/s"
    assert re.search(r"^my-rule +2024-06-01 to +met: paragraph 1", stdout("h20-96gb", *own), re.MULTILINE)
    assert "Nobody's gazette 1" in stdout("h20-96gb", *own)
    assert "my-rule" in verdicts("h20-96gb", "--on", "2024-06-01", *own)
    assert "my-rule" not in verdicts("h20-96gb", "--on", "2026-01-01", *own)


def test_a_chip_of_one_s_own_is_in_the_matrix_and_may_be_cut_from_another(tmp_path: Path) -> None:
    write_chip(tmp_path / "chips" / "whole.toml", {"fp8": FIGURES["fp8"].replace("290", "580")})
    write_chip(tmp_path / "chips" / "half.toml", cut_from="whole")
    own = ("--specs-dir", tmp_path)
    assert re.search(r"^half +2320 ", stdout("--all", "--on", "2025-04-09", *own), re.MULTILINE)
    (fp8,) = (row for row in document("half", *own)["cut"] if row["figure"] == "fp8")
    assert (fp8["ratio"], fp8["change"]) == (0.5, "cut")
    assert document("whole", *own)["cut_into"] == ["half"]


BIG = "9" * 25
USAGE = [
    (["--tops", "8=-1"], ["--tops", "'-1'"]),
    (["--tops", "0=5"], ["'0=5'", "bit length"]),
    (["--tops", "-8=1"], ["'-8=1'", "bit length"]),
    (["--tops", "8.5=1"], ["'8.5=1'", "bit length"]),
    (["--tops", "=5"], ["'=5'", "bit length"]),
    (["--tops", f"{BIG}=5"], [BIG, "bit length"]),
    (["--tops", "８=5"], ["bit length"]),
    *((["--tops", f"8={rate}"], ["--tops", repr(rate)]) for rate in ("0", "-0", "abc", "nan", "inf", "sNaN")),
    *((["--tops", f"8={rate}"], ["--tops"]) for rate in ("", "1e999999", "1e-999999", "1e99999999999999999999")),
    *((["--tops", f"8={rate}"], ["--tops"]) for rate in ("1_000", "５", "0x10", "1,5", "1=2", "1\n2")),
    (["--tops", "8"], ["'8'", "8=296"]),
    (["--tops", ""], ["8=296"]),
    (["--tops"], ["--tops", "argument"]),
    (["--tops", "8=1", "--tops", "8=1"], ["8 bit", "twice"]),
    (["--tops", "8=1", "--tops", "08=2"], ["8 bit", "twice"]),
    (["--die", "814"], ["--die", "--tops"]),
    (["--consumer"], ["--consumer", "--tops"]),
    (["--io", "3", "--dram", "2"], ["--io, --dram", "--tops"]),
    *((["--tops", "8=1", "--die", area], ["--die", repr(area)]) for area in ("0", "-1", "abc", "nan", "1e99")),
    *((["--tops", "8=1", name, "0"], [name]) for name in ("--nvlink", "--pcie", "--io", "--dram")),
    (["--tops", "8=1", "--io", "9", "--nvlink", "9"], ["--io", "--nvlink"]),
    (["--tops", "8=1", "--io", "9", "--pcie", "9"], ["--io", "--pcie"]),
    (["h20", "--tops", "8=1"], ["'h20'", "--tops", "only one"]),
    (["--all", "h20"], ["'h20'", "--all", "only one"]),
    (["--all", "--tops", "8=1"], ["--all", "--tops", "only one"]),
    (["h20", "--die", "814"], ["--die"]),
    (["--all", "--consumer"], ["--consumer"]),
    ([], ["CHIP", "--all", "--tops"]),
    (["h20", "h100"], ["h100"]),
    *(
        (["h20-96gb", "--on", day], ["--on", repr(day), "2025-04-09"])
        for day in (
            "2025-13-01",
            "2025-02-30",
            "20250409",
            "2025-04-09T00:00",
            "2025-W15-3",
            "0000-01-01",
            "today",
        )
    ),
    (["h20-96gb", "--on", ""], ["--on"]),
    (["h20-96gb", "--on", "2020-01-01"], ["2020-01-01", "2022-08-letter", "2022-08-26"]),
    (["--all", "--on", "2022-08-25"], ["2022-08-25", "2022-08-26"]),
    (["--tops", "8=1", "--on", "2022-08-25"], ["2022-08-25", "2022-08-26"]),
    (["h2o"], ["unknown chip 'h2o'", "did you mean h20"]),
    (["xyzzy"], ["'chipbench chips' lists all"]),
    ([""], ["unknown chip ''"]),
    (["two\nlines"], ["unknown chip"]),
    (["gone.toml"], ["gone.toml", "no such file"]),
    (["folder/gone.toml"], ["folder/gone.toml", "no such file"]),
    (["h20", "--format", "xml"], ["'xml'"]),
    (["--bogus"], ["--bogus"]),
]


@pytest.mark.parametrize(("args", "parts"), USAGE, ids=[" ".join(args)[:40] or "nothing" for args, _ in USAGE])
def test_a_mistake_on_the_command_line_is_one_line(args: list[str], parts: list[str]) -> None:
    is_one_line_of_error(explain(*args), 2, *parts)


def test_what_is_refused_beside_a_chip_is_not_advised() -> None:
    """`h20 --die 814` must not be told to add --tops, which a chip does not go with either."""
    assert "add --tops" not in explain("h20", "--die", "814").stderr


def test_a_file_under_another_name_than_its_id(tmp_path: Path) -> None:
    path = write_chip(tmp_path / "one.toml").rename(tmp_path / "two.toml")
    is_one_line_of_error(explain(path), 3, str(path), "'one'")


def test_a_file_that_is_cut_from_nothing_here_is_named(tmp_path: Path) -> None:
    path = write_chip(tmp_path / "orphan.toml", cut_from="h100-sxm5-80")
    is_one_line_of_error(explain(path), 3, str(path), "cut_from 'h100-sxm5-80'", "h100-sxm5-80gb")


def test_a_folder_and_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "broken.toml").write_text("= = =", encoding="utf-8")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    (tmp_path / "empty.toml").touch()
    for name in ("folder", "broken", "latin", "empty"):
        path = tmp_path / f"{name}.toml"
        is_one_line_of_error(explain(path), 3, str(path))


OVERLAPPING = f"""\
{RULE}
[[outcomes]]
name = "paragraph 1"
since = 2025-01-01
when = {{ quantity = "tpp", at_least = 1 }}
"""
HEAD, _, CONDITION = RULE.rpartition("when = ")
RULE_MISTAKES = [
    (RULE.replace('"memory_bandwidth"', '"memory_bandwith"'), ["outcomes[0]", "memory_bandwith", "did you mean"]),
    (RULE.replace('"memory_bandwidth"', '"tops"'), ["outcomes[0]", "unknown quantity 'tops'"]),
    (OVERLAPPING, ["paragraph 1", "overlap"]),
    (RULE.replace("until = 2025-12-31", "until = 2024-05-31"), ["2024-05-31", "2024-06-01"]),
    (RULE.replace("effect =", 'replaces = "2023-11-3a090"\neffect ='), ["2023-11-3a090", "overlaps"]),
    (RULE.replace("effect =", 'replaces = "2023-11"\neffect ='), ["'2023-11'", "did you mean"]),
    (RULE.replace('citation = "Nobody\'s gazette 1"\n', ""), ["citation"]),
    (RULE.replace("Nobody's gazette 1", " "), ["citation is empty"]),
    (RULE.replace("effective = 2024-06-01\n", ""), ["effective"]),
    (RULE.replace("effective = 2024-06-01", 'effective = "June"'), ["effective", "June"]),
    (RULE.replace('grade = "published"', 'grade = "rumour"'), ["grade 'rumour'", "reported"]),
    (RULE.replace("3999.5", "-1"), ["-1"]),
    (RULE.replace("3999.5", "nan"), ["NaN"]),
    (RULE.replace("at_least", "at_lest"), ["at_lest", "did you mean at_least"]),
    (f"{HEAD}when = {{}}\n", ["no condition"]),
    (f"{HEAD}when = {{ all = [] }}\n", ["all and any"]),
    (f'{HEAD}when = {{ rule = "2023-11-nac" }}\n', ["2023-11-nac", "itself refers"]),
    (f'{HEAD}when = {{ rule = "2023-11-3a090", outcome = "3A090.z" }}\n', ["3A090.z"]),
    (f'{HEAD}when = {{ flag = "cheap", is = true }}\n', ["unknown flag 'cheap'"]),
    (RULE.partition("[[outcomes]]")[0] + "outcomes = []\n", ["outcomes"]),
    (RULE.replace('id = "my-rule"', 'id = "other"'), ["'other'"]),
]


@pytest.mark.parametrize(("text", "parts"), RULE_MISTAKES, ids=[parts[-1] for _, parts in RULE_MISTAKES])
def test_a_mistake_in_a_rule_is_one_line_that_names_the_file(tmp_path: Path, text: str, parts: list[str]) -> None:
    assert text != RULE
    write_chip(tmp_path / "chips" / "x.toml")
    path = write_rule(tmp_path, text)
    is_one_line_of_error(explain("h20-96gb", "--specs-dir", tmp_path), 3, str(path), *parts)

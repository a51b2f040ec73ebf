"""The data of specs/rules and specs/timeline.toml, held to what was published; and that both are read strictly."""

import re
import shutil
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.analysis.design import exactly, imagined
from bench.analysis.export_rule import judge
from bench.errors import SpecError
from bench.published.chips import Catalogue
from bench.published.conditions import Comparison, MetBy, NamedChip
from bench.published.rules import Rule, read_rules
from bench.published.timeline import read_timeline

SPECS = Path(__file__).resolve().parent.parent / "specs"
FILES = sorted((SPECS / "rules").iterdir())
CATALOGUE = Catalogue([SPECS])
BOOK = read_rules([SPECS])
EVENTS = read_timeline([SPECS])
RULE_2022, RULE_2023 = "2022-10-3a090", "2023-11-3a090"


class Row(NamedTuple):
    """What is known of a rule: in force from, through; grade, effects, and words of its citation."""

    effective: str | None
    until: str | None
    grade: str
    effects: set[str]
    citation: tuple[str, ...]


ROWS = {
    "2022-08-letter": Row("2022-08-26", None, "reported", {"licence"}, ("etter", "2022-08-26")),
    RULE_2022: Row("2022-10-21", "2023-11-16", "published", {"licence"}, ("87 FR 62186", "2022-21658")),
    "2023-10-letter": Row("2023-10-23", None, "published", {"licence"}, ("8-K", "2023-10-24")),
    RULE_2023: Row("2023-11-17", None, "published", {"licence"}, ("88 FR 73458", "2023-23055")),
    "2023-11-nac": Row("2023-11-17", None, "published", {"exception"}, ("15 CFR 740.8", "2024-07004")),
    "2024-12-hbm": Row("2024-12-02", None, "published", {"licence"}, ("89 FR 96790", "2024-28270")),
    "2025-01-diffusion": Row("2025-01-13", "2025-05-13", "published", {"quota"}, ("90 FR 4544", "2025-00636")),
    "2025-01-foundry": Row("2025-01-16", None, "published", {"presumption"}, ("90 FR 5298", "2025-00711")),
    "2025-04-letter": Row("2025-04-09", None, "reported", {"licence"}, ("8-K", "2025-04-15", "Intel")),
    "2026-01-review": Row(
        "2026-01-15", None, "published", {"case-by-case", "denial"}, ("91 FR 1684", "2026-00789")
    ),
    "2026-01-tariff": Row("2026-01-15", None, "reported", {"tariff"}, ("Proclamation 11002",)),
    "bill-safe-chips": Row(None, None, "bill", {"none"}, ("S.3374",)),
    "bill-ai-overwatch": Row(None, None, "bill", {"none"}, ("H.R.6875",)),
}
OTHER_DATES = {
    (RULE_2022, "published"): "2022-10-13",
    (RULE_2023, "published"): "2023-10-25",
    ("2024-12-hbm", "compliance"): "2024-12-31",
    ("2025-01-diffusion", "published"): "2025-01-15",
    ("2025-01-diffusion", "compliance"): "2025-05-15",
    ("2025-01-foundry", "compliance"): "2025-01-31",
    ("2025-04-letter", "published"): "2025-04-15",
}
THRESHOLDS = {
    "2022-08-letter": "",
    RULE_2022: "io >= 600, tpp >= 4800",
    "2023-10-letter": "tpp >= 4800",
    RULE_2023: "performance_density >= 1.6, performance_density >= 3.2, performance_density >= 5.92, "
    "performance_density < 5.92, tpp >= 1600, tpp >= 2400, tpp >= 4800, tpp < 4800",
    "2023-11-nac": "tpp >= 4800",
    "2024-12-hbm": "memory_bandwidth_density > 2",
    "2025-01-diffusion": "",
    "2025-01-foundry": "transistors >= 30000000000, transistors >= 35000000000, transistors >= 40000000000",
    "2025-04-letter": "memory_bandwidth >= 1400, io >= 1100, io_plus_memory_bandwidth >= 1700",
    "2026-01-review": "tpp < 21000, memory_bandwidth < 6500, tpp >= 21000, memory_bandwidth >= 6500",
    "2026-01-tariff": "tpp in 14000-17500, memory_bandwidth in 4500-5000, tpp in 20800-21100, "
    "memory_bandwidth in 5800-6200",
    "bill-safe-chips": "memory_bandwidth >= 4100, io >= 1100, io_plus_memory_bandwidth >= 5000",
    "bill-ai-overwatch": "memory_bandwidth >= 1400, io >= 1100, io_plus_memory_bandwidth >= 1700",
}
SIGNS = {"at_least": ">=", "more_than": ">", "at_most": "<=", "below": "<", "between": "in"}


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


@pytest.fixture(params=ROWS)
def rule(request: pytest.FixtureRequest) -> Rule:
    """Each shipped rule in turn."""
    return BOOK.rule(request.param)


def test_the_folder_holds_the_thirteen_rules_and_nothing_that_is_not_read() -> None:
    assert {path.name for path in FILES} == {f"{rule_id}.toml" for rule_id in ROWS}
    assert {rule.id for rule in BOOK.rules} == {*ROWS}
    assert len(BOOK.rules) == 13


def test_a_rule_has_the_dates_and_the_grade_that_were_published(rule: Rule) -> None:
    row = ROWS[rule.id]
    assert (rule.effective, rule.until, rule.grade) == (_day(row.effective), _day(row.until), row.grade)
    for (rule_id, field), day in OTHER_DATES.items():
        if rule_id == rule.id:
            assert getattr(rule, field) == _day(day), field


def test_a_rule_cites_the_register_a_filing_a_proclamation_or_a_bill(rule: Rule) -> None:
    assert all(words in rule.citation for words in ROWS[rule.id].citation)
    assert re.search(r"\d+ FR \d+|\d+ CFR \d+|Form 8-K|Proclamation \d+|\b(S|H\.R)\.\d+", rule.citation)
    assert rule.title.strip()
    assert rule.url is not None
    assert re.fullmatch(r"https://\S+", rule.url)


def test_a_rule_has_the_effects_and_the_thresholds_that_were_published(rule: Rule) -> None:
    assert {outcome.effect for outcome in rule.outcomes} == ROWS[rule.id].effects
    found = {
        f"{part.quantity} {SIGNS[part.relation]} {'-'.join(f'{float(line):.12g}' for line in part.thresholds)}"
        for part in rule.conditions()
        if isinstance(part, Comparison)
    }
    assert found == {text for text in THRESHOLDS[rule.id].split(", ") if text}


def test_the_paragraphs_of_2023_stand_in_the_order_in_which_the_first_that_is_met_counts() -> None:
    names = [outcome.name for outcome in BOOK.rule(RULE_2023).outcomes]
    assert names == ["3A090.a.1", "3A090.a.2", "3A090.b.1", "3A090.b.2"]


def test_the_quota_is_that_of_one_customer_and_year() -> None:
    assert {rule.id: rule.quota_tpp for rule in BOOK.rules if rule.quota_tpp} == {"2025-01-diffusion": 26_900_000}


def test_the_rules_stand_in_order_of_time_and_the_bills_last() -> None:
    in_order = [rule.effective or date.max for rule in BOOK.rules]
    assert in_order == sorted(in_order)
    assert BOOK.known_until == date(2026, 9, 25)


def test_named_chips_exist_and_none_of_their_family_for_data_centres_is_forgotten(rule: Rule) -> None:
    named = {chip for part in rule.conditions() if isinstance(part, NamedChip) for chip in part.chips}
    families = {
        "2022-08-letter": ("a100-", "h100-"),
        "2023-10-letter": ("a100-", "a800-", "h100-", "h800-", "l40s"),
        "2025-04-letter": ("h20-",),
    }
    meant = {
        chip.id
        for chip in CATALOGUE.all()
        if chip.id.startswith(families.get(rule.id, ("-",))) and chip.designed_for.value == "data-centre"
    }
    assert named == meant


def test_what_replaces_another_begins_the_day_after_it() -> None:
    replaced = {rule.id: rule.replaces for rule in BOOK.rules if rule.replaces is not None}
    assert replaced == {RULE_2023: RULE_2022}
    old, new = BOOK.rule(RULE_2022), BOOK.rule(RULE_2023)
    assert old.until is not None
    assert new.effective == old.until + timedelta(days=1)
    assert not any(old.in_force(day) and new.in_force(day) for day in (old.until, new.effective))


def test_references_between_rules_resolve(rule: Rule) -> None:
    referred = {part.rule for part in rule.conditions() if isinstance(part, MetBy)}
    assert referred <= {RULE_2023}
    assert rule.excepts == (RULE_2023 if rule.id == "2023-11-nac" else None)
    assert BOOK.exceptions_to(BOOK.rule(RULE_2023)) == (BOOK.rule("2023-11-nac"),)


@pytest.mark.parametrize(
    ("day", "transistors", "hbm", "met"),
    [
        ("2025-01-16", "29.9e9", True, False),
        ("2025-01-16", "30e9", False, True),
        ("2027-06-01", "30e9", True, True),
        ("2027-06-01", "34.9e9", False, False),
        ("2027-06-01", "35e9", False, True),
        ("2028-06-01", "29.9e9", True, False),
        ("2028-06-01", "80e9", True, True),  # only for a chip without HBM is 2028 not mentioned
        ("2028-06-01", "36e9", False, None),
        ("2029-06-01", "39.9e9", False, False),
        ("2029-06-01", "40e9", False, True),
        ("2029-06-01", "30e9", True, True),
    ],
)
def test_what_a_foundry_must_presume_changes_with_the_years(
    day: str, transistors: str, hbm: bool, met: bool | None
) -> None:
    made = imagined(
        tops={8: Fraction(1)},
        die_area=None,
        nvlink=None,
        pcie=None,
        io=None,
        memory_bandwidth=None,
        consumer=False,
    )
    design = made._replace(transistors=exactly(Fraction(transistors)), hbm=hbm)
    followed = BOOK._replace(known_until=date(2030, 1, 1))
    assert judge(design, BOOK.rule("2025-01-foundry"), followed, date.fromisoformat(day)).met is met


TOLD = [
    "2022-08-26", "2022-10-07", "2022-11-07", "2023-03-21", "2023-10-17", "2023-10-23", "2023-11-09", "2024-Q2",
    "2025-01", "2025-04-04", "2025-04-09", "2025-08", "2025-12-08", "2026-01-15",
]  # fmt: skip


@pytest.mark.parametrize("when", TOLD)
def test_the_timeline_has_each_event(when: str) -> None:
    assert when in {event.when for event in EVENTS}


def test_the_timeline_marks_the_articles_day_and_no_other() -> None:
    (article,) = [event for event in EVENTS if event.article]
    assert article.when == "2025-04-09"
    assert "npr.org/2025/04/09/nx-s1-5356480" in (article.source.url or "")
    told = " ".join(event.text for event in EVENTS if event.when == "2025-04-09")
    assert all(words in told for words in ("licence", "memory", "interconnect", "2025-04-15", "5.5", "4.5"))


def test_licences_are_promised_in_july_2025_and_deepseeks_training_is_disputed() -> None:
    assert {event.when for event in EVENTS} & {"2025-07-14", "2025-07-15"}
    (deepseek,) = [event for event in EVENTS if "DeepSeek" in event.text]
    assert "disputed" in deepseek.text
    assert "H800" in deepseek.text


def test_every_event_has_a_source_with_title_grade_and_url() -> None:
    for event in EVENTS:
        assert event.text.strip()
        assert event.source.title.strip(), event.text
        assert event.source.grade, event.text
        assert event.source.url is not None, event.text
        assert re.fullmatch(r"https://\S+", event.source.url), event.text


A_1 = 'when = { quantity = "tpp", at_least = 4800 }'
DATES = "effective = 2023-11-17"
DIFFUSION, FOUNDRY, TARIFF = "2025-01-diffusion", "2025-01-foundry", "2026-01-tariff"
BAD = [
    (RULE_2023, A_1, 'when = { quantity = "tppp", at_least = 4800 }', ("outcomes[0]", "'tppp'", "tpp?")),
    (RULE_2023, A_1, 'when = { quantity = ["tpp"], at_least = 4800 }', ("outcomes[0]", "quantity")),
    (RULE_2023, A_1, 'when = { quantity = "tpp" }', ("outcomes[0]", "at_least")),
    (RULE_2023, A_1, 'when = { quantity = "tpp", at_lest = 4800 }', ("outcomes[0]", "'at_lest'", "at_least")),
    (RULE_2023, A_1, 'when = { quantity = "tpp", at_least = 4800, belw = 1 }', ("outcomes[0]", "'belw'", "below")),
    (RULE_2023, A_1, 'when = { quantity = "tpp", at_least = 2, below = 2 }', ("outcomes[0]", "2", "correct")),
    (RULE_2023, A_1, 'when = { quantity = "tpp", more_than = 3, at_most = 2 }', ("outcomes[0]", "3", "correct")),
    (RULE_2023, A_1, 'when = { unsettled = "" }', ("outcomes[0]", "unsettled")),
    (RULE_2023, A_1, "when = {}", ("outcomes[0]", "when")),
    (RULE_2023, A_1, "when = 3", ("outcomes[0]", "when")),
    (RULE_2023, A_1, "", ("outcomes[0]", "when")),
    (RULE_2023, A_1, "when = { any = [] }", ("outcomes[0]", "any")),
    (RULE_2023, A_1, "when = { any = [3] }", ("outcomes[0]", "any[0]")),
    (RULE_2023, A_1, "when = { chips = [] }", ("outcomes[0]", "chips")),
    (RULE_2023, A_1, 'when = { chips = "h20" }', ("outcomes[0]", "chips")),
    (RULE_2023, A_1, 'when = { chips = [["h20"]] }', ("outcomes[0]", "chips")),
    (RULE_2023, A_1, 'when = { rule = ["2022-10-3a090"] }', ("outcomes[0]", "rule")),
    (RULE_2023, A_1, 'when = { rule = "2023-11-3a090" }', ("'2023-11-3a090'", "refer")),
    (RULE_2023, 'name = "3A090.a.1"', 'name = ""', ("outcomes[0]", "name")),
    (RULE_2023, 'name = "3A090.a.1"', 'name = "3A090.a.2"', ("outcomes", "'3A090.a.2'", "overlap")),
    (RULE_2023, '{ flag = "data_centre", is = true }', '{ flag = "data_centre" }', ("applies", "is must be")),
    (RULE_2023, '{ flag = "data_centre", is = true }', '{ flag = "x", is = true }', ("applies", "flag", "'x'")),
    (RULE_2023, '{ flag = "data_centre", is = true }', '{ flag = ["x"], is = true }', ("applies", "flag")),
    (RULE_2023, '{ flag = "data_centre", is = true }', '{ flag = "hbm", is = 1 }', ("applies", "is must be")),
    (RULE_2023, "title =", "titel =", ("'titel'", "title")),
    (RULE_2023, "citation =", "# citation =", ("citation",)),
    (RULE_2023, 'citation = "', 'citation = "" # ', ("citation",)),
    (RULE_2023, 'citation = "', 'citation = "  " # ', ("citation",)),
    (RULE_2023, 'grade = "published"', 'grade = "law"', ("grade", "'law'", "reported")),
    (RULE_2023, 'effect = "licence"', 'effect = "license"', ("effect", "'license'", "licence")),
    (RULE_2023, 'id = "2023-11-3a090"', 'id = "2023-11-3a09"', ("id", "'2023-11-3a09'")),
    (RULE_2023, DATES, "", ("effective",)),
    (RULE_2023, DATES, 'effective = "2023-11-17"', ("effective", "'2023-11-17'")),
    (RULE_2023, DATES, f"{DATES}\ncompliance = 2023-11-16", ("compliance 2023-11-16", "effective")),
    (RULE_2023, DATES, f"{DATES}\nexcepts = '2023-11-nac'", ("excepts", "'2023-11-nac'", "itself")),
    (RULE_2023, DATES, "effective = 2023-11-17T00:00:00", ("effective",)),
    (RULE_2023, DATES, "effective = 2023-11-17T00:00:00Z", ("effective",)),
    (RULE_2023, DATES, "effective = 20231117", ("effective",)),
    (RULE_2023, DATES, f"{DATES}\nuntil = 2023-11-16", ("until", "2023-11-16")),
    (RULE_2023, DATES, "effective = 2023-11-16", ("effective", "2022-10-3a090")),
    (RULE_2023, "[[outcomes]]", "[[outcomes", ("TOML", "line")),
    (RULE_2023, 'replaces = "2022-10-3a090"', 'replaces = "2022-10"', ("'2022-10'",)),
    (RULE_2023, 'replaces = "2022-10-3a090"', 'replaces = "2023-11-3a090"', ("replaces", "2023-11-3a090")),
    (RULE_2023, 'replaces = "2022-10-3a090"', 'excepts = "2023-11-3a090"', ("excepts", "2023-11-3a090")),
    (RULE_2023, 'replaces = "2022-10-3a090"', 'excepts = "2023-11-nac"', ("excepts", "'2023-11-nac'")),
    ("2023-11-nac", 'excepts = "2023-11-3a090"', 'excepts = "2023-11"', ("'2023-11'",)),
    (DIFFUSION, 'rule = "2023-11-3a090"', 'rule = "2023-11-3a09"', ("'2023-11-3a09'", "2023-11-3a090")),
    (DIFFUSION, 'rule = "2023-11-3a090"', 'rule = "2023-11-3a090", outcome = "3A090.c"', ("outcome", "'3A090.c'")),
    (DIFFUSION, 'rule = "2023-11-3a090"', 'rule = "2025-01-diffusion"', ("'2025-01-diffusion'", "refer")),
    (DIFFUSION, "quota_tpp = 26_900_000", "quota_tpp = 0", ("quota_tpp",)),
    (DIFFUSION, "quota_tpp = 26_900_000", "quota_tpp = nan", ("quota_tpp",)),
    (DIFFUSION, "quota_tpp = 26_900_000", 'quota_tpp = "many"', ("quota_tpp", "'many'")),
    (FOUNDRY, "since = 2027-01-01", "since = 2026-12-31", ("outcomes", "overlap")),
    (FOUNDRY, "until = 2026-12-31", "", ("outcomes", "overlap")),
    (FOUNDRY, "until = 2027-12-31", "until = 2026-12-31", ("outcomes[1]", "until", "since")),
    (TARIFF, "[14_000, 17_500]", "[17_500, 14_000]", ("outcomes[0]", "between", "17500, 14000")),
    (TARIFF, "[14_000, 17_500]", "[14_000, 14_000]", ("outcomes[0]", "between")),
    (TARIFF, "[14_000, 17_500]", "[14_000]", ("outcomes[0]", "between")),
    (TARIFF, "[14_000, 17_500]", "14_000", ("outcomes[0]", "between")),
    (TARIFF, "[14_000, 17_500]", "[14_000, inf]", ("outcomes[0]", "between")),
]  # fmt: skip


def _copied(tmp_path: Path) -> Path:
    shutil.copytree(SPECS / "rules", tmp_path / "rules")
    shutil.copy(SPECS / "README.md", tmp_path)
    return tmp_path


def _refused(tmp_path: Path, rule_id: str, old: str, new: str) -> str:
    """Return what is said of the shipped rules after a change to one file, without that file's name."""
    path = _copied(tmp_path) / "rules" / f"{rule_id}.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_rules([tmp_path])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message
    return message.replace(str(tmp_path), "")


@pytest.mark.parametrize(("rule_id", "old", "new", "named"), BAD, ids=lambda part: str(part)[:40])
def test_a_bad_rule_is_refused_in_one_line_with_file_and_field(
    tmp_path: Path, rule_id: str, old: str, new: str, named: tuple[str, ...]
) -> None:
    message = _refused(tmp_path, rule_id, old, new)
    assert all(words in message for words in named), message


NO_THRESHOLDS = [
    "0",
    "0.0",
    "-1",
    '"4800"',
    "nan",
    "inf",
    "-inf",
    "1e999999",
    "1e-999999",
    "true",
    "[4800]",
    "2025-01-01",
]


@pytest.mark.parametrize("value", NO_THRESHOLDS)
def test_a_threshold_that_is_no_finite_number_above_0_is_refused(tmp_path: Path, value: str) -> None:
    message = _refused(tmp_path, RULE_2023, A_1, f'when = {{ quantity = "tpp", at_least = {value} }}')
    assert "outcomes[0]: when: at_least" in message


def test_a_rule_without_outcomes_is_refused(tmp_path: Path) -> None:
    path = _copied(tmp_path) / "rules" / "2022-08-letter.toml"
    head = path.read_text(encoding="utf-8").split("[[outcomes]]")[0]
    for outcomes in ("", "outcomes = []\n", "outcomes = 3\n", "outcomes = [3]\n"):
        path.write_text(head + outcomes, encoding="utf-8")
        with pytest.raises(SpecError, match=r"2022-08-letter\.toml: .*outcomes"):
            read_rules([tmp_path])


def test_a_rule_that_is_replaced_must_have_ended(tmp_path: Path) -> None:
    path = _copied(tmp_path) / "rules" / f"{RULE_2022}.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("until = 2023-11-16\n", ""), encoding="utf-8")
    with pytest.raises(SpecError, match=rf"{RULE_2023}\.toml: effective .*{RULE_2022}"):
        read_rules([tmp_path])

"""Verdicts of the export rules: what each rule's text makes of the chips that it was written for, by how much."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from bench.analysis.alternatives import Flip
from bench.analysis.design import Design, design_of, exactly, imagined
from bench.analysis.explain import quota, story_of
from bench.analysis.export_rule import Verdict, default_day, judge
from bench.analysis.headroom import Ceiling, ceilings
from bench.errors import InvalidRequest
from bench.published.chips import Catalogue, Chip
from bench.published.figures import Status
from bench.published.rules import read_rules

SPECS = Path(__file__).resolve().parent.parent / "specs"
CATALOGUE = Catalogue([SPECS])
BOOK = read_rules([SPECS])
RULE_2022, RULE_2023, LETTER = "2022-10-3a090", "2023-11-3a090", "2025-04-letter"
THE_DAY = date(2025, 4, 9)


def _whole(chip: Chip) -> Chip | None:
    return None if chip.cut_from is None else CATALOGUE.chip(chip.cut_from)


def _shipped(name: str) -> Design:
    chip = CATALOGUE.resolve(name).chip
    return design_of(chip, _whole(chip))


def _judge(subject: str | Design, rule_id: str, day: date | None = None) -> Verdict:
    design = _shipped(subject) if isinstance(subject, str) else subject
    rule = BOOK.rule(rule_id)
    return judge(design, rule, BOOK, day or default_day(rule, BOOK))


def _said(subject: str | Design, rule_id: str) -> tuple[bool | None, str | None]:
    verdict = _judge(subject, rule_id)
    return verdict.met, verdict.outcome


def _on(name: str, day: date) -> dict[str, bool | None]:
    """Return what the rules in force on a day say of a chip."""
    return {rule.id: _judge(name, rule.id, day).met for rule in BOOK.in_force(day)}


def _lacking(name: str, *figures: str, status: Status = "unknown") -> Design:
    """Return a shipped chip as if nobody had published these figures, or as if it had no such thing."""
    chip = CATALOGUE.resolve(name).chip
    assert all(chip.figures[figure].status == "known" for figure in figures), "nothing to take away"
    changed = {figure: chip.figures[figure]._replace(status=status, value=None) for figure in figures}
    return design_of(chip._replace(figures={**chip.figures, **changed}), _whole(chip))


def _invented(tops: Mapping[int, str], *, die: str, io: str = "600", dram: str = "1000") -> Design:
    return imagined(
        tops={bits: Fraction(rate) for bits, rate in tops.items()},
        die_area=Fraction(die),
        nvlink=None,
        pcie=None,
        io=Fraction(io),
        memory_bandwidth=Fraction(dram),
        consumer=False,
    )


def _line(design: Design, rule_id: str = RULE_2023) -> Ceiling:
    rule = BOOK.rule(rule_id)
    (line,) = ceilings(design, rule, BOOK, default_day(rule, BOOK))
    return line


def _relative(value: str, threshold: str) -> Fraction:
    return Fraction(value) / Fraction(threshold) - 1


@pytest.mark.parametrize("tops", [{8: "600"}, {16: "300"}, {8: "600", 16: "300"}, {32: "150", 16: "1"}])
def test_the_rules_own_examples_make_4800_exactly_and_or_more_is_met(tops: dict[int, str]) -> None:
    design = _invented(tops, die="4000")
    assert design.tpp == exactly(Fraction(4800))
    assert _said(design, RULE_2023) == (True, "3A090.a.1")
    assert _said(design, RULE_2022) == (True, "3A090")
    margin = _judge(design, RULE_2023).margin
    assert margin is not None
    assert (margin.quantity, margin.relative) == ("tpp", Fraction(0))


def test_the_a30_meets_paragraph_b_2_on_the_threshold_which_floats_would_miss() -> None:
    """82.6 x 32 = 2643.2, over 826 mm2 = 3.2; the outcome is the first paragraph that is met."""
    assert 82.6 * 32 / 826 < 3.2
    design = _shipped("a30")
    assert design.tpp == exactly(Fraction("2643.2"))
    assert design.density == exactly(Fraction("3.2"))
    verdict = _judge(design, RULE_2023)
    assert (verdict.met, verdict.outcome, verdict.exception) == (True, "3A090.b.1", "NAC")
    assert {part.name: part.met for part in verdict.paragraphs} == {
        "3A090.a.1": False, "3A090.a.2": False, "3A090.b.1": True, "3A090.b.2": True,
    }  # fmt: skip


def test_the_h20_is_outside_on_every_paragraph_on_the_day_of_the_article() -> None:
    design = _shipped("h20")
    assert design.tpp == exactly(Fraction(2368))
    assert design.density == exactly(Fraction(2368, 814))
    verdict = _judge(design, RULE_2023, THE_DAY)
    assert (verdict.met, verdict.outcome, verdict.exception, verdict.effect) == (False, None, None, "none")
    density = str(Fraction(2368, 814))
    missed = {part.name: (part.met, part.margin and part.margin.relative) for part in verdict.paragraphs}
    assert missed == {
        "3A090.a.1": (False, _relative("2368", "4800")),
        "3A090.a.2": (False, _relative(density, "5.92")),
        "3A090.b.1": (False, _relative("2368", "2400")),
        "3A090.b.2": (False, _relative(density, "3.2")),
    }


def test_what_the_h20_hangs_on_is_32_of_2400_tpp() -> None:
    verdict = _judge("h20", RULE_2023, THE_DAY)
    assert verdict.margin is not None
    assert (verdict.margin.quantity, verdict.margin.threshold) == ("tpp", Fraction(2400))
    assert verdict.margin.threshold - verdict.margin.value == 32
    assert float(verdict.margin.relative) == pytest.approx(-0.013, abs=5e-4)
    assert "2368 < 2400" in verdict.reason


def test_on_the_day_of_the_article_only_the_letter_of_that_day_catches_the_h20() -> None:
    assert _on("h20", date(2025, 4, 8)) == {
        "2022-08-letter": None, "2023-10-letter": False, RULE_2023: False, "2023-11-nac": False,
        "2024-12-hbm": False, "2025-01-diffusion": False, "2025-01-foundry": True,
    }  # fmt: skip
    assert _on("h20", THE_DAY) == {**_on("h20", date(2025, 4, 8)), LETTER: True}


THROUGH_TIME: dict[str, dict[str, bool | None]] = {
    "h100": {"2022-08-letter": True, RULE_2022: True, "2023-10-letter": True, "2026-01-tariff": False},
    "h200": {"2022-08-letter": None, RULE_2022: True, "2023-10-letter": True, "2026-01-tariff": True},
    "h800": {"2022-08-letter": None, RULE_2022: False, "2023-10-letter": True, "2026-01-tariff": False},
    "a100": {"2022-08-letter": True, RULE_2022: True, "2023-10-letter": True, "2026-01-tariff": False},
    "a800": {"2022-08-letter": None, RULE_2022: False, "2023-10-letter": True, "2026-01-tariff": False},
}
SAME_FOR_ALL: dict[str, bool | None] = {
    RULE_2023: True, "2023-11-nac": False, "2024-12-hbm": False, "2025-01-diffusion": True,
    "2025-01-foundry": True, LETTER: True, "2026-01-review": True,
}  # fmt: skip
NEW_ON = {
    "2022-08-26": ["2022-08-letter"],
    "2022-10-20": ["2022-08-letter"],
    "2022-10-21": ["2022-08-letter", RULE_2022],
    "2023-10-22": ["2022-08-letter", RULE_2022],
    "2023-10-23": ["2022-08-letter", RULE_2022, "2023-10-letter"],
    "2023-11-16": ["2022-08-letter", RULE_2022, "2023-10-letter"],
    "2023-11-17": ["2022-08-letter", "2023-10-letter", RULE_2023, "2023-11-nac"],
    "2026-01-15": [
        "2022-08-letter", "2023-10-letter", RULE_2023, "2023-11-nac", "2024-12-hbm", "2025-01-foundry", LETTER,
        "2026-01-review", "2026-01-tariff",
    ],
}  # fmt: skip


@pytest.mark.parametrize("day", NEW_ON)
@pytest.mark.parametrize("name", THROUGH_TIME)
def test_hopper_and_ampere_through_all_dates(name: str, day: str) -> None:
    """The A800 and the H800 are free of the rule of 2022, and caught by letter and by rule in 2023."""
    expected = {**SAME_FOR_ALL, **THROUGH_TIME[name]}
    assert _on(name, date.fromisoformat(day)) == {rule: expected[rule] for rule in NEW_ON[day]}


@pytest.mark.parametrize("name", [*THROUGH_TIME, "a800-pcie-80gb", "h800-pcie-80gb", "l40s"])
def test_from_november_2023_they_are_all_3a090_a_1_without_an_exception(name: str) -> None:
    verdict = _judge(name, RULE_2023)
    assert (verdict.met, verdict.outcome, verdict.exception) == (True, "3A090.a.1", None)
    assert verdict.effect == "licence"


def test_the_a100_meets_the_interconnect_test_of_2022_exactly_and_the_h800_misses_it() -> None:
    margin = _judge("a100", RULE_2022).margin
    assert margin is not None
    assert margin.relative in (0, _relative("4992", "4800"))
    assert _said("h100-pcie-80gb", RULE_2022) == (True, "3A090")
    missed = _judge("h800", RULE_2022).margin
    assert missed is not None
    assert (missed.quantity, missed.threshold) == ("io", Fraction(600))
    assert missed.relative < 0


def test_the_pair_of_the_4090() -> None:
    """660.6 dense FP8 TFLOPS x 8; with a published 10,570 the 2 of 2 x MacTOPS would be counted twice."""
    full, cut = _judge("4090", RULE_2023), _judge("4090d", RULE_2023)
    assert _shipped("4090").tpp == exactly(Fraction("5284.8"))
    assert (full.met, full.outcome, full.exception, full.effect) == (True, "3A090.a.1", "NAC", "licence")
    assert (cut.met, cut.outcome, cut.exception, cut.effect) == (False, None, None, "none")
    assert cut.margin is not None
    assert (cut.margin.quantity, cut.margin.threshold) == ("tpp", Fraction(4800))
    assert float(cut.margin.relative) == pytest.approx(-0.0194, abs=5e-5)


def test_the_5090d_is_unknown_and_the_missing_formats_are_named() -> None:
    design = _shipped("rtx5090d")
    assert (design.tpp.low, design.tpp.high) == (Fraction(4750), None)
    verdict = _judge(design, RULE_2023)
    assert (verdict.met, verdict.outcome, verdict.effect) == (None, None, None)
    assert all(name in verdict.reason for name in ("4750", "BF16", "FP16", "FP8", "INT8"))
    assert {"bf16", "fp16", "fp8", "int8"} <= set(verdict.missing)
    assert "fp4" not in verdict.missing


def test_the_6000d_is_unknown_and_the_missing_formats_are_named() -> None:
    verdict = _judge("rtx6000d", RULE_2023)
    assert verdict.met is None
    assert all(name in verdict.reason for name in ("BF16", "FP16", "FP8", "INT8", "FP4"))


def _flips(name: str) -> list[Flip]:
    chip = CATALOGUE.resolve(name).chip
    return list(story_of(chip, CATALOGUE, BOOK, (), None).flips)


def test_the_l40_names_the_figure_that_would_flip_it() -> None:
    """2897 on the rates with FP32 accumulate; 5792 on the FP16-accumulate rate that one source lists."""
    assert round(_shipped("l40").tpp.low) == 2897
    assert _said("l40", RULE_2023) == (True, "3A090.b.1")
    (flip,) = [flip for flip in _flips("l40") if flip.before.rule.id == RULE_2023]
    assert (flip.other.figure.name, flip.after.outcome) == ("fp16_acc16", "3A090.a.1")
    assert flip.other.design.tpp == exactly(Fraction(5792))
    assert flip.other.sources


def test_no_other_published_value_brings_the_h20_under_the_rule_of_2023() -> None:
    assert not [flip for flip in _flips("h20") if flip.before.rule.id == RULE_2023]


def test_an_alternative_that_crosses_2400_makes_an_invented_chip_say_so() -> None:
    chip = CATALOGUE.resolve("h20").chip
    fp8 = chip.figures["fp8"]
    other = fp8.alternatives[0]._replace(value=Decimal(300))
    invented = chip._replace(figures={**chip.figures, "fp8": fp8._replace(alternatives=(other,))})
    story = story_of(invented, CATALOGUE, BOOK, (), THE_DAY)
    (flip,) = [flip for flip in story.flips if flip.before.rule.id == RULE_2023]
    assert (flip.before.met, flip.after.met, flip.after.outcome) == (False, True, "3A090.b.1")
    assert flip.other.sources == (other.source,)


def test_the_two_readings_of_io_leave_the_h20_unknown_under_safe_chips() -> None:
    verdict = _judge("h20", "bill-safe-chips")
    assert (verdict.met, verdict.outcome, verdict.margin) == (None, None, None)
    assert "depends on what counts as I/O" in verdict.reason
    assert "5028" in verdict.reason
    assert "4900" in verdict.reason, "both numbers are to be shown"
    assert _said("h20", "bill-ai-overwatch") == (True, "bill")


def test_the_tariff_and_the_review_tell_the_h200_from_the_b200() -> None:
    tariff, review = _judge("h200", "2026-01-tariff"), _judge("h200", "2026-01-review")
    assert (tariff.met, tariff.effect) == (True, "tariff")
    assert (review.met, review.outcome, review.effect) == (True, "case by case", "case-by-case")
    tariff, review = _judge("b200", "2026-01-tariff"), _judge("b200", "2026-01-review")
    assert (tariff.met, tariff.effect) == (False, "none")
    assert (review.met, review.outcome, review.effect) == (True, "presumption of denial", "denial")
    assert _said("h20", "2026-01-review") == (False, None)


@pytest.mark.parametrize(("tops", "dram"), [("14000", "4700"), ("17500", "4700"), ("15000", "4500")])
def test_whether_the_ends_of_the_tariffs_ranges_count_is_unknown(tops: str, dram: str) -> None:
    verdict = _judge(_invented({1: tops}, die="814", dram=dram), "2026-01-tariff")
    assert verdict.met is None
    assert "ends" in verdict.reason


def test_a_workstation_card_is_evaluated_both_ways() -> None:
    """4192 TPP at a density of 6.9 are a.2 only for a data centre; above 4800 TPP a.1 does not ask."""
    verdict = _judge("rtx5000ada", RULE_2023)
    assert (verdict.met, verdict.outcome, verdict.effect) == (None, None, None)
    assert "data centres" in verdict.reason
    assert verdict.margin is None
    verdict = _judge("rtx6000ada", RULE_2023)
    assert (verdict.met, verdict.outcome) == (True, "3A090.a.1")
    assert verdict.exception is None, "NAC is open to it only if it is not for data centres"


def test_how_many_h100_fit_in_the_quota() -> None:
    rule = BOOK.rule("2025-01-diffusion")
    assert rule.quota_tpp == 26_900_000
    assert (quota(_shipped("h100"), rule).chips, quota(_shipped("h100"), rule).at_most) == (1699, False)
    assert quota(_shipped("rtx5090d"), rule).at_most, "its TPP is a lower bound"


def test_the_h20_uses_all_but_a_hundredth_of_what_the_rule_of_2023_left_to_its_die() -> None:
    design = _shipped("h20")
    line = _line(design)
    assert (line.tpp, line.inclusive, line.data_centre) == (Fraction(2400), False, True)
    assert [(part.quantity, part.threshold) for part in line.binding] == [("tpp", Fraction(2400))]
    share = line.share(design)
    assert share == Fraction(2368, 2400)
    assert float(share) == pytest.approx(0.9867, abs=5e-5)


@pytest.mark.parametrize(
    ("die", "tpp", "quantity", "threshold"),
    [
        ("200", "1600", "tpp", "1600"),  # 1600 TPP are a density of 8: a.2
        ("400", "1600", "tpp", "1600"),  # a density of 4: b.2
        ("608.5", "1947.2", "performance_density", "3.2"),
        ("814", "2400", "tpp", "2400"),
        ("1580", "2528", "performance_density", "1.6"),
        ("4000", "4800", "tpp", "4800"),  # a density of 1.2
    ],
)
def test_which_line_binds_depends_on_the_die(die: str, tpp: str, quantity: str, threshold: str) -> None:
    line = _line(_invented({8: "1"}, die=die))
    assert line.tpp == Fraction(tpp)
    assert (quantity, Fraction(threshold)) in [(part.quantity, part.threshold) for part in line.binding]


def test_for_the_l20_it_is_density_that_binds() -> None:
    design = _shipped("l20")
    line = _line(design)
    assert [(part.quantity, part.threshold) for part in line.binding] == [("performance_density", Fraction("3.2"))]
    assert line.share(design) == design.tpp.low / (Fraction("3.2") * Fraction("608.5"))


def test_the_2_of_2_x_mactops_is_never_counted_twice() -> None:
    h20, rtx4090 = _shipped("h20"), _shipped("4090")
    assert max(rate.tpp for rate in h20.rates) == 2368
    assert max(rate.tpp for rate in rtx4090.rates) < 10_000
    reasons = " ".join(_judge("h20", rule.id).reason for rule in BOOK.rules)
    assert "2368" in reasons
    assert "4736" not in reasons


@pytest.mark.parametrize("name", ["h20", "l20", "a30", "4090d", "rtx5090d"])
def test_a_sparse_figure_changes_nothing(name: str) -> None:
    chip = CATALOGUE.resolve(name).chip
    rates = [f for key, f in chip.figures.items() if key in ("fp16", "bf16", "fp8", "int8", "fp4") and f.value]
    sparse = {
        f"{figure.name}_sparse": figure._replace(
            name=f"{figure.name}_sparse", value=2 * Decimal(str(figure.value)), dense=False
        )
        for figure in rates
    }
    assert sparse
    doubled = design_of(chip._replace(figures={**chip.figures, **sparse}), _whole(chip))
    assert doubled == _shipped(name)


def test_a_planar_die_meets_no_density_test() -> None:
    planar = _lacking("l40", "die_area", status="inapplicable")
    assert planar.density is None
    verdict = _judge(planar, RULE_2023)
    assert (verdict.met, verdict.outcome, verdict.missing) == (False, None, ())
    assert [part.met for part in verdict.paragraphs] == [False] * 4
    assert _said(_lacking("h100", "die_area", status="inapplicable"), RULE_2023) == (True, "3A090.a.1")


def test_without_a_die_area_it_is_unknown_unless_performance_alone_decides() -> None:
    verdict = _judge(_lacking("h20", "die_area"), RULE_2023)
    assert (verdict.met, verdict.outcome, verdict.missing) == (None, None, ("die_area",))
    assert "die area" in verdict.reason
    assert _said(_lacking("h100", "die_area"), RULE_2023) == (True, "3A090.a.1")
    assert _said(_lacking("l2", "die_area"), RULE_2023) == (False, None)  # 1545.6 TPP are below every line
    assert _said(_lacking("4090d", "die_area"), RULE_2023) == (False, None)


def test_without_io_it_is_unknown_unless_performance_alone_decides() -> None:
    verdict = _judge(_lacking("h100", "nvlink"), RULE_2022)
    assert (verdict.met, verdict.missing) == (None, ("nvlink",))
    assert "nvlink" in verdict.reason.lower()
    assert _said(_lacking("h20", "nvlink", "pcie"), RULE_2022) == (False, None)
    assert _judge(_lacking("h20", "nvlink"), "bill-safe-chips").met is None


def test_without_memory_bandwidth_it_is_unknown_unless_io_alone_decides() -> None:
    verdict = _judge(_lacking("l20", "memory_bandwidth"), LETTER)
    assert (verdict.met, verdict.missing) == (None, ("memory_bandwidth",))
    assert "memory bandwidth" in verdict.reason
    assert _said(_lacking("b200", "memory_bandwidth"), LETTER) == (True, "letter")  # 1800 GB/s of NVLink
    assert _judge(_lacking("h200", "memory_bandwidth"), "2026-01-tariff").met is None


def test_a_day_that_nobody_looked_at_is_unknown_and_one_before_the_first_rule_is_refused() -> None:
    verdict = _judge("h100", RULE_2023, date(2026, 9, 26))
    assert (verdict.met, verdict.outcome, verdict.effect) == (None, None, None)
    assert "2026-09-25" in verdict.reason
    with pytest.raises(InvalidRequest, match="2022-08-26"):
        BOOK.in_force(date(2022, 8, 25))

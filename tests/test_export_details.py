"""What the shipped rules do not ask: strict comparisons, rules that ended, a whole part that bounds a cut one."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from bench.analysis.alternatives import others
from bench.analysis.design import Design, design_of, imagined, unpublished
from bench.analysis.evaluation import apply, outcome_in
from bench.analysis.export_rule import default_day, judge
from bench.analysis.headroom import Ceiling, ceilings
from bench.analysis.worlds import TooManyWorlds, worlds
from bench.published.chips import Catalogue, Chip, read_chip
from bench.published.rules import RuleBook, read_rules
from bench.published.source import shipped_specs
from bench.units import number
from tests.explain_lab import RULE, explain, is_one_line_of_error, stdout, write_chip, write_rule

CATALOGUE = Catalogue([shipped_specs()])
BOOK = read_rules([shipped_specs()])
DAY = date(2025, 6, 1)
WHEN = 'when = { quantity = "memory_bandwidth", at_least = 3999.5 }'


def _book(folder: Path, when: str) -> RuleBook:
    """The shipped rules, and one more with the condition `when`."""
    write_rule(folder, RULE.replace(WHEN, f"when = {when}"))
    return read_rules([shipped_specs(), folder])


def _design(tpp: int = 2000, *, die: int | None = 800, dram: int | None = 1000) -> Design:
    return imagined(
        tops={8: Fraction(tpp, 8)},
        die_area=None if die is None else Fraction(die),
        nvlink=Fraction(100),
        pcie=None,
        io=None,
        memory_bandwidth=None if dram is None else Fraction(dram),
        consumer=False,
    )


def _met(design: Design, book: RuleBook) -> bool | None:
    return judge(design, book.rule("my-rule"), book, DAY).met


@pytest.mark.parametrize(
    ("relation", "below", "at", "above"),
    [
        ("at_least = 1000", False, True, True),
        ("more_than = 1000", False, False, True),
        ("at_most = 1000", True, True, False),
        ("below = 1000", True, False, False),
    ],
)
def test_every_relation_is_exact_at_its_threshold_and_unknown_without_the_figure(
    tmp_path: Path, relation: str, below: bool, at: bool, above: bool
) -> None:
    book = _book(tmp_path, f'{{ quantity = "memory_bandwidth", {relation} }}')
    assert [_met(_design(dram=dram), book) for dram in (999, 1000, 1001)] == [below, at, above]
    assert _met(_design(dram=None), book) is None


def test_what_lies_between_two_thresholds_is_thought_of_too(tmp_path: Path) -> None:
    """Met at no threshold and beyond none, but between them: an unpublished bandwidth leaves it unknown."""
    book = _book(tmp_path, '{ quantity = "memory_bandwidth", more_than = 1000, below = 1001 }')
    assert _met(_design(dram=1000), book) is False
    assert _met(_design(dram=1001), book) is False
    assert _met(_design(dram=None), book) is None


def _ceiling(design: Design, book: RuleBook) -> Ceiling:
    (line,) = ceilings(design, book.rule("my-rule"), book, DAY)
    return line


def test_a_line_belongs_to_the_outside_where_only_more_than_it_is_met(tmp_path: Path) -> None:
    over = _ceiling(_design(), _book(tmp_path, '{ quantity = "tpp", more_than = 3000 }'))
    assert (over.tpp, over.inclusive, over.always) == (Fraction(3000), True, False)
    reached = _ceiling(_design(), _book(tmp_path, '{ quantity = "tpp", at_least = 3000 }'))
    assert (reached.tpp, reached.inclusive) == (Fraction(3000), False)


def test_a_rule_that_small_chips_meet_leaves_no_room(tmp_path: Path) -> None:
    line = _ceiling(_design(), _book(tmp_path, '{ quantity = "tpp", below = 3000 }'))
    assert (line.tpp, line.always) == (None, True)


def test_a_rule_without_performance_has_no_line_and_density_needs_a_die(tmp_path: Path) -> None:
    book = _book(tmp_path, '{ quantity = "memory_bandwidth", at_least = 3000 }')
    assert ceilings(_design(), book.rule("my-rule"), book, DAY) == ()
    book = _book(tmp_path, '{ quantity = "performance_density", at_least = 3 }')
    assert ceilings(_design(die=None), book.rule("my-rule"), book, DAY) == ()
    assert _ceiling(_design(die=100), book).tpp == 300


def test_a_line_that_hangs_on_an_unpublished_bandwidth_is_not_drawn(tmp_path: Path) -> None:
    """With too little memory bandwidth no performance would meet it, so which line holds nobody knows."""
    both = '{ quantity = "tpp", at_least = 3000 }, { quantity = "memory_bandwidth", at_least = 500 }'
    book = _book(tmp_path, f"{{ all = [{both}] }}")
    assert _ceiling(_design(dram=600), book).tpp == 3000
    assert ceilings(_design(dram=None), book.rule("my-rule"), book, DAY) == ()


def test_a_rule_is_judged_by_its_last_day_that_is_known() -> None:
    ended, open_ended = BOOK.rule("2022-10-3a090"), BOOK.rule("2023-11-3a090")
    assert default_day(ended, BOOK) == date(2023, 11, 16)
    assert default_day(open_ended, BOOK) == BOOK.known_until
    later = ended._replace(until=date(2099, 1, 1))
    assert default_day(later, BOOK) == BOOK.known_until


def test_an_unknown_verdict_has_the_margin_of_the_bound_it_hangs_on_and_no_other() -> None:
    rule = BOOK.rule("2023-11-3a090")
    without_die = judge(_design(2000, die=None), rule, BOOK, DAY)
    assert (without_die.met, without_die.margin) == (None, None)
    bound = _design(4750, die=500)
    bound = bound._replace(tpp=bound.tpp._replace(high=None, missing=("fp8",)), data_centre=(False,))
    hanging = judge(bound, rule, BOOK, DAY)
    assert hanging.met is None
    assert hanging.margin is not None
    assert (hanging.margin.quantity, hanging.margin.value, hanging.margin.threshold) == (
        "tpp",
        Fraction(4750),
        Fraction(4800),
    )


def _with_unknown(chip: Chip, name: str) -> Chip:
    figure = chip.figures[name]._replace(status="unknown", value=None)
    return chip._replace(figures={**chip.figures, name: figure})


def test_a_format_nobody_published_is_bounded_by_the_whole_part_only_if_that_is_published() -> None:
    cut, whole = CATALOGUE.chip("l2"), CATALOGUE.chip("l4")
    assert "fp64" in {name for name, figure in cut.figures.items() if figure.status == "unknown"}
    assert design_of(cut, whole).tpp.exact
    assert design_of(cut).tpp.missing == ("fp64",)
    assert not design_of(cut, _with_unknown(whole, "fp64")).tpp.exact


def test_the_whole_parts_unpublished_rate_of_the_same_format_bounds_nothing() -> None:
    whole = CATALOGUE.chip("l4")
    acc16 = whole.figures["fp16"]._replace(name="fp16_acc16", status="unknown", value=None)
    open_whole = whole._replace(figures={**whole.figures, "fp16_acc16": acc16})
    cut = _with_unknown(CATALOGUE.chip("l2"), "fp16")
    assert not design_of(cut, open_whole).tpp.exact


def test_memory_tells_whether_there_is_hbm() -> None:
    assert [design_of(CATALOGUE.chip(name)).hbm for name in ("h20-96gb", "rtx4090")] == [True, False]
    assert design_of(_with_unknown(CATALOGUE.chip("h20-96gb"), "memory_type")).hbm is None


def test_a_disputed_die_area_is_tried_and_a_disputed_power_is_not(tmp_path: Path) -> None:
    disputed = 'value = 814\nunit = "mm2"\nalternatives = [{ value = 300, source = "rival" }]'
    power = 'value = 400\nunit = "W"\nalternatives = [{ value = 500, source = "rival" }]'
    path = write_chip(tmp_path / "disputed.toml", {"die_area": disputed, "tdp": power})
    assert [(other.figure.name, other.value) for other in others(read_chip(path), None)] == [
        ("die_area", Decimal(300))
    ]
    text = " ".join(explain(path).stdout.split())
    assert "Of 1 other published value, tried one at a time, 1 would change a verdict: die_area 300 mm2" in text
    assert "2023-11-3a090: not met → met: 3A090.a.2" in text


def test_a_number_keeps_its_whole_digits_and_needs_no_more_than_tell_it_apart() -> None:
    assert number(Fraction("1234567.8912")) == "1,234,568"
    assert number(Fraction(2368, 814), Fraction("3.2")) == "2.91"
    assert number(Fraction("3.1999999999999997"), Fraction("3.2")) == "3.1999999999999997"


def test_a_quantity_of_which_nothing_is_known_has_no_bound() -> None:
    assert unpublished("nvlink").over(Fraction(2)).low == 0
    assert unpublished("nvlink").plus(unpublished("pcie")).missing == ("nvlink", "pcie")


def test_what_is_said_with_reasons_is_what_is_met() -> None:
    """In every world of every chip the short evaluation and the one that gives reasons agree."""
    for chip in CATALOGUE.all():
        design = design_of(chip, CATALOGUE.chip(chip.cut_from) if chip.cut_from else None)
        for rule in BOOK.rules:
            for _, world in islice(worlds(design, rule, BOOK), 12):
                said = apply(rule, world, BOOK, default_day(rule, BOOK))
                assert said.outcome == outcome_in(rule, world, BOOK, default_day(rule, BOOK))
                assert said.answer.met is (said.outcome is not None)


def test_more_open_figures_than_can_be_tried_are_said_to_be_too_many() -> None:
    rule = BOOK.rule("2023-11-3a090")
    bare = design_of(CATALOGUE.chip("a800-sxm4-40gb"))
    assert len(list(worlds(bare, rule, BOOK))) > 1
    with pytest.raises(TooManyWorlds):
        list(worlds(bare, rule, BOOK, most=1))


def test_a_rule_that_came_after_the_last_day_that_was_followed_is_unknown() -> None:
    later = BOOK.rule("2023-11-3a090")._replace(effective=date(2099, 1, 1))
    verdict = judge(_design(), later, BOOK, DAY)
    assert (verdict.met, verdict.margin) == (None, None)
    assert str(BOOK.known_until) in verdict.reason


def test_a_rule_of_which_no_paragraph_holds_on_the_day_is_not_met_and_draws_no_line(tmp_path: Path) -> None:
    when = '{ quantity = "tpp", at_least = 10 }'
    write_rule(tmp_path, RULE.replace(WHEN, f"since = 2025-09-01\nwhen = {when}"))
    book = read_rules([shipped_specs(), tmp_path])
    verdict = judge(_design(), book.rule("my-rule"), book, DAY)
    assert (verdict.met, verdict.effect, verdict.reason) == (False, "none", f"no paragraph of it holds on {DAY}")
    assert ceilings(_design(), book.rule("my-rule"), book, DAY) == ()
    assert judge(_design(), book.rule("my-rule"), book, date(2025, 9, 1)).met is True


def test_a_misspelt_chip_in_a_rule_is_refused(tmp_path: Path) -> None:
    path = write_rule(tmp_path, RULE.replace(WHEN, 'when = { chips = ["h20-96"] }'))
    is_one_line_of_error(explain("h20-96gb", "--specs-dir", tmp_path), 3, str(path), "'h20-96'", "h20-96gb")


@pytest.mark.parametrize(("value", "unit"), [("0.29", "PFLOPS"), ("290", "TFLOPS"), ("290000", "GFLOPS")])
def test_a_line_is_told_as_a_rate_in_tera_whatever_the_sheets_prefix(
    tmp_path: Path, value: str, unit: str
) -> None:
    rate = f'value = {value}\nunit = "{unit}"\ndense = true'
    text = stdout(write_chip(tmp_path / "prefix.toml", {"fp8": rate}))
    assert f"TPP 2320 = {value} {unit} (fp8, dense) x 8 bit" in text
    assert "fp8 < 300 TFLOPS" in text


def test_what_is_just_below_a_line_is_not_rounded_onto_it() -> None:
    text = " ".join(stdout("--tops", "8=299.999999999", "--die", "814").split())
    assert "TPP 2399.999999992 = 299.999999999 TOPS (8 bit, dense) x 8 bit" in text
    assert "It reaches just under 100 % of the most that 2023-11-3a090 leaves to such a chip (TPP < 2400)" in text


def test_an_exception_that_is_unknown_is_not_told_as_none() -> None:
    assert "met: 3A090.a.1, exception NAC" in " ".join(stdout("rtx4090", "--format", "md").split())
    assert "met: 3A090.a.1, exception NAC unknown" in stdout("rtx6000ada", "--format", "md")


def test_what_the_whole_parts_unpublished_sibling_rate_would_make_is_said() -> None:
    text = " ".join(stdout("h20-96gb").split())
    assert "fp64_tensor was not published; that of h100-sxm5-80gb would make a TPP of 4288" in text

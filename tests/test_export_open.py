"""What may stand as a reason of a verdict while figures are open, and on which open choices an outcome depends."""

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from itertools import product
from typing import Any, Final

import pytest

from bench.analysis.design import Design, Span, design_of, exactly, imagined, unpublished
from bench.analysis.evaluation import Answer, Branch, Gap, Leaf, RuleAnswer, World
from bench.analysis.export_rule import (
    Case,
    Open,
    Paragraph,
    Verdict,
    _deciding,
    _differing,
    _furthest,
    _left_open,
    _missing,
    _paragraphs,
    _reason,
    _telling,
    _with_what_follows,
    default_day,
    judge,
    outcome_of,
)
from bench.analysis.reasons import TOO_MANY
from bench.published.chips import Catalogue
from bench.published.conditions import Comparison, Flag, MetBy, NamedChip, Relation, Unsettled
from bench.published.rules import read_rules
from bench.published.source import shipped_specs

CATALOGUE: Final = Catalogue([shipped_specs()])
BOOK: Final = read_rules([shipped_specs()])
RULE: Final = BOOK.rule("2023-11-3a090")
DAY: Final = date(2025, 6, 1)
OPEN: Final = Open(frozenset({"hbm", "equivalent"}), {"tpp": Fraction(2000), "io": Fraction(0)})
WORLD: Final = World(None, {}, {}, equivalent=False, ends=False, unsettled=False)


def gap(quantity: str, value: int) -> Gap:
    return Gap(quantity, Fraction(value), Fraction(2400))


def compared(quantity: str, relation: Relation = "at_least", most: int | None = None) -> Comparison:
    return Comparison(quantity, relation, Fraction(2400), None if most is None else Fraction(most))


def said(outcome: str | None, *leaves: Leaf, nearest: Gap | None = None) -> RuleAnswer:
    answer = Answer(outcome is not None, nearest, leaves)
    other = Branch("b", Answer(met=True, gap=None, leaves=()))
    return RuleAnswer(answer, outcome, (Branch("a", answer), other), ())


def outcomes(cases: Sequence[Case], name: str) -> dict[Any, str | None]:
    return {answer: told.outcome for answer, told in _differing(cases, name).items()}


def case(outcome: str | None, *leaves: Leaf, nearest: Gap | None = None, **choices: Any) -> Case:  # noqa: ANN401
    return Case(choices, WORLD, said(outcome, *leaves, nearest=nearest))


class TestWhatIsPublished:
    @pytest.mark.parametrize(
        ("quantity", "value", "published"),
        [
            ("memory_bandwidth", 3000, True),  # not open at all
            ("tpp", 2000, True),  # the published bound itself
            ("tpp", 2400, False),  # a value that was tried
            ("tpp", 1, False),
            ("io", 0, False),  # nothing was published of it
        ],
    )
    def test_a_value_is_if_it_is_known_or_the_bound(self, quantity: str, value: int, *, published: bool) -> None:
        assert OPEN.publishes(gap(quantity, value)) is published

    def test_a_bound_below_one_is_published_too(self) -> None:
        half = Open(frozenset(), {"performance_density": Fraction(1, 2)})
        assert half.publishes(Gap("performance_density", Fraction(1, 2), Fraction(3)))


class TestWhatIsSettled:
    def test_an_answer_to_a_question_that_is_open_settles_nothing(self) -> None:
        assert OPEN.settles(Leaf(Flag("data_centre", wanted=True), met=True)) is True
        assert OPEN.settles(Leaf(Flag("hbm", wanted=True), met=True)) is False
        assert OPEN.settles(Leaf(Unsettled("anything"), met=True)) is False

    @pytest.mark.parametrize("met", [True, False])
    def test_a_list_of_chips_settles_unless_it_has_unnamed_equivalents(self, *, met: bool) -> None:
        named, like = NamedChip(("a",), or_equivalent=False), NamedChip(("a",), or_equivalent=True)
        assert OPEN.settles(Leaf(named, met=met)) is True
        assert OPEN.settles(Leaf(like, met=met)) is False
        assert Open(frozenset({"hbm"}), {}).settles(Leaf(like, met=met)) is True

    @pytest.mark.parametrize(
        ("relation", "met", "settled"),
        [
            ("at_least", True, True),
            ("more_than", True, True),
            ("at_least", False, False),
            ("more_than", False, False),
            ("at_most", False, True),
            ("below", False, True),
            ("at_most", True, False),
            ("below", True, False),
        ],
    )
    def test_a_bound_settles_what_more_of_it_cannot_change(
        self, relation: Relation, *, met: bool, settled: bool
    ) -> None:
        assert OPEN.settles(Leaf(compared("tpp", relation), met, gap("tpp", 2000))) is settled
        assert OPEN.settles(Leaf(compared("tpp", relation), met, gap("tpp", 2400))) is False, "it was only tried"
        assert OPEN.settles(Leaf(compared("tpp", relation), met)) is True, "there is no such quantity"
        assert OPEN.settles(Leaf(compared("memory_bandwidth", relation), met, gap("memory_bandwidth", 9))) is True

    @pytest.mark.parametrize("met", [True, False])
    def test_a_bound_within_a_range_settles_nothing(self, *, met: bool) -> None:
        assert OPEN.settles(Leaf(compared("tpp", "at_least", 4800), met, gap("tpp", 2000))) is False

    def test_another_rule_settles_if_all_that_decides_it_does(self) -> None:
        sure, open_one = Leaf(Flag("data_centre", wanted=True), met=True), Leaf(Unsettled("x"), met=True)
        for because, settled in (((), True), ((sure,), True), ((sure, open_one), False)):
            assert OPEN.settles(Leaf(MetBy("r", None), met=True, because=because)) is settled


class TestWhichCaseTells:
    OPEN_LEAF = Leaf(Unsettled("x"), met=True)
    NONE = Open(frozenset(), {})

    def test_of_an_unknown_verdict_the_first(self) -> None:
        cases = [case(None, self.OPEN_LEAF), case("a")]
        assert _telling(cases, None, self.NONE) is cases[0]

    @pytest.mark.parametrize("met", [True, False])
    def test_else_the_one_of_fewest_doubts_then_with_a_number_then_the_nearest(self, *, met: bool) -> None:
        doubtful = case("a", self.OPEN_LEAF, nearest=gap("tpp", 2400))
        numberless, far, near = case("a"), case("a", nearest=gap("tpp", 4800)), case("a", nearest=gap("tpp", 2300))
        assert _telling([doubtful, numberless, far, near], met, self.NONE) is near
        assert _telling([doubtful, numberless, far], met, self.NONE) is far
        assert _telling([doubtful, numberless], met, self.NONE) is numberless
        assert _telling([doubtful], met, self.NONE) is doubtful


class TestWhatDecides:
    def test_a_choice_that_alone_changes_whether_it_is_met(self) -> None:
        cases = [case("a" if hbm else None, hbm=hbm, ends=ends) for hbm in (False, True) for ends in (False, True)]
        assert _deciding(cases) == ["hbm"]
        assert outcomes(cases, "hbm") == {
            True: "a",
            False: None,
        }
        assert _differing(cases, "ends") == {}

    def test_where_it_is_met_anyway_the_paragraph_counts(self) -> None:
        cases = [case("a" if hbm else "b", hbm=hbm) for hbm in (False, True)]
        assert _deciding(cases) == ["hbm"]
        assert _deciding(cases[:1] * 2) == []

    def test_a_difference_in_being_met_goes_before_one_in_the_paragraph(self) -> None:
        """With ends it is b or nothing, without a or b; the first is what is told."""
        made: Mapping[tuple[bool, bool], str | None] = {
            (False, False): "a", (True, False): "b", (False, True): "b", (True, True): None
        }  # fmt: skip
        cases = [case(made[hbm, ends], hbm=hbm, ends=ends) for ends in (False, True) for hbm in (False, True)]
        assert outcomes(cases, "hbm") == {
            True: None,
            False: "b",
        }

    def test_two_choices_that_only_move_together_decide_nothing_alone(self) -> None:
        for other in ("ends", "io", "tpp"):
            choices: list[dict[str, Any]] = [{"hbm": False, other: 1}, {"hbm": True, other: 2}]
            assert _deciding([case(None, **choices[0]), case("a", **choices[1])]) == []

    @pytest.mark.parametrize("follows", ["io", "io_plus_memory_bandwidth"])
    def test_with_a_reading_of_io_go_the_quantities_that_it_makes(self, follows: str) -> None:
        choices: list[dict[str, Any]] = [{"reading": "x", follows: 1}, {"reading": "y", follows: 2}]
        cases = [case(None, **choices[0]), case("a", **choices[1])]
        assert _deciding(cases) == ["reading"]


class TestMargins:
    def test_how_far_a_number_misses_is_told_unless_the_number_is_open(self) -> None:
        far = gap("memory_bandwidth", 100)
        assert _furthest(said(None, nearest=far), OPEN) == far
        assert _furthest(said(None, nearest=gap("tpp", 2000)), OPEN) is None
        assert _furthest(said(None), OPEN) is None

    def test_density_moves_with_performance(self) -> None:
        assert _with_what_follows(["tpp", "hbm"]) == {"tpp", "hbm", "performance_density"}
        assert _with_what_follows(["io"]) == {"io"}
        assert _with_what_follows([]) == set()

    def test_open_are_the_questions_with_two_answers_and_the_quantities_without_an_end(self) -> None:
        cases = [case(None, tpp=tpp, hbm=hbm, ends=False) for tpp in (1, 2) for hbm in (False, True)]
        design = _design(tpp=Span(Fraction(2000), None, ("fp8",)))
        found = _left_open(design, cases)
        assert found.questions == {"hbm"}
        assert found.bounds["tpp"] == 2000
        assert "memory_bandwidth" not in found.bounds


class TestReasons:
    LEAVES = tuple(Leaf(Flag("data_centre", wanted=True), met=met) for met in (True, False))

    def told(self, *outcomes: str | None) -> str:
        cases = [
            case(one, leaf, hbm=i > 0) for i, (one, leaf) in enumerate(zip(outcomes, self.LEAVES, strict=True))
        ]
        return _reason(_design(), cases, _deciding(cases), Open(frozenset({"hbm"}), {}), cases[0])

    def test_what_it_is_at_least_is_told_first(self) -> None:
        how = "depends on whether it has HBM: if so: {}; if not: {}"
        assert self.told("a", "b") == "a or b; " + how.format(
            "met, b: not designed or marketed for data centres", "met, a: designed or marketed for data centres"
        )
        assert self.told(None, "b") == how.format(
            "met, b: not designed or marketed for data centres", "not met, designed or marketed for data centres"
        )
        assert self.told("a", "a") == "a: designed or marketed for data centres"

    def decided(self, design: Design, *names: str) -> str:
        """Return the reason where every one of these choices alone decides."""
        every = product((False, True), repeat=len(names))
        choices: list[dict[str, Any]] = [dict(zip(names, one, strict=True)) for one in every]
        cases = [case("a" if all(one.values()) else None, **one) for one in choices]
        return _reason(design, cases, _deciding(cases), OPEN, cases[0])

    def test_several_questions_are_told_one_after_another(self) -> None:
        parts = self.decided(_design(), "hbm", "data_centre").split("; depends on ")
        assert parts[0].startswith("depends on whether it has HBM: ")
        assert parts[1].startswith("whether it is designed or marketed for data centres: ")

    def test_beside_figures_that_are_open_questions_are_named_but_that_of_the_ends(self) -> None:
        design = _design(tpp=Span(Fraction(2000), None, ("fp8",)))
        assert self.decided(design, "tpp", "ends", "hbm", "data_centre") == (
            "TPP is at least 2000; not given: FP8; depends on whether it has HBM; "
            "depends on whether it is designed or marketed for data centres"
        )


class TestParagraphs:
    def test_each_is_met_where_all_agree_and_has_a_margin_that_was_published(self) -> None:
        cases = [case("a", nearest=gap("tpp", 2000)), case(None, nearest=gap("tpp", 2400))]
        assert _paragraphs(cases, OPEN) == (
            Paragraph("a", None, gap("tpp", 2000)),
            Paragraph("b", met=True, margin=None),
        )
        assert _paragraphs(cases[1:], OPEN)[0] == Paragraph("a", met=False, margin=None), (
            "that value was only tried"
        )


def _design(**changed: Any) -> Design:  # noqa: ANN401
    plain = imagined(
        tops={8: Fraction(250)},
        die_area=Fraction(800),
        nvlink=Fraction(100),
        pcie=None,
        io=None,
        memory_bandwidth=Fraction(1000),
        consumer=False,
    )
    return plain._replace(**changed)


class TestVerdicts:
    def test_beyond_the_last_day_that_was_followed_nothing_is_known(self) -> None:
        day = date(2099, 1, 1)
        verdict = judge(_design(), RULE, BOOK, day)
        assert verdict == Verdict(RULE, None, None, None, None, verdict.reason, None, (), (), (), None)
        assert str(day) in verdict.reason
        assert str(BOOK.known_until) in verdict.reason
        assert outcome_of(_design(), RULE, BOOK, day) == (None, None)
        assert judge(_design(), RULE, BOOK, BOOK.known_until).met is not None
        assert outcome_of(_design(), RULE, BOOK, BOOK.known_until)[0] is not None
        last = RULE._replace(effective=BOOK.known_until)
        assert judge(_design(), last, BOOK, BOOK.known_until).met is not None
        assert judge(_design(), RULE._replace(effective=None), BOOK, DAY).met is not None

    def test_on_a_day_on_which_no_paragraph_holds_it_is_not_met(self) -> None:
        empty = RULE._replace(outcomes=())
        reason = f"no paragraph of it holds on {DAY}"
        assert judge(_design(), empty, BOOK, DAY) == Verdict(
            empty,
            met=False,
            outcome=None,
            exception=None,
            effect="none",
            reason=reason,
            margin=None,
            paragraphs=(),
        )

    def test_too_many_open_figures_are_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.analysis.worlds.worlds.__defaults__", (0,))
        verdict = judge(_design(), RULE, BOOK, DAY)
        assert verdict == Verdict(RULE, None, None, None, None, TOO_MANY, None, ())
        assert outcome_of(_design(), RULE, BOOK, DAY) == (None, None)

    def test_the_last_known_day_of_a_rule_is_its_own_or_the_last_that_was_followed(self) -> None:
        ended = RULE._replace(until=date(2024, 1, 1))
        assert default_day(ended, BOOK) == date(2024, 1, 1)
        assert default_day(RULE._replace(until=None), BOOK) == BOOK.known_until
        assert default_day(RULE._replace(until=date(2099, 1, 1)), BOOK) == BOOK.known_until

    def test_missing_figures_are_named_once_and_only_where_they_decide(self) -> None:
        design = _design()._replace(die_area=unpublished("die_area"), memory_bandwidth=unpublished("memory"))
        assert _missing(design, ["memory_bandwidth"]) == ("memory",)
        assert _missing(design, []) == ()
        assert _missing(_design(), ["tpp", "memory_bandwidth"]) == ()
        assert _missing(_design(memory_bandwidth=exactly(Fraction(1))), ["memory_bandwidth"]) == ()


H20_BANDWIDTHS: Final = "memory bandwidth 4000 ≥ 1400 GB/s, I/O and memory bandwidth together 5028 ≥ 1700 GB/s"
FORMATS: Final = ("tf32", "fp16", "bf16", "fp8", "int8")
# Of a chip by a rule: met, outcome, exception, possible exception, effect, the reason's end, margin, what is open.
TOLD: Final[Mapping[tuple[str, str], tuple[Any, ...]]] = {
    ("h100", "2022-10-3a090"): (
        True, "3A090", None, None, "licence", "I/O 900 ≥ 600 GB/s, TPP 15831.2 ≥ 4800", ("io", 900, 600), (), ()
    ),  # by the reading of I/O that is nearest to the line
    ("rtx5000ada", "2022-10-3a090"): (
        False, None, None, None, "none", "I/O 64 < 600 GB/s and TPP 4192 < 4800", ("io", 64, 600), (), ()
    ),  # both miss, I/O further
    ("rtx5000ada", "2023-11-3a090"): (
        None, None, None, None, None, "TPP 4192 ≥ 1600, performance density 6.89 ≥ 5.92",
        None, (), ("data_centre",),
    ),
    ("rtx5090d", "2023-11-3a090"): (
        None, None, None, None, None, "TPP is at least 4750; not published: TF32, FP16, BF16, FP8, INT8",
        ("tpp", 4750, 4800), FORMATS, (),
    ),
    ("rtx4090", "2023-11-3a090"): (
        True, "3A090.a.1", "NAC", None, "licence", "", ("tpp", Fraction(26424, 5), 4800), (), ()
    ),
    ("rtx6000ada", "2023-11-3a090"): (
        True, "3A090.a.1", None, "NAC", "licence", "3A090.a.1: TPP 5824 ≥ 4800", ("tpp", 5824, 4800), (), ()
    ),
    ("b30a", "2023-11-3a090"): (
        True, "3A090.a.1", None, None, "licence", "designed or marketed for data centres, TPP 30000 ≥ 4800",
        ("tpp", 30000, 4800), (), (),
    ),  # at least so much is published, and more would change nothing
    ("h20", "2025-04-letter"): (
        True, "letter", None, None, "licence", f"it names this chip, {H20_BANDWIDTHS}", None, (), ()
    ),
    ("h20", "bill-safe-chips"): (
        None, None, None, None, None, "NVLink and PCIe: met, I/O and memory bandwidth together 5028 ≥ 5000 GB/s",
        None, (), ("reading",),
    ),
    ("h100", "2024-12-hbm"): (
        False, None, None, None, "none", "not a memory stack sold without a processor", None, (), ()
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "rule_id"), TOLD)
def test_all_that_a_verdict_tells(name: str, rule_id: str) -> None:
    rule, chip = BOOK.rule(rule_id), CATALOGUE.resolve(name).chip
    design = design_of(chip, CATALOGUE.chip(chip.cut_from) if chip.cut_from else None)
    met, outcome, exception, possible, effect, reason, margin, missing, questions = TOLD[name, rule_id]
    found = judge(design, rule, BOOK, default_day(rule, BOOK))
    assert (found.met, found.outcome) == (met, outcome)
    assert (found.exception, found.possible_exception) == (exception, possible)
    assert (found.rule, found.effect, found.missing, found.questions) == (rule, effect, missing, questions)
    assert found.reason.endswith(reason)
    assert (found.margin and found.margin[:3]) == margin
    assert outcome_of(design, rule, BOOK, default_day(rule, BOOK)) == (met, outcome)
    assert [one.name for one in found.paragraphs] == [part.name for part in rule.outcomes]

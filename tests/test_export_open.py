"""What may stand as a reason of a verdict while figures are open, and on which open choices an outcome depends."""

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, Final

import pytest

from bench.analysis.design import Design, exactly, imagined, unpublished
from bench.analysis.evaluation import Answer, Branch, Gap, Leaf, RuleAnswer, World
from bench.analysis.export_rule import (
    Case,
    Open,
    Paragraph,
    Verdict,
    _deciding,
    _differing,
    _missing,
    _paragraphs,
    _telling,
    default_day,
    judge,
    outcome_of,
)
from bench.analysis.reasons import TOO_MANY
from bench.published.conditions import Comparison, Flag, MetBy, NamedChip, Relation, Unsettled
from bench.published.rules import read_rules
from bench.published.source import shipped_specs

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
        cases = [case(None, hbm=False, ends=False), case("a", hbm=True, ends=True)]
        assert _deciding(cases) == []

    @pytest.mark.parametrize("follows", ["io", "io_plus_memory_bandwidth"])
    def test_with_a_reading_of_io_go_the_quantities_that_it_makes(self, follows: str) -> None:
        choices: list[dict[str, Any]] = [{"reading": "x", follows: 1}, {"reading": "y", follows: 2}]
        cases = [case(None, **choices[0]), case("a", **choices[1])]
        assert _deciding(cases) == ["reading"]


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

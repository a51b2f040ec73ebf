"""Verdicts of export-control rules on a design: met, not met, or unknown, each with a reason and a margin.

What the published figures leave open (a rate that nobody published, whether PCIe counts as I/O, whether a
workstation card is for data centres) makes several worlds. A verdict is what holds in all of them; where they
differ it is unknown, and the reason names what it depends on. This is arithmetic on published figures, not legal
advice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

from bench.analysis.design import Design, Span
from bench.analysis.evaluation import Gap, Leaf, RuleAnswer, World, apply, outcome_in
from bench.analysis.margin import nearest_flip
from bench.analysis.reasons import (
    TOO_MANY,
    depends_on,
    either_way,
    no_paragraph,
    not_followed,
    plain_reason,
    unpublished_reason,
)
from bench.analysis.worlds import QUESTIONS, TooManyWorlds, worlds
from bench.published.conditions import Comparison, Flag, MetBy, NamedChip, Unsettled
from bench.published.rules import Effect, Rule, RuleBook

_T = TypeVar("_T")


class Paragraph(NamedTuple):
    """One outcome of a rule: whether it would be met by itself, and the margin to its nearest threshold."""

    name: str
    met: bool | None
    margin: Gap | None


class Verdict(NamedTuple):
    """Whether a rule's adverse test is met; None: unknown.

    `outcome` is the paragraph that is met, None also where worlds differ in it; `effect` what follows, "none"
    where nothing does, None where that is unknown. `margin` is to the nearest threshold at which the verdict would
    change if that quantity alone moved (density moving with TPP); of a rule that several numbers miss, it is that
    of the number furthest from its threshold; None where no number decides. `missing` names the unpublished
    figures on which the outcome depends, `questions` what else it depends on. `possible_exception` is one of which
    it is unknown whether it is open.
    """

    rule: Rule
    met: bool | None
    outcome: str | None
    exception: str | None
    effect: Effect | None
    reason: str
    margin: Gap | None
    paragraphs: tuple[Paragraph, ...]
    missing: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    possible_exception: str | None = None


class Case(NamedTuple):
    """A world, how each open choice is made in it, and what the rule says there."""

    choices: Mapping[str, Any]
    world: World
    said: RuleAnswer


class Open(NamedTuple):
    """What the published figures leave open of a design: questions, and quantities with their lower bounds."""

    questions: frozenset[str]
    bounds: Mapping[str, Fraction]

    def publishes(self, gap: Gap) -> bool:
        """Whether a compared value is published, if only as a bound, and not one of those that were tried."""
        return gap.quantity not in self.bounds or 0 < gap.value == self.bounds[gap.quantity]

    def settles(self, leaf: Leaf) -> bool:
        """Whether a leaf's answer holds whatever the open figures are, so that it may stand as a reason."""
        match leaf.condition:
            case Flag(flag=flag):
                return flag not in self.questions
            case NamedChip(or_equivalent=or_equivalent):
                return not (or_equivalent and "equivalent" in self.questions)
            case Unsettled():
                return False
            case MetBy():
                return all(self.settles(inner) for inner in leaf.because)
            case Comparison() as comparison:
                return self._holds(comparison, leaf)

    def _holds(self, comparison: Comparison, leaf: Leaf) -> bool:
        if leaf.gap is None or comparison.quantity not in self.bounds:
            return True
        upward = comparison.relation in ("at_least", "more_than")
        return self.publishes(leaf.gap) and comparison.most is None and leaf.met == upward


def judge(design: Design, rule: Rule, book: RuleBook, day: date) -> Verdict:
    """Return the verdict of `rule`, by its text of `day`, on `design`; unknown for a day that nobody looked at."""
    if not _followed(rule, book, day):
        return _undecided(rule, not_followed(book.known_until, day))
    if not any(outcome.holds_on(day) for outcome in rule.outcomes):
        return Verdict(rule, False, None, None, "none", no_paragraph(day), None, ())  # noqa: FBT003
    try:
        cases = _cases(design, rule, book, day)
    except TooManyWorlds:
        return _undecided(rule, TOO_MANY)
    return _verdict(design, rule, book, day, cases)


def outcome_of(design: Design, rule: Rule, book: RuleBook, day: date) -> tuple[bool | None, str | None]:
    """Return whether a rule is met and its outcome, as `judge` does, without saying why."""
    if not _followed(rule, book, day):
        return None, None
    try:
        said = {outcome_in(rule, world, book, day) for _, world in worlds(design, rule, book)}
    except TooManyWorlds:
        return None, None
    return _agreed(outcome is not None for outcome in said), _agreed(said)


def _followed(rule: Rule, book: RuleBook, day: date) -> bool:
    return day <= book.known_until and (rule.effective is None or rule.effective <= book.known_until)


def _undecided(rule: Rule, reason: str) -> Verdict:
    return Verdict(rule, None, None, None, None, reason, None, ())


def _cases(design: Design, rule: Rule, book: RuleBook, day: date) -> list[Case]:
    return [Case(choices, world, apply(rule, world, book, day)) for choices, world in worlds(design, rule, book)]


def _verdict(design: Design, rule: Rule, book: RuleBook, day: date, cases: Sequence[Case]) -> Verdict:
    met = _agreed(case.said.answer.met for case in cases)
    outcomes = list(dict.fromkeys(case.said.outcome for case in cases))
    deciding = _deciding(cases)
    left_open = _left_open(design, cases)
    telling = _telling(cases, met, left_open)
    exceptions = _exceptions(design, rule, book, day) if met else {}
    margin = None
    if not {*deciding} & {*QUESTIONS}:
        spans = _spans(design, telling)
        margin = nearest_flip(design, rule, book, day, world=telling.world, spans=spans, met=met)
    if met is None and margin is not None and margin.quantity not in _with_what_follows(deciding):
        margin = None
    if met is False and margin is None:
        margin = _furthest(telling.said, left_open)
    return Verdict(
        rule=rule,
        met=met,
        outcome=_agreed(outcomes),
        exception=next((name for name, is_open in exceptions.items() if is_open), None),
        effect=_effect(rule, outcomes) if met else "none" if met is False else None,
        reason=_reason(design, cases, deciding, left_open, telling),
        margin=margin,
        paragraphs=_paragraphs(cases, left_open),
        missing=_missing(design, deciding) if len(outcomes) > 1 else (),
        questions=tuple(name for name in deciding if name in QUESTIONS),
        possible_exception=next((name for name, is_open in exceptions.items() if is_open is None), None),
    )


def _furthest(said: RuleAnswer, left_open: Open) -> Gap | None:
    """Return, where more than one number misses, how far the one misses that is furthest from its threshold."""
    gap = said.answer.gap
    return gap if gap is not None and gap.quantity not in left_open.bounds else None


def _with_what_follows(deciding: Sequence[str]) -> set[str]:
    return {*deciding} | ({"performance_density"} if "tpp" in deciding else set())


def _left_open(design: Design, cases: Sequence[Case]) -> Open:
    choices = {name: {case.choices[name] for case in cases} for name in cases[0].choices}
    questions = frozenset(name for name, answers in choices.items() if name in QUESTIONS and len(answers) > 1)
    return Open(questions, {name: span.low for name, span in _open_spans(design)})


def _spans(design: Design, case: Case) -> Mapping[str, Span | None]:
    """Return the quantities under the reading of I/O that is taken in `case`."""
    reading = next(reading for reading in design.io if reading.label == case.choices["reading"])
    return design.quantities(reading.span)


def _telling(cases: Sequence[Case], met: bool | None, left_open: Open) -> Case:  # noqa: FBT001 - three-valued
    """Return the case that says most of a verdict that all share, else the first.

    It is the one with the fewest reasons that only hold in some worlds, and of those the nearest to changing.
    """

    def rank(case: Case) -> tuple[int, bool, Fraction]:
        answer = case.said.answer
        doubtful = sum(not left_open.settles(leaf) for leaf in answer.leaves)
        return doubtful, answer.gap is None, abs(answer.gap.relative) if answer.gap else Fraction(0)

    return cases[0] if met is None else min(cases, key=rank)


def _agreed(answers: Iterable[_T]) -> _T | None:
    """Return the one answer that all give, or None."""
    distinct = list(dict.fromkeys(answers))
    return distinct[0] if len(distinct) == 1 else None


def default_day(rule: Rule, book: RuleBook) -> date:
    """Return the last day on which the rule held, as far as is known: its text of that day is judged by."""
    return min(rule.until or book.known_until, book.known_until)


def _effect(rule: Rule, outcomes: Iterable[str | None]) -> Effect | None:
    return _agreed(part.effect for part in rule.outcomes if part.name in {*outcomes})


def _exceptions(design: Design, rule: Rule, book: RuleBook, day: date) -> dict[str, bool | None]:
    """Return whether each licence exception from a rule is open to a design; None: unknown."""
    found = {}
    for other in book.exceptions_to(rule):
        met, outcome = outcome_of(design, other, book, day)
        found[outcome or other.outcomes[0].name] = met
    return found


def _paragraphs(cases: Sequence[Case], left_open: Open) -> tuple[Paragraph, ...]:
    return tuple(
        Paragraph(
            branch.name,
            _agreed(case.said.branches[i].answer.met for case in cases),
            gap if (gap := branch.answer.gap) is not None and left_open.publishes(gap) else None,
        )
        for i, branch in enumerate(cases[0].said.branches)
    )


def _rest(choices: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return all choices but `name`; with a reading of I/O go the quantities that it makes."""
    left_out = {name, "io", "io_plus_memory_bandwidth"} if name == "reading" else {name}
    return tuple(value for key, value in choices.items() if key not in left_out)


def _deciding(cases: Sequence[Case]) -> list[str]:
    """Return the open choices on which the outcome depends: those that alone, all else equal, change it."""
    return [name for name in cases[0].choices if _differing(cases, name)]


def _differing(cases: Sequence[Case], name: str) -> dict[Any, RuleAnswer]:
    """Return what the rule says for each choice of `name`, all else equal, where that makes a difference; or {}.

    A difference in whether the rule is met is looked for first, then one in the paragraph that is met.
    """
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(_rest(case.choices, name), []).append(case)
    for key in (_is_met, _outcome):
        for group in groups.values():
            said: dict[Any, set[object]] = {}
            for case in group:
                said.setdefault(case.choices[name], set()).add(key(case))
            if any(answers != said[group[0].choices[name]] for answers in said.values()):
                return {case.choices[name]: case.said for case in reversed(group)}
    return {}


def _is_met(case: Case) -> object:
    return case.said.answer.met


def _outcome(case: Case) -> object:
    return case.said.outcome


def _reason(design: Design, cases: Sequence[Case], deciding: Sequence[str], left_open: Open, telling: Case) -> str:
    if not deciding:
        return plain_reason(telling.said, left_open.settles)
    questions = [name for name in deciding if name in QUESTIONS]
    quantities = [name for name in deciding if name not in QUESTIONS]
    outcomes = list(dict.fromkeys(case.said.outcome for case in cases))
    either = [] if None in outcomes else [" or ".join(filter(None, outcomes))]
    if not quantities:
        shown = left_open._replace(questions=frozenset()).settles
        return "; ".join([*either, *(either_way(name, _differing(cases, name), shown) for name in questions)])
    unpublished = unpublished_reason(design, quantities, _missing(design, deciding))
    # Where a quantity is open its ends are among the values that are tried, and that is no question of its own.
    return "; ".join([*either, unpublished, *(depends_on(name) for name in questions if name != "ends")])


def _missing(design: Design, deciding: Sequence[str]) -> tuple[str, ...]:
    names = (name for quantity, span in _open_spans(design) if quantity in deciding for name in span.missing)
    return tuple(dict.fromkeys(names))


def _open_spans(design: Design) -> list[tuple[str, Span]]:
    """Return every quantity of which only a lower bound is known, under every reading of I/O."""
    spans = [entry for reading in design.io for entry in design.quantities(reading.span).items()]
    return [(name, span) for name, span in spans if span is not None and not span.exact]

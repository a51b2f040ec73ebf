"""Verdicts of export-control rules on a design: met, not met, or unknown, each with a reason and a margin.

What the published figures leave open (a rate that nobody published, whether PCIe counts as I/O, whether a
workstation card is for data centres) makes several worlds. A verdict is what holds in all of them; where they
differ it is unknown, and the reason names what it depends on. This is arithmetic on published figures, not legal
advice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise, product
from typing import Any, Final, NamedTuple, TypeVar

from bench.analysis.conditions import Gap, RuleAnswer, World, apply
from bench.analysis.design import Design, Span
from bench.analysis.reasons import depends_on, either_way, not_followed, plain_reason, unpublished_reason
from bench.published.conditions import Comparison, Condition, Flag, MetBy, NamedChip, Unsettled
from bench.published.rules import Effect, Rule, RuleBook

# What a world may answer either way that is no quantity.
QUESTIONS: Final = ("reading", "data_centre", "hbm", "equivalent", "ends", "unsettled")
_T = TypeVar("_T")
_IO: Final = ("io", "io_plus_memory_bandwidth")


class Paragraph(NamedTuple):
    """One outcome of a rule: whether it would be met by itself, and the margin to its nearest threshold."""

    name: str
    met: bool | None
    margin: Gap | None


class Verdict(NamedTuple):
    """Whether a rule's adverse test is met; None: unknown.

    `outcome` is the paragraph that is met, None also where worlds differ in it; `effect` what follows, "none"
    where nothing does, None where that is unknown. `margin` is to the nearest threshold of the paragraph that is
    met, or else of the one nearest to being met; None where no single number decides. `missing` names the
    unpublished figures on which the outcome depends.
    """

    rule: Rule
    met: bool | None
    outcome: str | None
    exception: str | None
    effect: Effect | None
    reason: str
    margin: Gap | None
    paragraphs: tuple[Paragraph, ...]
    missing: tuple[str, ...]


class Case(NamedTuple):
    """A world, how each open question is answered in it, and what the rule says there."""

    choices: Mapping[str, Any]
    said: RuleAnswer


def judge(design: Design, rule: Rule, book: RuleBook, day: date) -> Verdict:
    """Return the verdict of `rule`, by its text of `day`, on `design`; unknown for a day that nobody looked at."""
    if day > book.known_until:
        return Verdict(rule, None, None, None, None, not_followed(book.known_until, day), None, (), ())
    cases = list(_cases(design, rule, book, day))
    met = _agreed(case.said.answer.met for case in cases)
    outcomes = dict.fromkeys(case.said.outcome for case in cases)
    deciding = _deciding(cases)
    known = _known(design)
    base = _telling(cases, met, known).said
    return Verdict(
        rule=rule,
        met=met,
        outcome=_agreed(outcomes),
        exception=_exception(design, rule, book, day) if met else None,
        effect=_effect(rule, outcomes) if met else "none" if met is False else None,
        reason=_reason(design, cases, deciding, known) if deciding else plain_reason(base, known),
        margin=_margin(base.answer.gap, met, deciding, known),
        paragraphs=_paragraphs(cases),
        missing=_missing(design, deciding) if len(outcomes) > 1 else (),
    )


def _known(design: Design) -> Callable[[Gap], bool]:
    """Return whether a compared value is published, and not one of those that were tried."""
    spans = [entry for reading in design.io for entry in design.quantities(reading.span).items()]
    bounds = {name: span.low for name, span in spans if span is not None and not span.exact}
    return lambda gap: gap.quantity not in bounds or 0 < gap.value == bounds[gap.quantity]


def _telling(cases: Sequence[Case], met: bool | None, known: Callable[[Gap], bool]) -> Case:  # noqa: FBT001
    """Return the case that says most of a verdict that all share, else the first.

    It is the one with the fewest comparisons of values that were only tried, and of those the nearest to changing.
    """
    if met is None:
        return cases[0]

    def rank(case: Case) -> tuple[int, bool, Fraction]:
        answer = case.said.answer
        tried = sum(leaf.gap is not None and not known(leaf.gap) for leaf in answer.leaves)
        return tried, answer.slack is None, abs(answer.slack or Fraction(0))

    return min(cases, key=rank)


def _margin(
    gap: Gap | None,
    met: bool | None,  # noqa: FBT001 - three-valued
    deciding: Sequence[str],
    known: Callable[[Gap], bool],
) -> Gap | None:
    """Return the margin of a verdict; of an unknown one, that of the lower bound on which it depends."""
    if gap is None or not known(gap) or {*deciding} & {*QUESTIONS}:
        return None
    return gap if met is not None or gap.quantity in deciding else None


def _agreed(answers: Iterable[_T]) -> _T | None:
    """Return the one answer that all give, or None."""
    distinct = list(dict.fromkeys(answers))
    return distinct[0] if len(distinct) == 1 else None


def default_day(rule: Rule, book: RuleBook) -> date:
    """Return the last day on which the rule held, as far as is known: its text of that day is judged by."""
    return min(rule.until or book.known_until, book.known_until)


def _effect(rule: Rule, outcomes: Iterable[str | None]) -> Effect | None:
    return _agreed(part.effect for part in rule.outcomes if part.name in {*outcomes})


def _exception(design: Design, rule: Rule, book: RuleBook, day: date) -> str | None:
    """Return the name of the licence exception that is open beside a rule that is met, None if none surely is."""
    for other in book.exceptions_to(rule):
        verdict = judge(design, other, book, day)
        if verdict.met:
            return verdict.outcome
    return None


def _paragraphs(cases: Sequence[Case]) -> tuple[Paragraph, ...]:
    return tuple(
        Paragraph(branch.name, _agreed(case.said.branches[i].answer.met for case in cases), branch.answer.gap)
        for i, branch in enumerate(cases[0].said.branches)
    )


def _cases(design: Design, rule: Rule, book: RuleBook, day: date) -> Iterator[Case]:
    for choices, world in worlds(design, rule, book):
        yield Case(choices, apply(rule, world, book, day))


def worlds(design: Design, rule: Rule, book: RuleBook) -> Iterator[tuple[Mapping[str, Any], World]]:
    """Yield every way in which what `rule` asks of `design` may be, first the one of lowest numbers.

    A quantity without an upper end is tried at its lower bound and at every threshold above, and between and
    beyond them where some comparison makes a difference there: no other value could change an answer. Quantities
    are varied one by one, TPP and performance density too, so that a verdict may stay unknown that a finer
    argument would settle; it is never wrong.
    """
    asked = list(asked_by(rule, book))
    compared: dict[str, list[Comparison]] = {}
    for part in asked:
        if isinstance(part, Comparison):
            compared.setdefault(part.quantity, []).append(part)
    questions = _questions(design, asked)
    for reading in design.io if {*compared} & {*_IO} else design.io[:1]:
        spans = design.quantities(reading.span)
        values = {name: _representatives(spans[name], comparisons) for name, comparisons in compared.items()}
        for answers in product(*questions.values(), *values.values()):
            choices = dict(zip([*questions, *values], answers, strict=True))
            yield {"reading": reading.label, **choices}, _world(design, choices)


def _world(design: Design, choices: Mapping[str, Any]) -> World:
    flags = {name: bool(choices.get(name)) for name in ("data_centre", "hbm")}
    return World(
        design.id,
        {name: value for name, value in choices.items() if name not in QUESTIONS},
        {**flags, "memory_stack": False},
        bool(choices.get("equivalent")),
        bool(choices.get("ends")),
        bool(choices.get("unsettled")),
    )


def asked_by(rule: Rule, book: RuleBook) -> Iterator[Condition]:
    """Yield every condition of a rule, and of the rule that it refers to."""
    for part in rule.conditions():
        if isinstance(part, MetBy):
            yield from book.rule(part.rule).conditions()
        yield part


def _questions(design: Design, asked: Sequence[Condition]) -> dict[str, Sequence[bool]]:
    flags = {part.flag for part in asked if isinstance(part, Flag)}
    found: dict[str, Sequence[bool]] = {}
    if "data_centre" in flags:
        found["data_centre"] = design.data_centre
    if "hbm" in flags:
        found["hbm"] = (True, False) if design.hbm is None else (design.hbm,)
    lists = [part for part in asked if isinstance(part, NamedChip)]
    if any(part.or_equivalent for part in lists):
        found["equivalent"] = (False, True)
    if any(isinstance(part, Comparison) and part.most is not None for part in asked):
        found["ends"] = (True, False)
    if any(isinstance(part, Unsettled) for part in asked):
        found["unsettled"] = (True, False)
    return found


def _representatives(span: Span | None, comparisons: Sequence[Comparison]) -> Sequence[Fraction | None]:
    """Return values of a quantity, its lower bound first, one for every possible value that could matter."""
    if span is None:
        return (None,)
    if span.exact:
        return (span.low,)
    thresholds = {threshold for comparison in comparisons for threshold in comparison.thresholds}
    above = [span.low, *sorted(threshold for threshold in thresholds if threshold > span.low)]
    if all(comparison.relation in ("at_least", "below") for comparison in comparisons):
        return above  # every answer holds from one of these up to the next
    return [*above, *((one + other) / 2 for one, other in pairwise(above)), above[-1] + 1]


def _rest(choices: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return all choices but `name`; with a reading of I/O go the quantities that it makes."""
    left_out = {name, *_IO} if name == "reading" else {name}
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


def _reason(design: Design, cases: Sequence[Case], deciding: Sequence[str], known: Callable[[Gap], bool]) -> str:
    questions = [name for name in deciding if name in QUESTIONS]
    quantities = [name for name in deciding if name not in QUESTIONS]
    outcomes = dict.fromkeys(case.said.outcome for case in cases)
    either = [] if None in outcomes else [f"{' or '.join(filter(None, outcomes))}"]
    if not quantities:
        return "; ".join([*either, *(either_way(name, _differing(cases, name), known) for name in questions)])
    unpublished = unpublished_reason(design, quantities, _missing(design, deciding))
    # Where a quantity is open its ends are among the values that are tried, and that is no question of its own.
    return "; ".join([*either, unpublished, *(depends_on(name) for name in questions if name != "ends")])


def _missing(design: Design, deciding: Sequence[str]) -> tuple[str, ...]:
    spans = [entry for reading in design.io for entry in design.quantities(reading.span).items()]
    return tuple(dict.fromkeys(name for key, span in spans if key in deciding and span for name in span.missing))

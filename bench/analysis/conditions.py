"""Whether a condition is met in one world, by how much, and which comparisons decide: two-valued and exact.

A world gives every quantity one value and answers every question that the published figures leave open; what is
open is settled above this, by asking in every world (`export_rule`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from bench.published.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Flag,
    MetBy,
    NamedChip,
    Unsettled,
    is_part_of,
)
from bench.published.rules import Rule, RuleBook


class World(NamedTuple):
    """One way in which everything could be. A quantity that is None does not exist, and meets no comparison.

    `equivalent`: the chip is one of the unnamed equivalents of a rule's list; `ends`: the ends of ranges count;
    `unsettled`: what the text does not say is met.
    """

    chip_id: str | None
    quantities: Mapping[str, Fraction | None]
    flags: Mapping[str, bool]
    equivalent: bool
    ends: bool
    unsettled: bool


class Gap(NamedTuple):
    """How far a quantity's `value` is from the `threshold` that it is held against."""

    quantity: str
    value: Fraction
    threshold: Fraction

    @property
    def relative(self) -> Fraction:
        """The value over the threshold, less one: below 0 where the value is below."""
        return self.value / self.threshold - 1


class Leaf(NamedTuple):
    """A condition without others inside, and whether it is met.

    Of a condition on another rule, `outcome` is the paragraph of it that is met, and `because` what decides that.
    """

    condition: Comparison | Flag | NamedChip | MetBy | Unsettled
    met: bool
    gap: Gap | None = None
    outcome: str | None = None
    because: tuple["Leaf", ...] = ()


class Answer(NamedTuple):
    """Whether a condition is met, and the comparisons and questions that decide it, in `leaves`.

    `gap` is the margin on which the answer hangs, and `slack` how far it is from changing, relative, below 0 where
    the condition is not met; None where no change of one number would change the answer.
    """

    met: bool
    slack: Fraction | None
    gap: Gap | None
    leaves: tuple[Leaf, ...]


class Branch(NamedTuple):
    """One paragraph of a rule in one world."""

    name: str
    answer: Answer


class RuleAnswer(NamedTuple):
    """A rule in one world: `outcome` is the first of `branches` that is met, None if the rule is not met.

    `applies` is the answer to whether the rule looks at such a chip at all.
    """

    answer: Answer
    outcome: str | None
    branches: tuple[Branch, ...]
    applies: tuple[Answer, ...]


def apply(rule: Rule, world: World, book: RuleBook, day: date) -> RuleAnswer:
    """Return what `rule` says in `world`, with the paragraphs that hold on `day`.

    The margin of a rule that is met is that of the first paragraph that is met; of one that does not look at such
    a chip it is how far that is from changing; else it is that of the nearest paragraph.
    """
    branches = tuple(
        Branch(outcome.name, ask(outcome.when, world, book, day))
        for outcome in rule.outcomes
        if outcome.holds_on(day)
    )
    applies = () if rule.applies is None else (ask(rule.applies, world, book, day),)
    return _concluded(branches, applies)


def _concluded(branches: Sequence[Branch], applies: tuple[Answer, ...]) -> RuleAnswer:
    if not all(answer.met for answer in applies):
        return RuleAnswer(_all(applies), None, tuple(branches), applies)
    first = next((branch for branch in branches if branch.answer.met), None)
    paragraph = first.answer if first else _nearest([branch.answer for branch in branches])
    answer = _all([*applies, paragraph])
    return RuleAnswer(answer, first.name if first else None, tuple(branches), applies)


def ask(condition: Condition, world: World, book: RuleBook, day: date) -> Answer:
    """Return whether `condition` is met in `world`, and by how much."""
    match condition:
        case Comparison():
            return _compare(condition, world)
        case Flag() | NamedChip() | Unsettled():
            met = _holds(condition, world)
            return Answer(met, None, None, (Leaf(condition, met),))
        case AllOf(conditions=inner):
            return _all([ask(part, world, book, day) for part in inner])
        case AnyOf(conditions=inner):
            return _any([ask(part, world, book, day) for part in inner])
        case MetBy():
            return _met_by(condition, world, book, day)


def _met_by(condition: MetBy, world: World, book: RuleBook, day: date) -> Answer:
    found = apply(book.rule(condition.rule), world, book, day)
    answer = found.answer
    if condition.outcome is not None and not is_part_of(found.outcome or "", condition.outcome):
        asked = [branch for branch in found.branches if is_part_of(branch.name, condition.outcome)]
        answer = _concluded(asked, found.applies).answer
        if found.outcome is not None:  # met by another paragraph: no one number brings the asked one in its place
            answer = Answer(met=False, slack=None, gap=None, leaves=found.answer.leaves)
    leaf = Leaf(condition, answer.met, answer.gap, found.outcome, answer.leaves)
    return Answer(answer.met, answer.slack, answer.gap, (leaf,))


def _holds(question: Flag | NamedChip | Unsettled, world: World) -> bool:
    match question:
        case Flag(flag=flag, wanted=wanted):
            return world.flags[flag] == wanted
        case NamedChip(chips=chips, or_equivalent=or_equivalent):
            return world.chip_id in chips or (or_equivalent and world.equivalent)
        case Unsettled():
            return world.unsettled


def _compare(comparison: Comparison, world: World) -> Answer:
    value = world.quantities[comparison.quantity]
    if value is None:
        return Answer(met=False, slack=None, gap=None, leaves=(Leaf(comparison, met=False),))
    if comparison.most is not None:
        return _between(comparison, value, comparison.most, ends=world.ends)
    gap = Gap(comparison.quantity, value, comparison.threshold)
    upward = comparison.relation in ("at_least", "more_than")
    slack = gap.relative if upward else -gap.relative
    met = slack > 0 or (slack == 0 and comparison.relation in ("at_least", "at_most"))
    return Answer(met, slack, gap, (Leaf(comparison, met, gap),))


def _between(comparison: Comparison, value: Fraction, most: Fraction, *, ends: bool) -> Answer:
    lower, upper = (Gap(comparison.quantity, value, end) for end in (comparison.threshold, most))
    slack, gap = min((lower.relative, lower), (-upper.relative, upper))
    met = slack > 0 or (slack == 0 and ends)
    return Answer(met, slack, gap, (Leaf(comparison, met, gap),))


def _all(answers: Sequence[Answer]) -> Answer:
    """All must be met. It is as near to changing as the nearest met one, or as far as the furthest unmet one."""
    unmet = [answer for answer in answers if not answer.met]
    if not unmet:
        numeric = [answer for answer in answers if answer.slack is not None]
        return _resting_on(min(numeric, key=_slack, default=None), answers, met=True)
    fixed = [answer for answer in unmet if answer.slack is None]
    if fixed:
        return _resting_on(None, fixed, met=False)
    return _resting_on(min(unmet, key=_slack), unmet, met=False)


def _any(answers: Sequence[Answer]) -> Answer:
    """One must be met. It is as far from changing as the furthest met one, or as near as the nearest unmet one."""
    met = [answer for answer in answers if answer.met]
    if met:
        best = next((answer for answer in met if answer.slack is None), None) or max(met, key=_slack)
        return _resting_on(best, [best, *met], met=True)
    nearest = _nearest(answers)
    return _resting_on(nearest, [nearest, *answers], met=False)


def _nearest(answers: Sequence[Answer]) -> Answer:
    """Return, of answers that are all unmet, the one that is nearest to changing."""
    numeric = [answer for answer in answers if answer.slack is not None]
    fixed = [leaf for answer in answers for leaf in answer.leaves]
    return max(numeric, key=_slack, default=Answer(met=False, slack=None, gap=None, leaves=tuple(fixed)))


def _slack(answer: Answer) -> Fraction:
    return answer.slack if answer.slack is not None else Fraction(0)


def _resting_on(decisive: Answer | None, answers: Iterable[Answer], *, met: bool) -> Answer:
    """Return an answer with the margin of `decisive` (None: no number decides) and all leaves, none twice."""
    leaves = tuple(dict.fromkeys(leaf for answer in answers for leaf in answer.leaves))
    if decisive is None:
        return Answer(met, None, None, leaves)
    return Answer(met, decisive.slack, decisive.gap, leaves)

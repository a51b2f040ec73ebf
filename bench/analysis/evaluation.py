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
    """How far `value` is from the `threshold` that it is held against; `upward`: it is met above it."""

    quantity: str
    value: Fraction
    threshold: Fraction
    upward: bool = True

    @property
    def relative(self) -> Fraction:
        """The value over the threshold, less one: below 0 where the value is below."""
        return self.value / self.threshold - 1

    @property
    def slack(self) -> Fraction:
        """How far the comparison is from changing, relative: below 0 where it is not met."""
        return self.relative if self.upward else -self.relative


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

    `gap` is the margin on which the answer hangs; None where no change of one number would change the answer.
    """

    met: bool
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


def outcome_in(rule: Rule, world: World, book: RuleBook, day: date) -> str | None:
    """Return the first paragraph of `rule` that is met in `world`, None if the rule is not met; says no why."""
    if rule.applies is not None and not holds(rule.applies, world, book, day):
        return None
    return next(
        (part.name for part in rule.outcomes if part.holds_on(day) and holds(part.when, world, book, day)), None
    )


def holds(condition: Condition, world: World, book: RuleBook, day: date) -> bool:
    """Return whether `condition` is met in `world`."""
    match condition:
        case Comparison(quantity=quantity):
            return _meets(condition, world.quantities[quantity], ends=world.ends)
        case AllOf(conditions=inner):
            return all(holds(part, world, book, day) for part in inner)
        case AnyOf(conditions=inner):
            return any(holds(part, world, book, day) for part in inner)
        case MetBy(rule=rule, outcome=wanted):
            found = outcome_in(book.rule(rule), world, book, day)
            return found is not None and (wanted is None or is_part_of(found, wanted))
        case _:
            return _answered(condition, world)


def _meets(comparison: Comparison, value: Fraction | None, *, ends: bool) -> bool:
    """Return whether a value meets a comparison; one that does not exist meets none."""
    if value is None:
        return False
    match comparison.relation:
        case "at_least":
            return value >= comparison.threshold
        case "more_than":
            return value > comparison.threshold
        case "at_most":
            return value <= comparison.threshold
        case "below":
            return value < comparison.threshold
        case "between":
            inside = comparison.most is not None and comparison.threshold < value < comparison.most
            return inside or (ends and value in comparison.thresholds)


def _answered(question: Flag | NamedChip | Unsettled, world: World) -> bool:
    match question:
        case Flag(flag=flag, wanted=wanted):
            return world.flags[flag] == wanted
        case NamedChip(chips=chips, or_equivalent=or_equivalent):
            return world.chip_id in chips or (or_equivalent and world.equivalent)
        case Unsettled():
            return world.unsettled


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
            met = _answered(condition, world)
            return Answer(met, None, (Leaf(condition, met),))
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
            answer = Answer(met=False, gap=None, leaves=found.answer.leaves)
    leaf = Leaf(condition, answer.met, answer.gap, found.outcome, answer.leaves)
    return Answer(answer.met, answer.gap, (leaf,))


def _compare(comparison: Comparison, world: World) -> Answer:
    value = world.quantities[comparison.quantity]
    met = _meets(comparison, value, ends=world.ends)
    gap = None if value is None else _gap(comparison, value)
    return Answer(met, gap, (Leaf(comparison, met, gap),))


def _gap(comparison: Comparison, value: Fraction) -> Gap:
    """Return how far a value is from the threshold; of a range, from the end that is nearer or was passed."""
    upward = comparison.relation not in ("at_most", "below")
    gap = Gap(comparison.quantity, value, comparison.threshold, upward)
    if comparison.most is None:
        return gap
    return min(gap, Gap(comparison.quantity, value, comparison.most, upward=False), key=lambda end: end.slack)


def _all(answers: Sequence[Answer]) -> Answer:
    """All must be met. It is as near to changing as the nearest met one, or as far as the furthest unmet one."""
    unmet = [answer for answer in answers if not answer.met]
    if not unmet:
        return _resting_on(_least([answer for answer in answers if answer.gap is not None]), answers, met=True)
    fixed = [answer for answer in unmet if answer.gap is None]
    return _resting_on(None, fixed, met=False) if fixed else _resting_on(_least(unmet), unmet, met=False)


def _any(answers: Sequence[Answer]) -> Answer:
    """One must be met. It is as far from changing as the furthest met one, or as near as the nearest unmet one."""
    met = [answer for answer in answers if answer.met]
    if met:
        best = next((answer for answer in met if answer.gap is None), None) or _most(met)
        return _resting_on(best, [*([best] if best else []), *met], met=True)
    nearest = _nearest(answers)
    return _resting_on(nearest, [nearest, *answers], met=False)


def _nearest(answers: Sequence[Answer]) -> Answer:
    """Return, of answers that are all unmet, the one that is nearest to changing."""
    numeric = _most([answer for answer in answers if answer.gap is not None])
    leaves = tuple(leaf for answer in answers for leaf in answer.leaves)
    return numeric or Answer(met=False, gap=None, leaves=leaves)


def _least(answers: Sequence[Answer]) -> Answer | None:
    return answers[0] if len(answers) == 1 else min(answers, key=_slack, default=None)


def _most(answers: Sequence[Answer]) -> Answer | None:
    return answers[0] if len(answers) == 1 else max(answers, key=_slack, default=None)


def _slack(answer: Answer) -> Fraction:
    return answer.gap.slack if answer.gap is not None else Fraction(0)


def _resting_on(decisive: Answer | None, answers: Iterable[Answer], *, met: bool) -> Answer:
    """Return an answer with the margin of `decisive` (None: no number decides) and all leaves, none twice."""
    leaves = {id(leaf): leaf for answer in answers for leaf in answer.leaves}
    return Answer(met, None if decisive is None else decisive.gap, tuple(leaves.values()))

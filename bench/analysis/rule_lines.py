"""The lines of an export rule that looks at nothing but TPP, performance density and the market."""

from datetime import date
from fractions import Fraction
from typing import Final, NamedTuple

from bench.analysis.evaluation import World, outcome_in
from bench.published.conditions import FLAGS, QUANTITIES, AllOf, AnyOf, Comparison, Condition, Flag, walk
from bench.published.rules import Effect, Rule, RuleBook

TPP, DENSITY = "tpp", "performance_density"
_MARKET: Final = "data_centre"


class Said(NamedTuple):
    """What a rule says at one point: the paragraph's group ('3A090.a' of '3A090.a.1'), and what follows."""

    group: str
    effect: Effect
    exceptions: tuple[str, ...]


class Mapped(NamedTuple):
    """A rule that looks at nothing but TPP, performance density and the market, as it stands on `day`."""

    rule: Rule
    book: RuleBook
    day: date

    def said(self, tpp: Fraction, density: Fraction | None, *, data_centre: bool) -> Said | None:
        """Return what the rule says of a chip of these two numbers and this market; None if it is not met."""
        quantities = {**dict.fromkeys(QUANTITIES), TPP: tpp, DENSITY: density}
        flags = {**dict.fromkeys(FLAGS, False), _MARKET: data_centre}
        world = World(None, quantities, flags, equivalent=False, ends=False, unsettled=False)
        met = outcome_in(self.rule, world, self.book, self.day)
        if met is None:
            return None
        effect = next(part.effect for part in self.rule.outcomes if part.name == met and part.holds_on(self.day))
        others = [rule for rule in self.book.exceptions_to(self.rule) if rule.in_force(self.day)]
        names = [outcome_in(rule, world, self.book, self.day) for rule in others]
        return Said(group_of(met), effect, tuple(name for name in names if name is not None))

    def thresholds(self, quantity: str) -> list[Fraction]:
        """Return the values of a quantity at which the rule's paragraphs of that day change, rising."""
        parts = walk([outcome.when for outcome in self.rule.outcomes if outcome.holds_on(self.day)])
        applies = walk([self.rule.applies] if self.rule.applies else [])
        found = [part for part in (*parts, *applies) if isinstance(part, Comparison)]
        return sorted({at for part in found if part.quantity == quantity for at in part.thresholds})


def group_of(paragraph: str) -> str:
    """Return the paragraph that a numbered one is part of: '3A090.a' of '3A090.a.1'; others are their own."""
    head, _, last = paragraph.rpartition(".")
    return head if head and last.isdigit() else paragraph


def mapped_on(book: RuleBook, day: date) -> Mapped | None:
    """Return the latest rule in force on `day` that can be mapped; None if none is, or if it says nothing then."""
    found = [rule for rule in book.in_force(day) if can_be_mapped(rule)]
    says = found and any(outcome.holds_on(day) for outcome in found[-1].outcomes)
    return Mapped(found[-1], book, day) if says else None


def can_be_mapped(rule: Rule) -> bool:
    """Whether each paragraph is a rectangle in TPP and performance density, at most for one market only."""
    parts = [*walk(outcome.when for outcome in rule.outcomes)]
    applies = [*walk([rule.applies] if rule.applies else [])]
    return (
        rule.excepts is None
        and all(isinstance(part, AllOf) or _is_drawn(part) for part in parts)
        and all(isinstance(part, AllOf | AnyOf) or _is_drawn(part) or _asks_market(part) for part in applies)
    )


def _is_drawn(part: Condition) -> bool:
    return isinstance(part, Comparison) and part.quantity in (TPP, DENSITY)


def _asks_market(part: Condition) -> bool:
    return isinstance(part, Flag) and part.flag == _MARKET

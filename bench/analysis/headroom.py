"""How much performance a rule leaves to a design, all else as it is: the line that binds, and how near it is."""

from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

from bench.analysis.design import Design
from bench.analysis.evaluation import World, outcome_in
from bench.analysis.worlds import TooManyWorlds, comparisons, die_area, moved, points, worlds
from bench.published.conditions import Comparison
from bench.published.rules import Rule, RuleBook

_VARIED: Final = ("tpp", "performance_density")


class Ceiling(NamedTuple):
    """The processing performance from which on a rule is met by a design of this die area, memory and I/O.

    `tpp` None: no processing performance meets it (`always` False), or every one does (`always` True). A design
    stays outside below `tpp`, and at it too if `inclusive`. `binding` are the comparisons that make the line.
    `data_centre` is for whom it holds, None if the rule does not ask.
    """

    rule: Rule
    data_centre: bool | None
    tpp: Fraction | None
    inclusive: bool
    always: bool
    binding: tuple[Comparison, ...]

    def share(self, design: Design) -> Fraction | None:
        """Return the design's processing performance over the line; None where there is none."""
        return None if self.tpp is None else design.tpp.low / self.tpp


def ceilings(design: Design, rule: Rule, book: RuleBook, day: date) -> tuple[Ceiling, ...]:
    """Return the line of `rule`, or two if it depends on whether the design is for data centres.

    Empty where the rule does not look at processing performance, where it looks at performance density and the die
    area was not published, and where the line depends on something else that was not.
    """
    lines = [line for line in comparisons(rule, book) if line.quantity in _VARIED]
    density = any(line.quantity == "performance_density" for line in lines)
    held = any(outcome.holds_on(day) for outcome in rule.outcomes)
    if not lines or not held or (density and design.die_area is not None and not design.die_area.exact):
        return ()
    found: dict[object, set[Ceiling]] = {}
    seen = set()
    try:
        for choices, world in worlds(design, rule, book):
            others = tuple((name, value) for name, value in choices.items() if name not in _VARIED)
            if others not in seen:
                seen.add(others)
                market = choices.get("data_centre")
                line = _ceiling(rule, book, day, world, die_area(design))
                found.setdefault(market, set()).add(line._replace(data_centre=market))
    except TooManyWorlds:
        return ()
    return tuple(line for same in found.values() if len(same) == 1 for line in same)


def _ceiling(rule: Rule, book: RuleBook, day: date, world: World, area: Fraction | None) -> Ceiling:
    def met(tpp: Fraction) -> bool:
        return outcome_in(rule, moved(world, "tpp", tpp, area), book, day) is not None

    changes = points("tpp", comparisons(rule, book), world, area).changes
    none = Ceiling(rule, None, None, inclusive=False, always=False, binding=())
    if changes and met(next(iter(changes)) / 2):
        return none._replace(always=True)
    for one, other in pairwise([*changes, 2 * max(changes, default=Fraction(0))]):
        at, beyond = met(one), met((one + other) / 2)
        if at or beyond:
            binding = tuple(hit.line for hit in changes[one] if hit.line.relation not in ("at_most", "below"))
            return none._replace(tpp=one, inclusive=not at, binding=binding)
    return none

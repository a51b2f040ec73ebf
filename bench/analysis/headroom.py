"""How much performance a rule leaves to a design, all else as it is: the line that binds, and how near it is."""

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, NamedTuple

from bench.analysis.conditions import World, apply
from bench.analysis.design import Design
from bench.analysis.export_rule import asked_by, worlds
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
    lines = [part for part in asked_by(rule, book) if isinstance(part, Comparison)]
    lines = [line for line in lines if line.quantity in _VARIED]
    density = any(line.quantity == "performance_density" for line in lines)
    if not lines or (density and design.die_area is not None and not design.die_area.exact):
        return ()
    area = design.die_area.low if design.die_area is not None and design.die_area.exact else None
    found: dict[object, set[Ceiling]] = {}
    seen = set()
    for choices, world in worlds(design, rule, book):
        others = tuple((name, value) for name, value in choices.items() if name not in _VARIED)
        if others not in seen:
            seen.add(others)
            market = choices.get("data_centre")
            found.setdefault(market, set()).add(_ceiling(rule, book, day, _World(world, area, lines, market)))
    return tuple(line for same in found.values() if len(same) == 1 for line in same)


class _World(NamedTuple):
    """A world whose processing performance can be set; density follows by the die area."""

    world: World
    area: Fraction | None
    lines: Sequence[Comparison]
    market: Any

    def at(self, tpp: Fraction) -> World:
        """Return the world with this processing performance."""
        changed: Mapping[str, Fraction | None] = {
            **self.world.quantities,
            "tpp": tpp,
            "performance_density": None if self.area is None else tpp / self.area,
        }
        return self.world._replace(quantities=changed)

    def breakpoints(self) -> dict[Fraction, tuple[Comparison, ...]]:
        """Return every processing performance at which a comparison changes, in rising order."""
        found: dict[Fraction, tuple[Comparison, ...]] = {}
        for line in self.lines:
            for threshold in line.thresholds:
                tpp = threshold if line.quantity == "tpp" else threshold * (self.area or 0)
                if tpp > 0:
                    found[tpp] = tuple(dict.fromkeys((*found.get(tpp, ()), line)))
        return dict(sorted(found.items()))


def _ceiling(rule: Rule, book: RuleBook, day: date, varied: _World) -> Ceiling:
    def met(tpp: Fraction) -> bool:
        return apply(rule, varied.at(tpp), book, day).answer.met

    points = varied.breakpoints()
    first = next(iter(points))
    if met(first / 2):
        return Ceiling(rule, varied.market, None, inclusive=False, always=True, binding=())
    for one, other in pairwise([*points, 2 * max(points)]):
        at, beyond = met(one), met((one + other) / 2)
        if at or beyond:
            binding = tuple(line for line in points[one] if line.relation not in ("at_most", "below"))
            return Ceiling(rule, varied.market, one, inclusive=not at, always=False, binding=binding)
    return Ceiling(rule, varied.market, None, inclusive=False, always=False, binding=())

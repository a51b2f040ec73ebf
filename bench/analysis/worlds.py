"""Every way in which what a rule asks of a design may be, as far as the published figures leave it open."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise, product
from typing import Any, Final, NamedTuple

from bench.analysis.design import Design, Span
from bench.analysis.evaluation import World
from bench.published.conditions import Comparison, Condition, Flag, MetBy, NamedChip, Relation, Unsettled
from bench.published.rules import Rule, RuleBook

# What a world may answer either way that is no quantity.
QUESTIONS: Final = ("reading", "data_centre", "hbm", "equivalent", "ends", "unsettled")
_SUM: Final = "io_plus_memory_bandwidth"
_UP_TO: Final[tuple[Relation, ...]] = ("at_least", "below")  # change at their threshold, and hold from there on


class TooManyWorlds(Exception):
    """More figures are open than can be tried together."""


def asked_by(rule: Rule, book: RuleBook) -> list[Condition]:
    """Return every condition of a rule, and of the rules that it refers to."""
    found: list[Condition] = []
    for part in rule.conditions():
        found += book.rule(part.rule).conditions() if isinstance(part, MetBy) else []
        found.append(part)
    return found


def comparisons(rule: Rule, book: RuleBook) -> list[Comparison]:
    """Return every comparison that a rule makes, once."""
    return list(dict.fromkeys(part for part in asked_by(rule, book) if isinstance(part, Comparison)))


class Reached(NamedTuple):
    """A comparison, and the threshold of it that is reached."""

    line: Comparison
    threshold: Fraction


class Points(NamedTuple):
    """The values of one free quantity at which a comparison changes, in rising order, each with what changes."""

    changes: Mapping[Fraction, tuple[Reached, ...]]

    @property
    def simple(self) -> bool:
        """Whether every answer holds from one of these values up to the next."""
        return all(one.line.relation in _UP_TO for reached in self.changes.values() for one in reached)


def points(name: str, lines: Sequence[Comparison], world: World, area: Fraction | None) -> Points:
    """Return where a comparison changes if `name` is varied in `world`, with all that follows from it.

    Performance density follows from TPP and the die area, the sum of I/O and memory bandwidth from either.
    """
    found: dict[Fraction, tuple[Reached, ...]] = {}
    for line in lines:
        for threshold in line.thresholds:
            value = _on_axis(name, line.quantity, threshold, world, area)
            if value is not None and value > 0:
                found[value] = (*found.get(value, ()), Reached(line, threshold))
    return Points(dict(sorted(found.items())))


def _on_axis(
    name: str, quantity: str, threshold: Fraction, world: World, area: Fraction | None
) -> Fraction | None:
    """Return the value of `name` at which `quantity` reaches `threshold`; None if it does not follow."""
    if quantity == name:
        return threshold
    if (name, quantity) == ("tpp", "performance_density"):
        return None if area is None else threshold * area
    if name in ("io", "memory_bandwidth") and quantity == _SUM:
        own, total = world.quantities[name], world.quantities[_SUM]
        return None if own is None or total is None else threshold - (total - own)
    return None


def moved(world: World, name: str, value: Fraction, area: Fraction | None) -> World:
    """Return `world` with another value of `name`, and of what follows from it."""
    changed = {**world.quantities, name: value}
    if name == "tpp" and area is not None:
        changed["performance_density"] = value / area
    own, total = world.quantities[name], world.quantities[_SUM]
    if name in ("io", "memory_bandwidth") and own is not None and total is not None:
        changed[_SUM] = total - own + value
    return world._replace(quantities=changed)


def die_area(design: Design) -> Fraction | None:
    """Return the die area from which performance density follows; None if it is unknown or there is none."""
    return design.die_area.low if design.die_area is not None and design.die_area.exact else None


def worlds(
    design: Design, rule: Rule, book: RuleBook, most: int = 20_000
) -> Iterator[tuple[Mapping[str, Any], World]]:
    """Yield every world that could matter with how its open choices are made, first the one of lowest numbers.

    A quantity without an upper end is tried at its lower bound and at every value above at which a comparison
    changes, and between and beyond these where that makes a difference: no other value could change an answer.
    Raises TooManyWorlds beyond `most`.
    """
    lines = comparisons(rule, book)
    questions = _questions(design, asked_by(rule, book), lines)
    asked = {line.quantity for line in lines}
    readings = design.io if asked & {"io", _SUM} else design.io[:1]
    free = dict.fromkeys(name for one in readings for name in _free(design, design.quantities(one.span), asked))
    for reading in readings:
        lowest = _lowest(design, reading.span)
        spans = design.quantities(reading.span)
        tried = {name: _values(name, spans[name], lines, lowest, design) for name in free}
        if _product(len(values) for values in (*questions.values(), *tried.values())) > most:
            raise TooManyWorlds
        for answers in product(*questions.values(), *tried.values()):
            choices = dict(zip([*questions, *tried], answers, strict=True))
            yield {"reading": reading.label, **choices}, _world(design, lowest, choices)


def _product(numbers: Iterator[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def _free(design: Design, spans: Mapping[str, Span | None], asked: set[str]) -> list[str]:
    """Return the quantities that are open, asked about, and follow from no other."""
    is_open = [name for name, span in spans.items() if span is not None and not span.exact]
    wanted = set(asked)
    if "performance_density" in asked and die_area(design) is not None:
        wanted = wanted - {"performance_density"} | {"tpp"}
    if _SUM in asked:
        wanted |= {"io", "memory_bandwidth"}
        if not {"io", "memory_bandwidth"} <= {*is_open}:
            wanted -= {_SUM}
    return [name for name in is_open if name in wanted]


def _values(
    name: str, span: Span | None, lines: Sequence[Comparison], lowest: World, design: Design
) -> Sequence[Fraction]:
    """Return values of a quantity, its lower bound first, one for every possible value that could matter."""
    low = Fraction(0) if span is None else span.low
    if span is None or span.exact:
        return [low]
    found = points(name, lines, lowest, die_area(design))
    above = [low, *(value for value in found.changes if value > low)]
    if found.simple:
        return above
    return [*above, *((one + other) / 2 for one, other in pairwise(above)), above[-1] + 1]


def _lowest(design: Design, io: Span) -> World:
    """Return the world of lowest numbers, with every question answered no."""
    spans = design.quantities(io)
    quantities = {name: None if span is None else span.low for name, span in spans.items()}
    flags = {"data_centre": False, "hbm": False, "memory_stack": False}
    return World(design.id, quantities, flags, equivalent=False, ends=False, unsettled=False)


def _world(design: Design, lowest: World, choices: Mapping[str, Any]) -> World:
    world = lowest._replace(
        flags={**lowest.flags, **{name: bool(choices.get(name)) for name in ("data_centre", "hbm")}},
        equivalent=bool(choices.get("equivalent")),
        ends=bool(choices.get("ends")),
        unsettled=bool(choices.get("unsettled")),
    )
    quantities = {name: value for name, value in choices.items() if name not in QUESTIONS}
    for name, value in quantities.items():
        world = moved(world, name, value, die_area(design))
    # The sum is free where both of its parts are open: then it is one of the choices.
    return world._replace(quantities={**world.quantities, **quantities})


def _questions(
    design: Design, asked: Sequence[Condition], lines: Sequence[Comparison]
) -> dict[str, Sequence[bool]]:
    flags = {part.flag for part in asked if isinstance(part, Flag)}
    found: dict[str, Sequence[bool]] = {}
    if "data_centre" in flags:
        found["data_centre"] = design.data_centre
    if "hbm" in flags:
        found["hbm"] = (True, False) if design.hbm is None else (design.hbm,)
    lists = [part for part in asked if isinstance(part, NamedChip)]
    if any(part.or_equivalent and design.id not in part.chips for part in lists):
        found["equivalent"] = (False, True)
    if any(line.most is not None for line in lines):
        found["ends"] = (True, False)
    if any(isinstance(part, Unsettled) for part in asked):
        found["unsettled"] = (True, False)
    return found

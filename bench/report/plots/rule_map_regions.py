"""What an export rule makes of TPP and performance density alone: which paragraph is met where, as data."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.analysis.evaluation import World, outcome_in
from bench.errors import InvalidRequest
from bench.published.conditions import FLAGS, QUANTITIES, AllOf, AnyOf, Comparison, Condition, Flag, walk
from bench.published.rules import Effect, Rule, RuleBook
from bench.report.verdict_texts import in_force_text

TPP, DENSITY = "tpp", "performance_density"
_MARKET: Final = "data_centre"
# What follows from a paragraph, where the word for its effect alone would not say it.
_EFFECTS: Final = MappingProxyType[Effect, str]({"licence": "licence needed", "none": "nothing follows"})

Segment = tuple[tuple[float, float], tuple[float, float]]


class Said(NamedTuple):
    """What a rule says at one point: the paragraph's group ('3A090.a' of '3A090.a.1'), and what follows."""

    group: str
    effect: Effect
    exceptions: tuple[str, ...]


class Cell(NamedTuple):
    """A rectangle of the map, from `left` to `right` in TPP, from `bottom` to `top` in performance density."""

    left: float
    right: float
    bottom: float
    top: float


class Region(NamedTuple):
    """Where one group of paragraphs is met; `edges` is its outline, but for the ends of the map."""

    name: str
    text: str
    cells: Sequence[Cell]
    edges: Sequence[Segment]


class Grid(NamedTuple):
    """The map cut at every threshold: in each of its cells the rule says the same throughout."""

    xs: Sequence[float]
    ys: Sequence[float]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Every cell as its column and row."""
        return [(column, row) for column in range(len(self.xs) - 1) for row in range(len(self.ys) - 1)]

    def cell(self, place: tuple[int, int]) -> Cell:
        """Return one cell."""
        column, row = place
        return Cell(self.xs[column], self.xs[column + 1], self.ys[row], self.ys[row + 1])

    def outline(self, members: Collection[tuple[int, int]]) -> list[Segment]:
        """Return the edges between cells that are members and cells that are not."""
        found: list[Segment] = []
        for column, row in self.places:
            cell = self.cell((column, row))
            here = (column, row) in members
            if column + 2 < len(self.xs) and here != ((column + 1, row) in members):
                found.append(((cell.right, cell.bottom), (cell.right, cell.top)))
            if row + 2 < len(self.ys) and here != ((column, row + 1) in members):
                found.append(((cell.left, cell.top), (cell.right, cell.top)))
        return found


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

    def everywhere(self, grid: Grid, *, data_centre: bool) -> dict[tuple[int, int], Said]:
        """Return what the rule says in every cell in which it is met."""
        found = {}
        for place in grid.places:
            left, right, bottom, top = map(Fraction, grid.cell(place))
            said = self.said((left + right) / 2, (bottom + top) / 2, data_centre=data_centre)
            if said is not None:
                found[place] = said
        return found


def group_of(paragraph: str) -> str:
    """Return the paragraph that a numbered one is part of: '3A090.a' of '3A090.a.1'; others are their own."""
    head, _, last = paragraph.rpartition(".")
    return head if head and last.isdigit() else paragraph


def mapped_rule(book: RuleBook, day: date) -> Mapped:
    """Return the latest rule in force on `day` that can be drawn.

    Raises InvalidRequest for a day on which none is, that nobody followed, or that is before the first rule.
    """
    if day > book.known_until:
        message = (
            f"the rules are known until {book.known_until}; what they say on {day} is unknown: give an earlier day"
        )
        raise InvalidRequest(message)
    found = [rule for rule in book.in_force(day) if _can_be_drawn(rule)]
    if found and any(outcome.holds_on(day) for outcome in found[-1].outcomes):
        return Mapped(found[-1], book, day)
    others = [
        f"{rule.id} ({in_force_text(rule)})" for rule in book.rules if rule.effective and _can_be_drawn(rule)
    ]
    message = f"{day}: no rule in force then draws its lines in TPP and performance density alone"
    message += f"; there is a map of {', '.join(others)}" if others else ", nor does any other here"
    raise InvalidRequest(message)


def _can_be_drawn(rule: Rule) -> bool:
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


def regions(mapped: Mapped, grid: Grid) -> list[Region]:
    """Return the regions of chips that are designed for data centres, in the order of the rule's paragraphs."""
    found = mapped.everywhere(grid, data_centre=True)
    order = dict.fromkeys(group_of(outcome.name) for outcome in mapped.rule.outcomes)
    groups = {name: [place for place, said in found.items() if said.group == name] for name in order}
    return [
        Region(name, _text(name, [found[p] for p in some]), [grid.cell(p) for p in some], grid.outline(some))
        for name, some in groups.items()
        if some
    ]


def _text(name: str, said: Sequence[Said]) -> str:
    effects = " or ".join(dict.fromkeys(_EFFECTS.get(one.effect, one.effect) for one in said))
    return f"{name}: {', '.join([effects, *exceptions_text(said)])}"


def exceptions_text(said: Iterable[Said]) -> list[str]:
    """Return one text that names the exceptions that may be open, none if none may."""
    names = dict.fromkeys(name for one in said for name in one.exceptions)
    return [f"exception {' or '.join(names)} may be open"] if names else []

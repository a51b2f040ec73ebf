"""Where an export rule's paragraphs are met on the map of TPP and performance density: its regions, as data."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.analysis.rule_lines import Mapped, Said, can_be_mapped, group_of, mapped_on
from bench.errors import InvalidRequest
from bench.published.rules import Effect, RuleBook
from bench.report.verdict_texts import in_force_text

# What follows from a paragraph, where the word for its effect alone would not say it.
_EFFECTS: Final = MappingProxyType[Effect, str]({"licence": "licence needed", "none": "nothing follows"})

Segment = tuple[tuple[float, float], tuple[float, float]]


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


def mapped_rule(book: RuleBook, day: date) -> Mapped:
    """Return the latest rule in force on `day` that can be drawn.

    Raises InvalidRequest for a day on which none is, that nobody followed, or that is before the first rule.
    """
    if day > book.known_until:
        message = (
            f"the rules are known until {book.known_until}; what they say on {day} is unknown: give an earlier day"
        )
        raise InvalidRequest(message)
    found = mapped_on(book, day)
    if found is not None:
        return found
    others = [
        f"{rule.id} ({in_force_text(rule)})" for rule in book.rules if rule.effective and can_be_mapped(rule)
    ]
    message = f"{day}: no rule in force then draws its lines in TPP and performance density alone"
    message += f"; there is a map of {', '.join(others)}" if others else ", nor does any other here"
    raise InvalidRequest(message)


def everywhere(mapped: Mapped, grid: Grid, *, data_centre: bool) -> dict[tuple[int, int], Said]:
    """Return what the rule says in every cell in which it is met."""
    found = {}
    for place in grid.places:
        left, right, bottom, top = map(Fraction, grid.cell(place))
        said = mapped.said((left + right) / 2, (bottom + top) / 2, data_centre=data_centre)
        if said is not None:
            found[place] = said
    return found


def regions(mapped: Mapped, grid: Grid) -> list[Region]:
    """Return the regions of chips that are designed for data centres, in the order of the rule's paragraphs."""
    found = everywhere(mapped, grid, data_centre=True)
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

"""What the map of an export rule shows, as plain data: its regions, and every chip where its numbers put it."""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from bench.analysis.explain import Story
from bench.analysis.rule_lines import DENSITY, TPP, Mapped
from bench.published.rules import RuleBook
from bench.report.plots.axis import Axis
from bench.report.plots.layout import listed
from bench.report.plots.rule_map_labels import Diagonal, Label, Plan, labels_of
from bench.report.plots.rule_map_places import (
    Entry,
    Located,
    Market,
    Place,
    entries_of,
    located,
    names_by_label,
    places_of,
)
from bench.report.plots.rule_map_regions import (
    Grid,
    Region,
    Segment,
    everywhere,
    exceptions_text,
    mapped_rule,
    regions,
)
from bench.report.plots.rule_map_texts import alt_of, notes_of, title_of
from bench.units import number

WIDTH: Final = 6.5  # inches, of the axes
ROW: Final = 0.155  # likewise, of a chip in the list
_HEIGHTS: Final = (5.6, 8.0)  # of the axes, at least and at most
_BELOW, _ABOVE = 1.4, 1.5  # around all that is drawn, as factors
_APART: Final = 0.055  # of an axis' length, which the numbers at it are apart at least
_ALIKE: Final = 1.03  # die areas that differ by less lie within about the width of one line
_ROUND: Final = (1, 2, 5)  # times powers of ten: the numbers at an axis beside the thresholds

Mark = Literal[Market, "bound", "shift", "diagonal"]


class Tick(NamedTuple):
    """A number at an axis; a threshold of the rule stands out."""

    value: float
    text: str
    threshold: bool


class Key(NamedTuple):
    """What one kind of line or marker means."""

    mark: Mark
    text: str


class Scale(NamedTuple):
    """One axis of the map with its numbers, and the values at which the rule cuts it."""

    axis: Axis
    ticks: Sequence[Tick]
    cuts: Sequence[float]


class RuleMapPicture(NamedTuple):
    """All that is drawn; `height` is that of the axes in inches.

    `shift` are the lines at which the rule begins for chips that are not designed for data centres, where it does
    not treat them alike.
    """

    title: str
    alt: str
    notes: Sequence[str]
    x: Scale
    y: Scale
    height: float
    regions: Sequence[Region]
    shift: Sequence[Segment]
    diagonals: Sequence[Diagonal]
    places: Sequence[Place]
    labels: Sequence[Label]
    entries: Sequence[Entry]
    key: Sequence[Key]


def picture_of(
    stories: Sequence[Story], book: RuleBook, day: date, highlighted: Collection[str]
) -> RuleMapPicture:
    """Return the map of the rule in force on `day` that looks at TPP and performance density alone.

    `stories` are those of all chips, by the rules of that day; `highlighted` the ids of those that stand out, of
    which the title is about the first. Raises InvalidRequest if there is no such rule.
    """
    mapped = mapped_rule(book, day)
    chips = located(stories, highlighted)
    x = _scale("TPP (total processing performance)", mapped.thresholds(TPP), [chip.at[0] for chip in chips])
    y = _scale("performance density: TPP per mm2", mapped.thresholds(DENSITY), [chip.at[1] for chip in chips])
    places = places_of(chips, mapped)
    entries = entries_of(places, stories, highlighted, mapped.rule)
    height = min(max(_HEIGHTS[0], ROW * (len(entries) + 1)), _HEIGHTS[1])
    grid = Grid(x.cuts, y.cuts)
    shown, diagonals = regions(mapped, grid), _diagonals(chips, x.axis, y.axis)
    told = next((story for name in highlighted for story in stories if story.design.id == name), None)
    title = title_of(mapped, told, names_by_label(stories)[told.design.label] if told else "", stories)
    shift = _shift(mapped, grid)
    return RuleMapPicture(
        title=title,
        alt=alt_of(title, mapped, stories, places, shown),
        notes=[*notes_of(mapped, stories)],
        x=x,
        y=y,
        height=height,
        regions=shown,
        shift=shift,
        diagonals=diagonals,
        places=places,
        labels=labels_of(places, shown, diagonals, Plan((x.axis, y.axis), (WIDTH, height))),
        entries=entries,
        key=[*_key(places, diagonals, _others_text(mapped, grid) if shift else "")],
    )


def _scale(title: str, thresholds: Sequence[Fraction], values: Sequence[float]) -> Scale:
    lines = [float(line) for line in thresholds]
    ends = [*lines, *values] or [1.0]
    axis = Axis(min(ends) / _BELOW, max(ends) * _ABOVE, title)
    return Scale(axis, _ticks(axis, thresholds), [axis.low, *lines, axis.high])


def _ticks(axis: Axis, thresholds: Sequence[Fraction]) -> list[Tick]:
    """Return the numbers at an axis: the thresholds, and round ones where these leave room."""
    powers = [*range(-3, 9)]
    rounds = [Fraction(10) ** power * digit for power in powers for digit in _ROUND]
    found: list[Tick] = []
    for value, threshold in [*((line, True) for line in thresholds), *((line, False) for line in rounds)]:
        at = axis.share(float(value))
        if 0 <= at <= 1 and all(abs(at - axis.share(other.value)) >= _APART for other in found):
            found.append(Tick(float(value), number(value), threshold))
    return sorted(found)


def _diagonals(chips: Sequence[Located], x: Axis, y: Axis) -> list[Diagonal]:
    """Return the lines of the highlighted chips' die areas from end to end; areas that are alike share one."""
    groups: list[list[Fraction]] = []
    for area in sorted({chip.area for chip in chips if chip.highlighted and chip.area}):
        if groups and area / groups[-1][0] < _ALIKE:
            groups[-1].append(area)
        else:
            groups.append([area])
    return [_diagonal(some, x, y) for some in groups]


def _diagonal(areas: Sequence[Fraction], x: Axis, y: Axis) -> Diagonal:
    area = float(areas[0])
    left, right = max(x.low, y.low * area), min(x.high, y.high * area)
    sizes = listed([number(one) for one in areas])
    text = f"a die of {sizes} mm2" if len(areas) == 1 else f"dies of {sizes} mm2"
    return Diagonal(text, (left, left / area), (right, right / area))


def _shift(mapped: Mapped, grid: Grid) -> list[Segment]:
    """Return where the rule begins for chips that are not designed for data centres, if not where for others."""
    markets = [{*everywhere(mapped, grid, data_centre=market)} for market in (True, False)]
    return [] if markets[0] == markets[1] else grid.outline(markets[1])


def _others_text(mapped: Mapped, grid: Grid) -> str:
    said = everywhere(mapped, grid, data_centre=False).values()
    exceptions = "".join(f" ({text})" for text in exceptions_text(said))
    return f"here the rule begins for what is not designed for data centres{exceptions}"


_MARKETS: Final[dict[Market, str]] = {
    "data centre": "designed for data centres",
    "other": "not designed for them",
    "open": "for them or not: no maker's page decides",
}


def _key(places: Sequence[Place], diagonals: Sequence[Diagonal], others: str) -> Iterator[Key]:
    markets = {market for place in places for market in place.markets}
    yield from (Key(market, text) for market, text in _MARKETS.items() if market in markets)
    if any(place.bound for place in places):
        yield Key("bound", "at least so much")
    if diagonals:
        yield Key("diagonal", "where a die of one size moves")
    if others:
        yield Key("shift", others)

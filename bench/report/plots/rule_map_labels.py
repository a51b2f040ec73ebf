"""Where the words inside the map of an export rule stand: over no marker, no other words, and inside the axes."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import product
from textwrap import wrap
from typing import Final, Literal, NamedTuple

from bench.analysis.design import Span
from bench.report.plots.axis import Axis
from bench.report.plots.layout import Box, Space, beside, dots, nearest
from bench.report.plots.rule_map_places import Place
from bench.report.plots.rule_map_regions import Cell, Region, Segment
from bench.units import number

Align = Literal["left", "center", "right"]
_RADIUS: Final = 0.075  # inches, of a marker with what it keeps clear
_WIDER: Final = 0.14  # likewise of one with what the labels of others keep clear, if they can
_ARROW: Final = 0.24  # likewise the side of the square in which an arrow lies
_LETTER, _BOLD, _LINE = 0.07, 0.076, 0.15  # inches: a letter's width, a bold one's, a line's height
_NEAR, _ALL = (0.1, 0.22, 0.34), (0.1, 0.22, 0.34, 0.46, 0.6, 0.7)  # inches from a marker's middle to its label
_STEP: Final = 0.2  # inches, in which a place for a region's name is looked for
_CLEAR: Final = 0.2  # inches that it then keeps from all else, if it can
_WIDTHS: Final = (60, 24, 16, 14, 12)  # characters in which it is wrapped
_MEMORY: Final = re.compile(r" \d+GB\b")
_NEIGHBOURS: Final = 0.6  # inches within which markers crowd each other
_UNLED: Final = 0.16  # inches from a marker within which its label needs no line to it
# Inches that a bold label and another one keep clear to both sides, so that nothing reads as a part of them.
_EM, _HALF = 0.12, 0.06
_BESIDE_EDGE: Final = 0.05  # inches from a region's edge within which a label's ground would wipe it out


class Diagonal(NamedTuple):
    """Where a die of some area lies, whatever its rate; the ends are in TPP and TPP per mm2."""

    text: str
    start: tuple[float, float]
    end: tuple[float, float]


class Label(NamedTuple):
    """Words at a point in shares of the axes, their edge of `align` there.

    `lead` leads to them from the marker that they belong to; None where they stand beside it.
    """

    text: str
    x: float
    y: float
    align: Align
    bold: bool = False
    lead: Segment | None = None


class Plan:
    """Axes of a size in inches, and what is taken of them so far."""

    def __init__(self, axes: tuple[Axis, Axis], size: tuple[float, float]) -> None:
        self._axes = axes
        self._size = size
        self.room = Box(0.03, 0.03, size[0] - 0.03, size[1] - 0.03)
        self.taken: list[Box] = []

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return where a point of TPP and density lies, in inches from the lower left corner."""
        x, y = (axis.share(value) * inch for axis, value, inch in zip(self._axes, point, self._size, strict=True))
        return x, y

    def box(self, cell: Cell) -> Box:
        """Return a cell of the map in inches."""
        return Box(*self.at((cell.left, cell.bottom)), *self.at((cell.right, cell.top)))

    def beside(
        self,
        at: tuple[float, float],
        size: tuple[float, float],
        distances: Sequence[float],
        *,
        avoided: Collection[Box],
        unled: float = _UNLED,
    ) -> Box | None:
        """Return a free place beside a point, at the first of these distances that has one."""
        return beside(at, size, distances, Space(self.room, self.taken, avoided, unled))

    def label(self, text: str, box: Box, *, at: tuple[float, float], bold: bool) -> Label:
        """Take a box for a text; return it with its edge that is nearest to `at`, and with a lead if it is far."""
        align: Align = "left" if at[0] <= box.left else "right" if at[0] >= box.right else "center"
        x = {"left": box.left, "right": box.right, "center": (box.left + box.right) / 2}[align]
        near = nearest(at, box)
        aside = _EM if bold else _HALF
        self.taken.append(Box(box.left - aside, box.bottom, box.right + aside, box.top))
        lead = None
        if math.dist(at, near) > _UNLED:
            self.taken += dots(at, near)
            lead = (self._share(at), self._share(near))
        return Label(text, *self._share((x, (box.bottom + box.top) / 2)), align, bold, lead)

    def _share(self, at: tuple[float, float]) -> tuple[float, float]:
        return at[0] / self._size[0], at[1] / self._size[1]


def labels_of(
    places: Sequence[Place],
    regions: Sequence[Region],
    diagonals: Sequence[Diagonal],
    plan: Plan,
) -> list[Label]:
    """Return the labels of markers, regions and diagonals in the axes of a plan of which nothing is taken.

    The regions come first, then the highlighted chips, then the others, as far as there is room: by name, else by
    the number that they have in the list.
    """
    plan.taken += [box for place in places for box in _marker(plan, place, _RADIUS)]
    lines = [box for diagonal in diagonals for box in dots(plan.at(diagonal.start), plan.at(diagonal.end))]
    edges = [edge for region in regions for edge in region.edges]
    ends = [_around(plan, end, end) for edge in edges for end in edge]
    clear = {
        place.number: _Clear(
            [*lines, *(box for other in places if other is not place for box in _marker(plan, other, _WIDER))],
            [_around(plan, *edge) for edge in edges],
            ends,
        )
        for place in places
    }
    first = [place for place in places if place.highlighted]
    found = [label for region in regions for label in _region(plan, region, lines)]
    found += [label for place in first for label in _highlight(plan, place, clear[place.number])]
    found += [label for diagonal in diagonals for label in _diagonal(plan, diagonal, lines)]
    others = sorted(
        (place for place in places if place not in first), key=lambda place: -_crowd(plan, place, places)
    )
    found += [label for place in others for label in _other(plan, place, clear[place.number])]
    return found


class _Clear(NamedTuple):
    """What a label covers only if it must: others' markers and diagonals, regions' edges and the ends of those."""

    marks: Sequence[Box]
    edges: Sequence[Box]
    ends: Sequence[Box]

    def tries(self, *, bold: bool, last: bool) -> Iterator[tuple[Sequence[Box], float, Sequence[float]]]:
        """Yield the conditions under which a place is looked for, the strictest first.

        Each is what the label does not cover, how far from the marker its line may still cross something, and the
        distances to try. Only a bold label goes far away to cover no edge. A bold label, and the `last` text that
        there is for a marker, may in the end have a line that crosses something: that is better than no label.
        """
        yield [*self.marks, *self.edges], _UNLED, _ALL if bold else _NEAR
        yield [*self.marks, *self.ends], _UNLED, _ALL
        yield self.ends, _UNLED, _ALL
        yield (), _UNLED, _ALL
        if bold or last:
            yield (), math.inf, _ALL


def _around(plan: Plan, start: tuple[float, float], end: tuple[float, float]) -> Box:
    """Return the box around an edge, which runs up or across, or around one of its ends."""
    (left, bottom), (right, top) = plan.at(start), plan.at(end)
    return Box(left - _BESIDE_EDGE, bottom - _BESIDE_EDGE, right + _BESIDE_EDGE, top + _BESIDE_EDGE)


def _crowd(plan: Plan, place: Place, places: Sequence[Place]) -> int:
    """Return how many markers are near one: who has many neighbours is labelled first."""
    return sum(math.dist(plan.at(place.at), plan.at(other.at)) < _NEIGHBOURS for other in places)


def _marker(plan: Plan, place: Place, radius: float) -> Iterator[Box]:
    x, y = plan.at(place.at)
    yield Box(x - radius, y - radius, x + radius, y + radius)
    if place.bound:
        yield Box(x, y, x + _ARROW, y + _ARROW)


def _size(text: str, *, bold: bool = False) -> tuple[float, float]:
    lines = text.split("\n")
    return (_BOLD if bold else _LETTER) * max(map(len, lines)), _LINE * len(lines)


def _highlight(plan: Plan, place: Place, clear: _Clear) -> Iterator[Label]:
    parts = [
        (f"{chip.name}:", f"TPP {_value(chip.tpp)},", f"density {_value(chip.density)}")
        for chip in place.highlighted
    ]
    wide = "\n".join(" ".join(part) for part in parts)
    broken = "\n".join(f"{name}\n{tpp} {density}" for name, tpp, density in parts)
    narrow = "\n".join(line for part in parts for line in part)
    names = "\n".join(chip.name for chip in place.highlighted)
    yield from _beside(plan, place, [(wide, broken, narrow), (names, place.highlighted[0].name)], clear, bold=True)


def _value(span: Span) -> str:
    return f"{'' if span.exact else 'at least '}{number(span.low)}"


def _other(plan: Plan, place: Place, clear: _Clear) -> Iterator[Label]:
    names = [*dict.fromkeys(_MEMORY.sub("", chip.name) for chip in place.chips)]
    texts = [", ".join(names[:most]) + (f" +{len(names) - most}" if len(names) > most else "") for most in (2, 1)]
    numbered = [f"{place.number} {text}" for text in dict.fromkeys(texts)]
    yield from _beside(plan, place, [numbered, [str(place.number)]], clear, bold=False)


def _beside(
    plan: Plan, place: Place, texts: Sequence[Sequence[str]], clear: _Clear, *, bold: bool
) -> Iterator[Label]:
    """Yield the label of a marker, or nothing if there is no room for one.

    `texts` are groups: all places are tried for those of one group, the nearest first, before the next group.
    """
    at = plan.at(place.at)
    for some in texts:
        for avoided, unled, distances in clear.tries(bold=bold, last=some is texts[-1]):
            for distance, text in product(distances, some):
                box = plan.beside(at, _size(text, bold=bold), (distance,), avoided=avoided, unled=unled)
                if box:
                    yield plan.label(text, box, at=at, bold=bold)
                    return


def _region(plan: Plan, region: Region, lines: Collection[Box]) -> Iterator[Label]:
    cells = [plan.box(cell) for cell in region.cells]
    for avoided, width in product((lines, ()), _WIDTHS):
        text = "\n".join(wrap(region.text, width, break_long_words=False))
        box = _inside(_size(text, bold=True), cells, [*plan.taken, *avoided])
        if box:
            middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
            yield plan.label(text, box, at=middle, bold=True)
            return


def _inside(size: tuple[float, float], cells: Sequence[Box], taken: Collection[Box]) -> Box | None:
    """Return a place inside some cells for a text: the upper left one that is clear of all, or the clearest."""
    best: tuple[float, Box] | None = None
    for box in _tried(size, cells):
        clearance = min([_CLEAR, *(_apart(box, other) for other in taken)])
        if clearance > 0 and (best is None or clearance > best[0]):
            best = (clearance, box)
            if clearance == _CLEAR:
                break
    return best[1] if best else None


def _tried(size: tuple[float, float], cells: Sequence[Box]) -> Iterator[Box]:
    """Yield boxes of a size that lie wholly in some cells, which overlap nowhere, row by row from above."""
    ends = Box(*(min(values) for values in zip(*(cell[:2] for cell in cells), strict=True)),
               *(max(values) for values in zip(*(cell[2:] for cell in cells), strict=True)))  # fmt: skip
    down = ends.top - _STEP / 2
    while down - size[1] > ends.bottom:
        left = ends.left + _STEP / 2
        while left + size[0] < ends.right:
            box = Box(left, down - size[1], left + size[0], down)
            if sum(_common(box, cell) for cell in cells) > 0.999 * size[0] * size[1]:
                yield box
            left += _STEP
        down -= _STEP


def _common(one: Box, other: Box) -> float:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.top, other.top) - max(one.bottom, other.bottom)
    return max(0.0, width) * max(0.0, height)


def _apart(one: Box, other: Box) -> float:
    """Return how far apart two boxes are, up or across, whichever is more; below 0 if they overlap."""
    across = max(one.left - other.right, other.left - one.right)
    return max(across, one.bottom - other.top, other.bottom - one.top)


def _diagonal(plan: Plan, diagonal: Diagonal, lines: Collection[Box]) -> Iterator[Label]:
    """Yield the label of a diagonal, as near to its upper end as there is room."""
    for dot in dots(plan.at(diagonal.start), plan.at(diagonal.end))[::-1]:
        at = ((dot.left + dot.right) / 2, (dot.bottom + dot.top) / 2)
        box = plan.beside(at, _size(diagonal.text), (0.1, 0.16), avoided=lines)
        if box:
            yield plan.label(diagonal.text, box, at=at, bold=False)
            return

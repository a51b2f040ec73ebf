"""Where the words of a picture go: labels apart from each other, long names shortened. It draws nothing."""

import math
from collections.abc import Collection, Sequence
from statistics import fmean
from typing import Final, NamedTuple

MOST_TITLE: Final = 170  # characters of a title that fit two lines
# Of labels in two lines right of the axes, in inches: the height of one, and the least of axes beside which they
# are; how far from the axes the swatch is, its length, and how far from it the words are.
LABEL_ROW, LEAST_HEIGHT = 0.38, 4.6
_LABEL_AT, _SWATCH, _WORDS = 0.28, 0.36, 0.08
_CUT: Final = "…"
_DOT, _THICK = 0.08, 0.03  # inches from one box along a line to the next, and half of a box's side
_SLANT: Final = 0.7  # of a distance, what a step aslant takes each way
# Where a text may stand beside a point, as steps right and up, in the order of trying.
_SIDES: Final = ((1, 0), (_SLANT, _SLANT), (_SLANT, -_SLANT), (-1, 0), (-_SLANT, _SLANT), (-_SLANT, -_SLANT),
                 (0, 1), (0, -1))  # fmt: skip


class Box(NamedTuple):
    """A rectangle by its four ends."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Whether both have more than an edge in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: "Box") -> bool:
        """Whether the other lies wholly in this one."""
        return (
            self.left <= other.left
            and self.bottom <= other.bottom
            and other.right <= self.right
            and other.top <= self.top
        )


class Space(NamedTuple):
    """The room in which words may stand, what is taken of it, and what they had better not cover.

    A word that is further than `unled` from its point has a line to it, which beyond that distance crosses nothing
    that is taken.
    """

    room: Box
    taken: Collection[Box]
    avoided: Collection[Box] = ()
    unled: float = math.inf


def beside(
    at: tuple[float, float], size: tuple[float, float], distances: Sequence[float], space: Space
) -> Box | None:
    """Return a free place for words of this width and height beside a point.

    It is at the first of the distances at which one of the point's sides is free; None if none is.
    """
    for distance in distances:
        for right, up in _SIDES:
            box = _around(at[0] + distance * right, at[1] + distance * up, size, (right, up))
            if _is_free(box, at, space):
                return box
    return None


def _is_free(box: Box, at: tuple[float, float], space: Space) -> bool:
    if not space.room.holds(box) or any(box.overlaps(other) for other in (*space.taken, *space.avoided)):
        return False
    return not any(dot.overlaps(other) for dot in _lead(at, box, space.unled) for other in space.taken)


def _lead(at: tuple[float, float], box: Box, unled: float) -> list[Box]:
    """Return the boxes along the line from a point to a box, beyond a distance from the point."""
    end = nearest(at, box)
    length = math.dist(at, end)
    if length <= unled:
        return []
    x, y = (low + (high - low) * unled / length for low, high in zip(at, end, strict=True))
    return dots((x, y), end)


def nearest(at: tuple[float, float], box: Box) -> tuple[float, float]:
    """Return the point of a box that is nearest to a point."""
    return min(max(at[0], box.left), box.right), min(max(at[1], box.bottom), box.top)


def dots(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Return small boxes along a line, by which it is kept clear."""
    parts = max(1, math.ceil(math.dist(start, end) / _DOT))
    shares = [step / parts for step in range(parts + 1)]
    points = [[low + (high - low) * share for low, high in zip(start, end, strict=True)] for share in shares]
    return [Box(x - _THICK, y - _THICK, x + _THICK, y + _THICK) for x, y in points]


def _around(x: float, y: float, size: tuple[float, float], side: tuple[float, float]) -> Box:
    """Return the box whose near edge, or corner, is at a point: on its right side for a step to the right."""
    left, bottom = (
        start - (1 - (step > 0) + (step < 0)) / 2 * extent
        for start, step, extent in zip((x, y), side, size, strict=True)
    )
    return Box(left, bottom, left + size[0], bottom + size[1])


def spread(wanted: Sequence[float], gap: float, lowest: float, highest: float) -> list[float]:
    """Return places at least `gap` apart between `lowest` and `highest`, each as near as can be to the wanted one.

    They keep the order of `wanted`, which may hold equal ones: of those the first comes lowest. Between the ends
    there must be room for all.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    groups: list[list[float]] = []

    def start(group: Sequence[float]) -> float:
        """Return where the lowest of some neighbours lies, which stand as near as they may."""
        height = gap * (len(group) - 1)
        return max(lowest, min(fmean(group) - height / 2, highest - height))

    for index in order:
        groups.append([wanted[index]])
        while len(groups) > 1 and start(groups[-2]) + gap * len(groups[-2]) > start(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    places = [start(group) + gap * rank for group in groups for rank in range(len(group))]
    return [place for _, place in sorted(zip(order, places, strict=True))]


def label_places(width: float) -> tuple[float, float, float]:
    """Return where a label right of the axes has its swatch's ends and where its words begin.

    That is in shares of the axes, which are `width` inches wide.
    """
    start, end = _LABEL_AT, _LABEL_AT + _SWATCH
    return 1 + start / width, 1 + end / width, 1 + (end + _WORDS) / width


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters: of a longer one the beginning and the end."""
    if len(text) <= most:
        return text
    kept = most - len(_CUT)
    return f"{text[: kept - kept // 2]}{_CUT}{text[len(text) - kept // 2 :]}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a sentence lists them: 'a', 'a and b', 'a, b and c'; nothing for no words."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)

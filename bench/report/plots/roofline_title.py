"""The title of a picture of rooflines: what it shows, composed from the data, not what it is of."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.analysis.compare import Side
from bench.analysis.roofline import Point, Roof
from bench.report.plots.layout import MOST_TITLE, listed, shortened
from bench.report.plots.names import LONG, SHORT, bound, device_of, format_text, ridge_text, without_maker
from bench.report.view import percent
from bench.units import Dtype


class OfSide(NamedTuple):
    """A roof of the side of a number."""

    side: int
    published: bool
    roof: Roof


class _Ridge(NamedTuple):
    """The ridge of a device, as the title has it."""

    value: float
    name: str
    measured: bool

    @property
    def text(self) -> str:
        return f"{ridge_text(self.value)}{' (measured)' if self.measured else ''}"

    def who(self, most: int) -> str:
        """Return its name, which no line break may part."""
        return bound(f"the {shortened(self.name, most)}")


def title_of(
    sides: Sequence[Side], roofs: Sequence[OfSide], points: Sequence[tuple[int, Point]], dtype: Dtype
) -> str:
    """Return the finding: what one device reaches of its published ceiling, else from where on arithmetic limits.

    Of several devices, all ridges are told, or, if that is too long, the lowest and the highest.
    """
    ridges = sorted(_ridges(sides, roofs))
    start = f"In {format_text(dtype)}"
    reached = _reached([one for _, one in points]) if len({index for index, _ in points}) == 1 else ""
    if len(ridges) == 1 and reached:
        return f"{start} {ridges[0].who(LONG)} reaches at best {reached}"
    unit = dtype.operations.upper()
    title = f"{start} {_all(ridges, unit)}"
    return title if len(title) <= MOST_TITLE else f"{start} {_ends(ridges, unit)}"


def _ridges(sides: Sequence[Side], roofs: Sequence[OfSide]) -> Iterator[_Ridge]:
    """Yield each device's ridge, by its sheet if it has one; a chip that is there twice is told once."""
    devices = [device_of(side) for side in sides]
    names = without_maker(devices)
    told = {
        devices[one.side]: _Ridge(one.roof.ridge, names[one.side], measured=False)
        for one in roofs
        if one.published
    }
    yield from told.values()
    for one in roofs:
        if devices[one.side] not in told:
            twice = devices.count(devices[one.side]) > 1
            yield _Ridge(one.roof.ridge, sides[one.side].label if twice else names[one.side], measured=True)


def _reached(points: Sequence[Point]) -> str:
    """Return the best shares of the published ceiling, on either side of the ridge; nothing if there are none."""
    best: dict[str, float] = {}
    for under in (one.published for one in points if one.published):
        best[under.bound_by] = max(under.share, best.get(under.bound_by, 0.0))
    memory, compute = best.get("memory"), best.get("compute")
    if memory is not None and compute is not None:
        where = f"where memory limits it, {percent(compute)} where arithmetic does"
        return f"{percent(memory)} of its published ceiling {where}"
    return "".join(f"{percent(share)} of its published ceiling" for share in best.values())


def _limited(who: str, verb: str, ridge: str, unit: str) -> str:
    value, *measured = ridge.split(" ")
    return " ".join([f"{who} {verb} limited by arithmetic from {value} {unit} per byte on", *measured])


def _grouped(ridges: Sequence[_Ridge], most: int) -> list[tuple[str, list[str]]]:
    """Return the ridges from the lowest on, each with the names of those that have it."""
    groups: dict[str, list[str]] = {}
    for one in ridges:
        groups.setdefault(one.text, []).append(one.who(most))
    return [*groups.items()]


def _all(ridges: Sequence[_Ridge], unit: str) -> str:
    (first, who), *others = _grouped(ridges, LONG)
    sentence = _limited(listed(who), "is" if len(who) == 1 else "are", first, unit)
    return ", ".join([sentence, *(f"{listed(whose)} from {ridge}" for ridge, whose in others)])


def _ends(ridges: Sequence[_Ridge], unit: str) -> str:
    (lowest, low), *others = _grouped(ridges, SHORT)
    if not others:
        return _limited(f"each of the {len(ridges)}", "is", lowest, unit)
    highest, high = others[-1]
    count = sum(len(who) for _, who in others[:-1])
    more = f", {count} more in between" if count else ""
    sentence = _limited(_some(low), "is" if len(low) == 1 else "are", lowest, unit)
    return f"{sentence}, {_some(high)} from {highest}{more}"


def _some(who: Sequence[str]) -> str:
    return listed(who) if len(who) < 3 else f"{who[0]} and {len(who) - 1} others"

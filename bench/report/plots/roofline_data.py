"""What the picture of rooflines shows, as plain data: lines, dots, labels and where they stand."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from bench.analysis.compare import Side
from bench.analysis.roofline import Ceilings, Roof, is_usual, points
from bench.report.columns import KINDS
from bench.report.plots.axis import Axis
from bench.report.plots.layout import LABEL_ROW, LEAST_HEIGHT, listed, spread
from bench.report.plots.names import chosen_format, format_text, names_of, rate_text, ridge_text, unbound
from bench.report.plots.roofline_title import OfSide, title_of
from bench.units import DTYPES, Dtype

Limits = Sequence[tuple[Side, Sequence[Ceilings]]]
Mark = Literal["solid", "dashed", "ridge", "filled", "hollow"]
_MARGIN: Final = 1.3  # around what is drawn, as a factor on each axis
_LEFT_OF_RIDGE, _RIGHT_OF_RIDGE = 20.0, 8.0  # what is shown of each roof at least, as factors of the ridge
_ALIKE: Final = 0.03  # what differs by less lies within the width of one line


class Line(NamedTuple):
    """One roof of the side of a number; `over_peak` and `over_slope` count later lines that lie upon its parts."""

    side: int
    published: bool
    roof: Roof
    over_peak: int = 0
    over_slope: int = 0

    @property
    def ridge(self) -> tuple[float, float]:
        """Where both parts meet."""
        return self.roof.ridge, self.roof.peak.rate


class Dot(NamedTuple):
    """A product of the side of a number; hollow if others measured it."""

    side: int
    intensity: float
    rate: float
    filled: bool


class Label(NamedTuple):
    """What stands beside the end of a line, at a height between 0 and 1, the ends of the vertical axis."""

    line: Line
    name: str
    figures: str
    height: float


class Key(NamedTuple):
    """What one kind of line or marker means."""

    mark: Mark
    text: str


class RooflinePicture(NamedTuple):
    """All that is drawn; `height` is that of the axes in inches, `unit` that of the rates."""

    title: str
    alt: str
    unit: str
    x: Axis
    y: Axis
    height: float
    lines: Sequence[Line]
    dots: Sequence[Dot]
    labels: Sequence[Label]
    key: Sequence[Key]
    notes: Sequence[str]


def chosen_dtype(limits: Limits, wanted: Dtype | None) -> Dtype:
    """Return the number format to draw: the wanted one, else the one in which most sides have a roof.

    Of several it is bf16 if that is among them, else the first. Raises InvalidRequest if no side has a roof in the
    wanted one, and RecordError if none has one at all.
    """
    counts = {dtype: sum(_has_roof(some, dtype) for _, some in limits) for dtype in DTYPES.values()}
    who = "none of them has" if len(limits) > 1 else f"{limits[0][0].label} has not"
    none = f"{who} both a peak and a bandwidth; 'chipbench run --workload stream' measures the latter"
    return chosen_format(counts, wanted, none=none, lacks=f"{who} a roof")


def roofless(limits: Limits, dtype: Dtype) -> list[Side]:
    """Return the sides that have no roof in a format, which the picture leaves out."""
    return [side for side, some in limits if not _has_roof(some, dtype)]


def picture_of(limits: Limits, dtype: Dtype) -> RooflinePicture:
    """Return the picture of all that have a roof in `dtype`, one at least; a note names the others."""
    shown = [(side, some) for side, some in limits if _has_roof(some, dtype)]
    sides = [side for side, _ in shown]
    lines = _with_those_upon(
        [line for index, (_, some) in enumerate(shown) for line in _lines(index, some, dtype)]
    )
    found = [(index, one) for index, (side, some) in enumerate(shown) for one in points(side, some)
             if one.cell.dtype == dtype]  # fmt: skip
    usual = [(index, one) for index, one in found if is_usual(one.cell)]
    dots = [Dot(index, one.intensity, one.rate.rate, sides[index].is_measured) for index, one in usual]
    x, y = _axes(lines, dots, dtype)
    height = max(LEAST_HEIGHT, LABEL_ROW * (len(lines) + 1))
    above = sum(one.above for _, one in usual)
    title = title_of(sides, [OfSide(*line[:3]) for line in lines], usual, dtype)
    labels = _labels(lines, sides, y, height, dtype)
    return RooflinePicture(
        title=title,
        alt=_alt(title, labels, len(dots)),
        unit=dtype.rate_label,
        x=x,
        y=y,
        height=height,
        lines=lines,
        dots=dots,
        labels=labels,
        key=[*_key(lines, dots, sides)],
        notes=[*_notes(lines, dtype, above=above, unusual=len(found) - len(usual)), *_left_out(limits, dtype)],
    )


def _alt(title: str, labels: Sequence[Label], dots: int) -> str:
    """Tell what is to be seen: the finding, every roof with its numbers, how many products lie under them."""
    roofs = "; ".join(f"{label.name}, {label.figures}" for label in labels)
    under = f", and {dots} products under them" if dots else ""
    said = f"{unbound(title)}. Roofs: {roofs}."
    return f"Rooflines on logarithmic axes, rate over operations per byte{under}. {said}"


def _has_roof(some: Sequence[Ceilings], dtype: Dtype) -> bool:
    return any(one.published or one.measured for one in _in(some, dtype))


def _in(some: Sequence[Ceilings], dtype: Dtype) -> list[Ceilings]:
    return [one for one in some if one.format is not None and one.format.dtype == dtype]


def _lines(index: int, some: Sequence[Ceilings], dtype: Dtype) -> Iterator[Line]:
    """Yield a side's published and measured roof; of several measured ones, of FP8, the highest."""
    published = [one.published for one in _in(some, dtype) if one.published]
    measured = [one.measured for one in _in(some, dtype) if one.measured]
    for roofs in (published, measured):
        if roofs:
            yield Line(index, roofs is published, max(roofs, key=lambda roof: roof.peak.rate))


def _with_those_upon(lines: Sequence[Line]) -> list[Line]:
    def like(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=_ALIKE)

    found = []
    for index, line in enumerate(lines):
        later = [other.roof for other in lines[index + 1 :]]
        peaks = sum(like(roof.peak.rate, line.roof.peak.rate) for roof in later)
        slopes = sum(like(roof.bandwidth.rate, line.roof.bandwidth.rate) for roof in later)
        found.append(line._replace(over_peak=peaks, over_slope=slopes))
    return found


def _axes(lines: Sequence[Line], dots: Sequence[Dot], dtype: Dtype) -> tuple[Axis, Axis]:
    ridges = [line.roof.ridge for line in lines]
    intensities = [dot.intensity for dot in dots]
    left = min([min(ridges) / _LEFT_OF_RIDGE, *intensities]) / _MARGIN
    right = max([max(ridges) * _RIGHT_OF_RIDGE, *intensities]) * _MARGIN
    rates = [dot.rate for dot in dots]
    low = min([line.roof.ceiling(left) for line in lines] + rates) / _MARGIN
    high = max([line.roof.peak.rate for line in lines] + rates) * _MARGIN
    unit = dtype.operations.upper()
    return Axis(left, right, f"{unit} per byte moved"), Axis(low, high, f"rate of {format_text(dtype)} products")


def _labels(lines: Sequence[Line], sides: Sequence[Side], y: Axis, height: float, dtype: Dtype) -> list[Label]:
    """Return every line's label, highest peaks highest, and those of equal peaks in the order of the sides."""
    gap = LABEL_ROW / height
    wanted = [y.share(line.roof.peak.rate) for line in lines[::-1]]
    heights = spread(wanted, gap, gap / 2, 1 - gap / 2)[::-1]
    names = names_of(sides)
    return [
        Label(line, names[line.side], _figures(line, sides[line.side], dtype), at)
        for line, at in zip(lines, heights, strict=True)
    ]


def _figures(line: Line, side: Side, dtype: Dtype) -> str:
    peak = rate_text(line.roof.peak.rate, dtype.rate_label)
    bandwidth = rate_text(line.roof.bandwidth.rate, "B/s")
    whose = "published" if line.published else KINDS[side.kind]
    return f"{whose}: {peak}, {bandwidth}, ridge {ridge_text(line.roof.ridge)}"


def _key(lines: Sequence[Line], dots: Sequence[Dot], sides: Sequence[Side]) -> Iterator[Key]:
    def kinds(of: Sequence[Line | Dot]) -> str:
        return listed([*dict.fromkeys(KINDS[sides[one.side].kind] for one in of)])

    if any(line.published for line in lines):
        yield Key("solid", "published roof")
    if measured := [line for line in lines if not line.published]:
        yield Key("dashed", f"roof {kinds(measured)}")
    yield Key("ridge", "ridge")
    if filled := [dot for dot in dots if dot.filled]:
        yield Key("filled", f"product {kinds(filled)}")
    if hollow := [dot for dot in dots if not dot.filled]:
        yield Key("hollow", f"product {kinds(hollow)}")


def _notes(lines: Sequence[Line], dtype: Dtype, *, above: int, unusual: int) -> Iterator[str]:
    unit = dtype.operations.upper()
    yield (
        f"{unit} per byte: operations for every byte moved, each operand read or written once. Left of the ridge "
        "memory is the limit, right of it arithmetic."
    )
    if any(line.published for line in lines):
        yield "Published: dense peak and memory bandwidth; 'chipbench chips CHIP --sources' lists the sources."
    if not all(line.published for line in lines):
        yield "Measured roof: the best product and the best copy or triad, of normal data, in no burst."
    if dtype.name == "fp8" and not all(line.published for line in lines):
        yield "Of both ways of summing FP8 the measured roof is the faster one's."
    if above:
        yield f"Above their measured roof, as of operands that stayed in a cache: {above} products."
    if unusual:
        yield f"Not drawn, as their data were not normal or they were bursts: {unusual} products."


def _left_out(limits: Limits, dtype: Dtype) -> Iterator[str]:
    names = names_of([side for side, _ in limits])
    without = [
        f"{name}, {KINDS[side.kind]}" if side.kind != "published" else name
        for name, (side, some) in zip(names, limits, strict=True)
        if not _has_roof(some, dtype)
    ]
    if without:
        yield f"Without a roof in {format_text(dtype)}, so not drawn: {'; '.join(without)}."

"""What a picture of rates over sizes is made of: of each side the products that differ in their size alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, get_args

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate, published_peak
from bench.analysis.roofline import is_usual
from bench.report.columns import KINDS
from bench.report.plots.names import device_of, without_maker
from bench.units import Dtype
from bench.workloads.base import Cell, Shape, is_square

SeriesMark = Literal["filled", "half", "hollow"]
SERIES_MARKS: Final[tuple[SeriesMark, ...]] = get_args(SeriesMark)


class Over(NamedTuple):
    """What the sizes are: the n of squares, or the rows M by one matrix of `weights`, its n and k."""

    weights: tuple[int, int] | None = None

    def size(self, shape: Shape) -> int | None:
        """Return the size of a product; None if it is of another kind."""
        if self.weights is None:
            return shape.n if is_square(shape) else None
        return shape.m if (shape.n, shape.k) == self.weights else None

    def text(self, size: int) -> str:
        """Return a size as prose has it: '8192³' or '64 rows'."""
        if self.weights is None:
            return f"{size}³"
        return f"{size} row{'s' if size > 1 else ''}"

    @property
    def matrix(self) -> str:
        """The one matrix of which rows are multiplied: '7168×4096'; nothing for squares."""
        return f"{self.weights[1]}×{self.weights[0]}" if self.weights else ""


class Point(NamedTuple):
    """The fastest product of one size."""

    size: int
    rate: Estimate


class Series(NamedTuple):
    """One side's products, smallest first: `kind` says who measured them, `peak` is the sheet's (1/s) or None.

    `mark` is how they are drawn: filled if measured here, half if replayed or simulated, hollow if by others.
    """

    name: str
    kind: str
    mark: SeriesMark
    points: Sequence[Point]
    peak: float | None

    @property
    def best(self) -> Point:
        """The point of the highest rate."""
        return max(self.points, key=lambda point: point.rate.rate)

    def share(self, point: Point) -> float | None:
        """Return a rate as a share of the published peak; None without one."""
        return None if self.peak is None else point.rate.rate / self.peak


class Faster(NamedTuple):
    """A product that has no place in the picture, though it is faster than all of its side that are drawn."""

    name: str
    kind: str
    cell: Cell
    rate: float


class Drawable(NamedTuple):
    """All that there is to draw in one format, and what is to be told of it.

    `peaks` are the published ones by the name of their chip. `left_out` counts products by the reason why they are
    not drawn, `faster` has of each side the fastest of them if it beats all that are drawn, `among` names what the
    fastest of several for one size was chosen from, `without` the sides of which no product can be drawn.
    """

    over: Over
    series: Sequence[Series]
    peaks: dict[str, float]
    left_out: Counter[str]
    faster: Sequence[Faster]
    among: Sequence[str]
    without: Sequence[str]


def over(sides: Sequence[Side], dtype: Dtype) -> Over:
    """Return what all sides' products are drawn over: squares, if there are two or nothing else.

    Else it is the rows by the one matrix that was multiplied by most of them; of several the largest.
    """
    shapes = {cell.shape for side in sides for cell in _own(side, dtype) if cell.shape}
    squares = {shape for shape in shapes if is_square(shape)}
    counts = Counter((shape.n, shape.k) for shape in shapes)
    weights = max(counts, key=lambda one: (counts[one], one[0] * one[1], one), default=None)
    if weights is None or len(squares) > 1 or (squares and counts[weights] == 1):
        return Over()
    return Over(weights)


def count_points(sides: Sequence[Side], dtype: Dtype) -> int:
    """Return how many points a picture in this format has."""
    common = over(sides, dtype)
    return sum(len(_fastest(side, dtype, common)) for side in sides)


def drawable(sides: Sequence[Side], dtype: Dtype) -> Drawable:
    """Return what is to be drawn of all sides in this format."""
    common = over(sides, dtype)
    devices = without_maker([device_of(side) for side in sides])
    names = _names(sides, devices)
    peaks = [_peak(side, dtype) for side in sides]
    series, faster, differing, without = [], list[Faster](), dict[str, None](), []
    for side, name, peak in zip(sides, names, peaks, strict=True):
        cells = _fastest(side, dtype, common)
        if cells:
            points = [Point(size, side.estimates[cells[size]]) for size in sorted(cells)]
            series.append(Series(name, KINDS[side.kind], _mark(side), points, peak))
            faster += _faster(side, dtype, common, series[-1])
            differing |= dict.fromkeys(_among(side, dtype, common, cells))
        elif side.kind != "published":
            without.append(f"{name}, {KINDS[side.kind]}")
    return Drawable(
        over=common,
        series=series,
        peaks={device: peak for device, peak in zip(devices, peaks, strict=True) if peak is not None},
        left_out=Counter(reason for side in sides for reason in _left_out(side, dtype, common)),
        faster=faster,
        among=[*differing],
        without=without,
    )


def lacking(sides: Sequence[Side], dtype: Dtype) -> list[Side]:
    """Return the sides that have neither a product nor a published peak in a format: nothing of them is drawn."""
    common = over(sides, dtype)
    return [side for side in sides if not _fastest(side, dtype, common) and _peak(side, dtype) is None]


def _mark(side: Side) -> SeriesMark:
    if side.kind == "measured":
        return "filled"
    return "half" if side.is_measured else "hollow"


def _peak(side: Side, dtype: Dtype) -> float | None:
    found = None if side.chip is None else published_peak(side.chip, dtype.figures)
    return None if found is None else found.rate


def _names(sides: Sequence[Side], devices: Sequence[str]) -> list[str]:
    """Return each side's device, or its label where another of the same kind has that device too."""
    keys = [(device, side.kind) for device, side in zip(devices, sides, strict=True)]
    return [
        side.label if keys.count(key) > 1 else key[0]
        for key, side in zip(keys, sides, strict=True)
    ]  # fmt: skip


def _own(side: Side, dtype: Dtype) -> Iterator[Cell]:
    """Yield the products whose rate is the device's own, with data as they usually are, in no burst."""
    for cell, rate in side.estimates.items():
        if cell.dtype == dtype and not rate.host_limited and is_usual(cell):
            yield cell


def _fastest(side: Side, dtype: Dtype, common: Over) -> dict[int, Cell]:
    """Return the fastest product of every size."""
    found: dict[int, Cell] = {}
    for cell in _own(side, dtype):
        size = common.size(cell.shape) if cell.shape else None
        if size is not None and (
            size not in found or side.estimates[cell].rate > side.estimates[found[size]].rate
        ):
            found[size] = cell
    return found


def _among(side: Side, dtype: Dtype, common: Over, chosen: dict[int, Cell]) -> Iterator[str]:
    """Yield in what the products differ that are not drawn, as another of their size is faster."""
    for cell in _own(side, dtype):
        size = common.size(cell.shape) if cell.shape else None
        if size is None or cell == chosen[size]:
            continue
        if cell.library != chosen[size].library:
            yield "libraries"
        elif cell.fast_accumulate != chosen[size].fast_accumulate:
            yield f"ways of summing {dtype.name.upper()}"
        else:
            yield "ways of measuring"


def _faster(side: Side, dtype: Dtype, common: Over, drawn: Series) -> Iterator[Faster]:
    """Yield the fastest product that is of no size here, if it is faster than all that are drawn."""
    others = [cell for cell in _own(side, dtype) if cell.shape is None or common.size(cell.shape) is None]
    cell = max(others, key=lambda one: side.estimates[one].rate, default=None)
    if cell is not None and side.estimates[cell].rate > drawn.best.rate.rate:
        yield Faster(drawn.name, drawn.kind, cell, side.estimates[cell].rate)


def _left_out(side: Side, dtype: Dtype, common: Over) -> Iterator[str]:
    """Yield for each product that cannot be drawn why not."""
    for cell, rate in side.estimates.items():
        if cell.dtype != dtype:
            continue
        if rate.host_limited:
            yield "as the host limited them"
        elif not is_usual(cell):
            yield "as their data were not normal or they were bursts"
        elif cell.shape is None:
            yield "as their shape is not stated"
        elif common.size(cell.shape) is None:
            yield "as they are no squares" if common.weights is None else "as they are of another matrix"

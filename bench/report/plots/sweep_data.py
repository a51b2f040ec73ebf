"""What the picture of rates over sizes shows, as plain data: series, peaks, labels and where they stand."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from bench.analysis.compare import Side
from bench.analysis.estimates import is_above_peak
from bench.report.excess import EXCESS
from bench.report.plots.layout import LABEL_ROW, LEAST_HEIGHT, listed, shortened, spread
from bench.report.plots.names import chosen_format, format_text, rate_text, unbound
from bench.report.plots.sweep_places import MARKER, Bar, Shifts, Sizes, bars_of, shifts_of, sizes_of, top_of
from bench.report.plots.sweep_series import (
    SERIES_MARKS,
    Drawable,
    Faster,
    Over,
    Series,
    SeriesMark,
    count_points,
    drawable,
)
from bench.report.plots.sweep_title import title_of
from bench.report.view import percent
from bench.units import DTYPES, Dtype

Mark = SeriesMark | Literal["peak", "bar"]
_LETTERS: Final = 44  # for which a label's first line has room


class Label(NamedTuple):
    """What stands beside the axes, at a height from 0 to 1, about the point `at`: a size and a rate.

    It is of the series of a number, or of a published peak.
    """

    series: int | None
    name: str
    figures: str
    at: tuple[float, float]
    height: float


class Key(NamedTuple):
    """What one kind of line or marker means."""

    mark: Mark
    text: str


class SweepPicture(NamedTuple):
    """All that is drawn; `height` is that of the axes in inches, `unit` that of the rates, `top` the highest.

    `shifts` are those of markers and bars that would hide each other; without one they stand at their size.
    """

    title: str
    alt: str
    unit: str
    x: Sizes
    top: float
    y_title: str
    height: float
    series: Sequence[Series]
    peaks: Sequence[float]
    bars: Sequence[Bar]
    shifts: Shifts
    labels: Sequence[Label]
    key: Sequence[Key]
    notes: Sequence[str]


def chosen_dtype(sides: Sequence[Side], wanted: Dtype | None) -> Dtype:
    """Return the number format to draw: the wanted one, else the one with most points; of several bf16.

    Raises InvalidRequest if no side has a product of a known size in the wanted one, and RecordError if none has
    one at all.
    """
    counts = {dtype: count_points(sides, dtype) for dtype in DTYPES.values()}
    who = "none of them has a" if len(sides) > 1 else f"{sides[0].label} has no"
    lacks = f"{who} product of a known size"
    return chosen_format(counts, wanted, none=f"{lacks}; 'chipbench run --sweep' measures squares", lacks=lacks)


def picture_of(sides: Sequence[Side], dtype: Dtype) -> SweepPicture:
    """Return the picture of all sides in `dtype`, in which one at least must have a product of a known size."""
    found = drawable(sides, dtype)
    title, peaks = title_of(found, dtype), _shared(found.peaks)
    height = max(LEAST_HEIGHT, LABEL_ROW * (len(found.series) + len(peaks) + 1))
    x, top = sizes_of(found), top_of(found)
    marker = top * MARKER / height
    bars = [*bars_of(found.series, marker)]
    shifts = dict(shifts_of(found.series, marker, x))
    return SweepPicture(
        title=title,
        alt=_alt(found, title, x, dtype),
        unit=dtype.rate_label,
        x=x,
        top=top,
        y_title=f"rate of {format_text(dtype)} products",
        height=height,
        series=found.series,
        peaks=[*peaks],
        bars=bars,
        shifts=shifts,
        labels=_placed([*_labels(found, x, shifts, dtype)], top, LABEL_ROW / height),
        key=[*_key(found, bars)],
        notes=[*_notes(found, dtype, shifts, beyond=sum(bar.interval.hi > top for bar in bars))],
    )


def _shared(peaks: dict[str, float]) -> dict[float, list[str]]:
    """Return every peak once, with the names of those that have it."""
    found: dict[float, list[str]] = {}
    for name, peak in peaks.items():
        found.setdefault(peak, []).append(name)
    return found


def _labels(found: Drawable, x: Sizes, shifts: Shifts, dtype: Dtype) -> Iterator[Label]:
    """Yield a label for each series and peak, about where its line ends."""
    for index, one in enumerate(found.series):
        size, rate = one.points[-1]
        at = (x.shifted(size, shifts.get((index, size), 0.0)), rate.rate)
        yield _of_series(index, one, found.over, dtype)._replace(at=at)
    for peak, names in _shared(found.peaks).items():
        yield _of_peak(peak, names, x, dtype)


def _placed(labels: Sequence[Label], top: float, gap: float) -> list[Label]:
    """Return the labels at their heights, the highest highest, and equal ones in the order of the sides."""
    heights = spread([label.at[1] / top for label in labels[::-1]], gap, gap / 2, 1 - gap / 2)[::-1]
    return [label._replace(height=height) for label, height in zip(labels, heights, strict=True)]


def _of_series(index: int, one: Series, over: Over, dtype: Dtype) -> Label:
    best, share = one.best, one.share(one.best)
    name = shortened(one.name, _LETTERS - len(one.kind) - 2)
    rate = f"{rate_text(best.rate.rate, dtype.rate_label)} at {over.text(best.size)}"
    of = "" if share is None else f", {percent(share)} of its peak"
    figures = f"{'best ' if len(one.points) > 1 else ''}{rate}{of}"
    return Label(index, f"{name}, {one.kind}", figures, (0.0, 0.0), 0.0)


def _of_peak(peak: float, names: Sequence[str], x: Sizes, dtype: Dtype) -> Label:
    whole = listed(names)
    name = whole if len(whole) <= _LETTERS else f"{shortened(names[0], 24)} and {len(names) - 1} more"
    name = shortened(name, _LETTERS)
    return Label(None, name, f"published peak {rate_text(peak, dtype.rate_label)}", (x.high, peak), 0.0)


def _key(found: Drawable, bars: Sequence[Bar]) -> Iterator[Key]:
    for mark in SERIES_MARKS:
        kinds = [*dict.fromkeys(one.kind for one in found.series if one.mark == mark)]
        if kinds:
            yield Key(mark, listed(kinds))
    if found.peaks:
        yield Key("peak", "published peak (dense)")
    if bars:
        yield Key("bar", "95 % interval, where wider than the marker")


def _notes(found: Drawable, dtype: Dtype, shifts: Shifts, *, beyond: int) -> Iterator[str]:
    if found.peaks:
        yield "Published: dense peaks; 'chipbench chips CHIP --sources' lists the sources."
    for peak, names in _shared(found.peaks).items():
        if len(listed(names)) > _LETTERS and len(names) > 1:
            yield f"{rate_text(peak, dtype.rate_label)} is the published peak of {listed(names)}."
    yield from _missing(found, dtype)
    if any(is_above_peak(one.share(one.best) or 0.0) for one in found.series):
        yield f"What is above its published peak: {EXCESS['unknown'].cause}."
    if shifts:
        yield "Where intervals at one size would hide each other, they and their markers stand side by side."
    if beyond:
        yield f"Beyond the upper edge: the ends of {beyond} interval{'s' if beyond > 1 else ''}."


def _missing(found: Drawable, dtype: Dtype) -> Iterator[str]:
    if found.among:
        yield f"Of several {listed(found.among)} for one size the fastest is drawn."
    for reason, count in found.left_out.items():
        yield f"Not drawn, {reason}: {count} product{'s' if count > 1 else ''}."
    if found.faster:
        yield f"Faster, but not drawn: {'; '.join(_faster_text(one, dtype) for one in found.faster)}."
    if found.without:
        yield f"Without a product that can be drawn: {'; '.join(found.without)}."


def _faster_text(one: Faster, dtype: Dtype) -> str:
    shape = "" if one.cell.shape else " of a shape that is not stated"
    return f"{one.cell.label}{shape} of the {one.name}, {one.kind}: {rate_text(one.rate, dtype.rate_label)}"


def _alt(found: Drawable, title: str, x: Sizes, dtype: Dtype) -> str:
    """Return what is to be seen: the axes, how many lines of what, the finding, the highest rate."""
    series = found.series
    sizes = [point.size for one in series for point in one.points]
    peaks = len({*found.peaks.values()})
    count = f"{len(sizes)} point{'s' if len(sizes) > 1 else ''} in {len(series)} series"
    lines = f" and {peaks} published peak{'s' if peaks > 1 else ''} as horizontal lines" if peaks else ""
    top = max(series, key=lambda one: one.best.rate.rate)
    return unbound(
        f"Line chart of {format_text(dtype)} rates, linear from 0, over the {x.title}, logarithmic from "
        f"{min(sizes)} to {max(sizes)}: {count}{lines}. {title}. The highest rate drawn is "
        f"{rate_text(top.best.rate.rate, dtype.rate_label)}, of the {top.name}, {top.kind}, "
        f"at {found.over.text(top.best.size)}."
    )

"""What the picture of a cut shows, as plain data: each published figure of a chip over that of others."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.analysis.explain import CUTTABLE, Compared, compared
from bench.analysis.sides import Named, check_distinct, side_of_chip
from bench.errors import InvalidRequest
from bench.published.chips import Chip
from bench.published.figures import FIGURES, Figure
from bench.report.plots.axis import log_share
from bench.report.plots.cut_title import Amount, Headline, title_of
from bench.report.plots.layout import listed
from bench.report.plots.names import names_of
from bench.report.view import few, significant
from bench.units import grouped

_MOST_OTHERS: Final = 6
_RATES, _MEMORY, _LINKS, _CHIP, _REST = "dense rates", "memory", "links", "chip", "other figures"
# What each figure is called, and under which heading it stands.
NAMES: Final = MappingProxyType(
    {
        "fp64": (_RATES, "FP64"),
        "fp64_tensor": (_RATES, "FP64 on tensor cores"),
        "fp32": (_RATES, "FP32"),
        "tf32": (_RATES, "TF32"),
        "fp16": (_RATES, "FP16"),
        "fp16_acc16": (_RATES, "FP16 summed in FP16"),
        "bf16": (_RATES, "BF16"),
        "fp8": (_RATES, "FP8"),
        "fp8_acc16": (_RATES, "FP8 summed in FP16"),
        "fp4": (_RATES, "FP4"),
        "int8": (_RATES, "INT8"),
        "int4": (_RATES, "INT4"),
        "memory_size": (_MEMORY, "memory size"),
        "memory_bandwidth": (_MEMORY, "memory bandwidth"),
        "l2": (_MEMORY, "L2 cache"),
        "nvlink": (_LINKS, "NVLink"),
        "pcie": (_LINKS, "PCIe"),
        "sm_count": (_CHIP, "multiprocessors (SM)"),
        "boost_clock": (_CHIP, "boost clock"),
        "tdp": (_CHIP, "power (TDP)"),
        "die_area": (_CHIP, "die area"),
        "transistors": (_CHIP, "transistors"),
    }
)
# What a title tells: one rate, the first that both have, and these.
_TELLING: Final = ("bf16", "fp16", "fp8", "fp4", "tf32", "fp32")
_TOLD: Final = ("nvlink", "memory_bandwidth")
_BILLION: Final = 10**9
# What is shown of the axis at least, so that a small difference does not look large.
_LEAST, _MOST = 0.5, 1.25
# Steps within a power of ten, from few marks to many, and the share of the axis that two marks must be apart.
_STEPS: Final = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
_APART: Final = 0.09
_MANY: Final = 6  # figures that a note names


class Scale(NamedTuple):
    """A logarithmic axis of ratios from `low` to `high`, with its marks."""

    low: float
    high: float
    ticks: Sequence[float]

    def share(self, ratio: float) -> float:
        """Return where a ratio lies on it, from 0 to 1."""
        return log_share(ratio, self.low, self.high)


class Bar(NamedTuple):
    """A figure over that of the other chip of a number; `change` is 'cut', 'kept' or 'more'."""

    other: int
    ratio: float
    change: str
    text: str


class Row(NamedTuple):
    """The bars of one figure, under a heading that several may share."""

    figure: str
    name: str
    heading: str
    bars: Sequence[Bar]


class CutPicture(NamedTuple):
    """All that is drawn. `others` are the names of the chips that the bars are beside, `base` what 1× means."""

    title: str
    alt: str
    axis: str
    base: str
    others: Sequence[str]
    scale: Scale
    rows: Sequence[Row]
    notes: Sequence[str]


def picture_of(chip: Chip, others: Sequence[Chip]) -> CutPicture:
    """Return the picture of every published figure of a chip over that of the others.

    One of several others that shares no figure with the chip is left out, and a note says so. Raises
    InvalidRequest if two of them are one chip, if there are too many to tell apart, or if all are left out.
    """
    _check(chip, others)
    found = [compared(chip, other) for other in others]
    name, *names = names_of([side_of_chip(one) for one in (chip, *others)])
    drawn = [index for index, some in enumerate(found) if any(map(_has_bar, some))]
    left_out = [f"the {one}" for index, one in enumerate(names) if index not in drawn]
    if not drawn:
        message = f"{chip.id}: no figure is published both for it and for {listed([o.id for o in others], 'or')}"
        message += f"; 'chipbench chips {chip.id}' shows what is"
        raise InvalidRequest(message)
    cut = len(drawn) == 1 and chip.cut_from == others[drawn[0]].id
    shown = _Shown(name, [names[index] for index in drawn], [found[index] for index in drawn], left_out, cut)
    return _picture(shown)


class _Shown(NamedTuple):
    """What is drawn: a chip beside others, by their names, with the figures beside each of those."""

    name: str
    names: Sequence[str]
    found: Sequence[Sequence[Compared]]
    left_out: Sequence[str]
    cut: bool


def _picture(shown: _Shown) -> CutPicture:
    rows = [*_rows(shown.found, cut=shown.cut)]
    title = title_of(shown.name, shown.names, _headlines(rows, shown), cut=shown.cut)
    other = shown.names[0] if len(shown.names) == 1 else "other"
    return CutPicture(
        title=title,
        alt=_alt(rows, shown, title),
        axis=f"{shown.name} ÷ {other}, each figure as published (logarithmic)",
        base=f"as much as the {other}",
        others=shown.names,
        scale=_scale([bar.ratio for row in rows for bar in row.bars]),
        rows=rows,
        notes=[*_notes(rows, shown)],
    )


def _check(chip: Chip, others: Sequence[Chip]) -> None:
    check_distinct([Named(side_of_chip(one)) for one in (chip, *others)])
    if len(others) > _MOST_OTHERS:
        message = f"{len(others)} others are too many to tell apart in one picture; name {_MOST_OTHERS} at most"
        raise InvalidRequest(message)


def _name_of(figure: str) -> str:
    """Return what a figure is called in a picture: 'memory bandwidth'."""
    return NAMES[figure][1] if figure in NAMES else figure.replace("_", " ")


def _rows(found: Sequence[Sequence[Compared]], *, cut: bool) -> Iterator[Row]:
    """Yield a row for each figure with a ratio to one of the others, those of one heading together."""
    by_name = [{row.name: row for row in rows} for rows in found]
    order = [*NAMES, *(figure for figure in CUTTABLE if figure not in NAMES)]
    for figure in order:
        pairs = [(index, rows[figure]) for index, rows in enumerate(by_name) if figure in rows]
        bars = [bar for index, row in pairs for bar in _bars(index, row, cut=cut)]
        if bars:
            heading = NAMES[figure][0] if figure in NAMES else _REST
            yield Row(figure, _name_of(figure), heading, bars)


def _bars(index: int, row: Compared, *, cut: bool) -> Iterator[Bar]:
    if row.ratio is None or row.own is None or row.whole is None or _no_amount(row):
        return
    kept = "1×, kept" if cut else "1×, the same"
    ratio = kept if row.change == "kept" else f"{significant(float(row.ratio), 3)}×"
    yield Bar(index, float(row.ratio), row.change, f"{ratio} ({_values(row.own, row.whole, row.change)})")


def _has_bar(row: Compared) -> bool:
    return row.ratio is not None and not _no_amount(row)


def _no_amount(row: Compared) -> bool:
    """Whether the values only number what differs, as generations do, so that their ratio tells nothing."""
    return FIGURES[row.name].base == "generation" and row.change != "kept"


def _values(own: Figure, other: Figure, change: str) -> str:
    """Return both values as sheets print them, the unit once if it is one: '148 of 989.4 TFLOPS'."""
    (above, unit), (below, unit_below) = _written(own), _written(other)
    between = "of" if change == "cut" else "against"
    if (own.value, own.unit) == (other.value, other.unit):
        star = "*" if own.disputed or other.disputed else ""
        return f"{above.rstrip('*')}{star} {unit}".rstrip()
    return f"{above}{'' if unit == unit_below else f' {unit}'} {between} {below} {unit_below}".rstrip()


def _written(figure: Figure) -> tuple[str, str]:
    """Return a figure's number, with a star if sources disagree on it, and its unit."""
    value, unit = figure.value, figure.unit or ""
    if figure.base_unit == "transistors" and isinstance(value, Decimal):
        value, unit = value / _BILLION, "billion"
    text = grouped(value) if isinstance(value, Decimal) else str(value)
    star = "*" if figure.disputed else ""
    if unit == "generation":
        return f"{unit} {text}{star}", ""
    return f"{text}{star}", unit


def _scale(ratios: Sequence[float]) -> Scale:
    low, high = min(_LEAST, *ratios), max(_MOST, *ratios)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = [
        [at for power in powers for step in steps if low <= (at := float(f"{step}e{power}")) <= high]
        for steps in _STEPS
    ]
    readable = [ticks for ticks in choices if _are_apart([log_share(tick, low, high) for tick in ticks])]
    return Scale(low, high, max(readable, key=len))


def _are_apart(shares: Sequence[float]) -> bool:
    return all(b - a >= _APART for a, b in pairwise(shares))


def _headlines(rows: Sequence[Row], shown: _Shown) -> list[Headline]:
    """Return what the title tells: a rate, the rate that was cut most if that one was not, links and memory.

    Of several others only what all of them have; where there is nothing of these, the first figure that is shown.
    """
    whole = {row.figure: row for row in rows if len(row.bars) == len(shown.names)}
    rates = [whole[figure] for figure in _TELLING if figure in whole][:1]
    if shown.cut and rates and rates[0].bars[0].change != "cut":
        lowest = min((row for row in rows if FIGURES[row.figure].rate), key=lambda row: row.bars[0].ratio)
        rates += [lowest] if lowest.bars[0].change == "cut" else []
    told = [*rates, *(whole[figure] for figure in _TOLD if figure in whole)]
    return [Headline(_noun(row), [Amount(bar.ratio, bar.change) for bar in row.bars]) for row in told or rows[:1]]


def _noun(row: Row) -> str:
    if not FIGURES[row.figure].rate:
        return row.name
    first, *more = row.name.split(" ")
    return " ".join([first, "rate", *more])


def _alt(rows: Sequence[Row], shown: _Shown, title: str) -> str:
    bars = sorted((bar.ratio, row.name) for row in rows for bar in row.bars)
    changes = [bar.change for row in rows for bar in row.bars]
    ends = [f"{significant(ratio, 3)} times ({name})" for ratio, name in (bars[0], bars[-1])]
    return (
        f"Bar chart on a logarithmic axis of ratios: {len(rows)} published figures of the {shown.name} over those "
        f"of {listed([f'the {other}' for other in shown.names])}, from {' to '.join(ends)}. "
        f"Bars left of 1, less: {changes.count('cut')}; marks at 1, the same: {changes.count('kept')}; "
        f"bars right of 1, more: {changes.count('more')}. {title}."
    )


def _notes(rows: Sequence[Row], shown: _Shown) -> Iterator[str]:
    texts = [bar.text for row in rows for bar in row.bars]
    yield (
        "All values are published figures, none was measured here; 'chipbench chips CHIP --sources' lists the "
        "sources."
    )
    yield (
        "Rates are dense peaks (no sparsity), NVLink counts both directions together, and what differs by no more "
        "than the rounding of sheets is at 1×."
    )
    if any("*" in text for text in texts):
        yield "* sources disagree; the ratio is of the values that these files put first."
    lacking = [[_name_of(row.name) for row in some if row.ratio is None] for some in shown.found]
    for figures, who in _together(lacking, shown.names):
        yield f"No ratio to {listed(who, 'or')}, as one of the two has no published value: {few(figures, _MANY)}."
    differing = [[_values_of(row) for row in some if row.ratio and _no_amount(row)] for some in shown.found]
    for figures, who in _together(differing, shown.names):
        yield f"Not drawn beside {listed(who, 'or')}, as generations make no ratio of rates: {listed(figures)}."
    if shown.left_out:
        yield f"Left out, as no figure is published for both: {listed(shown.left_out)}."


def _values_of(row: Compared) -> str:
    own, other = row.own, row.whole
    return f"{_name_of(row.name)} {_values(own, other, 'more')}" if own and other else _name_of(row.name)


def _together(lists: Sequence[Sequence[str]], names: Sequence[str]) -> list[tuple[Sequence[str], list[str]]]:
    """Return the lists that are not empty, each once, with the names of all that it is of."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for some, name in zip(lists, names, strict=True):
        if some:
            groups.setdefault(tuple(some), []).append(f"the {name}")
    return [*groups.items()]

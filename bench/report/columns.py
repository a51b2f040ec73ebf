"""The columns that several views share, so that a cell, a rate and a peak read the same everywhere."""

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, Final

from bench.analysis.compare import Kind
from bench.analysis.estimates import Estimate, Ratio
from bench.published.figures import Figure
from bench.published.measured import PublishedMeasurement
from bench.report.view import Column, percent, significant
from bench.stats import Interval
from bench.units import format_si
from bench.workloads.base import USUAL, Cell

# How each kind of rate is called, everywhere: what was measured here, what others did, and what is only a sheet's.
KINDS: Final = MappingProxyType[Kind, str](
    {
        "measured": "measured here",
        "replayed": "replayed",
        "simulated": "simulated",
        "published measurement": "measured by others",
        "published": "published peak",
        "projected": "projected",
    }
)
HOST_LIMITED: Final = "host-limited"
_PRODUCT: Final = "matmul"
_WIDE: Final = 0.02  # half an interval, relative to its rate
_LOPSIDED: Final = 1.5  # times as far on one side as on the other


def cell_columns(cell: Cell) -> dict[str, Any]:
    """Return what a cell is, as CSV and JSON have it; None for what does not apply."""
    shape = cell.shape
    return {
        "operation": cell.operation,
        "dtype": cell.dtype_name,
        "m": shape.m if shape else None,
        "n": shape.n if shape else None,
        "k": shape.k if shape else None,
        "elements": cell.elements,
        "peer": cell.peer,
        "ways": cell.ways,
        "fast_accumulate": cell.fast_accumulate,
        "library": cell.library,
        "data": cell.data,
        "regime": cell.regime,
        "load": cell.load,
    }


def cell_texts(cells: Sequence[Cell]) -> list[tuple[Column, list[str]]]:
    """Return the columns that tell cells apart in a table, one text a cell.

    Data, regime and load stand there where they are not the usual ones, the library where two can be had: on a
    GPU. The peer is the device that is copied to, or with.
    """
    columns = [
        (Column("dtype"), [cell.dtype_label for cell in cells]),
        (Column("shape" if any(cell.shape for cell in cells) else "array"), [cell.size_text for cell in cells]),
    ]
    if any(cell.operation != _PRODUCT for cell in cells):
        columns.insert(0, (Column("operation"), [cell.operation for cell in cells]))
    if any(cell.peer_text for cell in cells):
        columns.append((Column("peer"), [cell.peer_text for cell in cells]))
    for name in (*USUAL, "library"):
        texts = [str(getattr(cell, name) or "") for cell in cells]
        telling = {*texts} - {USUAL.get(name), ""} if name in USUAL else any(map(_has_choice, cells))
        if len({*texts} - {""}) > 1 or telling:
            columns.append((Column(name), texts))
    return columns


def _has_choice(cell: Cell) -> bool:
    """Whether another library might have computed it: on a GPU."""
    return cell.l2 == "rotate" or cell.is_transfer


def by_library(cell: Cell) -> str:
    """Return a cell's label, with the library that computed it where one is named."""
    return f"{cell.label} by {cell.library}" if cell.library else cell.label


def rate_columns(rate: Estimate | None) -> dict[str, float | None]:
    """Return a rate per second with the ends of its interval; None where there is none."""
    return _with_ends("rate", rate.rate if rate else None, rate.interval if rate else None)


def ratio_columns(ratio: Ratio | None, name: str = "ratio") -> dict[str, float | None]:
    """Return a ratio likewise, in columns of this name."""
    return _with_ends(name, ratio.value if ratio else None, ratio.interval if ratio else None)


def _with_ends(name: str, value: float | None, interval: Interval | None) -> dict[str, float | None]:
    lo, hi = (interval.lo, interval.hi) if interval else (None, None)
    return {name: value, f"{name}_lo": lo, f"{name}_hi": hi}


def error_text(rate: Estimate) -> str:
    """Return how far a rate's 95 % interval reaches from it: '±0.3 %'; nothing without an interval.

    A wide one that reaches further on one side than on the other is told as it is: '-35/+19 %'.
    """
    if rate.half_width is None or rate.interval is None:
        return ""
    below, above = 1 - rate.interval.lo / rate.rate, rate.interval.hi / rate.rate - 1
    if rate.half_width < _WIDE or max(below, above) < _LOPSIDED * min(below, above):
        return f"±{percent(rate.half_width, 2)}"
    return f"-{significant(100 * below, 2)}/+{percent(above, 2)}"


def ends_text(interval: Interval, unit: str, digits: int = 4) -> str:
    """Return the ends of an interval, the unit told once if both have one prefix: '460 to 839 TFLOP/s'."""
    low, high = (format_si(end, unit, digits=digits) for end in interval)
    value, _, prefixed = low.partition(" ")
    return f"{value if high.endswith(f' {prefixed}') else low} to {high}"


def ratio_text(ratio: Ratio | None) -> str:
    """Return a ratio with its interval in brackets; nothing for None."""
    if ratio is None:
        return ""
    text = f"{significant(ratio.value)}×"
    if ratio.interval is None:
        return text
    return f"{text} ({significant(ratio.interval.lo)} … {significant(ratio.interval.hi)})"


def peak_text(figure: Figure, cell: Cell) -> str:
    """Return a published peak as its sheet prints it, with the figure's name if that is not the cell's dtype."""
    name = "" if figure.name == cell.dtype_name else f" ({figure.name})"
    return f"{figure.value} {figure.unit}{name}"


def published_text(published: PublishedMeasurement) -> str:
    """Return a rate that others measured as they printed it, and of what it is the best, if it is that."""
    best = f", best of {published.best_of}" if published.best_of else ""
    return f"{published.value} {published.unit}{best}"


def source_notes(published: Iterable[PublishedMeasurement]) -> Iterator[str]:
    """Yield who measured what others published, how and with what, and what is noted of it; each once."""
    ones = list(published)
    for title, method, software in dict.fromkeys((one.source.title, one.method, one.software) for one in ones):
        yield f"measured by others: {title} ({method}{f'; {software}' if software else ''})"
    for note, dtype in dict.fromkeys((one.note, one.dtype) for one in ones):
        if note:
            yield f"of the {dtype} measured by others: {note}"

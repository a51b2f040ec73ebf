"""Whether a measured rate is what others measured on that chip, or else what to check."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from bench.analysis.compare import Side
from bench.analysis.efficiency import ROUNDING
from bench.analysis.estimates import Estimate, peak_at_clock, published_peak
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.published.chips import Chip
from bench.published.measured import PublishedMeasurement
from bench.workloads.base import BANDWIDTH, PEER_COPY, STREAMS, USUAL, Cell, Shape, shape_class

Sanity = Literal["sane", "too slow", "too fast", "not judged"]
# Rates of one product by different people, drivers and libraries lie up to about 5 % apart where several were
# published (H100 PCIe and H800 PCIe, A100 and A800 in FP16); twice that is taken for the ends of the range.
ALLOWANCE: Final = 0.10
_STATES: Final = ("power_limit", "application_clocks", "gpu_processes", "busy", "hot")
_OF_CELL: Final = (*FAULTS, "stalled", "stepped", "not_flat", "autocorrelated", "bimodal")
_LOW_CLOCK: Final = 0.8  # of the boost clock
# Under its power limit an H200 held 0.64 of it in FP8; below this, its limit alone does not explain a clock.
_LOWEST_CLOCK: Final = 0.55


class Judged(NamedTuple):
    """One cell of a run: its rate, what others published of such products, what that says, and what to check.

    `lo` and `hi` are the ends of the range in which it is sane: a tenth beyond what was published. `checks`
    are codes: sane may be what is only `power_limited`; too slow may be what the run itself warned of, a
    `low_clock`, variables that `steered`, or a `slow_library`; too fast predictable `data`, arrays `in_cache`,
    an `other_chip`, a `high_clock` or an `other_product`; it is not judged if it `failed` its check in some
    process, is `host_limited`, `unusual` (not steady, of normal data and alone), `unpublished`, or below what
    others measured, of products near to squares, and `memory_bound` by its sheet, as of few rows, or with
    `unstated_sums`, which may be the fast ones. `values` hold the clock that was held and the boost clock (Hz),
    where known.
    """

    cell: Cell
    rate: Estimate | None
    published: tuple[PublishedMeasurement, ...]
    lo: float | None
    hi: float | None
    sanity: Sanity
    checks: tuple[str, ...]
    values: Mapping[str, float]


def judged(side: Side, chip: Chip, measurements: Sequence[PublishedMeasurement]) -> list[Judged]:
    """Return every measured cell of `side`, of a known chip, held against the range of others' rates on it.

    Copies to a peer are left out: they are of a link, not of the chip.
    The range is of that number format and shape class. Only products as others measure them, of normal data at a
    steady rate, are held against it. A rate above the chip's peak at the clock it held is too fast in any case;
    where that peak is not known, one above the published peak by a tenth.

    Most published rates are means of some 30 or 100 calls, over before a power limit slows the chip down. So a
    rate below the range is sane if the power limit, at its default, held the clock back, and if so many cycles
    a call would be within the range at the boost clock.
    """
    cells = dict.fromkeys([*side.estimates, *side.failed])
    return [_judged(cell, side, chip, measurements) for cell in cells if cell.operation != PEER_COPY]


def _judged(cell: Cell, side: Side, chip: Chip, measurements: Sequence[PublishedMeasurement]) -> Judged:
    rate = side.estimates.get(cell)
    alike = tuple(one for one in measurements if _is_alike(one, cell))
    lo = min(one.rate for one in alike) * (1 - ALLOWANCE) if alike else None
    hi = max(one.rate for one in alike) * (1 + ALLOWANCE) if alike else None
    values = _clocks(cell, side, chip)
    reason = "failed" if cell in side.failed else _unjudged(cell, rate, hi)
    if rate is not None and reason not in {"failed", "host_limited"} and _is_too_fast(cell, rate, side, chip, hi):
        return Judged(cell, rate, alike, lo, hi, "too fast", _if_fast(cell, rate, values), values)
    if rate is None or reason is not None:
        return Judged(cell, rate, alike, lo, hi, "not judged", (reason or "failed",), values)
    if lo is None or rate.rate >= lo:
        return Judged(cell, rate, alike, lo, hi, "sane", (), values)
    sanity, checks = _below(cell, rate, side, chip, lo, values)
    return Judged(cell, rate, alike, lo, hi, sanity, checks, values)


def _below(
    cell: Cell, rate: Estimate, side: Side, chip: Chip, lo: float, values: Mapping[str, float]
) -> tuple[Sanity, tuple[str, ...]]:
    """Return what a rate below the range is, and why."""
    if cell.fast_accumulate is False:
        return "not judged", ("unstated_sums",)
    if _is_memory_bound(cell, chip):
        return "not judged", ("memory_bound",)
    if _is_power_limited(rate, side, values, lo):
        return "sane", ("power_limited",)
    return "too slow", _if_slow(rate, side, values)


def _is_alike(published: PublishedMeasurement, cell: Cell) -> bool:
    """Whether somebody measured this format in this shape class; the best of many shapes is of large ones."""
    if published.shape is None:
        return cell.dtype_name == published.dtype and shape_class(cell.shape) == "large"
    m, n, k = published.shape
    return cell.dtype_name == published.dtype and shape_class(cell.shape) == shape_class(Shape(m=m, n=n, k=k))


def _unjudged(cell: Cell, rate: Estimate | None, hi: float | None) -> str | None:
    """Return why a rate cannot be held against the range, None if it can."""
    if rate is not None and rate.host_limited:
        return "host_limited"
    if not _is_usual(cell):
        return "unusual"
    return "unpublished" if hi is None else None


def _is_usual(cell: Cell) -> bool:
    return {"data": cell.data, "regime": cell.regime, "load": cell.load or USUAL["load"]} == USUAL


def _is_memory_bound(cell: Cell, chip: Chip) -> bool:
    """Whether a product does fewer operations for a byte it moves than the chip's published peaks ask for."""
    peak, bandwidth = published_peak(chip, cell.figures), published_peak(chip, BANDWIDTH)
    return peak is not None and bandwidth is not None and cell.flop * bandwidth.rate < cell.bytes_moved * peak.rate


def _is_too_fast(cell: Cell, rate: Estimate, side: Side, chip: Chip, hi: float | None) -> bool:
    """Whether the rate exceeds the range, or the peak at the clock held (or, without that, the published one)."""
    if hi is not None and rate.rate > hi and _is_usual(cell):
        return True
    clock = side.clocks.get(cell)
    at_clock = peak_at_clock(chip, cell.figures, clock) if clock else None
    if at_clock is not None:
        return rate.rate > ROUNDING * at_clock.rate
    peak = published_peak(chip, cell.figures)
    return peak is not None and rate.rate > (1 + ALLOWANCE) * peak.rate


def _clocks(cell: Cell, side: Side, chip: Chip) -> dict[str, float]:
    boost, clock = chip.number("boost_clock"), side.clocks.get(cell)
    return {} if clock is None or boost is None else {"clock": clock, "boost": boost}


def _is_power_limited(rate: Estimate, side: Side, values: Mapping[str, float], lo: float) -> bool:
    """Whether only the power limit, at its default, and nothing amiss, keeps a rate below the range."""
    amiss = {state for context in side.contexts for state in context.states} & {*_STATES} | rate.caveats & {
        *FAULTS
    }
    if POWER_CAP not in rate.caveats or amiss or not values:
        return False
    share = values["clock"] / values["boost"]
    return share >= _LOWEST_CLOCK and rate.rate / share >= lo


def _if_fast(cell: Cell, rate: Estimate, values: Mapping[str, float]) -> tuple[str, ...]:
    if cell.operation in STREAMS:
        return ("in_cache",) if "in_cache" in rate.caveats else ("other_chip",)
    data = [] if cell.data == "normal" else ["data"]
    high = ["high_clock"] if values and values["clock"] > ROUNDING * values["boost"] else []
    return (*data, *high, "other_product")


def _if_slow(rate: Estimate, side: Side, values: Mapping[str, float]) -> tuple[str, ...]:
    states = {state for context in side.contexts for state in context.states}
    checks: list[str] = [name for name in _STATES if name in states]
    checks += [name for name in _OF_CELL if name in rate.caveats]
    checks += ["low_clock"] if values and values["clock"] < _LOW_CLOCK * values["boost"] else []
    checks += ["steered"] if any(context.variables for context in side.contexts) else []
    return tuple(checks) or ("slow_library",)

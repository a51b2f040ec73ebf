"""The title of a picture of one measurement: what its rate and its clock did, as far as its blocks show it."""

from collections.abc import Iterator
from itertools import chain
from types import MappingProxyType
from typing import Final

from bench.analysis.drift import drift
from bench.analysis.estimates import Estimate
from bench.devices.nvidia.nvml import POWER_CAP
from bench.measure.measurement import Measurement, WarmUp
from bench.measure.policy import BURST, sustained_s
from bench.published.chips import Chip
from bench.records.record import Header, Reading
from bench.report.columns import KINDS, error_text
from bench.report.plots.layout import shortened
from bench.report.plots.names import LONG, bound, format_text
from bench.report.view import percent
from bench.units import format_si
from bench.workloads.base import Cell

_DATA: Final = MappingProxyType({"zeros": " of zeros", "constant": " of constant data"})
_MOVED: Final = 0.03  # a clock that differs by less has stayed


def title_of(header: Header, measurement: Measurement, reading: Reading, rate: Estimate, chip: Chip | None) -> str:
    """Return the finding: the rate with its interval, whether it drifted, and what became of the clock."""
    device = bound(shortened(chip.name if chip else header.device.name, LONG))
    origin = "" if header.origin == "measured" else f"{KINDS[header.origin].capitalize()}: "
    cell = measurement.cell
    duration = sustained_s(cell.regime)
    verb, long = ("ran at", "") if duration is None else ("held", f" for {duration:g} s")
    error = f" {error_text(rate)}".rstrip()
    value = bound(f"{format_si(rate.rate, cell.rate_label)}{error}")
    alike = "" if drift(measurement) != 0 or _is_doubtful(reading) else " without drift"
    after = "; ".join(chain(_rate(measurement, reading, rate), _clock(header, measurement, reading, rate)))
    said = f"{_named(cell)} on the {device} {verb} {value}{long}{alike}"
    return f"{origin}{said}{f'; {after}' if after else ''}"


def _first_clock(warm_up: WarmUp | None) -> float | None:
    """Return the clock in Hz of the first block whose is known, before any sample."""
    return next((clock for clock in (warm_up and warm_up.sm_clock_hz) or () if clock is not None), None)


def _named(cell: Cell) -> str:
    """Return what was measured, as a sentence begins with it: 'BF16 8192³'."""
    name = format_text(cell.dtype) if cell.dtype else cell.dtype_name.upper()
    fast = ", summed fast," if cell.fast_accumulate else ""
    text = f"{name} {cell.size_text}{fast}"
    if cell.is_transfer:
        peer = f" {cell.peer_text}" if cell.peer_text else ""
        text = f"{cell.operation.replace('_', ' ').capitalize()} of {cell.size_text} arrays{peer}"
    return f"{text}{_DATA.get(cell.data or '', '')}{' in bursts' if cell.regime == BURST else ''}"


def _is_doubtful(reading: Reading) -> bool:
    """Whether the samples are such that their median or its interval says less than it seems to."""
    return reading.summary is not None and (reading.summary.bimodal or reading.summary.autocorrelated)


def _rate(measurement: Measurement, reading: Reading, rate: Estimate) -> Iterator[str]:
    """Yield what the median does not say of the rate."""
    moved = drift(measurement)
    if rate.host_limited:
        yield "the host set this rate, not the device"
    if reading.summary is not None and reading.summary.bimodal:
        yield "two speeds took turns, and the median stands for neither"
    if moved:
        yield f"from the first third of its blocks to the last it {_went(moved)} by {percent(abs(moved), 2)}"
    elif reading.summary is not None and reading.summary.autocorrelated:
        yield "its blocks depend on each other"


def _clock(header: Header, measurement: Measurement, reading: Reading, rate: Estimate) -> Iterator[str]:
    """Yield what the clock did from the first block on, and whether the power limit made it do so."""
    held, first = reading.sm_clock_hz, _first_clock(measurement.warm_up)
    if held is None:
        return
    moved = 0.0 if first is None else held / first - 1
    has_moved = first is not None and abs(moved) > _MOVED
    course = f"from {_hertz(first or held)} to {_hertz(held)}"
    watts = header.power_limit_w
    limit = "its power limit" if watts is None else f"its power limit of {watts:g} W"
    if POWER_CAP not in rate.caveats:
        yield f"its clock {_went(moved)} {course}" if has_moved else f"its clock was {_hertz(held)}"
    elif has_moved and moved < 0:
        yield f"{limit} brought its clock down {course}"
    else:
        yield f"{limit} held its clock at {_hertz(held)}"


def _went(moved: float) -> str:
    return "fell" if moved < 0 else "rose"


def _hertz(clock: float) -> str:
    return bound(format_si(clock, "Hz", digits=3))

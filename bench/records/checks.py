"""What no line of a record can say, though it is of the right types: each check returns what is wrong, or None."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from bench.devices.base import Check, OperandData, Spread, Telemetry
from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.measure.policy import sustained_s
from bench.measure.search import Search
from bench.units import MOST, NUMBER_TYPES, format_si
from bench.workloads.base import Cell

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MAY_BE_ZERO: Final = ("power_w", "temperature_c")  # sensors lie, and are recorded as they do
_SMALLEST, _LARGEST = 1e-18, 1e18  # no seconds, cycles, hertz or watts of a call are beyond
_COMPLAINTS: Final = {"seconds_per_call": "a call took {} s"}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199  # a machine whose clock was never set begins with the first


def wrong_time(name: str, text: str | None) -> str | None:
    """Return what is wrong with a time in UTC, which may be absent. Clocks step back: their order is not asked."""
    if text is None:
        return None
    try:
        if _TIME.fullmatch(text) and _FIRST_YEAR <= datetime.fromisoformat(text).year <= _LAST_YEAR:
            return None
    except ValueError:
        pass
    return f"{name} {text!r} is no time like 2026-01-02T03:04:05Z"


class OneOf(Protocol):
    """One of several: `index` counts from 0."""

    @property
    def index(self) -> int:
        """Which one it is."""
        ...

    @property
    def of(self) -> int:
        """How many there are."""
        ...


def wrong_header(
    times: tuple[str, str | None], places: Mapping[str, OneOf | None], cells: Iterable[Cell]
) -> str | None:
    """Return what is wrong with when a record was begun and what it replays, which of several it is, its plan."""
    found = [wrong_time("started", times[0]), wrong_time("replayed_from", times[1])]
    found += [
        f"{name} {place.index} (from 0) of {place.of} cannot be"
        for name, place in places.items()
        if place is not None and place.index >= place.of
    ]
    return next(filter(None, (*found, *map(_wrong_cell, cells))), None)


def _wrong_cell(cell: Cell) -> str | None:
    """Return what is wrong with a planned cell: a number format that there is not, or a regime that is none."""
    for name in ("input", "compute", "output"):
        number_type = getattr(cell, name)
        if number_type is not None and number_type not in NUMBER_TYPES:
            return f"{name} {number_type!r} of {cell.operation} is no number format"
    try:
        sustained_s(cell.regime)
    except ValueError as error:
        return f"regime {cell.regime!r} of {cell.dtype_name}: {error}"
    return None


def wrong_samples(samples: Samples) -> str | None:
    """Return what is wrong with columns of samples."""
    columns = samples.columns()
    if len({len(column) for column in columns.values()}) > 1:
        return "the columns of the samples differ in length"
    return next((text for name, column in columns.items() if (text := _wrong_column(name, column))), None)


def _wrong_column(name: str, column: Sequence[float]) -> str | None:
    least = -_LARGEST if name in _MAY_BE_ZERO else _SMALLEST
    if not column or (least < min(column) and max(column) < _LARGEST):
        return None
    wrong = next(value for value in column if not least < value < _LARGEST)
    return _COMPLAINTS.get(name, name + " is {}").format(wrong)


def wrong_measurement(measurement: Measurement) -> str | None:
    """Return what is wrong with a measurement, but for its columns of samples."""
    if measurement.calls_per_block < 0:
        return f"calls_per_block is {measurement.calls_per_block}"
    found = None if measurement.warm_up is None else _wrong_warm_up(measurement.warm_up)
    found = found or (None if measurement.check is None else _wrong_check(measurement.check))
    found = found or (None if measurement.search is None else _wrong_search(measurement.search))
    found = found or (None if measurement.telemetry is None else _wrong_telemetry(measurement.telemetry))
    found = found or next((text for data in measurement.data.values() if (text := _wrong_data(data))), None)
    count = len(measurement.samples.seconds_per_call)
    if found is None and (measurement.stop == "failed") == bool(count):
        return f"stop is {measurement.stop}, with {count} samples"
    return found


def _wrong_warm_up(warm_up: WarmUp) -> str | None:
    clocks = warm_up.calls if warm_up.sm_clock_hz is None else warm_up.sm_clock_hz
    if not len(warm_up.seconds_per_call) == len(warm_up.calls) == len(clocks):
        return "the columns of the warm-up differ in length"
    if min(warm_up.calls, default=1) < 1:
        return f"a block of the warm-up had {min(warm_up.calls)} calls"
    return _wrong_column("seconds_per_call", warm_up.seconds_per_call)


def _wrong_check(check: Check) -> str | None:
    for name in ("tolerance", "rows", "rows_error", "product_error"):
        value = getattr(check, name)
        if value is not None and value < 0:
            return f"{name} of the check is {value}"
    error = math.inf if check.rows_error is None else check.rows_error
    if check.passed and error > check.tolerance:
        return f"a check passed with an error of {error:g}, where {check.tolerance:g} is allowed"
    return None


def _wrong_telemetry(seen: Telemetry) -> str | None:
    """Return what is wrong with what was made of the readings; what sensors said is kept, though they may lie."""
    if seen.readings < 0 or seen.seconds < 0:
        return f"the sensors were read {seen.readings} times in {seen.seconds} s"
    for name in ("sm_clock_hz", "memory_clock_hz", "power_w", "temperature_c"):
        spread: Spread | None = getattr(seen, name)
        if spread is not None and not -_LARGEST < spread.least <= spread.median <= spread.most < _LARGEST:
            return f"{name} went from {spread.least} to {spread.most}, and half of the time below {spread.median}"
    for reason, share in (seen.event_reasons or {}).items():
        if not 0 <= share <= 1:
            return f"the share of readings with {reason} is {share}"
    return None


def _wrong_data(data: OperandData) -> str | None:
    if data.sd < 0 or not 0 <= data.zero_share <= 1:
        return f"operands have a standard deviation of {data.sd} and a share of zeros of {data.zero_share}"
    return None


def _wrong_search(search: Search) -> str | None:
    if not len(search.candidate) == len(search.calls) == len(search.seconds_per_call):
        return "the columns of the search differ in length"
    named = {*search.candidate, search.chosen}
    if not 0 <= min(named) <= max(named) < len(search.candidates):
        return f"the search names candidates {min(named)} to {max(named)}, and there are {len(search.candidates)}"
    if search.after < 0 or min(search.calls, default=1) < 1:
        return f"the search came after {search.after} blocks, and one of its own had {min(search.calls)} calls"
    return None


def beyond_any_device(cell: Cell, seconds: float) -> str | None:
    """Return what is wrong with a time that makes a rate beyond every device, so that it is no measured one."""
    unit, rate = cell.rate_unit, cell.work / seconds
    if unit is None or rate <= MOST[unit]:
        return None
    found, most = (format_si(one, cell.rate_label) for one in (rate, MOST[unit]))
    return (
        f"its times make {found}, beyond any device (above {most}), so they are wrong; measure again, and report "
        "this with the record"
    )

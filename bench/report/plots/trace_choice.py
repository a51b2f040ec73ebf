"""Which measurement of a record a picture of one shows: the one that was asked for, else the longest."""

import re
from collections.abc import Sequence
from typing import Final

from bench.analysis.estimates import measured_rate
from bench.errors import InvalidRequest, RecordError
from bench.measure.measurement import Measurement
from bench.measure.policy import sustained_s
from bench.records.record import reduce
from bench.report.columns import by_library
from bench.report.view import few
from bench.report.wording import failure
from bench.workloads.base import Cell

_LISTED: Final = 6


def chosen(measurements: Sequence[Measurement], *, dtype: str | None, label: str | None) -> Measurement:
    """Return the measurement that was asked for; of several the one sampled longest, sustained first.

    `dtype` names a product's number format. `label` holds words of the cell's label, as 'zeros', its size in any
    of the forms '8192³', '8192' and '8192x8192x8192', and its library; a cell of just that label goes before
    others. Raises InvalidRequest if nothing fits, RecordError if what fits has no rate.
    """
    asked = [text for text in (dtype and f"--dtype {dtype}", label is not None and f"--cell {label!r}") if text]
    fitting = [one for one in measurements if _fits(one.cell, dtype, label)]
    if not fitting and measurements and asked:
        held = few([by_library(one.cell) for one in measurements], _LISTED)
        message = f"no measurement of the record fits {' '.join(asked)}; it holds {held}"
        raise InvalidRequest(message)
    found = [one for one in fitting if measured_rate(reduce(one)) is not None]
    if not found:
        raise no_rate(fitting)
    return max(found, key=lambda one: (_is_named(one.cell, label), _is_sustained(one.cell), _sampled_s(one)))


def no_rate(failed: Sequence[Measurement]) -> RecordError:
    """Return the error that none of some measurements has a rate."""
    if not failed:
        return RecordError(
            "the record holds no measurement yet, so there is nothing to draw; resume its run first"
        )
    first = failed[0]
    more = f", as have {len(failed) - 1} more" if len(failed) > 1 else ""
    why = failure(reduce(first)) or "its rate is not known"
    return RecordError(f"{by_library(first.cell)} has no rate ({why}){more}; name another cell, or measure again")


def _fits(cell: Cell, dtype: str | None, label: str | None) -> bool:
    if dtype is not None and (cell.dtype_name != dtype or cell.is_transfer):
        return False
    words = _asked(label or "", cell)
    return label is None or (bool(words) and words <= _words(f"{cell.label} {cell.library}"))


def _is_named(cell: Cell, label: str | None) -> bool:
    return label is not None and _asked(label, cell) == _words(cell.label)


def _asked(label: str, cell: Cell) -> set[str]:
    """Return the words of what was asked for; a lone number is a square product's size."""
    shape = cell.shape
    return {f"{shape.m}³" if shape and word == str(shape.m) else word for word in _words(label)}


def _words(text: str) -> set[str]:
    """Return the words of a label, sizes all written in one way."""
    crossed = re.sub(r"(?<=\d)[x*](?=\d)", "×", text.lower())
    cubed = re.sub(r"\b(\d+)×\1×\1\b", r"\1³", crossed)
    return {*re.split(r"[\s(),]+", cubed)} - {""}


def _is_sustained(cell: Cell) -> bool:
    return sustained_s(cell.regime) is not None


def _sampled_s(measurement: Measurement) -> float:
    return measurement.calls_per_block * sum(measurement.samples.seconds_per_call)

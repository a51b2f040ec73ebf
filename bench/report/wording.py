"""The sentences for what a record holds as data: warnings (number, cause, next step), stops, checks."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bench.devices.base import Caveat, Check
from bench.records.record import Reading

Values = Mapping[str, float | str]


def _not_flat(values: Values) -> str:
    return (
        f"the rate still moved after {values['seconds']:.1f} s of warm-up; close other programs, or run longer "
        "(without --quick)"
    )


def _autocorrelated(values: Values) -> str:
    return (
        f"blocks depend on each other, even in groups of {values['merged']:.0f} (a slow drift, or other work on "
        "the machine), so the interval may be too narrow; measure several processes with --processes 3"
    )


def _bimodal(_values: Values) -> str:
    return "two different speeds took turns (a changing clock, or other work); the median stands for neither"


def _outliers(values: Values) -> str:
    return f"{values['count']:.0f} of {values['n']:.0f} blocks lie far from the median; all were kept"


def _busy(values: Values) -> str:
    share = 100 * float(values["share"])
    return (
        f"other work took {share:.0f} % of the processor just before the run; close it, or wait until it is done"
    )


def _variable(values: Values) -> str:
    return f"{values['name']}={values['value']} is set and steers the library; unset it"


WORDING: Final = MappingProxyType[str, Callable[[Values], str]](
    {
        "not_flat": _not_flat,
        "autocorrelated": _autocorrelated,
        "bimodal": _bimodal,
        "outliers": _outliers,
        "busy": _busy,
        "variable": _variable,
    }
)


def sentence(caveat: Caveat) -> str:
    """Return the sentence for a warning; one that another version made is shown as it was recorded."""
    try:
        return WORDING[caveat.code](caveat.values)
    except (KeyError, TypeError, ValueError):
        return f"warning {caveat.code} {dict(caveat.values)}"


def failure(reading: Reading) -> str | None:
    """Return why a cell has no rate to show, or None if it has one."""
    if reading.passed:
        return None
    if reading.failure is not None:
        return reading.failure
    if reading.check is None:
        return "not checked"
    return f"wrong result: {_errors(reading.check)}"


def _errors(check: Check) -> str:
    rows = "not a number" if check.rows_error is None else f"{check.rows_error:.1e}"
    product = "not a number" if check.product_error is None else f"{check.product_error:.1e}"
    return f"row error {rows} (allowed {check.tolerance:.0e}), whole-matrix error {product}"

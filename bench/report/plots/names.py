"""What sides, formats and figures are called in a picture: chips as people know them, if that tells them apart."""

from collections.abc import Mapping, Sequence
from typing import Final

from bench.analysis.compare import Side
from bench.errors import InvalidRequest, RecordError
from bench.report.plots.layout import listed, shortened
from bench.report.view import significant
from bench.units import Dtype, format_si

FIRST_CHOICE: Final = "bf16"  # the format that a picture is of, where several would do
LONG, SHORT = 44, 22  # characters of a name in a title, where all are named and where two are
_MOST: Final = 34  # characters, for which there is room
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def chosen_format(counts: Mapping[Dtype, int], wanted: Dtype | None, *, none: str, lacks: str) -> Dtype:
    """Return the number format to draw: the wanted one, else the one of the highest count; of several bf16.

    Raises RecordError, with the text `none`, if all counts are 0, and InvalidRequest, which begins with the text
    `lacks`, if that of the wanted one is.
    """
    known = [dtype for dtype, count in counts.items() if count]
    if not known:
        raise RecordError(none)
    if wanted is not None and wanted not in known:
        message = f"{lacks} in {wanted.name}; --dtype can be {listed([dtype.name for dtype in known], 'or')}"
        raise InvalidRequest(message)
    return wanted or max(known, key=lambda dtype: (counts[dtype], dtype.name == FIRST_CHOICE))


def names_of(sides: Sequence[Side]) -> list[str]:
    """Return a name for each side: that of its chip or device if no other side has it, else its label."""
    full = [device_of(side) for side in sides]
    short = without_maker(full)
    return [
        shortened(short[index] if full.count(name) == 1 else sides[index].label, _MOST)
        for index, name in enumerate(full)
    ]


def device_of(side: Side) -> str:
    """Return the name of a side's chip, or of its device if that is no known chip."""
    return side.chip.name if side.chip else side.name


def without_maker(names: Sequence[str]) -> list[str]:
    """Return the names without the first word if all of several have the same, which tells nothing then."""
    words = [name.split() for name in names]
    common = len({*names}) > 1 and len({some[0] for some in words if some}) == 1 and min(map(len, words)) > 1
    return [" ".join(some[1:]) for some in words] if common else [*names]


def bound(text: str) -> str:
    """Return a text that no line break may part."""
    return text.replace(" ", _NO_BREAK)


def unbound(text: str) -> str:
    """Return a text with plain spaces, for what breaks no lines."""
    return text.replace(_NO_BREAK, " ")


def format_text(dtype: Dtype) -> str:
    """Return a number format as it is written in prose: 'BF16'."""
    return dtype.name.upper().replace("_", " ")


def rate_text(rate: float, unit: str) -> str:
    """Return a rate with four digits, but for zeros at the end: '4.8 TB/s'."""
    value, _, prefixed = format_si(rate, unit).partition(" ")
    return f"{_without_zeros(value)} {prefixed}"


def ridge_text(ridge: float) -> str:
    """Return a ridge with three digits, but for zeros at the end: '37'."""
    return _without_zeros(significant(ridge, 3))


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text

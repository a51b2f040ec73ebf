"""The number that a cell of a table begins with, by which its column can be sorted."""

import math
import re
from collections.abc import Sequence
from typing import Final

from bench.units import PREFIXES

_NOTHING: Final = {"", "–", "?", "none"}
# What units may have a prefix; longer ones first, as one may begin as another does.
_BASES: Final = ("FLOPS", "FLOP", "OPS", "OP", "bit", "Hz", "B", "W", "J", "V", "s")
_FACTORS: Final = {
    **{prefix: 10.0**exponent for prefix, exponent in PREFIXES},
    "u": 1e-6,
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", start=1)},
}
_WORDS: Final = {"min": 60.0, "h": 3600.0}
_NUMBER: Final = re.compile(
    r"[≥≤<>~≈±$€+ ]*"
    r"(?P<sign>[-−]?)(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)(?P<power>e[+-]?[0-9]+)?"
    r"(?P<space> ?)(?P<unit>[A-Za-zµ]*)"
)
_UNIT: Final = re.compile(f"(?P<prefix>{'|'.join(_FACTORS)})(?:{'|'.join(_BASES)})")


def sort_keys(texts: Sequence[str]) -> list[float | None]:
    """Return the numbers of a column's cells in base units, None for a cell without one.

    A column where most cells that say something begin with no number is one of words, and has none at all.
    """
    keys = [sort_key(text) for text in texts]
    found, said = sum(key is not None for key in keys), sum(text not in _NOTHING for text in texts)
    return keys if 2 * found >= said else [None] * len(keys)


def sort_key(text: str) -> float | None:
    """Return the number that a text begins with, in base units: 1.2e15 of '≥ 1.2 PFLOP/s'.

    None if it begins with none, or with one that is part of a word, a date or a version: '3A', '2023-10-17'.
    """
    found = _NUMBER.match(text)
    if found is None or (factor := _factor(found, text[found.end() :])) is None:
        return None
    value = float(found["number"].replace(",", "") + (found["power"] or "")) * factor
    return (-value if found["sign"] else value) if math.isfinite(value) else None


def _factor(found: re.Match[str], rest: str) -> float | None:
    """Return what the unit after a number multiplies it by; None if it is no number of its own."""
    unit = found["unit"]
    known = _WORDS.get(unit)
    if prefixed := _UNIT.fullmatch(unit):
        known = _FACTORS[prefixed["prefix"]]
    if found["space"] or known:
        return known or 1.0
    part_of_more = re.match(r"[-.:,/]?[0-9]", rest)
    return 1.0 if unit == "x" or (unit == "" and part_of_more is None) else None

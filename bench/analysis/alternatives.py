"""Whether another published value of a figure would change a verdict: one figure at a time."""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from bench.analysis.design import Design, design_of
from bench.analysis.export_rule import Verdict, judge, outcome_of
from bench.published.chips import Chip
from bench.published.figures import FIGURES, Figure, Value
from bench.published.rules import RuleBook
from bench.published.source import Source

# Beside the rates, the figures that a rule looks at.
_LOOKED_AT: Final = ("die_area", "nvlink", "pcie", "memory_bandwidth", "memory_type", "transistors")


class Other(NamedTuple):
    """Another value of a figure, with every source that gives it, and the chip's quantities with it."""

    figure: Figure
    value: Value
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    design: Design


class Flip(NamedTuple):
    """A verdict that another value would change."""

    other: Other
    before: Verdict
    after: Verdict


def others(chip: Chip, full: Chip | None) -> tuple[Other, ...]:
    """Return every other published value of the figures that rules look at, with the design that it makes."""
    looked_at = (f for name, f in chip.figures.items() if name in _LOOKED_AT or FIGURES[name].bits is not None)
    return tuple(
        _other(chip, full, figure, value)
        for figure in looked_at
        for value in dict.fromkeys(alternative.value for alternative in figure.alternatives)
        if value != figure.value
    )


def _other(chip: Chip, full: Chip | None, figure: Figure, value: Value) -> Other:
    same = [alternative for alternative in figure.alternatives if alternative.value == value]
    replaced = figure._replace(status="known", value=value, source=same[0].source)
    design = design_of(chip._replace(figures={**chip.figures, figure.name: replaced}), full)
    notes = tuple(alternative.note for alternative in same if alternative.note)
    return Other(figure, value, tuple(alternative.source for alternative in same), notes, design)


def flips(
    candidates: Sequence[Other], verdicts: Sequence[Verdict], book: RuleBook, days: Sequence[date]
) -> tuple[Flip, ...]:
    """Return the verdicts, each judged by its day in `days`, that one of the other values would change."""
    found = []
    for other in candidates:
        for before, day in zip(verdicts, days, strict=True):
            if outcome_of(other.design, before.rule, book, day) != (before.met, before.outcome):
                found.append(Flip(other, before, judge(other.design, before.rule, book, day)))
    return tuple(found)

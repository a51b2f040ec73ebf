"""How far a verdict is from changing: the nearest threshold at which it would, if one quantity alone moved."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Final

from bench.analysis.design import Design, Span
from bench.analysis.evaluation import Gap, World, outcome_in
from bench.analysis.worlds import comparisons, die_area, moved, points
from bench.published.conditions import Comparison
from bench.published.rules import Rule, RuleBook

# The quantities that may move by themselves; performance density moves with TPP, and a sum with its parts.
_AXES: Final = ("tpp", "io", "memory_bandwidth", "transistors")


def nearest_flip(  # noqa: PLR0913 - the whole of what a verdict rests on
    design: Design,
    rule: Rule,
    book: RuleBook,
    day: date,
    *,
    world: World,
    spans: Mapping[str, Span | None],
    met: bool | None,
) -> Gap | None:
    """Return the margin in `world` to the nearest threshold at which the rule would be met, or no longer be.

    `met` is the verdict. Of a quantity of which only a lower bound is known, thresholds below it count where the
    rule is met, and those above where that is unknown. None where no single number decides.
    """
    now = outcome_in(rule, world, book, day) is None
    lines, area = comparisons(rule, book), die_area(design)
    candidates: list[tuple[Fraction, Gap, Sequence[World]]] = []
    for name in _AXES:
        span, value = spans[name], world.quantities[name]
        if span is not None and value is not None:
            for at, gap, beyond in _thresholds(name, value, lines, world, area):
                if span.exact or (0 < value == span.low and met is (True if at <= value else None)):
                    candidates.append((abs(gap.relative), gap, beyond))
    for _, gap, beyond in sorted(candidates, key=lambda candidate: candidate[0]):
        if any((outcome_in(rule, other, book, day) is None) != now for other in beyond):
            return gap
    return None


def _thresholds(
    name: str, value: Fraction, lines: Sequence[Comparison], world: World, area: Fraction | None
) -> Iterator[tuple[Fraction, Gap, Sequence[World]]]:
    """Yield every value of `name` at which a comparison changes, the margin to it, and worlds at and beyond."""
    changes = points(name, lines, world, area).changes
    ordered = [Fraction(0), *changes, 2 * max(changes, default=Fraction(0))]
    for (below, at), (_, above) in pairwise(pairwise(ordered)):
        far = [at, *([(below + at) / 2] if at <= value else []), *([(at + above) / 2] if at >= value else [])]
        beyond = [moved(world, name, there, area) for there in far]
        for line, threshold in changes[at]:
            yield at, Gap(line.quantity, world.quantities[line.quantity] or Fraction(0), threshold), beyond

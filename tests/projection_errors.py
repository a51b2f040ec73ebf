"""How far projections are off where somebody measured both chips: the tables of results/README.md.

`python -m tests.projection_errors` prints them.
"""

import sys
from collections.abc import Iterator
from itertools import permutations
from statistics import median
from typing import Final, NamedTuple

from bench.analysis.hardware import architecture
from bench.analysis.project import Projection, project
from bench.analysis.sides import side_of_others
from bench.analysis.source import source_of
from bench.published.chips import Catalogue
from bench.published.measured import read_published_measurements
from bench.published.source import shipped_specs

CATALOGUE: Final = Catalogue([shipped_specs()])
OTHERS: Final = read_published_measurements([shipped_specs()])
PAIRS: Final = (
    ("h100-sxm5-80gb", "h20-96gb"),
    ("h100-sxm5-80gb", "h100-pcie-80gb"),
    ("h100-sxm5-80gb", "h800-pcie-80gb"),
    ("a100-sxm4-80gb", "a800-sxm4-80gb"),
)
FORMATS: Final = ("fp32", "tf32", "fp16", "bf16")
BEST: Final = ""  # the best of several squares


class Case(NamedTuple):
    """A product that others measured on both chips: what the one's rate makes of the other's, and what that is."""

    dtype: str
    size: str
    projection: Projection
    measured: float

    @property
    def error(self) -> float:
        """By how much the projected rate is too high, relative to the measured one."""
        return self.projection.rates.expected / self.measured - 1

    @property
    def held(self) -> bool:
        """Whether the range holds the measured rate."""
        return self.projection.rates.slow <= self.measured <= self.projection.rates.fast


def cases(source: str, target: str) -> Iterator[Case]:
    """Yield every product that others measured on both chips."""
    first, second = (side_of_others(CATALOGUE.chip(name), OTHERS[name]) for name in (source, target))
    measured = {(cell.dtype_name, cell.size_text): rate.rate for cell, rate in second.estimates.items()}
    for one in project(source_of(first), CATALOGUE.chip(target)).cells:
        key = (one.source.cell.dtype_name, one.source.cell.size_text)
        if key in measured:
            yield Case(*key, one, measured[key])


def table(source: str, target: str) -> str:
    """Return the errors of one pair as a table in Markdown: formats by sizes."""
    found = {(case.dtype, case.size): case for case in cases(source, target)}
    sizes = sorted({size for _, size in found}, key=lambda size: (size == BEST, len(size), size))
    heads = ["", *(size or "best square" for size in sizes)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for dtype in FORMATS:
        texts = [_text(found[dtype, size]) if (dtype, size) in found else "" for size in sizes]
        lines += [f"| {' | '.join([dtype, *texts])} |"] if any(texts) else []
    return "\n".join(lines)


def _text(case: Case) -> str:
    projected, measured = (f"{rate / 1e12:.4g}" for rate in (case.projection.rates.expected, case.measured))
    mark = "" if case.held else " ✗"
    return f"{projected} : {measured} ({case.error:+.1%}){mark}"


def summary() -> str:
    """Return every pair of chips of one architecture that others measured the same products of, as a table."""
    lines = ["| from | to | cases | range holds | median error | largest |", "|---|---|---|---|---|---|"]
    for source, target in permutations(OTHERS, 2):
        chips = [CATALOGUE.chip(name) for name in (source, target)]
        found = list(cases(source, target)) if architecture(chips[0]) == architecture(chips[1]) else []
        if found:
            errors = sorted((case.error for case in found), key=abs)
            held = sum(case.held for case in found)
            middle = median(errors)
            lines.append(f"| {source} | {target} | {len(found)} | {held} | {middle:+.1%} | {errors[-1]:+.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write("\n".join(f"{pair[0]} → {pair[1]}\n\n{table(*pair)}\n" for pair in PAIRS))
    sys.stdout.write(f"\n{summary()}\n")

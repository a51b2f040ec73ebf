"""How long to warm up, how much to sample and when it is enough; recorded with every run."""

import math
from typing import Annotated, Final

import msgspec

from bench.stats import MIN_SAMPLES
from bench.workloads.base import NotNegative

BURST: Final = "burst"
SUSTAINED: Final = "sustained"

QUICK_BUDGET_S: Final = 8.0
CPU_BUDGET_S: Final = 30.0
GPU_BUDGET_S: Final = 60.0
GPU_OVERHEAD_S: Final = 1.3  # a cell: filling its operands, searching algorithms, checking the product

_OVERHEAD_S: Final = 1.0  # imports, the probe for sizes, filling and checking
_LEAST_CAP_S: Final = 0.8  # room for six blocks and a little more
# A rate that takes turns between two speeds shows both only to who looks for longer than it stays with one.
_LEAST_S: Final = 3.0
_LEAST_SHARE: Final = 1 / 3  # of the cap


# Bounds of what is read of a record.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
LongerThanZero = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1e3)]
Rounds = Annotated[int, msgspec.Meta(ge=0, le=10_000)]  # all are gone through, by a replay without blocks, too


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds are of device work, but for `overhead_s`, what filling, searching and checking a cell usually take.

    `flat` and `target` are relative (0.005 is ±0.5 %).

    Warm-up runs until the last five blocks and the five before differ by less than `flat`, at least
    `warm_up_least_s` and at most `warm_up_most_s` (`cold_warm_up_most_s` for a process's first cell). Then blocks
    of at least `block_s` are sampled, six or more and for `least_s` at least, until the median's interval is
    within ±`target` or `cap_s` is spent. (Records older than schema 3 have no `least_s`: it was 0.)

    Where a library offers several algorithms, each is timed in `search_passes` shuffled rounds of blocks of at
    least `search_block_s`, and the best `finalists` again in `final_rounds` of blocks four times as long; after
    `search_most_s` no further round is begun.

    `burst` cells rest `rest_s` before each sample. Cells of a sustained load first run until their rate and clock
    are flat over `settled_window_s`, at most `settle_most_s`, so that the power limit has done its work.
    """

    seed: NotNegative = 20250409
    block_s: LongerThanZero = 0.1
    target: Share = 0.005
    least_s: Seconds = 0.0
    cap_s: Seconds = 9.0
    flat: Share = 0.003
    warm_up_least_s: Seconds = 0.5
    warm_up_most_s: Seconds = 3.0
    cold_warm_up_most_s: Seconds = 10.0
    search_passes: Rounds = 3
    search_block_s: LongerThanZero = 0.005
    finalists: Rounds = 3
    final_rounds: Rounds = 5
    search_most_s: Seconds = 3.0
    overhead_s: Seconds = 0.0
    rest_s: Seconds = 2.0
    settled_window_s: Seconds = 5.0
    settle_most_s: Seconds = 60.0

    def longest_s(self, regime: str | None, *, cold: bool) -> float:
        """Return about the most seconds that one cell takes, if a call is short against a block."""
        warm_up = (self.cold_warm_up_most_s if cold else self.warm_up_most_s) + self.overhead_s
        seconds = sustained_s(regime)
        if seconds is not None:
            return warm_up + self.settle_most_s + seconds
        rests = MIN_SAMPLES * (self.rest_s + self.block_s) if regime == BURST else 0.0
        return warm_up + max(self.cap_s, rests)


def sustained_s(regime: str | None) -> float | None:
    """Return how long a cell's load is sustained ("sustained:30" is 30 s), None if it is not of that regime.

    Raises ValueError if that is no length of time.
    """
    name, _, text = (regime or "").partition(":")
    if name != SUSTAINED:
        return None
    seconds = float(text)
    if not 0 < seconds < math.inf:
        message = f"a load cannot be sustained for {text} s"
        raise ValueError(message)
    return seconds


def fitted(cells: int, budget_s: float, *, overhead_s: float = 0.0) -> Policy:
    """Return the policy under which `cells` cells take about `budget_s` seconds in all, at the longest.

    Warm-up may take a quarter of the budget for the first cell, and for another an eighth, or its share of a
    third but a second at least, within the limits of `Policy`; sampling shares what is left after `overhead_s`
    a cell (filling, searching, checking). Where algorithms are searched, which warms up too, it is a quarter
    and 0.8 s: on an H200 the clock has come down to what the power limit allows after 0.2 s, and what follows
    are swings of a second or so, which more samples show and a longer warm-up does not end (it would take 6
    s). With very many cells the budget gives way, not the method.
    """
    share, least = (1 / 4, 0.8) if overhead_s else (1 / 3, 1.0)
    cold = min(10.0, budget_s / 4)
    warm = round(min(3.0, budget_s / 8, max(least, share * budget_s / cells)), 2)
    left = (budget_s - _OVERHEAD_S - cold - (cells - 1) * warm) / cells - overhead_s
    cap = max(_LEAST_CAP_S, round(left, 2))
    return Policy(
        cap_s=cap,
        least_s=round(min(_LEAST_S, _LEAST_SHARE * cap), 2),
        warm_up_most_s=warm,
        cold_warm_up_most_s=cold,
        overhead_s=overhead_s,
    )

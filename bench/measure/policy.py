"""How long to warm up, how much to sample and when it is enough; recorded with every run."""

from typing import Final

import msgspec

QUICK_BUDGET_S: Final = 8.0
CPU_BUDGET_S: Final = 30.0
GPU_BUDGET_S: Final = 60.0

_OVERHEAD_S: Final = 1.0  # imports, the probe for sizes, filling and checking
_LEAST_CAP_S: Final = 0.8  # room for six blocks and a little more


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds are of device work. `flat` and `target` are relative (0.005 is ±0.5 %).

    Warm-up runs until the last five blocks and the five before differ by less than `flat`, at least
    `warm_up_least_s` and at most `warm_up_most_s` (`cold_warm_up_most_s` for a process's first cell). Then
    blocks of at least `block_s` are sampled, six or more, until the median's interval is within ±`target` or
    `cap_s` is spent.
    """

    seed: int = 20250409
    block_s: float = 0.1
    target: float = 0.005
    cap_s: float = 9.0
    flat: float = 0.003
    warm_up_least_s: float = 0.5
    warm_up_most_s: float = 3.0
    cold_warm_up_most_s: float = 10.0

    def longest_s(self, *, cold: bool) -> float:
        """Return the most device seconds that one cell takes, if a call is short against a block."""
        return (self.cold_warm_up_most_s if cold else self.warm_up_most_s) + self.cap_s


def fitted(cells: int, budget_s: float) -> Policy:
    """Return the policy under which `cells` cells take about `budget_s` seconds in all, at the longest.

    Warm-up may take a quarter of the budget for the first cell and an eighth for another, within the limits of
    `Policy`; sampling shares the rest. With very many cells the budget gives way, not the method.
    """
    cold = min(10.0, budget_s / 4)
    warm = min(3.0, budget_s / 8)
    cap = (budget_s - _OVERHEAD_S - cold - (cells - 1) * warm) / cells
    return Policy(cap_s=max(_LEAST_CAP_S, round(cap, 2)), warm_up_most_s=warm, cold_warm_up_most_s=cold)

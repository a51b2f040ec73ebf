"""Verdicts on devices whose truth is known: through the whole loop, its stopping rule, pooling and `judge`.

A process draws its level around the device's true rate, with a standard deviation of 0.5 % between processes, and
its blocks have noise of their own. Each claim is a share of seeded trials, held to two standard errors of it. The
plain suite makes a few of them; the whole grid is slow. In every single trial, a side with a process that was
warned of dependence or of two modes gets no verdict.

Of two equal devices, three processes a side, at most 5 % may be called faster or slower; it is 0 to 3 %. Of a
device that is slower by 3 %, what three processes a side show is bounded by how they differ: with blocks that have
no noise at all, Welch's interval lies beyond 0.5 % in 93 % of the trials, and five a side show it in all. A GPU's
eight or nine blocks a cell show less where they are noisy, and are suspected of dependence by chance now and then.
"""

import math
from collections import Counter
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pytest

from bench.analysis.estimates import Estimate, measured_rate, pooled
from bench.analysis.verdict import FLOORS, Verdict, judge
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.records.record import reduce
from tests.simulated_noise import Noise, _NoisyTask, autoregressive, mixture, normal, sine, square
from tests.support import cell
from tests.test_coverage import POLICIES

BETWEEN: Final = 0.005  # standard deviation between fresh processes
SLOWER: Final = 0.03
FLOOR: Final = FLOORS["gpu"]  # the lesser one, so the one that is crossed by chance sooner
CELL: Final = cell()
TAINTS: Final = frozenset({"autocorrelated", "bimodal"})

PERIODS: Final = (0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 120.0)
MOVING: Final = {
    **{f"throttled, {period} s": square(period, 0.3, 0.05) for period in PERIODS},
    **{f"sine, {period} s": sine(period, 0.03) for period in PERIODS},
    **{f"{share:.0%} slower by {slower:.0%}": mixture(share, slower)
       for share, slower in ((0.3, 0.03), (0.5, 0.03), (0.4, 0.02), (0.5, 0.01))},
    "dependent": autoregressive(0.8, 0.01),
}  # fmt: skip
ALONE: Final = [(1, 1), (2, 2), (1, 2), (5, 1), (1, 5)]
# The share of trials in which three processes a side show a slowdown of 3 %, by policy and noise of the blocks: of
# 1000 to 2000 trials 92.5, 90.8, 91.2, 76.5, 87.9 and 17.5 %.
CAUGHT: Final = {
    ("cpu", 0.001): 0.91,
    ("cpu", 0.01): 0.89,
    ("quick", 0.001): 0.89,
    ("quick", 0.01): 0.74,
    ("gpu", 0.001): 0.86,
    ("gpu", 0.01): 0.14,
}


class Shares(NamedTuple):
    """What was said of b, as shares of the trials."""

    trials: int
    verdicts: Counter[Verdict]

    def of(self, *verdicts: Verdict) -> float:
        return sum(self.verdicts[one] for one in verdicts) / self.trials

    @property
    def decided(self) -> float:
        return self.of("faster", "slower")

    def allowance(self, share: float) -> float:
        return 2 * math.sqrt(share * (1 - share) / self.trials)


def scaled(noise: Noise, factor: float) -> Noise:
    """Return the noise of a device that takes `factor` times as long."""

    def errors(rng: np.random.Generator, n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return factor * noise.errors(rng, n)

    return noise._replace(errors=errors)


def process(noise: Noise, policy: Policy, seed: tuple[int, ...], slower: float = 0.0) -> Estimate:
    """Return what one fresh process measures on a device that is `slower` than it would be."""
    rng = np.random.default_rng(seed)
    level = (1 + slower) * math.exp(rng.normal(0, BETWEEN))
    found = measured_rate(reduce(measure(_NoisyTask(scaled(noise, level), rng), CELL, policy)))
    assert found is not None
    return found


def side(noise: Noise, policy: Policy, seed: tuple[int, int], count: int, slower: float = 0.0) -> Estimate:
    found = pooled([process(noise, policy, (*seed, index), slower) for index in range(count)])
    assert found is not None
    return found


def verdicts(
    noise: Noise, policy: str, trials: int, counts: tuple[int, int] = (3, 3), *, slower: float = 0.0
) -> Shares:
    """Judge b, which is `slower`, against a, each of so many processes, again and again."""
    said: Counter[Verdict] = Counter()
    for trial in range(trials):
        a = side(noise, POLICIES[policy], (trial, 0), counts[0])
        b = side(noise, POLICIES[policy], (trial, 1), counts[1], slower)
        finding = judge(a, b, floor=FLOOR)
        assert finding.verdict == "can't tell" or not TAINTS & (a.caveats | b.caveats)
        said[finding.verdict] += 1
    return Shares(trials, said)


def are_told_equal(found: Shares) -> None:
    assert found.decided <= 0.05 + found.allowance(0.05), found


def is_caught(found: Shares, share: float) -> None:
    assert found.of("slower") >= share - found.allowance(share), found
    assert found.of("faster") == 0, found


quickly = partial(verdicts, policy="quick")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("sd", [0.001, 0.01])
def test_of_two_equal_devices_few_pairs_are_called_different(sd: float, policy: str) -> None:
    are_told_equal(verdicts(normal(sd), policy, 60))


@pytest.mark.parametrize("counts", ALONE)
def test_fewer_than_three_processes_do_not_tell_equal_devices_apart(counts: tuple[int, int]) -> None:
    found = quickly(normal(0.001), trials=60, counts=counts)
    are_told_equal(found)
    assert found.of("same") == 0, "which so few cannot show"


@pytest.mark.parametrize(("policy", "sd"), [("cpu", 0.001), ("cpu", 0.01), ("gpu", 0.001)])
def test_three_processes_a_side_show_a_slowdown(policy: str, sd: float) -> None:
    is_caught(verdicts(normal(sd), policy, 60, slower=SLOWER), CAUGHT[policy, sd])


def test_five_processes_a_side_show_it_nearly_always() -> None:
    is_caught(quickly(normal(0.001), trials=60, counts=(5, 5), slower=SLOWER), 0.95)


@pytest.mark.parametrize(
    "noise", ["throttled, 0.15 s", "throttled, 5.0 s", "throttled, 120.0 s", "sine, 80.0 s", "dependent"]
)
def test_equal_devices_that_throttle_are_not_told_apart(noise: str) -> None:
    are_told_equal(quickly(MOVING[noise], trials=50))


@pytest.mark.slow
class TestGrid:
    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("sd", [0.001, 0.01])
    def test_equal(self, sd: float, policy: str) -> None:
        are_told_equal(verdicts(normal(sd), policy, 600))

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("sd", [0.001, 0.01])
    @pytest.mark.parametrize("counts", ALONE)
    def test_few_processes(self, counts: tuple[int, int], sd: float, policy: str) -> None:
        found = verdicts(normal(sd), policy, 300, counts)
        are_told_equal(found)
        assert found.of("same") == 0

    @pytest.mark.parametrize(("policy", "sd"), CAUGHT)
    def test_slower(self, policy: str, sd: float) -> None:
        is_caught(verdicts(normal(sd), policy, 800, slower=SLOWER), CAUGHT[policy, sd])

    @pytest.mark.parametrize("sd", [0.001, 0.01])
    def test_slower_by_five_processes(self, sd: float) -> None:
        is_caught(verdicts(normal(sd), "cpu", 400, (5, 5), slower=SLOWER), 0.95)

    @pytest.mark.parametrize(("policy", "trials"), [("cpu", 60), ("gpu", 300), ("quick", 300)])
    @pytest.mark.parametrize("noise", MOVING)
    def test_moving(self, noise: str, policy: str, trials: int) -> None:
        are_told_equal(verdicts(MOVING[noise], policy, trials))

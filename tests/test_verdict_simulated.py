"""Verdicts on devices whose truth is known: through the whole loop, its stopping rule, pooling and `judge`.

A process draws its level around the device's true rate, with a standard deviation of 0.5 % between processes, and
its blocks have noise of their own. Each claim is a share of seeded trials, held to two standard errors of it. The
plain suite makes a few of them; the whole grid is slow. In every single trial, a side with a process that was
warned of dependence or of two modes gets no verdict.

With three processes a side, two equal devices are called faster or slower in at most 5 % of the trials, under
every policy (it is under 1 %), and a device that is slower by 3 % is called slower in 95 %: under every policy if
blocks have noise of 0.1 % (96 %, as Welch's interval shows of blocks without any), and if they have 1 %, under a
policy that samples long (94.4 % of 10 000, which so few trials as are made here do not tell from 95 %).

The limit is how long a process samples. With noise of 1 %, six to twenty blocks leave its median unsure by nearly
as much as processes differ, so that a slowdown of 3 % is called slower in 91 % ("quick") and 84 % ("gpu", of eight
or nine blocks a cell), and of nearly all others one can't tell. Five processes a side show it under every policy.

A device that is slower by 5 %, and whose processes differ by 2 %, is called the same in at most 2 % (it is 0.1 %).
"""

import math
from collections import Counter
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pytest

from bench.analysis.estimates import Estimate, measured_rate, pooled
from bench.analysis.verdict import MARGINS, Verdict, judge
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.records.record import reduce
from tests.simulated_noise import Noise, _NoisyTask, autoregressive, mixture, normal, sine, square
from tests.support import cell
from tests.test_coverage import POLICIES, SHORT

BETWEEN: Final = 0.005  # standard deviation between fresh processes
SLOWER: Final = 0.03
GPU: Final = MARGINS["gpu"]  # the lesser ones, so those that are crossed by chance sooner
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
# By policy and noise of the blocks.
SHOWN: Final = [("cpu", 0.001), ("quick", 0.001), ("gpu", 0.001), ("cpu", 0.01)]
# What is reached where blocks of 1 % are few, of 10 000 trials.
LIMITS: Final = {"quick": 0.91, "gpu": 0.84}


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


def process(noise: Noise, policy: Policy, seed: tuple[int, ...], slower: float, between: float) -> Estimate:
    """Return what one fresh process measures on a device that is `slower` than it would be."""
    rng = np.random.default_rng(seed)
    level = (1 + slower) * math.exp(rng.normal(0, between))
    found = measured_rate(reduce(measure(_NoisyTask(scaled(noise, level), rng), CELL, policy)))
    assert found is not None
    return found


def verdicts(
    noise: Noise,
    policy: str,
    trials: int,
    counts: tuple[int, int] = (3, 3),
    *,
    slower: float = 0.0,
    between: float = BETWEEN,
) -> Shares:
    """Judge b, which is `slower`, against a, each of so many processes, again and again."""

    def side(trial: int, which: int, slower: float) -> Estimate:
        seeds = [(trial, which, index) for index in range(counts[which])]
        found = pooled([process(noise, POLICIES[policy], seed, slower, between) for seed in seeds])
        assert found is not None
        return found

    said: Counter[Verdict] = Counter()
    for trial in range(trials):
        a, b = side(trial, 0, 0.0), side(trial, 1, slower)
        finding = judge(a, b, GPU)
        assert finding.verdict == "can't tell" or not TAINTS & (a.caveats | b.caveats)
        said[finding.verdict] += 1
    return Shares(trials, said)


def are_told_equal(found: Shares) -> None:
    assert found.decided <= 0.05 + found.allowance(0.05), found


def is_caught(found: Shares, share: float = 0.95) -> None:
    assert found.of("slower") >= share - found.allowance(share), found
    assert found.of("faster") == 0, found


def is_hardly_called_the_same(found: Shares) -> None:
    assert found.of("same") <= 0.02 + found.allowance(0.02), found
    assert found.of("faster") == 0, found


quickly = partial(verdicts, policy="quick")


@pytest.mark.parametrize("policy", SHORT)
@pytest.mark.parametrize("sd", [0.001, 0.01])
def test_of_two_equal_devices_few_pairs_are_called_different(sd: float, policy: str) -> None:
    are_told_equal(verdicts(normal(sd), policy, 100))


@pytest.mark.parametrize("counts", ALONE)
def test_fewer_than_three_processes_do_not_tell_equal_devices_apart(counts: tuple[int, int]) -> None:
    found = quickly(normal(0.001), trials=60, counts=counts)
    are_told_equal(found)
    assert found.of("same") == 0, "which so few cannot show"


@pytest.mark.parametrize("policy", SHORT)
def test_three_processes_a_side_show_a_slowdown(policy: str) -> None:
    is_caught(verdicts(normal(0.001), policy, 100, slower=SLOWER))


@pytest.mark.parametrize("policy", LIMITS)
def test_of_few_noisy_blocks_they_show_it_less_often(policy: str) -> None:
    is_caught(verdicts(normal(0.01), policy, 100, slower=SLOWER), LIMITS[policy])


def test_five_processes_a_side_show_it_nearly_always() -> None:
    is_caught(quickly(normal(0.001), trials=60, counts=(5, 5), slower=SLOWER))


def test_what_is_slower_by_more_than_processes_show_is_hardly_called_the_same() -> None:
    is_hardly_called_the_same(verdicts(normal(0.001), "cpu", 100, slower=0.05, between=0.02))


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
        are_told_equal(verdicts(normal(sd), policy, 300))

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("sd", [0.001, 0.01])
    @pytest.mark.parametrize("counts", ALONE)
    def test_few_processes(self, counts: tuple[int, int], sd: float, policy: str) -> None:
        found = verdicts(normal(sd), policy, 400, counts)
        are_told_equal(found)
        assert found.of("same") == 0

    @pytest.mark.parametrize(("policy", "sd"), SHOWN)
    def test_slower(self, policy: str, sd: float) -> None:
        is_caught(verdicts(normal(sd), policy, 400, slower=SLOWER))

    @pytest.mark.parametrize("policy", LIMITS)
    def test_slower_by_few_noisy_blocks(self, policy: str) -> None:
        is_caught(verdicts(normal(0.01), policy, 400, slower=SLOWER), LIMITS[policy])

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("sd", [0.001, 0.01])
    def test_slower_by_five_processes(self, sd: float, policy: str) -> None:
        is_caught(verdicts(normal(sd), policy, 400, (5, 5), slower=SLOWER))

    @pytest.mark.parametrize("sd", [0.001, 0.01])
    def test_hardly_the_same(self, sd: float) -> None:
        is_hardly_called_the_same(verdicts(normal(sd), "cpu", 300, slower=0.05, between=0.02))

    @pytest.mark.parametrize(("policy", "trials"), [("cpu", 150), ("gpu", 200), ("quick", 200)])
    @pytest.mark.parametrize("noise", MOVING)
    def test_moving(self, noise: str, policy: str, trials: int) -> None:
        are_told_equal(verdicts(MOVING[noise], policy, trials))

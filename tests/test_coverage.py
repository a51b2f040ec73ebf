"""A cell's interval holds the device's true median, or a warning says not to trust it: through the whole loop.

Each claim is a share of seeded trials, each of which measures one simulated cell with the stopping rule of a real
run, and is held to two standard errors of that share. The plain suite makes a few of them; the whole grid is slow.

What one process cannot see, it cannot say. Of a device that takes turns with a period much longer than the cell is
sampled for at most, the interval holds the median of the while it was looked at, no more: only several processes,
far apart in time, show the rest. That begins where one of the two turns is as long as the least that is sampled, a
third of the most: of a period of the most that a cell is sampled for, three tenths are taken for the whole in 15 %
of the trials. And where one and a half blocks last a period to within some per mille, all blocks meet the same
three phases, and 17 % miss the median.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import pytest

from bench.measure.policy import Policy, fitted
from tests.simulated_noise import (
    BLOCK_S,
    Noise,
    Trial,
    autoregressive,
    exponential,
    heavy_tailed,
    mixture,
    normal,
    sine,
    square,
    trial,
    true_median,
)

CPU: Final = fitted(2, 30.0)
GPU: Final = fitted(14, 60.0, overhead_s=1.3)  # eight or nine blocks a cell
QUICK: Final = fitted(2, 8.0)
POLICIES: Final = {"cpu": CPU, "gpu": GPU, "quick": QUICK}
SHORT: Final = ("gpu", "quick")  # the policies that sample little; the long one is in the slow grid
FALSE_ALARMS: Final = {"autocorrelated", "bimodal", "stepped"}

INDEPENDENT: Final = {
    "normal 0.1 %": normal(0.001),
    "normal 1 %": normal(0.01),
    "normal 3 %": normal(0.03),
    "exponential 1 %": exponential(0.01),
    "exponential 3 %": exponential(0.03),
    "heavy tails 0.3 %": heavy_tailed(0.003),
    "heavy tails 1 %": heavy_tailed(0.01),
}
DEPENDENT: Final = {
    f"{rho} of {sd:.1%}": autoregressive(rho, sd) for rho in (0.2, 0.3, 0.5, 0.8) for sd in (0.003, 0.01, 0.03)
}
MIXED: Final = {
    f"{share:.0%} slower by {slower:.0%}": mixture(share, slower)
    for share in (0.3, 0.4, 0.5)
    for slower in (0.02, 0.03)
} | {f"{share:.0%} slower by 2%, noisy": mixture(share, 0.02, 0.003) for share in (0.4, 0.5)}
# From one and a half blocks to nine tenths of the most that a cell is sampled for.
PERIODS: Final = tuple(
    blocks * BLOCK_S for blocks in (1.55, 2, 2.7, 3, 4, 5, 6.2, 8, 10.5, 14, 19, 26, 33, 43, 52, 62, 71, 80)
)
WAVES: Final = {
    f"{name} {period:.2f} s": wave
    for period in PERIODS
    for name, wave in (
        ("a tenth slower", square(period, 0.1, 0.05)),
        ("three tenths slower", square(period, 0.3, 0.05)),
        ("sine", sine(period, 0.03)),
    )
}
LONG: Final = {
    "a tenth slower": square(60.0, 0.1, 0.05),
    "three tenths slower": square(60.0, 0.3, 0.05),
    "sine": sine(60.0, 0.03),
}


class Shares(NamedTuple):
    """Of the trials: which cover the truth, which do or warn, and which warn of dependence or of two modes."""

    trials: int
    covered: float
    honest: float
    suspected: float

    def at_least(self, share: float) -> float:
        return share - 2 * math.sqrt(share * (1 - share) / self.trials)

    def at_most(self, share: float) -> float:
        return share + 2 * math.sqrt(share * (1 - share) / self.trials)


def shares(noise: Noise, policy: Policy, trials: int, *, of_window: bool = False) -> Shares:
    truth = true_median(noise)
    found = [trial(noise, policy, seed) for seed in range(trials)]

    def covers(one: Trial) -> bool:
        return one.holds(one.window if of_window else truth)

    def part(said: Iterable[bool]) -> float:
        return sum(said) / trials

    return Shares(
        trials,
        part(covers(one) for one in found),
        part(covers(one) or bool(one.warned) for one in found),
        part(bool(one.warned & FALSE_ALARMS) for one in found),
    )


def holds_independent(noise: Noise, policy: Policy, trials: int) -> None:
    found = shares(noise, policy, trials)
    assert found.covered >= found.at_least(0.93)
    assert found.suspected <= found.at_most(0.02)


def holds(noise: Noise, policy: Policy, trials: int, *, of_window: bool = False) -> None:
    found = shares(noise, policy, trials, of_window=of_window)
    assert found.honest >= found.at_least(0.90)


@pytest.mark.parametrize("policy", SHORT)
@pytest.mark.parametrize("noise", ["normal 1 %", "exponential 1 %", "heavy tails 0.3 %"])
def test_of_independent_blocks_it_holds_the_median_and_warns_of_nothing(noise: str, policy: str) -> None:
    holds_independent(INDEPENDENT[noise], POLICIES[policy], 200)


@pytest.mark.parametrize(
    ("noise", "policy"),
    [("0.5 of 1.0%", "cpu"), ("0.8 of 0.3%", "cpu"), ("0.8 of 0.3%", "gpu"), ("0.8 of 1.0%", "gpu")],
)
def test_of_dependent_blocks_it_holds_the_median_or_is_warned_of(noise: str, policy: str) -> None:
    holds(DEPENDENT[noise], POLICIES[policy], 150)


@pytest.mark.slow
@pytest.mark.parametrize(
    "noise", ["a tenth slower 0.65 s", "three tenths slower 3.46 s", "sine 0.32 s", "sine 1.10 s"]
)
def test_of_a_clock_that_takes_turns_it_holds_the_median_or_is_warned_of(noise: str) -> None:
    holds(WAVES[noise], CPU, 100)


def test_of_two_speeds_it_holds_the_median_or_is_warned_of() -> None:
    holds(MIXED["40% slower by 3%"], CPU, 100)


def test_of_turns_too_long_to_see_it_holds_the_median_of_the_while() -> None:
    holds(LONG["three tenths slower"], CPU, 100, of_window=True)


@pytest.mark.slow
class TestGrid:
    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("noise", INDEPENDENT)
    def test_independent(self, noise: str, policy: str) -> None:
        holds_independent(INDEPENDENT[noise], POLICIES[policy], 800)

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("noise", DEPENDENT)
    def test_dependent(self, noise: str, policy: str) -> None:
        holds(DEPENDENT[noise], POLICIES[policy], 400)

    @pytest.mark.parametrize("noise", WAVES)
    def test_turns(self, noise: str) -> None:
        holds(WAVES[noise], CPU, 400)

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("noise", MIXED)
    def test_two_speeds(self, noise: str, policy: str) -> None:
        holds(MIXED[noise], POLICIES[policy], 400)

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("noise", LONG)
    def test_turns_too_long_to_see(self, noise: str, policy: str) -> None:
        holds(LONG[noise], POLICIES[policy], 400, of_window=True)

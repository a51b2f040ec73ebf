"""When a rate stepped from one level to another: what is one, what only looks like it, and how often by chance."""

import math
from typing import Final

import numpy as np
import pytest

from bench.measure.noticed import step
from tests.simulated_noise import Noise, autoregressive, exponential, heavy_tailed, mixture, normal

# Of normal samples, for which the critical values are, and of skewed ones, as those of a busy machine.
BY_CHANCE: Final = {"normal 1 %": 0.003, "normal 10 %": 0.003, "exponential 10 %": 0.01, "heavy tails 3 %": 0.003}
STEADY: Final = {
    "normal 1 %": normal(0.01),
    "normal 10 %": normal(
        0.1
    ),  # whose medians are often 3 % apart, so that the share that a step explains decides
    "exponential 10 %": exponential(0.1),
    "heavy tails 3 %": heavy_tailed(0.03),
    "0.5 of 3 %": autoregressive(0.5, 0.03),
    "0.8 of 1 %": autoregressive(0.8, 0.01),
    "two modes": mixture(0.5, 0.03),
}


def share_of_steps(noise: Noise, n: int, trials: int) -> float:
    rng = np.random.default_rng(n)
    return sum(step(noise.errors(rng, n).tolist()) is not None for _ in range(trials)) / trials


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 7, 8, 9, 12, 30, 90])
@pytest.mark.parametrize("name", BY_CHANCE)
def test_independent_noise_seldom_seems_to_step(name: str, n: int) -> None:
    trials, share = 4000, BY_CHANCE[name]
    assert share_of_steps(STEADY[name], n, trials) <= share + 3 * math.sqrt(share / trials)


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 8, 12, 30])
@pytest.mark.parametrize("name", ["0.5 of 3 %", "0.8 of 1 %", "two modes"])
def test_dependent_noise_and_turns_seldom_do(name: str, n: int) -> None:
    """Of six samples that depend on each other as much, or that took one turn, more are like one step: 1 in 20."""
    assert share_of_steps(STEADY[name], n, 1000) <= 0.05


@pytest.mark.parametrize("n", [6, 7, 8, 9, 12, 30, 90, 1000])
def test_neither_a_drift_nor_a_wave_is_a_step(n: int) -> None:
    drift = [1 + 0.5 * index / n for index in range(n)]
    half_a_turn = [1 + 0.2 * math.cos(math.pi * (index + 0.5) / n) for index in range(n)]
    a_turn = [1 + 0.2 * math.sin(2 * math.pi * (index + 0.5) / n) for index in range(n)]
    assert [step(samples) for samples in (drift, half_a_turn, a_turn)] == [None] * 3


@pytest.mark.parametrize("n", [6, 7, 8, 9, 12, 30, 90, 1000])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("level", [0.7, 1.1, 1.43])
def test_a_step_in_little_noise_is_found_where_it_is(n: int, part: float, level: float) -> None:
    at = min(max(round(part * n), 2), n - 2)
    noise = np.random.default_rng(n).normal(0, 0.003, n)
    samples = [(1.0 if index < at else level) * (1 + float(noise[index])) for index in range(n)]
    found = step(samples)
    assert found is not None
    assert found.at == at
    assert found.ratio == pytest.approx(level, rel=0.01)


@pytest.mark.parametrize("n", [6, 12, 30])
def test_back_again_is_no_step(n: int) -> None:
    """A third of another speed in the middle, as when other work came and went."""
    assert step([1.0] * (n // 3) + [1.4] * (n // 3) + [1.0] * (n // 3)) is None

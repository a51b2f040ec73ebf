"""Noise whose true median is known, in a task on a simulated clock: no real time, every seed fixed."""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.devices.base import Block, Check, OperandData, PlainTask
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.records.record import reduce
from bench.stats import Interval
from tests.support import PASSED, cell

Array = npt.NDArray[np.float64]
# How much slower than at its best the device is, on average over `seconds` from `start` (one, or many at once).
Wave = Callable[[Array, Array], Array]
Errors = Callable[[np.random.Generator, int], Array]

CALL_S: Final = 1e-3
BLOCK_S: Final = 0.105  # calls for a block of 0.1 s, and the loop's twentieth more
_MOST_BLOCKS: Final = 400  # more than any cell of these policies takes
_WARNS: Final = {"autocorrelated", "bimodal", "not_flat", "stepped"}


class Noise(NamedTuple):
    """What a block's time is multiplied by: a wave of the device's speed, at a random phase, times an error.

    `truth` is the long-run median of the blocks; None if it must be simulated.
    """

    errors: Errors
    truth: float | None = 1.0
    wave: Wave | None = None
    period_s: float = 0.0


class Trial(NamedTuple):
    """One cell's interval and warnings; `window` is the median of the wave alone while it was sampled."""

    interval: Interval
    warned: frozenset[str]
    window: float

    def holds(self, factor: float) -> bool:
        return self.interval.lo <= factor * CALL_S <= self.interval.hi


def normal(sd: float) -> Noise:
    return Noise(lambda rng, n: np.exp(rng.normal(0, sd, n)))


def exponential(scale: float) -> Noise:
    """Skewed: never faster than at best."""
    return Noise(lambda rng, n: 1 + scale * rng.exponential(1, n), truth=1 + scale * math.log(2))


def heavy_tailed(scale: float) -> Noise:
    return Noise(lambda rng, n: np.exp(scale * rng.standard_t(2, n)))


def autoregressive(rho: float, sd: float) -> Noise:
    def errors(rng: np.random.Generator, n: int) -> Array:
        steps = rng.normal(0, sd, n)
        steps[1:] *= math.sqrt(1 - rho**2)
        values, last = [], 0.0
        for step in steps.tolist():
            last = rho * last + step
            values.append(last)
        return np.exp(np.array(values, dtype=np.float64))

    return Noise(errors)


def mixture(share: float, slower: float, sd: float = 0.001) -> Noise:
    def errors(rng: np.random.Generator, n: int) -> Array:
        slow: Array = np.where(rng.random(n) < share, 1 + slower, 1.0)
        return slow * np.exp(rng.normal(0, sd, n))

    return Noise(errors, truth=None)


def square(period_s: float, share: float, slower: float, sd: float = 0.001) -> Noise:
    """A device that is slower for a share of each period."""

    def slow_until(at: Array) -> Array:
        turn = at / period_s
        within = turn % 1.0
        return (turn // 1.0 * share + (within + share - abs(within - share)) / 2) * period_s  # the lesser of both

    def wave(start: Array, seconds: Array) -> Array:
        return 1 + slower * (slow_until(start + seconds) - slow_until(start)) / seconds

    return Noise(normal(sd).errors, None, wave, period_s)


def sine(period_s: float, swing: float, sd: float = 0.001) -> Noise:
    turn = 2 * math.pi / period_s

    def wave(start: Array, seconds: Array) -> Array:
        mean: Array = (np.cos(turn * start) - np.cos(turn * (start + seconds))) / (turn * seconds)
        return 1 + swing * mean

    return Noise(normal(sd).errors, None, wave, period_s)


class _NoisyTask(PlainTask):
    """Calls of 1 ms at best, on a clock that is moved by the blocks alone."""

    cold = False
    data: Mapping[str, OperandData] = {}

    def __init__(self, noise: Noise, rng: np.random.Generator) -> None:
        self._wave = noise.wave
        self._now = np.float64(rng.uniform(0, noise.period_s)) if noise.wave else np.float64(0)
        self._errors = iter(noise.errors(rng, _MOST_BLOCKS).tolist())
        self.waves: list[float] = []

    def block(self, calls: int) -> Block:
        best = np.float64(calls * CALL_S)
        wave = float(self._wave(self._now, best)) if self._wave else 1.0  # type: ignore[arg-type]
        self.waves.append(wave)
        block = Block(calls=calls, seconds_per_call=CALL_S * wave * next(self._errors))
        self._now += block.seconds
        return block

    def verify(self) -> Check:
        return PASSED

    def close(self) -> None:
        """Hold nothing."""


def trial(noise: Noise, policy: Policy, seed: int) -> Trial:
    """Measure one cell whose blocks have this noise."""
    task = _NoisyTask(noise, np.random.default_rng(seed))
    measurement = measure(task, _CELL, policy)
    summary = reduce(measurement).summary
    assert summary is not None
    assert summary.interval is not None
    warned = frozenset(caveat.code for caveat in measurement.warnings) & _WARNS
    return Trial(summary.interval, warned, float(np.median(task.waves[-summary.n :])))


_CELL: Final = cell()


def true_median(noise: Noise) -> float:
    """Return the long-run median of the blocks: as known, or of 200 devices at random phases, 400 blocks each."""
    if noise.truth is not None:
        return noise.truth
    rng = np.random.default_rng(0)
    devices, blocks = 200, 400
    errors = noise.errors(rng, devices * blocks).reshape(blocks, devices)
    if noise.wave is None:
        return float(np.median(errors))
    now, best, taken = rng.uniform(0, noise.period_s, devices), np.full(devices, BLOCK_S), []
    for error in errors:
        taken.append(noise.wave(now, best) * error)
        now = now + best * taken[-1]
    return float(np.median(taken))

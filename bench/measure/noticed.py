"""What went wrong beside a cell, found from its blocks and sensors alone, so that a replay finds it too.

A rate that stepped from one level to another, blocks in which nothing ran for a while, a window of the sensors
that is much longer than the work in it, and readings that no device can have.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from statistics import median
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.devices.base import Caveat, Spread, Telemetry
from bench.measure.measurement import Samples
from bench.stats import MIN_SAMPLES

NOTICED: Final = ("stalled", "stepped", "idle_window", "sensors_odd")
STALL_LEAST_S: Final = 1.0  # far above what a scheduler lets a process wait for beside others
_STALL_TIMES: Final = 2.0  # what a block in which nothing ran for a while takes, of the median one
_IDLE_SHARE: Final = 0.1  # of a window without work, from which on means over it are of something else
_LEAST_PART: Final = 2  # blocks; one alone is an outlier
_APART: Final = 0.03  # as much as fresh processes differ on a GPU; a smaller step moves no verdict
_EXPLAINED: Final = 0.9
# Of six and of seven normal values, as much as the best step explains by chance in 3 of 1000 samples (from 400,000
# of each; of eight it is 0.876, and less of more).
_EXPLAINED_OF_FEW: Final = MappingProxyType({6: 0.949, 7: 0.915})

# What no device at work is: a product draws power and needs a clock, and silicon that measures itself is neither
# frozen nor above its own shutdown (about 100 °C); 255 is what a sensor of 8 bits says without a value.
_LEAST_C, _MOST_C = 1.0, 125.0
_MOST_W: Final = 6000.0
_MOST_HZ: Final = 10e9
_POWERS_AGREE: Final = 2.0  # as a quotient; two sensors of one board differ by a few per cent
_IDLE, _CAPPED = "gpu_idle", "sw_power_cap"
_POWERS: Final = ("energy_w", "power_w")
_BOTH: Final = 0.01  # share of readings


class Step(NamedTuple):
    """A level that changed once: after `at` samples, from a median of `before` to one of `after`."""

    at: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """The later level over the earlier one."""
        return self.after / self.before


def step(samples: Sequence[float]) -> Step | None:
    """Return the step that explains the samples, if one does; two samples or more on either side.

    It must take away over 90 % of their variance, as the one that a regression tree splits off first (Breiman,
    Friedman, Olshen and Stone, Classification and Regression Trees, section 8.3): 100 % of a clean step, 75 % of a
    steady drift and 81 % (8/π²) of half a turn of a sine, or of a whole one. Of fewer than eight samples, which
    seem to step by chance, it must be more: 3 of 1000 steady cells do then, if their noise is normal, and 7 of
    1000 if it is exponential. And the medians of both sides must be 3 % apart.
    """
    n = len(samples)
    if n < MIN_SAMPLES:
        return None
    centre = sum(samples) / n
    deviations = [value - centre for value in samples]
    total = sum(one * one for one in deviations)
    sums = list(accumulate(deviations))[_LEAST_PART - 1 : n - _LEAST_PART]
    # The variance between the first k and the others, times n: their sum is s, and that of the others -s.
    between, at = max((s * s * n / (k * (n - k)), k) for k, s in enumerate(sums, start=_LEAST_PART))
    if not between > _EXPLAINED_OF_FEW.get(n, _EXPLAINED) * total:
        return None
    found = Step(at, median(samples[:at]), median(samples[at:]))
    return found if max(found.ratio, 1 / found.ratio) > 1 + _APART else None


def noticed(samples: Samples, block_calls: int, spent_s: float, telemetry: Telemetry | None) -> list[Caveat]:
    """Return what the blocks of a cell, of so many calls each, and its sensors show.

    `spent_s` is how long those blocks, and the rests between them, took in all.
    """
    seconds = samples.seconds_per_call
    stood = _stood_still(seconds, block_calls)
    lost_s = sum((seconds[index] - median(seconds)) * block_calls for index in stood)
    found = []
    if stood:
        values = {"blocks": float(len(stood)), "n": float(len(seconds)), "seconds": lost_s, "of": spent_s}
        found.append(Caveat(code="stalled", values={**values}))
    found += _stepped(samples, stood)
    idle = [*_idle(spent_s, telemetry)]
    odd = odd_sensors(telemetry)
    if idle and {*_POWERS} <= {*odd}:  # two means, one of them over a window in which the device mostly idled
        odd = {name: value for name, value in odd.items() if name not in _POWERS}
    found += idle
    return [*found, Caveat(code="sensors_odd", values={**odd})] if odd else found


def said_once(caveats: Iterable[Caveat]) -> tuple[Caveat, ...]:
    """Return the warnings without those that only repeat, in general, what one of these says of its cause."""
    every = [*caveats]
    values = {caveat.code: caveat.values for caveat in every}
    repeats = set()
    if "stepped" in values:
        repeats.add("bimodal")
    if "stalled" in values and values.get("outliers", {}).get("count") == values["stalled"]["blocks"]:
        repeats.add("outliers")
    if "sm_clock_hz" in values.get("sensors_odd", {}):
        repeats.add("clocks_disagree")
    return tuple(caveat for caveat in every if caveat.code not in repeats)


def _stood_still(seconds: Sequence[float], calls: int) -> list[int]:
    """Return which blocks took at least twice as long as the median one, and a second longer."""
    usual = median(seconds)
    return [
        index
        for index, one in enumerate(seconds)
        if one >= _STALL_TIMES * usual and (one - usual) * calls >= STALL_LEAST_S
    ]


def _stepped(samples: Samples, left_out: Sequence[int]) -> Iterator[Caveat]:
    """Yield the step of a call's seconds, with what the clock and the cycles were before and after it."""
    stood = {*left_out}
    kept = [index for index in range(len(samples.seconds_per_call)) if index not in stood]
    found = step([samples.seconds_per_call[index] for index in kept])
    if found is None:
        return
    values: dict[str, float | str] = {"at": float(found.at), "n": float(len(kept)), "ratio": found.ratio}
    for name, column in (("clock", samples.sm_clock_hz), ("cycles", samples.cycles_per_call)):
        if column is not None:
            sides = [column[index] for index in kept[: found.at]], [column[index] for index in kept[found.at :]]
            values |= {f"{name}_before": median(sides[0]), f"{name}_after": median(sides[1])}
    yield Caveat(code="stepped", values=values)


def _idle(spent_s: float, telemetry: Telemetry | None) -> Iterator[Caveat]:
    """Yield that the sensors were watched for much longer than blocks ran, so the process stood still between."""
    if telemetry is None:
        return
    idle_s = telemetry.seconds - spent_s
    if idle_s >= STALL_LEAST_S and idle_s > _IDLE_SHARE * telemetry.seconds and telemetry.lost is None:
        yield Caveat(code="idle_window", values={"seconds": idle_s, "of": telemetry.seconds})


def odd_sensors(telemetry: Telemetry | None) -> dict[str, float]:
    """Return what the sensors of a device at work cannot have said, by the name of the reading, and the value.

    The energy counter stands as its mean in watts. `event_reasons` is the share of readings that said both that
    nothing ran and that it drew too much.
    """
    if telemetry is None:
        return {}
    found: dict[str, float] = {}
    bounds: tuple[tuple[str, Spread | None, float, float], ...] = (
        ("sm_clock_hz", telemetry.sm_clock_hz, 1.0, _MOST_HZ),
        ("memory_clock_hz", telemetry.memory_clock_hz, 1.0, _MOST_HZ),
        ("power_w", telemetry.power_w, 1e-3, _MOST_W),
        ("temperature_c", telemetry.temperature_c, _LEAST_C, _MOST_C),
    )
    for name, spread, least, most in bounds:
        odd = [] if spread is None else [value for value in _values(spread) if not least <= value <= most]
        if odd:
            found[name] = odd[-1]
    found |= _odd_energy(telemetry, found)
    reasons = telemetry.event_reasons or {}
    both = reasons.get(_IDLE, 0.0) + reasons.get(_CAPPED, 0.0) - 1
    return found | ({"event_reasons": both} if both > _BOTH else {})


def _values(spread: Spread) -> tuple[float, float, float]:
    return spread.least, spread.median, spread.most


def _odd_energy(telemetry: Telemetry, odd: dict[str, float]) -> dict[str, float]:
    """Return the mean power by the energy counter if it stood still, or is nothing like what the sensor said."""
    if telemetry.energy_j is None or not telemetry.energy_s:
        return {}
    watts = telemetry.energy_j / telemetry.energy_s
    if not 0 < watts <= _MOST_W:
        return {"energy_w": watts}
    if telemetry.power_w is None or "power_w" in odd:
        return {}
    quotient = watts / telemetry.power_w.median
    if 1 / _POWERS_AGREE <= quotient <= _POWERS_AGREE:
        return {}
    return {"energy_w": watts, "power_w": telemetry.power_w.median}

"""The measuring loop: warm up until flat, sample blocks until precise or the cap, check, keep everything."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Literal

import msgspec

from bench.devices.base import Block, Caveat, Check, OperandData, Task
from bench.errors import BackendUnavailable
from bench.measure.policy import Policy
from bench.stats import MIN_SAMPLES, Summary, summarise
from bench.workloads.base import Cell

Stop = Literal["precision", "time_cap", "exhausted", "failed"]
OnBlock = Callable[[float], None]

_WINDOW = 5
_FASTEST_GROWTH = 10


class Samples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value a block, as columns: the mean seconds per call, and cycles and clock where the device tells."""

    seconds_per_call: tuple[float, ...]
    cycles_per_call: tuple[float, ...] | None = None
    sm_clock_hz: tuple[float, ...] | None = None

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "Samples":
        """Return the columns of some blocks; one that not every block has is left out."""
        return cls(
            seconds_per_call=tuple(block.seconds_per_call for block in blocks),
            cycles_per_call=_column([block.cycles_per_call for block in blocks]),
            sm_clock_hz=_column([block.sm_clock_hz for block in blocks]),
        )


class WarmUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Every block before the first sample: how many calls each had, what one call took, the clock where told.

    `cold`: nothing had run in the process before. `flat`: it ended because the rate no longer moved.
    """

    cold: bool
    flat: bool
    calls: tuple[int, ...]
    seconds_per_call: tuple[float, ...]
    sm_clock_hz: tuple[float | None, ...] | None = None


class Measurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="measurement",
):
    """All that was measured of one cell. Statistics are not kept: they are functions of `samples`.

    `stop` tells which rule ended the sampling; "failed" means that there are no samples and `failure` says
    why. `algorithm` names what the library chose, where it tells.
    """

    cell: Cell
    stop: Stop
    samples: Samples = Samples(seconds_per_call=())
    calls_per_block: int = 0
    warm_up: WarmUp | None = None
    check: Check | None = None
    data: dict[str, OperandData] = {}
    algorithm: dict[str, str | int] = {}
    warnings: tuple[Caveat, ...] = ()
    failure: str | None = None

    @property
    def passed(self) -> bool:
        """Whether there are samples of a product that was found correct."""
        return bool(self.samples.seconds_per_call) and self.check is not None and self.check.passed


def measure(task: Task, cell: Cell, policy: Policy, *, on_block: OnBlock | None = None) -> Measurement:
    """Return the measurement of `cell`, ready in `task`, under `policy`.

    `on_block` is told the seconds of each block as it ends. Raises BackendUnavailable if the device's clock
    returns nonsense. Every decision depends on the blocks alone, so a replay of them decides the same.
    """
    tell = on_block or (lambda _seconds: None)
    warm_up, calls = _warm_up(task, policy, tell)
    blocks, summary, stop = _sample(task, policy, calls, tell)
    if summary is None:
        return Measurement(cell=cell, stop="failed", warm_up=warm_up, failure="the backend gave no samples")
    return Measurement(
        cell=cell,
        stop=stop,
        samples=Samples.of(blocks),
        calls_per_block=calls,
        warm_up=warm_up,
        check=task.verify(),
        data=dict(task.data),
        warnings=_caveats(warm_up, summary),
    )


def _warm_up(task: Task, policy: Policy, tell: OnBlock) -> tuple[WarmUp, int]:
    """Run blocks of half the sampling length until flat; return them and the calls for one sample."""
    cold = task.cold
    length = policy.block_s / 2
    most = policy.cold_warm_up_most_s if cold else policy.warm_up_most_s
    blocks: list[Block] = []
    calls, spent, flat = 1, 0.0, False
    while not flat and spent < most:
        block = _timed(task, calls)
        if block is None:
            break
        blocks.append(block)
        spent += block.seconds
        tell(block.seconds)
        flat = spent >= policy.warm_up_least_s and _is_flat(blocks, length, policy.flat)
        if block.seconds < length:
            calls = min(_FASTEST_GROWTH * calls, max(calls + 1, math.ceil(length / block.seconds_per_call)))
    latest = [block.seconds_per_call for block in blocks[-_WINDOW:]]
    calls = max(1, math.ceil(1.05 * policy.block_s / median(latest))) if latest else 1
    clocks = tuple(block.sm_clock_hz for block in blocks)
    recorded = WarmUp(
        cold=cold,
        flat=flat,
        calls=tuple(block.calls for block in blocks),
        seconds_per_call=tuple(block.seconds_per_call for block in blocks),
        sm_clock_hz=clocks if any(clock is not None for clock in clocks) else None,
    )
    return recorded, calls


def _is_flat(blocks: Sequence[Block], length: float, limit: float) -> bool:
    """Whether the last five blocks of full length differ from the five before by less than `limit`.

    In time, and in clock too where the device tells it.
    """
    full = [block for block in blocks if block.seconds >= 0.8 * length][-2 * _WINDOW :]
    if len(full) < 2 * _WINDOW:
        return False
    columns: list[list[float | None]] = [
        [block.seconds_per_call for block in full],
        [block.sm_clock_hz for block in full],
    ]
    for column in columns:
        known = [value for value in column if value is not None]
        if len(known) < len(full):
            continue
        before, after = median(known[:_WINDOW]), median(known[_WINDOW:])
        if abs(after - before) >= limit * before:
            return False
    return True


def _sample(task: Task, policy: Policy, calls: int, tell: OnBlock) -> tuple[list[Block], Summary | None, Stop]:
    """Take blocks until the interval is narrow enough, the cap is spent or the backend has no more."""
    blocks: list[Block] = []
    summary: Summary | None = None
    spent = 0.0
    while True:
        block = _timed(task, calls)
        if block is None:
            return blocks, summary, "exhausted"
        blocks.append(block)
        spent += block.seconds
        tell(block.seconds)
        summary = summarise([block.seconds_per_call for block in blocks])
        if len(blocks) < MIN_SAMPLES:
            continue
        half_width = summary.half_width
        if not summary.autocorrelated and half_width is not None and half_width <= policy.target:
            return blocks, summary, "precision"
        if spent >= policy.cap_s:
            return blocks, summary, "time_cap"


def _timed(task: Task, calls: int) -> Block | None:
    block = task.block(calls)
    if block is not None and not (block.seconds > 0 and math.isfinite(block.seconds)):
        message = f"the device's clock says that {calls} calls took {block.seconds} s; the device may be lost"
        raise BackendUnavailable(message)
    return block


def _caveats(warm_up: WarmUp, summary: Summary) -> tuple[Caveat, ...]:
    found = []
    if not warm_up.flat:
        seconds = math.fsum(c * s for c, s in zip(warm_up.calls, warm_up.seconds_per_call, strict=True))
        found.append(Caveat(code="not_flat", values={"seconds": seconds}))
    if summary.autocorrelated:
        found.append(Caveat(code="autocorrelated", values={"merged": float(summary.merged)}))
    if summary.bimodal:
        found.append(Caveat(code="bimodal", values={}))
    if summary.outliers:
        found.append(Caveat(code="outliers", values={"count": float(summary.outliers), "n": float(summary.n)}))
    return tuple(found)


def _column(values: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(value for value in values if value is not None)
    return known if known and len(known) == len(values) else None

"""The measuring loop: warm up until flat, choose an algorithm, sample until precise or the cap, check, keep."""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from bench.devices.base import Block, Caveat, Task, Telemetry
from bench.errors import BackendUnavailable
from bench.measure.condensing import Condenser, joined
from bench.measure.measurement import Measurement, Samples, Stop, WarmUp
from bench.measure.noticed import NOTICED, noticed, said_once
from bench.measure.policy import BURST, Policy, sustained_s
from bench.measure.search import Search, search
from bench.stats import MIN_SAMPLES, Summary, summarise
from bench.workloads.base import Cell

OnBlock = Callable[[float], None]
OnSamples = Callable[[Samples], None]

_WINDOW = 5
_FASTEST_GROWTH = 10
_CLOCKS_AGREE = 0.03
_SAVE_EVERY_S = 10.0  # of a sustained load, so that they are on disk whatever happens, and are not held
# The warnings that follow from the blocks alone; the others come from the task.
RECOMPUTED = ("not_flat", "autocorrelated", "bimodal", "outliers", "clocks_disagree", "taken_together", *NOTICED)


def measure(
    task: Task,
    cell: Cell,
    policy: Policy,
    *,
    on_block: OnBlock | None = None,
    on_samples: OnSamples | None = None,
) -> Measurement:
    """Return the measurement of `cell`, ready in `task`, under `policy`.

    `on_block` is told the seconds of each block as it ends; `on_samples` is given a sustained load's samples every
    ten seconds, so that they can be saved, and the measurement has those only that are left then: however long the
    load, no more than ten seconds' are held, and those that a `Condenser` keeps. Raises BackendUnavailable if the
    device's clock returns nonsense. Every decision depends on the blocks alone, so a replay of them decides the
    same.
    """
    run = _Run(task, policy, on_block or (lambda _seconds: None))
    flat = run.warm_up()
    found = run.search()
    if sustained_s(cell.regime) is not None:
        flat = run.settle()
    warm_up = run.warmed(flat=flat)
    calls = run.calls_for(policy.block_s)
    task.watch()
    early: list[Samples] = []
    taken = run.sample(cell, calls, on_samples or early.append)
    telemetry = task.observed()
    if taken.summary is None:
        return Measurement(cell=cell, stop="failed", warm_up=warm_up, failure="the backend gave no samples")
    return Measurement(
        cell=cell,
        stop=taken.stop,
        samples=joined([*early, taken.last]),
        calls_per_block=taken.calls,
        warm_up=warm_up,
        check=task.verify(),
        data=dict(task.data),
        algorithm=dict(task.algorithm),
        search=found,
        telemetry=telemetry,
        warnings=said_once(
            [
                *task.caveats(),
                *_caveats(warm_up, taken.summary),
                *_clocks(taken.seen.samples, telemetry),
                *noticed(taken.seen.samples, taken.calls * taken.seen.together, run.spent_s, telemetry),
                *taken.seen.caveats(),
            ]
        ),
    )


class _Taken(NamedTuple):
    """What sampling came to: the samples that were not saved on the way, and all of them, condensed."""

    last: Samples
    seen: Condenser
    calls: int
    summary: Summary | None
    stop: Stop


class _Run:
    """One cell's blocks before its samples, and the blocks that follow them.

    `spent_s` is how long blocks and rests took, of the samples once those have begun.
    """

    def __init__(self, task: Task, policy: Policy, tell: OnBlock) -> None:
        self._task, self._policy, self._tell = task, policy, tell
        self._cold = task.cold
        self._blocks: list[Block] = []
        self.spent_s = 0.0

    def _timed(self, calls: int) -> Block | None:
        block = self._task.block(calls)
        if block is None:
            return None
        if not (block.seconds > 0 and math.isfinite(block.seconds)):
            message = f"the device's clock says that {calls} calls took {block.seconds} s; the device may be lost"
            raise BackendUnavailable(message)
        self._tell(block.seconds)
        self.spent_s += block.seconds
        return block

    def warm_up(self) -> bool:
        """Run blocks of half the sampling length until they are flat or the time is up; return whether flat."""
        policy = self._policy
        length = policy.block_s / 2
        most = policy.cold_warm_up_most_s if self._cold else policy.warm_up_most_s
        calls, spent, flat = 1, 0.0, False
        while not flat and spent < most:
            block = self._timed(calls)
            if block is None:
                break
            self._blocks.append(block)
            spent += block.seconds
            flat = spent >= policy.warm_up_least_s and _is_flat(self._blocks, length, policy.flat)
            if block.seconds < length:
                calls = min(_FASTEST_GROWTH * calls, max(calls + 1, math.ceil(length / block.seconds_per_call)))
        return flat

    def search(self) -> Search | None:
        """Choose the algorithm, and run a few more blocks with it; None if there is no choice."""
        if not self._blocks:
            return None
        found = search(self._task, self._policy, self._seconds_per_call(), self._timed, after=len(self._blocks))
        if found is not None:
            calls = self.calls_for(self._policy.block_s / 2)
            self._blocks += [block for _ in range(_WINDOW) if (block := self._timed(calls)) is not None]
        return found

    def settle(self) -> bool:
        """Run until rate and clock are flat over the policy's window, or its time is up; return whether flat."""
        policy = self._policy
        calls = self.calls_for(policy.block_s)
        blocks: list[Block] = []
        spent = 0.0
        while spent < policy.settle_most_s:
            block = self._timed(calls)
            if block is None:
                return False
            blocks.append(block)
            self._blocks.append(block)
            spent += block.seconds
            window = math.ceil(policy.settled_window_s / block.seconds)
            if _are_alike(blocks[-2 * window :], window, policy.flat):
                return True
        return False

    def _seconds_per_call(self) -> float:
        return median([block.seconds_per_call for block in self._blocks[-_WINDOW:]])

    def calls_for(self, length: float) -> int:
        """Return how many calls last a little over `length` seconds, by the latest blocks."""
        return max(1, math.ceil(1.05 * length / self._seconds_per_call())) if self._blocks else 1

    def warmed(self, *, flat: bool) -> WarmUp:
        """Return the record of all blocks so far but the search's."""
        clocks = tuple(block.sm_clock_hz for block in self._blocks)
        return WarmUp(
            cold=self._cold,
            flat=flat,
            calls=tuple(block.calls for block in self._blocks),
            seconds_per_call=tuple(block.seconds_per_call for block in self._blocks),
            sm_clock_hz=clocks if any(clock is not None for clock in clocks) else None,
        )

    def sample(self, cell: Cell, calls: int, save: OnSamples) -> _Taken:
        """Take blocks until the stopping rule of the cell's regime fires or the backend has no more."""
        duration = sustained_s(cell.regime)
        self.spent_s = 0.0
        if duration is not None:
            return self._sample_for(duration, calls, save)
        return self._sample_until_precise(calls, rest_s=self._policy.rest_s if cell.regime == BURST else 0.0)

    def _sample_until_precise(self, calls: int, *, rest_s: float) -> _Taken:
        policy = self._policy
        blocks: list[Block] = []
        summary: Summary | None = None
        spent = 0.0
        stop: Stop | None = None
        while stop is None:
            if rest_s:
                self._task.rest(rest_s)
                self.spent_s += rest_s
            block = self._timed(calls)
            if block is None:
                stop = "exhausted"
                break
            blocks.append(block)
            spent += rest_s + block.seconds
            summary = summarise([block.seconds_per_call for block in blocks])
            if len(blocks) >= MIN_SAMPLES:
                stop = _reached(summary, spent, policy)
        last, seen = Samples.of(blocks), Condenser()
        seen.add(last)
        return _Taken(last, seen, blocks[0].calls if blocks else 0, summary, stop)

    def _sample_for(self, duration: float, calls: int, save: OnSamples) -> _Taken:
        """Take blocks for `duration` seconds, and six at least, however precise they are."""
        seen = Condenser()
        unsaved: list[Block] = []
        spent, saved, count = 0.0, 0.0, 0
        first: Block | None = None
        stop: Stop = "duration"
        while spent < duration or count < MIN_SAMPLES:
            block = self._timed(calls)
            if block is None:
                stop = "exhausted"
                break
            first = first or block
            unsaved.append(block)
            count += 1
            spent += block.seconds
            if spent - saved >= _SAVE_EVERY_S:
                some = Samples.of(unsaved)
                seen.add(some)
                save(some)
                saved, unsaved = spent, []
        last = Samples.of(unsaved)
        seen.add(last)
        summary = summarise(seen.samples.seconds_per_call) if count else None
        return _Taken(last, seen, first.calls if first else 0, summary, stop)


def _reached(summary: Summary, spent: float, policy: Policy) -> Stop | None:
    """Return which rule ends the sampling now, None if none does."""
    half_width = summary.half_width
    precise = not summary.autocorrelated and half_width is not None and half_width <= policy.target
    if precise and spent >= policy.least_s:
        return "precision"
    return "time_cap" if spent >= policy.cap_s else None


def _is_flat(blocks: Sequence[Block], length: float, limit: float) -> bool:
    """Whether the last five blocks of full length differ from the five before by less than `limit`.

    In time, and in clock too where the device tells it.
    """
    full = [block for block in blocks if block.seconds >= 0.8 * length][-2 * _WINDOW :]
    return _are_alike(full, _WINDOW, limit)


def _are_alike(blocks: Sequence[Block], window: int, limit: float) -> bool:
    """Whether the medians of the last `window` blocks and those before differ by less than `limit`."""
    if len(blocks) < 2 * window:
        return False
    columns: list[list[float | None]] = [
        [block.seconds_per_call for block in blocks],
        [block.sm_clock_hz for block in blocks],
    ]
    for values in columns:
        known = [value for value in values if value is not None]
        if len(known) < len(blocks):
            continue
        before, after = median(known[:-window]), median(known[-window:])
        if abs(after - before) >= limit * before:
            return False
    return True


def _clocks(samples: Samples, telemetry: Telemetry | None) -> Iterator[Caveat]:
    """Yield that the clock counted on the chip and the sensor's differ by more than coarse steps explain.

    With how much blocks differed in seconds and cycles: if seconds moved and cycles did not, the count is right.
    """
    counted, cycles = samples.sm_clock_hz, samples.cycles_per_call
    if counted is None or cycles is None or telemetry is None or telemetry.sm_clock_hz is None:
        return
    here, sensor = median(counted), telemetry.sm_clock_hz.median
    if abs(here - sensor) > _CLOCKS_AGREE * here:
        spreads = {"seconds_spread": _spread(samples.seconds_per_call), "cycles_spread": _spread(cycles)}
        yield Caveat(code="clocks_disagree", values={"counted": here, "sensor": sensor, **spreads})


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / median(values)


def _caveats(warm_up: WarmUp, summary: Summary) -> tuple[Caveat, ...]:
    found = []
    if not warm_up.flat:
        seconds = math.fsum(c * s for c, s in zip(warm_up.calls, warm_up.seconds_per_call, strict=True))
        found.append(Caveat(code="not_flat", values={"seconds": seconds}))
    if summary.autocorrelated:
        worth = {"effective": round(summary.effective, 1), "n": float(summary.n)}
        found.append(Caveat(code="autocorrelated", values={**worth}))
    if summary.bimodal:
        found.append(Caveat(code="bimodal", values={}))
    if summary.outliers:
        found.append(Caveat(code="outliers", values={"count": float(summary.outliers), "n": float(summary.n)}))
    return tuple(found)

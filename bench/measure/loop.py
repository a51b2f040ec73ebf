"""The measuring loop: warm up until flat, choose an algorithm, sample until precise or the cap, check, keep."""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from bench.devices.base import Block, Caveat, Task, Telemetry
from bench.errors import BackendUnavailable
from bench.measure.measurement import Measurement, Samples, Stop, WarmUp, column
from bench.measure.policy import BURST, Policy, sustained_s
from bench.measure.search import Search, search
from bench.stats import MIN_SAMPLES, Summary, summarise
from bench.workloads.base import Cell

OnBlock = Callable[[float], None]
OnSamples = Callable[[Samples], None]

_WINDOW = 5
_FASTEST_GROWTH = 10
_CLOCKS_AGREE = 0.03
_SAVE_EVERY_S = 10.0  # of a sustained load, so that they are on disk whatever happens
# The warnings that follow from the blocks alone; the others come from the task.
RECOMPUTED = ("not_flat", "autocorrelated", "bimodal", "outliers", "clocks_disagree")


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
    ten seconds, so that they can be saved. Raises BackendUnavailable if the device's clock returns nonsense. Every
    decision depends on the blocks alone, so a replay of them decides the same.
    """
    run = _Run(task, policy, on_block or (lambda _seconds: None))
    flat = run.warm_up()
    found = run.search()
    if sustained_s(cell.regime) is not None:
        flat = run.settle()
    warm_up = run.warmed(flat=flat)
    calls = run.calls_for(policy.block_s)
    task.watch()
    blocks, summary, stop = run.sample(cell, calls, on_samples or (lambda _samples: None))
    telemetry = task.observed()
    if summary is None:
        return Measurement(cell=cell, stop="failed", warm_up=warm_up, failure="the backend gave no samples")
    return Measurement(
        cell=cell,
        stop=stop,
        samples=Samples.of(blocks),
        calls_per_block=blocks[0].calls,
        warm_up=warm_up,
        check=task.verify(),
        data=dict(task.data),
        algorithm=dict(task.algorithm),
        search=found,
        telemetry=telemetry,
        warnings=(*task.caveats(), *_caveats(warm_up, summary), *_clocks(blocks, telemetry)),
    )


class _Run:
    """One cell's blocks before its samples, and the blocks that follow them."""

    def __init__(self, task: Task, policy: Policy, tell: OnBlock) -> None:
        self._task, self._policy, self._tell = task, policy, tell
        self._cold = task.cold
        self._blocks: list[Block] = []

    def _timed(self, calls: int) -> Block | None:
        block = self._task.block(calls)
        if block is None:
            return None
        if not (block.seconds > 0 and math.isfinite(block.seconds)):
            message = f"the device's clock says that {calls} calls took {block.seconds} s; the device may be lost"
            raise BackendUnavailable(message)
        self._tell(block.seconds)
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

    def sample(self, cell: Cell, calls: int, save: OnSamples) -> tuple[list[Block], Summary | None, Stop]:
        """Take blocks until the stopping rule of the cell's regime fires or the backend has no more."""
        duration = sustained_s(cell.regime)
        if duration is not None:
            return self._sample_for(duration, calls, save)
        return self._sample_until_precise(calls, rest_s=self._policy.rest_s if cell.regime == BURST else 0.0)

    def _sample_until_precise(self, calls: int, *, rest_s: float) -> tuple[list[Block], Summary | None, Stop]:
        policy = self._policy
        blocks: list[Block] = []
        summary: Summary | None = None
        spent = 0.0
        while True:
            if rest_s:
                self._task.rest(rest_s)
            block = self._timed(calls)
            if block is None:
                return blocks, summary, "exhausted"
            blocks.append(block)
            spent += rest_s + block.seconds
            summary = summarise([block.seconds_per_call for block in blocks])
            if len(blocks) < MIN_SAMPLES:
                continue
            half_width = summary.half_width
            precise = not summary.autocorrelated and half_width is not None and half_width <= policy.target
            if precise and spent >= policy.least_s:
                return blocks, summary, "precision"
            if spent >= policy.cap_s:
                return blocks, summary, "time_cap"

    def _sample_for(
        self, duration: float, calls: int, save: OnSamples
    ) -> tuple[list[Block], Summary | None, Stop]:
        """Take blocks for `duration` seconds, and six at least, however precise they are."""
        blocks: list[Block] = []
        unsaved: list[Block] = []
        spent, saved = 0.0, 0.0
        stop: Stop = "duration"
        while spent < duration or len(blocks) < MIN_SAMPLES:
            block = self._timed(calls)
            if block is None:
                stop = "exhausted"
                break
            blocks.append(block)
            unsaved.append(block)
            spent += block.seconds
            if spent - saved >= _SAVE_EVERY_S:
                save(Samples.of(unsaved))
                saved, unsaved = spent, []
        summary = summarise([block.seconds_per_call for block in blocks]) if blocks else None
        return blocks, summary, stop


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


def _clocks(blocks: Sequence[Block], telemetry: Telemetry | None) -> Iterator[Caveat]:
    """Yield that the clock counted on the chip and the sensor's differ by more than coarse steps explain.

    With how much blocks differed in seconds and cycles: if seconds moved and cycles did not, the count is right.
    """
    counted = column([block.sm_clock_hz for block in blocks])
    cycles = column([block.cycles_per_call for block in blocks])
    if counted is None or cycles is None or telemetry is None or telemetry.sm_clock_hz is None:
        return
    here, sensor = median(counted), telemetry.sm_clock_hz.median
    if abs(here - sensor) > _CLOCKS_AGREE * here:
        seconds = [block.seconds_per_call for block in blocks]
        spreads = {"seconds_spread": _spread(seconds), "cycles_spread": _spread(cycles)}
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

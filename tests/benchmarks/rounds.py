"""Contenders timed in turns, and what that says: per-round ratios, the best peer, the table. Knows no library.

Nothing here has a clock or a device: a contender is a function that runs calls and tells how long one took.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from tabulate import tabulate

from bench.devices.base import Check
from bench.errors import one_line
from bench.stats import Interval, median_interval
from bench.units import format_si

OURS: Final = "chipbench"
GOAL: Final = 0.99  # of the best peer's rate
BLOCK_S: Final = 0.2
WARM_UP_S: Final = 3.0
_LEAST_PASSES: Final = 3  # over all contenders: the first meets unloaded kernels, the second a guessed length
_HEADS: Final = ("contender", "median rate", "chipbench ÷ it", "95 % interval", "cycles", "clock", "check")


class Timing(NamedTuple):
    """What one call took in a block, and the clock that ran, None where it is not known."""

    seconds: float
    clock_hz: float | None = None


class Contender(NamedTuple):
    """One way to compute the product: `block` times so many calls, `check` holds a fresh result against FP64."""

    name: str
    block: Callable[[int], Timing]
    check: Callable[[], Check]


class Series(NamedTuple):
    """One contender's blocks by round, None where it gave none; `reason` says why it is absent or dropped out."""

    name: str
    blocks: Sequence[Timing | None] = ()
    check: Check | None = None
    reason: str | None = None


class Row(NamedTuple):
    """What a series comes to. `ratio` is chipbench's rate over this one's, the median of the rounds."""

    name: str
    seconds: float | None
    ratio: float | None
    interval: Interval | None
    cycles: float | None
    clock_hz: float | None
    check: Check | None
    reason: str | None

    @property
    def counts(self) -> bool:
        """Whether this is a rate of a right product."""
        return self.seconds is not None and self.check is not None and self.check.passed


class Verdict(NamedTuple):
    """Whether chipbench reaches the goal against the best peer, None where there is no right one to be held to."""

    reached: bool | None
    text: str


def orders(contenders: int, rounds: int) -> Iterator[list[int]]:
    """Yield who runs when, `rounds` times or a few more, so that each goes first equally often.

    Every second turn of the wheel runs backwards, so that nobody always follows the same one.
    """
    for number in range(math.ceil(rounds / contenders) * contenders):
        turn, first = divmod(number, contenders)
        step = -1 if turn % 2 else 1
        yield [(first + step * place) % contenders for place in range(contenders)]


class _Runner:
    """The contenders that still run, and how many calls make a block of each."""

    def __init__(self, contenders: Sequence[Contender], block_s: float) -> None:
        self._contenders, self._block_s = contenders, block_s
        self._calls = [1] * len(contenders)
        self.reasons: list[str | None] = [None] * len(contenders)

    def warm_up(self, least_s: float) -> None:
        """Run all in turns for `least_s` seconds of their own time, and find how many calls make a block."""
        spent, passes = 0.0, 0
        while (spent < least_s or passes < _LEAST_PASSES) and None in self.reasons:
            for index in range(len(self._contenders)):
                calls = self._calls[index]
                timing = self.timed(index)
                if timing is not None:
                    spent += calls * timing.seconds
                    self._calls[index] = max(1, math.ceil(self._block_s / timing.seconds))
            passes += 1

    def timed(self, index: int) -> Timing | None:
        """Return a block of this contender; None once it has failed, which ends nothing else."""
        if self.reasons[index] is not None:
            return None
        try:
            timing = self._contenders[index].block(self._calls[index])
        except Exception as error:  # noqa: BLE001 - a peer's gap, whatever it is, must not end the comparison
            self.reasons[index] = explained(error)
            return None
        if timing.seconds > 0 and math.isfinite(timing.seconds):
            return timing
        self.reasons[index] = f"its clock says that a call took {timing.seconds} s"
        return None

    def checked(self, index: int) -> Check | None:
        """Return the check of a contender that still runs."""
        if self.reasons[index] is not None:
            return None
        try:
            return self._contenders[index].check()
        except Exception as error:  # noqa: BLE001 - likewise
            self.reasons[index] = explained(error)
            return None


def compete(
    contenders: Sequence[Contender], *, rounds: int, block_s: float = BLOCK_S, warm_up_s: float = WARM_UP_S
) -> list[Series]:
    """Return each one's blocks, in rounds of rotating order after a common warm-up, and its check after them."""
    runner = _Runner(contenders, block_s)
    runner.warm_up(warm_up_s)
    found: list[list[Timing | None]] = [[] for _ in contenders]
    for order in orders(len(contenders), rounds):
        for index in order:
            found[index].append(runner.timed(index))
    checks = [runner.checked(index) for index in range(len(contenders))]
    return [
        Series(one.name, found[index], checks[index], runner.reasons[index])
        for index, one in enumerate(contenders)
    ]


def explained(error: Exception) -> str:
    """Return an error in a line."""
    return f"{type(error).__name__}: {one_line(error)}"


def round_ratios(ours: Series, other: Series) -> list[float]:
    """Return chipbench's rate over the other's in each round that both have: what drifts for both cancels."""
    pairs = zip(ours.blocks, other.blocks, strict=False)
    return [theirs.seconds / mine.seconds for mine, theirs in pairs if mine is not None and theirs is not None]


def rows_of(series: Sequence[Series]) -> list[Row]:
    """Return a row for each series, in the same order."""
    ours = next((one for one in series if one.name == OURS), Series(OURS))
    return [_row(one, ours) for one in series]


def _row(one: Series, ours: Series) -> Row:
    timings = [timing for timing in one.blocks if timing is not None]
    ratios = round_ratios(ours, one) if one.name != OURS else []
    clocks = [timing.clock_hz for timing in timings if timing.clock_hz is not None]
    cycles = [timing.seconds * timing.clock_hz for timing in timings if timing.clock_hz is not None]
    return Row(
        name=one.name,
        seconds=median(timing.seconds for timing in timings) if timings else None,
        ratio=median(ratios) if ratios else None,
        interval=median_interval(ratios),
        cycles=median(cycles) if cycles else None,
        clock_hz=median(clocks) if clocks else None,
        check=one.check,
        reason=one.reason,
    )


def verdict(rows: Sequence[Row]) -> Verdict:
    """Return whether chipbench's rate is at least `GOAL` of the best right peer's."""
    ours = next((row for row in rows if row.name == OURS), None)
    if ours is None or not ours.counts:
        why = ours.reason if ours and ours.reason else "its product is wrong" if ours else "it did not run"
        return Verdict(reached=False, text=f"{OURS} has no rate: {why}")
    best = min((row for row in rows if row.ratio is not None and row.counts), key=_ratio, default=None)
    if best is None:
        return Verdict(reached=None, text="no peer computed this product, so there is nothing to be held to")
    reached = _ratio(best) >= GOAL
    return Verdict(
        reached=reached,
        text=f"best peer: {best.name}; {OURS} runs at {_ratio(best):.4f}× its rate, "
        f"{'at least' if reached else 'below'} the goal of {GOAL}",
    )


def _ratio(row: Row) -> float:
    return row.ratio if row.ratio is not None else math.inf


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """Return 1 if any comparison missed the goal, or if none could be made."""
    return 1 if any(one.reached is False for one in verdicts) or not any(one.reached for one in verdicts) else 0


def table(rows: Sequence[Row], *, flop: int, unit: str) -> str:
    """Return the rows as a table; a contender without a rate shows the reason in its place."""
    texts = [_texts(row, flop, unit) for row in rows]
    align = ("left", "right", "right", "left", "right", "right", "left")
    return tabulate(texts, headers=_HEADS, tablefmt="simple", disable_numparse=True, colalign=align)


def _texts(row: Row, flop: int, unit: str) -> list[str]:
    return [
        row.name,
        format_si(flop / row.seconds, unit) if row.seconds else "–",
        f"{row.ratio:.4f}" if row.ratio is not None else "–",
        f"{row.interval.lo:.4f} … {row.interval.hi:.4f}" if row.interval else "–",
        f"{row.cycles:.4g}" if row.cycles is not None else "–",
        format_si(row.clock_hz, "Hz") if row.clock_hz is not None else "–",
        row.reason or _checked(row.check),
    ]


def _checked(check: Check | None) -> str:
    if check is None:
        return "not checked"
    error = "not finite" if check.rows_error is None else f"{check.rows_error:.1e}"
    return f"{'passed' if check.passed else 'WRONG'} ({error} of {check.tolerance:.0e})"


def document(rows: Sequence[Row], series: Sequence[Series], *, flop: int) -> list[Mapping[str, Any]]:
    """Return every contender with its samples, in base units, for JSON."""
    return [
        {
            **row._asdict(),
            "flop_per_s": flop / row.seconds if row.seconds else None,
            "blocks": [timing and timing._asdict() for timing in one.blocks],
        }
        for row, one in zip(rows, series, strict=True)
    ]

"""Which of a library's algorithms is the fastest here: shuffled rounds over all, then a final of the best."""

import math
import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

import msgspec

from bench.devices.base import Block, Task
from bench.measure.policy import Policy

_FINAL_LENGTH: Final = 4  # times the search's own block
_HOPELESS: Final = 1.5  # times the fastest: far more than a clock falls within a round
Timed = Callable[[int], Block | None]


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every block of a search in its order: which of `candidates` ran, in how many calls, at what time a call.

    It came `after` so many blocks of warm-up; those that follow it in the warm-up ran what was chosen.
    """

    after: int
    candidates: tuple[dict[str, str | int], ...]
    chosen: int
    candidate: tuple[int, ...]
    calls: tuple[int, ...]
    seconds_per_call: tuple[float, ...]


class _Log:
    """The blocks so far, by candidate and in order, and the seconds that they took."""

    def __init__(self, task: Task, timed: Timed, policy: Policy, chance: random.Random) -> None:
        self._task, self._timed, self._most_s, self._chance = task, timed, policy.search_most_s, chance
        self.order: list[int] = []
        self.blocks: list[Block] = []
        self._spent = 0.0

    def rounds(self, candidates: Sequence[int], rounds: int, calls: float) -> dict[int, float]:
        """Return the median seconds per call of each candidate over shuffled rounds, at least one."""
        times: dict[int, list[float]] = {}
        left = list(candidates)
        for number in range(rounds):
            if number and self._spent >= self._most_s:
                break
            self._chance.shuffle(left)
            for candidate in left:
                seconds = self.run(candidate, max(1, math.ceil(calls)))
                if seconds is not None:
                    times.setdefault(candidate, []).append(seconds)
            fastest = min((min(values) for values in times.values()), default=0.0)
            left = sorted(one for one in times if min(times[one]) <= _HOPELESS * fastest)
        return {candidate: median(values) for candidate, values in times.items()}

    def run(self, candidate: int, calls: int) -> float | None:
        """Return what one call of `candidate` takes now; None if a replay has no more."""
        self._task.use(candidate)
        block = self._timed(calls)
        if block is None:
            return None
        self.order.append(candidate)
        self.blocks.append(block)
        self._spent += block.seconds
        return block.seconds_per_call


def search(task: Task, policy: Policy, seconds_per_call: float, timed: Timed, *, after: int = 0) -> Search | None:
    """Let `task` use the fastest of its candidates, and return how that was found; None if there is no choice.

    One candidate after another would favour the first while the clock still falls, so every round visits all of
    them in another order, and each is judged by its median. What the best few are worth is measured again: of many
    noisy results the best is partly luck. One that was half as slow again in its first round is out at once.
    `seconds_per_call` is about what a call takes, `timed` runs a block.
    """
    count = len(task.candidates)
    if count < 2:
        return None
    log = _Log(task, timed, policy, random.Random(policy.seed))
    scores = log.rounds(range(count), policy.search_passes, policy.search_block_s / seconds_per_call)
    best = sorted(scores, key=scores.__getitem__)[: policy.finalists]
    length = _FINAL_LENGTH * policy.search_block_s
    final = log.rounds(best, policy.final_rounds, length / seconds_per_call)
    decisive = final or scores or {0: seconds_per_call}
    chosen = min(decisive, key=decisive.__getitem__)
    task.use(chosen)
    return Search(
        after=after,
        candidates=tuple(dict(described) for described in task.candidates),
        chosen=chosen,
        candidate=tuple(log.order),
        calls=tuple(block.calls for block in log.blocks),
        seconds_per_call=tuple(block.seconds_per_call for block in log.blocks),
    )

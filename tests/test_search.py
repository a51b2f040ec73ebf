"""Which algorithm is taken: the fastest, whatever its place in the list and whatever the clock does meanwhile."""

import random
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.base import Block, Check, OperandData, PlainTask
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.measure.search import Search, search
from bench.records.record import Lines
from bench.run.replaying import replay_backend
from tests.support import PASSED, cell, header

CELL = cell()
POLICY = Policy()
BASE = 1e-3
COUNT = 16


class Candidates(PlainTask):
    """Candidates of these seconds a call, on a chip whose `slowdown` depends on the seconds that it has worked."""

    cold = False
    data: Mapping[str, OperandData] = {}

    def __init__(
        self,
        seconds: Sequence[float],
        *,
        slowdown: Callable[[float], float] = lambda _now: 1.0,
        noise: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.candidates = tuple({"algo": index} for index in range(len(seconds)))
        self._seconds, self._slowdown, self._noise = seconds, slowdown, noise
        self._random = random.Random(seed)
        self._used, self.now = 0, 0.0
        self.used: list[int] = []

    @property
    def algorithm(self) -> Mapping[str, str | int]:  # type: ignore[override] # a constant in PlainTask
        return self.candidates[self._used]

    def use(self, candidate: int) -> None:
        self._used = candidate

    def block(self, calls: int) -> Block:
        noise = self._random.gauss(1, self._noise)
        seconds = self._seconds[self._used] * self._slowdown(self.now) * noise
        self.now += calls * seconds
        self.used.append(self._used)
        return Block(calls=calls, seconds_per_call=seconds)

    def verify(self) -> Check:
        return PASSED

    def close(self) -> None:
        pass


def found(task: Candidates, policy: Policy = POLICY) -> Search:
    result = search(task, policy, BASE, task.block)
    assert result is not None
    return result


def falling(by: float, within_s: float) -> Callable[[float], float]:
    """The clock of a chip that warms up: calls slow down by a share, most of it at first."""
    return lambda now: 1 + by * min(1.0, now / within_s) ** 0.5


def lucky(chance: random.Random) -> Callable[[float], float]:
    """A chip on which one block in a hundred takes half the time."""
    return lambda _now: 0.5 if chance.random() < 0.01 else 1.0


def with_best(place: int, gain: float = 0.02) -> list[float]:
    return [BASE * (1 - gain) if index == place else BASE * (1 + index / 1000) for index in range(COUNT)]


class TestChoice:
    @given(st.permutations(range(COUNT)))
    def test_the_fastest_is_chosen_wherever_it_stands(self, order: list[int]) -> None:
        seconds = [BASE * (1 + place / 100) for place in order]
        assert found(Candidates(seconds)).chosen == order.index(0)

    @pytest.mark.parametrize("place", [0, 7, COUNT - 1])
    @pytest.mark.parametrize("seed", range(20))
    def test_while_the_clock_decays_the_better_one_is_found_even_if_it_is_last(
        self, place: int, seed: int
    ) -> None:
        """Timed one after another, the last would meet a chip that is 5 % slower than the first met."""
        task = Candidates(with_best(place), slowdown=falling(0.05, 2.0), noise=0.001, seed=seed)
        assert found(task).chosen == place

    def test_one_after_another_would_take_the_first(self) -> None:
        """What the rounds are for: the same chip, asked in order, misleads."""
        task = Candidates(with_best(COUNT - 1), slowdown=falling(0.05, 0.5))
        times = []
        for index in range(COUNT):
            task.use(index)
            times.append(task.block(20).seconds_per_call)
        assert times.index(min(times)) == 0

    def test_a_lucky_block_does_not_win(self) -> None:
        """One block in a hundred takes half the time; the median of several does not fall for it."""
        for seed in range(20):
            task = Candidates(with_best(3), seed=seed)
            task._slowdown = lucky(random.Random(seed))
            assert found(task).chosen == 3

    def test_without_a_choice_there_is_no_search(self) -> None:
        task = Candidates([BASE])
        assert search(task, POLICY, BASE, task.block) is None
        assert task.used == []


class TestRounds:
    def test_every_candidate_has_three_passes_and_the_best_three_a_final(self) -> None:
        task = Candidates([BASE * (1 + index / 100) for index in range(COUNT)])
        result = found(task)
        passes, final = task.used[: 3 * COUNT], task.used[3 * COUNT :]
        for start in range(0, 3 * COUNT, COUNT):
            assert sorted(passes[start : start + COUNT]) == list(range(COUNT))
        assert sorted(final) == [0] * 5 + [1] * 5 + [2] * 5
        assert list(result.candidate) == task.used

    def test_passes_are_shuffled_and_a_seed_repeats_them(self) -> None:
        orders = []
        for seed in (1, 1, 2):
            task = Candidates([BASE] * COUNT)
            found(task, Policy(seed=seed))
            orders.append(task.used)
        assert orders[0] == orders[1] != orders[2]
        assert orders[0][:COUNT] != sorted(orders[0][:COUNT])
        assert orders[0][:COUNT] != orders[0][COUNT : 2 * COUNT]

    def test_one_that_is_hopeless_after_a_round_is_out_of_it(self) -> None:
        task = Candidates([BASE, 1.49 * BASE, 1.51 * BASE, 10 * BASE])
        found(task)
        assert [task.used.count(index) for index in range(4)] == [3 + 5, 3 + 5, 1 + 1, 1]

    def test_long_calls_are_searched_for_some_seconds_and_no_longer(self) -> None:
        """Of calls of 0.2 s three passes and a final of four calls each would take over twenty."""
        task = Candidates([0.2 + index / 1000 for index in range(COUNT)])
        result = search(task, POLICY, 0.2, task.block)
        assert result is not None
        assert result.chosen == 0
        assert set(result.calls) == {1}
        assert task.used[:COUNT] != []
        assert task.now < POLICY.search_most_s + (COUNT + 3) * 0.22

    def test_a_block_lasts_five_milliseconds_and_a_finalist_four_times_that(self) -> None:
        task = Candidates([BASE] * 4)
        result = found(task)
        assert set(result.calls[: 3 * 4]) == {5}
        assert set(result.calls[3 * 4 :]) == {20}

    def test_a_call_longer_than_that_is_run_once(self) -> None:
        task = Candidates([0.02] * 4)
        result = search(task, POLICY, 0.02, task.block)
        assert result is not None
        assert set(result.calls[: 3 * 4]) == {1}


def test_a_replay_of_the_blocks_chooses_the_same() -> None:
    task = Candidates(with_best(COUNT - 1), slowdown=falling(0.05, 2.0), noise=0.002)
    original = measure(task, CELL, POLICY)
    assert original.search is not None
    assert original.search.chosen == COUNT - 1
    assert original.algorithm == {"algo": COUNT - 1}
    lines = Lines(header([CELL], policy=POLICY), (original,), 0, None, 0)
    replayed = measure(replay_backend(lines).prepare(CELL, POLICY.seed), CELL, POLICY)
    assert replayed == original

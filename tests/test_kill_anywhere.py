"""Runs that are killed at any moment, hundreds of times, and resumed: nothing finished is lost or there twice."""

import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from bench.measure.measurement import Measurement
from bench.records.record import Lines, read_lines
from tests.kill_lab import End, Server

KILLS: Final = 200
_CELLS: Final = ("--dtype", "fp32", "--dtype", "fp64", *(f"--size={size}" for size in (64, 96, 128, 160)))
_PLANS: Final = (("--sustained", "25", *_CELLS), ("--quick", *_CELLS))  # with lines of samples, and without
_FEW: Final = ("--sustained", "15", "--dtype", "fp32", "--size", "64", "--size", "96")
_STRUCK_AGAIN: Final = 0.9  # of the resumed runs
_START: Final = 0.5  # of the time of a run: until it has read what to do, and writes
_LAST: Final = 0.3  # of the rest: to finish a record whose cells are nearly all there, and to print
_EARLY: Final = 0.1  # of the signals come at any moment from the start of the process on
# What a process may end with that got the signal: before the command took it over, or when it was over, the
# system's own way.
_ENDS: Final = {
    signal.SIGKILL: {-signal.SIGKILL},
    signal.SIGTERM: {143, -signal.SIGTERM},
    signal.SIGINT: {130, -signal.SIGINT},
}


class Truth(NamedTuple):
    """What an undisturbed run measures, and how long it takes."""

    measurements: Sequence[Measurement]
    seconds: float


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def truths(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[Truth]:
    folder = tmp_path_factory.mktemp("truth")
    return [_undisturbed(server, folder / str(index), plan) for index, plan in enumerate(_PLANS)]


def _undisturbed(server: Server, results: Path, plan: Sequence[str]) -> Truth:
    ended = [server.run(_begin(results / str(index), plan)) for index in range(3)]
    assert {end.code for end in ended} == {0}
    (path,) = (results / "0").glob("*/*.jsonl")
    return Truth(read_lines(path, most=None).measurements, sorted(end.seconds for end in ended)[1])


def _begin(results: Path, plan: Sequence[str]) -> list[str | Path]:
    return ["run", "--backend", "cpu", *plan, "--results-dir", results]


class Chain:
    """One run that is struck, resumed, perhaps struck again, and so on until it is complete."""

    def __init__(self, server: Server, results: Path, number: signal.Signals, chance: random.Random) -> None:
        self._server, self._results, self._number, self._chance = server, results, number, chance
        self.struck = 0
        self._before = b""
        self._done: Sequence[Measurement] = ()

    def to_its_end(self, plan: Sequence[str], truth: Truth) -> Path:
        """Return the record when it is complete; `struck` counts signals that met a process which had written."""
        command, strike = _begin(self._results, plan), True
        while True:
            after = self._moment(truth) if strike else None
            end = self._server.run(command, after=after, number=self._number)
            path = self._check(end, truth, met=strike)
            if path is not None:
                if end.code == 0:
                    return path
                command = ["run", "--resume", path]
                strike = self._chance.random() < _STRUCK_AGAIN

    def _moment(self, truth: Truth) -> float:
        """Return after how many seconds to strike, mostly while the run writes."""
        if self._chance.random() < _EARLY:
            return self._chance.uniform(0, truth.seconds)
        begin = _START * truth.seconds
        left = max(_LAST, 1 - len(self._done) / len(truth.measurements))
        return begin + self._chance.uniform(0, left * (truth.seconds - begin))

    def _check(self, end: End, truth: Truth, *, met: bool) -> Path | None:
        """Hold what there is now against what was there before; return the record, None if there is none yet."""
        assert end.code in ({0, *_ENDS[self._number]} if met else {0}), end
        # Before the command takes the signals over, Python may swallow one, and says so.
        assert "Traceback" not in end.err or "KeyboardInterrupt" in end.err.split("Exception ignored in")[-1]
        assert "bug" not in end.err
        paths = [*self._results.rglob("*.jsonl")]
        if not paths:
            assert end.code != 0
            return None
        (path,) = paths
        content = path.read_bytes()
        assert content.startswith(self._before)
        grown = len(content) > len(self._before)
        self.struck += grown and end.code != 0
        more = content[len(self._before) :].count(b"\n") > 1
        self._before = content[: content.rfind(b"\n") + 1]
        lines = read_lines(path, most=None)
        self._done = lines.measurements
        assert self._done == truth.measurements[: len(self._done)]
        assert (lines.footer is not None) >= (end.code == 0)
        if end.code > 0:  # it had the time to save all, and to say how to go on
            assert content == self._before
            assert f"chipbench run --resume {path}" in end.err or not more or lines.footer is not None
        return path


@pytest.mark.slow
@pytest.mark.parametrize("number", _ENDS, ids=lambda number: number.name)
def test_whenever_a_run_is_stopped_nothing_is_lost_and_nothing_there_twice(
    number: signal.Signals, server: Server, truths: Sequence[Truth], tmp_path: Path
) -> None:
    """200 real signals at seeded moments, that met a process which had written; each is followed by --resume."""
    chance = random.Random(f"20250409 {number.name}")
    struck = 0
    while struck < KILLS:
        turn = chance.randrange(len(_PLANS))
        chain = Chain(server, tmp_path / "results", number, chance)
        path = chain.to_its_end(_PLANS[turn], truths[turn])
        _is_as_if_undisturbed(read_lines(path, most=None), truths[turn])
        struck += chain.struck
        shutil.rmtree(tmp_path / "results")


@pytest.mark.slow
@pytest.mark.parametrize("number", _ENDS, ids=lambda number: number.name)
def test_at_whichever_step_a_run_is_stopped_it_can_be_gone_on_with(
    number: signal.Signals, server: Server, tmp_path: Path
) -> None:
    """Before every single call that opens or changes a file, and between the two halves of every write."""
    truth = _undisturbed(server, tmp_path / "truth", _FEW)
    code, steps, resumed = 1, 0, 0
    while code != 0:
        results = tmp_path / str(steps)
        code = server.run(_begin(results, _FEW), number=number, at=steps).code
        assert code in {0, *_ENDS[number]}
        steps += 1
        for path in results.rglob("*.jsonl"):
            assert server.run(["run", "--resume", path]).code == 0
            _is_as_if_undisturbed(read_lines(path, most=None), truth)
            resumed += 1
    assert steps > 30
    assert 15 < resumed < steps


def _is_as_if_undisturbed(lines: Lines, truth: Truth) -> None:
    assert lines.measurements == truth.measurements
    assert [one.cell for one in lines.measurements] == [*lines.header.plan.cells]
    assert lines.footer is not None
    assert lines.torn == 0

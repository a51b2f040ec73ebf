"""A task in a process of its own: its answers and errors arrive as if it were here, and its end is no hang."""

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from types import MappingProxyType
from typing import Final

import msgspec
import pytest

from bench import devices
from bench.devices import cpu
from bench.devices.base import Block, Caveat, Check, OperandData, Spread, Telemetry
from bench.devices.nvidia import own_process
from bench.devices.nvidia.own_process import OwnProcessTask, Where
from bench.errors import BackendUnavailable, CellFailed
from bench.measure.loop import measure
from bench.measure.policy import Policy
from bench.workloads.base import Cell
from tests.support import PASSED, TINY, cell

pytestmark = pytest.mark.slow  # each of these starts a process

CELL = cell()
SWITCH: Final = "CHIPBENCH_TEST_SWITCH"
PREPARING: Final = "CHIPBENCH_TEST_PREPARING"
LONG_S: Final = 60.0  # more than any test waits for
ERRORS: Final[Mapping[str, BaseException]] = MappingProxyType(
    {
        "memory": MemoryError("no 3 GB left"),
        "cell": CellFailed("no algorithm for this shape"),
        "lost": BackendUnavailable("the GPU does not answer any more"),
    }
)


class Backend(str):
    """The name of the backend in this file. It becomes known to the process in which it is unpickled."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return _known, (str(self),)


def _known(name: str) -> str:
    vars(devices)["BACKENDS"] = {**devices.BACKENDS, name: __name__}
    return name


BACKEND: Final = Backend("test")


class Fake:
    """A task that answers without a clock; some numbers of calls and candidates mean trouble."""

    def __init__(self, seed: int, switch: str | None) -> None:
        self.cold = True
        self.data: Mapping[str, OperandData] = MappingProxyType(
            {"a": OperandData(mean=float(seed), sd=1.0, zero_share=0.25)}
        )
        self.candidates: Sequence[Mapping[str, str | int]] = [MappingProxyType({"algo": i}) for i in range(3)]
        self._switch, self._used, self._rested, self._blocks = str(switch), 0, 0.0, 0

    @property
    def algorithm(self) -> Mapping[str, str | int]:
        return MappingProxyType({"algo": self._used, "switch": self._switch, "pid": os.getpid()})

    def use(self, candidate: int) -> None:
        self._used = candidate

    def block(self, calls: int) -> Block:
        self._blocks += 1
        return Block(
            calls=calls + 1,
            seconds_per_call=1e-3 * (1 + self._used / 10 + (self._blocks * 7 % 5) * 1e-4),
            cycles_per_call=1.5e6,
            sm_clock_hz=1.5e9,
            power_w=0.0,
        )

    def rest(self, seconds: float) -> None:
        self._rested += seconds
        if seconds >= LONG_S:
            sleep(seconds)

    def watch(self) -> None:
        self._blocks = 0

    def observed(self) -> Telemetry | None:
        if not self._blocks:
            return None
        spread = Spread(least=1.0, median=2.0, most=3.0)
        return Telemetry(readings=self._blocks, seconds=self._rested, power_w=spread, event_reasons={"idle": 0.5})

    def caveats(self) -> Sequence[Caveat]:
        return (Caveat(code="launch_bound", values={"enqueue_s": 8e-6, "name": "x"}),)

    def verify(self) -> Check:
        trouble = self._used
        if trouble in _TROUBLE:
            _TROUBLE[trouble]()
        return PASSED

    def close(self) -> None:
        """Do nothing: the process ends."""


def _raise(error: BaseException) -> Callable[[], None]:
    def now() -> None:
        raise error

    return now


KILL, BUG = 104, 105
_TROUBLE: Final[Mapping[int, Callable[[], None]]] = {
    **{101 + index: _raise(error) for index, error in enumerate(ERRORS.values())},
    KILL: lambda: os.kill(os.getpid(), signal.SIGKILL),
    BUG: _raise(ZeroDivisionError("a bug")),
}


class FakeBackend:
    """Reads its switch once, when it is opened, as CuPy does."""

    def __init__(self) -> None:
        self._switch = os.environ.get(SWITCH)

    def prepare(self, cell: Cell, seed: int) -> Fake:
        assert cell == CELL
        preparing = os.environ.get(PREPARING)
        if preparing is not None:
            raise ERRORS[preparing]
        return Fake(seed, self._switch)


def open_backend() -> FakeBackend:
    """Return this file's backend, as the modules of `bench.devices` do."""
    return FakeBackend()


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """Let a hang be a failure, and Ctrl-C what it is to a user, even if the tests run in the background."""

    def hangs(_number: int, _frame: object) -> None:
        pytest.fail("this hangs")

    handlers = {signal.SIGALRM: hangs, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.alarm(40)
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def lasting() -> Iterator[OwnProcessTask]:
    """Return one task for all tests that leave it alive."""
    task = OwnProcessTask(Where(BACKEND), CELL, 7, {SWITCH: "1"}, cold=True)
    yield task
    task.close()


@pytest.fixture
def own() -> Iterator[OwnProcessTask]:
    task = OwnProcessTask(Where(BACKEND), CELL, 7, {}, cold=True)
    yield task
    task.close()


def pid_of(task: OwnProcessTask) -> int:
    return int(task.algorithm["pid"])


def children() -> set[int | None]:
    return {process.pid for process in multiprocessing.active_children()}


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = monotonic() + seconds
    while not condition() and monotonic() < end:
        sleep(0.005)
    return condition()


class TestVariables:
    def test_they_are_set_there_before_the_backend_is_opened_and_not_here(self, lasting: OwnProcessTask) -> None:
        assert lasting.algorithm["switch"] == "1"
        assert SWITCH not in os.environ

    def test_they_win_over_what_is_set_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SWITCH, "0")
        task = OwnProcessTask(Where(BACKEND), CELL, 7, MappingProxyType({SWITCH: "1"}))
        assert task.algorithm["switch"] == "1"
        assert os.environ[SWITCH] == "0"
        task.close()


class TestAnswers:
    def test_it_runs_in_another_process_and_says_so(self, lasting: OwnProcessTask) -> None:
        assert pid_of(lasting) != os.getpid()
        assert pid_of(lasting) in children()
        assert lasting.algorithm["process"] == "own"

    @pytest.mark.parametrize("cold", [False, True])
    def test_how_cold_the_device_is_only_the_one_that_asks_knows(self, *, cold: bool) -> None:
        """To a fresh process every device looks cold."""
        task = OwnProcessTask(Where(BACKEND), CELL, 7, {}, cold=cold)
        assert task.cold == cold
        task.close()

    def test_each_is_what_the_task_itself_would_give(self, lasting: OwnProcessTask) -> None:
        here = Fake(7, "1")
        assert (lasting.cold, lasting.data, lasting.candidates) == (here.cold, here.data, here.candidates)
        for task in (lasting, here):
            task.watch()
        assert lasting.observed() is here.observed() is None
        for candidate, calls in ((2, 5), (0, 1), (1, 1000)):
            for task in (lasting, here):
                task.use(candidate)
            assert lasting.block(calls) == here.block(calls)
            assert lasting.algorithm["algo"] == candidate
        for task in (lasting, here):
            task.rest(2.5)
        assert lasting.observed() == here.observed()
        assert tuple(lasting.caveats()) == here.caveats()
        assert lasting.verify() == here.verify()

    def test_a_measurement_through_the_pipe_is_the_one_without_it(self, own: OwnProcessTask) -> None:
        through = measure(own, CELL, Policy())
        here = measure(Fake(7, None), CELL, Policy())
        assert through.search is not None
        assert through.search.chosen == 0
        assert through.telemetry is not None
        assert through.algorithm == {**here.algorithm, "process": "own", "pid": pid_of(own)}
        assert msgspec.structs.replace(through, algorithm=here.algorithm) == here

    def test_the_cpu_is_really_measured_there(self) -> None:
        """The backend that every machine has: its numbers are those of the same seed here."""
        task = OwnProcessTask(Where("cpu"), CELL, 11, {"OPENBLAS_NUM_THREADS": "1"})
        found = measure(task, CELL, TINY)
        task.close()
        here = cpu.CpuBackend().prepare(CELL, 11)
        assert found.passed
        assert found.data == here.data
        assert len(found.samples.seconds_per_call) >= 6


LOST: Final = BackendUnavailable("the GPU is lost")


def lost() -> None:
    raise LOST


def arrives_as(error: BaseException) -> type[BaseException]:
    """Return what an error there is here, while the device answers: that process alone is lost."""
    return CellFailed if isinstance(error, BackendUnavailable) else type(error)


class TestErrors:
    @pytest.mark.parametrize("name", ERRORS)
    def test_one_while_preparing_is_raised_here_and_no_process_is_left(self, name: str) -> None:
        error, before = ERRORS[name], children()
        with pytest.raises(arrives_as(error), match=re.escape(str(error))):
            OwnProcessTask(Where(BACKEND), CELL, 7, {PREPARING: name})
        assert children() <= before

    @pytest.mark.parametrize(("index", "error"), [*enumerate(ERRORS.values())], ids=ERRORS)
    def test_one_of_a_call_is_raised_here_and_the_task_goes_on(
        self, index: int, error: BaseException, lasting: OwnProcessTask
    ) -> None:
        lasting.use(101 + index)
        with pytest.raises(arrives_as(error), match=re.escape(str(error))):
            lasting.verify()
        lasting.use(0)
        assert lasting.verify() == PASSED

    def test_a_backend_that_is_not_there_is_said_to_be_missing(self) -> None:
        with pytest.raises(CellFailed, match="no backend 'abacus'"):
            OwnProcessTask(Where("abacus"), CELL, 7, {})

    @pytest.mark.parametrize("trouble", ["lost", "killed"])
    def test_if_the_device_is_lost_here_too_that_is_the_reason(self, trouble: str) -> None:
        task = OwnProcessTask(Where(BACKEND), CELL, 7, {}, alive=lost)
        task.use(KILL if trouble == "killed" else 101 + [*ERRORS].index("lost"))
        with pytest.raises(BackendUnavailable) as raised:
            task.verify()
        assert raised.value is LOST
        task.close()

    def test_if_it_is_lost_while_preparing_no_process_is_left(self) -> None:
        before = children()
        with pytest.raises(BackendUnavailable) as raised:
            OwnProcessTask(Where(BACKEND), CELL, 7, {PREPARING: "lost"}, alive=lost)
        assert raised.value is LOST
        assert children() <= before


def gone(call: Callable[[], object]) -> None:
    with pytest.raises(CellFailed, match="ended without a word") as raised:
        call()
    assert "\n" not in str(raised.value)


class TestEnd:
    def test_killed_at_work_it_gives_no_answer_from_then_on(self, own: OwnProcessTask) -> None:
        own.use(KILL)
        gone(own.verify)
        gone(lambda: own.block(1))
        gone(lambda: own.algorithm)

    def test_killed_between_two_calls_too(self, own: OwnProcessTask) -> None:
        os.kill(pid_of(own), signal.SIGKILL)
        gone(lambda: own.block(1))

    def test_killed_while_it_is_waited_for_too(self, own: OwnProcessTask) -> None:
        killer = threading.Timer(0.05, os.kill, (pid_of(own), signal.SIGKILL))
        killer.start()
        gone(lambda: own.rest(LONG_S))
        killer.join()

    def test_a_bug_there_is_one_line_here_and_its_trace_on_stderr(self, capfd: pytest.CaptureFixture[str]) -> None:
        task = OwnProcessTask(Where(BACKEND), CELL, 7, {})
        task.use(BUG)
        gone(task.verify)
        task.close()
        assert "ZeroDivisionError: a bug" in capfd.readouterr().err

    def test_closing_ends_the_process_without_a_word(self, capfd: pytest.CaptureFixture[str]) -> None:
        task = OwnProcessTask(Where(BACKEND), CELL, 7, {})
        pid = pid_of(task)
        task.close()
        assert pid not in children()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        gone(lambda: task.block(1))
        task.close()
        assert capfd.readouterr() == ("", "")

    def test_closing_one_that_was_killed_is_quiet(self, capfd: pytest.CaptureFixture[str]) -> None:
        task = OwnProcessTask(Where(BACKEND), CELL, 7, {})
        os.kill(pid_of(task), signal.SIGKILL)
        task.close()
        assert capfd.readouterr() == ("", "")

    def test_one_that_will_not_end_is_killed(self, own: OwnProcessTask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(own_process, "_PATIENCE_S", 0.1)
        pid = pid_of(own)
        own._pipe.send(("rest", (LONG_S,)))
        begun = monotonic()
        own.close()
        assert monotonic() - begun < LONG_S / 4
        assert pid not in children()

    def test_it_ends_by_itself_when_nobody_is_left_to_ask(self, own: OwnProcessTask) -> None:
        """As after a kill of the process that asks: the pipe is all that ties the two."""
        process = own._process
        own._pipe.close()
        process.join(20)
        assert process.exitcode == 0


class TestSignals:
    def test_ctrl_c_does_not_end_it(self, lasting: OwnProcessTask) -> None:
        """A terminal sends it to both; the one that asks decides."""
        before = pid_of(lasting)
        for _ in range(3):
            os.kill(before, signal.SIGINT)
            assert lasting.block(3).calls == 4
        assert pid_of(lasting) == before

    def test_ctrl_c_while_it_works_stops_the_one_that_waits_and_closing_ends_the_other(
        self, own: OwnProcessTask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(own_process, "_PATIENCE_S", 0.1)
        pid = pid_of(own)

        def press() -> None:
            for one in (pid, os.getpid()):
                os.kill(one, signal.SIGINT)

        both = threading.Timer(0.05, press)
        both.start()
        with pytest.raises(KeyboardInterrupt):
            own.rest(LONG_S)
        both.join()
        assert pid in children()
        own.close()
        assert within(5, lambda: pid not in children())

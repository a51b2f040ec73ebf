"""A cluster's workers as places, without a cluster: what comes back, in what order, and who is left out."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.errors import BackendUnavailable
from bench.run.engine import Answered, Ended, Message
from bench.run.fleet import engine as engine_module
from bench.run.fleet.engine import DaskEngine
from bench.version import VERSION


class Task:
    """A task as Dask's futures tell of it."""

    def __init__(self, status: str = "pending", answer: object = None) -> None:
        self.status, self.answer = status, answer
        self.cancelled = False
        self.when_done: list[Callable[[Any], None]] = []

    def result(self, timeout: float) -> object:
        return self.answer

    def exception(self, timeout: float | None = None) -> object:
        return self.answer

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        self.when_done.append(call)

    def cancel(self) -> None:
        self.cancelled = True

    def done(self, status: str, answer: object = None) -> None:
        self.status, self.answer = status, answer
        for call in self.when_done:
            call(self)


class ClosedClientError(Exception):
    """Of no class but its own, as Dask's of this name."""


class Scheduler:
    """Knows its workers, unless it is `gone`."""

    def __init__(self) -> None:
        self.workers: list[str] = ["a", "b"]
        self.asked = 0
        self.gone: Exception | None = None

    async def ncores(self, *, workers: None) -> dict[str, int]:
        self.asked += 1
        if self.gone is not None:
            raise self.gone
        return dict.fromkeys(self.workers, 1)


class FakeClient:
    """What `DaskEngine` asks of a client."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.versions: dict[str, Task] = {}
        self.jobs: list[tuple[str, Task]] = []
        self.handler: Callable[[tuple[float, object]], None] = lambda _event: None
        self.subscribed: list[str] = []
        self.status = "running"

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[float, object]], None]) -> None:
        self.subscribed.append(topic)
        self.handler = handler

    def lost(self, error: Exception) -> None:
        """The scheduler is gone, and the client knows."""
        self.status, self.scheduler.gone = "closed", error

    def unsubscribe_topic(self, topic: str) -> None:
        if self.status == "closed":
            raise ClosedClientError
        self.subscribed.remove(topic)

    def sync(self, function: Callable[[], Any], *, callback_timeout: float) -> object:
        assert callback_timeout < 60, "nothing is waited for without an end"
        return asyncio.run(function())

    def submit(self, *_arguments: object, key: str, workers: list[str], **options: object) -> Task:
        assert options == {"allow_other_workers": False, "pure": False, "retries": 0}
        (worker,) = workers
        if self.status == "closed":
            raise ClosedClientError
        if "version" in key:
            return self.versions.setdefault(worker, Task("finished", VERSION))
        self.jobs.append((worker, Task()))
        return self.jobs[-1][1]

    def event(self, *told: object) -> None:
        self.handler((0.0, list(told)))


class Machine:
    """An engine on a client that a test plays, and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(engine_module, "monotonic", lambda: self.now)
        monkeypatch.setattr(engine_module, "sleep", self._sleep)
        self.client = FakeClient()
        self.engine = DaskEngine(self.client)  # type: ignore[arg-type]

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def places(self) -> list[str]:
        self.now += 2
        self.engine.places()
        self.now += 2
        return self.engine.places()

    def started(self) -> Task:
        self.places()
        self.engine.start("a", 7, b"job\n")
        return self.client.jobs[-1][1]

    def messages(self) -> list[Message]:
        found: list[Message] = []
        for _ in range(20):
            self.now += 0.1
            message = self.engine.next(0)
            found += [] if message is None else [message]
        return found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


class TestPlaces:
    def test_those_of_this_version_are_there_and_others_are_named(self, machine: Machine) -> None:
        machine.client.scheduler.workers = ["a", "old", "bare"]
        machine.client.versions = {
            "old": Task("finished", "0.1.0"),
            "bare": Task("error", ModuleNotFoundError("No module named 'bench'")),
        }
        assert machine.places() == ["a"]
        left = {place: one.why for place, one in machine.engine.left_out.items()}
        assert left["old"].startswith("it has chipbench 0.1.0")
        assert left["bare"].startswith("it has no chipbench (No module named 'bench')")

    def test_one_that_does_not_answer_is_waited_for_and_named_until_it_does(self, machine: Machine) -> None:
        machine.client.versions["b"] = waiting = Task()
        machine.engine.settle()
        assert 9 < machine.now < 12
        assert machine.places() == ["a"]
        assert "busy" in machine.engine.left_out["b"].why
        waiting.done("finished", VERSION)
        assert machine.places() == ["a", "b"]
        assert machine.engine.left_out == {}

    def test_one_that_died_as_it_was_asked_is_asked_again_when_it_is_back(self, machine: Machine) -> None:
        machine.client.versions["b"] = Task("error", OSError("it is gone"))
        assert machine.places() == ["a"]
        assert machine.engine.left_out == {}
        machine.client.versions["b"] = Task("finished", VERSION)
        assert machine.places() == ["a", "b"]

    def test_a_scheduler_that_is_gone_is_said_in_one_line(self, machine: Machine) -> None:
        machine.client.scheduler.gone = TimeoutError("Timed out")
        machine.now += 5
        with pytest.raises(BackendUnavailable, match=r"the Dask scheduler does not answer any more \(Timed out\)"):
            machine.engine.places()

    def test_so_is_one_that_the_client_has_given_up_whatever_dask_raises_then(self, machine: Machine) -> None:
        machine.places()
        machine.client.lost(AttributeError("'NoneType' object has no attribute 'ncores'"))
        machine.now += 5
        with pytest.raises(BackendUnavailable, match="the Dask scheduler does not answer any more"):
            machine.engine.places()
        with pytest.raises(BackendUnavailable, match="the Dask scheduler does not answer any more"):
            machine.engine.start("a", 7, b"job\n")

    def test_what_fails_while_the_scheduler_is_there_is_no_matter_of_the_cluster(self, machine: Machine) -> None:
        machine.client.scheduler.gone = AttributeError("a fault in the program")
        machine.now += 5
        with pytest.raises(AttributeError, match="a fault in the program"):
            machine.engine.places()


class TestLines:
    def test_they_come_in_their_order_and_then_the_end(self, machine: Machine) -> None:
        task = machine.started()
        for count, line in enumerate(("one\n", "two\n")):
            machine.client.event(7, "x", count, line, None)
        machine.client.event(7, "x", 2, None, None)
        task.done("finished")
        assert machine.messages() == [Answered(7, b"one\n"), Answered(7, b"two\n"), Ended(7, None)]

    def test_why_it_broke_off_comes_with_the_end(self, machine: Machine) -> None:
        machine.started()
        machine.client.event(7, "x", 0, None, "killed")
        assert machine.messages() == [Ended(7, "killed")]

    @pytest.mark.parametrize("second", [(7, "x", 2), (7, "x", 0), (7, "y", 0), (7, "y", 1)])
    def test_one_that_is_missing_doubled_or_of_another_attempt_ends_it(
        self, machine: Machine, second: tuple[int, str, int]
    ) -> None:
        machine.started()
        machine.client.event(7, "x", 0, "one\n", None)
        machine.client.event(*second, "two\n", None)
        assert machine.messages() == [Answered(7, b"one\n"), Ended(7, "lines that it sent did not arrive")]

    @pytest.mark.parametrize(
        "told",
        [
            (),
            (7,),
            ("7", "x", 0, "a\n", None),
            (8, "x", 0, "a\n", None),
            (7, "x", 0, 5, None),
            (7, "x", 0, "a\n", 3),
        ],
    )
    def test_what_is_no_line_of_a_job_is_nobodys(self, machine: Machine, told: tuple[object, ...]) -> None:
        machine.started()
        machine.client.event(*told)
        machine.client.handler((0.0, "text"))
        assert machine.messages() == []

    def test_a_task_that_is_over_and_whose_last_line_never_comes_ends(self, machine: Machine) -> None:
        task = machine.started()
        task.done("finished")
        machine.now += 11
        assert machine.messages() == [Ended(7, "lines that it sent did not arrive")]

    def test_a_worker_that_cannot_do_it_says_why(self, machine: Machine) -> None:
        machine.started().done("error", RuntimeError("no room"))
        assert machine.messages() == [Ended(7, "its worker could not do it (no room)")]

    def test_a_job_whose_worker_is_gone_ends_once_after_what_it_had_sent(self, machine: Machine) -> None:
        machine.started()
        machine.client.scheduler.workers = ["b"]
        machine.client.event(7, "x", 0, "one\n", None)
        expected = [Answered(7, b"one\n"), Ended(7, "its worker is gone (killed, or its machine is down)")]
        assert [*machine.messages(), *machine.messages()] == expected


class TestClose:
    def test_what_arrived_is_still_to_be_had_and_nobody_is_asked_for_anything(self, machine: Machine) -> None:
        task = machine.started()
        machine.client.event(7, "x", 0, "one\n", None)
        machine.client.scheduler.gone = TimeoutError("Timed out")
        asked = machine.client.scheduler.asked
        machine.now += 100
        machine.engine.close()
        assert machine.messages() == [Answered(7, b"one\n")]
        assert machine.client.scheduler.asked == asked
        assert task.cancelled
        assert machine.client.subscribed == []

    def test_a_client_that_gave_up_keeps_nobody_from_ending(self, machine: Machine) -> None:
        task = machine.started()
        machine.client.event(7, "x", 0, "one\n", None)
        machine.client.lost(TimeoutError("Timed out"))
        machine.engine.close()
        assert machine.messages() == [Answered(7, b"one\n")]
        assert task.cancelled

    def test_a_job_that_is_stopped_is_cancelled_and_ends(self, machine: Machine) -> None:
        task = machine.started()
        machine.engine.stop(7)
        assert machine.messages() == [Ended(7, "it was stopped")]
        assert task.cancelled

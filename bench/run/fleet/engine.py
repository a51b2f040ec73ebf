"""The workers of a Dask cluster as the places of an engine: who is there, what was sent, what came back."""

import math
import pkgutil
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from bench.errors import BackendUnavailable, one_line
from bench.run.engine import Answered, Ended, Inbox, LeftOut, Message
from bench.run.fleet.worker import BUSY, serve
from bench.run.several import other_version
from bench.version import VERSION

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_S: Final = 10.0
POLL_S: Final = 0.2
WHERE: Final = "bench.version:VERSION"
_LOOK_S: Final = 1.0  # between two looks at which workers are there
_LATE_S: Final = 10.0  # for events that a result has overtaken
_GONE: Final = "its worker is gone (killed, or its machine is down)"
_LOST_LINES: Final = "lines that it sent did not arrive"


class _Job:
    """What is known of one job that was sent: where to, and what of it came back."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.future: Future[None] | None = None
        self.attempt: str | None = None
        self.lines = 0
        self.until: float | None = None


class DaskEngine:
    """The workers of a cluster, by their addresses; made by `connected`."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._topic = f"chipbench-{secrets.token_hex(8)}"
        self._inbox = Inbox()
        self._jobs: dict[int, _Job] = {}
        self._versions: dict[str, str | None] = {}
        self._asked: dict[str, tuple[float, Future[object]]] = {}
        self._closed = False
        self._places: list[str] = []
        self._looked = self._checked = -math.inf
        self.left_out: dict[str, LeftOut] = {}
        client.subscribe_topic(self._topic, self._on_event)

    def places(self) -> list[str]:
        """Return the workers that are there and have this version of chipbench; the others are in `left_out`.

        One that has not said its version yet is neither; none is waited for.
        """
        if not self._closed and monotonic() - self._looked > _LOOK_S:
            with answering(self._client):
                there = self._client.sync(self._nthreads, callback_timeout=ANSWER_S)
                self._ask_versions([place for place in there if place not in self._versions])
            self._places = [place for place in there if self._versions.get(place) == VERSION]
            self._looked = monotonic()
        return self._places

    async def _nthreads(self) -> list[str]:
        """Ask the scheduler for its workers; Dask's own call would wait for ever for one that hangs."""
        scheduler: Any = self._client.scheduler
        return list(await scheduler.ncores(workers=None))

    def settle(self) -> None:
        """Wait until every worker has said its version, or has had the time to."""
        until = monotonic() + ANSWER_S
        self.places()
        while self._asked and monotonic() < until:
            sleep(POLL_S)
            self._looked = -math.inf
            self.places()

    def _ask_versions(self, new: list[str]) -> None:
        """Ask new workers for their version by Python's own means: theirs may lack whatever this version has."""
        for place in new:
            if place not in self._asked:
                asked = self._submit(place, f"version-{place}", pkgutil.resolve_name, WHERE)
                self._asked[place] = (monotonic(), asked)
        for place, (since, future) in list(self._asked.items()):
            if future.status == "pending":
                if monotonic() - since > ANSWER_S:
                    self.left_out[place] = LeftOut(place, BUSY)
                continue
            del self._asked[place]
            self.left_out.pop(place, None)
            self._told(place, future)

    def _told(self, place: str, future: "Future[object]") -> None:
        if future.status == "finished":
            version = str(future.result(timeout=ANSWER_S))
            self._versions[place] = version
            if version != VERSION:
                self.left_out[place] = LeftOut(place, other_version(version))
            return
        error = future.exception(timeout=ANSWER_S) if future.status == "error" else None
        if isinstance(error, ImportError | AttributeError):
            self._versions[place] = None
            why = f"it has no chipbench ({one_line(error)}); install it there, or start it where that is"
            self.left_out[place] = LeftOut(place, why)

    def _submit(self, place: str, name: str, function: Callable[..., object], *arguments: object) -> "Future[Any]":
        """Let one worker, and no other, call a function."""
        return self._client.submit(
            function,
            *arguments,
            key=f"{self._topic}-{name}",
            workers=[place],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )

    def start(self, place: str, number: int, job: bytes) -> None:
        """Send a job to a worker."""
        sent = self._jobs[number] = _Job(place)  # its first lines may be here before `submit` returns
        with answering(self._client):
            sent.future = self._submit(place, str(number), serve, job, self._topic, number)
        sent.future.add_done_callback(partial(self._done, number))

    def _done(self, number: int, future: "Future[None]") -> None:
        """Note that a task is over: of a good one the last event may be on its way still."""
        job = self._jobs.get(number)
        if future.status == "error":
            self._inbox.put(Ended(number, f"its worker could not do it ({one_line(future.exception())})"))
        elif job is not None:
            job.until = monotonic() + _LATE_S

    def _on_event(self, event: tuple[float, object]) -> None:
        """Take an event apart; whatever is none of a job that runs is nobody's answer."""
        match event[1]:
            case [int(number), str(attempt), int(place), (str() | None) as line, (str() | None) as error]:
                job = self._jobs.get(number)
                if job is not None:
                    self._inbox.put(_arrived(number, job, (attempt, place), line, error))

    def next(self, seconds: float) -> Message | None:
        """Return the next message, or None after so many seconds."""
        if not self._closed and monotonic() - self._checked > _LOOK_S:
            self._checked = monotonic()
            self._look_for_overdue()
        message = self._inbox.next(seconds)
        if message is None or message.number not in self._jobs:
            return None
        if isinstance(message, Ended):
            self._forget(message.number)
        return message

    def _look_for_overdue(self) -> None:
        """Note, after all that came, that a job's last lines do not come, or that its worker is gone."""
        places = self.places()
        for number, job in self._jobs.items():
            if job.until is None and job.place not in places:
                self._inbox.put(Ended(number, _GONE))
                job.until = math.inf
            elif job.until is not None and monotonic() > job.until:
                self._inbox.put(Ended(number, _LOST_LINES))
                job.until = math.inf

    def _forget(self, number: int) -> None:
        future = self._jobs.pop(number).future
        if future is not None:
            with suppress(Exception):  # of a scheduler that is gone nothing needs to be cancelled
                future.cancel()

    def stop(self, number: int) -> None:
        """Cancel a job; its worker notices within a second or so."""
        if number in self._jobs:
            self._inbox.put(Ended(number, "it was stopped"))

    def close(self) -> None:
        """Cancel whatever runs; what was sent by then is still to be had by `next`, and nothing is waited for."""
        self._closed = True
        for job in self._jobs.values():
            if job.future is not None:
                with suppress(Exception):  # nor here; Dask raises exceptions of many classes then
                    job.future.cancel()
            job.until = math.inf
        with suppress(Exception):
            self._client.unsubscribe_topic(self._topic)


def _arrived(number: int, job: _Job, at: tuple[str, int], line: str | None, error: str | None) -> Message:
    """Return the message that an event is; of a job that was begun anew, or lost a line, that it broke off."""
    attempt, place = at
    job.attempt = job.attempt or attempt
    if attempt != job.attempt or place != job.lines:
        return Ended(number, _LOST_LINES)
    job.lines += 1
    return Ended(number, error) if line is None else Answered(number, line.encode())


@contextmanager
def answering(client: "Client") -> Iterator[None]:
    """Turn what Dask raises when the scheduler is gone into BackendUnavailable.

    Of a client that lost it, or gave it up, that is an exception of any class, as its parts are taken away.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError | RuntimeError) and client.status == "running":
            raise
        message = (
            f"the Dask scheduler does not answer any more ({one_line(error)}); what was finished is saved, and "
            "--resume goes on with it"
        )
        raise BackendUnavailable(message) from error

"""Workers of a Dask cluster as places. The only importer of `distributed`.

Dask carries jobs and answers; it schedules nothing, each job names its worker. On the worker a job runs in a fresh
process, so that nothing of one is left for the next, and its lines come back as events, as they are made.

Whoever can reach a scheduler without TLS can run code on it: Dask has no other protection, and this adds none.
"""

import json
import logging
import math
import pkgutil
import re
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import count
from multiprocessing import resource_tracker
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.errors import BackendUnavailable, ChipbenchError, InvalidRequest, one_line
from bench.run.engine import Answered, Ended, Inbox, LeftOut, Message
from bench.run.member import MemberProcess
from bench.run.several import other_version
from bench.version import VERSION

if TYPE_CHECKING:
    from distributed import Client, Future, Security

_ANSWER_S: Final = 10.0
_LOOK_S: Final = 1.0  # between two looks at which workers are there
_LATE_S: Final = 10.0  # for events that a result has overtaken
_POLL_S: Final = 0.2
_ADDRESS: Final = re.compile(r"(tcp|tls)://(\[[\da-fA-F:.%]+\]|[\w.-]+):\d{1,5}", re.ASCII)
_CANCELLED: Final = ("cancelled", "released", "forgotten")
_PIP: Final = "pip install 'chipbench[cluster]'"
_GONE: Final = "its worker is gone (killed, or its machine is down)"
_LOST_LINES: Final = "lines that it sent did not arrive"


class Tls(NamedTuple):
    """The files of a client that speaks TLS: the authority's certificate, its own, and its key."""

    ca: Path
    cert: Path
    key: Path


class Cluster(NamedTuple):
    """Which cluster: the `address` of its scheduler (or a scheduler file), or `local` workers to be started here.

    The first job waits up to `wait_s` seconds until there are so many `workers`.
    """

    address: str = ""
    local: int = 0
    workers: int = 1
    wait_s: float = 30.0
    tls: Tls | None = None


def relay(job: bytes, emit: Callable[[bytes], None], is_wanted: Callable[[], bool]) -> None:
    """Do a job in a fresh process, as long as it is wanted."""
    process = MemberProcess(job)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            if not is_wanted():
                process.stop()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        for line in process.lines():
            emit(line)
    finally:
        over.set()
        process.stop()


def serve(job: bytes, topic: str, number: int) -> None:
    """Do a job on the worker that this runs on.

    Its lines go out as events [number, attempt, count from 0, line], the last with None, or why it broke off, in
    the place of a line: [number, attempt, count, None, error].
    """
    from distributed import get_worker  # noqa: PLC0415 - `cluster` is an extra

    worker = get_worker()
    key, attempt, sent = worker.get_current_task(), secrets.token_hex(4), count()

    def emit(line: bytes | None, error: str | None = None) -> None:
        worker.log_event(topic, [number, attempt, next(sent), line.decode() if line else None, error])

    def is_wanted() -> bool:
        """Whether nobody has cancelled it; a client that is gone has."""
        task = worker.state.tasks.get(key)
        return task is not None and task.state not in _CANCELLED

    try:
        relay(job, emit, is_wanted)
    except ChipbenchError as failure:
        emit(None, one_line(failure))
    else:
        emit(None)


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
        self._places: list[str] = []
        self._looked = self._checked = -math.inf
        self.left_out: dict[str, LeftOut] = {}
        client.subscribe_topic(self._topic, self._on_event)

    def places(self) -> list[str]:
        """Return the workers that are there and have this version of chipbench; the others are in `left_out`."""
        if monotonic() - self._looked > _LOOK_S:
            with _answering():
                there = list(self._client.nthreads())
            self._check_versions([place for place in there if place not in self._versions])
            self._places = [place for place in there if self._versions.get(place) == VERSION]
            self._looked = monotonic()
        return self._places

    def _check_versions(self, new: list[str]) -> None:
        """Ask new workers for their version by Python's own means: theirs may lack whatever this version has."""
        if not new:
            return
        with _answering():
            told = self._client.run(pkgutil.resolve_name, "bench.version:VERSION", workers=new, on_error="return")
        for place, version in told.items():
            self._versions[place] = version if isinstance(version, str) else None
            if not isinstance(version, str):
                why = f"it has no chipbench ({one_line(version)}); install it there, or start it where that is"
                self.left_out[place] = LeftOut(place, why)
            elif version != VERSION:
                self.left_out[place] = LeftOut(place, other_version(version))

    def start(self, place: str, number: int, job: bytes) -> None:
        """Send a job to a worker."""
        sent = self._jobs[number] = _Job(place)  # its first lines may be here before `submit` returns
        with _answering():
            sent.future = self._client.submit(
                serve,
                job,
                self._topic,
                number,
                key=f"{self._topic}-{number}",
                workers=[place],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
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
        if monotonic() - self._checked > _LOOK_S:
            self._look_for_overdue()
            self._checked = monotonic()
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
            with suppress(OSError, RuntimeError):  # of a scheduler that is gone nothing needs to be cancelled
                future.cancel()

    def stop(self, number: int) -> None:
        """Cancel a job; its worker notices within a second or so."""
        if number in self._jobs:
            self._inbox.put(Ended(number, "it was stopped"))

    def close(self) -> None:
        """Cancel whatever runs; what was sent by then is still to be had by `next`."""
        for job in self._jobs.values():
            if job.future is not None:
                with suppress(OSError, RuntimeError):
                    job.future.cancel()
            job.until = math.inf


def _arrived(number: int, job: _Job, at: tuple[str, int], line: str | None, error: str | None) -> Message:
    """Return the message that an event is; of a job that was begun anew, or lost a line, that it broke off."""
    attempt, place = at
    job.attempt = job.attempt or attempt
    if attempt != job.attempt or place != job.lines:
        return Ended(number, _LOST_LINES)
    job.lines += 1
    return Ended(number, error) if line is None else Answered(number, line.encode())


@contextmanager
def connected(cluster: Cluster) -> Iterator[DaskEngine]:
    """Give the engine of a cluster, once enough of its workers are there.

    Raises BackendUnavailable if `distributed` is not installed, no scheduler answers or workers are lacking, and
    InvalidRequest for an address that is none, or TLS that is asked for on one side only.
    """
    try:
        import distributed  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        message = f"this needs Dask's package distributed, which is not installed: {_PIP}"
        raise BackendUnavailable(message) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        client = stack.enter_context(closing(_client(cluster, stack)))
        _wait_for_workers(client, cluster)
        yield DaskEngine(client)


def _client(cluster: Cluster, stack: ExitStack) -> "Client":
    from distributed import Client, LocalCluster  # noqa: PLC0415 - an extra

    if cluster.local:
        with _ctrl_c_held_back():
            local = LocalCluster(
                n_workers=cluster.local,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        stack.enter_context(closing(local))
        return Client(local, set_as_default=False)
    address = _address(cluster)
    try:
        return Client(address, security=_security(cluster.tls), timeout=_ANSWER_S, set_as_default=False)
    except (OSError, RuntimeError) as error:
        message = (
            f"no Dask scheduler answers at {address} within {_ANSWER_S:g} s ({one_line(error)}); check the "
            "address, the network, and whether it wants TLS"
        )
        raise BackendUnavailable(message) from error


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Hold Ctrl-C back from threads and processes that are begun meanwhile, for good: it is answered here."""
    resource_tracker.ensure_running()  # else the first start of a process does that, and lets signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _address(cluster: Cluster) -> str:
    """Return the scheduler's address, which a file may hold. Raises InvalidRequest if it does not fit TLS."""
    address = cluster.address
    if address.endswith(".json"):
        try:
            address = str(json.loads(Path(address).read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{cluster.address}: is no scheduler file ({one_line(error)}); 'dask scheduler' writes one"
            raise InvalidRequest(message) from error
    if "://" not in address:
        address = f"tcp://{address}"
    if not _ADDRESS.fullmatch(address):
        message = f"{cluster.address!r} is no address of a scheduler; give tcp://HOST:PORT or tls://HOST:PORT"
        raise InvalidRequest(message)
    secure = address.startswith("tls://")
    if secure != (cluster.tls is not None):
        lacking = "--tls-ca, --tls-cert and --tls-key" if secure else "an address that begins with tls://"
        message = f"{address}: TLS needs {lacking}, too"
        raise InvalidRequest(message)
    return address


def _security(tls: Tls | None) -> "Security | None":
    if tls is None:
        return None
    from distributed import Security  # noqa: PLC0415 - an extra

    for file in tls:
        if not file.is_file():
            message = f"{file}: no such file; --tls-ca, --tls-cert and --tls-key each name one (PEM)"
            raise InvalidRequest(message)
    return Security(
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )


def _wait_for_workers(client: "Client", cluster: Cluster) -> None:
    wanted = cluster.local or cluster.workers
    until = monotonic() + cluster.wait_s
    while True:
        with _answering():
            there = len(client.nthreads())
        if there >= wanted:
            return
        if monotonic() > until:
            break
        sleep(_POLL_S)
    where = cluster.address or "the local cluster"
    have = f"{there} of {wanted} workers are" if there else "no worker is"
    message = f"{have} at {where} after {cluster.wait_s:g} s; start workers with 'dask worker', or wait for longer"
    raise BackendUnavailable(message)


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what Dask raises when the scheduler is gone into BackendUnavailable."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        message = (
            f"the Dask scheduler does not answer any more ({one_line(error)}); what was finished is saved, and "
            "--resume goes on with it"
        )
        raise BackendUnavailable(message) from error

"""One device's part of a run over several: the jobs that a process of its own does, and the lines of its answers.

A job is one line of JSON on the process's input, its answers are lines of JSON on its output: nothing that is sent
either way is code. The process ends when its input does, so that nothing outlives who asked.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.devices import open_backend
from bench.devices.base import Caveat, Device, Environment, Origin
from bench.errors import BackendUnavailable, ChipbenchError, InvalidRequest, impersonal, one_line
from bench.measure.policy import Policy
from bench.records.record import Header, Line, Resumed, encode_line
from bench.records.store import now
from bench.run.choosing import choose
from bench.run.planning import Wish, resolve
from bench.run.session import BlockDone, CellDone, CellStarted, Event, difference, measured, named_host, told_apart
from bench.version import VERSION
from bench.workloads.base import Cell, Plan

_ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE_S: Final = 10.0
DIED: Final = "its measuring process ended without a word (killed, or out of memory?)"


class _Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What jobs and answers have in common: each says what it is."""


class Look(_Told, frozen=True, kw_only=True, tag="look"):
    """Which device is there? `key` is the results folder's, by whose hash it is told; answered by `Seen`."""

    backend: str
    key: str
    index: int | None = None
    identify: bool = False


class Seen(_Told, frozen=True, kw_only=True, tag="seen"):
    """A device and its surroundings at rest; `note` says why it is not a better one."""

    tool: str
    backend: str
    origin: Origin
    device: Device
    environment: Environment
    caveats: tuple[Caveat, ...]
    note: str | None = None


class Resolve(_Told, frozen=True, kw_only=True, tag="resolve"):
    """What is to be measured there for a wish? Answered by `Resolved`."""

    backend: str
    wish: Wish
    index: int | None = None


class Resolved(_Told, frozen=True, kw_only=True, tag="resolved"):
    """The plan, its policy, and what was left out of it."""

    plan: Plan
    policy: Policy
    notes: tuple[str, ...]


class Measure(_Told, frozen=True, kw_only=True, tag="measure"):
    """Measure what of the header's plan is not `done`; answered by the lines of its record after the header.

    `resumed`: the record was begun before, so that the surroundings must be as they were then. With `events`
    what it is at is told, too, between those lines.
    """

    header: Header
    key: str
    done: tuple[Cell, ...] = ()
    resumed: bool = False
    events: bool = False


class Failed(_Told, frozen=True, kw_only=True, tag="failed"):
    """The job ended in an error that has a plain explanation; `code` is the error's exit code."""

    text: str
    code: int


Job = Look | Resolve | Measure
Answer = Seen | Resolved | Failed | CellStarted | BlockDone


def _plain(value: object) -> str:
    """Return a path, the one thing in a job that is not plain data, as its last part: it may name a user."""
    if isinstance(value, Path):
        return value.name
    message = f"{type(value).__name__} cannot be sent"
    raise NotImplementedError(message)


def _unplain(kind: type, value: Any) -> Any:  # noqa: ANN401 - msgspec's
    return kind(value)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
_JOBS: Final = msgspec.json.Decoder(Job, dec_hook=_unplain)
_ANSWERS: Final = msgspec.json.Decoder(Answer)


def encoded(told: Job | Answer) -> bytes:
    """Return a job or an answer as one line."""
    return _ENCODER.encode(told) + b"\n"


def decoded_job(line: bytes) -> Job:
    """Return the job that a line is. Raises InvalidRequest if it is none."""
    try:
        job: Job = _JOBS.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"what was to be done could not be read: {one_line(error)}"
        raise InvalidRequest(message) from error
    return job


def answer_of(line: bytes) -> Answer | None:
    """Return the answer that a line is; None if it is none, such as a line of a record."""
    try:
        answer: Answer = _ANSWERS.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return answer


def work(line: bytes, emit: Callable[[bytes], None]) -> None:
    """Do a job in this process and hand its answers to `emit`, line by line; an error is an answer, too."""
    try:
        job = decoded_job(line)
        match job:
            case Look():
                emit(encoded(_look(job)))
            case Resolve():
                found = resolve(open_backend(job.backend, job.index), job.wish)
                emit(encoded(Resolved(plan=found.plan, policy=found.policy, notes=found.notes)))
            case Measure():
                _measure(job, emit)
    except ChipbenchError as error:
        emit(encoded(Failed(text=one_line(error), code=error.exit_code)))
    except Exception as error:  # noqa: BLE001 - there is nobody there to whom a traceback would tell anything
        text = f"a bug in chipbench showed there: {type(error).__name__}: {impersonal(error)}"
        emit(encoded(Failed(text=text, code=ChipbenchError.exit_code)))


def _look(job: Look) -> Seen:
    backend, note = choose(job.backend, job.index)
    device = told_apart(backend.device(), backend.identity(), job.key.encode())
    if job.identify:
        device = named_host(device)
    return Seen(
        tool=VERSION,
        backend=backend.name,
        origin=backend.origin,
        device=device,
        environment=backend.environment(),
        caveats=tuple(backend.caveats()),
        note=note,
    )


def _measure(job: Measure, emit: Callable[[bytes], None]) -> None:
    header = job.header
    backend = open_backend(header.backend, header.device.index)
    here = backend.environment()
    key = told_apart(backend.device(), backend.identity(), job.key.encode()).key
    differs = difference(header, here, VERSION, str(key))
    if differs is not None:
        message = f"its surroundings are not what they were: {differs}"
        raise InvalidRequest(message)

    def append(line: Line) -> None:
        emit(encode_line(line))

    def tell(event: Event) -> None:
        if job.events and not isinstance(event, CellDone):  # the line of a cell says that it is done
            emit(encoded(event))

    if job.resumed:
        append(Resumed(at=now(), conditions=here.conditions))
    for _ in measured(backend, header, frozenset(job.done), append, tell):
        pass


class MemberProcess:
    """A fresh process that does one job; `lines` are its answers."""

    def __init__(self, job: bytes) -> None:
        """Start it. `job` is one line. Raises BackendUnavailable if no process can be started."""
        paths = [path for path in (os.environ.get("PYTHONPATH"), str(_ROOT)) if path]
        try:
            self._process = subprocess.Popen(
                # -P: nothing is imported from the folder that people happen to be in.
                [sys.executable, "-P", "-m", "bench.run.member"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C in a terminal is answered by who asked, which ends this process's input.
                start_new_session=True,
            )
        except OSError as error:
            message = f"no process can be started to measure in ({error.strerror}); free memory, or processes"
            raise BackendUnavailable(message) from error
        self._job = job

    def lines(self) -> Iterator[bytes]:
        """Yield its answers as they come. Raises BackendUnavailable if it dies without a word."""
        asking, answers = self._process.stdin, self._process.stdout
        if asking is None or answers is None:
            return
        with answers:
            try:
                asking.write(self._job)
                asking.flush()
                yield from (line for line in answers if line.endswith(b"\n"))
            except (OSError, ValueError) as error:  # it is gone already, or was stopped
                raise BackendUnavailable(DIED) from error
            finally:
                self._end_input()
                code = self._process.wait()
        if code != 0:
            raise BackendUnavailable(DIED)

    def stop(self) -> None:
        """End it now; what it has not sent is lost. May be called from any thread."""
        self._end_input()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end_input(self) -> None:
        # What was still to be written is of no use to a process that is gone.
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()


def main() -> None:
    """Do the job that stands on the input; end at once when the input does."""
    for number in (signal.SIGINT, signal.SIGTERM):  # who asked answers them, and ends this process's input
        signal.signal(number, signal.SIG_IGN)
    # Whatever a library prints goes to stderr, the answers alone to where they are read.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    job = sys.stdin.buffer.readline()
    over = threading.Event()
    threading.Thread(target=_until_the_input_ends, args=(over,), daemon=True).start()

    def emit(line: bytes) -> None:
        try:
            answers.write(line)
            answers.flush()
        except BrokenPipeError:  # who asked is gone, so nobody is told anything any more
            os._exit(1)

    work(job, emit)
    over.set()


def _until_the_input_ends(over: threading.Event) -> None:
    os.read(0, 1)
    os._exit(0 if over.is_set() else 1)


if __name__ == "__main__":
    main()

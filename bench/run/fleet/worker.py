"""What runs on a Dask worker: a job in a fresh process, whose lines go out as events."""

import secrets
import threading
from collections.abc import Callable
from itertools import count
from typing import Final

from bench.errors import BackendUnavailable, ChipbenchError, one_line
from bench.run.member import Failed, MemberProcess, encoded

_LOOK_S: Final = 1.0  # between two looks at whether a job is wanted still
_TURN_S: Final = 5.0  # for a job that was stopped to let go of a worker
_CANCELLED: Final = ("cancelled", "released", "forgotten")
_ONE_AT_A_TIME: Final = threading.Lock()
BUSY: Final = "it is busy with something else, or hangs; wait until nothing else runs there, or restart it"


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

    # A worker of several threads might be given jobs of several runs, which would measure each other.
    if not _ONE_AT_A_TIME.acquire(timeout=_TURN_S):
        emit(encoded(Failed(text=BUSY, code=BackendUnavailable.exit_code)))
        emit(None)
        return
    try:
        relay(job, emit, is_wanted)
    except ChipbenchError as failure:
        emit(None, one_line(failure))
    else:
        emit(None)
    finally:
        _ONE_AT_A_TIME.release()

"""How jobs get to several devices, and answers back, whoever carries them: this machine's processes, or Dask."""

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from bench.errors import BackendUnavailable


class Answered(NamedTuple):
    """Job `number` sent a line."""

    number: int
    line: bytes


class Ended(NamedTuple):
    """Job `number` sent its last line; `error` says why it broke off, None if it did not."""

    number: int
    error: str | None = None


Message = Answered | Ended


class LeftOut(NamedTuple):
    """A place where nothing is measured, and why; `code` is the exit code that this alone would have."""

    place: str
    why: str
    code: int = BackendUnavailable.exit_code


class Engine(Protocol):
    """Places that each can do one job at a time. A place is named as people know it."""

    @property
    def left_out(self) -> Mapping[str, LeftOut]:
        """What is there and cannot be used, by its name."""
        ...

    def places(self) -> list[str]:
        """Return the places that are there now. Raises BackendUnavailable if that cannot be told."""
        ...

    def start(self, place: str, number: int, job: bytes) -> None:
        """Let a place do a job; what comes of it comes by `next`, at last that it ended."""
        ...

    def next(self, seconds: float) -> Message | None:
        """Return the next message, waiting so long for one; None if none came."""
        ...

    def stop(self, number: int) -> None:
        """Break a job off; that it ended comes all the same."""
        ...

    def close(self) -> None:
        """Break off whatever runs, and let go of the places."""
        ...


class Inbox:
    """Messages from many threads, taken out by one."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Message] = SimpleQueue()

    def put(self, message: Message) -> None:
        """Add a message; may be called from any thread."""
        self._waiting.put(message)

    def next(self, seconds: float) -> Message | None:
        """Return the oldest message, waiting so long for one; None if none came."""
        try:
            return self._waiting.get(timeout=seconds)
        except Empty:
            return None

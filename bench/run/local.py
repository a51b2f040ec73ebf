"""The devices of this machine as places: each job in a fresh process."""

import threading
from collections.abc import Sequence

from bench.errors import ChipbenchError, one_line
from bench.run.engine import Answered, Ended, Inbox, LeftOut, Message
from bench.run.member import MemberProcess


class LocalEngine:
    """The named places of this machine; which device one is stands in the jobs that it is given."""

    def __init__(self, places: Sequence[str]) -> None:
        self.left_out: dict[str, LeftOut] = {}
        self._places = list(places)
        self._inbox = Inbox()
        self._running: dict[int, MemberProcess] = {}
        self._threads: list[threading.Thread] = []

    def places(self) -> list[str]:
        """Return the places."""
        return self._places

    def start(self, place: str, number: int, job: bytes) -> None:  # noqa: ARG002 - all are here
        """Start a process for a job. Raises BackendUnavailable if none can be started."""
        process = MemberProcess(job)
        self._running[number] = process
        thread = threading.Thread(target=self._relay, args=(number, process), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _relay(self, number: int, process: MemberProcess) -> None:
        error = None
        try:
            for line in process.lines():
                self._inbox.put(Answered(number, line))
        except ChipbenchError as failure:
            error = one_line(failure)
        self._inbox.put(Ended(number, error))

    def next(self, seconds: float) -> Message | None:
        """Return the next message, or None after so many seconds."""
        message = self._inbox.next(seconds)
        if isinstance(message, Ended):
            self._running.pop(message.number, None)
        return message

    def stop(self, number: int) -> None:
        """End a job's process."""
        if number in self._running:
            self._running[number].stop()

    def close(self) -> None:
        """End every process that still runs, and wait until all that they sent is there."""
        for process in self._running.values():
            process.stop()
        for thread in self._threads:
            thread.join()

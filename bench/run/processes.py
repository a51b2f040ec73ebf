"""The same plan in several fresh processes, one after another: what one process cannot show of itself."""

import secrets
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from bench.errors import (
    BackendUnavailable,
    CannotWrite,
    ChipbenchError,
    InvalidRequest,
    RecordError,
    SpecError,
    one_line,
)
from bench.records.record import Assembly, Header, Process, Reading, decode_line, reduce
from bench.records.store import RecordWriter, folder_key, now, record_path, undisturbed
from bench.run.engine import Ended, Engine
from bench.run.local import LocalEngine
from bench.run.member import Failed, Measure, answer_of, encoded
from bench.run.session import BlockDone, CellDone, CellStarted, OnEvent, Outcome, StoppedBy

_TICK_S: Final = 0.5
_PLACE: Final = "a fresh process"
_DIED: Final = "a measuring process ended without a word (killed, or out of memory?); what it finished is saved"
_CAUSES: Final = (InvalidRequest, SpecError, RecordError, BackendUnavailable, CannotWrite)
_BY_CODE: Final[dict[int, type[ChipbenchError]]] = {cause.exit_code: cause for cause in _CAUSES}


def run_processes(header: Header, count: int, *, results: Path, on_event: OnEvent) -> list[Outcome]:
    """Measure the header's plan in `count` fresh processes and return their outcomes, in order.

    Each makes a record of its own, which is written here. Stops after the first that was stopped, or failed: one
    that dies without a word has BackendUnavailable as `stopped_by`, and the readings that its record holds. Raises
    what kept the very first from making a record.
    """
    group = secrets.token_hex(4)
    outcomes: list[Outcome] = []
    for index in range(count):
        own = msgspec.structs.replace(
            header,
            id=secrets.token_hex(4),
            started=now(),
            process=Process(index=index, of=count, group=group),
        )
        outcome = _in_fresh_process(own, results, on_event)
        if isinstance(outcome.stopped_by, ChipbenchError) and outcome.path is None and not outcomes:
            raise outcome.stopped_by
        outcomes.append(outcome)
        if outcome.stopped_by is not None:
            break
    return outcomes


def _in_fresh_process(header: Header, results: Path, on_event: OnEvent) -> Outcome:
    started = monotonic()
    stopped_by: StoppedBy | None = None
    engine, kept = LocalEngine([_PLACE]), _Kept(header, results, on_event)
    try:
        job = encoded(Measure(header=header, key=folder_key(results).decode(), events=True))
        with undisturbed():  # a process that is being born must not be lost sight of
            engine.start(_PLACE, 1, job)
        while kept.take(engine, _TICK_S):
            pass
    except (ChipbenchError, KeyboardInterrupt) as reason:
        stopped_by = reason
    engine.close()
    try:  # what it had sent by then is kept
        while kept.take(engine, 0):
            pass
    except ChipbenchError as error:
        stopped_by = stopped_by or error
    return Outcome(header, tuple(kept.readings), kept.close(), monotonic() - started, stopped_by)


class _Kept:
    """The record of a process, which begins when that has a device and begins to measure."""

    def __init__(self, header: Header, results: Path, on_event: OnEvent) -> None:
        self.readings: list[Reading] = []
        self._header, self._results, self._on_event = header, results, on_event
        self._path = record_path(results, header)
        self._held = Assembly(self._path, header)
        self._writer: RecordWriter | None = None
        self._failed: Failed | None = None
        self._lines = 1
        self._whole = True

    def take(self, engine: Engine, seconds: float) -> bool:
        """Keep the next message, and tell whether to ask for another. Raises what ended the process early."""
        message = engine.next(seconds)
        if message is None:
            return seconds > 0
        if isinstance(message, Ended):
            if self._held.footer is None:
                raise self._error()
            return False
        answer = answer_of(message.line)
        if isinstance(answer, CellStarted | BlockDone):
            self._begun()
            self._on_event(answer)
        elif isinstance(answer, Failed):
            self._failed = answer
        elif self._whole:  # nothing may follow half a line
            self._keep(message.line)
        return True

    def close(self) -> Path | None:
        """Let the record be as it is, and return where it lies; None if there is none."""
        if self._writer is None:
            return None
        self._writer.close()
        return self._writer.path

    def _begun(self) -> RecordWriter:
        if self._writer is None:
            with undisturbed():
                self._writer = RecordWriter.create(self._results, self._header)
        return self._writer

    def _keep(self, raw: bytes) -> None:
        try:
            line = decode_line(self._path, self._lines + 1, raw)
            writer = self._begun()
            with undisturbed():  # between writing a cell and noting it nothing may come
                measurement = self._held.take(self._lines + 1, line)
                writer.append(line)
                self._lines += 1
                if measurement is not None:
                    self.readings.append(reduce(measurement))
        except ChipbenchError as error:
            self._whole = False
            if isinstance(error, CannotWrite):
                raise
            message = f"a measuring process sent what is no line of its record: {one_line(error)}"
            raise BackendUnavailable(message) from error
        if measurement is not None:
            self._on_event(CellDone(self.readings[-1]))

    def _error(self) -> ChipbenchError:
        if self._failed is None:
            return BackendUnavailable(_DIED)
        return _BY_CODE.get(self._failed.code, ChipbenchError)(self._failed.text)

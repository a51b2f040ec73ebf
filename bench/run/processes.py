"""The same plan in several fresh processes, one after another: what one process cannot show of itself."""

import multiprocessing
import secrets
import signal
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import msgspec

from bench.devices import open_backend
from bench.errors import BackendUnavailable, ChipbenchError, RecordError
from bench.records.record import Header, Process, read_lines, reduce
from bench.records.store import now, record_path, undisturbed
from bench.run.session import OnEvent, Outcome, StoppedBy, run_plan, stop_on_signals

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_processes(header: Header, count: int, *, results: Path, on_event: OnEvent) -> list[Outcome]:
    """Measure the header's plan in `count` fresh processes and return their outcomes, in order.

    Each makes a record of its own. Stops after the first that was stopped, or failed: one that dies without a
    word has BackendUnavailable as `stopped_by`, and the readings that its record holds. Raises CannotWrite if the
    very first cannot make its record.
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
        try:
            outcomes.append(_in_fresh_process(own, results, on_event))
        except ChipbenchError as error:
            saved = _as_saved(own, results, error)
            if saved.path is None and not outcomes:
                raise
            outcomes.append(saved)
        if outcomes[-1].stopped_by is not None:
            break
    return outcomes


def _in_fresh_process(header: Header, results: Path, on_event: OnEvent) -> Outcome:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, header, results))
    try:
        with undisturbed():
            # The child is born with the signals held back, and takes them when it is ready to answer them.
            # Python's resource tracker, begun with the first process, would let them through.
            resource_tracker.ensure_running()
            held = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            process.start()
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        return _listen(ours, on_event)
    except KeyboardInterrupt as reason:
        # Ctrl-C reaches the child by itself, SIGTERM does not. Either way it saves and ends. Its answer cannot be
        # waited for: the interruption may have struck in the middle of a message. Its record tells as much.
        process.terminate()
        ours.close()
        process.join()
        return _as_saved(header, results, reason)
    finally:
        ours.close()
        process.join()


def _as_saved(header: Header, results: Path, reason: StoppedBy) -> Outcome:
    """Return what the record of a process holds that could not answer; one without a header holds nothing."""
    path = record_path(results, header)
    try:
        lines = read_lines(path)
    except RecordError:
        return Outcome(header, (), None, 0.0, reason)
    return Outcome(header, tuple(map(reduce, lines.measurements)), path, 0.0, reason)


def _listen(connection: Connection, on_event: OnEvent) -> Outcome:
    while True:
        try:
            message = connection.recv()
        except EOFError as error:
            text = (
                "a measuring process ended without a word (killed, or out of memory?); what it finished is saved"
            )
            raise BackendUnavailable(text) from error
        if isinstance(message, Outcome):
            return message
        if isinstance(message, ChipbenchError):
            raise message
        on_event(message)


def _child(connection: Connection, header: Header, results: Path) -> None:
    """Measure in a process where nothing has run before."""
    try:
        with stop_on_signals():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            backend = open_backend(header.backend, header.device.index)
            answer: Outcome | ChipbenchError = run_plan(backend, header, results=results, on_event=connection.send)
    except ChipbenchError as error:
        answer = error
    except KeyboardInterrupt as reason:
        answer = Outcome(header, (), None, 0.0, reason)
    except BrokenPipeError:
        return  # the parent was killed: nobody listens, and the record can be resumed
    with suppress(BrokenPipeError):
        connection.send(answer)

"""One process measuring one plan: each cell is saved as it ends, and whatever stops it, nothing is lost."""

import os
import platform
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Final, NamedTuple

import msgspec

from bench.devices import open_backend
from bench.devices.base import Backend, Caveat, Device, Environment
from bench.devices.environment import host_identity
from bench.errors import CellFailed, ChipbenchError, InvalidRequest, Terminated, impersonal
from bench.measure.clocks import clocks, moved
from bench.measure.condensing import Condenser
from bench.measure.loop import OnSamples, measure
from bench.measure.measurement import Measurement, Samples
from bench.measure.policy import Policy
from bench.records.disk import is_there
from bench.records.record import SCHEMA, Chunk, Footer, Header, Line, Lines, Reading, Resumed, read_lines, reduce
from bench.records.store import KEY_FILE, RecordWriter, device_key, folder_key, from_the_future, hashed, now
from bench.workloads.base import Cell, Plan


class CellStarted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cell_started"):
    """Cell `number` (from 1) of `total` begins and takes at most about `longest_s`."""

    number: int
    total: int
    cell: Cell
    longest_s: float


class BlockDone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="block_done"):
    """A block of this many seconds ended."""

    seconds: float


class CellDone(NamedTuple):
    """A cell was measured and saved."""

    reading: Reading


Event = CellStarted | BlockDone | CellDone
OnEvent = Callable[[Event], None]
Handler = Callable[[int, FrameType | None], Any] | int | None
StoppedBy = ChipbenchError | KeyboardInterrupt
_AGAIN_S: Final = 0.01


class Outcome(NamedTuple):
    """What one process did. `stopped_by` is None if every cell was measured; `path` None if nothing is kept."""

    header: Header
    readings: tuple[Reading, ...]
    path: Path | None
    seconds: float
    stopped_by: StoppedBy | None = None


class Surroundings(NamedTuple):
    """What a backend says of itself and its machine at one moment."""

    environment: Environment
    caveats: tuple[Caveat, ...]


def make_header(  # noqa: PLR0913 - all that a header is of
    backend: Backend,
    plan: Plan,
    policy: Policy,
    *,
    tool: str,
    results: Path | None,
    identify: bool,
    around: Surroundings | None = None,
) -> Header:
    """Return the header of a new record; `around` is what was there before, None looks now.

    With `identify` it names this machine's host.
    """
    around = around or Surroundings(backend.environment(), tuple(backend.caveats()))
    device = backend.device()
    if device.key is None and results is not None:
        device = told_apart(device, backend.identity(), folder_key(results))
    if identify and backend.origin == "measured":
        device = named_host(device)
    header = Header(
        schema=SCHEMA,
        id=secrets.token_hex(4),
        tool=tool,
        origin=backend.origin,
        started=now(),
        backend=backend.name,
        device=device,
        environment=around.environment,
        policy=policy,
        plan=plan,
        warnings=around.caveats,
    )
    late = None if results is None or backend.origin != "measured" else from_the_future(results, header)
    return header if late is None else msgspec.structs.replace(header, warnings=(*header.warnings, late))


def told_apart(device: Device, identity: str, key: bytes) -> Device:
    """Return the device with what tells it, and the machine that it is in, apart from others without naming them.

    The machine is told by its boot: containers made from one image share a machine id, but not that.
    """
    host = host_identity()
    return msgspec.structs.replace(device, key=hashed(key, identity), host_key=hashed(key, f"host {host}"))


def named_host(device: Device) -> Device:
    """Return the device with the name of this machine."""
    return msgspec.structs.replace(device, host=platform.node())


def run_plan(backend: Backend, header: Header, *, results: Path | None, on_event: OnEvent) -> Outcome:
    """Measure every cell of the header's plan into a new record; with `results` None keep nothing.

    Ctrl-C, SIGTERM, a lost device or a full disk end it early: the outcome then holds what was measured and
    `stopped_by`. Raises CannotWrite if the record cannot be created at all.
    """
    if results is None:
        return _measure_all(backend, header, (), None, on_event)
    with RecordWriter.create(results, header) as writer:
        return _measure_all(backend, header, (), writer, on_event)


def longest_left(lines: Lines) -> float:
    """Return the most device seconds that an interrupted record still needs."""
    done = {measurement.cell for measurement in lines.measurements}
    left = [cell for cell in lines.header.plan.cells if cell not in done]
    return longest_s(left, lines.header.policy)


def longest_s(cells: Sequence[Cell], policy: Policy) -> float:
    """Return the most seconds that some cells take in a fresh process."""
    return sum(policy.longest_s(cell.regime, cold=index == 0) for index, cell in enumerate(cells))


def resume(path: Path, *, tool: str, on_event: OnEvent) -> Outcome:
    """Measure what an interrupted record still lacks, at its end; plan, policy and backend are its own.

    A complete record is returned as it is. Raises RecordError if the record is damaged, and InvalidRequest if it
    was not measured or this is not the machine, software or setting that it was begun with.
    """
    lines = read_lines(path)
    if lines.footer is not None:
        return _complete(path, lines, lines.footer)
    if lines.header.origin != "measured":
        message = (
            f"{path}: was {lines.header.origin}, not measured, so there is nothing to resume; replay it again"
        )
        raise InvalidRequest(message)
    backend = open_backend(lines.header.backend, lines.header.device.index)
    _check_same(path, lines.header, backend, tool)
    writer, lines = RecordWriter.reopen(path)
    with writer:
        if lines.footer is not None:  # by another process, between the first look and the lock
            return _complete(path, lines, lines.footer)
        environment = backend.environment()
        writer.append(Resumed(at=now(), conditions=environment.conditions))
        return _measure_all(backend, lines.header, lines.measurements, writer, on_event)


def _complete(path: Path, lines: Lines, footer: Footer) -> Outcome:
    return Outcome(lines.header, tuple(map(reduce, lines.measurements)), path, footer.seconds)


def _check_same(path: Path, header: Header, backend: Backend, tool: str) -> None:
    """Refuse to mix two machines or software versions in one record."""
    results = path.absolute().parent.parent
    check_key(path, results)
    differs = difference(header, backend.environment(), tool, device_key(results, backend.identity()))
    if differs is not None:
        message = f"{path}: cannot be resumed: {differs}; restore that, or start a new run"
        raise InvalidRequest(message)


def check_key(path: Path, results: Path) -> None:
    """Raise InvalidRequest for a record whose folder does not tell one device from another."""
    if not (results / KEY_FILE).exists():
        message = (
            f"{path}: cannot be resumed: {results} has no {KEY_FILE}, so nothing tells whether this is the same "
        )
        raise InvalidRequest(message + "device; move the record back to its results folder")


def difference(header: Header, here: Environment, tool: str, key: str) -> str | None:
    """Return the first thing that was another when a record was begun, None if it may be gone on with."""
    begun = header.environment
    pairs: list[tuple[str, str | None, str | None]] = [
        ("chipbench", header.tool, tool),
        ("device", header.device.key, key),
    ]
    for then, there in ((begun.versions, here.versions), (begun.settings, here.settings)):
        pairs += [(name, then.get(name), there.get(name)) for name in sorted({*then, *there})]
    names = sorted({*begun.flagged, *here.flagged})
    pairs += [(name, begun.flagged.get(name), here.flagged.get(name)) for name in names]
    for name, old, new in pairs:
        if old != new:
            return f"{name} was {old or 'not set'} and is {new or 'not set'}"
    return None


def _measure_all(
    backend: Backend,
    header: Header,
    done: Sequence[Measurement],
    writer: RecordWriter | None,
    on_event: OnEvent,
) -> Outcome:
    started = monotonic()
    readings = [reduce(measurement) for measurement in done]
    finished = {measurement.cell for measurement in done}
    stopped_by: StoppedBy | None = None
    append = _nowhere if writer is None else writer.append
    try:
        for measurement in measured(backend, header, finished, append, on_event):
            readings.append(reduce(measurement))
            on_event(CellDone(readings[-1]))
    except (ChipbenchError, KeyboardInterrupt) as reason:
        stopped_by = reason
    path = writer.path if writer is not None and is_there(writer.path) else None
    if path is not None and isinstance(stopped_by, KeyboardInterrupt):
        # A signal may strike between saving a cell and noting it: what is told is what is saved.
        readings = [reduce(measurement) for measurement in read_lines(path).measurements]
    return Outcome(header, tuple(readings), path, monotonic() - started, stopped_by)


def _nowhere(_line: Line) -> None:
    """Keep nothing."""


def measured(
    backend: Backend, header: Header, done: Collection[Cell], append: Callable[[Line], None], on_event: OnEvent
) -> Iterator[Measurement]:
    """Measure the cells of the header's plan that are not `done`, and yield each, condensed, when it is kept.

    `append` keeps a line of the record; after the last cell it gets the footer. Raises what ends the run early.
    """
    started = monotonic()
    cells = header.plan.cells
    left = [(number, cell) for number, cell in enumerate(cells, start=1) if cell not in done]
    for number, cell in left:
        longest = header.policy.longest_s(cell.regime, cold=(number, cell) == left[0])
        on_event(CellStarted(number, len(cells), cell, longest))
        save = _Saving(append, cell)
        yield save.rest(_measure_cell(backend, cell, header.policy, on_event, save.some))
    append(Footer(ended=now(), measurements=len(cells), seconds=round(monotonic() - started, 3)))


class _Saving:
    """One cell's lines on their way into the record, and all its samples, condensed."""

    def __init__(self, append: Callable[[Line], None], cell: Cell) -> None:
        self._append, self._cell, self._seen = append, cell, Condenser()

    def some(self, samples: Samples) -> None:
        """Append samples of a cell that is still running."""
        self._append(Chunk(cell=self._cell, samples=samples))
        self._seen.add(samples)

    def rest(self, last: Measurement) -> Measurement:
        """Append the measurement, which has the samples that are not there yet, and return the whole of it."""
        self._append(last)
        return self._seen.whole(last)


def _measure_cell(
    backend: Backend, cell: Cell, policy: Policy, on_event: OnEvent, on_samples: OnSamples
) -> Measurement:
    """Measure one cell; one that cannot be computed or does not fit is kept as failed, and the run goes on."""
    try:
        task = backend.prepare(cell, policy.seed)
        try:
            before = clocks()
            found = measure(
                task, cell, policy, on_block=lambda seconds: on_event(BlockDone(seconds)), on_samples=on_samples
            )
            return _with_moved(found, moved(before, clocks())) if backend.origin == "measured" else found
        finally:
            task.close()
    except MemoryError:
        return Measurement(cell=cell, stop="failed", failure="out of memory")
    except CellFailed as error:
        return Measurement(cell=cell, stop="failed", failure=impersonal(error))


def _with_moved(found: Measurement, caveats: Iterator[Caveat]) -> Measurement:
    return msgspec.structs.replace(found, warnings=(*found.warnings, *caveats))


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the block by KeyboardInterrupt or Terminated, and ignore the rest.

    So the one way out, which saves and prints, is not itself interrupted. Outside the main thread, where Python
    delivers no signals, the block runs as it is. A signal may strike where Python lets nothing through (when it
    calls a `__del__`, or the callback of a weak reference): then it strikes again a moment later.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        for caught in before:
            # Not SIG_IGN: of a signal that is pending already, Python would print that it was ignored.
            signal.signal(caught, lambda _number, _frame: None)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def lost(what: "sys.UnraisableHookArgs") -> None:
        if not isinstance(what.exc_value, KeyboardInterrupt):
            hook(what)
            return
        for caught in before:
            signal.signal(caught, stop)
        number = signal.SIGTERM if isinstance(what.exc_value, Terminated) else signal.SIGINT
        threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number)).start()

    before: dict[signal.Signals, Handler] = {}
    hook = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = lost
        before |= {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook

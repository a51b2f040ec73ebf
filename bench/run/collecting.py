"""Records of several devices, filled here line by line from what their places send, whatever becomes of those.

Nothing that a place sends is believed unread: each line is checked as those of a file are, and only then kept.
"""

import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from bench.errors import BackendUnavailable, CannotWrite, ChipbenchError, InvalidRequest, RecordError, one_line
from bench.records.record import Assembly, Header, decode_line
from bench.records.store import RecordWriter, folder_key, undisturbed
from bench.run.engine import Answered, Ended, Engine, LeftOut, Message
from bench.run.member import Failed, Look, Measure, Seen, answer_of, encoded
from bench.run.request import Request
from bench.run.session import StoppedBy
from bench.run.several import NUMBERS, Begun
from bench.workloads.base import Cell

PATIENCE_S: Final = 30.0
_TICK_S: Final = 0.5
_TRIES: Final = 2
_BREATH_S: Final = 5.0  # a process that was killed may be the first sign that its worker, or machine, goes down
_SPARE_FILES: Final = 64
_GONE: Final = "its place is gone"
# A cell takes some seconds, and its calls may be slow; a device that hangs says nothing for ever.
_SILENT_S: Final = 10 * 60.0
_SILENT_TIMES: Final = 10
_BROKE_OFF: Final = "it ended before its last cell"
_STOPPED: Final = "it was stopped"


class Collected(NamedTuple):
    """What became of one record; `error` says why cells of it are missing, None if none is."""

    place: str
    header: Header
    path: Path
    error: str | None


class Progress(NamedTuple):
    """How many cells and devices' records are done, of how many."""

    cells: int
    of_cells: int
    records: int
    of_records: int


OnProgress = Callable[[Progress], None]


class Part:
    """One record that is being filled; `done` are the cells that a `resumed` one has already."""

    def __init__(
        self, begun: Begun, writer: RecordWriter, done: Iterable[Cell] = (), *, resumed: bool = False
    ) -> None:
        self.place: str | None = begun.place
        self.begun_at = begun.place
        self.header, self.writer = begun.header, writer
        self.held = Assembly(writer.path, begun.header, done)
        self.tries, self.lines = 0, 1
        self.heard = 0.0
        self.not_before = 0.0
        self.error: str | None = None
        self.failed: str | None = None
        self.over = False
        self._resumed = resumed

    def job(self, key: bytes) -> bytes:
        """Return what is left to do, as a job."""
        resumed = self._resumed or self.tries > 0
        self.tries += 1
        return encoded(Measure(header=self.header, key=key.decode(), done=tuple(self.held.done), resumed=resumed))

    @property
    def patience_s(self) -> float:
        """How long its device may say nothing: many times what its longest cell should take."""
        policy = self.header.policy
        longest = max(policy.longest_s(cell.regime, cold=True) for cell in self.header.plan.cells)
        return _SILENT_S + _SILENT_TIMES * longest

    def take(self, raw: bytes) -> bool:
        """Keep a line, and tell whether it ends a cell. Raises RecordError if it can be no line of this record."""
        try:
            line = decode_line(self.writer.path, self.lines + 1, raw)
        except RecordError:
            answer = answer_of(raw)
            if not isinstance(answer, Failed):
                raise
            self.failed = answer.text
            return False
        with undisturbed():  # between noting a cell and writing it nothing may come
            ended = self.held.take(self.lines + 1, line) is not None
            self.writer.append(line)
            self.lines += 1
        return ended

    def finish(self, error: str | None) -> None:
        """Let it be as it is."""
        self.error, self.over = error, True
        self.writer.close()


def measure_several(
    engine: Engine,
    begun: Sequence[Begun],
    request: Request,
    on_progress: OnProgress,
    *,
    patience_s: float = PATIENCE_S,
) -> tuple[list[Collected], StoppedBy | None]:
    """Make the records of some devices, and return what became of each, and what stopped them all, if that was so.

    A device that is lost in the middle keeps what it finished; where it comes back (the same device, by its key,
    at a new place, or the place of a process that died), what is left is tried once more, in the same record.
    Once nothing else runs, `patience_s` seconds are waited for that.
    Raises CannotWrite if no record can be made.
    """
    results = folder_of(request)
    made: Iterator[Part] = (Part(one, RecordWriter.create(results, one.header)) for one in begun)
    return collect(engine, all_open(made, len(begun)), request, on_progress, patience_s=patience_s)


def folder_of(request: Request) -> Path:
    """Return where the records are kept. Raises InvalidRequest if they are not to be."""
    if request.results is None:
        message = "several devices need a results folder to keep their records in"
        raise InvalidRequest(message)
    return request.results


def all_open(made: Iterator[Part], count: int) -> list[Part]:
    """Return `count` records, all open; if one cannot be, none stays open, and its error is raised."""
    _allow_files(count)
    parts: list[Part] = []
    try:
        parts.extend(made)
    except ChipbenchError:
        for part in parts:
            part.finish(_STOPPED)
        raise
    return parts


def collect(
    engine: Engine, parts: Sequence[Part], request: Request, on_progress: OnProgress, *, patience_s: float
) -> tuple[list[Collected], StoppedBy | None]:
    """Fill some records, which are open, to their ends, and close them."""
    collector = _Collector(engine, parts, request, folder_key(folder_of(request)), patience_s)
    return collector.run(on_progress)


def _allow_files(count: int) -> None:
    """Let this process have so many records open at once. Raises CannotWrite if the system does not let it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _SPARE_FILES
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError) as error:
        message = f"{count} records cannot be open at once, the limit is {hard} files; raise it (ulimit -n)"
        raise CannotWrite(message) from error


class _Collector:
    """The loop: starts what may start, keeps what comes, and looks after what was lost."""

    def __init__(
        self, engine: Engine, parts: Sequence[Part], request: Request, key: bytes, patience_s: float
    ) -> None:
        self._engine, self._parts, self._request, self._key = engine, parts, request, key
        self._patience_s = patience_s
        self._running: dict[int, Part] = {}
        self._looking: dict[int, tuple[str, float]] = {}
        self._waiting = [*parts]
        self._known = {part.begun_at for part in parts}
        self._seen: dict[str, str] = {}
        self._cells = sum(len(part.held.done) for part in parts)
        self._of = sum(len(part.header.plan.cells) for part in parts)
        self._heard = self._turned = monotonic()

    def run(self, on_progress: OnProgress) -> tuple[list[Collected], StoppedBy | None]:
        """Measure all, or what can be, until the end or until something stops it."""
        stopped_by: StoppedBy | None = None
        try:
            while self._running or self._waiting:
                self._start()
                message = self._engine.next(_TICK_S)
                self._forgive_standstill()
                if message is not None:
                    self._handle(message)
                    on_progress(self._progress())
                self._look_after_silent()
                self._look_after_lost()
        except (ChipbenchError, KeyboardInterrupt) as reason:
            stopped_by = reason
        stopped_by = self._close(stopped_by)
        collected = [Collected(part.begun_at, part.header, part.writer.path, part.error) for part in self._parts]
        return collected, stopped_by

    def _progress(self) -> Progress:
        return Progress(self._cells, self._of, sum(part.over for part in self._parts), len(self._parts))

    def _start(self) -> None:
        """Start what waits for nothing: its place is free, and so is its machine, unless that does several."""
        if not self._waiting:
            return
        now = monotonic()
        places = {
            *(place for place, _ in self._looking.values()),
            *(part.place for part in self._running.values()),
        }
        hosts = {part.header.device.host_key for part in self._running.values()}
        waiting: list[Part] = []
        for part in self._waiting:
            alone = part.header.member is None or part.header.member.at_once == 1
            taken = part.place in places or (alone and part.header.device.host_key in hosts)
            if part.place is None or taken or now < part.not_before:
                waiting.append(part)
                continue
            number = next(NUMBERS)
            self._running[number] = part
            places.add(part.place)
            hosts.add(part.header.device.host_key)
            part.failed, part.heard = None, now
            self._engine.start(part.place, number, part.job(self._key))
        self._waiting = waiting

    def _handle(self, message: Message) -> None:
        self._heard = monotonic()
        if message.number in self._looking:
            self._looked(message)
            return
        part = self._running.get(message.number)
        if part is None:
            return
        if isinstance(message, Answered):
            self._answered(message, part)
        else:
            del self._running[message.number]
            self._ended(message, part)

    def _answered(self, message: Answered, part: Part) -> None:
        if part.over:
            return
        part.heard = self._heard
        try:
            self._cells += part.take(message.line)
        except RecordError as error:
            # What that says of a file, and how to mend one, is of no use here.
            what = one_line(error).partition("damaged record: ")[2].partition("; restore it")[0]
            part.finish(f"it sent what is no line of its record: {what or one_line(error)}")
            self._engine.stop(message.number)
        except CannotWrite as error:
            part.finish(one_line(error))  # nothing may follow half a line
            raise

    def _ended(self, message: Ended, part: Part) -> None:
        if part.over:
            return
        if part.held.footer is not None:
            part.finish(None)
        elif part.failed is not None:
            part.finish(part.failed)
        elif part.tries >= _TRIES:
            part.finish(message.error or _BROKE_OFF)
        else:
            part.error = message.error or _BROKE_OFF
            part.not_before = self._heard + _BREATH_S
            self._waiting.append(part)
            if part.place not in self._engine.places():
                part.place = None

    def _forgive_standstill(self) -> None:
        """Let the time in which this process itself stood still, as after Ctrl-Z, count as nobody's silence."""
        now = monotonic()
        gap, self._turned = now - self._turned, now
        if gap > _SILENT_S:  # of one turn, which waits for half a second; less is within everybody's patience
            self._heard += gap
            self._looking = {number: (place, since + gap) for number, (place, since) in self._looking.items()}
            for part in self._running.values():
                part.heard += gap

    def _look_after_silent(self) -> None:
        """Give up what hangs: its place is alive, and nothing comes."""
        now = monotonic()
        for number, part in self._running.items():
            if not part.over and now - part.heard > part.patience_s:
                part.finish(f"it said nothing for {part.patience_s / 60:.0f} minutes; does its device hang?")
                self._engine.stop(number)

    def _look_after_lost(self) -> None:
        """Ask new places for devices that were lost; give those up that do not come back in time."""
        if not self._waiting:
            return
        places = self._engine.places()
        self._known &= {*places}
        lost = [part for part in self._waiting if part.place not in places]
        for part in lost:
            part.place = None
        if lost:
            self._ask_new([place for place in places if place not in self._known])
            self._give_back([part for part in self._waiting if part.place is None], places)
        for number, (_, since) in list(self._looking.items()):
            if monotonic() - since > _SILENT_S:
                del self._looking[number]
                self._engine.stop(number)
        if not self._running and not self._looking and monotonic() - self._heard > self._patience_s:
            for part in lost:
                part.finish(part.error or _GONE)
            self._waiting = [part for part in self._waiting if not part.over]

    def _ask_new(self, places: Sequence[str]) -> None:
        for place in places:
            self._known.add(place)
            number = next(NUMBERS)
            self._looking[number] = (place, monotonic())
            look = Look(backend=self._request.backend, key=self._key.decode())
            self._engine.start(place, number, encoded(look))

    def _looked(self, message: Message) -> None:
        """Note which device a place turned out to have."""
        place, _ = self._looking[message.number]
        if isinstance(message, Ended):
            del self._looking[message.number]
            return
        answer = answer_of(message.line)
        if isinstance(answer, Seen) and answer.device.key is not None:
            self._seen[place] = answer.device.key

    def _give_back(self, lost: Sequence[Part], places: Sequence[str]) -> None:
        """Let the places that turned out to have lost devices go on with their records.

        A device may be seen at a new place before it is noticed that the old one is gone.
        """
        self._seen = {place: key for place, key in self._seen.items() if place in places}
        for place, key in self._seen.items():
            own = [part for part in lost if part.place is None and part.header.device.key == key]
            if own:  # all records of one device, of several processes that share a CPU those of one
                there = (part for part in self._parts if part.place == place)
                member = next(there, own[0]).header.member
                for part in own:
                    if part.header.member == member:
                        part.place = place

    def _close(self, stopped_by: StoppedBy | None) -> StoppedBy | None:
        """Break off what runs; what it had sent by then is kept."""
        self._engine.close()
        try:
            while (message := self._engine.next(0)) is not None:
                part = self._running.get(message.number)
                if isinstance(message, Answered) and part is not None:
                    self._answered(message, part)
        except ChipbenchError as error:
            stopped_by = stopped_by or error
        for part in self._parts:
            if not part.over:
                part.finish(None if part.held.footer is not None else _STOPPED)
        return stopped_by


def summary_error(collected: Sequence[Collected], left_out: Sequence[LeftOut]) -> ChipbenchError | None:
    """Return the error of a run of which something is missing, None if nothing is."""
    broken = [one for one in collected if one.error is not None]
    if broken:
        message = f"{len(broken)} of {len(collected)} records are not complete; what they hold is saved"
        return BackendUnavailable(message)
    if left_out:
        return BackendUnavailable(f"left out: {len(left_out)} of the places, as said above")
    return None

"""Several simulated devices behind an engine without processes or a network: a job is done as it is started."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.devices.base import Device, Origin
from bench.errors import BackendUnavailable
from bench.measure.policy import Policy
from bench.run import member
from bench.run.choosing import Choice
from bench.run.engine import Answered, Ended, LeftOut, Message
from bench.run.planning import Resolved, Wish
from bench.run.request import Request
from bench.workloads.base import Cell, Load, Plan
from tests.support import CELLS, ENVIRONMENT, SimulatedBackend, script

KEY = b"0123456789abcdef"
GPU = Device(kind="gpu", name="A simulated GPU", folder="unknown-simulated", pci_device_id="2330", sm_count=132)
CPU = Device(kind="cpu", name="A simulated CPU", folder="cpu-simulated")


class Unit(SimulatedBackend):
    """A simulated device of an identity of its own; its records pass for measured ones."""

    def __init__(self, identity: str, device: Device = GPU, cells: Sequence[Cell] = CELLS) -> None:
        loads: tuple[Load, ...] = ("alone", "together")
        super().__init__({msgspec.structs.replace(cell, load=load): script() for cell in cells for load in loads})
        self.origin: Origin = "measured"
        self.name = "cuda" if device.kind == "gpu" else "cpu"
        self._device, self._own = device, identity
        self.versions = {**ENVIRONMENT.versions}

    def identity(self) -> str:
        return self._own

    def environment(self) -> Any:  # noqa: ANN401
        return msgspec.structs.replace(ENVIRONMENT, versions=self.versions)


class Site:
    """Places, each with a unit on a host; what a test takes away or breaks there."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, units: Mapping[str, Unit], hosts: Mapping[str, str]
    ) -> None:
        self.units, self.hosts = dict(units), dict(hosts)
        self.left_out: dict[str, LeftOut] = {}
        self.started: list[tuple[str, member.Job]] = []
        self.running: dict[int, str] = {}
        self.most_at_once = 0
        self.stopped: list[int] = []
        self.closed = False
        self.hang: dict[str, int] = {}
        self.on_idle: Callable[[], None] = lambda: None
        self.on_message: Callable[[], None] = lambda: None
        self.silent: set[str] = set()
        self.faults: dict[str, Callable[[list[bytes]], str | None]] = {}
        self._messages: deque[Message] = deque()
        self._here = ""
        monkeypatch.setattr(member, "choose", self.choose)
        monkeypatch.setattr(member, "open_backend", lambda _name, _index=None: self._unit())
        monkeypatch.setattr(member, "resolve", self._resolved)
        monkeypatch.setattr("bench.run.session.host_identity", lambda: self.hosts[self._here])
        self.resolve: Callable[[Unit, Wish], Sequence[Cell]] = lambda unit, _wish: [
            one for one in unit._scripts if one.load == "alone"
        ]

    def choose(self, _name: str, _index: int | None = None) -> Choice:
        return Choice(self._unit(), None)

    def _unit(self) -> Unit:
        return self.units[self._here]

    def _resolved(self, unit: Unit, wish: Wish) -> Resolved:
        plan = Plan(workload=wish.workload, cells=tuple(self.resolve(unit, wish)))
        return Resolved(plan, Policy(), (f"planned for {unit._own}",))

    def places(self) -> list[str]:
        return list(self.units)

    def start(self, place: str, number: int, job: bytes) -> None:
        """Do the job at once; what it sends comes out of `next` line by line."""
        assert place in self.units, "a job goes to a place that is there"
        assert place not in self.running.values(), "a place does one job at a time"
        self.started.append((place, member.decoded_job(job)))
        lines: list[bytes] = []
        with self._at(place):
            member.work(job, lines.append)
        fault = self.faults.get(place) if isinstance(self.started[-1][1], member.Measure) else None
        error = fault(lines) if fault else None
        self.running[number] = place
        self.most_at_once = max(self.most_at_once, len(self.running))
        if place in self.silent:
            return
        hangs = self.hang.get(place) if isinstance(self.started[-1][1], member.Measure) else None
        self._messages += [Answered(number, line) for line in lines[:hangs]]
        if hangs is None:
            self._messages.append(Ended(number, error))

    @contextmanager
    def _at(self, place: str) -> Any:  # noqa: ANN401
        self._here = place
        yield

    def next(self, seconds: float) -> Message | None:
        if not self._messages:
            self.on_idle()
            return None
        self.on_message()
        message = self._messages.popleft()
        if isinstance(message, Ended):
            self.running.pop(message.number, None)
        return message

    @property
    def ends_next(self) -> bool:
        """Whether the next message is that a job ended."""
        return isinstance(self._messages[0], Ended)

    def send(self, message: Message) -> None:
        """Let a message be the last of those that are on their way."""
        self._messages.append(message)

    def stop(self, number: int) -> None:
        self.stopped.append(number)
        self._messages.append(Ended(number, "it was stopped"))

    def close(self) -> None:
        self.closed = True

    def jobs(self, kind: type[member.Job]) -> list[str]:
        """Return the places that jobs of a kind went to."""
        return [place for place, job in self.started if isinstance(job, kind)]


def request(results: Path, *, processes: int = 1, wish: Wish | None = None) -> Request:
    return Request(tool="x", backend="auto", results=results, processes=processes, wish=wish or Wish())


def gone(site: Site, place: str, lines_kept: int, *, back_at: str | None = None) -> Callable[[list[bytes]], str]:
    """Return a fault: a place dies after so many lines; its unit may come back at another place."""

    def die(lines: list[bytes]) -> str:
        del lines[lines_kept:]
        unit, host = site.units.pop(place), site.hosts[place]
        if back_at is not None:
            site.units[back_at], site.hosts[back_at] = unit, host
        return "its worker is gone"

    return die


def lost(lines_kept: int) -> Callable[[list[bytes]], str]:
    """Return a fault: the measuring process dies after so many lines, once; its place stays."""

    def die(lines: list[bytes]) -> str:
        del lines[lines_kept:]
        return member.DIED

    return die


def refuse(message: str) -> Callable[[Cell], None]:
    """Return what a unit does whose device is lost when it prepares a cell."""

    def fail(_cell: Cell) -> None:
        raise BackendUnavailable(message)

    return fail

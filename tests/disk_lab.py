"""A disk that fails under `os`: full after some bytes, or failing at one call or from one call on."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from bench.measure.policy import Policy
from bench.run.session import make_header, run_plan
from bench.workloads.base import Cell, Plan
from tests.support import CELLS, MeasuringBackend, saved, script, silent

# Each of these changes what is on the disk, or waits for it; of the files that are opened only those that are new.
CALLS: Final = ("open", "write", "fsync", "close", "link", "rename", "replace", "mkdir", "ftruncate")


def failed(number: int) -> OSError:
    """Return the error that the system raises under this number."""
    return OSError(number, os.strerror(number))


def raising_always(number: int) -> Callable[..., Any]:
    """Return a call that fails, whatever it is given."""

    def call(*_args: object, **_more: object) -> None:
        raise failed(number)

    return call


def open_files() -> int:
    """Return how many files this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


class Disk:
    """Counts the calls, and lets the one of index `at` fail with `number`; if it `dies`, all after that, too.

    Nothing waits for a real disk.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, *, at: int | None = None, number: int = errno.EIO, dies: bool = False
    ) -> None:
        self.calls: list[str] = []
        self._at, self._number, self._dies = at, number, dies
        for name in CALLS:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    @property
    def has_failed(self) -> bool:
        """Whether the call that was to fail was made."""
        return self._at is not None and len(self.calls) > self._at

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as any call of `os`
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args, **more)
            index = len(self.calls)
            self.calls.append(name)
            fails = self._at is not None and (index >= self._at if self._dies else index == self._at)
            if name == "close":  # which always closes
                call(*args, **more)
            if fails:
                raise failed(self._number)
            return None if name in {"fsync", "close"} else call(*args, **more)

        return wrapped


class _Filling:
    """What `fill` puts in the place of the calls that need room."""

    def __init__(self, room: int) -> None:
        self._left = room
        self._write, self._open = os.write, os.open

    def write(self, descriptor: int, data: bytes) -> int:
        self._check()
        count = self._write(descriptor, data[: self._left])
        self._left -= count
        return count

    def open(self, path: Path, flags: int, *more: int) -> int:
        if flags & os.O_CREAT:
            self._check()
        return self._open(path, flags, *more)

    def named(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as any call of `os`
            self._check()
            return call(*args, **more)

        return guarded

    def _check(self) -> None:
        if self._left == 0:
            raise failed(errno.ENOSPC)


def fill(room: int, patch: pytest.MonkeyPatch) -> None:
    """Let `room` more bytes be stored; then nothing has room any more, no name either. Nothing is synced."""
    filling = _Filling(room)
    patch.setattr(os, "fsync", lambda _descriptor: None)
    patch.setattr(os, "write", filling.write)
    patch.setattr(os, "open", filling.open)
    for name in ("link", "mkdir"):
        patch.setattr(os, name, filling.named(getattr(os, name)))


def replayable(results: Path, cells: Sequence[Cell] = CELLS) -> Path:
    """Make a record that a replay can measure again, of a device without a key."""
    backend = MeasuringBackend({one: script() for one in cells})
    plan = Plan(workload="gemm", cells=tuple(cells))
    head = make_header(backend, plan, Policy(), tool="x", results=None, identify=False)
    return saved(run_plan(backend, head, results=results, on_event=silent))

"""A task in a process of its own, for what CuPy reads once at its start: whether FP32 may be computed as TF32."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bench.devices import open_backend
from bench.devices.base import Block, Caveat, Check, OperandData, Telemetry
from bench.errors import BackendUnavailable, CellFailed, ChipbenchError
from bench.workloads.base import Cell

_PATIENCE_S: Final = 10.0
_GONE: Final = "it ended without a word (killed, or out of memory?)"


class Where(NamedTuple):
    """A device: its backend's name, and its index there; None stands for the first."""

    backend: str
    index: int | None = None  # type: ignore[assignment] # what a tuple's own `index` does is of no use here


class OwnProcessTask:
    """A task on the device `where` behind a pipe, in a fresh process with these environment variables set.

    Its blocks are timed there, by the GPU's events, so the pipe costs no device time; only one of the two
    processes has work on the GPU at a time.
    """

    def __init__(
        self,
        where: Where,
        cell: Cell,
        seed: int,
        variables: Mapping[str, str],
        *,
        cold: bool = False,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the process. `cold` as for any task; `alive` raises BackendUnavailable if the device is lost.

        Where it is not, a failure of that process is one of this cell alone: CellFailed.
        """
        self._alive = alive
        self.cold = cold
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, where, cell, seed, dict(variables))
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        resource_tracker.ensure_running()  # else the first start of a process does that, and lets signals through
        held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            self._process.start()
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        try:
            told = self._answer()
        except BaseException:
            self.close()
            raise
        self.data: Mapping[str, OperandData] = told["data"]
        self.candidates: Sequence[Mapping[str, str | int]] = told["candidates"]

    @property
    def algorithm(self) -> Mapping[str, str | int]:
        """What runs there, and that it runs in a process of its own."""
        return MappingProxyType({**self._ask("algorithm"), "process": "own"})

    def use(self, candidate: int) -> None:
        """Let the blocks that follow use this candidate."""
        self._ask("use", candidate)

    def block(self, calls: int) -> Block:
        """Run about `calls` calls there."""
        block: Block = self._ask("block", calls)
        return block

    def rest(self, seconds: float) -> None:
        """Let the GPU idle."""
        self._ask("rest", seconds)

    def watch(self) -> None:
        """Begin to note what the sensors say."""
        self._ask("watch")

    def observed(self) -> Telemetry | None:
        """Return what the sensors said since `watch`."""
        telemetry: Telemetry | None = self._ask("observed")
        return telemetry

    def caveats(self) -> Sequence[Caveat]:
        """Return what bends its blocks."""
        caveats: Sequence[Caveat] = self._ask("caveats")
        return caveats

    def verify(self) -> Check:
        """Check its products."""
        check: Check = self._ask("verify")
        return check

    def close(self) -> None:
        """End the process, which frees its memory on the GPU."""
        self._pipe.close()
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - each caller knows its type
        try:
            self._pipe.send((name, arguments))
        except OSError as error:
            raise self._failed(_GONE) from error
        return self._answer()

    def _answer(self) -> Any:  # noqa: ANN401
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._failed(_GONE) from error
        if isinstance(answer, BackendUnavailable):
            raise self._failed(str(answer)) from answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _failed(self, why: str) -> CellFailed:
        self._alive()
        return CellFailed(f"measured in a process of its own, which failed: {why}")


def _serve(pipe: Connection, where: Where, cell: Cell, seed: int, variables: Mapping[str, str]) -> None:
    """Prepare the task and do what the pipe says until it closes; the parent alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(variables)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            task = open_backend(*where).prepare(cell, seed)
        except (ChipbenchError, MemoryError) as error:
            pipe.send(error)
            return
        told = {"data": dict(task.data), "candidates": [dict(one) for one in task.candidates]}
        pipe.send(told)
        while True:
            name, arguments = pipe.recv()
            try:
                found = getattr(task, name)
                answer = found(*arguments) if callable(found) else dict(found)
            except (ChipbenchError, MemoryError) as error:
                answer = error
            pipe.send(answer)

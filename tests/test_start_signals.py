"""Ctrl-C at the start and the end of a process of our own: one answer, here, and no traceback from there."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.devices.nvidia.own_process import OwnProcessTask, Where
from bench.errors import Terminated
from bench.run import processes
from bench.run.session import stop_on_signals
from tests.support import header, silent
from tests.test_own_process import BACKEND, CELL, within


def test_a_signal_while_a_measuring_process_is_born_ends_the_run_and_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception between its birth and the moment when it is known would leave it behind, at work for nobody."""
    born: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - as of Popen
            super().__init__(*args, **more)
            born.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with stop_on_signals():
        (outcome,) = processes.run_processes(header(), 3, results=tmp_path, on_event=silent)
    assert isinstance(outcome.stopped_by, Terminated)
    assert (outcome.readings, outcome.path) == ((), None)
    assert [process.poll() is not None for process in born] == [True]
    assert [*tmp_path.rglob("*.jsonl")] == []


def test_closing_a_task_while_an_answer_waits_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """As after Ctrl-C just when a block ends: a pipe that is closed with something unread in it is reset."""
    task = OwnProcessTask(Where(BACKEND), CELL, 7, {})
    task._pipe.send(("block", (1,)))
    assert within(5, task._pipe.poll)
    task.close()
    assert capfd.readouterr() == ("", "")
    assert task._process.exitcode == 0


@pytest.mark.parametrize("after_s", [0.03, 0.09])
def test_ctrl_c_while_a_task_starts_is_answered_here_alone(
    after_s: float, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = multiprocessing.process.BaseProcess.start

    def started(process: multiprocessing.process.BaseProcess) -> None:
        start(process)

        def press() -> None:
            for one in (process.pid, os.getpid()):
                os.kill(one or 0, signal.SIGINT)

        threading.Timer(after_s, press).start()

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", started)
    with pytest.raises(KeyboardInterrupt):
        OwnProcessTask(Where(BACKEND), CELL, 7, {}).rest(30)
    assert capfd.readouterr() == ("", "")


class _Struck:
    """Something in whose `__del__` a signal strikes, where Python lets no exception through."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_that_python_would_swallow_stops_a_run_all_the_same(
    number: signal.Signals, reason: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt) as raised, stop_on_signals():  # noqa: PT012 - it strikes somewhere here
        struck = _Struck(number)
        del struck
        within(5, lambda: False)
    assert raised.type is reason
    assert sys.unraisablehook is hook
    assert capfd.readouterr() == ("", "")


def test_what_else_python_swallows_is_still_told_while_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))

    class Broken:
        def __del__(self) -> None:
            message = "broken"
            raise OSError(message)

    with stop_on_signals():
        Broken()
    assert [str(one) for one in told] == ["broken"]

"""Ctrl-C at the start and the end of a process of our own: one answer, here, and no traceback from there."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.devices.nvidia.own_process import OwnProcessTask, Where
from bench.errors import Terminated
from bench.run.session import stop_on_signals
from tests.test_own_process import BACKEND, CELL, within

FIRST_CHILDREN = """
import multiprocessing, signal
from contextlib import suppress
from pathlib import Path
from bench.errors import BackendUnavailable
from bench.run import processes
from tests.support import header

if __name__ == "__main__":
    start = multiprocessing.context.SpawnProcess.start

    def started(process):
        start(process)
        blocked = Path(f"/proc/{process.pid}/status").read_text().split("SigBlk:")[1].split()[0]
        print(bool(int(blocked, 16) >> (signal.SIGINT - 1) & 1), flush=True)
        process.kill()

    multiprocessing.context.SpawnProcess.start = started
    for _ in range(2):
        with suppress(BackendUnavailable):
            processes._in_fresh_process(header(), Path("unused"), print)
"""


def test_every_measuring_process_is_born_with_the_signals_held_back(tmp_path: Path) -> None:
    """The first too, with which multiprocessing starts its tracker, and that lets them through."""
    (tmp_path / "first.py").write_text(FIRST_CHILDREN)
    root = Path(__file__).resolve().parent.parent
    ran = subprocess.run(
        [sys.executable, "first.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["True", "True"]


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

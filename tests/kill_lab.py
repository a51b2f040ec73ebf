"""A server of real processes: forks of one that has imported chipbench, in which its command replays a device.

The device answers from scripts, so a run takes some hundredths of a second and always measures the same; its
records pass for measured ones, so that they can be resumed. A process is sent a signal after a given time.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from bench.devices.replay import Call, ReplayTask, Script
from bench.workloads.base import Cell
from tests.support import CELLS, PASSED, MeasuringBackend, script

ROOT: Final = Path(__file__).resolve().parents[1]
INTERRUPTED: Final = 128 + signal.SIGINT
_LONGEST_S: Final = 60.0  # no command may take so long: it hangs


class End(NamedTuple):
    """How a process ended: its exit code, or minus the signal that killed it, and what it printed."""

    code: int
    seconds: float
    out: str
    err: str


class Server:
    """Starts the commands; a context manager. `folder` is for what they print."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill_lab"],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_LONGEST_S)

    def run(
        self,
        args: Sequence[str | Path],
        *,
        after: float | None = None,
        number: int = signal.SIGKILL,
        at: int | None = None,
    ) -> End:
        """Run `chipbench ARGS`, and send it the signal `number` so many seconds `after` its start, if any.

        Or let it send that to itself `at` a step: before one of its calls that write something, counted from 0, or
        in the middle of one that writes bytes.
        """
        asking, answers = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answers is not None
        out, err = self._folder / "out", self._folder / "err"
        job: dict[str, Any] = {"args": [*map(str, args)], "out": str(out), "err": str(err)}
        job |= {"after": after, "number": number, "at": at}
        asking.write(json.dumps(job) + "\n")
        asking.flush()
        code, seconds = json.loads(answers.readline())
        return End(code, seconds, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


class ReplayedDevice(MeasuringBackend):
    """A device whose every cell has a script of its own."""

    def __init__(self) -> None:
        super().__init__({CELLS[0]: script()})

    def refusal(self, operation: str, dtype: str, library: str | None = None) -> str | None:
        return None

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> ReplayTask:
        first = sum(cell.key.encode()) / 1e5
        calls = (Call(2.0 + first + i % 7 / 4096, power_w=300.0 + i % 5) for i in count())
        return ReplayTask(Script(calls, check=PASSED))


def _serve() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            if job["at"] is not None:
                _strike_at(job["at"], job["number"])
            code = INTERRUPTED  # before the command begins, or when it is over
            try:
                code = _code_of(job["args"], job["out"], job["err"])
            finally:
                os._exit(code)
        if job["after"] is not None:
            time.sleep(job["after"])
            os.kill(child, job["number"])
        sys.stdout.write(json.dumps([_ended(child), time.monotonic() - started]) + "\n")
        sys.stdout.flush()


def _ended(child: int) -> int:
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_S)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.setitimer(signal.ITIMER_REAL, 0)
    return code


def _code_of(args: Sequence[str], out: str, err: str) -> int:
    """Be the command, in the child, and return what it exits with."""
    from bench.cli.main import main  # noqa: PLC0415 - the server has imported it before

    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    try:
        main(list(args), prog_name="chipbench")
    except SystemExit as end:
        sys.stdout.flush()
        if isinstance(end.code, int):
            return end.code
    return 1


def _strike_at(step: int, number: int) -> None:
    """Let this process send itself a signal at one of its calls that change what is on disk."""
    steps = count()

    def strike() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), number)

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def struck(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            strike()
            return call(*args, **options)

        return struck

    def write(descriptor: int, data: bytes) -> int:
        strike()
        half = whole(descriptor, data[: len(data) // 2])
        strike()
        return half + whole(descriptor, data[len(data) // 2 :])

    whole = os.write
    setattr(os, "write", write)  # noqa: B010 - as the others
    for name in ("open", "mkdir", "link", "unlink", "fsync", "ftruncate", "rename", "replace"):
        setattr(os, name, before(getattr(os, name)))


def _import_all() -> None:
    """Import what a run and a resumed one do, and read the chips, so that a child need not."""
    import bench.cli.main  # noqa: PLC0415
    import bench.cli.progress  # noqa: PLC0415
    import bench.cli.run  # noqa: PLC0415
    import bench.cli.several  # noqa: PLC0415
    import bench.devices.cpu  # noqa: PLC0415
    import bench.report.measured  # noqa: PLC0415
    import bench.report.tables  # noqa: PLC0415
    import bench.run.request  # noqa: PLC0415
    from bench.published.chips import Catalogue  # noqa: PLC0415
    from bench.published.source import specs_folders  # noqa: PLC0415

    Catalogue(specs_folders(None)).all()
    gc.freeze()  # a child's collector must not touch, and so copy, what its parent made
    bench.devices.cpu.open_backend = ReplayedDevice  # type: ignore[assignment]


if __name__ == "__main__":
    _import_all()
    _serve()

"""A Dask cluster of real processes on this machine, and a `chipbench` that measures on it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from bench.records.record import Lines, read_lines

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 120.0
SMALL = ("--backend", "cpu", "--quick", "--dtype", "fp32")
SIZES = tuple(part for size in (64, 96, 128) for part in ("--size", str(size)))


def until(what: Callable[[], object], why: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


class Cluster:
    """A scheduler and its workers, each a process of its own with a log."""

    def __init__(self, folder: Path, *, security: Sequence[str] = ()) -> None:
        self.folder, self._security = folder, security
        self.processes: list[subprocess.Popen[bytes]] = []
        self.file = folder / "scheduler.json"
        protocol = "tls" if security else "tcp"
        self.scheduler = self._start(
            "scheduler", "--host", f"{protocol}://127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(self.file), *security,
        )  # fmt: skip
        until(self._is_up, "the scheduler did not come up")
        self.address = str(json.loads(self.file.read_text())["address"])

    def _is_up(self) -> bool:
        try:
            return bool(json.loads(self.file.read_text())["address"])
        except (OSError, ValueError):
            return False

    def _start(self, what: str, *arguments: str, path: Path | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(path or ROOT)}
        with (self.folder / f"{what}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, *arguments],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, *options: str, path: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a worker; `path` is where it finds its chipbench."""
        plain = ("--nthreads", "1", "--no-dashboard", *self._security)
        return self._start("worker", self.address, *plain, *options, path=path)

    def measuring(self) -> list[psutil.Process]:
        """Return the processes that measure for its workers now."""
        found = []
        for process in self.processes:
            with suppress(psutil.Error):
                children = psutil.Process(process.pid).children(recursive=True)
                found += [one for one in children if "bench.run.member" in one.cmdline()]
        return found

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            for one in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
                one.kill()
            process.kill()
            process.wait()


class Client:
    """A `chipbench run` in a process of its own."""

    def __init__(self, results: Path, *arguments: str) -> None:
        self.results = results
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *arguments, "--results-dir", str(results)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        STARTED.append(self)

    def left(self) -> list[psutil.Process]:
        """Return the processes of its session that still run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def records(self) -> list[Lines]:
        """Return what the records hold now; one that is only just made has no line yet."""
        paths = [path for path in sorted(self.results.rglob("*.jsonl")) if b"\n" in path.read_bytes()]
        return [read_lines(path) for path in paths]

    def has(self, cells: int) -> None:
        """Wait until so many cells are saved, while it still runs."""
        until(lambda: sum(len(one.measurements) for one in self.records()) >= cells, f"not {cells} cells")
        assert self.process.poll() is None, self.process.communicate()

    def ends(self, code: int) -> tuple[str, str]:
        """Wait for its end, and return stdout and stderr."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def kill(self) -> None:
        """Kill it as nothing can be that answers."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


STARTED: list[Client] = []


def end_all() -> None:
    """Kill whatever clients still run, as those of a test that failed."""
    for client in STARTED:
        if client.process.poll() is None:
            client.kill()
    STARTED.clear()


def is_whole(lines: Lines) -> bool:
    """Whether every planned cell is there once, in order, and the footer last."""
    return lines.footer is not None and [one.cell for one in lines.measurements] == list(lines.header.plan.cells)

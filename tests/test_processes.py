"""Real processes that are interrupted, killed and run side by side: what was finished is never lost."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.records.record import Lines, read_lines

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
# Two cells of about two seconds each.
CELLS = ("--dtype", "fp32", *(part for size in (64, 96) for part in ("--size", str(size))))
RUN = ("run", "--backend", "cpu", "--quick")
# Only guards against waiting for ever: on a machine with other work a run of twelve seconds has taken a minute.
PATIENCE_S = 300.0


class Started:
    """A `chipbench` in a process of its own, in a process group of its own; its children have its mark."""

    def __init__(self, results: Path, *args: str | Path) -> None:
        self.results = results
        self._mark = f"CHIPBENCH_TEST={secrets.token_hex(8)}"
        environment = {name: value for name, value in os.environ.items() if name != "CHIPBENCH_RESULTS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", *map(str, args), "--results-dir", str(results)],
            cwd=ROOT,
            env=environment | dict([self._mark.split("=")]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def record(self, finished: int) -> Path:
        """Wait until some record holds this many measurements, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for path in self.results.rglob("*.jsonl"):
                if path.read_bytes().count(b'\n{"kind":"measurement"') > finished - 1:
                    return path
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        pytest.fail(f"no record with {finished} cells after {PATIENCE_S:g} s")

    def ends(self, code: int) -> tuple[str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def has_gone(self) -> None:
        """Check that soon neither this process nor any that it started runs any more."""
        deadline = time.monotonic() + PATIENCE_S
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.alive() == []

    def alive(self) -> list[int]:
        """Return this process and those that it started that still run; a zombie has no mark."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Started] = []

    def start_one(*args: str | Path) -> Started:
        started.append(Started(tmp_path / "results", *args))
        return started[-1]

    yield start_one
    for one in started:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
        with one.process:
            pass  # closes its pipes


def is_whole(lines: Lines, cells: int) -> bool:
    """Whether every planned cell is there once and the footer last."""
    measured = [measurement.cell for measurement in lines.measurements]
    return lines.footer is not None and measured == list(lines.header.plan.cells) and len(measured) == cells


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_prints_and_can_be_resumed(number: signal.Signals, code: int, start: Start) -> None:
    run = start(*RUN, *CELLS, "--format", "json")
    path = run.record(1)
    run.process.send_signal(number)
    out, err = run.ends(code)
    before = path.read_bytes()
    finished = read_lines(path).measurements
    assert before.endswith(b"\n")
    assert len(finished) == 1
    printed = [found["cell"] for found in json.loads(out)["measurements"]]
    assert printed == [measurement.cell.key for measurement in finished]
    assert f"chipbench run --resume {path}" in err
    start("run", "--resume", path).ends(0)
    assert path.read_bytes().startswith(before)
    lines = read_lines(path)
    assert is_whole(lines, 2)
    assert lines.resumed == 1


def test_after_a_kill_the_finished_lines_stay_as_they_are(start: Start) -> None:
    run = start(*RUN, *CELLS)
    path = run.record(1)
    run.process.kill()
    run.process.communicate()
    before = path.read_bytes()
    assert len(read_lines(path).measurements) == 1
    start("run", "--resume", path).ends(0)
    assert path.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert is_whole(read_lines(path), 2)


def test_a_record_that_is_being_written_cannot_be_resumed(start: Start) -> None:
    run = start(*RUN, *CELLS)
    path = run.record(1)
    _, err = start("run", "--resume", path).ends(7)
    assert "another process is writing this record" in err
    assert run.process.poll() is None


def test_two_runs_in_one_folder_and_two_processes_of_one_run(start: Start) -> None:
    """All at once: they share the folder and its key, and nothing else."""
    several = start(*RUN, *CELLS[:4], "--processes", "2", "--format", "json")
    alone = start(*RUN, *CELLS[:4], "--format", "json")
    document = json.loads(several.ends(0)[0])
    (other,) = json.loads(alone.ends(0)[0])["records"]
    assert document["measurements"][0]["processes"] == 2
    paths = [Path(path) for path in document["records"]]
    assert len(paths) == len({*paths, Path(other)}) - 1 == 2
    headers = [read_lines(path).header for path in paths]
    marks = [header.process for header in headers]
    assert [(mark.index, mark.of) for mark in marks if mark is not None] == [(0, 2), (1, 2)]
    assert len({mark.group for mark in marks if mark is not None}) == 1
    assert len({header.plan for header in headers}) == 1
    lone = read_lines(Path(other))
    assert lone.header.process is None
    assert {header.device.key for header in headers} == {lone.header.device.key}
    for path in (*paths, Path(other)):
        assert is_whole(read_lines(path), 1)
    assert sorted(path.name for path in several.results.iterdir() if path.is_file()) == [".key"]


@pytest.mark.parametrize(
    ("number", "code", "all_of_them"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, True), (signal.SIGTERM, 143, False)],
)
def test_stopping_several_processes_leaves_no_orphan(
    number: signal.Signals, code: int, *, all_of_them: bool, start: Start
) -> None:
    """A job scheduler's SIGTERM may reach all of them, or the parent only."""
    run = start(*RUN, *CELLS, "--processes", "2", "--format", "json")
    path = run.record(1)
    assert len(run.alive()) == 2
    for pid in run.alive() if all_of_them else [run.process.pid]:
        with suppress(ProcessLookupError):  # the first of them may have ended the other by now
            os.kill(pid, number)
    out, err = run.ends(code)
    run.has_gone()
    finished = read_lines(path).measurements
    assert len(finished) == 1
    assert [found["cell"] for found in json.loads(out)["measurements"]] == [one.cell.key for one in finished]
    assert f"chipbench run --resume {path}" in err
    assert list(run.results.rglob("*.jsonl")) == [path]


def test_when_the_parent_is_killed_its_child_ends_too(start: Start) -> None:
    run = start(*RUN, *CELLS, "--processes", "2")
    path = run.record(1)
    run.process.kill()
    _, err = run.process.communicate(timeout=PATIENCE_S)  # ends when the last of them has closed stderr
    assert "Traceback" not in err
    run.has_gone()
    assert read_lines(path).footer is None

"""Twenty processes at once in one results folder: all records whole, none overwritten, one key, no damage."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from bench.records.record import read_lines
from bench.records.store import record_paths
from tests.disk_lab import replayable

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parent.parent
# A process of one thread has everything imported, and becomes as many as there are commands. Each is a process of
# its own, which waits until all are there. Measuring takes milliseconds, by a policy for tests.
CROWD: Final = """
import json, os, sys
from importlib import import_module
import numpy
import bench.run.planning
from bench.cli.main import main
from tests.support import TINY

if __name__ == "__main__":
    for name in ("cli.run", "cli.results", "cli.compare", "devices.cpu", "run.processes", "records.merge",
                 "report.measured", "report.listing", "report.compared", "report.merged", "report.formats"):
        import_module(f"bench.{name}")
    bench.run.planning.fitted = lambda *_args, **_more: TINY
    ready, go = os.pipe()
    children = []
    for number, args in enumerate(json.loads(sys.argv[1])):
        child = os.fork()
        if child == 0:
            os.close(go)
            for stream, name in ((1, "out"), (2, "err")):
                file = os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, stream)
            os.read(ready, 1)  # which ends when the parent closes the other end
            code = 1
            try:
                main(args)
            except SystemExit as end:
                code = end.code or 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    os.close(go)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""
LIST: Final = ["results", "list"]
COMPARE: Final = ["compare", "latest", "h100"]
MEASURE: Final = ["run", "--backend", "cpu", "--dtype", "fp32", "--size", "32", "--size", "48"]


class Answer(NamedTuple):
    """What one of the commands came to."""

    args: Sequence[str]
    code: int
    err: str


def all_at_once(commands: Sequence[Sequence[str]], folder: Path) -> list[Answer]:
    """Return what some commands come to that begin together, each in a process of its own."""
    (folder / "crowd.py").write_text(CROWD)
    environment: Mapping[str, str] = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CHIPBENCH_RESULTS": "results",
        "OPENBLAS_NUM_THREADS": "1",
    }
    ran = subprocess.run(
        [sys.executable, "crowd.py", json.dumps(commands)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    codes = json.loads(ran.stdout)
    errs = [(folder / f"{number}.err").read_text() for number in range(len(commands))]
    answers = [Answer(*each) for each in zip(commands, codes, errs, strict=True)]
    assert not [one for one in answers if "damaged" in one.err or "bug" in one.err or "Traceback" in one.err]
    return answers


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def check_all_whole(results: Path, count: int) -> None:
    lines = [read_lines(path) for path in record_paths(results)]
    assert len({one.header.id for one in lines}) == len(lines) == count
    assert all(one.footer is not None and one.torn == 0 for one in lines)
    assert hidden(results) == [".key"]


def interrupted(results: Path) -> tuple[Path, bytes]:
    """Cut a measured record off in the middle of its second cell, and return it and what it was."""
    path = next(path for path in record_paths(results) if read_lines(path).header.process is not None)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 4
    path.write_bytes(b"".join(lines[:2]) + lines[2][:100])
    return path, whole


def test_twenty_processes_in_one_results_folder(tmp_path: Path) -> None:
    source = str(replayable(tmp_path / "source"))
    replay = ["run", "--backend", "replay", "--from", source, "--results-dir", "results"]
    others = tmp_path / "others"
    merged = [replayable(others) for _ in range(5)]
    results = tmp_path / "results"

    # None of them finds the folder or a key: all make them.
    answers = all_at_once(
        [
            *[replay] * 10,
            *[[*MEASURE, "--processes", "2"]] * 2,
            *[MEASURE] * 2,
            *[["results", "merge", "others"]] * 3,
            *[LIST] * 2,
            COMPARE,
        ],
        tmp_path,
    )
    assert len(answers) == 20
    for one in answers[:17]:
        assert one.code == 0, one
    for one in answers[17:]:  # whether there was anything to read by then is chance
        assert one.code == 0 or " record here; 'chipbench run'" in one.err or "no results folder" in one.err, one
    check_all_whole(results, 10 + 2 * 2 + 2 + len(merged))
    measured = [read_lines(path).header for path in record_paths(results)]
    assert len({head.device.key for head in measured if head.origin == "measured" and head.tool != "x"}) == 1
    before = {path: path.read_bytes() for path in record_paths(results)}

    # One record is there that was interrupted: one process may go on with it, or one merge complete it.
    record, whole = interrupted(results)
    copy = tmp_path / "copy" / record.name
    copy.parent.mkdir()
    copy.write_bytes(whole)
    resume = ["run", "--resume", str(record.relative_to(tmp_path))]
    answers = all_at_once(
        [
            *[resume] * 8,
            *[["results", "merge", "copy"]] * 2,
            *[["results", "merge", "others"]] * 2,
            *[replay] * 3,
            [*MEASURE, "--processes", "2"],
            *[LIST] * 2,
            *[COMPARE] * 2,
        ],
        tmp_path,
    )
    assert len(answers) == 20
    check_all_whole(results, len(before) + 3 + 2)
    assert all(path.read_bytes() == content for path, content in before.items() if path != record)
    resumed = read_lines(record).resumed
    assert (resumed, record.read_bytes() == whole) in {(1, False), (0, True)}
    for one in answers[:8]:
        refused = one.code == 7 and "another process is writing this record" in one.err
        assert refused or one.code == 0, one
    assert sum("is complete: nothing to resume" not in one.err and one.code == 0 for one in answers[:8]) >= resumed
    for one in answers[8:10]:  # a record that another process completed is not the one that was copied
        assert one.code == 0 if resumed == 0 else one.code in {4, 7}, one
    for one in answers[10:]:
        assert one.code == 0, one

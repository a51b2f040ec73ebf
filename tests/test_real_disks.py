"""Real file systems and limits that are full, in processes of their own: exit code 7, and all before is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from bench.records.record import read_lines
from bench.records.store import record_paths
from tests.disk_lab import replayable

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parent.parent
UNABLE: Final = 42
# Runs until one cannot be saved, gives room again, and runs once more.
UNTIL_FULL: Final = """
import json, resource, subprocess, sys
from pathlib import Path
from bench.cli.main import main
from bench.records.record import read_lines

how, source, results = sys.argv[1], sys.argv[2], Path(sys.argv[3])
results.mkdir()
if how == "limit":
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(source).stat().st_size - 500, most))
else:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(results)]
    if subprocess.run(mount, capture_output=True).returncode:
        sys.exit(42)
    (results / "filler").write_bytes(bytes(16384))

def run():
    try:
        main(["run", "--backend", "replay", "--from", source, "--results-dir", str(results)])
    except SystemExit as end:
        return end.code

def contents():
    return {path.name: path.read_bytes() for path in results.rglob("*.jsonl")}

codes, before = [], {}
while len(codes) < 99 and 7 not in codes:
    codes.append(run())
    now = contents()
    assert {name: now[name] for name in before} == before, "an earlier record was touched"
    before = now
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
else:
    (results / "filler").unlink()
again = run()
lines = [read_lines(path) for path in sorted(results.rglob("*.jsonl"))]
assert all(contents()[name] == before[name] for name in before), "an earlier record was touched"
told = [[len(one.measurements), one.footer is not None, one.torn] for one in lines]
names = sorted(path.name for path in results.rglob(".*"))
print("", json.dumps({"codes": codes, "again": again, "records": told, "hidden": names}), sep="\\n")
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return replayable(tmp_path / "source")


def run_until_full(how: str, source: Path, tmp_path: Path) -> tuple[dict[str, Any], str] | None:
    """Return what came of it and what was said; None if it cannot be tried here."""
    (tmp_path / "until_full.py").write_text(UNTIL_FULL)
    # As root of a namespace of its own anybody may mount, where the system lets them have one.
    before = ["unshare", "--user", "--map-root-user", "--mount"] if how == "mount" else []
    try:
        ran = subprocess.run(
            [*before, sys.executable, "until_full.py", how, str(source), str(tmp_path / "results")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except FileNotFoundError:  # no unshare
        return None
    if how == "mount" and ran.returncode and (ran.returncode == UNABLE or "unshare" in ran.stderr):
        return None
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1]), ran.stderr


def test_a_file_system_of_64_kb_that_fills_up(source: Path, tmp_path: Path) -> None:
    """Where none can be mounted a limit of the system stands in for it: that cuts a file short as well."""
    found, advice = run_until_full("mount", source, tmp_path), "(No space left on device); free some space"
    if found is None:
        found, advice = run_until_full("limit", source, tmp_path / "source"), "(File too large); raise the limit"
    assert found is not None
    told, said = found
    assert told["codes"] == [0] * (len(told["codes"]) - 1) + [7]
    assert advice in said
    assert "Traceback" not in said
    whole = len(read_lines(source).measurements)
    assert told["again"] == 0
    assert all(torn == 0 for _, _, torn in told["records"])
    complete = [count for count, ended, _ in told["records"] if ended]
    assert complete == [whole] * len(told["codes"])
    assert told["hidden"] == [".key"]


def test_a_file_that_reaches_the_limit_of_its_size(source: Path, tmp_path: Path) -> None:
    found = run_until_full("limit", source, tmp_path)
    assert found is not None
    told, said = found
    assert (told["codes"], told["again"], told["hidden"]) == ([7], 0, [".key"])
    assert "(File too large); raise the limit of a file's size (ulimit -f), then run it again" in said
    assert [torn for _, _, torn in told["records"]] == [0, 0]
    assert sorted(ended for _, ended, _ in told["records"]) == [False, True]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_run_whose_output_has_no_room_is_saved_all_the_same(stream: str, source: Path, tmp_path: Path) -> None:
    """And says where, if it can."""
    command = ["run", "--backend", "replay", "--from", str(source), "--results-dir", "here"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "bench", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full if stream == "stdout" else subprocess.PIPE,
            stderr=full if stream == "stderr" else subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    (path,) = record_paths(tmp_path / "here")
    assert read_lines(path).footer is not None
    if stream == "stderr":
        assert ran.returncode == 0
        assert "64³" in ran.stdout
    else:
        assert ran.returncode == 7
        saved, *_, last = ran.stderr.splitlines()
        assert saved == f"saved  {path.relative_to(tmp_path)}"
        assert last.startswith("chipbench: stdout cannot be written (No space left on device)")

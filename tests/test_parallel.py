"""Many records are read in several processes, to the same result as in one, whatever becomes of them."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.analysis.pooling import Pool, pool_of
from bench.records import parallel
from bench.records.parallel import by_chunks, no_gc
from tests.support import CELLS, header, write_record


def named(paths: Sequence[Path]) -> tuple[int, list[str]]:
    return os.getpid(), [path.name for path in paths]


def killed_elsewhere(paths: Sequence[Path]) -> list[str]:
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return [path.name for path in paths]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{index}.jsonl" for index in range(5)]
    for path in made:
        path.write_bytes(b"x" * 100)
    return made


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_MANY_BYTES", 0)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)


def test_little_is_read_here(files: list[Path]) -> None:
    assert by_chunks(named, files) == [(os.getpid(), [path.name for path in files])]


def test_much_is_read_in_several_processes_in_order(files: list[Path], many: None) -> None:
    found = by_chunks(named, files)
    assert [name for _, names in found for name in names] == [path.name for path in files]
    assert len({process for process, _ in found}) == len(found) == 2


@pytest.mark.parametrize("on", [True, False])
def test_garbage_is_collected_afterwards_as_it_was_before(*, on: bool) -> None:
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with no_gc():
            assert not gc.isenabled()
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()


def test_what_a_killed_process_should_have_read_is_read_here(files: list[Path], many: None) -> None:
    found = by_chunks(killed_elsewhere, files)
    assert [name for names in found for name in names] == [path.name for path in files]


def test_a_pool_in_parts_is_the_pool_of_all(tmp_path: Path, many: None) -> None:
    paths = [write_record(tmp_path, header(CELLS, ident=f"{index:08x}")) for index in range(4)]
    paths.append(tmp_path / "bad.jsonl")
    paths[-1].write_text("nonsense\n")
    whole, joined = pool_of(paths), Pool()
    for part in by_chunks(pool_of, paths):
        joined.extend(part)
    assert (joined.rates, joined.failed, joined.ids) == (whole.rates, whole.failed, whole.ids)
    assert list(map(str, joined.damaged)) == list(map(str, whole.damaged))
    assert len(joined.contexts) == 4


def test_a_command_that_reads_in_processes_prints_the_same(tmp_path: Path) -> None:
    """Children of a spawning process import its main module anew, which must not run the command again."""
    for side in ("a", "b"):
        for index in range(2):
            write_record(tmp_path / side, header(CELLS, ident=f"{side * 4}{index:04x}"))
    script = tmp_path / "many.py"
    script.write_text(
        "import bench.records.parallel as p\nfrom bench.cli.main import main\n"
        "p._MANY_BYTES, p.usable_cores = 0, lambda: 2\nif __name__ == '__main__':\n    main()\n"
    )
    arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    printed = [
        subprocess.run([sys.executable, *how, *arguments], capture_output=True, text=True, check=True).stdout
        for how in ([str(script)], ["-m", "bench"])
    ]
    assert printed[0] == printed[1]


def test_a_record_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    path = write_record(tmp_path, header(CELLS))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    pool = pool_of([path, copy])
    assert pool.copies == 1
    assert {len(rates) for rates in pool.rates.values()} == {1}

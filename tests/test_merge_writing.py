"""What a merge writes while others write, on a full disk, and where the sources do not hold still."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bench.errors import CannotWrite, RecordError
from bench.records import merge
from bench.records.merge import carry_out, check_merge
from bench.records.record import Footer, read_lines
from bench.records.store import RecordWriter, record_path
from tests.support import CELLS, fill_disk_after, header, measurement, write_record
from tests.test_merge import merged, other_end, outcomes, part, tree


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class TestDisk:
    @pytest.mark.parametrize("room", [0, 500, 10**4])
    def test_a_full_disk_costs_only_what_did_not_fit(
        self, room: int, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A new record is there whole or not at all, one to be extended as it was or longer; the rest follows."""
        sources = [write_record(tmp_path / "a", header(ident=f"{index:08x}")) for index in range(4)]
        begun = part(here, sources[0], 2)
        before = begun.read_bytes()
        with monkeypatch.context() as patch:
            fill_disk_after(room, patch)
            with pytest.raises(CannotWrite, match="No space left on device") as raised:
                merged(here, *sources)
        assert raised.value.exit_code == 7
        assert begun.read_bytes().startswith(before)
        new = {str(path.relative_to(tmp_path / "a")): path.read_bytes() for path in sources[1:]}
        assert tree(here).items() - {(begun.name, begun.read_bytes())} <= new.items()
        merged(here, *sources)
        assert tree(here) == {begun.name: sources[0].read_bytes(), **new}

    @pytest.mark.parametrize("call", ["fsync", "link", "open"])
    def test_a_write_that_fails_leaves_nothing_behind(
        self, call: str, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_record(tmp_path / "a", header())
        checked = check_merge([source], here)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(CannotWrite, match="No space left on device") as raised:
                carry_out(checked)
        assert "\n" not in str(raised.value)
        assert tree(here) == {}

    def test_a_record_has_its_name_only_when_all_of_it_is_on_the_disk(
        self, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_record(tmp_path / "a", header())
        to = record_path(here, header())
        seen: list[tuple[int, bool]] = []
        folders: list[bool] = []
        fsync, link = os.fsync, os.link

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                seen.append((os.fstat(descriptor).st_size, to.exists()))
            else:
                folders.append(to.exists())

        def linked(own: Path, path: Path) -> None:
            assert seen == [(source.stat().st_size, False)]
            assert own.parent == to.parent
            assert own.suffix != ".jsonl"
            link(own, path)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "link", linked)
        merged(here, source)
        assert len(seen) == 1
        assert folders == [False, False, True, True]  # two folders are made, and then hold new names

    @pytest.mark.parametrize("below", ["file", "file/results"])
    def test_a_folder_that_cannot_be_one(self, below: str, tmp_path: Path) -> None:
        source = write_record(tmp_path / "a", header())
        (tmp_path / "file").write_text("precious")
        with pytest.raises(CannotWrite, match="cannot be a results folder"):
            merged(tmp_path / below, source)
        assert (tmp_path / "file").read_text() == "precious"


class TestOthers:
    def test_two_merges_at_once_double_nothing(self, tmp_path: Path, here: Path) -> None:
        """Both have found that nothing is there before either has written."""
        wholes = [write_record(tmp_path / "a", header(ident=name)) for name in ("a", "b", "c")]
        halves = [part(tmp_path / "b", path, 2) for path in wholes]
        first = check_merge([wholes[0], halves[1], halves[2]], here)
        second = check_merge([halves[0], wholes[1], halves[2]], here)
        assert outcomes(carry_out(first)) == [("added", 0)] * 3
        assert outcomes(carry_out(second)) == [("there already", 0), ("extended", 3), ("there already", 0)]
        contents = [path.read_bytes() for path in (wholes[0], wholes[1], halves[2])]
        assert [*tree(here).values()] == contents

    @pytest.mark.parametrize(("lines", "became"), [(5, "there already"), (2, "extended")])
    def test_a_record_that_came_while_the_folder_was_looked_through(
        self, lines: int, became: str, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_record(tmp_path / "a", header())
        part(tmp_path / "b", source, lines)
        found = merge._there

        def late(results: Path, wanted: Iterable[str]) -> object:
            before = found(results, wanted)
            monkeypatch.undo()
            merged(here, *(tmp_path / "b").iterdir())
            return before

        monkeypatch.setattr(merge, "_there", late)
        assert [one.outcome for one in merged(here, source)] == [became]
        assert [*tree(here).values()] == [source.read_bytes()]

    def test_what_is_there_already_needs_no_lock(self, tmp_path: Path, here: Path) -> None:
        source = write_record(tmp_path / "a", header(), complete=False)
        checked = check_merge([source], here)
        merged(here, source)
        (path,) = here.rglob("*.jsonl")
        writer, _ = RecordWriter.reopen(path)
        with writer:
            assert outcomes(carry_out(checked)) == [("there already", 0)]

    def test_two_that_contradict_each_other_at_once(self, tmp_path: Path, here: Path) -> None:
        source, other = write_record(tmp_path / "a", header()), other_end(tmp_path / "b")
        first, second = check_merge([source], here), check_merge([other], here)
        carry_out(first)
        with pytest.raises(RecordError, match=f"was changed while {other} was being merged"):
            carry_out(second)
        assert [*tree(here).values()] == [source.read_bytes()]

    def test_a_record_that_is_being_written_is_merged_as_far_as_it_is(self, tmp_path: Path, here: Path) -> None:
        with RecordWriter.create(tmp_path / "a", header()) as writer:
            writer.append(measurement(CELLS[0]))
            checked = check_merge([writer.path], here)
            assert [step.copy.writing for step in checked.steps] == [True]
            writer.append(measurement(CELLS[1]))
            assert outcomes(carry_out(checked)) == [("added", 0)]
            (path,) = here.rglob("*.jsonl")
            assert len(read_lines(path).measurements) == 1
            writer.append(measurement(CELLS[2]))
        assert [step.copy.writing for step in check_merge([writer.path], here).steps] == [False]
        assert outcomes(merged(here, writer.path)) == [("extended", 2)]
        assert path.read_bytes() == writer.path.read_bytes()

    def test_looking_whether_one_is_written_keeps_nobody_out(self, tmp_path: Path, here: Path) -> None:
        path = write_record(tmp_path / "a", header(), complete=False)
        with path.open("rb") as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_SH)  # as another merge does
            assert [step.copy.writing for step in check_merge([path], here).steps] == [False]
        writer, _ = RecordWriter.reopen(path)
        with writer:
            writer.append(Footer(ended="2026-01-02T03:05:05Z", measurements=3, seconds=60.0))

    @pytest.mark.parametrize("ends", ["as it was", "complete", None])
    def test_it_waits_a_little_for_who_writes_the_same_record(
        self, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, ends: str | None
    ) -> None:
        whole = write_record(tmp_path / "a", header())
        path = part(here, whole, 2)
        before = path.read_bytes()
        writer, _ = RecordWriter.reopen(path)
        now = [0.0]

        def passes(seconds: float) -> None:
            now[0] += seconds
            if ends and now[0] > 1:
                if ends == "complete":
                    writer.append_whole(whole.read_bytes()[len(before) :])
                writer.close()

        monkeypatch.setattr(time, "sleep", passes)
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        if ends:
            became = ("there already", 0) if ends == "complete" else ("extended", 3)
            assert outcomes(merged(here, whole)) == [became]
            assert path.read_bytes() == whole.read_bytes()
            return
        with writer, pytest.raises(CannotWrite, match="another process is writing this record"):
            merged(here, whole)
        assert merge._PATIENCE_S <= now[0] < merge._PATIENCE_S + 1
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "change",
        [lambda path: path.write_bytes(b""), Path.unlink, lambda path: path.write_bytes(b"other\n" * 999)],
    )
    def test_a_source_that_does_not_hold_still_is_not_copied(
        self, change: Callable[[Path], object], tmp_path: Path, here: Path
    ) -> None:
        source = write_record(tmp_path / "a", header())
        checked = check_merge([source], here)
        change(source)
        with pytest.raises(RecordError, match=f"^{source}: "):
            carry_out(checked)
        assert not here.exists()

    @pytest.mark.slow
    def test_many_processes_merge_into_one_folder(self, tmp_path: Path, here: Path) -> None:
        wholes = [write_record(tmp_path / "a", header(ident=f"{index:08x}")) for index in range(40)]
        for path in wholes:
            for lines in (1, 3):
                part(tmp_path / f"part{lines}", path, lines)
        commands = [
            [sys.executable, "-m", "bench", "results", "merge", *names, "--results-dir", "here"]
            for names in (["part1"], ["part3"], ["a"], ["part3", "a"])
        ]
        started = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for command in commands]
        assert [process.wait(60) for process in started] == [0] * 4
        assert tree(here) == tree(tmp_path / "a")

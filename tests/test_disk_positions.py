"""A disk that is full after any byte, or fails at any call: what is told to be saved is; the rest can follow."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import pytest

from bench.cli.saving import save_all
from bench.errors import CannotWrite
from bench.measure.policy import Policy
from bench.records.merge import carry_out, check_merge
from bench.records.record import Footer, Line, encode_line, read_lines
from bench.records.store import RecordWriter, record_path, records_below
from bench.run import session
from bench.run.collecting import measure_several
from bench.run.resuming import resume_several
from bench.run.session import Outcome, make_header, resume, run_plan
from bench.run.several import arrange
from bench.workloads.base import Plan
from tests.command import chipbench
from tests.disk_lab import Disk, fill, open_files
from tests.places_lab import KEY, Site, Unit, request
from tests.support import CELLS, MeasuringBackend, header, measurement, script, silent, write_record
from tests.test_merge import tree

FEW: Final = CELLS[:2]
NUMBERS: Final = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EINTR)
HEAD: Final = header(FEW)
LINES: Final[Sequence[Line]] = (
    *(measurement(one) for one in FEW),
    Footer(ended="2026-01-02T03:05:05Z", measurements=2, seconds=60.0),
)
WHOLE: Final = b"".join(map(encode_line, (HEAD, *LINES)))
ENDS: Final = [at + 1 for at, byte in enumerate(WHOLE) if byte == ord("\n")]


@pytest.fixture(autouse=True)
def memory_is_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def no_file_stays_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


class Told:
    """How far a record came, and what stopped it."""

    def __init__(self, results: Path) -> None:
        self.lines, self.error = 0, ""
        try:
            with RecordWriter.create(results, HEAD) as writer:
                self.lines = 1
                for line in LINES:
                    writer.append(line)
                    self.lines += 1
        except CannotWrite as error:
            self.error = str(error)

    def finish(self, results: Path) -> bytes:
        """Go on when there is room again, and return what is in the record then."""
        path = record_path(results, HEAD)
        if not path.exists():
            assert self.lines == 0
            assert Told(results).error == ""
            return path.read_bytes()
        writer, lines = RecordWriter.reopen(path)
        with writer:
            done = 1 + len(lines.measurements) + (lines.footer is not None)
            for line in LINES[done - 1 :]:
                writer.append(line)
        return path.read_bytes()


def check_full_after(room: int, results: Path) -> None:
    other = write_record(results, header(FEW, ident="ffffffff"))
    before = other.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        fill(room, patch)
        told = Told(results)
    assert "\n" not in told.error
    path = record_path(results, HEAD)
    fitting = sum(end <= room for end in ENDS)
    # What is full to the last byte has no room for a name either: the header counts only if more would fit.
    assert told.lines == (fitting if room > ENDS[0] else 0)
    assert ("No space left on device); free some space" in told.error) == (told.lines < len(ENDS))
    if told.lines:
        assert path.read_bytes() == WHOLE[: ENDS[told.lines - 1]]
    assert {*tree(results)} == {str(one.relative_to(results)) for one in (other, path) if one.exists()}
    assert other.read_bytes() == before
    assert told.finish(results) == WHOLE
    assert other.read_bytes() == before


@pytest.mark.parametrize("room", [0, ENDS[0] - 1, ENDS[0], ENDS[1] - 1, ENDS[1], ENDS[1] + 1, len(WHOLE)])
def test_a_disk_that_is_full_at_the_end_of_a_line_costs_that_line_at_most(room: int, tmp_path: Path) -> None:
    check_full_after(room, tmp_path)


@pytest.mark.slow
def test_a_disk_that_is_full_after_any_byte_costs_one_line_at_most(tmp_path: Path) -> None:
    for room in range(len(WHOLE) + 1):
        check_full_after(room, tmp_path / str(room))


class TestRun:
    """A whole run: the key and the folder are made, cells are measured and saved, and it is gone on with."""

    @pytest.fixture(autouse=True)
    def device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "open_backend", lambda *_where: self.backend())

    def backend(self) -> MeasuringBackend:
        return MeasuringBackend({one: script() for one in FEW})

    def run(self, results: Path) -> Outcome | CannotWrite:
        plan = Plan(workload="gemm", cells=FEW)
        try:
            head = make_header(
                self.backend(), plan, Policy(), tool="x", results=results, identify=False, around=None
            )
            return run_plan(self.backend(), head, results=results, on_event=silent)
        except CannotWrite as error:
            return error

    def check(self, results: Path, outcome: Outcome | CannotWrite, *, clean: bool = True) -> None:
        """Hold what was told against what is there, and go on with it."""
        found = records_below(results) or [] if results.exists() else []
        if isinstance(outcome, CannotWrite):
            assert outcome.exit_code == 7
            assert "\n" not in str(outcome)
            assert found == [] or not read_lines(found[0]).measurements
        else:
            assert outcome.stopped_by is None or isinstance(outcome.stopped_by, CannotWrite)
            lines = read_lines(found[0])
            told = [reading.cell for reading in outcome.readings]
            there = [one.cell for one in lines.measurements]
            assert there[: len(told)] == told
            assert len(told) == 2 or outcome.stopped_by is not None
            if clean:
                assert (there, lines.torn) == (told, 0)
        ended = resume(found[0], tool="x", on_event=silent) if found else self.run(results)
        assert isinstance(ended, Outcome)
        assert ended.stopped_by is None
        (path,) = records_below(results) or []
        lines = read_lines(path)
        assert lines.footer is not None
        assert lines.measurements == self.uninterrupted
        if clean:
            assert {*tree(results)} == {".key", str(path.relative_to(results))}

    @pytest.fixture(autouse=True)
    def whole(self, device: None, tmp_path: Path) -> None:
        outcome = self.run(tmp_path / "whole")
        assert isinstance(outcome, Outcome)
        assert outcome.path is not None
        self.uninterrupted = read_lines(outcome.path).measurements
        self.size = sum(map(len, tree(tmp_path / "whole").values()))

    @pytest.mark.parametrize("room", [0, 40, 64, 65])
    def test_a_disk_without_room_for_the_key_or_a_record(
        self, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            fill(room, patch)
            outcome = self.run(tmp_path / "results")
        assert isinstance(outcome, CannotWrite)
        self.check(tmp_path / "results", outcome)

    @pytest.mark.slow
    def test_a_disk_that_is_full_after_some_bytes(self, tmp_path: Path) -> None:
        for room in range(0, self.size + 1, 3):
            with pytest.MonkeyPatch.context() as patch:
                fill(room, patch)
                outcome = self.run(tmp_path / str(room))
            self.check(tmp_path / str(room), outcome)

    def failing(self, numbers: Sequence[int], tmp_path: Path, *, dies: bool) -> Iterator[Path]:
        """Run once for each of the errors and each call at which it may come, and yield the results."""
        for number in numbers:
            for at in range(1000):
                results = tmp_path / f"{number}-{at}"
                with pytest.MonkeyPatch.context() as patch:
                    disk = Disk(patch, at=at, number=number, dies=dies)
                    outcome = self.run(results)
                if not disk.has_failed:
                    assert isinstance(outcome, Outcome)
                    assert outcome.stopped_by is None
                    break
                self.check(results, outcome, clean=not dies)
                yield results

    @pytest.mark.slow
    def test_any_call_may_fail_once_for_any_reason(self, tmp_path: Path) -> None:
        results = [*self.failing(NUMBERS, tmp_path, dies=False)]
        assert len(results) > 15 * len(NUMBERS)

    @pytest.mark.slow
    def test_a_disk_may_die_at_any_call(self, tmp_path: Path) -> None:
        assert len([*self.failing([errno.EIO], tmp_path, dies=True)]) > 15

    def test_a_record_that_is_removed_meanwhile_is_not_told_to_be_saved(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file without a name takes all that is written to it, and nobody finds it."""
        backend = self.backend()
        backend.on_prepare = lambda one: shutil.rmtree(tmp_path / "results") if one == FEW[1] else None
        monkeypatch.setattr(self, "backend", lambda: backend)
        outcome = self.run(tmp_path / "results")
        assert isinstance(outcome, Outcome)
        assert outcome.path is None
        assert "was removed while it was being written" in str(outcome.stopped_by)
        assert [reading.cell for reading in outcome.readings] == [FEW[0]]

    def test_of_a_disk_that_dies_nothing_is_told_that_it_did_not_confirm(self, tmp_path: Path) -> None:
        """The second cell is in the file when its sync fails, and cannot be cut off; it may not be on the disk."""
        with pytest.MonkeyPatch.context() as patch:
            sync, count = os.fsync, [0]
            written = os.write

            def wrote(descriptor: int, data: bytes) -> int:
                count[0] += b'"kind":"measurement"' in data
                return written(descriptor, data)

            def synced(descriptor: int) -> None:
                if count[0] == 2:
                    raise OSError(errno.EIO, "Input/output error")
                sync(descriptor)

            def kept(_descriptor: int, _size: int) -> None:
                raise OSError(errno.EIO, "Input/output error")

            patch.setattr(os, "write", wrote)
            patch.setattr(os, "fsync", synced)
            patch.setattr(os, "ftruncate", kept)
            outcome = self.run(tmp_path / "results")
        assert isinstance(outcome, Outcome)
        assert [reading.cell for reading in outcome.readings] == [FEW[0]]
        assert "(Input/output error); check the disk, then go on with --resume" in str(outcome.stopped_by)
        self.check(tmp_path / "results", outcome, clean=False)


@pytest.mark.slow
class TestOthers:
    """What else writes records: merging, and runs over several devices."""

    def test_merging(self, tmp_path: Path) -> None:
        wholes = [write_record(tmp_path / "a", header(FEW, ident=name)) for name in ("a", "b")]
        size = wholes[0].stat().st_size
        begun = wholes[0].read_bytes().splitlines(keepends=True)
        for room in range(0, 2 * size + 1, 17):
            here = tmp_path / str(room)
            path = record_path(here, header(FEW, ident="a"))
            path.parent.mkdir(parents=True)
            path.write_bytes(b"".join(begun[:2]))
            with pytest.MonkeyPatch.context() as patch:
                fill(room, patch)
                enough = room > 2 * size - len(b"".join(begun[:2]))
                expected = nullcontext() if enough else pytest.raises(CannotWrite, match="free some space")
                with expected:
                    carry_out(check_merge(wholes, here))
            assert {*tree(here).values()} <= {b"".join(begun[:2]), *(one.read_bytes() for one in wholes)}
            carry_out(check_merge(wholes, here))
            assert tree(here) == tree(tmp_path / "a")

    def test_several_devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stops = [self.several_full_after(room, tmp_path / str(room), monkeypatch) for room in range(0, 8000, 61)]
        assert stops == sorted(stops, reverse=True)
        assert stops[0]
        assert not stops[-1]

    def site(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        return Site(monkeypatch, {place: Unit(place, cells=FEW) for place in "ab"}, {"a": "x", "b": "y"})

    def several_full_after(self, room: int, results: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Run, go on when there is room again, and tell whether that was needed."""
        asked, indices = request(results), dict.fromkeys("ab")
        results.mkdir()
        (results / ".key").write_bytes(KEY)
        site = self.site(monkeypatch)
        begun = arrange(site, asked, KEY, indices=indices, together=False).begun
        stopped_by: BaseException | None
        with pytest.MonkeyPatch.context() as patch:
            fill(room, patch)
            try:
                _, stopped_by = measure_several(site, begun, asked, lambda _progress: None)
            except CannotWrite as error:
                stopped_by = error
        found = records_below(results) or []
        assert all(read_lines(path).torn == 0 for path in found)
        if stopped_by is not None:
            assert isinstance(stopped_by, CannotWrite)
            assert "free some space" in str(stopped_by)
        if stopped_by is not None and found:
            site = self.site(monkeypatch)
            again, _, ended_by = resume_several(site, found[0], asked, indices, lambda _progress: None)
            assert (ended_by, {one.error for one in again} - {None}) == (None, set())
        assert all(read_lines(path).footer is not None for path in found)
        return stopped_by is not None


@pytest.mark.slow
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["new", "replaced"])
def test_a_command_that_saves_a_file_does_so_whole_or_not_at_all(
    force: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever call fails: with the reason, and an old file as it was."""
    monkeypatch.chdir(tmp_path)
    write_record(Path("here"), header(FEW))
    args = ["results", "export", "--to", "json", "--results-dir", "here", *force]
    assert chipbench(*args, "whole").code == 0
    old, whole = b"precious" if force else None, Path("whole").read_bytes()
    for at in range(100):
        for number in (errno.EXDEV, errno.ENOSPC):
            out = Path(f"{at}-{number}")
            if old is not None:
                out.write_bytes(old)
            with pytest.MonkeyPatch.context() as patch:
                disk = Disk(patch, at=at, number=number)
                answer = chipbench(*args, out)
            there = out.read_bytes() if out.exists() else None
            assert not list(tmp_path.glob(".chipbench-*"))
            if answer.code == 7:
                assert f"({os.strerror(number)})" in answer.last_error
                # What failed may have been to sync the folder, after the file got its name.
                assert there in (old, whole)
            else:
                assert (answer.code, there) == (0, whole)
        if not disk.has_failed:
            assert at > 3
            return


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["new", "there", "replaced"])
def test_a_folder_of_files_is_saved_whole_or_not_at_all(kind: str, tmp_path: Path) -> None:
    """Of those that are replaced each is the old or the new one, whole."""
    files = {name: name.encode() * 999 for name in "abc"}
    for at in range(100):
        out = tmp_path / str(at)
        mine = {"mine": b"mine"} | ({"b": b"old"} if kind == "replaced" else {})
        for name, content in mine.items() if kind != "new" else ():
            out.mkdir(exist_ok=True)
            (out / name).write_bytes(content)
        before = tree(out)
        error = ""
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at=at, number=errno.ENOSPC)
            try:
                save_all(out, files, force=kind == "replaced")
            except CannotWrite as raised:
                error = str(raised)
        there = tree(out)
        assert not error or "free some space, or name another" in error
        if error and there != before | files:  # all of it, if the last call failed, which syncs the folder
            assert {name: there[name] for name in before if name != "b"} == {
                name: before[name] for name in before if name != "b"
            }
            assert there.get("b") in (before.get("b"), files["b"])
            assert {*there} == {*before}
        assert error or there == before | files
        if not disk.has_failed:
            assert at > 8
            return

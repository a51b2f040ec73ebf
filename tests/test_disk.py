"""File systems that lack something, and what cannot be written: one clear line, and what was there stays whole."""

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli.saving import save, save_all
from bench.errors import CannotWrite, RecordError
from bench.records import disk
from bench.records.merge import carry_out, check_merge
from bench.records.record import read_lines
from bench.records.store import RecordWriter, folder_key, latest, place, record_paths
from bench.run.request import Request, prepare
from bench.run.several import arrange
from tests.command import chipbench
from tests.disk_lab import failed, open_files, raising_always
from tests.places_lab import KEY, Site, Unit, request
from tests.support import CELLS, header, measurement, write_record
from tests.test_merge import tree

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
LONG = "y" * 300
DEEP = "/".join(["d" * 200] * 25)
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHIPBENCH_RESULTS", raising=False)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    return tmp_path


@pytest.fixture(autouse=True)
def no_file_stays_open(folder: Path) -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


class TestNoHardLinks:
    """exFAT, and some of FUSE and SMB; two devices under one folder answer in the same way."""

    @pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV])
    def links(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "link", raising_always(request.param))

    @pytest.mark.usefixtures("links")
    def test_everything_is_saved_all_the_same(self, folder: Path) -> None:
        path = write_record(folder / "r", header())
        assert read_lines(path).footer is not None
        key = folder_key(folder / "r")
        assert folder_key(folder / "r") == key
        assert (folder / "r" / ".key").stat().st_mode & 0o777 == 0o600
        assert place(folder / "r" / "x" / "copy.jsonl", path.read_bytes())
        save(folder / "saved", b"whole", force=False)
        assert {*tree(folder)} == {"r/.key", f"r/{path.relative_to(folder / 'r')}", "r/x/copy.jsonl", "saved"}
        assert (folder / "saved").read_bytes() == b"whole"

    @pytest.mark.usefixtures("links")
    def test_nothing_is_overwritten(self, folder: Path) -> None:
        path = write_record(folder, header())
        before = path.read_bytes()
        with pytest.raises(CannotWrite, match="such a record already"):
            RecordWriter.create(folder, header(CELLS[:1]))
        assert not place(path, b"other\n")
        (folder / "saved").write_text("precious")
        with pytest.raises(CannotWrite, match="exists already"):
            save(folder / "saved", b"other", force=False)
        assert tree(folder) == {str(path.relative_to(folder)): before, "saved": b"precious"}

    @pytest.mark.usefixtures("links")
    def test_a_rename_that_fails_too_leaves_nothing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "rename", raising_always(errno.EXDEV))
        with pytest.raises(CannotWrite, match="Invalid cross-device link"):
            RecordWriter.create(folder, header())
        assert tree(folder) == {}

    def test_a_key_that_is_being_made_is_waited_for(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its name may be there a moment before it is."""
        (folder / ".key").write_bytes(b"")
        monkeypatch.setattr(time, "sleep", lambda _seconds: (folder / ".key").write_bytes(b"secret"))
        assert folder_key(folder) == b"secret"


class TestNetwork:
    def test_a_link_whose_answer_was_lost_was_made(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        link = os.link

        def asked_again(own: Path, path: Path) -> None:
            link(own, path)
            link(own, path)

        monkeypatch.setattr(os, "link", asked_again)
        assert read_lines(write_record(folder, header())).footer is not None

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
    def test_a_folder_that_cannot_be_synced_is_written_to(
        self, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def only_files(descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").is_dir():
                raise failed(number)

        monkeypatch.setattr(os, "fsync", only_files)
        source = write_record(folder / "a", header())
        carry_out(check_merge([source], folder / "b"))
        assert tree(folder / "a") == tree(folder / "b")

    def test_a_folder_whose_sync_fails_is_an_error_and_no_record_stays(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "cpu-simulated").mkdir()

        def only_files(descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").is_dir():
                raise failed(errno.EIO)

        monkeypatch.setattr(os, "fsync", only_files)
        with pytest.raises(CannotWrite, match=r"\(Input/output error\); check the disk, or give another"):
            RecordWriter.create(folder, header())
        assert tree(folder) == {}

    def test_an_error_as_a_synced_record_is_closed_says_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        close = os.close

        def closed(descriptor: int) -> None:
            close(descriptor)
            raise failed(errno.EIO)

        with monkeypatch.context() as patch:
            patch.setattr(os, "close", closed)
            path = write_record(folder, header())
        assert read_lines(path).footer is not None

    def test_a_system_that_takes_nothing_and_does_not_say_why_ends_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "write", lambda _descriptor, _data: 0)
        with pytest.raises(CannotWrite, match="nothing was written"):
            RecordWriter.create(folder, header())


class TestNoLocks:
    @pytest.fixture(params=NO_LOCKS)
    def why(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(fcntl, "flock", raising_always(request.param))
        return os.strerror(request.param)

    def test_a_new_record_needs_none(self, why: str, folder: Path) -> None:
        assert read_lines(write_record(folder, header())).footer is not None

    def test_none_is_gone_on_with(self, why: str, folder: Path) -> None:
        path = write_record(folder, header(), complete=False)
        path.write_bytes(path.read_bytes() + b"torn")
        before = path.read_bytes()
        with pytest.raises(CannotWrite) as raised:
            RecordWriter.reopen(path)
        what = f"{path}: cannot be locked ({why}), so another process may be writing it unseen"
        assert str(raised.value) == f"{what}; copy the results folder to a local disk and go on there"
        assert path.read_bytes() == before

    def test_what_is_new_is_merged_and_nothing_is_completed(self, why: str, folder: Path) -> None:
        begun = write_record(folder / "a", header(), [measurement(CELLS[0])], complete=False)
        carry_out(check_merge([begun], folder / "b"))
        longer = write_record(folder / "c", header())
        before = tree(folder / "b")
        assert len(before) == 1
        with pytest.raises(CannotWrite, match="cannot be locked"):
            carry_out(check_merge([longer], folder / "b"))
        assert tree(folder / "b") == before

    def test_a_run_says_what_that_means_before_it_begins(self, why: str, folder: Path) -> None:
        source = write_record(folder / "a", header())
        folder_key(folder / "b")
        notes = prepare(Request(tool="x", backend="replay", source=source, results=folder / "b")).notes
        what = f"{folder / 'b'}: has no file locks ({why})"
        assert notes == (f"{what}; an interrupted record there can be resumed in a copy only",)

    def test_so_does_one_over_several_devices(
        self, why: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / ".key").write_bytes(KEY)
        site = Site(monkeypatch, {"a": Unit("a")}, {"a": "x"})
        arranged = arrange(site, request(folder), KEY, indices={"a": None}, together=False)
        assert f"{folder}: has no file locks ({why})" in arranged.notes[-1]

    def test_where_there_are_locks_there_is_nothing_to_say(self, folder: Path) -> None:
        source = write_record(folder / "a", header())
        folder_key(folder / "b")
        with (folder / "b" / ".key").open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            assert prepare(Request(tool="x", backend="replay", source=source, results=folder / "b")).notes == ()


def test_a_name_is_waited_for_when_it_was_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a power cut could take a file away of which it was said that it is saved."""
    synced: list[tuple[str, set[str]]] = []

    def spied(descriptor: int) -> None:
        at = Path(f"/proc/self/fd/{descriptor}").resolve()
        if at.is_dir():
            synced.append((at.name, {path.name for path in at.iterdir() if path.name[:4] != ".chi"}))

    monkeypatch.setattr(os, "fsync", spied)
    folder_key(folder / "results")
    assert (folder.name, {"results"}) in synced
    assert ("results", {".key"}) in synced
    RecordWriter.create(folder / "results", header()).close()
    assert ("results", {".key", "cpu-simulated"}) in synced
    assert synced[-1] == ("cpu-simulated", {"20260102T030405Z-0a1b2c3d.jsonl"})
    save(folder / "saved", b"", force=True)
    assert synced[-1] == (folder.name, {"results", "saved"})
    save_all(folder / "new", {"a": b"", "b": b""}, force=False)
    assert synced[-1] == (folder.name, {"results", "saved", "new"})
    save_all(folder / "new", {"c": b""}, force=False)
    assert ("new", {"a", "b", "c"}) in synced


class TestLeftovers:
    def test_what_a_killed_process_leaves_is_no_record_and_harmless(self, folder: Path) -> None:
        path = write_record(folder, header())
        for name in (".record-0123456789abcdef", "../.key.0123456789abcdef", "../.chipbench-0123456789abcdef"):
            (path.parent / name).write_bytes(b"half")
        assert record_paths(folder) == [path]
        assert chipbench("results", "check", "--results-dir", folder).code == 0
        assert read_lines(write_record(folder, header(ident="ffffffff"))).footer is not None

    def test_a_record_is_never_there_without_its_header(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []
        write, sync = os.write, os.fsync

        def look() -> None:
            seen.extend(len(read_lines(path).measurements) for path in folder.rglob("*.jsonl"))

        def written(descriptor: int, data: bytes) -> int:
            look()
            return write(descriptor, data[:100])

        def synced(descriptor: int) -> None:
            look()
            sync(descriptor)

        monkeypatch.setattr(os, "write", written)
        monkeypatch.setattr(os, "fsync", synced)
        RecordWriter.create(folder, header()).close()
        assert seen == [0]  # as its folder is synced, which is after it got its name

    def test_its_first_line_is_written_under_its_lock(self, folder: Path) -> None:
        with RecordWriter.create(folder, header()) as writer, pytest.raises(CannotWrite, match="another process"):
            RecordWriter.reopen(writer.path)


class TestAdvice:
    @pytest.mark.parametrize(
        ("number", "advice"),
        [
            (errno.ENOSPC, "free some space"),
            (errno.EDQUOT, "free some of the quota"),
            (errno.EACCES, "check the permissions"),
            (errno.EROFS, "mount it for writing"),
            (errno.ENAMETOOLONG, "shorten the name"),
            (errno.EFBIG, "raise the limit of a file's size (ulimit -f)"),
            (errno.EIO, "check the disk"),
            (errno.ESTALE, "check the disk"),
        ],
    )
    def test_it_fits_the_cause_and_the_command(
        self, number: int, advice: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = RecordWriter.create(folder, header())
        monkeypatch.setattr(os, "write", raising_always(number))
        what = re.escape(f"cannot write the record ({os.strerror(number)}); {advice}, ")
        with writer, pytest.raises(CannotWrite, match=f"^{writer.path}: {what}then go on with --resume$"):
            writer.append(measurement(CELLS[0]))
        with pytest.raises(CannotWrite, match=f"{what}or give another --results-dir$"):
            RecordWriter.create(folder, header(ident="1"))
        what = re.escape(f"saved: cannot be written ({os.strerror(number)}); {advice}, or name another file")
        with pytest.raises(CannotWrite, match=f"^{what}$"):
            save(Path("saved"), b"x", force=False)

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EINTR])
    def test_a_folder_that_cannot_be_made(
        self, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "mkdir", raising_always(number))
        with pytest.raises(CannotWrite, match=rf"results: cannot be made \({os.strerror(number)}\); "):
            folder_key(Path("results"))
        with pytest.raises(CannotWrite, match=rf"out: cannot be written \({os.strerror(number)}\); "):
            save_all(Path("out"), {"a": b""}, force=False)
        assert tree(folder) == {}


class TestNames:
    """What no file can be called, and what is something else than a folder of records."""

    @pytest.mark.parametrize("name", [LONG, f"{LONG}/x", DEEP, "loop", "dangling", f"dangling/{NOT_UTF8}"])
    def test_each_is_one_line(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        record = write_record(Path("there"), header())
        Path("loop").symlink_to("loop")
        Path("dangling").symlink_to("nowhere")
        before = tree(folder)
        replay = ("run", "--backend", "replay", "--from")
        commands: list[tuple[int, tuple[Any, ...]]] = [
            (7, (*replay, record, "--results-dir", name)),
            (7, ("results", "merge", record, "--results-dir", name)),
            (4, (*replay, name)),
            (4, ("run", "--resume", name)),
            (4, ("results", "list", "--results-dir", name)),
            (4, ("results", "check", name)),
            (3, ("chips", "h20", "--specs-dir", name)),
            (2, ("compare", name, "h100")),
            (2, ("plot", "trace", name, "-o", "t.svg")),
            (2, ("explain", f"{name}.toml")),
        ]
        if name != "dangling":  # through which a file may be saved
            commands.append((7, ("results", "export", "--to", "json", "--from", record, name)))
        for code, args in commands:
            answer = chipbench(*args)
            assert (answer.code, args) == (code, args)
            assert answer.err.splitlines()[-1].startswith("chipbench: ")
            assert "bug" not in answer.err
        monkeypatch.setenv("CHIPBENCH_RESULTS", name)
        assert chipbench("results", "list").code == 4
        assert tree(folder) == before

    def test_a_name_that_is_not_utf_8_is_as_good_as_any(self, folder: Path) -> None:
        record = write_record(Path(NOT_UTF8), header())
        assert chipbench("results", "list", "--results-dir", NOT_UTF8).code == 0
        renamed = record.rename(f"{NOT_UTF8}.jsonl")
        assert chipbench("results", "export", "--to", "json", "--from", renamed, "out.json").code == 0
        assert "caf\\udce9.jsonl" in Path("out.json").read_text(encoding="utf-8")
        renamed.rename(record)
        assert chipbench("results", "merge", record, "--results-dir", f"{NOT_UTF8}2").code == 0
        assert tree(Path(NOT_UTF8)) == tree(Path(f"{NOT_UTF8}2"))

    def test_a_folder_that_may_not_be_looked_into_hides_no_record(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or the newest of the others would pass for the latest."""
        write_record(folder, header())
        (folder / "other").mkdir()
        scan = os.scandir

        def refused(path: str) -> Any:  # noqa: ANN401
            if Path(path).name == "other":
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", refused)
        for read in (record_paths, latest):
            with pytest.raises(RecordError, match=r"other: cannot be looked into \(Permission denied\)"):
                read(folder)
        with pytest.raises(RecordError, match="cannot be looked into"):
            check_merge([write_record(folder / "more", header(ident="1"))], folder)

    def test_a_folder_that_is_removed_meanwhile_had_none(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_record(folder, header())
        scan = os.scandir

        def gone(where: str) -> Any:  # noqa: ANN401
            if Path(where).name == "other":
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", where)
            return scan(where)

        (folder / "other").mkdir()
        monkeypatch.setattr(os, "scandir", gone)
        assert record_paths(folder) == [path]


def test_a_file_of_a_set_that_cannot_be_saved_takes_the_others_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "mine").write_text("mine")
    give = disk.give_name

    def second(own: Path, path: Path) -> None:
        if path.name == "b":
            raise failed(errno.ENOSPC)
        give(own, path)

    monkeypatch.setattr(disk, "give_name", second)
    with pytest.raises(CannotWrite, match="free some space"):
        save_all(folder / "out", {"a": b"a", "b": b"b"}, force=False)
    assert tree(folder) == {"out/mine": b"mine"}

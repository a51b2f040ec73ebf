"""The results folder: nothing is overwritten or lost, one writer a file, and which is the latest."""

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import pytest

from bench.devices.base import Origin
from bench.errors import CannotWrite, RecordError
from bench.records.record import Header, encode_line, read_lines
from bench.records.store import KEY_FILE, RecordWriter, device_key, latest, record_paths
from tests.support import CELLS, fill_disk_after, header, measurement, write_record


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0


@pytest.fixture(autouse=True)
def no_file_stays_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


class TestCreate:
    def test_the_name_tells_device_time_and_id(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, header(started="2026-01-02T03:04:05Z", ident="0a1b2c3d"))
        assert path == tmp_path / "cpu-simulated" / "20260102T030405Z-0a1b2c3d.jsonl"

    def test_an_existing_record_is_never_overwritten(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, header())
        before = path.read_bytes()
        with pytest.raises(
            CannotWrite, match="such a record already, and none is overwritten; run again"
        ) as raised:
            RecordWriter.create(tmp_path, header(CELLS[:1]))
        assert raised.value.exit_code == 7
        assert path.read_bytes() == before

    @pytest.mark.parametrize("below", ["file", "file/results"])
    def test_a_results_folder_that_is_a_file(self, below: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("precious")
        folder, why = tmp_path / below, "there is a file of that name; give another --results-dir"
        with pytest.raises(CannotWrite, match=why):
            RecordWriter.create(folder, header())
        with pytest.raises(CannotWrite, match=why):
            device_key(folder, "machine 1")
        assert (tmp_path / "file").read_text() == "precious"

    def test_a_folder_that_may_not_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(CannotWrite, match=r"cannot write the record \(Permission denied\)") as raised:
            RecordWriter.create(tmp_path, header())
        assert "\n" not in str(raised.value)

    def test_a_header_that_cannot_be_written_leaves_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Half a header would be a damaged record, for nothing."""
        fill_disk_after(100, monkeypatch)
        with pytest.raises(CannotWrite, match="No space left"):
            RecordWriter.create(tmp_path, header())
        assert list(tmp_path.rglob("*.jsonl")) == []


class TestAppend:
    @pytest.mark.parametrize("room", [0, 1, 300, 900, 1500])
    def test_a_full_disk_costs_only_what_did_not_fit(
        self, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ends = list(accumulate(len(encode_line(measurement(one))) for one in CELLS))
        fitting = sum(end <= room for end in ends)
        assert fitting < 3
        with RecordWriter.create(tmp_path, header()) as writer, monkeypatch.context() as patch:
            fill_disk_after(room, patch)
            for one in CELLS[:fitting]:
                writer.append(measurement(one))
            with pytest.raises(CannotWrite, match="No space left on device") as raised:
                writer.append(measurement(CELLS[fitting]))
        assert raised.value.exit_code == 7
        assert str(raised.value).startswith(f"{writer.path}: ")
        lines = read_lines(writer.path)
        assert lines.measurements == tuple(map(measurement, CELLS[:fitting]))
        assert lines.torn == 0  # what did not fit was cut off again

    def test_a_system_that_writes_little_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        path = write_record(tmp_path, header())
        assert read_lines(path).footer is not None

    def test_each_line_is_on_the_disk_before_the_next_cell_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        fsync = os.fsync

        def spied(descriptor: int) -> None:
            fsync(descriptor)
            sizes.append(os.fstat(descriptor).st_size)

        with RecordWriter.create(tmp_path, header()) as writer:
            monkeypatch.setattr(os, "fsync", spied)
            for one in CELLS:
                writer.append(measurement(one))
                assert sizes[-1] == writer.path.stat().st_size
        assert len(sizes) == 3

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_waits_until_the_line_is_written(
        self, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whichever thread the system hands it to: a BLAS has some, and a mask would hold back this one only."""

        def raised(_number: int, _frame: object) -> None:
            raise KeyboardInterrupt

        write = os.write

        def interrupted(descriptor: int, data: bytes) -> int:
            os.kill(os.getpid(), number)
            threading.Event().wait(0.01)
            return write(descriptor, data[:10])

        before = signal.signal(number, raised)
        try:
            with RecordWriter.create(tmp_path, header()) as writer:
                with monkeypatch.context() as patch:
                    patch.setattr(os, "write", interrupted)
                    with pytest.raises(KeyboardInterrupt):
                        writer.append(measurement(CELLS[0]))
                assert signal.getsignal(number) is raised
        finally:
            signal.signal(number, before)
        lines = read_lines(writer.path)
        assert (len(lines.measurements), lines.torn) == (1, 0)

    @pytest.mark.parametrize(
        ("origin", "then"),
        [("measured", "go on with --resume"), ("replayed", "run it again"), ("simulated", "run it again")],
    )
    def test_what_to_do_once_the_disk_has_room_is_what_such_a_record_allows(
        self, origin: Origin, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RecordWriter.create(tmp_path, header(origin=origin)) as writer:
            fill_disk_after(0, monkeypatch)
            with pytest.raises(CannotWrite, match=f"; free some space, then {then}$"):
                writer.append(measurement(CELLS[0]))


class TestReopen:
    def test_only_the_torn_tail_is_cut(self, tmp_path: Path) -> None:
        """Wherever the end was lost, finished lines stay byte for byte."""
        path = write_record(tmp_path, header(), complete=False)
        whole = path.read_bytes()
        head = whole.index(b"\n") + 1
        ends = {at + nudge for at, byte in enumerate(whole) if byte == 10 for nudge in (-1, 0, 1, 2)}
        for length in sorted(ends | set(range(head, len(whole), 211))):
            if not head <= length <= len(whole):
                continue
            path.write_bytes(whole[:length])
            finished = whole[: whole.rfind(b"\n", 0, length) + 1]
            left = CELLS[finished.count(b"\n") - 1 :]
            writer, lines = RecordWriter.reopen(path)
            with writer:
                assert path.read_bytes() == finished
                for one in left:
                    writer.append(measurement(one))
            assert [one.cell for one in lines.measurements] == [one for one in CELLS if one not in left]
            assert path.read_bytes() == whole

    def test_two_cannot_write_one_record(self, tmp_path: Path) -> None:
        with RecordWriter.create(tmp_path, header()) as writer:
            with pytest.raises(CannotWrite, match="another process is writing this record") as raised:
                RecordWriter.reopen(writer.path)
            assert raised.value.exit_code == 7
        reopened, _ = RecordWriter.reopen(writer.path)
        with reopened, pytest.raises(CannotWrite):
            RecordWriter.reopen(writer.path)

    def test_a_damaged_record_is_left_as_it_is(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, header(), complete=False)
        content = path.read_bytes().replace(b'"stop"', b'"halt"', 1) + b"torn"
        path.write_bytes(content)
        with pytest.raises(RecordError, match="line 2"):
            RecordWriter.reopen(path)
        assert path.read_bytes() == content
        with pytest.raises(RecordError, match="line 2"):  # and the lock was released
            RecordWriter.reopen(path)

    def test_what_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(RecordError, match="cannot be read"):
            RecordWriter.reopen(tmp_path / "none.jsonl")
        assert list(tmp_path.iterdir()) == []


class TestDeviceKey:
    def test_it_is_stable_here_and_means_nothing_elsewhere(self, tmp_path: Path) -> None:
        here, there = tmp_path / "here", tmp_path / "there"
        key = device_key(here, "machine 1")
        assert device_key(here, "machine 1") == key
        assert device_key(here, "machine 2") != key
        assert device_key(there, "machine 1") != key
        assert len(key) == 16
        assert int(key, 16) >= 0

    def test_its_secret_is_for_the_owner_only(self, tmp_path: Path) -> None:
        device_key(tmp_path, "machine 1")
        assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
        assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
        assert len((tmp_path / KEY_FILE).read_text()) == 64

    def test_an_empty_secret_hides_nothing_and_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".key").write_bytes(b"")
        with pytest.raises(CannotWrite, match=r"\.key: is empty"):
            device_key(tmp_path, "a machine")

    def test_nobody_else_may_read_the_secret(self, tmp_path: Path) -> None:
        device_key(tmp_path, "a machine")
        assert (tmp_path / ".key").stat().st_mode & 0o777 == 0o600

    def test_many_at_once_agree_on_one_secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """All have found that there is none before any has made one."""
        together = threading.Barrier(8)
        exists = Path.exists

        def late(path: Path) -> bool:
            found = exists(path)
            if path.name == KEY_FILE:
                together.wait(10)
            return found

        keys: list[str] = []
        monkeypatch.setattr(Path, "exists", late)
        threads = [threading.Thread(target=lambda: keys.append(device_key(tmp_path, "m"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monkeypatch.undo()
        assert len(keys) == 8
        assert set(keys) == {device_key(tmp_path, "m")}
        assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


class TestLatest:
    def at(self, day: int, ident: str = "00000000") -> Callable[..., Header]:
        return lambda **more: header(started=f"2026-01-{day:02}T00:00:00Z", ident=ident, **more)

    def test_it_is_the_newest_measured_one(self, tmp_path: Path) -> None:
        write_record(tmp_path, self.at(1)())
        newest = write_record(tmp_path, self.at(3)(), complete=False)
        write_record(tmp_path, self.at(2)())
        write_record(tmp_path, self.at(4)(origin="replayed"))
        write_record(tmp_path, self.at(5)(origin="simulated"))
        assert latest(tmp_path) == (newest, ())

    def test_it_names_newer_ones_that_cannot_be_read_and_no_older_ones(self, tmp_path: Path) -> None:
        older, newest, newer = (write_record(tmp_path, self.at(day)()) for day in (1, 2, 3))
        for path in (older, newer):
            path.write_bytes(b"damaged\n")
        found = latest(tmp_path)
        assert found.path == newest
        assert [str(error).split(": ")[0] for error in found.skipped] == [str(newer)]

    def test_devices_share_one_order(self, tmp_path: Path) -> None:
        first = write_record(tmp_path / "z", self.at(1)())
        second = write_record(tmp_path / "a", self.at(2)())
        third = write_record(tmp_path / "z", self.at(3)())
        assert record_paths(tmp_path) == [first, second, third]
        assert latest(tmp_path).path == third

    def test_a_folder_without_a_measured_record_says_how_to_make_one(self, tmp_path: Path) -> None:
        write_record(tmp_path, self.at(1)(origin="replayed"))
        for folder in (tmp_path, tmp_path / "cpu-simulated"):
            with pytest.raises(RecordError, match="no measured record here; 'chipbench run' makes one"):
                latest(folder)
        with pytest.raises(RecordError, match="no results folder here; 'chipbench run' makes one"):
            latest(tmp_path / "none")

    def test_other_files_are_no_records(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, self.at(1)())
        device_key(tmp_path, "m")
        (tmp_path / "README.md").write_text("rules")
        (path.parent / f"{path.name}.bak").write_text("old")
        assert record_paths(tmp_path) == [path]

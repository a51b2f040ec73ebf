"""The results folder: names, exclusive creation, append + fsync under a lock, resuming, finding the latest."""

import hashlib
import os
import re
import secrets
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from bench.devices.base import Caveat
from bench.errors import CannotWrite, RecordError, one_line
from bench.records import disk
from bench.records.record import Header, Line, Lines, Record, encode_line, read_header, read_lines, read_record
from bench.records.wall_clock import future, later_records

_T = TypeVar("_T")
KEY_FILE: Final = ".key"
_KEY_TRIES: Final = 25
_KEY_AGAIN_S: Final = 0.02
_SUFFIX: Final = ".jsonl"
_DRAFT: Final = ".record-"
_PLAIN: Final = re.compile(r"\w[\w.+-]{,199}", re.ASCII)
_ELSEWHERE: Final = "or give another --results-dir"
_HOW_TO_MAKE_ONE: Final = "'chipbench run' makes one"


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def record_path(results: Path, header: Header) -> Path:
    """Return where a record lies: `results/<device folder>/<utc>-<id>.jsonl`.

    Raises RecordError if what the header gives for that is no plain name, which could lead anywhere else.
    """
    stamp = header.started.translate({ord(mark): None for mark in "-:"})
    folder, name = header.device.folder, f"{stamp}-{header.id}{_SUFFIX}"
    for part in (folder, name):
        if not _PLAIN.fullmatch(part):
            device, wanted = one_line(header.device.name), one_line(repr(part))
            message = f"a record of device {device} wants its file to be called {wanted}, which is no plain name"
            raise RecordError(message)
    return results / folder / name


class RecordWriter:
    """An open record, locked: each append is one write and one fsync, and finished lines are never touched.

    A line that could not be written, or not synced, is cut off again: what may be read was on disk once.
    """

    def __init__(self, path: Path, descriptor: int, then: str = "then go on with --resume") -> None:
        self.path = path
        self._descriptor, self._then = descriptor, then

    @classmethod
    def create(cls, results: Path, header: Header) -> Self:
        """Create the record of `header`, which must not exist, with that as its first line.

        It appears with that line or not at all, and needs no lock to be safe: where there are none it has none.
        """
        path = record_path(results, header)
        _make_folder(path.parent)
        with _explained(path, _ELSEWHERE), undisturbed():
            descriptor = _published(path, header)
        return cls(path, descriptor) if header.origin == "measured" else cls(path, descriptor, "then run it again")

    @classmethod
    def reopen(cls, path: Path, *, wait_s: float = 0.0) -> tuple[Self, Lines]:
        """Open an interrupted record to go on with it; only its torn tail, if any, is cut off.

        Raises CannotWrite if another process is writing it and goes on for `wait_s`, or if the file system cannot
        tell whether one does, and RecordError if it is damaged.
        """
        read_header(path)
        with _explained(path, "then try again"):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        writer = cls(path, descriptor)
        try:
            _lock(path, descriptor, wait_s)
            lines = read_lines(path)
            if lines.torn:
                with _explained(path, "then try again"):
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - lines.torn)
                    os.fsync(descriptor)
        except BaseException:
            writer.close()
            raise
        return writer, lines

    def append(self, line: Line) -> None:
        """Write one line and wait until it is on disk; Ctrl-C and SIGTERM wait until then."""
        self._append(encode_line(line), self._then)

    def append_whole(self, lines: bytes) -> None:
        """Append lines as they stand in another copy of this record, as `append` does one."""
        self._append(lines, "then merge again")

    def _append(self, lines: bytes, then: str) -> None:
        with _explained(self.path, then), undisturbed():
            before = os.fstat(self._descriptor)
            if before.st_nlink == 0 and not disk.is_there(self.path):
                message = f"{self.path}: was removed while it was being written; let it lie, and run again"
                raise CannotWrite(message)
            try:
                disk.write(self._descriptor, lines)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, before.st_size)
                    os.fsync(self._descriptor)
                raise

    def close(self) -> None:
        """Close the file, which releases the lock. Every line was synced, so that nothing is left to fail."""
        disk.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _published(path: Path, header: Header) -> int:
    """Create a record and return its open file; where its name cannot be synced nothing stays of it."""
    try:
        descriptor = disk.publish(path, encode_line(header), draft=_DRAFT, locked=True)
    except FileExistsError as error:
        message = f"{path}: there is such a record already, and none is overwritten; run again, for another name"
        raise CannotWrite(message) from error
    try:
        disk.sync_folder(path.parent)
    except OSError:
        disk.close(descriptor)
        disk.discard(path)
        raise
    return descriptor


def place(path: Path, content: bytes) -> bool:
    """Write a whole record, which gets its name when all of it is on disk; False if a file has that name already.

    The name itself is sure to outlast a power cut after `sync_folder` only. Raises CannotWrite, and then leaves
    nothing behind.
    """
    _make_folder(path.parent)
    with _explained(path, _ELSEWHERE), undisturbed():
        try:
            disk.close(disk.publish(path, content, draft=_DRAFT))
        except FileExistsError:
            return False
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk. Raises CannotWrite."""
    with _explained(folder, "then merge again"):
        disk.sync_folder(folder)


def _lock(path: Path, descriptor: int, wait_s: float) -> None:
    try:
        disk.lock(descriptor, wait_s)
    except BlockingIOError as error:
        message = f"{path}: another process is writing this record; wait for it to end"
        raise CannotWrite(message) from error
    except OSError as error:
        message = (
            f"{path}: cannot be locked ({disk.reason(error)}), so another process may be writing it unseen; copy "
            "the results folder to a local disk and go on there"
        )
        raise CannotWrite(message) from error


def lock_notes(results: Path | None) -> list[str]:
    """Return what to say of a results folder, with a key, on a file system that has no locks; else nothing."""
    if results is None or not disk.is_file(results / KEY_FILE):
        return []
    with _explained(results / KEY_FILE, _ELSEWHERE):
        why = disk.no_locks(results / KEY_FILE)
    if why is None:
        return []
    return [f"{results}: has no file locks ({why}); an interrupted record there can be resumed in a copy only"]


def _explained(path: Path, then: str) -> AbstractContextManager[None]:
    return disk.explained(f"{path}: cannot write the record", then)


def _make_folder(folder: Path) -> None:
    try:
        with disk.explained(f"{folder}: cannot be made", _ELSEWHERE):
            disk.make_folder(folder)
    except CannotWrite as error:
        if not isinstance(error.__cause__, FileExistsError | NotADirectoryError):
            raise
        nowhere = any(one.is_symlink() and not one.exists() for one in (folder, *folder.parents))
        there = "a link that leads nowhere" if nowhere else "a file of that name"
        message = f"{folder}: cannot be a results folder, there is {there}; give another --results-dir"
        raise CannotWrite(message) from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block ends.

    A signal mask would not do: a BLAS has threads of its own, and the system hands the signal to one of those.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {
        waiting: signal.signal(waiting, lambda number, _frame: caught.append(number))
        for waiting in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for waiting, handler in before.items():
            signal.signal(waiting, handler)
        for number in caught:
            signal.raise_signal(number)


def device_key(results: Path, identity: str) -> str:
    """Return a hash of `identity` that is stable within this results folder and means nothing outside it."""
    return hashed(folder_key(results), identity)


def hashed(key: bytes, identity: str) -> str:
    """Return a keyed hash of `identity`, 16 hexadecimal digits; without the key no one can try identities out."""
    return hashlib.blake2b(identity.encode(), key=key, digest_size=8).hexdigest()


def folder_key(results: Path) -> bytes:
    """Return the random key of a results folder, which lies in its `.key`, made when first needed."""
    path = results / KEY_FILE
    _make_folder(results)
    with _explained(path, _ELSEWHERE):
        if not path.exists():
            _make_key(path)
        key = _read_key(path)
    if not key:
        message = f"{path}: is empty, so it hides nothing; delete it, and the next run makes another"
        raise CannotWrite(message)
    return key


def _make_key(path: Path) -> None:
    """Write the key whole before it gets its name, so that no other process ever reads half of it."""
    with suppress(FileExistsError):
        content = secrets.token_hex(32).encode()
        disk.close(disk.publish(path, content, draft=f"{KEY_FILE}.", mode=0o600))
        disk.sync_folder(path.parent)


def _read_key(path: Path) -> bytes:
    """Return the key; where there are no hard links it may be empty for a moment, while another makes it."""
    for _ in range(_KEY_TRIES):
        key = path.read_bytes().strip()
        if key:
            break
        time.sleep(_KEY_AGAIN_S)
    return key


def record_paths(folder: Path) -> list[Path]:
    """Return every record file below `folder`, oldest first. Raises RecordError if there is none."""
    found = records_below(folder)
    if found is None:
        message = f"{folder}: no results folder here; {_HOW_TO_MAKE_ONE}"
        raise RecordError(message)
    if not found:
        message = f"{folder}: no record here; {_HOW_TO_MAKE_ONE}"
        raise RecordError(message)
    return found


def records_below(folder: Path) -> list[Path] | None:
    """Return every record file below `folder`, oldest first, None if that is no folder.

    Raises RecordError for what cannot be looked into: no record is passed over.
    """
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return None
        found = [*_walked(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        where = error.filename or folder
        message = f"{where}: cannot be looked into ({disk.reason(error)}); check the path and its permissions"
        raise RecordError(message) from error
    return sorted(found, key=lambda path: (path.name, path.parent.name))


def _walked(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # removed meanwhile
            raise error

    for above, folders, files in os.walk(folder, onerror=fail):
        yield from (Path(above, name) for name in (*folders, *files) if name.endswith(_SUFFIX))


Surveyed = tuple[Path, Record | RecordError]


def read_each(paths: Iterable[Path], read: Callable[[Path], _T]) -> Iterator[tuple[Path, _T | RecordError]]:
    """Yield what `read` makes of each file, or why it cannot be read: none is passed over."""
    for path in paths:
        try:
            found: _T | RecordError = read(path)
        except RecordError as error:
            found = error.with_traceback(None)  # which would hold on to all that was read
        yield path, found


def read_all(paths: Iterable[Path], read: Callable[[Path], _T]) -> tuple[list[_T], list[RecordError]]:
    """Return what `read` makes of the files, and apart from it the errors of those that are damaged."""
    found: list[_T] = []
    damaged: list[RecordError] = []
    for _, one in read_each(paths, read):
        if isinstance(one, RecordError):
            damaged.append(one)
        else:
            found.append(one)
    return found, damaged


def survey(paths: Iterable[Path]) -> list[Surveyed]:
    """Return what each file holds, or why it cannot be read."""
    return list(read_each(paths, read_record))


def group_of(path: Path) -> list[Path]:
    """Return the records of all fresh processes of the run that made this one, which may be it alone.

    Those are looked for in its own folder; what cannot be read there is passed over.
    """
    process = read_header(path).process
    if process is None:
        return [path]
    found = []
    for other in record_paths(path.parent):
        with suppress(RecordError):
            its = read_header(other).process
            found += [other] if its is not None and its.group == process.group else []
    return found


class Latest(NamedTuple):
    """The newest measured record, and the newer files that could not be read."""

    path: Path
    skipped: tuple[RecordError, ...] = ()


def latest(results: Path) -> Latest:
    """Return the newest measured record below `results`; replayed and simulated ones never count."""
    path, skipped = newest(record_paths(results))
    if path is None:
        message = f"{results}: no measured record here; {_HOW_TO_MAKE_ONE}"
        raise RecordError(message)
    return Latest(path, skipped)


def from_the_future(results: Path, header: Header) -> Caveat | None:
    """Return a warning if `latest` will not be a record with this header, as another says to be later."""
    later = later_records([*results.rglob("*.jsonl")], header.started)
    path, _ = newest(sorted(later, key=lambda path: path.name))
    return None if path is None else future(path, header.started)


def newest(
    paths: Sequence[Path], wanted: Callable[[Header], bool] = lambda _: True
) -> tuple[Path | None, tuple[RecordError, ...]]:
    """Return the last of some records, old to new, that was measured and whose header is `wanted`, if any is.

    With it come the newer ones that could not be read.
    """
    skipped: list[RecordError] = []
    for path in reversed(paths):
        try:
            header = read_header(path)
        except RecordError as error:
            skipped.append(error)
        else:
            if header.origin == "measured" and wanted(header):
                return path, tuple(skipped)
    return None, tuple(skipped)

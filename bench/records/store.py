"""The results folder: names, exclusive creation, append + fsync under a lock, resuming, finding the latest."""

import fcntl
import hashlib
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from bench.errors import CannotWrite, RecordError, one_line
from bench.records.record import Header, Line, Lines, Record, encode_line, read_header, read_lines, read_record

_T = TypeVar("_T")
KEY_FILE: Final = ".key"
_LOCK_AGAIN_S: Final = 0.02
_PLAIN: Final = re.compile(r"\w[\w.+-]{,199}", re.ASCII)
_HOW_TO_MAKE_ONE: Final = "'chipbench run' makes one"


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def record_path(results: Path, header: Header) -> Path:
    """Return where a record lies: `results/<device folder>/<utc>-<id>.jsonl`.

    Raises RecordError if what the header gives for that is no plain name, which could lead anywhere else.
    """
    stamp = header.started.translate({ord(mark): None for mark in "-:"})
    folder, name = header.device.folder, f"{stamp}-{header.id}.jsonl"
    for part in (folder, name):
        if not _PLAIN.fullmatch(part):
            device, wanted = one_line(header.device.name), one_line(repr(part))
            message = f"a record of device {device} wants its file to be called {wanted}, which is no plain name"
            raise RecordError(message)
    return results / folder / name


class RecordWriter:
    """An open record, locked: each append is one write and one fsync, and finished lines are never touched."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, results: Path, header: Header) -> Self:
        """Create the record of `header`, which must not exist, with that as its first line."""
        path = record_path(results, header)
        _make_folder(path.parent)
        with _explained(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        sync_folder(path.parent)
        writer = cls(path, descriptor)
        try:
            writer.append(header)
        except BaseException:
            # Without a whole header this is no record, and nothing is lost with it.
            writer.close()
            path.unlink(missing_ok=True)
            raise
        return writer

    @classmethod
    def reopen(cls, path: Path, *, wait_s: float = 0.0) -> tuple[Self, Lines]:
        """Open an interrupted record to go on with it; only its torn tail, if any, is cut off.

        Raises CannotWrite if another process is writing it and goes on for `wait_s`, RecordError if it is damaged.
        """
        read_header(path)
        with _explained(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                _lock(descriptor, wait_s)
            except BlockingIOError as error:
                os.close(descriptor)
                message = f"{path}: another process is writing this record; wait for it to end"
                raise CannotWrite(message) from error
        writer = cls(path, descriptor)
        try:
            lines = read_lines(path)
            if lines.torn:
                with _explained(path):
                    os.ftruncate(descriptor, path.stat().st_size - lines.torn)
                    os.fsync(descriptor)
        except BaseException:
            writer.close()
            raise
        return writer, lines

    def append(self, line: Line) -> None:
        """Write one line and wait until it is on disk; Ctrl-C and SIGTERM wait until then."""
        self.append_whole(encode_line(line))

    def append_whole(self, lines: bytes) -> None:
        """Append lines as they stand in another copy of this record, as `append` does one."""
        with _explained(self.path), undisturbed():
            _write(self._descriptor, lines)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def place(path: Path, content: bytes) -> bool:
    """Write a whole record, which gets its name when all of it is on disk; False if a file has that name already.

    The name itself is sure to outlast a power cut after `sync_folder` only. Raises CannotWrite, and then leaves
    nothing behind.
    """
    _make_folder(path.parent)
    own = path.with_name(f".record-{secrets.token_hex(8)}")
    with _explained(path), undisturbed():
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            _write(descriptor, content)
            os.link(own, path)
        except FileExistsError:
            return False
        finally:
            os.close(descriptor)
            own.unlink()
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk."""
    with _explained(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _lock(descriptor: int, wait_s: float) -> None:
    """Lock a file for writing; BlockingIOError if another process has it locked and keeps it for `wait_s`."""
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOCK_AGAIN_S)
        else:
            return


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into CannotWrite, one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{path}: cannot write the record ({reason}); free the space or give another --results-dir"
        raise CannotWrite(message) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{folder}: cannot be a results folder, there is a file of that name; give another --results-dir"
        raise CannotWrite(message) from error
    except OSError as error:
        message = f"{folder}: cannot be made ({error.strerror}); give another --results-dir"
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
    with _explained(path):
        if not path.exists():
            _make_key(path)
        key = path.read_bytes().strip()
    if not key:
        message = f"{path}: is empty, so it hides nothing; delete it, and the next run makes another"
        raise CannotWrite(message)
    return key


def _make_key(path: Path) -> None:
    """Write the key whole before it gets its name, so that no other process ever reads half of it."""
    own = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, secrets.token_hex(32).encode())
    os.fsync(descriptor)
    os.close(descriptor)
    with suppress(FileExistsError):
        os.link(own, path)
    own.unlink()


def record_paths(folder: Path) -> list[Path]:
    """Return every record file below `folder`, oldest first. Raises RecordError if there is none."""
    if not folder.is_dir():
        message = f"{folder}: no results folder here; {_HOW_TO_MAKE_ONE}"
        raise RecordError(message)
    found = sorted(folder.rglob("*.jsonl"), key=lambda path: (path.name, path.parent.name))
    if not found:
        message = f"{folder}: no record here; {_HOW_TO_MAKE_ONE}"
        raise RecordError(message)
    return found


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

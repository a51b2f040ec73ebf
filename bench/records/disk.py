"""What a disk may refuse: files that appear whole or not at all, locks, and one plain line for every failure."""

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bench.errors import CannotWrite

_NEW: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
_LOCK_AGAIN_S: Final = 0.02
_MEND: Final = MappingProxyType(
    {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some of the quota",
        errno.EACCES: "check the permissions",
        errno.EPERM: "check the permissions",
        errno.EROFS: "mount it for writing",
        errno.ENAMETOOLONG: "shorten the name",
        errno.ELOOP: "mend the links",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
        errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    }
)
_MEND_OTHER: Final = "check the disk"
# What link(2) says where there are no hard links: exFAT, and some of FUSE, SMB, AFS and what maps users.
_NO_LINKS: Final = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EOPNOTSUPP,
        errno.ENOTSUP,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EXDEV,
        errno.EMLINK,
    }
)
# What is said of a folder that cannot be synced: some of FUSE, SMB and 9p, and one that may be written, not read.
_NO_FOLDER_SYNC: Final = frozenset({errno.EINVAL, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})


def reason(error: OSError) -> str:
    """Return what the system says of a failure."""
    return error.strerror or str(error)


def is_there(path: Path) -> bool:
    """Whether something has this name; one that no file can have, or that may not be looked at, has nothing."""
    with suppress(OSError):
        return path.exists()
    return False


def is_file(path: Path) -> bool:
    """Whether a file has this name, as `is_there` has it."""
    return is_there(path) and path.is_file()


def is_folder(path: Path) -> bool:
    """Whether a folder has this name, as `is_there` has it."""
    return is_there(path) and path.is_dir()


@contextmanager
def explained(what: str, then: str) -> Iterator[None]:
    """Turn an OSError into CannotWrite, one line: what failed, why, how to mend that, and what to do then."""
    try:
        yield
    except OSError as error:
        message = f"{what} ({reason(error)}); {_MEND.get(error.errno or 0, _MEND_OTHER)}, {then}"
        raise CannotWrite(message) from error


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little the system takes at a time, and wait until it is on disk.

    After an error nobody knows what of it is there: a second fsync may well succeed, and says nothing.
    """
    while data:
        written = os.write(descriptor, data)
        if not written:
            raise OSError(errno.EIO, "nothing was written, and no reason given")
        data = data[written:]
    os.fsync(descriptor)


def close(descriptor: int) -> None:
    """Close a file of which all that counts was synced, so that an error says nothing of it any more."""
    with suppress(OSError):
        os.close(descriptor)


def discard(path: Path) -> None:
    """Remove a file of our own that is not needed; if that fails it lies about and does no harm."""
    with suppress(OSError):
        path.unlink()


def write_new(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file that is not there yet, and wait until it is on disk. Raises OSError, and leaves it then."""
    descriptor = os.open(path, _NEW, mode)
    try:
        write(descriptor, content)
    except BaseException:
        close(descriptor)
        raise
    os.close(descriptor)


def publish(path: Path, content: bytes, *, draft: str, mode: int = 0o644, locked: bool = False) -> int:
    """Write a file that gets its name when all of it is on disk, and return its descriptor, open for more.

    Until then it is beside it, called `draft` and a number; who is killed leaves that, and it may be deleted. A
    new file needs no lock to be safe, so with `locked` it has one if there are locks. Raises FileExistsError if
    a file has the name, other OSErrors for what else fails, and then leaves nothing behind.
    """
    own = path.with_name(f"{draft}{secrets.token_hex(8)}")
    descriptor = os.open(own, _NEW, mode)
    try:
        if locked:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write(descriptor, content)
        give_name(own, path)
    except BaseException:
        close(descriptor)
        raise
    finally:
        discard(own)
    return descriptor


def give_name(own: Path, path: Path) -> None:
    """Give a file that is whole its name. Raises FileExistsError if there is one: that is never replaced.

    Where there are no hard links an empty file takes the name first, which this one then replaces: for that moment
    a reader may find it empty, and who is killed then leaves it so.
    """
    try:
        os.link(own, path)
    except FileExistsError:
        # Over a network the answer of a link that was made may get lost, and the question be asked again.
        if not _is_one(own, path):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        close(os.open(path, _NEW, 0o600))
        try:
            own.rename(path)
        except BaseException:
            discard(path)
            raise


def _is_one(own: Path, path: Path) -> bool:
    with suppress(OSError):
        return path.samefile(own)
    return False


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk; where that cannot be done for a folder, go on.

    There the names are as safe as they get, and to refuse would mean to measure nothing at all.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, and wait until what was made is on disk. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_folder(one.parent)


def lock(descriptor: int, wait_s: float) -> None:
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


def no_locks(path: Path) -> str | None:
    """Return what the system says where files like `path` cannot be locked, None where they can."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError as error:
            return reason(error)
    return None

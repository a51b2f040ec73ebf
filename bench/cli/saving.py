"""How a command saves a file that the user named: whole or not at all, and nothing that is there is lost."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import CannotWrite, one_line


def check_target(file: Path, records: Sequence[Path], *, force: bool) -> None:
    """Raise CannotWrite where it is known, before any of `records` is read, that `file` is not to be written."""
    with _explained(file):
        if file.exists() and not file.is_file():
            message = f"{file}: is {'a folder' if file.is_dir() else 'no ordinary file'}; name a file to write"
        elif file.resolve() in {path.resolve() for path in records}:
            message = f"{file}: is one of the records to export; name another file"
        elif file.exists() and not force:
            message = _taken(file)
        else:
            return
    raise CannotWrite(message)


def _taken(file: Path) -> str:
    return f"{file}: exists already; name another file, or replace it with --force"


def save(file: Path, content: bytes, *, force: bool) -> None:
    """Write to a file beside `file` and give it that name when it is whole; through a link, where that leads.

    Raises CannotWrite if that fails, or if `file` exists and it is not to be replaced by `force`.
    """
    target = file.resolve()
    own = target.with_name(f".chipbench-{secrets.token_hex(8)}")
    with _explained(file):
        try:
            _write_whole(own, content)
            if force:
                own.replace(target)
            else:
                target.hardlink_to(own)
        finally:
            own.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes) -> None:
    with path.open("xb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn an OSError into CannotWrite, one line."""
    try:
        yield
    except FileExistsError as error:
        raise CannotWrite(_taken(file)) from error
    except (OSError, RuntimeError) as error:  # the latter of a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or one_line(error)
        message = f"{file}: cannot be written ({reason}); check the folder, its permissions and the free space"
        raise CannotWrite(message) from error

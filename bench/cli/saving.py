"""How a command saves a file that the user named: whole or not at all, and nothing that is there is lost."""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import CannotWrite, one_line


def check_target(file: Path, records: Sequence[Path], *, force: bool) -> None:
    """Raise CannotWrite where it is known, before any of `records` is read, that `file` is not to be written."""
    with _explained(file):
        if file.exists() and not file.is_file():
            message = f"{file}: is {'a folder' if file.is_dir() else 'no ordinary file'}; name a file to write"
        elif file.resolve() in {path.resolve() for path in records}:
            message = f"{file}: is one of the records that were read; name another file"
        elif file.exists() and not force:
            message = _taken(file)
        elif not file.parent.is_dir():
            message = f"{file}: there is no folder {file.parent}; make it first"
        else:
            return
    raise CannotWrite(message)


def check_folder(folder: Path, names: Iterable[str] = (), *, force: bool = False) -> None:
    """Raise CannotWrite where it is known that files of these names cannot be saved in `folder`.

    It need not exist.
    """
    with _explained(folder):
        if folder.exists() and not folder.is_dir():
            message = f"{folder}: is no folder; name one, or one to be made"
        elif not folder.parent.is_dir():
            message = f"{folder}: there is no folder {folder.parent} to make it in; make that first"
        else:
            for name in names if folder.exists() else ():
                if (folder / name).is_symlink():
                    message = f"{folder / name}: is a link; name another folder, or remove it"
                    raise CannotWrite(message)
                check_target(folder / name, (), force=force)
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


def save_all(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Save files by their names in `folder`, which is made if it is not there: through a link, where that leads.

    None of them gets its name before all are whole. Raises CannotWrite if that fails, or if one of them exists and
    it is not to be replaced by `force`.
    """
    check_folder(folder, files, force=force)
    with _explained(folder):
        target = folder.resolve()
        is_new = not target.exists()
        own = (target.parent if is_new else target) / f".chipbench-{secrets.token_hex(8)}"
    with _explained(folder):
        try:
            own.mkdir()
            for name, content in files.items():
                _write_whole(own / name, content)
            if is_new:
                own.rename(target)
                return
            for name in files:
                if force:
                    (own / name).replace(target / name)
                else:
                    (target / name).hardlink_to(own / name)
        finally:
            shutil.rmtree(own, ignore_errors=True)


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

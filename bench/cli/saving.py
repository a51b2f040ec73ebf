"""How a command saves a file that the user named: whole or not at all, and nothing that is there is lost."""

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import CannotWrite, one_line
from bench.records import disk


def check_target(file: Path, records: Sequence[Path], *, force: bool) -> None:
    """Raise CannotWrite where it is known, before any of `records` is read, that `file` is not to be written."""
    with _explained(file):
        with suppress(FileNotFoundError, NotADirectoryError):
            file.stat()  # what is wrong with a path: exists() says no such thing from Python 3.13 on
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
    with _explained(file):
        target = file.resolve()
        own = _draft_in(target.parent)
        try:
            disk.write_new(own, content)
            _give_name(own, target, force=force)
            disk.sync_folder(target.parent)
        finally:
            disk.discard(own)


def save_all(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Save files by their names in `folder`, which is made if it is not there: through a link, where that leads.

    None of them gets its name before all are whole. Raises CannotWrite if that fails, or if one of them exists and
    it is not to be replaced by `force`; those that were not there before are not there then, either.
    """
    check_folder(folder, files, force=force)
    with _explained(folder):
        target = folder.resolve()
        is_new = not target.exists()
        own = _draft_in(target.parent if is_new else target)
        try:
            own.mkdir()
            for name, content in files.items():
                disk.write_new(own / name, content)
            if is_new:
                disk.sync_folder(own)
                own.rename(target)
            else:
                _give_names(own, target, list(files), force=force)
            disk.sync_folder(own.parent)
        finally:
            with suppress(OSError):  # of a file that cannot be closed, which is not ignored
                shutil.rmtree(own, ignore_errors=True)


def _draft_in(folder: Path) -> Path:
    """Return a name for what is not whole yet; who is killed leaves it, and it may be deleted."""
    return folder / f".chipbench-{secrets.token_hex(8)}"


def _give_names(own: Path, target: Path, names: Sequence[str], *, force: bool) -> None:
    """Move files from one folder to another; if that fails, none stays that was not there before."""
    new = [target / name for name in names if not (target / name).exists()]
    given: list[Path] = []
    try:
        for name in names:
            _give_name(own / name, target / name, force=force)
            given.append(target / name)
    except BaseException:
        for path in given:
            if path in new:
                disk.discard(path)
        raise


def _give_name(own: Path, path: Path, *, force: bool) -> None:
    if force:
        own.replace(path)
    else:
        disk.give_name(own, path)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn an OSError into CannotWrite, one line."""
    try:
        with disk.explained(f"{file}: cannot be written", "or name another file"):
            yield
    except CannotWrite as error:
        if isinstance(error.__cause__, FileExistsError):
            raise CannotWrite(_taken(file)) from error
        raise
    except RuntimeError as error:  # of a loop of links, before Python 3.13
        message = f"{file}: cannot be written ({one_line(error)}); mend the links, or name another file"
        raise CannotWrite(message) from error

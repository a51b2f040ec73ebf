"""Records of several folders brought into one: each once, in its longest copy, and nothing there is rewritten.

Records are told by the id in their header. Of two copies of a record, whole line by whole line, one may be the
beginning of the other: it was interrupted, or copied while it was being written. Then the longer one stands for
both. So the folder comes to hold the same bytes in whatever order its sources are merged, together or one by one,
and however often. A symbolic link there is not written through. Everything is checked first; if writing fails
then (a full disk), merging again goes on there.
"""

import fcntl
import hashlib
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bench.errors import CannotWrite, RecordError
from bench.records.parallel import by_chunks
from bench.records.record import Header, read_header, read_lines
from bench.records.store import KEY_FILE, RecordWriter, place, read_all, record_path, records_below, sync_folder

Outcome = Literal["added", "extended", "there already", "left out"]
# Another merge holds a record's lock for the time of one write; a run holds it until it ends.
_PATIENCE_S: Final = 5.0


class Copy(NamedTuple):
    """One file of a record: its whole lines, their size in bytes and digest, and what its header says.

    `below` is where it belongs in a results folder. `writing`: another process was writing it as it was read.
    """

    path: Path
    id: str
    device: str
    below: Path
    lines: int
    size: int
    digest: bytes
    complete: bool = False
    writing: bool = False


class Refused(NamedTuple):
    """A source that cannot be merged: `why` in short, and in the error's one line; `copy` if it can be read."""

    path: Path
    copy: Copy | None
    why: str
    error: RecordError


class Step(NamedTuple):
    """What is to become of a source: a file of its own in `to`, or the lines that the record in `to` lacks."""

    copy: Copy
    to: Path
    outcome: Literal["added", "extended", "there already"]


class Checked(NamedTuple):
    """What a merge of `sources` into `results` comes to: steps and refused ones, in the order of the sources.

    `unreadable` are the errors of files in `results` that are no records: they stay, whatever they are.
    """

    results: Path
    sources: Sequence[Path]
    steps: Sequence[Step]
    refused: Sequence[Refused]
    unreadable: Sequence[RecordError]


class Merged(NamedTuple):
    """What became of a source, whose record lies in `to`; `lines` were appended to it if it was extended."""

    path: Path
    outcome: Outcome
    copy: Copy | None
    to: Path | None = None
    lines: int = 0
    refused: Refused | None = None


def check_merge(sources: Sequence[Path], results: Path) -> Checked:
    """Read some record files, each named once, and find out what merging them comes to; write nothing.

    Raises CannotWrite if `results` is no folder. Of sources, what is damaged or contradicts another copy is
    refused, not raised.
    """
    _check_folder(results)
    found = [one for part in by_chunks(_examined, sources) for one in part]
    refused = {one.path: one for one in found if isinstance(one, Refused)}
    groups: dict[str, list[Copy]] = {}
    for one in found:
        if isinstance(one, Copy):
            groups.setdefault(one.id, []).append(one)
    there, unreadable = _there(results, groups.keys())
    steps: dict[Path, Step] = {}
    for ident, copies in groups.items():
        for decided in _decided(copies, there.get(ident, ()), results):
            if isinstance(decided, Refused):
                refused[decided.path] = decided
            else:
                steps[decided.copy.path] = decided
    ordered = [steps[path] for path in sources if path in steps]
    return Checked(results, sources, ordered, [refused[path] for path in sources if path in refused], unreadable)


def _check_folder(results: Path) -> None:
    try:
        fits, why = stat.S_ISDIR(results.stat().st_mode), "it is a file"
    except FileNotFoundError:
        fits, why = not results.is_symlink(), "it is a link that leads nowhere"
    except OSError as error:
        fits, why = False, error.strerror or str(error)
    if not fits:
        message = f"{results}: cannot be a results folder ({why}); give another --results-dir"
        raise CannotWrite(message)


def carry_out(checked: Checked) -> list[Merged]:
    """Write what was found missing, leave out what was refused, and return what became of each source, in order.

    Raises CannotWrite, and RecordError if a file was changed since it was checked; what was written until then is
    whole, and merging again goes on from there.
    """
    done = {one.path: Merged(one.path, "left out", one.copy, refused=one) for one in checked.refused}
    folders: set[Path] = set()
    try:
        for step in checked.steps:
            done[step.copy.path] = merged = _carried_out(step)
            if merged.outcome == "added":
                folders |= {step.to.parent, checked.results}
    finally:
        for folder in folders:
            sync_folder(folder)
    return [done[path] for path in checked.sources]


def differing_keys(sources: Iterable[Path], results: Path) -> list[Path]:
    """Return of `results` and the folders of some records those that have a `.key`, one for each that differs.

    Under another key a device or a machine has another name. A key that may not be read counts as another.
    """
    first: dict[bytes, Path] = {}
    for folder in dict.fromkeys([results, *(above for path in sources for above in path.parents[:2])]):
        file = folder / KEY_FILE
        if file.is_file():
            first.setdefault(_key(file), folder)
    return [*first.values()]


def _key(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes().strip()).digest()
    except OSError:
        return bytes(file)


def _examined(paths: Sequence[Path]) -> list[Copy | Refused]:
    """Read the files, every line of each."""
    return [_examine(path) for path in paths]


def _examine(path: Path) -> Copy | Refused:
    try:
        read_header(path)  # which tells a folder and a pipe from a file
        # Before the lines are checked: a record that grows meanwhile is taken as far as it surely was checked.
        content = _whole(path)
        lines = read_lines(path)
        copy = _copy(path, content, lines.header)
    except RecordError as error:
        return Refused(path, None, "damaged", error.with_traceback(None))
    complete = lines.footer is not None
    return copy._replace(complete=complete, writing=not complete and _is_locked(path))


def _copy(path: Path, content: bytes, header: Header) -> Copy:
    try:
        below = record_path(Path(), header)
    except RecordError as error:
        message = f"{path}: damaged record: line 1: {error}"
        raise RecordError(message) from error
    digest = hashlib.sha256(content).digest()
    return Copy(path, header.id, header.device.name, below, content.count(b"\n"), len(content), digest)


def _whole(path: Path, most: int = -1) -> bytes:
    """Return a file's whole lines, or, of the first `most` bytes, those."""
    try:
        with path.open("rb") as file:
            content = file.read(most)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        raise RecordError(message) from error
    return content[: content.rfind(b"\n") + 1]


def _is_locked(path: Path) -> bool:
    """Whether a process is writing the file; False where the file system does not tell."""
    with suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _there(results: Path, wanted: Iterable[str]) -> tuple[dict[str, list[Copy]], list[RecordError]]:
    """Return the copies of the `wanted` ids in `results`, wherever they lie there, and what cannot be read.

    Their lines are not checked: where they agree with a source's, those were.
    """
    found: dict[str, list[Copy]] = {one: [] for one in wanted}
    copies, unreadable = read_all(records_below(results) or (), partial(_copy_if, found))
    for copy in copies:
        if copy is not None:
            found[copy.id].append(copy)
    return found, unreadable


def _copy_if(wanted: Container[str], path: Path) -> Copy | None:
    header = read_header(path)
    return _copy(path, _whole(path), header) if header.id in wanted else None


def _decided(copies: Sequence[Copy], there: Sequence[Copy], results: Path) -> Iterator[Step | Refused]:
    """Decide about all sources of one record, given its copies in the folder, of which there is one at most.

    Except where somebody put more there: then the longest is the one that may have to be extended.
    """
    taken = None if there else _taken(copies, results)
    if taken is not None:
        yield from (_displaced(copy, taken) for copy in copies)
        return
    new: list[Copy] = []
    for copy in copies:
        holds = next((one for one in there if _begins(copy, one)), None)
        other = next((one for one in there if not _begins(one, copy)), None)
        if holds is not None:
            yield Step(copy, holds.path, "there already")
        elif other is not None:
            yield _contradiction(copy, other)
        else:
            new.append(copy)
    target = max(there, key=lambda one: one.size).path if there else None
    if target is not None and target.is_symlink():  # it may lead anywhere
        yield from (_displaced(copy, target) for copy in new)
    elif new:
        yield from _of_new(new, target, results)


def _taken(copies: Sequence[Copy], results: Path) -> Path | None:
    """Return where one of the copies belongs and something else lies, if so.

    The record itself may lie there by now, from another merge: to write it will tell.
    """
    for path in dict.fromkeys(results / copy.below for copy in copies):
        if path.exists() or path.is_symlink():
            try:
                if read_header(path).id != copies[0].id:
                    return path
            except RecordError:
                return path
    return None


def _of_new(new: Sequence[Copy], there: Path | None, results: Path) -> Iterator[Step | Refused]:
    """Decide about sources that hold more than the folder does: the longest must hold all the others."""
    longest = max(new, key=lambda one: one.size)
    other = next((one for one in new if not _begins(one, longest)), None)
    needed: Literal["added", "extended"] = "added" if there is None else "extended"
    for copy in new:
        if other is not None:
            yield _contradiction(copy, longest, other)
        else:
            yield Step(copy, there or results / copy.below, needed if copy is longest else "there already")


def _begins(short: Copy, long: Copy) -> bool:
    """Whether the whole lines of one copy are the first ones of the other, or all."""
    if short.size >= long.size:
        return (short.size, short.digest) == (long.size, long.digest)
    return hashlib.sha256(_whole(long.path, short.size)).digest() == short.digest


def _contradiction(copy: Copy, *others: Copy) -> Refused:
    """Refuse a copy because of those of `others` that it contradicts, or that contradict each other."""
    those = [one for one in others if not (_begins(copy, one) or _begins(one, copy))] or others
    paths = " and ".join(str(one.path) for one in those)
    differ = "differs from {}, which has the same id" if len(those) == 1 else "has the id of {}, which differ"
    what = f"{copy.path}: {differ.format(paths)}, and neither is the beginning of the other"
    error = RecordError(f"{what}; find out which is true and move the other away")
    return Refused(copy.path, copy, differ.format(paths), error)


def _displaced(copy: Copy, taken: Path) -> Refused:
    error = RecordError(f"{copy.path}: belongs at {taken}, where something else is; move that away")
    return Refused(copy.path, copy, f"something else is at {taken}", error)


def _carried_out(step: Step) -> Merged:
    copy, to = step.copy, step.to
    if step.outcome == "there already":
        return Merged(copy.path, step.outcome, copy, to)
    content = _whole(copy.path, copy.size)
    if hashlib.sha256(content).digest() != copy.digest:
        message = f"{copy.path}: was changed while it was being merged; merge it again when nothing changes it"
        raise RecordError(message)
    if step.outcome == "added" and place(to, content):
        return Merged(copy.path, "added", copy, to)
    lines = _extend(to, content, copy.path)
    return Merged(copy.path, "extended" if lines else "there already", copy, to, lines)


def _extend(path: Path, content: bytes, source: Path) -> int:
    """Append the lines of `content` that the record in `path` lacks, and return how many that were."""
    if _whole(path).startswith(content):
        return 0
    writer, _ = RecordWriter.reopen(path, wait_s=_PATIENCE_S)
    with writer:
        here = _whole(path)
        if here.startswith(content):
            return 0
        if not content.startswith(here):
            message = f"{path}: was changed while {source} was being merged; merge that again"
            raise RecordError(message)
        writer.append_whole(content[len(here) :])
    return content.count(b"\n") - here.count(b"\n")

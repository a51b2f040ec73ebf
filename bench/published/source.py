"""Finds `specs/` and reads its TOML strictly: every error names file, table, field, value and what to do."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, DecimalException
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from bench.errors import SpecError, one_line

Grade = Literal["vendor", "device", "paper", "analyst", "reseller", "derived", "official"]
Seen = Literal["original", "mirror", "quoted", "device-reported", "second-hand", "unverified"]

# What is read of a specs folder.
_READ: Final = (
    "chips/*.toml",
    "aliases.toml",
    "rules/*.toml",
    "timeline.toml",
    "published/*.toml",
    "models/*.toml",
)
# A number in a file, in whatever unit, lies between these; beyond is a slip of the pen.
SMALLEST, LARGEST = 1e-18, 1e18
_FIRST_YEAR, _LAST_YEAR = 1950, 2199
_MOST_SHOWN: Final = 60  # characters of a text that is wrong
_PACKAGE: Final = Path(__file__).resolve().parent.parent
_T = TypeVar("_T", bound=msgspec.Struct)
_Read = TypeVar("_Read")


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value was published.

    `grade` says what kind of publisher it is, `seen` how the page was read: the original, a mirror, a
    quotation. Some sources (a print-out in a forum) have no `url`.
    """

    title: str
    grade: Grade
    url: str | None = None
    seen: Seen | None = None


def read_sources(tables: Mapping[str, Any], path: Path) -> dict[str, Source]:
    """Return the sources of a file by name; raise SpecError for one without a title or with a wrong url."""
    found = {}
    for name, table in tables.items():
        where = f"{path}: [sources.{name}]"
        source = convert(table, Source, where)
        if not source.title.strip():
            message = f"{where}: title is empty; say what was published"
            raise SpecError(message)
        check_url(source.url, where)
        found[name] = source
    return found


def check_url(url: str | None, where: str) -> None:
    """Raise SpecError naming `where` if there is a `url` that is no address of a web page."""
    if url is not None and not re.fullmatch(r"https?://[\w.-]+(:\d+)?([/?#]\S*)?", url):
        message = f"{where}: url {written(url)} must be an address such as https://example.org/page"
        raise SpecError(message)


def check_day(day: date | None, where: str) -> None:
    """Raise SpecError naming `where` for a day that is long before the first chip, or far in the future."""
    if day is not None and not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        message = f"{where} {day} must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}; correct it"
        raise SpecError(message)


def shipped_specs() -> Path:
    """Return the folder of the specs that came with this installation."""
    packaged = _PACKAGE / "_specs"
    folder = packaged if packaged.is_dir() else _PACKAGE.parent / "specs"
    if not folder.is_dir():
        message = f"{folder}: the published figures are missing from this installation; reinstall chipbench"
        raise SpecError(message)
    return folder


def specs_folders(overlay: Path | None) -> tuple[Path, ...]:
    """Return the folders to read specs from, the later overriding the earlier."""
    if overlay is None:
        return (shipped_specs(),)
    try:
        is_folder = overlay.is_dir()
    except OSError:  # such as a name that is too long for any
        is_folder = False
    if not is_folder:
        message = f"{overlay}: no such specs folder; give one that holds chips/*.toml"
        raise SpecError(message)
    if not any(any(overlay.glob(pattern)) for pattern in _READ):
        message = f"{overlay}: holds none of {', '.join(_READ)}, so it would change nothing"
        raise SpecError(message)
    return (shipped_specs(), overlay)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of one TOML file, numbers with a point as exact Decimals."""
    return parse_toml(read_text(path), path)


def read_text(path: Path) -> str:
    """Return the text of a file; raise SpecError saying why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); check that it exists and its permissions"
        raise SpecError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8"
        raise SpecError(message) from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Return TOML's content, numbers with a point as exact Decimals; `path` is where it stands."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except DecimalException as error:
        message = f"{path}: not valid TOML: a number has an exponent that nothing can have"
        raise SpecError(message) from error
    except RecursionError as error:
        message = f"{path}: not valid TOML: too many tables or lists inside each other"
        raise SpecError(message) from error
    except ValueError as error:  # not TOML, or a number of thousands of digits
        message = f"{path}: not valid TOML: {one_line(error)}"
        raise SpecError(message) from error


def convert(table: object, kind: type[_T], where: str) -> _T:
    """Return `table` as `kind`, a msgspec Struct; raise SpecError naming `where` for any other content."""
    if not isinstance(table, Mapping):
        message = f"{where}: must be a table, not {written(table)}"
        raise SpecError(message)
    known = _names(kind)
    for key in table:
        if key not in known:
            message = f"{where}: unknown key {key!r}{did_you_mean(key, known)}"
            raise SpecError(message)
    try:
        return msgspec.convert(table, kind, builtin_types=(date, Decimal))  # of which TOML has its own
    except msgspec.ValidationError as error:
        message = f"{where}: {_complaint(error, table, kind)}"
        raise SpecError(message) from error


@cache
def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the keys that a table of this kind may have; to ask msgspec each time doubles the reading."""
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def _complaint(error: msgspec.ValidationError, table: Mapping[str, Any], kind: type[msgspec.Struct]) -> str:
    """Return what is wrong with the field that `error` names: its value, and what may stand there."""
    text = one_line(error)
    found = re.search(r" - at `\$\.(\w+)", text)
    if found is None:
        return text
    name, reason = found[1], text[: found.start()]
    declared = msgspec.structs.fields(kind)
    (field_type,) = (field.type for field in declared if field.encode_name == name)
    allowed = [
        str(choice)
        for part in (field_type, *get_args(field_type))
        if get_origin(part) is Literal
        for choice in get_args(part)
    ]
    if allowed:
        reason = f"must be one of {', '.join(allowed)}"
    return f"{name} {written(table[name])}: {reason}"


class ByFile(Mapping[str, _Read]):
    """What one TOML file each says, by the files' names. A file is read when its id is first asked for.

    So a malformed file raises SpecError for its own id only. Files of that `kind` (a folder of specs) in a later
    folder replace an earlier one's of the same name; `overridden` names those.
    """

    def __init__(self, folders: Sequence[Path], kind: str, read: Callable[[Path], _Read]) -> None:
        found = [path for folder in folders for path in sorted((folder / kind).glob("*.toml"))]
        self._read, self._paths = read, {path.stem: path for path in found}
        stems = [path.stem for path in found]
        self.overridden = tuple(name for name in self._paths if stems.count(name) > 1)

    def __getitem__(self, name: str) -> _Read:
        return self._read(self._paths[name])

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._paths))

    def __len__(self) -> int:
        return len(self._paths)


def named_source(name: str, sources: Mapping[str, Source], where: str) -> Source:
    """Return the source of this name; raise SpecError naming `where` if it is not listed."""
    if name not in sources:
        message = f"{where}: source {name!r} is not in [sources]{did_you_mean(name, sources)}"
        raise SpecError(message)
    return sources[name]


def written(value: object) -> str:
    """Return `value` much as the TOML file has it: numbers and dates bare, texts in quotes."""
    text = str(value) if isinstance(value, Decimal | date) else repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """Return '; did you mean …?' with the nearest of `known`; if none is near, `otherwise` or all of them."""
    names = list(known)
    nearest = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if nearest:
        return f"; did you mean {' or '.join(nearest)}?"
    return f"; {otherwise}" if otherwise else f"; known: {', '.join(names)}"

"""The report's tables as files of comma-separated values, in base units where a table has them."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bench.report.chapters.base import Report
from bench.report.documents.sources import as_records
from bench.report.formats import csv
from bench.report.view import Section

_SUFFIX: Final = ".csv"
_LONGEST: Final = 60  # characters of a file's name
_SOURCES: Final = f"sources{_SUFFIX}"


def tables(report: Report) -> dict[str, str]:
    """Return the content of each file by its name, `{chapter}-{section}.csv`, and of `sources.csv`.

    A section without a title has its number in its chapter for one; one without a table has no file.
    """
    found = [
        (f"{_slug(chapter.name)}-{_slug(section.title) or number}", _records(section))
        for chapter in report.chapters
        for number, section in enumerate(chapter.sections, start=1)
        if section.records or section.rows
    ]
    names = _unique(name for name, _ in found)
    files = {name: csv.table(records) for name, (_, records) in zip(names, found, strict=True)}
    return {**files, _SOURCES: csv.table(as_records(report.sources))} if report.sources else files


def _records(section: Section) -> Sequence[Mapping[str, Any]]:
    """Return a table's records, or its texts if it has none; a heading that was there before is numbered."""
    if section.records:
        return section.records
    heads: list[str] = []
    for column in section.columns:
        heads.append(_unused(column.head, heads))
    return [dict(zip(heads, row, strict=True)) for row in section.rows]


def _unused(head: str, heads: Sequence[str]) -> str:
    number, name = 1, head
    while name in heads:
        number += 1
        name = f"{head} ({number})"
    return name


def _unique(names: Iterable[str]) -> Iterator[str]:
    """Yield the files' names, none too long, a number at the end of one that was there before."""
    taken = {_SOURCES}
    for name in names:
        number, file = 1, _file(name, "")
        while file in taken:
            number += 1
            file = _file(name, f"-{number}")
        taken.add(file)
        yield file


def _file(name: str, ending: str) -> str:
    room = _LONGEST - len(ending) - len(_SUFFIX)
    return f"{name[:room].strip('-')}{ending}{_SUFFIX}"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")

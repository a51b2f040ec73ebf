"""The sources of a report, as documents list and link them, and the place of their chapter."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from bench.published.source import Source
from bench.report.chapters.base import Chapter, Report

HEADING: Final = "Sources"
_KEPT: Final = ":/?#[]@!$&'()*+,;=%"  # what an address may hold besides letters, digits and _.-~


def split_at_sources(report: Report) -> tuple[Sequence[Chapter], Sequence[Chapter]]:
    """Return the chapters that stand before the list of sources, and the one after it."""
    return report.chapters[:-1], report.chapters[-1:]


def as_records(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return the sources as programs read them, each with the number by which texts name it."""
    return [
        {"number": number, "title": one.title, "grade": one.grade, "url": one.url, "seen": one.seen}
        for number, one in enumerate(sources, start=1)
    ]


def anchor(number: int) -> str:
    """Return the name by which a document links to its source of this number."""
    return f"source-{number}"


def address(source: Source) -> str | None:
    """Return a source's address in the web, encoded; None if it has none."""
    url = source.url or ""
    return encoded(url) if re.match(r"https?://", url, re.IGNORECASE) else None


def encoded(url: str) -> str:
    """Return an address all in ASCII, without blanks, quotation marks or brackets other than round and square."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(url, safe=_KEPT, errors="replace"))


def cited(text: str, pattern: str, count: int, link: Callable[[int], str]) -> str:
    """Return `text` with every number of a source, which `pattern` finds in its first group, as `link` writes it.

    A number beyond `count`, of which there is no source, stays.
    """
    return re.sub(pattern, lambda found: _linked(found, count, link), text)


def _linked(found: re.Match[str], count: int, link: Callable[[int], str]) -> str:
    number = int(found[1])
    return link(number) if 1 <= number <= count else found[0]

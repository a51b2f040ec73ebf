"""The report as GitHub-flavoured Markdown: a table of contents, chapters, and pictures beside the file."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final
from urllib.parse import quote

from bench.report.chapters.base import Chapter, Illustration, Report
from bench.report.chips import described
from bench.report.documents.sources import HEADING, address, anchor, cited, split_at_sources
from bench.report.formats import markdown
from bench.report.view import Section

_CONTENTS: Final = "Contents"
_MARK: Final = r"\\\[([0-9]{1,6})\\\]"  # '[3]' as it is escaped


def render(report: Report, links: Mapping[str, str]) -> str:
    """Return the report as text. `links` has the pictures' files by their names, relative to that of the text.

    A picture that is not among them is named in a line. A '[3]' is a link to the third source.
    """
    return "\n\n".join(block for block in _blocks(report, links) if block) + "\n"


def _blocks(report: Report, links: Mapping[str, str]) -> Iterator[str]:
    count = len(report.sources)
    yield f"# {_heading(report.title)}"
    yield "\\\n".join(_paragraph(line, count) for line in report.about if line)
    yield f"## {_CONTENTS}"
    yield _contents(report)
    before, last = split_at_sources(report)
    for chapter in before:
        yield from _chapter(chapter, links, count)
    if report.sources:
        yield f"## {HEADING}"
        yield _sources(report)
    for chapter in last:
        yield from _chapter(chapter, links, count)


def _chapter(chapter: Chapter, links: Mapping[str, str], count: int) -> Iterator[str]:
    yield f"## {_heading(chapter.title)}"
    yield from (_paragraph(text, count) for text in chapter.lead)
    for picture in chapter.pictures:
        yield from _picture(picture, links)
    for section in chapter.sections:
        yield from _section(section, count)


def _section(section: Section, count: int) -> Iterator[str]:
    written = partial(_text, count=count)
    yield f"### {_heading(section.title)}" if section.title else ""
    yield from (_paragraph(text, count) for text in section.lead)
    yield markdown.table(section.columns, section.rows, written) if section.rows else ""
    yield markdown.bullets(section.notes, partial(_paragraph, count=count))


def _picture(picture: Illustration, links: Mapping[str, str]) -> Iterator[str]:
    if picture.name in links:
        yield f"![{markdown.escaped(picture.alt)}]({quote(links[picture.name], safe='/', errors='replace')})"
    yield f"*{markdown.escaped(picture.title)}*"


def _sources(report: Report) -> str:
    lines = []
    for number, source in enumerate(report.sources, start=1):
        url = address(source)
        where = f" <{url}>" if url else f" {markdown.escaped(source.url)}" if source.url else ""
        lines.append(f'{number}. <a id="{anchor(number)}"></a>{markdown.escaped(described(source))}{where}')
    return "\n".join(lines)


def _contents(report: Report) -> str:
    """Return links to all headings below the title, sections under their chapters."""
    headings = list(_headings(report))
    names = _anchors([report.title, _CONTENTS, *(text for text, _ in headings)])
    return "\n".join(
        f"{'  ' * depth}- [{markdown.escaped(text)}](#{quote(name, safe='')})"
        for (text, depth), name in zip(headings, names[2:], strict=True)
    )


def _headings(report: Report) -> Iterator[tuple[str, int]]:
    """Yield the headings in their order, each with how deep it lies."""
    before, last = split_at_sources(report)
    yield from chain.from_iterable(map(_headings_of, before))
    if report.sources:
        yield HEADING, 0
    yield from chain.from_iterable(map(_headings_of, last))


def _headings_of(chapter: Chapter) -> Iterator[tuple[str, int]]:
    yield chapter.title, 0
    yield from ((section.title, 1) for section in chapter.sections if section.title)


def _anchors(headings: Sequence[str]) -> list[str]:
    """Return the names that GitHub gives headings: small letters, hyphens for blanks, numbered if met before."""
    seen: Counter[str] = Counter()
    names = []
    for heading in headings:
        name = plain = "".join(filter(_is_kept, " ".join(heading.split()).lower())).replace(" ", "-")
        while seen[name]:
            name = f"{plain}-{seen[plain]}"
            seen[plain] += 1
        seen[name] += 1
        names.append(name)
    return names


def _is_kept(mark: str) -> bool:
    category = unicodedata.category(mark)
    return category[0] in "LM" or category in {"Nd", "Pc"} or mark in "- "


def _heading(text: str) -> str:
    """Return `text` escaped for a heading, the end of which would lose its number signs."""
    escaped = markdown.escaped(text)
    kept = escaped.rstrip("#")
    return escaped if kept == escaped else f"{kept}\\{escaped[len(kept) :]}"


def _paragraph(text: str, count: int) -> str:
    return cited(markdown.paragraph(text), _MARK, count, _link)


def _text(text: str, count: int) -> str:
    return cited(markdown.escaped(text), _MARK, count, _link)


def _link(number: int) -> str:
    return rf"[\[{number}\]](#{anchor(number)})"

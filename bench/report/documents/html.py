"""The report as one HTML page that needs nothing else: no network, and no script to be complete.

What it looks like stands in `report.css`, what it does in `report.js`, how it is built in `report.html.j2`.
"""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.errors import one_line
from bench.report.chapters.base import Illustration, Report
from bench.report.chips import reference
from bench.report.documents.sorting import sort_keys
from bench.report.documents.sources import HEADING, anchor, cited, split_at_sources
from bench.report.documents.svg import inlined
from bench.report.formats.html import escaped
from bench.report.view import Column, Section

_FOLDER: Final = Path(__file__).resolve().parent
_PERCENT: Final = re.compile(r"(?<=\d) %")  # which no line break may part
_NUMBER: Final = r"\[([1-9][0-9]{0,5})\]"
# Characters of a column's longest text: up to the one it stands on one line, from the other on it needs room.
_ON_ONE_LINE, _LONG = 24, 40
_BREAK: Final = re.compile(r"\s+|(?<=[^\W_]-)(?=[^\W\d_])")  # where a browser may begin a new line
_MOST: Final = 24  # characters of a line, for which a column of long texts gets room at least
_UNBROKEN: Final = 10  # characters of a number that stand on one line on paper too
_ON_PAPER: Final = 260  # characters of a line, above which even the smallest letters do not fit on paper
# Characters of all a row's texts that fit one line on paper in letters that can be read well, and how many of the
# style's characters, of which more make smaller letters, each of them is.
_ONE_LINE, _SHARE = 190, 0.88
_BETWEEN: Final = 3  # characters, about, that the space between two columns takes


class _Cell(NamedTuple):
    text: str
    kind: str
    key: float | None


class _Table(NamedTuple):
    """A table: heads with their kinds, rows of cells, and of how many characters its lines are at least.

    A "crammed" one would be wider than paper, were its words not broken; a "roomy" one needs to break none.
    """

    characters: int
    room: str
    heads: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[_Cell]]


class _Picture(NamedTuple):
    id: str
    title: str
    titled: bool
    svg: Markup


def render(report: Report) -> str:
    """Return the report as a whole page."""
    loader = FileSystemLoader(_FOLDER)
    template = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html.j2")
    style, script = (_part(name) for name in ("report.css", "report.js"))
    prefixes = _prefixes(report)
    page = template.render(
        report=report,
        sources=[Markup(escaped(reference(source, n))) for n, source in enumerate(report.sources, 1)],
        before_sources=len(split_at_sources(report)[0]) if report.sources else None,
        heading=HEADING,
        anchor=anchor,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(script),
        plain=one_line,
        text=lambda text: _linked(text, len(report.sources)),
        table=_table,
        picture=lambda one: _picture(one, prefixes[one.name]),
    )
    return f"{page.strip()}\n"


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Return what the page allows a browser to do: nothing but its own script and styles."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _linked(text: str, sources: int) -> Markup:
    """Return `text` safe for HTML; an address in it is a link, and so is the number of a source."""

    def plain(part: str) -> str:
        return cited(html.escape(_PERCENT.sub("\N{NO-BREAK SPACE}%", part)), _NUMBER, sources, _link)

    return Markup(escaped(text, plain))


def _link(number: int) -> str:
    return f'<a href="#{anchor(number)}">[{number}]</a>'


def _prefixes(report: Report) -> dict[str, str]:
    """Return what the ids of each picture begin with: a number, as a name may hold what an id cannot."""
    pictures = [one.name for chapter in report.chapters for one in chapter.pictures]
    return {name: f"picture-{number}" for number, name in enumerate(pictures, 1)}


def _picture(picture: Illustration, ident: str) -> _Picture:
    title = one_line(picture.title)
    inline = inlined(picture.render(".svg"), prefix=f"{ident}-", title=title, alt=one_line(picture.alt))
    return _Picture(ident, picture.title, inline.titled, Markup(inline.markup))


def _table(section: Section) -> _Table:
    texts = [[row[index] or "–" for row in section.rows] for index in range(len(section.columns))]
    columns = list(zip(section.columns, texts, strict=True))
    whole = [_ON_ONE_LINE, *(_UNBROKEN if column.align == "right" else 0 for column in section.columns[1:])]
    least = sum(_BETWEEN + _least(*column, most) for column, most in zip(columns, whole, strict=True))
    most = sum(_BETWEEN + max(map(len, (column.head[:_MOST], *some))) for column, some in columns)
    roomy = most <= _ONE_LINE
    return _Table(
        characters=max(least, round(_SHARE * most)) if roomy else least,
        room="roomy" if roomy else "crammed" if least > _ON_PAPER else "",
        heads=[(column.head, _kind(column, some)) for column, some in columns],
        rows=list(zip(*(_cells(column, some) for column, some in columns), strict=True)),
    )


def _cells(column: Column, texts: Sequence[str]) -> list[_Cell]:
    kind = _kind(column, texts)
    kinds = [f"{kind} loose" if kind == "right" and len(text) > _UNBROKEN else kind for text in texts]
    return [_Cell(*cell) for cell in zip(texts, kinds, sort_keys(texts), strict=True)]


def _kind(column: Column, texts: Sequence[str]) -> str:
    """Return how the texts of a column are laid out: numbers to the right, words on one line if they are few."""
    longest = max(map(len, texts))
    if column.align == "right":
        return "right"
    return "short" if longest <= _ON_ONE_LINE else "long" if longest >= _LONG else "words"


def _least(column: Column, texts: Sequence[str], whole: int) -> int:
    """Return how many characters wide a column is on paper if words are whole and its texts take two lines.

    Texts of up to `whole` characters are on one line.
    """
    unbroken = {text for text in texts if len(text) <= whole}
    words = [word for text in (column.head, *texts) if text not in unbroken for word in _BREAK.split(text)]
    half = max(len(text) for text in texts) // 2
    return max(min(half, _MOST), *map(len, words), *map(len, unbroken))

"""Plain text for a terminal: title, columns, notes."""

import textwrap
from collections.abc import Sequence
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import Column, Section, View

_NOTE: Final = 100
_HEAD: Final = 24  # a heading wraps here, unless what stands below it is wider


def render(view: View) -> str:
    """Return the view as aligned plain text."""
    title = one_line(view.title)
    blocks = [title if not view.sections else f"{title}\n{'=' * len(title)}"]
    blocks += [_table(view.columns, view.rows)] if view.columns else []
    for number, section in enumerate(view.sections, start=1):
        blocks += _section(number, section)
    blocks += [_notes(view.notes)] if view.notes else []
    return "\n\n".join(blocks) + "\n"


def _section(number: int, section: Section) -> list[str]:
    heading = f"{number}. {one_line(section.title)}"
    blocks = [f"{heading}\n{'-' * len(heading)}"]
    blocks += [_notes(section.lead)] if section.lead else []
    blocks += [_table(section.columns, section.rows)] if section.rows else []
    return blocks + ([_notes(section.notes)] if section.notes else [])


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    texts = [[_wrapped(cell, c.width) or "–" for cell, c in zip(row, columns, strict=True)] for row in rows]
    widths = [max(map(_width, cells)) for cells in zip(*texts, strict=True)] or [_HEAD] * len(columns)
    return tabulate(
        texts,
        [_wrapped(column.head, max(_HEAD, width)) for column, width in zip(columns, widths, strict=True)],
        tablefmt="simple",
        disable_numparse=True,
        colalign=[column.align for column in columns] if rows else None,
    )


def _width(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)


def _notes(notes: Sequence[str]) -> str:
    return "\n".join(_wrapped(note, _NOTE, indent="  ") for note in notes)


def _wrapped(text: str, width: int, *, indent: str = "") -> str:
    return textwrap.fill(
        one_line(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

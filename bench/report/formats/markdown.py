"""GitHub-flavoured Markdown."""

import re
from collections.abc import Sequence
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import Column, Section, View

_LINK: Final = re.compile(r"(https?://[^\s<>|`\\\[\]]+)")
_MARKS: Final = re.compile(r"[\\|*_`<>\[\]~]|&(?=#?\w+;)")


def render(view: View) -> str:
    """Return the view as a Markdown table under its title, notes as a list; sections have headings."""
    blocks = [f"## {_escaped(view.title)}" if view.sections else f"**{_escaped(view.title)}**"]
    blocks += [_table(view.columns, view.rows)] if view.columns else []
    for section in view.sections:
        blocks += _section(section)
    blocks += [_notes(view.notes)] if view.notes else []
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"### {_escaped(section.title)}"]
    blocks += [_notes(section.lead)] if section.lead else []
    blocks += [_table(section.columns, section.rows)] if section.rows else []
    return blocks + ([_notes(section.notes)] if section.notes else [])


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(
        [[_escaped(cell) or "–" for cell in row] for row in rows],
        [_escaped(column.head) for column in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in columns] if rows else None,
    )


def _notes(notes: Sequence[str]) -> str:
    return "\n".join(f"- {_escaped(note)}" for note in notes)


def _escaped(text: str) -> str:
    """Return `text` on one line with Markdown's marks escaped; a bare URL stays a link."""
    parts = _LINK.split(one_line(text))
    return "".join(part if i % 2 else _MARKS.sub(r"\\\g<0>", part) for i, part in enumerate(parts))

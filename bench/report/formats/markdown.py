"""GitHub-flavoured Markdown."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import Column, Section, View

_LINK: Final = re.compile(r"(https?://[^\s<>|`\\\[\]]+)")
_MARKS: Final = re.compile(r"[\\|*_`<>\[\]~$]|&(?=#?\w+;)")
# What at the start of a line makes it a heading, an item of a list or the rule under another line.
_START: Final = re.compile(r"^(?:(?=[#+\-=:])|([0-9]+)(?=[.)]))")


def render(view: View) -> str:
    """Return the view as a Markdown table under its title, notes as a list; sections have headings."""
    blocks = [f"## {escaped(view.title)}" if view.sections else f"**{escaped(view.title)}**"]
    blocks += [table(view.columns, view.rows)] if view.columns else []
    for section in view.sections:
        blocks += _section(section)
    blocks += [bullets(view.notes)] if view.notes else []
    return "\n\n".join(blocks) + "\n"


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], written: Callable[[str], str] | None = None
) -> str:
    """Return a table, its texts as `written` makes them; without it, escaped. An empty cell is a dash."""
    write = written or escaped
    return tabulate(
        [[write(cell) or "–" for cell in row] for row in rows],
        [write(column.head) for column in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in columns] if rows else None,
    )


def bullets(notes: Sequence[str], written: Callable[[str], str] | None = None) -> str:
    """Return a list, its texts as `written` makes them; without it, as paragraphs."""
    return "\n".join(f"- {(written or paragraph)(note)}" for note in notes)


def paragraph(text: str) -> str:
    """Return `text` escaped for where a line begins: it is no heading, list or rule."""
    return _START.sub(r"\g<1>\\", escaped(text))


def escaped(text: str) -> str:
    """Return `text` on one line with Markdown's marks escaped; a bare URL stays a link."""
    parts = _LINK.split(one_line(text))
    return "".join(part if i % 2 else _MARKS.sub(r"\\\g<0>", part) for i, part in enumerate(parts))


def _section(section: Section) -> list[str]:
    blocks = [f"### {escaped(section.title)}"]
    blocks += [bullets(section.lead)] if section.lead else []
    blocks += [table(section.columns, section.rows)] if section.rows else []
    return blocks + ([bullets(section.notes)] if section.notes else [])

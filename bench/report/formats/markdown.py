"""GitHub-flavoured Markdown."""

import re
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import View

_LINK: Final = re.compile(r"(https?://[^\s<>|`\\\[\]]+)")
_MARKS: Final = re.compile(r"[\\|*_`<>\[\]~]|&(?=#?\w+;)")


def render(view: View) -> str:
    """Return the view as a Markdown table under its title, notes as a list."""
    body = tabulate(
        [[_escaped(cell) or "–" for cell in row] for row in view.rows],
        [_escaped(column.head) for column in view.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in view.columns] if view.rows else None,
    )
    notes = "".join(f"- {_escaped(note)}\n" for note in view.notes)
    return f"**{_escaped(view.title)}**\n\n{body}\n" + (f"\n{notes}" if notes else "")


def _escaped(text: str) -> str:
    """Return `text` on one line with Markdown's marks escaped; a bare URL stays a link."""
    parts = _LINK.split(one_line(text))
    return "".join(part if i % 2 else _MARKS.sub(r"\\\g<0>", part) for i, part in enumerate(parts))

"""Plain text for a terminal: title, columns, notes."""

import textwrap
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import View

# Longer texts are wrapped between words; a column is otherwise as wide as it needs.
_CELL: Final = 60
_NOTE: Final = 100


def render(view: View) -> str:
    """Return the view as aligned plain text."""
    body = tabulate(
        [[_wrapped(cell, _CELL) or "–" for cell in row] for row in view.rows],
        [one_line(column.head) for column in view.columns],
        tablefmt="simple",
        disable_numparse=True,
        colalign=[column.align for column in view.columns] if view.rows else None,
    )
    notes = "".join(f"{_wrapped(note, _NOTE, indent='  ')}\n" for note in view.notes)
    return f"{one_line(view.title)}\n\n{body}\n" + (f"\n{notes}" if notes else "")


def _wrapped(text: str, width: int, *, indent: str = "") -> str:
    return textwrap.fill(
        one_line(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

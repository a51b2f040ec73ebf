"""Plain text for a terminal: title, columns, notes."""

import textwrap
from typing import Final

from tabulate import tabulate

from bench.report.view import View

_WIDTH: Final = 100  # of notes; columns are as wide as they need


def render(view: View) -> str:
    """Return the view as aligned plain text."""
    body = tabulate(
        [[cell or "–" for cell in row] for row in view.rows],
        [column.head for column in view.columns],
        tablefmt="simple",
        disable_numparse=True,
        colalign=[column.align for column in view.columns] if view.rows else None,
    )
    notes = "".join(
        f"{textwrap.fill(note, _WIDTH, subsequent_indent='  ', break_long_words=False)}\n" for note in view.notes
    )
    return f"{view.title}\n\n{body}\n" + (f"\n{notes}" if notes else "")

"""GitHub-flavoured Markdown."""

import re

from tabulate import tabulate

from bench.report.view import View


def render(view: View) -> str:
    """Return the view as a Markdown table under its title, notes as a list."""
    body = tabulate(
        [[_escaped(cell or "–") for cell in row] for row in view.rows],
        [_escaped(column.head) for column in view.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in view.columns] if view.rows else None,
    )
    notes = "".join(f"- {_escaped(note)}\n" for note in view.notes)
    return f"**{_escaped(view.title)}**\n\n{body}\n" + (f"\n{notes}" if notes else "")


def _escaped(text: str) -> str:
    """Keep Markdown from reading marks in `text`; a bare URL stays a link."""
    parts = re.split(r"(https?://\S+)", text)
    return "".join(part if i % 2 else re.sub(r"([\\|*_`<>\[\]])", r"\\\1", part) for i, part in enumerate(parts))

"""One HTML page that needs nothing else: no script, no font, no network."""

import html
import re
from collections.abc import Sequence
from typing import Final

from bench.errors import one_line
from bench.report.view import Column, Section, View

# An address may hold pairs of brackets, as Wikipedia's do; it does not end in a full stop or a comma.
_LINK: Final = re.compile(r"""(https?://(?:\([^\s()<>"]*\)|[^\s()<>"])*(?:\([^\s()<>"]*\)|[^\s()<>".,;:]))""")
_STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; margin-bottom: .75rem; text-align: left; }
th, td { border-bottom: 1px solid #8886; padding: .35rem .75rem; text-align: left; vertical-align: top; }
th { border-bottom-width: 2px; }
td:first-child { white-space: nowrap; }
.right { text-align: right; white-space: nowrap; }
ul { padding-left: 1.2rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
"""


def render(view: View) -> str:
    """Return the view as a whole page."""
    table = _table(view.title, view.columns, view.rows) if view.columns else f"<h1>{_escaped(view.title)}</h1>\n"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(view.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + table
        + "".join(_section(section) for section in view.sections)
        + _notes(view.notes)
        + "</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    table = _table("", section.columns, section.rows) if section.rows else ""
    return f"<h2>{_escaped(section.title)}</h2>\n{_notes(section.lead)}{table}{_notes(section.notes)}"


def _table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col" class="{c.align}">{_escaped(c.head)}</th>' for c in columns)
    body = "\n".join(
        "<tr>" + "".join(_cell(cell, c.align) for cell, c in zip(row, columns, strict=True)) + "</tr>"
        for row in rows
    )
    named = f"<caption>{_escaped(caption)}</caption>\n" if caption else ""
    return (
        f'<div class="scroll">\n<table>\n{named}'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{_escaped(note)}</li>\n" for note in notes)
    return f"<ul>\n{items}</ul>\n" if notes else ""


def _cell(text: str, align: str) -> str:
    return f'<td class="{align}">{_escaped(text or "–")}</td>'


def _escaped(text: str) -> str:
    """Return `text` safe for HTML, with web addresses as links."""
    parts = [html.escape(part) for part in _LINK.split(one_line(text))]
    return "".join(f'<a href="{part}">{part}</a>' if i % 2 else part for i, part in enumerate(parts))

"""One HTML page that needs nothing else: no script, no font, no network."""

import html
from collections.abc import Callable, Sequence
from typing import Final

from bench.errors import one_line
from bench.report.view import ADDRESS, Column, Section, View

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
    table = _table(view.title, view.columns, view.rows) if view.columns else f"<h1>{escaped(view.title)}</h1>\n"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(one_line(view.title))}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + table
        + "".join(_section(section) for section in view.sections)
        + _notes(view.notes)
        + "</body>\n</html>\n"
    )


def escaped(text: str, plain: Callable[[str], str] = html.escape) -> str:
    """Return `text` on one line and safe for HTML, with web addresses as links.

    `plain` makes HTML of what stands between the addresses.
    """
    parts = ADDRESS.split(one_line(text))
    return "".join(_link(part) if i % 2 else plain(part) for i, part in enumerate(parts))


def _link(address: str) -> str:
    return f'<a href="{html.escape(address)}">{html.escape(address)}</a>'


def _section(section: Section) -> str:
    table = _table("", section.columns, section.rows) if section.rows else ""
    return f"<h2>{escaped(section.title)}</h2>\n{_notes(section.lead)}{table}{_notes(section.notes)}"


def _table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col" class="{c.align}">{escaped(c.head)}</th>' for c in columns)
    body = "\n".join(
        "<tr>" + "".join(_cell(cell, c.align) for cell, c in zip(row, columns, strict=True)) + "</tr>"
        for row in rows
    )
    named = f"<caption>{escaped(caption)}</caption>\n" if caption else ""
    return (
        f'<div class="scroll">\n<table>\n{named}'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escaped(note)}</li>\n" for note in notes)
    return f"<ul>\n{items}</ul>\n" if notes else ""


def _cell(text: str, align: str) -> str:
    return f'<td class="{align}">{escaped(text or "–")}</td>'

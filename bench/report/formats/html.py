"""One HTML page that needs nothing else: no script, no font, no network."""

import html
import re
from typing import Final

from bench.report.view import View

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
.right { text-align: right; white-space: nowrap; }
ul { padding-left: 1.2rem; }
"""


def render(view: View) -> str:
    """Return the view as a whole page."""
    heads = "".join(f'<th scope="col" class="{c.align}">{_escaped(c.head)}</th>' for c in view.columns)
    rows = "\n".join(
        "<tr>" + "".join(_cell(cell, c.align) for cell, c in zip(row, view.columns, strict=True)) + "</tr>"
        for row in view.rows
    )
    notes = "".join(f"<li>{_escaped(note)}</li>\n" for note in view.notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(view.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f'<div class="scroll">\n<table>\n<caption>{_escaped(view.title)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
        + (f"<ul>\n{notes}</ul>\n" if notes else "")
        + "</body>\n</html>\n"
    )


def _cell(text: str, align: str) -> str:
    return f'<td class="{align}">{_escaped(text or "–")}</td>'


def _escaped(text: str) -> str:
    """Return `text` safe for HTML, with web addresses as links."""
    parts = [html.escape(part) for part in _LINK.split(text)]
    return "".join(f'<a href="{part}">{part}</a>' if i % 2 else part for i, part in enumerate(parts))

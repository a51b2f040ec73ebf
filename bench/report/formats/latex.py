r"""A LaTeX table for \input, with the booktabs package; escapes what TeX would read as a command."""

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import Column, Section, View

_ESCAPES: Final = MappingProxyType(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "`": r"\textasciigrave{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
        "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$", "÷": r"$\div$", "≥": r"$\geq$", "≤": r"$\leq$",
        "²": r"$^2$", "³": r"$^3$", "µ": r"$\mu$", "–": r"\textendash{}", "…": r"\ldots{}",
        "→": r"$\rightarrow$", "≈": r"$\approx$",
    }
)  # fmt: skip


def render(view: View) -> str:
    """Return a table environment with a caption; notes follow as a paragraph. Sections are tables of their own."""
    whole = [_table(view.title, view.columns, view.rows, view.notes)] if view.columns else []
    parts = [_section(section) for section in view.sections]
    closing = [_paragraphs(view.notes)] if not view.columns and view.notes else []
    heading = [] if view.columns else [f"\\section*{{{_escaped(view.title)}}}\n"]
    return "% needs \\usepackage{booktabs}\n" + "\n".join([*heading, *whole, *parts, *closing])


def _section(section: Section) -> str:
    heading = f"\\subsection*{{{_escaped(section.title)}}}\n"
    table = _table(section.title, section.columns, section.rows, ()) if section.rows else ""
    return f"{heading}{_paragraphs(section.lead)}{table}{_paragraphs(section.notes)}"


def _table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    body = tabulate(
        [[_escaped(cell) or r"\textendash{}" for cell in row] for row in rows],
        [_escaped(column.head) for column in columns],
        tablefmt="latex_raw",
        disable_numparse=True,
        colalign=[column.align for column in columns] if rows else None,
    )
    # Without rows, tabulate names no columns.
    letters = "".join(column.align[0] for column in columns)
    body = body.replace(r"\begin{tabular}{}", f"\\begin{{tabular}}{{{letters}}}", 1)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        body = body.replace(r"\hline", rule, 1)
    head = f"\\begin{{table}}\n\\centering\n\\caption{{{_escaped(caption)}}}\n"
    return f"{head}{body}\n{_notes(notes)}\\end{{table}}\n"


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"\\par\\footnotesize {_escaped(note)}\n" for note in notes)


def _paragraphs(notes: Sequence[str]) -> str:
    return f"{{{_notes(notes)}\\par}}\n" if notes else ""


def _escaped(text: str) -> str:
    r"""Return `text` on one line as TeX prints it.

    '--' stays two hyphens, as in the name of an option; '[' and '*' at the start would belong to the row's \\.
    """
    escaped = "".join(_ESCAPES.get(mark, mark) for mark in one_line(text))
    return re.sub(r"-(?=-)", "-{}", f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped)

r"""A LaTeX table for \input, with the booktabs package; escapes what TeX would read as a command."""

import re
from types import MappingProxyType
from typing import Final

from tabulate import tabulate

from bench.errors import one_line
from bench.report.view import View

_ESCAPES: Final = MappingProxyType(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "`": r"\textasciigrave{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
        "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$", "÷": r"$\div$", "≥": r"$\geq$", "≤": r"$\leq$",
        "²": r"$^2$", "³": r"$^3$", "µ": r"$\mu$", "–": r"\textendash{}", "…": r"\ldots{}",
    }
)  # fmt: skip


def render(view: View) -> str:
    """Return a table environment with a caption; notes follow as a paragraph."""
    body = tabulate(
        [[_escaped(cell) or r"\textendash{}" for cell in row] for row in view.rows],
        [_escaped(column.head) for column in view.columns],
        tablefmt="latex_raw",
        disable_numparse=True,
        colalign=[column.align for column in view.columns] if view.rows else None,
    )
    # Without rows, tabulate names no columns.
    letters = "".join(column.align[0] for column in view.columns)
    body = body.replace(r"\begin{tabular}{}", f"\\begin{{tabular}}{{{letters}}}", 1)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        body = body.replace(r"\hline", rule, 1)
    notes = "".join(f"\\par\\footnotesize {_escaped(note)}\n" for note in view.notes)
    head = (
        f"% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{_escaped(view.title)}}}\n"
    )
    return f"{head}{body}\n{notes}\\end{{table}}\n"


def _escaped(text: str) -> str:
    r"""Return `text` on one line as TeX prints it.

    '--' stays two hyphens, as in the name of an option; '[' and '*' at the start would belong to the row's \\.
    """
    escaped = "".join(_ESCAPES.get(mark, mark) for mark in one_line(text))
    return re.sub(r"-(?=-)", "-{}", f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped)

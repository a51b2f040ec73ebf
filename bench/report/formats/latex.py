r"""A LaTeX table for \input, with the booktabs package; escapes what TeX would read as a command."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
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
        "²": r"$^2$", "³": r"$^3$", "µ": r"$\mu$", "μ": r"$\mu$", "–": r"\textendash{}", "…": r"\ldots{}",
        "→": r"$\rightarrow$", "≈": r"$\approx$", "≠": r"$\neq$", "−": "$-$", "°": r"$^\circ$",
        "∞": r"$\infty$", "√": r"$\surd$", "∝": r"$\propto$", "‖": r"$\Vert$", "Δ": r"$\Delta$", "Ω": r"$\Omega$",
        "ρ": r"$\rho$", "σ": r"$\sigma$", "⌈": r"$\lceil$", "⌉": r"$\rceil$", "✗": r"$\times$",
        "—": r"\textemdash{}", "‐": "-", "‑": "-", "‘": "'", "’": "'", "“": "''", "”": "''", "„": "''",
        "§": r"\S{}", "†": r"\dag{}", "©": "(c)", "®": "(R)", "€": "EUR", "⁄": "/",
        "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}",
        "ı": r"\i{}", "�": "?",
    }
)  # fmt: skip
_ACCENTS: Final = MappingProxyType(
    {
        "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
        "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0331": "b",
    }
)  # fmt: skip
# What its parts alone would make another number of: 10⁵, 1½.
_PARTS: Final = MappingProxyType(
    {"<super>": r"\textsuperscript{{{}}}", "<sub>": r"\textsubscript{{{}}}", "<fraction>": r"\,{}"}
)
_DOTLESS: Final = MappingProxyType({"i": r"\i", "j": r"\j"})


def render(view: View) -> str:
    """Return a table environment with a caption; notes follow as a paragraph. Sections are tables of their own."""
    whole = [_table(view.title, view.columns, view.rows, view.notes)] if view.columns else []
    parts = [_section(section) for section in view.sections]
    closing = [_paragraphs(view.notes)] if not view.columns and view.notes else []
    heading = [] if view.columns else [f"\\section*{{{escaped(view.title)}}}\n"]
    return "% needs \\usepackage{booktabs}\n" + "\n".join([*heading, *whole, *parts, *closing])


def _section(section: Section) -> str:
    heading = f"\\subsection*{{{escaped(section.title)}}}\n"
    table = _table(section.title, section.columns, section.rows, ()) if section.rows else ""
    return f"{heading}{_paragraphs(section.lead)}{table}{_paragraphs(section.notes)}"


def _table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    body = tabulate(
        [[escaped(cell) or r"\textendash{}" for cell in row] for row in rows],
        [escaped(column.head) for column in columns],
        tablefmt="latex_raw",
        disable_numparse=True,
        colalign=[column.align for column in columns] if rows else None,
    )
    # Without rows, tabulate names no columns.
    letters = "".join(column.align[0] for column in columns)
    body = body.replace(r"\begin{tabular}{}", f"\\begin{{tabular}}{{{letters}}}", 1)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        body = body.replace(r"\hline", rule, 1)
    head = f"\\begin{{table}}\n\\centering\n\\caption{{{escaped(caption)}}}\n"
    return f"{head}{body}\n{_notes(notes)}\\end{{table}}\n"


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"\\par\\footnotesize {escaped(note)}\n" for note in notes)


def _paragraphs(notes: Sequence[str]) -> str:
    return f"{{{_notes(notes)}\\par}}\n" if notes else ""


def escaped(text: str) -> str:
    r"""Return `text` on one line as TeX prints it, in ASCII: of what TeX has no letter, its number in Unicode.

    '--' stays two hyphens, as in the name of an option; '[' and '*' at the start would belong to the row's \\.
    """
    written = "".join(map(_written, one_line(text)))
    return re.sub(r"-(?=-)", "-{}", f"{{}}{written}" if written.startswith(("[", "*")) else written)


@cache
def _written(mark: str) -> str:
    if mark in _ESCAPES:
        return _ESCAPES[mark]
    if mark.isascii():
        return mark
    return _composed(mark) or rf"\textless{{}}U+{ord(mark):04X}\textgreater{{}}"


def _composed(mark: str) -> str | None:
    """Return a character by its parts: é, ⁵, ½, ﬁ; None if it has none, or some that TeX does not know."""
    parts = list(unicodedata.normalize("NFKD", mark))
    base, *rest = parts
    if len(rest) == 1 and rest[0] in _ACCENTS and base.isascii() and base.isalpha():
        return f"\\{_ACCENTS[rest[0]]}{{{_DOTLESS.get(base, base)}}}"
    if parts == [mark] or not all(part.isascii() or part in _ESCAPES for part in parts):
        return None
    written = "".join(map(_written, parts))
    kind = unicodedata.decomposition(mark).split()[0]
    return _PARTS.get(kind, "{}").format(written)

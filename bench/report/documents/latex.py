r"""The report as a LaTeX document: A4 across, tables over as many pages as they take, pictures beside the file.

It needs no more than Debian's texlive-latex-base and texlive-latex-recommended.
"""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from bench.errors import one_line
from bench.report.chapters.base import Chapter, Illustration, Report
from bench.report.chips import described
from bench.report.documents.latex_table import GAP, TEXT_WIDTH, table, wrapped
from bench.report.documents.sources import HEADING, address, anchor, cited, encoded, split_at_sources
from bench.report.formats.latex import escaped
from bench.report.view import ADDRESS, Section

_SIZE: Final = 10.0  # points, of what is no table
_LINE: Final = TEXT_WIDTH - 35.0  # points, in a list too
_ANYWHERE: Final = "".join(rf"\do\{mark}" for mark in string.ascii_letters + string.digits)
_PREAMBLE: Final = rf"""% for pdflatex, to be run twice
\documentclass[{_SIZE:.0f}pt,a4paper,landscape]{{article}}
\PassOptionsToPackage{{hyphens}}{{url}}
\usepackage[textwidth={TEXT_WIDTH}pt,vmargin=14mm,includefoot]{{geometry}}
\usepackage{{array,booktabs,graphicx,longtable}}
\IfFileExists{{lmodern.sty}}{{\usepackage[T1]{{fontenc}}\usepackage{{lmodern}}}}{{}}
\usepackage[hidelinks]{{hyperref}}
\newcolumntype{{L}}[1]{{>{{\raggedright\arraybackslash}}p{{#1}}}}
\newcolumntype{{R}}[1]{{>{{\raggedleft\arraybackslash}}p{{#1}}}}
\makeatletter
\newcommand{{\room}}{{\par\if@nobreak\else\penalty0\ifdim\dimexpr\pagegoal-\pagetotal\relax<10\baselineskip\newpage\fi\fi}}
\makeatother
{{\catcode`\%=12\catcode`\#=12\gdef\percentmark{{%}}\gdef\numbermark{{#}}}}
\expandafter\def\expandafter\UrlBreaks\expandafter{{\UrlBreaks{_ANYWHERE}}}
\urlstyle{{same}}
\setcounter{{secnumdepth}}{{0}}
\setlength{{\parindent}}{{0pt}}
\setlength{{\parskip}}{{4pt}}
\setlength{{\tabcolsep}}{{{GAP / 2}pt}}
\setlength{{\LTpre}}{{4pt}}
\setlength{{\LTpost}}{{4pt}}
\setlength{{\emergencystretch}}{{3em}}
\renewcommand{{\labelenumi}}{{[\arabic{{enumi}}]}}
\raggedbottom
"""
_PICTURE: Final = r"\includegraphics[width=\linewidth,height=0.7\textheight,keepaspectratio]"
_CITED: Final = r"(?:^\{\})?\[([0-9]{1,6})\]"
_UNSUITED: Final = re.compile(r'[\\{}"|]')  # of a file's name, for TeX
_IN_NAMES: Final = {"%": r"\percentmark ", "#": r"\numbermark ", **{mark: rf"\string{mark}" for mark in "&$_^~"}}


def render(report: Report, links: Mapping[str, str]) -> str:
    """Return the whole document. `links` has the pictures' PNG files by their names, relative to that of the text.

    A picture that is not among them, or whose file has a name that TeX cannot read, is named in a line.
    A '[3]' is a link to the third source.
    """
    return (
        _PREAMBLE + "\\begin{document}\n\\raggedright\n" + "\n".join(_blocks(report, links)) + "\\end{document}\n"
    )


def _blocks(report: Report, links: Mapping[str, str]) -> Iterator[str]:
    count = len(report.sources)
    yield f"{{\\LARGE {escaped(report.title)}\\par}}\\medskip\n"
    yield from (_paragraph(line, count) for line in report.about)
    yield "\\tableofcontents\n"
    before, last = split_at_sources(report)
    for chapter in before:
        yield from _chapter(chapter, links, count)
    if report.sources:
        yield _sources(report)
    for chapter in last:
        yield from _chapter(chapter, links, count)


def _chapter(chapter: Chapter, links: Mapping[str, str], count: int) -> Iterator[str]:
    yield f"\\clearpage\\section{{{escaped(chapter.title)}}}\n"
    yield from (_paragraph(text, count) for text in chapter.lead)
    yield from (_picture(picture, links.get(picture.name)) for picture in chapter.pictures)
    for section in chapter.sections:
        yield from _section(section, count)


def _section(section: Section, count: int) -> Iterator[str]:
    if section.title:
        yield f"\\room\\subsection{{{escaped(section.title)}}}\n"
    yield from (_paragraph(text, count) for text in section.lead)
    if section.rows:
        yield table(section.columns, section.rows, partial(_written, count=count))
    if section.notes:
        yield _list("itemize", [_wrapped(note, count) for note in section.notes])


def _picture(picture: Illustration, link: str | None) -> str:
    title = f"\\textit{{{escaped(picture.title)}}}"
    if link is None or not link.isprintable() or _UNSUITED.search(link):
        return f"{title}\n"
    name = "".join(_IN_NAMES.get(mark, mark) for mark in link)
    return f"\\begin{{center}}\n{_PICTURE}{{{name}}}\\\\\n{title}\n\\end{{center}}\n"


def _sources(report: Report) -> str:
    items = []
    for number, source in enumerate(report.sources, start=1):
        url = address(source)
        where = rf" \url{{{url}}}" if url else f" {escaped(source.url)}" if source.url else ""
        items.append(f"\\hypertarget{{{anchor(number)}}}{{}}{_wrapped(described(source), 0)}{where}")
    return f"\\clearpage\\section{{{HEADING}}}\n" + _list("enumerate", items)


def _list(kind: str, items: Sequence[str]) -> str:
    lines = "".join(f"\\item {item}\n" for item in items)
    return f"\\begin{{{kind}}}\\setlength{{\\itemsep}}{{0pt}}\\small\n{lines}\\end{{{kind}}}\n"


def _paragraph(text: str, count: int) -> str:
    return f"{_wrapped(text, count)}\n"


def _wrapped(text: str, count: int) -> str:
    return wrapped(text, _LINE / _SIZE, partial(_written, count=count))


def _written(text: str, count: int) -> str:
    return " ".join(_word(word, count) for word in one_line(text).split(" "))


def _word(word: str, count: int) -> str:
    parts = ADDRESS.split(word)
    return "".join(
        rf"\url{{{encoded(part)}}}" if i % 2 else cited(escaped(part), _CITED, count, _link)
        for i, part in enumerate(parts)
    )


def _link(number: int) -> str:
    return rf"\hyperlink{{{anchor(number)}}}{{[{number}]}}"

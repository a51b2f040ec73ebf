"""The documents that a report can be written as. Adding one is a file and a line.

A document is a function from a report, and the files of its pictures by their names, to a text.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.report.chapters.base import Report
from bench.report.documents import csv, json, latex, markdown

Links = Mapping[str, str]


class Document(NamedTuple):
    """A format of one file: its suffix, and what makes its text."""

    suffix: str
    render: Callable[[Report, Links], str]


def _html(report: Report, _links: Links) -> str:
    from bench.report.documents import html  # noqa: PLC0415 - only a page needs jinja2

    return html.render(report)


def _json(report: Report, _links: Links) -> str:
    return json.render(report)


FILES: Final = MappingProxyType[str, Document](
    {
        "html": Document(".html", _html),
        "md": Document(".md", markdown.render),
        "latex": Document(".tex", latex.render),
        "json": Document(".json", _json),
    }
)
FOLDERS: Final = MappingProxyType[str, Callable[[Report], dict[str, str]]]({"csv": csv.tables})
"""Formats of several files: what makes their contents by their names."""

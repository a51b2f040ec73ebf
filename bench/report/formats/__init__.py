"""The formats that every command can print: a function from a view to text. Adding one is a file and a line."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from bench.report.formats import csv, html, json, junit, latex, markdown, table
from bench.report.view import View

FORMATS: Final = MappingProxyType[str, Callable[[View], str]](
    {
        "table": table.render,
        "md": markdown.render,
        "csv": csv.render,
        "json": json.render,
        "latex": latex.render,
        "html": html.render,
        "junit": junit.render,
    }
)

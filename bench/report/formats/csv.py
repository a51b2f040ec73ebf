"""Comma-separated values in base units, one heading line; nothing but data."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.report.view import View

_FORMULA: Final = re.compile(r"[\t\r]|\s*[=+\-@]")  # what makes a spreadsheet compute a cell
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def render(view: View) -> str:
    """Return the view's records as CSV; a missing value is an empty field, and no records are an empty text.

    A text that a spreadsheet would take for a formula begins with an apostrophe, as `table` says.
    """
    return table(view.records)


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return one line a record under a line of their names; no records are an empty text.

    A text that begins with =, +, -, @, a tab or a carriage return, and is no plain number, is written with an
    apostrophe before it, so that no spreadsheet computes it. Numbers are written as they are.
    """
    if not records:
        return ""
    names = list(dict.fromkeys(name for record in records for name in record))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_written(name) for name in names])
    writer.writerows([_written(record.get(name)) for name in names] for record in records)
    return out.getvalue()


def _written(value: object) -> object:
    """Return `value` as it stands in a file.

    Carriage returns become line breaks: the module writes them bare, and refuses to read them so. What UTF-8 has
    no bytes for, as a file's name may have, is written as its number, and what steers a terminal as �.
    """
    if not isinstance(value, str):
        return value
    formula = _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    lines = value.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "backslashreplace").decode()
    text = "".join(mark if mark.isprintable() or mark in "\n\t\N{NO-BREAK SPACE}" else "�" for mark in lines)
    return f"'{text}" if formula else text

"""Comma-separated values in base units, one heading line; nothing but data."""

import csv
import io

from bench.report.view import View


def render(view: View) -> str:
    """Return the view's records as CSV; a missing value is an empty field, and no records are an empty text."""
    if not view.records:
        return ""
    names = list(dict.fromkeys(name for record in view.records for name in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _readable(value) for name, value in record.items()} for record in view.records)
    return out.getvalue()


def _readable(value: object) -> object:
    """Return `value` without carriage returns: the module writes them bare, and refuses to read them so."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value

"""Comma-separated values in base units, one heading line; nothing but data."""

import csv
import io

from bench.report.view import View


def render(view: View) -> str:
    """Return the view's records as CSV; a missing value is an empty field."""
    names = list(dict.fromkeys(name for record in view.records for name in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(view.records)
    return out.getvalue()

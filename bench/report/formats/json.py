"""The versioned JSON document of a command, values in base units."""

import json

from bench.report.view import SCHEMA, View


def render(view: View) -> str:
    """Return the document with its schema number first."""
    return json.dumps({"schema": SCHEMA, **view.document}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

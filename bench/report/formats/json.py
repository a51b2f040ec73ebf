"""The versioned JSON document of a command, values in base units."""

import json
from collections.abc import Mapping
from typing import Any

from bench.report.view import SCHEMA, View


def render(view: View) -> str:
    """Return a view's document."""
    return text(view.document)


def text(document: Mapping[str, Any]) -> str:
    """Return a document with its schema number first. Raises ValueError for a number that JSON does not know."""
    return json.dumps({"schema": SCHEMA, **document}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

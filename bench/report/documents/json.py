"""The report as JSON: what its chapters have for programs, in base units, and the numbered sources."""

from typing import Any

from bench.report.chapters.base import Chapter, Report
from bench.report.documents.sources import as_records
from bench.report.formats import json


def render(report: Report) -> str:
    """Return the document with its schema number first. Raises ValueError for a number that JSON does not know."""
    document = {
        "title": report.title,
        "about": list(report.about),
        "chapters": [_chapter(chapter) for chapter in report.chapters],
        "sources": as_records(report.sources),
    }
    text = json.text(document)
    # What UTF-8 has no bytes for, as a file's name may have, JSON has an escape for.
    return text.encode("utf-8", "backslashreplace").decode()


def _chapter(chapter: Chapter) -> dict[str, Any]:
    return {
        "name": chapter.name,
        "title": chapter.title,
        "lead": list(chapter.lead),
        "pictures": [{"name": one.name, "title": one.title, "alt": one.alt} for one in chapter.pictures],
        "document": chapter.document,
    }

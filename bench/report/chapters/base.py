"""What a report is made of: chapters of sections and pictures, and the sources that its texts number."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.published.source import Source
from bench.report.view import Section


class Illustration(NamedTuple):
    """A picture: `render` gives the bytes of its file of a suffix ('.svg', '.png', '.pdf').

    `name` is that of its file, unique in a report: 'rule-map'. `title` is what it shows, its finding, and `alt`
    tells those who cannot see it what is to be seen.
    """

    name: str
    title: str
    alt: str
    render: Callable[[str], bytes]


class Chapter(NamedTuple):
    """One chapter: `lead` are its opening paragraphs, then come its pictures and its sections.

    `name` is its anchor and begins the names of its tables' files: 'rule'. A section with an empty title has no
    heading of its own. `document` is its content for JSON, values in base units.
    """

    name: str
    title: str
    lead: Sequence[str] = ()
    pictures: Sequence[Illustration] = ()
    sections: Sequence[Section] = ()
    document: Mapping[str, Any] = {}


class Report(NamedTuple):
    """A whole report. `about` says in lines under the title what it is of, when it was made and by what.

    A '[3]' in any text of it names the third of `sources`. Those are a chapter of their own, which stands before
    the last one.
    """

    title: str
    about: Sequence[str]
    chapters: Sequence[Chapter]
    sources: Sequence[Source]

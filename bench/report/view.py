"""A view: what one command has to show, once as a table for people and once as data for programs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

# An address may hold pairs of brackets, as Wikipedia's do; it does not end in a full stop or a comma.
ADDRESS: Final = re.compile(r"""(https?://(?:\([^\s()<>"]*\)|[^\s()<>"])*(?:\([^\s()<>"]*\)|[^\s()<>".,;:]))""")
SCHEMA: Final = 1  # of every JSON document; raised when a field changes its meaning or goes away

Align = Literal["left", "right"]
Outcome = Literal["passed", "failed", "skipped"]


class Column(NamedTuple):
    """A column's heading, on which side its texts line up, and the width at which a terminal wraps them."""

    head: str
    align: Align = "left"
    width: int = 60


class Section(NamedTuple):
    """A part of an answer that is no single table: `lead` stands above its table, if it has one.

    `records` are the table's content for CSV, where it has one of its own.
    """

    title: str
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[str]] = ()
    lead: Sequence[str] = ()
    notes: Sequence[str] = ()
    records: Sequence[Mapping[str, Any]] = ()


Texts = tuple[Column, Sequence[str]]
_T = TypeVar("_T", bound=Sequence[str])


def section_of(title: str, columns: Sequence[Texts], notes: Sequence[str] = ()) -> Section:
    """Return a section whose table has these columns, each with its texts from top to bottom."""
    rows = [list(texts) for texts in zip(*(texts for _, texts in columns), strict=True)]
    return Section(title, [column for column, _ in columns], rows, notes=notes)


def telling(columns: Iterable[tuple[Column, _T]]) -> list[tuple[Column, _T]]:
    """Return the columns that have something to say in some row."""
    return [column for column in columns if any(column[1])]


class Case(NamedTuple):
    """One thing that was judged, as test reports have it; `text` says what was found."""

    name: str
    outcome: Outcome
    text: str


class View(NamedTuple):
    """`rows` are texts for people; `records` the same content for CSV, one mapping a row, in base units.

    `document` is the JSON answer. `notes` stand below the table. An answer of several tables has `sections`
    instead of columns and rows. `cases` are what was judged, for test reports.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, Any]]
    document: Mapping[str, Any]
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()
    cases: Sequence[Case] = ()


def few(names: Sequence[str], most: int) -> str:
    """Return the first `most` names in one line, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def capital(text: str) -> str:
    """Return a text that begins with a capital letter, as a sentence does."""
    return text[:1].upper() + text[1:]


def percent(share: float, digits: int = 3) -> str:
    """Return a share as per cent with `digits` significant digits: 0.0123 is '1.23 %'."""
    return f"{significant(100 * share, digits)} %"


def significant(value: float, digits: int = 4) -> str:
    """Return `value` with `digits` significant digits and no exponent: 0.00036 stays readable, 1234567 too."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = int(f"{abs(rounded):e}".split("e")[1])
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"

"""What happened when: the events around the rules, each with its source."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.errors import SpecError
from bench.published.source import Source, check_day, convert, named_source, read_sources, read_toml


class Event(NamedTuple):
    """One event. `when` is as exact as the source is: '2025-04-09', '2025-01' or '2024-Q2'; `first` its first day.

    `article` marks the day of the news story that this project starts from.
    """

    when: str
    first: date
    text: str
    source: Source
    article: bool


class _RawEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    when: str
    text: str
    source: str
    article: bool = False


class _RawTimeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events: list[dict[str, Any]]
    sources: dict[str, Any]


def read_timeline(folders: Sequence[Path]) -> tuple[Event, ...]:
    """Return the events of the last folder that has a timeline.toml, in order of time; () if none has."""
    paths = [folder / "timeline.toml" for folder in folders if (folder / "timeline.toml").exists()]
    if not paths:
        return ()
    path = paths[-1]
    raw = convert(read_toml(path), _RawTimeline, str(path))
    sources = read_sources(raw.sources, path)
    events = [_event(table, sources, f"{path}: events[{index}]") for index, table in enumerate(raw.events)]
    return tuple(sorted(events, key=lambda event: event.first))


def _event(table: object, sources: dict[str, Source], where: str) -> Event:
    raw = convert(table, _RawEvent, where)
    return Event(
        raw.when, _first_day(raw.when, where), raw.text, named_source(raw.source, sources, where), raw.article
    )


def _first_day(when: str, where: str) -> date:
    """Return the first day of a date, a month ('2025-01') or a quarter ('2024-Q2')."""
    year, _, part = when.partition("-")
    text = f"{year}-{3 * int(part[1]) - 2:02}" if part in ("Q1", "Q2", "Q3", "Q4") else when
    try:
        if re.fullmatch(r"\d{4}-\d\d(-\d\d)?", text, re.ASCII):
            day = date.fromisoformat(text if text.count("-") > 1 else f"{text}-01")
            check_day(day, f"{where}: when")
            return day
    except ValueError:
        pass
    message = f"{where}: when {when!r} must be like '2025-04-09', '2025-01' or '2024-Q2'"
    raise SpecError(message)

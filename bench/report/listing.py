"""The view of a results folder: every record with its state, damaged ones included."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.errors import RecordError
from bench.records.record import Record
from bench.records.store import Surveyed
from bench.records.wall_clock import set_back_s
from bench.report.view import Column, View
from bench.report.wording import failure, span

_SET_BACK: Final = "clock set back"


def listing_view(results: Path, surveyed: Sequence[Surveyed]) -> View:
    """Return one row a record file below `results`, in the order given."""
    records = [_record(path, content) for path, content in surveyed]
    heads = ("record", "started", "device", "origin", "cells", "state")
    return View(
        title=f"{len(records)} record{'' if len(records) == 1 else 's'} in {results}",
        columns=[Column(head) for head in heads],
        rows=[_row(results, record) for record in records],
        records=records,
        document={"results": str(results), "records": records},
        notes=[*(str(content) for _, content in surveyed if isinstance(content, RecordError)), *_clock(records)],
    )


def _row(results: Path, record: dict[str, Any]) -> list[str]:
    path = Path(record["path"])
    name = path.relative_to(results) if path.is_relative_to(results) else path
    cells = "" if record["planned"] is None else f"{record['measured']} of {record['planned']}"
    fields = (record[key] or "" for key in ("started", "device", "origin"))
    return [str(name), *fields, cells, record["state"]]


def _record(path: Path, content: Record | RecordError) -> dict[str, Any]:
    if isinstance(content, RecordError):
        names = ("started", "device", "origin", "measured", "planned")
        return {"path": str(path), **dict.fromkeys(names), "state": "damaged", "detail": str(content)}
    header = content.header
    return {
        "path": str(path),
        "started": header.started,
        "device": header.device.name,
        "origin": header.origin,
        "measured": len(content.readings),
        "planned": len(header.plan.cells),
        "state": _state(content),
        "detail": _detail(content),
    }


def _state(record: Record) -> str:
    state = "complete" if record.complete else "interrupted"
    failed = sum(not reading.passed for reading in record.readings)
    extras = [f"{failed} failed"] if failed else []
    extras += ["torn tail"] if record.torn else []
    extras += [f"resumed {record.resumed}×"] if record.resumed else []
    set_back = set_back_s(record)
    extras += [f"{_SET_BACK} {span(set_back)}"] if set_back else []
    return ", ".join([state, *extras])


def _clock(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    if any(_SET_BACK in record["state"] for record in records):
        yield (
            "where the wall clock was set back while a record was written, its rates are right, as nothing is "
            "timed by it, but records are sorted by it, so 'latest' may be another; name files, and let NTP keep "
            "the time"
        )


def _detail(record: Record) -> str:
    failed = [f"{r.cell.label}: {failure(r)}" for r in record.readings if not r.passed]
    return "; ".join(failed)

"""What the wall clock did beside a record, which is named after it: set back meanwhile, or behind others."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from bench.devices.base import Caveat
from bench.errors import RecordError
from bench.records.record import Footer, Record, decode_line

_SET_BACK_S: Final = 2.0  # times are kept to the second, and the footer's seconds begin a little later
_FOOTER_BYTES: Final = 1 << 12  # more than a last line has
_LAST: Final = 2  # a line that is not the first
_BEHIND_S: Final = 60.0  # clocks of machines that share a folder differ by seconds
_STAMP: Final = "%Y%m%dT%H%M%SZ"  # how a record's name begins


def set_back_s(record: Record) -> float:
    """Return how far the wall clock was set back while a complete record's last process ran, or 0.

    That stands in its last line alone; where that cannot be had any more, it is 0 too.
    """
    if not record.complete:
        return 0.0
    with suppress(OSError, ValueError, RecordError), record.path.open("rb") as file:
        file.seek(-min(_FOOTER_BYTES, record.path.stat().st_size), os.SEEK_END)
        footer = decode_line(record.path, _LAST, file.read().splitlines()[-1])
        if isinstance(footer, Footer):
            return missing_s(record.header.started, footer.ended, footer.seconds)
    return 0.0


def missing_s(started: str, ended: str, seconds: float) -> float:
    """Return how much less passed by the wall clock than a process ran, in seconds, or 0.

    More may have passed, before it began or between two processes.
    """
    try:
        passed = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    except (TypeError, ValueError):  # of another program
        return 0.0
    missing = seconds - passed
    return missing if missing > _SET_BACK_S else 0.0


def later_records(paths: Sequence[Path], started: str) -> list[Path]:
    """Return which records, by their names, were begun over a minute later than `started`."""
    now = datetime.fromisoformat(started)
    return [path for path in paths if (begun := _begun(path, now)) and (begun - now).total_seconds() > _BEHIND_S]


def future(path: Path, started: str) -> Caveat:
    """Return the warning that this record was begun later than another that begins now."""
    now = datetime.fromisoformat(started)
    begun = _begun(path, now) or now
    values: dict[str, float | str] = {
        "seconds": (begun - now).total_seconds(),
        "started": begun.isoformat(" ")[:19],
    }
    return Caveat(code="future", values=values)


def _begun(path: Path, now: datetime) -> datetime | None:
    """Return when a record was begun by its name, None if that does not tell."""
    try:
        return datetime.strptime(path.name.split("-")[0], _STAMP).replace(tzinfo=now.tzinfo)
    except ValueError:
        return None

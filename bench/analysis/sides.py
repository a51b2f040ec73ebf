"""From what a user names, a record file, a folder or `latest`, to the side of a comparison that it stands for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.analysis.compare import Side, side_of_records
from bench.errors import InvalidRequest
from bench.published.source import did_you_mean
from bench.records.record import read_record
from bench.records.store import latest, record_paths

LATEST: Final = "latest"


class Named(NamedTuple):
    """A side, and what there is to tell about how its name was understood."""

    side: Side
    notes: tuple[str, ...] = ()


def measured_side(name: str, results: Path, chips: Sequence[str]) -> Named:
    """Return the side of a record file, a folder of records (pooled) or `latest` below `results`.

    Raises RecordError if a record cannot be read, and InvalidRequest if `name` is none of these; the nearest of
    the names in `chips`, which the user may have meant, are suggested then.
    """
    if name == LATEST:
        newest = latest(results)
        notes = (*(f"skipped: {error}" for error in newest.skipped), f"{LATEST} is {newest.path}")
        return Named(side_of_records(name, [read_record(newest.path)]), notes)
    path = Path(name)
    if path.is_file():
        return Named(side_of_records(path.name, [read_record(path)]))
    if path.is_dir():
        return Named(side_of_records(name, [read_record(file) for file in record_paths(path)]))
    hint = did_you_mean(
        name, [LATEST, *chips], otherwise="give a record file, a folder of records, latest or a chip"
    )
    message = f"{name!r} is no record, folder or chip{hint}"
    raise InvalidRequest(message)

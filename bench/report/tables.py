"""Results as pandas DataFrames, for notebooks; the only importer of pandas."""

import warnings
from pathlib import Path

import pandas as pd

from bench.errors import RecordError
from bench.records import disk
from bench.records.record import read_record
from bench.records.store import read_all, record_paths
from bench.report.exported import rows


def load_results(path: str | Path = "results", *, skip_bad: bool = False) -> pd.DataFrame:
    """Return one row per measurement of a record file, or of every record below a folder.

    Columns: `path`, `record` (its id), `started` (UTC), `origin`, `device`, `chip`, `complete` (of the record),
    `process` (the index, from 0, where one run measured in several processes) and `group` (what those share);
    `cell` (its key: only equal cells may be compared), `operation`, `dtype`, `m`, `n`, `k`, `elements` (of an
    array that is streamed or copied), `peer` (the index of the device that is copied to), `ways` (of that: 1, or 2
    if both copy), `fast_accumulate`, `library`, `data`, `regime`, `load` (alone, or together with other devices),
    `l2` (of the cell), `flop` (operations of one call), `bytes_moved` (read and written by one call, or sent over
    a link, each once); `seconds_per_call` (median, s), `rate`, `rate_lo`, `rate_hi` (per second, with the median's
    95 % interval), `unit`, `cycles_per_call` and `sm_clock_hz` (medians), `host_limited` (the host set the rate,
    so that it says nothing of the chip), `samples`, `stop`, `passed`; `power_w` (median of what the sensor said),
    `power_limit_w`, `driver` (its version), `warnings` (codes of the record's and the measurement's, joined by a
    space; empty if there are none).
    A value that does not exist is NaN or None.

    Raises RecordError, naming each, if files are damaged, or if no record is there. With skip_bad, damaged files
    are left out instead, each with a warning; if none is left, that is a RecordError still.
    """
    where = Path(path)
    files = [where] if disk.is_file(where) else record_paths(where)
    records, damaged = read_all(files, read_record)
    if damaged and not (skip_bad and records):
        raise RecordError(_all_of(damaged, len(files))) from damaged[0]
    for error in damaged:
        warnings.warn(f"skipped: {error}", stacklevel=2)
    frame = pd.DataFrame(rows(records))
    if not frame.empty:
        frame["started"] = pd.to_datetime(frame["started"], utc=True)
    return frame


def _all_of(damaged: list[RecordError], count: int) -> str:
    if len(damaged) == 1:
        return str(damaged[0])
    return f"{len(damaged)} of {count} records cannot be read: {'; '.join(map(str, damaged))}"

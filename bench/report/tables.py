"""Results as pandas DataFrames, for notebooks; the only importer of pandas."""

from pathlib import Path

import pandas as pd

from bench.analysis.compare import is_host_limited, measured_rate
from bench.records.record import Reading, Record, read_record
from bench.records.store import record_paths
from bench.report.columns import cell_columns, rate_columns, unit_of


def load_results(path: str | Path = "results") -> pd.DataFrame:
    """Return one row per measurement of a record file, or of every record below a folder.

    Columns: `path`, `started` (UTC), `origin`, `device`, `chip`, `complete` (of the record); `dtype`, `m`, `n`,
    `k`, `fast_accumulate`, `library`, `data`, `regime`, `l2` (of the cell); `seconds_per_call` (median, s),
    `rate`, `rate_lo`, `rate_hi` (per second, with the median's 95 % interval), `unit`, `cycles_per_call` and
    `sm_clock_hz` (medians), `host_limited` (the host set the rate, so that it says nothing of the chip),
    `samples`, `stop`, `passed`. A value that does not exist is NaN or None.

    Raises RecordError if a file is damaged (nothing is skipped) or no record is there.
    """
    where = Path(path)
    files = [where] if where.is_file() else record_paths(where)
    records = [read_record(file) for file in files]
    frame = pd.DataFrame([_row(record, reading) for record in records for reading in record.readings])
    if not frame.empty:
        frame["started"] = pd.to_datetime(frame["started"], utc=True)
    return frame


def _row(record: Record, reading: Reading) -> dict[str, object]:
    cell = reading.cell
    return {
        "path": str(record.path),
        "started": record.header.started,
        "origin": record.header.origin,
        "device": record.header.device.name,
        "chip": record.header.device.chip,
        "complete": record.complete,
        **cell_columns(cell),
        "l2": cell.l2,
        "seconds_per_call": reading.summary.median if reading.summary else None,
        **rate_columns(measured_rate(reading)),
        "unit": unit_of(cell),
        "cycles_per_call": reading.cycles.median if reading.cycles else None,
        "sm_clock_hz": reading.sm_clock_hz,
        "host_limited": is_host_limited(reading),
        "samples": reading.summary.n if reading.summary else 0,
        "stop": reading.stop,
        "passed": reading.passed,
    }

"""Measurements for other programs: one flat row each, as CSV and JSON, in base units."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.analysis.estimates import is_host_limited, measured_rate
from bench.devices.base import Caveat
from bench.records.record import Header, Reading, Record
from bench.report.columns import cell_columns, rate_columns
from bench.report.formats import csv, json
from bench.version import VERSION


def rows(records: Iterable[Record]) -> list[dict[str, object]]:
    """Return one row a measurement, with the columns that `bench.load_results` documents; None for what is not."""
    return [
        {**_of_record(record), **_of_reading(reading), **_surroundings(record.header, reading)}
        for record in records
        for reading in record.readings
    ]


def as_csv(records: Iterable[Record]) -> str:
    """Return the rows as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    return csv.table(rows(map(_for_others, records)))


def as_json(records: Iterable[Record]) -> str:
    """Return the rows as a JSON document with its schema number; null for what is missing."""
    return json.text({"tool": VERSION, "measurements": rows(map(_for_others, records))})


def _for_others(record: Record) -> Record:
    """Return the record by its name in its results folder: where that lies may name a user."""
    name, folder = record.path.name, record.header.device.folder
    return record._replace(path=Path(folder, name) if record.path.parent.name == folder else Path(name))


def warning_codes(header: Header, warnings: Sequence[Caveat]) -> str:
    """Return the codes of a record's warnings and of a measurement's, each once, joined by a space."""
    return " ".join(dict.fromkeys(one.code for one in (*header.warnings, *warnings)))


def _of_record(record: Record) -> dict[str, object]:
    header = record.header
    return {
        "path": str(record.path),
        "record": header.id,
        "started": header.started,
        "origin": header.origin,
        "device": header.device.name,
        "chip": header.device.chip,
        "complete": record.complete,
        "process": header.process.index if header.process else None,
        "group": header.process.group if header.process else None,
    }


def _of_reading(reading: Reading) -> dict[str, object]:
    cell, summary = reading.cell, reading.summary
    return {
        "cell": cell.key,
        **cell_columns(cell),
        "l2": cell.l2,
        "flop": cell.flop or None,
        "bytes_moved": cell.bytes_moved or None,
        "seconds_per_call": summary.median if summary else None,
        **rate_columns(measured_rate(reading)),
        "unit": cell.rate_unit,
        "cycles_per_call": reading.cycles_per_call,
        "sm_clock_hz": reading.sm_clock_hz,
        "host_limited": is_host_limited(reading),
        "samples": summary.n if summary else 0,
        "stop": reading.stop,
        "passed": reading.passed,
    }


def _surroundings(header: Header, reading: Reading) -> dict[str, object]:
    power = reading.telemetry.power_w if reading.telemetry else None
    return {
        "power_w": power.median if power else None,
        "power_limit_w": header.power_limit_w,
        "driver": header.environment.versions.get("driver"),
        "warnings": warning_codes(header, reading.warnings),
    }

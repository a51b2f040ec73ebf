"""Records as a document of pytest-benchmark, one benchmark a measured cell, for `pytest-benchmark compare`."""

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any, Final

from bench.analysis.estimates import measured_rate
from bench.measure.measurement import Measurement
from bench.records.record import Header, Lines, reduce
from bench.report.columns import cell_columns, rate_columns
from bench.report.exported import warning_codes
from bench.workloads.base import USUAL, Cell

LAYOUT: Final = "5.3.1"  # the version of pytest-benchmark whose document this is
_USUAL: Final = {**USUAL, "l2": "rotate"}
_FENCE: Final = 1.5  # Tukey's: in interquartile ranges beyond the quartiles


def as_pytest_benchmark(records: Sequence[Lines]) -> str:
    """Return the document of `document` as JSON text."""
    return json.dumps(document(records), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document(records: Sequence[Lines]) -> dict[str, Any]:
    """Return what pytest-benchmark would have saved, had it run the cells that passed. Nothing names a host."""
    headers = [record.header for record in records]
    return {
        "machine_info": {"machines": _distinct([_machine(header) for header in headers])},
        "commit_info": {
            "id": "unversioned",
            "time": None,
            "author_time": None,
            "dirty": False,
            "project": "chipbench",
            "branch": "(unknown)",
            "chipbench": _distinct([header.tool for header in headers]),
        },
        "benchmarks": _benchmarks(records),
        "datetime": max((header.taken for header in headers), default=None),
        "version": LAYOUT,
    }


def failed(records: Sequence[Lines]) -> int:
    """Return how many cells were measured but did not pass, and so are in no document."""
    return sum(not reduce(one).passed for record in records for one in record.measurements)


def statistics_of(seconds: Sequence[float]) -> dict[str, Any]:
    """Return every statistic of at least one sample as pytest-benchmark defines it, and the samples themselves."""
    ordered, count, total = sorted(seconds), len(seconds), sum(seconds)
    centre, spread = mean(seconds), stdev(seconds) if count > 1 else 0
    q1, q3 = _quartiles(ordered)
    low, high = q1 - _FENCE * (q3 - q1), q3 + _FENCE * (q3 - q1)
    far = _beyond(ordered, centre - spread, centre + spread)
    farther = _beyond(ordered, low, high)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": centre,
        "stddev": spread,
        "rounds": count,
        "median": median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": farther,
        "stddev_outliers": far,
        "outliers": f"{far};{farther}",
        "ld15iqr": ordered[bisect_left(ordered, low)],
        "hd15iqr": ordered[bisect_right(ordered, high) - 1],
        "ops": count / total,
        "total": total,
        "data": list(seconds),
    }


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the quartiles: of an even number of samples the halves' medians, of an odd one interpolated."""
    count = len(ordered)
    if count == 1:
        return ordered[0], ordered[0]
    n, rest = divmod(count, 4)
    if rest == 1:
        return (
            0.25 * ordered[n - 1] + 0.75 * ordered[n],
            0.75 * ordered[3 * n] + 0.25 * ordered[3 * n + 1],
        )
    if rest == 3:
        return (
            0.75 * ordered[n] + 0.25 * ordered[n + 1],
            0.25 * ordered[3 * n + 1] + 0.75 * ordered[3 * n + 2],
        )
    return median(ordered[: count // 2]), median(ordered[count // 2 :])


def _beyond(ordered: Sequence[float], low: float, high: float) -> int:
    return bisect_left(ordered, low) + len(ordered) - bisect_right(ordered, high)


def _benchmarks(records: Sequence[Lines]) -> list[dict[str, Any]]:
    passed = [(record.header, one) for record in records for one in record.measurements if reduce(one).passed]
    params = _params([(header, one.cell) for header, one in passed])
    return [_benchmark(header, one, param) for (header, one), param in zip(passed, params, strict=True)]


def _benchmark(header: Header, one: Measurement, param: str) -> dict[str, Any]:
    cell = one.cell
    name = f"{cell.operation}[{param}]"
    statistics = statistics_of(one.samples.seconds_per_call)
    return {
        "group": cell.label,
        "name": name,
        "fullname": f"{header.device.folder}::{name}",
        "params": {**cell_columns(cell), "l2": cell.l2},
        "param": param,
        "extra_info": _extra(header, one),
        "options": {},
        "stats": {**statistics, "iterations": one.calls_per_block},
    }


def _extra(header: Header, one: Measurement) -> dict[str, Any]:
    return {
        **rate_columns(measured_rate(reduce(one))),
        "unit": one.cell.rate_unit,
        "device": header.device.name,
        "chip": header.device.chip,
        "origin": header.origin,
        "cell": one.cell.key,
        "warnings": warning_codes(header, one.warnings),
        "record": header.id,
        "started": header.started,
    }


def _params(measured: Sequence[tuple[Header, Cell]]) -> list[str]:
    """Return what tells the benchmarks of a document apart: the cell, and where that is not enough the process.

    Records of several runs of one process each are told apart by their ids.
    """
    texts = [_text(cell) for _, cell in measured]
    for more in (_process, _id):
        count = Counter((header.device.folder, text) for (header, _), text in zip(measured, texts, strict=True))
        texts = [
            f"{text}-{more(header)}" if count[header.device.folder, text] > 1 else text
            for (header, _), text in zip(measured, texts, strict=True)
        ]
    return texts


def _process(header: Header) -> str:
    return f"process{header.process.index}" if header.process else header.id


def _id(header: Header) -> str:
    return header.id


def _text(cell: Cell) -> str:
    """Return a cell as short as it can be told from every other: what is usual in it goes without saying."""
    types = [part for part in (cell.input, cell.compute, cell.output) if part]
    dtype = cell.dtype_name if cell.dtype else "_".join([cell.operation, *types])
    shape = f"{cell.shape.m}x{cell.shape.n}x{cell.shape.k}" if cell.shape else cell.elements and str(cell.elements)
    unusual = [getattr(cell, name) for name, usual in _USUAL.items() if getattr(cell, name) != usual]
    parts = [dtype, shape, cell.library, "fast" if cell.fast_accumulate else None, *unusual]
    parts += [
        cell.peer_text.replace(" ", "") or None,
        f"v{cell.version}" if cell.version > 1 else None,
    ]
    return "-".join(part for part in parts if part)


def _machine(header: Header) -> Mapping[str, Any]:
    device, environment = header.device, header.environment
    known = ("kind", "name", "chip", "compute_capability", "sm_count", "memory_bytes", "l2_bytes")
    return {
        **{name: getattr(device, name) for name in known},
        "versions": environment.versions,
        "settings": environment.settings,
        "flagged": environment.flagged,
    }


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]

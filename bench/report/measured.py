"""The view of a run: each cell's rate with its interval, against published peaks; and the list of records."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from bench.analysis.compare import Estimate, is_above_peak, pooled_cells, published_peak, ratio
from bench.published.chips import Chip
from bench.records.record import Header, Reading
from bench.report.columns import peak_text, rate_columns, shape_columns, unit_of
from bench.report.view import Column, View, percent
from bench.report.wording import failure, sentence
from bench.units import format_si
from bench.workloads.base import Cell

_ORIGINS: Final = {"measured": "Measured here", "replayed": "Replayed", "simulated": "Simulated"}
# The versions that the title shows, with what stands before them; the BLAS's own text begins with its name.
_SHOWN_VERSIONS: Final = {"driver": "driver", "cuda": "CUDA", "cupy": "CuPy", "numpy": "NumPy", "blas": ""}
_OF_BLOCKS: Final = "The interval is that of the median of all blocks."
_OF_PROCESSES: Final = "The rate is the median of the processes' rates, and the interval spans all of theirs."


class Run(NamedTuple):
    """What there is to show of a run: one list of readings per process, in the files `paths`."""

    header: Header
    processes: Sequence[Sequence[Reading]]
    paths: Sequence[str]
    seconds: float
    interrupted: bool


def run_view(run: Run, own_chip: Chip | None, context: Sequence[Chip]) -> View:
    """Return the view of a run; `own_chip` is the device's own, `context` the chips that every run is held to."""
    rates = pooled_cells(run.processes)
    readings = {reading.cell: reading for readings in reversed(run.processes) for reading in reversed(readings)}
    shown = [cell for cell in run.header.plan.cells if cell in readings]
    against = [*([own_chip] if own_chip else []), *(chip for chip in context if chip != own_chip)]
    heads = ["its published peak" if chip is own_chip else chip.id for chip in against]
    return View(
        title=_title(run),
        columns=[
            Column("dtype"),
            Column("shape"),
            Column("rate", "right"),
            Column("95 % interval"),
            *(Column(f"of {head}") for head in heads),
        ],
        rows=[_row(cell, rates.get(cell), readings[cell], against) for cell in shown],
        records=[_record(run, cell, rates.get(cell), readings[cell]) for cell in shown],
        document=_document(run, rates, readings, shown, against),
        notes=_notes(run, rates, shown, own_chip),
    )


def _title(run: Run) -> str:
    header = run.header
    versions, settings = header.environment.versions, header.environment.settings
    parts = [f"{label} {versions[name]}".strip() for name, label in _SHOWN_VERSIONS.items() if name in versions]
    if "blas_threads" in settings:
        parts.append(f"{settings['blas_threads']} threads")
    when = header.started.replace("T", " ").removesuffix("Z")
    source = f" from record {header.replay_of}" if header.replay_of else ""
    return f"{_ORIGINS[header.origin]}{source}, {when} UTC: {header.device.name} ({', '.join(parts)})"


def _row(cell: Cell, rate: Estimate | None, reading: Reading, against: Sequence[Chip]) -> list[str]:
    dtype = cell.dtype
    head = [cell.dtype_name, str(cell.shape)]
    if rate is None or dtype is None:
        return [*head, "no rate", failure(reading) or "", *("" for _ in against)]
    return [
        *head,
        format_si(rate.rate, dtype.rate_label),
        _interval(rate, reading),
        *(_share(rate, published_peak(chip, dtype), cell) for chip in against),
    ]


def _interval(rate: Estimate, reading: Reading) -> str:
    if rate.half_width is None:
        count = reading.summary.n if reading.summary else 0
        return f"none ({count} blocks)"
    why = {"time_cap": " (time cap)", "exhausted": " (no more blocks)"}.get(reading.stop, "")
    processes = f" ({rate.processes} processes)" if rate.processes > 1 else why
    return f"±{percent(rate.half_width, 2)}{processes}"


def _share(rate: Estimate, peak: Estimate | None, cell: Cell) -> str:
    if peak is None or peak.figure is None:
        return ""
    return f"{percent(ratio(rate, peak).value)} of {peak_text(peak.figure, cell)}"


def _notes(run: Run, rates: Mapping[Cell, Estimate], shown: Sequence[Cell], own_chip: Chip | None) -> list[str]:
    notes = [sentence(caveat) for caveat in run.header.warnings]
    several = len(run.processes) > 1
    means = _OF_PROCESSES if several else _OF_BLOCKS
    notes.append(f"Held against published dense peaks. {means}")
    for number, readings in enumerate(run.processes, start=1):
        for reading in readings:
            where = reading.cell.label + (f", process {number}" if several else "")
            if not reading.passed:
                notes.append(f"{where}: {failure(reading)}; kept in the record, used in no ratio")
            notes += [f"{where}: {sentence(caveat)}" for caveat in reading.warnings]
    capped = [r.cell.label for readings in run.processes for r in readings if r.stop == "time_cap"]
    if capped:
        target = percent(run.header.policy.target, 1)
        names = ", ".join(dict.fromkeys(capped))
        notes.append(f"{names}: sampling ended at the time cap, before ±{target} was reached")
    notes += _above_peak(rates, own_chip)
    missing = len(run.header.plan.cells) - len(shown)
    if missing:
        notes.append(f"interrupted: {missing} of {len(run.header.plan.cells)} cells are missing")
    return notes


def _above_peak(rates: Mapping[Cell, Estimate], own_chip: Chip | None) -> list[str]:
    found = []
    for cell, rate in rates.items():
        peak = published_peak(own_chip, cell.dtype) if own_chip and cell.dtype else None
        if peak is not None and is_above_peak(ratio(rate, peak)):
            found.append(
                f"{cell.label}: above the published peak, which needs explaining: a clock over the sheet's, "
                "predictable data, a lower accumulate precision, or another product than assumed"
            )
    return found


def _record(run: Run, cell: Cell, rate: Estimate | None, reading: Reading) -> dict[str, Any]:
    summary = reading.summary
    return {
        "origin": run.header.origin,
        "device": run.header.device.name,
        **shape_columns(cell),
        "library": cell.library,
        **rate_columns(rate),
        "unit": unit_of(cell),
        "samples": summary.n if summary else 0,
        "processes": rate.processes if rate else 0,
        "stop": reading.stop,
        "passed": reading.passed,
    }


def _document(
    run: Run,
    rates: Mapping[Cell, Estimate],
    readings: Mapping[Cell, Reading],
    shown: Sequence[Cell],
    against: Sequence[Chip],
) -> dict[str, Any]:
    header = run.header
    return {
        "origin": header.origin,
        "device": {"name": header.device.name, "kind": header.device.kind, "chip": header.device.chip},
        "backend": header.backend,
        "tool": header.tool,
        "started": header.started,
        "seconds": round(run.seconds, 3),
        "interrupted": run.interrupted,
        "records": list(run.paths),
        "measurements": [_measurement(run, cell, rates.get(cell), readings[cell], against) for cell in shown],
        "warnings": [{"code": w.code, "values": dict(w.values)} for w in header.warnings],
    }


def _measurement(
    run: Run, cell: Cell, rate: Estimate | None, reading: Reading, against: Sequence[Chip]
) -> dict[str, Any]:
    compared = []
    for chip in against:
        peak = published_peak(chip, cell.dtype) if cell.dtype else None
        if rate is None or peak is None or peak.figure is None:
            continue
        own = chip.id == run.header.device.chip
        compared.append(
            {
                "chip": chip.id,
                "own": own,
                "figure": peak.figure.name,
                "published": peak.rate,
                "share": ratio(rate, peak).value,
            }
        )
    return {
        **_record(run, cell, rate, reading),
        "cell": cell.key,
        "half_width": rate.half_width if rate else None,
        "against": compared,
        "failure": failure(reading),
        "warnings": [{"code": w.code, "values": dict(w.values)} for w in reading.warnings],
    }

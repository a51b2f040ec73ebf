"""The view of a run: each cell's rate with its interval, against the published peaks of its chip and of others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bench.analysis.estimates import (
    Estimate,
    Ratio,
    over_processes,
    peak_at_clock,
    pooled_cells,
    pooled_watts,
    published_peak,
    ratio,
)
from bench.analysis.steps import InUse, measured_in_use
from bench.devices.base import Telemetry
from bench.published.chips import Chip
from bench.published.models import Model
from bench.records.record import Header, Reading
from bench.report.columns import (
    HOST_LIMITED,
    KINDS,
    cell_columns,
    cell_texts,
    error_text,
    peak_text,
    rate_columns,
    ratio_columns,
    ratio_text,
)
from bench.report.measured_notes import notes
from bench.report.steps import with_steps
from bench.report.view import Column, View, percent
from bench.report.wording import failure
from bench.units import format_si
from bench.workloads.base import Cell

# The versions that the title shows, with what stands before them; the BLAS's own text begins with its name.
_GPU_VERSIONS: Final = {"driver": "driver", "cuda": "CUDA", "cupy": "CuPy", "cublaslt": "cublasLt"}
_CPU_VERSIONS: Final = {"numpy": "NumPy", "blas": ""}


class Run(NamedTuple):
    """What there is to show of a run: one list of readings per process, in the files `paths`.

    With `best_only`, of the libraries that computed the same cell the fastest is shown. `model` is the one whose
    products were measured.
    """

    header: Header
    processes: Sequence[Sequence[Reading]]
    paths: Sequence[str]
    seconds: float
    interrupted: bool
    best_only: bool = False
    model: Model | None = None

    def products(self, cell: Cell) -> str:
        """Return what of the model a product is, as 'o' or 'q_a'; nothing without a model."""
        if self.model is None or cell.shape is None:
            return ""
        of = [one for one in self.model.matmuls if (one.n, one.k) == (cell.shape.n, cell.shape.k)]
        return ", ".join(dict.fromkeys(one.name for one in of))


class Shown(NamedTuple):
    """A cell of the table: its rate, pooled over processes, and their readings of it, at least one.

    `reading`, the first, stands for what is the same in all: why it has no rate, how it was computed.
    """

    cell: Cell
    rate: Estimate | None
    readings: tuple[Reading, ...]
    best: bool

    @property
    def reading(self) -> Reading:
        """The first process's."""
        return self.readings[0]

    @property
    def sm_clock_hz(self) -> float | None:
        """The clock that was held, in Hz: the geometric mean over processes, as the rate is."""
        return over_processes(reading.sm_clock_hz for reading in self.readings if reading.passed)

    @property
    def cycles_per_call(self) -> float | None:
        """Clock cycles of a call: likewise."""
        return over_processes(reading.cycles_per_call for reading in self.readings if reading.passed)

    @property
    def host_limited(self) -> bool:
        """Whether the host, not the device, set the rate, so that it says nothing of a chip."""
        return self.rate is not None and self.rate.host_limited


def run_view(run: Run, own_chip: Chip | None, context: Sequence[Chip]) -> View:
    """Return the view of a run; `own_chip` is the device's own, `context` the chips that every run is held to."""
    found = _found(run)
    shown = [one for one in found if one.best or not run.best_only]
    against = [*([own_chip] if own_chip else []), *(chip for chip in context if chip != own_chip)]
    columns = _columns(run, shown, own_chip, against)
    view = View(
        title=_title(run),
        columns=[column for column, _ in columns],
        rows=[[texts[index] for _, texts in columns] for index in range(len(shown))],
        records=[{**_record(run, one), **to} for one, to in zip(shown, _ratios(shown), strict=True)],
        document=_document(run, found, own_chip, against),
        notes=notes(
            run.header,
            run.processes,
            {one.cell: one.rate for one in shown},
            {one.cell: one.sm_clock_hz for one in shown},
            own_chip,
        ),
    )
    return view if run.model is None else with_steps(view, run.model, _in_use(run, run.model, shown))


def _in_use(run: Run, model: Model, shown: Sequence[Shown]) -> InUse:
    """Return the steps of a model as this run measured them."""
    device = run.header.device
    rates = {one.cell: one.rate for one in shown if one.rate is not None}
    return measured_in_use(
        model, device.chip or device.name, run.header.origin, rates, pooled_watts(run.processes)
    )


def _found(run: Run) -> list[Shown]:
    """Return every measured cell in the plan's order; the best of equal cells is the fastest library's."""
    rates = pooled_cells(run.processes)
    readings: dict[Cell, list[Reading]] = {}
    for process in run.processes:
        for reading in process:
            readings.setdefault(reading.cell, []).append(reading)
    cells = [cell for cell in run.header.plan.cells if cell in readings]
    best: dict[Cell, Cell] = {}
    for cell in cells:
        same = msgspec.structs.replace(cell, library=None)
        rate, other = rates.get(cell), rates.get(best.get(same, cell))
        if same not in best or (rate is not None and (other is None or rate.rate > other.rate)):
            best[same] = cell
    chosen = set(best.values())
    return [Shown(cell, rates.get(cell), tuple(readings[cell]), cell in chosen) for cell in cells]


def _columns(
    run: Run, shown: Sequence[Shown], own_chip: Chip | None, against: Sequence[Chip]
) -> list[tuple[Column, list[str]]]:
    """Return each column with its texts; those that have nothing to say here are left out."""
    columns = [
        *([(Column("product", width=30), [run.products(one.cell) for one in shown])] if run.model else []),
        *cell_texts([one.cell for one in shown]),
        (Column("rate", "right"), [_rate(one) for one in shown]),
        (Column("95 % interval"), [_interval(one) for one in shown]),
    ]
    if len({one.cell.data for one in shown}) > 1:
        columns.append((Column("÷ normal", "right"), [ratio_text(one) for one in _to_normal(shown)]))
    if any(one.sm_clock_hz for one in shown):
        columns.append((Column("clock", "right"), [_clock(one) for one in shown]))
    for chip in against:
        head = "of its published peak" if chip is own_chip else f"of {chip.id}"
        columns.append((Column(head), [_share(one, chip) for one in shown]))
        at_clock = [_share_at_clock(one, chip) for one in shown] if chip is own_chip else []
        if any(at_clock):
            columns.append((Column("at the clock held", "right"), at_clock))
    return columns


def _title(run: Run) -> str:
    header = run.header
    versions, settings = header.environment.versions, header.environment.settings
    labels = _GPU_VERSIONS if header.device.kind == "gpu" else _CPU_VERSIONS
    parts = [f"{label} {versions[name]}".strip() for name, label in labels.items() if name in versions]
    if "blas_threads" in settings:
        parts.append(f"{settings['blas_threads']} threads")
    source = f" from record {header.replay_of}" if header.replay_of else ""
    chip = f" = {header.device.chip}" if header.device.chip else ""
    origin = KINDS[header.origin].capitalize()
    return f"{origin}{source}, {header.taken_text} UTC: {header.device.name}{chip} ({', '.join(parts)})"


def _rate(one: Shown) -> str:
    return format_si(one.rate.rate, one.cell.rate_label) if one.rate is not None else "no rate"


def _interval(one: Shown) -> str:
    rate, reading = one.rate, one.reading
    if rate is None:
        return failure(reading) or ""
    if rate.half_width is None:
        return f"none ({reading.summary.n if reading.summary else 0} blocks)"
    why = {"time_cap": " (time cap)", "exhausted": " (no more blocks)"}.get(reading.stop, "")
    processes = f" ({rate.processes} processes)" if rate.processes > 1 else why
    return f"{error_text(rate)}{processes}"


def _to_normal(shown: Sequence[Shown]) -> list[Ratio | None]:
    """Return each rate over that of the same cell with normal data; None for those themselves."""
    normal = {msgspec.structs.replace(one.cell, data=None): one.rate for one in shown if one.cell.data == "normal"}
    ratios = []
    for one in shown:
        base = normal.get(msgspec.structs.replace(one.cell, data=None))
        known = base is not None and one.rate is not None and one.cell.data != "normal"
        ratios.append(ratio(one.rate, base) if known and one.rate and base else None)
    return ratios


def _ratios(shown: Sequence[Shown]) -> list[dict[str, float | None]]:
    """Return the ratio to normal data of each, with the ends of its interval, as CSV and JSON have it."""
    return [ratio_columns(to, "to_normal") for to in _to_normal(shown)]


def _clock(one: Shown) -> str:
    return format_si(one.sm_clock_hz, "Hz") if one.sm_clock_hz else ""


def _share(one: Shown, chip: Chip) -> str:
    peak = published_peak(chip, one.cell.figures)
    if one.rate is None or peak is None or peak.figure is None:
        return ""
    if one.host_limited:
        return HOST_LIMITED
    return f"{percent(ratio(one.rate, peak).value)} of {peak_text(peak.figure, one.cell)}"


def _at_clock(one: Shown, chip: Chip) -> Estimate | None:
    clock = one.sm_clock_hz
    if clock is None or one.rate is None or one.host_limited:
        return None
    return peak_at_clock(chip, one.cell.figures, clock)


def _share_at_clock(one: Shown, chip: Chip) -> str:
    peak = _at_clock(one, chip)
    return percent(ratio(one.rate, peak).value) if peak is not None and one.rate is not None else ""


def _record(run: Run, one: Shown) -> dict[str, Any]:
    cell = one.cell
    return {
        "origin": run.header.origin,
        "device": run.header.device.name,
        **({"product": run.products(cell)} if run.model else {}),
        **cell_columns(cell),
        **rate_columns(one.rate),
        "unit": cell.rate_unit,
        "sm_clock_hz": one.sm_clock_hz,
        "cycles_per_call": one.cycles_per_call,
        "host_limited": one.host_limited,
        "samples": sum(reading.summary.n for reading in one.readings if reading.summary),
        "processes": one.rate.processes if one.rate else 0,
        "stop": one.reading.stop,
        "passed": one.reading.passed,
    }


def _document(run: Run, found: Sequence[Shown], own_chip: Chip | None, against: Sequence[Chip]) -> dict[str, Any]:
    header = run.header
    return {
        "origin": header.origin,
        "device": {
            "name": header.device.name,
            "kind": header.device.kind,
            "chip": header.device.chip,
            "identified_by": header.device.identified_by,
        },
        "backend": header.backend,
        "workload": header.plan.workload,
        "model": header.plan.model,
        "tool": header.tool,
        "started": header.taken,
        "seconds": round(run.seconds, 3),
        "interrupted": run.interrupted,
        "records": list(run.paths),
        "measurements": [
            _measurement(run, one, own_chip, against) | to for one, to in zip(found, _ratios(found), strict=True)
        ],
        "warnings": [{"code": w.code, "values": dict(w.values)} for w in header.warnings],
    }


def _measurement(run: Run, one: Shown, own_chip: Chip | None, against: Sequence[Chip]) -> dict[str, Any]:
    """Return a measurement as JSON has it: of every library, `best` marks the one that the table shows."""
    reading, telemetry = one.reading, one.reading.telemetry
    peak = _at_clock(one, own_chip) if own_chip else None
    return {
        **_record(run, one),
        "best": one.best,
        "cell": one.cell.key,
        "half_width": one.rate.half_width if one.rate else None,
        "against": [compared for chip in against for compared in _compared(one, chip, own=chip is own_chip)],
        "at_clock": {"figure": peak.figure and peak.figure.name, "peak": peak.rate, "share": _part(one, peak)}
        if peak
        else None,
        "algorithm": dict(reading.algorithm),
        "telemetry": _telemetry(telemetry) if telemetry else None,
        "failure": failure(reading),
        "warnings": [{"code": w.code, "values": dict(w.values)} for w in reading.warnings],
    }


def _compared(one: Shown, chip: Chip, *, own: bool) -> list[Mapping[str, Any]]:
    peak = published_peak(chip, one.cell.figures)
    if peak is None or one.rate is None or one.host_limited:
        return []
    figure = peak.figure.name if peak.figure else None
    return [{"chip": chip.id, "own": own, "figure": figure, "published": peak.rate, "share": _part(one, peak)}]


def _part(one: Shown, peak: Estimate) -> float | None:
    return ratio(one.rate, peak).value if one.rate is not None else None


def _telemetry(telemetry: Telemetry) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(telemetry)
    return content

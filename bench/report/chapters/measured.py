"""The chapter of what was measured here: the table of every run, with its warnings and what sensors said."""

from collections.abc import Sequence
from typing import Final

from bench.analysis.gathered import GatheredDevice, GatheredRun
from bench.errors import impersonal
from bench.published.models import Model
from bench.records.record import Header
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import published, run_name, sections_of
from bench.report.columns import KINDS
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.measured import Run, run_view
from bench.report.plots.layout import listed
from bench.report.view import Section, View

_NAME: Final = "measured"
_TITLE: Final = "What was measured here"
_NOTHING: Final = (
    "Nothing was measured here, or no record of it was named. 'chipbench run' measures this machine, a GPU in "
    "about a minute, and 'chipbench report' then shows what came out."
)
_UNREADABLE: Final = "None of the records here could be read, so nothing that was measured is shown."
_HOW: Final = (
    "Each rate is the median over blocks of calls, with its 95 % interval, as a share of what was published: "
    "of the dense peak, and, where the clock was counted, of the peak at the clock that was held."
)


def chapter(material: Material, references: References) -> Chapter:
    """Return one table a run, device by device."""
    devices = material.measured.devices
    skipped = [f"skipped: {error}" for error in material.measured.damaged]
    notes = [*map(impersonal, [*skipped, *material.measured.notes, *material.notes])]
    if not devices:
        return Chapter(
            _NAME, _TITLE, lead=[_UNREADABLE if skipped else _NOTHING, *notes], document={"devices": []}
        )
    views = [[(run, _view(run, device, material)) for run in device.runs] for device in devices]
    return Chapter(
        name=_NAME,
        title=_title(devices),
        lead=[_HOW, *notes],
        sections=[
            section
            for device, runs in zip(devices, views, strict=True)
            for run, view in runs
            for section in _sections(device, run, view, references)
        ],
        document={
            "devices": [
                {"device": device.side.label, "runs": [view.document for _, view in runs]}
                for device, runs in zip(devices, views, strict=True)
            ]
        },
    )


def _title(devices: Sequence[GatheredDevice]) -> str:
    return f"What was {listed([*dict.fromkeys(KINDS[device.side.kind] for device in devices)])}"


def _view(run: GatheredRun, device: GatheredDevice, material: Material) -> View:
    seconds = sum(lines.footer.seconds for lines in run.processes if lines.footer is not None)
    shown = Run(
        header=run.header,
        processes=[record.readings for record in run.records],
        paths=[path.name for path in run.paths],
        seconds=seconds,
        interrupted=not all(record.complete for record in run.records),
        best_only=True,
        model=_model(run.header, material),
    )
    # Beside its own chip's figures those of another say nothing of it; a device without any has all of them.
    return run_view(shown, device.side.chip, [] if device.side.chip else material.chips)


def _model(header: Header, material: Material) -> Model | None:
    return next((one.model for one in material.models if one.model.id == header.plan.model), None)


def _sections(device: GatheredDevice, run: GatheredRun, view: View, references: References) -> list[Section]:
    """Return a run's tables, with what it was and where its record lies."""
    first, *more = sections_of(view, f"{device.side.label}, {run_name(run, device)}")
    cells = run.header.plan.cells
    peaks = [device.side.chip.first_known(cell.figures) for cell in cells] if device.side.chip else []
    names = [path.name for path in run.paths]
    record = f"record {names[0]}" if len(names) == 1 else f"{len(names)} records, {names[0]} the first of them"
    return [first._replace(lead=[f"{view.title}; {record}.", *published(peaks, references)]), *more]

"""Views of published figures: the list of chips, chips side by side, and every source."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from bench.published.chips import Chip
from bench.published.figures import FIGURES, Alternative, Figure, Value
from bench.published.source import Source
from bench.report.view import Column, View, significant
from bench.units import grouped

MARKS: Final = MappingProxyType(
    {"vendor": "v", "device": "d", "paper": "p", "analyst": "a", "reseller": "r", "derived": "=", "official": "o"}
)
LEGEND: Final = (
    "Source of a figure: v vendor, d device print-out, p paper, a analyst or press, r reseller, = derived; "
    "* sources disagree; ? nobody published it; 'none': the chip has no such thing. "
    "'chipbench chips CHIP --sources' lists them all."
)
_DENSE: Final = "Rates are dense peaks (no sparsity). NVLink counts both directions together."
# What the list of all chips shows.
_OVERVIEW: Final = ("bf16", "fp8", "memory_size", "memory_bandwidth", "nvlink", "tdp", "launched")


def overview(chips: Sequence[Chip]) -> View:
    """Return one row a chip: the figures that tell the family apart, and what it was cut from."""
    heads = [_head(name, chips) for name in _OVERVIEW]
    return View(
        title=f"{len(chips)} chips and what is published for them",
        columns=[Column("chip"), *(Column(head, "right") for head in heads), Column("cut from")],
        rows=[
            [
                chip.id,
                *(figure_text(chip.figures.get(name), common_unit(name, chips)) for name in _OVERVIEW),
                chip.cut_from or "",
            ]
            for chip in chips
        ],
        records=[record for chip in chips for record in _records(chip)],
        document={"chips": [_document(chip) for chip in chips]},
        notes=[LEGEND, _DENSE],
    )


def side_by_side(chips: Sequence[Chip]) -> View:
    """Return one row a figure and one column a chip, each with its ratio to the first chip."""
    first = chips[0]
    columns = [Column("figure"), Column("unit"), Column(first.id, "right")]
    for chip in chips[1:]:
        columns += [Column(chip.id, "right"), Column("ratio", "right")]
    rows = []
    for name in FIGURES:
        if not any(name in chip.figures for chip in chips):
            continue
        unit, base = common_unit(name, chips), first.figures.get(name)
        row = [name, unit, figure_text(base, unit)]
        for chip in chips[1:]:
            row += [figure_text(chip.figures.get(name), unit), ratio_text(chip.figures.get(name), base)]
        rows.append(row)
    return View(
        title=" against ".join(chip.name for chip in chips) + ": published figures",
        columns=columns,
        rows=rows,
        records=[record for chip in chips for record in _records(chip)],
        document={"chips": [_document(chip) for chip in chips]},
        notes=[*provenance(chips), *([f"Ratios are to {first.id}."] if len(chips) > 1 else []), LEGEND, _DENSE],
    )


def sources(chips: Sequence[Chip]) -> View:
    """Return one row a published value, alternatives included; the notes are the numbered sources."""
    numbers: dict[Source, int] = {}
    rows, records = [], []
    for chip in chips:
        for figure in chip.figures.values():
            for value, source, note, role in _values(figure):
                text = figure_value(figure, value) if value is not None else figure.status
                mark = f"[{numbers.setdefault(source, len(numbers) + 1)}] {source.grade}" if source else ""
                rows.append([chip.id, figure.name, text, role, mark, note or ""])
                records.append(_record(chip, figure, value, source, role, note))
    return View(
        title="Published figures and where each was published",
        columns=[Column(head) for head in ("chip", "figure", "value", "", "source", "note")],
        rows=rows,
        records=records,
        document={"chips": [_document(chip) for chip in chips]},
        notes=[reference(source, number) for source, number in numbers.items()],
    )


def reference(source: Source, number: int) -> str:
    """Return a numbered source with its address."""
    return f"[{number}] {described(source)} {source.url or ''}".strip()


def described(source: Source) -> str:
    """Return what a source is called, its grade, and how it was read."""
    read = f"; read: {source.seen}" if source.seen else ""
    return f"{source.title} ({source.grade}{read})"


def _values(figure: Figure) -> list[tuple[Value | None, Source | None, str | None, str]]:
    others = [(a.value, a.source, a.note, "alternative") for a in figure.alternatives]
    return [(figure.value, figure.source, figure.note, "figure"), *others]


def provenance(chips: Sequence[Chip]) -> list[str]:
    """Say what each chip was cut from, for whom it was made, and what its file says of itself."""
    lines = []
    for chip in chips:
        cut = f"cut from {chip.cut_from}; " if chip.cut_from else ""
        source = "" if chip.designed_for.source else " (no maker's page found that says so)"
        note = f". {chip.identity.note}" if chip.identity.note else ""
        lines.append(f"{chip.id}: {cut}designed for: {chip.designed_for.value}{source}{note}")
    return lines


def _head(name: str, chips: Sequence[Chip]) -> str:
    unit = common_unit(name, chips)
    return f"{name} {unit}".strip()


def common_unit(name: str, chips: Sequence[Chip]) -> str:
    """Return the unit of the first chip that gives this figure one."""
    units = [figure.unit for chip in chips if (figure := chip.figures.get(name)) is not None and figure.unit]
    return units[0] if units else ""


def figure_value(figure: Figure, value: Value) -> str:
    """Return a value of a figure with its unit, as a sentence has it."""
    text = f"{plain(value)} {figure.unit or ''}".strip()
    return f"generation {plain(value)}" if figure.unit == "generation" else text


def plain(value: Value) -> str:
    """Return a value without its unit, numbers in groups of three digits."""
    return grouped(value) if isinstance(value, Decimal) else str(value)


def figure_text(figure: Figure | None, unit: str) -> str:
    """Return the value with the mark of its source, '39.5 r*', and its own unit if that is not the column's."""
    if figure is None or figure.status == "unknown":
        return "?" if figure is not None else ""
    if figure.value is None:
        return "none"
    mark = MARKS[figure.grade] if figure.grade else ""
    own = f" {figure.unit}" if figure.unit and figure.unit != unit else ""
    return f"{plain(figure.value)}{own} {mark}{'*' if figure.disputed else ''}"


def ratio_text(figure: Figure | None, base: Figure | None) -> str:
    """Return a figure over another chip's; nothing where one of them is no published number."""
    if figure is None or base is None:
        return ""
    values = [figure.in_base_units(figure.value), base.in_base_units(base.value)]
    above, below = values
    if not isinstance(above, int | float) or not isinstance(below, int | float):
        return ""
    return f"{significant(above / below, 3)}×"


def _records(chip: Chip) -> list[dict[str, Any]]:
    return [
        _record(chip, figure, figure.value, figure.source, "figure", figure.note)
        for figure in chip.figures.values()
    ]


def _record(
    chip: Chip, figure: Figure, value: Value | None, source: Source | None, role: str, note: str | None
) -> dict[str, Any]:
    return {
        "chip": chip.id,
        "figure": figure.name,
        "status": figure.status,
        "role": role,
        "value": figure.in_base_units(value),
        "unit": figure.base_unit,
        "dense": figure.dense,
        "accumulate": figure.accumulate,
        "grade": source.grade if source else None,
        "source_title": source.title if source else None,
        "source_url": source.url if source else None,
        "note": note,
    }


def _document(chip: Chip) -> dict[str, Any]:
    """Return a chip for JSON: figures that were published, and the names of those that were not."""
    by_status: dict[str, list[str]] = {"unknown": [], "inapplicable": []}
    for figure in chip.figures.values():
        if figure.status != "known":
            by_status[figure.status].append(figure.name)
    designed = chip.designed_for
    return {
        "id": chip.id,
        "name": chip.name,
        "cut_from": chip.cut_from,
        "designed_for": designed.value,
        "designed_for_source": _source(designed.source) if designed.source else None,
        "identity": {
            "pci_device_ids": list(chip.identity.pci_device_ids),
            "sm_count": chip.identity.sm_count,
            "memory_gb": chip.identity.memory_gb,
        },
        "figures": {
            f.name: _figure(f, f.source) for f in chip.figures.values() if f.source and f.value is not None
        },
        **by_status,
    }


def _figure(figure: Figure, source: Source) -> dict[str, Any]:
    return {
        "value": figure.in_base_units(figure.value),
        "unit": figure.base_unit,
        "dense": figure.dense,
        "accumulate": figure.accumulate,
        "source": _source(source),
        "grade": source.grade,
        "note": figure.note,
        "alternatives": [_alternative(figure, alternative) for alternative in figure.alternatives],
    }


def _alternative(figure: Figure, alternative: Alternative) -> Mapping[str, Any]:
    return {
        "value": figure.in_base_units(alternative.value),
        "source": _source(alternative.source),
        "grade": alternative.source.grade,
        "note": alternative.note,
    }


def _source(source: Source) -> dict[str, str | None]:
    return {"title": source.title, "url": source.url, "seen": source.seen}

"""The chapter of published figures: chips side by side, each with its source, and where sources disagree."""

from collections.abc import Iterator
from typing import Final

from bench.published.chips import Chip
from bench.published.figures import FIGURES, Figure
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import cited, mark_of, short_names
from bench.report.chips import common_unit, figure_value, plain, provenance, ratio_text, side_by_side
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.view import Column, Section

_NOTE: Final = (
    "* sources disagree; ? nobody published it; 'none': the chip has no such thing. NVLink counts both directions "
    "together."
)


def chapter(material: Material, references: References) -> Chapter:
    """Return the chips that the report is about, side by side."""
    view = side_by_side(material.chips)
    sections = [_side_by_side(material, references)._replace(records=view.records)]
    disputed = _disputed(material, references)
    return Chapter(
        name="chips",
        title="What is published of these chips",
        lead=["The number behind a figure is that of its source. Rates are dense peaks, without sparsity."],
        sections=[*sections, disputed] if disputed.rows else sections,
        document=view.document,
    )


def _side_by_side(material: Material, references: References) -> Section:
    chips = material.chips
    names = short_names(chips)
    columns = [Column("figure"), Column("unit"), Column(names[chips[0].id], "right")]
    for chip in chips[1:]:
        columns += [Column(names[chip.id], "right"), Column(f"÷ {names[chips[0].id]}", "right")]
    rows = [_row(name, chips, references) for name in FIGURES if any(name in chip.figures for chip in chips)]
    return Section("Side by side", columns, rows, notes=[*provenance(chips), _NOTE])


def _row(name: str, chips: tuple[Chip, ...], references: References) -> list[str]:
    unit, base = common_unit(name, chips), chips[0].figures.get(name)
    row = [name, unit, _cell(base, unit, references)]
    for chip in chips[1:]:
        figure = chip.figures.get(name)
        row += [_cell(figure, unit, references), ratio_text(figure, base)]
    return row


def _cell(figure: Figure | None, unit: str, references: References) -> str:
    if figure is None or figure.value is None:
        return "" if figure is None else cited(figure, references)
    if figure.unit != (unit or None):
        return cited(figure, references)
    return f"{plain(figure.value)}{mark_of(figure, references)}"


def _disputed(material: Material, references: References) -> Section:
    rows = [row for chip in material.chips for row in _alternatives(chip, references)]
    heads = ("chip", "figure", "value here", "another value", "note")
    return Section("Where sources disagree", [Column(head) for head in heads], rows)


def _alternatives(chip: Chip, references: References) -> Iterator[list[str]]:
    for figure in chip.figures.values():
        for other in figure.alternatives:
            if other.value != figure.value:
                value = f"{figure_value(figure, other.value)} {references.number(other.source)}"
                yield [chip.id, figure.name, cited(figure, references), value, other.note or ""]

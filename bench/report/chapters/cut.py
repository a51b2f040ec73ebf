"""The chapter of the cut: every figure of a chip over those of the chips beside it."""

from functools import partial
from types import MappingProxyType
from typing import Final

from bench.analysis.explain import compared
from bench.published.chips import Chip
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import cited, illustrated, short_names
from bench.report.explained_data import compared_document
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.plots.cut_data import picture_of
from bench.report.view import Column, Section, significant

# What a figure is called beside a chip that this one was not cut from.
_BESIDE: Final = MappingProxyType({"cut": "less", "kept": "same"})


def chapter(material: Material, references: References) -> Chapter:
    """Return what was cut from the chip in question, against each of the others."""
    chip, *others = material.chips
    if not others:
        return Chapter("cut", "What was cut", lead=[f"{chip.name} is alone in this report; --chip adds others."])
    pictures, missing = illustrated("cut", partial(picture_of, chip, others))
    return Chapter(
        name="cut",
        title="What was cut, and what was not",
        lead=[_from_what(chip, others), *missing],
        pictures=pictures,
        sections=[_against(chip, other, references) for other in others],
        document={
            "against": [
                {"chip": other.id, "figures": [compared_document(row) for row in compared(chip, other)]}
                for other in others
            ]
        },
    )


def _from_what(chip: Chip, others: list[Chip]) -> str:
    whole = next((other for other in others if other.id == chip.cut_from), None)
    if whole is not None:
        return f"The {chip.name} was cut from the {whole.name}."
    return f"The {chip.name} was not cut from any of the chips beside it here; they are compared all the same."


def _against(chip: Chip, other: Chip, references: References) -> Section:
    names = short_names([chip, other])
    rows, records = [], []
    words = {} if chip.cut_from == other.id else _BESIDE
    for row in compared(chip, other):
        texts = ["" if figure is None else cited(figure, references) for figure in (row.own, row.whole)]
        ratio = "" if row.ratio is None else f"{significant(float(row.ratio), 3)}×"
        rows.append([row.name, *texts, ratio, words.get(row.change, row.change)])
        records.append({"chip": chip.id, "against": other.id, **compared_document(row)})
    columns = [Column("figure"), *(Column(name, "right") for name in names.values())]
    columns += [Column("ratio", "right"), Column("change")]
    title = f"{names[chip.id]} against {names[other.id]}"
    return Section(title, columns, rows, records=records)

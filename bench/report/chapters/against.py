"""The chapter of measured against published: shares of peaks, and of what others measured, size by size."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from bench.analysis.compare import Comparison, Side, compare
from bench.analysis.sides import side_of_chip
from bench.errors import InvalidRequest, RecordError
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import chosen_text, illustrated, published, sections_of
from bench.report.compared import compare_view
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.plots.layout import listed
from bench.report.plots.names import FIRST_CHOICE
from bench.report.plots.sweep_data import SweepPicture, chosen_dtype, picture_of
from bench.report.view import Section
from bench.units import DTYPES

_HOW: Final = (
    "A published peak is what a sheet prints. What others measured and published is neither: it has a column and "
    "a mark of its own, and of it neither interval nor surroundings are known."
)

_PLAIN: Final = frozenset({"gemm", "stream"})


def chapter(material: Material, references: References) -> Chapter:
    """Return every measured device against its chip's sheet and others' rates, and others' rates of the chips."""
    pictures, missing = illustrated("sweep", partial(_picture, _drawn_sides(material)))
    found = [*_of_devices(material, references), *_of_others(material, references)]
    return Chapter(
        name="against",
        title="Measured against published",
        lead=[_HOW, *chosen_text(material.measured.devices), *_without_sheet(material), *missing],
        pictures=pictures,
        sections=[section for sections, _ in found for section in sections],
        document={"comparisons": [document for _, document in found if document]},
    )


def _without_sheet(material: Material) -> list[str]:
    """Name the devices of which no sheet is known."""
    names = [side.label for side in material.sides if side.chip is None]
    return [f"No sheet is known of {listed(names)}, so the chapter before says all there is."] if names else []


def _drawn_sides(material: Material) -> list[Side]:
    """Return what the picture shows: the chips in their order, as measured here, else by others; then the rest."""
    others = {chip.id: side for chip in material.chips if (side := material.by_others(chip)) is not None}
    here = [side.chip.id for side in material.sides if side.chip is not None]
    first = [side for chip, side in others.items() if chip not in here]
    return [*first, *material.sides, *(side for chip, side in others.items() if chip in here)]


def _picture(sides: Sequence[Side]) -> SweepPicture:
    if not sides:
        message = "nobody's measurements of these chips are known, and nothing was measured here"
        raise RecordError(message)
    try:
        dtype = chosen_dtype(sides, DTYPES[FIRST_CHOICE])
    except InvalidRequest:
        dtype = chosen_dtype(sides, None)
    return picture_of(sides, dtype)


Found = tuple[list[Section], Mapping[str, Any]]


def _of_devices(material: Material, references: References) -> Iterator[Found]:
    for side in material.sides:
        if side.chip is not None:
            yield _compared(f"{side.label} against its sheet", [_plain(side), side_of_chip(side.chip)], references)
            others = material.by_others(side.chip)
            if others is not None:
                yield _compared(f"{side.label} against what others measured", [side, others], references)


def _plain(side: Side) -> Side:
    """Return a side with what plain runs measured: a model's products are very many, and stand elsewhere."""
    plain = {cell for cell, of in side.workloads.items() if of & _PLAIN}
    estimates = {cell: rate for cell, rate in side.estimates.items() if cell in plain} or side.estimates
    return side._replace(estimates=estimates)


def _of_others(material: Material, references: References) -> Iterator[Found]:
    sides = [side for chip in material.chips if (side := material.by_others(chip)) is not None]
    if len(sides) > 1:
        yield _compared("What others measured, chip against chip", sides, references)


def _compared(title: str, sides: Sequence[Side], references: References) -> Found:
    try:
        comparison = compare(sides)
    except RecordError as error:
        return [Section(title, lead=[f"There is no table here: {error}."])], {}
    view = compare_view(comparison)
    first, *more = sections_of(view, title)
    return [first._replace(lead=[*_cited(comparison, references)]), *more], view.document


def _cited(comparison: Comparison, references: References) -> Iterator[str]:
    """Say by their numbers where peaks and others' rates were published."""
    rates = [
        rate for row in comparison.rows for rate in (row.first, *(one.estimate for one in row.others)) if rate
    ]
    yield from published([rate.figure for rate in rates], references)
    others = dict.fromkeys(
        references.number(rate.published.source) for rate in rates if rate.published is not None
    )
    if others:
        yield f"What others measured was published in {' '.join(others)}."

"""The chapter of rooflines: what memory and arithmetic allow the chips, and the measured products under it."""

from functools import partial
from typing import Final

from bench.analysis.compare import Side
from bench.analysis.roofline import ceilings, points
from bench.analysis.sides import side_of_chip
from bench.errors import RecordError
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import chosen_text, illustrated, published
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.plots.roofline_data import Limits, RooflinePicture, chosen_dtype, picture_of
from bench.report.roofline import roofline_view
from bench.report.view import Section, View
from bench.units import Dtype

_HOW: Final = (
    "A product that does few operations for every byte it moves is limited by memory, one that does many by "
    "arithmetic; the ridge is where that changes."
)


def chapter(material: Material, references: References) -> Chapter:
    """Return the ceilings of every device that was measured and of the chips, and the products under them."""
    sides = _sides(material)
    limits = [(side, ceilings(side)) for side in sides]
    pictures, missing = illustrated("roofline", partial(_picture, limits))
    every = [one for _, some in limits for one in some]
    found = [point for side, some in limits for point in points(side, some)]
    view = roofline_view(sides, every, found)
    dtype = _dtype(limits)
    drawn = [point for point in found if point.cell.dtype == dtype]
    *others, last = [_whole(section, view) for section in roofline_view(sides, every, drawn or found).sections]
    return Chapter(
        name="roofline",
        title="What limits products: memory or arithmetic",
        lead=[_HOW, *_published(limits, references), *chosen_text(material.measured.devices), *missing],
        pictures=pictures,
        sections=[*others, last._replace(notes=[*last.notes, *view.notes])],
        document=view.document,
    )


def _published(limits: Limits, references: References) -> list[str]:
    """Return one line a chip: its peaks and its bandwidth, with their sources."""
    lines = []
    for side, some in limits:
        rates = [rate for one in some for rate in (one.published_peak, one.published_bandwidth) if rate]
        lines += published([rate.figure for rate in rates], references, side.chip)
    return [*dict.fromkeys(lines)]


def _whole(section: Section, view: View) -> Section:
    """Return a table of the products that are drawn with the content of all of them."""
    whole = next(one for one in view.sections if one.title == section.title)
    left = len(whole.rows) - len(section.rows)
    more = [f"Of other formats there are {left} more products, which 'chipbench roofline' lists."] if left else []
    return section._replace(records=whole.records, notes=[*section.notes, *more])


def _sides(material: Material) -> list[Side]:
    """Return the chips in their order, as measured here, else by others, else by the sheet; then the rest."""
    found: list[Side] = []
    for chip in material.chips:
        here = [side for side in material.sides if side.chip == chip]
        found += here or [material.by_others(chip) or side_of_chip(chip)]
    return [*found, *(side for side in material.sides if side not in found)]


def _dtype(limits: Limits) -> Dtype | None:
    """Return the number format of the picture; None if there is nothing to draw."""
    try:
        return chosen_dtype(limits, None)
    except RecordError:
        return None


def _picture(limits: Limits) -> RooflinePicture:
    return picture_of(limits, chosen_dtype(limits, None))

"""The whole report: its title, its chapters in order, and the sources that they named."""

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Final

from bench.report.chapters import against, answer, chips, cut, dates, measured, method, models, roofline, rule
from bench.report.chapters.base import Chapter, Report
from bench.report.chapters.common import short_names
from bench.report.columns import KINDS
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.plots.layout import listed
from bench.report.view import capital, few

# In the order of a report; a new chapter is a file and a line.
CHAPTERS: Final = MappingProxyType[str, Callable[[Material, References], Chapter]](
    {
        "answer": answer.chapter,
        "measured": measured.chapter,
        "against": against.chapter,
        "chips": chips.chapter,
        "cut": cut.chapter,
        "rule": rule.chapter,
        "dates": dates.chapter,
        "roofline": roofline.chapter,
        "models": models.chapter,
        "method": method.chapter,
    }
)

_MOST_NAMED: Final = 4  # chips, in the title


def report_of(material: Material) -> Report:
    """Return the report; sources are numbered in the order in which its chapters name them."""
    references = References()
    chapters = [chapter(material, references) for chapter in CHAPTERS.values()]
    return Report(title=_title(material), about=[*_about(material)], chapters=chapters, sources=references.sources)


def _title(material: Material) -> str:
    chip, *others = short_names(material.chips).values()
    named = few(others, _MOST_NAMED) if len(others) > _MOST_NAMED else listed(others)
    beside = f" beside the {named}" if others else ""
    cut = any(one.id == material.chip.cut_from for one in material.chips)
    known = bool(material.sides) or material.chip.id in material.others
    parts = ["what was cut" if cut else "what is published", *(["what it really does"] if known else [])]
    return f"The {chip}{beside}: {listed([*parts, 'what the export rules say'])}"


def _about(material: Material) -> Iterator[str]:
    yield f"Made on {material.made} by chipbench {material.tool}."
    counts: dict[str, dict[str, int]] = {}
    for device in material.measured.devices:
        of = counts.setdefault(KINDS[device.side.kind], {})
        of[device.side.label] = sum(len(run.paths) for run in device.runs)
    for kind, of in counts.items():
        records = sum(of.values())
        yield f"{capital(kind)}: {records} record{'' if records == 1 else 's'} of {listed([*of])}."
    if not counts:
        yield "Measured here: nothing."
    yield (
        "All else is published by others, with the number of its source, or computed from that. * marks a figure "
        "on which sources disagree."
    )
    yield f"The rules are known until {material.book.known_until}."

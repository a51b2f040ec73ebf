"""The words around the map of an export rule: the finding above it, the notes below, and what stands for it."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from bench.analysis.design import Design
from bench.analysis.explain import Story
from bench.analysis.headroom import Ceiling
from bench.analysis.rule_lines import DENSITY, Mapped, group_of
from bench.analysis.worlds import die_area
from bench.report.explained import DISCLAIMER
from bench.report.plots.layout import listed
from bench.report.plots.rule_map_places import Place, names_by_label, verdict_by, why_nowhere
from bench.report.plots.rule_map_regions import Region
from bench.report.verdict_texts import in_force_text
from bench.report.view import few, significant
from bench.units import number

_MOST_RULES: Final = 8  # named in a note
_JUST_BEYOND: Final = Fraction(1_000_001, 1_000_000)


def title_of(mapped: Mapped, story: Story | None, name: str, stories: Sequence[Story]) -> str:
    """Return the title about one chip of this name; without one it counts the chips that the rule covers."""
    rule = mapped.rule
    if story is None:
        count = sum(verdict_by(rule, one).met is True for one in stories)
        return f"{rule.id} covers {count} of {len(stories)} chips"
    met = verdict_by(rule, story).met
    lines = [(line.tpp, line) for line in story.ceilings if line.rule.id == rule.id and line.tpp]
    covered = _covered(mapped, story, name)
    if not lines:
        return f"{covered}: {why_nowhere(story) or _numbers(story.design)}"
    # A market that is open makes two lines: what is covered either way has passed the higher one.
    _, line = (max if met else min)(lines, key=lambda entry: entry[0])
    beside = _beside(mapped, story.design, line)
    if met is False:
        return f"The {name} has a {_numbers(story.design)}, {beside}"
    return f"{covered}: its {_numbers(story.design)} is {beside}"


def _covered(mapped: Mapped, story: Story, name: str) -> str:
    verdict = verdict_by(mapped.rule, story)
    if verdict.met is None:
        return f"Whether {mapped.rule.id} covers the {name} is unknown"
    if not verdict.met:
        return f"The {name} is not covered by {mapped.rule.id}"
    return f"The {name} is covered by {group_of(verdict.outcome) if verdict.outcome else mapped.rule.id}"


def _numbers(design: Design) -> str:
    return f"TPP of {'' if design.tpp.exact else 'at least '}{number(design.tpp.low)}"


def _beside(mapped: Mapped, design: Design, line: Ceiling) -> str:
    """Return how a chip's TPP compares with the one at which the rule begins for it, and which part of it does."""
    at = line.tpp or Fraction(0)
    share, first = design.tpp.low / at, at * (_JUST_BEYOND if line.inclusive else 1)
    area = die_area(design)
    said = mapped.said(first, first / area if area else None, data_centre=line.data_centre is not False)
    much = f"{number(100 * share, Fraction(100))} % of" if share < 1 else f"{significant(float(share), 3)} times"
    begins = "from which on the rule holds"
    if share < 1:
        begins = f"at which {said.group if said else mapped.rule.id} begins"
    return f"{much} the {number(at)} {begins}{_whom(mapped, design, line)}"


def _whom(mapped: Mapped, design: Design, line: Ceiling) -> str:
    size = " for a die of its size" if die_area(design) else " for a chip without performance density"
    size = size if mapped.thresholds(DENSITY) else ""
    if line.data_centre is None or design.data_centre == (True,):
        return size
    market = f"{'' if line.data_centre else 'not '}designed for data centres"
    return f"{size}, if it is {market}" if len(design.data_centre) > 1 else f"{size}, {market}"


def alt_of(
    title: str, mapped: Mapped, stories: Sequence[Story], places: Sequence[Place], regions: Sequence[Region]
) -> str:
    """Return what a reader who cannot see the map is told of it."""
    shown = sum(len(place.chips) for place in places)
    names = listed([region.name for region in regions])
    return (
        f"Map with logarithmic axes, TPP across and performance density upward, on which {names} of "
        f"{mapped.rule.id} are shaded and {shown} chips are placed at {len(places)} points. {title}. "
        f"{_counts(mapped, stories)}."
    )


def _counts(mapped: Mapped, stories: Sequence[Story]) -> str:
    met = [verdict_by(mapped.rule, story).met for story in stories]
    covered, free, unknown = (met.count(answer) for answer in (True, False, None))
    return f"Of {len(met)} chips it covers {covered}, {free} it does not, and of {unknown} that is unknown"


def notes_of(mapped: Mapped, stories: Sequence[Story]) -> Iterator[str]:
    """Yield what rule is drawn, which chips have no place, and what the map does not show."""
    rule = mapped.rule
    yield (
        f"{rule.id}: {rule.title} ({rule.citation}), {in_force_text(rule)}; as of {mapped.day}. "
        f"{_counts(mapped, stories)}."
    )
    if mapped.day != mapped.book.known_until:
        yield "Chips are held against the rule of that day whether or not they were sold then."
    if rule.note:
        yield rule.note
    names = names_by_label(stories)
    nowhere = [f"{names[story.design.label]} ({why})" for story in stories if (why := why_nowhere(story))]
    if nowhere:
        yield f"Not on the map: {listed(nowhere)}."
    others = [other.id for other in mapped.book.in_force(mapped.day) if other.id != rule.id]
    if others:
        yield f"Not drawn, though in force: {few(others, _MOST_RULES)}; 'chipbench explain CHIP' tells of them."
    yield f"The shaded regions are for chips designed or marketed for data centres. {DISCLAIMER}"

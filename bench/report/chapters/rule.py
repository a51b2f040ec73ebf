"""The chapter of the rule: the map of chips beside its lines, the arithmetic, every rule in time, and events."""

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from bench.analysis.explain import Story
from bench.published.rules import Rule
from bench.published.source import Source
from bench.published.timeline import Event
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import illustrated, mark_of
from bench.report.explained import DISCLAIMER, in_short, rules
from bench.report.explained_data import story_document
from bench.report.explained_numbers import headroom, performance
from bench.report.explained_sources import References, timeline, uncertain
from bench.report.material import Material
from bench.report.matrix import density_text, tpp_text
from bench.report.plots.rule_map_data import RuleMapPicture, picture_of
from bench.report.verdict_texts import in_force_text
from bench.report.view import Column, Section


def chapter(material: Material, references: References) -> Chapter:
    """Return the story of the chip in question under the rules, and where all chips lie."""
    story = material.story
    pictures, missing = illustrated("rule_map", partial(rule_map, material))
    sections = [
        performance(story, references),
        headroom(story),
        rules(story),
        timeline(story, references),
        uncertain(story, references),
        _all(material.stories, references),
        _citations(story, references),
    ]
    return Chapter(
        name="rule",
        title=f"What the export rules say of the {material.chip.name}",
        lead=[*in_short(story), DISCLAIMER, *missing],
        pictures=pictures,
        sections=[section for section in sections if section],
        document=story_document(story),
    )


def rule_map(material: Material) -> RuleMapPicture:
    """Return the map of all chips beside the lines of the last known day's rule; InvalidRequest if it has none."""
    day = material.book.known_until
    return picture_of(material.stories, material.book, day, [chip.id for chip in material.chips])


def _all(stories: Sequence[Story], references: References) -> Section:
    """Return where every chip lies, with the sources of the two figures that make it."""
    columns = [Column("chip"), Column("TPP", "right"), Column("by"), Column("die area", "right")]
    columns += [Column("performance density", "right"), Column("designed for")]
    return Section(
        "Every chip: TPP and performance density", columns, [_row(story, references) for story in stories]
    )


def _row(story: Story, references: References) -> list[str]:
    rates, chip = story.design.rates, story.chip
    figure = rates[0].figure if rates else None
    by = "" if figure is None else f"{figure.name} {figure.value} {figure.unit}{mark_of(figure, references)}"
    area = None if chip is None else chip.figures.get("die_area")
    known = area is not None and area.value is not None
    size = f"{area.value} {area.unit}{mark_of(area, references)}" if area is not None and known else "?"
    market = "" if chip is None else chip.designed_for.value
    return [story.design.label, tpp_text(story), by, size, density_text(story), market]


def _citations(story: Story, references: References) -> Section:
    """Return what each rule is, how sure it is that it says so, and the number of where it stands."""
    columns = [Column("rule"), Column("what it is"), Column("in force"), Column("grade")]
    columns += [Column("stands in"), Column("note")]
    rows = []
    for rule in (verdict.rule for verdict in story.verdicts):
        number = references.number(_source(rule, story.events))
        rows.append([rule.id, rule.title, in_force_text(rule), rule.grade, number, rule.note or ""])
    return Section("The rules, and where they stand", columns, rows)


def _source(rule: Rule, events: Sequence[Event]) -> Source:
    """Return where a rule stands, as a source: that of an event if it is the same page, official on a .gov one."""
    known = next((event.source for event in events if rule.url and event.source.url == rule.url), None)
    host = urlsplit(rule.url or "").hostname or ""
    return known or Source(
        title=rule.citation, grade="official" if host.endswith(".gov") else "analyst", url=rule.url
    )

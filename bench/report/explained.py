"""The view of one chip's story: what was cut, the arithmetic, every rule, how near, when, and how sure."""

from collections.abc import Sequence
from typing import Final

from bench.analysis.explain import Story
from bench.analysis.export_rule import Verdict
from bench.analysis.in_use import ModelInUse
from bench.analysis.standing import asks_for_licence
from bench.published.rules import Rule
from bench.report.chips import LEGEND, common_unit, figure_text
from bench.report.explained_data import story_document, verdict_records
from bench.report.explained_numbers import headroom, nearest_line, performance, performance_text
from bench.report.explained_sources import References, timeline, uncertain
from bench.report.steps import in_use_document, in_use_sections
from bench.report.verdict_texts import in_force_text, margin_text, rule_note, rule_text, verdict_text
from bench.report.view import Column, Section, View, capital, significant

DISCLAIMER: Final = "This is arithmetic on published figures, not legal advice."


def explained(story: Story, in_use: Sequence[ModelInUse] = ()) -> View:
    """Return the story of a chip in sections, its verdicts as records, and all of it as data.

    `in_use` are language models' steps on the chip beside others.
    """
    when = f" on {story.day}" if story.day else ""
    title = f"A design that does not exist: what the export rules say{when}"
    if story.chip is not None:
        title = f"{story.chip.name} ({story.chip.id}): what was cut, and what the export rules say{when}"
    references = References()
    known = f"Rules known until {story.known_until}. {DISCLAIMER}"
    sections = [Section("In short", lead=[*in_short(story), known]), _cut(story), *in_use_sections(in_use)]
    sections += [performance(story, references), rules(story), headroom(story)]
    sections += [
        timeline(story, references),
        uncertain(story, references),
        references.section(),
        _citations(story),
    ]
    return View(
        title=title,
        columns=(),
        rows=(),
        records=verdict_records(story),
        document={**story_document(story), "in_use": [in_use_document(one) for one in in_use]},
        sections=[section for section in sections if section],
    )


def in_short(story: Story) -> list[str]:
    """Return the answer in a few lines: the arithmetic, by what it is covered, and how near the line it is."""
    lines = [performance_text(story.design)]
    when = f"On {story.day}: " if story.day else ""
    for met, label in ((False, "not covered by"), (True, "covered by"), (None, "unknown under")):
        ids = [_named(v.rule, story) for v in story.verdicts if v.met is met and asks_for_licence(v.rule)]
        lines += [capital(f"{when}{label} {', '.join(ids)}.")] if ids else []
    nearest = nearest_line(story)
    return [*lines, *([nearest] if nearest else [])]


def _named(rule: Rule, story: Story) -> str:
    """Return a rule's id, and what weakens its word here: not published, not yet public, ended, sent elsewhere."""
    doubts = ["reported, not published"] if rule.grade == "reported" else []
    if story.day is not None and rule.published is not None and rule.published > story.day:
        doubts.append(f"public only on {rule.published}")
    maker = story.chip.name.lower() if story.chip else ""
    if story.day is None and rule.until is not None:
        doubts.append(f"until {rule.until}")
    if rule.addressed_to and not any(company.lower() in maker for company in rule.addressed_to):
        doubts.append(f"a letter to {' and '.join(rule.addressed_to)}")
    return f"{rule.id} ({'; '.join(doubts)})" if doubts else rule.id


def _cut(story: Story) -> Section | None:
    if story.chip is None:
        return None
    if story.whole is None:
        offspring = f" Cut from it: {', '.join(story.offspring)}." if story.offspring else ""
        return Section(
            title="What was cut", lead=[f"{story.chip.id} is not known to be cut from another chip.{offspring}"]
        )
    chips = [story.chip, story.whole]
    rows = []
    for row in story.compared:
        unit = common_unit(row.name, chips)
        ratio = "" if row.ratio is None else f"{significant(float(row.ratio), 3)}×"
        rows.append([row.name, unit, figure_text(row.own, unit), figure_text(row.whole, unit), ratio, row.change])
    return Section(
        title=f"What was cut and what was not, against {story.whole.name}",
        columns=[
            Column("figure"),
            Column("unit"),
            *(Column(chip.id, "right") for chip in chips),
            Column("ratio", "right"),
            Column("change"),
        ],
        rows=rows,
        lead=[f"{word}: {', '.join(names)}." for word, names in _changes(story) if names],
        notes=[LEGEND],
    )


def _changes(story: Story) -> list[tuple[str, list[str]]]:
    return [
        (label, [row.name for row in story.compared if row.change == change])
        for change, label in (("cut", "Cut"), ("kept", "Kept"), ("more", "More than the whole part has"))
    ]


def rules(story: Story) -> Section:
    """Return the verdict of every rule, with its margin and the reason."""
    return Section(
        title=f"The rules in force on {story.day}" if story.day else "The rules in order of time",
        columns=[
            Column("rule", width=26),
            Column("in force", width=16),
            Column("verdict", width=18),
            Column("margin", width=22),
            Column("why", width=46),
        ],
        rows=[_verdict_row(verdict) for verdict in story.verdicts],
    )


def _citations(story: Story) -> Section:
    return Section(
        title="The rules, and where they stand", lead=[rule_note(verdict.rule) for verdict in story.verdicts]
    )


def _verdict_row(verdict: Verdict) -> list[str]:
    return [
        rule_text(verdict.rule),
        in_force_text(verdict.rule),
        verdict_text(verdict),
        margin_text(verdict.margin, bound=verdict.met is None),
        verdict.reason,
    ]

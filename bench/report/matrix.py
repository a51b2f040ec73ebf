"""The view of all chips against all rules: one row a chip, one column a rule."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from bench.analysis.explain import Story
from bench.analysis.export_rule import Verdict
from bench.report.explained import DISCLAIMER
from bench.report.explained_data import verdict_document, verdict_records
from bench.report.verdict_texts import in_force_text
from bench.report.view import Column, View
from bench.units import number

_LEGEND: Final = (
    "A cell names the paragraph that is met; 'no': not met; '?': unknown, and 'explain CHIP' says what it depends "
    "on; (NAC): a licence exception is open; (NAC?): whether it is, is unknown. ≥: a lower bound, as not every "
    "format has a published rate."
)


def matrix(stories: Sequence[Story], day: date | None) -> View:
    """Return the verdicts of every chip; with `day`, of the rules in force on that day."""
    rules = [verdict.rule for verdict in stories[0].verdicts]
    when = f" on {day}" if day else ""
    return View(
        title=f"Export control: {len(stories)} chips, rules: {len(rules)}{when}",
        columns=[
            Column("chip"),
            Column("TPP", "right"),
            Column("density", "right"),
            *(Column(rule.id) for rule in rules),
        ],
        rows=[_row(story) for story in stories],
        records=[record for story in stories for record in verdict_records(story)],
        document={
            "known_until": stories[0].known_until.isoformat(),
            "on": day.isoformat() if day else None,
            "chips": [verdict_document(story) for story in stories],
        },
        notes=[
            _LEGEND,
            *(
                f"{rule.id}: {rule.title} ({rule.citation}; grade: {rule.grade}), {in_force_text(rule)}"
                for rule in rules
            ),
            f"Rules known until {stories[0].known_until}. {DISCLAIMER}",
        ],
    )


def _row(story: Story) -> list[str]:
    document = verdict_document(story)
    design = story.design
    bound = "" if design.tpp.exact else "≥ "
    tpp = f"{bound}{number(design.tpp.low)}" if document["tpp"] is not None else "?"
    known = design.density is not None and document["performance_density"] is not None
    density = f"{bound}{number(design.density.low)}" if known and design.density else "?"
    return [design.label, tpp, density, *(_cell(verdict) for verdict in story.verdicts)]


def _cell(verdict: Verdict) -> str:
    if verdict.met is None:
        return "?"
    if not verdict.met:
        return "no"
    exception = f" ({verdict.exception})" if verdict.exception else ""
    exception = f" ({verdict.possible_exception}?)" if verdict.possible_exception else exception
    return f"{verdict.outcome or 'met'}{exception}"

"""The view of all chips against all rules: one row a chip, one column a rule."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from bench.analysis.explain import Story
from bench.analysis.export_rule import Verdict
from bench.report.explained import DISCLAIMER
from bench.report.explained_data import known_density, verdict_document, verdict_records
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
    return [
        story.design.label,
        tpp_text(story),
        density_text(story),
        *(_cell(verdict) for verdict in story.verdicts),
    ]


def tpp_text(story: Story) -> str:
    """Return a chip's total processing performance: '2368', '≥ 4750' of a lower bound, '?' if no rate is known."""
    design = story.design
    return f"{_bound(story)}{number(design.tpp.low)}" if design.rates else "?"


def density_text(story: Story) -> str:
    """Return its performance density likewise; '?' also where nobody published the die area."""
    density = story.design.density
    return f"{_bound(story)}{number(density.low)}" if density and known_density(story.design) else "?"


def _bound(story: Story) -> str:
    return "" if story.design.tpp.exact else "≥ "


def _cell(verdict: Verdict) -> str:
    if verdict.met is None:
        return "?"
    return outcome_text(verdict) if verdict.met else "no"


def outcome_text(verdict: Verdict) -> str:
    """Return what a rule that is met is called, and an exception that is open, or may be: '3A090.b.1 (NAC)'."""
    exception = f" ({verdict.exception})" if verdict.exception else ""
    exception = f" ({verdict.possible_exception}?)" if verdict.possible_exception else exception
    return f"{verdict.outcome or 'met'}{exception}"

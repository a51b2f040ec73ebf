"""The chapter of dates: whether each chip needed a licence on the days on which the rules changed."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any, Final

from bench.analysis.export_rule import Verdict
from bench.analysis.standing import Standing, turning_days
from bench.published.rules import Rule
from bench.report.chapters.base import Chapter
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.matrix import outcome_text
from bench.report.verdict_texts import in_force_text
from bench.report.view import Column, Section

_MET: Final = (
    "A cell names the paragraph, or the letter and its year, that asks for a licence to China and whatever other "
    "destinations its rule names, and in brackets a licence exception that is open, (NAC), or may be, (NAC?)."
)
_NO: Final = (
    "'no': no rule in force covers the chip. 'no?': none that was published does; whether a letter that was not "
    "published means it is unknown. '?': of a published rule it is unknown; 'chipbench explain CHIP' says why."
)
_ALWAYS: Final = "A chip is held against the rules of a day whether or not it was sold then."


def chapter(material: Material, references: References) -> Chapter:  # noqa: ARG001 - as all chapters are called
    """Return all chips against the days on which a rule that asks for a licence began or ended."""
    days = turning_days(material.book)
    until = material.book.known_until
    return Chapter(
        name="dates",
        title="Which chips needed a licence, and when",
        lead=[f"The rules are known until {until}; those of {days[-1]} still held then."] if days else [],
        sections=[_matrix(material, days)],
        document={"chips": [_document(chip, row) for chip, row in material.standings.items()]},
    )


def _matrix(material: Material, days: Sequence[date]) -> Section:
    table = material.standings
    columns = [Column("chip"), *(Column(f"{day}", width=24) for day in days)]
    rules = {
        v.rule.id: v.rule for row in table.values() for one in row for v in (*one.met, *one.unmet, *one.unknown)
    }
    twice = _called_alike(rules.values())
    rows = [[chip, *(_cell(one, twice) for one in row)] for chip, row in table.items()]
    kept = [rule for rule in material.book.rules if rule.id in rules]
    notes = [f"{rule.id}: {in_force_text(rule)}; {rule.title} (grade: {rule.grade})" for rule in kept]
    records = [_record(chip, one) for chip, row in table.items() for one in row]
    return Section("Chips and days", columns, rows, notes=[_MET, _NO, _ALWAYS, *notes], records=records)


def _cell(one: Standing, twice: Collection[str]) -> str:
    """Return what a chip's verdicts of a day come to; outcomes that several rules call alike have their year."""
    open_law = any(verdict.rule.grade == "published" for verdict in one.unknown)
    met = dict.fromkeys(
        f"{outcome_text(verdict)} {_year(verdict)}" if verdict.outcome in twice else outcome_text(verdict)
        for verdict in one.met
    )
    if met:
        return ", ".join([*met, *(["?"] if open_law else [])])
    return "?" if open_law else "no?" if one.unknown else "no"


def _year(verdict: Verdict) -> str:
    return "" if verdict.rule.effective is None else str(verdict.rule.effective.year)


def _called_alike(rules: Iterable[Rule]) -> set[str]:
    """Return the names that outcomes of several rules have, as letters do."""
    names = [name for rule in rules for name in {outcome.name for outcome in rule.outcomes}]
    return {name for name in names if names.count(name) > 1}


def _record(chip: str, one: Standing) -> dict[str, Any]:
    return {
        "chip": chip,
        "day": one.day.isoformat(),
        "covered": one.covered,
        "by": "; ".join(verdict.rule.id for verdict in one.met),
        "not_by": "; ".join(verdict.rule.id for verdict in one.unmet),
        "unknown": "; ".join(verdict.rule.id for verdict in one.unknown),
    }


def _document(chip: str, row: Sequence[Standing]) -> dict[str, Any]:
    return {"chip": chip, "days": [_day(one) for one in row]}


def _day(one: Standing) -> dict[str, Any]:
    return {
        "day": one.day.isoformat(),
        "covered": one.covered,
        "by": [{"rule": v.rule.id, "outcome": v.outcome, "exception": v.exception} for v in one.met],
        "not_by": [verdict.rule.id for verdict in one.unmet],
        "unknown": [verdict.rule.id for verdict in one.unknown],
    }

"""How chips stand on the days on which the rules changed: covered, not covered, or unknown, and by what."""

from datetime import date, timedelta
from typing import NamedTuple

from bench.analysis.design import Design
from bench.analysis.export_rule import Verdict, judge
from bench.published.conditions import Flag
from bench.published.rules import Rule, RuleBook


class Standing(NamedTuple):
    """What the rules in force on a day that ask for a licence say of one chip, sorted by their verdicts."""

    day: date
    met: tuple[Verdict, ...]
    unmet: tuple[Verdict, ...]
    unknown: tuple[Verdict, ...]

    @property
    def covered(self) -> bool | None:
        """Whether some rule covers the chip; None if none does and of one it is unknown."""
        if self.met:
            return True
        return None if self.unknown else False


def asks_for_licence(rule: Rule) -> bool:
    """Whether a rule asks for a licence, and for more than memory that is sold without a processor."""
    memory_only = any(isinstance(part, Flag) and part.flag == "memory_stack" for part in rule.conditions())
    return rule.effect == "licence" and not memory_only


def turning_days(book: RuleBook) -> list[date]:
    """Return the days, up to the last known one, on which a rule that asks for a licence began or had ended."""
    days: set[date] = set()
    for rule in filter(asks_for_licence, book.rules):
        ended = rule.until + timedelta(days=1) if rule.until else None
        days |= {day for day in (rule.effective, ended) if day is not None and day <= book.known_until}
    return sorted(days)


def standing(design: Design, book: RuleBook, day: date) -> Standing:
    """Return how a chip of this design stands on a day."""
    rules = filter(asks_for_licence, book.in_force(day))
    verdicts = [judge(design, rule, book, day) for rule in rules]
    met, unmet, unknown = (
        tuple(verdict for verdict in verdicts if verdict.met is said) for said in (True, False, None)
    )
    return Standing(day, met, unmet, unknown)

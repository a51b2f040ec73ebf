"""How a verdict, its margin and a rule's dates read, the same in every view."""

from fractions import Fraction
from typing import Final

from bench.analysis.conditions import Gap
from bench.analysis.export_rule import Verdict
from bench.analysis.reasons import number
from bench.published.conditions import QUANTITIES
from bench.published.rules import Rule
from bench.report.view import percent

MINUS: Final = "-"


def verdict_text(verdict: Verdict) -> str:
    """Return 'met: 3A090.a.1, exception NAC', 'not met' or 'unknown'."""
    if verdict.met is None:
        return "unknown"
    if not verdict.met:
        return "not met"
    text = f"met: {verdict.outcome}" if verdict.outcome else "met"
    return f"{text}, exception {verdict.exception}" if verdict.exception else text


def margin_text(gap: Gap | None, *, bound: bool = False) -> str:
    """Return how far a value lies from its threshold, with its sign: '-1.33 % (TPP, 2400)'.

    `bound`: the value is a lower bound, so the margin is one too: '≥ -1.04 % (TPP, 4800)'.
    """
    if gap is None:
        return ""
    name, unit = QUANTITIES[gap.quantity]
    threshold = f"{number(gap.threshold)} {unit}".rstrip()
    return f"{'≥ ' if bound else ''}{signed_percent(gap.relative)} ({name}, {threshold})"


def rule_text(rule: Rule) -> str:
    """Return a rule's id, with who it was sent to and its grade where it is not simply published law."""
    marks = [f"to {rule.addressed_to}"] if rule.addressed_to else []
    marks += [] if rule.grade == "published" else [rule.grade]
    return f"{rule.id} ({'; '.join(marks)})" if marks else rule.id


def signed_percent(share: Fraction) -> str:
    """Return a share as per cent with its sign: '+229.8 %'."""
    if share == 0:
        return "0 %"
    return f"{'+' if share > 0 else MINUS}{percent(abs(float(share)))}"


def in_force_text(rule: Rule) -> str:
    """Return from when until when a rule is in force, as far as is known."""
    if rule.effective is None:
        return "never law"
    text = f"{rule.effective} to {rule.until}" if rule.until else f"since {rule.effective}"
    later = rule.published is not None and rule.published > rule.effective
    return f"{text}, public {rule.published}" if later else text


def rule_note(rule: Rule) -> str:
    """Return what a rule is and where it stands: title, citation, grade, dates beside those in force, note."""
    dates = [
        f"{label} {day}"
        for label, day in (("public", rule.published), ("compliance due", rule.compliance))
        if day is not None
    ]
    where = "; ".join([rule.citation, f"grade: {rule.grade}", *dates])
    note = f" {rule.note}" if rule.note else ""
    link = f" {rule.url}" if rule.url else ""
    return f"{rule.id}: {rule.title} ({where}).{note}{link}"

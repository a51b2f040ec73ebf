"""How a verdict, its margin and a rule's dates read, the same in every view."""

from fractions import Fraction

from bench.analysis.evaluation import Gap
from bench.analysis.export_rule import Verdict
from bench.published.conditions import QUANTITIES
from bench.published.rules import Rule
from bench.report.view import percent
from bench.units import number


def verdict_text(verdict: Verdict) -> str:
    """Return 'met: 3A090.a.1, exception NAC', 'not met' or 'unknown'."""
    if verdict.met is None:
        return "unknown"
    if not verdict.met:
        return "not met"
    text = f"met: {verdict.outcome}" if verdict.outcome else "met"
    if verdict.possible_exception:
        return f"{text}, exception {verdict.possible_exception} unknown"
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
    marks = [f"to {', '.join(rule.addressed_to)}"] if rule.addressed_to else []
    marks += [] if rule.grade == "published" else [rule.grade]
    return f"{rule.id} ({'; '.join(marks)})" if marks else rule.id


def signed_percent(share: Fraction) -> str:
    """Return a share as per cent with its sign: '+229.8 %'."""
    if share == 0:
        return "0 %"
    return f"{'+' if share > 0 else '-'}{percent(abs(float(share)))}"


def in_force_text(rule: Rule) -> str:
    """Return from when until when a rule is in force, as far as is known."""
    if rule.effective is None:
        return "never law"
    text = f"{rule.effective} to {rule.until}" if rule.until else f"since {rule.effective}"
    if rule.published is not None and rule.published > rule.effective:
        text += f", public {rule.published}"
    return f"{text}, compliance due {rule.compliance}" if rule.compliance else text


def rule_note(rule: Rule) -> str:
    """Return what a rule is and where it stands: title, citation, grade, dates beside those in force, note."""
    published = [f"public {rule.published}"] if rule.published else []
    where = "; ".join([rule.citation, f"grade: {rule.grade}", *published])
    note = f" {rule.note}" if rule.note else ""
    link = f" {rule.url}" if rule.url else ""
    return f"{rule.id}: {rule.title} ({where}).{note}{link}"

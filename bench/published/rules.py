"""Rules of export control as data: dates, citation, and conditions over named quantities; one TOML file each."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from bench.errors import InvalidRequest, SpecError
from bench.published.conditions import Condition, MetBy, NamedChip, is_part_of, positive, read_condition, walk
from bench.published.source import check_day, check_url, convert, did_you_mean, read_text, read_toml

RuleGrade = Literal["published", "reported", "bill"]
_PRINTED_WITHIN: Final = 31  # days: letters become known, and filed rules are printed, after they take effect
Effect = Literal["licence", "exception", "case-by-case", "denial", "tariff", "quota", "presumption", "none"]


class Outcome(NamedTuple):
    """One paragraph of a rule: its name, when it is met, what follows, and its own dates (None: the rule's)."""

    name: str
    when: Condition
    effect: Effect
    since: date | None
    until: date | None

    def holds_on(self, day: date) -> bool:
        """Whether the paragraph is in force on `day`, if the rule is."""
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


class Rule(NamedTuple):
    """A legal test. `effective` None means that it never was law; `until` None that it still holds.

    The first of `outcomes` that is met is the rule's outcome, if `applies` (None: to every chip) is met too.
    `excepts` is the id of the rule to which this one is an exception, `addressed_to` the companies that a letter
    was sent to, and `quota_tpp` the total processing performance that one customer may receive in a year without a
    licence.
    """

    id: str
    title: str
    citation: str
    url: str | None
    grade: RuleGrade
    published: date | None
    effective: date | None
    compliance: date | None
    until: date | None
    effect: Effect
    applies: Condition | None
    outcomes: tuple[Outcome, ...]
    excepts: str | None
    replaces: str | None
    addressed_to: tuple[str, ...]
    quota_tpp: Fraction | None
    note: str | None
    path: Path

    def in_force(self, day: date) -> bool:
        """Whether the rule is in force on `day`, as far as is known."""
        return self.effective is not None and self.effective <= day and (self.until is None or day <= self.until)

    def conditions(self) -> Iterator[Condition]:
        """Every condition of the rule, those inside others too."""
        yield from walk([*([self.applies] if self.applies else []), *(outcome.when for outcome in self.outcomes)])


class RuleBook(NamedTuple):
    """All rules in order of time, those that never were law last. Beyond `known_until` nobody looked.

    `overridden` names the shipped rules in whose place another folder's stand.
    """

    rules: tuple[Rule, ...]
    known_until: date
    overridden: tuple[str, ...] = ()

    def rule(self, rule_id: str) -> Rule:
        """Return the rule of this id."""
        return next(rule for rule in self.rules if rule.id == rule_id)

    def in_force(self, day: date) -> tuple[Rule, ...]:
        """Return the rules in force on `day`; raise InvalidRequest for a day before the first."""
        first = min(((rule.effective, rule.id) for rule in self.rules if rule.effective), default=None)
        if first is not None and day < first[0]:
            message = (
                f"{day}: before the first rule here, {first[1]}, in force since {first[0]}; give a later date"
            )
            raise InvalidRequest(message)
        return tuple(rule for rule in self.rules if rule.in_force(day))

    def check_chips(self, known: Collection[str]) -> None:
        """Raise SpecError if a rule names a chip that is not among the ids `known`."""
        for rule in self.rules:
            named = [name for part in rule.conditions() if isinstance(part, NamedChip) for name in part.chips]
            for name in named:
                if name not in known:
                    message = f"{rule.path}: chips: {name!r} is no chip here{did_you_mean(name, known)}"
                    raise SpecError(message)

    def exceptions_to(self, rule: Rule) -> tuple[Rule, ...]:
        """Return the rules that are exceptions to `rule`."""
        return tuple(other for other in self.rules if other.excepts == rule.id)


class _RawOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    when: dict[str, Any]
    effect: Effect | None = None
    since: date | None = None
    until: date | None = None


class _RawRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    title: str
    citation: str
    grade: RuleGrade
    effect: Effect
    outcomes: list[dict[str, Any]]
    applies: dict[str, Any] | None = None
    url: str | None = None
    published: date | None = None
    effective: date | None = None
    compliance: date | None = None
    until: date | None = None
    excepts: str | None = None
    replaces: str | None = None
    addressed_to: tuple[str, ...] = ()
    quota_tpp: int | Decimal | None = None
    note: str | None = None


def read_rules(folders: Sequence[Path]) -> RuleBook:
    """Return the rules in some specs folders, the later overriding the earlier."""
    found = [path for folder in folders for path in sorted((folder / "rules").glob("*.toml"))]
    rules = {path.stem: read_rule(path) for path in {path.stem: path for path in found}.values()}
    for rule in rules.values():
        _check_references(rule, rules)
    ordered = sorted(rules.values(), key=lambda rule: (rule.effective or date.max, rule.id))
    twice = tuple(name for name in rules if sum(path.stem == name for path in found) > 1)
    return RuleBook(tuple(ordered), _known_until(folders), twice)


def read_rule(path: Path) -> Rule:
    """Return the rule in one TOML file; raise SpecError naming file, table and field if it is malformed."""
    where = str(path)
    raw = convert(read_toml(path), _RawRule, where)
    if raw.id != path.stem:
        message = f"{where}: id {raw.id!r} does not match the file name; the file must be named after its id"
        raise SpecError(message)
    for field in ("title", "citation"):
        if not getattr(raw, field).strip():
            message = f"{where}: {field} is empty; say which document holds the rule"
            raise SpecError(message)
    outcomes = tuple(
        _outcome(table, raw.effect, f"{where}: outcomes[{index}]") for index, table in enumerate(raw.outcomes)
    )
    check_url(raw.url, where)
    _check_dates(raw, outcomes, where)
    return Rule(
        **{name: getattr(raw, name) for name in _AS_WRITTEN},
        applies=None if raw.applies is None else read_condition(raw.applies, f"{where}: applies"),
        outcomes=outcomes,
        quota_tpp=None if raw.quota_tpp is None else positive(raw.quota_tpp, f"{where}: quota_tpp"),
        path=path,
    )


_AS_WRITTEN: Final = tuple(
    name for name in Rule._fields if name not in {"applies", "outcomes", "quota_tpp", "path"}
)


def _outcome(table: object, effect: Effect, where: str) -> Outcome:
    raw = convert(table, _RawOutcome, where)
    if not raw.name.strip():
        message = f"{where}: name is empty; say which paragraph it is"
        raise SpecError(message)
    return Outcome(
        raw.name, read_condition(raw.when, f"{where}: when"), raw.effect or effect, raw.since, raw.until
    )


def _check_dates(raw: _RawRule, outcomes: Sequence[Outcome], where: str) -> None:
    if not outcomes:
        message = f"{where}: outcomes is empty; give at least one [[outcomes]] with a name and a when"
        raise SpecError(message)
    if raw.effective is None and raw.grade != "bill":
        message = f'{where}: effective is missing; only a grade = "bill" never came into force'
        raise SpecError(message)
    _check_own_dates(raw, where)
    by_name: dict[str, list[Outcome]] = {}
    for index, outcome in enumerate(outcomes):
        _check_paragraph(raw, outcome, f"{where}: outcomes[{index}]")
        by_name.setdefault(outcome.name, []).append(outcome)
    for name, same in by_name.items():
        for one, other in pairwise(sorted(same, key=lambda outcome: outcome.since or date.min)):
            if (one.until or date.max) >= (other.since or date.min):
                message = f"{where}: outcomes {name!r} overlap in time; end the one before the other begins"
                raise SpecError(message)


def _check_own_dates(raw: _RawRule, where: str) -> None:
    """Raise SpecError if the rule's dates are not in order; some rules are printed days after they took effect."""
    for field in ("published", "effective", "compliance", "until"):
        check_day(getattr(raw, field), f"{where}: {field}")
    _check_order(raw.effective, raw.until, where)
    _check_order(raw.published, raw.until, where, first="published")
    if raw.compliance and raw.effective and raw.compliance < raw.effective:
        message = f"{where}: compliance {raw.compliance} is before effective {raw.effective}; correct one of them"
        raise SpecError(message)
    if raw.published and raw.effective and (raw.published - raw.effective).days > _PRINTED_WITHIN:
        message = f"{where}: published {raw.published} is long after effective {raw.effective}; correct them"
        raise SpecError(message)


def _check_paragraph(raw: _RawRule, outcome: Outcome, where: str) -> None:
    """Raise SpecError if a paragraph's dates are not in order, or not within those of the rule."""
    for field, day in (("since", outcome.since), ("until", outcome.until)):
        check_day(day, f"{where}: {field}")
    _check_order(outcome.since, outcome.until, where, first="since")
    _check_order(raw.effective, outcome.until, where)
    _check_order(outcome.since, raw.until, where, first="since")
    if outcome.since and raw.effective and outcome.since < raw.effective:
        message = f"{where}: since {outcome.since} is before effective {raw.effective}; correct one of them"
        raise SpecError(message)
    if outcome.until and raw.until and outcome.until > raw.until:
        message = f"{where}: until {outcome.until} is after that of the rule, {raw.until}; correct one of them"
        raise SpecError(message)


def _check_order(since: date | None, until: date | None, where: str, *, first: str = "effective") -> None:
    if since is not None and until is not None and until < since:
        message = f"{where}: until {until} is before {first} {since}; exchange or correct them"
        raise SpecError(message)


def _check_references(rule: Rule, rules: Mapping[str, Rule]) -> None:
    met_by = [part for part in rule.conditions() if isinstance(part, MetBy)]
    others = [name for name in rules if name != rule.id]
    named = [("excepts", rule.excepts), ("replaces", rule.replaces), *(("rule", part.rule) for part in met_by)]
    for field, name in named:
        if name is not None and name not in others:
            what = "is this rule itself; refer to another"
            if name != rule.id:
                what = f"is not here{did_you_mean(name, others)}"
            message = f"{rule.path}: {field} {name!r} {what}"
            raise SpecError(message)
    if rule.excepts is not None and rules[rule.excepts].excepts is not None:
        message = f"{rule.path}: excepts {rule.excepts!r}, itself an exception; name the rule that it excepts"
        raise SpecError(message)
    for part in met_by:
        _check_met_by(rule, part, rules[part.rule])
    if rule.replaces is not None:
        _check_succession(rule, rules[rule.replaces])


def _check_met_by(rule: Rule, part: MetBy, other: Rule) -> None:
    if any(isinstance(inner, MetBy) for inner in other.conditions()):
        message = f"{rule.path}: rule {other.id!r} itself refers to a rule; refer to that one instead"
        raise SpecError(message)
    names = [outcome.name for outcome in other.outcomes]
    if part.outcome is not None and not any(is_part_of(name, part.outcome) for name in names):
        message = f"{rule.path}: outcome {part.outcome!r} is none of {other.id}{did_you_mean(part.outcome, names)}"
        raise SpecError(message)


def _check_succession(rule: Rule, replaced: Rule) -> None:
    if rule.effective is not None and (replaced.until is None or replaced.until >= rule.effective):
        message = (
            f"{rule.path}: effective {rule.effective} overlaps {replaced.id}, which it replaces and which holds "
        )
        message += f"until {replaced.until or 'today'}; give {replaced.id} an until before that day"
        raise SpecError(message)


def _known_until(folders: Sequence[Path]) -> date:
    """Return the day to which the rules were followed: `known_until` at the head of the last README.md with it."""
    for folder in reversed(folders):
        path = folder / "README.md"
        head = read_text(path).split("\n---\n")[0] if path.exists() else ""
        found = re.search(r"^known_until: *(\S+)$", head, re.MULTILINE)
        if head.startswith("---\n") and found:
            try:
                return date.fromisoformat(found[1])
            except ValueError as error:
                message = f"{path}: known_until {found[1]!r} must be a date like 2026-09-25"
                raise SpecError(message) from error
    message = f"{folders[0] / 'README.md'}: known_until is missing; write it between two lines --- at the head"
    raise SpecError(message)

"""The story of a chip as data: what was cut, what the rules make of it, how near it is, and what is uncertain."""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import Final, NamedTuple

from bench.analysis.alternatives import Flip, flips, others
from bench.analysis.design import Design, Rate, design_of, unpublished_rates, value_of
from bench.analysis.export_rule import Verdict, default_day, judge
from bench.analysis.headroom import Ceiling, ceilings
from bench.published.chips import Catalogue, Chip
from bench.published.figures import FIGURES, Figure
from bench.published.rules import Rule, RuleBook
from bench.published.timeline import Event

# The figures that a cut may be seen in: every number but those per clock, and no sparse rate.
CUTTABLE: Final = tuple(
    name
    for name, kind in FIGURES.items()
    if kind.base is not None and "." not in name and not name.endswith("_sparse")
)
# Two figures that differ by no more than the rounding of sheets are the same.
_SAME: Final = Fraction(1, 200)


class Compared(NamedTuple):
    """One figure of a chip beside that of the whole part. `ratio` None: one of them was not published."""

    name: str
    own: Figure | None
    whole: Figure | None
    ratio: Fraction | None

    @property
    def change(self) -> str:
        """'cut', 'kept' or 'more', within the rounding of sheets; '' where nothing can be said."""
        if self.ratio is None:
            return ""
        if abs(self.ratio - 1) <= _SAME:
            return "kept"
        return "cut" if self.ratio < 1 else "more"


class Quota(NamedTuple):
    """How many of a chip fit into one customer's yearly quota; at most so many if its TPP is a lower bound."""

    rule: Rule
    chips: int
    at_most: bool


class Story(NamedTuple):
    """What is to be told of a chip, or of a design that does not exist (`chip` None).

    `day` None: every rule by its text of the last day that it held, bills too. `whole` is the chip that it was cut
    from, `offspring` those that were cut from it. `tried` counts the other published values that were tried;
    `unpublished` are rates of the whole part that would raise the TPP if this one had them.
    """

    design: Design
    chip: Chip | None
    day: date | None
    known_until: date
    whole: Chip | None
    offspring: tuple[str, ...]
    compared: tuple[Compared, ...]
    verdicts: tuple[Verdict, ...]
    ceilings: tuple[Ceiling, ...]
    quotas: tuple[Quota, ...]
    events: tuple[Event, ...]
    flips: tuple[Flip, ...]
    tried: int
    unpublished: tuple[Rate, ...] = ()

    @property
    def followed(self) -> bool:
        """Whether the rules of that day are known."""
        return self.day is None or self.day <= self.known_until


def story_of(chip: Chip, catalogue: Catalogue, book: RuleBook, events: Sequence[Event], day: date | None) -> Story:
    """Return the story of a chip; with `day`, by the rules in force on that day."""
    told = brief_story(chip, catalogue, book, day)
    whole = told.whole
    candidates = others(chip, whole) if told.followed else ()
    days = [_day(verdict.rule, book, day) for verdict in told.verdicts]
    return told._replace(
        events=_of_day(events, day),
        offspring=tuple(other.id for other in catalogue.offspring(chip.id)),
        compared=() if whole is None else compared(chip, whole),
        flips=flips(candidates, told.verdicts, book, days),
        tried=len(candidates),
        unpublished=() if whole is None else unpublished_rates(chip, whole),
    )


def brief_story(chip: Chip, catalogue: Catalogue, book: RuleBook, day: date | None) -> Story:
    """Return a chip's story without what was cut from it, what happened when, and what is uncertain."""
    whole = None if chip.cut_from is None else catalogue.chip(chip.cut_from)
    return imagined_story(design_of(chip, whole), book, (), day)._replace(chip=chip, whole=whole)


def imagined_story(design: Design, book: RuleBook, events: Sequence[Event], day: date | None) -> Story:
    """Return the story of a design of which nothing was published but the design itself."""
    rules = book.rules if day is None else book.in_force(day)
    known = rules if day is None or day <= book.known_until else ()
    return Story(
        design=design,
        chip=None,
        day=day,
        known_until=book.known_until,
        whole=None,
        offspring=(),
        compared=(),
        verdicts=tuple(judge(design, rule, book, _day(rule, book, day)) for rule in rules),
        ceilings=tuple(line for rule in known for line in _lines(design, rule, book, _day(rule, book, day))),
        quotas=tuple(quota(design, rule) for rule in known if rule.quota_tpp is not None and design.tpp.low > 0),
        events=_of_day(events, day),
        flips=(),
        tried=0,
    )


def _of_day(events: Sequence[Event], day: date | None) -> tuple[Event, ...]:
    return tuple(event for event in events if day is None or event.when == day.isoformat())


def _day(rule: Rule, book: RuleBook, day: date | None) -> date:
    return default_day(rule, book) if day is None else day


def _lines(design: Design, rule: Rule, book: RuleBook, day: date) -> tuple[Ceiling, ...]:
    """Return the lines of a published rule that asks for a licence; those of exceptions and reviews repeat it."""
    if rule.effect != "licence" or rule.grade != "published":
        return ()
    return ceilings(design, rule, book, day)


def compared(chip: Chip, whole: Chip) -> tuple[Compared, ...]:
    """Return the figures of a chip beside those of the whole part, where one of them was published."""
    found = []
    for name in CUTTABLE:
        own, other = chip.figures.get(name), whole.figures.get(name)
        values = [None if figure is None else value_of(figure, figure.value) for figure in (own, other)]
        if any(value is not None for value in values):
            above, below = values
            found.append(Compared(name, own, other, above / below if above and below else None))
    return tuple(found)


def quota(design: Design, rule: Rule) -> Quota:
    """Return how many whole chips fit into a rule's yearly quota of total processing performance."""
    chips = int((rule.quota_tpp or Fraction(0)) / design.tpp.low)
    return Quota(rule, chips, at_most=not design.tpp.exact)

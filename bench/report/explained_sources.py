"""Where a story's numbers come from: what happened when, what is uncertain, and every source that was named."""

from collections.abc import Mapping, Sequence

from bench.analysis.alternatives import Flip
from bench.analysis.design import Rate
from bench.analysis.explain import Story
from bench.analysis.reasons import missing_name, question_text
from bench.published.figures import Figure
from bench.published.source import Source
from bench.report.chips import figure_value, reference
from bench.report.verdict_texts import verdict_text
from bench.report.view import Column, Section
from bench.units import number


class References:
    """The sources that a text names, numbered in the order in which they first appear."""

    def __init__(self) -> None:
        self._numbers: dict[Source, int] = {}

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources named so far, in the order of their numbers."""
        return tuple(self._numbers)

    def number(self, source: Source) -> str:
        """Return the number by which a text names `source`: '[3]'."""
        return f"[{self._numbers.setdefault(source, len(self._numbers) + 1)}]"

    def mark(self, source: Source) -> str:
        """Return its number and its grade: '[3] analyst'."""
        return f"{self.number(source)} {source.grade}"

    def section(self) -> Section | None:
        """Return the list of all sources named so far."""
        if not self._numbers:
            return None
        return Section(title="Sources", lead=[reference(source, n) for source, n in self._numbers.items()])


def timeline(story: Story, references: References) -> Section | None:
    """Return what happened when; None for a day on which nothing did."""
    if not story.events:
        return None
    return Section(
        title="What happened when",
        columns=[Column("date"), Column("event", width=80), Column("source")],
        rows=[
            [event.when, f"{event.text}{' (the article)' if event.article else ''}", references.mark(event.source)]
            for event in story.events
        ],
    )


def uncertain(story: Story, references: References) -> Section | None:
    """Return on which figures the verdicts rest, who says so, and whether another published value changes one."""
    if story.chip is None:
        return None
    return Section(
        title="What is uncertain",
        columns=[Column("figure"), Column("value"), Column("source"), Column("note", width=70)],
        rows=[_evidence_row(figure, references) for figure in _evidence(story)],
        lead=[*_disputes(story, references), *_open_questions(story)],
        notes=_market_note(story, references),
    )


def _disputes(story: Story, references: References) -> list[str]:
    if not story.followed:
        return [f"The rules were followed until {story.known_until}: of {story.day} nothing can be said."]
    if not story.tried:
        return ["No source gives another value of a figure that the rules look at."]
    tried = f"{story.tried} other published value{'' if story.tried == 1 else 's'}, tried one at a time"
    if not story.flips:
        return [f"No verdict depends on which source is right: of {tried}, none changes one."]
    changed = dict.fromkeys(flip.other for flip in story.flips)
    return [
        f"Of {tried}, {len(changed)} would change a verdict:",
        *(_flip_text([f for f in story.flips if f.other == other], references) for other in changed),
    ]


def _open_questions(story: Story) -> list[str]:
    """Say which verdicts are unknown: for a question that the text leaves open, or for want of a figure."""
    unknown = [verdict for verdict in story.verdicts if verdict.met is None] if story.followed else []
    by_question = [
        f"{verdict.rule.id} ({', '.join(question_text(name) for name in verdict.questions)})"
        for verdict in unknown
        if verdict.questions and not verdict.missing
    ]
    by_figure = [verdict for verdict in unknown if verdict.missing]
    lines = [f"Open although the figures are there: {', '.join(by_question)}."] if by_question else []
    if by_figure:
        names = ", ".join(missing_name(name) for name in dict.fromkeys(n for v in by_figure for n in v.missing))
        ids = ", ".join(verdict.rule.id for verdict in by_figure)
        lines.append(f"Open for want of a published figure ({names}): {ids}.")
    return [*lines, *(_unpublished_text(rate, story) for rate in story.unpublished)]


def _unpublished_text(rate: Rate, story: Story) -> str:
    whole = f"; that of {story.whole.id} would make a TPP of {number(rate.tpp)}" if story.whole else ""
    return f"Counted by its other published rate: {rate.name} was not published{whole}."


def _flip_text(flips: Sequence[Flip], references: References) -> str:
    other = flips[0].other
    who = ", ".join(references.mark(source) for source in other.sources)
    why = f" {' '.join(other.notes)}" if other.notes else ""
    changes = "; ".join(
        f"{flip.before.rule.id}: {verdict_text(flip.before)} → {verdict_text(flip.after)}" for flip in flips
    )
    return f"{other.figure.name} {figure_value(other.figure, other.value)} by {who}: {changes}.{why}"


def _evidence(story: Story) -> list[Figure]:
    """Return the figures on which the verdicts rest: the rate that sets the TPP, die area, links and memory."""
    figures: Mapping[str, Figure] = {} if story.chip is None else story.chip.figures
    best = [rate.figure for rate in story.design.rates[:1] if rate.figure is not None]
    names = ("die_area", "nvlink", "pcie", "memory_bandwidth", "transistors")
    return best + [figures[name] for name in names if name in figures]


def _evidence_row(figure: Figure, references: References) -> list[str]:
    value = figure.status if figure.value is None else figure_value(figure, figure.value)
    return [figure.name, value, references.mark(figure.source) if figure.source else "", figure.note or ""]


def _market_note(story: Story, references: References) -> list[str]:
    if story.chip is None:
        return []
    designed, identity = story.chip.designed_for, story.chip.identity
    source = f"by {references.mark(designed.source)}" if designed.source else "unsourced"
    note = f": {designed.note}" if designed.note else "."
    return [f"Designed for: {designed.value}, {source}{note}", *([identity.note] if identity.note else [])]

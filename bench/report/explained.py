"""The view of one chip's story: what was cut, the arithmetic, every rule, how near, when, and how sure."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from bench.analysis.alternatives import Flip
from bench.analysis.design import Design, Rate, Span
from bench.analysis.explain import Quota, Story
from bench.analysis.export_rule import Verdict
from bench.analysis.headroom import Ceiling
from bench.analysis.reasons import missing_name, number
from bench.published.conditions import QUANTITIES, Comparison
from bench.published.figures import Figure
from bench.report.chips import LEGEND, common_unit, figure_text
from bench.report.explained_data import story_document, verdict_records
from bench.report.verdict_texts import (
    in_force_text,
    margin_text,
    rule_note,
    verdict_text,
)
from bench.report.view import Column, Section, View, percent, significant

DISCLAIMER: Final = "This is arithmetic on published figures, not legal advice."
_TPP: Final = (
    "TPP (total processing performance) = 2 x MacTOPS x bit length, the highest over all formats. A sheet's TOPS "
    "and TFLOPS already count a multiply-accumulate as two, so they are 2 x MacTOPS; only dense rates count."
)
_ONE_RATE: Final = (
    "Whether the tensor-core and the CUDA-core rates of one die may be added, the rule's text does not say. Every "
    "published table takes the best single figure; so does this one."
)
_NO_AREA: Final = "There is no performance density: the chip has no applicable die area."


def explained(story: Story) -> View:
    """Return the story of a chip in sections, its verdicts as records, and all of it as data."""
    name = story.chip.name if story.chip else "A design that does not exist"
    when = f" on {story.day}" if story.day else ""
    sections = [_short(story), _cut(story), _performance(story), _rules(story), _headroom(story)]
    sections += [_timeline(story), _uncertain(story), _citations(story)]
    return View(
        title=f"{name} ({story.design.label}): what was cut, and what the export rules say{when}",
        columns=(),
        rows=(),
        records=verdict_records(story),
        document=story_document(story),
        notes=[f"Rules known until {story.known_until}. {DISCLAIMER}"],
        sections=[section for section in sections if section],
    )


def _short(story: Story) -> Section:
    design = story.design
    lines = [performance_text(design)]
    when = f"On {story.day}: " if story.day else ""
    for met, label in ((False, "not covered by"), (True, "covered by"), (None, "unknown under")):
        ids = [_named(verdict) for verdict in story.verdicts if verdict.met is met and _asks_licence(verdict)]
        lines += [_sentence(f"{when}{label} {', '.join(ids)}.")] if ids else []
    nearest = _nearest(story)
    return Section(title="In short", lead=[*lines, *([nearest] if nearest else [])])


def _asks_licence(verdict: Verdict) -> bool:
    return verdict.rule.effect == "licence"


def _named(verdict: Verdict) -> str:
    reported = verdict.rule.grade == "reported"
    return f"{verdict.rule.id}{' (reported, not published)' if reported else ''}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _nearest(story: Story) -> str | None:
    """Say how much of what a rule allows is used: of the lines below which the chip stays, the nearest."""
    below = [
        (share, line)
        for line in story.ceilings
        if (share := line.share(story.design)) is not None and share < 1 and story.design.tpp.exact
    ]
    if not below or len({line.data_centre for _, line in below} - {None}) > 1:
        return None
    share, line = max(below, key=lambda entry: entry[0])
    most = " and ".join(_binding_text(part) for part in line.binding)
    return f"It reaches {percent(float(share))} of the most that {line.rule.id} leaves to its die ({most})."


def performance_text(design: Design) -> str:
    """Return TPP and performance density with the arithmetic: 'TPP 2368 = 296 TFLOPS (fp8, dense) x 8 bit; …'."""
    if not design.rates:
        return f"TPP is unknown; not published: {_missing(design.tpp)}."
    best = design.rates[0]
    bound = "" if design.tpp.exact else "at least "
    text = f"TPP {bound}{number(best.tpp)} = {_rate_text(best)} ({best.name}, dense) x {best.bits} bit"
    if design.density is None:
        return f"{text}. {_NO_AREA}"
    if design.die_area is None or not design.die_area.exact:
        return f"{text}; performance density unknown, as the die area was not published."
    area = number(design.die_area.low)
    return f"{text}; performance density {bound}{number(design.density.low)} = {number(best.tpp)} / {area} mm2."


def _missing(span: Span) -> str:
    return ", ".join(missing_name(name) for name in span.missing)


def _rate_text(rate: Rate) -> str:
    unit = rate.figure.unit if rate.figure is not None and rate.figure.unit else "TOPS"
    value = rate.figure.value if rate.figure is not None else number(rate.tops)
    return f"{value} {unit}"


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
            Column(""),
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


def _performance(story: Story) -> Section:
    design = story.design
    rows = [
        [rate.name, _rate_text(rate), str(rate.bits), number(rate.tpp), _source(rate.figure)]
        for rate in design.rates
    ]
    return Section(
        title="Total processing performance and performance density",
        columns=[
            Column("format"),
            *(Column(head, "right") for head in ("dense rate", "bits", "TPP")),
            Column("source"),
        ],
        rows=rows,
        lead=[performance_text(design), *_bound(design), *_other_quantities(design)],
        notes=[_TPP, _ONE_RATE],
    )


def _bound(design: Design) -> list[str]:
    if design.tpp.exact:
        return []
    return [f"A lower bound: the chip may have these formats, and no rate was published: {_missing(design.tpp)}."]


def _other_quantities(design: Design) -> list[str]:
    io = " or ".join(f"{span_text(reading.span, 'GB/s')} ({reading.label})" for reading in design.io)
    market = "Designed for data centres." if design.data_centre == (True,) else "Not designed for data centres."
    if len(design.data_centre) > 1:
        market = "Whether it is designed for data centres, no maker's page decides: both are tried."
    return [
        f"I/O, both directions: {io}. Memory bandwidth: {span_text(design.memory_bandwidth, 'GB/s')}.",
        market,
    ]


def span_text(span: Span | None, unit: str) -> str:
    """Return a quantity as text: its value, 'at least' its bound, or 'unknown'."""
    if span is None:
        return "none"
    if span.exact:
        return f"{number(span.low)} {unit}".rstrip()
    return f"at least {number(span.low)} {unit}".rstrip() if span.low > 0 else "unknown"


def _source(figure: Figure | None) -> str:
    return f"{figure.source.title} ({figure.source.grade})" if figure is not None and figure.source else "as given"


def _rules(story: Story) -> Section:
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
        title="The rules and where they stand", lead=[rule_note(verdict.rule) for verdict in story.verdicts]
    )


def _verdict_row(verdict: Verdict) -> list[str]:
    grade = "" if verdict.rule.grade == "published" else f" ({verdict.rule.grade})"
    return [
        f"{verdict.rule.id}{grade}",
        in_force_text(verdict.rule),
        verdict_text(verdict),
        margin_text(verdict.margin),
        verdict.reason,
    ]


def _headroom(story: Story) -> Section | None:
    rows = [_ceiling_row(line, story.design) for line in story.ceilings]
    quotas = [_quota_text(quota) for quota in story.quotas]
    if not rows and not quotas:
        return None
    return Section(
        title="How close to the most that the rules allow",
        columns=[
            Column("rule"),
            Column("line that binds"),
            Column("TPP", "right"),
            Column("as a dense rate"),
            Column("of which it uses", "right"),
        ],
        rows=rows,
        lead=["The most that a chip of this die area, memory and I/O may reach and stay outside."],
        notes=quotas,
    )


def _quota_text(quota: Quota) -> str:
    count = f"{'At most ' if quota.at_most else ''}{quota.chips:,}"
    allowed = f"{int(quota.rule.quota_tpp or 0):,} TPP that one customer could receive in a year without a licence"
    return f"{count} of this chip fit into the {allowed} under {quota.rule.id}."


def _ceiling_row(line: Ceiling, design: Design) -> list[str]:
    market = {True: ", if for data centres", False: ", if not for data centres", None: ""}[line.data_centre]
    name = f"{line.rule.id}{market if len(design.data_centre) > 1 else ''}"
    if line.tpp is None:
        return [name, "met whatever its TPP" if line.always else "none: no TPP would meet it", "", "", ""]
    sign = "≤" if line.inclusive else "<"
    share = line.share(design)
    return [
        name,
        " and ".join(_binding_text(part) for part in line.binding),
        f"{sign} {number(line.tpp)}",
        _as_rate(line.tpp, design.rates, sign),
        "" if share is None else f"{'' if design.tpp.exact else 'at least '}{percent(float(share))}",
    ]


def _binding_text(part: Comparison) -> str:
    name, unit = QUANTITIES[part.quantity]
    sign = "<" if part.relation == "at_least" else "≤"
    return f"{name} {sign} {number(part.threshold)} {unit}".rstrip()


def _as_rate(tpp: Fraction, rates: Sequence[Rate], sign: str) -> str:
    if not rates:
        return ""
    unit = rates[0].figure.unit if rates[0].figure is not None else "TOPS"
    return f"{rates[0].name} {sign} {number(tpp / rates[0].bits)} {unit}"


def _timeline(story: Story) -> Section | None:
    if not story.events:
        return None
    return Section(
        title="What happened when",
        columns=[Column("date"), Column("event", width=64), Column("source", width=36)],
        rows=[
            [event.when, f"{event.text}{' (the article)' if event.article else ''}", f"{event.source.title}"]
            for event in story.events
        ],
    )


def _uncertain(story: Story) -> Section | None:
    if story.chip is None:
        return None
    flips = [_flip_text(flip) for flip in story.flips]
    tried = f"{story.tried} other published value{'' if story.tried == 1 else 's'} of these figures"
    if not story.tried:
        flips = ["Of these figures, no source gives another value."]
    elif not flips:
        flips = [
            f"No verdict depends on which source is right: of {tried}, tried one at a time, none changes one."
        ]
    else:
        flips.insert(0, f"Of {tried}, tried one at a time, these change a verdict:")
    return Section(
        title="What is uncertain",
        columns=[Column(head, width=36) for head in ("figure", "value", "grade", "source", "note")],
        rows=[_evidence_row(figure) for figure in evidence(story)],
        lead=flips,
        notes=_market_note(story),
    )


def evidence(story: Story) -> list[Figure]:
    """Return the figures on which the verdicts rest: the rate that sets the TPP, die area, links and memory."""
    figures = {} if story.chip is None else story.chip.figures
    best = [rate.figure for rate in story.design.rates[:1] if rate.figure is not None]
    names = ("die_area", "nvlink", "pcie", "memory_bandwidth", "transistors")
    return best + [figures[name] for name in names if name in figures]


def _evidence_row(figure: Figure) -> list[str]:
    value = figure.status if figure.value is None else f"{figure.value} {figure.unit or ''}".strip()
    title = figure.source.title if figure.source else ""
    return [figure.name, value, figure.grade or "", title, figure.note or ""]


def _market_note(story: Story) -> list[str]:
    if story.chip is None:
        return []
    designed = story.chip.designed_for
    source = f"by {designed.source.title} ({designed.source.grade})" if designed.source else "unsourced"
    note = f": {designed.note}" if designed.note else ""
    own = [story.chip.identity.note] if story.chip.identity.note else []
    return [f"Designed for {designed.value}, {source}{note}", *own]


def _flip_text(flip: Flip) -> str:
    other = flip.other
    unit = f" {other.figure.unit}" if other.figure.unit else ""
    who = ", ".join(f"{source.title} ({source.grade})" for source in other.sources)
    why = f" {' '.join(other.notes)}" if other.notes else ""
    before, after = verdict_text(flip.before), verdict_text(flip.after)
    return f"{other.figure.name} {other.value}{unit} by {who}: {flip.before.rule.id} {before} → {after}.{why}"

"""The numbers of a story: processing performance and density written out, and how near the lines they are."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from bench.analysis.design import Design, Rate, Span
from bench.analysis.explain import Quota, Story
from bench.analysis.headroom import Ceiling
from bench.analysis.reasons import missing_name
from bench.published.conditions import QUANTITIES, Comparison
from bench.report.explained_sources import References
from bench.report.verdict_texts import in_force_text, rule_text
from bench.report.view import Column, Section, percent, significant
from bench.units import exact, number

_TPP: Final = (
    "TPP (total processing performance) = 2 x MacTOPS x bit length, the highest over all formats. A sheet's TOPS "
    "and TFLOPS already count a multiply-accumulate as two, so they are 2 x MacTOPS; only dense rates count."
)
_ONE_RATE: Final = (
    "Whether the tensor-core and the CUDA-core rates of one die may be added, the rule's text does not say. Every "
    "published table takes the best single figure; so does this one."
)
_NO_AREA: Final = "There is no performance density: the chip has no applicable die area."


def performance_text(design: Design) -> str:
    """Return TPP and performance density with the arithmetic: 'TPP 2368 = 296 TFLOPS (fp8, dense) x 8 bit; …'."""
    if not design.rates:
        lacking = f"is unknown; not published: {_missing(design.tpp)}"
        return f"TPP {'0: it has none of the formats' if design.tpp.exact else lacking}."
    best = design.rates[0]
    bound = "" if design.tpp.exact else "at least "
    text = f"TPP {bound}{exact(best.tpp)} = {_rate_text(best)} ({best.name}, dense) x {best.bits} bit"
    if design.density is None:
        return f"{text}. {_NO_AREA}"
    if design.die_area is None or not design.die_area.exact:
        lacking = "no die area was given" if design.id is None else "the die area was not published"
        return f"{text}; performance density unknown: {lacking}."
    density, area = number(design.density.low), number(design.die_area.low)
    sign = "=" if Fraction(density.replace(",", "")) == design.density.low else "≈"
    return f"{text}; performance density {bound}{density} {sign} {exact(best.tpp)} / {area} mm2."


def _missing(span: Span) -> str:
    return ", ".join(missing_name(name) for name in span.missing)


def _rate_text(rate: Rate) -> str:
    unit = rate.figure.unit if rate.figure is not None and rate.figure.unit else "TOPS"
    value = rate.figure.value if rate.figure is not None else exact(rate.tops)
    return f"{value} {unit}"


def performance(story: Story, references: References) -> Section:
    """Return every published rate with what it makes, and the other quantities that rules look at."""
    design = story.design
    rows = [
        [rate.name, _rate_text(rate), str(rate.bits), exact(rate.tpp), _source(rate, references)]
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


def _source(rate: Rate, references: References) -> str:
    source = rate.figure.source if rate.figure is not None else None
    return "as given" if source is None else references.mark(source)


def headroom(story: Story) -> Section | None:
    """Return the lines below which the chip stays outside, or would have to; None where no rule draws one."""
    rows = [_ceiling_row(line, story.design) for line in story.ceilings]
    quotas = [_quota_text(quota, story) for quota in story.quotas]
    if not rows and not quotas:
        return None
    return Section(
        title="How close to the most that the rules allow",
        columns=[
            Column("rule"),
            Column("line that binds"),
            Column("TPP", "right"),
            Column("as a dense rate"),
            Column("this chip", "right"),
        ],
        rows=rows,
        lead=["The highest TPP at which a chip of this die area, memory and I/O is not covered."],
        notes=quotas,
    )


def _quota_text(quota: Quota, story: Story) -> str:
    count = f"{'At most ' if quota.at_most else ''}{quota.chips:,}"
    allowed = f"{int(quota.rule.quota_tpp or 0):,} TPP that one customer could receive in a year without a licence"
    met = next(verdict.met for verdict in story.verdicts if verdict.rule.id == quota.rule.id)
    counted = {True: "", None: "; whether it looks at this chip is unknown"}.get(
        met, "; but it does not look at this chip, so that none would have counted"
    )
    rule = f"{quota.rule.id} ({in_force_text(quota.rule)})"
    return f"{count} of this chip fit into the {allowed} under {rule}{counted}."


def _ceiling_row(line: Ceiling, design: Design) -> list[str]:
    market = {True: ", if for data centres", False: ", if not for data centres", None: ""}[line.data_centre]
    name = f"{rule_text(line.rule)}{market if len(design.data_centre) > 1 else ''}"
    if line.tpp is None:
        return [name, "met whatever its TPP" if line.always else "none: no TPP would meet it", "", "", ""]
    sign = "≤" if line.inclusive else "<"
    share = line.share(design)
    return [
        name,
        _binding(line),
        f"{sign} {number(line.tpp)}",
        _as_rate(line.tpp, design.rates, sign),
        "" if share is None else f"{'' if design.tpp.exact else 'at least '}{_share_text(float(share))}",
    ]


def _binding_text(part: Comparison) -> str:
    name, unit = QUANTITIES[part.quantity]
    sign = "<" if part.relation == "at_least" else "≤"
    return f"{name} {sign} {number(part.threshold)} {unit}".rstrip()


def _as_rate(tpp: Fraction, rates: Sequence[Rate], sign: str) -> str:
    """Return the dense rate in the chip's best format that makes this TPP, in tera-operations a second."""
    if not rates:
        return ""
    figure = rates[0].figure
    unit = "TFLOPS" if figure is not None and figure.base_unit == "flop_per_s" else "TOPS"
    return f"{rates[0].name} {sign} {number(tpp / rates[0].bits)} {unit}"


def nearest_line(story: Story) -> str | None:
    """Say how much of what the tightest line allows is used; None where there is no line, or two."""
    design = story.design
    unknown_area = design.die_area is not None and not design.die_area.exact
    if not design.tpp.exact or unknown_area or len(design.data_centre) > 1:
        return None
    lines = [(line.tpp, line) for line in story.ceilings if line.tpp is not None]
    if not lines:
        return None
    tpp, line = min(lines, key=lambda entry: entry[0])
    share = float(design.tpp.low / tpp)
    most = f"the most that {line.rule.id} leaves to such a chip ({_binding(line)})"
    return (
        f"It reaches {_share_text(share)} of {most}."
        if share < 1
        else f"It has {significant(share, 3)} times {most}."
    )


def _binding(line: Ceiling) -> str:
    return " and ".join(_binding_text(part) for part in line.binding)


def _share_text(share: float) -> str:
    """Return a share as per cent; one that is below 1 never reads as the whole."""
    text = percent(share)
    return "just under 100 %" if share < 1 and text == percent(1) else text

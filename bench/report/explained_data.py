"""A story as data: the JSON of `explain`, numbers in base units, and its verdicts as rows for CSV."""

from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from bench.analysis.alternatives import Flip
from bench.analysis.design import GIGA, TERA, Design, Rate, Span
from bench.analysis.evaluation import Gap
from bench.analysis.explain import Compared, Story
from bench.analysis.export_rule import Verdict
from bench.analysis.headroom import Ceiling
from bench.published.conditions import QUANTITIES
from bench.published.source import Source
from bench.published.timeline import Event

# The base unit of a quantity that rules print in a unit, and how many of it that unit is.
_BASE: Final = MappingProxyType(
    {"GB/s": ("byte_per_s", GIGA), "GB/s/mm2": ("byte_per_s_per_mm2", GIGA), "": (None, 1)}
)


def story_document(story: Story) -> dict[str, Any]:
    """Return the whole story for JSON."""
    design = story.design
    return {
        **verdict_document(story),
        "name": story.chip.name if story.chip else None,
        "on": story.day.isoformat() if story.day else None,
        "designed_for_data_centres": design.data_centre[0] if len(design.data_centre) == 1 else None,
        "rates": [_rate(rate) for rate in design.rates],
        "unpublished_formats": list(design.tpp.missing),
        "die_area_mm2": _value(design.die_area),
        "io": [{"reading": reading.label, **_bandwidth(reading.span)} for reading in design.io],
        "memory_bandwidth": _bandwidth(design.memory_bandwidth),
        "cut_from": story.whole.id if story.whole else None,
        "cut_into": list(story.offspring),
        "cut": [compared_document(row) for row in story.compared],
        "ceilings": [_ceiling(line, design) for line in story.ceilings],
        "quotas": [{"rule": q.rule.id, "chips": q.chips, "at_most": q.at_most} for q in story.quotas],
        "timeline": [_event(event) for event in story.events],
        "alternatives_tried": story.tried,
        "flips": [_flip(flip) for flip in story.flips],
    }


def verdict_document(story: Story) -> dict[str, Any]:
    """Return a chip's performance and its verdicts for JSON; `tpp` None: no rate was published."""
    design = story.design
    return {
        "chip": design.id,
        "tpp": plain(design.tpp.low) if design.rates else None,
        "tpp_is_lower_bound": not design.tpp.exact,
        "performance_density": plain(design.density.low) if design.density and known_density(design) else None,
        "known_until": story.known_until.isoformat(),
        "verdicts": [_verdict(verdict) for verdict in story.verdicts],
    }


def verdict_records(story: Story) -> list[dict[str, Any]]:
    """Return one row a verdict."""
    document = verdict_document(story)
    head = {name: document[name] for name in ("chip", "tpp", "tpp_is_lower_bound", "performance_density")}
    return [{**head, **_record(verdict)} for verdict in story.verdicts]


def plain(value: Fraction) -> int | float:
    """Return an exact number as JSON has it: an int where it is whole."""
    return int(value) if value.denominator == 1 else float(value)


def known_density(design: Design) -> bool:
    """Whether a design's performance density is a number: some rate is known, and its die area."""
    return bool(design.rates) and design.die_area is not None and design.die_area.exact


def _verdict(verdict: Verdict) -> dict[str, Any]:
    rule = verdict.rule
    days = {name: getattr(rule, name) for name in ("published", "effective", "compliance", "until")}
    return {
        "rule": rule.id,
        "title": rule.title,
        "citation": rule.citation,
        **{name: day.isoformat() if day else None for name, day in days.items()},
        "grade": rule.grade,
        "met": verdict.met,
        "outcome": verdict.outcome,
        "exception": verdict.exception,
        "exception_is_unknown": verdict.possible_exception is not None,
        "effect": verdict.effect,
        "reason": verdict.reason,
        "margin": _margin(verdict.margin),
        "missing": list(verdict.missing),
        "paragraphs": [
            {"name": part.name, "met": part.met, "margin": _margin(part.margin)} for part in verdict.paragraphs
        ],
    }


def _margin(gap: Gap | None) -> dict[str, Any] | None:
    if gap is None:
        return None
    unit, factor = _BASE[QUANTITIES[gap.quantity].unit]
    return {
        "quantity": gap.quantity,
        "value": plain(gap.value * factor),
        "threshold": plain(gap.threshold * factor),
        "unit": unit,
        "relative": float(gap.relative),
    }


def _record(verdict: Verdict) -> dict[str, Any]:
    document = _verdict(verdict)
    margin = document.pop("margin") or {}
    del document["missing"], document["paragraphs"]
    names = ("quantity", "value", "threshold", "unit", "relative")
    return {**document, **{f"margin_{name}": margin.get(name) for name in names}}


def _rate(rate: Rate) -> dict[str, Any]:
    figure = rate.figure
    return {
        "name": rate.name,
        "bits": rate.bits,
        "value": plain(rate.tops * TERA),
        "unit": figure.base_unit if figure else "op_per_s",
        "tpp": plain(rate.tpp),
        "source": _source(figure.source) if figure and figure.source else None,
    }


def _bandwidth(span: Span | None) -> dict[str, Any]:
    """Return a bandwidth: its value, or its lower bound where it is one; null where there is no such thing."""
    if span is None:
        return {"value": None, "unit": "byte_per_s", "is_lower_bound": False, "missing": []}
    value = plain(span.low * GIGA) if span.exact or span.low > 0 else None
    return {"value": value, "unit": "byte_per_s", "is_lower_bound": not span.exact, "missing": list(span.missing)}


def _value(span: Span | None) -> int | float | None:
    return plain(span.low) if span is not None and span.exact else None


def compared_document(row: Compared) -> dict[str, Any]:
    """Return one figure of a chip beside the other's, for JSON."""
    return {
        "figure": row.name,
        "value": row.own.in_base_units(row.own.value) if row.own else None,
        "whole": row.whole.in_base_units(row.whole.value) if row.whole else None,
        "unit": (row.own or row.whole).base_unit if row.own or row.whole else None,  # type: ignore[union-attr]
        "ratio": float(row.ratio) if row.ratio is not None else None,
        "change": row.change or None,
    }


def _ceiling(line: Ceiling, design: Design) -> dict[str, Any]:
    share = line.share(design)
    return {
        "rule": line.rule.id,
        "for_data_centres": line.data_centre,
        "tpp": plain(line.tpp) if line.tpp is not None else None,
        "inclusive": line.inclusive,
        "always_met": line.always,
        "binding": [{"quantity": part.quantity, "threshold": plain(part.threshold)} for part in line.binding],
        "share": float(share) if share is not None else None,
    }


def _event(event: Event) -> dict[str, Any]:
    return {"when": event.when, "text": event.text, "article": event.article, "source": _source(event.source)}


def _flip(flip: Flip) -> dict[str, Any]:
    return {
        "figure": flip.other.figure.name,
        "value": flip.other.figure.in_base_units(flip.other.value),
        "unit": flip.other.figure.base_unit,
        "sources": [_source(source) for source in flip.other.sources],
        "rule": flip.before.rule.id,
        "before": {"met": flip.before.met, "outcome": flip.before.outcome},
        "after": {"met": flip.after.met, "outcome": flip.after.outcome},
    }


def _source(source: Source) -> dict[str, str | None]:
    return {"title": source.title, "url": source.url, "grade": source.grade}

"""What a model's steps take on several chips, as sections of tables and as data."""

from collections.abc import Sequence
from typing import Any, Final

from bench.analysis.steps import InUse
from bench.analysis.times import Times
from bench.published.models import Model
from bench.report.columns import KINDS
from bench.report.view import Column, Section, significant
from bench.units import format_si
from bench.workloads.llm import STEPS, Step

_DIGITS: Final = 3
_WHAT: Final = (
    "a step: the matrix multiplies by the model's weights, one after the other, as if one device held them all; "
    "attention itself, communication and the time between calls are not in it"
)
_EXPERTS: Final = "a decode of M is one token of each of M sequences; a prefill of M is a prompt of M tokens"
_SHEET: Final = "projected by the sheet: at the published peak and bandwidth, so the least that a step can take"
_POWER: Final = (
    "energy at the published board power, the most that it may draw; of a measurement at the power that was drawn"
)


def steps_sections(model: Model, uses: Sequence[InUse]) -> list[Section]:
    """Return the times of a model's steps on each chip, beside the first's, and what they cost."""
    steps = [step for step in STEPS if any(use.at(step) for use in uses)]
    if not steps:
        return []
    return [_times(model, uses, steps), *_costs(model, uses, steps)]


def _times(model: Model, uses: Sequence[InUse], steps: Sequence[Step]) -> Section:
    first = uses[0]
    columns = [(Column("step"), [str(step) for step in steps])]
    columns += [(Column(_head(use), "right"), [_time(use.at(step)) for step in steps]) for use in uses]
    columns += [(Column(f"{first.label} ÷ {use.label}", "right"), _speeds(first, use, steps)) for use in uses[1:]]
    columns.append((Column(f"tokens/s on {first.label}", "right"), [_tokens(first, step) for step in steps]))
    sheet = [_SHEET] if any(_is_sheet(use) for use in uses) else []
    ratio = f"÷: how fast {first.label} is beside another; above 1 it is the faster one" if len(uses) > 1 else ""
    return _section(
        f"{model.name} in {model.weights}: time of a step",
        columns,
        [_WHAT, _EXPERTS, *([ratio] if ratio else []), *sheet, *_missing(uses)],
    )


def _costs(model: Model, uses: Sequence[InUse], steps: Sequence[Step]) -> list[Section]:
    columns = [(Column("step"), [str(step) for step in steps])]
    columns += [
        (Column(f"J a token, {use.label}", "right"), [_number(use.joules(step)) for step in steps])
        for use in uses
        if any(use.joules(step) for step in steps)
    ]
    columns += [
        (Column(f"USD per million tokens, {use.label}", "right"), [_number(use.usd(step)) for step in steps])
        for use in uses
        if use.usd_per_hour is not None
    ]
    if len(columns) == 1:
        return []
    prices = [f"{use.label} at {use.usd_per_hour:g} USD an hour" for use in uses if use.usd_per_hour is not None]
    notes = [_POWER, *([f"prices as given: {'; '.join(prices)}"] if prices else [])]
    return [_section(f"{model.name} in {model.weights}: energy and money", columns, notes)]


def _section(title: str, columns: Sequence[tuple[Column, list[str]]], notes: Sequence[str]) -> Section:
    rows = [[texts[index] for _, texts in columns] for index in range(len(columns[0][1]))]
    return Section(title, [column for column, _ in columns], rows, notes=notes)


def _is_sheet(use: InUse) -> bool:
    return use.kind == "projected" and all(
        one.seconds.slow == one.seconds.fast for one in use.times if one.seconds is not None
    )


def _head(use: InUse) -> str:
    return f"{use.label} ({KINDS[use.kind]})"


def _time(seconds: Times | None) -> str:
    if seconds is None:
        return ""
    text = format_si(seconds.expected, "s", digits=_DIGITS)
    if seconds.slow == seconds.fast:
        return text
    ends = (format_si(end, "s", digits=_DIGITS) for end in (seconds.fast, seconds.slow))
    return f"{text} ({' … '.join(ends)})"


def _speeds(first: InUse, use: InUse, steps: Sequence[Step]) -> list[str]:
    found = []
    for step in steps:
        mine, its = first.at(step), use.at(step)
        found.append(f"{significant(its.expected / mine.expected, _DIGITS)}×" if mine and its else "")
    return found


def _tokens(use: InUse, step: Step) -> str:
    seconds = use.at(step)
    return "" if seconds is None else significant(step.tokens / seconds.expected, _DIGITS)


def _number(value: float | None) -> str:
    return "" if value is None else significant(value, _DIGITS)


def _missing(uses: Sequence[InUse]) -> list[str]:
    """Say of which steps something was not measured, or is not published."""
    found = []
    for use in uses:
        lacking = {name: None for one in use.times if one.seconds is None for name in one.missing}
        if lacking:
            some = ", ".join(list(lacking)[:3])
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            found.append(f"{use.label}: nothing is known of {some}{more}, so that steps with these have no time")
    return found


def steps_document(model: Model, uses: Sequence[InUse]) -> dict[str, Any]:
    """Return the steps of a model for JSON: seconds, tokens per second, joules and USD of each chip."""
    return {
        "model": model.id,
        "name": model.name,
        "weights": model.weights,
        "weight_bytes": model.weight_bytes,
        "chips": [
            {
                "label": use.label,
                "kind": use.kind,
                "usd_per_hour": use.usd_per_hour,
                "steps": [_step_document(use, step) for step in STEPS],
            }
            for use in uses
        ],
    }


def _step_document(use: InUse, step: Step) -> dict[str, Any]:
    seconds = use.at(step)
    return {
        "step": "prefill" if step.prefill else "decode",
        "tokens": step.tokens,
        "seconds": seconds and seconds.expected,
        "seconds_lo": seconds and seconds.fast,
        "seconds_hi": seconds and seconds.slow,
        "tokens_per_s": seconds and step.tokens / seconds.expected,
        "w": use.watts.get(step),
        "j_per_token": use.joules(step),
        "usd_per_million_tokens": use.usd(step),
    }

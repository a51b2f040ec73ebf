"""What a model's steps take on several chips, as sections of tables and as data."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from bench.analysis.in_use import ModelInUse, Pair
from bench.analysis.steps import SHEET, InUse, StepTime
from bench.analysis.times import Times
from bench.published.models import Model
from bench.report.columns import KINDS
from bench.report.view import Column, Section, Texts, View, few, section_of, significant
from bench.units import format_si
from bench.workloads.llm import STEPS, Step

_DIGITS: Final = 3
_MOST_NAMED: Final = 3
_WHAT: Final = (
    "a step: the matrix multiplies by the model's weights, one after the other, as if one device held them all "
    "(several share time and cost); attention itself, communication and the time between calls are not in it"
)
_STEPS: Final = "decode of M: one token of each of M sequences; prefill of M: a prompt of M tokens"
_SHEET: Final = (
    "projected by the sheets alone: at the published peaks and bandwidths, so the least that a step can take"
)
_RECORD: Final = (
    "projected from what was measured on the other chip; 'chipbench project' tells how, product by product"
)
_POWER: Final = (
    "energy: at the published board power, the most that it may draw, at the slow end of a range; of what was "
    "measured, at the power that was drawn"
)


def in_use_sections(found: Iterable[ModelInUse]) -> list[Section]:
    """Return, for every model, its steps by the sheets of all chips, and those that records tell of."""
    sections = []
    for one in found:
        title = f"What it means in use: {one.model.name} in {one.model.weights}"
        sections += _sheet_sections(one, title)
        sections += pair_sections(one.pairs, one.model, f"{title}, from records", costs=False) if one.pairs else []
    told: set[str] = set()
    return [section._replace(notes=_new(section.notes, told)) for section in sections]


def _new(notes: Sequence[str], told: set[str]) -> list[str]:
    """Return the notes that no section before has told."""
    new = [note for note in notes if note not in told]
    told.update(new)
    return new


def with_steps(view: View, model: Model, use: InUse) -> View:
    """Return a view of measured products with the steps of their model below them."""
    steps = [step for step in STEPS if use.at(step)]
    title = f"{model.name} in {use.instead or model.weights}: the steps"
    products = Section("The products", view.columns, view.rows, records=view.records)
    told = section_of(title, [*_own_columns(use, steps)], [_WHAT, _STEPS, *_missing([use])])
    told = told._replace(records=_records(model, [use]))
    sections = [products, told if steps else Section(title, lead=[f"{line}." for line in _missing([use])])]
    document = {**view.document, "in_use": steps_document(model, [use])}
    return view._replace(columns=(), rows=(), sections=sections, document=document)


def _own_columns(use: InUse, steps: Sequence[Step]) -> list[Texts]:
    columns = [
        (Column("step"), [str(step) for step in steps]),
        _time_column(use, steps),
        _tokens_column(use, steps),
    ]
    joules = [_number(use.joules(step)) for step in steps]
    return [*columns, (Column("J a token", "right"), joules)] if any(joules) else columns


def pair_sections(pairs: Sequence[Pair], model: Model, title: str, *, costs: bool) -> list[Section]:
    """Return a model's steps as projected and as measured; with `costs`, or a price, what they cost, too."""
    uses = [use for pair in pairs for use in _apart(pair)]
    steps = [step for step in STEPS if any(use.at(step) for use in uses)]
    columns: list[Texts] = [(Column("step"), [str(step) for step in steps])]
    for pair in pairs:
        columns += [_time_column(use, steps) for use in _apart(pair)]
        columns += [_ratio_column(pair.projected, pair.measured, steps)] if len(_apart(pair)) > 1 else []
    columns += [_tokens_column(use, steps) for use in uses[:1] if len(pairs) == 1]
    missing = _missing([pair.measured for pair in pairs])
    notes = [_WHAT, _STEPS, _RECORD, *missing]
    if not steps:
        return [Section(title, lead=missing)]
    found = [section_of(title, columns, notes)._replace(records=_records(model, uses))]
    return [*found, *_costs(uses, steps, f"{title}, energy and money")] if costs or _priced(uses) else found


def _apart(pair: Pair) -> list[InUse]:
    """Return what is to be shown of a pair: of a chip's own record only what was measured."""
    return [pair.measured] if pair.projected.label == pair.measured.label else [*pair]


def _sheet_sections(one: ModelInUse, title: str) -> list[Section]:
    uses = one.sheets
    steps = [step for step in STEPS if uses[0].at(step)]
    if not steps:
        return [Section(title, lead=[f"{line}." for line in _missing(uses[:1])])]
    columns = [
        (Column("step"), [str(step) for step in steps]),
        *(_time_column(use, steps) for use in uses if any(map(use.at, steps))),
        *(_ratio_column(uses[0], use, steps) for use in uses[1:] if any(map(use.at, steps))),
        _tokens_column(uses[0], steps),
    ]
    ratio = [f"÷: how fast {uses[0].label} is beside another; above 1 it is the faster one"] if uses[1:] else []
    notes = [_WHAT, _STEPS, _SHEET, *ratio, *_weights(one), *_missing(uses)]
    sections = [section_of(title, columns, notes)._replace(records=_records(one.model, uses))]
    return [*sections, *_costs(uses, steps, f"{title}, energy and money")] if _priced(uses) else sections


def _weights(one: ModelInUse) -> list[str]:
    """Say how many of each chip hold the weights."""
    several = [f"{use.devices} of {use.label}" for use in one.sheets if use.devices is not None]
    size = format_si(one.model.weight_bytes, "B", digits=_DIGITS)
    return [f"the weights of {one.model.name} take {size}: {', '.join(several)} hold them"] if several else []


def _priced(uses: Iterable[InUse]) -> bool:
    return any(use.usd_per_hour is not None for use in uses)


def _costs(uses: Sequence[InUse], steps: Sequence[Step], title: str) -> list[Section]:
    columns: list[Texts] = [(Column("step"), [str(step) for step in steps])]
    columns += [
        (
            Column(f"J a token{' at most' if use.kind == 'projected' else ''}, {_head(use)}", "right"),
            [_number(use.joules(step)) for step in steps],
        )
        for use in uses
        if any(use.joules(step) for step in steps)
    ]
    columns += [
        (Column(f"USD per million tokens, {_head(use)}", "right"), [_number(use.usd(step)) for step in steps])
        for use in uses
        if use.usd_per_hour is not None
    ]
    if len(columns) == 1:
        return []
    prices = dict.fromkeys(
        f"{use.label} at {use.usd_per_hour:g} USD an hour" for use in uses if use.usd_per_hour is not None
    )
    return [section_of(title, columns, [_POWER, *([f"prices as given: {'; '.join(prices)}"] if prices else [])])]


def _head(use: InUse) -> str:
    """Return what a column is of, and of what kind: measured, or projected by a sheet or from a record."""
    basis = f" by its {SHEET}" if use.basis == SHEET else f" from {use.basis}" if use.basis else ""
    return f"{use.label} ({KINDS[use.kind]}{basis})"


def _time_column(use: InUse, steps: Sequence[Step]) -> Texts:
    return Column(_head(use), "right"), [_time(use.at(step)) for step in steps]


def _time(seconds: Times | None) -> str:
    if seconds is None:
        return ""
    text = format_si(seconds.expected, "s", digits=_DIGITS)
    if seconds.slow == seconds.fast:
        return text
    ends = (format_si(end, "s", digits=_DIGITS) for end in (seconds.fast, seconds.slow))
    return f"{text} ({' … '.join(ends)})"


def _ratio_column(first: InUse, use: InUse, steps: Sequence[Step]) -> Texts:
    texts = []
    for step in steps:
        mine, its = first.at(step), use.at(step)
        texts.append(f"{significant(its.expected / mine.expected, _DIGITS)}×" if mine and its else "")
    return Column(f"{first.label} ÷ {use.label}", "right"), texts


def _tokens_column(use: InUse, steps: Sequence[Step]) -> Texts:
    texts = []
    for step in steps:
        seconds = use.at(step)
        texts.append("" if seconds is None else significant(step.tokens / seconds.expected, _DIGITS))
    return Column(f"tokens/s, {use.label}", "right"), texts


def _number(value: float | None) -> str:
    return "" if value is None else significant(value, _DIGITS)


def _missing(uses: Iterable[InUse]) -> list[str]:
    """Say of which steps something is not known, and where another format stands for the model's."""
    found = []
    for use in uses:
        if use.instead:
            found.append(f"{_head(use)}: {use.instead} stands for the model's own format, weights too")
        lacking = list({name: None for one in use.times if one.seconds is None for name in one.missing})
        if lacking:
            some = few(lacking, _MOST_NAMED)
            found.append(f"{_head(use)}: no rate of {some} is known, so steps with that have no time")
    return found


def in_use_document(one: ModelInUse) -> dict[str, Any]:
    """Return one model's steps for JSON: by the sheets, and from each record as projected and as measured."""
    records = [steps_document(one.model, pair)["chips"] for pair in one.pairs]
    return {**steps_document(one.model, one.sheets), "from_records": records}


def steps_document(model: Model, uses: Iterable[InUse]) -> dict[str, Any]:
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
                "basis": use.basis or None,
                "dtype": use.instead or model.weights,
                "usd_per_hour": use.usd_per_hour,
                "devices_for_weights": use.devices,
                "steps": [_step_document(use, one) for one in use.times],
            }
            for use in uses
        ],
    }


def _records(model: Model, uses: Iterable[InUse]) -> list[dict[str, Any]]:
    """Return one row for every step on every chip, as CSV has it."""
    return [
        {"model": model.id, **{name: chip[name] for name in ("label", "kind", "basis", "dtype")}, **step}
        for chip in steps_document(model, uses)["chips"]
        for step in chip["steps"]
    ]


def _step_document(use: InUse, one: StepTime) -> dict[str, Any]:
    step, seconds = one.step, one.seconds
    return {
        "step": "prefill" if step.prefill else "decode",
        "tokens": step.tokens,
        "seconds": seconds and seconds.expected,
        "seconds_lo": seconds and seconds.fast,
        "seconds_hi": seconds and seconds.slow,
        "missing": list(one.missing),
        "tokens_per_s": seconds and step.tokens / seconds.expected,
        "w": use.watts.get(step),
        "j_per_token": use.joules(step),
        "usd_per_million_tokens": use.usd(step),
    }

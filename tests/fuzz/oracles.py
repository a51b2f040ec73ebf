"""What must be true of whatever was read, told again here from what a record or a spec means."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, Final

import msgspec

from bench.devices.base import Spread
from bench.measure.measurement import Measurement
from bench.published.chips import Chip
from bench.published.conditions import AllOf, AnyOf, Comparison, Condition
from bench.published.measured import PublishedMeasurement
from bench.published.models import Model
from bench.published.rules import Rule
from bench.published.source import Source
from bench.published.timeline import Event
from bench.records.record import Lines, Record
from bench.units import UNITS

FORMATS: Final = {"fp64", "fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "int8", "int32", "nvfp4"}
FASTEST: Final = {"flop_per_s": 1e18, "op_per_s": 1e18, "byte_per_s": 1e16}
_MOST: Final = FASTEST | {
    "byte": 1e16, "hz": 1e12, "w": 1e6, "mm2": 1e6, "transistors": 1e15, "sm": 1e6, "flop_per_clock_per_sm": 1e9,
}  # fmt: skip
_YEARS: Final = range(1950, 2200)


def numbers(tree: object) -> Iterator[float]:
    """Yield every number in it, however deep."""
    if isinstance(tree, Mapping):
        for inner in tree.values():
            yield from numbers(inner)
    elif isinstance(tree, list | tuple):
        for inner in tree:
            yield from numbers(inner)
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield tree


def assert_finite(tree: object) -> None:
    """No number in it is NaN or infinite."""
    assert all(math.isfinite(one) for one in numbers(tree) if isinstance(one, float))


def sound_record(lines: Lines, record: Record) -> None:
    """A record that was read, with every sample and reduced."""
    head = lines.header
    assert_finite(msgspec.to_builtins((head, lines.measurements, lines.footer)))
    assert 1 <= head.schema <= 5
    times = [head.started, head.replayed_from, lines.footer.ended if lines.footer else None]
    for text in (one for one in times if one is not None):
        when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert text == when.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
        assert 1970 <= when.year < 2200
    assert head.process is None or 0 <= head.process.index < head.process.of
    assert head.member is None or 0 <= head.member.index < head.member.of
    assert head.member is None or head.member.at_once >= 1
    policy = msgspec.to_builtins(head.policy)
    assert min(policy.values()) >= 0 < min(policy["block_s"], policy["search_block_s"])
    for name in ("sm_count", "memory_bytes", "l2_bytes", "index"):
        assert (getattr(head.device, name) or 0) >= 0
    _sound_cells(lines)
    for measurement in lines.measurements:
        _sound_measurement(measurement)
    for reading in record.readings:
        if reading.passed and reading.summary is not None and reading.cell.work:
            assert reading.cell.work / reading.summary.median <= FASTEST.get(
                reading.cell.rate_unit or "", math.inf
            )
    assert len(record.readings) == len(lines.measurements)


def _sound_cells(lines: Lines) -> None:
    planned, measured = lines.header.plan.cells, [one.cell for one in lines.measurements]
    assert len({*planned}) == len(planned) >= 1
    assert len({*measured}) == len(measured)
    assert {*measured} <= {*planned}
    if lines.footer is not None:
        assert lines.footer.measurements == len(measured) == len(planned)
        assert lines.footer.seconds >= 0
    for cell in planned:
        assert {cell.input, cell.compute, cell.output} - {None} <= FORMATS
        assert cell.version >= 1
        assert cell.elements is None or cell.elements >= 1
        assert cell.peer is None or cell.peer >= 0
        if cell.shape is not None:
            assert min(cell.shape.m, cell.shape.n, cell.shape.k) >= 1


def _sound_measurement(one: Measurement) -> None:
    columns = one.samples.columns()
    assert len({len(column) for column in columns.values()}) == 1
    for name, column in columns.items():
        assert all(abs(value) < 1e18 for value in column)
        assert name in {"power_w", "temperature_c"} or all(value > 0 for value in column)
    assert (one.stop == "failed") == (not one.samples.seconds_per_call)
    assert one.calls_per_block >= 0
    if one.warm_up is not None:
        assert len(one.warm_up.calls) == len(one.warm_up.seconds_per_call)
        assert min(one.warm_up.calls, default=1) >= 1
    if one.check is not None and one.check.passed:
        assert one.check.rows_error is not None
        assert 0 <= one.check.rows_error <= one.check.tolerance
    for operand in one.data.values():
        assert operand.sd >= 0
        assert 0 <= operand.zero_share <= 1
    seen = one.telemetry
    if seen is not None:
        assert seen.readings >= 0 <= seen.seconds
        assert all(0 <= share <= 1 for share in (seen.event_reasons or {}).values())
        for spread in (seen.sm_clock_hz, seen.memory_clock_hz, seen.power_w, seen.temperature_c):
            assert spread is None or _is_ordered(spread)


def _is_ordered(spread: Spread) -> bool:
    return -1e18 < spread.least <= spread.median <= spread.most < 1e18


def sound_source(source: Source) -> None:
    """A source has a title, and its address is one of a page."""
    assert source.title.strip()
    assert source.url is None or re.match(r"https?://[^\s/]+(/\S*)?\Z", source.url)


def sound_chip(chip: Chip) -> None:
    """A chip whose every figure some device could have."""
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", chip.id)
    for source in chip.sources.values():
        sound_source(source)
    assert chip.identity.sm_count is None or 0 < chip.identity.sm_count <= 1e6
    assert chip.identity.memory_gb is None or 0 < chip.identity.memory_gb <= 1e7
    for name, figure in chip.figures.items():
        assert (figure.value is None) == (figure.status != "known")
        for value in (figure.value, *(other.value for other in figure.alternatives)):
            if isinstance(value, date):
                assert value.year in _YEARS
            elif value is not None and not isinstance(value, str) and figure.unit is not None:
                base = UNITS[figure.unit].base
                assert 0 < float(value * UNITS[figure.unit].factor) <= _MOST.get(base, 8)
        dense = chip.figures.get(name.removesuffix("_sparse"))
        if dense is not None and dense is not figure and chip.number(name) and chip.number(dense.name):
            assert math.isclose(chip.number(name) or 0, 2 * (chip.number(dense.name) or 0), rel_tol=0.01)


def sound_rule(rule: Rule) -> None:
    """A rule whose dates are in order, and whose thresholds are numbers above 0."""
    assert rule.outcomes
    assert rule.title.strip()
    assert rule.citation.strip()
    assert rule.url is None or re.match(r"https?://[^\s/]+(/\S*)?\Z", rule.url)
    days = [rule.published, rule.effective, rule.compliance, rule.until]
    days += [day for one in rule.outcomes for day in (one.since, one.until)]
    assert all(day.year in _YEARS for day in days if day is not None)
    assert rule.effective is not None or rule.grade == "bill"
    if rule.effective:
        assert rule.published is None or (rule.published - rule.effective).days < 32
        assert rule.effective <= (rule.compliance or date.max)
        assert rule.effective <= (rule.until or date.max)
    assert rule.published is None or rule.published <= (rule.until or date.max)
    for one in rule.outcomes:
        begins, ends = one.since or rule.effective or date.min, one.until or rule.until or date.max
        assert (rule.effective or date.min) <= begins <= ends <= (rule.until or date.max)
    for condition in rule.conditions():
        _sound_condition(condition)
    assert rule.quota_tpp is None or 0 < rule.quota_tpp <= Fraction(10**18)


def _sound_condition(condition: Condition) -> None:
    if isinstance(condition, Comparison):
        assert all(0 < one <= 10**18 for one in condition.thresholds)
        assert condition.most is None or condition.threshold < condition.most
    if isinstance(condition, AllOf | AnyOf):
        assert condition.conditions


def sound_model(model: Model) -> None:
    """A model of matrices that there can be."""
    sizes = [size for one in model.matmuls for size in (one.n, one.k, one.layers, one.per_layer, one.experts or 1)]
    assert model.matmuls
    assert 1 <= min(sizes) <= max(sizes) <= 1 << 40
    assert all(1 <= (one.top_k or 1) <= (one.experts or 1) for one in model.matmuls)
    assert 0 < model.weight_bytes < math.inf
    assert model.parameters > 0
    for one in model.matmuls:
        sound_source(one.source)


def sound_rates(rates: tuple[PublishedMeasurement, ...]) -> None:
    """Rates that some device could have, each of a shape that there is and with a source."""
    assert rates
    for one in rates:
        assert 0 < one.rate <= FASTEST["flop_per_s"]
        assert one.shape is None or (min(one.shape) >= 1 and max(one.shape) <= 1 << 40)
        assert one.best_of != "squares" or one.shape is None or len({*one.shape}) == 1
        assert one.method.strip()
        sound_source(one.source)


def sound_events(events: tuple[Event, ...]) -> None:
    """Events in the order of time, each on the day that it says."""
    assert [*events] == sorted(events, key=lambda one: one.first)
    for one in events:
        assert one.first.year in _YEARS
        assert one.when[:4] == f"{one.first.year:04}"
        sound_source(one.source)


def strict(text: str) -> Any:  # noqa: ANN401 - whatever the document is
    """Return a JSON document, in which no number is NaN or infinite."""
    found = msgspec.json.decode(text)  # which refuses what Python's own reader lets pass
    assert_finite(found)
    return found

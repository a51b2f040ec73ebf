"""What a step of a language model's matrix multiplies takes on a chip: by its sheet, as measured or as projected.

A step is a prefill or a decode as bench.workloads.llm has them: one call of each product after the other, no time
between them, without attention, and as if one device held all weights.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from bench.analysis.compare import Kind
from bench.analysis.cost import joules_per_token, usd_per_million_tokens
from bench.analysis.estimates import Estimate
from bench.analysis.hardware import hardware_of
from bench.analysis.roofline import BENT, is_usual
from bench.analysis.times import Times, total
from bench.published.chips import Chip
from bench.published.models import Model
from bench.units import DTYPES
from bench.workloads.base import Cell, Shape
from bench.workloads.llm import STEPS, Product, Step, products

SHEET: Final = "sheet"


class StepTime(NamedTuple):
    """The seconds of one step; None if those of the products, or formats, `missing` are not known."""

    step: Step
    seconds: Times | None
    missing: tuple[str, ...]


class InUse(NamedTuple):
    """What a model's steps take on one chip, and what kind of figure that is.

    `watts` are what is counted as its power: of a measurement what was drawn (by step), else the published board
    power, which is the most that it may draw. `usd_per_hour` is the user's price, None if none was given, and
    `instead` the format that was measured in place of the model's, None if that was. `devices` are how many hold
    the weights, None where nobody published their memory. `basis` is what a projection rests on: SHEET, or the
    label of what was measured; "" of a measurement.
    """

    label: str
    kind: Kind
    times: tuple[StepTime, ...]
    watts: Mapping[Step, float]
    usd_per_hour: float | None = None
    instead: str | None = None
    devices: int | None = None
    basis: str = ""

    def at(self, step: Step) -> Times | None:
        """Return the seconds of a step."""
        return next((one.seconds for one in self.times if one.step == step), None)

    def joules(self, step: Step) -> float | None:
        """Return the joules of a token in a step; of a projection the most, at the slow end of its range."""
        seconds, watts = self.at(step), self.watts.get(step)
        return joules_per_token(watts, seconds.slow, step.tokens) if seconds and watts else None

    def usd(self, step: Step) -> float | None:
        """Return USD for a million tokens in a step."""
        seconds = self.at(step)
        if seconds is None or self.usd_per_hour is None:
            return None
        return usd_per_million_tokens(self.usd_per_hour, seconds.expected, step.tokens)


def _step_times(
    model: Model, seconds_of: Callable[[Product], Times | None], named: Callable[[Product], str]
) -> tuple[StepTime, ...]:
    """Return what each step takes if `seconds_of` tells the time of all calls of each of its products.

    Where it tells none, `named` says what is missing.
    """
    found = []
    for step in STEPS:
        times = [(product, seconds_of(product)) for product in products(model, step)]
        missing = dict.fromkeys(named(product) for product, seconds in times if seconds is None)
        known = [seconds for _, seconds in times if seconds is not None]
        found.append(StepTime(step, None if missing else total(known), tuple(missing)))
    return tuple(found)


def by_sheet(model: Model, chip: Chip) -> InUse:
    """Return a model's steps at a chip's published peak and bandwidth: the least that they can take."""

    def seconds_of(product: Product) -> Times | None:
        hardware = hardware_of(chip, DTYPES[product.matmul.dtype].figures)
        moved = product.bytes_moved(product.matmul.dtype)
        return None if hardware is None else Times.exactly(hardware.seconds(product.flop, moved))

    watts, memory = chip.number("tdp"), chip.number("memory_size")
    return InUse(
        label=chip.id,
        kind="projected",
        times=_step_times(model, seconds_of, lambda product: product.matmul.dtype),
        watts=dict.fromkeys(STEPS, watts) if watts else {},
        devices=math.ceil(model.weight_bytes / memory) if memory else None,
        basis=SHEET,
    )


def by_cells(model: Model, seconds: Mapping[Cell, Times]) -> tuple[StepTime, ...]:
    """Return a model's steps from the seconds of a call of its products, measured or projected; one cell each.

    Where all are of another format than the model's own, as `run` chooses it on devices without that, they stand
    for it.
    """
    by_shape = {(cell.dtype_name, cell.shape): one for cell, one in seconds.items()}
    instead = stands_in(model, seconds)

    def seconds_of(product: Product) -> Times | None:
        one = by_shape.get((instead or product.matmul.dtype, product.shape))
        return None if one is None else one.apply(lambda call: call * product.times)

    return _step_times(model, seconds_of, lambda product: f"{product.matmul.dtype} {product.shape}")


def stands_in(model: Model, cells: Collection[Cell]) -> str | None:
    """Return the only format of some cells, if the model's products were measured, and none in its own."""
    weights = {(one.n, one.k) for one in model.matmuls}
    measured = {(cell.shape.n, cell.shape.k) for cell in cells if cell.shape is not None}
    formats = {cell.dtype_name for cell in cells}
    if len(formats) != 1 or formats & {one.dtype for one in model.matmuls} or not weights & measured:
        return None
    return formats.pop()


def fastest(seconds: Mapping[Cell, Times]) -> dict[Cell, Times]:
    """Return the products without short sums; of those of one format and shape the fastest."""
    found: dict[tuple[str, Shape | None], Cell] = {}
    for cell, one in seconds.items():
        key = (cell.dtype_name, cell.shape)
        is_product = cell.shape is not None and not cell.fast_accumulate
        if is_product and (key not in found or one.expected < seconds[found[key]].expected):
            found[key] = cell
    return {cell: seconds[cell] for cell in found.values()}


def measured_in_use(
    model: Model, label: str, kind: Kind, rates: Mapping[Cell, Estimate], watts: Mapping[Cell, float]
) -> InUse:
    """Return a model's steps as they were measured, with the power that was drawn.

    Products of other data than normal, in bursts, or bent by the host or a cache, do not count.
    """
    seconds = fastest(
        {cell: Times.exactly(cell.work / rate.rate) for cell, rate in rates.items() if _counts(cell, rate)}
    )
    times = by_cells(model, seconds)
    spent = by_cells(
        model, {cell: Times.exactly(one.expected * watts[cell]) for cell, one in seconds.items() if cell in watts}
    )
    drawn = {
        one.step: joules.seconds.expected / one.seconds.expected
        for one, joules in zip(times, spent, strict=True)
        if one.seconds is not None and joules.seconds is not None
    }
    return InUse(label, kind, times, drawn, instead=stands_in(model, seconds))


def _counts(cell: Cell, rate: Estimate) -> bool:
    return is_usual(cell) and not rate.caveats & BENT

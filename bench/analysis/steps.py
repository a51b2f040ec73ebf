"""What a step of a language model's matrix multiplies takes on a chip: by its sheet, as measured or as projected.

A step is a prefill or a decode as bench.workloads.llm has them: one call of each product after the other, no time
between them, without attention, and as if one device held all weights.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from bench.analysis.compare import Kind
from bench.analysis.cost import joules_per_token, usd_per_million_tokens
from bench.analysis.estimates import Estimate
from bench.analysis.hardware import hardware_of, value_of
from bench.analysis.times import Times, total
from bench.published.chips import Chip
from bench.published.models import Model
from bench.units import DTYPES
from bench.workloads.base import Cell, Shape
from bench.workloads.llm import STEPS, Product, Step, products

SecondsOf = Callable[[Product], Times | None]


class StepTime(NamedTuple):
    """The seconds of one step; None if those of the products `missing` are not known."""

    step: Step
    seconds: Times | None
    missing: tuple[str, ...]


class InUse(NamedTuple):
    """What a model's steps take on one chip, and what kind of figure that is.

    `watts` are what is counted as its power: of a measurement what was drawn (by step), else the published board
    power, which is the most that it may draw. `usd_per_hour` is the user's price, None if none was given, and
    `instead` the format that was measured in place of the model's, None if that was.
    """

    label: str
    kind: Kind
    times: tuple[StepTime, ...]
    watts: Mapping[Step, float]
    usd_per_hour: float | None = None
    instead: str | None = None

    def at(self, step: Step) -> Times | None:
        """Return the seconds of a step."""
        return next((one.seconds for one in self.times if one.step == step), None)

    def joules(self, step: Step) -> float | None:
        """Return the joules of a token in a step."""
        seconds, watts = self.at(step), self.watts.get(step)
        return joules_per_token(watts, seconds.expected, step.tokens) if seconds and watts else None

    def usd(self, step: Step) -> float | None:
        """Return USD for a million tokens in a step."""
        seconds = self.at(step)
        if seconds is None or self.usd_per_hour is None:
            return None
        return usd_per_million_tokens(self.usd_per_hour, seconds.expected, step.tokens)


def step_times(model: Model, seconds_of: SecondsOf, steps: Sequence[Step] = STEPS) -> tuple[StepTime, ...]:
    """Return what each step takes if `seconds_of` tells the time of all calls of each of its products."""
    return tuple(_step_time(step, products(model, step), seconds_of) for step in steps)


def _step_time(step: Step, needed: Sequence[Product], seconds_of: SecondsOf) -> StepTime:
    found = [(product, seconds_of(product)) for product in needed]
    missing = tuple(f"{product.matmul.dtype} {product.shape}" for product, seconds in found if seconds is None)
    known = [seconds for _, seconds in found if seconds is not None]
    return StepTime(step, None if missing else total(known), tuple(dict.fromkeys(missing)))


def by_sheet(model: Model, chip: Chip) -> InUse:
    """Return a model's steps at a chip's published peak and bandwidth: the least that they can take."""

    def seconds_of(product: Product) -> Times | None:
        hardware = hardware_of(chip, DTYPES[product.matmul.dtype].figures)
        moved = product.bytes_moved(product.matmul.dtype)
        return None if hardware is None else Times.exactly(hardware.seconds(product.flop, moved))

    watts = value_of(chip, "tdp")
    return InUse(chip.id, "projected", step_times(model, seconds_of), dict.fromkeys(STEPS, watts) if watts else {})


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

    return step_times(model, seconds_of)


def stands_in(model: Model, cells: Collection[Cell]) -> str | None:
    """Return the only format of some cells, if no product of the model is in it."""
    formats = {cell.dtype_name for cell in cells}
    own = {one.dtype for one in model.matmuls}
    return formats.pop() if len(formats) == 1 and not formats & own else None


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
    """Return a model's steps as they were measured, with the power that was drawn."""
    seconds = fastest(
        {cell: Times.exactly(cell.work / rate.rate) for cell, rate in rates.items() if not rate.host_limited}
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

"""What a chip means in use: the steps of language models on it and on others, by sheets and from records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.analysis.project import Projected, project
from bench.analysis.sides import measured_side
from bench.analysis.source import source_of
from bench.analysis.steps import InUse, by_cells, by_sheet, fastest, measured_in_use, stands_in
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Chip
from bench.published.models import Model
from bench.records.record import Header
from bench.records.store import newest, record_paths
from bench.workloads.llm import STEPS

Prices = Mapping[str, float]


class Pair(NamedTuple):
    """A chip's steps as projected from a record of another chip, and that chip's as measured."""

    projected: InUse
    measured: InUse


class ModelInUse(NamedTuple):
    """The steps of one model: by the sheets of several chips, the chip in question first, and from records."""

    model: Model
    sheets: tuple[InUse, ...]
    pairs: tuple[Pair, ...]


class Found(NamedTuple):
    """What models do on a chip, and why some records could not be used."""

    models: tuple[ModelInUse, ...]
    skipped: tuple[str, ...]


def in_use(chip: Chip, others: Sequence[Chip], models: Sequence[Model], results: Path, prices: Prices) -> Found:
    """Return the steps of `models` on a chip beside `others`.

    Records are the newest that `run --workload llm` made of each model on each of the chips below `results`; the
    chip's own stands as measured. `prices` are USD for an hour, by chip id.
    """
    found, skipped = [], []
    for model in models:
        pairs = []
        for other in (chip, *others):
            pair = _pair(chip, other, model, results, prices)
            if isinstance(pair, str):
                skipped.append(pair)
            elif pair is not None:
                pairs.append(pair)
        sheets = (by_sheet(model, one)._replace(usd_per_hour=prices.get(one.id)) for one in (chip, *others))
        found.append(ModelInUse(model, tuple(sheets), tuple(pairs)))
    return Found(tuple(found), tuple(skipped))


def projected_in_use(model: Model, found: Projected, prices: Prices) -> Pair:
    """Return a model's steps on the target of a projection, and on its source as measured."""
    side, target = found.source.side, found.target
    watts = next((one.target.watts for one in found.cells if one.target.watts), None)
    seconds = fastest({one.source.cell: one.seconds for one in found.cells})
    times, instead = by_cells(model, seconds), stands_in(model, seconds)
    power = dict.fromkeys(STEPS, watts) if watts else {}
    measured = measured_in_use(model, side.label, side.kind, side.estimates, side.watts)
    return Pair(
        InUse(target.id, "projected", times, power, prices.get(target.id), instead),
        measured._replace(usd_per_hour=prices.get(side.chip.id if side.chip else "")),
    )


def _pair(chip: Chip, other: Chip, model: Model, results: Path, prices: Prices) -> Pair | str | None:
    """Return what the newest record of a model on `other` says of `chip`, or why it cannot be used."""

    def wanted(header: Header) -> bool:
        return header.plan.workload == "llm" and header.plan.model == model.id

    folder = results / other.id
    found = newest(record_paths(folder), wanted) if any(folder.rglob("*.jsonl")) else None
    if found is None:
        return None
    try:
        side = measured_side(str(found.path), results, lambda _: other).side._replace(label=other.id)
        return projected_in_use(model, project(source_of(side), chip), prices)
    except (RecordError, InvalidRequest) as error:
        return f"{found.path} is not used: {error}"

"""What a chip means in use: the steps of language models on it and on others, by sheets and from records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.analysis.compare import Side
from bench.analysis.project import Projected, project
from bench.analysis.sides import Named, side_of_records
from bench.analysis.source import source_of
from bench.analysis.steps import InUse, by_cells, by_sheet, fastest, measured_in_use, stands_in
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Chip
from bench.published.models import Model
from bench.records.record import Header
from bench.records.store import group_of, newest, record_paths
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
    """What models do on a chip, and what there is to say of the records that were used, or could not be."""

    models: tuple[ModelInUse, ...]
    notes: tuple[str, ...]


def in_use(chip: Chip, others: Sequence[Chip], models: Sequence[Model], results: Path, prices: Prices) -> Found:
    """Return the steps of `models` on a chip beside `others`.

    Records are those of the newest run of `run --workload llm` of each model on each of the chips below `results`;
    the chip's own stands as measured. `prices` are USD for an hour, by chip id.
    """
    found, notes = [], []
    for model in models:
        records = [_records(results / other.id, model, other) for other in (chip, *others)]
        notes += [note for one in records for note in one.notes]
        sides = [one.named.side for one in records if one.named is not None]
        told, said = model_in_use(model, (chip, *others), sides, prices)
        found.append(told)
        notes += said
    return Found(tuple(found), tuple(dict.fromkeys(notes)))


def model_in_use(
    model: Model, chips: Sequence[Chip], sides: Sequence[Side], prices: Prices
) -> tuple[ModelInUse, list[str]]:
    """Return a model's steps by the sheets of `chips`, and on the first of them from what `sides` measured of it.

    With it comes why some side could not be used.
    """
    pairs, notes = [], []
    for side in sides:
        try:
            pairs.append(projected_in_use(model, project(source_of(side), chips[0]), prices))
        except RecordError as error:
            notes.append(f"not used: {error}")
        except InvalidRequest:
            continue  # without the format this chip has no steps of the model, which the sheets say already
    sheets = (by_sheet(model, one)._replace(usd_per_hour=prices.get(one.id)) for one in chips)
    return ModelInUse(model, tuple(sheets), tuple(pairs)), notes


class _Records(NamedTuple):
    """What was measured of a model on a chip, None if nothing was, and what there is to say of the records."""

    named: Named | None
    notes: tuple[str, ...] = ()


def _records(folder: Path, model: Model, chip: Chip) -> _Records:
    """Return the newest measurement of a model on a chip, with the other processes of its run."""

    def wanted(header: Header) -> bool:
        return (header.plan.workload, header.plan.model, header.device.chip) == ("llm", model.id, chip.id)

    if not any(folder.rglob("*.jsonl")):
        return _Records(None)
    path, unreadable = newest(record_paths(folder), wanted)
    skipped = [f"skipped: {error}" for error in unreadable]
    if path is None:
        return _Records(None, tuple(skipped))
    try:
        named = side_of_records(group_of(path), chip.id, lambda _: chip)
    except RecordError as error:
        return _Records(None, (*skipped, f"not used: {error}"))
    return _Records(named, (*skipped, *named.notes))


def projected_in_use(model: Model, found: Projected, prices: Prices) -> Pair:
    """Return a model's steps on the target of a projection, and on its source as measured."""
    side, target = found.source.side, found.target
    watts = next((one.target.watts for one in found.cells if one.target.watts), None)
    seconds = fastest({one.source.cell: one.seconds for one in found.cells})
    times, instead = by_cells(model, seconds), stands_in(model, seconds)
    power = dict.fromkeys(STEPS, watts) if watts else {}
    measured = measured_in_use(model, side.label, side.kind, side.estimates, side.watts)
    return Pair(
        InUse(target.id, "projected", times, power, prices.get(target.id), instead, basis=side.label),
        measured._replace(usd_per_hour=prices.get(side.chip.id if side.chip else "")),
    )

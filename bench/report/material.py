"""What a report is written from: chips, rules on every day that matters, others' rates, what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from bench.analysis.compare import Side
from bench.analysis.explain import Story, brief_story, story_of
from bench.analysis.gathered import Gathered, GatheredDevice
from bench.analysis.in_use import ModelInUse, model_in_use
from bench.analysis.sides import side_of_others
from bench.analysis.standing import Standing, standing, turning_days
from bench.published.chips import Catalogue, Chip
from bench.published.measured import PublishedMeasurement, PublishedMeasurements
from bench.published.models import Model
from bench.published.rules import RuleBook
from bench.published.timeline import Event


class Published(NamedTuple):
    """All that others say, as the specs folders hold it."""

    catalogue: Catalogue
    book: RuleBook
    events: Sequence[Event]
    others: PublishedMeasurements
    models: Sequence[Model]


class Material(NamedTuple):
    """`chips` are those that the report is about, the one in question first; `story` is that one's, by all rules.

    `stories` are all known chips' in brief, on the last day of which the rules are known, and `standings`, by the
    chips' ids, how they stood on the days on which those changed. `others` are what others measured of `chips` and
    of the devices that were measured here.
    """

    made: date
    tool: str
    chips: tuple[Chip, ...]
    book: RuleBook
    story: Story
    stories: tuple[Story, ...]
    standings: Mapping[str, Sequence[Standing]]
    others: Mapping[str, Sequence[PublishedMeasurement]]
    models: tuple[ModelInUse, ...]
    measured: Gathered
    notes: tuple[str, ...] = ()

    @property
    def chip(self) -> Chip:
        """The chip in question."""
        return self.chips[0]

    def by_others(self, chip: Chip | None) -> Side | None:
        """Return the side of what others measured on a chip; None if nobody did."""
        known = chip is not None and chip.id in self.others
        return side_of_others(chip, self.others[chip.id]) if chip is not None and known else None

    @property
    def sides(self) -> tuple[Side, ...]:
        """One side for each device that was measured."""
        return tuple(device.side for device in self.measured.devices)


def material_of(
    published: Published, chips: Sequence[Chip], measured: Gathered, *, made: date, tool: str
) -> Material:
    """Return what a report about `chips`, one at least, is written from; `notes` say what could not be used."""
    catalogue, book = published.catalogue, published.book
    days = turning_days(book)
    ids = [chip.id for chip in chips]

    def order(device: GatheredDevice) -> int:
        chip = device.side.chip
        return ids.index(chip.id) if chip is not None and chip.id in ids else len(ids)

    own = [device.side.chip for device in measured.devices if device.side.chip is not None]
    stories = tuple(brief_story(chip, catalogue, book, book.known_until) for chip in catalogue.all())
    models, notes = [], []
    for model in published.models:
        told, said = model_in_use(model, chips, [*_measured_for(model, measured)], {})
        models.append(told)
        notes += said
    return Material(
        made=made,
        tool=tool,
        chips=tuple(chips),
        book=book,
        story=story_of(chips[0], catalogue, book, published.events, None),
        stories=stories,
        standings={story.design.label: [standing(story.design, book, day) for day in days] for story in stories},
        others={chip.id: published.others[chip.id] for chip in (*chips, *own) if chip.id in published.others},
        models=tuple(models),
        measured=measured._replace(devices=tuple(sorted(measured.devices, key=order))),
        notes=tuple(dict.fromkeys(notes)),
    )


def _measured_for(model: Model, measured: Gathered) -> Iterator[Side]:
    """Yield what was measured of a model's products, one side for each known chip: its newest whole run."""
    for device in measured.devices:
        chip = device.side.chip
        runs = [run for run in device.runs if run.header.plan.model == model.id]
        if chip is not None and runs:
            whole = max(
                reversed(runs), key=lambda run: sum(run.cells().values())
            )  # an interrupted one may be newer
            several = sum(other.side.chip == chip for other in measured.devices) > 1
            yield whole.side(device.side.label if several else chip.id, {chip.id: chip}.get)

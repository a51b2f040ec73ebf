"""What several chapters need: figures with their source's number, views as sections, pictures that may fail."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Protocol

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.gathered import GatheredDevice, GatheredRun
from bench.analysis.roofline import is_usual
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Chip
from bench.published.figures import Figure
from bench.report.chapters.base import Illustration
from bench.report.chips import figure_value
from bench.report.explained_sources import References
from bench.report.plots.names import FIRST_CHOICE, without_maker
from bench.report.view import Section, View
from bench.workloads.base import Cell, is_square


class Picture(Protocol):
    """What every kind of picture has, whatever else it shows."""

    @property
    def title(self) -> str:
        """Its finding."""

    @property
    def alt(self) -> str:
        """What is to be seen, for those who cannot see it."""


def illustrated(
    module: str, make: Callable[[], Picture], name: str | None = None
) -> tuple[list[Illustration], list[str]]:
    """Return a picture, or else the sentence that says what is missing for it.

    `module` is the one of bench.report.plots that draws it, and matplotlib comes with it only when it is drawn;
    `name` is what its files are called, if not as the module.
    """
    try:
        picture = make()
    except (InvalidRequest, RecordError) as error:
        return [], [f"There is no picture here: {error}."]

    def render(suffix: str) -> bytes:
        drawn: bytes = import_module(f"bench.report.plots.{module}").render(picture, suffix)
        return drawn

    return [Illustration(name or module.replace("_", "-"), picture.title, picture.alt, render)], []


def sections_of(view: View, title: str | None = None) -> list[Section]:
    """Return a view as sections; `title` stands in the place of its own."""
    title = view.title if title is None else title
    if not view.sections:
        return [Section(title, view.columns, view.rows, notes=view.notes, records=view.records)]
    parts = [
        section._replace(title=title if index == 0 else f"{title}: {section.title}")
        for index, section in enumerate(view.sections)
    ]
    return [*parts[:-1], parts[-1]._replace(notes=[*parts[-1].notes, *view.notes])]


def cited(figure: Figure, references: References) -> str:
    """Return a published figure with its unit and the number of its source: '148 TFLOPS [3]'; '?' if unknown."""
    if figure.value is None:
        return "?" if figure.status == "unknown" else "none"
    return f"{figure_value(figure, figure.value)}{mark_of(figure, references)}"


def mark_of(figure: Figure, references: References) -> str:
    """Return the number of a figure's source, ' [3]', and the star of one that sources disagree on."""
    number = f" {references.number(figure.source)}" if figure.source else ""
    return f"{'*' if figure.disputed else ''}{number}"


def published(figures: Iterable[Figure | None], references: References, chip: Chip | None = None) -> list[str]:
    """Return the line that names figures, of a chip, with their sources: 'Published: bf16 989.4 TFLOPS [2], …'."""
    known = [figure for figure in figures if figure is not None and figure.value is not None]
    texts = dict.fromkeys(f"{figure.name} {cited(figure, references)}" for figure in known)
    of = f" of the {chip.name}" if chip else ""
    return [f"Published{of}: {', '.join(texts)}."] if texts else []


def chosen_text(devices: Sequence[GatheredDevice]) -> list[str]:
    """Say which of several measurements of a cell stands for it, where there may be several."""
    several = any(len(device.runs) > 1 for device in devices)
    return ["Of several runs that measured a cell, the newest in which it passed stands here."] if several else []


def short_names(chips: Sequence[Chip]) -> dict[str, str]:
    """Return the names of some chips by id, without the maker's if that is all of theirs."""
    return dict(zip([chip.id for chip in chips], without_maker([chip.name for chip in chips]), strict=True))


def headline(side: Side) -> tuple[Cell, Estimate] | None:
    """Return a side's fastest square product in BF16, or else of any shape, or else in any format."""
    found = [pair for pair in side.estimates.items() if _counts(*pair)]
    wanted = [pair for pair in found if pair[0].dtype_name == FIRST_CHOICE] or found
    return max(wanted, key=lambda pair: (is_square(pair[0].shape), pair[1].rate), default=None)


def _counts(cell: Cell, rate: Estimate) -> bool:
    return bool(cell.flop) and is_usual(cell) and not rate.host_limited


def run_name(run: GatheredRun, device: GatheredDevice) -> str:
    """Return what tells a device's run from its others: the workload, the model, and, of several, when it was."""
    names = [_what(one) for one in device.runs]
    name = _what(run)
    return name if names.count(name) == 1 else f"{name} of {run.header.taken_text}"


def _what(run: GatheredRun) -> str:
    plan = run.header.plan
    return f"{plan.workload} {plan.model}" if plan.model else plan.workload

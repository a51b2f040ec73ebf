"""What names on a command line stand for: records, folders, `latest`, chips and what others measured."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.options import catalogue_from, chip_from, others_from, say
from bench.errors import InvalidRequest, RecordError

if TYPE_CHECKING:
    from bench.analysis.compare import Side
    from bench.analysis.sides import Named
    from bench.published.chips import Catalogue, Chip
    from bench.published.measured import PublishedMeasurement, PublishedMeasurements


class Asked:
    """What the names of one command are looked up in."""

    def __init__(self, catalogue: "Catalogue", results: Path, specs: Path | None, *, skip_bad: bool) -> None:
        self.catalogue = catalogue
        self._results, self._specs, self._skip_bad = results, specs, skip_bad

    @cached_property
    def _others(self) -> "PublishedMeasurements":
        return others_from(self._specs, self.catalogue)

    def measurements(self, chip: "Chip") -> "Sequence[PublishedMeasurement]":
        """Return what others measured on a chip. Raises InvalidRequest if nobody did."""
        from bench.published.source import did_you_mean  # noqa: PLC0415 - only where asked for

        if chip.id not in self._others:
            message = f"{chip.id}: nobody's measurements are known here"
            raise InvalidRequest(message + did_you_mean(chip.id, sorted(self._others)))
        return self._others[chip.id]

    def side(self, name: str) -> "Named":
        """Return what one name stands for, and say how it was understood."""
        from bench.analysis import sides  # noqa: PLC0415 - `--help` must not load it

        if name.lower().startswith(sides.PUBLISHED):
            chip = chip_from(self.catalogue, name[len(sides.PUBLISHED) :])
            return sides.Named(sides.side_of_others(chip, self.measurements(chip)))
        if self.catalogue.has(name):
            if Path(name).exists():
                say(f"{name} is the chip; the file or folder of that name is ./{name}")
            return sides.Named(sides.side_of_chip(chip_from(self.catalogue, name)))
        suggested = [*self.catalogue.ids, *self.catalogue.aliases]
        named = sides.measured_side(name, self._results, self.catalogue.known, suggested)
        for note in named.notes:
            say(note)
        self.tell_damaged(named.damaged, name)
        return named

    def tell_damaged(self, damaged: "Sequence[RecordError]", name: str) -> None:
        """Say which records of a name cannot be read. Raises RecordError unless they are to be skipped."""
        for error in damaged:
            say(f"skipped: {error}" if self._skip_bad else str(error))
        if damaged and not self._skip_bad:
            count = f"{len(damaged)} record{'s' if len(damaged) > 1 else ''}"
            message = f"{count} of {name} cannot be read; --skip-bad uses the rest"
            raise RecordError(message)


def sides_from(names: Sequence[str], *, results_dir: Path, specs_dir: Path | None, skip_bad: bool) -> "list[Side]":
    """Return what the names stand for, with labels apart. Raises InvalidRequest if two of them are one."""
    from bench.analysis.sides import check_distinct, with_labels_apart  # noqa: PLC0415 - `--help` must not load it

    asked = Asked(catalogue_from(specs_dir), results_dir, specs_dir, skip_bad=skip_bad)
    named = [asked.side(name) for name in names]
    check_distinct(named)
    return with_labels_apart([one.side for one in named], names)

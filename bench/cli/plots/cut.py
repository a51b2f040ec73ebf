"""`chipbench plot cut`: each published figure of a chip over that of the part that it was cut from."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import CONTEXT, catalogue_from, chip_from, shared_options
from bench.cli.plot import picture_options, save_picture
from bench.cli.saving import check_target
from bench.errors import InvalidRequest

if TYPE_CHECKING:
    from bench.published.chips import Catalogue, Chip
    from bench.report.plots.cut_data import CutPicture


@click.command("cut", context_settings=CONTEXT)
@click.argument("names", metavar="CHIP [OTHER...]", nargs=-1, required=True)
@picture_options
@shared_options(results=False, formats=())
def command(*, names: tuple[str, ...], output: Path, force: bool, specs_dir: Path | None) -> None:
    """Draw what was cut from a chip, and what was not.

    A bar to the left is what CHIP has less of than OTHER, one to the right what it has more of, by the figures
    that are published for both, on an axis of ratios. FILE appears whole or not at all.

    CHIP and OTHER are chips' ids or aliases, as in 'chipbench chips', which shows the numbers and their sources.
    Without OTHER it is the chip that CHIP was cut from.

    \b
    Examples:
      chipbench plot cut h20 -o cut.svg
      chipbench plot cut h20 h100 h200 a100 -o beside.png
    """  # noqa: D301 - \b is Click's mark for a block to keep
    check_target(output, (), force=force)
    picture = _picture(names, catalogue_from(specs_dir))
    from bench.report.plots.cut import render  # noqa: PLC0415 - only now is there something to draw

    save_picture(output, render, picture, force=force)


def _picture(names: tuple[str, ...], catalogue: "Catalogue") -> "CutPicture":
    from bench.report.plots.cut_data import picture_of  # noqa: PLC0415 - `--help` must not load it

    chip, *others = [chip_from(catalogue, name) for name in names]
    return picture_of(chip, others or [_whole(chip, catalogue)])


def _whole(chip: "Chip", catalogue: "Catalogue") -> "Chip":
    """Return the chip that one was cut from. Raises InvalidRequest if it was cut from none."""
    if chip.cut_from is None:
        message = f"{chip.id} is not known to be cut from another chip; name one to hold it against, after it"
        raise InvalidRequest(message)
    return catalogue.chip(chip.cut_from)

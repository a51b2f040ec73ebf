"""`chipbench plot links`: how fast the GPUs of a machine copy to each other, pair by pair."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.asked import Asked
from bench.cli.options import CONTEXT, catalogue_from, say, shared_options, skip_bad_option
from bench.cli.plot import picture_options, save_picture
from bench.cli.saving import check_target

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("links", context_settings=CONTEXT)
@click.argument("names", metavar="A [B...]", nargs=-1, required=True)
@picture_options
@skip_bad_option
@shared_options(formats=())
def command(
    *, names: tuple[str, ...], output: Path, force: bool, skip_bad: bool, results_dir: Path, specs_dir: Path | None
) -> None:
    """Draw how fast the GPUs of a machine copy to each other.

    One heat map a machine, of copies one way, and one of copies both ways at once: from whom down, to whom across,
    in GB/s, shaded by their share of the published NVLink figure. FILE appears whole or not at all.

    A, B, ... are record files, folders of records or `latest`. 'chipbench run --workload p2p' measures such
    copies.

    \b
    Examples:
      chipbench plot links results -o links.svg
      chipbench plot links latest -o links.png
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.analysis.fleet import fleet_of  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.links import links_of  # noqa: PLC0415
    from bench.report.plots.links_data import picture_of  # noqa: PLC0415

    asked = Asked(catalogue_from(specs_dir), results_dir, specs_dir, skip_bad=skip_bad)
    paths = _files(names, results_dir)
    check_target(output, paths, force=force)
    fleet = fleet_of(paths, asked.catalogue.known)
    asked.tell_damaged(fleet.damaged, ", ".join(names))
    picture = picture_of(links_of(fleet))
    from bench.report.plots.links import render  # noqa: PLC0415 - only now is there something to draw

    save_picture(output, render, picture, force=force)


def _files(names: "Sequence[str]", results_dir: Path) -> list[Path]:
    """Return the files that the names stand for, each once, and say how they were understood."""
    from bench.analysis.sides import paths_of  # noqa: PLC0415 - `--help` must not load it

    found: dict[Path, None] = {}
    for name in names:
        paths, notes = paths_of(name, results_dir)
        for note in notes:
            say(note)
        found |= dict.fromkeys(paths)
    return [*found]

"""`chipbench compare`: records and chips against each other."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import CONTEXT, catalogue_from, chip_from, say, shared_options, show

if TYPE_CHECKING:
    from bench.analysis.compare import Side
    from bench.published.chips import Catalogue


@click.command("compare", context_settings=CONTEXT)
@click.argument("names", metavar="A B...", nargs=-1, required=True)
@shared_options()
def command(*, names: tuple[str, ...], format_name: str, results_dir: Path, specs_dir: Path | None) -> None:
    """Hold records and chips against each other.

    Shows each one's rates, and their ratios to the first with intervals.

    A, B, ... are record files, folders of records (their processes are pooled), `latest` (the newest measured
    record) or chips, for which the published dense peaks stand. With chips alone it is `chipbench chips`.

    \b
    Examples:
      chipbench compare latest h20 h100
      chipbench compare results/h100-sxm5-80gb results/h200-sxm-141gb
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.analysis.compare import compare  # noqa: PLC0415 - `--help` must not load it
    from bench.report.chips import side_by_side  # noqa: PLC0415
    from bench.report.compared import compare_view  # noqa: PLC0415

    if len(names) < 2:
        message = "compare needs two or more of: record files, folders, latest, chips"
        raise click.UsageError(message)
    catalogue = catalogue_from(specs_dir)
    if all(catalogue.has(name) for name in names):
        chips = {chip.id: chip for chip in (chip_from(catalogue, name) for name in dict.fromkeys(names))}
        show(side_by_side(list(chips.values())), format_name)
        return
    sides = [_side(name, results_dir, catalogue) for name in names]
    show(compare_view(sides, compare(sides)), format_name)


def _side(name: str, results_dir: Path, catalogue: "Catalogue") -> "Side":
    from bench.analysis.compare import side_of_chip  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.sides import measured_side  # noqa: PLC0415

    if catalogue.has(name):
        return side_of_chip(chip_from(catalogue, name))
    named = measured_side(name, results_dir, [*catalogue.ids, *catalogue.aliases])
    for note in named.notes:
        say(note)
    return named.side

"""`chipbench chips`: what is published."""

from pathlib import Path

import click

from bench.cli.options import CONTEXT, catalogue_from, chip_from, shared_options, show


@click.command("chips", context_settings=CONTEXT)
@click.argument("names", metavar="[CHIP]...", nargs=-1)
@click.option("--sources", "with_sources", is_flag=True, help="List every value with its source instead.")
@shared_options(results=False)
def command(*, names: tuple[str, ...], with_sources: bool, format_name: str, specs_dir: Path | None) -> None:
    """Show what is published for chips, with sources.

    Without a CHIP, lists all. With several, puts them side by side, each with its ratio to the first.

    \b
    Examples:
      chipbench chips
      chipbench chips h20 h100 --format md
      chipbench chips h20 --sources
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.report import chips as views  # noqa: PLC0415 - `--help` must not load it

    catalogue = catalogue_from(specs_dir)
    named = {chip.id: chip for chip in (chip_from(catalogue, name) for name in dict.fromkeys(names))}
    found = list(named.values()) or catalogue.all()
    if with_sources:
        show(views.sources(found), format_name)
    elif names:
        show(views.side_by_side(found), format_name)
    else:
        show(views.overview(found), format_name)

"""`chipbench roofline`: what memory and arithmetic allow, and how near measured products come."""

from pathlib import Path
from typing import Any

import click

from bench.cli.asked import Asked
from bench.cli.options import CONTEXT, catalogue_from, shared_options, show


@click.command("roofline", context_settings=CONTEXT)
@click.argument("names", metavar="A [B...]", nargs=-1, required=True)
@click.option(
    "--skip-bad", is_flag=True, help="Use the records of a folder that can be read, and name the others."
)
@shared_options()
def command(*, names: tuple[str, ...], format_name: str, results_dir: Path, **options: Any) -> None:  # noqa: ANN401
    """Show what limits products: memory or arithmetic.

    The ceilings of every format are the published peak and bandwidth, and the best product and the best copy or
    triad that were measured. Below the ridge, peak ÷ bandwidth, a product is bound by memory.

    A, B, ... are record files, folders of records, `latest`, `published:CHIP` (what others measured) or chips, of
    which there is only the sheet. Products and bandwidth of one device may be in several records: name the folder.

    \b
    Examples:
      chipbench roofline h20 h100 h200
      chipbench roofline results/cpu-…
      chipbench roofline latest --format json
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.analysis.roofline import ceilings, points  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.sides import check_distinct, with_labels_apart  # noqa: PLC0415
    from bench.report.roofline import roofline_view  # noqa: PLC0415

    asked = Asked(
        catalogue_from(options["specs_dir"]), results_dir, options["specs_dir"], skip_bad=options["skip_bad"]
    )
    named = [asked.side(name) for name in names]
    check_distinct(named)
    sides = with_labels_apart([one.side for one in named], names)
    limits = {side.label: ceilings(side) for side in sides}
    found = [point for side in sides for point in points(side, limits[side.label])]
    show(roofline_view(sides, [one for some in limits.values() for one in some], found), format_name)

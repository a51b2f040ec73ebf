"""`chipbench roofline`: what memory and arithmetic allow, and how near measured products come."""

from typing import Any

import click

from bench.cli.asked import sides_from
from bench.cli.options import CONTEXT, shared_options, show, skip_bad_option


@click.command("roofline", context_settings=CONTEXT)
@click.argument("names", metavar="A [B...]", nargs=-1, required=True)
@skip_bad_option
@shared_options()
def command(
    *,
    names: tuple[str, ...],
    format_name: str,
    **where: Any,  # noqa: ANN401 - what `sides_from` looks them up in
) -> None:
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
    from bench.analysis.links import check_more_than_links  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.roofline import ceilings, points  # noqa: PLC0415
    from bench.report.roofline import roofline_view  # noqa: PLC0415

    sides = sides_from(names, **where)
    check_more_than_links(sides)
    limits = {side.label: ceilings(side) for side in sides}
    found = [point for side in sides for point in points(side, limits[side.label])]
    show(roofline_view(sides, [one for some in limits.values() for one in some], found), format_name)

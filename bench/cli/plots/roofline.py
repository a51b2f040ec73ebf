"""`chipbench plot roofline`: the roofs of several chips in one picture, and the products under them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.asked import sides_from
from bench.cli.options import CONTEXT, say
from bench.cli.plot import save_picture, sides_options
from bench.cli.saving import check_target
from bench.units import DTYPES

if TYPE_CHECKING:
    from bench.analysis.compare import Side
    from bench.report.plots.roofline_data import RooflinePicture


@click.command("roofline", context_settings=CONTEXT)
@sides_options(default="the one in which most of A, B, ... have a roof; of several bf16")
def command(
    *,
    names: tuple[str, ...],
    output: Path,
    force: bool,
    dtype: str | None,
    **where: Any,  # noqa: ANN401 - what `sides_from` looks them up in
) -> None:
    """Draw what limits products: memory or arithmetic.

    Solid lines are roofs of published peaks and bandwidths, dashed ones those that were measured; filled markers
    are products measured here, hollow ones what others measured. FILE appears whole or not at all.

    A, B, ... are record files, folders of records, `latest`, `published:CHIP` (what others measured) or chips, as
    in 'chipbench roofline', which shows the numbers.

    \b
    Examples:
      chipbench plot roofline h20 h100 h200 -o roofline.svg
      chipbench plot roofline latest h20 h100 -o mine.png
      chipbench plot roofline published:h20 published:h100 --dtype fp16 -o fp16.pdf
    """  # noqa: D301 - \b is Click's mark for a block to keep
    check_target(output, (), force=force)
    picture = _picture(sides_from(names, **where), dtype)
    from bench.report.plots.roofline import render  # noqa: PLC0415 - only now is there something to draw

    save_picture(output, render, picture, force=force)


def _picture(sides: "list[Side]", dtype: str | None) -> "RooflinePicture":
    """Return what is to be drawn, and say which of them have no roof."""
    from bench.analysis.roofline import ceilings  # noqa: PLC0415 - `--help` must not load it
    from bench.report.plots.roofline_data import chosen_dtype, picture_of, roofless  # noqa: PLC0415

    limits = [(side, ceilings(side)) for side in sides]
    chosen = chosen_dtype(limits, DTYPES[dtype] if dtype else None)
    for side in roofless(limits, chosen):
        say(f"{side.label}: has no roof in {chosen.name}, so it is left out")
    return picture_of(limits, chosen)

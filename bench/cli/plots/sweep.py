"""`chipbench plot sweep`: the rates of products over their sizes, and the published peaks above them."""

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
    from bench.report.plots.sweep_data import SweepPicture


@click.command("sweep", context_settings=CONTEXT)
@sides_options(default="the one with the most points; of several bf16")
def command(
    *,
    names: tuple[str, ...],
    output: Path,
    force: bool,
    dtype: str | None,
    **where: Any,  # noqa: ANN401 - what `sides_from` looks them up in
) -> None:
    """Draw rates over the sizes of products.

    Of squares, or, where no two of those were measured, of one matrix by ever more rows. Filled markers and solid
    lines are rates measured here, hollow ones and dashed lines what others measured, and level lines without
    markers published peaks. FILE appears whole or not at all.

    A, B, ... are record files, folders of records, `latest`, `published:CHIP` (what others measured) or chips, of
    which there is the peak alone.

    \b
    Examples:
      chipbench plot sweep published:h20 published:h100 -o sweep.svg
      chipbench plot sweep latest h20 h100 -o mine.png
      chipbench plot sweep published:h20 --dtype fp32 -o fp32.pdf
    """  # noqa: D301 - \b is Click's mark for a block to keep
    check_target(output, (), force=force)
    picture = _picture(sides_from(names, **where), dtype)
    from bench.report.plots.sweep import render  # noqa: PLC0415 - only now is there something to draw

    save_picture(output, render, picture, force=force)


def _picture(sides: "list[Side]", dtype: str | None) -> "SweepPicture":
    """Return what is to be drawn, and say of which of them nothing is."""
    from bench.report.plots.sweep_data import chosen_dtype, picture_of  # noqa: PLC0415 - `--help` must not load it
    from bench.report.plots.sweep_series import lacking  # noqa: PLC0415

    chosen = chosen_dtype(sides, DTYPES[dtype] if dtype else None)
    for side in lacking(sides, chosen):
        say(f"{side.label}: has neither rates to draw nor a published peak in {chosen.name}, so it is left out")
    return picture_of(sides, chosen)

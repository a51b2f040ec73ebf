"""`chipbench plot roofline`: the roofs of several chips in one picture, and the products under them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.asked import Asked
from bench.cli.options import CONTEXT, catalogue_from, say, shared_options
from bench.cli.plot import picture_options
from bench.cli.saving import check_target, save
from bench.units import DTYPES

if TYPE_CHECKING:
    from bench.report.plots.roofline_data import RooflinePicture


@click.command("roofline", context_settings=CONTEXT)
@click.argument("names", metavar="A [B...]", nargs=-1, required=True)
@picture_options
@click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    help="The number format.  [default: the one in which most of A, B, ... have a roof; of several bf16]",
)
@click.option(
    "--skip-bad", is_flag=True, help="Use the records of a folder that can be read, and name the others."
)
@shared_options(formats=())
def command(
    *,
    names: tuple[str, ...],
    output: Path,
    force: bool,
    dtype: str | None,
    skip_bad: bool,
    **folders: Any,  # noqa: ANN401 - `--results-dir` and `--specs-dir`
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
    picture = _picture(names, dtype, skip_bad=skip_bad, **folders)
    from bench.report.plots.roofline import render  # noqa: PLC0415 - only now is there something to draw

    save(output, render(picture, output.suffix.lower()), force=force)
    say(f"saved {output}")


def _picture(
    names: tuple[str, ...], dtype: str | None, *, skip_bad: bool, results_dir: Path, specs_dir: Path | None
) -> "RooflinePicture":
    """Return what is to be drawn, and say which of the names have no roof."""
    from bench.analysis.roofline import ceilings  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.sides import check_distinct, with_labels_apart  # noqa: PLC0415
    from bench.report.plots.roofline_data import chosen_dtype, picture_of, roofless  # noqa: PLC0415

    asked = Asked(catalogue_from(specs_dir), results_dir, specs_dir, skip_bad=skip_bad)
    named = [asked.side(name) for name in names]
    check_distinct(named)
    sides = with_labels_apart([one.side for one in named], names)
    limits = [(side, ceilings(side)) for side in sides]
    chosen = chosen_dtype(limits, DTYPES[dtype] if dtype else None)
    for side in roofless(limits, chosen):
        say(f"{side.label}: has no roof in {chosen.name}, so it is left out")
    return picture_of(limits, chosen)

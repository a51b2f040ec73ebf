"""`chipbench plot trace`: one measurement block by block, from the warm-up to the last sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import CONTEXT, catalogue_from, say, shared_options
from bench.cli.plot import picture_options, save_picture
from bench.cli.saving import check_target
from bench.errors import InvalidRequest
from bench.units import DTYPES

if TYPE_CHECKING:
    from bench.report.plots.trace_data import TracePicture


@click.command("trace", context_settings=CONTEXT)
@click.argument("record", metavar="RECORD")
@picture_options
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="The number format of the product to draw.")
@click.option(
    "--cell",
    "label",
    metavar="TEXT",
    help="The size of what to draw, as 8192 or 1x8192x8192, or other words of its row: copy, cublaslt, zeros.",
)
@shared_options(formats=())
def command(
    *,
    record: str,
    output: Path,
    force: bool,
    dtype: str | None,
    label: str | None,
    **folders: Any,  # noqa: ANN401 - `--results-dir` and `--specs-dir`
) -> None:
    """Draw one measurement block by block: rate, clock and power.

    Hollow marks are blocks of the warm-up, filled ones sampled blocks; temperature is there too where the device
    tells it. FILE appears whole or not at all.

    RECORD is a record file or `latest`. Of several measurements that fit, it is the one that was sampled longest,
    those of a sustained load first.

    \b
    Examples:
      chipbench plot trace latest -o trace.svg
      chipbench plot trace latest --dtype bf16 --cell 8192 -o bf16.png
    """  # noqa: D301 - \b is Click's mark for a block to keep
    check_target(output, (), force=force)
    picture = _picture(_file(record, folders["results_dir"]), dtype, label, folders["specs_dir"])
    from bench.report.plots.trace import render  # noqa: PLC0415 - only now is there something to draw

    save_picture(output, render, picture, force=force)


def _file(name: str, results_dir: Path) -> Path:
    """Return the file of the record, and say which it is if it is the latest."""
    from bench.analysis.sides import LATEST  # noqa: PLC0415 - `--help` must not load it
    from bench.records import disk  # noqa: PLC0415
    from bench.records.store import latest  # noqa: PLC0415

    if name == LATEST:
        newest = latest(results_dir)
        for error in newest.skipped:
            say(f"skipped: {error}")
        say(f"{LATEST} is {newest.path}")
        return newest.path
    path = Path(name)
    if not disk.is_file(path):
        what = "is a folder" if disk.is_folder(path) else "is no record"
        message = f"{name!r} {what}; give one record file, or {LATEST}"
        raise InvalidRequest(message)
    return path


def _picture(path: Path, dtype: str | None, label: str | None, specs_dir: Path | None) -> "TracePicture":
    """Return what is to be drawn."""
    from bench.records.record import read_lines  # noqa: PLC0415 - `--help` must not load it
    from bench.report.plots.trace_choice import chosen  # noqa: PLC0415
    from bench.report.plots.trace_data import picture_of  # noqa: PLC0415

    catalogue = catalogue_from(specs_dir)
    lines = read_lines(path)
    measurement = chosen(lines.measurements, dtype=dtype, label=label)
    chip = lines.header.device.chip
    return picture_of(lines.header, measurement, catalogue.known(chip))

"""`chipbench plot`: pictures of what the other commands show in tables, a subcommand for each kind."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from bench.cli.main import LazyGroup
from bench.cli.options import CONTEXT, say, shared_options, skip_bad_option
from bench.cli.saving import save
from bench.units import DTYPES

# A new kind is a line here and its command's file; the help stands here too, so that `--help` imports no kind.
KINDS: Final = MappingProxyType(
    {
        "roofline": ("bench.cli.plots.roofline", "Draw what limits products: memory or arithmetic."),
        "rule-map": ("bench.cli.plots.rule_map", "Draw where chips lie beside the lines of an export rule."),
        "cut": ("bench.cli.plots.cut", "Draw what was cut from a chip, and what was not."),
        "sweep": ("bench.cli.plots.sweep", "Draw rates over the sizes of products."),
        "trace": ("bench.cli.plots.trace", "Draw one measurement block by block: rate, clock and power."),
        "links": ("bench.cli.plots.links", "Draw how fast the GPUs of a machine copy to each other."),
    }
)
SUFFIXES: Final = (".svg", ".png", ".pdf")  # as bench.report.plots.style has them

_F = TypeVar("_F", bound=Callable[..., Any])


class _PlotGroup(LazyGroup):
    """The kinds of pictures, each imported when it is asked for."""

    rooms = KINDS


@click.group("plot", cls=_PlotGroup, context_settings=CONTEXT)
def command() -> None:
    """Draw a picture of records and chips, as SVG, PNG or PDF.

    \b
    Example:
      chipbench plot roofline h20 h100 -o roofline.svg
    """  # noqa: D301 - \b is Click's mark for a block to keep


def _with_suffix(_ctx: click.Context, _parameter: click.Parameter, file: Path) -> Path:
    if file.suffix.lower() not in SUFFIXES:
        message = f"{str(file)!r}: the name of a picture ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise click.BadParameter(message)
    return file


def picture_options(function: _F) -> _F:
    """Give a kind of picture the options that all have: where to save it, and whether it may replace a file."""
    for option in (
        click.option("--force", is_flag=True, help="Replace FILE if it exists."),
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            type=click.Path(path_type=Path),
            callback=_with_suffix,
            required=True,
            help="Where to save the picture; its suffix, .svg, .png or .pdf, says as what.",
        ),
    ):
        function = option(function)
    return function


def save_picture(output: Path, render: Callable[[Any, str], bytes], picture: object, *, force: bool) -> None:
    """Draw a picture as the suffix of `output` says, save it there, and say so."""
    save(output, render(picture, output.suffix.lower()), force=force)
    say(f"saved {output}")


def sides_options(*, default: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a kind of picture what those of several sides have.

    That is their names, the number format, of which `default` tells what it is where none is asked for,
    --skip-bad and the folders in which they are looked for.
    """

    def decorate(function: _F) -> _F:
        for option in (
            shared_options(formats=()),
            skip_bad_option,
            click.option(
                "--dtype", type=click.Choice(list(DTYPES)), help=f"The number format.  [default: {default}]"
            ),
            picture_options,
            click.argument("names", metavar="A [B...]", nargs=-1, required=True),
        ):
            function = option(function)
        return function

    return decorate

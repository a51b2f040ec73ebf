"""`chipbench explain`: what was cut from a chip, and what the rules of export control make of it."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from bench.cli.options import (
    CONTEXT,
    catalogue_from,
    chip_from,
    day_from,
    models_from,
    rules_from,
    say,
    shared_options,
    show,
)
from bench.cli.prices import by_chip, price_option
from bench.errors import InvalidRequest

if TYPE_CHECKING:
    from bench.analysis.design import Design
    from bench.analysis.in_use import ModelInUse
    from bench.published.chips import Catalogue, Chip
    from bench.report.view import View

    Subject = Chip | Design | list[Chip]

_LARGEST: Final = 18  # digits, and powers of ten: more than any quantity of a chip has, in any unit
_NUMBER: Final = r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"


def _quantity(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Fraction | None:
    """Return an option's number exactly, from its decimal text."""
    return None if value is None else _positive(value)


def _positive(text: str) -> Fraction:
    number = Decimal(text) if re.fullmatch(_NUMBER, text, re.ASCII) else Decimal(0)
    digits = len(number.as_tuple().digits)
    if number <= 0 or abs(number.adjusted()) > _LARGEST or digits > _LARGEST:
        message = f"{text!r} is no number above 0 of {_LARGEST} digits at most"
        raise click.BadParameter(message)
    return Fraction(number)


def _rates(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[int, Fraction]:
    """Return the dense rate, in TOPS, of each bit length."""
    found: dict[int, Fraction] = {}
    for value in values:
        bits, separator, rate = value.partition("=")
        if not separator:
            message = f"{value!r} is no BITS=TOPS, such as 8=296"
            raise click.BadParameter(message)
        if not re.fullmatch(r"0*[1-9][0-9]{0,4}", bits, re.ASCII):
            message = f"{value!r}: the bit length {bits!r} is no whole number above 0"
            raise click.BadParameter(message)
        if int(bits) in found:
            message = f"{value!r}: {int(bits)} bit is given twice; give its highest dense rate"
            raise click.BadParameter(message)
        found[int(bits)] = _positive(rate)
    return found


@click.command("explain", context_settings=CONTEXT)
@click.argument("chip", metavar="[CHIP|FILE.toml]", required=False)
@click.option(
    "--on", "day", callback=day_from, metavar="DATE", help="Only the rules in force on this day, as 2025-04-09."
)
@click.option("--all", "every", is_flag=True, help="All chips against all rules, as one table.")
@click.option(
    "--tops",
    multiple=True,
    callback=_rates,
    metavar="BITS=TOPS",
    help="A design instead of a chip: its dense TOPS for this bit length; repeat it for more.",
)
@click.option("--die", callback=_quantity, metavar="MM2", help="The design's die area in mm2.")
@click.option(
    "--nvlink", callback=_quantity, metavar="GB/S", help="Its chip-to-chip links, both directions together."
)
@click.option("--pcie", callback=_quantity, metavar="GB/S", help="Its PCIe, both directions together.")
@click.option("--io", callback=_quantity, metavar="GB/S", help="Instead of --nvlink and --pcie: all I/O together.")
@click.option("--dram", callback=_quantity, metavar="GB/S", help="Its memory bandwidth.")
@click.option("--consumer", is_flag=True, help="It is neither designed nor marketed for data centres.")
@price_option
@shared_options()
def command(  # noqa: PLR0913 - one parameter an option, as Click passes them
    *,
    chip: str | None,
    day: date | None,
    every: bool,
    tops: Mapping[int, Fraction],
    die: Fraction | None,
    nvlink: Fraction | None,
    pcie: Fraction | None,
    io: Fraction | None,
    dram: Fraction | None,
    consumer: bool,
    prices: Mapping[str, float],
    format_name: str,
    results_dir: Path,
    specs_dir: Path | None,
) -> None:
    """Tell what was cut from a chip, and what the export rules say.

    CHIP is an id or an alias, or a TOML file of a chip that nobody sells. A design can also be given by numbers,
    which are taken as complete. Of a chip it also tells what that means in use: how long a language model's matrix
    multiplies take beside full-strength chips, by the sheets, and from the records that 'chipbench run --workload
    llm' made.

    \b
    Examples:
      chipbench explain h20
      chipbench explain h20 --on 2025-04-09 --format json
      chipbench explain h20 --price h20=1.10 --price h100=2.99
      chipbench explain --all --format md
      chipbench explain --tops 8=296 --tops 16=148 --die 814 --nvlink 900 --pcie 128 --dram 4000
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.analysis.design import imagined  # noqa: PLC0415 - `--help` must not load it

    given = {"--die": die, "--nvlink": nvlink, "--pcie": pcie, "--io": io, "--dram": dram}
    numbers = [name for name, value in given.items() if value is not None] + (["--consumer"] if consumer else [])
    _check_choice(chip, every=every, tops=tops, numbers=numbers)
    catalogue = catalogue_from(specs_dir)
    if every:
        subject: Subject = catalogue.all()
    elif chip is not None:
        subject = _named(catalogue, chip)
    else:
        subject = imagined(
            tops=tops, die_area=die, nvlink=nvlink, pcie=pcie, io=io, memory_bandwidth=dram, consumer=consumer
        )
    if prices and chip is None:
        message = "--price goes with a CHIP, of which it is told what it does in use"
        raise InvalidRequest(message)
    show(_told(subject, catalogue, specs_dir, day, _Use(results_dir, prices)), format_name)


class _Use(NamedTuple):
    """Where records of a chip in use may lie, and what an hour costs, by the names that were given."""

    results: Path
    prices: Mapping[str, float]


def _told(
    subject: "Subject", catalogue: "Catalogue", specs_dir: Path | None, day: date | None, use: _Use
) -> "View":
    """Return what there is to tell of a chip, of a design, or of all chips in brief."""
    from bench.analysis.explain import brief_story, imagined_story, story_of  # noqa: PLC0415 - not for `--help`
    from bench.published.chips import Chip  # noqa: PLC0415
    from bench.published.source import specs_folders  # noqa: PLC0415
    from bench.published.timeline import read_timeline  # noqa: PLC0415
    from bench.report.explained import explained  # noqa: PLC0415
    from bench.report.matrix import matrix  # noqa: PLC0415

    book, events = rules_from(specs_dir, catalogue), read_timeline(specs_folders(specs_dir))
    if day is not None and day > book.known_until:
        say(f"the rules are known until {book.known_until}; what they say on {day} is unknown")
    if isinstance(subject, list):
        return matrix([brief_story(chip, catalogue, book, day) for chip in subject], day)
    if isinstance(subject, Chip):
        told = _in_use(subject, catalogue, specs_dir, use)
        return explained(story_of(subject, catalogue, book, events, day), told)
    return explained(imagined_story(subject, book, events, day))


def _in_use(chip: "Chip", catalogue: "Catalogue", specs_dir: Path | None, use: _Use) -> "Sequence[ModelInUse]":
    """Return what language models do on a chip, beside its full-strength part and the usual ones."""
    from bench.analysis.in_use import in_use  # noqa: PLC0415 - not for `--help`

    named = [
        *([chip.cut_from] if chip.cut_from else []),
        *(catalogue.resolve(n).chip.id for n in catalogue.in_use),
    ]
    others = [catalogue.chip(name) for name in dict.fromkeys(named) if name != chip.id]
    prices = by_chip(use.prices, catalogue, [chip.id, *(other.id for other in others)])
    found = in_use(chip, others, list(models_from(specs_dir).values()), use.results, prices)
    for line in found.notes:
        say(line)
    return found.models


def _check_choice(chip: str | None, *, every: bool, tops: Mapping[int, Fraction], numbers: Sequence[str]) -> None:
    """Refuse anything but one of: a chip, --all, a design whose I/O is given in one way; raise InvalidRequest."""
    asked = {f"CHIP {chip!r}": chip is not None, "--all": every, "--tops": bool(tops)}
    chosen = [name for name, is_there in asked.items() if is_there]
    if len(chosen) > 1:
        message = f"{' and '.join(chosen)}: give only one of a CHIP, --all, or a design by --tops"
    elif numbers and not tops:
        message = f"{', '.join(numbers)} {'describe' if len(numbers) > 1 else 'describes'} a design; "
        message += f"leave it out with {chosen[0]}" if chosen else "add its rates, --tops BITS=TOPS"
    elif "--io" in numbers and {"--nvlink", "--pcie"} & {*numbers}:
        message = "--io is the total of all I/O: give it, or --nvlink and --pcie, not both"
    elif not chosen:
        message = "give a CHIP ('chipbench chips' lists them), --all, or a design by --tops BITS=TOPS"
    else:
        return
    raise InvalidRequest(message)


def _named(catalogue: "Catalogue", name: str) -> "Chip":
    """Return the chip that a name or a TOML file stands for."""
    from bench.published.chips import read_chip  # noqa: PLC0415 - `--help` must not load it
    from bench.records import disk  # noqa: PLC0415

    if not name.endswith(".toml"):
        return chip_from(catalogue, name)
    if not disk.is_there(Path(name)):
        message = (
            f"{name}: no such file; give a chip's id, or a file such as 'chipbench devices --template' writes"
        )
        raise InvalidRequest(message)
    chip = read_chip(Path(name))
    catalogue.check(chip)
    return chip

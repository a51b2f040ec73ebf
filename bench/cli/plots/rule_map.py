"""`chipbench plot rule-map`: the regions of an export rule, and where every chip lies beside its lines."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import CONTEXT, catalogue_from, chip_from, day_from, rules_from, shared_options
from bench.cli.plot import picture_options, save_picture
from bench.cli.saving import check_target

if TYPE_CHECKING:
    from bench.published.chips import Catalogue
    from bench.report.plots.rule_map_data import RuleMapPicture


@click.command("rule-map", context_settings=CONTEXT)
@click.argument("names", metavar="[CHIP...]", nargs=-1)
@picture_options
@click.option(
    "--on",
    "day",
    callback=day_from,
    metavar="DATE",
    help="The rule in force on this day, as 2025-04-09.  [default: the day until which the rules are known]",
)
@shared_options(results=False, formats=())
def command(
    *, names: tuple[str, ...], output: Path, force: bool, day: date | None, specs_dir: Path | None
) -> None:
    """Draw where chips lie beside the lines of an export rule.

    The map has total processing performance (TPP) across and performance density, TPP per mm2 of die, upward. It
    is of the rule in force that looks at these two alone; each of its paragraphs is a region. All chips are
    listed, and those of which both numbers are known, if only as lower bounds, have a place. CHIP, an id or an
    alias, stands out, and the title tells of the first how near it is. FILE appears whole or not at all.

    'chipbench explain CHIP' has the numbers, and what other rules make of a chip.

    \b
    Examples:
      chipbench plot rule-map -o map.svg
      chipbench plot rule-map h20 h100 --on 2025-04-09 -o map.png
    """  # noqa: D301 - \b is Click's mark for a block to keep
    check_target(output, (), force=force)
    picture = _picture(names, day, specs_dir)
    from bench.report.plots.rule_map import render  # noqa: PLC0415 - only now is there something to draw

    save_picture(output, render, picture, force=force)


def _picture(names: tuple[str, ...], day: date | None, specs_dir: Path | None) -> "RuleMapPicture":
    """Return the map of the day with all chips."""
    from bench.analysis.explain import brief_story  # noqa: PLC0415 - `--help` must not load it
    from bench.report.plots.rule_map_data import picture_of  # noqa: PLC0415

    catalogue = catalogue_from(specs_dir)
    chosen = [chip_from(catalogue, name).id for name in names] or _usual(catalogue)
    book = rules_from(specs_dir, catalogue)
    when = book.known_until if day is None else day
    stories = [brief_story(chip, catalogue, book, when) for chip in catalogue.all()]
    return picture_of(stories, book, when, chosen)


def _usual(catalogue: "Catalogue") -> list[str]:
    """Return the first of the chips that every result is held against, if there is one."""
    return [catalogue.resolve(name).chip.id for name in catalogue.context[:1]]

"""`chipbench compare`: records, chips and what others measured against each other."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.asked import Asked
from bench.cli.options import (
    CONTEXT,
    JUDGED_FORMATS,
    catalogue_from,
    chip_from,
    say,
    shared_options,
    show,
    skip_bad_option,
)
from bench.errors import InvalidRequest, Tripped

if TYPE_CHECKING:
    from bench.analysis.gates import Gate, Trip

_MOST_NAMED = 5


@click.command("compare", context_settings=CONTEXT)
@click.argument("names", metavar="A B...", nargs=-1, required=True)
@click.option(
    "--sane", is_flag=True, help="Hold one run of a known chip against what others measured on that chip."
)
@click.option("--fleet", is_flag=True, help="Hold the devices in files and folders of records against each other.")
@click.option(
    "--fail-on",
    multiple=True,
    metavar="WHAT",
    help="Exit with 6 if a rate is slower, slower:PERCENT or more, not-comparable, unsane, or a device an "
    "outlier or a cell of it failed. Repeatable.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="NAME",
    help="Draw verdicts over a difference that blocks them, such as power_limit_w. Repeatable.",
)
@skip_bad_option
@shared_options(formats=JUDGED_FORMATS)
def command(*, names: tuple[str, ...], format_name: str, results_dir: Path, **options: Any) -> None:  # noqa: ANN401
    """Hold records and chips against each other.

    First whether they can be compared, then the ratio of each one's rates to the first's with its interval, and a
    verdict: faster, slower, same, can't tell or not comparable.

    A, B, ... are record files, folders of records (their processes are pooled), `latest` (the newest measured
    record, with the other processes of its run), `published:CHIP` (what others measured) or chips, for which the
    published dense peaks stand; a chip's name comes before a file of that name. With chips alone it is
    `chipbench chips`.

    With --fleet: which of many devices is unlike the others of its chip, in what, and what its records say of it.

    \b
    Examples:
      chipbench compare latest h20 published:h20
      chipbench compare h100.jsonl h200.jsonl
      chipbench compare baseline latest --fail-on slower:5 --fail-on not-comparable --format junit
      chipbench compare latest --sane
      chipbench compare results --fleet --fail-on outlier
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.analysis.gates import read_gate  # noqa: PLC0415 - `--help` must not load it

    gates = [read_gate(text) for text in options["fail_on"]]
    _check_together(gates, options)
    catalogue = catalogue_from(options["specs_dir"])
    asked = Asked(catalogue, results_dir, options["specs_dir"], skip_bad=options["skip_bad"])
    if options["sane"]:
        _sane(asked, names, gates, format_name)
    elif options["fleet"]:
        _fleet(asked, names, gates, format_name)
    else:
        _compare(asked, names, gates, options["allow"], format_name)


def _check_together(gates: "Sequence[Gate]", options: Mapping[str, Any]) -> None:
    """Refuse what does not go together: of the conditions two have a question of their own."""
    from bench.analysis.gates import OUTLIER, UNSANE  # noqa: PLC0415 - `--help` must not load it

    for option, own in (("sane", UNSANE), ("fleet", OUTLIER)):
        if any((gate.name == own) != options[option] for gate in gates):
            message = f"--fail-on {own} goes with --{option}, and no other condition does"
            raise click.UsageError(message)
        if options[option] and options["allow"]:
            message = f"--{option} draws no verdict that --allow could let through; leave one of them out"
            raise click.UsageError(message)
    if options["sane"] and options["fleet"]:
        message = "--sane is about one run and --fleet about many devices; leave one of them out"
        raise click.UsageError(message)


def _compare(
    asked: Asked, names: Sequence[str], gates: "Sequence[Gate]", allowed: Sequence[str], format_name: str
) -> None:
    from bench.analysis.compare import compare  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.gates import tripped  # noqa: PLC0415
    from bench.analysis.sides import check_distinct, with_labels_apart  # noqa: PLC0415
    from bench.report.chips import side_by_side  # noqa: PLC0415
    from bench.report.compared import compare_view  # noqa: PLC0415

    if len(names) < 2:
        message = "compare needs two or more of: record files, folders, latest, published:CHIP, chips"
        raise click.UsageError(message)
    if all(asked.catalogue.has(name) for name in names):
        _needs_measured(0, gates)
        chips = {chip.id: chip for chip in (chip_from(asked.catalogue, name) for name in dict.fromkeys(names))}
        show(side_by_side(list(chips.values())), format_name)
        return
    named = [asked.side(name) for name in names]
    check_distinct(named)
    _needs_measured(sum(one.side.is_measured for one in named) if named[0].side.is_measured else 0, gates)
    found = compare(with_labels_apart([one.side for one in named], names), allowed=allowed)
    for name in sorted({*allowed} - {one.name for between in found.differences for one in between}):
        say(f"--allow {name}: nothing of that name differs here")
    trips = tripped(found, gates)
    show(compare_view(found, trips), format_name)
    untold = sum(one.finding.verdict == "can't tell" for row in found.rows for one in row.others if one.finding)
    if gates and untold:
        say(f"without a verdict: {untold} (no condition of --fail-on is met by those)")
    _fail(trips)


def _sane(asked: Asked, names: Sequence[str], gates: "Sequence[Gate]", format_name: str) -> None:
    from bench.analysis.gates import unsane  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.links import check_more_than_links  # noqa: PLC0415
    from bench.analysis.sane import judged  # noqa: PLC0415
    from bench.report.sane import sane_view  # noqa: PLC0415

    if len(names) != 1:
        message = "--sane judges one run: a record file, a folder or latest"
        raise click.UsageError(message)
    side = asked.side(names[0]).side
    if not side.is_measured:
        message = f"--sane judges a run, and {names[0]} is none"
        raise click.UsageError(message)
    if side.chip is None:
        message = f"{names[0]}: {side.name} is no known chip, so there is nothing to hold it against"
        raise InvalidRequest(message)
    check_more_than_links([side])
    found = judged(side, side.chip, asked.measurements(side.chip))
    trips = list(unsane(found, side.label, gates))
    show(sane_view(side, found, trips), format_name)
    _fail(trips)


def _fleet(asked: Asked, names: Sequence[str], gates: "Sequence[Gate]", format_name: str) -> None:
    from bench.analysis.fleet import fleet_of  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.fleet_units import fleet_paths  # noqa: PLC0415
    from bench.analysis.gates import outliers  # noqa: PLC0415
    from bench.analysis.links import links_of  # noqa: PLC0415
    from bench.report.fleet import fleet_view  # noqa: PLC0415
    from bench.report.fleet_notes import untold_texts  # noqa: PLC0415

    fleet = fleet_of(fleet_paths(names), asked.catalogue.known)
    asked.tell_damaged(fleet.damaged, ", ".join(names))
    if not fleet.has_rates:
        message = f"{', '.join(names)}: no device has a rate here; 'chipbench results list' says what there is"
        raise InvalidRequest(message)
    trips = list(outliers(fleet, gates))
    show(fleet_view(fleet, trips, links_of(fleet)), format_name)
    for text in untold_texts(fleet) if gates else ():
        say(text)
    _fail(trips)


def _needs_measured(measured: int, gates: "Sequence[Gate]") -> None:
    """Refuse conditions that nothing could meet: only measured runs get a verdict, the first among them."""
    if gates and measured < 2:
        message = "--fail-on needs the first and another side to be measured runs; nothing else gets a verdict"
        raise click.UsageError(message)


def _fail(trips: "Iterable[Trip]") -> None:
    """Raise Tripped, naming the first few, if a condition of --fail-on was met."""
    texts = list(dict.fromkeys(f"{trip.cell.label}: {trip.label} {_words(trip)}" for trip in trips))
    if texts:
        more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
        message = f"--fail-on: {'; '.join(texts[:_MOST_NAMED])}{more}"
        raise Tripped(message)


def _words(trip: "Trip") -> str:
    from bench.analysis.gates import OUTLIER  # noqa: PLC0415 - `--help` must not load it

    name, _, share = trip.gate.partition(":")
    if trip.found:
        return trip.found
    if name == OUTLIER:
        return f"is an {name}"
    least = share.removesuffix("%").strip()
    words = f"is {name.replace('-', ' ')}"
    return f"{words} by {least} % or more" if least.strip("0.") else words

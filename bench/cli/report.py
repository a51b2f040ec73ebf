"""`chipbench report`: all of it in one file: what was cut, what was measured, what the rules say, with sources."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bench.cli.options import (
    CONTEXT,
    catalogue_from,
    chip_from,
    models_from,
    others_from,
    put_out,
    rules_from,
    say,
    shared_options,
    skip_bad_option,
)
from bench.cli.saving import check_folder, check_target, save, save_all
from bench.errors import InvalidRequest, RecordError
from bench.version import VERSION

if TYPE_CHECKING:
    from bench.analysis.gathered import Gathered
    from bench.published.chips import Catalogue, Chip
    from bench.report.chapters.base import Report
    from bench.report.material import Published

# As bench.report.documents has them: the suffix of a document's file; csv is a folder.
SUFFIXES: Final = {"html": ".html", "md": ".md", "latex": ".tex", "csv": "", "json": ".json"}
_NAME: Final = "chipbench-report"
_STDOUT: Final = "-"
# What a document links of the pictures that --plots saves; TeX takes no SVG.
_LINKED: Final = {"md": ".svg", "latex": ".png"}


def _named(_ctx: click.Context, _parameter: click.Parameter, output: str | None) -> str | None:
    if output is not None and not output.strip():
        message = "an empty name stands for nothing (an unset variable?); name a file or a folder"
        raise click.BadParameter(message)
    return output


@click.command("report", context_settings=CONTEXT)
@click.argument("records", metavar="[RECORD]...", nargs=-1)
@click.option(
    "--chip",
    "chips",
    multiple=True,
    metavar="CHIP",
    help="A chip to tell of; the first is the one in question. Repeatable.  [default: as a run is held against]",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    callback=_named,
    help=f"Where to save it: a file, of csv a folder; - prints it.  [default: {_NAME}.html, or as the format is]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(SUFFIXES)),
    help="As what; csv is one file a table.  [default: as PATH's suffix says, else html]",
)
@click.option(
    "--plots", metavar="DIR", type=click.Path(path_type=Path), help="Save every picture there too, as SVG and PNG."
)
@click.option("--force", is_flag=True, help="Replace what exists.")
@skip_bad_option
@shared_options(formats=())
def command(  # noqa: PLR0913 - one parameter an option, as Click passes them
    *,
    records: tuple[str, ...],
    chips: tuple[str, ...],
    output: str | None,
    format_name: str | None,
    plots: Path | None,
    force: bool,
    skip_bad: bool,
    results_dir: Path,
    specs_dir: Path | None,
) -> None:
    """Write a report: what was cut, what was measured, what the rules say.

    One file that needs nothing else: tables, pictures, the sources of every figure, and how it was measured.
    Without a RECORD it shows the newest measurements below --results-dir, and without any of those what is
    published. A RECORD is a file, a folder of records or `latest`.

    \b
    Examples:
      chipbench report
      chipbench report latest --chip h20 --chip h100 -o mine.html
      chipbench report -o report.md --plots pictures
      chipbench report --format csv -o tables
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.run.session import stop_on_signals  # noqa: PLC0415 - `--help` must not load it

    printed = output == _STDOUT
    file = None if output is None or printed else Path(output)
    as_what = format_name or _format_of(file)
    target = None if printed else file or Path(f"{_NAME}{SUFFIXES[as_what]}")
    _check(target, as_what, plots, force=force)
    with stop_on_signals():
        report, used = _report(records, chips, results_dir, specs_dir, skip_bad=skip_bad)
        if target is not None and SUFFIXES[as_what]:
            check_target(target, used, force=force)
        pictures = _pictures(report) if plots else {}
        document = _document(report, as_what, _links(pictures, plots, target, as_what))
        _save(document, as_what, target, plots, pictures, force=force)


def _format_of(output: Path | None) -> str:
    """Return the format that a file's suffix says, or html of none."""
    suffix = "" if output is None else output.suffix.lower()
    if not suffix or suffix == ".htm":
        return "html"
    for name, its in SUFFIXES.items():
        if its == suffix:
            return name
    known = [its for its in SUFFIXES.values() if its]
    message = f"-o {output}: {suffix} is none of {', '.join(known)}; name one of those, or say --format"
    raise InvalidRequest(message)


def _check(target: Path | None, as_what: str, plots: Path | None, *, force: bool) -> None:
    """Refuse early, before anything is computed, what cannot be written; `target` None: it is printed."""
    if plots is not None:
        check_folder(plots)
    if target is None:
        if as_what == "csv":
            message = "-o -: csv is one file a table; name a folder"
            raise InvalidRequest(message)
        return
    if not SUFFIXES[as_what]:
        check_folder(target)
        return
    check_target(target, (), force=force)
    if plots is not None and plots.absolute() == target.absolute():
        message = f"--plots {plots}: is what -o names; give the pictures a folder of their own"
        raise InvalidRequest(message)


def _report(
    records: tuple[str, ...], chips: tuple[str, ...], results: Path, specs_dir: Path | None, *, skip_bad: bool
) -> "tuple[Report, list[Path]]":
    """Return the report on some records and chips, and the files that it was made from."""
    from bench.report.composed import report_of  # noqa: PLC0415 - `--help` must not load it
    from bench.report.material import material_of  # noqa: PLC0415

    published = _published(specs_dir)
    subjects = _subjects(chips, published.catalogue)
    measured = _measured(records, results, published.catalogue, skip_bad=skip_bad)
    today = datetime.now(UTC).date()
    used = [path for device in measured.devices for run in device.runs for path in run.paths]
    return report_of(material_of(published, subjects, measured, made=today, tool=VERSION)), used


def _published(specs_dir: Path | None) -> "Published":
    """Return all that the specs folders hold, and say what `specs_dir` overrides."""
    from bench.published.source import specs_folders  # noqa: PLC0415 - `--help` must not load it
    from bench.published.timeline import read_timeline  # noqa: PLC0415
    from bench.report.material import Published  # noqa: PLC0415

    catalogue = catalogue_from(specs_dir)
    return Published(
        catalogue=catalogue,
        book=rules_from(specs_dir, catalogue),
        events=read_timeline(specs_folders(specs_dir)),
        others=others_from(specs_dir, catalogue),
        models=list(models_from(specs_dir).values()),
    )


def _subjects(names: tuple[str, ...], catalogue: "Catalogue") -> "list[Chip]":
    """Return the chips to tell of, each once; one alone comes with the one that it was cut from."""
    usual = [catalogue.resolve(name).chip for name in (*catalogue.context, *catalogue.in_use)]
    asked = [chip_from(catalogue, name) for name in names] or usual
    found = {chip.id: chip for chip in asked}
    if not found:
        message = "no chip is known to tell of, as [context] of aliases.toml names none; name one with --chip"
        raise InvalidRequest(message)
    (first, *more) = found.values()
    return [first, *more] if more or first.cut_from is None else [first, catalogue.chip(first.cut_from)]


def _measured(names: tuple[str, ...], results: Path, catalogue: "Catalogue", *, skip_bad: bool) -> "Gathered":
    """Return what was measured, and say how names were understood and what cannot be read."""
    from bench.analysis.gathered import gather  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.sides import PUBLISHED  # noqa: PLC0415

    for name in names:
        chip = name.lower().removeprefix(PUBLISHED)
        if catalogue.has(chip) and not Path(name).exists():
            message = f"{name!r} is a chip, and a RECORD what was measured; --chip {chip} tells of it"
            raise InvalidRequest(message)
    found = gather(names, results, catalogue.known)
    for note in found.notes:
        say(note)
    for error in found.damaged:
        say(f"skipped: {error}" if skip_bad else str(error))
    if found.damaged and not (skip_bad and (found.devices or not names)):
        count = f"{len(found.damaged)} record{'s' if len(found.damaged) > 1 else ''}"
        advice = "nothing else was named" if skip_bad else "--skip-bad makes the report of the rest"
        message = f"{count} cannot be read; {advice}"
        raise RecordError(message)
    return found


def _pictures(report: "Report") -> dict[str, bytes]:
    """Return every picture as SVG and as PNG, by the names of their files."""
    shown = [picture for chapter in report.chapters for picture in chapter.pictures]
    return {f"{one.name}{suffix}": one.render(suffix) for one in shown for suffix in (".svg", ".png")}


def _links(pictures: Iterable[str], plots: Path | None, target: Path | None, as_what: str) -> dict[str, str]:
    """Return the addresses by which a document in `target` names the saved pictures."""
    suffix = _LINKED.get(as_what)
    if plots is None or suffix is None:
        return {}
    names = [name.removesuffix(suffix) for name in pictures if name.endswith(suffix)]
    return {
        name: os.path.relpath(plots / f"{name}{suffix}", target.parent if target else Path()) for name in names
    }


def _document(report: "Report", as_what: str, links: Mapping[str, str]) -> dict[str, bytes]:
    """Return the document's files by their names, of one file under no name."""
    from bench.report.documents import FILES, FOLDERS  # noqa: PLC0415 - `--help` must not load it

    if as_what in FOLDERS:
        return {name: text.encode() for name, text in FOLDERS[as_what](report).items()}
    return {"": FILES[as_what].render(report, links).encode()}


def _save(
    document: Mapping[str, bytes],
    as_what: str,
    target: Path | None,
    plots: Path | None,
    pictures: Mapping[str, bytes],
    *,
    force: bool,
) -> None:
    """Save the pictures, if they are wanted, and the document, or print that."""
    is_folder = not SUFFIXES[as_what]
    if target is not None and is_folder:
        check_folder(target, document, force=force)
    if plots is not None:
        save_all(plots, pictures, force=force)
        for name in pictures:
            say(f"saved {plots / name}")
    if target is None:
        put_out(document[""].decode())
        return
    if is_folder:
        save_all(target, document, force=force)
    else:
        save(target, document[""], force=force)
    say(f"saved {target}{f' ({len(document)} tables)' if is_folder else ''}")

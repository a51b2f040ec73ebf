"""`chipbench results`: the records that are there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from bench.cli.options import CONTEXT, encoded, put_out, say, shared_options, show, skip_bad_option
from bench.cli.saving import check_target, save
from bench.errors import NothingPassed, RecordError

if TYPE_CHECKING:
    from bench.records.merge import Checked

_STDOUT: Final = "-"

_T = TypeVar("_T")


@click.group("results", context_settings=CONTEXT)
def command() -> None:
    """List, check, merge and export the saved records."""


@command.command("list", context_settings=CONTEXT)
@shared_options(specs=False)
def list_records(*, format_name: str, results_dir: Path) -> None:
    """List the records, newest first; damaged ones are shown, and make the exit code 4.

    \b
    Example:
      chipbench results list
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.records.store import record_paths  # noqa: PLC0415 - `--help` must not load it

    _show_survey(results_dir, record_paths(results_dir)[::-1], format_name)


@command.command("check", context_settings=CONTEXT)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@shared_options(specs=False)
def check_records(*, paths: tuple[Path, ...], format_name: str, results_dir: Path) -> None:
    """Read every line of the records and say which are complete, interrupted or damaged (exit code 4).

    PATH is a record or a folder of them; without one, the whole results folder.

    \b
    Examples:
      chipbench results check
      chipbench results check /mnt/cluster/results --format json
    """  # noqa: D301 - as above
    _show_survey(results_dir, _files(paths, results_dir), format_name)


@command.command("merge", context_settings=CONTEXT)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@skip_bad_option
@shared_options(specs=False)
def merge_records(*, paths: tuple[Path, ...], skip_bad: bool, format_name: str, results_dir: Path) -> None:
    """Bring records from elsewhere into the results folder, which is made if it is not there.

    PATH is a record or a folder of them: what the nodes of a cluster wrote, each for itself, or another machine.
    A record that is there already is not doubled, one that was interrupted there is completed by a longer copy,
    and nothing is overwritten. So the order does not matter, and merging again does no harm; a record that is
    still being written is merged as far as it is, and completed by merging it again. If a record is damaged, or
    contradicts a copy of it, nothing is written at all (exit code 4); with --skip-bad the others are.

    \b
    Examples:
      chipbench results merge node*/results --results-dir cluster
      chipbench results merge /mnt/other/results
    """  # noqa: D301 - as above
    from bench.records.merge import carry_out, check_merge  # noqa: PLC0415 - `--help` must not load it
    from bench.report.merged import merged_view  # noqa: PLC0415

    checked = check_merge(_files(paths, results_dir), results_dir)
    _tell_refused(checked, skip_bad=skip_bad)
    merged = carry_out(checked)
    _tell_of_merge(checked)
    show(merged_view(results_dir, merged), format_name)


@command.command("export", context_settings=CONTEXT)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Choice(("csv", "json", "pytest-benchmark")),
    required=True,
    help="What to write: a table of all measurements (csv, json: as bench.load_results has it, in base units), or "
    "a file with every sample for 'pytest-benchmark compare'.",
)
@click.option(
    "--from",
    "sources",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A record or a folder of them; may be given several times.  [default: the results folder]",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--skip-bad", is_flag=True, help="Leave damaged records out instead of writing nothing.")
@shared_options(specs=False, formats=())
def export_records(
    *, file: Path | None, target: str, sources: tuple[Path, ...], force: bool, skip_bad: bool, results_dir: Path
) -> None:
    """Write the measurements to FILE, for a spreadsheet, another program or pytest-benchmark.

    Without FILE, or with -, they go to stdout. FILE appears whole or not at all.

    \b
    Examples:
      chipbench results export --to csv rates.csv
      chipbench results export --to json --from results/h20 | jq .measurements
      chipbench results export --to pytest-benchmark --from before.jsonl before.json
    """  # noqa: D301 - as above
    to_stdout = file is None or str(file) == _STDOUT
    paths = _files(sources, results_dir)
    if file is not None and not to_stdout:
        check_target(file, paths, force=force)
    text = _exported(target, paths, skip_bad=skip_bad)
    if file is None or to_stdout:
        put_out(text)
    else:
        save(file, encoded(text), force=force)
        say(f"saved  {file}")


def _files(paths: Sequence[Path], results_dir: Path) -> list[Path]:
    """Return the record files that `paths` stand for, without one those of the results folder, each once."""
    from bench.records import disk  # noqa: PLC0415 - `--help` must not load it
    from bench.records.store import record_paths  # noqa: PLC0415

    found: list[Path] = []
    for path in paths or (results_dir,):
        found += record_paths(path) if disk.is_folder(path) or not paths else [path]
    return list(dict.fromkeys(found))


def _show_survey(results_dir: Path, paths: list[Path], format_name: str) -> None:
    from bench.records.store import survey  # noqa: PLC0415 - `--help` must not load it
    from bench.report.listing import listing_view  # noqa: PLC0415

    surveyed = survey(paths)
    show(listing_view(results_dir, surveyed), format_name)
    damaged = sum(isinstance(content, RecordError) for _, content in surveyed)
    if damaged:
        message = f"{damaged} of {len(surveyed)} records cannot be read; restore them or move them away"
        raise RecordError(message)


def _tell_refused(checked: "Checked", *, skip_bad: bool) -> None:
    """Name what cannot be merged; an error unless it may be skipped and there is something else."""
    for one in checked.refused:
        say(f"skipped: {one.error}" if skip_bad else str(one.error))
    if checked.refused and not (skip_bad and checked.steps):
        what = f"{len(checked.refused)} of {len(checked.sources)} records cannot be merged"
        skip = ", or leave them out with --skip-bad" if checked.steps else ""
        message = f"{what}, so nothing was written; restore them or move them away{skip}"
        raise RecordError(message)


def _tell_of_merge(checked: "Checked") -> None:
    from bench.records.merge import differing_keys  # noqa: PLC0415 - `--help` must not load it
    from bench.report.view import few  # noqa: PLC0415

    for error in checked.unreadable:
        say(f"left as it is: {error}")
    for step in checked.steps:
        if step.copy.writing:
            say(f"{step.copy.path}: is still being written; merging it again when that has ended completes it")
    keys = [str(folder) for folder in differing_keys(checked.sources, checked.results)]
    if len(keys) > 1:
        say(
            f"{few(keys[1:], 3)}: another .key than in {keys[0]}, so a device or machine recorded in both counts "
            "as two; sharing one results folder, or copying .key before the first run, avoids that"
        )


def _exported(target: str, paths: Sequence[Path], *, skip_bad: bool) -> str:
    """Return the text to write. Raises NothingPassed if it would be of no measurement that passed."""
    from bench.records.record import read_lines, read_record  # noqa: PLC0415 - `--help` must not load it
    from bench.report import exported, pytest_benchmark  # noqa: PLC0415

    if target != "pytest-benchmark":
        records = _read(paths, read_record, skip_bad=skip_bad)
        return exported.as_csv(records) if target == "csv" else exported.as_json(records)
    lines = _read(paths, read_lines, skip_bad=skip_bad)
    failed = pytest_benchmark.failed(lines)
    if failed == sum(len(one.measurements) for one in lines):
        why = "'chipbench results check --format json' says why"
        message = f"there is no cell that passed its check, and so nothing to compare ({failed} failed); {why}"
        raise NothingPassed(message)
    if failed:
        say(f"left out: {failed} measurement{'' if failed == 1 else 's'} that failed")
    return pytest_benchmark.as_pytest_benchmark(lines)


def _read(paths: Sequence[Path], read: Callable[[Path], _T], *, skip_bad: bool) -> list[_T]:
    """Read the files; each damaged one is named on stderr, and an error unless it may be skipped."""
    from bench.records.store import read_all  # noqa: PLC0415 - `--help` must not load it

    found, damaged = read_all(paths, read)
    for error in damaged:
        say(f"skipped: {error}" if skip_bad else str(error))
    if damaged and not (skip_bad and found):
        what = f"{len(damaged)} of {len(paths)} records cannot be read"
        advice = "restore them or move them away" + (", or leave them out with --skip-bad" if found else "")
        message = f"{what}, so nothing was exported; {advice}"
        raise RecordError(message)
    return found

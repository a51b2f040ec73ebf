"""`chipbench results`: the records that are there."""

from pathlib import Path

import click

from bench.cli.options import CONTEXT, shared_options, show
from bench.errors import RecordError


@click.group("results", context_settings=CONTEXT)
def command() -> None:
    """List and check the saved records."""


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
    from bench.records.store import record_paths  # noqa: PLC0415 - `--help` must not load it

    found: list[Path] = []
    for path in paths or (results_dir,):
        found += record_paths(path) if path.is_dir() or not paths else [path]
    _show_survey(results_dir, list(dict.fromkeys(found)), format_name)


def _show_survey(results_dir: Path, paths: list[Path], format_name: str) -> None:
    from bench.records.store import survey  # noqa: PLC0415 - `--help` must not load it
    from bench.report.listing import listing_view  # noqa: PLC0415

    surveyed = survey(paths)
    show(listing_view(results_dir, surveyed), format_name)
    damaged = sum(isinstance(content, RecordError) for _, content in surveyed)
    if damaged:
        message = f"{damaged} of {len(surveyed)} records cannot be read; restore them or move them away"
        raise RecordError(message)

"""Options and arguments that several commands share, and how a command prints."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bench.cli.main import talk, verbose_option
from bench.errors import CannotWrite, shortened

if TYPE_CHECKING:
    from bench.published.chips import Catalogue, Chip
    from bench.published.measured import PublishedMeasurements
    from bench.published.models import Models
    from bench.published.rules import RuleBook
    from bench.report.view import View

# As bench.report.formats has them; JUnit's is for what was judged only.
FORMAT_NAMES: Final = ("table", "md", "csv", "json", "latex", "html")
JUDGED_FORMATS: Final = (*FORMAT_NAMES, "junit")
CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_F = TypeVar("_F", bound=Callable[..., Any])


def _format(names: tuple[str, ...]) -> Callable[[_F], _F]:
    return click.option(
        "--format",
        "format_name",
        type=click.Choice(names),
        default="table",
        show_default=True,
        help="How to print; JSON and CSV are in base units.",
    )


_results_dir = click.option(
    "--results-dir",
    type=click.Path(path_type=Path),
    default=Path("results"),
    envvar="CHIPBENCH_RESULTS",
    show_default=True,
    show_envvar=True,
    help="Where records lie.",
)
_specs_dir = click.option(
    "--specs-dir",
    type=click.Path(path_type=Path),
    help="A folder with chips/, rules/, published/ or models/ files (*.toml), to add or to override.",
)
skip_bad_option: Final = click.option(
    "--skip-bad", is_flag=True, help="Use the records of a folder that can be read, and name the others."
)


def shared_options(
    *, results: bool = True, specs: bool = True, formats: tuple[str, ...] = FORMAT_NAMES
) -> Callable[[_F], _F]:
    """Return a decorator that gives a command -v and, as asked, --format, --results-dir and --specs-dir."""

    def decorate(command: _F) -> _F:
        for option, wanted in (
            (verbose_option, True),
            (_specs_dir, specs),
            (_results_dir, results),
            (_format(formats), bool(formats)),
        ):
            if wanted:
                command = option(command)
        return command

    return decorate


def day_from(_ctx: click.Context, _param: click.Parameter, value: str | None) -> date | None:
    """Return a day from its ISO text; a click.Option's callback."""
    if value is None:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            return date.fromisoformat(value)
    except ValueError:
        pass
    message = f"{value!r} is no day; give one like 2025-04-09"
    raise click.BadParameter(message)


def catalogue_from(specs_dir: Path | None) -> "Catalogue":
    """Return the chips, and say on stderr which of them `specs_dir` overrides."""
    from bench.published.chips import Catalogue  # noqa: PLC0415 - `--help` must not load it
    from bench.published.source import specs_folders  # noqa: PLC0415

    catalogue = Catalogue(specs_folders(specs_dir))
    _say_overridden(specs_dir, catalogue.overridden)
    return catalogue


def models_from(specs_dir: Path | None) -> "Models":
    """Return the language models, and say on stderr which of them `specs_dir` overrides."""
    from bench.published.models import read_models  # noqa: PLC0415 - `--help` must not load it
    from bench.published.source import specs_folders  # noqa: PLC0415

    models = read_models(specs_folders(specs_dir))
    _say_overridden(specs_dir, models.overridden)
    return models


def rules_from(specs_dir: Path | None, catalogue: "Catalogue") -> "RuleBook":
    """Return the export rules, and say on stderr which of them `specs_dir` overrides."""
    from bench.published.rules import read_rules  # noqa: PLC0415 - `--help` must not load it
    from bench.published.source import specs_folders  # noqa: PLC0415

    book = read_rules(specs_folders(specs_dir))
    book.check_chips(catalogue.ids)
    _say_overridden(specs_dir, book.overridden)
    return book


def others_from(specs_dir: Path | None, catalogue: "Catalogue") -> "PublishedMeasurements":
    """Return what others measured, and say on stderr of which chips `specs_dir` overrides it."""
    from bench.published.measured import read_published_measurements  # noqa: PLC0415 - `--help` must not load it
    from bench.published.source import specs_folders  # noqa: PLC0415

    others = read_published_measurements(specs_folders(specs_dir))
    others.check_chips(catalogue.ids)
    _say_overridden(specs_dir, others.overridden, "overrides what others measured of")
    return others


def _say_overridden(specs_dir: Path | None, names: Sequence[str], what: str = "overrides:") -> None:
    if names:
        say(f"{specs_dir} {what} {', '.join(names)}")


def chip_from(catalogue: "Catalogue", name: str) -> "Chip":
    """Return the chip that `name` stands for; if it is an alias, say which chip that is."""
    resolved = catalogue.resolve(name)
    if resolved.alias is not None:
        others = catalogue.siblings(resolved.alias)
        also = f" (there are also {', '.join(others)})" if others else ""
        say(f"{resolved.alias} stands for {resolved.chip.id}{also}")
    return resolved.chip


def show(view: "View", format_name: str) -> None:
    """Print `view` on stdout."""
    from bench.report.formats import FORMATS  # noqa: PLC0415 - `--help` must not load it

    put_out(FORMATS[format_name](view))


def put_out(text: str) -> None:
    """Print `text` on stdout as it is; a reader that has seen enough (`| head`) ends the command quietly."""
    if sys.stdout is None:
        message = "stdout is closed, so there is nowhere to print"
        raise CannotWrite(message)
    try:
        click.echo(encoded(text).decode(), nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message = f"stdout cannot be written ({error.strerror}); free the space, or print elsewhere"
        raise CannotWrite(message) from error


def encoded(text: str) -> bytes:
    """Return `text` in UTF-8; a byte of a path that is none of it is escaped as JSON has it."""
    return text.encode(errors="backslashreplace")


def say(text: str) -> None:
    """Print one line of talk on stderr; what would steer a terminal is shown as �."""
    talk("".join(mark if mark.isprintable() else "�" for mark in shortened(text)))

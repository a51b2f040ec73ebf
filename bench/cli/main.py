"""The `chipbench` command: finds a command's file when it is needed, and turns every error into one line."""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar, Final, NoReturn

import click

from bench.errors import INTERRUPTED_EXIT, TERMINATED_EXIT, ChipbenchError, Terminated, one_line, shortened
from bench.version import VERSION

# In the order in which people use them. The help stands here too, so that `--help` imports no command.
COMMANDS: Final = MappingProxyType(
    {
        "devices": (
            "bench.cli.devices",
            "Show the GPUs here, which chip each is, and whether they are fit to measure.",
        ),
        "run": ("bench.cli.run", "Measure this machine and save a record."),
        "compare": ("bench.cli.compare", "Hold records and chips against each other."),
        "chips": ("bench.cli.chips", "Show what is published for chips, with sources."),
        "explain": (
            "bench.cli.explain",
            "Tell what was cut from a chip, and what the export rules say.",
        ),
        "roofline": ("bench.cli.roofline", "Show what limits products: memory or arithmetic."),
        "project": ("bench.cli.project", "Carry measured rates over to a chip that was not measured."),
        "plot": ("bench.cli.plot", "Draw a picture of records and chips, as SVG, PNG or PDF."),
        "report": ("bench.cli.report", "Write a report: what was cut, what was measured, what the rules say."),
        "results": ("bench.cli.results", "List, check, merge and export the saved records."),
    }
)
_USAGE_EXIT: Final = 2


def talk(text: str) -> None:
    """Print on stderr; where that cannot be (it goes to a file, and the disk is full) nothing more is said."""
    try:
        click.echo(text, err=True)
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class LazyGroup(click.Group):
    """A group that imports a command's module when it is asked for; `rooms` has each one's module and help."""

    rooms: ClassVar[Mapping[str, tuple[str, str]]]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as Click calls it
        """Return the commands in the order of use."""
        return list(self.rooms)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """Import and return a command, or None if there is none of this name."""
        if cmd_name not in self.rooms:
            return None
        command = import_module(self.rooms[cmd_name][0]).command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.rooms.items()])


class ChipbenchGroup(LazyGroup):
    """The group of all commands, which prints errors as one line."""

    rooms = COMMANDS
    verbose = False

    def main(  # type: ignore[override] # Click declares overloads for a mode that only tests of Click use
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> NoReturn:
        """Run, and exit with the code that the outcome has."""
        self.verbose = False
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name or "chipbench", **extra)
        except ChipbenchError as error:
            self._fail(one_line(error), error.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            talk(error.format_message())
            sys.exit(_USAGE_EXIT)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "chipbench"
            self._fail(f"{one_line(error.format_message())} (see '{command} -h')", _USAGE_EXIT)
        except click.ClickException as error:
            self._fail(error.format_message(), _USAGE_EXIT)
        except click.Abort as error:
            terminated = isinstance(error.__cause__, Terminated)
            sys.exit(TERMINATED_EXIT if terminated else INTERRUPTED_EXIT)
        except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a line
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {one_line(error)} at {where.name}:{where.lineno}"
            self._fail(f"this is a bug in chipbench: {what}; add -v for the whole story and report it", 1)
        sys.exit(code if isinstance(code, int) else 0)

    def _fail(self, message: str, code: int) -> NoReturn:
        if self.verbose:
            talk(traceback.format_exc().rstrip("\n"))
        talk(f"chipbench: {shortened(message)}")
        sys.exit(code)


def _be_verbose(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - Click's
    command = ctx.find_root().command
    if value and isinstance(command, ChipbenchGroup):
        command.verbose = True


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_be_verbose,
    help="Show the traceback behind an error.",
)


@click.group(cls=ChipbenchGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="chipbench")
@verbose_option
def main() -> None:
    """Measure what this machine's GPU (or CPU) really does on matrix multiplies.

    The result stands beside what is published for the H20 and the chips that it was cut from.

    \b
    Start with:
      chipbench run
      chipbench compare latest h20 h100
    """  # noqa: D301 - \b is Click's mark for a block to keep

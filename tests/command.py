"""The command as typed, without a process of its own: exit code, stdout and stderr, each for itself."""

from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from bench.cli.main import main


class Answer(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """What was printed, with every run of white space as one space."""
        return " ".join(self.out.split())

    @property
    def last_error(self) -> str:
        """The last line on stderr, which is the error's; there is no output beside it."""
        assert self.out == ""
        line = self.err.splitlines()[-1]
        assert line.startswith("chipbench: ")
        assert "Traceback" not in self.err
        assert "bug" not in line
        return line

    @property
    def error(self) -> str:
        """The one line of an error that nothing went before."""
        assert len(self.err.splitlines()) == 1
        return self.last_error


def chipbench(*args: str | Path) -> Answer:
    """Return what `chipbench ARGS` comes to."""
    result = CliRunner().invoke(main, [str(arg) for arg in args], prog_name="chipbench")
    return Answer(result.exit_code, result.stdout, result.stderr)

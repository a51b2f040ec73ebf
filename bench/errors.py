"""One error class per cause, each with its exit code. Core code raises these; only `cli` prints them.

Every message is one line that says what was wrong, where, and what to do.
"""

import re
from typing import ClassVar, Final

_LONGEST: Final = 2000  # characters: a list of all that may stand somewhere is half of that


class ChipbenchError(Exception):
    """A failure that has a plain explanation; `exit_code` is what the command line returns for it."""

    exit_code: ClassVar[int] = 1


class InvalidRequest(ChipbenchError):
    """The user asked for something that does not exist or cannot be done: a bad option, size or dtype."""

    exit_code = 2


class SpecError(ChipbenchError):
    """A file under `specs/` (or a chip that it should hold) is malformed, missing or inconsistent."""

    exit_code = 3


class RecordError(ChipbenchError):
    """A record cannot be read, or there is nothing in it to compare."""

    exit_code = 4


class BackendUnavailable(ChipbenchError):
    """The device or its libraries are not here, or were lost on the way."""

    exit_code = 5


class Tripped(ChipbenchError):
    """What was found meets a condition of `--fail-on`."""

    exit_code = 6


class CannotWrite(ChipbenchError):
    """A result cannot be saved: the target exists, is in use, full or not permitted."""

    exit_code = 7


class NothingPassed(ChipbenchError):
    """Every cell that was measured failed its check, so there is no rate to report."""

    exit_code = 8


class CellFailed(ChipbenchError):
    """One cell cannot be measured here (no algorithm for its shape, say); the run goes on with the next."""

    exit_code = 8


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would raise KeyboardInterrupt, so that both take the same way out."""


def impersonal(text: object) -> str:
    """Return an error's text on one line, fit to be kept: of a path, which may name a user, only the last part."""
    return re.sub(r"(?<![\w.])(?:~|/)[^\s'\",;:()]*/([^\s'\",;:()/]*)", r"\1", one_line(text))


def shortened(text: str) -> str:
    """Return an error's line; of one longer than anybody reads, as it holds a value of a file, its ends."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"


INTERRUPTED_EXIT = 130
TERMINATED_EXIT = 143


def one_line(text: object) -> str:
    """Return an error's text, or any other, on one line, with white space folded.

    A control character, by which a file from elsewhere could steer the terminal, is shown as �.
    """
    return "".join(mark if mark.isprintable() else "�" for mark in " ".join(str(text).split()))

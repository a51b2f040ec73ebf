"""What every input must come to, whatever it is: an answer in time, or one line that says what is wrong."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, TypeVar

from bench.errors import ChipbenchError, one_line, shortened
from tests.command import Answer, chipbench

READING_S: Final = 5.0  # a reader takes about a millisecond: this is a hang even on a machine that is busy
COMMAND_S: Final = 60.0  # and of a command, which takes some hundredths of a second
LONGEST: Final = 2500  # characters in the line of an error: it lists what may stand there, and not what did
_CODES: Final = frozenset({0, 2, 3, 4, 5, 6, 7, 8})  # of README, without 1, a bug, and those of signals
_T = TypeVar("_T")


class Hung(Exception):
    """An input that was not done with in time."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise Hung in the block if it takes longer."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        message = f"not done after {seconds} s"
        raise Hung(message)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def accepted(read: Callable[[], _T]) -> _T | None:
    """Return what `read` reads, None if it refuses that in the way that errors are to be told."""
    refused: ChipbenchError | None = None
    with deadline(READING_S):
        try:
            return read()
        except ChipbenchError as error:
            refused = error
    assert refused.exit_code in _CODES
    text = shortened(one_line(refused))
    assert 10 < len(text) <= LONGEST, text[:300]
    assert text.isprintable()
    return None


def answered(*args: str | Path) -> Answer:
    """Return what a command comes to, which must be an answer, or one line of an error with its code."""
    with deadline(COMMAND_S):
        answer = chipbench(*args)
    told = answer.err.splitlines()
    errors = [line for line in told if line.startswith("chipbench: ")]
    assert answer.code in _CODES, (args, answer.code, told[-1:])
    assert "Traceback" not in answer.err, args
    assert "this is a bug" not in answer.err, (args, told[-1:])
    assert len(errors) == (answer.code != 0), (args, answer.code, told)
    for line in told:
        assert line.isprintable(), (args, line)
        assert len(line) <= LONGEST, (args, line[:300])
    return answer

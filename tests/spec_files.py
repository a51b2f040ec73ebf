"""What the tests of spec files share: a valid file with one text replaced, and the one line that refuses it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.errors import SpecError

Write = Callable[..., Path]


class Case(NamedTuple):
    """A text of the valid file, what stands there instead, and what the message must name."""

    old: str
    new: str
    parts: tuple[str, ...]


def writer(tmp_path: Path, valid: str, kind: str, named: str) -> Write:
    """Return what writes `valid` below a folder `kind`, with one text replaced if asked.

    `named` is the valid file's line with its name, such as 'id = "test-model"': another name replaces it there.
    """
    field, _, own = named.partition(" = ")

    def write(old: str = "", new: str = "", *, name: str = own.strip('"'), folder: str = "specs") -> Path:
        assert valid.count(old) == 1 or not old, f"{old!r} is there {valid.count(old)} times"
        path = tmp_path / folder / kind / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = valid.replace(old, new) if old else valid
        path.write_text(text.replace(named, f'{field} = "{name}"'), encoding="utf-8")
        return path

    return write


def refusal(read: Callable[[], object], *parts: str) -> str:
    """Return the one line with which SpecError refuses what `read` reads; every part must be in it."""
    with pytest.raises(SpecError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, f"{part!r} is not in {message!r}"
    return message

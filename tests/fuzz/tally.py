"""How many inputs there are to be, of what, and whether they were: each test counts its own."""

import faulthandler
import os
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, cycle, islice, zip_longest
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

# A longer hunt: CHIPBENCH_FUZZ_TIMES=20 CHIPBENCH_FUZZ_SEED=7 pytest -m slow tests/fuzz
TIMES: Final = int(os.environ.get("CHIPBENCH_FUZZ_TIMES", "1"))
SEED: Final = os.environ.get("CHIPBENCH_FUZZ_SEED", "1")
LEAST: Final = 50_000
ONE_FIELD: Final = 0.5  # of them at least are valid files with one field changed
PARTS: Final = 4  # of what takes long, so that two processes share it
_PATIENCE_S: Final = 600.0
_T = TypeVar("_T")


class Share(NamedTuple):
    """How many inputs a part of this suite tries; `one_field`: each is a valid file with one field changed."""

    inputs: int
    one_field: bool


PLAN: Final = MappingProxyType(
    {
        **{f"records {part}": Share(6500, one_field=True) for part in range(PARTS)},
        "records, several fields": Share(1500, one_field=False),
        "records, bytes": Share(2500, one_field=False),
        "chips": Share(4500, one_field=True),
        "rules": Share(4500, one_field=True),
        "models": Share(2500, one_field=True),
        "published": Share(5000, one_field=True),
        "timeline": Share(1000, one_field=True),
        "aliases": Share(1000, one_field=True),
        "specs, bytes": Share(1000, one_field=False),
        **{f"commands {part}": Share(400, one_field=True) for part in range(PARTS)},
        "rates": Share(150, one_field=False),
        "specs in commands": Share(160, one_field=True),
        "arguments": Share(800, one_field=False),
        "pytest-benchmark": Share(1200, one_field=True),
    }
)


class Tally:
    """Counts what a test tried, and of that what was accepted."""

    def __init__(self) -> None:
        self.inputs = self.accepted = 0

    def count(self, *, accepted: bool) -> None:
        """Take one more input into account."""
        self.inputs += 1
        self.accepted += accepted


def wanted(name: str) -> int:
    """Return how many inputs a part tries."""
    return PLAN[name].inputs * TIMES


@contextmanager
def tallied(name: str) -> Iterator[Tally]:
    """Fail if the block did not try as many inputs as planned, or if all of them, or none, were accepted."""
    tally = Tally()
    # What not even the deadline of an input ends is inside of C, and has a stack to show.
    faulthandler.dump_traceback_later(_PATIENCE_S * TIMES, exit=True)
    try:
        yield tally
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert tally.inputs >= wanted(name), f"{name}: {tally.inputs} inputs"
    assert 0 < tally.accepted < tally.inputs, f"{name}: {tally.accepted} of {tally.inputs} accepted"


def some(name: str, found: Sequence[_T], kind: Callable[[_T], Hashable]) -> list[_T]:
    """Return as many of what was found as the part tries, of every kind alike; of one seed always the same."""
    chance = random.Random(f"{SEED} {name}")
    kinds: dict[Hashable, list[_T]] = {}
    for one in chance.sample(found, len(found)):
        kinds.setdefault(kind(one), []).append(one)
    in_turn = chain.from_iterable(zip_longest(*kinds.values()))
    return [*islice(cycle(one for one in in_turn if one is not None), wanted(name))]

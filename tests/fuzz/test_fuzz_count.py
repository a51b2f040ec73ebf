"""How much is tried in all: every part counts its own inputs and fails if they are fewer than the plan says."""

import re
from pathlib import Path

import pytest

from tests.fuzz.tally import LEAST, ONE_FIELD, PLAN, TIMES, tallied

pytestmark = pytest.mark.slow


def test_the_parts_together_try_enough_and_mostly_one_field() -> None:
    every = sum(share.inputs for share in PLAN.values())
    assert every >= LEAST
    assert sum(share.inputs for share in PLAN.values() if share.one_field) >= ONE_FIELD * every


def test_every_part_is_tried_by_some_test() -> None:
    here = Path(__file__).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in here.glob("test_*.py") if path.name != __file__)
    for name in PLAN:
        assert re.search(rf'"{re.sub(r"[0-9]+$", "{part}", name)}"', sources), name


@pytest.mark.parametrize(
    ("tried", "accepted"), [(160 * TIMES - 1, 80), (160 * TIMES, 0), (160 * TIMES, 160 * TIMES)]
)
def test_a_part_that_tries_too_little_or_tells_nothing_fails(tried: int, accepted: int) -> None:
    with pytest.raises(AssertionError, match="specs in commands"):
        _try(tried, accepted)


def _try(tried: int, accepted: int) -> None:
    with tallied("specs in commands") as tally:
        for number in range(tried):
            tally.count(accepted=number < accepted)

"""How far apart rates must be, by kind of device: a change of these changes what every verdict means."""

import math

import pytest

from bench.analysis.verdict import MARGINS, Margins, judge, margins_of
from tests.test_verdict import T, mirrored, of, rates_of


def test_they_are_what_the_readme_says() -> None:
    assert margins_of("gpu") == (0.03, 0.005, 0.03)
    assert margins_of("cpu") == (0.15, 0.05, 0.10)


def test_of_an_unknown_device_they_are_the_widest() -> None:
    assert margins_of("") == tuple(max(column) for column in zip(*MARGINS.values(), strict=True))


def test_between_two_kinds_each_is_the_larger_one() -> None:
    assert Margins(1, 5, 3).widest(Margins(4, 2, 6)) == Margins(4, 2, 6).widest(Margins(1, 5, 3)) == (4, 5, 6)


@pytest.mark.parametrize(
    ("ratio", "kind", "verdict"),
    [(1.03, "gpu", "faster"), (1.03, "cpu", "same"), (1.049, "cpu", "same"), (1.051, "cpu", "faster")],
)
def test_what_sessions_may_differ_by_depends_on_the_device(ratio: float, kind: str, verdict: str) -> None:
    a, b = of([1e12] * 3, 1e-5), of([ratio * 1e12] * 3, 1e-5)
    assert judge(a, b, margins_of(kind)).verdict == verdict
    assert judge(b, a, margins_of(kind)).verdict == mirrored(judge(a, b, margins_of(kind)).verdict)


def test_same_is_as_wide_as_the_device_makes_it() -> None:
    sd = 0.05 / T[4] / math.sqrt(2 / 3)
    side = of(rates_of([-sd, 0, sd]))
    assert judge(side, side, margins_of("cpu")).verdict == "same"
    assert judge(side, side, margins_of("gpu")).verdict == "can't tell"

"""Every reason of a verdict has its words beside the ratio and its sentence below the table."""

from typing import get_args

import pytest

from bench.analysis.estimates import Ratio
from bench.analysis.verdict import Finding, Reason
from bench.report.verdicts import explanation, verdict_text
from bench.stats import Interval

VALUES = {"floor": 0.15, "least": 0.005, "alike": 0.03, "differs": "ecc", "processes_a": 3, "processes_b": 1}
TOLD = ("processes", "repeats", "beyond_floor")


def finding(reason: Reason, lo: float = 0.9, hi: float = 0.95) -> Finding:
    verdict = "slower" if reason in TOLD else "not comparable" if reason in {"context", "failed"} else "can't tell"
    return Finding(verdict, reason, Ratio((lo * hi) ** 0.5, Interval(lo, hi)), VALUES)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_verdict_that_is_none_says_why(reason: Reason) -> None:
    text = verdict_text(finding(reason))
    assert (": " in text) == (reason not in TOLD)


@pytest.mark.parametrize("reason", [reason for reason in get_args(Reason) if reason != "context"])
def test_each_has_a_sentence_with_its_numbers_filled_in(reason: Reason) -> None:
    text = explanation(finding(reason))
    assert text is not None
    assert "{" not in text
    assert ("±15 %" in text) == (reason in {"within_floor", "beyond_floor", "repeats"})
    assert ("0.5 %" in text) == ("3 %" in text) == (reason in {"processes", "interval"})


def test_the_surroundings_are_told_by_the_differences_themselves() -> None:
    assert explanation(finding("context")) is None
    assert verdict_text(finding("context")) == "not comparable: ecc"


def test_the_same_is_told_with_how_far_it_may_be_off() -> None:
    same = Finding("same", "processes", Ratio(1.0, Interval(0.98, 1.01)))
    assert verdict_text(same) == "same (within 2.0 %)"

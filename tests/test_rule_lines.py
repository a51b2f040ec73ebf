"""Which export rules are lines in TPP and performance density alone, and what their paragraphs are called."""

import pytest

from bench.analysis.rule_lines import can_be_mapped, group_of
from bench.published.conditions import Flag
from bench.published.rules import Rule, read_rules
from bench.published.source import specs_folders


@pytest.fixture(scope="module")
def rule() -> Rule:
    """The rule of November 2023, which asks for the market and for these two numbers."""
    return next(one for one in read_rules(specs_folders(None)).rules if one.id == "2023-11-3a090")


@pytest.mark.parametrize(("flag", "mapped"), [("data_centre", True), ("memory_stack", False), ("hbm", False)])
def test_a_rule_that_asks_for_more_than_the_market_has_no_map(rule: Rule, flag: str, mapped: bool) -> None:
    assert can_be_mapped(rule)
    assert can_be_mapped(rule._replace(applies=Flag(flag, wanted=True))) is mapped
    assert can_be_mapped(rule._replace(applies=None))


def test_an_exception_has_none_of_its_own(rule: Rule) -> None:
    assert not can_be_mapped(rule._replace(excepts="2022-10-3a090"))


def test_only_a_numbered_paragraph_is_part_of_another() -> None:
    assert [group_of(name) for name in ("3A090.a.1", "3A090.a", "3A090", "4")] == [
        "3A090.a", "3A090.a", "3A090", "4"
    ]  # fmt: skip

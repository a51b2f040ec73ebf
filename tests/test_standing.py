"""How chips stand on the days on which the rules changed, held against the verdicts themselves."""

from datetime import date, timedelta

import pytest

from bench.analysis.explain import brief_story
from bench.analysis.standing import Standing, asks_for_licence, standing, turning_days
from bench.published.chips import Catalogue
from bench.published.rules import read_rules
from bench.published.source import specs_folders

FOLDERS = specs_folders(None)
BOOK, CATALOGUE = read_rules(FOLDERS), Catalogue(FOLDERS)
DAYS = turning_days(BOOK)


def on(chip: str, day: date) -> Standing:
    return standing(brief_story(CATALOGUE.chip(chip), CATALOGUE, BOOK, day).design, BOOK, day)


def asked(day: date) -> set[str]:
    return {rule.id for rule in BOOK.in_force(day) if asks_for_licence(rule)}


def test_the_rules_are_others_on_each_of_the_days_and_the_same_between_them() -> None:
    assert sorted(DAYS) == DAYS
    for day in DAYS[1:]:
        assert asked(day) != asked(day - timedelta(days=1))
    for begin, end in zip(DAYS, [*DAYS[1:], BOOK.known_until + timedelta(days=1)], strict=True):
        assert all(asked(begin + timedelta(days=n)) == asked(begin) for n in range((end - begin).days))


def test_memory_that_is_sold_alone_and_what_asks_for_no_licence_do_not_count() -> None:
    left_out = {rule.id for rule in BOOK.rules if not asks_for_licence(rule)}
    assert {"2024-12-hbm", "2023-11-nac", "2026-01-review", "bill-safe-chips"} <= left_out
    assert "2023-11-3a090" not in left_out


def test_the_h20_was_free_of_published_rules_until_the_letter_of_april_2025() -> None:
    for day in DAYS:
        found = on("h20-96gb", day)
        assert [verdict.rule.id for verdict in found.met] == (
            ["2025-04-letter"] if day >= date(2025, 4, 9) else []
        )
    assert on("h20-96gb", date(2025, 4, 9)).covered is True
    assert on("h20-96gb", date(2025, 4, 8)).covered is None, "a letter that was not published may mean it"


@pytest.mark.parametrize(("chip", "first"), [("h100-sxm5-80gb", "2022-08-26"), ("h800-sxm5-80gb", "2023-10-23")])
def test_full_strength_came_first_and_what_was_cut_in_links_a_year_later(chip: str, first: str) -> None:
    assert min(day for day in DAYS if on(chip, day).covered).isoformat() == first


def test_a_chip_that_no_rule_covers_or_may_cover_is_free() -> None:
    verdicts = on("h20-96gb", date(2025, 4, 8)).unmet
    assert verdicts
    assert Standing(DAYS[0], (), verdicts, ()).covered is False
    assert Standing(DAYS[0], (), verdicts, verdicts).covered is None
    assert Standing(DAYS[0], verdicts, (), verdicts).covered is True


def test_no_verdict_is_lost_or_twice() -> None:
    for day in DAYS:
        found = on("a30", day)
        every = [verdict.rule.id for verdict in (*found.met, *found.unmet, *found.unknown)]
        assert sorted(every) == sorted(asked(day))
        assert found.covered is (True if found.met else None if found.unknown else False)

"""The map of an export rule: its regions and chips as data, what the title finds, and where the words stand."""

import re
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bench.analysis.explain import Story, brief_story
from bench.errors import InvalidRequest
from bench.published.chips import Catalogue
from bench.published.rules import RuleBook, read_rules
from bench.published.source import shipped_specs
from bench.report.plots import style
from bench.report.plots.layout import Box, Space, beside
from bench.report.plots.rule_map import drawn, render
from bench.report.plots.rule_map_data import RuleMapPicture, picture_of
from bench.report.plots.rule_map_places import Place
from bench.report.plots.rule_map_regions import mapped_rule
from tests.command import chipbench
from tests.drawn import assert_apart_and_inside, words_of
from tests.explain_lab import write_rule

CATALOGUE: Final = Catalogue([shipped_specs()])
BOOK: Final = read_rules([shipped_specs()])
DAY: Final = BOOK.known_until
H20, H100, CONSUMER, BLURRED = "h20-96gb", "h100-sxm5-80gb", "rtx4090d", "rtx6000d"


@cache
def stories() -> tuple[Story, ...]:
    return tuple(brief_story(chip, CATALOGUE, BOOK, DAY) for chip in CATALOGUE.all())


@cache
def picture(*highlighted: str) -> RuleMapPicture:
    return picture_of(stories(), BOOK, DAY, highlighted)


def place_of(found: RuleMapPicture, chip: str) -> Place:
    return next(place for place in found.places if chip in [one.story.design.id for one in place.chips])


def with_rule(folder: Path, outcomes: str, effective: str = "2024-06-01") -> RuleBook:
    """Return the book with one more rule of these outcomes."""
    head = f'id = "my-rule"\ntitle = "Mine"\ncitation = "None"\ngrade = "published"\neffective = {effective}\n'
    write_rule(folder, f'{head}effect = "licence"\n{outcomes}')
    return read_rules([shipped_specs(), folder])


class TestRegions:
    def test_paragraphs_of_one_letter_are_one_region_that_says_what_follows(self) -> None:
        texts = [region.text for region in picture(H20).regions]
        assert texts == ["3A090.a: licence needed", "3A090.b: licence needed, exception NAC may be open"]

    @settings(max_examples=60)
    @given(st.floats(1000, 60_000), st.floats(1.5, 40))
    def test_a_point_is_in_the_region_of_what_the_rule_says_there_and_in_no_other(
        self, tpp: float, density: float
    ) -> None:
        inside = [
            region.name
            for region in picture(H20).regions
            for cell in region.cells
            if cell.left <= tpp < cell.right and cell.bottom <= density < cell.top
        ]
        said = mapped_rule(BOOK, DAY).said(Fraction(tpp), Fraction(density), data_centre=True)
        assert inside == ([said.group] if said else [])

    def test_an_outline_has_no_seam_inside_a_region(self) -> None:
        upper, lower = picture(H20).regions
        for region, other in ((upper, lower), (lower, upper)):
            for (x0, y0), (x1, y1) in region.edges:
                x, y = (x0 + x1) / 2, (y0 + y1) / 2
                sides = [(x * f, y) for f in (0.99, 1.01)] if x0 == x1 else [(x, y * f) for f in (0.99, 1.01)]
                held = [any(c.left < a < c.right and c.bottom < b < c.top for c in region.cells) for a, b in sides]
                assert sorted(held) == [False, True], (region.name, other.name)

    def test_the_thresholds_stand_at_the_axes_as_plain_numbers(self) -> None:
        found = picture(H20)
        assert [tick.text for tick in found.x.ticks if tick.threshold] == ["1600", "2400", "4800"]
        assert [tick.text for tick in found.y.ticks if tick.threshold] == ["1.6", "3.2", "5.92"]

    def test_chips_for_other_uses_have_a_line_of_their_own_and_a_key_for_it(self) -> None:
        found = picture(H20)
        assert {x for ends in found.shift for x, _ in ends} == {4800.0}
        assert found.key[-1].text.endswith("what is not designed for data centres (exception NAC may be open)")

    def test_a_rule_of_one_s_own_is_drawn_as_it_stands(self, tmp_path: Path) -> None:
        outcomes = '[[outcomes]]\nname = "mine"\nwhen = { quantity = "tpp", at_least = 3000 }\n'
        book = with_rule(tmp_path, outcomes)
        chips = [brief_story(CATALOGUE.chip(name), CATALOGUE, book, DAY) for name in (H20, H100)]
        found = picture_of(chips, book, DAY, [H20])
        assert [(region.text, len(region.cells)) for region in found.regions] == [("mine: licence needed", 1)]
        assert not found.shift, "it asks for no market"
        assert found.title.endswith("78.9 % of the 3000 at which mine begins"), "whatever the size of the die"

    def test_what_a_paragraph_said_before_is_not_said_after(self, tmp_path: Path) -> None:
        when = 'when = { quantity = "tpp", at_least = 3000 }'
        terms = {"until = 2024-12-31": "licence", "since = 2025-01-01": "denial"}
        outcomes = [
            f'[[outcomes]]\nname = "mine"\neffect = "{effect}"\n{term}\n{when}\n' for term, effect in terms.items()
        ]
        book = with_rule(tmp_path, "".join(outcomes))
        said = [
            mapped_rule(book, date(year, 6, 1)).said(Fraction(3000), None, data_centre=True)
            for year in (2024, 2025)
        ]
        assert [one and one.effect for one in said] == [*terms.values()]

    def test_an_exception_is_no_map_and_open_only_from_its_day_on(self, tmp_path: Path) -> None:
        with_rule(tmp_path, '[[outcomes]]\nname = "mine"\nwhen = { quantity = "tpp", at_least = 3000 }\n')
        rule = 'id = "open"\ntitle = "Open"\ncitation = "None"\ngrade = "published"\neffective = 2025-01-01\n'
        rule += 'effect = "exception"\nexcepts = "my-rule"\n[[outcomes]]\nname = "OPEN"\n'
        write_rule(tmp_path, f'{rule}when = {{ quantity = "tpp", below = 4000 }}\n', "open")
        book = read_rules([shipped_specs(), tmp_path])
        maps = [mapped_rule(book, date(year, 6, 1)) for year in (2024, 2025)]
        assert [one.rule.id for one in maps] == ["my-rule"] * 2
        said = [one.said(Fraction(3000), None, data_centre=True) for one in maps]
        assert [one and one.exceptions for one in said] == [(), ("OPEN",)]

    def test_a_day_without_such_a_rule_is_refused_and_the_one_that_has_a_map_named(self) -> None:
        with pytest.raises(InvalidRequest, match=r"2022-12-01: no rule .* a map of \S+ \(since 2023-11-17\)"):
            mapped_rule(BOOK, date(2022, 12, 1))

    def test_a_day_that_nobody_followed_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match=f"known until {DAY}; .* give an earlier day"):
            mapped_rule(BOOK, date(DAY.year + 1, 1, 1))


class TestChips:
    def test_every_chip_is_in_the_list_and_those_without_a_place_are_named_with_the_reason(self) -> None:
        found = picture(H20)
        nowhere = next(note for note in found.notes if note.startswith("Not on the map"))
        assert len(found.entries) == len(CATALOGUE.all())
        assert [entry.number for entry in found.entries][-nowhere.count("(") :] == [None] * nowhere.count("(")
        assert found.entries[-nowhere.count("(") - 1].number == len(found.places), "the numbered ones are first"
        assert "B30A (TPP at least 30000, die area unknown)" in nowhere
        assert "A800 SXM4 40GB (TPP unknown)" in nowhere

    def test_the_list_has_numbers_and_what_each_chip_meets(self) -> None:
        rows = {entry.name: entry[2:] for entry in picture(H20).entries}
        assert rows["H20 96GB"] == ("2368", "2.91", "none", True)
        assert rows["H20 141GB"] == ("≥ 2368", "≥ 2.91", "unknown", False)
        assert rows["L4"] == ("1936", "6.57", "3A090.a.2", False)

    def test_of_chips_without_a_place_the_list_has_what_is_known(self) -> None:
        rows = {entry.name: entry[2:] for entry in picture(H20, "b30a").entries if entry.number is None}
        assert rows["B30A"] == ("≥ 30000", "?", "3A090.a.1", True)
        assert rows["A800 SXM4 40GB"] == ("?", "?", "unknown", False)

    def test_a_long_name_is_cut_at_its_end(self) -> None:
        (name,) = (entry.name for entry in picture(H20).entries if "Blackwell" in entry.name)
        assert name.endswith("…")
        assert name.removesuffix("…") in CATALOGUE.chip("rtxpro6000").name
        assert len(name) > 30, "the column has room for so much"

    def test_chips_at_one_point_share_a_marker_but_not_across_a_threshold(self) -> None:
        found = picture(H20)
        assert place_of(found, H100) is place_of(found, "h200-sxm-141gb")
        assert place_of(found, H20) is not place_of(found, "a40")
        for place in found.places:
            assert len({entry.number for entry in found.entries if entry.number == place.number}) == 1

    def test_a_threshold_between_two_that_are_alike_parts_them(self, tmp_path: Path) -> None:
        outcomes = '[[outcomes]]\nname = "mine"\nwhen = { quantity = "tpp", at_least = 15831.5 }\n'
        book = with_rule(tmp_path, outcomes)
        some = [brief_story(CATALOGUE.chip(name), CATALOGUE, book, DAY) for name in (H100, "h200-sxm-141gb")]
        assert len(picture_of(some, book, DAY, ()).places) == 2

    def test_what_a_chip_is_designed_for_and_a_lower_bound_are_told_by_the_marker(self) -> None:
        found = picture(H20)
        assert place_of(found, H100).markets == ["data centre"]
        assert place_of(found, CONSUMER).markets == ["other"]
        assert place_of(found, BLURRED).markets == ["open"]
        assert (place_of(found, BLURRED).bound, place_of(found, H100).bound) == (True, False)

    def test_a_highlighted_chip_has_its_die_s_diagonal_through_it_and_alike_dies_share_one(self) -> None:
        (line,) = picture(H20, H100).diagonals
        assert line.text == "a die of 814 mm2"
        for x, y in (line.start, line.end, place_of(picture(H20), H20).at):
            assert x / y == pytest.approx(814)
        assert [line.text for line in picture(H20, "a30").diagonals] == ["dies of 814 and 826 mm2"]

    @pytest.mark.parametrize("name", [H20, H100, CONSUMER, BLURRED, "rtx5090d", "b200-sxm-180gb"])
    def test_a_highlighted_chip_is_labelled_with_both_numbers(self, name: str) -> None:
        bold = [" ".join(label.text.split()) for label in picture(name).labels if label.bold]
        entry = next(entry for entry in picture(name).entries if entry.highlighted)
        numbers = [text.replace("≥", "at least") for text in (entry.tpp, entry.density)]
        assert any(text.endswith(f": TPP {numbers[0]}, density {numbers[1]}") for text in bold)


class TestTitle:
    @pytest.mark.parametrize(
        ("chip", "begins", "ends"),
        [
            (H20, "The H20 96GB has a TPP of 2368, 98.7 % of the 2400 at", "begins for a die of its size"),
            (H100, "The H100 SXM5 80GB is covered by 3A090.a: its TPP of 15831.2 is 6.60 times", "of its size"),
            ("h20-141gb", "Whether 2023-11-3a090 covers the H20 141GB is unknown: its TPP of at least", "size"),
            (
                CONSUMER,
                "The GeForce RTX 4090 D has a TPP of 4706.88, 98.06 % of the 4800",
                "size, not designed for data centres",
            ),
            ("rtx5000ada", "Whether 2023-11-3a090 covers", "of its size, if it is designed for data centres"),
            ("b30a", "The B30A is covered by 3A090.a: TPP at least 30000", "die area unknown"),
        ],
    )
    def test_it_is_about_the_first_highlighted_chip(self, chip: str, begins: str, ends: str) -> None:
        title = picture(chip, "l4").title
        assert (title[: len(begins)], title[-len(ends) :]) == (begins, ends)

    def test_without_one_it_counts_and_so_does_the_text_for_who_cannot_see_it(self) -> None:
        found = picture()
        covered = int(re.findall(r"covers (\d+) of 46 chips", found.title)[0])
        meets = [entry.paragraph for entry in found.entries]
        assert covered == sum(name.startswith("3A090") for name in meets)
        assert f"Of 46 chips it covers {covered}, 9 it does not, and of 6 that is unknown." in found.alt
        placed = [entry for entry in found.entries if entry.number is not None]
        assert f"{len(placed)} chips are placed at {len(found.places)} points" in found.alt

    def test_the_notes_name_the_rules_that_the_map_leaves_out(self) -> None:
        left_out = next(note for note in picture(H20).notes if note.startswith("Not drawn"))
        assert "2025-04-letter" in left_out

    def test_of_an_earlier_day_they_say_that_chips_of_later_years_are_shown_too(self) -> None:
        day = date(2024, 1, 1)
        some = [brief_story(CATALOGUE.chip(name), CATALOGUE, BOOK, day) for name in (H20, H100)]
        told = "Chips are held against the rule of that day whether or not they were sold then."
        assert told in picture_of(some, BOOK, day, ()).notes
        assert told not in picture(H20).notes


class TestPlacing:
    @given(st.tuples(st.floats(0, 4), st.floats(0, 4)), st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4))))
    def test_a_place_is_in_the_room_and_over_nothing_taken(
        self, at: tuple[float, float], others: Sequence[tuple[float, float]]
    ) -> None:
        room, taken = Box(0, 0, 4, 4), [Box(x, y, x + 0.2, y + 0.2) for x, y in others]
        found = beside(at, (0.8, 0.2), (0.1, 0.5), Space(room, taken))
        assert found is None or (room.holds(found) and not any(found.overlaps(box) for box in taken))

    def test_it_goes_further_where_the_sides_are_taken_and_a_line_crosses_nothing(self) -> None:
        room, wall = Box(0, 0, 4, 4), Box(2.2, 0, 2.3, 4)
        free = beside((2, 2), (0.5, 0.2), (0.1, 0.6), Space(room, [], unled=0.2))
        assert free is not None
        assert free.left == pytest.approx(2.1)
        led = beside((2, 2), (0.5, 0.2), (0.6,), Space(room, [wall], unled=0.1))
        assert led is not None
        assert led.right < 2.2
        assert beside((2, 2), (5, 0.2), (0.1,), Space(room, [])) is None


@cache
def inner_words(*highlighted: str) -> tuple[list[tuple[str, bool, Box]], Axes]:
    """Return the words inside the drawn map, whether they are bold, with their places in pixels, and its axes."""
    with style.applied():
        axes = drawn(picture(*highlighted)).axes[0]
        renderer = FigureCanvasAgg(axes.get_figure(root=True)).get_renderer()  # type: ignore[no-untyped-call]
        inside = [text for text in axes.texts if text.get_text()]
        boxes = [Box(*map(float, text.get_window_extent(renderer).extents)) for text in inside]
    bold = [text.get_fontweight() == "bold" for text in inside]
    return [*zip([text.get_text() for text in inside], bold, boxes, strict=True)], axes


SHOWN: Final = [(H20,), (H20, H100, "h200-sxm-141gb"), (H20, H100, "b30a", "l20"), ("rtx4090",)]


class TestClear:
    @pytest.mark.parametrize("highlighted", SHOWN)
    def test_nothing_reads_as_a_part_of_a_highlighted_label(self, highlighted: tuple[str, ...]) -> None:
        words, _ = inner_words(*highlighted)
        for box in (box for _, bold, box in words if bold):
            wider = Box(box.left - 10, box.bottom + 3, box.right + 10, box.top - 3)
            assert not [text for text, bold, other in words if not bold and wider.overlaps(other)]

    @pytest.mark.parametrize("highlighted", SHOWN)
    def test_no_label_wipes_out_a_corner_of_a_region(self, highlighted: tuple[str, ...]) -> None:
        words, axes = inner_words(*highlighted)
        ends = [end for region in picture(*highlighted).regions for edge in region.edges for end in edge]
        corners = [Box(x, y, x, y) for x, y in axes.transData.transform(ends)]
        assert not [text for text, _, box in words if any(box.overlaps(corner) for corner in corners)]

    def test_a_line_of_a_label_ends_at_its_marker_s_side_in_any_font(self) -> None:
        svg = render(picture(H20), ".svg").decode()
        lines = re.findall(r'<text style="([^"]*)"[^>]*>(?:TPP 2368,|density 2\.91|H20 96GB:)</text>', svg)
        assert len(lines) == 3
        assert all("text-anchor: end" in line for line in lines)


@pytest.mark.slow
class TestDrawn:
    @pytest.mark.parametrize(
        "highlighted",
        [(H20,), (H20, H100, "h200-sxm-141gb", "a100-sxm4-80gb", CONSUMER)],
    )
    def test_no_two_texts_overlap_and_all_are_inside(self, highlighted: tuple[str, ...]) -> None:
        found = picture(*highlighted)
        words, figure = words_of(drawn, found)
        assert len(words) > 5 * len(found.entries) + len(found.places)
        assert_apart_and_inside(words, figure)
        axes = figure.axes[0]
        dots = axes.transData.transform([place.at for place in found.places])
        inside = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert not [(x, y) for x, y in dots for box in inside if box.contains(x, y)], "no word covers a marker"

    def test_each_place_region_and_diagonal_has_its_label(self) -> None:
        found = picture(H20)
        assert len(found.labels) == len(found.places) + len(found.regions) + len(found.diagonals)

    def test_the_same_data_give_the_same_bytes(self) -> None:
        assert render(picture(H20), ".svg") == render(picture(H20), ".svg")


class TestCommand:
    def test_it_saves_a_map_of_the_usual_chip_and_of_those_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        answer = chipbench("plot", "rule-map", "-o", "usual.svg")
        assert (answer.code, answer.out, answer.err) == (0, "", "saved usual.svg\n")
        assert chipbench("plot", "rule-map", H20, "--on", str(DAY), "-o", "named.svg").code == 0
        assert (tmp_path / "usual.svg").read_bytes() == (tmp_path / "named.svg").read_bytes()
        assert ">1 T4<" in (tmp_path / "usual.svg").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["h21"], "did you mean h20"),
            (["--on", "2022-12-01"], "no rule in force then draws its lines in TPP and performance density alone"),
            (["--on", "2020-01-01"], "before the first rule here"),
            (["--on", "soon"], "'soon' is no day; give one like"),
            (["--on", "2999-01-01"], "give an earlier day"),
        ],
    )
    def test_bad_input_is_one_line_and_no_file(
        self, args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        answer = chipbench("plot", "rule-map", *args, "-o", "out.svg")
        assert (answer.code, said in answer.error, [*tmp_path.iterdir()]) == (2, True, [])

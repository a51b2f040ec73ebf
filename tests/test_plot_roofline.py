"""The picture of rooflines as data: what is drawn, where, what the title says; no two words collide."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.roofline import ceilings
from bench.analysis.sides import side_of_chip, side_of_others
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Catalogue
from bench.published.measured import read_published_measurements
from bench.published.source import shipped_specs
from bench.report.plots import style
from bench.report.plots.axis import Axis
from bench.report.plots.frame import evenly
from bench.report.plots.layout import MOST_TITLE, listed, shortened, spread
from bench.report.plots.names import unbound
from bench.report.plots.roofline import drawn, render
from bench.report.plots.roofline_data import (
    Limits,
    RooflinePicture,
    chosen_dtype,
    picture_of,
    roofless,
)
from bench.units import DTYPES
from bench.workloads.base import Cell
from tests.drawn import assert_apart_and_inside, words_of
from tests.test_roofline import H100, copy, estimate, product

CATALOGUE: Final = Catalogue([shipped_specs()])
OTHERS: Final = read_published_measurements([shipped_specs()])
MANY: Final = ("h20", "h100", "h200", "h800", "a100", "b200")


def chip_side(name: str) -> Side:
    return side_of_chip(CATALOGUE.resolve(name).chip)


def others_side(name: str) -> Side:
    chip = CATALOGUE.resolve(name).chip
    return side_of_others(chip, OTHERS[chip.id])


def here(rates: Mapping[Cell, Estimate], label: str = "here", **more: Any) -> Side:  # noqa: ANN401
    return Side(label, "measured", "A device", rates, device_kind="gpu", **{"chip": H100, **more})


def limits(*sides: Side) -> Limits:
    return [(side, ceilings(side)) for side in sides]


def picture(*sides: Side, dtype: str = "bf16") -> RooflinePicture:
    return picture_of(limits(*sides), DTYPES[dtype])


def title(*sides: Side, dtype: str = "bf16") -> str:
    return " ".join(picture(*sides, dtype=dtype).title.split())


def measured(peak: float, bandwidth: float, label: str = "here", **more: Any) -> Side:  # noqa: ANN401
    return here({product(): estimate(peak), copy(): estimate(bandwidth)}, label, **{"chip": None, **more})


FULL: Final = {
    product(): estimate(7e14),
    product(m=1): estimate(2e12),
    copy(): estimate(3e12),
    product("fp16"): estimate(8e14),
}


class TestLayout:
    @given(st.lists(st.floats(0, 1), max_size=20), st.floats(0.001, 0.05))
    def test_places_are_apart_in_order_and_inside(self, wanted: list[float], gap: float) -> None:
        places = spread(wanted, gap, 0, 1)
        order = sorted(range(len(wanted)), key=wanted.__getitem__)
        assert all(places[b] - places[a] >= gap - 1e-9 for a, b in pairwise(order))
        assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)

    def test_what_is_apart_stays_where_it_is_and_equal_ones_share_the_shift(self) -> None:
        assert spread([0.1, 0.9, 0.5], 0.2, 0, 1) == pytest.approx([0.1, 0.9, 0.5])
        assert spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.4, 0.6])
        assert spread([1.0, 1.0], 0.2, 0, 1) == pytest.approx([0.8, 1.0])

    def test_words(self) -> None:
        lists: list[list[str]] = [[], ["a"], ["a", "b"], ["a", "b", "c"]]
        assert [listed(words) for words in lists] == ["", "a", "a and b", "a, b and c"]
        assert (shortened("abcdefghij", 5), shortened("abcde", 5)) == ("ab…ij", "abcde")


class TestLines:
    @given(
        st.floats(1e12, 1e15), st.floats(1e11, 1e13), st.floats(1, 100), st.floats(1, 100), st.floats(1e-3, 1e6)
    )
    def test_more_peak_and_bandwidth_never_lower_a_roof_or_its_label(
        self, peak: float, bandwidth: float, more: float, faster: float, at: float
    ) -> None:
        found = picture(measured(peak, bandwidth), measured(more * peak, faster * bandwidth, "other"))
        low, high = found.lines
        assert low.roof.ceiling(at) <= high.roof.ceiling(at)
        if more > 1 + 1e-9:  # roofs that only rounding parts lie on each other
            assert found.labels[0].height < found.labels[1].height

    def test_a_chip_has_its_sheet_s_roof_and_a_record_its_own_too(self) -> None:
        found = picture(chip_side("h20"), here(FULL))
        assert [(line.side, line.published) for line in found.lines] == [(0, True), (1, True), (1, False)]
        h20, sheet, own = found.lines
        assert h20.ridge == pytest.approx((37, 148e12))
        assert sheet.ridge == pytest.approx((989.4e12 / 3350e9, 989.4e12))
        assert own.ridge == pytest.approx((7e14 / 3e12, 7e14))

    def test_those_that_later_ones_lie_upon_are_known(self) -> None:
        h100, h200, h20 = picture(chip_side("h100"), chip_side("h200"), chip_side("h20")).lines
        assert [h100.over_peak, h200.over_peak, h20.over_peak] == [1, 0, 0]
        assert [h100.over_slope, h200.over_slope, h20.over_slope] == [0, 0, 0]
        assert picture(chip_side("h100"), chip_side("h800")).lines[0].over_slope == 1

    def test_of_both_ways_of_summing_fp8_the_faster_is_the_roof_and_a_note_says_so(self) -> None:
        rates = {
            product("fp8"): estimate(1.2e15),
            product("fp8", fast=True): estimate(1.3e15),
            copy(): estimate(3e12),
        }
        found = picture(here(rates), dtype="fp8")
        assert found.lines[1].roof.peak.rate == 1.3e15
        assert len(found.dots) == 2
        assert "Of both ways of summing FP8" in " ".join(found.notes)

    def test_an_axis_is_marked_at_the_powers_of_ten_in_it(self) -> None:
        assert Axis(0.9, 2e3, "").ticks == [1, 10, 100, 1000]
        assert Axis(1e12, 1e15, "").ticks == [1e12, 1e13, 1e14, 1e15]

    @pytest.mark.parametrize("sides", [[chip_side(name) for name in MANY], [here(FULL), others_side("h20")]])
    def test_all_of_it_is_inside_the_axes(self, sides: Sequence[Side]) -> None:
        found = picture(*sides)
        where = [line.ridge for line in found.lines] + [(dot.intensity, dot.rate) for dot in found.dots]
        assert all(0 < found.x.share(x) < 1 and 0 < found.y.share(y) < 1 for x, y in where)
        assert all(found.y.share(line.roof.ceiling(found.x.low)) > 0 for line in found.lines)


class TestDots:
    def test_a_product_lies_at_its_operations_per_byte_and_its_rate(self) -> None:
        large, few = picture(here(FULL)).dots
        cell = product()
        assert (large.intensity, large.rate, large.filled) == (cell.flop / cell.bytes_moved, 7e14, True)
        assert few.intensity == pytest.approx(1, rel=1e-3)

    def test_what_others_measured_is_hollow(self) -> None:
        found = picture(others_side("h20"), here(FULL))
        assert {(dot.side, dot.filled) for dot in found.dots} == {(0, False), (1, True)}
        assert [one.mark for one in found.key] == ["solid", "dashed", "ridge", "filled", "hollow"]

    def test_what_could_lie_above_a_roof_by_its_data_is_left_out_and_told(self) -> None:
        burst = msgspec.structs.replace(product(), regime="burst")
        found = picture(here({**FULL, product(data="zeros"): estimate(9e14), burst: estimate(9e14)}))
        assert len(found.dots) == 2
        assert any(note.startswith("Not drawn") and note.endswith("2 products.") for note in found.notes)

    def test_what_was_in_a_cache_is_drawn_and_told(self) -> None:
        found = picture(here({**FULL, product(m=2): estimate(9e12)}))
        assert len(found.dots) == 3
        assert any(note.startswith("Above their measured roof") for note in found.notes)

    def test_the_key_has_only_what_occurs(self) -> None:
        assert [one.mark for one in picture(chip_side("h20")).key] == ["solid", "ridge"]
        assert [one.mark for one in picture(measured(7e14, 3e12)).key] == ["dashed", "ridge", "filled"]


class TestTitle:
    def test_of_two_chips_it_is_the_one_in_the_readme(self) -> None:
        found = title(chip_side("h20"), chip_side("h100"))
        assert found == (
            "In BF16 the H20 96GB is limited by arithmetic from 37 FLOP per byte on, the H100 SXM5 80GB from 295"
        )
        readme = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
        assert found in " ".join(readme.split())

    def test_it_goes_by_ridges_not_by_the_order_of_the_names(self) -> None:
        assert title(chip_side("h100"), chip_side("h20")) == title(chip_side("h20"), chip_side("h100"))

    def test_equal_ridges_are_told_once(self) -> None:
        found = title(chip_side("h100"), chip_side("h800"))
        assert found == (
            "In BF16 the H100 SXM5 80GB and the H800 SXM5 80GB are limited by arithmetic from 295 FLOP per byte on"
        )

    @pytest.mark.parametrize("third", ["h800", "a100", "b200"])
    def test_no_line_of_it_ends_within_a_name(self, third: str) -> None:
        found = picture(*map(chip_side, ("h20", "h100", "h200", third)))
        lines = [unbound(line) for line in evenly(found.title)]
        assert len(lines) == 2
        for label in found.labels:
            assert [line for line in lines if f"the {label.name}" in line], label.name

    def test_of_many_chips_the_ends_are_told(self) -> None:
        found = title(*map(chip_side, MANY))
        assert found.endswith("the H100 SXM5 80GB and the H800 SXM5 80GB from 295, 3 more in between")
        assert found.startswith("In BF16 the H20 96GB is limited by arithmetic from 37 FLOP")
        assert len(found) <= MOST_TITLE

    def test_of_many_alike_only_how_many(self) -> None:
        sides = [measured(7e14, 3.5e12, f"a-record-with-a-name-of-some-length-{index}") for index in range(6)]
        assert (
            title(*sides) == "In BF16 each of the 6 is limited by arithmetic from 200 FLOP per byte on (measured)"
        )

    def test_of_one_device_it_is_what_it_reaches_on_either_side_of_the_ridge(self) -> None:
        expected = (
            "In BF16 the NVIDIA H100 SXM5 80GB reaches at best 59.7 % of its published ceiling where memory "
        )
        assert title(here(FULL)) == f"{expected}limits it, 70.7 % where arithmetic does"
        assert title(here(FULL), dtype="fp16").endswith("reaches at best 80.9 % of its published ceiling")

    def test_a_chip_and_its_own_record_are_one_device(self) -> None:
        assert title(chip_side("h100"), here(FULL)) == title(here(FULL))

    def test_without_a_sheet_it_is_the_measured_ridge(self) -> None:
        found = title(measured(6e14, 3e12))
        assert found == "In BF16 the A device is limited by arithmetic from 200 FLOP per byte on (measured)"

    def test_integers_have_operations_of_their_own_name(self) -> None:
        found = picture(chip_side("h20"), dtype="int8")
        assert "from 74 OP per byte on" in found.title
        assert (found.unit, found.x.title) == ("OP/s", "OP per byte moved")
        assert "296 TOP/s, 4 TB/s, ridge 74" in found.labels[0].figures


class TestFormat:
    def test_it_is_bf16_where_that_is_among_those_that_most_have(self) -> None:
        assert chosen_dtype(limits(chip_side("h20"), chip_side("h100")), None).name == "bf16"

    def test_it_is_what_most_have_else_the_first(self) -> None:
        fp16, both = here({product("fp16"): estimate(8e14)}), here(FULL, "other")
        assert chosen_dtype(limits(fp16, both), None).name == "fp16"
        neither = [here({product(name): estimate(4e14)}, name) for name in ("tf32", "fp16")]
        assert chosen_dtype(limits(*neither), None).name == "tf32"

    def test_another_that_nobody_has_is_an_error_that_names_those_there_are(self) -> None:
        with pytest.raises(
            InvalidRequest, match=r"none of them has a roof in nvfp4; --dtype can be fp64, .* or int8"
        ):
            chosen_dtype(limits(chip_side("h20"), chip_side("h100")), DTYPES["nvfp4"])

    def test_no_roof_at_all_is_an_error(self) -> None:
        with pytest.raises(RecordError, match="here has not both a peak and a bandwidth"):
            chosen_dtype(limits(here({product(): estimate(7e14)}, chip=None)), None)

    def test_who_has_none_is_left_out(self) -> None:
        some = limits(chip_side("h20"), here({product("fp16"): estimate(8e14)}))
        assert [side.label for side in roofless(some, DTYPES["bf16"])] == ["here"]
        found = picture_of(some, DTYPES["bf16"])
        assert {line.side for line in found.lines} == {0}
        assert found.notes[-1] == "Without a roof in BF16, so not drawn: H100 SXM5 80GB, measured here."
        assert not [note for note in picture(chip_side("h20")).notes if note.startswith("Without")]


LONG: Final = "results/" + "a-very-long-name-of-a-record" * 3


@pytest.mark.slow
class TestDrawn:
    @pytest.mark.parametrize(
        "sides",
        [
            [chip_side(name) for name in MANY],
            [chip_side(name) for name in ("h100", "h200", "h800", "h20")],
            [here(FULL), others_side("h100"), others_side("h20"), chip_side("h200")],
            [measured(7.1234e14, 3.1234e12, f"{LONG}-{index}") for index in range(4)],
            [side_of_chip(chip) for chip in CATALOGUE.all()][:40],
        ],
        ids=["six", "equal-peaks", "measured", "long-names", "very-many"],
    )
    def test_no_two_texts_overlap_and_all_are_inside(self, sides: Sequence[Side]) -> None:
        shown = [side for side, some in limits(*sides) if side not in roofless([(side, some)], DTYPES["bf16"])]
        words, figure = words_of(drawn, picture(*shown))
        assert len(words) > 2 * len(shown)
        assert_apart_and_inside(words, figure)

    def test_no_two_sides_look_alike_and_neighbours_differ_in_both(self) -> None:
        looks = [style.look(index) for index in range(56)]
        assert len({*looks}) == 56
        assert len({look.marker for look in looks[:7]}) == len({look.colour for look in looks[:7]}) == 7

    @pytest.mark.slow
    @pytest.mark.parametrize("suffix", style.SUFFIXES)
    def test_the_same_data_give_the_same_bytes(self, suffix: str) -> None:
        found = picture(here(FULL), others_side("h20"))
        assert render(found, suffix) == render(found, suffix)

    def test_a_name_is_no_formula_and_may_be_in_any_letters(self) -> None:
        name = "$x^2$ 芯片"
        assert name.encode() in render(picture(measured(7e14, 3e12, name), measured(6e14, 3e12)), ".svg")
        assert render(picture(measured(7e14, 3e12, name), measured(6e14, 3e12)), ".png")

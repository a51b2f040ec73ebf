"""The comparison by itself: what a side offers for a cell, what a row holds, and what is said to be left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest

from bench.analysis import compare as module
from bench.analysis.compare import (
    Absent,
    Against,
    Comparison,
    Kind,
    Side,
    compare,
    in_short,
    left_out,
    own_efficiency,
    reading_order,
    states,
    told_apart,
)
from bench.analysis.context import Context
from bench.analysis.efficiency import Efficiency
from bench.analysis.estimates import Estimate, published_peak
from bench.analysis.verdict import margins_of
from bench.errors import RecordError
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.stats import Interval
from bench.workloads import gemm
from bench.workloads.base import LARGE, Cell, Shape

CATALOGUE: Final = Catalogue([shipped_specs()])
H100, H20 = (CATALOGUE.resolve(name).chip for name in ("h100", "h20"))
NONE: Final[Mapping[str, Any]] = {}
PEAK_OF_H100, PEAK_OF_H20 = 989.4e12, 148e12  # BF16


def cell(size: int = 8192, dtype: str = "bf16", **fields: Any) -> Cell:  # noqa: ANN401
    (plain,) = gemm.cells([dtype], [gemm.square(size)], library="cublaslt", l2="rotate")
    return msgspec.structs.replace(plain, **fields)


BIG, SMALL, WIDE = cell(), cell(256), cell(shape=Shape(m=8192, n=8192, k=4096))


def rate(value: float, *caveats: str, processes: int = 3) -> Estimate:
    each = tuple(value * (1 + 1e-4 * step) for step in range(processes))
    return Estimate(value, Interval(value * 0.9999, value * 1.0001), each, frozenset(caveats))


def side(label: str, rates: dict[Cell, float], kind: Kind = "measured", **fields: Any) -> Side:  # noqa: ANN401
    plain = Side(label, kind, "a GPU", {one: rate(value) for one, value in rates.items()}, device_kind="gpu")
    return plain._replace(**fields)


def only(sides: Sequence[Side], **options: Any) -> Against:  # noqa: ANN401
    """Return what the second side is beside the first, of the only cell."""
    (row,) = compare(sides, **options).rows
    (other,) = row.others
    return other


def context(limit: str = "700 W", **fields: Any) -> Context:  # noqa: ANN401
    plain = Context("h100", "key", {"power_limit_w": limit}, {}, {}, frozenset(), "measured")
    return plain._replace(**fields)


class TestWhatASideOffers:
    def test_a_sheet_has_the_peak_of_the_format_for_any_cell(self) -> None:
        sheet = Side("peaks", "published", H100.name, {}, chip=H100)
        for one in (BIG, SMALL):
            assert sheet.estimate(one) == published_peak(H100, ("bf16",))
        assert Side("peaks", "published", "?", {BIG: rate(1.0)}).estimate(BIG) is None

    @pytest.mark.parametrize("kind", ["measured", "replayed", "simulated", "projected"])
    def test_a_run_has_a_rate_for_the_very_cell_only(self, kind: Kind) -> None:
        run = side("a", {cell(library=None): 1.0, SMALL: 2.0}, kind)
        assert run.estimate(SMALL) == rate(2.0)
        assert run.estimate(BIG) is None
        assert run.is_measured is (kind != "projected")

    def test_others_have_the_first_of_their_rates_that_states_no_other_cell(self) -> None:
        loose: dict[str, Any] = dict.fromkeys(("library", "l2", "regime", "data"))
        found = side(
            "b", {cell(256, **loose): 1.0, cell(**loose): 2.0, cell(l2=None): 3.0}, "published measurement"
        )
        assert found.estimate(BIG) == rate(2.0)
        assert found.estimate(cell(l2=None)) == rate(3.0), "its own cell comes first"
        assert found.estimate(cell(512)) is None
        assert found.estimate(cell(512, library=None)) is None
        assert not found.is_measured

    def test_what_is_not_stated_may_be_anything_but_a_small_shape(self) -> None:
        loose = cell(shape=None, library=None)
        assert states(loose, cell(LARGE))
        assert not states(loose, cell(LARGE - 1))
        assert not states(loose, cell(LARGE, "fp16"))
        assert not states(BIG, msgspec.structs.replace(BIG, library="cupy.matmul"))
        assert states(BIG, BIG)

    def test_what_is_not_told_is_nothing(self) -> None:
        assert Side("a", "measured", "a GPU", {})[4:] == ((), None, "", *[{}] * 6, ())
        assert Against(None)[1:] == (None,) * 4
        assert Comparison((), (), ()).absent == ()


class TestRows:
    def test_rows_are_the_cells_of_the_measured_sides_in_the_order_first_seen(self) -> None:
        a, b = side("a", {SMALL: 1.0, BIG: 2.0, WIDE: 1.0}), side("b", {BIG: 4.0, SMALL: 3.0})
        found = compare([a, b])
        assert [row.cell for row in found.rows] == [SMALL, BIG]
        assert [(row.first, row.others[0].estimate) for row in found.rows] == [
            (rate(1.0), rate(3.0)),
            (rate(2.0), rate(4.0)),
        ]
        assert (found.sides, found.differences) == ((a, b), ((),))
        assert found.absent == (Absent(WIDE, "b", "missing", "b"),)

    def test_where_nobody_measured_the_cells_are_listed_as_read(self) -> None:
        kind: Kind = "published measurement"
        a = side("a", {cell(512, "int8"): 1.0, BIG: 1.0, SMALL: 1.0}, kind)
        b = side("b", {BIG: 1.0, SMALL: 1.0, cell(512, "int8"): 1.0}, kind)
        assert [row.cell for row in compare([a, b]).rows] == [SMALL, BIG, cell(512, "int8")]
        run = side("run", {BIG: 1.0})
        assert [row.cell for row in compare([a, run]).rows] == [BIG], "a run's cells go before theirs"

    def test_formats_come_as_ever_then_small_products_and_a_rate_without_shape_last(self) -> None:
        strange = cell(64, input="x")
        cells = [strange, cell(64, "int8"), BIG, cell(shape=None), WIDE, SMALL, cell(64, "fp64")]
        listed = sorted(cells, key=reading_order)
        assert listed == [cell(64, "fp64"), SMALL, WIDE, BIG, cell(shape=None), cell(64, "int8"), strange]
        assert reading_order(SMALL)[1:] == (256.0**3, SMALL.key)
        assert reading_order(cell(shape=None))[1] == math.inf

    def test_a_cell_that_one_other_side_has_is_a_row(self) -> None:
        a, b, c = side("a", {BIG: 1.0}), side("b", {SMALL: 1.0}), side("c", {BIG: 2.0})
        (row,) = compare([a, b, c]).rows
        assert row.others[0] == Against(None)
        assert row.others[1].ratio is not None
        assert row.others[1].ratio.value == 2.0

    def test_without_a_common_cell_each_is_told_with_what_it_has(self) -> None:
        nothing = side("c", {})
        sheet = Side("sheet", "published", H100.name, {}, chip=None)
        with pytest.raises(RecordError) as caught:
            compare([side("a", {BIG: 1.0}), side("b", {SMALL: 1.0}), nothing, sheet])
        assert str(caught.value) == (
            "no cell that a and another have: a has bf16 8192³; b has bf16 256³; "
            "c has no cell that passed its check; sheet has published peaks"
        )


class TestAbsent:
    def test_it_is_said_of_measured_sides_where_it_lacks_and_why(self) -> None:
        a = side("a", {BIG: 1.0, SMALL: 1.0}, failed=(WIDE,))
        b = side("b", {BIG: 1.0, WIDE: 1.0}, failed=(SMALL,))
        theirs = side("c", {BIG: 1.0}, "published measurement")
        assert compare([a, b, theirs]).absent == (
            Absent(SMALL, "b", "failed", "b"),
            Absent(WIDE, "b", "failed", "a"),
        )
        assert compare([theirs, a]).absent == ()
        assert compare([b, a]).absent == (Absent(WIDE, "a", "failed", "a"), Absent(SMALL, "a", "failed", "b"))

    def test_cells_that_no_row_shows_are_left_out_of_the_sides_that_measured_them(self) -> None:
        a, b = side("a", {BIG: 1.0, SMALL: 1.0}), side("b", {BIG: 1.0})
        theirs = side("c", {BIG: 1.0, WIDE: 1.0}, "published measurement")
        assert list(left_out(compare([a, b, theirs]))) == [(a, [SMALL])]
        assert list(left_out(Comparison((a, b), (), ()))) == [(a, [BIG, SMALL]), (b, [BIG])]


class TestFindings:
    def test_the_verdict_is_of_the_second_side_and_its_ratio_over_the_first(self) -> None:
        found = only([side("a", {BIG: 2.0}), side("b", {BIG: 3.0})])
        assert found.finding is not None
        assert found.ratio == found.finding.ratio
        assert found.finding.verdict == "faster"
        assert found.finding.ratio.value == pytest.approx(1.5)
        assert (found.estimate, found.efficiency, found.clock) == (rate(3.0), None, None)

    @pytest.mark.parametrize("kinds", [("gpu", "cpu"), ("cpu", "gpu"), ("cpu", "cpu"), ("gpu", "gpu")])
    def test_margins_are_the_widest_of_both_kinds_of_device(self, kinds: tuple[str, str]) -> None:
        sides = [side(label, {BIG: 1.0}, device_kind=kind) for label, kind in zip("ab", kinds, strict=True)]
        found = only(sides).finding
        assert found is not None
        assert found.values["floor"] == max(margins_of(kind).floor for kind in kinds)

    @pytest.mark.parametrize("first", [True, False])
    def test_beside_what_others_published_nothing_is_told(self, *, first: bool) -> None:
        sides = [side("a", {BIG: 1.0}), side("b", {BIG: 2.0}, "published measurement")]
        found = only(sides if first else sides[::-1]).finding
        assert found is not None
        assert (found.verdict, found.reason) == ("can't tell", "published")
        assert found.ratio.value == (2.0 if first else 0.5)

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_cell_that_failed_somewhere_is_not_compared(self, which: int) -> None:
        sides = [side("a", {BIG: 1.0}), side("b", {BIG: 2.0})]
        sides[which] = sides[which]._replace(failed=(BIG,))
        found = only(sides).finding
        assert found is not None
        assert (found.verdict, found.reason, found.ratio.value) == ("not comparable", "failed", 2.0)
        sides[which] = sides[which]._replace(failed=(SMALL,))
        found = only(sides).finding
        assert found is not None
        assert found.verdict == "faster"

    def test_surroundings_that_differ_are_named_unless_they_are_allowed(self) -> None:
        other = context("500 W", settings={"power_limit_w": "500 W", "ecc": "off"}, others={"driver": "1"})
        a = side("a", {BIG: 1.0}, contexts=(context(settings={"power_limit_w": "700 W", "ecc": "on"}),))
        b = side("b", {BIG: 2.0}, contexts=(other,))
        found = only([a, b]).finding
        assert found is not None
        blocking = [one.name for one in compare([a, b]).differences[0] if one.blocking]
        assert len(blocking) == 2
        assert (found.verdict, found.reason, found.ratio.value) == ("not comparable", "context", 2.0)
        assert found.values == {"differs": ", ".join(blocking)}
        allowed = only([a, b], allowed=blocking).finding
        assert allowed is not None
        assert allowed.verdict == "faster"

    @pytest.mark.parametrize("which", [0, 1])
    def test_without_surroundings_on_both_sides_there_is_no_difference(self, which: int) -> None:
        sides = [side("a", {BIG: 1.0}), side("b", {BIG: 2.0})]
        sides[which] = sides[which]._replace(contexts=(context(),))
        assert compare(sides).differences == ((),)


class TestPeaks:
    SHEET = Side("peaks", "published", H100.name, {}, chip=H100)

    @pytest.mark.parametrize("first", [True, False])
    def test_a_rate_is_held_against_the_peak_whichever_comes_first(self, *, first: bool) -> None:
        run = side("run", {BIG: 500e12}, chip=H20)
        found = only([run, self.SHEET] if first else [self.SHEET, run])
        assert found.ratio is not None
        assert found.ratio.value == pytest.approx(PEAK_OF_H100 / 500e12 if first else 500e12 / PEAK_OF_H100)
        assert found.efficiency == Efficiency(500e12 / PEAK_OF_H100, None)
        assert found.finding is None

    @pytest.mark.parametrize("first", [True, False])
    def test_against_the_own_chip_s_peak_the_clock_that_was_held_counts(self, *, first: bool) -> None:
        run = side("run", {BIG: 500e12}, chip=H100, clocks={BIG: 1.5e9})
        found = only([run, self.SHEET] if first else [self.SHEET, run])
        own = own_efficiency(BIG, run, rate(500e12))
        assert own is not None
        assert found.efficiency == own == Efficiency(500e12 / PEAK_OF_H100, 500e12 / (132 * 4096 * 1.5e9))

    def test_without_a_chip_a_rate_has_no_share_of_its_own(self) -> None:
        assert own_efficiency(BIG, side("run", {BIG: 1.0}), rate(1.0)) is None
        assert own_efficiency(BIG, side("run", {BIG: 1.0}, chip=H100), None) is None

    @pytest.mark.parametrize("first", [True, False])
    def test_what_the_host_limited_is_held_against_no_peak(self, *, first: bool) -> None:
        slow = rate(1e12, "launch_bound")
        run = side("run", {}, chip=H100)._replace(estimates={BIG: slow})
        found = only([run, self.SHEET] if first else [self.SHEET, run])
        assert found == Against(published_peak(H100, ("bf16",)) if first else slow)

    def test_two_sheets_have_a_ratio_and_no_share(self) -> None:
        other = Side("others", "published", H20.name, {}, chip=H20)
        run = side("run", {BIG: 1e12})
        (row,) = compare([self.SHEET, other, run]).rows
        found = row.others[0]
        assert found.ratio is not None
        assert found.ratio.value == pytest.approx(PEAK_OF_H20 / PEAK_OF_H100)
        assert found == Against(published_peak(H20, ("bf16",)), found.ratio)


class TestClocks:
    """Three sides' worth of a clock that moved: rate, cycles and clock of one product."""

    def move(self, clock: float = 1.2e9, cycles: float = 100.0, lacking: Mapping[str, Any] = NONE) -> Against:
        a = side("a", {BIG: 2.0}, cycles={BIG: 100.0}, clocks={BIG: 1.5e9}, chip=H100)
        b = side("b", {BIG: 1.5}, cycles={BIG: cycles}, clocks={BIG: clock}, chip=H100)
        return only([a, b._replace(**lacking)])

    def test_it_is_told_in_seconds_and_in_cycles(self) -> None:
        assert self.move(cycles=80.0).clock == (0.75, 1.25, 1.5e9, 1.2e9)

    def test_it_is_told_only_of_one_product_that_tells_cycles_and_clock(self) -> None:
        assert self.move().clock is not None
        lacking: dict[str, Any]
        for lacking in ({"chip": H20}, {"name": "another"}, {"cycles": {}}, {"clocks": {}}):
            assert self.move(lacking=lacking).clock is None

    def test_both_the_clock_and_rate_over_cycles_must_have_moved(self) -> None:
        assert self.move(clock=1.5e9).clock is None
        assert self.move(cycles=100.0 / 0.75).clock is None, "the rate moved as the cycles did"
        assert self.move(clock=1.5e9 * math.exp(0.0049)).clock is None
        assert self.move(clock=1.5e9 * math.exp(0.0051)).clock is not None
        assert self.move(clock=1.5e9 * math.exp(-0.0051)).clock is not None

    @pytest.mark.parametrize("lacking", ["cycles", "clocks"])
    def test_the_first_side_must_tell_them_too(self, lacking: str) -> None:
        told: dict[str, Any] = {"cycles": {BIG: 100.0}, "clocks": {BIG: 1.5e9}}
        a = side("a", {BIG: 2.0}, **{**told, lacking: {}})
        assert only([a, side("b", {BIG: 1.5}, cycles={BIG: 100.0}, clocks={BIG: 1.2e9})]).clock is None


class TestNames:
    def test_of_many_the_first_twelve_are_named_each_once(self) -> None:
        names = [str(number) for number in range(14)]
        assert in_short(names[:12] * 2) == ", ".join(names[:12])
        assert in_short(names[:13]) == ", ".join(names[:12]) + " and 1 more"
        assert in_short(names) == ", ".join(names[:12]) + " and 2 more"
        assert in_short([]) == ""

    def test_cells_of_one_label_are_told_apart_by_what_differs(self) -> None:
        hot = msgspec.structs.replace(BIG, library="cupy.matmul", l2="hot")
        a, b = side("a", {BIG: 1.0, SMALL: 1.0}), side("b", {hot: 1.0})
        assert told_apart([BIG, SMALL], a, [a, b]) == [f"{BIG.label} (library cublaslt, l2 rotate)", SMALL.label]
        assert told_apart([hot], b, [a, b]) == [f"{hot.label} (library cupy.matmul, l2 hot)"]
        both = side("c", {hot: 1.0, BIG: 1.0})
        assert told_apart([BIG], a, [a, both]) == [BIG.label], "the other has it too"
        assert told_apart([BIG, hot], both, [both]) == [BIG.label, hot.label], "its own cells tell nothing"

    def test_twelve_are_few_enough_to_name(self) -> None:
        assert module._MOST_LISTED == 12

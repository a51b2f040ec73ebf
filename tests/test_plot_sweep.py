"""The picture of rates over sizes: what is drawn and told, how it is laid out, and the command as typed."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from matplotlib.lines import Line2D

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.errors import InvalidRequest, RecordError
from bench.report.plots import style
from bench.report.plots.layout import MOST_TITLE
from bench.report.plots.sweep import drawn, render
from bench.report.plots.sweep_data import SweepPicture, chosen_dtype, picture_of
from bench.report.plots.sweep_series import lacking
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Data, Shape
from tests.command import Answer, chipbench
from tests.drawn import assert_apart_and_inside, words_of
from tests.support import cell as cpu_cell
from tests.test_compare_command import H20, saved
from tests.test_plot_roofline import OTHERS, chip_side, here, others_side
from tests.test_roofline import estimate


def product(
    m: int, weights: tuple[int, int] | None = None, *, dtype: str = "bf16", library: str = "a", fast: bool = False
) -> Cell:
    """Return a square, or of m rows by a matrix of these weights."""
    n, k = weights or (m, m)
    return gemm.cells([dtype], [Shape(m=m, n=n, k=k)], library=library, l2="rotate")[int(fast)]


def squares(*rates: float, label: str = "here", **more: Any) -> Side:  # noqa: ANN401
    """Return a side with these rates of 1024³, 2048³ and so on."""
    return here({product(1024 << i): estimate(rate, 0.001) for i, rate in enumerate(rates)}, label, **more)


def picture(*sides: Side, dtype: str = "bf16") -> SweepPicture:
    return picture_of(sides, DTYPES[dtype])


def title(*sides: Side, dtype: str = "bf16") -> str:
    return " ".join(picture(*sides, dtype=dtype).title.split())


def sizes(found: SweepPicture) -> list[list[int]]:
    return [[point.size for point in one.points] for one in found.series]


def rates(found: SweepPicture) -> list[float]:
    return [point.rate.rate for one in found.series for point in one.points]


class TestPoints:
    def test_squares_are_drawn_smallest_first_and_what_has_no_size_is_told(self) -> None:
        found = picture(others_side("h20"))
        assert sizes(found) == [[1024, 2048, 4096, 8192, 10240]]
        assert "Not drawn, as their shape is not stated: 1 product." in found.notes
        assert found.x.title == "size n of n×n×n products"

    def test_rows_by_one_matrix_are_drawn_where_no_two_squares_are(self) -> None:
        some = {product(m, (2048, 4096)): estimate(m * 1e12) for m in (1, 8, 64)}
        some |= {product(m, (512, 512)): estimate(m * 1e12) for m in (1, 512)}
        found = picture(here(some))
        assert sizes(found) == [[1, 8, 64]], "of the matrix that was multiplied most often"
        assert found.x.title == "rows M of M×2048×4096 products, all by one 4096×2048 matrix"
        assert "Not drawn, as they are of another matrix: 2 products." in found.notes
        assert title(here(some)).startswith("In BF16 products by one 4096×2048 matrix, measured here, the ")
        assert title(here(some)).endswith("at best (64 rows)")

    def test_two_squares_are_preferred_to_more_rows(self) -> None:
        rows = {product(m, (2048, 2048)): estimate(1e14) for m in (1, 8, 64, 512, 2048)}
        found = picture(here(rows), squares(2e14))
        assert sizes(found) == [[2048], [1024]]
        assert "Not drawn, as they are no squares: 4 products." in found.notes

    def test_of_several_products_of_one_size_the_fastest_is_drawn_and_told(self) -> None:
        found = picture(here({product(1024, library="b"): estimate(3e14), product(1024): estimate(4e14)}))
        assert rates(found) == [4e14]
        assert found.notes[-1] == "Of several libraries for one size the fastest is drawn."
        both = {product(1024, dtype="fp8", fast=fast): estimate(4e14 + fast) for fast in (False, True)}
        fp8 = picture(here(both), dtype="fp8")
        assert rates(fp8) == [4e14 + 1]
        assert fp8.notes[-1] == "Of several ways of summing FP8 for one size the fastest is drawn."

    def test_what_says_nothing_of_the_chip_is_left_out_and_told(self) -> None:
        data: Data = "zeros"
        zeros = msgspec.structs.replace(product(2048), data=data)
        burst = msgspec.structs.replace(product(2048), regime="burst")
        bent = {product(4096): estimate(9e14, 0.01, "launch_bound")}
        found = picture(here({product(1024): estimate(4e14), zeros: estimate(9e14), burst: estimate(9e14)} | bent))
        assert rates(found) == [4e14]
        assert "Not drawn, as the host limited them: 1 product." in found.notes
        assert "Not drawn, as their data were not normal or they were bursts: 2 products." in found.notes

    def test_a_side_without_a_product_to_draw_is_named(self) -> None:
        assert any("drawn: H200 SXM 141GB, measured by others" in n for n in picture(
            others_side("h20"), others_side("h200")).notes)  # fmt: skip


class TestFaster:
    def test_what_is_faster_but_of_no_size_here_is_named_and_the_title_claims_no_more_than_is_drawn(self) -> None:
        beside = {product(64, (8192, 8192)): estimate(7e14), product(32, (8192, 8192)): estimate(6.5e14)}
        drawn_ones = {product(1024): estimate(5e14), product(2048): estimate(6e14)}
        found = picture(others_side("h20"), here(drawn_ones | beside))
        assert "Faster, but not drawn: bf16 64×8192×8192 of the H100 SXM5 80GB, measured here: 700 TFLOP/s." in (
            found.notes
        )
        assert found.title.startswith("In square BF16 products, ")
        assert "The highest rate drawn is 600 TFLOP/s" in found.alt

    def test_a_rate_of_no_stated_shape_counts_too(self) -> None:
        unstated = msgspec.structs.replace(product(1024), shape=None)
        assert "Faster, but not drawn: bf16 of a shape that is not stated of the " in " ".join(
            picture(here({product(1024): estimate(5e14), unstated: estimate(6e14)})).notes
        )

    def test_slower_ones_are_only_counted(self) -> None:
        found = picture(here({product(1024): estimate(5e14), product(64, (8192, 8192)): estimate(4e14)}))
        assert not [note for note in found.notes if note.startswith("Faster")]
        assert found.title.startswith("In BF16, ")


def shifts(found: SweepPicture, size: int) -> list[float | None]:
    """Return how far each series is moved at a size, in hundredths of an inch."""
    moved = [found.shifts.get((index, size)) for index in range(len(found.series))]
    return [None if inches is None else round(100 * inches) for inches in moved]


class TestShifts:
    def test_bars_at_one_size_stand_a_marker_apart_about_it_and_nothing_else_moves(self) -> None:
        wide = [here({product(1024): estimate(6e14, 0.1), product(2048): estimate(6e14)}, name) for name in "abc"]
        low = here({product(1024): estimate(1e14)}, "d")
        found = picture(*wide, low)
        assert shifts(found, 1024) == [-10, 0, 10, None]
        assert shifts(found, 2048) == [None] * 4
        assert any(note.endswith("stand side by side.") for note in found.notes)

    def test_bars_of_which_none_hides_another_stay_where_they_are(self) -> None:
        apart = [here({product(1024): estimate(rate, 0.1)}, str(rate)) for rate in (3e14, 6e14)]
        assert len(picture(*apart).bars) == 2
        assert not picture(*apart).shifts
        assert not picture(apart[1], here({product(1024): estimate(6e14)}, "x")).shifts, "one bar alone"

    def test_where_sizes_are_near_each_other_all_stay_nearer_to_their_own(self) -> None:
        some = [
            here({product(1 << i, (8192, 8192)): estimate(5e14, 0.3) for i in range(14)}, f"{n}") for n in range(6)
        ]
        found = picture(*some)
        at = {size: sorted(found.x.shifted(size, found.shifts[n, size]) for n in range(6)) for size in (1, 2, 4)}
        assert found.x.low < at[1][0]
        for small, large in pairwise(at):
            assert at[small][-1] < (small * large) ** 0.5 < at[large][0]

    def test_a_bar_its_marker_and_the_line_through_it_move_alike_and_the_label_leads_from_there(self) -> None:
        found = picture(*(here({product(1024): estimate(6e14, 0.1)}, name) for name in "ab"))
        with style.applied():
            (axes,) = drawn(found).axes
        for series in (0, 1):
            colour, across = style.look(series).colour, found.x.shifted(1024, found.shifts[series, 1024])
            own = [one for one in axes.get_lines() if one.get_color() == colour and one.get_zorder() in {3, 4}]
            assert [one.get_path().get_extents().intervalx for one in own] == [pytest.approx([across] * 2)] * 2
            assert [label.at[0] for label in found.labels if label.series == series] == [across]


class TestPeaks:
    def test_equal_peaks_share_a_line_and_a_label(self) -> None:
        found = picture(*map(chip_side, ("a100-pcie-40gb", "a100-pcie-80gb")), others_side("h20"), squares(7e14))
        assert sorted(found.peaks) == [148e12, 312e12, 989.4e12]
        assert [one.name for one in found.labels if one.series is None and one.at[1] == 312e12] == [
            "A100 PCIe 40GB and A100 PCIe 80GB"
        ]

    def test_names_for_which_a_label_has_no_room_stand_in_a_note(self) -> None:
        found = picture(*map(chip_side, ("a100", "a100-pcie-80gb", "a800")), others_side("h20"))
        assert "A100 SXM4 80GB and 2 more" in {one.name for one in found.labels}
        told = "312 TFLOP/s is the published peak of A100 SXM4 80GB, A100 PCIe 80GB and A800 SXM4 80GB."
        assert told in found.notes

    def test_everything_is_below_the_upper_edge_but_an_absurd_interval(self) -> None:
        wild = here({product(1024): Estimate(1e14, estimate(1e14, 30).interval)}, chip=None)
        found = picture(wild)
        assert 1e14 < found.top < 2e14
        assert found.notes == ["Beyond the upper edge: the ends of 1 interval."]
        sane = picture(others_side("h20"), squares(7e14))
        assert all(value < sane.top for value in [*rates(sane), *sane.peaks])
        assert not [note for note in sane.notes if note.startswith("Beyond")]

    def test_only_an_interval_wider_than_its_marker_is_a_bar(self) -> None:
        found = picture(here({product(1024): estimate(7e14, 0.001), product(2048): estimate(7e14, 0.1)}))
        assert [(bar.series, bar.size) for bar in found.bars] == [(0, 2048)]
        assert "bar" in {one.mark for one in found.key}
        assert not picture(squares(7e14)).bars
        assert "bar" not in {one.mark for one in picture(squares(7e14)).key}


class TestTitle:
    def test_it_tells_from_where_on_one_is_near_its_peak_and_what_another_reaches_at_best(self) -> None:
        assert title(others_side("h20"), others_side("h100")) == (
            "In BF16, measured by others, the H20 96GB comes within 10 % of its published peak from 4096³ on; "
            "the H100 SXM5 80GB reaches 80.6 % of its own at best (8192³)"
        )

    def test_who_is_near_only_in_between_is_told_by_the_best(self) -> None:
        assert title(squares(5e14, 9.5e14, 8e14)).endswith("reaches 96.0 % of its published peak at best (2048³)")

    def test_who_measured_is_told_of_each_where_it_is_not_the_same_for_all(self) -> None:
        assert title(others_side("h20"), squares(7e14)) == (
            "In BF16 the H20 96GB, measured by others, comes within 10 % of its published peak from 4096³ on; "
            "the H100 SXM5 80GB, measured here, reaches 70.7 % of its own at 1024³"
        )
        assert title(others_side("h20"), others_side("h100"), squares(7e14)) == (
            "In BF16, measured by others, the H20 96GB reaches 96.1 % of its published peak at best, "
            "the H100 SXM5 80GB 80.6 %; measured here, the H100 SXM5 80GB 70.7 %"
        )

    def test_of_many_the_ends_are_told(self) -> None:
        some = [squares(1e14 * i, 1e13, label=f"a-record-with-a-name-of-some-length-{i}") for i in range(1, 9)]
        found = title(*some)
        assert "8 reaches 80.9 % of its published peak at best" in found
        assert found.endswith("1 10.1 %, 6 more in between")
        assert len(found) <= MOST_TITLE

    def test_without_a_peak_it_is_the_rate(self) -> None:
        assert (
            title(squares(6e10, chip=None)) == "In BF16, measured here, the A device reaches 60 GFLOP/s at 1024³"
        )

    def test_more_than_the_peak_is_no_success(self) -> None:
        found = picture(squares(9e14, 10e14))
        assert "exceeds its published peak, with 101 % of it at best" in " ".join(found.title.split())
        assert any(note.startswith("What is above its published peak: a clock above") for note in found.notes)

    def test_the_alternative_text_has_axes_counts_and_the_finding(self) -> None:
        found = picture(others_side("h20"), others_side("h100"))
        assert "logarithmic from 1024 to 10240: 10 points in 2 series and 2 published peaks" in found.alt
        assert " ".join(found.title.split()) in found.alt
        assert "797.5 TFLOP/s, of the H100 SXM5 80GB, measured by others, at 8192³" in found.alt


class TestFormat:
    def test_it_is_bf16_where_that_is_among_those_with_most_points(self) -> None:
        assert chosen_dtype([others_side("h20")], None).name == "bf16"
        more = here({product(1024, dtype="fp16"): estimate(1e14), product(2048, dtype="fp16"): estimate(1e14)})
        assert chosen_dtype([more, squares(1e14)], None).name == "fp16"

    def test_who_has_neither_rates_nor_a_peak_is_left_out(self) -> None:
        cpu = here({product(1024, dtype="fp32"): estimate(1e11)}, "cpu", chip=None)
        assert lacking([cpu, chip_side("h20")], DTYPES["bf16"]) == [cpu]
        assert not lacking([cpu, chip_side("h20")], DTYPES["fp32"])

    def test_a_format_that_nobody_has_is_an_error_that_names_those_there_are(self) -> None:
        wanted = r"none of them has a product of a known size in nvfp4; --dtype can be fp32, tf32, fp16 or bf16"
        with pytest.raises(InvalidRequest, match=wanted):
            chosen_dtype([others_side("h20"), chip_side("b200")], DTYPES["nvfp4"])

    def test_peaks_alone_are_an_error(self) -> None:
        with pytest.raises(RecordError, match="h20-96gb has no product of a known size; 'chipbench run --sweep'"):
            chosen_dtype([chip_side("h20")], DTYPES["bf16"])


LONG: Final = "results/" + "A-very-Long-Name-of-a-RECORD" * 3
ROWS: Final = here({product(1 << i, (8192, 8192)): estimate(5e13 * (i + 1), 0.3) for i in range(14)})


@pytest.mark.slow
class TestDrawn:
    @pytest.mark.parametrize(
        "sides",
        [
            [others_side("h20"), others_side("h100"), squares(6e14, 7e14), chip_side("h200")],
            [squares(7.1234e14, 7.2234e14, label=f"{LONG}-{index}") for index in range(4)],
            [ROWS, *map(chip_side, ("h100", "h800", "h20", "h200", "a100", "b200"))],
            [others_side(name) for name in OTHERS],
        ],
        ids=["mixed", "long-names", "rows", "all-others"],
    )
    def test_no_two_texts_overlap_and_all_are_inside(self, sides: Sequence[Side]) -> None:
        words, figure = words_of(drawn, picture(*sides))
        assert len(words) > 2 * len(sides)
        assert_apart_and_inside(words, figure)

    def test_shares_can_be_read_off_and_what_is_whose_is_told_without_colours(self) -> None:
        with style.applied():
            (axes,) = drawn(picture(others_side("h20"), squares(6e14, 7e14))).axes
        assert axes.get_ylim()[0] == 0
        lines = [one for one in axes.get_lines() if isinstance(one, Line2D) and one.get_zorder() in {2, 4}]
        looks = {(one.get_marker(), one.get_linestyle(), one.get_markerfacecolor() == "white") for one in lines}
        assert len(looks) == 3, "peaks, measured by others, and measured here"

    def test_measured_simulated_and_others_rates_have_marks_of_their_own(self) -> None:
        simulated = squares(3e14, 4e14, label="made up")._replace(kind="simulated")
        found = picture(squares(3e14, 4e14), simulated, others_side("h100"))
        assert [(one.mark, one.kind) for one in found.series] == [
            ("filled", "measured here"), ("half", "simulated"), ("hollow", "measured by others")
        ]  # fmt: skip
        assert {(one.mark, one.text) for one in found.key} >= {(one.mark, one.kind) for one in found.series}
        lines = [line for line in drawn(found).axes[0].lines if line.get_marker() in style.MARKERS]
        looks = {(line.get_linestyle(), line.get_fillstyle(), line.get_markerfacecolor()) for line in lines[:3]}
        assert len(looks) == 3

    def test_the_same_data_give_the_same_bytes(self) -> None:
        found = picture(others_side("h20"), ROWS)
        assert render(found, ".svg") == render(found, ".svg")


def plot(*args: str | Path) -> Answer:
    return chipbench("plot", "sweep", *args)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestCommand:
    def test_records_others_and_chips_in_one_picture(self, folder: Path) -> None:
        own = saved(folder / "own", (1.0,), [product(1024), product(2048)], device=H20)
        answer = plot(own, "published:h20-96gb", "h100-sxm5-80gb", "-o", "out.svg")
        assert (answer.code, answer.err) == (0, "saved out.svg\n")
        text = (folder / "out.svg").read_text(encoding="utf-8")
        for label in ("H20 96GB, measured here", "H20 96GB, measured by others", "published peak 989.4 TFLOP/s"):
            assert label in text.replace("\N{NO-BREAK SPACE}", " ")

    def test_who_has_nothing_in_the_format_is_named_and_left_out(self, folder: Path) -> None:
        own = saved(folder / "cpu", (1.0,), [cpu_cell(64)])
        answer = plot(own, "published:h20-96gb", "--dtype", "bf16", "-o", "out.svg")
        assert answer.code == 0
        assert answer.err.startswith("cpu: has neither rates to draw nor a published peak in bf16")

    @pytest.mark.parametrize(
        ("args", "code", "said"),
        [
            (["published:h20-96gb", "-o", "out.gif"], 2, "ends in .svg, .png or .pdf"),
            (["published:h20-96gb", "--dtype", "int8", "-o", "out.svg"], 2, "--dtype can be fp32, tf32"),
            (["h20-96gb", "h100-sxm5-80gb", "-o", "out.svg"], 4, "'chipbench run --sweep' measures squares"),
            (["published:h20-96gb"] * 2 + ["-o", "out.svg"], 2, "named twice"),
            (["published:h20-96gb", "-o", "missing/out.svg"], 7, "there is no folder missing; make it first"),
        ],
    )
    def test_bad_input_is_one_line_and_no_file(self, args: list[str], code: int, said: str, folder: Path) -> None:
        answer = plot(*args)
        assert answer.code == code
        assert said in answer.error
        assert not [*folder.iterdir()]

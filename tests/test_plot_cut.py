"""The picture of a cut: each figure over that of others, what the title says, how it is drawn, the command."""

import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from bench.analysis.explain import CUTTABLE
from bench.published.chips import Catalogue, Chip, read_chip
from bench.published.figures import FIGURES
from bench.published.source import shipped_specs
from bench.report.plots import style
from bench.report.plots.cut import drawn, render
from bench.report.plots.cut_data import NAMES, CutPicture, Row, _scale, picture_of
from tests.command import Answer, chipbench
from tests.drawn import assert_all_inside, assert_apart_and_inside, words_of
from tests.explain_lab import FIGURES as TABLES
from tests.explain_lab import UNKNOWN, write_chip

CATALOGUE: Final = Catalogue([shipped_specs()])
SIX: Final = ("h100", "h200", "a100", "b200", "rtxpro6000", "rtx6000ada")


def chip(name: str) -> Chip:
    return CATALOGUE.resolve(name).chip


def picture(name: str, *others: str) -> CutPicture:
    return picture_of(chip(name), [chip(other) for other in others])


def invented(folder: Path, name: str, **figures: str) -> Chip:
    """Return a chip of which only these figures were published; its id is its name in small letters."""
    path = folder / f"{name.lower().replace(' ', '-')}.toml"
    return read_chip(write_chip(path, {**dict.fromkeys(TABLES, UNKNOWN), **figures}, name=name))


def rows(found: CutPicture) -> dict[str, Row]:
    return {row.figure: row for row in found.rows}


def title(name: str, *others: str) -> str:
    return " ".join(picture(name, *others).title.split())


def notes(found: CutPicture) -> str:
    return " ".join(found.notes)


H20: Final = picture("h20", "h100")
BANDWIDTH: Final = 'value = 4000\nunit = "GB/s"'


class TestRows:
    def test_a_bar_is_the_exact_ratio_and_tells_both_values_as_the_sheets_print_them(self) -> None:
        bars = {figure: row.bars[0] for figure, row in rows(H20).items()}
        assert bars["bf16"].ratio == pytest.approx(148 / 989.4)
        assert bars["fp64"].text == "0.0294× (1 of 34* TFLOPS)"
        assert bars["int8"].text == "0.150× (296 of 1978.9* TOPS)"
        assert bars["memory_size"].text == "1.20× (96 against 80 GB)"
        assert bars["nvlink"].text == "1×, kept (900 GB/s)"
        assert bars["transistors"].text == "1×, kept (80 billion)"
        assert bars["die_area"].text == "1×, kept (814 mm2)"

    def test_what_differs_by_rounding_is_kept_and_shows_both(self) -> None:
        (bar,) = rows(picture("h800", "h100"))["fp16"].bars
        assert (bar.change, bar.text) == ("kept", "1×, kept (989.5 against 989.4 TFLOPS)")

    def test_only_what_was_cut_from_the_other_keeps(self) -> None:
        (bar,) = rows(picture("h20", "h200"))["nvlink"].bars
        assert bar.text == "1×, the same (900 GB/s)"

    def test_a_unit_of_its_own_is_told(self, tmp_path: Path) -> None:
        small = invented(tmp_path, "Small", memory_bandwidth='value = 0.5\nunit = "TB/s"')
        (row,) = picture_of(small, [invented(tmp_path, "Large", memory_bandwidth=BANDWIDTH)]).rows
        assert row.bars[0].text == "0.125× (0.5 TB/s of 4000 GB/s)"

    def test_figures_of_one_heading_stand_together_rates_first(self) -> None:
        headings = [row.heading for row in picture("h20", *SIX).rows]
        starts = [two for one, two in pairwise(["", *headings]) if one != two]
        assert starts == ["dense rates", "memory", "links", "chip"]

    def test_every_figure_that_can_be_cut_has_a_name_of_its_own_and_rates_stand_with_rates(self) -> None:
        assert {*CUTTABLE} <= {*NAMES}
        assert len({name for _, name in NAMES.values()}) == len(NAMES)
        assert {figure for figure in CUTTABLE if NAMES[figure][0] == "dense rates"} == {
            figure for figure in CUTTABLE if FIGURES[figure].rate
        }

    def test_a_figure_that_one_of_several_lacks_has_the_other_bars_and_a_note(self) -> None:
        found = picture("h20", "h100", "a100")
        assert [bar.other for bar in rows(found)["fp8"].bars] == [0]
        assert (
            "No ratio to the A100 SXM4 80GB, as one of the two has no published value: FP64 on tensor cores, FP8."
            in (found.notes)
        )
        assert "fp64_tensor" not in rows(found)

    def test_generations_of_pcie_are_no_rates_so_different_ones_have_no_bar(self) -> None:
        found = picture("h20", "a100")
        assert "pcie" not in rows(found)
        assert "PCIe generation 5 against generation 4" in notes(found)
        assert rows(H20)["pcie"].bars[0].text == "1×, kept (generation 5)"

    def test_a_star_is_explained_where_there_is_one(self, tmp_path: Path) -> None:
        assert "* sources disagree" in notes(H20)
        sure = [invented(tmp_path, name, memory_bandwidth=BANDWIDTH) for name in ("One", "Two")]
        assert "*" not in notes(picture_of(sure[0], sure[1:]))

    def test_one_of_several_without_any_common_figure_is_left_out_and_told(self) -> None:
        found = picture("h20", "a800-sxm4-40gb", "h100")
        assert (found.others, found.title, found.rows) == (["H100 SXM5 80GB"], H20.title, H20.rows)
        assert found.notes[-1].endswith("the A800 SXM4 40GB.")


class TestScale:
    @given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=8))
    def test_all_bars_and_the_base_line_lie_on_it_and_its_marks_are_apart(self, ratios: list[float]) -> None:
        scale = _scale(ratios)
        assert all(-1e-9 <= scale.share(at) <= 1 + 1e-9 for at in (1, *ratios, *scale.ticks))
        assert all(scale.share(b) - scale.share(a) > 0.05 for a, b in pairwise(scale.ticks))
        assert 1 in scale.ticks

    def test_a_small_difference_does_not_fill_it(self) -> None:
        scale = _scale([0.9, 1.0])
        assert scale.share(1) - scale.share(0.9) < 0.15


TITLES: Final = {
    "h20 h100": (
        "The H20 96GB keeps 15 % of the H100 SXM5 80GB's BF16 rate and all of its NVLink, and has 1.19 times its "
        "memory bandwidth"
    ),
    "h800-pcie-80gb h100-pcie-80gb": (
        "The H800 PCIe 80GB keeps all of the H100 PCIe 80GB's BF16 rate, 3.1 % of its FP64 rate, 67 % of its "
        "NVLink and all of its memory bandwidth"
    ),
    "b30a b300": "The B30A keeps 54 % of the B300 SXM 270GB's FP4 rate and 52 % of its memory bandwidth",
    "h20 h200": (
        "Beside the H200 SXM 141GB the H20 96GB has 15 % of the BF16 rate, the same NVLink and 83 % of the memory "
        "bandwidth"
    ),
    "h20 h100 h200 a100": (
        "Beside the H100 SXM5 80GB, the H200 SXM 141GB and the A100 SXM4 80GB the H20 96GB has 15, 15 and 47 % of "
        "the BF16 rate and 1.19, 0.83 and 1.96 times the memory bandwidth"
    ),
    "h20 h100 h200 a100 b200": (
        "Beside 4 other chips the H20 96GB has 6.6 to 47 % of the BF16 rate, 0.5 to 1.5 times the NVLink and 0.52 "
        "to 1.96 times the memory bandwidth"
    ),
}


class TestTitle:
    @pytest.mark.parametrize(("names", "expected"), TITLES.items())
    def test_it_is_the_finding(self, names: str, expected: str) -> None:
        assert title(*names.split()) == expected

    def test_without_the_usual_figures_it_is_the_first_that_there_is(self, tmp_path: Path) -> None:
        area = 'value = 400\nunit = "mm2"'
        found = picture_of(invented(tmp_path, "New", die_area=area), [chip("h100")])
        assert " ".join(found.title.split()) == "Beside the NVIDIA H100 SXM5 80GB the New has 49 % of the die area"

    def test_those_who_cannot_see_it_are_told_the_ends_the_counts_and_the_finding(self) -> None:
        assert "from 0.0294 times (FP64) to 1.20 times (memory size)" in H20.alt
        assert "less: 9; marks at 1, the same: 5; bars right of 1, more: 3" in H20.alt
        assert H20.alt.endswith(f"{H20.title}.")


@pytest.mark.slow
class TestDrawn:
    @pytest.mark.parametrize("others", [("h100",), SIX], ids=["one", "six"])
    def test_no_two_texts_overlap_and_all_are_inside(self, others: tuple[str, ...]) -> None:
        found = picture("h20", *others)
        words, figure = words_of(drawn, found)
        assert {bar.text for row in found.rows for bar in row.bars} | {row.name for row in found.rows} <= {
            text for text, _ in words
        }
        assert_apart_and_inside(words, figure)

    def test_a_long_name_over_the_base_line_stays_inside(self, tmp_path: Path) -> None:
        rate = 'value = {}\nunit = "TFLOPS"\ndense = true'
        long = invented(tmp_path, "Accelerator With A Name Beyond All", fp4=rate.format(9000))
        for value in (1, 900000):
            tiny = invented(tmp_path, f"Tiny {value}", fp4=rate.format(value))
            assert_all_inside(*words_of(drawn, picture_of(tiny, [long])))

    def test_the_same_data_give_the_same_bytes_and_no_two_others_look_alike(self) -> None:
        found = picture("h20", *SIX)
        content = render(found, ".svg")
        assert content == render(found, ".svg")
        assert content.count(b"<pattern") == len(SIX) - 1, "one is without a hatch"

    def test_others_have_the_colours_that_they_have_in_pictures_in_which_the_chip_is_the_first(self) -> None:
        with style.applied():
            patches = drawn(picture("h20", "h100", "h200")).axes[0].patches
        filled = {to_hex(one.get_facecolor()).upper() for one in patches if one.get_fill()}
        assert {style.look(index).colour for index in (1, 2)} <= filled
        assert style.look(0).colour not in filled


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plot(*args: str) -> Answer:
    return chipbench("plot", "cut", *args)


class TestCommand:
    def test_without_another_it_is_held_against_the_part_that_it_was_cut_from(self, folder: Path) -> None:
        answer = plot("h20-96gb", "-o", "cut.svg")
        assert (answer.code, answer.out, answer.err) == (0, "", "saved cut.svg\n")
        root = ET.fromstring((folder / "cut.svg").read_text(encoding="utf-8"))  # of our own making
        texts = {"".join(node.itertext()) for node in root.findall(".//{*}text")}
        assert {"as much as the H100 SXM5 80GB", "0.150× (148 of 989.4* TFLOPS)", "memory bandwidth"} <= texts

    def test_an_alias_is_said(self, folder: Path) -> None:
        answer = plot("h20", "h200", "-o", "cut.png")
        assert answer.code == 0
        assert "h200 stands for h200-sxm-141gb" in answer.err
        assert (folder / "cut.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["h100-sxm5-80gb", "-o", "cut.svg"], "not known to be cut from another chip; name one"),
            (["h20-96gb", "h20-96gb", "-o", "cut.svg"], "named twice"),
            (["h20-96gb", "l4", "l4", "-o", "cut.svg"], "l4 is named twice"),
            (["a800-sxm4-40gb", "-o", "cut.svg"], "'chipbench chips a800-sxm4-40gb' shows what is"),
            (["h20-96gb", "a10", "a30", "a40", "l2", "l4", "l20", "l40", "-o", "cut.svg"], "name 6 at most"),
        ],
    )
    def test_bad_input_is_one_line_and_no_file(self, args: list[str], said: str, folder: Path) -> None:
        answer = plot(*args)
        assert answer.code == 2
        assert said in answer.error
        assert not [*folder.iterdir()]

    def test_one_s_own_chips_can_be_drawn_and_no_file_is_lost(self, folder: Path) -> None:
        write_chip(folder / "mine" / "chips" / "own.toml", name="Own", cut_from="h20-96gb")
        assert plot("own", "--specs-dir", "mine", "-o", "own.svg").code == 0
        answer = plot("own", "--specs-dir", "mine", "-o", "own.svg")
        assert answer.code == 7
        assert "--force" in answer.error

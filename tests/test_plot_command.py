"""`chipbench plot roofline` as typed: the file it saves, what it says, and what it refuses."""

import os
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli.plot import SUFFIXES
from bench.report.plots import style
from bench.workloads import stream
from tests.command import Answer, chipbench
from tests.support import cell as cpu_cell
from tests.test_compare_command import GPU, H20, saved

CHIPS = ("h20-96gb", "h100-sxm5-80gb")


def plot(*args: str | Path) -> Answer:
    return chipbench("plot", "roofline", *args)


def texts(file: Path) -> list[str]:
    """Return the texts of an SVG, which must be well-formed."""
    root = ET.fromstring(file.read_text(encoding="utf-8"))  # of our own making
    return [
        "".join(node.itertext()).replace("\N{NO-BREAK SPACE}", " ").strip() for node in root.findall(".//{*}text")
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestFile:
    def test_an_svg_has_every_label_as_text(self, folder: Path) -> None:
        answer = plot(*CHIPS, "-o", "out.svg")
        assert (answer.code, answer.out, answer.err) == (0, "", "saved out.svg\n")
        found = texts(folder / "out.svg")
        assert {"H20 96GB", "H100 SXM5 80GB", "100 TFLOP/s", "published roof", "ridge"} <= {*found}
        assert "published: 148 TFLOP/s, 4 TB/s, ridge 37" in found
        assert "In BF16 the H20 96GB is limited by arithmetic from 37 FLOP per byte on" in " ".join(found)
        assert [path.name for path in folder.iterdir()] == ["out.svg"]

    @pytest.mark.parametrize(
        ("name", "begins"), [("out.png", b"\x89PNG\r\n"), ("out.PDF", b"%PDF-"), ("out.svg", b"<?xml")]
    )
    def test_the_suffix_says_what_it_is(self, name: str, begins: bytes, folder: Path) -> None:
        assert plot(*CHIPS, "--output", name).code == 0
        assert (folder / name).read_bytes().startswith(begins)

    def test_a_png_is_large_enough_to_read(self, folder: Path) -> None:
        assert plot(*CHIPS, "-o", "out.png").code == 0
        width, height = struct.unpack(">II", (folder / "out.png").read_bytes()[16:24])
        assert width >= 1500
        assert height >= 800

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_twice_the_same_is_the_same_file_whatever_the_user_s_own_settings(
        self, suffix: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert plot(*CHIPS, "-o", f"one{suffix}").code == 0
        import matplotlib as mpl  # noqa: PLC0415 - only here

        monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9.0)
        monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "path")
        monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "red")
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
        assert plot(*CHIPS, "-o", f"other{suffix}").code == 0
        assert (folder / f"one{suffix}").read_bytes() == (folder / f"other{suffix}").read_bytes()
        assert mpl.rcParams["lines.linewidth"] == 9.0, "and they are left as they were"

    def test_the_suffixes_are_those_that_can_be_drawn(self) -> None:
        assert tuple(style.SUFFIXES) == SUFFIXES


class TestSides:
    def test_records_others_and_chips_in_one_picture(self, folder: Path) -> None:
        memory = stream.cells(["copy"], 1 << 28, library="kernel")
        here = saved(folder / "own", (1.0,), (*GPU, *memory), device=H20)
        answer = plot(here, "published:h100-sxm5-80gb", "-o", "out.svg")
        assert answer.code == 0, answer.err
        assert {"roof measured here", "product measured here", "product measured by others"} <= {
            *texts(folder / "out.svg")
        }

    def test_a_cpu_without_a_sheet_has_its_measured_roof(self, folder: Path) -> None:
        memory = stream.cells(["copy"], 1 << 20, library="numpy")
        here = saved(folder / "cpu", (1.0,), (cpu_cell(512), *memory))
        assert plot(here, "-o", "out.svg").code == 0
        assert "published roof" not in texts(folder / "out.svg")

    def test_who_has_no_roof_is_named_and_left_out(self, folder: Path) -> None:
        here = saved(folder / "cpu")
        answer = plot(here, *CHIPS, "-o", "out.svg")
        assert (answer.code, answer.err) == (0, "cpu: has no roof in bf16, so it is left out\nsaved out.svg\n")
        found = texts(folder / "out.svg")
        assert [text for text in found if text.startswith("Without a roof in BF16, so not drawn: ")]
        assert not [text for text in found if text.startswith("cpu")]

    def test_the_format_can_be_chosen(self, folder: Path) -> None:
        assert plot(*CHIPS, "--dtype", "int8", "-o", "out.svg").code == 0
        found = texts(folder / "out.svg")
        assert {"rate of INT8 products", "OP per byte moved", "100 TOP/s"} <= {*found}

    def test_latest_is_looked_for_in_the_results_folder(self, folder: Path) -> None:
        saved(folder / "mine" / "own", device=H20, cells=GPU)
        answer = plot("latest", "--results-dir", "mine", "-o", "out.svg")
        assert answer.code == 0, answer.err
        assert "latest is mine/own/" in answer.err

    def test_damaged_records_are_skipped_on_request(self, folder: Path) -> None:
        here = saved(folder / "own", (1.0, 1.001), GPU, device=H20)
        next((folder / "own").rglob("*.jsonl")).write_text("{", encoding="utf-8")
        answer = plot(here, "-o", "out.svg")
        assert answer.code == 4
        assert "--skip-bad uses the rest" in answer.last_error
        assert not (folder / "out.svg").exists()
        assert plot(here, "-o", "out.svg", "--skip-bad").code == 0


class TestRefused:
    @pytest.mark.parametrize(
        ("args", "code", "said"),
        [
            (["-o", "out.svg"], 2, "Missing argument"),
            ([*CHIPS], 2, "Missing option '-o'"),
            ([*CHIPS, "-o", "out.gif"], 2, "'out.gif': the name of a picture ends in .svg, .png or .pdf"),
            ([*CHIPS, "-o", "svg"], 2, "ends in .svg, .png or .pdf"),
            ([*CHIPS, "-o", ""], 2, "ends in .svg, .png or .pdf"),
            ([*CHIPS, "-o", "out.svg", "--dtype", "bf17"], 2, "'bf17' is not one of"),
            ([*CHIPS, "-o", "out.svg", "--dtype", "nvfp4"], 2, "none of them has a roof in nvfp4; --dtype can be"),
            (["h20-97gb", "-o", "out.svg"], 2, "did you mean"),
            ([CHIPS[0], CHIPS[0], "-o", "out.svg"], 2, "named twice"),
            (["published:t4", "-o", "out.svg"], 2, "nobody's measurements are known here"),
            (["latest", "-o", "out.svg"], 4, "chipbench run"),
            ([*CHIPS, "-o", "missing/out.svg"], 7, "missing/out.svg: there is no folder missing; make it first"),
        ],
    )
    def test_bad_input_is_one_line_and_no_file(self, args: list[str], code: int, said: str, folder: Path) -> None:
        answer = plot(*args)
        assert answer.code == code
        assert said in answer.error
        assert not [*folder.iterdir()]

    def test_records_without_any_roof(self, folder: Path) -> None:
        here = saved(folder / "cpu")
        answer = plot(here, "-o", "out.svg")
        assert answer.code == 4
        assert "cpu has not both a peak and a bandwidth" in answer.error
        assert "'chipbench run --workload stream' measures the latter" in answer.error

    def test_a_file_that_is_there_is_replaced_only_by_force(self, folder: Path) -> None:
        (folder / "out.svg").write_text("precious", encoding="utf-8")
        answer = plot(*CHIPS, "-o", "out.svg")
        assert answer.code == 7
        assert "--force" in answer.error
        assert (folder / "out.svg").read_text(encoding="utf-8") == "precious"
        assert plot(*CHIPS, "-o", "out.svg", "--force").code == 0
        assert texts(folder / "out.svg")

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
    def test_what_is_no_file_is_never_replaced(self, make: Callable[[Path], Any], folder: Path) -> None:
        make(folder / "out.svg")
        answer = plot(*CHIPS, "-o", "out.svg", "--force")
        assert answer.code == 7
        assert "name a file to write" in answer.error
        assert [path.name for path in folder.iterdir()] == ["out.svg"]

    def test_a_full_disk_leaves_nothing_behind(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        answer = plot(*CHIPS, "-o", "out.png")
        assert answer.code == 7
        assert "No space left" in answer.error
        assert not [*folder.iterdir()]


def test_without_a_kind_the_kinds_are_listed() -> None:
    answer = chipbench("plot")
    assert answer.code == 2
    assert "roofline  Draw what limits products" in answer.err
    assert "No such command 'rooflne'" in chipbench("plot", "rooflne").error


def test_the_help_has_examples() -> None:
    help_text = plot("--help").text
    assert "chipbench plot roofline h20 h100 h200 -o roofline.svg" in help_text
    for option in ("--output", "--dtype", "--force", "--skip-bad", "--results-dir", "--specs-dir"):
        assert option in help_text

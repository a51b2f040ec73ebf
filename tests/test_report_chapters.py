"""What the chapters of a report say in the cases that the committed data do not bring."""

from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.explain import brief_story
from bench.analysis.export_rule import Verdict
from bench.analysis.gathered import gather
from bench.analysis.standing import Standing
from bench.cli import report
from bench.published.chips import Catalogue
from bench.published.rules import read_rules
from bench.published.source import specs_folders
from bench.report.chapters.answer import _covered
from bench.report.chapters.base import Chapter, Report
from bench.report.chapters.common import headline, run_name
from bench.report.chapters.dates import _cell
from bench.report.columns import ends_text, error_text
from bench.stats import Interval
from bench.workloads import gemm, stream
from bench.workloads.base import Cell, Shape
from tests.test_compare_command import GPU, H20, H100, saved
from tests.test_in_use_command import H200, MODELS, R1, RATE, llm_record, measured, needed
from tests.test_project_command import at

FOLDERS: Final = specs_folders(None)
DAY: Final = date(2025, 4, 9)
LATER: Final = "2026-01-02T03:05:05Z"
LAW, LETTER = "2023-11-3a090", "2025-04-letter"


@cache
def verdict(rule: str, *, met: bool | None, exception: str | None = None, possible: str | None = None) -> Verdict:
    """Return the verdict of a shipped rule, as if it were this one."""
    catalogue, book = Catalogue(FOLDERS), read_rules(FOLDERS)
    story = brief_story(catalogue.chip("h20-96gb"), catalogue, book, DAY)
    own = next(one for one in story.verdicts if one.rule.id == rule)
    outcome = own.rule.outcomes[0].name if met else None
    return own._replace(met=met, outcome=outcome, exception=exception, possible_exception=possible)


def standing(**said: bool | None) -> Standing:
    """Return a standing in which the law and the letter say this."""
    verdicts = [verdict({"law": LAW, "letter": LETTER}[name], met=met) for name, met in said.items()]
    parts = [tuple(one for one in verdicts if one.met is met) for met in (True, False, None)]
    return Standing(DAY, *parts)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("said", "cell", "sentence"),
        [
            ({"law": True}, "3A090.a.1", "it is covered by 2023-11-3a090 (since 2023-11-17)"),
            ({"law": True, "letter": True}, "3A090.a.1, letter 2025", "it is covered by 2023-11-3a090 (since"),
            ({"law": True, "letter": None}, "3A090.a.1", "it is covered by 2023-11-3a090"),
            ({"law": False, "letter": True}, "letter 2025", "no rule that was published covers it, but 2025-04-"),
            (
                {"law": None, "letter": True},
                "letter 2025, ?",
                "whether 2023-11-3a090 covers it is unknown, but 2025",
            ),
            ({"law": None, "letter": False}, "?", "whether 2023-11-3a090 covers it is unknown"),
            ({"law": None, "letter": None}, "?", "whether 2023-11-3a090 covers it is unknown"),
            ({"law": False, "letter": None}, "no?", "no rule that was published covers it"),
            ({"letter": None}, "no?", "no rule that was published covers it"),
            ({"law": False, "letter": False}, "no", "no rule that was published covers it"),
        ],
    )
    def test_what_was_published_and_what_was_only_reported_are_told_apart(
        self, said: dict[str, bool | None], cell: str, sentence: str
    ) -> None:
        assert _cell(standing(**said), {"letter"}) == cell
        assert _covered(standing(**said)).startswith(sentence)

    def test_an_exception_stands_in_brackets_and_a_doubtful_one_with_a_mark(self) -> None:
        for exception, possible, text in (("NAC", None, "(NAC)"), (None, "NAC", "(NAC?)")):
            one = verdict(LAW, met=True, exception=exception, possible=possible)
            assert _cell(Standing(DAY, (one,), (), ()), ()) == f"3A090.a.1 {text}"


def product(dtype: str = "bf16", m: int = 8192, n: int = 8192, k: int = 8192, **more: Any) -> Cell:  # noqa: ANN401
    made = gemm.cells([dtype], [Shape(m=m, n=n, k=k)], library="cublaslt", l2="rotate", data="normal")[0]
    return msgspec.structs.replace(made, **more)


class TestHeadline:
    def test_it_is_the_fastest_square_in_bf16_that_says_something_of_the_device(self) -> None:
        rates = {
            product("fp8"): Estimate(9e14, None),
            product(m=4096): Estimate(8e14, None),
            product(data="zeros"): Estimate(8.5e14, None),
            product(n=4096, m=4096, k=4096): Estimate(7e14, None, caveats=frozenset({"launch_bound"})),
            product(library="cupy.matmul"): Estimate(5e14, None),
            product(): Estimate(6e14, None),
            stream.cells(["copy"], 1 << 20, library="kernel")[0]: Estimate(3e12, None),
        }
        found = [headline(Side("x", "measured", "x", dict([*rates.items()][:count]))) for count in range(1, 8)]
        best = [one[0] if one else None for one in found]
        tall = product(m=4096)
        assert best == [product("fp8"), tall, tall, tall, product(library="cupy.matmul"), product(), product()]
        assert headline(Side("x", "measured", "x", {})) is None

    def test_runs_that_are_called_alike_have_their_time(self, tmp_path: Path) -> None:
        for size, started in ((64, "2026-01-02T03:04:05Z"), (96, "2026-01-02T03:05:05Z")):
            cells = gemm.cells(["fp32"], [gemm.square(size)], library="numpy.matmul", l2="hot")
            saved(tmp_path, (1.0,), cells, started=started)
        (device,) = gather([], tmp_path, lambda _: None).devices
        assert [run_name(run, device) for run in device.runs] == [
            "gemm of 2026-01-02 03:04:05", "gemm of 2026-01-02 03:05:05"
        ]  # fmt: skip


class TestIntervals:
    @pytest.mark.parametrize(
        ("ends", "text"),
        [
            ((99.0, 101.5), "±1.2 %"),
            ((90.0, 112.0), "±11 %"),
            ((65.0, 119.0), "-35/+19 %"),
            ((98.0, 140.0), "-2.0/+40 %"),
        ],
    )
    def test_a_wide_one_sided_error_is_not_told_as_if_it_were_even(
        self, ends: tuple[float, float], text: str
    ) -> None:
        assert error_text(Estimate(100.0, Interval(*ends))) == text
        assert error_text(Estimate(100.0, None)) == ""

    def test_the_unit_is_told_once_if_it_is_one(self) -> None:
        assert ends_text(Interval(460.8e12, 838.9e12), "FLOP/s", 3) == "461 to 839 TFLOP/s"
        assert ends_text(Interval(0.9e15, 1.1e15), "FLOP/s", 3) == "900 TFLOP/s to 1.10 PFLOP/s"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*chips: str, records: Sequence[str] = ()) -> Report:
    return report._report(tuple(records), chips, Path("results"), None, skip_bad=False)[0]


def chapter(of: Report, name: str) -> Chapter:
    return next(one for one in of.chapters if one.name == name)


@pytest.mark.slow
class TestWhole:
    def test_two_boards_of_one_chip_are_told_apart_in_every_chapter(self, folder: Path) -> None:
        for key in ("k1", "k2"):
            saved(folder / key, (1.0,), GPU, device={**H100, "key": key, "folder": key})
        found = made("h100", records=["k1", "k2"])
        labels = ["NVIDIA H100 80GB HBM3 (1)", "NVIDIA H100 80GB HBM3 (2)"]
        assert found.about[1] == f"Measured here: 2 records of {' and '.join(labels)}."
        for name in ("measured", "against", "method"):
            titles = [section.title for section in chapter(found, name).sections]
            assert all(any(title.startswith(label) for title in titles) for label in labels), name
        assert [one.name for one in chapter(found, "method").pictures] == ["trace-1", "trace-2"]

    def test_what_is_simulated_is_never_called_measured(self, folder: Path) -> None:
        saved(folder / "one", (1.0,), GPU, device=H100, origin="simulated")
        found = made("h100", records=["one/cpu-simulated/" + next((folder / "one").rglob("*.jsonl")).name])
        assert found.about[1] == "Simulated: 1 record of NVIDIA H100 80GB HBM3."
        assert chapter(found, "measured").title == "What was simulated"
        texts = [*found.about, *(line for one in found.chapters for line in (one.title, *one.lead))]
        assert not [text for text in texts if "measured here" in text.lower()]

    def test_where_only_memory_was_measured_the_answer_does_not_say_that_nothing_was(self, folder: Path) -> None:
        saved(folder / "results", (1.0,), stream.cells(["copy"], 1 << 28, library="kernel"), device=H20)
        found = made("t4", "l4")
        assert chapter(found, "answer").lead[2] == "None of what was measured here is a product with a rate."

    def test_the_products_under_the_roofs_are_of_the_format_of_the_picture(self, folder: Path) -> None:
        """A CPU has no BF16, the format that is drawn of several; its own products must not be left out."""
        own = [
            *gemm.cells(["fp32"], [gemm.square(64), gemm.square(96)], library="numpy.matmul", l2="hot"),
            *stream.cells(["copy"], 1 << 24, library="numpy.copyto"),
        ]
        saved(folder / "results", (1.0,), own)
        found = chapter(made("h20", "h100"), "roofline")
        (picture,) = found.pictures
        products = next(one for one in found.sections if one.title == "Products")
        measured_here = [row for row in products.rows if "64³" in row or "96³" in row]
        assert "FP32" in picture.title
        assert [row[1] for row in measured_here] == ["fp32", "fp32"]

    def test_a_chip_alone_that_is_covered_is_said_to_be(self) -> None:
        found = made("gb300")
        assert "no other chip stands beside it here" in chapter(found, "answer").lead[0]
        assert "it is covered by 2023-10-letter (since 2023-10-23) and" in chapter(found, "answer").lead[1]

    def test_a_newer_run_of_a_part_of_a_model_does_not_hide_its_steps(self, folder: Path) -> None:
        llm_record(folder / "results", started="2026-01-02T03:04:05Z")
        cells = needed(MODELS[R1])
        llm_record(folder / "results", made=measured(cells[:3]), started=LATER)
        told = next(one for one in chapter(made("h20", "h200"), "models").sections if "from records" in one.title)
        assert all(cell for row in told.rows for cell in row), "every step has its times"

    def test_of_two_whole_runs_of_a_model_the_newer_one_tells_its_steps(self, folder: Path) -> None:
        cells = needed(MODELS[R1])
        older = llm_record(folder / "results", started="2026-01-02T03:04:05Z")
        newer = llm_record(folder / "results", made=[at(2 * RATE, one) for one in cells], started=LATER)
        names = [str(newer.relative_to(folder)), str(older.relative_to(folder))]
        both, one = (chapter(made("h20", "h200", records=some), "models") for some in (names, names[:1]))
        assert [section.rows for section in both.sections] == [section.rows for section in one.sections]

    def test_what_was_left_out_and_what_could_not_be_used_is_told(self, folder: Path) -> None:
        steered = {"NVIDIA_TF32_OVERRIDE": "0"}
        for started in ("2026-01-02T03:04:05Z", LATER):
            llm_record(folder / "results", started=started, flagged=steered)
        lead = chapter(made("h20", "h200"), "measured").lead
        assert f"{H200}: left out: 1 record, of cells that were measured again since" in lead
        assert [line for line in lead if line.startswith("not used: ")]

    def test_a_run_that_was_cut_short_is_shown_as_that(self, folder: Path) -> None:
        path = llm_record(folder / "results")
        states = []
        for _ in range(2):
            (device,) = chapter(made("h20"), "measured").document["devices"]
            states.append([run["interrupted"] for run in device["runs"]])
            *lines, _footer = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(lines))
        assert states == [[False], [True]]

    def test_beside_a_chip_that_it_was_not_cut_from_nothing_is_called_cut(self) -> None:
        first, second = chapter(made("h20", "h100", "h200"), "cut").sections
        assert {row[-1] for row in first.rows} == {"cut", "kept", "more", ""}
        assert {row[-1] for row in second.rows} == {"less", "same", ""}

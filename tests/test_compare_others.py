"""A run beside what others measured: which of their rates stands beside which cell, and that it is theirs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.analysis.compare import Side, states
from bench.analysis.estimates import Estimate
from bench.analysis.sides import side_of_chip, side_of_others, stated_cell
from bench.published.chips import Catalogue
from bench.published.measured import read_published_measurements
from bench.published.source import shipped_specs
from bench.workloads import gemm
from bench.workloads.base import LARGE, Cell, Shape
from tests import make_simulated
from tests.command import chipbench
from tests.support import header, measurement, write_record
from tests.test_compare_command import H100

SIMULATED: Final = str(make_simulated.PATH)
CATALOGUE: Final = Catalogue([shipped_specs()])
OTHERS: Final = read_published_measurements([shipped_specs()])
H100_BF16: Final = {8192: 797.51e12, 4096: 788.72e12}  # the highest of what is published of these squares
BEST_OF_SQUARES: Final = 783.66e12  # of the same, where the shape was not stated


def cell(size: int = 8192, dtype: str = "bf16", **fields: Any) -> Cell:  # noqa: ANN401
    (plain,) = gemm.cells([dtype], [gemm.square(size)], library="cublaslt", l2="rotate")
    return msgspec.structs.replace(plain, **fields)


def others(name: str) -> Side:
    chip = CATALOGUE.resolve(name).chip
    return side_of_others(chip, OTHERS[chip.id])


def stated(best_of: str | None, size: int | None = None) -> Cell:
    """Return the cell of a BF16 rate that others published of the H100, with that shape."""
    found = [
        one
        for one in OTHERS["h100-sxm5-80gb"]
        if (one.dtype, one.best_of, one.shape) == ("bf16", best_of, (size, size, size) if size else None)
    ]
    return stated_cell(found[0])


class TestWhichStandsBesideWhich:
    @pytest.mark.parametrize(("size", "rate"), H100_BF16.items())
    @pytest.mark.parametrize("fields", [{}, {"library": "cupy.matmul"}, {"l2": "hot"}])
    def test_of_several_rates_of_a_shape_the_highest(self, size: int, rate: float, fields: dict[str, Any]) -> None:
        """What they do not state (library, cache) may be anything."""
        found = others("h100").estimate(cell(size, **fields))
        assert found is not None
        assert found.rate == pytest.approx(rate)

    @pytest.mark.parametrize(("size", "there"), [(LARGE - 1, False), (LARGE, True), (12288, True)])
    def test_the_best_of_many_shapes_beside_large_products_only(self, size: int, *, there: bool) -> None:
        found = others("h100").estimate(cell(size))
        assert (found is not None) == there
        assert found is None or found.rate == pytest.approx(BEST_OF_SQUARES)

    def test_the_best_of_squares_beside_no_other_shape(self) -> None:
        shape = Shape(m=12288, n=12288, k=8192)
        assert others("h100").estimate(msgspec.structs.replace(cell(), shape=shape)) is None
        squares = others("h100").estimate(cell(12288))
        assert squares is not None
        any_shape = msgspec.structs.replace(stated("squares"), shape=None)
        found = squares._replace(published=None)
        loose = others("h100")._replace(estimates={any_shape: found})
        assert loose.estimate(msgspec.structs.replace(cell(), shape=shape)) == found

    def test_none_of_another_shape_format_or_data(self) -> None:
        beside = stated(None, 8192)
        assert states(beside, cell())
        wide = msgspec.structs.replace(cell(), shape=Shape(m=8192, n=8192, k=4096))
        for other in (
            wide,
            cell(4096),
            cell(data="constant"),
            cell(dtype="fp16"),
        ):
            assert not states(beside, other)
        assert others("h100").estimate(cell(dtype="int8")) is None

    def test_of_two_chips_measured_by_others_only_what_was_stated_of_both(self) -> None:
        """A cell of theirs names no library, and is not the best of many because it is large."""
        assert others("h20").estimate(stated(None, 8192)) is not None
        assert (
            others("h20").estimate(msgspec.structs.replace(stated(None, 8192), shape=None, data="zeros")) is None
        )
        assert others("h100").estimate(msgspec.structs.replace(cell(12288), library=None)) is None

    def test_a_run_has_no_rate_but_its_own(self) -> None:
        side = Side("a", "measured", "NVIDIA H100", {stated(None, 8192): Estimate(1.0, None)})
        assert side.estimate(cell()) is None
        assert side_of_chip(CATALOGUE.resolve("h100").chip).estimate(cell()) is not None


class TestBesideARun:
    @pytest.mark.parametrize("first", [True, False])
    def test_there_is_a_ratio_and_never_a_verdict(self, *, first: bool) -> None:
        names = (SIMULATED, "published:h20") if first else ("published:h20", SIMULATED)
        rows = json.loads(chipbench("compare", *names, "--format", "json").out)["rows"]
        assert rows
        for row in rows:
            one, other = row["sides"]
            assert (other["verdict"], other["reason"]) == ("can't tell", "published")
            assert other["ratio"] == pytest.approx(other["rate"] / one["rate"])
            assert other["ratio_lo"] is None

    @pytest.mark.parametrize("first", [True, False])
    def test_each_is_held_against_the_peak_of_its_own_chip(self, *, first: bool) -> None:
        names = (SIMULATED, "published:h20") if first else ("published:h20", SIMULATED)
        rows = json.loads(chipbench("compare", *names, "--format", "json").out)["rows"]
        (row,) = (one for one in rows if (one["dtype"], one["library"]) == ("bf16", "cublaslt"))
        run, h20 = row["sides"] if first else row["sides"][::-1]
        assert h20["of_own_peak"] == pytest.approx(138.6 / 148)
        assert h20["of_own_peak_at_clock"] is None
        assert run["of_own_peak"] == pytest.approx(run["rate"] / 989.4e12)

    def test_a_share_of_the_own_peak_stands_wherever_a_side_has_the_cell(self) -> None:
        answer = chipbench("compare", "published:h100", "published:h20", "published:a100", "--format", "md")
        heading, _, *rows = [line.split("|")[1:-1] for line in answer.out.splitlines() if line.startswith("|")]
        shares = [index for index, head in enumerate(heading) if head.strip() == "of its published peak"]
        assert len(shares) == 3
        last = [row[shares[-1]].strip() for row in rows]
        assert "" in last or "–" in last, "the A100's squares of one size are not known"
        assert any("%" in text for text in last)

    def test_it_looks_like_its_golden_file(
        self, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(make_simulated.PATH.parent)
        answer = chipbench("compare", make_simulated.PATH.name, "published:h100", "published:h20")
        golden("compare-others.txt", answer.out)

    def test_whether_it_is_sane_looks_like_its_golden_file(
        self, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(make_simulated.PATH.parent)
        golden("sane.txt", chipbench("compare", make_simulated.PATH.name, "--sane").out)

    def test_of_many_cells_that_nobody_measured_the_first_twelve_are_named(self, tmp_path: Path) -> None:
        cells = [cell(), *(cell(64 * size) for size in range(1, 16))]
        head = msgspec.structs.replace(header(cells), device=msgspec.structs.replace(header(cells).device, **H100))
        path = write_record(tmp_path, head, [measurement(one, [1e-3] * 7) for one in cells])
        text = chipbench("compare", path, "published:h20").text
        assert "bf16 64³, bf16 128³, bf16 192³" in text
        assert "bf16 768³ and 3 more" in text
        assert "bf16 832³" not in text

"""Steps of a language model: sums over its products, by sheets and from cells; what they cost; tiles and waves."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.cost import joules_per_peta, joules_per_token, usd_per_million_tokens, usd_per_peta
from bench.analysis.estimates import Estimate
from bench.analysis.steps import InUse, by_cells, by_sheet, fastest, measured_in_use, stands_in
from bench.analysis.tiling import Tiling, tiling_of
from bench.analysis.times import Times, total
from bench.published.chips import Catalogue
from bench.published.models import Model, read_models
from bench.published.source import shipped_specs
from bench.records.record import read_record
from bench.workloads import gemm, llm
from bench.workloads.base import Cell, Shape
from bench.workloads.llm import STEPS, Step, products

CATALOGUE: Final = Catalogue([shipped_specs()])
LLAMA: Final = read_models([shipped_specs()]).find("llama-3-70b")
R1: Final = read_models([shipped_specs()]).find("deepseek-r1")
DECODE: Final = Step(1, prefill=False)
RESULTS: Final = Path(__file__).resolve().parent.parent / "results"
SECONDS: Final = st.floats(1e-9, 1e3)


def cells(model: Model, dtype: str | None = None) -> list[Cell]:
    named = dtype or model.weights
    shapes = llm.shapes(model, model.weights)
    return [
        cell for cell in gemm.cells([named], shapes, library="cublaslt", l2="rotate") if not cell.fast_accumulate
    ]


def at(use: InUse, step: Step) -> Times:
    found = use.at(step)
    assert found is not None
    return found


class TestBySheet:
    def test_a_decode_of_one_token_takes_what_reading_the_weights_takes(self) -> None:
        """70.0 billion products by weights, of 2 bytes each in BF16, at 4 TB/s: 35 ms."""
        use = by_sheet(LLAMA, CATALOGUE.chip("h20-96gb"))
        weights = sum(one.weight_bytes for one in LLAMA.matmuls)
        assert at(use, DECODE).expected == pytest.approx(weights / 4e12, rel=0.01)
        assert use.joules(DECODE) == pytest.approx(400 * at(use, DECODE).expected)

    def test_a_prefill_takes_what_computing_takes(self) -> None:
        """2 × 69 billion weights (the head's, 1.05 billion, once only) × 4096 tokens, at 148 TFLOPS: 3.8 s."""
        step = Step(4096, prefill=True)
        weights = sum(one.matrices * one.n * one.k for one in LLAMA.matmuls if not one.last_token_only)
        use = by_sheet(LLAMA, CATALOGUE.chip("h20-96gb"))
        assert at(use, step).expected == pytest.approx(2 * weights * 4096 / 148e12, rel=0.01)

    @pytest.mark.parametrize(("chip", "several"), [("h20-96gb", 7), ("h200-sxm-141gb", 5), ("h100-sxm5-80gb", 9)])
    def test_so_many_hold_r1_s_671_gb(self, chip: str, several: int) -> None:
        assert by_sheet(R1, CATALOGUE.chip(chip)).devices == several

    def test_a_chip_without_the_format_has_no_time_and_says_so(self) -> None:
        use = by_sheet(R1, CATALOGUE.chip("a100-sxm4-80gb"))
        assert {one.seconds for one in use.times} == {None}
        assert {one.missing for one in use.times} == {("fp8",)}


class TestByCells:
    def test_a_step_is_the_sum_of_its_products_as_often_as_they_occur(self) -> None:
        """With every call a microsecond a step takes as many as it has calls: 80 layers of 4, and a head."""
        times = by_cells(LLAMA, dict.fromkeys(cells(LLAMA), Times(2e-6, 1e-6, 0.5e-6)))
        for one in times:
            assert one.seconds == pytest.approx((2 * 321e-6, 321e-6, 321e-6 / 2))
            assert one.missing == ()

    @pytest.mark.parametrize("step", STEPS)
    def test_experts_count_as_often_as_they_are_used(self, step: Step) -> None:
        every = sum(product.times for product in products(R1, step))
        (found,) = (one for one in by_cells(R1, dict.fromkeys(cells(R1), Times.exactly(1.0))) if one.step == step)
        assert found.seconds is not None
        assert found.seconds.expected == pytest.approx(every)

    def test_without_one_of_its_products_a_step_has_no_time(self) -> None:
        some = {cell: Times.exactly(1e-6) for cell in cells(LLAMA) if cell.shape != Shape(m=1, n=8192, k=8192)}
        first, *others = by_cells(LLAMA, some)
        assert (first.seconds, first.missing) == (None, ("bf16 1×8192×8192",))
        assert all(one.seconds is not None for one in others)

    def test_another_format_stands_for_the_model_s_only_if_all_are_in_it(self) -> None:
        single = dict.fromkeys(cells(LLAMA, "fp32"), Times.exactly(1e-6))
        assert stands_in(LLAMA, single) == "fp32"
        assert all(one.seconds is not None for one in by_cells(LLAMA, single))
        mixed = {**single, **dict.fromkeys(cells(LLAMA)[:1], Times.exactly(1e-6))}
        assert stands_in(LLAMA, mixed) is None
        assert stands_in(LLAMA, cells(LLAMA)) is None

    def test_of_two_libraries_the_faster_counts_and_short_sums_do_not(self) -> None:
        shape = Shape(m=1, n=1536, k=7168)
        exact, fast = gemm.cells(["fp8"], [shape], library="cublaslt", l2="rotate")
        (other, _) = gemm.cells(["fp8"], [shape], library="kernel", l2="rotate")
        found = fastest({exact: Times.exactly(2.0), fast: Times.exactly(0.1), other: Times.exactly(1.0)})
        assert found == {other: Times.exactly(1.0)}

    def test_its_power_is_the_mean_over_time(self) -> None:
        """One product at 300 W, the others at 500: in between by how long each takes."""
        some = cells(LLAMA)
        first = some[0]
        rates = {cell: Estimate(cell.flop / 1e-6, None) for cell in some}
        watts = {cell: 300.0 if cell == first else 500.0 for cell in some}
        use = measured_in_use(LLAMA, "here", "measured", rates, watts)
        assert use.watts[DECODE] == pytest.approx((80 * 300 + 241 * 500) / 321)
        assert use.joules(DECODE) == pytest.approx(80 * 300e-6 + 241 * 500e-6)
        assert measured_in_use(LLAMA, "here", "measured", rates, {}).watts == {}


class TestCost:
    def test_by_hand(self) -> None:
        """An hour of 3.60 USD is 0.001 a second: 10^15 operations at 10^14 a second take ten of them."""
        assert usd_per_peta(3.6, 1e14) == pytest.approx(0.01)
        assert joules_per_peta(700.0, 1e14) == pytest.approx(7000.0)
        assert usd_per_million_tokens(3.6, 0.5, 100) == pytest.approx(5.0)
        assert joules_per_token(700.0, 0.5, 100) == pytest.approx(3.5)


class TestTimes:
    @given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS).map(lambda some: Times(*sorted(some, reverse=True)))))
    def test_a_sum_keeps_its_ends_in_order(self, some: list[Times]) -> None:
        whole = total(some)
        assert whole.slow >= whole.expected * (1 - 1e-12)
        assert whole.expected >= whole.fast * (1 - 1e-12)


class TestTiling:
    @pytest.mark.parametrize(
        "algorithm",
        [
            {},
            {"tile": "auto"},
            {"tile": "128x256", "split_k": -1},
            {"tile": "0x8"},
            {"tile": "128x256", "split_k": "2"},
        ],
    )
    def test_what_is_not_told_is_not_known(self, algorithm: dict[str, str | int]) -> None:
        assert tiling_of(algorithm) is None

    def test_its_first_size_is_over_columns(self) -> None:
        """The library computes the transposed product."""
        assert tiling_of({"tile": "64x8", "split_k": 2}) == Tiling(m=8, n=64, split_k=2)

    def test_as_many_waves_are_counted_as_the_library_tells(self) -> None:
        """cublasLt's own count, of every product on the H100 and the H200 that says how it is cut.

        It does not count the parts that K is split into, which are as many pieces of work more.
        """
        compared = 0
        for path in [
            path for chip in ("h100-sxm5-80gb", "h200-sxm-141gb") for path in (RESULTS / chip).glob("*.jsonl")
        ]:
            for reading in read_record(path).readings:
                tiling, shape = tiling_of(reading.algorithm), reading.cell.shape
                if tiling is not None and shape is not None and reading.algorithm["algo"] == 66:
                    told = float(reading.algorithm["waves"])
                    waves = tiling.tiles(shape) / tiling.split_k / 132
                    assert waves == pytest.approx(told, rel=0.01), reading.cell.label
                    compared += 1
        assert compared > 50 or not (RESULTS / "h100-sxm5-80gb").exists()

"""Rooflines: the arithmetic for any peak and bandwidth, what a side's ceilings are made of, and the command."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.roofline import Ceilings, Point, Roof, ceilings, format_of, points
from bench.analysis.sides import side_of_chip, side_of_others
from bench.published.chips import Catalogue, Chip
from bench.published.measured import read_published_measurements
from bench.published.source import shipped_specs
from bench.stats import Interval
from bench.units import DTYPES
from bench.workloads import gemm, stream
from bench.workloads.base import Cell, Data, Shape
from tests.command import chipbench
from tests.support import cell as cpu_cell
from tests.test_compare_command import saved

CATALOGUE: Final = Catalogue([shipped_specs()])
H100: Final = CATALOGUE.chip("h100-sxm5-80gb")
RATES: Final = st.floats(1e9, 1e16)
INTENSITIES: Final = st.floats(1e-3, 1e6)


def estimate(rate: float, error: float = 0.01, *caveats: str) -> Estimate:
    return Estimate(rate, Interval(rate / (1 + error), rate * (1 + error)), (rate,), frozenset(caveats))


def roof(peak: float, bandwidth: float) -> Roof:
    return Roof(estimate(peak), estimate(bandwidth))


def product(
    dtype: str = "bf16", m: int = 8192, n: int = 8192, *, data: Data = "normal", fast: bool = False
) -> Cell:
    made = gemm.cells([dtype], [Shape(m=m, n=n, k=8192)], library="cublaslt", l2="rotate", data=data)
    return made[1] if fast else made[0]


def copy(operation: str = "copy", *, data: Data = "normal") -> Cell:
    (made,) = stream.cells([operation], 1 << 28, library="kernel", data=data)
    return made


def named(some: Sequence[Ceilings]) -> dict[str, Ceilings]:
    return {one.format.label if one.format else "": one for one in some}


def side(rates: Mapping[Cell, Estimate], **more: Any) -> Side:  # noqa: ANN401
    return Side("here", "measured", "NVIDIA H100", rates, device_kind="gpu", **{"chip": H100, **more})


class TestRoof:
    @given(peak=RATES, bandwidth=RATES, intensity=INTENSITIES, factor=st.floats(1, 100))
    def test_no_ceiling_falls_if_peak_or_bandwidth_rises(
        self, peak: float, bandwidth: float, intensity: float, factor: float
    ) -> None:
        base = roof(peak, bandwidth).ceiling(intensity)
        assert roof(factor * peak, bandwidth).ceiling(intensity) >= base
        assert roof(peak, factor * bandwidth).ceiling(intensity) >= base
        assert roof(peak, bandwidth).ceiling(factor * intensity) >= base

    @given(peak=RATES, bandwidth=RATES, intensity=INTENSITIES)
    def test_the_ceiling_is_the_peak_exactly_where_arithmetic_is_the_limit(
        self, peak: float, bandwidth: float, intensity: float
    ) -> None:
        one = roof(peak, bandwidth)
        assume(abs(intensity / one.ridge - 1) > 1e-9)
        assert (
            (one.ceiling(intensity) == peak) == (one.bound_by(intensity) == "compute") == (intensity > one.ridge)
        )
        assert one.ceiling(intensity) <= peak

    def test_an_example_by_hand(self) -> None:
        one = roof(148e12, 4e12)
        assert one.ridge == pytest.approx(37)
        assert one.ceiling(2) == pytest.approx(8e12)
        assert one.bound_by(36.9) == "memory"
        assert one.bound_by(37.1) == "compute"


class TestCeilings:
    def test_of_a_chip_there_is_its_sheet_only(self) -> None:
        found = named(ceilings(side_of_chip(H100)))
        assert [name for name in DTYPES if name in found] == list(found)
        bf16 = found["bf16"]
        assert bf16.published is not None
        assert bf16.published.ridge == pytest.approx(989.4e12 / 3350e9)
        assert (bf16.measured_peak, bf16.measured_bandwidth, bf16.measured) == (None, None, None)

    def test_measured_ones_are_the_best_product_and_the_best_stream(self) -> None:
        rates = {
            product(): estimate(7e14),
            product(m=4096): estimate(6.5e14),
            product("fp16"): estimate(8e14),
            copy(): estimate(3.0e12),
            copy("triad"): estimate(3.1e12),
        }
        of = named(ceilings(side(rates)))
        assert list(of) == ["fp16", "bf16"], "in the order of formats"
        bf16, fp16 = of["bf16"], of["fp16"]
        assert bf16.best == product()
        assert bf16.measured is not None
        assert (bf16.measured.peak.rate, bf16.measured.bandwidth.rate) == (7e14, 3.1e12)
        assert fp16.measured_peak == estimate(8e14)

    def test_what_is_unusual_or_bent_is_no_ceiling(self) -> None:
        rates = {
            product(): estimate(7e14),
            product(data="zeros"): estimate(9e14),
            msgspec.structs.replace(product(), regime="burst"): estimate(9e14),
            product(m=64): estimate(9e14, 0.01, "launch_bound"),
            copy(): estimate(3.0e12),
            copy(data="zeros"): estimate(5e12),
            msgspec.structs.replace(copy(), elements=64): estimate(9e12, 0.01, "in_cache"),
        }
        (bf16,) = ceilings(side(rates))
        assert bf16.measured is not None
        assert (bf16.measured.peak.rate, bf16.measured.bandwidth.rate) == (7e14, 3.0e12)

    def test_fp8_has_a_roof_for_each_way_of_summing(self) -> None:
        rates = {product("fp8"): estimate(1.2e15), product("fp8", fast=True): estimate(1.3e15)}
        found = {name: one.measured_peak for name, one in named(ceilings(side(rates))).items()}
        assert found == {"fp8": estimate(1.2e15), "fp8 fast": estimate(1.3e15)}

    def test_a_sustained_rate_is_one(self) -> None:
        settled = msgspec.structs.replace(product(), regime="sustained:15")
        (bf16,) = ceilings(side({settled: estimate(6.8e14)}))
        assert (bf16.best, bf16.measured_peak) == (settled, estimate(6.8e14))

    @pytest.mark.parametrize("chip", [None, H100])
    def test_of_a_stream_alone_there_is_its_bandwidth(self, chip: Chip | None) -> None:
        some = named(ceilings(side({copy(): estimate(3e12)}, chip=chip)))
        assert list(some) == ([""] if chip is None else list(named(ceilings(side_of_chip(H100)))))
        assert {one.measured_bandwidth for one in some.values()} == {estimate(3e12)}

    def test_of_a_device_that_is_no_known_chip_there_is_what_was_measured(self) -> None:
        (one,) = ceilings(side({product(): estimate(7e14)}, chip=None))
        assert (one.published_peak, one.published_bandwidth, one.published, one.measured) == (None,) * 4
        assert one.best == product()


def found(rates: Mapping[Cell, Estimate]) -> list[Point]:
    here = side(rates)
    return list(points(here, ceilings(here)))


class TestPoints:
    def test_a_product_lies_under_the_sheet_s_and_the_measured_roof(self) -> None:
        few = product(m=1)
        (large, small) = found({product(): estimate(7e14), few: estimate(2e12), copy(): estimate(3e12)})
        assert large.measured == (7e14, "compute", 1.0)
        assert large.published is not None
        assert large.published.bound_by == "compute"
        assert large.published.share == pytest.approx(700 / 989.4)
        assert small.intensity == pytest.approx(few.flop / few.bytes_moved) == pytest.approx(1.0, rel=1e-3)
        assert small.measured is not None
        assert small.published is not None
        assert small.measured.bound_by == small.published.bound_by == "memory"
        assert small.measured.ceiling == pytest.approx(small.intensity * 3e12)
        assert small.published.share == pytest.approx(2e12 / (small.intensity * 3.35e12))

    @pytest.mark.parametrize(("rate", "above"), [(1.005, False), (1.02, True)])
    def test_above_the_measured_ceiling_is_told_if_the_whole_interval_is(self, rate: float, above: bool) -> None:
        few = product(m=1)
        ceiling = few.flop / few.bytes_moved * 3e12
        (small, _) = found(
            {few: estimate(rate * ceiling, 0.01), product(): estimate(7e14), copy(): estimate(3e12)}
        )
        assert small.above == above

    def test_without_a_bandwidth_there_is_no_measured_roof_and_nothing_is_above_it(self) -> None:
        (one,) = found({product(): estimate(9e14)})
        assert (one.measured, one.above) == (None, False)
        assert one.published is not None

    def test_copies_and_what_the_host_limited_are_no_points(self) -> None:
        assert not found({copy(): estimate(3e12), product(m=16): estimate(1e12, 0.01, "launch_bound")})

    def test_of_what_others_measured_only_stated_shapes_are(self) -> None:
        others = side_of_others(H100, read_published_measurements([shipped_specs()])[H100.id])
        seen = list(points(others, ceilings(others)))
        assert seen
        assert {one.cell for one in seen} == {one for one in others.estimates if one.shape and format_of(one)}
        assert all(one.measured is None and one.published is not None for one in seen)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestCommand:
    def test_of_chips_it_looks_like_its_golden_file(self, golden: Callable[[str, str], None]) -> None:
        golden("roofline-chips.txt", chipbench("roofline", "h20-96gb", "h100-sxm5-80gb").out)

    def test_of_a_cpu_it_is_what_was_measured(self, own_folder: Path) -> None:
        memory = stream.cells(["copy"], 1 << 20, library="numpy")
        few = cpu_cell(Shape(m=1, n=512, k=512))
        # Every call takes a millisecond.
        folder = saved(own_folder / "cpu", (1.0,), (cpu_cell(512), few, *memory))
        answer = chipbench("roofline", folder, "--format", "json")
        assert answer.code == 0, answer.err
        document = json.loads(answer.out)
        (limit,) = document["ceilings"]
        assert document["schema"] == 1
        assert (limit["published_peak"], limit["published_ridge"]) == (None, None)
        assert limit["measured_peak"] == pytest.approx(2 * 512**3 / 1e-3, rel=1e-3)
        assert limit["measured_bandwidth"] == pytest.approx(8 * (1 << 20) / 1e-3, rel=1e-3)
        one, other = document["cells"]
        assert (one["measured_bound_by"], one["of_measured_ceiling"]) == ("compute", 1.0)
        assert other["measured_bound_by"] == "memory"
        assert other["of_published_ceiling"] is None
        text = chipbench("roofline", folder).text
        assert "8.389 GB/s" in text
        assert "that counts;" not in text
        rows = csv.DictReader(chipbench("roofline", folder, "--format", "csv").out.splitlines())
        assert [row["row"] for row in rows] == ["ceiling", "product", "product"]

    def test_without_a_stream_or_a_product_it_says_how_to_measure_one(self, own_folder: Path) -> None:
        folder = saved(own_folder / "cpu")
        assert "'chipbench run --workload stream' measures one" in " ".join(
            chipbench("roofline", folder).out.split()
        )
        memory = saved(own_folder / "memory", (1.0,), stream.cells(["copy"], 1 << 20, library="numpy"))
        text = " ".join(chipbench("roofline", memory).out.split())
        assert "8.389 GB/s" in text
        assert "memory: has no product that counts; where that is in another record, name their folder" in text

    def test_what_stayed_in_a_cache_is_told(self, own_folder: Path) -> None:
        slow = stream.cells(["copy"], 1 << 10, library="numpy")
        folder = saved(own_folder / "cpu", (1.0,), (cpu_cell(512), cpu_cell(Shape(m=1, n=512, k=512)), *slow))
        text = " ".join(chipbench("roofline", folder).out.split())
        assert "above the measured ceiling by more than its interval: " in text
        assert "fp32 1×512×512 of cpu; its operands stayed in a cache" in text

    @pytest.mark.parametrize(
        ("names", "code", "said"),
        [
            ([], 2, "Missing argument"),
            (["h20-97gb"], 2, "did you mean"),
            (["h20-96gb", "h20-96gb"], 2, "named twice"),
            (["published:t4"], 2, "nobody's measurements are known here"),
            (["latest"], 4, "chipbench run"),
        ],
    )
    def test_bad_input_is_one_line(self, names: list[str], code: int, said: str, own_folder: Path) -> None:
        answer = chipbench("roofline", *names)
        assert (answer.code, answer.out) == (code, "")
        assert said in answer.error


def test_every_chip_s_roof_has_all_that_is_published() -> None:
    for chip in CATALOGUE.all():
        found: list[Ceilings] = ceilings(side_of_chip(chip))
        assert all(one.published_peak is not None for one in found if one.format)
        assert all((one.published is None) == (one.published_bandwidth is None) for one in found)

"""What can be carried over to another chip: others' rates, sheets alone; and what is refused."""

from typing import Final

import pytest

from bench.analysis.project import Projection, project
from bench.analysis.sides import side_of_others
from bench.analysis.source import source_of
from bench.analysis.steps import by_sheet
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Chip
from bench.published.measured import read_published_measurements
from bench.published.models import read_models
from bench.published.source import shipped_specs
from bench.workloads.llm import Step
from tests.test_project import CATALOGUE, H20, H100, PCIE, hardware, measured, product

OTHERS: Final = read_published_measurements([shipped_specs()])


class TestOthers:
    """What others published has neither clock nor power."""

    @staticmethod
    def rates(source: Chip, target: Chip, dtype: str) -> dict[str, Projection]:
        side = side_of_others(source, OTHERS[source.id])
        found = project(source_of(side), target).cells
        return {one.source.cell.size_text: one for one in found if one.source.cell.dtype_name == dtype}

    def test_the_range_of_the_smaller_h100_holds_what_was_measured_on_it(self) -> None:
        """495.93 TFLOPS in BF16, at half the power and 0.76 of the peak."""
        low, _, high = self.rates(H100, PCIE, "bf16")["8192³"].rates
        assert low < 4.96e14 < high
        assert high / low > 1.2

    def test_a_source_that_may_have_been_power_limited_leaves_the_efficiency_open(self) -> None:
        """An H100 at 80.6 % of its sheet: an H20 may do as many per cent, or all."""
        low, expected, high = self.rates(H100, H20, "bf16")["8192³"].rates
        assert low <= 0.806 * 1.48e14 <= expected <= 1.386e14 * 1.07
        assert 1.48e14 <= high <= hardware(H20).boost_peak

    def test_chips_that_differ_in_their_links_only_do_the_same(self) -> None:
        a100, a800 = CATALOGUE.chip("a100-sxm4-80gb"), CATALOGUE.chip("a800-sxm4-80gb")
        for one in self.rates(a100, a800, "bf16").values():
            assert one.rates.expected == pytest.approx(one.source.rate.rate)


class TestSheets:
    """From published figures alone, with nothing measured."""

    @pytest.mark.parametrize(
        ("step", "ratio"),
        [(Step(1, prefill=False), 1.19), (Step(256, prefill=False), 1.05), (Step(4096, prefill=True), 0.28)],
    )
    def test_what_the_h20_keeps_of_an_h100_depends_on_the_work(self, step: Step, ratio: float) -> None:
        model = read_models([shipped_specs()]).find("deepseek-r1")
        h20, h100 = (by_sheet(model, chip).at(step) for chip in (H20, H100))
        assert h20 is not None
        assert h100 is not None
        assert h100.expected / h20.expected == pytest.approx(ratio, abs=0.01)

    def test_of_a_large_product_it_keeps_a_seventh(self) -> None:
        cell = product()
        h20, h100 = (hardware(chip).seconds(cell.flop, cell.bytes_moved) for chip in (H20, H100))
        assert h100 / h20 == pytest.approx(0.1496, abs=0.0005)


class TestRefused:
    def test_a_chip_without_the_format(self) -> None:
        with pytest.raises(InvalidRequest, match="a100-sxm4-80gb has no fp8"):
            project(source_of(measured({product(dtype="fp8"): 1e15})), CATALOGUE.chip("a100-sxm4-80gb"))

    def test_a_cell_that_a_cache_or_the_host_bent(self) -> None:
        for caveat, why in {
            "launch_bound": "the host set its rate",
            "in_cache": "a cache held its operands",
        }.items():
            with pytest.raises(RecordError, match=why):
                source_of(measured({product(): 1e14}, caveats=frozenset({caveat})))

    def test_what_no_chip_stands_behind(self) -> None:
        with pytest.raises(RecordError, match="no known chip"):
            source_of(measured({product(): 1e14})._replace(chip=None))

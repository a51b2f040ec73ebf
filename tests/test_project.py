"""Rates carried over to another chip: what the model must do whatever the numbers, and how far off it is."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.hardware import Hardware, hardware_of
from bench.analysis.project import Projection, project
from bench.analysis.source import source_of
from bench.analysis.tiling import Tiling
from bench.analysis.times import Times
from bench.devices.nvidia.nvml import POWER_CAP
from bench.errors import InvalidRequest
from bench.published.chips import Catalogue, Chip
from bench.published.figures import Figure
from bench.published.source import shipped_specs
from bench.stats import Interval
from bench.units import DTYPES
from bench.workloads import gemm, stream
from bench.workloads.base import Cell, Shape

CATALOGUE: Final = Catalogue([shipped_specs()])
H20, H100, H200, PCIE = (
    CATALOGUE.chip(f"h{name}") for name in ("20-96gb", "100-sxm5-80gb", "200-sxm-141gb", "100-pcie-80gb")
)
BF16: Final = DTYPES["bf16"].figures


def product(m: int = 8192, n: int = 8192, k: int = 8192, dtype: str = "bf16") -> Cell:
    return gemm.cells([dtype], [Shape(m=m, n=n, k=k)], library="cublaslt", l2="rotate")[0]


def copy() -> Cell:
    (made,) = stream.cells(["copy"], 1 << 28, library="kernel")
    return made


def measured(
    rates: Mapping[Cell, float],
    clock: float | None = 1.83e9,
    watts: float | None = None,
    chip: Chip = H200,
    caveats: frozenset[str] = frozenset(),
    **more: Any,  # noqa: ANN401 - of a side
) -> Side:
    """Return a side of one process, all of whose cells ran at one clock and drew one power."""
    return Side(
        "here",
        "measured",
        chip.name,
        {cell: Estimate(rate, None, (rate,), caveats) for cell, rate in rates.items()},
        chip=chip,
        device_kind="gpu",
        clocks=dict.fromkeys(rates, clock) if clock else {},
        watts=dict.fromkeys(rates, watts) if watts else {},
        **more,
    )


def capped(rate: float, clock: float, cell: Cell | None = None, watts: float = 700.0, chip: Chip = H200) -> Side:
    return measured({cell or product(): rate}, clock, watts, chip, frozenset({POWER_CAP}))


def projected(side: Side, target: Chip = H20) -> dict[Cell, Projection]:
    return {one.source.cell: one for one in project(source_of(side), target).cells}


def only(side: Side, target: Chip = H20, cell: Cell | None = None) -> Projection:
    found = projected(side, target)
    return found[cell or next(iter(side.estimates))]


def hardware(chip: Chip, cell: Cell | None = None) -> Hardware:
    found = hardware_of(chip, (cell or product()).figures)
    assert found is not None
    return found


def changed(chip: Chip, **factors: float) -> Chip:
    """Return a chip that does not exist: one whose figures are so many times as large."""
    figures: dict[str, Figure] = dict(chip.figures)
    for name, factor in factors.items():
        figure = figures[name]
        assert isinstance(figure.value, int | Decimal)
        figures[name] = figure._replace(value=Decimal(figure.value) * Decimal(factor))
    return chip._replace(id=f"{chip.id}-changed", figures=figures)


class TestItself:
    @given(rate=st.floats(1e12, 9e14), clock=st.floats(0.5e9, 1.98e9), watts=st.floats(100, 700))
    @pytest.mark.parametrize("cell", [product(), product(m=1), product(m=256), product(k=64)])
    def test_a_chip_projected_onto_itself_is_what_was_measured(
        self, cell: Cell, rate: float, clock: float, watts: float
    ) -> None:
        assert only(measured({cell: rate}, clock, watts), H200).rates.expected == pytest.approx(rate)

    def test_a_twin_of_it_at_its_power_limit_holds_the_same_clock(self) -> None:
        """Nothing but the name differs, so the rate does not, though the clock is far below the sheet's."""
        assert only(capped(6.75e14, 1.283e9), changed(H200)).rates.expected == pytest.approx(6.75e14)


class TestEfficiency:
    def test_at_half_the_rate_and_the_same_clock_half_is_projected(self) -> None:
        whole, half = (only(capped(rate, 1.283e9)).rates for rate in (6.75e14, 6.75e14 / 2))
        assert half.expected == pytest.approx(whole.expected / 2)

    @pytest.mark.parametrize("factor", [0.5, 0.8, 0.95])
    def test_at_a_lower_rate_and_clock_it_stays(self, factor: float) -> None:
        """That is what a lower power limit does to the source, and nothing of the target."""
        before, after = (only(capped(6.75e14 * f, 1.283e9 * f)).rates for f in (1.0, factor))
        assert after.expected == pytest.approx(before.expected)

    def test_a_source_at_its_power_limit_does_not_drag_a_chip_down_that_is_not(self) -> None:
        """An H200 at 68 % of its sheet, and 97 % of its peak at the clock it held, makes an H20 a 97 % one."""
        one = only(capped(6.75e14, 1.283e9))
        assert one.rates.expected / hardware(H20).peak == pytest.approx(0.974, abs=0.002)
        assert one.bound_by == "compute"
        assert one.rates.fast / one.rates.slow < 1.2

    def test_the_fast_end_is_at_the_boost_clock(self) -> None:
        one, chip = only(capped(6.75e14, 1.283e9)), hardware(H20)
        assert chip.boost is not None
        assert chip.sheet_clock is not None
        assert one.rates.fast / one.rates.expected >= chip.boost / chip.sheet_clock

    def test_no_rate_is_above_the_peak_at_the_boost_clock(self) -> None:
        one = only(measured({product(): 9.9e14}, 1.6e9))
        assert one.rates.expected <= hardware(H20).boost_peak * (1 + 1e-9)


class TestPower:
    def test_with_half_the_watts_the_rate_is_between_half_and_the_same(self) -> None:
        one = only(capped(6e14, 1.2e9), changed(H200, tdp=0.5))
        assert one.bound_by == "power"
        assert one.rates.slow == pytest.approx(3e14, rel=0.05)
        assert one.rates.fast == pytest.approx(6e14, rel=0.05)
        assert one.rates.expected == pytest.approx(6e14 / math.sqrt(2))

    def test_with_twice_the_watts_it_is_between_the_cube_root_and_twice(self) -> None:
        """... as long as that is below the target's clock."""
        one = only(capped(3e14, 0.6e9), changed(H200, tdp=2))
        assert one.rates.slow == pytest.approx(3e14 * 2 ** (1 / 3), rel=0.05)
        assert one.rates.expected == pytest.approx(6e14)
        assert one.rates.fast == pytest.approx(6e14, rel=0.05)

    def test_watts_that_were_drawn_count_where_no_limit_held_it_back(self) -> None:
        """300 W of 700 leave room for a chip of 350 W, which then is not limited by power."""
        target = changed(H200, tdp=0.5)
        assert only(measured({product(): 8e14}, 1.83e9, 300.0), target).bound_by == "compute"
        assert only(measured({product(): 8e14}, 1.83e9, 690.0), target).bound_by == "power"

    def test_of_a_call_that_waits_for_memory_under_a_power_limit_half_of_more_bandwidth_is_believed(self) -> None:
        rows = product(m=64)
        one = only(capped(2.4e14, 1.35e9, rows), changed(H200, memory_bandwidth=2))
        free = only(measured({rows: 2.4e14}, 1.35e9, 700.0), changed(H200, memory_bandwidth=2))
        assert (one.bound_by, free.bound_by) == ("power", "memory")
        assert one.rates.expected == pytest.approx(math.sqrt(2.4e14 * free.rates.expected))
        assert one.rates.slow == pytest.approx(2.4e14, rel=0.05)

    def test_nor_do_fewer_watts_slow_it_down(self) -> None:
        assert only(capped(3.9e12, 1.5e9, product(m=1)), changed(H200, tdp=0.5)).rates.expected == pytest.approx(
            3.9e12
        )

    def test_what_arithmetic_would_limit_on_the_target_power_may_limit_too(self) -> None:
        """64 rows wait for memory on an H200; with a quarter of the tensor rate and an eighth of the power not."""
        rows, whole = product(m=64), product()
        side = measured({rows: 2.4e14, whole: 6.75e14}, 1.283e9, 700.0, caveats=frozenset({POWER_CAP}))
        weak = changed(H20, tdp=0.125)
        assert projected(side)[rows].bound_by == "compute"
        assert projected(side, weak)[rows].bound_by == "power"
        assert projected(side, weak)[rows].rates.expected < 0.8 * projected(side)[rows].rates.expected

    def test_watts_that_were_drawn_count_without_a_clock_too(self) -> None:
        rates = [only(measured({product(): 6e14}, None, watts), changed(H200)).rates for watts in (350.0, 700.0)]
        assert rates[0].fast > 1.2 * rates[1].fast
        assert rates[1].expected == pytest.approx(6e14)

    @pytest.mark.parametrize("watts", [0.0, -3.0, math.inf])
    def test_a_sensor_that_tells_nonsense_is_not_believed(self, watts: float) -> None:
        told = only(measured({product(): 8e14}, 1.83e9, watts)).rates
        assert told == only(measured({product(): 8e14}, 1.83e9, None)).rates

    def test_a_call_that_waits_for_memory_needs_no_clock(self) -> None:
        side = measured({product(m=1): 3.9e12}, 1.8e9, 600.0)
        assert only(side, changed(H200, tdp=0.5)).rates.expected == pytest.approx(3.9e12)

    @given(
        share=st.floats(0.02, 0.98),
        more=st.floats(1, 8),
        clock=st.floats(0.6e9, 1.98e9),
        figure=st.sampled_from(["tdp", "memory_bandwidth", "bf16"]),
        m=st.sampled_from([1, 64, 128, 256, 8192]),
    )
    @pytest.mark.parametrize("capped", [False, True])
    def test_a_chip_with_more_of_something_is_not_projected_slower(
        self, *, capped: bool, figure: str, m: int, share: float, more: float, clock: float
    ) -> None:
        cell = product(m=m)
        rate = share * cell.flop / hardware(H200, cell).seconds(cell.flop, cell.bytes_moved)
        side = measured({cell: rate}, clock, 350.0 + clock / 6e6, caveats=frozenset({POWER_CAP} if capped else ()))
        base, better = (only(side, changed(H20, **{figure: factor})).rates for factor in (1, more))
        for less, greater in zip(base, better, strict=True):
            assert greater >= less * (1 - 1e-9)

    @given(
        rate=st.floats(1e12, 9e14),
        clock=st.none() | st.floats(0.6e9, 2e9),
        watts=st.none() | st.floats(50, 900),
        cell=st.sampled_from([product(), product(m=8), product(m=300, k=512), product(m=128)]),
    )
    def test_the_range_holds_what_is_expected(
        self, rate: float, clock: float | None, watts: float | None, cell: Cell
    ) -> None:
        """On any chip that has BF16; of the others it is said that they have not."""
        for chip in CATALOGUE.all():
            side = measured({cell: rate}, clock, watts)
            if hardware_of(chip, BF16) is None:
                with pytest.raises(InvalidRequest, match=chip.id):
                    project(source_of(side), chip)
            else:
                rates = only(side, chip).rates
                assert 0 < rates.slow <= rates.expected <= rates.fast < math.inf


class TestContinuity:
    """A little of something changes what is projected a little: no product falls from one case into another."""

    @given(
        share=st.floats(0.02, 0.95),
        clock=st.floats(0.9e9, 1.9e9),
        shape=st.tuples(st.integers(1, 8192), st.integers(64, 8192), st.integers(64, 8192)),
        target=st.sampled_from([H20, H100, PCIE]),
    )
    @pytest.mark.parametrize("capped", [False, True])
    def test_one_per_cent_more_changes_it_by_a_few_per_cent(
        self, *, capped: bool, share: float, clock: float, shape: tuple[int, int, int], target: Chip
    ) -> None:
        cell = product(*shape)
        rate = share * cell.flop / hardware(H200, cell).seconds(cell.flop, cell.bytes_moved)
        caveats = frozenset({POWER_CAP} if capped else ())

        def rates(factor: float, faster: float) -> Times:
            """Return what is projected in a record that has a copy and a large product, too."""
            others = {copy(): 4.3e12, product(): 0.9 * 540672 * clock * faster}
            side = measured({**others, cell: rate * factor}, clock * faster, 700.0, caveats=caveats)
            return only(side, target, cell).rates

        before = rates(1.0, 1.0)
        for after in (rates(1.01, 1.0), rates(1.0, 1.01)):
            assert after.expected == pytest.approx(before.expected, rel=0.10)


class TestRange:
    def test_where_power_is_the_limit_the_interval_of_the_measurement_counts(self) -> None:
        side = capped(6.75e14, 1.283e9)
        rate = side.estimates[product()]._replace(interval=Interval(5.4e14, 8.1e14))
        narrow, wide = (only(one, PCIE).rates for one in (side, side._replace(estimates={product(): rate})))
        assert wide.slow < 0.99 * narrow.slow
        assert wide.fast > 1.01 * narrow.fast

    def test_between_architectures_it_reaches_the_published_limit(self) -> None:
        """Nothing says that an A100's libraries reach less of it than an H200's do."""
        a100 = CATALOGUE.chip("a100-sxm4-80gb")
        rates = only(capped(6.75e14, 1.283e9), a100).rates
        assert rates.fast >= hardware(a100).peak * (1 - 1e-9)
        assert rates.slow <= rates.expected**2 / hardware(a100).peak * (1 + 1e-9)

    def test_formats_that_other_units_compute_are_left_out(self) -> None:
        """An H200's FP64 is held against its tensor cores; of an H20's nobody published any."""
        fp64 = product(dtype="fp64")
        found = project(source_of(measured({fp64: 5e13, product(): 6e14})), H20)
        assert [one.source.cell for one in found.cells] == [product()]
        assert [(one.cell, "fp64_tensor" in one.reason) for one in found.left_out] == [(fp64, True)]


class TestMemory:
    def test_a_copy_follows_the_bandwidth(self) -> None:
        assert only(measured({copy(): 4.3e12})).rates.expected == pytest.approx(4.3e12 * 4.0 / 4.8)

    def test_what_a_call_takes_beside_its_bytes_stays(self) -> None:
        """One row by 2048²: 8.4 MB in 1.9 µs at the copy's rate, and 4.1 µs more on any chip."""
        small = product(1, 2048, 2048)
        side = measured({copy(): 4.32e12, small: small.flop / 6e-6})
        moved = small.bytes_moved
        expected = 6e-6 - moved / 4.32e12 + moved / (4.32e12 * 4.0 / 4.8)
        one = projected(side)[small]
        assert one.seconds.expected == pytest.approx(expected)
        assert one.bound_by == "latency"

    def test_few_rows_that_wait_for_memory_on_one_chip_wait_for_arithmetic_on_the_cut_one(self) -> None:
        rows = product(m=128)
        side = measured({product(): 9e14, rows: rows.flop / 40e-6}, 1.8e9)
        one = projected(side)[rows]
        assert one.bound_by == "compute"
        best = 9e14 / (hardware(H200).peak * 1.8e9 / (hardware(H200).sheet_clock or 0))
        assert one.rates.expected == pytest.approx(hardware(H20).peak * best, rel=0.15)

    @pytest.mark.parametrize(("size", "seconds"), [(512, 6e-6), (1500, 18e-6)])
    def test_a_call_that_is_over_at_once_is_mostly_latency_whatever_limits_its_work(
        self, size: int, seconds: float
    ) -> None:
        """Of 512³ in 6 µs its operations take 0.3, and its bytes 0.4; of 1500³ in 18 µs its operations take 7."""
        small = product(size, size, size)
        one = only(measured({small: small.flop / seconds, copy(): 4.3e12}, 1.83e9, 300.0), changed(H200))
        assert one.bound_by == "latency"
        assert one.rates.expected == pytest.approx(small.flop / seconds, rel=1e-3)


class TestWaves:
    def test_the_last_wave_of_tiles_is_emptier_on_another_number_of_multiprocessors(self) -> None:
        """128 tiles are 0.97 of a wave on 132 multiprocessors and 1.64, so two, on 78."""
        tiling = Tiling(m=128, n=128, split_k=1)
        shape = Shape(m=256, n=8192, k=8192)
        assert tiling.tiles(shape) == 128
        assert tiling.fullness(shape, 132) == pytest.approx(128 / 132)
        assert tiling.fullness(shape, 78) == pytest.approx(128 / 156)
        cell = product(256, 8192, 8192)
        plain = only(capped(5.7e14, 1.242e9, cell))
        waved = only(capped(5.7e14, 1.242e9, cell)._replace(tilings={cell: tiling}))
        ratio = (128 / 156) / (128 / 132)
        assert waved.rates.slow < plain.rates.slow * math.sqrt(ratio)
        assert plain.rates.expected < waved.rates.fast < plain.rates.expected * 1.06, "cut to fit as well as here"
        assert waved.rates.expected == pytest.approx(plain.rates.expected * math.sqrt(ratio))

    @given(m=st.integers(1, 9000), n=st.integers(1, 9000), sms=st.integers(1, 200))
    def test_a_wave_is_never_more_than_full(self, m: int, n: int, sms: int) -> None:
        fullness = Tiling(m=128, n=256, split_k=1).fullness(Shape(m=m, n=n, k=1), sms)
        assert 0 < fullness <= 1

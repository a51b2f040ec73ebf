"""Rates with their errors: ratios, published peaks, the peak at a clock, and what several processes make."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.estimates import (
    Estimate,
    Ratio,
    is_above_peak,
    measured_rate,
    peak_at_clock,
    pooled,
    ratio,
)
from bench.devices.base import Caveat, Telemetry
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.measure.measurement import Measurement, Samples
from bench.records.record import reduce
from bench.stats import Interval
from bench.units import DTYPES
from tests.support import FAILED
from tests.test_gpu_table import H100
from tests.test_report_details import BF16, LAUNCH_BOUND, changed, first_samples, peak, rate, slowed
from tests.test_verdict import T, joined, processes


class TestRatio:
    def test_a_published_figure_counts_as_exact_beside_a_measured_one(self) -> None:
        measured = Estimate(500e12, Interval(490e12, 520e12))
        of_peak = ratio(measured, peak())
        assert of_peak.value == pytest.approx(500e12 / peak().rate)
        assert of_peak.interval is not None
        assert of_peak.interval.lo < of_peak.value < of_peak.interval.hi
        assert ratio(peak(), measured).interval is not None

    def test_two_published_ones_have_no_interval(self) -> None:
        assert ratio(peak(), peak()) == Ratio(1.0, None)

    def test_a_measured_side_without_an_interval_leaves_none(self) -> None:
        for pair in ((rate(1, None), rate(2)), (rate(2), rate(1, None)), (rate(1, None), peak())):
            assert ratio(*pair).interval is None

    @pytest.mark.parametrize(("value", "above"), [(1.0, False), (1 + 1e-12, False), (1.001, True), (0.9, False)])
    def test_above_the_peak_is_more_than_rounding(self, value: float, above: bool) -> None:
        assert is_above_peak(value) == above


class TestPeakAtClock:
    def test_it_is_multiprocessors_times_flop_times_clock(self) -> None:
        found = peak_at_clock(H100, DTYPES["bf16"].figures, 1.5e9)
        assert found is not None
        assert found.rate == 132 * 4096 * 1.5e9
        assert found.figure is not None
        assert found.figure.name == "flop_per_clock_per_sm.bf16"
        assert found.interval is None

    @pytest.mark.parametrize("name", ["sm_count", "flop_per_clock_per_sm.bf16", "bf16"])
    def test_without_one_of_its_figures_there_is_none(self, name: str) -> None:
        figures = {key: figure for key, figure in H100.figures.items() if key != name}
        assert peak_at_clock(H100._replace(figures=figures), DTYPES["bf16"].figures, 1.5e9) is None


class TestPooled:
    def test_one_process_alone_is_what_it_measured(self) -> None:
        alone = estimate(BF16)
        assert pooled([alone]) == alone
        assert measured_rate(reduce(changed(BF16, check=FAILED))) is None
        assert pooled([]) is None

    def test_of_three_or_more_it_is_the_geometric_mean_with_student_s_interval_over_them(self) -> None:
        rates = [estimate(slowed(BF16, factor)) for factor in (1.0, 1.21, 1.1)]
        found = pooled(rates)
        assert found is not None
        assert found.rate == pytest.approx(rates[2].rate)
        assert found.each == tuple(one.rate for one in rates)
        assert found.processes == 3
        # 4.303 is Student's t for two degrees of freedom; log 1.1 is the standard deviation of the logarithms.
        factor = 1.1 ** (4.302653 / 3**0.5)
        assert found.interval == pytest.approx((found.rate / factor, found.rate * factor), rel=1e-6)

    def test_however_sure_each_of_three_is_their_scatter_alone_makes_the_interval(self) -> None:
        rates = [estimate(slowed(BF16, factor)) for factor in (1.0, 1.002, 0.999)]
        blurred = [one._replace(interval=Interval(one.rate / 2, 2 * one.rate)) for one in rates]
        assert pooled(rates) == pooled(blurred)
        alike = pooled([blurred[0]] * 3)
        assert alike is not None
        assert alike.interval == pytest.approx((alike.rate, alike.rate)), "three that agree have no scatter"

    def test_of_two_the_interval_spans_those_of_both(self) -> None:
        fast, slow = estimate(BF16), estimate(slowed(BF16, 1.2))
        found = pooled([fast, slow])
        assert found is not None
        assert fast.interval is not None
        assert slow.interval is not None
        assert found.rate == pytest.approx((fast.rate * slow.rate) ** 0.5)
        assert found.interval == Interval(slow.interval.lo, fast.interval.hi)

    def test_what_one_process_was_warned_of_holds_for_all(self) -> None:
        rates = [estimate(BF16), estimate(changed(BF16, warnings=(LAUNCH_BOUND,))), estimate(BF16)]
        assert [one.host_limited for one in rates] == [False, True, False]
        found = pooled(rates)
        assert found is not None
        assert found.host_limited
        assert "launch_bound" in found.caveats

    def test_with_too_few_samples_in_one_there_is_no_interval(self) -> None:
        few = changed(BF16, samples=msgspec.structs.replace(BF16.samples, **first_samples(BF16, 3)))
        for rates in ([estimate(BF16), estimate(few)], [estimate(BF16), estimate(few), estimate(BF16)]):
            found = pooled(rates)
            assert found is not None
            assert found.interval is None


class TestAnyPooled:
    @settings(max_examples=50)
    @given(side=processes(), data=st.data())
    def test_the_order_does_not_matter(self, side: list[Estimate], data: st.DataObject) -> None:
        there, back = joined(side), joined(data.draw(st.permutations(side)))
        assert back.rate == pytest.approx(there.rate)
        assert (there.interval is None) == (back.interval is None)
        if there.interval and back.interval:
            assert back.interval == pytest.approx(there.interval)
        assert sorted(back.each) == sorted(there.each)
        assert back.caveats == there.caveats

    @given(side=processes())
    def test_it_is_between_the_slowest_and_the_fastest(self, side: list[Estimate]) -> None:
        found = joined(side)
        assert min(found.each) * (1 - 1e-12) <= found.rate <= max(found.each) * (1 + 1e-12)
        assert found.processes == len(side)
        assert found.caveats == set(chain.from_iterable(process.caveats for process in side))

    @given(side=processes())
    def test_there_is_an_interval_if_every_process_has_one(self, side: list[Estimate]) -> None:
        found = joined(side)
        assert (found.interval is None) == any(process.interval is None for process in side)
        if found.interval is not None:
            assert found.interval.lo <= found.rate * (1 + 1e-12)
            assert found.rate <= found.interval.hi * (1 + 1e-12)

    @given(side=processes(clean=True))
    def test_by_hand(self, side: list[Estimate]) -> None:
        found = joined(side)
        assert found.interval is not None
        logs = np.log(found.each)
        assert found.rate == pytest.approx(np.exp(logs.mean()))
        if len(side) == 1:
            assert found == side[0]
        elif len(side) == 2:
            intervals = [process.interval for process in side if process.interval]
            assert found.interval == (min(i.lo for i in intervals), max(i.hi for i in intervals))
        else:
            half_width = T[len(side) - 1] * logs.std(ddof=1) / np.sqrt(len(side))
            assert math.log(found.interval.hi / found.rate) == pytest.approx(half_width, rel=1e-4, abs=1e-9)
            assert math.log(found.rate / found.interval.lo) == pytest.approx(half_width, rel=1e-4, abs=1e-9)

    @given(side=processes(clean=True), wider=st.floats(1, 20))
    def test_of_three_and_more_it_does_not_matter_how_sure_each_is(
        self, side: list[Estimate], wider: float
    ) -> None:
        ends = [(one.rate * math.exp(-wider), one.rate * math.exp(wider)) for one in side]
        blurred = [one._replace(interval=Interval(*both)) for one, both in zip(side, ends, strict=True)]
        assert (joined(blurred) == joined(side)) == (len(side) >= 3)


class TestCaveats:
    # Each is told by the samples alone, and by the warning of a record alone.
    SHOWN: Final = {
        "autocorrelated": [1.0 + 0.001 * step for step in range(6)],
        "bimodal": [1.0, 1.1, 1.1, 1.0, 1.0, 1.1, 1.0, 1.1, 1.1, 1.0],
    }
    QUIET: Final = [1.0, 1.002, 0.999, 1.001, 0.998, 1.0005, 0.9995, 1.0015]

    @staticmethod
    def of(times: Sequence[float], *codes: str) -> Estimate:
        samples = Samples(seconds_per_call=tuple(times))
        warnings = tuple(Caveat(code=code) for code in codes)
        return estimate(changed(BF16, samples=samples, warnings=warnings, telemetry=None))

    @pytest.mark.parametrize("code", SHOWN)
    def test_what_the_samples_show_now_counts_though_the_record_does_not_warn_of_it(self, code: str) -> None:
        assert self.of(self.SHOWN[code]).caveats == {code}
        assert self.of(self.SHOWN[code], code).caveats == {code}
        assert self.of(self.SHOWN[code], "not_flat").caveats == {code, "not_flat"}

    @pytest.mark.parametrize("code", SHOWN)
    def test_what_the_record_warns_of_counts_though_the_samples_do_not_show_it(self, code: str) -> None:
        assert self.of(self.QUIET).caveats == set()
        assert self.of(self.QUIET, code).caveats == {code}

    @pytest.mark.parametrize(
        ("reasons", "codes"),
        [
            ({}, set()),
            ({POWER_CAP: 0.5}, set()),
            ({POWER_CAP: 0.51}, {POWER_CAP}),
            ({FAULTS[0]: 0.009, FAULTS[1]: 0.01}, {FAULTS[1]}),
        ],
    )
    def test_what_held_the_clock_back_counts_a_power_limit_only_if_mostly(
        self, reasons: dict[str, float], codes: set[str]
    ) -> None:
        samples = Samples(seconds_per_call=tuple(self.QUIET))
        seen = Telemetry(readings=100, seconds=5.0, event_reasons=reasons)
        assert estimate(changed(BF16, samples=samples, warnings=(), telemetry=seen)).caveats == codes


def estimate(of: Measurement) -> Estimate:
    found = measured_rate(reduce(of))
    assert found is not None
    return found

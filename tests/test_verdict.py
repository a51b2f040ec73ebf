"""`judge`: what holds for any two sides, and examples worked out here by hand."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.analysis.estimates import ENOUGH_PROCESSES, Estimate, pooled
from bench.analysis.verdict import MARGINS, Finding, Margins, Verdict, judge
from bench.stats import Interval, student_t

# Student's t that bounds 95 %, by degrees of freedom, from the printed tables.
T: Final = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706}
CAVEATS: Final = ("autocorrelated", "bimodal", "launch_bound", "outliers", "not_flat", "hw_thermal_slowdown")
TAINTS: Final = {"autocorrelated": "autocorrelated", "bimodal": "bimodal", "launch_bound": "host_limited"}
GPU: Final = MARGINS["gpu"]

floors = st.one_of(st.sampled_from([0.03, 0.15]), st.floats(0.01, 0.4))


def at(floor: float) -> Margins:
    """Return a GPU's margins with another floor."""
    return GPU._replace(floor=floor)


def one(rate: float, error: float = 0.001, *caveats: str, interval: bool = True) -> Estimate:
    """Return what one process measured, with this standard error by its own samples."""
    factor = math.exp(1.96 * error)
    ends = Interval(rate / factor, rate * factor) if interval else None
    return Estimate(rate, ends, (rate,), frozenset(caveats))


def of(rates: Sequence[float], error: float = 0.0001, *caveats: str) -> Estimate:
    """Return the side of processes with these rates."""
    return joined([one(rate, error, *caveats) for rate in rates])


def joined(processes: Sequence[Estimate]) -> Estimate:
    found = pooled(processes)
    assert found is not None
    return found


# Made once, and of few draws each, as draws are what takes time.
NONE: Final[tuple[str, ...]] = ()
MARKED: Final[list[tuple[str, ...]]] = [*combinations(CAVEATS, 1), *combinations(CAVEATS, 2)]
CLEAN: Final = st.tuples(st.integers(-2000, 2000), st.sampled_from((1e-5, 1e-3, 0.01)), st.just(NONE), st.just(1))
MIXED: Final = st.tuples(
    st.integers(-2000, 2000),
    st.sampled_from((1e-5, 1e-3, 0.01)),
    st.one_of(st.just(NONE), st.sampled_from(MARKED)),
    st.integers(0, 15),
)
SOME_CLEAN: Final = st.lists(CLEAN, min_size=1, max_size=6)
FEW_CLEAN: Final = st.lists(CLEAN, min_size=1, max_size=2)
SOME: Final = st.lists(MIXED, min_size=1, max_size=6)
SPREADS: Final = st.sampled_from((0.0, 1e-4, 1e-3, 1e-2, 0.05))
ANY_RATE, NEAR = st.floats(1e8, 1e15), st.floats(0.7, 1.4)


@st.composite
def processes(
    draw: st.DrawFn, centre: float | None = None, *, clean: bool = False, few: bool = False
) -> list[Estimate]:
    """One to six processes around a rate near `centre`, as alike or as different as may be; `few` are up to 2."""
    middle = draw(ANY_RATE) if centre is None else centre * draw(NEAR)
    spread = draw(SPREADS)
    return [
        one(middle * math.exp(spread * off / 1000), error, *caveats, interval=known > 0)
        for off, error, caveats, known in draw(FEW_CLEAN if few else SOME_CLEAN if clean else SOME)
    ]


class Pair(NamedTuple):
    a: Estimate
    b: Estimate


@st.composite
def pairs(draw: st.DrawFn, *, clean: bool = False, few: bool = False) -> Pair:
    a = joined(draw(processes(clean=clean, few=few)))
    return Pair(a, joined(draw(processes(a.rate, clean=clean, few=few))))


def ratio_of(finding: Finding) -> tuple[float, Interval]:
    assert finding.ratio is not None
    assert finding.ratio.interval is not None
    return finding.ratio.value, finding.ratio.interval


def mirrored(verdict: Verdict) -> Verdict:
    """Return the verdict as it must be with a and b swapped."""
    swapped: dict[Verdict, Verdict] = {"faster": "slower", "slower": "faster"}
    return swapped.get(verdict, verdict)


def scaled(of: Estimate, factor: float) -> Estimate:
    interval = of.interval and Interval(of.interval.lo * factor, of.interval.hi * factor)
    return of._replace(rate=of.rate * factor, interval=interval, each=tuple(factor * rate for rate in of.each))


class TestOfAnyTwo:
    @given(pair=pairs(), floor=floors)
    def test_swapped_it_is_mirrored(self, pair: Pair, floor: float) -> None:
        there, back = judge(*pair, at(floor)), judge(pair.b, pair.a, at(floor))
        assert (back.verdict, back.reason) == (mirrored(there.verdict), there.reason)
        assert there.ratio is not None
        assert back.ratio is not None
        assert back.ratio.value == pytest.approx(1 / there.ratio.value)
        assert (there.ratio.interval is None) == (back.ratio.interval is None)
        if there.ratio.interval and back.ratio.interval:
            assert back.ratio.interval.lo == pytest.approx(1 / there.ratio.interval.hi)
            assert back.ratio.interval.hi == pytest.approx(1 / there.ratio.interval.lo)

    @settings(max_examples=60)
    @given(pair=pairs(), floor=floors, factor=st.floats(1e-3, 1e6))
    def test_the_unit_does_not_matter(self, pair: Pair, floor: float, factor: float) -> None:
        plain = judge(*pair, at(floor))
        other = judge(scaled(pair.a, factor), scaled(pair.b, factor), at(floor))
        assert (other.verdict, other.reason, other.values) == (plain.verdict, plain.reason, plain.values)
        assert plain.ratio is not None
        assert other.ratio is not None
        assert other.ratio.value == pytest.approx(plain.ratio.value)

    @settings(max_examples=50)
    @given(pair=pairs(clean=True), code=st.sampled_from(sorted(TAINTS)), floor=floors, on_b=st.booleans())
    def test_a_taint_of_either_side_leaves_no_verdict(
        self, pair: Pair, code: str, floor: float, on_b: bool
    ) -> None:
        a, b = pair
        marked = (b if on_b else a)._replace(caveats=frozenset({code}))
        found = judge(a, marked, at(floor)) if on_b else judge(marked, b, at(floor))
        assert (found.verdict, found.reason) == ("can't tell", TAINTS[code])
        assert found.ratio is not None, "the numbers are there all the same"
        assert found.ratio.value == pytest.approx(b.rate / a.rate)

    @given(pair=pairs(), floor=floors)
    def test_no_verdict_rests_on_a_taint_or_on_no_interval(self, pair: Pair, floor: float) -> None:
        found = judge(*pair, at(floor))
        tainted = {TAINTS[code] for code in pair.a.caveats | pair.b.caveats if code in TAINTS}
        if pair.a.interval is None or pair.b.interval is None:
            tainted.add("few_samples")
        if tainted:
            assert found.verdict == "can't tell"
            assert found.reason in tainted
        else:
            assert found.reason not in {*TAINTS.values(), "few_samples"}

    @given(pair=pairs(), floor=floors)
    def test_faster_and_slower_are_above_and_below_by_the_whole_interval(self, pair: Pair, floor: float) -> None:
        found = judge(*pair, at(floor))
        if found.verdict not in {"faster", "slower"}:
            return
        value, interval = ratio_of(found)
        assert interval.lo <= value <= interval.hi
        few = min(pair.a.processes, pair.b.processes) < ENOUGH_PROCESSES
        margin = floor if few else GPU.least
        if found.verdict == "faster":
            assert 1 + margin < interval.lo
        else:
            assert interval.hi < 1 / (1 + margin)

    @given(pair=pairs(clean=True), floor=floors)
    def test_of_fewer_than_three_processes_nothing_within_the_floor_has_a_verdict(
        self, pair: Pair, floor: float
    ) -> None:
        fewest, most = sorted((pair.a.processes, pair.b.processes))
        found = judge(*pair, at(floor))
        assume(fewest < ENOUGH_PROCESSES)
        assert found.verdict != "same"
        told = "repeats" if most >= ENOUGH_PROCESSES else "beyond_floor"
        assert found.reason == ("within_floor" if found.verdict == "can't tell" else told)
        if 1 / (1 + floor) <= pair.b.rate / pair.a.rate <= 1 + floor:
            assert (found.verdict, found.reason) == ("can't tell", "within_floor")

    @given(pair=pairs(clean=True), floor=floors)
    def test_same_is_the_whole_interval_within_three_per_cent_both_ways(self, pair: Pair, floor: float) -> None:
        found = judge(*pair, at(floor))
        if min(pair.a.processes, pair.b.processes) < ENOUGH_PROCESSES or found.verdict in {"faster", "slower"}:
            return
        _, interval = ratio_of(found)
        within = interval.hi <= 1.03 and interval.lo * 1.03 >= 1
        assert (found.verdict, found.reason) == (("same", "processes") if within else ("can't tell", "interval"))

    @settings(max_examples=50)
    @given(pair=pairs(clean=True), floor=floors, other=floors)
    def test_with_three_processes_on_both_sides_the_floor_does_not_matter(
        self, pair: Pair, floor: float, other: float
    ) -> None:
        assume(min(pair.a.processes, pair.b.processes) >= ENOUGH_PROCESSES)
        here, there = judge(*pair, at(floor)), judge(*pair, at(other))
        assert here[:3] == there[:3]

    @settings(max_examples=50)
    @given(pair=pairs(clean=True), floor=floors, wider=st.floats(0.1, 20))
    def test_nor_on_either_side_does_how_sure_each_is(self, pair: Pair, floor: float, wider: float) -> None:
        assume(max(pair.a.processes, pair.b.processes) >= ENOUGH_PROCESSES)
        a, b = (
            side._replace(interval=Interval(side.rate * math.exp(-wider), side.rate * math.exp(wider)))
            for side in pair
        )
        assert judge(*pair, at(floor)) == judge(a, b, at(floor))

    @settings(max_examples=40)
    @given(pair=pairs(clean=True), floor=floors, more=st.floats(1.0, 10.0))
    def test_what_is_faster_still_is_if_it_is_faster_yet(self, pair: Pair, floor: float, more: float) -> None:
        assume(judge(*pair, at(floor)).verdict == "faster")
        assert judge(pair.a, scaled(pair.b, more), at(floor)).verdict == "faster"

    @given(side=processes(), floor=floors)
    def test_nothing_is_faster_than_itself(self, side: list[Estimate], floor: float) -> None:
        alone = joined(side)
        assert judge(alone, alone, at(floor)).verdict in {"same", "can't tell"}

    @given(pair=pairs(few=True))
    def test_a_higher_floor_never_makes_a_verdict_of_few_processes(self, pair: Pair) -> None:
        low, high = (judge(*pair, at(floor)).verdict for floor in (0.03, 0.15))
        assert high in {low, "can't tell"}

    @settings(max_examples=40)
    @given(pair=pairs(clean=True), floor=floors)
    def test_it_tells_what_it_rests_on(self, pair: Pair, floor: float) -> None:
        values = judge(*pair, at(floor)).values
        assert values == {"processes_a": pair.a.processes, "processes_b": pair.b.processes, **at(floor)._asdict()}


def rates_of(logs: Sequence[float] | npt.NDArray[np.float64]) -> list[float]:
    return [1e12 * math.exp(log) for log in logs]


class TestThreeAndMore:
    def test_the_interval_is_welch_s_on_the_logarithms(self) -> None:
        a, b = [100e12, 101e12, 99e12], [110e12, 112e12, 109e12, 111e12]
        square_a = np.var(np.log(a), ddof=1) / 3
        square_b = np.var(np.log(b), ddof=1) / 4
        freedom = (square_a + square_b) ** 2 / (square_a**2 / 2 + square_b**2 / 3)
        assert 4 < freedom < 5
        difference = np.mean(np.log(b)) - np.mean(np.log(a))
        t = T[4] + (T[5] - T[4]) * (1 / 4 - 1 / freedom) / (1 / 4 - 1 / 5)
        half_width = t * np.sqrt(square_a + square_b)
        found = judge(of(a), of(b), GPU)
        value, interval = ratio_of(found)
        assert (found.verdict, found.reason) == ("faster", "processes")
        assert value == pytest.approx(np.exp(difference))
        assert interval == pytest.approx(np.exp([difference - half_width, difference + half_width]), rel=1e-5)

    def test_a_noisy_side_beside_a_quiet_one_has_its_own_degrees_of_freedom(self) -> None:
        """Pooled with four degrees the half-width were 1.60 σ; of the noisy one alone it is 2.48 σ."""
        sd = 0.01
        noisy = np.array([-sd, 0, sd])
        assert np.std(noisy, ddof=1) == pytest.approx(sd)
        for difference, verdict in ((2.0, "can't tell"), (2.45, "can't tell"), (2.52, "faster")):
            b = of(rates_of(noisy + math.log1p(GPU.least) + difference * sd), 1e-7)
            assert judge(of(rates_of([0, 0, 0]), 1e-7), b, at(0.001)).verdict == verdict

    @pytest.mark.parametrize(
        ("ratio", "verdict"),
        [(1.0, "same"), (1.0045, "same"), (1.0055, "faster"), (1 / 1.0045, "same"), (1 / 1.0055, "slower")],
    )
    def test_a_sure_difference_below_half_a_percent_is_none(self, ratio: float, verdict: str) -> None:
        a, b = of([1e12] * 3, 1e-5), of([ratio * 1e12] * 3, 1e-5)
        assert judge(a, b, GPU).verdict == verdict

    @pytest.mark.parametrize(("half_width", "verdict"), [(0.028, "same"), (0.031, "can't tell")])
    def test_same_is_an_interval_within_three_per_cent_on_every_kind_of_device(
        self, half_width: float, verdict: str
    ) -> None:
        sd = half_width / T[4] / math.sqrt(2 / 3)
        logs = np.array([-sd, 0, sd])
        for floor in (0.01, 0.03, 0.15):
            found = judge(of(rates_of(logs)), of(rates_of(logs)), at(floor))
            assert (found.verdict, found.reason) == (verdict, "processes" if verdict == "same" else "interval")
            assert math.log(ratio_of(found)[1].hi) == pytest.approx(half_width, rel=1e-4)

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize(("end", "verdict"), [(0.0293, "same"), (0.0298, "can't tell")])
    def test_that_is_as_far_off_below_as_above(self, end: float, verdict: str, sign: int) -> None:
        """On the log scale, from ±1 % beyond zero to an end of 2.93 or 2.98 %: log 1.03 is 2.956 %."""
        sd = (end + 0.01) / 2 / T[4] / math.sqrt(2 / 3)
        logs = np.array([-sd, 0, sd])
        b = of(rates_of(logs + sign * (end - 0.01) / 2))
        found = judge(of(rates_of(logs)), b, at(0.15))
        assert (found.verdict, found.reason) == (verdict, "processes" if verdict == "same" else "interval")
        ends = sorted(abs(math.log(one)) for one in ratio_of(found)[1])
        assert ends == pytest.approx([0.01, end], rel=1e-3)

    def test_a_difference_within_the_floor_is_one_if_the_processes_show_it(self) -> None:
        a, b = of([1e12, 1.001e12, 0.999e12]), of([1.02e12, 1.021e12, 1.019e12])
        assert judge(a, b, at(0.15)).verdict == "faster"
        assert judge(of(a.each[:2]), of(b.each[:2]), at(0.15)).verdict == "can't tell"

    def test_each_process_is_one_draw_however_sure_it_is_by_its_samples(self) -> None:
        sure, unsure = (of([1.02e12, 1.021e12, 1.019e12], error) for error in (1e-6, 0.05))
        a = of([1e12, 1.001e12, 0.999e12], 0.02)
        assert judge(a, unsure, GPU) == judge(a, sure, GPU)
        assert judge(a, unsure, GPU).verdict == "faster"

    @pytest.mark.parametrize("sds", [(0.01, 1e-6), (0.01, 0.02), (0.005, 0.001), (0.003, 0.003)])
    def test_each_side_has_its_own_scatter(self, sds: tuple[float, float]) -> None:
        a, b = (np.array([-sd, 0, sd]) for sd in sds)
        squares = np.array(sds) ** 2 / 3
        freedom = squares.sum() ** 2 / (squares**2 / 2).sum()
        assert 2 <= freedom <= 4
        found = judge(of(rates_of(a)), of(rates_of(b)), GPU)
        value, interval = ratio_of(found)
        half_width = student_t(freedom) * math.sqrt(squares.sum())
        assert math.log(interval.hi / value) == pytest.approx(half_width, rel=1e-4)


class TestFew:
    @pytest.mark.parametrize("count", [1, 2])
    @pytest.mark.parametrize(
        ("ratio", "floor", "verdict"),
        [
            (1.029, 0.03, "can't tell"),
            (1.034, 0.03, "faster"),
            (1 / 1.029, 0.03, "can't tell"),
            (1 / 1.034, 0.03, "slower"),
            (1.1, 0.15, "can't tell"),
            (1.16, 0.15, "faster"),
            (1 / 1.16, 0.15, "slower"),
        ],
    )
    def test_the_whole_interval_must_lie_beyond_the_floor(
        self, count: int, ratio: float, floor: float, verdict: str
    ) -> None:
        """Each side has ±0.196 %, the ratio therefore ±0.277 %."""
        found = judge(of([1e12] * count, 0.001), of([ratio * 1e12] * count, 0.001), at(floor))
        assert (found.verdict, found.reason) == (
            verdict, "within_floor" if verdict == "can't tell" else "beyond_floor",
        )  # fmt: skip
        value, interval = ratio_of(found)
        assert math.log(interval.hi / value) == pytest.approx(math.sqrt(2) * 1.96 * 0.001)

    def test_two_against_two_are_as_wide_as_both_of_each(self) -> None:
        found = judge(of([1e12, 1.02e12], 0.001), of([1.05e12, 1.05e12], 0.001), GPU)
        assert found.verdict == "can't tell"
        centre = math.sqrt(1e12 * 1.02e12)
        down = math.hypot(1.96e-3, math.log(1.02e12 / centre) + 1.96e-3)
        assert ratio_of(found)[1].lo == pytest.approx(1.05e12 / centre * math.exp(-down))
        assert judge(of([1e12] * 2, 0.001), of([1.05e12] * 2, 0.001), GPU).verdict == "faster"

    @pytest.mark.parametrize("count", [1, 2])
    def test_beside_repeats_a_few_may_lie_off_as_far_as_those_and_the_floor_more(self, count: int) -> None:
        logs = np.array([-0.01, 0.0, 0.01])
        freedom = 3 + count - 2
        scatter = np.sqrt(2 * 0.01**2 / freedom)
        half_width = T[freedom] * scatter * np.sqrt(1 / 3 + 1 / count)
        ends = [(GPU.least, "can't tell"), (GPU.floor - 0.001, "can't tell"), (GPU.floor + 0.001, "faster")]
        for end, verdict in ends:
            alone = of(rates_of([half_width + math.log1p(end)] * count))
            found = judge(of(rates_of(logs)), alone, GPU)
            assert (found.verdict, found.reason) == (verdict, "repeats" if verdict == "faster" else "within_floor")
            value, interval = ratio_of(found)
            assert math.log(interval.hi / value) == pytest.approx(half_width, rel=1e-4)
            assert judge(alone, of(rates_of(logs)), GPU).verdict == mirrored(found.verdict)

    @pytest.mark.parametrize("count", [1, 2])
    def test_beside_repeats_a_few_cannot_show_that_they_are_the_same(self, count: int) -> None:
        for error in (0.0001, 0.05):
            found = judge(of([1e12] * 5, error), of([1e12] * count, error), at(0.5))
            assert (found.verdict, found.reason) == ("can't tell", "within_floor")
            assert ratio_of(found)[1] == pytest.approx((1, 1))


class TestReasons:
    def test_of_several_the_first_is_told(self) -> None:
        codes = ("autocorrelated", "bimodal", "launch_bound")
        bare = one(1e12, 0.001, *codes, interval=False)
        for gone, reason in enumerate((*TAINTS.values(), "few_samples")):
            left = bare._replace(caveats=frozenset(codes[gone:]))
            assert judge(left, of([2e12] * 3), GPU).reason == reason

    @pytest.mark.parametrize("code", ["outliers", "not_flat", "hw_thermal_slowdown"])
    def test_what_is_no_taint_leaves_the_verdict(self, code: str) -> None:
        assert judge(of([1e12] * 3, 0.001, code), of([2e12] * 3), GPU).verdict == "faster"

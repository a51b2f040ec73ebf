"""The median's interval covers what it claims, dependence is merged or said, and ratios mirror each other."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import median

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import (
    Interval,
    count_outliers,
    is_bimodal,
    lag1_autocorrelation,
    median_interval,
    median_ranks,
    merge_neighbours,
    ratio_interval,
    summarise,
)

seconds = st.floats(min_value=1e-6, max_value=1e3, allow_nan=False)
samples_of = st.lists(seconds, min_size=6, max_size=60)
# Powers of two scale floats without rounding, so that equality is exact.
scales = st.integers(min_value=-20, max_value=20).map(lambda exponent: 2.0**exponent)


@cache
def _binomial_row(n: int) -> tuple[int, ...]:
    """Pascal's triangle, by addition."""
    if n == 0:
        return (1,)
    above = _binomial_row(n - 1)
    return (1, *(a + b for a, b in pairwise(above)), 1)


def _coverage(n: int, ranks: tuple[int, int]) -> float:
    """P(the median lies between two order statistics): lo < number of samples below it <= hi."""
    row = _binomial_row(n)
    return math.ldexp(sum(row[ranks[0] + 1 : ranks[1] + 1]), -n)


@pytest.mark.parametrize(("n", "per_cent"), [(6, 96.9), (7, 98.4), (8, 99.2), (9, 96.1)])
def test_the_coverage_at_few_samples_is_the_one_that_is_stated(n: int, per_cent: float) -> None:
    ranks = median_ranks(n)
    assert ranks is not None
    assert round(100 * _coverage(n, ranks), 1) == per_cent


@pytest.mark.parametrize("n", range(6))
def test_below_six_samples_there_is_no_interval(n: int) -> None:
    assert median_ranks(n) is None
    assert median_interval([1.0] * n) is None


@given(n=st.integers(min_value=6, max_value=400), confidence=st.sampled_from((0.8, 0.9, 0.95, 0.99)))
def test_the_ranks_are_the_narrowest_pair_with_the_confidence(n: int, confidence: float) -> None:
    ranks = median_ranks(n, confidence)
    if ranks is None:
        assert _coverage(n, (0, n - 1)) < confidence
        return
    lo, hi = ranks
    assert lo + hi == n - 1
    assert _coverage(n, ranks) >= confidence
    assert lo + 1 >= hi - 1 or _coverage(n, (lo + 1, hi - 1)) < confidence


def test_the_interval_is_made_of_the_ordered_samples_at_the_ranks() -> None:
    assert median_interval([9.0, 3.0, 7.0, 1.0, 5.0, 8.0, 2.0, 6.0, 4.0]) == Interval(2.0, 8.0)


@given(samples=samples_of)
def test_the_interval_holds_the_median_and_lies_within_the_samples(samples: list[float]) -> None:
    interval = median_interval(samples)
    assert interval is not None
    assert min(samples) <= interval.lo <= median(samples) <= interval.hi <= max(samples)


@given(samples=samples_of, data=st.data())
def test_order_matters_to_dependence_only(samples: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(samples))
    assert median_interval(shuffled) == median_interval(samples)
    assert is_bimodal(shuffled) == is_bimodal(samples)
    assert count_outliers(shuffled) == count_outliers(samples)


@given(samples=samples_of, scale=scales)
def test_another_unit_scales_the_interval_and_changes_nothing_else(samples: list[float], scale: float) -> None:
    here, there = summarise(samples), summarise([scale * value for value in samples])
    assert there.median == scale * here.median
    assert here.interval is not None
    assert there.interval == Interval(scale * here.interval.lo, scale * here.interval.hi)
    assert there[2:] == here[2:]
    assert there.half_width == here.half_width


@given(samples=samples_of)
def test_a_summary_s_median_lies_in_its_interval(samples: list[float]) -> None:
    summary = summarise(samples)
    assert summary.interval is not None
    assert summary.interval.lo <= summary.median <= summary.interval.hi
    assert summary.n == len(samples)


def test_half_width_is_half_the_interval_over_the_median() -> None:
    summary = summarise([90.0, 110.0, 100.0, 99.0, 101.0, 100.0])
    assert summary.interval == Interval(90.0, 110.0)
    assert summary.half_width == pytest.approx(0.1)
    assert summarise([1.0, 2.0]).half_width is None


@pytest.mark.parametrize(
    ("samples", "plain"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0.25),  # deviations -1.5 -0.5 0.5 1.5: (0.75 - 0.25 + 0.75) / 5
        ([1.0, -1.0, 1.0, -1.0], -0.75),  # (-1 - 1 - 1) / 4
        ([0.0, 0.0, 0.0, 4.0, 4.0, 4.0], 0.5),  # deviations of 2: (4 + 4 - 4 + 4 + 4) / 24
        ([2.0, 0.0, 1.0], -0.5),  # deviations 1 -1 0: (-1 + 0) / 2
    ],
)
def test_lag1_autocorrelation_by_hand_with_one_nth_for_the_bias(samples: list[float], plain: float) -> None:
    assert lag1_autocorrelation(samples) == pytest.approx(plain + 1 / len(samples))


@pytest.mark.parametrize("samples", [[], [1.0], [1.0, 2.0], [3.0] * 9])
def test_too_few_or_constant_samples_do_not_depend_on_each_other(samples: list[float]) -> None:
    assert lag1_autocorrelation(samples) == 0


def test_independent_samples_show_no_dependence_on_average() -> None:
    rng = np.random.default_rng(5)
    found = [lag1_autocorrelation(row.tolist()) for row in rng.normal(10, 1, (3000, 8))]
    assert abs(float(np.mean(found))) < 0.02


def test_merging_pairs_neighbours_and_drops_an_odd_first_one() -> None:
    assert merge_neighbours([1.0, 3.0, 10.0, 20.0]) == [2.0, 15.0]
    assert merge_neighbours([99.0, 1.0, 3.0, 10.0, 20.0]) == [2.0, 15.0]


@given(samples=st.lists(seconds, max_size=40).filter(lambda samples: len(samples) % 2 == 0))
def test_merging_keeps_the_sum_of_an_even_number(samples: list[float]) -> None:
    assert 2 * math.fsum(merge_neighbours(samples)) == pytest.approx(math.fsum(samples), rel=1e-12)


def test_samples_in_equal_pairs_are_merged_once_and_are_then_independent() -> None:
    values = [10.0, 14.0, 9.0, 13.0, 11.0, 12.0, 8.0, 15.0]
    summary = summarise([value for value in values for _ in range(2)])
    assert (summary.merged, summary.autocorrelated, summary.n) == (2, False, 16)
    assert summary.interval == median_interval(values)
    assert summary.median == median(values)


def test_a_drift_that_merging_cannot_undo_is_flagged_and_keeps_an_interval() -> None:
    summary = summarise([1.0 + 0.01 * step for step in range(24)])
    assert (summary.merged, summary.autocorrelated, summary.n) == (4, True, 24)
    assert summary.interval is not None
    assert summary.interval.lo < summary.median < summary.interval.hi


def test_merging_stops_before_fewer_than_six_samples_are_left() -> None:
    assert summarise([1.0 + step for step in range(11)]).merged == 1
    assert summarise([1.0 + step for step in range(12)]).merged == 2


def test_taking_turns_is_no_positive_dependence() -> None:
    summary = summarise([1.0, 2.0] * 10)
    assert (summary.merged, summary.autocorrelated) == (1, False)


@pytest.mark.parametrize(
    "samples",
    [[], [1.0, math.nan, 2.0], [math.inf] * 7, [1.0, 0.0], [2.0, -1.0], [-math.inf]],
)
def test_samples_that_are_no_times_are_refused(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, positive and at least one"):
        summarise(samples)


def test_outliers_are_counted_on_both_sides_and_kept() -> None:
    quiet = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1]
    summary = summarise([*quiet, 150.0, 60.0])
    assert summary.outliers == 2
    assert summary.n == 10
    assert summarise(quiet).outliers == 0


def test_an_outlier_begins_at_three_scaled_deviations() -> None:
    spread = [-2.0, -1.0, -1.0, 0.0, 1.0, 1.0, 2.0]  # median deviation 1, so the limit is 4.4478
    assert count_outliers([10 + value for value in [*spread, -4.4, 4.4]]) == 0
    assert count_outliers([10 + value for value in [*spread, -4.5, 4.5]]) == 2


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([1.0, 1.01, 1.02, 1.01, 1.0, 2.0, 2.01, 2.02, 2.01, 2.0], True),
        ([1.0, 1.01, 1.02, 1.01, 2.0, 2.01, 2.02, 2.0, 2.01], False),  # nine are too few to say
        ([1.0 + 0.1 * step for step in range(12)], False),  # evenly spread
        ([1.0, 1.01, 1.02, 1.01, 1.0, 1.0, 1.01, 1.02, 1.0, 2.0, 2.0], False),  # two of eleven are outliers
        ([1.0] * 6 + [1.005] * 6, False),  # the steps of a quiet clock
        ([1.0] * 12, False),
    ],
)
def test_two_speeds_are_two_groups_with_a_wide_gap(samples: list[float], expected: bool) -> None:
    assert is_bimodal(samples) is expected
    assert summarise(samples).bimodal is expected


def _median_and_interval(samples: Sequence[float]) -> tuple[float, Interval]:
    interval = median_interval(samples)
    assert interval is not None
    return median(samples), interval


def test_a_ratio_s_interval_is_that_of_resampled_medians() -> None:
    rng = np.random.default_rng(11)
    above, below = rng.lognormal(3.0, 0.10, 151), rng.lognormal(1.0, 0.05, 101)

    def resampled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        medians: npt.NDArray[np.float64] = np.median(rng.choice(values, (6000, len(values))), axis=1)
        return medians

    lo, hi = np.quantile(resampled(above) / resampled(below), (0.025, 0.975))
    interval = ratio_interval(*_median_and_interval(above.tolist()), *_median_and_interval(below.tolist()))
    width = float(hi - lo)
    assert interval.lo == pytest.approx(float(lo), abs=0.2 * width)
    assert interval.hi == pytest.approx(float(hi), abs=0.2 * width)


@st.composite
def estimates(draw: st.DrawFn) -> tuple[float, Interval]:
    lo, middle, hi = sorted(draw(st.tuples(seconds, seconds, seconds)))
    return middle, Interval(lo, hi)


@given(a=estimates(), b=estimates())
def test_the_ratio_the_other_way_round_is_the_mirror_image(
    a: tuple[float, Interval], b: tuple[float, Interval]
) -> None:
    there, back = ratio_interval(*a, *b), ratio_interval(*b, *a)
    assert back.lo == pytest.approx(1 / there.hi)
    assert back.hi == pytest.approx(1 / there.lo)
    assert there.lo <= a[0] / b[0] * (1 + 1e-12)
    assert there.hi >= a[0] / b[0] * (1 - 1e-12)


@given(a=estimates(), exact=seconds)
def test_over_an_exact_figure_the_interval_only_scales(a: tuple[float, Interval], exact: float) -> None:
    found = ratio_interval(*a, exact, Interval(exact, exact))
    assert found == pytest.approx((a[1].lo / exact, a[1].hi / exact))


def test_independent_errors_add_in_quadrature() -> None:
    """Both sides 3 % and 4 % (on the log scale) make 5 %, and each end takes the distances that move it."""
    a = (10.0, Interval(10.0 * math.exp(-0.03), 10.0 * math.exp(0.06)))
    b = (5.0, Interval(5.0 * math.exp(-0.08), 5.0 * math.exp(0.04)))
    assert ratio_interval(*a, *b) == pytest.approx((2 * math.exp(-0.05), 2 * math.exp(0.10)))


@pytest.mark.parametrize("n", [6, 9, 10, 17, 30])
def test_the_interval_covers_the_true_median_of_independent_samples(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = 1 + rng.exponential(1.0, (2000, n))  # skewed, as timings are; median 1 + ln 2
    intervals = [summarise(row).interval for row in rows.tolist()]
    covered = [i is not None and i.lo <= 1 + math.log(2) <= i.hi for i in intervals]
    assert sum(covered) / len(covered) >= 0.93


def test_the_ratio_s_interval_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(3)
    above, below = rng.lognormal(1.0, 0.05, (1500, 12)), rng.lognormal(0.0, 0.02, (1500, 9))
    pairs = zip(above.tolist(), below.tolist(), strict=True)
    found = [ratio_interval(*_median_and_interval(a), *_median_and_interval(b)) for a, b in pairs]
    assert np.mean([i.lo <= math.e <= i.hi for i in found]) >= 0.93

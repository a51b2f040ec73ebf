"""The median's interval covers what it claims, dependence widens it or is said, and ratios mirror each other."""

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
    MIN_SAMPLES,
    Interval,
    Summary,
    count_outliers,
    drifts,
    effective_samples,
    lag1_autocorrelation,
    median_interval,
    median_ranks,
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


@pytest.mark.parametrize("n", [1000, 1001, 1002, 5000, 12_001])
def test_the_ranks_of_many_samples_are_those_of_exact_arithmetic(n: int) -> None:
    """Of a load that lasted for hours there are very many; they are not counted one tail after the other."""
    chance, tail, rank = 1, 0, -1
    while 40 * (tail + chance) <= 1 << n:  # a tail of 2.5 %
        tail, rank = tail + chance, rank + 1
        chance = chance * (n - rank) // (rank + 1)
    assert median_ranks(n) == (rank, n - 1 - rank)


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
    here, there = summarise(samples), summarise(shuffled)
    for name in ("median", "n", "bimodal", "outliers"):
        assert getattr(there, name) == getattr(here, name)
    assert here.interval is not None
    if lag1_autocorrelation(shuffled) == lag1_autocorrelation(samples) and drifts(shuffled) == drifts(samples):
        assert there == here
    if there.effective < here.effective:
        assert there.half_width is not None
        assert here.half_width is not None
        assert there.half_width >= here.half_width


@given(samples=samples_of, scale=scales)
def test_another_unit_scales_the_interval_and_changes_nothing_else(samples: list[float], scale: float) -> None:
    here, there = summarise(samples), summarise([scale * value for value in samples])
    assert here.interval is not None
    assert there.interval == (scale * here.interval.lo, scale * here.interval.hi)
    assert there.median == scale * here.median
    assert there[2:] == here[2:]
    assert there.half_width == here.half_width


@given(samples=samples_of)
def test_a_summary_s_median_lies_in_its_interval_which_is_never_narrower_than_the_ranks(
    samples: list[float],
) -> None:
    summary, plain = summarise(samples), median_interval(samples)
    assert summary.interval is not None
    assert plain is not None
    assert summary.median == median(samples)
    assert summary.interval.lo <= summary.median <= summary.interval.hi
    assert summary.interval.lo <= plain.lo * (1 + 1e-12)
    assert summary.interval.hi >= plain.hi * (1 - 1e-12)
    assert summary.n == len(samples)


def test_half_width_is_half_the_interval_over_the_median() -> None:
    summary = Summary(100.0, Interval(90.0, 110.0), 6, 6.0, autocorrelated=False, bimodal=False, outliers=0)
    assert summary.half_width == 0.1
    assert summarise([1.0, 2.0]).half_width is None
    found = summarise([90.0, 110.0, 100.0, 99.0, 101.0, 100.0])
    assert found.interval is not None
    assert found.half_width == (found.interval.hi - found.interval.lo) / 200


@pytest.mark.parametrize(
    ("samples", "plain"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0.25),  # deviations -1.5 -0.5 0.5 1.5: (0.75 - 0.25 + 0.75) / 5
        ([1.0, -1.0, 1.0, -1.0], -0.75),  # (-1 - 1 - 1) / 4
        ([0.0, 0.0, 0.0, 4.0, 4.0, 4.0], 0.5),  # deviations of 2: (4 + 4 - 4 + 4 + 4) / 24
        ([2.0, 0.0, 1.0], -0.5),  # deviations 1 -1 0: (-1 + 0) / 2
    ],
)
def test_lag1_autocorrelation_by_hand_with_its_bias(samples: list[float], plain: float) -> None:
    """1/n where there is none, and 3r/n more where it is positive."""
    assert lag1_autocorrelation(samples) == pytest.approx(plain + (1 + 3 * max(plain, 0)) / len(samples))


@pytest.mark.parametrize("samples", [[], [1.0], [1.0, 2.0]])
def test_too_few_samples_do_not_depend_on_each_other(samples: list[float]) -> None:
    assert lag1_autocorrelation(samples) == 0


@pytest.mark.parametrize("value", [3.0, 1e-3, 0.1, 1.0491e-3])
def test_constant_samples_do_not_depend_on_each_other(value: float) -> None:
    """Their mean in binary may differ from each of them: that is no dependence."""
    for n in range(1, 90):
        assert lag1_autocorrelation([value] * n) == 0
        assert not summarise([value] * n).autocorrelated


@pytest.mark.parametrize("n", [6, 8, 20])
def test_independent_samples_show_no_dependence_on_average(n: int) -> None:
    """In fact a little, by the correction's 3r/n of positive r, which at few samples errs to the safe side."""
    rng = np.random.default_rng(5)
    found = [lag1_autocorrelation(row.tolist()) for row in rng.normal(10, 1, (3000, n))]
    assert -0.02 < float(np.mean(found)) < 0.6 / n


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
def test_dependent_samples_show_most_of_it_on_average(rho: float) -> None:
    """Without its correction for 3r/n, twelve would show less than two thirds of 0.8."""
    rng = np.random.default_rng(6)
    rows = rng.normal(0, 1, (3000, 12))
    for step in range(1, 12):
        rows[:, step] = rho * rows[:, step - 1] + math.sqrt(1 - rho**2) * rows[:, step]
    found = float(np.mean([lag1_autocorrelation(row.tolist()) for row in rows]))
    assert 0.75 * rho < found < rho + 0.05


@pytest.mark.parametrize(
    ("n", "correlation", "effective"),
    [(30, 0.0, 30.0), (30, 0.5, 10.0), (88, 0.6, 22.0), (12, 1.0, 0.0), (12, -0.7, 12.0), (12, 1.2, 0.0)],
)
def test_dependent_samples_are_worth_fewer(n: int, correlation: float, effective: float) -> None:
    assert effective_samples(n, correlation) == pytest.approx(effective)


# Deviations of 100 are 2 2 -2 -2 -2 -2 -2 -2 2 2 2 2: nine of eleven products are positive, and all as large, so
# that r = (9 - 2) / 12, and with its bias 7/12 + (1 + 21/12) / 12 = 13/16.
IN_RUNS = [102.0] * 2 + [98.0] * 6 + [102.0] * 4


def test_what_they_are_worth_by_hand() -> None:
    found = summarise(IN_RUNS)
    assert found.effective == pytest.approx(12 * (3 / 16) / (29 / 16))
    assert not found.autocorrelated  # 1.24 is fewer than six, but 0.8125 is below 3.09 / sqrt(12) = 0.892
    assert (found.n, found.median) == (12, 100.0)


def widened(centre: float, end: float, rho: float) -> float:
    """The end's distance on the log scale, times the square root of (1 + rho) / (1 - rho)."""
    return centre * math.exp(math.log(end / centre) * math.sqrt((1 + rho) / (1 - rho)))


@pytest.mark.parametrize(
    ("samples", "ends", "plain"),
    [
        # Deviations of the mean 100: -2 4 -1 1 -4 2, products -8 -4 -1 -4 -8, squares 42.
        ([98.0, 104.0, 99.0, 101.0, 96.0, 102.0], (96.0, 104.0), -25 / 42),
        # 1 1 -1 -1 1 1 -1 -1 1 -1: 1 -1 1 -1 1 -1 1 -1 -1, and ranks 2 and 9 of ten.
        ([101.0, 101.0, 99.0, 99.0, 101.0, 101.0, 99.0, 99.0, 101.0, 99.0], (99.0, 101.0), -0.1),
        # 1 1 1 -1 -1 -1 1 -1 1 -1: 1 1 -1 1 1 -1 -1 -1 -1.
        ([101.0, 101.0, 101.0, 99.0, 99.0, 99.0, 101.0, 99.0, 101.0, 99.0], (99.0, 101.0), -0.1),
        # 1 1 1 -1 -1 -1 -1 1 1 -1: 1 1 -1 1 1 1 -1 1 -1.
        ([101.0, 101.0, 101.0, 99.0, 99.0, 99.0, 99.0, 101.0, 101.0, 99.0], (99.0, 101.0), 0.3),
    ],
)
def test_the_interval_is_as_wide_as_the_largest_dependence_that_is_not_excluded(
    samples: list[float], ends: tuple[float, float], plain: float
) -> None:
    """The correlation with its bias, and 1.645 standard errors of 1/sqrt(n) more, but not more than 0.95."""
    n = len(samples)
    rho = min(max(plain + (1 + 3 * max(plain, 0)) / n + 1.645 / math.sqrt(n), 0), 0.95)
    assert median_interval(samples) == ends
    found = summarise(samples)
    assert found.interval == pytest.approx((widened(100, ends[0], rho), widened(100, ends[1], rho)), rel=1e-9)


def test_at_0_95_of_dependence_it_ends() -> None:
    """The square root of 1.95 / 0.05 is 6.245; two hundred that only rise show more than that."""
    rising = [math.exp(0.001 * step) for step in range(-100, 101)]
    lo, hi = median_ranks(201) or (0, 0)
    found = summarise(rising).interval
    assert found is not None
    assert (math.log(found.lo), math.log(found.hi)) == pytest.approx(
        (-0.006245 * (100 - lo), 0.006245 * (hi - 100)), rel=1e-4
    )


@pytest.mark.parametrize(("n", "least", "most"), [(6, 2.0, 3.0), (12, 1.5, 2.0), (50, 1.2, 1.4), (900, 1.03, 1.1)])
def test_few_independent_samples_are_widened_more_than_many(n: int, least: float, most: float) -> None:
    """At a correlation of 0, by 2.26 for six (0.67 not excluded), and by 1.06 for 900 (0.055 not)."""
    factors = []
    for row in np.exp(np.random.default_rng(9).normal(0, 0.01, (100, n))).tolist():
        plain, found = median_interval(row), summarise(row).interval
        assert plain is not None
        assert found is not None
        factors.append(math.log(found.hi / found.lo) / math.log(plain.hi / plain.lo))
    assert least < median(factors) < most


def test_taking_turns_is_no_positive_dependence() -> None:
    """The upper end is below 0 too, so that the interval is that of the ranks."""
    found = summarise([1.0, 2.0] * 10)
    assert (found.autocorrelated, found.effective) == (False, 20.0)
    assert found.interval == pytest.approx((1.0, 2.0))


def test_a_drift_is_flagged_and_keeps_an_interval() -> None:
    summary = summarise([1.0 + 0.01 * step for step in range(24)])
    assert (summary.autocorrelated, summary.n) == (True, 24)
    assert summary.effective < 1
    assert summary.interval is not None
    assert summary.interval.lo < summary.median < summary.interval.hi


def test_dependence_is_said_only_if_it_is_beyond_doubt() -> None:
    """What only rises has 1 - 3/n + (4 - 9/n)/n with its bias: from ten on, more than 3.09 / sqrt(n).

    Of fewer that is in no doubt either, but by their order alone.
    """
    rising = [1.0 + 0.01 * step for step in range(40)]
    for n in range(6, 41):
        found = summarise(rising[:n])
        correlation = 1 - 3 / n + (4 - 9 / n) / n
        assert lag1_autocorrelation(rising[:n]) == pytest.approx(correlation)
        assert found.effective < MIN_SAMPLES
        assert (correlation > 3.09 / math.sqrt(n)) == (n >= 10) == (not drifts(rising[:n]))
        assert found.autocorrelated


@pytest.mark.parametrize(("n", "most"), [(6, 0.0054), (8, 0.0054), (9, 0.0054), (20, 0.0024), (88, 0.0)])
def test_independent_samples_are_hardly_ever_called_dependent(n: int, most: float) -> None:
    """In one of a thousand, and two standard errors of that; of fewer than ten, 0.3 % more drift by chance."""
    rows = np.random.default_rng(8).normal(10, 1, (2000, n)).tolist()
    assert np.mean([summarise(row).autocorrelated for row in rows]) <= most


def test_dependent_samples_that_are_worth_six_are_not_flagged() -> None:
    """A correlation of 0.5 is sure of two hundred, and they are worth 67: widened, no more."""
    steps, value, samples = np.random.default_rng(4).normal(0, 0.01, 200).tolist(), 0.0, []
    for step in steps:
        value = 0.5 * value + step
        samples.append(math.exp(value))
    found = summarise(samples)
    assert lag1_autocorrelation(samples) > 3.09 / math.sqrt(200)
    assert 30 < found.effective < 120
    assert not found.autocorrelated


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

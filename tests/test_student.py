"""Student's t is that of the tables, and a difference of two means is called one no oftener than it may be.

Welch's degrees are an approximation: where three to five values a side scatter alike, equal means are called
different in less than 5 % of the trials, but in up to 6.4 % where one side scatters four times as much as the
other, or three stand against eight.

So few samples that a correlation cannot show are called a drift by their order, as one in 300 orders is by chance.
"""

import math
from collections.abc import Sequence
from itertools import pairwise, permutations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stats import drifts, mean_half_width, pooled_t, student_t, summarise, welch

# Two-sided, as printed in the tables of every textbook: 95 % and 99 %.
TABLE = {
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    5: (2.571, 4.032),
    6: (2.447, 3.707),
    7: (2.365, 3.499),
    8: (2.306, 3.355),
    9: (2.262, 3.250),
    10: (2.228, 3.169),
    20: (2.086, 2.845),
    30: (2.042, 2.750),
    60: (2.000, 2.660),
    120: (1.980, 2.617),
}
DRAWS = 4000


def allowed(share: float, draws: int = DRAWS) -> float:
    """Return the share and two standard errors of it in so many draws."""
    return share + 2 * math.sqrt(share * (1 - share) / draws)


ALLOWED = allowed(0.05)

values = st.floats(min_value=-1e3, max_value=1e3, allow_nan=False).map(lambda value: round(value, 6))
several = st.lists(values, min_size=2, max_size=7)
# Powers of two scale floats without rounding.
scales = st.integers(min_value=-20, max_value=20).map(lambda exponent: 2.0**exponent)


@pytest.mark.parametrize("freedom", TABLE)
def test_t_is_that_of_the_table(freedom: int) -> None:
    found = tuple(round(student_t(freedom, confidence), 3) for confidence in (0.95, 0.99))
    assert found == TABLE[freedom]


def test_without_saying_so_it_is_that_of_95_per_cent() -> None:
    assert student_t(4) == student_t(4, 0.95)


# Two-sided 95 % points for degrees between whole ones: the density integrated numerically.
TRUE = {2.1: 4.112153, 2.25: 3.875480, 2.5: 3.574655, 3.3: 3.024874, 3.5: 2.940089, 5.5: 2.501859, 8.5: 2.282605}


@pytest.mark.parametrize("freedom", TRUE)
def test_between_whole_degrees_it_is_close_to_the_true_one_and_never_below(freedom: float) -> None:
    """By 1.6 % at most between two and three degrees, which three processes a side have at least; then 0.4 %."""
    assert 1 <= student_t(freedom) / TRUE[freedom] <= 1 + (0.004 if freedom > 3 else 0.017)


@settings(max_examples=40)
@given(st.integers(1, 200), st.floats(0, 1))
def test_between_whole_degrees_it_is_interpolated_in_their_reciprocals(below: int, part: float) -> None:
    freedom = 1 / ((1 - part) / below + part / (below + 1))
    mixed = (1 - part) * student_t(below) + part * student_t(below + 1)
    assert student_t(max(freedom, 1.0)) == pytest.approx(mixed)


@settings(max_examples=40)
@given(st.floats(1, 200), st.floats(1, 200))
def test_it_never_rises_with_the_freedom(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert student_t(low) >= student_t(high) * (1 - 1e-12)


@settings(max_examples=30)
@given(st.integers(1, 200), st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_it_rises_with_the_confidence(freedom: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if high - low > 1e-6:
        assert student_t(freedom, low) < student_t(freedom, high)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.99, 0.999])
def test_it_falls_with_the_freedom_towards_the_normal_quantile(confidence: float) -> None:
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    found = [student_t(freedom, confidence) for freedom in (*range(1, 80), 200, 1000, 5000)]
    assert all(sooner > later for sooner, later in pairwise(found))
    assert normal < found[-1] == pytest.approx(normal, rel=2e-3)


@pytest.mark.parametrize("freedom", [0, -1, 0.99])
def test_without_a_degree_of_freedom_there_is_none(freedom: int) -> None:
    with pytest.raises(ValueError, match="degree of freedom"):
        student_t(freedom)


A = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9]
B = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2]


def test_welch_by_numpy_s_variances() -> None:
    squares = [np.var(side, ddof=1) / len(side) for side in (A, B)]
    freedom = float(sum(squares) ** 2 / (squares[0] ** 2 / 6 + squares[1] ** 2 / 9))
    assert 8 < freedom < 9
    found = welch(A, B)
    assert found.difference == pytest.approx(np.mean(A) - np.mean(B))
    assert found.freedom == pytest.approx(freedom)
    assert 2.262 * np.sqrt(sum(squares)) < found.half_width < 2.306 * np.sqrt(sum(squares))
    assert found.half_width == pytest.approx(student_t(freedom) * np.sqrt(sum(squares)))


def test_pooled_by_numpy_s_variances() -> None:
    pooled = (6 * np.var(A, ddof=1) + 9 * np.var(B, ddof=1)) / 15
    found = pooled_t(A, B)
    assert found.difference == pytest.approx(np.mean(A) - np.mean(B))
    assert found.freedom == 15
    assert found.half_width == pytest.approx(2.1314 * np.sqrt(pooled * (1 / 7 + 1 / 10)), rel=1e-4)


def test_against_a_single_value_the_other_side_s_scatter_stands_for_both() -> None:
    """Deviations -1 0 1 of the three, so the variance is 1; and 4.303 sqrt(1/3 + 1)."""
    found = pooled_t([4.0, 5.0, 6.0], [2.0])
    assert (found.difference, found.freedom) == (3.0, 2)
    assert found.half_width == pytest.approx(4.303 * (4 / 3) ** 0.5, rel=1e-3)


def test_the_half_width_of_a_mean_by_hand() -> None:
    """Variance 1 of three values: 4.303 / sqrt(3)."""
    assert mean_half_width([4.0, 5.0, 6.0]) == pytest.approx(4.303 / 3**0.5, rel=1e-3)


@settings(max_examples=40)
@given(several, several)
def test_the_other_way_round_only_the_sign_is_another(a: list[float], b: list[float]) -> None:
    there, back = welch(a, b), welch(b, a)
    assert back.difference == -there.difference
    assert back[1:] == pytest.approx(there[1:])
    pooled = pooled_t(a, b), pooled_t(b, a)
    assert pooled[1].difference == -pooled[0].difference
    assert pooled[1][1:] == pytest.approx(pooled[0][1:])


@settings(max_examples=40)
@given(several, several, scales)
def test_another_unit_scales_both_and_leaves_the_freedom(a: list[float], b: list[float], scale: float) -> None:
    more_a, more_b = [scale * value for value in a], [scale * value for value in b]
    for difference in (welch, pooled_t):
        here, there = difference(a, b), difference(more_a, more_b)
        assert there.difference == scale * here.difference
        assert there[1:] == pytest.approx((scale * here.half_width, here.freedom))


@settings(max_examples=60)
@given(several, several)
def test_the_freedom_is_between_that_of_the_side_with_fewer_and_that_of_both(
    a: list[float], b: list[float]
) -> None:
    found = welch(a, b)
    assert min(len(a), len(b)) - 1 <= found.freedom <= (len(a) + len(b) - 2) * (1 + 1e-12)
    own = sum(np.var(side, ddof=1) / len(side) for side in (a, b)) ** 0.5
    assert found.half_width == pytest.approx(student_t(found.freedom) * own)


@pytest.mark.parametrize(("sd", "freedom"), [(0.0, 2), (0.25, 2.249), (0.5, 2.941), (1.0, 4.0), (4.0, 2.249)])
def test_the_freedom_of_three_against_three_by_how_much_one_side_scatters_more(sd: float, freedom: float) -> None:
    """Of variances 1 and s², 2 (1 + s²)² / (1 + s⁴): two of the noisier side alone, four of two alike."""
    found = welch([-1.0, 0.0, 1.0], [-sd, 0.0, sd])
    assert found.freedom == pytest.approx(freedom, abs=1e-3)


def test_values_that_are_all_the_same_differ_without_error() -> None:
    assert welch([2.0] * 3, [1.0] * 4) == (1.0, 0.0, 2)
    assert pooled_t([2.0] * 3, [1.0] * 4) == (1.0, 0.0, 5)
    assert mean_half_width([2.0] * 3) == 0


def rows(seed: int, count: int, sd: float = 1.0, *, draws: int = DRAWS) -> list[list[float]]:
    made: list[list[float]] = np.random.default_rng(seed).normal(10, sd, (draws, count)).tolist()
    return made


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def called_by_welch(count: int, other: int, sd: float, draws: int) -> float:
    sides = zip(rows(1, count, draws=draws), rows(2, other, sd, draws=draws), strict=True)
    return share([abs(one.difference) > one.half_width for one in (welch(a, b) for a, b in sides)])


def calls_few_different(count: int, other: int, sd: float, draws: int) -> None:
    most = 0.05 if sd == 1 and max(count, other) <= 5 else 0.064
    assert 0.02 <= called_by_welch(count, other, sd, draws) <= allowed(most, draws)


@pytest.mark.parametrize(("count", "other", "sd"), [(3, 3, 1.0), (5, 3, 1.0), (3, 3, 4.0), (3, 8, 0.25)])
def test_welch_calls_equal_means_different_in_one_of_twenty(count: int, other: int, sd: float) -> None:
    calls_few_different(count, other, sd, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(("count", "other"), [(3, 3), (5, 3), (5, 5), (3, 8)])
def test_it_does_so_however_they_scatter(count: int, other: int, sd: float) -> None:
    calls_few_different(count, other, sd, 20_000)


@pytest.mark.parametrize(("count", "other"), [(5, 1), (1, 3), (3, 3)])
def test_so_does_pooling_if_both_sides_scatter_alike(count: int, other: int) -> None:
    found = [pooled_t(a, b) for a, b in zip(rows(3, count), rows(4, other), strict=True)]
    called = share([abs(one.difference) > one.half_width for one in found])
    assert 0.1 - ALLOWED <= called <= ALLOWED


def test_a_difference_of_five_deviations_is_called_one() -> None:
    found = [welch(a, b) for a, b in zip(rows(5, 5, draws=2000), rows(6, 5, draws=2000), strict=True)]
    assert share([abs(one.difference + 5) > one.half_width for one in found]) > 0.99


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_interval_of_a_mean_covers_it(count: int) -> None:
    covered = share([abs(sum(row) / count - 10) <= mean_half_width(row) for row in rows(7, count)])
    assert 1 - ALLOWED <= covered <= 0.9 + ALLOWED


# How many of all pairs may be out of order if so many samples are said to drift.
OUT_OF_ORDER = {6: 0, 7: 1, 8: 2, 9: 4}


def bubbled(n: int, swaps: int) -> list[float]:
    """Return 1 to n with exactly so many pairs out of order."""
    order = [float(value) for value in range(1, n + 1)]
    for at in range(swaps):
        place = n - 2 - at  # the last goes forward, one place a swap
        order[place], order[place + 1] = order[place + 1], order[place]
    return order


@pytest.mark.parametrize(("n", "most"), OUT_OF_ORDER.items())
def test_a_drift_is_so_many_samples_next_to_none_of_which_is_out_of_order(n: int, most: int) -> None:
    for swaps in range(n):
        there = bubbled(n, swaps)
        for samples in (there, there[::-1]):
            assert drifts(samples) == (swaps <= most)
            assert summarise(samples).autocorrelated == (swaps <= most)


@pytest.mark.parametrize("n", OUT_OF_ORDER)
@given(data=st.data())
def test_what_only_rises_or_falls_drifts_however_little(n: int, data: st.DataObject) -> None:
    steps = st.lists(st.floats(1e-9, 1e3), min_size=n, max_size=n, unique=True)
    rising = sorted(data.draw(steps))
    assert drifts(rising)
    assert drifts(rising[::-1])


@pytest.mark.parametrize("n", [6, 7, 8])
def test_of_all_orders_at_most_three_in_a_thousand_are_a_drift(n: int) -> None:
    assert 0 < sum(map(drifts, permutations(range(n)))) <= 0.003 * math.factorial(n)


@pytest.mark.parametrize("n", OUT_OF_ORDER)
def test_of_normal_samples_at_most_four_in_a_thousand_are_called_a_drift(n: int) -> None:
    rows = np.random.default_rng(n).normal(10, 1, (10_000, n)).tolist()
    assert np.mean([drifts(row) for row in rows]) <= 0.004


@pytest.mark.parametrize("n", [0, 1, 2, 5, 10, 11, 40])
def test_fewer_than_six_show_none_and_of_ten_and_more_the_correlation_tells(n: int) -> None:
    rising = [1.0 + step for step in range(n)]
    assert not drifts(rising)
    assert not drifts(rising[::-1])


@pytest.mark.parametrize("n", OUT_OF_ORDER)
def test_what_does_not_move_does_not_drift(n: int) -> None:
    assert not drifts([1.0] * n)


@pytest.mark.parametrize("odd", [[1, 1, 1, 1, 1, 1.01], [1.01, 1, 1, 1, 1, 1, 1, 1], [1.0] * 7])
def test_a_steady_clock_with_one_odd_sample_does_not_drift(odd: list[float]) -> None:
    """Equal samples neither rise nor fall."""
    assert not drifts(odd)

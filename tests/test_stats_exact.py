"""Statistics in exact cases: the very edge of a limit, sizes that can be counted by hand, units that are tiny."""

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations

import pytest

from bench import stats
from bench.stats import (
    Interval,
    Robust,
    count_outliers,
    drifts,
    effective_samples,
    is_bimodal,
    lag1_autocorrelation,
    median_interval,
    median_ranks,
    outlier_limit,
    robust,
    student_t,
    summarise,
)


def test_a_coverage_that_is_exactly_the_confidence_is_enough() -> None:
    """The extremes of six bound the median in 62 of 64 cases."""
    assert median_ranks(6, 62 / 64) == (0, 5)
    assert median_ranks(6, math.nextafter(62 / 64, 1)) is None


@pytest.mark.parametrize(("n", "ranks"), [(1, (0, 0)), (2, (0, 1)), (6, (2, 3)), (7, (3, 3))])
def test_with_no_confidence_the_middle_is_enough(n: int, ranks: tuple[int, int]) -> None:
    assert median_ranks(n, 0.0) == ranks


def test_less_confidence_is_a_narrower_interval() -> None:
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0, 7.0, 6.0], 0.0) == Interval(4.0, 4.0)


@pytest.mark.parametrize("n", [2, 5, 6, 7])
def test_few_inversions_are_those_of_so_few_orders(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever share of orders counts as few; counted over all orders there are."""
    orders = Counter(sum(a > b for a, b in combinations(order, 2)) for order in permutations(range(n)))
    share = Fraction(0)
    for most in range(n * (n - 1) // 4):
        share += Fraction(2 * orders[most], math.factorial(n))
        for few, told in ((share * Fraction("1.000001"), most), (share * Fraction("0.999999"), most - 1)):
            monkeypatch.setattr(stats, "_BY_CHANCE", float(few))
            assert stats._few_inversions.__wrapped__(n) == told


def test_dependence_does_not_hang_on_the_unit_of_quiet_samples() -> None:
    quiet = [1 + 1e-7 * step for step in (0, 1, 3, 2, 4, 6, 5, 7, 9, 8)]
    rho = lag1_autocorrelation(quiet)
    assert rho > 0.5
    for unit in (1e-6, 1e6):
        assert lag1_autocorrelation([unit * value for value in quiet]) == pytest.approx(rho, rel=1e-6)
    assert lag1_autocorrelation([0.0] * 9) == 0.0


def test_beside_equal_samples_no_other_is_an_outlier() -> None:
    """Their deviation is zero, of which nothing lies three away."""
    assert count_outliers([1.0] * 6 + [2.0]) == 0


@pytest.mark.parametrize("n", [12, 13, 19, 20])
@pytest.mark.parametrize("unit", [1e-3, 40.0])
def test_a_mode_has_a_quarter_of_the_samples_on_either_side(n: int, unit: float) -> None:
    least = math.ceil(n / 4)
    for few in range(n + 1):
        samples = [unit * (1 + 0.0001 * (step % 3)) for step in range(few)]
        samples += [unit * (1.05 + 0.0001 * (step % 3)) for step in range(n - few)]
        assert is_bimodal(samples) == (least <= few <= n - least), few


@pytest.mark.parametrize("unit", [1e-3, 40.0])
def test_modes_are_over_a_hundredth_of_the_median_apart(unit: float) -> None:
    for n in (10, 20):
        for apart, told in ((0.0098, False), (0.0103, True)):
            assert is_bimodal([unit] * (n // 2) + [unit * (1 + apart)] * (n // 2)) is told


def test_a_gap_of_half_the_range_is_not_two_modes_and_one_over_it_is() -> None:
    for middle, told in ((6.0, False), (6.5, True)):
        low, high = [1.0, 1.5, 2.0, 2.25, 2.5], [middle + 0.5, middle + 1, middle + 1.5, middle + 2, 9.0]
        assert is_bimodal(low + high) is told


def test_nine_samples_are_too_few_for_two_modes() -> None:
    assert not is_bimodal([1.0] * 4 + [2.0] * 5)
    assert is_bimodal([1.0] * 5 + [2.0] * 5)


@pytest.mark.parametrize(("n", "told"), [(5, False), (6, True), (9, True), (10, False)])
def test_six_to_nine_that_only_rise_are_a_drift(n: int, *, told: bool) -> None:
    assert drifts([float(step) for step in range(n)]) is told
    assert drifts([float(-step) for step in range(n)]) is told


def test_what_is_refused_is_said_in_words() -> None:
    for call, words in (
        (lambda: summarise([]), "samples must be finite, positive and at least one"),
        (lambda: student_t(0.5), "Student's t needs a degree of freedom"),
        (lambda: outlier_limit(4), "of fewer than 5 values none is told to be unlike the others"),
    ):
        with pytest.raises(ValueError, match=f"^{words}$"):
            call()


def test_dependence_counts_between_none_and_all() -> None:
    assert effective_samples(10, -0.5) == 10
    assert effective_samples(10, 1.5) == 0
    assert effective_samples(10, 1.0) == 0


def test_the_bulk_of_five_has_an_interval_and_of_fewer_none() -> None:
    """Of two degrees of freedom, 0.4 of each value, t is 4.3027; the median scatters by the root of pi / 2n."""
    found = robust([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (found.n, found.median, found.scale) == (5, 3.0, 1.4826)
    assert found.half_width == pytest.approx(4.3027 * 0.5605 * 1.4826, rel=1e-4)
    assert found.limit == outlier_limit(5)
    assert robust([1.0, 4.0, 2.0]) == Robust(3, 2.0, 1.4826, None, None)

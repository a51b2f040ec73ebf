"""Where the bulk of some values lies, and when one of many is an outlier: against references and by simulation."""

import math
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pytest

from bench.analysis.estimates import Estimate
from bench.analysis.fleet import _group
from bench.analysis.fleet_names import Unit
from bench.analysis.fleet_units import Entry, Facts, Surroundings
from bench.stats import FEWEST, Interval, at_share, outlier_limit, robust
from tests.support import cell

PLAIN: Final = Surroundings((), ())
OWN: Final = 0.002  # half of each device's own interval, relative


def fleet_with(logs: Any, processes: int) -> list[str]:  # noqa: ANN401 - an array of NumPy
    """Return the verdicts on GPUs whose rates have these logarithms."""
    entries = []
    for index, log in enumerate(logs):
        rate = math.exp(log)
        own = Interval(rate * math.exp(-OWN), rate * math.exp(OWN))
        unit = Unit(f"{index}", "chip", None, "GPU", "gpu", None, index)
        estimate = Estimate(rate, own, (rate,) * processes)
        entries.append(Entry(unit, cell(64), estimate, Facts(), PLAIN, None))
    return [one.verdict for one in _group(entries, None).standings]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [1.0, 1.5, 4.0, 9.0, 9.5, 30.0, 31.0]])
def test_a_quantile_is_numpys(values: list[float], share: float) -> None:
    assert at_share(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-12)


class TestBulk:
    def test_it_is_the_median_and_the_scaled_median_absolute_deviation(self) -> None:
        found = robust([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0])
        assert (found.n, found.median) == (7, 4.0)
        assert found.scale == pytest.approx(1.4826 * 2.0)
        assert found.reach == pytest.approx(outlier_limit(7) * found.scale)

    def test_a_quarter_of_wild_values_moves_the_median_to_another_quantile_and_no_further(self) -> None:
        quiet = [100 + NormalDist().inv_cdf((index + 0.5) / 60) for index in range(60)]
        found = robust([*quiet, *[1e6] * 20])
        assert found.median == pytest.approx(100 + NormalDist().inv_cdf(40 / 60), abs=0.02)
        assert found.scale < 2 * robust(quiet).scale

    def test_of_fewer_than_five_none_can_be_unlike_the_others(self) -> None:
        for n in range(1, FEWEST):
            found = robust([1.0, 1.1, 0.9, 5.0][:n])
            assert (found.limit, found.half_width, found.reach) == (None, None, None)
            with pytest.raises(ValueError, match="fewer than 5"):
                outlier_limit(n)

    def test_equal_values_have_no_spread_and_no_reach(self) -> None:
        found = robust([2.0] * 6)
        assert (found.scale, found.half_width, found.reach) == (0.0, 0.0, 0.0)


class TestLimit:
    def test_where_the_table_ends_the_formula_goes_on(self) -> None:
        assert outlier_limit(32) < outlier_limit(33) < 1.03 * outlier_limit(32)

    @pytest.mark.parametrize("n", [64, 256, 1000, 10_000])
    def test_of_many_it_is_fishers_expansion_of_students_t(self, n: int) -> None:
        # Abramowitz and Stegun 26.7.5, around the normal quantile.
        z, freedom = NormalDist().inv_cdf(1 - 0.01 / n / 2), min(0.4 * n, 1000)
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        assert outlier_limit(n) == pytest.approx(z + first / freedom + second / freedom**2, rel=0.01)

    @pytest.mark.parametrize("first", [5, 6])
    def test_it_falls_ever_more_slowly_among_odd_numbers_and_among_even_ones(self, first: int) -> None:
        """A median of an even number is a mean of two, so that the two differ; the table is rounded."""
        limits = [outlier_limit(n) for n in range(first, 33, 2)]
        falls = [a - b for a, b in pairwise(limits)]
        assert all(fall > 0 for fall in falls)
        assert all(later < fall + 0.035 for fall, later in pairwise(falls))

    def test_of_few_it_is_wide_as_their_spread_is_hardly_known(self) -> None:
        limits = [outlier_limit(n) for n in (5, 6, 8, 10, 16, 32, 128)]
        assert limits == sorted(limits, reverse=True)


def samples(kind: str, count: int, n: int, seed: int = 11) -> Any:  # noqa: ANN401 - an array of NumPy
    """Return `count` samples of n values, of mean 0 and standard deviation 1."""
    rng = np.random.default_rng(seed)
    if kind == "tails":
        return rng.standard_t(5, (count, n)) / math.sqrt(5 / 3)
    return 2 - rng.gamma(4, 0.5, (count, n)) if kind == "skewed" else rng.standard_normal((count, n))


def scales_away(values: Any) -> Any:  # noqa: ANN401 - likewise
    """Return how many scales the furthest value of each sample lies from its median."""
    distances = np.abs(values - np.median(values, axis=1, keepdims=True))
    return distances.max(axis=1) / (1.4826 * np.median(distances, axis=1))


@pytest.mark.slow
class TestBySimulation:
    @pytest.mark.parametrize("n", [5, 6, 7, 8, 9, 11, 16, 23, 32])
    def test_one_normal_fleet_in_a_hundred_has_a_value_beyond_the_tabled_limit(self, n: int) -> None:
        beyond = scales_away(samples("normal", 200_000, n)) > outlier_limit(n)
        assert beyond.mean() == pytest.approx(0.01, abs=0.0012)  # 5 standard errors, and the table's own

    def test_of_five_where_a_limit_matters_least_it_is_known_closely_all_the_same(self) -> None:
        beyond = scales_away(samples("normal", 1_000_000, 5)) > outlier_limit(5)
        assert beyond.mean() == pytest.approx(0.01, abs=0.0005)  # 5 standard errors; one scale moves it by 0.001

    @pytest.mark.parametrize("n", [33, 64, 256, 1000])
    def test_beyond_the_table_at_most_one_in_a_hundred_has(self, n: int) -> None:
        beyond = scales_away(samples("normal", 8_000_000 // n, n)) > outlier_limit(n)
        assert 0.006 < beyond.mean() < 0.0115

    @pytest.mark.parametrize("n", [5, 6, 8, 16, 64])
    def test_the_interval_of_the_median_holds_it_in_95_of_100_fleets(self, n: int) -> None:
        found = [robust(list(row)) for row in samples("normal", 6000, n)]
        held = np.mean([abs(one.median) < (one.half_width or 0.0) for one in found])
        assert 0.92 < held < 0.97

    @pytest.mark.parametrize(
        ("kind", "n", "least", "most"),
        [
            ("normal", 5, 0, 0.01), ("normal", 6, 0, 0.01), ("normal", 8, 0, 0.01), ("normal", 16, 0, 0.01),
            ("normal", 64, 0, 0.01), ("normal", 256, 0, 0.01), ("normal", 1000, 0, 0.02),
            ("skewed", 16, 0.015, 0.035), ("skewed", 256, 0.25, 0.5),
            ("tails", 16, 0.02, 0.05), ("tails", 256, 0.5, 0.75),
        ],
    )  # fmt: skip
    def test_so_many_fleets_of_equals_have_an_outlier(self, kind: str, n: int, least: float, most: float) -> None:
        drawn = 0.006 * samples(kind, max(200, 24_000 // n), n)
        shares = [any(verdict in {"slower", "faster"} for verdict in fleet_with(row, 3)) for row in drawn]
        assert least <= np.mean(shares) <= most

    @pytest.mark.parametrize(
        ("n", "slow", "by", "found"),
        [(8, 1, 0.05, 0.38), (16, 1, 0.05, 0.80), (64, 1, 0.05, 1.0), (8, 2, 0.05, 0.16), (16, 3, 0.05, 0.51),
         (64, 13, 0.05, 0.86), (8, 1, 0.10, 0.95), (1000, 200, 0.05, 0.95)],
    )  # fmt: skip
    def test_so_many_slow_devices_are_found(self, n: int, slow: int, by: float, found: float) -> None:
        drawn = 0.006 * samples("normal", max(40, 8000 // n), n)
        drawn[:, :slow] += math.log(1 - by)
        verdicts = [fleet_with(row, 1) for row in drawn]
        told = np.mean([verdict == "slower" for row in verdicts for verdict in row[:slow]])
        assert told == pytest.approx(found, abs=0.08)
        wrong = np.mean([verdict in {"slower", "faster"} for row in verdicts for verdict in row[slow:]])
        assert wrong < 0.0005

"""Two speeds are told from one that scatters, and from too few samples to say."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import is_bimodal, summarise

Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


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


def two_speeds(share: float, apart: float, noise: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = (1 + apart * (rng.random(n) < share)) * (1 + rng.normal(0, noise, n))
        return found

    return draw


ONE_SPEED: dict[str, Draw] = {
    "normal": lambda rng, n: 1 + rng.normal(0, 0.03, n),
    "exponential": lambda rng, n: 1 + rng.exponential(0.03, n),
    "heavy tails": lambda rng, n: np.exp(0.01 * rng.standard_t(2, n)),
}


def called_bimodal(draw: Draw, n: int, trials: int = 400) -> float:
    rng = np.random.default_rng(n)
    return float(np.mean([is_bimodal(draw(rng, n).tolist()) for _ in range(trials)]))


@pytest.mark.parametrize("n", [10, 19, 20, 30, 88])
@pytest.mark.parametrize("name", ONE_SPEED)
def test_one_speed_that_scatters_is_seldom_called_two(name: str, n: int) -> None:
    assert called_bimodal(ONE_SPEED[name], n) <= 0.05


@pytest.mark.parametrize("n", [20, 30, 88])
@pytest.mark.parametrize(("share", "noise"), [(0.5, 0.002), (0.5, 0.003), (0.4, 0.003)])
def test_two_speeds_that_scatter_into_each_other_are_found_where_there_are_enough(
    share: float, noise: float, n: int
) -> None:
    assert called_bimodal(two_speeds(share, 0.02, noise), n) >= 0.75


def test_two_speeds_less_than_one_per_cent_apart_are_one() -> None:
    assert called_bimodal(two_speeds(0.5, 0.009, 0.0005), 60) == 0
    assert called_bimodal(two_speeds(0.5, 0.012, 0.0005), 60) > 0.99


@given(
    st.lists(st.floats(min_value=0.99, max_value=1.01), min_size=20, max_size=40), st.sampled_from([0.5, 2.0, 8.0])
)
def test_it_does_not_depend_on_the_unit(samples: list[float], scale: float) -> None:
    assert is_bimodal(samples) == is_bimodal([scale * value for value in samples])

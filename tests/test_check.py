"""Whether a wrong product is noticed: right ones of any shape pass, every known way to be wrong does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices import cpu
from bench.devices.base import Check
from bench.devices.check import TOLERANCES, check_product, plain, worst
from bench.measure.loop import measure
from bench.measure.measurement import Measurement
from bench.records.record import encode_line
from bench.workloads.base import Data, Shape
from tests.support import TINY, cell

Matrix = npt.NDArray[Any]
Multiply = Callable[[Matrix, Matrix, Matrix], None]
TYPES = {"fp32": np.float32, "fp64": np.float64}
SIZES = st.integers(1, 70)


def verified(shape: Shape, dtype: str, seed: int = 1, data: Data = "normal") -> Check:
    return cpu.open_backend().prepare(cell(shape, dtype, data=data), seed).verify()


def operands(m: int, n: int, k: int, dtype: str = "fp32", seed: int = 5) -> tuple[Matrix, Matrix, Matrix]:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((m, k)).astype(TYPES[dtype]), rng.standard_normal((k, n)).astype(TYPES[dtype])
    return a, b, a @ b


def checked(a: Matrix, b: Matrix, d: Matrix, *, tolerance: float, seed: int) -> Check:
    return check_product(plain(a), plain(b.T), plain(d), tolerance=tolerance, seed=seed)


class TestRight:
    @given(SIZES, SIZES, SIZES, st.sampled_from(["fp32", "fp64"]), st.integers(0, 2**32))
    def test_a_right_product_of_any_shape_passes(self, m: int, n: int, k: int, dtype: str, seed: int) -> None:
        check = verified(Shape(m=m, n=n, k=k), dtype, seed)
        assert check.passed, check
        assert check.rows == min(m, 64)

    @pytest.mark.parametrize("shape", [(512, 1, 512), (1, 700, 300), (1, 1, 70), (64, 2, 1024), (3, 900, 2)])
    @pytest.mark.parametrize("dtype", ["fp32", "fp64"])
    def test_a_sum_that_cancels_is_no_error_of_the_kernel(self, shape: tuple[int, int, int], dtype: str) -> None:
        """Of 512 sums of random products some are almost nothing, and the rounding of each is not."""
        m, n, k = shape
        for seed in range(25):
            assert verified(Shape(m=m, n=n, k=k), dtype, seed).passed

    @pytest.mark.parametrize("data", ["zeros", "constant"])
    @pytest.mark.parametrize("dtype", ["fp32", "fp64"])
    def test_predictable_data_pass_too(self, data: Data, dtype: str) -> None:
        assert verified(Shape(m=130, n=70, k=90), dtype, data=data).passed

    @pytest.mark.parametrize("data", ["zeros", "constant"])
    def test_predictable_data_do_not_hide_a_remembered_result(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All zeros times anything is zero: only other operands show that nothing was computed."""
        monkeypatch.setattr(np, "matmul", Remembering())
        assert not verified(Shape(m=130, n=70, k=90), "fp32", data=data).passed

    @pytest.mark.parametrize(("claimed", "rounded"), [("fp64", np.float32), ("fp32", np.float16)])
    def test_a_narrower_format_does_not_pass_for_a_wider_one(self, claimed: str, rounded: type) -> None:
        a, b, d = operands(96, 80, 64, claimed)
        tolerance = TOLERANCES[claimed]
        assert checked(a, b, d, tolerance=tolerance, seed=1).passed
        narrow = (a.astype(rounded).astype(a.dtype) @ b.astype(rounded).astype(b.dtype)).astype(a.dtype)
        assert not checked(a, b, narrow, tolerance=tolerance, seed=1).passed


def last_tile_unwritten(a: Matrix, b: Matrix, out: Matrix) -> None:
    right = a @ b
    out[:-16] = right[:-16]
    out[-16:, :-16] = right[-16:, :-16]


def inner_tile_unwritten(a: Matrix, b: Matrix, out: Matrix) -> None:
    right = a @ b
    out[:64], out[80:] = right[:64], right[80:]
    out[64:80, 16:] = right[64:80, 16:]


def two_rows_swapped(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = a @ b
    out[[100, 101]] = out[[101, 100]]


def slice_of_k_dropped(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = a[:, 64:] @ b[64:]


def b_transposed(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = a @ b.T


def half(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = (a @ b) * 0.5


def scale_of_a_thousandth_more(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = (a @ b) * 1.001


def one_not_a_number(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = a @ b
    out[100, 7] = np.nan


def both_infinities(a: Matrix, b: Matrix, out: Matrix) -> None:
    out[...] = a @ b
    out[100, 7], out[100, 8] = np.inf, -np.inf


def nothing_done(a: Matrix, b: Matrix, out: Matrix) -> None:
    pass


class Remembering:
    """Computes a product once and returns it whenever the same two arrays come again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Matrix] = {}

    def __call__(self, a: Matrix, b: Matrix, out: Matrix) -> None:
        key = (id(a), id(b))
        if key not in self._known:
            self._known[key] = a @ b
        out[...] = self._known[key]


WRONG: list[Callable[[], Multiply]] = [
    lambda: last_tile_unwritten,
    lambda: inner_tile_unwritten,
    lambda: two_rows_swapped,
    lambda: slice_of_k_dropped,
    lambda: b_transposed,
    lambda: half,
    lambda: scale_of_a_thousandth_more,
    lambda: one_not_a_number,
    lambda: both_infinities,
    lambda: nothing_done,
    Remembering,
]


def measured_with(multiply: Multiply, monkeypatch: pytest.MonkeyPatch, dtype: str) -> Measurement:
    """Measure a cell of the CPU backend with another multiply in place of NumPy's."""
    one = cell(192, dtype)
    task = cpu.open_backend().prepare(one, 3)
    with monkeypatch.context() as patch:
        patch.setattr(np, "matmul", multiply)
        return measure(task, one, TINY)


@pytest.mark.parametrize("make", WRONG, ids=lambda make: getattr(make(), "__name__", "previous_result"))
@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_a_wrong_multiply_is_measured_kept_and_does_not_pass(
    make: Callable[[], Multiply], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurement = measured_with(make(), monkeypatch, dtype)
    assert measurement.samples.seconds_per_call
    assert measurement.check is not None
    assert not measurement.check.passed
    assert not measurement.passed


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_a_right_multiply_in_its_place_passes(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def right(a: Matrix, b: Matrix, out: Matrix) -> None:
        out[...] = a @ b

    assert measured_with(right, monkeypatch, dtype).passed


def test_an_output_that_keeps_an_old_right_result_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same data again and a multiply that no longer writes: only the poisoned output tells."""
    task = cpu.open_backend().prepare(cell(192, data="constant"), 3)
    task.block(1)
    assert task.verify().passed
    monkeypatch.setattr(np, "matmul", nothing_done)
    assert not task.verify().passed


class TestWholeMatrix:
    def test_swapped_rows_are_caught_wherever_they_are(self) -> None:
        """Most pairs lie outside the 64 rows that are compared in full: only the whole-matrix check sees them."""
        a, b, d = operands(200, 60, 80)
        unseen_by_rows = 0
        for row in range(199):
            swapped = d.copy()
            swapped[[row, row + 1]] = d[[row + 1, row]]
            check = checked(a, b, swapped, tolerance=TOLERANCES["fp32"], seed=1)
            assert not check.passed, row
            unseen_by_rows += check.rows_error is not None and check.rows_error <= check.tolerance
        assert unseen_by_rows > 50

    def test_one_wrong_element_anywhere_is_caught(self) -> None:
        a, b, d = operands(130, 40, 50)
        for row in range(130):
            wrong = d.copy()
            wrong[row, row % 40] += 1
            assert not checked(a, b, wrong, tolerance=TOLERANCES["fp32"], seed=1).passed

    def test_the_last_row_is_always_compared_in_full(self) -> None:
        a, b, d = operands(300, 40, 50)
        d[-1, 3] += 1
        for seed in range(20):
            check = checked(a, b, d, tolerance=TOLERANCES["fp32"], seed=seed)
            assert check.rows_error is not None
            assert check.rows_error > check.tolerance


class TestTolerance:
    def test_a_small_error_of_every_element_is_caught_by_the_rows(self) -> None:
        a, b, d = operands(100, 60, 80, "fp64")
        assert checked(a, b, d * (1 + 0.9e-5), tolerance=1e-5, seed=1).passed
        check = checked(a, b, d * (1 + 1.5e-5), tolerance=1e-5, seed=1)
        assert not check.passed
        assert check.product_error is not None
        assert check.product_error <= 5 * check.tolerance

    def test_a_single_row_that_meets_its_vector_at_a_right_angle_is_no_error(self) -> None:
        """D·r is then almost nothing, and any rounding is large against it."""
        for seed in range(150):
            a, b, d = operands(1, 50, 50, "fp64", seed)
            noise = 1e-6 * np.random.default_rng(seed).standard_normal(d.shape)
            assert checked(a, b, d * (1 + noise), tolerance=3e-6, seed=seed).passed


class TestErrors:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_is_an_error_of_none_and_can_be_recorded(self, value: float) -> None:
        a, b, d = operands(70, 40, 50)
        d[-1, 0] = value
        check = checked(a, b, d, tolerance=1e-5, seed=1)
        assert (check.passed, check.rows_error, check.product_error) == (False, None, None)
        line = encode_line(Measurement(cell=cell(), stop="failed", failure="wrong", check=check))
        assert b'"rows_error":null' in line

    def test_a_nonzero_product_of_zeros_is_an_infinite_error(self) -> None:
        a, b = np.zeros((70, 40)), np.zeros((40, 50))
        assert checked(a, b, a @ b, tolerance=1e-13, seed=1).passed
        wrong = checked(a, b, (a @ b) + 1e-30, tolerance=1e-13, seed=1)
        assert (wrong.passed, wrong.rows_error) == (False, None)

    def test_of_several_checks_the_worst_counts(self) -> None:
        good = Check(passed=True, tolerance=1e-5, rows=64, rows_error=1e-7, product_error=2e-7)
        bad = Check(passed=False, tolerance=1e-5, rows=64, rows_error=0.1, product_error=1e-8)
        lost = Check(passed=False, tolerance=1e-5, rows=64, rows_error=None, product_error=0.2)
        assert worst([good, bad]) == Check(
            passed=False, tolerance=1e-5, rows=64, rows_error=0.1, product_error=2e-7
        )
        assert worst([lost, good]) == Check(
            passed=False, tolerance=1e-5, rows=64, rows_error=None, product_error=0.2
        )
        assert worst([good, good]) == good


class TestOperands:
    @pytest.mark.parametrize("dtype", ["fp32", "fp64"])
    def test_normal_data_have_mean_0_deviation_1_and_no_zeros(self, dtype: str) -> None:
        data = cpu.open_backend().prepare(cell(Shape(m=300, n=200, k=400), dtype), 1).data
        for operand, elements in (("a", 300 * 400), ("b", 400 * 200)):
            assert abs(data[operand].mean) < 4 / elements**0.5
            assert abs(data[operand].sd - 1) < 4 / (2 * elements) ** 0.5
            assert data[operand].zero_share == 0

    @pytest.mark.parametrize(("data", "stored"), [("zeros", (0.0, 0.0, 1.0)), ("constant", (1.0, 0.0, 0.0))])
    def test_other_data_tell_what_they_are(self, data: Data, stored: tuple[float, float, float]) -> None:
        task = cpu.open_backend().prepare(cell(Shape(m=30, n=20, k=40), data=data), 1)
        for operand in task.data.values():
            assert (operand.mean, operand.sd, operand.zero_share) == stored

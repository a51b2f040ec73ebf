"""Whether a wrong product on a GPU is noticed, in every format, however it was timed; and one unlike its name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from bench.devices.nvidia.multiply import CUBLASLT, Operands
from bench.workloads import gemm
from bench.workloads.base import Cell, Data, Shape
from tests.simulated_gpu import TaskBench, encoded, exact, multiplied

SHAPE = Shape(m=96, n=80, k=64)


def cell(dtype: str = "bf16", *, fast: bool = False, data: Data = "normal") -> Cell:
    found = gemm.cells([dtype], [SHAPE], library=CUBLASLT, l2="rotate", data=data)
    return found[-1] if fast else found[0]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> TaskBench:
    return TaskBench(monkeypatch)


Multiply = Callable[[Cell, Operands], None]


def slice_dropped(of: Cell, one: Operands) -> None:
    """The last quarter of K is left out."""
    cut = one.a.shape[1] * 3 // 4
    multiplied(of, Operands(_cleared(one.a, cut), one.bt, one.d))


def _cleared(array: Any, cut: int) -> Any:  # noqa: ANN401
    copy = array.copy()
    copy[:, cut:] = 0
    return copy


def rows_swapped(of: Cell, one: Operands) -> None:
    multiplied(of, one)
    one.d[[3, 50]] = one.d[[50, 3]]


def tile_unwritten(of: Cell, one: Operands) -> None:
    before = one.d[-16:, -16:].copy()
    multiplied(of, one)
    one.d[-16:, -16:] = before


def scale_ignored(of: Cell, one: Operands) -> None:
    one.d[...] = encoded(of, exact(of, one) * 2)


def not_transposed(of: Cell, one: Operands) -> None:
    """B read as if it were stored [k,n]."""
    wrong = one.bt.reshape(-1).reshape(one.bt.shape[1], one.bt.shape[0]).T
    multiplied(of, Operands(one.a, np.ascontiguousarray(wrong), one.d))


class Remembering:
    """Computes each output once, and returns that from then on."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def __call__(self, of: Cell, one: Operands) -> None:
        where = one.d.ctypes.data
        if where not in self._seen:
            multiplied(of, one)
            self._seen[where] = one.d.copy()
        one.d[...] = self._seen[where]


class OnlyOneSet:
    """Right for one operand set, and never computes the others."""

    def __init__(self) -> None:
        self._first: int | None = None

    def __call__(self, of: Cell, one: Operands) -> None:
        self._first = self._first or one.d.ctypes.data
        if one.d.ctypes.data == self._first:
            multiplied(of, one)


DTYPES = ["fp64", "fp32", "tf32", "fp16", "fp16_acc16", "bf16", "fp8", "int8", "nvfp4"]
MUTANTS: Sequence[Callable[[], Multiply]] = [
    lambda: slice_dropped,
    lambda: rows_swapped,
    lambda: tile_unwritten,
    lambda: scale_ignored,
    lambda: not_transposed,
    Remembering,
    OnlyOneSet,
]


class TestCheck:
    @pytest.mark.parametrize("data", ["normal", "zeros", "constant"])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_right_product_passes(self, bench: TaskBench, dtype: str, data: Data) -> None:
        check = bench.task(cell(dtype, data=data)).verify()
        assert check.passed, check
        assert check.rows == 64

    @pytest.mark.parametrize(
        "seconds", [pytest.param(1e-3, id="calls"), pytest.param(2e-6, id="graphs", marks=pytest.mark.slow)]
    )
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(
        "mutant", MUTANTS, ids=lambda make: getattr(make(), "__name__", type(make()).__name__)
    )
    def test_a_wrong_one_does_not(
        self, bench: TaskBench, mutant: Callable[[], Multiply], dtype: str, seconds: float
    ) -> None:
        task = bench.task(cell(dtype), seconds=[seconds], multiply=mutant())
        task.block(6)
        assert not task.verify().passed

    @pytest.mark.parametrize("data", ["zeros", "constant"])
    @pytest.mark.parametrize("mutant", [Remembering, lambda: not_transposed], ids=["remembered", "layout"])
    def test_predictable_data_hide_neither_a_remembered_result_nor_a_wrong_layout(
        self, bench: TaskBench, mutant: Callable[[], Multiply], data: Data
    ) -> None:
        task = bench.task(cell(data=data), multiply=mutant())
        task.block(3)
        assert not task.verify().passed

    def test_fast_sums_may_be_less_exact_than_exact_ones(self, bench: TaskBench) -> None:
        def coarse(of: Cell, one: Operands) -> None:
            product = exact(of, one)
            noise = np.random.default_rng(1).standard_normal(product.shape) * np.sqrt(np.mean(product**2))
            one.d[...] = encoded(of, product + 0.015 * noise)

        assert bench.task(cell("fp8", fast=True), multiply=coarse).verify().passed
        assert not bench.task(cell("fp8"), multiply=coarse).verify().passed


class TestHonestFp8:
    """Exact sums are the headline; where a library keeps them short all the same, that shows in the row error."""

    @pytest.mark.parametrize(("noise", "said"), [(0.0, []), (2.8e-3, ["fast_sums"])])
    def test_sums_that_are_too_short_are_noticed(self, bench: TaskBench, noise: float, said: list[str]) -> None:
        def short(of: Cell, one: Operands) -> None:
            product = exact(of, one)
            rough = np.random.default_rng(1).standard_normal(product.shape) * np.sqrt(np.mean(product**2))
            one.d[...] = encoded(of, product + noise * rough)

        task = bench.task(cell("fp8"), multiply=short)
        assert task.verify().passed
        assert [caveat.code for caveat in task.caveats()] == said
        fast = bench.task(cell("fp8", fast=True), multiply=short)
        assert fast.verify().passed
        assert fast.caveats() == []


class TestHonestTf32:
    """What is called TF32 must not be FP32, which a variable can make of it: that would be slower."""

    def test_a_product_that_is_too_exact_is_noticed(self, bench: TaskBench) -> None:
        task = bench.task(cell("tf32"))
        assert task.verify().passed
        (caveat,) = task.caveats()
        assert caveat.code == "not_tf32"

    def test_one_of_rounded_inputs_is_what_it_says(self, bench: TaskBench) -> None:
        def rounding(of: Cell, one: Operands) -> None:
            multiplied(of, Operands(_in_ten_bits(one.a), _in_ten_bits(one.bt), one.d))

        task = bench.task(cell("tf32"), multiply=rounding)
        assert task.verify().passed
        assert task.caveats() == []

    def test_fp32_may_be_as_exact_as_it_is(self, bench: TaskBench) -> None:
        task = bench.task(cell("fp32"))
        task.verify()
        assert task.caveats() == []


def _in_ten_bits(array: Any) -> Any:  # noqa: ANN401
    return (array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

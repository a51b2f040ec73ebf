"""On a GPU: every product is right by FP64, in every format and library, and every kind of wrong one is found."""

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any, Final

import pytest

from bench.devices.base import Check
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.cublaslt import misfit
from bench.devices.nvidia.multiply import CUBLASLT, CUPY, Call, CublasLt, Operands
from bench.devices.nvidia.own_process import OwnProcessTask
from bench.devices.nvidia.task import CudaTask
from bench.units import DTYPES
from bench.workloads.base import Shape
from tests.gpu.cells import Fact, MakeTask, cell, needs

pytestmark = pytest.mark.gpu

SHAPES: Final = (
    Shape(m=512, n=512, k=512),
    Shape(m=272, n=1040, k=608),  # k is no multiple of the tiles' 64 or 128
    Shape(m=48, n=4096, k=352),
    Shape(m=333, n=517, k=129),
)
FITTING: Final = [(dtype, shape) for dtype in DTYPES for shape in SHAPES if not misfit(DTYPES[dtype], shape)]


@pytest.mark.parametrize(("dtype", "shape"), FITTING, ids=str)
def test_cublaslt_is_right(gpu: CudaBackend, make_task: MakeTask, fact: Fact, dtype: str, shape: Shape) -> None:
    needs(gpu, dtype, CUBLASLT)
    check = make_task(cell(dtype, shape, l2="hot")).verify()
    fact("rows_error", check.rows_error)
    assert check.passed, check


@pytest.mark.parametrize("dtype", ["fp64", "fp16", "bf16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cupy_is_right(gpu: CudaBackend, make_task: MakeTask, dtype: str, shape: Shape) -> None:
    needs(gpu, dtype, CUPY)
    check = make_task(cell(dtype, shape, library=CUPY, l2="hot")).verify()
    assert check.passed, check


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_every_algorithm_that_is_offered_is_right(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact, dtype: str
) -> None:
    needs(gpu, dtype, CUBLASLT)
    task = make_task(cell(dtype, SHAPES[1], l2="hot"))
    fact("algorithms", len(task.candidates))
    for candidate in range(len(task.candidates)):
        task.use(candidate)
        check = task.verify()
        assert check.passed, (task.algorithm, check)


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_every_set_of_a_rotation_is_right(gpu: CudaBackend, make_task: MakeTask, dtype: str) -> None:
    needs(gpu, dtype, CUBLASLT)
    task = make_task(cell(dtype, 2048))
    assert len(task._sets) > 2
    assert task.verify().passed


def test_tf32_of_cublaslt_rounds_as_tf32_and_fp32_does_not(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact
) -> None:
    needs(gpu, "tf32", CUBLASLT)
    errors = {}
    for dtype in ("fp32", "tf32"):
        task = make_task(cell(dtype, 1024, l2="hot"))
        check = task.verify()
        assert check.passed
        assert check.rows_error is not None
        errors[dtype] = check.rows_error
        assert not [caveat for caveat in task.caveats() if caveat.code == "not_tf32"]
        fact(f"rows_error_{dtype}", check.rows_error)
    assert errors["fp32"] < 1e-5 < errors["tf32"]


def test_cupy_computes_tf32_in_a_process_of_its_own_and_fp32_as_fp32(
    gpu: CudaBackend, fact: Fact, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(gpu, "tf32", CUPY)
    monkeypatch.delenv("CUPY_TF32", raising=False)
    errors = {}
    for dtype in ("fp32", "tf32"):
        task = gpu.prepare(cell(dtype, 1024, library=CUPY, l2="hot"), 7)
        try:
            assert isinstance(task, OwnProcessTask) == (dtype == "tf32")
            assert task.block(3) is not None
            check = task.verify()
            codes = [caveat.code for caveat in task.caveats()]
        finally:
            task.close()
        assert check.passed
        assert check.rows_error is not None
        errors[dtype] = check.rows_error
        assert "not_tf32" not in codes
        fact(f"rows_error_{dtype}", check.rows_error)
    assert errors["fp32"] < 1e-5 < errors["tf32"]


# What a broken kernel does: given its operands and the right call.
Mutant = Callable[[Any, Operands, Call], None]


def right(xp: Any, one: Operands, call: Call) -> None:  # noqa: ANN401
    call()


def tile_overwritten(xp: Any, one: Operands, call: Call) -> None:  # noqa: ANN401
    call()
    one.d[-128:, -128:] = 0


def rows_swapped(xp: Any, one: Operands, call: Call) -> None:  # noqa: ANN401
    call()
    one.d[xp.asarray([3, 50])] = one.d[xp.asarray([50, 3])]


def not_transposed(xp: Any, one: Operands, call: Call) -> None:  # noqa: ANN401
    """B is read as if it were stored [k,n]: for a square product the transpose of what is stored."""
    wrong = xp.ascontiguousarray(one.bt.T)
    assert isinstance(call, partial)
    a, _, d = call.args
    call.func(a, _address(wrong), d)


def slice_dropped(xp: Any, one: Operands, call: Call) -> None:  # noqa: ANN401
    """The last 64 of K are left out."""
    short = one.a.copy()
    short[:, -64:] = 0
    assert isinstance(call, partial)
    _, bt, d = call.args
    call.func(_address(short), bt, d)


def nothing_written(xp: Any, one: Operands, call: Call) -> None:  # noqa: ANN401
    """The output stays as it was."""


def _address(array: Any) -> int:  # noqa: ANN401 - of CuPy, or of NumPy where a stand-in computes
    return int(array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data)


def verified(task: CudaTask, mutant: Mutant) -> Check:
    """Return the check of a task whose calls are those of a mutant."""
    xp, bound = task._runtime.xp, task._bound
    task._bound = [partial(mutant, xp, one, call) for one, call in zip(task._sets, bound, strict=True)]
    task._turns, task._per_graph = cycle(task._bound), 0
    return task.verify()


MUTANTS: Final = (tile_overwritten, rows_swapped, not_transposed, slice_dropped, nothing_written)


@pytest.mark.parametrize("mutant", [right, *MUTANTS])
@pytest.mark.parametrize("dtype", ["fp64", "bf16", "fp8", "int8"])
def test_a_wrong_product_is_found_out(gpu: CudaBackend, make_task: MakeTask, dtype: str, mutant: Mutant) -> None:
    needs(gpu, dtype, CUBLASLT)
    check = verified(make_task(cell(dtype, 1024, l2="hot")), mutant)
    assert check.passed == (mutant is right), check


@pytest.mark.parametrize("dtype", ["fp8", "nvfp4"])
def test_a_scale_that_is_not_the_one_agreed_on_is_found_out(
    gpu: CudaBackend, make_task: MakeTask, dtype: str
) -> None:
    needs(gpu, dtype, CUBLASLT)
    task = make_task(cell(dtype, 1024, l2="hot"))
    library = task._multiplier
    assert isinstance(library, CublasLt)
    assert library._scales is not None
    scale = library._scales[0]
    # Twice the factor; one more in the exponent of a UE4M3 byte is twice, too.
    with task._runtime.current():
        scale[...] = scale * 2 if scale.dtype.kind == "f" else scale + 8
    assert not task.verify().passed

"""How a product is asked of each library: calls that are bound to their operands, ready to be enqueued."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from bench.devices.nvidia.cublaslt import LtMatmul
from bench.devices.nvidia.operands import SCALES, Array, block_scales
from bench.devices.nvidia.runtime import CupyRuntime
from bench.errors import CellFailed
from bench.units import Dtype
from bench.workloads.base import Cell, Shape

CUBLASLT: Final = "cublaslt"
CUPY: Final = "cupy.matmul"
_HOPPER: Final = 9
_LARGE_WORKSPACE, _SMALL_WORKSPACE = 32 << 20, 4 << 20  # bytes: NVIDIA advises the first for Hopper

Call = Callable[[], None]


class Operands(NamedTuple):
    """One set: A [m,k], Bᵀ [n,k] and the output D [m,n], all stored row by row."""

    a: Array
    bt: Array
    d: Array


class Multiplier(Protocol):
    """A library made ready for one product; `capturable` if its calls can be recorded in a CUDA graph."""

    algorithms: Sequence[Mapping[str, str | int]]
    capturable: bool

    def bound(self, candidate: int, sets: Sequence[Operands]) -> list[Call]:
        """Return a call for each set, which computes D = A·B with one of `algorithms`."""
        ...

    def close(self) -> None:
        """Release what the library holds."""
        ...


class CublasLt:
    """`cublasLtMatmul` on raw pointers, in the TN form that FP8, FP4 and INT8 kernels need."""

    capturable = True

    def __init__(self, runtime: CupyRuntime, dtype: Dtype, shape: Shape, *, fast_accumulate: bool) -> None:
        self._runtime = runtime
        xp = runtime.xp
        self._workspace = xp.empty(workspace_bytes(runtime), "uint8")
        self._scales = _scales(xp, dtype, shape)
        self._matmul = LtMatmul(
            dtype,
            shape,
            fast_accumulate=fast_accumulate,
            workspace_bytes=self._workspace.nbytes,
            scale_a=runtime.pointer(self._scales[0]) if self._scales else 0,
            scale_b=runtime.pointer(self._scales[1]) if self._scales else 0,
        )
        self.algorithms: Sequence[Mapping[str, str | int]] = self._matmul.algorithms

    def bound(self, candidate: int, sets: Sequence[Operands]) -> list[Call]:
        """Return one call a set, with as little Python in it as can be."""
        pointer, runtime = self._runtime.pointer, self._runtime
        launch = self._matmul.launcher(candidate, workspace=pointer(self._workspace), stream=runtime.stream)
        return [partial(launch, pointer(one.a), pointer(one.bt), pointer(one.d)) for one in sets]

    def close(self) -> None:
        """Release the descriptors and the workspace."""
        self._matmul.close()
        del self._workspace, self._scales


class CupyMatmul:
    """`cupy.matmul(a, b, out=d)`, where b is the transposed view of Bᵀ: what a CuPy user gets on these operands.

    CuPy's own cuBLAS calls cannot be captured in a graph.
    """

    capturable = False

    def __init__(self, runtime: CupyRuntime, dtype: Dtype) -> None:
        self._xp = runtime.xp
        self._dtype = dtype
        self.algorithms: Sequence[Mapping[str, str | int]] = ({},)

    def bound(self, candidate: int, sets: Sequence[Operands]) -> list[Call]:  # noqa: ARG002 - there is one only
        """Return one call a set."""
        matmul = self._xp.matmul
        calls: list[Call] = []
        for one in sets:
            a, bt, d = (self._numbers(array) for array in one)
            calls.append(partial(matmul, a, bt.T, out=d))
        return calls

    def _numbers(self, array: Array) -> Any:  # noqa: ANN401 - of CuPy or NumPy
        """Return the array as numbers: BF16 is stored as bits."""
        if self._dtype.name != "bf16":
            return array
        import ml_dtypes  # noqa: PLC0415 - comes with the CUDA extras

        return array.view(ml_dtypes.bfloat16)

    def close(self) -> None:
        """Do nothing: CuPy keeps its handle."""


def multiplier(runtime: CupyRuntime, cell: Cell) -> Multiplier:
    """Return the library of `cell`, ready for its product. Raises CellFailed if it has no algorithm for it."""
    if cell.dtype is None or cell.shape is None:
        message = f"the CUDA backend was given a cell that it does not offer: {cell.key}"
        raise CellFailed(message)
    if cell.library == CUPY:
        return CupyMatmul(runtime, cell.dtype)
    return CublasLt(runtime, cell.dtype, cell.shape, fast_accumulate=bool(cell.fast_accumulate))


def workspace_bytes(runtime: CupyRuntime) -> int:
    """Return the workspace that cublasLt may use on this chip."""
    return _LARGE_WORKSPACE if int(runtime.properties["major"]) >= _HOPPER else _SMALL_WORKSPACE


def _scales(xp: Any, dtype: Dtype, shape: Shape) -> tuple[Array, Array] | None:  # noqa: ANN401
    """Return what FP8 and NVFP4 operands are scaled with, in the device's memory."""
    if dtype.input not in SCALES:
        return None
    for_a, for_b = SCALES[dtype.input]
    if dtype.input == "nvfp4":
        return block_scales(xp, shape.m, shape.k, for_a), block_scales(xp, shape.n, shape.k, for_b)
    return xp.asarray([for_a], "float32"), xp.asarray([for_b], "float32")

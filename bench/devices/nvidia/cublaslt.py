"""One matrix multiply through cublasLt, which offers every number format of a GPU and a choice of algorithms.

The contract is row-major: D[M,N] = A[M,K] · B[N,K]ᵀ, each C-contiguous. cublasLt counts by columns, so its A is
our B (transposed) and its B our A, its m is our N and its n our M; scales change places likewise. This form, "TN",
is the one in which it multiplies every format.

On an H200 (cublasLt 13.1.0) FP8 was refused in another form, "NN", and INT8 was not, though NVIDIA's documentation
asks for TN there as well. FP8's fast sums changed 37 % of the results of a product of 8192³, whose row error grew
from 1.7e-3 to 2.7e-3, and took 0.94 of its time and 0.985 of its cycles. FP64 ran on tensor cores, at 240 to 248
operations a clock and multiprocessor, where plain units do 128. Algorithms were found inside a CUDA graph's
capture, too; `LtMatmul` asks for them when it is made, as documentation says that this can fail.

Read in documentation only: that FP4 needs TN; that fast sums change anything on Ada and Hopper only; how the tiles
of NVFP4 scales lie. Which half of its byte an FP4 number takes does not matter here: both operands pack along K,
and a product does not depend on the order along K.

Nothing of nvmath is imported with this module: the first call does it, and takes about half a second.
"""

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from bench.errors import BackendUnavailable, CellFailed, one_line
from bench.units import Dtype
from bench.workloads.base import Shape

_SUCCESS: Final = 0
_ALLOC_FAILED: Final = 3
_REFUSALS: Final = frozenset({7, 15})  # INVALID_VALUE, NOT_SUPPORTED
# Where a refusal concerns the problem, not the device: an old library knows no FP4 type or scale mode either.
_MAY_REFUSE: Final = frozenset(
    {"matmul_desc_create", "matmul_desc_set_attribute", "matrix_layout_create", "matmul_algo_get_heuristic"}
)
# Whatever a product itself answers concerns its algorithm: the heuristic offers some that fail, even with
# EXECUTION_FAILED. A device that is lost shows at the next wait for it.
_MATMUL: Final = "matmul"


# Operands, result, what is summed in, and alpha and beta: NVIDIA's names for them, less their common prefixes.
_FORMATS: Final = MappingProxyType(
    {
        "fp64": ("64F", "64F", "64F", "64F"),
        "fp32": ("32F", "32F", "32F", "32F"),
        "tf32": ("32F", "32F", "32F_FAST_TF32", "32F"),
        "fp16": ("16F", "16F", "32F", "32F"),
        "fp16_acc16": ("16F", "16F", "16F", "16F"),
        "bf16": ("16BF", "16BF", "32F", "32F"),
        "fp8": ("8F_E4M3", "16BF", "32F", "32F"),
        "int8": ("8I", "32I", "32I", "32I"),
        "nvfp4": ("4F_E2M1", "16BF", "32F", "32F"),
    }
)
_SCALARS: Final = MappingProxyType({"64F": np.float64, "32F": np.float32, "32I": np.int32, "16F": np.float16})
# Of m, n and k: rows of A, B and D must be whole units of 16 bytes (INT8: of 4), while their number, m, is free;
# as PyTorch asks of its callers too.
_MULTIPLES: Final = MappingProxyType({"fp8": (1, 16, 16), "int8": (1, 4, 4), "nvfp4": (1, 16, 32)})
# How an algorithm is described: our key, cublasLt's attribute, and the enumeration that names its values.
_CONFIG: Final = (
    ("algo", "ID", ""), ("tile", "TILE_ID", "MatmulTile"), ("stages", "STAGES_ID", "MatmulStages"),
    ("split_k", "SPLITK_NUM", ""), ("reduction", "REDUCTION_SCHEME", "ReductionScheme"),
    ("swizzle", "CTA_SWIZZLING", ""), ("custom_option", "CUSTOM_OPTION", ""),
    ("inner_shape", "INNER_SHAPE_ID", "MatmulInnerShape"), ("cluster", "CLUSTER_SHAPE_ID", "ClusterShape"),
)  # fmt: skip
_PREFIX: Final = re.compile("^(TILE|STAGES|SHAPE)_")


class NoAlgorithm(CellFailed):
    """cublasLt has no algorithm for this product on this GPU; the message is one line."""


def version() -> str:
    """Return the version of the cublasLt in use, as in '13.1.0'; raise BackendUnavailable if there is none."""
    number = int(_ask("get_version"))
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def misfit(dtype: Dtype, shape: Shape) -> str | None:
    """Return in one line why cublasLt cannot multiply `shape` in `dtype` on any GPU, or None if it may."""
    for axis, multiple in zip("mnk", _MULTIPLES.get(dtype.name, (1, 1, 1)), strict=True):
        value = getattr(shape, axis)
        below, rest = divmod(value, multiple)
        if rest:
            near = [str(multiple * count) for count in (below, below + 1) if count]
            return f"{dtype.name} needs {axis} in multiples of {multiple}, not {value}: take {' or '.join(near)}"
    return None


class LtMatmul:
    """A planned product D[M,N] = A[M,K] · B[N,K]ᵀ: descriptors, and the algorithms that cublasLt offers for it.

    A, B and D are C-contiguous on the current device and start at multiples of 256 bytes, as cublasLt supposes;
    FP4 packs two numbers along K a byte. `workspace_bytes` is the most that an algorithm may take, `wanted` how
    many to ask for. `scale_a` and `scale_b` are device pointers that must stay valid: for fp8 to one float32 each
    (0: no scale), for nvfp4 to the UE4M3 scales of every 16 numbers along K, in cublasLt's tiles of 128 rows by 4
    (both needed). `fast_accumulate` is for fp8 alone: sums in the tensor cores' own, lower precision.

    Raises NoAlgorithm if the library offers none, MemoryError, and BackendUnavailable for any other failure.
    All products of a process share one handle, which belongs to the device that was current at the first.
    """

    def __init__(  # noqa: PLR0913 - each of these changes what is planned
        self,
        dtype: Dtype,
        shape: Shape,
        *,
        fast_accumulate: bool = False,
        workspace_bytes: int,
        scale_a: int = 0,
        scale_b: int = 0,
        wanted: int = 16,
    ) -> None:
        self._name, self.workspace_bytes = f"{dtype.name} {shape}", workspace_bytes
        settings = {"TRANSA": 1, "TRANSB": 0} | _scaling(dtype, fast_accumulate, lt_a=scale_b, lt_b=scale_a)
        self._scalars = np.array([1, 0], _SCALARS[_FORMATS[dtype.name][-1]])
        self._handle = _handle()
        with ExitStack() as made:
            try:
                self._plan(made, dtype, shape, settings)
                self._candidates = self._ask_for_algorithms(made, wanted)
            except NoAlgorithm as refused:
                none = f"cublasLt {version()} has no algorithm for {self._name} on this GPU ({refused})"
                raise NoAlgorithm(misfit(dtype, shape) or none) from refused
            self.algorithms: tuple[dict[str, str | int], ...] = tuple(map(_described, self._candidates))
            self._made = made.pop_all()

    def launcher(self, candidate: int, *, workspace: int, stream: int) -> Callable[[int, int, int], None]:
        """Return a function of the device pointers of A, B and D that enqueues the product on `stream`.

        `candidate` is an index into `algorithms`; `workspace` points to `workspace_bytes` on the device (0: none),
        at a multiple of 256 bytes. The function returns at once, allocates nothing on the device, may be captured
        in a graph, and is not to be called after `close`. It raises NoAlgorithm if this one does not run after
        all, or MemoryError.
        """
        lt = _binding()
        matmul, refused = lt.matmul, lt.cuBLASLtError
        handle, desc, algo = self._handle, self._descriptor, self._candidates[candidate].ptr
        lt_a, lt_b, lt_d = self._layouts
        one = self._scalars.ctypes.data
        zero = one + self._scalars.itemsize
        size = self.workspace_bytes if workspace else 0

        def launch(a: int, b: int, d: int) -> None:
            try:
                matmul(handle, desc, one, b, lt_a, a, lt_b, zero, d, lt_d, d, lt_d, algo, workspace, size, stream)
            except refused as error:
                # That `self` is named here also keeps the scalars and the algorithm alive.
                raise _failure(_MATMUL, error.status, f" for {self._name}") from error

        return launch

    def close(self) -> None:
        """Give the descriptors back; nothing launched may still be waiting. A second call does nothing."""
        self._made.close()

    def _plan(self, made: ExitStack, dtype: Dtype, shape: Shape, settings: dict[str, int]) -> None:
        from nvmath import CudaDataType  # noqa: PLC0415 - see `_binding`
        from nvmath.bindings.cublas import ComputeType  # noqa: PLC0415 - nvmath.ComputeType is another enumeration

        *types, compute, scale = _FORMATS[dtype.name]
        operand, result, scale_type = (CudaDataType[f"CUDA_R_{name}"] for name in (*types, scale))
        self._descriptor = _make(made, "matmul_desc", ComputeType[f"COMPUTE_{compute}"], scale_type)
        for name, value in settings.items():
            _set("matmul_desc", self._descriptor, _binding().MatmulDescAttribute[name], value)
        m, n, k = shape.m, shape.n, shape.k
        sizes = ((operand, k, n, k), (operand, k, m, k), (result, n, m, n))
        self._layouts = tuple(_make(made, "matrix_layout", *size) for size in sizes)

    def _ask_for_algorithms(self, made: ExitStack, wanted: int) -> list[Any]:
        lt = _binding()
        preference = _make(made, "matmul_preference")
        limit = lt.MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES
        _set("matmul_preference", preference, limit, self.workspace_bytes)
        results, found = lt.MatmulHeuristicResult(wanted), np.zeros(1, np.int32)
        problem = (self._handle, self._descriptor, *self._layouts, self._layouts[-1], preference)
        _ask("matmul_algo_get_heuristic", *problem, wanted, results.ptr, found.ctypes.data)
        offered = (results[index] for index in range(int(found[0])))  # views, which keep `results` alive
        usable = [result for result in offered if result.state == _SUCCESS]
        if not usable:
            message = f"none works within {self.workspace_bytes} bytes of workspace"
            raise NoAlgorithm(message)
        return usable


def _scaling(dtype: Dtype, fast: bool, *, lt_a: int, lt_b: int) -> dict[str, int]:  # noqa: FBT001
    """Return the settings that only narrow types have; a ValueError is a mistake of the caller."""
    pointers = {name: at for name, at in (("A_SCALE_POINTER", lt_a), ("B_SCALE_POINTER", lt_b)) if at}
    takes = {"fp8": (0, 1, 2), "nvfp4": (2,)}.get(dtype.name, (0,))
    if len(pointers) not in takes or (fast and dtype.name != "fp8"):
        message = f"{dtype.name} does not go with {len(pointers)} scales and fast_accumulate={fast}"
        raise ValueError(message)
    if dtype.name == "nvfp4":
        mode = int(_binding().MatmulMatrixScale.VEC16_UE4M3)
        return {"A_SCALE_MODE": mode, "B_SCALE_MODE": mode} | pointers
    return {"FAST_ACCUM": int(fast)} | pointers if dtype.name == "fp8" else {}


def _described(result: Any) -> dict[str, str | int]:  # noqa: ANN401 - the binding has no types
    """Return what an algorithm is, with short names where the binding has some: a newer library's are numbers."""
    lt = _binding()
    described: dict[str, str | int] = {}
    for key, name, names in _CONFIG:
        attribute = lt.MatmulAlgoConfigAttribute[name]
        value, written = np.zeros(1, lt.get_matmul_algo_config_attribute_dtype(attribute)), np.zeros(1, np.uint64)
        to = (value.ctypes.data, value.nbytes, written.ctypes.data)
        _ask("matmul_algo_config_get_attribute", result.ptr, attribute, *to)
        members = getattr(lt, names) if names else ()
        known = {int(member): _PREFIX.sub("", member.name).lower() for member in members}
        described[key] = known.get(value.item(), value.item())
    return described | {"workspace_bytes": int(result.workspace_size), "waves": f"{result.waves_count:.3g}"}


def _make(made: ExitStack, kind: str, *arguments: int) -> int:
    pointer = int(_ask(f"{kind}_create", *arguments))
    made.callback(_ask, f"{kind}_destroy", pointer)
    return pointer


def _set(kind: str, target: int, attribute: int, value: int) -> None:
    """Set an attribute, in the width that the binding knows for it."""
    stored = np.array([value], getattr(_binding(), f"get_{kind}_attribute_dtype")(attribute))
    _ask(f"{kind}_set_attribute", target, attribute, stored.ctypes.data, stored.nbytes)


@cache
def _handle() -> int:
    return int(_ask("create"))


def _ask(call: str, *arguments: int) -> Any:  # noqa: ANN401 - whatever the binding returns
    lt = _binding()
    try:
        return getattr(lt, call)(*arguments)
    except lt.cuBLASLtError as error:
        raise _failure(call, error.status) from error
    except RuntimeError as error:  # the binding's own: no driver, no library, or one without this function
        message = f"cublasLt cannot be used: {one_line(error)}; check the NVIDIA driver and the cuBLAS package"
        raise BackendUnavailable(message) from error


def _failure(call: str, status: int, where: str = "") -> Exception:
    said = f"cublasLt's {call} answered {_binding().get_status_name(status)}{where}"
    if status == _ALLOC_FAILED:
        return MemoryError(said)
    if call == _MATMUL or (status in _REFUSALS and call in _MAY_REFUSE):
        return NoAlgorithm(said)
    return BackendUnavailable(f"{said}; CUBLASLT_LOG_LEVEL=5 makes it say why")


def _binding() -> Any:  # noqa: ANN401 - the binding has no types
    try:
        from nvmath.bindings import cublasLt  # noqa: PLC0415 - half a second, and most runs never need it
    except ImportError as error:
        message = f"cublasLt needs nvmath-python ({one_line(error)}): pip install nvmath-python ml-dtypes"
        raise BackendUnavailable(message) from error
    return cublasLt

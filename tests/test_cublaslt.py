"""cublasLt as we drive it: through the real binding, on a stand-in that computes each product in host memory."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from bench.devices.nvidia import cublaslt
from bench.devices.nvidia.cublaslt import LtMatmul, NoAlgorithm, misfit
from bench.errors import BackendUnavailable
from bench.units import DTYPES
from bench.workloads.base import Shape
from tests.standins import SONAMES, StandIns

Array = npt.NDArray[Any]

STORED: Final[dict[str, Any]] = {
    "fp64": np.float64, "fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn, "int8": np.int8, "int32": np.int32, "nvfp4": ml_dtypes.float4_e2m1fn,
}  # fmt: skip
# Largest relative error of a row. What is summed more coarsely must also show: see the tests of tf32 and acc16.
TOLERANCE: Final = {
    "fp64": 1e-13, "fp32": 1e-5, "tf32": 1e-3, "fp16": 1e-3, "fp16_acc16": 2e-2,
    "bf16": 5e-3, "fp8": 5e-3, "int8": 0.0, "nvfp4": 5e-3,
}  # fmt: skip
ALLOC_FAILED, INVALID_VALUE, EXECUTION_FAILED, NOT_SUPPORTED = 3, 7, 13, 15
MIB: Final = 1 << 20


def hooks() -> ctypes.CDLL:
    """The stand-in itself, which is loaded already."""
    library = ctypes.CDLL(SONAMES["cublaslt"])
    library.cublaslt_standin_last_stream.restype = ctypes.c_void_p
    library.cublaslt_standin_last_workspace.restype = ctypes.c_void_p
    return library


def fail_next(call: str, status: int) -> None:
    hooks().cublaslt_standin_fail_next(call.encode(), status)


def numbers(name: str, rows: int, columns: int, seed: int) -> Array:
    """Random numbers that the format can store, as float64."""
    drawn = np.random.default_rng(seed).standard_normal((rows, columns))
    scaled = np.clip(np.rint(drawn * 20), -127, 127) if name == "int8" else drawn
    return scaled.astype(STORED[DTYPES[name].input]).astype(np.float64)


def stored(name: str, values: Array) -> Array:
    """The bytes of `values` in the format: FP4 packs two a byte along K, in either order if both do alike."""
    exact = values.astype(STORED[DTYPES[name].input])
    if name != "nvfp4":
        return np.ascontiguousarray(exact)
    nibbles = exact.view(np.uint8) & 0xF
    return np.ascontiguousarray(nibbles[:, 0::2] | nibbles[:, 1::2] << 4)


def tiled(scales: Array) -> Array:
    """Scales [rows, blocks] as UE4M3 in tiles of 128 rows by 4; a tile's row r is at 16·(r % 32) + 4·(r // 32)."""
    rows, blocks = scales.shape
    padded = np.full((-(-rows // 128) * 128, -(-blocks // 4) * 4), np.nan)
    padded[:rows, :blocks] = scales
    folded = padded.reshape(padded.shape[0] // 128, 4, 32, padded.shape[1] // 4, 4).transpose(0, 3, 2, 1, 4)
    return np.ascontiguousarray(folded.astype(ml_dtypes.float8_e4m3fn)).view(np.uint8).ravel()


class Product(NamedTuple):
    """What came out, and what FP64 makes of the same stored numbers."""

    got: Array
    expected: Array

    @property
    def error(self) -> float:
        """The largest relative error of a row."""
        distance = np.linalg.norm(self.got - self.expected, axis=1)
        return float((distance / np.linalg.norm(self.expected, axis=1)).max())


def run(matmul: LtMatmul, a: Array, b: Array, d: Array, candidate: int = 0) -> None:
    workspace = np.empty(matmul.workspace_bytes, np.uint8)
    matmul.launcher(candidate, workspace=workspace.ctypes.data, stream=0)(
        a.ctypes.data, b.ctypes.data, d.ctypes.data
    )


def product(name: str, m: int, n: int, k: int, **options: Any) -> Product:  # noqa: ANN401
    """Multiply random numbers; `scales` are fp8's two factors or None, or two arrays of a factor a block."""
    dtype, shape = DTYPES[name], Shape(m=m, n=n, k=k)
    a, b = numbers(name, m, k, seed=1), numbers(name, n, k, seed=2)
    d = np.full((m, n), 77, STORED[dtype.output])
    ones = (np.ones((m, k // 16)), np.ones((n, k // 16))) if name == "nvfp4" else None
    scales = options.pop("scales", ones)
    if scales:
        placed = [tiled(scale) if name == "nvfp4" else np.array([scale], np.float32) for scale in scales]
        options |= {"scale_a": placed[0].ctypes.data, "scale_b": placed[1].ctypes.data}
        spread = [np.repeat(scale, 16, axis=1) if name == "nvfp4" else scale for scale in scales]
    a_scaled, b_scaled = (a * spread[0], b * spread[1]) if scales else (a, b)
    with closing(LtMatmul(dtype, shape, workspace_bytes=MIB, **options)) as matmul:
        run(matmul, stored(name, a), stored(name, b), d)
    return Product(d.astype(np.float64), a_scaled @ b_scaled.T)


@pytest.mark.parametrize("shape", [(32, 48, 64), (96, 16, 32)])
@pytest.mark.parametrize("name", DTYPES)
def test_every_format_multiplies_as_fp64_does(
    in_standins: StandIns, name: str, shape: tuple[int, int, int]
) -> None:
    assert in_standins(product, name, *shape).error <= TOLERANCE[name]


def test_any_shape_will_do_for_wide_formats(in_standins: StandIns) -> None:
    assert in_standins(product, "bf16", 3, 5, 7).error <= TOLERANCE["bf16"]


def test_tf32_is_not_fp32(in_standins: StandIns) -> None:
    assert in_standins(product, "tf32", 32, 48, 64).error > 100 * in_standins(product, "fp32", 32, 48, 64).error


def test_sums_in_half_are_coarser_than_sums_in_single(in_standins: StandIns) -> None:
    coarse, fine = (in_standins(product, name, 32, 48, 512).error for name in ("fp16_acc16", "fp16"))
    assert coarse > 2 * fine


def test_fp8_scales_multiply_the_product(in_standins: StandIns) -> None:
    scaled = in_standins(product, "fp8", 32, 48, 64, scales=(0.5, 8.0))
    assert scaled.error <= TOLERANCE["fp8"]
    assert np.array_equal(scaled.got, 4 * in_standins(product, "fp8", 32, 48, 64).got)


def test_fp8_without_scales_is_not_scaled(in_standins: StandIns) -> None:
    bare, ones = (in_standins(product, "fp8", 32, 48, 64, scales=scales) for scales in (None, (1.0, 1.0)))
    assert np.array_equal(bare.got, ones.got)


@pytest.mark.parametrize("shape", [(32, 48, 64), (160, 144, 160)])
def test_each_nvfp4_block_takes_its_own_scale(in_standins: StandIns, shape: tuple[int, int, int]) -> None:
    # Beyond 128 rows and 64 numbers along K, so that the order of the tiles counts; a's scales are not b's.
    m, n, k = shape
    draw = np.random.default_rng(3)
    scales = (2.0 ** draw.integers(-3, 4, (m, k // 16)), 2.0 ** draw.integers(-6, 1, (n, k // 16)))
    assert in_standins(product, "nvfp4", m, n, k, scales=scales).error <= TOLERANCE["nvfp4"]


def test_fast_accumulation_is_off_unless_asked_for(in_standins: StandIns) -> None:
    plain = in_standins(product, "fp8", 32, 48, 512)
    off = in_standins(product, "fp8", 32, 48, 512, fast_accumulate=False)
    fast = in_standins(product, "fp8", 32, 48, 512, fast_accumulate=True)
    assert np.array_equal(plain.got, off.got)
    assert plain.error < fast.error <= 3e-2


def request(name: str, **options: Any) -> None:  # noqa: ANN401
    LtMatmul(DTYPES[name], Shape(m=32, n=48, k=64), workspace_bytes=MIB, **options).close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bf16", {"fast_accumulate": True}),
        ("bf16", {"scale_a": 4096}),
        ("nvfp4", {}),
        ("nvfp4", {"scale_b": 4096}),
    ],
)
def test_options_of_another_format_are_a_mistake(
    in_standins: StandIns, name: str, options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=f"^{name} does not go with"):
        in_standins(request, name, **options)


# --- shapes that do not fit


def accepted(name: str, m: int, n: int, k: int) -> bool:
    scales = 4096 if name == "nvfp4" else 0  # nothing reads them
    try:
        LtMatmul(DTYPES[name], Shape(m=m, n=n, k=k), workspace_bytes=MIB, scale_a=scales, scale_b=scales).close()
    except NoAlgorithm:
        return False
    return True


@pytest.mark.parametrize("name", DTYPES)
def test_a_misfit_is_what_the_library_refuses(in_standins: StandIns, name: str) -> None:
    shapes = [(32, 48, 64), (33, 48, 64), (32, 44, 64), (32, 47, 64), (32, 48, 60), (32, 48, 63), (32, 48, 80)]
    said = [misfit(DTYPES[name], Shape(m=m, n=n, k=k)) is None for m, n, k in shapes]
    assert said == [in_standins(accepted, name, *shape) for shape in shapes]


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("fp8", Shape(m=1, n=1000, k=64), "fp8 needs n in multiples of 16, not 1000: take 992 or 1008"),
        ("nvfp4", Shape(m=64, n=64, k=16), "nvfp4 needs k in multiples of 32, not 16: take 32"),
        ("int8", Shape(m=1, n=7, k=4), "int8 needs n in multiples of 4, not 7: take 4 or 8"),
    ],
)
def test_a_misfit_says_which_value_and_what_to_take(name: str, shape: Shape, text: str) -> None:
    assert misfit(DTYPES[name], shape) == text


# --- algorithms


def algorithms(workspace_bytes: int = MIB, wanted: int = 16) -> tuple[dict[str, str | int], ...]:
    shape = Shape(m=32, n=48, k=64)
    with closing(LtMatmul(DTYPES["bf16"], shape, workspace_bytes=workspace_bytes, wanted=wanted)) as matmul:
        return matmul.algorithms


def test_an_algorithm_is_described_by_name(in_standins: StandIns) -> None:
    assert in_standins(algorithms)[1] == {
        "algo": 67, "tile": "128x256", "stages": "128xauto", "split_k": 1, "reduction": "none", "swizzle": 1,
        "custom_option": 2, "inner_shape": "undefined", "cluster": "2x2x1", "workspace_bytes": 0, "waves": "1.25",
    }  # fmt: skip


def test_a_name_that_the_binding_does_not_know_is_a_number(in_standins: StandIns) -> None:
    assert in_standins(algorithms, 8 * MIB)[3]["tile"] == 9999


def test_only_algorithms_that_work_within_the_workspace_are_kept(in_standins: StandIns) -> None:
    # The stand-in lists 21 too, with a state that says it does not work.
    kept = {room: [one["algo"] for one in in_standins(algorithms, room)] for room in (0, MIB, 8 * MIB, 64 * MIB)}
    assert kept == {0: [66, 67], MIB: [66, 67, 22], 8 * MIB: [66, 67, 22, 68], 64 * MIB: [66, 67, 22, 68, 69]}


def test_no_more_algorithms_are_asked_for_than_wanted(in_standins: StandIns) -> None:
    assert [len(in_standins(algorithms, MIB, wanted)) for wanted in (1, 2, 4)] == [1, 2, 3]


def ran(candidate: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What the last product ran with, and what it was to run with."""
    a, d, workspace = np.ones((16, 16)), np.zeros((16, 16)), np.empty(MIB, np.uint8)
    with closing(LtMatmul(DTYPES["fp64"], Shape(m=16, n=16, k=16), workspace_bytes=MIB)) as matmul:
        launch = matmul.launcher(candidate, workspace=workspace.ctypes.data, stream=4711)
        launch(a.ctypes.data, a.ctypes.data, d.ctypes.data)
        wanted = (matmul.algorithms[candidate]["algo"], 4711, workspace.ctypes.data)
    library = hooks()
    used = (library.cublaslt_standin_last_stream(), library.cublaslt_standin_last_workspace())
    return (library.cublaslt_standin_last_algo(), *used), wanted


@pytest.mark.parametrize("candidate", [0, 1, 2])
def test_the_chosen_algorithm_runs_on_the_given_stream_and_workspace(
    in_standins: StandIns, candidate: int
) -> None:
    used, wanted = in_standins(ran, candidate)
    assert used == wanted


def launched_alone() -> bool:
    """Whether a launcher computes when nothing else refers to its product and that memory was used again."""
    a, d = np.ones((16, 16)), np.zeros((16, 16))
    launch = LtMatmul(DTYPES["fp64"], Shape(m=16, n=16, k=16), workspace_bytes=0).launcher(
        0, workspace=0, stream=0
    )
    reused = [np.full(count, 255, np.uint8) for count in range(1, 4096)]
    launch(a.ctypes.data, a.ctypes.data, d.ctypes.data)
    return bool(reused) and bool((d == 16).all())


def test_a_launcher_keeps_what_it_needs(in_standins: StandIns) -> None:
    assert in_standins(launched_alone)


# --- failures


def failing(call: str, status: int, name: str = "bf16") -> None:
    a, d = np.zeros((16, 16), np.uint16), np.zeros((16, 16), np.uint16)
    fail_next(call, status)
    try:
        with closing(LtMatmul(DTYPES[name], Shape(m=16, n=16, k=16), workspace_bytes=MIB)) as matmul:
            run(matmul, a, a, d)
    finally:
        fail_next("", 0)


PLANNING: Final = ("cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate")
HEURISTIC: Final = "cublasLtMatmulAlgoGetHeuristic"


@pytest.mark.parametrize("status", [NOT_SUPPORTED, INVALID_VALUE])
@pytest.mark.parametrize("call", [*PLANNING, HEURISTIC])
def test_a_refusal_means_no_algorithm(in_standins: StandIns, call: str, status: int) -> None:
    name = {NOT_SUPPORTED: "NOT_SUPPORTED", INVALID_VALUE: "INVALID_VALUE"}[status]
    with pytest.raises(NoAlgorithm, match=rf"^cublasLt 13.1.0 has no algorithm for bf16 16³ .*{name}\)$"):
        in_standins(failing, call, status)


@pytest.mark.parametrize("status", [NOT_SUPPORTED, INVALID_VALUE, EXECUTION_FAILED, 8, 14, 9999])
def test_an_algorithm_that_is_offered_may_still_not_run(in_standins: StandIns, status: int) -> None:
    """With EXECUTION_FAILED too, as cuBLAS 13.6 does; whether the device is lost, its next wait tells."""
    with pytest.raises(NoAlgorithm, match=r"^cublasLt's matmul answered "):
        in_standins(failing, "cublasLtMatmul", status)


def test_an_empty_list_means_no_algorithm(in_standins: StandIns) -> None:
    with pytest.raises(NoAlgorithm, match="none works within 0 bytes of workspace"):
        in_standins(none_works)


def none_works() -> None:
    """With the two that need no workspace left out, what remains is the one that does not work."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cublaslt, "_SUCCESS", NOT_SUPPORTED + 1)
        algorithms(0)


def test_a_misfit_is_named_when_there_is_no_algorithm(in_standins: StandIns) -> None:
    with pytest.raises(NoAlgorithm, match=r"^fp8 needs k in multiples of 16, not 24: take 16 or 32$"):
        in_standins(product, "fp8", 16, 16, 24)


@pytest.mark.parametrize("call", [*PLANNING, HEURISTIC, "cublasLtMatmul"])
def test_no_memory_is_a_memory_error(in_standins: StandIns, call: str) -> None:
    with pytest.raises(MemoryError, match="ALLOC_FAILED"):
        in_standins(failing, call, ALLOC_FAILED)


@pytest.mark.parametrize(
    ("call", "status", "said"),
    [
        (HEURISTIC, EXECUTION_FAILED, "matmul_algo_get_heuristic answered CUBLAS_STATUS_EXECUTION_FAILED"),
        (HEURISTIC, 9999, "matmul_algo_get_heuristic answered unrecognized status"),
    ],
)
def test_any_other_failure_loses_the_backend(in_standins: StandIns, call: str, status: int, said: str) -> None:
    with pytest.raises(BackendUnavailable) as raised:
        in_standins(failing, call, status)
    assert str(raised.value) == f"cublasLt's {said}; CUBLASLT_LOG_LEVEL=5 makes it say why"


def alive_after(act: Callable[..., Any], *arguments: Any) -> int:  # noqa: ANN401
    """How many objects `act` leaves, whether or not it fails."""
    request("bf16")  # so that the shared handle exists
    before: int = hooks().cublaslt_standin_live()
    with suppress(NoAlgorithm, MemoryError, BackendUnavailable):
        act(*arguments)
    after: int = hooks().cublaslt_standin_live()
    return after - before


@pytest.mark.parametrize(
    "call", [*PLANNING, HEURISTIC, "cublasLtMatmulPreferenceCreate", "cublasLtMatmulAlgoConfigGetAttribute"]
)
def test_a_failure_leaves_nothing_behind(in_standins: StandIns, call: str) -> None:
    assert in_standins(alive_after, failing, call, ALLOC_FAILED) == 0


def test_closing_twice_frees_once(in_standins: StandIns) -> None:
    assert in_standins(alive_after, close_twice) == 0


def close_twice() -> None:
    matmul = LtMatmul(DTYPES["fp8"], Shape(m=16, n=16, k=16), workspace_bytes=0)
    matmul.close()
    matmul.close()


def test_without_a_handle_there_is_no_backend(built_standins: dict[str, Any]) -> None:
    process = StandIns(built_standins, "cuda", "cublaslt")  # its own: a handle, once made, is kept
    with pytest.raises(BackendUnavailable, match="create answered CUBLAS_STATUS_NOT_INITIALIZED"):
        process(failing, "cublasLtCreate", 1)
    assert process(product, "fp32", 8, 8, 8).error <= TOLERANCE["fp32"], "the failure must not stick"
    process.close()


# --- the binding


def test_the_version_is_readable(in_standins: StandIns) -> None:
    assert in_standins(cublaslt.version) == "13.1.0"


def test_importing_the_module_loads_no_binding() -> None:
    program = (
        "import sys, bench.devices.nvidia.cublaslt; print([m for m in sys.modules if m.startswith('nvmath')])"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"


def test_without_the_binding_there_is_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvmath.bindings", None)
    with pytest.raises(BackendUnavailable, match=r"needs nvmath-python .*: pip install nvmath-python ml-dtypes"):
        cublaslt.version()

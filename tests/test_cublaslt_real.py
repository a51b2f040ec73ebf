"""What we set on cublasLt's descriptors, read back from the real library: the stand-in may share our mistakes.

Descriptors, layouts and preferences work without a driver there, a handle does not: `LtMatmul` plans as far as the
question for algorithms, where everything is read back instead.
"""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from bench.devices.nvidia import cublaslt
from bench.devices.nvidia.cublaslt import LtMatmul, NoAlgorithm
from bench.units import DTYPES
from bench.workloads.base import Shape
from tests.standins import SONAMES, StandIns

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("nvmath") is None, reason="nvmath-python, of the test extra, is not here"),
]

SHAPE: Final = Shape(m=32, n=48, k=64)
SCALE_A, SCALE_B = 0x7F0000001000, 0x7F0000002000  # wider than four bytes, as device pointers are
WORKSPACE: Final = 5 << 30  # likewise
# From NVIDIA's headers (library_types.h, cublas_api.h, cublasLt.h): operands, result, sums, alpha and beta.
TYPES: Final = {
    "fp64": (1, 1, 70, 1), "fp32": (0, 0, 68, 0), "tf32": (0, 0, 77, 0), "fp16": (2, 2, 68, 0),
    "fp16_acc16": (2, 2, 64, 2), "bf16": (14, 14, 68, 0), "fp8": (28, 14, 68, 0), "int8": (3, 10, 72, 10),
    "nvfp4": (33, 14, 68, 0),
}  # fmt: skip
# Attributes of a product: their number, and how many bytes they take.
COMPUTE_TYPE, SCALE_TYPE, TRANSA, TRANSB = (0, 4), (1, 4), (3, 4), (4, 4)
A_SCALE, B_SCALE, FAST_ACCUM, A_MODE, B_MODE = (17, 8), (18, 8), (25, 1), (31, 4), (32, 4)
PRODUCT: Final = (COMPUTE_TYPE, SCALE_TYPE, TRANSA, TRANSB, A_SCALE, B_SCALE, FAST_ACCUM, A_MODE, B_MODE)
# Of a matrix: type, order (0: by columns), rows, columns, leading dimension, batches.
MATRIX: Final = ((0, 4), (1, 4), (2, 8), (3, 8), (4, 8), (5, 4))
MAX_WORKSPACE: Final = (1, 8)


class Planned(NamedTuple):
    """What the library holds when it is asked for algorithms, and what we had set by then."""

    product: dict[int, int]
    matrices: tuple[tuple[int, ...], ...]
    workspace: int
    set_in_product: dict[int, int]
    set_in_preference: dict[int, int]
    wanted: int


class Recorder:
    """Stands before the real binding and notes what is set; asked for algorithms, it reads all of it back."""

    def __init__(self, real: Any) -> None:  # noqa: ANN401 - the binding has no types
        self._real = real
        self._noted: dict[str, dict[int, int]] = {"matmul_desc": {}, "matmul_preference": {}}
        self.planned: Planned | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._real, name)

    def matmul_desc_set_attribute(self, target: int, attribute: int, value: int, size: int) -> None:
        self._note("matmul_desc", target, attribute, value, size)

    def matmul_preference_set_attribute(self, target: int, attribute: int, value: int, size: int) -> None:
        self._note("matmul_preference", target, attribute, value, size)

    def matmul_algo_get_heuristic(self, *problem: int) -> None:
        _handle, product, a, b, c, d, preference, wanted, _results, found = problem
        ctypes.c_int.from_address(found).value = 0
        self.planned = Planned(
            {attribute: self._read("matmul_desc", product, attribute, size) for attribute, size in PRODUCT},
            tuple(tuple(self._read("matrix_layout", at, *one) for one in MATRIX) for at in (a, b, c, d)),
            self._read("matmul_preference", preference, *MAX_WORKSPACE),
            self._noted["matmul_desc"],
            self._noted["matmul_preference"],
            wanted,
        )

    def _note(self, kind: str, target: int, attribute: int, value: int, size: int) -> None:
        self._noted[kind][int(attribute)] = int.from_bytes(ctypes.string_at(value, size), sys.byteorder)
        getattr(self._real, f"{kind}_set_attribute")(target, attribute, value, size)

    def _read(self, kind: str, target: int, attribute: int, size: int) -> int:
        buffer, written = np.zeros(size, np.uint8), np.zeros(1, np.uint64)
        get = getattr(self._real, f"{kind}_get_attribute")
        get(target, attribute, buffer.ctypes.data, size, written.ctypes.data)
        assert written[0] == size
        return int.from_bytes(buffer.tobytes(), sys.byteorder)


def plan(name: str, **options: Any) -> Planned:  # noqa: ANN401
    """Plan a product on the real library, but for a handle and for algorithms."""
    recorder = Recorder(cublaslt._binding())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cublaslt, "_binding", lambda: recorder)
        patched.setattr(cublaslt, "_handle", lambda: 0)
        with pytest.raises(NoAlgorithm):
            LtMatmul(DTYPES[name], SHAPE, workspace_bytes=WORKSPACE, **options)
    assert recorder.planned is not None
    return recorder.planned


def _installed(folder: Path) -> Path:
    """Return the real library of this environment, or install its wheel into `folder`."""
    try:
        here = [Path(str(file.locate())) for file in files("nvidia-cublas") or ()]
    except PackageNotFoundError:
        install = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "nvidia-cublas==13.*")
        subprocess.run([sys.executable, *install], check=True)
        here = list(folder.rglob("*"))
    return next(path for path in here if path.name == SONAMES["cublaslt"])


@pytest.fixture(scope="module")
def on_real(built_standins: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIns]:
    real = {"cuda": built_standins["cuda"], "cublaslt": _installed(tmp_path_factory.mktemp("wheel"))}
    process = StandIns(real, "cuda", "cublaslt")
    yield process
    process.close()


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "fp8": {"fast_accumulate": True, "scale_a": SCALE_A, "scale_b": SCALE_B},
    "nvfp4": {"scale_a": SCALE_A, "scale_b": SCALE_B},
}


@pytest.mark.parametrize("name", DTYPES)
def test_the_library_holds_what_was_set(on_real: StandIns, name: str) -> None:
    planned = on_real(plan, name, **OPTIONS.get(name, {}))
    assert planned.set_in_product == {key: planned.product[key] for key in planned.set_in_product}
    assert planned.set_in_preference == {MAX_WORKSPACE[0]: planned.workspace} == {MAX_WORKSPACE[0]: WORKSPACE}
    assert planned.wanted == 16


@pytest.mark.parametrize("name", DTYPES)
def test_the_library_holds_the_product_that_is_meant(on_real: StandIns, name: str) -> None:
    operand, result, compute, scale = TYPES[name]
    planned = on_real(plan, name, **OPTIONS.get(name, {}))
    meant = {key: 0 for key, _ in PRODUCT} | {COMPUTE_TYPE[0]: compute, SCALE_TYPE[0]: scale, TRANSA[0]: 1}
    if name in OPTIONS:
        meant |= {A_SCALE[0]: SCALE_B, B_SCALE[0]: SCALE_A}  # the library's A is our B
    if name == "fp8":
        meant |= {FAST_ACCUM[0]: 1}
    if name == "nvfp4":
        meant |= {A_MODE[0]: 1, B_MODE[0]: 1}
    assert planned.product == meant
    by_columns = 0
    d = (result, by_columns, SHAPE.n, SHAPE.m, SHAPE.n, 1)
    assert planned.matrices == (
        (operand, by_columns, SHAPE.k, SHAPE.n, SHAPE.k, 1),
        (operand, by_columns, SHAPE.k, SHAPE.m, SHAPE.k, 1),
        d,
        d,
    )


def test_fast_accumulation_is_set_to_off(on_real: StandIns) -> None:
    planned = on_real(plan, "fp8")
    assert planned.set_in_product[FAST_ACCUM[0]] == planned.product[FAST_ACCUM[0]] == 0


def config_sizes() -> dict[int, tuple[int, int]]:
    """Bytes of each attribute of an algorithm, as the library says and as the binding makes us ask."""
    lt = cublaslt._binding()
    algorithm, written = np.zeros(8, np.uint64), np.zeros(1, np.uint64)
    sizes = {}
    for attribute in lt.MatmulAlgoConfigAttribute:
        lt.matmul_algo_config_get_attribute(algorithm.ctypes.data, attribute, 0, 0, written.ctypes.data)
        asked = np.dtype(lt.get_matmul_algo_config_attribute_dtype(attribute)).itemsize
        sizes[int(attribute)] = (int(written[0]), asked)
    return sizes


def test_an_algorithm_is_asked_in_the_widths_that_the_library_has(on_real: StandIns) -> None:
    assert on_real(config_sizes) == {index: (4, 4) if index < 7 else (2, 2) for index in range(9)}


def test_the_version_is_that_of_the_library(on_real: StandIns) -> None:
    assert on_real(cublaslt.version).startswith("13.")

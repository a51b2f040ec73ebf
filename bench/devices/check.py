"""Is a product right? Sampled rows and one whole-matrix test against FP64, in host or device memory."""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.devices.base import Check
from bench.workloads.base import Cell
from bench.workloads.stream import SCALAR

ROWS: Final = 64
# The largest ‖d−ref‖/‖ref‖ of a row that a correct kernel of this format may show. Far over rounding, far
# under what one lost slice of 64 products in 8192 costs (0.09). TF32 inputs that are cut off, not rounded, to 11
# bits cost 8.2e-4 (simulated). Summing in FP16 rounds a partial sum 8192 times; NVFP4 products are exact in FP32,
# so it rounds as its BF16 output does.
TOLERANCES: Final = MappingProxyType(
    {"fp64": 1e-13, "fp32": 1e-5, "tf32": 1.2e-3, "fp16": 1e-3, "fp16_acc16": 5e-2, "bf16": 5e-3}
    | {"fp8": 5e-3, "int8": 0.0, "nvfp4": 5e-3}
)
_FAST_FP8: Final = 3e-2  # Hopper's fast accumulation keeps 13 bits or so of a partial sum
# A row's error meets a random vector as a normal variable: five of its deviations allow for 10⁵ rows.
PRODUCT_FACTOR: Final = 5.0
_EXACT: Final = 1e-12  # what D·r itself rounds where D is exact
_CHUNK: Final = 512
# Numbers of a stream that are looked at together: on a CPU few, so that their copies stay in the heap.
_PART, _DEVICE_PART = 1 << 18, 1 << 22
_TRIAD: Final = 5e-7

Matrix = npt.NDArray[Any]


class Held(NamedTuple):
    """A matrix where it lies: `rows`, stored row by row, and `decode`, which gives some of them in FP64."""

    rows: Matrix
    decode: Callable[[Matrix], Matrix]

    def chunk(self, start: int) -> Matrix:
        """Return some rows from `start` on in FP64: a copy of the whole matrix might not fit."""
        return self.decode(self.rows[start : start + _CHUNK])

    def starts(self) -> range:
        """Return where the chunks begin."""
        return range(0, self.rows.shape[0], _CHUNK)


def plain(matrix: Matrix) -> Held:
    """Return a matrix of numbers that NumPy (or CuPy) itself converts to FP64."""
    return Held(matrix, lambda rows: rows.astype(np.float64))


def tolerance_of(cell: Cell) -> float:
    """Return the largest relative error of a row that a correct kernel may show in this cell."""
    if cell.fast_accumulate:
        return _FAST_FP8
    return TOLERANCES[cell.dtype_name]


def check_product(a: Held, bt: Held, d: Held, *, tolerance: float, seed: int, xp: Any = np) -> Check:  # noqa: ANN401
    """Return how far `d` [m,n] is from `a` [m,k] · `bt`ᵀ, with `bt` [n,k], computed in FP64.

    `rows_error`: the worst of 64 seeded rows (the last always among them), whole. `product_error`: the worst
    row of D·r − A·(B·r), over the root mean square of A·(B·r), with r of n normal numbers (Freivalds, 1977).
    Anything that is not finite counts as an infinite error. `xp` is the module that the arrays belong to, numpy or
    cupy.

    Where ‖ref‖ is less than ‖a‖·‖B‖/√k, which a row of independent data has on average, that stands for it: of a
    few columns or a single row, some cancel to almost nothing, and rounding is no error of the kernel.
    """
    rng = np.random.default_rng([seed, 2])
    last = d.rows.shape[0] - 1
    rows = np.append(np.sort(rng.choice(last, min(ROWS - 1, last), replace=False)), last)
    vector = xp.asarray(rng.standard_normal(size=(bt.rows.shape[0],)))
    with np.errstate(all="ignore"):  # a wrong product may hold infinities; they are errors found, not warnings
        inner = a.decode(a.rows[:1]).shape[1]
        spread = _norm(bt, xp) / math.sqrt(inner)
        rows_error = _rows_error(a, bt, d, xp.asarray(rows), spread, xp)
        product_error = _product_error(a, bt, d, vector, spread, xp)
    return Check(
        passed=rows_error <= tolerance and product_error <= (PRODUCT_FACTOR * tolerance or _EXACT),
        tolerance=tolerance,
        rows=len(rows),
        rows_error=_finite(rows_error),
        product_error=_finite(product_error),
    )


def check_stream(operation: str, a: Matrix, b: Matrix | None, c: Matrix, *, xp: Any = np) -> Check:  # noqa: ANN401
    """Return how far `c` is from a copy of `a`, which is exact, or from the triad a + s·b, computed in FP64.

    Every number is looked at: `rows_error` is the worst part's ‖c−ref‖/(‖a‖² + ‖s·b‖²)^½, as a + s·b may cancel,
    `product_error` the worst number's error over the root mean square of those norms. Rounding once (a fused
    multiply and add) or twice costs at most 6e-8 of a number each time.
    """
    tolerance = 0.0 if operation == "copy" else _TRIAD
    step = _PART if xp is np else _DEVICE_PART
    part_errors, largest, squares = [], 0.0, 0.0
    for start in range(0, c.shape[0], step):
        part = slice(start, start + step)
        right = a[part].astype(np.float64)
        norm = float(xp.linalg.norm(right))
        if b is not None:
            scaled = SCALAR * b[part].astype(np.float64)
            norm = math.hypot(norm, float(xp.linalg.norm(scaled)))
            right += scaled
        wrong = c[part] - right
        part_errors.append(_quotient(float(xp.linalg.norm(wrong)), norm))
        largest, squares = max(largest, _number(float(xp.max(xp.abs(wrong))))), squares + norm * norm
    rows_error = max(part_errors)
    product_error = _quotient(largest, math.sqrt(squares / c.shape[0]))
    return Check(
        passed=rows_error <= tolerance and product_error <= PRODUCT_FACTOR * tolerance,
        tolerance=tolerance,
        rows=len(part_errors),
        rows_error=_finite(rows_error),
        product_error=_finite(product_error),
    )


def _quotient(error: float, scale: float) -> float:
    """Return error / scale; 0/0 is no error, anything else that is not finite is an infinite one."""
    if error == 0 and math.isfinite(scale):
        return 0.0
    return error / scale if math.isfinite(error) and 0 < scale < math.inf else math.inf


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value


def worst(checks: list[Check]) -> Check:
    """Return one check with the largest errors of several, passed only if all passed."""
    return Check(
        passed=all(check.passed for check in checks),
        tolerance=checks[0].tolerance,
        rows=min(check.rows for check in checks),
        rows_error=_largest([check.rows_error for check in checks]),
        product_error=_largest([check.product_error for check in checks]),
    )


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None


def _largest(errors: list[float | None]) -> float | None:
    finite = [error for error in errors if error is not None]
    return max(finite) if len(finite) == len(errors) else None


def _rows_error(a: Held, bt: Held, d: Held, rows: Matrix, spread: float, xp: Any) -> float:  # noqa: ANN401
    sampled = a.decode(a.rows[rows])
    exact = xp.hstack([sampled @ bt.chunk(start).T for start in bt.starts()])
    usual = spread * xp.linalg.norm(sampled, axis=1)
    scales = xp.maximum(xp.linalg.norm(exact, axis=1), usual)
    return _largest_ratio(xp.linalg.norm(d.decode(d.rows[rows]) - exact, axis=1), scales, xp)


def _product_error(a: Held, bt: Held, d: Held, r: Matrix, spread: float, xp: Any) -> float:  # noqa: ANN401
    # B·r by the rows of Bᵀ: each counts as often as r says.
    through_b = sum(bt.chunk(start).T @ r[start : start + _CHUNK] for start in bt.starts())
    expected = _times_vector(a, through_b, xp)
    usual = spread * _norm(a, xp) / math.sqrt(a.rows.shape[0])
    scale = max(float(xp.sqrt(xp.mean(expected**2))), usual)
    return _largest_ratio(xp.abs(_times_vector(d, r, xp) - expected), xp.full(d.rows.shape[0], scale), xp)


def _times_vector(matrix: Held, vector: Any, xp: Any) -> Matrix:  # noqa: ANN401
    product: Matrix = xp.concatenate([matrix.chunk(start) @ vector for start in matrix.starts()])
    return product


def _norm(matrix: Held, xp: Any) -> float:  # noqa: ANN401
    return math.hypot(*(float(xp.linalg.norm(matrix.chunk(start))) for start in matrix.starts()))


def _largest_ratio(errors: Matrix, scales: Matrix, xp: Any) -> float:  # noqa: ANN401
    """Return max(errors / scales); 0/0 is no error, anything else that is not finite is an infinite one."""
    ratios = xp.where((errors == 0) & (scales == 0), 0.0, errors / scales)
    return float(xp.max(xp.where(xp.isfinite(ratios), ratios, xp.inf)))

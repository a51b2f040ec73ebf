"""Is a product right? Sampled rows and one whole-matrix test against FP64, for arrays in host memory."""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.devices.base import Check

ROWS: Final = 64
# The largest ‖d−ref‖/‖ref‖ of a row that a correct kernel of this format may show. Far over rounding, far
# under what one lost slice of 64 products in 8192 costs (0.09).
TOLERANCES: Final = {"fp64": 1e-13, "fp32": 1e-5}
# A row's error meets a random vector as a normal variable: five of its deviations allow for 10⁵ rows.
PRODUCT_FACTOR: Final = 5.0
_CHUNK: Final = 512

Matrix = npt.NDArray[Any]


def check_product(a: Matrix, b: Matrix, d: Matrix, *, tolerance: float, seed: int) -> Check:
    """Return how far `d` [m,n] is from `a` [m,k] · `b` [k,n] computed in FP64.

    `rows_error`: the worst of 64 seeded rows (the last always among them), whole. `product_error`: the worst
    row of D·r − A·(B·r), over the root mean square of A·(B·r), with r of n normal numbers (Freivalds, 1977).
    Anything that is not finite counts as an infinite error.

    Where ‖ref‖ is less than ‖a‖·‖B‖/√k, which a row of independent data has on average, that stands for it: of a
    few columns or a single row, some cancel to almost nothing, and rounding is no error of the kernel.
    """
    rng = np.random.default_rng([seed, 2])
    last = d.shape[0] - 1
    rows = np.append(np.sort(rng.choice(last, min(ROWS - 1, last), replace=False)), last)
    with np.errstate(all="ignore"):  # a wrong product may hold infinities; they are errors found, not warnings
        spread = _norm(b) / np.sqrt(b.shape[0])
        rows_error = _rows_error(a[rows], b, d[rows], spread)
        product_error = _product_error(a, b, d, rng.standard_normal(size=(d.shape[1],)), spread)
    return Check(
        passed=rows_error <= tolerance and product_error <= PRODUCT_FACTOR * tolerance,
        tolerance=tolerance,
        rows=len(rows),
        rows_error=_finite(rows_error),
        product_error=_finite(product_error),
    )


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
    return error if np.isfinite(error) else None


def _largest(errors: list[float | None]) -> float | None:
    finite = [error for error in errors if error is not None]
    return max(finite) if len(finite) == len(errors) else None


def _rows_error(a: Matrix, b: Matrix, d: Matrix, spread: float) -> float:
    exact = np.hstack(
        [a.astype(np.float64) @ b[:, i : i + _CHUNK].astype(np.float64) for i in range(0, b.shape[1], _CHUNK)]
    )
    usual = spread * np.linalg.norm(a.astype(np.float64), axis=1)
    scales = np.maximum(np.linalg.norm(exact, axis=1), usual)
    return _largest_ratio(np.linalg.norm(d.astype(np.float64) - exact, axis=1), scales)


def _product_error(a: Matrix, b: Matrix, d: Matrix, r: Matrix, spread: float) -> float:
    expected = _times_vector(a, _times_vector(b, r))
    usual = spread * _norm(a) / np.sqrt(a.shape[0])
    scale = max(float(np.sqrt(np.mean(expected**2))), usual)
    return _largest_ratio(np.abs(_times_vector(d, r) - expected), np.full(d.shape[0], scale))


def _times_vector(matrix: Matrix, vector: Matrix) -> Matrix:
    return np.concatenate([_rows_in_fp64(matrix, i) @ vector for i in range(0, matrix.shape[0], _CHUNK)])


def _norm(matrix: Matrix) -> float:
    return math.hypot(*(np.linalg.norm(_rows_in_fp64(matrix, i)) for i in range(0, matrix.shape[0], _CHUNK)))


def _rows_in_fp64(matrix: Matrix, start: int) -> Matrix:
    """Return some rows from `start` on: a copy of the whole matrix might not fit."""
    rows: Matrix = matrix[start : start + _CHUNK].astype(np.float64)
    return rows


def _largest_ratio(errors: Matrix, scales: Matrix) -> float:
    """Return max(errors / scales); 0/0 is no error, anything else that is not finite is an infinite one."""
    ratios = np.where((errors == 0) & (scales == 0), 0.0, errors / scales)
    return float(np.max(np.where(np.isfinite(ratios), ratios, np.inf)))

"""Dense matrix multiplies, D[m,n] = A[m,k] · B[k,n]: the cells for the dtypes and shapes asked for."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.units import DTYPES, Dtype
from bench.workloads.base import Cell, Data, L2Mode, Shape

OPERATION: Final = "matmul"
VERSION: Final = 1  # 1: normal data from a fixed seed, 2·m·n·k operations a call
SWEEP_SIZES: Final = (1024, 2048, 4096, 8192, 16384)
LONGEST_DEFAULT_CALL_S: Final = 0.05


def square(size: int) -> Shape:
    """Return the shape of a product of two square matrices."""
    return Shape(m=size, n=size, k=size)


def cells(
    dtypes: Sequence[str],
    shapes: Sequence[Shape],
    *,
    library: str,
    l2: L2Mode,
    data: Data = "normal",
    regime: str = "steady",
) -> list[Cell]:
    """Return one cell per dtype and shape, dtypes outermost, each once; two for FP8: exact and fast sums."""
    made = [
        Cell(
            operation=OPERATION,
            version=VERSION,
            input=DTYPES[dtype].input,
            compute=DTYPES[dtype].compute,
            output=DTYPES[dtype].output,
            shape=shape,
            data=data,
            library=library,
            l2=l2,
            regime=regime,
            fast_accumulate=fast,
            load="alone",
        )
        for dtype in dtypes
        for shape in shapes
        for fast in _accumulation(DTYPES[dtype])
    ]
    return list(dict.fromkeys(made))


def _accumulation(dtype: Dtype) -> tuple[bool | None, ...]:
    """Return whether partial sums may be kept short: FP8 is measured both ways, the exact one first."""
    return (False, True) if dtype.input.startswith("fp8") else (None,)


def default_shape(seconds_for: Callable[[Shape], float], sizes: Sequence[int]) -> Shape:
    """Return the largest square of `sizes` (small to large) whose single call takes at most 50 ms.

    Climbs from the smallest, by `seconds_for`, and asks only for a size that eight times the last one's seconds
    would not put far beyond the limit, so that a slow device never starts a call of minutes. A larger product is
    no less efficient than a smaller one: where even the largest must be short enough, it is taken without asking.
    """
    chosen = square(sizes[0])
    for size in sizes:
        seconds = seconds_for(square(size))
        if seconds > LONGEST_DEFAULT_CALL_S:
            break
        chosen = square(size)
        if (sizes[-1] / size) ** 3 * seconds <= LONGEST_DEFAULT_CALL_S:
            return square(sizes[-1])
        if 8 * seconds > 2 * LONGEST_DEFAULT_CALL_S:
            break
    return chosen

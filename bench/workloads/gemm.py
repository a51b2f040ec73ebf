"""Dense matrix multiplies, D[m,n] = A[m,k] · B[k,n]: the cells for the dtypes and shapes asked for."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.units import DTYPES
from bench.workloads.base import Cell, Data, L2Mode, Shape

OPERATION: Final = "matmul"
VERSION: Final = 1  # 1: normal data from a fixed seed, 2·m·n·k operations a call
DEFAULT_SIZES: Final = (512, 1024, 2048, 4096, 8192)
LONGEST_DEFAULT_CALL_S: Final = 0.05


def square(size: int) -> Shape:
    """Return the shape of a product of two square matrices."""
    return Shape(m=size, n=size, k=size)


def cells(
    dtypes: Sequence[str], shapes: Sequence[Shape], *, library: str, l2: L2Mode, data: Data = "normal"
) -> list[Cell]:
    """Return one cell per dtype and shape, dtypes outermost, each once."""
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
            regime="steady",
            load="alone",
        )
        for dtype in dtypes
        for shape in shapes
    ]
    return list(dict.fromkeys(made))


def default_shape(seconds_for: Callable[[Shape], float]) -> Shape:
    """Return the largest default square whose single call takes at most 50 ms, by `seconds_for`.

    Climbs from the smallest, and asks only for a size that eight times the last one's seconds would not put
    far beyond the limit, so that a slow device never starts a call of minutes.
    """
    chosen = square(DEFAULT_SIZES[0])
    for size in DEFAULT_SIZES:
        seconds = seconds_for(square(size))
        if seconds > LONGEST_DEFAULT_CALL_S:
            break
        chosen = square(size)
        if 8 * seconds > 2 * LONGEST_DEFAULT_CALL_S:
            break
    return chosen

"""Streams through memory: copy, c = a, and triad, c = a + s·b, of FP32 arrays too large for any cache.

Bytes read and bytes written both count, as in STREAM (McCalpin, 1995): 8 a number for copy, 12 for triad. What a
processor reads of a line before it overwrites it does not count.
"""

from collections.abc import Sequence
from typing import Final

from bench.workloads.base import STREAMS, Cell, Data

OPERATIONS: Final = tuple(STREAMS)
VERSION: Final = 1  # 1: FP32, normal data from a fixed seed, s = 3
DTYPE: Final = "fp32"
SCALAR: Final = 3.0


def cells(
    operations: Sequence[str],
    elements: int,
    *,
    library: str,
    data: Data = "normal",
    regime: str = "steady",
) -> list[Cell]:
    """Return one cell per operation, on arrays of `elements` numbers each."""
    return [
        Cell(
            operation=operation,
            version=VERSION,
            input=DTYPE,
            output=DTYPE,
            elements=elements,
            data=data,
            library=library,
            regime=regime,
            load="alone",
        )
        for operation in dict.fromkeys(operations)
    ]

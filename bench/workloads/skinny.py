"""Products of one weight matrix by ever more rows: from memory-bound, M = 1, to compute-bound on one chip."""

from typing import Final

from bench.workloads.base import Shape

ROWS: Final = tuple(1 << power for power in range(14))  # 1, 2, 4 … 8192
# One format tells the story; the first of these that a backend offers.
DTYPES: Final = ("bf16", "fp16", "fp32")


def shapes(n: int, k: int) -> list[Shape]:
    """Return a product of M rows by a k×n matrix for every M of `ROWS`."""
    return [Shape(m=rows, n=n, k=k) for rows in ROWS]

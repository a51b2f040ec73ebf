"""Copies from one device's memory to another's of the same machine, one way and both ways at once.

Counted are the bytes that cross the link between the two, each once: 4 a number for a copy one way, 8 for both
ways together. (A copy within a device's memory counts what is read and what is written: the same bytes twice.)
"""

from collections.abc import Sequence
from typing import Final, Literal

from bench.workloads.base import PEER_COPY, Cell, Data

OPERATION: Final = PEER_COPY
VERSION: Final = 1  # 1: FP32, normal data from a fixed seed, one array a direction
DTYPE: Final = "fp32"
ELEMENTS: Final = 1 << 27  # 512 MiB an array, the default of nvbandwidth (defaultBufferSize)
WAYS: Final[tuple[Literal[1, 2], ...]] = (1, 2)


def cells(
    peers: Sequence[int],
    elements: int,
    *,
    library: str,
    data: Data = "normal",
    regime: str = "steady",
) -> list[Cell]:
    """Return two cells a peer, on arrays of `elements` numbers: to it, and with it both ways at once.

    A peer is named by its index as `chipbench devices` counts.
    """
    return [
        Cell(
            operation=OPERATION,
            version=VERSION,
            input=DTYPE,
            output=DTYPE,
            elements=elements,
            data=data,
            library=library,
            regime=regime,
            load="alone",
            peer=peer,
            ways=ways,
        )
        for peer in dict.fromkeys(peers)
        for ways in WAYS
    ]

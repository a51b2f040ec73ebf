"""How a library cuts a product's output into tiles, and how full the last wave of them leaves a chip."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from bench.workloads.base import Shape


class Tiling(NamedTuple):
    """Tiles of `m` rows by `n` columns of the output, each computed by `split_k` multiprocessors together."""

    m: int
    n: int
    split_k: int

    def tiles(self, shape: Shape) -> int:
        """Return how many pieces of work a product is cut into."""
        return math.ceil(shape.m / self.m) * math.ceil(shape.n / self.n) * self.split_k

    def fullness(self, shape: Shape, sms: float) -> float:
        """Return the share of the multiprocessors' time that has a tile to work on: T / (⌈T / SMs⌉ · SMs).

        Tiles run in waves, one a multiprocessor; the last wave is rarely a full one (wave quantisation, NVIDIA's
        Matrix Multiplication Background User's Guide).
        """
        tiles = self.tiles(shape)
        return tiles / (math.ceil(tiles / sms) * sms)


def tiling_of(algorithm: Mapping[str, str | int]) -> Tiling | None:
    """Return how an algorithm of cublasLt cuts its output, None where it is not told or the work is not cut so.

    The library computes the transposed product (see bench.devices.nvidia.cublaslt), so that the first size of its
    tile is over columns. A kernel that shares out the work evenly tells a split of -1.
    """
    sizes = re.fullmatch(r"(\d+)x(\d+)", str(algorithm.get("tile", "")))
    split = algorithm.get("split_k", 1)
    if sizes is None or not isinstance(split, int) or split < 1 or "0" in sizes.groups():
        return None
    return Tiling(m=int(sizes[2]), n=int(sizes[1]), split_k=split)

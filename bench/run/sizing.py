"""What suits a device: how long a product's call takes there, by a probe, and whether its operands fit."""

import math
from collections.abc import Sequence
from typing import Final

from bench.devices.base import Backend
from bench.errors import CellFailed, InvalidRequest
from bench.measure.policy import Policy
from bench.units import format_si
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape

_PROBES: Final = 4
_LONGEST_CALL_S: Final = 1.0


class Sizer:
    """The sizes that suit one backend; each product is tried out once at most."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tried: dict[Cell, float] = {}

    def default(self, dtype: str, library: str) -> Shape:
        """Return the largest of the backend's squares that fits and whose call is short."""
        sizes = self._backend.defaults.sizes
        fitting = [size for size in sizes if self.fits(self._cell(dtype, library, gemm.square(size)))] or sizes[:1]
        return gemm.default_shape(lambda shape: self.seconds(dtype, library, shape), fitting)

    def seconds(self, dtype: str, library: str, shape: Shape) -> float:
        """Return what a call takes, roughly; one that cannot be made takes for ever, and will fail as a cell."""
        cell = self._cell(dtype, library, shape)
        if cell not in self._tried:
            self._tried[cell] = self._try_out(cell)
        return self._tried[cell]

    def unsuitable(self, dtype: str, library: str, shape: Shape) -> str | None:
        """Return why a product is better left out here, judged by the default one's time; None if it is not."""
        known = self.default(dtype, library)
        seconds = self.seconds(dtype, library, known)
        longest = seconds * shape.m * shape.n * shape.k / (known.m * known.n * known.k)
        if longest > _LONGEST_CALL_S and not math.isinf(seconds):
            return f"a call would take {longest:.1f} s"
        return None if self.fits(self._cell(dtype, library, shape)) else "it does not fit"

    def fits(self, cell: Cell) -> bool:
        """Whether a cell's operands fit the memory that is free now."""
        free = self._backend.bytes_free()
        return free is None or self._backend.bytes_needed(cell) <= free

    def suits(self, cell: Cell) -> bool:
        """Whether the backend can measure a cell as large as it is."""
        return self.fits(cell) and self._backend.misfit(cell) is None

    def check(self, cells: Sequence[Cell]) -> None:
        """Raise InvalidRequest for a cell that the backend cannot measure, or whose operands do not fit."""
        for cell in cells:
            reason = self._backend.misfit(cell)
            if reason is not None:
                message = f"{cell.label}: {reason}"
                raise InvalidRequest(message)
            free, needed = self._backend.bytes_free(), self._backend.bytes_needed(cell)
            if free is not None and needed > free:
                message = f"{cell.label} needs {format_si(needed, 'B', digits=3)} of memory and "
                raise InvalidRequest(
                    message + f"{format_si(free, 'B', digits=3)} are free here; take a smaller one"
                )

    def _cell(self, dtype: str, library: str, shape: Shape) -> Cell:
        return gemm.cells([dtype], [shape], library=library, l2=self._backend.defaults.l2)[0]

    def _try_out(self, cell: Cell) -> float:
        try:
            task = self._backend.prepare(cell, Policy().seed, probe=True)
            try:
                blocks = [task.block(1) for _ in range(_PROBES)]
                # The fastest: the first call pays for start-up, and other work only ever slows one down.
                return min(block.seconds_per_call for block in blocks if block is not None)
            finally:
                task.close()
        except (CellFailed, MemoryError):
            return math.inf

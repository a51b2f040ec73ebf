"""What to measure. A workload makes cells, never touches a device, and is a file and a line here."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

from bench.workloads import gemm
from bench.workloads.base import Cell

WORKLOADS: Final = MappingProxyType[str, Callable[..., Sequence[Cell]]]({"gemm": gemm.cells})

"""From what the user asked for to a plan: dtypes this backend offers, shapes that fit, a fitting policy."""

from collections.abc import Sequence
from typing import Final

from bench.devices.base import Backend
from bench.errors import InvalidRequest
from bench.measure.policy import CPU_BUDGET_S, GPU_BUDGET_S, QUICK_BUDGET_S, Policy, fitted
from bench.units import DTYPES, format_si
from bench.workloads import WORKLOADS
from bench.workloads.base import Cell, Plan, Shape
from bench.workloads.gemm import OPERATION, default_shape

_WORKLOAD: Final = "gemm"
_PROBES: Final = 4


def resolve(
    backend: Backend, dtypes: Sequence[str], shapes: Sequence[Shape], *, quick: bool
) -> tuple[Plan, Policy]:
    """Return the plan for `dtypes` (none: all offered) by `shapes` (none: one each, by a probe), and its policy.

    Raises InvalidRequest for a dtype that the backend does not offer, with the reason, and for a shape whose
    operands do not fit the free memory, before anything is allocated.
    """
    chosen = _offered(backend, dtypes)
    budget = QUICK_BUDGET_S if quick else GPU_BUDGET_S if backend.device().kind == "gpu" else CPU_BUDGET_S
    cells: list[Cell] = []
    for dtype in chosen:
        cells += _cells(backend, dtype, shapes or [_probed_shape(backend, dtype)])
    for cell in cells:
        _check_memory(backend, cell)
    distinct = tuple(dict.fromkeys(cells))
    return Plan(workload=_WORKLOAD, cells=distinct), fitted(len(distinct), budget)


def _offered(backend: Backend, dtypes: Sequence[str]) -> list[str]:
    offered = [name for name in DTYPES if backend.refusal(OPERATION, name) is None]
    for name in dtypes:
        reason = backend.refusal(OPERATION, name)
        if reason is not None:
            message = f"{name} is not measured on backend {backend.name}: {reason}; "
            raise InvalidRequest(message + f"here it measures {', '.join(offered)}")
    return list(dict.fromkeys(dtypes)) or offered


def _cells(backend: Backend, dtype: str, shapes: Sequence[Shape]) -> Sequence[Cell]:
    defaults = backend.defaults
    return WORKLOADS[_WORKLOAD]([dtype], shapes, library=defaults.library, l2=defaults.l2)


def _probed_shape(backend: Backend, dtype: str) -> Shape:
    def seconds_for(shape: Shape) -> float:
        (cell,) = _cells(backend, dtype, [shape])
        task = backend.prepare(cell, Policy().seed, probe=True)
        try:
            blocks = [task.block(1) for _ in range(_PROBES)]
            # The fastest: the first call pays for start-up, and other work only ever slows one down.
            return min(block.seconds for block in blocks if block is not None)
        finally:
            task.close()

    return default_shape(seconds_for)


def _check_memory(backend: Backend, cell: Cell) -> None:
    free = backend.bytes_free()
    needed = backend.bytes_needed(cell)
    if free is not None and needed > free:
        message = f"{cell.label} needs {format_si(needed, 'B', digits=3)} of memory and "
        raise InvalidRequest(message + f"{format_si(free, 'B', digits=3)} are free here; take a smaller size")

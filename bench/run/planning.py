"""From what the user asked for to a plan: dtypes this backend offers, shapes that fit, a fitting policy."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

from bench.devices.base import Backend
from bench.errors import CellFailed, InvalidRequest
from bench.measure.policy import (
    BURST,
    CPU_BUDGET_S,
    GPU_BUDGET_S,
    GPU_OVERHEAD_S,
    QUICK_BUDGET_S,
    SUSTAINED,
    Policy,
    fitted,
)
from bench.units import DTYPES, format_si
from bench.workloads import WORKLOADS
from bench.workloads.base import Cell, Data, Plan, Shape
from bench.workloads.gemm import OPERATION, SWEEP_SIZES, default_shape, square

ALL_DATA: Final[tuple[Data, ...]] = get_args(Data)
_WORKLOAD: Final = "gemm"
_STEADY: Final = "steady"
_PROBES: Final = 4
_LONGEST_SWEPT_CALL_S: Final = 1.0


class Wish(NamedTuple):
    """What to measure. Empty `dtypes`, `shapes` or `libraries` mean the backend's own.

    `sweep` adds squares from 1024 to 16384; `thorough` does too, and measures at the default size burst cells and
    every kind of data. `sustained_s` makes the load a sustained one of so many seconds.
    """

    dtypes: Sequence[str] = ()
    shapes: Sequence[Shape] = ()
    libraries: Sequence[str] = ()
    data: Sequence[Data] = ("normal",)
    quick: bool = False
    sweep: bool = False
    thorough: bool = False
    sustained_s: float | None = None


class Resolved(NamedTuple):
    """A plan, the policy for it, and a line each about what was left out."""

    plan: Plan
    policy: Policy
    notes: tuple[str, ...]


def resolve(backend: Backend, wish: Wish) -> Resolved:
    """Return the plan for a wish, each dtype with every library that offers it, and its policy.

    A quick run takes each dtype's first library only. Raises InvalidRequest for a dtype or library that the
    backend does not offer, with the reason, and for a shape that the format does not take or whose operands do not
    fit the free memory, before they are allocated.
    """
    planner = _Planner(backend, wish)
    cells = [cell for dtype in _offered(backend, wish) for cell in planner.cells(dtype)]
    distinct = tuple(dict.fromkeys(cells))
    gpu = backend.device().kind == "gpu"
    budget = QUICK_BUDGET_S if wish.quick else GPU_BUDGET_S if gpu else CPU_BUDGET_S
    # What is asked for beyond one cell a dtype and library takes its time, too.
    budget *= len(distinct) / max(1, planner.usual)
    policy = fitted(len(distinct), budget, overhead_s=GPU_OVERHEAD_S if gpu else 0.0)
    return Resolved(Plan(workload=_WORKLOAD, cells=distinct), policy, tuple(planner.notes))


def _offered(backend: Backend, wish: Wish) -> list[str]:
    """Return the dtypes to measure: those asked for, or all that this backend (these libraries) offer."""

    def refusal(dtype: str) -> str | None:
        libraries: Sequence[str | None] = wish.libraries or [None]
        reasons = [backend.refusal(OPERATION, dtype, library) for library in libraries]
        return None if None in reasons else reasons[0]

    offered = [name for name in DTYPES if refusal(name) is None]
    for name in wish.dtypes or (() if offered else DTYPES):
        reason = refusal(name)
        if reason is not None:
            here = f"; here it measures {', '.join(offered)}" if offered else ""
            message = f"{name} is not measured on backend {backend.name}: {reason}{here}"
            raise InvalidRequest(message)
    return list(dict.fromkeys(wish.dtypes)) or offered


class _Planner:
    """The cells of one dtype after another; `usual` counts those of one shape with normal data."""

    def __init__(self, backend: Backend, wish: Wish) -> None:
        self._backend, self._wish = backend, wish
        self.usual = 0
        self._tried: dict[Cell, float] = {}
        self.notes: list[str] = []

    def cells(self, dtype: str) -> list[Cell]:
        """Return what to measure in this dtype, nothing that does not fit the memory."""
        wish = self._wish
        steady = _STEADY if wish.sustained_s is None else f"{SUSTAINED}:{wish.sustained_s:g}"
        libraries = self._libraries(dtype)
        shapes = [*wish.shapes, *self._swept(dtype, libraries)]
        usual = shapes or [self._default(dtype, libraries[0])]
        self.usual += len(self._made(dtype, libraries, usual[:1], steady, ("normal",)))
        made = self._made(dtype, libraries, usual, steady, wish.data)
        if wish.thorough:
            best = [self._default(dtype, libraries[0])]
            made += self._made(dtype, libraries, best, steady, ALL_DATA)
            made += self._made(dtype, libraries, best, BURST, ("normal",))
        for cell in made:
            self._check(cell)
        return made

    def _libraries(self, dtype: str) -> list[str]:
        wish, backend = self._wish, self._backend
        named = wish.libraries or backend.defaults.libraries
        offered = [library for library in named if backend.refusal(OPERATION, dtype, library) is None]
        return offered[:1] if wish.quick and not wish.libraries else offered

    def _made(
        self, dtype: str, libraries: Sequence[str], shapes: Sequence[Shape], regime: str, data: Sequence[Data]
    ) -> list[Cell]:
        l2, workload = self._backend.defaults.l2, WORKLOADS[_WORKLOAD]
        return [
            cell
            for shape in shapes
            for kind in data
            for library in libraries
            for cell in workload([dtype], [shape], library=library, l2=l2, data=kind, regime=regime)
        ]

    def _default(self, dtype: str, library: str) -> Shape:
        sizes = self._backend.defaults.sizes
        fitting = [size for size in sizes if self._fits(dtype, library, square(size))] or sizes[:1]
        return default_shape(lambda shape: self._seconds(dtype, library, shape), fitting)

    def _swept(self, dtype: str, libraries: Sequence[str]) -> list[Shape]:
        """Return the sweep's squares that fit and whose calls are not endless, by the default's time."""
        if not (self._wish.sweep or self._wish.thorough):
            return []
        known = self._default(dtype, libraries[0])
        seconds = self._seconds(dtype, libraries[0], known)
        if math.isinf(seconds):
            return [known]
        kept = []
        for size in SWEEP_SIZES:
            longest = seconds * (size / known.m) ** 3
            if longest <= _LONGEST_SWEPT_CALL_S and self._fits(dtype, libraries[0], square(size)):
                kept.append(square(size))
            else:
                why = (
                    f"a call would take {longest:.1f} s" if longest > _LONGEST_SWEPT_CALL_S else "it does not fit"
                )
                self.notes.append(f"{dtype} {square(size)} is left out of the sweep: {why}")
        return kept

    def _fits(self, dtype: str, library: str, shape: Shape) -> bool:
        free = self._backend.bytes_free()
        (cell, *_) = self._made(dtype, [library], [shape], _STEADY, ("normal",))
        return free is None or self._backend.bytes_needed(cell) <= free

    def _seconds(self, dtype: str, library: str, shape: Shape) -> float:
        """Return what a call takes, roughly; one that cannot be made takes for ever, and will fail as a cell."""
        (cell, *_) = self._made(dtype, [library], [shape], _STEADY, ("normal",))
        if cell not in self._tried:
            self._tried[cell] = self._try_out(cell)
        return self._tried[cell]

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

    def _check(self, cell: Cell) -> None:
        reason = self._backend.misfit(cell)
        if reason is not None:
            message = f"{cell.label}: {reason}"
            raise InvalidRequest(message)
        free, needed = self._backend.bytes_free(), self._backend.bytes_needed(cell)
        if free is not None and needed > free:
            message = f"{cell.label} needs {format_si(needed, 'B', digits=3)} of memory and "
            raise InvalidRequest(message + f"{format_si(free, 'B', digits=3)} are free here; take a smaller size")

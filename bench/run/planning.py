"""From what the user asked for to a plan: dtypes this backend offers, shapes that fit, a fitting policy."""

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, get_args

from bench.devices.base import Backend
from bench.errors import InvalidRequest
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
from bench.published.models import Model
from bench.run.sizing import Sizer
from bench.units import DTYPES, format_si
from bench.workloads import gemm, llm, p2p, skinny, stream
from bench.workloads.base import Cell, Data, Plan, Shape

ALL_DATA: Final[tuple[Data, ...]] = get_args(Data)
_STEADY: Final = "steady"
# A workload of very many cells gives each of them so long.
_CELL_S, _QUICK_CELL_S = 4.0, 2.0
_FEWEST_ELEMENTS: Final = 1 << 20  # fewer stay in any cache


class Wish(NamedTuple):
    """What to measure. Empty `dtypes`, `shapes` or `libraries` mean the backend's own.

    `sweep` adds squares from 1024 to 16384; `thorough` does too, and measures at the default size burst cells and
    every kind of data. `sustained_s` makes the load a sustained one of so many seconds. The workload `llm` needs a
    `model`; `stream` and `p2p` may be given the `elements` of their arrays; `skinny` takes n and k from the first
    shape; `p2p` copies to the devices `peers`, by their index, or to all that there are.
    """

    workload: str = "gemm"
    dtypes: Sequence[str] = ()
    shapes: Sequence[Shape] = ()
    libraries: Sequence[str] = ()
    data: Sequence[Data] = ("normal",)
    quick: bool = False
    sweep: bool = False
    thorough: bool = False
    sustained_s: float | None = None
    model: Model | None = None
    elements: int | None = None
    peers: Sequence[int] = ()


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
    distinct = tuple(dict.fromkeys(_PLANS[wish.workload](planner)))
    planner.sizer.check(distinct)
    gpu = backend.device().kind == "gpu"
    if planner.usual:
        budget = QUICK_BUDGET_S if wish.quick else GPU_BUDGET_S if gpu else CPU_BUDGET_S
        # What is asked for beyond one cell a dtype and library takes its time, too.
        budget *= len(distinct) / planner.usual
    else:
        budget = len(distinct) * (_QUICK_CELL_S if wish.quick else _CELL_S)
    policy = fitted(len(distinct), budget, overhead_s=GPU_OVERHEAD_S if gpu else 0.0)
    model = wish.model.id if wish.model and wish.workload == "llm" else None
    return Resolved(Plan(workload=wish.workload, cells=distinct, model=model), policy, tuple(planner.notes))


class _Planner:
    """What the plans of all workloads share; `usual` counts the cells that a run of usual length has."""

    def __init__(self, backend: Backend, wish: Wish) -> None:
        self.backend, self.wish = backend, wish
        self.sizer = Sizer(backend)
        self.usual = 0
        self.notes: list[str] = []
        sustained = wish.sustained_s
        self.regime = _STEADY if sustained is None else f"{SUSTAINED}:{sustained:g}"

    def offered(self) -> list[str]:
        """Return the dtypes to multiply in: those asked for, or all that this backend (these libraries) offer."""
        wish = self.wish
        offered = [name for name in DTYPES if self.refusal(name) is None]
        for name in wish.dtypes or (() if offered else DTYPES):
            reason = self.refusal(name)
            if reason is not None:
                here = f"; here it measures {', '.join(offered)}" if offered else ""
                message = f"{name} is not measured on backend {self.backend.name}: {reason}{here}"
                raise InvalidRequest(message)
        return list(dict.fromkeys(wish.dtypes)) or offered

    def refusal(self, dtype: str) -> str | None:
        """Return why nothing here multiplies in a format, None if something does."""
        libraries: Sequence[str | None] = self.wish.libraries or [None]
        reasons = [self.backend.refusal(gemm.OPERATION, dtype, library) for library in libraries]
        return None if None in reasons else reasons[0]

    def libraries(self, operation: str, dtype: str, named: Sequence[str]) -> list[str]:
        """Return the libraries to measure with; of a quick run the first."""
        wish = self.wish
        wanted = wish.libraries or named
        offered = [library for library in wanted if self.backend.refusal(operation, dtype, library) is None]
        return offered[:1] if wish.quick and not wish.libraries else offered

    def multipliers(self, dtype: str) -> list[str]:
        """Return the libraries to multiply with."""
        return self.libraries(gemm.OPERATION, dtype, self.backend.defaults.libraries)

    def products(
        self,
        dtype: str,
        shapes: Sequence[Shape],
        *,
        data: Sequence[Data] = ("normal",),
        regime: str | None = None,
    ) -> list[Cell]:
        """Return the cells of products of these shapes, each by every library."""
        return [
            cell
            for shape in shapes
            for kind in data
            for library in self.multipliers(dtype)
            for cell in gemm.cells(
                [dtype],
                [shape],
                library=library,
                l2=self.backend.defaults.l2,
                data=kind,
                regime=regime or self.regime,
            )
        ]

    def suitable(self, dtype: str, shapes: Sequence[Shape], what: str) -> list[Shape]:
        """Return the shapes that fit and whose calls are not endless, by the default's time; note the others."""
        library = self.multipliers(dtype)[0]
        reasons = {shape: self.sizer.unsuitable(dtype, library, shape) for shape in shapes}
        self.notes += [f"{dtype} {shape} is left out of {what}: {why}" for shape, why in reasons.items() if why]
        return [shape for shape, why in reasons.items() if why is None]


def _gemm(planner: _Planner) -> list[Cell]:
    return [cell for dtype in planner.offered() for cell in _squares(planner, dtype)]


def _squares(planner: _Planner, dtype: str) -> list[Cell]:
    """Return what to measure in this dtype."""
    wish, library = planner.wish, planner.multipliers(dtype)[0]
    swept: list[Shape] = []
    if wish.sweep or wish.thorough:
        default = planner.sizer.default(dtype, library)
        endless = math.isinf(planner.sizer.seconds(dtype, library, default))
        squares = [gemm.square(size) for size in gemm.SWEEP_SIZES]
        swept = [default] if endless else planner.suitable(dtype, squares, "the sweep")
    shapes = [*wish.shapes, *swept] or [planner.sizer.default(dtype, library)]
    planner.usual += len(planner.products(dtype, shapes[:1]))
    made = planner.products(dtype, shapes, data=wish.data)
    if wish.thorough:
        best = [planner.sizer.default(dtype, library)]
        made += planner.products(dtype, best, data=ALL_DATA)
        made += planner.products(dtype, best, regime=BURST)
    return made


def _skinny(planner: _Planner) -> list[Cell]:
    wish, offered = planner.wish, planner.offered()
    dtypes = wish.dtypes or [next((name for name in skinny.DTYPES if name in offered), offered[0])]
    made: list[Cell] = []
    for dtype in dtypes:
        side = wish.shapes[0] if wish.shapes else planner.sizer.default(dtype, planner.multipliers(dtype)[0])
        shapes = planner.suitable(dtype, skinny.shapes(side.n, side.k), "the products of few rows")
        made += _exact(planner.products(dtype, shapes, data=wish.data))
    return _some(planner, made, "take a smaller --shape")


def _llm(planner: _Planner) -> list[Cell]:
    model = planner.wish.model
    if model is None or len(planner.wish.dtypes) > 1:
        message = "workload llm needs --model, and takes one --dtype at most"
        raise InvalidRequest(message)
    made: list[Cell] = []
    for dtype in dict.fromkeys(one.dtype for one in model.matmuls):
        measured = _instead_of(dtype, planner)
        shapes = planner.suitable(measured, llm.shapes(model, dtype), model.name)
        made += _exact(planner.products(measured, shapes, data=planner.wish.data))
    made = _some(planner, made, "take a smaller model")
    _note_weights(planner, model)
    return made


def _some(planner: _Planner, made: list[Cell], advice: str) -> list[Cell]:
    """Return the cells. Raises InvalidRequest, with the last reason, if all were left out."""
    if not made:
        message = f"nothing is left to measure: {planner.notes[-1]}; {advice}"
        raise InvalidRequest(message)
    return made


def _instead_of(dtype: str, planner: _Planner) -> str:
    """Return the format to measure a model's products in: its own, the one asked for, or the next that is here."""
    wish, offered = planner.wish, planner.offered()
    if wish.dtypes:
        return wish.dtypes[0]
    if dtype in offered:
        return dtype
    instead = next((name for name in skinny.DTYPES if name in offered), offered[0])
    planner.notes.append(f"{dtype} is not multiplied here, so {instead} stands for it: {planner.refusal(dtype)}")
    return instead


def _note_weights(planner: _Planner, model: Model) -> None:
    held, memory = model.weight_bytes, planner.backend.device().memory_bytes
    weights = f"the weights of {model.name} take {format_si(held, 'B', digits=3)}"
    if memory is None:
        planner.notes.append(f"{weights} in {model.weights}")
        return
    size = format_si(memory, "B", digits=3)
    several = math.ceil(held / memory)
    fit = "they fit this device" if several == 1 else f"{several} devices like this one hold them, one does not"
    planner.notes.append(f"{weights} in {model.weights}: {fit} ({size} each)")


def _exact(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells without those of FP8 with short sums."""
    return [cell for cell in cells if not cell.fast_accumulate]


def _stream(planner: _Planner) -> list[Cell]:
    wish, backend = planner.wish, planner.backend
    elements = wish.elements or backend.defaults.elements
    made = _streams(planner, elements)
    if not made:
        named = wish.libraries[0] if wish.libraries else None
        message = f"nothing is left to measure: {backend.refusal(stream.OPERATIONS[0], stream.DTYPE, named)}"
        raise InvalidRequest(message)
    while wish.elements is None and elements > _FEWEST_ELEMENTS and not all(map(planner.sizer.fits, made)):
        elements //= 2
        made = _streams(planner, elements)
    if elements < (wish.elements or backend.defaults.elements):
        planner.notes.append(f"arrays of {made[0].size_text}, since larger ones do not fit; a cache may hold some")
    return made


def _p2p(planner: _Planner) -> list[Cell]:
    wish, backend = planner.wish, planner.backend
    named = wish.libraries[0] if wish.libraries else None
    reason = backend.refusal(p2p.OPERATION, p2p.DTYPE, named)
    if reason is not None:
        message = f"nothing is left to measure: {reason}"
        raise InvalidRequest(message)
    peers = _peers(wish.peers, backend.peers())
    elements = wish.elements or p2p.ELEMENTS
    made = _peer_copies(planner, peers, elements)
    while wish.elements is None and elements > _FEWEST_ELEMENTS and not all(map(planner.sizer.suits, made)):
        elements //= 2
        made = _peer_copies(planner, peers, elements)
    if elements < (wish.elements or p2p.ELEMENTS):
        planner.notes.append(f"arrays of {made[0].size_text}, since larger ones do not fit both devices")
    return made


def _peers(wanted: Sequence[int], there: Sequence[int]) -> Sequence[int]:
    """Return the devices to copy to. Raises InvalidRequest for one that is no peer of this one."""
    for peer in wanted:
        if peer not in there:
            message = f"this device copies nothing to device {peer}; its peers are {', '.join(map(str, there))}"
            raise InvalidRequest(message)
    return wanted or there


def _peer_copies(planner: _Planner, peers: Sequence[int], elements: int) -> list[Cell]:
    return [
        cell
        for library in planner.libraries(p2p.OPERATION, p2p.DTYPE, planner.backend.defaults.links)
        for data in planner.wish.data
        for cell in p2p.cells(peers, elements, library=library, data=data, regime=planner.regime)
    ]


def _streams(planner: _Planner, elements: int) -> list[Cell]:
    return [
        cell
        for operation in stream.OPERATIONS
        for library in planner.libraries(operation, stream.DTYPE, planner.backend.defaults.streams)
        for data in planner.wish.data
        for cell in stream.cells([operation], elements, library=library, data=data, regime=planner.regime)
    ]


_PLANS: Final = MappingProxyType[str, Callable[[_Planner], Sequence[Cell]]](
    {"gemm": _gemm, "skinny": _skinny, "llm": _llm, "stream": _stream, "p2p": _p2p}
)

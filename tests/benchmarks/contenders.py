"""Who multiplies beside chipbench, each on chipbench's own buffers, rotation and stream.

Every library is imported when it is asked for, so that one that is missing is a line of the table. In BF16
all ran on an H200 with PyTorch 2.11 and nvmath 1.0; not confirmed on a device: theirs in other formats.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from itertools import cycle, islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from bench.devices.base import Check
from bench.devices.check import worst
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.multiply import CUPY, Call, CublasLt, CupyMatmul, Operands
from bench.devices.nvidia.operands import SCALES, Array, poison
from bench.devices.nvidia.runtime import CupyRuntime
from bench.devices.nvidia.task import CudaTask
from bench.units import Dtype
from bench.workloads.base import Cell
from tests.benchmarks.rounds import OURS, Contender, Timing

Setting = Callable[[], AbstractContextManager[None]]

# BF16 and FP8 are stored as the integers of their bits. PyTorch has had unsigned ones of 16 bits for a short time.
_SIGNED: Final = MappingProxyType({"bf16": np.int16})
_TORCH_TYPES: Final = MappingProxyType({"bf16": "bfloat16", "fp8_e4m3": "float8_e4m3fn"})
_REDUCTION: Final = "allow_{}_reduced_precision_reduction"
# PyTorch's switches for a product of each format, by what the contender is called.
_TORCH_WAYS: Final[Mapping[str, Mapping[str, Mapping[str, bool]]]] = MappingProxyType(
    {
        "fp64": {"torch.mm": {}},
        "fp32": {"torch.mm": {"allow_tf32": False}},
        "tf32": {"torch.mm": {"allow_tf32": True}},
        "fp16": {
            "torch.mm": {_REDUCTION.format("fp16"): False},
            "torch.mm, as set by default": {_REDUCTION.format("fp16"): True},
        },
        "fp16_acc16": {"torch.mm": {"allow_fp16_accumulation": True}},
        "bf16": {
            "torch.mm": {_REDUCTION.format("bf16"): False},
            "torch.mm, as set by default": {_REDUCTION.format("bf16"): True},
        },
        "fp8": {"torch._scaled_mm": {}},
        "int8": {"torch._int_mm": {}},
    }
)
_NVMATH_COMPUTES: Final = MappingProxyType({"tf32": "COMPUTE_32F_FAST_TF32", "fp16_acc16": "COMPUTE_16F"})
_NVMATH_ALGORITHMS: Final = 16  # as many as chipbench asks for
_NVMATH_MOST_PLANS: Final = 8  # each has a workspace of its own


class NotHere(Exception):
    """This contender does not do this product; the text says why."""


class Ring(NamedTuple):
    """What all contenders share: the stream, the operand sets to rotate over, and the check of their outputs."""

    runtime: CupyRuntime
    task: CudaTask
    cell: Cell
    dtype: Dtype
    cupy_refuses: str | None
    closing: ExitStack

    @property
    def sets(self) -> Sequence[Operands]:
        """The operands that chipbench measures on."""
        return self.task._sets

    def contender(self, name: str, calls: Sequence[Call], setting: Setting = nullcontext) -> Contender:
        """Return who runs `calls`, one for each set, in a plain loop inside of `setting`."""
        turns = cycle(calls)

        def enqueue(count: int) -> None:
            for call in islice(turns, count):
                call()

        def block(count: int) -> Timing:
            with setting():
                timed = self.runtime.timed(partial(enqueue, count))
            return Timing(timed.seconds / count, timed.sm_clock_hz)

        def check() -> Check:
            with self.runtime.current(), setting():
                for one in self.sets:
                    poison(one.d)
                enqueue(len(self.sets))
                return worst([self.task._verified(one) for one in self.sets])

        return Contender(name, block, check)


def ring(backend: CudaBackend, task: CudaTask, cell: Cell, dtype: Dtype, closing: ExitStack) -> Ring:
    """Return what contenders share with `task`, which has chosen its algorithm; they are closed with `closing`."""
    refusal = backend.refusal(cell.operation, dtype.name, CUPY)
    return Ring(backend._runtime, task, cell, dtype, refusal, closing)


def chipbench(shared: Ring) -> list[Contender]:
    """Return chipbench itself: its task's own blocks, and its own check."""

    def block(calls: int) -> Timing:
        timed = shared.task.block(calls)
        return Timing(timed.seconds_per_call, timed.sm_clock_hz)

    return [Contender(OURS, block, shared.task.verify)]


def bare(shared: Ring) -> list[Contender]:
    """Return a bare loop over cublasLt's function with the algorithm that chipbench's search chose."""
    library, task = shared.task._multiplier, shared.task
    if not isinstance(library, CublasLt):
        message = f"chipbench itself uses {shared.cell.library} here"
        raise NotHere(message)
    pointer, chosen = shared.runtime.pointer, task._candidates[task._used]
    workspace = pointer(library._workspace)
    launch = library._matmul.launcher(chosen, workspace=workspace, stream=shared.runtime.stream)
    calls = [partial(launch, pointer(one.a), pointer(one.bt), pointer(one.d)) for one in shared.sets]
    return [shared.contender("bare cublasLt loop", calls)]


def cupy_matmul(shared: Ring) -> list[Contender]:
    """Return `cupy.matmul`; TF32 by the switch that CuPy itself sets from CUPY_TF32 when it is imported."""
    if shared.cupy_refuses is not None:
        raise NotHere(shared.cupy_refuses)
    calls = CupyMatmul(shared.runtime, shared.dtype).bound(0, shared.sets)
    tf32 = {"fp32": False, "tf32": True}.get(shared.dtype.name)
    setting = nullcontext if tf32 is None else partial(_cupy_tf32, tf32)
    return [shared.contender("cupy.matmul", calls, setting)]


@contextmanager
def _cupy_tf32(wanted: bool) -> Iterator[None]:
    from cupy._core import _routines_linalg as routines  # noqa: PLC0415 - see the module's docstring

    before = routines.get_compute_type("f")
    routines.set_compute_type("f", routines.COMPUTE_TYPE_TF32 if wanted else routines.COMPUTE_TYPE_DEFAULT)
    try:
        yield
    finally:
        routines.set_compute_type("f", before)


def torch_mm(shared: Ring) -> list[Contender]:
    """Return PyTorch's product of this format, once for every way to set its switches."""
    ways = _TORCH_WAYS.get(shared.dtype.name)
    if ways is None:
        message = f"no product of PyTorch in {shared.dtype.name} is known here"
        raise NotHere(message)
    torch = _torch()
    stream = torch.cuda.ExternalStream(shared.runtime.stream)
    with torch.cuda.stream(stream):
        calls = [_torch_call(torch, shared, one) for one in shared.sets]
    return [
        shared.contender(name, calls, partial(_torch_set, torch, stream, flags)) for name, flags in ways.items()
    ]


def _torch() -> Any:  # noqa: ANN401 - it may not be installed
    torch = import_module("torch")
    if not torch.cuda.is_available():
        message = f"PyTorch {torch.__version__} (built for CUDA {torch.version.cuda}) sees no GPU here"
        raise NotHere(message)
    return torch


@contextmanager
def _torch_set(torch: Any, stream: Any, flags: Mapping[str, bool]) -> Iterator[None]:  # noqa: ANN401
    """Let PyTorch work on our stream with some switches set, and set them back."""
    switches = torch.backends.cuda.matmul
    before = {name: getattr(switches, name) for name in flags}
    with torch.cuda.stream(stream):
        try:
            for name, value in flags.items():
                setattr(switches, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(switches, name, value)


def _torch_call(torch: Any, shared: Ring, one: Operands) -> Call:  # noqa: ANN401
    cell = shared.cell
    a, bt = (as_torch(torch, array, cell.input or "") for array in (one.a, one.bt))
    d = as_torch(torch, one.d, cell.output or "")
    match shared.dtype.name:
        case "int8":
            call: Call = partial(torch._int_mm, a, bt.t(), out=d)
        case "fp8":
            scales = (torch.tensor(factor, device=a.device) for factor in SCALES[cell.input or ""])
            named = dict(zip(("scale_a", "scale_b"), scales, strict=True))
            fast = {"use_fast_accum": bool(cell.fast_accumulate), "out_dtype": d.dtype}
            call = partial(torch._scaled_mm, a, bt.t(), **named, **fast, out=d)
        case _:
            call = partial(torch.mm, a, bt.t(), out=d)
    return call


def as_torch(torch: Any, array: Array, name: str) -> Any:  # noqa: ANN401
    """Return PyTorch's view of a stored operand: the same memory, by DLPack, as numbers of its format."""
    tensor = torch.from_dlpack(array.view(_SIGNED[name]) if name in _SIGNED else array)
    return tensor.view(getattr(torch, _TORCH_TYPES[name])) if name in _TORCH_TYPES else tensor


def nvmath_matmul(shared: Ring) -> list[Contender]:
    """Return nvmath's own Matmul, planned and autotuned, one plan a set, writing into our outputs."""
    if shared.dtype.name in {"int8", "nvfp4"}:
        message = f"nvmath's Matmul is not compared in {shared.dtype.name}"
        raise NotHere(message)
    if len(shared.sets) > _NVMATH_MOST_PLANS:
        message = f"{len(shared.sets)} operand sets would need as many plans and workspaces"
        raise NotHere(message)
    setting: Setting = nullcontext
    arrays: list[Sequence[Any]] = [*shared.sets]
    if {shared.cell.input, shared.cell.output} & {*_TORCH_TYPES}:  # formats that it takes from PyTorch only
        torch = _torch()
        stream = torch.cuda.ExternalStream(shared.runtime.stream)
        setting = partial(_torch_set, torch, stream, {})
        names = [name or "" for name in (shared.cell.input, shared.cell.input, shared.cell.output)]
        with torch.cuda.stream(stream):
            arrays = [[as_torch(torch, *pair) for pair in zip(one, names, strict=True)] for one in shared.sets]
    with shared.runtime.current(), setting():
        calls = _nvmath_calls(shared, arrays)
    return [shared.contender("nvmath Matmul, autotuned", calls, setting)]


def _nvmath_calls(shared: Ring, arrays: Sequence[Sequence[Any]]) -> list[Call]:
    from nvmath.bindings.cublas import ComputeType  # noqa: PLC0415 - see the module's docstring
    from nvmath.linalg.advanced import Matmul  # noqa: PLC0415

    options: dict[str, Any] = {"inplace": True, "fast_accumulation": bool(shared.cell.fast_accumulate)}
    if shared.dtype.name in _NVMATH_COMPUTES:
        options["compute_type"] = ComputeType[_NVMATH_COMPUTES[shared.dtype.name]]
    factors = SCALES.get(shared.cell.input or "")
    scales = None if factors is None else dict(zip("ab", factors, strict=True))
    plans: list[Any] = []
    for a, bt, d in arrays:
        plan = Matmul(a, bt.T, c=d, beta=0.0, options=options, quantization_scales=scales)
        shared.closing.callback(plan.free)
        best = plans[0].algorithms[:1] if plans else None
        plan.plan(preferences={"limit": _NVMATH_ALGORITHMS}, algorithms=best)
        if best is None:
            plan.autotune()
        plans.append(plan)
    return [plan.execute for plan in plans]


# By what each is called where it cannot run; chipbench first.
MAKERS: Final[Mapping[str, Callable[[Ring], list[Contender]]]] = MappingProxyType(
    {
        OURS: chipbench,
        "bare cublasLt loop": bare,
        "cupy.matmul": cupy_matmul,
        "torch": torch_mm,
        "nvmath Matmul": nvmath_matmul,
    }
)

"""Copies from a GPU's memory to that of another GPU of the same machine, by the driver's own copy.

Not confirmed on a device, as none of this could be run on a machine of several GPUs: that copies in both
directions overlap, that the timed interval brackets both, and that the driver takes NVLink where two GPUs have it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.devices.base import Block, Caveat, Check, Moments, OperandData
from bench.devices.check import check_stream, worst
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.inventory import seen_as
from bench.devices.nvidia.operands import Array, fill, poison
from bench.devices.nvidia.runtime import CupyRuntime
from bench.devices.nvidia.timed import TimedTask
from bench.devices.nvidia.watch import Watcher
from bench.errors import BackendUnavailable, CellFailed, one_line
from bench.units import format_si
from bench.workloads.base import PEER_COPY, Cell, Data
from bench.workloads.p2p import DTYPE

MEMCPY_PEER: Final = "memcpy_peer"
_CHECK_BYTES: Final = 1 << 30  # filling and checking, part by part, in FP64
_RESERVED_BYTES: Final = 1 << 30  # CuPy's and CUDA's own handles and kernels
_PART: Final = 1 << 22  # numbers that come to the host together
_ANEW: Final = 3  # index of the first array that is drawn anew


def free_for_operands(gpu: CupyRuntime) -> int:
    """Return a GPU's free memory in bytes, less what CuPy's and CUDA's own handles and kernels take."""
    return max(0, gpu.memory()[0] - _RESERVED_BYTES)


class Direction(NamedTuple):
    """One direction: from the array `source` in the memory of the GPU `origin` to `target` in that of `end`."""

    origin: CupyRuntime
    end: CupyRuntime
    source: Array
    target: Array

    def send(self) -> None:
        """Enqueue one copy, on the stream of the GPU that it comes from."""
        self.origin.send(self.end, self.target, self.source)

    def poison(self) -> None:
        """Fill the target with what no copy writes."""
        with self.end.current():
            poison(self.target)

    def fill(self, seed: Sequence[int], data: Data) -> OperandData:
        """Fill the source, on the GPU that it is on, and return what it holds."""
        xp, moments = self.origin.xp, Moments()
        with self.origin.current():
            for numbers in fill(xp, self.source.reshape(-1, 1), DTYPE, xp.random.default_rng(seed), data):
                moments.add(xp, numbers)
            return moments.described()

    def checked(self) -> Check:
        """Compare every number that arrived with what was sent, on the GPU that sent it.

        It comes back through the host's memory, so by another way than the one that is checked.
        """
        xp = self.origin.xp
        with self.origin.current():
            arrived = xp.empty_like(self.source)
        for start in range(0, self.target.size, _PART):
            part = slice(start, start + _PART)
            in_host = self.end.fetched(self.target[part])
            with self.origin.current():
                arrived[part] = xp.asarray(in_host)
        with self.origin.current():
            return check_stream("copy", self.source, None, arrived, xp=xp)


class PeerTask(TimedTask):
    """Copies to another GPU, or with it both ways at once, from and to arrays of their own.

    The reverse copies go to a stream of the other GPU, which begins when this GPU's stream has come to the timed
    copies, and for whose end this one waits: so the events on this GPU's stream bracket both.
    """

    def __init__(
        self,
        runtime: CupyRuntime,
        peer: CupyRuntime,
        cell: Cell,
        seed: int,
        *,
        cold: bool,
        watcher: Watcher | None,
    ) -> None:
        super().__init__(runtime, watcher, cold=cold)
        if cell.elements is None or cell.operation != PEER_COPY:
            message = f"the CUDA backend was given a cell that it does not offer: {cell.key}"
            raise CellFailed(message)
        self._peer, self._cell, self._seed = peer, cell, seed
        self._fork, self._join = runtime.event(), peer.event()
        # In a list, so that both are tried.
        self._access = all([runtime.reaches(peer), peer.reaches(runtime)])
        self._there = _direction(runtime, peer, cell.elements)
        self._back = [_direction(peer, runtime, cell.elements)] if cell.ways == 2 else []
        data = cell.data or "normal"
        held = {name: one.fill([seed, index], data) for index, (name, one) in enumerate(self._named())}
        self.data: Mapping[str, OperandData] = MappingProxyType(held)
        self._synchronize()

    def _named(self) -> list[tuple[str, Direction]]:
        """Return every direction by the name of what is sent."""
        return list(zip("ab", (self._there, *self._back), strict=False))

    def _synchronize(self) -> None:
        for gpu in (self._runtime, self._peer):
            gpu.synchronize()

    @property
    def candidates(self) -> Sequence[Mapping[str, str | int]]:
        """The driver's copy has one way."""
        return [{"by": "cudaMemcpyPeerAsync", "peer_access": int(self._access)}]

    @property
    def algorithm(self) -> Mapping[str, str | int]:
        """That way."""
        return {**self.candidates[0], "timed": "calls"}

    def use(self, candidate: int) -> None:
        """Do nothing: there is one way only."""

    def block(self, calls: int) -> Block:
        """Run `calls` calls back to back, those of both directions beside each other."""
        return self._timed_block(calls, partial(self._enqueue, calls))

    def _enqueue(self, calls: int) -> None:
        here, peer = self._runtime, self._peer
        if self._back:
            here.mark(self._fork)
            peer.wait(self._fork)
        for _ in range(calls):
            self._there.send()
            for back in self._back:
                back.send()
        if self._back:
            peer.mark(self._join)
            here.wait(self._join)

    def caveats(self) -> Sequence[Caveat]:
        """Return that the copies went through the host's memory, or that the host was too slow for them."""
        staged = () if self._access else (Caveat(code="no_peer_access", values={"peer": self._cell.peer or 0}),)
        limited = self._host_limited(median(self._enqueued)) if self._enqueued else ()
        return [*staged, *limited, *self._doubtful()]

    def verify(self) -> Check:
        """Check every number that the timed copies write, then of arrays drawn anew; all is poisoned before.

        Raises CellFailed, MemoryError or BackendUnavailable.
        """
        with self._runtime.explained():
            first = self._verified()
            for index, (_, one) in enumerate(self._named(), start=_ANEW):
                one.fill([self._seed, index], "normal")
            return worst([first, self._verified()])

    def _verified(self) -> Check:
        directions = [one for _, one in self._named()]
        for one in directions:
            one.poison()
        self._synchronize()
        self._enqueue(1)
        self._synchronize()
        return worst([one.checked() for one in directions])

    def close(self) -> None:
        """Release the arrays on both GPUs."""
        del self._there, self._back
        for gpu in (self._runtime, self._peer):
            gpu.memory()


def _direction(origin: CupyRuntime, end: CupyRuntime, count: int) -> Direction:
    arrays = []
    for gpu in (origin, end):
        with gpu.current():
            arrays.append(gpu.xp.empty(count, "float32"))
    made = Direction(origin, end, *arrays)
    made.poison()
    return made


class Peers:
    """The other GPUs that CUDA programs see here, for copies from `own`, which `runtime` is; each is opened once.

    None of a MIG slice: CUDA shows a program one slice only, and slices do not copy to each other.
    """

    def __init__(self, runtime: CupyRuntime, own: Gpu, found: Inventory) -> None:
        self._runtime, self._own, self._found = runtime, own, found
        self._opened: dict[int, CupyRuntime] = {}

    @property
    def indices(self) -> tuple[int, ...]:
        """Their indices, as `chipbench devices` counts."""
        others = (gpu for gpu in self._found.gpus if gpu.cuda_index is not None and not gpu.mig)
        return () if self._own.mig else tuple(gpu.index for gpu in others if gpu.bus_id != self._own.bus_id)

    def refusal(self, dtype: str, library: str | None) -> str | None:
        """Return why nothing is copied to another GPU in this format, or by this library; None if it is."""
        if dtype != DTYPE:
            return f"copies to another GPU are of {DTYPE}, not {dtype}"
        if library not in (None, MEMCPY_PEER):
            return f"the CUDA backend copies to another GPU with {MEMCPY_PEER}, not {library}"
        if self._own.mig:
            return (
                "MIG is on, and a slice of a GPU copies to no other GPU; switch it off with 'nvidia-smi -mig 0' "
                "(as root)"
            )
        if not self.indices:
            return (
                "there is only one GPU that CUDA programs see here, so none to copy to; if 'chipbench devices' "
                "lists more, check CUDA_VISIBLE_DEVICES, and MIG on those"
            )
        return None

    def misfit(self, cell: Cell) -> str | None:
        """Return why a cell cannot be measured with its peer: it is none, does not work, or lacks the memory."""
        try:
            free = free_for_operands(self._other(cell))
        except CellFailed as error:
            return str(error)
        needed = _bytes_there(cell)
        if needed <= free:
            return None
        texts = [format_si(amount, "B", digits=3) for amount in (needed, free)]
        return f"it needs {texts[0]} on GPU {cell.peer} and {texts[1]} are free there; take a smaller one"

    def bytes_here(self, cell: Cell) -> int:
        """Return the bytes that a cell and its check need on this GPU: what is sent, received and compared."""
        return (1 + (cell.ways or 1)) * _array_bytes(cell) + _CHECK_BYTES

    def task(self, cell: Cell, seed: int, *, cold: bool, watcher: Watcher | None) -> PeerTask:
        """Return a cell made ready. Raises CellFailed, MemoryError or BackendUnavailable."""
        return PeerTask(self._runtime, self._other(cell), cell, seed, cold=cold, watcher=watcher)

    def _other(self, cell: Cell) -> CupyRuntime:
        """Return a cell's other GPU. Raises CellFailed if there is none, or if it cannot be used."""
        peer = cell.peer
        if peer is None or peer not in self.indices:
            there = ", ".join(map(str, self.indices)) or "none"
            message = f"CUDA programs see no GPU {peer} beside this one; they see {there}"
            raise CellFailed(message)
        if peer not in self._opened:
            try:
                self._opened[peer] = self._runtime.beside(seen_as(self._found, peer))
            except (BackendUnavailable, MemoryError) as error:
                message = (
                    f"GPU {peer} cannot be copied to ({one_line(error)}); CUDA_VISIBLE_DEVICES can leave it out"
                )
                raise CellFailed(message) from error
        return self._opened[peer]


def _array_bytes(cell: Cell) -> int:
    return cell.bytes_moved // (cell.ways or 1)


def _bytes_there(cell: Cell) -> int:
    """Return the bytes that a cell and its check need on the other GPU: one array if it does not write back."""
    return 3 * _array_bytes(cell) + _CHECK_BYTES if cell.ways == 2 else _array_bytes(cell)

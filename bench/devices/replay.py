"""Blocks from a record or a script instead of a device: the whole pipeline without a clock, to the last digit.

A replay knows samples only. Whatever a table shows of it was computed anew from them.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from bench.devices.base import Block, Caveat, CellDefaults, Check, Device, Environment, OperandData, Origin
from bench.errors import InvalidRequest
from bench.workloads.base import Cell

_NEVER_CHECKED: Final = Check(passed=False, tolerance=0.0, rows=0, rows_error=0.0, product_error=0.0)


class Call(NamedTuple):
    """The mean of one recorded block: seconds per call, and cycles and clock where they were recorded."""

    seconds: float
    cycles: float | None = None
    sm_clock_hz: float | None = None


class Script(NamedTuple):
    """What one cell replays: its blocks in order, warm-up first, and the check that was made of it."""

    calls: Iterable[Call]
    cold: bool = False
    check: Check = _NEVER_CHECKED
    data: Mapping[str, OperandData] = MappingProxyType({})


class ReplayTask:
    """One cell's recorded blocks, handed out in their order, however many calls are asked for."""

    def __init__(self, script: Script) -> None:
        self.cold = script.cold
        self.data = script.data
        self._check = script.check
        self._calls: Iterator[Call] = iter(script.calls)

    def block(self, calls: int) -> Block | None:
        """Return the next recorded block, as long as `calls` of its calls took; None after the last."""
        call = next(self._calls, None)
        if call is None:
            return None
        return Block(
            calls=calls,
            seconds_per_call=call.seconds,
            cycles_per_call=call.cycles,
            sm_clock_hz=call.sm_clock_hz,
        )

    def verify(self) -> Check:
        """Return the recorded check: there is no product here to check again."""
        return self._check

    def close(self) -> None:
        """Do nothing: no operand was allocated."""


class ReplayBackend:
    """A device that answers from `scripts`, at least one; `origin` tells replayed records from simulated ones."""

    name = "replay"

    def __init__(
        self,
        scripts: Mapping[Cell, Script],
        *,
        device: Device,
        environment: Environment,
        origin: Literal["replayed", "simulated"],
    ) -> None:
        self.origin: Origin = origin
        self._scripts, self._device, self._environment = scripts, device, environment
        first = next(iter(scripts))
        self.defaults = CellDefaults(library=first.library or "", l2=first.l2 or "hot")

    def device(self) -> Device:
        """Return the device that the samples came from."""
        return self._device

    def identity(self) -> str:
        """Return the source's key: a replay on any machine is the same device."""
        return self._device.key or self._device.name

    def environment(self) -> Environment:
        """Return the surroundings of the samples, not of this machine."""
        return self._environment

    def caveats(self) -> list[Caveat]:
        """Return nothing: this machine's state does not touch recorded samples."""
        return []

    def refusal(self, operation: str, dtype: str) -> str | None:
        """Return None for what the scripts hold."""
        for cell in self._scripts:
            if cell.operation == operation and cell.dtype is not None and cell.dtype.name == dtype:
                return None
        return f"the record to replay holds no {operation} in {dtype}"

    def bytes_needed(self, cell: Cell) -> int:  # noqa: ARG002 - as the protocol has it
        """Return 0: nothing is allocated."""
        return 0

    def bytes_free(self) -> int | None:
        """Return None: it does not matter."""
        return None

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> ReplayTask:  # noqa: ARG002 - likewise
        """Return the script of `cell`, from its start."""
        return ReplayTask(self._scripts[cell])


def open_backend() -> ReplayBackend:
    """Raise: a replay needs a record, which `run --from FILE` names."""
    message = "the replay backend needs a record to replay; add --from FILE"
    raise InvalidRequest(message)

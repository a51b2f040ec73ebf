"""Blocks from a record or a script instead of a device: the whole pipeline without a clock, to the last digit.

A replay knows samples only. Whatever a table shows of it was computed anew from them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from bench.devices.base import (
    Block,
    Caveat,
    CellDefaults,
    Check,
    Device,
    Environment,
    OperandData,
    Origin,
    PlainTask,
    Telemetry,
)
from bench.errors import InvalidRequest
from bench.workloads.base import Cell

_NEVER_CHECKED: Final = Check(passed=False, tolerance=0.0, rows=0, rows_error=0.0, product_error=0.0)


class Call(NamedTuple):
    """The mean of one recorded block: seconds per call, and what else was recorded of it.

    `calls` is how many calls the block had; None takes as many as are asked for.
    """

    seconds: float
    cycles: float | None = None
    sm_clock_hz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    calls: int | None = None


class Script(NamedTuple):
    """What one cell replays: its blocks in order (warm-up, search, samples), and what was noted beside them.

    `candidates` are the algorithms that were searched, `timed` how the blocks were timed (which `algorithm` says
    beside the candidate that is used).
    """

    calls: Iterable[Call]
    cold: bool = False
    check: Check = _NEVER_CHECKED
    data: Mapping[str, OperandData] = MappingProxyType({})
    candidates: Sequence[Mapping[str, str | int]] = ()
    algorithm: Mapping[str, str | int] = MappingProxyType({})
    telemetry: Telemetry | None = None
    caveats: Sequence[Caveat] = ()


class ReplayTask(PlainTask):
    """One cell's recorded blocks, handed out in their order."""

    def __init__(self, script: Script) -> None:
        self.cold = script.cold
        self.data = script.data
        self.candidates = script.candidates
        self.algorithm = script.algorithm
        self._script = script
        self._calls: Iterator[Call] = iter(script.calls)

    def block(self, calls: int) -> Block | None:
        """Return the next recorded block, of `calls` calls if the record does not say; None after the last."""
        call = next(self._calls, None)
        if call is None:
            return None
        return Block(
            calls=call.calls or calls,
            seconds_per_call=call.seconds,
            cycles_per_call=call.cycles,
            sm_clock_hz=call.sm_clock_hz,
            power_w=call.power_w,
            temperature_c=call.temperature_c,
        )

    def rest(self, seconds: float) -> None:
        """Do nothing: the device rested when it was measured."""

    def observed(self) -> Telemetry | None:
        """Return what the sensors said then."""
        return self._script.telemetry

    def caveats(self) -> Sequence[Caveat]:
        """Return what was noticed then."""
        return self._script.caveats

    def verify(self) -> Check:
        """Return the recorded check: there is no product here to check again."""
        return self._script.check

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
        libraries = tuple(dict.fromkeys(cell.library or "" for cell in scripts))
        self.defaults = CellDefaults(libraries=libraries, l2=next(iter(scripts)).l2 or "hot", sizes=())

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

    def refusal(self, operation: str, dtype: str, library: str | None = None) -> str | None:
        """Return None for what the scripts hold."""
        for cell in self._scripts:
            if (cell.operation, cell.dtype_name) == (operation, dtype) and library in (None, cell.library):
                return None
        return f"the record to replay holds no {operation} in {dtype}"

    def peers(self) -> tuple[int, ...]:
        """Return nothing: a replay takes its cells from the record."""
        return ()

    def misfit(self, cell: Cell) -> str | None:  # noqa: ARG002 - as the protocol has it
        """Return None: what was recorded did fit."""
        return None

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

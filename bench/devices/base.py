"""What every backend is: it owns operands, timing, correctness and identity; `measure` owns when to stop."""

import math
from collections.abc import Mapping, Sequence
from time import sleep
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from bench.workloads.base import Cell, L2Mode, NotNegative

Origin = Literal["measured", "replayed", "simulated"]


class CellDefaults(NamedTuple):
    """What a backend fills into a cell: the libraries that multiply, and how calls use the cache.

    `sizes` are the square sizes from which a run without one chooses, small to large. `streams` are what copies
    and triads are done by, and `elements` the numbers in each array of theirs, far too many for any cache. `links`
    are what copies to other devices are done by.
    """

    libraries: tuple[str, ...]
    l2: L2Mode
    sizes: tuple[int, ...]
    streams: tuple[str, ...] = ()
    elements: int = 0
    links: tuple[str, ...] = ()


class Caveat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A warning as data: what was noticed and the numbers; `report` makes the text."""

    code: str
    values: dict[str, float | str] = {}


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The device of a record.

    `folder` is the name under which its records lie: a chip's id, `cpu-<model>` or `unknown-<pci id>`. `key`
    is a keyed hash that tells devices of one results folder apart without naming them; `host` is recorded only
    on request. `pci_device_id` (four hex digits), `sm_count`, `memory_bytes` and `mig` are what a chip is
    identified by; `identified_by` says in words what decided. `index` is its number in this machine, as `devices`
    counts, and `host_key` a keyed hash of the machine, as `key` is of the device.
    """

    kind: str
    name: str
    folder: str
    chip: str | None = None
    key: str | None = None
    host: str | None = None
    pci_device_id: str | None = None
    sm_count: NotNegative | None = None
    memory_bytes: NotNegative | None = None
    compute_capability: str | None = None
    l2_bytes: NotNegative | None = None
    mig: bool = False
    identified_by: str | None = None
    index: NotNegative | None = None
    host_key: str | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What surrounds a measurement. All but `conditions` must agree before a record may be resumed.

    `versions`: libraries and drivers. `settings`: threads, power limit, ECC, clocks. `flagged`: environment
    variables that change results (only "set" where the value is a path). `conditions`: load, temperature.
    """

    versions: dict[str, str]
    settings: dict[str, str]
    flagged: dict[str, str]
    conditions: dict[str, str]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One timed block of back-to-back calls: their mean, and what the clock and the sensors said where known."""

    calls: int
    seconds_per_call: float
    cycles_per_call: float | None = None
    sm_clock_hz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None

    @property
    def seconds(self) -> float:
        """How long the whole block took."""
        return self.calls * self.seconds_per_call


class OperandData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was stored in one operand, over all its sets: to tell normal data from zeros in hindsight."""

    mean: float
    sd: float
    zero_share: float


class Moments:
    """Count, sums and zeros of what was stored, over all the operands that were added."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares, self._zeros = 0, 0.0, 0.0, 0

    def add(self, xp: Any, numbers: Any) -> None:  # noqa: ANN401 - NumPy or CuPy, and an array of it
        """Add numbers in FP64."""
        self._count += numbers.size
        self._sum += float(xp.sum(numbers))
        self._squares += float(xp.sum(numbers * numbers))
        self._zeros += numbers.size - int(xp.count_nonzero(numbers))

    def described(self) -> OperandData:
        """Return mean, standard deviation and share of zeros."""
        mean = self._sum / self._count
        variance = max(0.0, self._squares / self._count - mean * mean)
        return OperandData(mean=mean, sd=math.sqrt(variance), zero_share=self._zeros / self._count)


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numerical check of a cell's outputs against FP64, as relative errors ‖d−ref‖/‖ref‖.

    `rows_error` is the worst of `rows` whole rows, to stay within `tolerance`; `product_error` the worst row
    of D·r against A·(B·r) with a random vector r, over the whole matrix, to stay within five times that. None
    stands for an infinite error: the output held something that is not a number. Of a copy or a triad a row is a
    part of the array, and `product_error` its worst number over the root mean square of all.
    """

    passed: bool
    tolerance: float
    rows: int
    rows_error: float | None
    product_error: float | None


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least, the median and the most of some sensor readings, in base units."""

    least: float
    median: float
    most: float


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the device's sensors said while samples were taken; a sensor that was silent is absent.

    `readings` in `seconds` of watching. Clocks in Hz, `power_w` in watts as sampled, `temperature_c` in °C.
    `energy_j` is the difference of the device's energy counter over `energy_s` seconds, only where that is 3 s or
    more: on some chips the power sensor sees a quarter of the time. `event_reasons`: by name, the share of
    readings in which the clock was held back for that reason; None where the device does not tell, empty where
    nothing held it back. `lost` says why the readings ended early.
    """

    readings: int
    seconds: float
    sm_clock_hz: Spread | None = None
    memory_clock_hz: Spread | None = None
    power_w: Spread | None = None
    temperature_c: Spread | None = None
    energy_j: float | None = None
    energy_s: float | None = None
    event_reasons: dict[str, float] | None = None
    lost: str | None = None


class Task(Protocol):
    """A cell made ready on a device: operands allocated, nothing left to do but calls."""

    @property
    def cold(self) -> bool:
        """Whether nothing has run on this device in this process yet, so that warm-up may take longer."""
        ...

    @property
    def data(self) -> Mapping[str, OperandData]:
        """What the inputs hold, by operand."""
        ...

    @property
    def candidates(self) -> Sequence[Mapping[str, str | int]]:
        """What could compute this cell, described: the library's algorithms. Fewer than two: nothing to choose."""
        ...

    def use(self, candidate: int) -> None:
        """Let the blocks that follow, and the check, use this one of `candidates`; at first it is number 0."""
        ...

    @property
    def algorithm(self) -> Mapping[str, str | int]:
        """What runs now, and how it is timed."""
        ...

    def block(self, calls: int) -> Block | None:
        """Run about `calls` calls back to back and return their time; None when a replay has no more of them."""
        ...

    def rest(self, seconds: float) -> None:
        """Let the device idle."""
        ...

    def watch(self) -> None:
        """Begin to note what the sensors say."""
        ...

    def observed(self) -> Telemetry | None:
        """Return what the sensors said since `watch`; None where there are none."""
        ...

    def caveats(self) -> Sequence[Caveat]:
        """Return what about this task's own calls bends its blocks, as seen so far."""
        ...

    def verify(self) -> Check:
        """Run the cell once more on every operand set, outputs poisoned first, and check the results."""
        ...

    def close(self) -> None:
        """Release the operands."""
        ...


class PlainTask:
    """A task of one algorithm on a device without sensors: the rest of the protocol for `cpu`-like backends."""

    candidates: Sequence[Mapping[str, str | int]] = ()
    algorithm: Mapping[str, str | int] = MappingProxyType({})

    def use(self, candidate: int) -> None:
        """Do nothing: there is one way only."""

    def rest(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def watch(self) -> None:
        """Do nothing: there are no sensors."""

    def observed(self) -> Telemetry | None:
        """Return None: there are no sensors."""
        return None

    def caveats(self) -> Sequence[Caveat]:
        """Return nothing."""
        return ()


class Backend(Protocol):
    """A device that can execute cells."""

    @property
    def name(self) -> str:
        """The key of this backend in `BACKENDS`."""
        ...

    @property
    def origin(self) -> Origin:
        """What a record made with this backend is."""
        ...

    @property
    def defaults(self) -> CellDefaults:
        """The fields of a cell that this backend decides."""
        ...

    def device(self) -> Device:
        """Return which device this is, without its key."""
        ...

    def identity(self) -> str:
        """Return what tells this very device from others of its kind; never stored, only hashed."""
        ...

    def environment(self) -> Environment:
        """Return what surrounds a measurement made now."""
        ...

    def caveats(self) -> Sequence[Caveat]:
        """Return what about this machine, now, may bend a measurement."""
        ...

    def refusal(self, operation: str, dtype: str, library: str | None = None) -> str | None:
        """Return None if this backend offers `dtype` for `operation`, else the reason why not.

        With a `library` the question is whether that one does; without, whether any does.
        """
        ...

    def peers(self) -> Sequence[int]:
        """Return the indices, as `devices` counts, of the other devices that this one can copy to."""
        ...

    def misfit(self, cell: Cell) -> str | None:
        """Return why an offered dtype cannot be measured in this cell's shape, or with its peer, or None."""
        ...

    def bytes_needed(self, cell: Cell) -> int:
        """Return the bytes that `prepare(cell)` and its check will allocate."""
        ...

    def bytes_free(self) -> int | None:
        """Return the bytes that can be allocated now, or None if unknown."""
        ...

    def prepare(self, cell: Cell, seed: int, *, probe: bool = False) -> Task:
        """Allocate and fill the operands of `cell` from `seed`; a `probe` leaves the next task cold."""
        ...

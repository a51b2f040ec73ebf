"""What is kept of one cell: its samples as columns, the warm-up, the search, the check, what was noticed."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from bench.devices.base import Block, Caveat, Check, OperandData, Telemetry
from bench.measure.search import Search
from bench.workloads.base import Cell

Stop = Literal["precision", "time_cap", "duration", "exhausted", "failed"]


class Samples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value a block, as columns: the mean seconds per call, and the rest where the device tells it.

    Cycles per call, the clock (Hz), and power (W) and temperature (°C) as the sensors last said.
    """

    seconds_per_call: tuple[float, ...] = ()
    cycles_per_call: tuple[float, ...] | None = None
    sm_clock_hz: tuple[float, ...] | None = None
    power_w: tuple[float, ...] | None = None
    temperature_c: tuple[float, ...] | None = None

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "Samples":
        """Return the columns of some blocks; one that not every block has is left out."""
        return cls(
            seconds_per_call=tuple(block.seconds_per_call for block in blocks),
            cycles_per_call=column([block.cycles_per_call for block in blocks]),
            sm_clock_hz=column([block.sm_clock_hz for block in blocks]),
            power_w=column([block.power_w for block in blocks]),
            temperature_c=column([block.temperature_c for block in blocks]),
        )

    def columns(self) -> dict[str, tuple[float, ...]]:
        """Return the columns that are there, by name."""
        found: list[tuple[str, tuple[float, ...] | None]] = [
            ("seconds_per_call", self.seconds_per_call),
            ("cycles_per_call", self.cycles_per_call),
            ("sm_clock_hz", self.sm_clock_hz),
            ("power_w", self.power_w),
            ("temperature_c", self.temperature_c),
        ]
        return {name: column for name, column in found if column is not None}


class WarmUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Every block before the first sample: how many calls each had, what one call took, the clock where told.

    `cold`: nothing had run in the process before. `flat`: it ended because the rate no longer moved.
    """

    cold: bool
    flat: bool
    calls: tuple[int, ...]
    seconds_per_call: tuple[float, ...]
    sm_clock_hz: tuple[float | None, ...] | None = None


class Measurement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="measurement",
):
    """All that was measured of one cell. Statistics are not kept: they are functions of `samples`.

    `stop` tells which rule ended the sampling; "failed" means that there are no samples and `failure` says
    why. `algorithm` describes what ran, where the library tells, and `search` how it was chosen.
    """

    cell: Cell
    stop: Stop
    samples: Samples = Samples()
    calls_per_block: int = 0
    warm_up: WarmUp | None = None
    check: Check | None = None
    data: dict[str, OperandData] = {}
    algorithm: dict[str, str | int] = {}
    search: Search | None = None
    telemetry: Telemetry | None = None
    warnings: tuple[Caveat, ...] = ()
    failure: str | None = None

    @property
    def passed(self) -> bool:
        """Whether there are samples of a product that was found correct."""
        return bool(self.samples.seconds_per_call) and self.check is not None and self.check.passed


def column(values: Sequence[float | None]) -> tuple[float, ...] | None:
    """Return the values as a column of samples, None if one of them is not known."""
    known = tuple(value for value in values if value is not None)
    return known if known and len(known) == len(values) else None

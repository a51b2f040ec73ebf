"""What a side shows that can be carried over to another chip: its products and copies, and what limited them."""

import math
import re
from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.analysis.compare import Side, reading_order
from bench.analysis.context import differences, steered_by
from bench.analysis.estimates import Estimate
from bench.analysis.hardware import Hardware, hardware_of
from bench.analysis.roofline import BENT, Format, format_of, is_usual
from bench.analysis.tiling import Tiling
from bench.devices.nvidia.nvml import POWER_CAP
from bench.errors import RecordError
from bench.workloads.base import PEER_COPY, STREAMS, Cell

# A call so short is mostly what any call costs beside its work: 6 to 8 µs on an H100 and H200 (results/README.md).
SHORT_S: Final = 20e-6
# Why a cell is left out, where a code tells it.
REASONS: Final = MappingProxyType(
    {
        "failed": "it failed its check",
        "launch_bound": "the host set its rate",
        "in_cache": "a cache held its operands",
        "link": "it copies to another device, over a link that this model knows nothing of",
        "unusual": "its data are not normal, or it was a burst, or measured beside other devices",
    }
)


class Observed(NamedTuple):
    """A product or a copy as measured: `seconds` of a call of `flop` operations that moves `moved` bytes.

    `clock` is the one held, in Hz, and `watts` the power that it was held at: the power limit, where that held it
    back. Each is None where it was not told. Of a rate whose shape was not stated, `flop` are those of a second.
    """

    cell: Cell
    rate: Estimate
    seconds: float
    flop: float
    moved: float
    clock: float | None
    watts: float | None
    tiling: Tiling | None
    hardware: Hardware

    @property
    def arithmetic(self) -> float:
        """Seconds that its operations take if every multiprocessor that has a tile computes at its peak."""
        per_clock, clock = self.hardware.per_clock, self.clock
        peak = per_clock * clock if per_clock and clock else self.hardware.peak
        return self.flop / peak / self.fullness(self.hardware)

    def fullness(self, hardware: Hardware) -> float:
        """Return the share of a chip's multiprocessors that this product, cut as here, keeps busy, or 1."""
        if self.tiling is None or self.cell.shape is None or hardware.sms is None:
            return 1.0
        return self.tiling.fullness(self.cell.shape, hardware.sms)

    @property
    def is_capped(self) -> bool:
        """Whether the power limit held its clock back most of the time."""
        return POWER_CAP in self.rate.caveats

    def memory(self, share: float) -> float:
        """Return the seconds that its bytes take at a share of the published bandwidth."""
        return self.moved / (share * self.hardware.bandwidth)


class Own(NamedTuple):
    """What all of a source's cells show together.

    `memory_share` is the best bandwidth as a share of the published one, None if nothing that memory limits was
    measured; `best` the most efficient product of each format, of those that arithmetic limits; `rest` the seconds
    that a short call takes beside its work, 0 if there was none. `tile_rows` are the heights of tiles that the
    library was seen to choose.
    """

    memory_share: float | None
    best: Mapping[Format, Observed]
    rest: float
    tile_rows: frozenset[int] = frozenset()

    @property
    def share(self) -> float:
        """The share of a published bandwidth to count with."""
        return self.memory_share or 1.0

    def padded(self, rows: int) -> float:
        """Return by how much whole tiles cover more than so many rows, by the tiles that fit them best."""
        return min((math.ceil(rows / height) * height / rows for height in self.tile_rows), default=1.0)


class LeftOut(NamedTuple):
    """A cell that is not carried over, and why: a code, or the text of what is missing."""

    cell: Cell
    reason: str


class Source(NamedTuple):
    """A side that can be carried over: its cells, what they show together, and what was left out."""

    side: Side
    observed: tuple[Observed, ...]
    own: Own
    left_out: tuple[LeftOut, ...]


def source_of(side: Side) -> Source:
    """Return what of a side can be carried over to another chip.

    Raises RecordError for a replay, for a device that is no known chip, in surroundings that differ within the
    side or that no other chip has (a part of a GPU, steered libraries), and if no cell is left.
    """
    _check(side)
    left: list[LeftOut] = [LeftOut(cell, "failed") for cell in side.failed]
    observed: dict[tuple[object, ...], Observed] = {}
    for cell, rate in side.estimates.items():
        found = None if cell in side.failed else _observed(side, cell, rate)
        if isinstance(found, str):
            left.append(LeftOut(cell, found))
        elif found is not None:
            key = (cell.operation, format_of(cell), cell.shape or cell.elements, cell.regime)
            if key not in observed or found.rate.rate > observed[key].rate.rate:
                observed[key] = found
    if not observed:
        every = dict.fromkeys(f"{one.cell.label}: {REASONS.get(one.reason, one.reason)}" for one in left)
        why = "; ".join(every) or "it holds no rate"
        message = f"{side.label}: nothing in it can be carried over to another chip: {why}"
        raise RecordError(message)
    ones = tuple(observed.values())
    if side.kind == "published measurement":
        ones = tuple(sorted(ones, key=lambda one: reading_order(one.cell)))
    return Source(side, ones, _own(ones), tuple(left))


def _check(side: Side) -> None:
    steering = [name for context in side.contexts for name in steered_by(context)]
    mixed = [one.name for one in differences(side.contexts, side.contexts) if one.blocking]
    if side.kind == "replayed":
        why = "is a replay; project from the record that it replays"
    elif side.chip is None:
        why = f"{side.name} is no known chip, with no published limits to scale by; take a known GPU's record"
    elif any("mig" in context.states or context.settings.get("mig") == "true" for context in side.contexts):
        why = "was measured on a part of a GPU (MIG), which no published figure is of"
    elif steering:
        why = f"was measured with {', '.join(dict.fromkeys(steering))} set, which steers the libraries"
    elif mixed:
        why = f"its records are not comparable with each other: {', '.join(mixed)} differ"
    else:
        return
    message = f"{side.label}: {why}"
    raise RecordError(message)


def _observed(side: Side, cell: Cell, rate: Estimate) -> Observed | str:
    """Return a cell as it was measured, or why it cannot be carried over."""
    if cell.operation == PEER_COPY:
        return "link"
    bent = sorted(rate.caveats & BENT)
    if bent:
        return bent[0]
    if not is_usual(cell) or cell.load not in {None, "alone"}:
        return "unusual"
    hardware = None if side.chip is None else hardware_of(side.chip, cell.figures)
    if hardware is None or not rate.rate:
        return f"no peak or no bandwidth of {side.chip.id if side.chip else side.name} is published for it"
    return Observed(
        cell=cell,
        rate=rate,
        seconds=cell.work / rate.rate if cell.work else 1.0,
        flop=float(cell.flop) if cell.work else rate.rate,
        moved=float(cell.bytes_moved),
        clock=side.clocks.get(cell),
        watts=_held_at(side, cell, rate),
        tiling=side.tilings.get(cell),
        hardware=hardware,
    )


def _held_at(side: Side, cell: Cell, rate: Estimate) -> float | None:
    """Return the power at which a clock was held: the power limit if that set it, else what was drawn.

    None where no sensor told it, or one told nonsense.
    """
    drawn = side.watts.get(cell)
    if drawn is None or not 0 < drawn < math.inf:
        return None
    limits = {context.settings.get("power_limit_w", "") for context in side.contexts}
    is_told = len(limits) == 1 and re.fullmatch(r"\d{1,6}(\.\d*)?", (limit := limits.pop()), re.ASCII)
    return float(limit) if is_told and float(limit) > 0 and POWER_CAP in rate.caveats else drawn


def _own(observed: Sequence[Observed]) -> Own:
    shares = [one.moved / one.seconds / one.hardware.bandwidth for one in observed if _is_memory_bound(one)]
    share = min(1.0, max(shares)) if shares else None
    short = [
        one.seconds - max(one.arithmetic, one.memory(share or 1.0))
        for one in observed
        if one.seconds < SHORT_S and one.cell.shape is not None
    ]
    best: dict[Format, Observed] = {}
    for one in observed:
        of = format_of(one.cell)
        if of is not None and one.arithmetic >= one.memory(share or 1.0):
            best[of] = max(best.get(of, one), one, key=lambda product: product.arithmetic / product.seconds)
    return Own(
        memory_share=share,
        best=best,
        rest=max(0.0, median(short)) if short else 0.0,
        tile_rows=frozenset(one.tiling.m for one in observed if one.tiling is not None),
    )


def _is_memory_bound(one: Observed) -> bool:
    """Whether its bytes took most of a call's time, even at the published bandwidth: its rate is the memory's."""
    return one.cell.operation in STREAMS or one.memory(1.0) > max(one.arithmetic, one.seconds / 2)

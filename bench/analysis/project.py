"""What a chip that was not measured would do: measured rates of one chip carried over to another's limits.

A product's call is thought of as the longer of two times, and what comes on top of it:

    seconds = max(arithmetic, memory) + rest

- **arithmetic**: FLOP ÷ (SMs × FLOP per clock × clock × efficiency × fullness). The efficiency is what the source
  reached *at the clock that it held*; fullness is the share of multiprocessors that have a tile to work on (wave
  quantisation). The target's clock is that of its published peak; at the fast end of the range, its boost clock.
- **memory**: bytes ÷ (bandwidth × efficiency), the best efficiency that the source's copies and products reached.
- **rest**: what a call takes beside that. Where memory is the limit, and in calls of less than 20 µs, it stays as
  long as it was; in longer ones that arithmetic limits it grows with that, as an efficiency does, but for as much
  as the short calls show that every call takes. So half the rate at the same clock is half the rate projected only
  where arithmetic is the limit, and a lower rate at as much lower a clock changes nothing there.
- **power** bounds the clock, and so arithmetic. What counts are watts (the target's published ones, and those that
  the source drew, or its limit where that held it back) for each FLOP per clock. With fewer than the source had,
  the rate lies between joules per FLOP that stay as they were (rate ∝ watts) and a clock that does; expected is
  their geometric middle (power ∝ clock²). With more, joules per FLOP are expected to stay, as far as the target's
  clock; at the slow end the clock rises only by the cube root (power ∝ clock³, as voltage rises with it). Where
  memory is the limit, more bandwidth may be worth nothing if power held the source back: the middle is expected.

Where arithmetic and memory take about as long (within 1.5 times), what each of the two limits would make of it is
mixed, and the range reaches towards both. What memory limits and the target's arithmetic would not keep up with is
held against the best efficiency of its format.

The range has the slow and the fast end of all that, and a further 4.5 % either way, by which two units may differ.
Where power is the limit it also has the interval of the measurement; elsewhere that is small beside it. What
others published has neither clock nor power. Then the source may have been at its power limit, with an efficiency
of up to 1, or not, and the range holds both, and 10 % by which different people's rates differ: it is wide.
Between two architectures efficiencies need not be alike: the range reaches up to the target's published limits,
and as far down. A chip projected onto itself is what was measured.

It assumes that an SM of the target takes as many cycles for the same work, but for its FLOP per clock; libraries
that choose equally well; and joules per FLOP that do not depend on the chip. No number is fitted to a target: all
come from the source's cells or from published figures, but for these, which are choices: 20 µs and 4.5 % (of
measured calls and units: results/README.md), 10 % (of others' rates: bench.analysis.sane), the 1.5, and that
memory's range goes half of the way. How far it is off on pairs of chips that somebody measured is told in
results/README.md, computed by tests.
Sources: rooflines, Williams et al., CACM 52(4), 2009; waves, NVIDIA's Matrix Multiplication Background User's
Guide; dynamic power, C·V²·f, Weste and Harris, CMOS VLSI Design, 4th ed., chapter 5.
"""

import math
from typing import Final, Literal, NamedTuple

from bench.analysis.hardware import Hardware, architecture, hardware_of
from bench.analysis.roofline import format_of
from bench.analysis.sane import ALLOWANCE
from bench.analysis.source import SHORT_S, LeftOut, Observed, Own, Source
from bench.analysis.times import Times, blended
from bench.errors import InvalidRequest
from bench.published.chips import Chip
from bench.workloads.base import STREAMS

Bound = Literal["compute", "memory", "power", "latency"]
_CUBE: Final = 1 / 3  # power ∝ clock³: the clock that some power allows is its cube root
_SQUARE: Final = 1 / 2
_CLEARLY: Final = 1.001  # times that differ by less are equal
_NEAR: Final = 1.5  # times of arithmetic and memory that differ by less both count
_UNITS: Final = 0.045  # an H100 was up to 4.4 % faster than an H200 where both were at 700 W


class Projection(NamedTuple):
    """A cell on a chip that it was not measured on: seconds of a call, and what limits it there.

    `work` is what a call does in the unit of its rate. `seconds` of a rate whose shape is not stated are those of
    as many operations as the source does in one.
    """

    source: Observed
    target: Hardware
    seconds: Times
    bound_by: Bound

    @property
    def work(self) -> float:
        """Operations of a call, or bytes of a copy."""
        return self.source.moved if self.source.cell.operation in STREAMS else self.source.flop

    @property
    def of_source(self) -> float:
        """The expected rate as a multiple of the source's."""
        return self.rates.expected / self.source.rate.rate

    @property
    def of_limit(self) -> float:
        """The expected rate as a share of the target's published peak, or of its bandwidth."""
        return self.rates.expected / self.target.limit(self.source.cell)

    @property
    def rates(self) -> Times:
        """The rates per second, lowest first: `slow`, `expected`, `fast`."""
        return self.seconds.apply(lambda seconds: self.work / seconds)


class Projected(NamedTuple):
    """All cells of a source on another chip, and those that are left out."""

    source: Source
    target: Chip
    cells: tuple[Projection, ...]
    left_out: tuple[LeftOut, ...]


def project(source: Source, target: Chip) -> Projected:
    """Return what `target` would do of what a source did, by the model of this module.

    A format that nobody published a peak of for the target, or one of other units than the source's, is left out.
    Raises InvalidRequest if none is left, or if its bandwidth is not published.
    """
    cells, left = [], list(source.left_out)
    for one in source.observed:
        hardware = hardware_of(target, one.cell.figures)
        if hardware is None:
            left.append(LeftOut(one.cell, _missing(target, one)))
        elif hardware.figure != one.hardware.figure:
            chips = f"{one.hardware.chip.id} has {one.hardware.figure} for it, {target.id} {hardware.figure}"
            left.append(LeftOut(one.cell, chips))
        else:
            cells.append(_projection(one, source.own, hardware))
    if not cells:
        why = "; ".join(dict.fromkeys(one.reason for one in left[len(source.left_out) :]))
        message = f"nothing of {source.side.label} can be carried over to {target.id}: {why}"
        raise InvalidRequest(message)
    return Projected(source, target, tuple(cells), tuple(left))


def _missing(target: Chip, one: Observed) -> str:
    name = one.cell.figures[0] if one.cell.figures else one.cell.dtype_name
    if target.first_known(("memory_bandwidth",)) is None:
        name = "memory_bandwidth"
    figure = target.figures.get(name)
    is_absent = figure is not None and figure.status == "inapplicable"
    return f"{target.id} has no {name}" if is_absent else f"no {name} of {target.id} is published"


def _projection(one: Observed, own: Own, target: Hardware) -> Projection:
    if target.chip.id == one.hardware.chip.id:
        found = Projection(one, target, Times.exactly(one.seconds), _bound_here(one, own))
    elif one.cell.operation in STREAMS:
        seconds = one.seconds * one.hardware.bandwidth / target.bandwidth
        found = Projection(one, target, Times.exactly(seconds), "memory")
    else:
        found = _product(one, own, target)
    return found._replace(seconds=_in_doubt(found))


def _in_doubt(found: Projection) -> Times:
    """Return the range with what the model says nothing of: people, units, architectures, the measurement."""
    one, target, times = found.source, found.target, found.seconds
    flop = 0.0 if one.cell.operation in STREAMS else one.flop
    if architecture(target.chip) != architecture(one.hardware.chip):
        fast = min(times.fast, target.seconds(flop, one.moved))
        times = Times(max(times.slow, times.expected**2 / fast), times.expected, fast)
    error = math.log1p(_UNITS if one.rate.published is None else ALLOWANCE)
    if found.bound_by == "power":
        error = math.hypot(error, math.log1p(one.rate.half_width or 0.0))
    wide = times.widened(error)
    return wide._replace(fast=max(wide.fast, min(flop / target.boost_peak, times.expected)))


def _bound_here(one: Observed, own: Own) -> Bound:
    """Return what limits a cell on the very chip that it was measured on."""
    memory = one.memory(own.share)
    if max(memory, one.arithmetic) < one.seconds / 2 and one.seconds < SHORT_S:
        return "latency"
    if memory > one.arithmetic:
        return "memory"
    return "power" if one.is_capped else "compute"


def _product(one: Observed, own: Own, target: Hardware) -> Projection:
    """Project by what took longer on the source, arithmetic or memory; by both where they took about as long."""
    memory = one.memory(own.share)
    if memory * _NEAR <= one.arithmetic:
        return _by_arithmetic(one, own, target)
    if one.arithmetic * _NEAR <= memory:
        return _by_memory(one, own, target)
    weight = (1 + math.log(one.arithmetic / memory) / math.log(_NEAR)) / 2
    first, second = _by_memory(one, own, target), _by_arithmetic(one, own, target)
    nearer = second if weight > 1 / 2 else first
    return nearer._replace(seconds=blended(first.seconds, second.seconds, weight))


def _by_memory(one: Observed, own: Own, target: Hardware) -> Projection:
    """Project a call whose bytes take longer than its operations: the rest of its time stays as long as it was.

    The range goes half of the way (geometrically) to a time all of which follows the bandwidth, and to one in
    which the rest hides the bytes.
    """
    rest = max(0.0, one.seconds - one.memory(own.share))
    moving = one.moved / (own.share * target.bandwidth)
    carried = moving + rest
    ends = (one.seconds * one.hardware.bandwidth / target.bandwidth, max(one.seconds, moving), carried)
    slow, fast = (math.sqrt(carried * end) for end in (max(ends), min(ends)))
    allowed = _allowed_by_power(one, target)
    times = Times(max(slow, allowed), math.sqrt(carried * max(carried, allowed)), fast)
    computing, by_power = _least_arithmetic(one, own, target)
    computing = computing.apply(lambda seconds: seconds + rest)
    if computing.expected > times.expected:
        bound: Bound = "power" if by_power else "compute"
    elif allowed > carried * _CLEARLY:
        bound = "power"
    else:
        bound = "latency" if rest > moving else "memory"
    return Projection(one, target, times.at_least(computing), bound)


def _allowed_by_power(one: Observed, target: Hardware) -> float:
    """Return the seconds of a call if its joules stay as they were, of a source that power held back, else 0.

    Fewer watts do not make it longer: a call that waits for memory can do with a lower clock.
    """
    watts = one.watts or one.hardware.watts
    if not (one.is_capped and watts and target.watts):
        return 0.0
    return one.seconds * min(1.0, watts / target.watts)


def _least_arithmetic(one: Observed, own: Own, target: Hardware) -> tuple[Times, bool]:
    """Return the seconds of a product's operations as efficient as the best of its format, and if power sets them.

    Where memory was the limit the library may have taken higher tiles than it needs; it is taken to choose better
    where arithmetic is.
    """
    of = format_of(one.cell)
    best = own.best.get(of) if of else None
    padded = own.padded(one.cell.shape.m) if one.cell.shape else 1.0
    flop = one.flop * padded / one.fullness(target)
    if best is None:
        return Times(flop / target.peak, flop / target.peak, flop / target.boost_peak), False
    clocked = _clocked(best, best.seconds, target)
    per_flop = best.fullness(best.hardware) / best.flop
    times = clocked.times.apply(lambda seconds: max(flop / target.boost_peak, seconds * per_flop * flop))
    return times, clocked.by_power


def _by_arithmetic(one: Observed, own: Own, target: Hardware) -> Projection:
    """Project a call whose operations take longer than its bytes."""
    rest = max(0.0, one.seconds - max(one.arithmetic, one.memory(own.share)))
    shortness = min(1.0, max(0.0, 2 - one.seconds / SHORT_S))  # 1 up to 20 µs, 0 from 40 µs on
    fixed = min(rest, own.rest) + max(0.0, rest - own.rest) * shortness
    busy = one.seconds - fixed
    clocked = _clocked(one, busy, target)
    times = _in_waves(clocked.times, one, target).apply(lambda s: max(s, one.flop / target.boost_peak))
    moving = one.moved / (own.share * target.bandwidth)
    seconds = times.at_least(Times.exactly(moving)).apply(lambda s: s + fixed)
    if not clocked.counted:  # nothing tells how much of its time was spent waiting
        seconds = seconds._replace(slow=max(seconds.slow, clocked.times.slow * one.seconds / busy))
    if fixed > max(moving, times.expected):
        bound: Bound = "latency"
    elif moving > times.expected:
        bound = "memory"
    else:
        bound = "power" if clocked.by_power else "compute"
    return Projection(one, target, seconds, bound)


class _Clocked(NamedTuple):
    """Seconds of a product's operations on the target, whether power sets them, whether its clock was counted."""

    times: Times
    by_power: bool
    counted: bool = True


def _clocked(one: Observed, busy: float, target: Hardware) -> _Clocked:
    """Return the seconds on the target of operations that took `busy` seconds on the source."""
    return _at_known_clock(one, busy, target) or _at_unknown_clock(one, busy, target)


def _at_known_clock(one: Observed, busy: float, target: Hardware) -> _Clocked | None:
    """Return the seconds of a product whose clock was counted; None if it, or FLOP per clock, is not known."""
    here = one.hardware
    if not (one.clock and here.per_clock and target.per_clock and target.sheet_clock):
        return None
    held = busy * here.per_clock / target.per_clock  # at the clock that the source held
    sheet = held * one.clock / target.sheet_clock
    boost = held * one.clock / max(target.sheet_clock, target.boost or 0.0)
    watts = one.watts or here.watts
    if not (watts and target.watts):
        return _Clocked(Times(sheet, sheet, boost), by_power=False)
    budget = target.watts / target.per_clock / (watts / here.per_clock)
    powers = (_CUBE, 1.0, 1.0) if budget > 1 else (1.0, _SQUARE, 0.0)
    slow, expected, fast = (held / budget**power for power in powers)
    times = Times(max(slow, sheet), max(expected, sheet), max(fast, boost))
    return _Clocked(times, by_power=expected > sheet * _CLEARLY)


def _at_unknown_clock(one: Observed, busy: float, target: Hardware) -> _Clocked:
    """Return the seconds of a product of which only the rate is known, as others publish it."""
    here = one.hardware
    alike = busy * here.peak / target.peak  # at the same share of the published peak
    watts = one.watts or here.watts
    if not (watts and target.watts):
        fast = min(alike, one.flop / target.peak)
        return _Clocked(Times(alike, math.sqrt(alike * fast), fast), by_power=False, counted=False)
    budget = target.watts / target.peak / (watts / here.peak)
    ends = (alike, max(alike / budget, min(alike, one.flop / target.peak)))
    times = Times(max(ends), math.sqrt(ends[0] * ends[1]), min(ends))
    return _Clocked(times, by_power=budget * _CLEARLY < 1, counted=False)


def _in_waves(times: Times, one: Observed, target: Hardware) -> Times:
    """Return the times with another last wave: cut as it was, or, at best, so that it is as full as it was."""
    as_cut = one.fullness(one.hardware) / one.fullness(target)
    fitted = min(as_cut, 1.0)
    expected = times.expected * math.sqrt(as_cut * fitted)
    return Times(times.slow * as_cut, expected, min(times.fast * as_cut, times.expected * fitted))

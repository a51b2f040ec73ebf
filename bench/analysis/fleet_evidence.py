"""What the records say about an outlier, as data: in what it is unlike most devices of its group."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

from bench.analysis.estimates import NOTABLE
from bench.analysis.fleet_units import Entry, Facts, Items
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.stats import Robust, robust
from bench.workloads.base import PEER_COPY, Cell

_H = TypeVar("_H", bound=Hashable)
Kind = Literal["products", "memory", "link"]
_CLOCK_MOVED: Final = 0.005  # cycles per call of one product vary by less
_MOSTLY, _HARDLY = 0.8, 0.2  # of a deviation that the clock shows, too
_USUAL: Final = 3.0  # scales from the median within which a sensor says nothing
_DEGREES, _WATTS, _SHARE = 5.0, 0.05, 0.1  # and how much it must differ: °C, relative, of the readings
_RATIOS: Final = ("sm_clock_hz", "memory_clock_hz", "cycles_per_call", "watts")
NOT_SET: Final = "not set"
# Warnings that only say again what a setting does, by the setting's name; variables are named by themselves.
_TOLD_BY: Final = {
    "power_limit": "power_limit_w",
    "application_clocks": "application_clock_hz",
    "ecc_off": "ecc",
    "mig": "mig",
    "pcie": "pcie_width",
}
_VARIABLE: Final = "variable"
# What follows from a slow device or describes it, but does not say why it is one.
_DESCRIBING: Final = ("cycles", "power", "only")


class Sign(NamedTuple):
    """Something in which a device is unlike most of its group, and the numbers.

    Codes: `clock`, `clock_partly` and `cycles` {hz, usual_hz, clock, cycles}, as the clock explains most, a part
    or none of a product's deviation (the last two values are deviations from the usual); `clock_moved` and
    `memory_clock` {hz, usual_hz} of other cells; `held_back` {reason, share, usual}; `named` {name, this, usual}
    of settings, versions and variables; `temperature` {celsius, usual} and `power` {watts, usual}; `warned`
    {warning, …} with the warning's own values; `algorithm` {this, usual} with what differs; and `only` {kind}, if
    no other kind of cell is like that.
    """

    code: str
    values: Mapping[str, float | str]


class Usual(NamedTuple):
    """What is usual in a group: the bulk of each sensor, and what more than half of the devices have in common."""

    numbers: Mapping[str, Robust]
    named: Mapping[str, str]
    warned: frozenset[str]
    algorithm: Items | None


def explains(signs: Iterable[Sign]) -> bool:
    """Whether one of the signs may be why a device is an outlier."""
    return any(sign.code not in _DESCRIBING for sign in signs)


def kind_of(cell: Cell) -> Kind:
    """Return what part of a device a cell is bound by: its products, its memory, or a link to another device."""
    if cell.operation == PEER_COPY:
        return "link"
    return "memory" if cell.is_transfer else "products"


def usual_of(entries: Sequence[Entry]) -> Usual:
    """Return what is usual among the devices of one group, all of which have a rate."""
    numbers = {
        name: robust(values)
        for name in (*_RATIOS, "temperature_c")
        if (values := [value for one in entries if (value := getattr(one.facts, name)) is not None])
    }
    numbers |= {
        name: robust([one.facts.reasons.get(name, 0.0) for one in entries]) for name in (*FAULTS, POWER_CAP)
    }
    surroundings = Counter(one.surroundings.named for one in entries)
    by_name: dict[str, Counter[str]] = {}
    for named, count in surroundings.items():
        for name, value in named:
            by_name.setdefault(name, Counter())[value] += count
    codes = Counter(code for one in entries for code in {caveat.code for caveat in one.surroundings.caveats})
    half = len(entries) / 2
    return Usual(
        numbers=numbers,
        named={name: value for name, values in by_name.items() if (value := _of_most(values, half)) is not None},
        warned=frozenset(code for code, count in codes.items() if count > half),
        algorithm=_of_most(Counter(one.facts.algorithm for one in entries), half),
    )


def _of_most(values: Counter[_H], half: float) -> _H | None:
    (value, count), *_ = values.most_common(1)
    return value if count > half else None


def signs_of(entry: Entry, ratio: float, usual: Usual, alike: Mapping[Cell, bool]) -> tuple[Sign, ...]:
    """Return what is unusual about an outlier whose rate is `ratio` × the median.

    `alike` are its cells that got a verdict, each with whether it was the same one.
    """
    sensors = [*_clock(entry, ratio, usual), *_held_back(entry.facts, ratio, usual)]
    named = [*_named(entry, usual)]
    told = {str(sign.values["name"]) for sign in named}
    return (
        *sensors,
        *named,
        *_warned(entry, usual, told),
        *_felt(entry.facts, ratio, usual),
        *_algorithm(entry.facts, usual),
        *_only(entry.cell, alike),
    )


def _clock(entry: Entry, ratio: float, usual: Usual) -> Iterator[Sign]:
    """Yield what the clock has to do with it: a product that is as slow in cycles is slow for another reason."""
    facts, kind = entry.facts, kind_of(entry.cell)
    known = usual.numbers.get("sm_clock_hz")
    if kind == "memory":
        yield from _moved("memory_clock", facts.memory_clock_hz, usual.numbers.get("memory_clock_hz"))
    if facts.sm_clock_hz is None or known is None or kind == "link":
        return
    if kind == "memory":
        yield from _moved("clock_moved", facts.sm_clock_hz, known)
        return
    clock = math.log(facts.sm_clock_hz / known.median)
    share = clock / math.log(ratio) if abs(clock) > _CLOCK_MOVED else 0.0
    code = "clock" if share >= _MOSTLY else "clock_partly" if share >= _HARDLY else "cycles"
    values = {
        "hz": facts.sm_clock_hz,
        "usual_hz": known.median,
        "clock": math.expm1(clock),
        "cycles": math.expm1(clock - math.log(ratio)),
    }
    yield Sign(code, values)


def _moved(code: str, hertz: float | None, known: Robust | None) -> Iterator[Sign]:
    if hertz is not None and known is not None and _is_unlike(hertz, known, _CLOCK_MOVED * known.median):
        yield Sign(code, {"hz": hertz, "usual_hz": known.median})


def _is_unlike(value: float, known: Robust, least: float) -> bool:
    return abs(value - known.median) > max(least, _USUAL * known.scale)


def _held_back(facts: Facts, ratio: float, usual: Usual) -> Iterator[Sign]:
    """Yield what held the clock of a slow device back more often than usual, or that of a fast one less often."""
    for reason in (*FAULTS, POWER_CAP):
        share, known = facts.reasons.get(reason, 0.0), usual.numbers[reason]
        least = _SHARE if reason == POWER_CAP else NOTABLE
        more = share > known.median
        if _is_unlike(share, known, least) and more == (ratio < 1):
            yield Sign("held_back", {"reason": reason, "share": share, "usual": known.median})


def _named(entry: Entry, usual: Usual) -> Iterator[Sign]:
    own = dict(entry.surroundings.named)
    for name in dict.fromkeys((*own, *usual.named)):
        this, most = own.get(name, NOT_SET), usual.named.get(name, NOT_SET)
        if this != most and (name in usual.named or name in own):
            yield Sign("named", {"name": name, "this": this, "usual": most})


def _warned(entry: Entry, usual: Usual, told: set[str]) -> Iterator[Sign]:
    for caveat in entry.surroundings.caveats:
        again = caveat.code == _VARIABLE or _TOLD_BY.get(caveat.code) in told
        if caveat.code not in usual.warned and not again:
            yield Sign("warned", {"warning": caveat.code, **caveat.values})


def _felt(facts: Facts, ratio: float, usual: Usual) -> Iterator[Sign]:
    """Yield a slow device's heat, a fast one's cold, and unusual power."""
    heat, known = facts.temperature_c, usual.numbers.get("temperature_c")
    if heat is not None and known is not None and _is_unlike(heat, known, _DEGREES):
        if_so = Sign("temperature", {"celsius": heat, "usual": known.median})
        yield from [if_so] if (heat > known.median) == (ratio < 1) else []
    watts, drawn = facts.watts, usual.numbers.get("watts")
    if watts is not None and drawn is not None and _is_unlike(watts, drawn, _WATTS * drawn.median):
        yield Sign("power", {"watts": watts, "usual": drawn.median})


def _algorithm(facts: Facts, usual: Usual) -> Iterator[Sign]:
    if usual.algorithm is None or facts.algorithm == usual.algorithm:
        return
    own, most = dict(facts.algorithm), dict(usual.algorithm)
    names = [name for name in dict.fromkeys((*own, *most)) if own.get(name) != most.get(name)]
    if names:
        texts = (", ".join(f"{name} {which.get(name, NOT_SET)}" for name in names) for which in (own, most))
        this, other = texts
        yield Sign("algorithm", {"this": this, "usual": other})


def _only(cell: Cell, alike: Mapping[Cell, bool]) -> Iterator[Sign]:
    """Yield the cell's kind if all that is like it is of that kind, and another kind was judged, too."""
    own = kind_of(cell)
    others = [same for one, same in alike.items() if kind_of(one) != own]
    if others and not any(others):
        yield Sign("only", {"kind": own})

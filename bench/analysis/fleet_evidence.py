"""What the records say about an outlier, as data: in what it is unlike most devices of its group."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

from bench.analysis.estimates import NOTABLE
from bench.analysis.fleet_units import Entry, Facts, Items
from bench.devices.base import Caveat
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.stats import Robust, robust
from bench.workloads.base import PEER_COPY, Cell

_H = TypeVar("_H", bound=Hashable)
Kind = Literal["products", "memory", "link"]
_CLOCK_MOVED: Final = 0.005  # cycles per call of one product vary by less
_BEYOND, _MOSTLY, _HARDLY = 1.5, 0.8, 0.2  # times a deviation that the clock shows, too
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
_BY_SHARE: Final = (("clock_beyond", _BEYOND), ("clock", _MOSTLY), ("clock_partly", _HARDLY))
# What follows from a slow device or describes it, but does not say why it is one.
_DESCRIBING: Final = ("cycles", "power", "temperature", "only")
_DESCRIBING_WARNINGS: Final = ("no_clock", "hidden")
# By setting, and what its warning calls it: only a lower one may be why a device is slow, a higher one why fast.
_LIMITS: Final = {"power_limit_w": "watts", "application_clock_hz": "hz"}


class Sign(NamedTuple):
    """Something in which a device is unlike most of its group, and the numbers.

    Codes: `clock_beyond`, `clock`, `clock_partly` and `cycles` {hz, usual_hz, clock, cycles}, as the clock
    deviates by much more than a product's rate, or explains most, a part or none of its deviation (the last two
    values are deviations from the usual); `clock_moved` and
    `memory_clock` {hz, usual_hz} of other cells; `held_back` {reason, share, usual}; `named` {name, this, usual}
    of settings, versions and variables; `temperature` {celsius, usual} and `power` {watts, usual}; `warned`
    {warning, …} with the warning's own values; `algorithm` {this, usual} with what differs; and `only` {kind}, if
    no other kind of cell is like that. `weak`: what may be why elsewhere cannot be it here, as it is too little,
    or the other way round.
    """

    code: str
    values: Mapping[str, float | str]
    weak: bool = False

    @property
    def explains(self) -> bool:
        """Whether it may be why the device is an outlier."""
        return not (self.weak or self.code in _DESCRIBING)


class Usual(NamedTuple):
    """What is usual in a group: the bulk of each sensor, and what more than half of the devices have in common.

    What more than half of them lack is `NOT_SET`; what is neither has no usual value.
    """

    numbers: Mapping[str, Robust]
    named: Mapping[str, str]
    warned: frozenset[str]
    algorithm: Items | None


def explains(signs: Iterable[Sign]) -> bool:
    """Whether one of the signs may be why a device is an outlier."""
    return any(sign.explains for sign in signs)


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
    told = [one.facts.reasons for one in entries if one.facts.reasons is not None]
    numbers |= {name: robust([one.get(name, 0.0) for one in told]) for name in (*FAULTS, POWER_CAP) if told}
    surroundings = Counter(one.surroundings.named for one in entries)
    by_name: dict[str, Counter[str]] = {}
    for named, count in surroundings.items():
        for name, value in named:
            by_name.setdefault(name, Counter({NOT_SET: len(entries)}))[value] += count
            by_name[name][NOT_SET] -= count
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
    clock = [*_clock(entry, ratio, usual)]
    is_clock = all(sign.code != "cycles" for sign in clock)
    named = [*_named(entry, ratio, usual)]
    told = {str(sign.values["name"]) for sign in named}
    return (
        *clock,
        *_held_back(entry.facts, ratio, usual, is_clock=is_clock),
        *named,
        *_warned(entry, ratio, usual, told),
        *_felt(entry.facts, ratio, usual),
        *_algorithm(entry.facts, usual),
        *_only(entry.cell, alike),
    )


def _clock(entry: Entry, ratio: float, usual: Usual) -> Iterator[Sign]:
    """Yield what the clock has to do with it: a product that is as slow in cycles is slow for another reason."""
    facts, kind = entry.facts, kind_of(entry.cell)
    known = usual.numbers.get("sm_clock_hz")
    if kind == "memory":
        yield from _moved("memory_clock", facts.memory_clock_hz, ratio, usual.numbers.get("memory_clock_hz"))
    if facts.sm_clock_hz is None or known is None or kind == "link":
        return
    if kind == "memory":
        yield from _moved("clock_moved", facts.sm_clock_hz, ratio, known)
        return
    clock = math.log(facts.sm_clock_hz / known.median)
    share = clock / math.log(ratio) if abs(clock) > _CLOCK_MOVED else 0.0
    code = next((code for code, least in _BY_SHARE if share >= least), "cycles")
    values = {
        "hz": facts.sm_clock_hz,
        "usual_hz": known.median,
        "clock": math.expm1(clock),
        "cycles": math.expm1(clock - math.log(ratio)),
    }
    yield Sign(code, values)


def _moved(code: str, hertz: float | None, ratio: float, known: Robust | None) -> Iterator[Sign]:
    """Yield a clock that is lower than usual beside a lower rate, or higher beside a higher one."""
    if hertz is None or known is None or (hertz < known.median) != (ratio < 1):
        return
    if _is_unlike(hertz, known, _CLOCK_MOVED * known.median):
        weak = abs(math.log(hertz / known.median)) < _HARDLY * abs(math.log(ratio))
        yield Sign(code, {"hz": hertz, "usual_hz": known.median}, weak)


def _is_unlike(value: float, known: Robust, least: float) -> bool:
    return abs(value - known.median) > max(least, _USUAL * known.scale)


def _held_back(facts: Facts, ratio: float, usual: Usual, *, is_clock: bool) -> Iterator[Sign]:
    """Yield what held the clock of a slow device back more often than usual, or that of a fast one less often.

    A device that does not tell has no such sign. A power limit acts by the clock alone, and so is weak where that
    is known not to be it (not `is_clock`).
    """
    for reason in (*FAULTS, POWER_CAP) if facts.reasons is not None else ():
        share, known = (facts.reasons or {}).get(reason, 0.0), usual.numbers[reason]
        least = _SHARE if reason == POWER_CAP else NOTABLE
        more = share > known.median
        if _is_unlike(share, known, least) and more == (ratio < 1):
            values = {"reason": reason, "share": share, "usual": known.median}
            yield Sign("held_back", values, weak=reason == POWER_CAP and not is_clock)


def _named(entry: Entry, ratio: float, usual: Usual) -> Iterator[Sign]:
    """Yield what is set or installed unlike in most; where no value is that of most, none is unlike it."""
    own = dict(entry.surroundings.named)
    for name, most in usual.named.items():
        this = own.get(name, NOT_SET)
        if this != most:
            weak = name in _LIMITS and _is_contrary(this, most, ratio)
            yield Sign("named", {"name": name, "this": this, "usual": most}, weak)


def _is_contrary(own: float | str, usual: float | str, ratio: float) -> bool:
    """Whether a limit lies above the usual one of a slow device, or below that of a fast one."""
    try:
        return (float(own) < float(usual)) != (ratio < 1)
    except ValueError:  # not set, or not a number
        return False


def _warned(entry: Entry, ratio: float, usual: Usual, told: set[str]) -> Iterator[Sign]:
    for caveat in entry.surroundings.caveats:
        again = caveat.code == _VARIABLE or _TOLD_BY.get(caveat.code) in told
        if caveat.code not in usual.warned and not again:
            values = {"warning": caveat.code, **caveat.values}
            yield Sign("warned", values, _is_weak(caveat, ratio))


def _is_weak(caveat: Caveat, ratio: float) -> bool:
    """Whether a warning cannot be why: it describes, or a limit was moved the other way from its default."""
    own = caveat.values.get(_LIMITS.get(_TOLD_BY.get(caveat.code, ""), ""))
    default = caveat.values.get("default")
    contrary = own is not None and default is not None and _is_contrary(own, default, ratio)
    return contrary or caveat.code in _DESCRIBING_WARNINGS


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

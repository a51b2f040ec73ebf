"""The words for a fleet: who a device is, how far it deviates, and what its records say about an outlier."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bench.analysis.estimates import Ratio
from bench.analysis.fleet import Fleet, Group, Standing, Verdict
from bench.analysis.fleet_evidence import NOT_SET, Sign, explains
from bench.analysis.fleet_names import Unit
from bench.report.plots.layout import shortened
from bench.report.view import Column, percent
from bench.report.wording import Values, failure
from bench.units import format_si

_ABOUT: Final = ("name", "reason", "warning", "kind")  # values that say what a sign is about
_UNKNOWN: Final = "unknown"
_LETTERS: Final = 20  # of a machine's name in a table
_NOTHING: Final = "nothing recorded explains it"
_WITH_UNITS: Final = MappingProxyType(
    {"power_limit_w": ("power limit", "W"), "application_clock_hz": ("application clock", "Hz")}
)
_REASONS: Final = MappingProxyType(
    {
        "hw_slowdown": "slowed down by the board (hw_slowdown: cooling or power supply)",
        "sw_thermal_slowdown": "slowed down by heat (sw_thermal_slowdown: cooling)",
        "hw_thermal_slowdown": "slowed down by heat (hw_thermal_slowdown: cooling)",
        "hw_power_brake_slowdown": "slowed down by the power supply (hw_power_brake_slowdown)",
        "sw_power_cap": "held back by its power limit",
    }
)
_WARNED: Final = MappingProxyType(
    {
        "gpu_processes": "other processes used it",
        "hot": "it was hot before it began (cooling)",
        "busy": "other work took the processor",
        "power_limit": "its power limit is not the default",
        "application_clocks": "its application clock is not the default",
        "ecc_off": "ECC is off",
        "mig": "MIG is on",
        "pcie": "its PCIe link lacks lanes (slot, riser)",
        "no_clock": "its clock could not be counted",
    }
)
_ONLY: Final = MappingProxyType(
    {
        "products": "its products only: copies are not like that",
        "memory": "its memory only: what else was measured is not like that",
        "link": "the link only: what was measured within the device is not like that",
    }
)
NO_VERDICT: Final = MappingProxyType(
    {
        "stalled": "it mostly stood still",
        "stepped": "its speed changed while it ran",
        "autocorrelated": "its blocks depend on each other",
        "bimodal": "it takes turns between two speeds",
        "host_limited": "host-limited",
        "few_samples": "no interval",
        "interval": "its interval is too wide",
    }
)


def short_hosts(fleet: Fleet) -> dict[str, str]:
    """Return what tables call each machine: of a long name a part, if all are told apart by that."""
    hosts = list(dict.fromkeys(unit.host for unit in fleet.units if unit.host is not None))
    whole = {host: host for host in hosts}
    cut = {host: shortened(host, _LETTERS) for host in hosts}
    first = {host: cut[host] if host == cut[host] else shortened(host.split(".")[0], _LETTERS) for host in hosts}
    return next(names for names in (first, cut, whole) if len({*names.values()}) == len(hosts))


def device_columns(units: Sequence[Unit], hosts: Mapping[str, str]) -> list[tuple[Column, list[str]]]:
    """Return the columns that tell which device a row is of: machine, number there, and chip of several.

    And the key, where machine and number do not tell them all apart. `hosts` are the machines' names in tables.
    """
    places = {(unit.host, unit.number) for unit in units}
    told = len(places) == len({*units}) and all(None not in place for place in places)
    number = "GPU" if any(unit.kind == "gpu" for unit in units) else "number"
    columns = [
        (
            Column("host"),
            [hosts.get(unit.host or "", _UNKNOWN) for unit in units],
            any(unit.host for unit in units),
        ),
        (
            Column(number, "right"),
            ["" if unit.number is None else str(unit.number) for unit in units],
            any(unit.number is not None for unit in units),
        ),
        (Column("device"), [unit.key for unit in units], not told),
        (Column("chip"), [unit.product for unit in units], len({unit.product for unit in units}) > 1),
    ]
    return [(column, texts) for column, texts, telling in columns if telling]


def deviation_text(ratio: Ratio | None) -> str:
    """Return how far a rate lies from the median, with the interval: '-6.2 % (-6.6 … -5.8 %)'."""
    if ratio is None:
        return ""
    text = short_deviation(ratio)
    return f"{text} ({_signed(ratio.interval.lo)} … {_signed(ratio.interval.hi)} %)" if ratio.interval else text


def short_deviation(ratio: Ratio | None) -> str:
    """Return how far a rate lies from the median: '-6.2 %'."""
    return "" if ratio is None else f"{_signed(ratio.value)} %"


def _signed(ratio: float) -> str:
    return f"{round(100 * (ratio - 1), 1) + 0.0:+.1f}"  # + 0.0, as what rounds to nothing has no minus


def failure_text(one: Standing) -> str:
    """Return why a cell failed in its device's newest run; nothing if it did not."""
    return "" if one.entry.failed is None else f"failed: {failure(one.entry.failed)}"


def verdict_text(one: Standing) -> str:
    """Return what is said of a device in a few words, with the reason where that is nothing."""
    verdict: Verdict = one.verdict
    if verdict == "failed":
        return failure_text(one)
    why = NO_VERDICT.get(one.reason or "", "")
    told = "" if verdict == "no test" else verdict
    return "; ".join(part for part in (": ".join(part for part in (told, why) if part), failure_text(one)) if part)


def signs_text(signs: Sequence[Sign]) -> str:
    """Return everything that the records say about an outlier, and whether that explains it."""
    return _joined(signs) if explains(signs) else "; ".join(filter(None, (_joined(signs), _NOTHING)))


def _joined(signs: Sequence[Sign]) -> str:
    return "; ".join(map(_sign_text, signs))


def says_text(pairs: Sequence[tuple[Group, Standing]]) -> str:
    """Return what the records say about a device in the first of its cells, and what differs in the others."""
    (_, first), *others = pairs
    any_explains = any(explains(one.signs) for _, one in pairs)
    texts = [signs_text(first.signs) if any_explains else _joined(first.signs)]
    topics = {*map(_topic, first.signs)}
    for group, one in others:
        more = [sign for sign in one.signs if _topic(sign) not in topics]
        topics |= {*map(_topic, more)}
        texts += [f"in {group.cell.label}: {', '.join(map(_sign_text, more))}"] if more else []
    without = [group.cell.label for group, one in others if not explains(one.signs)]
    if without and explains(first.signs):
        texts.append(f"in {', '.join(without)}: {_NOTHING}")
    return "; ".join(text for text in (*texts, "" if any_explains else _NOTHING) if text)


def _sign_text(sign: Sign) -> str:
    return _TEXTS[sign.code](sign.values)


def _topic(sign: Sign) -> tuple[str, ...]:
    """Return what a sign is about, without its numbers."""
    return sign.code, *(str(sign.values[name]) for name in _ABOUT if name in sign.values)


def _hertz(values: Values) -> str:
    own, usual = (format_si(float(values[name]), "Hz") for name in ("hz", "usual_hz"))
    return f"{own}, most {usual}"


def _cycles(values: Values) -> str:
    cycles = float(values["cycles"])
    return f"{percent(abs(cycles), 2)} {'more' if cycles > 0 else 'fewer'} cycles a call"


def _clock(values: Values) -> str:
    return f"its clock explains it: {_hertz(values)}"


def _clock_beyond(values: Values) -> str:
    went = "rose" if float(values["clock"]) > 0 else "fell"
    return f"its clock {went} by more than its rate: {_hertz(values)}, and it takes {_cycles(values)}"


def _clock_partly(values: Values) -> str:
    return f"its clock explains a part: {_hertz(values)}, and it takes {_cycles(values)}"


def _not_clock(values: Values) -> str:
    return f"not the clock ({_hertz(values)}): it takes {_cycles(values)}"


def _clock_moved(values: Values) -> str:
    return f"its clock was {_hertz(values)}"


def _memory_clock(values: Values) -> str:
    return f"its memory's clock was {_hertz(values)}"


def _held_back(values: Values) -> str:
    reason = str(values["reason"])
    own, usual = (f"{100 * float(values[name]):.0f} %" for name in ("share", "usual"))
    return f"{_REASONS.get(reason, reason)} in {own} of readings (most: {usual})"


def _named(values: Values) -> str:
    name = str(values["name"])
    words, unit = _WITH_UNITS.get(name, (name, ""))
    own, usual = (_value(str(values[which]), unit) for which in ("this", "usual"))
    return f"{words} {own}, {'most lack it' if values['usual'] == NOT_SET else f'most have {usual}'}"


def _value(text: str, unit: str) -> str:
    """Return a setting as it was recorded, or with its unit if it is a number that has one."""
    try:
        return format_si(float(text), unit, digits=3) if unit else text
    except ValueError:
        return text


def _temperature(values: Values) -> str:
    return f"at {float(values['celsius']):.0f} °C, most at {float(values['usual']):.0f} °C"


def _power(values: Values) -> str:
    return f"drew {float(values['watts']):.0f} W, most {float(values['usual']):.0f} W"


def _warned(values: Values) -> str:
    code = str(values["warning"])
    return _WARNED.get(code, f"its run warned of {code}")


def _algorithm(values: Values) -> str:
    return f"computed in another way ({values['this']}; most: {values['usual']})"


def _only(values: Values) -> str:
    return _ONLY[str(values["kind"])]


_TEXTS: Final = MappingProxyType[str, Callable[[Values], str]](
    {
        "clock": _clock,
        "clock_beyond": _clock_beyond,
        "clock_partly": _clock_partly,
        "cycles": _not_clock,
        "clock_moved": _clock_moved,
        "memory_clock": _memory_clock,
        "held_back": _held_back,
        "named": _named,
        "temperature": _temperature,
        "power": _power,
        "warned": _warned,
        "algorithm": _algorithm,
        "only": _only,
    }
)

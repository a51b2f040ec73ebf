"""The sentences for what a record holds as data: warnings (number, cause, next step), stops, checks."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bench.devices.base import Caveat, Check
from bench.records.record import Reading
from bench.report.view import percent
from bench.units import format_si

Values = Mapping[str, float | str]
_MOVED: Final = 3.0  # so many times as much as cycles, seconds moved with the clock


def _not_flat(values: Values) -> str:
    return (
        f"the rate still moved after {values['seconds']:.1f} s of warm-up; close other programs, and measure "
        "again (a run without --quick, or of fewer cells, warms up longer)"
    )


def _autocorrelated(values: Values) -> str:
    return (
        f"{_so_many(values)} depend on each other (a slow drift, or other work on the machine), so the interval "
        "may be too narrow, and no verdict rests on it; measure again on an idle machine, or for longer"
    )


def _so_many(values: Values) -> str:
    if "effective" not in values:  # a record of schema 2 or before
        return "blocks"
    return f"the {values['n']:.0f} blocks, worth {values['effective']:.1f} independent ones,"


def _bimodal(_values: Values) -> str:
    return "two different speeds took turns (a changing clock, or other work); the median stands for neither"


def _outliers(values: Values) -> str:
    return f"{values['count']:.0f} of {values['n']:.0f} blocks lie far from the median; all were kept"


def _taken_together(values: Values) -> str:
    return (
        f"the record has {values['blocks']:,.0f} blocks; the statistics are those of the means of "
        f"{values['each']:.0f} consecutive ones each"
    )


def _busy(values: Values) -> str:
    share = 100 * float(values["share"])
    return (
        f"other work took {share:.0f} % of the processor just before the run; close it, or wait until it is done"
    )


def _variable(values: Values) -> str:
    return f"{values['name']}={values['value']} is set and steers the library; unset it"


def _gpu_processes(values: Values) -> str:
    count = int(values["count"])
    others = "another process uses" if count == 1 else f"{count} other processes use"
    return f"{others} this GPU and its memory; wait until nothing else runs there ('nvidia-smi' lists it)"


def _mig(_values: Values) -> str:
    return (
        "MIG is on, so a program gets a slice of the chip, and no rate of it is the chip's; switch it off with "
        "'nvidia-smi -mig 0' (as root)"
    )


def _ecc_off(_values: Values) -> str:
    return (
        "ECC is off, so on some boards memory is a little faster than with it; compare with runs where it is off "
        "too, or switch it on with 'nvidia-smi -e 1' (as root) and a reboot"
    )


def _power_limit(values: Values) -> str:
    watts, default = (float(values[name]) for name in ("watts", "default"))
    return (
        f"the power limit is {watts:.0f} W, not the default {default:.0f} W, so under load the clock is another; "
        f"set it back with 'nvidia-smi -pl {default:.0f}' (as root), or say so beside the rates"
    )


def _application_clocks(values: Values) -> str:
    hz, default = (float(values[name]) / 1e6 for name in ("hz", "default"))
    return (
        f"the application clock is set to {hz:.0f} MHz, not the default {default:.0f} MHz, and bounds the rate; "
        "set it back with 'nvidia-smi -rac' (as root)"
    )


def _pcie(values: Values) -> str:
    return (
        f"the PCIe link has {values['width']:.0f} of {values['width_most']:.0f} lanes, so copies from and to the "
        "host are slower (products on the GPU are not); check slot and riser"
    )


def _hot(values: Values) -> str:
    return (
        f"it is at {values['celsius']:.0f} °C before any work, so heat will soon slow it down; let it cool, or "
        "look after fans and air"
    )


def _launch_bound(values: Values) -> str:
    enqueue, call = (format_si(float(values[name]), "s", digits=2) for name in ("enqueue_s", "call_s"))
    return (
        f"enqueuing a call takes the host {enqueue} and a call took {call}, so the host set this rate, not the "
        "GPU; take larger matrices, or the library that can be captured (--library cublaslt)"
    )


def _not_tf32(values: Values) -> str:
    return (
        f"the product is more exact than TF32 can be (row error {values['rows_error']:.1e}), so something made "
        "the library compute in FP32; unset NVIDIA_TF32_OVERRIDE"
    )


def _not_captured(values: Values) -> str:
    return (
        f"its calls could not be captured in a CUDA graph ({values['reason']}), so short ones wait for the host; "
        "take larger matrices, and report this with the versions in the record"
    )


def _no_peer_access(values: Values) -> str:
    return (
        f"this GPU and GPU {values['peer']:.0f} cannot access each other's memory, so every copy went through the "
        "host's, and its rate is not a link's; see 'nvidia-smi topo -p2p r' (the kind of GPU, an IOMMU or a "
        "virtual machine may forbid it)"
    )


def _in_cache(values: Values) -> str:
    operands, l2 = (format_si(float(values[name]), "B", digits=3) for name in ("operands", "l2"))
    return (
        f"all operands together are {operands}, and the last cache holds {l2}, so some stay in it; take larger "
        "ones to measure from memory"
    )


def _fast_sums(values: Values) -> str:
    return (
        f"a row error of {values['rows_error']:.1e} is more than exact FP8 sums leave, so the library may have "
        "kept them short all the same; compare with the row named 'fp8 fast'"
    )


def _clocks_disagree(values: Values) -> str:
    counted, sensor = (format_si(float(values[name]), "Hz") for name in ("counted", "sensor"))
    said = f"the chip counted a clock of {counted} and its sensor said {sensor}"
    seconds, cycles = (float(values.get(f"{name}_spread", 0.0)) for name in ("seconds", "cycles"))
    if seconds > _MOVED * cycles:  # records before 0.4.0 have neither
        return (
            f"{said}; blocks differed by {percent(seconds, 2)} in seconds and {percent(cycles, 2)} in counted "
            "cycles, so the count is the clock that ran"
        )
    return f"{said}; efficiencies at the clock held are in doubt by as much"


def _stepped(values: Values) -> str:
    at, n, ratio = (float(values[name]) for name in ("at", "n", "ratio"))
    by = f"{percent(ratio - 1, 2)} longer" if ratio > 1 else f"{percent(1 - ratio, 2)} less time"
    few = min(at, n - at) < n / 4
    whose = "is that of the longer part" if few else "stands for neither speed"
    return f"after {at:.0f} of {n:.0f} blocks a call took {by}, {_why_stepped(values, ratio)}; the median {whose}"


def _why_stepped(values: Values, ratio: float) -> str:
    """Return what a step in seconds comes from, and what to do: the clock, if cycles did not step with it."""
    if "clock_before" not in values or "cycles_before" not in values:
        return "by another clock (heat, power) or other work; look for both, and measure again"
    cycles = float(values["cycles_after"]) / float(values["cycles_before"])
    if abs(math.log(ratio)) <= _MOVED * abs(math.log(cycles)):
        return "in clock cycles too, so other work began or ended; close it, and measure again"
    before, after = (format_si(float(values[f"clock_{when}"]), "Hz") for when in ("before", "after"))
    what = "heat, power or a limit that set in" if ratio > 1 else "what held it back before"
    return (
        f"as the clock went from {before} to {after}; look for {what} ('nvidia-smi -q -d PERFORMANCE' tells), and "
        "measure again"
    )


def _stalled(values: Values) -> str:
    seconds, of = (float(values[name]) for name in ("seconds", "of"))
    blocks = int(values["blocks"])
    where = "one block" if blocks == 1 else f"{blocks} blocks"
    mostly = ", most of it" if seconds > of / 2 else ""
    return (
        f"in {where} nothing ran for {span(seconds)} of the {span(of)} that were sampled{mostly} (suspended, or "
        "the machine gave its time to others); do not suspend a run, and measure again"
    )


def _idle_window(values: Values) -> str:
    seconds, of = (float(values[name]) for name in ("seconds", "of"))
    return (
        f"for {span(seconds)} of the {span(of)} that the sensors were watched no block ran (suspended between "
        "two), so power, energy and shares of time are not those of the work, and none is derived from them; do "
        "not suspend a run, and measure again"
    )


def _slept(values: Values) -> str:
    return (
        f"this machine slept for {span(float(values['seconds']))} while it ran, so the device had cooled down; "
        "keep it awake ('systemd-inhibit chipbench run'), and measure again"
    )


def _clock_set(values: Values) -> str:
    seconds = float(values["seconds"])
    way, why = ("back", "") if seconds < 0 else ("forward", ", or this machine was paused")
    return (
        f"the wall clock was set {way} by {span(abs(seconds))} while it ran{why}; nothing is timed by it, but "
        "records are named and sorted by it, so name files, not 'latest', and let NTP keep the time"
    )


def _future(values: Values) -> str:
    return (
        f"a record that is here already says that it was begun {span(float(values['seconds']))} later than now "
        f"({values['started']}), so 'latest' is that one, not this; set the clock right, or name files"
    )


def _sensors_odd(values: Values) -> str:
    said = ", ".join(_ODD[name](float(value)) for name, value in values.items())
    return (
        f"sensors said what cannot be of a device at work ({said}), and nothing is derived from those; look at "
        "'nvidia-smi -q', and mind that a virtual machine may invent them"
    )


def _sensors_gap(values: Values) -> str:
    unseen, of, readings = (float(values[name]) for name in ("unseen_s", "of", "readings"))
    return (
        f"for {span(unseen)} of {span(of)} the sensors gave no answer, so what stands here of clock, power, "
        f"heat and reasons is from {readings:.0f} readings in the rest; look at 'nvidia-smi', and for an Xid "
        "in the system's log"
    )


def _clock_above_most(values: Values) -> str:
    clock, most = (format_si(float(values[name]), "Hz") for name in ("clock", "most"))
    who = "counted" if values["by"] == "count" else "said by its sensor"
    doubt = "cycles and efficiencies at the clock held are" if values["by"] == "count" else "what rests on it is"
    return (
        f"a clock of {clock} was {who}, and this device's own limit is {most}, so {doubt} wrong; report this with "
        "the versions in the record"
    )


def span(seconds: float) -> str:
    """Return a length of time: '1.5 s', '40 min', '3 h 5 min'."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


_ODD: Final = MappingProxyType[str, Callable[[float], str]](
    {
        "sm_clock_hz": lambda value: f"a clock of {format_si(value, 'Hz')}",
        "memory_clock_hz": lambda value: f"a memory clock of {format_si(value, 'Hz')}",
        "power_w": lambda value: f"{value:.0f} W",
        "temperature_c": lambda value: f"{value:.0f} °C",
        "energy_w": lambda value: f"{value:.0f} W by the energy counter",
        "event_reasons": lambda value: f"idle and over its power at once in {percent(value, 2)} of the readings",
    }
)


def _no_clock(_values: Values) -> str:
    return (
        "the clock cannot be counted, as CuPy cannot compile a kernel here, so there are no cycles and no "
        "efficiency at the clock held; check that the NVRTC package is installed"
    )


def _hidden(values: Values) -> str:
    if "variable" in values:
        return f"CUDA programs cannot see it, as {values['variable']} leaves it out; name it there, or unset that"
    return (
        "CUDA programs cannot see it; give this container or user access to it, and install the driver's CUDA part"
    )


WORDING: Final = MappingProxyType[str, Callable[[Values], str]](
    {
        "not_flat": _not_flat,
        "autocorrelated": _autocorrelated,
        "bimodal": _bimodal,
        "outliers": _outliers,
        "taken_together": _taken_together,
        "busy": _busy,
        "variable": _variable,
        "gpu_processes": _gpu_processes,
        "mig": _mig,
        "ecc_off": _ecc_off,
        "power_limit": _power_limit,
        "application_clocks": _application_clocks,
        "pcie": _pcie,
        "hot": _hot,
        "hidden": _hidden,
        "launch_bound": _launch_bound,
        "not_tf32": _not_tf32,
        "not_captured": _not_captured,
        "no_peer_access": _no_peer_access,
        "in_cache": _in_cache,
        "fast_sums": _fast_sums,
        "clocks_disagree": _clocks_disagree,
        "no_clock": _no_clock,
        "stepped": _stepped,
        "stalled": _stalled,
        "idle_window": _idle_window,
        "slept": _slept,
        "clock_set": _clock_set,
        "future": _future,
        "sensors_odd": _sensors_odd,
        "sensors_gap": _sensors_gap,
        "clock_above_most": _clock_above_most,
    }
)


def sentence(caveat: Caveat) -> str:
    """Return the sentence for a warning; one that another version made is shown as it was recorded."""
    try:
        return WORDING[caveat.code](caveat.values)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return f"warning {caveat.code} {dict(caveat.values)}"


def failure(reading: Reading) -> str | None:
    """Return why a cell has no rate to show, or None if it has one."""
    if reading.passed:
        return None
    if reading.failure is not None:
        return reading.failure
    if reading.check is None:
        return "not checked"
    return f"wrong result: {_errors(reading.check)}"


def _errors(check: Check) -> str:
    rows = "not a number" if check.rows_error is None else f"{check.rows_error:.1e}"
    product = "not a number" if check.product_error is None else f"{check.product_error:.1e}"
    return f"row error {rows} (allowed {check.tolerance:.0e}), whole-matrix error {product}"

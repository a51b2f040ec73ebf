"""The sentences for what a record holds as data: warnings (number, cause, next step), stops, checks."""

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
    }
)


def sentence(caveat: Caveat) -> str:
    """Return the sentence for a warning; one that another version made is shown as it was recorded."""
    try:
        return WORDING[caveat.code](caveat.values)
    except (KeyError, TypeError, ValueError):
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

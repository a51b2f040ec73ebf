"""What a device's sensors said of a run, in a few lines: power and heat, and what held the clock back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from bench.analysis.estimates import NOTABLE
from bench.devices.base import Telemetry
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.measure.noticed import odd_sensors
from bench.records.record import Reading
from bench.report.view import percent
from bench.workloads.base import Cell

Watched = Mapping[str, Sequence[Telemetry]]


def sensor_notes(readings: Sequence[Reading], name: Callable[[Cell], str]) -> Iterator[str]:
    """Yield what was seen over all processes, cells named by `name`; nothing where there were no sensors."""
    watched: dict[str, list[Telemetry]] = {}
    for reading in readings:
        if reading.telemetry is not None:
            watched.setdefault(name(reading.cell), []).append(reading.telemetry)
    every = [telemetry for several in watched.values() for telemetry in several]
    ranges = [
        *_range([t.power_w.median for t in every if t.power_w and _is_sane(t, "power_w")], "W"),
        *_range(
            [t.temperature_c.most for t in every if t.temperature_c and _is_sane(t, "temperature_c")], "°C at most"
        ),
    ]
    if ranges:
        yield f"sensors, by cell: {', '.join(ranges)}"
    limited = [f"{cell} ({percent(share, 2)})" for cell, share in _shares(watched, POWER_CAP)]
    if limited:
        yield f"held back by the power limit, in this share of readings: {', '.join(limited)}"
    yield from _faults(watched)
    yield from _silent(watched)


def _is_sane(telemetry: Telemetry, name: str) -> bool:
    return name not in odd_sensors(telemetry)


def _range(values: Sequence[float], unit: str) -> Iterator[str]:
    if values:
        least, most = f"{min(values):.0f}", f"{max(values):.0f}"
        yield f"{least} {unit}" if least == most else f"{least} to {most} {unit}"


def _shares(watched: Watched, reason: str) -> Iterator[tuple[str, float]]:
    """Yield the cells that a reason held back, with the share of readings: the median over processes."""
    for cell, several in watched.items():
        sane = [telemetry for telemetry in several if _is_sane(telemetry, "event_reasons")]
        share = median((telemetry.event_reasons or {}).get(reason, 0.0) for telemetry in sane) if sane else 0.0
        if share >= NOTABLE:
            yield cell, share


def _faults(watched: Watched) -> Iterator[str]:
    for reason in FAULTS:
        for cell, share in _shares(watched, reason):
            yield (
                f"{cell}: slowed down by {reason} in {percent(share, 2)} of the readings, which is a fault "
                "(cooling, power supply); mend that, and measure again"
            )


def _silent(watched: Watched) -> Iterator[str]:
    cells: dict[str, list[str]] = {}
    for cell, several in watched.items():
        for why in dict.fromkeys(telemetry.lost for telemetry in several if telemetry.lost is not None):
            cells.setdefault(why, []).append(cell)
    for why, names in cells.items():
        yield f"the sensors fell silent in {', '.join(names)}: {why}"

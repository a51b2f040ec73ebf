"""What stands under a run's table: what bends all of it, then each cell's warnings, then what the sensors said."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from bench.analysis.efficiency import ROUNDING, efficiency, excess
from bench.analysis.estimates import Estimate, peak_at_clock, published_peak
from bench.devices.base import Device
from bench.published.chips import Chip
from bench.records.record import Header, Reading
from bench.report.columns import by_library, peak_text
from bench.report.excess import EXCESS
from bench.report.sensor_notes import sensor_notes
from bench.report.view import percent
from bench.report.wording import failure, sentence
from bench.units import format_si
from bench.workloads.base import PEER_COPY, STREAMS, Cell

_OF_BLOCKS: Final = "The interval is that of the median of all blocks."
_OF_PROCESSES: Final = (
    "The rate is the geometric mean of the processes' rates. The interval is Student's t over three or more of "
    "them, and spans both of two."
)

_MOST_TOLD: Final = 3  # cells of which one kind of warning is told in full

Processes = Sequence[Sequence[Reading]]


def notes(
    header: Header,
    processes: Processes,
    shown: Mapping[Cell, Estimate | None],
    clocks: Mapping[Cell, float | None],
    own_chip: Chip | None,
) -> list[str]:
    """Return the notes of a run; `shown` are the cells of the table with their rates, `clocks` what they held.

    Of a cell that the table leaves out, because another library was faster, only a failure is told.
    """
    found = [sentence(caveat) for caveat in header.warnings]
    found += _identity(header.device)
    against = f"Held against published {_figures(shown)}."
    found.append(f"{against} {_OF_PROCESSES if len(processes) > 1 else _OF_BLOCKS}")
    found += _of_transfers(shown)
    readings = [reading for readings in processes for reading in readings]
    found += _clock_held([reading for reading in readings if reading.cell in shown], own_chip)
    found += _in_graphs(readings, shown)
    found += _of_cells(processes, shown)
    found += _capped(header, processes, shown)
    found += _above_peak(shown, clocks, own_chip)
    seen = [reading for reading in readings if reading.cell in shown]
    found += sensor_notes(seen, lambda cell: _name(cell, shown))
    missing = len(header.plan.cells) - len({reading.cell for reading in readings})
    if missing:
        found.append(f"interrupted: {missing} of {len(header.plan.cells)} cells are missing")
    return found


def _figures(shown: Iterable[Cell]) -> str:
    """Return what figures all these cells are held against: of products, or mixed ones, dense peaks."""
    operations = {cell.operation for cell in shown}
    if operations and operations <= {*STREAMS}:
        return "memory bandwidths"
    return "rates of links" if operations == {PEER_COPY} else "dense peaks"


def _of_transfers(shown: Iterable[Cell]) -> Iterator[str]:
    if any(cell.operation in STREAMS for cell in shown):
        yield "bytes read and bytes written both count: 8 a number for copy, 12 for triad"
    if any(cell.operation == PEER_COPY for cell in shown):
        yield (
            "every byte that crosses the link to a peer counts once; the published NVLink figure is the total of "
            "both ways, so only copies 'with' a peer, both ways at once, are held against it; copies 'to' one "
            "could reach half of it ('chipbench plot links')"
        )


def _identity(device: Device) -> Iterator[str]:
    if device.kind == "gpu" and device.chip is None and device.identified_by is not None:
        yield (
            f"which chip this is, is not known ({device.identified_by}), so it has no published peak here; "
            "'chipbench devices' says more"
        )


def _of_cells(processes: Processes, shown: Mapping[Cell, Estimate | None]) -> Iterator[str]:
    """Say what bends each cell; what bends many is told in full of the first ones, and the others are named."""
    several = len(processes) > 1
    by_code: dict[str, list[tuple[str, str]]] = {}
    for number, readings in enumerate(processes, start=1):
        for reading in readings:
            where = _name(reading.cell, shown) + (f", process {number}" if several else "")
            if not reading.passed:
                yield f"{where}: {failure(reading)}; kept in the record, used in no ratio"
            if reading.cell in shown:
                for caveat in reading.warnings:
                    by_code.setdefault(caveat.code, []).append((where, sentence(caveat)))
    for found in by_code.values():
        told = found if len(found) <= _MOST_TOLD + 1 else found[:_MOST_TOLD]
        yield from (f"{where}: {text}" for where, text in told)
        if len(told) < len(found):
            yield f"likewise, each with numbers of its own: {', '.join(where for where, _ in found[_MOST_TOLD:])}"


def _name(cell: Cell, shown: Mapping[Cell, Estimate | None]) -> str:
    """Return the cell's label, with its library where that does not tell which of the table's rows it is."""
    rows = [one for one in shown if one.label == cell.label]
    return cell.label if rows == [cell] else by_library(cell)


def _capped(header: Header, processes: Processes, shown: Mapping[Cell, Estimate | None]) -> Iterator[str]:
    capped = [
        _name(r.cell, shown)
        for readings in processes
        for r in readings
        if r.stop == "time_cap" and r.cell in shown
    ]
    if capped:
        names = ", ".join(dict.fromkeys(capped))
        target = percent(header.policy.target, 1)
        yield (
            f"{names}: sampling ended at the time cap, before ±{target} was reached; "
            "--sustained SECONDS samples for as long as it is told"
        )


def _above_peak(
    shown: Mapping[Cell, Estimate | None], clocks: Mapping[Cell, float | None], chip: Chip | None
) -> Iterator[str]:
    """Say what may explain a rate above its chip's published peak, or above even that at the clock held."""
    for cell, rate in shown.items():
        own = efficiency(cell, rate, chip, clocks[cell])
        code = excess(cell, own) if own else None
        if code is not None:
            boost = _at_boost(cell, chip) if code != "at_clock" else ""
            words = EXCESS[code]
            yield f"{_name(cell, shown)}: above the {words.peak}: {words.cause}{f' ({boost})' if boost else ''}"


def _at_boost(cell: Cell, chip: Chip | None, *, above: float = 0.0) -> str:
    """Return what the peak would be at the chip's published boost clock: a sheet's peak may be at a lower one.

    Nothing where that is not known, or not more than `above`, per second.
    """
    hertz = chip.number("boost_clock") if chip else None
    if chip is None or hertz is None:
        return ""
    peak = peak_at_clock(chip, cell.figures, hertz)
    if peak is None or peak.rate <= above:
        return ""
    return f"at {format_si(hertz, 'Hz')} it would be {format_si(peak.rate, cell.rate_label)}"


def _clock_held(readings: Sequence[Reading], chip: Chip | None) -> Iterator[str]:
    """Say what the share at the clock held is a share of, where the table has one, and how sure that is."""
    peaks: dict[Cell, Estimate] = {}
    for reading in readings:
        clock = reading.sm_clock_hz
        peak = peak_at_clock(chip, reading.cell.figures, clock) if chip and clock else None
        if peak is not None:
            peaks.setdefault(reading.cell, peak)
    if not peaks:
        return
    derived = any(peak.figure is not None and peak.figure.grade == "derived" for peak in peaks.values())
    how = "derived from the published peaks" if derived else "published"
    yield f"at the clock held: of multiprocessors × FLOP per clock ({how}) × the clock while it ran"
    if derived:
        yield from islice((text for cell in peaks for text in _range_of_peak(cell, chip)), 1)


def _range_of_peak(cell: Cell, chip: Chip | None) -> Iterator[str]:
    """Say between what the peak lies, where only the published one tells what a clock is worth."""
    peak = published_peak(chip, cell.figures) if chip else None
    if chip is None or peak is None or peak.figure is None:
        return
    boost = _at_boost(cell, chip, above=ROUNDING * peak.rate)
    if boost:
        yield f"{chip.id} in {cell.dtype_name}: {peak_text(peak.figure, cell)} published ({boost})"


def _in_graphs(readings: Sequence[Reading], shown: Mapping[Cell, Estimate | None]) -> Iterator[str]:
    graphs = [one for one in readings if one.cell in shown and str(one.algorithm.get("timed")).startswith("graph")]
    if graphs:
        names = ", ".join(dict.fromkeys(_name(reading.cell, shown) for reading in graphs))
        yield f"short calls, timed in CUDA graphs with about 1 µs between two: {names}"

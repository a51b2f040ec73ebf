"""A replay backend from a record: its blocks and checks, none of its statistics (a record holds none)."""

from typing import Literal

from bench.devices.replay import Call, ReplayBackend, Script
from bench.errors import RecordError
from bench.measure.loop import RECOMPUTED
from bench.measure.measurement import Measurement
from bench.records.record import Lines


def replay_backend(lines: Lines) -> ReplayBackend:
    """Return a backend that hands out the record's blocks, warm-up first, in their order.

    Raises RecordError if the record holds no samples at all.
    """
    scripts = {
        measurement.cell: _script(measurement)
        for measurement in lines.measurements
        if measurement.samples.seconds_per_call
    }
    if not scripts:
        message = "the record to replay holds no samples; give one that was measured"
        raise RecordError(message)
    header = lines.header
    # What was simulated once stays that, however often it is replayed.
    origin: Literal["replayed", "simulated"] = "simulated" if header.origin == "simulated" else "replayed"
    return ReplayBackend(scripts, device=header.device, environment=header.environment, origin=origin)


def _script(measurement: Measurement) -> Script:
    """Return the cell's blocks in the order in which they ran, and what was noted beside them."""
    found = measurement.search
    script = Script(
        [*_before(measurement), *_samples(measurement)],
        cold=measurement.warm_up is not None and measurement.warm_up.cold,
        data=measurement.data,
        candidates=found.candidates if found else (),
        algorithm=measurement.algorithm,
        telemetry=measurement.telemetry,
        caveats=tuple(caveat for caveat in measurement.warnings if caveat.code not in RECOMPUTED),
    )
    return script if measurement.check is None else script._replace(check=measurement.check)


def _before(measurement: Measurement) -> list[Call]:
    """Return the blocks before the samples: warm-up, then the search, then what followed it."""
    warm_up, found = measurement.warm_up, measurement.search
    if warm_up is None:
        return []
    clocks = warm_up.sm_clock_hz or (None,) * len(warm_up.calls)
    rows = zip(warm_up.seconds_per_call, clocks, warm_up.calls, strict=True)
    blocks = [Call(seconds, sm_clock_hz=clock, calls=calls) for seconds, clock, calls in rows]
    if found is None:
        return blocks
    searched = [Call(s, calls=c) for s, c in zip(found.seconds_per_call, found.calls, strict=True)]
    return [*blocks[: found.after], *searched, *blocks[found.after :]]


def _samples(measurement: Measurement) -> list[Call]:
    samples = measurement.samples
    empty = (None,) * len(samples.seconds_per_call)
    columns = (
        samples.seconds_per_call,
        samples.cycles_per_call or empty,
        samples.sm_clock_hz or empty,
        samples.power_w or empty,
        samples.temperature_c or empty,
    )
    return [Call(*row, calls=measurement.calls_per_block or None) for row in zip(*columns, strict=True)]

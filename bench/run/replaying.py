"""A replay backend from a record: its blocks and checks, none of its statistics (a record holds none)."""

from bench.devices.replay import Call, ReplayBackend, Script
from bench.errors import RecordError
from bench.measure.loop import Measurement
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
    return ReplayBackend(scripts, device=header.device, environment=header.environment, origin="replayed")


def _script(measurement: Measurement) -> Script:
    warm_up, samples = measurement.warm_up, measurement.samples
    calls: list[Call] = []
    if warm_up is not None:
        warm_clocks = warm_up.sm_clock_hz or (None,) * len(warm_up.seconds_per_call)
        rows = zip(warm_up.seconds_per_call, warm_clocks, strict=True)
        calls = [Call(seconds, sm_clock_hz=clock) for seconds, clock in rows]
    count = len(samples.seconds_per_call)
    cycles = samples.cycles_per_call or (None,) * count
    clocks = samples.sm_clock_hz or (None,) * count
    calls += [Call(*row) for row in zip(samples.seconds_per_call, cycles, clocks, strict=True)]
    cold = warm_up is not None and warm_up.cold
    if measurement.check is None:
        return Script(calls, cold=cold, data=measurement.data)
    return Script(calls, cold=cold, check=measurement.check, data=measurement.data)

"""A run over several devices that was interrupted, gone on with wherever its devices are now."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.errors import InvalidRequest
from bench.records.record import Header, Lines, read_header, read_lines
from bench.records.store import RecordWriter, folder_key, read_each, record_paths
from bench.run.collecting import PATIENCE_S, Collected, OnProgress, Part, all_open, collect, folder_of
from bench.run.engine import Engine, LeftOut
from bench.run.request import Request
from bench.run.session import StoppedBy, check_key
from bench.run.several import Begun, nothing_left, survey

_GPU = "gpu"
_HOMELESS = "its device is at no place that is there now"


def resume_several(
    engine: Engine,
    record: Path,
    request: Request,
    indices: Mapping[str, int | None],
    on_progress: OnProgress,
    *,
    patience_s: float = PATIENCE_S,
) -> tuple[list[Collected], list[LeftOut], StoppedBy | None]:
    """Go on with every interrupted record of the run over several devices that `record` is of.

    Each is gone on with where its device is now, told by its key. Raises InvalidRequest if the record is of no
    such run, BackendUnavailable if none of its devices is at a place of the engine.
    """
    left = [(path, lines.header) for path, lines in fleet_of_record(record) if lines.footer is None]
    if not left:
        return [], [], None
    request = request._replace(backend=left[0][1].backend)
    found, left_out = survey(engine, request, folder_key(folder_of(request)), indices)
    left_out = [*engine.left_out.values(), *left_out]
    housed, homeless = _housed(left, [(str(one.seen.device.key), one.place) for one in found])
    if not housed:
        raise nothing_left(left_out or [LeftOut(str(record), "no place has a device of this run")])
    parts = all_open(_reopened(housed), len(housed))
    collected, stopped_by = collect(engine, parts, request, on_progress, patience_s=patience_s)
    return [*collected, *homeless], left_out, stopped_by


def _housed(
    left: Sequence[tuple[Path, Header]], places: list[tuple[str, str]]
) -> tuple[list[tuple[Path, str]], list[Collected]]:
    """Return where each record is gone on with, and those whose device is nowhere.

    All records of one device, or of one of the processes that share a CPU, are at one place.
    """
    houses: dict[tuple[str | None, int], str] = {}
    housed: list[tuple[Path, str]] = []
    homeless: list[Collected] = []
    for path, header in left:
        who = (header.device.key, header.member.index if header.member else 0)
        if who not in houses:
            own = next((pair for pair in places if pair[0] == header.device.key), None)
            if own is None:
                homeless.append(Collected("", header, path, _HOMELESS))
                continue
            places.remove(own)
            houses[who] = own[1]
        housed.append((path, houses[who]))
    return housed, homeless


def _reopened(housed: Sequence[tuple[Path, str]]) -> Iterator[Part]:
    for path, place in housed:
        writer, lines = RecordWriter.reopen(path)
        if lines.footer is not None:  # by another process, between the first look and the lock
            writer.close()
            continue
        done = [measurement.cell for measurement in lines.measurements]
        yield Part(Begun(place, lines.header), writer, done, resumed=True)


def fleet_of_record(record: Path) -> list[tuple[Path, Lines]]:
    """Return every record of the run over several devices that one record is of, in the order of its devices.

    Raises RecordError if one of them cannot be read, InvalidRequest if it is of no such run.
    """
    member = read_header(record).member
    if member is None:
        message = f"{record}: is of a run on one device; resume it there, without --scheduler or --local-cluster"
        raise InvalidRequest(message)
    results = record.absolute().parent.parent
    check_key(record, results)
    own = {read_header(record).id: record}  # before any copy of it
    for path, header in read_each(record_paths(results), read_header):
        if isinstance(header, Header) and header.member is not None and header.member.fleet == member.fleet:
            own.setdefault(header.id, path)
    found = [(path, read_lines(path)) for path in own.values()]
    return sorted(found, key=lambda one: _order(one[1].header))


def _order(header: Header) -> tuple[int, int]:
    return (header.member.index if header.member else 0, header.process.index if header.process else 0)


def places_for(headers: Sequence[Header]) -> list[str]:
    """Return names of places of this machine, one for each device that is no GPU; none if there are GPUs."""
    if any(header.device.kind == _GPU for header in headers):
        return []
    members = {header.member.index if header.member else 0 for header in headers}
    return [f"process {index + 1}" for index in range(len(members))]

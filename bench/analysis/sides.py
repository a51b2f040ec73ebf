"""From what a user names to a side of a comparison: records, a folder, `latest`, a chip, others' rates."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from bench.analysis.compare import Side
from bench.analysis.estimates import Estimate
from bench.analysis.pooling import ChipOf, Pool, pool_of
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Chip
from bench.published.measured import PublishedMeasurement
from bench.published.source import did_you_mean
from bench.records.parallel import by_chunks, no_gc
from bench.records.store import group_of, latest, record_paths
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape

LATEST: Final = "latest"
PUBLISHED: Final = "published:"


class Named(NamedTuple):
    """A side, the ids of its records, why some could not be read, and how its name was understood."""

    side: Side
    ids: frozenset[str] = frozenset()
    damaged: tuple[RecordError, ...] = ()
    notes: tuple[str, ...] = ()


def measured_side(name: str, results: Path, chip_of: ChipOf, suggested: Sequence[str] = ()) -> Named:
    """Return the side of a record file, a folder of records (pooled) or `latest` below `results`.

    `latest` is the newest measured record, with the others of its `--processes` group. `chip_of` gives the chip
    with the id that a record names, if there is one. Records of a folder that cannot be read are left out and told
    in `damaged`. Raises RecordError if none can be, or they are of several devices, and InvalidRequest if `name`
    is none of these; the nearest of `suggested` are named then.
    """
    paths, notes = paths_of(name, results, suggested)
    return side_of_records(paths, Path(name).name if Path(name).is_file() else name, chip_of, notes)


def side_of_records(paths: Sequence[Path], label: str, chip_of: ChipOf, notes: Sequence[str] = ()) -> Named:
    """Return the side of some record files, pooled; `notes` say how they were found.

    Raises RecordError if none can be read, or they are of several devices.
    """
    with no_gc():
        pool = _pooled(paths)
        side = pool.side(label, chip_of)
    return Named(side, frozenset(pool.ids), tuple(pool.damaged), (*notes, *_amiss(label, pool)))


def _pooled(paths: Sequence[Path]) -> Pool:
    pool = Pool()
    for part in by_chunks(pool_of, paths):
        if not pool.ids.keys().isdisjoint(part.ids):
            return pool_of(paths)  # a copy in another part: only one after the other can they be told
        pool.extend(part)
    return pool


def _amiss(label: str, pool: Pool) -> Iterator[str]:
    """Yield what there is to tell about records that are there twice, or not whole, or not all."""
    if pool.copies:
        yield f"{label}: left out, as copies of records that are there already: {pool.copies}"
    if pool.interrupted:
        yield f"{label}: interrupted, so that cells may be missing: {pool.interrupted} of {len(pool.ids)} records"
    for of, here in pool.groups.values():
        if here < of:
            yield f"{label}: holds {here} of the {of} processes of a run"


def paths_of(
    name: str, results: Path, chips: Sequence[str] | None = None
) -> tuple[Sequence[Path], tuple[str, ...]]:
    """Return the files that a record's path, a folder or `latest` stands for, and how it was understood.

    Raises RecordError if there are none, and InvalidRequest if it is none of these. That says what could be given
    instead: one of `chips` too, the nearest of which is named, unless they are None.
    """
    if not name.strip():
        what = "a record or a folder" if chips is None else "a record, a folder or a chip"
        message = f"an empty name stands for nothing (an unset variable?); give {what}"
        raise InvalidRequest(message)
    if name == LATEST:
        newest = latest(results)
        group = group_of(newest.path)
        more = f" and {len(group) - 1} more of its processes" if len(group) > 1 else ""
        return group, (*(f"skipped: {error}" for error in newest.skipped), f"{LATEST} is {newest.path}{more}")
    path = Path(name)
    with suppress(OSError):  # a name too long for any file
        if path.is_file():
            return [path], ()
        if path.is_dir():
            return record_paths(path), ()
    if chips is None:
        is_none, otherwise = "record or folder", f"give a record file, a folder of records or {LATEST}"
    else:
        is_none = "record, folder or chip"
        otherwise = f"give a record file, a folder of records, {LATEST}, a chip or {PUBLISHED}CHIP"
    message = f"{name!r} is no {is_none}{did_you_mean(name, [LATEST, *(chips or ())], otherwise=otherwise)}"
    raise InvalidRequest(message)


def side_of_chip(chip: Chip) -> Side:
    """Return the side of a chip's published peaks."""
    return Side(chip.id, "published", chip.name, {}, chip=chip)


def side_of_others(chip: Chip, measurements: Iterable[PublishedMeasurement]) -> Side:
    """Return the side of what others published that they measured on a chip, keyed like cells.

    Of several rates for one cell the highest stands; those whose shape is not stated come last.
    """
    stated: dict[Cell, Estimate] = {}
    for one in sorted(measurements, key=lambda one: (one.shape is None, -one.rate)):
        stated.setdefault(stated_cell(one), Estimate(one.rate, None, published=one))
    return Side(f"{PUBLISHED}{chip.id}", "published measurement", chip.name, stated, chip=chip)


def stated_cell(published: PublishedMeasurement) -> Cell:
    """Return the cell of a published measurement; what its source does not state is absent."""
    dtype = DTYPES[published.dtype]
    m, n, k = published.shape or (None, None, None)
    return Cell(
        operation=gemm.OPERATION,
        version=gemm.VERSION,
        input=dtype.input,
        compute=dtype.compute,
        output=dtype.output,
        shape=Shape(m=m, n=n, k=k) if m and n and k else None,
        data=published.data,
    )


def check_distinct(named: Sequence[Named]) -> None:
    """Raise InvalidRequest if two sides share a record, or are one chip: against itself everything is the same."""
    published = [one.side.label for one in named if not one.side.is_measured]
    for label in published:
        if published.count(label) > 1:
            message = f"{label} is named twice; name two different ones"
            raise InvalidRequest(message)
    seen: dict[str, str] = {}
    for one in named:
        for record in sorted(one.ids):
            if record in seen:
                where = dict.fromkeys((seen[record], one.side.label))
                message = f"record {record} is on both sides ({', '.join(where)}); compare two runs"
                raise InvalidRequest(message)
        seen |= dict.fromkeys(one.ids, one.side.label)


def with_labels_apart(sides: Sequence[Side], names: Sequence[str]) -> list[Side]:
    """Return the sides, by the names they were asked for with where two would be called the same."""
    labels = [side.label for side in sides]
    return [
        side._replace(label=name) if labels.count(side.label) > 1 else side
        for side, name in zip(sides, names, strict=True)
    ]

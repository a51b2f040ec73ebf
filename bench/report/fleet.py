"""The view of a fleet: its tables, outliers, what lies beyond without a verdict, hosts, failures and links."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.fleet import JUDGED, OUTLIERS, Fleet, Group, HostStanding, Standing, Verdict
from bench.analysis.fleet_names import Unit
from bench.analysis.gates import Trip
from bench.analysis.links import NO_LINKS, Found, matrices
from bench.report.columns import KINDS, by_library, cell_texts
from bench.report.fleet_notes import notes
from bench.report.fleet_records import fleet_document, fleet_records
from bench.report.fleet_tables import FEW_DEVICES, devices, rates, summary
from bench.report.fleet_texts import (
    NO_VERDICT,
    deviation_text,
    device_columns,
    failure_text,
    says_text,
    short_deviation,
    short_hosts,
    signs_text,
    verdict_text,
)
from bench.report.links import left_out_notes, link_records, link_sections
from bench.report.view import Case, Column, Outcome, Section, Texts, View, few, section_of, telling
from bench.workloads.base import PEER_COPY

_MOST_ROWS: Final = 40  # of each of these tables; files for programs have all
_MOST_CELLS: Final = 5
_SAYS_WIDTH: Final = 72
_OTHERS_WIDTH: Final = 30


def fleet_view(fleet: Fleet, trips: Sequence[Trip] = (), links: Found = NO_LINKS) -> View:
    """Return what a fleet's records show, and last the `links` of its machines, as matrices.

    `trips` are the outliers that met a condition of `--fail-on`.
    """
    found = matrices(links.links)
    shown = bool(found)
    sections = [
        *summary(fleet, links=shown),
        *devices(fleet, links=shown),
        _outliers(fleet),
        *_untold(fleet),
        *_hosts(fleet),
        *_failed(fleet, links=shown),
        *link_sections(found),
    ]
    return View(
        title=_title(fleet),
        columns=(),
        rows=(),
        records=[*fleet_records(fleet)],
        document={
            **fleet_document(fleet, trips),
            "links": link_records(found),
            "links_left_out": dict(links.left_out),
        },
        notes=[*notes(fleet), *left_out_notes(links.left_out)],
        sections=sections,
        cases=[*_cases(fleet, trips)],
    )


def _title(fleet: Fleet) -> str:
    count, hosts = len(fleet.units), {unit.host for unit in fleet.units if unit.host is not None}
    on = f" on {len(hosts)} host{'s' if len(hosts) > 1 else ''}" if hosts else ""
    return f"Fleet of {count} device{'' if count == 1 else 's'}{on}, {KINDS[fleet.origin]}"


def _outliers(fleet: Fleet) -> Section:
    """Return one row an outlying device, of the cell in which it is furthest from its median.

    Those of one host stand together, first the host of the furthest of all.
    """
    by_unit: dict[Unit, list[tuple[Group, Standing]]] = {}
    for pair in fleet.outliers:
        by_unit.setdefault(pair[1].entry.unit, []).append(pair)
    if not by_unit:
        return Section("Outliers", lead=[_none(fleet)])
    places: dict[str | None, int] = {}
    for unit in by_unit:
        places.setdefault(unit.host, len(places))
    shown = sorted([*by_unit.items()][:_MOST_ROWS], key=lambda item: places[item[0].host])
    columns: list[Texts] = [
        *rates(fleet, [first for _, (first, *_) in shown]),
        (Column("and in", width=_OTHERS_WIDTH), [_other_cells(others) for _, (_, *others) in shown]),
        (
            Column("what its records say", width=_SAYS_WIDTH),
            [says_text(pairs) for _, pairs in shown],
        ),
    ]
    return section_of("Outliers", telling(columns), _rest(len(by_unit), "devices"))


def _none(fleet: Fleet) -> str:
    """Say why there is no outlier: none, or none that is told."""
    if not any(group.tested for group in fleet.groups):
        return "not told: too few devices to test (see below)"
    beyond = len({one.entry.unit for _, one in fleet.untold})
    if not beyond:
        return "none: no device lies beyond its limit"
    devices = "1 device lies" if beyond == 1 else f"{beyond} devices lie"
    return f"none is told; {devices} beyond the limit without a verdict (see below)"


def _untold(fleet: Fleet) -> Iterator[Section]:
    """Yield the rates beyond their limit of which nothing can be told, the most striking first."""
    found = fleet.untold
    if found:
        shown = found[:_MOST_ROWS]
        columns: list[Texts] = [
            *rates(fleet, shown),
            (Column("why it has none"), [NO_VERDICT.get(one.reason or "", "") for _, one in shown]),
            (Column("what its records say", width=_SAYS_WIDTH), [signs_text(one.signs) for _, one in shown]),
        ]
        notes = ["beyond their limit, but nothing can be told of them: measure again", *_rest(len(found), "rates")]
        yield section_of("Without a verdict", telling(columns), notes)


def _other_cells(pairs: Sequence[tuple[Group, Standing]]) -> str:
    """Return in what other cells a device is an outlier, and by how much."""
    texts = [f"{group.cell.label} {short_deviation(one.ratio)}" for group, one in pairs]
    return few(texts, _MOST_CELLS)


def _rest(count: int, what: str) -> list[str]:
    """Say how many there are besides those in the table."""
    return [f"and {count - _MOST_ROWS} more {what}: --format json has all"] if count > _MOST_ROWS else []


def _hosts(fleet: Fleet) -> Iterator[Section]:
    """Yield the hosts that have outliers, or are unlike other hosts as wholes."""
    devices: dict[str, set[Unit]] = {}
    for _, one in fleet.outliers:
        devices.setdefault(one.entry.unit.host or "", set()).add(one.entry.unit)
    devices.pop("", None)
    wholes: dict[str, list[HostStanding]] = {}
    for standing in sorted(fleet.hosts, key=lambda one: -abs(one.ratio.value - 1)):
        wholes.setdefault(standing.host, []).append(standing)
    unlike = [host for host, some in wholes.items() if any(one.verdict in OUTLIERS for one in some)]
    hosts = list(dict.fromkeys((*unlike, *sorted(devices, key=lambda host: -len(devices[host])))))
    if hosts:
        shown = hosts[:_MOST_ROWS]
        names = short_hosts(fleet)
        having = {host: sum(unit.host == host for unit in fleet.units) for host in shown}
        columns: list[Texts] = [
            (Column("host"), [names[host] for host in shown]),
            (Column("devices", "right"), [str(having[host]) for host in shown]),
            (Column("of them outliers", "right"), [str(len(devices.get(host, ()))) for host in shown]),
            (Column("as a whole", width=_SAYS_WIDTH), [_whole(wholes.get(host, ())) for host in shown]),
        ]
        yield section_of("Hosts", columns, _rest(len(hosts), "hosts"))


def _whole(found: Sequence[HostStanding]) -> str:
    """Return in which cells a host is unlike the others; `found` begins with that of its largest deviation."""
    if not found:
        return "not tested"
    unlike = [one for one in found if one.verdict in OUTLIERS]
    if not unlike:
        return "in line" if any(one.verdict == "in line" for one in found) else "can't tell"
    texts = [f"{one.verdict} in {by_library(one.group.cell)}: {deviation_text(one.ratio)}" for one in unlike[:3]]
    return "; ".join(texts) + (f"; and in {len(unlike) - 3} more cells" if len(unlike) > 3 else "")


def _failed(fleet: Fleet, *, links: bool) -> Iterator[Section]:
    """Yield what failed and is in no table of devices: that of a small fleet has all but `links`."""
    few_devices = len(fleet.units) <= FEW_DEVICES
    failed = [one for one in fleet.failed if not few_devices or (links and one.entry.cell.operation == PEER_COPY)]
    if failed:
        shown = failed[:_MOST_ROWS]
        columns: list[Texts] = [
            *device_columns([one.entry.unit for one in shown], short_hosts(fleet)),
            *cell_texts([one.entry.cell for one in shown]),
            (Column("why", width=_SAYS_WIDTH), [failure_text(one) for one in shown]),
        ]
        yield section_of("Failed", columns, _rest(len(failed), "failed cells"))


def _cases(fleet: Fleet, trips: Sequence[Trip]) -> Iterator[Case]:
    """Yield a test case for each cell of each device and host: failed if it tripped, skipped without a verdict.

    Skipped, too, if the cell failed since its rate was measured.
    """
    several = len({group.product for group in fleet.groups}) > 1
    tripped = {(trip.cell, trip.label) for trip in trips}
    for group in fleet.groups:
        cell, product = by_library(group.cell), f", {group.product}" if several else ""
        for one in group.standings:
            label = one.entry.unit.label
            verdict = one.verdict if one.entry.failed is None else "failed"
            outcome = _outcome(verdict, tripped=(group.cell, label) in tripped)
            yield Case(
                f"{cell}: {label}{product}", outcome, f"{verdict_text(one)} {deviation_text(one.ratio)}".strip()
            )
    for host in fleet.hosts:
        outcome = _outcome(host.verdict, tripped=(host.group.cell, host.label) in tripped)
        product = f", {host.group.product}" if several else ""
        name = f"{by_library(host.group.cell)}: {host.label}{product}"
        yield Case(name, outcome, f"{host.verdict} {deviation_text(host.ratio)}")


def _outcome(verdict: Verdict, *, tripped: bool) -> Outcome:
    return "failed" if tripped else "passed" if verdict in JUDGED else "skipped"

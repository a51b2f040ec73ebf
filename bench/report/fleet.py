"""The view of a fleet: its cells in short, each device of a small one, its outliers, and the hosts they are on."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.fleet import (
    JUDGED,
    OUTLIERS,
    WITHOUT,
    Fleet,
    Group,
    HostStanding,
    Standing,
    Verdict,
)
from bench.analysis.fleet_units import Unit
from bench.analysis.gates import Trip
from bench.analysis.links import Matrix
from bench.report.columns import KINDS, by_library, cell_texts, ends_text, error_text
from bench.report.fleet_notes import notes
from bench.report.fleet_records import fleet_document, fleet_records
from bench.report.fleet_texts import (
    deviation_text,
    device_columns,
    failure_text,
    short_deviation,
    signs_text,
    verdict_text,
)
from bench.report.links import link_records, link_sections
from bench.report.view import Case, Column, Outcome, Section, Texts, View, few, percent, section_of
from bench.stats import FEWEST, Interval, at_share
from bench.units import format_si

FEW_DEVICES: Final = 16  # so many or fewer are shown one by one
_MOST_ROWS: Final = 40  # of outliers, of hosts and of failed cells; files for programs have all
_MOST_CELLS: Final = 5
_SAYS_WIDTH: Final = 72
_OTHERS_WIDTH: Final = 30


def fleet_view(fleet: Fleet, trips: Sequence[Trip] = (), links: Sequence[Matrix] = ()) -> View:
    """Return what a fleet's records show, and last the `links` of its machines.

    `trips` are the outliers that met a condition of `--fail-on`.
    """
    more = link_sections(links)
    sections = [_summary(fleet), *_devices(fleet), _outliers(fleet), *_hosts(fleet), *_failed(fleet), *more]
    return View(
        title=_title(fleet),
        columns=(),
        rows=(),
        records=[*fleet_records(fleet)],
        document={**fleet_document(fleet, trips), "links": link_records(links)},
        notes=notes(fleet),
        sections=sections,
        cases=[*_cases(fleet, trips)],
    )


def _title(fleet: Fleet) -> str:
    count, hosts = len(fleet.units), {unit.host for unit in fleet.units if unit.host is not None}
    on = f" on {len(hosts)} host{'s' if len(hosts) > 1 else ''}" if hosts else ""
    return f"Fleet of {count} device{'' if count == 1 else 's'}{on}, {KINDS[fleet.origin]}"


def _summary(fleet: Fleet) -> Section:
    groups = fleet.groups
    columns: list[Texts] = [
        (Column("chip"), [group.product for group in groups]),
        *cell_texts([group.cell for group in groups]),
        (Column("devices", "right"), [str(len(group.standings)) for group in groups]),
        (Column(f"median ({KINDS[fleet.origin]})", "right"), [_median(group) for group in groups]),
        (Column("of its published peak", "right"), [_of_peak(group) for group in groups]),
        (Column("spread", "right"), [_spread(group) for group in groups]),
        (Column("5th to 95th percentile", "right"), [_ends(group, 0.05, 0.95, 20) for group in groups]),
        (Column("least to most", "right"), [_ends(group, 0, 1) for group in groups]),
        *_counts(groups),
        (Column("limit", "right"), [_limit(group) for group in groups]),
    ]
    shown = [one for one in columns if any(one[1])]
    return section_of("By chip and cell", shown)


def _counts(groups: Sequence[Group]) -> Iterator[Texts]:
    """Yield how many are outliers, and without a verdict or a rate where there are such."""
    for verdict in OUTLIERS:
        yield Column(verdict, "right"), [str(group.how_many(verdict)) if group.tested else "" for group in groups]
    for verdict in WITHOUT:
        counts = [group.how_many(verdict) for group in groups]
        yield Column(verdict, "right"), [str(count) if any(counts) else "" for count in counts]


def _median(group: Group) -> str:
    median = group.median
    if median is None:
        return ""
    return f"{format_si(median.rate, group.cell.rate_label)} {error_text(median)}".rstrip()


def _of_peak(group: Group) -> str:
    return "" if group.of_peak is None else percent(group.of_peak)


def _spread(group: Group) -> str:
    return "" if group.bulk is None or group.bulk.n < FEWEST else percent(group.bulk.scale, 2)


def _ends(group: Group, low: float, high: float, least: int = 2) -> str:
    """Return two quantiles of the rates over the devices, if there are so many or more."""
    rates = group.rates
    if len(rates) < least:
        return ""
    return ends_text(Interval(at_share(rates, low), at_share(rates, high)), group.cell.rate_label)


def _limit(group: Group) -> str:
    limits = sorted(one.limit for one in group.standings if one.limit is not None)
    if not limits:
        return ""
    ends = dict.fromkeys(percent(limit, 2) for limit in (limits[0], limits[-1]))
    return f"±{' to '.join(ends)}"


def _devices(fleet: Fleet) -> Iterator[Section]:
    """Yield each cell of each device, if there are few."""
    if len(fleet.units) <= FEW_DEVICES:
        order = {unit: place for place, unit in enumerate(fleet.units)}
        pairs = [(group, one) for group in fleet.groups for one in group.standings]
        pairs.sort(key=lambda pair: order[pair[1].entry.unit])
        columns: list[Texts] = [
            *_rates(fleet, pairs),
            (Column("of its published peak", "right"), [_share(group, one) for group, one in pairs]),
            (Column("verdict"), [verdict_text(one) for _, one in pairs]),
        ]
        yield section_of("Devices", [column for column in columns if any(column[1])])


def _rates(fleet: Fleet, pairs: Sequence[tuple[Group, Standing]]) -> list[Texts]:
    """Return the columns that say of each row which device and cell it is, its rate and how that deviates."""
    return [
        *device_columns([one.entry.unit for _, one in pairs]),
        *cell_texts([group.cell for group, _ in pairs]),
        (Column(f"rate ({KINDS[fleet.origin]})", "right"), [_rate(one) for _, one in pairs]),
        (Column("against the median", "right"), [deviation_text(one.ratio) for _, one in pairs]),
    ]


def _rate(one: Standing) -> str:
    rate = one.entry.rate
    if rate is None:
        return ""
    return f"{format_si(rate.rate, one.entry.cell.rate_label)} {error_text(rate)}".rstrip()


def _share(group: Group, one: Standing) -> str:
    """Return a rate as a share of its chip's published peak; what the host limited is a share of nothing."""
    if group.of_peak is None or one.ratio is None or one.reason == "host_limited":
        return ""
    return percent(group.of_peak * one.ratio.value)


def _outliers(fleet: Fleet) -> Section:
    """Return one row an outlying device, of the cell in which it is furthest from its median.

    Those of one host stand together, first the host of the furthest of all.
    """
    by_unit: dict[Unit, list[tuple[Group, Standing]]] = {}
    for pair in fleet.outliers:
        by_unit.setdefault(pair[1].entry.unit, []).append(pair)
    if not by_unit:
        tested = any(group.tested for group in fleet.groups)
        none = (
            "none: no device lies beyond its limit" if tested else "not told: too few devices to test (see below)"
        )
        return Section("Outliers", lead=[none])
    places: dict[str | None, int] = {}
    for unit in by_unit:
        places.setdefault(unit.host, len(places))
    shown = sorted([*by_unit.items()][:_MOST_ROWS], key=lambda item: places[item[0].host])
    columns: list[Texts] = [
        *_rates(fleet, [first for _, (first, *_) in shown]),
        (Column("and in", width=_OTHERS_WIDTH), [_other_cells(others) for _, (_, *others) in shown]),
        (
            Column("what its records say", width=_SAYS_WIDTH),
            [signs_text(one.signs) for _, ((_, one), *_) in shown],
        ),
    ]
    telling = [column for column in columns if any(column[1])]
    return section_of("Outliers", telling, _rest(len(by_unit), "devices"))


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
        having = {host: sum(unit.host == host for unit in fleet.units) for host in shown}
        columns: list[Texts] = [
            (Column("host"), shown),
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


def _failed(fleet: Fleet) -> Iterator[Section]:
    """Yield what failed on the devices of a large fleet; a small one's table of devices has that."""
    failed = fleet.failed if len(fleet.units) > FEW_DEVICES else []
    if failed:
        shown = failed[:_MOST_ROWS]
        columns: list[Texts] = [
            *device_columns([one.entry.unit for one in shown]),
            *cell_texts([one.entry.cell for one in shown]),
            (Column("why", width=_SAYS_WIDTH), [failure_text(one) for one in shown]),
        ]
        yield section_of("Failed", columns, _rest(len(failed), "failed cells"))


def _cases(fleet: Fleet, trips: Sequence[Trip]) -> Iterator[Case]:
    """Yield a test case for each cell of each device and host: failed if it tripped, skipped without a verdict."""
    tripped = {(trip.cell, trip.label) for trip in trips}
    for group in fleet.groups:
        cell = by_library(group.cell)
        for one in group.standings:
            label = one.entry.unit.label
            outcome = _outcome(one.verdict, tripped=(group.cell, label) in tripped)
            yield Case(f"{cell}: {label}", outcome, f"{verdict_text(one)} {deviation_text(one.ratio)}".strip())
    for host in fleet.hosts:
        outcome = _outcome(host.verdict, tripped=(host.group.cell, host.label) in tripped)
        name = f"{by_library(host.group.cell)}: {host.label}"
        yield Case(name, outcome, f"{host.verdict} {deviation_text(host.ratio)}")


def _outcome(verdict: Verdict, *, tripped: bool) -> Outcome:
    return "failed" if tripped else "passed" if verdict in JUDGED else "skipped"

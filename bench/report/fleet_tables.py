"""The tables of all that a fleet has: its cells in short, and each device of a small one."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.fleet import OUTLIERS, WITHOUT, Fleet, Group, Standing
from bench.report.columns import KINDS, cell_texts, ends_text, error_text
from bench.report.fleet_texts import deviation_text, device_columns, short_hosts, verdict_text
from bench.report.view import Column, Section, Texts, percent, section_of, telling
from bench.stats import FEWEST, Interval, at_share
from bench.units import format_si

FEW_DEVICES: Final = 16  # so many or fewer are shown one by one


def summary(fleet: Fleet, *, links: bool) -> Iterator[Section]:
    """Yield the table of chips and cells, without copies between devices if `links` shows those."""
    groups = [group for group in fleet.groups if not (links and group.is_of_links)]
    if not groups:
        return
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
    yield section_of("By chip and cell", shown)


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


def devices(fleet: Fleet, *, links: bool) -> Iterator[Section]:
    """Yield each cell of each device, if there are few; without copies between devices if `links` shows those."""
    order = {unit: place for place, unit in enumerate(fleet.units)}
    groups = [group for group in fleet.groups if not (links and group.is_of_links)]
    if groups and len(fleet.units) <= FEW_DEVICES:
        pairs = [(group, one) for group in groups for one in group.standings]
        pairs.sort(key=lambda pair: order[pair[1].entry.unit])
        columns: list[Texts] = [
            *rates(fleet, pairs),
            (Column("of its published peak", "right"), [_share(group, one) for group, one in pairs]),
            (Column("verdict"), [verdict_text(one) for _, one in pairs]),
        ]
        yield section_of("Devices", telling(columns))


def rates(fleet: Fleet, pairs: Sequence[tuple[Group, Standing]]) -> list[Texts]:
    """Return the columns that say of each row which device and cell it is, its rate and how that deviates."""
    return [
        *device_columns([one.entry.unit for _, one in pairs], short_hosts(fleet)),
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
    share = group.share_of(one)
    return "" if share is None else percent(share)

"""Which of many devices is unlike the others of its chip, in which cell, by how much, and what its records say.

Rates are compared as logarithms. Of each chip and cell the bulk of the devices is told by the median and the
scaled median absolute deviation, and a device is an outlier only if the whole 95 % interval of its deviation (its
own interval and the median's) lies beyond both what so many equal devices would reach by chance and what one
device's rate moves from run to run.

A copy from one device to another is held against those of the same pair of other machines, as within a machine
some pairs are near each other and some are not.

Simulated, of one cell, with rates that scatter by 0.6 % between devices and intervals of ±0.2 %: of normally
distributed fleets of 5 to 10,000 devices 0.2 to 0.3 % have an outlier by the margin of several processes (±1 %),
and next to none by that of one (±3 %). Of rates with long tails (Student's t, 5 degrees of freedom) 1 to 4 in
1,000 devices are called so by the former margin and about 1 at most by the latter, of skewed ones (gamma, shape
4) 1 to 2 and less than 1. A device that is 5 % slower is found among 8 in 38 % of cases, among 16 in 80 %, among
64 always; if a fifth of the devices are, 16, 51 and 86 % of them. One that is 10 % slower is found among 8 in 95
%.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median, median_high, median_low
from typing import Final, Literal, NamedTuple

from bench.analysis.estimates import ENOUGH_PROCESSES, Estimate, Ratio, published_peak
from bench.analysis.fleet_evidence import Sign, Usual, signs_of, usual_of
from bench.analysis.fleet_names import Unit
from bench.analysis.fleet_units import Entry, LeftOut, Taken, taken_from
from bench.analysis.pooling import ChipOf
from bench.analysis.verdict import Reason, margins_of, taint
from bench.devices.base import Origin
from bench.errors import RecordError
from bench.published.chips import Chip
from bench.records.parallel import no_gc
from bench.stats import FEWEST, Interval, Robust, ratio_interval, robust
from bench.workloads.base import PEER_COPY, Cell

Verdict = Literal["slower", "faster", "in line", "can't tell", "no test", "failed"]
OUTLIERS: Final[tuple[Verdict, ...]] = ("slower", "faster")
JUDGED: Final[tuple[Verdict, ...]] = (*OUTLIERS, "in line")
WITHOUT: Final[tuple[Verdict, ...]] = ("can't tell", "failed")
_FEWEST_DEVICES: Final = 2  # of a host, to say something of it as a whole
# Relative: equal devices that hold their clocks a step of 15 MHz apart differ by that much (0.76 % at 1.98 GHz).
_CLOCK_STEP: Final = {"gpu": 0.01}
SCATTERED: Final = 0.15  # the limit beyond which hardly anything would be told


class Standing(NamedTuple):
    """One device in its group: its rate ÷ the median, how far that may lie from 1, what is said of it, and why.

    `limit` is relative: an outlier's whole interval lies below 1 / (1 + limit) or above 1 + limit. `signs` are
    what the records say about an outlier, and about what lies beyond its limit without a verdict.
    """

    entry: Entry
    ratio: Ratio | None
    limit: float | None
    verdict: Verdict
    reason: Reason | None = None
    signs: tuple[Sign, ...] = ()

    @property
    def distance(self) -> float:
        """How far the rate lies from the median, either way, on the logarithmic scale; 0 without one."""
        return abs(math.log(self.ratio.value)) if self.ratio else 0.0

    @property
    def direction(self) -> Verdict | None:
        """Which kind of outlier it is, or would be: of what is not told, if its rate lies beyond the limit."""
        if self.verdict in OUTLIERS:
            return self.verdict
        if self.verdict != "can't tell" or self.ratio is None or self.limit is None:
            return None
        if 1 / (1 + self.limit) <= self.ratio.value <= 1 + self.limit:
            return None
        return "slower" if self.ratio.value < 1 else "faster"


class Group(NamedTuple):
    """The devices of one chip in one cell: where their bulk lies, and how each stands to it.

    Of copies between devices, those of one `number`, each of another machine.
    `bulk` is of the logarithms of the rates that have no taint, or of all where these are fewer than five and
    nothing is tested; None if no device has a rate.
    """

    product: str
    chip: Chip | None
    cell: Cell
    bulk: Robust | None
    standings: tuple[Standing, ...]

    @property
    def rates(self) -> list[float]:
        """The rates per second of all devices that have one, in rising order."""
        return sorted(one.entry.rate.rate for one in self.standings if one.entry.rate is not None)

    @property
    def is_of_links(self) -> bool:
        """Whether its rates are of copies between devices."""
        return self.cell.operation == PEER_COPY

    @property
    def tested(self) -> bool:
        """Whether there were enough devices to tell outliers."""
        return self.bulk is not None and self.bulk.limit is not None

    @property
    def median(self) -> Estimate | None:
        """The median rate over the devices, with its 95 % interval where it has one."""
        if self.bulk is None:
            return None
        rate, half = math.exp(self.bulk.median), self.bulk.half_width
        return Estimate(rate, None if half is None else _around(rate, half))

    @property
    def of_peak(self) -> float | None:
        """The median as a share of the chip's published peak; None if that is not known.

        None, too, of a median in which rates count that the host limited.
        """
        if not self.tested and any(one.reason == "host_limited" for one in self.standings):
            return None
        peak = published_peak(self.chip, self.cell.figures) if self.chip else None
        return math.exp(self.bulk.median) / peak.rate if peak and self.bulk else None

    def share_of(self, one: Standing) -> float | None:
        """Return a device's rate as a share of that peak; what the host limited is a share of nothing."""
        if self.of_peak is None or one.ratio is None or one.reason == "host_limited":
            return None
        return self.of_peak * one.ratio.value

    def how_many(self, verdict: Verdict) -> int:
        """Return how many devices have this verdict."""
        return sum(one.verdict == verdict for one in self.standings)


class HostStanding(NamedTuple):
    """One machine in one group: the median of its devices' rates ÷ the median of all machines', tested alike.

    Of two in the middle the one nearer to the fleet's median counts, so that more than half of the devices must
    deviate for their machine to.
    """

    host: str
    group: Group
    devices: int
    ratio: Ratio
    limit: float
    verdict: Verdict

    @property
    def label(self) -> str:
        """How a sentence names it."""
        return f"host {self.host}"


class Fleet(NamedTuple):
    """Everything found: by group and by host, what could not be read, and what was left out.

    `units` are the devices in the order of their hosts and indices.
    """

    origin: Origin
    units: tuple[Unit, ...]
    groups: tuple[Group, ...]
    hosts: tuple[HostStanding, ...]
    damaged: tuple[RecordError, ...]
    left_out: LeftOut

    @property
    def outliers(self) -> list[tuple[Group, Standing]]:
        """Every outlier with its group, those furthest from their median first."""
        found = [(group, one) for group in self.groups for one in group.standings if one.verdict in OUTLIERS]
        return sorted(found, key=lambda pair: -pair[1].distance)

    @property
    def untold(self) -> list[tuple[Group, Standing]]:
        """Every rate beyond its limit that has no verdict, with its group, the most striking first."""
        pairs = ((group, one) for group in self.groups for one in group.standings)
        found = [(group, one) for group, one in pairs if one.direction and one.verdict not in OUTLIERS]
        return sorted(found, key=lambda pair: -pair[1].distance)

    @property
    def scattered(self) -> list[tuple[Group, float]]:
        """The groups whose rates scatter so much that hardly an outlier would be told, with their limits."""
        pairs = ((group, max((one.limit or 0.0 for one in group.standings), default=0.0)) for group in self.groups)
        return [(group, limit) for group, limit in pairs if limit > SCATTERED]

    @property
    def failed(self) -> list[Standing]:
        """Every cell of a device that failed in its newest run."""
        return [one for group in self.groups for one in group.standings if one.entry.failed is not None]

    @property
    def has_rates(self) -> bool:
        """Whether some cell passed somewhere."""
        return any(group.bulk is not None for group in self.groups)


def fleet_of(paths: Sequence[Path], chip_of: ChipOf) -> Fleet:
    """Return what some record files say of the devices that they are of; `chip_of` gives the chip of an id.

    Replayed records count for nothing, and simulated ones only where none is measured. What cannot be read is in
    `damaged`; a fleet without a device, or without a rate, is no error here.
    """
    with no_gc():
        return _found(taken_from(paths), chip_of)


def _found(taken: Taken, chip_of: ChipOf) -> Fleet:
    ids = dict.fromkeys(entry.unit.chip for entry in taken.entries)
    chips = {chip: None if chip is None else chip_of(chip) for chip in ids}
    groups = [_group(some, chips[some[0].unit.chip]) for some in _by_group(taken.entries)]
    hosts = tuple(one for group in groups for one in _hosts(group))
    units = dict.fromkeys(entry.unit for entry in taken.entries)
    ordered = sorted(units, key=lambda unit: (unit.product, unit.host or "", unit.number or 0))
    return Fleet(taken.origin, tuple(ordered), tuple(_explained(groups)), hosts, taken.damaged, taken.left_out)


def _by_group(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the entries of each chip and cell, in the order in which chips and cells were first seen.

    Copies to another device are those of one pair of devices, by their numbers.
    """
    found: dict[str, dict[tuple[Cell, int | None], list[Entry]]] = {}
    for entry in entries:
        pair = entry.unit.number if entry.cell.operation == PEER_COPY else None
        found.setdefault(entry.unit.product, {}).setdefault((entry.cell, pair), []).append(entry)
    return [some for cells in found.values() for some in cells.values()]


def _group(entries: Sequence[Entry], chip: Chip | None) -> Group:
    first = entries[0]
    taints = [None if entry.rate is None else taint(entry.rate) for entry in entries]
    logs = [
        math.log(entry.rate.rate)
        for entry, why in zip(entries, taints, strict=True)
        if entry.rate is not None and why is None
    ]
    if len(logs) < FEWEST:
        logs = [math.log(entry.rate.rate) for entry in entries if entry.rate is not None]
        bulk = robust(logs)._replace(half_width=None, limit=None) if logs else None
    else:
        bulk = robust(logs)
    standings = [_standing(entry, why, bulk) for entry, why in zip(entries, taints, strict=True)]
    return Group(first.unit.product, chip, first.cell, bulk, tuple(standings))


def _standing(entry: Entry, why: Reason | None, bulk: Robust | None) -> Standing:
    rate = entry.rate
    if rate is None or bulk is None:
        return Standing(entry, None, None, "failed", "failed")
    centre = math.exp(bulk.median)
    if bulk.reach is None or bulk.half_width is None:
        return Standing(entry, Ratio(rate.rate / centre, None), None, "no test", why)
    limit = limit_of(bulk.reach, entry.unit.kind, rate.processes)
    if why is not None or rate.interval is None:
        return Standing(entry, Ratio(rate.rate / centre, None), limit, "can't tell", why)
    interval = ratio_interval(rate.rate, rate.interval, centre, _around(centre, bulk.half_width))
    ratio = Ratio(rate.rate / centre, interval)
    verdict = standing_at(ratio.value, interval, limit)
    return Standing(entry, ratio, limit, verdict, "interval" if verdict == "can't tell" else None)


def limit_of(reach: float, kind: str, processes: int) -> float:
    """Return how far a rate may lie from the median: as far as by chance, or else as from run to run.

    `reach` is on the logarithmic scale, the limit relative.
    """
    return max(math.expm1(reach), least_limit(kind, processes))


def least_limit(kind: str, processes: int) -> float:
    """Return how much a rate moves from run to run, and by a step of the clock; relative."""
    margins = margins_of(kind)
    if processes < ENOUGH_PROCESSES:
        return margins.floor
    return max(margins.least, _CLOCK_STEP.get(kind, 0.0))


def standing_at(value: float, interval: Interval, limit: float) -> Verdict:
    """Return what a rate ÷ the median, with its interval, is within ±`limit`: an outlier only as a whole.

    In line is what lies within, if no end of its interval lies beyond twice the limit: of wider ones nothing is
    known.
    """
    if interval.lo > 1 + limit:
        return "faster"
    if interval.hi * (1 + limit) < 1:
        return "slower"
    is_known = interval.lo * (1 + 2 * limit) >= 1 and interval.hi <= 1 + 2 * limit
    return "in line" if is_known and 1 / (1 + limit) <= value <= 1 + limit else "can't tell"


def _around(rate: float, half_width: float) -> Interval:
    """Return the interval of a rate whose logarithm has this half-width."""
    return Interval(rate * math.exp(-half_width), rate * math.exp(half_width))


def _hosts(group: Group) -> Iterator[HostStanding]:
    """Yield how each machine of two devices or more stands as a whole, if there are five or more of them."""
    by_host: dict[str, list[Standing]] = {}
    for one in group.standings:
        if one.entry.unit.host is not None and one.ratio and one.ratio.interval:
            by_host.setdefault(one.entry.unit.host, []).append(one)
    several = {host: some for host, some in by_host.items() if len(some) >= _FEWEST_DEVICES}
    if len(several) < FEWEST:
        return
    values = {
        host: _middle([math.log(one.ratio.value) for one in some if one.ratio]) for host, some in several.items()
    }
    bulk = robust([*values.values()])
    for host, some in several.items():
        yield _host(host, some, group, math.exp(values[host]), bulk)


def _middle(logs: Sequence[float]) -> float:
    """Return a median that half of the devices alone cannot move: of two middle ones the nearer to the fleet's."""
    return min(median_low(logs), median_high(logs), key=abs)


def _host(host: str, some: Sequence[Standing], group: Group, value: float, bulk: Robust) -> HostStanding:
    """Return how one machine stands: its interval has the medians of its devices' intervals for ends."""
    rates = [one.entry.rate for one in some if one.entry.rate is not None]
    below = median(rate.interval.lo / rate.rate for rate in rates if rate.interval is not None)
    above = median(rate.interval.hi / rate.rate for rate in rates if rate.interval is not None)
    centre = math.exp(bulk.median)
    own = Interval(value * below, value * above)
    interval = ratio_interval(value, own, centre, _around(centre, bulk.half_width or 0.0))
    limit = limit_of(bulk.reach or 0.0, some[0].entry.unit.kind, min(rate.processes for rate in rates))
    ratio = Ratio(value / centre, interval)
    return HostStanding(host, group, len(some), ratio, limit, standing_at(ratio.value, interval, limit))


def _explained(groups: Sequence[Group]) -> Iterator[Group]:
    """Yield the groups, with what the records say about their outliers, and about what would be one."""
    elsewhere: dict[Unit, dict[Cell, Verdict]] = {}
    for group in groups:
        for one in group.standings:
            if one.verdict in JUDGED:
                elsewhere.setdefault(one.entry.unit, {})[group.cell] = one.verdict
    for group in groups:
        if any(one.direction for one in group.standings):
            usual = usual_of([one.entry for one in group.standings if one.entry.rate is not None])
            standings = [_with_signs(one, usual, elsewhere) for one in group.standings]
            yield group._replace(standings=tuple(standings))
        else:
            yield group


def _with_signs(one: Standing, usual: Usual, elsewhere: Mapping[Unit, Mapping[Cell, Verdict]]) -> Standing:
    """Return an outlier, or what would be one, with what the records say about it; any other as it is."""
    if one.direction is None or one.ratio is None:
        return one
    judged = elsewhere.get(one.entry.unit, {})
    alike = {cell: verdict == one.direction for cell, verdict in judged.items()}
    return one._replace(signs=signs_of(one.entry, one.ratio.value, usual, alike))

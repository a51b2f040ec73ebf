"""What stands below a fleet: how an outlier is told, what has no verdict and why, and what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.estimates import ENOUGH_PROCESSES
from bench.analysis.fleet import Fleet, Group, Standing, least_limit
from bench.report.columns import by_library
from bench.report.fleet_texts import NO_VERDICT, short_deviation
from bench.report.view import few, percent, significant
from bench.stats import ANY_BY_CHANCE, FEWEST, outlier_limit

_MOST_SIZES: Final = 4
_MOST_CELLS: Final = 12
_INTERVALS: Final = (
    "spread is 1.4826 × the median absolute deviation from the median, of logarithms: of normally distributed "
    "rates their standard deviation. Intervals are 95 %; a median's is Student's t × 1.2533 × spread / √devices"
)


def notes(fleet: Fleet) -> list[str]:
    """Return the notes of a fleet: the test in plain words with its numbers, then what it does not cover."""
    tested = [group for group in fleet.groups if group.tested]
    return [
        *(_test(fleet, tested) if tested else ()),
        *_too_few(fleet),
        *scatter_texts(fleet),
        *_no_verdict(fleet),
        *_of_hosts(fleet, tested),
        *_left_out(fleet),
    ]


def _test(fleet: Fleet, tested: Sequence[Group]) -> Iterator[str]:
    kinds = dict.fromkeys(unit.kind for unit in fleet.units)
    floor, least = (
        percent(max(least_limit(kind, processes) for kind in kinds), 2) for processes in (1, ENOUGH_PROCESSES)
    )
    yield (
        "an outlier is a device whose rate is further from the median of its chip than the limit, with the whole "
        "95 % interval of the difference (its own and the median's). The limit is k spreads, and no less than "
        f"what a rate moves from run to run: ±{floor} with fewer than {ENOUGH_PROCESSES} processes, ±{least} with "
        "more"
    )
    sizes = sorted({group.bulk.n for group in tested if group.bulk}, reverse=True)
    limits = few([f"{significant(outlier_limit(n), 3)} of {n} devices" for n in sizes], _MOST_SIZES)
    yield (
        "k is such that, of each cell, equal devices with normally distributed rates have an outlier in at most "
        f"{percent(ANY_BY_CHANCE, 1)} of fleets (Hampel's test, standardised after Davies and Gather, JASA 88, "
        f"1993): k = {limits}. Of many cells more fleets have one, and where rates have longer tails"
    )
    yield _INTERVALS


def _too_few(fleet: Fleet) -> Iterator[str]:
    if len(fleet.units) == 1:
        yield "one device only: there is nothing to hold it against"
        return
    untested = [group for group in fleet.groups if group.bulk is not None and not group.tested]
    devices = [group for group in untested if not group.is_of_links]
    if devices:
        names = few(list(dict.fromkeys(by_library(group.cell) for group in devices)), _MOST_CELLS)
        where = "" if len(devices) == len(fleet.groups) else f" in {names}"
        yield (
            f"no test is made{where}: among fewer than {FEWEST} devices of a chip with a usable rate none is told "
            "to be an outlier"
        )
    if len(devices) < len(untested):
        yield (
            "copies between two devices are held against those of the same pair of other machines, and not tested "
            f"with fewer than {FEWEST} of these"
        )


def scatter_texts(fleet: Fleet) -> Iterator[str]:
    """Say in which cells rates scatter so much that hardly an outlier would be told."""
    by_limit = sorted(fleet.scattered, key=lambda pair: -pair[1])
    if by_limit:
        names = list(
            dict.fromkeys(f"{by_library(group.cell)} (±{percent(limit, 2)})" for group, limit in by_limit)
        )
        yield f"rates scatter so much that only what is so far off would be told: {few(names, _MOST_SIZES)}"


def untold_texts(fleet: Fleet) -> Iterator[str]:
    """Say for whoever asks for outliers alone of what none can be told."""
    standings = [(group, one) for group in fleet.groups for one in group.standings]
    untold = sum(one.verdict == "can't tell" for _, one in standings)
    if untold:
        beyond = few([_beyond(group, one) for group, one in fleet.untold], _MOST_SIZES)
        yield (
            f"without a verdict: {untold} (no condition of --fail-on is met by those)"
            f"{f'; beyond the limit: {beyond}' if beyond else ''}"
        )
    untested = [group.is_of_links for group, one in standings if one.verdict == "no test"]
    links = sum(untested)
    if links < len(untested):
        yield f"no test: {len(untested) - links} rates (fewer than {FEWEST} devices with a usable rate)"
    if links:
        yield f"no test: {links} copies between devices (fewer than {FEWEST} machines with the same pair)"
    yield from scatter_texts(fleet)


def _beyond(group: Group, one: Standing) -> str:
    return f"{group.cell.label}: {one.entry.unit.label} {short_deviation(one.ratio)}"


def _no_verdict(fleet: Fleet) -> Iterator[str]:
    """Say of how many rates nothing is told, by reason; such rates do not count in median and spread."""
    reasons = Counter(
        one.reason for group in fleet.groups for one in group.standings if one.verdict == "can't tell"
    )
    texts = [f"{count} {NO_VERDICT.get(reason or '', str(reason))}" for reason, count in reasons.most_common()]
    if texts:
        yield (
            f"rates without a verdict: {'; '.join(texts)}. Of these only such as have too wide an interval count "
            "in median and spread"
        )
    later = sum(one.entry.rate is not None for one in fleet.failed)
    if later:
        yield f"failed in a later run than the one that their rate is of: {later} cells of devices"


def _of_hosts(fleet: Fleet, tested: Sequence[Group]) -> Iterator[str]:
    if fleet.hosts:
        yield (
            "a host as a whole is the median of its devices, of two in the middle the one less unlike the fleet, "
            "tested as devices are among the hosts with two or more: where most of its devices are slow, look at "
            "its cooling, power or software rather than at a chip"
        )
    elif tested and any(unit.host is not None for unit in fleet.units):
        yield f"hosts as wholes are not tested: that needs {FEWEST} of one chip with two devices or more each"


def _left_out(fleet: Fleet) -> Iterator[str]:
    counts = fleet.left_out
    for count, why in (
        (counts.older, "of cells that were measured again since"),
        (counts.copies, "copies of others"),
        (counts.replayed, "replayed"),
        (counts.simulated, "simulated"),
        (counts.keyless, "without a key that tells their device"),
        (len(fleet.damaged), "that cannot be read"),
    ):
        if count:
            yield f"left out: {_records(count)}, {why}"
    if counts.interrupted:
        yield f"interrupted, so that cells may be missing: {_records(counts.interrupted)}"


def _records(count: int) -> str:
    return f"{count} record{'' if count == 1 else 's'}"

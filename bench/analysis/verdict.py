"""Which of two measured rates is higher: it starts at "can't tell", and rises on evidence only."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from bench.analysis.estimates import ENOUGH_PROCESSES, Estimate, Ratio, ratio
from bench.stats import Interval, pooled_t, welch

Verdict = Literal["faster", "slower", "same", "can't tell", "not comparable"]
Reason = Literal[
    # of faster, slower, same
    "processes", "repeats", "beyond_floor",
    # of can't tell
    "stalled", "stepped", "autocorrelated", "bimodal", "host_limited", "few_samples", "within_floor", "interval",
    "published",
    # of not comparable
    "context", "failed",
]  # fmt: skip


# Warnings of a rate on which no verdict rests, those first that tell the cause of others.
_TAINTS: Final = MappingProxyType[str, Reason](
    {
        "stalled": "stalled",
        "slept": "stalled",
        "idle_window": "stalled",
        "stepped": "stepped",
        "autocorrelated": "autocorrelated",
        "bimodal": "bimodal",
    }
)


class Margins(NamedTuple):
    """How far apart two rates must be, and how close together, before that is said; relative.

    `floor` is how much the rate of the same code moves between fresh processes, which fewer than three of them do
    not show. `least` is what may have changed between one session and the next, which no number of processes of
    one session shows, and at least what one cell is measured to. Two rates are the same if their difference is
    surely less than `alike`.
    """

    floor: float
    least: float
    alike: float

    def widest(self, other: "Margins") -> "Margins":
        """Return the larger of each."""
        return Margins(*map(max, self, other))


# By kind of device. Fresh processes of the same code were seen to differ by up to ±10 % on CPUs that others share,
# which therefore is as close as two rates there are told to be, and half of it what sessions may differ by; on a
# GPU by 0.5 % and more (five on an H200: ±0.9 %).
MARGINS: Final = MappingProxyType({"gpu": Margins(0.03, 0.005, 0.03), "cpu": Margins(0.15, 0.05, 0.10)})


def margins_of(kind: str) -> Margins:
    """Return the margins of a kind of device; of an unknown one the widest."""
    return MARGINS.get(kind) or Margins(*map(max, *MARGINS.values()))


class Finding(NamedTuple):
    """Whether b is faster than a, why that is said, and the numbers it rests on; `ratio` is b ÷ a."""

    verdict: Verdict
    reason: Reason
    ratio: Ratio
    values: Mapping[str, float | str] = MappingProxyType({})


def judge(a: Estimate, b: Estimate, margins: Margins) -> Finding:
    """Return whether `b` is faster than `a`, both measured in comparable surroundings.

    With three processes or more a side each process is one draw: the interval of the ratio is Welch's, on the
    logarithms of their rates, and the verdict is faster or slower if it lies beyond ±`least`, same if it lies
    within ±`alike`. (Resampling three against three by process, the percentile bootstrap, would call
    two equals different whenever they do not overlap, one time in ten.) With fewer on a side the whole interval
    must lie beyond ±`floor`, the run-to-run difference of such a device; where the other side has three or more,
    it also holds how far the few may lie off by chance (Student's t, pooled). A rate whose samples were
    `autocorrelated`, bimodal or of two levels one after the other in some process, or taken while it mostly stood
    still, that the host limited, or that has no interval gets no verdict.
    """
    plain = ratio(b, a)
    spoilt = taint(a, b)
    if spoilt is not None:
        return Finding("can't tell", spoilt, plain)
    values: dict[str, float | str] = {"processes_a": a.processes, "processes_b": b.processes, **margins._asdict()}
    fewest, most = sorted((a.processes, b.processes))
    if most < ENOUGH_PROCESSES:
        verdict = _beyond(plain.interval, margins.floor)
        return Finding(verdict, "within_floor" if verdict == "can't tell" else "beyond_floor", plain, values)
    found = _by_process(a, b)
    if fewest < ENOUGH_PROCESSES:
        verdict = _beyond(found.interval, margins.floor)
        return Finding(verdict, "within_floor" if verdict == "can't tell" else "repeats", found, values)
    verdict = _beyond(found.interval, margins.least)
    if verdict == "can't tell" and _is_within(found.interval, margins.alike):
        verdict = "same"
    return Finding(verdict, "interval" if verdict == "can't tell" else "processes", found, values)


def taint(*rates: Estimate) -> Reason | None:
    """Return why no verdict may rest on these rates, None if one may."""
    caveats = frozenset[str]().union(*(rate.caveats for rate in rates))
    for code, reason in _TAINTS.items():
        if code in caveats:
            return reason
    if any(rate.host_limited for rate in rates):
        return "host_limited"
    return "few_samples" if any(rate.interval is None for rate in rates) else None


def _by_process(a: Estimate, b: Estimate) -> Ratio:
    """Return b ÷ a with its interval from how much the processes differ."""
    logs_a, logs_b = ([math.log(rate) for rate in side.each] for side in (a, b))
    if min(len(logs_a), len(logs_b)) >= ENOUGH_PROCESSES:
        found = welch(logs_b, logs_a)
    else:
        found = pooled_t(logs_b, logs_a)
    ends = (found.difference - found.half_width, found.difference + found.half_width)
    return Ratio(math.exp(found.difference), Interval(*map(math.exp, ends)))


def _beyond(interval: Interval | None, margin: float) -> Verdict:
    """Return faster or slower if the whole interval of b ÷ a lies beyond 1 by more than `margin`, either way."""
    if interval is not None and interval.lo > 1 + margin:
        return "faster"
    if interval is not None and interval.hi * (1 + margin) < 1:
        return "slower"
    return "can't tell"


def _is_within(interval: Interval | None, margin: float) -> bool:
    return interval is not None and interval.hi <= 1 + margin and interval.lo * (1 + margin) >= 1

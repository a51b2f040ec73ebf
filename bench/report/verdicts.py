"""The words for a finding: a few beside the ratio, and the sentence below the table that says what to do."""

from types import MappingProxyType
from typing import Final

from bench.analysis.estimates import ENOUGH_PROCESSES
from bench.analysis.verdict import Finding, Margins, Reason
from bench.report.view import percent

_FEW: Final = f"fewer than {ENOUGH_PROCESSES} processes"
_SHORT: Final = MappingProxyType[Reason, str](
    {
        "stalled": "it mostly stood still",
        "stepped": "its speed changed while it ran",
        "autocorrelated": "its blocks depend on each other",
        "bimodal": "it takes turns between two speeds",
        "host_limited": "host-limited",
        "few_samples": "no interval",
        "within_floor": "within the run-to-run difference",
        "interval": "the interval is too wide",
        "failed": "failed its check in some process",
        "published": "published without an interval",
    }
)
ABSENT: Final = MappingProxyType({"missing": "not measured", "failed": "failed its check"})
# `{floor}`, `{least}` and `{alike}` are the margins of such a device.
_LONG: Final = MappingProxyType[Reason, str](
    {
        "autocorrelated": (
            "blocks that depend on each other (see the record's table) make an interval doubtful, so no verdict "
            "rests on them; measure again on an idle machine"
        ),
        "stalled": (
            "a cell during which the process or the machine stood still (see the record's table) does not show it "
            "at work; measure it again, without suspending it"
        ),
        "stepped": (
            "a rate that changed from one level to another while it was sampled is of neither (see the record's "
            "table for what the clock did); find what changed, and measure again"
        ),
        "bimodal": (
            "a rate that takes turns between two speeds has no one ratio; find what changes the speed (clock, "
            "other work), and measure again"
        ),
        "host_limited": (
            "what the host limited says nothing of the device; take larger matrices, or, of copies between GPUs, "
            "see 'nvidia-smi topo -p2p r'"
        ),
        "few_samples": "a side has fewer than six samples in some process, so no interval; measure it for longer",
        "interval": (
            "a difference of less than {least}, or none, cannot be excluded, nor one of more than {alike}; more "
            "processes narrow the interval (--processes 5)"
        ),
        "failed": "a device that computes a wrong product is not compared; see 'chipbench results check'",
        "within_floor": (
            f"with {_FEW} a side, only a difference beyond ±{{floor}} is told, which the same code may show from "
            f"run to run; measure with --processes {ENOUGH_PROCESSES}"
        ),
        "beyond_floor": (
            f"with {_FEW} a side, a verdict means that the whole interval lies beyond the run-to-run ±{{floor}}"
        ),
        "repeats": (
            f"with {_FEW} on one side, the interval holds how much those of the other differ, and must lie beyond "
            "the run-to-run ±{floor}"
        ),
        "processes": (
            "each process counts as one draw; faster and slower mean that the whole interval lies beyond "
            "±{least}, same that it lies within ±{alike}"
        ),
        "published": "of what others published neither interval nor surroundings are known, so no verdict",
    }
)


def verdict_text(finding: Finding | None) -> str:
    """Return the verdict in a few words, with its reason where it is none; nothing for None."""
    if finding is None:
        return ""
    if finding.reason == "context":
        return f"not comparable: {finding.values['differs']}"
    if finding.verdict == "same" and finding.ratio.interval:
        most = max(finding.ratio.interval.hi, 1 / finding.ratio.interval.lo) - 1
        return f"same (within {percent(most, 2)})"
    short = _SHORT.get(finding.reason)
    return f"{finding.verdict}: {short}" if short else finding.verdict


def explanation(finding: Finding) -> str | None:
    """Return the sentence about what a finding rests on or lacks; None where its differences tell all."""
    sentence = _LONG.get(finding.reason)
    margins = {name: f"{100 * float(finding.values.get(name, 0)):g} %" for name in Margins._fields}
    return None if sentence is None else sentence.format(**margins)

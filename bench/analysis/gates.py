"""What makes a comparison fail on request: `slower`, `slower:5`, `not-comparable`, `unsane`, `outlier`."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bench.analysis.compare import Against, Comparison
from bench.analysis.fleet import OUTLIERS, Fleet
from bench.analysis.sane import Judged
from bench.analysis.verdict import Finding
from bench.errors import InvalidRequest
from bench.workloads.base import Cell

_ROUNDING: Final = 1e-9
SLOWER, NOT_COMPARABLE, UNSANE, OUTLIER = "slower", "not-comparable", "unsane", "outlier"
_NAMES: Final = (SLOWER, NOT_COMPARABLE, UNSANE, OUTLIER)


class Gate(NamedTuple):
    """One condition, as it was written; `least` is the share by which a rate must be lower to count as slower."""

    text: str
    name: str
    least: float = 0.0


class Trip(NamedTuple):
    """A cell of one side that met a condition, by the text of the first that it met.

    `found` says what it did where that is not what the condition says.
    """

    cell: Cell
    label: str
    gate: str
    found: str = ""


def read_gate(text: str) -> Gate:
    """Return the condition that `text` names. Raises InvalidRequest if it is none."""
    name, colon, number = text.strip().lower().partition(":")
    if name not in _NAMES or (colon and name != SLOWER):
        message = f"--fail-on {text!r}: must be one of slower, slower:PERCENT, not-comparable, unsane, outlier"
        raise InvalidRequest(message)
    try:
        least = float(number.removesuffix("%")) / 100 if colon else 0.0
    except ValueError:
        least = -1.0
    if not 0 <= least < 1:
        message = f"--fail-on {text!r}: {number!r} must be a percentage from 0 to below 100, as in slower:5"
        raise InvalidRequest(message)
    return Gate(text.strip().lower(), name, least)


def tripped(comparison: Comparison, gates: Sequence[Gate]) -> list[Trip]:
    """Return every cell and side that meets a condition: with a verdict slower, and lower by `least` or more.

    A cell that one side lacks, or that failed there in some process, is not comparable, and so is one over a
    difference that blocks; published rates are neither.
    """
    found = [
        Trip(row.cell, side.label, gate.text)
        for row in comparison.rows
        for side, one in zip(comparison.sides[1:], row.others, strict=True)
        for gate in _met(gates, one)
    ]
    missing = next((gate.text for gate in gates if gate.name == NOT_COMPARABLE), None)
    if missing is not None:
        found += [Trip(absent.cell, absent.label, missing) for absent in comparison.absent]
    return found


def _met(gates: Sequence[Gate], one: Against) -> list[Gate]:
    """Return the first condition that a cell meets, if it meets one."""
    finding = one.finding
    return [] if finding is None else [gate for gate in gates if _meets(gate, finding)][:1]


def _meets(gate: Gate, finding: Finding) -> bool:
    if gate.name == NOT_COMPARABLE:
        return finding.verdict == "not comparable"
    lower = finding.ratio.value <= 1 - gate.least + _ROUNDING
    return gate.name == SLOWER and finding.verdict == "slower" and lower


def unsane(found: Sequence[Judged], label: str, gates: Sequence[Gate]) -> Iterator[Trip]:
    """Yield the cells that are too fast, too slow or failed their check, if a condition asks for it."""
    if any(gate.name == UNSANE for gate in gates):
        wrong = (one for one in found if one.sanity in {"too fast", "too slow"} or "failed" in one.checks)
        yield from (Trip(one.cell, label, UNSANE) for one in wrong)


def outliers(fleet: Fleet, gates: Sequence[Gate]) -> Iterator[Trip]:
    """Yield the devices, and the hosts as wholes, that are outliers in a cell, if a condition asks for it.

    So does a device whose newest run of a cell failed, whatever rate it had before.
    """
    if any(gate.name == OUTLIER for gate in gates):
        yield from (Trip(group.cell, one.entry.unit.label, OUTLIER) for group, one in fleet.outliers)
        for one in fleet.failed:
            yield Trip(one.entry.cell, one.entry.unit.label, OUTLIER, "failed")
        wholes = (host for host in fleet.hosts if host.verdict in OUTLIERS)
        yield from (Trip(host.group.cell, host.label, OUTLIER) for host in wholes)

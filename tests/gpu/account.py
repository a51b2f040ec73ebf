"""What `on_record` keeps of its steps, and the page that it makes of them and of the records."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from tabulate import tabulate

from bench.errors import ChipbenchError
from bench.records.record import Reading, Record, read_record
from bench.records.store import record_paths
from bench.workloads.base import Cell

State = Literal["done", "failed", "stopped", "not begun", "not here"]


class Step(NamedTuple):
    """One command: what follows `python`, and how many seconds it is expected to take.

    `dtype`: only for chips in whose default run a product of this format passed. `leaves`: a file that it writes
    when it is through; then it is done, whatever it ends with. `again`: each time anew, as it only tells what is
    there.
    """

    name: str
    arguments: tuple[str, ...]
    seconds: float
    dtype: str | None = None
    leaves: Path | None = None
    again: bool = False

    def command(self, out: Path) -> str:
        """Return what a person would type."""
        words = " ".join(self.arguments).replace(str(out), "OUT")
        return words.removeprefix("-m ").replace("bench ", "chipbench ", 1) if words.startswith("-m") else words


class Ended(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a step ended. `detail` says more, where that was not with 0; `exit_code` None: not by itself."""

    name: str
    command: str
    state: State
    seconds: float = 0.0
    exit_code: int | None = None
    began: str | None = None
    detail: str = ""

    @property
    def told(self) -> str:
        """How it ended, in words."""
        return f"{self.state}: {self.detail}" if self.detail else self.state


def _records(results: Path) -> list[Record]:
    """Return the records there; one that was killed in its first line is none."""
    found: list[Record] = []
    for path in record_paths(results) if results.is_dir() else []:
        with suppress(ChipbenchError):
            found.append(read_record(path))
    return found


def formats_in(results: Path) -> set[str]:
    """Return the number formats in which some product passed here."""
    readings = (one for record in _records(results) for one in record.readings)
    return {one.cell.dtype.name for one in readings if one.passed and one.cell.dtype is not None}


def agreement(results: Path) -> str:
    """Return how far the medians of the processes of a run lie apart, as half their range over its middle.

    Of every cell of runs of several processes, in seconds and, where known, in cycles a call.
    """
    groups: dict[tuple[str, Cell], list[Reading]] = {}
    for record in _records(results):
        for one in record.readings if record.header.process is not None else ():
            groups.setdefault((record.header.run, one.cell), []).append(one)
    rows = [_agreeing(cell, readings) for (_, cell), readings in groups.items()]
    heads = ["cell", "library", "processes", "± in seconds", "± in cycles", "clocks, MHz"]
    return tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True) if rows else ""


def _agreeing(cell: Cell, readings: Sequence[Reading]) -> list[str]:
    right = [one for one in readings if one.passed and one.summary is not None]
    seconds = [one.summary.median for one in right if one.summary is not None]
    cycles = [one.cycles_per_call for one in right if one.cycles_per_call is not None]
    clocks = [one.sm_clock_hz / 1e6 for one in right if one.sm_clock_hz is not None]
    held = f"{min(clocks):.0f} to {max(clocks):.0f}" if clocks else "–"
    name = f"{cell.dtype_label} {cell.shape or ''}".rstrip()
    return [
        name,
        str(cell.library),
        f"{len(right)} of {len(readings)}",
        _half_range(seconds),
        _half_range(cycles),
        held,
    ]


def _half_range(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "–"
    low, high = min(values), max(values)
    return f"{100 * (high - low) / (high + low):.2f} %"


def page(out: Path, steps: Sequence[Step], ended: Mapping[str, Ended]) -> str:
    """Return all that was found as one Markdown page: how each step ended, and what it printed."""
    rows = [_row(out, step, ended.get(step.name)) for step in steps]
    heads = ["step", "ended", "seconds", "command"]
    parts = ["# On record", tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True)]
    apart = agreement(out / "results")
    parts += ["## How far processes lie apart", apart] if apart else []
    for step in steps:
        told = [_log(out, step, suffix) for suffix in (".txt", ".err.txt")]
        parts += [f"## {step.name}", *(f"```\n{text}\n```" for text in told if text)] if any(told) else []
    return "\n\n".join(parts) + "\n"


def _row(out: Path, step: Step, ended: Ended | None) -> list[str]:
    seconds = f"{ended.seconds:.0f}" if ended is not None and ended.began else "–"
    return [step.name, ended.told if ended else "not begun", seconds, f"`{step.command(out)}`"]


def _log(out: Path, step: Step, suffix: str) -> str:
    path = out / "logs" / f"{step.name}{suffix}"
    return path.read_text(errors="replace").strip().replace("```", "'''") if path.exists() else ""

"""The view of a merge: what became of every source record."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bench.records.merge import Merged, Outcome
from bench.report.view import Column, View


def merged_view(results: Path, merged: Sequence[Merged]) -> View:
    """Return one row a source record, in the order given; `results` is the folder that they were merged into."""
    records = [_record(one) for one in merged]
    found = Counter(one.outcome for one in merged)
    counts = {outcome: found[outcome] for outcome in get_args(Outcome)}
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return View(
        title=f"Merged into {results}: {told}",
        columns=[Column("record"), Column("id"), Column("device"), Column("outcome")],
        rows=[_row(one) for one in merged],
        records=records,
        document={"results": str(results), "counts": counts, "records": records},
    )


def _row(one: Merged) -> list[str]:
    texts = (one.copy.id, one.copy.device) if one.copy else ("", "")
    return [str(one.path), *texts, _outcome(one)]


def _outcome(one: Merged) -> str:
    if one.refused is not None:
        return f"{one.outcome}: {one.refused.why}"
    if one.outcome == "extended":
        return f"extended by {one.lines} line{'' if one.lines == 1 else 's'}"
    return one.outcome


def _record(one: Merged) -> dict[str, Any]:
    copy = one.copy
    return {
        "path": str(one.path),
        "id": copy.id if copy else None,
        "device": copy.device if copy else None,
        "outcome": one.outcome,
        "lines_added": one.lines,
        "complete": copy.complete if copy else None,
        "saved": str(one.to) if one.to else None,
        "detail": str(one.refused.error) if one.refused else "",
    }

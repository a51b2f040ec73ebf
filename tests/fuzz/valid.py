"""Valid files to start from: records of every schema, short enough to be read thousands of times."""

import json
from pathlib import Path
from typing import Any, Final

from tests.fuzz.nasty import as_json

DATA: Final = Path(__file__).resolve().parent.parent / "data"
SPECS: Final = DATA.parent.parent / "specs"
_SAMPLES: Final = 6  # the fewest of which there is an interval
_WARM_UP: Final = 3
_CELLS: Final = 3

Line = dict[str, Any]
Lines = list[Line]


def records() -> dict[str, Lines]:
    """Return short records by name: of every schema, and one with all there can be."""
    named = ["schema-1", "schema-2", "schema-3", "schema-4", "simulated-h100"]
    found = {name: shortened(read(DATA / f"{name}.jsonl")) for name in named}
    return found | {"everything": _everything(found["simulated-h100"], found["schema-4"])}


def read(path: Path) -> Lines:
    """Return the lines of a record, parsed."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def as_record(lines: Lines) -> bytes:
    """Return a record of these lines."""
    return "".join(f"{as_json(line)}\n" for line in lines).encode("utf-8", "surrogatepass")


def shortened(lines: Lines) -> Lines:
    """Return a record with its first cells only, and of those the first samples and blocks."""
    header, *rest = lines
    measured = [_short(line) for line in rest if line["kind"] == "measurement"][:_CELLS]
    plan = {**header["plan"], "cells": [line["cell"] for line in measured]}
    policy = {
        **header["policy"],
        **dict.fromkeys(("warm_up_least_s", "warm_up_most_s", "cold_warm_up_most_s"), 0.01),
    }
    footer = {"kind": "footer", "ended": "2026-11-28T06:09:31Z", "measurements": len(measured), "seconds": 60.0}
    return [{**header, "plan": plan, "policy": policy}, *measured, footer]


def _short(line: Line) -> Line:
    cut = dict(line)
    cut["samples"] = {name: column[:_SAMPLES] for name, column in line.get("samples", {}).items()}
    if line.get("warm_up"):
        columns = {name: one[:_WARM_UP] if isinstance(one, list) else one for name, one in line["warm_up"].items()}
        cut["warm_up"] = columns
    search = line.get("search")
    if search:
        names = ("candidate", "calls", "seconds_per_call")
        cut["search"] = {**search, "after": 1} | {name: search[name][:_WARM_UP] for name in names}
    return cut


def _everything(fleet: Lines, streams: Lines) -> Lines:
    """Return a record that uses every field and kind of line."""
    header, first, second, *_ = fleet
    copy, triad = streams[2:4]
    peer = {**copy["cell"], "operation": "peer_copy", "peer": 1, "ways": 2, "library": "memcpy"}
    measured = [
        {**first, "warnings": [{"code": "outliers", "values": {"count": 1.0, "n": 6.0}}]},
        {**second, "failure": None},
        copy,
        {**triad, "cell": peer},
    ]
    failed = {"kind": "measurement", "cell": triad["cell"], "stop": "failed", "failure": "no algorithm"}
    plan = {"workload": "gemm", "cells": [line["cell"] for line in (*measured, failed)], "model": "deepseek-r1"}
    full = {
        **header,
        "device": {**header["device"], "index": 0, "host_key": "8899aabbccddeeff", "mig": False, "host": "node1"},
        "plan": plan,
        "process": {"index": 0, "of": 3, "group": "0a1b2c3d"},
        "member": {"fleet": "f00dcafe", "index": 1, "of": 4, "at_once": 2},
        "warnings": [{"code": "hot", "values": {"celsius": 71.0}}],
        "environment": {**header["environment"], "flagged": {"NVIDIA_TF32_OVERRIDE": "0"}},
    }
    chunk = {"kind": "samples", "cell": first["cell"], "samples": first["samples"]}
    resumed = {"kind": "resumed", "at": "2026-11-28T06:09:00Z", "conditions": {"temperature_c": "41.0"}}
    footer = {
        "kind": "footer",
        "ended": "2026-11-28T06:09:31Z",
        "measurements": len(measured) + 1,
        "seconds": 31.0,
    }
    return [full, chunk, resumed, chunk, *measured, failed, footer]

"""What the tests of `chipbench explain` share: the command as it is called, and invented chips and rules."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from click.testing import CliRunner, Result

from bench.cli.main import main

# What a reader asks, in the order of asking; of a title only the beginning is fixed.
SECTIONS: Final = (
    "In short",
    "What was cut",
    "Total processing performance and performance density",
    "The rules in ",
    "How close to the most that the rules allow",
    "What happened when",
    "What is uncertain",
)
# The figures of an invented chip, as their TOML tables go on after `source`: 2320 TPP, 2.85 per mm2.
FIGURES: Final = MappingProxyType(
    {
        "fp8": 'value = 290\nunit = "TFLOPS"\ndense = true',
        "fp16": 'value = 145\nunit = "TFLOPS"\ndense = true',
        "bf16": 'value = 145\nunit = "TFLOPS"\ndense = true',
        "int8": 'value = 290\nunit = "TOPS"\ndense = true',
        **dict.fromkeys(("fp64", "fp64_tensor", "fp32", "tf32", "fp4"), 'status = "inapplicable"'),
        "die_area": 'value = 814\nunit = "mm2"',
        "nvlink": 'value = 900\nunit = "GB/s"',
        "pcie": 'value = 5\nunit = "generation"',
        "memory_bandwidth": 'value = 4000\nunit = "GB/s"',
        "memory_type": 'value = "HBM3"',
        "transistors": 'value = 80000000000\nunit = "transistors"',
    }
)
UNKNOWN: Final = 'status = "unknown"'


def explain(*args: str | Path, terminal: Mapping[str, str] | None = None) -> Result:
    """Run `chipbench explain` with these arguments."""
    env = {"CHIPBENCH_RESULTS": "no-results-here", **(terminal or {})}
    return CliRunner().invoke(main, ["explain", *map(str, args)], env=env, prog_name="chipbench")


@cache
def stdout(*args: str | Path) -> str:
    """Return what `chipbench explain` prints with these arguments, which must succeed."""
    result = explain(*args)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def document(*args: str | Path) -> dict[str, Any]:
    """Return the JSON document."""
    found: dict[str, Any] = json.loads(stdout(*args, "--format", "json"))
    return found


def verdicts(*args: str | Path) -> dict[str, dict[str, Any]]:
    """Return the verdicts of the JSON document by rule."""
    return {verdict["rule"]: verdict for verdict in document(*args)["verdicts"]}


def records(*args: str | Path) -> list[dict[str, str]]:
    """Return the rows of the CSV."""
    return list(csv.DictReader(io.StringIO(stdout(*args, "--format", "csv"))))


def sections(titles: Iterable[str]) -> tuple[str, ...]:
    """Return which of SECTIONS the titles are, in the order in which they stand."""
    return tuple(known for title in titles for known in SECTIONS if title.startswith(known))


def is_one_line_of_error(result: Result, exit_code: int, *parts: str) -> None:
    """Hold a refused call to the house rule: one line on stderr that says what is wrong, and nothing on stdout."""
    assert (result.exit_code, result.stdout[:80]) == (exit_code, ""), result.stderr
    assert result.stderr.startswith("chipbench: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def write_chip(
    path: Path,
    figures: Mapping[str, str] | None = None,
    *,
    name: str = "Invented One",
    note: str = "Nobody sells it.",
    cut_from: str | None = None,
    market: str = "data-centre",
) -> Path:
    """Write an invented chip to `path`; `figures` override the tables of FIGURES."""
    head = [f'id = "{path.stem}"', f'name = "{name}"', *([f'cut_from = "{cut_from}"'] if cut_from else [])]
    text = [
        *head,
        f'[designed_for]\nvalue = "{market}"\nsource = "mine"',
        f'[identity]\nnote = "{note}"',
        f'[sources.mine]\ntitle = "My sheet of {name}"\ngrade = "vendor"',
        '[sources.rival]\ntitle = "A rival sheet"\ngrade = "reseller"',
        *(
            f'[figures.{figure}]\nsource = "mine"\nnote = "{note}"\n{table}'
            for figure, table in {**FIGURES, **(figures or {})}.items()
        ),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(text) + "\n", encoding="utf-8")
    return path


RULE: Final = """\
id = "my-rule"
title = "A rule of my own"
citation = "Nobody's gazette 1"
grade = "published"
effective = 2024-06-01
until = 2025-12-31
effect = "licence"

[[outcomes]]
name = "paragraph 1"
when = { quantity = "memory_bandwidth", at_least = 3999.5 }
"""


def write_rule(folder: Path, text: str = RULE, name: str = "my-rule") -> Path:
    """Write a rule into a folder of one's own specs."""
    path = folder / "rules" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path

"""Does `compare` tell a difference where there is none? Pairs of runs of the same code on the same machine.

    python tests/benchmarks/aa_pairs.py --pairs 20

takes about a quarter of an hour, on a machine that does nothing else: each side of a pair is three fresh processes
of `chipbench run --quick`, the sides one after the other. Every verdict but same and can't tell is wrong. Exits
with 1 if there is more than one.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click

_CHIPBENCH: Final = (sys.executable, "-m", "bench")
_RIGHT: Final = ("same", "can't tell")
_ALLOWED: Final = 1


def chipbench(*arguments: str) -> str:
    """Return what a chipbench command prints on stdout."""
    ran = subprocess.run([*_CHIPBENCH, *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise click.ClickException(ran.stderr.strip().splitlines()[-1])
    return ran.stdout


def compared(folder: Path) -> list[dict[str, Any]]:
    """Measure both sides of a pair below `folder`; return what `compare` says of each cell."""
    sides = [str(folder / name) for name in ("a", "b")]
    for side in sides:
        chipbench("run", "--quick", "--processes", "3", "--results-dir", side)
    rows = json.loads(chipbench("compare", *sides, "--format", "json"))["rows"]
    return [{"cell": f"{row['dtype']} {row['shape'][0]}³", **row["sides"][1]} for row in rows]


@click.command()
@click.option("--pairs", default=20, show_default=True, help="How many pairs.")
def main(pairs: int) -> None:
    """Measure pairs, and count what `compare` says of them."""
    verdicts: Counter[str] = Counter()
    for number in range(1, pairs + 1):
        with tempfile.TemporaryDirectory() as folder:
            for found in compared(Path(folder)):
                verdicts[found["verdict"]] += 1
                ratio = f"{found['ratio']:.3f} ({found['ratio_lo']:.3f} … {found['ratio_hi']:.3f})"
                click.echo(f"{number:>3}  {found['cell']:<12} {ratio}  {found['verdict']}: {found['reason']}")
    click.echo(", ".join(f"{verdict} {count}" for verdict, count in verdicts.most_common()))
    wrong = sum(count for verdict, count in verdicts.items() if verdict not in _RIGHT)
    click.echo(f"{wrong} of {verdicts.total()} verdicts are wrong")
    sys.exit(1 if wrong > _ALLOWED else 0)


if __name__ == "__main__":
    main()

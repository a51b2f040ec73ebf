"""Mutation check: `python tests/mutation/run.py` fails if tests let over 15 % of one file's mutants live.

It runs from an environment with `chipbench[test]`, puts mutmut into build/mutation/ and survivors.txt beside it,
and touches no file of the checkout. `--again` tests those of survivors.txt only, which is quicker while tests are
written; files may be named. How a mutant is tested is told in testing.py.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
from tests.mutation.mutants import Mutant, install, mutants_of  # noqa: E402 - tests/ is found from the line above
from tests.mutation.testing import FOUND, outcomes  # noqa: E402 - likewise

FOLDER: Final = ROOT / "build" / "mutation"
SURVIVORS: Final = FOLDER / "survivors.txt"
LOG: Final = FOLDER / "output.txt"
LEAST: Final = 0.85

# The files, and which test files are to find their mutants: the quickest to find many comes first.
TESTS: Final[Mapping[str, Sequence[str]]] = {
    "bench/published/chips.py": ("published", "chips_command", "identify", "specs_data"),
    "bench/analysis/compare.py": ("compare_sides", "compare_others", "compare_input"),
    "bench/analysis/export_rule.py": ("export_open", "export_details", "export_rule", "rules_data"),
    "bench/stats.py": ("stats_exact", "stats", "fleet_stats", "student", "modes"),
}


def main(arguments: Sequence[str]) -> int:
    """Test the mutants, write down those that are not found, and return 1 if that is too much of some file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    install(FOLDER / "site")
    again = SURVIVORS.read_text(encoding="utf-8").splitlines() if "--again" in arguments else None
    found_enough = []
    with SURVIVORS.open("w", encoding="utf-8") as survivors:
        for file in TESTS:
            if file not in arguments and set(arguments) & set(TESTS):
                continue
            mutants = [one for one in mutants_of(ROOT, file) if again is None or _line(one) in again]
            counts: Counter[str] = Counter()
            for mutant, outcome in outcomes(ROOT, mutants, TESTS[file], LOG) if mutants else ():
                counts[outcome] += 1
                if outcome not in FOUND:
                    survivors.write(f"{_line(mutant)}\n")
            found_enough.append(_is_enough(file, counts))
    return 0 if all(found_enough) else 1


def _line(mutant: Mutant) -> str:
    return f"{mutant.file} {mutant.place}: {mutant.change}"


def _is_enough(file: str, counts: Counter[str]) -> bool:
    """Print one file's counts; return whether enough of its mutants were found."""
    share = sum(counts[outcome] for outcome in FOUND) / counts.total() if counts else 1.0
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    sys.stdout.write(f"{file}: {counts.total()} mutants: {said or 'none'}; {share:.1%} found\n")
    sys.stdout.flush()
    return share >= LEAST


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

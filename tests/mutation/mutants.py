"""What mutmut changes in a file: one small mistake at a time, in every function, constant and default.

mutmut's own runner leaves out what is decorated (cached functions, properties) and what runs on import. Its
mutations are taken here without the runner, so that those are mutated too.
"""

import importlib
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from subprocess import run
from typing import Final, NamedTuple

MUTMUT: Final = "3.8.1"
ELSEWHERE: Final = "(module or class)"


class Mutant(NamedTuple):
    """A file with one mistake in it: where that is, the line before and after, and the file's whole text."""

    file: str
    number: int
    place: str
    change: str
    text: str


def install(folder: Path) -> None:
    """Make mutmut importable from a folder of its own; what is installed already goes before it."""
    if not (folder / f"mutmut-{MUTMUT}.dist-info").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), f"mutmut=={MUTMUT}"]
        run(command, check=True)
    sys.path.append(str(folder))


def mutants_of(root: Path, file: str) -> Iterator[Mutant]:
    """Yield every mutant of a file, in the order of its text."""
    mutation, cst = importlib.import_module("mutmut.mutation.file_mutation"), importlib.import_module("libcst")
    ignored = importlib.import_module("mutmut.mutation.pragma_handling").IgnoredCode(set(), set(), set())
    text = (root / file).read_text(encoding="utf-8")
    wrapped = cst.MetadataWrapper(cst.parse_module(text))
    visitor = mutation.MutationVisitor(mutation.mutation_operators, ignored)
    skips = visitor._skip_node_and_children
    visitor._skip_node_and_children = lambda node: not isinstance(node, cst.FunctionDef) and skips(node)
    module = wrapped.visit(visitor)
    # Only the statement of the module that is mutated is written anew; to write all takes half a minute a file.
    parts = [module.code_for_node(statement) for statement in module.body]
    place_of = {id(node): i for i, whole in enumerate(module.body) for node in mutation._walk(whole)}
    for number, found in enumerate(visitor.mutations):
        i = place_of[id(found.original_node)]
        mutated = module.body[i].deep_replace(found.original_node, found.mutated_node)
        changed = "".join([*parts[:i], module.code_for_node(mutated), *parts[i + 1 :]])
        yield Mutant(file, number, _place(found.contained_by_top_level_function), _change(text, changed), changed)


def _place(function: object) -> str:
    name = getattr(function, "name", None)
    return str(name.value) if name is not None else ELSEWHERE


def _change(before: str, after: str) -> str:
    """Return what differs, whole lines, in one line."""
    old, new = ([line.strip() for line in text.splitlines()] for text in (before, after))
    first = next(i for i, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    alike = zip(reversed(old[first + 1 :]), reversed(new[first + 1 :]), strict=False)
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], alike)))
    removed, added = (" ".join(lines[first : len(lines) - shared]) for lines in (old, new))
    return f"{removed} → {added}"

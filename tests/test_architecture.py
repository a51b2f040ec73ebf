"""The house: the wings left to right, imports point left, heavy libraries stay in their rooms."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS
from bench.cli.plot import KINDS
from bench.published.chips import Catalogue
from bench.published.conditions import Comparison
from bench.published.figures import FIGURES
from bench.published.rules import read_rules
from bench.published.source import shipped_specs

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"

# The architecture: a wing may import from itself and from those to its left.
WINGS = (
    ("errors", "units", "stats", "version"),
    ("published",),
    ("workloads",),
    ("devices",),
    ("measure",),
    ("records",),
    ("run",),
    ("analysis",),
    ("report",),
    ("cli",),
)
# Outside the tuple: the package's own doors, which only the outside uses.
DOORS = ("bench", "bench.__main__", "bench.pytest_timer")

# Libraries, and the only places that may import them.
ROOMS = {
    "cupy": "bench.devices",
    "nvmath": "bench.devices",
    "pynvml": "bench.devices",
    "threadpoolctl": "bench.devices",
    "click": "bench.cli",
    "rich": "bench.cli.progress",
    "pandas": "bench.report",
    "matplotlib": "bench.report",
    "jinja2": "bench.report",
    "tabulate": "bench.report",
    "distributed": "bench.run.fleet",
}
LONGEST_FILE = 400


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in sorted(BENCH.rglob("*.py"))}


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    return tuple(_found_in(path))


def _found_in(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in inside if name in MODULES)


def _wing(module: str) -> int:
    room = module.split(".")[1]
    return next(index for index, wing in enumerate(WINGS) if room in wing)


INSIDE = [module for module in MODULES if module not in DOORS]


def test_imports_point_left() -> None:
    for module in INSIDE:
        for imported in _imports(MODULES[module]):
            if imported.split(".")[0] == "bench":
                assert imported not in DOORS, f"{module} imports from the door {imported}"
                assert _wing(imported) <= _wing(module), f"{module} imports {imported}, which is to its right"


def test_every_module_has_its_wing() -> None:
    for module in INSIDE:
        assert _wing(module) >= 0


def test_no_cycle_inside_a_wing() -> None:
    edges = {
        module: {name for name in _imports(MODULES[module]) if name in MODULES and name != module}
        for module in INSIDE
    }
    # A package stands for its own __init__ only; that its rooms are inside it is no import.
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"cycle: {' -> '.join([*path, module])}"
        if module in done:
            return
        for imported in sorted(edges.get(module, ())):
            visit(imported, (*path, module))
        done.add(module)

    for module in INSIDE:
        visit(module, ())


@pytest.mark.parametrize("library", ROOMS)
def test_a_library_stays_in_its_room(library: str) -> None:
    for module, path in MODULES.items():
        if library in {name.split(".")[0] for name in _imports(path)}:
            room = ROOMS[library]
            assert module == room or module.startswith(f"{room}."), f"{module} imports {library}"


def test_each_wing_uses_some_room_of_the_one_to_its_left_or_further() -> None:
    """The order is real: for every neighbouring pair something to the right depends on the left part."""
    for left, right in pairwise(range(len(WINGS))):
        users = [m for m in INSIDE if _wing(m) >= right]
        used = {_wing(name) for m in users for name in _imports(MODULES[m]) if name in INSIDE}
        assert left in used, f"nothing uses {WINGS[left]}"


def test_files_stay_short_and_say_what_they_know() -> None:
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST_FILE, module
        assert ast.get_docstring(_tree(path)), f"{module} has no docstring"


def test_tests_stay_short_too() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE, path


@cache
def _code_strings(path: Path) -> Sequence[str]:
    """The string literals of a file that are no docstrings: those are for readers and may give examples."""
    tree = _tree(path)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented)
            and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    code = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return [node.value for node in code if isinstance(node.value, str)]


def test_no_chip_stands_in_the_code() -> None:
    catalogue = Catalogue([shipped_specs()])
    names = {*catalogue.ids, *catalogue.aliases} - {*FIGURES}  # a chip is called l2, and so is a cache
    for module, path in MODULES.items():
        for text in _code_strings(path):
            words = set(re.split(r"[^a-z0-9-]+", text.lower()))
            assert not words & names, f"{module} names {words & names}; chips are data"


def test_no_rule_stands_in_the_code() -> None:
    book = read_rules([shipped_specs()])
    names = {rule.id for rule in book.rules} | {part.name for rule in book.rules for part in rule.outcomes}
    telling = {name for name in names if re.search(r"\d", name)} | {rule.id for rule in book.rules}
    for module, path in MODULES.items():
        for text in _code_strings(path):
            assert not [name for name in telling if name in text], f"{module} names a rule; rules are data"


def test_no_threshold_of_a_rule_stands_in_the_code() -> None:
    compared = [part for rule in read_rules([shipped_specs()]).rules for part in rule.conditions()]
    thresholds = {float(t) for part in compared if isinstance(part, Comparison) for t in part.thresholds}
    assert thresholds >= {2400, 4800, 1600, 5.92, 3.2, 1.6}
    thresholds = (thresholds | {2368}) - {2.0}  # of memory bandwidth density; 2 is a number like any other
    for module, path in MODULES.items():
        numbers = {
            node.value
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
        }
        assert not numbers & thresholds, f"{module} holds {numbers & thresholds}; rules are data"


HEAVY = ("numpy", "pandas", "cupy", "rich", "matplotlib", "msgspec", "tabulate", "nvmath", "distributed")


def _loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    loaded = _loaded_by(
        "from bench.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert "click" in loaded
    assert not loaded & {*HEAVY}


def test_chips_needs_no_numpy_and_no_pandas() -> None:
    loaded = _loaded_by("from bench.cli.main import main\ntry:\n    main(['chips'])\nexcept SystemExit:\n    pass")
    assert "msgspec" in loaded
    assert not loaded & {"numpy", "pandas", "rich", "matplotlib"}


def test_the_help_of_plot_and_of_its_kinds_loads_nothing_heavy() -> None:
    for words in (["plot"], *(["plot", kind] for kind in KINDS)):
        arguments = [*words, "--help"]
        run = f"from bench.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
        assert not _loaded_by(run) & {*HEAVY}, arguments


def test_the_help_of_a_command_begins_as_the_list_says() -> None:
    for name, (module, text) in [*COMMANDS.items(), *KINDS.items()]:
        command = __import__(module, fromlist=["command"]).command
        assert command.name == name
        assert command.help.splitlines()[0] == text


def test_every_command_file_is_in_the_list() -> None:
    kinds = {module for module in MODULES if module.startswith("bench.cli.plots.")}
    assert kinds == {module for module, _ in KINDS.values()}
    rooms = {module for module in MODULES if module.startswith("bench.cli.")} - kinds - {"bench.cli.plots"}
    names = ("asked", "main", "options", "parameters", "prices", "progress", "saving", "several", "where")
    shared = {f"bench.cli.{name}" for name in names}
    assert rooms - shared == {module for module, _ in COMMANDS.values()}

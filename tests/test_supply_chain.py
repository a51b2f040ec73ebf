"""What the code may not do, read from its syntax: run text as code, unpickle, start a shell, ask the network."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
CODE: Final = sorted((ROOT / "bench").rglob("*.py"))
# Modules, by what they would be used for; `urllib.parse` takes addresses apart and asks for nothing.
MODULES: Final = {
    "pickle": ("pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "multiprocessing"),
    "network": (
        "socket", "ssl", "http", "urllib.request", "urllib3", "requests", "httpx", "aiohttp", "ftplib", "smtplib",
        "socketserver", "xmlrpc", "telnetlib", "webbrowser", "asyncio", "distributed", "dask", "tornado",
    ),
    "process": ("subprocess", "pty", "pexpect"),
    "code by its name": ("importlib", "runpy", "pkgutil"),
    "yaml": ("yaml", "ruamel"),
    "xml": ("xml", "lxml"),
}  # fmt: skip
HARMLESS: Final = {"importlib.metadata", "importlib.util.find_spec", "importlib.resources"}
CALLS: Final = {
    "eval": "runs text", "exec": "runs text", "compile": "runs text", "__import__": "runs text",
    "os.system": "shell", "os.popen": "shell", "subprocess.getoutput": "shell", "tempfile.mktemp": "race",
    "pandas.read_pickle": "pickle", "pd.read_pickle": "pickle", "pandas.eval": "runs text", "pd.eval": "runs text",
}  # fmt: skip
WORDS: Final = re.compile(
    r"(?<![.\w])(shell|allow_pickle|Environment|Template|"
    + "|".join({name.split(".")[0] for names in (*MODULES.values(), [*CALLS]) for name in names} - {"os"})
    + r")\b|\.(system|popen|mktemp|read_pickle|eval|Template|Environment)\b"
)
# What there is of it, and why it may be.
EXCEPTIONS: Final = {
    ("bench/cli/main.py", "code by its name: importlib.import_module"): "a command's file, from a dict of them",
    ("bench/devices/__init__.py", "code by its name: importlib.import_module"): "a backend's, from a dict of them",
    ("bench/report/chapters/common.py", "code by its name: importlib.import_module"): "a picture's, from literals",
    ("bench/run/member.py", "process: subprocess"): "this Python with this code, no shell, jobs as lines of JSON",
    (
        "bench/records/parallel.py",
        "pickle: multiprocessing",
    ): "a pipe between this process and its own child",
    ("bench/records/parallel.py", "pickle: multiprocessing.connection.Connection"): "its type",
    ("bench/devices/nvidia/own_process.py", "pickle: multiprocessing"): "likewise; what passes is no file's",
    ("bench/devices/nvidia/own_process.py", "pickle: multiprocessing.connection.Connection"): "its type",
    ("bench/devices/nvidia/own_process.py", "pickle: multiprocessing.resource_tracker"): "begun with signals held",
    ("bench/report/documents/svg.py", "xml: xml.etree.ElementTree"): "reads what Matplotlib has just drawn",
    ("bench/report/formats/junit.py", "xml: xml.etree.ElementTree"): "writes only",
    ("bench/run/fleet/connecting.py", "code by its name: pkgutil"): "looks up one constant's name, for Dask",
    ("bench/run/fleet/engine.py", "code by its name: pkgutil"): "likewise",
    ("bench/run/fleet/connecting.py", "pickle: multiprocessing.resource_tracker"): "begun before a Dask client",
}
# Dask carries jobs there, by a network that the user names; what it says of that stands in `run/fleet`.
FLEET: Final = ("bench/run/fleet/", ("network: distributed", "network: asyncio"))


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def beneath(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def forbidden_imports(node: ast.AST) -> Iterator[str]:
    for name in imported(node):
        if any(beneath(name, harmless) for harmless in HARMLESS):
            continue
        for use, modules in MODULES.items():
            if any(beneath(name, module) for module in modules):
                yield f"{use}: {name}"


def forbidden_calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = dotted(node.func)
    options = {option.arg: option.value for option in node.keywords}
    if name in CALLS:
        yield f"{CALLS[name]}: {name}"
    if not is_literal(options.get("shell"), default=False):
        yield f"shell: {name}"
    if not is_literal(options.get("allow_pickle"), default=False):
        yield f"pickle: {name}"
    makes = name in {"Template", "jinja2.Template", "jinja2.Environment"}
    if makes or (name == "Environment" and "loader" in options):
        escapes = options.get("autoescape")
        if escapes is None or not is_literal(escapes, default=True):
            yield f"markup: {name}"


def dotted(node: ast.expr) -> str:
    """Return a name as it is called, `os.path.join`; of anything else only the last part."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_literal(node: ast.expr | None, *, default: object) -> bool:
    """Whether an option is left out, or is this very literal."""
    return node is None or (isinstance(node, ast.Constant) and node.value is default)


def found_in(source: str) -> set[str]:
    if not WORDS.search(source):  # most files are not worth taking apart
        return set()
    nodes = list(ast.walk(ast.parse(source)))
    return {what for node in nodes for search in (forbidden_imports, forbidden_calls) for what in search(node)}


def test_the_code_does_none_of_it_but_for_these() -> None:
    found = {
        (str(path.relative_to(ROOT)), what) for path in CODE for what in found_in(path.read_text(encoding="utf-8"))
    }
    folder, allowed = FLEET
    fleet = {(file, what) for file, what in found if file.startswith(folder) and what.startswith(allowed)}
    assert fleet
    assert found - fleet == {*EXCEPTIONS}


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("def f():\n    import cloudpickle as c", "pickle"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "pickle"),
        ("np.load(path, allow_pickle=chosen)", "pickle"),
        ("pd.read_pickle(path)", "pickle"),
        ("eval(text)", "runs text"),
        ("exec(compile(text, name, 'exec'))", "runs text"),
        ("os.system(line)", "shell"),
        ("subprocess.run(line, shell=True)", "shell"),
        ("import subprocess", "process"),
        ("import yaml", "yaml"),
        ("import xml.etree.ElementTree", "xml"),
        ("tempfile.mktemp()", "race"),
        ("Environment(loader=loader)", "markup"),
        ("Environment(loader=loader, autoescape=chosen)", "markup"),
        ("jinja2.Template(text)", "markup"),
        ("from urllib.request import urlopen", "network"),
        ("from urllib import request", "network"),
        ("import http.client", "network"),
        ("import socket", "network"),
        ("import webbrowser", "network"),
        ("import importlib", "code by its name"),
    ],
)
def test_whoever_did_would_be_found(source: str, use: str) -> None:
    assert use in {what.partition(":")[0] for what in found_in(source)}


def test_what_is_harmless_is_not() -> None:
    harmless = """
import re
from importlib.metadata import version
from urllib.parse import urlsplit
re.compile(text)
kernel.compile()
Environment(loader=loader, autoescape=True)
Environment(versions={}, settings={})
np.load(path)
"""
    assert found_in(harmless) == set()

"""How a mutant is tested: in a forked process of its own, so that no file is touched and none can harm another.

First quickly: the tests are collected once, and in each fork a mutant's code takes the place of the functions'
own, before those tests run that call the function. Of what survives that, the mutants of functions that are called
while the tests are imported, and all that is no function's code, are tested by a fork that imports everything
anew, with the changed text in place of the file's, and runs all tests.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from types import FrameType, FunctionType, ModuleType
from typing import Any, Final

import pytest

from tests.mutation.mutants import ELSEWHERE, Mutant

PROCESSES: Final = 2
SECONDS: Final = 20  # of processor time, three times what the slowest tests take; a mutant that needs more hangs
BYTES: Final = 8 << 30
PYTEST: Final = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "--assert=plain")
TEMPORARY: Final = "PYTEST_DEBUG_TEMPROOT"  # pytest makes its folders there
OURS: Final = ("bench", "tests", "conftest")
FOUND: Final = ("killed", "timeout")
BROKEN: Final = 70  # any that pytest does not use

Outcome = tuple[Mutant, str]


def outcomes(root: Path, mutants: Sequence[Mutant], tests: Sequence[str], log: Path) -> Iterator[Outcome]:
    """Yield every mutant of one file with what became of it: killed, survived, timeout, or how pytest broke."""
    os.chdir(root)
    paths = [f"tests/test_{name}.py" for name in tests]
    with TemporaryDirectory() as folder:
        os.environ[TEMPORARY] = folder
        quick = _Quick(root, mutants[0].file, [one for one in mutants if one.place != ELSEWHERE], Path(folder))
        with _silent(log):
            code = BROKEN
            try:
                code = pytest.main([*PYTEST, *paths], plugins=[quick])
            finally:
                if quick.is_fork:
                    os._exit(code)
        if quick.forks.ended[:1] != [(quick.unchanged, "survived")]:
            message = f"the tests {', '.join(paths)} fail before anything is changed; see {log}"
            raise SystemExit(message)
        sure = [one for one in quick.forks.ended[1:] if _is_sure(*one, quick.on_import)]
        yield from sure
        told = {mutant.number for mutant, _ in sure}
        yield from _afresh(root, [one for one in mutants if one.number not in told], paths, log)


def _is_sure(mutant: Mutant, outcome: str, on_import: set[str]) -> bool:
    return outcome in FOUND or (outcome == "survived" and mutant.place not in on_import)


class _Forks:
    """Forks for one mutant after another, so many at a time, and keeps what became of them."""

    def __init__(self) -> None:
        self.ended: list[Outcome] = []
        self._running: dict[int, Mutant] = {}

    def for_each(self, mutants: Sequence[Mutant]) -> Mutant | None:
        """Return a mutant in its fork; None in the process that forked, when all have ended."""
        for mutant in mutants:
            if len(self._running) == PROCESSES:
                self._wait()
            if (pid := os.fork()) == 0:
                os.environ[TEMPORARY] = mkdtemp(dir=os.environ[TEMPORARY])  # no two forks in one folder
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
                resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
                return mutant
            self._running[pid] = mutant
        while self._running:
            self._wait()
        return None

    def _wait(self) -> None:
        pid, status = os.wait()
        self.ended.append((self._running.pop(pid), _said(status)))


def _said(status: int) -> str:
    """Return the outcome; a failing test and tests that cannot be imported both kill."""
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGXCPU else f"signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    return {0: "survived", 1: "killed", 2: "killed"}.get(code, f"broken {code}")


class _Quick:
    """A plugin of pytest that forks between collecting and running.

    The first fork changes nothing and writes down which functions each test calls, and for how long it runs.
    """

    def __init__(self, root: Path, file: str, mutants: Sequence[Mutant], folder: Path) -> None:
        self.unchanged = Mutant("", -1, ELSEWHERE, "", "")
        self.forks = _Forks()
        self.is_fork = self._recording = False
        self.on_import: set[str] = set()
        self._file, self._path = file, str(root / file)
        self._mutants, self._told = mutants, folder / "calls.jsonl"

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Iterator[None]:
        """Write down what is called while the tests are imported."""
        with self._watched(self.on_import):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run pytest's own loop in each fork, and none here."""
        if self.forks.for_each([self.unchanged]) is not None:
            self.is_fork = self._recording = True
            return None
        if self.forks.ended[0][1] != "survived":
            return True
        *tests, imported = map(json.loads, self._told.read_text(encoding="utf-8").splitlines())
        told = {name: (seconds, calls) for name, seconds, calls in tests}
        with self._watched(self.on_import):
            for name in imported:
                with suppress(ImportError):  # of parts that pretend to be modules
                    importlib.import_module(name)
        mutant = self.forks.for_each(self._mutants)
        if mutant is None:
            return True
        self.is_fork = True
        session.items = [item for item in session.items if mutant.place in told[item.nodeid][1]]
        session.items.sort(key=lambda item: told[item.nodeid][0])
        _take_over(mutant)
        return None

    def pytest_sessionfinish(self) -> None:
        """Write down what the tests imported, so that not every fork has to."""
        if self._recording:
            with self._told.open("a", encoding="utf-8") as told:
                told.write(json.dumps(list(sys.modules)) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if not self._recording:
            return (yield)
        calls: set[str] = set()
        _forget(_module_of(self._file))  # so that each test calls what it needs
        start = time.process_time()
        with self._watched(calls):
            said = yield
        with self._told.open("a", encoding="utf-8") as told:
            told.write(json.dumps([item.nodeid, time.process_time() - start, sorted(calls)]) + "\n")
        return said

    @contextmanager
    def _watched(self, calls: set[str]) -> Iterator[None]:
        """Add the names of the file's functions that are called; of what is within one, that one's."""

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename == self._path:
                calls.add(frame.f_code.co_qualname.split(".<locals>")[0].split(".")[-1])

        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)


def _take_over(mutant: Mutant) -> None:
    """Give the functions of the module the code that they have in the mutant's text; forget what they cached."""
    name = _module_of(mutant.file)
    changed = ModuleType(name)
    exec(compile(mutant.text, mutant.file, "exec"), changed.__dict__)
    code_of = {function.__qualname__: function for function in _functions(name, vars(changed))}
    for function in _functions(name, vars(sys.modules[name])):
        new = code_of[function.__qualname__]
        function.__code__, function.__defaults__ = new.__code__, new.__defaults__
        function.__kwdefaults__ = new.__kwdefaults__
    _forget(name)


def _forget(module: str) -> None:
    for cached in vars(sys.modules[module]).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


def _functions(module: str, namespace: Mapping[str, Any]) -> Iterator[FunctionType]:
    """Yield a module's functions, with the methods and properties of its classes."""
    for value in namespace.values():
        if isinstance(value, type) and value.__module__ == module:
            yield from _functions(module, vars(value))
        plain = getattr(value, "fget", None) or getattr(value, "__wrapped__", value)
        if isinstance(plain, FunctionType) and plain.__module__ == module:
            yield plain


def _afresh(root: Path, mutants: Sequence[Mutant], paths: Sequence[str], log: Path) -> Iterator[Outcome]:
    forks = _Forks()
    mutant = forks.for_each(mutants)
    if mutant is None:
        yield from forks.ended
        return
    code = BROKEN
    try:
        for name in [name for name in sys.modules if name.split(".")[0] in OURS or name.startswith("test_")]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Changed(root, mutant))
        with _silent(log):
            try:
                code = pytest.main([*PYTEST, *paths])
            except Exception:
                traceback.print_exc()
                sys.stderr.flush()
                raise
    finally:
        os._exit(code)


class _Changed(MetaPathFinder, Loader):
    """Gives one module the mutant's text."""

    def __init__(self, root: Path, mutant: Mutant) -> None:
        self._name, self._path = _module_of(mutant.file), root / mutant.file
        self._code = compile(mutant.text, str(self._path), "exec")

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(fullname, self._path, loader=self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def _module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


@contextmanager
def _silent(log: Path) -> Iterator[None]:
    """Let what is printed go to a file."""
    sys.stdout.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(written, stream)
    os.close(written)
    try:
        yield
    finally:
        for stream, own in zip((1, 2), kept, strict=True):
            os.dup2(own, stream)
            os.close(own)

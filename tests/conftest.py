"""Options of this test suite, and the fixture that holds a text against its golden file.

`pytest --update-golden` writes the golden files anew (then read the diff); `pytest --no-skips` fails if any test
was skipped, so that CI cannot turn green by leaving something out.
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests import standins

GOLDEN: Final = Path(__file__).resolve().parent / "golden"

# The same examples in every run: a build is not red by chance. They are half as many as Hypothesis takes by
# default, so that all tests end within a minute; --hypothesis-profile=many takes ten times that, and others in
# every run. What Hypothesis caches goes to pytest's cache: a folder .hypothesis would make it warn, and every
# warning is an error here.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "hypothesis")
)
settings.register_profile("fixed", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile("many", max_examples=500, deadline=None, database=None)
settings.load_profile("fixed")
# Two of the suite's processes share two cores: threads of OpenBLAS that wait for each other only take turns there.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew instead of comparing")
    parser.addoption("--no-skips", action="store_true", help="fail if any test was skipped")


def pytest_collection_finish() -> None:
    """Keep the thousands of collected tests out of every later garbage collection, and have fewer of those."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _skipped(config: pytest.Config) -> Sequence[pytest.TestReport | pytest.CollectReport]:
    if not config.getoption("no_skips"):
        return ()
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        message = "--no-skips needs pytest's terminal reporter"
        raise pytest.UsageError(message)
    return [*reporter.stats.get("skipped", ())]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for report in _skipped(config):
        terminalreporter.write_line(f"--no-skips: {report.nodeid} was skipped", red=True)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return a function that holds a text against `tests/golden/NAME`, byte for byte."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("update_golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        assert path.exists(), f"{path} is missing; make it with --update-golden"
        assert path.read_bytes().decode("utf-8") == text, f"not as in {path}; if that is meant, --update-golden"

    return check


@pytest.fixture(scope="session")
def built_standins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Compile the C stand-ins for the NVIDIA libraries once."""
    if standins.compiler() is None:
        pytest.skip("no C compiler (cc) here to build the stand-ins for the NVIDIA libraries")
    return standins.build(tmp_path_factory.mktemp("standins"))


@pytest.fixture(scope="module")
def in_standins(built_standins: dict[str, Path]) -> Iterator[standins.StandIns]:
    """Return what runs a function in a fresh process with all stand-ins loaded, one process a test module."""
    process = standins.StandIns(built_standins, "cuda", "cublaslt", "nvml")
    yield process
    process.close()

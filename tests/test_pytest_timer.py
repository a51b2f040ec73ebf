"""The timer for people's own pytest-benchmark suites: with a CuPy whose clock is simulated, and without one."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from runpy import run_path
from time import perf_counter
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.timers import compute_timer_precision

from bench import pytest_timer
from bench.devices.nvidia import events
from bench.devices.nvidia.events import Moment
from bench.pytest_timer import HostTimeOnly, cuda_event_timer

ROOT = Path(__file__).resolve().parent.parent
OPTION = "--benchmark-timer=bench.pytest_timer.cuda_event_timer"
STEP_S = 2.0**-20  # about a microsecond, and exact: what recording an event takes the simulated device
WORK_S = 0.25

# Work advances the device's clock only; the host's goes on as it likes.
FAKE = f"""
device_s, waited, stream = 1.0, [], object()

def work(seconds={WORK_S}):
    global device_s
    device_s += seconds

class cuda:
    class Event:
        def record(self, onto):
            assert onto is stream
            work({STEP_S})
            self.at_s = device_s
        def synchronize(self):
            waited.append(self)

    get_current_stream = staticmethod(lambda: stream)

    @staticmethod
    def get_elapsed_time(first, last):
        assert waited[-1] is last
        return (last.at_s - first.at_s) * 1e3
"""
NO_GPU = """
class cuda:
    @staticmethod
    def Event():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device\\nis detected")
"""
ON_THE_DEVICE = f"""
import cupy, pytest
from bench.pytest_timer import cuda_event_timer

def test_called(benchmark):
    benchmark(cupy.work)

def test_short(benchmark):
    benchmark(cupy.work, {STEP_S})

@pytest.mark.benchmark(precision=0.5, min_rounds=7, warmup=True, warmup_iterations=3)
def test_until_precise(benchmark):
    benchmark(cupy.work)

@pytest.mark.benchmark(timer=cuda_event_timer)
def test_pedantic(benchmark):
    assert benchmark.pedantic(cupy.work, rounds=3, iterations=4, warmup_rounds=1) is None
"""
ON_THE_HOST = """
import time

def test_called(benchmark):
    benchmark(time.sleep, 0.02)

def test_pedantic(benchmark):
    benchmark.pedantic(time.sleep, args=(0.02,), rounds=3)
"""


@pytest.fixture(autouse=True)
def undecided() -> Iterator[None]:
    """Begin as a process does that has not used the timer yet, and end so."""
    pytest_timer._clock.cache_clear()
    yield
    pytest_timer._clock.cache_clear()


Install = Callable[[str], Any]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what makes a text the module `cupy`, and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)  # so that the real one, if it is here, comes back afterwards
    monkeypatch.setattr(events, "cuda_driver_version", lambda: 13000)

    def made(text: str) -> Any:  # noqa: ANN401 - a module that is not CuPy
        (tmp_path / "cupy.py").write_text(text, encoding="utf-8")
        del sys.modules["cupy"]
        return import_module("cupy")

    return made


class TestWithEvents:
    def test_a_difference_is_in_seconds_of_the_device_and_waits_for_the_later_event(
        self, install: Install
    ) -> None:
        cupy = install(FAKE)
        first = cuda_event_timer()
        cupy.work()
        last = cuda_event_timer()
        assert isinstance(first, Moment)
        assert isinstance(last, Moment)
        assert last - first == WORK_S + STEP_S
        assert cupy.waited[-1] is last._event
        assert first - first == 0

    def test_pytest_benchmark_finds_its_precision(self, install: Install) -> None:
        install(FAKE)
        precision: Any = compute_timer_precision  # untyped, and would not be called here
        assert precision(cuda_event_timer) == STEP_S

    def test_what_cupy_says_when_it_is_imported_is_no_reason_against_it(self, install: Install) -> None:
        with pytest.warns(UserWarning, match="CUDA path"):
            install(f"import warnings\nwarnings.warn('CUDA path not found')\n{FAKE}")
        del sys.modules["cupy"]
        assert isinstance(cuda_event_timer(), Moment)


class TestWithout:
    def test_it_warns_once_and_is_the_hosts_clock_from_then_on(self, install: Install) -> None:
        install(NO_GPU)
        with pytest.warns(HostTimeOnly, match="host's, not the GPU's: CuPy cannot record") as caught:
            before = cuda_event_timer()
        assert len(caught) == 1
        assert "\n" not in str(caught[0].message)
        assert "'chipbench devices' says more" in str(caught[0].message)
        assert caught[0].filename == __file__
        install(FAKE)
        now = cuda_event_timer()
        assert isinstance(before, float)
        assert isinstance(now, float)
        assert before < now < perf_counter()

    @pytest.mark.parametrize(
        ("driver", "cause"), [(None, "no NVIDIA driver answers here"), (13000, "there is an NVIDIA driver but no")]
    )
    def test_the_warning_says_what_is_missing_and_what_to_do(
        self, driver: int | None, cause: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "cuda_driver_version", lambda: driver)
        with pytest.warns(HostTimeOnly, match=cause) as caught:
            cuda_event_timer()
        assert "pip install" in str(caught[0].message)

    def test_where_warnings_are_errors_no_benchmark_runs_on_the_wrong_clock(self, install: Install) -> None:
        install(NO_GPU)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                with pytest.raises(HostTimeOnly):
                    cuda_event_timer()


class Ran(NamedTuple):
    out: str
    stats: dict[str, Any]


def _suite(folder: Path, suite: str, cupy: str) -> Ran:
    """Run the real pytest on a suite, with a module `cupy`, and return what it printed and measured."""
    (folder / "cupy.py").write_text(cupy, encoding="utf-8")
    (folder / "test_suite.py").write_text(suite, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "test_suite.py", "-p", "no:cacheprovider", OPTION,
         "--benchmark-json=found.json", f"--rootdir={folder}"],
        cwd=folder, env={**inherited, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert {benchmark["options"]["timer"] for benchmark in found["benchmarks"]} == {"cuda_event_timer"}
    return Ran(ran.stdout, {benchmark["name"]: benchmark["stats"] for benchmark in found["benchmarks"]})


@pytest.mark.slow
def test_a_suite_is_timed_by_the_device(tmp_path: Path) -> None:
    ran = _suite(tmp_path, ON_THE_DEVICE, FAKE)
    assert "warning" not in ran.out
    for name in ("test_called", "test_until_precise"):
        assert (ran.stats[name]["min"], ran.stats[name]["max"]) == (WORK_S + STEP_S, WORK_S + STEP_S)
    assert ran.stats["test_until_precise"]["rounds"] == 7
    assert ran.stats["test_short"]["iterations"] > 1
    assert ran.stats["test_short"]["mean"] == pytest.approx(STEP_S, rel=0.2)
    assert ran.stats["test_pedantic"]["mean"] == WORK_S + STEP_S / 4


@pytest.mark.slow
def test_without_a_device_a_suite_runs_on_the_hosts_clock_with_one_warning(tmp_path: Path) -> None:
    ran = _suite(tmp_path, ON_THE_HOST, NO_GPU)
    assert ran.out.count("HostTimeOnly") == 1
    assert "2 passed, 1 warning" in ran.out
    for stats in ran.stats.values():
        assert 0.02 <= stats["min"] < 1


def test_benchmarks_are_refused_under_xdist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        dist = "no"

        def getoption(self, name: str, default: str) -> str:
            return {"dist": self.dist}.get(name, default)

    configure = run_path(str(ROOT / "tests" / "benchmarks" / "conftest.py"))["pytest_configure"]
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    configure(Config())
    Config.dist = "loadfile"
    with pytest.raises(pytest.UsageError, match="run: pytest -n 0 tests/benchmarks"):
        configure(Config())

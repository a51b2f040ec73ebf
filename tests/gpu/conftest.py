"""What the tests on a GPU share: the device, tasks that are closed again, and facts that are shown at the end.

`pytest -m gpu` runs them; without a GPU all are skipped, with what is missing as the reason.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.devices import cuda
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.requirements import has_nvmath
from bench.devices.nvidia.task import CudaTask
from bench.errors import BackendUnavailable
from bench.workloads.base import Cell
from tests.gpu.cells import Fact, MakeTask


@pytest.fixture(scope="session")
def gpu() -> CudaBackend:
    """Return the backend on the first GPU here."""
    with warnings.catch_warnings():  # what libraries say of themselves when they are imported is not about us
        warnings.simplefilter("ignore")
        try:
            backend = cuda.open_backend()
            if has_nvmath():
                import nvmath.linalg.advanced  # noqa: F401, PLC0415 - so that its warnings come here
        except BackendUnavailable as error:
            pytest.skip(str(error))
        except ImportError:
            pass
    return backend


@pytest.fixture
def make_task(gpu: CudaBackend) -> Iterator[MakeTask]:
    """Return what makes a task of a cell in this process; all are closed after the test."""
    made: list[CudaTask] = []

    def make(cell: Cell) -> CudaTask:
        task = gpu.prepare(cell, 7)
        assert isinstance(task, CudaTask)
        made.append(task)
        return task

    yield make
    for task in made:
        task.close()


@pytest.fixture
def fact(record_property: Callable[[str, object], None]) -> Fact:
    """Return what notes a fact of this chip: it goes to --junit-xml, and to the end of the output."""
    return lambda name, value: record_property(name, str(value))


def pytest_terminal_summary(terminalreporter: Any) -> None:  # noqa: ANN401 - pytest's own reporter
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    told = [(report.nodeid.rpartition("::")[2], *pair) for report in reports for pair in report.user_properties]
    if told:
        terminalreporter.section("facts of this GPU")
    for test, name, value in told:
        terminalreporter.write_line(f"{test}: {name} = {value}")
